//! Benchmarks of Thalweg, in one process with the engine: no wire and no client between the clock and the work.
//!
//! - [`queries`]: Nexmark's texts, which the tests use too. [`database`]: an engine on a folder that goes with it.
//! - [`tpch`]: TPC-H's tables, rows and texts.
//! - [`subject`]: what is measured: a query into a sink, as a view, in batch; the generator alone.
//! - [`cost`]: what changing a few rows costs under views over many. [`isolation`]: many views beside each other.
//! - [`measure`]: wall time, processor time and peak memory of this process. [`report`]: the table and the JSON.

pub mod cost;
pub mod database;
pub mod floats;
pub mod isolation;
pub mod measure;
pub mod queries;
pub mod report;
pub mod subject;
pub mod tpch;
