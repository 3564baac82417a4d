//! Window functions: `sum(…) OVER (PARTITION BY … ORDER BY …)`, and any other, over the partitions that were touched.
//!
//! **Order.** A partition's rows are in the order of the window, then of all columns, ascending, nulls last.
//!
//! **Cost.** A partition of which a row changes is evaluated as it was and as it is, by the batch engine's own window
//! expressions, and the difference is emitted: so any function and any frame means what it means in batch, and other
//! partitions are not read. A partition whose evaluation fails has no rows; why is in the errors relation.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, RowParser, SortField};
use datafusion::physical_expr::window::WindowExpr;

use super::ordered_rows::{OrderedRows, RowKey};
use super::{Kernel, Output, StateSize, error_change};
use crate::plan::Over;
use crate::{ChangeBatch, Epoch, Error, Result};

/// The kernel of window functions; see the file's head.
pub struct OverKernel {
    partition_columns: Vec<usize>,
    order_columns: Vec<usize>,
    windows: Vec<Arc<dyn WindowExpr>>,
    input_schema: SchemaRef,
    schema: SchemaRef,
    partition_encoding: RowConverter,
    order_encoding: RowConverter,
    row_encoding: RowConverter,
    row_parser: RowParser,
    output_encoding: RowConverter,
    partitions: BTreeMap<Box<[u8]>, OrderedRows>,
    size: StateSize,
}

/// What a partition's evaluation gave.
type Evaluated = std::result::Result<RecordBatch, Error>;

impl OverKernel {
    /// The kernel of planned windows, whose output has the columns of `schema`.
    pub fn new(over: &Over, schema: SchemaRef) -> Result<Self> {
        let input = over.input.schema.clone();
        let ascending = SortOptions { descending: false, nulls_first: false };
        let field = |column: usize, options| SortField::new_with_options(input.field(column).data_type().clone(), options);
        let order = over.order.iter().map(|by| field(by.column, SortOptions { descending: by.descending, nulls_first: by.nulls_first }));
        let partition = over.partition.iter().map(|column| field(*column, ascending));
        let row_encoding = RowConverter::new((0..input.fields().len()).map(|column| field(column, ascending)).collect())?;
        let output = schema.fields().iter().map(|field| SortField::new_with_options(field.data_type().clone(), ascending));
        Ok(Self {
            partition_columns: over.partition.clone(),
            order_columns: over.order.iter().map(|by| by.column).collect(),
            windows: over.windows.clone(),
            partition_encoding: RowConverter::new(partition.collect())?,
            order_encoding: RowConverter::new(order.collect())?,
            row_parser: row_encoding.parser(),
            row_encoding,
            output_encoding: RowConverter::new(output.collect())?,
            input_schema: input,
            schema,
            partitions: BTreeMap::new(),
            size: StateSize::default(),
        })
    }

    /// The net change of each row, by partition.
    fn by_partition(&self, batches: &[ChangeBatch]) -> Result<BTreeMap<Box<[u8]>, BTreeMap<RowKey, i64>>> {
        let mut changes: BTreeMap<Box<[u8]>, BTreeMap<RowKey, i64>> = BTreeMap::new();
        for batch in batches {
            let columns = |indices: &[usize]| indices.iter().map(|column| batch.column(*column).clone()).collect::<Vec<_>>();
            let orders = match self.order_columns.as_slice() {
                [] => None,
                order => Some(self.order_encoding.convert_columns(&columns(order))?),
            };
            let partitions = self.partition_encoding.convert_columns(&columns(&self.partition_columns))?;
            let rows = self.row_encoding.convert_columns(batch.rows().columns())?;
            for row in 0..batch.len() {
                let order = orders.as_ref().map_or(&[][..], |orders| orders.row(row).data());
                let key = RowKey::new(order, rows.row(row).data());
                *changes.entry(partitions.row(row).data().into()).or_default().entry(key).or_default() += batch.weight(row);
            }
        }
        Ok(changes)
    }

    /// The rows of a partition with the values of the windows.
    fn evaluate(&self, rows: &OrderedRows) -> Result<Evaluated> {
        let copies = rows.iter().flat_map(|(key, weight)| std::iter::repeat_n(key, usize::try_from(weight).unwrap_or(0)));
        let columns = self.row_encoding.convert_rows(copies.map(|key| self.row_parser.parse(key.row())))?;
        let input = RecordBatch::try_new(Arc::clone(&self.input_schema), columns)?;
        Ok(self.with_windows(&input).map_err(Error::from))
    }

    fn with_windows(&self, input: &RecordBatch) -> datafusion::common::Result<RecordBatch> {
        let n_output = self.schema.fields().len() - self.windows.len();
        let mut columns: Vec<ArrayRef> = input.columns()[..n_output].to_vec();
        for (window, field) in self.windows.iter().zip(&self.schema.fields()[n_output..]) {
            columns.push(arrow::compute::cast(&window.evaluate(input)?, field.data_type())?);
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    fn change_partition(&mut self, partition: Box<[u8]>, changes: BTreeMap<RowKey, i64>, out: &mut Output) -> Result<()> {
        if changes.values().all(|weight| *weight == 0) {
            return Ok(());
        }
        let mut rows = self.partitions.remove(&partition).unwrap_or_default();
        let before = if rows.total() == 0 { None } else { Some(self.evaluate(&rows)?) };
        out.n_state_rows_read += rows.total().unsigned_abs();
        for (key, weight) in changes {
            self.change(&mut rows, &key, weight)?;
        }
        let after = if rows.total() == 0 { None } else { Some(self.evaluate(&rows)?) };
        self.emit(before, after, out)?;
        if rows.total() > 0 {
            self.partitions.insert(partition, rows);
        }
        Ok(())
    }

    fn change(&mut self, rows: &mut OrderedRows, key: &RowKey, weight: i64) -> Result<()> {
        let n_bytes = key.n_bytes() as u64;
        match weight {
            0 => {}
            1.. => {
                rows.add(key, weight);
                self.size.n_rows += weight.unsigned_abs();
                self.size.n_bytes += n_bytes * weight.unsigned_abs();
            }
            _ => {
                let removed = rows.remove(key, -weight);
                if removed < -weight {
                    return Err(Error::internal("a window's input retracts a row that is not there"));
                }
                self.size.n_rows -= removed.unsigned_abs();
                self.size.n_bytes -= n_bytes * removed.unsigned_abs();
            }
        }
        Ok(())
    }

    /// What is different after.
    fn emit(&self, before: Option<Evaluated>, after: Option<Evaluated>, out: &mut Output) -> Result<()> {
        let mut counts: HashMap<Box<[u8]>, i64> = HashMap::new();
        for (evaluated, sign) in [(before, -1), (after, 1)] {
            match evaluated {
                None => {}
                Some(Ok(rows)) => {
                    for row in &self.output_encoding.convert_columns(rows.columns())? {
                        *counts.entry(row.data().into()).or_default() += sign;
                    }
                }
                Some(Err(error)) => out.errors.push(error_change("OVER", &error, "", sign)),
            }
        }
        let mut changes: Vec<(Box<[u8]>, i64)> = counts.into_iter().filter(|(_, count)| *count != 0).collect();
        changes.sort_unstable();
        if changes.is_empty() {
            return Ok(());
        }
        let parser = self.output_encoding.parser();
        let columns = self.output_encoding.convert_rows(changes.iter().map(|(row, _)| parser.parse(row)))?;
        let options = RecordBatchOptions::new().with_row_count(Some(changes.len()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        out.changes.push(ChangeBatch::new(rows, changes.iter().map(|(_, weight)| *weight).collect::<Vec<_>>().into()));
        Ok(())
    }
}

impl Kernel for OverKernel {
    fn step(&mut self, _epoch: Epoch, inputs: Vec<Vec<ChangeBatch>>, out: &mut Output) -> Result<()> {
        let batches: Vec<ChangeBatch> = inputs.into_iter().flatten().collect();
        for (partition, changes) in self.by_partition(&batches)? {
            self.change_partition(partition, changes, out)?;
        }
        Ok(())
    }

    fn state_size(&self) -> StateSize {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::functions_aggregate::sum::sum_udaf;
    use datafusion::functions_window::row_number::row_number_udwf;
    use datafusion::logical_expr::{WindowFrame, WindowFunctionDefinition};
    use datafusion::physical_expr::expressions::Column;
    use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
    use datafusion::physical_plan::windows::create_window_expr;

    use super::*;
    use crate::operators::script::{check, schema};
    use crate::plan::{Node, Plan, SortColumn};

    /// Per `k` in the order of `v`: the place of each row, and the sum so far.
    fn kernel() -> OverKernel {
        let input = schema("k:text v:int");
        let column = |index: usize| Arc::new(Column::new(input.field(index).name(), index)) as Arc<dyn PhysicalExpr>;
        let by = [PhysicalSortExpr::new(column(1), SortOptions { descending: false, nulls_first: false })];
        let window = |function: WindowFunctionDefinition, arguments: &[Arc<dyn PhysicalExpr>]| {
            let frame = Arc::new(WindowFrame::new(Some(false)));
            create_window_expr(&function, "w".into(), arguments, &[column(0)], &by, frame, input.clone(), false, false, None)
                .expect("a window over these columns")
        };
        let windows = vec![
            window(WindowFunctionDefinition::WindowUDF(row_number_udwf()), &[]),
            window(WindowFunctionDefinition::AggregateUDF(sum_udaf()), &[column(1)]),
        ];
        let mut fields: Vec<Field> = input.fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.extend(["n", "s"].map(|name| Field::new(name, DataType::Int64, true)));
        let node = Node::Constant(RecordBatch::new_empty(input.clone()));
        let plan = Box::new(Plan { node, schema: input, append_only: false });
        let order = vec![SortColumn { column: 1, descending: false, nulls_first: false }];
        let over = Over { input: plan, partition: vec![0], order, windows, describe: "row_number(), sum(v)".into() };
        OverKernel::new(&over, Arc::new(Schema::new(fields))).expect("the types can be ordered")
    }

    #[test]
    fn only_what_moves_in_a_partition_changes() {
        check(
            &mut kernel(),
            &[("input", schema("k:text v:int"))],
            "1: + a 1 | + a 3 | + b 5 | +2 null 2
             2: + a 2
             3: - a 1 | + b 9 | - b 9
             4: - a 2 | - a 3 | - null 2
             5: + a null",
            "1: + a 1 1 1 | + a 3 2 4 | + b 5 1 5 | + null 2 1 4 | + null 2 2 4
             2: + a 2 2 3 | - a 3 2 4 | + a 3 3 6
             3: - a 1 1 1 | + a 2 1 2 | - a 2 2 3 | + a 3 2 5 | - a 3 3 6
             4: - a 2 1 2 | - a 3 2 5 | + null 2 1 2 | - null 2 1 4 | - null 2 2 4
             5: + a null 1 null",
        );
    }
}
