//! `information_schema` over users' relations. What has no counterpart here (triggers, domains, foreign keys, …) has no rows.

use catalog::{Definition, Object, SqlType};

use super::cluster::{DATABASE, ROLE};
use super::known::{Known, index_name, is_not_null, primary_key, relkind, view_query};
use super::table::{RELATIONS, Rows, row};

/// Appends a relation's rows.
pub fn fill(known: &Known, relation: &str, rows: &mut Rows) {
    match relation {
        "information_schema_catalog_name" => row!(rows, catalog_name: DATABASE),
        "schemata" => schemata(known, rows),
        "tables" => tables(known, rows),
        "columns" => columns(known, rows),
        "views" => views(known, rows),
        "view_table_usage" => view_table_usage(known, rows),
        "table_constraints" => table_constraints(known, rows),
        "key_column_usage" => key_column_usage(known, rows),
        "constraint_column_usage" => constraint_column_usage(known, rows),
        "constraint_table_usage" => constraint_table_usage(known, rows),
        "check_constraints" => check_constraints(known, rows),
        "routines" => routines(known, rows),
        "parameters" => parameters(known, rows),
        "character_sets" => character_sets(rows),
        "applicable_roles" | "administrable_role_authorizations" => {}
        "enabled_roles" => row!(rows, role_name: ROLE),
        "table_privileges" | "role_table_grants" => table_privileges(known, rows),
        "column_privileges" | "role_column_grants" => column_privileges(known, rows),
        _ => {}
    }
}

/// The relations the standard knows: materialized views are none of its tables, as in Postgres.
fn standard(known: &Known) -> impl Iterator<Item = &Object> {
    known.relations().filter(|object| relkind(object) != Some("m"))
}

fn is_insertable(object: &Object) -> bool {
    matches!(object.definition, Definition::Stream { .. } | Definition::Table { .. })
}

fn yes(is_so: bool) -> &'static str {
    if is_so { "YES" } else { "NO" }
}

fn schemata(known: &Known, rows: &mut Rows) {
    let own = known.catalog.schemas.keys().map(String::as_str);
    for name in ["pg_catalog", "information_schema"].into_iter().chain(own) {
        row!(rows, catalog_name: DATABASE, schema_name: name, schema_owner: ROLE);
    }
}

fn tables(known: &Known, rows: &mut Rows) {
    let mut push = |schema: &str, name: &str, is_view: bool, is_insertable: bool| {
        row!(rows,
            table_catalog: DATABASE, table_schema: schema, table_name: name, table_type: if is_view { "VIEW" } else { "BASE TABLE" },
            is_insertable_into: yes(is_insertable), is_typed: "NO",
        );
    };
    for object in standard(known) {
        push(&object.schema, &object.name, relkind(object) == Some("v"), is_insertable(object));
    }
    for relation in RELATIONS.values() {
        push(&relation.schema, &relation.name, relation.kind == "v", false);
    }
}

fn columns(known: &Known, rows: &mut Rows) {
    for object in standard(known) {
        for (place, column) in object.columns.iter().enumerate() {
            let of = DataType::of(&column.sql_type);
            row!(rows,
                table_catalog: DATABASE, table_schema: &object.schema, table_name: &object.name, column_name: &column.name,
                ordinal_position: place + 1, column_default: column.default.as_ref(), is_nullable: yes(!is_not_null(object, place)),
                data_type: of.name, character_maximum_length: of.length, character_octet_length: of.octets,
                numeric_precision: of.precision, numeric_precision_radix: of.radix, numeric_scale: of.scale,
                datetime_precision: of.datetime_precision, udt_catalog: DATABASE, udt_schema: "pg_catalog",
                udt_name: column.sql_type.pg().name, dtd_identifier: place + 1, is_self_referencing: "NO", is_identity: "NO",
                identity_cycle: "NO", is_generated: "NEVER", is_updatable: yes(matches!(object.definition, Definition::Table { .. })),
            );
        }
    }
    for relation in RELATIONS.values() {
        for (place, column) in relation.columns.iter().enumerate() {
            row!(rows,
                table_catalog: DATABASE, table_schema: &relation.schema, table_name: &relation.name, column_name: &column.name,
                ordinal_position: place + 1, is_nullable: yes(!column.not_null), data_type: DataType::of(&column.sql_type).name,
                udt_catalog: DATABASE, udt_schema: "pg_catalog", udt_name: column.sql_type.pg().name, dtd_identifier: place + 1,
                is_self_referencing: "NO", is_identity: "NO", identity_cycle: "NO", is_generated: "NEVER", is_updatable: "NO",
            );
        }
    }
}

/// A type as the standard describes it.
struct DataType {
    name: String,
    length: Option<u32>,
    octets: Option<u32>,
    precision: Option<u32>,
    radix: Option<u32>,
    scale: Option<i32>,
    datetime_precision: Option<u32>,
}

/// Bytes of the longest text of unlimited length.
const MAX_OCTETS: u32 = 1 << 30;

impl DataType {
    fn of(sql_type: &SqlType) -> Self {
        let name = match sql_type {
            SqlType::Array(_) => "ARRAY".to_owned(),
            SqlType::Varchar(_) => "character varying".to_owned(),
            SqlType::Char(_) => "character".to_owned(),
            SqlType::Numeric(_) => "numeric".to_owned(),
            SqlType::Struct(_) => "record".to_owned(),
            other => other.to_string(),
        };
        let plain = Self { name, length: None, octets: None, precision: None, radix: None, scale: None, datetime_precision: None };
        let binary = |bits| Self { precision: Some(bits), radix: Some(2), ..Self::of(&SqlType::Boolean) };
        match sql_type {
            SqlType::Varchar(Some(length)) | SqlType::Char(length) => {
                Self { length: Some(*length), octets: Some(length.saturating_mul(4).min(MAX_OCTETS)), ..plain }
            }
            SqlType::Text | SqlType::Varchar(None) => Self { octets: Some(MAX_OCTETS), ..plain },
            SqlType::SmallInt => Self { name: plain.name, scale: Some(0), ..binary(16) },
            SqlType::Integer => Self { name: plain.name, scale: Some(0), ..binary(32) },
            SqlType::BigInt => Self { name: plain.name, scale: Some(0), ..binary(64) },
            SqlType::Real => Self { name: plain.name, ..binary(24) },
            SqlType::Double => Self { name: plain.name, ..binary(53) },
            SqlType::Numeric(Some((precision, scale))) => {
                Self { precision: Some((*precision).into()), radix: Some(10), scale: Some((*scale).into()), ..plain }
            }
            SqlType::Numeric(None) => Self { radix: Some(10), ..plain },
            SqlType::Date => Self { datetime_precision: Some(0), ..plain },
            SqlType::Time | SqlType::Timestamp | SqlType::TimestampTz | SqlType::Interval => Self { datetime_precision: Some(6), ..plain },
            _ => plain,
        }
    }
}

fn views(known: &Known, rows: &mut Rows) {
    for object in standard(known) {
        let Some(query) = view_query(object) else { continue };
        row!(rows,
            table_catalog: DATABASE, table_schema: &object.schema, table_name: &object.name,
            view_definition: super::definitions::view_definition(query), check_option: "NONE", is_updatable: "NO",
            is_insertable_into: "NO", is_trigger_updatable: "NO", is_trigger_deletable: "NO", is_trigger_insertable_into: "NO",
        );
    }
}

fn view_table_usage(known: &Known, rows: &mut Rows) {
    for object in standard(known).filter(|object| view_query(object).is_some()) {
        for read in object.depends_on.iter().filter_map(|id| known.catalog.get(*id)).filter(|read| relkind(read).is_some()) {
            row!(rows,
                view_catalog: DATABASE, view_schema: &object.schema, view_name: &object.name, table_catalog: DATABASE,
                table_schema: &read.schema, table_name: &read.name,
            );
        }
    }
}

/// The name Postgres shows for a column that is declared NOT NULL.
fn not_null_name(known: &Known, object: &Object, place: usize) -> String {
    format!("{}_{}_{}_not_null", known.namespace(&object.schema).unwrap_or(0), object.id, place + 1)
}

/// The columns declared NOT NULL, of the key or not.
fn not_null_columns(known: &Known) -> impl Iterator<Item = (&Object, usize)> {
    let tables = standard(known).filter(|object| relkind(object) == Some("r"));
    tables.flat_map(|object| (0..object.columns.len()).filter(|place| is_not_null(object, *place)).map(move |place| (object, place)))
}

fn table_constraints(known: &Known, rows: &mut Rows) {
    let mut push = |object: &Object, name: String, kind: &'static str| {
        row!(rows,
            constraint_catalog: DATABASE, constraint_schema: &object.schema, constraint_name: name, table_catalog: DATABASE,
            table_schema: &object.schema, table_name: &object.name, constraint_type: kind, is_deferrable: "NO", initially_deferred: "NO",
            enforced: "YES", nulls_distinct: (kind == "PRIMARY KEY").then_some("YES"),
        );
    };
    for (object, _) in known.keyed() {
        push(object, index_name(object), "PRIMARY KEY");
    }
    for (object, place) in not_null_columns(known) {
        push(object, not_null_name(known, object, place), "CHECK");
    }
}

fn check_constraints(known: &Known, rows: &mut Rows) {
    for (object, place) in not_null_columns(known) {
        row!(rows,
            constraint_catalog: DATABASE, constraint_schema: &object.schema, constraint_name: not_null_name(known, object, place),
            check_clause: format!("{} IS NOT NULL", object.columns[place].name),
        );
    }
}

fn key_column_usage(known: &Known, rows: &mut Rows) {
    for (object, key) in known.keyed() {
        for (number, place) in key.iter().enumerate() {
            row!(rows,
                constraint_catalog: DATABASE, constraint_schema: &object.schema, constraint_name: index_name(object),
                table_catalog: DATABASE, table_schema: &object.schema, table_name: &object.name,
                column_name: &object.columns[*place].name, ordinal_position: number + 1,
            );
        }
    }
}

fn constraint_column_usage(known: &Known, rows: &mut Rows) {
    for (object, key) in known.keyed() {
        for place in key {
            row!(rows,
                table_catalog: DATABASE, table_schema: &object.schema, table_name: &object.name,
                column_name: &object.columns[*place].name, constraint_catalog: DATABASE, constraint_schema: &object.schema,
                constraint_name: index_name(object),
            );
        }
    }
}

fn constraint_table_usage(known: &Known, rows: &mut Rows) {
    for (object, _) in known.keyed().filter(|(object, _)| !primary_key(object).is_empty()) {
        row!(rows,
            table_catalog: DATABASE, table_schema: &object.schema, table_name: &object.name, constraint_catalog: DATABASE,
            constraint_schema: &object.schema, constraint_name: index_name(object),
        );
    }
}

fn routines(known: &Known, rows: &mut Rows) {
    for object in known.functions() {
        let Definition::Function { returns, body, .. } = &object.definition else { continue };
        row!(rows,
            specific_catalog: DATABASE, specific_schema: &object.schema, specific_name: specific_name(object), routine_catalog: DATABASE,
            routine_schema: &object.schema, routine_name: &object.name, routine_type: "FUNCTION", data_type: DataType::of(returns).name,
            type_udt_catalog: DATABASE, type_udt_schema: "pg_catalog", type_udt_name: returns.pg().name, dtd_identifier: "0",
            routine_body: "SQL", routine_definition: body, external_language: "SQL", parameter_style: "GENERAL", is_deterministic: "YES",
            sql_data_access: "MODIFIES", is_null_call: "NO", schema_level_routine: "YES", max_dynamic_result_sets: 0_u32,
            security_type: "INVOKER", as_locator: "NO", is_udt_dependent: "NO",
        );
    }
}

fn specific_name(object: &Object) -> String {
    format!("{}_{}", object.name, object.id)
}

fn parameters(known: &Known, rows: &mut Rows) {
    for object in known.functions() {
        let Definition::Function { arguments, .. } = &object.definition else { continue };
        for (place, (name, sql_type)) in arguments.iter().enumerate() {
            row!(rows,
                specific_catalog: DATABASE, specific_schema: &object.schema, specific_name: specific_name(object),
                ordinal_position: place + 1, parameter_mode: "IN", is_result: "NO", as_locator: "NO",
                parameter_name: (!name.is_empty()).then_some(name), data_type: DataType::of(sql_type).name, udt_catalog: DATABASE,
                udt_schema: "pg_catalog", udt_name: sql_type.pg().name, dtd_identifier: place + 1,
            );
        }
    }
}

fn character_sets(rows: &mut Rows) {
    row!(rows,
        character_set_name: "UTF8", character_repertoire: "UCS", form_of_use: "UTF8", default_collate_catalog: DATABASE,
        default_collate_schema: "pg_catalog", default_collate_name: "C",
    );
}

/// What may be done with a relation at all; the one role may do all of it.
fn privileges(object: &Object) -> &'static [&'static str] {
    match object.definition {
        Definition::Table { .. } => &["INSERT", "SELECT", "UPDATE", "DELETE", "TRUNCATE"],
        Definition::Stream { .. } => &["INSERT", "SELECT"],
        _ => &["SELECT"],
    }
}

fn table_privileges(known: &Known, rows: &mut Rows) {
    for object in standard(known) {
        for privilege in privileges(object) {
            row!(rows,
                grantor: ROLE, grantee: ROLE, table_catalog: DATABASE, table_schema: &object.schema, table_name: &object.name,
                privilege_type: *privilege, is_grantable: "YES", with_hierarchy: yes(*privilege == "SELECT"),
            );
        }
    }
}

fn column_privileges(known: &Known, rows: &mut Rows) {
    for object in standard(known) {
        for privilege in privileges(object).iter().filter(|privilege| matches!(**privilege, "INSERT" | "SELECT" | "UPDATE")) {
            for column in &object.columns {
                row!(rows,
                    grantor: ROLE, grantee: ROLE, table_catalog: DATABASE, table_schema: &object.schema, table_name: &object.name,
                    column_name: &column.name, privilege_type: *privilege, is_grantable: "YES",
                );
            }
        }
    }
}
