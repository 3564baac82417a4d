//! Doubles beside numerics, as Postgres has them: the numeric becomes a double. DataFusion would make the double a numeric,
//! which overflows for large values and makes `x > 0.15` fail. An analyzer rule, to be run before type coercion.

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, ExprSchemable, LogicalPlan, cast};
use datafusion::optimizer::AnalyzerRule;

/// The analyzer rule.
#[derive(Debug)]
pub struct NumericsBesideDoubles;

impl AnalyzerRule for NumericsBesideDoubles {
    fn name(&self) -> &str {
        "numerics_beside_doubles"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(rewrite)?.data)
    }
}

fn rewrite(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        schema.merge(&DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?);
    }
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expression| {
        let name = names.save(&expression);
        let rewritten = expression.transform_up(|expression| Ok(as_doubles(expression, &schema)))?;
        Ok(rewritten.update_data(|expression| name.restore(expression)))
    })?
    .map_data(LogicalPlan::recompute_schema)
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
