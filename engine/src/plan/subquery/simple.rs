//! Which subqueries are left to DataFusion: those it turns into one join without bindings, and rightly so.
//!
//! A subquery is *simple* when it refers outside only in WHERE, below nothing but projections and filters, and in conditions without
//! subqueries of their own: then the condition becomes that of the join. What it gets wrong or cannot do is the rest: marks that do not know nulls, LIMIT, set
//! operations, outer joins and aggregates between the reference and the top.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::logical_plan::{Filter, Subquery};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, JoinType, LogicalPlan, Operator};

use super::has_subquery;

/// Where a subquery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In WHERE or HAVING.
    Condition,
    /// In a select list.
    SelectList,
    /// In a sort key, an argument of an aggregate, …
    Elsewhere,
}

/// An aggregate over a simple query that is correlated by equalities.
pub(super) fn scalar(subquery: &Subquery, outer: &LogicalPlan, place: Place) -> bool {
    let is_correlated = !subquery.outer_ref_columns.is_empty();
    place != Place::Elsewhere && is_correlated && refers_to(&subquery.subquery, outer) && is_simple_aggregate(&subquery.subquery)
}

/// EXISTS as a part of a condition.
pub(super) fn exists(subquery: &Subquery, outer: &LogicalPlan) -> bool {
    subquery.outer_ref_columns.is_empty() || refers_to(&subquery.subquery, outer) && is_simple(&subquery.subquery)
}

/// On the right of a lateral join.
pub(super) fn lateral(subquery: &Subquery, left: &LogicalPlan) -> bool {
    refers_to(&subquery.subquery, left) && is_simple(&subquery.subquery)
}

/// All that it refers to are columns of `outer`, and not of a query around that.
fn refers_to(subquery: &LogicalPlan, outer: &LogicalPlan) -> bool {
    let is_column = |reference: &Expr| match reference {
        Expr::OuterReferenceColumn(_, column) => outer.schema().maybe_index_of_column(column).is_some(),
        _ => false,
    };
    subquery.all_out_ref_exprs().iter().all(is_column)
}

/// IN as a part of a condition, where no null can meet it.
pub(super) fn is_in(expression: &Expr, subquery: &Subquery, outer: &LogicalPlan) -> bool {
    let (_, value) = subquery.subquery.schema().qualified_field(0);
    let meets_null = value.is_nullable() || expression.nullable(outer.schema().as_ref()).unwrap_or(true);
    !meets_null && exists(subquery, outer)
}

/// Whether the subquery has one row or none whatever the bindings are.
pub(super) fn at_most_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Distinct(_) => plan.inputs().into_iter().all(at_most_one_row),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(_) => true,
        LogicalPlan::Values(values) => values.values.len() <= 1,
        LogicalPlan::Limit(limit) => {
            let fetch = limit.get_fetch_type();
            let one = matches!(fetch, Ok(datafusion::logical_expr::logical_plan::FetchType::Literal(Some(0 | 1))));
            one || at_most_one_row(&limit.input)
        }
        LogicalPlan::Join(join) if join.join_type == JoinType::Inner => at_most_one_row(&join.left) && at_most_one_row(&join.right),
        _ => false,
    }
}

/// Refers outside in filters alone, which stand below projections and filters.
fn is_simple(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Filter(filter) => {
            let can_be_moved = |part: &Expr| !refers_outside(part) || !has_subquery(part).unwrap_or(true);
            split_conjunction(&filter.predicate).into_iter().all(can_be_moved) && is_simple(&filter.input)
        }
        LogicalPlan::Projection(projection) => !projection.expr.iter().any(refers_outside) && is_simple(&projection.input),
        other => other.all_out_ref_exprs().is_empty(),
    }
}

fn is_simple_aggregate(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => !projection.expr.iter().any(refers_outside) && is_simple_aggregate(&projection.input),
        LogicalPlan::Aggregate(aggregate) => {
            aggregate.group_expr.is_empty()
                && !aggregate.aggr_expr.iter().any(refers_outside)
                && is_simple(&aggregate.input)
                && equalities_only(&aggregate.input)
        }
        _ => false,
    }
}

/// Each condition that refers outside is an equality of a column outside and something inside.
fn equalities_only(plan: &LogicalPlan) -> bool {
    let mut only = true;
    plan.apply(|node| {
        if let LogicalPlan::Filter(Filter { predicate, .. }) = node {
            only &= split_conjunction(predicate).into_iter().all(|part| !refers_outside(part) || is_equality(part));
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .expect("the visitor does not fail");
    only
}

fn is_equality(part: &Expr) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = part else { return false };
    let pair = |outer: &Expr, inner: &Expr| matches!(outer, Expr::OuterReferenceColumn(..)) && !refers_outside(inner) && is_column(inner);
    pair(left, right) || pair(right, left)
}

fn is_column(expression: &Expr) -> bool {
    matches!(expression, Expr::Column(_))
}

pub(super) fn refers_outside(expression: &Expr) -> bool {
    expression.exists(|node| Ok(matches!(node, Expr::OuterReferenceColumn(..)))).expect("the visitor does not fail")
}
