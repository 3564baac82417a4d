//! What a catalog can refuse or fail with; each kind has the SQLSTATE, DETAIL and HINT that Postgres has for it.

use std::path::PathBuf;

use crate::ObjectId;

/// The result of anything the catalog can refuse.
pub type Result<T, E = CatalogError> = std::result::Result<T, E>;

/// Why a change, or the catalog's storage, failed.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// A relation or function of this name is there already.
    #[error("{what} \"{name}\" already exists")]
    AlreadyExists {
        /// `relation`, `function` or `schema`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// No such relation or function.
    #[error("{what} \"{name}\" does not exist")]
    NotFound {
        /// `relation`, `function` or `schema`.
        what: &'static str,
        /// Its name, as asked for.
        name: String,
    },
    /// No object has this id: it was dropped meanwhile, or never was.
    #[error("object {0} does not exist")]
    NoSuchId(ObjectId),
    /// No such column.
    #[error("column \"{column}\" of relation \"{relation}\" does not exist")]
    NoSuchColumn {
        /// The relation.
        relation: String,
        /// The column.
        column: String,
    },
    /// A column name is there twice.
    #[error("column \"{0}\" specified more than once")]
    DuplicateColumn(String),
    /// Something else depends on what is to be dropped.
    #[error("cannot drop {object} because other objects depend on it")]
    Dependents {
        /// Kind and name of what was to be dropped.
        object: String,
        /// One line for each dependent, `view v depends on stream s`.
        dependents: Vec<String>,
    },
    /// It comes and goes with its owner.
    #[error("cannot drop {object} because {owner} requires it")]
    RequiredBy {
        /// Kind and name of what was to be dropped.
        object: String,
        /// Kind and name of its owner.
        owner: String,
    },
    /// The schema belongs to the system.
    #[error("permission denied for schema \"{0}\"")]
    SystemSchema(String),
    /// The schema has objects in it.
    #[error("cannot drop schema \"{schema}\" because other objects depend on it")]
    SchemaNotEmpty {
        /// The schema.
        schema: String,
        /// Kind and name of each object in it.
        objects: Vec<String>,
    },
    /// CREATE OR REPLACE would change what its dependents rely on.
    #[error("cannot replace {object}: {reason}")]
    CannotReplace {
        /// Kind and name.
        object: String,
        /// What would change.
        reason: String,
    },
    /// A change that no statement should ask for: a broken promise of ours.
    #[error("inconsistent catalog change: {0}")]
    Inconsistent(String),
    /// Another writer wrote the version this one was to write.
    #[error("stale writer: catalog version {version} was written by another server")]
    StaleWriter {
        /// The version.
        version: u64,
    },
    /// An earlier write failed and may have been done all the same.
    #[error("it is unknown whether catalog version {version} was written when an earlier write failed")]
    UnknownOutcome {
        /// The version.
        version: u64,
    },
    /// A stored object does not have the contents it was written with.
    #[error("catalog object {path} is corrupt: {reason}")]
    Corrupt {
        /// Its path in the store.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// Another server holds the data folder.
    #[error("data folder {} is in use by another server (process {})", folder.display(), pid.map_or("unknown".to_owned(), |pid| pid.to_string()))]
    Locked {
        /// The data folder.
        folder: PathBuf,
        /// The process that holds it, where it could be read.
        pid: Option<u32>,
    },
    /// A data URL of a kind we do not have (yet).
    #[error("data URL \"{url}\" is not supported: {reason}")]
    DataUrl {
        /// As given.
        url: String,
        /// Why not.
        reason: String,
    },
    /// The store failed.
    #[error("the store of the catalog failed: {0}")]
    Store(#[from] object_store::Error),
    /// The file system failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, with the path.
        what: String,
        /// What went wrong.
        source: std::io::Error,
    },
}

impl CatalogError {
    /// Its SQLSTATE.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::AlreadyExists { what: "schema", .. } => "42P06",
            Self::AlreadyExists { what: "function", .. } => "42723",
            Self::AlreadyExists { .. } => "42P07",
            Self::NotFound { what: "schema", .. } => "3F000",
            Self::NotFound { what: "function", .. } => "42883",
            Self::NotFound { .. } => "42P01",
            Self::NoSuchId(_) => "42704",
            Self::NoSuchColumn { .. } => "42703",
            Self::DuplicateColumn(_) => "42701",
            Self::Dependents { .. } | Self::RequiredBy { .. } | Self::SchemaNotEmpty { .. } => "2BP01",
            Self::SystemSchema(_) => "42501",
            Self::CannotReplace { .. } => "42P16",
            Self::Inconsistent(_) => "XX000",
            Self::StaleWriter { .. } | Self::UnknownOutcome { .. } => "58030",
            Self::Corrupt { .. } => "XX001",
            Self::Locked { .. } => "55006",
            Self::DataUrl { .. } => "0A000",
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => "53100",
            Self::Store(_) | Self::Io { .. } => "58030",
        }
    }

    /// Its DETAIL: which objects stand in the way.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Dependents { dependents, .. } => Some(dependents.join("\n")),
            Self::SchemaNotEmpty { schema, objects } => {
                let lines: Vec<String> = objects.iter().map(|object| format!("{object} depends on schema {schema}")).collect();
                Some(lines.join("\n"))
            }
            _ => None,
        }
    }

    /// Its HINT: what the reader can do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Dependents { .. } | Self::SchemaNotEmpty { .. } => "Use DROP ... CASCADE to drop the dependent objects too.".into(),
            Self::RequiredBy { owner, .. } => format!("You can drop {owner} instead."),
            Self::SystemSchema(_) => "Create the object in schema public or in one of your own.".into(),
            Self::CannotReplace { .. } => "Drop it and create it again, or give the new one another name.".into(),
            Self::StaleWriter { .. } | Self::UnknownOutcome { .. } => "Restart this server: it then reads what was written.".into(),
            Self::Corrupt { .. } => "Restore the file from a backup; docs/formats.md says what is in it.".into(),
            Self::Locked { .. } => "Stop the other server, or give this one another folder with --data.".into(),
            Self::DataUrl { .. } => "Use a path or file:///path.".into(),
            _ => return None,
        })
    }
}
