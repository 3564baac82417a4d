//! Names and object ids in both directions: the `reg…` types, `to_reg…()`, visibility.

use catalog::types::SystemType;
use catalog::{ObjectId, SqlType};
use engine::{Error, Result};

use super::datum::Datum;
use super::{Make, Returns, entry};
use crate::pg_catalog::cluster::ROLE;
use crate::pg_catalog::known::{FUNCTIONS, Known, TYPE_OIDS, TYPES, quote_ident};
use crate::pg_catalog::oids::{self, Derived};
use crate::pg_catalog::{statics, table};

pub(super) const ENTRIES: &[Make] = &[
    || entry("pg_cast", (2, 2), Returns::Named, cast),
    || entry("pg_out", (2, 2), Returns::Shown, out),
    || entry("to_regclass", (1, 1), Returns::System(SystemType::RegClass), |known, values, _| found(known, values, SystemType::RegClass)),
    || entry("to_regtype", (1, 1), Returns::System(SystemType::RegType), |known, values, _| found(known, values, SystemType::RegType)),
    || entry("to_regproc", (1, 1), Returns::System(SystemType::RegProc), |known, values, _| found(known, values, SystemType::RegProc)),
    || {
        let call = |known: &Known, values: &[Datum], _: &[SqlType]| found(known, values, SystemType::RegProcedure);
        entry("to_regprocedure", (1, 1), Returns::System(SystemType::RegProcedure), call)
    },
    || {
        let call = |known: &Known, values: &[Datum], _: &[SqlType]| found(known, values, SystemType::RegNamespace);
        entry("to_regnamespace", (1, 1), Returns::System(SystemType::RegNamespace), call)
    },
    || entry("to_regrole", (1, 1), Returns::System(SystemType::RegRole), |known, values, _| found(known, values, SystemType::RegRole)),
    || {
        entry("pg_table_is_visible", (1, 1), Returns::Bool, |known, values, _| {
            Ok(values[0].oid().and_then(|oid| known.is_visible(oid)).into())
        })
    },
    || entry("pg_type_is_visible", (1, 1), Returns::Bool, |known, values, _| Ok(type_is_visible(known, &values[0]).into())),
    || entry("pg_function_is_visible", (1, 1), Returns::Bool, |known, values, _| Ok(function_is_visible(known, &values[0]).into())),
    || entry("pg_operator_is_visible", (1, 1), Returns::Bool, |_, _, _| Ok(Datum::Bool(true))),
    || entry("pg_opclass_is_visible", (1, 1), Returns::Bool, |_, _, _| Ok(Datum::Bool(true))),
    || entry("pg_opfamily_is_visible", (1, 1), Returns::Bool, |_, _, _| Ok(Datum::Bool(true))),
    || entry("pg_collation_is_visible", (1, 1), Returns::Bool, |_, _, _| Ok(Datum::Bool(true))),
    || entry("pg_conversion_is_visible", (1, 1), Returns::Bool, |_, _, _| Ok(Datum::Bool(true))),
    || entry("pg_statistics_obj_is_visible", (1, 1), Returns::Bool, |_, _, _| Ok(Datum::Bool(true))),
    || entry("pg_ts_config_is_visible", (1, 1), Returns::Bool, |_, _, _| Ok(Datum::Bool(true))),
    || entry("pg_ts_dict_is_visible", (1, 1), Returns::Bool, |_, _, _| Ok(Datum::Bool(true))),
    || entry("pg_ts_parser_is_visible", (1, 1), Returns::Bool, |_, _, _| Ok(Datum::Bool(true))),
    || entry("pg_ts_template_is_visible", (1, 1), Returns::Bool, |_, _, _| Ok(Datum::Bool(true))),
];

fn oid(oid: u32) -> Datum {
    Datum::Int(oid.into())
}

/// `value::type`, where the type is one of the system catalog's, or an array of such.
fn cast(known: &Known, values: &[Datum], types: &[SqlType]) -> Result<Datum> {
    let target: SqlType = values[1].text().unwrap_or_default().parse()?;
    // What has an object id keeps it, whatever the id stands for.
    let is_text = matches!(types[0].innermost(), SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_))
        || matches!(types[0].innermost(), SqlType::System(SystemType::Name | SystemType::InternalChar));
    cast_value(known, &values[0], &target, is_text)
}

fn cast_value(known: &Known, value: &Datum, target: &SqlType, is_text: bool) -> Result<Datum> {
    match (value, target) {
        (Datum::List(items), SqlType::Array(item)) => {
            items.iter().map(|value| cast_value(known, value, item, is_text)).collect::<Result<_>>().map(Datum::List)
        }
        (Datum::Text(text), SqlType::Array(item)) => {
            let items = table::items(text).into_iter().map(Datum::from);
            items.map(|value| cast_value(known, &value, item, true)).collect::<Result<_>>().map(Datum::List)
        }
        (Datum::Text(text), SqlType::System(system)) if system.is_vector() => Ok(Datum::Text(text.clone())),
        (Datum::Text(text), SqlType::System(SystemType::InternalChar)) => Ok(Datum::Text(text.chars().take(1).collect())),
        (Datum::Text(text), SqlType::System(system)) if is_text => read(known, text, *system),
        (other, _) => Ok(other.clone()),
    }
}

/// The object that a text names: an error where there is none.
fn read(known: &Known, text: &str, system: SystemType) -> Result<Datum> {
    if let Ok(number) = text.trim().parse::<u32>() {
        return Ok(oid(number));
    }
    match system {
        SystemType::Oid => Err(Error::new("22P02", format!("invalid input syntax for type oid: \"{text}\""))),
        SystemType::Name | SystemType::InternalChar => Ok(Datum::Text(text.to_owned())),
        _ if text == "-" => Ok(oid(0)),
        SystemType::RegClass => class_named(known, text).map(oid),
        SystemType::RegNamespace => namespace_named(known, text).map(oid),
        _ => match look_up(known, text, system)? {
            Some(found) => Ok(oid(found)),
            None => {
                let (sqlstate, what) = match system {
                    SystemType::RegType => ("42704", "type"),
                    SystemType::RegRole => ("42704", "role"),
                    SystemType::RegOper | SystemType::RegOperator => ("42883", "operator"),
                    _ => ("42883", "function"),
                };
                Err(Error::new(sqlstate, format!("{what} \"{text}\" does not exist")))
            }
        },
    }
}

/// `to_reg…(text)`: null where there is no such object.
fn found(known: &Known, values: &[Datum], system: SystemType) -> Result<Datum> {
    let text = values[0].text().unwrap_or_default();
    Ok(look_up(known, text, system)?.map_or(Datum::Null, oid))
}

fn look_up(known: &Known, text: &str, system: SystemType) -> Result<Option<u32>> {
    Ok(match system {
        SystemType::RegType => type_named(known, text),
        SystemType::RegRole => (unquoted(text).last().map(String::as_str) == Some(ROLE)).then_some(oids::ROLE),
        SystemType::RegClass => {
            let (schema, name) = qualified(text)?;
            known.class_oid(schema.as_deref(), &name)
        }
        SystemType::RegNamespace => known.namespace(&unquoted(text).concat()),
        SystemType::RegOper | SystemType::RegOperator => operator_named(text),
        _ => {
            let (schema, name) = qualified(text.split('(').next().unwrap_or(text))?;
            function_named(known, schema.as_deref(), &name)?
        }
    })
}

/// The relation that a text names, as SQL would read it.
pub(super) fn class_named(known: &Known, text: &str) -> Result<u32> {
    let (schema, name) = qualified(text)?;
    known.class_oid(schema.as_deref(), &name).ok_or_else(|| {
        let shown = schema.map_or(name.clone(), |schema| format!("{schema}.{name}"));
        Error::new("42P01", format!("relation \"{shown}\" does not exist"))
    })
}

/// The schema of this name.
pub(super) fn namespace_named(known: &Known, text: &str) -> Result<u32> {
    let name = unquoted(text).concat();
    known.namespace(&name).ok_or_else(|| Error::new("3F000", format!("schema \"{name}\" does not exist")))
}

/// `schema.name` or `name`, also behind the database's name.
fn qualified(text: &str) -> Result<(Option<String>, String)> {
    match unquoted(text).as_slice() {
        [name] => Ok((None, name.clone())),
        [schema, name] => Ok((Some(schema.clone()), name.clone())),
        [_, schema, name] => Ok((Some(schema.clone()), name.clone())),
        _ => Err(Error::new("42602", format!("invalid name syntax: \"{text}\""))),
    }
}

/// The parts of a dotted name, each folded unless it is quoted; spaces may stand around dots.
pub(super) fn unquoted(text: &str) -> Vec<String> {
    let (mut parts, mut part, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = text.trim().chars().peekable();
    while let Some(next) = chars.next() {
        match next {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => part.push('"'),
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(std::mem::take(&mut part)),
            space if !quoted && space.is_whitespace() => {
                while chars.next_if(|next| next.is_whitespace()).is_some() {}
                // One inside of a name is kept: there is no such relation.
                if !part.is_empty() && chars.peek().is_some_and(|next| *next != '.') {
                    part.push(space);
                }
            }
            other if quoted => part.push(other),
            other => part.push(other.to_ascii_lowercase()),
        }
    }
    parts.push(part);
    parts
}

/// A type as SQL names it (`integer[]`, `pg_catalog.int4`), as `pg_type` does (`_int4`), or a relation's row type.
fn type_named(known: &Known, text: &str) -> Option<u32> {
    if let Ok(sql_type) = text.parse::<SqlType>()
        && !matches!(sql_type, SqlType::Struct(_))
    {
        return Some(sql_type.oid());
    }
    let (schema, name) = qualified(text.trim_end_matches("[]")).ok()?;
    let named = match schema.as_deref() {
        None | Some("pg_catalog" | "information_schema") => TYPE_OIDS.get(name.as_str()).copied(),
        Some(_) => None,
    };
    let is_array = text.ends_with("[]");
    if let Some(found) = named {
        return if is_array { TYPES.iter().find(|(_, built_in)| built_in.element == found).map(|(oid, _)| *oid) } else { Some(found) };
    }
    let object = known.catalog.resolve(schema.as_deref(), &name)?;
    Some(if is_array { Derived::RowArray.of(object.id) } else { Derived::RowType.of(object.id) })
}

fn operator_named(text: &str) -> Option<u32> {
    let name = text.rsplit('.').next()?;
    let rows = statics::columns("pg_operator", &["oid", "oprname"]);
    let mut named = rows.into_iter().filter(|row| row[1] == name);
    let first = named.next()?[0].parse().ok()?;
    named.next().is_none().then_some(first)
}

fn function_named(known: &Known, schema: Option<&str>, name: &str) -> Result<Option<u32>> {
    let namespace = schema.and_then(|schema| known.namespace(schema));
    let is_meant = |of: u32| namespace.is_none_or(|namespace| namespace == of);
    let mut named =
        FUNCTIONS.iter().filter(|(_, (known, of))| known == name && is_meant(*of) && (schema.is_some() || *of == oids::PG_CATALOG));
    if let Some((first, _)) = named.next() {
        return match named.next() {
            Some(_) => Err(Error::new("42725", format!("more than one function named \"{name}\""))),
            None => Ok(Some(*first)),
        };
    }
    Ok(known.catalog.resolve_function(schema, name).map(|object| object.id.0))
}

/// What `out` shows: the names that object ids stand for.
fn out(known: &Known, values: &[Datum], _: &[SqlType]) -> Result<Datum> {
    let shown: SqlType = values[1].text().unwrap_or_default().parse()?;
    let SqlType::System(system) = shown.innermost() else { return Ok(values[0].clone()) };
    Ok(match &values[0] {
        Datum::List(items) if system.is_vector() => {
            let items: Vec<String> = items.iter().filter_map(Datum::int).map(|number| number.to_string()).collect();
            Datum::Text(items.join(" "))
        }
        Datum::List(items) => Datum::List(items.iter().map(|item| shown_as(known, item, *system)).collect()),
        value => shown_as(known, value, *system),
    })
}

fn shown_as(known: &Known, value: &Datum, system: SystemType) -> Datum {
    let Some(oid) = value.oid() else { return value.clone() };
    if oid == 0 {
        return Datum::Text("-".into());
    }
    let name = match system {
        SystemType::RegClass => known.shown_class(oid),
        SystemType::RegType => known.format_type(oid, None).filter(|name| name != "???"),
        SystemType::RegNamespace => known.namespace_name(oid).map(quote_ident),
        SystemType::RegRole => (oid == oids::ROLE).then(|| ROLE.to_owned()),
        SystemType::RegProc | SystemType::RegProcedure => function_name(known, oid),
        SystemType::RegOper | SystemType::RegOperator => {
            statics::columns("pg_operator", &["oid", "oprname"]).into_iter().find(|row| row[0] == oid.to_string()).map(|row| row[1].clone())
        }
        _ => None,
    };
    Datum::Text(name.unwrap_or_else(|| oid.to_string()))
}

fn function_name(known: &Known, oid: u32) -> Option<String> {
    if let Some((name, namespace)) = FUNCTIONS.get(&oid) {
        let name = quote_ident(name);
        return Some(if *namespace == oids::PG_CATALOG { name } else { format!("information_schema.{name}") });
    }
    known.catalog.get(ObjectId(oid)).map(|object| quote_ident(&object.name))
}

fn type_is_visible(known: &Known, value: &Datum) -> Option<bool> {
    let oid = value.oid()?;
    if let Some(built_in) = TYPES.get(&oid) {
        return Some(built_in.namespace == oids::PG_CATALOG);
    }
    let id = Derived::RowType.object(oid).or_else(|| Derived::RowArray.object(oid))?;
    known.is_visible(id.0)
}

fn function_is_visible(known: &Known, value: &Datum) -> Option<bool> {
    let oid = value.oid()?;
    if let Some((_, namespace)) = FUNCTIONS.get(&oid) {
        return Some(*namespace == oids::PG_CATALOG);
    }
    let object = known.catalog.get(ObjectId(oid))?;
    Some(known.catalog.resolve_function(None, &object.name).is_some_and(|found| found.id == object.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_folded_unless_quoted() {
        assert_eq!(unquoted("Public.\"My.Table\""), ["public", "My.Table"]);
        assert_eq!(unquoted("\"a\"\"b\""), ["a\"b"]);
    }
}
