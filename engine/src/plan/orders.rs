//! Aggregates over one input in several orders, for batch runs: DataFusion sorts the input of an aggregation once, so calls whose
//! orders differ (`array_agg(a ORDER BY a), array_agg(b ORDER BY b)`) are split into one aggregation per order, which are joined
//! on the groups. The operators of views order each call's rows by themselves and need no such thing.

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, NullEquality, Result};
use datafusion::logical_expr::logical_plan::{Aggregate, Join, JoinConstraint, Projection};
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan, SortExpr};

use super::lower::unaliased;

/// The plan with at most one order per aggregation.
pub(super) fn one_order_each(plan: LogicalPlan) -> Result<LogicalPlan> {
    let split = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Aggregate(aggregate) if orders(&aggregate).len() > 1 && !has_grouping_sets(&aggregate) => {
            split(&aggregate).map(Transformed::yes)
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(split.data)
}

fn has_grouping_sets(aggregate: &Aggregate) -> bool {
    aggregate.group_expr.iter().any(|group| matches!(group, Expr::GroupingSet(_)))
}

fn order(call: &Expr) -> &[SortExpr] {
    match unaliased(call) {
        Expr::AggregateFunction(call) => &call.params.order_by,
        _ => &[],
    }
}

/// The orders there are.
fn orders(aggregate: &Aggregate) -> Vec<&[SortExpr]> {
    let mut orders: Vec<&[SortExpr]> = Vec::new();
    for call in &aggregate.aggr_expr {
        let order = order(call);
        if !order.is_empty() && !orders.contains(&order) {
            orders.push(order);
        }
    }
    orders
}

fn split(aggregate: &Aggregate) -> Result<LogicalPlan> {
    let output: Vec<Expr> = aggregate.schema.columns().into_iter().map(Expr::Column).collect();
    let (groups, _) = output.split_at(output.len() - aggregate.aggr_expr.len());
    let mut joined: Option<LogicalPlan> = None;
    for (place, of_order) in orders(aggregate).into_iter().enumerate() {
        let is_of_it = |call: &&Expr| order(call) == of_order || order(call).is_empty() && place == 0;
        let calls = aggregate.aggr_expr.iter().filter(is_of_it).cloned().collect();
        let part = Aggregate::try_new(aggregate.input.clone(), aggregate.group_expr.clone(), calls)?;
        joined = Some(match joined {
            None => LogicalPlan::Aggregate(part),
            Some(left) => join(left, part, groups, place)?,
        });
    }
    let joined = joined.expect("there are several orders");
    Ok(LogicalPlan::Projection(Projection::try_new(output, joined.into())?))
}

/// The groups of both parts are the same; those of the right one get other names.
fn join(left: LogicalPlan, right: Aggregate, groups: &[Expr], place: usize) -> Result<LogicalPlan> {
    let columns = right.schema.columns().into_iter().map(Expr::Column).enumerate();
    let name = |n: usize| format!("$group_{place}_{n}");
    let named = columns.map(|(n, column)| if n < groups.len() { column.alias(name(n)) } else { column }).collect();
    let right = LogicalPlan::Projection(Projection::try_new(named, LogicalPlan::Aggregate(right).into())?);
    let on = groups.iter().enumerate().map(|(n, group)| (group.clone(), Expr::Column(Column::new_unqualified(name(n))))).collect();
    let (left, right, nulls) = (left.into(), right.into(), NullEquality::NullEqualsNull);
    Ok(LogicalPlan::Join(Join::try_new(left, right, on, None, JoinType::Inner, JoinConstraint::On, nulls, false)?))
}
