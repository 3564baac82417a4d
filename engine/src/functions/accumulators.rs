//! Our group states behind DataFusion's two accumulator traits.

use std::collections::BTreeMap;
use std::fmt;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, new_empty_array};
use arrow::datatypes::DataType;
use arrow_row::{RowConverter, SortField};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use super::states::{Evaluated, MergeableStates, Rows};
use crate::Error;

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        Self::External(Box::new(error))
    }
}

/// In a batch query a result that cannot be represented fails the query.
fn all_values(evaluated: Evaluated) -> Result<ArrayRef> {
    match evaluated.errors.into_iter().next() {
        Some((_, error)) => Err(error.into()),
        None => Ok(evaluated.values),
    }
}

/// One group: also for window frames, which retract.
#[derive(Debug)]
pub struct ExactAccumulator {
    states: Box<dyn MergeableStates>,
    zeros: Vec<usize>,
    minus_ones: Vec<i64>,
}

impl ExactAccumulator {
    /// Over fresh states.
    pub fn new(mut states: Box<dyn MergeableStates>) -> Self {
        states.resize(1);
        Self { states, zeros: Vec::new(), minus_ones: Vec::new() }
    }

    fn update(&mut self, values: &ArrayRef, retract: bool) -> Result<()> {
        self.zeros.resize(values.len(), 0);
        self.minus_ones.resize(if retract { values.len() } else { 0 }, -1);
        let weights = retract.then_some(self.minus_ones.as_slice());
        Ok(self.states.update(values, &Rows::new(&self.zeros, weights, None))?)
    }
}

impl Accumulator for ExactAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.update(&values[0], false)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.update(&values[0], true)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::try_from_array(&all_values(self.states.evaluate(&[0])?)?, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.states.state(0..1)?.iter().map(|column| ScalarValue::try_from_array(column, 0)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.zeros.resize(states[0].len(), 0);
        Ok(self.states.merge(states, &self.zeros)?)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.states.n_bytes() + 16 * self.zeros.capacity()
    }
}

/// One group of distinct values: each value with the number of its rows, so that window frames can retract.
pub struct DistinctAccumulator {
    states: Box<dyn MergeableStates>,
    data_type: DataType,
    converter: RowConverter,
    counts: BTreeMap<Box<[u8]>, i64>,
}

impl fmt::Debug for DistinctAccumulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DistinctAccumulator").field("states", &self.states).field("n_values", &self.counts.len()).finish()
    }
}

impl DistinctAccumulator {
    /// Feeds each distinct value of this type once to `states`.
    pub fn new(states: Box<dyn MergeableStates>, data_type: &DataType) -> Result<Self> {
        let converter = RowConverter::new(vec![SortField::new(data_type.clone())])?;
        Ok(Self { states, data_type: data_type.clone(), converter, counts: BTreeMap::new() })
    }

    fn count(&mut self, values: &ArrayRef, weight: i64) -> Result<()> {
        let rows = self.converter.convert_columns(std::slice::from_ref(values))?;
        for (index, row) in rows.iter().enumerate() {
            if values.is_null(index) {
                continue;
            }
            let count = self.counts.entry(row.as_ref().into()).or_default();
            *count += weight;
            if *count == 0 {
                self.counts.remove(row.as_ref());
            }
        }
        Ok(())
    }

    fn values(&self) -> Result<ArrayRef> {
        if self.counts.is_empty() {
            return Ok(new_empty_array(&self.data_type));
        }
        let parser = self.converter.parser();
        Ok(self.converter.convert_rows(self.counts.keys().map(|key| parser.parse(key)))?.remove(0))
    }
}

impl Accumulator for DistinctAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.count(&values[0], 1)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.count(&values[0], -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let values = self.values()?;
        self.states.resize(1);
        self.states.clear(0);
        self.states.update(&values, &Rows::new(&vec![0; values.len()], None, None))?;
        ScalarValue::try_from_array(&all_values(self.states.evaluate(&[0])?)?, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = self.values()?;
        let values = (0..values.len()).map(|index| ScalarValue::try_from_array(&values, index)).collect::<Result<Vec<_>>>()?;
        Ok(vec![ScalarValue::List(ScalarValue::new_list_nullable(&values, &self.data_type))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for values in states[0].as_list::<i32>().iter().flatten() {
            self.count(&values, 1)?;
        }
        Ok(())
    }

    fn size(&self) -> usize {
        let sample: usize = self.counts.keys().take(16).map(|key| key.len() + 40).sum();
        size_of_val(self) + sample * self.counts.len() / self.counts.len().clamp(1, 16) + self.converter.size()
    }
}

/// All groups of a batch query.
pub struct ExactGroupsAccumulator {
    fresh: Box<dyn Fn() -> Box<dyn MergeableStates> + Send + Sync>,
    states: Box<dyn MergeableStates>,
    n_groups: usize,
}

impl ExactGroupsAccumulator {
    /// Over states that `fresh` makes.
    pub fn new(fresh: impl Fn() -> Box<dyn MergeableStates> + Send + Sync + 'static) -> Self {
        let states = fresh();
        Self { fresh: Box::new(fresh), states, n_groups: 0 }
    }

    fn resize(&mut self, n_groups: usize) {
        self.n_groups = self.n_groups.max(n_groups);
        self.states.resize(self.n_groups);
    }

    fn n_emitted(&self, emit_to: EmitTo) -> usize {
        match emit_to {
            EmitTo::All => self.n_groups,
            EmitTo::First(n) => n,
        }
    }

    fn drop_first(&mut self, n_groups: usize) {
        self.states.drop_first(n_groups);
        self.n_groups -= n_groups;
    }
}

impl GroupsAccumulator for ExactGroupsAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>, n_groups: usize) -> Result<()> {
        self.resize(n_groups);
        Ok(self.states.update(&values[0], &Rows::new(groups, None, filter))?)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let n_groups = self.n_emitted(emit_to);
        let values = all_values(self.states.evaluate(&(0..n_groups).collect::<Vec<_>>())?)?;
        self.drop_first(n_groups);
        Ok(values)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let n_groups = self.n_emitted(emit_to);
        let state = self.states.state(0..n_groups)?;
        self.drop_first(n_groups);
        Ok(state)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], n_groups: usize) -> Result<()> {
        self.resize(n_groups);
        Ok(self.states.merge(values, groups)?)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let n_rows = values[0].len();
        let mut states = (self.fresh)();
        states.resize(n_rows);
        states.update(&values[0], &Rows::new(&(0..n_rows).collect::<Vec<_>>(), None, filter))?;
        Ok(states.state(0..n_rows)?)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.states.n_bytes()
    }
}
