//! Which rows of a join's side have a match, kept exactly under retractions on both sides.
//!
//! For a row `r` of a side let `w(r)` be its weight and `p(r)` the sum of the weights of its pairs: `w(r)` times the weight of all it
//! matches. Both are sums over changes, so both are kept in spines, and a row with `w(r) ≠ 0` has a match exactly when `p(r) ≠ 0`.
//! Only the rows that changed or got or lost a pair are looked up, each by itself, however many rows share its key.

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;

use crate::state::run::Run;
use crate::state::spine::Spine;
use crate::{ChangeBatch, Epoch, Result};

/// `p(r)` for each row of a side.
pub(super) struct MatchedRows {
    pairs: Spine,
}

/// How a side's rows changed: each row once, with the change of its weight among the rows without and with a match.
pub(super) struct RowChange {
    pub(super) rows: RecordBatch,
    pub(super) unmatched: Vec<i64>,
    pub(super) matched: Vec<i64>,
}

impl MatchedRows {
    pub(super) fn new(schema: SchemaRef, keys: Vec<usize>) -> Self {
        Self { pairs: Spine::new(schema, keys, false) }
    }

    pub(super) fn spine(&self) -> &Spine {
        &self.pairs
    }

    /// Takes in the fresh rows (already in `side`) and the pairs that rows got or lost, and says what follows.
    pub(super) fn change(
        &mut self,
        epoch: Epoch,
        side: &Spine,
        fresh: Option<&Run>,
        pairs: Vec<ChangeBatch>,
        n_read: &mut u64,
    ) -> Result<Option<RowChange>> {
        let fresh = fresh.map(Run::changes).transpose()?;
        let n_fresh = fresh.as_ref().map_or(0, ChangeBatch::len);
        let changes: Vec<ChangeBatch> = fresh.into_iter().chain(pairs).collect();
        if changes.is_empty() {
            return Ok(None);
        }
        let all = ChangeBatch::concat(side.schema(), &changes)?;
        let distinct = side.distinct(all.rows())?;
        let n_rows = distinct.run.len();
        let (mut row_change, mut pair_change) = (vec![0; n_rows], vec![0; n_rows]);
        for (row, entry) in distinct.entry_of.iter().enumerate() {
            let sums = if row < n_fresh { &mut row_change } else { &mut pair_change };
            sums[*entry as usize] += all.weight(row);
        }
        let (rows_now, read_rows) = side.row_weights(&distinct.run);
        let (pairs_before, read_pairs) = self.pairs.row_weights(&distinct.run);
        *n_read += read_rows + read_pairs;
        let rows = distinct.run.changes()?.into_parts().0;
        self.pairs.insert(epoch, &ChangeBatch::new(rows.clone(), Int64Array::from(pair_change.clone())))?;
        let mut change = RowChange { rows, unmatched: vec![0; n_rows], matched: vec![0; n_rows] };
        for row in 0..n_rows {
            let (now, before) = (rows_now[row], rows_now[row] - row_change[row]);
            let (has_match, had_match) = (pairs_before[row] + pair_change[row] != 0, pairs_before[row] != 0);
            *(if has_match { &mut change.matched[row] } else { &mut change.unmatched[row] }) += now;
            *(if had_match { &mut change.matched[row] } else { &mut change.unmatched[row] }) -= before;
        }
        Ok(Some(change))
    }
}

/// Rows of which it only matters whether they are there: the tested side of semi, anti and mark joins.
pub(super) struct Presence {
    weights: Spine,
}

impl Presence {
    pub(super) fn new(schema: SchemaRef, keys: Vec<usize>) -> Self {
        Self { weights: Spine::new(schema, keys, false) }
    }

    pub(super) fn spine(&self) -> &Spine {
        &self.weights
    }

    /// The rows that came (+1) or went (-1); a row that was and is there is no change.
    pub(super) fn changes(&mut self, epoch: Epoch, fresh: &ChangeBatch, n_read: &mut u64) -> Result<ChangeBatch> {
        let distinct = self.weights.distinct(fresh.rows())?;
        let mut change = vec![0; distinct.run.len()];
        distinct.entry_of.iter().enumerate().for_each(|(row, entry)| change[*entry as usize] += fresh.weight(row));
        let (before, read) = self.weights.row_weights(&distinct.run);
        *n_read += read;
        let presence = |weight: i64| i64::from(weight > 0);
        let came = before.iter().zip(&change).map(|(before, change)| presence(before + change) - presence(*before));
        let came = Int64Array::from_iter_values(came);
        let rows = distinct.run.changes()?.into_parts().0;
        self.weights.insert(epoch, &ChangeBatch::new(rows.clone(), change.into()))?;
        Ok(ChangeBatch::new(rows, came))
    }
}
