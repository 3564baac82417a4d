//! A view's query in batch, in this process: the copies of the inputs as tables in memory, the view's text planned by the
//! engine's planner, run by DataFusion once from the beginning. No operator, spine or epoch of the engine takes part.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use catalog::{Definition, Object, ObjectId, Snapshot};
use datafusion::datasource::{MemTable, TableProvider};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::sql::sqlparser::ast;
use engine::clock::Clock;
use engine::decode::column::ColumnBuffer;
use engine::plan::inline::{SqlFunction, inline_functions};
use engine::plan::parse::parse_query;
use engine::plan::query::Planner;
use engine::plan::relation::{Relation, RelationProvider};
use engine::plan::session::Session;
use futures::TryStreamExt;
use server::encode::column::{Column, Style};

use super::Rows;
use crate::connection::Table;

/// What a query may keep.
const N_BYTES: usize = 2 << 30;

/// The copies of the streams and tables.
pub type Inputs = HashMap<ObjectId, Arc<dyn TableProvider>>;

/// Runs queries.
pub struct Batch {
    session: Session,
}

/// What names mean in a view's query: views are expanded, everything else is an input.
struct Names<'a> {
    catalog: &'a Snapshot,
    queries: &'a BTreeMap<ObjectId, &'a str>,
    /// Where a view has a copy, its query is not looked at.
    inputs: &'a Inputs,
}

impl Batch {
    /// A session as the server has it, but for one partition: rows come in one order.
    pub fn new() -> Self {
        let environment = RuntimeEnvBuilder::new().with_memory_limit(N_BYTES, 1.0).build_arc().expect("a pool needs nothing from outside");
        Self { session: Session::new(1, environment).expect("a session needs nothing from outside") }
    }

    /// The rows of a view's query, as text and sorted.
    pub async fn run(
        &self,
        catalog: &Snapshot,
        inputs: &Inputs,
        queries: &BTreeMap<ObjectId, &str>,
        view: ObjectId,
    ) -> Result<Rows, String> {
        let told = |error: engine::Error| error.to_string();
        let names = Names { catalog, queries, inputs };
        let object = catalog.get(view).ok_or("the view is not in the catalog")?;
        let query = names.query(queries[&view]).map_err(told)?;
        let planned = Planner::new(&self.session, &names, Clock::System.now_us()).view(&query, &column_names(object)).map_err(told)?;
        let batches: Vec<RecordBatch> =
            planned.execute(inputs).await.map_err(told)?.try_collect().await.map_err(|error| error.to_string())?;
        let mut rows = Rows::new();
        for batch in &batches {
            rows.extend(texts(batch).map_err(told)?);
        }
        rows.sort();
        Ok(rows)
    }
}

/// A stream's or table's rows, from text to the types it was declared with.
pub fn copy(object: &Object, rows: &Table) -> Result<Arc<dyn TableProvider>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("the rows of {} cannot be read back: {error}", object.name);
    let mut buffers: Vec<ColumnBuffer> =
        object.columns.iter().map(|column| ColumnBuffer::of_type(&column.name, &column.sql_type, true)).collect();
    for row in &rows.rows {
        for (buffer, cell) in buffers.iter_mut().zip(row) {
            let appended = match cell {
                Some(text) => buffer.append_text(text),
                None => buffer.append_null(),
            };
            appended.map_err(|error| wrong(&error))?;
        }
    }
    let schema = schema(object);
    let columns = buffers.iter_mut().map(ColumnBuffer::finish).collect();
    let batch = RecordBatch::try_new(schema.clone(), columns).map_err(|error| wrong(&error))?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]]).map_err(|error| wrong(&error))?))
}

fn schema(object: &Object) -> SchemaRef {
    Arc::new(Schema::new(object.columns.iter().map(|column| column.sql_type.field(&column.name, true)).collect::<Vec<_>>()))
}

fn column_names(object: &Object) -> Vec<String> {
    object.columns.iter().map(|column| column.name.clone()).collect()
}

fn texts(batch: &RecordBatch) -> Result<Rows, engine::Error> {
    let columns = Column::of_batch(batch, &Style::default())?;
    let cell = |column: &Column, row: usize| {
        let mut text = Vec::new();
        (!column.is_null(row)).then(|| {
            column.write_text(&mut text, row);
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    Ok((0..batch.num_rows()).map(|row| columns.iter().map(|column| cell(column, row)).collect()).collect())
}

impl Names<'_> {
    /// A query with the bodies of SQL functions in the place of their calls.
    fn query(&self, sql: &str) -> Result<Box<ast::Query>, engine::Error> {
        let mut query = parse_query(sql)?;
        inline_functions(&mut query, &|name| self.function(name))?;
        Ok(query)
    }

    fn function(&self, name: &str) -> Option<SqlFunction> {
        let object = self.catalog.resolve_function(None, name)?;
        let Definition::Function { arguments, returns, body } = &object.definition else { return None };
        Some(SqlFunction { arguments: arguments.clone(), returns: returns.clone(), body: body.clone() })
    }
}

impl RelationProvider for Names<'_> {
    fn resolve(&self, schema: Option<&str>, name: &str) -> Option<Relation> {
        let object = self.catalog.resolve(schema, name)?;
        let query = match &object.definition {
            Definition::MaterializedView { .. } if self.inputs.contains_key(&object.id) => {
                return Some(Relation::Stored { id: object.id, schema: self::schema(object), append_only: false });
            }
            Definition::MaterializedView { .. } => self.queries.get(&object.id).copied()?,
            Definition::View { query } => query,
            Definition::Sink { .. } | Definition::Function { .. } | Definition::Index { .. } => return None,
            _ => return Some(Relation::Stored { id: object.id, schema: self::schema(object), append_only: false }),
        };
        Some(Relation::View { query: self.query(query).ok()?, columns: column_names(object), is_materialized: false })
    }
}
