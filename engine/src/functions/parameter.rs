//! The marker of a parameter whose type is being found out: a call without a type, which takes whatever type its place gives
//! it. See [`crate::plan::parameters`]. It is only planned; whoever runs one used a name that is not theirs.

use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// The function's name in plans.
pub const NAME: &str = "$parameter";

/// The function. Volatile, so that nothing evaluates it while planning.
pub fn parameter() -> ScalarUDF {
    ScalarUDF::new_from_impl(Parameter { signature: Signature::any(1, Volatility::Volatile) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Parameter {
    signature: Signature,
}

impl ScalarUDFImpl for Parameter {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Null)
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("a parameter has no value before it is bound")
    }
}
