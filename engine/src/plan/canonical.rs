//! What makes batch and incremental agree: every choice that SQL leaves open is settled in the logical plan, before either
//! engine sees it.
//!
//! Guaranteed, given the same rows in any order: the rows that LIMIT keeps, the numbers that `ROW_NUMBER` gives, the order
//! inside `array_agg` and `string_agg` and the choice of `first_value` are the same. A LIMIT without ORDER BY takes the
//! first rows in the order of all columns in views, and any rows in ad-hoc reads.
//! Not guaranteed: `last_value`, `nth_value` and ordered aggregates over a RANGE or GROUPS frame whose last peers tie.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result as DataFusionResult};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::logical_plan::{Aggregate, Distinct, DistinctOn, Limit, Projection, Sort, Window};
use datafusion::logical_expr::{
    Expr, LogicalPlan, LogicalPlanBuilder, SortExpr, Volatility, WindowFrame, WindowFrameUnits, WindowFunctionDefinition, cast, lit,
};

use super::relation::external;
use super::system::{SystemUdf, refused_in_view};
use crate::Error;
use crate::functions::sliding::over_any_frame;

/// What a plan is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be kept current, or compared with one that is.
    View,
    /// To be a plain view: whoever reads it plans it anew.
    Named,
    /// To be read once.
    Read,
}

/// The same query with nothing left open.
pub(crate) fn canonical(plan: LogicalPlan, purpose: Purpose) -> DataFusionResult<LogicalPlan> {
    if purpose == Purpose::View {
        refuse_volatile(&plan)?;
    }
    let settled = plan.transform_up_with_subqueries(|node| {
        let node = node.recompute_schema()?;
        let settled = match node {
            LogicalPlan::Join(join) => super::copies::counted(join)?,
            LogicalPlan::Limit(limit) => ordered_limit(limit, purpose)?,
            LogicalPlan::Window(window) => total_window(window)?,
            LogicalPlan::Aggregate(aggregate) => total_aggregate(each_group_once(aggregate)?)?,
            LogicalPlan::Distinct(Distinct::On(distinct)) => first_row_of_each(distinct)?,
            other => other,
        };
        Ok(Transformed::yes(settled))
    })?;
    Ok(settled.data)
}

/// Casts what clients cannot be sent: unsigned integers, nanoseconds, views, dictionaries, untyped nulls.
pub(crate) fn client_types(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    if plan.schema().fields().iter().all(|field| client_type(field.data_type()).is_none()) {
        return Ok(plan);
    }
    let columns = plan
        .schema()
        .iter()
        .map(|(qualifier, field)| {
            let column = Expr::Column(Column::from((qualifier, field)));
            match client_type(field.data_type()) {
                Some(data_type) => cast(column, data_type).alias_qualified(qualifier.cloned(), field.name()),
                None => column,
            }
        })
        .collect::<Vec<_>>();
    Ok(LogicalPlan::Projection(Projection::try_new(columns, plan.into())?))
}

/// The type a client is shown instead of one that Postgres has not.
pub(crate) fn client_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Int8 | DataType::UInt8 => Some(DataType::Int16),
        DataType::UInt16 => Some(DataType::Int32),
        DataType::UInt32 | DataType::UInt64 => Some(DataType::Int64),
        DataType::Float16 => Some(DataType::Float32),
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => Some(DataType::Utf8),
        DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(_) => Some(DataType::Binary),
        DataType::Dictionary(_, values) => Some(client_type(values).unwrap_or_else(|| values.as_ref().clone())),
        DataType::Timestamp(TimeUnit::Microsecond, _) => None,
        DataType::Timestamp(_, zone) => Some(DataType::Timestamp(TimeUnit::Microsecond, zone.clone())),
        DataType::Date64 => Some(DataType::Timestamp(TimeUnit::Microsecond, None)),
        DataType::Time32(_) | DataType::Time64(TimeUnit::Nanosecond) => Some(DataType::Time64(TimeUnit::Microsecond)),
        DataType::LargeList(item) | DataType::ListView(item) | DataType::FixedSizeList(item, _) => {
            let data_type = client_type(item.data_type()).unwrap_or_else(|| item.data_type().clone());
            Some(DataType::new_list(data_type, true))
        }
        DataType::List(item) => client_type(item.data_type()).map(|data_type| DataType::new_list(data_type, true)),
        DataType::Struct(fields) if fields.iter().any(|field| client_type(field.data_type()).is_some()) => {
            let field = |field: &FieldRef| match client_type(field.data_type()) {
                Some(data_type) => Arc::new(field.as_ref().clone().with_data_type(data_type)),
                None => Arc::clone(field),
            };
            Some(DataType::Struct(fields.iter().map(field).collect()))
        }
        _ => None,
    }
}

/// A view is a function of its inputs, and of the clock where [`super::temporal`] knows how: nothing random.
fn refuse_volatile(plan: &LogicalPlan) -> DataFusionResult<()> {
    plan.apply_with_subqueries(|node| node.apply_expressions(|expression| expression.apply(refuse_volatile_call))).map(drop)
}

fn refuse_volatile_call(expression: &Expr) -> DataFusionResult<TreeNodeRecursion> {
    if let Expr::ScalarFunction(call) = expression {
        let name = call.func.name();
        if call.func.inner().downcast_ref::<SystemUdf>().is_some() || is_of_session(name) {
            return Err(external(refused_in_view(&format!("function {name}()"))));
        }
        if call.func.signature().volatility == Volatility::Volatile {
            let error = Error::unsupported(
                format!("volatile function {name}() in a materialized view is not supported"),
                "a view must give the same rows whenever it is computed; use it in a column's DEFAULT, whose value is stored",
            );
            return Err(external(error));
        }
    }
    Ok(TreeNodeRecursion::Continue)
}

/// What another session would get another value from.
fn is_of_session(name: &str) -> bool {
    matches!(name, "current_setting" | "set_config" | "pg_backend_pid" | "pg_notify")
}

/// ORDER BY below LIMIT decides every row; without one, views take the first rows in the order of all columns.
fn ordered_limit(limit: Limit, purpose: Purpose) -> DataFusionResult<LogicalPlan> {
    let input = limit.input.as_ref().clone();
    let (input, found) = extend_sort(input)?;
    let input = match (found, purpose) {
        // Rows of no columns are all the same.
        (false, Purpose::View) if !input.schema().fields().is_empty() => {
            let expr = columns_of(&input).into_iter().map(ascending).collect();
            LogicalPlan::Sort(Sort { expr, input: input.into(), fetch: None })
        }
        _ => input,
    };
    Ok(LogicalPlan::Limit(Limit { input: input.into(), ..limit }))
}

/// Makes the order of the nearest Sort below projections and aliases total; false when there is none.
fn extend_sort(plan: LogicalPlan) -> DataFusionResult<(LogicalPlan, bool)> {
    match plan {
        LogicalPlan::Sort(mut sort) => {
            extend(&mut sort.expr, columns_of(&sort.input));
            Ok((LogicalPlan::Sort(sort), true))
        }
        LogicalPlan::Projection(mut projection) => {
            let (input, found) = extend_sort(projection.input.as_ref().clone())?;
            projection.input = input.into();
            Ok((LogicalPlan::Projection(projection), found))
        }
        LogicalPlan::SubqueryAlias(mut alias) => {
            let (input, found) = extend_sort(alias.input.as_ref().clone())?;
            alias.input = input.into();
            Ok((LogicalPlan::SubqueryAlias(alias), found))
        }
        other => Ok((other, false)),
    }
}

/// Gives windows whose result depends on the order of equal rows the whole row as last sort keys, and takes constants from their
/// partitions' keys, under their old names.
fn total_window(window: Window) -> DataFusionResult<LogicalPlan> {
    let columns = columns_of(&window.input);
    let mut names: Vec<Expr> = window.input.schema().columns().into_iter().map(Expr::Column).collect();
    let n_columns = names.len();
    let mut totals = Vec::with_capacity(window.window_expr.len());
    for (place, expression) in window.window_expr.iter().enumerate() {
        let total = total_window_expression(expression.clone(), &columns);
        let (qualifier, field) = window.schema.qualified_field(n_columns + place);
        let column = Expr::Column(Column::new_unqualified(total.schema_name().to_string()));
        let column = match client_type(field.data_type()) {
            Some(data_type) => cast(column, data_type),
            None => column,
        };
        names.push(column.alias_qualified(qualifier.cloned(), field.name()));
        totals.push(total);
    }
    let input = LogicalPlanBuilder::window_plan(window.input.as_ref().clone(), totals)?;
    Ok(LogicalPlan::Projection(Projection::try_new(names, input.into())?))
}

fn total_window_expression(expression: Expr, columns: &[Expr]) -> Expr {
    match expression {
        Expr::WindowFunction(mut function) => {
            function.params.partition_by.retain(|key| !is_constant(key));
            if let WindowFunctionDefinition::AggregateUDF(aggregate) = &mut function.fun
                && !function.params.window_frame.is_ever_expanding()
            {
                *aggregate = over_any_frame(aggregate);
            }
            if depends_on_ties(&function) {
                extend(&mut function.params.order_by, columns.to_vec());
            }
            Expr::WindowFunction(function)
        }
        other => other,
    }
}

/// Whether it parts nothing: DataFusion's windows in batch fail over some such keys.
fn is_constant(key: &Expr) -> bool {
    let mut is_constant = true;
    let of_values = |part: &Expr| match part {
        Expr::ScalarFunction(call) => call.func.signature().volatility == Volatility::Immutable,
        Expr::Literal(..) | Expr::Alias(_) | Expr::Cast(_) | Expr::BinaryExpr(_) | Expr::Negative(_) | Expr::Not(_) | Expr::Case(_) => true,
        _ => false,
    };
    let visited = key.apply(|part| {
        is_constant &= of_values(part);
        Ok(if is_constant { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    is_constant && visited.is_ok()
}

fn depends_on_ties(function: &WindowFunction) -> bool {
    if matches!(function.fun.name(), "row_number" | "lag" | "lead" | "ntile" | "first_value") {
        return true;
    }
    let ranked = matches!(function.fun.name(), "rank" | "dense_rank" | "percent_rank" | "cume_dist");
    let whole_partition = function.params.window_frame.start_bound.is_unbounded() && function.params.window_frame.end_bound.is_unbounded();
    let rows = function.params.window_frame.units == WindowFrameUnits::Rows;
    !ranked && ((rows && !whole_partition) || (whole_partition && is_order_sensitive(function.fun.name())))
}

fn is_order_sensitive(name: &str) -> bool {
    matches!(name, "array_agg" | "string_agg" | "first_value" | "last_value" | "nth_value")
}

/// `GROUP BY a, a` is `GROUP BY a`. DataFusion would take the groups' other columns for unique.
fn each_group_once(mut aggregate: Aggregate) -> DataFusionResult<Aggregate> {
    let mut groups: Vec<Expr> = Vec::with_capacity(aggregate.group_expr.len());
    for group in std::mem::take(&mut aggregate.group_expr) {
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    Aggregate::try_new(aggregate.input, groups, aggregate.aggr_expr)
}

/// Orders `array_agg` and its like by their arguments last: what they return shows nothing else of a row.
fn total_aggregate(aggregate: Aggregate) -> DataFusionResult<LogicalPlan> {
    let changed = |expression: &Expr| matches!(expression, Expr::AggregateFunction(call) if is_order_sensitive(call.func.name()));
    if !aggregate.aggr_expr.iter().any(changed) {
        return Ok(LogicalPlan::Aggregate(aggregate));
    }
    let calls = aggregate.aggr_expr.into_iter().map(total_aggregate_call).collect();
    Ok(LogicalPlan::Aggregate(Aggregate::try_new(aggregate.input, aggregate.group_expr, calls)?))
}

fn total_aggregate_call(expression: Expr) -> Expr {
    let name = expression.schema_name().to_string();
    match expression {
        Expr::AggregateFunction(AggregateFunction { func, mut params }) if is_order_sensitive(func.name()) => {
            let arguments = params.args.iter().filter(|argument| !matches!(argument, Expr::Literal(..))).cloned().collect();
            extend(&mut params.order_by, arguments);
            Expr::AggregateFunction(AggregateFunction { func, params }).alias(name)
        }
        other => other,
    }
}

/// `DISTINCT ON (…)` as the row numbered 1 of each group, which both engines know, in the order that was asked for.
fn first_row_of_each(distinct: DistinctOn) -> DataFusionResult<LogicalPlan> {
    let mut order_by = distinct.sort_expr.clone().unwrap_or_default();
    extend(&mut order_by, columns_of(&distinct.input));
    // Within a group its keys order nothing, and batch would want them in an order of its own.
    if order_by.iter().any(|sort| !distinct.on_expr.contains(&sort.expr)) {
        order_by.retain(|sort| !distinct.on_expr.contains(&sort.expr));
    }
    let params = WindowFunctionParams {
        args: vec![],
        partition_by: distinct.on_expr.iter().filter(|key| !is_constant(key)).cloned().collect(),
        window_frame: WindowFrame::new(Some(false)),
        order_by,
        filter: None,
        null_treatment: None,
        distinct: false,
    };
    let number = Expr::from(WindowFunction { fun: WindowFunctionDefinition::WindowUDF(row_number_udwf()), params });
    let is_first = Expr::Column(Column::new_unqualified(number.schema_name().to_string())).eq(lit(1_u64));
    let first = LogicalPlanBuilder::from(distinct.input.as_ref().clone()).window([number])?.filter(is_first)?.build()?;
    let Some(sorts) = distinct.sort_expr else {
        return Ok(LogicalPlan::Projection(Projection::try_new(distinct.select_expr, first.into())?));
    };
    // Sorted above the select list, whose subqueries become joins below.
    let name = |place: usize| format!("$distinct_on_{place}");
    let keys = sorts.iter().enumerate().map(|(place, sort)| sort.expr.clone().alias(name(place)));
    let chosen = Projection::try_new(distinct.select_expr.into_iter().chain(keys).collect(), first.into())?;
    let expr = sorts
        .iter()
        .enumerate()
        .map(|(place, sort)| SortExpr::new(Expr::Column(Column::new_unqualified(name(place))), sort.asc, sort.nulls_first));
    let sorted = LogicalPlan::Sort(Sort { expr: expr.collect(), input: LogicalPlan::Projection(chosen).into(), fetch: None });
    let columns = distinct.schema.columns().into_iter().map(Expr::Column).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(columns, sorted.into())?))
}

fn columns_of(plan: &LogicalPlan) -> Vec<Expr> {
    let sortable = |field: &DataType| !matches!(field, DataType::Map(..) | DataType::Null);
    let fields = plan.schema().iter().filter(|(_, field)| sortable(field.data_type()));
    fields.map(|(qualifier, field)| Expr::Column(Column::from((qualifier, field)))).collect()
}

fn ascending(expression: Expr) -> SortExpr {
    SortExpr::new(expression, true, false)
}

/// Appends the expressions that the order does not name yet. A key that is named again decides nothing, and is left out.
fn extend(order: &mut Vec<SortExpr>, expressions: Vec<Expr>) {
    let keys = std::mem::take(order);
    for sort in keys {
        if !order.iter().any(|known: &SortExpr| known.expr == sort.expr) {
            order.push(sort);
        }
    }
    for expression in expressions {
        if !order.iter().any(|sort| sort.expr == expression) {
            order.push(ascending(expression));
        }
    }
}
