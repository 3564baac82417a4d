//! Reading the log again from its first record, one record in memory at a time.

use std::collections::VecDeque;

use super::record::EpochRecord;
use super::segment::{Next, Segment, SegmentReader};
use crate::{Epoch, Result};

/// The records that were in the log when it was opened, in the order of their epochs. What is appended meanwhile is not
/// among them. Damage is an error (`XX001`), after which there is nothing more.
#[derive(Debug)]
pub struct Replay {
    /// Not yet begun.
    segments: VecDeque<Segment>,
    /// Bytes of the last segment that were there on opening.
    last_end: u64,
    reader: Option<SegmentReader>,
    last_epoch: Option<Epoch>,
    has_failed: bool,
}

impl Replay {
    pub(super) fn new(segments: Vec<Segment>, last_end: u64) -> Self {
        Self { segments: segments.into(), last_end, reader: None, last_epoch: None, has_failed: false }
    }

    fn read(&mut self) -> Result<Option<EpochRecord>> {
        loop {
            let Some(reader) = &mut self.reader else {
                let Some(segment) = self.segments.pop_front() else { return Ok(None) };
                let end = self.segments.is_empty().then_some(self.last_end);
                let reader = SegmentReader::open(&segment, end)?;
                if reader.follows != self.last_epoch {
                    return Err(reader.corrupt(&format!(
                        "it follows {}, but {} was read before it",
                        shown(reader.follows),
                        shown(self.last_epoch)
                    )));
                }
                self.reader = Some(reader);
                continue;
            };
            match reader.next()? {
                Next::Frame(header, payload) => {
                    if self.last_epoch.is_some_and(|last| last >= header.epoch) {
                        return Err(reader.corrupt(&format!("epoch {} follows {}", header.epoch, shown(self.last_epoch))));
                    }
                    self.last_epoch = Some(header.epoch);
                    let record = EpochRecord::decode(header.epoch, &payload);
                    return record.map(Some).map_err(|error| reader.corrupt(&error.message));
                }
                Next::End => self.reader = None,
                Next::Bad(reason) => return Err(reader.corrupt(reason)),
            }
        }
    }
}

fn shown(epoch: Option<Epoch>) -> String {
    epoch.map_or_else(|| "no epoch".into(), |epoch| format!("epoch {epoch}"))
}

impl Iterator for Replay {
    type Item = Result<EpochRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        let read = self.read();
        self.has_failed = read.is_err();
        read.transpose()
    }
}
