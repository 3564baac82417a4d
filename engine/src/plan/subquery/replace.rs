//! What stands for a subquery: a join of the outer query with the bound subquery, and an expression over its columns.

use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, Result, ScalarValue, TableReference};
use datafusion::functions_aggregate::expr_fn::{count, first_value};
use datafusion::logical_expr::logical_plan::{Aggregate, Filter, Join, Subquery, SubqueryAlias};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Case, Expr, JoinType, LogicalPlan, lit};
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion::optimizer::{OptimizerContext, OptimizerRule};

use super::bindings::{Bindings, Bound, join_on, outer_columns, same_keys};
use super::names::{column, columns, distinct, keep_columns, project};
use super::{Unnesting, simple};
use crate::functions::single_row::single_row;

/// A query whose expressions have subqueries, and what it was joined with for them.
pub(super) struct Outer {
    /// Before any join: what bindings are taken from.
    base: LogicalPlan,
    /// With the joins.
    pub(super) plan: LogicalPlan,
    /// Scalar subqueries, and what stands for each: equal ones are joined once and stay one expression. (A sort key of an aggregate
    /// with DISTINCT must be its argument.)
    values: Vec<(Subquery, Expr)>,
}

impl Outer {
    pub(super) fn new(plan: LogicalPlan) -> Self {
        Self { base: plan.clone(), plan, values: Vec::new() }
    }

    /// What stands for an equal subquery.
    pub(super) fn value_of(&self, subquery: &Subquery) -> Option<Expr> {
        self.values.iter().find(|(known, _)| known == subquery).map(|(_, value)| value.clone())
    }

    /// Notes what stands for a subquery, unless each of its runs may give another value.
    pub(super) fn keep_value(&mut self, subquery: Subquery, value: &Expr) -> Result<()> {
        let mut is_volatile = false;
        subquery.subquery.apply_with_subqueries(|node| {
            is_volatile |= node.expressions().iter().any(Expr::is_volatile);
            Ok(TreeNodeRecursion::Continue)
        })?;
        if !is_volatile {
            self.values.push((subquery, value.clone()));
        }
        Ok(())
    }

    /// The query's own columns.
    pub(super) fn base(&self) -> &LogicalPlan {
        &self.base
    }

    /// With the rows of `right` that belong to each row, and nulls for a row that has none.
    fn join(&mut self, right: LogicalPlan, condition: Option<Expr>) -> Result<()> {
        self.plan = join_on(self.plan.clone(), right, JoinType::Left, condition)?;
        Ok(())
    }

    /// The same where `right` has a row for each binding it has, and one if it has no bindings: no null comes of that one.
    fn join_aggregate(&mut self, right: LogicalPlan, condition: Option<Expr>) -> Result<()> {
        let join_type = if condition.is_some() { JoinType::Left } else { JoinType::Inner };
        self.plan = join_on(self.plan.clone(), right, join_type, condition)?;
        Ok(())
    }
}

/// A subquery for all rows of the outer query.
struct Correlated {
    plan: LogicalPlan,
    /// Its columns that hold the bindings.
    keys: Vec<String>,
    /// The outer columns they are bindings of.
    outer: Vec<Expr>,
}

impl Correlated {
    /// Which rows belong to a row of the outer query; `None` when all do.
    fn condition(&self) -> Option<Expr> {
        same_keys(self.outer.iter().cloned(), &self.keys)
    }

    fn key_columns(&self) -> Vec<Expr> {
        self.keys.iter().map(|key| column(key)).collect()
    }
}

impl Unnesting {
    fn correlated(&mut self, subquery: &LogicalPlan, outer: &LogicalPlan) -> Result<Correlated> {
        if outer_columns(subquery, outer).is_empty() {
            return Ok(Correlated { plan: subquery.clone(), keys: vec![], outer: vec![] });
        }
        let bindings = Bindings::of(subquery, outer)?;
        let bound = self.bind(subquery, &bindings)?;
        Ok(Correlated { plan: bound.plan, keys: bound.keys, outer: bindings.outer.into_iter().map(Expr::Column).collect() })
    }

    /// `(SELECT …)`: null without a row, a failure with several.
    pub(super) fn scalar(&mut self, subquery: &Subquery, outer: &mut Outer) -> Result<Expr> {
        let correlated = self.correlated(&subquery.subquery, outer.base())?;
        let value = columns(subquery.subquery.schema()).swap_remove(0);
        let (name, n_rows) = (self.names.fresh("value"), self.names.fresh("rows"));
        let condition = correlated.condition();
        if simple::at_most_one_row(&subquery.subquery) {
            let chosen = correlated.key_columns().into_iter().chain([value.alias(&name)]).collect();
            outer.join(project(chosen, correlated.plan)?, condition)?;
            return Ok(column(&name));
        }
        let calls = vec![first_value(value, vec![]).alias(&name), count(lit(1_i64)).alias(&n_rows)];
        let keys = correlated.key_columns();
        outer.join_aggregate(LogicalPlan::Aggregate(Aggregate::try_new(correlated.plan.into(), keys, calls)?), condition)?;
        Ok(single_row(column(&name), column(&n_rows)))
    }

    /// `[NOT] EXISTS (…)`.
    pub(super) fn exists(&mut self, subquery: &Subquery, negated: bool, outer: &mut Outer) -> Result<Expr> {
        let correlated = self.correlated(&subquery.subquery, outer.base())?;
        let found = self.names.fresh("exists");
        let condition = correlated.condition();
        let any = self.any_row(&correlated, &found)?;
        outer.join_aggregate(any, condition)?;
        let is_found = column(&found).is_true();
        Ok(if negated { is_found.is_not_true() } else { is_found })
    }

    /// Per binding whether there are rows: `found` is true or, where all rows belong to each binding, true or false.
    fn any_row(&mut self, correlated: &Correlated, found: &str) -> Result<LogicalPlan> {
        if correlated.keys.is_empty() {
            let n_rows = self.names.fresh("rows");
            let counted = Aggregate::try_new(correlated.plan.clone().into(), vec![], vec![count(lit(1_i64)).alias(&n_rows)])?;
            return project(vec![column(&n_rows).gt(lit(0_i64)).alias(found)], LogicalPlan::Aggregate(counted));
        }
        let distinct = distinct(project(correlated.key_columns(), correlated.plan.clone())?)?;
        let mut chosen = correlated.key_columns();
        chosen.push(lit(true).alias(found));
        project(chosen, distinct)
    }

    /// `x [NOT] IN (…)` in three values: true for a match; else unknown if there are rows and `x` or one of them is null.
    pub(super) fn is_in(&mut self, x: Expr, subquery: &Subquery, negated: bool, outer: &mut Outer) -> Result<Expr> {
        let correlated = self.correlated(&subquery.subquery, outer.base())?;
        let value = columns(subquery.subquery.schema()).swap_remove(0);
        let is_match = self.matches(&x, &value, &correlated, outer)?;
        let (any, has_null) = self.nulls(value, &correlated, outer)?;
        let unknown = column(&any).is_true().and(x.is_null().or(column(&has_null).is_true()));
        let is_in = Expr::Case(Case {
            expr: None,
            when_then_expr: vec![
                (column(&is_match).is_true().into(), lit(true).into()),
                (unknown.into(), Expr::Literal(ScalarValue::Boolean(None), None).into()),
            ],
            else_expr: Some(lit(false).into()),
        });
        Ok(if negated { !is_in } else { is_in })
    }

    /// Joins with the distinct values; the column that is true for a match.
    fn matches(&mut self, x: &Expr, value: &Expr, correlated: &Correlated, outer: &mut Outer) -> Result<String> {
        let (name, is_match) = (self.names.fresh("value"), self.names.fresh("match"));
        let chosen = correlated.key_columns().into_iter().chain([value.clone().alias(&name)]).collect();
        let values = project(chosen, correlated.plan.clone())?;
        let values = LogicalPlan::Filter(Filter::try_new(column(&name).is_not_null(), values.into())?);
        let values = distinct(values)?;
        let mut marked = columns(values.schema());
        marked.push(lit(true).alias(&is_match));
        let condition = conjunction(std::iter::once(x.clone().eq(column(&name))).chain(correlated.condition()));
        outer.join(project(marked, values)?, condition)?;
        Ok(is_match)
    }

    /// Joins with what is known of all values: two columns, whether there are any, and whether one is null. They are booleans,
    /// not counts, so that they seldom change.
    fn nulls(&mut self, value: Expr, correlated: &Correlated, outer: &mut Outer) -> Result<(String, String)> {
        let (n_rows, n_values) = (self.names.fresh("rows"), self.names.fresh("values"));
        let (any, has_null) = (self.names.fresh("any"), self.names.fresh("has_null"));
        let counts = vec![count(lit(1_i64)).alias(&n_rows), count(value).alias(&n_values)];
        let (keys, names) = self.renamed_keys(correlated);
        let counted = LogicalPlan::Aggregate(Aggregate::try_new(correlated.plan.clone().into(), correlated.key_columns(), counts)?);
        let flags = [column(&n_rows).gt(lit(0_i64)).alias(&any), column(&n_rows).gt(column(&n_values)).alias(&has_null)];
        let flagged = project(keys.into_iter().chain(flags).collect(), counted)?;
        outer.join_aggregate(flagged, same_keys(correlated.outer.iter().cloned(), &names))?;
        Ok((any, has_null))
    }

    /// The bindings under other names, since those they have are taken by another join.
    fn renamed_keys(&mut self, correlated: &Correlated) -> (Vec<Expr>, Vec<String>) {
        let names: Vec<String> = correlated.keys.iter().map(|_| self.names.fresh("key")).collect();
        (correlated.key_columns().into_iter().zip(&names).map(|(key, name)| key.alias(name)).collect(), names)
    }

    /// A lateral join by DataFusion's rule, at once: what stays a reference would be taken for one to a query further out that has a
    /// relation of that name. The rule looks at the condition that is no key alone.
    fn simple_lateral(&mut self, join: &Join, subquery: &Subquery, alias: Option<&TableReference>) -> Result<Option<LogicalPlan>> {
        let right = self.lateral_apart(subquery, alias)?.into();
        let equalities = join.on.iter().map(|(left, right)| left.clone().eq(right.clone()));
        let filter = conjunction(equalities.chain(join.filter.clone()));
        let lateral = LogicalPlan::Join(Join { right, on: Vec::new(), filter, ..join.clone() });
        let joined = DecorrelateLateralJoin::new().rewrite(lateral, &OptimizerContext::new())?;
        Ok(if joined.transformed { Some(keep_columns(joined.data, &join.schema)?) } else { None })
    }

    /// A join whose right side is a subquery that refers to the left.
    pub(super) fn lateral(&mut self, join: Join) -> Result<LogicalPlan> {
        if !matches!(join.join_type, JoinType::Inner | JoinType::Left) {
            return Ok(LogicalPlan::Join(join));
        }
        let Some((subquery, alias)) = lateral_subquery(&join.right) else {
            // One that refers to the left in subqueries of its own alone is none to DataFusion's planner. Inside of a subquery such a
            // reference may be one to the query around that.
            return match self.depth == 0 && !outer_columns(&join.right, &join.left).is_empty() {
                true => self.joined_by_bindings(&join.right, &join),
                false => Ok(LogicalPlan::Join(join)),
            };
        };
        if simple::lateral(subquery, &join.left)
            && let Some(joined) = self.simple_lateral(&join, subquery, alias)?
        {
            return Ok(joined);
        }
        let right = match alias {
            Some(alias) => LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::clone(&subquery.subquery), alias.clone())?),
            None => subquery.subquery.as_ref().clone(),
        };
        if join.join_type == JoinType::Inner && is_row_by_row(&right) {
            return self.row_by_row(&right, &join);
        }
        self.joined_by_bindings(&right, &join)
    }

    fn joined_by_bindings(&mut self, right: &LogicalPlan, join: &Join) -> Result<LogicalPlan> {
        let correlated = self.correlated(right, &join.left)?;
        let equalities = join.on.iter().map(|(left, right)| left.clone().eq(right.clone()));
        let condition = conjunction(correlated.condition().into_iter().chain(equalities).chain(join.filter.clone()));
        keep_columns(join_on(join.left.as_ref().clone(), correlated.plan, join.join_type, condition)?, &join.schema)
    }
}

impl Unnesting {
    /// What the subquery makes of a row stands beside the row: every row of the left is a binding, and there is nothing to join.
    fn row_by_row(&mut self, right: &LogicalPlan, join: &Join) -> Result<LogicalPlan> {
        let outer: Vec<Column> = join.left.schema().columns();
        let bindings = Bindings { rows: join.left.as_ref().clone(), outer: outer.clone(), recursions: Vec::new() };
        let Bound { plan, keys } = self.bind(right, &bindings)?;
        let left = keys.iter().zip(outer).map(|(key, Column { relation, name, .. })| column(key).alias_qualified(relation, name));
        let both = project(left.chain(columns(right.schema())).collect(), plan)?;
        let equalities = join.on.iter().map(|(left, right)| left.clone().eq(right.clone()));
        match conjunction(equalities.chain(join.filter.clone())) {
            Some(condition) => keep_columns(LogicalPlan::Filter(Filter::try_new(condition, both.into())?), &join.schema),
            None => keep_columns(both, &join.schema),
        }
    }
}

/// Whether a subquery reads no relation, and each of its rows comes of one row around it.
fn is_row_by_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        LogicalPlan::Values(_) => true,
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::Unnest(_) => plan.inputs().into_iter().all(is_row_by_row),
        _ => false,
    }
}

/// The subquery on the right of a lateral join, and its alias.
fn lateral_subquery(right: &LogicalPlan) -> Option<(&Subquery, Option<&TableReference>)> {
    match right {
        LogicalPlan::Subquery(subquery) => Some((subquery, None)),
        LogicalPlan::SubqueryAlias(alias) => match alias.input.as_ref() {
            LogicalPlan::Subquery(subquery) => Some((subquery, Some(&alias.alias))),
            _ => None,
        },
        _ => None,
    }
}
