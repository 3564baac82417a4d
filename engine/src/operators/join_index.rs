//! The rows of a join's side where their relation keeps them by the join's keys, as of an epoch.

use std::sync::Arc;

use arrow::array::ArrayRef;

use crate::published::Published;
use crate::state::equality::Location;
use crate::state::spine::Spine;
use crate::{Epoch, Error, Result};

/// A relation's rows on this worker, in which a join finds those of a key.
///
/// Whoever asks for an epoch holds it: the worker keeps those apart at which a dataflow that looks rows up still is.
pub struct Index {
    port: Arc<Published>,
    columns: Vec<usize>,
    rows: Option<Spine>,
}

/// What is known of a side: the rows, and where their columns are.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) spine: &'a Spine,
    columns: Option<&'a [usize]>,
}

impl Index {
    /// Of the relation that publishes at `port`; the side has `columns` of it.
    pub fn new(port: Arc<Published>, columns: Vec<usize>) -> Self {
        Self { port, columns, rows: None }
    }

    /// Whether the rows at the end of `epoch` are there.
    pub(super) fn has_closed(&self, epoch: Epoch) -> bool {
        self.port.has_closed(epoch)
    }

    /// Takes the rows as they were at the end of `epoch`.
    pub(super) fn look_at(&mut self, epoch: Epoch) -> Result<()> {
        let rows = self.port.snapshot_at(epoch).and_then(crate::state::history::Snapshot::into_spine);
        self.rows = Some(rows.ok_or_else(|| Error::internal(format!("the rows that a join looks up are not there at epoch {epoch}")))?);
        Ok(())
    }

    /// Lets go of the rows, which are kept in memory by whoever looks at them.
    pub(super) fn look_away(&mut self) {
        self.rows = None;
    }

    pub(super) fn known(&self) -> Known<'_> {
        Known { spine: self.rows.as_ref().expect("a step begins with a look"), columns: Some(&self.columns) }
    }
}

impl<'a> Known<'a> {
    /// All columns of a spine.
    pub(super) fn of(spine: &'a Spine) -> Self {
        Self { spine, columns: None }
    }

    /// The side's `columns` of the rows at `locations`.
    pub(super) fn gather(&self, locations: &[Location], columns: &[usize]) -> Result<Vec<ArrayRef>> {
        match self.columns {
            None => self.spine.gather_arrays(locations, columns),
            Some(of_relation) => {
                let columns: Vec<usize> = columns.iter().map(|column| of_relation[*column]).collect();
                self.spine.gather_arrays(locations, &columns)
            }
        }
    }
}
