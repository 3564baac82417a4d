//! Bytes → typed Arrow columns, by the text rules of Postgres. Pushed in pieces of any size; rows need not end where a
//! piece does.
//!
//! - [`boundary`] finds where a record ends, [`json`] and [`delimited`] take it apart, [`column`] turns each value into its
//!   type ([`text`], [`datetime`], [`interval`]), [`rows`] keeps a failing row from leaving a trace.
//!
//! There is one path and it is the exact one: values go from the bytes into column buffers without anything between, so a
//! bad row costs what a good one does, and no second decoder can disagree.
//!
//! Guaranteed: every record is a row of a batch or a [`DecodeFailure`], in order, whatever the bytes are; memory for one
//! record is bounded by [`MAX_RECORD_BYTES`]. Not a record: a blank line of NDJSON, and of CSV with several columns.

pub mod boundary;
pub mod column;
pub mod datetime;
pub mod delimited;
pub mod infer;
pub mod interval;
pub mod json;
pub mod rows;
pub mod text;

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use catalog::{Column, SqlType};
use datafusion::common::ScalarValue;

use self::boundary::Boundary;
use self::column::ColumnBuffer;
use self::delimited::{Delimited, Header};
use self::json::{Kind, Reader, Value};
use self::rows::RowBuffer;
use crate::error::sqlstate::{BAD_COPY_FORMAT, FEATURE_NOT_SUPPORTED};
use crate::functions::scalar::zones::Zone;
use crate::plan::statement::{CopyFormat, CopyKind};
use crate::{Error, Result};

/// A longer record is a failure. Large enough for any sane row, small enough for many connections at once.
pub const MAX_RECORD_BYTES: usize = 16 << 20;
/// What is kept of a record that is too long.
const LONG_RECORD_SAMPLE_BYTES: usize = 1024;

/// A record that is no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeFailure {
    /// The record's bytes, without its line end.
    pub raw: Vec<u8>,
    /// Where it was: `line 3, byte 120`, or with the name of its file.
    pub position: String,
    /// What was wrong.
    pub error: String,
    /// The SQLSTATE of that.
    pub sqlstate: &'static str,
}

/// The columns of `"s$errors"`.
pub fn decode_error_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("raw", DataType::Binary, false),
        Field::new("position", DataType::Utf8, false),
        Field::new("error", DataType::Utf8, false),
        Field::new("sqlstate", DataType::Utf8, false),
        Field::new("at", SqlType::TimestampTz.arrow(), false),
    ]))
}

/// Failures as rows of `"s$errors"`, taken in at `now_us`.
pub fn decode_error_rows(failures: &[DecodeFailure], now_us: i64) -> RecordBatch {
    let schema = decode_error_schema();
    let texts = |text: fn(&DecodeFailure) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(failures.iter().map(text))) };
    let at = TimestampMicrosecondArray::from_value(now_us, failures.len()).with_data_type(schema.field(4).data_type().clone());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(BinaryArray::from_iter_values(failures.iter().map(|failure| &failure.raw))),
        texts(|failure| &failure.position),
        texts(|failure| &failure.error),
        texts(|failure| failure.sqlstate),
        Arc::new(at),
    ];
    RecordBatch::try_new(schema, columns).expect("columns are made as the schema says")
}

/// The value that `input` stands for, by the rules of the type's Postgres input function.
pub fn parse_text(sql_type: &SqlType, input: &str) -> Result<ScalarValue> {
    parse_text_in(sql_type, input, None)
}

/// The same by the clock of a zone; `None` is UTC.
pub fn parse_text_in(sql_type: &SqlType, input: &str, zone: Option<Zone>) -> Result<ScalarValue> {
    let mut buffer = ColumnBuffer::of_type("value", sql_type, true);
    zone.into_iter().for_each(|zone| buffer.set_zone(zone));
    buffer.append_text(input)?;
    ScalarValue::try_from_array(&buffer.finish(), 0).map_err(|error| Error::internal(format!("a decoded value has no scalar: {error}")))
}

/// How records are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line; keys are column names, a missing one is null, others are ignored.
    Ndjson,
    /// Comma-separated values.
    Csv(CsvOptions),
    /// Postgres's COPY text format: `\N`, backslash escapes, `\.`.
    CopyText {
        /// Between columns.
        delimiter: u8,
        /// How null is written.
        null: String,
        /// The first line is passed over.
        header: bool,
    },
}

/// Details of CSV.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvOptions {
    /// Between columns.
    pub delimiter: u8,
    /// Around values with special characters.
    pub quote: u8,
    /// Makes a quote inside quotes a character.
    pub escape: u8,
    /// An unquoted value equal to one of these is null.
    pub nulls: Vec<String>,
    /// What the first line is.
    pub header: CsvHeader,
    /// A line `\.` is the end of the data, as COPY has it.
    pub ends_at_marker: bool,
}

/// What the first line of CSV is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CsvHeader {
    /// A row; values go by position.
    Absent,
    /// Passed over, as COPY does; values go by position.
    Skipped,
    /// The names of the columns: values go by name, a missing column is null, others are ignored.
    Names,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self { delimiter: b',', quote: b'"', escape: b'"', nulls: vec![String::new()], header: CsvHeader::Absent, ends_at_marker: false }
    }
}

impl Format {
    /// The format that COPY asks for.
    pub fn of_copy(copy: &CopyFormat) -> Result<Self> {
        let byte = |character: char, what: &str| {
            let byte = u8::try_from(character).ok().filter(|byte| byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0));
            byte.ok_or_else(|| Error::new(FEATURE_NOT_SUPPORTED, format!("COPY {what} must be a single one-byte character")))
        };
        let delimiter = byte(copy.delimiter, "delimiter")?;
        match copy.kind {
            CopyKind::Text => Ok(Self::CopyText { delimiter, null: copy.null.clone(), header: copy.header }),
            CopyKind::Csv => Ok(Self::Csv(CsvOptions {
                delimiter,
                quote: byte(copy.quote, "quote")?,
                escape: byte(copy.escape, "escape")?,
                nulls: vec![copy.null.clone()],
                header: if copy.header { CsvHeader::Skipped } else { CsvHeader::Absent },
                ends_at_marker: true,
            })),
            CopyKind::Binary => Err(Error::unsupported("COPY FROM in binary format is not supported", "use FORMAT text or csv")),
        }
    }
}

/// Turns a stream of bytes into batches and failures.
#[derive(Debug)]
pub struct Decoder {
    layout: Layout,
    rows: RowBuffer,
    failures: Vec<DecodeFailure>,
    boundary: Boundary,
    /// The start of a record whose end has not come yet.
    partial: Vec<u8>,
    /// Bytes of the partial record that were too many to keep.
    n_dropped: usize,
    /// Bytes of all complete records.
    offset: u64,
    /// The line where the next record begins, from 1; unknown in files and behind a record that is too long.
    line: Option<u64>,
    source: Option<String>,
    ended: bool,
    ends_at_marker: bool,
}

#[derive(Debug)]
enum Layout {
    Ndjson,
    Delimited(Delimited),
}

impl Decoder {
    /// A decoder of rows with these columns.
    pub fn new(format: &Format, columns: &[Column]) -> Result<Self> {
        let rows = RowBuffer::new(columns);
        let ends_at_marker = matches!(format, Format::Csv(csv) if csv.ends_at_marker);
        let layout = match format {
            Format::Ndjson => Layout::Ndjson,
            Format::Csv(options) => Layout::Delimited(Delimited::csv(options, rows.n_columns())?),
            Format::CopyText { delimiter, null, header } => {
                Layout::Delimited(Delimited::copy_text(*delimiter, null, *header, rows.n_columns())?)
            }
        };
        let boundary = match &layout {
            Layout::Ndjson => Boundary::lines(),
            Layout::Delimited(delimited) => delimited.boundary(),
        };
        Ok(Self {
            layout,
            rows,
            failures: Vec::new(),
            boundary,
            partial: Vec::new(),
            n_dropped: 0,
            offset: 0,
            line: Some(1),
            source: None,
            ended: false,
            ends_at_marker,
        })
    }

    /// For a file: failures name it, and the first byte pushed is at `offset`. Lines are not counted, since the same failure
    /// must have the same position when reading starts further down.
    pub fn of_file(mut self, name: &str, offset: u64) -> Self {
        self.source = Some(name.into());
        self.offset = offset;
        self.line = None;
        self
    }

    /// Times without a zone are those of `zone`; without this they are UTC's.
    pub fn in_zone(mut self, zone: Zone) -> Self {
        self.rows.set_zone(zone);
        self
    }

    /// Names and types of the batches.
    pub fn schema(&self) -> &SchemaRef {
        self.rows.schema()
    }

    /// Where the first record begins that is not complete yet, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// True while a header line is still expected.
    pub fn expects_header(&self) -> bool {
        matches!(&self.layout, Layout::Delimited(delimited) if delimited.header() != Header::Done)
    }

    /// Decodes all records that end in `bytes`, and keeps the start of the next one. Fails only when the header cannot be
    /// used: then no row could be right.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.push_rows(bytes, usize::MAX).map(|_| ())
    }

    /// Like [`Self::push`], but stops after `max_rows` records. Returns how many bytes were taken: all, unless it stopped.
    pub fn push_rows(&mut self, bytes: &[u8], max_rows: usize) -> Result<usize> {
        let mut rest = bytes;
        let mut n_rows = 0;
        while n_rows < max_rows && !self.ended {
            let Some(end) = self.find_end(rest) else {
                self.keep(rest);
                return Ok(bytes.len());
            };
            let (record, after) = rest.split_at(end);
            rest = after;
            n_rows += usize::from(self.complete(record)?);
        }
        // Nothing after an end marker is data.
        Ok(if self.ended { bytes.len() } else { bytes.len() - rest.len() })
    }

    /// Takes the header from the first bytes of a file, of which only the rest is then pushed. False when its end has not
    /// come yet.
    pub fn push_header(&mut self, bytes: &[u8]) -> Result<bool> {
        assert!(self.expects_header(), "a header is read once");
        match self.boundary.find(bytes) {
            Some(end) => self.complete(&bytes[..end]).map(|_| true),
            None => {
                self.keep(bytes);
                Ok(false)
            }
        }
    }

    /// The bytes have ended: what is left without a line end is a record too.
    pub fn finish(&mut self) -> Result<()> {
        if !self.partial.is_empty() && !self.ended {
            self.complete(&[])?;
        }
        Ok(())
    }

    /// Everything decoded since the last call, in order.
    pub fn take(&mut self) -> (Vec<RecordBatch>, Vec<DecodeFailure>) {
        (self.rows.take(), std::mem::take(&mut self.failures))
    }

    /// The end of the current record in `bytes`. A quote that nobody closes must not take all following lines with it: once
    /// a record is too long, the next line end counts.
    fn find_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let end = self.boundary.find(bytes);
        if end.is_some() || self.partial.len() + bytes.len() <= MAX_RECORD_BYTES {
            return end;
        }
        self.boundary.leave_quotes().then(|| self.boundary.find(bytes)).flatten()
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.partial.len() + bytes.len() <= MAX_RECORD_BYTES && self.n_dropped == 0 {
            self.partial.extend_from_slice(bytes);
            return;
        }
        let n_bytes = self.partial.len() + self.n_dropped + bytes.len();
        let n_missing = LONG_RECORD_SAMPLE_BYTES.saturating_sub(self.partial.len());
        self.partial.extend_from_slice(&bytes[..n_missing.min(bytes.len())]);
        self.partial.truncate(LONG_RECORD_SAMPLE_BYTES);
        self.partial.shrink_to_fit();
        self.n_dropped = n_bytes - self.partial.len();
    }

    /// A record whose last bytes are `end`. True when it was a row or a failure.
    fn complete(&mut self, end: &[u8]) -> Result<bool> {
        if self.ends_at_marker && self.partial.is_empty() && end.trim_ascii_end() == b"\\." {
            self.ended = true;
            return Ok(false);
        }
        if self.partial.is_empty() {
            let result = self.record(end);
            self.advance(end, end.len());
            return result;
        }
        self.keep(end);
        let n_dropped = std::mem::take(&mut self.n_dropped);
        let mut record = std::mem::take(&mut self.partial);
        let n_bytes = record.len() + n_dropped;
        let result = match n_dropped {
            0 => self.record(&record),
            _ => {
                let message =
                    format!("a record of {n_bytes} bytes: at most {MAX_RECORD_BYTES} can be read, and only its start is kept here");
                self.fail(&record, Error::new("54000", message));
                Ok(true)
            }
        };
        self.advance(&record, n_bytes);
        if n_dropped > 0 {
            self.line = None;
        }
        record.clear();
        self.partial = record;
        result
    }

    fn advance(&mut self, record: &[u8], n_bytes: usize) {
        self.offset += n_bytes as u64;
        let n_lines = match self.layout {
            Layout::Ndjson => 1,
            Layout::Delimited(_) => memchr::memchr_iter(b'\n', record).count() as u64,
        };
        self.line = self.line.map(|line| line + n_lines);
    }

    fn record(&mut self, record: &[u8]) -> Result<bool> {
        let record = if self.offset == 0 { record.strip_prefix(b"\xef\xbb\xbf").unwrap_or(record) } else { record };
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        let record = record.strip_suffix(b"\r").unwrap_or(record);
        if record.len() > MAX_RECORD_BYTES {
            let message = format!("a record of {} bytes: at most {MAX_RECORD_BYTES} can be read", record.len());
            self.fail(&record[..LONG_RECORD_SAMPLE_BYTES], Error::new("54000", message));
            return Ok(true);
        }
        let result = match &mut self.layout {
            Layout::Ndjson if record.trim_ascii().is_empty() => return Ok(false),
            Layout::Ndjson => utf8(record).and_then(|text| append_json_row(&mut self.rows, text)),
            Layout::Delimited(delimited) => {
                if delimited.header() != Header::Done {
                    delimited.read_header(utf8(record)?, self.rows.names())?;
                    return Ok(false);
                }
                if delimited.is_end(record) {
                    self.ended = true;
                    return Ok(false);
                }
                if record.is_empty() && delimited.n_fields() != 1 {
                    return Ok(false);
                }
                utf8(record).and_then(|text| delimited.append_row(&mut self.rows, text))
            }
        };
        if let Err(error) = result {
            self.fail(record, error);
        }
        Ok(true)
    }

    fn fail(&mut self, raw: &[u8], error: Error) {
        let mut position = match &self.source {
            Some(name) => format!("{name}, "),
            None => String::new(),
        };
        if let Some(line) = self.line {
            position += &format!("line {line}, ");
        }
        position += &format!("byte {}", self.offset);
        let message = match error.detail {
            Some(detail) => format!("{}: {detail}", error.message),
            None => error.message,
        };
        self.failures.push(DecodeFailure { raw: raw.to_vec(), position, error: message, sqlstate: error.sqlstate });
    }
}

fn utf8(record: &[u8]) -> Result<&str> {
    std::str::from_utf8(record).map_err(|error| {
        let byte = record.get(error.valid_up_to()).copied().unwrap_or_default();
        Error::new("22021", format!("invalid byte sequence for encoding \"UTF8\": 0x{byte:02x} at byte {}", error.valid_up_to() + 1))
    })
}

fn append_json_row(rows: &mut RowBuffer, text: &str) -> Result<()> {
    rows.append(text.len(), |columns| {
        let mut found: Vec<Option<Value<'_>>> = vec![None; columns.len()];
        let mut reader = Reader::new(text);
        let mut next = 0;
        if !text.trim_ascii_start().starts_with('{') {
            return Err(Error::new(BAD_COPY_FORMAT, "a row is a JSON object"));
        }
        reader.object(0, |key, value| {
            // Keys usually come in the order of the columns.
            let is_next = columns.get(next).is_some_and(|column| is_plain_key(key, column.name()));
            let index = if is_next { Some(next) } else { column::index_of_key(key, columns.iter().map(ColumnBuffer::name))? };
            if let Some(index) = index {
                found[index] = Some(value);
                next = index + 1;
            }
            Ok(())
        })?;
        reader.end()?;
        for (column, value) in columns.iter_mut().zip(found) {
            let appended = match value {
                Some(value) => column.append_json(value, 1),
                None => column.append_null(),
            };
            appended.map_err(|error| in_column(error, column.name()))?;
        }
        Ok(())
    })
}

fn is_plain_key(key: Value<'_>, name: &str) -> bool {
    key.kind == (Kind::String { escaped: false }) && &key.raw[1..key.raw.len() - 1] == name
}

/// Says which column, unless the message already does.
fn in_column(mut error: Error, name: &str) -> Error {
    if error.sqlstate != crate::error::sqlstate::NOT_NULL_VIOLATION {
        error.message = format!("column \"{name}\": {}", error.message);
    }
    error
}

#[cfg(test)]
mod tests;
