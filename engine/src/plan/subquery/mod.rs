//! Subqueries as joins, for both engines, by Neumann and Kemper's general way (*Unnesting Arbitrary Queries*, BTW 2015): the
//! subquery is joined with the distinct values of the outer columns it refers to (its *bindings*), the bindings become
//! columns of each of its operators, and the result is joined with the outer query on them.
//!
//! Guaranteed: afterwards no expression holds a subquery that DataFusion cannot run or gets wrong; names, types and order of
//! each plan's columns are as before. A scalar subquery with several rows for a binding fails there with 21000, row by row.
//! Not guaranteed: that every subquery is rewritten. What DataFusion turns into a semi, anti or aggregated join by itself is
//! left to it, since that join needs no bindings ([`simple`] says what). A correlated LIMIT that is no number is left too, and
//! fails there.
//!
//! - [`simple`]: what is left; [`apart`]: names without clashes for it. [`conditions`]: subqueries in ON. [`bindings`]: the subquery for all bindings at once,
//!   [`recursion`]: a recursion in it. [`replace`]: what stands for the subquery's expression above the join. [`names`]: columns
//!   without clashes.

mod apart;
mod bindings;
mod conditions;
mod names;
mod recursion;
mod replace;
mod simple;

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::logical_plan::{Filter, Subquery};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, binary_expr};
use datafusion::optimizer::rewrite_set_comparison::RewriteSetComparison;
use datafusion::optimizer::{AnalyzerRule, OptimizerContext, OptimizerRule};

use names::{Names, keep_columns};
use replace::Outer;
use simple::Place;

use super::relation::external;
use crate::Error;

/// The analyzer rule; it comes last, when types are settled.
#[derive(Debug, Default)]
pub struct UnnestSubqueries;

impl AnalyzerRule for UnnestSubqueries {
    fn name(&self) -> &str {
        "unnest_subqueries"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        refuse_aggregates_of_outer_columns(&plan)?;
        let mut unnesting = Unnesting::default();
        let plan = unnesting.compared_as_exists(plan)?;
        unnesting.plan(plan)
    }
}

/// One run of the rule.
#[derive(Default)]
struct Unnesting {
    names: Names,
    /// Inside of how many subqueries it is.
    depth: usize,
}

impl Unnesting {
    /// ANY and ALL of a query as EXISTS, under the names that they had.
    fn compared_as_exists(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let context = OptimizerContext::new();
        let as_exists = |node: LogicalPlan| {
            if !any_expression(&node, has_comparison)? {
                return Ok(Transformed::no(node));
            }
            let names = NamePreserver::new(&node);
            let mut saved = node.expressions().into_iter().map(|expression| names.save(&expression)).collect::<Vec<_>>().into_iter();
            let exists = RewriteSetComparison::new().rewrite(self.compared_apart(node)?, &context)?;
            let named = |expression| Ok(Transformed::yes(saved.next().expect("there are as many expressions").restore(expression)));
            exists.transform_data(|node| node.map_expressions(named))
        };
        Ok(plan.transform_up_with_subqueries(as_exists)?.data)
    }

    /// The plan without such subqueries, inner ones first.
    fn plan(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let is_subquery = matches!(plan, LogicalPlan::Subquery(_));
        self.depth += usize::from(is_subquery);
        let plan = plan.map_children(|child| self.plan(child).map(Transformed::yes))?.data;
        self.depth -= usize::from(is_subquery);
        match plan {
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Filter(filter) if has_subquery(&filter.predicate)? => self.filter(filter),
            plan if any_subquery(&plan)? => self.node(plan),
            plan => Ok(plan),
        }
    }

    /// What needs no join comes first, so that only rows that pass it give bindings.
    fn filter(&mut self, filter: Filter) -> Result<LogicalPlan> {
        let schema = Arc::clone(filter.input.schema());
        let (with, without): (Vec<Expr>, Vec<Expr>) =
            split_conjunction_owned(filter.predicate).into_iter().partition(|part| has_subquery(part).unwrap_or(true));
        let mut outer = Outer::new(match conjunction(without) {
            Some(predicate) => LogicalPlan::Filter(Filter::try_new(predicate, filter.input)?),
            None => filter.input.as_ref().clone(),
        });
        let mut predicates = Vec::with_capacity(with.len());
        for part in with {
            predicates.push(self.condition(part, &mut outer)?);
        }
        let predicate = conjunction(predicates).expect("a filter with subqueries has a part with one");
        keep_columns(LogicalPlan::Filter(Filter::try_new(predicate, outer.plan.into())?), &schema)
    }

    /// A part of a filter. Below AND and OR alone an unknown IN does what a false one does, so that a mark without nulls will do.
    fn condition(&mut self, part: Expr, outer: &mut Outer) -> Result<Expr> {
        match part {
            Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
                let (left, right) = (self.condition(*left, outer)?, self.condition(*right, outer)?);
                Ok(binary_expr(left, op, right))
            }
            Expr::InSubquery(InSubquery { expr, subquery, negated: false }) => {
                let subquery = self.inner(subquery)?;
                let expr = self.expression(*expr, outer, Place::Elsewhere)?;
                match simple::exists(&subquery, outer.base()) {
                    true => {
                        let subquery = self.in_apart(subquery)?;
                        Ok(Expr::InSubquery(InSubquery { expr: expr.into(), subquery, negated: false }))
                    }
                    false => self.is_in(expr, &subquery, false, outer),
                }
            }
            part => self.expression(part, outer, Place::Condition),
        }
    }

    /// Any other node with one input. A node with several (a join's condition) is left.
    fn node(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let inputs = plan.inputs();
        let [input] = inputs.as_slice() else { return Ok(plan) };
        let place = if matches!(plan, LogicalPlan::Projection(_)) { Place::SelectList } else { Place::Elsewhere };
        let (schema, mut outer, names) = (Arc::clone(plan.schema()), Outer::new((*input).clone()), NamePreserver::new(&plan));
        let mut expressions = Vec::new();
        for expression in plan.expressions() {
            let name = names.save(&expression);
            expressions.push(name.restore(self.expression(expression, &mut outer, place)?));
        }
        let plan = plan.with_new_exprs(expressions, vec![outer.plan])?;
        keep_columns(plan.recompute_schema()?, &schema)
    }

    /// The expression over `outer`, which gets the joins that it needs.
    fn expression(&mut self, expression: Expr, outer: &mut Outer, place: Place) -> Result<Expr> {
        let replaced = expression.transform_down(|node| {
            let is_top = place == Place::Condition;
            let replaced = match node {
                Expr::ScalarSubquery(asked) => match outer.value_of(&asked) {
                    Some(value) => value,
                    None => {
                        let subquery = self.inner(asked.clone())?;
                        match simple::scalar(&subquery, outer.base(), place) {
                            true => Expr::ScalarSubquery(self.scalar_apart(subquery)?),
                            false => {
                                let value = self.scalar(&subquery, outer)?;
                                outer.keep_value(asked, &value)?;
                                value
                            }
                        }
                    }
                },
                Expr::Exists(Exists { subquery, negated }) => {
                    let subquery = self.inner(subquery)?;
                    match is_top && simple::exists(&subquery, outer.base()) {
                        true => Expr::Exists(Exists { subquery: self.exists_apart(subquery)?, negated }),
                        false => self.exists(&subquery, negated, outer)?,
                    }
                }
                Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                    let subquery = self.inner(subquery)?;
                    let expr = self.expression(*expr, outer, Place::Elsewhere)?;
                    let simple = is_top && simple::is_in(&expr, &subquery, outer.base());
                    match simple {
                        // DataFusion's anti join for NOT IN has one key.
                        true if negated && !subquery.outer_ref_columns.is_empty() => {
                            let subquery = with_value(subquery, expr, &outer.plan)?;
                            Expr::Exists(Exists { subquery: self.exists_apart(subquery)?, negated })
                        }
                        true => Expr::InSubquery(InSubquery { expr: expr.into(), subquery: self.in_apart(subquery)?, negated }),
                        false => self.is_in(expr, &subquery, negated, outer)?,
                    }
                }
                other => return Ok(Transformed::no(other)),
            };
            Ok(Transformed::new(replaced, true, TreeNodeRecursion::Jump))
        })?;
        Ok(replaced.data)
    }

    /// The subquery, those inside it unnested.
    fn inner(&mut self, subquery: Subquery) -> Result<Subquery> {
        self.depth += 1;
        let plan = self.plan(subquery.subquery.as_ref().clone())?;
        self.depth -= 1;
        Ok(Subquery { outer_ref_columns: plan.all_out_ref_exprs(), subquery: plan.into(), spans: subquery.spans })
    }
}

/// The rows of a subquery whose value is `x`, an expression around it.
fn with_value(subquery: Subquery, x: Expr, outer: &LogicalPlan) -> Result<Subquery> {
    let x = x.transform_up(|node| match node {
        Expr::Column(column) => {
            let field = outer.schema().qualified_field_from_column(&column)?.1;
            Ok(Transformed::yes(Expr::OuterReferenceColumn(Arc::clone(field), column)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    let value = names::columns(subquery.subquery.schema()).swap_remove(0);
    let rows = LogicalPlan::Filter(Filter::try_new(value.eq(x.data), subquery.subquery)?);
    Ok(Subquery { outer_ref_columns: rows.all_out_ref_exprs(), subquery: rows.into(), spans: subquery.spans })
}

/// An aggregate of columns of a query around alone is that query's in Postgres: here it would be the subquery's.
fn refuse_aggregates_of_outer_columns(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        let LogicalPlan::Aggregate(aggregate) = node else { return Ok(TreeNodeRecursion::Continue) };
        let is_outer = |call: &Expr| simple::refers_outside(call) && call.column_refs().is_empty();
        if aggregate.aggr_expr.iter().any(is_outer) {
            return Err(external(Error::unsupported(
                "an aggregate in a subquery of columns of the query around it alone is not supported",
                "compute it in the query around, or of a column of the subquery",
            )));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

fn has_subquery(expression: &Expr) -> Result<bool> {
    expression.exists(|node| Ok(matches!(node, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_))))
}

fn any_subquery(plan: &LogicalPlan) -> Result<bool> {
    any_expression(plan, has_subquery)
}

fn has_comparison(expression: &Expr) -> Result<bool> {
    expression.exists(|node| Ok(matches!(node, Expr::SetComparison(_))))
}

fn any_expression(plan: &LogicalPlan, is: impl Fn(&Expr) -> Result<bool>) -> Result<bool> {
    let mut found = false;
    plan.apply_expressions(|expression| {
        found |= is(expression)?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}
