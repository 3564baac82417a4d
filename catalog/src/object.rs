//! The objects a catalog holds. Ids are stable: an object keeps its id through renames and restarts, and no id is used twice.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::SqlType;

/// Identifies an object for ever; also its `oid` for Postgres clients (so 16384 and up).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectId(pub u32);

impl ObjectId {
    /// The id after this one. Panics after four billion objects, rather than use an id twice.
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("a catalog makes fewer than four billion objects"))
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What kind of object a statement names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are SQL's own")]
pub enum ObjectKind {
    Schema,
    Stream,
    Table,
    View,
    MaterializedView,
    Sink,
    Function,
    Index,
    /// `"s$errors"` or `"v$errors"`: comes and goes with its owner.
    Errors,
}

/// One object of the catalog.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Object {
    /// Its id.
    pub id: ObjectId,
    /// The schema it is in.
    pub schema: String,
    /// Its name in that schema.
    pub name: String,
    /// Columns, in order; empty for functions and sinks without any. Those of an index are all of its relation.
    pub columns: Vec<Column>,
    /// What it is.
    pub definition: Definition,
    /// The epoch it was created at: it has seen everything its inputs kept up to then, and all that came after.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub since: u64,
    /// What it reads; it cannot outlive any of these.
    pub depends_on: Vec<ObjectId>,
    /// COMMENT ON.
    pub comment: Option<String>,
    /// The statement that SHOW CREATE prints (no secrets).
    pub create_sql: String,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Name.
    pub name: String,
    /// SQL type.
    pub sql_type: SqlType,
    /// May hold nulls.
    pub nullable: bool,
    /// DEFAULT as SQL.
    pub default: Option<String>,
    /// COMMENT ON COLUMN.
    pub comment: Option<String>,
}

/// What is particular to each kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Definition {
    /// Append-only input.
    Stream {
        /// `WITH (…)`; without `connector` rows are pushed.
        options: BTreeMap<String, String>,
        /// Event-time column and watermark expression, as declared.
        watermark: Option<(String, String)>,
        /// Columns that hold when a row was taken in: `AS PROCTIME()`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        intake_times: Vec<String>,
        /// The id of `"s$errors"`.
        errors: ObjectId,
    },
    /// Rows can be updated and deleted.
    Table {
        /// Indices of the primary key's columns; empty for a multiset.
        primary_key: Vec<usize>,
        /// `WITH (…)`.
        options: BTreeMap<String, String>,
    },
    /// Expanded where it is used.
    View {
        /// The query as SQL.
        query: String,
    },
    /// Kept current.
    MaterializedView {
        /// The query as SQL.
        query: String,
        /// `WITH (…)`.
        options: BTreeMap<String, String>,
        /// The id of `"v$errors"`.
        errors: ObjectId,
    },
    /// Changes carried out.
    Sink {
        /// The query as SQL.
        query: String,
        /// `WITH (…)`.
        options: BTreeMap<String, String>,
        /// The id of the sink's errors relation.
        errors: ObjectId,
    },
    /// A scalar SQL function.
    Function {
        /// Name and type of each argument.
        arguments: Vec<(String, SqlType)>,
        /// Result type.
        returns: SqlType,
        /// The body expression as SQL.
        body: String,
    },
    /// The rows of a relation, kept once more by other columns of it.
    Index {
        /// The relation.
        on: ObjectId,
        /// Indices of the columns that the rows are found by.
        columns: Vec<usize>,
    },
    /// The errors relation of `owner`.
    Errors {
        /// The stream, view or sink whose failing rows it holds.
        owner: ObjectId,
    },
}

impl Object {
    /// The kind of this object.
    pub fn kind(&self) -> ObjectKind {
        match &self.definition {
            Definition::Stream { .. } => ObjectKind::Stream,
            Definition::Table { .. } => ObjectKind::Table,
            Definition::View { .. } => ObjectKind::View,
            Definition::MaterializedView { .. } => ObjectKind::MaterializedView,
            Definition::Sink { .. } => ObjectKind::Sink,
            Definition::Function { .. } => ObjectKind::Function,
            Definition::Index { .. } => ObjectKind::Index,
            Definition::Errors { .. } => ObjectKind::Errors,
        }
    }

    /// Whether the column of this name holds when a row was taken in.
    pub fn is_intake_time(&self, column: &str) -> bool {
        matches!(&self.definition, Definition::Stream { intake_times, .. } if intake_times.iter().any(|name| name == column))
    }
}

fn is_zero(epoch: &u64) -> bool {
    *epoch == 0
}
