//! Rules of DataFusion's that are right but for some nodes, which they are not shown.

use datafusion::common::tree_node::Transformed;
use datafusion::common::{NullEquality, Result};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// Filters, pushed down but for a condition without columns above an aggregate that has a row when there are none: the rule takes
/// the condition for one on the groups.
pub(super) fn push_down_filter() -> impl OptimizerRule {
    HeldBack { rule: PushDownFilter::new(), is_hidden: is_constant_above_one_group }
}

/// Keys of joins, taken from their conditions, but for a join whose keys make nulls equal: there the rule takes those of an `=` for
/// such, too.
pub(super) fn extract_equijoin_predicate() -> impl OptimizerRule {
    HeldBack { rule: ExtractEquijoinPredicate::new(), is_hidden: makes_nulls_equal }
}

#[derive(Debug)]
struct HeldBack<R> {
    rule: R,
    is_hidden: fn(&LogicalPlan) -> bool,
}

impl<R: OptimizerRule> OptimizerRule for HeldBack<R> {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if (self.is_hidden)(&plan) { Ok(Transformed::no(plan)) } else { self.rule.rewrite(plan, config) }
    }
}

fn is_constant_above_one_group(plan: &LogicalPlan) -> bool {
    let LogicalPlan::Filter(filter) = plan else { return false };
    let LogicalPlan::Aggregate(aggregate) = filter.input.as_ref() else { return false };
    matches!(aggregate.group_expr.as_slice(), [] | [Expr::GroupingSet(_)])
        && split_conjunction(&filter.predicate).into_iter().any(|part| part.column_refs().is_empty())
}

fn makes_nulls_equal(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Join(join) if join.null_equality == NullEquality::NullEqualsNull)
}
