//! Arrow values as Postgres has them: what clients read, and what a cast to text gives.
//!
//! [`column`] looks at a column once per batch; [`text`] writes its values as Postgres prints them, [`binary`] as its send
//! functions do, [`json`] as `to_json` does. [`datetime`] and [`number`] hold the parts that have rules of their own.

pub mod binary;
pub mod column;
pub mod datetime;
pub mod json;
pub mod number;
pub mod text;
