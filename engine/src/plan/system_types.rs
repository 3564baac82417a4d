//! Types of the system catalog in a result. An `oid` is a bigint to the engines and its field says which it is, but what is
//! computed of a column forgets its field: CASE, `max`, `array_agg`, a subquery. Where such a value reaches the client as it was
//! in a column, the column's type is found again. Clients look up a type by what `array_agg(oid)` says it is.

use std::sync::Arc;

use arrow::datatypes::Field;
use catalog::SqlType;
use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction};
use datafusion::logical_expr::logical_plan::{Distinct, Projection};
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::functions::scalar::casts::cast_function;

/// The same rows, whose columns know that they are of types of the system catalog.
pub(super) fn with_system_types(plan: LogicalPlan) -> Result<LogicalPlan> {
    let types: Vec<Option<SqlType>> = (0..plan.schema().fields().len()).map(|index| forgotten_type(&plan, index)).collect();
    if types.iter().all(Option::is_none) {
        return Ok(plan);
    }
    let columns = plan.schema().iter().zip(types).map(|((qualifier, field), sql_type)| {
        let column = Expr::Column(Column::from((qualifier, field)));
        match sql_type {
            Some(sql_type) => {
                let typed = ScalarFunction::new_udf(cast_function(&sql_type.field("", true)), vec![column]);
                Expr::ScalarFunction(typed).alias_qualified(qualifier.cloned(), field.name())
            }
            None => column,
        }
    });
    Ok(LogicalPlan::Projection(Projection::try_new(columns.collect(), Arc::new(plan.clone()))?))
}

/// The type of a column whose field does not say it.
fn forgotten_type(plan: &LogicalPlan, index: usize) -> Option<SqlType> {
    let field = plan.schema().field(index);
    match told_type(field) {
        Some(_) => None,
        None => type_of_column(plan, index).filter(|sql_type| sql_type.arrow() == *field.data_type()),
    }
}

fn told_type(field: &Field) -> Option<SqlType> {
    Some(SqlType::of_field(field)).filter(|sql_type| matches!(sql_type.innermost(), SqlType::System(_)))
}

fn type_of_column(plan: &LogicalPlan, index: usize) -> Option<SqlType> {
    if let Some(told) = told_type(plan.schema().field(index)) {
        return Some(told);
    }
    match plan {
        LogicalPlan::Projection(projection) => type_of(projection.expr.get(index)?, &projection.input),
        LogicalPlan::Aggregate(aggregate) => {
            let n_groups = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
            let expression = match index.checked_sub(n_groups) {
                Some(place) => aggregate.aggr_expr.get(place)?,
                None => aggregate.group_expr.get(index)?,
            };
            type_of(expression, &aggregate.input)
        }
        LogicalPlan::Join(join) => {
            let n_left = join.left.schema().fields().len();
            match index.checked_sub(n_left) {
                None => type_of_column(&join.left, index),
                Some(index) if index < join.right.schema().fields().len() => type_of_column(&join.right, index),
                Some(_) => None,
            }
        }
        LogicalPlan::Window(window) => {
            let n_input = window.input.schema().fields().len();
            if index < n_input { type_of_column(&window.input, index) } else { None }
        }
        LogicalPlan::RecursiveQuery(recursion) => type_of_column(&recursion.static_term, index),
        LogicalPlan::Union(union) => type_of_column(union.inputs.first()?, index),
        LogicalPlan::SubqueryAlias(alias) => type_of_column(&alias.input, index),
        LogicalPlan::Filter(filter) => type_of_column(&filter.input, index),
        LogicalPlan::Sort(sort) => type_of_column(&sort.input, index),
        LogicalPlan::Limit(limit) => type_of_column(&limit.input, index),
        LogicalPlan::Distinct(Distinct::All(input)) => type_of_column(input, index),
        _ => None,
    }
}

/// The type of a value that comes from a column as it is, or in an array.
fn type_of(expression: &Expr, input: &LogicalPlan) -> Option<SqlType> {
    match expression {
        Expr::Alias(alias) => type_of(&alias.expr, input),
        Expr::Column(column) => type_of_column(input, input.schema().maybe_index_of_column(column)?),
        Expr::Case(case) => {
            let values = case.when_then_expr.iter().map(|(_, value)| value).chain(&case.else_expr);
            let first = values.map(Box::as_ref).find(|value| !matches!(value, Expr::Literal(literal, _) if literal.is_null()));
            type_of(first?, input)
        }
        Expr::ScalarSubquery(subquery) => type_of_column(&subquery.subquery, 0),
        Expr::ScalarFunction(call) if matches!(call.func.name(), "coalesce" | "nullif" | "single_row") => {
            type_of(call.args.first()?, input)
        }
        Expr::AggregateFunction(AggregateFunction { func, params }) => {
            let argument = type_of(params.args.first()?, input)?;
            match func.name() {
                "max" | "min" | "first_value" | "last_value" => Some(argument),
                "array_agg" => Some(SqlType::Array(Box::new(argument))),
                _ => None,
            }
        }
        _ => None,
    }
}
