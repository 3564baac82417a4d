//! A moment from text by a template.
//!
//! As in Postgres, spaces are passed over before a field, and any one separator stands for any other; a number takes as many
//! digits as its pattern has, or more when something else than a digit pattern follows.

use super::{DAYS, MONTHS, Piece, pieces};
use crate::error::sqlstate::INVALID_DATETIME;
use crate::functions::scalar::calendar::{DAY, HOUR, MINUTE, SECOND, date_of, in_range, out_of_range};
use crate::functions::scalar::zones::Zone;
use crate::{Error, Result};

#[derive(Default)]
struct Found {
    year: Option<i64>,
    before_christ: bool,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    julian: Option<i64>,
    hour: i64,
    twelve: bool,
    afternoon: Option<bool>,
    minute: i64,
    second: i64,
    micros: i64,
    east_sign: i64,
    east: i64,
}

/// Microseconds since 1970 of the moment that `text` says.
pub fn to_timestamp(text: &str, template: &str) -> Result<i64> {
    to_timestamp_in(text, template, Zone::Fixed(0))
}

/// The same, read by the clock of `zone` unless the text says how far from UTC it is.
pub fn to_timestamp_in(text: &str, template: &str, zone: Zone) -> Result<i64> {
    let found = read(text, template)?;
    let days = found.days()?;
    let hour = match (found.twelve, found.afternoon) {
        (_, Some(true)) if found.hour < 12 => found.hour + 12,
        (true, Some(false)) if found.hour == 12 => 0,
        (true, None) if found.hour == 12 => 0,
        _ => found.hour,
    };
    let in_bounds = (0..24).contains(&hour) && (0..60).contains(&found.minute) && (0..60).contains(&found.second);
    if !in_bounds {
        return Err(Error::new("22008", format!("date/time field value out of range: \"{text}\"")));
    }
    let time = hour * HOUR + found.minute * MINUTE + found.second * SECOND + found.micros;
    let local = days.checked_mul(DAY).and_then(|micros| micros.checked_add(time - found.east)).ok_or_else(out_of_range)?;
    if found.east_sign == 0 { zone.to_utc(local) } else { in_range(local) }
}

/// Days since 1970 of the date that `text` says.
pub fn to_date(text: &str, template: &str) -> Result<i32> {
    let days = read(text, template)?.days()?;
    i32::try_from(days).map_err(|_| out_of_range())
}

impl Found {
    fn days(&self) -> Result<i64> {
        if let Some(julian) = self.julian {
            return Ok(julian - 2_440_588);
        }
        let year = match (self.year, self.before_christ) {
            (None | Some(0), _) => -1,
            (Some(year), true) => -year,
            (Some(year), false) => year,
        };
        match self.day_of_year {
            Some(day) if self.month.is_none() => Ok(date_of(year, 1, 1)? + day - 1),
            _ => date_of(year, self.month.unwrap_or(1), self.day.unwrap_or(1)),
        }
    }
}

fn read(text: &str, template: &str) -> Result<Found> {
    let mut found = Found::default();
    let mut rest = text.trim_start();
    let template = pieces(template);
    for (at, piece) in template.iter().enumerate() {
        match piece {
            Piece::Literal(character) if character.is_whitespace() => rest = skip_separators(rest),
            Piece::Literal(character) => rest = skip_literal(rest, *character),
            Piece::Field { pattern, .. } => {
                let more_digits = matches!(template.get(at + 1), Some(Piece::Field { pattern, .. }) if is_number(pattern));
                rest = found.take(pattern, rest.trim_start(), more_digits)?;
            }
        }
    }
    Ok(found)
}

fn skip_separators(text: &str) -> &str {
    text.trim_start()
}

/// A separator of the template stands for any separator in the text, and for none.
fn skip_literal(text: &str, literal: char) -> &str {
    let text = text.trim_start();
    let Some(first) = text.chars().next() else { return text };
    let is_separator = |c: char| !c.is_alphanumeric();
    if first == literal
        || is_separator(literal) && is_separator(first) && !matches!(first, '+' | '-')
        || is_separator(literal) && first == '-'
    {
        return &text[first.len_utf8()..];
    }
    // a letter of the template stands for any character
    if is_separator(literal) { text } else { &text[first.len_utf8()..] }
}

fn is_number(pattern: &str) -> bool {
    width(pattern).is_some()
}

/// Digits of a pattern.
fn width(pattern: &str) -> Option<usize> {
    Some(match pattern {
        "YYYY" | "IYYY" => 4,
        "YYY" | "MS" | "DDD" | "FF3" => 3,
        "YY" | "MM" | "DD" | "HH24" | "HH12" | "HH" | "MI" | "SS" | "TZM" | "WW" | "IW" | "FF2" | "CC" => 2,
        "Y" | "D" | "ID" | "Q" | "W" | "FF1" => 1,
        "US" | "FF6" => 6,
        "FF4" => 4,
        "FF5" | "SSSSS" | "SSSS" => 5,
        "J" => 7,
        _ => return None,
    })
}

impl Found {
    fn take<'a>(&mut self, pattern: &str, text: &'a str, more_digits: bool) -> Result<&'a str> {
        let invalid = || {
            let shown: String = text.chars().take(10).collect();
            let error = Error::new(INVALID_DATETIME, format!("invalid value \"{shown}\" for \"{pattern}\""));
            error.with_detail("the text does not go with the template")
        };
        let after = |name: &str| text.get(..name.len()).filter(|start| start.eq_ignore_ascii_case(name)).map(|_| &text[name.len()..]);
        match pattern {
            "MONTH" | "MON" => {
                // whole names first: "May" begins nothing else
                let whole = MONTHS.iter().enumerate().find_map(|(at, name)| after(name).map(|rest| (at, rest)));
                let found = whole.or_else(|| MONTHS.iter().enumerate().find_map(|(at, name)| after(&name[..3]).map(|rest| (at, rest))));
                let (at, rest) = found.ok_or_else(invalid)?;
                self.month = Some(at as i64 + 1);
                return Ok(rest);
            }
            "DAY" | "DY" => {
                let whole = DAYS.iter().find_map(|name| after(name));
                return whole.or_else(|| DAYS.iter().find_map(|name| after(&name[..3]))).ok_or_else(invalid);
            }
            "AM" | "PM" | "A.M." | "P.M." => {
                for (name, afternoon) in [("A.M.", false), ("P.M.", true), ("AM", false), ("PM", true)] {
                    if let Some(rest) = after(name) {
                        self.afternoon = Some(afternoon);
                        return Ok(rest);
                    }
                }
                return Err(invalid());
            }
            "BC" | "AD" | "B.C." | "A.D." => {
                for (name, before_christ) in [("B.C.", true), ("A.D.", false), ("BC", true), ("AD", false)] {
                    if let Some(rest) = after(name) {
                        self.before_christ = before_christ;
                        return Ok(rest);
                    }
                }
                return Err(invalid());
            }
            "TZH" => {
                let (sign, digits) = match text.strip_prefix('-') {
                    Some(digits) => (-1, digits),
                    None => (1, text.strip_prefix('+').unwrap_or(text)),
                };
                let (hours, rest) = digits_of(digits, 2).ok_or_else(invalid)?;
                self.east_sign = sign;
                self.east = sign * hours * HOUR;
                return Ok(rest);
            }
            "Y,YYY" | "RM" | "TZ" | "OF" | "IDDD" | "IYY" | "IY" | "I" => {
                return Err(Error::unsupported(
                    format!("\"{pattern}\" in a template that is read is not supported"),
                    "use another pattern",
                ));
            }
            _ => {}
        }
        let width = width(pattern).ok_or_else(invalid)?;
        let text = match (pattern, text.strip_prefix('-')) {
            ("YYYY", Some(digits)) => {
                self.before_christ = true;
                digits
            }
            _ => text,
        };
        let limit = if more_digits || !matches!(pattern, "YYYY") { width } else { usize::MAX };
        let (value, rest) = digits_of(text, limit).ok_or_else(invalid)?;
        let n_digits = text.len() - rest.len();
        match pattern {
            "YYYY" => self.year = Some(value),
            // the year of two digits that is nearest to 2020
            "YYY" | "YY" | "Y" => {
                self.year = Some(if n_digits > 2 {
                    value + if value < 520 { 2_000 } else { 1_000 }
                } else {
                    value + if value < 70 { 2_000 } else { 1_900 }
                })
            }
            "MM" => self.month = Some(value),
            "DD" => self.day = Some(value),
            "DDD" => self.day_of_year = Some(value),
            "J" => self.julian = Some(value),
            "HH24" => self.hour = value,
            "HH12" | "HH" => {
                if !(1..=12).contains(&value) {
                    return Err(Error::new(INVALID_DATETIME, format!("hour \"{value}\" is invalid for the 12-hour clock")));
                }
                (self.hour, self.twelve) = (value, true);
            }
            "MI" => self.minute = value,
            "SS" => self.second = value,
            "SSSS" | "SSSSS" => (self.hour, self.minute, self.second) = (value / 3_600, value / 60 % 60, value % 60),
            // `.5` are five tenths
            "MS" | "US" | "FF1" | "FF2" | "FF3" | "FF4" | "FF5" | "FF6" => {
                self.micros = value * 10i64.pow(6u32.saturating_sub(n_digits as u32))
            }
            "TZM" => self.east += self.east_sign * value * MINUTE,
            _ => {}
        }
        Ok(rest)
    }
}

/// Up to `limit` digits at the start of `text`.
fn digits_of(text: &str, limit: usize) -> Option<(i64, &str)> {
    let end = text.bytes().take(limit).take_while(u8::is_ascii_digit).count();
    let value = text[..end].parse().ok()?;
    Some((value, &text[end..]))
}
