//! Objects as SQL, as comments and as sizes: `pg_get_viewdef()`, `obj_description()`, `pg_relation_size()`, …

use catalog::{Definition, Object, ObjectId, SqlType};
use engine::Result;

use super::datum::Datum;
use super::references::class_named;
use super::{Make, Returns, entry};
use crate::pg_catalog::cluster::ROLE;
use crate::pg_catalog::definitions::{
    constraint_definition, function_arguments, index_definition, index_part, view_definition, visible_index_definition,
};
use crate::pg_catalog::known::{Class, Index, Known, quote_ident, system_oid, view_query};
use crate::pg_catalog::oids::{self, Derived};
use crate::pg_catalog::statics;

pub(super) const ENTRIES: &[Make] = &[
    || entry("format_type", (2, 2), Returns::Text, format_type).with_nulls(),
    || entry("pg_get_userbyid", (1, 1), Returns::Name, user_by_id),
    || entry("pg_get_viewdef", (1, 2), Returns::Text, view),
    || entry("pg_get_ruledef", (1, 2), Returns::Text, rule),
    || entry("pg_get_indexdef", (1, 3), Returns::Text, index),
    || entry("pg_get_constraintdef", (1, 2), Returns::Text, constraint),
    // Expressions are stored as their text.
    || entry("pg_get_expr", (2, 3), Returns::Text, |_, values, _| Ok(values[0].clone())),
    || entry("pg_get_functiondef", (1, 1), Returns::Text, function),
    || entry("pg_get_function_arguments", (1, 1), Returns::Text, arguments),
    || entry("pg_get_function_identity_arguments", (1, 1), Returns::Text, arguments),
    || entry("pg_get_function_result", (1, 1), Returns::Text, result),
    || entry("pg_get_function_sqlbody", (1, 1), Returns::Text, nothing),
    || entry("pg_get_function_arg_default", (2, 2), Returns::Text, nothing),
    || entry("pg_get_triggerdef", (1, 2), Returns::Text, nothing),
    || entry("pg_get_partkeydef", (1, 1), Returns::Text, nothing),
    || entry("pg_get_partition_constraintdef", (1, 1), Returns::Text, nothing),
    || entry("pg_get_statisticsobjdef", (1, 1), Returns::Text, nothing),
    || entry("pg_get_statisticsobjdef_columns", (1, 1), Returns::Text, nothing),
    || entry("pg_get_serial_sequence", (2, 2), Returns::Text, nothing),
    || entry("obj_description", (1, 2), Returns::Text, object_comment),
    || entry("col_description", (2, 2), Returns::Text, column_comment),
    || entry("shobj_description", (2, 2), Returns::Text, nothing),
    || entry("pg_relation_size", (1, 2), Returns::BigInt, relation_size),
    || entry("pg_table_size", (1, 1), Returns::BigInt, relation_size),
    || entry("pg_total_relation_size", (1, 1), Returns::BigInt, total_size),
    || entry("pg_indexes_size", (1, 1), Returns::BigInt, indexes_size),
    || entry("pg_database_size", (1, 1), Returns::BigInt, database_size),
    || entry("pg_tablespace_location", (1, 1), Returns::Text, |_, _, _| Ok(Datum::Text(String::new()))),
    || entry("pg_size_pretty", (1, 1), Returns::Text, size_pretty),
    || entry("pg_relation_filenode", (1, 1), Returns::System(catalog::types::SystemType::Oid), |_, values, _| Ok(values[0].clone())),
    || entry("pg_relation_is_publishable", (1, 1), Returns::Bool, |_, _, _| Ok(Datum::Bool(false))),
    || entry("pg_relation_is_updatable", (2, 2), Returns::Int, |_, _, _| Ok(Datum::Int(0))),
    || entry("pg_stat_get_numscans", (1, 1), Returns::BigInt, |_, _, _| Ok(Datum::Int(0))),
    || entry("_pg_char_max_length", (2, 2), Returns::Int, char_max_length).with_nulls(),
    || entry("_pg_numeric_precision", (2, 2), Returns::Int, numeric_precision).with_nulls(),
    || entry("_pg_numeric_scale", (2, 2), Returns::Int, numeric_scale).with_nulls(),
];

fn nothing(_: &Known, _: &[Datum], _: &[SqlType]) -> Result<Datum> {
    Ok(Datum::Null)
}

fn format_type(known: &Known, values: &[Datum], _: &[SqlType]) -> Result<Datum> {
    Ok(values[0].oid().and_then(|oid| known.format_type(oid, values[1].int())).into())
}

fn user_by_id(_: &Known, values: &[Datum], _: &[SqlType]) -> Result<Datum> {
    Ok(Datum::Text(match values[0].oid() {
        Some(oids::ROLE) => ROLE.to_owned(),
        other => format!("unknown (OID={})", other.unwrap_or(0)),
    }))
}

/// The relation that the first argument names or numbers.
fn class<'a>(known: &'a Known, value: &Datum) -> Result<Option<Class<'a>>> {
    let oid = match value {
        Datum::Text(name) if value.oid().is_none() => Some(class_named(known, name)?),
        other => other.oid(),
    };
    Ok(oid.and_then(|oid| known.class(oid)))
}

fn view(known: &Known, values: &[Datum], _: &[SqlType]) -> Result<Datum> {
    Ok(match class(known, &values[0])? {
        Some(Class::Object(object)) => view_query(object).map(view_definition).into(),
        _ => Datum::Null,
    })
}

fn rule(known: &Known, values: &[Datum], _: &[SqlType]) -> Result<Datum> {
    let object = values[0].oid().and_then(|oid| Derived::Rule.object(oid)).and_then(|id| known.catalog.get(id));
    let shown = |object: &Object| {
        let view = format!("{}.{}", quote_ident(&object.schema), quote_ident(&object.name));
        view_query(object).map(|query| format!("CREATE RULE \"_RETURN\" AS ON SELECT TO {view} DO INSTEAD {}", view_definition(query)))
    };
    Ok(object.and_then(shown).into())
}

fn index(known: &Known, values: &[Datum], _: &[SqlType]) -> Result<Datum> {
    Ok(match class(known, &values[0])? {
        Some(Class::Index(index)) => match values.get(1) {
            Some(number) if number.int() != Some(0) => index_part(&index, number.int().unwrap_or(0)).into(),
            Some(_) if values.get(2).is_some_and(Datum::is_true) => {
                let is_visible = known.is_visible(index.table.id.0) == Some(true);
                Datum::Text(if is_visible { visible_index_definition(&index) } else { index_definition(&index) })
            }
            _ => Datum::Text(index_definition(&index)),
        },
        _ => Datum::Null,
    })
}

fn constraint(known: &Known, values: &[Datum], _: &[SqlType]) -> Result<Datum> {
    let table = values[0].oid().and_then(|oid| Derived::Constraint.object(oid)).and_then(|id| known.catalog.get(id));
    Ok(table.map(constraint_definition).into())
}

fn sql_function<'a>(known: &'a Known, value: &Datum) -> Option<&'a Object> {
    let object = known.catalog.get(ObjectId(value.oid()?))?;
    matches!(object.definition, Definition::Function { .. }).then_some(object)
}

fn function(known: &Known, values: &[Datum], _: &[SqlType]) -> Result<Datum> {
    Ok(sql_function(known, &values[0]).map(|object| object.create_sql.clone()).into())
}

/// What PostgreSQL's own functions take and return: types and names by column.
fn built_in(known: &Known, value: &Datum, column: &str) -> Option<String> {
    let oid = value.oid()?.to_string();
    let columns = ["oid", column, "proargnames", "proargmodes", "proallargtypes", "proretset", "provariadic"];
    let row = built_in_row(&oid, &columns)?;
    if column == "prorettype" {
        let name = known.format_type(row[1].parse().ok()?, None)?;
        return Some(if row[5] == "t" { format!("SETOF {name}") } else { name });
    }
    let all = if row[4].is_empty() { &row[1] } else { &row[4] };
    let types = crate::pg_catalog::table::items(all);
    let (names, modes) = (crate::pg_catalog::table::items(&row[2]), crate::pg_catalog::table::items(&row[3]));
    let shown = types.iter().enumerate().filter_map(|(place, of)| {
        let name = known.format_type(of.as_deref()?.parse().ok()?, None)?;
        let mode = match modes.get(place).and_then(Option::as_deref) {
            Some("o") => "OUT ",
            Some("b") => "INOUT ",
            Some("v") => "VARIADIC ",
            Some("t") => return None,
            _ => "",
        };
        let argument = match names.get(place).and_then(Option::as_deref) {
            Some(argument) if !argument.is_empty() => format!("{} ", quote_ident(argument)),
            _ => String::new(),
        };
        Some(format!("{mode}{argument}{name}"))
    });
    Some(shown.collect::<Vec<_>>().join(", "))
}

fn built_in_row(oid: &str, columns: &[&str]) -> Option<Vec<String>> {
    statics::row_of_function(oid, columns)
}

fn arguments(known: &Known, values: &[Datum], _: &[SqlType]) -> Result<Datum> {
    let own = sql_function(known, &values[0]).map(function_arguments);
    Ok(own.or_else(|| built_in(known, &values[0], "proargtypes")).into())
}

fn result(known: &Known, values: &[Datum], _: &[SqlType]) -> Result<Datum> {
    let own = sql_function(known, &values[0]).and_then(|object| match &object.definition {
        Definition::Function { returns, .. } => Some(returns.to_string()),
        _ => None,
    });
    Ok(own.or_else(|| built_in(known, &values[0], "prorettype")).into())
}

/// A comment of the catalog that the second argument names, or of any.
fn object_comment(known: &Known, values: &[Datum], _: &[SqlType]) -> Result<Datum> {
    let Some(oid) = values[0].oid() else { return Ok(Datum::Null) };
    let of = values.get(1).and_then(Datum::text);
    let own = known.catalog.get(ObjectId(oid)).filter(|object| {
        let is_function = matches!(object.definition, Definition::Function { .. });
        of.is_none_or(|of| of == if is_function { "pg_proc" } else { "pg_class" })
    });
    if let Some(comment) = own.and_then(|object| object.comment.clone()) {
        return Ok(Datum::Text(comment));
    }
    let schema = known.catalog.schemas.values().find(|schema| schema.id.0 == oid && of.is_none_or(|of| of == "pg_namespace"));
    if let Some(comment) = schema.and_then(|schema| schema.comment.clone()) {
        return Ok(Datum::Text(comment));
    }
    Ok(statics::description(oid, of.map(system_oid)).map(str::to_owned).into())
}

fn column_comment(known: &Known, values: &[Datum], _: &[SqlType]) -> Result<Datum> {
    let place = values[1].int().and_then(|number| usize::try_from(number - 1).ok());
    let object = values[0].oid().and_then(|oid| known.catalog.get(ObjectId(oid)));
    let column = object.and_then(|object| object.columns.get(place?));
    Ok(column.and_then(|column| column.comment.clone()).into())
}

/// The bytes that are kept of a relation. That of a primary key keeps none of its own.
fn relation_size(known: &Known, values: &[Datum], _: &[SqlType]) -> Result<Datum> {
    Ok(match class(known, &values[0])? {
        Some(Class::Object(object)) => Datum::Int(known.kept(object.id).1 as i64),
        Some(Class::Index(Index { created: Some(index), .. })) => Datum::Int(known.kept(index.id).1 as i64),
        Some(_) => Datum::Int(0),
        None => Datum::Null,
    })
}

/// The bytes that the indexes on a relation keep.
fn indexes_size(known: &Known, values: &[Datum], _: &[SqlType]) -> Result<Datum> {
    Ok(match class(known, &values[0])? {
        Some(Class::Object(object)) => {
            Datum::Int(known.catalog.indexes_on(object.id).map(|(index, _)| known.kept(index.id).1 as i64).sum())
        }
        Some(_) => Datum::Int(0),
        None => Datum::Null,
    })
}

fn total_size(known: &Known, values: &[Datum], types: &[SqlType]) -> Result<Datum> {
    Ok(match (relation_size(known, values, types)?, indexes_size(known, values, types)?) {
        (Datum::Int(own), Datum::Int(of_indexes)) => Datum::Int(own + of_indexes),
        (own, _) => own,
    })
}

fn database_size(known: &Known, _: &[Datum], _: &[SqlType]) -> Result<Datum> {
    let of_indexes = known.indexes().filter_map(|index| index.created);
    Ok(Datum::Int(known.relations().chain(of_indexes).map(|object| known.kept(object.id).1 as i64).sum()))
}

fn size_pretty(_: &Known, values: &[Datum], _: &[SqlType]) -> Result<Datum> {
    let Some(n_bytes) = values[0].int() else { return Ok(Datum::Null) };
    Ok(Datum::Text(pretty(n_bytes)))
}

/// As Postgres: ten times the next unit is needed before it is used; halves are rounded up.
fn pretty(n_bytes: i64) -> String {
    const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    if n_bytes.abs() < 10 * 1024 {
        return format!("{n_bytes} bytes");
    }
    // Counted in halves of a unit, so that the last bit rounds.
    let mut halves = n_bytes >> 9;
    for unit in &UNITS[1..] {
        if halves.abs() < 20 * 1024 - 1 || *unit == UNITS[5] {
            return format!("{} {unit}", (halves + halves.signum()) / 2);
        }
        halves >>= 10;
    }
    unreachable!("the last unit takes everything")
}

fn typmod_of(values: &[Datum]) -> (Option<u32>, i64) {
    (values[0].oid(), values[1].int().unwrap_or(-1))
}

fn char_max_length(_: &Known, values: &[Datum], _: &[SqlType]) -> Result<Datum> {
    Ok(match typmod_of(values) {
        (Some(1042 | 1043), typmod) if typmod >= 4 => Datum::Int(typmod - 4),
        _ => Datum::Null,
    })
}

fn numeric_precision(_: &Known, values: &[Datum], _: &[SqlType]) -> Result<Datum> {
    Ok(match typmod_of(values) {
        (Some(21), _) => Datum::Int(16),
        (Some(23), _) => Datum::Int(32),
        (Some(20), _) => Datum::Int(64),
        (Some(700), _) => Datum::Int(24),
        (Some(701), _) => Datum::Int(53),
        (Some(1700), typmod) if typmod >= 4 => Datum::Int((typmod - 4) >> 16),
        _ => Datum::Null,
    })
}

fn numeric_scale(_: &Known, values: &[Datum], _: &[SqlType]) -> Result<Datum> {
    Ok(match typmod_of(values) {
        (Some(20 | 21 | 23), _) => Datum::Int(0),
        (Some(1700), typmod) if typmod >= 4 => Datum::Int((typmod - 4) & 0x7ff),
        _ => Datum::Null,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shown_as_postgres_shows_them() {
        let shown = [0, 10_239, 10_240, 10_484_735, 20_970_495, 1 << 40, -20_970_496].map(pretty);
        assert_eq!(shown, ["0 bytes", "10239 bytes", "10 kB", "10239 kB", "20 MB", "1024 GB", "-20 MB"]);
    }
}
