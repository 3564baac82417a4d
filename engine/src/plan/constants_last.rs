//! A rule that writes comparisons of columns with constants in one form: the column first, and no zero with a sign. Of several
//! such conditions on a column DataFusion keeps the narrowest where filters are pushed down, and goes by their form: of
//! `a >= 4 AND 4 < a` it would keep the first, and take `a = 4 AND 4 = a` for false.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// The rule; it comes before the one that pushes filters down.
#[derive(Debug)]
pub struct ConstantsLast;

impl OptimizerRule for ConstantsLast {
    fn name(&self) -> &str {
        "constants_last"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match plan {
            // Of a join only the condition: its keys have their sides.
            LogicalPlan::Join(mut join) => {
                let filter = join.filter.take().map(|filter| filter.transform_up(in_one_form)).transpose()?;
                let is_changed = filter.as_ref().is_some_and(|filter| filter.transformed);
                join.filter = filter.map(|filter| filter.data);
                Ok(if is_changed { Transformed::yes(LogicalPlan::Join(join)) } else { Transformed::no(LogicalPlan::Join(join)) })
            }
            LogicalPlan::Filter(mut filter) => {
                let predicate = filter.predicate.transform_up(in_one_form)?;
                filter.predicate = predicate.data;
                let filter = LogicalPlan::Filter(filter);
                Ok(if predicate.transformed { Transformed::yes(filter) } else { Transformed::no(filter) })
            }
            other => Ok(Transformed::no(other)),
        }
    }
}

fn in_one_form(expression: Expr) -> Result<Transformed<Expr>> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = &expression else { return Ok(Transformed::no(expression)) };
    let is_last = matches!((left.as_ref(), right.as_ref()), (Expr::Column(_), Expr::Literal(..)));
    let is_first = matches!((left.as_ref(), right.as_ref()), (Expr::Literal(..), Expr::Column(_)));
    let is_compared = matches!(op, Operator::Eq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq);
    let Some(swapped) = op.swap().filter(|_| is_compared && (is_first || is_last)) else { return Ok(Transformed::no(expression)) };
    let (column, constant) = if is_last { (left, right) } else { (right, left) };
    let unsigned = without_sign_of_zero(constant);
    if is_last && unsigned.is_none() {
        return Ok(Transformed::no(expression));
    }
    let op = if is_last { *op } else { swapped };
    let constant = unsigned.map_or_else(|| constant.clone(), Box::new);
    Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr { left: column.clone(), op, right: constant })))
}

/// 0.0 for -0.0, which compares as the same.
pub(super) fn without_sign_of_zero(constant: &Expr) -> Option<Expr> {
    let Expr::Literal(value, metadata) = constant else { return None };
    let zero = match value {
        ScalarValue::Float64(Some(value)) if *value == 0.0 && value.is_sign_negative() => ScalarValue::Float64(Some(0.0)),
        ScalarValue::Float32(Some(value)) if *value == 0.0 && value.is_sign_negative() => ScalarValue::Float32(Some(0.0)),
        _ => return None,
    };
    Some(Expr::Literal(zero, metadata.clone()))
}
