//! What a change costs: a view over a million and over ten million rows, of which a few are changed at a time. `docs/benchmarks.md`
//! says how each figure is taken.
//!
//! Counted is the processor time of the worker threads: what operators and relations do. The same changes are made once without
//! the view, and what they cost then (the tables' own upkeep) is taken away. Rows are counted as well, which no noise moves.

use std::fmt::Write;
use std::time::Instant;

use arrow::array::Int64Array;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use engine::{Error, Result};
use serde_json::{Value, json};

use crate::database::Database;
use crate::measure::worker_seconds;
use crate::tpch;

/// Changes that are measured, and those before them that are not.
const N_CHANGES: u64 = 200;
const N_WARM_UPS: u64 = 20;
/// Rows of each changed table that a change upserts.
const N_ROWS: u64 = 10;
/// Rows loaded by one statement.
const LOAD_ROWS: u64 = 500_000;
/// TPC-H's rows in all tables at scale factor 1.
const TPCH_ROWS: f64 = 8_661_245.0;
const SEED: u64 = 1992;

/// A view and what is changed below it.
pub struct Subject {
    /// What the report calls it.
    pub name: &'static str,
    query: &'static str,
    data: Data,
}

/// The tables below a view, and how they are changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Data {
    /// `a(id, k, g, v)`: a hundred rows for each `g`; rows get another `v`.
    Flat,
    /// As `Flat`; the changed rows come to the top, and leave it.
    Tops,
    /// As `Flat`; rows come at the end of a `g`.
    Ends,
    /// `a` and `b(id, k, v)` with a tenth of the rows: ten rows of `a` for each `k`; rows of both get another `k`.
    Pair,
    /// TPC-H's tables; lines of orders get another price and quantity.
    Tpch,
}

/// All of them.
pub const SUBJECTS: &[Subject] = &[
    subject("filter", "SELECT id, g, v FROM a WHERE v % 10 < 5", Data::Flat),
    subject("aggregate: count, sum, avg", "SELECT g, count(*) AS n, sum(v) AS s, avg(v) AS m FROM a GROUP BY g", Data::Flat),
    subject("aggregate: min, max", "SELECT g, min(v) AS least, max(v) AS most FROM a GROUP BY g", Data::Flat),
    subject("join inner", "SELECT a.id, a.v, b.v AS w FROM a JOIN b ON a.k = b.k", Data::Pair),
    subject("join left", "SELECT a.id, a.v, b.v AS w FROM a LEFT JOIN b ON a.k = b.k", Data::Pair),
    subject("join right", "SELECT a.id, a.v, b.v AS w FROM a RIGHT JOIN b ON a.k = b.k", Data::Pair),
    subject("join full", "SELECT a.id, a.v, b.v AS w FROM a FULL JOIN b ON a.k = b.k", Data::Pair),
    subject("join semi", "SELECT id, v FROM a WHERE EXISTS (SELECT FROM b WHERE b.k = a.k)", Data::Pair),
    subject("join anti", "SELECT id, v FROM a WHERE NOT EXISTS (SELECT FROM b WHERE b.k = a.k)", Data::Pair),
    subject("NOT IN", "SELECT id, v FROM a WHERE k NOT IN (SELECT k FROM b)", Data::Pair),
    subject("distinct", "SELECT DISTINCT g, v % 10 AS d FROM a", Data::Flat),
    subject("top 100", "SELECT id, v FROM a ORDER BY v DESC, id LIMIT 100", Data::Tops),
    subject(
        "top 3 of each group",
        "SELECT id, g, v FROM (SELECT id, g, v, row_number() OVER (PARTITION BY g ORDER BY v DESC, id) AS place FROM a) AS n WHERE place <= 3",
        Data::Flat,
    ),
    subject("running sum, at the end", "SELECT id, g, sum(v) OVER (PARTITION BY g ORDER BY id) AS s FROM a", Data::Ends),
    subject("running sum, anywhere", "SELECT id, g, sum(v) OVER (PARTITION BY g ORDER BY id) AS s FROM a", Data::Flat),
    subject("TPC-H q3", tpch::QUERIES[2].1, Data::Tpch),
    subject("TPC-H q5", tpch::QUERIES[4].1, Data::Tpch),
    subject("TPC-H q18", tpch::QUERIES[17].1, Data::Tpch),
];

const fn subject(name: &'static str, query: &'static str, data: Data) -> Subject {
    Subject { name, query, data }
}

/// What was measured of one subject at one scale.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// Processor time of the first build, in milliseconds.
    pub build_ms: f64,
    /// Processor time of a change, without what it costs when the view is not there.
    pub change_ms: f64,
    /// Processor time of a change when the view is not there.
    pub tables_ms: f64,
    /// Rows that come out of the view's last operator, per change.
    pub n_rows_out: f64,
    /// Rows of state that its operators read, per change.
    pub n_state_rows_read: f64,
    /// A `SELECT count(*)` of the view right after a change, in milliseconds.
    pub read_ms: f64,
}

/// Measures in this process.
pub async fn measure(subject: &Subject, n_rows: u64, n_workers: usize) -> Result<Figures> {
    let database = Database::open(n_workers).await?;
    let mut changes = Changes::load(&database, subject.data, n_rows).await?;
    changes.make(&database, N_WARM_UPS).await?;
    let started = worker_seconds()?;
    changes.make(&database, N_CHANGES).await?;
    let tables_ms = (worker_seconds()? - started) * 1e3 / N_CHANGES as f64;

    let started = worker_seconds()?;
    database.run(&format!("CREATE MATERIALIZED VIEW v AS {}", subject.query)).await?;
    database.run("WAIT FOR v").await?;
    let build_ms = (worker_seconds()? - started) * 1e3;
    changes.make(&database, N_WARM_UPS).await?;
    database.run("WAIT FOR v").await?;

    let (started, counts) = (worker_seconds()?, Counts::of(&database).await?);
    changes.make(&database, N_CHANGES).await?;
    database.run("WAIT FOR v").await?;
    let changed_ms = (worker_seconds()? - started) * 1e3 / N_CHANGES as f64;
    let after = Counts::of(&database).await?;
    changes.make(&database, 1).await?;
    let started = Instant::now();
    database.run("SELECT count(*) FROM v").await?;
    let read_ms = started.elapsed().as_secs_f64() * 1e3;
    database.close().await?;
    let per_change = |after: u64, before: u64| (after - before) as f64 / N_CHANGES as f64;
    Ok(Figures {
        build_ms,
        change_ms: changed_ms - tables_ms,
        tables_ms,
        n_rows_out: per_change(after.n_rows_out, counts.n_rows_out),
        n_state_rows_read: per_change(after.n_state_rows_read, counts.n_state_rows_read),
        read_ms,
    })
}

/// Counters of the view's operators.
struct Counts {
    n_rows_out: u64,
    n_state_rows_read: u64,
}

impl Counts {
    async fn of(database: &Database) -> Result<Self> {
        let sql = "SELECT rows_out, state_rows_read FROM thalweg.operators WHERE relation = 'v' ORDER BY id";
        let rows = database.run(sql).await?;
        let numbers = |column: usize| -> Result<Vec<u64>> {
            let mut numbers = Vec::new();
            for batch in &rows {
                let cells = cast(batch.column(column), &DataType::Int64)?;
                let cells = cells.as_any().downcast_ref::<Int64Array>().ok_or_else(|| Error::internal("counters are numbers"))?;
                numbers.extend(cells.iter().flatten().map(i64::unsigned_abs));
            }
            Ok(numbers)
        };
        let n_rows_out = numbers(0)?.pop().ok_or_else(|| Error::internal("the view has no operators"))?;
        Ok(Self { n_rows_out, n_state_rows_read: numbers(1)?.into_iter().sum() })
    }
}

/// Makes one change after another.
struct Changes {
    data: Data,
    n_rows: u64,
    step: u64,
    /// TPC-H's lines of orders, the same number a change.
    lines: Vec<String>,
}

impl Changes {
    async fn load(database: &Database, data: Data, n_rows: u64) -> Result<Self> {
        let mut lines = Vec::new();
        match data {
            Data::Tpch => lines = load_tpch(database, n_rows).await?,
            _ => load_flat(database, data, n_rows).await?,
        }
        Ok(Self { data, n_rows, step: 0, lines })
    }

    async fn make(&mut self, database: &Database, n_changes: u64) -> Result<()> {
        for _ in 0..n_changes {
            database.run(&self.next()).await?;
        }
        Ok(())
    }

    fn next(&mut self) -> String {
        self.step += 1;
        let (step, n) = (self.step, self.n_rows);
        // Rows all over the table, other ones at each step.
        let ids: Vec<u64> = (0..N_ROWS).map(|row| (step * 104_729 + row * 7_368_787) % n).collect();
        let n_groups = (n / 100).max(1);
        match self.data {
            Data::Flat => upsert_a(ids.iter().map(|id| (*id, id / 10, id % n_groups, (id * 31 + step * 17) % 1_000_003))),
            Data::Tops => {
                // What came to the top leaves it with the next change.
                let before = step - step % 2;
                let top = if step % 2 == 0 { 2_000_000 } else { 0 };
                let ids = (0..N_ROWS).map(|row| (before * 104_729 + row * 7_368_787) % n);
                upsert_a(ids.map(|id| (id, id / 10, id % n_groups, top + (id * 31) % 1_000_003)))
            }
            Data::Ends => upsert_a((0..N_ROWS).map(|row| {
                let id = n + step * N_ROWS + row;
                (id, id / 10, (step * 7_919 + row * 104_729) % n_groups, id * 31 % 1_000_003)
            })),
            Data::Pair => {
                let a = upsert_a(ids.iter().map(|id| (*id, (id / 10 + step) % (n / 10), id % n_groups, id * 31 % 1_000_003)));
                let rows = ids.iter().map(|id| {
                    let id = id % (n / 10);
                    let k = i64::try_from(id).expect("fewer rows than that");
                    format!("({id}, {}, {step})", if step % 2 == 0 { k } else { -k })
                });
                format!("{a}; {}", upsert("b", "id", &["k", "v"], rows))
            }
            Data::Tpch => self.next_lines(),
        }
    }

    fn next_lines(&self) -> String {
        let n = self.lines.len() as u64;
        let rows = (0..N_ROWS).map(|row| {
            let line = &self.lines[usize::try_from((self.step * N_ROWS + row) * 7_919 % n).expect("an index")];
            let mut cells: Vec<String> = line.split('|').map(|cell| format!("'{}'", cell.replace('\'', "''"))).collect();
            // Quantity and price.
            cells[4] = format!("{}", 1 + self.step % 50);
            cells[5] = format!("{}.{:02}", 1_000 + self.step, row);
            format!("({})", cells.join(", "))
        });
        upsert("lineitem", "l_orderkey, l_linenumber", &["l_quantity", "l_extendedprice"], rows)
    }
}

fn upsert_a(rows: impl Iterator<Item = (u64, u64, u64, u64)>) -> String {
    upsert("a", "id", &["k", "g", "v"], rows.map(|(id, k, g, v)| format!("({id}, {k}, {g}, {v})")))
}

fn upsert(table: &str, key: &str, columns: &[&str], rows: impl Iterator<Item = String>) -> String {
    let mut sql = format!("INSERT INTO {table} VALUES {} ON CONFLICT ({key}) DO UPDATE SET ", rows.collect::<Vec<_>>().join(", "));
    for (place, column) in columns.iter().enumerate() {
        let comma = if place == 0 { "" } else { ", " };
        let _ = write!(sql, "{comma}{column} = excluded.{column}");
    }
    sql
}

async fn load_flat(database: &Database, data: Data, n_rows: u64) -> Result<()> {
    let n_groups = (n_rows / 100).max(1);
    database.run("CREATE TABLE a (id bigint PRIMARY KEY, k bigint, g bigint, v bigint)").await?;
    let row = format!("n, n / 10, n % {n_groups}, (n * 31) % 1000003");
    fill(database, "a", &row, n_rows).await?;
    if data == Data::Pair {
        database.run("CREATE TABLE b (id bigint PRIMARY KEY, k bigint, v bigint)").await?;
        fill(database, "b", "n, CASE WHEN n % 5 = 0 THEN -n ELSE n END, n % 1000", n_rows / 10).await?;
    }
    Ok(())
}

async fn fill(database: &Database, table: &str, row: &str, n_rows: u64) -> Result<()> {
    for start in (0..n_rows).step_by(usize::try_from(LOAD_ROWS).expect("it fits")) {
        let end = (start + LOAD_ROWS).min(n_rows) - 1;
        database.run(&format!("INSERT INTO {table} SELECT {row} FROM generate_series({start}, {end}) AS s(n)")).await?;
    }
    Ok(())
}

/// Loads the tables; some lines of orders, all over the table.
async fn load_tpch(database: &Database, n_rows: u64) -> Result<Vec<String>> {
    for (name, columns) in tpch::TABLES {
        database.run(&format!("CREATE TABLE {name} ({columns})")).await?;
    }
    let rows = tpch::rows(n_rows as f64 / TPCH_ROWS, SEED);
    for part in rows.chunks(usize::try_from(LOAD_ROWS).expect("it fits")) {
        database.load(part).await?;
    }
    let of_orders = tpch::TABLES.len() - 1;
    Ok(rows.into_iter().filter(|row| row.table == of_orders).take(20_000).map(|row| row.line).collect())
}

impl Figures {
    /// From the measuring process to the one that asked.
    pub fn to_json(&self) -> Value {
        json!({
            "build_ms": self.build_ms,
            "change_ms": self.change_ms,
            "tables_ms": self.tables_ms,
            "rows_out": self.n_rows_out,
            "state_rows_read": self.n_state_rows_read,
            "read_ms": self.read_ms,
        })
    }

    /// The inverse of [`Self::to_json`].
    pub fn from_json(value: &Value) -> Option<Self> {
        let number = |name: &str| value[name].as_f64();
        Some(Self {
            build_ms: number("build_ms")?,
            change_ms: number("change_ms")?,
            tables_ms: number("tables_ms")?,
            n_rows_out: number("rows_out")?,
            n_state_rows_read: number("state_rows_read")?,
            read_ms: number("read_ms")?,
        })
    }
}

/// The heads of the table.
pub const HEADS: &str = "\
| view | rows out a change | build, ms | change, ms | largest ÷ smallest | of max(1 ms, 1 % of build) | state rows read | without the view, ms | read after it, ms |
|---|---:|---:|---:|---:|---:|---:|---:|---:|";

/// One subject as a row of the table, its scales beside each other.
pub fn row(subject: &Subject, figures: &[Figures]) -> String {
    let each = |number: &dyn Fn(&Figures) -> String| figures.iter().map(number).collect::<Vec<_>>().join(", ");
    let ratio = match figures {
        [first, .., last] => format!("{:.2}", last.change_ms / first.change_ms),
        _ => "–".into(),
    };
    let allowed = |figures: &Figures| figures.change_ms / (figures.build_ms / 100.0).max(1.0);
    format!(
        "| {} | {} | {} | {} | {ratio} | {} | {} | {} | {} |",
        subject.name,
        each(&|f| format!("{:.1}", f.n_rows_out)),
        each(&|f| format!("{:.0}", f.build_ms)),
        each(&|f| format!("{:.3}", f.change_ms)),
        each(&|f| format!("{:.2}", allowed(f))),
        each(&|f| format!("{:.1}", f.n_state_rows_read)),
        each(&|f| format!("{:.3}", f.tables_ms)),
        each(&|f| format!("{:.1}", f.read_ms)),
    )
}
