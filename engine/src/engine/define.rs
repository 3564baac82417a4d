//! CREATE, DROP and COMMENT: planned against one version of the catalog, made by the sequencer if that is still the newest.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{cast, concat_batches};
use catalog::{Change, Column, Definition, Object, ObjectId, ObjectKind, Snapshot, SqlType, drop_plan};
use datafusion::sql::sqlparser::ast;

use super::{Core, Done, Engine, Notice};
use crate::error::sqlstate;
use crate::plan::Plan;
use crate::plan::lookups::look_up;
use crate::plan::query::{PlannedQuery, Planner};
use crate::plan::statement::{ColumnDef, CreateFunction, CreateSink, CreateStream, CreateTable, CreateView, Drop, Name, Parsed, Statement};
use crate::sequencer::relation::{NewRelation, schema_of, source_of};
use crate::sequencer::table::{OnConflict, Write};
use crate::sequencer::{Define, Request};
use crate::{Error, Result};

/// A change ready for the sequencer.
#[derive(Default)]
pub(super) struct Prepared {
    pub(super) change: Option<Change>,
    pub(super) create: Vec<NewRelation>,
    pub(super) drop: Vec<ObjectId>,
    pub(super) writes: Vec<(ObjectId, Write)>,
    pub(super) append_only: Vec<ObjectId>,
    pub(super) tag: &'static str,
    pub(super) notices: Vec<Notice>,
}

impl Engine {
    /// CREATE, DROP, COMMENT: durable when it returns.
    pub async fn define(&self, parsed: &Parsed) -> Result<Done> {
        loop {
            let catalog = self.core.catalog();
            let prepared = self.core.prepare(&catalog, parsed).await?;
            if prepared.change.is_none() {
                return Ok(Done { tag: prepared.tag, notices: prepared.notices });
            }
            let append_only = prepared.append_only.clone();
            self.core.append_only.write().expect("no one panics while holding it").extend(append_only);
            let define = |reply| {
                Request::Define(Box::new(Define {
                    version: catalog.version,
                    change: prepared.change,
                    create: prepared.create,
                    drop: prepared.drop,
                    writes: prepared.writes,
                    reply,
                }))
            };
            if self.core.ask(define).await? {
                return Ok(Done { tag: prepared.tag, notices: prepared.notices });
            }
            // Another session's change came first; what it made may be published any moment.
            tokio::task::yield_now().await;
        }
    }
}

impl Core {
    async fn prepare(&self, catalog: &Snapshot, parsed: &Parsed) -> Result<Prepared> {
        match &parsed.statement {
            Statement::CreateStream(create) => self.create_stream(catalog, create, &parsed.text),
            Statement::CreateTable(create) => self.create_table(catalog, create, &parsed.text).await,
            Statement::CreateView(create) => self.create_view(catalog, create, &parsed.text),
            Statement::CreateSink(create) => self.create_sink(catalog, create, &parsed.text),
            Statement::CreateIndex(create) => self.create_index(catalog, create, &parsed.text),
            Statement::CreateFunction(create) => self.create_function(catalog, create, &parsed.text),
            Statement::CreateSchema { name, if_not_exists } => create_schema(catalog, name, *if_not_exists),
            Statement::Drop(drop) => self.drop_objects(catalog, drop),
            Statement::Comment { kind, name, column, comment } => comment_on(catalog, *kind, name, column.as_deref(), comment.clone()),
            other => Err(Error::internal(format!("{other:?} defines nothing"))),
        }
    }

    fn create_stream(&self, catalog: &Snapshot, create: &CreateStream, text: &str) -> Result<Prepared> {
        let tag = "CREATE STREAM";
        if let Some(prepared) = exists(catalog, &create.name, create.if_not_exists, tag)? {
            return Ok(prepared);
        }
        if !create.options.contains_key("connector") {
            check_options(&create.options, &["retention"])?;
        }
        let mut ids = catalog.free_ids();
        let (id, errors) = (next(&mut ids), next(&mut ids));
        let definition = Definition::Stream {
            options: create.options.clone(),
            watermark: create.watermark.as_ref().map(|watermark| (watermark.column.clone(), watermark.expression_sql.clone())),
            intake_times: create.columns.iter().filter(|column| column.intake_time).map(|column| column.name.clone()).collect(),
            errors,
        };
        let mut stream = object(id, &create.name, columns(&create.columns), definition, text);
        if let Some(source) = source_of(&stream, self.workshop.file_root.as_deref())? {
            if stream.columns.iter().all(|column| stream.is_intake_time(&column.name)) {
                let intake_times = std::mem::replace(&mut stream.columns, source.infer_columns()?);
                stream.columns.extend(intake_times);
                check_names(&stream)?;
            }
        }
        if stream.columns.is_empty() {
            return Err(Error::new(sqlstate::SYNTAX_ERROR, format!("stream \"{}\" has no columns", create.name.name))
                .with_hint("declare the columns, or name a connector that infers them"));
        }
        check_watermark(&stream)?;
        let errors = errors_object(errors, &stream, decode_error_columns());
        let create = vec![self.workshop.stored(&stream)?, self.workshop.stored(&errors)?];
        Ok(Prepared { change: Some(Change::CreateMany(vec![stream, errors])), create, tag, ..Prepared::default() })
    }

    async fn create_table(&self, catalog: &Snapshot, create: &CreateTable, text: &str) -> Result<Prepared> {
        let tag = "CREATE TABLE";
        if let Some(prepared) = exists(catalog, &create.name, create.if_not_exists, tag)? {
            return Ok(prepared);
        }
        check_options(&create.options, &[])?;
        let id = next(&mut catalog.free_ids());
        let (columns, rows) = match &create.query {
            None => (columns(&create.columns), None),
            Some(query) => {
                let (columns, rows) = self.table_from_query(query, &create.columns).await?;
                (columns, Some(rows))
            }
        };
        if columns.is_empty() {
            return Err(Error::unsupported(format!("table \"{}\" has no columns", create.name.name), "declare at least one column"));
        }
        let primary_key = create
            .primary_key
            .iter()
            .map(|name| {
                columns
                    .iter()
                    .position(|column| column.name == *name)
                    .ok_or_else(|| Error::new(sqlstate::UNDEFINED_COLUMN, format!("column \"{name}\" named in key does not exist")))
            })
            .collect::<Result<_>>()?;
        let definition = Definition::Table { primary_key, options: create.options.clone() };
        let table = object(id, &create.name, columns, definition, text);
        let relation = self.workshop.stored(&table)?;
        let writes = match rows {
            Some(rows) => vec![(id, Write::Insert(conform(&rows, &table)?, OnConflict::Fail))],
            None => vec![],
        };
        Ok(Prepared { change: Some(Change::Create(table)), create: vec![relation], writes, tag, ..Prepared::default() })
    }

    async fn table_from_query(&self, query: &ast::Query, named: &[ColumnDef]) -> Result<(Vec<Column>, RecordBatch)> {
        let planned = self.plan_read(query, None)?;
        let batches = self.collect(&planned, &self.shared.clock.hold_newest(), None).await?;
        let mut columns = columns_of(&planned, &[]);
        for (column, named) in columns.iter_mut().zip(named) {
            column.name.clone_from(&named.name);
        }
        Ok((columns, concat_batches(planned.schema(), &batches)?))
    }

    fn create_view(&self, catalog: &Snapshot, create: &CreateView, text: &str) -> Result<Prepared> {
        let tag = if create.materialized { "CREATE MATERIALIZED VIEW" } else { "CREATE VIEW" };
        let replaced = match catalog.find(schema_name(&create.name), &create.name.name) {
            Some(existing) if create.or_replace && matches!(existing.definition, Definition::View { .. }) && !create.materialized => {
                Some(existing)
            }
            Some(_) if create.or_replace => {
                return Err(Error::unsupported(
                    format!("\"{}\" cannot be replaced in place yet", create.name.name),
                    "DROP it and CREATE it again",
                ));
            }
            _ => None,
        };
        if let Some(existing) = replaced {
            check_replaceable(catalog, existing)?;
        }
        if replaced.is_none() {
            if let Some(prepared) = exists(catalog, &create.name, create.if_not_exists, tag)? {
                return Ok(prepared);
            }
        }
        check_options(&create.options, &[])?;
        let planned = match create.materialized {
            true => self.plan_view(&create.query, &create.columns, text)?,
            false => self.plan_plain_view(&create.query, &create.columns, text)?,
        };
        let mut ids = catalog.free_ids();
        let id = replaced.map_or_else(|| next(&mut ids), |existing| existing.id);
        if !create.materialized {
            let depends_on = self.dependencies(catalog, &create.query, &planned)?;
            let definition = Definition::View { query: create.query_sql.clone() };
            let view = Object { depends_on, ..object(id, &create.name, columns_of(&planned, &create.columns), definition, text) };
            let change = if replaced.is_some() { Change::Replace(view) } else { Change::Create(view) };
            return Ok(Prepared { change: Some(change), tag, ..Prepared::default() });
        }
        self.refuse_zone(&create.query, text)?;
        let errors = next(&mut ids);
        let plan = self.lower(&planned, catalog, &|_| true)?;
        let depends_on = self.dependencies_of(catalog, &create.query, &planned, &plan)?;
        let definition = Definition::MaterializedView { query: create.query_sql.clone(), options: create.options.clone(), errors };
        let view = Object { depends_on, ..object(id, &create.name, columns_of(&planned, &create.columns), definition, text) };
        let relation = self.workshop.computed(id, Some(errors), 0, &plan, None)?;
        let append_only = if plan.append_only { vec![id] } else { vec![] };
        let errors = errors_object(errors, &view, row_error_columns());
        Ok(Prepared {
            change: Some(Change::CreateMany(vec![view, errors])),
            create: vec![relation],
            append_only,
            tag,
            ..Prepared::default()
        })
    }

    fn create_sink(&self, catalog: &Snapshot, create: &CreateSink, text: &str) -> Result<Prepared> {
        let tag = "CREATE SINK";
        if let Some(prepared) = exists(catalog, &create.name, create.if_not_exists, tag)? {
            return Ok(prepared);
        }
        let planned = self.plan_view(&create.query, &[], text)?;
        self.refuse_zone(&create.query, text)?;
        let mut ids = catalog.free_ids();
        let (id, errors) = (next(&mut ids), next(&mut ids));
        let plan = self.lower(&planned, catalog, &|_| true)?;
        let relation = self.workshop.computed(id, Some(errors), 0, &plan, Some(connector(&create.options)?))?;
        let definition = Definition::Sink { query: create.query_sql.clone(), options: create.options.clone(), errors };
        let depends_on = self.dependencies_of(catalog, &create.query, &planned, &plan)?;
        let sink = Object { depends_on, ..object(id, &create.name, columns_of(&planned, &[]), definition, text) };
        let errors = errors_object(errors, &sink, row_error_columns());
        Ok(Prepared { change: Some(Change::CreateMany(vec![sink, errors])), create: vec![relation], tag, ..Prepared::default() })
    }

    fn create_function(&self, catalog: &Snapshot, create: &CreateFunction, text: &str) -> Result<Prepared> {
        let existing = catalog.find_function(schema_name(&create.name), &create.name.name);
        if existing.is_some() && !create.or_replace {
            return Err(Error::new("42723", format!("function \"{}\" already exists with same argument types", create.name.name)));
        }
        if let Some(existing) = existing {
            check_replaceable(catalog, existing)?;
        }
        crate::plan::parse::parse_expression(&create.body_sql)?;
        let definition =
            Definition::Function { arguments: create.arguments.clone(), returns: create.returns.clone(), body: create.body_sql.clone() };
        let id = existing.map_or_else(|| next(&mut catalog.free_ids()), |existing| existing.id);
        let function = object(id, &create.name, Vec::new(), definition, text);
        let change = if existing.is_some() { Change::Replace(function) } else { Change::Create(function) };
        Ok(Prepared { change: Some(change), tag: "CREATE FUNCTION", ..Prepared::default() })
    }

    fn drop_objects(&self, catalog: &Snapshot, drop: &Drop) -> Result<Prepared> {
        let tag = drop_tag(drop.kind);
        let mut prepared = Prepared { tag, ..Prepared::default() };
        if drop.kind == ObjectKind::Schema {
            return drop_schema(catalog, drop, prepared);
        }
        let mut ids = Vec::new();
        for name in &drop.names {
            match find(catalog, drop.kind, name) {
                Some(object) => {
                    check_kind(drop.kind, object)?;
                    ids.push(object.id);
                }
                None if drop.if_exists => prepared.notices.push(notice(missing(drop.kind, name, ", skipping"))),
                None => return Err(missing(drop.kind, name, "")),
            }
        }
        if ids.is_empty() {
            return Ok(prepared);
        }
        prepared.drop = drop_plan(catalog, &ids, drop.cascade)?;
        prepared.change = Some(Change::Drop(prepared.drop.clone()));
        Ok(prepared)
    }

    /// A view's query, planned to be kept current or compared with what is.
    pub(super) fn plan_view(&self, query: &ast::Query, columns: &[String], text: &str) -> Result<PlannedQuery> {
        self.plan_view_at(query, columns, text, self.clock.now_us())
    }

    /// The same, to be run in batch with the clock at `now_us`.
    pub(super) fn plan_view_at(&self, query: &ast::Query, columns: &[String], text: &str, now_us: i64) -> Result<PlannedQuery> {
        self.inlined(query, text, now_us, |planner, query| planner.view(query, columns))
    }

    fn plan_plain_view(&self, query: &ast::Query, columns: &[String], text: &str) -> Result<PlannedQuery> {
        self.inlined(query, text, self.clock.now_us(), |planner, query| planner.plain_view(query, columns))
    }

    /// What `plan` makes of a query with the bodies of SQL functions in the place of their calls.
    fn inlined<T>(&self, query: &ast::Query, text: &str, now_us: i64, plan: impl FnOnce(&Planner, &ast::Query) -> Result<T>) -> Result<T> {
        let names = self.names();
        let mut query = query.clone();
        names.inline(&mut query)?;
        plan(&Planner::new(&self.session, &names, now_us).with_text(text), &query)
    }

    /// What is kept current is computed in UTC: what would be another query in the session's zone would not be what is asked for.
    pub(super) fn refuse_zone(&self, query: &ast::Query, text: &str) -> Result<()> {
        match self.inlined(query, text, self.clock.now_us(), |planner, query| planner.depends_on_zone(query))? {
            true => Err(Error::unsupported(
                "a query that is kept current is computed in UTC, and this one depends on TimeZone, which is another zone here",
                "name the zone in the query, as in ts AT TIME ZONE 'Europe/Berlin', or SET TimeZone TO 'UTC' before",
            )),
            false => Ok(()),
        }
    }

    /// What a query reads: stored relations, and the plain views and functions named in it.
    fn dependencies(&self, catalog: &Snapshot, query: &ast::Query, planned: &PlannedQuery) -> Result<Vec<ObjectId>> {
        let mut found: Vec<ObjectId> = planned.relations();
        for name in crate::plan::names::relations(query) {
            found.extend(catalog.resolve(name.schema.as_deref(), &name.name).map(|object| object.id));
        }
        let functions = std::cell::RefCell::new(Vec::new());
        let names = self.names();
        crate::plan::inline::inline_functions(&mut query.clone(), &|name| {
            functions.borrow_mut().extend(catalog.resolve_function(None, name).map(|object| object.id));
            names.function(name)
        })?;
        found.extend(functions.into_inner());
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// The same for what is kept current by `plan`, which may read indexes.
    fn dependencies_of(&self, catalog: &Snapshot, query: &ast::Query, planned: &PlannedQuery, plan: &Plan) -> Result<Vec<ObjectId>> {
        let mut found = self.dependencies(catalog, query, planned)?;
        found.extend(plan.relations().into_iter().filter(|id| catalog.get(*id).is_some_and(|object| object.kind() == ObjectKind::Index)));
        Ok(found)
    }

    /// What the workers need of an object that is in the catalog already; `None` for views, functions and the errors relations
    /// of what is computed.
    pub(super) fn relation_of(&self, catalog: &Snapshot, object: &Object) -> Result<Option<NewRelation>> {
        match &object.definition {
            Definition::Stream { .. } | Definition::Table { .. } => self.workshop.stored(object).map(Some),
            Definition::Errors { owner } => match catalog.require(*owner)?.definition {
                Definition::Stream { .. } => self.workshop.stored(object).map(Some),
                _ => Ok(None),
            },
            Definition::MaterializedView { query, errors, .. } => {
                let plan = self.lower_again(catalog, object, query)?;
                if plan.append_only {
                    self.append_only.write().expect("no one panics while holding it").insert(object.id);
                }
                self.workshop.computed(object.id, Some(*errors), object.since, &plan, None).map(Some)
            }
            Definition::Sink { query, options, errors } => {
                let plan = self.lower_again(catalog, object, query)?;
                self.workshop.computed(object.id, Some(*errors), object.since, &plan, Some(connector(options)?)).map(Some)
            }
            Definition::Index { on, columns } => {
                let plan = Plan::index(*on, schema_of(object), columns.clone());
                self.workshop.computed(object.id, None, object.since, &plan, None).map(Some)
            }
            Definition::View { .. } | Definition::Function { .. } => Ok(None),
        }
    }

    /// As it was created: of the indexes, those that it was made with.
    fn lower_again(&self, catalog: &Snapshot, object: &Object, query: &str) -> Result<Plan> {
        let columns: Vec<String> = object.columns.iter().map(|column| column.name.clone()).collect();
        let planned = self.plan_view(&*crate::plan::parse::parse_query(query)?, &columns, query)?;
        self.lower(&planned, catalog, &|index| object.depends_on.contains(&index))
    }
}

/// A query's plan for EXPLAIN CREATE MATERIALIZED VIEW and for a SUBSCRIBE to a query.
impl Core {
    pub(super) fn lowered(&self, query: &ast::Query, columns: &[String], may_use: &dyn Fn(ObjectId) -> bool) -> Result<Plan> {
        self.lower(&self.plan_view(query, columns, "")?, &self.catalog(), may_use)
    }

    /// The operators of a query that is kept current, with the indexes that it may use.
    fn lower(&self, planned: &PlannedQuery, catalog: &Snapshot, may_use: &dyn Fn(ObjectId) -> bool) -> Result<Plan> {
        let mut plan = planned.lower()?;
        // What is recomputed is epochs behind, and would keep all of these apart in the relations that it looks rows up in.
        if !plan.is_recomputed() {
            look_up(&mut plan, &|relation| self.kept_by(catalog, relation, may_use));
        }
        Ok(plan)
    }
}

pub(super) fn next(ids: &mut impl Iterator<Item = ObjectId>) -> ObjectId {
    ids.next().expect("ids do not end")
}

fn schema_name(name: &Name) -> &str {
    name.schema.as_deref().unwrap_or("public")
}

pub(super) fn object(id: ObjectId, name: &Name, columns: Vec<Column>, definition: Definition, text: &str) -> Object {
    Object {
        id,
        schema: schema_name(name).into(),
        name: name.name.clone(),
        columns,
        definition,
        since: 0,
        depends_on: Vec::new(),
        comment: None,
        create_sql: text.trim().into(),
    }
}

/// A connector's columns beside declared ones may have the same name.
fn check_names(stream: &Object) -> Result<()> {
    let repeated = |(place, column): (usize, &Column)| stream.columns[..place].iter().any(|other| other.name == column.name);
    match stream.columns.iter().enumerate().find(|(place, column)| repeated((*place, column))) {
        Some((_, column)) => {
            let message = format!("the connector has a column \"{}\" itself", column.name);
            Err(Error::new(sqlstate::DUPLICATE_COLUMN, message).with_hint("give the column of PROCTIME() another name"))
        }
        None => Ok(()),
    }
}

fn errors_object(id: ObjectId, owner: &Object, columns: Vec<Column>) -> Object {
    let name = Name { schema: Some(owner.schema.clone()), name: format!("{}$errors", owner.name) };
    Object { depends_on: vec![owner.id], ..object(id, &name, columns, Definition::Errors { owner: owner.id }, "") }
}

fn columns(defs: &[ColumnDef]) -> Vec<Column> {
    defs.iter()
        .map(|def| Column {
            name: def.name.clone(),
            sql_type: def.sql_type.clone(),
            nullable: !def.not_null || def.intake_time,
            default: def.default_sql.clone(),
            comment: None,
        })
        .collect()
}

fn columns_of(planned: &PlannedQuery, names: &[String]) -> Vec<Column> {
    schema_columns(planned.schema(), names)
}

fn schema_columns(schema: &arrow::datatypes::Schema, names: &[String]) -> Vec<Column> {
    schema
        .fields()
        .iter()
        .enumerate()
        .map(|(index, field)| Column {
            name: names.get(index).unwrap_or(field.name()).clone(),
            sql_type: SqlType::of_field(field),
            nullable: true,
            default: None,
            comment: None,
        })
        .collect()
}

fn decode_error_columns() -> Vec<Column> {
    schema_columns(&crate::source::decode_error_schema(), &[])
}

fn row_error_columns() -> Vec<Column> {
    schema_columns(&crate::operators::error_schema(), &[])
}

/// Rows of a query as rows of the table made from it.
fn conform(rows: &RecordBatch, table: &Object) -> Result<RecordBatch> {
    let schema = schema_of(table);
    let columns =
        rows.columns().iter().zip(schema.fields()).map(|(column, field)| cast(column, field.data_type())).collect::<Result<_, _>>()?;
    Ok(RecordBatch::try_new(Arc::clone(&schema), columns)?)
}

fn connector(options: &BTreeMap<String, String>) -> Result<&str> {
    options.get("connector").map(String::as_str).ok_or_else(|| {
        Error::new(sqlstate::INVALID_PARAMETER_VALUE, "a sink needs a connector").with_hint("add WITH (connector = 'blackhole')")
    })
}

fn check_watermark(stream: &Object) -> Result<()> {
    let Definition::Stream { watermark: Some((column, _)), .. } = &stream.definition else { return Ok(()) };
    match stream.columns.iter().find(|candidate| candidate.name == *column) {
        Some(column) if matches!(column.sql_type, SqlType::Timestamp | SqlType::TimestampTz) => Ok(()),
        Some(column) => Err(Error::new(
            sqlstate::DATATYPE_MISMATCH,
            format!("the watermark column \"{}\" is of type {}, not timestamp", column.name, column.sql_type),
        )),
        None => Err(Error::new(sqlstate::UNDEFINED_COLUMN, format!("column \"{column}\" named in the watermark does not exist"))),
    }
}

pub(super) fn exists(catalog: &Snapshot, name: &Name, if_not_exists: bool, tag: &'static str) -> Result<Option<Prepared>> {
    if !catalog.schemas.contains_key(schema_name(name)) {
        return Err(Error::new(sqlstate::INVALID_SCHEMA_NAME, format!("schema \"{}\" does not exist", schema_name(name))));
    }
    if schema_name(name) == "thalweg" {
        return Err(Error::new("42501", "schema \"thalweg\" is reserved for system relations"));
    }
    if catalog.find(schema_name(name), &name.name).is_none() {
        return Ok(None);
    }
    let error = |suffix: &str| Error::new(sqlstate::DUPLICATE_TABLE, format!("relation \"{}\" already exists{suffix}", name.name));
    if !if_not_exists {
        return Err(error(""));
    }
    Ok(Some(Prepared { tag, notices: vec![notice(error(", skipping"))], ..Prepared::default() }))
}

fn notice(error: Error) -> Notice {
    Notice { severity: "NOTICE", error }
}

fn create_schema(catalog: &Snapshot, name: &str, if_not_exists: bool) -> Result<Prepared> {
    let tag = "CREATE SCHEMA";
    if catalog.schemas.contains_key(name) {
        let error = |suffix: &str| Error::new("42P06", format!("schema \"{name}\" already exists{suffix}"));
        if !if_not_exists {
            return Err(error(""));
        }
        return Ok(Prepared { tag, notices: vec![notice(error(", skipping"))], ..Prepared::default() });
    }
    let change = Change::CreateSchema { name: name.into(), id: next(&mut catalog.free_ids()) };
    Ok(Prepared { change: Some(change), tag, ..Prepared::default() })
}

fn drop_schema(catalog: &Snapshot, drop: &Drop, mut prepared: Prepared) -> Result<Prepared> {
    let [name] = drop.names.as_slice() else {
        return Err(Error::unsupported("several schemas cannot be dropped in one statement", "drop them one by one"));
    };
    if !catalog.schemas.contains_key(&name.name) {
        let error = |suffix: &str| Error::new(sqlstate::INVALID_SCHEMA_NAME, format!("schema \"{}\" does not exist{suffix}", name.name));
        if !drop.if_exists {
            return Err(error(""));
        }
        prepared.notices.push(notice(error(", skipping")));
        return Ok(prepared);
    }
    let change = catalog::drop_schema_plan(catalog, &name.name, drop.cascade)?;
    if let Change::DropSchema { objects, .. } = &change {
        prepared.drop.clone_from(objects);
    }
    prepared.change = Some(change);
    Ok(prepared)
}

fn find<'a>(catalog: &'a Snapshot, kind: ObjectKind, name: &Name) -> Option<&'a Object> {
    match kind {
        ObjectKind::Function => catalog.resolve_function(name.schema.as_deref(), &name.name),
        _ => catalog.resolve(name.schema.as_deref(), &name.name),
    }
}

/// A view or function that something kept current was planned with stays as it is: its users would go on with the old one
/// until the next start, and with the new one after it.
fn check_replaceable(catalog: &Snapshot, existing: &Object) -> Result<()> {
    let mut open = vec![existing.id];
    while let Some(id) = open.pop() {
        for dependent in catalog.dependents(id) {
            let user = catalog.require(dependent)?;
            if matches!(user.definition, Definition::MaterializedView { .. } | Definition::Sink { .. }) {
                return Err(Error::unsupported(
                    format!(
                        "cannot replace {} \"{}\" because {} \"{}\" uses it",
                        existing.kind().noun(),
                        existing.name,
                        user.kind().noun(),
                        user.name
                    ),
                    "drop what uses it, replace it, and create that again",
                ));
            }
            open.push(dependent);
        }
    }
    Ok(())
}

/// Options a relation without a connector does not know are mistakes, not comments.
fn check_options(options: &BTreeMap<String, String>, known: &[&str]) -> Result<()> {
    match options.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => {
            Err(Error::new(sqlstate::INVALID_PARAMETER_VALUE, format!("there is no option \"{key}\" here")).with_hint(match known {
                [] => "leave out WITH (…)".to_string(),
                known => format!("known options: {}", known.join(", ")),
            }))
        }
    }
}

fn check_kind(kind: ObjectKind, object: &Object) -> Result<()> {
    if object.kind() == kind {
        return Ok(());
    }
    let article = |kind: ObjectKind| if kind.noun().starts_with(['e', 'i']) { "an" } else { "a" };
    let message = format!("\"{}\" is not {} {}", object.name, article(kind), kind.noun());
    let is = object.kind();
    Err(Error::new(sqlstate::WRONG_OBJECT_TYPE, message).with_hint(format!(
        "Use {} to remove {} {}.",
        drop_tag(is),
        article(is),
        is.noun()
    )))
}

fn missing(kind: ObjectKind, name: &Name, suffix: &str) -> Error {
    let state = if kind == ObjectKind::Function { sqlstate::UNDEFINED_FUNCTION } else { sqlstate::UNDEFINED_TABLE };
    Error::new(state, format!("{} \"{}\" does not exist{suffix}", kind.noun(), name.name))
}

fn drop_tag(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Schema => "DROP SCHEMA",
        ObjectKind::Stream | ObjectKind::Errors => "DROP STREAM",
        ObjectKind::Table => "DROP TABLE",
        ObjectKind::View => "DROP VIEW",
        ObjectKind::MaterializedView => "DROP MATERIALIZED VIEW",
        ObjectKind::Sink => "DROP SINK",
        ObjectKind::Function => "DROP FUNCTION",
        ObjectKind::Index => "DROP INDEX",
    }
}

fn comment_on(catalog: &Snapshot, kind: ObjectKind, name: &Name, column: Option<&str>, comment: Option<String>) -> Result<Prepared> {
    let tag = "COMMENT";
    if kind == ObjectKind::Schema {
        let change = Change::CommentSchema { schema: name.name.clone(), comment };
        return Ok(Prepared { change: Some(change), tag, ..Prepared::default() });
    }
    let object = find(catalog, kind, name).ok_or_else(|| missing(kind, name, ""))?;
    if column.is_none() {
        check_kind(kind, object)?;
    }
    let change = Change::Comment { id: object.id, column: column.map(Into::into), comment };
    Ok(Prepared { change: Some(change), tag, ..Prepared::default() })
}
