//! One NDJSON or CSV file, read in chunks through the decoder.

use std::fs::File;
use std::io::{Read as _, Seek, SeekFrom};
use std::path::Path;

use catalog::Column;

use super::paths::Found;
use super::{Read, error_at};
use crate::Result;
use crate::decode::{Decoder, Format};

/// Read at once: decoding it takes a few milliseconds, so a poll does not block longer.
const CHUNK_BYTES: usize = 1 << 20;
/// Columns are inferred from the first bytes of a file.
const SAMPLE_BYTES: u64 = 1 << 20;

/// A text file being read.
pub struct TextFile {
    file: File,
    found: Found,
    decoder: Decoder,
    /// Read but not yet taken by the decoder, from `taken` on.
    chunk: Vec<u8>,
    taken: usize,
    /// Bytes read from the file.
    n_read: u64,
}

impl TextFile {
    /// `found`, at a byte offset that was an [`Self::offset`].
    pub fn open(found: &Found, format: &Format, columns: &[Column], offset: u64) -> Result<Self> {
        let mut file = File::open(&found.path).map_err(|error| error_at(found, error))?;
        let mut decoder = Decoder::new(format, columns)?;
        if offset > 0 {
            read_header(&mut file, &mut decoder)?;
        }
        file.seek(SeekFrom::Start(offset)).map_err(|error| error_at(found, error))?;
        let decoder = decoder.of_file(&found.name, offset);
        Ok(Self { file, found: found.clone(), decoder, chunk: Vec::new(), taken: 0, n_read: offset })
    }

    /// Where the first record begins that was not read, in bytes.
    pub fn offset(&self) -> u64 {
        self.decoder.offset()
    }

    /// The records of about one chunk, at most `max_rows`, not beyond byte `end`. A last record without a line end counts
    /// unless the file is followed.
    pub fn read(&mut self, max_rows: usize, end: Option<u64>, follow: bool) -> Result<Read> {
        let mut at_end = false;
        if self.taken == self.chunk.len() {
            self.fill(end)?;
            at_end = self.chunk.is_empty();
        }
        if at_end && !follow {
            self.decoder.finish()?;
        }
        self.taken += self.decoder.push_rows(&self.chunk[self.taken..], max_rows)?;
        let (batches, failures) = self.decoder.take();
        Ok(Read { batches, failures, at_end })
    }

    fn fill(&mut self, end: Option<u64>) -> Result<()> {
        let missing = end.map_or(u64::MAX, |end| end.saturating_sub(self.n_read));
        self.chunk.clear();
        self.taken = 0;
        let limit = missing.min(CHUNK_BYTES as u64);
        let read = (&mut self.file).take(limit).read_to_end(&mut self.chunk).map_err(|error| error_at(&self.found, error))?;
        self.n_read += read as u64;
        Ok(())
    }
}

/// The first bytes of a file.
pub fn sample(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(SAMPLE_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads the names in the first line, so that reading can go on further down.
fn read_header(file: &mut File, decoder: &mut Decoder) -> Result<()> {
    let mut chunk = vec![0; 64 << 10];
    while decoder.expects_header() {
        let n_bytes = file.read(&mut chunk)?;
        if n_bytes == 0 || decoder.push_header(&chunk[..n_bytes])? {
            break;
        }
    }
    Ok(())
}
