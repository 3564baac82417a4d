//! Keeps some columns of its input, without copying. Stateless.

use super::{Kernel, Output};
use crate::{ChangeBatch, Epoch, Result};

/// Projects to columns by index.
pub struct ColumnsKernel {
    columns: Vec<usize>,
}

impl ColumnsKernel {
    /// Keeps `columns`, in that order.
    pub fn new(columns: Vec<usize>) -> Self {
        Self { columns }
    }
}

impl Kernel for ColumnsKernel {
    fn step(&mut self, _epoch: Epoch, inputs: Vec<Vec<ChangeBatch>>, out: &mut Output) -> Result<()> {
        for batch in inputs.into_iter().flatten() {
            out.changes.push(batch.with_rows(batch.rows().project(&self.columns)?));
        }
        Ok(())
    }

    fn is_stateless(&self) -> bool {
        true
    }
}
