//! Renders a graph as a timely dataflow. Cannot fail: all that can was done when the graph was built. Walks in plan order,
//! since timely's channel ids are counters that must agree on all workers.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use timely::container::NoopBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Input as _, Probe};
use timely::dataflow::{InputHandle, ProbeHandle, Scope};
use timely::scheduling::SyncActivator;
use timely::worker::Worker;

use crate::operators::columns::ColumnsKernel;
use crate::operators::constant::ConstantKernel;
use crate::operators::graph::{Graph, Work};
use crate::operators::timely_driver::{Changes, Outlets, Rendering, render_kernel};
use crate::operators::timely_recompute::{self, render_recompute};
use crate::time::ReadClock;
use crate::{ChangeBatch, Epoch};

/// A dataflow on one worker: its inputs, its outputs and how far it has come.
pub struct TimelyDataflow {
    index: usize,
    imports: Vec<InputHandle<Epoch, NoopBuilder<ChangeBatch>>>,
    probe: ProbeHandle<Epoch>,
    changes: Rc<RefCell<Vec<(Epoch, ChangeBatch)>>>,
    outlets: Outlets,
    on_recorded: Rc<RefCell<Vec<SyncActivator>>>,
}

/// What all dataflows of a worker share.
#[derive(Clone)]
pub struct Surroundings {
    /// Decides at which epochs recomputed relations have versions.
    pub clock: Arc<ReadClock>,
    /// Where batch queries run.
    pub runtime: tokio::runtime::Handle,
}

impl TimelyDataflow {
    /// Builds `graph` on this worker; its first epoch is `as_of`.
    pub fn render(worker: &mut Worker, graph: Graph, as_of: Epoch, surroundings: &Surroundings) -> Self {
        let index = worker.next_dataflow_index();
        worker.dataflow::<Epoch, _, _>(|scope| {
            let outlets = Outlets::default();
            let on_recorded = Rc::default();
            let mut handles = Vec::new();
            let imports: Vec<Changes> = graph
                .imports
                .iter()
                .map(|_| {
                    let (mut handle, stream) = scope.new_input_with_builder::<NoopBuilder<ChangeBatch>>();
                    handle.advance_to(as_of);
                    handles.push(handle);
                    stream
                })
                .collect();
            let mut streams: Vec<Changes> = Vec::new();
            for operator in graph.operators {
                let inputs: Vec<_> = operator.inputs.iter().map(|input| (streams[input.from].clone(), input.route.clone())).collect();
                let kernel = |kernel, initial| Rendering {
                    name: "operator".into(),
                    kernel,
                    initial,
                    as_of,
                    metrics: Arc::clone(&operator.metrics),
                    outlets: outlets.clone(),
                };
                streams.push(match operator.work {
                    Work::Import(import, columns) => {
                        let inputs = vec![(imports[import].clone(), crate::operators::graph::Route::Local)];
                        render_kernel(scope, inputs, kernel(Box::new(ColumnsKernel::new(columns)), None))
                    }
                    Work::Constant(rows) => {
                        let changes = (rows.num_rows() > 0).then(|| ChangeBatch::inserts(rows));
                        render_kernel(scope, vec![], kernel(Box::new(ConstantKernel), changes))
                    }
                    Work::Kernel(work, initial) => render_kernel(scope, inputs, kernel(work, initial)),
                    Work::Recompute(query, shape) => {
                        let rendering = timely_recompute::Rendering {
                            query,
                            shape,
                            as_of,
                            metrics: Arc::clone(&operator.metrics),
                            outlets: outlets.clone(),
                            clock: Arc::clone(&surroundings.clock),
                            runtime: surroundings.runtime.clone(),
                            on_recorded: Rc::clone(&on_recorded),
                        };
                        render_recompute(scope, inputs.into_iter().map(|(stream, _)| stream).collect(), rendering)
                    }
                });
            }
            let changes = Rc::default();
            let probe = ProbeHandle::new();
            let output = streams.pop().expect("a plan has at least one operator");
            collect(scope, output, &changes).probe_with(&probe);
            Self { index, imports: handles, probe, changes, outlets, on_recorded }
        })
    }

    /// Changes of an imported relation at the input's current epoch.
    pub fn push(&mut self, import: usize, mut changes: ChangeBatch) {
        self.imports[import].send_batch(&mut changes);
    }

    /// Says that an import has no more changes before `epoch`.
    pub fn advance(&mut self, import: usize, epoch: Epoch) {
        self.imports[import].advance_to(epoch);
    }

    /// The first epoch whose output may still change.
    pub fn frontier(&self) -> Epoch {
        self.probe.with_frontier(|frontier| frontier.first().copied()).unwrap_or(Epoch::MAX)
    }

    /// Output changes and failing rows that have come out so far, complete for epochs before the frontier.
    pub fn drain(&mut self) -> (Vec<(Epoch, ChangeBatch)>, Vec<(Epoch, ChangeBatch)>) {
        (std::mem::take(&mut *self.changes.borrow_mut()), std::mem::take(&mut *self.outlets.errors.borrow_mut()))
    }

    /// Why the dataflow has stopped, if it has.
    pub fn failure(&self) -> Option<crate::Error> {
        self.outlets.failure.borrow().clone()
    }

    /// Wakes operators that wait for an epoch to be recorded.
    pub fn recorded(&self) {
        for activator in self.on_recorded.borrow().iter() {
            // The operator may be gone with its dataflow; then nobody waits.
            let _ = activator.activate();
        }
    }

    /// Takes the dataflow out of its worker.
    pub fn drop_from(self, worker: &mut Worker) {
        drop(self.imports);
        worker.drop_dataflow(self.index);
    }
}

/// Puts what arrives into `changes`, and passes nothing on but progress.
fn collect<'scope>(
    scope: Scope<'scope, Epoch>,
    stream: Changes<'scope>,
    changes: &Rc<RefCell<Vec<(Epoch, ChangeBatch)>>>,
) -> Changes<'scope> {
    let mut builder = OperatorBuilder::new("Output".into(), scope);
    let mut input = builder.new_input(stream, Pipeline);
    let (_output, stream) = builder.new_output();
    let changes = Rc::clone(changes);
    builder.build(move |_capabilities| {
        move |_frontiers| {
            input.for_each(|capability, batch| {
                let epoch = *capability.least().expect("our messages carry one epoch");
                changes.borrow_mut().push((epoch, std::mem::take(batch)));
            });
        }
    });
    stream
}
