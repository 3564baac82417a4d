//! `mod(a, b)`, which DataFusion spells `a % b` alone: it becomes that while planning, so no engine ever sees the function.

use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, binary_expr,
};

/// The function.
pub fn modulo() -> ScalarUDF {
    ScalarUDF::new_from_impl(Modulo { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Modulo {
    signature: Signature,
}

impl ScalarUDFImpl for Modulo {
    fn name(&self) -> &str {
        "mod"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [left, right] = types else {
            return Err(DataFusionError::Plan("Failed to coerce arguments to satisfy a call to 'mod' function".into()));
        };
        let (left, right) = BinaryTypeCoercer::new(left, &Operator::Modulo, right).get_input_types()?;
        Ok(vec![left, right])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let [left, right] = types else { return Err(DataFusionError::Internal("mod takes two arguments".into())) };
        BinaryTypeCoercer::new(left, &Operator::Modulo, right).get_result_type()
    }

    fn simplify(&self, args: Vec<Expr>, _context: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let [left, right] = <[Expr; 2]>::try_from(args).map_err(|_| DataFusionError::Internal("mod takes two arguments".into()))?;
        Ok(ExprSimplifyResult::Simplified(binary_expr(left, Operator::Modulo, right)))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(DataFusionError::Internal("mod was not replaced by % while planning".into()))
    }
}
