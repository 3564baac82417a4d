//! Our SQL dialect: PostgreSQL's as sqlparser knows it, with what streaming SQL adds.
//!
//! Added: `TABLE name` as a function argument (`TUMBLE(TABLE bid, DESCRIPTOR(ts), …)`), `STRUCT<…>` types; and
//! `TRIM(TRAILING FROM text)`, which drivers write. Taken away:
//! `f(expr: value)` arguments, for which sqlparser reads every argument twice, so that n nested calls take 2^n steps.
//!
//! What sqlparser still reads more than once (parenthesised joins) is bounded by a budget of expressions per text: it
//! is spent here because this is where the parser passes by. A text is refused, never a server stopped.

use std::any::TypeId;
use std::cell::Cell;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Ident, TrimWhereField};
use datafusion::sql::sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

/// The prefix under which `TABLE name` is carried through the AST, in [`Expr::Prefixed`].
pub(super) const TABLE_ARGUMENT: &str = "TABLE";

/// The dialect of one statement's text.
#[derive(Debug)]
pub struct ThalwegDialect {
    /// Expressions that may still be begun.
    budget: Cell<usize>,
}

impl ThalwegDialect {
    /// A dialect for a text of `n_tokens`. Each token begins at most one expression, and what is read again is read a few
    /// times: 32 times the tokens is far above any statement written by hand or by a tool.
    pub fn for_tokens(n_tokens: usize) -> Self {
        Self { budget: Cell::new(n_tokens.saturating_mul(32).saturating_add(1_000)) }
    }
}

const POSTGRES: PostgreSqlDialect = PostgreSqlDialect {};

/// Switches that are on.
macro_rules! enabled {
    ($($name:ident)*) => { $(fn $name(&self) -> bool { true })* };
}

impl Dialect for ThalwegDialect {
    /// The parser asks in places "is this PostgreSQL?": it is.
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        let left = self.budget.get();
        if left == 0 {
            return Some(Err(ParserError::RecursionLimitExceeded));
        }
        self.budget.set(left - 1);
        parse_table_argument(parser).or_else(|| parse_trim_from(parser))
    }

    /// `a IS NOT DISTINCT FROM b AND c`: sqlparser would take `b AND c` for the right side. `a IN ((SELECT 1), 2)`: it would take the
    /// whole for a subquery. `a = ANY ((SELECT 1) UNION …)` it would
    /// take for an array; `a BETWEEN SYMMETRIC b AND c` and `a LIKE ANY (b)` it does not know, or not all of it.
    fn parse_infix(&self, parser: &mut Parser, expr: &Expr, precedence: u8) -> Option<Result<Expr, ParserError>> {
        if let Some(negated) = begins_with_parenthesis(parser) {
            return Some(parse_in(parser, expr, negated));
        }
        if let Some(negated) = word_after_not(parser, &[Keyword::BETWEEN], &[Keyword::SYMMETRIC]) {
            return Some(parse_between_symmetric(parser, expr, negated));
        }
        if let Some(negated) = word_after_not(parser, &[Keyword::LIKE, Keyword::ILIKE], &[Keyword::ANY, Keyword::SOME, Keyword::ALL]) {
            return Some(parse_like_list(parser, expr, negated));
        }
        if let Some(compare_op) = quantified_parenthesis(parser) {
            parser.advance_token();
            return Some(parse_quantified(parser, expr, compare_op));
        }
        let is_not = match (&parser.peek_nth_token_ref(0).token, &parser.peek_nth_token_ref(1).token, &parser.peek_nth_token_ref(2).token) {
            (Token::Word(is), Token::Word(not), Token::Word(distinct))
                if is.keyword == Keyword::IS && not.keyword == Keyword::NOT && distinct.keyword == Keyword::DISTINCT =>
            {
                true
            }
            (Token::Word(is), Token::Word(distinct), _) if is.keyword == Keyword::IS && distinct.keyword == Keyword::DISTINCT => false,
            _ => return None,
        };
        Some(parse_distinct_from(parser, expr, is_not, precedence))
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        POSTGRES.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        POSTGRES.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        POSTGRES.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        POSTGRES.is_identifier_part(ch)
    }

    fn is_custom_operator_part(&self, ch: char) -> bool {
        POSTGRES.is_custom_operator_part(ch)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        POSTGRES.is_reserved_for_identifier(keyword)
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        POSTGRES.get_next_precedence(parser)
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        POSTGRES.prec_value(precedence)
    }

    enabled! {
        supports_unicode_string_literal supports_filter_during_aggregation supports_group_by_expr allow_extract_custom
        allow_extract_single_quotes supports_factorial_operator supports_bitwise_shift_operators supports_empty_projections
        supports_nested_comments supports_string_escape_constant supports_numeric_literal_underscores
        supports_array_typedef_with_brackets supports_notnull_operator supports_interval_options
        supports_insert_table_alias supports_comma_separated_trim supports_struct_literal
        supports_string_literal_concatenation_with_newline supports_window_function_null_treatment_arg
        supports_window_clause_named_window_reference
    }
}

/// `TABLE bid` or `TABLE (query)` as an argument: kept as a prefixed expression, which nothing but our windows accepts.
fn parse_table_argument(parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
    let token = parser.peek_token_ref();
    let Token::Word(word) = &token.token else { return None };
    if word.keyword != Keyword::TABLE || word.quote_style.is_some() {
        return None;
    }
    if !matches!(parser.peek_nth_token_ref(1).token, Token::Word(_) | Token::LParen) {
        return None;
    }
    let prefix = Ident::with_span(token.span, TABLE_ARGUMENT);
    parser.advance_token();
    // Above every infix operator, so that `TABLE bid + 1` is not read as `TABLE (bid + 1)`.
    let value = parser.parse_subexpr(POSTGRES.prec_value(Precedence::Period));
    Some(value.map(|value| Expr::Prefixed { prefix, value: Box::new(value) }))
}

/// `TRIM([BOTH | LEADING | TRAILING] FROM text)`, where sqlparser wants the characters named.
fn parse_trim_from(parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
    let word = |at: usize| match &parser.peek_nth_token_ref(at).token {
        Token::Word(word) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    };
    if word(0) != Keyword::TRIM || parser.peek_nth_token_ref(1).token != Token::LParen {
        return None;
    }
    let (trim_where, n_tokens) = match (word(2), word(3)) {
        (Keyword::FROM, _) => (None, 3),
        (Keyword::BOTH, Keyword::FROM) => (Some(TrimWhereField::Both), 4),
        (Keyword::LEADING, Keyword::FROM) => (Some(TrimWhereField::Leading), 4),
        (Keyword::TRAILING, Keyword::FROM) => (Some(TrimWhereField::Trailing), 4),
        _ => return None,
    };
    (0..n_tokens).for_each(|_| parser.advance_token());
    Some(parser.parse_expr().and_then(|text| {
        parser.expect_token(&Token::RParen)?;
        Ok(Expr::Trim { expr: Box::new(text), trim_where, trim_what: None, trim_characters: None })
    }))
}

/// Whether `[NOT]` and one of each of these words come, and with NOT.
fn word_after_not(parser: &Parser, first: &[Keyword], second: &[Keyword]) -> Option<bool> {
    let is_one_of = |at: usize, keywords: &[Keyword]| match &parser.peek_nth_token_ref(at).token {
        Token::Word(word) => word.quote_style.is_none() && keywords.contains(&word.keyword),
        _ => false,
    };
    let negated = is_one_of(0, &[Keyword::NOT]);
    let at = usize::from(negated);
    (is_one_of(at, first) && is_one_of(at + 1, second)).then_some(negated)
}

/// `a BETWEEN SYMMETRIC b AND c`: between the two, whichever is the greater.
fn parse_between_symmetric(parser: &mut Parser, expr: &Expr, negated: bool) -> Result<Expr, ParserError> {
    (0..2 + usize::from(negated)).for_each(|_| parser.advance_token());
    let precedence = POSTGRES.prec_value(Precedence::Between);
    let low = parser.parse_subexpr(precedence)?;
    parser.expect_keyword_is(Keyword::AND)?;
    let high = parser.parse_subexpr(precedence)?;
    let between = |low: Expr, high: Expr| Expr::Between { expr: Box::new(expr.clone()), negated, low: Box::new(low), high: Box::new(high) };
    let (left, right) = (Box::new(between(low.clone(), high.clone())), Box::new(between(high, low)));
    let op = if negated { BinaryOperator::And } else { BinaryOperator::Or };
    Ok(Expr::Nested(Box::new(Expr::BinaryOp { left, op, right })))
}

/// `a [NOT] LIKE ANY (b)` is `a ~~ ANY (b)`.
fn parse_like_list(parser: &mut Parser, expr: &Expr, negated: bool) -> Result<Expr, ParserError> {
    if negated {
        parser.expect_keyword_is(Keyword::NOT)?;
    }
    let compare_op = match (parser.expect_one_of_keywords(&[Keyword::LIKE, Keyword::ILIKE])?, negated) {
        (Keyword::LIKE, false) => BinaryOperator::PGLikeMatch,
        (Keyword::LIKE, true) => BinaryOperator::PGNotLikeMatch,
        (_, false) => BinaryOperator::PGILikeMatch,
        (_, true) => BinaryOperator::PGNotILikeMatch,
    };
    parse_quantified(parser, expr, compare_op)
}

/// The operator of `op ANY ((`, which may begin a query in parentheses.
fn quantified_parenthesis(parser: &Parser) -> Option<BinaryOperator> {
    let compare_op = match parser.peek_nth_token_ref(0).token {
        Token::Eq => BinaryOperator::Eq,
        Token::Neq => BinaryOperator::NotEq,
        Token::Lt => BinaryOperator::Lt,
        Token::LtEq => BinaryOperator::LtEq,
        Token::Gt => BinaryOperator::Gt,
        Token::GtEq => BinaryOperator::GtEq,
        _ => return None,
    };
    let is_quantifier = |token: &Token| matches!(token, Token::Word(word) if word.quote_style.is_none() && matches!(word.keyword, Keyword::ANY | Keyword::SOME | Keyword::ALL));
    let is_open = |at: usize| parser.peek_nth_token_ref(at).token == Token::LParen;
    (is_quantifier(&parser.peek_nth_token_ref(1).token) && is_open(2) && is_open(3)).then_some(compare_op)
}

/// `ANY (…)`, with SOME or ALL, behind an operator: a query or an array.
fn parse_quantified(parser: &mut Parser, expr: &Expr, compare_op: BinaryOperator) -> Result<Expr, ParserError> {
    let quantifier = parser.expect_one_of_keywords(&[Keyword::ANY, Keyword::SOME, Keyword::ALL])?;
    parser.expect_token(&Token::LParen)?;
    let subquery = parser.maybe_parse(|parser| {
        let subquery = parser.parse_query()?;
        parser.expect_token(&Token::RParen)?;
        Ok(Expr::Subquery(subquery))
    })?;
    let right = Box::new(match subquery {
        Some(subquery) => subquery,
        None => {
            let array = parser.parse_expr()?;
            parser.expect_token(&Token::RParen)?;
            array
        }
    });
    let left = Box::new(expr.clone());
    Ok(match quantifier {
        Keyword::ALL => Expr::AllOp { left, compare_op, right },
        quantifier => Expr::AnyOp { left, compare_op, right, is_some: quantifier == Keyword::SOME },
    })
}

/// Whether `[NOT] IN ((` comes, and with NOT.
fn begins_with_parenthesis(parser: &Parser) -> Option<bool> {
    let is = |at: usize, keyword: Keyword| matches!(&parser.peek_nth_token_ref(at).token, Token::Word(word) if word.keyword == keyword);
    let negated = is(0, Keyword::NOT);
    let at = usize::from(negated);
    let open = |at: usize| parser.peek_nth_token_ref(at).token == Token::LParen;
    (is(at, Keyword::IN) && open(at + 1) && open(at + 2)).then_some(negated)
}

fn parse_in(parser: &mut Parser, expr: &Expr, negated: bool) -> Result<Expr, ParserError> {
    if negated {
        parser.expect_keyword_is(Keyword::NOT)?;
    }
    parser.expect_keyword_is(Keyword::IN)?;
    parser.expect_token(&Token::LParen)?;
    let expr = Box::new(expr.clone());
    let subquery = parser.maybe_parse(|parser| {
        let subquery = parser.parse_query()?;
        parser.expect_token(&Token::RParen)?;
        Ok(subquery)
    })?;
    if let Some(subquery) = subquery {
        return Ok(Expr::InSubquery { expr, subquery, negated });
    }
    let list = parser.parse_comma_separated(Parser::parse_expr)?;
    parser.expect_token(&Token::RParen)?;
    Ok(Expr::InList { expr, list, negated })
}

/// The rest of `expr IS [NOT] DISTINCT FROM …`; `precedence` is that of IS.
fn parse_distinct_from(parser: &mut Parser, expr: &Expr, is_not: bool, precedence: u8) -> Result<Expr, ParserError> {
    parser.expect_keyword_is(Keyword::IS)?;
    if is_not {
        parser.expect_keyword_is(Keyword::NOT)?;
    }
    parser.expect_keyword_is(Keyword::DISTINCT)?;
    parser.expect_keyword_is(Keyword::FROM)?;
    let right = Box::new(parser.parse_subexpr(precedence)?);
    let left = Box::new(expr.clone());
    Ok(if is_not { Expr::IsNotDistinctFrom(left, right) } else { Expr::IsDistinctFrom(left, right) })
}
