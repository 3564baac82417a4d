//! States of one aggregate for many groups, kept as columns and updated a batch at a time. The same states serve a batch
//! query (every weight is 1), a sliding window (retractions are weight -1) and the incremental kernel (any weight).

use std::fmt::Debug;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;

use crate::{Error, Result};

/// The state of one aggregate for groups `0..n`.
pub trait GroupStates: Debug + Send + Sync {
    /// Makes room for groups `0..n_groups`; new ones have seen nothing.
    fn resize(&mut self, n_groups: usize);

    /// Takes in the rows of a batch. `argument` has as many rows as `rows`.
    fn update(&mut self, argument: &ArrayRef, rows: &Rows<'_>) -> Result<()>;

    /// The results of these groups, in this order. Changes nothing.
    fn evaluate(&self, groups: &[usize]) -> Result<Evaluated>;

    /// Forgets what a group has seen.
    fn clear(&mut self, group: usize);

    /// Values kept beside one state per group.
    fn n_values(&self) -> usize {
        0
    }

    /// Bytes held, estimated.
    fn n_bytes(&self) -> usize;
}

/// States that can be sent elsewhere and put together there: partial and final aggregation.
pub trait MergeableStates: GroupStates {
    /// The types of [`MergeableStates::state`]'s columns.
    fn state_types(&self) -> Vec<DataType>;

    /// The states of these groups, as columns.
    fn state(&self, groups: Range<usize>) -> Result<Vec<ArrayRef>>;

    /// Adds the states in row `i` to group `groups[i]`.
    fn merge(&mut self, state: &[ArrayRef], groups: &[usize]) -> Result<()>;

    /// Forgets the first groups; the others move down.
    fn drop_first(&mut self, n_groups: usize);

    /// The same states as states that cannot be merged.
    fn into_states(self: Box<Self>) -> Box<dyn GroupStates>;
}

/// The results of some groups.
#[derive(Debug)]
pub struct Evaluated {
    /// One per group; null where it failed.
    pub values: ArrayRef,
    /// Positions (in the list of groups asked for) whose result cannot be represented, and why. Ascending.
    pub errors: Vec<(usize, Error)>,
}

/// Which group each row of a batch belongs to, how often it counts, and which rows count at all.
#[derive(Debug)]
pub struct Rows<'a> {
    groups: &'a [usize],
    weights: Option<&'a [i64]>,
    filter: Option<NullBuffer>,
}

impl<'a> Rows<'a> {
    /// Row `i` belongs to `groups[i]` with weight `weights[i]` (1 when absent), and counts where `filter` is true.
    pub fn new(groups: &'a [usize], weights: Option<&'a [i64]>, filter: Option<&BooleanArray>) -> Self {
        assert!(weights.is_none_or(|weights| weights.len() == groups.len()), "one weight per row");
        assert!(filter.is_none_or(|filter| filter.len() == groups.len()), "one truth value per row");
        Self { groups, weights, filter: filter.map(true_rows) }
    }

    /// Calls `each(row, group, weight)` for each row that counts and has no null in `nulls`.
    #[inline]
    pub fn for_each(&self, nulls: Option<&NullBuffer>, mut each: impl FnMut(usize, usize, i64)) {
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
        let valid = NullBuffer::union(nulls, self.filter.as_ref());
        match (valid, self.weights) {
            (None, None) => self.groups.iter().enumerate().for_each(|(row, group)| each(row, *group, 1)),
            (None, Some(weights)) => {
                self.groups.iter().zip(weights).enumerate().for_each(|(row, (group, weight))| each(row, *group, *weight));
            }
            (Some(valid), None) => valid.valid_indices().for_each(|row| each(row, self.groups[row], 1)),
            (Some(valid), Some(weights)) => {
                valid.valid_indices().for_each(|row| each(row, self.groups[row], weights[row]));
            }
        }
    }
}

/// The rows for which a condition is true (neither false nor null), as valid bits.
pub fn true_rows(condition: &BooleanArray) -> NullBuffer {
    match condition.nulls() {
        Some(nulls) => NullBuffer::new(condition.values() & nulls.inner()),
        None => NullBuffer::new(condition.values().clone()),
    }
}

/// What one group remembers, where that is a plain value.
pub trait Summary: Clone + Default + Debug + Send + Sync + 'static {
    /// Takes in the rows of a batch: `groups[g]` is group `g`.
    fn update(groups: &mut [Self], argument: &ArrayRef, rows: &Rows<'_>) -> Result<()>;

    /// Bytes on the heap.
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// A [`Summary`] that can be sent elsewhere.
pub trait MergeableSummary: Summary {
    /// The types of its columns.
    fn types() -> Vec<DataType>;
    /// As columns.
    fn write(groups: &[Self]) -> Vec<ArrayRef>;
    /// From columns.
    fn read(columns: &[ArrayRef]) -> Result<Vec<Self>>;
    /// Adds all that `other` has seen.
    fn merge(&mut self, other: &Self);
}

/// How results are read off summaries.
pub trait Finish<S>: Clone + Debug + Send + Sync + 'static {
    /// One result per summary.
    fn finish(&self, summaries: &mut dyn Iterator<Item = &S>) -> Result<Evaluated>;
}

/// [`GroupStates`] made of a summary per group.
#[derive(Debug, Clone)]
pub struct Summaries<S, F> {
    groups: Vec<S>,
    finish: F,
}

impl<S: Summary, F: Finish<S>> Summaries<S, F> {
    /// No group yet.
    pub fn new(finish: F) -> Self {
        Self { groups: Vec::new(), finish }
    }
}

impl<S: Summary, F: Finish<S>> GroupStates for Summaries<S, F> {
    fn resize(&mut self, n_groups: usize) {
        self.groups.resize(n_groups.max(self.groups.len()), S::default());
    }

    fn update(&mut self, argument: &ArrayRef, rows: &Rows<'_>) -> Result<()> {
        assert_eq!(argument.len(), rows.groups.len(), "one argument per row");
        S::update(&mut self.groups, argument, rows)
    }

    fn evaluate(&self, groups: &[usize]) -> Result<Evaluated> {
        self.finish.finish(&mut groups.iter().map(|group| &self.groups[*group]))
    }

    fn clear(&mut self, group: usize) {
        self.groups[group] = S::default();
    }

    fn n_bytes(&self) -> usize {
        // The heap is estimated from a few groups: reading all of them would cost more than the number is worth.
        let sample = &self.groups[..self.groups.len().min(64)];
        let heap: usize = sample.iter().map(S::heap_bytes).sum();
        self.groups.capacity() * size_of::<S>() + heap * self.groups.len() / sample.len().max(1)
    }
}

impl<S: MergeableSummary, F: Finish<S>> MergeableStates for Summaries<S, F> {
    fn state_types(&self) -> Vec<DataType> {
        S::types()
    }

    fn state(&self, groups: Range<usize>) -> Result<Vec<ArrayRef>> {
        Ok(S::write(&self.groups[groups]))
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[usize]) -> Result<()> {
        for (summary, group) in S::read(state)?.iter().zip(groups) {
            self.groups[*group].merge(summary);
        }
        Ok(())
    }

    fn drop_first(&mut self, n_groups: usize) {
        self.groups.drain(..n_groups);
    }

    fn into_states(self: Box<Self>) -> Box<dyn GroupStates> {
        self
    }
}
