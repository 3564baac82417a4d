//! Window functions: `sum(…) OVER (PARTITION BY … ORDER BY …)`, and any other, over the rows that a change concerns.
//!
//! **Order.** A partition's rows are in the order of the window, then of all columns, ascending, nulls last.
//!
//! **Cost.** Rows are kept in blocks ([`partition`]). A function of neighbours (`lag`, a frame of some rows) is evaluated for the
//! blocks around a change; a running one ([`running`]) from the changed block on, for as long as it stands otherwise than before: to the end
//! for a sum, and a few rows for a maximum that stays. Where any function looks at its whole partition, that is evaluated. What is
//! evaluated is so as it was and as it is, by the batch engine's own window expressions and accumulators, and the difference is
//! emitted: so any function and any frame means what it means in batch.
//!
//! **Failures.** A partition whose evaluation fails has no rows; why is in the errors relation.

mod partition;
mod running;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, RowParser, SortField};
use datafusion::physical_expr::window::WindowExpr;

use self::partition::{Block, Partition, Region, Row, changed, copies, cut};
use self::running::{State, Stretch};
use super::ordered_rows::RowKey;
use super::{Kernel, Output, Parts, StateSize, error_change};
use crate::plan::{Over, Reach};
use crate::{ChangeBatch, Epoch, Error, Result};

/// The kernel of window functions; see the file's head.
pub struct OverKernel {
    partition_columns: Vec<usize>,
    order_columns: Vec<usize>,
    windows: Vec<(Arc<dyn WindowExpr>, Reach)>,
    look: Look,
    input_schema: SchemaRef,
    schema: SchemaRef,
    partition_encoding: RowConverter,
    order_encoding: RowConverter,
    row_encoding: RowConverter,
    row_parser: RowParser,
    output_encoding: RowConverter,
    partitions: BTreeMap<Box<[u8]>, Partition>,
    size: StateSize,
}

/// What all functions together look at.
struct Look {
    /// The whole partition.
    is_whole: bool,
    /// Some go on from where they stood: peers stay in one block.
    is_running: bool,
    /// Rows on either side.
    margin: usize,
}

/// What an evaluation gave, or why it gave nothing.
type Evaluated<T> = std::result::Result<T, Error>;

/// Rows with the values of the windows, and how running functions stand at the cuts.
struct Values {
    rows: RecordBatch,
    states: Vec<State>,
}

/// Rows of one partition that follow one another.
#[derive(Clone)]
struct Part<'a> {
    before: Vec<&'a Row>,
    rows: Vec<&'a Row>,
    after: Vec<&'a Row>,
    start: &'a State,
    /// Places among the copies of `rows` where states are wanted.
    cuts: Vec<usize>,
}

/// What becomes of some blocks.
enum Change {
    /// The block's rows are the same, but the running functions stand otherwise before them.
    Entry(usize, State),
    /// Other blocks instead.
    Blocks(Region, Vec<Block>),
}

/// How often each output row is there more than it was.
type Counts = HashMap<Box<[u8]>, i64>;

impl Look {
    fn of(reach: &[Reach]) -> Self {
        let margin = |reach: &Reach| match reach {
            Reach::Near { before, after } => *before.max(after),
            Reach::Running(_) | Reach::Whole => 0,
        };
        Self {
            is_whole: reach.iter().any(|reach| matches!(reach, Reach::Whole)),
            is_running: reach.iter().any(|reach| matches!(reach, Reach::Running(_))),
            margin: reach.iter().map(margin).max().unwrap_or(0),
        }
    }
}

impl OverKernel {
    /// The kernel of planned windows, whose output has the columns of `schema`.
    pub fn new(over: &Over, schema: SchemaRef) -> Result<Self> {
        let input = over.input.schema.clone();
        let ascending = SortOptions { descending: false, nulls_first: false };
        let field = |column: usize, options| SortField::new_with_options(input.field(column).data_type().clone(), options);
        let order = over.order.iter().map(|by| field(by.column, SortOptions { descending: by.descending, nulls_first: by.nulls_first }));
        let partition = over.partition.iter().map(|column| field(*column, ascending));
        let row_encoding = RowConverter::new((0..input.fields().len()).map(|column| field(column, ascending)).collect())?;
        let output = schema.fields().iter().map(|field| SortField::new_with_options(field.data_type().clone(), ascending));
        Ok(Self {
            partition_columns: over.partition.clone(),
            order_columns: over.order.iter().map(|by| by.column).collect(),
            windows: over.windows.iter().cloned().zip(over.reach.iter().cloned()).collect(),
            look: Look::of(&over.reach),
            partition_encoding: RowConverter::new(partition.collect())?,
            order_encoding: RowConverter::new(order.collect())?,
            row_parser: row_encoding.parser(),
            row_encoding,
            output_encoding: RowConverter::new(output.collect())?,
            input_schema: input,
            schema,
            partitions: BTreeMap::new(),
            size: StateSize::default(),
        })
    }

    /// The net change of each row, by partition.
    fn by_partition(&self, batches: &[ChangeBatch]) -> Result<BTreeMap<Box<[u8]>, BTreeMap<RowKey, i64>>> {
        let mut changes: BTreeMap<Box<[u8]>, BTreeMap<RowKey, i64>> = BTreeMap::new();
        for batch in batches {
            let encoded = |encoding: &RowConverter, columns: &[usize]| match columns {
                [] => Ok(None),
                columns => {
                    encoding.convert_columns(&columns.iter().map(|column| batch.column(*column).clone()).collect::<Vec<_>>()).map(Some)
                }
            };
            let orders = encoded(&self.order_encoding, &self.order_columns)?;
            let partitions = encoded(&self.partition_encoding, &self.partition_columns)?;
            let rows = encoded(&self.row_encoding, &(0..batch.rows().num_columns()).collect::<Vec<_>>())?;
            for row in 0..batch.len() {
                let order = orders.as_ref().map_or(&[][..], |orders| orders.row(row).data());
                let partition = partitions.as_ref().map_or(&[][..], |partitions| partitions.row(row).data());
                let columns = rows.as_ref().map_or(&[][..], |rows| rows.row(row).data());
                let key = RowKey::new(order, columns);
                *changes.entry(partition.into()).or_default().entry(key).or_default() += batch.weight(row);
            }
        }
        Ok(changes)
    }

    fn change_partition(&mut self, key: Box<[u8]>, changes: BTreeMap<RowKey, i64>, out: &mut Output) -> Result<()> {
        let changes: Vec<Row> = changes.into_iter().filter(|(_, weight)| *weight != 0).collect();
        if changes.is_empty() {
            return Ok(());
        }
        let mut partition = self.partitions.remove(&key).unwrap_or_default();
        let mut counts = Counts::new();
        let by_parts = match self.look.is_whole || partition.failed {
            true => None,
            false => self.change_by_parts(&partition, &changes, &mut counts, out)?.ok(),
        };
        match by_parts {
            Some(blocks) => blocks.into_iter().rev().for_each(|change| change.apply(&mut partition)),
            None => {
                counts.clear();
                self.change_whole(&mut partition, &changes, &mut counts, out)?;
            }
        }
        self.emit(counts, out)?;
        self.count_size(&changes);
        if !partition.blocks.is_empty() {
            self.partitions.insert(key, partition);
        }
        Ok(())
    }

    /// Counts the difference that changes make, region by region and, between these, as long as running functions stand
    /// otherwise than before. What becomes of the blocks is returned in their order.
    fn change_by_parts(
        &self,
        partition: &Partition,
        changes: &[Row],
        counts: &mut Counts,
        out: &mut Output,
    ) -> Result<Evaluated<Vec<Change>>> {
        let mut made = Vec::new();
        // Where the functions stand before block `at`, if not as they did.
        let (mut carried, mut at): (Option<State>, usize) = (None, 0);
        for region in partition.regions(changes, self.look.margin, self.look.is_running) {
            match self.carry_on(partition, carried.take(), at..region.blocks.start, counts, &mut made, out)? {
                Ok(state) => carried = state,
                Err(error) => return Ok(Err(error)),
            }
            at = region.blocks.end;
            match self.change_region(partition, region, changes, carried.take(), counts, out)? {
                Ok((change, state)) => {
                    made.push(change);
                    carried = state;
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        let rest = at..partition.blocks.len();
        Ok(self.carry_on(partition, carried, rest, counts, &mut made, out)?.map(|_| made))
    }

    /// Blocks whose rows have not changed, as far as they are reached by functions that stand otherwise.
    fn carry_on(
        &self,
        partition: &Partition,
        mut carried: Option<State>,
        blocks: std::ops::Range<usize>,
        counts: &mut Counts,
        made: &mut Vec<Change>,
        out: &mut Output,
    ) -> Result<Evaluated<Option<State>>> {
        for index in blocks {
            let Some(state) = carried.take() else { break };
            let block = &partition.blocks[index];
            let part = |start| Part {
                before: partition.rows_before(index, self.look.margin),
                rows: block.rows.iter().collect(),
                after: partition.rows_from(index + 1, self.look.margin),
                start,
                cuts: vec![block.n_copies],
            };
            let (before, after) = match (self.evaluate(&part(&block.entry))?, self.evaluate(&part(&state))?) {
                (Ok(before), Ok(after)) => (before, after),
                (Err(error), _) | (_, Err(error)) => return Ok(Err(error)),
            };
            out.n_state_rows_read += block.n_copies as u64;
            self.count(counts, &before.rows, -1)?;
            self.count(counts, &after.rows, 1)?;
            made.push(Change::Entry(index, state));
            carried = if after.states == before.states { None } else { after.states.into_iter().next() };
        }
        Ok(Ok(carried))
    }

    /// A region as it was and as it is. Returned with where the functions stand behind it, if not as they did.
    fn change_region(
        &self,
        partition: &Partition,
        region: Region,
        changes: &[Row],
        carried: Option<State>,
        counts: &mut Counts,
        out: &mut Output,
    ) -> Result<Evaluated<(Change, Option<State>)>> {
        let entry = partition.blocks.get(region.blocks.start).map(|block| block.entry.clone()).unwrap_or_default();
        let start = carried.unwrap_or_else(|| entry.clone());
        let rows = changed(partition.rows(region.blocks.clone()), &changes[region.changes.clone()])?;
        let parts = cut(rows, self.look.is_running);
        let before = Part {
            before: partition.rows_before(region.blocks.start, self.look.margin),
            rows: partition.rows(region.blocks.clone()).collect(),
            after: partition.rows_from(region.blocks.end, self.look.margin),
            start: &entry,
            cuts: vec![partition.blocks[region.blocks.clone()].iter().map(|block| block.n_copies).sum()],
        };
        let after = Part { rows: parts.iter().flatten().collect(), start: &start, cuts: ends(&parts), ..before.clone() };
        let (before, after) = match (self.evaluate(&before)?, self.evaluate(&after)?) {
            (Ok(before), Ok(after)) => (before, after),
            (Err(error), _) | (_, Err(error)) => return Ok(Err(error)),
        };
        out.n_state_rows_read += before.rows.num_rows() as u64;
        self.count(counts, &before.rows, -1)?;
        self.count(counts, &after.rows, 1)?;
        let (was, is) = (before.states.last().unwrap_or(&entry), after.states.last().unwrap_or(&start));
        let state = (was != is).then(|| is.clone());
        let entries = std::iter::once(&start).chain(&after.states);
        let blocks = parts.into_iter().zip(entries).map(|(rows, entry)| Block::new(rows, entry.clone())).collect();
        Ok(Ok((Change::Blocks(region, blocks), state)))
    }

    /// The partition as it was and as it is.
    fn change_whole(&self, partition: &mut Partition, changes: &[Row], counts: &mut Counts, out: &mut Output) -> Result<()> {
        let old = std::mem::take(partition);
        let old_rows: Vec<&Row> = old.rows(0..old.blocks.len()).collect();
        let parts = cut(changed(old_rows.iter().copied(), changes)?, self.look.is_running);
        let rows: Vec<&Row> = parts.iter().flatten().collect();
        out.n_state_rows_read += old_rows.len() as u64;
        self.count_whole(&old_rows, -1, counts, out)?;
        partition.failed = !self.count_whole(&rows, 1, counts, out)?;
        let start = State::default();
        let states = match self.look.is_running && !self.look.is_whole && !partition.failed {
            true => {
                let part = Part { before: vec![], rows, after: vec![], start: &start, cuts: ends(&parts) };
                self.evaluate(&part)?.map(|values| values.states)
            }
            false => Ok(vec![]),
        };
        // What could be evaluated at once can be so in parts; were it not, it would be evaluated at once again.
        partition.failed |= states.is_err();
        let entries = std::iter::once(start.clone()).chain(states.unwrap_or_default()).chain(std::iter::repeat(start));
        partition.blocks = parts.into_iter().zip(entries).map(|(rows, entry)| Block::new(rows, entry)).collect();
        Ok(())
    }

    /// Counts all rows of a partition with the values of the windows; false, and an error counted instead, when these fail.
    fn count_whole(&self, rows: &[&Row], sign: i64, counts: &mut Counts, out: &mut Output) -> Result<bool> {
        if rows.is_empty() {
            return Ok(true);
        }
        let input = self.decoded(rows.iter().copied())?;
        match self.with_windows(&input, |window, _| window.evaluate(&input)) {
            Ok(rows) => self.count(counts, &rows, sign)?,
            Err(error) => {
                out.errors.push(error_change("OVER", &Error::from(error), "", sign));
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The rows of a part with the values of the windows.
    fn evaluate(&self, part: &Part) -> Result<Evaluated<Values>> {
        let n_rows = n_copies(&part.rows);
        if n_rows == 0 {
            let states = part.cuts.iter().map(|_| part.start.clone()).collect();
            return Ok(Ok(Values { rows: RecordBatch::new_empty(Arc::clone(&self.schema)), states }));
        }
        let around = self.decoded(part.before.iter().chain(&part.rows).chain(&part.after).copied())?;
        let n_before = n_copies(&part.before);
        let rows = around.slice(n_before, n_rows);
        let peers = peers(&part.rows);
        let stretch = Stretch { rows: &rows, peers: &peers, cuts: &part.cuts };
        let mut states: Vec<State> = part.cuts.iter().map(|_| State::new()).collect();
        let mut starts = part.start.iter();
        let values = self.with_windows(&rows, |window, reach| match reach {
            Reach::Running(running) => {
                let ran = stretch.run(window, running, starts.next().map_or(&[], Vec::as_slice))?;
                states.iter_mut().zip(ran.states).for_each(|(states, state)| states.push(state));
                Ok(ran.values)
            }
            Reach::Near { .. } | Reach::Whole => Ok(window.evaluate(&around)?.slice(n_before, n_rows)),
        });
        Ok(values.map(|rows| Values { rows, states }).map_err(Error::from))
    }

    fn decoded<'a>(&self, rows: impl Iterator<Item = &'a Row>) -> Result<RecordBatch> {
        let copies = rows.flat_map(|(key, weight)| std::iter::repeat_n(key, usize::try_from(*weight).unwrap_or(0)));
        let copies: Vec<_> = copies.map(|key| self.row_parser.parse(key.row())).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(copies.len()));
        let columns = self.row_encoding.convert_rows(copies)?;
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.input_schema), columns, &options)?)
    }

    /// The kept columns of `rows`, and a column for each window.
    fn with_windows(
        &self,
        rows: &RecordBatch,
        mut values: impl FnMut(&dyn WindowExpr, &Reach) -> datafusion::common::Result<ArrayRef>,
    ) -> datafusion::common::Result<RecordBatch> {
        let n_kept = self.schema.fields().len() - self.windows.len();
        let mut columns: Vec<ArrayRef> = rows.columns()[..n_kept].to_vec();
        for ((window, reach), field) in self.windows.iter().zip(&self.schema.fields()[n_kept..]) {
            columns.push(arrow::compute::cast(&values(window.as_ref(), reach)?, field.data_type())?);
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    fn count(&self, counts: &mut Counts, rows: &RecordBatch, sign: i64) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        for row in &self.output_encoding.convert_columns(rows.columns())? {
            *counts.entry(row.data().into()).or_default() += sign;
        }
        Ok(())
    }

    fn count_size(&mut self, changes: &[Row]) {
        for (key, weight) in changes {
            self.size.n_rows = self.size.n_rows.saturating_add_signed(*weight);
            self.size.n_bytes = self.size.n_bytes.saturating_add_signed(*weight * key.n_bytes() as i64);
        }
    }

    /// What is different after.
    fn emit(&self, counts: Counts, out: &mut Output) -> Result<()> {
        let mut changes: Vec<(Box<[u8]>, i64)> = counts.into_iter().filter(|(_, count)| *count != 0).collect();
        changes.sort_unstable();
        if changes.is_empty() {
            return Ok(());
        }
        let parser = self.output_encoding.parser();
        let columns = self.output_encoding.convert_rows(changes.iter().map(|(row, _)| parser.parse(row)))?;
        let options = RecordBatchOptions::new().with_row_count(Some(changes.len()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        out.changes.push(ChangeBatch::new(rows, changes.iter().map(|(_, weight)| *weight).collect::<Vec<_>>().into()));
        Ok(())
    }
}

impl Change {
    /// Changes are applied from the last block to the first, so that numbers of blocks stay what they were.
    fn apply(self, partition: &mut Partition) {
        match self {
            Self::Entry(block, state) => partition.blocks[block].entry = state,
            Self::Blocks(region, blocks) => drop(partition.blocks.splice(region.blocks, blocks)),
        }
    }
}

fn n_copies(rows: &[&Row]) -> usize {
    rows.iter().map(|row| row.1 as usize).sum()
}

/// Where each part ends, in copies.
fn ends(parts: &[Vec<Row>]) -> Vec<usize> {
    let end = |place: &mut usize, part: &Vec<Row>| {
        *place += copies(part);
        Some(*place)
    };
    parts.iter().scan(0, end).collect()
}

/// How many copies of rows are in each group that is equal in the order.
fn peers(rows: &[&Row]) -> Vec<usize> {
    rows.chunk_by(|left, right| left.0.order() == right.0.order()).map(n_copies).collect()
}

impl Kernel for OverKernel {
    fn step(&mut self, _epoch: Epoch, inputs: Vec<Vec<ChangeBatch>>, out: &mut Output) -> Result<()> {
        let batches: Vec<ChangeBatch> = inputs.into_iter().flatten().collect();
        for (partition, changes) in self.by_partition(&batches)? {
            self.change_partition(partition, changes, out)?;
        }
        Ok(())
    }

    fn parts(&self, _epoch: Epoch) -> Parts<'_> {
        Parts::OfGroups(&self.partition_columns)
    }

    fn state_size(&self) -> StateSize {
        self.size
    }
}
