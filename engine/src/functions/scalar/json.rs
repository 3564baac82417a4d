//! `to_json` and `to_jsonb`, and what `json_agg`, `json_object_agg` and their like for jsonb make of the list of a group's values:
//! these are `array_agg` below such a function ([`crate::plan::meaning`]).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use catalog::SqlType;
use datafusion::common::{DataFusionError, exec_err};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use crate::decode::json::{parse, write_normal};
use crate::encode::column::{Column, Style};
use crate::error::sqlstate::INVALID_PARAMETER_VALUE;
use crate::{Error, Result};

/// What is made of the argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Of {
    /// Any value.
    Value,
    /// A list of JSON texts.
    Texts,
    /// A list of any values.
    Values,
    /// A list of pairs: a name and a JSON text.
    Pairs,
}

/// The functions, each as it is called for json and for jsonb.
const FUNCTIONS: [(Of, [&str; 2]); 4] = [
    (Of::Value, ["to_json", "to_jsonb"]),
    (Of::Texts, ["json_agg_of", "jsonb_agg_of"]),
    (Of::Values, ["json_agg_of_values", "jsonb_agg_of_values"]),
    (Of::Pairs, ["json_object_agg_of", "jsonb_object_agg_of"]),
];

/// All of them.
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    let function = |of, name, is_binary| ToJson { name, of, is_binary, signature: Signature::any(1, Volatility::Immutable) };
    let both = |(of, [json, jsonb]): (Of, [&'static str; 2])| [function(of, json, false), function(of, jsonb, true)];
    FUNCTIONS.into_iter().flat_map(both).map(|function| Arc::new(ScalarUDF::new_from_impl(function))).collect()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ToJson {
    name: &'static str,
    of: Of,
    /// jsonb: in its normal form.
    is_binary: bool,
    signature: Signature,
}

impl ScalarUDFImpl for ToJson {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> datafusion::common::Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> datafusion::common::Result<FieldRef> {
        let of = if self.is_binary { SqlType::Jsonb } else { SqlType::Json };
        Ok(Arc::new(of.field(self.name, true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> datafusion::common::Result<ColumnarValue> {
        let ([argument], [field]) = (arguments.args.as_slice(), arguments.arg_fields.as_slice()) else {
            return exec_err!("{} takes one argument", self.name);
        };
        let values = argument.to_array(arguments.number_rows)?;
        let made = self.of_column(field, &values).map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(ColumnarValue::Array(Arc::new(made)))
    }
}

impl ToJson {
    fn of_column(&self, field: &Field, values: &ArrayRef) -> Result<StringArray> {
        let column = Column::new(field, values, &Style::default())?;
        let mut made = StringBuilder::with_capacity(values.len(), values.len() * 16);
        let (mut text, mut normal) = (Vec::new(), String::new());
        for row in 0..values.len() {
            if column.is_null(row) {
                made.append_null();
                continue;
            }
            text.clear();
            match self.of {
                Of::Value => column.write_json(&mut text, row),
                Of::Values => column.write_json_group(&mut text, row),
                Of::Texts => write_texts(&mut text, &values.as_list::<i32>().value(row))?,
                Of::Pairs => write_pairs(&mut text, &values.as_list::<i32>().value(row))?,
            }
            let json = std::str::from_utf8(&text).map_err(|error| Error::internal(error.to_string()))?;
            if self.is_binary {
                normal.clear();
                write_normal(parse(json)?, 0, &mut normal)?;
                made.append_value(&normal);
            } else {
                made.append_value(json);
            }
        }
        Ok(made.finish())
    }
}

/// `[1, null]`
fn write_texts(out: &mut Vec<u8>, items: &ArrayRef) -> Result<()> {
    let items = strings(items)?;
    out.push(b'[');
    for (place, item) in items.iter().enumerate() {
        out.extend_from_slice(if place == 0 { b"" } else { b", " });
        out.extend_from_slice(item.unwrap_or("null").as_bytes());
    }
    out.push(b']');
    Ok(())
}

/// `{ "a" : 1, "b" : null }`
fn write_pairs(out: &mut Vec<u8>, items: &ArrayRef) -> Result<()> {
    let pairs = items.as_struct();
    let (names, values) = (strings(pairs.column(0))?, strings(pairs.column(1))?);
    out.extend_from_slice(b"{ ");
    for (place, (name, value)) in names.iter().zip(values.iter()).enumerate() {
        let name = name.ok_or_else(|| Error::new(INVALID_PARAMETER_VALUE, "field name must not be null"))?;
        out.extend_from_slice(if place == 0 { b"" } else { b", " });
        serde_json::to_writer(&mut *out, name).map_err(|error| Error::internal(error.to_string()))?;
        out.extend_from_slice(b" : ");
        out.extend_from_slice(value.unwrap_or("null").as_bytes());
    }
    out.extend_from_slice(b" }");
    Ok(())
}

fn strings(array: &ArrayRef) -> Result<StringArray> {
    Ok(cast(array, &DataType::Utf8)?.as_string().clone())
}
