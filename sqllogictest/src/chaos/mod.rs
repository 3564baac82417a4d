//! `./x chaos`: a server under writes on four connections is killed (`kill -9`) again and again, and nothing may be lost.
//!
//! - [`writer`]: one connection: random INSERT, UPDATE, DELETE, COPY and transactions over rows of its own.
//! - [`ledger`]: what it was told is done, and what was in flight when the server died.
//!
//! After each kill the server starts on the same data. Then, for each writer: every acknowledged row is there once, and the
//! statement in flight was done wholly or not at all; and every view equals its query. When to kill is counted in answers, not
//! in time; the seed decides it and all that is written.

mod ledger;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::Notify;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use self::ledger::{Outcome, Rows};
use self::writer::Writer;
use crate::server::{Program, Server};

/// What a run is made of.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How often the server is killed.
    pub n_kills: u32,
    /// Decides what is written and when the server is killed.
    pub seed: u64,
    /// Flag `--workers` of the server.
    pub n_workers: usize,
}

/// What a run has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Kills.
    pub n_kills: u32,
    /// Statements and transactions that were answered.
    pub n_acknowledged: u64,
    /// Statements in flight at a kill that turned out to be done.
    pub n_unanswered_done: u64,
    /// Statements in flight at a kill of which nothing was done.
    pub n_unanswered_not: u64,
    /// Rows there at the end.
    pub n_rows: u64,
    /// Views compared with their queries.
    pub n_comparisons: u64,
}

/// Connections that write at once.
pub const N_WRITERS: i64 = 4;

const RELATIONS: &str = "\
CREATE TABLE accounts (id bigint PRIMARY KEY, owner bigint, v bigint);
CREATE TABLE notes (writer bigint, n bigint);
CREATE STREAM events (writer bigint, n bigint, v bigint)";

/// Views by name and query; the last reads another view.
const VIEWS: &[(&str, &str)] = &[
    ("totals", "SELECT owner, count(*) AS n, sum(v) AS total, min(v) AS least FROM accounts GROUP BY owner"),
    ("noted", "SELECT a.id, a.v, n.writer FROM accounts a JOIN notes n ON a.id = n.n"),
    ("unnoted", "SELECT id, v FROM accounts WHERE id NOT IN (SELECT n FROM notes WHERE n IS NOT NULL)"),
    ("top", "SELECT id, v FROM accounts ORDER BY v DESC, id LIMIT 10"),
    ("by_writer", "SELECT writer, count(*) AS n, sum(v) AS total FROM events GROUP BY writer"),
    ("remainders", "SELECT DISTINCT v % 7 AS remainder FROM events"),
    ("grand_total", "SELECT sum(n) AS n, sum(total) AS total FROM totals"),
];

/// Runs it; `Err` says what was lost, doubled or wrong.
pub async fn run(program: Program, plan: Plan, tell: &dyn Fn(String)) -> Result<Report, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let workers = plan.n_workers.to_string();
    let mut server = Server::start(program, folder.path(), &["--workers", &workers]).map_err(|error| error.to_string())?;
    let outcome = under_kills(&mut server, plan, tell).await;
    outcome.map_err(|failure| format!("seed {}: {failure}\nthe server's log ends with:\n{}", plan.seed, server.log_tail()))
}

async fn under_kills(server: &mut Server, plan: Plan, tell: &dyn Fn(String)) -> Result<Report, String> {
    let client = connect(server).await?;
    execute(&client, RELATIONS).await?;
    for (name, query) in VIEWS {
        execute(&client, &format!("CREATE MATERIALIZED VIEW {name} AS {query}")).await?;
    }
    let mut random = StdRng::seed_from_u64(plan.seed);
    let mut writers: Vec<Writer> = (0..N_WRITERS).map(|number| Writer::new(number, random.random())).collect();
    let mut report = Report::default();
    for round in 1..=plan.n_kills {
        let until_kill = random.random_range(5..200);
        let answered = write_until_killed(server, &mut writers, until_kill).await?;
        report.n_kills += 1;
        report.n_acknowledged += answered;
        let client = connect(server).await?;
        for writer in &mut writers {
            let was_unanswered = writer.ledger.unanswered.is_some();
            let found = rows_of(&client, writer.number).await?;
            let settled = writer.ledger.settle(found);
            match settled.map_err(|error| format!("kill {round}, writer {}: {error}", writer.number))? {
                Outcome::Done => report.n_unanswered_done += 1,
                Outcome::Not => report.n_unanswered_not += u64::from(was_unanswered),
            }
        }
        report.n_rows =
            count(&client, "SELECT count(*) FROM (SELECT id FROM accounts UNION ALL SELECT n FROM notes UNION ALL SELECT n FROM events)")
                .await?;
        let expected: u64 = writers.iter().map(|writer| writer.ledger.acknowledged.count()).sum();
        if report.n_rows != expected {
            return Err(format!("kill {round}: {} rows are there and {expected} were written", report.n_rows));
        }
        report.n_comparisons += compare_views(&client).await.map_err(|error| format!("kill {round}: {error}"))?;
        tell(format!(
            "kill {round}: {answered} statements acknowledged, {} rows, {} views equal their queries",
            report.n_rows,
            VIEWS.len()
        ));
    }
    Ok(report)
}

/// Lets all writers write until `until_kill` statements were answered, kills the server and starts it again. Returns the
/// answers, those included that came between the decision and the kill.
async fn write_until_killed(server: &mut Server, writers: &mut Vec<Writer>, until_kill: u64) -> Result<u64, String> {
    let n_answered = Arc::new(AtomicU64::new(0));
    let reached = Arc::new(Notify::new());
    let mut tasks = Vec::new();
    for mut writer in writers.drain(..) {
        let client = connect(server).await?;
        let (n_answered, reached) = (Arc::clone(&n_answered), Arc::clone(&reached));
        let answered = move || {
            if n_answered.fetch_add(1, Ordering::Relaxed) + 1 == until_kill {
                reached.notify_one();
            }
        };
        tasks.push(tokio::spawn(async move {
            let ended = writer.write_until_the_connection_ends(&client, &answered).await;
            (writer, ended)
        }));
    }
    // A writer that fails stops early, and then the number may never be reached.
    let mut first_end = futures::future::select_all(tasks);
    let early = tokio::select! {
        () = reached.notified() => None,
        (ended, _, _) = &mut first_end => Some(ended.map_err(|error| error.to_string())?),
    };
    if let Some((writer, ended)) = early {
        return Err(format!(
            "writer {} stopped before the kill: {}",
            writer.number,
            ended.err().unwrap_or_else(|| "connection lost".into())
        ));
    }
    server.kill_and_restart().map_err(|error| error.to_string())?;
    for task in first_end.into_inner() {
        let (writer, ended) = task.await.map_err(|error| error.to_string())?;
        ended.map_err(|error| format!("writer {}: {error}", writer.number))?;
        writers.push(writer);
    }
    writers.sort_by_key(|writer| writer.number);
    Ok(n_answered.load(Ordering::Relaxed))
}

async fn compare_views(client: &Client) -> Result<u64, String> {
    for (name, query) in VIEWS {
        let (mut view, mut batch) = (rows(client, &format!("SELECT * FROM {name}")).await?, rows(client, query).await?);
        view.sort_unstable();
        batch.sort_unstable();
        if view != batch {
            let differs = view.iter().zip(&batch).find(|(view, batch)| view != batch);
            return Err(format!("view {name} has {} rows and its query {}; first difference {differs:?}", view.len(), batch.len()));
        }
    }
    Ok(VIEWS.len() as u64)
}

/// The rows of one writer, as the server has them.
async fn rows_of(client: &Client, writer: i64) -> Result<Rows, String> {
    let mut found = Rows::default();
    for row in rows(client, &format!("SELECT id, v FROM accounts WHERE owner = {writer}")).await? {
        let [id, v] = numbers(&row)?;
        if found.accounts.insert(id, v).is_some() {
            return Err(format!("account {id} is there twice"));
        }
    }
    for row in rows(client, &format!("SELECT n, count(*) FROM notes WHERE writer = {writer} GROUP BY n")).await? {
        let [n, times] = numbers(&row)?;
        found.notes.insert(n, times);
    }
    for row in rows(client, &format!("SELECT n, v, count(*) FROM events WHERE writer = {writer} GROUP BY n, v")).await? {
        let [n, v, times] = numbers(&row)?;
        found.events.insert((n, v), times);
    }
    Ok(found)
}

fn numbers<const N: usize>(row: &[Option<String>]) -> Result<[i64; N], String> {
    let values: Option<Vec<i64>> = row.iter().map(|cell| cell.as_ref()?.parse().ok()).collect();
    values.and_then(|values| values.try_into().ok()).ok_or_else(|| format!("{row:?} is not a row of {N} numbers"))
}

async fn count(client: &Client, query: &str) -> Result<u64, String> {
    let [n] = numbers(&rows(client, query).await?.concat())?;
    Ok(n as u64)
}

async fn rows(client: &Client, query: &str) -> Result<Vec<Vec<Option<String>>>, String> {
    let messages = client.simple_query(query).await.map_err(|error| format!("{query}: {error:?}"))?;
    let row = |message| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|cell| row.get(cell).map(str::to_owned)).collect()),
        _ => None,
    };
    Ok(messages.into_iter().filter_map(row).collect())
}

async fn execute(client: &Client, sql: &str) -> Result<(), String> {
    client.batch_execute(sql).await.map_err(|error| format!("{sql}: {error:?}"))
}

async fn connect(server: &Server) -> Result<Client, String> {
    let (client, connection) = tokio_postgres::connect(&server.pg_url(), NoTls).await.map_err(|error| format!("connecting: {error:?}"))?;
    // It ends with an error when the server is killed, which the statement in flight tells of.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(client)
}
