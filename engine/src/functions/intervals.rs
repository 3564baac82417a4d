//! Sum and average of intervals: months, days and nanoseconds apart, as Postgres adds them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, IntervalMonthDayNanoArray};
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalMonthDayNanoType};

use super::states::{Evaluated, Finish, MergeableSummary, Rows, Summary};
use crate::error::sqlstate::NUMERIC_VALUE_OUT_OF_RANGE;
use crate::{Error, Result};

const NANOSECONDS_PER_DAY: i128 = 86_400_000_000_000;
const DAYS_PER_MONTH: i128 = 30;

/// Sums of the three parts, and how many intervals there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IntervalSum {
    months: i64,
    days: i64,
    nanoseconds: i128,
    n: i64,
}

impl Summary for IntervalSum {
    fn update(groups: &mut [Self], argument: &ArrayRef, rows: &Rows<'_>) -> Result<()> {
        let array = argument.as_primitive::<IntervalMonthDayNanoType>();
        let values = array.values();
        rows.for_each(array.nulls(), |row, group, weight| {
            let (sum, value) = (&mut groups[group], values[row]);
            sum.months = sum.months.wrapping_add(i64::from(value.months).wrapping_mul(weight));
            sum.days = sum.days.wrapping_add(i64::from(value.days).wrapping_mul(weight));
            sum.nanoseconds = sum.nanoseconds.wrapping_add(i128::from(value.nanoseconds) * i128::from(weight));
            sum.n = sum.n.wrapping_add(weight);
        });
        Ok(())
    }
}

impl MergeableSummary for IntervalSum {
    fn types() -> Vec<DataType> {
        vec![DataType::Binary]
    }

    fn write(groups: &[Self]) -> Vec<ArrayRef> {
        let rows = groups.iter().map(|sum| {
            let parts = [&sum.months.to_le_bytes()[..], &sum.days.to_le_bytes(), &sum.nanoseconds.to_le_bytes(), &sum.n.to_le_bytes()];
            Some(parts.concat())
        });
        vec![Arc::new(rows.collect::<BinaryArray>())]
    }

    fn read(columns: &[ArrayRef]) -> Result<Vec<Self>> {
        let cut_short = || Error::internal("an interval sum's state is cut short");
        let read = |bytes: &[u8]| {
            let (months, rest) = bytes.split_first_chunk::<8>()?;
            let (days, rest) = rest.split_first_chunk::<8>()?;
            let (nanoseconds, rest) = rest.split_first_chunk::<16>()?;
            let (n, _) = rest.split_first_chunk::<8>()?;
            Some(Self {
                months: i64::from_le_bytes(*months),
                days: i64::from_le_bytes(*days),
                nanoseconds: i128::from_le_bytes(*nanoseconds),
                n: i64::from_le_bytes(*n),
            })
        };
        let column = columns.first().ok_or_else(cut_short)?;
        column.as_binary::<i32>().iter().map(|bytes| bytes.and_then(read).ok_or_else(cut_short)).collect()
    }

    fn merge(&mut self, other: &Self) {
        self.months = self.months.wrapping_add(other.months);
        self.days = self.days.wrapping_add(other.days);
        self.nanoseconds = self.nanoseconds.wrapping_add(other.nanoseconds);
        self.n = self.n.wrapping_add(other.n);
    }
}

/// What is made of [`IntervalSum`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntervalResult {
    /// The sum of each part.
    Sum,
    /// The mean: what is left of a month goes into days (30 each) and what is left of a day into its time.
    Mean,
}

impl IntervalResult {
    fn value(self, sum: &IntervalSum) -> Option<IntervalMonthDayNano> {
        let (months, days, nanoseconds) = match self {
            Self::Sum => (i128::from(sum.months), i128::from(sum.days), sum.nanoseconds),
            Self::Mean => {
                let n = i128::from(sum.n);
                let (months, month_rest) = (i128::from(sum.months) / n, i128::from(sum.months) % n);
                let days = i128::from(sum.days).checked_add(month_rest.checked_mul(DAYS_PER_MONTH)?)?;
                let nanoseconds = sum.nanoseconds.checked_add((days % n).checked_mul(NANOSECONDS_PER_DAY)?)?;
                (months, days / n, nanoseconds / n)
            }
        };
        Some(IntervalMonthDayNano::new(months.try_into().ok()?, days.try_into().ok()?, nanoseconds.try_into().ok()?))
    }
}

impl Finish<IntervalSum> for IntervalResult {
    fn finish(&self, sums: &mut dyn Iterator<Item = &IntervalSum>) -> Result<Evaluated> {
        let mut errors = Vec::new();
        let values: IntervalMonthDayNanoArray = sums
            .enumerate()
            .map(|(position, sum)| {
                let value = if sum.n == 0 { return None } else { self.value(sum) };
                if value.is_none() {
                    errors.push((position, Error::new(NUMERIC_VALUE_OUT_OF_RANGE, "interval out of range")));
                }
                value
            })
            .collect();
        Ok(Evaluated { values: Arc::new(values), errors })
    }
}
