//! A value of any Arrow type as Postgres text.

use std::io::Write;

use arrow::array::*;

use super::column::{Column, Kind};
use super::datetime::{write_date, write_interval, write_time, write_timestamp, write_timestamptz};
use super::number::{write_decimal, write_double, write_real};

impl Column {
    /// Appends the text of a value that is not null.
    pub fn write_text(&self, out: &mut Vec<u8>, row: usize) {
        match &self.kind {
            Kind::Null => {}
            Kind::Boolean(array) => out.push(if array.value(row) { b't' } else { b'f' }),
            Kind::Int16(array) => write_display(out, array.value(row)),
            Kind::Int32(array) => write_display(out, array.value(row)),
            Kind::ObjectId(array) => write_display(out, array.value(row)),
            Kind::Int64(array) => write_display(out, array.value(row)),
            Kind::UInt64(array) => write_display(out, array.value(row)),
            Kind::Real(array) => write_real(out, array.value(row), self.extra_float_digits),
            Kind::Double(array) => write_double(out, array.value(row), self.extra_float_digits),
            Kind::Decimal(array, scale) => write_decimal(out, &array.value(row).to_string(), *scale),
            Kind::SmallDecimal(array, scale) => write_decimal(out, &array.value(row).to_string(), *scale),
            Kind::Text(array) => out.extend_from_slice(array.value(row).as_bytes()),
            Kind::Bytea(array) => {
                out.extend_from_slice(b"\\x");
                write_hex(out, array.value(row));
            }
            Kind::Date(array) => write_date(out, i64::from(array.value(row))),
            Kind::Time(array) => write_time(out, array.value(row)),
            Kind::Timestamp(array) => write_timestamp(out, array.value(row)),
            Kind::TimestampTz(array, local) => write_timestamptz(out, array.value(row), local.value(row)),
            Kind::Interval(array) => {
                let value = array.value(row);
                write_interval(out, i64::from(value.months), i64::from(value.days), value.nanoseconds / 1_000);
            }
            Kind::List(array, values) => write_list(out, array, values, row),
            Kind::Struct(fields) => write_struct(out, fields, row),
        }
    }
}

fn write_display(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    write!(out, "{value}").expect("a Vec takes all that is written");
}

fn write_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend(bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]));
}

/// `{a,"b c",NULL}`; nested lists stand without quotes, as `array_out` writes them.
fn write_list(out: &mut Vec<u8>, array: &ListArray, values: &Column, row: usize) {
    let offsets = array.value_offsets();
    let nested = matches!(values.kind, Kind::List(..));
    let mut text = Vec::new();
    out.push(b'{');
    for (position, index) in (offsets[row] as usize..offsets[row + 1] as usize).enumerate() {
        if position > 0 {
            out.push(b',');
        }
        if values.is_null(index) {
            out.extend_from_slice(b"NULL");
        } else if nested {
            values.write_text(out, index);
        } else {
            text.clear();
            values.write_text(&mut text, index);
            write_list_item(out, &text);
        }
    }
    out.push(b'}');
}

/// Appends an item of an array, quoted where it must be.
pub fn write_list_item(out: &mut Vec<u8>, text: &[u8]) {
    let special = |byte: &u8| matches!(byte, b'{' | b'}' | b',' | b'"' | b'\\') || is_space(*byte);
    if !text.is_empty() && !text.eq_ignore_ascii_case(b"null") && !text.iter().any(special) {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

/// `(a,"b c",)`: null is nothing at all, quotes and backslashes are doubled, as `record_out` writes them.
fn write_struct(out: &mut Vec<u8>, fields: &[Column], row: usize) {
    let mut text = Vec::new();
    out.push(b'(');
    for (position, field) in fields.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        if field.is_null(row) {
            continue;
        }
        text.clear();
        field.write_text(&mut text, row);
        write_struct_field(out, &text);
    }
    out.push(b')');
}

fn write_struct_field(out: &mut Vec<u8>, text: &[u8]) {
    let special = |byte: &u8| matches!(byte, b'(' | b')' | b',' | b'"' | b'\\') || is_space(*byte);
    if !text.is_empty() && !text.iter().any(special) {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(*byte);
        }
        out.push(*byte);
    }
    out.push(b'"');
}

/// Postgres's `array_isspace` also counts the vertical tab, which Rust's does not.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}
