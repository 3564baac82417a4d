//! What one statement knows: a version of the catalog, its session, and how names and object ids lead to each other.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use catalog::snapshot::SEARCH_PATH;
use catalog::{Definition, Object, ObjectId, Snapshot, SqlType};
use engine::Engine;

use super::oids::{self, Derived};
use super::session::SessionFacts;
use super::table::{RELATIONS, Relation};
use super::{csv, statics};

/// The catalog and the session of one statement.
pub struct Known {
    /// The version the statement sees.
    pub catalog: Arc<Snapshot>,
    /// For what is counted rather than defined.
    pub engine: Engine,
    /// Who asks.
    pub session: Arc<SessionFacts>,
}

/// A relation by its oid, of whichever kind.
pub enum Class<'a> {
    /// Made by a user.
    Object(&'a Object),
    /// An index.
    Index(Index<'a>),
    /// Of `pg_catalog` or `information_schema`.
    System(&'static Relation),
    /// `thalweg.jobs` or `thalweg.operators`.
    Own(&'static str),
}

/// An index as Postgres sees it: that of a table's primary key, which is the table, or one that was created.
#[derive(Clone, Copy)]
pub struct Index<'a> {
    /// What it is an index of.
    pub table: &'a Object,
    /// Its columns, from 0.
    pub columns: &'a [usize],
    /// The object, of one that was created.
    pub created: Option<&'a Object>,
}

/// A type of PostgreSQL's own, from `pg_type`.
pub struct BuiltIn {
    /// `typname`.
    pub name: String,
    /// `typnamespace`.
    pub namespace: u32,
    /// `typelem` of an array type, otherwise 0.
    pub element: u32,
    /// `typlen`, `typbyval`, `typalign`, `typstorage`, `typcollation`.
    pub storage: [String; 5],
}

/// PostgreSQL's own types by oid.
pub static TYPES: LazyLock<BTreeMap<u32, BuiltIn>> = LazyLock::new(|| {
    let columns = ["oid", "typname", "typnamespace", "typelem", "typlen", "typbyval", "typalign", "typstorage", "typcollation"];
    let types = statics::columns("pg_type", &columns).into_iter().map(|mut row| {
        let storage = row.split_off(4).try_into().expect("five columns are left");
        let number = |place: usize| row[place].parse().expect("an oid");
        // Vectors have elements too, and are no arrays.
        let element = if row[1].starts_with('_') { number(3) } else { 0 };
        (number(0), BuiltIn { name: row[1].clone(), namespace: number(2), element, storage })
    });
    types.collect()
});

/// PostgreSQL's own types by name.
pub static TYPE_OIDS: LazyLock<HashMap<&'static str, u32>> =
    LazyLock::new(|| TYPES.iter().map(|(oid, built_in)| (built_in.name.as_str(), *oid)).collect());

/// PostgreSQL's own functions: name and schema by oid.
pub static FUNCTIONS: LazyLock<BTreeMap<u32, (String, u32)>> = LazyLock::new(|| {
    let rows = statics::columns("pg_proc", &["oid", "proname", "pronamespace"]).into_iter();
    rows.map(|row| (row[0].parse().expect("an oid"), (row[1].clone(), row[2].parse().expect("an oid")))).collect()
});

/// The relations of the schema `thalweg`, which the engine makes.
pub const OWN: [(&str, u32); 2] = [("jobs", oids::JOBS), ("operators", oids::OPERATORS)];

/// The oid of a system relation.
pub fn system_oid(name: &str) -> u32 {
    super::table::find(None, name).map_or(0, |relation| relation.oid)
}

impl Known {
    /// The oid of a schema.
    pub fn namespace(&self, schema: &str) -> Option<u32> {
        match schema {
            "pg_catalog" => Some(oids::PG_CATALOG),
            "information_schema" => Some(oids::INFORMATION_SCHEMA),
            other => self.catalog.schemas.get(other).map(|schema| schema.id.0),
        }
    }

    /// The name of a schema.
    pub fn namespace_name(&self, oid: u32) -> Option<&str> {
        match oid {
            oids::PG_CATALOG => Some("pg_catalog"),
            oids::INFORMATION_SCHEMA => Some("information_schema"),
            other => self.catalog.schemas.iter().find(|(_, schema)| schema.id.0 == other).map(|(name, _)| name.as_str()),
        }
    }

    /// The objects that are relations for Postgres, in the order of their ids.
    pub fn relations(&self) -> impl Iterator<Item = &Object> {
        self.catalog.objects.values().filter(|object| relkind(object).is_some())
    }

    /// The SQL functions of users.
    pub fn functions(&self) -> impl Iterator<Item = &Object> {
        self.catalog.objects.values().filter(|object| matches!(object.definition, Definition::Function { .. }))
    }

    /// The tables with a primary key, and its columns.
    pub fn keyed(&self) -> impl Iterator<Item = (&Object, &[usize])> {
        self.relations().filter_map(|object| match primary_key(object) {
            [] => None,
            key => Some((object, key)),
        })
    }

    /// All indexes.
    pub fn indexes(&self) -> impl Iterator<Item = Index<'_>> {
        let of_keys = self.keyed().map(|(table, columns)| Index { table, columns, created: None });
        of_keys.chain(self.catalog.objects.values().filter_map(|object| self.created_index(object)))
    }

    /// Whether a relation has an index.
    pub fn has_index(&self, object: &Object) -> bool {
        !primary_key(object).is_empty() || self.catalog.indexes_on(object.id).next().is_some()
    }

    fn created_index<'a>(&'a self, object: &'a Object) -> Option<Index<'a>> {
        match &object.definition {
            Definition::Index { on, columns } => Some(Index { table: self.catalog.get(*on)?, columns, created: Some(object) }),
            _ => None,
        }
    }

    /// The relation of this oid.
    pub fn class(&self, oid: u32) -> Option<Class<'_>> {
        let object = |id: ObjectId| self.catalog.get(id);
        if let Some(of) = Derived::Index.object(oid) {
            let of_key = |table| Index { table, columns: primary_key(table), created: None };
            return object(of).map(of_key).filter(|index| !index.columns.is_empty()).map(Class::Index);
        }
        if let Some((name, _)) = OWN.iter().find(|(_, own)| *own == oid) {
            return Some(Class::Own(name));
        }
        match object(ObjectId(oid)) {
            Some(object) => match self.created_index(object) {
                Some(index) => Some(Class::Index(index)),
                None => relkind(object).map(|_| Class::Object(object)),
            },
            None => RELATIONS.values().find(|relation| relation.oid == oid).map(Class::System),
        }
    }

    /// The oid of the relation that a name means.
    pub fn class_oid(&self, schema: Option<&str>, name: &str) -> Option<u32> {
        if let Some(relation) = super::table::find(schema, name) {
            return Some(relation.oid);
        }
        if schema == Some("thalweg") {
            return OWN.iter().find(|(own, _)| *own == name).map(|(_, oid)| *oid);
        }
        let own = self.catalog.resolve(schema, name).filter(|object| relkind(object).is_some()).map(|object| object.id.0);
        own.or_else(|| {
            let mut indexes = self.indexes().filter(|index| match schema {
                Some(schema) => index.table.schema == schema,
                None => SEARCH_PATH.contains(&index.table.schema.as_str()),
            });
            indexes.find(|index| index.name() == name).map(|index| index.oid())
        })
    }

    /// Whether a relation is found by its name alone.
    pub fn is_visible(&self, oid: u32) -> Option<bool> {
        let (_, name) = self.class_name(oid)?;
        Some(self.class_oid(None, &name) == Some(oid))
    }

    /// Schema and name of a relation.
    pub fn class_name(&self, oid: u32) -> Option<(String, String)> {
        Some(match self.class(oid)? {
            Class::Object(object) => (object.schema.clone(), object.name.clone()),
            Class::Index(index) => (index.table.schema.clone(), index.name()),
            Class::System(relation) => (relation.schema.clone(), relation.name.clone()),
            Class::Own(name) => ("thalweg".to_owned(), name.to_owned()),
        })
    }

    /// A name as it must be written to be found: with its schema where it would not be found without.
    pub fn shown_class(&self, oid: u32) -> Option<String> {
        let (schema, name) = self.class_name(oid)?;
        Some(match self.is_visible(oid) {
            Some(true) => quote_ident(&name),
            _ => format!("{}.{}", quote_ident(&schema), quote_ident(&name)),
        })
    }

    /// The rows and bytes that are kept of a relation.
    pub fn kept(&self, id: ObjectId) -> (u64, u64) {
        self.engine.kept(id)
    }
}

impl Index<'_> {
    /// Its oid.
    pub fn oid(&self) -> u32 {
        self.created.map_or_else(|| Derived::Index.of(self.table.id), |index| index.id.0)
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.created.map_or_else(|| index_name(self.table), |index| index.name.clone())
    }
}

/// `pg_class.relkind`; `None` for what is no relation in Postgres.
pub fn relkind(object: &Object) -> Option<&'static str> {
    match object.definition {
        Definition::Stream { .. } | Definition::Table { .. } => Some("r"),
        // Rows that nobody writes: a table would invite to.
        Definition::View { .. } | Definition::Errors { .. } => Some("v"),
        Definition::MaterializedView { .. } => Some("m"),
        // Indexes are beside relations: [`Known::indexes`].
        Definition::Sink { .. } | Definition::Function { .. } | Definition::Index { .. } => None,
    }
}

/// The columns of a table's primary key, from 0.
pub fn primary_key(object: &Object) -> &[usize] {
    match &object.definition {
        Definition::Table { primary_key, .. } => primary_key,
        _ => &[],
    }
}

/// The query of a view.
pub fn view_query(object: &Object) -> Option<&str> {
    match &object.definition {
        Definition::View { query } | Definition::MaterializedView { query, .. } => Some(query),
        _ => None,
    }
}

/// The name that Postgres gives the index and the constraint of a primary key.
pub fn index_name(object: &Object) -> String {
    format!("{}_pkey", object.name)
}

/// Whether a column may hold no null: as declared, or as part of the key.
pub fn is_not_null(object: &Object, column: usize) -> bool {
    !object.columns[column].nullable || primary_key(object).contains(&column)
}

/// The oid of a column's type; text for what Postgres has no type for.
pub fn type_oid(sql_type: &SqlType) -> u32 {
    sql_type.oid()
}

/// A name as SQL reads it back.
pub fn quote_ident(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let is_word = name.chars().all(is_plain) && !name.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty();
    if is_word && !is_reserved(name) { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Whether a word is a keyword that cannot be a name as it is.
fn is_reserved(word: &str) -> bool {
    static RESERVED: LazyLock<std::collections::HashSet<String>> = LazyLock::new(|| {
        let words = csv::records(include_str!("../../pg_catalog/keywords.csv")).skip(1);
        words.filter(|row| row[1].as_deref() != Some("U")).filter_map(|row| row[0].clone()).collect()
    });
    RESERVED.contains(word)
}
