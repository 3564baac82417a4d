//! From a parsed query to something that can be run once or kept current.
//!
//! One canonical logical plan stands behind both: [`PlannedQuery::lower`] makes operators of it, [`PlannedQuery::execute`]
//! runs it over a snapshot. Neither changes it, so what they disagree on is a bug in an engine.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use catalog::ObjectId;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::datasource::{TableProvider, provider_as_source};
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, TableSource};
use datafusion::optimizer::analyzer::Analyzer;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::sql::sqlparser::ast;
use futures::TryStreamExt;

use super::Plan;
use super::beside_wildcards::told_apart;
use super::canonical::{Purpose, canonical, client_types};
use super::failure::{SourceText, from_datafusion};
use super::lower::Lowering;
use super::parameters::Inference;
use super::recompute::yielding;
use super::references::named_references;
use super::relation::{Names, RelationProvider, RelationSource, rename};
use super::session::Session;
use super::statement::Parsed;
use super::system_types::with_system_types;
use super::temporal::with_conditions;
use crate::error::sqlstate;
use crate::functions::settings::session_zone;
use crate::query_memory::without_files;
use crate::{Error, Result};

/// Makes plans for one statement.
pub struct Planner<'a> {
    session: &'a Session,
    relations: &'a dyn RelationProvider,
    now_us: i64,
    text: Option<SourceText>,
    inference: Option<&'a Inference>,
    /// `TimeZone` of the session that asks, for what is read once; `None` is UTC.
    zone: Option<String>,
}

impl<'a> Planner<'a> {
    /// Plans against `relations`, with `now()` at `now_us` microseconds since 1970, for the session of this task.
    pub fn new(session: &'a Session, relations: &'a dyn RelationProvider, now_us: i64) -> Self {
        Self { session, relations, now_us, text: None, inference: None, zone: session_zone() }
    }

    /// What the statement was parsed from: errors then carry a position in it.
    pub fn with_text(mut self, text: &str) -> Self {
        self.text = Some(SourceText { text: text.to_owned(), start: (1, 1) });
        self
    }

    /// The statement it was parsed from, when there may be others before it.
    pub fn with_source(mut self, parsed: &Parsed) -> Self {
        self.text = Some(SourceText { text: parsed.text.clone(), start: parsed.start });
        self
    }

    /// As [`Self::with_source`], where there is one.
    pub fn with_optional_source(self, parsed: Option<&Parsed>) -> Self {
        match parsed {
            Some(parsed) => self.with_source(parsed),
            None => self,
        }
    }

    /// Every plan made is shown to `inference`, which looks for the types of parameters.
    pub fn observed_by(mut self, inference: Option<&'a Inference>) -> Self {
        self.inference = inference;
        self
    }

    /// A query to be read once.
    pub fn read(&self, query: &ast::Query) -> Result<PlannedQuery> {
        self.plan(query, &[], Purpose::Read)
    }

    /// A query to be kept current, or run to be compared with one that is. `columns` rename its first columns.
    ///
    /// Errors: `42701` when two columns have one name, `0A000` for volatile functions.
    pub fn view(&self, query: &ast::Query, columns: &[String]) -> Result<PlannedQuery> {
        let planned = self.plan(query, columns, Purpose::View)?;
        distinct_names(planned.schema())?;
        Ok(planned)
    }

    /// The query of a plain view, whose functions may be volatile; else as [`Self::view`].
    pub fn plain_view(&self, query: &ast::Query, columns: &[String]) -> Result<PlannedQuery> {
        let planned = self.plan(query, columns, Purpose::Named)?;
        distinct_names(planned.schema())?;
        Ok(planned)
    }

    /// Whether a view's query is another one in UTC, where views are computed, than in the session that asks.
    pub fn depends_on_zone(&self, query: &ast::Query) -> Result<bool> {
        let Some(zone) = self.zone.as_deref().filter(|zone| !is_utc(zone)) else { return Ok(false) };
        let state = self.session.at(self.now_us);
        let failure = |error| from_datafusion(error, self.text.as_ref());
        let plan = canonical(self.named(query, &[], Purpose::View, &state)?, Purpose::View).map_err(failure)?;
        let in_utc = analyze(plan.clone(), &state).map_err(failure)?;
        let analyzer = self.session.analyzer_in(zone);
        let in_zone = analyzer.execute_and_check(plan, state.config_options(), |_, _| {}).map_err(failure)?;
        Ok(in_utc.display_indent().to_string() != in_zone.display_indent().to_string())
    }

    fn plan(&self, query: &ast::Query, columns: &[String], purpose: Purpose) -> Result<PlannedQuery> {
        let state = self.session.at(self.now_us);
        let plan = self.named(query, columns, purpose, &state)?;
        self.finish(plan, state, purpose)
    }

    /// The plan as DataFusion makes it of the text, names resolved.
    fn named(&self, query: &ast::Query, columns: &[String], purpose: Purpose, state: &SessionState) -> Result<LogicalPlan> {
        let names = Names::new(state, self.relations, purpose);
        let function = |name: &str| self.relations.function(name);
        let mut query = query.clone();
        if purpose == Purpose::Read {
            told_apart(&mut query);
        }
        let planned = names.plan(&query).and_then(|plan| named_references(plan, &function));
        let planned = planned.and_then(|plan| rename(plan, columns));
        planned.map_err(|error| from_datafusion(error, self.text.as_ref()))
    }

    /// The last steps for any logical plan: nothing left open, types coerced, types that clients know.
    pub(crate) fn finish(&self, plan: LogicalPlan, state: SessionState, purpose: Purpose) -> Result<PlannedQuery> {
        let plan = canonical(plan, purpose)
            .and_then(|plan| match self.zone.as_deref().filter(|_| purpose == Purpose::Read) {
                Some(zone) => self.session.analyzer_in(zone).execute_and_check(plan, state.config_options(), |_, _| {}),
                None => analyze(plan, &state),
            })
            .and_then(client_types)
            .and_then(|plan| if purpose == Purpose::Read { with_system_types(plan) } else { Ok(plan) })
            .map_err(|error| from_datafusion(error, self.text.as_ref()))?;
        if let Some(inference) = self.inference {
            inference.observe(&plan).map_err(|error| self.failure(error))?;
        }
        let maintained = match purpose {
            Purpose::View => with_conditions(&plan, &state).map_err(|error| self.failure(error))?,
            Purpose::Named | Purpose::Read => None,
        };
        let schema = shown(&super::nullable(&Arc::new(plan.schema().as_arrow().clone())));
        Ok(PlannedQuery { plan, maintained, schema, state, session: self.session.clone(), text: self.text.clone() })
    }

    pub(crate) fn state(&self) -> SessionState {
        self.session.at(self.now_us)
    }

    pub(crate) fn provider(&self) -> &dyn RelationProvider {
        self.relations
    }

    pub(crate) fn failure(&self, error: datafusion::common::DataFusionError) -> Error {
        from_datafusion(error, self.text.as_ref())
    }
}

/// Whether it is another name of UTC, as drivers send when their machine has no zone.
fn is_utc(zone: &str) -> bool {
    let name = zone.strip_prefix("Etc/").unwrap_or(zone);
    ["UTC", "UCT", "GMT", "Zulu", "Universal", "Greenwich"].iter().any(|utc| utc.eq_ignore_ascii_case(name))
}

fn analyze(plan: LogicalPlan, state: &SessionState) -> datafusion::common::Result<LogicalPlan> {
    let analyzer: &Analyzer = state.analyzer();
    analyzer.execute_and_check(plan, state.config_options(), |_, _| {})
}

/// The columns under the names that clients see.
fn shown(schema: &SchemaRef) -> SchemaRef {
    let field = |field: &FieldRef| field.as_ref().clone().with_name(super::meaning::shown(field.name()));
    let fields: Vec<Field> = schema.fields().iter().map(field).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn distinct_names(schema: &SchemaRef) -> Result<()> {
    let mut seen = BTreeSet::new();
    for field in schema.fields() {
        if !seen.insert(field.name()) {
            let error = Error::new(sqlstate::DUPLICATE_COLUMN, format!("column \"{}\" specified more than once", field.name()));
            return Err(error.with_hint("give each column of the view its own name with AS"));
        }
    }
    Ok(())
}

/// A query whose names, types and order are settled.
#[derive(Clone)]
pub struct PlannedQuery {
    pub(crate) plan: LogicalPlan,
    /// The plan of what is kept current, where it is another than what is run once.
    maintained: Option<LogicalPlan>,
    schema: SchemaRef,
    pub(crate) state: SessionState,
    session: Session,
    text: Option<SourceText>,
}

impl PlannedQuery {
    /// Names and types of the result's columns; field metadata of columns passed through is kept.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The same columns, each with the stored column that it shows unchanged, if it does: see [`ORIGIN`].
    pub fn described_columns(&self) -> SchemaRef {
        let described = self.schema.fields().iter().enumerate().map(|(index, field)| match origin(&self.plan, index) {
            Some((id, column)) => {
                let mut metadata = field.metadata().clone();
                metadata.insert(ORIGIN.to_owned(), format!("{id}.{}", column + 1));
                Arc::new(field.as_ref().clone().with_metadata(metadata))
            }
            None => Arc::clone(field),
        });
        Arc::new(arrow::datatypes::Schema::new(described.collect::<Vec<_>>()))
    }

    /// The stored relations it reads, each once, in the order of their ids.
    pub fn relations(&self) -> Vec<ObjectId> {
        let mut found = BTreeSet::new();
        self.plan
            .apply_with_subqueries(|node| {
                if let Some(source) = relation_source(node) {
                    found.insert(source.id);
                }
                Ok(TreeNodeRecursion::Continue)
            })
            .expect("the visitor does not fail");
        found.into_iter().collect()
    }

    /// The operators that keep it current.
    pub fn lower(&self) -> Result<Plan> {
        let optimizer = self.session.view_optimizer();
        let optimised = optimizer
            .optimize(self.maintained.as_ref().unwrap_or(&self.plan).clone(), &self.state, |_, _| {})
            .map_err(|error| self.failure(error))?;
        Lowering::new(&self.state).view(&optimised, &self.schema)
    }

    /// Runs it over `snapshots`, one provider for each of [`Self::relations`]. Rows are computed as they are read; dropping
    /// the stream stops the query.
    pub async fn execute(&self, snapshots: &HashMap<ObjectId, Arc<dyn TableProvider>>) -> Result<SendableRecordBatchStream> {
        self.start(self.physical(snapshots).await?)
    }

    /// Runs the plan that [`Self::physical`] made; what it starts of its own accord starts on the runtime of the caller.
    pub fn start(&self, physical: Arc<dyn ExecutionPlan>) -> Result<SendableRecordBatchStream> {
        let context = self.task_context(physical.as_ref())?;
        execute_stream(physical, context).map_err(|error| self.failure(error))
    }

    /// The same, begun by whoever reads the first row.
    pub fn start_when_read(&self, physical: Arc<dyn ExecutionPlan>) -> Result<SendableRecordBatchStream> {
        let (schema, context) = (physical.schema(), self.task_context(physical.as_ref())?);
        let started = futures::stream::once(async move { execute_stream(physical, context) }).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, started)))
    }

    fn task_context(&self, physical: &dyn ExecutionPlan) -> Result<Arc<TaskContext>> {
        let environment = self.session.query_environment();
        let environment = if has_nested_loop(physical) { without_files(&environment)? } else { environment };
        Ok(Arc::new(TaskContext::from(&self.state).with_runtime(environment)))
    }

    /// The same, to be run by the thread that asks: for few rows.
    pub fn in_one_partition(mut self) -> Self {
        self.state.config_mut().options_mut().execution.target_partitions = 1;
        self
    }

    /// The batch plan over `snapshots`.
    pub async fn physical(&self, snapshots: &HashMap<ObjectId, Arc<dyn TableProvider>>) -> Result<Arc<dyn ExecutionPlan>> {
        let bound = bind(self.plan.clone(), |source| snapshots.get(&source.id).map(|provider| provider_as_source(Arc::clone(provider))))?;
        physical_plan(&bound, &self.state).await.map_err(|error| self.failure(error))
    }

    pub(crate) fn failure(&self, error: datafusion::common::DataFusionError) -> Error {
        from_datafusion(error, self.text.as_ref())
    }
}

fn has_nested_loop(plan: &dyn ExecutionPlan) -> bool {
    plan.name() == "NestedLoopJoinExec" || plan.children().into_iter().any(|child| has_nested_loop(child.as_ref()))
}

/// Field metadata key of a result's column: id of the relation and 1-based number of the column it comes from, as `16384.2`.
pub const ORIGIN: &str = "pg.origin";

/// The stored column that output column `index` of a plan shows unchanged, by relation and 0-based place.
fn origin(plan: &LogicalPlan, index: usize) -> Option<(ObjectId, usize)> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let source = relation_source(plan)?;
            Some((source.id, scan.projection.as_ref().map_or(Some(index), |projection| projection.get(index).copied())?))
        }
        LogicalPlan::Projection(projection) => match super::lower::unaliased(projection.expr.get(index)?) {
            Expr::Column(column) => origin(&projection.input, projection.input.schema().maybe_index_of_column(column)?),
            _ => None,
        },
        LogicalPlan::Join(join) => {
            let n_left = join.left.schema().fields().len();
            match index.checked_sub(n_left) {
                None => origin(&join.left, index),
                Some(index) => origin(&join.right, index),
            }
        }
        LogicalPlan::SubqueryAlias(alias) => origin(&alias.input, index),
        LogicalPlan::Filter(filter) => origin(&filter.input, index),
        LogicalPlan::Sort(sort) => origin(&sort.input, index),
        LogicalPlan::Limit(limit) => origin(&limit.input, index),
        LogicalPlan::Distinct(Distinct::All(input)) => origin(input, index),
        // Grouping sets put an expression of their own in the first place, so no column is found there.
        LogicalPlan::Aggregate(aggregate) => match aggregate.group_expr.get(index)? {
            Expr::Column(column) => origin(&aggregate.input, aggregate.input.schema().maybe_index_of_column(column)?),
            _ => None,
        },
        // Its input's columns come first.
        LogicalPlan::Window(window) if index < window.input.schema().fields().len() => origin(&window.input, index),
        _ => None,
    }
}

/// The relation a scan reads, if it is one of ours.
pub(crate) fn relation_source(node: &LogicalPlan) -> Option<&RelationSource> {
    match node {
        LogicalPlan::TableScan(scan) => scan.source.as_ref().downcast_ref::<RelationSource>(),
        _ => None,
    }
}

/// Puts a source with rows in place of each relation.
pub(crate) fn bind(plan: LogicalPlan, find: impl Fn(&RelationSource) -> Option<Arc<dyn TableSource>>) -> Result<LogicalPlan> {
    let bound = plan.transform_up_with_subqueries(|node| {
        let Some(relation) = relation_source(&node) else { return Ok(Transformed::no(node)) };
        let Some(source) = find(relation) else {
            return Err(super::relation::external(Error::internal(format!("no snapshot of relation {} was given", relation.id))));
        };
        let LogicalPlan::TableScan(mut scan) = node else { unreachable!("only a scan has a relation source") };
        scan.source = source;
        Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
    })?;
    Ok(bound.data)
}

/// Optimises an analysed plan for one run and makes it yield between batches.
pub(crate) async fn physical_plan(plan: &LogicalPlan, state: &SessionState) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
    let plan = super::window_keys::computed_below(super::orders::one_order_each(plan.clone())?)?;
    let plan = super::guards::guarded(plan)?;
    let optimised = state.optimizer().optimize(plan, state, |_, _| {})?;
    let physical = state.query_planner().create_physical_plan(&optimised, state).await?;
    yielding(physical)
}
