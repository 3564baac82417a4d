//! Rows being decoded: either all columns take a row, or none does.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use catalog::Column;

use super::column::ColumnBuffer;
use crate::Result;
use crate::functions::scalar::zones::Zone;

/// Rows of one batch at most.
const MAX_BATCH_ROWS: usize = 65_536;
/// Bytes of input of one batch at most: no column gets near the 2 GiB of its offsets.
const MAX_BATCH_BYTES: usize = 64 << 20;

/// The columns of a batch that is being filled.
#[derive(Debug)]
pub struct RowBuffer {
    columns: Vec<ColumnBuffer>,
    schema: SchemaRef,
    n_rows: usize,
    n_bytes: usize,
    finished: Vec<RecordBatch>,
}

impl RowBuffer {
    /// No rows of these columns.
    pub fn new(columns: &[Column]) -> Self {
        let columns: Vec<_> = columns.iter().map(ColumnBuffer::new).collect();
        let schema = Arc::new(Schema::new(columns.iter().map(ColumnBuffer::field).collect::<Vec<_>>()));
        Self { columns, schema, n_rows: 0, n_bytes: 0, finished: Vec::new() }
    }

    /// Times without a zone are those of `zone`.
    pub fn set_zone(&mut self, zone: Zone) {
        self.columns.iter_mut().for_each(|column| column.set_zone(zone));
    }

    /// Names and types of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The columns' names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.columns.iter().map(ColumnBuffer::name)
    }

    /// How many columns there are.
    pub fn n_columns(&self) -> usize {
        self.columns.len()
    }

    /// Adds the row that `fill` appends to every column, or nothing if it fails. `n_bytes` is what the row was read from.
    pub fn append(&mut self, n_bytes: usize, fill: impl FnOnce(&mut [ColumnBuffer]) -> Result<()>) -> Result<()> {
        if let Err(error) = fill(&mut self.columns) {
            self.columns.iter_mut().for_each(|column| column.truncate(self.n_rows));
            return Err(error);
        }
        self.n_rows += 1;
        self.n_bytes += n_bytes;
        debug_assert!(self.columns.iter().all(|column| column.len() == self.n_rows), "a row has a value for every column");
        if self.n_rows >= MAX_BATCH_ROWS || self.n_bytes >= MAX_BATCH_BYTES {
            self.finish_batch();
        }
        Ok(())
    }

    /// All rows so far.
    pub fn take(&mut self) -> Vec<RecordBatch> {
        if self.n_rows > 0 {
            self.finish_batch();
        }
        std::mem::take(&mut self.finished)
    }

    fn finish_batch(&mut self) {
        let arrays = self.columns.iter_mut().map(ColumnBuffer::finish).collect();
        let batch = RecordBatch::try_new(self.schema.clone(), arrays).expect("columns are filled by type, row by row");
        self.finished.push(batch);
        (self.n_rows, self.n_bytes) = (0, 0);
    }
}
