//! Counters of operators and relations: written by workers, read by `thalweg.operators`, `thalweg.jobs` and `/metrics`.
//!
//! They observe; nothing is decided by them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};

use catalog::ObjectId;

use crate::operators::StateSize;
use crate::plan::Maintenance;
use crate::{ChangeBatch, Error};

/// Counters of one operator on one worker.
#[derive(Debug, Default)]
pub struct OperatorMetrics {
    n_rows_in: AtomicU64,
    n_retractions_in: AtomicU64,
    n_rows_out: AtomicU64,
    n_state_rows_read: AtomicU64,
    n_state_rows: AtomicU64,
    n_state_bytes: AtomicU64,
}

/// What an operator is called and how it is maintained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorName {
    /// As EXPLAIN shows it.
    pub label: String,
    /// Stateless, incremental or recompute.
    pub maintenance: Maintenance,
}

/// The counters at one moment, summed over workers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct OperatorCounts {
    /// Rows handed to the operator.
    pub n_rows_in: u64,
    /// Those of them with a negative weight.
    pub n_retractions_in: u64,
    /// Rows it emitted.
    pub n_rows_out: u64,
    /// Rows of state it read.
    pub n_state_rows_read: u64,
    /// Rows of state it keeps.
    pub n_state_rows: u64,
    /// Bytes of state it keeps.
    pub n_state_bytes: u64,
}

impl OperatorMetrics {
    /// Counts changes handed to the operator.
    pub fn took(&self, changes: &ChangeBatch) {
        self.n_rows_in.fetch_add(changes.len() as u64, Relaxed);
        self.n_retractions_in.fetch_add(changes.n_retractions() as u64, Relaxed);
    }

    /// Counts what a step made of them.
    pub fn stepped(&self, n_out: u64, n_state_rows_read: u64, state: StateSize) {
        self.n_rows_out.fetch_add(n_out, Relaxed);
        self.n_state_rows_read.fetch_add(n_state_rows_read, Relaxed);
        self.n_state_rows.store(state.n_rows, Relaxed);
        self.n_state_bytes.store(state.n_bytes, Relaxed);
    }

    /// Counts changes that only pass through.
    pub fn passed(&self, changes: &ChangeBatch) {
        self.took(changes);
        self.n_rows_out.fetch_add(changes.len() as u64, Relaxed);
    }

    /// Rows of state read so far.
    #[cfg(test)]
    pub(crate) fn n_state_rows_read(&self) -> u64 {
        self.n_state_rows_read.load(Relaxed)
    }

    fn add_to(&self, counts: &mut OperatorCounts) {
        counts.n_rows_in += self.n_rows_in.load(Relaxed);
        counts.n_retractions_in += self.n_retractions_in.load(Relaxed);
        counts.n_rows_out += self.n_rows_out.load(Relaxed);
        counts.n_state_rows_read += self.n_state_rows_read.load(Relaxed);
        counts.n_state_rows += self.n_state_rows.load(Relaxed);
        counts.n_state_bytes += self.n_state_bytes.load(Relaxed);
    }
}

/// Counters of one relation on one worker.
#[derive(Debug, Default)]
pub struct RelationMetrics {
    /// The first epoch not finished.
    pub frontier: AtomicU64,
    /// Rows kept for readers.
    pub n_rows: AtomicU64,
    /// Bytes kept for readers.
    pub n_bytes: AtomicU64,
    /// Why it does not get further; known here before any reader is told.
    pub failure: OnceLock<Error>,
}

/// The counters of one relation: its own by worker, and its operators' by operator and worker.
#[derive(Debug, Clone)]
pub struct RelationEntry {
    /// By worker.
    pub relation: Vec<Arc<RelationMetrics>>,
    /// The operators' names.
    pub names: Vec<OperatorName>,
    /// By worker, then by operator.
    pub operators: Vec<Vec<Arc<OperatorMetrics>>>,
}

impl RelationEntry {
    /// Counters at zero for each worker and operator.
    pub fn new(n_workers: usize, names: Vec<OperatorName>) -> Self {
        let relation = (0..n_workers).map(|_| Arc::default()).collect();
        let operators = (0..n_workers).map(|_| names.iter().map(|_| Arc::default()).collect()).collect();
        Self { relation, names, operators }
    }

    /// Each operator's counts, summed over workers.
    pub fn operator_counts(&self) -> Vec<OperatorCounts> {
        (0..self.names.len())
            .map(|index| {
                let mut counts = OperatorCounts::default();
                self.operators.iter().for_each(|worker| worker[index].add_to(&mut counts));
                counts
            })
            .collect()
    }

    /// The least frontier over workers.
    pub fn frontier(&self) -> u64 {
        self.relation.iter().map(|relation| relation.frontier.load(Relaxed)).min().unwrap_or(0)
    }

    /// Why it does not get further, where it has failed.
    pub fn failure(&self) -> Option<Error> {
        self.relation.iter().find_map(|relation| relation.failure.get().cloned())
    }

    /// Rows and bytes kept for readers, over all workers.
    pub fn kept(&self) -> StateSize {
        let sum = |count: fn(&RelationMetrics) -> &AtomicU64| self.relation.iter().map(|r| count(r).load(Relaxed)).sum();
        StateSize { n_rows: sum(|r| &r.n_rows), n_bytes: sum(|r| &r.n_bytes) }
    }
}

/// All relations' counters.
#[derive(Debug, Default, Clone)]
pub struct Registry(Arc<Mutex<BTreeMap<ObjectId, RelationEntry>>>);

impl Registry {
    /// Adds or replaces a relation's counters.
    pub fn insert(&self, relation: ObjectId, entry: RelationEntry) {
        self.lock().insert(relation, entry);
    }

    /// Forgets a relation's counters.
    pub fn remove(&self, relation: ObjectId) {
        self.lock().remove(&relation);
    }

    /// A copy of the entries, in order of ids.
    pub fn entries(&self) -> Vec<(ObjectId, RelationEntry)> {
        self.lock().iter().map(|(id, entry)| (*id, entry.clone())).collect()
    }

    /// A relation's entry.
    pub fn entry(&self, relation: ObjectId) -> Option<RelationEntry> {
        self.lock().get(&relation).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ObjectId, RelationEntry>> {
        self.0.lock().expect("no one panics while holding the registry")
    }
}
