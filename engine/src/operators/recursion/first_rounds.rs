//! In which rounds each row is made, and which of them it is in: the first.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::operators::StateSize;
use crate::operators::keys::KeyTable;
use crate::{ChangeBatch, Error, Result};

/// The rows, by number.
pub(super) struct FirstRounds {
    schema: SchemaRef,
    keys: KeyTable,
    rows: Vec<Row>,
    n_rounds: u64,
    /// Rows to be looked at again when a round's turn comes.
    later: BTreeMap<i64, Later>,
    /// Rows looked at since the last [`FirstRounds::finish`].
    touched: Vec<usize>,
}

#[derive(Default)]
struct Row {
    /// Ascending, with how often the row is made in each; never zero once its round is settled.
    rounds: Vec<(i64, i64)>,
    /// The round in which the step has it.
    at: Option<i64>,
    /// Whether it was there at the last [`FirstRounds::finish`]; known of rows looked at since.
    was_there: Option<bool>,
}

/// What happens in a later round.
#[derive(Default)]
struct Later {
    /// Rows that have left an earlier round and may be there now.
    perhaps: Vec<usize>,
    /// Rows that have come into an earlier round, and leave this one.
    leaving: Vec<usize>,
}

impl FirstRounds {
    /// Without any rows.
    pub(super) fn new(schema: &SchemaRef) -> Result<Self> {
        let types: Vec<_> = schema.fields().iter().map(|field| field.data_type().clone()).collect();
        Ok(Self {
            schema: schema.clone(),
            keys: KeyTable::new(&types)?,
            rows: Vec::new(),
            n_rounds: 0,
            later: BTreeMap::new(),
            touched: Vec::new(),
        })
    }

    /// The first round whose rows must be looked at again.
    pub(super) fn next_round(&self) -> Option<i64> {
        self.later.first_key_value().map(|(round, _)| *round)
    }

    /// What changes among the rows whose first round this is, given all changes of what is made in it. Rounds come in order.
    pub(super) fn settle(&mut self, round: i64, changes: &[ChangeBatch], n_read: &mut u64) -> Result<ChangeBatch> {
        let Later { perhaps, leaving } = self.later.remove(&round).unwrap_or_default();
        let mut looked_at = perhaps;
        for batch in changes {
            self.count(round, batch, &mut looked_at)?;
        }
        looked_at.sort_unstable();
        looked_at.dedup();
        let mut changed: Vec<(usize, i64)> = leaving.into_iter().map(|row| (row, -1)).collect();
        for row in looked_at {
            *n_read += self.rows[row].rounds.len() as u64;
            changed.extend(self.look_at(row, round)?.map(|weight| (row, weight)));
        }
        self.changes(&changed)
    }

    /// The rows that are there and were not, or the other way round, since the last time. Rows that are made no more are forgotten.
    pub(super) fn finish(&mut self) -> Result<ChangeBatch> {
        let touched = std::mem::take(&mut self.touched);
        let mut changed = Vec::new();
        for number in &touched {
            let row = &mut self.rows[*number];
            let was_there = row.was_there.take().expect("a row that is looked at knows whether it was there");
            if row.at.is_some() != was_there {
                changed.push((*number, if was_there { -1 } else { 1 }));
            }
        }
        let changes = self.changes(&changed)?;
        for row in touched {
            if self.rows[row].rounds.is_empty() {
                self.keys.remove(row);
                self.rows[row] = Row::default();
            }
        }
        Ok(changes)
    }

    /// An entry for each round of each row.
    pub(super) fn state_size(&self) -> StateSize {
        let n_bytes = self.keys.n_bytes() + self.rows.capacity() * size_of::<Row>() + self.n_rounds as usize * size_of::<(i64, i64)>();
        StateSize { n_rows: self.n_rounds, n_bytes: n_bytes as u64 }
    }

    /// Counts how often rows are made in a round.
    fn count(&mut self, round: i64, changes: &ChangeBatch, looked_at: &mut Vec<usize>) -> Result<()> {
        let mut numbers = Vec::with_capacity(changes.len());
        self.keys.intern(changes.rows().columns(), &mut numbers)?;
        self.rows.resize_with(self.keys.n_slots(), Row::default);
        for (index, row) in numbers.into_iter().enumerate() {
            let rounds = &mut self.rows[row].rounds;
            match rounds.binary_search_by_key(&round, |(round, _)| *round) {
                Ok(place) => rounds[place].1 += changes.weight(index),
                Err(place) => {
                    // Most rows are made in one round.
                    if rounds.len() < 4 {
                        rounds.reserve_exact(1);
                    }
                    rounds.insert(place, (round, changes.weight(index)));
                    self.n_rounds += 1;
                }
            }
            looked_at.push(row);
        }
        Ok(())
    }

    /// How the row changes in this round, of which all is known now, as of those before.
    fn look_at(&mut self, number: usize, round: i64) -> Result<Option<i64>> {
        let row = &mut self.rows[number];
        if row.was_there.is_none() {
            row.was_there = Some(row.at.is_some());
            self.touched.push(number);
        }
        if let Ok(place) = row.rounds.binary_search_by_key(&round, |(round, _)| *round) {
            match row.rounds[place].1 {
                0 => {
                    row.rounds.remove(place);
                    self.n_rounds -= 1;
                }
                n if n < 0 => return Err(Error::internal("a row of a recursion was retracted more often than it was made")),
                _ => {}
            }
        }
        let first = row.rounds.first().map(|(round, _)| *round);
        match (row.at, first) {
            (Some(at), _) if at < round => Ok(None),
            (Some(at), Some(first)) if at == first => Ok(None),
            // It comes into this round; where it was later it stays until that round's turn.
            (at, Some(first)) if first == round => {
                row.at = Some(round);
                if let Some(at) = at {
                    self.later.entry(at).or_default().leaving.push(number);
                }
                Ok(Some(1))
            }
            // It is made in later rounds alone, if at all.
            (at, first) if at.is_none() || at == Some(round) => {
                row.at = None;
                if let Some(first) = first {
                    assert!(first > round, "a row that is made in an earlier round is in that");
                    self.later.entry(first).or_default().perhaps.push(number);
                }
                Ok(at.map(|_| -1))
            }
            _ => Ok(None),
        }
    }

    fn changes(&self, changed: &[(usize, i64)]) -> Result<ChangeBatch> {
        if changed.is_empty() {
            return Ok(ChangeBatch::empty(self.schema.clone()));
        }
        let columns = self.keys.columns(&changed.iter().map(|(row, _)| *row).collect::<Vec<_>>())?;
        let rows = RecordBatch::try_new(self.schema.clone(), columns)?;
        let is_inserted = changed.iter().all(|(_, weight)| *weight == 1);
        let weights = (!is_inserted).then(|| changed.iter().map(|(_, weight)| *weight).collect::<Vec<_>>().into());
        Ok(ChangeBatch::with_weights(rows, weights))
    }
}
