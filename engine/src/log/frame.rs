//! A frame: one record in a segment, with what is needed to trust it. All numbers are little-endian.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | length of the payload |
//! | 4 | 4 | kind: 1, an epoch record |
//! | 8 | 8 | epoch |
//! | 16 | 8 | how many bytes of the file were synced when this frame was written |
//! | 24 | 8 | xxh3 of the payload |
//! | 32 | 8 | xxh3 of the 32 bytes above, seeded with the frame's place: first epoch of the segment xor offset in it |
//! | 40 | | the payload |
//!
//! The header has a checksum of its own, so that a damaged length is not taken for a long record that was cut off. It is
//! seeded with its place, so that a copy of a frame inside some payload is not taken for a frame.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::{Epoch, Error, Result};

/// Bytes before the payload.
pub(super) const HEADER_BYTES: usize = 40;

const KIND_EPOCH: u32 = 1;

/// Where a frame is: it is valid there only.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The segment, by its first epoch.
    pub segment: Epoch,
    /// Of the frame's first byte in the file.
    pub offset: u64,
}

/// What a frame says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub payload_bytes: u32,
    pub epoch: Epoch,
    pub synced_bytes: u64,
    pub payload_hash: u64,
}

impl Header {
    /// The header of a frame that holds `payload`, which [`refuse_too_large`] has let through.
    pub(super) fn of(epoch: Epoch, payload: &[u8], synced_bytes: u64) -> Self {
        let payload_bytes = u32::try_from(payload.len()).expect("a payload that is too large was refused");
        Self { payload_bytes, epoch, synced_bytes, payload_hash: xxh3_64(payload) }
    }

    pub(super) fn encode(&self, place: Place) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[4..8].copy_from_slice(&KIND_EPOCH.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.synced_bytes.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.payload_hash.to_le_bytes());
        let hash = header_hash(&bytes[..32], place);
        bytes[32..40].copy_from_slice(&hash.to_le_bytes());
        bytes
    }

    /// The header at `place`, or `None` if these bytes are not one.
    pub(super) fn decode(bytes: &[u8; HEADER_BYTES], place: Place) -> Option<Self> {
        let header = Self {
            payload_bytes: u32::from_le_bytes(part(bytes, 0)),
            epoch: u64::from_le_bytes(part(bytes, 8)),
            synced_bytes: u64::from_le_bytes(part(bytes, 16)),
            payload_hash: u64::from_le_bytes(part(bytes, 24)),
        };
        // Cheap conditions first: a search for frames asks this of every offset.
        let is_sound = header.synced_bytes <= place.offset && u32::from_le_bytes(part(bytes, 4)) == KIND_EPOCH;
        (is_sound && u64::from_le_bytes(part(bytes, 32)) == header_hash(&bytes[..32], place)).then_some(header)
    }

    /// True for the payload it was made for.
    pub(super) fn fits(&self, payload: &[u8]) -> bool {
        payload.len() == self.payload_bytes as usize && xxh3_64(payload) == self.payload_hash
    }

    /// Header and payload together.
    pub(super) fn frame_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.payload_bytes)
    }
}

/// A payload's length has 32 bits. Asked before anything is written: such a record must not harm the log.
pub(super) fn refuse_too_large(payload: &[u8]) -> Result<()> {
    match u32::try_from(payload.len()) {
        Ok(_) => Ok(()),
        Err(_) => {
            let message = format!("the rows written at one epoch take {} bytes in the log, more than 4 GiB", payload.len());
            Err(Error::new("54000", message).with_hint("Write them in several statements."))
        }
    }
}

fn header_hash(bytes: &[u8], place: Place) -> u64 {
    xxh3_64_with_seed(bytes, place.segment ^ place.offset)
}

fn part<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the parts of a header lie inside it")
}
