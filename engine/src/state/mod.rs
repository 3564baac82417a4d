//! Keyed state: batches in, batches out. Knows no SQL and no timely.
//!
//! A row's key is hashed ([`key`]), and 64 bits are never trusted: [`equality`] compares values. Changes of an epoch become a
//! **run** (`run`): a sorted index over immutable batches. A [`spine`] is a list of runs, merged (`merge`) with bounded
//! work per insertion; operators probe it. A [`history::Trace`] is the output of a relation, readable as of an epoch.

pub mod consolidate;
pub mod equality;
pub mod history;
pub mod key;
mod merge;
pub(crate) mod run;
pub mod spine;
