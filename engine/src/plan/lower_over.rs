//! Window functions that are not a top-n become an operator for each partitioning and order; keys that are expressions are
//! computed by a map below. What each function looks at decides what a change costs ([`Reach`]).

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{NullTreatment, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::logical_plan::Window;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition};
use datafusion::physical_expr::window::WindowExpr;
use datafusion::physical_planner::create_window_expr;

use super::lower::{Lowering, unaliased};
use super::lower_join::{WithColumns, with_columns};
use super::{Node, Over, Plan, Reach, Running, SortColumn};
use crate::Result;

impl Lowering<'_> {
    pub(super) fn window(&self, window: &Window) -> Result<Option<Plan>> {
        let Some(keys) = common_keys(&window.window_expr) else { return Ok(None) };
        let windows = window.window_expr.iter().map(|expression| self.window_expression(expression, window));
        let Some(windows) = windows.collect::<Option<Vec<_>>>() else { return Ok(None) };
        let expressions = keys.partition_by.iter().chain(keys.order_by.iter().map(|sort| &sort.expr));
        let Some(expressions) = self.compile_all(expressions, window.input.schema()) else { return Ok(None) };
        let WithColumns { plan: input, columns } = with_columns(self.lower(&window.input)?, expressions);
        let (partition, order) = columns.split_at(keys.partition_by.len());
        let order = order.iter().zip(&keys.order_by);
        let order = order.map(|(column, sort)| SortColumn { column: *column, descending: !sort.asc, nulls_first: sort.nulls_first });
        let fields: Vec<Field> = window.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        let node = Node::Over(Over {
            partition: partition.to_vec(),
            order: order.collect(),
            windows,
            reach: window.window_expr.iter().map(|expression| self.reach(expression, window)).collect(),
            describe: described(&window.window_expr),
            input: Box::new(input),
        });
        Ok(Some(Plan { node, schema: Arc::new(Schema::new(fields)), append_only: false }))
    }

    fn window_expression(&self, expression: &Expr, window: &Window) -> Option<Arc<dyn WindowExpr>> {
        let (schema, properties) = (window.input.schema(), self.state.execution_props());
        create_window_expr(unaliased(expression), schema, properties, &PhysicalPlanningContext::default()).ok()
    }

    fn reach(&self, expression: &Expr, window: &Window) -> Reach {
        let Expr::WindowFunction(function) = unaliased(expression) else { return Reach::Whole };
        let frame = &function.params.window_frame;
        match function.fun.name() {
            "lag" => neighbour(function, 1),
            "lead" => neighbour(function, -1),
            "row_number" | "rank" | "dense_rank" if function.params.order_by.is_empty() => Reach::Whole,
            "row_number" => Reach::Running(Running::RowNumber),
            "rank" => Reach::Running(Running::Rank),
            "dense_rank" => Reach::Running(Running::DenseRank),
            name if !(is_aggregate(function) || has_frame(name)) => Reach::Whole,
            _ if frame.units == WindowFrameUnits::Rows && is_bounded(frame) => near(frame),
            name if is_aggregate(function) && goes_on(name, function) => {
                let filter = function.params.filter.as_ref().map(|filter| self.compile(filter, window.input.schema()));
                match filter {
                    Some(None) => Reach::Whole,
                    filter => {
                        Reach::Running(Running::Aggregate { by_row: frame.units == WindowFrameUnits::Rows, filter: filter.flatten() })
                    }
                }
            }
            _ => Reach::Whole,
        }
    }
}

fn is_aggregate(function: &WindowFunction) -> bool {
    matches!(function.fun, WindowFunctionDefinition::AggregateUDF(_))
}

/// Functions that are no aggregates but look at their frame.
fn has_frame(name: &str) -> bool {
    matches!(name, "first_value" | "last_value" | "nth_value")
}

/// The row `offset` before (times `direction`) and the row itself.
fn neighbour(function: &WindowFunction, direction: i64) -> Reach {
    if function.params.null_treatment == Some(NullTreatment::IgnoreNulls) {
        return Reach::Whole;
    }
    let offset = match function.params.args.get(1) {
        None => Some(1),
        Some(Expr::Literal(value, _)) => match value.cast_to(&arrow::datatypes::DataType::Int64) {
            Ok(ScalarValue::Int64(offset)) => offset,
            _ => None,
        },
        Some(_) => None,
    };
    match offset.and_then(|offset| offset.checked_mul(direction)) {
        Some(before @ 0..) => Reach::Near { before: before as usize, after: 0 },
        Some(after) => Reach::Near { before: 0, after: usize::try_from(after.unsigned_abs()).unwrap_or(usize::MAX) },
        None => Reach::Whole,
    }
}

fn is_bounded(frame: &WindowFrame) -> bool {
    !frame.start_bound.is_unbounded() && !frame.end_bound.is_unbounded()
}

/// How far a bounded frame of ROWS goes to both sides.
fn near(frame: &WindowFrame) -> Reach {
    let mut reach = (0, 0);
    for bound in [&frame.start_bound, &frame.end_bound] {
        match bound {
            WindowFrameBound::CurrentRow => {}
            WindowFrameBound::Preceding(ScalarValue::UInt64(Some(n))) => reach.0 = reach.0.max(*n as usize),
            WindowFrameBound::Following(ScalarValue::UInt64(Some(n))) => reach.1 = reach.1.max(*n as usize),
            WindowFrameBound::Preceding(_) | WindowFrameBound::Following(_) => return Reach::Whole,
        }
    }
    Reach::Near { before: reach.0, after: reach.1 }
}

/// Whether an aggregate's frame only grows, and what it knows of its rows is little and says all.
fn goes_on(name: &str, function: &WindowFunction) -> bool {
    const LITTLE: &[&str] = &[
        "count",
        "sum",
        "avg",
        "min",
        "max",
        "bool_and",
        "bool_or",
        "bit_and",
        "bit_or",
        "bit_xor",
        "var",
        "var_samp",
        "var_pop",
        "stddev",
        "stddev_samp",
        "stddev_pop",
    ];
    let WindowFunctionParams { window_frame: frame, order_by, distinct, null_treatment, .. } = &function.params;
    let from_start = matches!(&frame.start_bound, WindowFrameBound::Preceding(_)) && frame.start_bound.is_unbounded();
    let is_growing = from_start && matches!(frame.end_bound, WindowFrameBound::CurrentRow) && !order_by.is_empty();
    is_growing && !*distinct && *null_treatment != Some(NullTreatment::IgnoreNulls) && LITTLE.contains(&name)
}

/// The partitioning and order of all windows, when they have the same.
fn common_keys(windows: &[Expr]) -> Option<&WindowFunctionParams> {
    let params = |expression| match unaliased(expression) {
        Expr::WindowFunction(function) => Some(&function.params),
        _ => None,
    };
    let first = windows.first().and_then(params)?;
    let is_same = |other: &WindowFunctionParams| other.partition_by == first.partition_by && other.order_by == first.order_by;
    windows.iter().all(|window| params(window).is_some_and(is_same)).then_some(first)
}

fn described(windows: &[Expr]) -> String {
    let name = |expression: &Expr| match unaliased(expression) {
        Expr::WindowFunction(function) => {
            let arguments: Vec<String> = function.params.args.iter().map(ToString::to_string).collect();
            format!("{}({})", function.fun.name(), arguments.join(", "))
        }
        other => other.to_string(),
    };
    windows.iter().map(name).collect::<Vec<_>>().join(", ")
}
