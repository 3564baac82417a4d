//! DISTINCT aggregates: how often each (group, value) is there, per filter. Only when a value comes or goes does the aggregate
//! behind it hear of it. All DISTINCT aggregates over one argument share a table, whatever their filters.

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use arrow::datatypes::DataType;

use super::calls::CallState;
use crate::functions::states::{Evaluated, GroupStates, Rows, true_rows};
use crate::operators::StateSize;
use crate::operators::keys::KeyTable;
use crate::{ChangeBatch, Result};

/// All DISTINCT aggregates over one argument.
pub(super) struct DistinctCalls {
    outputs: Vec<usize>,
    argument: usize,
    /// The different filters; count `f` of a value counts the rows that pass filter `f`.
    filters: Vec<Option<usize>>,
    /// Of each aggregate: its filter's index, and what it keeps.
    calls: Vec<(usize, Box<dyn GroupStates>)>,
    values: KeyTable,
    /// `counts[value · n_filters + f]`.
    counts: Vec<i64>,
    /// Values whose counts a step changed to zero, to be dropped when it ends.
    vanished: Vec<usize>,
}

/// The rows of a batch at which a value came (+1) or went (-1), for one filter.
#[derive(Default)]
struct Transitions {
    rows: Vec<u32>,
    groups: Vec<usize>,
    weights: Vec<i64>,
}

impl DistinctCalls {
    /// Adds an aggregate to the table of its argument, made where there is none. At most 64 filters share a table.
    pub fn add(
        tables: &mut Vec<Self>,
        output: usize,
        argument: usize,
        data_type: &DataType,
        filter: Option<usize>,
        states: Box<dyn GroupStates>,
    ) -> Result<()> {
        let known = tables.iter_mut().find(|table| table.argument == argument && table.filters.len() < 64);
        let table = match known {
            Some(table) => table,
            None => {
                let values = KeyTable::new(&[DataType::UInt32, data_type.clone()])?;
                let (outputs, filters, calls, counts, vanished) = (vec![], vec![], vec![], vec![], vec![]);
                tables.push(Self { outputs, argument, filters, calls, values, counts, vanished });
                tables.last_mut().expect("it was pushed just now")
            }
        };
        let index = table.filters.iter().position(|known| *known == filter).unwrap_or_else(|| {
            table.filters.push(filter);
            table.filters.len() - 1
        });
        table.outputs.push(output);
        table.calls.push((index, states));
        Ok(())
    }

    /// Bit `f` of a row's mask says that it passes filter `f`; rows with a null argument pass none.
    fn masks(&self, batch: &ChangeBatch, nulls: Option<&NullBuffer>) -> Vec<u64> {
        let unfiltered = self.filters.iter().position(Option::is_none).map_or(0, |index| 1_u64 << index);
        let mut masks = vec![unfiltered; batch.len()];
        for (index, filter) in self.filters.iter().enumerate() {
            if let Some(filter) = filter {
                let passing = true_rows(batch.column(*filter).as_boolean());
                passing.inner().set_indices().for_each(|row| masks[row] |= 1 << index);
            }
        }
        if let Some(nulls) = nulls {
            (0..batch.len()).filter(|row| nulls.is_null(*row)).for_each(|row| masks[row] = 0);
        }
        masks
    }

    /// The rows that pass a filter, with their groups: others need no place in the table.
    fn counted_rows(masks: &[u64]) -> Option<UInt32Array> {
        let n_counted = masks.iter().filter(|mask| **mask != 0).count();
        (n_counted < masks.len()).then(|| (0..masks.len() as u32).filter(|row| masks[*row as usize] != 0).collect())
    }

    fn count(&mut self, row: usize, place: (usize, usize), mask: u64, weight: i64, transitions: &mut [Transitions]) {
        let (group, value) = place;
        let n_filters = self.filters.len();
        let counts = &mut self.counts[value * n_filters..(value + 1) * n_filters];
        let (mut rest, mut reached_zero) = (mask, false);
        while rest != 0 {
            let filter = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            let before = counts[filter];
            counts[filter] = before + weight;
            reached_zero |= counts[filter] == 0;
            if (before > 0) != (counts[filter] > 0) {
                transitions[filter].rows.push(row as u32);
                transitions[filter].groups.push(group);
                transitions[filter].weights.push(if before > 0 { -1 } else { 1 });
            }
        }
        if reached_zero && counts.iter().all(|count| *count == 0) {
            self.vanished.push(value);
        }
    }
}

impl CallState for DistinctCalls {
    fn resize(&mut self, n_groups: usize) {
        self.calls.iter_mut().for_each(|(_, states)| states.resize(n_groups));
    }

    fn update(&mut self, batch: &ChangeBatch, groups: &[usize]) -> Result<()> {
        let argument = batch.column(self.argument);
        let masks = self.masks(batch, argument.logical_nulls().as_ref());
        let counted = Self::counted_rows(&masks);
        let group_column: ArrayRef = std::sync::Arc::new(UInt32Array::from_iter_values(groups.iter().map(|group| *group as u32)));
        let columns = match &counted {
            Some(rows) => [take(&group_column, rows, None)?, take(argument, rows, None)?],
            None => [group_column, argument.clone()],
        };
        let mut values = Vec::new();
        self.values.intern(&columns, &mut values)?;
        self.counts.resize(self.values.n_slots() * self.filters.len(), 0);
        let mut transitions: Vec<Transitions> = self.filters.iter().map(|_| Transitions::default()).collect();
        for (position, value) in values.into_iter().enumerate() {
            let row = counted.as_ref().map_or(position, |rows| rows.value(position) as usize);
            self.count(row, (groups[row], value), masks[row], batch.weight(row), &mut transitions);
        }
        let arguments = transitions
            .iter()
            .map(|moved| Ok(take(argument, &UInt32Array::from(moved.rows.clone()), None)?))
            .collect::<Result<Vec<_>>>()?;
        for (filter, states) in &mut self.calls {
            let moved = &transitions[*filter];
            states.update(&arguments[*filter], &Rows::new(&moved.groups, Some(&moved.weights), None))?;
        }
        Ok(())
    }

    fn refresh(&mut self, _touched: &[usize]) -> Result<u64> {
        let n_filters = self.filters.len();
        let mut vanished = std::mem::take(&mut self.vanished);
        vanished.sort_unstable();
        vanished.dedup();
        for value in vanished {
            if self.counts[value * n_filters..(value + 1) * n_filters].iter().all(|count| *count == 0) {
                self.values.remove(value);
            }
        }
        Ok(0)
    }

    fn evaluate(&self, groups: &[usize]) -> Result<Vec<Evaluated>> {
        self.calls.iter().map(|(_, states)| states.evaluate(groups)).collect()
    }

    fn clear(&mut self, group: usize) {
        self.calls.iter_mut().for_each(|(_, states)| states.clear(group));
    }

    fn outputs(&self) -> &[usize] {
        &self.outputs
    }

    fn state_size(&self) -> StateSize {
        let states: usize = self.calls.iter().map(|(_, states)| states.n_bytes()).sum();
        let n_bytes = self.values.n_bytes() + self.counts.capacity() * 8 + states;
        StateSize { n_rows: self.values.len() as u64, n_bytes: n_bytes as u64 }
    }
}
