//! COPY FROM STDIN and HTTP ingest: bytes are decoded as they come, and become visible together.
//!
//! Guaranteed: rows in = rows taken + failures. Into a stream, failures go to `"s$errors"` and stop nothing; into a table the
//! first failure fails the whole COPY, as in Postgres.

use arrow::array::RecordBatch;
use catalog::{Column, Definition, Object, ObjectId};
use std::sync::Arc;

use super::{Core, Engine, Transaction};
use crate::decode::{CsvHeader, DecodeFailure, Decoder, Format, decode_error_rows};
use crate::error::sqlstate;
use crate::functions::scalar::zones::Zone;
use crate::functions::settings::session_zone;
use crate::plan::statement::{CopyFormat, CopyIn, Name};
use crate::sequencer::Request;
use crate::sequencer::table::{OnConflict, Write};
use crate::{Epoch, Error, Result};

/// A COPY or HTTP ingest under way.
pub struct Ingest {
    core: Arc<Core>,
    target: Object,
    /// Of the target's columns, which each decoded column is.
    columns: Vec<usize>,
    decoder: Decoder,
    batches: Vec<RecordBatch>,
    failures: Vec<DecodeFailure>,
}

/// What an ingest did: `rows in = n_rows + n_errors`.
#[derive(Debug, Clone, Copy)]
pub struct Ingested {
    /// Rows taken in.
    pub n_rows: u64,
    /// Rows that could not be decoded: they are in `"s$errors"` (streams only; a table's COPY fails as a whole).
    pub n_errors: u64,
    /// The epoch at which they are visible; 0 inside a transaction.
    pub epoch: Epoch,
}

/// How pushed rows are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IngestFormat {
    /// One JSON object a line.
    Ndjson,
    /// CSV with these options; a header names the columns.
    Csv(CopyFormat),
}

impl Engine {
    /// Starts a COPY FROM STDIN.
    pub async fn copy_in(&self, copy: &CopyIn) -> Result<Ingest> {
        let ingest = self.start_ingest(&copy.target, &copy.columns, Format::of_copy(&copy.format)?)?;
        Ok(match session_zone() {
            Some(zone) => Ingest { decoder: ingest.decoder.in_zone(Zone::of_session(&zone)?), ..ingest },
            None => ingest,
        })
    }

    /// Starts an HTTP ingest into a push stream or table.
    pub async fn ingest(&self, target: &Name, format: IngestFormat) -> Result<Ingest> {
        let format = match format {
            IngestFormat::Ndjson => Format::Ndjson,
            IngestFormat::Csv(options) => match Format::of_copy(&options)? {
                Format::Csv(mut csv) if options.header => {
                    csv.header = CsvHeader::Names;
                    Format::Csv(csv)
                }
                format => format,
            },
        };
        self.start_ingest(target, &[], format)
    }

    fn start_ingest(&self, target: &Name, names: &[String], format: Format) -> Result<Ingest> {
        let target = self.core.writable(target)?;
        let columns: Vec<usize> = match given_columns(&target, names)?.as_slice() {
            [] => (0..target.columns.len()).collect(),
            names => names.iter().map(|name| column_index(&target, name)).collect::<Result<_>>()?,
        };
        let decoded: Vec<Column> = columns.iter().map(|index| target.columns[*index].clone()).collect();
        let decoder = Decoder::new(&format, &decoded)?;
        Ok(Ingest { core: Arc::clone(&self.core), target, columns, decoder, batches: Vec::new(), failures: Vec::new() })
    }
}

impl Ingest {
    /// How many columns each row has.
    pub fn n_columns(&self) -> usize {
        self.columns.len()
    }

    /// Decodes some bytes; rows need not end at their end.
    pub async fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.decoder.push(bytes)?;
        self.take()
    }

    /// Everything pushed becomes visible at one epoch, and is durable when this returns. With a transaction it is buffered there.
    pub async fn finish(mut self, transaction: Option<&mut Transaction>) -> Result<Ingested> {
        self.decoder.finish()?;
        self.take()?;
        let n_errors = self.failures.len() as u64;
        let n_rows = self.batches.iter().map(|batch| batch.num_rows() as u64).sum();
        let mut writes: Vec<(ObjectId, Write)> = Vec::new();
        for batch in std::mem::take(&mut self.batches) {
            writes.push((self.target.id, Write::Insert(self.widen(&batch).await?, OnConflict::Fail)));
        }
        if let (Definition::Stream { errors, .. }, false) = (&self.target.definition, self.failures.is_empty()) {
            let rows = decode_error_rows(&self.failures, self.core.clock.now_us());
            writes.push((*errors, Write::Insert(rows, OnConflict::Fail)));
        }
        let epoch = match transaction {
            Some(transaction) => {
                for (id, write) in writes {
                    transaction.apply(&self.core, id, write).await?;
                }
                0
            }
            None => self.core.ask(|reply| Request::Write { writes, reply }).await?.epoch,
        };
        Ok(Ingested { n_rows, n_errors, epoch })
    }

    fn take(&mut self) -> Result<()> {
        let (batches, failures) = self.decoder.take();
        self.batches.extend(batches.into_iter().filter(|batch| batch.num_rows() > 0));
        if let (false, Some(failure)) = (matches!(self.target.definition, Definition::Stream { .. }), failures.first()) {
            let error = Error::new(failure.sqlstate, failure.error.clone());
            return Err(error.with_detail(format!("COPY {}, {}", self.target.name, failure.position)));
        }
        self.failures.extend(failures);
        Ok(())
    }

    /// Decoded columns as rows of the target; a column that was not given is its default.
    async fn widen(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        if self.columns.len() == self.target.columns.len() && self.columns.iter().copied().eq(0..self.columns.len()) {
            return self.core.checked(&self.target, batch.columns().to_vec());
        }
        self.core.complete(&self.target, batch, &self.columns).await
    }
}

impl Core {
    /// A stream rows can be pushed to, or a table.
    pub(super) fn writable(&self, name: &Name) -> Result<Object> {
        let catalog = self.catalog();
        let object = catalog.resolve_or_fail(name.schema.as_deref(), &name.name)?;
        match &object.definition {
            Definition::Table { .. } => Ok(object.clone()),
            Definition::Stream { options, .. } if !options.contains_key("connector") => Ok(object.clone()),
            Definition::Stream { .. } => {
                Err(Error::new(sqlstate::WRONG_OBJECT_TYPE, format!("stream \"{}\" is fed by its connector", name.name))
                    .with_hint("rows can be written to tables and to streams without a connector"))
            }
            _ => Err(Error::new(sqlstate::WRONG_OBJECT_TYPE, format!("cannot change {} \"{}\"", object.kind().noun(), name.name))
                .with_hint("rows can be written to tables and to streams without a connector")),
        }
    }
}

/// The columns that are written to, by name; none where these are all of them, in order. The time of intake is not given.
pub(super) fn given_columns(target: &Object, names: &[String]) -> Result<Vec<String>> {
    if let Some(name) = names.iter().find(|name| target.is_intake_time(name)) {
        let error = Error::new("428C9", format!("cannot insert a value into column \"{name}\""));
        return Err(error
            .with_detail(format!("Column \"{name}\" holds PROCTIME(), the time at which the row is taken in."))
            .with_hint("leave the column out"));
    }
    let others = || target.columns.iter().filter(|column| !target.is_intake_time(&column.name));
    match names {
        [] if others().count() < target.columns.len() => Ok(others().map(|column| column.name.clone()).collect()),
        names => Ok(names.to_vec()),
    }
}

/// Where a named column of the target is.
pub(super) fn column_index(target: &Object, name: &str) -> Result<usize> {
    target
        .columns
        .iter()
        .position(|column| column.name == name)
        .ok_or_else(|| Error::new(sqlstate::UNDEFINED_COLUMN, format!("column \"{name}\" of relation \"{}\" does not exist", target.name)))
}
