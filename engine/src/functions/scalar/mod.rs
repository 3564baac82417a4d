//! Scalar functions as Postgres has them, where DataFusion has none or means something else.
//!
//! Each file is one table of functions of a kind: a name, the types it takes, and a plain Rust function over single values.
//! [`typed`] makes a column of such values, [`overload`] chooses among functions of one name by Postgres' rules (exact types
//! first, then the preferred ones). Guaranteed: a null argument gives null unless a table says otherwise, and a value that
//! cannot be computed is an error with Postgres' SQLSTATE, never a wrapped number or a null.

use datafusion::common::Result;
use datafusion::execution::FunctionRegistry;

pub mod arrays;
mod calendar;
pub mod casts;
mod datetime;
pub mod fields;
pub mod in_zone;
pub mod intervals;
mod json;
pub mod like_lists;
mod math;
pub mod numeric;
mod ordered_lists;
mod overload;
pub mod patterns;
mod polymorphic;
mod strings;
mod templates;
mod typed;
pub mod zones;

pub use overload::Scalar;

/// Every function of these tables.
pub fn all() -> Vec<Scalar> {
    [
        math::functions(),
        numeric::functions(),
        strings::functions(),
        patterns::functions(),
        datetime::functions(),
        fields::functions(),
        templates::functions(),
        zones::functions(),
        intervals::functions(),
        polymorphic::functions(),
    ]
    .concat()
}

/// Registers [`all`]; they take the place of DataFusion's of the same name.
pub fn register(registry: &mut dyn FunctionRegistry) -> Result<()> {
    for function in all() {
        registry.register_udf(function.into_udf())?;
    }
    for function in json::functions()
        .into_iter()
        .chain(ordered_lists::functions())
        .chain(arrays::functions())
        .chain(arrays::of_items())
        .chain(like_lists::functions())
        .chain([polymorphic::pg_typeof(), arrays::order()])
    {
        registry.register_udf(function)?;
    }
    Ok(())
}
