//! What the process is told at start: one table of settings, each given by flag, environment variable, TOML file or default,
//! in this order of precedence.
//!
//! The macro below is the only list. It makes the struct, the command line, the TOML reader and the table in
//! `docs/operating.md` (a test keeps that current).

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// One row of the table of settings.
#[derive(Debug, Clone, Copy)]
pub struct SettingDoc {
    /// The key in TOML; with `-` for `_` the flag.
    pub name: &'static str,
    /// The environment variable.
    pub environment: &'static str,
    /// The default, in words where it is computed.
    pub default: &'static str,
    /// What it does.
    pub doc: &'static str,
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:expr, $default_doc:literal, $environment:literal;)+) => {
        /// All settings, resolved.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Config { $($(#[doc = $doc])+ pub $name: $type,)+ }

        /// Settings as one place gives them: a flag or variable, or the TOML file.
        #[derive(Debug, Clone, Default, PartialEq, Deserialize, clap::Args)]
        #[serde(deny_unknown_fields)]
        pub struct Given { $($(#[doc = $doc])+ #[arg(long, env = $environment)] pub $name: Option<$type>,)+ }

        impl Given {
            /// `self` where it says something, else `other`.
            pub fn or(self, other: Self) -> Self {
                Self { $($name: self.$name.or(other.$name),)+ }
            }

            /// With the defaults for what nobody gave.
            pub fn resolve(self) -> Config {
                Config { $($name: self.$name.unwrap_or_else(|| $default),)+ }
            }
        }

        /// Every setting with its documentation.
        pub const SETTINGS: &[SettingDoc] = &[$(SettingDoc {
            name: stringify!($name), environment: $environment, default: $default_doc, doc: concat!($($doc),+),
        },)+];
    };
}

settings! {
    /// Where everything is kept: a folder or `file:///…`
    data: String = "./thalweg-data".into(), "`./thalweg-data`", "THALWEG_DATA";
    /// Address for Postgres clients; port 0 picks a free one and prints it
    pg: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 7432)), "`127.0.0.1:7432`", "THALWEG_PG";
    /// Address for HTTP; port 0 picks a free one and prints it
    http: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 7433)), "`127.0.0.1:7433`", "THALWEG_HTTP";
    /// Threads that maintain views
    workers: usize = available_cores(), "all cores", "THALWEG_WORKERS";
    /// Threads that compute queries over more than a few rows, apart from those that maintain views, answer statements and serve sockets
    query_threads: usize = available_cores().max(2), "all cores, at least 2", "THALWEG_QUERY_THREADS";
    /// Bytes that running queries may keep in memory together, for sorts, groups and joins; beyond it they go on in files below the data folder where they can, else fail with 53200; 0 is no limit
    query_memory_bytes: usize = 1 << 30, "1073741824", "THALWEG_QUERY_MEMORY_BYTES";
    /// What runs the operators: `timely` (threads) or `sequential` (one thread, for comparison)
    driver: DriverName = DriverName::Timely, "`timely`", "THALWEG_DRIVER";
    /// Rows taken into one epoch at most; 1 gives every row an epoch of its own
    max_epoch_rows: usize = 65_536, "65536", "THALWEG_MAX_EPOCH_ROWS";
    /// Milliseconds between epochs at most while a view goes by `now()`: rows enter and leave it by themselves no later
    clock_interval_ms: u64 = 1000, "1000", "THALWEG_CLOCK_INTERVAL_MS";
    /// Folder below which `connector = 'file'` may read; without it, none
    file_root: PathBuf = PathBuf::new(), "none", "THALWEG_FILE_ROOT";
    /// Postgres connections open at once; the next one gets SQLSTATE 53300
    max_connections: usize = 200, "200", "THALWEG_MAX_CONNECTIONS";
    /// Seconds a client may take from connecting to its first statement being possible
    startup_timeout_s: u64 = 30, "30", "THALWEG_STARTUP_TIMEOUT_S";
    /// Milliseconds a statement may take in a new session (`SET statement_timeout` changes it); 0 is no limit
    statement_timeout_ms: u64 = 0, "0", "THALWEG_STATEMENT_TIMEOUT_MS";
    /// Bytes of one `POST /v1/sql` body at most
    max_sql_bytes: usize = 16 << 20, "16777216", "THALWEG_MAX_SQL_BYTES";
    /// Host names, beside loopback ones, under which HTTP requests are accepted, separated by commas
    http_hosts: String = String::new(), "none", "THALWEG_HTTP_HOSTS";
    /// What is logged to stderr: a level, or `target=level` pairs separated by commas
    log: String = "info".into(), "`info`", "THALWEG_LOG";
    /// How log lines are written: `text` or `json`
    log_format: LogFormat = LogFormat::Text, "`text`", "THALWEG_LOG_FORMAT";
    /// File that receives the addresses as JSON once the server listens
    ready_file: PathBuf = PathBuf::new(), "none", "THALWEG_READY_FILE";
}

/// What runs the operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum DriverName {
    /// Timely dataflow with worker threads.
    Timely,
    /// One loop over the same kernels.
    Sequential,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Given {
    /// Reads a TOML file of settings. An unknown key is an error that names it.
    pub fn from_file(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        toml::from_str(&text).map_err(|error| format!("cannot read {}: {error}", path.display()))
    }
}

impl Config {
    /// What of it the engine needs.
    pub fn engine(&self) -> engine::config::Config {
        engine::config::Config {
            data: self.data.clone(),
            n_workers: self.workers.max(1),
            driver: match self.driver {
                DriverName::Timely => engine::config::Driver::Timely,
                DriverName::Sequential => engine::config::Driver::Sequential,
            },
            max_epoch_rows: self.max_epoch_rows.max(1),
            clock_interval_ms: self.clock_interval_ms.max(1),
            clock: Default::default(),
            query_memory_bytes: self.query_memory_bytes,
            file_root: given_path(&self.file_root),
        }
    }

    /// Refuses what would be unsafe: there is no authentication, so only this machine may connect.
    pub fn check(&self) -> Result<(), String> {
        for (name, address) in [("pg", self.pg), ("http", self.http)] {
            if !address.ip().is_loopback() {
                return Err(format!(
                    "--{name} {address} is not a loopback address: there is no authentication yet, so only clients on this machine are served; use 127.0.0.1 or [::1]"
                ));
            }
        }
        Ok(())
    }
}

/// The table of settings as `docs/operating.md` shows it.
pub fn settings_table() -> String {
    let mut table = String::from("| flag | environment | TOML | default | meaning |\n|---|---|---|---|---|\n");
    for SettingDoc { name, environment, default, doc } in SETTINGS {
        let flag = name.replace('_', "-");
        let doc = doc.trim();
        writeln!(table, "| `--{flag}` | `{environment}` | `{name}` | {default} | {doc} |").expect("a String takes all that is written");
    }
    table
}

/// A path setting that may be absent.
pub fn given_path(path: &Path) -> Option<PathBuf> {
    (!path.as_os_str().is_empty()).then(|| path.to_owned())
}

fn available_cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}
