//! VERIFY MATERIALIZED VIEW: a view's rows beside those of its query, which runs in batch over the view's inputs at the same epoch.
//!
//! Guaranteed: both sides are read at one recorded epoch and with its `now`, held as a read holds it, so writers and views go on meanwhile. An
//! input that is itself a materialized view is taken as it is stored: it has a VERIFY of its own.
//! Not guaranteed: bounded memory. The distinct rows in which the two sides differ *so far* are kept, which are those of the
//! view when its query gives them in another order.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Float32Type, Float64Type, SchemaRef};
use arrow::row::{RowConverter, SortField};
use catalog::{Definition, Object};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use super::subscribe::subscription_schema;
use super::{Core, Engine, Notice, Rows};
use crate::error::sqlstate;
use crate::plan::interrupt::Interrupt;
use crate::plan::parse::parse_query;
use crate::plan::query::PlannedQuery;
use crate::plan::statement::Name;
use crate::sequencer::relation::{keeps_nothing, schema_of};
use crate::time::Hold;
use crate::{ChangeBatch, Epoch, Error, Result};

/// Rows are encoded so many at a time.
const PART_ROWS: usize = 8192;

impl Engine {
    /// The rows in which a materialized view differs from its query: `epoch`, `diff` (copies in the view less copies in the
    /// query's result, never 0), then the view's columns. None means that they are equal. A notice tells the epoch and the cost.
    ///
    /// Errors: `42809` for anything but a materialized view, `55000` when an input keeps no rows, and the query's own.
    pub async fn verify(&self, name: &Name) -> Result<Rows> {
        self.core.verify(name).await
    }
}

impl Core {
    async fn verify(&self, name: &Name) -> Result<Rows> {
        let started_us = self.clock.now_us();
        let view = self.verifiable(name)?;
        let hold = self.shared.clock.hold_newest();
        let planned = self.query_of(&view, hold.now_us())?;
        let mut difference = Difference::new(schema_of(&view))?;
        for snapshot in self.snapshots(&[view.id], &hold).await?.into_iter().flatten() {
            for batch in snapshot.batches() {
                difference.add(&batch?, 1)?;
                tokio::task::yield_now().await;
            }
        }
        let (providers, _) = self.providers(&planned, &hold, None).await?;
        let mut batches = match planned.execute(&providers).await {
            Ok(batches) => batches,
            Err(error) => return Err(self.of_failing_rows(error, &view, &hold).await),
        };
        while let Some(batch) = batches.next().await {
            match batch {
                Ok(batch) => difference.add(&batch, -1)?,
                Err(error) => return Err(self.of_failing_rows(planned.failure(error), &view, &hold).await),
            }
        }
        let n_rows = difference.n_rows;
        let differing = difference.finish()?;
        let notices = vec![verdict(&view.name, differing.len(), n_rows, hold.epoch(), self.clock.now_us() - started_us)];
        let rows = labelled(&differing, hold.epoch())?;
        let schema = rows.schema();
        let stream = RecordBatchStreamAdapter::new(schema.clone(), futures::stream::iter([Ok(rows)]));
        Ok(Rows { schema, stream: Box::pin(stream), epoch: hold.epoch(), notices, interrupt: Interrupt::current(), is_short: false })
    }

    /// What VERIFY answers with.
    pub(super) fn verify_schema(&self, name: &Name) -> Result<SchemaRef> {
        self.verifiable(name).map(|view| subscription_schema(&schema_of(&view)))
    }

    /// A materialized view whose inputs are all kept.
    fn verifiable(&self, name: &Name) -> Result<Object> {
        let catalog = self.catalog();
        let view = catalog.resolve_or_fail(name.schema.as_deref(), &name.name)?;
        if !matches!(view.definition, Definition::MaterializedView { .. }) {
            let error = Error::new(sqlstate::WRONG_OBJECT_TYPE, format!("\"{}\" is not a materialized view", name.name));
            return Err(error.with_hint("a plain view is its query; what is stored otherwise is written, not computed"));
        }
        for input in self.query_of(view, self.clock.now_us())?.relations() {
            let input = catalog.require(input)?;
            let Definition::Stream { options, .. } = &input.definition else { continue };
            if keeps_nothing(options.get("retention").map(String::as_str))? {
                let error = Error::new(sqlstate::OBJECT_NOT_IN_STATE, format!("\"{}\" cannot be verified", view.name));
                return Err(error
                    .with_detail(format!(
                        "Its input \"{}\" has retention = '0': the rows that the view has counted are not kept.",
                        input.name
                    ))
                    .with_hint("only a view over retained inputs can be computed again"));
            }
        }
        Ok(view.clone())
    }

    /// A view's query, to be run with the clock at `now_us`.
    fn query_of(&self, view: &Object, now_us: i64) -> Result<PlannedQuery> {
        let Definition::MaterializedView { query, .. } = &view.definition else {
            return Err(Error::internal(format!("\"{}\" is not a materialized view", view.name)));
        };
        let columns: Vec<String> = view.columns.iter().map(|column| column.name.clone()).collect();
        self.plan_view_at(&*parse_query(query)?, &columns, query, now_us)
    }

    /// The error of a query that meets a row which the view leaves out.
    async fn of_failing_rows(&self, error: Error, view: &Object, hold: &Hold) -> Error {
        let Definition::MaterializedView { errors, .. } = &view.definition else { return error };
        match self.n_rows_at(*errors, hold).await {
            Ok(n_rows) if n_rows > 0 => {
                Error::new(error.sqlstate, format!("the query of \"{}\" fails in batch: {}", view.name, error.message))
                    .with_detail(format!(
                        "At epoch {} the view leaves out what failed: {n_rows} rows of \"{}$errors\".",
                        hold.epoch(),
                        view.name
                    ))
                    .with_hint("repair or delete the failing rows, or write the query so that no row fails")
            }
            _ => error,
        }
    }
}

fn verdict(view: &str, n_differing: usize, n_rows: u64, epoch: Epoch, elapsed_us: i64) -> Notice {
    let cost = format!("{n_rows} rows compared in {} ms", elapsed_us / 1000);
    let (severity, message) = match n_differing {
        0 => ("NOTICE", format!("\"{view}\" equals its query at epoch {epoch}: {cost}")),
        n => ("WARNING", format!("\"{view}\" differs from its query at epoch {epoch} in {n} distinct rows: {cost}")),
    };
    Notice { severity, error: Error::new("00000", message) }
}

fn labelled(differing: &ChangeBatch, epoch: Epoch) -> Result<RecordBatch> {
    let epochs = Int64Array::from(vec![epoch as i64; differing.len()]);
    let diffs = Int64Array::from((0..differing.len()).map(|row| differing.weight(row)).collect::<Vec<_>>());
    let mut columns: Vec<ArrayRef> = vec![Arc::new(epochs), Arc::new(diffs)];
    columns.extend(differing.rows().columns().iter().cloned());
    Ok(RecordBatch::try_new(subscription_schema(&differing.rows().schema()), columns)?)
}

/// Two multisets of rows, one counted up and one down.
struct Difference {
    schema: SchemaRef,
    encoding: RowConverter,
    counts: HashMap<Box<[u8]>, i64>,
    /// Of both sides.
    n_rows: u64,
}

impl Difference {
    fn new(schema: SchemaRef) -> Result<Self> {
        let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone()));
        Ok(Self { encoding: RowConverter::new(fields.collect())?, schema, counts: HashMap::new(), n_rows: 0 })
    }

    /// Counts each row `sign` times more. Rows that are equal in SQL are equal here: -0.0 and 0.0, any two NaNs.
    fn add(&mut self, rows: &RecordBatch, sign: i64) -> Result<()> {
        assert_eq!(rows.num_columns(), self.schema.fields().len(), "a view and its query have the same columns");
        self.n_rows += rows.num_rows() as u64;
        for start in (0..rows.num_rows()).step_by(PART_ROWS) {
            let part = rows.slice(start, PART_ROWS.min(rows.num_rows() - start));
            if part.num_columns() == 0 {
                self.count(&[], sign * part.num_rows() as i64);
                continue;
            }
            let columns: Vec<ArrayRef> = part.columns().iter().map(one_zero_and_one_nan).collect();
            for row in &self.encoding.convert_columns(&columns)? {
                count(&mut self.counts, row.data(), sign);
            }
        }
        Ok(())
    }

    fn count(&mut self, row: &[u8], n: i64) {
        count(&mut self.counts, row, n);
    }

    /// Each row whose counts differ, in the order of the row encoding, with the first side's count less the second's.
    fn finish(self) -> Result<ChangeBatch> {
        let mut differing: Vec<(Box<[u8]>, i64)> = self.counts.into_iter().collect();
        differing.sort_unstable();
        let parser = self.encoding.parser();
        let columns = match self.schema.fields().is_empty() {
            true => Vec::new(),
            false => self.encoding.convert_rows(differing.iter().map(|(row, _)| parser.parse(row)))?,
        };
        let options = RecordBatchOptions::new().with_row_count(Some(differing.len()));
        let rows = RecordBatch::try_new_with_options(self.schema, columns, &options)?;
        Ok(ChangeBatch::new(rows, differing.iter().map(|(_, weight)| *weight).collect::<Vec<_>>().into()))
    }
}

/// Keeps no row whose counts are equal: on the second side rows go as they come.
fn count(counts: &mut HashMap<Box<[u8]>, i64>, row: &[u8], n: i64) {
    match counts.get_mut(row) {
        Some(known) if *known == -n => drop(counts.remove(row)),
        Some(known) => *known += n,
        None if n != 0 => drop(counts.insert(row.into(), n)),
        None => {}
    }
}

fn one_zero_and_one_nan(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float64 => {
            Arc::new(column.as_primitive::<Float64Type>().unary::<_, Float64Type>(|x| if x.is_nan() { f64::NAN } else { x + 0.0 }))
        }
        DataType::Float32 => {
            Arc::new(column.as_primitive::<Float32Type>().unary::<_, Float32Type>(|x| if x.is_nan() { f32::NAN } else { x + 0.0 }))
        }
        _ => Arc::clone(column),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array};
    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true), Field::new("v", DataType::Float64, true)]))
    }

    fn rows(rows: &[(Option<i64>, f64)]) -> RecordBatch {
        let keys = Int64Array::from(rows.iter().map(|row| row.0).collect::<Vec<_>>());
        let values = Float64Array::from(rows.iter().map(|row| row.1).collect::<Vec<_>>());
        RecordBatch::try_new(schema(), vec![Arc::new(keys), Arc::new(values)]).expect("two columns")
    }

    fn differing(view: &RecordBatch, query: &RecordBatch) -> Vec<(Option<i64>, f64, i64)> {
        let mut difference = Difference::new(schema()).expect("types that can be encoded");
        difference.add(view, 1).expect("rows of the schema");
        difference.add(query, -1).expect("rows of the schema");
        let found = difference.finish().expect("rows of the schema");
        let keys = found.column(0).as_primitive::<arrow::datatypes::Int64Type>().iter().collect::<Vec<_>>();
        let values = found.column(1).as_primitive::<Float64Type>().values().to_vec();
        (0..found.len()).map(|row| (keys[row], values[row], found.weight(row))).collect()
    }

    #[test]
    fn the_same_rows_in_another_order_are_equal() {
        let view = rows(&[(Some(1), 0.5), (None, 2.0), (Some(1), 0.5), (Some(3), -0.0), (Some(4), f64::NAN)]);
        let query = rows(&[(Some(4), -f64::NAN), (Some(1), 0.5), (Some(3), 0.0), (Some(1), 0.5), (None, 2.0)]);
        assert_eq!(differing(&view, &query), vec![]);
    }

    #[test]
    fn what_only_one_side_has_is_found_with_its_count() {
        let view = rows(&[(Some(1), 0.5), (Some(1), 0.5), (Some(2), 1.0), (None, 7.0)]);
        let query = rows(&[(Some(2), 1.0), (Some(1), 0.5), (Some(3), 1.0), (Some(3), 1.0), (Some(0), 7.0)]);
        let expected = vec![(None, 7.0, 1), (Some(0), 7.0, -1), (Some(1), 0.5, 1), (Some(3), 1.0, -2)];
        assert_eq!(differing(&view, &query), expected);
        assert_eq!(verdict("v", expected.len(), 9, 17, 2500).severity, "WARNING");
    }

    #[test]
    fn rows_without_columns_are_counted() {
        let schema: SchemaRef = Arc::new(Schema::empty());
        let of = |n| RecordBatch::try_new_with_options(schema.clone(), vec![], &RecordBatchOptions::new().with_row_count(Some(n)));
        let mut difference = Difference::new(schema.clone()).expect("nothing to encode");
        difference.add(&of(3).expect("three rows"), 1).expect("rows of the schema");
        difference.add(&of(1).expect("one row"), -1).expect("rows of the schema");
        let found = difference.finish().expect("rows of the schema");
        assert_eq!((found.len(), found.weight(0)), (1, 2));
    }
}
