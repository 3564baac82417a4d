//! The operators of a recursion's step, run one after another on what changed in one round.

use std::sync::Arc;

use crate::metrics::OperatorMetrics;
use crate::operators::graph::{self, NextMetrics};
use crate::operators::{Kernel, Output};
use crate::plan::{Node, Plan};
use crate::{ChangeBatch, Epoch, Error, Result};

/// The operators, inputs first; the last is the output.
pub(super) struct Step {
    operators: Vec<Operator>,
}

struct Operator {
    work: Work,
    /// The operators it reads.
    inputs: Vec<usize>,
    metrics: Arc<OperatorMetrics>,
}

enum Work {
    /// The rows of a round (0), or an input of the recursion.
    Given(usize),
    Kernel(Box<dyn Kernel>),
}

impl Step {
    /// The kernels of a planned step, which take the next of `metrics`.
    pub(super) fn new(plan: &Plan, metrics: &mut NextMetrics<'_>) -> Result<Self> {
        let operator = |operator: crate::plan::sharing::Operator<'_>| {
            let work = match &operator.plan.node {
                Node::Given(port) => Work::Given(*port),
                _ => match graph::kernel(operator.plan)? {
                    Some(kernel) => Work::Kernel(kernel),
                    None => return Err(Error::internal(format!("{} cannot stand in a recursion's step", operator.plan.label()))),
                },
            };
            Ok(Operator { work, inputs: operator.inputs, metrics: graph::next(metrics) })
        };
        Ok(Self { operators: plan.operators().into_iter().map(operator).collect::<Result<_>>()? })
    }

    /// Rows of state that its operators have read so far.
    #[cfg(test)]
    pub(super) fn n_state_rows_read(&self) -> u64 {
        self.operators.iter().map(|operator| operator.metrics.n_state_rows_read()).sum()
    }

    /// Lets go of all that is kept.
    pub(super) fn forget(&mut self) {
        self.operators.clear();
    }

    /// Changes of the step's result that follow from changes of what it reads, which are `given` by port; ports may be missing.
    pub(super) fn run(&mut self, epoch: Epoch, given: Vec<Vec<ChangeBatch>>, out: &mut Output) -> Result<Vec<ChangeBatch>> {
        let mut results: Vec<Vec<ChangeBatch>> = Vec::with_capacity(self.operators.len());
        for operator in &mut self.operators {
            let result = match &mut operator.work {
                Work::Given(port) => {
                    let changes = given.get(*port).cloned().unwrap_or_default();
                    changes.iter().for_each(|batch| operator.metrics.passed(batch));
                    changes
                }
                Work::Kernel(kernel) => {
                    let inputs: Vec<Vec<ChangeBatch>> = operator.inputs.iter().map(|input| results[*input].clone()).collect();
                    match inputs.iter().all(Vec::is_empty) {
                        true => Vec::new(),
                        false => {
                            let made = graph::step(kernel.as_mut(), &operator.metrics, epoch, inputs)?;
                            out.errors.extend(made.errors);
                            made.changes.into_iter().filter(|batch| !batch.is_empty()).collect()
                        }
                    }
                }
            };
            results.push(result);
        }
        Ok(results.pop().expect("a step has at least one operator"))
    }
}
