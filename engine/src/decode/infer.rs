//! Columns of a file whose stream declares none, guessed from a sample: boolean, bigint, double precision, date, timestamp,
//! json or text, all nullable. What does not fit in a row behind the sample is a row in `"s$errors"`, not a wider type.

use catalog::{Column, SqlType};

use super::boundary::Boundary;
use super::delimited::Delimited;
use super::json::{Kind, Reader, Value, unescape};
use super::{CsvHeader, Format, datetime, text};
use crate::error::sqlstate::{FEATURE_NOT_SUPPORTED, INVALID_PARAMETER_VALUE};
use crate::{Error, Result};

/// The columns that the records of `sample` have. A record cut off at its end does not matter.
pub fn infer_columns(format: &Format, sample: &[u8]) -> Result<Vec<Column>> {
    let sample = sample.strip_prefix(b"\xef\xbb\xbf").unwrap_or(sample);
    let guesses = match format {
        Format::Ndjson => infer_json(&records(Boundary::lines(), sample)),
        Format::Csv(options) => {
            let delimited = Delimited::csv(options, 0)?;
            infer_csv(&delimited, options.header, &records(delimited.boundary(), sample))?
        }
        Format::CopyText { .. } => return Err(Error::new(FEATURE_NOT_SUPPORTED, "columns of COPY's text format must be declared")),
    };
    if guesses.is_empty() {
        return Err(
            Error::new(INVALID_PARAMETER_VALUE, "no columns were found in the file").with_hint("declare the columns in CREATE STREAM")
        );
    }
    Ok(guesses.into_iter().map(|(name, guess)| column(&name, guess.sql_type())).collect())
}

/// A nullable column without a default.
pub fn column(name: &str, sql_type: SqlType) -> Column {
    Column { name: name.into(), sql_type, nullable: true, default: None, comment: None }
}

/// What a column's values seen so far have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guess {
    Nothing,
    Boolean,
    BigInt,
    Double,
    Date,
    Timestamp,
    TimestampTz,
    Json,
    Text,
}

impl Guess {
    fn or(self, other: Self) -> Self {
        use Guess::*;
        match (self, other) {
            (Nothing, guess) | (guess, Nothing) => guess,
            (a, b) if a == b => a,
            (BigInt, Double) | (Double, BigInt) => Double,
            (Date, Timestamp) | (Timestamp, Date) => Timestamp,
            (Date | Timestamp, TimestampTz) | (TimestampTz, Date | Timestamp) => TimestampTz,
            _ => Text,
        }
    }

    fn of_text(value: &str) -> Self {
        let has_leading_zero = value.len() > 1 && value.starts_with('0') && !value.starts_with("0.");
        let is_number = value.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) && !has_leading_zero;
        if is_number && text::parse_integer(value, "bigint", i64::MIN, i64::MAX).is_ok() {
            return Self::BigInt;
        }
        if is_number && text::parse_double(value).is_ok() {
            return Self::Double;
        }
        match value.len() {
            4 | 5 if value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false") => Self::Boolean,
            8.. if value.starts_with(|c: char| c.is_ascii_digit()) => Self::of_time(value),
            _ => Self::Text,
        }
    }

    fn of_time(value: &str) -> Self {
        // Eight digits are a number; what has a sign behind the date has a zone.
        let after_date = value.get(10..).unwrap_or_default();
        match (datetime::parse_timestamp_tz(value, Ok).is_ok(), after_date.trim()) {
            (false, _) => Self::Text,
            (true, "") => Self::Date,
            (true, time) if time.contains(['+', '-']) => Self::TimestampTz,
            (true, _) => Self::Timestamp,
        }
    }

    fn of_json(value: Value<'_>) -> Self {
        match value.kind {
            Kind::Null => Self::Nothing,
            Kind::True | Kind::False => Self::Boolean,
            Kind::Number => Self::of_text(value.raw),
            // A number in quotes is meant as text, a date has no other way to be written.
            Kind::String { escaped: false } => match Self::of_text(&value.raw[1..value.raw.len() - 1]) {
                time @ (Self::Date | Self::Timestamp | Self::TimestampTz) => time,
                _ => Self::Text,
            },
            Kind::String { escaped: true } => Self::Text,
            Kind::Array | Kind::Object => Self::Json,
        }
    }

    fn sql_type(self) -> SqlType {
        match self {
            Self::Boolean => SqlType::Boolean,
            Self::BigInt => SqlType::BigInt,
            Self::Double => SqlType::Double,
            Self::Date => SqlType::Date,
            Self::Timestamp => SqlType::Timestamp,
            Self::TimestampTz => SqlType::TimestampTz,
            Self::Json => SqlType::Json,
            Self::Nothing | Self::Text => SqlType::Text,
        }
    }
}

fn records(mut boundary: Boundary, sample: &[u8]) -> Vec<&str> {
    let mut rest = sample;
    let mut records = Vec::new();
    while let Some(end) = boundary.find(rest) {
        records.push(&rest[..end]);
        rest = &rest[end..];
    }
    // The last record of a small file has no line end; that of a cut sample is incomplete, and then the first ones count.
    if records.is_empty() || !rest.is_empty() && std::str::from_utf8(rest).is_ok() {
        records.push(rest);
    }
    records.iter().filter_map(|record| std::str::from_utf8(record).ok()).map(|record| record.trim_end_matches(['\n', '\r'])).collect()
}

fn infer_json(records: &[&str]) -> Vec<(String, Guess)> {
    let mut guesses: Vec<(String, Guess)> = Vec::new();
    for record in records {
        let mut members = Vec::new();
        let mut reader = Reader::new(record);
        let read = reader.object(0, |key, value| {
            let mut name = String::new();
            unescape(key.raw, &mut name)?;
            members.push((name, Guess::of_json(value)));
            Ok(())
        });
        if read.is_err() {
            continue;
        }
        for (name, guess) in members {
            match guesses.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = known.or(guess),
                None => guesses.push((name, guess)),
            }
        }
    }
    guesses
}

fn infer_csv(delimited: &Delimited, header: CsvHeader, records: &[&str]) -> Result<Vec<(String, Guess)>> {
    let mut records = records.iter().filter(|record| !record.is_empty());
    let names: Vec<String> = match header {
        CsvHeader::Absent => Vec::new(),
        _ => {
            let fields = records.next().map(|record| delimited.split(record)).transpose()?.unwrap_or_default();
            fields.into_iter().map(|name| name.unwrap_or_default().trim().to_owned()).collect()
        }
    };
    let mut guesses: Vec<Guess> = vec![Guess::Nothing; names.len()];
    for fields in records.filter_map(|record| delimited.split(record).ok()) {
        if names.is_empty() && guesses.is_empty() {
            guesses = vec![Guess::Nothing; fields.len()];
        }
        if fields.len() != guesses.len() {
            continue;
        }
        for (guess, field) in guesses.iter_mut().zip(fields) {
            *guess = guess.or(field.map_or(Guess::Nothing, |field| Guess::of_text(field.trim())));
        }
    }
    let name = |index: usize| names.get(index).filter(|name| !name.is_empty()).cloned().unwrap_or_else(|| format!("column{}", index + 1));
    Ok(guesses.into_iter().enumerate().map(|(index, guess)| (name(index), guess)).collect())
}
