//! Sum, average, variance and standard deviation of reals and doubles, exact until the last rounding, through [`FloatSum`].

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Float32Array, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type};

use super::big::Big;
use super::float_sum::{FloatSum, Total};
use super::states::{Evaluated, Finish, MergeableSummary, Rows, Summary};
use crate::error::sqlstate::NUMERIC_VALUE_OUT_OF_RANGE;
use crate::{Error, Result};

/// What is made of a sum of floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloatResult {
    /// The sum, rounded to `real`.
    Real,
    /// The sum, rounded to `double precision`.
    Double,
    /// The rounded sum divided by the count, as `double precision`.
    Mean,
}

fn out_of_range() -> Error {
    Error::new(NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow")
}

impl FloatResult {
    fn value(self, sum: &FloatSum) -> Result<f64> {
        let (big, n) = match sum.total() {
            Total::NaN => return Ok(f64::NAN),
            Total::Infinite(value) => return Ok(value),
            Total::Finite(big) => (big, sum.n() as f64),
        };
        let value = match self {
            Self::Real => big.to_f32().map(f64::from),
            Self::Double => big.to_f64(),
            Self::Mean => {
                let (mantissa, exponent) = big.to_scaled();
                Some(scaled(mantissa / n, exponent)).filter(|mean| mean.is_finite())
            }
        };
        value.ok_or_else(out_of_range)
    }
}

/// value · 2^exponent, in steps that neither overflow nor underflow on the way.
fn scaled(mut value: f64, mut exponent: i32) -> f64 {
    while exponent != 0 {
        let step = exponent.clamp(-1000, 1000);
        value *= 2_f64.powi(step);
        exponent -= step;
    }
    value
}

/// Results where there is at least one value, nulls elsewhere, errors apart.
fn finish<'a, S: 'a>(
    summaries: &mut dyn Iterator<Item = &'a S>,
    result: impl Fn(&S) -> Result<Option<f64>>,
) -> (Vec<Option<f64>>, Vec<(usize, Error)>) {
    let (mut values, mut errors) = (Vec::new(), Vec::new());
    for (position, summary) in summaries.enumerate() {
        values.push(result(summary).unwrap_or_else(|error| {
            errors.push((position, error));
            None
        }));
    }
    (values, errors)
}

impl Finish<FloatSum> for FloatResult {
    fn finish(&self, sums: &mut dyn Iterator<Item = &FloatSum>) -> Result<Evaluated> {
        let (values, errors) = finish(sums, |sum: &FloatSum| match sum.n() {
            0 => Ok(None),
            _ => self.value(sum).map(Some),
        });
        let values: ArrayRef = match self {
            Self::Real => Arc::new(values.into_iter().map(|value| value.map(|value| value as f32)).collect::<Float32Array>()),
            Self::Double | Self::Mean => Arc::new(Float64Array::from(values)),
        };
        Ok(Evaluated { values, errors })
    }
}

impl Summary for FloatSum {
    fn update(groups: &mut [Self], argument: &ArrayRef, rows: &Rows<'_>) -> Result<()> {
        if let Some(array) = argument.as_primitive_opt::<Float32Type>() {
            let values = array.values();
            rows.for_each(array.nulls(), |row, group, weight| groups[group].add(f64::from(values[row]), weight));
            return Ok(());
        }
        let array = argument.as_primitive::<Float64Type>();
        let values = array.values();
        rows.for_each(array.nulls(), |row, group, weight| groups[group].add(values[row], weight));
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        FloatSum::heap_bytes(self)
    }
}

impl MergeableSummary for FloatSum {
    fn types() -> Vec<DataType> {
        vec![DataType::Binary]
    }

    fn write(groups: &[Self]) -> Vec<ArrayRef> {
        write_binary(groups, |sum, bytes| sum.write(bytes))
    }

    fn read(columns: &[ArrayRef]) -> Result<Vec<Self>> {
        read_binary(columns, FloatSum::read)
    }

    fn merge(&mut self, other: &Self) {
        FloatSum::merge(self, other);
    }
}

fn write_binary<S>(groups: &[S], write: impl Fn(&S, &mut Vec<u8>)) -> Vec<ArrayRef> {
    let rows = groups.iter().map(|group| {
        let mut bytes = Vec::new();
        write(group, &mut bytes);
        Some(bytes)
    });
    vec![Arc::new(rows.collect::<BinaryArray>())]
}

fn read_binary<S>(columns: &[ArrayRef], read: impl Fn(&mut &[u8]) -> Option<S>) -> Result<Vec<S>> {
    let [column] = columns else {
        return Err(Error::internal("the state of a float sum has one column"));
    };
    let rows = column.as_binary::<i32>().iter();
    rows.map(|bytes| bytes.and_then(|mut bytes| read(&mut bytes)).ok_or_else(|| Error::internal("a float sum's state is cut short")))
        .collect()
}

/// Σx and Σx², both exact.
#[derive(Debug, Clone, Default)]
pub struct Moments {
    sum: FloatSum,
    squares: FloatSum,
}

impl Summary for Moments {
    fn update(groups: &mut [Self], argument: &ArrayRef, rows: &Rows<'_>) -> Result<()> {
        let argument = cast(argument, &DataType::Float64)?;
        let array = argument.as_primitive::<Float64Type>();
        let values = array.values();
        rows.for_each(array.nulls(), |row, group, weight| {
            groups[group].sum.add(values[row], weight);
            groups[group].squares.add_square(values[row], weight);
        });
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        self.sum.heap_bytes() + self.squares.heap_bytes()
    }
}

impl MergeableSummary for Moments {
    fn types() -> Vec<DataType> {
        vec![DataType::Binary]
    }

    fn write(groups: &[Self]) -> Vec<ArrayRef> {
        write_binary(groups, |moments, bytes| {
            moments.sum.write(bytes);
            moments.squares.write(bytes);
        })
    }

    fn read(columns: &[ArrayRef]) -> Result<Vec<Self>> {
        read_binary(columns, |bytes| Some(Self { sum: FloatSum::read(bytes)?, squares: FloatSum::read(bytes)? }))
    }

    fn merge(&mut self, other: &Self) {
        self.sum.merge(&other.sum);
        self.squares.merge(&other.squares);
    }
}

/// What is made of [`Moments`]. The numerator n·Σx² − (Σx)² is exact, so nothing cancels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// Divide by n rather than by n − 1.
    pub population: bool,
    /// The standard deviation rather than the variance.
    pub square_root: bool,
}

impl Spread {
    fn value(self, moments: &Moments) -> Result<Option<f64>> {
        let n = moments.sum.n();
        if n < if self.population { 1 } else { 2 } {
            return Ok(None);
        }
        let (Total::Finite(sum), Total::Finite(squares)) = (moments.sum.total(), moments.squares.total()) else {
            return Ok(Some(f64::NAN));
        };
        let numerator: Big = squares.times(n as u64).minus(&sum.product(&sum));
        let divisor = if self.population { n as f64 * n as f64 } else { n as f64 * (n - 1) as f64 };
        let (mantissa, exponent) = numerator.to_scaled();
        // The exponent is halved for the root, so an odd one goes into the mantissa.
        let value = match self.square_root {
            true => scaled((mantissa / divisor * 2_f64.powi(exponent & 1)).sqrt(), exponent >> 1),
            false => scaled(mantissa / divisor, exponent),
        };
        if value.is_finite() { Ok(Some(value)) } else { Err(out_of_range()) }
    }
}

impl Finish<Moments> for Spread {
    fn finish(&self, moments: &mut dyn Iterator<Item = &Moments>) -> Result<Evaluated> {
        let (values, errors) = finish(moments, |moments| self.value(moments));
        Ok(Evaluated { values: Arc::new(Float64Array::from(values)), errors })
    }
}
