//! What readers see of ports without asking a worker: each port publishes its newest version when it has closed an epoch, so a
//! read does not wait for the work its worker is in the middle of.
//!
//! Guaranteed: a snapshot given out for an epoch is what the port itself would answer. Not guaranteed: that there is one; then the
//! port is asked, and answers once it has closed the epoch. Whoever asks holds the epoch: a version was compacted up to a bound
//! that was not above any hold, so it can tell the held epoch apart.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use catalog::ObjectId;

use crate::Epoch;
use crate::state::history::{Snapshot, Version};

/// One port's newest version.
#[derive(Default)]
pub struct Published(Mutex<Option<(Epoch, Version)>>);

/// The ports of a relation.
#[derive(Clone)]
pub struct Ports {
    /// By worker.
    pub ports: Vec<Arc<Published>>,
    /// The columns by whose hash rows are spread over workers and by which they are kept there, if they are the same.
    pub key: Option<Vec<usize>>,
}

/// All ports' newest versions.
#[derive(Clone, Default)]
pub struct Publications(Arc<RwLock<HashMap<ObjectId, Ports>>>);

impl Published {
    /// A place to publish for each worker.
    pub fn for_workers(n_workers: usize) -> Vec<Arc<Self>> {
        (0..n_workers).map(|_| Arc::default()).collect()
    }

    /// Everything before `closed` is in `version`.
    pub fn publish(&self, closed: Epoch, version: Version) {
        let replaced = self.lock().replace((closed, version));
        // Freed after the lock: it may be the last to hold large runs.
        drop(replaced);
    }

    /// Nothing changed up to `closed`.
    pub fn advance(&self, closed: Epoch) {
        if let Some((published, _)) = self.lock().as_mut() {
            *published = closed;
        }
    }

    /// From now on the port answers for itself.
    pub fn withdraw(&self) {
        let withdrawn = self.lock().take();
        drop(withdrawn);
    }

    /// The rows at an epoch that is held, if it has closed.
    pub fn snapshot_at(&self, epoch: Epoch) -> Option<Snapshot> {
        self.lock().as_ref().filter(|(closed, _)| epoch < *closed).map(|(_, version)| version.snapshot_at(epoch))
    }

    /// Whether the rows at the end of `epoch` can be read.
    pub fn has_closed(&self, epoch: Epoch) -> bool {
        self.lock().as_ref().is_some_and(|(closed, _)| epoch < *closed)
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Epoch, Version)>> {
        self.0.lock().expect("no one panics while holding a published version")
    }
}

impl Publications {
    /// A relation's ports publish here.
    pub fn insert(&self, relation: ObjectId, ports: Ports) {
        self.0.write().expect("no one panics while holding it").insert(relation, ports);
    }

    /// The relation is gone.
    pub fn remove(&self, relation: ObjectId) {
        self.0.write().expect("no one panics while holding it").remove(&relation);
    }

    /// A relation's ports.
    pub fn get(&self, relation: ObjectId) -> Option<Ports> {
        self.0.read().expect("no one panics while holding it").get(&relation).cloned()
    }

    /// The relation's rows at an epoch that the caller holds, by worker, if all have published them.
    pub fn snapshots_at(&self, relation: ObjectId, epoch: Epoch) -> Option<Vec<Snapshot>> {
        let Ports { ports, .. } = self.get(relation)?;
        ports.iter().map(|port| port.snapshot_at(epoch)).collect()
    }
}
