//! The fall-through: any sub-plan without an operator of ours is run again in batch over its inputs' rows, and the caller
//! emits the difference.
//!
//! Guaranteed: the query runs with the functions, types and `now()` it was planned with, and its result has exactly the
//! columns of the sub-plan. A plan that cannot run is refused when it is made, not at the first change.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::common::Result as DataFusionResult;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::logical_plan::{Projection, TableScanBuilder};
use datafusion::logical_expr::{Expr, LogicalPlan, TableSource};
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::{ExecutionPlan, collect};

use super::interrupt::interruptible;
use super::query::physical_plan;
use super::{BatchQuery, Plan, Recompute};
use crate::{Error, Result};

/// A logical plan whose leaves are numbered inputs.
pub(super) struct BatchPlan {
    plan: LogicalPlan,
    inputs: Vec<SchemaRef>,
    output: SchemaRef,
    state: SessionState,
    operator: String,
}

impl fmt::Debug for BatchPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchPlan").field("operator", &self.operator).finish_non_exhaustive()
    }
}

/// Stands in a [`BatchPlan`] for the rows of input `index`.
#[derive(Debug)]
struct InputSource {
    index: usize,
    schema: SchemaRef,
}

impl TableSource for InputSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// Cuts `plan` off above its children: each child for which `lower` gives a plan becomes an input.
pub(super) fn recompute(
    plan: &LogicalPlan,
    state: &SessionState,
    lower: &mut dyn FnMut(&LogicalPlan) -> Result<Plan>,
) -> Result<Recompute> {
    let (mut inputs, mut schemas) = (Vec::new(), Vec::new());
    let cut = cut_children(plan.clone(), &mut |child| {
        let source = InputSource { index: inputs.len(), schema: numbered(child.schema().as_arrow()) };
        schemas.push(Arc::clone(&source.schema));
        inputs.push(lower(child)?);
        placeholder(child, source).map_err(Error::from)
    })?;
    super::temporal::refuse_conditions(&cut)?;
    let query = BatchPlan {
        inputs: schemas,
        output: super::nullable(&Arc::new(cut.schema().as_arrow().clone())),
        operator: operator(plan),
        plan: cut,
        state: state.clone(),
    };
    let empty = vec![Vec::new(); inputs.len()];
    futures::executor::block_on(query.physical(empty))?;
    Ok(Recompute { inputs, query: Arc::new(query) })
}

type Cut<'a> = dyn FnMut(&LogicalPlan) -> Result<LogicalPlan> + 'a;

/// Replaces what can stand alone below `plan`. The two terms of a recursive query cannot: they are cut at their relations.
fn cut_children(plan: LogicalPlan, cut: &mut Cut<'_>) -> Result<LogicalPlan> {
    let mut failed = None;
    let replaced = plan.map_children(|child| {
        let result = if stands_alone(&child) { cut(&child) } else { cut_children(child.clone(), cut) };
        match result {
            Ok(child) => Ok(Transformed::yes(child)),
            Err(error) => {
                failed.get_or_insert(error);
                Ok(Transformed::no(child))
            }
        }
    })?;
    match failed {
        Some(error) => Err(error),
        None => Ok(replaced.data),
    }
}

/// False when the plan reads the working table of a recursion, or columns of a query around it.
fn stands_alone(plan: &LogicalPlan) -> bool {
    let mut alone = true;
    plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let ours = scan.source.as_ref().downcast_ref::<super::relation::RelationSource>().is_some();
            alone &= ours;
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .expect("the visitor does not fail");
    alone && plan.all_out_ref_exprs().is_empty()
}

/// Columns named by number: names of a join's output may repeat, a table's may not.
fn numbered(schema: &Schema) -> SchemaRef {
    let name = |(index, field): (usize, &FieldRef)| field.as_ref().clone().with_name(format!("c{index}"));
    Arc::new(Schema::new(schema.fields().iter().enumerate().map(name).collect::<Vec<_>>()))
}

/// Input `source.index` under the names by which the plan above knows the child's columns.
fn placeholder(child: &LogicalPlan, source: InputSource) -> DataFusionResult<LogicalPlan> {
    let name = format!("input_{}", source.index);
    let scan = LogicalPlan::TableScan(TableScanBuilder::new(name, Arc::new(source)).build()?);
    let columns = scan.schema().columns().into_iter().zip(child.schema().iter());
    let named =
        columns.map(|(column, (qualifier, field))| Expr::Column(column).alias_qualified(qualifier.cloned(), field.name())).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(named, scan.into())?))
}

fn operator(plan: &LogicalPlan) -> String {
    plan.display().to_string()
}

impl BatchPlan {
    async fn physical(&self, inputs: Vec<Vec<RecordBatch>>) -> Result<Arc<dyn ExecutionPlan>> {
        let tables = inputs
            .into_iter()
            .zip(&self.inputs)
            .map(|(batches, schema)| {
                let batches = batches.into_iter().map(|batch| with_schema(batch, schema)).collect::<Result<Vec<_>>>()?;
                Ok(provider_as_source(Arc::new(MemTable::try_new(Arc::clone(schema), vec![batches])?)))
            })
            .collect::<Result<Vec<_>>>()?;
        let bound = self.plan.clone().transform_up_with_subqueries(|node| match node {
            LogicalPlan::TableScan(mut scan) => {
                let Some(input) = scan.source.as_ref().downcast_ref::<InputSource>() else {
                    return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
                };
                scan.source = Arc::clone(&tables[input.index]);
                Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(physical_plan(&bound.data, &self.state).await?)
    }
}

#[async_trait::async_trait]
impl BatchQuery for BatchPlan {
    async fn run(&self, inputs: Vec<Vec<RecordBatch>>) -> Result<Vec<RecordBatch>> {
        let physical = self.physical(inputs).await?;
        let batches = collect(physical, self.state.task_ctx()).await?;
        batches.into_iter().map(|batch| with_schema(batch, &self.output)).collect()
    }

    fn describe(&self) -> String {
        self.operator.clone()
    }
}

/// The same columns under `schema`'s names and metadata.
fn with_schema(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), batch.columns().to_vec(), &options)?)
}

/// Wraps the operators that can work long without giving way, so that a dropped query stops and others get their turn.
pub(super) fn yielding(plan: Arc<dyn ExecutionPlan>) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
    let wrapped = plan.transform_up(|node| {
        let is_join = node.downcast_ref::<HashJoinExec>().is_some()
            || node.downcast_ref::<NestedLoopJoinExec>().is_some()
            || node.downcast_ref::<CrossJoinExec>().is_some()
            || node.downcast_ref::<SortMergeJoinExec>().is_some();
        let node = interruptible(&node)?.unwrap_or(node);
        match is_join {
            true => Ok(Transformed::yes(Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>)),
            false => Ok(Transformed::no(node)),
        }
    })?;
    Ok(wrapped.data)
}
