//! Conditions on the clock in a view: conjuncts of WHERE, ON and HAVING that compare a value of the row with `now()` plus or minus
//! constants of fixed length. They become conditions that have their instants ([`threshold`]); `now()` anywhere else is refused.
//!
//! The clock's side may be `now()`, `current_timestamp`, `current_date`, these as a date or timestamp, and `date_trunc` to units of
//! fixed length, each plus or minus intervals without months, or days where it is a date. A comparison is `<`, `<=`, `>`, `>=`, `=`,
//! or BETWEEN on either side. Guaranteed: a condition that is recognised is true at the same clocks as the one that was written.
//! To be run over an analysed plan, whose types are settled, and in which every cast is in UTC.

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::logical_plan::Filter;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::{conjunction, merge_schema, split_conjunction};
use datafusion::logical_expr::{BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::physical_expr::create_physical_expr;

use super::lower::unaliased;
use super::relation::external;
use crate::Error;
use crate::functions::scalar::intervals;
use crate::functions::threshold::{Bound, DAY_US, as_condition, condition, is_time};

/// What to write instead of what is refused.
const HINT: &str = "in WHERE, ON or HAVING, a condition of its own (joined by AND) may compare a value of the row with the clock: \
     ts > now() - INTERVAL '1 hour', ts + INTERVAL '7 days' <= now(), now() BETWEEN a AND b, day >= current_date - 7; \
     intervals are of fixed length, without months and years";

/// The plan with its conditions on the clock recognised; `None` when it has none.
pub(super) fn with_conditions(plan: &LogicalPlan, state: &SessionState) -> Result<Option<LogicalPlan>> {
    if clock_in(plan)?.is_none() {
        return Ok(None);
    }
    let clock = ClockSide { state };
    let recognised = plan.clone().transform_up_with_subqueries(|node| match node {
        LogicalPlan::Filter(filter) => {
            let predicate = clock.recognised(&filter.predicate, filter.input.schema())?;
            Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate, filter.input)?)))
        }
        LogicalPlan::Join(mut join) => {
            let schema = merge_schema(&[&join.left, &join.right]);
            join.filter = join.filter.map(|filter| clock.recognised(&filter, &schema)).transpose()?;
            Ok(Transformed::yes(LogicalPlan::Join(join)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    match clock_in(&recognised.data)? {
        Some(name) => Err(external(refused(&name))),
        None => Ok(Some(recognised.data)),
    }
}

/// The error of a function of the clock where there is no way to keep it current.
pub(super) fn refused(function: &str) -> Error {
    Error::unsupported(format!("{function}() in a materialized view is not supported but as a bound of its rows"), HINT)
}

/// Refuses a plan to be run in batch with conditions on the clock in it: nobody could evaluate them.
pub(super) fn refuse_conditions(plan: &LogicalPlan) -> Result<()> {
    let mut is_there = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            is_there |= has_condition(expression);
            Ok(if is_there { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    if is_there { Err(external(refused("now"))) } else { Ok(()) }
}

/// Whether something in it can only be made into instants.
pub(super) fn has_condition(expression: &Expr) -> bool {
    expression.exists(|part| Ok(as_condition(part).is_some())).unwrap_or(true)
}

/// The name of a function of the clock that the plan calls.
fn clock_in(plan: &LogicalPlan) -> Result<Option<String>> {
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                match part {
                    Expr::ScalarFunction(call) if is_clock(call.func.name()) => found = Some(call.func.name().to_owned()),
                    _ => {}
                }
                Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })
        })
    })?;
    Ok(found)
}

fn is_clock(name: &str) -> bool {
    matches!(name, "now" | "current_date" | "current_time")
}

fn has_clock(expression: &Expr) -> bool {
    expression.exists(|part| Ok(matches!(part, Expr::ScalarFunction(call) if is_clock(call.func.name())))).unwrap_or(true)
}

/// `floor(now + shift, unit) + offset`, all in microseconds.
#[derive(Debug, Clone, Copy)]
struct Moment {
    shift_us: i64,
    unit_us: i64,
    offset_us: i64,
}

/// Reads the clock's side of a comparison.
struct ClockSide<'a> {
    state: &'a SessionState,
}

impl ClockSide<'_> {
    /// A condition in which each conjunct on the clock that is understood has become one with an instant.
    fn recognised(&self, predicate: &Expr, schema: &DFSchema) -> Result<Expr> {
        let mut conjuncts = Vec::new();
        for conjunct in split_conjunction(predicate) {
            match has_clock(conjunct).then(|| self.conditions(conjunct, schema)).flatten() {
                Some(conditions) => conjuncts.extend(conditions),
                None => conjuncts.push(conjunct.clone()),
            }
        }
        Ok(conjunction(conjuncts).expect("a predicate has a conjunct"))
    }

    fn conditions(&self, conjunct: &Expr, schema: &DFSchema) -> Option<Vec<Expr>> {
        match unaliased(conjunct) {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => self.compared(left, *op, right, schema),
            Expr::Not(negated) => match unaliased(negated) {
                // The negation of `=` is two ranges.
                Expr::BinaryExpr(BinaryExpr { left, op, right }) if *op != Operator::NotEq => {
                    self.compared(left, op.negate().filter(|op| *op != Operator::NotEq)?, right, schema)
                }
                _ => None,
            },
            Expr::Between(between) if !between.negated => {
                let mut conditions = self.one_of_between(&between.expr, Operator::GtEq, &between.low, schema)?;
                conditions.extend(self.one_of_between(&between.expr, Operator::LtEq, &between.high, schema)?);
                Some(conditions)
            }
            _ => None,
        }
    }

    /// One end of a BETWEEN, which need not be on the clock.
    fn one_of_between(&self, value: &Expr, operator: Operator, end: &Expr, schema: &DFSchema) -> Option<Vec<Expr>> {
        match has_clock(value) || has_clock(end) {
            true => self.compared(value, operator, end, schema),
            false => Some(vec![Expr::BinaryExpr(BinaryExpr::new(value.clone().into(), operator, end.clone().into()))]),
        }
    }

    fn compared(&self, left: &Expr, operator: Operator, right: &Expr, schema: &DFSchema) -> Option<Vec<Expr>> {
        let (clock, operator, value) = match (has_clock(left), has_clock(right)) {
            (true, false) => (left, operator, right),
            (false, true) => (right, operator.swap()?, left),
            _ => return None,
        };
        let (clock_type, value_type) = (clock.get_type(schema).ok()?, value.get_type(schema).ok()?);
        // Each is a time of microseconds or a date, and both the same.
        if !is_time(&value_type) || clock_type != value_type {
            return None;
        }
        let Moment { shift_us, unit_us, offset_us } = self.moment(clock, schema)?;
        let bound = |leaves, after| condition(Bound { leaves, after, unit_us, shift_us, offset_us }, value.clone());
        Some(match operator {
            Operator::Lt => vec![bound(true, false)],
            Operator::LtEq => vec![bound(true, true)],
            Operator::Gt => vec![bound(false, true)],
            Operator::GtEq => vec![bound(false, false)],
            Operator::Eq => vec![bound(false, false), bound(true, true)],
            _ => return None,
        })
    }

    /// What an expression of the clock alone is, where it is of the kind that has instants.
    fn moment(&self, expression: &Expr, schema: &DFSchema) -> Option<Moment> {
        match unaliased(expression) {
            Expr::ScalarFunction(call) => self.called(call, schema),
            Expr::Cast(cast) => cast_to(self.moment(&cast.expr, schema)?, &cast.expr.get_type(schema).ok()?, cast.field.data_type()),
            _ => None,
        }
    }

    fn called(&self, call: &ScalarFunction, schema: &DFSchema) -> Option<Moment> {
        let now = Moment { shift_us: 0, unit_us: 1, offset_us: 0 };
        match (call.func.name(), call.args.as_slice()) {
            ("now", []) => Some(now),
            ("current_date", []) => now.rounded(DAY_US),
            (intervals::PLUS, [left, right]) if has_clock(left) => self.moved(left, right, 1, schema),
            (intervals::PLUS, [left, right]) => self.moved(right, left, 1, schema),
            (intervals::MINUS, [left, right]) => self.moved(left, right, -1, schema),
            ("date_trunc", [unit, time]) => {
                let ScalarValue::Utf8(Some(unit)) = self.constant(unit)? else { return None };
                self.moment(time, schema)?.rounded(unit_us(&unit)?)
            }
            ("cast", [value]) => {
                let to = Expr::ScalarFunction(call.clone()).get_type(schema).ok()?;
                cast_to(self.moment(value, schema)?, &value.get_type(schema).ok()?, &to)
            }
            _ => None,
        }
    }

    fn moved(&self, clock: &Expr, by: &Expr, sign: i64, schema: &DFSchema) -> Option<Moment> {
        let moment = self.moment(clock, schema)?;
        let by_us = match self.constant(by)? {
            ScalarValue::IntervalMonthDayNano(Some(span)) if span.months == 0 && span.nanoseconds % 1000 == 0 => {
                i64::from(span.days).checked_mul(DAY_US)?.checked_add(span.nanoseconds / 1000)?
            }
            // A date plus a number is so many days later.
            ScalarValue::Int16(Some(days)) => i64::from(days).checked_mul(DAY_US)?,
            ScalarValue::Int32(Some(days)) => i64::from(days).checked_mul(DAY_US)?,
            ScalarValue::Int64(Some(days)) => days.checked_mul(DAY_US)?,
            _ => return None,
        };
        Some(Moment { offset_us: moment.offset_us.checked_add(by_us.checked_mul(sign)?)?, ..moment })
    }

    /// The value of an expression that is one.
    fn constant(&self, expression: &Expr) -> Option<ScalarValue> {
        if !expression.column_refs().is_empty() || has_clock(expression) || expression.is_volatile() {
            return None;
        }
        let context = PhysicalPlanningContext::default();
        let physical = create_physical_expr(expression, &DFSchema::empty(), self.state.execution_props(), &context).ok()?;
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let one_row = RecordBatch::try_new_with_options(Schema::empty().into(), vec![], &options).ok()?;
        match physical.evaluate(&one_row).ok()? {
            ColumnarValue::Scalar(value) => Some(value),
            ColumnarValue::Array(values) => ScalarValue::try_from_array(&values, 0).ok(),
        }
    }
}

impl Moment {
    /// Down to a multiple of a unit, where the result is of this kind again.
    fn rounded(self, unit_us: i64) -> Option<Self> {
        if unit_us % self.unit_us == 0 && self.offset_us % self.unit_us == 0 {
            return Some(Self { shift_us: self.shift_us.checked_add(self.offset_us)?, unit_us, offset_us: 0 });
        }
        // What is at the start of a larger unit already is at that of a smaller one, too.
        let is_rounded = self.unit_us % unit_us == 0 && self.offset_us % unit_us == 0;
        is_rounded.then_some(self)
    }
}

fn cast_to(moment: Moment, from: &DataType, to: &DataType) -> Option<Moment> {
    match (from, to) {
        (DataType::Timestamp(TimeUnit::Microsecond, _), DataType::Date32) => moment.rounded(DAY_US),
        (from, DataType::Timestamp(TimeUnit::Microsecond, _)) if is_time(from) => Some(moment),
        (DataType::Date32, DataType::Date32) => Some(moment),
        _ => None,
    }
}

/// Units that start at a multiple of their length since 1970.
fn unit_us(name: &str) -> Option<i64> {
    match name.to_ascii_lowercase().as_str() {
        "microsecond" | "microseconds" => Some(1),
        "millisecond" | "milliseconds" => Some(1_000),
        "second" => Some(1_000_000),
        "minute" => Some(60_000_000),
        "hour" => Some(3_600_000_000),
        "day" => Some(DAY_US),
        _ => None,
    }
}
