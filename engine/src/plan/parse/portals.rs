//! What a session keeps between statements: prepared statements, cursors, channels. By hand, since what they contain may be
//! our own grammar.

use std::time::Duration;

use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::{Cursor, Parse};
use super::options::parse_value;
use super::tokens::Emit;
use super::types::sql_type;
use super::{dispatch, not_supported, session};
use crate::Error;
use crate::error::sqlstate;
use crate::plan::statement::{DeclareCursor, Discard, Execute, Fetch, Parsed, Prepare, Statement};

/// DISCARD …, the word already passed.
pub(super) fn discard(cursor: &mut Cursor) -> Parse<Statement> {
    let what = match cursor.eat_one(&["ALL", "PLANS", "SEQUENCES", "TEMPORARY", "TEMP"]) {
        Some("ALL") => Discard::All,
        Some("PLANS") => Discard::Plans,
        Some("SEQUENCES") => Discard::Sequences,
        Some(_) => Discard::Temp,
        None => return cursor.expected("ALL"),
    };
    Ok(Statement::Discard { what })
}

/// PREPARE name [(type, …)] AS statement, the word already passed.
pub(super) fn prepare(cursor: &mut Cursor) -> Parse<Statement> {
    if cursor.at(&["TRANSACTION"]) {
        return cursor.refuse_here(not_supported("PREPARE TRANSACTION"));
    }
    let name = cursor.identifier()?;
    let types = match cursor.at_token(&Token::LParen) {
        false => vec![],
        true => cursor.parenthesised(|cursor| {
            let at = cursor.here();
            if cursor.eat(&["UNKNOWN"]) {
                return Ok(None);
            }
            let data_type = cursor.parser.parse_data_type()?;
            sql_type(&data_type).map(Some).or_else(|error| cursor.refuse(error, at))
        })?,
    };
    cursor.expect(&["AS"])?;
    let at = cursor.here();
    let statement = statement(cursor)?;
    let plannable = matches!(statement.statement, Statement::Query(_) | Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_));
    match plannable {
        true => Ok(Statement::Prepare(Box::new(Prepare { name, types, statement }))),
        false => {
            let error = Error::new(sqlstate::SYNTAX_ERROR, "only SELECT, VALUES, INSERT, UPDATE and DELETE can be prepared");
            cursor.refuse(error.with_hint("send the statement itself"), at)
        }
    }
}

/// EXECUTE name [(expression, …)], the word already passed.
pub(super) fn execute(cursor: &mut Cursor) -> Parse<Statement> {
    let name = cursor.identifier()?;
    let arguments = match cursor.at_token(&Token::LParen) {
        false => vec![],
        true => cursor.parenthesised(|cursor| cursor.expression())?,
    };
    Ok(Statement::Execute(Execute { name, arguments }))
}

/// DEALLOCATE [PREPARE] name | ALL, the word already passed.
pub(super) fn deallocate(cursor: &mut Cursor) -> Parse<Statement> {
    cursor.eat(&["PREPARE"]);
    Ok(Statement::Deallocate { name: name_or_all(cursor)? })
}

/// CLOSE name | ALL, the word already passed.
pub(super) fn close(cursor: &mut Cursor) -> Parse<Statement> {
    Ok(Statement::CloseCursor { name: name_or_all(cursor)? })
}

fn name_or_all(cursor: &mut Cursor) -> Parse<Option<String>> {
    if cursor.eat(&["ALL"]) { Ok(None) } else { cursor.identifier().map(Some) }
}

/// DECLARE name [BINARY] [ASENSITIVE | INSENSITIVE] [NO SCROLL] CURSOR [WITH HOLD | WITHOUT HOLD] FOR query, the word passed.
pub(super) fn declare(cursor: &mut Cursor) -> Parse<Statement> {
    let name = cursor.identifier()?;
    let mut binary = false;
    loop {
        match cursor.eat_one(&["BINARY", "ASENSITIVE", "INSENSITIVE"]) {
            Some("BINARY") => binary = true,
            Some(_) => {}
            None if cursor.eat(&["NO", "SCROLL"]) => {}
            None => break,
        }
    }
    if cursor.at(&["SCROLL"]) {
        let hint = "leave SCROLL out and read forwards, or order the query the other way";
        return cursor.refuse_here(Error::unsupported("SCROLL cursors are not supported", hint));
    }
    cursor.expect(&["CURSOR"])?;
    let hold = cursor.eat(&["WITH", "HOLD"]);
    if !hold {
        cursor.eat(&["WITHOUT", "HOLD"]);
    }
    cursor.expect(&["FOR"])?;
    let at = cursor.here();
    let statement = statement(cursor)?;
    match statement.statement {
        Statement::Query(_) | Statement::Subscribe(_) => {
            Ok(Statement::DeclareCursor(Box::new(DeclareCursor { name, binary, hold, statement })))
        }
        _ => cursor.refuse(Error::new(sqlstate::SYNTAX_ERROR, "a cursor is declared for a query or SUBSCRIBE"), at),
    }
}

/// FETCH or MOVE [direction] [FROM | IN] cursor [WITH (TIMEOUT = '1s')], the word already passed.
pub(super) fn fetch(cursor: &mut Cursor, moves: bool) -> Parse<Statement> {
    let n_rows = direction(cursor)?;
    cursor.eat_one(&["FROM", "IN"]);
    let name = cursor.identifier()?;
    let mut timeout = None;
    if cursor.eat(&["WITH"]) {
        cursor.parenthesised(|cursor| {
            cursor.expect(&["TIMEOUT"])?;
            cursor.eat_token(&Token::Eq);
            let at = cursor.here();
            let value = parse_value(cursor)?;
            timeout = Some(duration(&value).or_else(|error| cursor.refuse(error, at))?);
            Ok(())
        })?;
    }
    Ok(Statement::Fetch(Fetch { cursor: name, n_rows, moves, timeout }))
}

/// How many rows forwards; `None` is all of them.
fn direction(cursor: &mut Cursor) -> Parse<Option<u64>> {
    let at = cursor.here();
    // A cursor may bear the name of a direction: FETCH next, with nothing behind it.
    if matches!(cursor.parser.peek_nth_token_ref(1).token, Token::EOF) {
        return Ok(Some(1));
    }
    if cursor.eat_one(&["PRIOR", "BACKWARD", "FIRST", "LAST", "ABSOLUTE", "RELATIVE"]).is_some() {
        let error = Error::new(sqlstate::OBJECT_NOT_IN_STATE, "cursor can only scan forward");
        return cursor.refuse(error.with_hint("fetch NEXT, a number of rows, or ALL"), at);
    }
    if cursor.eat(&["NEXT"]) {
        return Ok(Some(1));
    }
    cursor.eat(&["FORWARD"]);
    if cursor.eat(&["ALL"]) {
        return Ok(None);
    }
    if let Token::Number(number, _) = &cursor.parser.peek_token_ref().token {
        let n_rows = number.parse::<u64>();
        return match n_rows {
            Ok(n_rows) if n_rows > 0 => {
                cursor.next();
                Ok(Some(n_rows))
            }
            _ => cursor.refuse_here(Error::new(sqlstate::OBJECT_NOT_IN_STATE, "cursor can only scan forward")),
        };
    }
    if cursor.at_token(&Token::Minus) {
        return cursor.refuse_here(Error::new(sqlstate::OBJECT_NOT_IN_STATE, "cursor can only scan forward"));
    }
    Ok(Some(1))
}

fn duration(text: &str) -> Result<Duration, Error> {
    let text = text.trim();
    let n_digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let seconds = match text[n_digits..].trim() {
        "ms" => 0.001,
        "" | "s" | "second" | "seconds" => 1.0,
        "min" | "minute" | "minutes" => 60.0,
        _ => f64::NAN,
    };
    let number: f64 = text[..n_digits].parse().unwrap_or(f64::NAN);
    Duration::try_from_secs_f64(number * seconds).map_err(|_| {
        Error::new(sqlstate::INVALID_PARAMETER_VALUE, format!("invalid timeout: \"{text}\"")).with_hint("write it as '500ms' or '1s'")
    })
}

/// LISTEN, UNLISTEN, NOTIFY; the word already passed.
pub(super) fn channel(cursor: &mut Cursor, word: &str) -> Parse<Statement> {
    if word == "UNLISTEN" && cursor.eat_token(&Token::Mul) {
        return Ok(Statement::Unlisten { channel: None });
    }
    let at = cursor.here();
    let channel = cursor.identifier()?;
    if channel.len() > 63 {
        return cursor.refuse(Error::new(sqlstate::INVALID_PARAMETER_VALUE, "channel name too long"), at);
    }
    Ok(match word {
        "LISTEN" => Statement::Listen { channel },
        "UNLISTEN" => Statement::Unlisten { channel: Some(channel) },
        _ => {
            let payload = if cursor.eat_token(&Token::Comma) { cursor.string()? } else { String::new() };
            Statement::Notify { channel, payload }
        }
    })
}

/// The statement inside another one, with its own text. Positions of its errors are already those of the whole text.
fn statement(cursor: &mut Cursor) -> Parse<Parsed> {
    let start = cursor.here();
    let statement = cursor.nested(|cursor| match cursor.word(0).as_str() {
        "SUBSCRIBE" => {
            cursor.next();
            Ok(Statement::Subscribe(session::subscribe(cursor)?))
        }
        _ => dispatch(cursor, Emit::Changes),
    })?;
    // Errors of planning it point into its own text.
    Ok(Parsed { statement, text: cursor.text_since(start), offset: cursor.character(start), start: (start.line, start.column) })
}
