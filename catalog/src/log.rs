//! The catalog log: one small object per version, `catalog/00000000000000000042.json`, put only if absent.
//!
//! Guaranteed: [`CatalogLog::append`] returns once the version is durable; two writers cannot both write a version, and the one
//! that comes second is told so and changes nothing; opening yields the snapshot that every version together makes. A gap or a
//! byte that differs is an error, never skipped. Not guaranteed: that a version was *not* written when `append` fails with an
//! error of the store. The log then refuses to guess: reopening it tells.
//!
//! Versions are never removed. So that opening stays fast, opening after many versions writes the snapshot it came to beside
//! them (`catalog/snapshots/…`), and the next opening starts there. See `docs/formats.md`.

use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use serde::{Deserialize, Serialize};

use crate::change::{Change, apply};
use crate::error::{CatalogError, Result};
use crate::sealed::{self, FORMAT};
use crate::snapshot::Snapshot;

/// Versions replayed by an opening that make it leave a snapshot for the next. Reading a version takes some 20 µs locally and
/// some 20 ms from an object store, of which [`N_READS`] at once: an opening waits for the catalog about a second at most.
const SNAPSHOT_INTERVAL: u64 = 1000;

/// Versions read at once.
const N_READS: usize = 16;

/// The durable catalog of one data folder, and its newest version in memory.
#[derive(Debug)]
pub struct CatalogLog {
    store: Arc<dyn ObjectStore>,
    current: Arc<Snapshot>,
    /// An append failed and may have been done all the same.
    is_uncertain: bool,
}

#[derive(Serialize, Deserialize)]
struct StoredChange {
    format: u64,
    version: u64,
    change: Change,
}

#[derive(Serialize, Deserialize)]
struct StoredSnapshot {
    format: u64,
    snapshot: Snapshot,
}

impl CatalogLog {
    /// Reads the catalog kept in `store`; an empty store has the empty catalog.
    pub async fn open(store: Arc<dyn ObjectStore>) -> Result<Self> {
        let base = newest_snapshot(store.as_ref()).await?;
        let mut current = base.clone();
        for (version, change) in changes_after(&store, base.version).await? {
            current = apply(&current, &change)
                .map_err(|error| CatalogError::Corrupt { path: change_path(version).to_string(), reason: error.to_string() })?;
        }
        if current.version - base.version >= SNAPSHOT_INTERVAL {
            let stored = StoredSnapshot { format: FORMAT, snapshot: current.clone() };
            match put_if_absent(store.as_ref(), &snapshot_path(current.version), sealed::seal(&stored)).await {
                Ok(()) | Err(object_store::Error::AlreadyExists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Self { store, current: Arc::new(current), is_uncertain: false })
    }

    /// The newest version.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current)
    }

    /// Makes `change` and returns the new version once it is durable. Nothing has changed when the change is refused or
    /// another writer was first.
    pub async fn append(&mut self, change: Change) -> Result<Arc<Snapshot>> {
        let next = apply(&self.current, &change)?;
        let version = next.version;
        let text = sealed::seal(&StoredChange { format: FORMAT, version, change });
        match put_if_absent(self.store.as_ref(), &change_path(version), text).await {
            Ok(()) => {
                self.current = Arc::new(next);
                Ok(self.snapshot())
            }
            Err(object_store::Error::AlreadyExists { .. }) if self.is_uncertain => Err(CatalogError::UnknownOutcome { version }),
            Err(object_store::Error::AlreadyExists { .. }) => Err(CatalogError::StaleWriter { version }),
            Err(error) => {
                self.is_uncertain = true;
                Err(error.into())
            }
        }
    }

    /// Every change after `version`, in order, with the version it made: 0 gives the whole history.
    pub async fn changes_after(&self, version: u64) -> Result<Vec<(u64, Change)>> {
        changes_after(&self.store, version).await
    }
}

fn folder() -> Path {
    Path::from("catalog")
}

fn change_path(version: u64) -> Path {
    folder().join(format!("{version:020}.json"))
}

fn snapshot_path(version: u64) -> Path {
    folder().join("snapshots").join(format!("{version:020}.json"))
}

async fn put_if_absent(store: &dyn ObjectStore, path: &Path, text: String) -> Result<(), object_store::Error> {
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    store.put_opts(path, text.into(), options).await.map(drop)
}

/// The versions that objects directly in `folder` are named by, in order.
async fn versions_in(store: &dyn ObjectStore, folder: &Path) -> Result<Vec<u64>> {
    let listed = store.list_with_delimiter(Some(folder)).await?;
    let version_of = |location: &Path| {
        let version = location.filename()?.strip_suffix(".json")?;
        (version.len() == 20).then(|| version.parse().ok())?
    };
    let mut versions = Vec::with_capacity(listed.objects.len());
    for object in &listed.objects {
        let foreign = || CatalogError::Corrupt { path: object.location.to_string(), reason: "its name is not that of a version".into() };
        versions.push(version_of(&object.location).ok_or_else(foreign)?);
    }
    versions.sort_unstable();
    Ok(versions)
}

async fn read<T: serde::de::DeserializeOwned>(store: &dyn ObjectStore, path: &Path) -> Result<T> {
    let bytes = store.get(path).await?.bytes().await?;
    sealed::open(path.as_ref(), &bytes)
}

async fn newest_snapshot(store: &dyn ObjectStore) -> Result<Snapshot> {
    let Some(version) = versions_in(store, &folder().join("snapshots")).await?.pop() else {
        return Ok(Snapshot::default());
    };
    let path = snapshot_path(version);
    let stored: StoredSnapshot = read(store, &path).await?;
    if stored.snapshot.version != version {
        let reason = format!("it holds version {}", stored.snapshot.version);
        return Err(CatalogError::Corrupt { path: path.to_string(), reason });
    }
    Ok(stored.snapshot)
}

async fn changes_after(store: &Arc<dyn ObjectStore>, after: u64) -> Result<Vec<(u64, Change)>> {
    let versions = versions_in(store.as_ref(), &folder()).await?;
    let wanted: Vec<u64> = versions.into_iter().filter(|version| *version > after).collect();
    for (index, version) in wanted.iter().enumerate() {
        let expected = after + 1 + index as u64;
        if *version != expected {
            return Err(CatalogError::Corrupt {
                path: change_path(expected).to_string(),
                reason: "it is missing, and later versions are there".into(),
            });
        }
    }
    stream::iter(wanted.into_iter().map(|version| read_change(Arc::clone(store), version))).buffered(N_READS).try_collect().await
}

async fn read_change(store: Arc<dyn ObjectStore>, version: u64) -> Result<(u64, Change)> {
    let path = change_path(version);
    let stored: StoredChange = read(store.as_ref(), &path).await?;
    if stored.version != version {
        return Err(CatalogError::Corrupt { path: path.to_string(), reason: format!("it holds version {}", stored.version) });
    }
    Ok((version, stored.change))
}

#[cfg(test)]
mod tests;
