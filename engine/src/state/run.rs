//! A run: changes as a sorted index over immutable batches.
//!
//! The index has an entry per row, sorted by key hash (then by the hash of the other columns where rows are retracted): hash,
//! location, weight, as a struct of arrays. Merging runs merges indexes and shares the batches; row data is copied only when most
//! of it is dead or its batches are too many and small. A run never changes, so any number of readers may hold it.
//! Guaranteed in a run that consolidates: a row appears once and its weight is not zero.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{interleave, take};
use arrow::datatypes::SchemaRef;

use super::equality::{Equality, Location, RowReader};
use super::key::{hash_columns, hash_is_exact};
use crate::update::{owned, slice_bytes};
use crate::{ChangeBatch, Epoch, Result};

/// How the rows of a spine are found and told apart.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) schema: SchemaRef,
    pub(crate) key_columns: Vec<usize>,
    /// The columns that tell rows of one key apart; empty where the key is the whole row, or rows are never retracted.
    other_columns: Vec<usize>,
    /// Equal rows are summed up.
    consolidates: bool,
    /// Equal key hashes mean equal keys, nulls aside.
    exact: bool,
}

impl Layout {
    pub(crate) fn new(schema: SchemaRef, key_columns: Vec<usize>, append_only: bool) -> Self {
        let others = (0..schema.fields().len()).filter(|column| !append_only && !key_columns.contains(column));
        let types: Vec<_> = key_columns.iter().map(|column| schema.field(*column).data_type()).collect();
        let exact = hash_is_exact(&types);
        Self { other_columns: others.collect(), consolidates: !append_only, exact, schema, key_columns }
    }

    fn all_columns(&self) -> Vec<usize> {
        (0..self.schema.fields().len()).collect()
    }

    /// Reads whole rows, where rows need to be compared.
    pub(crate) fn row_reader(&self, batches: &[Arc<Batch>]) -> Option<RowReader> {
        self.consolidates.then(|| reader(batches, &self.all_columns()))
    }
}

/// Rows in memory of their own (not a slice of something much larger).
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) rows: RecordBatch,
    pub(crate) n_bytes: usize,
}

impl Batch {
    pub(crate) fn new(rows: RecordBatch) -> Result<Arc<Self>> {
        let columns = rows.columns().iter().map(owned).collect::<Result<Vec<_>>>()?;
        let n_bytes = columns.iter().map(slice_bytes).sum();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(Arc::new(Self { rows: RecordBatch::try_new_with_options(rows.schema(), columns, &options)?, n_bytes }))
    }
}

/// The sorted entries of a run, as a struct of arrays.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) hashes: Vec<u64>,
    /// Empty when rows are not told apart by other columns.
    pub(crate) row_hashes: Vec<u64>,
    pub(crate) locations: Vec<Location>,
    /// Empty when every weight is one.
    weights: Vec<i64>,
}

impl Index {
    pub(crate) fn with_capacity(n_entries: usize) -> Self {
        Self { hashes: Vec::with_capacity(n_entries), locations: Vec::with_capacity(n_entries), ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.hashes.len()
    }

    pub(crate) fn weight(&self, entry: usize) -> i64 {
        if self.weights.is_empty() { 1 } else { self.weights[entry] }
    }

    pub(crate) fn all_weights_are_one(&self) -> bool {
        self.weights.is_empty()
    }

    /// What entries are sorted by.
    pub(crate) fn order(&self, entry: usize) -> (u64, u64) {
        (self.hashes[entry], self.row_hashes.get(entry).copied().unwrap_or(0))
    }

    /// Appends entry `entry` of `other`, whose batches begin at `base` here.
    #[inline]
    pub(crate) fn push_from(&mut self, other: &Self, entry: usize, base: u32) {
        let weight = other.weight(entry);
        if weight != 1 && self.weights.is_empty() {
            self.weights = vec![1; self.len()];
        }
        if weight != 1 || !self.weights.is_empty() {
            self.weights.push(weight);
        }
        self.hashes.push(other.hashes[entry]);
        if let Some(row_hash) = other.row_hashes.get(entry) {
            self.row_hashes.push(*row_hash);
        }
        let Location { batch, row } = other.locations[entry];
        self.locations.push(Location { batch: base + batch, row });
    }

    /// Appends all entries of `other`, which refers to the same batches.
    pub(crate) fn append(&mut self, other: &Self) {
        if !self.weights.is_empty() || !other.weights.is_empty() {
            self.weights.resize(self.len(), 1);
            self.weights.extend((0..other.len()).map(|entry| other.weight(entry)));
        }
        self.hashes.extend_from_slice(&other.hashes);
        self.row_hashes.extend_from_slice(&other.row_hashes);
        self.locations.extend_from_slice(&other.locations);
    }

    /// Sums the weights of identical rows and drops those that come to zero. The entries are sorted.
    pub(crate) fn consolidated(self, rows: &RowReader) -> Self {
        if self.weights.is_empty() && (1..self.len()).all(|entry| self.order(entry) != self.order(entry - 1)) {
            return self;
        }
        let mut sums: Vec<i64> = (0..self.len()).map(|entry| self.weight(entry)).collect();
        let leaders = group(&self, rows);
        for (entry, leader) in leaders.iter().enumerate().filter(|(entry, leader)| *entry != **leader as usize) {
            sums[*leader as usize] += sums[entry];
            sums[entry] = 0;
        }
        if sums.iter().all(|weight| *weight == 1) {
            return Self { weights: Vec::new(), ..self };
        }
        let source = Self { weights: sums, ..self };
        let mut kept = Self::default();
        (0..source.len()).filter(|entry| source.weights[*entry] != 0).for_each(|entry| kept.push_from(&source, entry, 0));
        if kept.weights.iter().all(|weight| *weight == 1) {
            kept.weights.clear();
        }
        kept
    }

    fn n_bytes(&self) -> usize {
        self.len() * 16 + (self.row_hashes.len() + self.weights.len()) * 8
    }
}

/// For each entry the first entry with an identical row. Entries are sorted, so identical rows lie side by side but for hash
/// collisions, which take another round.
pub(crate) fn group(index: &Index, rows: &RowReader) -> Vec<u32> {
    let mut leaders: Vec<u32> = (0..index.len() as u32).collect();
    let mut pending: Vec<(u32, u32)> = Vec::new();
    let mut first = 0;
    for entry in 1..index.len() {
        if index.order(entry) == index.order(first) {
            pending.push((first as u32, entry as u32));
        } else {
            first = entry;
        }
    }
    while !pending.is_empty() {
        let locations = |entries: &mut dyn Iterator<Item = u32>| entries.map(|entry| index.locations[entry as usize]).collect::<Vec<_>>();
        let of_leaders = locations(&mut pending.iter().map(|pair| pair.0));
        let of_members = locations(&mut pending.iter().map(|pair| pair.1));
        let equal = rows.equal(&of_leaders, rows, &of_members, Equality::Identical);
        let mut others: Vec<(u32, u32)> = Vec::new();
        let mut other_leader = None;
        for ((leader, member), equal) in pending.into_iter().zip(equal) {
            match other_leader {
                _ if equal => leaders[member as usize] = leader,
                Some((of, other)) if of == leader => others.push((other, member)),
                _ => other_leader = Some((leader, member)),
            }
        }
        pending = others;
    }
    leaders
}

/// Where each hash begins in a sorted list, by its leading bits: hashes are uniform, so a bucket has a handful of entries.
#[derive(Debug, Default)]
struct Directory {
    least: u64,
    greatest: u64,
    shift: u32,
    starts: Vec<u32>,
}

/// Entries per bucket, on average between this and twice as many.
const BUCKET_ENTRIES: usize = 4;

impl Directory {
    fn new(sorted: &[u64]) -> Self {
        let (Some(&least), Some(&greatest)) = (sorted.first(), sorted.last()) else { return Self::default() };
        let shift = bucket_shift(least, greatest, sorted.len());
        let mut starts = vec![0u32; ((greatest - least) >> shift) as usize + 2];
        sorted.iter().for_each(|hash| starts[((hash - least) >> shift) as usize + 1] += 1);
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        Self { least, greatest, shift, starts }
    }

    /// The entries with this hash.
    #[inline]
    fn find(&self, hashes: &[u64], hash: u64) -> (u32, u32) {
        const SCAN_ENTRIES: usize = 16;
        if hash < self.least || hash > self.greatest || hashes.is_empty() {
            return (0, 0);
        }
        let bucket = ((hash - self.least) >> self.shift) as usize;
        let (start, end) = (self.starts[bucket] as usize, self.starts[bucket + 1] as usize);
        let bucket = &hashes[start..end];
        let (before, upto) = if bucket.len() <= SCAN_ENTRIES {
            let before = bucket.iter().take_while(|other| **other < hash).count();
            (before, before + bucket[before..].iter().take_while(|other| **other == hash).count())
        } else {
            let before = bucket.partition_point(|other| *other < hash);
            (before, before + bucket[before..].partition_point(|other| *other == hash))
        };
        ((start + before) as u32, (start + upto) as u32)
    }
}

fn bucket_shift(least: u64, greatest: u64, n_entries: usize) -> u32 {
    let n_bits = 64 - (greatest - least).leading_zeros();
    n_bits.saturating_sub((n_entries / BUCKET_ENTRIES).max(1).ilog2()).min(u64::BITS - 1)
}

/// The order of rows by hash, then row hash, then position: scattered into buckets by leading bits, each of which is sorted.
fn sorted_order(hashes: &[u64], row_hashes: &[u64]) -> Vec<u32> {
    let (Some(&least), Some(&greatest)) = (hashes.iter().min(), hashes.iter().max()) else { return Vec::new() };
    let shift = bucket_shift(least, greatest, hashes.len());
    let bucket = |hash: u64| ((hash - least) >> shift) as usize;
    let mut starts = vec![0u32; bucket(greatest) + 2];
    hashes.iter().for_each(|hash| starts[bucket(*hash) + 1] += 1);
    for index in 1..starts.len() {
        starts[index] += starts[index - 1];
    }
    let mut next = starts.clone();
    let mut order = vec![(0u64, 0u32); hashes.len()];
    for (row, hash) in hashes.iter().enumerate() {
        let slot = &mut next[bucket(*hash)];
        order[*slot as usize] = (*hash, row as u32);
        *slot += 1;
    }
    for bounds in starts.windows(2).filter(|bounds| bounds[1] - bounds[0] > 1) {
        let bucket = &mut order[bounds[0] as usize..bounds[1] as usize];
        if row_hashes.is_empty() {
            bucket.sort_unstable();
        } else {
            bucket.sort_unstable_by_key(|(hash, row)| (*hash, row_hashes[*row as usize], *row));
        }
    }
    order.into_iter().map(|(_, row)| row).collect()
}

/// An immutable sorted piece of a spine; see the file's head.
pub(crate) struct Run {
    pub(crate) batches: Vec<Arc<Batch>>,
    pub(crate) index: Index,
    /// The first and the last epoch whose changes are in it.
    pub(crate) epochs: (Epoch, Epoch),
    pub(crate) n_bytes: usize,
    directory: Directory,
    /// Reads the key columns.
    keys: RowReader,
    /// Reads whole rows, where they are told apart.
    rows: Option<RowReader>,
    is_ambiguous: bool,
}

impl Run {
    /// The changes of one epoch as a run; `None` when they come to nothing.
    pub(crate) fn build(layout: &Layout, epoch: Epoch, changes: &ChangeBatch) -> Result<Option<Self>> {
        let (mut batch, mut index) = Self::sorted(layout, changes)?;
        if let Some(reader) = layout.row_reader(std::slice::from_ref(&batch)) {
            index = index.consolidated(&reader);
        }
        if index.len() == 0 {
            return Ok(None);
        }
        if index.len() * 2 < batch.rows.num_rows() {
            batch = gather_batch(layout, std::slice::from_ref(&batch), &index.locations)?;
            index.locations = (0..index.len() as u32).map(|row| Location { batch: 0, row }).collect();
        }
        Ok(Some(Self::new(layout, vec![batch], index, (epoch, epoch))))
    }

    fn sorted(layout: &Layout, changes: &ChangeBatch) -> Result<(Arc<Batch>, Index)> {
        let rows = changes.rows();
        let columns = |indices: &[usize]| indices.iter().map(|column| rows.column(*column).clone()).collect::<Vec<_>>();
        let hashes = hash_columns(rows.num_rows(), &columns(&layout.key_columns));
        let row_hashes = match layout.other_columns.as_slice() {
            [] => Vec::new(),
            others => hash_columns(rows.num_rows(), &columns(others)),
        };
        let order = sorted_order(&hashes, &row_hashes);
        let pick = |values: &[u64]| order.iter().filter_map(|row| values.get(*row as usize).copied()).collect::<Vec<_>>();
        let weights = changes.weights().filter(|weights| weights.values().iter().any(|weight| *weight != 1));
        let weights = weights.map_or_else(Vec::new, |weights| order.iter().map(|row| weights.value(*row as usize)).collect());
        let locations = order.iter().map(|row| Location { batch: 0, row: *row }).collect();
        Ok((Batch::new(rows.clone())?, Index { hashes: pick(&hashes), row_hashes: pick(&row_hashes), locations, weights }))
    }

    /// Each row of `rows` once, with weight one, and where each row went.
    pub(crate) fn distinct(layout: &Layout, rows: &RecordBatch) -> Result<Distinct> {
        assert!(layout.consolidates, "rows are told apart in a spine that consolidates");
        let (batch, index) = Self::sorted(layout, &ChangeBatch::inserts(rows.clone()))?;
        let reader = layout.row_reader(std::slice::from_ref(&batch)).expect("a layout that consolidates compares rows");
        let leaders = group(&index, &reader);
        let mut kept = Index::default();
        let mut entry_of = vec![0; rows.num_rows()];
        let mut kept_as = vec![0; index.len()];
        for (entry, leader) in leaders.iter().enumerate() {
            if entry == *leader as usize {
                kept_as[entry] = kept.len() as u32;
                kept.push_from(&index, entry, 0);
            }
            entry_of[index.locations[entry].row as usize] = kept_as[*leader as usize];
        }
        Ok(Distinct { run: Self::new(layout, vec![batch], kept, (0, 0)), entry_of })
    }

    /// A run of a sorted, consolidated index.
    pub(crate) fn new(layout: &Layout, batches: Vec<Arc<Batch>>, index: Index, epochs: (Epoch, Epoch)) -> Self {
        let directory = Directory::new(&index.hashes);
        let keys = reader(&batches, &layout.key_columns);
        let rows = layout.row_reader(&batches);
        let is_ambiguous = is_ambiguous(layout, &batches);
        let n_bytes = batches.iter().map(|batch| batch.n_bytes).sum::<usize>() + index.n_bytes() + directory.starts.len() * 4;
        Self { batches, index, epochs, n_bytes, directory, keys, rows, is_ambiguous }
    }

    /// Reads whole rows of a run that consolidates.
    pub(crate) fn rows(&self) -> &RowReader {
        self.rows.as_ref().expect("rows are told apart in a spine that consolidates")
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// The rows and weights of a run of one batch, in the order of its entries.
    pub(crate) fn changes(&self) -> Result<ChangeBatch> {
        assert_eq!(self.batches.len(), 1, "fresh changes are one batch");
        let rows = UInt32Array::from_iter_values(self.index.locations.iter().map(|location| location.row));
        let weights = (!self.index.weights.is_empty()).then(|| self.index.weights.clone().into());
        Ok(ChangeBatch::with_weights(crate::update::take_rows(&self.batches[0].rows, &rows)?, weights))
    }

    /// The entries with this key hash, as a range.
    #[inline]
    pub(crate) fn find(&self, hash: u64) -> (u32, u32) {
        self.directory.find(&self.index.hashes, hash)
    }

    /// For each pair whether the keys of the entry of `probe` and of the row at `rows` are equal; `None` when equal hashes already
    /// say so: both sides' hashes are exact, or there is no key column.
    pub(crate) fn keys_equal(&self, rows: &[Location], probe: &Self, of_probe: &[u32]) -> Option<Vec<bool>> {
        if !self.is_ambiguous && !probe.is_ambiguous {
            return None;
        }
        let probe_rows: Vec<Location> = of_probe.iter().map(|entry| probe.index.locations[*entry as usize]).collect();
        Some(self.keys.equal(rows, &probe.keys, &probe_rows, Equality::Key))
    }
}

/// The distinct rows of a batch.
pub(crate) struct Distinct {
    pub(crate) run: Run,
    /// For each row of the batch the run's entry with that row.
    pub(crate) entry_of: Vec<u32>,
}

/// True when two different keys may have one hash. A null's hash is some value's hash too.
fn is_ambiguous(layout: &Layout, batches: &[Arc<Batch>]) -> bool {
    let has_nulls = |batch: &Arc<Batch>| layout.key_columns.iter().any(|column| batch.rows.column(*column).null_count() > 0);
    !layout.key_columns.is_empty() && (!layout.exact || batches.iter().any(has_nulls))
}

fn reader(batches: &[Arc<Batch>], columns: &[usize]) -> RowReader {
    RowReader::new(columns.iter().map(|column| batches.iter().map(|batch| batch.rows.column(*column).clone()).collect()))
}

/// Copies the rows at `locations` into a batch of their own.
pub(crate) fn gather_batch(layout: &Layout, batches: &[Arc<Batch>], locations: &[Location]) -> Result<Arc<Batch>> {
    let batches: Vec<&RecordBatch> = batches.iter().map(|batch| &batch.rows).collect();
    let columns = gather_columns(&batches, locations, &layout.all_columns())?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(locations.len()));
    Batch::new(RecordBatch::try_new_with_options(layout.schema.clone(), columns, &options)?)
}

/// The values of some columns at `locations`. Only the batches in which a location lies are looked at.
pub(crate) fn gather_columns(batches: &[&RecordBatch], locations: &[Location], columns: &[usize]) -> Result<Vec<ArrayRef>> {
    const UNUSED: u32 = u32::MAX;
    let mut position = vec![UNUSED; batches.len()];
    let mut used: Vec<&RecordBatch> = Vec::new();
    for location in locations {
        let position = &mut position[location.batch as usize];
        if *position == UNUSED {
            *position = used.len() as u32;
            used.push(batches[location.batch as usize]);
        }
    }
    if let [only] = used.as_slice() {
        let rows = UInt32Array::from_iter_values(locations.iter().map(|location| location.row));
        return columns.iter().map(|column| Ok(take(only.column(*column), &rows, None)?)).collect();
    }
    let indices: Vec<(usize, usize)> =
        locations.iter().map(|location| (position[location.batch as usize] as usize, location.row as usize)).collect();
    let column = |column: &usize| -> Result<ArrayRef> {
        let arrays: Vec<&dyn Array> = used.iter().map(|batch| batch.column(*column).as_ref()).collect();
        Ok(interleave(&arrays, &indices)?)
    };
    match used.first().or(batches.first()) {
        Some(any) if locations.is_empty() => Ok(columns.iter().map(|column| any.column(*column).slice(0, 0)).collect()),
        Some(_) => columns.iter().map(column).collect(),
        None => Err(crate::Error::internal("rows are gathered from at least one batch")),
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::operators::script::{changes, schema};

    /// Entries of one hash, as if the hash function were a bad one.
    fn colliding(rows: &RecordBatch, weights: Vec<i64>) -> (Index, RowReader) {
        let n_rows = rows.num_rows();
        let locations = (0..n_rows as u32).map(|row| Location { batch: 0, row }).collect();
        let index = Index { hashes: vec![7; n_rows], row_hashes: vec![9; n_rows], locations, weights };
        (index, RowReader::new(rows.columns().iter().map(|column| vec![column.clone()])))
    }

    #[test]
    fn rows_of_one_hash_are_told_apart() {
        let rows = changes(&schema("t:text"), "+ a | + b | + c | + b | + a | + d | + c | + b | + null | + d | + null");
        let (index, reader) = colliding(rows.rows(), vec![]);
        assert_eq!(group(&index, &reader), [0, 1, 2, 1, 0, 5, 2, 1, 8, 5, 8]);
        let sums = index.consolidated(&reader);
        assert_eq!((sums.len(), sums.weights), (5, vec![2, 3, 2, 2, 2]));
        let (index, reader) = colliding(rows.rows(), vec![1, 1, 2, -1, 1, 5, -1, 0, 3, -4, -2]);
        let sums = index.consolidated(&reader);
        let rows: Vec<u32> = sums.locations.iter().map(|location| location.row).collect();
        assert_eq!((rows, sums.weights), (vec![0, 2, 5, 8], vec![2, 1, 1, 1]));
    }

    #[test]
    fn each_hash_is_found_where_it_is() {
        let mut random = StdRng::seed_from_u64(5);
        for n_entries in [0, 1, 2, 17, 1000] {
            for range in [1, 3, 100, u64::MAX] {
                let mut hash = |_| if range == u64::MAX { random.random() } else { u64::MAX - random.random_range(0..range) };
                let mut hashes: Vec<u64> = (0..n_entries).map(&mut hash).collect();
                let others: Vec<u64> = (0..20).map(&mut hash).chain([0, 1, u64::MAX]).collect();
                hashes.sort_unstable();
                let directory = Directory::new(&hashes);
                for hash in hashes.iter().chain(&others) {
                    let (start, end) = directory.find(&hashes, *hash);
                    let (from, to) = (hashes.partition_point(|other| other < hash), hashes.partition_point(|other| other <= hash));
                    assert!((start as usize..end as usize) == (from..to) || (start == end && from == to), "{hash} among {hashes:?}");
                }
            }
        }
    }

    #[test]
    fn rows_are_sorted_by_hash_then_row_hash_then_place() {
        let mut random = StdRng::seed_from_u64(6);
        for range in [1, 5, 1000, u64::MAX] {
            let mut hashes = || (0..500).map(|_| random.random_range(0..range)).collect::<Vec<u64>>();
            let (hashes, row_hashes) = (hashes(), hashes());
            let mut expected: Vec<u32> = (0..500).collect();
            expected.sort_by_key(|row| hashes[*row as usize]);
            assert_eq!(sorted_order(&hashes, &[]), expected);
            expected.sort_by_key(|row| (hashes[*row as usize], row_hashes[*row as usize]));
            assert_eq!(sorted_order(&hashes, &row_hashes), expected);
        }
        assert!(sorted_order(&[], &[]).is_empty());
    }
}
