//! Where our time comes from. Nothing else in the engine reads a clock, so one seed replays one run.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time handed to the engine: each epoch's `now` is read from it once and logged.
#[derive(Debug, Default)]
pub enum Clock {
    /// The machine's wall clock.
    #[default]
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

    /// How long until it shows `at_us`; `None` for a clock that does not get there by itself.
    pub fn reaches(&self, at_us: i64) -> Option<Duration> {
        let left_us = u64::try_from(at_us.saturating_sub(self.now_us())).unwrap_or(0);
        match self {
            Self::Manual(_) if left_us > 0 => None,
            _ => Some(Duration::from_micros(left_us)),
        }
    }
}
