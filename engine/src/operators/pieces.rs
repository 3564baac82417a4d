//! The input of a large epoch, split so that all rows of a group are in one piece.
//!
//! A kernel whose step reads whole groups would read each of them again for each part of an epoch that it is handed as it comes.
//! Handed whole groups, it reads each once, and still no piece is large.

use arrow::array::UInt32Array;

use crate::state::key::hash_keys;
use crate::{ChangeBatch, Result};

/// Pieces not yet taken; each is a list of batches.
#[derive(Default)]
pub struct Pieces {
    pieces: Vec<Vec<ChangeBatch>>,
}

/// How many pieces there are.
const N_PIECES: usize = 256;

/// Bytes of batches that are put together before they are split, at most: what they hold must fit into one batch.
const MAX_BYTES: usize = 256 << 20;

impl Pieces {
    /// Splits batches by the columns that make a group.
    pub fn add(&mut self, group: &[usize], batches: Vec<ChangeBatch>) -> Result<()> {
        let mut lot = Vec::new();
        let mut n_bytes = 0;
        for batch in batches.into_iter().filter(|batch| !batch.is_empty()) {
            n_bytes += batch.memory_bytes();
            if n_bytes > MAX_BYTES {
                self.split(group, std::mem::take(&mut lot))?;
                n_bytes = batch.memory_bytes();
            }
            lot.push(batch);
        }
        self.split(group, lot)
    }

    fn split(&mut self, group: &[usize], lot: Vec<ChangeBatch>) -> Result<()> {
        let Some(first) = lot.first() else { return Ok(()) };
        let lot = ChangeBatch::concat(&first.schema(), &lot)?;
        self.pieces.resize_with(N_PIECES, Vec::new);
        let mut rows_of = vec![Vec::new(); N_PIECES];
        for (row, hash) in (0..).zip(hash_keys(lot.rows(), group).values()) {
            rows_of[piece(*hash)].push(row);
        }
        let ordered = lot.take(&rows_of.iter().flatten().copied().collect::<UInt32Array>())?;
        let mut start = 0;
        for (piece, rows) in self.pieces.iter_mut().zip(&rows_of).filter(|(_, rows)| !rows.is_empty()) {
            piece.push(ordered.slice(start, rows.len()));
            start += rows.len();
        }
        Ok(())
    }

    /// One of the pieces.
    pub fn pop(&mut self) -> Option<Vec<ChangeBatch>> {
        while let Some(piece) = self.pieces.pop() {
            if !piece.is_empty() {
                return Some(piece);
            }
        }
        None
    }

    /// True when nothing was added, or all of it taken.
    pub fn is_empty(&self) -> bool {
        self.pieces.iter().all(Vec::is_empty)
    }
}

/// By other bits than those that say which worker a row belongs to.
fn piece(hash: u64) -> usize {
    (hash >> 48) as usize % N_PIECES
}
