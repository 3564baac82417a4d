//! Recompute: keeps a sub-plan current by running it in batch over its inputs and emitting the difference to the last result.
//!
//! Guaranteed: at each epoch for which it emits a version, its output is exactly the batch result over its inputs at that
//! epoch. Not guaranteed: a version at *every* epoch; while a batch query runs, epochs pass, and the next version covers them
//! all. [`crate::time::ReadClock::next_version`] sees to it that an epoch someone reads at gets a version of its own.
//!
//! This file holds the state and the difference; when to run, and on which thread, is the drivers' business.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_row::{RowConverter, SortField};

use super::graph::RecomputeShape;
use super::{Output, StateSize, error_change};
use crate::plan::BatchQuery;
use crate::state::history::{Snapshot as RelationSnapshot, Trace};
use crate::{ChangeBatch, Epoch, Error, Result};

/// Inputs, last result and what has changed since.
pub struct RecomputeState {
    query: Arc<dyn BatchQuery>,
    inputs: Vec<Trace>,
    /// Away while a job runs.
    result: Option<ResultRows>,
    result_size: StateSize,
    failure: Option<ChangeBatch>,
}

/// A batch query over inputs at one epoch, ready to be run on any thread.
pub struct Job {
    query: Arc<dyn BatchQuery>,
    inputs: Vec<RelationSnapshot>,
    last: Option<ResultRows>,
}

/// What a job found.
pub struct JobResult {
    /// The result, and how it differs from the last one.
    replaced: Result<(ResultRows, Vec<ChangeBatch>)>,
    /// Why there are no rows.
    failure: Option<Error>,
    /// Rows of the inputs.
    n_rows_read: u64,
}

impl RecomputeState {
    /// Empty inputs; the first version must still be computed, since a query over nothing may have rows.
    pub fn new(query: Arc<dyn BatchQuery>, shape: RecomputeShape) -> Result<Self> {
        let inputs = shape.inputs.into_iter().zip(shape.append_only).map(|(schema, append_only)| Trace::new(schema, append_only)).collect();
        Ok(Self { query, inputs, result: Some(ResultRows::new(shape.output)?), result_size: StateSize::default(), failure: None })
    }

    /// Takes in the changes of one input at one epoch. Epochs come in order.
    pub fn absorb(&mut self, port: usize, epoch: Epoch, changes: ChangeBatch) -> Result<()> {
        self.inputs[port].insert(epoch, &changes)
    }

    /// The query over the inputs as of the end of `epoch`. It takes the last result with it: the next job waits for this one.
    pub fn job(&mut self, epoch: Epoch) -> Job {
        let inputs = self.inputs.iter().map(|input| input.snapshot_at(epoch)).collect();
        Job { query: Arc::clone(&self.query), inputs, last: self.result.take() }
    }

    /// The difference between a job's result and the last one. A query that fails has no rows; why is in the errors relation.
    pub fn finish(&mut self, epoch: Epoch, result: JobResult) -> Result<Output> {
        self.inputs.iter_mut().for_each(|input| input.allow_compaction(epoch));
        let mut out = Output { n_state_rows_read: result.n_rows_read, ..Output::default() };
        out.errors.extend(self.failure.take().map(|failure| failure.negated()));
        if let Some(error) = result.failure {
            let failure = error_change(&self.query.describe(), &error, "", 1);
            self.failure = Some(failure.clone());
            out.errors.push(failure);
        }
        let (rows, changes) = result.replaced?;
        self.result_size = StateSize { n_rows: rows.counts.len() as u64, n_bytes: rows.n_bytes };
        self.result = Some(rows);
        out.changes = changes;
        Ok(out)
    }

    /// Rows and bytes of inputs and result.
    pub fn state_size(&self) -> StateSize {
        let mut size = self.result_size;
        for input in &self.inputs {
            size.n_rows += input.n_rows();
            size.n_bytes += input.n_bytes();
        }
        size
    }
}

impl Job {
    /// Runs the query and compares: a large result is not to keep a worker from other views. A panic inside the query is an
    /// error of this query alone.
    pub async fn run(self) -> JobResult {
        use futures::FutureExt;
        let mut n_rows_read = 0;
        let inputs: Result<Vec<Vec<RecordBatch>>> = self.inputs.iter().map(|input| input.batches().collect()).collect();
        let rows = match inputs {
            Ok(inputs) => {
                n_rows_read = inputs.iter().flatten().map(|batch| batch.num_rows() as u64).sum();
                let run = std::panic::AssertUnwindSafe(self.query.run(inputs)).catch_unwind();
                run.await.unwrap_or_else(|_| Err(Error::internal("the batch query panicked")))
            }
            Err(error) => Err(error),
        };
        let (rows, failure) = match rows {
            Ok(rows) => (rows, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let last = self.last;
        let replace = move || {
            let mut result = last.ok_or_else(|| Error::internal("two jobs of one recompute ran at once"))?;
            let changes = result.replace(&rows)?;
            Ok((result, changes))
        };
        let replaced = tokio::task::spawn_blocking(replace).await;
        let replaced = replaced.unwrap_or_else(|_| Err(Error::internal("comparing two results panicked")));
        JobResult { replaced, failure, n_rows_read }
    }
}

/// The last result as a multiset of encoded rows.
struct ResultRows {
    schema: SchemaRef,
    converter: RowConverter,
    counts: HashMap<Box<[u8]>, i64>,
    n_bytes: u64,
}

impl ResultRows {
    fn new(schema: SchemaRef) -> Result<Self> {
        let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        Ok(Self { schema, converter: RowConverter::new(fields)?, counts: HashMap::new(), n_bytes: 0 })
    }

    /// Makes `batches` the result, and returns what changed.
    fn replace(&mut self, batches: &[RecordBatch]) -> Result<Vec<ChangeBatch>> {
        let mut fresh: HashMap<Box<[u8]>, i64> = HashMap::new();
        for batch in batches {
            if self.schema.fields().is_empty() {
                *fresh.entry(Box::default()).or_default() += batch.num_rows() as i64;
                continue;
            }
            for row in &self.converter.convert_columns(batch.columns())? {
                *fresh.entry(row.as_ref().into()).or_default() += 1;
            }
        }
        let mut changes: Vec<(&[u8], i64)> = Vec::new();
        for (row, count) in &fresh {
            let change = count - self.counts.get(row).copied().unwrap_or(0);
            changes.extend((change != 0).then_some((row.as_ref(), change)));
        }
        changes.extend(self.counts.iter().filter(|(row, _)| !fresh.contains_key(*row)).map(|(row, count)| (row.as_ref(), -count)));
        changes.sort_unstable();
        const PIECE_ROWS: usize = 65_536;
        let pieces = changes.chunks(PIECE_ROWS).map(|piece| self.decode(piece)).collect::<Result<Vec<_>>>()?;
        self.n_bytes = fresh.keys().map(|row| row.len() as u64 + 32).sum();
        self.counts = fresh;
        Ok(pieces)
    }

    fn decode(&self, changes: &[(&[u8], i64)]) -> Result<ChangeBatch> {
        let weights = changes.iter().map(|(_, change)| *change).collect::<Vec<_>>().into();
        let parser = self.converter.parser();
        let columns = self.converter.convert_rows(changes.iter().map(|(row, _)| parser.parse(row)))?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(changes.len()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        Ok(ChangeBatch::new(rows, weights))
    }
}
