//! CREATE FUNCTION … LANGUAGE SQL: a scalar expression with a name.

use catalog::SqlType;
use datafusion::sql::sqlparser::ast::Ident;
use datafusion::sql::sqlparser::tokenizer::{Location, Token};

use super::cursor::{Cursor, Failure, Parse};
use super::types::parse_type;
use super::{Source, not_supported};
use crate::Error;
use crate::error::sqlstate;
use crate::plan::statement::{CreateFunction, Statement};

/// What can be said of a function, in any order.
#[derive(Default)]
struct Clauses {
    returns: Option<SqlType>,
    language: Option<String>,
    strict: bool,
    /// As an expression.
    body: Option<String>,
    /// As `SELECT expression` inside a string, and where that stands.
    quoted: Option<(String, Location)>,
}

/// CREATE FUNCTION …, the words already passed.
pub(super) fn create_function(cursor: &mut Cursor, or_replace: bool) -> Parse<Statement> {
    let start = cursor.here();
    let name = cursor.name()?;
    cursor.expect_token(&Token::LParen)?;
    let arguments = match cursor.eat_token(&Token::RParen) {
        true => vec![],
        false => {
            let arguments = cursor.separated(parse_argument)?;
            cursor.expect_token(&Token::RParen)?;
            arguments
        }
    };
    let mut clauses = Clauses::default();
    while !cursor.at_end() {
        parse_clause(cursor, &mut clauses)?;
    }
    let missing = |what: &str| Error::new("42P13", format!("function \"{}\" has no {what}", name.name));
    let Some(returns) = clauses.returns else { return cursor.refuse(missing("RETURNS type"), start) };
    if clauses.language.as_ref().is_some_and(|language| language != "sql") {
        let error = Error::unsupported("only LANGUAGE SQL is supported", "write the function as one SQL expression");
        return cursor.refuse(error, start);
    }
    let body = match (clauses.body, clauses.quoted) {
        (Some(body), None) => body,
        (None, Some((text, at))) => select_body(&text).or_else(|error| cursor.refuse(error, at))?,
        _ => return cursor.refuse(missing("body"), start),
    };
    let body_sql = if clauses.strict { strict(&arguments, &body) } else { body };
    Ok(Statement::CreateFunction(Box::new(CreateFunction { name, or_replace, arguments, returns, body_sql })))
}

/// `[IN] [name] type`.
fn parse_argument(cursor: &mut Cursor) -> Parse<(String, SqlType)> {
    if matches!(cursor.word(0).as_str(), "OUT" | "INOUT" | "VARIADIC") {
        return cursor.refuse_here(Error::unsupported(
            format!("{} arguments are not supported", cursor.word(0)),
            "a function takes values and returns one; return a struct for several",
        ));
    }
    cursor.eat(&["IN"]);
    let name = if type_alone(cursor)? { String::new() } else { cursor.identifier()? };
    let argument = (name, parse_type(cursor)?);
    if cursor.at(&["DEFAULT"]) || cursor.at_token(&Token::Eq) {
        return cursor
            .refuse_here(Error::unsupported("defaults of arguments are not supported", "create a second function with fewer arguments"));
    }
    Ok(argument)
}

/// Whether a type without a name comes next: `double precision` is one, `a bigint` is not. Passes nothing.
fn type_alone(cursor: &mut Cursor) -> Parse<bool> {
    let mut found = false;
    cursor.parser.maybe_parse(|parser| {
        parser.parse_data_type()?;
        found = matches!(parser.peek_token_ref().token, Token::Comma | Token::RParen);
        // An error makes the parser go back to where it was.
        parser.expected_ref::<()>("to be read again", parser.peek_token_ref())
    })?;
    Ok(found)
}

fn parse_clause(cursor: &mut Cursor, clauses: &mut Clauses) -> Parse<()> {
    let at = cursor.here();
    match cursor.word(0).as_str() {
        "RETURNS" if cursor.eat(&["RETURNS", "NULL", "ON", "NULL", "INPUT"]) => clauses.strict = true,
        "RETURNS" => {
            cursor.next();
            if matches!(cursor.word(0).as_str(), "SETOF" | "TABLE") {
                return cursor.refuse_here(Error::unsupported("functions that return rows are not supported", "use a view"));
            }
            clauses.returns = Some(parse_type(cursor)?);
        }
        "LANGUAGE" => {
            cursor.next();
            clauses.language = Some(super::options::parse_value(cursor)?.to_ascii_lowercase());
        }
        "STRICT" => {
            cursor.next();
            clauses.strict = true;
        }
        "CALLED" => cursor.expect(&["CALLED", "ON", "NULL", "INPUT"])?,
        "IMMUTABLE" | "STABLE" | "VOLATILE" | "LEAKPROOF" => {
            cursor.next();
        }
        "PARALLEL" | "COST" => {
            cursor.next();
            cursor.next();
        }
        "RETURN" => {
            cursor.next();
            clauses.body = Some(cursor.expression_with_text()?.1);
        }
        "AS" => {
            cursor.next();
            clauses.quoted = Some((super::options::parse_value(cursor)?, at));
        }
        "BEGIN" => return cursor.refuse_here(not_supported("BEGIN ATOMIC")),
        _ => return cursor.expected("RETURNS, LANGUAGE, AS or RETURN"),
    }
    Ok(())
}

/// The expression of `SELECT expression`.
fn select_body(text: &str) -> Result<String, Error> {
    let not_one = || {
        Error::unsupported(
            "the body of a SQL function must be one expression",
            "write it as SELECT expression, without FROM; use a view for queries",
        )
    };
    let source = Source::new(text).map_err(|mut error| {
        error.position = None;
        error
    })?;
    let [tokens] = source.statements().try_into().map_err(|_| not_one())?;
    source
        .run(tokens, |cursor| {
            cursor.expect(&["SELECT"])?;
            let (_, body) = cursor.expression_with_text()?;
            if cursor.eat(&["AS"]) {
                cursor.identifier()?;
            }
            match cursor.at_end() {
                true => Ok(body),
                false => Err(Failure::from(not_one())),
            }
        })
        .map_err(|mut error| {
            // The position would be in the body, not in the statement.
            error.position = None;
            if error.sqlstate == sqlstate::SYNTAX_ERROR && error.detail.is_none() {
                error.detail = Some("in the body of the function".into());
            }
            error
        })
}

/// A strict function is null when an argument is.
fn strict(arguments: &[(String, SqlType)], body: &str) -> String {
    let names = arguments.iter().enumerate().map(|(at, (name, _))| match name.is_empty() {
        true => format!("${} IS NULL", at + 1),
        false => format!("{} IS NULL", Ident::with_quote('"', name)),
    });
    match names.collect::<Vec<_>>().join(" OR ") {
        any if any.is_empty() => body.to_owned(),
        any => format!("CASE WHEN {any} THEN NULL ELSE {body} END"),
    }
}
