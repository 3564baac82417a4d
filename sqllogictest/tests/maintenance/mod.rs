//! The table "How constructs are maintained" in `docs/sql.md` is what the server does: every row has queries here, every query
//! is made a view, and what EXPLAIN and `thalweg.operators` say of it is compared with the row.
//!
//! Looked at: the kind of its operators (stateless, incremental, recompute), how many rows of state each keeps of tables whose
//! groups and rows are counted, and that nothing is kept once all rows are deleted. Every aggregate and window function that the
//! engine has, and every operator of `thalweg.operators`, is in some query.

mod examples;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use engine::plan::session::Session;
use examples::{EXAMPLES, Example};
use thalweg_sqllogictest::connection::{Connection, Table};
use thalweg_sqllogictest::fuzz::reach::{OPERATORS, WITHOUT_INPUT, operator_name};
use thalweg_sqllogictest::server::{Program, Server};

/// Rows of `t` and of the stream `e`; `u` has fewer.
const N_ROWS: u64 = 600;
const N_FEW_ROWS: u64 = 120;
/// Values of `g` and of `v`, which occur in all pairs.
const N_GROUPS: u64 = 20;
const N_VALUES: u64 = 6;

const BEGIN: &str = "<!-- constructs -->\n";
const END: &str = "<!-- /constructs -->";

/// One row of the table.
struct Row {
    construct: String,
    how: String,
    state: String,
}

fn rows() -> Vec<Row> {
    let document = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/sql.md")).expect("docs/sql.md is there");
    let (_, rest) = document.split_once(BEGIN).expect("the table's begin is marked");
    let (table, _) = rest.split_once(END).expect("the table's end is marked");
    table.lines().skip(2).map(Row::read).collect()
}

impl Row {
    fn read(line: &str) -> Self {
        let line = line.replace("\\|", "\u{1}");
        let cells: Vec<String> = line.trim_matches('|').split(" | ").map(|cell| cell.trim().replace('\u{1}', "|")).collect();
        let [construct, how, state] = cells.try_into().unwrap_or_else(|cells| panic!("a row has three cells: {cells:?}"));
        Self { construct, how, state }
    }

    /// The first word: `stateless`, `incremental`, `recompute` or `refused`.
    fn kind(&self) -> &str {
        self.how.split([',', ';', ' ', ':']).next().unwrap_or_default()
    }

    /// The most rows that an operator may keep for a query over the tables here, and the least that the largest keeps.
    fn bounds(&self, example: &str) -> (u64, u64) {
        let state = match self.state.split_once("; else ") {
            Some((first, _)) if is_append_only(example) => first.trim_start_matches("append-only: "),
            Some((_, other)) => other,
            None => &self.state,
        };
        let n_calls = example.split(" FROM ").next().unwrap_or_default().matches(" AS ").count() as u64;
        match state.split([';', ',']).next().unwrap_or_default() {
            "none" | "" => (0, 0),
            "one row per group" if state.contains("distinct values") => (N_GROUPS + N_GROUPS * N_VALUES, N_GROUPS * N_VALUES),
            "one row per group" | "one value per group" => (N_GROUPS, 1),
            "one row per distinct row" => (N_GROUPS * N_VALUES, N_GROUPS * N_VALUES),
            "all values of the group" | "the group's rows" => (N_GROUPS + n_calls * N_ROWS, n_calls * N_ROWS),
            "the first rows of each partition" => (N_GROUPS * 3, 1),
            "all input rows" => (N_ROWS + N_FEW_ROWS, if self.kind() == "recompute" { 0 } else { N_ROWS }),
            // A join in a subquery is one with the distinct bindings; what it joins may be a grouping, or have several rows for each.
            "rows of both inputs" => (3 * N_ROWS, if example.contains(" ALL ") { 1 } else { 100 }),
            "rows of the other input" => (3 * N_ROWS, N_ROWS),
            "one row per group of each set" => (N_GROUPS * N_VALUES, 1),
            "rows that will enter or leave" => (N_ROWS, N_ROWS),
            "what its terms keep" => (20 * N_ROWS, 0),
            other => panic!("{:?} of {:?} is not known to this test", other, self.construct),
        }
    }
}

/// Whether it reads nothing but the stream.
fn is_append_only(example: &str) -> bool {
    !example.contains(" t") && !example.contains(" u")
}

#[test]
fn every_row_has_queries_and_every_query_a_row() {
    let constructs: BTreeSet<String> = rows().into_iter().map(|row| row.construct).collect();
    let with_examples: BTreeSet<String> = EXAMPLES.iter().map(|(construct, _)| construct.to_string()).collect();
    assert_eq!(constructs, with_examples);
}

#[test]
fn every_function_over_rows_is_in_a_query() {
    let session = Session::new(1, Arc::default()).expect("a session");
    let state = session.at(0);
    let text: String = EXAMPLES.iter().flat_map(|(_, examples)| examples.iter()).map(|example| example.query).collect();
    let is_called = |name: &str| text.contains(&format!("{name}("));
    let aggregates = state.aggregate_functions().values().map(|function| (function.name().to_string(), function.aliases().to_vec()));
    let windows = state.window_functions().values().map(|function| (function.name().to_string(), function.aliases().to_vec()));
    let missing: BTreeSet<String> = aggregates
        .chain(windows)
        .filter(|(name, aliases)| !is_called(name) && !aliases.iter().any(|alias| is_called(alias)))
        .map(|(name, _)| name)
        .collect();
    assert!(missing.is_empty(), "functions that no query here calls: {missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_says_what_is_done() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = Program::from_environment(env!("CARGO_BIN_EXE_thalweg-sqllogictest"));
    let server = Server::start(program, folder.path(), &["--workers", "1"]).expect("a server");
    let mut database = Database { connection: Connection::new(Arc::new(Mutex::new(server)), Arc::new(AtomicUsize::new(0))) };
    database.set_up().await;
    let (mut wrong, mut operators) = (Vec::new(), BTreeSet::new());
    for row in rows() {
        let Some((_, examples)) = EXAMPLES.iter().find(|(construct, _)| *construct == row.construct) else { continue };
        for example in *examples {
            if let Err(reason) = database.try_example(&row, example, &mut operators).await {
                wrong.push(format!("{}: {}\n    {reason}", row.construct, example.query));
            }
        }
    }
    assert!(wrong.is_empty(), "{} queries differ from docs/sql.md:\n{}", wrong.len(), wrong.join("\n"));
    let missing: Vec<&&str> = OPERATORS.iter().chain(WITHOUT_INPUT).filter(|name| !operators.contains(**name)).collect();
    assert!(missing.is_empty(), "operators that no query here has: {missing:?}");
}

struct Database {
    connection: Connection,
}

impl Database {
    async fn run(&mut self, sql: &str) -> Result<Table, String> {
        let (mut tables, _) = self.connection.query(sql).await.map_err(|error| error.to_string())?;
        Ok(tables.pop().unwrap_or_default())
    }

    async fn set_up(&mut self) {
        let columns = "g integer, v integer, x double precision, s text, at timestamp, b boolean, tags integer[]";
        for create in [
            format!("CREATE TABLE t (id integer PRIMARY KEY, {columns})"),
            format!("CREATE TABLE u (id integer PRIMARY KEY, {columns})"),
            "CREATE INDEX ON u (at)".to_string(),
            format!("CREATE STREAM e (id integer, {columns})"),
            "CREATE TABLE nested (id integer PRIMARY KEY, one struct<a integer, b text>, lists integer[][])".to_string(),
        ] {
            self.run(&create).await.expect("the tables of the examples");
        }
        self.fill("e").await;
    }

    async fn fill(&mut self, table: &str) {
        let n_rows = if table == "u" { N_FEW_ROWS } else { N_ROWS };
        let sql = format!(
            "INSERT INTO {table} SELECT n, n % {N_GROUPS}, n / {N_GROUPS} % {N_VALUES}, n / 7.0, 's' || n % 9, \
             timestamp '2026-01-01 00:00:00' + n * interval '1 minute', n % 2 = 0, ARRAY[n % 3, n % 5] FROM generate_series(1, {n_rows}) AS r(n)"
        );
        self.run(&sql).await.expect("rows for the examples");
    }

    /// Makes a view of the query over full tables, empties them, and fills them again for the next one.
    async fn try_example(&mut self, row: &Row, example: &Example, operators: &mut BTreeSet<String>) -> Result<(), String> {
        for table in ["t", "u"] {
            self.run(&format!("TRUNCATE {table}")).await?;
            self.fill(table).await;
        }
        let create = format!("CREATE MATERIALIZED VIEW v AS {}", example.query);
        if row.kind() == "refused" {
            return match self.connection.query(&create).await {
                Err(error) if error.sqlstate() == Some("0A000") => Ok(()),
                Err(error) => Err(format!("refused otherwise: {error}")),
                Ok(_) => {
                    self.run("DROP MATERIALIZED VIEW v").await?;
                    Err("it is not refused".into())
                }
            };
        }
        let explained = self.run(&format!("EXPLAIN {create}")).await?;
        let lines: Vec<String> = explained.rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect();
        self.run(&create).await?;
        let names = self.run("SELECT operator FROM thalweg.operators WHERE relation = 'v'").await?;
        operators.extend(names.rows.iter().filter_map(|row| row[0].as_deref()).map(operator_name));
        let checked = self.check(row, example, &lines).await;
        self.run("DROP MATERIALIZED VIEW v").await?;
        checked
    }

    async fn check(&mut self, row: &Row, example: &Example, lines: &[String]) -> Result<(), String> {
        let kinds = ["stateless", "incremental", "recompute"];
        let kind = kinds.into_iter().rev().find(|kind| lines.iter().any(|line| line.contains(&format!("[{kind}]")))).unwrap_or("stateless");
        if kind != row.kind() {
            return Err(format!("it is {kind}:\n    {}", lines.join("\n    ")));
        }
        self.run("SELECT count(*) FROM v").await?;
        let kept = self.kept().await?;
        let (most, least) = row.bounds(example.query);
        let largest = kept.iter().copied().max().unwrap_or(0);
        if largest > most || largest < least {
            return Err(format!(
                "its operators keep {kept:?} rows, where {least} to {most} are expected of {:?}:\n    {}",
                row.state,
                lines.join("\n    ")
            ));
        }
        if is_append_only(example.query) {
            return Ok(());
        }
        for table in ["t", "u"] {
            self.run(&format!("DELETE FROM {table}")).await?;
        }
        self.run("SELECT count(*) FROM v").await?;
        // An aggregate without GROUP BY has a row of nothing; what a recursion has taken back may wait to be merged away.
        let rest = self.kept().await?;
        let allowed = match row.kind() {
            // Its last result, which the query may have over nothing.
            "recompute" => 2,
            _ if row.construct.contains("RECURSIVE") => N_ROWS / 2,
            _ => 1,
        };
        match rest.iter().all(|n_rows| *n_rows <= allowed) {
            true => Ok(()),
            false => Err(format!("its operators keep {rest:?} rows of nothing")),
        }
    }

    /// Rows of state of each operator of `v`.
    async fn kept(&mut self) -> Result<Vec<u64>, String> {
        let table = self.run("SELECT state_rows FROM thalweg.operators WHERE relation = 'v' ORDER BY id").await?;
        Ok(table.rows.iter().filter_map(|row| row[0].as_deref()?.parse().ok()).collect())
    }
}
