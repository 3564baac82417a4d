//! The DataFusion session behind all planning and every batch run: views, ad-hoc reads, recompute and the oracle share one
//! set of functions, types and rules, so that they cannot disagree.
//!
//! Guaranteed: identifiers fold as in Postgres, nulls sort as if larger than every value, text is `Utf8`, timestamps are
//! microseconds, the time zone is UTC unless the analyzer is asked for another's ([`Session::analyzer_in`]), and `now()` is the time handed in. Not guaranteed: that a plan made with one
//! function registry means the same after functions were replaced.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, IntervalUnit, TimeUnit};
use arrow::temporal_conversions::timestamp_us_to_datetime;
use datafusion::common::Result as DataFusionResult;
use datafusion::common::datatype::DataTypeExt;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::optimizer::analyzer::resolve_grouping_function::ResolveGroupingFunction;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::eliminate_duplicated_expr::EliminateDuplicatedExpr;
use datafusion::optimizer::eliminate_filter::EliminateFilter;
use datafusion::optimizer::eliminate_join::EliminateJoin;
use datafusion::optimizer::eliminate_limit::EliminateLimit;
use datafusion::optimizer::eliminate_outer_join::EliminateOuterJoin;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::optimize_unions::OptimizeUnions;
use datafusion::optimizer::propagate_empty_relation::PropagateEmptyRelation;
use datafusion::optimizer::push_down_limit::PushDownLimit;
use datafusion::optimizer::rewrite_set_comparison::RewriteSetComparison;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Analyzer, AnalyzerRule, Optimizer, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::SessionConfig;
use datafusion::sql::sqlparser::ast;

use crate::Result;
use crate::functions::UNSOUND_OPTIMIZER_RULE;
use crate::plan::arithmetic::CheckedArithmetic;
use crate::plan::coercion::NumericsBesideDoubles;
use crate::plan::constants_last::ConstantsLast;
use crate::plan::distinct_recursion::NewRowsOfRecursions;
use crate::plan::filters_apart::ProjectionsAboveFilters;
use crate::plan::grouping_sets::GroupingSetsAsUnion;
use crate::plan::held_back::{extract_equijoin_predicate, push_down_filter};
use crate::plan::inner_joins::OrderInnerJoins;
use crate::plan::nulls_in_lists::NullsInLists;
use crate::plan::operators::PostgresOperators;
use crate::plan::outer_constants::ForgetConstantsBelowOuterJoins;
use crate::plan::outer_types::OuterTypes;
use crate::plan::signed_zeros::{UnsignedZeros, UnsignedZerosInLists};
use crate::plan::sorted::SortWhatIsNotKnownToBe;
use crate::plan::subquery::UnnestSubqueries;
use crate::plan::zone::InZone;

/// Rows per batch in batch runs.
pub const BATCH_ROWS: usize = 8192;

/// What planning and batch runs share. Cheap to clone.
#[derive(Clone)]
pub struct Session {
    base: Arc<SessionState>,
    view_rules: Arc<Optimizer>,
    query_environment: Arc<RuntimeEnv>,
}

impl Session {
    /// A session whose batch runs use `target_partitions` partitions and the memory of `runtime`.
    pub fn new(target_partitions: usize, runtime: Arc<RuntimeEnv>) -> Result<Self> {
        let mut base = SessionStateBuilder::new()
            .with_config(config(target_partitions))
            .with_runtime_env(runtime)
            .with_expr_planners(vec![Arc::new(PostgresOperators::over_tables())])
            .with_default_features()
            .with_type_planner(type_planner())
            .with_optimizer_rules(batch_rules())
            .with_physical_optimizer_rules(physical_rules())
            .with_analyzer_rules(analyzer_rules())
            .build();
        datafusion_functions_json::register_all(&mut base)?;
        crate::functions::register(&mut base)?;
        crate::functions::scalar::register(&mut base)?;
        crate::functions::windows::register(&mut base)?;
        base.register_udf(Arc::new(crate::functions::modulo::modulo()))?;
        base.register_udf(Arc::new(crate::functions::now::now()))?;
        base.register_udf(Arc::new(crate::functions::input::text_input()))?;
        base.register_udf(Arc::new(crate::functions::parameter::parameter()))?;
        crate::functions::session::register(&mut base)?;
        crate::functions::settings::register(&mut base)?;
        let query_environment = Arc::clone(base.runtime_env());
        Ok(Self { base: Arc::new(base), view_rules: Arc::new(Optimizer::with_rules(view_rules())), query_environment })
    }

    /// Queries that are run once use the memory of `environment`, recomputes that of the session.
    pub fn with_query_environment(self, environment: Arc<RuntimeEnv>) -> Self {
        Self { query_environment: environment, ..self }
    }

    /// The memory and files of queries that are run once.
    pub fn query_environment(&self) -> Arc<RuntimeEnv> {
        Arc::clone(&self.query_environment)
    }

    /// The state for one statement or epoch, whose `now()` is `now_us` microseconds since 1970.
    pub fn at(&self, now_us: i64) -> SessionState {
        let mut state = self.base.as_ref().clone();
        let properties = state.execution_props_mut();
        *properties = Default::default();
        properties.query_execution_start_time = timestamp_us_to_datetime(now_us).map(|time| time.and_utc());
        state
    }

    /// The rules that settle types and meanings, for queries of a session in `zone`.
    pub fn analyzer_in(&self, zone: &str) -> Analyzer {
        let mut rules = analyzer_rules();
        let after_coercion = rules.iter().position(|rule| rule.name() == "type_coercion").map_or(rules.len(), |place| place + 1);
        rules.insert(after_coercion, Arc::new(InZone::new(zone, &self.base)));
        Analyzer::with_rules(rules)
    }

    /// The rules for plans that are maintained: see [`view_rules`].
    pub fn view_optimizer(&self) -> &Optimizer {
        &self.view_rules
    }
}

/// DataFusion's rules with ours: numerics beside doubles are settled before types are coerced, arithmetic after; subqueries
/// come last, when their types are settled.
fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    vec![
        Arc::new(ResolveGroupingFunction::new()),
        Arc::new(NumericsBesideDoubles),
        Arc::new(TypeCoercion::new()),
        Arc::new(OuterTypes),
        Arc::new(NullsInLists),
        Arc::new(UnsignedZeros),
        Arc::new(CheckedArithmetic),
        Arc::new(GroupingSetsAsUnion),
        Arc::new(UnnestSubqueries),
    ]
}

fn config(target_partitions: usize) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_target_partitions(target_partitions)
        .with_batch_size(BATCH_ROWS)
        .with_create_default_catalog_and_schema(false);
    let options = config.options_mut();
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.enable_ident_normalization = true;
    options.sql_parser.parse_float_as_decimal = true;
    options.sql_parser.collect_spans = true;
    options.sql_parser.default_null_ordering = "nulls_max".into();
    options.execution.time_zone = Some("UTC".into());
    // Its logical and physical expressions disagree on whether IS DISTINCT FROM can be null.
    options.execution.skip_physical_aggregate_schema_check = true;
    options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    // What it takes for the bounds of a join's keys leaves out 0.0 beside -0.0.
    options.optimizer.enable_join_dynamic_filter_pushdown = false;
    // First groups by an aggregate: a group whose key is NaN is not found again, which is a panic.
    options.optimizer.enable_topk_aggregation = false;
    config
}

/// DataFusion's rules for batch runs, without the one that does not go with our `sum`, and the one that drops a constant from
/// GROUP BY: where nothing else is left, no rows would become one. Three are ours, two are held back: see [`OrderInnerJoins`],
/// [`ConstantsLast`], [`UnsignedZerosInLists`] and [`super::held_back`].
fn batch_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let is_sound =
        |rule: &Arc<dyn OptimizerRule + Send + Sync>| ![UNSOUND_OPTIMIZER_RULE, "eliminate_group_by_constant"].contains(&rule.name());
    let ours = |rule: Arc<dyn OptimizerRule + Send + Sync>| -> Arc<dyn OptimizerRule + Send + Sync> {
        match rule.name() {
            "eliminate_cross_join" => Arc::new(OrderInnerJoins),
            "push_down_filter" => Arc::new(push_down_filter()),
            "extract_equijoin_predicate" => Arc::new(extract_equijoin_predicate()),
            _ => rule,
        }
    };
    let mut rules: Vec<_> = Optimizer::new().rules.into_iter().filter(is_sound).map(ours).collect();
    let pushes_down = rules.iter().position(|rule| rule.name() == "push_down_filter").expect("the rule is DataFusion's");
    rules.insert(pushes_down, Arc::new(ConstantsLast));
    rules.push(Arc::new(UnsignedZerosInLists));
    rules
}

/// DataFusion's physical rules but the one that answers aggregates from statistics: it takes a constant over no rows to have
/// one distinct value; and those that push filters down once more, which tell the columns of a projection apart by their names alone:
/// `x.a = y.a OR …` above a join whose sides were swapped became `a = a OR …` below it. First, what it wrongly takes for constant is
/// hidden; before projections are moved, they leave the filters; before the last, which only checks, orders that were lost are
/// made again, and recursions told which of their rows are new.
fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    type Rule = Arc<dyn PhysicalOptimizerRule + Send + Sync>;
    let is_sound = |rule: &Rule| rule.name() != "aggregate_statistics" && !rule.name().starts_with("FilterPushdown");
    let with_preparation = |rule: Rule| {
        let preparation = (rule.name() == "ProjectionPushdown").then(|| Arc::new(ProjectionsAboveFilters) as Rule);
        preparation.into_iter().chain([rule])
    };
    let mut rules: Vec<Rule> = PhysicalOptimizer::new().rules.into_iter().filter(is_sound).flat_map(with_preparation).collect();
    rules.insert(0, Arc::new(ForgetConstantsBelowOuterJoins));
    rules.insert(rules.len() - 1, Arc::new(SortWhatIsNotKnownToBe));
    rules.insert(rules.len() - 1, Arc::new(NewRowsOfRecursions));
    rules
}

/// The logical rules for views. Left out, because their output is harder to maintain than their input: distinct as an
/// aggregate, a single distinct aggregate as two levels, common subexpressions (they compute what a CASE would guard), struct
/// field extraction, grouping by a constant (it changes the answer over no rows).
fn view_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    vec![
        Arc::new(RewriteSetComparison::new()),
        Arc::new(OptimizeUnions::new()),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(EliminateJoin::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(DecorrelateLateralJoin::new()),
        Arc::new(extract_equijoin_predicate()),
        Arc::new(EliminateDuplicatedExpr::new()),
        Arc::new(EliminateFilter::new()),
        Arc::new(OrderInnerJoins),
        Arc::new(EliminateLimit::new()),
        Arc::new(PropagateEmptyRelation::new()),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(PushDownLimit::new()),
        Arc::new(ConstantsLast),
        Arc::new(push_down_filter()),
        Arc::new(OptimizeProjections::new()),
        Arc::new(UnsignedZerosInLists),
    ]
}

/// How SQL types are read: `TIMESTAMP` is microseconds, `NUMERIC` is `Decimal128(38, 10)`, text is `Utf8`.
pub(crate) fn type_planner() -> Arc<dyn TypePlanner> {
    Arc::new(PostgresTypes)
}

/// Types as Postgres users mean them, where DataFusion's own reading differs.
#[derive(Debug)]
struct PostgresTypes;

impl TypePlanner for PostgresTypes {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> DataFusionResult<Option<FieldRef>> {
        let Some(arrow) = arrow_type(sql_type) else { return Ok(None) };
        // `varchar`, `uuid` and their like are text for Arrow: the field says which. It has no name, as types have none.
        let declared = super::parse::types::sql_type(sql_type).ok().map(|declared| declared.field("", true));
        Ok(Some(match declared {
            Some(field) if *field.data_type() == arrow => Arc::new(field),
            _ => arrow.into_nullable_field_ref(),
        }))
    }
}

fn arrow_type(sql_type: &ast::DataType) -> Option<DataType> {
    use ast::DataType as Sql;
    use ast::TimezoneInfo;
    match sql_type {
        Sql::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) | Sql::Datetime(_) => {
            Some(DataType::Timestamp(TimeUnit::Microsecond, None))
        }
        Sql::Timestamp(..) => Some(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        Sql::Time(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => Some(DataType::Time64(TimeUnit::Microsecond)),
        Sql::Numeric(ast::ExactNumberInfo::None) | Sql::Decimal(ast::ExactNumberInfo::None) | Sql::Dec(ast::ExactNumberInfo::None) => {
            Some(DataType::Decimal128(38, 10))
        }
        Sql::Float(ast::ExactNumberInfo::None) => Some(DataType::Float64),
        Sql::Float(ast::ExactNumberInfo::Precision(bits)) if *bits > 24 => Some(DataType::Float64),
        Sql::Interval { .. } => Some(DataType::Interval(IntervalUnit::MonthDayNano)),
        Sql::JSON | Sql::JSONB | Sql::Uuid | Sql::CharacterVarying(_) | Sql::CharVarying(_) | Sql::Character(_) => Some(DataType::Utf8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn now_is_the_time_handed_in() {
        let session = Session::new(1, Arc::default()).expect("a session");
        let state = session.at(1_500_000);
        let start = state.execution_props().query_execution_start_time.expect("a start time");
        assert_eq!(start.timestamp_micros(), 1_500_000);
        assert_eq!(state.config().batch_size(), BATCH_ROWS);
    }
}
