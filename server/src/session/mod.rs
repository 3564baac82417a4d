//! The only place where statements run. Simple query, extended query, HTTP and `thalweg sql` each make a [`Session`] and
//! hand it parsed statements; what comes back is an [`Outcome`] that they carry to their client.
//!
//! - [`transaction`]: `BEGIN … COMMIT` blocks and the implicit one around several statements of one message.
//! - [`settings`]: SET and SHOW.
//! - [`rows`]: results that are read as they are computed, on the query runtime.
//!
//! Guaranteed: the statements of one message are atomic, as in Postgres, but that DDL, SUBSCRIBE and WAIT FOR first make
//! visible what the message wrote so far. A statement that fails, is canceled or times out leaves an open block failed.
//! Dropping a running statement's future stops its work. Not guaranteed: that a *write* whose future is dropped had no effect;
//! it was not acknowledged.

pub mod copy_in;
pub mod rows;
pub mod settings;
pub mod transaction;

use arrow::datatypes::SchemaRef;
use engine::engine::{IngestFormat, Ingested, Notice, Written};
use engine::error::sqlstate;
use engine::functions::session::BACKEND_PID;
use engine::plan::statement::{CopyFormat, CopyIn, CopyKind, CopySource, Name, Parsed, Statement, Subscribe};
use engine::{Engine, Error, Result};
use tokio::runtime::Handle;

use self::copy_in::CopyingIn;
use self::rows::{RowStream, Running};
use self::settings::Settings;
use self::transaction::Block;

pub use self::transaction::Status;

/// Longer texts are parsed on the query runtime: they would keep other sockets waiting.
const PARSED_HERE_BYTES: usize = 16 << 10;

/// One client's state between its statements.
pub struct Session {
    engine: Engine,
    queries: Handle,
    /// What SET changes and SHOW shows.
    pub settings: Settings,
    process_id: i32,
    block: Block,
    atomic_message: bool,
}

/// What a statement answers with.
pub enum Outcome {
    /// Rows as they are computed.
    Rows {
        /// Names and types.
        schema: SchemaRef,
        /// The rows.
        rows: RowStream,
        /// The command tag that follows them.
        tag: Tag,
        /// For the client, before the rows.
        notices: Vec<Notice>,
    },
    /// Done, without rows.
    Done {
        /// The command tag.
        tag: String,
        /// For the client, before the tag.
        notices: Vec<Notice>,
    },
    /// The client sends rows now; they go to [`Session::finish_copy`] in the end.
    CopyIn(CopyingIn),
    /// Rows in COPY's format; the tag is `COPY n`.
    CopyOut {
        /// Names and types.
        schema: SchemaRef,
        /// The rows.
        rows: RowStream,
        /// How they are written.
        format: CopyFormat,
    },
    /// Nothing was asked.
    Empty,
}

/// A command tag that may end with the number of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tag {
    /// `SELECT n`.
    Counted(&'static str),
    /// `SHOW`.
    Fixed(String),
}

impl Tag {
    /// The tag after `n_rows` rows.
    pub fn after(self, n_rows: u64) -> String {
        match self {
            Self::Counted(command) => format!("{command} {n_rows}"),
            Self::Fixed(tag) => tag,
        }
    }
}

impl Session {
    /// A session of the role and database `thalweg`; its queries run on `queries`.
    pub fn new(engine: Engine, queries: Handle, settings: Settings) -> Self {
        Self { engine, queries, settings, process_id: 0, block: Block::Idle, atomic_message: false }
    }

    /// With the number that `pg_backend_pid()` tells.
    pub fn with_process_id(self, process_id: i32) -> Self {
        Self { process_id, ..self }
    }

    /// The statements of a message. An error in any of them is the whole message's.
    pub async fn parse(&self, sql: &str) -> Result<Vec<Parsed>> {
        let mut statements = if sql.len() <= PARSED_HERE_BYTES {
            self.engine.parse(sql)?
        } else {
            let (engine, sql) = (self.engine.clone(), sql.to_owned());
            self.on_queries(async move { engine.parse(&sql) }).await?
        };
        statements.retain(|parsed| !matches!(parsed.statement, Statement::Empty));
        Ok(statements)
    }

    /// Call before the first of `n_statements` statements of a message; more than one are atomic together.
    pub fn begin_message(&mut self, n_statements: usize) {
        self.atomic_message = n_statements > 1;
    }

    /// Call after the last statement of a message: makes its writes visible and durable.
    pub async fn end_message(&mut self) -> Result<()> {
        self.atomic_message = false;
        self.commit_implicit().await
    }

    /// Call when a message ends early: its writes are dropped, an open block is failed.
    pub fn fail_message(&mut self) {
        self.atomic_message = false;
        self.block = std::mem::take(&mut self.block).failed();
    }

    /// Runs one statement. On an error, and when the future is dropped, the caller ends the message with [`Self::fail_message`].
    pub async fn run(&mut self, parsed: &Parsed) -> Result<Outcome> {
        self.check_block(&parsed.statement)?;
        self.dispatch(parsed).await.map_err(|mut error| {
            error.position = error.position.map(|position| position + parsed.offset);
            error
        })
    }

    async fn dispatch(&mut self, parsed: &Parsed) -> Result<Outcome> {
        use Statement::*;
        match &parsed.statement {
            Query(_) => self.query(parsed, Tag::Counted("SELECT")).await,
            Explain(_) | ExplainView { .. } => self.describe(parsed, "EXPLAIN").await,
            ShowObjects { .. } | ShowCreate { .. } => self.describe(parsed, "SHOW").await,
            CreateStream(_)
            | CreateTable(_)
            | CreateView(_)
            | CreateSink(_)
            | CreateSchema { .. }
            | CreateFunction(_)
            | Drop(_)
            | Comment { .. } => self.define(parsed).await,
            Insert(_) => self.write(parsed, |n_rows| format!("INSERT 0 {n_rows}")).await,
            Update(_) => self.write(parsed, |n_rows| format!("UPDATE {n_rows}")).await,
            Delete(_) => self.write(parsed, |n_rows| format!("DELETE {n_rows}")).await,
            CopyIn(copy) => self.copy_in(copy).await,
            CopyOut { source, format } => self.copy_out(parsed, source, format).await,
            Subscribe(subscribe) => {
                let (schema, rows) = self.subscribe(subscribe).await?;
                Ok(Outcome::Rows { schema, rows, tag: Tag::Counted("SUBSCRIBE"), notices: Vec::new() })
            }
            Begin { read_only } => self.begin(*read_only).await,
            Commit => self.commit().await,
            Rollback => self.rollback(),
            Set { name, value, local } => self.set(parsed, name, value.as_deref(), *local),
            ShowSetting { name } => self.show(name),
            WaitFor { .. } => self.wait_for(parsed).await,
            NoEffect { tag } => Ok(self.no_effect(tag)),
            Empty => Ok(Outcome::Empty),
        }
    }

    /// Runs work of the engine on the query runtime; it stops when the returned future is dropped.
    async fn on_queries<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        Running::spawn(&self.queries, BACKEND_PID.scope(self.process_id, work)).finish().await?
    }

    async fn query(&mut self, parsed: &Parsed, tag: Tag) -> Result<Outcome> {
        let (schema, rows, notices) = self.query_rows(&parsed.statement).await?;
        Ok(Outcome::Rows { schema, rows, tag, notices })
    }

    /// The rows of a query, or of the query that COPY TO copies.
    async fn query_rows(&mut self, statement: &Statement) -> Result<(SchemaRef, RowStream, Vec<Notice>)> {
        let (engine, statement) = (self.engine.clone(), statement.clone());
        let (rows, block) = {
            let block = self.block.lend();
            let work = async move {
                let rows = match &statement {
                    Statement::Query(query) | Statement::CopyOut { source: CopySource::Query(query), .. } => {
                        engine.query(query, block.transaction()).await?
                    }
                    _ => return Err(Error::internal("only a query can be queried")),
                };
                Ok((rows, block))
            };
            self.on_queries(work).await?
        };
        self.block = block;
        Ok((rows.schema, RowStream::of_query(&self.queries, rows.stream), rows.notices))
    }

    /// The columns of a statement's rows without running it for them; `None` when it has no rows.
    pub async fn schema_of(&mut self, parsed: &Parsed) -> Result<Option<SchemaRef>> {
        use Statement::*;
        let outcome = match &parsed.statement {
            Query(_) | Explain(_) | ExplainView { .. } | ShowObjects { .. } | ShowCreate { .. } | ShowSetting { .. } => {
                self.run(parsed).await?
            }
            Insert(_) | Update(_) | Delete(_) if returns_rows(&parsed.statement) => {
                return Err(Error::unsupported("RETURNING cannot be described before it runs yet", "use the simple query protocol"));
            }
            Subscribe(_) => return Err(Error::unsupported("SUBSCRIBE cannot be prepared yet", "use the simple query protocol")),
            _ => return Ok(None),
        };
        Ok(match outcome {
            Outcome::Rows { schema, .. } => Some(schema),
            _ => None,
        })
    }

    /// Starts taking in the body of an HTTP request; [`Self::finish_ingest`] ends it.
    pub async fn start_ingest(&mut self, target: &Name, format: IngestFormat) -> Result<CopyingIn> {
        let (engine, target) = (self.engine.clone(), target.clone());
        let ingest = self.on_queries(async move { engine.ingest(&target, format).await }).await?;
        Ok(CopyingIn::start(&self.queries, ingest, 0))
    }

    /// Makes the rows of an HTTP request visible and durable.
    pub async fn finish_ingest(&mut self, copying: CopyingIn) -> Result<Ingested> {
        let ingest = copying.decoded().await?;
        self.on_queries(async move { ingest.finish(None).await }).await
    }

    async fn describe(&mut self, parsed: &Parsed, tag: &str) -> Result<Outcome> {
        let (engine, statement) = (self.engine.clone(), parsed.statement.clone());
        let rows = self.on_queries(async move { engine.describe(&statement).await }).await?;
        let stream = RowStream::of_query(&self.queries, rows.stream);
        Ok(Outcome::Rows { schema: rows.schema, rows: stream, tag: Tag::Fixed(tag.to_owned()), notices: rows.notices })
    }

    async fn define(&mut self, parsed: &Parsed) -> Result<Outcome> {
        self.refuse_in_block("CREATE, DROP and COMMENT cannot run inside a transaction block", "run it before BEGIN or after COMMIT")?;
        self.commit_implicit().await?;
        let (engine, parsed) = (self.engine.clone(), parsed.clone());
        let done = self.on_queries(async move { engine.define(&parsed).await }).await?;
        Ok(Outcome::Done { tag: done.tag.to_owned(), notices: done.notices })
    }

    async fn write(&mut self, parsed: &Parsed, tag: impl Fn(u64) -> String) -> Result<Outcome> {
        self.open_implicit().await?;
        let (engine, statement) = (self.engine.clone(), parsed.statement.clone());
        let mut block = self.block.lend();
        let work = async move {
            let written = engine.write(&statement, block.transaction_mut()).await?;
            Ok((written, block))
        };
        let (Written { n_rows, returning, .. }, block) = self.on_queries(work).await?;
        self.block = block;
        let (tag, notices) = (tag(n_rows), Vec::new());
        Ok(match returning {
            Some((schema, batches)) => Outcome::Rows { schema, rows: RowStream::of_batches(batches), tag: Tag::Fixed(tag), notices },
            None => Outcome::Done { tag, notices },
        })
    }

    async fn copy_in(&mut self, copy: &CopyIn) -> Result<Outcome> {
        if copy.format.kind == CopyKind::Binary {
            return Err(Error::unsupported("COPY in binary format is not supported", "use FORMAT text or FORMAT csv"));
        }
        self.open_implicit().await?;
        let (engine, of_engine) = (self.engine.clone(), copy.clone());
        let ingest = self.on_queries(async move { engine.copy_in(&of_engine).await }).await?;
        let n_columns = match copy.columns.len() {
            0 => self.n_columns(&copy.target),
            n_columns => n_columns,
        };
        Ok(Outcome::CopyIn(CopyingIn::start(&self.queries, ingest, n_columns)))
    }

    /// Makes the rows of a COPY visible and durable (in a transaction: with it) and answers with its tag.
    pub async fn finish_copy(&mut self, copying: CopyingIn) -> Result<Outcome> {
        let ingest = copying.decoded().await?;
        let mut block = self.block.lend();
        let work = async move {
            let ingested = ingest.finish(block.transaction_mut()).await?;
            Ok((ingested, block))
        };
        let (ingested, block) = self.on_queries(work).await?;
        self.block = block;
        Ok(Outcome::Done { tag: format!("COPY {}", ingested.n_rows), notices: copy_in::rejected_notice(&ingested) })
    }

    fn n_columns(&self, target: &Name) -> usize {
        let schema = target.schema.as_deref().unwrap_or("public");
        self.engine.catalog().find(schema, &target.name).map_or(0, |object| object.columns.len())
    }

    async fn copy_out(&mut self, parsed: &Parsed, source: &CopySource, format: &CopyFormat) -> Result<Outcome> {
        let (schema, rows) = match source {
            CopySource::Subscribe(subscribe) => self.subscribe(subscribe).await?,
            CopySource::Query(_) => {
                let (schema, rows, _) = self.query_rows(&parsed.statement).await?;
                (schema, rows)
            }
        };
        Ok(Outcome::CopyOut { schema, rows, format: format.clone() })
    }

    async fn subscribe(&mut self, subscribe: &Subscribe) -> Result<(SchemaRef, RowStream)> {
        self.refuse_in_block(
            "SUBSCRIBE cannot run inside a transaction block",
            "its changes come after the block's snapshot; run it outside",
        )?;
        self.commit_implicit().await?;
        let (engine, subscribe) = (self.engine.clone(), subscribe.clone());
        let subscription = self.on_queries(async move { engine.subscribe(&subscribe).await }).await?;
        Ok((subscription.schema.clone(), RowStream::of_subscription(&self.queries, subscription)))
    }

    async fn wait_for(&mut self, parsed: &Parsed) -> Result<Outcome> {
        self.refuse_in_block("WAIT FOR cannot run inside a transaction block", "the block's own writes are not visible before COMMIT")?;
        self.commit_implicit().await?;
        let (engine, statement) = (self.engine.clone(), parsed.statement.clone());
        let work = async move {
            match &statement {
                Statement::WaitFor { name } => engine.wait_for(name).await,
                _ => Err(Error::internal("only WAIT FOR waits")),
            }
        };
        self.on_queries(work).await?;
        Ok(Outcome::done("WAIT FOR"))
    }

    fn set(&mut self, parsed: &Parsed, name: &str, value: Option<&str>, local: bool) -> Result<Outcome> {
        let mut notices = Vec::new();
        if local && !self.block.is_open() {
            let warning = Error::new(sqlstate::NO_ACTIVE_TRANSACTION, "SET LOCAL can only be used in transaction blocks");
            notices.push(Notice { severity: "WARNING", error: warning });
        }
        match (local, value) {
            (true, _) if !self.block.is_open() => self.settings.check(name, value)?,
            (true, _) => self.settings.set_local(name, value)?,
            (false, _) => self.settings.set(name, value)?,
        }
        let is_reset = parsed.text.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("reset"));
        Ok(Outcome::Done { tag: if is_reset { "RESET" } else { "SET" }.to_owned(), notices })
    }

    fn show(&self, name: &str) -> Result<Outcome> {
        let batch = self.settings.show(name)?;
        let (schema, rows) = (batch.schema(), RowStream::of_batches(vec![batch]));
        Ok(Outcome::Rows { schema, rows, tag: Tag::Fixed("SHOW".to_owned()), notices: Vec::new() })
    }

    fn no_effect(&mut self, tag: &'static str) -> Outcome {
        if tag == "DISCARD ALL" {
            self.settings.reset_all();
        }
        Outcome::done(tag)
    }
}

fn returns_rows(statement: &Statement) -> bool {
    match statement {
        Statement::Insert(insert) => !insert.returning.is_empty(),
        Statement::Update(update) => !update.returning.is_empty(),
        Statement::Delete(delete) => !delete.returning.is_empty(),
        _ => false,
    }
}

impl Outcome {
    fn done(tag: &str) -> Self {
        Self::Done { tag: tag.to_owned(), notices: Vec::new() }
    }
}
