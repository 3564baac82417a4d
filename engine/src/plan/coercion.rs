//! Doubles beside numerics, as Postgres has them: the numeric becomes a double. DataFusion would make the double a numeric,
//! which overflows for large values and makes `x > 0.15` fail. An analyzer rule, to be run before type coercion.

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{Between, BinaryExpr, Expr, ExprSchemable, LogicalPlan, cast};
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
        Ok(plan.transform_up_with_subqueries(|node| rewritten(node, |expression, schema| Ok(as_doubles(expression, schema))))?.data)
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
