//! Rows as text, to be compared and shown.

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// A line for each row, in an order of their own.
pub fn sorted(batches: Vec<RecordBatch>) -> Vec<String> {
    let mut lines = lines(&batches);
    lines.sort_unstable();
    lines
}

/// A line for each row: its columns as text.
pub fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    let of_batch = |batch: &RecordBatch| {
        let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).expect("a type that prints"));
        let columns: Vec<ArrayFormatter> = columns.collect();
        let line = |row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(" | ");
        (0..batch.num_rows()).map(line).collect::<Vec<String>>()
    };
    batches.iter().flat_map(of_batch).collect()
}
