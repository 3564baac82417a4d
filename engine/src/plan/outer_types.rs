//! References to outer columns take the types that these have once set operations have settled them. An analyzer rule, to be run
//! after type coercion, which runs once more where a type was another.
//!
//! A subquery is planned when the columns around it have the types of a UNION's first branch; DataFusion writes those into the
//! references and never looks again, so that `bigint = integer` reaches the kernels.

use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ExprSchema, Result};
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::logical_plan::Subquery;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;

use super::expressions::keeping_names;

/// The analyzer rule.
#[derive(Debug)]
pub struct OuterTypes;

impl AnalyzerRule for OuterTypes {
    fn name(&self) -> &str {
        "outer_types"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let settled = settle(plan, &mut Vec::new())?;
        match settled.transformed {
            true => TypeCoercion::new().analyze(settled.data, config),
            false => Ok(settled.data),
        }
    }
}

/// The plan with the types of `around`, the columns outside, from the outermost in.
fn settle(plan: LogicalPlan, around: &mut Vec<DFSchema>) -> Result<Transformed<LogicalPlan>> {
    if let LogicalPlan::Subquery(subquery) = plan {
        return settle_subquery(subquery, around)?.map_data(|subquery| Ok(LogicalPlan::Subquery(subquery)));
    }
    let left = match &plan {
        LogicalPlan::Join(join) if is_lateral(&join.right) => Some(join.left.schema().as_ref().clone()),
        _ => None,
    };
    let children = plan.map_children(|child| match left.as_ref().filter(|_| is_lateral(&child)) {
        Some(left) => {
            around.push(left.clone());
            let settled = settle(child, around);
            around.pop();
            settled
        }
        None => settle(child, around),
    })?;
    let is_changed = children.transformed;
    let scope = merge_schema(&children.data.inputs());
    let names = NamePreserver::new(&children.data);
    let settled = children.data.map_expressions(|expression| {
        keeping_names(&names, expression, &mut |expression| {
            expression.transform_up(|expression| settle_expression(expression, &scope, around))
        })
    })?;
    match is_changed || settled.transformed {
        true => Ok(Transformed::yes(settled.data.recompute_schema()?)),
        false => Ok(settled),
    }
}

/// A subquery on the right of a join, which may refer to the left.
fn is_lateral(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => is_lateral(&alias.input),
        plan => matches!(plan, LogicalPlan::Subquery(_)),
    }
}

fn settle_expression(expression: Expr, scope: &DFSchema, around: &mut Vec<DFSchema>) -> Result<Transformed<Expr>> {
    let mut inside = |subquery: Subquery| {
        around.push(scope.clone());
        let settled = settle_subquery(subquery, around);
        around.pop();
        settled
    };
    match expression {
        Expr::ScalarSubquery(subquery) => inside(subquery)?.map_data(|subquery| Ok(Expr::ScalarSubquery(subquery))),
        Expr::Exists(Exists { subquery, negated }) => inside(subquery)?.map_data(|subquery| Ok(Expr::Exists(Exists { subquery, negated }))),
        Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
            inside(subquery)?.map_data(|subquery| Ok(Expr::InSubquery(InSubquery { expr, subquery, negated })))
        }
        Expr::SetComparison(comparison) => {
            let settled = inside(comparison.subquery.clone())?;
            settled.map_data(|subquery| Ok(Expr::SetComparison(SetComparison { subquery, ..comparison })))
        }
        Expr::OuterReferenceColumn(field, column) => {
            let found = around.iter().rev().find_map(|scope| scope.field_from_column(&column).ok());
            match found {
                Some(outer) if outer.data_type() != field.data_type() => {
                    let field: FieldRef = Arc::new(field.as_ref().clone().with_data_type(outer.data_type().clone()));
                    Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
                }
                _ => Ok(Transformed::no(Expr::OuterReferenceColumn(field, column))),
            }
        }
        other => Ok(Transformed::no(other)),
    }
}

fn settle_subquery(subquery: Subquery, around: &mut Vec<DFSchema>) -> Result<Transformed<Subquery>> {
    let settled = settle(subquery.subquery.as_ref().clone(), around)?;
    match settled.transformed {
        true => {
            let outer_ref_columns = settled.data.all_out_ref_exprs();
            Ok(Transformed::yes(Subquery { outer_ref_columns, subquery: settled.data.into(), spans: subquery.spans }))
        }
        false => Ok(Transformed::no(subquery)),
    }
}
