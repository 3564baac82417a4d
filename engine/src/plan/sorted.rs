//! A physical rule that puts a sort where an operator needs an order that its input is not known to have. DataFusion moves sorts
//! down and then forgets, below a union or where two columns are the same, that the order is there; its own check at the end
//! would refuse the plan.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_expr::LexOrdering;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

/// The rule; it comes before the check.
#[derive(Debug)]
pub struct SortWhatIsNotKnownToBe;

impl PhysicalOptimizerRule for SortWhatIsNotKnownToBe {
    fn name(&self) -> &str {
        "sort_what_is_not_known_to_be"
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(plan.transform_up(sorted_inputs)?.data)
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn sorted_inputs(plan: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let mut inputs: Vec<Arc<dyn ExecutionPlan>> = plan.children().into_iter().map(Arc::clone).collect();
    let mut is_changed = false;
    for (input, required) in inputs.iter_mut().zip(plan.required_input_ordering()) {
        let Some(required) = required.map(|required| required.into_single()) else { continue };
        if input.equivalence_properties().ordering_satisfy_requirement(required.clone())? {
            continue;
        }
        if let Some(order) = LexOrdering::new(required.into_iter().map(Into::into)) {
            *input = Arc::new(SortExec::new(order, Arc::clone(input)).with_preserve_partitioning(true));
            is_changed = true;
        }
    }
    match is_changed {
        true => replace_children_if_necessary(plan, inputs).map(Transformed::yes),
        false => Ok(Transformed::no(plan)),
    }
}
