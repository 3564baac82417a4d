//! SET and SHOW: what Postgres clients set and ask for.
//!
//! Guaranteed: a setting that is accepted has the effect Postgres gives it, or its values make no difference here; anything else
//! is refused.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use engine::error::sqlstate;
use engine::functions::settings::SessionSettings;
use engine::{Engine, Error, Result};

use super::notify::Said;
use crate::encode::column::Style;

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
    /// A zone of the IANA database, or UTC.
    Zone,
}

/// Names under which UTC is asked for; it is shown as asked.
const UTC_NAMES: [&str; 12] = ["UTC", "Etc/UTC", "GMT", "Etc/GMT", "Z", "Zulu", "UCT", "Etc/UCT", "Universal", "0", "+00", "+00:00"];

struct Setting {
    name: &'static str,
    default: &'static str,
    accepts: Accepts,
    /// Told to the client in ParameterStatus, at start-up and after each change.
    reported: bool,
    description: &'static str,
}

const SWITCH: Accepts = Accepts::OneOf(&[("on", &["on", "true", "yes", "1", "t"]), ("off", &["off", "false", "no", "0", "f"])]);
const ON: Accepts = Accepts::OneOf(&[("on", &["on", "true", "yes", "1"])]);
const OFF: Accepts = Accepts::OneOf(&[("off", &["off", "false", "no", "0"])]);
/// Transactions read one snapshot, so weaker levels are kept too; serializable is not.
const ISOLATION: Accepts = Accepts::OneOf(&[
    ("repeatable read", &["repeatable read", "default"]),
    ("read committed", &["read committed"]),
    ("read uncommitted", &["read uncommitted"]),
]);
const DATE_STYLE: Accepts = Accepts::OneOf(&[("ISO, MDY", &["iso", "iso, mdy", "iso,mdy", "mdy", "mdy, iso"])]);
const ERROR_MODE: Accepts = Accepts::OneOf(&[("lenient", &["lenient", "default"]), ("strict", &["strict"])]);
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
    setting("check_function_bodies", "on", SWITCH, false, "Functions are checked when they are created, whatever it is"),
    setting("default_table_access_method", "heap", Accepts::OneOf(&[("heap", &["heap"])]), false, "How tables are stored; there is one way"),
    setting("default_tablespace", "", Accepts::OneOf(&[("", &[""])]), false, "Where tables are stored; there is one place"),
    setting("default_transaction_deferrable", "off", SWITCH, false, "No transaction waits for a snapshot"),
    setting("default_transaction_isolation", "repeatable read", ISOLATION, false, "Isolation level of new transactions"),
    setting("default_transaction_read_only", "off", SWITCH, true, "Whether new transactions are read-only"),
    setting("error_mode", "lenient", ERROR_MODE, false, "Reads of views that lack failed rows: lenient warns, strict refuses"),
    setting("escape_string_warning", "on", SWITCH, false, "Backslashes in '…' are ordinary, without a warning"),
    setting("extra_float_digits", "1", Accepts::Integer(-15, 3), false, "Digits of floats: above 0 the shortest text that reads back exactly"),
    setting("idle_in_transaction_session_timeout", "0", Accepts::Duration, false, "How long a client may leave a transaction idle"),
    setting("idle_session_timeout", "0", Accepts::Duration, false, "How long a client may be idle outside of transactions"),
    setting("in_hot_standby", "off", Accepts::ReadOnly, true, "Whether this is a standby"),
    setting("integer_datetimes", "on", Accepts::ReadOnly, true, "Timestamps are integers of microseconds"),
    setting("IntervalStyle", "postgres", Accepts::OneOf(&[("postgres", &["postgres"])]), true, "Display format of intervals"),
    setting("is_superuser", "on", Accepts::ReadOnly, true, "Whether the current role is a superuser"),
    setting("jit", "off", SWITCH, false, "Queries are not compiled just in time, whatever it is"),
    setting("lc_collate", "C", Accepts::ReadOnly, false, "Order of text"),
    setting("lc_ctype", "C", Accepts::ReadOnly, false, "Classes of characters"),
    setting("lock_timeout", "0", Accepts::Duration, false, "No statement waits for a lock"),
    setting("max_identifier_length", "63", Accepts::ReadOnly, false, "Bytes of an identifier"),
    setting("max_index_keys", "32", Accepts::ReadOnly, false, "Columns of an index"),
    setting("role", "none", Accepts::ReadOnly, false, "The current role"),
    setting("row_security", "on", SWITCH, false, "There are no row policies"),
    setting("search_path", "\"$user\", public", Accepts::Any, false, "Schemas in which names are looked up"),
    setting("server_encoding", "UTF8", Accepts::ReadOnly, true, "The server's character set"),
    setting("server_version", SERVER_VERSION, Accepts::ReadOnly, true, "Version of Postgres whose protocol and SQL are followed"),
    setting("server_version_num", "150000", Accepts::ReadOnly, false, "The same as a number"),
    setting("session_authorization", "thalweg", Accepts::ReadOnly, true, "The session's role"),
    setting("standard_conforming_strings", "on", ON, true, "Backslashes are ordinary in '…'"),
    setting("statement_timeout", "0", Accepts::Duration, false, "Milliseconds a statement may take"),
    setting("synchronous_commit", "on", ON, false, "Acknowledged means durable"),
    setting("TimeZone", "Etc/UTC", Accepts::Zone, true, "Zone of timestamps with time zone"),
    setting("transaction_deferrable", "off", OFF, false, "No transaction waits for a snapshot"),
    setting("transaction_isolation", "repeatable read", ISOLATION, false, "Isolation level of the current transaction"),
    setting("transaction_read_only", "off", OFF, false, "Whether the current transaction is read-only"),
    setting("xmloption", "content", Accepts::OneOf(&[("content", &["content"])]), false, "There is no XML"),
];

const fn setting(name: &'static str, default: &'static str, accepts: Accepts, reported: bool, description: &'static str) -> Setting {
    Setting { name, default, accepts, reported, description }
}

/// A setting as `pg_settings` tells it.
pub struct Told<'a> {
    /// Its name.
    pub name: &'static str,
    /// Its value in the session.
    pub value: &'a str,
    /// Its value before anybody sets it.
    pub default: &'static str,
    /// What it does.
    pub description: &'static str,
    /// It cannot be set.
    pub is_read_only: bool,
}

/// A session's settings: the defaults, what SET changed, and what SET LOCAL changed until the block ends. A name with a dot is
/// an application's own, as in Postgres, and takes any text.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// What the start-up packet or the server's configuration asks for: RESET goes back to it.
    initial: BTreeMap<String, String>,
    session: BTreeMap<String, String>,
    local: BTreeMap<String, String>,
    before_block: Option<BTreeMap<String, String>>,
}

impl Settings {
    /// Sets the value that RESET goes back to.
    pub fn set_initial(&mut self, name: &str, value: &str) -> Result<()> {
        let (name, value) = accepted(name, value)?;
        self.initial.insert(name, value);
        Ok(())
    }

    /// The value of a setting as it is kept.
    pub fn get(&self, name: &str) -> Result<&str> {
        match find(name)? {
            Found::Known(setting) => Ok(self.value(setting)),
            Found::Custom(name) => self.stored(&name).ok_or_else(|| unrecognized(&name)),
        }
    }

    /// Whether a switch is on.
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name).is_ok_and(|value| value == "on")
    }

    /// SET, or RESET when there is no value. `RESET ALL` has the name `all`.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        if name.eq_ignore_ascii_case("all") && value.is_none() {
            self.reset_all();
            return Ok(());
        }
        let name = match value {
            Some(value) => {
                let (name, value) = accepted(name, value)?;
                self.session.insert(name.clone(), value);
                name
            }
            None => {
                let found = find(name)?;
                found.check_writable()?;
                self.session.remove(found.name());
                found.name().to_owned()
            }
        };
        self.local.remove(&name);
        Ok(())
    }

    /// SET LOCAL.
    pub(super) fn set_local(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        let (name, value) = match value {
            Some(value) => accepted(name, value)?,
            None => {
                let found = find(name)?;
                found.check_writable()?;
                let default = if let Found::Known(setting) = &found { setting.default } else { "" };
                (found.name().to_owned(), self.initial.get(found.name()).map_or(default, String::as_str).to_owned())
            }
        };
        self.local.insert(name, value);
        Ok(())
    }

    /// What a block says about itself: told, and forgotten at its end.
    pub(super) fn tell_local(&mut self, name: &str, value: &str) {
        self.local.insert(name.to_owned(), value.to_owned());
    }

    /// The errors of SET without its effect.
    pub(super) fn check(&self, name: &str, value: Option<&str>) -> Result<()> {
        match value {
            Some(value) => accepted(name, value).map(drop),
            None => find(name).map(drop),
        }
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

    /// A duration; `None` is no limit.
    pub fn duration(&self, name: &str) -> Option<Duration> {
        let milliseconds = self.get(name).ok()?.parse().expect("durations are stored in milliseconds");
        (milliseconds > 0).then(|| Duration::from_millis(milliseconds))
    }

    /// How values are written.
    pub fn style(&self) -> Style {
        let zone = self.get("TimeZone").ok().filter(|zone| !UTC_NAMES.contains(zone)).map(str::to_owned);
        let extra_float_digits = self.get("extra_float_digits").ok().and_then(|digits| digits.parse().ok()).unwrap_or(1);
        Style { zone, extra_float_digits }
    }

    /// Whether a notice of this severity is sent.
    pub fn sends(&self, severity: &str) -> bool {
        match self.get("client_min_messages") {
            Ok("error") => false,
            Ok("warning") => severity != "NOTICE",
            _ => true,
        }
    }

    /// Every setting with its value, for `pg_settings`.
    pub fn all(&self) -> impl Iterator<Item = Told<'_>> {
        TABLE.iter().map(|setting| Told {
            name: setting.name,
            value: self.value(setting),
            default: setting.default,
            description: setting.description,
            is_read_only: matches!(setting.accepts, Accepts::ReadOnly),
        })
    }

    /// What ParameterStatus tells.
    pub fn reported(&self) -> Vec<(&'static str, String)> {
        TABLE.iter().filter(|setting| setting.reported).map(|setting| (setting.name, self.shown(setting))).collect()
    }

    /// One setting as SHOW shows it.
    pub(super) fn show_one(&self, name: &str) -> Result<(String, String)> {
        match find(name)? {
            Found::Known(setting) => Ok((setting.name.to_owned(), self.shown(setting))),
            Found::Custom(name) => {
                self.stored(&name).map(str::to_owned).map(|value| (name.clone(), value)).ok_or_else(|| unrecognized(&name))
            }
        }
    }

    /// SHOW: one row; `SHOW ALL`: a row per setting.
    pub(super) fn show(&self, name: &str) -> Result<RecordBatch> {
        if name.eq_ignore_ascii_case("all") {
            let columns: [(&str, Vec<String>); 3] = [
                ("name", TABLE.iter().map(|setting| setting.name.to_owned()).collect()),
                ("setting", TABLE.iter().map(|setting| self.shown(setting)).collect()),
                ("description", TABLE.iter().map(|setting| setting.description.to_owned()).collect()),
            ];
            return texts(&columns);
        }
        let (name, value) = self.show_one(name)?;
        texts(&[(&name, vec![value])])
    }

    fn shown(&self, setting: &Setting) -> String {
        let value = self.value(setting);
        match setting.accepts {
            Accepts::Duration => with_unit(value),
            _ => value.to_owned(),
        }
    }

    fn value(&self, setting: &Setting) -> &str {
        let default = match setting.name {
            "transaction_isolation" => {
                return self.stored(setting.name).unwrap_or_else(|| self.default_of("default_transaction_isolation"));
            }
            "transaction_read_only" => {
                return self.stored(setting.name).unwrap_or_else(|| self.default_of("default_transaction_read_only"));
            }
            _ => setting.default,
        };
        self.stored(setting.name).unwrap_or(default)
    }

    /// The value that new transactions have.
    fn default_of(&self, name: &str) -> &str {
        self.get(name).expect("both are in the table")
    }

    fn stored(&self, name: &str) -> Option<&str> {
        [&self.local, &self.session, &self.initial].into_iter().find_map(|values| values.get(name)).map(String::as_str)
    }
}

/// A session's settings where SQL functions reach them too.
pub(super) struct SharedSettings {
    settings: Mutex<Settings>,
    engine: Engine,
    /// What `pg_notify()` said.
    pub(super) said: Said,
}

impl std::fmt::Debug for SharedSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedSettings").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl SharedSettings {
    pub(super) fn new(settings: Settings, engine: Engine) -> Self {
        Self { settings: Mutex::new(settings), engine, said: Said::default() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().expect("nothing panics while holding the settings")
    }

    /// Names are looked up in `public`: a path that would find others there is refused. Schemas that are not there may be in
    /// it; nothing is found in them, as in Postgres.
    pub(super) fn check_path(&self, name: &str, value: Option<&str>) -> Result<()> {
        let (true, Some(value)) = (name.eq_ignore_ascii_case("search_path"), value) else { return Ok(()) };
        let catalog = self.engine.catalog();
        for schema in value.split(',').map(|schema| schema.trim().trim_matches(['"', '\''])) {
            let is_other = !matches!(schema, "public" | "pg_catalog" | "information_schema");
            if is_other && catalog.objects.values().any(|object| object.schema == schema) {
                let message = format!("schema \"{schema}\" in search_path is not supported");
                return Err(Error::unsupported(message, "names are looked up in public; qualify those of other schemas"));
            }
        }
        Ok(())
    }
}

/// The settings as one statement has them.
#[derive(Debug)]
pub(super) struct StatementSettings {
    shared: Arc<SharedSettings>,
    turn: u64,
}

impl StatementSettings {
    pub(super) fn new(shared: &Arc<SharedSettings>) -> Self {
        Self { shared: Arc::clone(shared), turn: shared.said.turn() }
    }
}

impl SessionSettings for StatementSettings {
    fn zone(&self) -> Option<String> {
        self.shared.lock().style().zone
    }

    fn show(&self, name: &str) -> Result<String> {
        self.shared.lock().show_one(name).map(|(_, value)| value)
    }

    fn set(&self, name: &str, value: &str, is_local: bool) -> Result<String> {
        self.shared.check_path(name, Some(value))?;
        let mut settings = self.shared.lock();
        match is_local {
            true => settings.set_local(name, Some(value))?,
            false => settings.set(name, Some(value))?,
        }
        settings.show_one(name).map(|(_, value)| value)
    }

    fn notify(&self, channel: &str, payload: &str) -> Result<()> {
        self.shared.said.say(self.turn, channel, payload)
    }
}

/// Milliseconds in the largest unit that is exact, as Postgres shows them.
fn with_unit(milliseconds: &str) -> String {
    let number: u64 = milliseconds.parse().expect("durations are stored in milliseconds");
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms")];
    match units.into_iter().find(|(unit, _)| number > 0 && number.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", number / unit),
        None => "0".to_owned(),
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
            Accepts::Zone => zone(value).map_or_else(refused, Ok),
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
            Accepts::Zone => "a name of the IANA time zone database, such as Europe/Berlin".to_owned(),
            Accepts::ReadOnly | Accepts::Any => String::new(),
        };
        Error::new(sqlstate::INVALID_PARAMETER_VALUE, message).with_hint(hint)
    }

    fn read_only(&self) -> Error {
        Error::new(CANT_CHANGE_RUNTIME_PARAM, format!("parameter \"{}\" cannot be changed", self.name))
    }
}

/// What a name means.
enum Found {
    Known(&'static Setting),
    /// An application's own, `prefix.name`.
    Custom(String),
}

impl Found {
    fn name(&self) -> &str {
        match self {
            Self::Known(setting) => setting.name,
            Self::Custom(name) => name,
        }
    }

    fn check_writable(&self) -> Result<()> {
        match self {
            Self::Known(setting) if matches!(setting.accepts, Accepts::ReadOnly) => Err(setting.read_only()),
            _ => Ok(()),
        }
    }
}

fn find(name: &str) -> Result<Found> {
    let lower = match name.to_ascii_lowercase().as_str() {
        "time zone" => "timezone".to_owned(),
        "names" => "client_encoding".to_owned(),
        "transaction isolation level" => "transaction_isolation".to_owned(),
        lower => lower.to_owned(),
    };
    match TABLE.iter().find(|setting| setting.name.eq_ignore_ascii_case(&lower)) {
        Some(setting) => Ok(Found::Known(setting)),
        None if is_custom(&lower) => Ok(Found::Custom(lower)),
        None => Err(unrecognized(&lower)),
    }
}

fn is_custom(name: &str) -> bool {
    let word = |part: &str| {
        part.starts_with(|first: char| first.is_alphabetic() || first == '_')
            && part.chars().all(|c| c.is_alphanumeric() || "_$".contains(c))
    };
    name.contains('.') && name.split('.').all(word)
}

fn unrecognized(name: &str) -> Error {
    Error::new(sqlstate::UNDEFINED_OBJECT, format!("unrecognized configuration parameter \"{name}\""))
}

/// The name under which a value is kept, and the value.
fn accepted(name: &str, value: &str) -> Result<(String, String)> {
    match find(name)? {
        Found::Known(setting) => Ok((setting.name.to_owned(), setting.accepted(value)?)),
        Found::Custom(name) => Ok((name, value.to_owned())),
    }
}

/// A zone under its own spelling; zones are looked up without regard to case.
fn zone(value: &str) -> Option<String> {
    let value = value.trim().trim_matches('\'');
    if let Some(utc) = UTC_NAMES.iter().find(|name| name.eq_ignore_ascii_case(value)) {
        return Some((*utc).to_owned());
    }
    // A bare offset would have the sign of POSIX in Postgres, which nobody means.
    let is_name = value.starts_with(|first: char| first.is_ascii_alphabetic());
    let capitalised: String = value
        .split_inclusive(['/', '_', '-'])
        .map(|part| {
            part.chars()
                .enumerate()
                .map(|(place, c)| if place == 0 { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
                .collect::<String>()
        })
        .collect();
    [value.to_owned(), capitalised].into_iter().find(|name| is_name && name.parse::<arrow::array::timezone::Tz>().is_ok())
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

fn texts(columns: &[(&str, Vec<String>)]) -> Result<RecordBatch> {
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
        assert_eq!(settings.duration("statement_timeout"), Some(Duration::from_secs(2)));
        settings.set("statement_timeout", None).expect("known");
        assert_eq!(settings.duration("statement_timeout"), None);
        settings.set("timezone", Some("utc")).expect("a zone");
        assert_eq!((settings.get("TimeZone").expect("known"), settings.style().zone), ("UTC", None));
        settings.set("timezone", Some("europe/paris")).expect("a zone");
        assert_eq!(settings.style().zone.as_deref(), Some("Europe/Paris"));
        settings.set("my.own", Some("Any text")).expect("an application's own setting");
        assert_eq!(settings.show_one("MY.own").expect("known now"), ("my.own".to_owned(), "Any text".to_owned()));
    }

    #[test]
    fn durations_are_shown_in_their_largest_unit() {
        let mut settings = Settings::default();
        for (value, shown) in [("0", "0"), ("400", "400ms"), ("7s", "7s"), ("120000", "2min"), ("36h", "36h"), ("2d", "2d")] {
            settings.set("statement_timeout", Some(value)).expect("a duration");
            assert_eq!(settings.show_one("statement_timeout").expect("known").1, shown);
        }
    }

    #[test]
    fn what_would_not_have_its_effect_is_refused() {
        let mut settings = Settings::default();
        let mut sqlstate = |name, value| settings.set(name, Some(value)).expect_err("refused").sqlstate;
        assert_eq!(sqlstate("timezone", "Europe/Atlantis"), "22023");
        assert_eq!(sqlstate("timezone", "+05:30"), "22023");
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
