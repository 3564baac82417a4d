//! Subqueries in the condition of a join: they become those of a filter, above an inner join or below the side that they, and what
//! they stand beside, refer to alone.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::logical_plan::{Filter, Join};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan};

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
        let (mut join, mut above) = (Join { filter: conjunction(without), ..join }, Vec::new());
        for part in with {
            let columns = columns_in(&part)?;
            let refers_to = |side: &LogicalPlan| columns.iter().any(|column| side.schema().has_column(column));
            let (left, right) = (refers_to(&join.left), refers_to(&join.right));
            match join.join_type {
                JoinType::Inner => above.push(part),
                JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark if !left => {
                    join.right = self.filtered(part, &join.right)?;
                }
                JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark if !right => {
                    join.left = self.filtered(part, &join.left)?;
                }
                _ => return Err(external(refused())),
            }
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
        "a subquery in the condition of an outer join that refers to the side whose rows are kept is not supported",
        "select what the subquery gives as a column of that side, in a subquery in FROM",
    )
}
