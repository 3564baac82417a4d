//! What the types of the system catalog mean in expressions, once names and types are known: an object id of a `reg…` type
//! becomes its name where it is cast to text and where a client would see it, a vector counts from 0, and a literal beside
//! an array is an array.
//!
//! Done before types are coerced, since coercion would see plain integers.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use catalog::SqlType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Cast, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::logical_plan::Projection;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, ScalarUDF, lit};

use super::assignment::read_text;

/// The function that shows an object id as its type does.
pub const OUT: &str = "pg_out";

/// How a function of the system's schemas is found.
type Find<'a> = &'a dyn Fn(&str) -> Option<Arc<ScalarUDF>>;

/// The same plan with names in the place of object ids, wherever text is asked for. Nothing changes where there is no
/// function to find them.
pub(crate) fn named_references(plan: LogicalPlan, find: Find) -> Result<LogicalPlan> {
    let Some(out) = find(OUT) else { return Ok(plan) };
    let plan = plan.transform_up_with_subqueries(|node| rewrite(node, &out))?.data;
    shown_to_clients(plan, &out)
}

fn rewrite(plan: LogicalPlan, out: &Arc<ScalarUDF>) -> Result<Transformed<LogicalPlan>> {
    if matches!(plan, LogicalPlan::Unnest(_) | LogicalPlan::TableScan(_) | LogicalPlan::Join(_)) && plan.expressions().is_empty() {
        return Ok(Transformed::no(plan));
    }
    let schema = merge_schema(&plan.inputs());
    let names = NamePreserver::new(&plan);
    let mut changed = false;
    let rewritten = plan.map_expressions(|expression| {
        let name = names.save(&expression);
        let rewritten = expression.transform_up(|expression| Ok(meant(expression, &schema, out)))?;
        changed |= rewritten.transformed;
        Ok(rewritten.update_data(|expression| name.restore(expression)))
    })?;
    match changed {
        true => rewritten.map_data(LogicalPlan::recompute_schema),
        // Types from below may have changed.
        false => Ok(Transformed::yes(rewritten.data.recompute_schema()?)),
    }
}

fn meant(expression: Expr, schema: &DFSchema, out: &Arc<ScalarUDF>) -> Transformed<Expr> {
    match expression {
        Expr::Cast(Cast { expr, field }) if is_text(field.data_type()) => match type_of(&expr, schema) {
            Some(sql_type) if is_shown_otherwise(&sql_type) => Transformed::yes(call(out, *expr, &sql_type)),
            _ => Transformed::no(Expr::Cast(Cast { expr, field })),
        },
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == "array_element" && args.len() == 2 => {
            let is_vector = matches!(type_of(&args[0], schema), Some(SqlType::System(system)) if system.is_vector());
            match <[Expr; 2]>::try_from(args) {
                Ok([vector, index]) if is_vector => {
                    Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args: vec![vector, index + lit(1_i64)] }))
                }
                Ok(args) => Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args: args.into() })),
                Err(args) => Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args })),
            }
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(op) => {
            let (left, right) = (like_the_other(*left, &right, schema), *right);
            let right = like_the_other(right, &left, schema);
            Transformed::yes(Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) }))
        }
        Expr::InList(mut in_list) => {
            in_list.list = in_list.list.into_iter().map(|item| like_the_other(item, &in_list.expr, schema)).collect();
            Transformed::yes(Expr::InList(in_list))
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == "array_has" && args.len() == 2 => {
            let [array, item] = <[Expr; 2]>::try_from(args).expect("there are two");
            let array = items_like(array, &item, schema);
            Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args: vec![array, item] }))
        }
        other => Transformed::no(other),
    }
}

/// The literals of an array written out, as they would be beside `item`.
fn items_like(array: Expr, item: &Expr, schema: &DFSchema) -> Expr {
    match array {
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == "make_array" => {
            let args = args.into_iter().map(|literal| like_the_other(literal, item, schema)).collect();
            Expr::ScalarFunction(ScalarFunction { func, args })
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == crate::functions::input::NAME => match args.first() {
            Some(text) if type_of(item, schema) == Some(SqlType::Uuid) => read_text(text.clone(), &SqlType::Array(Box::new(SqlType::Uuid))),
            _ => Expr::ScalarFunction(ScalarFunction { func, args }),
        },
        other => other,
    }
}

fn is_comparison(operator: Operator) -> bool {
    matches!(operator, Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq)
}

/// `'{0}'` beside an array of numbers is read as such an array, `'5'` beside an object id as a number, text beside a uuid as one.
fn like_the_other(expression: Expr, other: &Expr, schema: &DFSchema) -> Expr {
    let Some(text) = text_literal(&expression) else { return expression };
    match type_of(other, schema) {
        Some(SqlType::Array(item)) => {
            let read = crate::decode::parse_text(&SqlType::Array(item), text);
            read.map_or(expression, |value| Expr::Literal(value, None))
        }
        // Kept in one spelling: another one of the same value is brought to it.
        Some(SqlType::Uuid) => read_text(expression, &SqlType::Uuid),
        Some(SqlType::System(system)) if system.arrow() == DataType::Int64 => match text.trim().parse::<i64>() {
            Ok(number) => lit(number),
            Err(_) => expression,
        },
        _ => expression,
    }
}

fn text_literal(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => Some(text),
        _ => None,
    }
}

/// What the root shows to a client as text.
fn shown_to_clients(plan: LogicalPlan, out: &Arc<ScalarUDF>) -> Result<LogicalPlan> {
    let shown = |field: &Field| Some(SqlType::of_field(field)).filter(is_shown_otherwise);
    if plan.schema().fields().iter().all(|field| shown(field).is_none()) {
        return Ok(plan);
    }
    let columns = plan.schema().iter().map(|(qualifier, field)| {
        let column = Expr::Column(Column::from((qualifier, field)));
        match shown(field) {
            Some(sql_type) => call(out, column, &sql_type).alias_qualified(qualifier.cloned(), field.name()),
            None => column,
        }
    });
    Ok(LogicalPlan::Projection(Projection::try_new(columns.collect(), Arc::new(plan.clone()))?))
}

fn call(out: &Arc<ScalarUDF>, value: Expr, sql_type: &SqlType) -> Expr {
    Expr::ScalarFunction(ScalarFunction { func: Arc::clone(out), args: vec![value, lit(sql_type.to_string())] })
}

fn type_of(expression: &Expr, schema: &DFSchema) -> Option<SqlType> {
    expression.to_field(schema).ok().map(|(_, field)| SqlType::of_field(&field))
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
        || matches!(data_type, DataType::List(item) if is_text(item.data_type()))
}

fn is_reference(sql_type: &SqlType) -> bool {
    matches!(sql_type.innermost(), SqlType::System(system) if system.is_reference())
}

fn is_shown_otherwise(sql_type: &SqlType) -> bool {
    is_reference(sql_type) || matches!(sql_type, SqlType::System(system) if system.is_vector())
}
