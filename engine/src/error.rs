//! What a statement can fail with. An error is chosen by what the reader does next, so each carries an SQLSTATE and, where
//! we know it, a DETAIL, a HINT and the place in the text, as Postgres does.
//!
//! A failing *row* is never an [`Error`]: it is data in `"s$errors"` or `"v$errors"`.

use std::fmt;

/// The result of anything that can fail as a whole statement.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error as a Postgres client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The five-character SQLSTATE.
    pub sqlstate: &'static str,
    /// Lower case, no full stop, names the object.
    pub message: String,
    /// More about this very case.
    pub detail: Option<String>,
    /// What the reader can do.
    pub hint: Option<String>,
    /// 1-based character position in the statement's text.
    pub position: Option<usize>,
    /// The function of Postgres that reports this, where drivers look for it.
    pub routine: Option<&'static str>,
}

/// The SQLSTATEs used, by the name Postgres gives them.
pub mod sqlstate {
    #![expect(missing_docs, reason = "the names are Postgres's own")]
    pub const PROTOCOL_VIOLATION: &str = "08P01";
    pub const FEATURE_NOT_SUPPORTED: &str = "0A000";
    pub const CARDINALITY_VIOLATION: &str = "21000";
    pub const DATA_EXCEPTION: &str = "22000";
    pub const NUMERIC_VALUE_OUT_OF_RANGE: &str = "22003";
    pub const INVALID_DATETIME: &str = "22007";
    pub const DIVISION_BY_ZERO: &str = "22012";
    pub const INVALID_PARAMETER_VALUE: &str = "22023";
    pub const INVALID_TEXT: &str = "22P02";
    pub const BAD_COPY_FORMAT: &str = "22P04";
    pub const NOT_NULL_VIOLATION: &str = "23502";
    pub const UNIQUE_VIOLATION: &str = "23505";
    pub const ACTIVE_TRANSACTION: &str = "25001";
    pub const NO_ACTIVE_TRANSACTION: &str = "25P01";
    pub const IN_FAILED_TRANSACTION: &str = "25P02";
    pub const UNDEFINED_PSTATEMENT: &str = "26000";
    pub const INVALID_AUTHORIZATION: &str = "28000";
    pub const DEPENDENT_OBJECTS: &str = "2BP01";
    pub const UNDEFINED_CURSOR: &str = "34000";
    pub const UNDEFINED_SAVEPOINT: &str = "3B001";
    pub const INVALID_CATALOG_NAME: &str = "3D000";
    pub const INVALID_SCHEMA_NAME: &str = "3F000";
    pub const SERIALIZATION_FAILURE: &str = "40001";
    pub const SYNTAX_ERROR: &str = "42601";
    pub const UNDEFINED_COLUMN: &str = "42703";
    pub const UNDEFINED_OBJECT: &str = "42704";
    pub const AMBIGUOUS_COLUMN: &str = "42702";
    pub const UNDEFINED_FUNCTION: &str = "42883";
    pub const INVALID_RECURSION: &str = "42P19";
    pub const WINDOWING_ERROR: &str = "42P20";
    pub const UNDEFINED_TABLE: &str = "42P01";
    pub const UNDEFINED_PARAMETER: &str = "42P02";
    pub const DUPLICATE_OBJECT: &str = "42710";
    pub const DUPLICATE_CURSOR: &str = "42P03";
    pub const DUPLICATE_PSTATEMENT: &str = "42P05";
    pub const INDETERMINATE_DATATYPE: &str = "42P18";
    pub const INVALID_CURSOR_DEFINITION: &str = "42P11";
    pub const OBJECT_NOT_IN_STATE: &str = "55000";
    pub const INVALID_BINARY: &str = "22P03";
    pub const INVALID_ENCODING: &str = "22021";
    pub const READ_ONLY_TRANSACTION: &str = "25006";
    pub const DUPLICATE_TABLE: &str = "42P07";
    pub const DUPLICATE_COLUMN: &str = "42701";
    pub const DATATYPE_MISMATCH: &str = "42804";
    pub const WRONG_OBJECT_TYPE: &str = "42809";
    pub const INVALID_COLUMN_REFERENCE: &str = "42P10";
    pub const GROUPING_ERROR: &str = "42803";
    pub const DISK_FULL: &str = "53100";
    pub const OUT_OF_MEMORY: &str = "53200";
    pub const TOO_MANY_CONNECTIONS: &str = "53300";
    pub const STATEMENT_TOO_COMPLEX: &str = "54001";
    pub const LIMIT_EXCEEDED: &str = "54000";
    pub const OBJECT_IN_USE: &str = "55006";
    pub const QUERY_CANCELED: &str = "57014";
    pub const ADMIN_SHUTDOWN: &str = "57P01";
    pub const IO_ERROR: &str = "58030";
    pub const INTERNAL_ERROR: &str = "XX000";
    pub const DATA_CORRUPTED: &str = "XX001";
}

impl Error {
    /// An error with its SQLSTATE and message.
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Self { sqlstate, message: message.into(), detail: None, hint: None, position: None, routine: None }
    }

    /// What Postgres users expect and we do not have (`0A000`); `hint` says what to do instead.
    pub fn unsupported(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(sqlstate::FEATURE_NOT_SUPPORTED, message).with_hint(hint)
    }

    /// A broken promise of ours, reported rather than hidden (`XX000`).
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(sqlstate::INTERNAL_ERROR, message)
    }

    /// With a DETAIL line.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// With a HINT line.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// As that function of Postgres reports it.
    pub fn with_routine(mut self, routine: &'static str) -> Self {
        self.routine = Some(routine);
        self
    }

    /// With the 1-based character position in the statement.
    pub fn at(mut self, position: usize) -> Self {
        self.position = Some(position);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        let sqlstate = match error.kind() {
            std::io::ErrorKind::StorageFull => sqlstate::DISK_FULL,
            _ => sqlstate::IO_ERROR,
        };
        Self::new(sqlstate, error.to_string())
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        use arrow::error::ArrowError::*;
        let sqlstate = match &error {
            DivideByZero => return Self::new(sqlstate::DIVISION_BY_ZERO, "division by zero"),
            ArithmeticOverflow(_) => sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
            CastError(_) | ParseError(_) => sqlstate::INVALID_TEXT,
            _ => sqlstate::INTERNAL_ERROR,
        };
        Self::new(sqlstate, error.to_string())
    }
}

impl From<catalog::CatalogError> for Error {
    fn from(error: catalog::CatalogError) -> Self {
        Self { detail: error.detail(), hint: error.hint(), ..Self::new(error.sqlstate(), error.to_string()) }
    }
}

impl From<catalog::types::TypeError> for Error {
    fn from(error: catalog::types::TypeError) -> Self {
        Self::new(error.sqlstate(), error.to_string())
    }
}

impl From<datafusion::common::DataFusionError> for Error {
    fn from(error: datafusion::common::DataFusionError) -> Self {
        crate::plan::failure::from_datafusion(error, None)
    }
}
