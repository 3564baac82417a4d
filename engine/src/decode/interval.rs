//! Intervals as Postgres reads them: `1 year 2 mons 3 days 04:05:06.7`, `1-2`, `P1Y2M3DT4H5M6S`, `3 days ago`, `90` (seconds).
//!
//! Months, days and microseconds stay apart; a fraction of a unit goes to the next smaller one (a month has 30 days there).

use arrow::datatypes::IntervalMonthDayNano;

use crate::error::sqlstate::INVALID_DATETIME;
use crate::{Error, Result};

const DAY_US: f64 = 86_400_000_000.0;

/// Reads an interval.
pub fn parse_interval(text: &str) -> Result<IntervalMonthDayNano> {
    let lower = text.trim().to_ascii_lowercase();
    let parsed = match lower.strip_prefix('p') {
        Some(iso) => parse_iso(iso),
        None => parse_words(&lower),
    };
    let sum = parsed.ok_or_else(|| Error::new(INVALID_DATETIME, format!("invalid input syntax for type interval: \"{text}\"")))?;
    sum.finish().ok_or_else(|| Error::new("22015", format!("interval field value out of range: \"{text}\"")))
}

/// Parts added up. Wide, so that only the end can be out of range.
#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    months: i128,
    days: i128,
    us: i128,
}

impl Sum {
    fn negated(self) -> Self {
        Self { months: -self.months, days: -self.days, us: -self.us }
    }

    fn finish(self) -> Option<IntervalMonthDayNano> {
        let months = i32::try_from(self.months).ok()?;
        let days = i32::try_from(self.days).ok()?;
        Some(IntervalMonthDayNano::new(months, days, i64::try_from(self.us.checked_mul(1000)?).ok()?))
    }

    /// Adds `whole` and a `fraction` (of its sign) of a unit.
    fn add(&mut self, whole: i128, fraction: f64, unit: Unit) {
        match unit {
            Unit::Months(n) => {
                let months = fraction * n as f64;
                self.months += whole * n + months.trunc() as i128;
                self.add_days(months.fract() * 30.0);
            }
            Unit::Days(n) => {
                self.days += whole * n;
                self.add_days(fraction * n as f64);
            }
            Unit::Microseconds(n) => self.us += whole * n + (fraction * n as f64).round() as i128,
        }
    }

    fn add_days(&mut self, days: f64) {
        self.days += days.trunc() as i128;
        self.us += (days.fract() * DAY_US).round() as i128;
    }
}

#[derive(Debug, Clone, Copy)]
enum Unit {
    Months(i128),
    Days(i128),
    Microseconds(i128),
}

fn unit(word: &str) -> Option<Unit> {
    Some(match word {
        "us" | "usec" | "usecs" | "microsecond" | "microseconds" => Unit::Microseconds(1),
        "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" => Unit::Microseconds(1_000),
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Microseconds(1_000_000),
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Microseconds(60_000_000),
        "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Microseconds(3_600_000_000),
        "d" | "day" | "days" => Unit::Days(1),
        "w" | "week" | "weeks" => Unit::Days(7),
        "mon" | "mons" | "month" | "months" => Unit::Months(1),
        "y" | "yr" | "yrs" | "year" | "years" => Unit::Months(12),
        "decade" | "decades" | "dec" | "decs" => Unit::Months(120),
        "c" | "cent" | "century" | "centuries" => Unit::Months(1_200),
        "mil" | "mils" | "millennium" | "millennia" | "millenniums" => Unit::Months(12_000),
        _ => return None,
    })
}

/// `[-]digits[.digits]` at the start of `text`: the whole part, the fraction with its sign, and what follows.
fn number(text: &str) -> Option<(i128, f64, bool, &str)> {
    let negative = text.starts_with('-');
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (whole, fraction) = unsigned[..end].split_once('.').unwrap_or((&unsigned[..end], ""));
    if whole.is_empty() && fraction.is_empty() || whole.len() > 20 || fraction.contains('.') {
        return None;
    }
    let sign = if negative { -1 } else { 1 };
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction: f64 = if fraction.is_empty() { 0.0 } else { format!("0.{fraction}").parse().ok()? };
    Some((sign * whole, sign as f64 * fraction, negative, &unsigned[end..]))
}

fn parse_words(text: &str) -> Option<Sum> {
    let mut sum = Sum::default();
    let text = text.strip_prefix('@').unwrap_or(text).trim_start();
    let (text, ago) = match text.strip_suffix("ago") {
        Some(before) => (before.trim_end(), true),
        None => (text, false),
    };
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (whole, fraction, negative, after) = number(rest)?;
        rest = if after.starts_with(':') {
            clock(whole, negative, after, &mut sum)?
        } else if let Some(months) = after.strip_prefix('-').filter(|_| fraction == 0.0) {
            let (months, zero, _, after) = number(months).filter(|(months, ..)| (0..12).contains(months))?;
            sum.months += whole * 12 + if negative { -months } else { months };
            if zero != 0.0 {
                return None;
            }
            after
        } else {
            let after = after.trim_start();
            let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            // A number alone, at the end, counts seconds.
            let unit = if end == 0 && after.is_empty() { Unit::Microseconds(1_000_000) } else { unit(&after[..end])? };
            sum.add(whole, fraction, unit);
            &after[end..]
        };
        rest = rest.trim_start();
    }
    Some(if ago { sum.negated() } else { sum })
}

/// `hh:mm[:ss[.f]]`, the hours having been read.
fn clock<'a>(hours: i128, negative: bool, after: &'a str, sum: &mut Sum) -> Option<&'a str> {
    let (minutes, fraction, _, after) = number(after.strip_prefix(':')?)?;
    let (seconds, second_fraction, after) = match after.strip_prefix(':') {
        Some(seconds) => number(seconds).map(|(whole, fraction, _, after)| (whole, fraction, after))?,
        None => (0, 0.0, after),
    };
    if fraction != 0.0 || !(0..60).contains(&minutes) || !(0..=60).contains(&seconds) {
        return None;
    }
    let us = (hours.abs() * 60 + minutes) * 60_000_000 + seconds * 1_000_000 + (second_fraction * 1e6).round() as i128;
    sum.us += if negative { -us } else { us };
    Some(after)
}

fn parse_iso(text: &str) -> Option<Sum> {
    let mut sum = Sum::default();
    let (mut rest, mut in_time) = (text, false);
    if text.is_empty() || text.ends_with('t') {
        return None;
    }
    while !rest.is_empty() {
        if let Some(time) = rest.strip_prefix('t').filter(|_| !in_time) {
            (rest, in_time) = (time, true);
            continue;
        }
        let (whole, fraction, _, after) = number(rest)?;
        let unit = match (after.chars().next()?, in_time) {
            ('y', false) => Unit::Months(12),
            ('m', false) => Unit::Months(1),
            ('w', false) => Unit::Days(7),
            ('d', false) => Unit::Days(1),
            ('h', true) => Unit::Microseconds(3_600_000_000),
            ('m', true) => Unit::Microseconds(60_000_000),
            ('s', true) => Unit::Microseconds(1_000_000),
            _ => return None,
        };
        sum.add(whole, fraction, unit);
        rest = &after[1..];
    }
    Some(sum)
}
