//! What names in a query mean: a stored relation, a view that is expanded where it is used, or rows computed on the spot.
//!
//! Planning leaves `TableScan`s over a [`RelationSource`] that carries the object's id: lowering finds the id there, and a
//! batch run puts a snapshot in its place.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use catalog::ObjectId;
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::config::ConfigOptions;
use datafusion::common::{DFSchemaRef, DataFusionError, Result as DataFusionResult, TableReference};
use datafusion::datasource::{TableProvider, provider_as_source};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion::logical_expr::{AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, LogicalPlanBuilder, ScalarUDF, TableSource, WindowUDF};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::planner::SqlToRel;
use datafusion::sql::sqlparser::ast;

use crate::Error;
use crate::error::sqlstate;

/// Views inside views at most: each level is a recursion of the planner.
pub const MAX_VIEW_DEPTH: usize = 32;

/// Finds relations by name: the catalog as one statement sees it.
pub trait RelationProvider: Send + Sync {
    /// The relation of this name; without a schema, as the search path finds it.
    fn resolve(&self, schema: Option<&str>, name: &str) -> Option<Relation>;
}

/// What a name in FROM stands for.
#[derive(Debug, Clone)]
pub enum Relation {
    /// A stream, table, materialized view or errors relation.
    Stored {
        /// Its id.
        id: ObjectId,
        /// Its columns.
        schema: SchemaRef,
        /// It never retracts a row.
        append_only: bool,
    },
    /// A plain view, expanded where it is used.
    View {
        /// Its query, parsed.
        query: Box<ast::Query>,
        /// Names for its columns; empty keeps the query's.
        columns: Vec<String>,
    },
    /// Rows that are there already: a system relation.
    Rows(Arc<dyn TableProvider>),
}

/// Stands in a logical plan for a stored relation.
#[derive(Debug, Clone)]
pub struct RelationSource {
    /// Whose rows.
    pub id: ObjectId,
    /// It never retracts a row.
    pub append_only: bool,
    schema: SchemaRef,
}

impl TableSource for RelationSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// A view's own plan; the builder puts it where the view is scanned.
#[derive(Debug)]
struct ViewSource {
    plan: LogicalPlan,
}

impl TableSource for ViewSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.plan.schema().inner())
    }

    fn get_logical_plan(&'_ self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.plan))
    }
}

/// The names of one statement, as DataFusion's SQL planner asks for them.
pub(crate) struct Names<'a> {
    state: &'a SessionState,
    relations: &'a dyn RelationProvider,
    type_planner: Option<Arc<dyn TypePlanner>>,
    view_depth: Cell<usize>,
}

impl<'a> Names<'a> {
    pub(crate) fn new(state: &'a SessionState, relations: &'a dyn RelationProvider) -> Self {
        Self { state, relations, type_planner: Some(super::session::type_planner()), view_depth: Cell::new(0) }
    }

    /// The logical plan of a query, as SQL says it: neither canonical nor optimised.
    pub(crate) fn plan(&self, query: &ast::Query) -> DataFusionResult<LogicalPlan> {
        SqlToRel::new(self).sql_statement_to_plan(ast::Statement::Query(Box::new(query.clone())))
    }

    fn plan_view(&self, name: &str, query: &ast::Query, columns: &[String]) -> DataFusionResult<LogicalPlan> {
        if self.view_depth.get() >= MAX_VIEW_DEPTH {
            let error = Error::new(sqlstate::STATEMENT_TOO_COMPLEX, format!("view \"{name}\" is nested more than {MAX_VIEW_DEPTH} levels deep"));
            return Err(external(error));
        }
        self.view_depth.set(self.view_depth.get() + 1);
        let plan = self.plan(query);
        self.view_depth.set(self.view_depth.get() - 1);
        rename(plan?, columns)
    }
}

/// The same rows under other names, for `CREATE VIEW v (a, b) AS …`; fewer names than columns name the first ones.
pub(crate) fn rename(plan: LogicalPlan, columns: &[String]) -> DataFusionResult<LogicalPlan> {
    if columns.is_empty() {
        return Ok(plan);
    }
    if columns.len() > plan.schema().fields().len() {
        return Err(external(Error::new(sqlstate::SYNTAX_ERROR, "CREATE VIEW specifies more column names than columns")));
    }
    let renamed: Vec<Expr> = plan
        .schema()
        .columns()
        .into_iter()
        .enumerate()
        .map(|(index, column)| match columns.get(index) {
            Some(name) => Expr::Column(column).alias(name),
            None => Expr::Column(column),
        })
        .collect();
    LogicalPlanBuilder::from(plan).project(renamed)?.build()
}

/// Folds constants of one expression over rows of `schema`; `now()` becomes the statement's time.
pub(crate) fn simplifier(state: &SessionState, schema: DFSchemaRef) -> ExprSimplifier {
    let context = SimplifyContext::builder()
        .with_schema(schema)
        .with_config_options(Arc::clone(state.config_options()))
        .with_query_execution_start_time(state.execution_props().query_execution_start_time)
        .build();
    ExprSimplifier::new(context)
}

/// An error of ours on its way through DataFusion.
pub(crate) fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

impl ContextProvider for Names<'_> {
    fn get_table_source(&self, name: TableReference) -> DataFusionResult<Arc<dyn TableSource>> {
        match self.relations.resolve(name.schema(), name.table()) {
            Some(Relation::Stored { id, schema, append_only }) => Ok(Arc::new(RelationSource { id, append_only, schema })),
            Some(Relation::View { query, columns }) => Ok(Arc::new(ViewSource { plan: self.plan_view(name.table(), &query, &columns)? })),
            Some(Relation::Rows(provider)) => Ok(provider_as_source(provider)),
            None => {
                let shown = match name.schema() {
                    Some(schema) => format!("{schema}.{}", name.table()),
                    None => name.table().to_string(),
                };
                Err(external(Error::new(sqlstate::UNDEFINED_TABLE, format!("relation \"{shown}\" does not exist"))))
            }
        }
    }

    fn get_table_function_source(&self, name: &str, args: Vec<Expr>) -> DataFusionResult<Arc<dyn TableSource>> {
        let function = self.state.table_functions().get(name).ok_or_else(|| {
            external(Error::new(sqlstate::UNDEFINED_FUNCTION, format!("function {name} does not exist")))
        })?;
        let schema = datafusion::common::DFSchema::empty();
        let simplifier = simplifier(self.state, Arc::new(datafusion::common::DFSchema::empty()));
        let args = args
            .into_iter()
            .map(|argument| simplifier.simplify(simplifier.coerce(argument, &schema)?))
            .collect::<DataFusionResult<Vec<_>>>()?;
        let arguments = datafusion::catalog::TableFunctionArgs::new(&args, self.state);
        Ok(provider_as_source(function.create_table_provider_with_args(arguments)?))
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> DataFusionResult<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        self.state.relation_planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        self.type_planner.clone()
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.state.scalar_functions().get(name).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn get_variable_field(&self, _variable_names: &[String]) -> Option<FieldRef> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}
