//! A sink that counts and drops, for measuring what comes before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Sink;
use crate::{ChangeBatch, Epoch, Result};

/// Drops everything. Clones count together, so one can be kept to read the counts.
#[derive(Debug, Clone, Default)]
pub struct Blackhole {
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    n_rows: AtomicU64,
    n_batches: AtomicU64,
    last_epoch: AtomicU64,
}

impl Blackhole {
    /// Rows dropped, deletions included.
    pub fn n_rows(&self) -> u64 {
        self.counts.n_rows.load(Ordering::Relaxed)
    }

    /// Batches dropped.
    pub fn n_batches(&self) -> u64 {
        self.counts.n_batches.load(Ordering::Relaxed)
    }

    /// The newest epoch written; 0 before the first.
    pub fn last_epoch(&self) -> Epoch {
        self.counts.last_epoch.load(Ordering::Relaxed)
    }
}

impl Sink for Blackhole {
    fn write(&mut self, epoch: Epoch, changes: &ChangeBatch) -> Result<()> {
        self.counts.n_rows.fetch_add(changes.len() as u64, Ordering::Relaxed);
        self.counts.n_batches.fetch_add(1, Ordering::Relaxed);
        self.counts.last_epoch.fetch_max(epoch, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::decode_error_schema;

    #[test]
    fn counts_what_it_drops() {
        let counts = Blackhole::default();
        let mut sink: Box<dyn Sink> = Box::new(counts.clone());
        let rows = crate::decode::decode_error_rows(&[], 0);
        sink.write(3, &ChangeBatch::inserts(rows)).expect("a black hole takes anything");
        sink.write(4, &ChangeBatch::empty(decode_error_schema())).expect("a black hole takes anything");
        assert_eq!((counts.n_rows(), counts.n_batches(), counts.last_epoch()), (0, 2, 4));
    }
}
