//! The change batch: the only thing that travels between operators, and how timely carries it.
//!
//! A change batch is an Arrow `RecordBatch` plus a weight per row (a Z-set, in the literature: DBSP, VLDB 2023). Guaranteed:
//! weights, where present, are as many as the rows. Not guaranteed: that a row appears once, or that weights are not zero;
//! who needs that consolidates.

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array, UInt64Array};
use arrow::compute::{concat, concat_batches, take};
use arrow::datatypes::SchemaRef;

use crate::{Error, Result};

/// A totally ordered tick. Each input row gets one epoch when it is taken in; everything at an epoch happens at once.
pub type Epoch = u64;

/// Rows and the number of times each is inserted (positive) or deleted (negative).
#[derive(Debug, Clone)]
pub struct ChangeBatch {
    rows: RecordBatch,
    weights: Option<Int64Array>,
}

impl ChangeBatch {
    /// Every row inserted once.
    pub fn inserts(rows: RecordBatch) -> Self {
        Self { rows, weights: None }
    }

    /// Every row deleted once.
    pub fn deletes(rows: RecordBatch) -> Self {
        let weights = Int64Array::from(vec![-1; rows.num_rows()]);
        Self { rows, weights: Some(weights) }
    }

    /// Rows with a weight each. Panics if there are not as many weights as rows.
    pub fn new(rows: RecordBatch, weights: Int64Array) -> Self {
        assert_eq!(rows.num_rows(), weights.len(), "a change batch has one weight per row");
        assert_eq!(weights.null_count(), 0, "a weight is never null");
        Self { rows, weights: Some(weights) }
    }

    /// Rows with weights, or all +1 where `weights` is absent.
    pub fn with_weights(rows: RecordBatch, weights: Option<Int64Array>) -> Self {
        match weights {
            Some(weights) => Self::new(rows, weights),
            None => Self::inserts(rows),
        }
    }

    /// No change at all.
    pub fn empty(schema: SchemaRef) -> Self {
        Self::inserts(RecordBatch::new_empty(schema))
    }

    /// The rows, one per weight.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// The weights; `None` means that every row is inserted once.
    pub fn weights(&self) -> Option<&Int64Array> {
        self.weights.as_ref()
    }

    /// The weight of row `row`.
    pub fn weight(&self, row: usize) -> i64 {
        self.weights.as_ref().map_or(1, |weights| weights.value(row))
    }

    /// Rows and weights apart.
    pub fn into_parts(self) -> (RecordBatch, Option<Int64Array>) {
        (self.rows, self.weights)
    }

    /// The columns' names and types.
    pub fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    /// Column `index` of the rows.
    pub fn column(&self, index: usize) -> &ArrayRef {
        self.rows.column(index)
    }

    /// How many rows, whatever their weights.
    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// How many rows have a negative weight.
    pub fn n_retractions(&self) -> usize {
        self.weights.as_ref().map_or(0, |weights| weights.values().iter().filter(|weight| **weight < 0).count())
    }

    /// True when there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held by the rows and weights (buffers shared with other batches are counted whole).
    pub fn memory_bytes(&self) -> usize {
        self.rows.get_array_memory_size() + self.weights.as_ref().map_or(0, |weights| weights.len() * 8)
    }

    /// The same, copied where that would keep much more memory alive than it takes itself: a row of a large batch keeps all of it.
    pub fn owned(&self) -> Result<Self> {
        let columns = self.rows.columns().iter().map(owned).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.len()));
        let weights = self.weights.as_ref().map(|weights| owned(&(std::sync::Arc::new(weights.clone()) as ArrayRef))).transpose()?;
        let rows = RecordBatch::try_new_with_options(self.rows.schema(), columns, &options)?;
        Ok(Self { rows, weights: weights.as_ref().map(as_weights) })
    }

    /// The same changes with other rows of the same number (a projection).
    pub fn with_rows(&self, rows: RecordBatch) -> Self {
        Self::with_weights(rows, self.weights.clone())
    }

    /// Rows `offset..offset + len`, without copying.
    pub fn slice(&self, offset: usize, len: usize) -> Self {
        Self { rows: self.rows.slice(offset, len), weights: self.weights.as_ref().map(|weights| weights.slice(offset, len)) }
    }

    /// The rows at `indices`, in that order.
    pub fn take(&self, indices: &UInt32Array) -> Result<Self> {
        let rows = take_rows(&self.rows, indices)?;
        let weights = match &self.weights {
            Some(weights) => Some(as_weights(&take(weights, indices, None)?)),
            None => None,
        };
        Ok(Self { rows, weights })
    }

    /// Each insertion a deletion and the other way round.
    pub fn negated(&self) -> Self {
        let weights = match &self.weights {
            Some(weights) => Int64Array::from_iter_values(weights.values().iter().map(|weight| -weight)),
            None => Int64Array::from(vec![-1; self.len()]),
        };
        Self { rows: self.rows.clone(), weights: Some(weights) }
    }

    /// All batches as one. `schema` is that of every batch.
    pub fn concat(schema: &SchemaRef, batches: &[Self]) -> Result<Self> {
        if let [only] = batches {
            return Ok(only.clone());
        }
        let rows = concat_batches(schema, batches.iter().map(|batch| &batch.rows))?;
        if batches.iter().all(|batch| batch.weights.is_none()) {
            return Ok(Self::inserts(rows));
        }
        let weights: Vec<ArrayRef> = batches.iter().map(|batch| batch.weights_or_ones()).collect();
        let weights: Vec<&dyn Array> = weights.iter().map(AsRef::as_ref).collect();
        Ok(Self::new(rows, as_weights(&concat(&weights)?)))
    }

    fn weights_or_ones(&self) -> ArrayRef {
        match &self.weights {
            Some(weights) => std::sync::Arc::new(weights.clone()),
            None => std::sync::Arc::new(Int64Array::from(vec![1; self.len()])),
        }
    }
}

/// The column itself, or a copy when it would keep more than twice its own bytes alive.
pub fn owned(column: &ArrayRef) -> Result<ArrayRef> {
    const SLACK_BYTES: usize = 1024;
    if column.get_buffer_memory_size() <= 2 * slice_bytes(column) + SLACK_BYTES {
        return Ok(column.clone());
    }
    Ok(take(column, &UInt32Array::from_iter_values(0..column.len() as u32), None)?)
}

/// The bytes of a column's own rows.
pub fn slice_bytes(column: &ArrayRef) -> usize {
    column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_buffer_memory_size())
}

/// The rows at `indices`; unlike Arrow's own, also of a batch without columns.
pub fn take_rows(batch: &RecordBatch, indices: &UInt32Array) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(|column| take(column, indices, None)).collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(indices.len()));
    Ok(RecordBatch::try_new_with_options(batch.schema(), columns, &options)?)
}

fn as_weights(array: &ArrayRef) -> Int64Array {
    array.as_any().downcast_ref::<Int64Array>().expect("weights are Int64").clone()
}

/// 256 virtual shards: the top byte of a key's hash. Shards are mapped to workers, so data written by two workers opens with four.
pub const N_SHARDS: u64 = 256;

/// The worker that owns the shard of a key hash.
pub fn worker_of(key_hash: u64, n_workers: usize) -> usize {
    ((key_hash >> 56) * n_workers as u64 / N_SHARDS) as usize
}

/// Splits a batch by the worker that owns each row's key; entry `w` is `None` when no row goes there.
pub fn split_by_worker(batch: &ChangeBatch, key_hashes: &UInt64Array, n_workers: usize) -> Result<Vec<Option<ChangeBatch>>> {
    if key_hashes.len() != batch.len() {
        return Err(Error::internal("one key hash per row is needed to split a batch"));
    }
    let mut rows_of: Vec<Vec<u32>> = vec![Vec::with_capacity(batch.len() / n_workers + 16); n_workers];
    for (row, hash) in key_hashes.values().iter().enumerate() {
        rows_of[worker_of(*hash, n_workers)].push(row as u32);
    }
    rows_of
        .into_iter()
        .map(|rows| match rows.len() {
            0 => Ok(None),
            n if n == batch.len() => Ok(Some(batch.clone())),
            _ => batch.take(&UInt32Array::from(rows)).map(Some),
        })
        .collect()
}

impl Default for ChangeBatch {
    /// No columns and no rows: what a moved-out buffer holds.
    fn default() -> Self {
        Self::empty(SchemaRef::new(arrow::datatypes::Schema::empty()))
    }
}

impl timely::Accountable for ChangeBatch {
    fn record_count(&self) -> i64 {
        self.len() as i64
    }
}

/// How a change batch travels to another process: an Arrow IPC stream whose last column holds the weights.
impl timely::dataflow::channels::ContainerBytes for ChangeBatch {
    fn from_bytes(bytes: timely::bytes::arc::Bytes) -> Self {
        ipc::decode(&bytes).expect("a peer of the same version sent this batch")
    }

    fn length_in_bytes(&self) -> usize {
        ipc::encode(self).len()
    }

    fn into_bytes<W: std::io::Write>(&self, writer: &mut W) {
        writer.write_all(&ipc::encode(self)).expect("timely sizes the buffer by length_in_bytes");
    }
}

/// Change batches as bytes, for peers in other processes.
pub mod ipc {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};
    use arrow::ipc::{reader::StreamReader, writer::StreamWriter};

    use super::{ChangeBatch, as_weights};
    use crate::Result;

    const WEIGHT: &str = "thalweg.weight";

    /// The bytes of one batch.
    pub fn encode(batch: &ChangeBatch) -> Vec<u8> {
        let mut fields: Vec<Arc<Field>> = batch.rows.schema().fields().iter().cloned().collect();
        let mut columns = batch.rows.columns().to_vec();
        let weights = match &batch.weights {
            Some(weights) => weights.clone(),
            None => Int64Array::from(vec![1; batch.len()]),
        };
        fields.push(Arc::new(Field::new(WEIGHT, DataType::Int64, false)));
        columns.push(Arc::new(weights) as ArrayRef);
        let schema = Arc::new(Schema::new(fields));
        let rows = RecordBatch::try_new(Arc::clone(&schema), columns).expect("one weight per row");
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::try_new(&mut bytes, &schema).expect("a Vec takes any write");
        writer.write(&rows).and_then(|()| writer.finish()).expect("a Vec takes any write");
        drop(writer);
        bytes
    }

    /// The batch that [`encode`] made these bytes of.
    pub fn decode(bytes: &[u8]) -> Result<ChangeBatch> {
        let mut reader = StreamReader::try_new(bytes, None)?;
        let rows = reader.next().transpose()?.unwrap_or_else(|| RecordBatch::new_empty(reader.schema()));
        let n_columns = rows.num_columns() - 1;
        let weights = as_weights(rows.column(n_columns));
        let rows = rows.project(&(0..n_columns).collect::<Vec<_>>())?;
        let all_ones = weights.values().iter().all(|weight| *weight == 1);
        Ok(ChangeBatch { rows, weights: (!all_ones).then_some(weights) })
    }
}

/// Bytes of a batch's own rows, of buffers that it shares only its part.
pub fn bytes_of_rows(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())).sum()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::StringArray;
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn a_row_of_its_own_keeps_no_large_batch() {
        let texts = StringArray::from_iter_values((0..10_000).map(|n| format!("text {n}")));
        let schema = Arc::new(Schema::new(vec![Field::new("s", DataType::Utf8, false)]));
        let rows = RecordBatch::try_new(schema, vec![Arc::new(texts)]).expect("the column fits");
        let row = ChangeBatch::new(rows, vec![-1; 10_000].into()).slice(7_777, 1);
        let owned = row.owned().expect("it is copied");
        assert!(row.memory_bytes() > 100_000 && owned.memory_bytes() < 2_000, "{} bytes", owned.memory_bytes());
        assert_eq!((owned.rows(), owned.weight(0)), (row.rows(), -1));
    }
}
