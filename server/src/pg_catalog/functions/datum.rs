//! Values of a row, one by one.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use catalog::SqlType;
use engine::Result;

use crate::pg_catalog::table;

/// A value.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each holds what it is named after")]
pub enum Datum {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Datum>),
    Struct(Vec<Datum>),
}

impl Datum {
    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// A whole number, also one written as text.
    pub(super) fn int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// An object id.
    pub(super) fn oid(&self) -> Option<u32> {
        self.int().and_then(|number| u32::try_from(number).ok())
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn is_true(&self) -> bool {
        matches!(self, Self::Bool(true)) || matches!(self, Self::Text(text) if matches!(text.as_str(), "t" | "true" | "on"))
    }

    /// The value as a cell of its array type.
    fn cell(self) -> Option<String> {
        match self {
            Self::Null | Self::List(_) | Self::Struct(_) => None,
            Self::Bool(is_true) => Some(if is_true { "t" } else { "f" }.to_owned()),
            Self::Int(number) => Some(number.to_string()),
            Self::Float(number) => Some(number.to_string()),
            Self::Text(text) => Some(text),
        }
    }
}

impl From<Option<String>> for Datum {
    fn from(text: Option<String>) -> Self {
        text.map_or(Self::Null, Self::Text)
    }
}

impl From<Option<bool>> for Datum {
    fn from(value: Option<bool>) -> Self {
        value.map_or(Self::Null, Self::Bool)
    }
}

/// The values of an array. What has no kind of its own is seen as text.
pub(super) fn datums(array: &ArrayRef) -> Result<Vec<Datum>> {
    let rows = 0..array.len();
    let at = |row: usize, value: &dyn Fn(usize) -> Datum| if array.is_null(row) { Datum::Null } else { value(row) };
    Ok(match array.data_type() {
        DataType::Null => vec![Datum::Null; array.len()],
        DataType::Boolean => rows.map(|row| at(row, &|row| Datum::Bool(array.as_boolean().value(row)))).collect(),
        data_type if data_type.is_integer() => {
            let numbers = cast(array, &DataType::Int64)?;
            let numbers = numbers.as_primitive::<Int64Type>();
            rows.map(|row| at(row, &|row| Datum::Int(numbers.value(row)))).collect()
        }
        data_type if data_type.is_floating() => {
            let numbers = cast(array, &DataType::Float64)?;
            let numbers = numbers.as_primitive::<Float64Type>();
            rows.map(|row| at(row, &|row| Datum::Float(numbers.value(row)))).collect()
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let items = datums(list.values())?;
            let offsets = list.value_offsets();
            rows.map(|row| at(row, &|row| Datum::List(items[offsets[row] as usize..offsets[row + 1] as usize].to_vec()))).collect()
        }
        _ => {
            let texts = cast(array, &DataType::Utf8)?;
            let texts = texts.as_string::<i32>();
            rows.map(|row| at(row, &|row| Datum::Text(texts.value(row).to_owned()))).collect()
        }
    })
}

/// Values of one type as an array.
pub(super) fn to_array(sql_type: &SqlType, values: Vec<Datum>) -> Result<ArrayRef> {
    match (sql_type, sql_type.arrow()) {
        (SqlType::Struct(fields), DataType::Struct(arrow_fields)) => {
            let nulls = NullBuffer::from_iter(values.iter().map(|value| !value.is_null()));
            let column = |place: usize| {
                let of = |value: &Datum| match value {
                    Datum::Struct(parts) => parts[place].clone(),
                    _ => Datum::Null,
                };
                to_array(&fields[place].1, values.iter().map(of).collect())
            };
            let columns = (0..fields.len()).map(column).collect::<Result<Vec<_>>>()?;
            Ok(Arc::new(StructArray::new(arrow_fields, columns, Some(nulls))))
        }
        (SqlType::Array(of_items), DataType::List(item)) => {
            let nulls = NullBuffer::from_iter(values.iter().map(|value| !value.is_null()));
            let items = |value: &Datum| match value {
                Datum::List(items) => items.clone(),
                _ => Vec::new(),
            };
            let lists: Vec<Vec<Datum>> = values.iter().map(items).collect();
            let lengths: Vec<usize> = lists.iter().map(Vec::len).collect();
            let values = to_array(of_items, lists.into_iter().flatten().collect())?;
            Ok(Arc::new(ListArray::new(item, OffsetBuffer::from_lengths(lengths), values, Some(nulls))))
        }
        (SqlType::System(system), _) if system.is_vector() => {
            let written = |value: Datum| match value {
                Datum::List(items) => Some(items.into_iter().filter_map(Datum::cell).collect::<Vec<_>>().join(" ")),
                other => other.cell(),
            };
            let cells: Vec<Option<String>> = values.into_iter().map(written).collect();
            Ok(table::array(sql_type, &cells))
        }
        _ => {
            let cells: Vec<Option<String>> = values.into_iter().map(Datum::cell).collect();
            Ok(table::array(sql_type, &cells))
        }
    }
}
