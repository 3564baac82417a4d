//! An upload in parts to the durable store: parts go to their places in an unfinished file, which gets its name at the end.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart};

use super::{blocking, generic, publish, published, stage};

/// Each part starts where the one before it ends, whichever is written first. Dropped unfinished, it leaves a hidden file.
#[derive(Debug)]
pub(super) struct DurableUpload {
    path: PathBuf,
    staged: PathBuf,
    file: Arc<File>,
    n_bytes: u64,
}

impl DurableUpload {
    pub(super) fn start(path: PathBuf) -> Result<Self> {
        let (file, staged) = stage(&path).map_err(|error| generic(&path, error))?;
        Ok(Self { path, staged, file: Arc::new(file), n_bytes: 0 })
    }
}

#[async_trait]
impl MultipartUpload for DurableUpload {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        let (file, path, start) = (Arc::clone(&self.file), self.path.clone(), self.n_bytes);
        self.n_bytes += part.content_length() as u64;
        Box::pin(blocking(move || write_at(&file, start, &part).map_err(|error| generic(&path, error))))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (file, path, staged) = (Arc::clone(&self.file), self.path.clone(), self.staged.clone());
        blocking(move || published(&path, &staged, file.sync_all().and_then(|()| publish(&staged, &path)))).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        let staged = self.staged.clone();
        blocking(move || fs::remove_file(&staged).map_err(|error| generic(&staged, error))).await
    }
}

fn write_at(file: &File, mut at: u64, part: &PutPayload) -> io::Result<()> {
    for bytes in part.iter() {
        file.write_all_at(bytes, at)?;
        at += bytes.len() as u64;
    }
    Ok(())
}
