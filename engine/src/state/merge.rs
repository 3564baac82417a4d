//! Merging runs: which ones ([`choose`], a pure function of their sizes) and a bounded piece of the work at a time ([`Merging`]).
//!
//! Two runs are merged when the smaller is at least half of the larger, so after all merges sizes more than double from one
//! run to the next, and there are at most log2 of them. A row is moved once per doubling.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::equality::{Location, RowReader};
use super::run::{Batch, Index, Layout, Run, gather_batch};
use crate::{Epoch, Result};

/// What the choice of a merge depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunMeta {
    /// Entries in the run.
    pub(crate) n_entries: usize,
    /// The first and the last epoch whose changes are in it.
    pub(crate) epochs: (Epoch, Epoch),
    /// It is an input of an unfinished merge.
    pub(crate) is_merging: bool,
}

/// Positions of two runs to be merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Merge {
    pub(crate) smaller: usize,
    pub(crate) larger: usize,
}

/// Runs below this size count as equally large: merging them costs less than keeping them.
const LEAST_RUN: usize = 64;

/// Disjoint pairs of runs of similar size that may be merged, smallest first: not merging already, and of epochs that need not
/// be told apart, which are those up to `since`, and each for itself.
pub(crate) fn choose(runs: &[RunMeta], since: Epoch) -> Vec<Merge> {
    let mut together: BTreeMap<Option<Epoch>, Vec<usize>> = BTreeMap::new();
    for (position, run) in runs.iter().enumerate().filter(|(_, run)| !run.is_merging) {
        let (first, last) = run.epochs;
        match last <= since {
            true => together.entry(None).or_default().push(position),
            false if first == last => together.entry(Some(last)).or_default().push(position),
            false => {}
        }
    }
    let mut merges: Vec<Merge> = together.into_values().flat_map(|positions| similar(positions, runs)).collect();
    merges.sort_by_key(|merge| runs[merge.smaller].n_entries);
    merges
}

fn similar(mut positions: Vec<usize>, runs: &[RunMeta]) -> Vec<Merge> {
    positions.sort_by_key(|run| (runs[*run].n_entries, *run));
    let size = |run: usize| runs[run].n_entries.max(LEAST_RUN);
    let mut merges = Vec::new();
    let mut next = 0;
    while next + 1 < positions.len() {
        let (smaller, larger) = (positions[next], positions[next + 1]);
        if size(smaller) * 2 >= size(larger) {
            merges.push(Merge { smaller, larger });
            next += 1;
        }
        next += 1;
    }
    merges
}

/// A merge under way.
pub(crate) struct Merging {
    inputs: [Arc<Run>; 2],
    positions: [usize; 2],
    merged: Index,
    /// The batches of both inputs, one after another, to which `merged` refers.
    batches: Vec<Arc<Batch>>,
    reader: Option<RowReader>,
    gathered: Option<Vec<Arc<Batch>>>,
    /// Entries that may be moved; below zero after a piece larger than what was there.
    fuel: i64,
}

/// A merge of so few entries is done at once.
const SMALL_MERGE: usize = 4096;

/// Rows of a batch written when row data is gathered.
const GATHERED_ROWS: usize = 16_384;
/// What copying a row costs, in moved index entries.
const GATHER_FUEL: i64 = 8;

impl Merging {
    pub(crate) fn new(layout: &Layout, left: Arc<Run>, right: Arc<Run>) -> Self {
        let batches: Vec<_> = left.batches.iter().chain(&right.batches).cloned().collect();
        let reader = layout.row_reader(&batches);
        let n_entries = left.len() + right.len();
        let fuel = if n_entries <= SMALL_MERGE { i64::MAX / 2 } else { 0 };
        let merged = Index::with_capacity(n_entries);
        Self { inputs: [left, right], positions: [0, 0], merged, batches, reader, gathered: None, fuel }
    }

    pub(crate) fn reads(&self, run: &Arc<Run>) -> bool {
        self.inputs.iter().any(|input| Arc::ptr_eq(input, run))
    }

    /// Works until `fuel` (entries to move) and what was left before are used up; the merged run once it is done (empty when everything
    /// cancelled).
    pub(crate) fn work(&mut self, layout: &Layout, fuel: i64) -> Result<Option<Run>> {
        self.fuel += fuel;
        while !self.is_merged() {
            if self.fuel <= 0 {
                return Ok(None);
            }
            self.fuel -= self.merge_piece();
        }
        if self.gathered.is_none() {
            self.drop_dead_batches();
            if !self.wants_gathering() {
                return Ok(Some(self.finish(layout)));
            }
        }
        let gathered = self.gathered.get_or_insert_default();
        while gathered.len() * GATHERED_ROWS < self.merged.len() {
            if self.fuel <= 0 {
                return Ok(None);
            }
            let start = gathered.len() * GATHERED_ROWS;
            let end = (start + GATHERED_ROWS).min(self.merged.len());
            gathered.push(gather_batch(layout, &self.batches, &self.merged.locations[start..end])?);
            self.fuel -= (end - start) as i64 * GATHER_FUEL;
        }
        self.batches = std::mem::take(gathered);
        for (entry, location) in self.merged.locations.iter_mut().enumerate() {
            *location = Location { batch: (entry / GATHERED_ROWS) as u32, row: (entry % GATHERED_ROWS) as u32 };
        }
        Ok(Some(self.finish(layout)))
    }

    /// How many entries of the inputs have been merged.
    #[cfg(test)]
    pub(crate) fn n_merged(&self) -> usize {
        self.positions.iter().sum()
    }

    fn is_merged(&self) -> bool {
        (0..2).all(|side| self.positions[side] == self.inputs[side].len())
    }

    /// Merges some entries, whole groups of equal hashes at a time; returns how many it moved.
    fn merge_piece(&mut self) -> i64 {
        const PIECE_ENTRIES: usize = 4096;
        let [left, right] = &self.inputs;
        let base = left.batches.len() as u32;
        let [mut l, mut r] = self.positions;
        let mut piece = Index::with_capacity(PIECE_ENTRIES);
        let mut last = None;
        while l < left.len() || r < right.len() {
            let take_left = r == right.len() || (l < left.len() && left.index.order(l) <= right.index.order(r));
            let order = if take_left { left.index.order(l) } else { right.index.order(r) };
            if piece.len() >= PIECE_ENTRIES && last != Some(order) {
                break;
            }
            last = Some(order);
            if take_left {
                piece.push_from(&left.index, l, 0);
                l += 1;
            } else {
                piece.push_from(&right.index, r, base);
                r += 1;
            }
        }
        self.positions = [l, r];
        let n_moved = piece.len() as i64;
        if let Some(reader) = &self.reader {
            piece = piece.consolidated(reader);
        }
        self.merged.append(&piece);
        n_moved
    }

    /// Lets go of batches without a live row.
    fn drop_dead_batches(&mut self) {
        let mut is_live = vec![false; self.batches.len()];
        self.merged.locations.iter().for_each(|location| is_live[location.batch as usize] = true);
        if is_live.iter().all(|live| *live) {
            return;
        }
        let mut n_live = 0;
        let position: Vec<u32> = is_live.iter().map(|live| (n_live, n_live += u32::from(*live)).0).collect();
        self.merged.locations.iter_mut().for_each(|location| location.batch = position[location.batch as usize]);
        let mut live = is_live.iter();
        self.batches.retain(|_| *live.next().expect("there is a mark for each batch"));
    }

    /// True when more than half of the rows held on to are dead, or the batches are many and small.
    fn wants_gathering(&self) -> bool {
        const MANY_BATCHES: usize = 16;
        const SMALL_BATCH_ROWS: usize = 4096;
        let n_rows: usize = self.batches.iter().map(|batch| batch.rows.num_rows()).sum();
        let small = self.batches.len() > MANY_BATCHES && n_rows < self.batches.len() * SMALL_BATCH_ROWS;
        small || n_rows > 2 * self.merged.len()
    }

    fn finish(&mut self, layout: &Layout) -> Run {
        let epochs = self.inputs.iter().fold((Epoch::MAX, 0), |(first, last), run| (run.epochs.0.min(first), run.epochs.1.max(last)));
        Run::new(layout, std::mem::take(&mut self.batches), std::mem::take(&mut self.merged), epochs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(sizes: &[usize]) -> Vec<(usize, usize)> {
        let meta = |n: &usize| RunMeta { n_entries: *n, epochs: (1, 1), is_merging: false };
        choose(&sizes.iter().map(meta).collect::<Vec<_>>(), 1).iter().map(|merge| (merge.smaller, merge.larger)).collect()
    }

    #[test]
    fn pairs_of_similar_size_are_merged() {
        assert_eq!(chosen(&[]), []);
        assert_eq!(chosen(&[1000]), []);
        assert_eq!(chosen(&[10_000, 1000, 400]), []);
        assert_eq!(chosen(&[10_000, 1000, 500]), [(2, 1)]);
        assert_eq!(chosen(&[10_000, 9_000, 1000, 100]), [(1, 0)]);
        assert_eq!(chosen(&[1, 60, 100_000, 100_001]), [(0, 1), (2, 3)]);
    }

    #[test]
    fn a_run_that_is_merging_or_too_new_is_left_alone() {
        let run = |first, last| RunMeta { n_entries: 10, epochs: (first, last), is_merging: false };
        assert_eq!(choose(&[run(5, 5), RunMeta { is_merging: true, ..run(5, 5) }], 9), []);
        assert_eq!(choose(&[run(5, 5), run(6, 6)], 5), []);
        assert_eq!(choose(&[run(1, 4), run(5, 6), run(5, 6)], 5), []);
        assert_eq!(choose(&[run(5, 5), run(6, 6)], 6).len(), 1);
    }

    #[test]
    fn runs_of_one_epoch_are_merged_however_new_they_are() {
        let run = |n_entries, epoch| RunMeta { n_entries, epochs: (epoch, epoch), is_merging: false };
        let merges = choose(&[run(1000, 7), run(300, 8), run(1000, 8), run(1000, 7), run(300, 3), run(200, 2)], 5);
        assert_eq!(merges, [Merge { smaller: 5, larger: 4 }, Merge { smaller: 0, larger: 3 }]);
    }

    #[test]
    fn after_all_merges_sizes_double() {
        let mut sizes: Vec<usize> = Vec::new();
        for n in 1..2000 {
            sizes.push(100 + n % 7);
            while let Some((smaller, larger)) = chosen(&sizes).first().copied() {
                sizes[larger] += sizes[smaller];
                sizes.remove(smaller);
            }
            assert!(sizes.len() <= 2 + n.ilog2() as usize, "{sizes:?}");
        }
    }
}
