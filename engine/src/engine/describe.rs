//! EXPLAIN, SHOW and SHOW CREATE: answers that are rows but no queries.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use catalog::{Definition, Object, ObjectId, ObjectKind};
use datafusion::physical_plan::displayable;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

use super::{Core, Engine, Rows, system};
use crate::error::sqlstate;
use crate::plan::explain;
use crate::plan::interrupt::Interrupt;
use crate::plan::parse::parse_query;
use crate::plan::statement::{Explain, Name, ShowObjects, Statement};
use crate::{Error, Result};

impl Engine {
    /// EXPLAIN, SHOW objects, SHOW CREATE: anything answered with rows that is not a query.
    pub async fn describe(&self, statement: &Statement) -> Result<Rows> {
        let rows = match statement {
            Statement::Explain(explain) => self.core.explain(explain).await?,
            Statement::ExplainView { name, .. } => self.core.explain_view(name)?,
            Statement::ShowObjects { what } => self.core.show(*what),
            Statement::ShowCreate { name } => self.core.show_create(name)?,
            other => return Err(Error::internal(format!("{other:?} describes nothing"))),
        };
        Ok(self.core.rows(rows))
    }
}

impl Core {
    /// A batch as a result.
    pub(super) fn rows(&self, rows: RecordBatch) -> Rows {
        let schema = rows.schema();
        let stream = RecordBatchStreamAdapter::new(schema.clone(), futures::stream::iter([Ok(rows)]));
        Rows {
            schema,
            stream: Box::pin(stream),
            epoch: self.shared.clock.recorded(),
            notices: Vec::new(),
            interrupt: Interrupt::default(),
            is_short: true,
        }
    }

    async fn explain(&self, explain: &Explain) -> Result<RecordBatch> {
        let lines = match explain.statement.as_ref() {
            Statement::CreateView(create) if create.materialized => {
                let plan = self.lowered(&create.query, &create.columns, &|_| true)?;
                explain::operators(&plan, &|id| self.name_of(id))
            }
            Statement::Query(query) => {
                let planned = self.plan_read(query, None)?;
                let hold = self.shared.clock.hold_newest();
                let physical = planned.physical(&self.providers(&planned, &hold, None).await?.0).await?;
                let text = displayable(physical.as_ref()).indent(false).to_string();
                text.lines().map(str::to_string).collect()
            }
            _ => return Err(Error::unsupported("this statement cannot be explained", "EXPLAIN takes a query or CREATE MATERIALIZED VIEW")),
        };
        query_plan(lines)
    }

    /// The operators that keep a view current. What they have done is in `thalweg.operators`.
    fn explain_view(&self, name: &Name) -> Result<RecordBatch> {
        let catalog = self.catalog();
        let object = catalog.resolve_or_fail(name.schema.as_deref(), &name.name)?;
        let Definition::MaterializedView { query, .. } = &object.definition else {
            return Err(Error::new(sqlstate::WRONG_OBJECT_TYPE, format!("\"{}\" is not a materialized view", name.name)));
        };
        let columns: Vec<String> = object.columns.iter().map(|column| column.name.clone()).collect();
        let plan = self.lowered(&*parse_query(query)?, &columns, &|index| object.depends_on.contains(&index))?;
        query_plan(explain::operators(&plan, &|id| self.name_of(id)))
    }

    fn name_of(&self, id: ObjectId) -> String {
        self.catalog().get(id).map_or_else(|| id.to_string(), |object| object.name.clone())
    }

    pub(super) fn show(&self, what: ShowObjects) -> RecordBatch {
        if what == ShowObjects::Jobs {
            return system::jobs(self);
        }
        let kinds: &[ObjectKind] = match what {
            ShowObjects::Streams => &[ObjectKind::Stream],
            ShowObjects::Tables => &[ObjectKind::Table],
            ShowObjects::Views => &[ObjectKind::View, ObjectKind::MaterializedView],
            ShowObjects::MaterializedViews => &[ObjectKind::MaterializedView],
            ShowObjects::Sinks => &[ObjectKind::Sink],
            ShowObjects::Indexes => &[ObjectKind::Index],
            ShowObjects::Jobs => &[],
        };
        let catalog = self.catalog();
        let mut by_name: BTreeMap<(&str, &str), &Object> = BTreeMap::new();
        for object in catalog.objects.values().filter(|object| kinds.contains(&object.kind())) {
            by_name.insert((&object.schema, &object.name), object);
        }
        let mut table = system::Table::new(&[("schema", true), ("name", true), ("kind", true), ("comment", true)]);
        for object in by_name.into_values() {
            table.text(object.schema.clone());
            table.text(object.name.clone());
            table.text(object.kind().noun().into());
            table.optional_text(object.comment.clone());
            table.next_row();
        }
        table.finish()
    }

    pub(super) fn show_create(&self, name: &Name) -> Result<RecordBatch> {
        let catalog = self.catalog();
        let object = match catalog.resolve(name.schema.as_deref(), &name.name) {
            Some(object) => object,
            None => match catalog.resolve_function(name.schema.as_deref(), &name.name) {
                Some(function) => function,
                None => catalog.resolve_or_fail(name.schema.as_deref(), &name.name)?,
            },
        };
        let mut table = system::Table::new(&[("name", true), ("create_sql", true)]);
        table.text(format!("{}.{}", object.schema, object.name));
        table.text(object.create_sql.clone());
        table.next_row();
        Ok(table.finish())
    }
}

fn query_plan(lines: Vec<String>) -> Result<RecordBatch> {
    Ok(RecordBatch::try_new(super::prepare::query_plan_schema(), vec![Arc::new(StringArray::from(lines))])?)
}
