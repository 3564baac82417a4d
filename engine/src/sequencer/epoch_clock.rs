//! The `now` of epochs: never less than that of the epoch before, shown to the workers as the relation [`CLOCK`], and moved on by an
//! empty epoch when nothing else does. Only while something goes by it: otherwise the clock costs nothing.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch, TimestampMicrosecondArray};
use catalog::ObjectId;

use super::relation::NewRelation;
use crate::clock::Clock;
use crate::command::{Create, Keep};
use crate::metrics::RelationMetrics;
use crate::published::Published;
use crate::time::{CLOCK, clock_schema};
use crate::{ChangeBatch, Epoch};

/// What the sequencer knows of time.
pub struct EpochClock {
    wall: Arc<Clock>,
    interval_us: i64,
    /// Of the newest epoch; 1970 before there is one.
    now_us: i64,
    /// The row of the clock's relation.
    shown_us: Option<i64>,
    /// What goes by the clock.
    readers: BTreeSet<ObjectId>,
    /// The next epoch shows the clock to one that is about to.
    is_awaited: bool,
    /// Epochs that are not on disk, with their `now`.
    unrecorded: VecDeque<(Epoch, i64)>,
}

impl EpochClock {
    /// Reads `wall` once per epoch, and wants one at least each `interval_ms` while something goes by it.
    pub fn new(wall: Arc<Clock>, interval_ms: u64) -> Self {
        let interval_us = i64::try_from(interval_ms.max(1)).unwrap_or(i64::MAX).saturating_mul(1000);
        Self { wall, interval_us, now_us: 0, shown_us: None, readers: BTreeSet::new(), is_awaited: false, unrecorded: VecDeque::new() }
    }

    /// The clock behind it.
    pub fn wall(&self) -> &Arc<Clock> {
        &self.wall
    }

    /// The `now` of an epoch that begins at this moment. A clock that was set back stands still.
    pub fn next_us(&self) -> i64 {
        self.now_us.max(self.wall.now_us())
    }

    /// The `now` of the newest epoch.
    pub fn now_us(&self) -> i64 {
        self.now_us
    }

    /// Takes note of an epoch and its `now`. The change of the clock's relation, if that is to be shown.
    pub fn seal(&mut self, epoch: Epoch, now_us: i64) -> Option<ChangeBatch> {
        self.now_us = self.now_us.max(now_us);
        self.unrecorded.push_back((epoch, self.now_us));
        let is_wanted = std::mem::take(&mut self.is_awaited) || !self.readers.is_empty();
        if !is_wanted || self.shown_us == Some(self.now_us) {
            return None;
        }
        let before = self.shown_us.replace(self.now_us);
        let nows = TimestampMicrosecondArray::from_iter_values(before.into_iter().chain([self.now_us]));
        let weights = Int64Array::from_iter_values(before.map(|_| -1).into_iter().chain([1]));
        let rows = RecordBatch::try_new(clock_schema(), vec![Arc::new(nows.with_timezone("UTC"))]).expect("one column of times");
        Some(ChangeBatch::new(rows, weights))
    }

    /// The `now` of an epoch that is on disk with all before it.
    pub fn recorded(&mut self, epoch: Epoch) -> i64 {
        let mut now_us = self.now_us;
        while let Some((_, of_epoch)) = self.unrecorded.pop_front_if(|(unrecorded, _)| *unrecorded <= epoch) {
            now_us = of_epoch;
        }
        now_us
    }

    /// The next epoch is the first of something that goes by the clock.
    pub fn await_reader(&mut self) {
        self.is_awaited = true;
    }

    /// A relation that may go by the clock.
    pub fn created(&mut self, relation: &NewRelation) {
        if reads_clock(relation) {
            self.readers.insert(relation.id);
        }
    }

    /// Relations that do not any more.
    pub fn dropped(&mut self, relations: &[ObjectId]) {
        self.readers.retain(|reader| !relations.contains(reader));
    }

    /// Nothing is due any more.
    pub fn stop(&mut self) {
        self.readers.clear();
    }

    /// How long until an epoch is due for the clock's sake; `None` when nothing goes by it, or as long as nobody moves it.
    pub fn due_in(&self) -> Option<Duration> {
        if self.readers.is_empty() { None } else { self.wall.reaches(self.now_us.saturating_add(self.interval_us)) }
    }
}

/// Whether a relation goes by the clock.
pub fn reads_clock(relation: &NewRelation) -> bool {
    relation.reads.contains(&CLOCK)
}

/// The clock's relation, for each worker: each has the row.
pub fn clock_relation(n_workers: usize) -> Vec<Create> {
    let create = |published| Create {
        relation: CLOCK,
        schema: clock_schema(),
        append_only: false,
        keep: Keep::Trace(vec![0]),
        metrics: Arc::<RelationMetrics>::default(),
        published,
        as_of: 0,
        dataflow: None,
    };
    Published::for_workers(n_workers).into_iter().map(create).collect()
}
