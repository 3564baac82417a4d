//! A partition's rows in order, cut into blocks, each with where the running functions stood before its first row; and which
//! blocks a change concerns.
//!
//! Guaranteed: rows ascend through the blocks, no block is empty, and, where there are running functions, no block begins
//! among peers (rows equal in the window's order).

use std::ops::Range;

use super::super::ordered_rows::RowKey;
use super::running::State;
use crate::{Error, Result};

/// Rows of a block. A change evaluates its block as it was and as it is; a block's own cost is a state of the running functions.
const BLOCK_ROWS: usize = 128;

/// A row and how often it occurs.
pub(super) type Row = (RowKey, i64);

/// The rows of one partition.
#[derive(Default)]
pub(super) struct Partition {
    pub(super) blocks: Vec<Block>,
    /// The partition could not be evaluated: it has no output, and its blocks no states.
    pub(super) failed: bool,
}

/// Some rows that follow one another.
pub(super) struct Block {
    pub(super) rows: Vec<Row>,
    /// The rows, each as often as it occurs.
    pub(super) n_copies: usize,
    /// Before the first row.
    pub(super) entry: State,
}

/// Blocks that changes concern: those with changed rows, and those so near that their values may be others.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) blocks: Range<usize>,
    /// Of the changes.
    pub(super) changes: Range<usize>,
}

impl Block {
    pub(super) fn new(rows: Vec<Row>, entry: State) -> Self {
        let n_copies = copies(&rows);
        Self { rows, n_copies, entry }
    }
}

impl Partition {
    /// The rows of some blocks.
    pub(super) fn rows(&self, blocks: Range<usize>) -> impl DoubleEndedIterator<Item = &Row> {
        self.blocks[blocks].iter().flat_map(|block| &block.rows)
    }

    /// So many copies of rows, or a few more, before block `before`, in order.
    pub(super) fn rows_before(&self, before: usize, n_copies: usize) -> Vec<&Row> {
        let mut found = some(self.rows(0..before).rev(), n_copies);
        found.reverse();
        found
    }

    /// The same from block `from` on.
    pub(super) fn rows_from(&self, from: usize, n_copies: usize) -> Vec<&Row> {
        some(self.rows(from..self.blocks.len()), n_copies)
    }

    /// The regions of `changes`, which ascend: with `margin` copies of unchanged rows on both sides, none in two of them.
    pub(super) fn regions(&self, changes: &[Row], margin: usize, keeps_peers: bool) -> Vec<Region> {
        let mut regions: Vec<Region> = Vec::new();
        for (index, (key, _)) in changes.iter().enumerate() {
            let block = self.block_of(key, keeps_peers);
            match regions.last_mut() {
                Some(last) if last.blocks.contains(&block) || (last.blocks.is_empty() && self.blocks.is_empty()) => {
                    last.changes.end = index + 1;
                    last.blocks.end = last.blocks.end.max(self.reach_right(block, margin));
                }
                _ => self.open(&mut regions, block, index, margin),
            }
        }
        regions
    }

    fn open(&self, regions: &mut Vec<Region>, block: usize, change: usize, margin: usize) {
        let (mut start, mut n_copies) = (block.min(self.blocks.len()), 0);
        while n_copies < margin && start > 0 {
            start -= 1;
            n_copies += self.blocks[start].n_copies;
        }
        let end = self.reach_right(block, margin);
        match regions.last_mut() {
            Some(last) if start < last.blocks.end => {
                last.blocks.end = last.blocks.end.max(end);
                last.changes.end = change + 1;
            }
            _ => regions.push(Region { blocks: start..end, changes: change..change + 1 }),
        }
    }

    /// Where a region that ends with this block ends. A small block takes the next one in, so that there are not many of them.
    fn reach_right(&self, block: usize, margin: usize) -> usize {
        let mut end = (block + 1).min(self.blocks.len());
        let mut n_copies = 0;
        while n_copies < margin && end < self.blocks.len() {
            n_copies += self.blocks[end].n_copies;
            end += 1;
        }
        let is_small = self.blocks.get(block).is_some_and(|block| block.rows.len() < BLOCK_ROWS / 4);
        if is_small && end == block + 1 { (end + 1).min(self.blocks.len()) } else { end }
    }

    /// The block that has this row, or takes it in.
    fn block_of(&self, key: &RowKey, keeps_peers: bool) -> usize {
        let after = self.blocks.partition_point(|block| block.rows[0].0 <= *key);
        let joins_next = keeps_peers && self.blocks.get(after).is_some_and(|next| next.rows[0].0.order() == key.order());
        if joins_next { after } else { after.saturating_sub(1) }
    }
}

fn some<'a>(rows: impl Iterator<Item = &'a Row>, n_copies: usize) -> Vec<&'a Row> {
    let (mut found, mut n_found) = (Vec::new(), 0);
    for row in rows {
        if n_found >= n_copies {
            break;
        }
        n_found += row.1 as usize;
        found.push(row);
    }
    found
}

/// How many rows there are, each as often as it occurs.
pub(super) fn copies(rows: &[Row]) -> usize {
    rows.iter().map(|row| row.1 as usize).sum()
}

/// The rows after `changes`; both ascend.
pub(super) fn changed<'a>(rows: impl Iterator<Item = &'a Row>, changes: &[Row]) -> Result<Vec<Row>> {
    let mut changed = Vec::with_capacity(changes.len());
    let (mut rows, mut changes) = (rows.peekable(), changes.iter().peekable());
    loop {
        let take_row = match (rows.peek(), changes.peek()) {
            (None, None) => return Ok(changed),
            (Some(row), Some(change)) if row.0 == change.0 => {
                let weight = row.1 + change.1;
                push(&mut changed, &row.0, weight)?;
                rows.next();
                changes.next();
                continue;
            }
            (Some(row), Some(change)) => row.0 < change.0,
            (row, _) => row.is_some(),
        };
        let next = if take_row { rows.next() } else { changes.next() };
        let (key, weight) = next.expect("the side that was looked at has a row");
        push(&mut changed, key, *weight)?;
    }
}

fn push(rows: &mut Vec<Row>, key: &RowKey, weight: i64) -> Result<()> {
    if weight < 0 {
        return Err(Error::internal("a window's input retracts a row that is not there"));
    }
    if weight > 0 {
        rows.push((key.clone(), weight));
    }
    Ok(())
}

/// Cuts rows into blocks' worth, each in memory of its own.
pub(super) fn cut(rows: Vec<Row>, keeps_peers: bool) -> Vec<Vec<Row>> {
    let is_between_peers = |at: &usize| keeps_peers && rows[*at - 1].0.order() == rows[*at].0.order();
    let mut ends = Vec::new();
    let mut start = 0;
    while rows.len() - start > 2 * BLOCK_ROWS {
        let Some(at) = (start + BLOCK_ROWS..rows.len()).find(|at| !is_between_peers(at)) else { break };
        ends.push(at);
        start = at;
    }
    ends.extend((start < rows.len()).then_some(rows.len()));
    let starts: Vec<usize> = std::iter::once(0).chain(ends.iter().copied()).collect();
    let mut rows = rows.into_iter();
    starts.iter().zip(&ends).map(|(start, end)| rows.by_ref().take(end - start).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(order: u32) -> RowKey {
        RowKey::new(&order.to_be_bytes(), &order.to_be_bytes())
    }

    /// Ten blocks of the rows 0, 10, 20, …, each of `n_copies`.
    fn partition(n_copies: i64) -> Partition {
        let rows = |block: u32| (0..128).map(|row| (key(10 * (128 * block + row)), n_copies)).collect();
        Partition { blocks: (0..10).map(|block| Block::new(rows(block), State::default())).collect(), failed: false }
    }

    #[test]
    fn regions_have_their_margins_and_do_not_overlap() {
        let changes: Vec<Row> = [5, 10 * 128 * 5 + 1, 10 * 128 * 6, 10 * 128 * 9].map(|order| (key(order), 1)).into();
        let blocks = |margin| partition(1).regions(&changes, margin, true).into_iter().map(|region| region.blocks).collect::<Vec<_>>();
        assert_eq!(blocks(0), [0..1, 5..6, 6..7, 9..10]);
        assert_eq!(blocks(1), [0..2, 4..8, 8..10]);
        assert_eq!(blocks(129), [0..3, 3..10]);
        let of_nothing = Partition::default().regions(&changes, 3, true);
        assert_eq!(of_nothing, [Region { blocks: 0..0, changes: 0..4 }]);
    }

    #[test]
    fn a_region_has_all_changes_of_its_blocks() {
        let changes: Vec<Row> = [5, 15, 10 * 128 * 5 + 1, 10 * 128 * 6, 10 * 128 * 6 + 1].map(|order| (key(order), 1)).into();
        let ranges = |margin| partition(1).regions(&changes, margin, true).into_iter().map(|region| region.changes).collect::<Vec<_>>();
        assert_eq!(ranges(0), [0..2, 2..3, 3..5]);
        assert_eq!(ranges(1), [0..2, 2..5]);
        let near: Vec<Row> = [10 * 128 * 5, 10 * 128 * 7, 10 * 128 * 7 + 1].map(|order| (key(order), 1)).into();
        assert_eq!(partition(1).regions(&near[..2], 1, true), [Region { blocks: 4..9, changes: 0..2 }]);
        assert_eq!(partition(1).regions(&near, 1, true), [Region { blocks: 4..9, changes: 0..3 }]);
    }

    #[test]
    fn a_small_block_takes_the_next_one_in() {
        let rows = |block: u32| (0..10).map(|row| (key(100 * block + row), 1)).collect();
        let partition = Partition { blocks: (0..10).map(|block| Block::new(rows(block), State::default())).collect(), failed: false };
        let blocks = |order, margin| partition.regions(&[(key(order), 1)], margin, true).remove(0).blocks;
        assert_eq!((blocks(305, 0), blocks(905, 0)), (3..5, 9..10));
        assert_eq!((blocks(305, 1), blocks(305, 11)), (2..5, 1..6));
    }

    #[test]
    fn the_rows_around_a_block_are_counted_in_copies() {
        let partition = partition(2);
        let orders =
            |rows: Vec<&Row>| rows.iter().map(|row| u32::from_be_bytes(row.0.order().try_into().expect("four bytes"))).collect::<Vec<_>>();
        assert_eq!(orders(partition.rows_before(1, 3)), [1260, 1270]);
        assert_eq!(orders(partition.rows_from(9, 2)), [10 * 128 * 9]);
        assert!(partition.rows_before(0, 5).is_empty() && partition.rows_from(10, 5).is_empty());
    }

    #[test]
    fn changes_merge_into_rows_and_peers_stay_together() {
        let rows: Vec<Row> = (0..4).map(|order| (key(order), 1)).collect();
        let after = changed(rows.iter(), &[(key(1), -1), (key(2), 2), (key(9), 1)]).expect("what is retracted is there");
        assert_eq!(after, [(key(0), 1), (key(2), 3), (key(3), 1), (key(9), 1)]);
        assert!(changed(rows.iter(), &[(key(7), -1)]).is_err());
        let peers: Vec<Row> = (0..1000).map(|row: u32| (RowKey::new(&(row / 300).to_be_bytes(), &row.to_be_bytes()), 1)).collect();
        let lengths = |keeps_peers| cut(peers.clone(), keeps_peers).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(lengths(true), [300, 300, 300, 100]);
        assert_eq!(lengths(false), [128, 128, 128, 128, 128, 128, 232]);
        let capacity: usize = cut(peers.clone(), false).iter().map(Vec::capacity).sum();
        assert!(capacity < 2 * peers.len(), "{capacity} places are kept for {} rows", peers.len());
    }
}
