//! Rewrites the expressions of one node of a plan by their types: what the analyzer rules of ours have in common.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// The node with each expression of it, parts first, put through `rewrite`, which is also given the columns in scope. Columns keep
/// their names.
pub(super) fn rewritten(
    plan: LogicalPlan,
    mut rewrite: impl FnMut(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        schema.merge(&DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?);
    }
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expression| {
        keeping_names(&names, expression, &mut |expression| expression.transform_up(|expression| rewrite(expression, &schema)))
    })?
    .map_data(LogicalPlan::recompute_schema)
}

/// The expression of a node put through `rewrite`, under the name it had. The keys of grouping sets have names of their own.
pub(super) fn keeping_names(
    names: &NamePreserver,
    expression: Expr,
    rewrite: &mut dyn FnMut(Expr) -> Result<Transformed<Expr>>,
) -> Result<Transformed<Expr>> {
    if matches!(expression, Expr::GroupingSet(_)) {
        return expression.map_children(|key| keeping_names(names, key, rewrite));
    }
    let name = names.save(&expression);
    Ok(rewrite(expression)?.update_data(|expression| name.restore(expression)))
}
