//! The types of columns, and literals of them: of few values, so that values meet.

use rand::Rng;
use rand::rngs::StdRng;

/// The types there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// `bigint`, small.
    Number,
    /// `text`, a letter or two, or none.
    Text,
    /// `boolean`.
    Truth,
    /// `double precision`, also NaN, infinite, and far apart in magnitude.
    Float,
    /// `numeric(12,2)`.
    Numeric,
    /// `timestamp`, within some hours.
    Time,
    /// `bigint[]`.
    List,
}

impl Type {
    pub(super) const ALL: [Self; 7] = [Self::Number, Self::Text, Self::Truth, Self::Float, Self::Numeric, Self::Time, Self::List];

    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::Number => "bigint",
            Self::Text => "text",
            Self::Truth => "boolean",
            Self::Float => "double precision",
            Self::Numeric => "numeric(12,2)",
            Self::Time => "timestamp",
            Self::List => "bigint[]",
        }
    }

    /// A random one; numbers are the most frequent.
    pub(super) fn any(rng: &mut StdRng) -> Self {
        use Type::{Float, List, Number, Numeric, Text, Time, Truth};
        one_of(rng, &[Number, Number, Number, Number, Text, Text, Text, Truth, Float, Float, Numeric, Numeric, Time, Time, List])
    }

    fn values(self) -> &'static [&'static str] {
        match self {
            Self::Number => &["0", "1", "2", "3"],
            Self::Text => &["''", "'a'", "'b'", "'c'", "'ab'"],
            Self::Truth => &["true", "false"],
            Self::Float => {
                &["0.0", "1.5", "-2.25", "0.1", "'NaN'", "'Infinity'", "'-Infinity'", "1e16", "-1e16", "1e300", "-1e300", "1e-300"]
            }
            Self::Numeric => &["0.00", "1.50", "-0.25", "100.10"],
            Self::Time => &[
                "'2024-01-01 00:00:00'",
                "'2024-01-01 00:10:00'",
                "'2024-01-01 00:59:59.999999'",
                "'2024-01-01 01:10:00'",
                "'2023-12-31 23:30:00'",
            ],
            Self::List => &["'{}'", "'{1}'", "'{1,2}'", "'{2,NULL}'", "'{3,1,1}'"],
        }
    }

    /// A literal that is not null, as an expression of the type. None is a negative zero, which SQL does not tell from zero:
    /// which of them stands for both in a group is open.
    pub(super) fn literal(self, rng: &mut StdRng) -> String {
        let value = one_of(rng, self.values());
        match self {
            Self::Number | Self::Text | Self::Truth => value.into(),
            _ => format!("{value}::{}", self.sql()),
        }
    }

    /// A literal that is stored in a column, in which queries see no sign of a zero (see [`super::query::Column`]).
    pub(super) fn stored(self, rng: &mut StdRng) -> String {
        match self {
            Self::Float if rng.random_ratio(1, 6) => "'-0.0'::double precision".into(),
            _ => self.literal(rng),
        }
    }
}

/// One of several.
pub(super) fn one_of<T: Copy>(rng: &mut StdRng, of: &[T]) -> T {
    of[rng.random_range(0..of.len())]
}
