//! Subqueries in the condition of a join. Above an inner join they become those of a filter, and so they do below the side that they,
//! and what they stand beside, refer to alone, if rows of that side are not kept. What any other gives becomes a column of the side
//! that it refers to; if it refers to both, one of the side whose rows are not kept, for each pair.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::logical_plan::{Filter, Join};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan};

use super::bindings::{join_on, same_keys};
use super::names::{column, distinct, keep_columns, project};
use super::replace::Outer;
use super::simple::Place;
use super::{Unnesting, has_subquery};
use crate::Error;
use crate::plan::relation::external;

impl Unnesting {
    /// A join without subqueries in its condition.
    pub(super) fn join(&mut self, join: Join) -> Result<LogicalPlan> {
        let Some(condition) = join.filter.clone().filter(|condition| has_subquery(condition).unwrap_or(true)) else {
            return self.lateral(join);
        };
        let (with, without): (Vec<Expr>, Vec<Expr>) =
            split_conjunction_owned(condition).into_iter().partition(|part| has_subquery(part).unwrap_or(true));
        let (mut join, mut above, mut kept) = (Join { filter: conjunction(without), ..join }, Vec::new(), Vec::new());
        for part in with {
            let part = self.inner_ones_first(part)?;
            let (left, right) = sides(&part, &join)?;
            match join.join_type {
                JoinType::Inner => above.push(part),
                JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark if !left => {
                    join.right = self.filtered(part, &join.right)?;
                }
                JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark if !right => {
                    join.left = self.filtered(part, &join.left)?;
                }
                _ => kept.push(part),
            }
        }
        if !kept.is_empty() {
            return self.with_values(join, kept);
        }
        let joined = self.lateral(join)?;
        match conjunction(above) {
            Some(predicate) => self.filter(Filter::try_new(predicate, Arc::new(joined))?),
            None => Ok(joined),
        }
    }

    fn filtered(&mut self, predicate: Expr, side: &Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
        self.filter(Filter::try_new(predicate, Arc::clone(side))?).map(Arc::new)
    }

    /// The expression with subqueries that have none in them: only now is it seen what these refer to.
    fn inner_ones_first(&mut self, part: Expr) -> Result<Expr> {
        let unnested = part.transform_up(|node| {
            let node = match node {
                Expr::ScalarSubquery(subquery) => Expr::ScalarSubquery(self.inner(subquery)?),
                Expr::Exists(Exists { subquery, negated }) => Expr::Exists(Exists { subquery: self.inner(subquery)?, negated }),
                Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                    Expr::InSubquery(InSubquery { expr, subquery: self.inner(subquery)?, negated })
                }
                other => return Ok(Transformed::no(other)),
            };
            Ok(Transformed::yes(node))
        })?;
        Ok(unnested.data)
    }

    /// The join under the further conditions `parts`: each subquery's value is a column of one of its sides.
    fn with_values(&mut self, join: Join, parts: Vec<Expr>) -> Result<LogicalPlan> {
        let schema = Arc::clone(&join.schema);
        let (mut left, mut right) = (Outer::new(join.left.as_ref().clone()), Outer::new(join.right.as_ref().clone()));
        let (mut conditions, mut of_pairs) = (Vec::with_capacity(parts.len()), Vec::new());
        for part in parts {
            let with_values = part.transform_down(|node| {
                if !matches!(node, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_)) {
                    return Ok(Transformed::no(node));
                }
                let value = match sides(&node, &join)? {
                    (true, true) => {
                        let name = self.names.fresh("value");
                        of_pairs.push((node, name.clone()));
                        column(&name)
                    }
                    (false, true) => self.expression(node, &mut right, Place::Elsewhere)?,
                    (_, false) => self.expression(node, &mut left, Place::Elsewhere)?,
                };
                Ok(Transformed::new(value, true, TreeNodeRecursion::Jump))
            })?;
            conditions.push(with_values.data);
        }
        if !of_pairs.is_empty() {
            conditions.extend(self.join_pairs(of_pairs, &join, &mut left, &mut right)?);
        }
        let filter = conjunction(join.filter.clone().into_iter().chain(conditions));
        let Join { on, join_type, join_constraint, null_equality, null_aware, .. } = join;
        let (left, right) = (left.plan.into(), right.plan.into());
        let joined = self.lateral(Join::try_new(left, right, on, filter, join_type, join_constraint, null_equality, null_aware)?)?;
        keep_columns(joined, &schema)
    }

    /// Joins what the expressions `values` give for pairs of rows to the side that is not kept. The condition on the other side under
    /// which a row of it belongs to such a pair.
    fn join_pairs(&mut self, values: Vec<(Expr, String)>, join: &Join, left: &mut Outer, right: &mut Outer) -> Result<Option<Expr>> {
        let (kept, other) = match join.join_type {
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => (left, right),
            JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => (right, left),
            JoinType::Inner | JoinType::Full => return Err(external(refused())),
        };
        let is_column_of = |side: &Outer, column: &Column| side.base().schema().has_column(column);
        let mut keys: Vec<(Column, String)> = Vec::new();
        for (value, _) in &values {
            for column in columns_in(value)? {
                let is_new = keys.iter().all(|(known, _)| *known != column);
                if is_new && (is_column_of(kept, &column) || is_column_of(other, &column)) {
                    let name = self.names.fresh(&column.name);
                    keys.push((column, name));
                }
            }
        }
        let (sides, on) = ((join.left.as_ref().clone(), join.right.as_ref().clone()), &join.on);
        let equalities = on.iter().map(|(left, right)| left.clone().eq(right.clone()));
        let met = join_on(sides.0, sides.1, JoinType::Inner, conjunction(equalities.chain(join.filter.clone())))?;
        let LogicalPlan::Join(met) = met else { unreachable!("a join is a join") };
        let columns = keys.iter().map(|(column, _)| Expr::Column(column.clone())).collect();
        let mut pairs = Outer::new(distinct(project(columns, self.lateral(met)?)?)?);

        let mut chosen: Vec<Expr> = keys.iter().map(|(column, name)| Expr::Column(column.clone()).alias(name)).collect();
        for (value, name) in values {
            chosen.push(self.expression(value, &mut pairs, Place::Elsewhere)?.alias(name));
        }
        let pairs = project(chosen, pairs.plan)?;
        let (of_kept, of_other): (Vec<_>, Vec<_>) = keys.into_iter().partition(|(column, _)| is_column_of(kept, column));
        let same = |keys: Vec<(Column, String)>| {
            let (columns, names): (Vec<Column>, Vec<String>) = keys.into_iter().unzip();
            same_keys(columns.into_iter().map(Expr::Column), &names)
        };
        other.plan = join_on(other.plan.clone(), pairs, JoinType::Inner, same(of_other))?;
        Ok(same(of_kept))
    }
}

/// Whether an expression refers to the left and to the right side of a join.
fn sides(expression: &Expr, join: &Join) -> Result<(bool, bool)> {
    let columns = columns_in(expression)?;
    let refers_to = |side: &LogicalPlan| columns.iter().any(|column| side.schema().has_column(column));
    Ok((refers_to(&join.left), refers_to(&join.right)))
}

/// The columns an expression takes from the plan it stands in, those that its subqueries refer to included.
fn columns_in(expression: &Expr) -> Result<Vec<Column>> {
    let mut found: Vec<Column> = expression.column_refs().into_iter().cloned().collect();
    expression.apply(|node| {
        let subquery = match node {
            Expr::ScalarSubquery(subquery) => subquery,
            Expr::Exists(exists) => &exists.subquery,
            Expr::InSubquery(in_subquery) => &in_subquery.subquery,
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        for outer in subquery.subquery.all_out_ref_exprs() {
            if let Expr::OuterReferenceColumn(_, column) = outer {
                found.push(column);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

fn refused() -> Error {
    Error::unsupported(
        "a subquery in the condition of a FULL JOIN that refers to both sides is not supported",
        "select what the subquery gives as a column of one side, in a subquery in FROM",
    )
}
