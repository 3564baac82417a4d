//! A physical rule that takes out of filters the projections that were put into them. DataFusion moves projections below a filter
//! by names and places of columns, and takes those of its output for those of its input: where a filter chooses columns itself,
//! another column of the name may stand there.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

/// The rule; it comes before each of those that move projections.
#[derive(Debug)]
pub struct ProjectionsAboveFilters;

impl PhysicalOptimizerRule for ProjectionsAboveFilters {
    fn name(&self) -> &str {
        "projections_above_filters"
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(plan.transform_up(apart)?.data)
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn apart(plan: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let Some(filter) = plan.downcast_ref::<FilterExec>() else { return Ok(Transformed::no(plan)) };
    let Some(chosen) = filter.projection() else { return Ok(Transformed::no(plan)) };
    let schema = filter.input().schema();
    let columns = chosen.iter().map(|place| {
        let name = schema.field(*place).name();
        ProjectionExpr { expr: Arc::new(Column::new(name, *place)), alias: name.clone() }
    });
    let columns: Vec<ProjectionExpr> = columns.collect();
    let whole = Arc::new(FilterExecBuilder::from(filter).apply_projection(None)?.build()?);
    Ok(Transformed::yes(Arc::new(ProjectionExec::try_new(columns, whole)?)))
}
