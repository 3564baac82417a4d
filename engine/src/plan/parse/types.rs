//! Declared types: Postgres's names, and those of Flink and RisingWave for the same (`STRING`, `ARRAY<INT>`, `ROW(a INT)`).

use catalog::SqlType;
use catalog::types::SystemType;
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, Ident, ObjectName, StructBracketKind, StructField, TimezoneInfo,
};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::{Cursor, Parse};
use crate::error::sqlstate;
use crate::plan::names;
use crate::{Error, Result};

/// The largest precision of NUMERIC: what 128 bits hold.
const MAX_PRECISION: u64 = 38;

/// Reads a type.
pub(super) fn parse_type(cursor: &mut Cursor) -> Parse<SqlType> {
    let (found, closing) = cursor.nested(parse_nested)?;
    if closing > 0 {
        // Points at the `>>` of which one is too many.
        cursor.parser.prev_token();
        return cursor.expected("one > less");
    }
    Ok(found)
}

/// Reads a type and says how many closing `>` more than its own were in its last token: `>>` is one token.
fn parse_nested(cursor: &mut Cursor) -> Parse<(SqlType, usize)> {
    let at = cursor.here();
    let next_is = |token: &Token| cursor.parser.peek_nth_token_ref(1).token == *token;
    let (mut found, closing) = match cursor.word(0).as_str() {
        "ROW" | "STRUCT" if next_is(&Token::LParen) => {
            cursor.next();
            (SqlType::Struct(cursor.parenthesised(parse_field)?), 0)
        }
        "ROW" | "STRUCT" if next_is(&Token::Lt) => {
            cursor.next();
            cursor.next();
            parse_angled_fields(cursor)?
        }
        "ARRAY" if next_is(&Token::Lt) => {
            cursor.next();
            cursor.next();
            let (element, closing) = cursor.nested(parse_nested)?;
            (SqlType::Array(Box::new(element)), close_angle(cursor, closing)?)
        }
        _ => {
            let declared = cursor.parser.parse_data_type()?;
            (sql_type(&declared).or_else(|error| cursor.refuse(error, at))?, 0)
        }
    };
    if closing == 0 {
        // `int ARRAY` and `int[]` behind our own spellings; sqlparser has read those behind its own.
        while cursor.eat_token(&Token::LBracket) {
            cursor.expect_token(&Token::RBracket)?;
            found = SqlType::Array(Box::new(found));
        }
        if cursor.eat(&["ARRAY"]) {
            found = SqlType::Array(Box::new(found));
        }
    }
    Ok((found, closing))
}

/// `name type`, inside parentheses.
fn parse_field(cursor: &mut Cursor) -> Parse<(String, SqlType)> {
    Ok((cursor.identifier()?, parse_type(cursor)?))
}

/// `name type, … >`, behind the `<`.
fn parse_angled_fields(cursor: &mut Cursor) -> Parse<(SqlType, usize)> {
    let mut fields = vec![];
    loop {
        let name = cursor.identifier()?;
        cursor.eat_token(&Token::Colon);
        let (field, closing) = cursor.nested(parse_nested)?;
        fields.push((name, field));
        if closing > 0 || !cursor.eat_token(&Token::Comma) {
            return Ok((SqlType::Struct(fields), close_angle(cursor, closing)?));
        }
    }
}

/// Passes one `>`, or takes it from those already passed.
fn close_angle(cursor: &mut Cursor, passed: usize) -> Parse<usize> {
    if passed > 0 {
        return Ok(passed - 1);
    }
    if cursor.eat_token(&Token::ShiftRight) {
        return Ok(1);
    }
    cursor.expect_token(&Token::Gt)?;
    Ok(0)
}

/// The SQL type of a declared one; `42704` when there is none of that name.
pub fn sql_type(declared: &DataType) -> Result<SqlType> {
    Ok(match declared {
        DataType::Boolean | DataType::Bool => SqlType::Boolean,
        DataType::SmallInt(_) | DataType::Int2(_) | DataType::TinyInt(_) => SqlType::SmallInt,
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => SqlType::Integer,
        DataType::BigInt(_) | DataType::Int8(_) => SqlType::BigInt,
        DataType::Real | DataType::Float4 => SqlType::Real,
        DataType::Float(size) => float(size)?,
        DataType::Double(_) | DataType::DoublePrecision | DataType::Float8 => SqlType::Double,
        DataType::Numeric(size) | DataType::Decimal(size) | DataType::Dec(size) => SqlType::Numeric(numeric(size)?),
        DataType::Text | DataType::String(_) => SqlType::Text,
        DataType::Varchar(length) | DataType::CharacterVarying(length) | DataType::CharVarying(length) => {
            SqlType::Varchar(length.as_ref().map(|length| characters(length, "varchar")).transpose()?)
        }
        DataType::Char(length) | DataType::Character(length) => {
            SqlType::Char(length.as_ref().map_or(Ok(1), |length| characters(length, "char"))?)
        }
        DataType::Bytea | DataType::Bytes(_) | DataType::Varbinary(_) | DataType::Binary(_) | DataType::Blob(_) => SqlType::Bytea,
        DataType::Date => SqlType::Date,
        DataType::Time(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => SqlType::Time,
        DataType::Time(..) => {
            return Err(Error::unsupported("type time with time zone is not supported", "use time, or timestamptz"));
        }
        DataType::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) | DataType::TimestampNtz(_) => SqlType::Timestamp,
        DataType::Timestamp(..) => SqlType::TimestampTz,
        DataType::Interval { .. } => SqlType::Interval,
        DataType::Uuid => SqlType::Uuid,
        DataType::JSON => SqlType::Json,
        DataType::JSONB => SqlType::Jsonb,
        DataType::Array(
            ArrayElemTypeDef::AngleBracket(element) | ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::Parenthesis(element),
        ) => SqlType::Array(Box::new(sql_type(element)?)),
        DataType::Struct(fields, _) => SqlType::Struct(
            fields
                .iter()
                .enumerate()
                .map(|(at, field)| {
                    let name = field.field_name.as_ref().map_or_else(|| format!("f{}", at + 1), names::fold);
                    Ok((name, sql_type(&field.field_type)?))
                })
                .collect::<Result<_>>()?,
        ),
        DataType::Custom(name, modifiers) => custom(&names::name(name)?.name, modifiers)?,
        other => return Err(unknown(&other.to_string())),
    })
}

/// Types sqlparser knows no word for.
fn custom(name: &str, modifiers: &[String]) -> Result<SqlType> {
    match (name, modifiers) {
        ("name", []) => Ok(SqlType::Text),
        ("char", []) => Ok(SqlType::Char(1)),
        ("bpchar", [length]) => match length.parse() {
            Ok(length) if length > 0 => Ok(SqlType::Char(length)),
            _ => Err(Error::new(sqlstate::INVALID_PARAMETER_VALUE, "length for type char must be at least 1")),
        },
        ("bpchar", []) => Ok(SqlType::Text),
        ("timestamp_ltz", _) => Ok(SqlType::TimestampTz),
        ("serial" | "bigserial" | "smallserial", []) => {
            Err(Error::unsupported(format!("type {name} is not supported"), "use bigint and give the value, or a uuid with DEFAULT"))
        }
        _ => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> Error {
    Error::new(sqlstate::UNDEFINED_OBJECT, format!("type \"{}\" does not exist", name.to_ascii_lowercase()))
}

/// `float(n)`: real up to 24 bits, double up to 53.
fn float(size: &ExactNumberInfo) -> Result<SqlType> {
    match size {
        ExactNumberInfo::None | ExactNumberInfo::Precision(25..=53) => Ok(SqlType::Double),
        ExactNumberInfo::Precision(1..=24) => Ok(SqlType::Real),
        _ => Err(Error::new(sqlstate::INVALID_PARAMETER_VALUE, "precision for type float must be between 1 and 53 bits")),
    }
}

fn numeric(size: &ExactNumberInfo) -> Result<Option<(u8, i8)>> {
    let (precision, scale) = match size {
        ExactNumberInfo::None => return Ok(None),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    let invalid = |what: String| Err(Error::new(sqlstate::INVALID_PARAMETER_VALUE, what));
    if !(1..=MAX_PRECISION).contains(&precision) {
        return invalid(format!("NUMERIC precision {precision} must be between 1 and {MAX_PRECISION}"));
    }
    if !(0..=precision as i64).contains(&scale) {
        return invalid(format!("NUMERIC scale {scale} must be between 0 and precision {precision}"));
    }
    Ok(Some((precision as u8, scale as i8)))
}

fn characters(length: &CharacterLength, name: &str) -> Result<u32> {
    match length {
        CharacterLength::IntegerLength { length, .. } if *length > 0 => u32::try_from(*length)
            .map_err(|_| Error::new(sqlstate::INVALID_PARAMETER_VALUE, format!("length for type {name} is too large"))),
        _ => Err(Error::new(sqlstate::INVALID_PARAMETER_VALUE, format!("length for type {name} must be at least 1"))),
    }
}

/// A type as the AST has it, for casts.
pub fn data_type(sql_type: &SqlType) -> DataType {
    let characters = |length: u32| CharacterLength::IntegerLength { length: length.into(), unit: None };
    match sql_type {
        SqlType::Boolean => DataType::Boolean,
        SqlType::SmallInt => DataType::SmallInt(None),
        SqlType::Integer => DataType::Integer(None),
        SqlType::BigInt => DataType::BigInt(None),
        SqlType::Real => DataType::Real,
        SqlType::Double => DataType::DoublePrecision,
        SqlType::Numeric(None) => DataType::Numeric(ExactNumberInfo::None),
        SqlType::Numeric(Some((precision, scale))) => {
            DataType::Numeric(ExactNumberInfo::PrecisionAndScale((*precision).into(), (*scale).into()))
        }
        SqlType::Text => DataType::Text,
        SqlType::Varchar(length) => DataType::Varchar(length.map(characters)),
        SqlType::Char(length) => DataType::Char(Some(characters(*length))),
        SqlType::Bytea => DataType::Bytea,
        SqlType::Date => DataType::Date,
        SqlType::Time => DataType::Time(None, TimezoneInfo::None),
        SqlType::Timestamp => DataType::Timestamp(None, TimezoneInfo::None),
        SqlType::TimestampTz => DataType::Timestamp(None, TimezoneInfo::WithTimeZone),
        SqlType::Interval => DataType::Interval { fields: None, precision: None },
        SqlType::Uuid => DataType::Uuid,
        SqlType::Json => DataType::JSON,
        SqlType::Jsonb => DataType::JSONB,
        SqlType::System(system) => DataType::Custom(ObjectName::from(vec![system_name(*system)]), vec![]),
        SqlType::Array(element) => DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(data_type(element)), None)),
        SqlType::Struct(fields) => DataType::Struct(fields.iter().map(struct_field).collect(), StructBracketKind::AngleBrackets),
    }
}

fn system_name(system: SystemType) -> Ident {
    match system {
        SystemType::InternalChar => names::quoted(system.pg().name),
        _ => Ident::new(system.text()),
    }
}

fn struct_field((name, sql_type): &(String, SqlType)) -> StructField {
    StructField { field_name: Some(names::quoted(name)), field_type: data_type(sql_type), options: None }
}
