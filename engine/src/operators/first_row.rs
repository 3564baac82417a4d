//! The first row of each partition in an order, when nothing is ever retracted: `ROW_NUMBER() … <= 1` and `LIMIT 1` over an
//! append-only input. Beside the general [`super::top_n`] it encodes no rows: the first rows lie in columns.
//!
//! **Order.** As there: the order columns, then all columns, ascending, nulls last.
//!
//! **State.** Per partition the encoded order of its first row, and the row. A row that does not come first costs one look at
//! the state; one that does replaces the row.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};

use super::kept_rows::{KeptRows, Place, interleave};
use super::keys::KeyTable;
use super::{Kernel, Output, StateSize};
use crate::plan::TopN;
use crate::{ChangeBatch, Epoch, Error, Result};

/// The kernel; see the file's head.
pub struct FirstRowKernel {
    partition_columns: Vec<usize>,
    order_columns: Vec<usize>,
    with_row_number: bool,
    input_schema: SchemaRef,
    schema: SchemaRef,
    /// `None` where there is one partition.
    keys: Option<KeyTable>,
    order_encoding: RowConverter,
    row_encoding: RowConverter,
    /// Bytes of an encoded order.
    n_order_bytes: usize,
    /// The encoded order of each partition's first row, one after another.
    orders: Vec<u8>,
    rows: KeptRows,
    /// By partition, where in the step's input its first row is; [`Place::NONE`] outside of a step, or when it is an older one.
    fresh: Vec<Place>,
}

impl FirstRowKernel {
    /// The kernel of a planned top-n, when it is one of these: the first row alone, an input that never retracts, and order
    /// columns of a fixed width.
    pub fn of(top: &TopN, append_only_input: bool, schema: SchemaRef) -> Result<Option<Self>> {
        let input = &top.input.schema;
        let is_fixed = |column: usize| input.field(column).data_type().primitive_width().is_some();
        let order = top.leading_order();
        if !append_only_input || (top.skip, top.fetch) != (0, 1) || order.is_empty() || !order.iter().all(|by| is_fixed(by.column)) {
            return Ok(None);
        }
        let order_columns: Vec<usize> = order.iter().map(|by| by.column).collect();
        let field = |column: usize, options| SortField::new_with_options(input.field(column).data_type().clone(), options);
        let ascending = SortOptions { descending: false, nulls_first: false };
        let order = order.iter().map(|by| field(by.column, SortOptions { descending: by.descending, nulls_first: by.nulls_first }));
        let keys: Vec<_> = top.partition.iter().map(|column| input.field(*column).data_type().clone()).collect();
        let n_order_bytes =
            order_columns.iter().filter_map(|column| input.field(*column).data_type().primitive_width()).map(|width| width + 1);
        let n_order_bytes = n_order_bytes.sum();
        Ok(Some(Self {
            partition_columns: top.partition.clone(),
            order_columns,
            with_row_number: top.with_row_number,
            keys: if keys.is_empty() { None } else { Some(KeyTable::new(&keys)?) },
            order_encoding: RowConverter::new(order.collect())?,
            row_encoding: RowConverter::new((0..input.fields().len()).map(|column| field(column, ascending)).collect())?,
            n_order_bytes,
            orders: Vec::new(),
            rows: KeptRows::new(input.clone()),
            fresh: Vec::new(),
            input_schema: input.clone(),
            schema,
        }))
    }

    /// The partition of each row.
    fn partitions(&mut self, batch: &ChangeBatch) -> Result<Vec<usize>> {
        let mut partitions = Vec::new();
        let n_partitions = match &mut self.keys {
            None => {
                partitions.resize(batch.len(), 0);
                1
            }
            Some(keys) => {
                let columns: Vec<ArrayRef> = self.partition_columns.iter().map(|column| batch.column(*column).clone()).collect();
                keys.intern(&columns, &mut partitions)?;
                keys.n_slots()
            }
        };
        self.rows.resize(n_partitions);
        self.fresh.resize(n_partitions, Place::NONE);
        self.orders.resize(n_partitions * self.n_order_bytes, 0);
        Ok(partitions)
    }

    /// Finds out which rows of a batch now come first. `changed` collects the partitions that have got another first row.
    fn compare(&mut self, batches: &[ChangeBatch], index: u32, changed: &mut Vec<u32>) -> Result<u64> {
        let batch = &batches[index as usize];
        let partitions = self.partitions(batch)?;
        let columns: Vec<ArrayRef> = self.order_columns.iter().map(|column| batch.column(*column).clone()).collect();
        let orders = self.order_encoding.convert_columns(&columns)?;
        let mut n_read = 0;
        for (row, (partition, order)) in partitions.into_iter().zip(orders.iter()).enumerate() {
            let order: &[u8] = order.as_ref();
            let (fresh, kept) = (self.fresh[partition], self.rows.place(partition as u32));
            let known = &self.orders[partition * self.n_order_bytes..(partition + 1) * self.n_order_bytes];
            let this = Place { batch: index, row: row as u32 };
            if fresh != Place::NONE || kept != Place::NONE {
                n_read += u64::from(fresh == Place::NONE);
                let is_first = match order.cmp(known) {
                    Ordering::Less => true,
                    Ordering::Greater => false,
                    Ordering::Equal => self.breaks_tie(batches, this, fresh, kept)?,
                };
                if !is_first {
                    continue;
                }
            }
            if fresh == Place::NONE {
                changed.push(partition as u32);
            }
            self.fresh[partition] = this;
            self.orders[partition * self.n_order_bytes..(partition + 1) * self.n_order_bytes].copy_from_slice(order);
        }
        Ok(n_read)
    }

    /// True when a row comes before the known one although their order columns are equal.
    fn breaks_tie(&self, batches: &[ChangeBatch], this: Place, fresh: Place, kept: Place) -> Result<bool> {
        let row = |place: Place| batches[place.batch as usize].rows().slice(place.row as usize, 1);
        let known = if fresh == Place::NONE { self.rows.row(kept) } else { row(fresh) };
        let encoded = |row: &RecordBatch| self.row_encoding.convert_columns(row.columns());
        let (this, known) = (encoded(&row(this))?, encoded(&known)?);
        Ok(this.row(0) < known.row(0))
    }

    fn emit(&self, rows: RecordBatch, weight: i64, out: &mut Output) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let mut columns = rows.columns().to_vec();
        if self.with_row_number {
            let ones: ArrayRef = Arc::new(UInt64Array::from(vec![1; rows.num_rows()]));
            columns.push(cast(&ones, self.schema.field(columns.len()).data_type())?);
        }
        let rows = RecordBatch::try_new(self.schema.clone(), columns)?;
        out.changes.push(if weight > 0 { ChangeBatch::inserts(rows) } else { ChangeBatch::deletes(rows) });
        Ok(())
    }
}

impl Kernel for FirstRowKernel {
    fn step(&mut self, _: Epoch, inputs: Vec<Vec<ChangeBatch>>, out: &mut Output) -> Result<()> {
        let batches: Vec<ChangeBatch> = inputs.into_iter().flatten().filter(|batch| !batch.is_empty()).collect();
        if batches.iter().filter_map(ChangeBatch::weights).any(|weights| weights.values().iter().any(|weight| *weight <= 0)) {
            return Err(Error::internal("an input that never retracts has retracted a row"));
        }
        let mut changed = Vec::new();
        for index in 0..batches.len() as u32 {
            out.n_state_rows_read += self.compare(&batches, index, &mut changed)?;
        }
        let replaced: Vec<Place> =
            changed.iter().map(|partition| self.rows.place(*partition)).filter(|place| *place != Place::NONE).collect();
        self.emit(self.rows.rows(&replaced)?, -1, out)?;
        let place = |partition: &u32| {
            let place = std::mem::replace(&mut self.fresh[*partition as usize], Place::NONE);
            (place.batch as usize, place.row as usize)
        };
        let places: Vec<(usize, usize)> = changed.iter().map(place).collect();
        let rows: Vec<&RecordBatch> = batches.iter().map(ChangeBatch::rows).collect();
        let rows = interleave(&self.input_schema, &rows, &places)?;
        self.emit(rows.clone(), 1, out)?;
        self.rows.put(rows, changed)
    }

    fn state_size(&self) -> StateSize {
        let keys = self.keys.as_ref().map_or(0, KeyTable::n_bytes);
        let n_bytes = keys + self.orders.capacity() + self.fresh.capacity() * size_of::<Place>() + self.rows.n_bytes();
        StateSize { n_rows: self.rows.len() as u64, n_bytes: n_bytes as u64 }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::operators::script::{changes, check, consolidated, schema};
    use crate::operators::top_n::TopNKernel;
    use crate::plan::{Node, Plan, SortColumn};

    /// `ORDER BY v DESC NULLS LAST` per `k` (or overall) of rows `k v t`.
    fn top(partition: Vec<usize>, with_row_number: bool) -> (TopN, SchemaRef) {
        let input = schema("k:text v:int t:text");
        let columns = if with_row_number { "k:text v:int t:text n:int" } else { "k:text v:int t:text" };
        let plan = Plan { node: Node::Constant(RecordBatch::new_empty(input.clone())), schema: input, append_only: true };
        let order = vec![SortColumn { column: 1, descending: true, nulls_first: false }];
        (TopN { input: Box::new(plan), partition, order, skip: 0, fetch: 1, with_row_number }, schema(columns))
    }

    fn kernel(partition: Vec<usize>, with_row_number: bool) -> FirstRowKernel {
        let (top, schema) = top(partition, with_row_number);
        FirstRowKernel::of(&top, true, schema).expect("the types can be ordered").expect("it is a first row")
    }

    #[test]
    fn the_first_row_of_each_partition() {
        check(
            &mut kernel(vec![0], true),
            &[("input", schema("k:text v:int t:text"))],
            "1: + a 1 x | + a 3 x | +2 a 2 x | + b null x | + null null x
             2: + a 3 y | + b 1 y
             3: + a 3 w | + a 9 w | + a 9 v
             4: + null null a",
            "1: + a 3 x 1 | + b null x 1 | + null null x 1
             2: + b 1 y 1 | - b null x 1
             3: - a 3 x 1 | + a 9 v 1
             4: + null null a 1 | - null null x 1",
        );
    }

    #[test]
    fn columns_that_only_break_ties_are_no_order() {
        let by = |column, descending| SortColumn { column, descending, nulls_first: false };
        let leading = |order: Vec<SortColumn>| TopN { order, ..top(vec![0], false).0 }.leading_order().len();
        assert_eq!(leading(vec![by(1, true), by(2, false)]), 1);
        assert_eq!(leading(vec![by(1, false), by(2, false)]), 1);
        assert_eq!(leading(vec![by(2, false), by(1, false)]), 1);
        assert_eq!(leading(vec![by(1, false), by(2, true)]), 2);
        assert_eq!(leading(vec![by(1, true)]), 1);
        assert_eq!(leading(vec![]), 0);
    }

    #[test]
    fn a_retraction_is_refused() {
        let batch = changes(&schema("k:text v:int t:text"), "- a 1 x");
        let failed = kernel(vec![0], false).step(1, vec![vec![batch]], &mut Output::default());
        assert!(failed.is_err());
    }

    #[test]
    fn random_rows_give_what_the_general_kernel_gives() {
        for (seed, partition) in [vec![0], vec![], vec![0, 2]].into_iter().enumerate() {
            let mut first = kernel(partition.clone(), false);
            let (top, output) = top(partition, false);
            let mut general = TopNKernel::new(&top, true).expect("the types can be ordered").with_schema(output.clone());
            let mut random = StdRng::seed_from_u64(seed as u64);
            for epoch in 0..200 {
                let mut row = || {
                    let k = ["a", "b", "null"][random.random_range(0..3)];
                    let v = ["1", "2", "3", "null"][random.random_range(0..4)];
                    format!("+ {k} {v} {}", ["x", "y", "z"][random.random_range(0..3)])
                };
                let rows: Vec<String> = (0..epoch % 4).map(|_| row()).collect();
                let step = |kernel: &mut dyn Kernel| {
                    let mut out = Output::default();
                    kernel.step(epoch, vec![vec![changes(&output, &rows.join(" | "))]], &mut out).expect("the step succeeds");
                    consolidated(&out.changes)
                };
                assert_eq!(step(&mut first), step(&mut general), "seed {seed} epoch {epoch}: {rows:?}");
            }
            assert_eq!(first.state_size().n_rows, general.state_size().n_rows);
        }
    }
}
