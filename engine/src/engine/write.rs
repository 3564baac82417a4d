//! INSERT, UPDATE and DELETE: a query says what changes, the sequencer checks that it still may, and acknowledges once it is
//! durable.
//!
//! An UPDATE or DELETE outside a transaction whose rows were changed by another meanwhile is run again over the newer rows, as
//! Postgres does; inside one it is 40001.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options, concat_batches};
use arrow::datatypes::{Field, SchemaRef};
use catalog::{Definition, Object};
use datafusion::sql::sqlparser::ast;

use super::names::Names;
use super::{Core, Engine, Transaction, Written};
use crate::error::sqlstate;
use crate::plan::dml::{ConflictUpdate, Defaults, RowExpressions};
use crate::plan::parameters::Inference;
use crate::plan::parse::parse_expression;
use crate::plan::query::{PlannedQuery, Planner};
use crate::plan::statement::{Delete, Insert, Name, OnConflict as ConflictClause, Parsed, Statement, Update};
use crate::sequencer::relation::schema_of;
use crate::sequencer::table::{Applied, OnConflict, Upsert, Write};
use crate::sequencer::{Done, Request};
use crate::{Error, Result};

/// How often a statement is run again over newer rows before it is 40001 after all. Each time another statement got through.
const MAX_ATTEMPTS: usize = 1000;

impl Engine {
    /// INSERT, UPDATE, DELETE: applied and durable when it returns, or buffered in `transaction`.
    pub async fn write(&self, parsed: &Parsed, mut transaction: Option<&mut Transaction>) -> Result<Written> {
        for _ in 1..MAX_ATTEMPTS {
            match self.core.write(parsed, transaction.as_deref_mut()).await {
                Err(error) if error.sqlstate == sqlstate::SERIALIZATION_FAILURE && transaction.is_none() => {}
                result => return result,
            }
        }
        self.core.write(parsed, transaction).await
    }
}

/// What a write is going to do, before anything is read.
pub(super) struct WritePlan {
    target: Object,
    /// The rows to insert or to delete; for UPDATE all old columns, then all new ones.
    query: PlannedQuery,
    kind: Kind,
    pub(super) returning: Option<RowExpressions>,
}

enum Kind {
    Insert(OnConflict),
    Update,
    Delete,
}

impl Core {
    async fn write(&self, parsed: &Parsed, transaction: Option<&mut Transaction>) -> Result<Written> {
        let plan = self.plan_write(parsed, transaction.as_deref(), None)?;
        let id = plan.target.id;
        let write = self.rows_of(&plan, transaction.as_deref()).await?;
        let (epoch, applied) = match transaction {
            Some(transaction) => (0, transaction.apply(self, id, write).await?),
            None => {
                let Done { epoch, mut applied } = self.ask(|reply| Request::Write { writes: vec![(id, write)], reply }).await?;
                (epoch, applied.pop().ok_or_else(|| Error::internal("a write was answered without what it did"))?)
            }
        };
        let n_rows = applied.returned.num_rows() as u64;
        let returning = plan.returning.map(|expressions| returned(&expressions, &applied)).transpose()?;
        Ok(Written { n_rows, returning, epoch })
    }

    /// Plans a write without running it; `inference` sees every plan.
    pub(super) fn plan_write(
        &self,
        parsed: &Parsed,
        transaction: Option<&Transaction>,
        inference: Option<&Inference>,
    ) -> Result<WritePlan> {
        let names = Names { expand_views: transaction.is_some_and(Transaction::has_writes), ..self.names() };
        let planner = Planner::new(&self.session, &names, self.clock.now_us()).with_source(parsed).observed_by(inference);
        match &parsed.statement {
            Statement::Insert(insert) => self.plan_insert(insert, &planner),
            Statement::Update(update) => self.plan_update(update, &planner),
            Statement::Delete(delete) => self.plan_delete(delete, &planner),
            other => Err(Error::internal(format!("{other:?} writes nothing"))),
        }
    }

    fn plan_insert(&self, insert: &Insert, planner: &Planner<'_>) -> Result<WritePlan> {
        let target = self.writable(&insert.target)?;
        let mut insert = insert.clone();
        insert.columns = super::ingest::given_columns(&target, &insert.columns)?;
        self.names().inline(&mut insert.source)?;
        let defaults = defaults(&target)?;
        let query = planner.insert(&insert, &defaults)?;
        let on_conflict = on_conflict(planner, insert.on_conflict.as_ref(), &insert.target, &target, &defaults)?;
        let returning = plan_returning(planner, &insert.returning, &insert.target, None)?;
        Ok(WritePlan { target, query, kind: Kind::Insert(on_conflict), returning })
    }

    fn plan_update(&self, update: &Update, planner: &Planner<'_>) -> Result<WritePlan> {
        let target = self.changeable(&update.target, "UPDATE")?;
        let mut update = update.clone();
        self.names().inline(&mut update.predicate)?;
        for (_, expression) in &mut update.assignments {
            self.names().inline(expression)?;
        }
        let query = planner.update(&update, &defaults(&target)?)?;
        let returning = plan_returning(planner, &update.returning, &update.target, update.alias.as_deref())?;
        Ok(WritePlan { target, query, kind: Kind::Update, returning })
    }

    fn plan_delete(&self, delete: &Delete, planner: &Planner<'_>) -> Result<WritePlan> {
        let target = self.changeable(&delete.target, "DELETE")?;
        let mut delete = delete.clone();
        self.names().inline(&mut delete.predicate)?;
        let query = planner.delete(&delete)?;
        let returning = plan_returning(planner, &delete.returning, &delete.target, delete.alias.as_deref())?;
        Ok(WritePlan { target, query, kind: Kind::Delete, returning })
    }

    /// Runs the query of a write: which rows it concerns.
    async fn rows_of(&self, plan: &WritePlan, transaction: Option<&Transaction>) -> Result<Write> {
        let rows = self.all_rows(&plan.query, transaction).await?;
        let columns = rows.columns();
        Ok(match &plan.kind {
            Kind::Insert(on_conflict) => Write::Insert(self.checked(&plan.target, columns.to_vec())?, on_conflict.clone()),
            Kind::Update => {
                let (old, new) = columns.split_at(plan.target.columns.len());
                Write::Update { old: self.checked(&plan.target, old.to_vec())?, new: self.checked(&plan.target, new.to_vec())? }
            }
            Kind::Delete => Write::Delete(self.checked(&plan.target, columns.to_vec())?),
        })
    }

    fn changeable(&self, name: &Name, verb: &str) -> Result<Object> {
        let target = self.writable(name)?;
        match target.definition {
            Definition::Table { .. } => Ok(target),
            _ => Err(Error::new(sqlstate::WRONG_OBJECT_TYPE, format!("cannot {verb} rows of stream \"{}\"", target.name))
                .with_hint("a stream is append-only; use a table for rows that change")),
        }
    }

    fn planned(&self, transaction: Option<&Transaction>, plan: impl FnOnce(&Planner<'_>) -> Result<PlannedQuery>) -> Result<PlannedQuery> {
        let names = Names { expand_views: transaction.is_some_and(Transaction::has_writes), ..self.names() };
        plan(&Planner::new(&self.session, &names, self.clock.now_us()))
    }

    async fn all_rows(&self, planned: &PlannedQuery, transaction: Option<&Transaction>) -> Result<RecordBatch> {
        let hold = transaction.map_or_else(|| self.shared.clock.hold_newest(), |transaction| transaction.hold().clone());
        let batches = self.collect(planned, &hold, transaction).await?;
        let schema = batches.first().map_or_else(|| planned.schema().clone(), RecordBatch::schema);
        Ok(concat_batches(&schema, &batches)?)
    }

    /// Rows with all columns of the target: those given are there, the others get their defaults, each evaluated once per row.
    pub(super) async fn complete(&self, target: &Object, rows: &RecordBatch, given: &[usize]) -> Result<RecordBatch> {
        let mut columns: Vec<Option<ArrayRef>> = vec![None; target.columns.len()];
        for (index, column) in given.iter().zip(rows.columns()) {
            columns[*index] = Some(Arc::clone(column));
        }
        let missing: Vec<usize> = (0..columns.len()).filter(|index| columns[*index].is_none()).collect();
        let name = Name { schema: Some(target.schema.clone()), name: target.name.clone() };
        let insert = Insert { target: name, columns: Vec::new(), source: None, on_conflict: None, returning: Vec::new() };
        let defaults = defaults(target)?;
        let planned = self.planned(None, |planner| planner.insert(&insert, &defaults))?;
        let mut of_rows = Vec::with_capacity(rows.num_rows());
        let is_constant = !missing.iter().any(|index| target.columns[*index].default.is_some());
        for _ in 0..if is_constant { 1 } else { rows.num_rows() } {
            of_rows.push(self.all_rows(&planned, None).await?);
        }
        for index in missing {
            let field = Field::new("default", target.columns[index].sql_type.arrow(), true);
            columns[index] = Some(match is_constant {
                true => arrow::array::new_null_array(field.data_type(), rows.num_rows()),
                false => {
                    let values: Vec<&dyn Array> = of_rows.iter().map(|row| row.column(index).as_ref()).collect();
                    arrow::compute::concat(&values)?
                }
            });
        }
        self.checked(target, columns.into_iter().map(|column| column.expect("each column was given or has a default")).collect())
    }

    /// Columns as rows of the target; 23502 where a null is not allowed.
    pub(super) fn checked(&self, target: &Object, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
        check_not_null(target, &columns)?;
        let schema = schema_of(target);
        let n_rows = columns.first().map_or(0, |column| column.len());
        let columns = columns.into_iter().zip(schema.fields()).map(|(column, field)| retype(column, field)).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }
}

fn plan_returning(planner: &Planner<'_>, items: &[ast::SelectItem], target: &Name, alias: Option<&str>) -> Result<Option<RowExpressions>> {
    match items {
        [] => Ok(None),
        items => planner.returning(items, target, alias).map(Some),
    }
}

fn on_conflict(
    planner: &Planner<'_>,
    clause: Option<&ConflictClause>,
    name: &Name,
    target: &Object,
    defaults: &Defaults,
) -> Result<OnConflict> {
    let Some(clause) = clause else { return Ok(OnConflict::Fail) };
    let Definition::Table { primary_key, .. } = &target.definition else {
        return Err(Error::new(sqlstate::WRONG_OBJECT_TYPE, format!("stream \"{}\" has no key to conflict on", target.name)));
    };
    let mut named: Vec<usize> = clause.columns.iter().map(|name| super::ingest::column_index(target, name)).collect::<Result<_>>()?;
    named.sort_unstable();
    let mut key = primary_key.clone();
    key.sort_unstable();
    if !named.is_empty() && named != key || named.is_empty() && clause.update.is_some() {
        let message = "there is no unique or exclusion constraint matching the ON CONFLICT specification";
        return Err(Error::new(sqlstate::INVALID_COLUMN_REFERENCE, message).with_hint("name the columns of the primary key"));
    }
    Ok(match planner.on_conflict(clause, name, defaults)? {
        None => OnConflict::DoNothing,
        Some(update) => OnConflict::DoUpdate(Arc::new(PairUpsert { target: target.clone(), update })),
    })
}

/// DO UPDATE over the row there and the row proposed.
struct PairUpsert {
    target: Object,
    update: ConflictUpdate,
}

impl Upsert for PairUpsert {
    fn update(&self, existing: &RecordBatch, excluded: &RecordBatch) -> Result<(RecordBatch, Vec<bool>)> {
        let fields = existing.schema_ref().fields().iter().chain(excluded.schema_ref().fields()).cloned();
        let pairs = Arc::new(arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()));
        let pairs = RecordBatch::try_new(pairs, existing.columns().iter().chain(excluded.columns()).cloned().collect())?;
        let taken = match &self.update.predicate {
            Some(predicate) => {
                predicate.evaluate(&pairs)?.into_array(pairs.num_rows())?.as_boolean().iter().map(|value| value == Some(true)).collect()
            }
            None => vec![true; pairs.num_rows()],
        };
        let columns = evaluate(&self.update.values, &pairs)?;
        let schema = schema_of(&self.target);
        let columns = columns.into_iter().zip(schema.fields()).map(|(column, field)| retype(column, field)).collect::<Result<Vec<_>>>()?;
        check_not_null(&self.target, &columns)?;
        Ok((RecordBatch::try_new(schema, columns)?, taken))
    }
}

fn returned(expressions: &RowExpressions, applied: &Applied) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let columns = evaluate(expressions, &applied.returned)?;
    let options = RecordBatchOptions::new().with_row_count(Some(applied.returned.num_rows()));
    let columns =
        columns.into_iter().zip(expressions.schema.fields()).map(|(column, field)| retype(column, field)).collect::<Result<_>>()?;
    let rows = RecordBatch::try_new_with_options(expressions.schema.clone(), columns, &options)?;
    Ok((expressions.schema.clone(), vec![rows]))
}

fn evaluate(expressions: &RowExpressions, rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
    expressions.expressions.iter().map(|expression| Ok(expression.evaluate(rows)?.into_array(rows.num_rows())?)).collect()
}

fn defaults(target: &Object) -> Result<Defaults> {
    let with_default = target.columns.iter().filter_map(|column| Some((column, column.default.as_deref()?)));
    with_default.map(|(column, default)| Ok((column.name.clone(), parse_expression(default)?))).collect::<Result<HashMap<_, _>>>()
}

fn check_not_null(target: &Object, columns: &[ArrayRef]) -> Result<()> {
    for (column, values) in target.columns.iter().zip(columns) {
        if !column.nullable && values.null_count() > 0 {
            let message = format!("null value in column \"{}\" of relation \"{}\" violates not-null constraint", column.name, target.name);
            return Err(Error::new(sqlstate::NOT_NULL_VIOLATION, message));
        }
    }
    Ok(())
}

/// The same values under the field's exact type, where only names or nullability inside differ.
fn retype(column: ArrayRef, field: &Field) -> Result<ArrayRef> {
    if column.data_type() == field.data_type() {
        return Ok(column);
    }
    Ok(cast_with_options(&column, field.data_type(), &CastOptions { safe: false, ..CastOptions::default() })?)
}
