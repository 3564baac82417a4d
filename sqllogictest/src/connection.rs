//! One client connection of a script: simple queries over the wire, cells as the text a client sees.
//!
//! When the server was killed meanwhile the connection is made again, with its `SET`s repeated, so that a script need not know
//! about restarts. An open transaction would be lost; scripts are therefore never restarted inside one.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{SinkExt, TryStreamExt};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType};
use tokio_postgres::{CopyOutStream, NoTls, SimpleQueryMessage};

use crate::server::Server;

/// One result set: the names of its columns, then its rows as text (`None` is null).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Column names.
    pub columns: Vec<String>,
    /// Cells.
    pub rows: Vec<Vec<Option<String>>>,
}

/// A server shared by the connections of one script.
pub type SharedServer = Arc<Mutex<Server>>;

/// What a statement failed with, or the loss of the connection.
#[derive(Debug)]
pub struct Error {
    /// `ERROR:  message`, then DETAIL and HINT lines, as psql prints them.
    text: String,
    /// The SQLSTATE, when the server answered.
    sqlstate: Option<String>,
}

/// A connection that survives a restart of its server.
pub struct Connection {
    server: SharedServer,
    live: Option<Live>,
    /// The SET statements so far, for the next connection.
    settings: Vec<String>,
    in_transaction: bool,
    /// Blocks open on the connections of a script.
    n_transactions: Arc<AtomicUsize>,
}

struct Live {
    /// Which start of the server it is connected to.
    generation: u64,
    client: tokio_postgres::Client,
}

impl Connection {
    /// A connection that is made when it is first used. It counts its open block in `n_transactions`.
    pub fn new(server: SharedServer, n_transactions: Arc<AtomicUsize>) -> Self {
        Self { server, live: None, settings: Vec::new(), in_transaction: false, n_transactions }
    }

    /// Runs statements; one table for each that returns rows, and the row count of the last one.
    pub async fn query(&mut self, sql: &str) -> Result<(Vec<Table>, u64), Error> {
        let client = self.client().await?;
        let mut tables: Vec<Table> = Vec::new();
        let mut n_rows = 0;
        for message in client.simple_query(sql).await? {
            match message {
                SimpleQueryMessage::RowDescription(columns) => {
                    let columns = columns.iter().map(|column| column.name().to_owned()).collect();
                    tables.push(Table { columns, rows: Vec::new() });
                }
                SimpleQueryMessage::Row(row) => {
                    let cells = (0..row.len()).map(|index| row.get(index).map(str::to_owned)).collect();
                    tables.last_mut().expect("a row comes after its description").rows.push(cells);
                }
                SimpleQueryMessage::CommandComplete(n) => n_rows = n,
                _ => {}
            }
        }
        Ok((tables, n_rows))
    }

    /// `COPY … FROM STDIN` with the lines that follow it.
    async fn copy_in(&mut self, copy: &str, lines: &str) -> Result<u64, Error> {
        let client = self.client().await?;
        let mut sink = std::pin::pin!(client.copy_in::<_, Bytes>(copy).await?);
        sink.send(Bytes::copy_from_slice(lines.as_bytes())).await?;
        Ok(sink.finish().await?)
    }

    /// `COPY … TO STDOUT`: each line is a row of one cell.
    async fn copy_out(&mut self, copy: &str) -> Result<Table, Error> {
        let client = self.client().await?;
        let chunks: Vec<Bytes> = client.copy_out(copy).await?.try_collect().await?;
        let text = String::from_utf8_lossy(&chunks.concat()).into_owned();
        Ok(Table { columns: vec!["line".into()], rows: text.lines().map(|line| vec![Some(line.to_owned())]).collect() })
    }

    /// `COPY … TO STDOUT` of something that does not end: its lines as they come.
    pub async fn copy_stream(&mut self, copy: &str) -> Result<Pin<Box<CopyOutStream>>, Error> {
        Ok(Box::pin(self.client().await?.copy_out(copy).await?))
    }

    async fn client(&mut self) -> Result<&tokio_postgres::Client, Error> {
        let (generation, address) = {
            let server = self.server.lock().expect("no holder of the server panics");
            (server.generation(), server.pg_url())
        };
        if self.live.as_ref().is_none_or(|live| live.generation != generation) {
            let (client, connection) = tokio_postgres::connect(&address, NoTls).await?;
            // It ends with an error when the server is killed, which the next statement will tell of.
            tokio::spawn(async move {
                let _ = connection.await;
            });
            for setting in &self.settings {
                client.batch_execute(setting).await?;
            }
            self.live = Some(Live { generation, client });
        }
        Ok(&self.live.as_ref().expect("connected above").client)
    }

    /// Keeps what the session holds: its settings, and whether a block is open (a COMMIT that fails ends it too).
    fn remember(&mut self, sql: &str, succeeded: bool) {
        let mut words = sql.split_ascii_whitespace().map(|word| word.trim_end_matches(';').to_ascii_lowercase());
        let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match first.as_str() {
            // Back to a savepoint, in the same block.
            "rollback" if second == "to" => {}
            "set" if succeeded => self.settings.push(sql.to_owned()),
            "begin" | "start" if succeeded && !self.in_transaction => {
                self.in_transaction = true;
                self.n_transactions.fetch_add(1, Ordering::Relaxed);
            }
            "commit" | "end" | "rollback" | "abort" if self.in_transaction => {
                self.in_transaction = false;
                self.n_transactions.fetch_sub(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

#[async_trait]
impl AsyncDB for Connection {
    type Error = Error;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Error> {
        let start = sql.trim_start().get(..5).unwrap_or_default().to_ascii_lowercase();
        if start == "copy " {
            // The lines after the statement are its data.
            let (copy, lines) = sql.split_once(";\n").unwrap_or((sql, ""));
            if copy.to_ascii_lowercase().contains("from stdin") {
                let n_rows = self.copy_in(copy, &format!("{}\n", lines.trim_end_matches('\n'))).await?;
                return Ok(DBOutput::StatementComplete(n_rows));
            }
            return Ok(output(self.copy_out(copy).await?));
        }
        let result = self.query(sql).await;
        self.remember(sql, result.is_ok());
        let (tables, n_rows) = result?;
        Ok(tables.into_iter().next_back().map_or(DBOutput::StatementComplete(n_rows), output))
    }

    async fn shutdown(&mut self) {
        self.live = None;
    }

    fn engine_name(&self) -> &str {
        "thalweg"
    }

    async fn sleep(_: std::time::Duration) {
        panic!("scripts do not sleep: use WAIT FOR");
    }

    fn error_sql_state(error: &Error) -> Option<String> {
        error.sqlstate.clone()
    }
}

/// Cells as scripts write them: null is `NULL`, an empty text is `(empty)`.
fn output(table: Table) -> DBOutput<DefaultColumnType> {
    let cell = |cell: Option<String>| match cell {
        None => "NULL".to_owned(),
        Some(text) if text.is_empty() => "(empty)".to_owned(),
        Some(text) => text,
    };
    let types = vec![DefaultColumnType::Any; table.columns.len()];
    let rows = table.rows.into_iter().map(|row| row.into_iter().map(cell).collect()).collect();
    DBOutput::Rows { types, rows }
}

impl Error {
    /// A failure of the harness itself.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), sqlstate: None }
    }

    /// The SQLSTATE, when the server answered.
    pub fn sqlstate(&self) -> Option<&str> {
        self.sqlstate.as_deref()
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(answer) = error.as_db_error() else {
            return Self::new(format!("connection: {error:?}"));
        };
        let mut text = format!("{}:  {}", answer.severity(), answer.message());
        for (label, part) in [("DETAIL", answer.detail()), ("HINT", answer.hint())] {
            if let Some(part) = part {
                text.push_str(&format!("\n{label}:  {part}"));
            }
        }
        Self { text, sqlstate: Some(answer.code().code().to_owned()) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}
