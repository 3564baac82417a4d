//! Rows from files: one file, a glob or a folder; NDJSON, CSV or Parquet; read once, or followed as they grow.
//!
//! - [`paths`] finds the files and keeps the source under `file_root`. [`text_file`] and [`parquet_file`] read one file.
//!
//! Files are read in the order of their names, one at a time. A position has an offset per file: bytes for text (always
//! between two records), rows for Parquet. With `mode = 'once'` files that are done are one count, so the position stays
//! small. With `mode = 'follow'` every poll looks for complete new lines and, when there are none, for new files; a last line
//! without an end waits for it. A file that became shorter than what was read of it is an error: nobody can say which rows
//! are missing. Parquet files have no growing end, so for following they are moved into place when complete.

mod parquet_file;
mod paths;
mod text_file;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use catalog::Column;
use serde::{Deserialize, Serialize};

use self::parquet_file::ParquetFile;
use self::paths::{Found, Pattern};
use self::text_file::TextFile;
use super::options::{Options, from_position, to_position};
use super::{Poll, Source, SourceBatch};
use crate::decode::column::ColumnBuffer;
use crate::decode::{CsvHeader, CsvOptions, DecodeFailure, Format, infer};
use crate::error::sqlstate::{DATA_CORRUPTED, INVALID_PARAMETER_VALUE, IO_ERROR};
use crate::{Error, Result};

/// How often a followed file is looked at when nothing happens.
const FOLLOW_INTERVAL_MS: u64 = 100;
/// No file that is looked for: SQLSTATE `undefined_file`.
const UNDEFINED_FILE: &str = "58P01";

/// `WITH (connector = 'file', …)`.
#[derive(Debug, Clone, PartialEq)]
pub struct FileOptions {
    pattern: Pattern,
    format: FileFormat,
    /// Goes on as files grow and appear.
    pub follow: bool,
}

/// What is in the files.
#[derive(Debug, Clone, PartialEq)]
enum FileFormat {
    Text(Format),
    Parquet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FormatName {
    Ndjson,
    Csv,
    Parquet,
}

impl FormatName {
    const CHOICES: [(&'static str, Self); 4] =
        [("ndjson", Self::Ndjson), ("json", Self::Ndjson), ("csv", Self::Csv), ("parquet", Self::Parquet)];

    /// Extensions of files in this format; a folder's other files are not read.
    fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Ndjson => &["ndjson", "jsonl", "json"],
            Self::Csv => &["csv", "tsv"],
            Self::Parquet => &["parquet"],
        }
    }

    fn of_extension(extension: &str) -> Option<Self> {
        [Self::Ndjson, Self::Csv, Self::Parquet].into_iter().find(|format| format.extensions().contains(&extension))
    }
}

impl FileOptions {
    /// The names of the options, for messages.
    pub const KNOWN: &[&str] = &["path", "format", "mode", "header", "delimiter", "null", "quote"];

    /// Reads and checks the options, and looks for the files.
    pub fn parse(options: &Options, file_root: Option<&Path>) -> Result<Self> {
        let path = options.text("path").ok_or_else(|| options.missing("path", "a file, a glob or a folder"))?;
        let extension = Path::new(path).extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_ascii_lowercase();
        let by_extension = FormatName::of_extension(&extension);
        let format = options.choice("format", &FormatName::CHOICES)?.or(by_extension);
        let format =
            format.ok_or_else(|| options.missing("format", "'ndjson', 'csv' or 'parquet' where the path has none of these extensions"))?;
        let follow = options.choice("mode", &[("once", false), ("follow", true)])?.unwrap_or(false);
        let pattern = Pattern::new(path, format.extensions(), file_root)?;
        if pattern.find()?.is_empty() && !follow {
            return Err(
                Error::new(UNDEFINED_FILE, format!("there is no file \"{path}\"")).with_hint("with mode = 'follow' files may come later")
            );
        }
        let format = match format {
            FormatName::Ndjson => FileFormat::Text(Format::Ndjson),
            FormatName::Csv => FileFormat::Text(Format::Csv(csv_options(options, &extension)?)),
            FormatName::Parquet => FileFormat::Parquet,
        };
        if !matches!(format, FileFormat::Text(Format::Csv(_))) {
            options
                .refuse_unknown(&["path", "format", "mode"])
                .map_err(|error| error.with_detail("header, delimiter, null and quote are for CSV"))?;
        }
        Ok(Self { pattern, format, follow })
    }

    /// The columns of the first file that has any.
    pub fn infer_columns(&self) -> Result<Vec<Column>> {
        let mut last_error =
            Error::new(UNDEFINED_FILE, "there is no file to infer columns from").with_hint("declare the columns in CREATE STREAM");
        for file in self.pattern.find()? {
            let columns = match &self.format {
                FileFormat::Text(format) => infer::infer_columns(format, &text_file::sample(&file.path)?),
                FileFormat::Parquet => parquet_file::infer_columns(&file.path),
            };
            match columns {
                Ok(columns) => return Ok(columns),
                Err(error) => last_error = error,
            }
        }
        Err(last_error)
    }
}

fn csv_options(options: &Options, extension: &str) -> Result<CsvOptions> {
    let byte = |name: &str, default: u8| match options.text(name) {
        None => Ok(default),
        Some("\\t" | "tab") => Ok(b'\t'),
        Some(text) => match text.as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | b'\\' | 0) => Ok(*byte),
            _ => Err(options.bad(name, text, "one character, or 'tab'")),
        },
    };
    let header = options.boolean("header")?.unwrap_or(true);
    let quote = byte("quote", b'"')?;
    let delimiter = byte("delimiter", if extension == "tsv" { b'\t' } else { b',' })?;
    if delimiter == quote {
        return Err(Error::new(INVALID_PARAMETER_VALUE, "delimiter and quote must be different"));
    }
    Ok(CsvOptions {
        delimiter,
        quote,
        escape: quote,
        nulls: options.text("null").unwrap_or_default().split('|').map(str::to_owned).collect(),
        header: if header { CsvHeader::Names } else { CsvHeader::Absent },
        ends_at_marker: false,
    })
}

/// Where reading is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Position {
    /// `mode = 'once'`: how many files are done.
    #[serde(default, skip_serializing_if = "is_zero")]
    n_done: usize,
    /// `mode = 'once'`: the name of the last one that is done, to notice when the files are not the same any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_done: Option<String>,
    /// Offsets by name of file; all files read so far when following, else the one being read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    files: BTreeMap<String, u64>,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// One file being read.
enum OpenFile {
    Text(TextFile),
    Parquet(ParquetFile),
}

/// What was read from a file.
#[derive(Debug, Default)]
struct Read {
    batches: Vec<RecordBatch>,
    failures: Vec<DecodeFailure>,
    /// There is nothing more in the file now.
    at_end: bool,
}

impl OpenFile {
    fn read(&mut self, max_rows: usize, end: Option<u64>, follow: bool) -> Result<Read> {
        match self {
            Self::Text(file) => file.read(max_rows, end, follow),
            Self::Parquet(file) => file.read(max_rows, end),
        }
    }

    fn offset(&self) -> u64 {
        match self {
            Self::Text(file) => file.offset(),
            Self::Parquet(file) => file.offset(),
        }
    }
}

/// The rows of some files.
pub struct FileSource {
    options: FileOptions,
    columns: Vec<Column>,
    schema: SchemaRef,
    projection: Option<Vec<usize>>,
    /// In the order they are read.
    files: Vec<Found>,
    /// The file that is read now, and its reader once it is open.
    current: usize,
    reader: Option<OpenFile>,
    position: Position,
    /// By name: how long a followed file was when its end was reached, so that it is not opened again before it grew.
    seen_bytes: BTreeMap<String, u64>,
}

impl FileSource {
    /// A reader at the start of the first file.
    pub fn open(options: FileOptions, columns: &[Column]) -> Result<Self> {
        let files = options.pattern.find()?;
        let fields: Vec<_> = columns.iter().map(|column| ColumnBuffer::new(column).field()).collect();
        Ok(Self {
            options,
            columns: columns.to_vec(),
            schema: Schema::new(fields).into(),
            projection: None,
            files,
            current: 0,
            reader: None,
            position: Position::default(),
            seen_bytes: BTreeMap::new(),
        })
    }

    fn open_file(&self, file: &Found, offset: u64) -> Result<OpenFile> {
        match &self.options.format {
            FileFormat::Text(format) => TextFile::open(file, format, &self.columns, offset).map(OpenFile::Text),
            FileFormat::Parquet => ParquetFile::open(file, &self.columns, offset).map(OpenFile::Parquet),
        }
    }

    /// What can be read now, or `None` when every file is at its end.
    fn read_next(&mut self, max_rows: usize) -> Result<Option<Read>> {
        while let Some(file) = self.files.get(self.current).cloned() {
            if self.reader.is_none() {
                if self.options.follow && !self.has_grown(&file)? {
                    self.current += 1;
                    continue;
                }
                let offset = self.position.files.get(&file.name).copied().unwrap_or(0);
                self.reader = Some(self.open_file(&file, offset)?);
            }
            let reader = self.reader.as_mut().expect("opened above");
            let read = reader.read(max_rows, None, self.options.follow)?;
            let offset = reader.offset();
            if read.at_end && !self.options.follow {
                self.position.files.clear();
                self.position.n_done += 1;
                self.position.last_done = Some(file.name);
            } else if offset > 0 {
                self.position.files.insert(file.name, offset);
            }
            if read.at_end {
                self.reader = None;
                self.current += 1;
            }
            if !read.batches.is_empty() || !read.failures.is_empty() || !read.at_end {
                return Ok(Some(read));
            }
        }
        Ok(None)
    }

    /// Whether a followed file is longer than when its end was last reached.
    fn has_grown(&mut self, file: &Found) -> Result<bool> {
        let n_bytes = match std::fs::metadata(&file.path) {
            Ok(metadata) => metadata.len(),
            // Deleted after it was listed: what was read of it stays read.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error_at(file, error)),
        };
        let seen = self.seen_bytes.insert(file.name.clone(), n_bytes);
        let n_read = match self.options.format {
            FileFormat::Text(_) => self.position.files.get(&file.name).copied().unwrap_or(0),
            FileFormat::Parquet => 0,
        };
        if n_bytes < n_read.max(seen.unwrap_or(0)) {
            return Err(Error::new(IO_ERROR, format!("file \"{}\" became shorter: {n_bytes} bytes, {n_read} were read", file.name))
                .with_hint("files may grow and appear; to replace one, write a file with a new name"));
        }
        let is_new = seen.is_none();
        Ok(if is_new { n_bytes > n_read } else { Some(n_bytes) > seen })
    }

    /// The files that were there at `position` come first and are the same ones still.
    fn check_done(&self, position: &Position) -> Result<()> {
        let last = position.n_done.checked_sub(1).and_then(|last| self.files.get(last)).map(|file| &file.name);
        if position.last_done.as_ref() == last {
            return Ok(());
        }
        let message = format!(
            "the files are not those read before: file {} was \"{}\"",
            position.n_done,
            position.last_done.as_deref().unwrap_or("none")
        );
        Err(Error::new(DATA_CORRUPTED, message).with_hint("put the files back as they were; use mode = 'follow' where files come and go"))
    }

    /// The part of each file that lies between two positions, in the order of reading.
    fn spans(&self, from: &Position, to: &Position) -> Result<Vec<(Found, u64, Option<u64>)>> {
        let mut spans = Vec::new();
        let mut known = 0;
        for (index, file) in self.files.iter().enumerate().skip(from.n_done) {
            let start = from.files.get(&file.name).copied().unwrap_or(0);
            known += usize::from(to.files.contains_key(&file.name));
            match to.files.get(&file.name) {
                _ if index < to.n_done => spans.push((file.clone(), start, None)),
                Some(end) if *end > start => spans.push((file.clone(), start, Some(*end))),
                _ => {}
            }
        }
        let is_missing =
            |(name, end): (&String, &u64)| from.files.get(name) != Some(end) && !self.files.iter().any(|file| file.name == *name);
        if known < to.files.len() && to.files.iter().any(is_missing) {
            return Err(Error::new(DATA_CORRUPTED, "a file that was read before is gone, so its rows cannot be read again"));
        }
        Ok(spans)
    }

    fn deliver(&self, all: &mut SourceBatch, read: Read) -> Result<()> {
        for batch in read.batches {
            all.outputs[0].push(match &self.projection {
                Some(columns) => batch.project(columns)?,
                None => batch,
            });
        }
        all.errors.extend(read.failures.into_iter().map(|failure| (0, failure)));
        Ok(())
    }
}

impl Source for FileSource {
    fn poll(&mut self, max_rows: usize, _now_us: i64) -> Result<Poll> {
        match self.read_next(max_rows.max(1))? {
            Some(read) if read.batches.is_empty() && read.failures.is_empty() => Ok(Poll::Idle { retry_after_ms: 0 }),
            Some(read) => {
                let mut all = SourceBatch::empty(1);
                self.deliver(&mut all, read)?;
                Ok(Poll::Batch(all))
            }
            None if self.options.follow => {
                (self.files, self.current) = (self.options.pattern.find()?, 0);
                Ok(Poll::Idle { retry_after_ms: FOLLOW_INTERVAL_MS })
            }
            None => Ok(Poll::Finished),
        }
    }

    fn position(&self) -> String {
        to_position(&self.position)
    }

    fn seek(&mut self, position: &str) -> Result<()> {
        let position: Position = from_position(position)?;
        self.check_done(&position)?;
        (self.current, self.reader) = (position.n_done, None);
        self.seen_bytes.clear();
        self.position = position;
        Ok(())
    }

    fn replay(&mut self, from: &str, to: &str) -> Result<SourceBatch> {
        let (from, to): (Position, Position) = (from_position(from)?, from_position(to)?);
        if self.options.follow {
            let current = self.files.get(self.current).map(|file| file.name.clone());
            self.files = self.options.pattern.find()?;
            self.current = self.files.iter().position(|file| Some(&file.name) >= current.as_ref()).unwrap_or(0);
            self.reader = None;
            self.seen_bytes.clear();
        }
        self.check_done(&from)?;
        self.check_done(&to)?;
        let mut all = SourceBatch::empty(1);
        for (file, start, end) in self.spans(&from, &to)? {
            let mut reader = self.open_file(&file, start)?;
            loop {
                let read = reader.read(usize::MAX, end, self.options.follow)?;
                let at_end = read.at_end;
                self.deliver(&mut all, read)?;
                if at_end {
                    break;
                }
            }
            if end.is_some_and(|end| reader.offset() != end) {
                let message =
                    format!("file \"{}\" has changed: it ends at {}, {} had been read", file.name, reader.offset(), end.unwrap_or(0));
                return Err(Error::new(DATA_CORRUPTED, message));
            }
        }
        Ok(all)
    }

    fn project(&mut self, output: usize, columns: Option<Vec<usize>>) -> Result<()> {
        if output != 0 || columns.iter().flatten().any(|column| *column >= self.columns.len()) {
            return Err(Error::internal("a file source has one output with its declared columns"));
        }
        self.projection = columns;
        Ok(())
    }

    fn schema(&self, _output: usize) -> SchemaRef {
        match &self.projection {
            Some(columns) => self.schema.project(columns).expect("columns were checked when they were set").into(),
            None => self.schema.clone(),
        }
    }
}

fn error_at(file: &Found, error: std::io::Error) -> Error {
    let mut with_name = Error::from(error);
    with_name.message = format!("file \"{}\": {}", file.name, with_name.message);
    with_name
}

/// The path as the messages and positions name it.
fn name_of(path: &Path, root: &Path) -> String {
    path.strip_prefix(root).map_or_else(|_| PathBuf::from(path), Path::to_path_buf).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
