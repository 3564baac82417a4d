//! Arithmetic that fails where DataFusion's wraps or gives infinity, and casts as Postgres has them, for both engines: an
//! analyzer rule puts functions of ours in the place of `+`, `-`, `*` and negation on integers, of these and division on
//! floats, and of the casts that [`casts::differs`] names. Other types keep DataFusion's operators, which check decimals.
//! To be run after type coercion, when both sides have one type.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::compute::kernels::numeric::{add, div, mul, sub};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Float32Type, Float64Type};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr_common::datum::apply;

use super::expressions::rewritten;
use crate::Error;
use crate::error::sqlstate;
use crate::functions::scalar::casts;

/// The analyzer rule.
#[derive(Debug, Default)]
pub struct CheckedArithmetic;

impl AnalyzerRule for CheckedArithmetic {
    fn name(&self) -> &str {
        "checked_arithmetic"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(|node| rewritten(node, checked_expression))?.data)
    }
}

/// Replaces the outermost operation of `expression` where it is an integer one.
fn checked_expression(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let type_of = |expression: &Expr| expression.get_type(schema).ok();
    let integer = |expression: &Expr| type_of(expression).filter(DataType::is_integer);
    let float = |expression: &Expr| type_of(expression).filter(|data_type| matches!(data_type, DataType::Float32 | DataType::Float64));
    match expression {
        Expr::Cast(cast) if type_of(&cast.expr).is_some_and(|from| casts::differs(&from, cast.field.data_type())) => {
            let function = casts::cast_function(&cast.field);
            Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![*cast.expr]))))
        }
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: op @ (Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide),
            right,
        }) if float(&left).is_some() && float(&left) == float(&right) => Ok(Transformed::yes(call(op, *left, *right))),
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::Plus | Operator::Minus | Operator::Multiply), right })
            if integer(&left).is_some() && integer(&left) == integer(&right) =>
        {
            Ok(Transformed::yes(call(op, *left, *right)))
        }
        Expr::Negative(argument) => match integer(&argument) {
            Some(data_type) if data_type.is_signed_integer() => {
                let zero = ScalarValue::new_zero(&data_type)?;
                Ok(Transformed::yes(call(Operator::Minus, Expr::Literal(zero, None), *argument)))
            }
            _ if float(&argument).is_some() => {
                let data_type = float(&argument).expect("it is a float");
                let minus_one = ScalarValue::new_negative_one(&data_type)?;
                Ok(Transformed::yes(call(Operator::Multiply, Expr::Literal(minus_one, None), *argument)))
            }
            _ => Ok(Transformed::no(Expr::Negative(argument))),
        },
        other => Ok(Transformed::no(other)),
    }
}

/// The operation on two integers or two floats of one type, which fails where it overflows.
pub(super) fn call(operator: Operator, left: Expr, right: Expr) -> Expr {
    let function = ScalarUDF::new_from_impl(CheckedOperation { operator, signature: Signature::any(2, Volatility::Immutable) });
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), vec![left, right]))
}

/// An operation on two integers or two floats of one type.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedOperation {
    operator: Operator,
    signature: Signature,
}

impl ScalarUDFImpl for CheckedOperation {
    fn name(&self) -> &str {
        match self.operator {
            Operator::Plus => "checked_plus",
            Operator::Minus => "checked_minus",
            Operator::Divide => "checked_divided_by",
            _ => "checked_times",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(arguments[0].clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (left, right) = (&args.args[0], &args.args[1]);
        let kernel = match self.operator {
            Operator::Plus => add,
            Operator::Minus => sub,
            Operator::Divide => div,
            _ => mul,
        };
        let result = apply(left, right, kernel)?;
        if matches!(args.return_type(), DataType::Float32 | DataType::Float64) {
            check_floats(self.operator, left, right, &result, args.number_rows)?;
            return one_nan(result);
        }
        Ok(result)
    }
}

/// Fails for a result that is infinite although no argument is, that is zero although a product of none is, and for a divisor
/// of zero. The whole column is looked at once before its rows are.
fn check_floats(operator: Operator, left: &ColumnarValue, right: &ColumnarValue, result: &ColumnarValue, n_rows: usize) -> Result<()> {
    let multiplies = matches!(operator, Operator::Multiply | Operator::Divide);
    let doubles = |values: &ColumnarValue| -> Result<ArrayRef> {
        let n_rows = if matches!(result, ColumnarValue::Scalar(_)) { 1 } else { n_rows };
        Ok(cast(&values.to_array(n_rows)?, &DataType::Float64)?)
    };
    let results = doubles(result)?;
    let results = results.as_primitive::<Float64Type>();
    let suspicious = |value: f64| !value.is_finite() || multiplies && value == 0.0;
    if !results.iter().flatten().any(suspicious) {
        return Ok(());
    }
    let (left, right) = (doubles(left)?, doubles(right)?);
    let (left, right) = (left.as_primitive::<Float64Type>(), right.as_primitive::<Float64Type>());
    for row in (0..results.len()).filter(|row| !results.is_null(*row)) {
        check_float(operator, left.value(row), right.value(row), results.value(row)).map_err(super::relation::external)?;
    }
    Ok(())
}

/// The same with the bits of one NaN in all of them: what is not a number has a sign, by which batch would tell it from others.
fn one_nan(values: ColumnarValue) -> Result<ColumnarValue> {
    Ok(match values {
        ColumnarValue::Scalar(ScalarValue::Float64(Some(value))) if value.is_nan() => ScalarValue::from(f64::NAN).into(),
        ColumnarValue::Scalar(ScalarValue::Float32(Some(value))) if value.is_nan() => ScalarValue::from(f32::NAN).into(),
        ColumnarValue::Array(array) => ColumnarValue::Array(match array.data_type() {
            DataType::Float64 => with_one_nan::<Float64Type>(array, f64::is_nan, f64::NAN),
            _ => with_one_nan::<Float32Type>(array, f32::is_nan, f32::NAN),
        }),
        other => other,
    })
}

fn with_one_nan<T: ArrowPrimitiveType>(array: ArrayRef, is_nan: fn(T::Native) -> bool, nan: T::Native) -> ArrayRef {
    let values = array.as_primitive::<T>();
    match values.iter().flatten().any(is_nan) {
        true => Arc::new(values.unary::<_, T>(|value| if is_nan(value) { nan } else { value })),
        false => array,
    }
}

fn check_float(operator: Operator, left: f64, right: f64, result: f64) -> Result<(), Error> {
    let out_of_range = |what: &str| Err(Error::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, format!("value out of range: {what}")));
    if operator == Operator::Divide && right == 0.0 && !left.is_nan() {
        return Err(Error::new(sqlstate::DIVISION_BY_ZERO, "division by zero"));
    }
    if result.is_infinite() && left.is_finite() && right.is_finite() {
        return out_of_range("overflow");
    }
    let vanished = match operator {
        Operator::Multiply => left != 0.0 && right != 0.0,
        Operator::Divide => left != 0.0 && right.is_finite(),
        _ => false,
    };
    if result == 0.0 && vanished { out_of_range("underflow") } else { Ok(()) }
}
