//! Thalweg's engine: bytes are decoded into change batches, a plan is rendered into operators that keep state as immutable
//! batches, and a view is what a client reads at an epoch.
//!
//! In the order in which data flows:
//!
//! - [`source`] brings bytes in (nexmark, datagen, file, pushes) and [`decode`] turns them into Arrow batches; a row that
//!   cannot be decoded is data too.
//! - [`log`] makes each epoch durable before it is acknowledged, and replays it at start-up.
//! - [`plan`] turns SQL text into a DataFusion `LogicalPlan` and that into our small closed [`plan::Plan`].
//! - [`operators`] are kernels (`step(fresh changes of one epoch, known state) -> changes`) and the two drivers that run them.
//! - [`state`] keeps keyed state as sorted runs of immutable batches.
//! - [`published`] is what readers see of each relation without waiting for a worker.
//! - [`sink`] carries changes out.
//! - [`encode`] writes values as Postgres does, for clients and for casts to text.
//! - [`functions`] are the aggregates and scalar functions both engines share, exact and independent of order.

pub mod clock;
pub mod command;
pub mod config;
pub mod decode;
pub mod encode;
pub mod engine;
pub mod error;
pub mod functions;
pub mod log;
pub mod metrics;
pub mod operators;
pub mod plan;
pub mod priority;
pub mod published;
mod query_memory;
pub mod render;
pub mod sequencer;
pub mod sink;
pub mod source;
pub mod state;
pub mod time;
pub mod update;
pub mod view;
pub mod worker;

pub use engine::Engine;
pub use error::{Error, Result};
pub use update::{ChangeBatch, Epoch};
