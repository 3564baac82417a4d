//! Names and definitions: what objects there are, what they are made of and what depends on what. No DataFusion, no timely,
//! no sockets.
//!
//! - [`object`]: the objects themselves. [`change`]: the pure function `apply(&Snapshot, Change) -> Snapshot`.
//! - [`snapshot`]: look-ups over one version. [`log`]: one durable object per version, put-if-absent.
//! - [`types`]: the one table SQL type → Arrow type → Postgres oid.

pub mod object;
pub mod snapshot;
pub mod types;

pub use object::{Column, Definition, Object, ObjectId, ObjectKind};
pub use snapshot::Snapshot;
pub use types::SqlType;
