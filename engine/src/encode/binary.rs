//! A value as Postgres's send functions write it: big-endian, dates and times counted from 2000-01-01.
//!
//! Values that the format cannot hold, dates near the ends of what an `i64` counts, are kept within its bounds.

use super::column::{Column, Kind};
use super::number::{Scale, write_decimal};
use catalog::SqlType;

/// Days from 1970-01-01, where Arrow counts from, to 2000-01-01.
pub const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
pub const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;
/// The version of `jsonb`'s binary form.
pub const JSONB_VERSION: u8 = 1;

impl Column {
    /// Appends the binary form of a value that is not null.
    pub fn write_binary(&self, out: &mut Vec<u8>, row: usize) {
        match &self.kind {
            Kind::Null => {}
            Kind::Boolean(array) => out.push(u8::from(array.value(row))),
            Kind::Int16(array) => out.extend(array.value(row).to_be_bytes()),
            Kind::Int32(array) => out.extend(array.value(row).to_be_bytes()),
            Kind::Int64(array) => out.extend(array.value(row).to_be_bytes()),
            // Object ids are 32 bits wide wherever they come from.
            Kind::ObjectId(array) => out.extend((array.value(row) as u32).to_be_bytes()),
            Kind::Real(array) => out.extend(array.value(row).to_be_bytes()),
            Kind::Double(array) => out.extend(array.value(row).to_be_bytes()),
            Kind::UInt64(array) => write_numeric(out, &array.value(row).to_string(), Scale::Fixed(0)),
            Kind::Decimal(array, scale) => write_numeric(out, &array.value(row).to_string(), *scale),
            Kind::SmallDecimal(array, scale) => write_numeric(out, &array.value(row).to_string(), *scale),
            Kind::Text(array) => write_text(out, array.value(row), &self.sql_type),
            Kind::Bytea(array) => out.extend_from_slice(array.value(row)),
            Kind::Date(array) => out.extend(array.value(row).saturating_sub(EPOCH_DAYS).to_be_bytes()),
            Kind::Time(array) => out.extend(array.value(row).to_be_bytes()),
            Kind::Timestamp(array) | Kind::TimestampTz(array, _) => {
                out.extend(array.value(row).saturating_sub(EPOCH_MICROS).to_be_bytes());
            }
            Kind::Interval(array) => {
                let value = array.value(row);
                out.extend((value.nanoseconds / 1_000).to_be_bytes());
                out.extend(value.days.to_be_bytes());
                out.extend(value.months.to_be_bytes());
            }
            Kind::List(..) => self.write_array(out, row),
            Kind::Struct(fields) => write_record(out, fields, row),
        }
    }

    /// Dimensions, whether there are nulls, the items' type, then each dimension's length and lower bound, then the items.
    fn write_array(&self, out: &mut Vec<u8>, row: usize) {
        let mut lengths = Vec::new();
        let mut items = Vec::new();
        let innermost = self.flatten(row, 0, &mut lengths, &mut items);
        let lengths = if items.is_empty() { Vec::new() } else { lengths };
        let has_null = items.iter().any(|item| innermost.is_null(*item));
        put_i32(out, lengths.len());
        put_i32(out, usize::from(has_null));
        out.extend(self.sql_type.innermost().oid().to_be_bytes());
        for length in lengths {
            put_i32(out, length);
            put_i32(out, 1);
        }
        for item in items {
            write_sized(out, innermost, item);
        }
    }

    /// The items of a list of lists in one row, and the lengths of its dimensions.
    fn flatten<'a>(&'a self, row: usize, depth: usize, lengths: &mut Vec<usize>, items: &mut Vec<usize>) -> &'a Column {
        let Kind::List(array, values) = &self.kind else {
            items.push(row);
            return self;
        };
        let offsets = array.value_offsets();
        let range = offsets[row] as usize..offsets[row + 1] as usize;
        if lengths.len() == depth {
            lengths.push(range.len());
        }
        let mut innermost = values.as_ref();
        while let Kind::List(_, values) = &innermost.kind {
            innermost = values;
        }
        match &values.kind {
            Kind::List(..) => {
                for index in range {
                    values.flatten(index, depth + 1, lengths, items);
                }
            }
            _ => items.extend(range),
        }
        innermost
    }
}

/// Length and value; -1 for null.
pub fn write_sized(out: &mut Vec<u8>, column: &Column, row: usize) {
    if column.is_null(row) {
        out.extend((-1_i32).to_be_bytes());
        return;
    }
    let start = out.len();
    out.extend([0; 4]);
    column.write_binary(out, row);
    let length = i32::try_from(out.len() - start - 4).expect("an Arrow array's value is below 2 GiB");
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn write_record(out: &mut Vec<u8>, fields: &[Column], row: usize) {
    put_i32(out, fields.len());
    for field in fields {
        out.extend(field.sql_type.oid().to_be_bytes());
        write_sized(out, field, row);
    }
}

fn write_text(out: &mut Vec<u8>, text: &str, sql_type: &SqlType) {
    match sql_type {
        SqlType::Uuid => out.extend(crate::decode::text::parse_uuid(text).unwrap_or_default()),
        SqlType::Jsonb => {
            out.push(JSONB_VERSION);
            out.extend_from_slice(text.as_bytes());
        }
        _ => out.extend_from_slice(text.as_bytes()),
    }
}

/// Groups of four decimal digits: how many, the weight of the first, the sign, the digits after the point, the groups.
fn write_numeric(out: &mut Vec<u8>, digits: &str, scale: Scale) {
    let mut text = Vec::new();
    write_decimal(&mut text, digits, scale);
    let text = String::from_utf8(text).expect("digits are UTF-8");
    let (is_negative, text) = match text.strip_prefix('-') {
        Some(positive) => (true, positive),
        None => (false, text.as_str()),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let padded_whole = format!("{whole:0>width$}", width = whole.len().div_ceil(4) * 4);
    let padded_fraction = format!("{fraction:0<width$}", width = fraction.len().div_ceil(4) * 4);
    let mut weight = padded_whole.len() as i32 / 4 - 1;
    let all = format!("{padded_whole}{padded_fraction}");
    let mut groups: Vec<i16> =
        (0..all.len()).step_by(4).map(|start| all[start..start + 4].parse().expect("four decimal digits fit")).collect();
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let n_leading = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..n_leading);
    weight = if groups.is_empty() { 0 } else { weight - n_leading as i32 };
    let sign: u16 = if is_negative && !groups.is_empty() { 0x4000 } else { 0 };
    out.extend((groups.len() as i16).to_be_bytes());
    out.extend((weight as i16).to_be_bytes());
    out.extend(sign.to_be_bytes());
    out.extend((fraction.len() as i16).to_be_bytes());
    groups.iter().for_each(|group| out.extend(group.to_be_bytes()));
}

fn put_i32(out: &mut Vec<u8>, value: usize) {
    out.extend(i32::try_from(value).expect("an Arrow list is below 2 G items").to_be_bytes());
}
