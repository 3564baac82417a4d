//! Which epochs may be read: the newest recorded one, and the holds of those who still read older ones.
//!
//! Guaranteed: an epoch given out by [`ReadClock::hold_newest`] stays readable in every relation until its [`Hold`] is
//! dropped, and every relation, recomputed ones included, has a version at exactly that epoch: both the choice of an epoch to
//! read and the choice of an epoch to recompute at are made under one lock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use catalog::ObjectId;
use tokio::sync::watch;

use crate::Epoch;

/// The relation of one row and one column that holds the `now` of the newest epoch, for dataflows that go by it. No object of the
/// catalog has its id, and it comes before all of them.
pub const CLOCK: ObjectId = ObjectId(0);

/// The column of [`CLOCK`].
pub fn clock_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("now", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true)]))
}

/// The newest recorded epoch and the holds on it and those before it.
#[derive(Debug)]
pub struct ReadClock {
    state: Mutex<State>,
    recorded: watch::Sender<Epoch>,
}

#[derive(Debug, Default)]
struct State {
    recorded: Epoch,
    /// The `now` of that epoch.
    now_us: i64,
    holds: BTreeMap<Epoch, usize>,
}

/// Keeps one epoch readable while it lives.
#[derive(Debug)]
pub struct Hold {
    epoch: Epoch,
    now_us: i64,
    clock: Arc<ReadClock>,
}

impl Default for ReadClock {
    fn default() -> Self {
        Self { state: Mutex::default(), recorded: watch::channel(0).0 }
    }
}

impl ReadClock {
    /// Makes `epoch`, whose `now` is `now_us`, durable in the readers' eyes: what was acknowledged with it is seen by every later read.
    pub fn record(&self, epoch: Epoch, now_us: i64) {
        let mut state = self.lock();
        assert!(epoch >= state.recorded, "epochs are recorded in order");
        (state.recorded, state.now_us) = (epoch, now_us);
        drop(state);
        self.recorded.send_replace(epoch);
    }

    /// The newest recorded epoch.
    pub fn recorded(&self) -> Epoch {
        self.lock().recorded
    }

    /// Follows the newest recorded epoch.
    pub fn watch_recorded(&self) -> watch::Receiver<Epoch> {
        self.recorded.subscribe()
    }

    /// The newest recorded epoch, kept readable.
    pub fn hold_newest(self: &Arc<Self>) -> Hold {
        let mut state = self.lock();
        let (epoch, now_us) = (state.recorded, state.now_us);
        *state.holds.entry(epoch).or_default() += 1;
        Hold { epoch, now_us, clock: Arc::clone(self) }
    }

    /// Epochs below this one need not be told apart any more.
    pub fn compaction_bound(&self) -> Epoch {
        let state = self.lock();
        state.holds.keys().next().map_or(state.recorded, |held| (*held).min(state.recorded))
    }

    /// The epoch at which a recompute whose versions end before `first` and whose inputs are closed through `closed` makes
    /// its next version: the first one that someone holds, else the newest. `None` while none is recorded.
    pub fn next_version(&self, first: Epoch, closed: Epoch) -> Option<Epoch> {
        let state = self.lock();
        let newest = closed.min(state.recorded);
        let wanted = state.holds.range(first..).next().map_or(newest, |(held, _)| *held);
        let target = wanted.min(newest);
        (target >= first).then_some(target)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no one panics while holding the read clock")
    }
}

impl Hold {
    /// The epoch held.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The `now` of that epoch, by which temporal filters go: microseconds since 1970.
    pub fn now_us(&self) -> i64 {
        self.now_us
    }
}

impl Clone for Hold {
    fn clone(&self) -> Self {
        *self.clock.lock().holds.entry(self.epoch).or_default() += 1;
        Self { epoch: self.epoch, now_us: self.now_us, clock: Arc::clone(&self.clock) }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.clock.lock();
        let count = state.holds.get_mut(&self.epoch).expect("a hold is counted until it is dropped");
        *count -= 1;
        if *count == 0 {
            state.holds.remove(&self.epoch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_bounds_compaction_and_is_the_next_version() {
        let clock = Arc::new(ReadClock::default());
        clock.record(5, 50);
        let held = clock.hold_newest();
        clock.record(9, 90);
        assert_eq!((held.now_us(), held.clone().now_us(), clock.hold_newest().now_us()), (50, 50, 90));
        assert_eq!(clock.compaction_bound(), 5);
        assert_eq!(clock.next_version(3, 8), Some(5), "the held epoch gets its version first");
        assert_eq!(clock.next_version(6, 8), Some(8));
        assert_eq!(clock.next_version(10, 12), None, "nothing unrecorded becomes a version");
        drop(held);
        assert_eq!(clock.compaction_bound(), 9);
        assert_eq!(clock.next_version(3, 8), Some(8));
    }
}
