//! Values as clients send them, in Bind and in binary COPY: bytes in text or binary format become the text that the type's
//! input function reads.
//!
//! Guaranteed: whatever the bytes are, the answer is a text or an error (`22P03`, `22021`), and no byte is read twice or past
//! the end.

use arrow::datatypes::DataType;
use catalog::SqlType;
use engine::decode::text::uuid_text;
use engine::error::sqlstate;
use engine::{Error, Result};

use crate::encode::binary::{EPOCH_DAYS, EPOCH_MICROS, JSONB_VERSION};
use crate::encode::datetime::{write_date, write_interval, write_time, write_timestamp, write_timestamptz};
use crate::encode::number::{write_double, write_real};
use crate::encode::text::write_list_item;

/// Dimensions of an array at most, as in Postgres.
const MAX_DIMENSIONS: usize = 6;
/// `oid`, which we have as a `bigint`, is four bytes.
const OID_OF_OID: u32 = 26;

/// A value in text format.
pub fn text_value(bytes: &[u8]) -> Result<String> {
    let text =
        std::str::from_utf8(bytes).map_err(|_| Error::new(sqlstate::INVALID_ENCODING, "invalid byte sequence for encoding \"UTF8\""))?;
    match text.contains('\0') {
        true => Err(Error::new(sqlstate::INVALID_ENCODING, "invalid byte sequence for encoding \"UTF8\": 0x00")),
        false => Ok(text.to_owned()),
    }
}

/// A value in binary format, as text. `oid` is the type the client named, 0 when it left that to us.
pub fn binary_value(sql_type: &SqlType, oid: u32, bytes: &[u8]) -> Result<String> {
    let mut reader = Reader { bytes };
    let text = match oid {
        OID_OF_OID => reader.take().map(u32::from_be_bytes).map(|oid| oid.to_string()),
        _ => read(&mut reader, sql_type)?,
    };
    text.filter(|_| reader.bytes.is_empty()).ok_or_else(|| Error::new(sqlstate::INVALID_BINARY, "incorrect binary data format"))
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*head)
    }

    fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(head)
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    fn i16(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }
}

/// `None` when the bytes end too early or mean nothing.
fn read(reader: &mut Reader<'_>, sql_type: &SqlType) -> Result<Option<String>> {
    use SqlType::*;
    Ok(match sql_type {
        Boolean => reader.take::<1>().map(|[byte]| if byte == 0 { "f" } else { "t" }.to_owned()),
        SmallInt => reader.i16().map(|value| value.to_string()),
        Integer => reader.i32().map(|value| value.to_string()),
        BigInt => reader.i64().map(|value| value.to_string()),
        Real => reader.take().map(|bytes| written(|out| write_real(out, f32::from_be_bytes(bytes), 1))),
        Double => reader.take().map(|bytes| written(|out| write_double(out, f64::from_be_bytes(bytes), 1))),
        Numeric(_) => read_numeric(reader),
        Text | Varchar(_) | Char(_) | Json => Some(text_value(reader.rest())?),
        Jsonb => match reader.take() {
            Some([JSONB_VERSION]) => Some(text_value(reader.rest())?),
            _ => None,
        },
        Bytea => Some(format!("\\x{}", hex::encode(reader.rest()))),
        Date => reader.i32().map(|days| match days {
            i32::MAX => "infinity".to_owned(),
            i32::MIN => "-infinity".to_owned(),
            days => written(|out| write_date(out, i64::from(days) + i64::from(EPOCH_DAYS))),
        }),
        Time => reader.i64().map(|micros| written(|out| write_time(out, micros))),
        Timestamp => reader.i64().map(|micros| instant(micros, write_timestamp)),
        TimestampTz => reader.i64().map(|micros| instant(micros, |out, micros| write_timestamptz(out, micros, micros))),
        Interval => read_interval(reader),
        Uuid => reader.take().map(uuid_text),
        Array(item) => read_array(reader, item.innermost())?,
        System(system) => match system.arrow() {
            DataType::Utf8 => Some(text_value(reader.rest())?),
            DataType::Int64 => reader.take().map(|bytes| u32::from_be_bytes(bytes).to_string()),
            _ => return Err(Error::unsupported("a vector in binary format is not supported as a value", "send it as text")),
        },
        Struct(_) => return Err(Error::unsupported("a record in binary format is not supported as a value", "send it as text")),
    })
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).expect("texts of values are UTF-8")
}

fn instant(micros: i64, write: impl FnOnce(&mut Vec<u8>, i64)) -> String {
    match micros {
        i64::MAX => "infinity".to_owned(),
        i64::MIN => "-infinity".to_owned(),
        micros => written(|out| write(out, micros.saturating_add(EPOCH_MICROS))),
    }
}

fn read_interval(reader: &mut Reader<'_>) -> Option<String> {
    let (micros, days, months) = (reader.i64()?, reader.i32()?, reader.i32()?);
    Some(written(|out| write_interval(out, months.into(), days.into(), micros)))
}

/// Groups of four digits; `weight` is how many groups stand before the point, less one.
fn read_numeric(reader: &mut Reader<'_>) -> Option<String> {
    let n_groups = usize::try_from(reader.i16()?).ok()?;
    let (weight, sign, scale) = (i32::from(reader.i16()?), reader.take().map(u16::from_be_bytes)?, reader.i16()?);
    let scale = usize::try_from(scale).ok()?;
    let groups: Vec<i16> = (0..n_groups).map(|_| reader.i16().filter(|group| (0..10_000).contains(group))).collect::<Option<_>>()?;
    let sign = match sign {
        0 => "",
        0x4000 => "-",
        0xc000 => return Some("NaN".to_owned()),
        0xd000 => return Some("Infinity".to_owned()),
        0xf000 => return Some("-Infinity".to_owned()),
        _ => return None,
    };
    let group = |place: i32| usize::try_from(place).ok().and_then(|place| groups.get(place)).copied().unwrap_or(0);
    let whole: String = (0..=weight).map(|place| format!("{:04}", group(place))).collect();
    let n_fraction_groups = scale.div_ceil(4) as i32;
    let mut fraction: String = (weight + 1..weight + 1 + n_fraction_groups).map(|place| format!("{:04}", group(place))).collect();
    fraction.truncate(scale);
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{sign}{whole}{point}{fraction}"))
}

fn read_array(reader: &mut Reader<'_>, item: &SqlType) -> Result<Option<String>> {
    let Some(lengths) = read_dimensions(reader) else { return Ok(None) };
    if lengths.is_empty() {
        return Ok(Some("{}".to_owned()));
    }
    let mut text = Vec::new();
    let is_whole = read_items(reader, item, &lengths, &mut text)?;
    Ok(is_whole.and_then(|()| String::from_utf8(text).ok()))
}

fn read_dimensions(reader: &mut Reader<'_>) -> Option<Vec<usize>> {
    let n_dimensions = usize::try_from(reader.i32()?).ok().filter(|n_dimensions| *n_dimensions <= MAX_DIMENSIONS)?;
    let (_has_nulls, _item_oid) = (reader.i32()?, reader.i32()?);
    let mut lengths = Vec::new();
    for _ in 0..n_dimensions {
        // Each item takes four bytes at least, so a length that lies is found before it is believed.
        let length = usize::try_from(reader.i32()?).ok().filter(|length| *length <= reader.bytes.len())?;
        let _lower_bound = reader.i32()?;
        lengths.push(length);
    }
    Some(lengths)
}

fn read_items(reader: &mut Reader<'_>, item: &SqlType, lengths: &[usize], text: &mut Vec<u8>) -> Result<Option<()>> {
    let Some((length, inner)) = lengths.split_first() else { return Ok(None) };
    text.push(b'{');
    for place in 0..*length {
        if place > 0 {
            text.push(b',');
        }
        let read = if inner.is_empty() { read_item(reader, item, text)? } else { read_items(reader, item, inner, text)? };
        if read.is_none() {
            return Ok(None);
        }
    }
    text.push(b'}');
    Ok(Some(()))
}

fn read_item(reader: &mut Reader<'_>, item: &SqlType, text: &mut Vec<u8>) -> Result<Option<()>> {
    match reader.i32() {
        Some(-1) => text.extend_from_slice(b"NULL"),
        Some(length) => {
            let Some(bytes) = usize::try_from(length).ok().and_then(|length| reader.slice(length)) else { return Ok(None) };
            write_list_item(text, binary_value(item, 0, bytes)?.as_bytes());
        }
        None => return Ok(None),
    }
    Ok(Some(()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::ArrayRef;
    use engine::decode::parse_text;

    use super::*;
    use crate::encode::column::{Column, Style};

    /// A value of every type, as text.
    const VALUES: &[(&str, &str)] = &[
        ("boolean", "t"),
        ("smallint", "-32768"),
        ("integer", "2147483647"),
        ("bigint", "-9223372036854775808"),
        ("real", "1.5"),
        ("double precision", "-0.00225"),
        ("double precision", "NaN"),
        ("numeric(12,3)", "-123456789.125"),
        ("numeric(38,0)", "99999999999999999999999999999999999999"),
        ("numeric(38,38)", "0.00000000000000000000000000000000000001"),
        ("numeric(9,4)", "10000.0000"),
        ("numeric", "1.5"),
        ("numeric", "0"),
        ("text", "grüße ☃"),
        ("varchar(5)", "abc"),
        ("bytea", "\\x00ff10"),
        ("date", "2024-02-29"),
        ("date", "0044-03-15 BC"),
        ("time", "12:14:56.789012"),
        ("timestamp", "2024-02-29 12:14:56.789012"),
        ("timestamptz", "1969-12-31 23:59:59.5+00"),
        ("interval", "1 year 2 mons 3 days 04:05:06"),
        ("uuid", "12345678-1234-5678-1234-567812345678"),
        ("json", "{\"a\": 1}"),
        ("jsonb", "[1, 2]"),
        ("integer[]", "{1,NULL,3}"),
        ("integer[]", "{}"),
        ("integer[][]", "{{1,2},{3,4}}"),
        ("text[]", "{\"a,b\",\"c\\\"d\",NULL,\"\"}"),
    ];

    fn column(sql_type: &SqlType, text: &str) -> Column {
        let array: ArrayRef = parse_text(sql_type, text).and_then(|value| Ok(value.to_array()?)).expect("a value of its type");
        Column::new(&sql_type.field("c", true), &Arc::clone(&array), &Style::default()).expect("every type has a column")
    }

    #[test]
    fn what_is_written_is_read_back() {
        for (type_name, text) in VALUES {
            let sql_type: SqlType = type_name.parse().expect("a type");
            let mut bytes = Vec::new();
            column(&sql_type, text).write_binary(&mut bytes, 0);
            assert_eq!(binary_value(&sql_type, 0, &bytes).expect(text), *text, "{type_name}");
        }
    }

    #[test]
    fn broken_bytes_are_errors() {
        for (type_name, text) in VALUES {
            let sql_type: SqlType = type_name.parse().expect("a type");
            let mut bytes = Vec::new();
            column(&sql_type, text).write_binary(&mut bytes, 0);
            let fits_any_length = matches!(sql_type, SqlType::Text | SqlType::Varchar(_) | SqlType::Bytea | SqlType::Json | SqlType::Jsonb);
            for length in 0..bytes.len() {
                let read = binary_value(&sql_type, 0, &bytes[..length]);
                assert!(fits_any_length || read.is_err(), "{type_name} {text}: {length} of {} bytes", bytes.len());
            }
            if !fits_any_length {
                bytes.push(0);
                assert!(binary_value(&sql_type, 0, &bytes).is_err(), "{type_name} {text} and a byte more");
            }
        }
        let lying_length = [&1_i32.to_be_bytes()[..], &[0; 8], &i32::MAX.to_be_bytes(), &1_i32.to_be_bytes()].concat();
        assert!(binary_value(&SqlType::Array(Box::new(SqlType::Integer)), 0, &lying_length).is_err());
    }
}
