//! What workers are told. All workers get the same commands in the same order; only the rows in them differ.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use arrow::datatypes::SchemaRef;
use catalog::ObjectId;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::metrics::RelationMetrics;
use crate::operators::graph::Graph;
use crate::published::Published;
use crate::sink::Sink;
use crate::state::history::Snapshot as RelationSnapshot;
use crate::time::Hold;
use crate::{ChangeBatch, Epoch, Error, Result};

/// One command.
pub enum Command {
    /// A relation comes into being at the end of an epoch.
    Create(Create),
    /// Relations, with their dataflows and state, are gone.
    Drop(Vec<ObjectId>),
    /// What one epoch brings.
    Epoch(EpochInputs),
    /// Epochs up to this one are recorded; those before the bound need not be told apart any more.
    Recorded {
        /// The newest recorded epoch.
        epoch: Epoch,
        /// See [`crate::time::ReadClock::compaction_bound`].
        compaction_bound: Epoch,
    },
    /// A relation has stopped on another worker, and will not get further here.
    Fail(ObjectId, crate::Error),
    /// Someone wants a relation's rows at an epoch.
    Read(Read),
    /// Someone follows a relation.
    Subscribe(Subscriber),
    /// The end.
    Shutdown,
}

/// A relation on one worker.
pub struct Create {
    /// Its id.
    pub relation: ObjectId,
    /// Names and types.
    pub schema: SchemaRef,
    /// Whether it never retracts.
    pub append_only: bool,
    /// What becomes of its changes.
    pub keep: Keep,
    /// Its counters.
    pub metrics: Arc<RelationMetrics>,
    /// Where its port publishes what it keeps.
    pub published: Arc<Published>,
    /// It begins after this epoch: its inputs' rows as of then are its first changes.
    pub as_of: Epoch,
    /// For a relation that is computed.
    pub dataflow: Option<CreateDataflow>,
}

/// The computed part of a relation.
pub struct CreateDataflow {
    /// The operators.
    pub graph: Graph,
    /// Where its failing rows go; none where no row can fail.
    pub errors: Option<CreateErrors>,
    /// Whether the sequencer waits for it: not for what is recomputed, which passes over epochs by itself.
    pub in_flow_control: bool,
}

/// A relation of failing rows on one worker.
pub struct CreateErrors {
    /// Its id.
    pub relation: ObjectId,
    /// Its counters.
    pub metrics: Arc<RelationMetrics>,
    /// Where its port publishes.
    pub published: Arc<Published>,
}

/// What becomes of a relation's changes.
pub enum Keep {
    /// Kept for readers, who find rows by these columns.
    Trace(Vec<usize>),
    /// Passed on to those who are there, then forgotten.
    Nothing,
    /// Carried out.
    Sink(Box<dyn Sink>),
}

/// One epoch's changes of stored relations.
pub struct EpochInputs {
    /// The epoch.
    pub epoch: Epoch,
    /// This worker's rows.
    pub changes: Vec<(ObjectId, ChangeBatch)>,
    /// The relations that changed on any worker.
    pub touched: Arc<[ObjectId]>,
}

/// A read of one relation on one worker.
pub struct Read {
    /// What.
    pub relation: ObjectId,
    /// When; the hold keeps it readable until the rows are handed over.
    pub hold: Hold,
    /// This worker's rows.
    pub reply: oneshot::Sender<Result<RelationSnapshot>>,
}

/// What a subscriber gets from one worker: a snapshot, then changes in order of epochs.
pub enum Feed {
    /// This worker's rows at the epoch of the subscription.
    Snapshot(RelationSnapshot),
    /// Changes of one later epoch.
    Changes(Epoch, ChangeBatch),
    /// No more changes before this epoch.
    Frontier(Epoch),
    /// The end, and why.
    End(Error),
}

/// A follower of one relation on one worker.
pub struct Subscriber {
    /// What.
    pub relation: ObjectId,
    /// The epoch of the snapshot; the hold keeps it readable until it is handed over.
    pub hold: Option<Hold>,
    /// The same epoch.
    pub as_of: Epoch,
    /// Where to.
    pub feed: FeedSender,
}

/// The writing end of a subscription's queue.
#[derive(Clone)]
pub struct FeedSender {
    /// Which worker writes.
    pub worker: usize,
    /// The queue.
    pub queue: mpsc::UnboundedSender<(usize, Feed)>,
    /// What bounds it.
    pub backlog: Arc<Backlog>,
}

/// What a subscription holds that its reader has not taken: queued by workers, waiting for its epoch to close, and ready.
#[derive(Debug, Default)]
pub struct Backlog {
    held: Mutex<Held>,
    is_overrun: AtomicBool,
    overrun: Notify,
}

#[derive(Debug, Default)]
struct Held {
    n_bytes: usize,
    /// The newest epoch with changes, and their bytes.
    newest: Epoch,
    n_bytes_of_newest: usize,
    /// Bytes of the largest epoch before it, since there was little held.
    n_bytes_of_largest: usize,
}

/// Bytes a subscriber may lag behind before it is told to go, those of the newest epoch and of the largest before it aside: how much
/// changes at once is no fault of the reader's, and takes its time. Enough for a second of a fast stream; with usual epochs, the pieces
/// on their way to the socket (four of [`PIECE_BYTES`]), their encoding and what the allocator keeps, a connection stays within 16 MB.
pub const MAX_SUBSCRIBER_BYTES: usize = 6 << 20;

/// Bytes of a batch that a subscription gives out at most, unless one row has more.
pub const PIECE_BYTES: usize = 512 << 10;

/// What any message takes in the queue, also one without rows.
const MESSAGE_BYTES: usize = 64;

impl Backlog {
    /// Counts bytes to be added, those of changes with their epoch; when what was there before it is too much, the backlog is overrun,
    /// once and for all, and they are not.
    pub fn add(&self, epoch: Option<Epoch>, n_bytes: usize) -> bool {
        let mut held = self.held.lock().expect("no one panics while holding it");
        if let Some(epoch) = epoch.filter(|epoch| *epoch > held.newest) {
            let largest = if held.n_bytes > MAX_SUBSCRIBER_BYTES { held.n_bytes_of_largest } else { 0 };
            held.n_bytes_of_largest = largest.max(held.n_bytes_of_newest);
            (held.newest, held.n_bytes_of_newest) = (epoch, 0);
        }
        if held.n_bytes.saturating_sub(held.n_bytes_of_newest) > MAX_SUBSCRIBER_BYTES + held.n_bytes_of_largest {
            self.is_overrun.store(true, Ordering::Release);
            self.overrun.notify_one();
        }
        if self.is_overrun() {
            return false;
        }
        held.n_bytes += n_bytes;
        if epoch == Some(held.newest) {
            held.n_bytes_of_newest += n_bytes;
        }
        true
    }

    /// Bytes that are not held any more.
    pub fn remove(&self, n_bytes: usize) {
        self.held.lock().expect("no one panics while holding it").n_bytes -= n_bytes;
    }

    /// Bytes held now.
    pub fn n_bytes(&self) -> usize {
        self.held.lock().expect("no one panics while holding it").n_bytes
    }

    /// Whether there ever were too many.
    pub fn is_overrun(&self) -> bool {
        self.is_overrun.load(Ordering::Acquire)
    }

    /// Returns when there are too many; for one waiter.
    pub async fn overrun(&self) {
        while !self.is_overrun() {
            self.overrun.notified().await;
        }
    }
}

impl Feed {
    /// What it takes in the queue. A snapshot is shared with the relation.
    pub fn n_bytes(&self) -> usize {
        match self {
            Self::Changes(_, changes) => MESSAGE_BYTES + changes.memory_bytes(),
            Self::Snapshot(_) | Self::Frontier(_) | Self::End(_) => MESSAGE_BYTES,
        }
    }
}

impl FeedSender {
    /// Sends, unless the subscriber is gone or too far behind; `false` means that it gets nothing more.
    pub fn send(&self, feed: Feed) -> bool {
        let epoch = match &feed {
            Feed::Changes(epoch, _) => Some(*epoch),
            Feed::Snapshot(_) | Feed::Frontier(_) | Feed::End(_) => None,
        };
        !self.backlog.is_overrun() && self.backlog.add(epoch, feed.n_bytes()) && self.queue.send((self.worker, feed)).is_ok()
    }
}
