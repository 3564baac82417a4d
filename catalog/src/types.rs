//! The one table SQL type → Arrow type → Postgres oid.

use serde::{Deserialize, Serialize};

/// A SQL type as declared, with its modifier.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are Postgres's own")]
pub enum SqlType {
    Boolean,
    SmallInt,
    Integer,
    BigInt,
    Real,
    Double,
    /// Precision and scale; `None` is `NUMERIC` without a modifier.
    Numeric(Option<(u8, i8)>),
    Text,
    Varchar(Option<u32>),
    Char(u32),
    Bytea,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Interval,
    Uuid,
    Json,
    Jsonb,
    Array(Box<SqlType>),
    /// Field names and types.
    Struct(Vec<(String, SqlType)>),
}
