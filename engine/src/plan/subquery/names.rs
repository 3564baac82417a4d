//! Columns without clashes: fresh names for what a rewrite adds, and projections that take it away again.

use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::logical_plan::{Aggregate, Projection};
use datafusion::logical_expr::{Expr, LogicalPlan};

/// Gives names that no query has.
#[derive(Debug, Default)]
pub(super) struct Names {
    n_given: usize,
}

impl Names {
    /// A new name; `what` is for the reader of plans.
    pub(super) fn fresh(&mut self, what: &str) -> String {
        self.n_given += 1;
        format!("$subquery_{}_{what}", self.n_given)
    }
}

/// A column without qualifier.
pub(super) fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

/// The columns of a schema, as expressions.
pub(super) fn columns(schema: &DFSchema) -> Vec<Expr> {
    schema.iter().map(|(qualifier, field)| Expr::Column(Column::from((qualifier, field)))).collect()
}

/// Only the columns that `schema` has, in its order.
pub(super) fn keep_columns(plan: LogicalPlan, schema: &DFSchema) -> Result<LogicalPlan> {
    if plan.schema().columns() == schema.columns() {
        return Ok(plan);
    }
    project(columns(schema), plan)
}

/// `SELECT DISTINCT * FROM plan`, as a grouping: DataFusion drops a DISTINCT over rows that it takes for unique, and does so of
/// groups of which a part is a key elsewhere, as bindings are.
pub(super) fn distinct(plan: LogicalPlan) -> Result<LogicalPlan> {
    let all = columns(plan.schema());
    Ok(LogicalPlan::Aggregate(Aggregate::try_new(plan.into(), all, vec![])?))
}

/// `SELECT expressions FROM plan`.
pub(super) fn project(expressions: Vec<Expr>, plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(LogicalPlan::Projection(Projection::try_new(expressions, plan.into())?))
}
