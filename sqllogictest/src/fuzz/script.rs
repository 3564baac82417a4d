//! One script in one way: its statements one after another, and after each the comparisons of each view with its query and with
//! the sum of the changes that a subscriber got.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use super::follower::Follower;
use super::history::Statement;
use super::reach::{Construct, Taken, operator_name};
use super::{N_ROWS_AT_MOST, Report};
use crate::connection::{Connection, Error, SharedServer, Table};
use crate::mode::Mode;
use crate::oracle::{Answers, Compared, Oracle};
use crate::server::{DATA_FOLDER, Program, Server};

/// What all ways of running a script share.
pub(super) struct Shared<'a> {
    pub(super) program: &'a Program,
    pub(super) report: &'a RefCell<Report>,
    pub(super) answers: Answers,
    /// Whether to read the views now and then for the transcript, and not at the end alone.
    pub(super) reads: bool,
}

/// A statement or query of a script that was run, with its answer.
pub(super) struct Said {
    pub(super) sql: String,
    pub(super) answer: Option<Table>,
    pub(super) beyond_postgres: bool,
}

/// Errors that a write may have: it is refused as a whole.
const REFUSED_WRITES: [&str; 2] = ["23505", "21000"];

/// Statements from one read of the views to the next.
const READ_EVERY: usize = 5;

struct Script<'a> {
    server: SharedServer,
    connection: Connection,
    oracle: Oracle,
    /// Reads the counters.
    observer: Connection,
    views: BTreeMap<String, View>,
    report: &'a RefCell<Report>,
    transcript: Vec<Said>,
    _folder: tempfile::TempDir,
}

struct View {
    follower: Follower,
    constructs: BTreeSet<Construct>,
    beyond_postgres: bool,
    /// What its operators have taken in so far.
    taken: Taken,
}

/// How a script failed.
pub(super) struct Failed {
    /// What differs, and after which statement.
    pub(super) text: String,
    /// Statements up to that one.
    pub(super) n_statements: usize,
}

/// Runs a script; in one of the ways the server runs the queries itself, too.
pub(super) async fn run(shared: &Shared<'_>, mode: Mode, asks_server: bool, statements: &[Statement]) -> Result<Vec<Said>, Failed> {
    let mut n_statements = 0;
    run_counted(shared, mode, asks_server, statements, &mut n_statements).await.map_err(|text| Failed { text, n_statements })
}

async fn run_counted(
    shared: &Shared<'_>,
    mode: Mode,
    asks_server: bool,
    statements: &[Statement],
    n_statements: &mut usize,
) -> Result<Vec<Said>, String> {
    let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let server = Server::start(shared.program.clone(), folder.path(), mode.server_flags()).map_err(|error| error.to_string())?;
    let server: SharedServer = Arc::new(Mutex::new(server));
    let connect = || Connection::new(server.clone(), Arc::default());
    let oracle = Oracle::new(connect(), &folder.path().join(DATA_FOLDER));
    let oracle = oracle.with_answers(shared.answers.clone(), asks_server).with_rows_at_most(N_ROWS_AT_MOST);
    let mut script = Script {
        connection: connect(),
        oracle,
        observer: connect(),
        views: BTreeMap::new(),
        report: shared.report,
        transcript: Vec::new(),
        _folder: folder,
        server,
    };
    for statement in statements {
        *n_statements += 1;
        if let Err(error) = script.step(statement).await {
            return Err(format!("{error}\nafter: {}\n{}", statement.sql, script.panics()));
        }
        if shared.reads && statement.view.is_none() && n_statements.is_multiple_of(READ_EVERY) {
            script.read_views().await?;
        }
    }
    script.read_views().await?;
    Ok(script.transcript)
}

impl Script<'_> {
    async fn step(&mut self, statement: &Statement) -> Result<(), String> {
        match (self.connection.query(&statement.sql).await, &statement.view) {
            (Ok(_), Some(view)) => self.made(view, statement).await?,
            (Ok(_), None) => {}
            (Err(error), Some(_)) if is_refused(&error) => {
                self.report.borrow_mut().n_refused += 1;
                return Ok(());
            }
            (Err(error), None) if error.sqlstate().is_some_and(|state| REFUSED_WRITES.contains(&state)) => {
                if statement.sql.starts_with("BEGIN") {
                    self.connection.query("ROLLBACK").await.map_err(|error| error.to_string())?;
                }
                return self.compare().await;
            }
            (Err(error), _) => return Err(error.to_string()),
        }
        let (sql, beyond_postgres) = (statement.sql.clone(), statement.beyond_postgres);
        self.transcript.push(Said { sql, answer: None, beyond_postgres });
        self.compare().await
    }

    async fn made(&mut self, name: &str, statement: &Statement) -> Result<(), String> {
        let follower = Follower::of(self.server.clone(), name).await?;
        let (constructs, beyond_postgres) = (statement.constructs.clone(), statement.beyond_postgres);
        self.views.insert(name.into(), View { follower, constructs, beyond_postgres, taken: Taken::new() });
        self.report.borrow_mut().n_views += 1;
        Ok(())
    }

    async fn compare(&mut self) -> Result<(), String> {
        let Compared { views, .. } = self.oracle.compare().await?;
        if views.is_empty() {
            return Ok(());
        }
        let (epoch, mut taken) = self.observe().await?;
        for compared in views {
            let view = self.views.get_mut(&compared.name).ok_or_else(|| format!("there is a view {} that nobody made", compared.name))?;
            view.follower.compare(epoch, &compared.rows).await?;
            self.report.borrow_mut().n_cut_off += view.follower.take_n_cut_off();
            let now = taken.remove(&compared.name).unwrap_or_default();
            let before = std::mem::replace(&mut view.taken, now);
            let since = view.taken.iter().map(|(operator, (n_rows, n_retractions))| {
                let (rows_before, retractions_before) = before.get(operator).copied().unwrap_or_default();
                (operator.clone(), (n_rows - rows_before, n_retractions - retractions_before))
            });
            self.report.borrow_mut().reach.compared(!compared.rows.is_empty(), &view.constructs, &since.collect());
        }
        Ok(())
    }

    /// The newest epoch, and what the operators of each view have taken in so far. No one but the script writes, and the views
    /// were read: all have closed that epoch.
    async fn observe(&mut self) -> Result<(u64, BTreeMap<String, Taken>), String> {
        let sql = "SELECT epoch FROM thalweg.jobs WHERE kind = 'materialized view'; \
                   SELECT relation, operator, rows_in, retractions_in FROM thalweg.operators";
        let (tables, _) = self.observer.query(sql).await.map_err(|error| format!("the counters cannot be read: {error}"))?;
        let [epochs, operators] = tables.as_slice() else { return Err("two queries return two tables".into()) };
        let text = |row: &[Option<String>], column: usize| row[column].clone().unwrap_or_default();
        let number = |row: &[Option<String>], column| text(row, column).parse::<u64>().expect("a counter is a number");
        // A view over nothing that changes has closed all epochs.
        let epochs = epochs.rows.iter().map(|row| number(row, 0)).filter(|epoch| *epoch < i64::MAX as u64);
        let mut taken: BTreeMap<String, Taken> = BTreeMap::new();
        for row in &operators.rows {
            let sum = taken.entry(text(row, 0)).or_default().entry(operator_name(&text(row, 1))).or_default();
            *sum = (sum.0 + number(row, 2), sum.1 + number(row, 3));
        }
        Ok((epochs.min().unwrap_or(0), taken))
    }

    /// Notes the rows of each view.
    async fn read_views(&mut self) -> Result<(), String> {
        for (name, View { beyond_postgres, .. }) in &self.views {
            let sql = format!("SELECT * FROM {name}");
            let (mut tables, _) = self.connection.query(&sql).await.map_err(|error| error.to_string())?;
            self.transcript.push(Said { sql, answer: tables.pop(), beyond_postgres: *beyond_postgres });
        }
        Ok(())
    }

    fn panics(&self) -> String {
        let log = self.server.lock().expect("no holder of the server panics").log_tail();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("panicked") || line.contains("ERROR")).collect();
        lines.join("\n")
    }
}

/// True for what is not supported, and for a view over one that is not there for that reason.
fn is_refused(error: &Error) -> bool {
    error.sqlstate().is_some_and(|state| ["0A000", "42P01"].contains(&state))
}
