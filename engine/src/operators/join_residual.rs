//! The residual condition of a join, evaluated over many candidate pairs at once, on the columns it uses and no others.
//!
//! A pair for which the condition cannot be evaluated is data: it counts as no match and goes to the errors relation. The failing
//! pairs of a batch are found by bisection, so that they do not disturb the others.

use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, StructArray};
use arrow::compute::concat;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;

use crate::error::sqlstate;
use crate::operators::error_change;
use crate::operators::evaluate::without_round;
use crate::{ChangeBatch, Error, Result};

/// A condition over pairs of a left and a right row.
pub(super) struct Residual {
    /// Over `left_columns` followed by `right_columns`.
    condition: Arc<dyn PhysicalExpr>,
    text: String,
    schema: SchemaRef,
    left_columns: Vec<usize>,
    right_columns: Vec<usize>,
}

/// The condition's value for each pair.
pub(super) struct Verdict {
    /// Never null: a null condition is no match, and neither is a failed one.
    pub(super) is_true: BooleanArray,
    /// Pairs for which the condition failed.
    pub(super) failed: Vec<(u32, Error)>,
}

impl Residual {
    /// `condition` is over the columns of `left` followed by those of `right`.
    pub(super) fn new(condition: &Arc<dyn PhysicalExpr>, left: &Schema, right: &Schema) -> Result<Self> {
        let n_left = left.fields().len();
        let mut used: Vec<usize> = collect_columns(condition).iter().map(Column::index).collect();
        used.sort_unstable();
        used.dedup();
        let pair_schema = Schema::new(left.fields().iter().chain(right.fields()).cloned().collect::<Vec<_>>());
        let schema = Arc::new(pair_schema.project(&used)?);
        let position = |index: usize| used.iter().position(|column| *column == index).expect("all columns were collected");
        let moved = condition.clone().transform_up(|expression| {
            Ok(match expression.downcast_ref::<Column>() {
                Some(column) => Transformed::yes(Arc::new(Column::new(column.name(), position(column.index()))) as Arc<dyn PhysicalExpr>),
                None => Transformed::no(expression),
            })
        });
        let moved = moved.map_err(row_error)?.data;
        let (left_columns, right_columns) = used.iter().partition::<Vec<usize>, _>(|column| **column < n_left);
        let right_columns = right_columns.into_iter().map(|column| column - n_left).collect();
        let text = condition.to_string();
        Ok(Self { condition: moved, text, schema, left_columns, right_columns })
    }

    /// The same condition where only columns `kept` of the right side are there.
    pub(super) fn with_right_columns(mut self, kept: &[usize]) -> Self {
        let position = |column: &usize| kept.iter().position(|other| other == column).expect("a used column is kept");
        self.right_columns = self.right_columns.iter().map(position).collect();
        self
    }

    pub(super) fn left_columns(&self) -> &[usize] {
        &self.left_columns
    }

    pub(super) fn right_columns(&self) -> &[usize] {
        &self.right_columns
    }

    /// The condition over pairs whose used columns are `columns`.
    pub(super) fn evaluate(&self, columns: Vec<ArrayRef>, n_pairs: usize) -> Result<Verdict> {
        let options = RecordBatchOptions::new().with_row_count(Some(n_pairs));
        let pairs = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        let mut failed = Vec::new();
        let is_true = self.evaluate_part(&pairs, 0, &mut failed)?;
        Ok(Verdict { is_true, failed })
    }

    fn evaluate_part(&self, pairs: &RecordBatch, start: u32, failed: &mut Vec<(u32, Error)>) -> Result<BooleanArray> {
        let n_pairs = pairs.num_rows();
        match self.condition.evaluate(pairs).and_then(|value| value.into_array(n_pairs)) {
            Ok(value) => Ok(without_nulls(value.as_boolean())),
            Err(error) if n_pairs == 1 => {
                failed.push((start, row_error(error)));
                Ok(BooleanArray::from(vec![false]))
            }
            Err(_) => {
                let half = n_pairs / 2;
                let first = self.evaluate_part(&pairs.slice(0, half), start, failed)?;
                let second = self.evaluate_part(&pairs.slice(half, n_pairs - half), start + half as u32, failed)?;
                Ok(concat(&[&first, &second])?.as_boolean().clone())
            }
        }
    }

    /// The change of the errors relation for one pair of rows.
    pub(super) fn error(&self, error: &Error, left: RecordBatch, right: RecordBatch, weight: i64) -> Result<ChangeBatch> {
        let sides = [("left", left), ("right", right)];
        let column = |(name, row): (&'static str, RecordBatch)| (name, Arc::new(StructArray::from(without_round(row))) as ArrayRef);
        let pair = RecordBatch::try_from_iter(sides.map(column))?;
        let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
        writer.write(&pair)?;
        writer.finish()?;
        let json = String::from_utf8(writer.into_inner()).map_err(|_| Error::internal("a row's JSON is not UTF-8"))?;
        Ok(error_change(&self.text, error, json.trim_end(), weight))
    }
}

fn without_nulls(values: &BooleanArray) -> BooleanArray {
    match values.nulls() {
        Some(nulls) => BooleanArray::new(values.values() & nulls.inner(), None),
        None => values.clone(),
    }
}

/// What went wrong in a row, without DataFusion's wrapping.
fn row_error(error: DataFusionError) -> Error {
    match error {
        DataFusionError::ArrowError(error, _) => (*error).into(),
        DataFusionError::Context(_, error) | DataFusionError::Diagnostic(_, error) => row_error(*error),
        DataFusionError::Execution(message) => Error::new(sqlstate::INVALID_PARAMETER_VALUE, message),
        other => Error::new(sqlstate::INTERNAL_ERROR, other.strip_backtrace()),
    }
}
