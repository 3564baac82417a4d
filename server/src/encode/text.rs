//! A value of any Arrow type as Postgres text.
//!
//! [`TextColumn`] looks at a column's type once per batch; writing a value is then one `match`. Guaranteed: every type that
//! `catalog::types` knows has a text that Postgres reads back as the same value. Types that no SQL type maps to are cast to
//! text by Arrow, or refused with `0A000`, never written wrongly.

use std::io::Write;

use arrow::array::*;
use arrow::compute::cast;
use arrow::datatypes::*;
use engine::{Error, Result};

use super::datetime::{write_date, write_interval, write_time, write_timestamp, write_timestamptz};
use super::number::{Scale, write_decimal, write_double, write_real};
use super::pg_type::is_unscaled_numeric;

/// One column of a batch, ready to be written value by value.
pub struct TextColumn {
    array: ArrayRef,
    kind: Kind,
}

enum Kind {
    Null,
    Boolean(BooleanArray),
    Int16(Int16Array),
    Int32(Int32Array),
    Int64(Int64Array),
    UInt64(UInt64Array),
    Real(Float32Array),
    Double(Float64Array),
    Decimal(Decimal256Array, Scale),
    SmallDecimal(Decimal128Array, Scale),
    Text(StringArray),
    Bytea(BinaryArray),
    Date(Date32Array),
    Time(Time64MicrosecondArray),
    Timestamp(TimestampMicrosecondArray),
    TimestampTz(TimestampMicrosecondArray),
    Interval(IntervalMonthDayNanoArray),
    List(ListArray, Box<TextColumn>),
    Struct(Vec<TextColumn>),
}

impl TextColumn {
    /// Looks at the column once. Fails with `0A000` for a type that has no text.
    pub fn new(field: &Field, array: &ArrayRef) -> Result<Self> {
        Ok(Self { array: array.clone(), kind: Kind::new(field, array)? })
    }

    /// True when the value of `row` is null.
    pub fn is_null(&self, row: usize) -> bool {
        matches!(self.kind, Kind::Null) || self.array.is_null(row)
    }

    /// Appends the text of a value that is not null.
    pub fn write(&self, out: &mut Vec<u8>, row: usize) {
        match &self.kind {
            Kind::Null => {}
            Kind::Boolean(array) => out.push(if array.value(row) { b't' } else { b'f' }),
            Kind::Int16(array) => write_display(out, array.value(row)),
            Kind::Int32(array) => write_display(out, array.value(row)),
            Kind::Int64(array) => write_display(out, array.value(row)),
            Kind::UInt64(array) => write_display(out, array.value(row)),
            Kind::Real(array) => write_real(out, array.value(row)),
            Kind::Double(array) => write_double(out, array.value(row)),
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
            Kind::TimestampTz(array) => write_timestamptz(out, array.value(row)),
            Kind::Interval(array) => {
                let value = array.value(row);
                write_interval(out, i64::from(value.months), i64::from(value.days), value.nanoseconds / 1_000);
            }
            Kind::List(array, values) => write_list(out, array, values, row),
            Kind::Struct(fields) => write_struct(out, fields, row),
        }
    }
}

impl Kind {
    fn new(field: &Field, array: &ArrayRef) -> Result<Self> {
        use DataType::*;
        Ok(match array.data_type() {
            Null => Self::Null,
            Boolean => Self::Boolean(array.as_boolean().clone()),
            Int8 | UInt8 | Int16 => Self::Int16(as_primitive(array, &Int16)?),
            UInt16 | Int32 => Self::Int32(as_primitive(array, &Int32)?),
            UInt32 | Int64 => Self::Int64(as_primitive(array, &Int64)?),
            UInt64 => Self::UInt64(array.as_primitive().clone()),
            Float16 | Float32 => Self::Real(as_primitive(array, &Float32)?),
            Float64 => Self::Double(array.as_primitive().clone()),
            Decimal32(precision, scale) | Decimal64(precision, scale) | Decimal128(precision, scale) => {
                Self::SmallDecimal(as_primitive(array, &Decimal128(*precision, *scale))?, scale_of(field, *scale))
            }
            Decimal256(_, scale) => Self::Decimal(array.as_primitive().clone(), scale_of(field, *scale)),
            Utf8 | LargeUtf8 | Utf8View => Self::Text(to_type(array, &Utf8)?.as_string().clone()),
            Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => Self::Bytea(to_type(array, &Binary)?.as_binary().clone()),
            Date32 => Self::Date(as_primitive(array, &Date32)?),
            Time32(_) | Time64(_) => Self::Time(as_primitive(array, &Time64(TimeUnit::Microsecond))?),
            Date64 | Timestamp(_, None) => Self::Timestamp(as_primitive(array, &Timestamp(TimeUnit::Microsecond, None))?),
            Timestamp(_, Some(zone)) => Self::TimestampTz(as_primitive(array, &Timestamp(TimeUnit::Microsecond, Some(zone.clone())))?),
            Duration(_) | Interval(_) => Self::Interval(as_primitive(array, &Interval(IntervalUnit::MonthDayNano))?),
            List(item) => Self::list(array.as_list().clone(), item)?,
            LargeList(item) | FixedSizeList(item, _) | ListView(item) | LargeListView(item) => {
                Self::list(to_type(array, &List(item.clone()))?.as_list().clone(), item)?
            }
            Struct(fields) => {
                let columns = array.as_struct().columns();
                Self::Struct(fields.iter().zip(columns).map(|(field, array)| TextColumn::new(field, array)).collect::<Result<_>>()?)
            }
            Dictionary(_, values) => return Self::new(field, &to_type(array, values)?),
            RunEndEncoded(_, values) => return Self::new(field, &to_type(array, values.data_type())?),
            _ => Self::Text(to_type(array, &Utf8)?.as_string().clone()),
        })
    }

    fn list(array: ListArray, item: &Field) -> Result<Self> {
        let values = TextColumn::new(item, array.values())?;
        Ok(Self::List(array, Box::new(values)))
    }
}

fn scale_of(field: &Field, scale: i8) -> Scale {
    if is_unscaled_numeric(field) { Scale::Trimmed(scale) } else { Scale::Fixed(scale) }
}

fn to_type(array: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    if array.data_type() == target {
        return Ok(array.clone());
    }
    cast(array, target)
        .map_err(|_| Error::unsupported(format!("a column of type {} has no text form", array.data_type()), "cast it in the query"))
}

fn as_primitive<T: ArrowPrimitiveType>(array: &ArrayRef, target: &DataType) -> Result<PrimitiveArray<T>> {
    Ok(to_type(array, target)?.as_primitive::<T>().clone())
}

fn write_display(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    write!(out, "{value}").expect("a Vec takes all that is written");
}

fn write_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend(bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]));
}

/// `{a,"b c",NULL}`; nested lists stand without quotes, as `array_out` writes them.
fn write_list(out: &mut Vec<u8>, array: &ListArray, values: &TextColumn, row: usize) {
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
            values.write(out, index);
        } else {
            text.clear();
            values.write(&mut text, index);
            write_list_item(out, &text);
        }
    }
    out.push(b'}');
}

fn write_list_item(out: &mut Vec<u8>, text: &[u8]) {
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
fn write_struct(out: &mut Vec<u8>, fields: &[TextColumn], row: usize) {
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
        field.write(&mut text, row);
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
