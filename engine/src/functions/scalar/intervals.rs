//! Arithmetic of dates, times and intervals, as Postgres' operators have it: a date plus an interval is a timestamp, two
//! timestamps are days and a time apart, a fraction of a month is days of which a month has 30.
//!
//! `plan/operators.rs` turns operators into calls of [`PLUS`], [`MINUS`], [`TIMES`] and [`DIVIDED`] by the types at hand.

use arrow::datatypes::IntervalMonthDayNano;

use super::calendar::{
    self, DAY, HOUR, MINUTE, Moment, SECOND, in_range, interval_of, interval_out_of_range, negated, out_of_range, plus_interval,
};
use super::numeric::division_by_zero;
use super::overload::{Scalar, over1, over2, over7};
use super::typed::{Date, Double, Integer, Interval, Time, Timestamp, TimestampTz};
use crate::{Error, Result};

/// `+` where a side is a date, a time or an interval.
pub const PLUS: &str = "datetime_plus";
/// `-` likewise.
pub const MINUS: &str = "datetime_minus";
/// An interval times a number.
pub const TIMES: &str = "interval_times";
/// An interval divided by a number.
pub const DIVIDED: &str = "interval_divided";

type Span = IntervalMonthDayNano;

/// The functions of this table.
pub fn functions() -> Vec<Scalar> {
    vec![
        Scalar::new(PLUS)
            .or(over2::<Date, Integer, Result<Date>>(|date, days| day_later(date, days.into())))
            .or(over2::<Integer, Date, Result<Date>>(|days, date| day_later(date, days.into())))
            .or(over2::<Date, Interval, Result<Timestamp>>(|date, span| later(start_of(date)?, span)))
            .or(over2::<Interval, Date, Result<Timestamp>>(|span, date| later(start_of(date)?, span)))
            .or(over2::<Timestamp, Interval, Result<Timestamp>>(later))
            .or(over2::<Interval, Timestamp, Result<Timestamp>>(|span, at| later(at, span)))
            .or(over2::<TimestampTz, Interval, Result<TimestampTz>>(later_tz))
            .or(over2::<Interval, TimestampTz, Result<TimestampTz>>(|span, at| later_tz(at, span)))
            .or(over2::<Time, Interval, Time>(time_later))
            .or(over2::<Interval, Time, Time>(|span, time| time_later(time, span)))
            .or(over2::<Date, Time, Result<Timestamp>>(|date, time| Ok(Timestamp(start_of(date)?.0 + time.0))))
            .or(over2::<Time, Date, Result<Timestamp>>(|time, date| Ok(Timestamp(start_of(date)?.0 + time.0))))
            .or(over2::<Interval, Interval, Result<Span>>(sum)),
        Scalar::new(MINUS)
            .or(over2::<Date, Date, i32>(|a, b| a.0 - b.0))
            .or(over2::<Date, Integer, Result<Date>>(|date, days| day_later(date, -i64::from(days))))
            .or(over2::<Date, Interval, Result<Timestamp>>(|date, span| later(start_of(date)?, negated(span)?)))
            .or(over2::<Timestamp, Timestamp, Result<Span>>(|a, b| apart(a.0, b.0)))
            .or(over2::<TimestampTz, TimestampTz, Result<Span>>(|a, b| apart(a.0, b.0)))
            .or(over2::<Timestamp, Interval, Result<Timestamp>>(|at, span| later(at, negated(span)?)))
            .or(over2::<TimestampTz, Interval, Result<TimestampTz>>(|at, span| later_tz(at, negated(span)?)))
            .or(over2::<Time, Interval, Result<Time>>(|time, span| Ok(time_later(time, negated(span)?))))
            .or(over2::<Time, Time, Result<Span>>(|a, b| interval_of(0, 0, a.0 - b.0)))
            .or(over2::<Interval, Interval, Result<Span>>(|a, b| sum(a, negated(b)?))),
        Scalar::new(TIMES)
            .or(over2::<Interval, Double, Result<Span>>(times))
            .or(over2::<Double, Interval, Result<Span>>(|n, span| times(span, n))),
        Scalar::new(DIVIDED).or(over2::<Interval, Double, Result<Span>>(divided)),
        Scalar::new("age").or(over2::<Timestamp, Timestamp, Result<Span>>(|a, b| age(a.0, b.0))).or(over2::<
            TimestampTz,
            TimestampTz,
            Result<Span>,
        >(|a, b| age(a.0, b.0))),
        Scalar::new("justify_hours").or(over1::<Interval, Result<Span>>(justify_hours)),
        Scalar::new("justify_days").or(over1::<Interval, Result<Span>>(justify_days)),
        Scalar::new("justify_interval").or(over1::<Interval, Result<Span>>(justify_interval)),
        Scalar::new("isfinite")
            .or(over1::<Date, bool>(|_| true))
            .or(over1::<Timestamp, bool>(|_| true))
            .or(over1::<TimestampTz, bool>(|_| true))
            .or(over1::<Interval, bool>(|_| true)),
        Scalar::new("make_interval_of")
            .or(over7::<Integer, Integer, Integer, Integer, Integer, Integer, Double, Result<Span>>(make_interval)),
    ]
}

fn start_of(date: Date) -> Result<Timestamp> {
    i64::from(date.0).checked_mul(DAY).ok_or_else(out_of_range).and_then(in_range).map(Timestamp)
}

fn day_later(date: Date, days: i64) -> Result<Date> {
    let error = || Error::new("22008", "date out of range");
    i32::try_from(i64::from(date.0) + days).map(Date).map_err(|_| error())
}

fn later(at: Timestamp, span: Span) -> Result<Timestamp> {
    plus_interval(at.0, span).map(Timestamp)
}

fn later_tz(at: TimestampTz, span: Span) -> Result<TimestampTz> {
    plus_interval(at.0, span).map(TimestampTz)
}

/// Around midnight; months and days do not count.
fn time_later(time: Time, span: Span) -> Time {
    Time((time.0 + span.nanoseconds / 1_000 % DAY).rem_euclid(DAY))
}

fn sum(a: Span, b: Span) -> Result<Span> {
    let parts = (a.months.checked_add(b.months), a.days.checked_add(b.days), a.nanoseconds.checked_add(b.nanoseconds));
    match parts {
        (Some(months), Some(days), Some(nanoseconds)) => Ok(Span::new(months, days, nanoseconds)),
        _ => Err(interval_out_of_range()),
    }
}

/// Days and a time of less than a day, of one sign.
fn apart(a: i64, b: i64) -> Result<Span> {
    let micros = a.checked_sub(b).ok_or_else(interval_out_of_range)?;
    interval_of(0, micros / DAY, micros % DAY)
}

fn times(span: Span, n: f64) -> Result<Span> {
    scaled(span, n, |part, n| part * n)
}

fn divided(span: Span, n: f64) -> Result<Span> {
    if n == 0.0 {
        return Err(division_by_zero());
    }
    scaled(span, n, |part, n| part / n)
}

/// Each part scaled; what a month leaves over is days, what a day leaves over is time (`interval_mul` of Postgres).
fn scaled(span: Span, n: f64, scale: fn(f64, f64) -> f64) -> Result<Span> {
    let months = scale(span.months.into(), n);
    let days = scale(span.days.into(), n);
    let month_rest = rounded_micros((months - months.trunc()) * 30.0);
    let mut day_rest = rounded_micros((days - days.trunc()) * 86_400.0 + (month_rest - month_rest.trunc()) * 86_400.0);
    let mut whole_days = days.trunc() + month_rest.trunc();
    if day_rest.abs() >= 86_400.0 {
        whole_days += (day_rest / 86_400.0).trunc();
        day_rest %= 86_400.0;
    }
    let micros = (scale((span.nanoseconds / 1_000) as f64, n) + day_rest * SECOND as f64).round_ties_even();
    let fits = [months, whole_days].iter().all(|part| part.abs() <= f64::from(i32::MAX)) && micros.abs() < i64::MAX as f64 / 1_000.0;
    if !fits {
        return Err(interval_out_of_range());
    }
    interval_of(months.trunc() as i64, whole_days as i64, micros as i64)
}

/// To microseconds of the unit: away with what binary fractions leave behind.
fn rounded_micros(value: f64) -> f64 {
    (value * 1e6).round_ties_even() / 1e6
}

/// Years, months, days and time from `b` to `a` by the calendar (`timestamp_age` of Postgres).
fn age(a: i64, b: i64) -> Result<Span> {
    if a < b {
        return negated(age(b, a)?);
    }
    let (late, early) = (Moment::of(a), Moment::of(b));
    let mut months = (late.year - early.year) * 12 + late.month - early.month;
    let mut days = late.day - early.day;
    let mut time = late.time - early.time;
    if time < 0 {
        time += DAY;
        days -= 1;
    }
    if days < 0 {
        days += calendar::days_in_month(early.year, early.month);
        months -= 1;
    }
    interval_of(months, days, time)
}

fn justify_hours(span: Span) -> Result<Span> {
    let micros = span.nanoseconds / 1_000;
    let (mut days, mut time) = (i64::from(span.days) + micros / DAY, micros % DAY);
    if days > 0 && time < 0 {
        (days, time) = (days - 1, time + DAY);
    } else if days < 0 && time > 0 {
        (days, time) = (days + 1, time - DAY);
    }
    interval_of(span.months.into(), days, time)
}

fn justify_days(span: Span) -> Result<Span> {
    let (mut months, mut days) = (i64::from(span.months) + i64::from(span.days / 30), i64::from(span.days % 30));
    if months > 0 && days < 0 {
        (months, days) = (months - 1, days + 30);
    } else if months < 0 && days > 0 {
        (months, days) = (months + 1, days - 30);
    }
    interval_of(months, days, span.nanoseconds / 1_000)
}

fn justify_interval(span: Span) -> Result<Span> {
    let micros = span.nanoseconds / 1_000;
    let (mut days, mut time) = (i64::from(span.days) + micros / DAY, micros % DAY);
    let mut months = i64::from(span.months) + days / 30;
    days %= 30;
    if months > 0 && (days < 0 || days == 0 && time < 0) {
        (months, days) = (months - 1, days + 30);
    } else if months < 0 && (days > 0 || days == 0 && time > 0) {
        (months, days) = (months + 1, days - 30);
    }
    if days > 0 && time < 0 {
        (days, time) = (days - 1, time + DAY);
    } else if days < 0 && time > 0 {
        (days, time) = (days + 1, time - DAY);
    }
    interval_of(months, days, time)
}

fn make_interval(years: i32, months: i32, weeks: i32, days: i32, hours: i32, minutes: i32, seconds: f64) -> Result<Span> {
    let micros =
        i128::from(hours) * i128::from(HOUR) + i128::from(minutes) * i128::from(MINUTE) + (seconds * SECOND as f64).round() as i128;
    let micros = i64::try_from(micros).map_err(|_| interval_out_of_range())?;
    interval_of(i64::from(years) * 12 + i64::from(months), i64::from(weeks) * 7 + i64::from(days), micros)
}
