//! Operators: kernels that compute, and the drivers that deal with time.
//!
//! A **kernel** is plain code: it is handed the fresh changes of one closed epoch and returns the changes of its output.
//! It knows nothing of frontiers, threads or SQL text. The **driver** (timely's, or the sequential loop over the same
//! kernels) owns frontiers, capabilities and metrics, and sees to it that a kernel's inputs arrive sharded by its key.

pub mod aggregate;
pub mod checked;
pub mod columns;
pub mod constant;
mod equal_rows;
pub mod evaluate;
pub mod first_row;
pub mod graph;
pub mod join;
pub mod join_index;
mod join_matches;
mod join_residual;
mod kept_rows;
mod keys;
pub mod map;
#[cfg(test)]
mod map_tests;
mod ordered_rows;
pub mod over;
mod pieces;
mod placement;
pub mod recompute;
pub mod recursion;
#[cfg(test)]
pub(crate) mod script;
pub mod sequential;
pub mod temporal;
pub mod timely_driver;
pub mod timely_recompute;
pub mod top_n;
pub mod union;
pub mod unnest;

use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::{ChangeBatch, Epoch, Result};

/// One operator's computation.
///
/// Contract: for every closed epoch in which one of its inputs changed, `step` is called once, in order of epochs, with the
/// fresh changes by input port. What it pushes to `out` is the exact difference of its output. In a very large epoch, and a
/// stateless kernel in any, it may be called several times, with a part of the changes each time.
pub trait Kernel: Send {
    /// Computes the output's changes of `epoch`. `inputs[port]` are the fresh changes of that port, in no particular order.
    /// An `Err` means a broken promise (the view is failed); a failing *row* goes to [`Output::errors`].
    fn step(&mut self, epoch: Epoch, inputs: Vec<Vec<ChangeBatch>>, out: &mut Output) -> Result<()>;

    /// True when the output of a batch depends on that batch alone: the driver then does not wait for the epoch to close.
    fn is_stateless(&self) -> bool {
        false
    }

    /// How the changes of an epoch may come, when they are very many.
    fn parts(&self, _epoch: Epoch) -> Parts<'_> {
        Parts::Any
    }

    /// Rows and bytes of state kept.
    fn state_size(&self) -> StateSize {
        StateSize::default()
    }
}

/// How a kernel can be handed the changes of one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts<'a> {
    /// In parts, as they come.
    Any,
    /// In parts that have all changes of a group, named by columns of the one input: a step reads all rows of the groups that it
    /// changes, and all rows are kept anyway.
    OfGroups(&'a [usize]),
    /// All at once.
    Whole,
}

/// What a kernel produced in one step.
#[derive(Debug, Default)]
pub struct Output {
    /// Changes of the output relation.
    pub changes: Vec<ChangeBatch>,
    /// Failing rows, as changes of the relation's errors relation (schema: [`error_schema`]).
    pub errors: Vec<ChangeBatch>,
    /// Rows of known state that were read to compute this step.
    pub n_state_rows_read: u64,
}

/// How much state an operator keeps.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct StateSize {
    /// Rows (or groups) kept.
    pub n_rows: u64,
    /// Bytes kept, estimated.
    pub n_bytes: u64,
}

/// The columns of `"v$errors"`: the expression that failed, its SQLSTATE and message, and the row it failed for as JSON.
pub fn error_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("expression", DataType::Utf8, false),
        Field::new("sqlstate", DataType::Utf8, false),
        Field::new("message", DataType::Utf8, false),
        Field::new("row", DataType::Utf8, false),
    ]))
}

/// One failing row with its weight, as a change of the errors relation.
pub fn error_change(expression: &str, error: &crate::Error, row_json: &str, weight: i64) -> ChangeBatch {
    let column = |text: &str| Arc::new(StringArray::from(vec![text])) as arrow::array::ArrayRef;
    let columns = vec![column(expression), column(error.sqlstate), column(&error.message), column(row_json)];
    let rows = RecordBatch::try_new(error_schema(), columns).expect("four text columns match the errors schema");
    ChangeBatch::new(rows, vec![weight].into())
}
