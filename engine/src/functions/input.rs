//! `text_input(text, 'type'[, 'zone'])`: reads text as a value of a type by Postgres' input rules. What string literals are
//! turned into when they meet a type, so that `'1 day 02:03'::interval`, an INSERT and a decoded file read a value alike. The zone
//! is the session's, for times that do not name one.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use catalog::SqlType;
use datafusion::common::{DataFusionError, Result, ScalarValue, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use super::scalar::zones::Zone;
use crate::decode::parse_text_in;

/// The function's name in plans.
pub const NAME: &str = "text_input";

/// The function.
pub fn text_input() -> ScalarUDF {
    ScalarUDF::new_from_impl(TextInput {
        signature: Signature::one_of(vec![TypeSignature::Any(2), TypeSignature::Any(3)], Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TextInput {
    signature: Signature,
}

impl ScalarUDFImpl for TextInput {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        plan_err!("{NAME} takes its type from its second argument")
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let sql_type = target(arguments.scalar_arguments.get(1).copied().flatten())?;
        // Without the SQL type in its metadata: the rows of VALUES must agree, and NULL has none.
        Ok(Arc::new(Field::new(NAME, sql_type.arrow(), true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ColumnarValue::Scalar(type_name) = &arguments.args[1] else {
            return plan_err!("{NAME} takes a constant type");
        };
        let sql_type = target(Some(type_name))?;
        let zone = zone(arguments.args.get(2))?;
        match &arguments.args[0] {
            ColumnarValue::Scalar(value) => {
                let values = read(&value.to_array()?, &sql_type, zone)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?))
            }
            ColumnarValue::Array(values) => Ok(ColumnarValue::Array(read(values, &sql_type, zone)?)),
        }
    }
}

/// Whether values of this type, an argument of the function, are read by the clock of a zone.
pub fn reads_zone(type_name: &Expr) -> bool {
    let Expr::Literal(name, _) = type_name else { return false };
    target(Some(name)).is_ok_and(|sql_type| super::scalar::casts::has_zone(&sql_type.arrow()))
}

fn target(name: Option<&ScalarValue>) -> Result<SqlType> {
    match name {
        Some(ScalarValue::Utf8(Some(name))) => name.parse().map_err(|error| DataFusionError::External(Box::new(crate::Error::from(error)))),
        _ => plan_err!("{NAME} takes a constant type"),
    }
}

fn zone(argument: Option<&ColumnarValue>) -> Result<Option<Zone>> {
    match argument {
        None => Ok(None),
        Some(ColumnarValue::Scalar(ScalarValue::Utf8(Some(name)))) => {
            Zone::of_session(name).map(Some).map_err(|error| DataFusionError::External(Box::new(error)))
        }
        Some(_) => plan_err!("{NAME} takes a constant zone"),
    }
}

fn read(texts: &ArrayRef, sql_type: &SqlType, zone: Option<Zone>) -> Result<ArrayRef> {
    let field: Field = sql_type.field(NAME, true);
    if texts.is_empty() {
        return Ok(new_null_array(field.data_type(), 0));
    }
    let texts = cast(texts, &DataType::Utf8)?;
    let null = ScalarValue::try_from(field.data_type())?;
    let value = |text: Option<&str>| match text {
        Some(text) => parse_text_in(sql_type, text, zone).map_err(|error| DataFusionError::External(Box::new(error))),
        None => Ok(null.clone()),
    };
    ScalarValue::iter_to_array(texts.as_string::<i32>().iter().map(value).collect::<Result<Vec<_>>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_read_as_the_type_reads_them() {
        let texts: ArrayRef = Arc::new(arrow::array::StringArray::from(vec![Some("1 day 02:03:04.5"), None]));
        let intervals = read(&texts, &SqlType::Interval, None).expect("an interval and a null");
        assert_eq!((intervals.len(), intervals.null_count()), (2, 1));
        let texts: ArrayRef = Arc::new(arrow::array::StringArray::from(vec!["abcdef"]));
        let error = read(&texts, &SqlType::Varchar(Some(5)), None).expect_err("six characters are too many");
        assert!(error.to_string().contains("too long"), "{error}");
    }
}
