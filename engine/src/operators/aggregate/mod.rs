//! GROUP BY: per group the state of each aggregate, and per step the difference between the old and the new row of each
//! touched group.
//!
//! - [`super::keys`] turns key values into dense group numbers, [`calls`] decides how each aggregate is kept.
//! - Invertible aggregates are columns of states; [`multiset`] keeps all values for min and max under deletions; [`distinct`]
//!   counts values; [`reevaluated`] keeps the rows of everything else.
//!
//! Guaranteed: at most one retraction and one insertion per group and step, and none where the row did not change. A group is
//! there while the weights of its rows sum to more than zero. A group whose result cannot be represented (`bigint out of
//! range`) is in the errors, and not in the output, until it can. Not kept: the rows last emitted; they are evaluated again
//! from the state before it changes.

mod calls;
mod distinct;

mod multiset;
mod reevaluated;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array, make_comparator};
use arrow::compute::kernels::cmp::distinct as is_distinct;
use arrow::compute::{SortOptions, take};
use arrow::datatypes::{Field, Schema, SchemaRef};

use self::calls::{CallState, call_states};

use super::evaluate::row_json;
use super::keys::KeyTable;
use super::{Kernel, Output, StateSize, error_change};
use crate::{ChangeBatch, Epoch, Error, Result, plan};

/// The kernel of [`plan::Aggregate`].
pub struct AggregateKernel {
    key_columns: Vec<usize>,
    /// `None` where there are no keys: group 0 is then always there.
    keys: Option<KeyTable>,
    /// The sum of the weights of each group's rows.
    n_rows: Vec<i64>,
    calls: Vec<Box<dyn CallState>>,
    names: Vec<String>,
    schema: SchemaRef,
    /// The step in which a group was last touched, so that each is listed once.
    touched_in: Vec<u64>,
    n_steps: u64,
}

/// The rows of the touched groups at one moment; positions are those in the list of touched groups.
struct Snapshot {
    /// Which groups are there.
    present: Vec<bool>,
    /// A column per aggregate, in output order; none where no group is there.
    values: Vec<ArrayRef>,
    /// The first aggregate that failed, and why, by position.
    errors: BTreeMap<usize, (usize, Error)>,
}

impl AggregateKernel {
    /// For a node of a plan. `append_only_input` promises that no weight is ever negative, which makes min and max cheap.
    pub fn new(aggregate: &plan::Aggregate, append_only_input: bool) -> Result<Self> {
        let input = &aggregate.input.schema;
        let keys = aggregate.keys.iter().map(|key| input.field(*key).clone());
        let calls = aggregate.aggregates.iter().map(|call| Field::clone(&call.expression.field()).with_name(&call.name));
        let schema = Arc::new(Schema::new(keys.chain(calls).collect::<Vec<_>>()));
        Self::with_schema(aggregate, append_only_input, schema)
    }

    /// With the output schema of the plan's node: names and types of the keys, then of the aggregates.
    pub fn with_schema(aggregate: &plan::Aggregate, append_only_input: bool, schema: SchemaRef) -> Result<Self> {
        let input = &aggregate.input.schema;
        assert_eq!(schema.fields().len(), aggregate.keys.len() + aggregate.aggregates.len(), "a column per key and aggregate");
        let types: Vec<_> = aggregate.keys.iter().map(|key| input.field(*key).data_type().clone()).collect();
        let mut kernel = Self {
            key_columns: aggregate.keys.clone(),
            keys: if types.is_empty() { None } else { Some(KeyTable::new(&types)?) },
            n_rows: Vec::new(),
            calls: call_states(&aggregate.aggregates, input, append_only_input)?,
            names: aggregate.aggregates.iter().map(|call| call.name.clone()).collect(),
            schema,
            touched_in: Vec::new(),
            n_steps: 0,
        };
        if kernel.keys.is_none() {
            kernel.resize(1);
        }
        Ok(kernel)
    }

    /// The row over an empty input, where there are no keys. One worker's driver emits it at the first epoch, before any step.
    pub fn initial_output(&self) -> Result<Option<ChangeBatch>> {
        if self.keys.is_some() {
            return Ok(None);
        }
        let values = self.snapshot(&[0])?.values;
        Ok(Some(ChangeBatch::inserts(self.batch(values, 1)?)))
    }

    /// Group numbers per row of each batch.
    fn groups_of(&mut self, batches: &[ChangeBatch]) -> Result<Vec<Vec<usize>>> {
        let mut groups = Vec::with_capacity(batches.len());
        for batch in batches {
            let mut numbers = Vec::new();
            match &mut self.keys {
                None => numbers.resize(batch.len(), 0),
                Some(keys) => {
                    let columns: Vec<ArrayRef> = self.key_columns.iter().map(|column| batch.column(*column).clone()).collect();
                    keys.intern(&columns, &mut numbers)?;
                }
            }
            groups.push(numbers);
        }
        self.resize(self.keys.as_ref().map_or(1, KeyTable::n_slots));
        Ok(groups)
    }

    fn resize(&mut self, n_groups: usize) {
        self.n_rows.resize(n_groups, 0);
        self.touched_in.resize(n_groups, 0);
        self.calls.iter_mut().for_each(|call| call.resize(n_groups));
    }

    /// Each group once, in order of first appearance.
    fn touched(&mut self, groups: &[Vec<usize>]) -> Vec<usize> {
        self.n_steps += 1;
        let mut touched = Vec::new();
        for group in groups.iter().flatten() {
            if self.touched_in[*group] != self.n_steps {
                self.touched_in[*group] = self.n_steps;
                touched.push(*group);
            }
        }
        touched
    }

    fn is_present(&self, group: usize) -> bool {
        self.keys.is_none() || self.n_rows[group] > 0
    }

    fn snapshot(&self, groups: &[usize]) -> Result<Snapshot> {
        let present: Vec<bool> = groups.iter().map(|group| self.is_present(*group)).collect();
        let mut errors: BTreeMap<usize, (usize, Error)> = BTreeMap::new();
        if !present.contains(&true) {
            return Ok(Snapshot { present, values: vec![], errors });
        }
        let mut values: Vec<Option<ArrayRef>> = vec![None; self.names.len()];
        for call in &self.calls {
            for (output, evaluated) in call.outputs().iter().zip(call.evaluate(groups)?) {
                for (position, error) in evaluated.errors {
                    if present[position] && errors.get(&position).is_none_or(|(first, _)| output < first) {
                        errors.insert(position, (*output, error));
                    }
                }
                values[*output] = Some(self.as_declared(*output, evaluated.values)?);
            }
        }
        let values = values.into_iter().map(|column| column.expect("each aggregate is kept by one state")).collect();
        Ok(Snapshot { present, values, errors })
    }

    fn as_declared(&self, output: usize, column: ArrayRef) -> Result<ArrayRef> {
        let declared = self.schema.field(self.key_columns.len() + output).data_type();
        match column.data_type() == declared {
            true => Ok(column),
            false => Ok(arrow::compute::cast(&column, declared)?),
        }
    }

    fn apply(&mut self, batches: &[ChangeBatch], groups: &[Vec<usize>], touched: &[usize]) -> Result<u64> {
        for (batch, groups) in batches.iter().zip(groups) {
            match batch.weights() {
                Some(weights) => groups.iter().zip(weights.values()).for_each(|(group, weight)| self.n_rows[*group] += weight),
                None => groups.iter().for_each(|group| self.n_rows[*group] += 1),
            }
            self.calls.iter_mut().try_for_each(|call| call.update(batch, groups))?;
        }
        self.calls.iter_mut().map(|call| call.refresh(touched)).sum()
    }

    /// Emits what differs between two moments.
    fn emit(&self, touched: &[usize], before: &Snapshot, after: &Snapshot, out: &mut Output) -> Result<()> {
        let changed = changed_rows(before, after)?;
        let positions = |snapshot: &Snapshot| -> Vec<u32> {
            let emitted = |position: &u32| {
                let position = *position as usize;
                changed[position] && snapshot.has_row(position)
            };
            (0..touched.len() as u32).filter(emitted).collect()
        };
        let (old, new) = (positions(before), positions(after));
        if !old.is_empty() || !new.is_empty() {
            let weights = std::iter::repeat_n(-1, old.len()).chain(std::iter::repeat_n(1, new.len())).collect::<Vec<i64>>();
            let groups: Vec<usize> = old.iter().chain(&new).map(|position| touched[*position as usize]).collect();
            let rows = self.rows_of(&groups, before, &old, after, &new)?;
            let weights = (!old.is_empty()).then(|| weights.into());
            out.changes.push(ChangeBatch::with_weights(rows, weights));
        }
        self.emit_errors(touched, before, after, out)
    }

    fn rows_of(&self, groups: &[usize], before: &Snapshot, old: &[u32], after: &Snapshot, new: &[u32]) -> Result<RecordBatch> {
        let (old, new) = (UInt32Array::from(old.to_vec()), UInt32Array::from(new.to_vec()));
        let mut columns = self.key_values(groups)?;
        for index in 0..self.names.len() {
            let column = match (old.is_empty(), new.is_empty()) {
                (true, _) => take(&after.values[index], &new, None)?,
                (_, true) => take(&before.values[index], &old, None)?,
                _ => arrow::compute::concat(&[&take(&before.values[index], &old, None)?, &take(&after.values[index], &new, None)?])?,
            };
            columns.push(column);
        }
        self.batch(columns, groups.len())
    }

    fn emit_errors(&self, touched: &[usize], before: &Snapshot, after: &Snapshot, out: &mut Output) -> Result<()> {
        let positions: BTreeSet<usize> = before.errors.keys().chain(after.errors.keys()).copied().collect();
        for position in positions {
            let (group, old, new) = (touched[position], before.errors.get(&position), after.errors.get(&position));
            if old == new {
                continue;
            }
            let key = Arc::new(self.schema.project(&(0..self.key_columns.len()).collect::<Vec<_>>())?);
            let options = RecordBatchOptions::new().with_row_count(Some(1));
            let key = row_json(&RecordBatch::try_new_with_options(key, self.key_values(&[group])?, &options)?, 0);
            for (error, weight) in [(old, -1), (new, 1)] {
                if let Some((output, error)) = error {
                    out.errors.push(error_change(&self.names[*output], error, &key, weight));
                }
            }
        }
        Ok(())
    }

    fn key_values(&self, groups: &[usize]) -> Result<Vec<ArrayRef>> {
        match &self.keys {
            Some(keys) if !groups.is_empty() => keys.columns(groups),
            _ => Ok(vec![]),
        }
    }

    fn batch(&self, columns: Vec<ArrayRef>, n_rows: usize) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }

    /// Gives the numbers of groups without rows back.
    fn drop_dead(&mut self, touched: &[usize]) {
        let Some(keys) = &mut self.keys else { return };
        for group in touched {
            if self.n_rows[*group] == 0 {
                keys.remove(*group);
                self.calls.iter_mut().for_each(|call| call.clear(*group));
            }
        }
    }
}

impl Snapshot {
    fn has_row(&self, position: usize) -> bool {
        self.present[position] && !self.errors.contains_key(&position)
    }
}

/// True where the row of a group came, went or is another.
fn changed_rows(before: &Snapshot, after: &Snapshot) -> Result<Vec<bool>> {
    let mut changed: Vec<bool> = (0..before.present.len()).map(|row| before.has_row(row) != after.has_row(row)).collect();
    // Where one of them has no values, no group was there before, or none is now.
    if !before.values.is_empty() && !after.values.is_empty() {
        for (old, new) in before.values.iter().zip(&after.values) {
            let differs = differs(old, new)?;
            changed.iter_mut().zip(differs.values()).for_each(|(changed, differs)| *changed |= differs);
        }
    }
    Ok(changed)
}

/// Row by row: null equals null, and floats are compared by their bits.
fn differs(left: &ArrayRef, right: &ArrayRef) -> Result<BooleanArray> {
    if !left.data_type().is_nested() {
        return Ok(is_distinct(left, right)?);
    }
    let compare = make_comparator(left, right, SortOptions::default())?;
    Ok((0..left.len()).map(|row| Some(compare(row, row).is_ne())).collect())
}

impl Kernel for AggregateKernel {
    fn step(&mut self, _epoch: Epoch, inputs: Vec<Vec<ChangeBatch>>, out: &mut Output) -> Result<()> {
        let batches: Vec<ChangeBatch> = inputs.into_iter().flatten().filter(|batch| !batch.is_empty()).collect();
        let groups = self.groups_of(&batches)?;
        let touched = self.touched(&groups);
        if touched.is_empty() {
            return Ok(());
        }
        let before = self.snapshot(&touched)?;
        let n_known = before.present.iter().filter(|present| **present).count();
        let n_read = self.apply(&batches, &groups, &touched)?;
        let after = self.snapshot(&touched)?;
        self.emit(&touched, &before, &after, out)?;
        self.drop_dead(&touched);
        out.n_state_rows_read += n_known as u64 + n_read;
        Ok(())
    }

    fn state_size(&self) -> StateSize {
        let groups = (self.n_rows.capacity() + self.touched_in.capacity()) * 8;
        let keys = self.keys.as_ref().map_or(0, KeyTable::n_bytes);
        let n_groups = self.keys.as_ref().map_or(1, KeyTable::len);
        let calls = self.calls.iter().map(|call| call.state_size());
        let start = StateSize { n_rows: n_groups as u64, n_bytes: (groups + keys) as u64 };
        calls.fold(start, |sum, size| StateSize { n_rows: sum.n_rows + size.n_rows, n_bytes: sum.n_bytes + size.n_bytes })
    }
}
