//! Where our time comes from. Nothing else in the engine reads a clock, so one seed replays one run.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The time handed to the engine: each epoch's `now` is read from it once and logged.
#[derive(Debug)]
pub enum Clock {
    /// The machine's wall clock.
    System,
    /// A clock that moves only when told to, for tests and replays: microseconds since 1970.
    Manual(AtomicI64),
}

impl Clock {
    /// Microseconds since 1970-01-01 00:00 UTC.
    pub fn now_us(&self) -> i64 {
        match self {
            Self::System => {
                let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)
            }
            Self::Manual(now) => now.load(Ordering::Relaxed),
        }
    }
}
