//! `pg_catalog` and `information_schema`: what psql, drivers and BI tools ask a Postgres about itself.
//!
//! - [`table`]: the relations there are, with the columns of PostgreSQL 15; [`statics`]: the rows that never change. Both are read
//!   from `server/pg_catalog/*.csv`, which a script takes from a PostgreSQL ([`csv`] reads them).
//! - [`known`]: what one statement knows; [`oids`]: which object has which oid.
//! - [`objects`], [`listings`], [`cluster`], [`information_schema`]: the rows that do change.
//! - [`functions`]: those that look into the catalog; [`definitions`]: objects as SQL.
//! - [`session`]: who asks.
//!
//! Guaranteed: all a statement reads comes from one version of the catalog, and an object's oids stay the same for ever. A
//! relation that has no counterpart here is empty, as it is in a PostgreSQL that does not use it.

pub mod cluster;
pub mod csv;
pub mod definitions;
pub mod functions;
pub mod information_schema;
pub mod known;
pub mod listings;
pub mod objects;
pub mod oids;
pub mod session;
pub mod statics;
pub mod table;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use catalog::Snapshot;
use engine::Engine;
use engine::plan::system::{SystemFunction, SystemSchemas};

use self::known::Known;
use self::session::SessionFacts;
use self::table::{Relation, Rows};

/// The system schemas as one statement sees them.
pub struct PgCatalog {
    engine: Engine,
    session: Arc<SessionFacts>,
    /// What was computed for this statement, by version of the catalog, schema and name.
    relations: Mutex<HashMap<(u64, String, String), RecordBatch>>,
}

impl PgCatalog {
    /// For one statement of a session.
    pub fn new(engine: Engine, session: Arc<SessionFacts>) -> Self {
        Self { engine, session, relations: Mutex::default() }
    }

    fn known(&self, catalog: &Arc<Snapshot>) -> Known {
        Known { catalog: Arc::clone(catalog), engine: self.engine.clone(), session: Arc::clone(&self.session) }
    }
}

impl SystemSchemas for PgCatalog {
    fn relation(&self, catalog: &Arc<Snapshot>, schema: Option<&str>, name: &str) -> Option<RecordBatch> {
        let relation = table::find(schema, name)?;
        let key = (catalog.version, relation.schema.clone(), relation.name.clone());
        let mut relations = self.relations.lock().expect("nothing panics while holding the relations");
        Some(relations.entry(key).or_insert_with(|| rows(&self.known(catalog), relation)).clone())
    }

    fn function(&self, catalog: &Arc<Snapshot>, name: &str) -> Option<Arc<dyn SystemFunction>> {
        functions::find(&Arc::new(self.known(catalog)), name)
    }

    fn table_function(&self, name: &str, n_arguments: usize) -> Option<RecordBatch> {
        match (name, n_arguments) {
            ("pg_get_keywords", 0) => Some(keywords()),
            ("pg_show_all_settings", 0) => self.relation(&self.engine.catalog(), Some("pg_catalog"), "pg_settings"),
            _ => None,
        }
    }
}

/// A relation's rows.
fn rows(known: &Known, relation: &'static Relation) -> RecordBatch {
    let mut rows = Rows::of(relation);
    let name = relation.name.as_str();
    if relation.schema == "information_schema" {
        information_schema::fill(known, name, &mut rows);
        return rows.finish();
    }
    if let Some(file) = statics::file(name) {
        rows.assume(statics::same_in_all_rows());
        rows.push_records(csv::records(file));
        rows = rows.without_assumptions();
    }
    let _ = objects::fill(known, name, &mut rows) || listings::fill(known, name, &mut rows) || cluster::fill(known, name, &mut rows);
    rows.finish()
}

fn keywords() -> RecordBatch {
    let mut records = objects::keywords();
    let head = records.next().unwrap_or_default();
    let fields: Vec<Field> = head.iter().flatten().map(|name| Field::new(name, DataType::Utf8, true)).collect();
    let mut columns: Vec<Vec<Option<String>>> = vec![Vec::new(); fields.len()];
    for record in records {
        record.into_iter().zip(&mut columns).for_each(|(value, column)| column.push(value));
    }
    let arrays = columns.into_iter().map(|column| Arc::new(StringArray::from(column)) as _).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("each column has a cell per keyword")
}
