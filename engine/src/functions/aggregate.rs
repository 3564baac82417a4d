//! The exact aggregates as DataFusion functions that take the place of its own `sum`, `avg`, `var…` and `stddev…`, and of
//! `min` and `max` over floats (whose vectorised versions let NaN win or lose by order).
//!
//! | function | argument | result |
//! |---|---|---|
//! | `sum` | `smallint`, `integer` | `bigint`, as in Postgres |
//! | | `bigint` | `numeric(38, 0)` |
//! | | `numeric(p, s)` | `numeric(38, s)` |
//! | | `real`, `double precision` | the same, rounded once |
//! | | interval, duration | the same |
//! | `avg` | integers | `numeric(38, 16)` |
//! | | `numeric(p, s)` | `numeric(38, max(s, 16))`, rounded half away from zero |
//! | | `real`, `double precision` | `double precision`: the rounded sum over the count |
//! | `var…`, `stddev…` | any number | `double precision` |
//!
//! A result that does not fit is an error (22003), never another number. A value below 10^22 has room for 16 digits.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature, Volatility};

use super::accumulators::{DistinctAccumulator, ExactAccumulator, ExactGroupsAccumulator};
use super::extremes::Extreme;
use super::float_sum::FloatSum;
use super::floats::{FloatResult, Moments, Spread};
use super::int_sum::IntSum;
use super::integers::IntResult;
use super::intervals::{IntervalResult, IntervalSum};
use super::states::{MergeableStates, Summaries};

/// Which exact aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are SQL's own")]
pub enum ExactKind {
    Sum,
    Avg,
    VarSamp,
    VarPop,
    StddevSamp,
    StddevPop,
}

impl ExactKind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Sum, Self::Avg, Self::VarSamp, Self::VarPop, Self::StddevSamp, Self::StddevPop];

    fn names(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Sum => ("sum", &[]),
            Self::Avg => ("avg", &["mean"]),
            Self::VarSamp => ("var", &["var_samp", "var_sample", "variance"]),
            Self::VarPop => ("var_pop", &["var_population"]),
            Self::StddevSamp => ("stddev", &["stddev_samp"]),
            Self::StddevPop => ("stddev_pop", &[]),
        }
    }

    /// The type that an argument is cast to.
    fn argument_type(self, argument: &DataType) -> Option<DataType> {
        use DataType::*;
        let spread = !matches!(self, Self::Sum | Self::Avg);
        Some(match argument {
            Dictionary(_, values) => return self.argument_type(values),
            Null => Int64,
            Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 | Float32 | Float64 | Decimal32(..) | Decimal64(..)
            | Decimal128(..) | Decimal256(..) | Float16
                if spread =>
            {
                Float64
            }
            _ if spread => return None,
            Float16 => Float32,
            Decimal256(_, scale) => Decimal128(38, (*scale).min(38)),
            Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 | Float32 | Float64 => argument.clone(),
            Decimal32(..) | Decimal64(..) | Decimal128(..) | Duration(_) => argument.clone(),
            Interval(_) => Interval(IntervalUnit::MonthDayNano),
            _ => return None,
        })
    }

    /// Fresh states for an argument of this type, and the type of the result.
    pub fn states(self, argument: &DataType) -> Option<(Box<dyn MergeableStates>, DataType)> {
        let spread = |population, square_root| {
            let states: Box<dyn MergeableStates> = Box::new(Summaries::<Moments, _>::new(Spread { population, square_root }));
            (argument == &DataType::Float64).then_some((states, DataType::Float64))
        };
        match self {
            Self::Sum => sum_states(argument),
            Self::Avg => avg_states(argument),
            Self::VarSamp => spread(false, false),
            Self::VarPop => spread(true, false),
            Self::StddevSamp => spread(false, true),
            Self::StddevPop => spread(true, true),
        }
    }
}

type TypedStates = (Box<dyn MergeableStates>, DataType);

fn sum_states(argument: &DataType) -> Option<TypedStates> {
    use DataType::*;
    match argument {
        Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32 => Some(int_states(IntResult::BigInt)),
        Int64 | UInt64 => Some(int_states(IntResult::Numeric { scale: 0 })),
        Decimal32(_, scale) | Decimal64(_, scale) | Decimal128(_, scale) => Some(int_states(IntResult::Numeric { scale: *scale })),
        Duration(unit) => Some(int_states(IntResult::Duration(*unit))),
        Float32 => Some((Box::new(Summaries::<FloatSum, _>::new(FloatResult::Real)), Float32)),
        Float64 => Some((Box::new(Summaries::<FloatSum, _>::new(FloatResult::Double)), Float64)),
        Interval(IntervalUnit::MonthDayNano) => Some((Box::new(Summaries::<IntervalSum, _>::new(IntervalResult::Sum)), argument.clone())),
        _ => None,
    }
}

fn avg_states(argument: &DataType) -> Option<TypedStates> {
    use DataType::*;
    match argument {
        Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 => {
            Some(int_states(IntResult::NumericMean { from_scale: 0, scale: 16 }))
        }
        Decimal32(_, scale) | Decimal64(_, scale) | Decimal128(_, scale) => {
            Some(int_states(IntResult::NumericMean { from_scale: *scale, scale: (*scale).max(16) }))
        }
        Duration(unit) => Some(int_states(IntResult::DurationMean(*unit))),
        Float32 | Float64 => Some((Box::new(Summaries::<FloatSum, _>::new(FloatResult::Mean)), Float64)),
        Interval(IntervalUnit::MonthDayNano) => Some((Box::new(Summaries::<IntervalSum, _>::new(IntervalResult::Mean)), argument.clone())),
        _ => None,
    }
}

fn int_states(result: IntResult) -> TypedStates {
    let data_type = result.data_type();
    (Box::new(Summaries::<IntSum, _>::new(result)), data_type)
}

/// One of our aggregates, as DataFusion calls it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ExactAggregate {
    kind: ExactKind,
    signature: Signature,
    aliases: Vec<String>,
}

impl ExactAggregate {
    /// The function of this kind.
    pub fn new(kind: ExactKind) -> Self {
        let aliases = kind.names().1.iter().map(ToString::to_string).collect();
        Self { kind, signature: Signature::user_defined(Volatility::Immutable), aliases }
    }

    /// Which one it is.
    pub fn kind(&self) -> ExactKind {
        self.kind
    }

    fn states(&self, argument: &DataType) -> Result<TypedStates> {
        match self.kind.states(argument) {
            Some(states) => Ok(states),
            None => plan_err!("function {}({argument}) does not exist", self.name()),
        }
    }
}

impl AggregateUDFImpl for ExactAggregate {
    fn name(&self) -> &str {
        self.kind.names().0
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments {
            [argument] => match self.kind.argument_type(argument) {
                Some(argument) => Ok(vec![argument]),
                None => plan_err!("function {}({argument}) does not exist", self.name()),
            },
            _ => plan_err!("function {} takes one argument, not {}", self.name(), arguments.len()),
        }
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(self.states(&arguments[0])?.1)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let argument = args.input_fields[0].data_type();
        state_fields(&args, self.states(argument)?.0.as_ref(), argument)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let argument = args.expr_fields[0].data_type();
        let states = self.states(argument)?.0;
        match args.is_distinct {
            true => Ok(Box::new(DistinctAccumulator::new(states, argument)?)),
            false => Ok(Box::new(ExactAccumulator::new(states))),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let (kind, argument) = (self.kind, args.expr_fields[0].data_type().clone());
        self.states(&argument)?;
        let fresh = move || kind.states(&argument).expect("the type was accepted just now").0;
        Ok(Box::new(ExactGroupsAccumulator::new(fresh)))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// The columns of a partial result: those of the states, or the list of distinct values.
fn state_fields(args: &StateFieldsArgs<'_>, states: &dyn MergeableStates, argument: &DataType) -> Result<Vec<FieldRef>> {
    if args.is_distinct {
        let item = Field::new_list_field(argument.clone(), true);
        return Ok(vec![Arc::new(Field::new_list(format_state_name(args.name, "distinct"), item, true))]);
    }
    let field = |(index, data_type)| Arc::new(Field::new(format_state_name(args.name, &index_name(index)), data_type, true));
    Ok(states.state_types().into_iter().enumerate().map(field).collect())
}

fn index_name(index: usize) -> String {
    format!("state{index}")
}

/// `min` or `max` over floats and arrays as ours, over other types as DataFusion's: to that, a null in an array is less than all.
#[derive(Debug)]
pub struct ExtremeAggregate {
    which: Extreme,
    inner: Arc<dyn AggregateUDFImpl>,
}

impl ExtremeAggregate {
    /// Takes the place of DataFusion's `min` or `max`, given as `inner`.
    pub fn new(which: Extreme, inner: Arc<dyn AggregateUDFImpl>) -> Self {
        Self { which, inner }
    }

    /// Least or greatest.
    pub fn which(&self) -> Extreme {
        self.which
    }
}

impl PartialEq for ExtremeAggregate {
    fn eq(&self, other: &Self) -> bool {
        self.which == other.which
    }
}

impl Eq for ExtremeAggregate {}

impl std::hash::Hash for ExtremeAggregate {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.inner.name().hash(state);
    }
}

impl AggregateUDFImpl for ExtremeAggregate {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arguments)
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match args.expr_fields[0].data_type() {
            list @ DataType::List(_) => Ok(Box::new(ExactAccumulator::new(self.which.append_only(list)?))),
            _ => self.inner.accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        matches!(args.expr_fields[0].data_type(), DataType::List(_)) || self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let (which, argument) = (self.which, args.expr_fields[0].data_type().clone());
        if !matches!(argument, DataType::Float32 | DataType::Float64 | DataType::List(_)) {
            return self.inner.create_groups_accumulator(args);
        }
        which.append_only(&argument)?;
        let fresh = move || which.append_only(&argument).expect("the type was accepted just now");
        Ok(Box::new(ExactGroupsAccumulator::new(fresh)))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match args.expr_fields[0].data_type() {
            DataType::List(_) => self.accumulator(args),
            _ => self.inner.create_sliding_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn is_descending(&self) -> Option<bool> {
        self.inner.is_descending()
    }
}
