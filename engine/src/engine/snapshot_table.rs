//! A relation's snapshots as a table for DataFusion.
//!
//! Guaranteed: the planner is told how many rows there are at most, so that joins keep their smaller side; and a query that says which
//! values all columns of the relation's key have looks its rows up, in as much time whether there are a thousand or a million. So does
//! one that says it of the columns of an index, where these rows are few among all.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics, project_schema};
use datafusion::datasource::source::{DataSource, DataSourceExec};
use datafusion::datasource::{TableProvider, TableType};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr};
use futures::StreamExt;

use super::named_keys::{keys_named, values_named};
use crate::state::history::{Snapshot, repeated};

/// A query over so few rows is not worth a second thread: waking one costs more than the rows, and much more while views are
/// built on all cores.
pub(super) const FEW_ROWS: u64 = 8192;

/// A row that is looked up costs as much as some tens that are scanned.
const SCANNED_FOR_ONE: u64 = 64;

/// So few rows are looked up whatever a scan would cost.
const ALWAYS_LOOKED_UP: u64 = 16;

/// A table over one snapshot per worker; few rows are in one partition.
#[derive(Clone)]
pub(super) struct SnapshotTable {
    schema: SchemaRef,
    partitions: Vec<Partition>,
    /// The same rows, by worker, kept by other keys.
    indexes: Vec<Vec<Snapshot>>,
}

/// Rows of one worker, or few rows of all.
#[derive(Clone)]
struct Partition {
    snapshots: Vec<Snapshot>,
    n_rows_at_most: u64,
}

/// A scan of some of its columns.
struct Scan {
    table: SnapshotTable,
    /// Only the rows with these keys.
    keys: Option<Vec<ArrayRef>>,
    columns: Option<Vec<usize>>,
    schema: SchemaRef,
}

impl SnapshotTable {
    /// Rows that have columns of `schema`'s types.
    pub(super) fn new(schema: SchemaRef, snapshots: Vec<Snapshot>) -> Self {
        let n_rows: u64 = snapshots.iter().map(Snapshot::n_rows_at_most).sum();
        let partitioned: Vec<Vec<_>> = match n_rows <= FEW_ROWS {
            true => vec![snapshots],
            false => snapshots.into_iter().map(|snapshot| vec![snapshot]).collect(),
        };
        Self { schema, partitions: partitioned.into_iter().map(Partition::new).collect(), indexes: Vec::new() }
    }

    /// With indexes that have these rows, each by worker.
    pub(super) fn with_indexes(self, indexes: Vec<Vec<Snapshot>>) -> Self {
        Self { indexes, ..self }
    }

    /// The columns by which rows can be looked up: those of the relation itself, then those of each index. None where they cannot.
    fn keys(&self) -> impl Iterator<Item = &[usize]> {
        let own = self.partitions.first().and_then(|partition| partition.snapshots.first());
        let first = std::iter::once(own).chain(self.indexes.iter().map(|snapshots| snapshots.first()));
        first.map(|snapshot| snapshot.and_then(Snapshot::key).unwrap_or_default())
    }

    /// The rows that pass `filters`, and others, as rows to be looked up by keys: in the relation itself, or in the index where they are
    /// fewest. `None` where a scan is better.
    fn looked_up(&self, filters: &[Expr]) -> Result<Option<(Self, Vec<ArrayRef>)>> {
        let named = |key: &[usize]| keys_named(filters, key, &self.schema);
        let mut ways = self.keys();
        if let Some(keys) = named(ways.next().unwrap_or_default())? {
            let snapshots = self.partitions.iter().flat_map(|partition| partition.snapshots.iter().cloned()).collect();
            let n_rows = keys.first().map_or(0, |key| key.len() as u64);
            return Ok(Some((self.of_few(snapshots, n_rows), keys)));
        }
        let n_rows: u64 = self.partitions.iter().map(|partition| partition.n_rows_at_most).sum();
        let (mut best, mut n_best) = (None, ALWAYS_LOOKED_UP.max(n_rows / SCANNED_FOR_ONE));
        for (snapshots, key) in self.indexes.iter().zip(ways) {
            let Some(keys) = named(key)? else { continue };
            let n_found = snapshots.iter().map(|snapshot| snapshot.n_found_at_most(&keys)).sum::<crate::Result<u64>>();
            let n_found = n_found.map_err(|error| DataFusionError::External(Box::new(error)))?;
            if n_found <= n_best {
                (best, n_best) = (Some((self.of_few(snapshots.clone(), n_found), keys)), n_found);
            }
        }
        Ok(best)
    }

    /// A few rows, in one partition.
    fn of_few(&self, snapshots: Vec<Snapshot>, n_rows_at_most: u64) -> Self {
        Self { schema: Arc::clone(&self.schema), partitions: vec![Partition { snapshots, n_rows_at_most }], indexes: Vec::new() }
    }
}

impl Partition {
    fn new(snapshots: Vec<Snapshot>) -> Self {
        Self { n_rows_at_most: snapshots.iter().map(Snapshot::n_rows_at_most).sum(), snapshots }
    }
}

impl fmt::Debug for SnapshotTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotTable").field("partitions", &self.partitions.len()).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for SnapshotTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (columns, schema) = (projection.cloned(), project_schema(&self.schema, projection)?);
        let (table, keys) = match self.looked_up(filters)? {
            Some((table, keys)) => (table, Some(keys)),
            None => (self.clone(), None),
        };
        Ok(DataSourceExec::from_data_source(Scan { table, keys, columns, schema }))
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // The filter stays above the scan, too: it decides, and the scan only leaves out rows that it would.
        let names_keys =
            |filter: &&Expr| values_named(filter, &self.schema).is_some_and(|(column, _)| self.keys().any(|key| key.contains(&column)));
        let answer =
            |filter| if names_keys(filter) { TableProviderFilterPushDown::Inexact } else { TableProviderFilterPushDown::Unsupported };
        Ok(filters.iter().map(answer).collect())
    }
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl DataSource for Scan {
    fn open(&self, partition: usize, _context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (columns, types, schema) = (self.columns.clone(), Arc::clone(&self.table.schema), Arc::clone(&self.schema));
        let keys = self.keys.clone();
        let snapshots = self.table.partitions[partition].snapshots.clone();
        let rows = move |snapshot: Snapshot| match &keys {
            Some(keys) => {
                Box::new(std::iter::once(snapshot.lookup(keys).and_then(|found| repeated(&found)))) as Box<dyn Iterator<Item = _> + Send>
            }
            None => snapshot.batches(),
        };
        let batches = snapshots.into_iter().flat_map(rows).map(move |batch| {
            let batch = batch.map_err(|error| DataFusionError::External(Box::new(error)))?;
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let batch = RecordBatch::try_new_with_options(Arc::clone(&types), batch.columns().to_vec(), &options)?;
            Ok(columns.as_ref().map_or_else(|| Ok(batch.clone()), |columns| batch.project(columns))?)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter(batches).boxed())))
    }

    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "snapshots={}", self.table.partitions.len())?;
        self.keys.as_ref().map_or(Ok(()), |keys| write!(f, ", keys={}", keys.first().map_or(0, |key| key.len())))
    }

    fn output_partitioning(&self) -> Partitioning {
        Partitioning::UnknownPartitioning(self.table.partitions.len())
    }

    fn eq_properties(&self) -> EquivalenceProperties {
        EquivalenceProperties::new(Arc::clone(&self.schema))
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        let partitions = &self.table.partitions;
        let n_rows: u64 = match partition {
            Some(partition) => partitions[partition].n_rows_at_most,
            None => partitions.iter().map(|partition| partition.n_rows_at_most).sum(),
        };
        // Rows that cancel each other, and copies of a row, are not known without looking at all.
        let n_rows = Precision::Inexact(usize::try_from(n_rows).unwrap_or(usize::MAX));
        Ok(Arc::new(Statistics { num_rows: n_rows, ..Statistics::new_unknown(&self.schema) }))
    }

    fn with_fetch(&self, _limit: Option<usize>) -> Option<Arc<dyn DataSource>> {
        None
    }

    fn fetch(&self) -> Option<usize> {
        None
    }

    fn try_swapping_with_projection(&self, _projection: &ProjectionExprs) -> Result<Option<Arc<dyn DataSource>>> {
        Ok(None)
    }

    fn apply_expressions(&self, _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::prelude::{col, lit};

    use super::*;
    use crate::ChangeBatch;
    use crate::state::history::Trace;

    /// `n_rows` rows of `id`, `few` (a hundredth of them have one value) and `half`, kept by `id`, with an index on each of the others.
    fn table(n_rows: i64) -> SnapshotTable {
        let fields = ["id", "few", "half"].map(|name| Field::new(name, DataType::Int64, true));
        let schema = Arc::new(Schema::new(fields.to_vec()));
        let column = |value: fn(i64) -> i64| Arc::new((0..n_rows).map(value).collect::<Int64Array>()) as ArrayRef;
        let columns = vec![column(|id| id), column(|id| id % 100), column(|id| id % 2)];
        let rows = ChangeBatch::inserts(RecordBatch::try_new(Arc::clone(&schema), columns).expect("three columns"));
        let kept_by = |column| {
            let mut trace = Trace::keyed(Arc::clone(&schema), false, vec![column]);
            trace.insert(1, &rows).expect("it inserts");
            vec![trace.snapshot_at(1)]
        };
        SnapshotTable::new(Arc::clone(&schema), kept_by(0)).with_indexes(vec![kept_by(2), kept_by(1)])
    }

    /// How many rows are looked up, and by which column.
    fn looked_up(table: &SnapshotTable, filters: &[Expr]) -> Option<(usize, usize)> {
        let (found, keys) = table.looked_up(filters).expect("the keys are of their columns' types")?;
        let snapshot = &found.partitions[0].snapshots[0];
        Some((snapshot.lookup(&keys).expect("it finds").len(), snapshot.key().expect("it is kept by a key")[0]))
    }

    #[test]
    fn rows_are_looked_up_where_they_are_few() {
        let table = table(10_000);
        let few = || col("few").eq(lit(7_i64));
        let half = || col("half").eq(lit(1_i64));
        assert_eq!(looked_up(&table, &[few()]), Some((100, 1)));
        assert_eq!(looked_up(&table, &[half(), few()]), Some((100, 1)), "by the index with the fewest");
        assert_eq!(looked_up(&table, &[half()]), None, "half of all");
        assert_eq!(looked_up(&table, &[few(), col("id").eq(lit(3_i64))]), Some((1, 0)), "by the relation's own key first");
        assert_eq!(looked_up(&table, &[col("few").eq(lit(-1_i64))]), Some((0, 1)));
        assert_eq!(looked_up(&table, &[col("few").in_list((0..50).map(lit).collect(), false)]), None);
        assert_eq!(looked_up(&table, &[col("few").gt(lit(7_i64))]), None);
    }

    #[test]
    fn a_few_rows_are_looked_up_in_a_small_relation() {
        assert_eq!(looked_up(&table(20), &[col("half").eq(lit(1_i64))]), Some((10, 2)));
        assert_eq!(looked_up(&table(40), &[col("half").eq(lit(1_i64))]), None);
    }
}
