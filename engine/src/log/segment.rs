//! One file of the log: a header, then frames. Writing it, and finding where its sound part ends.
//!
//! A file gets its name only once its header is durable, so that a file with a bad header is damaged and never torn.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::frame::{HEADER_BYTES, Header, Place};
use crate::error::sqlstate;
use crate::{Epoch, Error, Result};

/// `THALWEGL`, format version (u32), 0 (u32), first epoch (u64), what it follows (u64), xxh3 of these 32 bytes.
pub(super) const FILE_HEADER_BYTES: usize = 40;
const MAGIC: &[u8; 8] = b"THALWEGL";
const FORMAT: u32 = 1;

/// Appended bytes are handed to the kernel from this many on, or at a sync.
const BUFFER_BYTES: usize = 1 << 20;

/// A segment follows the one whose last epoch is this; none for the first of a log. A file that is missing is noticed by it.
pub(super) type Follows = Option<Epoch>;

/// A file of the log.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub first_epoch: Epoch,
    pub path: PathBuf,
}

/// The segments of a folder by first epoch. Files left from a segment that was being made are removed.
pub(super) fn list(folder: &Path) -> Result<Vec<Segment>> {
    let failed = |error: io::Error| io_error("cannot read", folder, &error);
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(".new") {
            fs::remove_file(&path).map_err(|error| io_error("cannot remove", &path, &error))?;
        } else if let Some(number) = name.strip_suffix(".log") {
            let first_epoch = number.parse().ok().filter(|_| number.len() == 20);
            let first_epoch = first_epoch.ok_or_else(|| corrupt(&path, 0, "its name is not an epoch"))?;
            segments.push(Segment { first_epoch, path });
        }
    }
    segments.sort_by_key(|segment| segment.first_epoch);
    Ok(segments)
}

/// The last segment, being appended to.
#[derive(Debug)]
pub(super) struct SegmentWriter {
    first_epoch: Epoch,
    path: PathBuf,
    file: File,
    /// Appended and not yet handed to the kernel.
    pending: Vec<u8>,
    written_bytes: u64,
    synced_bytes: u64,
}

impl SegmentWriter {
    /// A new file for `first_epoch` and what comes after. Its name is durable when this returns.
    pub(super) fn create(folder: &Path, first_epoch: Epoch, follows: Follows) -> Result<Self> {
        let path = folder.join(format!("{first_epoch:020}.log"));
        let unnamed = path.with_extension("log.new");
        let make = || {
            let mut file = OpenOptions::new().write(true).create_new(true).open(&unnamed)?;
            file.write_all(&file_header(first_epoch, follows))?;
            file.sync_all()?;
            fs::hard_link(&unnamed, &path)?;
            fs::remove_file(&unnamed)?;
            catalog::store::sync_folder(folder)?;
            Ok(file)
        };
        let file = make().map_err(|error| io_error("cannot make", &path, &error))?;
        let start = FILE_HEADER_BYTES as u64;
        Ok(Self { first_epoch, path, file, pending: Vec::new(), written_bytes: start, synced_bytes: start })
    }

    /// The file again after a start, cut off at `end`. What is in it is made durable: it may so far have been in memory only.
    pub(super) fn reopen(segment: &Segment, end: u64) -> Result<Self> {
        let open = || {
            let mut file = OpenOptions::new().write(true).open(&segment.path)?;
            file.set_len(end)?;
            file.seek(SeekFrom::Start(end))?;
            file.sync_all()?;
            Ok(file)
        };
        let file = open().map_err(|error| io_error("cannot open", &segment.path, &error))?;
        let Segment { first_epoch, path } = segment.clone();
        Ok(Self { first_epoch, path, file, pending: Vec::new(), written_bytes: end, synced_bytes: end })
    }

    /// Where the next frame goes.
    pub(super) fn end(&self) -> u64 {
        self.written_bytes + self.pending.len() as u64
    }

    pub(super) fn append(&mut self, epoch: Epoch, payload: &[u8]) -> Result<()> {
        let header = Header::of(epoch, payload, self.synced_bytes);
        let place = Place { segment: self.first_epoch, offset: self.end() };
        self.pending.extend(header.encode(place));
        self.pending.extend(payload);
        if self.pending.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    pub(super) fn sync(&mut self) -> Result<()> {
        self.flush()?;
        if self.synced_bytes < self.written_bytes {
            self.file.sync_data().map_err(|error| io_error("cannot sync", &self.path, &error))?;
            self.synced_bytes = self.written_bytes;
        }
        Ok(())
    }

    /// The file is complete.
    pub(super) fn finish(mut self) -> Result<()> {
        self.sync()
    }

    fn flush(&mut self) -> Result<()> {
        self.file.write_all(&self.pending).map_err(|error| io_error("cannot write", &self.path, &error))?;
        self.written_bytes += self.pending.len() as u64;
        self.pending.clear();
        // One huge epoch must not keep its memory for ever.
        self.pending.shrink_to(BUFFER_BYTES * 2);
        Ok(())
    }

    /// A writer over any file, for tests of failing ones.
    #[cfg(test)]
    pub(super) fn over(file: File) -> Self {
        Self { first_epoch: 1, path: "a failing file".into(), file, pending: Vec::new(), written_bytes: 0, synced_bytes: 0 }
    }
}

fn file_header(first_epoch: Epoch, follows: Follows) -> [u8; FILE_HEADER_BYTES] {
    let mut bytes = [0; FILE_HEADER_BYTES];
    bytes[0..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    bytes[16..24].copy_from_slice(&first_epoch.to_le_bytes());
    // One more than the epoch, so that 0 means none.
    bytes[24..32].copy_from_slice(&follows.map_or(0, |epoch| epoch + 1).to_le_bytes());
    let hash = xxh3_64(&bytes[..32]);
    bytes[32..40].copy_from_slice(&hash.to_le_bytes());
    bytes
}

/// What the segment follows, if its file's header is sound.
fn read_file_header(segment: &Segment, header: &[u8; FILE_HEADER_BYTES]) -> Result<Follows> {
    let number = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    let format = u32::from_le_bytes(header[8..12].try_into().expect("four bytes"));
    let follows = number(24).checked_sub(1);
    if *header == file_header(segment.first_epoch, follows) {
        return Ok(follows);
    }
    let reason = match (header.starts_with(MAGIC), number(32) == xxh3_64(&header[..32]), format == FORMAT) {
        (true, true, false) => format!("format {format} is not known to this version, which reads format {FORMAT}"),
        (true, true, true) => format!("its name is not its first epoch, {}", number(16)),
        _ => "the file's header is damaged".into(),
    };
    Err(corrupt(&segment.path, 0, &reason))
}

/// Reads the frames of one segment in order.
#[derive(Debug)]
pub(super) struct SegmentReader {
    segment: Segment,
    file: BufReader<File>,
    /// What the file says it follows.
    pub follows: Follows,
    /// Of the next frame.
    pub offset: u64,
    /// Where reading stops.
    end: u64,
}

/// The next frame, or why there is none.
pub(super) enum Next {
    Frame(Header, Vec<u8>),
    End,
    /// The bytes at the reader's offset are not a whole frame.
    Bad(&'static str),
}

impl SegmentReader {
    /// Over the whole file, or its first `end` bytes. Fails if the file's header is not right.
    pub(super) fn open(segment: &Segment, end: Option<u64>) -> Result<Self> {
        let failed = |error: io::Error| io_error("cannot read", &segment.path, &error);
        let file = File::open(&segment.path).map_err(failed)?;
        let file_bytes = file.metadata().map_err(failed)?.len();
        let end = end.unwrap_or(file_bytes);
        if file_bytes < end || end < FILE_HEADER_BYTES as u64 {
            return Err(corrupt(&segment.path, file_bytes, "the file is too short"));
        }
        let mut file = BufReader::with_capacity(256 << 10, file);
        let mut header = [0; FILE_HEADER_BYTES];
        file.read_exact(&mut header).map_err(failed)?;
        let follows = read_file_header(segment, &header)?;
        Ok(Self { segment: segment.clone(), file, follows, offset: FILE_HEADER_BYTES as u64, end })
    }

    pub(super) fn next(&mut self) -> Result<Next> {
        let left = self.end - self.offset;
        if left == 0 {
            return Ok(Next::End);
        }
        if left < HEADER_BYTES as u64 {
            return Ok(Next::Bad("a frame's header is cut off"));
        }
        let mut header = [0; HEADER_BYTES];
        self.read(&mut header)?;
        let place = Place { segment: self.segment.first_epoch, offset: self.offset };
        let Some(header) = Header::decode(&header, place) else { return Ok(Next::Bad("a frame's header has a wrong checksum")) };
        if left < header.frame_bytes() {
            return Ok(Next::Bad("a frame's payload is cut off"));
        }
        let mut payload = vec![0; header.payload_bytes as usize];
        self.read(&mut payload)?;
        if !header.fits(&payload) {
            return Ok(Next::Bad("a frame's payload has a wrong checksum"));
        }
        self.offset += header.frame_bytes();
        Ok(Next::Frame(header, payload))
    }

    /// The error of a [`Next::Bad`] that is not a torn tail.
    pub(super) fn corrupt(&self, reason: &str) -> Error {
        corrupt(&self.segment.path, self.offset, reason)
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.file.read_exact(bytes).map_err(|error| io_error("cannot read", &self.segment.path, &error))
    }
}

/// What opening finds at the end of a segment.
pub(super) struct Tail {
    /// Of the last whole frame; none when there is no frame.
    pub last_epoch: Option<Epoch>,
    /// Where it ends.
    pub end: u64,
    /// Bytes after it that a crash cut short.
    pub n_torn_bytes: u64,
}

/// Finds the end of a segment's whole frames. What follows them is a torn tail if `may_be_torn` (the last segment) and no
/// later frame vouches that it was synced; otherwise it is an error.
pub(super) fn find_tail(segment: &Segment, may_be_torn: bool) -> Result<Tail> {
    let mut reader = SegmentReader::open(segment, None)?;
    let mut last_epoch = None;
    loop {
        match reader.next()? {
            Next::Frame(header, _) => last_epoch = Some(header.epoch),
            Next::End => return Ok(Tail { last_epoch, end: reader.offset, n_torn_bytes: 0 }),
            Next::Bad(reason) if !may_be_torn || was_synced(segment, reader.offset)? => return Err(reader.corrupt(reason)),
            Next::Bad(reason) => {
                let n_torn_bytes = reader.end - reader.offset;
                tracing::warn!(path = %segment.path.display(), offset = reader.offset, n_torn_bytes, reason,
                    "cut off the end of the epoch log: a write that was never acknowledged");
                return Ok(Tail { last_epoch, end: reader.offset, n_torn_bytes });
            }
        }
    }
}

/// True if some frame after `bad` says that bytes from `bad` on were synced when it was written. The damaged frame's length
/// cannot be trusted, so every offset is tried: a header's 64-bit checksum tells. Bytes are read in windows that overlap.
fn was_synced(segment: &Segment, bad: u64) -> Result<bool> {
    const WINDOW_BYTES: usize = 1 << 20;
    let failed = |error: io::Error| io_error("cannot read", &segment.path, &error);
    let mut file = File::open(&segment.path).map_err(failed)?;
    let mut start = bad + 1;
    loop {
        file.seek(SeekFrom::Start(start)).map_err(failed)?;
        let mut window = Vec::with_capacity(WINDOW_BYTES);
        (&file).take(WINDOW_BYTES as u64).read_to_end(&mut window).map_err(failed)?;
        for (index, header) in window.windows(HEADER_BYTES).enumerate() {
            let place = Place { segment: segment.first_epoch, offset: start + index as u64 };
            let header = header.try_into().expect("a window of its length");
            if Header::decode(header, place).is_some_and(|header| header.synced_bytes > bad) {
                return Ok(true);
            }
        }
        if window.len() < WINDOW_BYTES {
            return Ok(false);
        }
        start += (WINDOW_BYTES - HEADER_BYTES + 1) as u64;
    }
}

/// A damaged file: never skipped, never guessed at.
pub(super) fn corrupt(path: &Path, offset: u64, reason: &str) -> Error {
    Error::new(sqlstate::DATA_CORRUPTED, format!("epoch log {} is corrupt at byte {offset}: {reason}", path.display()))
        .with_hint("Restore the file from a backup; docs/formats.md says what is in it.")
}

pub(super) fn io_error(what: &str, path: &Path, error: &io::Error) -> Error {
    let sqlstate = match error.kind() {
        io::ErrorKind::StorageFull => sqlstate::DISK_FULL,
        _ => sqlstate::IO_ERROR,
    };
    Error::new(sqlstate, format!("{what} {}: {error}", path.display()))
}

pub(super) fn sync_folder(folder: &Path) -> Result<()> {
    catalog::store::sync_folder(folder).map_err(|error| io_error("cannot sync", folder, &error))
}
