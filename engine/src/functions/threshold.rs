//! The instants at which a row fulfils a condition on the clock, and no longer: `ts > now() - INTERVAL '1 hour'` is true before
//! `ts` plus one hour, and false from then on.
//!
//! A [`Bound`] is such a condition, with the clock's side solved. [`condition`] stands for it in a view's plan, where the rules of
//! the optimizer may move it like any other but nothing can evaluate it; [`instant`] computes when it becomes true or false.
//! Arithmetic is exact: what would be beyond all times is the first or the last of them, which no clock shows.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Date32Type, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// Microseconds of a day.
pub const DAY_US: i64 = 86_400_000_000;

/// `floor(now + shift, unit) + offset` compared with a value of the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bound {
    /// The condition is true before an instant; otherwise from an instant on.
    pub leaves: bool,
    /// The instant is in the unit after the value's, also where the value is at the start of one: `>` and `<=`.
    pub after: bool,
    /// Microseconds that the clock is rounded down to: 1, or those of a day.
    pub unit_us: i64,
    /// Added to the clock before that.
    pub shift_us: i64,
    /// Added after it.
    pub offset_us: i64,
}

impl Bound {
    /// When the condition becomes true or false for a row with this value.
    fn instant(&self, value_us: i64) -> i64 {
        let unit = i128::from(self.unit_us);
        let value = i128::from(value_us) - i128::from(self.offset_us);
        let floor = value.div_euclid(unit) * unit;
        let edge = if self.after || floor < value { floor + unit } else { floor };
        let at = edge - i128::from(self.shift_us);
        i64::try_from(at).unwrap_or(if at < 0 { i64::MIN } else { i64::MAX })
    }
}

/// Whether values of this type can be beside the clock.
pub fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(TimeUnit::Microsecond, _) | DataType::Date32)
}

/// The condition, for a row in which `value` is beside the clock.
pub fn condition(bound: Bound, value: Expr) -> Expr {
    let condition = Condition { bound, signature: Signature::any(1, Volatility::Volatile) };
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(condition)), vec![value]))
}

/// The bound and the value of a condition that [`condition`] made.
pub fn as_condition(expression: &Expr) -> Option<(Bound, &Expr)> {
    let Expr::ScalarFunction(call) = expression else { return None };
    let condition = call.func.inner().downcast_ref::<Condition>()?;
    Some((condition.bound, call.args.first()?))
}

/// The instant from which on all of the conditions hold, or before which they do, which is what all of them must have in common.
/// In microseconds since 1970; null where a value is null.
pub fn instant(bounds: Vec<Bound>, values: Vec<Expr>) -> Expr {
    let signature = Signature::any(values.len(), Volatility::Immutable);
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(Instant { bounds, signature })), values))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Condition {
    bound: Bound,
    signature: Signature,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Instant {
    bounds: Vec<Bound>,
    signature: Signature,
}

impl ScalarUDFImpl for Condition {
    fn name(&self) -> &str {
        "is_within_clock"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    /// The optimizer then knows that a row padded with nulls does not pass.
    fn is_strict(&self) -> bool {
        true
    }

    /// Asked of a null alone, by rules that want to know whether nulls pass.
    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if arguments.args.iter().any(|value| matches!(value, ColumnarValue::Scalar(value) if value.is_null())) {
            return Ok(ColumnarValue::Scalar(ScalarValue::Boolean(None)));
        }
        Err(DataFusionError::Internal("a condition on the clock was not made into instants while planning".into()))
    }
}

impl ScalarUDFImpl for Instant {
    fn name(&self) -> &str {
        if self.bounds[0].leaves { "leaves_at" } else { "enters_at" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let n_rows = arguments.number_rows;
        let mut instants: Option<Int64Array> = None;
        for (bound, values) in self.bounds.iter().zip(arguments.args) {
            let of_bound: Int64Array = micros(&values.into_array(n_rows)?)?.unary(|value| bound.instant(value));
            instants = Some(match instants {
                None => of_bound,
                Some(others) => {
                    let both = others.iter().zip(of_bound.iter());
                    let one = |(a, b): (Option<i64>, Option<i64>)| if bound.leaves { Some(a?.min(b?)) } else { Some(a?.max(b?)) };
                    both.map(one).collect()
                }
            });
        }
        let instants = instants.ok_or_else(|| DataFusionError::Internal("an instant has at least one bound".into()))?;
        Ok(ColumnarValue::Array(Arc::new(instants)))
    }
}

/// Times as microseconds since 1970; a date is its midnight.
fn micros(values: &ArrayRef) -> Result<Int64Array> {
    match values.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            Ok(values.as_primitive::<TimestampMicrosecondType>().reinterpret_cast::<arrow::datatypes::Int64Type>())
        }
        DataType::Date32 => Ok(values.as_primitive::<Date32Type>().unary(|days| i64::from(days).saturating_mul(DAY_US))),
        other => Err(DataFusionError::Internal(format!("{other} is no time"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest clock around the instant for which the condition has changed, by trying.
    fn holds(bound: &Bound, now: i64, value: i64) -> bool {
        let clock = (now + bound.shift_us).div_euclid(bound.unit_us) * bound.unit_us + bound.offset_us;
        match (bound.leaves, bound.after) {
            (true, true) => clock <= value,
            (true, false) => clock < value,
            (false, true) => clock > value,
            (false, false) => clock >= value,
        }
    }

    #[test]
    fn the_instant_is_where_the_condition_changes() {
        for (leaves, after) in [(true, true), (true, false), (false, true), (false, false)] {
            for (unit_us, shift_us, offset_us) in [(1, 0, 0), (1, 0, -3), (5, 0, 0), (5, 2, 5), (5, -4, -7), (7, 3, 1)] {
                let bound = Bound { leaves, after, unit_us, shift_us, offset_us };
                for value in -20..20 {
                    let at = bound.instant(value);
                    for now in -60..60 {
                        assert_eq!(holds(&bound, now, value), (now < at) == leaves, "{bound:?} value {value} now {now}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_date_is_its_midnight_as_far_as_there_are_times() {
        let dates: ArrayRef = Arc::new(arrow::array::Date32Array::from(vec![Some(1), Some(-1), None, Some(i32::MAX), Some(i32::MIN)]));
        let expected = [Some(DAY_US), Some(-DAY_US), None, Some(i64::MAX), Some(i64::MIN)];
        assert_eq!(micros(&dates).expect("dates are times"), Int64Array::from(expected.to_vec()));
    }

    #[test]
    fn what_is_beyond_all_times_is_the_last_of_them() {
        let bound = Bound { leaves: true, after: false, unit_us: 1, shift_us: 0, offset_us: -10 };
        assert_eq!((bound.instant(i64::MAX), bound.instant(0)), (i64::MAX, 10));
        let bound = Bound { offset_us: 10, ..bound };
        assert_eq!(bound.instant(i64::MIN), i64::MIN);
        let day = Bound { after: true, unit_us: DAY_US, ..bound };
        assert_eq!(day.instant(i64::MAX), i64::MAX);
    }
}
