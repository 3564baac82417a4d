//! Rows as JSON for HTTP.
//!
//! Numbers that a JSON reader may hold as a double without loss (int2, int4, float4, float8) and int8 are JSON numbers, booleans are booleans,
//! arrays and structs are arrays and objects, `json` is embedded; everything else is the text Postgres would print. NaN and the
//! infinities, which JSON lacks, are their texts.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, SchemaRef};
use catalog::SqlType;
use engine::{Error, Result};
use serde_json::{Map, Value, json};

use super::column::{Column, Style};

/// The columns as `[{"name": …, "type": …}]`.
pub fn columns(schema: &SchemaRef) -> Value {
    schema.fields().iter().map(|field| json!({"name": field.name(), "type": SqlType::of_field(field).to_string()})).collect()
}

/// The rows as arrays of values, in column order.
pub fn rows(batch: &RecordBatch) -> Result<Vec<Value>> {
    let schema = batch.schema();
    let columns: Vec<Vec<Value>> =
        schema.fields().iter().zip(batch.columns()).map(|(field, array)| column(field, array)).collect::<Result<_>>()?;
    let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
    let next_row = |_| Value::Array(columns.iter_mut().map(|values| values.next().expect("a value per row")).collect());
    Ok((0..batch.num_rows()).map(next_row).collect())
}

/// An error as HTTP answers it.
pub fn error(error: &Error) -> Value {
    let mut fields = Map::new();
    fields.insert("sqlstate".into(), error.sqlstate.into());
    fields.insert("message".into(), error.message.clone().into());
    let optional = [("detail", &error.detail), ("hint", &error.hint)];
    fields.extend(optional.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text.clone()?.into()))));
    fields.extend(error.position.map(|position| ("position".to_owned(), position.into())));
    json!({ "error": fields })
}

fn column(field: &Field, array: &ArrayRef) -> Result<Vec<Value>> {
    use DataType::*;
    match array.data_type() {
        List(item) => {
            let lists = array.as_list::<i32>();
            let items = column(item, lists.values())?;
            let offsets = lists.value_offsets();
            let list = |row: usize| Value::Array(items[offsets[row] as usize..offsets[row + 1] as usize].to_vec());
            Ok(or_null(array, list))
        }
        Struct(fields) => {
            let parts = fields.iter().zip(array.as_struct().columns());
            let parts: Vec<Vec<Value>> = parts.map(|(field, array)| column(field, array)).collect::<Result<_>>()?;
            let object =
                |row: usize| fields.iter().zip(&parts).map(|(field, values)| (field.name().clone(), values[row].clone())).collect();
            Ok(or_null(array, |row| Value::Object(object(row))))
        }
        _ => scalars(field, array),
    }
}

fn scalars(field: &Field, array: &ArrayRef) -> Result<Vec<Value>> {
    let text = Column::new(field, array, &Style::default())?;
    let sql_type = SqlType::of_field(field);
    let value = |row: usize| {
        let mut bytes = Vec::new();
        text.write_text(&mut bytes, row);
        let text = String::from_utf8(bytes).expect("texts of values are UTF-8");
        match sql_type {
            SqlType::Boolean => Value::Bool(text == "t"),
            SqlType::SmallInt | SqlType::Integer | SqlType::BigInt | SqlType::Real | SqlType::Double | SqlType::Json | SqlType::Jsonb => {
                serde_json::from_str(&text).unwrap_or(Value::String(text))
            }
            _ => Value::String(text),
        }
    };
    let is_null = |row: usize| text.is_null(row);
    Ok((0..array.len()).map(|row| if is_null(row) { Value::Null } else { value(row) }).collect())
}

fn or_null(array: &ArrayRef, value: impl Fn(usize) -> Value) -> Vec<Value> {
    (0..array.len()).map(|row| if array.is_null(row) { Value::Null } else { value(row) }).collect()
}
