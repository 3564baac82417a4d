//! Stops a statement inside an operator that does not give way.
//!
//! A dropped task ends at its next `await`. A nested loop join has none while it looks for a match: with a condition that is
//! seldom true it computes for hours, on a thread that is then nobody else's. So its condition is wrapped in [`Interruptible`],
//! which looks whether the statement was stopped, and now and then lets other tasks of its thread go on elsewhere.
//!
//! Guaranteed: a stopped statement ends within the evaluation of its condition over one batch. Not guaranteed: that other
//! operators of DataFusion, which return between batches, are stopped any faster than between these.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::{Result, exec_err, internal_err};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{NestedLoopJoinExec, NestedLoopJoinExecBuilder};
use tokio::runtime::{Handle, RuntimeFlavor};

/// Evaluations between two turns for others: each is over a batch, which takes some ten microseconds at least.
const EVALUATIONS_A_TURN: usize = 256;

tokio::task_local! {
    /// What stops the statement that this task plans.
    pub static INTERRUPT: Interrupt;
}

/// Whether a statement was stopped. Clones are of the same statement.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    stopped: Arc<AtomicBool>,
}

impl Interrupt {
    /// That of the statement this task plans; one that nobody stops where there is none.
    pub fn current() -> Self {
        INTERRUPT.try_with(Self::clone).unwrap_or_default()
    }

    /// Stops the statement.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

/// The same join, which can be stopped in the middle; `None` for what is no nested loop with a condition.
pub(super) fn interruptible(node: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() else { return Ok(None) };
    let Some(filter) = join.filter() else { return Ok(None) };
    let condition =
        Interruptible { inner: Arc::clone(filter.expression()), interrupt: Interrupt::current(), n_evaluations: Arc::default() };
    let filter = JoinFilter::new(Arc::new(condition), filter.column_indices().to_vec(), Arc::clone(filter.schema()));
    let join = NestedLoopJoinExecBuilder::new(Arc::clone(join.left()), Arc::clone(join.right()), *join.join_type())
        .with_projection_ref(join.projection().clone())
        .with_filter(Some(filter))
        .build()?;
    Ok(Some(Arc::new(join)))
}

/// An expression that fails once its statement was stopped.
#[derive(Debug, Clone)]
struct Interruptible {
    inner: Arc<dyn PhysicalExpr>,
    interrupt: Interrupt,
    n_evaluations: Arc<AtomicUsize>,
}

impl PartialEq for Interruptible {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Interruptible {}

impl Hash for Interruptible {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl fmt::Display for Interruptible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PhysicalExpr for Interruptible {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.inner.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.inner.nullable(schema)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.inner.return_field(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        if self.interrupt.is_stopped() {
            return exec_err!("the statement was stopped");
        }
        if self.n_evaluations.fetch_add(1, Ordering::Relaxed) % EVALUATIONS_A_TURN == EVALUATIONS_A_TURN - 1 {
            let_others_go_on();
        }
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        match <[_; 1]>::try_from(children) {
            Ok([inner]) => Ok(Arc::new(Self { inner, ..self.as_ref().clone() })),
            Err(children) => internal_err!("an interruptible expression has one child, not {}", children.len()),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}

/// Hands the other tasks of this thread to another one, which the runtime keeps for this. Only a runtime of several threads can.
fn let_others_go_on() {
    if Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread) {
        tokio::task::block_in_place(std::thread::yield_now);
    }
}
