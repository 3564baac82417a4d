//! The second driver: runs the same graphs one operator after another on one thread. Slow and obvious; the simulator and the
//! oracle's other opinion.
//!
//! Guaranteed: an epoch is computed once all imports have closed it, in order of epochs, in plan order.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::graph::{Graph, Operator, Work};
use super::recompute::RecomputeState;
use super::timely_driver::run_kernel;
use super::{Kernel, Output};
use crate::{ChangeBatch, Epoch, Error, Result};

/// A dataflow on the only worker.
pub struct SequentialDataflow {
    operators: Vec<Step>,
    pending: BTreeMap<Epoch, Vec<(usize, ChangeBatch)>>,
    imports_closed: Vec<Epoch>,
    imports_at: Vec<Epoch>,
    as_of: Option<Epoch>,
    frontier: Epoch,
    changes: Vec<(Epoch, ChangeBatch)>,
    errors: Vec<(Epoch, ChangeBatch)>,
    failure: Option<Error>,
    runtime: tokio::runtime::Handle,
}

struct Step {
    work: Running,
    inputs: Vec<usize>,
    metrics: Arc<crate::metrics::OperatorMetrics>,
}

enum Running {
    Import(usize, Vec<usize>),
    Constant(Option<ChangeBatch>),
    Kernel(Box<dyn Kernel>, Option<ChangeBatch>),
    Recompute(RecomputeState),
}

impl SequentialDataflow {
    /// Gets ready to run `graph` from epoch `as_of` on.
    pub fn new(graph: Graph, as_of: Epoch, runtime: tokio::runtime::Handle) -> Result<Self> {
        let n_imports = graph.imports.len();
        Ok(Self {
            operators: graph.operators.into_iter().map(Step::new).collect::<Result<_>>()?,
            pending: BTreeMap::new(),
            imports_closed: vec![as_of; n_imports],
            imports_at: vec![as_of; n_imports],
            as_of: Some(as_of),
            frontier: as_of,
            changes: Vec::new(),
            errors: Vec::new(),
            failure: None,
            runtime,
        })
    }

    /// Changes of an imported relation at the import's current epoch.
    pub fn push(&mut self, import: usize, changes: ChangeBatch) {
        self.pending.entry(self.imports_at[import]).or_default().push((import, changes));
    }

    /// Says that an import has no more changes before `epoch`.
    pub fn advance(&mut self, import: usize, epoch: Epoch) {
        self.imports_at[import] = epoch;
        self.imports_closed[import] = epoch;
    }

    /// The first epoch whose output may still change.
    pub fn frontier(&self) -> Epoch {
        self.frontier
    }

    /// Output changes and failing rows that have come out so far.
    pub fn drain(&mut self) -> (Vec<(Epoch, ChangeBatch)>, Vec<(Epoch, ChangeBatch)>) {
        (std::mem::take(&mut self.changes), std::mem::take(&mut self.errors))
    }

    /// Why the dataflow has stopped, if it has.
    pub fn failure(&self) -> Option<Error> {
        self.failure.clone()
    }

    /// Runs all epochs that have closed.
    pub fn step(&mut self) {
        if self.failure.is_some() {
            return;
        }
        let closed = self.imports_closed.iter().copied().min().unwrap_or(Epoch::MAX);
        let mut later = self.pending.split_off(&closed);
        std::mem::swap(&mut self.pending, &mut later);
        let mut ready = later;
        if let Some(as_of) = self.as_of.take_if(|as_of| *as_of < closed) {
            ready.entry(as_of).or_default();
        }
        for (epoch, changes) in ready {
            if let Err(error) = self.run(epoch, changes) {
                self.failure = Some(error);
                return;
            }
        }
        self.frontier = self.frontier.max(closed);
    }

    fn run(&mut self, epoch: Epoch, imported: Vec<(usize, ChangeBatch)>) -> Result<()> {
        let mut outputs: Vec<Vec<ChangeBatch>> = Vec::with_capacity(self.operators.len());
        for operator in &mut self.operators {
            let inputs: Vec<Vec<ChangeBatch>> = operator.inputs.iter().map(|input| outputs[*input].clone()).collect();
            let out = operator.run(epoch, inputs, &imported, &self.runtime)?;
            self.errors.extend(out.errors.into_iter().map(|errors| (epoch, errors)));
            outputs.push(out.changes);
        }
        let output = outputs.pop().expect("a plan has at least one operator");
        self.changes.extend(output.into_iter().filter(|batch| !batch.is_empty()).map(|batch| (epoch, batch)));
        Ok(())
    }
}

impl Step {
    fn new(operator: Operator) -> Result<Self> {
        let work = match operator.work {
            Work::Import(import, columns) => Running::Import(import, columns),
            Work::Constant(rows) => Running::Constant(Some(ChangeBatch::inserts(rows))),
            Work::Kernel(kernel, initial) => Running::Kernel(kernel, initial),
            Work::Recompute(query, shape) => Running::Recompute(RecomputeState::new(query, shape)?),
        };
        Ok(Self { work, inputs: operator.inputs.iter().map(|input| input.from).collect(), metrics: operator.metrics })
    }

    fn run(
        &mut self,
        epoch: Epoch,
        inputs: Vec<Vec<ChangeBatch>>,
        imported: &[(usize, ChangeBatch)],
        runtime: &tokio::runtime::Handle,
    ) -> Result<Output> {
        match &mut self.work {
            Running::Import(import, columns) => {
                let mut out = Output::default();
                for (_, batch) in imported.iter().filter(|(from, _)| from == import) {
                    self.metrics.passed(batch);
                    out.changes.push(batch.with_rows(batch.rows().project(columns)?));
                }
                Ok(out)
            }
            Running::Constant(rows) => Ok(Output { changes: rows.take().into_iter().collect(), ..Output::default() }),
            Running::Kernel(kernel, initial) => {
                let initial = initial.take();
                let mut out = match inputs.iter().all(Vec::is_empty) {
                    true => Output::default(),
                    false => run_kernel(kernel.as_mut(), &self.metrics, epoch, inputs)?,
                };
                out.changes.extend(initial);
                Ok(out)
            }
            Running::Recompute(state) => {
                inputs.iter().flatten().for_each(|batch| self.metrics.took(batch));
                for (port, batch) in inputs.into_iter().enumerate().flat_map(|(port, batches)| batches.into_iter().map(move |b| (port, b)))
                {
                    state.absorb(port, epoch, batch)?;
                }
                let result = runtime.block_on(state.job(epoch).run());
                let out = state.finish(epoch, result)?;
                self.metrics.stepped(out.changes.iter().map(|b| b.len() as u64).sum(), out.n_state_rows_read, state.state_size());
                Ok(out)
            }
        }
    }
}
