//! A physical rule for `WITH RECURSIVE … UNION …`, whose rounds keep the rows that no round before had. DataFusion takes the numbers
//! that it gives to new rows to grow with the rows of a batch; where hashes meet (an empty array beside null) they do not, and rows are
//! lost. So the recursion becomes one of UNION ALL over terms that pass on new rows alone.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, Statistics};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;
use datafusion::physical_plan::execution_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use futures::TryStreamExt;

/// The rule.
#[derive(Debug)]
pub struct NewRowsOfRecursions;

impl PhysicalOptimizerRule for NewRowsOfRecursions {
    fn name(&self) -> &str {
        "new_rows_of_recursions"
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(plan.transform_up(over_new_rows)?.data)
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn over_new_rows(plan: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let Some(recursion) = plan.downcast_ref::<RecursiveQueryExec>().filter(|recursion| recursion.is_distinct()) else {
        return Ok(Transformed::no(plan));
    };
    let seen = Arc::default();
    let first = NewRows::of(Arc::clone(recursion.static_term()), Term::First, Arc::clone(&seen));
    let next = NewRows::of(Arc::clone(recursion.recursive_term()), Term::Next, seen);
    let name = RecursiveQueryExec::name(recursion).to_owned();
    let recursion = RecursiveQueryExec::try_new(name, plan.schema(), Arc::new(first), Arc::new(next), false)?;
    Ok(Transformed::yes(Arc::new(recursion)))
}

/// Which term of a recursion: the first one begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Term {
    First,
    Next,
}

/// The rows of its input that neither term had before.
#[derive(Debug)]
struct NewRows {
    input: Arc<dyn ExecutionPlan>,
    term: Term,
    /// Shared by both terms.
    seen: Arc<Mutex<Option<Seen>>>,
    properties: Arc<PlanProperties>,
}

impl NewRows {
    fn of(input: Arc<dyn ExecutionPlan>, term: Term, seen: Arc<Mutex<Option<Seen>>>) -> Self {
        let nothing = EquivalenceProperties::new(input.schema());
        let (partitioning, emission) = (input.output_partitioning().clone(), input.pipeline_behavior());
        let properties = PlanProperties::new(nothing, partitioning, emission, input.boundedness());
        Self { properties: Arc::new(properties), input, term, seen }
    }
}

impl DisplayAs for NewRows {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ExecutionPlan for NewRows {
    fn name(&self) -> &str {
        "NewRows"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::of(children.swap_remove(0), self.term, Arc::clone(&self.seen))))
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::of(children.swap_remove(0), self.term, Arc::clone(&self.seen))))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (seen, schema) = (Arc::clone(&self.seen), self.schema());
        if self.term == Term::First {
            *locked(&seen) = Some(Seen::new(Arc::clone(&schema), &context)?);
        }
        let rows = self.input.execute(partition, context)?;
        let new_rows = rows.try_filter_map(move |batch| {
            let mut seen = locked(&seen);
            let new_rows = seen.as_mut().map(|seen| seen.new_rows(&batch)).transpose();
            std::future::ready(new_rows.map(|rows| rows.filter(|rows| rows.num_rows() > 0)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, new_rows)))
    }

    fn partition_statistics(&self, _: Option<usize>) -> Result<Arc<Statistics>> {
        Ok(Arc::new(Statistics::new_unknown(&self.schema())))
    }
}

fn locked(seen: &Mutex<Option<Seen>>) -> std::sync::MutexGuard<'_, Option<Seen>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The rows there were.
struct Seen {
    rows: Box<dyn GroupValues>,
    numbers: Vec<usize>,
    reservation: MemoryReservation,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} rows", self.rows.len())
    }
}

impl Seen {
    fn new(schema: SchemaRef, context: &TaskContext) -> Result<Self> {
        let reservation = MemoryConsumer::new("rows of a recursion").register(context.memory_pool());
        Ok(Self { rows: new_group_values(schema, &GroupOrdering::None)?, numbers: Vec::new(), reservation })
    }

    /// The rows that were not there, each once.
    fn new_rows(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let n_before = self.rows.len();
        self.numbers.clear();
        self.rows.intern(batch.columns(), &mut self.numbers)?;
        self.reservation.try_resize(self.rows.size())?;
        let mut met = HashSet::new();
        let is_new: BooleanArray = self.numbers.iter().map(|number| Some(*number >= n_before && met.insert(*number))).collect();
        Ok(filter_record_batch(batch, &is_new)?)
    }
}
