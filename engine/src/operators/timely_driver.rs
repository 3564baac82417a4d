//! The driver for timely dataflow: owns frontiers and capabilities, so that kernels need not know of them.
//!
//! Guaranteed: a kernel sees the changes of an epoch only once no more can arrive (a stateless one sees them as they come), and
//! epochs in order. A kernel that panics or breaks a promise stops its dataflow: the driver *keeps* the capability, since a
//! dropped one would read as "closed, no change". Very large epochs (a view being built) are stepped in parts: as they come, which is
//! exact because each step is the difference to the state before it, or by groups ([`Pieces`]) where a step costs what its groups hold.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use timely::communication::Push;
use timely::container::NoopBuilder;
use timely::dataflow::channels::Message;
use timely::dataflow::channels::pact::{DistributorPact, ParallelizationContract, Pipeline};
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::{InputHandleCore, OutputBuilder};
use timely::dataflow::operators::{Capability, InputCapability};
use timely::dataflow::{Scope, Stream};
use timely::progress::Stamp;
use timely::progress::frontier::MutableAntichain;
use timely::scheduling::Activator;

use super::graph::{Route, step};
use super::pieces::Pieces;
use super::{Kernel, Output, Parts};
use crate::metrics::OperatorMetrics;
use crate::state::key::hash_rows;
use crate::update::worker_of;
use crate::{ChangeBatch, Epoch, Error, Result};

/// Changes on their way between operators.
pub type Changes<'scope> = Stream<'scope, Epoch, ChangeBatch>;

/// Rows of one epoch after which a kernel is stepped before the epoch has closed, or its input split by groups: bounds what is
/// stashed while a view is built from a large snapshot. An epoch taken from sources is smaller (65,536 rows by default), so that
/// live epochs are stepped once.
const MAX_STASHED_ROWS: usize = 4 * 65_536;

/// What operators of one dataflow on one worker hand out beside their changes.
#[derive(Debug, Clone, Default)]
pub struct Outlets {
    /// Failing rows, by epoch.
    pub errors: Rc<RefCell<Vec<(Epoch, ChangeBatch)>>>,
    /// Why the dataflow has stopped, once it has.
    pub failure: Rc<RefCell<Option<Error>>>,
}

/// One end of an edge into an operator; the two kinds differ only in type.
pub enum Port {
    /// From the same worker.
    Local(InputHandleCore<Epoch, ChangeBatch, <Pipeline as ParallelizationContract<Epoch, ChangeBatch>>::Puller>),
    /// From all workers.
    Routed(InputHandleCore<Epoch, ChangeBatch, <DistributorPact<MakeDistributor> as ParallelizationContract<Epoch, ChangeBatch>>::Puller>),
}

/// Makes the distributor of an edge, told how many workers there are.
pub type MakeDistributor = Box<dyn FnOnce(usize) -> ByWorker>;

impl Port {
    /// Connects `stream` to the operator being built.
    pub fn new<'scope>(builder: &mut OperatorBuilder<'scope, Epoch>, stream: Changes<'scope>, route: &Route) -> Self {
        match route {
            Route::Local => Self::Local(builder.new_input(stream, Pipeline)),
            Route::ByKey(columns) => {
                let columns = columns.clone();
                Self::Routed(
                    builder.new_input(stream, DistributorPact(Box::new(move |n| ByWorker { columns: Some(columns), n_workers: n }))),
                )
            }
            Route::ToOne => {
                Self::Routed(builder.new_input(stream, DistributorPact(Box::new(|n| ByWorker { columns: None, n_workers: n }))))
            }
        }
    }

    /// Hands over everything that has arrived.
    pub fn for_each(&mut self, mut each: impl FnMut(InputCapability<Epoch>, ChangeBatch)) {
        match self {
            Self::Local(handle) => handle.for_each(|capability, batch| each(capability, std::mem::take(batch))),
            Self::Routed(handle) => handle.for_each(|capability, batch| each(capability, std::mem::take(batch))),
        }
    }
}

/// Splits a batch by the worker that owns each row: by the hash of `columns`, or everything to worker 0.
pub struct ByWorker {
    columns: Option<Vec<usize>>,
    n_workers: usize,
}

impl Distributor<ChangeBatch> for ByWorker {
    fn partition<T: Clone, P: Push<Message<T, ChangeBatch>>>(&mut self, batch: &mut ChangeBatch, stamp: &Stamp<T>, pushers: &mut [P]) {
        let Some(columns) = &self.columns else {
            Message::push_at(batch, stamp.clone(), &mut pushers[0]);
            return;
        };
        let keys: Vec<_> = columns.iter().map(|column| Arc::clone(batch.column(*column))).collect();
        let hashes = hash_rows(&keys);
        debug_assert!(hashes.values().iter().all(|hash| worker_of(*hash, self.n_workers) < pushers.len()));
        let parts = crate::update::split_by_worker(batch, &hashes, self.n_workers).expect("there is one hash per row");
        for (part, pusher) in parts.into_iter().zip(pushers) {
            if let Some(mut part) = part {
                Message::push_at(&mut part, stamp.clone(), pusher);
            }
        }
    }

    fn flush<T: Clone, P: Push<Message<T, ChangeBatch>>>(&mut self, _stamp: &Stamp<T>, _pushers: &mut [P]) {}
}

/// What a kernel is rendered with.
pub struct Rendering {
    /// Operator name, for timely's logs.
    pub name: String,
    /// The kernel.
    pub kernel: Box<dyn Kernel>,
    /// What it emits at `as_of` whatever its input.
    pub initial: Option<ChangeBatch>,
    /// The first epoch of the dataflow.
    pub as_of: Epoch,
    /// Its counters.
    pub metrics: Arc<OperatorMetrics>,
    /// Where errors go.
    pub outlets: Outlets,
}

/// Builds a timely operator that runs a kernel.
pub fn render_kernel<'scope>(scope: Scope<'scope, Epoch>, inputs: Vec<(Changes<'scope>, Route)>, rendering: Rendering) -> Changes<'scope> {
    let mut builder = OperatorBuilder::new(rendering.name.clone(), scope);
    let again = scope.activator_for(builder.operator_info().address);
    let mut ports: Vec<Port> = inputs.into_iter().map(|(stream, route)| Port::new(&mut builder, stream, &route)).collect();
    let (output, stream) = builder.new_output();
    let mut output = OutputBuilder::<Epoch, NoopBuilder<ChangeBatch>>::from(output);
    builder.build(move |mut capabilities| {
        let mut initial = rendering.initial.map(|changes| {
            let mut capability = capabilities.pop().expect("one output has one capability");
            capability.downgrade(&rendering.as_of);
            (capability, changes)
        });
        capabilities.clear();
        let n_ports = ports.len();
        let mut driver = Driver {
            kernel: rendering.kernel,
            metrics: rendering.metrics,
            outlets: rendering.outlets,
            n_ports,
            stash: BTreeMap::new(),
            again,
        };
        move |frontiers| {
            let mut session = output.activate();
            let mut emit = |capability: &Capability<Epoch>, changes: Vec<ChangeBatch>| {
                let mut session = session.session_with_builder(capability);
                changes.into_iter().filter(|batch| !batch.is_empty()).for_each(|mut batch| session.give_container(&mut batch));
            };
            if let Some((capability, changes)) = initial.take() {
                emit(&capability, vec![changes]);
            }
            for (port, handle) in ports.iter_mut().enumerate() {
                handle.for_each(|capability, batch| driver.absorb(port, capability, batch, &mut emit));
            }
            driver.close(least(frontiers), &mut emit);
        }
    });
    stream
}

/// The first epoch that may still arrive at some input; `None` when all inputs have ended.
pub fn least(frontiers: &[MutableAntichain<Epoch>]) -> Option<Epoch> {
    frontiers.iter().filter_map(|frontier| frontier.frontier().first().copied()).min()
}

struct Driver {
    kernel: Box<dyn Kernel>,
    metrics: Arc<OperatorMetrics>,
    outlets: Outlets,
    n_ports: usize,
    stash: BTreeMap<Epoch, Stashed>,
    /// Calls for another run of this operator.
    again: Activator,
}

struct Stashed {
    capability: Capability<Epoch>,
    inputs: Vec<Vec<ChangeBatch>>,
    /// Rows in `inputs`.
    n_rows: usize,
    /// What came before `inputs`, by groups.
    pieces: Pieces,
}

impl Driver {
    fn absorb(
        &mut self,
        port: usize,
        capability: InputCapability<Epoch>,
        batch: ChangeBatch,
        emit: &mut impl FnMut(&Capability<Epoch>, Vec<ChangeBatch>),
    ) {
        let epoch = *capability.least().expect("our messages carry one epoch");
        let n_ports = self.n_ports;
        let stashed = self.stash.entry(epoch).or_insert_with(|| Stashed {
            capability: capability.delayed(&epoch, 0),
            inputs: vec![Vec::new(); n_ports],
            n_rows: 0,
            pieces: Pieces::default(),
        });
        stashed.n_rows += batch.len();
        stashed.inputs[port].push(batch);
        if self.kernel.is_stateless() {
            self.step(epoch, emit);
        } else if stashed.n_rows > MAX_STASHED_ROWS {
            match self.kernel.parts(epoch) {
                Parts::OfGroups(columns) => {
                    let split = stashed.split(columns);
                    self.note(split);
                }
                Parts::Any if self.stash.first_key_value().is_some_and(|(first, _)| *first == epoch) => self.step_part(epoch, emit),
                Parts::Any | Parts::Whole => {}
            }
        }
    }

    /// Steps what has closed; a piece of an epoch that is there by groups, and others when called again.
    fn close(&mut self, frontier: Option<Epoch>, emit: &mut impl FnMut(&Capability<Epoch>, Vec<ChangeBatch>)) {
        while let Some((&epoch, stashed)) = self.stash.first_key_value() {
            if frontier.is_some_and(|frontier| epoch >= frontier) || self.outlets.failure.borrow().is_some() {
                break;
            }
            if !stashed.pieces.is_empty() {
                self.step_piece(epoch, emit);
                self.again.activate();
                break;
            }
            self.step(epoch, emit);
        }
    }

    /// Steps what is there of an epoch that is still open, keeping its capability.
    fn step_part(&mut self, epoch: Epoch, emit: &mut impl FnMut(&Capability<Epoch>, Vec<ChangeBatch>)) {
        let stashed = self.stash.get_mut(&epoch).expect("the caller has just stashed this epoch");
        let capability = stashed.capability.clone();
        let inputs = std::mem::replace(&mut stashed.inputs, vec![Vec::new(); self.n_ports]);
        stashed.n_rows = 0;
        if let Some(changes) = self.run(epoch, inputs) {
            emit(&capability, changes);
        }
    }

    /// Steps one of the pieces of a closed epoch. Behind the last, nothing is left to be stepped but the epoch's end.
    fn step_piece(&mut self, epoch: Epoch, emit: &mut impl FnMut(&Capability<Epoch>, Vec<ChangeBatch>)) {
        let stashed = self.stash.get_mut(&epoch).expect("the caller has found this epoch");
        let capability = stashed.capability.clone();
        let split = match self.kernel.parts(epoch) {
            Parts::OfGroups(columns) => stashed.split(columns),
            Parts::Any | Parts::Whole => Err(Error::internal("only the changes of groups are put into pieces")),
        };
        let piece = split.map(|()| stashed.pieces.pop());
        let Some(piece) = self.note(piece) else { return };
        if let Some(changes) = piece.and_then(|piece| self.run(epoch, vec![piece])) {
            emit(&capability, changes);
        }
    }

    fn step(&mut self, epoch: Epoch, emit: &mut impl FnMut(&Capability<Epoch>, Vec<ChangeBatch>)) {
        if self.outlets.failure.borrow().is_some() {
            return;
        }
        let mut stashed = self.stash.remove(&epoch).expect("only stashed epochs are stepped");
        match self.run(epoch, std::mem::take(&mut stashed.inputs)) {
            Some(changes) => emit(&stashed.capability, changes),
            None => {
                self.stash.insert(epoch, stashed);
            }
        }
    }

    /// `None` when the kernel failed; the failure is then in the outlets.
    fn run(&mut self, epoch: Epoch, inputs: Vec<Vec<ChangeBatch>>) -> Option<Vec<ChangeBatch>> {
        let ran = run_kernel(self.kernel.as_mut(), &self.metrics, epoch, inputs);
        let out = self.note(ran)?;
        self.outlets.errors.borrow_mut().extend(out.errors.into_iter().map(|errors| (epoch, errors)));
        Some(out.changes)
    }

    /// Keeps the failure, if it is one.
    fn note<T>(&self, made: Result<T>) -> Option<T> {
        made.map_err(|error| *self.outlets.failure.borrow_mut() = Some(error)).ok()
    }
}

impl Stashed {
    /// Puts its inputs into pieces.
    fn split(&mut self, groups: &[usize]) -> Result<()> {
        self.n_rows = 0;
        self.inputs.iter_mut().try_for_each(|batches| self.pieces.add(groups, std::mem::take(batches)))
    }
}

/// One step in which a panic becomes an error: an unwound panic would lose other dataflows' activations.
pub fn run_kernel(kernel: &mut dyn Kernel, metrics: &OperatorMetrics, epoch: Epoch, inputs: Vec<Vec<ChangeBatch>>) -> Result<Output> {
    catch_unwind(AssertUnwindSafe(|| step(kernel, metrics, epoch, inputs))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Error::internal(format!("an operator panicked at epoch {epoch}: {}", text.unwrap_or("no message"))))
    })
}
