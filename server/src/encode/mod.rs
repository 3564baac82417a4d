//! Arrow values as clients read them.
//!
//! - [`text`]: a value as Postgres prints it. [`datetime`] and [`number`] hold the parts that have rules of their own.
//! - [`pg_type`]: the oid, length and modifier of a column for RowDescription.
//! - [`copy`]: COPY's text format and CSV over these texts.
//! - [`json`]: rows for HTTP.
//! - [`aligned`]: rows for a terminal.

pub mod aligned;
pub mod copy;
pub mod datetime;
pub mod json;
pub mod number;
pub mod pg_type;
pub mod text;

#[cfg(test)]
mod tests;
