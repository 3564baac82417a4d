//! `text LIKE ANY (patterns)`, and with ALL and ILIKE: whether a text is like one, or each, of an array of patterns. Nulls among them
//! leave it open where the others do not decide.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, Scalar};
use arrow::compute::cast;
use arrow::compute::kernels::comparison::{ilike, like};
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// What `a LIKE ANY (b)` becomes.
pub const LIKE_ANY: &str = "like_any";
/// What `a LIKE ALL (b)` becomes.
pub const LIKE_ALL: &str = "like_all";
/// What `a ILIKE ANY (b)` becomes.
pub const ILIKE_ANY: &str = "ilike_any";
/// What `a ILIKE ALL (b)` becomes.
pub const ILIKE_ALL: &str = "ilike_all";

/// All of them.
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    [(LIKE_ANY, true, false), (LIKE_ALL, false, false), (ILIKE_ANY, true, true), (ILIKE_ALL, false, true)]
        .map(|(name, is_any, folds_case)| {
            let signature = Signature::any(2, Volatility::Immutable);
            Arc::new(ScalarUDF::new_from_impl(LikeList { name, is_any, folds_case, signature }))
        })
        .to_vec()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct LikeList {
    name: &'static str,
    is_any: bool,
    folds_case: bool,
    signature: Signature,
}

impl ScalarUDFImpl for LikeList {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let is_text = |data_type: &DataType| data_type.is_string() || data_type.is_null();
        match (&arguments[0], &arguments[1]) {
            (text, DataType::List(pattern)) if is_text(text) && is_text(pattern.data_type()) => Ok(DataType::Boolean),
            (text, DataType::Null) if is_text(text) => Ok(DataType::Boolean),
            (_, DataType::List(_) | DataType::Null) => plan_err!("LIKE compares texts"),
            _ => plan_err!("op ANY/ALL (array) requires array on right side"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let n_rows = arguments.number_rows;
        let [texts, patterns] = [0, 1].map(|at| arguments.args[at].to_array(n_rows));
        let texts = cast(&texts?, &DataType::Utf8)?;
        let patterns = cast(&patterns?, &DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))))?;
        let patterns = patterns.as_list::<i32>();
        let answers = (0..n_rows).map(|row| {
            if patterns.is_null(row) {
                return Ok(None);
            }
            let (text, patterns) = (Scalar::new(texts.slice(row, 1)), patterns.value(row));
            let is_like = if self.folds_case { ilike(&text, &patterns) } else { like(&text, &patterns) }?;
            Ok(self.of_all(&is_like))
        });
        Ok(ColumnarValue::Array(Arc::new(answers.collect::<Result<BooleanArray>>()?)))
    }
}

impl LikeList {
    /// ANY is true if one is, ALL false if one is not; else nulls leave it open.
    fn of_all(&self, is_like: &BooleanArray) -> Option<bool> {
        if is_like.iter().flatten().any(|is_like| is_like == self.is_any) {
            return Some(self.is_any);
        }
        (is_like.null_count() == 0).then_some(!self.is_any)
    }
}
