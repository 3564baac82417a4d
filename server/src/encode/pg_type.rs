//! The oid, length and modifier of a column for RowDescription, from `catalog::types`.

use arrow::datatypes::Field;
use catalog::SqlType;
use engine::plan::query::ORIGIN;

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

/// Relation and 1-based number of the stored column that a column shows unchanged; zeros when there is none.
pub fn origin(field: &Field) -> (i32, i16) {
    let origin = field.metadata().get(ORIGIN).and_then(|origin| origin.split_once('.'));
    origin.and_then(|(id, column)| Some((id.parse().ok()?, column.parse().ok()?))).unwrap_or((0, 0))
}

/// What RowDescription says about a column.
pub fn pg_type(field: &Field) -> PgType {
    let sql_type = SqlType::of_field(field);
    PgType { oid: sql_type.oid(), length: sql_type.pg().len, modifier: sql_type.typmod() }
}
