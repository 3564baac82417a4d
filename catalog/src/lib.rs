//! Names and definitions: what objects there are, what they are made of and what depends on what. No DataFusion, no timely,
//! no sockets.
//!
//! - [`object`]: the objects themselves. [`change`]: the pure function `apply(&Snapshot, &Change) -> Snapshot`. [`drop_plan`]: what
//!   a DROP takes with it.
//! - [`snapshot`]: look-ups over one version. [`log`]: one durable object per version, put-if-absent.
//! - [`store`]: where those objects are kept, durably. [`lock`]: one server per data folder.
//! - [`types`]: the one table SQL type → Arrow type → Postgres oid.

pub mod change;
mod check;
mod drop;
pub mod error;
pub mod lock;
pub mod log;
pub mod object;
mod sealed;
pub mod snapshot;
pub mod store;
pub mod types;

pub use change::{Change, apply, drop_schema_plan};
pub use drop::drop_plan;
pub use error::CatalogError;
pub use lock::DataLock;
pub use log::CatalogLog;
pub use object::{Column, Definition, Object, ObjectId, ObjectKind};
pub use snapshot::Snapshot;
pub use store::{DataUrl, DurableStore, parse_data_url};
pub use types::SqlType;
