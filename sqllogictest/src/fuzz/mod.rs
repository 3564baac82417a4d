//! `./x fuzz`: random queries kept as views over random histories; after each statement each view must equal its query, in
//! batch in this process and ad hoc on the server.
//!
//! - [`history`]: one script: relations with nulls and few distinct values, views, changes in statements and transactions.
//! - [`query`], [`expression`]: the views' queries: joins, subqueries at any place, set operations, aggregates, windows, LIMIT.
//!
//! A seed decides a script. What fails is shown as a script of SQL without the statements that it does not need.
//! What a generated query leaves open is nothing (see [`query`]), so the same scripts can be run on PostgreSQL: `--write` puts
//! them into a folder, with the answers as they came, for `check_with_postgres.py`.

mod expression;
mod history;
mod query;
mod recursion;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::connection::{Connection, SharedServer, Table};
use crate::mode::Mode;
use crate::oracle::Oracle;
use crate::server::{DATA_FOLDER, Program, Server};

/// What a run is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Decides the first script; those after it have the numbers after it.
    pub seed: u64,
    /// How many scripts, at most.
    pub n_scripts: u64,
    /// No script is started later.
    pub time: Option<Duration>,
    /// Where to write the scripts.
    pub folder: Option<PathBuf>,
}

/// What a run has seen.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Scripts run.
    pub n_scripts: u64,
    /// Views made.
    pub n_views: u64,
    /// Queries that are not supported (0A000).
    pub n_refused: u64,
    /// Comparisons of a view with its query.
    pub n_comparisons: usize,
}

/// A script that failed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What it was made from.
    pub seed: u64,
    /// What differs, and the script.
    pub text: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}, {}", self.seed, self.text)
    }
}

/// Tries to make a failing script smaller at most.
const MAX_ATTEMPTS: usize = 60;

/// Runs scripts until one fails.
pub async fn run(program: Program, plan: &Plan, say: &dyn Fn(&str)) -> Result<Report, Failure> {
    let (started, mut report) = (Instant::now(), Report::default());
    for seed in plan.seed..plan.seed.saturating_add(plan.n_scripts) {
        if plan.time.is_some_and(|time| started.elapsed() >= time) {
            break;
        }
        let statements = history::script(&mut StdRng::seed_from_u64(seed));
        let mode = Mode::ALL[usize::try_from(seed % 4).expect("less than four")];
        let mut transcript = Vec::new();
        if let Err(failure) = run_script(&program, mode, &statements, &mut report, &mut transcript).await {
            let (statements, failure) = smaller(&program, mode, statements, failure).await;
            let text = format!("mode {}: {failure}\n\n{};", mode.name(), statements.join(";\n"));
            return Err(Failure { seed, text });
        }
        report.n_scripts += 1;
        if let Some(folder) = &plan.folder {
            write(folder, seed, &transcript).map_err(|text| Failure { seed, text })?;
        }
        if report.n_scripts % 20 == 0 {
            say(&format!("{} scripts, {} views, {} comparisons, 0 differences", report.n_scripts, report.n_views, report.n_comparisons));
        }
    }
    Ok(report)
}

/// A statement or query of a script that was written, with its answer.
struct Said {
    sql: String,
    answer: Option<Table>,
}

async fn run_script(
    program: &Program,
    mode: Mode,
    statements: &[String],
    report: &mut Report,
    transcript: &mut Vec<Said>,
) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let server = Server::start(program.clone(), folder.path(), mode.server_flags()).map_err(|error| error.to_string())?;
    let server: SharedServer = Arc::new(Mutex::new(server));
    let mut connection = Connection::new(server.clone(), Arc::default());
    let mut oracle = Oracle::new(Connection::new(server.clone(), Arc::default()), &folder.path().join(DATA_FOLDER));
    let mut views: Vec<String> = Vec::new();
    for sql in statements {
        let told = |error: String| {
            let log = server.lock().expect("no holder of the server panics").log_tail();
            let panics: Vec<&str> = log.lines().filter(|line| line.contains("panicked") || line.contains("ERROR")).collect();
            format!("{error}\nafter: {sql}\n{}", panics.join("\n"))
        };
        let made = sql.strip_prefix("CREATE MATERIALIZED VIEW ").and_then(|rest| rest.split(' ').next());
        match (connection.query(sql).await, made) {
            (Ok(_), Some(view)) => {
                report.n_views += 1;
                views.push(view.to_string());
            }
            (Err(error), Some(_)) if error.sqlstate() == Some("0A000") => {
                report.n_refused += 1;
                continue;
            }
            (Err(error), _) => return Err(told(error.to_string())),
            (Ok(_), None) => {}
        }
        transcript.push(Said { sql: sql.clone(), answer: None });
        report.n_comparisons += oracle.compare().await.map_err(told)?;
    }
    for view in views {
        let sql = format!("SELECT * FROM {view}");
        let (mut tables, _) = connection.query(&sql).await.map_err(|error| error.to_string())?;
        transcript.push(Said { sql, answer: tables.pop() });
    }
    Ok(())
}

/// Leaves statements out, one after another, as long as the script fails in the same way.
async fn smaller(program: &Program, mode: Mode, mut statements: Vec<String>, mut failure: String) -> (Vec<String>, String) {
    // Its first line without names that differ: "view … is not its query in batch", or an error's text.
    let kind = |failure: &str| failure.lines().next().unwrap_or_default().split([':', '"']).take(2).collect::<String>();
    let mut place = statements.len();
    for _ in 0..MAX_ATTEMPTS {
        let Some(last) = place.checked_sub(1) else { break };
        place = last;
        let mut fewer = statements.clone();
        fewer.remove(place);
        if let Err(same) = run_script(program, mode, &fewer, &mut Report::default(), &mut Vec::new()).await {
            if kind(&same) == kind(&failure) {
                (statements, failure) = (fewer, same);
            }
        }
    }
    (statements, failure)
}

fn write(folder: &Path, seed: u64, transcript: &[Said]) -> Result<(), String> {
    let mut text = String::new();
    for Said { sql, answer } in transcript {
        match answer {
            None => text.push_str(&format!("statement ok\n{sql}\n\n")),
            Some(table) => {
                let cell = |cell: &Option<String>| match cell.as_deref() {
                    None => "NULL".to_owned(),
                    Some("") => "(empty)".to_owned(),
                    Some(text) => text.to_owned(),
                };
                let mut lines: Vec<String> = table.rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join(" ")).collect();
                lines.sort();
                let types = "T".repeat(table.columns.len());
                text.push_str(&format!("query {types} rowsort\n{sql}\n----\n{}\n\n", lines.join("\n")));
            }
        }
    }
    std::fs::write(folder.join(format!("{seed}.slt")), text).map_err(|error| error.to_string())
}
