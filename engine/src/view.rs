//! A port: where a relation's own dataflow ends and others attach. It keeps the relation's changes by epoch, answers reads
//! and feeds subscribers. One per relation and worker.
//!
//! Guaranteed: what is read at an epoch is exactly the sum of the changes up to its end. A read or subscription at an epoch
//! that is not closed yet waits; nothing is answered early.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::datatypes::SchemaRef;

use crate::command::{Create, Feed, Keep, Read, Subscriber};
use crate::metrics::RelationMetrics;
use crate::published::Published;
use crate::sink::Sink;
use crate::state::history::{Snapshot as RelationSnapshot, Trace};
use crate::{ChangeBatch, Epoch, Error, Result};

/// A relation's end on one worker.
pub struct Port {
    kept: Kept,
    schema: SchemaRef,
    closed: Epoch,
    reads: Vec<Read>,
    subscribers: Vec<Subscriber>,
    metrics: Arc<RelationMetrics>,
    published: Arc<Published>,
    failure: Option<Error>,
}

enum Kept {
    Trace(Trace),
    Nothing,
    Sink(Box<dyn Sink>),
}

impl Port {
    /// A port whose relation has no rows at epochs before `closed`.
    pub fn new(create: &mut Create, closed: Epoch) -> Self {
        let kept = match std::mem::replace(&mut create.keep, Keep::Nothing) {
            Keep::Trace(key) => Kept::Trace(Trace::keyed(create.schema.clone(), create.append_only, key)),
            Keep::Nothing => Kept::Nothing,
            Keep::Sink(sink) => Kept::Sink(sink),
        };
        create.metrics.frontier.store(closed, Ordering::Relaxed);
        if let Kept::Trace(trace) = &kept {
            create.published.publish(closed, trace.version());
        }
        Self {
            kept,
            schema: create.schema.clone(),
            closed,
            reads: Vec::new(),
            subscribers: Vec::new(),
            metrics: Arc::clone(&create.metrics),
            published: Arc::clone(&create.published),
            failure: None,
        }
    }

    /// The first epoch that is not finished.
    pub fn closed(&self) -> Epoch {
        self.closed
    }

    /// The relation will not get further: readers are told why.
    pub fn fail(&mut self, error: Error) {
        // The first failure is the one that counts.
        let _ = self.metrics.failure.set(error.clone());
        for read in self.reads.drain(..) {
            // The reader may have gone; then nobody wants to know.
            let _ = read.reply.send(Err(error.clone()));
        }
        for subscriber in self.subscribers.drain(..) {
            subscriber.feed.send(Feed::End(error.clone()));
        }
        self.published.withdraw();
        self.failure = Some(error);
    }

    /// Takes in the changes of closed epochs, in order, and moves on to `closed`.
    pub fn close(&mut self, changes: &[(Epoch, ChangeBatch)], closed: Epoch) -> Result<()> {
        assert!(closed >= self.closed, "a closed epoch stays closed");
        for (epoch, batch) in changes {
            assert!((self.closed..closed).contains(epoch), "changes at {epoch} of an epoch outside {}..{closed}", self.closed);
            match &mut self.kept {
                Kept::Trace(trace) => trace.insert(*epoch, batch)?,
                Kept::Nothing => {}
                Kept::Sink(sink) => sink.write(*epoch, batch)?,
            }
        }
        if closed == self.closed {
            return Ok(());
        }
        self.closed = closed;
        self.metrics.frontier.store(closed, Ordering::Relaxed);
        match changes.is_empty() {
            true => self.published.advance(closed),
            false => self.show(),
        }
        self.feed(changes);
        self.answer();
        Ok(())
    }

    /// Epochs before `bound` need not be told apart any more.
    pub fn allow_compaction(&mut self, bound: Epoch) {
        if let Kept::Trace(trace) = &mut self.kept {
            trace.allow_compaction(bound);
            self.show();
        }
    }

    /// Answers now, or when the epoch has closed.
    pub fn read(&mut self, read: Read) {
        match &self.failure {
            Some(error) => {
                // The reader may have gone; then nobody wants to know.
                let _ = read.reply.send(Err(error.clone()));
            }
            None => {
                self.reads.push(read);
                self.answer();
            }
        }
    }

    /// Follows the relation from an epoch on.
    pub fn subscribe(&mut self, subscriber: Subscriber) {
        self.subscribers.push(subscriber);
        self.feed(&[]);
    }

    /// The rows at the end of `epoch`. Of a relation that keeps nothing there are none.
    pub fn snapshot_at(&self, epoch: Epoch) -> RelationSnapshot {
        assert!(epoch < self.closed, "epoch {epoch} is read before it has closed");
        match &self.kept {
            Kept::Trace(trace) => trace.snapshot_at(epoch),
            Kept::Nothing | Kept::Sink(_) => Trace::new(self.schema.clone(), true).snapshot_at(epoch),
        }
    }

    fn answer(&mut self) {
        let (ready, waiting): (Vec<_>, Vec<_>) = self.reads.drain(..).partition(|read| read.hold.epoch() < self.closed);
        self.reads = waiting;
        for read in ready {
            let snapshot = self.snapshot_at(read.hold.epoch());
            // The reader may have gone; then nobody wants the rows.
            let _ = read.reply.send(Ok(snapshot));
        }
    }

    fn feed(&mut self, changes: &[(Epoch, ChangeBatch)]) {
        let mut subscribers = std::mem::take(&mut self.subscribers);
        if subscribers.is_empty() {
            return;
        }
        // They wait in queues, which are bounded by what they hold.
        let changes: Vec<_> = changes.iter().map(|(epoch, batch)| (*epoch, batch.owned().unwrap_or_else(|_| batch.clone()))).collect();
        subscribers.retain_mut(|subscriber| self.feed_one(subscriber, &changes));
        self.subscribers = subscribers;
    }

    /// `false` when the subscriber gets nothing more.
    fn feed_one(&self, subscriber: &mut Subscriber, changes: &[(Epoch, ChangeBatch)]) -> bool {
        if subscriber.as_of >= self.closed {
            return true;
        }
        if subscriber.hold.is_some() {
            let snapshot = self.snapshot_at(subscriber.as_of);
            subscriber.hold = None;
            if !subscriber.feed.send(Feed::Snapshot(snapshot)) {
                return false;
            }
        }
        changes
            .iter()
            .filter(|(epoch, _)| *epoch > subscriber.as_of)
            .all(|(epoch, batch)| subscriber.feed.send(Feed::Changes(*epoch, batch.clone())))
            && subscriber.feed.send(Feed::Frontier(self.closed))
    }

    /// Publishes what is kept, and counts it.
    fn show(&self) {
        if let (Kept::Trace(trace), None) = (&self.kept, &self.failure) {
            self.published.publish(self.closed, trace.version());
            self.metrics.n_rows.store(trace.n_rows(), Ordering::Relaxed);
            self.metrics.n_bytes.store(trace.n_bytes(), Ordering::Relaxed);
        }
    }
}
