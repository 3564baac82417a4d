//! What the queries that are running may keep in memory together: their sorts, groups, and the sides of joins.
//!
//! Guaranteed: DataFusion's operators ask for what they keep; beyond the limit a sort or a grouping goes on in files below the data
//! folder, and what cannot fails with 53200, this query alone. The files of a server that was killed are removed by the next one.
//! Not counted: batches on their way between operators and to clients (each of 8,192 rows at most), and recomputes, which must
//! not fail because someone asks much.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};

use crate::Result;

/// Operators that the error names when there is no memory left: those that have most.
const NAMED_CONSUMERS: NonZeroUsize = NonZeroUsize::new(3).expect("3 is not 0");

/// The surroundings of queries that may use `n_bytes`, 0 being no limit, and files in `folder`.
pub fn query_environment(n_bytes: usize, folder: &Path) -> Result<Arc<RuntimeEnv>> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let files = DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![folder.to_owned()]));
    let builder = RuntimeEnvBuilder::new().with_disk_manager_builder(files);
    let builder = match n_bytes {
        0 => builder,
        n_bytes => builder.with_memory_pool(Arc::new(TrackConsumersPool::new(FairSpillPool::new(n_bytes), NAMED_CONSUMERS))),
    };
    Ok(builder.build_arc()?)
}

/// The same memory without files. A nested loop join that spills runs its left side a second time, which not every plan can.
pub fn without_files(environment: &RuntimeEnv) -> Result<Arc<RuntimeEnv>> {
    let files = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let builder = RuntimeEnvBuilder::new().with_disk_manager_builder(files).with_memory_pool(Arc::clone(&environment.memory_pool));
    Ok(builder.build_arc()?)
}
