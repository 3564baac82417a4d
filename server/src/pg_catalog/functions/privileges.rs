//! `has_…_privilege()`: the one role may do everything with what there is. What there is not is an error where it is named,
//! and null where it is given by oid.

use catalog::SqlType;
use engine::{Error, Result};

use super::datum::Datum;
use super::references::{class_named, namespace_named};
use super::{Make, Returns, entry};
use crate::pg_catalog::cluster::{DATABASE, ROLE};
use crate::pg_catalog::known::Known;
use crate::pg_catalog::oids;

pub(super) const ENTRIES: &[Make] = &[
    || entry("has_table_privilege", (2, 3), Returns::Bool, on_table),
    || entry("has_any_column_privilege", (2, 3), Returns::Bool, on_table),
    || entry("has_sequence_privilege", (2, 3), Returns::Bool, on_table),
    || entry("has_column_privilege", (3, 4), Returns::Bool, on_column),
    || entry("has_schema_privilege", (2, 3), Returns::Bool, on_schema),
    || entry("has_database_privilege", (2, 3), Returns::Bool, on_database),
    || entry("has_function_privilege", (2, 3), Returns::Bool, on_anything),
    || entry("has_type_privilege", (2, 3), Returns::Bool, on_anything),
    || entry("has_language_privilege", (2, 3), Returns::Bool, on_anything),
    || entry("has_tablespace_privilege", (2, 3), Returns::Bool, on_anything),
    || entry("has_foreign_data_wrapper_privilege", (2, 3), Returns::Bool, on_anything),
    || entry("has_server_privilege", (2, 3), Returns::Bool, on_anything),
    || entry("has_parameter_privilege", (2, 3), Returns::Bool, on_anything),
    || entry("pg_has_role", (2, 3), Returns::Bool, of_role),
    || entry("row_security_active", (1, 1), Returns::Bool, |_, _, _| Ok(Datum::Bool(false))),
];

/// The arguments behind the role, which may be left out.
fn behind_role(arguments: &[Datum], n_without: usize) -> Result<&[Datum]> {
    match arguments.len() > n_without {
        true => check_role(&arguments[0]).map(|()| &arguments[1..]),
        false => Ok(arguments),
    }
}

fn check_role(role: &Datum) -> Result<()> {
    match role {
        Datum::Text(name) if name != ROLE && name != "public" => Err(Error::new("42704", format!("role \"{name}\" does not exist"))),
        _ => Ok(()),
    }
}

fn on_table(known: &Known, arguments: &[Datum], _: &[SqlType]) -> Result<Datum> {
    let arguments = behind_role(arguments, 2)?;
    check_privilege(&arguments[1])?;
    Ok(table(known, &arguments[0])?.map_or(Datum::Null, |_| Datum::Bool(true)))
}

fn table(known: &Known, named: &Datum) -> Result<Option<u32>> {
    match named {
        Datum::Text(name) => class_named(known, name).map(Some),
        other => Ok(other.oid().filter(|oid| known.class(*oid).is_some())),
    }
}

fn check_privilege(privileges: &Datum) -> Result<()> {
    const KNOWN: [&str; 15] = [
        "select",
        "insert",
        "update",
        "delete",
        "truncate",
        "references",
        "trigger",
        "usage",
        "create",
        "connect",
        "temporary",
        "temp",
        "execute",
        "member",
        "rule",
    ];
    let text = privileges.text().unwrap_or_default();
    for privilege in text.split(',') {
        let privilege = privilege.trim().to_ascii_lowercase();
        if !KNOWN.contains(&privilege.trim_end_matches(" with grant option")) {
            return Err(Error::new("22023", format!("unrecognized privilege type: \"{}\"", privilege.trim())));
        }
    }
    Ok(())
}

fn on_column(known: &Known, arguments: &[Datum], _: &[SqlType]) -> Result<Datum> {
    let arguments = behind_role(arguments, 3)?;
    check_privilege(&arguments[2])?;
    let Some(oid) = table(known, &arguments[0])? else { return Ok(Datum::Null) };
    let Some(object) = known.catalog.get(catalog::ObjectId(oid)) else { return Ok(Datum::Bool(true)) };
    Ok(match &arguments[1] {
        Datum::Text(name) if !object.columns.iter().any(|column| column.name == *name) => {
            let message = format!("column \"{name}\" of relation \"{}\" does not exist", object.name);
            return Err(Error::new("42703", message));
        }
        Datum::Int(number) if usize::try_from(*number).is_ok_and(|number| number > object.columns.len()) => Datum::Null,
        _ => Datum::Bool(true),
    })
}

fn on_schema(known: &Known, arguments: &[Datum], _: &[SqlType]) -> Result<Datum> {
    let arguments = behind_role(arguments, 2)?;
    check_privilege(&arguments[1])?;
    let is_there = match &arguments[0] {
        Datum::Text(name) => namespace_named(known, name).map(|_| true)?,
        other => other.oid().is_some_and(|oid| known.namespace_name(oid).is_some()),
    };
    Ok(if is_there { Datum::Bool(true) } else { Datum::Null })
}

fn on_database(_: &Known, arguments: &[Datum], _: &[SqlType]) -> Result<Datum> {
    let arguments = behind_role(arguments, 2)?;
    check_privilege(&arguments[1])?;
    Ok(match &arguments[0] {
        Datum::Text(name) if name != DATABASE => return Err(Error::new("3D000", format!("database \"{name}\" does not exist"))),
        Datum::Int(oid) if *oid != i64::from(oids::DATABASE) => Datum::Null,
        _ => Datum::Bool(true),
    })
}

fn on_anything(_: &Known, arguments: &[Datum], _: &[SqlType]) -> Result<Datum> {
    behind_role(arguments, 2).map(|_| Datum::Bool(true))
}

fn of_role(_: &Known, arguments: &[Datum], _: &[SqlType]) -> Result<Datum> {
    arguments[..arguments.len() - 1].iter().try_for_each(check_role)?;
    Ok(Datum::Bool(true))
}
