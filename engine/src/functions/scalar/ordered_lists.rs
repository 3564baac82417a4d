//! What `percentile_disc`, `mode` and a `percentile_cont` of several fractions make of the sorted list of a group's values, which
//! has no nulls: these are `array_agg` below such a function ([`crate::plan::meaning`]).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray, UInt32Array, new_empty_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{cast, concat, partition, take};
use arrow::datatypes::{DataType, Field, Float64Type};
use datafusion::common::{DataFusionError, Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use crate::Error;
use crate::error::sqlstate::NUMERIC_VALUE_OUT_OF_RANGE;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Choice {
    /// The first value that so much of the list is not behind.
    Discrete,
    /// The number at so much of the list, between two values if need be.
    Continuous,
    /// The first of the most frequent ones.
    Mode,
}

/// All of them.
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    [("percentile_disc_of", Choice::Discrete, 2), ("percentile_cont_of", Choice::Continuous, 2), ("mode_of", Choice::Mode, 1)]
        .map(|(name, choice, n_arguments)| Chosen { name, choice, signature: Signature::any(n_arguments, Volatility::Immutable) })
        .map(|function| Arc::new(ScalarUDF::new_from_impl(function)))
        .to_vec()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Chosen {
    name: &'static str,
    choice: Choice,
    signature: Signature,
}

impl ScalarUDFImpl for Chosen {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let item = match (self.choice, &arguments[0]) {
            (Choice::Continuous, _) => DataType::Float64,
            (_, DataType::List(item)) => item.data_type().clone(),
            (_, other) => return exec_err!("{} takes a list, not {other}", self.name),
        };
        Ok(match arguments.get(1) {
            Some(fractions) if is_list(fractions) => list_of(item),
            _ => item,
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = arguments.args.iter().map(|argument| argument.to_array(arguments.number_rows)).collect::<Result<Vec<_>>>()?;
        let lists = match self.choice {
            Choice::Continuous => cast(&arrays[0], &list_of(DataType::Float64))?,
            Choice::Discrete | Choice::Mode => Arc::clone(&arrays[0]),
        };
        let lists = lists.as_list::<i32>();
        let made = match arrays.get(1) {
            None => modes(lists)?,
            Some(fractions) if is_list(fractions.data_type()) => {
                let fractions = cast(fractions, &list_of(DataType::Float64))?;
                self.several(lists, fractions.as_list())?
            }
            Some(fractions) => {
                let fractions = cast(fractions, &DataType::Float64)?;
                let rows = (0..lists.len()).map(|row| self.at_all(lists, row, &fractions.slice(row, 1)));
                joined(&rows.collect::<Result<Vec<_>>>()?, lists.value_type())?
            }
        };
        Ok(ColumnarValue::Array(made))
    }
}

impl Chosen {
    /// A value for each of the fractions of a row.
    fn several(&self, lists: &ListArray, fractions: &ListArray) -> Result<ArrayRef> {
        let is_there = |row| !fractions.is_null(row) && !lists.is_null(row) && !lists.value(row).is_empty();
        let there: Vec<bool> = (0..lists.len()).map(is_there).collect();
        let row = |row: usize| match there[row] {
            true => self.at_all(lists, row, &fractions.value(row)),
            false => Ok(new_empty_array(&lists.value_type())),
        };
        let rows = (0..lists.len()).map(row).collect::<Result<Vec<_>>>()?;
        let offsets = OffsetBuffer::from_lengths(rows.iter().map(|values| values.len()));
        let item = Arc::new(Field::new_list_field(lists.value_type(), true));
        Ok(Arc::new(ListArray::try_new(item, offsets, joined(&rows, lists.value_type())?, Some(NullBuffer::from(there)))?))
    }

    /// The values at each of the fractions in the list of `row`.
    fn at_all(&self, lists: &ListArray, row: usize, fractions: &ArrayRef) -> Result<ArrayRef> {
        let values = if lists.is_null(row) { new_empty_array(&lists.value_type()) } else { lists.value(row) };
        let fractions = fractions.as_primitive::<Float64Type>();
        match self.choice {
            Choice::Continuous => {
                let values = values.as_primitive::<Float64Type>();
                let at = |fraction: Option<f64>| fraction.map_or(Ok(None), |fraction| between(values, fraction));
                Ok(Arc::new(fractions.iter().map(at).collect::<Result<Float64Array>>()?))
            }
            Choice::Discrete | Choice::Mode => {
                let at = |fraction: Option<f64>| fraction.map_or(Ok(None), |fraction| place(values.len(), fraction));
                Ok(take(&values, &fractions.iter().map(at).collect::<Result<UInt32Array>>()?, None)?)
            }
        }
    }
}

/// The place of the first value that `fraction` of them are not behind.
fn place(n_values: usize, fraction: f64) -> Result<Option<u32>> {
    check(fraction)?;
    Ok((n_values > 0).then(|| ((fraction * n_values as f64).ceil() as u32).max(1) - 1))
}

fn between(values: &Float64Array, fraction: f64) -> Result<Option<f64>> {
    check(fraction)?;
    let Some(last) = values.len().checked_sub(1) else { return Ok(None) };
    let at = fraction * last as f64;
    let (before, after) = (values.value(at.floor() as usize), values.value(at.ceil() as usize));
    Ok(Some(if at.floor() == at.ceil() { before } else { before + (after - before) * at.fract() }))
}

fn check(fraction: f64) -> Result<()> {
    match (0.0..=1.0).contains(&fraction) {
        true => Ok(()),
        false => {
            let text = format!("percentile value {fraction} is not between 0 and 1");
            Err(DataFusionError::External(Box::new(Error::new(NUMERIC_VALUE_OUT_OF_RANGE, text))))
        }
    }
}

fn modes(lists: &ListArray) -> Result<ArrayRef> {
    let row = |row: usize| {
        let values = if lists.is_null(row) { new_empty_array(&lists.value_type()) } else { lists.value(row) };
        let mut most: Option<std::ops::Range<usize>> = None;
        if !values.is_empty() {
            for equal in partition(std::slice::from_ref(&values))?.ranges() {
                if most.as_ref().is_none_or(|most| equal.len() > most.len()) {
                    most = Some(equal);
                }
            }
        }
        Ok(take(&values, &UInt32Array::from(vec![most.map(|most| most.start as u32)]), None)?)
    };
    joined(&(0..lists.len()).map(row).collect::<Result<Vec<_>>>()?, lists.value_type())
}

fn joined(rows: &[ArrayRef], item: DataType) -> Result<ArrayRef> {
    if rows.is_empty() {
        return Ok(new_empty_array(&item));
    }
    Ok(concat(&rows.iter().map(AsRef::as_ref).collect::<Vec<_>>())?)
}

fn is_list(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..))
}

fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}
