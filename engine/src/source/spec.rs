//! What `CREATE STREAM … WITH (connector = …)` describes: checked once, then opened as often as needed.

use std::collections::BTreeMap;
use std::path::Path;

use catalog::{Column, SqlType};

use super::datagen::{DatagenOptions, DatagenSource};
use super::file::{FileOptions, FileSource};
use super::nexmark::{NexmarkOptions, NexmarkSource, generator};
use super::options::Options;
use super::{Source, nexmark};
use crate::decode::infer;
use crate::error::sqlstate::{DATATYPE_MISMATCH, INVALID_PARAMETER_VALUE, UNDEFINED_COLUMN};
use crate::{Error, Result};

/// A checked description of a source.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceSpec {
    connector: Connector,
    columns: Vec<Column>,
}

#[derive(Debug, Clone, PartialEq)]
enum Connector {
    Nexmark(NexmarkOptions),
    Datagen(DatagenOptions),
    File(FileOptions),
}

/// The connectors there are.
const CONNECTORS: [&str; 3] = ["nexmark", "datagen", "file"];

impl SourceSpec {
    /// Checks `WITH (…)` of a stream with these declared columns; with none, the source says which there are.
    /// Files are looked for here, so a mistake is found at CREATE.
    pub fn from_options(options: &BTreeMap<String, String>, columns: &[Column], file_root: Option<&Path>) -> Result<Self> {
        let name = options.get("connector").map(String::as_str).unwrap_or_default();
        let options = Options::new(name, options);
        let mut spec = match name {
            "nexmark" => {
                options.refuse_unknown(NexmarkOptions::KNOWN)?;
                Self { connector: Connector::Nexmark(NexmarkOptions::parse(&options)?), columns: columns.to_vec() }
            }
            "datagen" => Self { connector: Connector::Datagen(DatagenOptions::parse(&options, columns)?), columns: columns.to_vec() },
            "file" => {
                options.refuse_unknown(FileOptions::KNOWN)?;
                Self { connector: Connector::File(FileOptions::parse(&options, file_root)?), columns: columns.to_vec() }
            }
            _ => {
                return Err(Error::new(INVALID_PARAMETER_VALUE, format!("there is no connector '{name}'"))
                    .with_hint(format!("connectors are {}; without one, rows are pushed", CONNECTORS.join(", "))));
            }
        };
        if spec.columns.is_empty() {
            spec.columns = spec.infer_columns()?;
        } else if let Connector::Nexmark(options) = &spec.connector {
            spec.columns = declared_of_nexmark(options, &spec.columns)?;
        }
        Ok(spec)
    }

    /// The columns the source has by itself.
    pub fn infer_columns(&self) -> Result<Vec<Column>> {
        match &self.connector {
            Connector::Nexmark(options) => Ok(nexmark_columns(options)),
            Connector::Datagen(_) => {
                Err(Error::new(INVALID_PARAMETER_VALUE, "connector 'datagen' needs columns").with_hint("declare them in CREATE STREAM"))
            }
            Connector::File(options) => options.infer_columns(),
        }
    }

    /// The columns of the batches of this spec's output.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Streams whose key is the same can be fed by one source, opened from any one of their specs.
    pub fn shared_key(&self) -> Option<String> {
        match &self.connector {
            Connector::Nexmark(options) => Some(options.shared_key()),
            Connector::Datagen(_) | Connector::File(_) => None,
        }
    }

    /// The output of the source that is this stream's.
    pub fn output_of(&self) -> usize {
        match &self.connector {
            Connector::Nexmark(options) => options.table as usize,
            Connector::Datagen(_) | Connector::File(_) => 0,
        }
    }

    /// How many outputs the source has.
    pub fn n_outputs(&self) -> usize {
        match &self.connector {
            Connector::Nexmark(_) => nexmark::EventKind::ALL.len(),
            Connector::Datagen(_) | Connector::File(_) => 1,
        }
    }

    /// True when the source has an end.
    pub fn is_bounded(&self) -> bool {
        match &self.connector {
            Connector::Nexmark(options) => options.events.is_some(),
            Connector::Datagen(options) => options.rows.is_some(),
            Connector::File(options) => !options.follow,
        }
    }

    /// A reader at the beginning, for these outputs.
    pub fn open(&self, outputs: &[usize]) -> Result<Box<dyn Source>> {
        match &self.connector {
            Connector::Nexmark(options) => Ok(Box::new(NexmarkSource::open(options, outputs)?)),
            Connector::Datagen(options) => Ok(Box::new(DatagenSource::open(options.clone(), &self.columns))),
            Connector::File(options) => Ok(Box::new(FileSource::open(options.clone(), &self.columns)?)),
        }
    }
}

fn nexmark_columns(options: &NexmarkOptions) -> Vec<Column> {
    let schema = generator::schema(options.table);
    schema.fields().iter().map(|field| infer::column(field.name(), SqlType::of_arrow(field.data_type()))).collect()
}

/// The generator makes its columns in its order: declared ones must be those.
fn declared_of_nexmark(options: &NexmarkOptions, declared: &[Column]) -> Result<Vec<Column>> {
    let own = nexmark_columns(options);
    let list: Vec<&str> = own.iter().map(|column| column.name.as_str()).collect();
    let hint = format!("leave the columns out, or declare {}", list.join(", "));
    let is_own = |column: &&Column| own.iter().any(|own| own.name == column.name);
    if let Some(other) = declared.iter().find(|column| !is_own(column)) {
        let message = format!("table '{}' of connector 'nexmark' has no column \"{}\"", options.table.name(), other.name);
        return Err(Error::new(UNDEFINED_COLUMN, message).with_hint(hint));
    }
    let same_type = |(declared, own): (&Column, &Column)| declared.sql_type.arrow() == own.sql_type.arrow() && declared.name == own.name;
    if declared.len() != own.len() || !declared.iter().zip(&own).all(same_type) {
        let message = format!("the columns are not those of table '{}' of connector 'nexmark'", options.table.name());
        return Err(Error::new(DATATYPE_MISMATCH, message).with_hint(hint));
    }
    Ok(declared.to_vec())
}
