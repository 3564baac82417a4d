//! The relations of `pg_catalog` that describe users' objects.

use std::collections::HashMap;
use std::sync::LazyLock;

use catalog::{Definition, Object, SqlType};

use super::known::{
    BuiltIn, Class, Index, Known, OWN, TYPE_OIDS, TYPES, index_name, is_not_null, primary_key, relkind, system_oid, type_oid, view_query,
};
use super::oids::{self, Derived};
use super::table::{RELATIONS, Rows, row};
use super::{csv, statics};

/// Appends a relation's rows; false when it is none of these.
pub fn fill(known: &Known, relation: &str, rows: &mut Rows) -> bool {
    match relation {
        "pg_namespace" => namespaces(known, rows),
        "pg_class" => classes(known, rows),
        "pg_attribute" => attributes(known, rows),
        "pg_attrdef" => defaults(known, rows),
        "pg_type" => types(known, rows),
        "pg_index" => indexes(known, rows),
        "pg_constraint" => constraints(known, rows),
        "pg_rewrite" => rules(known, rows),
        "pg_depend" => dependencies(known, rows),
        "pg_description" => comments(known, rows),
        "pg_proc" => functions(known, rows),
        _ => return false,
    }
    true
}

fn namespaces(known: &Known, rows: &mut Rows) {
    for (name, oid) in [("pg_catalog", oids::PG_CATALOG), ("information_schema", oids::INFORMATION_SCHEMA)] {
        row!(rows, oid: oid, nspname: name, nspowner: oids::ROLE);
    }
    for (name, schema) in &known.catalog.schemas {
        row!(rows, oid: schema.id.0, nspname: name, nspowner: oids::ROLE);
    }
}

fn classes(known: &Known, rows: &mut Rows) {
    for object in known.relations() {
        let kind = relkind(object).expect("relations have a kind");
        let stored = kind != "v";
        let (n_rows, n_bytes) = known.kept(object.id);
        row!(rows,
            oid: object.id.0, relname: &object.name, relnamespace: known.namespace(&object.schema), relowner: oids::ROLE,
            reltype: Derived::RowType.of(object.id), relam: if stored { oids::HEAP } else { 0 },
            relfilenode: if stored { object.id.0 } else { 0 }, relpages: pages(n_bytes), reltuples: if stored { n_rows as i64 } else { -1 },
            relhasindex: known.has_index(object), relpersistence: "p", relkind: kind, relnatts: object.columns.len(),
            relhasrules: view_query(object).is_some(), relispopulated: true, relreplident: if stored { "d" } else { "n" },
        );
    }
    for index in known.indexes() {
        let (n_rows, n_bytes) = known.kept(index.created.unwrap_or(index.table).id);
        row!(rows,
            oid: index.oid(), relname: index.name(), relnamespace: known.namespace(&index.table.schema), relowner: oids::ROLE,
            relam: oids::BTREE, relfilenode: index.oid(), relpages: index.created.map_or(0, |_| pages(n_bytes)),
            reltuples: n_rows as i64, relpersistence: "p", relkind: "i", relnatts: index.columns.len(), relispopulated: true,
            relreplident: "n",
        );
    }
    for relation in RELATIONS.values() {
        let namespace = if relation.schema == "pg_catalog" { oids::PG_CATALOG } else { oids::INFORMATION_SCHEMA };
        row!(rows,
            oid: relation.oid, relname: &relation.name, relnamespace: namespace, relowner: oids::ROLE,
            relam: if relation.kind == "r" { oids::HEAP } else { 0 }, reltuples: -1_i64, relpersistence: "p", relkind: &relation.kind,
            relnatts: relation.columns.len(), relhasrules: relation.kind == "v", relispopulated: true, relreplident: "n",
        );
    }
    for (name, oid) in OWN {
        row!(rows,
            oid: oid, relname: name, relnamespace: known.namespace("thalweg"), relowner: oids::ROLE, reltuples: -1_i64, relpersistence: "p",
            relkind: "v", relispopulated: true, relreplident: "n",
        );
    }
}

/// Pages of 8 KiB, in which Postgres counts.
pub fn pages(n_bytes: u64) -> u64 {
    n_bytes.div_ceil(8192)
}

fn attributes(known: &Known, rows: &mut Rows) {
    for object in known.relations() {
        for place in 0..object.columns.len() {
            attribute_of(object, object.id.0, place, place + 1, rows);
        }
    }
    for index in known.indexes() {
        for (number, place) in index.columns.iter().enumerate() {
            attribute_of(index.table, index.oid(), *place, number + 1, rows);
        }
    }
    for relation in RELATIONS.values() {
        for (place, column) in relation.columns.iter().enumerate() {
            let Some(oid) = TYPE_OIDS.get(column.type_name.as_str()) else { continue };
            let attribute = Attribute { relation: relation.oid, name: &column.name, number: place + 1, type_oid: *oid, typmod: -1 };
            attribute.push(column.not_null, false, rows);
        }
    }
}

fn attribute_of(object: &Object, relation: u32, place: usize, number: usize, rows: &mut Rows) {
    let column = &object.columns[place];
    let attribute =
        Attribute { relation, name: &column.name, number, type_oid: type_oid(&column.sql_type), typmod: column.sql_type.typmod() };
    let is_index = relation != object.id.0;
    attribute.push(!is_index && is_not_null(object, place), !is_index && column.default.is_some(), rows);
}

struct Attribute<'a> {
    relation: u32,
    name: &'a str,
    number: usize,
    type_oid: u32,
    typmod: i32,
}

impl Attribute<'_> {
    fn push(&self, not_null: bool, has_default: bool, rows: &mut Rows) {
        let unknown = || BuiltIn { name: String::new(), namespace: 0, element: 0, storage: ["-1", "f", "i", "x", "0"].map(str::to_owned) };
        let other = unknown();
        let built_in = TYPES.get(&self.type_oid).unwrap_or(&other);
        let [len, by_value, align, storage, collation] = &built_in.storage;
        row!(rows,
            attrelid: self.relation, attname: self.name, atttypid: self.type_oid, attstattarget: -1_i64, attlen: len, attnum: self.number,
            attndims: usize::from(built_in.element != 0), attcacheoff: -1_i64, atttypmod: self.typmod, attbyval: by_value, attalign: align,
            attstorage: storage, attnotnull: not_null, atthasdef: has_default, attislocal: true, attcollation: collation,
        );
    }
}

fn defaults(known: &Known, rows: &mut Rows) {
    for object in known.relations() {
        for (place, column) in object.columns.iter().enumerate() {
            if let Some(default) = &column.default {
                row!(rows, oid: oids::default_of(object.id, place + 1), adrelid: object.id.0, adnum: place + 1, adbin: default);
            }
        }
    }
}

fn types(known: &Known, rows: &mut Rows) {
    for object in known.relations() {
        let (of, array) = (Derived::RowType.of(object.id), Derived::RowArray.of(object.id));
        let namespace = known.namespace(&object.schema);
        row!(rows,
            oid: of, typname: &object.name, typnamespace: namespace, typowner: oids::ROLE, typlen: -1_i64, typtype: "c", typcategory: "C",
            typisdefined: true, typdelim: ",", typrelid: object.id.0, typarray: array, typinput: 2290_u32, typoutput: 2291_u32,
            typreceive: 2402_u32, typsend: 2403_u32, typalign: "d", typstorage: "x", typtypmod: -1_i64,
        );
        row!(rows,
            oid: array, typname: format!("_{}", object.name), typnamespace: namespace, typowner: oids::ROLE, typlen: -1_i64, typtype: "b",
            typcategory: "A", typisdefined: true, typdelim: ",", typelem: of, typsubscript: 6179_u32, typinput: 750_u32,
            typoutput: 751_u32, typreceive: 2400_u32, typsend: 2401_u32, typalign: "d", typstorage: "x", typtypmod: -1_i64,
        );
    }
}

/// The btree operator class that a type's values are ordered by.
fn operator_class(type_oid: u32) -> u32 {
    static CLASSES: LazyLock<HashMap<u32, u32>> = LazyLock::new(|| {
        let columns = ["oid", "opcmethod", "opcintype", "opcdefault"];
        let btree = statics::columns("pg_opclass", &columns).into_iter().filter(|row| row[1] == "403" && row[3] == "t");
        btree.map(|row| (row[2].parse().expect("an oid"), row[0].parse().expect("an oid"))).collect()
    });
    // Character types are ordered as text is, arrays as anyarray.
    let ordered_as = match type_oid {
        1043 => 25,
        other if TYPES.get(&other).is_some_and(|built_in| built_in.element != 0) => 2277,
        other => other,
    };
    CLASSES.get(&ordered_as).copied().unwrap_or(0)
}

fn indexes(known: &Known, rows: &mut Rows) {
    for index in known.indexes() {
        let Index { table, columns, created } = index;
        let of_columns = |value: &dyn Fn(usize) -> String| columns.iter().map(|place| value(*place)).collect::<Vec<_>>().join(" ");
        let type_of = |place: usize| type_oid(&table.columns[place].sql_type);
        row!(rows,
            indexrelid: index.oid(), indrelid: table.id.0, indnatts: columns.len(), indnkeyatts: columns.len(),
            indisunique: created.is_none(), indisprimary: created.is_none(), indimmediate: true, indisvalid: true, indisready: true,
            indislive: true, indkey: of_columns(&|place| (place + 1).to_string()),
            indcollation: of_columns(&|place| TYPES.get(&type_of(place)).map_or("0".to_owned(), |built_in| built_in.storage[4].clone())),
            indclass: of_columns(&|place| operator_class(type_of(place)).to_string()), indoption: of_columns(&|_| "0".to_owned()),
        );
    }
}

fn constraints(known: &Known, rows: &mut Rows) {
    for (object, key) in known.keyed() {
        let numbers: Vec<String> = key.iter().map(|place| (place + 1).to_string()).collect();
        row!(rows,
            oid: Derived::Constraint.of(object.id), conname: index_name(object), connamespace: known.namespace(&object.schema), contype: "p",
            convalidated: true, conrelid: object.id.0, conindid: Derived::Index.of(object.id), confupdtype: " ", confdeltype: " ",
            confmatchtype: " ", conislocal: true, connoinherit: true, conkey: format!("{{{}}}", numbers.join(",")),
        );
    }
}

fn rules(known: &Known, rows: &mut Rows) {
    for object in known.relations().filter(|object| view_query(object).is_some()) {
        row!(rows,
            oid: Derived::Rule.of(object.id), rulename: "_RETURN", ev_class: object.id.0, ev_type: "1", ev_enabled: "O", is_instead: true,
        );
    }
}

/// What stands for what: a rule for its view, which reads relations; an index for its constraint; and so on.
fn dependencies(known: &Known, rows: &mut Rows) {
    let [class, rewrite, constraint, attrdef, row_type, namespace] =
        ["pg_class", "pg_rewrite", "pg_constraint", "pg_attrdef", "pg_type", "pg_namespace"].map(system_oid);
    let mut depend = |(of, id): (u32, u32), (on, on_id, column): (u32, u32, usize), kind: &'static str| {
        row!(rows, classid: of, objid: id, refclassid: on, refobjid: on_id, refobjsubid: column, deptype: kind);
    };
    for object in known.relations() {
        let id = object.id.0;
        if let Some(schema) = known.namespace(&object.schema) {
            depend((class, id), (namespace, schema, 0), "n");
        }
        depend((row_type, Derived::RowType.of(object.id)), (class, id, 0), "i");
        if view_query(object).is_some() {
            let rule = (rewrite, Derived::Rule.of(object.id));
            depend(rule, (class, id, 0), "i");
            for read in object.depends_on.iter().filter(|read| matches!(known.class(read.0), Some(Class::Object(_)))) {
                depend(rule, (class, read.0, 0), "n");
            }
        }
        for (place, _) in object.columns.iter().enumerate().filter(|(_, column)| column.default.is_some()) {
            depend((attrdef, oids::default_of(object.id, place + 1)), (class, id, place + 1), "a");
        }
        for place in primary_key(object) {
            depend((constraint, Derived::Constraint.of(object.id)), (class, id, place + 1), "a");
        }
    }
    for index in known.indexes() {
        match index.created {
            None => depend((class, index.oid()), (constraint, Derived::Constraint.of(index.table.id), 0), "i"),
            Some(_) => index.columns.iter().for_each(|place| depend((class, index.oid()), (class, index.table.id.0, place + 1), "a")),
        }
    }
}

fn comments(known: &Known, rows: &mut Rows) {
    let [class, proc, namespace] = ["pg_class", "pg_proc", "pg_namespace"].map(system_oid);
    for object in known.catalog.objects.values() {
        let of = if matches!(object.definition, Definition::Function { .. }) { proc } else { class };
        if let Some(comment) = &object.comment {
            row!(rows, objoid: object.id.0, classoid: of, description: comment);
        }
        for (place, column) in object.columns.iter().enumerate() {
            if let Some(comment) = &column.comment {
                row!(rows, objoid: object.id.0, classoid: of, objsubid: place + 1, description: comment);
            }
        }
    }
    for schema in known.catalog.schemas.values() {
        if let Some(comment) = &schema.comment {
            row!(rows, objoid: schema.id.0, classoid: namespace, description: comment);
        }
    }
}

fn functions(known: &Known, rows: &mut Rows) {
    for object in known.functions() {
        let Definition::Function { arguments, returns, body } = &object.definition else { continue };
        let types: Vec<String> = arguments.iter().map(|(_, sql_type)| type_oid(sql_type).to_string()).collect();
        row!(rows,
            oid: object.id.0, proname: &object.name, pronamespace: known.namespace(&object.schema), proowner: oids::ROLE, prolang: 14_u32,
            procost: 100_u32, prokind: "f", provolatile: "i", proparallel: "s", pronargs: arguments.len(), prorettype: type_oid(returns),
            proargtypes: types.join(" "), proargnames: argument_names(arguments), prosrc: body,
        );
    }
}

/// As an array of names; null where none has one.
fn argument_names(arguments: &[(String, SqlType)]) -> Option<String> {
    let names: Vec<String> = arguments.iter().map(|(name, _)| format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))).collect();
    arguments.iter().any(|(name, _)| !name.is_empty()).then(|| format!("{{{}}}", names.join(",")))
}

/// `pg_get_keywords()`.
pub fn keywords() -> impl Iterator<Item = Vec<Option<String>>> {
    csv::records(include_str!("../../pg_catalog/keywords.csv"))
}
