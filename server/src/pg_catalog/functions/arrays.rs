//! Bounds and subscripts of arrays, which for `int2vector` and `oidvector` begin at 0.

use catalog::SqlType;
use catalog::types::SystemType;
use engine::Result;

use super::datum::Datum;
use super::{Make, Returns, entry};
use crate::pg_catalog::known::Known;

pub(super) const ENTRIES: &[Make] = &[
    || entry("array_upper", (2, 2), Returns::Int, array_upper),
    || entry("array_lower", (2, 2), Returns::Int, array_lower),
    || entry("generate_subscripts_list", (2, 3), Returns::Ints, subscripts),
    || entry("_pg_expandarray_list", (1, 1), Returns::Expanded, expanded),
];

/// The type of an array's items.
pub fn item_type(sql_type: &SqlType) -> SqlType {
    match sql_type {
        SqlType::Array(item) => item.as_ref().clone(),
        SqlType::System(SystemType::Int2Vector) => SqlType::SmallInt,
        SqlType::System(SystemType::OidVector) => SqlType::System(SystemType::Oid),
        other => other.clone(),
    }
}

fn first(sql_type: &SqlType) -> i64 {
    i64::from(!matches!(sql_type, SqlType::System(system) if system.is_vector()))
}

/// The items of a dimension that is there: arrays are flat but for arrays of arrays, of which only the first counts.
fn items(arguments: &[Datum]) -> Option<&[Datum]> {
    match (&arguments[0], arguments.get(1).and_then(Datum::int)) {
        (Datum::List(items), Some(1) | None) if !items.is_empty() => Some(items),
        (Datum::List(items), Some(2)) => match items.first() {
            Some(Datum::List(items)) if !items.is_empty() => Some(items),
            _ => None,
        },
        _ => None,
    }
}

fn array_upper(_: &Known, arguments: &[Datum], types: &[SqlType]) -> Result<Datum> {
    Ok(items(arguments).map_or(Datum::Null, |items| Datum::Int(items.len() as i64 - 1 + first(&types[0]))))
}

fn array_lower(_: &Known, arguments: &[Datum], types: &[SqlType]) -> Result<Datum> {
    Ok(items(arguments).map_or(Datum::Null, |_| Datum::Int(first(&types[0]))))
}

fn subscripts(_: &Known, arguments: &[Datum], types: &[SqlType]) -> Result<Datum> {
    let first = first(&types[0]);
    let n_items = items(arguments).map_or(0, <[Datum]>::len) as i64;
    let mut numbers: Vec<Datum> = (first..first + n_items).map(Datum::Int).collect();
    if arguments.get(2).is_some_and(Datum::is_true) {
        numbers.reverse();
    }
    Ok(Datum::List(numbers))
}

fn expanded(_: &Known, arguments: &[Datum], _: &[SqlType]) -> Result<Datum> {
    let Datum::List(items) = &arguments[0] else { return Ok(Datum::Null) };
    Ok(Datum::List(items.iter().zip(1..).map(|(item, number)| Datum::Struct(vec![item.clone(), Datum::Int(number)])).collect()))
}
