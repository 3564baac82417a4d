//! `thalweg sql`: the whole engine in this process, for a script or a pipe, without sockets.
//!
//! Each statement is a message of its own, as in `psql -f`. Data lives in a temporary folder that is removed at the end, unless
//! `--data` says where.

use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;

use bytes::Bytes;
use engine::engine::Notice;
use engine::plan::statement::Parsed;
use engine::{Engine, Error, Result};

use super::{Script, describe};
use crate::config::Config;
use crate::encode::{aligned, copy::CopyEncoder};
use crate::serve::socket_runtime;
use crate::session::notify::Channels;
use crate::session::settings::Settings;
use crate::session::{Outcome, Session};
use crate::threads::QueryRuntimes;

/// Runs a script. The error is ready to be printed.
pub fn run(mut config: Config, temporary: bool, script: &Script) -> Result<(), String> {
    let text = script.text().map_err(|error| describe(&Error::from(error)))?;
    let folder = temporary.then(TemporaryFolder::new).transpose().map_err(|error| describe(&Error::from(error)))?;
    if let Some(folder) = &folder {
        config.data = folder.path.to_string_lossy().into_owned();
    }
    let failed = |error: std::io::Error| describe(&Error::from(error));
    let (sockets, queries) = (socket_runtime().map_err(failed)?, QueryRuntimes::start(&config).map_err(failed)?);
    let done = sockets.block_on(async {
        let engine = Engine::open(config.engine()).await.map_err(|error| describe(&error))?;
        let session = Session::new(engine.clone(), queries.threads(), Settings::default(), Channels::default());
        let ran = run_script(session, &text, script.keep_going).await;
        engine.shutdown().await.map_err(|error| describe(&error))?;
        ran
    });
    queries.shutdown_background();
    done
}

impl Script {
    fn text(&self) -> std::io::Result<String> {
        match (&self.file, &self.command) {
            (Some(file), _) => std::fs::read_to_string(file),
            (None, Some(command)) => Ok(command.clone()),
            (None, None) => {
                if std::io::stdin().is_terminal() {
                    eprintln!("reading SQL from the terminal up to Ctrl-D; -f FILE or -c 'SQL' give it otherwise");
                }
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).map(|_| text)
            }
        }
    }
}

async fn run_script(mut session: Session, text: &str, keep_going: bool) -> Result<(), String> {
    let statements = session.parse(text).await.map_err(|error| describe_at(&error, text))?;
    let mut first_error = None;
    for parsed in &statements {
        session.begin_message(1);
        let ran = run_statement(&mut session, parsed).await;
        let ran = match ran {
            Ok(()) => session.end_message().await,
            Err(error) => {
                session.fail_message();
                Err(error)
            }
        };
        let Err(error) = ran else { continue };
        let message = describe_at(&error, text);
        if !keep_going {
            return Err(message);
        }
        eprintln!("{message}");
        first_error.get_or_insert_with(|| "some statements failed".to_owned());
    }
    first_error.map_or(Ok(()), Err)
}

async fn run_statement(session: &mut Session, parsed: &Parsed) -> Result<()> {
    let mut out = std::io::stdout();
    match session.run(parsed).await? {
        Outcome::Empty => {}
        Outcome::Done { tag, notices } => {
            print_notices(&notices);
            writeln!(out, "{tag}")?;
        }
        Outcome::Rows { schema, rows, tag, notices, .. } => {
            print_notices(&notices);
            let table = aligned::table(&schema, &rows.collect().await?)?;
            writeln!(out, "{table}")?;
            let tag = tag.after(0);
            if !tag.starts_with("SELECT") && !tag.starts_with("SHOW") && !tag.starts_with("EXPLAIN") {
                writeln!(out, "{tag}")?;
            }
        }
        Outcome::CopyIn(copying) => {
            let mut data = Vec::new();
            std::io::stdin().read_to_end(&mut data)?;
            if !copying.push(Bytes::from(data)).await {
                return Err(copying.into_error().await);
            }
            if let Outcome::Done { tag, notices } = session.finish_copy(copying).await? {
                print_notices(&notices);
                writeln!(out, "{tag}")?;
            }
        }
        Outcome::CopyOut { schema, mut rows, format } => {
            let encoder = CopyEncoder::new(format, schema.fields().len(), session.style());
            out.write_all(&encoder.header(&schema).unwrap_or_default())?;
            while let Some(batch) = rows.next().await {
                for line in encoder.rows(&batch?)? {
                    out.write_all(&line)?;
                }
                out.flush()?;
            }
            out.write_all(&encoder.trailer().unwrap_or_default())?;
        }
    }
    Ok(())
}

fn print_notices(notices: &[Notice]) {
    for notice in notices {
        eprintln!("{}: {}", notice.severity, notice.error.message);
    }
}

/// The error with the line of the script it points at.
fn describe_at(error: &Error, text: &str) -> String {
    let Some(position) = error.position else { return describe(error) };
    let before: String = text.chars().take(position.saturating_sub(1)).collect();
    let line_number = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|char| *char != '\n').count();
    let line = text.lines().nth(line_number - 1).unwrap_or_default();
    let label = format!("LINE {line_number}: ");
    format!("{}\n{label}{line}\n{:width$}^", describe(error), "", width = label.len() + column)
}

/// A folder for one run.
struct TemporaryFolder {
    path: PathBuf,
}

impl TemporaryFolder {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("thalweg-sql-{}-{:08x}", std::process::id(), rand::random::<u32>()));
        std::fs::create_dir(&path)?;
        Ok(Self { path })
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(%error, folder = %self.path.display(), "the temporary folder stays");
        }
    }
}
