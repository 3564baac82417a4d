//! An engine in this process, on a data folder that goes with it.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use engine::config::Config;
use engine::plan::statement::{Parsed, Statement};
use engine::{Engine, Error, Result};
use futures::StreamExt;

use crate::queries::Query;
use crate::tpch::{Row, TABLES};

/// A fresh engine.
pub struct Database {
    engine: Engine,
    _folder: tempfile::TempDir,
}

impl Database {
    /// Opens one with so many workers.
    pub async fn open(n_workers: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = Config { data: folder.path().display().to_string(), n_workers, ..Config::default() };
        Ok(Self { engine: Engine::open(config).await?, _folder: folder })
    }

    /// The three streams of one event sequence, `bid` with the time of intake where the query reads it. `retention` is `'0'`
    /// (they start when they are read) or `'forever'`.
    pub async fn create_streams(&self, query: &Query, n_events: u64, retention: &str) -> Result<()> {
        for table in ["person", "auction", "bid"] {
            let columns = if table == "bid" && query.reads_intake_time() { "(p_time TIMESTAMP AS PROCTIME())" } else { "" };
            self.run(&format!(
                "CREATE STREAM {table} {columns} WITH (connector = 'nexmark', table = '{table}', events = {n_events}, retention = '{retention}')"
            ))
            .await?;
        }
        Ok(())
    }

    /// Runs statements; the rows of the last one.
    pub async fn run(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        let mut rows = Vec::new();
        for parsed in self.engine.parse(sql)? {
            rows = match &parsed.statement {
                Statement::Query(query) => collect(self.engine.query(query, None).await?).await?,
                Statement::Explain(_) => collect(self.engine.describe(&parsed.statement).await?).await?,
                Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) => {
                    self.engine.write(&parsed, None).await?;
                    Vec::new()
                }
                Statement::WaitFor { name } => {
                    self.engine.wait_for(name).await?;
                    Vec::new()
                }
                _ => {
                    self.engine.define(&parsed).await?;
                    Vec::new()
                }
            };
        }
        Ok(rows)
    }

    /// Adds rows to TPC-H's tables, at one epoch.
    pub async fn load(&self, rows: &[Row]) -> Result<()> {
        let mut transaction = self.engine.begin().await?;
        for (table, (name, _)) in TABLES.iter().enumerate() {
            let lines: String = rows.iter().filter(|row| row.table == table).map(|row| format!("{}\n", row.line)).collect();
            let parsed = self.engine.parse(&format!("COPY {name} FROM STDIN WITH (DELIMITER '|')"))?;
            let [Parsed { statement: Statement::CopyIn(copy), .. }] = parsed.as_slice() else { unreachable!("the text is a COPY") };
            let mut ingest = self.engine.copy_in(copy).await?;
            ingest.push(lines.as_bytes()).await?;
            ingest.finish(Some(&mut transaction)).await?;
        }
        self.engine.commit(transaction).await.map(drop)
    }

    /// Runs INSERT, UPDATE and DELETE statements, at one epoch.
    pub async fn write_together(&self, sql: &str) -> Result<()> {
        let mut transaction = self.engine.begin().await?;
        for parsed in self.engine.parse(sql)? {
            self.engine.write(&parsed, Some(&mut transaction)).await?;
        }
        self.engine.commit(transaction).await.map(drop)
    }

    /// The columns of a query.
    pub async fn schema(&self, sql: &str) -> Result<SchemaRef> {
        match &self.engine.parse(sql)?.as_slice() {
            [Parsed { statement: Statement::Query(query), .. }] => Ok(self.engine.query(query, None).await?.schema),
            _ => Err(Error::internal("one query is asked for its columns")),
        }
    }

    /// Stops the engine.
    pub async fn close(self) -> Result<()> {
        self.engine.shutdown().await
    }
}

async fn collect(mut rows: engine::engine::Rows) -> Result<Vec<RecordBatch>> {
    let mut batches = Vec::new();
    while let Some(batch) = rows.stream.next().await {
        batches.push(batch.map_err(|error| Error::internal(error.to_string()))?);
    }
    Ok(batches)
}
