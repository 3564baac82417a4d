//! A value of any Arrow type as JSON, the way Postgres' `to_json` writes it.

use arrow::array::*;
use catalog::SqlType;

use super::column::{Column, Kind};

impl Column {
    /// Appends the JSON of a value.
    pub fn write_json(&self, out: &mut Vec<u8>, row: usize) {
        if self.is_null(row) {
            return out.extend_from_slice(b"null");
        }
        match &self.kind {
            Kind::Boolean(array) => out.extend_from_slice(if array.value(row) { b"true" } else { b"false" }),
            Kind::Real(array) if !array.value(row).is_finite() => self.write_quoted(out, row),
            Kind::Double(array) if !array.value(row).is_finite() => self.write_quoted(out, row),
            Kind::Text(_) if matches!(self.sql_type, SqlType::Json | SqlType::Jsonb) => self.write_text(out, row),
            Kind::Int16(_)
            | Kind::Int32(_)
            | Kind::ObjectId(_)
            | Kind::Int64(_)
            | Kind::UInt64(_)
            | Kind::Real(_)
            | Kind::Double(_)
            | Kind::Decimal(..)
            | Kind::SmallDecimal(..) => self.write_text(out, row),
            Kind::List(array, values) => write_items(out, array, row, ",", &mut |out, item| values.write_json(out, item)),
            Kind::Struct(fields) => {
                let SqlType::Struct(names) = &self.sql_type else { return self.write_quoted(out, row) };
                out.push(b'{');
                for (place, (field, (name, _))) in fields.iter().zip(names).enumerate() {
                    out.extend_from_slice(if place == 0 { b"" } else { b"," });
                    write_string(out, name);
                    out.push(b':');
                    field.write_json(out, row);
                }
                out.push(b'}');
            }
            Kind::Null
            | Kind::Text(_)
            | Kind::Bytea(_)
            | Kind::Date(_)
            | Kind::Time(_)
            | Kind::Timestamp(_)
            | Kind::TimestampTz(..)
            | Kind::Interval(_) => self.write_quoted(out, row),
        }
    }

    /// Appends the values of a list as `json_agg` does: with a space after each comma.
    pub fn write_json_group(&self, out: &mut Vec<u8>, row: usize) {
        match &self.kind {
            Kind::List(array, values) if !self.is_null(row) => {
                write_items(out, array, row, ", ", &mut |out, item| values.write_json(out, item));
            }
            _ => self.write_json(out, row),
        }
    }

    /// As text in quotes; of a time, as ISO 8601 has it.
    fn write_quoted(&self, out: &mut Vec<u8>, row: usize) {
        let mut text = Vec::new();
        self.write_text(&mut text, row);
        let mut text = String::from_utf8_lossy(&text).into_owned();
        if matches!(self.kind, Kind::Timestamp(_) | Kind::TimestampTz(..)) {
            text = text.replacen(' ', "T", 1);
        }
        if matches!(self.kind, Kind::TimestampTz(..)) {
            with_minutes(&mut text);
        }
        write_string(out, &text);
    }
}

/// An offset from UTC has its minutes: `+00` is `+00:00`.
fn with_minutes(text: &mut String) {
    let end = text.find(" BC").unwrap_or(text.len());
    let sign = text[..end].rfind(['+', '-']).unwrap_or(end);
    if end - sign == 3 {
        text.insert_str(end, ":00");
    }
}

fn write_items(out: &mut Vec<u8>, array: &ListArray, row: usize, separator: &str, write: &mut dyn FnMut(&mut Vec<u8>, usize)) {
    let offsets = array.value_offsets();
    out.push(b'[');
    for (place, item) in (offsets[row] as usize..offsets[row + 1] as usize).enumerate() {
        if place > 0 {
            out.extend_from_slice(separator.as_bytes());
        }
        write(out, item);
    }
    out.push(b']');
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a Vec takes all that is written");
}
