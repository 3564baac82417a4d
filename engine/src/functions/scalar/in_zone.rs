//! What functions of `timestamptz` become in a session whose `TimeZone` is not UTC: the same by the clock of the zone, which is
//! their last argument. `plan/zone.rs` puts them into plans; nobody can call them by name.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, IntervalMonthDayNano, TimestampMicrosecondType};

use super::calendar::{negated, out_of_range, plus_interval};
use super::datetime::truncated_in;
use super::fields::{numerics, part_in, scale_of_field};
use super::overload::{Kind, Overload, Scalar, over3};
use super::templates::{to_char_in, to_timestamp_in};
use super::typed::{Argument, Interval, Text, TimestampTz};
use super::zones::Zone;
use crate::Result;

/// `timestamptz + interval`.
pub const PLUS: &str = "$plus_in_zone";
/// `timestamptz - interval`.
pub const MINUS: &str = "$minus_in_zone";
/// `date_trunc(unit, timestamptz)`.
pub const DATE_TRUNC: &str = "$date_trunc_in_zone";
/// `date_part(field, timestamptz)`.
pub const DATE_PART: &str = "$date_part_in_zone";
/// `extract(field from timestamptz)`.
pub const EXTRACT: &str = "$extract_in_zone";
/// `to_char(timestamptz, template)`.
pub const TO_CHAR: &str = "$to_char_in_zone";
/// `to_timestamp(text, template)`.
pub const TO_TIMESTAMP: &str = "$to_timestamp_in_zone";

/// The functions of this table.
pub fn functions() -> Vec<Scalar> {
    let of_field = || vec![Kind::Exactly(Text::data_type()), Kind::Exactly(TimestampTz::data_type()), Kind::Exactly(Text::data_type())];
    vec![
        Scalar::new(PLUS).or(over3::<TimestampTz, Interval, Text, Result<TimestampTz>>(later)),
        Scalar::new(MINUS).or(over3::<TimestampTz, Interval, Text, Result<TimestampTz>>(|at, span, zone| later(at, negated(span)?, zone))),
        Scalar::new(DATE_TRUNC).or(over3::<Text, TimestampTz, Text, Result<TimestampTz>>(|unit, at, zone| {
            truncated_in(unit, at.0, Zone::of_session(zone)?).map(TimestampTz)
        })),
        Scalar::new(DATE_PART).or(Overload::fixed(of_field(), DataType::Float64, Arc::new(parts))),
        Scalar::new(EXTRACT).or(Overload::new(of_field(), Arc::new(scale_of_field), Arc::new(extracted))),
        Scalar::new(TO_CHAR)
            .or(over3::<TimestampTz, Text, Text, Result<String>>(|at, template, zone| to_char_in(at.0, template, Zone::of_session(zone)?))),
        Scalar::new(TO_TIMESTAMP).or(over3::<Text, Text, Text, Result<TimestampTz>>(|text, template, zone| {
            to_timestamp_in(text, template, Zone::of_session(zone)?).map(TimestampTz)
        })),
    ]
}

/// Months and days are those of the clock, hours are hours: a day is 23 hours when the clock is put forward.
fn later(at: TimestampTz, span: IntervalMonthDayNano, zone: &str) -> Result<TimestampTz> {
    let zone = Zone::of_session(zone)?;
    let mut utc = at.0;
    for part in [IntervalMonthDayNano::new(span.months, 0, 0), IntervalMonthDayNano::new(0, span.days, 0)] {
        if part != IntervalMonthDayNano::new(0, 0, 0) {
            utc = zone.to_utc(plus_interval(zone.to_local(utc)?, part)?)?;
        }
    }
    let rest = IntervalMonthDayNano::new(0, 0, span.nanoseconds);
    plus_interval(utc, rest).map(TimestampTz).map_err(|_| out_of_range())
}

/// The part of each row in millionths.
fn each(arguments: &[ArrayRef], n_rows: usize) -> impl Iterator<Item = Result<Option<i128>>> + '_ {
    let (fields, zones) = (arguments[0].as_string::<i32>(), arguments[2].as_string::<i32>());
    let times = arguments[1].as_primitive::<TimestampMicrosecondType>();
    (0..n_rows).map(move |row| match fields.is_null(row) || times.is_null(row) {
        true => Ok(None),
        false => part_in(fields.value(row), times.value(row), Zone::of_session(zones.value(row))?).map(Some),
    })
}

fn parts(arguments: &[ArrayRef], n_rows: usize, _: &DataType) -> Result<ArrayRef> {
    let values = each(arguments, n_rows).map(|part| Ok(part?.map(|millionths| millionths as f64 / 1e6)));
    Ok(Arc::new(values.collect::<Result<Float64Array>>()?))
}

fn extracted(arguments: &[ArrayRef], n_rows: usize, returned: &DataType) -> Result<ArrayRef> {
    numerics(each(arguments, n_rows), returned)
}
