//! Dates and times as Postgres reads them from text (ISO forms; `DateStyle` is not consulted).
//!
//! The calendar is the proleptic Gregorian one, for years from 4713 BC to 294246. A fraction is rounded to microseconds.
//! Not accepted, although Postgres does: `infinity` (Arrow has none), `now` and `today` (not deterministic), month names.

use crate::error::sqlstate::INVALID_DATETIME;
use crate::{Error, Result};

const DAY_US: i64 = 86_400_000_000;
const FIELD_OVERFLOW: &str = "22008";

/// Days since 1970-01-01 of a `date`. A time of day after it is checked and dropped.
pub fn parse_date(text: &str) -> Result<i32> {
    let moment = Parser::new("date", text).moment()?;
    i32::try_from(moment.days).map_err(|_| out_of_range(text))
}

/// Microseconds since midnight of a `time`.
pub fn parse_time(text: &str) -> Result<i64> {
    let mut parser = Parser::new("time", text);
    let time_us = parser.time_of_day()?;
    parser.zone()?;
    parser.end()?;
    if time_us < DAY_US { Ok(time_us) } else { Err(out_of_range(text)) }
}

/// Microseconds since 1970-01-01 00:00 of a `timestamp`. A zone is checked and ignored, as Postgres does.
pub fn parse_timestamp(text: &str) -> Result<i64> {
    Parser::new("timestamp", text).moment()?.local_us().ok_or_else(|| out_of_range(text))
}

/// Microseconds since 1970-01-01 00:00 UTC of a `timestamp with time zone`. Without a zone in the text it is a local time that
/// `to_utc` knows how to read.
pub fn parse_timestamp_tz(text: &str, to_utc: impl FnOnce(i64) -> Result<i64>) -> Result<i64> {
    let moment = Parser::new("timestamp with time zone", text).moment()?;
    let local_us = moment.local_us().ok_or_else(|| out_of_range(text))?;
    let utc_us = match moment.zone_us {
        Some(zone_us) => local_us.checked_sub(zone_us).ok_or_else(|| out_of_range(text))?,
        None => to_utc(local_us)?,
    };
    if is_in_range(utc_us) { Ok(utc_us) } else { Err(out_of_range(text)) }
}

/// Days since 1970-01-01 of a date of the Gregorian calendar (Howard Hinnant, `days_from_civil`).
pub fn days_from_date(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

struct Moment {
    days: i64,
    time_us: i64,
    zone_us: Option<i64>,
}

impl Moment {
    fn local_us(&self) -> Option<i64> {
        self.days.checked_mul(DAY_US)?.checked_add(self.time_us).filter(|us| is_in_range(*us))
    }
}

/// From 4713-11-24 BC, where Postgres's timestamps begin, to where 64 bits of microseconds end.
fn is_in_range(us: i64) -> bool {
    us >= -210_866_803_200_000_000
}

struct Parser<'a> {
    type_name: &'static str,
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    fn new(type_name: &'static str, text: &'a str) -> Self {
        let bytes = text.trim_ascii().as_bytes();
        Self { type_name, text, bytes, at: 0 }
    }

    fn moment(mut self) -> Result<Moment> {
        if self.bytes.eq_ignore_ascii_case(b"epoch") {
            return Ok(Moment { days: 0, time_us: 0, zone_us: Some(0) });
        }
        let (year, month, day) = self.date()?;
        let (mut time_us, mut zone_us) = (0, None);
        let separated = matches!(self.peek(), Some(b'T' | b't')) && self.bytes.get(self.at + 1).is_some_and(u8::is_ascii_digit);
        let is_time = |parser: &Self| parser.peek().is_some_and(|byte| byte.is_ascii_digit());
        if separated {
            self.at += 1;
        } else {
            self.skip_space();
        }
        if is_time(&self) {
            time_us = self.time_of_day()?;
            zone_us = self.zone()?;
        } else if matches!(self.peek(), Some(b'Z' | b'z')) || self.is_offset_after_space() {
            // A date may have a zone, too: drivers send one.
            zone_us = self.zone()?;
        }
        let year = self.era(year)?;
        self.end()?;
        if !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day) {
            return Err(out_of_range(self.text));
        }
        Ok(Moment { days: days_from_date(year, month, day), time_us, zone_us })
    }

    fn is_offset_after_space(&self) -> bool {
        matches!(self.peek(), Some(b'+' | b'-')) && self.at > 0 && self.bytes[self.at - 1].is_ascii_whitespace()
    }

    /// `y-m-d` with any number of digits in the year and a sign, or `yyyymmdd`.
    fn date(&mut self) -> Result<(i64, i64, i64)> {
        let negative = self.take(b'-');
        let (year, n_digits) = self.digits()?;
        if n_digits == 8 && self.peek() != Some(b'-') {
            return Ok((year / 10_000, year / 100 % 100, year % 100));
        }
        let separator = self.peek().filter(|byte| matches!(byte, b'-' | b'/')).ok_or_else(|| self.invalid())?;
        // Two digits first would be another order of the fields, or a short year: both are guesses.
        if !(3..=6).contains(&n_digits) {
            return Err(self.invalid());
        }
        self.at += 1;
        let (month, month_digits) = self.digits()?;
        if !self.take(separator) {
            return Err(self.invalid());
        }
        let (day, day_digits) = self.digits()?;
        if month_digits > 2 || day_digits > 2 {
            return Err(self.invalid());
        }
        Ok((if negative { -year } else { year }, month, day))
    }

    /// `hh:mm[:ss[.f]]` or `hhmmss[.f]`, with an optional AM or PM.
    fn time_of_day(&mut self) -> Result<i64> {
        let (first, n_digits) = self.digits()?;
        let (mut hour, minute, mut second) = match n_digits {
            6 => (first / 10_000, first / 100 % 100, first % 100),
            4 => (first / 100, first % 100, 0),
            1 | 2 => {
                if !self.take(b':') {
                    return Err(self.invalid());
                }
                (first, self.digits()?.0, -1)
            }
            _ => return Err(self.invalid()),
        };
        if second < 0 {
            second = if self.take(b':') { self.digits()?.0 } else { 0 };
        }
        let fraction_us = self.fraction()?;
        if let Some(afternoon) = self.meridiem() {
            if !(1..=12).contains(&hour) {
                return Err(out_of_range(self.text));
            }
            hour = hour % 12 + if afternoon { 12 } else { 0 };
        }
        let time_us = ((hour * 60 + minute) * 60 + second) * 1_000_000 + fraction_us;
        // A leap second and 24:00 are the next minute and day, as in Postgres.
        if hour > 24 || minute > 59 || second > 60 || time_us > DAY_US {
            return Err(out_of_range(self.text));
        }
        Ok(time_us)
    }

    fn fraction(&mut self) -> Result<i64> {
        if !matches!(self.peek(), Some(b'.' | b',')) {
            return Ok(0);
        }
        self.at += 1;
        let (mut us, mut unit, mut rounded) = (0i64, 100_000i64, false);
        while let Some(byte @ b'0'..=b'9') = self.peek() {
            let digit = i64::from(byte - b'0');
            us += digit * unit;
            if unit == 0 && !rounded {
                us += i64::from(digit >= 5);
                rounded = true;
            }
            unit /= 10;
            self.at += 1;
        }
        Ok(us)
    }

    fn meridiem(&mut self) -> Option<bool> {
        let rest = self.bytes[self.at..].trim_ascii_start();
        let afternoon = match rest.get(..2)?.to_ascii_lowercase().as_slice() {
            b"am" => false,
            b"pm" => true,
            _ => return None,
        };
        self.at = self.bytes.len() - rest.len() + 2;
        Some(afternoon)
    }

    /// `Z`, `UTC`, `GMT`, `±hh`, `±hhmm`, `±hh:mm[:ss]`: east of Greenwich, in microseconds.
    fn zone(&mut self) -> Result<Option<i64>> {
        let start = self.at;
        self.skip_space();
        for name in ["utc", "gmt", "zulu", "z"] {
            let end = self.at + name.len();
            if self.bytes.get(self.at..end).is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes())) {
                self.at = end;
                return Ok(Some(0));
            }
        }
        let sign = match self.peek() {
            Some(b'+') => 1,
            Some(b'-') => -1,
            _ => {
                self.at = start;
                return Ok(None);
            }
        };
        self.at += 1;
        let (first, n_digits) = self.digits()?;
        let (hours, mut minutes) = if n_digits > 2 { (first / 100, first % 100) } else { (first, 0) };
        let mut seconds = 0;
        if n_digits <= 2 && self.take(b':') {
            minutes = self.digits()?.0;
            seconds = if self.take(b':') { self.digits()?.0 } else { 0 };
        }
        if hours > 15 || minutes > 59 || seconds > 59 {
            return Err(Error::new("22009", format!("time zone displacement out of range: \"{}\"", self.text)));
        }
        Ok(Some(sign * ((hours * 60 + minutes) * 60 + seconds) * 1_000_000))
    }

    /// `BC` and `AD` after everything else. There is no year 0 in SQL, but ISO 8601 has one, and it is 1 BC.
    fn era(&mut self, year: i64) -> Result<i64> {
        self.skip_space();
        let word = self.bytes[self.at..].to_ascii_lowercase();
        let year = match word.as_slice() {
            b"bc" if year > 0 => 1 - year,
            b"ad" if year > 0 => year,
            b"bc" | b"ad" => return Err(out_of_range(self.text)),
            _ => return Ok(year),
        };
        self.at += 2;
        Ok(year)
    }

    fn digits(&mut self) -> Result<(i64, usize)> {
        let start = self.at;
        let mut value = 0i64;
        while let Some(byte @ b'0'..=b'9') = self.peek() {
            value = value * 10 + i64::from(byte - b'0');
            self.at += 1;
            if self.at - start > 12 {
                return Err(self.invalid());
            }
        }
        if self.at == start { Err(self.invalid()) } else { Ok((value, self.at - start)) }
    }

    fn end(&mut self) -> Result<()> {
        self.skip_space();
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.invalid()) }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn invalid(&self) -> Error {
        Error::new(INVALID_DATETIME, format!("invalid input syntax for type {}: \"{}\"", self.type_name, self.text))
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn out_of_range(text: &str) -> Error {
    Error::new(FIELD_OVERFLOW, format!("date/time field value out of range: \"{text}\""))
}
