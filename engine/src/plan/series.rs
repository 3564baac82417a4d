//! `FROM generate_series(1, 10)` below what is kept current: its rows are known at planning.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use datafusion::catalog::TableProvider;
use datafusion::datasource::source_as_provider;
use datafusion::functions_table::generate_series::GenerateSeriesTable;
use datafusion::logical_expr::TableScan;

use crate::{Error, Result};

/// More rows than these belong into a table.
const MAX_ROWS: usize = 1_000_000;

/// The rows of the series that `scan` reads, if it does.
pub(super) fn rows(scan: &TableScan) -> Result<Option<RecordBatch>> {
    const BATCH_ROWS: usize = 65_536;
    let Ok(table) = source_as_provider(&scan.source) else { return Ok(None) };
    let Some(series) = table.downcast_ref::<GenerateSeriesTable>() else { return Ok(None) };
    let generator = series.as_generator(BATCH_ROWS)?;
    let (mut batches, mut n_rows) = (Vec::new(), 0);
    while let Some(batch) = generator.write().generate_next_batch()? {
        n_rows += batch.num_rows();
        if n_rows > MAX_ROWS {
            return Err(Error::unsupported(
                format!("a generate_series() of more than {MAX_ROWS} rows cannot be read by a materialized view"),
                "INSERT the rows INTO a table",
            ));
        }
        batches.push(batch);
    }
    Ok(Some(concat_batches(&series.schema(), &batches)?))
}
