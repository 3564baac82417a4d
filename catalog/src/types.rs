//! The one table SQL type → Arrow type → Postgres oid. Whatever prints, stores, sends or parses a type asks here.
//!
//! [`SqlType`] is the type as declared, with its modifier; [`SqlType::pg`] its row in Postgres's `pg_type`. `types/arrow.rs` maps
//! it to Arrow and back, `types/text.rs` to text, `types/parse.rs` from text. Guaranteed: every type survives the way through its text and through
//! an Arrow field. Not guaranteed: that it survives an expression; a result has the type that its Arrow type alone says.

use serde::{Deserialize, Serialize};

mod arrow;
mod parse;
mod system;
mod text;

pub use arrow::{NUMERIC_DEFAULT, PG_TYPE, TIMESTAMPTZ_ZONE};
pub use system::SystemType;
pub use text::TypeError;

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
    /// A type of `pg_catalog`'s columns.
    System(SystemType),
}

/// A row of Postgres's `pg_type`, and of its array type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PgType {
    /// `oid`.
    pub oid: u32,
    /// `typname`.
    pub name: &'static str,
    /// `typlen`: bytes in binary form, -1 where that differs by value.
    pub len: i16,
    /// `typcategory`.
    pub category: char,
    /// `typarray`: the oid of the array type; 0 for an array.
    pub array_oid: u32,
    /// `typname` of the array type; empty for an array.
    pub array_name: &'static str,
}

impl PgType {
    const fn new(oid: u32, name: &'static str, len: i16, category: char, array_oid: u32, array_name: &'static str) -> Self {
        Self { oid, name, len, category, array_oid, array_name }
    }

    /// The row of the array type.
    pub const fn array(&self) -> Self {
        Self::new(self.array_oid, self.array_name, -1, 'A', 0, "")
    }
}

/// What clients may see in `pg_type`, without the array types.
pub const PG_TYPES: [PgType; 20] = [
    PgType::new(16, "bool", 1, 'B', 1000, "_bool"),
    PgType::new(21, "int2", 2, 'N', 1005, "_int2"),
    PgType::new(23, "int4", 4, 'N', 1007, "_int4"),
    PgType::new(20, "int8", 8, 'N', 1016, "_int8"),
    PgType::new(700, "float4", 4, 'N', 1021, "_float4"),
    PgType::new(701, "float8", 8, 'N', 1022, "_float8"),
    PgType::new(1700, "numeric", -1, 'N', 1231, "_numeric"),
    PgType::new(25, "text", -1, 'S', 1009, "_text"),
    PgType::new(1043, "varchar", -1, 'S', 1015, "_varchar"),
    PgType::new(1042, "bpchar", -1, 'S', 1014, "_bpchar"),
    PgType::new(17, "bytea", -1, 'U', 1001, "_bytea"),
    PgType::new(1082, "date", 4, 'D', 1182, "_date"),
    PgType::new(1083, "time", 8, 'D', 1183, "_time"),
    PgType::new(1114, "timestamp", 8, 'D', 1115, "_timestamp"),
    PgType::new(1184, "timestamptz", 8, 'D', 1185, "_timestamptz"),
    PgType::new(1186, "interval", 16, 'T', 1187, "_interval"),
    PgType::new(2950, "uuid", 16, 'U', 2951, "_uuid"),
    PgType::new(114, "json", -1, 'U', 199, "_json"),
    PgType::new(3802, "jsonb", -1, 'U', 3807, "_jsonb"),
    PgType::new(2249, "record", -1, 'P', 2287, "_record"),
];

impl SqlType {
    /// Its row in `pg_type`. An array of arrays has the oid of its innermost elements' array, as in Postgres.
    pub fn pg(&self) -> PgType {
        let index = match self {
            Self::Boolean => 0,
            Self::SmallInt => 1,
            Self::Integer => 2,
            Self::BigInt => 3,
            Self::Real => 4,
            Self::Double => 5,
            Self::Numeric(_) => 6,
            Self::Text => 7,
            Self::Varchar(_) => 8,
            Self::Char(_) => 9,
            Self::Bytea => 10,
            Self::Date => 11,
            Self::Time => 12,
            Self::Timestamp => 13,
            Self::TimestampTz => 14,
            Self::Interval => 15,
            Self::Uuid => 16,
            Self::Json => 17,
            Self::Jsonb => 18,
            Self::Struct(_) => 19,
            Self::System(system) => return system.pg(),
            Self::Array(_) => return self.innermost().pg().array(),
        };
        PG_TYPES[index]
    }

    /// Its Postgres oid.
    pub fn oid(&self) -> u32 {
        self.pg().oid
    }

    /// Its `atttypmod`: 9 for `varchar(5)`, -1 without a modifier; an array has that of its elements.
    pub fn typmod(&self) -> i32 {
        let with_length = |length: u32| i32::try_from(length).map_or(-1, |length| length.saturating_add(4));
        match self {
            Self::Numeric(Some((precision, scale))) => ((i32::from(*precision) << 16) | (i32::from(*scale) & 0x7ff)) + 4,
            Self::Varchar(Some(length)) | Self::Char(length) => with_length(*length),
            Self::Array(item) => item.typmod(),
            _ => -1,
        }
    }

    /// The type a client means by `oid` (of a parameter, say); it has no modifier. `None` for `unknown` and what we do not have.
    pub fn of_oid(oid: u32) -> Option<Self> {
        let scalar = |oid: u32| {
            Some(match oid {
                16 => Self::Boolean,
                17 => Self::Bytea,
                20 => Self::BigInt,
                21 => Self::SmallInt,
                23 => Self::Integer,
                25 => Self::Text,
                114 => Self::Json,
                700 => Self::Real,
                701 => Self::Double,
                1042 | 1043 => Self::Varchar(None),
                1082 => Self::Date,
                1083 => Self::Time,
                1114 => Self::Timestamp,
                1184 => Self::TimestampTz,
                1186 => Self::Interval,
                1700 => Self::Numeric(None),
                2950 => Self::Uuid,
                3802 => Self::Jsonb,
                _ => return SystemType::ALL.into_iter().find(|system| system.pg().oid == oid).map(Self::System),
            })
        };
        let all = || PG_TYPES.into_iter().chain(SystemType::ALL.map(SystemType::pg));
        let array_of = || all().find(|pg| pg.array_oid == oid).and_then(|pg| scalar(pg.oid));
        scalar(oid).or_else(|| array_of().map(|item| Self::Array(Box::new(item))))
    }

    /// The elements' type of an array of any dimension; otherwise itself.
    pub fn innermost(&self) -> &Self {
        match self {
            Self::Array(item) => item.innermost(),
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests;
