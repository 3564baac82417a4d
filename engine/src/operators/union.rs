//! UNION ALL: the changes of all inputs, under one schema. Keeps nothing. With one input: its changes, as an index takes them.

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use super::{Kernel, Output};
use crate::{ChangeBatch, Epoch, Result};

/// The kernel of UNION ALL.
pub struct UnionKernel {
    schema: SchemaRef,
}

impl UnionKernel {
    /// Any number of inputs whose columns have the types of `schema`.
    pub fn new(schema: SchemaRef) -> Self {
        Self { schema }
    }
}

impl Kernel for UnionKernel {
    fn step(&mut self, _: Epoch, inputs: Vec<Vec<ChangeBatch>>, out: &mut Output) -> Result<()> {
        for changes in inputs.into_iter().flatten() {
            let options = RecordBatchOptions::new().with_row_count(Some(changes.len()));
            let rows = RecordBatch::try_new_with_options(self.schema.clone(), changes.rows().columns().to_vec(), &options)?;
            out.changes.push(changes.with_rows(rows));
        }
        Ok(())
    }

    fn is_stateless(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::script::{check, schema};

    #[test]
    fn changes_of_both_inputs_add_up() {
        let ports = [("left", schema("a:int b:text")), ("right", schema("c:int d:text"))];
        check(
            &mut UnionKernel::new(schema("a:int b:text")),
            &ports,
            "left: 1: + 1 x | + 2 null
             right: 1: + 1 x
             right: 2: - 2 null | - 1 x",
            "1: +2 1 x | + 2 null
             2: - 1 x | - 2 null",
        );
    }
}
