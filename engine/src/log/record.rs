//! What one epoch's record says, and how it is encoded.
//!
//! The rows of an effect are an Arrow IPC stream of one batch, not compressed; where weights are not all +1 they are its last
//! column. All numbers are little-endian. The epoch itself is in the frame around the record.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::MetadataVersion;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use catalog::ObjectId;

use crate::error::sqlstate;
use crate::{ChangeBatch, Epoch, Error, Result};

/// What is durable about one epoch: replaying it gives the same rows, the same `now()` and the same answers.
#[derive(Debug, Clone)]
pub struct EpochRecord {
    /// The epoch.
    pub epoch: Epoch,
    /// Its `now()`: microseconds since 1970 in UTC.
    pub now_us: i64,
    /// The catalog version it ran under.
    pub catalog_version: u64,
    /// How far each source was read in it.
    pub spans: Vec<SourceSpan>,
    /// What was pushed in it.
    pub effects: Vec<Effect>,
}

/// The part of a source that was read in one epoch. Positions are text that only the source understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSpan {
    /// The stream it went into.
    pub relation: ObjectId,
    /// The position before the first row.
    pub from: String,
    /// The position after the last row.
    pub to: String,
    /// Rows in between.
    pub n_rows: u64,
}

/// Changes of one relation that cannot be read again from anywhere else.
#[derive(Debug, Clone)]
pub struct Effect {
    /// The stream or table.
    pub relation: ObjectId,
    /// Its changes, with all of its columns.
    pub changes: ChangeBatch,
}

/// The name of the last column of an effect with weights. No column of a relation is told by it, only by its place.
const WEIGHT: &str = "weight";

/// An effect's flag: the last column of the batch is the weights.
const HAS_WEIGHTS: u8 = 1;

/// The least Arrow allows. Its default, 64, would triple the size of a record with one small row, the most common one.
const IPC_ALIGNMENT: usize = 8;

impl EpochRecord {
    /// The payload of its frame.
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let mut payload = Vec::new();
        payload.extend(self.now_us.to_le_bytes());
        payload.extend(self.catalog_version.to_le_bytes());
        payload.extend(count(self.spans.len())?);
        for span in &self.spans {
            payload.extend(span.relation.0.to_le_bytes());
            payload.extend(span.n_rows.to_le_bytes());
            for position in [&span.from, &span.to] {
                payload.extend(count(position.len())?);
                payload.extend(position.as_bytes());
            }
        }
        payload.extend(count(self.effects.len())?);
        for effect in &self.effects {
            payload.extend(effect.relation.0.to_le_bytes());
            encode_changes(&effect.changes, &mut payload)?;
        }
        Ok(payload)
    }

    /// The record of `epoch` from its payload, whose checksum was right. An error says what does not fit.
    pub(super) fn decode(epoch: Epoch, payload: &[u8]) -> Result<Self> {
        let mut left = Bytes(payload);
        let now_us = i64::from_le_bytes(left.array()?);
        let catalog_version = u64::from_le_bytes(left.array()?);
        let n_spans = u32::from_le_bytes(left.array()?);
        let spans = (0..n_spans).map(|_| decode_span(&mut left)).collect::<Result<_>>()?;
        let n_effects = u32::from_le_bytes(left.array()?);
        let effects = (0..n_effects).map(|_| decode_effect(&mut left)).collect::<Result<_>>()?;
        match left.0.len() {
            0 => Ok(Self { epoch, now_us, catalog_version, spans, effects }),
            n_bytes => Err(malformed(format!("{n_bytes} bytes follow the record"))),
        }
    }
}

fn count(n: usize) -> Result<[u8; 4]> {
    let n = u32::try_from(n).map_err(|_| Error::internal(format!("a count of {n} does not fit an epoch record")))?;
    Ok(n.to_le_bytes())
}

/// Flag, length and stream; the length is filled in once it is known, so that rows are not copied twice.
fn encode_changes(changes: &ChangeBatch, payload: &mut Vec<u8>) -> Result<()> {
    let rows = match changes.weights() {
        None => changes.rows().clone(),
        Some(weights) => with_weights(changes.rows(), weights)?,
    };
    payload.push(if changes.weights().is_some() { HAS_WEIGHTS } else { 0 });
    let length_at = payload.len();
    payload.extend([0; 8]);
    let options = IpcWriteOptions::try_new(IPC_ALIGNMENT, false, MetadataVersion::V5)?;
    let mut writer = StreamWriter::try_new_with_options(&mut *payload, &rows.schema(), options)?;
    writer.write(&rows)?;
    writer.finish()?;
    drop(writer);
    let n_bytes = (payload.len() - length_at - 8) as u64;
    payload[length_at..length_at + 8].copy_from_slice(&n_bytes.to_le_bytes());
    Ok(())
}

fn with_weights(rows: &RecordBatch, weights: &Int64Array) -> Result<RecordBatch> {
    let schema = rows.schema();
    let weight = Arc::new(Field::new(WEIGHT, DataType::Int64, false));
    let fields: Vec<_> = schema.fields().iter().cloned().chain([weight]).collect();
    let columns: Vec<ArrayRef> = rows.columns().iter().cloned().chain([Arc::new(weights.clone()) as ArrayRef]).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())), columns)?)
}

fn decode_span(left: &mut Bytes<'_>) -> Result<SourceSpan> {
    let relation = ObjectId(u32::from_le_bytes(left.array()?));
    let n_rows = u64::from_le_bytes(left.array()?);
    Ok(SourceSpan { relation, n_rows, from: left.text()?, to: left.text()? })
}

fn decode_effect(left: &mut Bytes<'_>) -> Result<Effect> {
    let relation = ObjectId(u32::from_le_bytes(left.array()?));
    let [flags] = left.array()?;
    let n_bytes = usize::try_from(u64::from_le_bytes(left.array()?)).map_err(|_| malformed("an effect is larger than memory"))?;
    let rows = decode_rows(left.take(n_bytes)?)?;
    let changes = match flags {
        0 => ChangeBatch::inserts(rows),
        HAS_WEIGHTS => split_weights(&rows)?,
        _ => return Err(malformed(format!("unknown flags {flags} of an effect"))),
    };
    Ok(Effect { relation, changes })
}

fn decode_rows(stream: &[u8]) -> Result<RecordBatch> {
    let mut batches = StreamReader::try_new(stream, None)?;
    match (batches.next().transpose()?, batches.next()) {
        (Some(rows), None) => Ok(rows),
        _ => Err(malformed("an effect has not exactly one batch")),
    }
}

fn split_weights(rows: &RecordBatch) -> Result<ChangeBatch> {
    let missing = || malformed("an effect has no weights in its last column");
    let n_columns = rows.num_columns().checked_sub(1).ok_or_else(missing)?;
    let weights = rows.column(n_columns).as_any().downcast_ref::<Int64Array>().ok_or_else(missing)?;
    if weights.null_count() > 0 {
        return Err(missing());
    }
    let fields: Vec<_> = rows.schema().fields()[..n_columns].to_vec();
    let schema = Arc::new(Schema::new_with_metadata(fields, rows.schema().metadata().clone()));
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let columns = rows.columns()[..n_columns].to_vec();
    Ok(ChangeBatch::new(RecordBatch::try_new_with_options(schema, columns, &options)?, weights.clone()))
}

fn malformed(reason: impl Into<String>) -> Error {
    Error::new(sqlstate::DATA_CORRUPTED, reason)
}

/// What is left of a payload.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or_else(|| malformed("an epoch record ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("as many bytes as were taken"))
    }

    fn text(&mut self) -> Result<String> {
        let n_bytes = u32::from_le_bytes(self.array()?) as usize;
        String::from_utf8(self.take(n_bytes)?.to_vec()).map_err(|_| malformed("a position is not UTF-8"))
    }
}
