//! `pg_typeof(x)`, `num_nulls(…)` and `num_nonnulls(…)`: functions of values of any type.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array};
use arrow::datatypes::{DataType, FieldRef};
use catalog::SqlType;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::overload::{Kind, Overload, Scalar};

/// The functions of this table.
pub fn functions() -> Vec<Scalar> {
    let counting = |counted: fn(bool) -> bool| {
        let evaluate = move |arguments: &[ArrayRef], n_rows: usize, _: &DataType| {
            let count =
                |row: usize| arguments.iter().filter(|argument| counted(argument.is_null(row) || argument.data_type().is_null())).count();
            Ok(Arc::new((0..n_rows).map(|row| count(row) as i32).collect::<Int32Array>()) as ArrayRef)
        };
        Overload::fixed(vec![Kind::Any], DataType::Int32, Arc::new(evaluate)).followed_by(Kind::Any)
    };
    vec![Scalar::new("num_nulls").or(counting(|null| null)), Scalar::new("num_nonnulls").or(counting(|null| !null))]
}

/// `pg_typeof`: it looks at the column's field, which knows `varchar` from `text`, and not at the values.
pub fn pg_typeof() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(TypeOf { signature: Signature::any(1, Volatility::Stable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TypeOf {
    signature: Signature,
}

impl ScalarUDFImpl for TypeOf {
    fn name(&self) -> &str {
        "pg_typeof"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [field] = arguments.arg_fields.as_slice() else { return exec_err!("pg_typeof takes one argument") };
        Ok(ColumnarValue::Scalar(ScalarValue::from(type_name(field))))
    }
}

/// The type without its modifier, as `regtype` is shown.
fn type_name(field: &FieldRef) -> String {
    if field.data_type().is_null() {
        return "unknown".into();
    }
    unmodified(&SqlType::of_field(field))
}

fn unmodified(sql_type: &SqlType) -> String {
    match sql_type {
        SqlType::Numeric(_) => "numeric".into(),
        SqlType::Varchar(_) => "character varying".into(),
        SqlType::Char(_) => "character".into(),
        SqlType::Struct(_) => "record".into(),
        SqlType::Array(item) => unmodified(item).trim_end_matches("[]").to_string() + "[]",
        other => other.to_string(),
    }
}
