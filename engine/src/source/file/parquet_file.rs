//! One Parquet file: columns are matched by name and cast to the declared types. A row with a value that cannot be cast is
//! a failure with the row as JSON.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use catalog::{Column, SqlType};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::paths::Found;
use super::{Read, error_at};
use crate::decode::column::ColumnBuffer;
use crate::decode::{DecodeFailure, infer};
use crate::error::sqlstate::{DATA_CORRUPTED, INVALID_TEXT, NOT_NULL_VIOLATION, UNDEFINED_COLUMN};
use crate::{Error, Result};

/// Rows decoded at once.
const BATCH_ROWS: usize = 8192;

/// A Parquet file being read.
pub struct ParquetFile {
    found: Found,
    reader: ParquetRecordBatchReader,
    columns: Vec<Column>,
    schema: SchemaRef,
    /// Decoded and not yet given out.
    rest: Option<RecordBatch>,
    n_rows: u64,
}

impl ParquetFile {
    /// `found`, at a row.
    pub fn open(found: &Found, columns: &[Column], offset: u64) -> Result<Self> {
        let file = File::open(&found.path).map_err(|error| error_at(found, error))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| corrupted(found, &error))?;
        if !columns.iter().any(|column| builder.schema().index_of(&column.name).is_ok()) {
            let names: Vec<&str> = builder.schema().fields().iter().map(|field| field.name().as_str()).collect();
            return Err(Error::new(UNDEFINED_COLUMN, format!("file \"{}\" has none of the columns", found.name))
                .with_hint(format!("it has {}", names.join(", "))));
        }
        let offset_rows = usize::try_from(offset).map_err(|_| Error::internal("a row number fits in memory"))?;
        let reader = builder.with_batch_size(BATCH_ROWS).with_offset(offset_rows).build().map_err(|error| corrupted(found, &error))?;
        let fields: Vec<_> = columns.iter().map(|column| ColumnBuffer::new(column).field()).collect();
        Ok(Self {
            found: found.clone(),
            reader,
            columns: columns.to_vec(),
            schema: Arc::new(Schema::new(fields)),
            rest: None,
            n_rows: offset,
        })
    }

    /// The first row that was not read.
    pub fn offset(&self) -> u64 {
        self.n_rows
    }

    /// The next rows, at most `max_rows`, not beyond row `end`.
    pub fn read(&mut self, max_rows: usize, end: Option<u64>) -> Result<Read> {
        let missing = end.map_or(u64::MAX, |end| end.saturating_sub(self.n_rows));
        let max_rows = max_rows.min(usize::try_from(missing).unwrap_or(usize::MAX));
        if max_rows == 0 {
            return Ok(Read { at_end: true, ..Read::default() });
        }
        let batch = match self.rest.take() {
            Some(batch) => batch,
            None => match self.reader.next() {
                Some(batch) => batch.map_err(|error| corrupted(&self.found, &error))?,
                None => return Ok(Read { at_end: true, ..Read::default() }),
            },
        };
        let n_taken = batch.num_rows().min(max_rows);
        if n_taken < batch.num_rows() {
            self.rest = Some(batch.slice(n_taken, batch.num_rows() - n_taken));
        }
        let read = self.convert(&batch.slice(0, n_taken))?;
        self.n_rows += n_taken as u64;
        Ok(read)
    }

    /// The batch in the declared types; when that fails, row by row, to tell the bad rows from the good ones.
    fn convert(&self, batch: &RecordBatch) -> Result<Read> {
        if let Ok(converted) = self.convert_batch(batch) {
            return Ok(Read { batches: vec![converted], ..Read::default() });
        }
        let mut read = Read::default();
        for row in 0..batch.num_rows() {
            let one = batch.slice(row, 1);
            match self.convert_batch(&one) {
                Ok(converted) => read.batches.push(converted),
                Err(error) => read.failures.push(DecodeFailure {
                    raw: row_text(&one),
                    position: format!("{}, row {}", self.found.name, self.n_rows + row as u64 + 1),
                    error: error.message,
                    sqlstate: error.sqlstate,
                }),
            }
        }
        read.batches = vec![arrow::compute::concat_batches(&self.schema, &read.batches)?];
        read.batches.retain(|batch| batch.num_rows() > 0);
        Ok(read)
    }

    fn convert_batch(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (column, field) in self.columns.iter().zip(self.schema.fields()) {
            let array = match batch.column_by_name(&column.name) {
                Some(array) => convert_column(array, column, field.data_type())?,
                None => new_null_array(field.data_type(), batch.num_rows()),
            };
            if !column.nullable && array.null_count() > 0 {
                let message = format!("null value in column \"{}\" violates not-null constraint", column.name);
                return Err(Error::new(NOT_NULL_VIOLATION, message));
            }
            arrays.push(array);
        }
        Ok(RecordBatch::try_new(self.schema.clone(), arrays)?)
    }
}

/// Text goes through the type's input function; other types are cast by Arrow.
fn convert_column(array: &ArrayRef, column: &Column, to: &DataType) -> Result<ArrayRef> {
    let is_plain_text = matches!(column.sql_type, SqlType::Text | SqlType::Varchar(None));
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let is_text = matches!(array.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let has_text_rules = *to == DataType::Utf8 && !is_plain_text;
    if is_text && !is_plain_text || has_text_rules {
        let texts = cast_with_options(array, &DataType::Utf8, &options).map_err(|error| bad_value(column, &error))?;
        return parse_texts(&texts, column);
    }
    if array.data_type() == to {
        return Ok(array.clone());
    }
    cast_with_options(array, to, &options).map_err(|error| bad_value(column, &error))
}

fn parse_texts(texts: &ArrayRef, column: &Column) -> Result<ArrayRef> {
    let texts = texts.as_any().downcast_ref::<StringArray>().expect("cast to Utf8");
    let mut buffer = ColumnBuffer::new(column);
    for text in texts {
        match text {
            Some(text) => buffer.append_text(text)?,
            None => buffer.append_null()?,
        }
    }
    Ok(buffer.finish())
}

fn bad_value(column: &Column, error: &arrow::error::ArrowError) -> Error {
    let sqlstate = Error::from(arrow::error::ArrowError::CastError(error.to_string())).sqlstate;
    debug_assert_eq!(sqlstate, INVALID_TEXT);
    Error::new(sqlstate, format!("column \"{}\": {error}", column.name))
}

/// A row for people to read: Parquet has no bytes of one row.
fn row_text(row: &RecordBatch) -> Vec<u8> {
    let options = FormatOptions::default().with_null("null");
    let value = |array: &ArrayRef| match ArrayFormatter::try_new(array.as_ref(), &options) {
        Ok(formatter) => formatter.value(0).try_to_string().unwrap_or_else(|error| error.to_string()),
        Err(error) => error.to_string(),
    };
    let schema = row.schema();
    let members = schema.fields().iter().zip(row.columns()).map(|(field, array)| {
        let value = if array.is_null(0) { serde_json::Value::Null } else { serde_json::Value::from(value(array)) };
        (field.name().clone(), value)
    });
    serde_json::Value::Object(members.collect()).to_string().into_bytes()
}

/// The columns of a file by its own schema.
pub fn infer_columns(path: &Path) -> Result<Vec<Column>> {
    let found = Found { name: path.display().to_string(), path: path.into() };
    let file = File::open(path)?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| corrupted(&found, &error))?;
    let column = |field: &arrow::datatypes::FieldRef| infer::column(field.name(), SqlType::of_field(field));
    Ok(builder.schema().fields().iter().map(column).collect())
}

fn corrupted(found: &Found, error: &dyn std::fmt::Display) -> Error {
    Error::new(DATA_CORRUPTED, format!("file \"{}\" cannot be read as Parquet: {error}", found.name))
}
