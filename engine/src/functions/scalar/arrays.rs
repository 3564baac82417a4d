//! `array_length(a, n)`, `array_ndims(a)`, `array_dims(a)`: an array without elements has no dimensions; and `cardinality(a)`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int32Type};
use datafusion::common::{Result, exec_err};
use datafusion::functions_nested::remove::array_remove_all_udf;
use datafusion::functions_nested::replace::array_replace_all_udf;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Asked {
    Length,
    Count,
    Bounds,
    /// How many elements.
    Size,
}

/// All of them.
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    let one = TypeSignature::Any(1);
    [
        ("array_length", Asked::Length, TypeSignature::OneOf(vec![one.clone(), TypeSignature::Any(2)])),
        ("array_ndims", Asked::Count, one.clone()),
        ("array_dims", Asked::Bounds, one.clone()),
        ("cardinality", Asked::Size, one),
    ]
    .map(|(name, asked, signature)| Dimensions { name, asked, signature: Signature::new(signature, Volatility::Immutable) })
    .map(|function| Arc::new(ScalarUDF::new_from_impl(function)))
    .to_vec()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Dimensions {
    name: &'static str,
    asked: Asked,
    signature: Signature,
}

impl ScalarUDFImpl for Dimensions {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match &arguments[0] {
            DataType::List(_) | DataType::Null => {}
            other => return exec_err!("{} takes an array, not {other}", self.name),
        }
        Ok(if self.asked == Asked::Bounds { DataType::Utf8 } else { DataType::Int32 })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let n_rows = arguments.number_rows;
        let columns = ColumnarValue::values_to_arrays(&arguments.args)?;
        let dimensions = (0..n_rows).map(|row| dimensions(&columns[0], row));
        let count = |n: usize| i32::try_from(n).ok();
        let answer: ArrayRef = match self.asked {
            Asked::Length => {
                let which = match columns.get(1) {
                    Some(which) => cast(which, &DataType::Int32)?,
                    None => Arc::new(Int32Array::from(vec![1; n_rows])),
                };
                let which = which.as_primitive::<Int32Type>();
                let length = |(row, lengths): (usize, Vec<usize>)| {
                    let place = which.is_valid(row).then(|| which.value(row).checked_sub(1)).flatten()?;
                    lengths.get(usize::try_from(place).ok()?).copied().and_then(count)
                };
                Arc::new(dimensions.enumerate().map(length).collect::<Int32Array>())
            }
            Asked::Count => {
                Arc::new(dimensions.map(|lengths| count(lengths.len()).filter(|n_dimensions| *n_dimensions > 0)).collect::<Int32Array>())
            }
            Asked::Size => {
                let size = |(row, lengths): (usize, Vec<usize>)| {
                    let size = if lengths.is_empty() { 0 } else { lengths.iter().product() };
                    columns[0].is_valid(row).then(|| count(size)).flatten()
                };
                Arc::new(dimensions.enumerate().map(size).collect::<Int32Array>())
            }
            Asked::Bounds => {
                let bounds = |lengths: Vec<usize>| lengths.iter().map(|length| format!("[1:{length}]")).reduce(|all, more| all + &more);
                Arc::new(dimensions.map(bounds).collect::<StringArray>())
            }
        };
        Ok(ColumnarValue::Array(answer))
    }
}

/// DataFusion's functions that change each occurrence, under the names that they have in Postgres.
pub fn each_occurrence() -> Vec<Arc<ScalarUDF>> {
    [("array_remove", array_remove_all_udf()), ("array_replace", array_replace_all_udf())]
        .map(|(name, inner)| Arc::new(ScalarUDF::new_from_impl(Renamed { name, inner })))
        .to_vec()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Renamed {
    name: &'static str,
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for Renamed {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arguments)
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(arguments)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.inner.invoke_with_args(arguments)
    }
}

/// The lengths of a row's array, the outermost first; none for null and for one without elements.
fn dimensions(arrays: &ArrayRef, row: usize) -> Vec<usize> {
    let (mut lengths, mut value) = (Vec::new(), (Arc::clone(arrays), row));
    while let (Some(list), row) = (value.0.as_list_opt::<i32>(), value.1) {
        if list.is_null(row) {
            break;
        }
        let items = list.value(row);
        if items.is_empty() {
            return Vec::new();
        }
        lengths.push(items.len());
        value = (items, 0);
    }
    lengths
}
