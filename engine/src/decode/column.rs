//! One column being decoded: values of one SQL type appended from text or JSON, then finished into an Arrow array.
//!
//! Guaranteed: an append that fails may leave a part of a value behind, and [`ColumnBuffer::truncate`] removes it. That is
//! how a bad row leaves no trace in columns that were filled before the failing one.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array,
    IntervalMonthDayNanoArray, ListArray, NullBufferBuilder, StringArray, StructArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, IntervalMonthDayNano};
use catalog::types::NUMERIC_DEFAULT;
use catalog::{Column, SqlType};

use super::json::{self, Kind, Reader, Value};
use super::{datetime, interval, text};
use crate::error::sqlstate::{INVALID_TEXT, NOT_NULL_VIOLATION};
use crate::functions::scalar::zones::Zone;
use crate::{Error, Result};

/// Values of one column.
#[derive(Debug)]
pub struct ColumnBuffer {
    name: String,
    sql_type: SqlType,
    nullable: bool,
    validity: NullBufferBuilder,
    values: Values,
    /// In which times without a zone are read as `timestamptz`; `None` is UTC.
    zone: Option<Zone>,
}

#[derive(Debug)]
enum Values {
    Boolean(Vec<bool>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal(Vec<i128>),
    Interval(Vec<IntervalMonthDayNano>),
    /// Text and bytea.
    Bytes {
        bytes: Vec<u8>,
        offsets: Vec<i32>,
    },
    List {
        elements: Box<ColumnBuffer>,
        offsets: Vec<i32>,
    },
    Struct(Vec<ColumnBuffer>),
}

impl ColumnBuffer {
    /// An empty buffer for `column`.
    pub fn new(column: &Column) -> Self {
        Self::of_type(&column.name, &column.sql_type, column.nullable)
    }

    /// An empty buffer of values of `sql_type`.
    pub fn of_type(name: &str, sql_type: &SqlType, nullable: bool) -> Self {
        let values = match sql_type {
            SqlType::Boolean => Values::Boolean(Vec::new()),
            SqlType::SmallInt => Values::Int16(Vec::new()),
            SqlType::Integer | SqlType::Date => Values::Int32(Vec::new()),
            SqlType::BigInt | SqlType::Time | SqlType::Timestamp | SqlType::TimestampTz => Values::Int64(Vec::new()),
            SqlType::Real => Values::Float32(Vec::new()),
            SqlType::Double => Values::Float64(Vec::new()),
            SqlType::Numeric(_) => Values::Decimal(Vec::new()),
            SqlType::Interval => Values::Interval(Vec::new()),
            SqlType::System(system) => return Self::of_type(name, &SqlType::of_arrow(&system.arrow()), nullable),
            SqlType::Array(element) => Values::List { elements: Box::new(Self::of_type("element", element, true)), offsets: vec![0] },
            SqlType::Struct(fields) => Values::Struct(fields.iter().map(|(name, sql_type)| Self::of_type(name, sql_type, true)).collect()),
            _ => Values::Bytes { bytes: Vec::new(), offsets: vec![0] },
        };
        Self { name: name.into(), sql_type: sql_type.clone(), nullable, validity: NullBufferBuilder::new(0), values, zone: None }
    }

    /// Reads times without a zone as those of `zone`.
    pub fn in_zone(mut self, zone: Zone) -> Self {
        self.set_zone(zone);
        self
    }

    /// The same for a buffer in use.
    pub fn set_zone(&mut self, zone: Zone) {
        match &mut self.values {
            Values::List { elements, .. } => elements.set_zone(zone),
            Values::Struct(fields) => fields.iter_mut().for_each(|field| field.set_zone(zone)),
            _ => {}
        }
        self.zone = Some(zone);
    }

    /// The column's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The finished array's field.
    pub fn field(&self) -> Field {
        self.sql_type.field(&self.name, self.nullable)
    }

    /// Appends a null.
    pub fn append_null(&mut self) -> Result<()> {
        if !self.nullable {
            let message = format!("null value in column \"{}\" violates not-null constraint", self.name);
            return Err(Error::new(NOT_NULL_VIOLATION, message));
        }
        match &mut self.values {
            Values::Boolean(values) => values.push(false),
            Values::Int16(values) => values.push(0),
            Values::Int32(values) => values.push(0),
            Values::Int64(values) => values.push(0),
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::Decimal(values) => values.push(0),
            Values::Interval(values) => values.push(IntervalMonthDayNano::new(0, 0, 0)),
            Values::Bytes { offsets, .. } | Values::List { offsets, .. } => offsets.push(*offsets.last().expect("offsets begin with 0")),
            Values::Struct(fields) => fields.iter_mut().try_for_each(Self::append_null)?,
        }
        self.validity.append_null();
        Ok(())
    }

    /// Appends the value that `input` stands for, by the rules of Postgres's input functions.
    pub fn append_text(&mut self, input: &str) -> Result<()> {
        match (&self.sql_type, &mut self.values) {
            (SqlType::Boolean, Values::Boolean(values)) => values.push(text::parse_boolean(input)?),
            (SqlType::SmallInt, Values::Int16(values)) => {
                values.push(text::parse_integer(input, "smallint", i16::MIN.into(), i16::MAX.into())? as i16);
            }
            (SqlType::Integer, Values::Int32(values)) => {
                values.push(text::parse_integer(input, "integer", i32::MIN.into(), i32::MAX.into())? as i32);
            }
            (SqlType::BigInt, Values::Int64(values)) => values.push(text::parse_integer(input, "bigint", i64::MIN, i64::MAX)?),
            (SqlType::Date, Values::Int32(values)) => values.push(datetime::parse_date(input)?),
            (SqlType::Time, Values::Int64(values)) => values.push(datetime::parse_time(input)?),
            (SqlType::Timestamp, Values::Int64(values)) => values.push(datetime::parse_timestamp(input)?),
            (SqlType::TimestampTz, Values::Int64(values)) => {
                let zone = self.zone;
                values.push(datetime::parse_timestamp_tz(input, |local| zone.map_or(Ok(local), |zone| zone.to_utc(local)))?);
            }
            (SqlType::Real, Values::Float32(values)) => values.push(text::parse_real(input)?),
            (SqlType::Double, Values::Float64(values)) => values.push(text::parse_double(input)?),
            (SqlType::Numeric(modifier), Values::Decimal(values)) => {
                let (precision, scale) = modifier.unwrap_or(NUMERIC_DEFAULT);
                values.push(text::parse_numeric(input, precision, scale)?);
            }
            (SqlType::Interval, Values::Interval(values)) => values.push(interval::parse_interval(input)?),
            (sql_type, Values::Bytes { bytes, offsets }) => {
                append_bytes(sql_type, input, bytes)?;
                offsets.push(offset(bytes.len())?);
            }
            (_, Values::List { elements, offsets }) => {
                if input.trim_ascii_start().starts_with('[') {
                    return self.append_json_array(json::parse(input)?, 0);
                }
                for element in text::split_array(input)? {
                    match element {
                        Some(element) => elements.append_text(&element)?,
                        None => elements.append_null()?,
                    }
                }
                offsets.push(offset(elements.len())?);
            }
            (_, Values::Struct(_)) => return self.append_json_object(json::parse(input)?, 0),
            (sql_type, _) => unreachable!("buffers of {sql_type:?} are made for its values"),
        }
        self.validity.append_non_null();
        Ok(())
    }

    /// Appends a JSON value found at nesting `depth`. Numbers, booleans and strings go by their text.
    pub fn append_json(&mut self, value: Value<'_>, depth: usize) -> Result<()> {
        match (value.kind, &self.sql_type) {
            (Kind::Null, _) => self.append_null(),
            (_, SqlType::Json | SqlType::Jsonb) => self.append_text(value.raw),
            (Kind::String { escaped: true }, _) => {
                let mut unescaped = String::new();
                json::unescape(value.raw, &mut unescaped)?;
                self.append_text(&unescaped)
            }
            (Kind::String { escaped: false }, _) => self.append_text(&value.raw[1..value.raw.len() - 1]),
            (Kind::Number, _) => self.append_json_number(value.raw),
            (Kind::Array, SqlType::Array(_)) => self.append_json_array(value, depth),
            (Kind::Object, SqlType::Struct(_)) => self.append_json_object(value, depth),
            (Kind::True | Kind::False, SqlType::Boolean) => self.append_text(value.raw),
            (_, SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_)) => self.append_text(value.raw),
            (_, sql_type) => Err(text::invalid(&text::type_name(sql_type), value.raw)),
        }
    }

    /// Appends a date or time in its own units: days since 1970, or microseconds.
    pub fn append_units(&mut self, units: i64) -> Result<()> {
        let refused = || Error::internal("only dates and times are appended as units");
        match (&self.sql_type, &mut self.values) {
            (SqlType::Date, Values::Int32(values)) => values.push(i32::try_from(units).map_err(|_| refused())?),
            (SqlType::Time | SqlType::Timestamp | SqlType::TimestampTz, Values::Int64(values)) => values.push(units),
            _ => return Err(refused()),
        }
        self.validity.append_non_null();
        Ok(())
    }

    fn append_json_number(&mut self, number: &str) -> Result<()> {
        match (&self.sql_type, &mut self.values) {
            (SqlType::SmallInt, Values::Int16(values)) => {
                values.push(text::parse_json_integer(number, "smallint", i16::MIN.into(), i16::MAX.into())? as i16);
            }
            (SqlType::Integer, Values::Int32(values)) => {
                values.push(text::parse_json_integer(number, "integer", i32::MIN.into(), i32::MAX.into())? as i32);
            }
            (SqlType::BigInt, Values::Int64(values)) => values.push(text::parse_json_integer(number, "bigint", i64::MIN, i64::MAX)?),
            // A bare number is neither `20240131` nor seconds: which one would be a guess.
            (
                SqlType::Date
                | SqlType::Time
                | SqlType::Timestamp
                | SqlType::TimestampTz
                | SqlType::Interval
                | SqlType::Uuid
                | SqlType::Bytea,
                _,
            ) => {
                return Err(text::invalid(&text::type_name(&self.sql_type), number).with_hint("write it as a string"));
            }
            _ => return self.append_text(number),
        }
        self.validity.append_non_null();
        Ok(())
    }

    fn append_json_array(&mut self, value: Value<'_>, depth: usize) -> Result<()> {
        let Values::List { elements, offsets } = &mut self.values else { unreachable!("arrays are kept in lists") };
        Reader::new(value.raw).array(depth, |element| elements.append_json(element, depth + 1))?;
        offsets.push(offset(elements.len())?);
        self.validity.append_non_null();
        Ok(())
    }

    fn append_json_object(&mut self, value: Value<'_>, depth: usize) -> Result<()> {
        let Values::Struct(fields) = &mut self.values else { unreachable!("structs are kept field by field") };
        if value.kind != Kind::Object {
            return Err(text::invalid("record", value.raw));
        }
        let mut found: Vec<Option<Value<'_>>> = vec![None; fields.len()];
        Reader::new(value.raw).object(depth, |key, value| {
            if let Some(index) = index_of_key(key, fields.iter().map(Self::name))? {
                found[index] = Some(value);
            }
            Ok(())
        })?;
        for (field, value) in fields.iter_mut().zip(found) {
            match value {
                Some(value) => field.append_json(value, depth + 1)?,
                None => field.append_null()?,
            }
        }
        self.validity.append_non_null();
        Ok(())
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.validity.len()
    }

    /// True when there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keeps the first `len` values, and drops what a failed append left behind.
    pub fn truncate(&mut self, len: usize) {
        self.validity.truncate(len);
        match &mut self.values {
            Values::Boolean(values) => values.truncate(len),
            Values::Int16(values) => values.truncate(len),
            Values::Int32(values) => values.truncate(len),
            Values::Int64(values) => values.truncate(len),
            Values::Float32(values) => values.truncate(len),
            Values::Float64(values) => values.truncate(len),
            Values::Decimal(values) => values.truncate(len),
            Values::Interval(values) => values.truncate(len),
            Values::Bytes { bytes, offsets } => {
                offsets.truncate(len + 1);
                bytes.truncate(offsets[len] as usize);
            }
            Values::List { elements, offsets } => {
                offsets.truncate(len + 1);
                elements.truncate(offsets[len] as usize);
            }
            Values::Struct(fields) => fields.iter_mut().for_each(|field| field.truncate(len)),
        }
    }

    /// Batches follow each other with about as many values: growing again from nothing would copy all of them.
    fn reserve_like(&mut self, other: &Self) {
        match (&mut self.values, &other.values) {
            (Values::Boolean(values), Values::Boolean(other)) => values.reserve(other.len()),
            (Values::Int16(values), Values::Int16(other)) => values.reserve(other.len()),
            (Values::Int32(values), Values::Int32(other)) => values.reserve(other.len()),
            (Values::Int64(values), Values::Int64(other)) => values.reserve(other.len()),
            (Values::Float32(values), Values::Float32(other)) => values.reserve(other.len()),
            (Values::Float64(values), Values::Float64(other)) => values.reserve(other.len()),
            (Values::Decimal(values), Values::Decimal(other)) => values.reserve(other.len()),
            (Values::Interval(values), Values::Interval(other)) => values.reserve(other.len()),
            (Values::Bytes { bytes, offsets }, Values::Bytes { bytes: other, offsets: other_offsets }) => {
                bytes.reserve(other.len());
                offsets.reserve(other_offsets.len());
            }
            (Values::List { elements, offsets }, Values::List { elements: other, offsets: other_offsets }) => {
                elements.reserve_like(other);
                offsets.reserve(other_offsets.len());
            }
            (Values::Struct(fields), Values::Struct(other)) => {
                fields.iter_mut().zip(other).for_each(|(field, other)| field.reserve_like(other))
            }
            _ => unreachable!("both are of one type"),
        }
    }

    /// The values as an array; the buffer is empty afterwards.
    pub fn finish(&mut self) -> ArrayRef {
        let mut fresh = Self::of_type(&self.name, &self.sql_type, self.nullable);
        fresh.reserve_like(self);
        let mut full = std::mem::replace(self, fresh);
        let nulls = full.validity.finish();
        let data_type = full.sql_type.arrow();
        match full.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.into(), nulls)),
            Values::Int16(values) => Arc::new(Int16Array::new(values.into(), nulls)),
            Values::Int32(values) => as_type(Arc::new(Int32Array::new(values.into(), nulls)), &data_type),
            Values::Int64(values) => as_type(Arc::new(Int64Array::new(values.into(), nulls)), &data_type),
            Values::Float32(values) => Arc::new(Float32Array::new(values.into(), nulls)),
            Values::Float64(values) => Arc::new(Float64Array::new(values.into(), nulls)),
            Values::Decimal(values) => Arc::new(Decimal128Array::new(values.into(), nulls).with_data_type(data_type)),
            Values::Interval(values) => Arc::new(IntervalMonthDayNanoArray::new(values.into(), nulls)),
            Values::Bytes { bytes, offsets } => finish_bytes(&data_type, bytes, offsets, nulls),
            Values::List { mut elements, offsets } => {
                let DataType::List(field) = data_type else { unreachable!("arrays are lists") };
                Arc::new(ListArray::new(field, offset_buffer(offsets), elements.finish(), nulls))
            }
            Values::Struct(mut fields) => {
                let DataType::Struct(names) = data_type else { unreachable!("structs are structs") };
                finish_struct(names, &mut fields, nulls, full.validity.len())
            }
        }
    }
}

/// The index of the name a JSON key spells.
pub fn index_of_key<'n>(key: Value<'_>, mut names: impl Iterator<Item = &'n str>) -> Result<Option<usize>> {
    let Kind::String { escaped: true } = key.kind else {
        let key = &key.raw[1..key.raw.len() - 1];
        return Ok(names.position(|name| name == key));
    };
    let mut unescaped = String::new();
    json::unescape(key.raw, &mut unescaped)?;
    Ok(names.position(|name| name == unescaped))
}

fn append_bytes(sql_type: &SqlType, input: &str, out: &mut Vec<u8>) -> Result<()> {
    match sql_type {
        SqlType::Bytea => return text::parse_bytea(input, out),
        SqlType::Uuid => {
            out.extend_from_slice(text::uuid_text(text::parse_uuid(input)?).as_bytes());
            return Ok(());
        }
        SqlType::Jsonb => {
            let mut normal = String::with_capacity(input.len());
            json::write_normal(json::parse(input)?, 0, &mut normal)?;
            out.extend_from_slice(normal.as_bytes());
            return Ok(());
        }
        SqlType::Json => drop(json::parse(input)?),
        _ => {}
    }
    let kept = match sql_type {
        SqlType::Varchar(Some(length)) => text::fit_length(input, *length, sql_type)?,
        // Blanks at the end of a char(n) have no meaning: equal values are stored equal.
        SqlType::Char(length) => text::fit_length(input, *length, sql_type)?.trim_end_matches(' '),
        _ => input,
    };
    if memchr::memchr(0, kept.as_bytes()).is_some() {
        return Err(Error::new("22021", "invalid byte sequence for encoding \"UTF8\": 0x00"));
    }
    out.extend_from_slice(kept.as_bytes());
    Ok(())
}

fn as_type(array: ArrayRef, data_type: &DataType) -> ArrayRef {
    match array.data_type() == data_type {
        true => array,
        false => cast(&array, data_type).expect("dates and times are reinterpreted integers"),
    }
}

fn finish_bytes(data_type: &DataType, bytes: Vec<u8>, offsets: Vec<i32>, nulls: Option<NullBuffer>) -> ArrayRef {
    let (offsets, bytes) = (offset_buffer(offsets), Buffer::from_vec(bytes));
    match data_type {
        DataType::Binary => Arc::new(BinaryArray::new(offsets, bytes, nulls)),
        _ => Arc::new(StringArray::new(offsets, bytes, nulls)),
    }
}

fn finish_struct(names: Fields, fields: &mut [ColumnBuffer], nulls: Option<NullBuffer>, n_rows: usize) -> ArrayRef {
    if fields.is_empty() {
        return Arc::new(StructArray::new_empty_fields(n_rows, nulls));
    }
    Arc::new(StructArray::new(names, fields.iter_mut().map(ColumnBuffer::finish).collect(), nulls))
}

fn offset_buffer(offsets: Vec<i32>) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::from(offsets))
}

/// Batches are cut long before a column has 2 GiB, but one value may be an array of many long texts.
fn offset(length: usize) -> Result<i32> {
    i32::try_from(length).map_err(|_| Error::new(INVALID_TEXT, "a value of more than 2 GiB"))
}
