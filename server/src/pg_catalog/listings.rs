//! The views of `pg_catalog` over its own tables: `pg_tables`, `pg_views`, `pg_matviews`, `pg_indexes`, `pg_stat_user_tables`, …

use super::cluster::ROLE;
use super::definitions::{index_definition, view_definition};
use super::known::{Index, Known, relkind, view_query};
use super::table::{RELATIONS, Rows, row};

/// Appends a relation's rows; false when it is none of these.
pub fn fill(known: &Known, relation: &str, rows: &mut Rows) -> bool {
    match relation {
        "pg_tables" => tables(known, rows),
        "pg_views" | "pg_matviews" => views(known, relation == "pg_matviews", rows),
        "pg_indexes" => indexes(known, rows),
        "pg_stat_user_tables" | "pg_stat_all_tables" | "pg_statio_user_tables" => table_statistics(known, relation, rows),
        "pg_stat_user_indexes" | "pg_stat_all_indexes" | "pg_statio_user_indexes" => index_statistics(known, rows),
        _ => return false,
    }
    true
}

fn tables(known: &Known, rows: &mut Rows) {
    for object in known.relations().filter(|object| relkind(object) == Some("r")) {
        row!(rows,
            schemaname: &object.schema, tablename: &object.name, tableowner: ROLE, hasindexes: known.has_index(object),
            hasrules: false, hastriggers: false, rowsecurity: false,
        );
    }
    for relation in RELATIONS.values().filter(|relation| relation.kind == "r") {
        row!(rows,
            schemaname: &relation.schema, tablename: &relation.name, tableowner: ROLE, hasindexes: false, hasrules: false,
            hastriggers: false, rowsecurity: false,
        );
    }
}

fn views(known: &Known, materialized: bool, rows: &mut Rows) {
    let kind = if materialized { "m" } else { "v" };
    for object in known.relations().filter(|object| relkind(object) == Some(kind)) {
        let definition = view_query(object).map(view_definition);
        match materialized {
            true => row!(rows,
                schemaname: &object.schema, matviewname: &object.name, matviewowner: ROLE, hasindexes: known.has_index(object), ispopulated: true,
                definition: definition,
            ),
            false => row!(rows, schemaname: &object.schema, viewname: &object.name, viewowner: ROLE, definition: definition),
        }
    }
    for relation in RELATIONS.values().filter(|relation| !materialized && relation.kind == "v") {
        row!(rows, schemaname: &relation.schema, viewname: &relation.name, viewowner: ROLE);
    }
}

fn indexes(known: &Known, rows: &mut Rows) {
    for index in known.indexes() {
        let Index { table, .. } = index;
        row!(rows, schemaname: &table.schema, tablename: &table.name, indexname: index.name(), indexdef: index_definition(&index));
    }
}

fn table_statistics(known: &Known, relation: &str, rows: &mut Rows) {
    for object in known.relations().filter(|object| relkind(object) != Some("v")) {
        match relation {
            "pg_statio_user_tables" => row!(rows, relid: object.id.0, schemaname: &object.schema, relname: &object.name),
            _ => row!(rows, relid: object.id.0, schemaname: &object.schema, relname: &object.name, n_live_tup: known.kept(object.id).0),
        }
    }
}

fn index_statistics(known: &Known, rows: &mut Rows) {
    for index in known.indexes() {
        let Index { table, .. } = index;
        row!(rows,
            relid: table.id.0, indexrelid: index.oid(), schemaname: &table.schema, relname: &table.name, indexrelname: index.name(),
        );
    }
}
