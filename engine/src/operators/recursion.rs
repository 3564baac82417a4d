//! `WITH RECURSIVE`: rows by round. Those of the first term are of round 0, and what the step makes of the rows of round `n` is of
//! round `n + 1`: `rows = first@0 + step(rows)@+1`. With UNION a row is there once, in the first of its rounds ([`first_rounds`]).
//!
//! Rows of a round depend on those of the round before alone, so this has one solution, and changes that are settled in the order of
//! rounds lead from the old one to the new: when a round's turn comes, all that is to come into it has come. That holds for deletions
//! and in cycles as well, where counting derivations would not.
//!
//! **State.** What the step's operators keep, of all rounds at once, and of its other inputs once; with UNION each row with its rounds.
//!
//! **Cost.** A change costs what it changes in the step's operators, round by round. All of it happens in one step of the kernel, on one
//! worker: the next round needs what all have made of the last.
//!
//! **Bounds.** A recursion need not end. One that is deeper than [`MAX_ROUNDS`], or of whose rows more than [`MAX_ROWS`] change at once,
//! fails its view.

mod first_rounds;
mod step;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::datatypes::{Int64Type, SchemaRef};

use self::first_rounds::FirstRounds;
use self::step::Step;
use super::graph::NextMetrics;
use super::{Kernel, Output, StateSize};
use crate::error::sqlstate;
use crate::plan::{Recursion, with_round};
use crate::state::consolidate::consolidate;
use crate::{ChangeBatch, Epoch, Error, Result};

/// Rounds at most. One in which little changes takes some ten microseconds, so a recursion without an end holds its worker up for some
/// seconds before it fails; a chain of this many rows can still be followed to its end.
pub const MAX_ROUNDS: i64 = 100_000;

/// Changes of rows at most, over all rounds of one step, copies included: a recursion whose rows multiply fails at about three gigabytes.
pub const MAX_ROWS: u64 = 1 << 23;

/// Rows of a batch that is passed on.
const PIECE_ROWS: usize = 65_536;

/// The kernel; see the file's head.
pub struct RecursionKernel {
    schema: SchemaRef,
    /// The rows of the step's input 0: those of `schema` with their round.
    with_round: SchemaRef,
    step: Step,
    /// For UNION.
    first_rounds: Option<FirstRounds>,
    max_rounds: i64,
    max_rows: u64,
}

/// What is still to come into each round.
#[derive(Default)]
struct Pending(BTreeMap<i64, Vec<ChangeBatch>>);

impl RecursionKernel {
    /// The kernel of a planned recursion; the operators of its step take the next of `metrics`.
    pub fn new(recursion: &Recursion, schema: SchemaRef, metrics: &mut NextMetrics<'_>) -> Result<Self> {
        Ok(Self {
            step: Step::new(&recursion.step, metrics)?,
            with_round: with_round(&schema),
            first_rounds: if recursion.is_distinct { Some(FirstRounds::new(&schema)?) } else { None },
            schema,
            max_rounds: MAX_ROUNDS,
            max_rows: MAX_ROWS,
        })
    }

    #[cfg(test)]
    fn n_state_rows_read_by_step(&self) -> u64 {
        self.step.n_state_rows_read()
    }

    /// What changes among the rows of a round now that all changes that come into it are known.
    fn settle(&mut self, round: i64, changes: &[ChangeBatch], out: &mut Output) -> Result<ChangeBatch> {
        match &mut self.first_rounds {
            Some(first_rounds) => first_rounds.settle(round, changes, &mut out.n_state_rows_read),
            None => summed(&self.schema, changes),
        }
    }

    /// What changes among the rows of all rounds, given what has changed in each.
    fn result(&mut self, of_rounds: &[ChangeBatch], out: &mut Output) -> Result<()> {
        let changes = match &mut self.first_rounds {
            Some(first_rounds) => first_rounds.finish()?,
            None if of_rounds.is_empty() => return Ok(()),
            // Rows go from round to round: rounds together may have fewer changes than each for itself.
            None => summed(&self.schema, of_rounds)?,
        };
        let n_rows = changes.len();
        out.changes.extend((0..n_rows).step_by(PIECE_ROWS).map(|start| changes.slice(start, PIECE_ROWS.min(n_rows - start))));
        Ok(())
    }

    /// The rows as the step reads them.
    fn of_round(&self, round: i64, changes: &ChangeBatch) -> Result<ChangeBatch> {
        let rounds: ArrayRef = std::sync::Arc::new(Int64Array::from(vec![round; changes.len()]));
        let columns = changes.rows().columns().iter().cloned().chain([rounds]).collect();
        Ok(changes.with_rows(RecordBatch::try_new(self.with_round.clone(), columns)?))
    }

    fn check_bounds(&self, round: i64, n_rows: u64) -> Result<()> {
        let detail = match () {
            () if round > self.max_rounds => format!("It has not ended after {} rounds.", self.max_rounds),
            () if n_rows > self.max_rows => format!("In round {round} more than {} of its rows have changed at once.", self.max_rows),
            () => return Ok(()),
        };
        let error = Error::new(sqlstate::LIMIT_EXCEEDED, "a recursion goes on for too long").with_detail(detail);
        Err(error.with_hint("UNION in place of UNION ALL ends in cycles; otherwise bound it, for instance by a column that counts rounds"))
    }
}

impl Kernel for RecursionKernel {
    /// One that fails is not stepped again, and keeps nothing.
    fn step(&mut self, epoch: Epoch, inputs: Vec<Vec<ChangeBatch>>, out: &mut Output) -> Result<()> {
        let result = self.follow(epoch, inputs, out);
        if result.is_err() {
            self.step.forget();
            self.first_rounds = None;
        }
        result
    }

    fn state_size(&self) -> StateSize {
        self.first_rounds.as_ref().map_or_else(StateSize::default, FirstRounds::state_size)
    }
}

impl RecursionKernel {
    /// Follows changes of the inputs from round to round.
    fn follow(&mut self, epoch: Epoch, inputs: Vec<Vec<ChangeBatch>>, out: &mut Output) -> Result<()> {
        let mut given = inputs;
        let mut pending = Pending::default();
        pending.add(0, std::mem::take(&mut given[0]));
        // What changes beside the recursion meets the rows of all rounds as they were.
        pending.add_next(self.step.run(epoch, given, out)?)?;
        let (mut n_rows, mut of_rounds) = (0, Vec::new());
        while let Some(round) = self.next_round(&pending) {
            let changes = pending.0.remove(&round).unwrap_or_default();
            let settled = self.settle(round, &changes, out)?;
            if settled.is_empty() {
                continue;
            }
            n_rows = copies(&settled).fold(n_rows, u64::saturating_add);
            self.check_bounds(round, n_rows)?;
            let rows = self.of_round(round, &settled)?;
            if self.first_rounds.is_none() {
                of_rounds.push(settled);
            }
            pending.add_next(self.step.run(epoch, vec![vec![rows]], out)?)?;
        }
        self.result(&of_rounds, out)
    }

    /// The first round that something is to come into, or whose rows must be looked at again.
    fn next_round(&self, pending: &Pending) -> Option<i64> {
        let looked_at = self.first_rounds.as_ref().and_then(FirstRounds::next_round);
        pending.0.first_key_value().map(|(round, _)| *round).into_iter().chain(looked_at).min()
    }
}

impl Pending {
    fn add(&mut self, round: i64, changes: impl IntoIterator<Item = ChangeBatch>) {
        let changes: Vec<ChangeBatch> = changes.into_iter().filter(|batch| !batch.is_empty()).collect();
        if !changes.is_empty() {
            self.0.entry(round).or_default().extend(changes);
        }
    }

    /// What the step made of rows comes into the round after theirs.
    fn add_next(&mut self, made: Vec<ChangeBatch>) -> Result<()> {
        for batch in made {
            let n_columns = batch.rows().num_columns() - 1;
            let rounds = batch.column(n_columns).as_primitive::<Int64Type>().clone();
            let rows = batch.with_rows(batch.rows().project(&(0..n_columns).collect::<Vec<_>>())?);
            let Some(first) = rounds.values().first().copied() else { continue };
            if rounds.values().iter().all(|round| *round == first) {
                self.add(first + 1, [rows]);
                continue;
            }
            let mut of_round: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
            for (row, round) in rounds.values().iter().enumerate() {
                of_round.entry(*round).or_default().push(row as u32);
            }
            for (round, of_round) in of_round {
                self.add(round + 1, [rows.take(&UInt32Array::from(of_round))?]);
            }
        }
        Ok(())
    }
}

/// How often each row comes or goes.
fn copies(changes: &ChangeBatch) -> impl Iterator<Item = u64> {
    (0..changes.len()).map(|row| changes.weight(row).unsigned_abs())
}

/// The sum of changes; where nothing can cancel, as they are.
fn summed(schema: &SchemaRef, changes: &[ChangeBatch]) -> Result<ChangeBatch> {
    if changes.iter().all(|batch| batch.weights().is_none()) {
        let named = |batch: &ChangeBatch| Ok(batch.with_rows(RecordBatch::try_new(schema.clone(), batch.rows().columns().to_vec())?));
        return ChangeBatch::concat(schema, &changes.iter().map(named).collect::<Result<Vec<_>>>()?);
    }
    consolidate(schema, changes)
}
