//! Bounds on how deep a statement may be, checked on its tokens before anything recursive sees it.
//!
//! Trees are dropped, cloned and printed recursively, on stacks of 2 MiB (tokio's workers and timely's). Nesting is
//! counted by the parser; what it reads in a loop grows to the left without nesting (`a + b + c`, `… UNION …`) and is
//! counted here.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::cursor::{Failure, Parse};
use crate::Error;
use crate::error::sqlstate;

/// How deep the parser may go: parentheses, subqueries (three steps each), prefix operators. One step is a few frames of
/// some hundred bytes in each recursive pass.
pub(super) const MAX_NESTING: usize = 300;

/// Operators in a row at one level, each of which is one level of the tree.
const MAX_OPERATORS: usize = 1_000;

/// UNION, EXCEPT, INTERSECT and JOIN in a row at one level: a plan is deeper per step than an expression.
const MAX_SET_OPERATIONS: usize = 300;

/// CASE inside CASE.
const MAX_CASES: usize = 100;

/// What has been counted inside one pair of parentheses.
#[derive(Default, Clone, Copy)]
struct Level {
    operators: usize,
    set_operations: usize,
    joins: usize,
    /// CASE without its END yet: sqlparser forgets that one was too deep and reads the word as a name.
    cases: usize,
}

/// `54001` when the tokens of a statement are too deep; the position is where it becomes so.
pub(super) fn check(tokens: &[TokenWithSpan]) -> Parse<()> {
    let mut levels = vec![Level::default()];
    for token in tokens {
        let level = levels.last_mut().expect("the outermost level is never left");
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                level.operators += 1;
                levels.push(Level::default());
            }
            Token::RParen | Token::RBracket | Token::RBrace => {
                if levels.len() > 1 {
                    levels.pop();
                }
            }
            Token::Comma => level.operators = 0,
            Token::Word(word) => count_word(level, word.keyword),
            Token::Whitespace(_) | Token::Number(..) | Token::Period | Token::SingleQuotedString(_) => {}
            _ => level.operators += 1,
        }
        let level = levels.last().expect("the outermost level is never left");
        if level.operators > MAX_OPERATORS
            || level.set_operations > MAX_SET_OPERATIONS
            || level.joins > MAX_SET_OPERATIONS
            || level.cases > MAX_CASES
            || levels.len() > MAX_NESTING
        {
            return Err(Failure::Refused { error: too_deep(), at: Some(token.span.start) });
        }
    }
    Ok(())
}

fn count_word(level: &mut Level, keyword: Keyword) {
    match keyword {
        Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT => level.set_operations += 1,
        Keyword::JOIN => level.joins += 1,
        Keyword::SELECT => *level = Level { operators: 0, joins: 0, ..*level },
        Keyword::FROM | Keyword::WHERE | Keyword::ON | Keyword::WHEN | Keyword::THEN | Keyword::ELSE | Keyword::VALUES => {
            level.operators = 0;
        }
        Keyword::AND
        | Keyword::OR
        | Keyword::NOT
        | Keyword::IS
        | Keyword::IN
        | Keyword::LIKE
        | Keyword::ILIKE
        | Keyword::BETWEEN
        | Keyword::COLLATE
        | Keyword::AT => level.operators += 1,
        Keyword::CASE => level.cases += 1,
        Keyword::END => level.cases = level.cases.saturating_sub(1),
        _ => {}
    }
}

/// The error for a statement that is too deep.
pub(super) fn too_deep() -> Error {
    Error::new(sqlstate::STATEMENT_TOO_COMPLEX, "statement is nested too deeply")
        .with_hint("use fewer nested expressions or set operations; a long list goes into IN (…), = ANY (…) or a table")
}
