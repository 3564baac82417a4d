//! What the engine can be told at start.

use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::Clock;

/// The engine's settings; the server fills it from flags, environment and file.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where everything is kept: `file:///…` or a path.
    pub data: String,
    /// Worker threads of the dataflow runtime.
    pub n_workers: usize,
    /// `timely` with worker threads, or one thread that runs the same kernels one after another.
    pub driver: Driver,
    /// Rows per epoch taken from sources at most; 1 is the mode "one row per epoch".
    pub max_epoch_rows: usize,
    /// Milliseconds after which an epoch is made, if there is none, for views that go by the clock.
    pub clock_interval_ms: u64,
    /// Where time comes from.
    pub clock: Arc<Clock>,
    /// Bytes that running queries may keep in memory together; 0 is no limit.
    pub query_memory_bytes: usize,
    /// Folder under which the `file` connector may read; `None` allows none.
    pub file_root: Option<PathBuf>,
}

/// What runs the kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// Timely dataflow with `n_workers` threads.
    Timely,
    /// A sequential loop, for simulation and as a second opinion.
    Sequential,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: "./thalweg-data".into(),
            n_workers: 2,
            driver: Driver::Timely,
            max_epoch_rows: 65_536,
            clock_interval_ms: 1000,
            clock: Arc::default(),
            query_memory_bytes: 0,
            file_root: None,
        }
    }
}
