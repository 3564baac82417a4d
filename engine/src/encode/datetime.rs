//! Dates, times and intervals as Postgres prints them with `DateStyle = ISO` and `IntervalStyle = postgres`.
//!
//! Any `i64` of microseconds has a text: the calendar is proleptic Gregorian, years before 1 are written with ` BC`.

use std::fmt::Write as _;
use std::io::Write as _;

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// Appends a date, `days` after 1970-01-01.
pub fn write_date(out: &mut Vec<u8>, days: i64) {
    let before_christ = write_day(out, days);
    write_era(out, before_christ);
}

/// Appends a time of day in microseconds since midnight.
pub fn write_time(out: &mut Vec<u8>, micros: i64) {
    let seconds = micros / MICROS_PER_SECOND;
    write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60).expect("a Vec takes all that is written");
    write_fraction(out, micros % MICROS_PER_SECOND);
}

/// Appends a timestamp, `micros` after 1970-01-01 00:00:00.
pub fn write_timestamp(out: &mut Vec<u8>, micros: i64) {
    write_instant(out, micros, "");
}

/// Appends a timestamp with time zone: the local time and how far it is from UTC.
pub fn write_timestamptz(out: &mut Vec<u8>, utc: i64, local: i64) {
    let offset_s = (local - utc) / MICROS_PER_SECOND;
    let (sign, offset_s) = (if offset_s < 0 { '-' } else { '+' }, offset_s.abs());
    let mut offset = format!("{sign}{:02}", offset_s / 3600);
    if offset_s % 3600 != 0 {
        write!(offset, ":{:02}", offset_s / 60 % 60).expect("a String takes all that is written");
    }
    if offset_s % 60 != 0 {
        write!(offset, ":{:02}", offset_s % 60).expect("a String takes all that is written");
    }
    write_instant(out, local, &offset);
}

fn write_instant(out: &mut Vec<u8>, micros: i64, zone: &str) {
    let before_christ = write_day(out, micros.div_euclid(MICROS_PER_DAY));
    out.push(b' ');
    write_time(out, micros.rem_euclid(MICROS_PER_DAY));
    out.extend_from_slice(zone.as_bytes());
    write_era(out, before_christ);
}

/// Writes `YYYY-MM-DD`; true when the year is before Christ.
fn write_day(out: &mut Vec<u8>, days: i64) -> bool {
    let (year, month, day) = civil(days);
    let before_christ = year <= 0;
    let year = if before_christ { 1 - year } else { year };
    write!(out, "{year:04}-{month:02}-{day:02}").expect("a Vec takes all that is written");
    before_christ
}

fn write_era(out: &mut Vec<u8>, before_christ: bool) {
    if before_christ {
        out.extend_from_slice(b" BC");
    }
}

/// `.123` without trailing zeros, or nothing.
fn write_fraction(out: &mut Vec<u8>, micros: i64) {
    if micros != 0 {
        let digits = format!("{:06}", micros.abs());
        out.push(b'.');
        out.extend_from_slice(digits.trim_end_matches('0').as_bytes());
    }
}

/// Year, month and day of a day number (Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`).
pub fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Appends an interval. Mirrors `EncodeInterval` of Postgres's `datetime.c`: after a negative part a positive one shows its plus.
pub fn write_interval(out: &mut Vec<u8>, months: i64, days: i64, micros: i64) {
    let start = out.len();
    let mut after_negative = false;
    for (value, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if value == 0 {
            continue;
        }
        let space = if out.len() > start { " " } else { "" };
        let plus = if after_negative && value > 0 { "+" } else { "" };
        let plural = if value == 1 { "" } else { "s" };
        write!(out, "{space}{plus}{value} {unit}{plural}").expect("a Vec takes all that is written");
        after_negative = value < 0;
    }
    if micros == 0 && out.len() > start {
        return;
    }
    if out.len() > start {
        out.push(b' ');
    }
    if micros < 0 {
        out.push(b'-');
    } else if after_negative {
        out.push(b'+');
    }
    let micros = micros.unsigned_abs();
    let seconds = micros / MICROS_PER_SECOND as u64;
    write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60).expect("a Vec takes all that is written");
    write_fraction(out, (micros % MICROS_PER_SECOND as u64) as i64);
}
