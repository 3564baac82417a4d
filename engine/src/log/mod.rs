//! The epoch log, with the input log in it: what makes an epoch durable before it is acknowledged.
//!
//! One record per epoch: its `now`, the catalog version, how far each source was read, and the effects of what clients pushed
//! and cannot replay. Files are append-only segments named by their first epoch; `docs/formats.md` has the bytes.
//!
//! - [`record`]: what an epoch's record says, and its encoding. `frame` and `segment`: records in files. [`replay`]: reading
//!   them again. This file: appending.
//!
//! Guaranteed: after [`Log::sync`] returns, every record appended before it is replayed after any crash, in order. A write that
//! a crash cut short is cut off on opening, which loses nothing that was synced: each frame says how far its file was synced
//! when it was written, so damage *before* such a mark is told apart from a torn tail, and is an error (`XX001`), never skipped.
//! After a failed write or fsync the log is poisoned and every later call fails: the kernel may have dropped the dirty pages
//! and report success next time ("fsyncgate"), so that only reading the file again says what is in it.
//!
//! Not guaranteed: that a record which was not synced is gone; and damage to the records of the very last sync looks like a
//! torn tail, as no later frame vouches for them.

mod frame;
pub mod record;
pub mod replay;
mod segment;

use std::fs;
use std::path::{Path, PathBuf};

pub use record::{Effect, EpochRecord, SourceSpan};
pub use replay::Replay;

use crate::{Epoch, Error, Result};
use segment::SegmentWriter;

/// A segment that has grown to this many bytes is finished. Small enough to be dropped or scanned as a whole in well under a
/// second, large enough that a folder sync per segment is nothing.
const SEGMENT_BYTES: u64 = 64 << 20;

/// The appending end of the log. It is `Send`: one thread owns it, appends what has gathered, syncs once and acknowledges all.
#[derive(Debug)]
pub struct Log {
    folder: PathBuf,
    segment: Option<SegmentWriter>,
    segment_bytes: u64,
    last_epoch: Option<Epoch>,
    n_torn_bytes: u64,
    poisoned: Option<Error>,
}

impl Log {
    /// Opens the log in `folder` (made if absent), cuts off a torn tail with a warning, and returns what it holds for replay.
    pub fn open(folder: &Path) -> Result<(Self, Replay)> {
        Self::open_with_segment_bytes(folder, SEGMENT_BYTES)
    }

    /// As [`Log::open`], with another size of segments.
    pub fn open_with_segment_bytes(folder: &Path, segment_bytes: u64) -> Result<(Self, Replay)> {
        catalog::store::create_folder(folder).map_err(|error| segment::io_error("cannot make", folder, &error))?;
        let mut log = Self { folder: folder.to_owned(), segment: None, segment_bytes, last_epoch: None, n_torn_bytes: 0, poisoned: None };
        let mut segments = segment::list(folder)?;
        let mut may_be_torn = true;
        while let Some(last) = segments.pop() {
            let tail = segment::find_tail(&last, may_be_torn)?;
            may_be_torn = false;
            log.n_torn_bytes += tail.n_torn_bytes;
            if let Some(epoch) = tail.last_epoch {
                log.last_epoch = Some(epoch);
                log.segment = Some(SegmentWriter::reopen(&last, tail.end)?);
                segments.push(last);
                break;
            }
            // Nothing in it: made for a record that never came to be. Its name may not be the epoch that comes next.
            fs::remove_file(&last.path).map_err(|error| segment::io_error("cannot remove", &last.path, &error))?;
            segment::sync_folder(folder)?;
        }
        let end = log.segment.as_ref().map_or(0, SegmentWriter::end);
        Ok((log, Replay::new(segments, end)))
    }

    /// Adds an epoch's record to what the next [`Log::sync`] makes durable. Panics if its epoch is not later than the last.
    pub fn append(&mut self, record: &EpochRecord) -> Result<()> {
        self.refuse_if_poisoned()?;
        assert!(
            self.last_epoch.is_none_or(|last| last < record.epoch),
            "epochs in the log strictly increase: {} after {:?}",
            record.epoch,
            self.last_epoch
        );
        let payload = record.encode()?;
        frame::refuse_too_large(&payload)?;
        let outcome = self.write(record.epoch, &payload);
        self.poison_on_error(outcome)?;
        self.last_epoch = Some(record.epoch);
        Ok(())
    }

    /// Makes every appended record durable (fdatasync). Nothing may be acknowledged before this returns.
    pub fn sync(&mut self) -> Result<()> {
        self.refuse_if_poisoned()?;
        let outcome = self.segment.as_mut().map_or(Ok(()), SegmentWriter::sync);
        self.poison_on_error(outcome)
    }

    /// The epoch of the last record appended, or found on opening.
    pub fn last_epoch(&self) -> Option<Epoch> {
        self.last_epoch
    }

    /// Bytes of a torn tail that opening cut off; they were never acknowledged.
    pub fn n_torn_bytes(&self) -> u64 {
        self.n_torn_bytes
    }

    fn write(&mut self, epoch: Epoch, payload: &[u8]) -> Result<()> {
        if let Some(full) = self.segment.take_if(|segment| segment.end() >= self.segment_bytes) {
            // Synced whole before the next file exists: only the last segment can have a torn tail.
            full.finish()?;
        }
        let segment = match &mut self.segment {
            Some(segment) => segment,
            None => self.segment.insert(SegmentWriter::create(&self.folder, epoch, self.last_epoch)?),
        };
        segment.append(epoch, payload)
    }

    fn refuse_if_poisoned(&self) -> Result<()> {
        match &self.poisoned {
            None => Ok(()),
            Some(cause) => {
                Err(Error::new(cause.sqlstate, format!("the epoch log accepts nothing since a write failed: {}", cause.message))
                    .with_hint("Free or repair the disk and restart the server: it then reads what was written."))
            }
        }
    }

    fn poison_on_error(&mut self, outcome: Result<()>) -> Result<()> {
        if let Err(error) = &outcome {
            tracing::error!(%error, folder = %self.folder.display(), "epoch log poisoned");
            self.poisoned = Some(error.clone());
        }
        outcome
    }
}

#[cfg(test)]
mod tests;
