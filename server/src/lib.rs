//! Thalweg's server: whatever a client speaks, its statements meet in [`session`] and go to the engine from there.
//!
//! - [`cli`] and [`config`]: what the process is told at start; [`serve`] starts it and stops it.
//! - [`session`]: the only place where statements run. Simple query, extended query, HTTP and `thalweg sql` end up here.
//! - [`pgwire`]: the Postgres protocol, with a row pump of our own over the `pgwire` crate's messages.
//! - [`http`]: `POST /v1/sql`, stream ingest, health and metrics.
//! - [`pg_catalog`]: the relations and functions in which a Postgres tells of itself.
//! - [`encode`]: Arrow values as Postgres text, COPY text, CSV and JSON.
//! - [`shutdown`]: how everything learns that the process ends.

pub mod cli;
pub mod config;
pub mod encode;
pub mod http;
pub mod pg_catalog;
pub mod pgwire;
pub mod serve;
pub mod session;
pub mod shutdown;
pub mod threads;
