//! Reading `WITH (…)`: typed values, and errors that name the option and say what is known.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::decode::{datetime, text};
use crate::error::sqlstate::{DATA_CORRUPTED, INVALID_PARAMETER_VALUE};
use crate::{Error, Result};

/// Options any stream may have; they are not the source's.
const COMMON: [&str; 2] = ["connector", "retention"];

/// The options of one stream.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    connector: &'a str,
    values: &'a BTreeMap<String, String>,
}

impl<'a> Options<'a> {
    /// `values` of a stream with this connector.
    pub fn new(connector: &'a str, values: &'a BTreeMap<String, String>) -> Self {
        Self { connector, values }
    }

    /// The names and values that are not common to all streams.
    pub fn own(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let own = self.values.iter().filter(|(name, _)| !COMMON.contains(&name.as_str()));
        own.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Refuses options whose name is none of `known`.
    pub fn refuse_unknown(&self, known: &[&str]) -> Result<()> {
        match self.own().find(|(name, _)| !known.contains(name)) {
            Some((name, _)) => Err(self.unknown(name, known)),
            None => Ok(()),
        }
    }

    /// An option that this connector does not have.
    pub fn unknown(&self, name: &str, known: &[&str]) -> Error {
        Error::new(INVALID_PARAMETER_VALUE, format!("connector '{}' has no option \"{name}\"", self.connector))
            .with_hint(format!("options are {}", known.join(", ")))
    }

    /// A needed option that is not there; `what` says what it could be.
    pub fn missing(&self, name: &str, what: &str) -> Error {
        Error::new(INVALID_PARAMETER_VALUE, format!("connector '{}' needs the option \"{name}\"", self.connector))
            .with_hint(format!("{name} is {what}"))
    }

    /// An option with a value that does not do; `what` says what would.
    pub fn bad(&self, name: &str, value: &str, what: &str) -> Error {
        Error::new(INVALID_PARAMETER_VALUE, format!("option \"{name}\" of connector '{}' cannot be '{value}'", self.connector))
            .with_hint(format!("{name} is {what}"))
    }

    /// The value as written.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.values.get(name).map(String::as_str)
    }

    /// A number within bounds.
    pub fn number<T: FromStr + PartialOrd + Display + Copy>(&self, name: &str, bounds: RangeInclusive<T>) -> Result<Option<T>> {
        let Some(value) = self.text(name) else { return Ok(None) };
        let number = value.trim().replace('_', "").parse().ok().filter(|number| bounds.contains(number));
        let what = || format!("a number from {} to {}", bounds.start(), bounds.end());
        number.map(Some).ok_or_else(|| self.bad(name, value, &what()))
    }

    /// One of some words.
    pub fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>> {
        let Some(value) = self.text(name) else { return Ok(None) };
        if let Some((_, chosen)) = choices.iter().find(|(word, _)| value.eq_ignore_ascii_case(word)) {
            return Ok(Some(*chosen));
        }
        let words: Vec<String> = choices.iter().map(|(word, _)| format!("'{word}'")).collect();
        Err(self.bad(name, value, &words.join(" or ")))
    }

    /// True or false.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>> {
        let Some(value) = self.text(name) else { return Ok(None) };
        text::parse_boolean(value).map(Some).map_err(|_| self.bad(name, value, "'true' or 'false'"))
    }

    /// A timestamp without a zone, in microseconds since 1970.
    pub fn timestamp(&self, name: &str) -> Result<Option<i64>> {
        let Some(value) = self.text(name) else { return Ok(None) };
        datetime::parse_timestamp(value).map(Some).map_err(|_| self.bad(name, value, "a timestamp like '2015-07-15 00:00:00'"))
    }
}

/// How many rows are due, for sources that make so many per second of the machine's time.
#[derive(Debug)]
pub struct Pace {
    per_second: Option<u64>,
    started_us: Option<i64>,
    n_taken: u64,
}

impl Pace {
    /// So many per second, or as fast as they are taken.
    pub fn new(per_second: Option<u64>) -> Self {
        Self { per_second, started_us: None, n_taken: 0 }
    }

    /// How many may be taken now. The time of the first call is when the first one is due.
    pub fn due(&mut self, now_us: i64) -> u64 {
        let Some(per_second) = self.per_second else { return u64::MAX };
        let started_us = *self.started_us.get_or_insert(now_us);
        let elapsed_us = now_us.saturating_sub(started_us).max(0) as u128;
        let n_due = elapsed_us * u128::from(per_second) / 1_000_000 + 1;
        u64::try_from(n_due).unwrap_or(u64::MAX).saturating_sub(self.n_taken)
    }

    /// So many were taken.
    pub fn took(&mut self, n: u64) {
        self.n_taken += n;
    }

    /// In how many milliseconds the next one is due; at most a second, so that a caller looks at other things too.
    pub fn next_due_ms(&self, now_us: i64) -> u64 {
        let (Some(per_second), Some(started_us)) = (self.per_second, self.started_us) else { return 0 };
        let due_us = i128::from(started_us) + i128::from(self.n_taken) * 1_000_000 / i128::from(per_second);
        ((due_us - i128::from(now_us)) / 1000 + 1).clamp(1, 1000) as u64
    }

    /// What was taken before no longer counts.
    pub fn restart(&mut self) {
        (self.started_us, self.n_taken) = (None, 0);
    }
}

/// A position as text.
pub fn to_position(position: &impl Serialize) -> String {
    serde_json::to_string(position).expect("positions are maps of numbers and text")
}

/// A position from text.
pub fn from_position<T: DeserializeOwned>(position: &str) -> Result<T> {
    serde_json::from_str(position).map_err(|error| {
        Error::new(DATA_CORRUPTED, format!("\"{position}\" is not a position of this source")).with_detail(error.to_string())
    })
}
