//! The only place where statements run. Simple query, extended query, HTTP and `thalweg sql` each make a [`Session`] and
//! hand it parsed statements; what comes back is an [`Outcome`] that they carry to their client.
//!
//! - [`transaction`]: `BEGIN … COMMIT` blocks, savepoints, and the implicit block around several statements of one message.
//! - [`prepared`]: statements that are planned once; [`portals`]: statements with their values, and cursors.
//! - [`settings`]: SET and SHOW. [`notify`]: LISTEN and NOTIFY.
//! - [`rows`]: results that are read as they are computed, on the query runtime. [`copy_in`]: rows on their way in.
//!
//! Guaranteed: the statements of one message are atomic, as in Postgres, but that DDL, SUBSCRIBE and WAIT FOR first make
//! visible what the message wrote so far. A statement that fails, is canceled or times out leaves an open block failed.
//! Dropping a running statement's future stops its work. Not guaranteed: that a *write* whose future is dropped had no effect;
//! it was not acknowledged.

pub mod copy_in;
pub mod notify;
pub mod portals;
pub mod prepared;
pub mod rows;
pub mod settings;
pub mod transaction;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use catalog::SqlType;
use engine::engine::{IngestFormat, Ingested, Notice, Subscription, Written};
use engine::error::sqlstate;
use engine::functions::session::BACKEND_PID;
use engine::functions::settings::{SETTINGS, SessionSettings};
use engine::plan::statement::{CopyFormat, CopyIn, CopyKind, CopySource, Discard, Name, Parsed, Statement, Subscribe};
use engine::plan::system::{SYSTEM_SCHEMAS, SystemSchemas};
use engine::{Engine, Error, Result};
use tokio::runtime::Handle;

use self::copy_in::CopyingIn;
use self::notify::{Channels, Ear, Pending};
use self::portals::Portals;
use self::prepared::Statements;
use self::rows::{RowStream, Running};
use self::settings::{Settings, SharedSettings, StatementSettings};
use self::transaction::{Block, Lent};
use crate::encode::column::Style;
use crate::encode::formats::Formats;
use crate::pg_catalog::PgCatalog;
use crate::pg_catalog::session::{Listed, SessionFacts};
use crate::threads::QueryThreads;

pub use self::transaction::Status;

/// Longer texts are parsed on the query runtime: they would keep other sockets waiting.
const PARSED_HERE_BYTES: usize = 16 << 10;

/// One client's state between its statements.
pub struct Session {
    engine: Engine,
    threads: QueryThreads,
    settings: Arc<SharedSettings>,
    process_id: i32,
    block: Block,
    atomic_message: bool,
    statements: Statements,
    portals: Portals,
    /// What it is notified of.
    pub ear: Ear,
    /// What the transaction does when it commits.
    pending: Pending,
    /// Views that a LISTEN of the transaction will follow.
    followed: Mutex<HashMap<String, Subscription>>,
    listed: Option<Listed>,
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
        /// How they are sent where the client has not said it: in binary for FETCH from a BINARY cursor.
        formats: Formats,
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
    /// A session of the role and database `thalweg`; its statements run on `threads`.
    pub fn new(engine: Engine, threads: QueryThreads, settings: Settings, channels: Channels) -> Self {
        Self {
            settings: Arc::new(SharedSettings::new(settings, engine.clone())),
            engine,
            threads,
            process_id: 0,
            block: Block::Idle,
            atomic_message: false,
            statements: HashMap::new(),
            portals: HashMap::new(),
            ear: Ear::new(channels),
            pending: Vec::new(),
            followed: Mutex::default(),
            listed: None,
        }
    }

    /// With the number that `pg_backend_pid()` tells.
    pub fn with_process_id(self, process_id: i32) -> Self {
        Self { process_id, ..self }
    }

    /// How long a statement may take.
    pub fn statement_timeout(&self) -> Option<Duration> {
        self.settings().duration("statement_timeout")
    }

    /// How long the client may be idle now, and the error that ends its session then.
    pub fn idle_timeout(&self) -> Option<(Duration, Error)> {
        let (setting, sqlstate, message) = match self.is_open() {
            true => ("idle_in_transaction_session_timeout", "25P03", "terminating connection due to idle-in-transaction timeout"),
            false => ("idle_session_timeout", "57P05", "terminating connection due to idle-session timeout"),
        };
        self.settings().duration(setting).map(|timeout| (timeout, Error::new(sqlstate, message)))
    }

    /// How values are written.
    pub fn style(&self) -> Style {
        self.settings().style()
    }

    /// What ParameterStatus tells.
    pub fn reported(&self) -> Vec<(&'static str, String)> {
        self.settings().reported()
    }

    /// Whether the client wants to be told of this.
    pub fn wants(&self, notice: &Notice) -> bool {
        self.settings().sends(notice.severity)
    }

    /// A subscription may be sent between threads but not shared; the lock makes a session shareable and is never waited for.
    fn followed_mut(&mut self) -> &mut HashMap<String, Subscription> {
        self.followed.get_mut().expect("nothing panics while holding it")
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock()
    }

    /// As one of the server's sessions, which all see each other in `pg_stat_activity`.
    pub fn listed(self, listed: Listed) -> Self {
        Self { listed: Some(listed), ..self }
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
        self.commit_implicit().await?;
        if !self.is_open() {
            self.end_portals();
        }
        Ok(())
    }

    /// Call when a message ends early: its writes are dropped, an open block is failed.
    pub fn fail_message(&mut self) {
        self.atomic_message = false;
        self.followed_mut().clear();
        self.fail_block();
    }

    /// Runs one statement. On an error, and when the future is dropped, the caller ends the message with [`Self::fail_message`].
    pub async fn run(&mut self, parsed: &Parsed) -> Result<Outcome> {
        self.check_block(&parsed.statement)?;
        self.note_run(&parsed.statement);
        let executed = match &parsed.statement {
            Statement::Execute(execute) => Some(self.executed(execute)?),
            _ => None,
        };
        self.tell_others(executed.as_ref().unwrap_or(parsed));
        if let Some(parsed) = &executed {
            self.check_block(&parsed.statement)?;
            // Its place would be one in the text of PREPARE, which is not the text the client has just sent.
            return Box::pin(self.dispatch(parsed)).await.map_err(|error| Error { position: None, ..error });
        }
        Box::pin(self.dispatch(parsed)).await.map_err(|error| moved(error, parsed.offset))
    }

    /// What the other sessions see of this one in `pg_stat_activity`.
    fn tell_others(&self, parsed: &Parsed) {
        let Some(listed) = &self.listed else { return };
        let application_name = self.settings().get("application_name").unwrap_or_default().to_owned();
        listed.update(|info| {
            info.application_name = application_name;
            info.statement = parsed.text.clone();
        });
    }

    /// What `pg_catalog` knows of this session and the others.
    fn facts(&self) -> Arc<SessionFacts> {
        Arc::new(SessionFacts {
            process_id: self.process_id,
            settings: self.settings().clone(),
            sessions: self.listed.as_ref().map(Listed::all).unwrap_or_default(),
            server_since_us: self.listed.as_ref().map_or(0, Listed::server_since_us),
        })
    }

    /// Boxed by its callers: what some statements keep while they wait is large.
    async fn dispatch(&mut self, parsed: &Parsed) -> Result<Outcome> {
        use Statement::*;
        match &parsed.statement {
            Query(_) => self.query(parsed).await,
            Explain(_) | ExplainView { .. } => self.describe(parsed, "EXPLAIN").await,
            ShowObjects { .. } | ShowCreate { .. } => self.describe(parsed, "SHOW").await,
            CreateStream(_)
            | CreateTable(_)
            | CreateView(_)
            | CreateSink(_)
            | CreateIndex(_)
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
                Ok(Outcome::rows(schema, rows, Tag::Counted("SUBSCRIBE")))
            }
            Begin { modes } => self.begin(*modes).await,
            Commit => self.commit().await,
            Rollback => self.rollback(),
            SetTransaction { modes, session } => self.set_transaction(*modes, *session),
            Savepoint { name } => self.savepoint(name).await,
            RollbackTo { name } => self.rollback_to(name).await,
            Release { name } => self.release(name),
            Prepare(prepare) => self.prepare_statement(prepare).await,
            Execute(_) => Err(Error::internal("EXECUTE was not resolved")),
            Deallocate { name } => self.deallocate(name.as_deref()),
            DeclareCursor(declare) => {
                let offset = declare.statement.offset - parsed.offset;
                self.declare(declare).await.map_err(|error| moved(error, offset))
            }
            Fetch(fetch) => self.fetch(fetch).await,
            CloseCursor { name } => self.close_cursor(name.as_deref()),
            Discard { what } => self.discard(*what),
            Listen { channel } => self.listen(channel).await,
            Unlisten { channel } => self.unlisten(channel.as_deref()).await,
            Notify { channel, payload } => self.notify(channel, payload).await,
            Set { name, value, local } => self.set(parsed, name, value.as_deref(), *local),
            ShowSetting { name } => self.show(name),
            WaitFor { .. } => self.wait_for(parsed).await,
            Verify { name } => self.verify(name).await,
            NoEffect { tag } => Ok(Outcome::done(tag)),
            Empty => Ok(Outcome::Empty),
        }
    }

    /// Runs work of the engine on the threads that answer; it stops when the returned future is dropped.
    async fn on_queries<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        self.start(&self.threads.answering, work).finish().await?
    }

    /// The same on the threads that are given.
    fn start<T, F>(&self, threads: &Handle, work: F) -> Running<Result<T>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let settings: Arc<dyn SessionSettings> = Arc::new(StatementSettings::new(&self.settings));
        let system: Arc<dyn SystemSchemas> = Arc::new(PgCatalog::new(self.engine.clone(), self.facts()));
        let work = BACKEND_PID.scope(self.process_id, SETTINGS.scope(settings, SYSTEM_SCHEMAS.scope(system, work)));
        Running::spawn(threads, work)
    }

    async fn query(&mut self, parsed: &Parsed) -> Result<Outcome> {
        let (schema, rows, notices) = self.query_rows(parsed).await?;
        Ok(Outcome::Rows { schema, rows, tag: Tag::Counted("SELECT"), notices, formats: Formats::default() })
    }

    /// The rows of a query, or of the query that COPY TO copies.
    async fn query_rows(&mut self, parsed: &Parsed) -> Result<(SchemaRef, RowStream, Vec<Notice>)> {
        let (engine, parsed, lent) = (self.engine.clone(), parsed.clone(), self.block.lend());
        let work = async move {
            let lent: Lent = lent.await;
            engine.read(&parsed, lent.as_ref().and_then(|lent| lent.as_ref())).await
        };
        let rows = self.on_queries(work).await?;
        let threads = if rows.is_short { &self.threads.answering } else { &self.threads.computing };
        Ok((rows.schema, RowStream::of_query(threads, rows.interrupt, rows.stream), rows.notices))
    }

    /// Starts taking in the body of an HTTP request; [`Self::finish_ingest`] ends it.
    pub async fn start_ingest(&mut self, target: &Name, format: IngestFormat) -> Result<CopyingIn> {
        let (engine, target) = (self.engine.clone(), target.clone());
        let ingest = self.on_queries(async move { engine.ingest(&target, format).await }).await?;
        Ok(CopyingIn::start(&self.threads.answering, ingest, Vec::new(), CopyKind::Text))
    }

    /// Makes the rows of an HTTP request visible and durable.
    pub async fn finish_ingest(&mut self, copying: CopyingIn) -> Result<Ingested> {
        let ingest = copying.decoded().await?;
        self.on_queries(async move { ingest.finish(None).await }).await
    }

    async fn describe(&mut self, parsed: &Parsed, tag: &str) -> Result<Outcome> {
        let (engine, statement) = (self.engine.clone(), parsed.statement.clone());
        let rows = self.on_queries(async move { engine.describe(&statement).await }).await?;
        let stream = RowStream::of_query(&self.threads.answering, rows.interrupt, rows.stream);
        let (schema, notices, tag) = (rows.schema, rows.notices, Tag::Fixed(tag.to_owned()));
        Ok(Outcome::Rows { schema, rows: stream, tag, notices, formats: Formats::default() })
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
        let computes = parsed.statement.writes_a_query();
        let (engine, parsed, lent) = (self.engine.clone(), parsed.clone(), self.block.lend());
        let work = async move {
            let mut lent: Lent = lent.await;
            engine.write(&parsed, lent.as_mut().and_then(|lent| lent.as_mut())).await
        };
        let threads = if computes { &self.threads.computing } else { &self.threads.answering };
        let Written { n_rows, returning, .. } = self.start(threads, work).finish().await??;
        let tag = tag(n_rows);
        Ok(match returning {
            Some((schema, batches)) => Outcome::rows(schema, RowStream::of_batches(batches), Tag::Fixed(tag)),
            None => Outcome::Done { tag, notices: Vec::new() },
        })
    }

    async fn copy_in(&mut self, copy: &CopyIn) -> Result<Outcome> {
        self.open_implicit().await?;
        let types = self.column_types(copy)?;
        let mut of_engine = copy.clone();
        if copy.format.kind == CopyKind::Binary {
            of_engine.format = copy_in::text_format();
        }
        let engine = self.engine.clone();
        let ingest = self.on_queries(async move { engine.copy_in(&of_engine).await }).await?;
        Ok(Outcome::CopyIn(CopyingIn::start(&self.threads.answering, ingest, types, copy.format.kind)))
    }

    /// The types of the columns that a COPY names.
    fn column_types(&self, copy: &CopyIn) -> Result<Vec<SqlType>> {
        let catalog = self.engine.catalog();
        let target = catalog.resolve_or_fail(copy.target.schema.as_deref(), &copy.target.name)?;
        let of_name = |name: &String| target.columns.iter().find(|column| column.name == *name).map(|column| column.sql_type.clone());
        Ok(match copy.columns.is_empty() {
            true => target.columns.iter().map(|column| column.sql_type.clone()).collect(),
            // A name that is not there is the engine's to refuse.
            false => copy.columns.iter().map(|name| of_name(name).unwrap_or(SqlType::Text)).collect(),
        })
    }

    /// Makes the rows of a COPY visible and durable (in a transaction: with it) and answers with its tag.
    pub async fn finish_copy(&mut self, copying: CopyingIn) -> Result<Outcome> {
        let ingest = copying.decoded().await?;
        let lent = self.block.lend();
        let work = async move {
            let mut lent: Lent = lent.await;
            ingest.finish(lent.as_mut().and_then(|lent| lent.as_mut())).await
        };
        let ingested = self.on_queries(work).await?;
        Ok(Outcome::Done { tag: format!("COPY {}", ingested.n_rows), notices: copy_in::rejected_notice(&ingested) })
    }

    async fn copy_out(&mut self, parsed: &Parsed, source: &CopySource, format: &CopyFormat) -> Result<Outcome> {
        let (schema, rows) = match source {
            CopySource::Subscribe(subscribe) => self.subscribe(subscribe).await?,
            CopySource::Query(_) => {
                let (schema, rows, _) = self.query_rows(parsed).await?;
                (schema, rows)
            }
        };
        Ok(Outcome::CopyOut { schema, rows, format: format.clone() })
    }

    async fn subscribe(&mut self, subscribe: &Subscribe) -> Result<(SchemaRef, RowStream)> {
        self.refuse_in_block(
            "SUBSCRIBE cannot run inside a transaction block",
            "its changes come after the block's snapshot; run it outside, or DECLARE a cursor for it",
        )?;
        self.commit_implicit().await?;
        self.follow(subscribe).await
    }

    /// A relation's changes from now on; in a block too, whose snapshot is not what it shows.
    async fn follow(&mut self, subscribe: &Subscribe) -> Result<(SchemaRef, RowStream)> {
        let (engine, subscribe) = (self.engine.clone(), subscribe.clone());
        let subscription = self.on_queries(async move { engine.subscribe(&subscribe).await }).await?;
        Ok((subscription.schema.clone(), RowStream::of_subscription(&self.threads.answering, subscription)))
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

    async fn verify(&mut self, name: &Name) -> Result<Outcome> {
        self.refuse_in_block(
            "VERIFY cannot run inside a transaction block",
            "it compares a view with its query at the newest epoch, not in the block's snapshot; run it outside",
        )?;
        self.commit_implicit().await?;
        let (engine, name) = (self.engine.clone(), name.clone());
        let rows = self.on_queries(async move { engine.verify(&name).await }).await?;
        let stream = RowStream::of_query(&self.threads.answering, rows.interrupt, rows.stream);
        let (schema, notices) = (rows.schema, rows.notices);
        Ok(Outcome::Rows { schema, rows: stream, tag: Tag::Counted("VERIFY"), notices, formats: Formats::default() })
    }

    fn set(&mut self, parsed: &Parsed, name: &str, value: Option<&str>, local: bool) -> Result<Outcome> {
        let mut notices = Vec::new();
        if local && !self.is_open() {
            let warning = Error::new(sqlstate::NO_ACTIVE_TRANSACTION, "SET LOCAL can only be used in transaction blocks");
            notices.push(Notice { severity: "WARNING", error: warning });
        }
        self.settings.check_path(name, value)?;
        match (local, value) {
            (true, _) if !self.is_open() => self.settings().check(name, value)?,
            (true, _) => self.settings().set_local(name, value)?,
            (false, _) => self.settings().set(name, value)?,
        }
        let is_reset = parsed.text.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("reset"));
        Ok(Outcome::Done { tag: if is_reset { "RESET" } else { "SET" }.to_owned(), notices })
    }

    fn show(&self, name: &str) -> Result<Outcome> {
        let batch = self.settings().show(name)?;
        Ok(Outcome::rows(batch.schema(), RowStream::of_batches(vec![batch]), Tag::Fixed("SHOW".to_owned())))
    }

    fn discard(&mut self, what: Discard) -> Result<Outcome> {
        let tag = match what {
            Discard::Plans => "DISCARD PLANS",
            Discard::Sequences => "DISCARD SEQUENCES",
            Discard::Temp => "DISCARD TEMP",
            Discard::All => {
                if self.is_open() {
                    let message = "DISCARD ALL cannot run inside a transaction block";
                    return Err(Error::new(sqlstate::ACTIVE_TRANSACTION, message));
                }
                self.settings().reset_all();
                self.statements.clear();
                self.portals.clear();
                self.forget_channels();
                "DISCARD ALL"
            }
        };
        Ok(Outcome::done(tag))
    }
}

/// An error of a statement that begins after `offset` characters.
fn moved(error: Error, offset: usize) -> Error {
    Error { position: error.position.map(|position| position + offset), ..error }
}

impl Outcome {
    fn done(tag: &str) -> Self {
        Self::Done { tag: tag.to_owned(), notices: Vec::new() }
    }

    fn rows(schema: SchemaRef, rows: RowStream, tag: Tag) -> Self {
        Self::Rows { schema, rows, tag, notices: Vec::new(), formats: Formats::default() }
    }
}
