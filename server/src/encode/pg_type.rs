//! The oid, length and modifier of a column for RowDescription, from `catalog::types`.

use arrow::datatypes::Field;
use catalog::SqlType;

/// A type as RowDescription describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PgType {
    /// `pg_type.oid`.
    pub oid: u32,
    /// Bytes, or -1 when it varies.
    pub length: i16,
    /// Type modifier, -1 when there is none.
    pub modifier: i32,
}

/// What RowDescription says about a column.
pub fn pg_type(field: &Field) -> PgType {
    let sql_type = SqlType::of_field(field);
    PgType { oid: sql_type.oid(), length: sql_type.pg().len, modifier: sql_type.typmod() }
}
