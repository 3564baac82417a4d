//! `./x fuzz`: random queries as views over random histories. After each statement each view must equal its query, in batch in
//! this process and ad hoc on the server, and the sum of the changes that a subscriber got.
//!
//! - [`history`]: one script: relations with nulls and few distinct values, views, changes in statements and transactions.
//! - [`query`], [`from`], [`expression`], [`aggregate`], [`window`], [`recursion`], [`values`]: the views' queries.
//! - [`script`]: a script in one way; it is run in each of [`Mode::FUZZ`], or the first of them.
//! - [`follower`]: a view's subscriber.
//! - [`reach`]: which operators and constructs must be reached, and how often they were.
//!
//! A seed decides a script. What fails is shown as a script of SQL without the statements that it does not need.
//! What a generated query leaves open is nothing (see [`query`]), so the same scripts can be run on PostgreSQL: `--write` puts
//! them into a folder, with the answers as they came, for `check_with_postgres.py`.

mod aggregate;
mod expression;
mod follower;
mod from;
mod history;
mod query;
pub mod reach;
mod recursion;
mod script;
mod values;
mod window;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::connection::Table;
use crate::mode::Mode;
use crate::oracle::{Answers, TOO_MANY_ROWS};
use crate::server::Program;
use history::Statement;
use reach::Reach;
use script::{Said, Shared};

/// What a run is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Decides the first script; those after it have the numbers after it.
    pub seed: u64,
    /// How many scripts, at most.
    pub n_scripts: u64,
    /// No script is started later.
    pub time: Option<Duration>,
    /// A script that takes longer, in all ways, is cut short and counted as such: none may keep a lane for long.
    pub limit: Option<Duration>,
    /// Where to write the scripts.
    pub folder: Option<PathBuf>,
    /// Whether to go on after a failure.
    pub keep_going: bool,
    /// In how many of [`Mode::FUZZ`] a script is run: the first ones.
    pub n_ways: usize,
}

/// What a run has seen.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Scripts run to their end, each in all ways.
    pub n_scripts: u64,
    /// Views made, in each way.
    pub n_views: u64,
    /// Queries that are not supported (0A000).
    pub n_refused: u64,
    /// Subscribers that read more slowly than their view changed, and began anew.
    pub n_cut_off: u64,
    /// Seeds of scripts that were not at their end in time, or asked for too much memory. What they compared counts.
    pub cut_short: Vec<u64>,
    /// Comparisons of a view at an epoch, and what they reached.
    pub reach: Reach,
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

/// Scripts at one time: while the server of one works, another's answers are compared.
const N_LANES: usize = 2;

/// Rows of a view that are compared, at most: joins of joins may have millions.
const N_ROWS_AT_MOST: usize = 50_000;

/// What a script fails with that asks too much of this machine. It is cut short and counted as such.
const ASKS_TOO_MUCH: [&str; 3] = [TOO_MANY_ROWS, "out of memory for queries", "Resources exhausted"];

/// For making a failing script smaller.
const SMALLER_LIMIT: Duration = Duration::from_secs(60);

/// How often a run tells how far it is.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// A run of scripts.
struct Run<'a> {
    program: &'a Program,
    plan: &'a Plan,
    say: &'a dyn Fn(&str),
    started: Instant,
    said: Cell<Instant>,
    n_begun: Cell<u64>,
    report: RefCell<Report>,
    failures: RefCell<Vec<Failure>>,
}

/// Runs scripts until one fails, or to the end of the plan.
pub async fn run(program: &Program, plan: &Plan, say: &dyn Fn(&str)) -> (Report, Vec<Failure>) {
    let now = Instant::now();
    let (report, failures) = (RefCell::default(), RefCell::default());
    let run = Run { program, plan, say, started: now, said: Cell::new(now), n_begun: Cell::new(0), report, failures };
    futures::future::join_all((0..N_LANES).map(|_| run.lane())).await;
    (run.report.into_inner(), run.failures.into_inner())
}

impl Run<'_> {
    async fn lane(&self) {
        while let Some(seed) = self.next_seed() {
            match self.script(seed).await {
                Ok(()) => {}
                Err(text) => {
                    let failure = Failure { seed, text };
                    (self.say)(&format!("FAILED: {failure}\n"));
                    self.failures.borrow_mut().push(failure);
                }
            }
            if self.said.get().elapsed() >= SAY_EVERY {
                self.said.set(Instant::now());
                (self.say)(&self.line());
            }
        }
    }

    fn line(&self) -> String {
        let (report, n_failures) = (self.report.borrow(), self.failures.borrow().len());
        let minutes = self.started.elapsed().as_secs_f64() / 60.0;
        format!("{minutes:.1} minutes, {} scripts, {n_failures} differences; {}", report.n_scripts, report.reach.line())
    }

    fn next_seed(&self) -> Option<u64> {
        let (plan, n) = (self.plan, self.n_begun.get());
        let is_over = n >= plan.n_scripts
            || plan.time.is_some_and(|time| self.started.elapsed() >= time)
            || (!plan.keep_going && !self.failures.borrow().is_empty());
        self.n_begun.set(n + 1);
        (!is_over).then(|| plan.seed.wrapping_add(n))
    }

    /// A script in all ways.
    async fn script(&self, seed: u64) -> Result<(), String> {
        let statements = history::script(seed);
        let reads = self.plan.folder.is_some();
        let shared = Shared { program: self.program, report: &self.report, answers: Answers::default(), reads };
        let n_ways = self.plan.n_ways as u64;
        let begun = Instant::now();
        let left = || self.plan.limit.map_or(Duration::MAX, |limit| limit.saturating_sub(begun.elapsed()));
        for (way, mode) in (0..n_ways).zip(Mode::FUZZ) {
            let asks_server = way == seed % n_ways;
            match tokio::time::timeout(left(), script::run(&shared, mode, asks_server, &statements)).await {
                Ok(Ok(transcript)) if way == 0 => self.write(seed, &transcript)?,
                Ok(Ok(_)) => {}
                Ok(Err(failure)) => {
                    let first = failure.text.lines().next().unwrap_or_default();
                    if ASKS_TOO_MUCH.iter().any(|known| first.contains(known)) {
                        self.cut_short(seed, mode, first);
                        return Ok(());
                    }
                    (self.say)(&format!("after {:.0?} seed {seed} fails in mode {}: {first}", self.started.elapsed(), mode.name()));
                    let (statements, failure) = self.smaller(mode, statements, failure).await;
                    let script: Vec<&str> = statements.iter().map(|statement| statement.sql.as_str()).collect();
                    return Err(format!("mode {}: {failure}\n\n{};", mode.name(), script.join(";\n")));
                }
                Err(_) => {
                    self.cut_short(seed, mode, "its time is over");
                    return Ok(());
                }
            }
        }
        self.report.borrow_mut().n_scripts += 1;
        Ok(())
    }

    fn cut_short(&self, seed: u64, mode: Mode, why: &str) {
        (self.say)(&format!("seed {seed} is cut short in mode {}: {why}", mode.name()));
        self.report.borrow_mut().cut_short.push(seed);
    }

    /// Leaves statements out, many at a time and then fewer, as long as the script fails in the same way.
    async fn smaller(&self, mode: Mode, mut statements: Vec<Statement>, failed: script::Failed) -> (Vec<Statement>, String) {
        let (until, mut failure) = (tokio::time::Instant::now() + SMALLER_LIMIT, failed.text);
        statements.truncate(failed.n_statements);
        // Its first line without names and numbers that differ: "view … is not its query in batch", or an error's text.
        let kind = |failure: &str| {
            let line = failure.lines().next().unwrap_or_default().split([':', '"']).take(2).collect::<String>();
            line.chars().filter(|letter| !letter.is_ascii_digit()).collect::<String>()
        };
        let mut n_left_out = statements.len() / 2;
        while n_left_out > 0 {
            let mut end = statements.len();
            while end > 0 {
                let begin = end.saturating_sub(n_left_out);
                let mut fewer = statements.clone();
                fewer.drain(begin..end);
                let uncounted = RefCell::default();
                let shared = Shared { program: self.program, report: &uncounted, answers: Answers::default(), reads: false };
                match tokio::time::timeout_at(until, script::run(&shared, mode, true, &fewer)).await {
                    Err(_) => return (statements, failure),
                    Ok(Err(same)) if kind(&same.text) == kind(&failure) => {
                        fewer.truncate(same.n_statements);
                        (statements, failure) = (fewer, same.text);
                    }
                    Ok(_) => {}
                }
                end = begin.min(statements.len());
            }
            n_left_out /= 2;
        }
        (statements, failure)
    }

    fn write(&self, seed: u64, transcript: &[Said]) -> Result<(), String> {
        let Some(folder) = &self.plan.folder else { return Ok(()) };
        write(folder, seed, transcript)
    }
}

fn write(folder: &Path, seed: u64, transcript: &[Said]) -> Result<(), String> {
    let mut text = String::new();
    for Said { sql, answer, beyond_postgres } in transcript {
        if *beyond_postgres {
            text.push_str("onlyif thalweg\n");
        }
        match answer {
            None => text.push_str(&format!("statement ok\n{sql}\n\n")),
            Some(table) => {
                let types = "T".repeat(table.columns.len());
                text.push_str(&format!("query {types} rowsort\n{sql}\n----\n{}\n\n", lines(table).join("\n")));
            }
        }
    }
    std::fs::write(folder.join(format!("{seed}.slt")), text).map_err(|error| error.to_string())
}

/// Rows as scripts have them, sorted.
fn lines(table: &Table) -> Vec<String> {
    let cell = |cell: &Option<String>| match cell.as_deref() {
        None => "NULL".to_owned(),
        Some("") => "(empty)".to_owned(),
        Some(text) => text.to_owned(),
    };
    let mut lines: Vec<String> = table.rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join(" ")).collect();
    lines.sort();
    lines
}
