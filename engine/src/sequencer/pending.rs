//! What the next epoch will hold, and who is to be told once it is on disk.

use std::sync::Arc;

use arrow::array::RecordBatch;
use catalog::{ObjectId, Snapshot};
use tokio::sync::oneshot;

use super::Done;
use super::table::Applied;
use crate::log::{Effect, SourceSpan};
use crate::{Error, Result};

/// What the next epoch will hold.
#[derive(Default)]
pub struct Pending {
    /// The epoch's `now`: when the first of it was taken in.
    pub now_us: Option<i64>,
    pub effects: Vec<Effect>,
    pub brought: Vec<(ObjectId, RecordBatch)>,
    pub spans: Vec<SourceSpan>,
    pub acks: Vec<Ack>,
}

/// Who is to be told when an epoch is on disk.
pub enum Ack {
    Write(oneshot::Sender<Result<Done>>, Vec<Applied>),
    Defined(oneshot::Sender<Result<bool>>, Arc<Snapshot>),
    Finished(Vec<ObjectId>),
}

/// Effects, brought rows and spans of one epoch.
pub type Part = (Vec<Effect>, Vec<(ObjectId, RecordBatch)>, Vec<SourceSpan>);

impl Pending {
    pub fn is_empty(&self) -> bool {
        self.effects.is_empty() && self.brought.is_empty() && self.spans.is_empty() && self.acks.is_empty()
    }

    /// One epoch per row, for the mode that tests that epochs do not matter. Spans stay with the last of their rows.
    pub fn by_row(&self) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        for effect in &self.effects {
            for row in 0..effect.changes.len() {
                parts.push((vec![Effect { relation: effect.relation, changes: effect.changes.slice(row, 1) }], vec![], vec![]));
            }
        }
        if parts.is_empty() || !self.brought.is_empty() || !self.spans.is_empty() {
            parts.push((vec![], self.brought.clone(), self.spans.clone()));
        }
        parts
    }
}

impl Ack {
    pub fn fail(self, error: &Error) {
        match self {
            Self::Write(reply, _) => answer(reply, Err(error.clone())),
            Self::Defined(reply, _) => answer(reply, Err(error.clone())),
            Self::Finished(_) => {}
        }
    }
}

/// Whoever asked may have gone; what was done stays done.
pub fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    let _ = reply.send(value);
}
