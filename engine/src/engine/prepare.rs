//! What a statement is before it runs: the types of its parameters and the columns of its rows, found by planning alone.
//!
//! Guaranteed: nothing is read, written or waited for. Not guaranteed: that the statement still means the same when it runs;
//! who runs it plans it again, against the catalog of that time.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use catalog::SqlType;
use datafusion::sql::sqlparser::ast;

use super::{Core, Engine};
use crate::Result;
use crate::plan::parameters::{self, Bound, Inference};
use crate::plan::query::Planner;
use crate::plan::statement::{CopySource, Name, Parsed, Statement};
use crate::sequencer::relation::schema_of;

/// A statement as it can be described before it runs.
#[derive(Debug, Clone)]
pub struct Described {
    /// The types of `$1`, `$2`, …
    pub parameters: Vec<SqlType>,
    /// The columns of its rows; `None` when it has none.
    pub schema: Option<SchemaRef>,
}

impl Engine {
    /// Plans a statement whose first parameters have the types `given`, where the client says them.
    pub async fn prepare(&self, parsed: &Parsed, given: &[Option<SqlType>]) -> Result<Described> {
        let core = &self.core;
        let statement = &parsed.statement;
        let inference = Inference::start(statement, given, core.stored_columns(statement).as_ref())?;
        let marked = |inference: &Inference| -> Result<Parsed> { Ok(Parsed { statement: inference.marked(statement)?, ..parsed.clone() }) };
        let schema = match core.columns_of(&marked(&inference)?, &inference) {
            // Something needs a type where a marker has none. There a parameter is text, as a literal in quotes would be.
            Err(error) if !inference.is_complete() => {
                inference.rest_is_text();
                core.columns_of(&marked(&inference)?, &inference).map_err(|_| error)?
            }
            planned => planned?,
        };
        Ok(Described { parameters: inference.finish(), schema })
    }

    /// The statement with values for its parameters.
    pub fn bind(&self, parsed: &Parsed, values: &[Bound]) -> Result<Parsed> {
        let mut bound = parsed.clone();
        parameters::bind(&mut bound.statement, values)?;
        Ok(bound)
    }

    /// The statement with EXECUTE's arguments for its parameters.
    pub fn bind_expressions(&self, parsed: &Parsed, values: &[(SqlType, ast::Expr)]) -> Result<Parsed> {
        let mut bound = parsed.clone();
        parameters::bind_expressions(&mut bound.statement, values)?;
        Ok(bound)
    }
}

impl Core {
    /// The columns of the relation a write names, if it is there.
    fn stored_columns(&self, statement: &Statement) -> Option<SchemaRef> {
        let columns = |name: &Name| self.catalog().resolve(name.schema.as_deref(), &name.name).map(schema_of);
        match statement {
            Statement::Insert(insert) => columns(&insert.target),
            Statement::Update(update) => columns(&update.target),
            Statement::Explain(explain) => self.stored_columns(&explain.statement),
            _ => None,
        }
    }

    /// Plans a statement for its columns.
    fn columns_of(&self, parsed: &Parsed, inference: &Inference) -> Result<Option<SchemaRef>> {
        Ok(match &parsed.statement {
            Statement::Query(query) => Some(self.query_columns(query, parsed, inference)?),
            Statement::CopyOut { source: CopySource::Query(query), .. } => {
                self.query_columns(query, parsed, inference)?;
                None
            }
            Statement::CreateTable(create) => {
                create.query.as_ref().map(|query| self.query_columns(query, parsed, inference)).transpose()?;
                None
            }
            Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) => {
                self.plan_write(parsed, None, Some(inference))?.returning.map(|returning| returning.schema)
            }
            Statement::Subscribe(subscribe) => {
                self.query_columns(&subscribe.query, parsed, inference)?;
                Some(super::subscribe::subscription_schema(&self.lowered(&subscribe.query, &[], &|_| false)?.schema))
            }
            Statement::Explain(explain) => {
                self.columns_of(&Parsed { statement: explain.statement.as_ref().clone(), ..parsed.clone() }, inference)?;
                Some(query_plan_schema())
            }
            Statement::ExplainView { .. } => Some(query_plan_schema()),
            Statement::Verify { name } => Some(self.verify_schema(name)?),
            Statement::ShowObjects { what } => Some(self.show(*what).schema()),
            Statement::ShowCreate { name } => Some(self.show_create(name)?.schema()),
            _ => None,
        })
    }

    fn query_columns(&self, query: &ast::Query, parsed: &Parsed, inference: &Inference) -> Result<SchemaRef> {
        let names = self.names();
        let mut query = query.clone();
        names.inline(&mut query)?;
        let planner = Planner::new(&self.session, &names, self.clock.now_us()).with_source(parsed).observed_by(Some(inference));
        Ok(planner.read(&query)?.described_columns())
    }
}

/// What EXPLAIN answers with.
pub(super) fn query_plan_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("QUERY PLAN", DataType::Utf8, false)]))
}
