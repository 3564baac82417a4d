//! COPY, in both spellings of its options. By hand: sqlparser reads rows behind the statement.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::{Cursor, Parse};
use super::options::parse_value;
use super::{parse_query, session};
use crate::Error;
use crate::error::sqlstate;
use crate::plan::statement::{CopyFormat, CopyIn, CopyKind, CopySource, Statement};

/// COPY …, the word already passed.
pub(super) fn copy(cursor: &mut Cursor) -> Parse<Statement> {
    if cursor.eat_token(&Token::LParen) {
        let source = match cursor.eat(&["SUBSCRIBE"]) {
            true => CopySource::Subscribe(session::subscribe(cursor)?),
            false => CopySource::Query(cursor.query()?),
        };
        cursor.expect_token(&Token::RParen)?;
        cursor.expect(&["TO"])?;
        return copy_out(cursor, source);
    }
    let start = cursor.here();
    let target = cursor.name()?;
    let relation = cursor.text_since(start);
    let at_columns = cursor.here();
    let columns = cursor.optional_columns()?;
    match cursor.eat(&["FROM"]) {
        true => {
            stdio(cursor, "STDIN")?;
            let format = parse_format(cursor)?;
            Ok(Statement::CopyIn(CopyIn { target, columns, format }))
        }
        false => {
            cursor.expect(&["TO"])?;
            let listed = match columns.is_empty() {
                true => "*".to_owned(),
                false => columns.iter().map(|column| crate::plan::names::quoted(column).to_string()).collect::<Vec<_>>().join(", "),
            };
            let query = parse_query(&format!("SELECT {listed} FROM {relation}")).or_else(|error| cursor.refuse(error, at_columns))?;
            copy_out(cursor, CopySource::Query(query))
        }
    }
}

fn copy_out(cursor: &mut Cursor, source: CopySource) -> Parse<Statement> {
    stdio(cursor, "STDOUT")?;
    Ok(Statement::CopyOut { source, format: parse_format(cursor)? })
}

/// STDIN or STDOUT; files and programs on the server are refused.
fn stdio(cursor: &mut Cursor, which: &str) -> Parse<()> {
    if cursor.eat(&[which]) {
        return Ok(());
    }
    match cursor.parser.peek_token_ref().token {
        Token::SingleQuotedString(_) => cursor.refuse_here(Error::unsupported(
            "COPY with a file on the server is not supported",
            "use \\copy in psql, COPY … FROM STDIN, or a stream with connector = 'file'",
        )),
        _ if cursor.at(&["PROGRAM"]) => {
            cursor.refuse_here(Error::unsupported("COPY with a program is not supported", "pipe the program into psql's \\copy"))
        }
        _ => cursor.expected(which),
    }
}

/// Options as they are given, before the defaults of the format.
#[derive(Default)]
struct Options {
    kind: Option<CopyKind>,
    delimiter: Option<char>,
    header: Option<bool>,
    null: Option<String>,
    quote: Option<char>,
    escape: Option<char>,
}

/// `[WITH] (FORMAT csv, HEADER, …)` or `[WITH] CSV HEADER DELIMITER AS ','`.
fn parse_format(cursor: &mut Cursor) -> Parse<CopyFormat> {
    let at = cursor.here();
    let mut options = Options::default();
    cursor.eat(&["WITH"]);
    if cursor.eat_token(&Token::LParen) {
        loop {
            parse_option(cursor, &mut options)?;
            if !cursor.eat_token(&Token::Comma) {
                break;
            }
        }
        cursor.expect_token(&Token::RParen)?;
    } else {
        while !cursor.at_end() {
            parse_legacy_option(cursor, &mut options)?;
        }
    }
    finish(options).or_else(|error| cursor.refuse(error, at))
}

fn parse_option(cursor: &mut Cursor, options: &mut Options) -> Parse<()> {
    let at = cursor.here();
    let key = cursor.word(0);
    cursor.next();
    match key.as_str() {
        "FORMAT" => {
            let value = parse_value(cursor)?;
            options.kind = Some(kind(&value).or_else(|error| cursor.refuse(error, at))?);
        }
        "DELIMITER" => options.delimiter = Some(character(cursor, "DELIMITER")?),
        "NULL" => options.null = Some(cursor.string()?),
        "HEADER" => options.header = Some(boolean(cursor)?),
        "QUOTE" => options.quote = Some(character(cursor, "QUOTE")?),
        "ESCAPE" => options.escape = Some(character(cursor, "ESCAPE")?),
        "ENCODING" => encoding(cursor)?,
        "FREEZE" => {
            boolean(cursor)?;
        }
        "" => return cursor.expected("a COPY option"),
        _ => {
            let message = format!("COPY option \"{}\" is not supported", key.to_ascii_lowercase());
            return cursor.refuse(Error::unsupported(message, "use FORMAT, DELIMITER, NULL, HEADER, QUOTE, ESCAPE, ENCODING"), at);
        }
    }
    Ok(())
}

fn parse_legacy_option(cursor: &mut Cursor, options: &mut Options) -> Parse<()> {
    let key = cursor.word(0);
    if !matches!(key.as_str(), "BINARY" | "CSV" | "HEADER" | "DELIMITER" | "NULL" | "QUOTE" | "ESCAPE" | "ENCODING") {
        return cursor.expected("a COPY option");
    }
    cursor.next();
    match key.as_str() {
        "BINARY" => options.kind = Some(CopyKind::Binary),
        "CSV" => options.kind = Some(CopyKind::Csv),
        "HEADER" => options.header = Some(true),
        _ => {
            cursor.eat(&["AS"]);
            match key.as_str() {
                "DELIMITER" => options.delimiter = Some(character(cursor, "DELIMITER")?),
                "NULL" => options.null = Some(cursor.string()?),
                "QUOTE" => options.quote = Some(character(cursor, "QUOTE")?),
                "ESCAPE" => options.escape = Some(character(cursor, "ESCAPE")?),
                _ => encoding(cursor)?,
            }
        }
    }
    Ok(())
}

fn kind(value: &str) -> Result<CopyKind, Error> {
    match value.to_ascii_lowercase().as_str() {
        "text" => Ok(CopyKind::Text),
        "csv" => Ok(CopyKind::Csv),
        "binary" => Ok(CopyKind::Binary),
        other => Err(invalid(format!("COPY format \"{other}\" not recognized"))),
    }
}

fn character(cursor: &mut Cursor, option: &str) -> Parse<char> {
    let at = cursor.here();
    let token = cursor.next().token;
    let value = match &token {
        Token::SingleQuotedString(value) => value.as_str(),
        // psql's \copy and many dumps write E'\t'.
        Token::EscapedStringLiteral(value) => value.as_str(),
        _ => {
            cursor.parser.prev_token();
            return cursor.expected("a string");
        }
    };
    let mut characters = value.chars();
    match (characters.next(), characters.next()) {
        (Some(one), None) if one.is_ascii() && one != '\n' && one != '\r' => Ok(one),
        _ => cursor.refuse(invalid(format!("COPY {} must be a single one-byte character", option.to_ascii_lowercase())), at),
    }
}

fn boolean(cursor: &mut Cursor) -> Parse<bool> {
    if matches!(cursor.parser.peek_token_ref().token, Token::Comma | Token::RParen) {
        return Ok(true);
    }
    let at = cursor.here();
    match parse_value(cursor)?.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        other => cursor.refuse(invalid(format!("\"{other}\" is not a Boolean value")), at),
    }
}

fn encoding(cursor: &mut Cursor) -> Parse<()> {
    let at = cursor.here();
    let value = cursor.string()?;
    match value.to_ascii_lowercase().replace(['-', '_'], "").as_str() {
        "utf8" | "sqlascii" => Ok(()),
        _ => cursor.refuse(Error::unsupported(format!("encoding \"{value}\" is not supported"), "convert to UTF8 first"), at),
    }
}

fn invalid(message: String) -> Error {
    Error::new(sqlstate::INVALID_PARAMETER_VALUE, message)
}

/// The format with its defaults, or what Postgres too refuses.
fn finish(options: Options) -> Result<CopyFormat, Error> {
    let kind = options.kind.unwrap_or(CopyKind::Text);
    let csv = kind == CopyKind::Csv;
    let refused = |what: &str| Err(Error::new(sqlstate::SYNTAX_ERROR, what.to_owned()));
    if !csv && (options.quote.is_some() || options.escape.is_some()) {
        return refused("COPY quote and escape are available only in CSV mode");
    }
    if kind == CopyKind::Binary && (options.delimiter.is_some() || options.null.is_some() || options.header == Some(true)) {
        return refused("cannot specify DELIMITER, NULL or HEADER in BINARY mode");
    }
    let delimiter = options.delimiter.unwrap_or(if csv { ',' } else { '\t' });
    let quote = options.quote.unwrap_or('"');
    if csv && delimiter == quote {
        return Err(invalid("COPY delimiter and quote must be different".into()));
    }
    let null = options.null.unwrap_or_else(|| if csv { String::new() } else { "\\N".into() });
    if null.contains(['\n', '\r']) || null.contains(delimiter) {
        return Err(invalid("COPY null representation cannot use newline, carriage return or the delimiter".into()));
    }
    Ok(CopyFormat { kind, delimiter, header: options.header.unwrap_or(false), null, quote, escape: options.escape.unwrap_or(quote) })
}
