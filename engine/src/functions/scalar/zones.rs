//! Time zones: `AT TIME ZONE` and `timezone()`.
//!
//! Names are those of the IANA database, compared without case; `UTC+3`-like offsets have POSIX' sign (west is positive), which
//! is Postgres' reading. A local time that a clock change leaves out or repeats is read with the offset before the change when
//! it is left out, and the standard time when it is repeated.

use std::str::FromStr;

use chrono::{DateTime, LocalResult, Offset, TimeZone};
use chrono_tz::{OffsetName, Tz};

use super::calendar::{HOUR, MINUTE, SECOND, in_range, out_of_range};
use super::overload::{Scalar, over2};
use super::typed::{Date, Interval, Text, Timestamp, TimestampTz};
use crate::error::sqlstate::INVALID_PARAMETER_VALUE;
use crate::{Error, Result};

/// The functions of this table.
pub fn functions() -> Vec<Scalar> {
    vec![
        Scalar::new("timezone")
            .or(over2::<Text, Timestamp, Result<TimestampTz>>(|zone, at| to_utc(at.0, zone).map(TimestampTz)))
            .or(over2::<Text, TimestampTz, Result<Timestamp>>(|zone, at| to_local(at.0, zone).map(Timestamp)))
            .or(over2::<Text, Date, Result<Timestamp>>(|zone, date| to_local(i64::from(date.0) * 24 * HOUR, zone).map(Timestamp)))
            .or(over2::<Interval, Timestamp, Result<TimestampTz>>(|offset, at| {
                in_range(at.0 - offset.nanoseconds / 1_000).map(TimestampTz)
            }))
            .or(over2::<Interval, TimestampTz, Result<Timestamp>>(|offset, at| in_range(at.0 + offset.nanoseconds / 1_000).map(Timestamp))),
    ]
}

/// A time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// One of the IANA database.
    Named(Tz),
    /// Microseconds east of Greenwich.
    Fixed(i64),
}

impl Zone {
    /// The zone that a session's `TimeZone` names: names come before abbreviations, so that `CET` has its summer time.
    pub fn of_session(name: &str) -> Result<Self> {
        Tz::from_str(name).map_or_else(|_| zone(name), |zone| Ok(Self::Named(zone)))
    }

    /// The moment of a clock in the zone as microseconds since 1970 in UTC.
    pub fn to_utc(self, local: i64) -> Result<i64> {
        let east = match self {
            Self::Fixed(east) => east,
            Self::Named(zone) => {
                let naive = DateTime::from_timestamp_micros(local).ok_or_else(out_of_range)?.naive_utc();
                let offset = match zone.offset_from_local_datetime(&naive) {
                    LocalResult::Single(offset) => offset,
                    LocalResult::Ambiguous(_, standard) => standard,
                    // left out: the offset of a day before
                    LocalResult::None => zone.offset_from_utc_datetime(&(naive - chrono::TimeDelta::days(1))),
                };
                i64::from(offset.fix().local_minus_utc()) * SECOND
            }
        };
        in_range(local.checked_sub(east).ok_or_else(out_of_range)?)
    }

    /// What a clock in the zone shows at a moment.
    pub fn to_local(self, utc: i64) -> Result<i64> {
        in_range(utc.checked_add(self.east_of(utc)?).ok_or_else(out_of_range)?)
    }

    /// Microseconds by which a clock in the zone is ahead of UTC at a moment.
    pub fn east_of(self, utc: i64) -> Result<i64> {
        match self {
            Self::Fixed(east) => Ok(east),
            Self::Named(zone) => {
                let naive = DateTime::from_timestamp_micros(utc).ok_or_else(out_of_range)?.naive_utc();
                Ok(i64::from(zone.offset_from_utc_datetime(&naive).fix().local_minus_utc()) * SECOND)
            }
        }
    }

    /// How the zone is called at a moment, as `EDT`; an offset where it has no letters.
    pub fn abbreviation(self, utc: i64) -> Result<String> {
        let named = match self {
            Self::Fixed(_) => None,
            Self::Named(zone) => {
                let naive = DateTime::from_timestamp_micros(utc).ok_or_else(out_of_range)?.naive_utc();
                zone.offset_from_utc_datetime(&naive).abbreviation().map(str::to_owned)
            }
        };
        Ok(named.unwrap_or_default())
    }
}

/// The zone of a name, an abbreviation or an offset.
fn zone(name: &str) -> Result<Zone> {
    let unknown = || Error::new(INVALID_PARAMETER_VALUE, format!("time zone \"{name}\" not recognized"));
    let upper = name.trim().to_ascii_uppercase();
    let hours = |hours: i64| Ok(Zone::Fixed(hours * HOUR));
    match upper.as_str() {
        "UTC" | "GMT" | "Z" | "ZULU" | "UT" => return hours(0),
        "EST" | "CDT" => return hours(-5),
        "EDT" => return hours(-4),
        "CST" | "MDT" => return hours(-6),
        "MST" | "PDT" => return hours(-7),
        "PST" => return hours(-8),
        "CET" | "BST" | "MEZ" => return hours(1),
        "CEST" | "EET" | "MESZ" => return hours(2),
        "EEST" | "MSK" => return hours(3),
        "JST" | "KST" => return hours(9),
        _ => {}
    }
    if let Ok(zone) = Tz::from_str(name.trim()) {
        return Ok(Zone::Named(zone));
    }
    if let Some(zone) = chrono_tz::TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(name.trim())) {
        return Ok(Zone::Named(*zone));
    }
    // POSIX: letters, then hours west of Greenwich
    let offset = upper.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let (sign, digits) = match offset.strip_prefix('-') {
        Some(digits) => (1, digits),
        None => (-1, offset.strip_prefix('+').unwrap_or(offset)),
    };
    let mut parts = digits.split(':').map(|part| part.parse::<i64>().ok());
    let (hours, minutes, seconds) = (parts.next().flatten(), parts.next(), parts.next());
    match (hours, minutes, seconds) {
        (Some(hours @ 0..=15), None | Some(Some(0..60)), None | Some(Some(0..60))) => {
            let east = hours * HOUR + minutes.flatten().unwrap_or(0) * MINUTE + seconds.flatten().unwrap_or(0) * SECOND;
            Ok(Zone::Fixed(sign * east))
        }
        _ => Err(unknown()),
    }
}

/// The moment of a clock in `name` as microseconds since 1970 in UTC.
pub fn to_utc(local: i64, name: &str) -> Result<i64> {
    zone(name)?.to_utc(local)
}

/// What a clock in `name` shows at a moment.
pub fn to_local(utc: i64, name: &str) -> Result<i64> {
    zone(name)?.to_local(utc)
}

/// The zone that an argument of a function names.
pub fn named(name: &str) -> Result<Zone> {
    zone(name)
}
