//! SQL type → Arrow type, and back.
//!
//! Several SQL types share an Arrow type (`uuid`, `json` and `varchar(5)` are all `Utf8`). Such a column's field says which in
//! its metadata; a field without metadata has the type its Arrow type says. Only a field itself carries metadata, never the
//! fields inside a list or struct: there it would be part of the `DataType` and make equal types unequal.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, IntervalUnit, TimeUnit};

use super::SqlType;

/// Field metadata key: the canonical text of the SQL type, where the Arrow type alone does not say it.
pub const PG_TYPE: &str = "pg.type";

/// The zone every `timestamp with time zone` has in Arrow; its values count from 1970 in UTC.
pub const TIMESTAMPTZ_ZONE: &str = "UTC";

/// Precision and scale that hold a `numeric` without a modifier.
pub const NUMERIC_DEFAULT: (u8, i8) = (38, 10);

impl SqlType {
    /// The Arrow type of its values.
    pub fn arrow(&self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::SmallInt => DataType::Int16,
            Self::Integer => DataType::Int32,
            Self::BigInt => DataType::Int64,
            Self::Real => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Numeric(modifier) => {
                let (precision, scale) = modifier.unwrap_or(NUMERIC_DEFAULT);
                DataType::Decimal128(precision, scale)
            }
            Self::Text | Self::Varchar(_) | Self::Char(_) | Self::Uuid | Self::Json | Self::Jsonb => DataType::Utf8,
            Self::System(system) => system.arrow(),
            Self::Bytea => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some(TIMESTAMPTZ_ZONE.into())),
            Self::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            Self::Array(item) => DataType::List(Arc::new(Field::new_list_field(item.arrow(), true))),
            Self::Struct(fields) => DataType::Struct(fields.iter().map(|(name, of)| Field::new(name, of.arrow(), true)).collect()),
        }
    }

    /// An Arrow field that [`Self::of_field`] reads back as this very type.
    pub fn field(&self, name: &str, nullable: bool) -> Field {
        let arrow = self.arrow();
        let implied = Self::of_arrow(&arrow);
        let field = Field::new(name, arrow, nullable);
        if implied == *self { field } else { field.with_metadata(HashMap::from([(PG_TYPE.to_owned(), self.to_string())])) }
    }

    /// The SQL type of a column: as its metadata says if that fits its Arrow type (an expression may have kept the metadata of
    /// its argument), otherwise as the Arrow type says.
    pub fn of_field(field: &Field) -> Self {
        let implied = Self::of_arrow(field.data_type());
        let declared = field.metadata().get(PG_TYPE).and_then(|text| text.parse::<Self>().ok());
        match declared {
            Some(declared) if Self::of_arrow(&declared.arrow()) == implied => declared,
            _ => implied,
        }
    }

    /// The SQL type in which values of any Arrow type are shown; a larger one where SQL has no such type.
    pub fn of_arrow(arrow: &DataType) -> Self {
        match arrow {
            DataType::Boolean => Self::Boolean,
            DataType::Int8 | DataType::Int16 | DataType::UInt8 => Self::SmallInt,
            DataType::Int32 | DataType::UInt16 => Self::Integer,
            DataType::Int64 | DataType::UInt32 => Self::BigInt,
            DataType::UInt64 => Self::Numeric(Some((20, 0))),
            DataType::Float16 | DataType::Float32 => Self::Real,
            DataType::Float64 => Self::Double,
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale)
            | DataType::Decimal256(precision, scale) => numeric(*precision, *scale),
            DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => Self::Text,
            DataType::Binary | DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(_) => Self::Bytea,
            DataType::Date32 => Self::Date,
            DataType::Time32(_) | DataType::Time64(_) => Self::Time,
            DataType::Date64 | DataType::Timestamp(_, None) => Self::Timestamp,
            DataType::Timestamp(_, Some(_)) => Self::TimestampTz,
            DataType::Interval(_) | DataType::Duration(_) => Self::Interval,
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::ListView(item)
            | DataType::LargeListView(item)
            | DataType::FixedSizeList(item, _)
            | DataType::Map(item, _) => Self::Array(Box::new(Self::of_arrow(item.data_type()))),
            DataType::Struct(fields) => Self::Struct(struct_fields(fields)),
            DataType::Dictionary(_, values) => Self::of_arrow(values),
            DataType::RunEndEncoded(_, values) => Self::of_arrow(values.data_type()),
            // What `datafusion-functions-json` returns: a JSON value of any kind.
            DataType::Union(_, _) => Self::Json,
        }
    }
}

fn numeric(precision: u8, scale: i8) -> SqlType {
    match (precision, scale) {
        NUMERIC_DEFAULT => SqlType::Numeric(None),
        _ => SqlType::Numeric(Some((precision.min(NUMERIC_DEFAULT.0), scale))),
    }
}

fn struct_fields(fields: &Fields) -> Vec<(String, SqlType)> {
    fields.iter().map(|field| (field.name().clone(), SqlType::of_arrow(field.data_type()))).collect()
}
