//! `WITH (key = value, …)` and `FORMAT … ENCODE …`.

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::{Cursor, Parse};
use crate::Error;
use crate::error::sqlstate;

/// `[WITH (…)] [FORMAT f ENCODE e [(…)]]`: keys in lower case, values as text.
pub(super) fn parse_with(cursor: &mut Cursor) -> Parse<BTreeMap<String, String>> {
    let mut options = BTreeMap::new();
    if cursor.at(&["WITH"]) && cursor.parser.peek_nth_token_ref(1).token == Token::LParen {
        cursor.next();
        parse_parenthesised(cursor, &mut options)?;
    }
    if cursor.eat(&["FORMAT"]) {
        parse_format_encode(cursor, &mut options)?;
    }
    Ok(options)
}

/// RisingWave's spelling of what others write into WITH: the encoding is the option `format`; an envelope that is more than
/// plain rows is the option `envelope`.
fn parse_format_encode(cursor: &mut Cursor, options: &mut BTreeMap<String, String>) -> Parse<()> {
    let at = cursor.here();
    let envelope = cursor.identifier()?;
    cursor.expect(&["ENCODE"])?;
    let encoding = cursor.identifier()?;
    if options.insert("format".into(), encoding).is_some() {
        return cursor.refuse(twice("format"), at);
    }
    if envelope != "plain" {
        options.insert("envelope".into(), envelope);
    }
    match cursor.at_token(&Token::LParen) {
        true => parse_parenthesised(cursor, options),
        false => Ok(()),
    }
}

fn parse_parenthesised(cursor: &mut Cursor, options: &mut BTreeMap<String, String>) -> Parse<()> {
    cursor.expect_token(&Token::LParen)?;
    if cursor.eat_token(&Token::RParen) {
        return Ok(());
    }
    loop {
        let at = cursor.here();
        let (key, value) = parse_option(cursor)?;
        if options.contains_key(&key) {
            return cursor.refuse(twice(&key), at);
        }
        options.insert(key, value);
        if !cursor.eat_token(&Token::Comma) {
            return cursor.expect_token(&Token::RParen);
        }
    }
}

fn twice(key: &str) -> Error {
    Error::new(sqlstate::SYNTAX_ERROR, format!("option \"{key}\" is given more than once"))
}

/// `key [= value]`; a key alone means true.
fn parse_option(cursor: &mut Cursor) -> Parse<(String, String)> {
    let key = parse_key(cursor)?;
    let value = match cursor.eat_token(&Token::Eq) {
        true => parse_value(cursor)?,
        false => "true".into(),
    };
    Ok((key, value))
}

/// `connector`, `properties.bootstrap.server`, `'key in quotes'`.
fn parse_key(cursor: &mut Cursor) -> Parse<String> {
    if let Token::SingleQuotedString(key) = &cursor.parser.peek_token_ref().token {
        let key = key.to_ascii_lowercase();
        cursor.next();
        return Ok(key);
    }
    let mut key = cursor.identifier()?;
    while let Some(separator) =
        [(Token::Period, '.'), (Token::Minus, '-')].into_iter().find_map(|(token, c)| cursor.eat_token(&token).then_some(c))
    {
        key.push(separator);
        key.push_str(&cursor.identifier()?);
    }
    Ok(key.to_ascii_lowercase())
}

/// A string, a number, a boolean or a word.
pub(super) fn parse_value(cursor: &mut Cursor) -> Parse<String> {
    let sign = if cursor.eat_token(&Token::Minus) { "-" } else { "" };
    let value = match &cursor.parser.peek_token_ref().token {
        Token::Number(number, _) => format!("{sign}{number}"),
        _ if !sign.is_empty() => return cursor.expected("a number"),
        Token::SingleQuotedString(value) | Token::EscapedStringLiteral(value) | Token::UnicodeStringLiteral(value) => value.clone(),
        Token::DollarQuotedString(value) => value.value.clone(),
        Token::Word(word) => match word.value.to_ascii_lowercase() {
            boolean if boolean == "true" || boolean == "false" => boolean,
            _ => word.value.clone(),
        },
        _ => return cursor.expected("a string, number or boolean"),
    };
    cursor.next();
    Ok(value)
}
