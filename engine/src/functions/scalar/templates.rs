//! `to_char`, `to_date`, `to_timestamp` and `to_number` with Postgres' template patterns.

use super::overload::Scalar;
use crate::{Error, Result};

/// The functions of this table.
pub fn functions() -> Vec<Scalar> {
    vec![]
}

pub fn to_timestamp(_text: &str, _template: &str) -> Result<i64> {
    Err(Error::unsupported("to_timestamp", "x"))
}
