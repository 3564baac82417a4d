//! Window functions with PARTITION BY. The windows of one logical node have one partitioning and order; keys that are
//! expressions are computed by a map below. A window over all rows is left to the recompute: it would read every row at each
//! change as well, but at every epoch.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::WindowFunctionParams;
use datafusion::logical_expr::logical_plan::Window;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::window::WindowExpr;
use datafusion::physical_planner::create_window_expr;

use super::lower::{Lowering, unaliased};
use super::lower_join::{WithColumns, with_columns};
use super::{Node, Over, Plan, SortColumn};
use crate::Result;

impl Lowering<'_> {
    pub(super) fn window(&self, window: &Window) -> Result<Option<Plan>> {
        let Some(keys) = common_keys(&window.window_expr) else { return Ok(None) };
        let Some(windows) = window.window_expr.iter().map(|expression| self.window_expression(expression, window)).collect() else {
            return Ok(None);
        };
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
            describe: described(&window.window_expr),
            input: Box::new(input),
        });
        Ok(Some(Plan { node, schema: Arc::new(Schema::new(fields)), append_only: false }))
    }

    fn window_expression(&self, expression: &Expr, window: &Window) -> Option<Arc<dyn WindowExpr>> {
        let (schema, properties) = (window.input.schema(), self.state.execution_props());
        create_window_expr(unaliased(expression), schema, properties, &PhysicalPlanningContext::default()).ok()
    }
}

/// The partitioning and order of all windows, when they have the same, and there is a partitioning.
fn common_keys(windows: &[Expr]) -> Option<&WindowFunctionParams> {
    let params = |expression| match unaliased(expression) {
        Expr::WindowFunction(function) => Some(&function.params),
        _ => None,
    };
    let first = windows.first().and_then(params)?;
    let is_same = |other: &WindowFunctionParams| other.partition_by == first.partition_by && other.order_by == first.order_by;
    (!first.partition_by.is_empty() && windows.iter().all(|window| params(window).is_some_and(is_same))).then_some(first)
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
