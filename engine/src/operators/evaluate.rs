//! Evaluation of expressions over batches in which single rows may fail.
//!
//! Guaranteed: what comes out for a row is what comes out for that row alone, whatever else is in its batch. A batch is
//! evaluated as a whole; only when that fails it is halved until the failing rows are found. This is enough, since an expression
//! looks at no fewer rows of a batch than it would look at one by one: AND, OR and CASE skip their other side only for rows
//! that have no need of it, so a batch that does not fail contains no row that would have failed alone.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{concat, filter_record_batch};
use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;

use super::checked::checked;
use crate::plan::ROUND;
use crate::{Error, Result};

/// A predicate and expressions over one input schema.
#[derive(Debug, Clone)]
pub struct Evaluator {
    predicate: Option<Arc<dyn PhysicalExpr>>,
    expressions: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
}

/// What came of the rows of a batch.
#[derive(Debug)]
pub struct Evaluated {
    /// Which rows of the batch passed the predicate and did not fail, ascending; `None` means all.
    pub rows: Option<UInt32Array>,
    /// A value per passing row, in columns of the output schema.
    pub values: RecordBatch,
    /// The rows that failed, ascending.
    pub failures: Vec<Failure>,
}

/// A row that failed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Its index in the batch.
    pub row: usize,
    /// The text of the predicate or expression that failed (the first one that does).
    pub expression: String,
    /// Why.
    pub error: Error,
}

/// The outcome of a part of a batch that did not fail: which of its rows passed (`None`: all), and their values.
struct Part {
    offset: usize,
    passed: Option<BooleanArray>,
    columns: Vec<ArrayRef>,
    n_rows: usize,
}

impl Evaluator {
    /// Keeps rows for which `predicate` is true and computes `expressions`, one per column of `schema`, over them.
    /// Integer arithmetic is checked: an overflow fails the row.
    pub fn new(predicate: Option<&Arc<dyn PhysicalExpr>>, expressions: &[Arc<dyn PhysicalExpr>], schema: SchemaRef) -> Result<Self> {
        assert_eq!(expressions.len(), schema.fields().len(), "one expression per output column");
        let predicate = predicate.map(checked).transpose()?;
        let expressions = expressions.iter().map(checked).collect::<Result<_>>()?;
        Ok(Self { predicate, expressions, schema })
    }

    /// The columns of the output.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Evaluates all rows of `batch`.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<Evaluated> {
        let (mut parts, mut failures) = (Vec::new(), Vec::new());
        self.evaluate_range(batch, 0, batch.num_rows(), &mut parts, &mut failures);
        if let ([part], []) = (parts.as_slice(), failures.as_slice()) {
            let rows = part.passed.as_ref().map(|passed| passing_rows(0, passed).collect());
            return Ok(Evaluated { rows, values: self.batch(part.columns.clone(), part.n_rows)?, failures });
        }
        let rows = parts.iter().flat_map(Part::rows).collect::<UInt32Array>();
        let columns = (0..self.expressions.len()).map(|index| {
            let columns: Vec<&dyn Array> = parts.iter().map(|part| part.columns[index].as_ref()).collect();
            match columns.is_empty() {
                true => Ok(arrow::array::new_empty_array(self.schema.field(index).data_type())),
                false => Ok(concat(&columns)?),
            }
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        Ok(Evaluated { values: self.batch(columns, rows.len())?, rows: Some(rows), failures })
    }

    fn batch(&self, columns: Vec<ArrayRef>, n_rows: usize) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }

    /// Halves until a part does not fail, or is a single row.
    fn evaluate_range(&self, batch: &RecordBatch, offset: usize, len: usize, parts: &mut Vec<Part>, failures: &mut Vec<Failure>) {
        match self.evaluate_whole(&batch.slice(offset, len), offset) {
            Ok(part) => parts.push(part),
            Err(failure) if len <= 1 => {
                let (expression, error) = *failure;
                failures.push(Failure { row: offset, expression, error });
            }
            Err(_) => {
                let half = len / 2;
                self.evaluate_range(batch, offset, half, parts, failures);
                self.evaluate_range(batch, offset + half, len - half, parts, failures);
            }
        }
    }

    /// The part that `batch` is, or the text of what failed and why.
    fn evaluate_whole(&self, batch: &RecordBatch, offset: usize) -> Result<Part, Box<(String, Error)>> {
        let passed = match &self.predicate {
            Some(predicate) => self.passing(predicate, batch).map_err(|error| Box::new((predicate.to_string(), error)))?,
            None => None,
        };
        let kept = match &passed {
            Some(passed) => &filter_record_batch(batch, passed).expect("a predicate has a value per row"),
            None => batch,
        };
        let columns = self.expressions.iter().enumerate().map(|(index, expression)| {
            let value = expression.evaluate(kept).and_then(|value| value.into_array(kept.num_rows()));
            let value = value.map_err(Error::from).and_then(|value| self.as_declared(index, value));
            value.map_err(|error| Box::new((expression.to_string(), error)))
        });
        let columns = columns.collect::<Result<_, _>>()?;
        Ok(Part { offset, passed, columns, n_rows: kept.num_rows() })
    }

    /// The rows for which the predicate is true, nulls being not; `None` when it is true for all.
    fn passing(&self, predicate: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<Option<BooleanArray>> {
        let values = predicate.evaluate(batch)?.into_array(batch.num_rows())?;
        let values = datafusion::common::cast::as_boolean_array(&values)?;
        let passed = match values.nulls() {
            Some(nulls) => BooleanArray::new(values.values() & nulls.inner(), None),
            None => values.clone(),
        };
        Ok((passed.true_count() < batch.num_rows()).then_some(passed))
    }

    /// Types are settled by the planner, but an untyped null, or a field's name inside a list, may still differ.
    fn as_declared(&self, index: usize, value: ArrayRef) -> Result<ArrayRef> {
        let declared = self.schema.field(index).data_type();
        match value.data_type() == declared {
            true => Ok(value),
            false => Ok(arrow::compute::cast(&value, declared)?),
        }
    }
}

impl Part {
    fn rows(&self) -> Vec<Option<u32>> {
        match &self.passed {
            Some(passed) => passing_rows(self.offset, passed).collect(),
            None => (self.offset..self.offset + self.n_rows).map(|row| Some(row as u32)).collect(),
        }
    }
}

fn passing_rows(offset: usize, passed: &BooleanArray) -> impl Iterator<Item = Option<u32>> {
    passed.values().set_indices().map(move |row| Some((offset + row) as u32))
}

/// Row `row` as one line of JSON: what `"v$errors"` shows of a failing row. Values that JSON has no form for are text.
pub fn row_json(batch: &RecordBatch, row: usize) -> String {
    let index = UInt32Array::from(vec![row as u32]);
    let one = without_round(crate::update::take_rows(batch, &index).expect("the row is in the batch"));
    written_json(&one).unwrap_or_else(|| displayed_json(&one))
}

/// Rows as the query knows them: inside a recursion they carry their round.
pub(super) fn without_round(rows: RecordBatch) -> RecordBatch {
    let schema = rows.schema();
    let kept: Vec<usize> = (0..rows.num_columns()).filter(|column| schema.field(*column).name() != ROUND).collect();
    if kept.len() == rows.num_columns() { rows } else { rows.project(&kept).expect("the columns are the batch's") }
}

fn written_json(row: &RecordBatch) -> Option<String> {
    let mut writer = arrow::json::WriterBuilder::new().with_explicit_nulls(true).build::<_, arrow::json::writer::LineDelimited>(Vec::new());
    writer.write(row).ok()?;
    writer.finish().ok()?;
    String::from_utf8(writer.into_inner()).ok().map(|line| line.trim_end().to_string())
}

fn displayed_json(row: &RecordBatch) -> String {
    let schema = row.schema();
    let values = schema.fields().iter().zip(row.columns()).map(|(field, column)| {
        let text = arrow::util::display::array_value_to_string(column, 0).unwrap_or_default();
        let value = if column.is_null(0) { serde_json::Value::Null } else { serde_json::Value::String(text) };
        (field.name().clone(), value)
    });
    serde_json::Value::Object(values.collect()).to_string()
}
