//! `array_length(a, n)`, `array_ndims(a)`, `array_dims(a)`: an array without elements has no dimensions; and `cardinality(a)`. What
//! changes or looks for items of arrays: [`of_items`].

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, ListArray, StringArray, make_comparator};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{SortOptions, cast, concat, filter, is_not_null};
use arrow::datatypes::{DataType, FieldRef, Int32Type};
use datafusion::common::{Result, exec_err, internal_err};
use datafusion::functions_nested::array_has::array_has_all_udf;
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
        let columns = of_all_rows(&arguments)?;
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

/// DataFusion's functions on the items of arrays, with the names, and what becomes of nulls, that they have in Postgres.
pub fn of_items() -> Vec<Arc<ScalarUDF>> {
    [
        ("array_remove", array_remove_all_udf(), Nulls::Removed),
        ("array_replace", array_replace_all_udf(), Nulls::Kept),
        (CONTAINS, array_has_all_udf(), Nulls::NotContained),
    ]
    .map(|(name, inner, nulls)| Arc::new(ScalarUDF::new_from_impl(OfItems { name, inner, nulls })))
    .to_vec()
}

/// `a @> b`.
pub const CONTAINS: &str = "array_contains_array";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Nulls {
    Kept,
    /// Taking out null takes out all nulls.
    Removed,
    /// No array contains one with a null.
    NotContained,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfItems {
    name: &'static str,
    inner: Arc<ScalarUDF>,
    nulls: Nulls,
}

impl ScalarUDFImpl for OfItems {
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
        let n_rows = arguments.number_rows;
        let columns = match self.nulls {
            Nulls::Kept => Vec::new(),
            Nulls::Removed | Nulls::NotContained => of_all_rows(&arguments)?,
        };
        let answer = self.inner.invoke_with_args(arguments)?;
        let [first, second] = columns.as_slice() else { return Ok(answer) };
        Ok(match (self.nulls, first.as_list_opt::<i32>(), second.as_list_opt::<i32>()) {
            (Nulls::Removed, Some(lists), _) if second.logical_null_count() > 0 => {
                let (answer, nulls) = (answer.into_array(n_rows)?, second.logical_nulls());
                let rows = (0..n_rows).map(|row| match nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                    true => without_nulls(lists, row),
                    false => Ok(answer.slice(row, 1)),
                });
                let rows = rows.collect::<Result<Vec<_>>>()?;
                ColumnarValue::Array(concat(&rows.iter().map(AsRef::as_ref).collect::<Vec<_>>())?)
            }
            (Nulls::NotContained, _, Some(items)) if items.values().logical_null_count() > 0 => {
                let answer = answer.into_array(n_rows)?;
                let has_null = |row: usize| items.is_valid(row) && items.value(row).logical_null_count() > 0;
                let masked = answer.as_boolean().iter().enumerate().map(|(row, contains)| contains.map(|it| it && !has_null(row)));
                ColumnarValue::Array(Arc::new(masked.collect::<BooleanArray>()))
            }
            _ => answer,
        })
    }
}

/// `array_order(a, b)`: below zero where `a` comes before `b`, with nulls in them behind all values.
pub const ORDER: &str = "array_order";

/// The function [`ORDER`].
pub fn order() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Order { signature: Signature::any(2, Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Order {
    signature: Signature,
}

impl ScalarUDFImpl for Order {
    fn name(&self) -> &str {
        ORDER
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [left, right] if left == right => Ok(DataType::Int32),
            _ => exec_err!("{ORDER} takes arrays of one type"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let n_rows = arguments.number_rows;
        let (left, right) = (arguments.args[0].to_array(n_rows)?, arguments.args[1].to_array(n_rows)?);
        let order = make_comparator(&left, &right, SortOptions { descending: false, nulls_first: false })?;
        let ordered = (0..n_rows).map(|row| (left.is_valid(row) && right.is_valid(row)).then(|| order(row, row) as i32));
        Ok(ColumnarValue::Array(Arc::new(ordered.collect::<Int32Array>())))
    }
}

/// The arguments as columns, constants repeated.
fn of_all_rows(arguments: &ScalarFunctionArgs) -> Result<Vec<ArrayRef>> {
    arguments.args.iter().map(|argument| argument.to_array(arguments.number_rows)).collect()
}

/// The array of a row without its nulls, in an array of its own.
fn without_nulls(lists: &ListArray, row: usize) -> Result<ArrayRef> {
    let list = lists.slice(row, 1);
    if list.is_null(0) {
        return Ok(Arc::new(list));
    }
    let items = list.value(0);
    let kept = filter(&items, &is_not_null(&items)?)?;
    let DataType::List(item) = list.data_type() else { return internal_err!("an array's type is {}", list.data_type()) };
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), OffsetBuffer::from_lengths([kept.len()]), kept, None)?))
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
