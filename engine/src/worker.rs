//! A worker: one thread with its part of every relation. It takes commands in order, moves changes from ports into the
//! dataflows that import them, steps the dataflows, and closes epochs at their ports.
//!
//! Guaranteed: relations are closed independently of each other, each as soon as its own dataflow is done; relations whose
//! inputs did not change are advanced without being touched. A dataflow that imports a relation gets its snapshot at one
//! epoch and every change after it, with no gap and no overlap. Nothing here fails a statement: whatever can fail was done
//! before the command went out; a dataflow that breaks is failed with those that import it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};

use arrow::array::RecordBatch;
use catalog::ObjectId;

use crate::command::{Command, Create, CreateErrors, EpochInputs};
use crate::operators::sequential::SequentialDataflow;
use crate::priority::give_way;
use crate::render::{Surroundings, TimelyDataflow};
use crate::view::Port;
use crate::{ChangeBatch, Epoch, Error, Result};

/// Rows of a snapshot fed into a dataflow before the worker looks at its commands again: some milliseconds of work, so that
/// a view being built delays nobody.
const FUEL_ROWS: usize = 32_768;

/// What a worker tells the sequencer.
#[derive(Debug)]
pub enum Report {
    /// All relations in flow control have closed the epochs up to this one.
    Through {
        /// Which worker.
        worker: usize,
        /// The last closed epoch.
        epoch: Epoch,
    },
    /// A dataflow has stopped for good.
    Failed {
        /// Its relation.
        relation: ObjectId,
        /// Why.
        error: Error,
    },
}

/// Gets workers going; the queues into them are unbounded, but the sequencer keeps few epochs in flight.
pub struct Workers {
    senders: Vec<Sender<Command>>,
    threads: Vec<std::thread::Thread>,
    join: Option<Joins>,
}

enum Joins {
    Timely(timely::communication::WorkerGuards<()>),
    Sequential(std::thread::JoinHandle<()>),
}

/// Sends commands to all workers.
#[derive(Clone)]
pub struct CommandSender {
    senders: Vec<Sender<Command>>,
    threads: Vec<std::thread::Thread>,
}

impl Workers {
    /// Starts `n_workers` timely workers that report to `report`.
    pub fn start_timely(
        n_workers: usize,
        surroundings: Surroundings,
        report: impl Fn(Report) + Send + Sync + Clone + 'static,
    ) -> Result<Self> {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..n_workers).map(|_| std::sync::mpsc::channel()).unzip();
        let receivers = std::sync::Mutex::new(receivers.into_iter().map(Some).collect::<Vec<_>>());
        let (thread_sender, thread_receiver) = std::sync::mpsc::channel();
        let mut config = timely::Config::process(n_workers);
        config.worker = config.worker.idle_spin(std::time::Duration::ZERO);
        let thread_sender = std::sync::Mutex::new(thread_sender);
        let guards = timely::execute(config, move |timely| {
            let index = timely.index();
            let receiver = receivers.lock().expect("no worker panics here")[index].take().expect("each worker takes its own receiver");
            thread_sender.lock().expect("no worker panics here").send((index, std::thread::current())).expect("start_timely waits");
            Worker::new(index, Runtime::Timely(timely), surroundings.clone()).run(&receiver, &report);
        })
        .map_err(Error::internal)?;
        let mut threads: Vec<_> = thread_receiver.iter().take(n_workers).collect();
        threads.sort_by_key(|(index, _)| *index);
        Ok(Self { senders, threads: threads.into_iter().map(|(_, thread)| thread).collect(), join: Some(Joins::Timely(guards)) })
    }

    /// Starts the one worker of the sequential driver.
    pub fn start_sequential(surroundings: Surroundings, report: impl Fn(Report) + Send + 'static) -> Result<Self> {
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("worker".into())
            .spawn(move || Worker::new(0, Runtime::Sequential, surroundings).run(&receiver, &report))?;
        Ok(Self { senders: vec![sender], threads: vec![thread.thread().clone()], join: Some(Joins::Sequential(thread)) })
    }

    /// The sending end.
    pub fn sender(&self) -> CommandSender {
        CommandSender { senders: self.senders.clone(), threads: self.threads.clone() }
    }

    /// Waits for the workers to end, after [`Command::Shutdown`].
    pub fn join(mut self) {
        self.sender().send_all(|_| Command::Shutdown);
        match self.join.take() {
            Some(Joins::Timely(guards)) => drop(guards.join()),
            // A worker that panicked has already reported it.
            Some(Joins::Sequential(thread)) => drop(thread.join()),
            None => {}
        }
    }
}

impl Drop for Workers {
    /// Ends workers that nobody ended, as when start-up fails: they would wait for commands for ever.
    fn drop(&mut self) {
        if self.join.is_some() {
            self.sender().send_all(|_| Command::Shutdown);
        }
    }
}

impl CommandSender {
    /// How many workers there are.
    pub fn n_workers(&self) -> usize {
        self.senders.len()
    }

    /// Sends worker `w` the command `make(w)`, for each worker. Workers that have ended ignore it.
    pub fn send_all(&self, mut make: impl FnMut(usize) -> Command) {
        for (worker, (sender, thread)) in self.senders.iter().zip(&self.threads).enumerate() {
            // A send fails only at shutdown, when nobody waits for an answer.
            let _ = sender.send(make(worker));
            thread.unpark();
        }
    }
}

enum Runtime<'a> {
    Timely(&'a mut timely::worker::Worker),
    Sequential,
}

#[expect(clippy::large_enum_variant, reason = "there are as many as views, and all of one kind")]
enum Dataflow {
    Timely(TimelyDataflow),
    Sequential(SequentialDataflow),
}

struct Worker<'a> {
    index: usize,
    runtime: Runtime<'a>,
    surroundings: Surroundings,
    ports: BTreeMap<ObjectId, Port>,
    running: BTreeMap<ObjectId, Running>,
    /// Relations that are not computed: they change by the sequencer's epochs alone.
    stored: BTreeSet<ObjectId>,
    /// Which dataflows import a relation, as which of their imports.
    importers: HashMap<ObjectId, Vec<(ObjectId, usize)>>,
    /// The newest epoch heard of.
    newest: Epoch,
    compaction_bound: Epoch,
    reported: Epoch,
}

/// A relation's dataflow.
struct Running {
    dataflow: Dataflow,
    errors: Option<ObjectId>,
    imports: Vec<Import>,
    /// The relations in which its joins look rows up.
    looks_up: Vec<ObjectId>,
    /// The frontier it will have once all it knows of is done.
    touched_through: Epoch,
    as_of: Epoch,
    in_flow_control: bool,
    failed: bool,
    changes: BTreeMap<Epoch, Vec<ChangeBatch>>,
    error_changes: BTreeMap<Epoch, Vec<ChangeBatch>>,
}

struct Import {
    from: ObjectId,
    stage: Stage,
    /// Changes after the snapshot's epoch, not handed over yet.
    queue: VecDeque<(Epoch, ChangeBatch)>,
    at: Epoch,
}

enum Stage {
    /// For the imported relation to close the epoch of the snapshot.
    Waiting,
    /// The snapshot is being fed.
    Loading(Box<dyn Iterator<Item = Result<RecordBatch>> + Send>),
    /// The snapshot is in.
    Live,
}

impl<'a> Worker<'a> {
    fn new(index: usize, runtime: Runtime<'a>, surroundings: Surroundings) -> Self {
        Self {
            index,
            runtime,
            surroundings,
            ports: BTreeMap::new(),
            running: BTreeMap::new(),
            stored: BTreeSet::new(),
            importers: HashMap::new(),
            newest: 0,
            compaction_bound: 0,
            reported: 0,
        }
    }

    fn run(mut self, commands: &Receiver<Command>, report: &dyn Fn(Report)) {
        give_way();
        let mut progressed = true;
        loop {
            loop {
                match commands.try_recv() {
                    Ok(Command::Shutdown) | Err(TryRecvError::Disconnected) => return self.end(),
                    Ok(command) => {
                        self.obey(command, report);
                        progressed = true;
                    }
                    Err(TryRecvError::Empty) => break,
                }
            }
            let fed = self.feed(report);
            self.step(progressed || fed);
            progressed = self.close(report) || fed;
            self.report(report);
        }
    }

    fn end(mut self) {
        while let Some((_, running)) = self.running.pop_last() {
            self.drop_dataflow(running.dataflow);
        }
    }

    /// Lets the operators work; parks when there is nothing to do until someone wakes the thread.
    fn step(&mut self, busy: bool) {
        match &mut self.runtime {
            Runtime::Timely(timely) if busy => drop(timely.step()),
            Runtime::Timely(timely) => drop(timely.step_or_park(None)),
            Runtime::Sequential => {
                if !busy {
                    std::thread::park();
                }
                for running in self.running.values_mut() {
                    if let Dataflow::Sequential(dataflow) = &mut running.dataflow {
                        dataflow.step();
                    }
                }
            }
        }
    }

    fn obey(&mut self, command: Command, report: &dyn Fn(Report)) {
        match command {
            Command::Create(create) => self.create(create),
            Command::Drop(relations) => self.drop_relations(&relations),
            Command::Epoch(inputs) => self.take_in(inputs, report),
            Command::Recorded { compaction_bound, .. } => {
                self.compact(compaction_bound);
                for running in self.running.values() {
                    if let Dataflow::Timely(dataflow) = &running.dataflow {
                        dataflow.recorded();
                    }
                }
            }
            Command::Fail(relation, error) => {
                if self.running.get(&relation).is_some_and(|running| !running.failed) {
                    self.fail(relation, error, report);
                }
            }
            Command::Read(read) => match self.ports.get_mut(&read.relation) {
                Some(port) => port.read(read),
                // The reader may have gone; then nobody wants to know.
                None => drop(read.reply.send(Err(dropped()))),
            },
            Command::Subscribe(subscriber) => match self.ports.get_mut(&subscriber.relation) {
                Some(port) => port.subscribe(subscriber),
                None => drop(subscriber.feed.send(crate::command::Feed::End(dropped()))),
            },
            Command::Shutdown => unreachable!("the loop above ends the worker"),
        }
    }

    fn create(&mut self, mut create: Create) {
        self.newest = self.newest.max(create.as_of);
        let relation = create.relation;
        let Some(dataflow) = create.dataflow.take() else {
            let port = Port::new(&mut create, self.newest + 1);
            self.ports.insert(relation, port);
            self.stored.insert(relation);
            return;
        };
        let as_of = create.as_of;
        let imports: Vec<Import> = dataflow
            .graph
            .imports
            .iter()
            .map(|from| Import { from: *from, stage: Stage::Waiting, queue: VecDeque::new(), at: as_of })
            .collect();
        for (index, import) in imports.iter().enumerate() {
            self.importers.entry(import.from).or_default().push((relation, index));
        }
        let looks_up = dataflow.graph.looks_up.clone();
        let rendered = match &mut self.runtime {
            Runtime::Timely(timely) => Dataflow::Timely(TimelyDataflow::render(timely, dataflow.graph, as_of, &self.surroundings)),
            Runtime::Sequential => Dataflow::Sequential(
                SequentialDataflow::new(dataflow.graph, as_of, self.surroundings.runtime.clone())
                    .expect("its row encodings were tried at planning"),
            ),
        };
        let running = Running {
            dataflow: rendered,
            errors: dataflow.errors.as_ref().map(|errors| errors.relation),
            imports,
            looks_up,
            touched_through: as_of + 1,
            as_of,
            in_flow_control: dataflow.in_flow_control,
            failed: false,
            changes: BTreeMap::new(),
            error_changes: BTreeMap::new(),
        };
        self.running.insert(relation, running);
        if let Some(errors) = dataflow.errors {
            let relation = errors.relation;
            self.ports.insert(relation, Port::new(&mut create_errors(&create, errors), as_of));
        }
        self.ports.insert(relation, Port::new(&mut create, as_of));
    }

    fn drop_relations(&mut self, relations: &[ObjectId]) {
        for relation in relations {
            if let Some(mut port) = self.ports.remove(relation) {
                port.fail(dropped());
            }
            self.importers.remove(relation);
            self.stored.remove(relation);
            for importers in self.importers.values_mut() {
                importers.retain(|(importer, _)| importer != relation);
            }
            if let Some(running) = self.running.remove(relation) {
                if let Some(mut port) = running.errors.and_then(|errors| self.ports.remove(&errors)) {
                    port.fail(dropped());
                }
                self.drop_dataflow(running.dataflow);
            }
        }
    }

    fn drop_dataflow(&mut self, dataflow: Dataflow) {
        if let (Dataflow::Timely(dataflow), Runtime::Timely(timely)) = (dataflow, &mut self.runtime) {
            dataflow.drop_from(timely);
        }
    }

    /// An epoch's changes of stored relations: closed at once.
    fn take_in(&mut self, inputs: EpochInputs, report: &dyn Fn(Report)) {
        let epoch = inputs.epoch;
        assert!(epoch > self.newest, "epoch {epoch} comes after {}", self.newest);
        self.newest = epoch;
        let mut by_relation: BTreeMap<ObjectId, Vec<(Epoch, ChangeBatch)>> = BTreeMap::new();
        for (relation, changes) in inputs.changes {
            by_relation.entry(relation).or_default().push((epoch, changes));
        }
        let touched = self.touched_by(&inputs.touched);
        for relation in self.stored.clone() {
            let changes = by_relation.remove(&relation).unwrap_or_default();
            self.close_port(relation, changes, epoch + 1, report);
        }
        for relation in touched {
            if let Some(running) = self.running.get_mut(&relation) {
                running.touched_through = epoch + 1;
            }
        }
    }

    /// All relations that change when `relations` do. Ids grow along dependencies.
    fn touched_by(&self, relations: &[ObjectId]) -> BTreeSet<ObjectId> {
        let mut touched: BTreeSet<ObjectId> = relations.iter().copied().collect();
        for (relation, running) in &self.running {
            if running.imports.iter().any(|import| touched.contains(&import.from)) {
                touched.insert(*relation);
                touched.extend(running.errors);
            }
        }
        touched
    }

    /// Hands dataflows what waits for them. `true` when a snapshot is still being fed.
    fn feed(&mut self, report: &dyn Fn(Report)) -> bool {
        let mut more = false;
        let mut failures = Vec::new();
        for (relation, running) in &mut self.running {
            let pending = running.dataflow.frontier() < running.touched_through;
            if !pending || running.failed {
                continue;
            }
            for index in 0..running.imports.len() {
                let Some(port) = self.ports.get(&running.imports[index].from) else { continue };
                match running.feed(index, port) {
                    Ok(loading) => more |= loading,
                    Err(error) => failures.push((*relation, error)),
                }
            }
        }
        failures.into_iter().for_each(|(relation, error)| self.fail(relation, error, report));
        more
    }

    /// Closes what the dataflows have finished. `true` when something moved.
    fn close(&mut self, report: &dyn Fn(Report)) -> bool {
        let mut moved = false;
        let relations: Vec<ObjectId> = self.running.keys().copied().collect();
        for relation in relations {
            let Some(running) = self.running.get_mut(&relation) else { continue };
            if running.failed {
                continue;
            }
            if let Some(error) = running.dataflow.failure() {
                self.fail(relation, error, report);
                continue;
            }
            let frontier = running.dataflow.frontier();
            let closed = if frontier >= running.touched_through { self.newest + 1 } else { frontier };
            if self.ports.get(&relation).is_none_or(|port| port.closed() >= closed) {
                continue;
            }
            running.collect();
            let changes = take_before(&mut running.changes, closed);
            let error_changes = take_before(&mut running.error_changes, closed);
            let errors = running.errors;
            self.close_port(relation, changes, closed, report);
            if let Some(errors) = errors {
                self.close_port(errors, error_changes, closed, report);
            }
            moved = true;
        }
        moved
    }

    fn close_port(&mut self, relation: ObjectId, changes: Vec<(Epoch, ChangeBatch)>, closed: Epoch, report: &dyn Fn(Report)) {
        let Some(port) = self.ports.get_mut(&relation) else { return };
        if let Err(error) = port.close(&changes, closed) {
            self.fail(relation, error, report);
            return;
        }
        if changes.is_empty() {
            return;
        }
        for (importer, index) in self.importers.get(&relation).into_iter().flatten() {
            if let Some(running) = self.running.get_mut(importer) {
                let as_of = running.as_of;
                running.imports[*index].queue.extend(changes.iter().filter(|(epoch, _)| *epoch > as_of).cloned());
            }
        }
    }

    /// A dataflow will not get further, nor will those that import it. Its capability is kept by the driver.
    fn fail(&mut self, relation: ObjectId, error: Error, report: &dyn Fn(Report)) {
        if let Some(port) = self.ports.get_mut(&relation) {
            port.fail(error.clone());
        }
        if let Some(running) = self.running.get_mut(&relation) {
            running.failed = true;
            running.in_flow_control = false;
            let errors = running.errors;
            if let Some(port) = errors.and_then(|errors| self.ports.get_mut(&errors)) {
                port.fail(error.clone());
            }
        }
        report(Report::Failed { relation, error: error.clone() });
        let importers: Vec<ObjectId> = self.importers.get(&relation).into_iter().flatten().map(|(importer, _)| *importer).collect();
        for importer in importers {
            if self.running.get(&importer).is_some_and(|running| !running.failed) {
                self.fail(importer, error.clone(), report);
            }
        }
    }

    fn compact(&mut self, bound: Epoch) {
        let waiting = self.running.values().filter(|running| running.imports.iter().any(|import| matches!(import.stage, Stage::Waiting)));
        let bound = waiting.map(|running| running.as_of).min().map_or(bound, |as_of| as_of.min(bound));
        if bound > self.compaction_bound {
            self.compaction_bound = bound;
            let held = self.looked_up();
            for (relation, port) in &mut self.ports {
                port.allow_compaction(held.get(relation).map_or(bound, |held| bound.min(*held)));
            }
        }
    }

    /// The relations in which dataflows will look rows up as of an older epoch, and the first of these: that before the epoch that
    /// the dataflow is at. One that has nothing to do will be at an epoch that is not there yet.
    fn looked_up(&self) -> HashMap<ObjectId, Epoch> {
        let mut held = HashMap::new();
        for running in self.running.values().filter(|running| !running.failed) {
            let frontier = running.dataflow.frontier();
            if frontier < running.touched_through {
                for relation in &running.looks_up {
                    let first = held.entry(*relation).or_insert(Epoch::MAX);
                    *first = (*first).min(frontier.saturating_sub(1));
                }
            }
        }
        held
    }

    fn report(&mut self, report: &dyn Fn(Report)) {
        let live = self.running.iter().filter(|(_, running)| running.in_flow_control && running.is_built());
        let closed = live.filter_map(|(relation, _)| self.ports.get(relation).map(Port::closed)).min().unwrap_or(Epoch::MAX);
        let through = closed.min(self.newest + 1) - 1;
        if through > self.reported {
            self.reported = through;
            report(Report::Through { worker: self.index, epoch: through });
        }
    }
}

impl Running {
    /// Whether it has caught up with the epoch it was created at.
    fn is_built(&self) -> bool {
        self.dataflow.frontier() > self.as_of
    }

    fn collect(&mut self) {
        let (changes, errors) = self.dataflow.drain();
        changes.into_iter().for_each(|(epoch, batch)| self.changes.entry(epoch).or_default().push(batch));
        errors.into_iter().for_each(|(epoch, batch)| self.error_changes.entry(epoch).or_default().push(batch));
    }

    /// Feeds import `index` from `port`, within the fuel. `true` when its snapshot is not in yet.
    fn feed(&mut self, index: usize, port: &Port) -> Result<bool> {
        let import = &mut self.imports[index];
        if matches!(import.stage, Stage::Waiting) {
            if port.closed() <= self.as_of {
                return Ok(false);
            }
            import.stage = Stage::Loading(port.snapshot_at(self.as_of).batches());
        }
        if let Stage::Loading(batches) = &mut import.stage {
            let mut n_rows = 0;
            while n_rows < FUEL_ROWS {
                let Some(batch) = batches.next().transpose()? else {
                    import.stage = Stage::Live;
                    break;
                };
                n_rows += batch.num_rows();
                self.dataflow.push(index, ChangeBatch::inserts(batch));
            }
            if matches!(import.stage, Stage::Loading(_)) {
                return Ok(true);
            }
        }
        while let Some((epoch, changes)) = import.queue.pop_front() {
            if epoch > import.at {
                import.at = epoch;
                self.dataflow.advance(index, epoch);
            }
            self.dataflow.push(index, changes);
        }
        if port.closed() > import.at {
            import.at = port.closed();
            self.dataflow.advance(index, import.at);
        }
        Ok(false)
    }
}

impl Dataflow {
    fn push(&mut self, import: usize, changes: ChangeBatch) {
        match self {
            Self::Timely(dataflow) => dataflow.push(import, changes),
            Self::Sequential(dataflow) => dataflow.push(import, changes),
        }
    }

    fn advance(&mut self, import: usize, epoch: Epoch) {
        match self {
            Self::Timely(dataflow) => dataflow.advance(import, epoch),
            Self::Sequential(dataflow) => dataflow.advance(import, epoch),
        }
    }

    fn frontier(&self) -> Epoch {
        match self {
            Self::Timely(dataflow) => dataflow.frontier(),
            Self::Sequential(dataflow) => dataflow.frontier(),
        }
    }

    fn drain(&mut self) -> (Vec<(Epoch, ChangeBatch)>, Vec<(Epoch, ChangeBatch)>) {
        match self {
            Self::Timely(dataflow) => dataflow.drain(),
            Self::Sequential(dataflow) => dataflow.drain(),
        }
    }

    fn failure(&self) -> Option<Error> {
        match self {
            Self::Timely(dataflow) => dataflow.failure(),
            Self::Sequential(dataflow) => dataflow.failure(),
        }
    }
}

fn take_before(changes: &mut BTreeMap<Epoch, Vec<ChangeBatch>>, closed: Epoch) -> Vec<(Epoch, ChangeBatch)> {
    let later = changes.split_off(&closed);
    let ready = std::mem::replace(changes, later);
    ready.into_iter().flat_map(|(epoch, batches)| batches.into_iter().map(move |batch| (epoch, batch))).collect()
}

fn create_errors(owner: &Create, errors: CreateErrors) -> Create {
    let schema = crate::operators::error_schema();
    Create {
        relation: owner.relation,
        keep: crate::command::Keep::Trace((0..schema.fields().len()).collect()),
        schema,
        append_only: false,
        metrics: errors.metrics,
        published: errors.published,
        as_of: owner.as_of,
        dataflow: None,
    }
}

fn dropped() -> Error {
    Error::new(crate::error::sqlstate::UNDEFINED_TABLE, "the relation was dropped")
}
