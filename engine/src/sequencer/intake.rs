//! Columns that hold when a row was taken in: `p_time TIMESTAMP AS PROCTIME()`.
//!
//! Guaranteed: the value is the `now` of the row's epoch, which the log records, so that a replay gives the same rows. What a
//! source brings is not logged and gets its columns again; what is pushed is logged with them.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use catalog::Object;

use super::relation::schema_of;
use crate::Result;

/// The intake-time columns of one stream.
#[derive(Debug, Clone)]
pub struct IntakeTimes {
    schema: SchemaRef,
    /// In ascending order.
    places: Vec<usize>,
}

impl IntakeTimes {
    /// `None` for a relation that has no such column.
    pub fn of(object: &Object) -> Option<Self> {
        let columns = object.columns.iter().enumerate();
        let places: Vec<usize> = columns.filter(|(_, column)| object.is_intake_time(&column.name)).map(|(place, _)| place).collect();
        (!places.is_empty()).then(|| Self { schema: schema_of(object), places })
    }

    /// Rows as a source brings them, without these columns, as rows of the stream.
    pub fn add(&self, rows: &RecordBatch, now_us: i64) -> Result<RecordBatch> {
        let mut columns = rows.columns().to_vec();
        for place in &self.places {
            columns.insert(*place, self.column(*place, now_us, rows.num_rows())?);
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    /// Pushed rows, in which these columns are null.
    pub fn fill(&self, rows: &RecordBatch, now_us: i64) -> Result<RecordBatch> {
        let mut columns = rows.columns().to_vec();
        for place in &self.places {
            columns[*place] = self.column(*place, now_us, rows.num_rows())?;
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    fn column(&self, place: usize, now_us: i64, n_rows: usize) -> Result<ArrayRef> {
        let now = TimestampMicrosecondArray::from_value(now_us, n_rows);
        match self.schema.field(place).data_type() {
            DataType::Timestamp(_, Some(zone)) => Ok(Arc::new(now.with_timezone(Arc::clone(zone)))),
            other => Ok(cast(&now, other)?),
        }
    }
}
