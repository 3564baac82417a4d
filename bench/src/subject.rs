//! What is measured. Each run has a process of its own, so that memory and caches are its own too.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::catalog::MemTable;
use datafusion::datasource::TableProvider;
use datafusion::execution::runtime_env::RuntimeEnv;
use engine::plan::inline::{SqlFunction, inline_functions};
use engine::plan::parse::{parse, parse_query};
use engine::plan::query::Planner;
use engine::plan::relation::{Relation, RelationProvider};
use engine::plan::session::Session;
use engine::plan::statement::Statement;
use engine::source::nexmark::{EventKind, Generator, GeneratorConfig};
use engine::{Error, Result};
use futures::StreamExt;

use crate::database::Database;
use crate::measure::{Clock, Cost};
use crate::queries::Query;

/// What happens to a query's result, or what is run instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Maintained, its changes dropped.
    Sink,
    /// Maintained, the result stored.
    View,
    /// Run once by DataFusion over the same rows, which are in memory before the clock starts.
    Batch,
    /// No query: all events, made and dropped.
    Generator,
}

impl Subject {
    /// All of them, in the order of the table's columns.
    pub const ALL: [Self; 4] = [Self::Sink, Self::View, Self::Batch, Self::Generator];

    /// As in JSON and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sink => "sink",
            Self::View => "view",
            Self::Batch => "batch",
            Self::Generator => "generator",
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        Self::ALL.into_iter().find(|subject| subject.name() == name).ok_or_else(|| format!("nothing is called '{name}'"))
    }
}

/// Events made at once: as the streams' own source does, so that what a batch is made from stays in a core's cache.
const BATCH_EVENTS: u64 = 16_384;

/// Measures it in this process, over `n_events` events.
pub async fn measure(subject: Subject, query: &Query, n_events: u64, n_workers: usize) -> Result<Cost> {
    match subject {
        Subject::Sink => maintained("CREATE SINK result AS", "WITH (connector = 'blackhole')", query, n_events, n_workers).await,
        Subject::View => maintained("CREATE MATERIALIZED VIEW result AS", "", query, n_events, n_workers).await,
        Subject::Batch => batch(query, n_events, n_workers).await,
        Subject::Generator => generator(n_events),
    }
}

/// The clock runs from CREATE, with which the streams start, until the last event is in the result.
async fn maintained(create: &str, with: &str, query: &Query, n_events: u64, n_workers: usize) -> Result<Cost> {
    let database = Database::open(n_workers).await?;
    database.create_streams(query, n_events, "0").await?;
    set_up(&database, query).await?;
    let sql = with_all_streams(&database, query).await?;
    let clock = Clock::start()?;
    database.run(&format!("{create} {sql} {with}; WAIT FOR result")).await?;
    let mut cost = clock.stop(n_events)?;
    if with.is_empty() {
        cost.n_rows = database.run("SELECT * FROM result").await?.iter().map(|batch| batch.num_rows() as u64).sum();
    }
    database.close().await?;
    Ok(cost)
}

/// The query, and for each stream that it does not read a branch that reads all its rows and keeps none: a stream starts when it
/// is read, and every query is to pay for the whole sequence.
async fn with_all_streams(database: &Database, query: &Query) -> Result<String> {
    let n_columns = database.schema(query.sql).await?.fields().len();
    let nulls = vec!["NULL"; n_columns].join(", ");
    let mut sql = query.sql.trim().to_string();
    for (stream, key) in [("person", "id"), ("auction", "id"), ("bid", "auction")] {
        if !query.reads.contains(&stream) {
            sql = format!("SELECT * FROM ({sql}) AS q_{stream} UNION ALL SELECT {nulls} FROM {stream} WHERE {key} < 0");
        }
    }
    Ok(sql)
}

async fn set_up(database: &Database, query: &Query) -> Result<()> {
    for statement in query.setup {
        database.run(statement).await?;
    }
    Ok(())
}

/// All events through the generator, dropped as they come.
pub fn generator(n_events: u64) -> Result<Cost> {
    let generator = Generator::new(GeneratorConfig::default());
    let clock = Clock::start()?;
    let mut n_rows = 0;
    for start in (0..n_events).step_by(BATCH_EVENTS as usize) {
        for kind in EventKind::ALL {
            n_rows += generator.batch(kind, start..n_events.min(start + BATCH_EVENTS), None).num_rows() as u64;
        }
    }
    Ok(Cost { n_rows, ..clock.stop(n_events)? })
}

fn kinds(streams: &[&str]) -> impl Iterator<Item = EventKind> {
    EventKind::ALL.into_iter().filter(|kind| streams.contains(&kind.name()))
}

async fn batch(query: &Query, n_events: u64, n_workers: usize) -> Result<Cost> {
    let tables = Tables(tables(query, n_events, n_workers).await?);
    let session = Session::new(n_workers, Arc::new(RuntimeEnv::default()))?;
    let mut parsed = parse_query(query.sql)?;
    let functions = functions(query)?;
    let clock = Clock::start()?;
    inline_functions(&mut parsed, &|name| functions.get(name).cloned())?;
    let planned = Planner::new(&session, &tables, 0).read(&parsed)?;
    let mut rows = planned.execute(&HashMap::new()).await?;
    let mut n_rows = 0;
    while let Some(batch) = rows.next().await {
        n_rows += batch.map_err(failed)?.num_rows() as u64;
    }
    Ok(Cost { n_rows, ..clock.stop(n_events)? })
}

fn failed(error: impl fmt::Display) -> Error {
    Error::internal(error.to_string())
}

/// Names of a batch run.
struct Tables(HashMap<String, Arc<dyn TableProvider>>);

impl RelationProvider for Tables {
    fn resolve(&self, _schema: Option<&str>, name: &str) -> Option<Relation> {
        self.0.get(name).cloned().map(Relation::Rows)
    }
}

/// The streams a query reads, and the tables of its set-up, in memory.
async fn tables(query: &Query, n_events: u64, n_partitions: usize) -> Result<HashMap<String, Arc<dyn TableProvider>>> {
    let generator = Generator::new(GeneratorConfig::default());
    let mut tables = HashMap::new();
    for kind in kinds(query.reads) {
        let ranges = (0..n_events).step_by(BATCH_EVENTS as usize).map(|start| start..n_events.min(start + BATCH_EVENTS));
        let batches = ranges.map(|range| generator.batch(kind, range, None));
        let batches = match kind == EventKind::Bid && query.reads_intake_time() {
            true => batches.map(with_intake_time).collect::<Result<Vec<_>>>()?,
            false => batches.collect(),
        };
        tables.insert(kind.name().to_string(), in_memory(batches, n_partitions)?);
    }
    for statement in query.setup {
        for parsed in parse(statement)? {
            if let Statement::CreateTable(create) = parsed.statement {
                let database = Database::open(n_partitions).await?;
                set_up(&database, query).await?;
                let rows = database.run(&format!("SELECT * FROM {}", create.name.name)).await?;
                database.close().await?;
                tables.insert(create.name.name, in_memory(rows, n_partitions)?);
            }
        }
    }
    Ok(tables)
}

/// Bids with `p_time`, the time at which they are made.
fn with_intake_time(rows: RecordBatch) -> Result<RecordBatch> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(failed)?.as_micros();
    let now = TimestampMicrosecondArray::from_value(i64::try_from(now).map_err(failed)?, rows.num_rows());
    let field = Field::new("p_time", DataType::Timestamp(TimeUnit::Microsecond, None), true);
    let fields: Vec<_> = rows.schema().fields().iter().cloned().chain([Arc::new(field)]).collect();
    let columns = rows.columns().iter().cloned().chain([Arc::new(now) as ArrayRef]).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn in_memory(batches: Vec<RecordBatch>, n_partitions: usize) -> Result<Arc<dyn TableProvider>> {
    let schema = batches.first().map(RecordBatch::schema).ok_or_else(|| failed("there are no rows to query"))?;
    let mut partitions = vec![Vec::new(); n_partitions.max(1)];
    for (at, batch) in batches.into_iter().enumerate() {
        let n_partitions = partitions.len();
        partitions[at % n_partitions].push(batch);
    }
    Ok(Arc::new(MemTable::try_new(schema, partitions).map_err(failed)?))
}

fn functions(query: &Query) -> Result<HashMap<String, SqlFunction>> {
    let mut functions = HashMap::new();
    for statement in query.setup {
        for parsed in parse(statement)? {
            if let Statement::CreateFunction(create) = parsed.statement {
                let function = SqlFunction { arguments: create.arguments, returns: create.returns, body: create.body_sql };
                functions.insert(create.name.name, function);
            }
        }
    }
    Ok(functions)
}
