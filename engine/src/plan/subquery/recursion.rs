//! A recursion for all bindings at once: each of its rows carries the binding that it belongs to, from round to round.
//!
//! Guaranteed: it goes on until no binding has new rows, so that it ends when the recursion ends for each of them.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNode;
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::logical_expr::logical_plan::RecursiveQuery;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, TableScan};

use super::Unnesting;
use super::bindings::{Bindings, Bound, refers_outside};
use super::names::{column, columns, project};
use crate::plan::relation::external;

/// What a recursion's own name stands for in its recursive term.
#[derive(Clone)]
pub(super) struct Recursion {
    /// The name.
    name: String,
    /// The rows of the last round, with their bindings.
    rows: LogicalPlan,
    /// The columns of the bindings.
    keys: Vec<String>,
}

impl Recursion {
    /// Whether the recursion's name is read in `plan`.
    pub(super) fn is_read_in(&self, plan: &LogicalPlan) -> bool {
        plan.exists(|node| Ok(matches!(node, LogicalPlan::TableScan(scan) if self.is_read_by(scan)))).expect("the visitor does not fail")
    }

    fn is_read_by(&self, scan: &TableScan) -> bool {
        read_name(scan).is_some_and(|name| name == self.name)
    }
}

/// The recursion that a scan reads, by its name.
fn read_name(scan: &TableScan) -> Option<String> {
    let provider = source_as_provider(&scan.source).ok()?;
    Some(provider.downcast_ref::<CteWorkTable>()?.name().to_owned())
}

impl Bindings {
    /// The rows of a recursion's last round under the names that `plan`, the scan of them, has.
    pub(super) fn rows_so_far(&self, plan: &LogicalPlan) -> Result<Bound> {
        let LogicalPlan::TableScan(scan) = plan else { return Err(external(refers_outside("scan"))) };
        let innermost = self.recursions.iter().rev().find(|recursion| recursion.is_read_by(scan));
        let Some(recursion) = innermost else { return Err(external(refers_outside("FROM"))) };
        // By place: a recursion that was bound before names its own bindings otherwise in its scan than in its result.
        let rows = columns(recursion.rows.schema());
        let place = |index: usize| scan.projection.as_ref().map_or(index, |projection| projection[index]);
        let scanned = scan.projected_schema.iter().enumerate();
        let own = scanned.map(|(index, (qualifier, field))| rows[place(index)].clone().alias_qualified(qualifier.cloned(), field.name()));
        let chosen = own.chain(recursion.keys.iter().map(|key| column(key))).collect();
        Ok(Bound { plan: project(chosen, recursion.rows.clone())?, keys: recursion.keys.clone() })
    }
}

impl Unnesting {
    pub(super) fn bind_recursion(&mut self, recursion: &RecursiveQuery, outer: &Bindings) -> Result<Bound> {
        let keys: Vec<String> = outer.outer.iter().map(|_| self.names.fresh("key")).collect();
        let first = with_keys(&recursion.static_term, self.bind(&recursion.static_term, outer)?, &keys)?;
        let name = self.names.fresh("recursion");
        // In its own scan the names of the bindings must differ from those that the recursive term gives to its result.
        let scanned: Vec<String> = outer.outer.iter().map(|_| self.names.fresh("key")).collect();
        let inner = Bindings {
            rows: outer.rows.clone(),
            outer: outer.outer.clone(),
            recursions: [outer.recursions.clone(), vec![rows_of(&recursion.name, &name, &first, &scanned)?]].concat(),
        };
        let next = with_keys(&recursion.recursive_term, self.bind(&recursion.recursive_term, &inner)?, &keys)?;
        let plan = LogicalPlanBuilder::from(first).to_recursive_query(name, next, recursion.is_distinct)?.build()?;
        Ok(Bound { plan, keys })
    }
}

/// A term's own columns, and the bindings under `keys`.
fn with_keys(term: &LogicalPlan, bound: Bound, keys: &[String]) -> Result<LogicalPlan> {
    let bindings = bound.keys.iter().zip(keys).map(|(key, name)| column(key).alias(name));
    project(columns(term.schema()).into_iter().chain(bindings).collect(), bound.plan)
}

/// The scan of the last round's rows, which are as those of the first, but all may be null.
fn rows_of(name: &str, unique: &str, first: &LogicalPlan, keys: &[String]) -> Result<Recursion> {
    let n_own = first.schema().fields().len() - keys.len();
    let field = |(place, field): (usize, &Arc<Field>)| {
        let name = place.checked_sub(n_own).map_or(field.name(), |place| &keys[place]);
        field.as_ref().clone().with_name(name).with_nullable(true)
    };
    let fields: Vec<Field> = first.schema().fields().iter().enumerate().map(field).collect();
    let table = CteWorkTable::new(unique, Arc::new(Schema::new(fields)));
    let scan = LogicalPlanBuilder::scan(unique, provider_as_source(Arc::new(table)), None)?.build()?;
    let unqualified = scan.schema().iter().map(|(qualifier, field)| {
        datafusion::logical_expr::Expr::Column(datafusion::common::Column::from((qualifier, field))).alias(field.name())
    });
    let rows = project(unqualified.collect(), scan.clone())?;
    Ok(Recursion { name: name.to_owned(), rows, keys: keys.to_vec() })
}
