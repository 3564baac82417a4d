//! The handle the server holds: everything a statement can ask of the engine.
//!
//! Cheap to clone. Statements of all sessions meet here; what order they take is decided by the sequencer.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use catalog::Snapshot;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::sql::sqlparser::ast;

use crate::config::Config;
use crate::plan::statement::{CopyIn, Name, Parsed, Statement, Subscribe};
use crate::{Epoch, Error, Result};

/// A running engine.
#[derive(Clone)]
pub struct Engine {
    config: Arc<Config>,
}

/// A result that is read as it is computed. Field metadata carries the SQL type (see `catalog::types`).
pub struct Rows {
    /// Names and types of the columns.
    pub schema: SchemaRef,
    /// The batches. Dropping it stops the query.
    pub stream: SendableRecordBatchStream,
    /// The epoch read.
    pub epoch: Epoch,
    /// WARNINGs and NOTICEs for the client.
    pub notices: Vec<Notice>,
}

/// A message that goes to the client beside the result.
#[derive(Debug, Clone)]
pub struct Notice {
    /// `NOTICE` or `WARNING`.
    pub severity: &'static str,
    /// What and why.
    pub error: Error,
}

/// What a DDL statement did.
#[derive(Debug, Clone)]
pub struct Done {
    /// The command tag, `CREATE MATERIALIZED VIEW`.
    pub tag: &'static str,
    /// For the client.
    pub notices: Vec<Notice>,
}

/// What a write did.
#[derive(Debug)]
pub struct Written {
    /// Rows inserted, updated or deleted.
    pub n_rows: u64,
    /// RETURNING's rows.
    pub returning: Option<(SchemaRef, Vec<RecordBatch>)>,
    /// The epoch at which the write is visible; 0 inside a transaction.
    pub epoch: Epoch,
}

/// The state of an open `BEGIN … COMMIT` block; the session owns it.
#[derive(Debug, Default)]
pub struct Transaction {}

/// A COPY or HTTP ingest under way.
pub struct Ingest {}

impl Ingest {
    /// Decodes some bytes; rows need not end at their end.
    pub async fn push(&mut self, _bytes: &[u8]) -> Result<()> {
        Err(Error::internal("not wired yet"))
    }

    /// Everything pushed becomes visible at one epoch, and is durable when this returns. With a transaction it is buffered there.
    pub async fn finish(self, _transaction: Option<&mut Transaction>) -> Result<Ingested> {
        Err(Error::internal("not wired yet"))
    }
}

/// What an ingest did: `rows in = n_rows + n_errors`.
#[derive(Debug, Clone, Copy)]
pub struct Ingested {
    /// Rows taken in.
    pub n_rows: u64,
    /// Rows that could not be decoded: they are in `"s$errors"` (streams only; a table's COPY fails as a whole).
    pub n_errors: u64,
    /// The epoch at which they are visible.
    pub epoch: Epoch,
}

/// How pushed rows are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IngestFormat {
    /// One JSON object a line.
    Ndjson,
    /// CSV with these options.
    Csv(crate::plan::statement::CopyFormat),
}

/// Changes of a relation or query as they happen.
pub struct Subscription {
    /// `epoch int8, diff int8`, then the relation's own columns.
    pub schema: SchemaRef,
}

impl Subscription {
    /// The next batch of changes; waits for one. `None` when the relation was dropped or the server stops.
    pub async fn next(&mut self) -> Option<Result<RecordBatch>> {
        None
    }
}

impl Engine {
    /// Opens the data folder, replays its log and starts the workers.
    pub async fn open(config: Config) -> Result<Self> {
        Ok(Self { config: Arc::new(config) })
    }

    /// The statements of a query string.
    pub fn parse(&self, _sql: &str) -> Result<Vec<Parsed>> {
        Err(Error::internal("not wired yet"))
    }

    /// The settings it was opened with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The catalog as it is now.
    pub fn catalog(&self) -> Arc<Snapshot> {
        Arc::default()
    }

    /// Runs a query at one epoch, in `transaction`'s snapshot with its own writes when there is one.
    pub async fn query(&self, _query: &ast::Query, _transaction: Option<&Transaction>) -> Result<Rows> {
        Err(Error::internal("not wired yet"))
    }

    /// EXPLAIN, SHOW objects, SHOW CREATE: anything answered with rows that is not a query.
    pub async fn describe(&self, _statement: &Statement) -> Result<Rows> {
        Err(Error::internal("not wired yet"))
    }

    /// CREATE, DROP, COMMENT.
    pub async fn define(&self, _statement: &Parsed) -> Result<Done> {
        Err(Error::internal("not wired yet"))
    }

    /// INSERT, UPDATE, DELETE: applied and durable when it returns, or buffered in `transaction`.
    pub async fn write(&self, _statement: &Statement, _transaction: Option<&mut Transaction>) -> Result<Written> {
        Err(Error::internal("not wired yet"))
    }

    /// Starts a COPY FROM STDIN.
    pub async fn copy_in(&self, _copy: &CopyIn) -> Result<Ingest> {
        Err(Error::internal("not wired yet"))
    }

    /// Starts an HTTP ingest into a push stream or table.
    pub async fn ingest(&self, _target: &Name, _format: IngestFormat) -> Result<Ingest> {
        Err(Error::internal("not wired yet"))
    }

    /// Starts following changes.
    pub async fn subscribe(&self, _subscribe: &Subscribe) -> Result<Subscription> {
        Err(Error::internal("not wired yet"))
    }

    /// Opens a transaction: reads see the newest recorded epoch as of now.
    pub async fn begin(&self) -> Result<Transaction> {
        Ok(Transaction::default())
    }

    /// Applies all of a transaction's writes in one epoch; `40001` when a row it wrote was changed by another meanwhile.
    pub async fn commit(&self, _transaction: Transaction) -> Result<Epoch> {
        Err(Error::internal("not wired yet"))
    }

    /// Returns when a bounded source is done, or a view has caught up with all recorded epochs.
    pub async fn wait_for(&self, _name: &Name) -> Result<()> {
        Err(Error::internal("not wired yet"))
    }

    /// Counters and gauges, by name with labels, for `/metrics`.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        BTreeMap::new()
    }

    /// Stops sources, finishes what is acknowledged and joins the workers.
    pub async fn shutdown(&self) -> Result<()> {
        Ok(())
    }
}
