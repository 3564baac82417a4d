//! Temporal filters: rows that enter and leave by themselves as the clock moves.
//!
//! Each row comes with the instants, in microseconds since 1970, from which on and before which it is in the output; without one
//! it is there from the beginning or for ever, and a null keeps it out. The clock is an input like another: a relation of one row.
//!
//! Guaranteed: the output is the rows whose instants enclose the clock, so it depends on the clock alone and not on how it came
//! there. The clock never goes back, so a row that has left keeps nothing, and its retraction changes nothing any more.
//!
//! **State.** The rows that will enter and those that will leave, each by its next instant: what is due is found without a look
//! at the rest.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::datatypes::{DataType, Int64Type, SchemaRef, TimestampMicrosecondType};
use arrow::row::{RowConverter, RowParser, SortField};

use super::{Kernel, Output, StateSize};
use crate::plan::Temporal;
use crate::{ChangeBatch, Epoch, Error, Result};

/// Due rows are decoded so many at a time.
const PIECE_ROWS: usize = 8192;

/// The kernel of [`Temporal`]: input 0 is the clock, input 1 the rows.
pub struct TemporalKernel {
    enters: Option<usize>,
    leaves: Option<usize>,
    /// The input's first columns.
    schema: SchemaRef,
    encoding: RowConverter,
    parser: RowParser,
    now_us: i64,
    entering: Instants,
    leaving: Instants,
}

impl TemporalKernel {
    /// The kernel of a planned filter, whose output has the columns of `schema`.
    pub fn new(temporal: &Temporal, schema: SchemaRef) -> Result<Self> {
        let fields = temporal.input.schema.fields();
        for column in [temporal.enters, temporal.leaves].into_iter().flatten() {
            if fields[column].data_type() != &DataType::Int64 {
                return Err(Error::internal(format!("an instant is of type {}", fields[column].data_type())));
            }
        }
        let encoding = RowConverter::new(fields.iter().map(|field| SortField::new(field.data_type().clone())).collect())?;
        Ok(Self {
            enters: temporal.enters,
            leaves: temporal.leaves,
            schema,
            parser: encoding.parser(),
            encoding,
            now_us: i64::MIN,
            entering: Instants::default(),
            leaving: Instants::default(),
        })
    }

    /// Moves to the clock's new row, if there is one, and lets go what is due.
    fn advance(&mut self, clock: &[ChangeBatch], out: &mut Output) -> Result<()> {
        for changes in clock {
            let nows = changes.column(0).as_primitive::<TimestampMicrosecondType>();
            let newest = (0..changes.len()).filter(|row| changes.weight(*row) > 0).map(|row| nows.value(row)).max();
            self.now_us = self.now_us.max(newest.unwrap_or(i64::MIN));
        }
        for due in [self.leaving.take_due(self.now_us), self.entering.take_due(self.now_us)].iter().enumerate() {
            let (which, due) = due;
            out.n_state_rows_read += due.len() as u64;
            for piece in due.chunks(PIECE_ROWS) {
                let rows = self.decoded(piece)?;
                match which {
                    0 => out.changes.push(self.shown(&rows.negated())?),
                    _ => self.judge(&rows, out)?,
                }
            }
        }
        Ok(())
    }

    /// Emits the changes of rows that are there now, and keeps those that have an instant ahead.
    fn judge(&mut self, changes: &ChangeBatch, out: &mut Output) -> Result<()> {
        let (mut shown, mut entering, mut leaving) = (Vec::new(), Vec::new(), Vec::new());
        let enters = Instant::of(changes, self.enters, i64::MIN);
        let leaves = Instant::of(changes, self.leaves, i64::MAX);
        for row in 0..changes.len() {
            let (Some(enters), Some(leaves)) = (enters.at(row), leaves.at(row)) else { continue };
            if enters >= leaves || leaves <= self.now_us {
                continue;
            }
            if enters > self.now_us {
                entering.push((enters, row as u32));
                continue;
            }
            shown.push(row as u32);
            if leaves < i64::MAX {
                leaving.push((leaves, row as u32));
            }
        }
        if !shown.is_empty() {
            let all = shown.len() == changes.len();
            out.changes.push(if all { self.shown(changes)? } else { self.shown(&changes.take(&UInt32Array::from(shown))?)? });
        }
        Self::keep(&mut self.entering, &self.encoding, changes, &entering)?;
        Self::keep(&mut self.leaving, &self.encoding, changes, &leaving)
    }

    fn keep(kept: &mut Instants, encoding: &RowConverter, changes: &ChangeBatch, rows: &[(i64, u32)]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let taken = changes.take(&UInt32Array::from_iter_values(rows.iter().map(|(_, row)| *row)))?;
        let encoded = encoding.convert_columns(taken.rows().columns())?;
        for (index, (at, _)) in rows.iter().enumerate() {
            kept.change(*at, encoded.row(index).data(), taken.weight(index));
        }
        Ok(())
    }

    fn decoded(&self, rows: &[(Box<[u8]>, i64)]) -> Result<ChangeBatch> {
        let columns = self.encoding.convert_rows(rows.iter().map(|(row, _)| self.parser.parse(row)))?;
        let fields = columns.iter().map(|column| (String::new(), Arc::clone(column), true));
        let weights: Vec<i64> = rows.iter().map(|(_, weight)| *weight).collect();
        Ok(ChangeBatch::new(RecordBatch::try_from_iter_with_nullable(fields)?, Int64Array::from(weights)))
    }

    /// The changes without the instants.
    fn shown(&self, changes: &ChangeBatch) -> Result<ChangeBatch> {
        let columns = changes.rows().columns()[..self.schema.fields().len()].to_vec();
        let options = RecordBatchOptions::new().with_row_count(Some(changes.len()));
        Ok(changes.with_rows(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?))
    }
}

impl Kernel for TemporalKernel {
    fn step(&mut self, _epoch: Epoch, inputs: Vec<Vec<ChangeBatch>>, out: &mut Output) -> Result<()> {
        let [clock, rows] = inputs.as_slice() else {
            return Err(Error::internal("a temporal filter has a clock and rows as its inputs"));
        };
        self.advance(clock, out)?;
        rows.iter().filter(|changes| !changes.is_empty()).try_for_each(|changes| self.judge(changes, out))
    }

    fn state_size(&self) -> StateSize {
        let kept = [&self.entering, &self.leaving];
        StateSize {
            n_rows: kept.iter().map(|kept| kept.rows.len() as u64).sum(),
            n_bytes: kept.iter().map(|kept| kept.n_bytes as u64).sum(),
        }
    }
}

/// One of the instants of each row of a batch.
struct Instant<'a> {
    column: Option<&'a Int64Array>,
    otherwise: i64,
}

impl<'a> Instant<'a> {
    fn of(changes: &'a ChangeBatch, column: Option<usize>, otherwise: i64) -> Self {
        Self { column: column.map(|column| changes.column(column).as_primitive::<Int64Type>()), otherwise }
    }

    /// `None` for a row that is never there.
    fn at(&self, row: usize) -> Option<i64> {
        match self.column {
            None => Some(self.otherwise),
            Some(column) => column.is_valid(row).then(|| column.value(row)),
        }
    }
}

/// Encoded rows with how often they are there, by an instant.
#[derive(Default)]
struct Instants {
    rows: BTreeMap<(i64, Box<[u8]>), i64>,
    n_bytes: usize,
}

impl Instants {
    fn change(&mut self, at: i64, row: &[u8], weight: i64) {
        let key = (at, Box::from(row));
        match self.rows.get_mut(&key) {
            Some(known) if *known == -weight => {
                self.rows.remove(&key);
                self.n_bytes -= n_bytes(row);
            }
            Some(known) => *known += weight,
            None if weight != 0 => {
                self.n_bytes += n_bytes(row);
                self.rows.insert(key, weight);
            }
            None => {}
        }
    }

    /// Takes out the rows whose instant is not after `now_us`.
    fn take_due(&mut self, now_us: i64) -> Vec<(Box<[u8]>, i64)> {
        let mut due = Vec::new();
        while let Some(first) = self.rows.first_entry().filter(|first| first.key().0 <= now_us) {
            let ((_, row), weight) = first.remove_entry();
            self.n_bytes -= n_bytes(&row);
            due.push((row, weight));
        }
        due
    }
}

/// What a row takes in the tree: its bytes, the key and the weight, and its part of half-full nodes.
fn n_bytes(row: &[u8]) -> usize {
    const OVERHEAD_BYTES: usize = 64;
    row.len() + OVERHEAD_BYTES
}

#[cfg(test)]
mod tests;
