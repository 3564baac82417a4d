//! Operator tests as text: changes in, changes out.
//!
//! ```text
//! left: 1: + a 2 | -3 b null      port `left`, epoch 1: `a 2` inserted, `b null` deleted three times
//! 2: + 'two words' [1,2]          without a port's name: the first port; an epoch may have a line per port
//! 3:                              an epoch without a change still steps the kernel
//! ```
//! out: one line per stepped epoch, changes consolidated and sorted, failing rows after a line's `!`:
//! ```text
//! 1: + a 2 | -3 b null
//! 2: ! + a / b 22012 'division by zero'
//! ```

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, RecordBatch, StringArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::{Kernel, Output};
use crate::{ChangeBatch, Epoch};

/// A schema from text: `"k:text v:int"`. Types: `int int4 text float bool decimal timestamp date`, each with `[]` for a list.
pub(crate) fn schema(columns: &str) -> SchemaRef {
    let field = |column: &str| {
        let (name, type_name) = column.split_once(':').expect("a column is name:type");
        Field::new(name, data_type(type_name), true)
    };
    Arc::new(Schema::new(columns.split_whitespace().map(field).collect::<Vec<_>>()))
}

/// One batch from text: `"+ a 2 | -3 b null"`.
pub(crate) fn changes(schema: &SchemaRef, text: &str) -> ChangeBatch {
    let mut weights = Vec::new();
    let mut rows = Vec::new();
    for change in split(text, '|').iter().filter(|change| !change.trim().is_empty()) {
        let mut values = split(change.trim(), ' ').into_iter();
        weights.push(weight(&values.next().expect("a change begins with its weight")));
        rows.push(values.map(|value| (value != "null").then_some(value)).collect::<Vec<_>>());
        let n_values = rows.last().map_or(0, Vec::len);
        assert_eq!(n_values, schema.fields().len(), "one value per column in {change:?}");
    }
    let column =
        |(index, field): (usize, &Arc<Field>)| array(field.data_type(), &rows.iter().map(|row| row[index].clone()).collect::<Vec<_>>());
    let columns = schema.fields().iter().enumerate().map(column).collect();
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let rows = RecordBatch::try_new_with_options(schema.clone(), columns, &options).expect("columns match the schema");
    ChangeBatch::new(rows, weights.into())
}

/// Runs `script` through `kernel`, whose ports have these names and schemas, and returns its output as text.
pub(crate) fn run(kernel: &mut dyn Kernel, ports: &[(&str, SchemaRef)], script: &str) -> String {
    let mut epochs: BTreeMap<Epoch, Vec<Vec<ChangeBatch>>> = BTreeMap::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let named = ports.iter().position(|(name, _)| line.starts_with(&format!("{name}:")));
        let line = if named.is_some() { line.split_once(':').expect("the port's colon was seen").1 } else { line };
        let (epoch, text) = line.split_once(':').expect("a line is [port:] epoch: changes");
        let epoch = epoch.trim().parse().expect("an epoch is a number");
        let port = named.unwrap_or(0);
        let inputs = epochs.entry(epoch).or_insert_with(|| vec![Vec::new(); ports.len()]);
        let batch = changes(&ports[port].1, text);
        if !batch.is_empty() {
            inputs[port].push(batch);
        }
    }
    let mut text = String::new();
    for (epoch, inputs) in epochs {
        let mut out = Output::default();
        kernel.step(epoch, inputs, &mut out).expect("the step succeeds");
        writeln!(text, "{}", format!("{epoch}: {}", output_text(&out)).trim_end()).expect("writing to a string succeeds");
    }
    text
}

/// Runs `script` and compares the output, line by line, leading blanks aside.
#[track_caller]
pub(crate) fn check(kernel: &mut dyn Kernel, ports: &[(&str, SchemaRef)], script: &str, expected: &str) {
    let found = run(kernel, ports, script);
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(found.lines().collect::<Vec<_>>(), expected, "\nfound:\n{found}");
}

/// Rows as text with the sum of their weights, zero left out.
pub(crate) fn consolidated(batches: &[ChangeBatch]) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    for batch in batches {
        for (row, text) in rows_text(batch.rows()).into_iter().enumerate() {
            *sums.entry(text).or_insert(0) += batch.weight(row);
        }
    }
    sums.retain(|_, weight| *weight != 0);
    sums
}

/// Each row as text, as it is written in a script.
pub(crate) fn rows_text(rows: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    let formatter = |column| ArrayFormatter::try_new(column, &options).expect("test types have a text form");
    let formatters: Vec<_> = rows.columns().iter().map(|column| formatter(column.as_ref())).collect();
    let value = |formatter: &ArrayFormatter<'_>, row| {
        let text = formatter.value(row).to_string().replace(", ", ",");
        if text.contains([' ', '|']) || text.is_empty() { format!("'{text}'") } else { text }
    };
    let text = |row| formatters.iter().map(|formatter| value(formatter, row)).collect::<Vec<_>>().join(" ");
    (0..rows.num_rows()).map(text).collect()
}

fn output_text(out: &Output) -> String {
    let changes = changes_text(&consolidated(&out.changes));
    match consolidated(&out.errors) {
        errors if errors.is_empty() => changes,
        errors => format!("{changes} ! {}", changes_text(&errors)).trim_start().to_string(),
    }
}

fn changes_text(changes: &BTreeMap<String, i64>) -> String {
    let text = |(row, weight): (&String, &i64)| match weight {
        1 => format!("+ {row}"),
        -1 => format!("- {row}"),
        _ => format!("{weight:+} {row}"),
    };
    changes.iter().map(text).collect::<Vec<_>>().join(" | ")
}

fn weight(text: &str) -> i64 {
    match text {
        "+" => 1,
        "-" => -1,
        _ => text.parse().expect("a weight is + or - and perhaps a number"),
    }
}

fn data_type(name: &str) -> DataType {
    if let Some(element) = name.strip_suffix("[]") {
        return DataType::List(Arc::new(Field::new("item", data_type(element), true)));
    }
    match name {
        "int" => DataType::Int64,
        "int4" => DataType::Int32,
        "text" => DataType::Utf8,
        "float" => DataType::Float64,
        "bool" => DataType::Boolean,
        "decimal" => DataType::Decimal128(38, 10),
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "date" => DataType::Date32,
        _ => panic!("no test type is called {name}"),
    }
}

/// Splits at `separator` outside quotes and brackets; quotes are taken off.
fn split(text: &str, separator: char) -> Vec<String> {
    let (mut parts, mut part, mut depth, mut quoted, mut filled) = (Vec::new(), String::new(), 0, false, false);
    for c in text.chars() {
        match c {
            '\'' if separator != '|' => (quoted, filled) = (!quoted, true),
            '\'' => {
                quoted = !quoted;
                part.push(c);
            }
            _ if c == separator && !quoted && depth == 0 => {
                if filled || !part.is_empty() {
                    parts.push(std::mem::take(&mut part));
                }
                filled = false;
            }
            _ => {
                depth += i32::from("[{".contains(c)) - i32::from("]}".contains(c));
                part.push(c);
            }
        }
    }
    if filled || !part.is_empty() {
        parts.push(part);
    }
    parts
}

/// A column of one type from its values as text.
fn array(data_type: &DataType, values: &[Option<String>]) -> ArrayRef {
    match data_type {
        DataType::List(element) => {
            let inner = |value: &String| split(value.trim_start_matches('[').trim_end_matches(']'), ',');
            let lists: Vec<Vec<String>> = values.iter().map(|value| value.as_ref().map(inner).unwrap_or_default()).collect();
            let elements: Vec<_> = lists.iter().flatten().map(|value| (value != "null").then(|| value.clone())).collect();
            let offsets = OffsetBuffer::from_lengths(lists.iter().map(Vec::len));
            let nulls = NullBuffer::from_iter(values.iter().map(Option::is_some));
            Arc::new(ListArray::new(element.clone(), offsets, array(element.data_type(), &elements), Some(nulls)))
        }
        DataType::Struct(fields) => {
            let inner = |value: &String| split(value.trim_start_matches('{').trim_end_matches('}'), ',');
            let rows: Vec<Option<Vec<String>>> = values.iter().map(|value| value.as_ref().map(inner)).collect();
            let field = |index: usize| -> Vec<Option<String>> {
                rows.iter().map(|row| row.as_ref().map(|row| row[index].clone()).filter(|value| value != "null")).collect()
            };
            let columns = fields.iter().enumerate().map(|(index, f)| array(f.data_type(), &field(index))).collect();
            let nulls = NullBuffer::from_iter(values.iter().map(Option::is_some));
            Arc::new(StructArray::new(fields.clone(), columns, Some(nulls)))
        }
        _ => {
            let text = StringArray::from_iter(values.iter().map(Option::as_deref));
            let column = cast(&text, data_type).expect("text casts to the column's type");
            assert_eq!(column.null_count(), text.null_count(), "every value reads as {data_type}: {values:?}");
            column
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Echo;

    impl Kernel for Echo {
        fn step(&mut self, _: Epoch, inputs: Vec<Vec<ChangeBatch>>, out: &mut Output) -> crate::Result<()> {
            out.changes = inputs.into_iter().flatten().collect();
            Ok(())
        }
    }

    #[test]
    fn what_goes_in_comes_out() {
        let ports = [("left", schema("k:text n:int l:int[]")), ("right", schema("k:text n:int l:int[]"))];
        check(
            &mut Echo,
            &ports,
            "left: 1: + a 2 [1,null] | -3 b null null
             right: 1: + a 2 [1,null] | + c 1 []
             2: + 'two words' 1 [1,2] | - 'two words' 1 [1,2]
             right: 3: + '' 1 null",
            "1: +2 a 2 [1,null] | -3 b null null | + c 1 []
             2:
             3: + '' 1 null",
        );
    }
}
