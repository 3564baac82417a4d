//! A spine: keyed state as a list of immutable sorted runs.
//!
//! An insertion adds a run and does a bounded piece of merging; a lookup probes every run for a whole batch of keys at once.
//! Guaranteed: the sum over all runs is exactly the sum of what was inserted. Not guaranteed between merges: that a
//! row is in one run only, so a lookup may return it several times, with weights that add up.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;

use super::equality::{Equality, Location, RowReader};
use super::merge::{Merging, RunMeta, choose};
use super::run::{Batch, Distinct, Index, Layout, Run, gather_columns};
use crate::{ChangeBatch, Epoch, Result};

/// Keyed state; see the file's head.
pub struct Spine {
    layout: Arc<Layout>,
    runs: Vec<Arc<Run>>,
    merges: Vec<Merging>,
    since: Epoch,
}

/// Index entries that each merge moves per entry inserted, so that what an insertion costs follows its size and not that of the state.
/// A merge of two runs of n entries moves 2n (18n where it gathers) and must be done before the next n arrive.
const MERGE_FUEL: i64 = 20;

impl Spine {
    /// Empty state of rows of `schema`, found by `key_columns` (none: all rows under one key). `append_only` promises that
    /// no weight is negative, which saves comparing rows.
    pub fn new(schema: SchemaRef, key_columns: Vec<usize>, append_only: bool) -> Self {
        Self { layout: Arc::new(Layout::new(schema, key_columns, append_only)), runs: Vec::new(), merges: Vec::new(), since: Epoch::MAX }
    }

    /// Adds the changes of an epoch.
    pub fn insert(&mut self, epoch: Epoch, changes: &ChangeBatch) -> Result<()> {
        match self.sort(epoch, changes)? {
            Some(run) => self.push(run),
            None => Ok(()),
        }
    }

    /// The rows whose key equals one of `keys` (columns pairwise of the key columns' types; nulls are equal to each other).
    pub fn lookup(&self, keys: &[ArrayRef]) -> Result<Matches> {
        let Some(probe) = self.probe_of(keys)? else { return Ok(Matches::default()) };
        let mut matches = self.probe(&probe).next(self, &probe, usize::MAX);
        matches.probe_row.iter_mut().for_each(|entry| *entry = probe.index.locations[*entry as usize].row);
        Ok(matches)
    }

    /// A bound on the entries that [`Self::lookup`] finds, known without a look at any.
    fn n_matches_at_most(&self, keys: &[ArrayRef]) -> Result<u64> {
        let Some(probe) = self.probe_of(keys)? else { return Ok(0) };
        Ok(self.probe(&probe).ranges.iter().map(|range| u64::from(range.end - range.start)).sum())
    }

    /// The keys as rows to probe with; `None` when there are none.
    fn probe_of(&self, keys: &[ArrayRef]) -> Result<Option<Run>> {
        let fields: Vec<_> = self.layout.key_columns.iter().map(|column| self.layout.schema.field(*column).clone()).collect();
        let schema = Arc::new(arrow::datatypes::Schema::new(fields));
        let layout = Layout::new(schema.clone(), (0..keys.len()).collect(), true);
        Run::build(&layout, 0, &ChangeBatch::inserts(RecordBatch::try_new(schema, keys.to_vec())?))
    }

    /// Columns `columns` of the rows at `locations`, which are of this spine since its last insertion.
    pub fn gather(&self, locations: &[Location], columns: &[usize]) -> Result<RecordBatch> {
        let schema = Arc::new(self.layout.schema.project(columns)?);
        if locations.is_empty() {
            return Ok(RecordBatch::new_empty(schema));
        }
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(locations.len()));
        Ok(RecordBatch::try_new_with_options(schema, self.gather_arrays(locations, columns)?, &options)?)
    }

    /// The state as it is now; later insertions do not show in it.
    pub fn snapshot(&self) -> SpineSnapshot {
        SpineSnapshot { layout: self.layout.clone(), runs: self.runs.clone() }
    }

    /// Entries in all runs (a row not yet consolidated counts once per run).
    pub fn n_rows(&self) -> u64 {
        self.runs.iter().map(|run| run.len() as u64).sum()
    }

    /// Bytes held by row data and indexes.
    pub fn n_bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.n_bytes as u64).sum()
    }

    /// The columns' names and types.
    pub fn schema(&self) -> &SchemaRef {
        &self.layout.schema
    }

    /// Epochs up to `since` need not be told apart from now on.
    pub(crate) fn set_since(&mut self, since: Epoch) {
        self.since = since;
    }

    /// The changes as a run of this spine, to probe another spine with the same key types, or to [`Spine::push`].
    pub(crate) fn sort(&self, epoch: Epoch, changes: &ChangeBatch) -> Result<Option<Arc<Run>>> {
        Ok(Run::build(&self.layout, epoch, changes)?.map(Arc::new))
    }

    /// Adds a run made by [`Spine::sort`].
    pub(crate) fn push(&mut self, run: Arc<Run>) -> Result<()> {
        let fuel = run.len() as i64 * MERGE_FUEL;
        self.runs.push(run);
        self.start_merges();
        let merges = std::mem::take(&mut self.merges);
        for mut merge in merges {
            self.work(&mut merge, fuel)?.map_or_else(|| self.merges.push(merge), |()| ());
        }
        Ok(())
    }

    /// Finds what the keys of `probe` match, piece by piece.
    pub(crate) fn probe(&self, probe: &Run) -> Probe {
        let mut ranges = Vec::new();
        for (run_index, run) in self.runs.iter().enumerate() {
            let mut last = None;
            for (entry, hash) in probe.index.hashes.iter().enumerate() {
                let found = match last {
                    Some((of, found)) if of == *hash => found,
                    _ => run.find(*hash),
                };
                last = Some((*hash, found));
                if found.0 < found.1 {
                    ranges.push(Range { run: run_index as u32, probe: entry as u32, start: found.0, end: found.1 });
                }
            }
        }
        Probe { ranges, next: 0 }
    }

    /// Each row of `rows` once, sorted as this spine is.
    pub(crate) fn distinct(&self, rows: &RecordBatch) -> Result<Distinct> {
        Run::distinct(&self.layout, rows)
    }

    /// The weight of exactly the row at each entry of `probe`, a run with this spine's layout; and how many entries were read.
    pub(crate) fn row_weights(&self, probe: &Run) -> (Vec<i64>, u64) {
        let probe_rows = probe.rows();
        let mut weights = vec![0; probe.len()];
        let mut n_read = 0;
        for run in &self.runs {
            let (mut entries, mut of_probe) = (Vec::new(), Vec::new());
            for entry in 0..probe.len() {
                let (start, end) = run.find(probe.index.hashes[entry]);
                let order = probe.index.order(entry);
                let range = start as usize..end as usize;
                let skip = if run.index.row_hashes.is_empty() {
                    0
                } else {
                    run.index.row_hashes[range.clone()].partition_point(|hash| *hash < order.1)
                };
                for found in (range.start + skip..range.end).take_while(|found| run.index.order(*found) == order) {
                    entries.push(found);
                    of_probe.push(entry);
                }
            }
            if entries.is_empty() {
                continue;
            }
            n_read += entries.len() as u64;
            let locations: Vec<Location> = entries.iter().map(|entry| run.index.locations[*entry]).collect();
            let probe_locations: Vec<Location> = of_probe.iter().map(|entry| probe.index.locations[*entry]).collect();
            let equal = run.rows().equal(&locations, probe_rows, &probe_locations, Equality::Identical);
            for ((found, entry), _) in entries.iter().zip(&of_probe).zip(equal).filter(|(_, equal)| *equal) {
                weights[*entry] += run.index.weight(*found);
            }
        }
        (weights, n_read)
    }

    /// Like [`Spine::gather`], without names.
    pub(crate) fn gather_arrays(&self, locations: &[Location], columns: &[usize]) -> Result<Vec<ArrayRef>> {
        let batches: Vec<&RecordBatch> = self.runs.iter().flat_map(|run| run.batches.iter().map(|batch| &batch.rows)).collect();
        gather_columns(&batches, locations, columns)
    }

    fn start_merges(&mut self) {
        let meta = |run: &Arc<Run>| RunMeta {
            n_entries: run.len(),
            epochs: run.epochs,
            is_merging: self.merges.iter().any(|merge| merge.reads(run)),
        };
        let metas: Vec<RunMeta> = self.runs.iter().map(meta).collect();
        for merge in choose(&metas, self.since) {
            let (left, right) = (self.runs[merge.larger].clone(), self.runs[merge.smaller].clone());
            self.merges.push(Merging::new(&self.layout, left, right));
        }
    }

    /// Works on a merge; `Some` when it is done and its result has taken the place of its inputs.
    fn work(&mut self, merge: &mut Merging, fuel: i64) -> Result<Option<()>> {
        let Some(merged) = merge.work(&self.layout, fuel)? else { return Ok(None) };
        self.runs.retain(|run| !merge.reads(run));
        if merged.len() > 0 {
            self.runs.push(Arc::new(merged));
        }
        Ok(Some(()))
    }
}

/// What a lookup found: for each match the row of the probe, where the matching row is and its weight.
#[derive(Debug, Default)]
pub struct Matches {
    /// Index of the probe's row.
    pub probe_row: Vec<u32>,
    /// The matching row, for [`Spine::gather`].
    pub location: Vec<Location>,
    /// The matching row's weight.
    pub weight: Vec<i64>,
    /// Entries of the spine that were looked at.
    pub n_rows_read: u64,
}

#[derive(Debug, Clone, Copy)]
struct Range {
    run: u32,
    probe: u32,
    start: u32,
    end: u32,
}

/// A probe under way: what is left to be returned.
pub(crate) struct Probe {
    ranges: Vec<Range>,
    next: usize,
}

impl Probe {
    pub(crate) fn is_done(&self) -> bool {
        self.next == self.ranges.len()
    }

    /// The next matches, about `limit` at most; `probe_row` is an entry of `probe`'s index.
    pub(crate) fn next(&mut self, spine: &Spine, probe: &Run, limit: usize) -> Matches {
        let mut matches = Matches::default();
        while !self.is_done() && matches.location.len() < limit {
            let run_index = self.ranges[self.next].run;
            let run = &spine.runs[run_index as usize];
            let base: usize = spine.runs[..run_index as usize].iter().map(|run| run.batches.len()).sum();
            let (entries, of_probe) = self.expand(run_index, limit - matches.location.len());
            matches.n_rows_read += entries.len() as u64;
            let locations: Vec<Location> = entries.iter().map(|entry| run.index.locations[*entry as usize]).collect();
            let equal = run.keys_equal(&locations, probe, &of_probe);
            let is_match = |index: usize| equal.as_ref().is_none_or(|equal| equal[index]);
            for index in (0..entries.len()).filter(|index| is_match(*index)) {
                let Location { batch, row } = locations[index];
                matches.probe_row.push(of_probe[index]);
                matches.location.push(Location { batch: batch + base as u32, row });
                matches.weight.push(run.index.weight(entries[index] as usize));
            }
        }
        matches
    }

    /// Pairs (entry of the run, entry of the probe) from the ranges of one run, `limit` at most.
    fn expand(&mut self, run: u32, limit: usize) -> (Vec<u32>, Vec<u32>) {
        let (mut entries, mut of_probe) = (Vec::new(), Vec::new());
        while let Some(range) = self.ranges.get_mut(self.next).filter(|range| range.run == run) {
            let end = range.end.min(range.start.saturating_add(u32::try_from(limit - entries.len()).unwrap_or(u32::MAX)));
            for entry in range.start..end {
                entries.push(entry);
                of_probe.push(range.probe);
            }
            range.start = end;
            if range.start < range.end {
                break;
            }
            self.next += 1;
        }
        (entries, of_probe)
    }
}

/// An immutable state, shared with the spine it was taken of.
#[derive(Clone)]
pub struct SpineSnapshot {
    layout: Arc<Layout>,
    runs: Vec<Arc<Run>>,
}

impl SpineSnapshot {
    pub(crate) fn of_runs(&self, keep: impl Fn(&Run) -> bool) -> Self {
        Self { layout: self.layout.clone(), runs: self.runs.iter().filter(|run| keep(run)).cloned().collect() }
    }

    /// This and the rows of a snapshot with the same layout.
    pub(crate) fn with_runs_of(mut self, other: &Self) -> Self {
        self.runs.extend(other.runs.iter().cloned());
        self
    }

    /// A spine of this layout without rows, whose epochs are told apart.
    pub(crate) fn empty_spine(&self) -> Spine {
        Spine { layout: self.layout.clone(), runs: Vec::new(), merges: Vec::new(), since: 0 }
    }

    /// These rows, to be probed.
    pub(crate) fn into_spine(self) -> Spine {
        Spine { layout: self.layout, runs: self.runs, merges: Vec::new(), since: Epoch::MAX }
    }

    /// The columns that find rows.
    pub(crate) fn key_columns(&self) -> &[usize] {
        &self.layout.key_columns
    }

    /// The rows whose key is one of `keys`, each once, with its weight.
    pub(crate) fn lookup(&self, keys: &[ArrayRef]) -> Result<ChangeBatch> {
        let spine = self.clone().into_spine();
        let Matches { location, weight, .. } = spine.lookup(keys)?;
        // A row is found by each of the keys that are equal.
        let found: BTreeMap<Location, i64> = location.into_iter().zip(weight).collect();
        let (location, weight): (Vec<Location>, Vec<i64>) = found.into_iter().unzip();
        let columns: Vec<usize> = (0..self.schema().fields().len()).collect();
        let found = ChangeBatch::new(spine.gather(&location, &columns)?, weight.into());
        super::consolidate::consolidate(self.schema(), &[found])
    }

    /// A bound on the rows that [`Self::lookup`] finds, known without a look at any.
    pub(crate) fn n_found_at_most(&self, keys: &[ArrayRef]) -> Result<u64> {
        self.clone().into_spine().n_matches_at_most(keys)
    }

    /// The columns' names and types.
    pub fn schema(&self) -> &SchemaRef {
        &self.layout.schema
    }

    /// Entries in all runs; a row not yet consolidated counts once per run.
    pub(crate) fn n_rows_at_most(&self) -> u64 {
        self.runs.iter().map(|run| run.len() as u64).sum()
    }

    /// How many rows there are, copies counted and retracted ones taken off.
    pub(crate) fn sum_of_weights(&self) -> i64 {
        self.runs.iter().map(|run| (0..run.len()).map(|entry| run.index.weight(entry)).sum::<i64>()).sum()
    }

    /// The rows and their summed weights, never zero, each row once (unless append-only), a batch at a time.
    pub fn batches(&self) -> Batches {
        Batches::new(self.clone())
    }
}

/// Iterates over a snapshot by ranges of the hash, so that equal rows of all runs come together and little is held at once.
pub struct Batches {
    snapshot: SpineSnapshot,
    batches: Vec<Arc<Batch>>,
    reader: Option<RowReader>,
    positions: Vec<usize>,
    /// The first hash not yet reached; `None` when all were.
    from: Option<u64>,
    step: u64,
    window: Index,
    window_next: usize,
}

/// Rows in a batch of a snapshot.
const SNAPSHOT_ROWS: usize = 8192;

impl Batches {
    fn new(snapshot: SpineSnapshot) -> Self {
        let batches: Vec<_> = snapshot.runs.iter().flat_map(|run| run.batches.iter().cloned()).collect();
        let reader = if snapshot.runs.len() > 1 { snapshot.layout.row_reader(&batches) } else { None };
        let bounds = |run: &Arc<Run>| run.index.hashes.first().copied().zip(run.index.hashes.last().copied());
        let least = snapshot.runs.iter().filter_map(bounds).map(|bounds| bounds.0).min();
        let greatest = snapshot.runs.iter().filter_map(bounds).map(|bounds| bounds.1).max();
        let n_entries: usize = snapshot.runs.iter().map(|run| run.len()).sum();
        let range = greatest.unwrap_or(0) - least.unwrap_or(0);
        let step = range / (n_entries / SNAPSHOT_ROWS + 1) as u64 + 1;
        let positions = vec![0; snapshot.runs.len()];
        Self { snapshot, batches, reader, positions, from: least, step, window: Index::default(), window_next: 0 }
    }

    /// Moves on to the next range of hashes; false when there is none.
    fn advance(&mut self) -> bool {
        let Some(from) = self.from else { return false };
        self.from = from.checked_add(self.step);
        let mut entries: Vec<((u64, u64), u32, u32, u32)> = Vec::new();
        let mut base = 0;
        for (run_index, (run, position)) in self.snapshot.runs.iter().zip(&mut self.positions).enumerate() {
            let rest = &run.index.hashes[*position..];
            let n = self.from.map_or(rest.len(), |to| rest.partition_point(|hash| *hash < to));
            entries.extend((*position..*position + n).map(|entry| (run.index.order(entry), run_index as u32, entry as u32, base)));
            *position += n;
            base += run.batches.len() as u32;
        }
        if self.positions.iter().zip(&self.snapshot.runs).all(|(position, run)| *position == run.len()) {
            self.from = None;
        }
        if self.snapshot.runs.len() > 1 {
            entries.sort_unstable();
        }
        let mut window = Index::with_capacity(entries.len());
        for (_, run, entry, base) in entries {
            window.push_from(&self.snapshot.runs[run as usize].index, entry as usize, base);
        }
        self.window = match &self.reader {
            Some(reader) => window.consolidated(reader),
            None => window,
        };
        self.window_next = 0;
        true
    }
}

impl Iterator for Batches {
    type Item = Result<ChangeBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.window_next == self.window.len() {
            if !self.advance() {
                return None;
            }
        }
        let range = self.window_next..self.window.len().min(self.window_next + SNAPSHOT_ROWS);
        self.window_next = range.end;
        let weights = (!self.window.all_weights_are_one())
            .then(|| Int64Array::from_iter_values(range.clone().map(|entry| self.window.weight(entry))));
        let columns: Vec<usize> = (0..self.snapshot.schema().fields().len()).collect();
        let batches: Vec<&RecordBatch> = self.batches.iter().map(|batch| &batch.rows).collect();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(range.len()));
        let rows = gather_columns(&batches, &self.window.locations[range], &columns)
            .and_then(|columns| Ok(RecordBatch::try_new_with_options(self.snapshot.schema().clone(), columns, &options)?));
        Some(rows.map(|rows| ChangeBatch::with_weights(rows, weights)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::array::StringArray;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::operators::script::{changes, consolidated, rows_text, schema};
    use crate::state::key::{hash_rows, tests::unhash};

    /// The slow, obvious spine: rows as text with their weights.
    type Reference = BTreeMap<String, i64>;

    fn random_changes(random: &mut StdRng, append_only: bool, n_rows: usize) -> String {
        let keys = ["a", "b", "null", "'c d'"];
        let change = |_| {
            let weight = if append_only { 1 } else { [-2, -1, 1, 1, 3][random.random_range(0..5)] };
            let key = keys[random.random_range(0..4)];
            format!("{weight:+} {key} {} {}", random.random_range(0..3), random.random_range(0..20))
        };
        (0..n_rows).map(change).collect::<Vec<_>>().join(" | ")
    }

    fn add(reference: &mut Reference, batch: &ChangeBatch) {
        for (row, weight) in consolidated(std::slice::from_ref(batch)) {
            *reference.entry(row).or_insert(0) += weight;
        }
        reference.retain(|_, weight| *weight != 0);
    }

    fn looked_up(spine: &Spine, key: Option<&str>, number: i64) -> Reference {
        let keys: [ArrayRef; 2] = [Arc::new(StringArray::from(vec![key])), Arc::new(Int64Array::from(vec![number]))];
        let matches = spine.lookup(&keys).expect("the lookup succeeds");
        let rows = spine.gather(&matches.location, &[0, 1, 2]).expect("the rows are there");
        consolidated(&[ChangeBatch::new(rows, matches.weight.into())])
    }

    fn compare_with_reference(append_only: bool, key_columns: Vec<usize>, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        let schema = schema("k:text n:int v:int");
        let mut spine = Spine::new(schema.clone(), key_columns.clone(), append_only);
        let mut reference = Reference::new();
        for epoch in 0..60 {
            let n_rows = [1, 3, 40, 300][random.random_range(0..4)];
            let batch = changes(&schema, &random_changes(&mut random, append_only, n_rows));
            spine.insert(epoch, &batch).expect("it inserts");
            add(&mut reference, &batch);
            if key_columns == [0, 1] {
                for key in [Some("a"), Some("c d"), None] {
                    let prefix = key.map_or("null 1 ".into(), |key| if key == "a" { "a 1 ".into() } else { format!("'{key}' 1 ") });
                    let expected: Reference =
                        reference.iter().filter(|(row, _)| row.starts_with(&prefix)).map(|(row, w)| (row.clone(), *w)).collect();
                    assert_eq!(looked_up(&spine, key, 1), expected, "seed {seed}, epoch {epoch}, {key:?}");
                }
            }
            let batches = spine.snapshot().batches().collect::<Result<Vec<_>>>().expect("the snapshot reads");
            assert_eq!(consolidated(&batches), reference, "seed {seed}, epoch {epoch}");
            let rows: Vec<String> = batches.iter().flat_map(|batch| rows_text(batch.rows())).collect();
            assert!(append_only || rows.len() == reference.len(), "a snapshot has each row once");
        }
        assert!(append_only || spine.n_rows() <= 4 * reference.len() as u64 + 600, "cancelled rows go away");
    }

    #[test]
    fn a_spine_is_the_sum_of_its_insertions() {
        for seed in 0..8 {
            compare_with_reference(false, vec![0, 1], seed);
            compare_with_reference(true, vec![0, 1], seed);
            compare_with_reference(false, vec![0, 1, 2], seed);
            compare_with_reference(false, vec![2], seed);
            compare_with_reference(false, vec![], seed);
        }
    }

    #[test]
    fn what_is_retracted_to_zero_holds_no_memory() {
        let schema = schema("k:text n:int v:int");
        let mut spine = Spine::new(schema.clone(), vec![0], false);
        for epoch in 0..100 {
            spine.insert(epoch * 2, &changes(&schema, "+ a 1 1 | + b 2 2 | +2 c 3 3")).expect("it inserts");
            spine.insert(epoch * 2 + 1, &changes(&schema, "- a 1 1 | - b 2 2 | -2 c 3 3")).expect("it inserts");
        }
        assert!(spine.n_rows() <= 6, "{} rows", spine.n_rows());
        assert!(spine.n_bytes() < 4096, "{} bytes", spine.n_bytes());
    }

    #[test]
    fn a_tiny_slice_does_not_keep_its_batch() {
        let schema = schema("k:text");
        for n_rows in [1000, 10_000] {
            let text = vec!["+ abcdefghijklmnopqrstuvwxyz"; n_rows].join(" | ");
            let large = changes(&schema, &text);
            let mut spine = Spine::new(schema.clone(), vec![0], true);
            spine.insert(1, &large.slice(500, 2)).expect("it inserts");
            assert!(spine.n_bytes() < 1000, "{} bytes", spine.n_bytes());
            let held: usize = spine.runs[0].batches.iter().map(|batch| batch.rows.get_array_memory_size()).sum();
            assert!(held < 4096, "{held} bytes");
        }
    }

    #[test]
    fn a_large_snapshot_comes_in_pieces() {
        let schema = schema("k:int v:int");
        let rows = |from: i64, to: i64, weight: i64| {
            let column = |values: &mut dyn Iterator<Item = i64>| Arc::new(Int64Array::from_iter_values(values)) as ArrayRef;
            let columns = vec![column(&mut (from..to)), column(&mut (from..to))];
            let rows = RecordBatch::try_new(schema.clone(), columns).expect("two columns");
            ChangeBatch::new(rows, vec![weight; (to - from) as usize].into())
        };
        let mut spine = Spine::new(schema.clone(), vec![0], false);
        spine.set_since(0);
        spine.insert(1, &rows(0, 30_000, 2)).expect("it inserts");
        spine.insert(2, &rows(10_000, 20_000, -1)).expect("it inserts");
        spine.insert(3, &rows(20_000, 25_000, -2)).expect("it inserts");
        let pieces = spine.snapshot().batches().collect::<Result<Vec<_>>>().expect("the snapshot reads");
        assert!(pieces.len() >= 3 && pieces.iter().all(|piece| piece.len() <= SNAPSHOT_ROWS));
        let sums =
            [2, 1].map(|weight| pieces.iter().flat_map(|piece| (0..piece.len()).filter(move |row| piece.weight(*row) == weight)).count());
        assert_eq!((sums, spine.snapshot().sum_of_weights()), ([15_000, 10_000], 40_000));
    }

    #[test]
    fn many_small_batches_become_few() {
        let schema = schema("k:int v:int");
        let mut spine = Spine::new(schema.clone(), vec![0], true);
        for epoch in 0..1000 {
            spine.insert(epoch, &changes(&schema, &format!("+ {epoch} 1 | + {epoch} 2"))).expect("it inserts");
        }
        let n_batches: usize = spine.runs.iter().map(|run| run.batches.len()).sum();
        assert!(n_batches <= 16 * spine.runs.len() && spine.runs.len() <= 10, "{n_batches} batches in {} runs", spine.runs.len());
    }

    #[test]
    fn bytes_are_those_of_rows_and_index() {
        let schema = schema("k:int v:int");
        let mut spine = Spine::new(schema.clone(), vec![0], false);
        let rows: Vec<String> = (0..1000).map(|row| format!("+2 {row} 0")).collect();
        spine.insert(1, &changes(&schema, &rows.join(" | "))).expect("it inserts");
        // Two columns; hash, row hash, location and weight; and where the hashes begin.
        assert!((48_000..51_000).contains(&spine.n_bytes()), "{} bytes", spine.n_bytes());
    }

    #[test]
    fn what_an_insertion_costs_follows_its_size() {
        let schema = schema("k:int v:int");
        let rows = |n: i64, start: i64| {
            let column = |values: &mut dyn Iterator<Item = i64>| Arc::new(Int64Array::from_iter_values(values)) as ArrayRef;
            let columns = vec![column(&mut (start..start + n)), column(&mut (0..n))];
            ChangeBatch::inserts(RecordBatch::try_new(schema.clone(), columns).expect("two columns"))
        };
        // As a view is built: one epoch in many batches, which no reader may tell apart yet.
        let mut spine = Spine::new(schema.clone(), vec![0], false);
        spine.set_since(0);
        for batch in 0..64 {
            spine.insert(1, &rows(8192, batch * 8192)).expect("it inserts");
        }
        let (n_runs, n_merges) = (spine.runs.len(), spine.merges.len());
        assert!(n_runs <= 16 && n_merges <= 6, "{n_runs} runs, {n_merges} merges after the build");
        let n_moved = |spine: &Spine| spine.merges.iter().map(Merging::n_merged).sum::<usize>();
        let before = n_moved(&spine);
        for epoch in 2..12 {
            spine.insert(epoch, &rows(10, 1_000_000 + 10 * epoch as i64)).expect("it inserts");
            spine.set_since(epoch);
        }
        // A piece at a time, paid for by what is inserted.
        let (n_moved, n_merges) = (n_moved(&spine) - before, n_merges.max(spine.merges.len()));
        assert!(n_moved <= n_merges * 6_200, "{n_moved} entries moved for 100 rows");
    }

    /// For one value of eight bytes the hash says all but whether it is null: some value has the hash of null.
    #[test]
    fn a_null_is_not_the_value_of_its_hash() {
        let schema = schema("k:int v:int");
        let hash_of_null = hash_rows(&[Arc::new(Int64Array::from(vec![None]))]).value(0);
        let value = unhash(hash_of_null, 0) as i64;
        let mut spine = Spine::new(schema.clone(), vec![0], false);
        let mut found = |epoch: Epoch, text: &str, key: Option<i64>| {
            spine.insert(epoch, &changes(&schema, text)).expect("it inserts");
            let matches = spine.lookup(&[Arc::new(Int64Array::from(vec![key]))]).expect("the lookup succeeds");
            rows_text(&spine.gather(&matches.location, &[1]).expect("the rows are there"))
        };
        assert_eq!(found(1, &format!("+ {value} 1"), None), [""; 0]);
        assert_eq!(found(2, "+ null 2", None), ["2"]);
        assert_eq!(found(3, "+ 5 3", Some(value)), ["1"]);
    }

    /// Of two columns there are as many pairs of one hash as one likes.
    #[test]
    fn keys_of_one_hash_are_two_keys() {
        let schema = schema("a:int b:int v:int");
        let hash = |values: &[i64]| {
            hash_rows(&values.iter().map(|value| Arc::new(Int64Array::from(vec![*value])) as _).collect::<Vec<_>>()).value(0)
        };
        let other = unhash(hash(&[1, 2]), hash(&[3])) as i64;
        assert_eq!(hash(&[1, 2]), hash(&[3, other]));
        for append_only in [false, true] {
            let mut spine = Spine::new(schema.clone(), vec![0, 1], append_only);
            spine.insert(1, &changes(&schema, &format!("+ 1 2 10 | + 3 {other} 20"))).expect("it inserts");
            let found = |a: i64, b: i64| {
                let matches = spine.lookup(&[Arc::new(Int64Array::from(vec![a])), Arc::new(Int64Array::from(vec![b]))]);
                rows_text(&spine.gather(&matches.expect("the lookup succeeds").location, &[2]).expect("the rows are there"))
            };
            assert_eq!((found(1, 2), found(3, other), found(3, 2)), (vec!["10".into()], vec!["20".into()], vec![]));
        }
    }

    #[test]
    fn a_row_is_read_once_per_run_at_most() {
        let schema = schema("k:int v:int");
        let mut spine = Spine::new(schema.clone(), vec![0], false);
        for epoch in 0..50 {
            let rows: Vec<String> = (0..200).map(|row| format!("+ {} {epoch}", row + 200 * epoch)).collect();
            spine.insert(epoch, &changes(&schema, &rows.join(" | "))).expect("it inserts");
        }
        let matches = spine.lookup(&[Arc::new(Int64Array::from(vec![777, -1, 777]))]).expect("the lookup succeeds");
        assert_eq!((matches.probe_row.len(), matches.n_rows_read), (2, 2));
        let mut rows = matches.probe_row.clone();
        rows.sort_unstable();
        assert_eq!(rows, [0, 2]);
        let n_at_most = |keys: &[i64]| spine.snapshot().n_found_at_most(&[Arc::new(Int64Array::from(keys.to_vec()))]).expect("it counts");
        assert_eq!((n_at_most(&[777, -1]), n_at_most(&[-1]), n_at_most(&[])), (1, 0, 0));
    }
}
