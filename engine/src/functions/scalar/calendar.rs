//! The calendar behind date functions: microseconds since 1970 as year, month, day and time of day, and back.
//!
//! Proleptic Gregorian; year 0 is 1 BC. What leaves the range of `timestamp` is `22008`.

use arrow::datatypes::IntervalMonthDayNano;

use crate::decode::datetime::days_from_date;
use crate::encode::datetime::civil;
use crate::{Error, Result};

/// Microseconds of a second.
pub const SECOND: i64 = 1_000_000;
/// Of a minute.
pub const MINUTE: i64 = 60 * SECOND;
/// Of an hour.
pub const HOUR: i64 = 60 * MINUTE;
/// Of a day.
pub const DAY: i64 = 24 * HOUR;

/// The first and the last microsecond of a `timestamp`: 4713 BC and 294276 AD.
const RANGE: std::ops::Range<i64> = -210_866_803_200_000_000..9_223_371_331_200_000_000;

/// A moment by the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// 0 is 1 BC.
    pub year: i64,
    /// From 1.
    pub month: i64,
    /// Of the month, from 1.
    pub day: i64,
    /// Microseconds since midnight.
    pub time: i64,
}

impl Moment {
    /// The moment so many microseconds after 1970-01-01 00:00.
    pub fn of(micros: i64) -> Self {
        let (year, month, day) = civil(micros.div_euclid(DAY));
        Self { year, month, day, time: micros.rem_euclid(DAY) }
    }

    /// Microseconds since 1970-01-01 00:00.
    pub fn micros(self) -> Result<i64> {
        let days = days_from_date(self.year, self.month, self.day);
        days.checked_mul(DAY).and_then(|micros| micros.checked_add(self.time)).ok_or_else(out_of_range).and_then(in_range)
    }

    /// So many months later; the 31st of a shorter month is its last day.
    pub fn plus_months(self, months: i64) -> Self {
        let count = self.year * 12 + self.month - 1 + months;
        let (year, month) = (count.div_euclid(12), count.rem_euclid(12) + 1);
        Self { year, month, day: self.day.min(days_in_month(year, month)), ..self }
    }

    /// Day of the year from 1.
    pub fn day_of_year(self) -> i64 {
        days_from_date(self.year, self.month, self.day) - days_from_date(self.year, 1, 1) + 1
    }

    /// Day of the week, Sunday being 0.
    pub fn day_of_week(self) -> i64 {
        (days_from_date(self.year, self.month, self.day) + 4).rem_euclid(7)
    }

    /// ISO 8601 year and week: the week belongs to the year that has its Thursday.
    pub fn iso_week(self) -> (i64, i64) {
        let days = days_from_date(self.year, self.month, self.day);
        let thursday = days - (days + 3).rem_euclid(7) + 3;
        let (year, ..) = civil(thursday);
        (year, (thursday - days_from_date(year, 1, 1)) / 7 + 1)
    }
}

/// Days of a month.
pub fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// `micros` if a `timestamp` can hold it.
pub fn in_range(micros: i64) -> Result<i64> {
    if RANGE.contains(&micros) { Ok(micros) } else { Err(out_of_range()) }
}

/// `22008`.
pub fn out_of_range() -> Error {
    Error::new("22008", "timestamp out of range")
}

/// A date of the calendar as days since 1970-01-01; negative years are BC, year 0 is none.
pub fn date_of(year: i64, month: i64, day: i64) -> Result<i64> {
    let shown = || Error::new("22008", format!("date field value out of range: {year}-{month:02}-{day:02}"));
    let astronomical = if year < 0 { year + 1 } else { year };
    let is_date = year != 0 && (1..=12).contains(&month) && (1..=days_in_month(astronomical, month)).contains(&day);
    if !is_date || !(-4712..=294_276).contains(&astronomical) {
        return Err(shown());
    }
    Ok(days_from_date(astronomical, month, day))
}

/// `micros` and an interval later: months first, then days, then the rest, as Postgres adds them.
pub fn plus_interval(micros: i64, interval: IntervalMonthDayNano) -> Result<i64> {
    let micros = match interval.months {
        0 => micros,
        months => Moment::of(micros).plus_months(months.into()).micros()?,
    };
    let later = micros
        .checked_add(i64::from(interval.days).checked_mul(DAY).ok_or_else(out_of_range)?)
        .and_then(|micros| micros.checked_add(interval.nanoseconds / 1_000));
    later.ok_or_else(out_of_range).and_then(in_range)
}

/// The interval with every part's sign turned; the least numbers have no opposite.
pub fn negated(interval: IntervalMonthDayNano) -> Result<IntervalMonthDayNano> {
    let negated = (interval.months.checked_neg(), interval.days.checked_neg(), interval.nanoseconds.checked_neg());
    match negated {
        (Some(months), Some(days), Some(nanoseconds)) => Ok(IntervalMonthDayNano::new(months, days, nanoseconds)),
        _ => Err(interval_out_of_range()),
    }
}

/// An interval of parts, if they fit.
pub fn interval_of(months: i64, days: i64, micros: i64) -> Result<IntervalMonthDayNano> {
    let parts = (i32::try_from(months), i32::try_from(days), micros.checked_mul(1_000));
    match parts {
        (Ok(months), Ok(days), Some(nanoseconds)) => Ok(IntervalMonthDayNano::new(months, days, nanoseconds)),
        _ => Err(interval_out_of_range()),
    }
}

/// `22008` for intervals.
pub fn interval_out_of_range() -> Error {
    Error::new("22008", "interval out of range")
}
