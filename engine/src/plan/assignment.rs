//! Assignment casts: what may be stored in a column of another type, as Postgres allows it.
//!
//! Narrower than an explicit CAST (text is not stored in an integer column), wider than a comparison (a bigint is stored in
//! an integer column when it fits). A string literal has no type yet and goes wherever its text can be read.

use arrow::datatypes::{DataType, Field};
use catalog::SqlType;
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, cast};

use crate::Error;
use crate::error::sqlstate;

/// Column `index` of `source` as a value for `target`, under the target's name.
pub(super) fn assign(source: &LogicalPlan, index: usize, target: &Field) -> Result<Expr, Error> {
    let (qualifier, field) = source.schema().qualified_field(index);
    let value = Expr::Column(Column::from((qualifier, field)));
    assign_value(value, field.data_type(), is_untyped(source, index), target)
}

/// A value of type `from` for `target`, under the target's name.
pub(super) fn assign_value(value: Expr, from: &DataType, untyped: bool, target: &Field) -> Result<Expr, Error> {
    if !untyped && !is_assignable(from, target.data_type()) {
        let message = format!(
            "column \"{}\" is of type {} but expression is of type {}",
            target.name(),
            type_name(target.data_type()),
            type_name(from)
        );
        return Err(Error::new(sqlstate::DATATYPE_MISMATCH, message).with_hint("you will need to rewrite or cast the expression"));
    }
    let to = SqlType::of_field(target);
    if matches!(from, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8) && to != SqlType::Text && to != SqlType::Varchar(None) {
        return Ok(read_text(value, &to).alias(target.name()));
    }
    let value = if from == target.data_type() { value } else { cast(rounded(value, from, target.data_type()), target.data_type().clone()) };
    Ok(value.alias(target.name()))
}

/// Text as a value of a type, by the type's input rules.
pub(super) fn read_text(text: Expr, to: &SqlType) -> Expr {
    Expr::ScalarFunction(datafusion::logical_expr::expr::ScalarFunction::new_udf(
        std::sync::Arc::new(crate::functions::input::text_input()),
        vec![text, datafusion::logical_expr::lit(to.to_string())],
    ))
}

/// A planned DEFAULT or assigned expression as a value for `target`.
pub(super) fn assign_expression(value: Expr, schema: &datafusion::common::DFSchema, target: &Field) -> datafusion::common::Result<Expr> {
    let from = value.get_type(schema)?;
    let untyped = matches!(value, Expr::Literal(ScalarValue::Utf8(_) | ScalarValue::Null, _));
    assign_value(value, &from, untyped, target).map_err(super::relation::external)
}

/// Fractions are rounded, not cut off.
fn rounded(value: Expr, from: &DataType, to: &DataType) -> Expr {
    if (from.is_floating() || from.is_decimal()) && to.is_integer() {
        return datafusion::functions::math::expr_fn::round(vec![value]);
    }
    value
}

fn is_assignable(from: &DataType, to: &DataType) -> bool {
    use DataType::{Binary, Boolean, Date32, Interval, List, Null, Struct, Time64, Timestamp, Utf8};
    match (from, to) {
        (from, to) if from == to => true,
        (Null, _) | (_, Utf8) => true,
        (from, to) if from.is_numeric() && to.is_numeric() => true,
        (Date32 | Timestamp(..), Date32 | Timestamp(..)) => true,
        (Timestamp(..) | Time64(_) | Interval(_), Time64(_)) | (Time64(_), Interval(_)) => true,
        (Boolean, Boolean) | (Binary, Binary) => true,
        (List(from), List(to)) => is_assignable(from.data_type(), to.data_type()),
        (Struct(from), Struct(to)) => {
            from.len() == to.len() && from.iter().zip(to).all(|(from, to)| is_assignable(from.data_type(), to.data_type()))
        }
        (DataType::Utf8View | DataType::LargeUtf8, to) => is_assignable(&Utf8, to),
        _ => false,
    }
}

/// True when the column holds string literals or nulls alone, which take the type of where they go.
fn is_untyped(plan: &LogicalPlan, index: usize) -> bool {
    let literal = |expression: &Expr| matches!(expression, Expr::Literal(ScalarValue::Utf8(_) | ScalarValue::Null, _));
    match plan {
        LogicalPlan::Values(values) => values.values.iter().all(|row| literal(&row[index])),
        LogicalPlan::Projection(projection) => match super::lower::unaliased(&projection.expr[index]) {
            Expr::Column(column) => {
                projection.input.schema().maybe_index_of_column(column).is_some_and(|index| is_untyped(&projection.input, index))
            }
            other => literal(other),
        },
        LogicalPlan::SubqueryAlias(alias) => is_untyped(&alias.input, index),
        LogicalPlan::Sort(sort) => is_untyped(&sort.input, index),
        LogicalPlan::Limit(limit) => is_untyped(&limit.input, index),
        LogicalPlan::Union(union) => union.inputs.iter().all(|input| is_untyped(input, index)),
        _ => false,
    }
}

/// What Postgres calls a type, without modifiers.
pub(crate) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "boolean".into(),
        DataType::Int8 | DataType::Int16 => "smallint".into(),
        DataType::Int32 => "integer".into(),
        DataType::Int64 => "bigint".into(),
        DataType::Float32 => "real".into(),
        DataType::Float64 => "double precision".into(),
        DataType::Decimal128(..) | DataType::Decimal256(..) => "numeric".into(),
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => "text".into(),
        DataType::Binary => "bytea".into(),
        DataType::Date32 => "date".into(),
        DataType::Time64(_) => "time without time zone".into(),
        DataType::Timestamp(_, None) => "timestamp without time zone".into(),
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone".into(),
        DataType::Interval(_) => "interval".into(),
        DataType::List(item) => format!("{}[]", type_name(item.data_type())),
        other => other.to_string(),
    }
}
