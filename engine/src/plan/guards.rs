//! AND and OR that guard row by row, for batch runs. DataFusion skips the right side only when no row of a batch needs it, so
//! `b <> 0 AND a / b > 1` fails when one row has the zero and another has not; Postgres looks at each row alone, and so do views.
//!
//! What can fail on the right of AND becomes a branch of CASE, which DataFusion evaluates for the rows that reach it:
//! `CASE b <> 0 WHEN false THEN false ELSE a / b > 1 END`. In a filter the other parts stay as they are, so that joins find their
//! keys. Not guarded: overflow of integers, and conditions of different filters.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::logical_plan::Filter;
use datafusion::logical_expr::utils::{conjunction, merge_schema, split_conjunction_owned};
use datafusion::logical_expr::{BinaryExpr, Case, Expr, ExprSchemable, LogicalPlan, Operator, lit};

use crate::functions::scalar::{intervals, numeric};

/// The plan with such conditions guarded.
pub(super) fn guarded(plan: LogicalPlan) -> Result<LogicalPlan> {
    let guarded = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Filter(filter) if can_fail(&filter.predicate, filter.input.schema())? => {
            let predicate = filter_parts(filter.predicate, filter.input.schema())?;
            Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate, filter.input)?)))
        }
        node => {
            let (names, schema) = (NamePreserver::new(&node), merge_schema(&node.inputs()));
            node.map_expressions(|expression| match can_fail(&expression, &schema)? {
                true => {
                    let name = names.save(&expression);
                    Ok(Transformed::yes(name.restore(everywhere(expression, &schema)?)))
                }
                false => Ok(Transformed::no(expression)),
            })
        }
    })?;
    Ok(guarded.data)
}

/// Each part that can fail behind those before it.
fn filter_parts(predicate: Expr, schema: &DFSchema) -> Result<Expr> {
    let (mut parts, mut before): (Vec<Expr>, Option<Expr>) = (Vec::new(), None);
    for part in split_conjunction_owned(predicate) {
        let part = everywhere(part, schema)?;
        let guarded = match &before {
            Some(before) if can_fail(&part, schema)? => guard(before.clone(), false, part.clone()),
            _ => part.clone(),
        };
        parts.push(guarded);
        before = Some(match before {
            Some(before) => before.and(part),
            None => part,
        });
    }
    Ok(conjunction(parts).expect("a predicate has a part"))
}

fn everywhere(expression: Expr, schema: &DFSchema) -> Result<Expr> {
    let guarded = expression.transform_up(|node| match node {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) if can_fail(&right, schema)? => {
            let decides = op == Operator::Or;
            let both = Expr::BinaryExpr(BinaryExpr::new(left.clone(), op, right));
            Ok(Transformed::yes(guard(*left, decides, both)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(guarded.data)
}

/// `otherwise` where the condition does not decide already. A CASE over the condition, not WHEN condition: that would be
/// simplified to AND and OR again.
fn guard(condition: Expr, decides: bool, otherwise: Expr) -> Expr {
    Expr::Case(Case {
        expr: Some(condition.into()),
        when_then_expr: vec![(lit(decides).into(), lit(decides).into())],
        else_expr: Some(otherwise.into()),
    })
}

/// Division by what may be zero, casts from text, subqueries of several rows.
fn can_fail(expression: &Expr, schema: &DFSchema) -> Result<bool> {
    expression.exists(|node| {
        Ok(match node {
            Expr::BinaryExpr(BinaryExpr { op: Operator::Divide | Operator::Modulo, right, .. }) => may_be_zero(right),
            Expr::ScalarFunction(call) => match call.name() {
                "mod" | "checked_divided_by" | numeric::DIVIDE | intervals::DIVIDED => call.args.get(1).is_none_or(may_be_zero),
                "single_row" => true,
                crate::functions::input::NAME => !matches!(call.args.first(), Some(Expr::Literal(..))),
                _ => false,
            },
            Expr::Cast(cast) => {
                let is_text = cast.expr.get_type(schema).is_ok_and(|data_type| data_type.is_string());
                is_text && !cast.field.data_type().is_string() && !matches!(*cast.expr, Expr::Literal(..))
            }
            _ => false,
        })
    })
}

fn may_be_zero(divisor: &Expr) -> bool {
    match divisor {
        Expr::Literal(value, _) => ScalarValue::new_zero(&value.data_type()).is_ok_and(|zero| zero == *value),
        Expr::Cast(cast) => may_be_zero(&cast.expr),
        _ => true,
    }
}
