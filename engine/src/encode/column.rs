//! A column of any Arrow type, looked at once per batch and then written value by value, as [text](super::text) or in
//! [binary](super::binary).
//!
//! Guaranteed: every type that `catalog::types` knows can be written in both forms, and Postgres reads back the same value.
//! Types that no SQL type maps to are cast to text by Arrow, or refused with `0A000`, never written wrongly.

use arrow::array::timezone::Tz;
use arrow::array::*;
use arrow::compute::cast;
use arrow::datatypes::*;
use catalog::SqlType;

use super::number::Scale;
use crate::{Error, Result};

/// What a session's settings change about texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Style {
    /// `TimeZone`; `None` is UTC.
    pub zone: Option<String>,
    /// `extra_float_digits`: above 0 floats are the shortest text that reads back, else rounded.
    pub extra_float_digits: i8,
}

impl Default for Style {
    fn default() -> Self {
        Self { zone: None, extra_float_digits: 1 }
    }
}

/// One column of a batch, ready to be written value by value.
pub struct Column {
    array: ArrayRef,
    pub(super) kind: Kind,
    pub(super) sql_type: SqlType,
    pub(super) extra_float_digits: i8,
}

pub(super) enum Kind {
    Null,
    Boolean(BooleanArray),
    Int16(Int16Array),
    Int32(Int32Array),
    Int64(Int64Array),
    /// An object id, of four bytes for clients.
    ObjectId(Int64Array),
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
    /// The values, and the same as local times of the session's zone.
    TimestampTz(TimestampMicrosecondArray, TimestampMicrosecondArray),
    Interval(IntervalMonthDayNanoArray),
    List(ListArray, Box<Column>),
    Struct(Vec<Column>),
}

impl Column {
    /// Looks at a column once. Fails with `0A000` for a type that has no text.
    pub fn new(field: &Field, array: &ArrayRef, style: &Style) -> Result<Self> {
        Self::of_type(SqlType::of_field(field), array, style)
    }

    /// The columns of a batch.
    pub fn of_batch(batch: &RecordBatch, style: &Style) -> Result<Vec<Self>> {
        let schema = batch.schema();
        schema.fields().iter().zip(batch.columns()).map(|(field, array)| Self::new(field, array, style)).collect()
    }

    fn of_type(sql_type: SqlType, array: &ArrayRef, style: &Style) -> Result<Self> {
        let kind = Kind::new(&sql_type, array, style)?;
        Ok(Self { array: array.clone(), kind, sql_type, extra_float_digits: style.extra_float_digits })
    }

    /// True when the value of `row` is null.
    pub fn is_null(&self, row: usize) -> bool {
        matches!(self.kind, Kind::Null) || self.array.is_null(row)
    }
}

impl Kind {
    fn new(sql_type: &SqlType, array: &ArrayRef, style: &Style) -> Result<Self> {
        use DataType::*;
        Ok(match array.data_type() {
            Null => Self::Null,
            Boolean => Self::Boolean(array.as_boolean().clone()),
            Int8 | UInt8 | Int16 => Self::Int16(as_primitive(array, &Int16)?),
            UInt16 | Int32 => Self::Int32(as_primitive(array, &Int32)?),
            Int64 if matches!(sql_type, SqlType::System(_)) => Self::ObjectId(as_primitive(array, &Int64)?),
            UInt32 | Int64 => Self::Int64(as_primitive(array, &Int64)?),
            UInt64 => Self::UInt64(array.as_primitive().clone()),
            Float16 | Float32 => Self::Real(as_primitive(array, &Float32)?),
            Float64 => Self::Double(array.as_primitive().clone()),
            Decimal32(precision, scale) | Decimal64(precision, scale) | Decimal128(precision, scale) => {
                Self::SmallDecimal(as_primitive(array, &Decimal128(*precision, *scale))?, scale_of(sql_type, *scale))
            }
            Decimal256(_, scale) => Self::Decimal(array.as_primitive().clone(), scale_of(sql_type, *scale)),
            Utf8 | LargeUtf8 | Utf8View => Self::Text(to_type(array, &Utf8)?.as_string().clone()),
            Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => Self::Bytea(to_type(array, &Binary)?.as_binary().clone()),
            Date32 => Self::Date(as_primitive(array, &Date32)?),
            Time32(_) | Time64(_) => Self::Time(as_primitive(array, &Time64(TimeUnit::Microsecond))?),
            Date64 | Timestamp(_, None) => Self::Timestamp(as_primitive(array, &Timestamp(TimeUnit::Microsecond, None))?),
            Timestamp(_, Some(zone)) => {
                let instants: TimestampMicrosecondArray = as_primitive(array, &Timestamp(TimeUnit::Microsecond, Some(zone.clone())))?;
                let local = local_times(&instants, style)?;
                Self::TimestampTz(instants, local)
            }
            Duration(_) | Interval(_) => Self::Interval(as_primitive(array, &Interval(IntervalUnit::MonthDayNano))?),
            List(_) => Self::list(sql_type, array.as_list().clone(), style)?,
            LargeList(item) | FixedSizeList(item, _) | ListView(item) | LargeListView(item) => {
                Self::list(sql_type, to_type(array, &List(item.clone()))?.as_list().clone(), style)?
            }
            Struct(fields) => {
                let columns = fields.iter().zip(array.as_struct().columns());
                Self::Struct(columns.map(|(field, array)| Column::new(field, array, style)).collect::<Result<_>>()?)
            }
            Dictionary(_, values) => return Self::new(sql_type, &to_type(array, values)?, style),
            RunEndEncoded(_, values) => return Self::new(sql_type, &to_type(array, values.data_type())?, style),
            _ => Self::Text(to_type(array, &Utf8)?.as_string().clone()),
        })
    }

    fn list(sql_type: &SqlType, array: ListArray, style: &Style) -> Result<Self> {
        // The fields inside a list carry no metadata: the list's own type says what its items are.
        let item = match sql_type {
            SqlType::Array(item) => item.as_ref().clone(),
            _ => SqlType::of_arrow(array.values().data_type()),
        };
        let values = Column::of_type(item, array.values(), style)?;
        Ok(Self::List(array, Box::new(values)))
    }
}

/// The local times of a session's zone; where the calendar ends, those of UTC.
fn local_times(instants: &TimestampMicrosecondArray, style: &Style) -> Result<TimestampMicrosecondArray> {
    let utc = instants.clone().with_timezone_opt(None::<String>);
    let Some(zone) = &style.zone else { return Ok(utc) };
    let zone: Tz = zone.parse()?;
    let local = |row: usize| {
        let local = instants.value_as_datetime_with_tz(row, zone).map(|time| time.naive_local().and_utc().timestamp_micros());
        instants.is_valid(row).then(|| local.unwrap_or(instants.value(row)))
    };
    Ok((0..instants.len()).map(local).collect())
}

fn scale_of(sql_type: &SqlType, scale: i8) -> Scale {
    if *sql_type == SqlType::Numeric(None) { Scale::Trimmed(scale) } else { Scale::Fixed(scale) }
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
