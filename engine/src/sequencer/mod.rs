//! The sequencer: one thread that gives every change its epoch. Writes, source batches and definitions arrive in one queue;
//! what it has taken in becomes an epoch, which goes to the workers and to the log at once, and is acknowledged when it is
//! on disk.
//!
//! Guaranteed: commands reach all workers in one order; an epoch is acknowledged after it and all before it are durable; few
//! epochs are in flight, so that no queue grows without bound. What is refused (23505, 40001) has left no trace.
//!
//! - [`table`] knows each table's rows, unclosed writes included.
//! - [`pending`] is what the next epoch will hold, and who waits for it.
//! - [`reader`] threads bring source batches; [`log_thread`] makes epochs durable.
//! - [`intake`] gives rows the time at which they were taken in.
//! - `epoch_clock` gives epochs their `now`, and makes some for views that go by it.
//! - `recovery` replays the log at start.
//! - [`relation`] makes what workers need of an object of the catalog.

mod epoch_clock;
pub mod intake;
pub mod log_thread;
mod pending;
pub mod reader;
mod recovery;
pub mod relation;
mod shard;
pub mod table;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use arrow::array::RecordBatch;
use catalog::{Change, ObjectId, Snapshot};
use tokio::sync::{oneshot, watch};

use crate::clock::Clock;
use crate::command::{Command, EpochInputs};
use crate::decode::decode_error_rows;
use crate::error::sqlstate;
use crate::log::{Effect, EpochRecord, Log, Replay, SourceSpan};
use crate::metrics::Registry;
use crate::published::Publications;
use crate::source::SourceSpec;
use crate::time::{CLOCK, ReadClock};
use crate::worker::{CommandSender, Report};
use crate::{ChangeBatch, Epoch, Error, Result};
use epoch_clock::{EpochClock, reads_clock};
use intake::IntakeTimes;
use log_thread::LogThread;
use pending::{Ack, Pending, answer};
use reader::{Event, Outputs, Reader};
use relation::NewRelation;
use shard::Shard;
use table::{Applied, Table, Write};

/// Epochs sent to the workers that they or the log have not finished: enough that neither waits for the other, few enough
/// that what lies between them is some hundred thousand rows at most.
const MAX_EPOCHS_IN_FLIGHT: u64 = 4;

/// What the sequencer is asked.
pub enum Request {
    /// Writes that become visible together.
    Write {
        /// By relation; streams take insertions only.
        writes: Vec<(ObjectId, Write)>,
        /// What was done, once it is durable.
        reply: oneshot::Sender<Result<Done>>,
    },
    /// A change of the catalog.
    Define(Box<Define>),
    /// Relations of no catalog are not followed any more.
    DropUnnamed(Vec<ObjectId>),
    /// From a reader.
    Source(usize, Event),
    /// From a worker.
    Report(Report),
    /// From the log thread.
    Logged(Result<Epoch>),
    /// The end: sources stop, what was taken in is made durable.
    Shutdown(oneshot::Sender<()>),
}

/// A change of the catalog and what it makes.
pub struct Define {
    /// The version it was planned against; another one means planning again.
    pub version: u64,
    /// The change; `None` for relations that only live as long as someone follows them.
    pub change: Option<Change>,
    /// Relations it makes.
    pub create: Vec<NewRelation>,
    /// Relations it ends.
    pub drop: Vec<ObjectId>,
    /// Rows a new table begins with.
    pub writes: Vec<(ObjectId, Write)>,
    /// `Ok(false)` when the catalog has changed meanwhile.
    pub reply: oneshot::Sender<Result<bool>>,
}

/// What writes did.
#[derive(Debug)]
pub struct Done {
    /// The epoch at which they are visible.
    pub epoch: Epoch,
    /// By write.
    pub applied: Vec<Applied>,
}

/// What others see of the sequencer.
#[derive(Clone)]
pub struct Shared {
    /// The catalog's newest version that may be used.
    pub catalog: Arc<RwLock<Arc<Snapshot>>>,
    /// The newest recorded epoch, and holds.
    pub clock: Arc<ReadClock>,
    /// Bounded sources that are done.
    pub finished: watch::Sender<HashSet<ObjectId>>,
    /// Dataflows and sources that have stopped, and why.
    pub failed: Arc<RwLock<BTreeMap<ObjectId, Error>>>,
    /// Counters.
    pub metrics: Registry,
    /// What ports keep, for readers.
    pub published: Publications,
    /// Rows taken in since the start, by relation.
    pub n_rows_in: Arc<RwLock<BTreeMap<ObjectId, u64>>>,
}

/// What the sequencer is started with.
pub struct Start {
    /// To the workers.
    pub workers: CommandSender,
    /// Read once per epoch.
    pub wall_clock: Arc<Clock>,
    /// See [`crate::config::Config::clock_interval_ms`].
    pub clock_interval_ms: u64,
    /// See [`crate::config::Config::max_epoch_rows`].
    pub max_epoch_rows: usize,
    /// What others see.
    pub shared: Shared,
    /// The catalog's log.
    pub catalog_log: catalog::CatalogLog,
    /// The epoch log, and what it held at start.
    pub log: Log,
    /// Its records.
    pub replay: Replay,
    /// All relations of the catalog, in order of ids.
    pub relations: Vec<NewRelation>,
    /// For the catalog's log.
    pub runtime: tokio::runtime::Handle,
}

/// Starts the sequencer's thread; recovery is complete when this returns.
pub fn start(start: Start, sender: Sender<Request>, requests: Receiver<Request>) -> Result<std::thread::JoinHandle<()>> {
    let (ready, recovered) = channel();
    let thread =
        std::thread::Builder::new().name("sequencer".into()).spawn(move || match Sequencer::recover(start, sender, &requests) {
            Ok(sequencer) => {
                let _ = ready.send(Ok(()));
                sequencer.run(&requests);
            }
            Err(error) => drop(ready.send(Err(error))),
        })?;
    recovered.recv().map_err(|_| Error::internal("the sequencer panicked during recovery"))??;
    Ok(thread)
}

struct Sequencer {
    workers: CommandSender,
    clock: EpochClock,
    max_epoch_rows: usize,
    shared: Shared,
    snapshot: Arc<Snapshot>,
    catalog_log: catalog::CatalogLog,
    runtime: tokio::runtime::Handle,
    log: Option<LogThread>,
    sender: Sender<Request>,

    relations: HashMap<ObjectId, Relation>,
    readers: BTreeMap<usize, Reader>,
    next_reader: usize,

    /// The newest epoch sent to the workers.
    sealed: Epoch,
    /// The newest epoch on disk.
    logged: Epoch,
    /// By worker, the newest epoch it is done with.
    through: Vec<Epoch>,
    log_failure: Option<Error>,
    pending: Pending,
    waiting: VecDeque<(Epoch, Ack)>,
}

/// What the sequencer keeps of a stored relation.
struct Relation {
    shard: Shard,
    table: Option<Table>,
    source: Option<SourceSpec>,
    errors: Option<ObjectId>,
    intake_times: Option<IntakeTimes>,
    /// Where its source was last, as logged.
    position: Option<String>,
    is_started: bool,
    /// For a stream that keeps nothing: it starts with its first reader.
    starts_when_read: bool,
}

impl Sequencer {
    fn run(mut self, requests: &Receiver<Request>) {
        let mut shutdown = None;
        while let Ok(first) = self.wait(requests) {
            for request in first.into_iter().chain(requests.try_iter().take(1024)) {
                match request {
                    Request::Shutdown(reply) => {
                        self.readers.clear();
                        self.clock.stop();
                        shutdown = Some(reply);
                    }
                    request => self.take(request),
                }
            }
            self.seal_if_due();
            if shutdown.is_some() && self.pending.is_empty() && (self.logged == self.sealed || self.log_failure.is_some()) {
                break;
            }
        }
        self.log = None;
        self.workers.send_all(|_| Command::Shutdown);
        if let Some(reply) = shutdown {
            // Whoever asked may not wait for the answer.
            let _ = reply.send(());
        }
    }

    /// The next request, or none when an epoch is due before there is one; an error when nobody can ask any more.
    fn wait(&self, requests: &Receiver<Request>) -> Result<Option<Request>, RecvTimeoutError> {
        match self.clock.due_in().filter(|_| self.is_idle()) {
            None => requests.recv().map(Some).map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => match requests.recv_timeout(due) {
                Err(RecvTimeoutError::Timeout) => Ok(None),
                received => received.map(Some),
            },
        }
    }

    /// Nothing waits for an epoch, and all of them are done: what changes that is a request.
    fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.logged == self.sealed && self.n_in_flight() == 0 && self.log_failure.is_none()
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::Write { writes, reply } => match self.apply(&writes) {
                Ok(applied) => self.pending.acks.push(Ack::Write(reply, applied)),
                Err(error) => answer(reply, Err(error)),
            },
            Request::Define(define) => self.define(*define),
            Request::DropUnnamed(relations) => self.drop_relations(&relations),
            Request::Source(reader, event) => self.bring(reader, event),
            Request::Report(Report::Through { worker, epoch }) => self.through[worker] = epoch,
            Request::Report(Report::Failed { relation, error }) => self.stopped(relation, error),
            Request::Logged(result) => self.logged(result),
            Request::Shutdown(_) => unreachable!("run handles it"),
        }
    }

    fn apply(&mut self, writes: &[(ObjectId, Write)]) -> Result<Vec<Applied>> {
        if let Some(error) = &self.log_failure {
            return Err(error.clone());
        }
        let now_us = self.now_us();
        let applied: Result<Vec<Applied>> = writes.iter().map(|(relation, write)| self.apply_one(*relation, write, now_us)).collect();
        for (relation, _) in writes {
            if let Some(table) = self.relations.get_mut(relation).and_then(|relation| relation.table.as_mut()) {
                if applied.is_ok() { table.keep() } else { table.undo() }
            }
        }
        let applied = applied?;
        for ((relation, _), applied) in writes.iter().zip(&applied) {
            self.pending.effects.extend(applied.effects.iter().map(|changes| Effect { relation: *relation, changes: changes.clone() }));
        }
        Ok(applied)
    }

    /// The `now` of the epoch that is being filled.
    fn now_us(&mut self) -> i64 {
        if self.pending.is_empty() {
            // What came since the last epoch was refused.
            self.pending.now_us = None;
        }
        *self.pending.now_us.get_or_insert_with(|| self.clock.next_us())
    }

    fn apply_one(&mut self, id: ObjectId, write: &Write, now_us: i64) -> Result<Applied> {
        let relation = self.relations.get_mut(&id).ok_or_else(|| Error::new(sqlstate::UNDEFINED_TABLE, "the relation was dropped"))?;
        match (&mut relation.table, write) {
            (Some(table), write) => table.apply(write),
            (None, Write::Insert(rows, _)) => {
                let rows = match &relation.intake_times {
                    Some(times) => times.fill(rows, now_us)?,
                    None => rows.clone(),
                };
                let effects = if rows.num_rows() == 0 { vec![] } else { vec![ChangeBatch::inserts(rows.clone())] };
                Ok(Applied { effects, returned: rows })
            }
            (None, _) => Err(Error::new(sqlstate::WRONG_OBJECT_TYPE, "rows of a stream cannot be updated or deleted")),
        }
    }

    fn bring(&mut self, index: usize, event: Event) {
        let Some(reader) = self.readers.get(&index) else { return };
        let outputs = reader.outputs.clone();
        match event {
            Event::Batch { batch, from, to } => {
                reader.taken();
                if let Err(error) = self.bring_batch(&outputs, batch, &from, &to) {
                    self.readers.remove(&index);
                    outputs.into_iter().flatten().for_each(|relation| self.failed(relation, error.clone()));
                }
            }
            Event::Finished => {
                self.readers.remove(&index);
                self.pending.acks.push(Ack::Finished(outputs.into_iter().flatten().collect()));
            }
            Event::Failed(error) => {
                self.readers.remove(&index);
                outputs.into_iter().flatten().for_each(|relation| self.failed(relation, error.clone()));
            }
        }
    }

    fn bring_batch(&mut self, outputs: &Outputs, batch: crate::source::SourceBatch, from: &str, to: &str) -> Result<()> {
        let now_us = self.now_us();
        for (index, batches) in batch.outputs.into_iter().enumerate() {
            let Some(Some(relation)) = outputs.get(index).copied() else { continue };
            let n_rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
            let brought = self.with_intake_times(relation, batches, now_us)?;
            self.pending.spans.push(SourceSpan { relation, from: from.into(), to: to.into(), n_rows });
            self.pending.brought.extend(brought);
        }
        for (index, failure) in &batch.errors {
            let Some(errors) = outputs.get(*index).copied().flatten().and_then(|relation| self.relations.get(&relation)?.errors) else {
                continue;
            };
            let rows = decode_error_rows(std::slice::from_ref(failure), now_us);
            self.pending.effects.push(Effect { relation: errors, changes: ChangeBatch::inserts(rows) });
        }
        Ok(())
    }

    /// What a source brought for a stream, as rows of the stream.
    fn with_intake_times(&self, id: ObjectId, brought: Vec<RecordBatch>, now_us: i64) -> Result<Vec<(ObjectId, RecordBatch)>> {
        let times = self.relations.get(&id).and_then(|relation| relation.intake_times.as_ref());
        let rows = brought.into_iter().filter(|rows| rows.num_rows() > 0);
        rows.map(|rows| Ok((id, times.map_or_else(|| Ok(rows.clone()), |times| times.add(&rows, now_us))?))).collect()
    }

    /// A dataflow that stops on one worker is waited for by the others, so all must know.
    fn stopped(&mut self, relation: ObjectId, error: Error) {
        if self.shared.failed.read().expect("no one panics while holding it").contains_key(&relation) {
            return;
        }
        self.workers.send_all(|_| Command::Fail(relation, error.clone()));
        self.failed(relation, error);
    }

    fn failed(&mut self, relation: ObjectId, error: Error) {
        tracing::error!(relation = %relation, error = %error, sqlstate = error.sqlstate, "a relation has stopped");
        self.shared.failed.write().expect("no one panics while holding it").insert(relation, error);
        // Those who wait for it must look again.
        self.shared.finished.send_modify(|_| ());
    }

    fn define(&mut self, define: Define) {
        let reply = define.reply;
        if define.version != self.snapshot.version {
            return answer(reply, Ok(false));
        }
        let goes_by_clock = define.create.iter().any(reads_clock);
        if let Some(error) = self.log_failure.as_ref().filter(|_| goes_by_clock) {
            return answer(reply, Err(error.clone()));
        }
        if goes_by_clock {
            self.clock.await_reader();
        }
        if goes_by_clock || !self.pending.is_empty() {
            self.seal();
        }
        if let Some(change) = define.change {
            match self.runtime.block_on(self.catalog_log.append(begun(change, self.sealed))) {
                Ok(snapshot) => self.snapshot = snapshot,
                Err(error) => return answer(reply, Err(error.into())),
            }
        }
        self.drop_relations(&define.drop);
        for relation in define.create {
            if let Err(error) = self.create(relation, self.sealed) {
                return answer(reply, Err(error));
            }
        }
        let ack = Ack::Defined(reply, Arc::clone(&self.snapshot));
        if !define.writes.is_empty() {
            match self.apply(&define.writes) {
                Ok(_) => return self.pending.acks.push(ack),
                Err(error) => tracing::error!(error = %error, "the first rows of a new table were refused"),
            }
        }
        self.waiting.push_back((self.sealed, ack));
        self.release();
    }

    fn drop_relations(&mut self, drop: &[ObjectId]) {
        if drop.is_empty() {
            return;
        }
        self.clock.dropped(drop);
        for relation in drop {
            self.relations.remove(relation);
            self.shared.metrics.remove(*relation);
            self.shared.published.remove(*relation);
            self.shared.failed.write().expect("no one panics while holding it").remove(relation);
        }
        for reader in self.readers.values_mut() {
            for output in &mut reader.outputs {
                *output = output.filter(|relation| !drop.contains(relation));
            }
        }
        self.readers.retain(|_, reader| reader.outputs.iter().any(Option::is_some));
        self.pending.effects.retain(|effect| !drop.contains(&effect.relation));
        self.pending.brought.retain(|(relation, _)| !drop.contains(relation));
        self.workers.send_all(|_| Command::Drop(drop.to_vec()));
    }

    fn create(&mut self, new: NewRelation, as_of: Epoch) -> Result<()> {
        self.clock.created(&new);
        let reads = new.reads.clone();
        let position = new.source.as_ref().map(|_| String::new());
        if let Some(stored) = new.stored {
            let relation = Relation {
                shard: stored.shard_columns.map_or(Shard::Spread, Shard::ByColumns),
                table: stored.table,
                source: new.source,
                errors: stored.errors,
                intake_times: stored.intake_times,
                position: position.filter(|position| !position.is_empty()),
                is_started: false,
                starts_when_read: stored.starts_when_read,
            };
            self.relations.insert(new.id, relation);
        }
        for (id, entry) in new.metrics {
            self.shared.metrics.insert(id, entry);
        }
        for (id, ports) in new.published {
            self.shared.published.insert(id, ports);
        }
        for mut creates in new.creates {
            creates.iter_mut().for_each(|create| create.as_of = as_of);
            let mut creates: Vec<Option<_>> = creates.into_iter().map(Some).collect();
            self.workers.send_all(|worker| Command::Create(creates[worker].take().expect("there is one create per worker")));
        }
        if self.log.is_some() {
            self.start_sources(&[new.id], &reads)?;
        }
        Ok(())
    }

    /// Starts the sources of new streams, and those that wait for a reader and now have one. Streams that start together and
    /// come from one sequence of events share a reader.
    fn start_sources(&mut self, new: &[ObjectId], read: &[ObjectId]) -> Result<()> {
        let mut groups: BTreeMap<String, Vec<(ObjectId, SourceSpec)>> = BTreeMap::new();
        for (id, relation) in &mut self.relations {
            let Some(source) = &relation.source else { continue };
            let is_wanted = if relation.starts_when_read { read.contains(id) } else { new.contains(id) };
            if relation.is_started || !is_wanted {
                continue;
            }
            relation.is_started = true;
            let position = relation.position.clone().unwrap_or_default();
            let own = id.to_string();
            let key = source.shared_key().map_or_else(|| own.clone(), |key| format!("{key}\0{position}"));
            // Two streams of one table cannot share a reader: it feeds one stream per output.
            let is_taken = groups.get(&key).is_some_and(|group| group.iter().any(|(_, other)| other.output_of() == source.output_of()));
            groups.entry(if is_taken { own } else { key }).or_default().push((*id, source.clone()));
        }
        for group in groups.into_values() {
            self.start_reader(&group)?;
        }
        Ok(())
    }

    fn start_reader(&mut self, group: &[(ObjectId, SourceSpec)]) -> Result<()> {
        let (first, spec) = &group[0];
        let mut outputs: Outputs = vec![None; spec.n_outputs()];
        for (id, spec) in group {
            outputs[spec.output_of()] = Some(*id);
        }
        let wanted: Vec<usize> = (0..outputs.len()).filter(|index| outputs[*index].is_some()).collect();
        let mut source = spec.open(&wanted)?;
        if let Some(position) = &self.relations[first].position {
            source.seek(position)?;
        }
        let index = self.next_reader;
        self.next_reader += 1;
        let sender = self.sender.clone();
        // The sequencer ends before its readers only at shutdown, when nobody takes their rows.
        let deliver = move |event| drop(sender.send(Request::Source(index, event)));
        let reader = Reader::start(source, outputs, self.max_epoch_rows, Arc::clone(self.clock.wall()), deliver)?;
        self.readers.insert(index, reader);
        Ok(())
    }

    fn logged(&mut self, result: Result<Epoch>) {
        match result {
            Ok(epoch) => {
                self.logged = epoch;
                let now_us = self.clock.recorded(epoch);
                self.shared.clock.record(epoch, now_us);
                let compaction_bound = self.shared.clock.compaction_bound();
                self.workers.send_all(|_| Command::Recorded { epoch, compaction_bound });
                self.release();
            }
            Err(error) => {
                tracing::error!(error = %error, "the log has failed: nothing more is acknowledged");
                let error = Error::new(error.sqlstate, format!("the log has failed: {}", error.message))
                    .with_hint("restart the server once the disk is in order");
                for (_, ack) in self.waiting.drain(..) {
                    ack.fail(&error);
                }
                self.log_failure = Some(error);
            }
        }
    }

    /// Tells those whose epoch is on disk.
    fn release(&mut self) {
        while self.waiting.front().is_some_and(|(epoch, _)| *epoch <= self.logged) {
            let (epoch, ack) = self.waiting.pop_front().expect("there is a first one");
            match ack {
                Ack::Write(reply, applied) => answer(reply, Ok(Done { epoch, applied })),
                Ack::Defined(reply, snapshot) => {
                    *self.shared.catalog.write().expect("no one panics while holding it") = snapshot;
                    answer(reply, Ok(true));
                }
                Ack::Finished(relations) => self.shared.finished.send_modify(|finished| finished.extend(relations)),
            }
        }
    }

    /// Epochs that some worker or the log has not finished.
    fn n_in_flight(&self) -> u64 {
        self.sealed - self.through.iter().copied().min().unwrap_or(self.sealed).min(self.logged)
    }

    /// An epoch is sealed when there is something in it, the log is free to take it (group commit) and few are in flight; or when
    /// nothing has moved the clock for long.
    fn seal_if_due(&mut self) {
        if let Some(error) = self.log_failure.clone() {
            std::mem::take(&mut self.pending).acks.into_iter().for_each(|ack| ack.fail(&error));
            return;
        }
        let is_log_free = self.logged == self.sealed || self.pending.acks.is_empty();
        let is_due = match self.pending.is_empty() {
            true => self.is_idle() && self.clock.due_in() == Some(Duration::ZERO),
            false => is_log_free,
        };
        if is_due && self.n_in_flight() < MAX_EPOCHS_IN_FLIGHT {
            self.seal();
        }
    }

    fn seal(&mut self) {
        let now_us = self.now_us();
        let pending = std::mem::take(&mut self.pending);
        let mut records = Vec::new();
        let parts = if self.max_epoch_rows == 1 { pending.by_row() } else { vec![(pending.effects, pending.brought, pending.spans)] };
        for (effects, brought, spans) in parts {
            self.sealed += 1;
            self.send_epoch(self.sealed, now_us, &effects, &brought);
            records.push(EpochRecord { epoch: self.sealed, now_us, catalog_version: self.snapshot.version, spans, effects });
        }
        let sealed = self.sealed;
        self.waiting.extend(pending.acks.into_iter().map(|ack| (sealed, ack)));
        self.log.as_ref().expect("the log is open while the sequencer runs").append(records);
    }

    /// Sends each worker its rows of an epoch.
    fn send_epoch(&mut self, epoch: Epoch, now_us: i64, effects: &[Effect], brought: &[(ObjectId, RecordBatch)]) {
        let n_workers = self.workers.n_workers();
        let mut inputs: Vec<Vec<(ObjectId, ChangeBatch)>> = vec![Vec::new(); n_workers];
        let brought = brought.iter().map(|(relation, rows)| (*relation, ChangeBatch::inserts(rows.clone())));
        let effects = effects.iter().map(|effect| (effect.relation, effect.changes.clone()));
        let mut touched: Vec<ObjectId> = Vec::new();
        for (id, changes) in effects.chain(brought) {
            let Some(relation) = self.relations.get(&id) else { continue };
            if !touched.contains(&id) {
                touched.push(id);
                *self.shared.n_rows_in.write().expect("no one panics while holding it").entry(id).or_default() += changes.len() as u64;
            }
            for (worker, part) in relation.shard.split(&changes, n_workers, epoch).into_iter().enumerate() {
                inputs[worker].extend(part.map(|part| (id, part)));
            }
        }
        if let Some(changes) = self.clock.seal(epoch, now_us) {
            touched.push(CLOCK);
            inputs.iter_mut().for_each(|of_worker| of_worker.push((CLOCK, changes.clone())));
        }
        let touched: Arc<[ObjectId]> = touched.into();
        self.workers.send_all(|worker| {
            Command::Epoch(EpochInputs { epoch, changes: std::mem::take(&mut inputs[worker]), touched: Arc::clone(&touched) })
        });
    }
}

/// The change with the epoch at which what it creates begins.
fn begun(mut change: Change, since: Epoch) -> Change {
    match &mut change {
        Change::Create(object) | Change::Replace(object) => object.since = since,
        Change::CreateMany(objects) => objects.iter_mut().for_each(|object| object.since = since),
        _ => {}
    }
    change
}
