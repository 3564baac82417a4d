//! The handle the server holds: everything a statement can ask of the engine.
//!
//! Cheap to clone. Statements of all sessions meet here; what order they take is decided by the sequencer. Guaranteed: a
//! statement sees every write acknowledged before it, in every relation, and all relations it reads at one epoch.
//!
//! - [`define`]: CREATE, DROP, COMMENT. [`names`]: what names in a query mean.
//! - [`prepare`]: parameters and columns before a statement runs. [`read`]: queries over snapshots. [`transaction`]: a block's snapshot and its own writes.
//! - [`write`]: INSERT, UPDATE, DELETE. [`ingest`]: COPY and HTTP. [`subscribe`]: changes as they happen.
//! - [`system`]: `thalweg.operators` and `thalweg.jobs`. [`describe`]: EXPLAIN and SHOW. [`verify`]: a view beside its query. [`failed_rows`]: what a view lacks.

mod define;
mod describe;
mod failed_rows;
mod indexes;
mod ingest;
mod named_keys;
mod names;
mod prepare;
mod read;
mod snapshot_table;
mod subscribe;
mod system;
mod transaction;
mod verify;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, RwLock};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use catalog::{CatalogLog, DataLock, DataUrl, Definition, Object, ObjectId, Snapshot, parse_data_url};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::runtime_env::RuntimeEnv;
use tokio::sync::{oneshot, watch};

use crate::clock::Clock;
use crate::config::{Config, Driver};
use crate::error::sqlstate;
use crate::log::Log;
use crate::plan::interrupt::Interrupt;
use crate::plan::session::Session;
use crate::plan::statement::{Name, Parsed};
use crate::query_memory::query_environment;
use crate::render::Surroundings;
use crate::sequencer::relation::{NewRelation, Workshop};
use crate::sequencer::{self, Request, Shared};
use crate::time::ReadClock;
use crate::worker::{CommandSender, Workers};
use crate::{Epoch, Error, Result};

pub use ingest::{Ingest, IngestFormat, Ingested};
pub use prepare::Described;
pub use subscribe::Subscription;
pub use transaction::{Savepoint, Transaction};

/// A running engine.
#[derive(Clone)]
pub struct Engine {
    core: Arc<Core>,
}

struct Core {
    config: Config,
    session: Session,
    clock: Arc<Clock>,
    shared: Shared,
    workers: CommandSender,
    requests: Mutex<Sender<Request>>,
    workshop: Workshop,
    /// Materialized views that never retract.
    append_only: RwLock<BTreeSet<ObjectId>>,
    next_unnamed: Mutex<u32>,
    threads: Mutex<Option<Threads>>,
}

struct Threads {
    sequencer: std::thread::JoinHandle<()>,
    workers: Workers,
    runtime: tokio::runtime::Runtime,
    /// Keeps others from opening the same data.
    lock: DataLock,
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
    /// Stops the query where dropping the stream would have to wait for it.
    pub interrupt: Interrupt,
    /// It takes moments, as far as the plan tells.
    pub is_short: bool,
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

/// Ids of relations that are in no catalog: what a SUBSCRIBE to a query follows.
const FIRST_UNNAMED_ID: u32 = 1 << 31;

impl Engine {
    /// Opens the data folder, replays its log and starts the workers.
    pub async fn open(config: Config) -> Result<Self> {
        tokio::task::spawn_blocking(move || open(config)).await.map_err(|error| Error::internal(error.to_string()))?
    }

    /// The statements of a query string.
    pub fn parse(&self, sql: &str) -> Result<Vec<Parsed>> {
        crate::plan::parse::parse(sql)
    }

    /// The settings it was opened with.
    pub fn config(&self) -> &Config {
        &self.core.config
    }

    /// The catalog as it is now.
    pub fn catalog(&self) -> Arc<Snapshot> {
        self.core.catalog()
    }

    /// Returns when a bounded source is done, or a view has caught up with all recorded epochs and its bounded sources are done.
    pub async fn wait_for(&self, name: &Name) -> Result<()> {
        let catalog = self.core.catalog();
        let object = catalog.resolve_or_fail(name.schema.as_deref(), &name.name)?;
        let sources = bounded_sources(&catalog, object, &self.core.workshop)?;
        let mut finished = self.core.shared.finished.subscribe();
        loop {
            let is_done = sources.iter().all(|source| finished.borrow_and_update().contains(source));
            if let Some(error) = sources.iter().chain([&object.id]).find_map(|id| self.core.failure(*id)) {
                return Err(error);
            }
            if is_done {
                break;
            }
            finished.changed().await.map_err(|_| shut_down())?;
        }
        if self.core.is_readable(object) {
            self.core.snapshots(&[object.id], &self.core.shared.clock.hold_newest()).await?;
        } else if matches!(object.definition, Definition::Sink { .. } | Definition::Index { .. }) {
            self.core.wait_until_closed(object.id).await?;
        }
        Ok(())
    }

    /// How many rows and bytes are kept of a relation; none of what keeps nothing.
    pub fn kept(&self, id: ObjectId) -> (u64, u64) {
        self.core.shared.metrics.entry(id).map_or((0, 0), |entry| {
            let kept = entry.kept();
            (kept.n_rows, kept.n_bytes)
        })
    }

    /// The newest epoch that is durable.
    pub fn recorded_epoch(&self) -> Epoch {
        self.core.shared.clock.recorded()
    }

    /// Counters and gauges, by name with labels, for `/metrics`.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        system::metrics(&self.core)
    }

    /// Stops sources, finishes what is acknowledged and joins the workers.
    pub async fn shutdown(&self) -> Result<()> {
        let Some(threads) = self.core.threads.lock().expect("no one panics while holding it").take() else { return Ok(()) };
        let (reply, stopped) = oneshot::channel();
        self.core.send(Request::Shutdown(reply));
        // An error means that the sequencer had ended already.
        let _ = stopped.await;
        tokio::task::spawn_blocking(|| threads.join()).await.map_err(|error| Error::internal(error.to_string()))
    }
}

impl Threads {
    /// Returns when they have ended, which they do once the sequencer was asked to.
    fn join(self) {
        // A sequencer that panicked has been told of where it did.
        let _ = self.sequencer.join();
        self.workers.join();
        self.runtime.shutdown_background();
        drop(self.lock);
    }
}

impl Drop for Core {
    /// Without [`Engine::shutdown`] the threads end by themselves, some time later; the data stays locked until then.
    fn drop(&mut self) {
        let threads = self.threads.get_mut().ok().and_then(Option::take);
        if let Some(threads) = threads {
            self.send(Request::Shutdown(oneshot::channel().0));
            std::thread::spawn(|| threads.join());
        }
    }
}

fn open(config: Config) -> Result<Engine> {
    let url = parse_data_url(&config.data)?;
    let DataUrl::Local(folder) = &url;
    let folder = folder.clone();
    let store = url.open()?;
    let lock = DataLock::acquire(&folder)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(16 << 20)
        .worker_threads(config.n_workers.max(2))
        .thread_name("recompute")
        .on_thread_start(crate::priority::give_way)
        .enable_all()
        .build()?;
    let catalog_log = runtime.block_on(CatalogLog::open(store))?;
    let (log, replay) = Log::open(&folder.join("log"))?;
    let shared = Shared {
        catalog: Arc::new(RwLock::new(catalog_log.snapshot())),
        clock: Arc::new(ReadClock::default()),
        finished: watch::channel(Default::default()).0,
        failed: Arc::default(),
        metrics: Default::default(),
        published: Default::default(),
        n_rows_in: Arc::default(),
    };
    let (requests, receiver) = std::sync::mpsc::channel();
    let workers = start_workers(&config, &shared, runtime.handle(), &requests)?;
    let n_workers = workers.sender().n_workers();
    let core = Core {
        session: Session::new(n_workers, Arc::new(RuntimeEnv::default()))?
            .with_query_environment(query_environment(config.query_memory_bytes, &folder.join("spill"))?),
        clock: Arc::clone(&config.clock),
        shared: shared.clone(),
        workers: workers.sender(),
        requests: Mutex::new(requests.clone()),
        workshop: Workshop { n_workers, file_root: config.file_root.clone(), published: shared.published.clone() },
        append_only: RwLock::default(),
        next_unnamed: Mutex::new(FIRST_UNNAMED_ID),
        threads: Mutex::new(None),
        config,
    };
    let start = sequencer::Start {
        workers: workers.sender(),
        wall_clock: Arc::clone(&core.clock),
        clock_interval_ms: core.config.clock_interval_ms,
        max_epoch_rows: core.config.max_epoch_rows.max(1),
        shared,
        relations: core.all_relations()?,
        catalog_log,
        log,
        replay,
        runtime: runtime.handle().clone(),
    };
    let sequencer = sequencer::start(start, requests, receiver)?;
    *core.threads.lock().expect("nobody else has it yet") = Some(Threads { sequencer, workers, runtime, lock });
    Ok(Engine { core: Arc::new(core) })
}

fn start_workers(config: &Config, shared: &Shared, runtime: &tokio::runtime::Handle, requests: &Sender<Request>) -> Result<Workers> {
    let surroundings = Surroundings { clock: Arc::clone(&shared.clock), runtime: runtime.clone() };
    let sender = Arc::new(Mutex::new(requests.clone()));
    // The sequencer outlives its workers but for shutdown, when nobody reads reports.
    let report = move |report| drop(sender.lock().expect("no worker panics here").send(Request::Report(report)));
    match config.driver {
        Driver::Timely => Workers::start_timely(config.n_workers.max(1), surroundings, report),
        Driver::Sequential => Workers::start_sequential(surroundings, report),
    }
}

/// The bounded sources above an object, itself included.
fn bounded_sources(catalog: &Snapshot, object: &Object, workshop: &Workshop) -> Result<Vec<ObjectId>> {
    let mut found = Vec::new();
    let mut open = vec![object.id];
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        let Some(object) = catalog.get(id).filter(|_| seen.insert(id)) else { continue };
        let source = sequencer::relation::source_of(object, workshop.file_root.as_deref())?;
        if source.is_some_and(|source| source.is_bounded()) {
            found.push(id);
        }
        open.extend(&object.depends_on);
    }
    Ok(found)
}

fn shut_down() -> Error {
    Error::new(sqlstate::ADMIN_SHUTDOWN, "the server is shutting down")
}

impl Core {
    fn catalog(&self) -> Arc<Snapshot> {
        Arc::clone(&self.shared.catalog.read().expect("no one panics while holding it"))
    }

    fn send(&self, request: Request) {
        // A send fails only after shutdown; whoever waits for the reply sees it closed.
        let _ = self.requests.lock().expect("no one panics while holding it").send(request);
    }

    async fn ask<T>(&self, make: impl FnOnce(oneshot::Sender<Result<T>>) -> Request) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.send(make(reply));
        answer.await.map_err(|_| shut_down())?
    }

    fn failure(&self, id: ObjectId) -> Option<Error> {
        self.shared.failed.read().expect("no one panics while holding it").get(&id).cloned()
    }

    /// Whether workers have a port that answers reads for it.
    fn is_readable(&self, object: &Object) -> bool {
        matches!(
            object.definition,
            Definition::Stream { .. } | Definition::Table { .. } | Definition::MaterializedView { .. } | Definition::Errors { .. }
        )
    }

    /// All relations of the catalog, ready to be created, in order of ids.
    fn all_relations(&self) -> Result<Vec<NewRelation>> {
        let catalog = self.catalog();
        let mut relations = Vec::new();
        for object in catalog.objects.values() {
            let relation = self.relation_of(&catalog, object)?;
            // What is planned next may look rows up in it.
            for (id, ports) in relation.iter().flat_map(|relation| relation.published.clone()) {
                self.shared.published.insert(id, ports);
            }
            relations.extend(relation);
        }
        relations.sort_by_key(|relation| relation.since);
        Ok(relations)
    }
}
