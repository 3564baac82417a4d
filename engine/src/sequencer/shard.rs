//! Which worker gets which rows of a stored relation.

use std::sync::Arc;

use crate::state::key::hash_rows;
use crate::update::split_by_worker;
use crate::{ChangeBatch, Epoch};

/// How a stored relation's rows are spread over workers.
pub(super) enum Shard {
    /// Anywhere.
    Spread,
    /// By the hash of these columns, so that a row's deletion meets its insertion.
    ByColumns(Vec<usize>),
}

impl Shard {
    /// By worker its part; rows that may be anywhere go round by epoch while they are few.
    pub(super) fn split(&self, changes: &ChangeBatch, n_workers: usize, epoch: Epoch) -> Vec<Option<ChangeBatch>> {
        match self {
            Self::Spread if changes.len() < 1024 * n_workers => {
                let owner = epoch as usize % n_workers;
                (0..n_workers).map(|worker| (worker == owner).then(|| changes.clone())).collect()
            }
            Self::Spread => {
                let bound = |worker: usize| changes.len() * worker / n_workers;
                (0..n_workers).map(|worker| Some(changes.slice(bound(worker), bound(worker + 1) - bound(worker)))).collect()
            }
            Self::ByColumns(columns) => {
                let keys: Vec<_> = columns.iter().map(|column| Arc::clone(changes.column(*column))).collect();
                split_by_worker(changes, &hash_rows(&keys), n_workers).expect("there is one hash per row")
            }
        }
    }
}
