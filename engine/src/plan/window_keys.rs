//! Keys of windows that compute with what functions return, as columns of a projection below, for batch runs: `abs(a - b)`, where minus
//! is a function of ours, or `f(a) OR b`. DataFusion asks for the bounds of such a function's values, gets those of no type, and can
//! then not tell whether rows are in the order of the key, even right above a sort by it: it refuses to run the window. Other keys
//! stay as they are, so that no rows are sorted that are wider than need be.

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::logical_plan::{Projection, Window};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};

/// The plan, in which windows have columns for keys.
pub(super) fn computed_below(plan: LogicalPlan) -> Result<LogicalPlan> {
    let computed = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Window(window) if window.window_expr.iter().any(has_computed_keys) => over_columns(window).map(Transformed::yes),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(computed.data)
}

/// Whether something in it that has bounds of its own is over a function.
fn is_computed(key: &Expr) -> bool {
    let is_over_function = |part: &Expr| {
        let mut is_over = false;
        let visited = part.apply_children(|child| {
            is_over |= matches!(child, Expr::ScalarFunction(_));
            Ok(TreeNodeRecursion::Continue)
        });
        is_over || visited.is_err()
    };
    let has_bounds = |part: &Expr| match part {
        Expr::ScalarFunction(call) => call.func.name() == "abs",
        part => !matches!(part, Expr::Column(_) | Expr::Literal(..) | Expr::Alias(_)),
    };
    key.exists(|part| Ok(has_bounds(part) && is_over_function(part))).unwrap_or(true)
}

fn has_computed_keys(window: &Expr) -> bool {
    match window {
        Expr::Alias(alias) => has_computed_keys(&alias.expr),
        Expr::WindowFunction(function) => {
            let params = &function.params;
            params.partition_by.iter().chain(params.order_by.iter().map(|sort| &sort.expr)).any(is_computed)
        }
        _ => false,
    }
}

fn over_columns(window: Window) -> Result<LogicalPlan> {
    let outputs = window.schema.columns();
    let mut below: Vec<Expr> = window.input.schema().columns().into_iter().map(Expr::Column).collect();
    let n_columns = below.len();
    let mut keys: Vec<Expr> = Vec::new();
    let windows: Vec<Expr> = window.window_expr.into_iter().map(|window| with_columns(window, &mut keys)).collect();
    below.extend(keys.into_iter().enumerate().map(|(place, key)| key.alias(name(place))));
    let input = LogicalPlan::Projection(Projection::try_new(below, window.input)?);
    let names = windows.iter().map(|window| Expr::Column(Column::new_unqualified(window.schema_name().to_string())));
    let results = names.zip(&outputs[n_columns..]).map(|(result, output)| result.alias_qualified(output.relation.clone(), &output.name));
    let shown: Vec<Expr> = outputs[..n_columns].iter().cloned().map(Expr::Column).chain(results).collect();
    let windows = LogicalPlanBuilder::window_plan(input, windows)?;
    Ok(LogicalPlan::Projection(Projection::try_new(shown, windows.into())?))
}

/// The window with a column for each computed key.
fn with_columns(window: Expr, keys: &mut Vec<Expr>) -> Expr {
    let mut column = |key: &mut Expr| {
        if is_computed(key) {
            let place = keys.iter().position(|known| known == key).unwrap_or_else(|| {
                keys.push(key.clone());
                keys.len() - 1
            });
            *key = Expr::Column(Column::new_unqualified(name(place)));
        }
    };
    match window {
        Expr::Alias(alias) => with_columns(*alias.expr, keys),
        Expr::WindowFunction(mut function) => {
            let params = &mut function.params;
            params.partition_by.iter_mut().chain(params.order_by.iter_mut().map(|sort| &mut sort.expr)).for_each(&mut column);
            Expr::WindowFunction(function)
        }
        other => other,
    }
}

fn name(place: usize) -> String {
    format!("$window_key_{place}")
}
