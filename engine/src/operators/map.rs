//! Filter and projection. Stateless: the output of a batch depends on that batch alone, and the outcome of a row on that row
//! alone. A row that fails goes to the errors with its weight, so that deleting the row takes its error back.

use std::sync::Arc;

use arrow::array::UInt32Array;
use arrow::datatypes::{Field, Schema, SchemaRef};

use super::evaluate::{Evaluator, row_json};
use super::{Kernel, Output, error_change};
use crate::{ChangeBatch, Epoch, Result, plan};

/// The kernel of [`plan::Map`].
#[derive(Debug)]
pub struct MapKernel {
    evaluator: Evaluator,
}

impl MapKernel {
    /// Output columns are named by their expressions; see [`MapKernel::with_schema`].
    pub fn new(map: &plan::Map) -> Result<Self> {
        let input = &map.input.schema;
        let fields = map.expressions.iter().map(|expression| {
            let field = expression.return_field(input)?;
            Ok(Field::clone(&field).with_name(expression.to_string()).with_nullable(true))
        });
        let schema = Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?));
        Self::with_schema(map, schema)
    }

    /// With the output schema of the plan's node.
    pub fn with_schema(map: &plan::Map, schema: SchemaRef) -> Result<Self> {
        let evaluator = Evaluator::new(map.predicate.as_ref(), &map.expressions, schema)?;
        Ok(Self { evaluator })
    }

    fn map(&self, batch: &ChangeBatch, out: &mut Output) -> Result<()> {
        let evaluated = self.evaluator.evaluate(batch.rows())?;
        for failure in &evaluated.failures {
            let row = row_json(batch.rows(), failure.row);
            out.errors.push(error_change(&failure.expression, &failure.error, &row, batch.weight(failure.row)));
        }
        let weights = match (batch.weights(), &evaluated.rows) {
            (Some(weights), Some(rows)) => Some(rows.values().iter().map(|row| weights.value(*row as usize)).collect()),
            (weights, _) => weights.cloned(),
        };
        if evaluated.values.num_rows() > 0 {
            debug_assert_eq!(evaluated.rows.as_ref().map_or(batch.len(), UInt32Array::len), evaluated.values.num_rows());
            out.changes.push(ChangeBatch::with_weights(evaluated.values, weights));
        }
        Ok(())
    }
}

impl Kernel for MapKernel {
    fn step(&mut self, _epoch: Epoch, inputs: Vec<Vec<ChangeBatch>>, out: &mut Output) -> Result<()> {
        inputs.into_iter().flatten().filter(|batch| !batch.is_empty()).try_for_each(|batch| self.map(&batch, out))
    }

    fn is_stateless(&self) -> bool {
        true
    }
}
