//! Explicit casts that Arrow's kernel does otherwise than Postgres.
//!
//! To text every value is as clients read it; from text it is read by the type's input rules; from `numeric` and `double
//! precision` to integers it is rounded to the nearest (halves away from zero for numeric, to even for double), and what
//! does not fit is `22003`. [`differs`] says which casts these are; `plan/arithmetic.rs` puts [`cast_function`] there.
//! [`depends_on_zone`] says which depend on a session's `TimeZone`; `plan/zone.rs` puts [`cast_function_in`] there.

use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, IntervalMonthDayNanoArray, StringArray, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, Field, FieldRef, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use catalog::SqlType;
use catalog::types::PG_TYPE;
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::calendar::DAY;
use super::numeric::Number;
use super::zones::Zone;
use crate::Error;
use crate::decode::column::ColumnBuffer;
use crate::encode::column::Style;
use crate::error::sqlstate::NUMERIC_VALUE_OUT_OF_RANGE;

/// True where Arrow's cast is not Postgres'.
pub fn differs(from: &DataType, to: &DataType) -> bool {
    use DataType::*;
    match (from, to) {
        (Null, _) => false,
        (from, to) if from == to => false,
        (Utf8, to) => !to.is_nested() && SqlType::of_arrow(to).arrow() == *to,
        (List(from), List(to)) => differs(from.data_type(), to.data_type()),
        (from, Utf8) => !matches!(from, Utf8View | LargeUtf8 | Dictionary(..)),
        (Decimal128(..) | Float32 | Float64, Int16 | Int32 | Int64) => true,
        (Time64(_), Interval(_)) | (Interval(_), Time64(_)) => true,
        (Timestamp(TimeUnit::Microsecond, _), Date32) => true,
        _ => false,
    }
}

/// True where the result depends on the session's `TimeZone`.
pub fn depends_on_zone(from: &DataType, to: &DataType) -> bool {
    use DataType::*;
    match (from, to) {
        (Utf8, to) => has_zone(to),
        (from, Utf8) => has_zone(from),
        (Timestamp(_, None) | Date32 | Date64, Timestamp(_, Some(_))) => true,
        (Timestamp(_, Some(_)), Timestamp(_, None) | Date32 | Date64 | Time32(_) | Time64(_)) => true,
        (List(from), List(to)) => depends_on_zone(from.data_type(), to.data_type()),
        _ => false,
    }
}

/// True for a `timestamptz` and for what has one inside.
pub fn has_zone(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(_, zone) => zone.is_some(),
        DataType::List(item) => has_zone(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_zone(field.data_type())),
        _ => false,
    }
}

/// The function that casts to the type of `to`; its results carry the SQL type that `to` carries.
pub fn cast_function(to: &Field) -> Arc<ScalarUDF> {
    function(to, None)
}

/// The same for a session in `zone`, for casts that depend on it.
pub fn cast_function_in(to: &Field, zone: &str) -> Arc<ScalarUDF> {
    function(to, Some(zone.to_owned()))
}

fn function(to: &Field, zone: Option<String>) -> Arc<ScalarUDF> {
    let sql_type = to.metadata().get(PG_TYPE).cloned();
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(Cast { to: to.data_type().clone(), sql_type, zone, signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Cast {
    to: DataType,
    sql_type: Option<String>,
    /// The session's `TimeZone`, where the cast depends on it.
    zone: Option<String>,
    signature: Signature,
}

impl Cast {
    fn cast(&self, values: &ArrayRef) -> crate::Result<ArrayRef> {
        match &self.zone {
            Some(zone) => cast_in_zone(values, &self.to, zone),
            None => cast_like_postgres(values, &self.to),
        }
    }
}

impl ScalarUDFImpl for Cast {
    fn name(&self) -> &str {
        "cast"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let field = Field::new(self.name(), self.to.clone(), true);
        Ok(Arc::new(match &self.sql_type {
            Some(sql_type) => field.with_metadata([(PG_TYPE.to_string(), sql_type.clone())].into()),
            None => field,
        }))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let external = |error: Error| DataFusionError::External(Box::new(error));
        match &arguments.args[0] {
            ColumnarValue::Scalar(value) => {
                let values = self.cast(&value.to_array()?).map_err(external)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?))
            }
            ColumnarValue::Array(values) => Ok(ColumnarValue::Array(self.cast(values).map_err(external)?)),
        }
    }
}

/// A column as `to`.
pub fn cast_like_postgres(values: &ArrayRef, to: &DataType) -> crate::Result<ArrayRef> {
    use DataType::*;
    match (values.data_type(), to) {
        (from, to) if !differs(from, to) => Ok(cast(values, to)?),
        (Utf8, to) => read_text(values.as_string(), to),
        (List(_), List(item)) => {
            let lists = values.as_list::<i32>();
            let items = cast_like_postgres(lists.values(), item.data_type())?;
            Ok(Arc::new(arrow::array::ListArray::try_new(Arc::clone(item), lists.offsets().clone(), items, lists.nulls().cloned())?))
        }
        (Boolean, Utf8) => {
            Ok(Arc::new(values.as_boolean().iter().map(|value| value.map(|value| value.to_string())).collect::<StringArray>()))
        }
        (_, Utf8) => {
            let shown = super::strings::shown(values)?;
            Ok(Arc::new((0..values.len()).map(shown).collect::<StringArray>()))
        }
        (Decimal128(_, scale), to) => {
            let numbers = values.as_primitive::<Decimal128Type>();
            let whole = |unscaled: i128| Number { unscaled, scale: *scale }.at_scale(0).ok().and_then(|whole| i64::try_from(whole).ok());
            let whole = numbers.iter().map(|value| value.map(|value| whole(value).ok_or_else(|| out_of_range(to))).transpose());
            narrowed(whole.collect::<crate::Result<Int64Array>>()?, to)
        }
        (Float32 | Float64, to) => {
            let doubles = cast(values, &Float64)?;
            let doubles: &Float64Array = doubles.as_primitive::<Float64Type>();
            let whole = |value: f64| {
                let rounded = value.round_ties_even();
                // 2^63 itself is no bigint
                let fits = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&rounded);
                if fits { Ok(rounded as i64) } else { Err(out_of_range(to)) }
            };
            narrowed(doubles.iter().map(|value| value.map(whole).transpose()).collect::<crate::Result<Int64Array>>()?, to)
        }
        (Time64(_), Interval(IntervalUnit::MonthDayNano)) => {
            let times = values.as_primitive::<Time64MicrosecondType>();
            let span = |time: i64| IntervalMonthDayNano::new(0, 0, time * 1_000);
            Ok(Arc::new(times.iter().map(|time| time.map(span)).collect::<IntervalMonthDayNanoArray>()))
        }
        (Interval(_), Time64(TimeUnit::Microsecond)) => {
            let spans = values.as_primitive::<IntervalMonthDayNanoType>();
            let time = |span: IntervalMonthDayNano| (span.nanoseconds / 1_000).rem_euclid(DAY);
            Ok(Arc::new(spans.iter().map(|span| span.map(time)).collect::<Time64MicrosecondArray>()))
        }
        (Timestamp(TimeUnit::Microsecond, _), Date32) => {
            let times = values.as_primitive::<TimestampMicrosecondType>();
            Ok(Arc::new(times.iter().map(|time| time.map(|time| time.div_euclid(DAY) as i32)).collect::<arrow::array::Date32Array>()))
        }
        (_, to) => Ok(cast(values, to)?),
    }
}

/// A column as `to`, by the clock of `zone`.
fn cast_in_zone(values: &ArrayRef, to: &DataType, zone: &str) -> crate::Result<ArrayRef> {
    use DataType::*;
    let local = Timestamp(TimeUnit::Microsecond, None);
    match (values.data_type(), to) {
        (from, to) if !depends_on_zone(from, to) => cast_like_postgres(values, to),
        (Utf8, to) => read_into(ColumnBuffer::of_type("value", &SqlType::of_arrow(to), true).in_zone(Zone::of_session(zone)?), values, to),
        (List(_), List(item)) => {
            let lists = values.as_list::<i32>();
            let items = cast_in_zone(lists.values(), item.data_type(), zone)?;
            Ok(Arc::new(arrow::array::ListArray::try_new(Arc::clone(item), lists.offsets().clone(), items, lists.nulls().cloned())?))
        }
        (_, Utf8) => {
            let style = Style { zone: Some(zone.to_owned()), ..Style::default() };
            let shown = super::strings::shown_in(values, &style)?;
            Ok(Arc::new((0..values.len()).map(shown).collect::<StringArray>()))
        }
        (Timestamp(_, Some(_)), to) => {
            let instants = cast(values, &Timestamp(TimeUnit::Microsecond, Some("UTC".into())))?;
            cast_like_postgres(&moved(&instants, Zone::of_session(zone)?, Zone::to_local)?, to)
        }
        (_, to) => {
            let utc = moved(&cast_like_postgres(values, &local)?, Zone::of_session(zone)?, Zone::to_utc)?;
            Ok(cast(&(Arc::new(utc.as_primitive::<TimestampMicrosecondType>().clone().with_timezone("UTC")) as ArrayRef), to)?)
        }
    }
}

/// Each time by another clock.
fn moved(times: &ArrayRef, zone: Zone, convert: fn(Zone, i64) -> crate::Result<i64>) -> crate::Result<ArrayRef> {
    let times = times.as_primitive::<TimestampMicrosecondType>();
    let moved = times.iter().map(|time| time.map(|time| convert(zone, time)).transpose());
    Ok(Arc::new(moved.collect::<crate::Result<TimestampMicrosecondArray>>()?))
}

fn read_text(texts: &StringArray, to: &DataType) -> crate::Result<ArrayRef> {
    let texts: ArrayRef = Arc::new(texts.clone());
    read_into(ColumnBuffer::of_type("value", &SqlType::of_arrow(to), true), &texts, to)
}

fn read_into(mut buffer: ColumnBuffer, texts: &ArrayRef, to: &DataType) -> crate::Result<ArrayRef> {
    let texts: &StringArray = texts.as_string();
    for text in texts {
        match text {
            Some(text) => buffer.append_text(text)?,
            None => buffer.append_null()?,
        }
    }
    let values = buffer.finish();
    if values.data_type() == to { Ok(values) } else { Ok(cast(&values, to)?) }
}

fn narrowed(whole: Int64Array, to: &DataType) -> crate::Result<ArrayRef> {
    let bounds = match to {
        DataType::Int16 => i64::from(i16::MIN)..=i64::from(i16::MAX),
        DataType::Int32 => i64::from(i32::MIN)..=i64::from(i32::MAX),
        _ => i64::MIN..=i64::MAX,
    };
    if whole.iter().flatten().any(|value| !bounds.contains(&value)) {
        return Err(out_of_range(to));
    }
    let whole: ArrayRef = Arc::new(whole);
    Ok(cast(&whole, to)?)
}

fn out_of_range(to: &DataType) -> Error {
    Error::new(NUMERIC_VALUE_OUT_OF_RANGE, format!("{} out of range", crate::plan::assignment::type_name(to)))
}
