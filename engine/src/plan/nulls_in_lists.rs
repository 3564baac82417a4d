//! An analyzer rule that takes nulls out of lists: `x IN (1, NULL)` is `x IN (1) OR NULL`, and `x NOT IN (1, NULL)` is
//! `x NOT IN (1) AND NULL`. DataFusion takes lists that stand beside one another apart, of `x IN (1, 3) AND x NOT IN (2, NULL)`
//! leaves `x IN (1, 3)`, and does not think of nulls.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::{Cast, InList};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::rewritten;

/// The rule; it comes when types are settled.
#[derive(Debug)]
pub struct NullsInLists;

impl AnalyzerRule for NullsInLists {
    fn name(&self) -> &str {
        "nulls_in_lists"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(|node| rewritten(node, |expression, _| Ok(apart(expression))))?.data)
    }
}

fn apart(expression: Expr) -> Transformed<Expr> {
    match expression {
        Expr::InList(InList { expr, list, negated }) if list.iter().any(is_null) => {
            let list: Vec<Expr> = list.into_iter().filter(|item| !is_null(item)).collect();
            let unknown = Expr::Literal(ScalarValue::Boolean(None), None);
            if list.is_empty() {
                return Transformed::yes(unknown);
            }
            let others = Expr::InList(InList { expr, list, negated });
            Transformed::yes(if negated { others.and(unknown) } else { others.or(unknown) })
        }
        other => Transformed::no(other),
    }
}

fn is_null(item: &Expr) -> bool {
    match item {
        Expr::Literal(value, _) => value.is_null(),
        Expr::Cast(Cast { expr, .. }) => is_null(expr),
        _ => false,
    }
}
