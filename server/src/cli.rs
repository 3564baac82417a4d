//! The command line: `thalweg serve`, `thalweg sql`, `thalweg version`.

mod sql;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use engine::Error;
use tracing_subscriber::EnvFilter;

use crate::config::{Config, Given, LogFormat};

/// Read when `--config` is absent and it is there.
const DEFAULT_CONFIG_FILE: &str = "thalweg.toml";

/// Thalweg, a SQL streaming database.
#[derive(Debug, Parser)]
#[command(name = "thalweg", version, about, disable_help_subcommand = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve Postgres and HTTP clients until SIGTERM or Ctrl-C
    Serve {
        #[command(flatten)]
        settings: Settings,
    },
    /// Run SQL without a server and print what it answers
    Sql {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        script: Script,
    },
    /// Print the version
    Version,
}

#[derive(Debug, clap::Args)]
struct Settings {
    #[command(flatten)]
    given: Given,
    /// TOML file with settings; flags and environment variables win over it [default: ./thalweg.toml if it is there]
    #[arg(long, env = "THALWEG_CONFIG")]
    config: Option<PathBuf>,
}

/// Where `thalweg sql` gets its statements; from stdin when nowhere else.
#[derive(Debug, clap::Args)]
pub(crate) struct Script {
    /// File with SQL
    #[arg(short, long, conflicts_with = "command")]
    file: Option<PathBuf>,
    /// SQL text
    #[arg(short, long)]
    command: Option<String>,
    /// Go on after an error (the exit code still tells of it)
    #[arg(long)]
    keep_going: bool,
}

/// Runs what the command line asks for.
pub fn run() -> ExitCode {
    let done = match CommandLine::parse().command {
        Command::Serve { settings } => settings.resolve().and_then(|config| {
            start_log(&config);
            crate::serve::run(config).map_err(|error| describe(&error))
        }),
        Command::Sql { settings, script } => {
            let embedded = settings.given.data.is_none();
            settings.resolve().and_then(|config| {
                start_log(&config);
                sql::run(config, embedded, &script)
            })
        }
        Command::Version => {
            println!("thalweg {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

impl Settings {
    fn resolve(self) -> Result<Config, String> {
        let file = match &self.config {
            Some(path) => Given::from_file(path)?,
            None if Path::new(DEFAULT_CONFIG_FILE).exists() => Given::from_file(Path::new(DEFAULT_CONFIG_FILE))?,
            None => Given::default(),
        };
        Ok(self.given.or(file).resolve())
    }
}

/// An error as psql prints it.
fn describe(error: &Error) -> String {
    let mut text = format!("ERROR: {}: {}", error.sqlstate, error.message);
    for (label, part) in [("DETAIL", &error.detail), ("HINT", &error.hint)] {
        if let Some(part) = part {
            text.push_str(&format!("\n{label}: {part}"));
        }
    }
    text
}

fn start_log(config: &Config) {
    let filter = EnvFilter::try_new(&config.log).unwrap_or_else(|error| {
        eprintln!("--log {}: {error}; logging at level info", config.log);
        EnvFilter::new("info")
    });
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}
