//! The windows a time falls into: `tumble_start`, `hop_starts` and `cumulate_ends`, to which TUMBLE, HOP and CUMULATE in
//! FROM are rewritten, for both engines.
//!
//! Windows are half-open, `[start, end)`, aligned to 1970-01-01 00:00:00 (UTC for timestamptz) plus the offset; times before
//! it floor like those after it. A null time is in no window: null for `tumble_start`, a null list for the others. Sizes
//! are fixed lengths and constant; a day is 24 hours. Lists are in ascending order.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListBuilder, PrimitiveArray, PrimitiveBuilder};
use arrow::datatypes::{DataType, Field, IntervalMonthDayNano, IntervalUnit, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// How many windows one row may fall into. Each is a row of its own: a day by minutes is 1,440 of them.
pub const MAX_WINDOWS_PER_ROW: i64 = 10_000;

/// The functions of this file.
pub fn all() -> Vec<Arc<ScalarUDF>> {
    [Kind::TumbleStart, Kind::HopStarts, Kind::CumulateEnds].map(|kind| Arc::new(ScalarUDF::from(WindowFunction::new(kind)))).to_vec()
}

/// Registers the functions of this file.
pub fn register(registry: &mut dyn FunctionRegistry) -> Result<()> {
    all().into_iter().try_for_each(|function| registry.register_udf(function).map(|_| ()))
}

/// The length of an interval in microseconds; `Err` says what is wrong with it as the size of a window.
pub fn fixed_length(interval: IntervalMonthDayNano) -> Result<i64, &'static str> {
    if interval.months != 0 {
        return Err("has months or years, which differ in length");
    }
    if interval.nanoseconds % 1_000 != 0 {
        return Err("is finer than a microsecond");
    }
    i64::from(interval.days)
        .checked_mul(86_400_000_000)
        .and_then(|days| days.checked_add(interval.nanoseconds / 1_000))
        .ok_or("is too large")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    /// `tumble_start(time, size [, offset])`: the start of the one window.
    TumbleStart,
    /// `hop_starts(time, slide, size [, offset])`: the starts of all windows.
    HopStarts,
    /// `cumulate_ends(time, step, size [, offset])`: the ends of all windows, which start where a window of `size` does.
    CumulateEnds,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct WindowFunction {
    kind: Kind,
    signature: Signature,
}

impl WindowFunction {
    fn new(kind: Kind) -> Self {
        Self { kind, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for WindowFunction {
    fn name(&self) -> &str {
        match self.kind {
            Kind::TumbleStart => "tumble_start",
            Kind::HopStarts => "hop_starts",
            Kind::CumulateEnds => "cumulate_ends",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let intervals = if self.kind == Kind::TumbleStart { 1 } else { 2 };
        if !(intervals + 1..=intervals + 2).contains(&arguments.len()) {
            return plan_err!("{} takes a time, {intervals} interval(s) and an offset", self.name());
        }
        let mut coerced = vec![time_type(&arguments[0])?];
        for argument in &arguments[1..] {
            match argument {
                DataType::Interval(_) | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
                    coerced.push(DataType::Interval(IntervalUnit::MonthDayNano));
                }
                other => return plan_err!("{} takes an interval, not {other}", self.name()),
            }
        }
        Ok(coerced)
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let time = time_type(&arguments[0])?;
        Ok(match self.kind {
            Kind::TumbleStart => time,
            Kind::HopStarts | Kind::CumulateEnds => DataType::List(Arc::new(Field::new_list_field(time, true))),
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let all_constant = arguments.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let times = arguments.args[0].to_array(if all_constant { 1 } else { arguments.number_rows })?;
        let Some(windows) = Windows::new(self.kind, &arguments.args[1..])? else {
            // A size of null has no windows.
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from(arguments.return_type())?));
        };
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let found: ArrayRef = match self.kind {
            Kind::TumbleStart => Arc::new(windows.starts(times)?.with_data_type(times.data_type().clone())),
            Kind::HopStarts | Kind::CumulateEnds => windows.lists(times)?,
        };
        match all_constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&found, 0)?)),
            false => Ok(ColumnarValue::Array(found)),
        }
    }
}

/// The type a time is read as: a timestamp in microseconds, with the zone it has.
fn time_type(argument: &DataType) -> Result<DataType> {
    match argument {
        DataType::Timestamp(_, zone) => Ok(DataType::Timestamp(TimeUnit::Microsecond, zone.clone())),
        DataType::Date32 | DataType::Date64 | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
            Ok(DataType::Timestamp(TimeUnit::Microsecond, None))
        }
        other => plan_err!("a window is over a timestamp or date, not {other}"),
    }
}

/// Checked constants, in microseconds.
struct Windows {
    kind: Kind,
    /// Between the starts of two windows: TUMBLE's size, HOP's slide, CUMULATE's step.
    step: i64,
    size: i64,
    offset: i64,
}

impl Windows {
    /// `None` when one of the constants is null.
    fn new(kind: Kind, constants: &[ColumnarValue]) -> Result<Option<Self>> {
        let mut lengths = vec![];
        for constant in constants {
            match length(constant)? {
                Some(length) => lengths.push(length),
                None => return Ok(None),
            }
        }
        let (step, size, rest) = match kind {
            Kind::TumbleStart => (lengths[0], lengths[0], &lengths[1..]),
            _ => (lengths[0], lengths[1], &lengths[2..]),
        };
        if step <= 0 || size <= 0 {
            return exec_err!("the size of a window must be positive");
        }
        if kind == Kind::CumulateEnds && size % step != 0 {
            return exec_err!("the size of a CUMULATE window must be a multiple of its step");
        }
        if size / step >= MAX_WINDOWS_PER_ROW {
            return exec_err!("a row would fall into more than {MAX_WINDOWS_PER_ROW} windows");
        }
        Ok(Some(Self { kind, step, size, offset: rest.first().copied().unwrap_or(0) }))
    }

    /// The newest multiple of `length` (plus the offset) not after `time`.
    fn floor(&self, time: i64, length: i64) -> Option<i64> {
        // The remainder is of the difference, taken apart so that no difference overflows.
        let remainder = (time.rem_euclid(length) - self.offset.rem_euclid(length)).rem_euclid(length);
        time.checked_sub(remainder)
    }

    fn starts(&self, times: &PrimitiveArray<TimestampMicrosecondType>) -> Result<PrimitiveArray<TimestampMicrosecondType>> {
        Ok(times.try_unary(|time| self.floor(time, self.step).ok_or_else(out_of_range))?)
    }

    fn lists(&self, times: &PrimitiveArray<TimestampMicrosecondType>) -> Result<ArrayRef> {
        let values = PrimitiveBuilder::<TimestampMicrosecondType>::new().with_data_type(times.data_type().clone());
        let field = Field::new_list_field(times.data_type().clone(), true);
        let mut lists = ListBuilder::new(values).with_field(field);
        for time in times {
            if let Some(time) = time {
                match self.kind {
                    Kind::CumulateEnds => self.append_ends(time, lists.values()),
                    _ => self.append_starts(time, lists.values()),
                }
                .ok_or_else(out_of_range)?;
            }
            lists.append(time.is_some());
        }
        Ok(Arc::new(lists.finish()))
    }

    /// The starts `s` of HOP windows with `s <= time < s + size`. There are none in the gaps of a slide above the size.
    fn append_starts(&self, time: i64, starts: &mut PrimitiveBuilder<TimestampMicrosecondType>) -> Option<()> {
        let last = self.floor(time, self.step)?;
        let reach = self.size - (time - last);
        let n_windows = if reach <= 0 { 0 } else { (reach - 1) / self.step + 1 };
        for back in (0..n_windows).rev() {
            starts.append_value(last.checked_sub(back.checked_mul(self.step)?)?);
        }
        Some(())
    }

    /// The ends of the CUMULATE windows `time` is in: from the first step after it to the full size.
    fn append_ends(&self, time: i64, ends: &mut PrimitiveBuilder<TimestampMicrosecondType>) -> Option<()> {
        let start = self.floor(time, self.size)?;
        for step in (time - start) / self.step + 1..=self.size / self.step {
            ends.append_value(start.checked_add(step * self.step)?);
        }
        Some(())
    }
}

fn out_of_range() -> arrow::error::ArrowError {
    arrow::error::ArrowError::ArithmeticOverflow("timestamp out of range: its window begins or ends outside of what can be stored".into())
}

/// A constant interval in microseconds; `None` for null.
fn length(constant: &ColumnarValue) -> Result<Option<i64>> {
    match constant {
        ColumnarValue::Scalar(ScalarValue::IntervalMonthDayNano(Some(interval))) => {
            fixed_length(*interval).map(Some).map_err(|what| exec_datafusion_err!("the interval of a window {what}"))
        }
        ColumnarValue::Scalar(scalar) if scalar.is_null() => Ok(None),
        _ => exec_err!("the intervals of a window must be constant"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(kind: Kind, step: i64, size: i64, offset: i64) -> Windows {
        Windows { kind, step, size, offset }
    }

    fn listed(windows: &Windows, time: i64) -> Vec<i64> {
        let list = windows.lists(&PrimitiveArray::from(vec![time])).expect("in range");
        list.as_list::<i32>().value(0).as_primitive::<TimestampMicrosecondType>().values().to_vec()
    }

    #[test]
    fn floors_like_mathematics() {
        for (time, offset, start) in [
            (0, 0, 0),
            (9, 0, 0),
            (10, 0, 10),
            (-1, 0, -10),
            (-10, 0, -10),
            (-11, 0, -20),
            (2, 3, -7),
            (3, 3, 3),
            (-7, -7, -7),
            (0, 23, -7),
        ] {
            let found = windows(Kind::TumbleStart, 10, 10, offset).floor(time, 10);
            assert_eq!(found, Some(start), "time {time} offset {offset}");
        }
        assert_eq!(windows(Kind::TumbleStart, 10, 10, 0).floor(i64::MIN, 10), None);
        assert_eq!(windows(Kind::TumbleStart, 10, 10, i64::MIN).floor(i64::MAX, 10), Some(i64::MAX - 5));
    }

    #[test]
    fn hops_overlap_touch_and_leave_gaps() {
        let hop = |slide, size, time| listed(&windows(Kind::HopStarts, slide, size, 0), time);
        assert_eq!(hop(5, 10, 12), [5, 10]);
        assert_eq!(hop(5, 10, 10), [5, 10]);
        assert_eq!(hop(5, 10, -1), [-10, -5]);
        assert_eq!(hop(4, 10, 9), [0, 4, 8]);
        assert_eq!(hop(4, 10, 10), [4, 8]);
        assert_eq!(hop(10, 10, 10), [10]);
        assert_eq!(hop(10, 4, 13), [10]);
        assert_eq!(hop(10, 4, 14), [] as [i64; 0]);
    }

    /// The definition itself, as the slow reference.
    #[test]
    fn hops_are_all_windows_that_contain_the_time() {
        for (slide, size, offset) in [(1, 1, 0), (2, 7, 0), (3, 10, 1), (5, 3, -2), (7, 7, 3)] {
            for time in -40..40 {
                let expected: Vec<i64> = (-100..100).filter(|s| (s - offset) % slide == 0 && *s <= time && time < s + size).collect();
                assert_eq!(listed(&windows(Kind::HopStarts, slide, size, offset), time), expected, "{slide} {size} {offset} {time}");
            }
        }
    }

    #[test]
    fn cumulated_ends_grow_to_the_size() {
        let ends = |time| listed(&windows(Kind::CumulateEnds, 2, 6, 0), time);
        assert_eq!(ends(0), [2, 4, 6]);
        assert_eq!(ends(1), [2, 4, 6]);
        assert_eq!(ends(2), [4, 6]);
        assert_eq!(ends(5), [6]);
        assert_eq!(ends(6), [8, 10, 12]);
        assert_eq!(ends(-1), [0]);
        assert_eq!(ends(-6), [-4, -2, 0]);
    }
}
