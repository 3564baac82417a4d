//! `single_row(value, n)`: the value of a scalar subquery that has `n` rows. With more than one it fails with 21000, as in
//! Postgres, and for the row alone that it is evaluated for.

use std::sync::Arc;

use crate::Error;
use crate::error::sqlstate;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// A call of the function.
pub fn single_row(value: Expr, n_rows: Expr) -> Expr {
    let function = ScalarUDF::new_from_impl(SingleRow { signature: Signature::any(2, Volatility::Immutable) });
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), vec![value, n_rows]))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SingleRow {
    signature: Signature,
}

impl ScalarUDFImpl for SingleRow {
    fn name(&self) -> &str {
        "single_row"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(arguments[0].clone())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let n_rows = arguments.args[1].to_array(arguments.number_rows)?;
        let n_rows = n_rows.as_primitive::<Int64Type>();
        if (0..n_rows.len()).any(|row| n_rows.is_valid(row) && n_rows.value(row) > 1) {
            let error = Error::new(sqlstate::CARDINALITY_VIOLATION, "more than one row returned by a subquery used as an expression");
            return Err(DataFusionError::External(Box::new(error)));
        }
        Ok(arguments.args[0].clone())
    }
}
