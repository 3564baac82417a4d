//! Rules under which -0.0 is 0.0 where DataFusion compares the bits of floats: in lists and arms of CASE, which it hashes, in
//! `nullif` and in DISTINCT of an aggregate's arguments. (Its `=` makes no difference, nor do our groups and joins.)

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunction, InList};
use datafusion::logical_expr::{Case, Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::optimizer::{AnalyzerRule, ApplyOrder, OptimizerConfig, OptimizerRule};

use super::arithmetic::call;
use super::constants_last::without_sign_of_zero;
use super::expressions::rewritten;

/// The analyzer rule: `nullif`, DISTINCT and lists as they are written. It comes when types are settled.
#[derive(Debug)]
pub struct UnsignedZeros;

impl AnalyzerRule for UnsignedZeros {
    fn name(&self) -> &str {
        "unsigned_zeros"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(|node| rewritten(node, without_bits))?.data)
    }
}

fn without_bits(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expression {
        Expr::ScalarFunction(call) if call.name() == "nullif" && is_float(&call.args[0], schema) && !call.args[0].is_volatile() => {
            let is_same = call.args[0].clone().eq(call.args[1].clone());
            let nothing = ScalarValue::try_from(call.args[0].get_type(schema)?)?;
            let value = call.args.into_iter().next().expect("nullif has two arguments");
            let when = vec![(Box::new(is_same), Box::new(Expr::Literal(nothing, None)))];
            Ok(Transformed::yes(Expr::Case(Case { expr: None, when_then_expr: when, else_expr: Some(value.into()) })))
        }
        Expr::AggregateFunction(AggregateFunction { func, mut params })
            if params.distinct && params.args.iter().any(|arg| is_float(arg, schema)) =>
        {
            for arg in &mut params.args {
                if is_float(arg, schema) {
                    let own = arg.clone();
                    let unsigned = unsigned(own.clone(), schema)?;
                    params.order_by.iter_mut().filter(|key| key.expr == own).for_each(|key| key.expr = unsigned.clone());
                    *arg = unsigned;
                }
            }
            Ok(Transformed::yes(Expr::AggregateFunction(AggregateFunction { func, params })))
        }
        // Constants are not seen to be zeros yet.
        Expr::InList(InList { expr, list, negated }) if is_float(&expr, schema) => {
            let list = list.into_iter().map(|item| unsigned(item, schema)).collect::<Result<_>>()?;
            Ok(Transformed::yes(Expr::InList(InList { expr: unsigned(*expr, schema)?.into(), list, negated })))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// The optimizer rule: arms of CASE, and lists made of `f = 0 OR f = 1 OR …`. It comes last, when it is seen which are constants.
#[derive(Debug)]
pub struct UnsignedZerosInLists;

impl OptimizerRule for UnsignedZerosInLists {
    fn name(&self) -> &str {
        "unsigned_zeros_in_lists"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        rewritten(plan, in_lists)
    }
}

fn in_lists(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let is_concerned = |tested: &Expr, mut constants: Vec<&Expr>| {
        constants.retain(|constant| is_zero(constant));
        !constants.is_empty() && is_float(tested, schema) && !is_unsigned(tested)
    };
    match expression {
        Expr::InList(InList { expr, list, negated }) if is_concerned(&expr, list.iter().collect()) => {
            let list = list.into_iter().map(unsigned_constant).collect();
            Ok(Transformed::yes(Expr::InList(InList { expr: unsigned(*expr, schema)?.into(), list, negated })))
        }
        Expr::Case(Case { expr: Some(tested), when_then_expr, else_expr })
            if is_concerned(&tested, when_then_expr.iter().map(|(when, _)| when.as_ref()).collect()) =>
        {
            let arms = when_then_expr.into_iter().map(|(when, then)| (unsigned_constant(*when).into(), then)).collect();
            let tested = Some(unsigned(*tested, schema)?.into());
            Ok(Transformed::yes(Expr::Case(Case { expr: tested, when_then_expr: arms, else_expr })))
        }
        other => Ok(Transformed::no(other)),
    }
}

fn is_float(expression: &Expr, schema: &DFSchema) -> bool {
    matches!(expression.get_type(schema), Ok(DataType::Float32 | DataType::Float64))
}

/// The same number, 0.0 for -0.0.
fn unsigned(expression: Expr, schema: &DFSchema) -> Result<Expr> {
    let zero = ScalarValue::new_zero(&expression.get_type(schema)?)?;
    Ok(call(Operator::Plus, expression, Expr::Literal(zero, None)))
}

fn is_unsigned(expression: &Expr) -> bool {
    matches!(expression, Expr::ScalarFunction(function) if function.args.len() == 2
        && *expression == call(Operator::Plus, function.args[0].clone(), function.args[1].clone())
        && is_zero(&function.args[1]))
}

fn is_zero(expression: &Expr) -> bool {
    match expression {
        Expr::Literal(ScalarValue::Float64(Some(value)), _) => *value == 0.0,
        Expr::Literal(ScalarValue::Float32(Some(value)), _) => *value == 0.0,
        _ => false,
    }
}

fn unsigned_constant(expression: Expr) -> Expr {
    without_sign_of_zero(&expression).unwrap_or(expression)
}
