//! A query string as tokens, cut into statements, with the few spellings rewritten that sqlparser reads wrongly.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace};

use super::text::Text;
use crate::error::sqlstate;
use crate::plan::dialect::ThalwegDialect;
use crate::{Error, Result};

/// The tokens of a text, comments and white space left out.
pub(super) fn tokens(sql: &str, text: &Text) -> Result<Vec<TokenWithSpan>> {
    let dialect = ThalwegDialect::for_tokens(0);
    let mut tokens = Vec::new();
    Tokenizer::new(&dialect, sql).tokenize_with_location_into_buf(&mut tokens).map_err(|error| {
        let at = text.character(error.location);
        let rest: String = sql.chars().skip(at).take(40).collect();
        let error = Error::new(sqlstate::SYNTAX_ERROR, format!("{} at or near \"{rest}\"", lower_first(&error.message)));
        error.at(at + 1)
    })?;
    join_strings(&mut tokens);
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    Ok(tokens)
}

/// String literals with a line break between them are one, as in Postgres.
fn join_strings(tokens: &mut Vec<TokenWithSpan>) {
    let is_break = |token: &Token| matches!(token, Token::Whitespace(Whitespace::Newline | Whitespace::SingleLineComment { .. }));
    let mut joined: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    // Where the last string is in `joined`, and whether a line has ended since.
    let mut last: Option<(usize, bool)> = None;
    for token in tokens.drain(..) {
        match (&token.token, &mut last) {
            (Token::Whitespace(_), Some((_, broken))) => *broken |= is_break(&token.token),
            (Token::Whitespace(_), None) => {}
            (Token::SingleQuotedString(more), Some((at, true))) => {
                if let Token::SingleQuotedString(text) = &mut joined[*at].token {
                    text.push_str(more);
                    joined[*at].span.end = token.span.end;
                }
                last = last.map(|(at, _)| (at, false));
                continue;
            }
            (Token::SingleQuotedString(_), _) => last = Some((joined.len(), false)),
            _ => last = None,
        }
        joined.push(token);
    }
    *tokens = joined;
}

fn lower_first(message: &str) -> String {
    let mut characters = message.chars();
    characters.next().map(|first| first.to_lowercase().chain(characters).collect()).unwrap_or_default()
}

/// The statements of a text: the tokens between semicolons, where there are any.
pub(super) fn statements(tokens: &[TokenWithSpan]) -> Vec<Vec<TokenWithSpan>> {
    let mut statements = vec![];
    let mut current = vec![];
    for token in tokens {
        match token.token {
            Token::SemiColon => statements.push(std::mem::take(&mut current)),
            Token::EOF => {}
            _ => current.push(token.clone()),
        }
    }
    statements.push(current);
    statements.retain(|statement| !statement.is_empty());
    statements
}

/// How a query's result is asked for: `EMIT …` at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Emit {
    /// Not said, or `EMIT CHANGES`: the result is kept current.
    Changes,
    /// `EMIT ON WINDOW CLOSE`.
    OnWindowClose,
}

/// Takes a trailing `EMIT …` off: behind a table sqlparser would read `EMIT` as its alias.
pub(super) fn take_emit(tokens: &mut Vec<TokenWithSpan>) -> Emit {
    let ends_with = |words: &[&str]| {
        tokens.len() > words.len()
            && tokens[tokens.len() - words.len()..].iter().zip(words).all(|(token, word)| is_word(&token.token, word))
    };
    if ends_with(&["EMIT", "CHANGES"]) {
        tokens.truncate(tokens.len() - 2);
    } else if ends_with(&["EMIT", "ON", "WINDOW", "CLOSE"]) {
        tokens.truncate(tokens.len() - 4);
        return Emit::OnWindowClose;
    }
    Emit::Changes
}

/// Writes `TABLE name` where a query may begin as `SELECT * FROM name`: sqlparser loses quotes and reads two tokens too
/// many. `TABLE` as an argument of a function (`TUMBLE(TABLE bid …`) stays.
pub(super) fn expand_table_queries(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut expanded: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len() + 4);
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let names_next = tokens.peek().is_some_and(|next| matches!(next.token, Token::Word(_)));
        if is_word(&token.token, "TABLE") && names_next && query_may_begin(&expanded) {
            let span = token.span;
            let words = [Token::make_keyword("SELECT"), Token::Mul, Token::make_keyword("FROM")];
            expanded.extend(words.map(|token| TokenWithSpan { token, span }));
        } else {
            expanded.push(token);
        }
    }
    expanded
}

/// Whether a query may begin behind these tokens. Where it is one of several things that may, the others never begin with
/// `TABLE name`.
fn query_may_begin(before: &[TokenWithSpan]) -> bool {
    let Some((last, rest)) = before.split_last() else { return true };
    match &last.token {
        Token::LParen => match rest.last().map(|token| &token.token) {
            Some(Token::Word(word)) if word.quote_style.is_none() => {
                word.keyword != Keyword::NoKeyword && BEFORE_PARENTHESIS.contains(&word.keyword)
            }
            Some(Token::Word(_)) => false,
            _ => true,
        },
        Token::RParen => false,
        Token::Word(word) => {
            // EXPLAIN TABLE x, and what stands between two queries.
            [
                Keyword::UNION,
                Keyword::EXCEPT,
                Keyword::INTERSECT,
                Keyword::ALL,
                Keyword::AS,
                Keyword::EXPLAIN,
                Keyword::ANALYZE,
                Keyword::VERBOSE,
            ]
            .contains(&word.keyword)
                || (word.keyword == Keyword::DISTINCT && rest.last().is_some_and(|token| is_word(&token.token, "UNION")))
        }
        _ => false,
    }
}

/// Words behind which a parenthesis holds a query, not arguments.
const BEFORE_PARENTHESIS: &[Keyword] = &[
    Keyword::IN,
    Keyword::EXISTS,
    Keyword::AS,
    Keyword::MATERIALIZED,
    Keyword::FROM,
    Keyword::JOIN,
    Keyword::ANY,
    Keyword::SOME,
    Keyword::ALL,
    Keyword::UNION,
    Keyword::EXCEPT,
    Keyword::INTERSECT,
    Keyword::DISTINCT,
    Keyword::LATERAL,
    Keyword::COPY,
    Keyword::SELECT,
    Keyword::WHERE,
    Keyword::AND,
    Keyword::OR,
    Keyword::NOT,
    Keyword::TO,
];

/// Whether a token is this word, unquoted, in any case.
pub(super) fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}
