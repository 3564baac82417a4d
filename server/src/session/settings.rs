//! SET and SHOW: what Postgres clients set and ask for.
//!
//! Guaranteed: a setting that is accepted has the effect Postgres gives it, or its value is the only one that makes no
//! difference here; anything else is refused, so that no client believes in a time zone that is not there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use engine::error::sqlstate;
use engine::{Error, Result};

const UNDEFINED_OBJECT: &str = "42704";
const CANT_CHANGE_RUNTIME_PARAM: &str = "55P02";

/// The Postgres version clients see; psql picks its catalog queries by it.
pub const SERVER_VERSION: &str = concat!("15.0 (Thalweg ", env!("CARGO_PKG_VERSION"), ")");

/// Which values a setting takes.
#[derive(Clone, Copy)]
enum Accepts {
    /// None: it is told, not set.
    ReadOnly,
    /// Any text.
    Any,
    /// One of these, in any case; the first column is what it is then set to.
    OneOf(&'static [(&'static str, &'static [&'static str])]),
    /// A duration in milliseconds or with a unit; stored in milliseconds.
    Duration,
    /// An integer in this range.
    Integer(i64, i64),
    /// Schemas among which names are always looked up.
    SearchPath,
}

struct Setting {
    name: &'static str,
    default: &'static str,
    accepts: Accepts,
    /// Told to the client in ParameterStatus, at start-up and after each change.
    reported: bool,
    description: &'static str,
}

const ON: Accepts = Accepts::OneOf(&[("on", &["on", "true", "yes", "1"])]);
const OFF: Accepts = Accepts::OneOf(&[("off", &["off", "false", "no", "0"])]);
const ZERO: Accepts = Accepts::Integer(0, 0);
/// Transactions read one snapshot, so weaker levels are kept too; serializable is not.
const ISOLATION: Accepts = Accepts::OneOf(&[("repeatable read", &["repeatable read", "read committed", "read uncommitted", "default"])]);
const UTC: Accepts =
    Accepts::OneOf(&[("Etc/UTC", &["etc/utc", "utc", "gmt", "etc/gmt", "z", "zulu", "uct", "etc/uct", "universal", "0", "+00", "+00:00"])]);
const DATE_STYLE: Accepts = Accepts::OneOf(&[("ISO, MDY", &["iso", "iso, mdy", "iso,mdy", "mdy", "mdy, iso"])]);
const UTF8: Accepts = Accepts::OneOf(&[("UTF8", &["utf8", "utf-8", "unicode", "'utf8'"])]);
const LEVELS: Accepts = Accepts::OneOf(&[
    ("debug5", &["debug5"]),
    ("debug1", &["debug", "debug1"]),
    ("log", &["log"]),
    ("notice", &["notice"]),
    ("warning", &["warning"]),
    ("error", &["error"]),
]);

#[rustfmt::skip]
const TABLE: &[Setting] = &[
    setting("application_name", "", Accepts::Any, true, "Name of the client application"),
    setting("bytea_output", "hex", Accepts::OneOf(&[("hex", &["hex"])]), false, "Output format of bytea"),
    setting("client_encoding", "UTF8", UTF8, true, "The client's character set"),
    setting("client_min_messages", "notice", LEVELS, false, "Least severity of messages sent to the client"),
    setting("DateStyle", "ISO, MDY", DATE_STYLE, true, "Display format of dates and times"),
    setting("default_transaction_isolation", "repeatable read", ISOLATION, false, "Isolation level of new transactions"),
    setting("default_transaction_read_only", "off", OFF, true, "Whether new transactions are read-only"),
    setting("extra_float_digits", "1", Accepts::Integer(1, 3), false, "Floats are printed with the shortest digits that read back exactly"),
    setting("idle_in_transaction_session_timeout", "0", ZERO, false, "Idle transactions are never ended"),
    setting("in_hot_standby", "off", Accepts::ReadOnly, true, "Whether this is a standby"),
    setting("integer_datetimes", "on", Accepts::ReadOnly, true, "Timestamps are integers of microseconds"),
    setting("IntervalStyle", "postgres", Accepts::OneOf(&[("postgres", &["postgres"])]), true, "Display format of intervals"),
    setting("is_superuser", "on", Accepts::ReadOnly, true, "Whether the current role is a superuser"),
    setting("lc_collate", "C", Accepts::ReadOnly, false, "Order of text"),
    setting("lc_ctype", "C", Accepts::ReadOnly, false, "Classes of characters"),
    setting("lock_timeout", "0", Accepts::Duration, false, "No statement waits for a lock"),
    setting("max_identifier_length", "63", Accepts::ReadOnly, false, "Bytes of an identifier"),
    setting("max_index_keys", "32", Accepts::ReadOnly, false, "Columns of an index"),
    setting("search_path", "\"$user\", public", Accepts::SearchPath, false, "Schemas in which names are looked up"),
    setting("server_encoding", "UTF8", Accepts::ReadOnly, true, "The server's character set"),
    setting("server_version", SERVER_VERSION, Accepts::ReadOnly, true, "Version of Postgres whose protocol and SQL are followed"),
    setting("server_version_num", "150000", Accepts::ReadOnly, false, "The same as a number"),
    setting("session_authorization", "thalweg", Accepts::ReadOnly, true, "The session's role"),
    setting("standard_conforming_strings", "on", ON, true, "Backslashes are ordinary in '…'"),
    setting("statement_timeout", "0", Accepts::Duration, false, "Milliseconds a statement may take"),
    setting("synchronous_commit", "on", ON, false, "Acknowledged means durable"),
    setting("TimeZone", "Etc/UTC", UTC, true, "Zone of timestamps with time zone"),
    setting("transaction_isolation", "repeatable read", ISOLATION, false, "Isolation level of the current transaction"),
    setting("transaction_read_only", "off", OFF, false, "Whether the current transaction is read-only"),
];

const fn setting(name: &'static str, default: &'static str, accepts: Accepts, reported: bool, description: &'static str) -> Setting {
    Setting { name, default, accepts, reported, description }
}

/// A session's settings: the defaults, what SET changed, and what SET LOCAL changed until the block ends.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// What the start-up packet or the server's configuration asks for: RESET goes back to it.
    initial: BTreeMap<&'static str, String>,
    session: BTreeMap<&'static str, String>,
    local: BTreeMap<&'static str, String>,
    before_block: Option<BTreeMap<&'static str, String>>,
}

impl Settings {
    /// Sets the value that RESET goes back to.
    pub fn set_initial(&mut self, name: &str, value: &str) -> Result<()> {
        let setting = find(name)?;
        self.initial.insert(setting.name, setting.accepted(value)?);
        Ok(())
    }

    /// The value of a setting.
    pub fn get(&self, name: &str) -> Result<&str> {
        find(name).map(|setting| self.value(setting))
    }

    /// SET, or RESET when there is no value. `RESET ALL` has the name `all`.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        if name.eq_ignore_ascii_case("all") && value.is_none() {
            self.reset_all();
            return Ok(());
        }
        let setting = find(name)?;
        match value {
            Some(value) => self.session.insert(setting.name, setting.accepted(value)?),
            None if matches!(setting.accepts, Accepts::ReadOnly) => return Err(setting.read_only()),
            None => self.session.remove(setting.name),
        };
        self.local.remove(setting.name);
        Ok(())
    }

    /// SET LOCAL.
    pub(super) fn set_local(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        let setting = find(name)?;
        let value = match value {
            Some(value) => setting.accepted(value)?,
            None => self.initial.get(setting.name).map_or(setting.default, String::as_str).to_owned(),
        };
        self.local.insert(setting.name, value);
        Ok(())
    }

    /// The errors of SET without its effect.
    pub(super) fn check(&self, name: &str, value: Option<&str>) -> Result<()> {
        let setting = find(name)?;
        value.map_or(Ok(()), |value| setting.accepted(value).map(|_| ()))
    }

    /// RESET ALL.
    pub fn reset_all(&mut self) {
        self.session.clear();
        self.local.clear();
    }

    pub(super) fn begin_block(&mut self) {
        self.before_block = Some(self.session.clone());
    }

    pub(super) fn commit_block(&mut self) {
        self.before_block = None;
        self.local.clear();
    }

    pub(super) fn roll_back_block(&mut self) {
        self.local.clear();
        if let Some(before) = self.before_block.take() {
            self.session = before;
        }
    }

    /// How long a statement may take.
    pub fn statement_timeout(&self) -> Option<Duration> {
        let milliseconds = self.get("statement_timeout").ok()?.parse().expect("durations are stored in milliseconds");
        (milliseconds > 0).then(|| Duration::from_millis(milliseconds))
    }

    /// What ParameterStatus tells.
    pub fn reported(&self) -> impl Iterator<Item = (&'static str, &str)> {
        TABLE.iter().filter(|setting| setting.reported).map(|setting| (setting.name, self.value(setting)))
    }

    /// SHOW: one row; `SHOW ALL`: a row per setting.
    pub(super) fn show(&self, name: &str) -> Result<RecordBatch> {
        if name.eq_ignore_ascii_case("all") {
            let columns: [(&str, Vec<&str>); 3] = [
                ("name", TABLE.iter().map(|setting| setting.name).collect()),
                ("setting", TABLE.iter().map(|setting| self.value(setting)).collect()),
                ("description", TABLE.iter().map(|setting| setting.description).collect()),
            ];
            return texts(&columns);
        }
        let setting = find(name)?;
        texts(&[(setting.name, vec![self.value(setting)])])
    }

    fn value(&self, setting: &Setting) -> &str {
        let set = [&self.local, &self.session, &self.initial].into_iter().find_map(|values| values.get(setting.name));
        set.map_or(setting.default, String::as_str)
    }
}

impl Setting {
    /// The value as it is stored.
    fn accepted(&self, value: &str) -> Result<String> {
        let refused = || Err(self.refused(value));
        match self.accepts {
            Accepts::ReadOnly => Err(self.read_only()),
            Accepts::Any => Ok(value.to_owned()),
            Accepts::OneOf(choices) => {
                let asked = value.trim().trim_matches('\'').to_ascii_lowercase();
                let chosen = choices.iter().find(|(_, spellings)| spellings.contains(&asked.as_str()));
                chosen.map_or_else(refused, |(stored, _)| Ok((*stored).to_owned()))
            }
            Accepts::Duration => parse_milliseconds(value).map_or_else(refused, |milliseconds| Ok(milliseconds.to_string())),
            Accepts::Integer(least, most) => match value.trim().parse::<i64>() {
                Ok(number) if (least..=most).contains(&number) => Ok(number.to_string()),
                _ => refused(),
            },
            Accepts::SearchPath => {
                let known =
                    |schema: &str| matches!(schema.trim().trim_matches(['"', '\'']), "" | "$user" | "public" | "pg_catalog" | "thalweg");
                if value.split(',').all(known) { Ok(value.to_owned()) } else { refused() }
            }
        }
    }

    fn refused(&self, value: &str) -> Error {
        let name = self.name;
        let message = format!("invalid value for parameter \"{name}\": \"{value}\"");
        let hint = match self.accepts {
            Accepts::OneOf(choices) => {
                let stored: Vec<&str> = choices.iter().map(|(stored, _)| *stored).collect();
                format!("available values: {}", stored.join(", "))
            }
            Accepts::Duration => "a number of milliseconds, or with a unit: ms, s, min, h, d".to_owned(),
            Accepts::Integer(least, most) => format!("a number from {least} to {most}"),
            Accepts::SearchPath => "names are looked up in public; qualify those of other schemas".to_owned(),
            Accepts::ReadOnly | Accepts::Any => String::new(),
        };
        Error::new(sqlstate::INVALID_PARAMETER_VALUE, message).with_hint(hint)
    }

    fn read_only(&self) -> Error {
        Error::new(CANT_CHANGE_RUNTIME_PARAM, format!("parameter \"{}\" cannot be changed", self.name))
    }
}

fn find(name: &str) -> Result<&'static Setting> {
    let name = match name.to_ascii_lowercase().as_str() {
        "time zone" => "timezone".to_owned(),
        "names" => "client_encoding".to_owned(),
        "transaction isolation level" => "transaction_isolation".to_owned(),
        lower => lower.to_owned(),
    };
    TABLE
        .iter()
        .find(|setting| setting.name.eq_ignore_ascii_case(&name))
        .ok_or_else(|| Error::new(UNDEFINED_OBJECT, format!("unrecognized configuration parameter \"{name}\"")))
}

fn parse_milliseconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let n_digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..n_digits].parse().ok()?;
    let unit = match text[n_digits..].trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(unit).filter(|milliseconds| i32::try_from(*milliseconds).is_ok())
}

fn texts(columns: &[(&str, Vec<&str>)]) -> Result<RecordBatch> {
    let fields: Vec<Field> = columns.iter().map(|(name, _)| Field::new(*name, DataType::Utf8, false)).collect();
    let arrays = columns.iter().map(|(_, values)| Arc::new(StringArray::from(values.clone())) as ArrayRef).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_show_reset() {
        let mut settings = Settings::default();
        settings.set("STATEMENT_TIMEOUT", Some("2s")).expect("a duration");
        assert_eq!(settings.get("statement_timeout").expect("known"), "2000");
        assert_eq!(settings.statement_timeout(), Some(Duration::from_secs(2)));
        settings.set("statement_timeout", None).expect("known");
        assert_eq!(settings.statement_timeout(), None);
        settings.set("timezone", Some("utc")).expect("UTC is the zone there is");
        assert_eq!(settings.get("TimeZone").expect("known"), "Etc/UTC");
    }

    #[test]
    fn what_would_not_have_its_effect_is_refused() {
        let mut settings = Settings::default();
        let mut sqlstate = |name, value| settings.set(name, Some(value)).expect_err("refused").sqlstate;
        assert_eq!(sqlstate("timezone", "Europe/Berlin"), "22023");
        assert_eq!(sqlstate("server_version", "16"), "55P02");
        assert_eq!(sqlstate("nonsense", "1"), "42704");
        assert_eq!(sqlstate("transaction_isolation", "serializable"), "22023");
        assert_eq!(sqlstate("statement_timeout", "99999999d"), "22023");
    }

    #[test]
    fn a_block_takes_its_settings_back() {
        let mut settings = Settings::default();
        settings.set("application_name", Some("before")).expect("any text");
        settings.begin_block();
        settings.set("application_name", Some("inside")).expect("any text");
        settings.set_local("statement_timeout", Some("5")).expect("a duration");
        assert_eq!(settings.get("statement_timeout").expect("known"), "5");
        settings.roll_back_block();
        assert_eq!(settings.get("application_name").expect("known"), "before");
        assert_eq!(settings.get("statement_timeout").expect("known"), "0");
    }
}
