//! EXCEPT ALL and INTERSECT ALL by counting copies. DataFusion plans them as an anti and a semi join, which keep or drop all
//! copies of a row; SQL wants the difference and the least of both sides' numbers of copies.
//!
//! `left EXCEPT ALL right` becomes, with the same operators in both engines and incremental in each,
//!
//! ```sql
//! SELECT columns, unnest(generate_series(1, l.n - coalesce(r.n, 0)))      -- INTERSECT ALL: an inner join, least(l.n, r.n)
//! FROM (SELECT columns, count(*) AS n FROM left GROUP BY columns) AS l
//! LEFT JOIN (SELECT columns, count(*) AS n FROM right GROUP BY columns) AS r ON columns IS NOT DISTINCT FROM columns
//! ```

use datafusion::common::{Column, NullEquality, Result};
use datafusion::functions::expr_fn::coalesce;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::functions_nested::expr_fn::gen_series;
use datafusion::logical_expr::logical_plan::{Aggregate, Distinct, Join, JoinConstraint, Projection};
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan, LogicalPlanBuilder, lit, when};

/// The join, or what an ALL that was planned as it means.
pub(super) fn counted(join: Join) -> Result<LogicalPlan> {
    if !is_set_operation(&join) {
        return Ok(LogicalPlan::Join(join));
    }
    let columns: Vec<Expr> = join.on.iter().map(|(left, _)| left.clone()).collect();
    let right_names: Vec<String> = (0..columns.len()).map(|place| format!("$right_{place}")).collect();
    let right_columns = join.on.iter().zip(&right_names).map(|((_, right), name)| right.clone().alias(name)).collect();
    let right = LogicalPlan::Projection(Projection::try_new(right_columns, join.right)?);
    let right_columns: Vec<Expr> = right_names.iter().map(|name| column(name)).collect();
    let left = copies(join.left.as_ref().clone(), &columns, "$left_copies")?;
    let right = copies(right, &right_columns, "$right_copies")?;
    let on = columns.iter().cloned().zip(right_columns).collect();
    let (n_left, n_right) = (column("$left_copies"), column("$right_copies"));
    let (join_type, n) = match join.join_type {
        JoinType::LeftAnti => (JoinType::Left, n_left - coalesce(vec![n_right, lit(0_i64)])),
        _ => (JoinType::Inner, when(n_left.clone().lt(n_right.clone()), n_left).otherwise(n_right)?),
    };
    let nulls = NullEquality::NullEqualsNull;
    let joined = LogicalPlan::Join(Join::try_new(left.into(), right.into(), on, None, join_type, JoinConstraint::On, nulls, false)?);
    let mut numbered = columns.clone();
    numbered.push(gen_series(lit(1_i64), n, lit(1_i64)).alias("$copies"));
    let repeated = LogicalPlan::Projection(Projection::try_new(numbered, joined.into())?);
    LogicalPlanBuilder::from(repeated).unnest_column(Column::new_unqualified("$copies"))?.project(columns)?.build()
}

/// An anti or semi join on all columns of both sides, nulls being equal, is what DataFusion plans for set operations, and for
/// nothing else. Over distinct rows it is right: there is one copy at most.
fn is_set_operation(join: &Join) -> bool {
    let all = |plan: &LogicalPlan, sides: Vec<&Expr>| {
        let columns = plan.schema().columns();
        sides.len() == columns.len() && sides.iter().zip(&columns).all(|(side, column)| matches!(side, Expr::Column(on) if on == column))
    };
    matches!(join.join_type, JoinType::LeftAnti | JoinType::LeftSemi)
        && join.null_equality == NullEquality::NullEqualsNull
        && join.filter.is_none()
        && !join.null_aware
        && !matches!(join.left.as_ref(), LogicalPlan::Distinct(Distinct::All(_)))
        && all(&join.left, join.on.iter().map(|(left, _)| left).collect())
        && all(&join.right, join.on.iter().map(|(_, right)| right).collect())
}

fn copies(plan: LogicalPlan, columns: &[Expr], name: &str) -> Result<LogicalPlan> {
    let n = count(lit(1_i64)).alias(name);
    Ok(LogicalPlan::Aggregate(Aggregate::try_new(plan.into(), columns.to_vec(), vec![n])?))
}

fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}
