//! Where rows come from. A [`Source`] is plain synchronous code that a reader thread polls: no runtime, no dataflow.
//!
//! - [`spec`]: `WITH (…)` checked once, at CREATE; what it describes can then be opened.
//! - [`nexmark`], [`datagen`], [`file`]: the sources there are. Pushed rows (INSERT, COPY, HTTP) do not come this way.
//!
//! Guaranteed by every source: positions are small opaque text; after `seek(p)` the source goes on exactly where it was
//! when `position()` was `p`; `replay(p, q)` gives the rows that were read between them. A row that cannot be decoded is
//! data beside the good ones: rows in = rows ok + errors. An `Err` means that the source itself failed (a file is gone).

pub mod datagen;
pub mod file;
pub mod nexmark;
pub mod options;
pub mod spec;

#[cfg(test)]
mod test_support;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

pub use crate::decode::DecodeFailure;
pub use crate::decode::{decode_error_rows, decode_error_schema};
pub use spec::SourceSpec;

use crate::Result;

/// Something rows are read from.
pub trait Source: Send {
    /// The next rows, at most about `max_rows` over all outputs; never blocks longer than a few milliseconds.
    /// `now_us` is the machine's time, in microseconds since 1970: sources with a `rate` go by it.
    fn poll(&mut self, max_rows: usize, now_us: i64) -> Result<Poll>;

    /// Where the next poll will read: opaque text (JSON), small.
    fn position(&self) -> String;

    /// Continues from a position got earlier, from this source or another one of the same spec.
    fn seek(&mut self, position: &str) -> Result<()>;

    /// Exactly the rows between two positions of one recorded span, again: same rows, and in the same order if the span
    /// is that of one poll. Where the next poll reads does not change.
    fn replay(&mut self, from: &str, to: &str) -> Result<SourceBatch>;

    /// From now on batches of `output` have only these columns, in this order; `None` is all of them. A source that can
    /// leave columns out at the root saves their cost.
    fn project(&mut self, output: usize, columns: Option<Vec<usize>>) -> Result<()>;

    /// Names and types of the batches of `output`, as projected.
    fn schema(&self, output: usize) -> SchemaRef;
}

/// What a poll found.
#[derive(Debug)]
pub enum Poll {
    /// Rows, failures, or both.
    Batch(SourceBatch),
    /// Nothing now.
    Idle {
        /// When it is worth asking again.
        retry_after_ms: u64,
    },
    /// A bounded source is at its end.
    Finished,
}

/// Rows of a span of a source.
#[derive(Debug, Clone, Default)]
pub struct SourceBatch {
    /// The rows, by output index; an output that was not asked for when opening is empty.
    pub outputs: Vec<Vec<RecordBatch>>,
    /// Rows that could not be decoded, with the output they were meant for.
    pub errors: Vec<(usize, DecodeFailure)>,
}

impl SourceBatch {
    /// Nothing, for that many outputs.
    pub fn empty(n_outputs: usize) -> Self {
        Self { outputs: vec![Vec::new(); n_outputs], errors: Vec::new() }
    }

    /// Rows that were decoded.
    pub fn n_rows(&self) -> usize {
        self.outputs.iter().flatten().map(RecordBatch::num_rows).sum()
    }
}
