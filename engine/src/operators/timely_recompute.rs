//! The timely driver of recompute: the batch query runs on the query runtime while the worker goes on.
//!
//! Guaranteed: the capability of the first epoch without a version is held until there is one, so that nobody takes a
//! missing version for "no change". One job runs at a time; the worker is woken by a `SyncActivator` when it is done.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use timely::container::NoopBuilder;
use timely::dataflow::Scope;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::SyncActivator;

use super::graph::{RecomputeShape, Route};
use super::recompute::{JobResult, RecomputeState};
use super::timely_driver::{Changes, Outlets, Port, least};
use crate::metrics::OperatorMetrics;
use crate::plan::BatchQuery;
use crate::time::ReadClock;
use crate::{ChangeBatch, Epoch, Result};

/// What a recompute is rendered with.
pub struct Rendering {
    /// The query.
    pub query: Arc<dyn BatchQuery>,
    /// Its schemas.
    pub shape: RecomputeShape,
    /// The first epoch of the dataflow.
    pub as_of: Epoch,
    /// Its counters.
    pub metrics: Arc<OperatorMetrics>,
    /// Where errors go.
    pub outlets: Outlets,
    /// Decides at which epoch a version is made.
    pub clock: Arc<ReadClock>,
    /// Where jobs run.
    pub runtime: tokio::runtime::Handle,
    /// Gets an activator, to be called when an epoch was recorded.
    pub on_recorded: Rc<std::cell::RefCell<Vec<SyncActivator>>>,
}

/// Builds the operator. All its rows are on one worker.
pub fn render_recompute<'scope>(scope: Scope<'scope, Epoch>, inputs: Vec<Changes<'scope>>, rendering: Rendering) -> Changes<'scope> {
    let mut builder = OperatorBuilder::new("Recompute".into(), scope);
    let mut ports: Vec<Port> = inputs.into_iter().map(|stream| Port::new(&mut builder, stream, &Route::ToOne)).collect();
    let (output, stream) = builder.new_output();
    let mut output = OutputBuilder::<Epoch, NoopBuilder<ChangeBatch>>::from(output);
    let address = builder.operator_info().address.to_vec();
    rendering.on_recorded.borrow_mut().push(scope.worker().sync_activator_for(address.clone()));
    let activator = scope.worker().sync_activator_for(address);
    let is_owner = scope.index() == 0;
    builder.build(move |mut capabilities| {
        let mut capability = capabilities.pop().expect("one output has one capability");
        capability.downgrade(&rendering.as_of);
        let mut driver = Driver::new(rendering, is_owner.then_some(capability), activator);
        move |frontiers| {
            for (port, handle) in ports.iter_mut().enumerate() {
                handle.for_each(|capability, batch| {
                    let epoch = *capability.least().expect("our messages carry one epoch");
                    driver.held.get_or_insert_with(|| capability.delayed(&epoch, 0));
                    driver.pending.entry(epoch).or_default().push((port, batch));
                });
            }
            if let Some((capability, changes)) = driver.advance(least(frontiers)) {
                let mut session = output.activate();
                let mut session = session.session_with_builder(&capability);
                changes.into_iter().filter(|batch| !batch.is_empty()).for_each(|mut batch| session.give_container(&mut batch));
            }
        }
    });
    stream
}

type Done = (Epoch, JobResult);

struct Driver {
    state: RecomputeState,
    rendering: Parts,
    /// Changes of epochs not absorbed yet, by port.
    pending: BTreeMap<Epoch, Vec<(usize, ChangeBatch)>>,
    /// At the first epoch without a version; `None` when nothing has changed since the last one.
    held: Option<Capability<Epoch>>,
    running: bool,
    done: mpsc::Receiver<Done>,
    sender: mpsc::Sender<Done>,
    activator: Arc<Mutex<SyncActivator>>,
}

struct Parts {
    metrics: Arc<OperatorMetrics>,
    outlets: Outlets,
    clock: Arc<ReadClock>,
    runtime: tokio::runtime::Handle,
}

impl Driver {
    fn new(rendering: Rendering, held: Option<Capability<Epoch>>, activator: SyncActivator) -> Self {
        let state = RecomputeState::new(rendering.query, rendering.shape).expect("the row encoding of the schema was tried at planning");
        let (sender, done) = mpsc::channel();
        let parts = Parts { metrics: rendering.metrics, outlets: rendering.outlets, clock: rendering.clock, runtime: rendering.runtime };
        let activator = Arc::new(Mutex::new(activator));
        Self { state, rendering: parts, pending: BTreeMap::new(), held, running: false, done, sender, activator }
    }

    /// Finishes the job that is done, or starts the next one. `frontier` is the first epoch that may still change.
    fn advance(&mut self, frontier: Option<Epoch>) -> Option<(Capability<Epoch>, Vec<ChangeBatch>)> {
        if self.rendering.outlets.failure.borrow().is_some() {
            return None;
        }
        let emitted = match self.done.try_recv() {
            Ok((epoch, result)) => {
                self.running = false;
                self.fail_on_error(|driver| driver.finish(epoch, result))
            }
            Err(_) => None,
        };
        if !self.running {
            self.fail_on_error(|driver| driver.start(frontier));
        }
        emitted
    }

    fn fail_on_error<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T>) -> Option<T> {
        run(self).map_err(|error| *self.rendering.outlets.failure.borrow_mut() = Some(error)).ok()
    }

    fn finish(&mut self, epoch: Epoch, result: JobResult) -> Result<(Capability<Epoch>, Vec<ChangeBatch>)> {
        let out = self.state.finish(epoch, result)?;
        let mut capability = self.held.take().expect("a running job holds its capability");
        capability.downgrade(&epoch);
        if let Some((next, _)) = self.pending.first_key_value() {
            self.held = Some(capability.delayed(next));
        }
        let n_out = out.changes.iter().map(|changes| changes.len() as u64).sum();
        self.rendering.metrics.stepped(n_out, out.n_state_rows_read, self.state.state_size());
        self.rendering.outlets.errors.borrow_mut().extend(out.errors.into_iter().map(|errors| (epoch, errors)));
        Ok((capability, out.changes))
    }

    fn start(&mut self, frontier: Option<Epoch>) -> Result<()> {
        let Some(held) = &self.held else { return Ok(()) };
        let first = *held.time();
        let closed = match frontier {
            Some(0) => return Ok(()),
            Some(frontier) => frontier - 1,
            None => Epoch::MAX,
        };
        let Some(covered) = self.rendering.clock.next_version(first, closed) else { return Ok(()) };
        let later = self.pending.split_off(&(covered + 1));
        // What nothing has changed since is the same at the later epoch. It must be emitted at the change's: the worker takes a
        // relation for done once it is past the last epoch that touched its inputs.
        let version = self.pending.last_key_value().map_or(first, |(changed, _)| *changed);
        for (epoch, changes) in std::mem::replace(&mut self.pending, later) {
            for (port, changes) in changes {
                self.rendering.metrics.took(&changes);
                self.state.absorb(port, epoch, changes)?;
            }
        }
        let job = self.state.job(version);
        let (sender, activator) = (self.sender.clone(), Arc::clone(&self.activator));
        self.running = true;
        self.rendering.runtime.spawn(async move {
            let result = job.run().await;
            // A closed channel means that the view was dropped meanwhile: nobody wants the result.
            if sender.send((version, result)).is_ok() {
                let _ = activator.lock().expect("no one panics while activating").activate();
            }
        });
        Ok(())
    }
}
