//! Functions over text that DataFusion has not, or has otherwise.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field};

use super::overload::{Kind, Overload, Scalar, over1, over2, over3, over4, part_by2, part_by3};
use super::typed::{BigInt, Bytea, Integer, Text};
use crate::encode::column::{Column, Style};
use crate::error::sqlstate::INVALID_PARAMETER_VALUE;
use crate::{Error, Result};

/// The functions of this table.
pub fn functions() -> Vec<Scalar> {
    let any = || Kind::Any;
    let text = || Kind::Exactly(DataType::Utf8);
    let variadic = |first: Vec<Kind>, function: fn(&[ArrayRef], usize, &DataType) -> Result<ArrayRef>| {
        Overload::fixed(first, DataType::Utf8, Arc::new(function)).followed_by(any())
    };
    vec![
        Scalar::new("concat").or(variadic(vec![any()], concat)),
        Scalar::new("concat_ws").or(variadic(vec![text()], concat_ws)),
        Scalar::new("format").or(variadic(vec![text()], format)),
        Scalar::new("left").or(part_by2::<Integer>(left)),
        Scalar::new("right").or(part_by2::<Integer>(right)),
        Scalar::new("substr")
            .alias("substring")
            .or(part_by2::<Integer>(|text, from| Ok(characters(text, from.into(), None))))
            .or(part_by3::<Integer, Integer>(substring_for))
            .or(over2::<Text, Text, Result<Option<String>>>(super::patterns::substring))
            .or(over3::<Text, Text, Text, Result<Option<String>>>(super::patterns::substring_similar)),
        Scalar::new("overlay")
            .or(over3::<Text, Text, Integer, Result<String>>(|text, new, from| overlay(text, new, from, new.chars().count() as i32)))
            .or(over4::<Text, Text, Integer, Integer, Result<String>>(overlay)),
        Scalar::new("split_part").or(part_by3::<Text, Integer>(split_part)),
        Scalar::new("initcap").or(over1::<Text, String>(initcap)),
        Scalar::new("reverse").or(over1::<Text, String>(|text| text.chars().rev().collect())),
        Scalar::new("repeat").or(over2::<Text, Integer, Result<String>>(repeat)),
        Scalar::new("lpad").or(over2::<Text, Integer, String>(|text, length| lpad(text, length, " "))).or(over3::<
            Text,
            Integer,
            Text,
            String,
        >(lpad)),
        Scalar::new("rpad").or(over2::<Text, Integer, String>(|text, length| rpad(text, length, " "))).or(over3::<
            Text,
            Integer,
            Text,
            String,
        >(rpad)),
        Scalar::new("to_hex").or(over1::<Integer, String>(|n| format!("{n:x}"))).or(over1::<BigInt, String>(|n| format!("{n:x}"))),
        Scalar::new("quote_ident").or(over1::<Text, String>(quote_ident)),
        Scalar::new("quote_literal").or(Overload::fixed(vec![any()], DataType::Utf8, Arc::new(quote_literals))),
        Scalar::new("quote_nullable").or(Overload::fixed(vec![any()], DataType::Utf8, Arc::new(quote_nullables))),
        Scalar::new("char_length")
            .alias("character_length")
            .alias("length")
            .or(over1::<Text, i32>(|text| text.chars().count() as i32))
            .or(over1::<Bytea, i32>(|bytes| bytes.len() as i32)),
        Scalar::new("octet_length").or(over1::<Text, i32>(|text| text.len() as i32)).or(over1::<Bytea, i32>(|bytes| bytes.len() as i32)),
        Scalar::new("bit_length")
            .or(over1::<Text, i32>(|text| text.len() as i32 * 8))
            .or(over1::<Bytea, i32>(|bytes| bytes.len() as i32 * 8)),
        Scalar::new("ascii").or(over1::<Text, i32>(|text| text.chars().next().map_or(0, |first| first as i32))),
        Scalar::new("chr").or(over1::<Integer, Result<String>>(chr)),
        Scalar::new("strpos").or(over2::<Text, Text, i32>(position)),
        Scalar::new("starts_with").or(over2::<Text, Text, bool>(|text, prefix| text.starts_with(prefix))),
        Scalar::new("encode").or(over2::<Bytea, Text, Result<String>>(encode)),
        Scalar::new("decode").or(over2::<Text, Text, Result<Vec<u8>>>(decode)),
        Scalar::new("string_to_array")
            .or(Overload::fixed(vec![text(), text()], super::typed::list_of(DataType::Utf8), Arc::new(string_to_array)))
            .or(Overload::fixed(vec![text(), text(), text()], super::typed::list_of(DataType::Utf8), Arc::new(string_to_array))),
        Scalar::new("array_to_string")
            .or(Overload::fixed(vec![Kind::Array, text()], DataType::Utf8, Arc::new(array_to_string)))
            .or(Overload::fixed(vec![Kind::Array, text(), text()], DataType::Utf8, Arc::new(array_to_string))),
        Scalar::new("varchar_of").or(over2::<Text, Integer, String>(|text, length| text.chars().take(length.max(0) as usize).collect())),
        Scalar::new("char_of").or(over2::<Text, Integer, String>(|text, length| {
            let cut: String = text.chars().take(length.max(0) as usize).collect();
            rpad(&cut, length, " ")
        })),
    ]
}

/// What output functions give for each row of any column; booleans are `t` and `f`.
pub fn shown(array: &ArrayRef) -> Result<impl Fn(usize) -> Option<String> + use<>> {
    shown_in(array, &Style::default())
}

/// The same for a session with these settings.
pub fn shown_in(array: &ArrayRef, style: &Style) -> Result<impl Fn(usize) -> Option<String> + use<>> {
    let column = Column::new(&Field::new("", array.data_type().clone(), true), array, style)?;
    Ok(move |row: usize| {
        (!column.is_null(row)).then(|| {
            let mut out = Vec::new();
            column.write_text(&mut out, row);
            String::from_utf8(out).expect("a value's text is UTF-8")
        })
    })
}

fn all_shown(arrays: &[ArrayRef]) -> Result<Vec<impl Fn(usize) -> Option<String>>> {
    arrays.iter().map(shown).collect()
}

fn concat(arguments: &[ArrayRef], n_rows: usize, _: &DataType) -> Result<ArrayRef> {
    let columns = all_shown(arguments)?;
    let row = |row: usize| Some(columns.iter().filter_map(|column| column(row)).collect::<String>());
    Ok(Arc::new((0..n_rows).map(row).collect::<StringArray>()))
}

fn concat_ws(arguments: &[ArrayRef], n_rows: usize, _: &DataType) -> Result<ArrayRef> {
    let separator = shown(&arguments[0])?;
    let columns = all_shown(&arguments[1..])?;
    let row = |row: usize| separator(row).map(|between| columns.iter().filter_map(|column| column(row)).collect::<Vec<_>>().join(&between));
    Ok(Arc::new((0..n_rows).map(row).collect::<StringArray>()))
}

/// `%s`, `%I`, `%L` and `%%`, with an optional position, `-` and width, as Postgres' `format`.
fn format(arguments: &[ArrayRef], n_rows: usize, _: &DataType) -> Result<ArrayRef> {
    let template = shown(&arguments[0])?;
    let columns = all_shown(&arguments[1..])?;
    let row = |row: usize| match template(row) {
        Some(template) => formatted(&template, &columns.iter().map(|column| column(row)).collect::<Vec<_>>()).map(Some),
        None => Ok(None),
    };
    Ok(Arc::new((0..n_rows).map(row).collect::<Result<StringArray>>()?))
}

fn formatted(template: &str, values: &[Option<String>]) -> Result<String> {
    let invalid = |message: String| Error::new(INVALID_PARAMETER_VALUE, message);
    let mut out = String::with_capacity(template.len());
    let mut characters = template.chars().peekable();
    let mut next = 0;
    while let Some(character) = characters.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        let mut specifier = String::new();
        let kind = loop {
            match characters.next() {
                Some(digit @ ('0'..='9' | '$' | '-')) => specifier.push(digit),
                Some(kind) => break kind,
                None => return Err(invalid("unterminated format() type specifier".into())),
            }
        };
        if kind == '%' {
            out.push('%');
            continue;
        }
        let (position, flags) = match specifier.split_once('$') {
            Some((position, flags)) => (position.parse::<usize>().ok(), flags),
            None => (None, specifier.as_str()),
        };
        let at = position.map_or(next, |position| position.wrapping_sub(1));
        next = at + 1;
        let value = values.get(at).ok_or_else(|| invalid("too few arguments for format()".into()))?;
        let text = match (kind, value) {
            ('s', value) => value.clone().unwrap_or_default(),
            ('I', Some(value)) => quote_ident(value),
            ('I', None) => return Err(Error::new("22004", "null values cannot be formatted as an SQL identifier")),
            ('L', Some(value)) => quote_literal(value),
            ('L', None) => "NULL".into(),
            _ => return Err(invalid(format!("unrecognized format() type specifier \"{kind}\""))),
        };
        let (left_aligned, width) = match flags.strip_prefix('-') {
            Some(width) => (true, width),
            None => (false, flags),
        };
        let missing = width.parse::<usize>().unwrap_or(0).saturating_sub(text.chars().count());
        let padding = " ".repeat(missing);
        match left_aligned {
            true => out.extend([text, padding]),
            false => out.extend([padding, text]),
        }
    }
    Ok(out)
}

/// Words that must be quoted to be a name: those Postgres reserves.
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "current_catalog",
    "current_date",
    "current_role",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "from",
    "grant",
    "group",
    "having",
    "in",
    "initially",
    "intersect",
    "into",
    "lateral",
    "leading",
    "limit",
    "localtime",
    "localtimestamp",
    "not",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "placing",
    "primary",
    "references",
    "returning",
    "select",
    "session_user",
    "some",
    "symmetric",
    "table",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "when",
    "where",
    "window",
    "with",
];

fn quote_ident(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let is_plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_') && name.chars().all(plain) && !RESERVED.contains(&name);
    if is_plain { name.into() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn quote_literal(value: &str) -> String {
    let quoted = value.replace('\'', "''");
    if value.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

fn quote_literals(arguments: &[ArrayRef], n_rows: usize, _: &DataType) -> Result<ArrayRef> {
    let column = shown(&arguments[0])?;
    Ok(Arc::new((0..n_rows).map(|row| column(row).map(|value| quote_literal(&value))).collect::<StringArray>()))
}

fn quote_nullables(arguments: &[ArrayRef], n_rows: usize, _: &DataType) -> Result<ArrayRef> {
    let column = shown(&arguments[0])?;
    Ok(Arc::new((0..n_rows).map(|row| Some(column(row).map_or("NULL".into(), |value| quote_literal(&value)))).collect::<StringArray>()))
}

/// The first `n` characters, or all but the last `-n`.
fn left(text: &str, n: i32) -> Result<&str> {
    let kept = if n >= 0 { n as usize } else { text.chars().count().saturating_sub(n.unsigned_abs() as usize) };
    Ok(&text[..offset_of(text, kept)])
}

/// The last `n` characters, or all but the first `-n`.
fn right(text: &str, n: i32) -> Result<&str> {
    let dropped = if n >= 0 { text.chars().count().saturating_sub(n as usize) } else { n.unsigned_abs() as usize };
    Ok(&text[offset_of(text, dropped)..])
}

/// Where in the text the character after the first `n` begins: its end when it has no more.
fn offset_of(text: &str, n: usize) -> usize {
    text.char_indices().nth(n).map_or(text.len(), |(offset, _)| offset)
}

/// Characters from the 1-based place `from`, which may lie before the text.
fn characters(text: &str, from: i64, n: Option<i64>) -> &str {
    let end = n.map_or(i64::MAX, |n| from.saturating_add(n));
    let start = from.max(1);
    let rest = &text[offset_of(text, (start - 1) as usize)..];
    &rest[..offset_of(rest, (end - start).max(0) as usize)]
}

fn substring_for(text: &str, from: i32, n: i32) -> Result<&str> {
    if n < 0 {
        return Err(Error::new("22011", "negative substring length not allowed"));
    }
    Ok(characters(text, from.into(), Some(n.into())))
}

fn overlay(text: &str, new: &str, from: i32, n: i32) -> Result<String> {
    if from <= 0 {
        return Err(Error::new("22011", "negative substring length not allowed"));
    }
    let rest = characters(text, i64::from(from) + i64::from(n), None);
    Ok([characters(text, 1, Some(i64::from(from) - 1)), new, rest].concat())
}

/// Part `n` of those between the separators, counted from the end when it is negative; empty when there are fewer.
fn split_part<'a>(text: &'a str, between: &str, n: i32) -> Result<&'a str> {
    let at = match n.unsigned_abs().checked_sub(1) {
        Some(at) => at as usize,
        None => return Err(Error::new(INVALID_PARAMETER_VALUE, "field position must not be zero")),
    };
    let mut letters = between.chars();
    let part = match (letters.next(), letters.next(), n > 0) {
        (None, ..) => (at == 0).then_some(text),
        (Some(letter), None, true) => text.split(letter).nth(at),
        (Some(letter), None, false) => text.rsplit(letter).nth(at),
        (Some(_), Some(_), true) => text.split(between).nth(at),
        // separators that overlap are found from the left either way
        (Some(_), Some(_), false) => text.split(between).count().checked_sub(at + 1).and_then(|at| text.split(between).nth(at)),
    };
    Ok(part.unwrap_or_default())
}

fn initcap(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for character in text.chars() {
        match inside {
            true => out.extend(character.to_lowercase()),
            false => out.extend(character.to_uppercase()),
        }
        inside = character.is_alphanumeric();
    }
    out
}

/// The longest text a function makes: what Postgres allows for a value.
const MAX_TEXT_BYTES: usize = 1 << 30;

fn repeat(text: &str, n: i32) -> Result<String> {
    let n = n.max(0) as usize;
    match text.len().checked_mul(n) {
        Some(bytes) if bytes < MAX_TEXT_BYTES => Ok(text.repeat(n)),
        _ => Err(Error::new("54000", "requested length too large")),
    }
}

fn padding(fill: &str, n: usize) -> String {
    if fill.is_empty() { String::new() } else { fill.chars().cycle().take(n).collect() }
}

fn lpad(text: &str, length: i32, fill: &str) -> String {
    let (length, n) = (length.max(0) as usize, text.chars().count());
    if n >= length { text.chars().take(length).collect() } else { padding(fill, length - n) + text }
}

fn rpad(text: &str, length: i32, fill: &str) -> String {
    let (length, n) = (length.max(0) as usize, text.chars().count());
    if n >= length { text.chars().take(length).collect() } else { text.to_string() + &padding(fill, length - n) }
}

fn chr(n: i32) -> Result<String> {
    match u32::try_from(n).ok().and_then(char::from_u32) {
        Some('\0') => Err(Error::new("54000", "null character not permitted")),
        Some(character) => Ok(character.into()),
        None => Err(Error::new("54000", format!("requested character too large for encoding: {n}"))),
    }
}

fn position(text: &str, part: &str) -> i32 {
    text.find(part).map_or(0, |at| text[..at].chars().count() as i32 + 1)
}

fn encode(bytes: &[u8], format: &str) -> Result<String> {
    match format.to_ascii_lowercase().as_str() {
        "hex" => Ok(hex::encode(bytes)),
        "base64" => Ok(base64(bytes)),
        "escape" => Ok(bytes
            .iter()
            .map(|byte| match byte {
                b'\\' => "\\\\".to_string(),
                0 | 0x80.. => format!("\\{byte:03o}"),
                _ => char::from(*byte).to_string(),
            })
            .collect()),
        _ => Err(Error::new(INVALID_PARAMETER_VALUE, format!("unrecognized encoding: \"{format}\""))),
    }
}

fn decode(text: &str, format: &str) -> Result<Vec<u8>> {
    let invalid = |message: String| Error::new(INVALID_PARAMETER_VALUE, message);
    match format.to_ascii_lowercase().as_str() {
        "hex" => {
            let digits: String = text.split_whitespace().collect();
            hex::decode(digits).map_err(|error| invalid(format!("invalid hexadecimal data: {error}")))
        }
        "base64" => bytes_of_base64(text).ok_or_else(|| invalid("invalid base64 end sequence".into())),
        "escape" => {
            let mut out = Vec::new();
            crate::decode::text::parse_bytea(text, &mut out)?;
            Ok(out)
        }
        _ => Err(invalid(format!("unrecognized encoding: \"{format}\""))),
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// In lines of 76 characters, as MIME and Postgres have it.
fn base64(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (at, group) in bytes.chunks(3).enumerate() {
        if at > 0 && at % 19 == 0 {
            out.push('\n');
        }
        let value = group.iter().fold(0u32, |value, byte| value << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            match place <= group.len() {
                true => out.push(BASE64[(value >> (18 - 6 * place) & 63) as usize].into()),
                false => out.push('='),
            }
        }
    }
    out
}

fn bytes_of_base64(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let end = digits.iter().position(|byte| *byte == b'=').unwrap_or(digits.len());
    if !digits.len().is_multiple_of(4) || digits.len() - end > 2 || digits[end..].iter().any(|byte| *byte != b'=') {
        return None;
    }
    let mut out = Vec::new();
    for group in digits[..end].chunks(4) {
        let value = group.iter().try_fold(0u32, |value, byte| {
            let digit = BASE64.iter().position(|known| known == byte)?;
            Some(value << 6 | digit as u32)
        })?;
        let value = value << (6 * (4 - group.len()));
        out.extend((0..group.len() - 1).map(|place| (value >> (16 - 8 * place)) as u8));
    }
    Some(out)
}

fn string_to_array(arguments: &[ArrayRef], n_rows: usize, _: &DataType) -> Result<ArrayRef> {
    use super::typed::Returned;
    let columns = all_shown(arguments)?;
    let row = |row: usize| {
        let text = columns[0](row)?;
        let null = columns.get(2).and_then(|null| null(row));
        let parts: Vec<String> = match columns[1](row) {
            _ if text.is_empty() => vec![],
            None => text.chars().map(String::from).collect(),
            Some(between) if between.is_empty() => vec![text],
            Some(between) => text.split(&between).map(String::from).collect(),
        };
        Some(parts.into_iter().map(|part| (null.as_ref() != Some(&part)).then_some(part)).collect::<Vec<_>>())
    };
    Ok(Vec::array((0..n_rows).map(row).collect()))
}

fn array_to_string(arguments: &[ArrayRef], n_rows: usize, _: &DataType) -> Result<ArrayRef> {
    let lists = arrow::array::AsArray::as_list::<i32>(&arguments[0]);
    let between = shown(&arguments[1])?;
    let null = arguments.get(2).map(shown).transpose()?;
    let row = |row: usize| -> Result<Option<String>> {
        let Some(between) = between(row).filter(|_| !lists.is_null(row)) else { return Ok(None) };
        let null = null.as_ref().and_then(|null| null(row));
        let mut items = vec![];
        flatten(&lists.value(row), null.as_ref(), &mut items)?;
        Ok(Some(items.join(&between)))
    };
    Ok(Arc::new((0..n_rows).map(row).collect::<Result<StringArray>>()?))
}

/// The texts of all elements, those of nested arrays one by one.
fn flatten(values: &ArrayRef, null: Option<&String>, out: &mut Vec<String>) -> Result<()> {
    if let DataType::List(_) = values.data_type() {
        let lists = arrow::array::AsArray::as_list::<i32>(values);
        return lists.iter().flatten().try_for_each(|inner| flatten(&inner, null, out));
    }
    let item = shown(values)?;
    out.extend((0..values.len()).filter_map(|at| item(at).or_else(|| null.cloned())));
    Ok(())
}
