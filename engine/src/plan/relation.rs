//! What names in a query mean: a stored relation, a view that is expanded where it is used, or rows computed on the spot.
//!
//! Planning leaves `TableScan`s over a [`RelationSource`] that carries the object's id: lowering finds the id there, and a
//! batch run puts a snapshot in its place.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use catalog::ObjectId;
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::config::ConfigOptions;
use datafusion::common::{DFSchemaRef, DataFusionError, Result as DataFusionResult, ScalarValue, TableReference};
use datafusion::datasource::{TableProvider, provider_as_source};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, LogicalPlanBuilder, ScalarUDF, TableSource, WindowUDF};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::planner::SqlToRel;
use datafusion::sql::sqlparser::ast;

use crate::Error;
use crate::error::sqlstate;
use crate::functions::settings::session_zone;
use crate::plan::canonical::Purpose;
use crate::plan::meaning::for_planner;
use crate::plan::names;
use crate::plan::shared_columns::{Columns, written_out};
use crate::plan::statement::Name;
use crate::plan::system::refused_in_view;
use crate::plan::zone::pinned_to_utc;

/// Views inside views at most.
pub const MAX_VIEW_DEPTH: usize = 32;

/// Finds relations by name: the catalog as one statement sees it.
pub trait RelationProvider: Send + Sync {
    /// The relation of this name; without a schema, as the search path finds it.
    fn resolve(&self, schema: Option<&str>, name: &str) -> Option<Relation>;

    /// A function of the system's schemas.
    fn function(&self, _name: &str) -> Option<Arc<ScalarUDF>> {
        None
    }

    /// The rows of a function of the system's schemas in FROM.
    fn table_function(&self, _name: &str, _arguments: &[ScalarValue]) -> Option<Arc<dyn TableProvider>> {
        None
    }
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
        /// It is kept current, and so computed in UTC, whatever the zone of the session that reads it.
        is_materialized: bool,
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
    purpose: Purpose,
    type_planner: Option<Arc<dyn TypePlanner>>,
    views: RefCell<HashMap<Name, Arc<ViewSource>>>,
}

impl<'a> Names<'a> {
    pub(crate) fn new(state: &'a SessionState, relations: &'a dyn RelationProvider, purpose: Purpose) -> Self {
        Self { state, relations, purpose, type_planner: Some(super::session::type_planner()), views: RefCell::default() }
    }

    /// The logical plan of a query, as SQL says it: neither canonical nor optimised.
    pub(crate) fn plan(&self, query: &ast::Query) -> DataFusionResult<LogicalPlan> {
        self.plan_views_in(query, 0)?;
        self.plan_own(query.clone())
    }

    /// The same, once the views it names are planned.
    fn plan_own(&self, query: ast::Query) -> DataFusionResult<LogicalPlan> {
        let query = for_planner(written_out(query, self)?);
        SqlToRel::new(self).sql_statement_to_plan(ast::Statement::Query(Box::new(query)))
    }

    /// Plans the views a query names, innermost first, so that the SQL planner, whose frames are large, never runs inside
    /// itself.
    fn plan_views_in(&self, query: &ast::Query, depth: usize) -> DataFusionResult<()> {
        for name in names::relations(query) {
            let Some(Relation::View { query, columns, is_materialized }) = self.relations.resolve(name.schema.as_deref(), &name.name)
            else {
                continue;
            };
            if self.views.borrow().contains_key(&name) {
                continue;
            }
            if depth >= MAX_VIEW_DEPTH {
                let message = format!("view \"{}\" is nested more than {MAX_VIEW_DEPTH} levels deep", name.name);
                return Err(external(Error::new(sqlstate::STATEMENT_TOO_COMPLEX, message)));
            }
            self.plan_views_in(&query, depth + 1)?;
            let plan = self.plan_own(*query)?;
            let plan = match is_materialized && session_zone().is_some() {
                true => pinned_to_utc(plan, self.state)?,
                false => plan,
            };
            let source = Arc::new(ViewSource { plan: rename(plan, &columns)? });
            self.views.borrow_mut().insert(name, source);
        }
        Ok(())
    }

    fn view(&self, reference: &TableReference) -> DataFusionResult<Arc<dyn TableSource>> {
        let name = Name { schema: reference.schema().map(str::to_string), name: reference.table().to_string() };
        match self.views.borrow().get(&name) {
            Some(source) => Ok(Arc::clone(source) as Arc<dyn TableSource>),
            None => Err(external(Error::internal(format!("view \"{reference}\" was not planned before it was used")))),
        }
    }
}

impl Columns for Names<'_> {
    fn of(&self, name: &ast::ObjectName) -> Option<Vec<String>> {
        let Name { schema, name } = names::name(name).ok()?;
        let reference = match schema {
            Some(schema) => TableReference::partial(schema, name),
            None => TableReference::bare(name),
        };
        let source = self.get_table_source(reference).ok()?;
        Some(source.schema().fields().iter().map(|field| field.name().clone()).collect())
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

/// The functions in FROM take eight-byte integers alone.
fn as_wide_integer(argument: Expr) -> Expr {
    match argument {
        Expr::Literal(ScalarValue::Int16(number), metadata) => Expr::Literal(ScalarValue::Int64(number.map(i64::from)), metadata),
        Expr::Literal(ScalarValue::Int32(number), metadata) => Expr::Literal(ScalarValue::Int64(number.map(i64::from)), metadata),
        other => other,
    }
}

/// An error of ours on its way through DataFusion.
pub(crate) fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

impl ContextProvider for Names<'_> {
    fn get_table_source(&self, name: TableReference) -> DataFusionResult<Arc<dyn TableSource>> {
        match self.relations.resolve(name.schema(), name.table()) {
            Some(Relation::Stored { id, schema, append_only }) => Ok(Arc::new(RelationSource { id, append_only, schema })),
            Some(Relation::View { .. }) => self.view(&name),
            Some(Relation::Rows(_)) if self.purpose != Purpose::Read => {
                Err(external(refused_in_view(&format!("system relation \"{}\"", name.table()))))
            }
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
        let schema = datafusion::common::DFSchema::empty();
        let simplifier = simplifier(self.state, Arc::new(datafusion::common::DFSchema::empty()));
        let args = args
            .into_iter()
            .map(|argument| simplifier.simplify(simplifier.coerce(argument, &schema)?))
            .collect::<DataFusionResult<Vec<_>>>()?;
        let args: Vec<Expr> = args.into_iter().map(as_wide_integer).collect();
        let literals: Vec<ScalarValue> = args.iter().filter_map(|argument| argument.as_literal().cloned()).collect();
        if let Some(provider) = self.relations.table_function(name, &literals) {
            return Ok(provider_as_source(provider));
        }
        let function = self
            .state
            .table_functions()
            .get(name)
            .ok_or_else(|| external(Error::new(sqlstate::UNDEFINED_FUNCTION, format!("function {name} does not exist"))))?;
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
        self.state.scalar_functions().get(name).cloned().or_else(|| self.relations.function(name))
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
