//! Names of what DataFusion carries up: it makes a simple subquery (see [`super::simple`]) one relation, whose columns are the
//! subquery's own and those that its conditions on the query around it need, and tells all of these apart by name alone. Two of
//! one name would be taken for one another.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, HashMap, HashSet, Result, TableReference};
use datafusion::logical_expr::expr::SetComparison;
use datafusion::logical_expr::logical_plan::{Aggregate, Filter, Projection, Subquery, SubqueryAlias};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, lit};

use super::Unnesting;
use super::names::{column, columns, project};
use super::simple::refers_outside;
use crate::plan::lower::unaliased;

impl Unnesting {
    /// `(SELECT …)`; its value has a name that no column around it or below it has.
    pub(super) fn scalar_apart(&mut self, subquery: Subquery) -> Result<Subquery> {
        let subquery = self.named_apart(subquery)?;
        self.carried_apart(subquery)
    }

    /// `x IN (…)`.
    pub(super) fn in_apart(&mut self, subquery: Subquery) -> Result<Subquery> {
        let subquery = self.alias_apart(subquery)?;
        self.carried_apart(subquery)
    }

    /// `EXISTS (…)`, which does not look at its select list; DataFusion cannot do with an empty one.
    pub(super) fn exists_apart(&mut self, subquery: Subquery) -> Result<Subquery> {
        let rows = match subquery.subquery.as_ref() {
            LogicalPlan::Projection(projection) => Some(projection.input.as_ref()),
            plan => Some(plan).filter(|plan| plan.schema().fields().is_empty()),
        };
        let subquery = match rows {
            Some(rows) => {
                let row = lit(true).alias(self.names.fresh("row"));
                let plan = project(vec![row], rows.clone())?;
                Subquery { subquery: plan.into(), ..subquery }
            }
            None => subquery,
        };
        self.carried_apart(subquery)
    }

    /// The right side of a lateral join.
    pub(super) fn lateral_apart(&mut self, subquery: &Subquery, alias: Option<&TableReference>) -> Result<LogicalPlan> {
        let apart = LogicalPlan::Subquery(self.carried_apart(subquery.clone())?);
        match alias {
            Some(alias) => Ok(LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(apart.into(), alias.clone())?)),
            None => Ok(apart),
        }
    }

    /// The node with such names for what ANY and ALL compare with: as EXISTS these are conditions above the subquery, in which a
    /// column of the same relation around it would be taken for the subquery's.
    pub(super) fn compared_apart(&mut self, node: LogicalPlan) -> Result<LogicalPlan> {
        let named = node.map_expressions(|expression| {
            expression.transform_up(|expression| match expression {
                Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) => {
                    let subquery = self.named_apart(subquery)?;
                    Ok(Transformed::yes(Expr::SetComparison(SetComparison { expr, subquery, op, quantifier })))
                }
                other => Ok(Transformed::no(other)),
            })
        })?;
        Ok(named.data)
    }

    /// The value under a name of its own where it is computed or has been given a name: a column that keeps its own is that column.
    /// A cast has the name of what it casts.
    fn alias_apart(&mut self, subquery: Subquery) -> Result<Subquery> {
        match subquery.subquery.as_ref() {
            LogicalPlan::Projection(projection) if matches!(projection.expr[0], Expr::Column(_)) => Ok(subquery),
            _ => self.named_apart(subquery),
        }
    }

    fn named_apart(&mut self, subquery: Subquery) -> Result<Subquery> {
        let name = self.names.fresh("value");
        let (value, input) = match subquery.subquery.as_ref() {
            LogicalPlan::Projection(projection) => (unaliased(&projection.expr[0]).clone(), projection.input.as_ref().clone()),
            plan => (columns(plan.schema()).swap_remove(0), plan.clone()),
        };
        Ok(Subquery { subquery: project(vec![value.alias(name)], input)?.into(), ..subquery })
    }

    /// A simple subquery in which each column that is carried up has a name that no other column on the way has.
    fn carried_apart(&mut self, subquery: Subquery) -> Result<Subquery> {
        let mut found = Found::default();
        found.visit(&subquery.subquery);
        let clashing = found.clashing();
        if clashing.is_empty() {
            return Ok(subquery);
        }
        let plan = self.renamed_below_filters(&subquery.subquery, &clashing)?;
        Ok(Subquery { subquery: plan.into(), ..subquery })
    }

    /// The conditions read those columns under fresh names; above them the columns have their own again.
    fn renamed_below_filters(&mut self, plan: &LogicalPlan, clashing: &HashSet<Column>) -> Result<LogicalPlan> {
        match plan {
            LogicalPlan::Projection(Projection { expr, input, .. }) => project(expr.clone(), self.renamed_below_filters(input, clashing)?),
            LogicalPlan::Aggregate(Aggregate { input, group_expr, aggr_expr, .. }) => {
                let input = self.renamed_below_filters(input, clashing)?;
                Ok(LogicalPlan::Aggregate(Aggregate::try_new(input.into(), group_expr.clone(), aggr_expr.clone())?))
            }
            LogicalPlan::Filter(Filter { predicate, input, .. }) => {
                let input = self.renamed_below_filters(input, clashing)?;
                self.filter_renamed(predicate, input, clashing)
            }
            other => Ok(other.clone()),
        }
    }

    fn filter_renamed(&mut self, predicate: &Expr, input: LogicalPlan, clashing: &HashSet<Column>) -> Result<LogicalPlan> {
        let carried = carried(predicate);
        let fresh: HashMap<Column, String> =
            carried.intersection(clashing).map(|column| (column.clone(), self.names.fresh(&column.name))).collect();
        let (mut below, mut above) = (Vec::new(), Vec::new());
        for (qualifier, field) in input.schema().iter() {
            let own = Column::from((qualifier, field));
            let Some(name) = fresh.get(&own) else {
                below.push(Expr::Column(own.clone()));
                above.push(Expr::Column(own));
                continue;
            };
            below.push(Expr::Column(own).alias(name));
            above.push(column(name).alias_qualified(qualifier.cloned(), field.name()));
        }
        let renamed = predicate.clone().transform(|node| match &node {
            Expr::Column(own) => Ok(fresh.get(own).map_or_else(|| Transformed::no(node.clone()), |name| Transformed::yes(column(name)))),
            _ => Ok(Transformed::no(node)),
        })?;
        project(above, LogicalPlan::Filter(Filter::try_new(renamed.data, Arc::new(project(below, input)?))?))
    }
}

/// The columns of a simple subquery that meet where it becomes one relation.
#[derive(Default)]
struct Found {
    /// Those that conditions need.
    carried: HashSet<Column>,
    /// The columns around the subquery in these conditions: they lose the mark that tells them from the subquery's own.
    outer: HashSet<Column>,
    /// The outputs on the way up: the name of each, and the column it is if it is one.
    outputs: HashSet<(String, Option<Column>)>,
}

impl Found {
    fn visit(&mut self, plan: &LogicalPlan) {
        match plan {
            LogicalPlan::Projection(Projection { expr, input, schema, .. }) => {
                for (expression, field) in expr.iter().zip(schema.fields()) {
                    let same = if let Expr::Column(column) = expression { Some(column.clone()) } else { None };
                    self.outputs.insert((field.name().clone(), same));
                }
                self.visit(input);
            }
            LogicalPlan::Aggregate(aggregate) => self.visit(&aggregate.input),
            LogicalPlan::Filter(Filter { predicate, input, .. }) => {
                self.carried.extend(carried(predicate));
                self.outer.extend(outer(predicate));
                self.visit(input);
            }
            _ => {}
        }
    }

    fn clashing(self) -> HashSet<Column> {
        let Self { carried, outer, outputs } = &self;
        let clashes = |column: &&Column| {
            outer.contains(*column)
                || carried.iter().any(|other| other.name == column.name && other != *column)
                || outputs.iter().any(|(name, same)| *name == column.name && same.as_ref() != Some(*column))
        };
        carried.iter().filter(clashes).cloned().collect()
    }
}

/// The subquery's own columns in the parts of a condition that refer outside.
fn carried(predicate: &Expr) -> HashSet<Column> {
    let parts = split_conjunction(predicate).into_iter().filter(|part| refers_outside(part));
    parts.flat_map(|part| part.column_refs().into_iter().cloned().collect::<Vec<_>>()).collect()
}

/// The columns around the subquery that a condition refers to.
fn outer(predicate: &Expr) -> HashSet<Column> {
    let mut found = HashSet::new();
    let visited = predicate.apply(|node| {
        if let Expr::OuterReferenceColumn(_, column) = node {
            found.insert(column.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    visited.expect("nothing fails");
    found
}
