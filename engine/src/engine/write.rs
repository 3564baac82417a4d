//! INSERT, UPDATE and DELETE: a query says what changes, the sequencer checks that it still may, and acknowledges once it is
//! durable.
//!
//! An UPDATE or DELETE outside a transaction whose rows were changed by another meanwhile is run again over the newer rows, as
//! Postgres does; inside one it is 40001.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options, concat_batches};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use catalog::{Definition, Object, SqlType};
use datafusion::datasource::MemTable;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast;

use super::ingest::column_index;
use super::names::Names;
use super::{Core, Engine, Transaction, Written};
use crate::decode::parse_text;
use crate::error::sqlstate;
use crate::plan::query::Planner;
use crate::plan::relation::{Relation, RelationProvider};
use crate::plan::statement::{Delete, Insert, Name, OnConflict as ConflictClause, Statement, Update};
use crate::plan::{Plan, dml};
use crate::sequencer::relation::schema_of;
use crate::sequencer::table::{Applied, OnConflict, Upsert, Write};
use crate::sequencer::{Done, Request};
use crate::{Error, Result};

/// How often a statement is run again over newer rows before it is 40001 after all. Each time another statement got through.
const MAX_ATTEMPTS: usize = 1000;

impl Engine {
    /// INSERT, UPDATE, DELETE: applied and durable when it returns, or buffered in `transaction`.
    pub async fn write(&self, statement: &Statement, mut transaction: Option<&mut Transaction>) -> Result<Written> {
        for _ in 1..MAX_ATTEMPTS {
            match self.core.write(statement, transaction.as_deref_mut()).await {
                Err(error) if error.sqlstate == sqlstate::SERIALIZATION_FAILURE && transaction.is_none() => {}
                result => return result,
            }
        }
        self.core.write(statement, transaction).await
    }
}

/// A write with what is needed to answer RETURNING.
struct Planned<'a> {
    target: Object,
    write: Write,
    name: &'a Name,
    alias: Option<&'a str>,
    returning: &'a [ast::SelectItem],
}

impl Core {
    async fn write(&self, statement: &Statement, transaction: Option<&mut Transaction>) -> Result<Written> {
        let planned = match statement {
            Statement::Insert(insert) => self.plan_insert(insert, transaction.as_deref()).await?,
            Statement::Update(update) => self.plan_update(update, transaction.as_deref()).await?,
            Statement::Delete(delete) => self.plan_delete(delete, transaction.as_deref()).await?,
            other => return Err(Error::internal(format!("{other:?} writes nothing"))),
        };
        let id = planned.target.id;
        let (epoch, applied) = match transaction {
            Some(transaction) => (0, transaction.apply(self, id, planned.write).await?),
            None => {
                let Done { epoch, mut applied } = self.ask(|reply| Request::Write { writes: vec![(id, planned.write)], reply }).await?;
                (epoch, applied.pop().ok_or_else(|| Error::internal("a write was answered without what it did"))?)
            }
        };
        let n_rows = applied.returned.num_rows() as u64;
        let returning = match planned.returning {
            [] => None,
            items => Some(self.returning(items, planned.name, planned.alias, applied).await?),
        };
        Ok(Written { n_rows, returning, epoch })
    }

    async fn plan_insert<'a>(&self, insert: &'a Insert, transaction: Option<&Transaction>) -> Result<Planned<'a>> {
        let target = self.writable(&insert.target)?;
        let (rows, given) = match dml::insert_source(insert, &target)? {
            Some(source) => self.insert_rows(insert, &target, &source, transaction).await?,
            None => {
                let options = RecordBatchOptions::new().with_row_count(Some(1));
                (RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)?, vec![])
            }
        };
        let rows = self.complete(&target, &rows, &given).await?;
        let on_conflict = self.on_conflict(insert.on_conflict.as_ref(), &target)?;
        Ok(Planned { target, write: Write::Insert(rows, on_conflict), name: &insert.target, alias: None, returning: &insert.returning })
    }

    /// The source's rows, and which column of the target each of theirs is.
    async fn insert_rows(
        &self,
        insert: &Insert,
        target: &Object,
        source: &ast::Query,
        transaction: Option<&Transaction>,
    ) -> Result<(RecordBatch, Vec<usize>)> {
        let rows = self.rows_of(source, transaction).await?;
        let n_given = rows.num_columns();
        let given: Vec<usize> = match insert.columns.as_slice() {
            [] => (0..n_given.min(target.columns.len())).collect(),
            names => names.iter().map(|name| column_index(target, name)).collect::<Result<_>>()?,
        };
        let n_expected = if insert.columns.is_empty() { target.columns.len() } else { given.len() };
        if n_given > n_expected {
            return Err(Error::new(sqlstate::SYNTAX_ERROR, "INSERT has more expressions than target columns"));
        }
        if n_given < given.len() {
            return Err(Error::new(sqlstate::SYNTAX_ERROR, "INSERT has more target columns than expressions"));
        }
        if (1..given.len()).any(|index| given[..index].contains(&given[index])) {
            return Err(Error::new(sqlstate::DUPLICATE_COLUMN, "a column is specified more than once"));
        }
        Ok((rows, given))
    }

    async fn plan_update<'a>(&self, update: &'a Update, transaction: Option<&Transaction>) -> Result<Planned<'a>> {
        let target = self.changeable(&update.target, "UPDATE")?;
        let rows = self.rows_of(&*dml::update_query(update, &target)?, transaction).await?;
        let n_columns = target.columns.len();
        let (old, new) = rows.columns().split_at(n_columns);
        let new = new.iter().zip(&target.columns).map(|(column, to)| assign(column, &to.sql_type, &to.name)).collect::<Result<_>>()?;
        let old = self.checked(&target, old.to_vec())?;
        let new = self.checked(&target, new)?;
        let (old, new) = if update.from.is_empty() { (old, new) } else { first_matches(&target, &old, &new)? };
        let write = Write::Update { old, new };
        Ok(Planned { target, write, name: &update.target, alias: update.alias.as_deref(), returning: &update.returning })
    }

    async fn plan_delete<'a>(&self, delete: &'a Delete, transaction: Option<&Transaction>) -> Result<Planned<'a>> {
        let target = self.changeable(&delete.target, "DELETE")?;
        let rows = self.rows_of(&*dml::delete_query(delete, &target)?, transaction).await?;
        let old = self.checked(&target, rows.columns().to_vec())?;
        let old = if delete.using.is_empty() { old } else { first_matches(&target, &old, &old)?.0 };
        Ok(Planned { target, write: Write::Delete(old), name: &delete.target, alias: delete.alias.as_deref(), returning: &delete.returning })
    }

    fn changeable(&self, name: &Name, verb: &str) -> Result<Object> {
        let target = self.writable(name)?;
        match target.definition {
            Definition::Table { .. } => Ok(target),
            _ => Err(Error::new(sqlstate::WRONG_OBJECT_TYPE, format!("cannot {verb} rows of stream \"{}\"", target.name))
                .with_hint("a stream is append-only; use a table for rows that change")),
        }
    }

    async fn rows_of(&self, query: &ast::Query, transaction: Option<&Transaction>) -> Result<RecordBatch> {
        let planned = self.plan_read(query, transaction)?;
        let hold = transaction.map_or_else(|| self.shared.clock.hold_newest(), |transaction| transaction.hold().clone());
        let batches = self.collect(&planned, &hold, transaction).await?;
        let schema = batches.first().map_or_else(|| planned.schema().clone(), RecordBatch::schema);
        Ok(concat_batches(&schema, &batches)?)
    }

    /// Rows with all columns of the target, of its types: those given assigned, the others their defaults.
    pub(super) async fn complete(&self, target: &Object, rows: &RecordBatch, given: &[usize]) -> Result<RecordBatch> {
        let mut columns: Vec<Option<ArrayRef>> = vec![None; target.columns.len()];
        for (index, column) in given.iter().zip(rows.columns()) {
            let to = &target.columns[*index];
            columns[*index] = Some(assign(column, &to.sql_type, &to.name)?);
        }
        let missing: Vec<usize> = (0..columns.len()).filter(|index| columns[*index].is_none()).collect();
        for (index, column) in self.defaults(target, &missing, rows.num_rows()).await? {
            columns[index] = Some(column);
        }
        self.checked(target, columns.into_iter().map(|column| column.expect("each column was given or has a default")).collect())
    }

    /// The defaults of some columns, each evaluated once per row.
    async fn defaults(&self, target: &Object, missing: &[usize], n_rows: usize) -> Result<Vec<(usize, ArrayRef)>> {
        let (with, without): (Vec<usize>, Vec<usize>) = missing.iter().partition(|index| target.columns[**index].default.is_some());
        let null = |index: usize| (index, new_null_array(&target.columns[index].sql_type.arrow(), n_rows));
        let mut defaults: Vec<(usize, ArrayRef)> = without.into_iter().map(null).collect();
        if with.is_empty() || n_rows == 0 {
            defaults.extend(with.into_iter().map(null));
            return Ok(defaults);
        }
        let columns: Vec<_> = with.iter().map(|index| &target.columns[*index]).collect();
        let rows = self.rows_of(&*dml::defaults_query(&columns, n_rows)?, None).await?;
        for ((index, column), values) in with.into_iter().zip(columns).zip(rows.columns()) {
            defaults.push((index, assign(values, &column.sql_type, &column.name)?));
        }
        Ok(defaults)
    }

    /// Columns as rows of the target; 23502 where a null is not allowed.
    pub(super) fn checked(&self, target: &Object, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
        for (column, values) in target.columns.iter().zip(&columns) {
            if !column.nullable && values.null_count() > 0 {
                let message = format!("null value in column \"{}\" of relation \"{}\" violates not-null constraint", column.name, target.name);
                return Err(Error::new(sqlstate::NOT_NULL_VIOLATION, message));
            }
        }
        let schema = schema_of(target);
        let columns = columns.into_iter().zip(schema.fields()).map(|(column, field)| retype(column, field)).collect::<Result<_>>()?;
        Ok(RecordBatch::try_new(schema, columns)?)
    }

    fn on_conflict(&self, clause: Option<&ConflictClause>, target: &Object) -> Result<OnConflict> {
        let Some(clause) = clause else { return Ok(OnConflict::Fail) };
        let Definition::Table { primary_key, .. } = &target.definition else {
            return Err(Error::new(sqlstate::WRONG_OBJECT_TYPE, format!("stream \"{}\" has no key to conflict on", target.name)));
        };
        let mut named: Vec<usize> = clause.columns.iter().map(|name| column_index(target, name)).collect::<Result<_>>()?;
        named.sort_unstable();
        let mut key = primary_key.clone();
        key.sort_unstable();
        if !named.is_empty() && named != key || named.is_empty() && clause.update.is_some() {
            let message = "there is no unique or exclusion constraint matching the ON CONFLICT specification";
            return Err(Error::new(sqlstate::INVALID_COLUMN_REFERENCE, message).with_hint("name the columns of the primary key"));
        }
        match &clause.update {
            None => Ok(OnConflict::DoNothing),
            Some((assignments, predicate)) => {
                for (name, _) in assignments {
                    column_index(target, name)?;
                }
                let query = dml::conflict_query(target, assignments, predicate.as_ref())?;
                Ok(OnConflict::DoUpdate(Arc::new(self.plan_upsert(target, &query)?)))
            }
        }
    }

    fn plan_upsert(&self, target: &Object, query: &ast::Query) -> Result<PairUpsert> {
        let own = schema_of(target);
        let excluded = own.fields().iter().map(|field| Arc::new(field.as_ref().clone().with_name(dml::excluded_column(field.name()))));
        let pairs: SchemaRef = Arc::new(Schema::new(own.fields().iter().cloned().chain(excluded).collect::<Vec<_>>()));
        let names = OneRelation {
            names: Names::new(self),
            name: dml::PAIRS,
            relation: Relation::Stored { id: target.id, schema: pairs.clone(), append_only: false },
        };
        let plan = Planner::new(&self.session, &names, self.clock.now_us()).view(query, &[])?.lower()?;
        Ok(PairUpsert { target: target.clone(), plan, pairs })
    }

    async fn returning(&self, items: &[ast::SelectItem], name: &Name, alias: Option<&str>, applied: Applied) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        let query = dml::returning_query(items, name, alias)?;
        let rows = MemTable::try_new(applied.returned.schema(), vec![vec![applied.returned]])?;
        let names = OneRelation { names: Names::new(self), name: dml::RETURNED, relation: Relation::Rows(Arc::new(rows)) };
        let planned = Planner::new(&self.session, &names, self.clock.now_us()).read(&query)?;
        let batches = self.collect(&planned, &self.shared.clock.hold_newest(), None).await?;
        Ok((planned.schema().clone(), batches))
    }
}

/// The catalog, and one relation of the statement's own.
struct OneRelation<'a> {
    names: Names<'a>,
    name: &'static str,
    relation: Relation,
}

impl RelationProvider for OneRelation<'_> {
    fn resolve(&self, schema: Option<&str>, name: &str) -> Option<Relation> {
        if schema.is_none() && name == self.name { Some(self.relation.clone()) } else { self.names.resolve(schema, name) }
    }

    fn function(&self, name: &str) -> Option<crate::plan::sql_function::SqlFunction> {
        self.names.function(name)
    }
}

/// DO UPDATE over pairs of the row there and the row proposed.
struct PairUpsert {
    target: Object,
    plan: Plan,
    pairs: SchemaRef,
}

impl Upsert for PairUpsert {
    fn update(&self, existing: &RecordBatch, excluded: &RecordBatch) -> Result<(RecordBatch, Vec<bool>)> {
        let columns: Vec<ArrayRef> = existing.columns().iter().chain(excluded.columns()).cloned().collect();
        let pairs = RecordBatch::try_new(self.pairs.clone(), columns)?;
        let result = dml::evaluate(&self.plan, &pairs)?;
        let n_columns = self.target.columns.len();
        let (new, taken) = result.columns().split_at(n_columns);
        let columns = new.iter().zip(&self.target.columns).map(|(column, to)| assign(column, &to.sql_type, &to.name)).collect::<Result<Vec<_>>>()?;
        for (column, values) in self.target.columns.iter().zip(&columns) {
            if !column.nullable && values.null_count() > 0 {
                let message = format!("null value in column \"{}\" of relation \"{}\" violates not-null constraint", column.name, self.target.name);
                return Err(Error::new(sqlstate::NOT_NULL_VIOLATION, message));
            }
        }
        Ok((RecordBatch::try_new(schema_of(&self.target), columns)?, dml::truths(&taken[0])))
    }
}

/// Of rows matched by several rows of FROM or USING the first: Postgres changes each row once.
fn first_matches(target: &Object, old: &RecordBatch, new: &RecordBatch) -> Result<(RecordBatch, RecordBatch)> {
    let Definition::Table { primary_key, .. } = &target.definition else { return Ok((old.clone(), new.clone())) };
    if primary_key.is_empty() {
        return Err(Error::unsupported(
            format!("table \"{}\" has no primary key, so UPDATE … FROM and DELETE … USING cannot tell its rows apart", target.name),
            "declare a primary key, or use a subquery in WHERE",
        ));
    }
    let fields = primary_key.iter().map(|index| arrow_row::SortField::new(old.column(*index).data_type().clone())).collect();
    let keys: Vec<ArrayRef> = primary_key.iter().map(|index| Arc::clone(old.column(*index))).collect();
    let keys = arrow_row::RowConverter::new(fields)?.convert_columns(&keys)?;
    let mut seen = std::collections::HashSet::new();
    let first = (0..old.num_rows()).filter(|index| seen.insert(keys.row(*index))).map(|index| index as u32).collect::<Vec<_>>().into();
    Ok((arrow::compute::take_record_batch(old, &first)?, arrow::compute::take_record_batch(new, &first)?))
}

/// Values of a query as values of a column: Postgres' assignment casts. Text is read as the type's input.
fn assign(column: &ArrayRef, to: &SqlType, name: &str) -> Result<ArrayRef> {
    let target = to.arrow();
    let is_text = matches!(column.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    if column.data_type() == &target && !matches!(to, SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Uuid | SqlType::Json | SqlType::Jsonb) {
        return Ok(Arc::clone(column));
    }
    if is_text {
        return from_text(column, to);
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let is_whole = target.is_integer();
    let rounded = match column.data_type() {
        DataType::Float64 if is_whole => Some(column.as_primitive::<Float64Type>().unary::<_, Float64Type>(f64::round_ties_even)),
        _ => None,
    };
    let source: ArrayRef = rounded.map_or_else(|| Arc::clone(column), |rounded| Arc::new(rounded));
    let cast = cast_with_options(&source, &target, &strict).map_err(|error| not_assignable(column, to, name, &error))?;
    match to {
        SqlType::Varchar(_) | SqlType::Char(_) => from_text(&cast, to),
        _ => Ok(cast),
    }
}

fn not_assignable(column: &ArrayRef, to: &SqlType, name: &str, error: &arrow::error::ArrowError) -> Error {
    if column.data_type().is_numeric() && to.arrow().is_numeric() {
        return Error::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, format!("{to} out of range"));
    }
    let from = SqlType::of_field(&Field::new(name, column.data_type().clone(), true));
    Error::new(sqlstate::DATATYPE_MISMATCH, format!("column \"{name}\" is of type {to} but expression is of type {from}"))
        .with_detail(error.to_string())
        .with_hint("You will need to rewrite or cast the expression.")
}

fn from_text(column: &ArrayRef, to: &SqlType) -> Result<ArrayRef> {
    let text = cast_with_options(column, &DataType::Utf8, &CastOptions::default())?;
    let text: &StringArray = text.as_string();
    let null = ScalarValue::try_from(&to.arrow())?;
    let values: Vec<ScalarValue> = text
        .iter()
        .map(|value| value.map_or_else(|| Ok(null.clone()), |value| parse_text(to, value)))
        .collect::<Result<_>>()?;
    if values.is_empty() {
        return Ok(new_null_array(&to.arrow(), 0));
    }
    Ok(ScalarValue::iter_to_array(values)?)
}

/// The same values under the field's exact type, where only names or nullability inside differ.
fn retype(column: ArrayRef, field: &Field) -> Result<ArrayRef> {
    if column.data_type() == field.data_type() {
        return Ok(column);
    }
    Ok(cast_with_options(&column, field.data_type(), &CastOptions { safe: false, ..CastOptions::default() })?)
}
