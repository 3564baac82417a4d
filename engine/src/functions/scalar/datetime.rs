//! Dates and times: made from parts, cut off, put into bins.

use arrow::datatypes::IntervalMonthDayNano;

use super::calendar::{DAY, HOUR, MINUTE, Moment, SECOND, date_of, in_range, interval_of, out_of_range};
use super::overload::{Scalar, over1, over2, over3, over6, over7};
use super::typed::{BigInt, Date, Double, Integer, Interval, Text, Time, Timestamp, TimestampTz};
use super::zones;
use crate::error::sqlstate::INVALID_PARAMETER_VALUE;
use crate::{Error, Result};

/// The functions of this table.
pub fn functions() -> Vec<Scalar> {
    vec![
        Scalar::new("make_date").or(over3::<Integer, Integer, Integer, Result<Date>>(|year, month, day| {
            Ok(Date(date_of(year.into(), month.into(), day.into())? as i32))
        })),
        Scalar::new("make_time")
            .or(over3::<Integer, Integer, Double, Result<Time>>(|hour, minute, second| time_of(hour, minute, second).map(Time))),
        Scalar::new("make_timestamp").or(over6::<Integer, Integer, Integer, Integer, Integer, Double, Result<Timestamp>>(
            |year, month, day, hour, minute, second| micros_of((year, month, day), (hour, minute, second)).map(Timestamp),
        )),
        Scalar::new("make_timestamptz")
            .or(over6::<Integer, Integer, Integer, Integer, Integer, Double, Result<TimestampTz>>(
                |year, month, day, hour, minute, second| micros_of((year, month, day), (hour, minute, second)).map(TimestampTz),
            ))
            .or(over7::<Integer, Integer, Integer, Integer, Integer, Double, Text, Result<TimestampTz>>(
                |year, month, day, hour, minute, second, zone| {
                    zones::to_utc(micros_of((year, month, day), (hour, minute, second))?, zone).map(TimestampTz)
                },
            )),
        Scalar::new("to_timestamp")
            .or(over1::<Double, Result<TimestampTz>>(|seconds| {
                let micros = (seconds * SECOND as f64).round_ties_even();
                if micros.abs() < i64::MAX as f64 { in_range(micros as i64).map(TimestampTz) } else { Err(out_of_range()) }
            }))
            .or(over1::<BigInt, Result<TimestampTz>>(|seconds| {
                seconds.checked_mul(SECOND).ok_or_else(out_of_range).and_then(in_range).map(TimestampTz)
            }))
            .or(over2::<Text, Text, Result<TimestampTz>>(|text, template| super::templates::to_timestamp(text, template).map(TimestampTz))),
        Scalar::new("date_trunc")
            .or(over2::<Text, Timestamp, Result<Timestamp>>(|unit, at| truncated(unit, at.0).map(Timestamp)))
            .or(over2::<Text, TimestampTz, Result<TimestampTz>>(|unit, at| truncated(unit, at.0).map(TimestampTz)))
            .or(over2::<Text, Interval, Result<IntervalMonthDayNano>>(truncated_interval))
            .or(over3::<Text, TimestampTz, Text, Result<TimestampTz>>(|unit, at, zone| {
                truncated_in(unit, at.0, zones::named(zone)?).map(TimestampTz)
            })),
        Scalar::new("date_bin")
            .or(over3::<Interval, Timestamp, Timestamp, Result<Timestamp>>(|stride, at, origin| bin(stride, at.0, origin.0).map(Timestamp)))
            .or(over3::<Interval, TimestampTz, TimestampTz, Result<TimestampTz>>(|stride, at, origin| {
                bin(stride, at.0, origin.0).map(TimestampTz)
            })),
    ]
}

fn time_of(hour: i32, minute: i32, second: f64) -> Result<i64> {
    let micros = i64::from(hour) * HOUR + i64::from(minute) * MINUTE + (second * SECOND as f64).round() as i64;
    let is_time = (0..=24).contains(&hour) && (0..60).contains(&minute) && (0.0..=60.0).contains(&second) && micros <= DAY;
    if is_time { Ok(micros) } else { Err(Error::new("22008", format!("time field value out of range: {hour}:{minute:02}:{second:02}"))) }
}

fn micros_of((year, month, day): (i32, i32, i32), (hour, minute, second): (i32, i32, f64)) -> Result<i64> {
    let days = date_of(year.into(), month.into(), day.into())?;
    days.checked_mul(DAY)
        .and_then(|micros| micros.checked_add(time_of(hour, minute, second).ok()?))
        .ok_or(())
        .or_else(|()| {
            time_of(hour, minute, second)?;
            Err(out_of_range())
        })
        .and_then(in_range)
}

fn unknown_unit(unit: &str, of: &str) -> Error {
    Error::new(INVALID_PARAMETER_VALUE, format!("unit \"{unit}\" not recognized for type {of}"))
}

/// `date_trunc`: the unit's first moment.
fn truncated(unit: &str, micros: i64) -> Result<i64> {
    let at = Moment::of(micros);
    let to = |length: i64| Ok(micros - micros.rem_euclid(length));
    let month = |year: i64, month: i64| Moment { year, month, day: 1, time: 0 }.micros();
    // the first year of a century is 1 and not 0
    let first_year =
        |length: i64| if at.year > 0 { (at.year - 1) / length * length + 1 } else { -((length - 1 - at.year) / length * length) + 1 };
    match unit.to_ascii_lowercase().as_str() {
        "microsecond" | "microseconds" | "us" => Ok(micros),
        "millisecond" | "milliseconds" | "ms" => to(SECOND / 1_000),
        "second" | "seconds" => to(SECOND),
        "minute" | "minutes" => to(MINUTE),
        "hour" | "hours" => to(HOUR),
        "day" | "days" => to(DAY),
        "week" | "weeks" => Ok((micros.div_euclid(DAY) - (micros.div_euclid(DAY) + 3).rem_euclid(7)) * DAY),
        "month" | "months" => month(at.year, at.month),
        "quarter" => month(at.year, (at.month - 1) / 3 * 3 + 1),
        "year" | "years" => month(at.year, 1),
        "decade" | "decades" => month(at.year.div_euclid(10) * 10, 1),
        "century" | "centuries" => month(first_year(100), 1),
        "millennium" | "millenniums" | "millennia" => month(first_year(1000), 1),
        _ => Err(unknown_unit(unit, "timestamp without time zone")),
    }
}

/// `date_trunc` by the clock of a zone. What is shorter than a day is cut off without another look at the clock, so that in the
/// hour that is repeated it stays in its own.
pub fn truncated_in(unit: &str, utc: i64, zone: zones::Zone) -> Result<i64> {
    let local = zone.to_local(utc)?;
    let first = truncated(unit, local)?;
    let unit = unit.to_ascii_lowercase();
    let is_short =
        matches!(unit.as_str(), "us" | "ms") || ["microsec", "millisec", "sec", "min", "hour"].iter().any(|it| unit.starts_with(it));
    if is_short { Ok(utc - (local - first)) } else { zone.to_utc(first) }
}

fn truncated_interval(unit: &str, span: IntervalMonthDayNano) -> Result<IntervalMonthDayNano> {
    let (months, days, micros) = (i64::from(span.months), i64::from(span.days), span.nanoseconds / 1_000);
    let to_months = |n: i64| interval_of(months / n * n, 0, 0);
    let to_micros = |n: i64| interval_of(months, days, micros / n * n);
    match unit.to_ascii_lowercase().as_str() {
        "microsecond" | "microseconds" | "us" => to_micros(1),
        "millisecond" | "milliseconds" | "ms" => to_micros(1_000),
        "second" | "seconds" => to_micros(SECOND),
        "minute" | "minutes" => to_micros(MINUTE),
        "hour" | "hours" => to_micros(HOUR),
        "day" | "days" => interval_of(months, days, 0),
        "month" | "months" => to_months(1),
        "quarter" => to_months(3),
        "year" | "years" => to_months(12),
        "decade" | "decades" => to_months(120),
        "century" | "centuries" => to_months(1_200),
        "millennium" | "millenniums" | "millennia" => to_months(12_000),
        _ => Err(unknown_unit(unit, "interval")),
    }
}

fn bin(stride: IntervalMonthDayNano, at: i64, origin: i64) -> Result<i64> {
    if stride.months != 0 {
        return Err(Error::unsupported("timestamps cannot be binned into intervals containing months or years", "use date_trunc()"));
    }
    let length = i64::from(stride.days) * DAY + stride.nanoseconds / 1_000;
    if length <= 0 {
        return Err(Error::new("22008", "stride must be greater than zero"));
    }
    let since = at.checked_sub(origin).ok_or_else(out_of_range)?;
    origin.checked_add(since.div_euclid(length) * length).ok_or_else(out_of_range)
}
