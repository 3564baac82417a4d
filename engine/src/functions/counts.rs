//! States of the incremental kernel alone: what DataFusion's own batch aggregates compute exactly already, made invertible.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};

use super::states::{Evaluated, Finish, Rows, Summary};
use crate::Result;

/// How many values were not null.
#[derive(Debug, Clone, Copy, Default)]
pub struct Count(i64);

/// [`Count`] as `bigint`.
#[derive(Debug, Clone, Copy)]
pub struct CountResult;

impl Summary for Count {
    fn update(groups: &mut [Self], argument: &ArrayRef, rows: &Rows<'_>) -> Result<()> {
        let nulls = argument.logical_nulls();
        rows.for_each(nulls.as_ref(), |_, group, weight| groups[group].0 += weight);
        Ok(())
    }
}

impl Finish<Count> for CountResult {
    fn finish(&self, counts: &mut dyn Iterator<Item = &Count>) -> Result<Evaluated> {
        let values = Int64Array::from_iter_values(counts.map(|count| count.0));
        Ok(Evaluated { values: Arc::new(values), errors: vec![] })
    }
}

/// How many truths and falsehoods there were.
#[derive(Debug, Clone, Copy, Default)]
pub struct Truths {
    n_true: i64,
    n_false: i64,
}

/// `bool_and` or `bool_or`.
#[derive(Debug, Clone, Copy)]
pub enum TruthResult {
    /// No value is false.
    All,
    /// A value is true.
    Any,
}

impl Summary for Truths {
    fn update(groups: &mut [Self], argument: &ArrayRef, rows: &Rows<'_>) -> Result<()> {
        let array = argument.as_boolean();
        let values = array.values();
        rows.for_each(array.nulls(), |row, group, weight| match values.value(row) {
            true => groups[group].n_true += weight,
            false => groups[group].n_false += weight,
        });
        Ok(())
    }
}

impl Finish<Truths> for TruthResult {
    fn finish(&self, truths: &mut dyn Iterator<Item = &Truths>) -> Result<Evaluated> {
        let result = |truths: &Truths| match self {
            _ if truths.n_true == 0 && truths.n_false == 0 => None,
            Self::All => Some(truths.n_false == 0),
            Self::Any => Some(truths.n_true != 0),
        };
        let values: BooleanArray = truths.map(result).collect();
        Ok(Evaluated { values: Arc::new(values), errors: vec![] })
    }
}

/// The exclusive or of integers: a value counts as often as its weight is odd.
#[derive(Debug, Clone, Copy, Default)]
pub struct Parity {
    bits: i64,
    n: i64,
}

/// [`Parity`] as a signed integer of this type.
#[derive(Debug, Clone)]
pub struct ParityResult(pub DataType);

impl Summary for Parity {
    fn update(groups: &mut [Self], argument: &ArrayRef, rows: &Rows<'_>) -> Result<()> {
        let argument = cast(argument, &DataType::Int64)?;
        let array = argument.as_primitive::<Int64Type>();
        let values = array.values();
        rows.for_each(array.nulls(), |row, group, weight| {
            groups[group].n += weight;
            groups[group].bits ^= if weight & 1 == 1 { values[row] } else { 0 };
        });
        Ok(())
    }
}

impl Finish<Parity> for ParityResult {
    fn finish(&self, parities: &mut dyn Iterator<Item = &Parity>) -> Result<Evaluated> {
        let values: Int64Array = parities.map(|parity| (parity.n != 0).then_some(parity.bits)).collect();
        Ok(Evaluated { values: cast(&values, &self.0)?, errors: vec![] })
    }
}
