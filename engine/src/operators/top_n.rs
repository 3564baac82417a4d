//! The first rows of each partition in an order: `ORDER BY … LIMIT … OFFSET` and `ROW_NUMBER() … <= n`.
//!
//! **Order.** Rows are ordered by the order columns, then by all columns, ascending, nulls last: a total order of rows, so that the
//! answer does not depend on arrival. The batch engine appends the same sort keys.
//!
//! **State.** A partition has three zones, each in order: the rows skipped, the window, and the rest. A change goes into its
//! zone by comparing it with the zones' last rows, and rows then cross the borders until the first two zones are full again. So
//! a row that comes or goes behind the window reads no row of state, and any other reads about two. When nothing is ever
//! retracted the rest is not kept, and a row behind the window is dropped before it is even encoded.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array, UInt64Array};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::row::{RowConverter, RowParser, Rows, SortField};
use hashbrown::HashTable;

use super::ordered_rows::{OrderedRows, RowKey};
use super::{Kernel, Output, StateSize};
use crate::plan::TopN;
use crate::state::key::hash_keys;
use crate::{ChangeBatch, Epoch, Error, Result};

/// The kernel of top-n; see the file's head.
pub struct TopNKernel {
    partition_columns: Vec<usize>,
    order_columns: Vec<usize>,
    skip: i64,
    fetch: i64,
    with_row_number: bool,
    append_only: bool,
    input_schema: SchemaRef,
    schema: SchemaRef,
    partition_encoding: RowConverter,
    order_encoding: RowConverter,
    row_encoding: RowConverter,
    row_parser: RowParser,
    partitions: Partitions,
    size: StateSize,
}

impl TopNKernel {
    /// The kernel of a planned top-n. `append_only_input` promises that no row is ever retracted. The row number is a UInt64
    /// unless [`TopNKernel::with_schema`] says otherwise.
    pub fn new(top: &TopN, append_only_input: bool) -> Result<Self> {
        let input = top.input.schema.clone();
        let field = |column: usize, options| SortField::new_with_options(input.field(column).data_type().clone(), options);
        let ascending = SortOptions { descending: false, nulls_first: false };
        let all_ascending = |columns: &mut dyn Iterator<Item = usize>| columns.map(|column| field(column, ascending)).collect();
        let order =
            top.leading_order().iter().map(|by| field(by.column, SortOptions { descending: by.descending, nulls_first: by.nulls_first }));
        let row_encoding = RowConverter::new(all_ascending(&mut (0..input.fields().len())))?;
        Ok(Self {
            partition_encoding: RowConverter::new(all_ascending(&mut top.partition.iter().copied()))?,
            order_encoding: RowConverter::new(order.collect())?,
            row_parser: row_encoding.parser(),
            row_encoding,
            partition_columns: top.partition.clone(),
            order_columns: top.leading_order().iter().map(|by| by.column).collect(),
            skip: i64::try_from(top.skip).unwrap_or(i64::MAX),
            fetch: i64::try_from(top.fetch).unwrap_or(i64::MAX),
            with_row_number: top.with_row_number,
            append_only: append_only_input,
            schema: output_schema(&input, top.with_row_number),
            input_schema: input,
            partitions: Partitions::default(),
            size: StateSize::default(),
        })
    }

    /// With this output schema, whose last column is the row number when there is one.
    pub fn with_schema(mut self, schema: SchemaRef) -> Self {
        self.schema = schema;
        self
    }

    /// The changes by partition and row, each row once, in order.
    fn sorted_changes(&mut self, fresh: &ChangeBatch) -> Result<Vec<(u32, RowKey, i64)>> {
        let columns = |indices: &[usize]| indices.iter().map(|column| fresh.column(*column).clone()).collect::<Vec<_>>();
        let orders = encode(&self.order_encoding, &columns(&self.order_columns), fresh.len())?;
        let partitions = encode(&self.partition_encoding, &columns(&self.partition_columns), fresh.len())?;
        let hashes = hash_keys(fresh.rows(), &self.partition_columns);
        let mut candidates: Vec<(u32, u32)> = Vec::with_capacity(fresh.len());
        for row in 0..fresh.len() {
            let partition = self.partitions.find_or_add(hashes.value(row), bytes(&partitions, row));
            if !(self.append_only && self.partitions.list[partition as usize].is_beyond(bytes(&orders, row), self.fetch)) {
                candidates.push((partition, row as u32));
            }
        }
        let taken = fresh.take(&UInt32Array::from_iter_values(candidates.iter().map(|candidate| candidate.1)))?;
        let rows = self.row_encoding.convert_columns(taken.rows().columns())?;
        let change = |(index, (partition, row)): (usize, &(u32, u32))| {
            (*partition, RowKey::new(bytes(&orders, *row as usize), rows.row(index).data()), taken.weight(index))
        };
        let mut changes: Vec<_> = candidates.iter().enumerate().map(change).collect();
        changes.sort_unstable_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        changes.dedup_by(|later, first| {
            let same = (later.0, &later.1) == (first.0, &first.1);
            if same {
                first.2 += later.2;
            }
            same
        });
        changes.retain(|(_, _, weight)| *weight != 0);
        Ok(changes)
    }

    /// Applies the changes of one partition and adds what changed in its window.
    fn change_partition(
        &mut self,
        partition: u32,
        changes: &[(u32, RowKey, i64)],
        window: &mut WindowChanges,
        out: &mut Output,
    ) -> Result<()> {
        let zones = &mut self.partitions.list[partition as usize];
        let before = if self.with_row_number { zones.numbered(self.skip) } else { Vec::new() };
        let mut work = ZoneWork { size: &mut self.size, moved: Vec::new(), n_read: before.len() as u64 };
        for (_, key, weight) in changes {
            zones.change(key, *weight, &mut work)?;
        }
        zones.balance(self.skip, self.fetch, &mut work);
        if self.append_only {
            zones.forget_rest(&mut work);
        }
        out.n_state_rows_read += work.n_read;
        let moved = work.moved;
        if self.with_row_number {
            window.renumbered(&before, &zones.numbered(self.skip));
        } else {
            window.moved(moved);
        }
        self.partitions.remove_if_empty(partition);
        Ok(())
    }

    fn emit(&self, changes: WindowChanges, out: &mut Output) -> Result<()> {
        const PIECE_ROWS: usize = 8192;
        for piece in changes.changes.chunks(PIECE_ROWS) {
            let rows = piece.iter().map(|change| self.row_parser.parse(change.key.row()));
            let mut columns = self.row_encoding.convert_rows(rows)?;
            if self.with_row_number {
                let numbers: ArrayRef = Arc::new(UInt64Array::from_iter_values(piece.iter().map(|change| change.number)));
                columns.push(cast(&numbers, self.schema.field(columns.len()).data_type())?);
            }
            let options = RecordBatchOptions::new().with_row_count(Some(piece.len()));
            let rows = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
            out.changes.push(ChangeBatch::new(rows, Int64Array::from_iter_values(piece.iter().map(|change| change.weight))));
        }
        Ok(())
    }
}

impl Kernel for TopNKernel {
    fn step(&mut self, _: Epoch, inputs: Vec<Vec<ChangeBatch>>, out: &mut Output) -> Result<()> {
        let fresh: Vec<ChangeBatch> = inputs.into_iter().flatten().filter(|batch| !batch.is_empty()).collect();
        if fresh.is_empty() {
            return Ok(());
        }
        let fresh = ChangeBatch::concat(&self.input_schema, &fresh)?;
        let changes = self.sorted_changes(&fresh)?;
        let mut window = WindowChanges::default();
        for of_partition in changes.chunk_by(|a, b| a.0 == b.0) {
            self.change_partition(of_partition[0].0, of_partition, &mut window, out)?;
        }
        self.partitions.remove_unused();
        self.emit(window, out)
    }

    fn state_size(&self) -> StateSize {
        let n_bytes = self.size.n_bytes + self.partitions.n_bytes();
        StateSize { n_rows: self.size.n_rows, n_bytes }
    }
}

/// What changed in the windows of all partitions.
#[derive(Default)]
struct WindowChanges {
    changes: Vec<WindowChange>,
}

struct WindowChange {
    key: RowKey,
    number: u64,
    weight: i64,
}

impl WindowChanges {
    /// Rows that went in and out; a row that did both is no change.
    fn moved(&mut self, mut moved: Vec<(RowKey, i64)>) {
        moved.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        for rows in moved.chunk_by(|a, b| a.0 == b.0) {
            let weight = rows.iter().map(|(_, weight)| weight).sum();
            if weight != 0 {
                self.changes.push(WindowChange { key: rows[0].0.clone(), number: 0, weight });
            }
        }
    }

    /// Numbered rows before and after, both in order: only positions whose row differs are changes.
    fn renumbered(&mut self, before: &[(u64, RowKey)], after: &[(u64, RowKey)]) {
        let change = |(number, key): &(u64, RowKey), weight| WindowChange { key: key.clone(), number: *number, weight };
        for position in 0..before.len().max(after.len()) {
            let (old, new) = (before.get(position), after.get(position));
            if old != new {
                self.changes.extend(old.map(|row| change(row, -1)));
                self.changes.extend(new.map(|row| change(row, 1)));
            }
        }
    }
}

/// Partitions by their encoded key.
#[derive(Default)]
struct Partitions {
    index: HashTable<u32>,
    list: Vec<Zones>,
    free: Vec<u32>,
    added: Vec<u32>,
    n_key_bytes: usize,
}

impl Partitions {
    fn find_or_add(&mut self, hash: u64, key: &[u8]) -> u32 {
        let list = &self.list;
        if let Some(found) = self.index.find(hash, |index| *list[*index as usize].key == *key) {
            return *found;
        }
        let zones = Zones { hash, key: key.into(), ..Zones::default() };
        self.n_key_bytes += key.len();
        let index = match self.free.pop() {
            Some(index) => {
                self.list[index as usize] = zones;
                index
            }
            None => {
                self.list.push(zones);
                (self.list.len() - 1) as u32
            }
        };
        self.index.insert_unique(hash, index, |index| self.list[*index as usize].hash);
        self.added.push(index);
        index
    }

    /// Gives up a partition that has lost its last row.
    fn remove_if_empty(&mut self, index: u32) {
        let zones = &mut self.list[index as usize];
        if !zones.is_empty() || zones.is_free {
            return;
        }
        if let Ok(entry) = self.index.find_entry(zones.hash, |other| *other == index) {
            entry.remove();
        }
        self.n_key_bytes -= zones.key.len();
        *zones = Zones { is_free: true, ..Zones::default() };
        self.free.push(index);
    }

    /// Gives up partitions added for rows that came to nothing.
    fn remove_unused(&mut self) {
        std::mem::take(&mut self.added).into_iter().for_each(|index| self.remove_if_empty(index));
    }

    fn n_bytes(&self) -> u64 {
        (self.n_key_bytes + self.list.capacity() * size_of::<Zones>() + self.index.capacity() * 5) as u64
    }
}

/// The rows of one partition: all in `skipped` come before all in `window`, and those before all in `rest` (a row that occurs
/// several times may lie on both sides of a border).
#[derive(Default)]
struct Zones {
    hash: u64,
    key: Box<[u8]>,
    is_free: bool,
    skipped: OrderedRows,
    window: OrderedRows,
    rest: OrderedRows,
}

/// What a step does to zones: state kept, rows that crossed the window's borders, rows of state read.
struct ZoneWork<'a> {
    size: &'a mut StateSize,
    moved: Vec<(RowKey, i64)>,
    n_read: u64,
}

impl Zones {
    fn is_empty(&self) -> bool {
        self.skipped.total() + self.window.total() + self.rest.total() == 0
    }

    /// True when a row with this encoded order comes after a full window.
    fn is_beyond(&self, order: &[u8], fetch: i64) -> bool {
        self.window.total() >= fetch && self.window.last().is_none_or(|(last, _)| order > last.order())
    }

    fn change(&mut self, key: &RowKey, weight: i64, work: &mut ZoneWork<'_>) -> Result<()> {
        if weight > 0 {
            work.grow(key, weight);
            let is_within = |zone: &OrderedRows| zone.last().is_some_and(|(last, _)| key <= last);
            if is_within(&self.skipped) {
                self.skipped.add(key, weight);
            } else if is_within(&self.window) {
                self.window.add(key, weight);
                work.moved.push((key.clone(), weight));
            } else {
                self.rest.add(key, weight);
            }
            return Ok(());
        }
        let mut missing = -weight;
        missing -= self.skipped.remove(key, missing);
        if missing > 0 {
            let removed = self.window.remove(key, missing);
            missing -= removed;
            work.moved.push((key.clone(), -removed));
        }
        missing -= if missing > 0 { self.rest.remove(key, missing) } else { 0 };
        if missing > 0 {
            return Err(Error::internal("a top-n is asked to retract a row that it does not have"));
        }
        work.shrink(key, -weight);
        Ok(())
    }

    /// Moves rows across the borders until `skip` rows are skipped and `fetch` are in the window, or there are no more.
    fn balance(&mut self, skip: i64, fetch: i64, work: &mut ZoneWork<'_>) {
        let Self { skipped, window, rest, .. } = self;
        while skipped.total() > skip {
            let (key, weight) = move_rows(skipped, window, false, skipped.total() - skip);
            work.crossed(key, weight);
        }
        while skipped.total() < skip && window.total() > 0 {
            let (key, weight) = move_rows(window, skipped, true, skip - skipped.total());
            work.crossed(key, -weight);
        }
        while skipped.total() < skip && rest.total() > 0 {
            move_rows(rest, skipped, true, skip - skipped.total());
            work.n_read += 1;
        }
        while window.total() > fetch {
            let (key, weight) = move_rows(window, rest, false, window.total() - fetch);
            work.crossed(key, -weight);
        }
        while window.total() < fetch && rest.total() > 0 {
            let (key, weight) = move_rows(rest, window, true, fetch - window.total());
            work.crossed(key, weight);
        }
    }

    fn forget_rest(&mut self, work: &mut ZoneWork<'_>) {
        let rest = std::mem::take(&mut self.rest);
        rest.iter().for_each(|(key, weight)| work.shrink(key, weight));
    }

    /// The rows of the window with their positions.
    fn numbered(&self, skip: i64) -> Vec<(u64, RowKey)> {
        let copies = self.window.iter().flat_map(|(key, weight)| (0..weight).map(move |_| key.clone()));
        copies.enumerate().map(|(index, key)| (skip as u64 + index as u64 + 1, key)).collect()
    }
}

/// Moves up to `weight` copies of the first (or the last) row of a zone that has one.
fn move_rows(from: &mut OrderedRows, to: &mut OrderedRows, first: bool, weight: i64) -> (RowKey, i64) {
    let end = if first { from.first() } else { from.last() };
    let (key, known) = end.map(|(key, known)| (key.clone(), known)).expect("rows are moved out of a zone that has some");
    let weight = weight.min(known);
    from.remove(&key, weight);
    to.add(&key, weight);
    (key, weight)
}

impl ZoneWork<'_> {
    /// A row has come into the window (or left it).
    fn crossed(&mut self, key: RowKey, weight: i64) {
        self.n_read += 1;
        self.moved.push((key, weight));
    }

    fn grow(&mut self, key: &RowKey, weight: i64) {
        self.size.n_rows += weight as u64;
        self.size.n_bytes += key.n_bytes() as u64 * weight as u64;
    }

    fn shrink(&mut self, key: &RowKey, weight: i64) {
        self.n_read += 1;
        self.size.n_rows -= weight as u64;
        self.size.n_bytes -= key.n_bytes() as u64 * weight as u64;
    }
}

/// Encodes columns; `None` where there is none, so that every row is the same.
fn encode(encoding: &RowConverter, columns: &[ArrayRef], n_rows: usize) -> Result<Option<Rows>> {
    assert!(columns.iter().all(|column| column.len() == n_rows), "columns of one batch are equally long");
    if columns.is_empty() { Ok(None) } else { Ok(Some(encoding.convert_columns(columns)?)) }
}

fn bytes(rows: &Option<Rows>, row: usize) -> &[u8] {
    rows.as_ref().map_or(&[], |rows| rows.row(row).data())
}

fn output_schema(input: &SchemaRef, with_row_number: bool) -> SchemaRef {
    if !with_row_number {
        return input.clone();
    }
    let number = Arc::new(Field::new("row_number", DataType::UInt64, false));
    Arc::new(Schema::new(input.fields().iter().cloned().chain([number]).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::operators::script::{changes, check, consolidated, schema};
    use crate::plan::{Node, Plan, SortColumn};

    /// `ORDER BY v DESC NULLS LAST` per `k` of rows `k v t`.
    fn kernel(skip: usize, fetch: usize, with_row_number: bool, append_only: bool) -> TopNKernel {
        let input = schema("k:text v:int t:text");
        let node = Node::Constant(RecordBatch::new_empty(input.clone()));
        let input = Box::new(Plan { node, schema: input, append_only });
        let order = vec![SortColumn { column: 1, descending: true, nulls_first: false }];
        TopNKernel::new(&TopN { input, partition: vec![0], order, skip, fetch, with_row_number }, append_only)
            .expect("the types can be ordered")
    }

    fn port() -> [(&'static str, SchemaRef); 1] {
        [("input", schema("k:text v:int t:text"))]
    }

    #[test]
    fn the_first_rows_of_each_partition() {
        check(
            &mut kernel(0, 2, false, false),
            &port(),
            "1: + a 1 x | + a 3 x | + a 2 x | + b 1 x | + null null x
             2: + a 9 y
             3: - a 9 y
             4: - a 1 x
             5: + a 1 x | - a 3 x | - a 2 x
             6: - a 1 x | - b 1 x | - null null x
             7: + a 5 x | - a 5 x",
            "1: + a 2 x | + a 3 x | + b 1 x | + null null x
             2: - a 2 x | + a 9 y
             3: + a 2 x | - a 9 y
             4:
             5: + a 1 x | - a 2 x | - a 3 x
             6: - a 1 x | - b 1 x | - null null x
             7:",
        );
    }

    #[test]
    fn ties_are_broken_by_all_columns_and_rows_may_repeat() {
        check(
            &mut kernel(1, 2, false, false),
            &port(),
            "1: + a 1 y | + a 1 x | + a 1 z
             2: +3 a 1 x
             3: -2 a 1 x
             4: -2 a 1 x",
            "1: + a 1 y | + a 1 z
             2: +2 a 1 x | - a 1 y | - a 1 z
             3: - a 1 x | + a 1 y
             4: - a 1 x | - a 1 y | + a 1 z",
        );
    }

    #[test]
    fn positions_that_change_are_emitted() {
        let mut kernel = kernel(1, 3, true, false);
        check(
            &mut kernel,
            &port(),
            "1: + a 5 x | + a 4 x | + a 3 x
             2: + a 6 x
             3: - a 4 x
             4: + a 1 x | + a 0 x",
            "1: + a 3 x 3 | + a 4 x 2
             2: - a 3 x 3 | + a 3 x 4 | - a 4 x 2 | + a 4 x 3 | + a 5 x 2
             3: + a 3 x 3 | - a 3 x 4 | - a 4 x 3
             4: + a 1 x 4",
        );
        assert_eq!(kernel.state_size().n_rows, 5);
    }

    #[test]
    fn an_append_only_input_keeps_no_more_than_it_returns() {
        let mut kernel = kernel(1, 2, false, true);
        check(
            &mut kernel,
            &port(),
            "1: + a 1 x | + a 2 x | + a 3 x | + a 4 x
             2: + a 0 x | + a 1 y
             3: + a 3 a",
            "1: + a 2 x | + a 3 x
             2:
             3: - a 2 x | + a 3 a",
        );
        assert_eq!(kernel.state_size().n_rows, 3);
    }

    #[test]
    fn a_change_of_one_row_reads_few_rows_of_a_large_partition() {
        let mut kernel = kernel(0, 10, false, false);
        let rows: Vec<String> = (0..100_000).map(|v| format!("+ a {v} x")).collect();
        let mut step = |text: &str| {
            let mut out = Output::default();
            kernel.step(1, vec![vec![changes(&port()[0].1, text)]], &mut out).expect("the step succeeds");
            (out.n_state_rows_read, consolidated(&out.changes).len())
        };
        step(&rows.join(" | "));
        assert_eq!(step("+ a -5 x"), (0, 0));
        assert_eq!(step("- a 50 x"), (1, 0));
        assert_eq!(step("+ a 200000 x"), (1, 2));
        assert_eq!(step("- a 200000 x"), (2, 2));
    }

    #[test]
    fn a_partition_without_rows_is_forgotten() {
        let mut kernel = kernel(0, 2, false, false);
        check(&mut kernel, &port(), "1: + a 1 x | + b 1 x\n2: - a 1 x | - b 1 x", "1: + a 1 x | + b 1 x\n2: - a 1 x | - b 1 x");
        assert_eq!((kernel.size, kernel.partitions.index.len(), kernel.partitions.free.len()), (StateSize::default(), 0, 2));
        assert_eq!(kernel.partitions.n_key_bytes, 0);
    }

    #[test]
    fn a_row_that_is_not_there_cannot_go() {
        for text in ["- a 1 x", "+ a 2 x | + a 1 x | + a 0 x | -2 a 2 x", "+ a 2 x | + a 1 x | + a 0 x | -2 a 0 x", "+ b 1 x | - a 1 x"] {
            let batch = changes(&port()[0].1, text);
            let parts = (0..batch.len()).map(|row| batch.slice(row, 1));
            let mut kernel = kernel(1, 1, false, false);
            let mut step = |batch| kernel.step(1, vec![vec![batch]], &mut Output::default());
            let failed = parts.map(|batch| step(batch).is_err()).collect::<Vec<_>>();
            assert!(failed.iter().rev().skip(1).all(|failed| !failed) && failed.last() == Some(&true), "{text}: {failed:?}");
        }
    }

    type Row = (Option<String>, Option<i64>, String);

    /// Sorts everything anew.
    fn reference(rows: &BTreeMap<Row, i64>, skip: usize, fetch: usize, with_row_number: bool) -> BTreeMap<String, i64> {
        let mut partitions: BTreeMap<&Option<String>, Vec<&Row>> = BTreeMap::new();
        for (row, weight) in rows {
            partitions.entry(&row.0).or_default().extend(std::iter::repeat_n(row, *weight as usize));
        }
        let mut found = BTreeMap::new();
        for rows in partitions.values_mut() {
            rows.sort_by_key(|(_, v, t)| (v.is_none(), v.map(|v| -v), t.clone()));
            for (index, row) in rows.iter().enumerate().skip(skip).take(fetch) {
                let mut text = text(row);
                if with_row_number {
                    text += &format!(" {}", index + 1);
                }
                *found.entry(text).or_insert(0) += 1;
            }
        }
        found
    }

    fn text((k, v, t): &Row) -> String {
        let or_null = |value: Option<String>| value.unwrap_or("null".into());
        format!("{} {} {t}", or_null(k.clone()), or_null(v.map(|v| v.to_string())))
    }

    fn compare_with_reference(skip: usize, fetch: usize, with_row_number: bool, append_only: bool, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut kernel = kernel(skip, fetch, with_row_number, append_only);
        let (mut rows, mut output) = (BTreeMap::new(), BTreeMap::new());
        for epoch in 0..60 {
            let mut script = Vec::new();
            for _ in 0..random.random_range(0..12) {
                let k = [Some("a".to_string()), Some("b".into()), None][random.random_range(0..3)].clone();
                let row: Row =
                    (k, [None, Some(1), Some(2), Some(3)][random.random_range(0..4)], ["x", "y"][random.random_range(0..2)].into());
                let known = rows.get(&row).copied().unwrap_or(0);
                let weight: i64 = if append_only { 1 } else { random.random_range(-known..=2) };
                script.push(format!("{weight:+} {}", text(&row)));
                *rows.entry(row).or_insert(0) += weight;
            }
            rows.retain(|_, weight| *weight != 0);
            let mut out = Output::default();
            kernel.step(epoch, vec![vec![changes(&port()[0].1, &script.join(" | "))]], &mut out).expect("the step succeeds");
            for (row, weight) in consolidated(&out.changes) {
                *output.entry(row).or_insert(0) += weight;
            }
            output.retain(|_, weight| *weight != 0);
            let expected = reference(&rows, skip, fetch, with_row_number);
            assert_eq!(output, expected, "skip {skip} fetch {fetch} seed {seed} epoch {epoch}: {}", script.join(" | "));
        }
    }

    #[test]
    fn random_changes_give_what_sorting_gives() {
        for (seed, (skip, fetch)) in [(0, 1), (0, 3), (2, 3), (5, 100), (0, usize::MAX), (3, 0)].into_iter().enumerate() {
            for with_row_number in [false, true] {
                compare_with_reference(skip, fetch, with_row_number, false, seed as u64);
                compare_with_reference(skip, fetch, with_row_number, true, seed as u64);
            }
        }
    }
}
