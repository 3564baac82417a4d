//! Doubles beside numerics, as Postgres has them: the numeric becomes a double. DataFusion would make the double a numeric,
//! which overflows for large values and makes `x > 0.15` fail. Dates beside timestamps likewise: the date becomes a timestamp of the
//! other's kind, where DataFusion would make both one of nanoseconds, which end in 2262. An analyzer rule, to be run before type
//! coercion.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{Between, BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, cast};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::rewritten;

/// The analyzer rule.
#[derive(Debug)]
pub struct NumericsBesideDoubles;

impl AnalyzerRule for NumericsBesideDoubles {
    fn name(&self) -> &str {
        "numerics_beside_doubles"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(|node| rewritten(node, |expression, schema| Ok(beside(expression, schema))))?.data)
    }
}

fn beside(expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    as_doubles(expression, schema).transform_data(|expression| Ok(as_timestamps(expression, schema))).expect("neither fails")
}

/// A comparison of dates and timestamps as one of timestamps.
fn as_timestamps(expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let type_of = |expression: &Expr| expression.get_type(schema).ok();
    let timestamp = |expression: &Expr| type_of(expression).filter(|it| matches!(it, DataType::Timestamp(TimeUnit::Microsecond, _)));
    let cast_if_date = |side: Box<Expr>, to: &DataType| match type_of(&side) {
        Some(DataType::Date32) => Box::new(cast(*side, to.clone())),
        _ => side,
    };
    match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(op) => {
            let Some(to) = timestamp(&left).or_else(|| timestamp(&right)) else {
                return Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }));
            };
            let (left, right) = (cast_if_date(left, &to), cast_if_date(right, &to));
            Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right }))
        }
        Expr::Between(Between { expr, negated, low, high }) => {
            let Some(to) = timestamp(&expr).or_else(|| timestamp(&low)).or_else(|| timestamp(&high)) else {
                return Transformed::no(Expr::Between(Between { expr, negated, low, high }));
            };
            let [expr, low, high] = [expr, low, high].map(|side| cast_if_date(side, &to));
            Transformed::yes(Expr::Between(Between { expr, negated, low, high }))
        }
        other => Transformed::no(other),
    }
}

fn as_doubles(expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let is_double = |expression: &Expr| expression.get_type(schema).is_ok_and(|data_type| data_type.is_floating());
    let is_numeric = |expression: &Expr| expression.get_type(schema).is_ok_and(|data_type| data_type.is_decimal());
    let double = |expression: Box<Expr>| if is_numeric(&expression) { Box::new(cast(*expression, DataType::Float64)) } else { expression };
    match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if is_double(&left) && is_numeric(&right) || is_numeric(&left) && is_double(&right) =>
        {
            Transformed::yes(Expr::BinaryExpr(BinaryExpr { left: double(left), op, right: double(right) }))
        }
        Expr::Between(Between { expr, negated, low, high })
            if is_double(&expr) && (is_numeric(&low) || is_numeric(&high))
                || is_numeric(&expr) && (is_double(&low) || is_double(&high)) =>
        {
            Transformed::yes(Expr::Between(Between { expr: double(expr), negated, low: double(low), high: double(high) }))
        }
        other => Transformed::no(other),
    }
}

fn is_comparison(operator: Operator) -> bool {
    use Operator::*;
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}
