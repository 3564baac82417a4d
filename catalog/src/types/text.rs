//! SQL types as text: printed as Postgres's `format_type` does.
//!
//! Two things differ from `format_type`, so that the text can be read back: an array of arrays keeps its dimensions
//! (`integer[][]`), and a struct names its fields (`struct<a integer, "B" text>`).

use std::fmt;

use super::SqlType;

/// A text that is not a type we have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TypeError {
    /// No such type, or a part of its text that we do not understand.
    #[error("type \"{0}\" does not exist")]
    Unknown(String),
    /// A modifier out of range.
    #[error("{0}")]
    Modifier(String),
}

impl TypeError {
    /// The SQLSTATE: 42704 (undefined object) or 22023 (invalid parameter value).
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "42704",
            Self::Modifier(_) => "22023",
        }
    }
}

impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Boolean => "boolean",
            Self::SmallInt => "smallint",
            Self::Integer => "integer",
            Self::BigInt => "bigint",
            Self::Real => "real",
            Self::Double => "double precision",
            Self::Numeric(None) => "numeric",
            Self::Numeric(Some((precision, scale))) => return write!(f, "numeric({precision},{scale})"),
            Self::Text => "text",
            Self::Varchar(None) => "character varying",
            Self::Varchar(Some(length)) => return write!(f, "character varying({length})"),
            Self::Char(length) => return write!(f, "character({length})"),
            Self::Bytea => "bytea",
            Self::Date => "date",
            Self::Time => "time without time zone",
            Self::Timestamp => "timestamp without time zone",
            Self::TimestampTz => "timestamp with time zone",
            Self::Interval => "interval",
            Self::Uuid => "uuid",
            Self::Json => "json",
            Self::Jsonb => "jsonb",
            Self::System(system) => system.text(),
            Self::Array(item) => return write!(f, "{item}[]"),
            Self::Struct(fields) => return write_struct(f, fields),
        };
        f.write_str(name)
    }
}

fn write_struct(f: &mut fmt::Formatter<'_>, fields: &[(String, SqlType)]) -> fmt::Result {
    f.write_str("struct<")?;
    for (index, (name, of)) in fields.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(f, "{comma}{} {of}", quote_if_needed(name))?;
    }
    f.write_str(">")
}

fn quote_if_needed(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    match name.chars().next() {
        Some(first) if !first.is_ascii_digit() && name.chars().all(is_plain) => name.to_owned(),
        _ => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}
