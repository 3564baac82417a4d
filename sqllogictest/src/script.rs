//! One `.slt` file, run from its first record to its last against a server of its own on a fresh data folder.
//!
//! After each statement that may have changed something, and outside of transactions, the oracle compares every view; in the
//! restart mode the server is killed before that. What the file says is in sqllogictest's format; beside it these comments count:
//!
//! - `# oracle v: SELECT …` is the query that v equals over the rows whose expressions do not fail.
//! - `# oracle off: reason` ends the comparisons, `# oracle on` resumes them.
//! - `# covers: construct insert retract update` (see [`crate::coverage`]).

use std::future::{Ready, ready};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use sqllogictest::{DefaultColumnType, MakeConnection, Record, RecordOutput, Runner, parse_file};

use crate::connection::{Connection, Error, SharedServer};
use crate::mode::Mode;
use crate::oracle::Oracle;
use crate::server::{DATA_FOLDER, Program, Server};

/// What running a file did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Statements and queries run.
    pub n_records: usize,
    /// Comparisons of a view with its query, none of which differed.
    pub n_comparisons: usize,
    /// Times the server was killed.
    pub n_restarts: usize,
}

/// Runs a file in a mode. The error is the text to show: where, what was expected, what came.
pub async fn run(program: Program, file: &Path, mode: Mode) -> Result<Report, String> {
    let records = parse_file::<DefaultColumnType>(file).map_err(|error| error.to_string())?;
    let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let server = Server::start(program, folder.path(), mode.server_flags()).map_err(|error| error.to_string())?;
    let server: SharedServer = Arc::new(Mutex::new(server));
    let result = Script::new(server.clone(), &folder.path().join(DATA_FOLDER), mode).run_all(records).await;
    result.map_err(|failure| {
        let log = server.lock().expect("no holder of the server panics").log_tail();
        if log.is_empty() { failure } else { format!("{failure}\nthe server's log ends:\n{log}") }
    })
}

/// Makes the connections that a script names.
struct Connections {
    server: SharedServer,
    n_transactions: Arc<AtomicUsize>,
}

impl MakeConnection for Connections {
    type Conn = Connection;
    type MakeFuture = Ready<Result<Connection, Error>>;

    fn make(&mut self) -> Self::MakeFuture {
        ready(Ok(Connection::new(self.server.clone(), self.n_transactions.clone())))
    }
}

struct Script {
    server: SharedServer,
    mode: Mode,
    runner: Runner<Connection, Connections>,
    /// Blocks open on any connection.
    n_transactions: Arc<AtomicUsize>,
    oracle: Oracle,
    report: Report,
}

impl Script {
    fn new(server: SharedServer, data: &Path, mode: Mode) -> Self {
        let n_transactions = Arc::new(AtomicUsize::new(0));
        let runner = Runner::new(Connections { server: server.clone(), n_transactions: n_transactions.clone() });
        let oracle = Oracle::new(Connection::new(server.clone(), Arc::default()), data);
        Self { server, mode, runner, n_transactions, oracle, report: Report::default() }
    }

    async fn run_all(mut self, records: Vec<Record<DefaultColumnType>>) -> Result<Report, String> {
        for record in records {
            match &record {
                Record::Comment(lines) => lines.iter().try_for_each(|line| self.oracle.directive(line))?,
                Record::Halt { loc } => return Err(format!("{loc}: halt is for debugging only")),
                Record::Sleep { loc, .. } => return Err(format!("{loc}: scripts do not sleep: use WAIT FOR")),
                Record::Statement { loc, sql, .. } => {
                    let (place, changes) = (loc.to_string(), may_change(sql));
                    self.apply(record, &place, changes).await?;
                }
                Record::Query { loc, sql, .. } => {
                    // INSERT … RETURNING is a query that changes something.
                    let (place, changes) = (loc.to_string(), may_change(sql));
                    self.apply(record, &place, changes).await?;
                }
                _ => {
                    self.runner.run_async(record).await.map_err(|error| error.display(false).to_string())?;
                }
            }
        }
        Ok(self.report)
    }

    async fn apply(&mut self, record: Record<DefaultColumnType>, place: &str, changes: bool) -> Result<(), String> {
        let output = self.runner.run_async(record).await.map_err(|error| error.display(false).to_string())?;
        if matches!(output, RecordOutput::Nothing) {
            return Ok(());
        }
        self.report.n_records += 1;
        if !changes || self.n_transactions.load(Ordering::Relaxed) > 0 {
            return Ok(());
        }
        if self.mode.restarts() {
            self.server.lock().expect("no holder of the server panics").kill_and_restart().map_err(|error| format!("{place}: {error}"))?;
            self.report.n_restarts += 1;
        }
        self.report.n_comparisons += self.oracle.compare().await.map_err(|difference| format!("{place}: {difference}"))?.n_comparisons;
        Ok(())
    }
}

/// False for statements that only read.
fn may_change(sql: &str) -> bool {
    let first = sql.split(|c: char| !c.is_ascii_alphabetic()).find(|word| !word.is_empty()).unwrap_or_default().to_ascii_lowercase();
    !["select", "with", "values", "show", "explain", "begin", "start", "set"].contains(&first.as_str())
}

impl std::ops::AddAssign for Report {
    fn add_assign(&mut self, other: Self) {
        self.n_records += other.n_records;
        self.n_comparisons += other.n_comparisons;
        self.n_restarts += other.n_restarts;
    }
}
