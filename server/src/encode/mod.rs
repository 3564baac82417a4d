//! Arrow values as clients read them.
//!
//! - [`column`]: a column looked at once per batch. [`text`]: its values as Postgres prints them; [`datetime`] and [`number`] hold
//!   the parts that have rules of their own. [`binary`]: the same as Postgres's send functions write them.
//! - [`pg_type`]: the oid, length and modifier of a column for RowDescription. [`formats`]: which columns are sent in binary.
//! - [`copy`]: COPY's text, CSV and binary formats over these.
//! - [`json`]: rows for HTTP.
//! - [`aligned`]: rows for a terminal.

pub mod aligned;
pub mod binary;
pub mod column;
pub mod copy;
pub mod datetime;
pub mod formats;
pub mod json;
pub mod number;
pub mod pg_type;
pub mod text;

#[cfg(test)]
mod tests;
