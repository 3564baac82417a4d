//! What an aggregate kernel keeps per group for its aggregates, and which way each aggregate is kept.

use arrow::array::AsArray;
use arrow::datatypes::{DataType, SchemaRef};

use super::distinct::DistinctCalls;
use super::multiset;
use super::reevaluated::ReevaluatedCall;
use crate::functions::states::{Evaluated, GroupStates, Rows};
use crate::functions::{extreme_of, incremental_states};
use crate::operators::StateSize;
use crate::plan::AggregateCall;
use crate::{ChangeBatch, Result};

/// The state of one or several aggregates for groups `0..n`.
pub(super) trait CallState: Send {
    /// Makes room for groups `0..n_groups`.
    fn resize(&mut self, n_groups: usize);

    /// Takes in a batch of changes; row `i` belongs to `groups[i]`.
    fn update(&mut self, batch: &ChangeBatch, groups: &[usize]) -> Result<()>;

    /// Called once per step, after all updates, with the groups that had any. Returns the rows of state read.
    fn refresh(&mut self, _touched: &[usize]) -> Result<u64> {
        Ok(0)
    }

    /// The results of these groups: one per aggregate, in the order of [`CallState::outputs`].
    fn evaluate(&self, groups: &[usize]) -> Result<Vec<Evaluated>>;

    /// Forgets a group.
    fn clear(&mut self, group: usize);

    /// Which aggregates of the plan these are.
    fn outputs(&self) -> &[usize];

    /// Rows kept beside the groups themselves, and all bytes.
    fn state_size(&self) -> StateSize;
}

/// How the aggregates of a plan are kept, each in the cheapest way that its input allows.
pub(super) fn call_states(calls: &[AggregateCall], input: &SchemaRef, append_only: bool) -> Result<Vec<Box<dyn CallState>>> {
    let mut states: Vec<Box<dyn CallState>> = Vec::new();
    let mut distinct: Vec<DistinctCalls> = Vec::new();
    for (output, call) in calls.iter().enumerate() {
        let Some((argument, data_type)) = single_argument(call, input) else {
            states.push(Box::new(ReevaluatedCall::new(output, call, input)?));
            continue;
        };
        if let Some(extreme) = extreme_of(&call.function) {
            let kept = match append_only {
                true => extreme.append_only(data_type)?.into_states(),
                false => multiset::extreme_states(extreme, data_type)?,
            };
            states.push(Box::new(PlainCall::new(output, argument, call.filter, kept)));
        } else if let Some(kept) = incremental_states(&call.function, data_type) {
            match call.distinct {
                true => DistinctCalls::add(&mut distinct, output, argument, data_type, call.filter, kept)?,
                false => states.push(Box::new(PlainCall::new(output, argument, call.filter, kept))),
            }
        } else {
            states.push(Box::new(ReevaluatedCall::new(output, call, input)?));
        }
    }
    states.extend(distinct.into_iter().map(|calls| Box::new(calls) as Box<dyn CallState>));
    Ok(states)
}

/// The argument of a call that has exactly one. An ORDER BY means nothing to aggregates kept by states.
fn single_argument<'a>(call: &AggregateCall, input: &'a SchemaRef) -> Option<(usize, &'a DataType)> {
    let [argument] = call.arguments.as_slice() else { return None };
    Some((*argument, input.field(*argument).data_type()))
}

/// One aggregate whose states take rows back (or whose input never does).
struct PlainCall {
    outputs: [usize; 1],
    argument: usize,
    filter: Option<usize>,
    states: Box<dyn GroupStates>,
}

impl PlainCall {
    fn new(output: usize, argument: usize, filter: Option<usize>, states: Box<dyn GroupStates>) -> Self {
        Self { outputs: [output], argument, filter, states }
    }
}

impl CallState for PlainCall {
    fn resize(&mut self, n_groups: usize) {
        self.states.resize(n_groups);
    }

    fn update(&mut self, batch: &ChangeBatch, groups: &[usize]) -> Result<()> {
        let filter = self.filter.map(|filter| batch.column(filter).as_boolean());
        let weights = batch.weights().map(|weights| weights.values().as_ref());
        self.states.update(batch.column(self.argument), &Rows::new(groups, weights, filter))
    }

    fn evaluate(&self, groups: &[usize]) -> Result<Vec<Evaluated>> {
        Ok(vec![self.states.evaluate(groups)?])
    }

    fn clear(&mut self, group: usize) {
        self.states.clear(group);
    }

    fn outputs(&self) -> &[usize] {
        &self.outputs
    }

    fn state_size(&self) -> StateSize {
        StateSize { n_rows: self.states.n_values() as u64, n_bytes: self.states.n_bytes() as u64 }
    }
}
