//! A moment or an interval by a template.

use std::fmt::Write as _;

use arrow::datatypes::IntervalMonthDayNano;

use super::{DAYS, MONTHS, Piece, ROMAN, Spelling};
use crate::error::sqlstate::INVALID_DATETIME;
use crate::functions::scalar::calendar::{DAY, HOUR, MINUTE, Moment, SECOND};
use crate::{Error, Result};

/// What the fields are taken from.
struct Parts {
    /// As it is shown: 44 for 44 BC, negative for a negative interval.
    year: i64,
    before_christ: bool,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    /// What an interval has none of.
    moment: Option<Moment>,
    zone: Option<ShownZone>,
}

/// The zone of a `timestamptz` at its moment.
pub struct ShownZone {
    /// As `EDT`.
    pub abbreviation: String,
    /// Microseconds east of UTC.
    pub east: i64,
}

impl ShownZone {
    /// UTC.
    pub fn utc() -> Self {
        Self { abbreviation: "UTC".into(), east: 0 }
    }

    /// `+05` and, apart, the minutes.
    fn hours(&self) -> String {
        let sign = if self.east < 0 { '-' } else { '+' };
        format!("{sign}{:02}", self.east.abs() / HOUR)
    }

    fn minutes(&self) -> i64 {
        self.east.abs() / MINUTE % 60
    }
}

/// A timestamp by a template.
pub fn moment(out: &mut String, micros: i64, zone: Option<ShownZone>, template: &[Piece]) -> Result<()> {
    let at = Moment::of(micros);
    let parts = Parts {
        year: shown(at.year),
        before_christ: at.year <= 0,
        month: at.month,
        day: at.day,
        hour: at.time / HOUR,
        minute: at.time / MINUTE % 60,
        second: at.time / SECOND % 60,
        micros: at.time % SECOND,
        moment: Some(at),
        zone,
    };
    written(out, &parts, template)
}

/// An interval by a template: it has no names of months or days, and no zone.
pub fn interval(out: &mut String, span: IntervalMonthDayNano, template: &[Piece]) -> Result<()> {
    let (months, days, micros) = (i64::from(span.months), i64::from(span.days), span.nanoseconds / 1_000);
    let parts = Parts {
        year: months / 12,
        before_christ: false,
        month: months % 12,
        day: days,
        hour: micros / HOUR,
        minute: micros / MINUTE % 60,
        second: micros / SECOND % 60,
        micros: micros % SECOND,
        moment: None,
        zone: None,
    };
    written(out, &parts, template)
}

impl Parts {
    fn iso_year(&self) -> i64 {
        match self.moment {
            Some(at) => shown(at.iso_week().0),
            None => iso_year(self.year, self.month, self.day),
        }
    }
}

/// Years before Christ count from 1 as well.
fn shown(year: i64) -> i64 {
    if year > 0 { year } else { 1 - year }
}

fn written(out: &mut String, parts: &Parts, template: &[Piece]) -> Result<()> {
    for piece in template {
        match *piece {
            Piece::Literal(character) => out.push(character),
            Piece::Field { pattern, spelling, fill, ordinal } => {
                let start = out.len();
                field(out, parts, pattern, spelling, fill)?;
                if let Some(ordinal) = ordinal {
                    let ending = ordinal_of(&out[start..], ordinal == "TH");
                    out.push_str(&ending);
                }
            }
        }
    }
    Ok(())
}

fn field(out: &mut String, parts: &Parts, pattern: &str, spelling: Spelling, fill: bool) -> Result<()> {
    let mut number = |value: i64, width: usize| padded(out, value, width, value < 0, fill);
    // an interval's twelve hours keep its sign
    let twelve = if parts.hour % 12 == 0 { 12 } else { parts.hour % 12 };
    match pattern {
        "YYYY" => number(parts.year, 4),
        "MM" => number(parts.month, 2),
        "DD" => number(parts.day, 2),
        "HH24" => number(parts.hour, 2),
        "MI" => number(parts.minute, 2),
        "SS" => number(parts.second, 2),
        "HH12" | "HH" => padded(out, twelve, 2, parts.hour < 0, fill),
        "MS" | "FF3" => number(parts.micros / 1_000, 3),
        "US" | "FF6" => number(parts.micros, 6),
        "FF1" => number(parts.micros / 100_000, 1),
        "FF2" => number(parts.micros / 10_000, 2),
        "FF4" => number(parts.micros / 100, 4),
        "FF5" => number(parts.micros / 10, 5),
        "SSSS" | "SSSSS" => out.push_str(&((parts.hour * 60 + parts.minute) * 60 + parts.second).to_string()),
        "AM" | "PM" | "A.M." | "P.M." => {
            let half = if (0..12).contains(&parts.hour.rem_euclid(24)) || parts.hour < 0 && parts.moment.is_none() { "AM" } else { "PM" };
            let half = if pattern.len() == 2 { half.to_string() } else { half.chars().flat_map(|c| [c, '.']).collect() };
            out.push_str(&spelt_all(&half, spelling));
        }
        "Y,YYY" => out.push_str(&format!("{},{:03}", parts.year / 1_000, parts.year % 1_000)),
        "YYY" => number(parts.year % 1_000, 3),
        "YY" => number(parts.year % 100, 2),
        "Y" => number(parts.year % 10, 1),
        "IYYY" => number(parts.iso_year(), 4),
        "IYY" => number(parts.iso_year() % 1_000, 3),
        "IY" => number(parts.iso_year() % 100, 2),
        "I" => number(parts.iso_year() % 10, 1),
        _ => match parts.moment {
            Some(at) => field_of_moment(out, parts, at, pattern, spelling, fill)?,
            None => {
                let error = Error::new(INVALID_DATETIME, "invalid format specification for an interval value");
                return Err(error.with_hint("intervals are not tied to specific calendar dates"));
            }
        },
    }
    Ok(())
}

/// A field that only a day of the calendar has.
fn field_of_moment(out: &mut String, parts: &Parts, at: Moment, pattern: &str, spelling: Spelling, fill: bool) -> Result<()> {
    let (value, width) = match pattern {
        "DDD" => (at.day_of_year(), 3),
        "IDDD" => ((at.iso_week().1 - 1) * 7 + (at.day_of_week() + 6) % 7 + 1, 3),
        "D" => (at.day_of_week() + 1, 1),
        "ID" => ((at.day_of_week() + 6) % 7 + 1, 1),
        "W" => ((at.day - 1) / 7 + 1, 1),
        "WW" => ((at.day_of_year() - 1) / 7 + 1, 2),
        "IW" => (at.iso_week().1, 2),
        "CC" => ((parts.year + 99) / 100, 2),
        "Q" => ((at.month - 1) / 3 + 1, 1),
        "J" => (at.micros()?.div_euclid(DAY) + 2_440_588, 1),
        _ => {
            out.push_str(&name_of_moment(parts, at, pattern, spelling, fill)?);
            return Ok(());
        }
    };
    padded(out, value, width, value < 0, fill);
    Ok(())
}

fn name_of_moment(parts: &Parts, at: Moment, pattern: &str, spelling: Spelling, fill: bool) -> Result<String> {
    let month = (parts.month - 1) as usize;
    let weekday = at.day_of_week() as usize;
    let name = |name: &str, width: usize| {
        let name = spelt(name, spelling);
        if fill { format!("{name:<width$}") } else { name }
    };
    Ok(match pattern {
        "MONTH" => name(MONTHS[month], 9),
        "MON" => name(&MONTHS[month][..3], 3),
        "DAY" => name(DAYS[weekday], 9),
        "DY" => name(&DAYS[weekday][..3], 3),
        "RM" => {
            let roman = spelt_all(ROMAN[month], spelling);
            if fill { format!("{roman:<4}") } else { roman }
        }
        "BC" | "AD" => spelt_all(if parts.before_christ { "BC" } else { "AD" }, spelling),
        "B.C." | "A.D." => spelt_all(if parts.before_christ { "B.C." } else { "A.D." }, spelling),
        "TZ" => spelt_all(parts.zone.as_ref().map_or("", |zone| &zone.abbreviation), spelling),
        "TZH" => parts.zone.as_ref().map_or("+00".into(), ShownZone::hours),
        "TZM" => format!("{:02}", parts.zone.as_ref().map_or(0, ShownZone::minutes)),
        "OF" => match parts.zone.as_ref().filter(|zone| zone.minutes() != 0) {
            Some(zone) => format!("{}:{:02}", zone.hours(), zone.minutes()),
            None => parts.zone.as_ref().map_or("+00".into(), ShownZone::hours),
        },
        other => return Err(Error::internal(format!("template pattern {other} has no meaning"))),
    })
}

/// Appends zeros up to `width` and the number; a sign takes a place of its own.
fn padded(out: &mut String, value: i64, width: usize, signed: bool, fill: bool) {
    if !fill {
        write!(out, "{value}").expect("a String takes all that is written");
    } else if (0..100).contains(&value) && width == 2 && !signed {
        // what most templates are made of
        let digit = |value: i64| char::from(b'0' + value as u8);
        out.push(digit(value / 10));
        out.push(digit(value % 10));
    } else {
        let width = width + usize::from(signed);
        write!(out, "{value:0width$}").expect("a String takes all that is written");
    }
}

/// A name that begins with a capital, in the pattern's own capitals.
fn spelt(name: &str, spelling: Spelling) -> String {
    match spelling {
        Spelling::Upper => name.to_ascii_uppercase(),
        Spelling::Capital => name.to_string(),
        Spelling::Lower => name.to_ascii_lowercase(),
    }
}

/// An abbreviation in capitals or without.
fn spelt_all(name: &str, spelling: Spelling) -> String {
    if spelling == Spelling::Lower { name.to_ascii_lowercase() } else { name.to_string() }
}

fn ordinal_of(digits: &str, upper: bool) -> String {
    let teens = digits.len() > 1 && digits.as_bytes()[digits.len() - 2] == b'1';
    let ending = match digits.as_bytes().last() {
        Some(b'1') if !teens => "st",
        Some(b'2') if !teens => "nd",
        Some(b'3') if !teens => "rd",
        _ => "th",
    };
    if upper { ending.to_ascii_uppercase() } else { ending.to_string() }
}

/// The ISO year of an interval's parts as if they were a date (`date2isoyear` of Postgres, which takes any numbers).
fn iso_year(year: i64, month: i64, day: i64) -> i64 {
    let julian = |year: i64, month: i64, day: i64| {
        let (year, month) = if month > 2 { (year + 4_800, month + 1) } else { (year + 4_799, month + 13) };
        let century = year / 100;
        year * 365 - 32_167 + year / 4 - century + century / 4 + 7_834 * month / 256 + day
    };
    let monday = |year: i64| {
        let fourth = julian(year, 1, 4);
        fourth - fourth.rem_euclid(7)
    };
    let at = julian(year, month, day);
    let year = if at < monday(year) { year - 1 } else { year };
    let week = (at - monday(year)) / 7 + 1;
    if week >= 52 && at >= monday(year + 1) { year + 1 } else { year }
}
