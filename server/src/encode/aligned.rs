//! Rows for a terminal, aligned as psql aligns them.

use std::fmt::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use catalog::SqlType;
use engine::Result;

use super::column::{Column, Style};

/// The rows as a table with a heading and a count, as `psql` prints them.
pub fn table(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<String> {
    let rows: Vec<Vec<String>> = batches.iter().map(texts).collect::<Result<Vec<_>>>()?.concat();
    let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let widths: Vec<usize> =
        (0..names.len()).map(|column| rows.iter().chain([&names]).map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let right = right_aligned(schema);
    let mut table = String::new();
    let heading: Vec<String> = names.iter().zip(&widths).map(|(name, width)| format!(" {name:^width$} ")).collect();
    writeln!(table, "{}", heading.join("|").trim_end()).expect(WRITES);
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
    writeln!(table, "{}", rule.join("+")).expect(WRITES);
    for row in &rows {
        let cell = |column: usize| match right[column] {
            true => format!(" {:>width$} ", row[column], width = widths[column]),
            false => format!(" {:<width$} ", row[column], width = widths[column]),
        };
        writeln!(table, "{}", (0..row.len()).map(cell).collect::<Vec<_>>().join("|").trim_end()).expect(WRITES);
    }
    let plural = if rows.len() == 1 { "row" } else { "rows" };
    writeln!(table, "({} {plural})", rows.len()).expect(WRITES);
    Ok(table)
}

const WRITES: &str = "a String takes all that is written";

fn texts(batch: &RecordBatch) -> Result<Vec<Vec<String>>> {
    let columns = Column::of_batch(batch, &Style::default())?;
    let text = |column: &Column, row: usize| {
        let mut bytes = Vec::new();
        if !column.is_null(row) {
            column.write_text(&mut bytes, row);
        }
        String::from_utf8(bytes).expect("texts of values are UTF-8")
    };
    Ok((0..batch.num_rows()).map(|row| columns.iter().map(|column| text(column, row)).collect()).collect())
}

fn right_aligned(schema: &Schema) -> Vec<bool> {
    use SqlType::*;
    let numeric = |sql_type: SqlType| matches!(sql_type, SmallInt | Integer | BigInt | Real | Double | Numeric(_));
    schema.fields().iter().map(|field| numeric(SqlType::of_field(field))).collect()
}
