//! `extract(field from x)`, a numeric as in Postgres, and `date_part(field, x)`, a double.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array};
use arrow::datatypes::{DataType, FieldRef, IntervalMonthDayNanoType, TimeUnit};
use datafusion::common::ScalarValue;

use super::calendar::{DAY, HOUR, MINUTE, Moment};
use super::overload::{Kind, Overload, Scalar};
use super::typed::{Argument, Date, Interval, Text, Time, Timestamp, TimestampTz};
use super::zones::Zone;
use crate::error::sqlstate::INVALID_PARAMETER_VALUE;
use crate::{Error, Result};

/// What `EXTRACT` becomes.
pub const EXTRACT: &str = "extract";

/// The functions of this table.
pub fn functions() -> Vec<Scalar> {
    let sources = [Timestamp::data_type(), TimestampTz::data_type(), Date::data_type(), Time::data_type(), Interval::data_type()];
    let mut extract = Scalar::new(EXTRACT);
    let mut date_part = Scalar::new("date_part");
    for source in sources {
        let parameters = vec![Kind::Exactly(Text::data_type()), Kind::Exactly(source)];
        extract = extract.or(Overload::new(parameters.clone(), Arc::new(scale_of_field), Arc::new(extracted)));
        date_part = date_part.or(Overload::fixed(parameters, DataType::Float64, Arc::new(parts)));
    }
    vec![extract, date_part]
}

/// Seconds and what is smaller have digits behind the point, the rest none.
pub fn scale_of_field(_: &[FieldRef], constants: &[Option<ScalarValue>]) -> Result<DataType> {
    let scale = match constants.first() {
        Some(Some(ScalarValue::Utf8(Some(field)))) => match field.to_ascii_lowercase().as_str() {
            "second" | "seconds" | "epoch" => 6,
            "millisecond" | "milliseconds" | "ms" => 3,
            "julian" => 15,
            _ => 0,
        },
        _ => 6,
    };
    Ok(DataType::Decimal128(38, scale))
}

/// A part in microseconds of its unit, so that nothing is rounded: `5.25` seconds are 5,250,000.
fn part(field: &str, value: Value) -> Result<i128> {
    let millionths = |n: i64| i128::from(n) * 1_000_000;
    let unknown = |of: &str| Error::new(INVALID_PARAMETER_VALUE, format!("unit \"{field}\" not recognized for type {of}"));
    let unsupported = |of: &str| Error::unsupported(format!("unit \"{field}\" not supported for type {of}"), "extract another field");
    let time_part = |time: i64| {
        Some(match field {
            "hour" | "hours" => millionths(time / HOUR),
            "minute" | "minutes" => millionths(time / MINUTE % 60),
            "second" | "seconds" => i128::from(time % MINUTE),
            "millisecond" | "milliseconds" | "ms" => i128::from(time % MINUTE) * 1_000,
            "microsecond" | "microseconds" | "us" => millionths(time % MINUTE),
            _ => return None,
        })
    };
    match value {
        Value::Time(time) => match field {
            "epoch" => Ok(time.into()),
            _ => time_part(time).ok_or_else(|| unknown("time without time zone")),
        },
        Value::Interval { months, days, micros } => {
            let years = months / 12;
            if let Some(part) = time_part(micros) {
                return Ok(part);
            }
            Ok(match field {
                "day" | "days" => millionths(days),
                "month" | "months" => millionths(months % 12),
                "quarter" => millionths(months % 12 / 3 + 1),
                "year" | "years" => millionths(years),
                "decade" | "decades" => millionths(years / 10),
                "century" | "centuries" => millionths(years / 100),
                "millennium" | "millennia" => millionths(years / 1_000),
                // a year has 365.25 days, the months left over 30 each
                "epoch" => {
                    let seconds = i128::from(years) * 31_557_600 + i128::from(months % 12) * 2_592_000 + i128::from(days) * 86_400;
                    seconds * 1_000_000 + i128::from(micros)
                }
                "week" | "dow" | "doy" | "isodow" | "isoyear" => return Err(unsupported("interval")),
                _ => return Err(unknown("interval")),
            })
        }
        Value::Moment { micros, east, of_date } => {
            let with_zone = east.is_some();
            let at = Moment::of(micros);
            if let Some(part) = time_part(at.time).filter(|_| !of_date) {
                return Ok(part);
            }
            // the year before 1 is 1 BC
            let year = if at.year > 0 { at.year } else { at.year - 1 };
            let group = |length: i64| if at.year > 0 { (at.year + length - 1) / length } else { -((length - at.year) / length) };
            let type_name = match (of_date, with_zone) {
                (true, _) => "date",
                (_, true) => "timestamp with time zone",
                _ => "timestamp without time zone",
            };
            Ok(match field {
                "day" | "days" => millionths(at.day),
                "month" | "months" => millionths(at.month),
                "year" | "years" => millionths(year),
                "quarter" => millionths((at.month - 1) / 3 + 1),
                "week" | "weeks" => millionths(at.iso_week().1),
                "isoyear" => millionths(at.iso_week().0),
                "dow" => millionths(at.day_of_week()),
                "isodow" => millionths((at.day_of_week() + 6) % 7 + 1),
                "doy" => millionths(at.day_of_year()),
                "decade" | "decades" => millionths(at.year.div_euclid(10)),
                "century" | "centuries" => millionths(group(100)),
                "millennium" | "millennia" => millionths(group(1_000)),
                "epoch" => i128::from(micros) - i128::from(east.unwrap_or(0)),
                "julian" => millionths(micros.div_euclid(DAY) + 2_440_588) + i128::from(at.time) * 1_000_000 / i128::from(DAY),
                "timezone" if with_zone => east.unwrap_or(0).into(),
                "timezone_hour" if with_zone => millionths(east.unwrap_or(0) / HOUR),
                "timezone_minute" if with_zone => millionths(east.unwrap_or(0) / MINUTE % 60),
                "hour" | "minute" | "second" | "millisecond" | "milliseconds" | "microsecond" | "microseconds" | "timezone"
                | "timezone_hour" | "timezone_minute" => return Err(unsupported(type_name)),
                _ => return Err(unknown(type_name)),
            })
        }
    }
}

enum Value {
    Time(i64),
    Interval {
        months: i64,
        days: i64,
        micros: i64,
    },
    /// By a clock that is so far east of UTC, if it knows its zone.
    Moment {
        micros: i64,
        east: Option<i64>,
        of_date: bool,
    },
}

fn reader(source: &ArrayRef) -> Box<dyn Fn(usize) -> Value + '_> {
    match source.data_type() {
        DataType::Date32 => {
            let days = source.as_primitive::<arrow::datatypes::Date32Type>();
            Box::new(|row| Value::Moment { micros: i64::from(days.value(row)).saturating_mul(DAY), east: None, of_date: true })
        }
        DataType::Time64(_) => {
            let times = source.as_primitive::<arrow::datatypes::Time64MicrosecondType>();
            Box::new(|row| Value::Time(times.value(row)))
        }
        DataType::Interval(_) => {
            let spans = source.as_primitive::<IntervalMonthDayNanoType>();
            Box::new(|row| {
                let span = spans.value(row);
                Value::Interval { months: span.months.into(), days: span.days.into(), micros: span.nanoseconds / 1_000 }
            })
        }
        data_type => {
            let east = matches!(data_type, DataType::Timestamp(TimeUnit::Microsecond, Some(_))).then_some(0);
            let times = source.as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
            Box::new(move |row| Value::Moment { micros: times.value(row), east, of_date: false })
        }
    }
}

/// `extract(field from timestamptz)` by the clock of a zone, in millionths.
pub fn part_in(field: &str, utc: i64, zone: Zone) -> Result<i128> {
    let east = zone.east_of(utc)?;
    part(&field.to_ascii_lowercase(), Value::Moment { micros: zone.to_local(utc)?, east: Some(east), of_date: false })
}

/// The part of each row in millionths.
fn each(arguments: &[ArrayRef], n_rows: usize) -> impl Iterator<Item = Result<Option<i128>>> + '_ {
    let fields = arguments[0].as_string::<i32>();
    let value = reader(&arguments[1]);
    (0..n_rows).map(move |row| match fields.is_null(row) || arguments[1].is_null(row) {
        true => Ok(None),
        false => part(&fields.value(row).to_ascii_lowercase(), value(row)).map(Some),
    })
}

fn extracted(arguments: &[ArrayRef], n_rows: usize, returned: &DataType) -> Result<ArrayRef> {
    numerics(each(arguments, n_rows), returned)
}

/// Millionths as numerics of the type that [`scale_of_field`] gives.
pub fn numerics(parts: impl Iterator<Item = Result<Option<i128>>>, returned: &DataType) -> Result<ArrayRef> {
    let DataType::Decimal128(precision, scale) = *returned else { return Err(Error::internal("extract returns numeric")) };
    let at_scale = |millionths: i128| match scale {
        0..=6 => millionths / 10i128.pow(6 - scale as u32),
        _ => millionths * 10i128.pow(scale as u32 - 6),
    };
    let values = parts.map(|part| Ok(part?.map(at_scale))).collect::<Result<Decimal128Array>>()?;
    Ok(Arc::new(values.with_precision_and_scale(precision, scale)?))
}

fn parts(arguments: &[ArrayRef], n_rows: usize, _: &DataType) -> Result<ArrayRef> {
    let values = each(arguments, n_rows).map(|part| Ok(part?.map(|millionths| millionths as f64 / 1e6)));
    Ok(Arc::new(values.collect::<Result<Float64Array>>()?))
}
