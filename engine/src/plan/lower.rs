//! Logical plan → operators. Each node that has an operator of ours becomes that operator; any other becomes a recompute
//! over its lowered children, so every plan DataFusion can run is accepted.
//!
//! Guaranteed for each node: the lowered plan has the node's columns, by position and type. A node's expressions can
//! therefore be bound to its input's logical schema and evaluated over the lowered input.
//! The rest of the rules: `lower_map` (projection, filter, unnest, constants), `lower_join`, `lower_aggregate`, `lower_top`,
//! `lower_over`, `lower_temporal`, `lower_recursion`.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::expr::Alias;
use datafusion::logical_expr::logical_plan::{Distinct, Filter};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};

use super::lower_map::{map, relabel};
use super::lower_recursion::{Working, reads_a_round};
use super::query::relation_source;
use super::recompute::recompute;
use super::temporal::has_condition;
use super::{Aggregate, Node, Plan, series};
use crate::error::sqlstate;
use crate::{Error, Result};

/// Depth of a plan at most: kernels are rendered by recursion.
const MAX_PLAN_DEPTH: usize = 256;

/// Lowers one optimised plan.
pub(super) struct Lowering<'a> {
    pub(super) state: &'a SessionState,
    /// The recursion whose step is lowered.
    pub(super) working: Option<&'a Working>,
}

impl<'a> Lowering<'a> {
    pub(super) fn new(state: &'a SessionState) -> Self {
        Self { state, working: None }
    }

    /// The whole plan of a view, whose result has the columns of `schema`. A final ORDER BY is dropped: a view has no order.
    pub(super) fn view(&self, plan: &LogicalPlan, schema: &SchemaRef) -> Result<Plan> {
        if depth(plan) > MAX_PLAN_DEPTH {
            let error =
                Error::new(sqlstate::STATEMENT_TOO_COMPLEX, format!("the query's plan is more than {MAX_PLAN_DEPTH} operators deep"));
            return Err(error.with_hint("split it into views on views"));
        }
        let lowered = self.lower(plan)?;
        assert_eq!(lowered.schema.fields().len(), schema.fields().len(), "a lowered plan has the columns of its query");
        let mut lowered = relabel(lowered, Arc::clone(schema));
        lowered.allow_nulls();
        Ok(lowered)
    }

    /// `plan` as operators.
    pub(super) fn lower(&self, plan: &LogicalPlan) -> Result<Plan> {
        let lowered = match self.operator(plan)? {
            Some(lowered) => lowered,
            None => self.recompute(plan)?,
        };
        Ok(relabel(lowered, arrow_schema(plan)))
    }

    /// `None` when there is no operator for this node.
    fn operator(&self, plan: &LogicalPlan) -> Result<Option<Plan>> {
        match plan {
            LogicalPlan::TableScan(_) => self.scan(plan).map(Some),
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::Filter(filter) => self.any_filter(filter),
            LogicalPlan::SubqueryAlias(alias) => self.lower(&alias.input).map(Some),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Distinct(Distinct::All(input)) => self.lower(input).map(distinct).map(Some),
            LogicalPlan::Join(join) => match self.temporal_join(join)? {
                Some(temporal) => Ok(Some(temporal)),
                None => self.join(join),
            },
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Sort(sort) => self.sort(sort),
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest),
            LogicalPlan::Values(values) => self.values(values),
            LogicalPlan::EmptyRelation(empty) => Ok(Some(self.empty(empty))),
            LogicalPlan::RecursiveQuery(recursion) => self.recursion(plan, recursion),
            _ => Ok(None),
        }
    }

    fn any_filter(&self, filter: &Filter) -> Result<Option<Plan>> {
        if let Some(temporal) = self.temporal_filter(filter)? {
            return Ok(Some(temporal));
        }
        match self.numbered_rows(filter)? {
            Some(top) => Ok(Some(top)),
            None => self.filter(filter),
        }
    }

    fn scan(&self, plan: &LogicalPlan) -> Result<Plan> {
        let LogicalPlan::TableScan(scan) = plan else { unreachable!("called for scans alone") };
        if let Some(working) = self.working.filter(|working| working.is_read_by(scan)) {
            return Ok(working.scan(scan));
        }
        let n_columns = scan.source.schema().fields().len();
        let columns = scan.projection.clone().unwrap_or_else(|| (0..n_columns).collect());
        let (node, append_only) = match (relation_source(plan), series::rows(scan)?) {
            (Some(source), _) => (Node::Scan { relation: source.id, columns }, source.append_only),
            (None, Some(rows)) => (Node::Constant(rows.project(&columns)?.with_schema(arrow_schema(plan))?), true),
            (None, None) => {
                return Err(Error::unsupported(
                    format!("\"{}\" cannot be read by a materialized view", scan.table_name),
                    "its rows are computed when they are read; read it with a query or a plain view",
                ));
            }
        };
        let scanned = Plan { node, schema: arrow_schema(plan), append_only };
        let Some(filter) = scan.filters.iter().cloned().reduce(Expr::and) else { return Ok(scanned) };
        let predicate =
            self.compile(&filter, plan.schema()).ok_or_else(|| Error::internal(format!("scan filter {filter} cannot be evaluated")))?;
        let schema = Arc::clone(&scanned.schema);
        Ok(map(scanned, Some(predicate), columns_of(&schema), schema))
    }

    fn recompute(&self, plan: &LogicalPlan) -> Result<Plan> {
        if let Some(working) = self.working.filter(|_| reads_a_round(plan)) {
            return Ok(working.give_up(plan));
        }
        let query = recompute(plan, self.state, &mut |child| self.lower(child))?;
        Ok(Plan { node: Node::Recompute(query), schema: arrow_schema(plan), append_only: false })
    }

    /// An expression over rows of `schema`; `None` when it has no row-wise form (a subquery or a condition on the clock left in it).
    pub(super) fn compile(&self, expression: &Expr, schema: &DFSchema) -> Option<Arc<dyn PhysicalExpr>> {
        if has_condition(expression) {
            return None;
        }
        create_physical_expr(expression, schema, self.state.execution_props(), &PhysicalPlanningContext::default()).ok()
    }

    /// All of them, or `None`.
    pub(super) fn compile_all<'e>(
        &self,
        expressions: impl IntoIterator<Item = &'e Expr>,
        schema: &DFSchema,
    ) -> Option<Vec<Arc<dyn PhysicalExpr>>> {
        expressions.into_iter().map(|expression| self.compile(expression, schema)).collect()
    }
}

/// The distinct rows of a plan.
pub(super) fn distinct(input: Plan) -> Plan {
    let schema = Arc::clone(&input.schema);
    let append_only = input.append_only;
    let keys = (0..schema.fields().len()).collect();
    let aggregate = Aggregate { input: Box::new(input), keys, aggregates: vec![] };
    Plan { node: Node::Aggregate(aggregate), schema, append_only }
}

/// The columns of a logical plan's output.
pub(super) fn arrow_schema(plan: &LogicalPlan) -> SchemaRef {
    Arc::new(plan.schema().as_arrow().clone())
}

/// Each column of `schema` as it is.
pub(super) fn columns_of(schema: &Schema) -> Vec<Arc<dyn PhysicalExpr>> {
    (0..schema.fields().len()).map(|index| column(schema, index)).collect()
}

/// Column `index` of `schema`.
pub(super) fn column(schema: &Schema, index: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(datafusion::physical_expr::expressions::Column::new(schema.field(index).name(), index))
}

/// Without the names around it.
pub(super) fn unaliased(expression: &Expr) -> &Expr {
    match expression {
        Expr::Alias(Alias { expr, .. }) => unaliased(expr),
        other => other,
    }
}

fn depth(plan: &LogicalPlan) -> usize {
    let mut level = vec![plan];
    let mut depth = 0;
    while !level.is_empty() {
        depth += 1;
        level = level.into_iter().flat_map(LogicalPlan::inputs).collect();
    }
    depth
}
