//! Where changes go that leave the engine.

pub mod blackhole;

pub use blackhole::Blackhole;

use crate::{ChangeBatch, Epoch, Result};

/// Something changes are written to, in the order of epochs.
pub trait Sink: Send {
    /// Takes some changes of `epoch`.
    fn write(&mut self, epoch: Epoch, changes: &ChangeBatch) -> Result<()>;
}
