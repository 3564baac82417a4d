//! Integer arithmetic that fails where DataFusion's wraps, for both engines: an analyzer rule puts functions of ours in the
//! place of `+`, `-`, `*` and negation on integers. Other types keep DataFusion's operators, which check decimals and follow
//! IEEE for floats. To be run after type coercion, when both sides have one type.

use std::sync::Arc;

use arrow::compute::kernels::numeric::{add, mul, sub};
use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr_common::datum::apply;

/// The analyzer rule.
#[derive(Debug, Default)]
pub struct CheckedArithmetic;

impl AnalyzerRule for CheckedArithmetic {
    fn name(&self) -> &str {
        "checked_arithmetic"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(checked_plan)?.data)
    }
}

fn checked_plan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        schema.merge(&DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?);
    }
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expression| {
        let name = names.save(&expression);
        let checked = expression.transform_up(|expression| checked_expression(expression, &schema))?;
        Ok(checked.update_data(|expression| name.restore(expression)))
    })?
    .map_data(LogicalPlan::recompute_schema)
}

/// Replaces the outermost operation of `expression` where it is an integer one.
fn checked_expression(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let integer = |expression: &Expr| expression.get_type(schema).ok().filter(DataType::is_integer);
    match expression {
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
            _ => Ok(Transformed::no(Expr::Negative(argument))),
        },
        other => Ok(Transformed::no(other)),
    }
}

fn call(operator: Operator, left: Expr, right: Expr) -> Expr {
    let function = ScalarUDF::new_from_impl(CheckedOperation { operator, signature: Signature::any(2, Volatility::Immutable) });
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), vec![left, right]))
}

/// `+`, `-` or `*` on two integers of one type.
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
        match self.operator {
            Operator::Plus => apply(left, right, add),
            Operator::Minus => apply(left, right, sub),
            _ => apply(left, right, mul),
        }
    }
}
