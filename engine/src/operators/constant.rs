//! A constant has no input; its rows are what the driver emits at the first epoch.

use super::{Kernel, Output};
use crate::{ChangeBatch, Epoch, Result};

/// Never stepped.
pub struct ConstantKernel;

impl Kernel for ConstantKernel {
    fn step(&mut self, _epoch: Epoch, _inputs: Vec<Vec<ChangeBatch>>, _out: &mut Output) -> Result<()> {
        Ok(())
    }
}
