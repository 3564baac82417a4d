//! A subquery for all bindings at once: the bindings become columns of each of its operators, from its leaves up.
//!
//! Guaranteed of [`Bound`]: for each row of bindings it has the rows that the subquery has for that binding, each with the
//! binding in the columns `keys`; beside them it has the subquery's columns under their names, and no others.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, NullEquality, Result};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::logical_plan::{
    Aggregate, Distinct, FetchType, Filter, Join, JoinConstraint, Limit, Projection, SkipType, SubqueryAlias, Union, Unnest, Values, Window,
};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Expr, JoinType, LogicalPlan, LogicalPlanBuilder, Operator, SortExpr, WindowFrame, WindowFunctionDefinition, binary_expr, lit,
};

use super::Unnesting;
use super::names::{column, columns, distinct, project};
use super::recursion::Recursion;
use crate::Error;
use crate::plan::relation::external;

/// The distinct values of the outer columns that a subquery refers to.
pub(super) struct Bindings {
    /// Their rows, in columns of any names, in the order of `outer`.
    pub(super) rows: LogicalPlan,
    /// The outer columns.
    pub(super) outer: Vec<Column>,
    /// The recursions around the part that is bound: their rows so far have bindings of their own.
    pub(super) recursions: Vec<Recursion>,
}

/// A part of a subquery with its bindings.
pub(super) struct Bound {
    pub(super) plan: LogicalPlan,
    /// The columns that hold them, in the order of the outer columns.
    pub(super) keys: Vec<String>,
}

impl Bindings {
    /// Of `subquery` in rows of `outer`; without columns when it refers to none of them.
    pub(super) fn of(subquery: &LogicalPlan, outer: &LogicalPlan) -> Result<Self> {
        let columns = outer_columns(subquery, outer);
        let chosen = columns.iter().cloned().map(Expr::Column).collect();
        let rows = distinct(project(chosen, outer.clone())?)?;
        Ok(Self { rows, outer: columns, recursions: Vec::new() })
    }

    fn place(&self, expression: &Expr) -> Option<usize> {
        match expression {
            Expr::OuterReferenceColumn(_, column) => self.outer.iter().position(|outer| outer == column),
            _ => None,
        }
    }

    fn is_named_in(&self, plan: &LogicalPlan) -> bool {
        plan.all_out_ref_exprs().iter().any(|reference| self.place(reference).is_some())
            || self.recursions.iter().any(|recursion| recursion.is_read_in(plan))
    }

    /// The expression over the columns that hold the bindings.
    fn bind(&self, expression: Expr, keys: &[String]) -> Result<Expr> {
        let bound = expression.transform_up(|node| match self.place(&node) {
            Some(place) => Ok(Transformed::yes(column(&keys[place]))),
            None => Ok(Transformed::no(node)),
        })?;
        Ok(bound.data)
    }

    /// All of a node's expressions, under the names they had.
    fn bind_all(&self, node: &LogicalPlan, expressions: &[Expr], keys: &[String]) -> Result<Vec<Expr>> {
        let names = NamePreserver::new(node);
        let bind = |expression: &Expr| Ok(names.save(expression).restore(self.bind(expression.clone(), keys)?));
        expressions.iter().map(bind).collect()
    }
}

/// The columns of `outer` that a subquery refers to.
pub(super) fn outer_columns(subquery: &LogicalPlan, outer: &LogicalPlan) -> Vec<Column> {
    let mut found: Vec<Column> = Vec::new();
    for reference in subquery.all_out_ref_exprs() {
        if let Expr::OuterReferenceColumn(_, column) = reference {
            if outer.schema().maybe_index_of_column(&column).is_some() && !found.contains(&column) {
                found.push(column);
            }
        }
    }
    found
}

/// Key by key `left IS NOT DISTINCT FROM right`.
pub(super) fn same_keys(left: impl IntoIterator<Item = Expr>, right: &[String]) -> Option<Expr> {
    conjunction(left.into_iter().zip(right).map(|(left, right)| binary_expr(left, Operator::IsNotDistinctFrom, column(right))))
}

/// A join on a condition alone; the optimizers find the keys in it.
pub(super) fn join_on(left: LogicalPlan, right: LogicalPlan, join_type: JoinType, condition: Option<Expr>) -> Result<LogicalPlan> {
    let (left, right, nulls) = (left.into(), right.into(), NullEquality::NullEqualsNothing);
    Ok(LogicalPlan::Join(Join::try_new(left, right, vec![], condition, join_type, JoinConstraint::On, nulls, false)?))
}

impl Unnesting {
    /// `plan` for each binding.
    pub(super) fn bind(&mut self, plan: &LogicalPlan, outer: &Bindings) -> Result<Bound> {
        if matches!(plan, LogicalPlan::EmptyRelation(empty) if empty.produce_one_row) {
            return self.copy(outer);
        }
        if !outer.is_named_in(plan) {
            let Bound { plan: rows, keys } = self.copy(outer)?;
            return Ok(Bound { plan: join_on(rows, plan.clone(), JoinType::Inner, None)?, keys });
        }
        match plan {
            LogicalPlan::Projection(projection) => self.bind_projection(plan, projection, outer),
            LogicalPlan::Filter(filter) => {
                let Bound { plan: input, keys } = self.bind(&filter.input, outer)?;
                let predicate = outer.bind(filter.predicate.clone(), &keys)?;
                Ok(Bound { plan: LogicalPlan::Filter(Filter::try_new(predicate, input.into())?), keys })
            }
            LogicalPlan::SubqueryAlias(alias) => self.bind_alias(alias, outer),
            LogicalPlan::Subquery(subquery) => self.bind(&subquery.subquery, outer),
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.bind(&sort.input, outer),
            LogicalPlan::Limit(limit) => self.bind_limit(limit, outer),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let Bound { plan, keys } = self.bind(input, outer)?;
                Ok(Bound { plan: distinct(plan)?, keys })
            }
            LogicalPlan::Aggregate(aggregate) => self.bind_aggregate(plan, aggregate, outer),
            LogicalPlan::Window(window) => self.bind_window(plan, window, outer),
            LogicalPlan::Join(join) => self.bind_join(join, outer),
            LogicalPlan::Union(union) => self.bind_union(union, outer),
            LogicalPlan::Unnest(unnest) => self.bind_unnest(unnest, outer),
            LogicalPlan::Values(values) => self.bind_values(values, outer),
            LogicalPlan::RecursiveQuery(recursion) => self.bind_recursion(recursion, outer),
            LogicalPlan::TableScan(_) => outer.rows_so_far(plan),
            other => Err(external(refers_outside(&other.display().to_string()))),
        }
    }

    /// The bindings under names of their own.
    fn copy(&mut self, outer: &Bindings) -> Result<Bound> {
        let keys: Vec<String> = outer.outer.iter().map(|_| self.names.fresh("key")).collect();
        let renamed = columns(outer.rows.schema()).into_iter().zip(&keys).map(|(column, key)| column.alias(key)).collect();
        Ok(Bound { plan: project(renamed, outer.rows.clone())?, keys })
    }

    fn bind_projection(&mut self, node: &LogicalPlan, projection: &Projection, outer: &Bindings) -> Result<Bound> {
        let Bound { plan, keys } = self.bind(&projection.input, outer)?;
        let mut expressions = outer.bind_all(node, &projection.expr, &keys)?;
        expressions.extend(keys.iter().map(|key| column(key)));
        Ok(Bound { plan: project(expressions, plan)?, keys })
    }

    /// The alias qualifies the subquery's columns, and not the bindings.
    fn bind_alias(&mut self, alias: &SubqueryAlias, outer: &Bindings) -> Result<Bound> {
        let Bound { plan, keys } = self.bind(&alias.input, outer)?;
        let names = columns(alias.input.schema()).into_iter().zip(alias.schema.iter());
        let mut renamed: Vec<Expr> =
            names.map(|(column, (qualifier, field))| column.alias_qualified(qualifier.cloned(), field.name())).collect();
        renamed.extend(keys.iter().map(|key| column(key)));
        Ok(Bound { plan: project(renamed, plan)?, keys })
    }

    /// LIMIT for each binding. It changes places with projections, which keep the number of rows.
    fn bind_limit(&mut self, limit: &Limit, outer: &Bindings) -> Result<Bound> {
        let below = |input: &Arc<LogicalPlan>| Arc::new(LogicalPlan::Limit(Limit { input: Arc::clone(input), ..limit.clone() }));
        match limit.input.as_ref() {
            LogicalPlan::Projection(projection) => {
                let moved =
                    Projection::try_new_with_schema(projection.expr.clone(), below(&projection.input), Arc::clone(&projection.schema))?;
                self.bind(&LogicalPlan::Projection(moved), outer)
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let moved = SubqueryAlias::try_new(below(&alias.input), alias.alias.clone())?;
                self.bind(&LogicalPlan::SubqueryAlias(moved), outer)
            }
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.first_rows(limit, &sort.input, &sort.expr, outer),
            input => {
                let order: Vec<SortExpr> = columns(input.schema()).into_iter().map(|column| column.sort(true, false)).collect();
                self.first_rows(limit, input, &order, outer)
            }
        }
    }

    fn first_rows(&mut self, limit: &Limit, input: &LogicalPlan, order: &[SortExpr], outer: &Bindings) -> Result<Bound> {
        let (Ok(SkipType::Literal(skip)), Ok(FetchType::Literal(fetch))) = (limit.get_skip_type(), limit.get_fetch_type()) else {
            return Err(external(refers_outside("LIMIT or OFFSET")));
        };
        let Bound { plan, keys } = self.bind(input, outer)?;
        let order_by = order.iter().map(|sort| Ok(SortExpr { expr: outer.bind(sort.expr.clone(), &keys)?, ..sort.clone() }));
        let params = WindowFunctionParams {
            args: vec![],
            partition_by: keys.iter().map(|key| column(key)).collect(),
            order_by: order_by.collect::<Result<_>>()?,
            window_frame: WindowFrame::new(Some(false)),
            filter: None,
            null_treatment: None,
            distinct: false,
        };
        let place = self.names.fresh("place");
        let number = Expr::from(WindowFunction { fun: WindowFunctionDefinition::WindowUDF(row_number_udwf()), params }).alias(&place);
        let kept = columns(plan.schema());
        let numbered = LogicalPlan::Window(Window::try_new(vec![number], plan.into())?);
        let after = column(&place).gt(lit(skip as u64));
        let last = fetch.map(|fetch| column(&place).lt_eq(lit(skip.saturating_add(fetch) as u64)));
        let wanted = last.into_iter().fold(after, Expr::and);
        Ok(Bound { plan: project(kept, LogicalPlan::Filter(Filter::try_new(wanted, numbered.into())?))?, keys })
    }

    /// Grouped by the bindings too. Without GROUP BY each binding has a row, so those without rows are brought back, and a
    /// filter keeps the row that stands for nothing out of every aggregate.
    fn bind_aggregate(&mut self, node: &LogicalPlan, aggregate: &Aggregate, outer: &Bindings) -> Result<Bound> {
        if aggregate.group_expr.iter().any(|group| matches!(group, Expr::GroupingSet(_))) {
            return Err(external(refers_outside("GROUPING SETS, ROLLUP or CUBE")));
        }
        let Bound { mut plan, mut keys } = self.bind(&aggregate.input, outer)?;
        let mut calls = outer.bind_all(node, &aggregate.aggr_expr, &keys)?;
        if aggregate.group_expr.is_empty() {
            let is_row = self.names.fresh("is_row");
            let mut with_mark = columns(plan.schema());
            with_mark.push(lit(true).alias(&is_row));
            let Bound { plan: all, keys: all_keys } = self.copy(outer)?;
            let same = same_keys(all_keys.iter().map(|key| column(key)), &keys);
            plan = join_on(all, project(with_mark, plan)?, JoinType::Left, same)?;
            keys = all_keys;
            let names = NamePreserver::new(node);
            let counted = |call: Expr| Ok(names.save(&call).restore(only_rows(call, &is_row)?));
            calls = calls.into_iter().map(counted).collect::<Result<_>>()?;
        }
        let mut groups = outer.bind_all(node, &aggregate.group_expr, &keys)?;
        groups.extend(keys.iter().map(|key| column(key)));
        let n_groups = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
        let named = aggregate.schema.fields().iter().skip(n_groups);
        let calls = calls.into_iter().zip(named).map(|(call, field)| renamed(call, field.name())).collect();
        Ok(Bound { plan: LogicalPlan::Aggregate(Aggregate::try_new(plan.into(), groups, calls)?), keys })
    }

    fn bind_window(&mut self, node: &LogicalPlan, window: &Window, outer: &Bindings) -> Result<Bound> {
        let Bound { plan, keys } = self.bind(&window.input, outer)?;
        let names = NamePreserver::new(node);
        let by_binding = |expression: &Expr| {
            let partitioned = outer.bind(expression.clone(), &keys)?.transform_up(|node| match node {
                Expr::WindowFunction(mut function) => {
                    function.params.partition_by.extend(keys.iter().map(|key| column(key)));
                    Ok(Transformed::yes(Expr::WindowFunction(function)))
                }
                other => Ok(Transformed::no(other)),
            })?;
            Ok(names.save(expression).restore(partitioned.data))
        };
        let expressions = window.window_expr.iter().map(by_binding).collect::<Result<_>>()?;
        Ok(Bound { plan: LogicalPlan::Window(Window::try_new(expressions, plan.into())?), keys })
    }

    /// A side whose rows stay must have the bindings; of two sides that have them the same ones meet.
    fn bind_join(&mut self, join: &Join, outer: &Bindings) -> Result<Bound> {
        let (left_named, right_named) = (outer.is_named_in(&join.left), outer.is_named_in(&join.right));
        let (bind_left, bind_right) = match join.join_type {
            JoinType::Inner => (left_named || !right_named, right_named),
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => (true, right_named),
            JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => (left_named, true),
            JoinType::Full => (true, true),
        };
        let mut side = |plan: &Arc<LogicalPlan>, is_bound: bool| match is_bound {
            true => self.bind(plan, outer).map(|Bound { plan, keys }| (plan, keys)),
            false => Ok((plan.as_ref().clone(), vec![])),
        };
        let (left, left_keys) = side(&join.left, bind_left)?;
        let (right, right_keys) = side(&join.right, bind_right)?;
        let keys = if bind_left { &left_keys } else { &right_keys };
        let filter = join.filter.clone().map(|filter| outer.bind(filter, keys)).transpose()?;
        let mut on = Vec::with_capacity(join.on.len());
        for (left, right) in &join.on {
            on.push((outer.bind(left.clone(), keys)?, outer.bind(right.clone(), keys)?));
        }
        let same = if bind_left && bind_right { same_keys(left_keys.iter().map(|key| column(key)), &right_keys) } else { None };
        let (filter, same) = match join.null_equality {
            NullEquality::NullEqualsNull => {
                on.extend(same.is_some().then(|| pairs(&left_keys, &right_keys)).into_iter().flatten());
                (filter, None)
            }
            NullEquality::NullEqualsNothing => (filter, same),
        };
        let filter = conjunction(filter.into_iter().chain(same));
        let joined = Join::try_new(
            left.into(),
            right.into(),
            on,
            filter,
            join.join_type,
            join.join_constraint,
            join.null_equality,
            join.null_aware,
        )?;
        self.joined(join, LogicalPlan::Join(joined), &left_keys, &right_keys)
    }

    /// The join's own columns, and the bindings of the side that has them in every row.
    fn joined(&mut self, join: &Join, joined: LogicalPlan, left_keys: &[String], right_keys: &[String]) -> Result<Bound> {
        let mut kept = columns(&join.schema);
        let keys: Vec<String> = match join.join_type {
            JoinType::Full => {
                let keys: Vec<String> = left_keys.iter().map(|_| self.names.fresh("key")).collect();
                let either = pairs(left_keys, right_keys).map(|(left, right)| datafusion::functions::expr_fn::coalesce(vec![left, right]));
                kept.extend(either.zip(&keys).map(|(key, name)| key.alias(name)));
                return Ok(Bound { plan: project(kept, joined)?, keys });
            }
            JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => right_keys.to_vec(),
            _ if left_keys.is_empty() => right_keys.to_vec(),
            _ => left_keys.to_vec(),
        };
        kept.extend(keys.iter().map(|key| column(key)));
        Ok(Bound { plan: project(kept, joined)?, keys })
    }

    fn bind_union(&mut self, union: &Union, outer: &Bindings) -> Result<Bound> {
        let keys: Vec<String> = outer.outer.iter().map(|_| self.names.fresh("key")).collect();
        let mut inputs = Vec::with_capacity(union.inputs.len());
        for input in &union.inputs {
            let bound = self.bind(input, outer)?;
            let own = columns(input.schema()).into_iter().zip(union.schema.iter());
            let own = own.map(|(column, (qualifier, field))| column.alias_qualified(qualifier.cloned(), field.name()));
            let bindings = bound.keys.iter().zip(&keys).map(|(key, name)| column(key).alias(name));
            inputs.push(Arc::new(project(own.chain(bindings).collect(), bound.plan)?));
        }
        let all = LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?);
        let named = columns(all.schema()).into_iter().zip(union.schema.iter());
        let mut named: Vec<Expr> =
            named.map(|(column, (qualifier, field))| column.alias_qualified(qualifier.cloned(), field.name())).collect();
        let bindings = columns(all.schema()).into_iter().skip(named.len());
        named.extend(bindings.zip(&keys).map(|(column, key)| column.alias(key)));
        Ok(Bound { plan: project(named, all)?, keys })
    }

    fn bind_unnest(&mut self, unnest: &Unnest, outer: &Bindings) -> Result<Bound> {
        let Bound { plan, keys } = self.bind(&unnest.input, outer)?;
        let unnested = LogicalPlanBuilder::from(plan).unnest_columns_with_options(unnest.exec_columns.clone(), unnest.options.clone())?;
        Ok(Bound { plan: unnested.build()?, keys })
    }

    /// A projection of the bindings for each row.
    fn bind_values(&mut self, values: &Values, outer: &Bindings) -> Result<Bound> {
        let Bound { plan: rows, keys } = self.copy(outer)?;
        let mut inputs = Vec::with_capacity(values.values.len());
        for row in &values.values {
            let cells = row.iter().zip(values.schema.fields());
            let cells = cells.map(|(cell, field)| Ok(outer.bind(cell.clone(), &keys)?.alias(field.name())));
            let bindings = keys.iter().map(|key| Ok(column(key)));
            inputs.push(Arc::new(project(cells.chain(bindings).collect::<Result<_>>()?, rows.clone())?));
        }
        let plan = match inputs.as_slice() {
            [only] => only.as_ref().clone(),
            _ => LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?),
        };
        Ok(Bound { plan, keys })
    }
}

fn pairs<'a>(left: &'a [String], right: &'a [String]) -> impl Iterator<Item = (Expr, Expr)> + 'a {
    left.iter().zip(right).map(|(left, right)| (column(left), column(right)))
}

/// The aggregate over the rows that are marked.
fn only_rows(call: Expr, is_row: &str) -> Result<Expr> {
    let filtered = call.transform_up(|node| match node {
        Expr::AggregateFunction(mut function) => {
            let is_row = column(is_row).is_not_null();
            let filter = function.params.filter.take().map_or_else(|| is_row.clone(), |filter| is_row.clone().and(*filter));
            function.params.filter = Some(filter.into());
            Ok(Transformed::yes(Expr::AggregateFunction(function)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(filtered.data)
}

fn renamed(call: Expr, name: &str) -> Expr {
    if call.schema_name().to_string() == name { call } else { super::super::lower::unaliased(&call).clone().alias(name) }
}

pub(super) fn refers_outside(what: &str) -> Error {
    Error::unsupported(
        format!("a subquery whose {what} refers to columns of the query around it is not supported"),
        "write the subquery as a join with the tables it refers to",
    )
}
