//! A session's `TimeZone` in its queries: an analyzer rule that makes explicit what depends on it. Casts between `timestamptz` and
//! text, dates and times without zone, `+` and `-` with intervals, and functions of `timestamptz` get the zone as a constant.
//!
//! Guaranteed: no plan depends on a zone but by such constants, so a materialized view, which is planned without this rule, is
//! computed in UTC whoever reads it. What the rule has made it leaves as it is when it comes again: a materialized view's query
//! that is run in a transaction was planned in UTC before ([`pinned_to_utc`]). To be run after type coercion, before casts become
//! functions. Not guaranteed: `generate_series` of `timestamptz` steps in UTC.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, ScalarUDF, cast, lit};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;

use super::coercion::NumericsBesideDoubles;
use super::expressions::rewritten;
use crate::functions::input;
use crate::functions::scalar::{casts, fields, in_zone, intervals};

/// The analyzer rule.
#[derive(Debug)]
pub struct InZone {
    zone: String,
    functions: HashMap<String, Arc<ScalarUDF>>,
    now: Option<Arc<ScalarUDF>>,
    make_timestamp: Option<Arc<ScalarUDF>>,
}

impl InZone {
    /// In `zone`, a name that `TimeZone` takes.
    pub fn new(zone: &str, state: &SessionState) -> Self {
        let functions = in_zone::functions().into_iter().map(|function| function.into_udf());
        let registered = |name: &str| state.scalar_functions().get(name).cloned();
        Self {
            zone: zone.to_owned(),
            functions: functions.map(|function| (function.name().to_owned(), function)).collect(),
            now: registered("now"),
            make_timestamp: registered("make_timestamp"),
        }
    }

    fn zone(&self) -> Expr {
        lit(self.zone.as_str())
    }

    fn call(&self, name: &str, mut arguments: Vec<Expr>) -> Expr {
        let function = self.functions.get(name).expect("the table has every name that is used here");
        arguments.push(self.zone());
        Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), arguments))
    }

    fn cast(&self, value: Expr, to: &Field) -> Expr {
        Expr::ScalarFunction(ScalarFunction::new_udf(casts::cast_function_in(to, &self.zone), vec![value]))
    }

    fn cast_to(&self, value: Expr, to: DataType) -> Expr {
        self.cast(value, &Field::new("", to, true))
    }

    fn expression(&self, expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
        match expression {
            Expr::Cast(cast) => {
                let from = cast.expr.get_type(schema)?;
                match casts::depends_on_zone(&from, cast.field.data_type()) {
                    true => Ok(Transformed::yes(self.cast(*cast.expr, &cast.field))),
                    false => Ok(Transformed::no(Expr::Cast(cast))),
                }
            }
            Expr::ScalarFunction(call) => {
                let types = call.args.iter().map(|argument| argument.get_type(schema)).collect::<Result<Vec<_>>>()?;
                Ok(match self.function(&call, &types) {
                    Some(zoned) => Transformed::yes(zoned),
                    None => Transformed::no(Expr::ScalarFunction(call)),
                })
            }
            other => Ok(Transformed::no(other)),
        }
    }

    /// What a call becomes, if it depends on the zone.
    fn function(&self, call: &ScalarFunction, types: &[DataType]) -> Option<Expr> {
        let is_tz = |place: usize| types.get(place).is_some_and(is_timestamptz);
        let is_interval = |place: usize| matches!(types.get(place), Some(DataType::Interval(_)));
        let arguments = || call.args.clone();
        match (call.func.name(), types.len()) {
            (intervals::PLUS, 2) if is_tz(0) && is_interval(1) => Some(self.call(in_zone::PLUS, arguments())),
            (intervals::PLUS, 2) if is_interval(0) && is_tz(1) => Some(self.call(in_zone::PLUS, arguments().into_iter().rev().collect())),
            (intervals::MINUS, 2) if is_tz(0) && is_interval(1) => Some(self.call(in_zone::MINUS, arguments())),
            ("date_trunc", 2) if is_tz(1) => Some(self.call(in_zone::DATE_TRUNC, arguments())),
            ("date_part", 2) if is_tz(1) => Some(self.call(in_zone::DATE_PART, arguments())),
            (fields::EXTRACT, 2) if is_tz(1) => Some(self.call(in_zone::EXTRACT, arguments())),
            ("to_char", 2) if is_tz(0) => Some(self.call(in_zone::TO_CHAR, arguments())),
            ("to_timestamp", 2) => Some(self.call(in_zone::TO_TIMESTAMP, arguments())),
            ("make_timestamptz", 6) => {
                let local = ScalarFunction::new_udf(self.make_timestamp.clone()?, arguments());
                Some(self.cast_to(Expr::ScalarFunction(local), timestamptz()))
            }
            ("age", 2) if is_tz(0) && is_tz(1) => {
                let local = arguments().into_iter().map(|time| self.cast_to(time, DataType::Timestamp(TimeUnit::Microsecond, None)));
                Some(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&call.func), local.collect())))
            }
            ("current_date" | "today", 0) => self.now_as(DataType::Date32),
            ("current_time", 0) => self.now_as(DataType::Time64(TimeUnit::Microsecond)),
            (input::NAME, 2) if input::reads_zone(&call.args[1]) => {
                let arguments = arguments().into_iter().chain([self.zone()]).collect();
                Some(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&call.func), arguments)))
            }
            ("concat" | "concat_ws" | "format" | "quote_literal" | "quote_nullable" | "array_to_string", _) => self.texts(call, types),
            _ => None,
        }
    }

    /// The call over texts where it would make them itself.
    fn texts(&self, call: &ScalarFunction, types: &[DataType]) -> Option<Expr> {
        if !types.iter().any(casts::has_zone) {
            return None;
        }
        let arguments = call.args.iter().zip(types).map(|(argument, data_type)| match data_type {
            DataType::List(item) if call.func.name() == "array_to_string" && casts::has_zone(item.data_type()) => {
                self.cast_to(argument.clone(), DataType::new_list(DataType::Utf8, true))
            }
            data_type if casts::has_zone(data_type) => self.cast_to(argument.clone(), DataType::Utf8),
            _ => argument.clone(),
        });
        Some(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&call.func), arguments.collect())))
    }

    fn now_as(&self, to: DataType) -> Option<Expr> {
        let now = Expr::ScalarFunction(ScalarFunction::new_udf(self.now.clone()?, vec![]));
        Some(self.cast_to(cast(now, timestamptz()), to))
    }
}

impl AnalyzerRule for InZone {
    fn name(&self) -> &str {
        "in_zone"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(|node| rewritten(node, |expression, schema| self.expression(expression, schema)))?.data)
    }
}

/// A materialized view's query as it is maintained, to be put into one of a session in another zone.
pub(super) fn pinned_to_utc(plan: LogicalPlan, state: &SessionState) -> Result<LogicalPlan> {
    let rules: [&dyn AnalyzerRule; 3] = [&NumericsBesideDoubles, &TypeCoercion::new(), &InZone::new("UTC", state)];
    rules.into_iter().try_fold(plan, |plan, rule| rule.analyze(plan, state.config_options()))
}

fn timestamptz() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn is_timestamptz(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(_, Some(_)))
}
