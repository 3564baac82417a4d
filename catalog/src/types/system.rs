//! The types that only the system catalog's columns have. Nobody declares a column of them: they are in the metadata of
//! `pg_catalog`'s fields, and a client learns their oids from a result's description.
//!
//! Object ids and the `reg…` types that name objects are `Int64` in Arrow, so that they compare with each other and with
//! literals; vectors are lists.

use std::sync::Arc;

use arrow_schema::{DataType, Field};
use serde::{Deserialize, Serialize};

use super::PgType;

/// A type of the system catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are Postgres's own")]
pub enum SystemType {
    Oid,
    Name,
    /// `"char"`: one byte.
    InternalChar,
    RegClass,
    RegType,
    RegProc,
    RegProcedure,
    RegOper,
    RegOperator,
    RegNamespace,
    RegRole,
    /// Indexed from 0.
    Int2Vector,
    /// Indexed from 0.
    OidVector,
}

impl SystemType {
    /// Each of them once.
    pub const ALL: [Self; 13] = [
        Self::Oid,
        Self::Name,
        Self::InternalChar,
        Self::RegClass,
        Self::RegType,
        Self::RegProc,
        Self::RegProcedure,
        Self::RegOper,
        Self::RegOperator,
        Self::RegNamespace,
        Self::RegRole,
        Self::Int2Vector,
        Self::OidVector,
    ];

    /// Its row in `pg_type`.
    pub const fn pg(self) -> PgType {
        match self {
            Self::Oid => PgType::new(26, "oid", 4, 'N', 1028, "_oid"),
            Self::Name => PgType::new(19, "name", 64, 'S', 1003, "_name"),
            Self::InternalChar => PgType::new(18, "char", 1, 'Z', 1002, "_char"),
            Self::RegClass => PgType::new(2205, "regclass", 4, 'N', 2210, "_regclass"),
            Self::RegType => PgType::new(2206, "regtype", 4, 'N', 2211, "_regtype"),
            Self::RegProc => PgType::new(24, "regproc", 4, 'N', 1008, "_regproc"),
            Self::RegProcedure => PgType::new(2202, "regprocedure", 4, 'N', 2207, "_regprocedure"),
            Self::RegOper => PgType::new(2203, "regoper", 4, 'N', 2208, "_regoper"),
            Self::RegOperator => PgType::new(2204, "regoperator", 4, 'N', 2209, "_regoperator"),
            Self::RegNamespace => PgType::new(4089, "regnamespace", 4, 'N', 4090, "_regnamespace"),
            Self::RegRole => PgType::new(4096, "regrole", 4, 'N', 4097, "_regrole"),
            Self::Int2Vector => PgType::new(22, "int2vector", -1, 'A', 1006, "_int2vector"),
            Self::OidVector => PgType::new(30, "oidvector", -1, 'A', 1013, "_oidvector"),
        }
    }

    /// The type as SQL says it.
    pub const fn text(self) -> &'static str {
        match self {
            // Without the quotes it is character(1).
            Self::InternalChar => "\"char\"",
            other => other.pg().name,
        }
    }

    /// The type that SQL means by this word.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| *known != Self::InternalChar && known.pg().name == name)
    }

    /// Whether its values are object ids that stand for names.
    pub const fn is_reference(self) -> bool {
        !matches!(self, Self::Oid | Self::Name | Self::InternalChar | Self::Int2Vector | Self::OidVector)
    }

    /// Whether it is an array that counts from 0 and is written without braces.
    pub const fn is_vector(self) -> bool {
        matches!(self, Self::Int2Vector | Self::OidVector)
    }

    /// The Arrow type of its values.
    pub fn arrow(self) -> DataType {
        let list = |item| DataType::List(Arc::new(Field::new_list_field(item, true)));
        match self {
            Self::Name | Self::InternalChar => DataType::Utf8,
            Self::Int2Vector => list(DataType::Int16),
            Self::OidVector => list(DataType::Int64),
            _ => DataType::Int64,
        }
    }
}
