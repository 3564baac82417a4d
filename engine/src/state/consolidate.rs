//! Sums of changes, by row: small ones, at once. What is large or kept lives in a [`super::spine`].

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use arrow_row::{RowConverter, SortField};

use crate::{ChangeBatch, Result};

/// The sum of changes: each row once, with a weight that is not zero, in the order of the row encoding.
pub fn consolidate(schema: &SchemaRef, changes: &[ChangeBatch]) -> Result<ChangeBatch> {
    let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
    let converter = RowConverter::new(fields)?;
    let mut weights: HashMap<Box<[u8]>, i64> = HashMap::new();
    for batch in changes {
        if schema.fields().is_empty() {
            *weights.entry(Box::default()).or_default() += (0..batch.len()).map(|row| batch.weight(row)).sum::<i64>();
            continue;
        }
        for (index, row) in converter.convert_columns(batch.rows().columns())?.iter().enumerate() {
            *weights.entry(row.as_ref().into()).or_default() += batch.weight(index);
        }
    }
    let mut rows: Vec<(Box<[u8]>, i64)> = weights.into_iter().filter(|(_, weight)| *weight != 0).collect();
    rows.sort_unstable();
    let parser = converter.parser();
    let columns = match schema.fields().is_empty() {
        true => Vec::new(),
        false => converter.convert_rows(rows.iter().map(|(row, _)| parser.parse(row)))?,
    };
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let batch = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?;
    Ok(ChangeBatch::new(batch, rows.iter().map(|(_, weight)| *weight).collect::<Vec<_>>().into()))
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn rows_that_came_and_went_leave_nothing() {
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        let rows =
            |values: Vec<Option<i64>>| RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(values))]).expect("one column");
        let sum = consolidate(&schema, &[ChangeBatch::inserts(rows(vec![Some(2), None, Some(2)])), ChangeBatch::deletes(rows(vec![None]))]);
        let sum = sum.expect("integers can be encoded");
        assert_eq!((sum.len(), sum.weight(0)), (1, 2));
    }

    #[test]
    fn rows_without_columns_are_one_row() {
        let schema: SchemaRef = Arc::new(Schema::empty());
        let rows = |n_rows| {
            let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
            RecordBatch::try_new_with_options(schema.clone(), vec![], &options).expect("no column is missing")
        };
        let sum = |n_deleted| {
            let changes = [ChangeBatch::inserts(rows(3)), ChangeBatch::deletes(rows(n_deleted))];
            consolidate(&schema, &changes).expect("there is nothing to encode")
        };
        assert_eq!((sum(1).len(), sum(1).weight(0), sum(3).len()), (1, 2, 0));
    }
}
