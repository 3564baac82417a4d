//! Arrow values as clients read them.
//!
//! - [`column`], [`text`], [`binary`]: values as Postgres prints and sends them. These are the engine's, which casts to text.
//! - [`pg_type`]: the oid, length and modifier of a column for RowDescription. [`formats`]: which columns are sent in binary.
//! - [`copy`]: COPY's text, CSV and binary formats over these.
//! - [`json`]: rows for HTTP.
//! - [`aligned`]: rows for a terminal.

pub mod aligned;
pub mod copy;
pub mod formats;
pub mod json;
pub mod pg_type;

pub use engine::encode::{binary, column, datetime, number, text};

#[cfg(test)]
mod tests;
