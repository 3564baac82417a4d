//! Made-up rows: each column a sequence, a random value, one of some values, or a constant.
//!
//! Guaranteed: row `n` depends on (options, n) alone. Values are written as text where a type has many forms and read by its
//! input function, so whatever Postgres takes as a bound or a choice is taken here.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use catalog::{Column, SqlType};
use serde::{Deserialize, Serialize};

use super::nexmark::random::{below, draw, event_key, unit};
use super::options::{Options, Pace, from_position, to_position};
use super::{Poll, Source, SourceBatch};
use crate::decode::column::ColumnBuffer;
use crate::decode::{datetime, text};
use crate::error::sqlstate::INVALID_PARAMETER_VALUE;
use crate::{Error, Result};

/// Rows per batch at most.
const BATCH_ROWS: u64 = 8192;

/// `WITH (connector = 'datagen', …)`.
#[derive(Debug, Clone, PartialEq)]
pub struct DatagenOptions {
    /// Rows per second of the machine's time.
    pub rate: Option<u64>,
    /// Rows after which the source is finished.
    pub rows: Option<u64>,
    seed: u64,
    /// By column.
    fields: Vec<FieldPlan>,
}

#[derive(Debug, Clone, PartialEq)]
struct FieldPlan {
    kind: FieldKind,
    null_ratio: f64,
}

/// How the values of a column are made.
#[derive(Debug, Clone, PartialEq)]
enum FieldKind {
    /// `start`, `start + step`, …; begins again behind `end`. In units of the type (microseconds for times).
    Sequence { start: i64, end: i64, step: i64 },
    /// Uniform in a range of whole units.
    Whole { min: i64, max: i64 },
    /// Uniform in a range.
    Real { min: f64, max: f64 },
    /// So many letters.
    Letters { length: u64 },
    /// Any 128 bits.
    Uuid,
    /// One of these, each as likely; one is a constant.
    Choice(Vec<String>),
}

/// Options a column can have.
const FIELD_OPTIONS: [&str; 10] = ["kind", "start", "end", "step", "min", "max", "values", "value", "length", "null_ratio"];
const KINDS: &str = "'sequence', 'random', 'choice' or 'constant'";

impl DatagenOptions {
    /// Reads and checks the options of a stream with these columns.
    pub fn parse(options: &Options, columns: &[Column]) -> Result<Self> {
        if columns.is_empty() {
            return Err(Error::new(INVALID_PARAMETER_VALUE, "connector 'datagen' needs columns").with_hint("declare them in CREATE STREAM"));
        }
        for (name, _) in options.own().filter(|(name, _)| !["rate", "rows", "seed"].contains(name)) {
            let known = columns.iter().flat_map(|column| FIELD_OPTIONS.map(|option| format!("fields.{}.{option}", column.name)));
            if !known.clone().any(|known| known == name) {
                let known: Vec<String> = ["rate", "rows", "seed"].map(String::from).into_iter().chain(known).collect();
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                return Err(options.unknown(name, &known));
            }
        }
        let fields = columns.iter().map(|column| FieldPlan::parse(options, column)).collect::<Result<_>>()?;
        let rate = options.number("rate", 1..=1_000_000_000)?;
        let rows = options.number("rows", 1..=u64::MAX >> 8)?;
        Ok(Self { rate, rows, seed: options.number("seed", 0..=u64::MAX)?.unwrap_or(0), fields })
    }
}

impl FieldPlan {
    fn parse(options: &Options, column: &Column) -> Result<Self> {
        let option = |name: &str| format!("fields.{}.{name}", column.name);
        let null_ratio = options.number(&option("null_ratio"), 0.0..=1.0)?.unwrap_or(0.0);
        if null_ratio > 0.0 && !column.nullable {
            return Err(options.bad(&option("null_ratio"), &null_ratio.to_string(), "0 for a column that is NOT NULL"));
        }
        let (kind, allowed): (_, &[&str]) = match options.text(&option("kind")).unwrap_or("random") {
            "sequence" => (FieldKind::sequence(options, column)?, &["start", "end", "step"]),
            "random" => (FieldKind::random(options, column)?, &["min", "max", "length"]),
            "choice" => (FieldKind::choice(options, column, "values")?, &["values"]),
            "constant" => (FieldKind::choice(options, column, "value")?, &["value"]),
            other => return Err(options.bad(&option("kind"), other, KINDS)),
        };
        let is_other = |name: &&&str| !["kind", "null_ratio"].contains(*name) && !allowed.contains(*name);
        if let Some(other) = FIELD_OPTIONS.iter().filter(is_other).find(|name| options.text(&option(name)).is_some()) {
            let message = format!("option \"{}\" does not go with the kind of column \"{}\"", option(other), column.name);
            return Err(Error::new(INVALID_PARAMETER_VALUE, message).with_hint(format!("here are {}", allowed.join(", "))));
        }
        Ok(Self { kind, null_ratio })
    }
}

impl FieldKind {
    fn sequence(options: &Options, column: &Column) -> Result<Self> {
        let option = |name: &str| format!("fields.{}.{name}", column.name);
        let bounds = whole_bounds(&column.sql_type).or(match column.sql_type {
            SqlType::Text | SqlType::Varchar(_) | SqlType::Double | SqlType::Real | SqlType::Numeric(_) => Some((i64::MIN, i64::MAX)),
            _ => None,
        });
        let Some((_, largest)) = bounds else {
            return Err(options.bad(&option("kind"), "sequence", "'random', 'choice' or 'constant' for this type"));
        };
        let start = whole(options, column, "start")?.unwrap_or(0);
        let end = whole(options, column, "end")?.unwrap_or(largest);
        let step = options.number(&option("step"), 1..=i64::MAX)?.unwrap_or(default_step(&column.sql_type));
        if end < start {
            return Err(options.bad(&option("end"), &end.to_string(), "not below start"));
        }
        Ok(Self::Sequence { start, end, step })
    }

    fn random(options: &Options, column: &Column) -> Result<Self> {
        let option = |name: &str| format!("fields.{}.{name}", column.name);
        let refuse_range = || match ["min", "max"].iter().find(|name| options.text(&option(name)).is_some()) {
            Some(name) => Err(options.bad(&option(name), options.text(&option(name)).unwrap_or_default(), "for numbers, dates and times")),
            None => Ok(()),
        };
        match &column.sql_type {
            SqlType::Real | SqlType::Double | SqlType::Numeric(_) => {
                let min = options.number(&option("min"), f64::MIN..=f64::MAX)?.unwrap_or(0.0);
                let max = options.number(&option("max"), f64::MIN..=f64::MAX)?.unwrap_or(min.max(0.0) + 1.0);
                if max < min {
                    return Err(options.bad(&option("max"), &max.to_string(), "not below min"));
                }
                Ok(Self::Real { min, max })
            }
            SqlType::Uuid => refuse_range().map(|()| Self::Uuid),
            SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Bytea => {
                refuse_range()?;
                let longest = match column.sql_type {
                    SqlType::Varchar(Some(length)) | SqlType::Char(length) => u64::from(length),
                    _ => 65_536,
                };
                let length = options.number(&option("length"), 0..=longest)?.unwrap_or(longest.min(10));
                Ok(Self::Letters { length })
            }
            sql_type => {
                let Some((smallest, largest)) = whole_bounds(sql_type) else {
                    return Err(options.bad(&option("kind"), "random", "'choice' or 'constant' for this type"));
                };
                let (default_min, default_max) = default_range(sql_type);
                let min = whole(options, column, "min")?.unwrap_or(default_min);
                let max = whole(options, column, "max")?.unwrap_or(default_max.max(min));
                if max < min || min < smallest || max > largest {
                    return Err(options.bad(&option("max"), &max.to_string(), "not below min, and a value of the type"));
                }
                Ok(Self::Whole { min, max })
            }
        }
    }

    /// Choices are checked by reading each once.
    fn choice(options: &Options, column: &Column, name: &str) -> Result<Self> {
        let option = format!("fields.{}.{name}", column.name);
        let written =
            options.text(&option).ok_or_else(|| options.missing(&option, "what the column holds; several are separated by '|'"))?;
        let values: Vec<String> = match name {
            "value" => vec![written.into()],
            _ => written.split('|').map(str::to_owned).collect(),
        };
        let mut buffer = ColumnBuffer::new(column);
        for value in &values {
            buffer.append_text(value).map_err(|error| options.bad(&option, value, "of the column's type").with_detail(error.message))?;
        }
        Ok(Self::Choice(values))
    }

    fn append(&self, row: u64, bits: u64, column: &Column, buffer: &mut ColumnBuffer) -> Result<()> {
        match self {
            Self::Sequence { start, end, step } => {
                let n_values = (end.abs_diff(*start) / step.unsigned_abs()).saturating_add(1);
                let offset = u128::from(row % n_values) * u128::from(step.unsigned_abs());
                append_whole((i128::from(*start) + offset as i128) as i64, column, buffer)
            }
            Self::Whole { min, max } => {
                let n_values = max.abs_diff(*min).saturating_add(1);
                append_whole(min.wrapping_add_unsigned(below(bits, n_values)), column, buffer)
            }
            Self::Real { min, max } => buffer.append_text(&(min + unit(bits) * (max - min)).to_string()),
            Self::Letters { length } => buffer.append_text(&letters(bits, *length)),
            Self::Uuid => {
                let uuid = u128::from(bits) << 64 | u128::from(draw(bits, 0));
                let as_version_4 = uuid & !(0xF << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
                buffer.append_text(&text::uuid_text(as_version_4.to_be_bytes()))
            }
            Self::Choice(values) => buffer.append_text(&values[below(bits, values.len() as u64) as usize]),
        }
    }
}

fn letters(bits: u64, length: u64) -> String {
    (0..length).map(|position| char::from(b'a' + below(draw(bits, position), 26) as u8)).collect()
}

/// Least and greatest value of types that are counted in whole units.
fn whole_bounds(sql_type: &SqlType) -> Option<(i64, i64)> {
    const DAY_US: i64 = 86_400_000_000;
    Some(match sql_type {
        SqlType::Boolean => (0, 1),
        SqlType::SmallInt => (i16::MIN.into(), i16::MAX.into()),
        SqlType::Integer => (i32::MIN.into(), i32::MAX.into()),
        SqlType::BigInt => (i64::MIN, i64::MAX),
        // Years 1 to 9999.
        SqlType::Date => (-719_162, 2_932_896),
        SqlType::Time => (0, DAY_US - 1),
        SqlType::Timestamp | SqlType::TimestampTz => (-719_162 * DAY_US, 2_932_897 * DAY_US - 1),
        SqlType::Interval => (0, i64::MAX / 1000),
        _ => return None,
    })
}

fn default_range(sql_type: &SqlType) -> (i64, i64) {
    match sql_type {
        SqlType::Boolean => (0, 1),
        SqlType::Date => (10_957, 21_914),
        SqlType::Time => (0, 86_399_999_999),
        SqlType::Timestamp | SqlType::TimestampTz => (946_684_800_000_000, 1_893_456_000_000_000),
        SqlType::Interval => (0, 86_400_000_000),
        SqlType::SmallInt => (0, 1000),
        _ => (0, 1_000_000),
    }
}

/// A second for times, one for all else.
fn default_step(sql_type: &SqlType) -> i64 {
    match sql_type {
        SqlType::Time | SqlType::Timestamp | SqlType::TimestampTz | SqlType::Interval => 1_000_000,
        _ => 1,
    }
}

/// A bound in whole units of the column's type, as the type is written.
fn whole(options: &Options, column: &Column, name: &str) -> Result<Option<i64>> {
    let option = format!("fields.{}.{name}", column.name);
    let Some(written) = options.text(&option) else { return Ok(None) };
    let parsed = match column.sql_type {
        SqlType::Boolean => text::parse_boolean(written).map(i64::from),
        SqlType::Date => datetime::parse_date(written).map(i64::from),
        SqlType::Time => datetime::parse_time(written),
        SqlType::Timestamp => datetime::parse_timestamp(written),
        SqlType::TimestampTz => datetime::parse_timestamp_tz(written, Ok),
        _ => {
            let (min, max) = whole_bounds(&column.sql_type).unwrap_or((i64::MIN, i64::MAX));
            return options.number(&option, min..=max);
        }
    };
    parsed.map(Some).map_err(|error| options.bad(&option, written, "of the column's type").with_detail(error.message))
}

fn append_whole(value: i64, column: &Column, buffer: &mut ColumnBuffer) -> Result<()> {
    match column.sql_type {
        SqlType::Boolean | SqlType::SmallInt | SqlType::Integer | SqlType::BigInt => buffer.append_text(&value.to_string()),
        SqlType::Date | SqlType::Time | SqlType::Timestamp | SqlType::TimestampTz => buffer.append_units(value),
        SqlType::Interval => buffer.append_text(&format!("{value} microseconds")),
        _ => buffer.append_text(&value.to_string()),
    }
}

/// Made-up rows.
pub struct DatagenSource {
    options: DatagenOptions,
    columns: Vec<Column>,
    pace: Pace,
    next: u64,
    projection: Option<Vec<usize>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Position {
    row: u64,
}

impl DatagenSource {
    /// A source at its first row.
    pub fn open(options: DatagenOptions, columns: &[Column]) -> Self {
        let pace = Pace::new(options.rate);
        Self { options, columns: columns.to_vec(), pace, next: 0, projection: None }
    }

    fn projected(&self) -> Vec<usize> {
        self.projection.clone().unwrap_or_else(|| (0..self.columns.len()).collect())
    }

    fn generate(&self, rows: Range<u64>) -> Result<RecordBatch> {
        let n_rows = (rows.end - rows.start) as usize;
        let arrays = self.projected().into_iter().map(|index| {
            let (column, plan) = (&self.columns[index], &self.options.fields[index]);
            let mut buffer = ColumnBuffer::new(column);
            for row in rows.clone() {
                let key = event_key(self.options.seed, row);
                if plan.null_ratio > 0.0 && unit(draw(key, 2 * index as u64)) < plan.null_ratio {
                    buffer.append_null()?;
                } else {
                    plan.kind.append(row, draw(key, 2 * index as u64 + 1), column, &mut buffer)?;
                }
            }
            Ok(buffer.finish())
        });
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(n_rows));
        Ok(RecordBatch::try_new_with_options(self.schema(0), arrays, &options)?)
    }
}

impl Source for DatagenSource {
    fn poll(&mut self, max_rows: usize, now_us: i64) -> Result<Poll> {
        let n_left = self.options.rows.unwrap_or(u64::MAX).saturating_sub(self.next);
        if n_left == 0 {
            return Ok(Poll::Finished);
        }
        let n_rows = self.pace.due(now_us).min(n_left).min(max_rows.max(1) as u64).min(BATCH_ROWS);
        if n_rows == 0 {
            return Ok(Poll::Idle { retry_after_ms: self.pace.next_due_ms(now_us) });
        }
        let batch = self.generate(self.next..self.next + n_rows)?;
        self.pace.took(n_rows);
        self.next += n_rows;
        Ok(Poll::Batch(SourceBatch { outputs: vec![vec![batch]], errors: Vec::new() }))
    }

    fn position(&self) -> String {
        to_position(&Position { row: self.next })
    }

    fn seek(&mut self, position: &str) -> Result<()> {
        self.next = from_position::<Position>(position)?.row;
        self.pace.restart();
        Ok(())
    }

    fn replay(&mut self, from: &str, to: &str) -> Result<SourceBatch> {
        let (from, to) = (from_position::<Position>(from)?.row, from_position::<Position>(to)?.row);
        let starts = (from..to).step_by(BATCH_ROWS as usize);
        let batches = starts.map(|start| self.generate(start..to.min(start + BATCH_ROWS))).collect::<Result<_>>()?;
        Ok(SourceBatch { outputs: vec![batches], errors: Vec::new() })
    }

    fn project(&mut self, output: usize, columns: Option<Vec<usize>>) -> Result<()> {
        if output != 0 || columns.iter().flatten().any(|column| *column >= self.columns.len()) {
            return Err(Error::internal("a datagen source has one output with its declared columns"));
        }
        self.projection = columns;
        Ok(())
    }

    fn schema(&self, _output: usize) -> SchemaRef {
        let field = |index: usize| ColumnBuffer::new(&self.columns[index]).field();
        Arc::new(Schema::new(self.projected().into_iter().map(field).collect::<Vec<_>>()))
    }
}

#[cfg(test)]
mod tests;
