//! One version of the catalog: all objects and schemas, and the look-ups over them.
//!
//! Relations (streams, tables, views, sinks, errors relations) share one namespace per schema; functions have their own. A
//! snapshot changes only through [`crate::change::apply`].

use std::collections::BTreeMap;
use std::iter;

use serde::{Deserialize, Serialize};

use crate::error::{CatalogError, Result};
use crate::{Definition, Object, ObjectId, ObjectKind};

/// The schema of unqualified names.
pub const PUBLIC: &str = "public";
/// The schema of system relations, which are made by code; nothing can be created in it.
pub const SYSTEM: &str = "thalweg";
/// Where unqualified names are looked for, in this order.
pub const SEARCH_PATH: [&str; 2] = [PUBLIC, SYSTEM];
/// The first id given to an object; Postgres keeps those below for itself.
pub const FIRST_ID: ObjectId = ObjectId(16_384);

/// All objects at one version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Increases by one with each change.
    pub version: u64,
    /// The least id never given to anything. It only grows, so no id is used twice.
    pub next_id: ObjectId,
    /// By name.
    pub schemas: BTreeMap<String, Schema>,
    /// By id.
    pub objects: BTreeMap<ObjectId, Object>,
}

/// A schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// Its id, `pg_namespace.oid`.
    pub id: ObjectId,
    /// COMMENT ON SCHEMA.
    pub comment: Option<String>,
}

impl Default for Snapshot {
    /// The catalog before anything was created: version 0, schemas `public` and `thalweg`.
    fn default() -> Self {
        let schema = |id| Schema { id: ObjectId(id), comment: None };
        let schemas = BTreeMap::from([(PUBLIC.to_owned(), schema(2200)), (SYSTEM.to_owned(), schema(16_383))]);
        Self { version: 0, next_id: FIRST_ID, schemas, objects: BTreeMap::new() }
    }
}

impl Snapshot {
    /// The object with this id.
    pub fn get(&self, id: ObjectId) -> Option<&Object> {
        self.objects.get(&id)
    }

    /// The object with this id, or an error that says it is gone.
    pub fn require(&self, id: ObjectId) -> Result<&Object> {
        self.get(id).ok_or(CatalogError::NoSuchId(id))
    }

    /// The relation of this name.
    pub fn find(&self, schema: &str, name: &str) -> Option<&Object> {
        self.find_in(Namespace::Relations, schema, name)
    }

    /// The function of this name.
    pub fn find_function(&self, schema: &str, name: &str) -> Option<&Object> {
        self.find_in(Namespace::Functions, schema, name)
    }

    pub(crate) fn find_in(&self, namespace: Namespace, schema: &str, name: &str) -> Option<&Object> {
        self.objects.values().find(|object| Namespace::of(object) == namespace && object.schema == schema && object.name == name)
    }

    /// The relation a statement means: in `schema` if it names one, otherwise along [`SEARCH_PATH`].
    pub fn resolve(&self, schema: Option<&str>, name: &str) -> Option<&Object> {
        match schema {
            Some(schema) => self.find(schema, name),
            None => SEARCH_PATH.iter().find_map(|schema| self.find(schema, name)),
        }
    }

    /// As [`Self::resolve`], with Postgres's error where there is none.
    pub fn resolve_or_fail(&self, schema: Option<&str>, name: &str) -> Result<&Object> {
        self.resolve(schema, name).ok_or_else(|| match schema {
            Some(schema) if !self.schemas.contains_key(schema) => CatalogError::NotFound { what: "schema", name: schema.to_owned() },
            Some(schema) => CatalogError::NotFound { what: "relation", name: format!("{schema}.{name}") },
            None => CatalogError::NotFound { what: "relation", name: name.to_owned() },
        })
    }

    /// The function a statement means, as [`Self::resolve`].
    pub fn resolve_function(&self, schema: Option<&str>, name: &str) -> Option<&Object> {
        match schema {
            Some(schema) => self.find_function(schema, name),
            None => SEARCH_PATH.iter().find_map(|schema| self.find_function(schema, name)),
        }
    }

    /// Ids for objects to be created, from [`Self::next_id`] upwards. They are taken once a change with them is applied.
    pub fn free_ids(&self) -> impl Iterator<Item = ObjectId> + use<> {
        iter::successors(Some(self.next_id), |id| Some(id.next()))
    }

    /// What reads `id` directly, in the order of ids.
    pub fn dependents(&self, id: ObjectId) -> Vec<ObjectId> {
        self.objects.values().filter(|object| object.depends_on.contains(&id)).map(|object| object.id).collect()
    }

    /// The indexes of a relation with the columns that they are by, in the order of ids.
    pub fn indexes_on(&self, relation: ObjectId) -> impl Iterator<Item = (&Object, &[usize])> {
        self.objects.values().filter_map(move |object| match &object.definition {
            Definition::Index { on, columns } if *on == relation => Some((object, columns.as_slice())),
            _ => None,
        })
    }

    /// The objects of a schema, in the order of ids.
    pub fn objects_in<'a>(&'a self, schema: &'a str) -> impl Iterator<Item = &'a Object> + 'a {
        self.objects.values().filter(move |object| object.schema == schema)
    }
}

/// What a name must be unique among, in its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Namespace {
    Relations,
    Functions,
}

impl Namespace {
    pub(crate) fn of(object: &Object) -> Self {
        match object.definition {
            Definition::Function { .. } => Self::Functions,
            _ => Self::Relations,
        }
    }

    /// What its members are called in errors.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Relations => "relation",
            Self::Functions => "function",
        }
    }
}

impl ObjectKind {
    /// As in statements and errors, in lower case: `materialized view`.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Schema => "schema",
            Self::Stream => "stream",
            Self::Table => "table",
            Self::View => "view",
            Self::MaterializedView => "materialized view",
            Self::Sink => "sink",
            Self::Function => "function",
            Self::Index => "index",
            Self::Errors => "errors relation",
        }
    }
}

impl Object {
    /// Kind and name for errors: `stream bid`; the schema is shown unless it is `public`.
    pub fn described(&self) -> String {
        match self.schema.as_str() {
            PUBLIC => format!("{} {}", self.kind().noun(), self.name),
            schema => format!("{} {schema}.{}", self.kind().noun(), self.name),
        }
    }

    /// The id of its errors relation, where it has one.
    pub fn errors(&self) -> Option<ObjectId> {
        match self.definition {
            Definition::Stream { errors, .. } | Definition::MaterializedView { errors, .. } | Definition::Sink { errors, .. } => {
                Some(errors)
            }
            _ => None,
        }
    }
}
