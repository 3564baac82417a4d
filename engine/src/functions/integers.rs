//! Sum and average of integers, decimals and durations, through [`IntSum`].

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Decimal128Array, Int64Array, make_array};
use arrow::datatypes::*;

use super::int_sum::IntSum;
use super::states::{Evaluated, Finish, MergeableSummary, Rows, Summary};
use crate::error::sqlstate::NUMERIC_VALUE_OUT_OF_RANGE;
use crate::{Error, Result};

/// What is made of a sum of integers.
#[derive(Debug, Clone)]
pub enum IntResult {
    /// The sum, as `bigint`.
    BigInt,
    /// The sum, as `numeric(38, scale)`.
    Numeric {
        /** Digits after the point. */
        scale: i8,
    },
    /// The sum, as a duration.
    Duration(TimeUnit),
    /// The mean of decimals with `from_scale` digits after the point, rounded half away from zero to `scale` digits.
    NumericMean {
        /** Of the arguments. */
        from_scale: i8,
        /** Of the result. */
        scale: i8,
    },
    /// The mean, rounded half away from zero.
    DurationMean(TimeUnit),
}

impl IntResult {
    /// The type of the result.
    pub fn data_type(&self) -> DataType {
        match self {
            Self::BigInt => DataType::Int64,
            Self::Numeric { scale } | Self::NumericMean { scale, .. } => DataType::Decimal128(38, *scale),
            Self::Duration(unit) | Self::DurationMean(unit) => DataType::Duration(*unit),
        }
    }

    fn value(&self, sum: &IntSum) -> Option<i128> {
        match self {
            Self::BigInt | Self::Duration(_) => sum.value().filter(|value| i64::try_from(*value).is_ok()),
            Self::Numeric { .. } => sum.value().filter(|value| fits_numeric(*value)),
            Self::NumericMean { from_scale, scale } => {
                let shifted = sum.wide_value().checked_mul(i256::from_i128(10).checked_pow((scale - from_scale) as u32)?)?;
                rounded_quotient(shifted, sum.n()).filter(|value| fits_numeric(*value))
            }
            Self::DurationMean(_) => rounded_quotient(sum.wide_value(), sum.n()).filter(|value| i64::try_from(*value).is_ok()),
        }
    }

    fn out_of_range(&self) -> Error {
        let message = match self {
            Self::BigInt => "bigint out of range",
            Self::Numeric { .. } | Self::NumericMean { .. } => "numeric field overflow",
            Self::Duration(_) | Self::DurationMean(_) => "interval out of range",
        };
        Error::new(NUMERIC_VALUE_OUT_OF_RANGE, message)
    }

    fn array(&self, values: Vec<Option<i128>>) -> Result<ArrayRef> {
        if let DataType::Decimal128(precision, scale) = self.data_type() {
            return Ok(Arc::new(Decimal128Array::from(values).with_precision_and_scale(precision, scale)?));
        }
        let values: Int64Array = values.into_iter().map(|value| value.map(|value| value as i64)).collect();
        Ok(make_array(values.into_data().into_builder().data_type(self.data_type()).build()?))
    }
}

/// What `numeric` without a modifier holds: 38 digits.
fn fits_numeric(value: i128) -> bool {
    value.unsigned_abs() < 10_u128.pow(38)
}

/// Half away from zero, as Postgres rounds numerics.
fn rounded_quotient(dividend: i256, divisor: i64) -> Option<i128> {
    let divisor = i256::from_i128(i128::from(divisor));
    let (quotient, rest) = (dividend.checked_div(divisor)?, dividend.checked_rem(divisor)?);
    let away = match rest.wrapping_abs() >= divisor.wrapping_abs().wrapping_sub(rest.wrapping_abs()) {
        true if dividend.is_negative() != divisor.is_negative() => i256::MINUS_ONE,
        true => i256::ONE,
        false => i256::ZERO,
    };
    quotient.checked_add(away)?.to_i128()
}

impl Finish<IntSum> for IntResult {
    fn finish(&self, sums: &mut dyn Iterator<Item = &IntSum>) -> Result<Evaluated> {
        let (mut values, mut errors) = (Vec::new(), Vec::new());
        for (position, sum) in sums.enumerate() {
            let value = if sum.n() == 0 { None } else { self.value(sum) };
            if sum.n() != 0 && value.is_none() {
                errors.push((position, self.out_of_range()));
            }
            values.push(value);
        }
        Ok(Evaluated { values: self.array(values)?, errors })
    }
}

impl Summary for IntSum {
    fn update(groups: &mut [Self], argument: &ArrayRef, rows: &Rows<'_>) -> Result<()> {
        fn add<T: ArrowPrimitiveType>(groups: &mut [IntSum], argument: &ArrayRef, rows: &Rows<'_>) -> Result<()>
        where
            T::Native: Into<i128>,
        {
            let array = argument.as_primitive::<T>();
            let values = array.values();
            rows.for_each(array.nulls(), |row, group, weight| groups[group].add(values[row].into(), weight));
            Ok(())
        }
        match argument.data_type() {
            DataType::Int8 => add::<Int8Type>(groups, argument, rows),
            DataType::Int16 => add::<Int16Type>(groups, argument, rows),
            DataType::Int32 => add::<Int32Type>(groups, argument, rows),
            DataType::Int64 => add::<Int64Type>(groups, argument, rows),
            DataType::UInt8 => add::<UInt8Type>(groups, argument, rows),
            DataType::UInt16 => add::<UInt16Type>(groups, argument, rows),
            DataType::UInt32 => add::<UInt32Type>(groups, argument, rows),
            DataType::UInt64 => add::<UInt64Type>(groups, argument, rows),
            DataType::Decimal32(..) => add::<Decimal32Type>(groups, argument, rows),
            DataType::Decimal64(..) => add::<Decimal64Type>(groups, argument, rows),
            DataType::Decimal128(..) => add::<Decimal128Type>(groups, argument, rows),
            DataType::Duration(TimeUnit::Second) => add::<DurationSecondType>(groups, argument, rows),
            DataType::Duration(TimeUnit::Millisecond) => add::<DurationMillisecondType>(groups, argument, rows),
            DataType::Duration(TimeUnit::Microsecond) => add::<DurationMicrosecondType>(groups, argument, rows),
            DataType::Duration(TimeUnit::Nanosecond) => add::<DurationNanosecondType>(groups, argument, rows),
            other => Err(Error::internal(format!("a sum of integers over {other}"))),
        }
    }
}

impl MergeableSummary for IntSum {
    /// Low 128 bits (as an unchecked decimal), high 64 bits, count.
    fn types() -> Vec<DataType> {
        vec![DataType::Decimal128(38, 0), DataType::Int64, DataType::Int64]
    }

    fn write(groups: &[Self]) -> Vec<ArrayRef> {
        let low = Decimal128Array::from_iter_values(groups.iter().map(|sum| sum.parts().0 as i128));
        let low = low.with_data_type(DataType::Decimal128(38, 0));
        let high = Int64Array::from_iter_values(groups.iter().map(|sum| sum.parts().1));
        let n = Int64Array::from_iter_values(groups.iter().map(|sum| sum.parts().2));
        vec![Arc::new(low), Arc::new(high), Arc::new(n)]
    }

    fn read(columns: &[ArrayRef]) -> Result<Vec<Self>> {
        let [low, high, n] = columns else {
            return Err(Error::internal("the state of an integer sum has three columns"));
        };
        let (low, high) = (low.as_primitive::<Decimal128Type>(), high.as_primitive::<Int64Type>());
        let n = n.as_primitive::<Int64Type>();
        let parts = low.values().iter().zip(high.values()).zip(n.values());
        Ok(parts.map(|((low, high), n)| IntSum::from_parts(*low as u128, *high, *n)).collect())
    }

    fn merge(&mut self, other: &Self) {
        IntSum::merge(self, other);
    }
}
