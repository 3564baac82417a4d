//! Operators as Postgres resolves them, while SQL is planned: the types of both sides are known then, and so is which side is
//! a literal of no type yet.
//!
//! - A string literal beside a value of another type is read as that type: `price > '10'`, `d = '2024-01-01'`.
//! - Dates, times and intervals have arithmetic of their own ([`intervals`]); a quotient of numerics has Postgres' scale.
//! - `real` beside another number is `double precision`; `~` and its like are regular expressions.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use catalog::SqlType;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::functions_nested::expr_fn::{array_append, array_concat, array_except, array_has_any, array_prepend};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, ScalarUDF, cast, lit, not};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::assignment::read_text;
use crate::functions::scalar::{arrays, fields, intervals, numeric, patterns};

/// The planner of operators, with the functions they become.
#[derive(Debug)]
pub struct PostgresOperators {
    functions: HashMap<String, Arc<ScalarUDF>>,
}

impl PostgresOperators {
    /// Over the functions of [`crate::functions::scalar`].
    pub fn over_tables() -> Self {
        let functions = crate::functions::scalar::all()
            .into_iter()
            .map(|function| function.into_udf())
            .chain(arrays::of_items())
            .chain([arrays::order()]);
        Self { functions: functions.map(|function| (function.name().to_string(), function)).collect() }
    }

    fn call(&self, name: &str, arguments: Vec<Expr>) -> Expr {
        let function = self.functions.get(name).expect("operators become functions of the tables");
        Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), arguments))
    }

    /// A call of `name`, if it takes such arguments.
    fn call_for(&self, name: &str, sides: &[(&Expr, &DataType)]) -> Option<Expr> {
        let function = self.functions.get(name)?;
        let types: Vec<DataType> = sides.iter().map(|(_, data_type)| (*data_type).clone()).collect();
        function.coerce_types(&types).ok()?;
        Some(self.call(name, sides.iter().map(|(side, _)| (*side).clone()).collect()))
    }

    /// The operator on two sides of known types; `None` leaves it to DataFusion.
    fn planned(&self, op: &BinaryOperator, left: &Expr, right: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
        let (left_type, right_type) = (&left.get_type(schema)?, &right.get_type(schema)?);
        let sides = [(left, left_type), (right, right_type)];
        Ok(match op {
            BinaryOperator::Plus if is_datetime(left_type) || is_datetime(right_type) => self.call_for(intervals::PLUS, &sides),
            BinaryOperator::Minus if is_datetime(left_type) || is_datetime(right_type) => self.call_for(intervals::MINUS, &sides),
            BinaryOperator::Multiply if is_interval(left_type) || is_interval(right_type) => self.call_for(intervals::TIMES, &sides),
            BinaryOperator::Divide if is_interval(left_type) => self.call_for(intervals::DIVIDED, &sides),
            BinaryOperator::Divide if is_numeric_pair(left_type, right_type) => {
                Some(self.call(numeric::DIVIDE, vec![left.clone(), right.clone()]))
            }
            BinaryOperator::PGRegexMatch => Some(self.call(patterns::MATCHES, vec![left.clone(), right.clone()])),
            BinaryOperator::PGRegexIMatch => Some(self.call(patterns::IMATCHES, vec![left.clone(), right.clone()])),
            BinaryOperator::PGRegexNotMatch => Some(not(self.call(patterns::MATCHES, vec![left.clone(), right.clone()]))),
            BinaryOperator::PGRegexNotIMatch => Some(not(self.call(patterns::IMATCHES, vec![left.clone(), right.clone()]))),
            BinaryOperator::AtArrow if is_list(left_type) && is_list(right_type) => {
                Some(self.call(arrays::CONTAINS, vec![left.clone(), right.clone()]))
            }
            BinaryOperator::ArrowAt if is_list(left_type) && is_list(right_type) => {
                Some(self.call(arrays::CONTAINS, vec![right.clone(), left.clone()]))
            }
            BinaryOperator::Lt | BinaryOperator::LtEq | BinaryOperator::Gt | BinaryOperator::GtEq
                if is_list(left_type) && left_type == right_type =>
            {
                let order = self.call(arrays::ORDER, vec![left.clone(), right.clone()]);
                Some(compared_with_zero(order, op))
            }
            BinaryOperator::PGOverlap if is_list(left_type) && is_list(right_type) => Some(overlap(left, left_type, right)?),
            BinaryOperator::StringConcat => concatenated(left, left_type, right, right_type),
            _ => None,
        })
    }
}

fn compared_with_zero(order: Expr, op: &BinaryOperator) -> Expr {
    let zero = lit(0_i32);
    match op {
        BinaryOperator::Lt => order.lt(zero),
        BinaryOperator::LtEq => order.lt_eq(zero),
        BinaryOperator::Gt => order.gt(zero),
        _ => order.gt_eq(zero),
    }
}

/// Whether two arrays have an item in common; a null is like no other.
fn overlap(left: &Expr, left_type: &DataType, right: &Expr) -> Result<Expr> {
    let (DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)) = left_type else {
        return Ok(array_has_any(left.clone(), right.clone()));
    };
    let null = ScalarValue::List(ScalarValue::new_list(&[ScalarValue::try_from(item.data_type())?], item.data_type(), true));
    Ok(array_has_any(array_except(left.clone(), Expr::Literal(null, None)), right.clone()))
}

/// Arrays are joined, text is put together; what is neither is text first.
fn concatenated(left: &Expr, left_type: &DataType, right: &Expr, right_type: &DataType) -> Option<Expr> {
    let (left, right) = (left.clone(), right.clone());
    match (is_list(left_type), is_list(right_type)) {
        (true, true) => Some(array_concat(vec![left, right])),
        (true, false) => Some(array_append(left, right)),
        (false, true) => Some(array_prepend(left, right)),
        (false, false) => {
            let as_text = |side: Expr, data_type: &DataType| match data_type {
                DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => side,
                _ => cast(side, DataType::Utf8),
            };
            let operator = datafusion::logical_expr::Operator::StringConcat;
            Some(datafusion::logical_expr::binary_expr(as_text(left, left_type), operator, as_text(right, right_type)))
        }
    }
}

impl ExprPlanner for PostgresOperators {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let (Ok(left_type), Ok(right_type)) = (expr.left.get_type(schema), expr.right.get_type(schema)) else {
            return Ok(PlannerResult::Original(expr));
        };
        let RawBinaryExpr { op, left, right } = expr;
        let left = typed_beside(left, &right_type, &op);
        let right = typed_beside(right, &left_type, &op);
        let (left, right) = as_doubles(left, &left_type, right, &right_type, &op);
        Ok(match self.planned(&op, &left, &right, schema)? {
            Some(planned) => PlannerResult::Planned(planned),
            None => PlannerResult::Original(RawBinaryExpr { op, left, right }),
        })
    }

    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        let lower = |field: Expr| match field {
            Expr::Literal(ScalarValue::Utf8(Some(field)), metadata) => {
                Expr::Literal(ScalarValue::Utf8(Some(field.trim_matches(['\'', '"']).to_ascii_lowercase())), metadata)
            }
            other => other,
        };
        let args = args.into_iter().enumerate().map(|(at, argument)| if at == 0 { lower(argument) } else { argument }).collect();
        Ok(PlannerResult::Planned(self.call(fields::EXTRACT, args)))
    }

    fn plan_substring(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(self.call("substr", args)))
    }

    fn plan_overlay(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(self.call("overlay", args)))
    }

    fn plan_position(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(self.call("strpos", args)))
    }
}

/// A literal of no type as a value of the type it stands beside.
fn typed_beside(expr: Expr, other: &DataType, op: &BinaryOperator) -> Expr {
    if !matches!(expr, Expr::Literal(ScalarValue::Utf8(Some(_)), _)) {
        return expr;
    }
    let own = SqlType::of_arrow(other);
    let sql_type = match (op, own) {
        (BinaryOperator::StringConcat, _) if !is_list(other) => return expr,
        (_, SqlType::Text | SqlType::Struct(_) | SqlType::Bytea) => return expr,
        (BinaryOperator::Plus, SqlType::Date | SqlType::Time | SqlType::Timestamp | SqlType::TimestampTz) => SqlType::Interval,
        (BinaryOperator::Multiply | BinaryOperator::Divide, SqlType::Interval) => SqlType::Double,
        (op, _) if !takes_two_of_a_type(op) => return expr,
        (_, SqlType::Numeric(_)) => SqlType::Numeric(None),
        (_, own) => own,
    };
    read_text(expr, &sql_type)
}

/// Operators whose sides are of one type, as far as a literal is concerned.
fn takes_two_of_a_type(op: &BinaryOperator) -> bool {
    use BinaryOperator::*;
    matches!(
        op,
        Plus | Minus | Multiply | Divide | Modulo | Eq | NotEq | Lt | LtEq | Gt | GtEq | AtArrow | ArrowAt | PGOverlap | StringConcat
    )
}

/// `real` beside any other number, in arithmetic: both become `double precision`.
fn as_doubles(left: Expr, left_type: &DataType, right: Expr, right_type: &DataType, op: &BinaryOperator) -> (Expr, Expr) {
    let is_arithmetic = matches!(op, BinaryOperator::Plus | BinaryOperator::Minus | BinaryOperator::Multiply | BinaryOperator::Divide);
    let is_mixed = |a: &DataType, b: &DataType| *a == DataType::Float32 && b.is_numeric() && *b != DataType::Float32;
    match is_arithmetic && (is_mixed(left_type, right_type) || is_mixed(right_type, left_type)) {
        true => (cast(left, DataType::Float64), cast(right, DataType::Float64)),
        false => (left, right),
    }
}

fn is_datetime(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32 | DataType::Time64(_) | DataType::Timestamp(..) | DataType::Interval(_))
}

fn is_interval(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(_))
}

fn is_list(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..))
}

/// At least one numeric, and nothing but numerics and integers.
fn is_numeric_pair(left: &DataType, right: &DataType) -> bool {
    let exact = |data_type: &DataType| matches!(data_type, DataType::Decimal128(..) | DataType::Int16 | DataType::Int32 | DataType::Int64);
    exact(left) && exact(right) && (left.is_decimal() || right.is_decimal())
}
