//! Aggregates over frames that rows leave. Most know how to take a row back; of the others (`array_agg`, `string_agg`, `bool_and`, …) the
//! rows of the frame are kept, and aggregated anew for each row: a frame of n rows costs n a row.

use std::collections::VecDeque;
use std::mem::size_of_val;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::expr::{AggregateFunctionParams, WindowFunctionParams};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};

/// The same aggregate, for any frame.
pub fn over_any_frame(aggregate: &Arc<AggregateUDF>) -> Arc<AggregateUDF> {
    match aggregate.inner().is::<OverAnyFrame>() {
        true => Arc::clone(aggregate),
        false => Arc::new(AggregateUDF::new_from_impl(OverAnyFrame { inner: Arc::clone(aggregate) })),
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OverAnyFrame {
    inner: Arc<AggregateUDF>,
}

impl AggregateUDFImpl for OverAnyFrame {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.schema_name(params)
    }

    fn window_function_schema_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner.window_function_schema_name(params)
    }

    fn display_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.display_name(params)
    }

    fn window_function_display_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner.window_function_display_name(params)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arguments)
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn return_field(&self, arguments: &[FieldRef]) -> Result<FieldRef> {
        self.inner.return_field(arguments)
    }

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(arguments)
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(arguments)
    }

    fn create_sliding_accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let own = Arguments::of(&arguments);
        let sliding = self.inner.create_sliding_accumulator(arguments)?;
        if sliding.supports_retract_batch() {
            return Ok(sliding);
        }
        Ok(Box::new(FrameRows { aggregate: Arc::clone(&self.inner), arguments: own, rows: VecDeque::new() }))
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner.supports_null_handling_clause()
    }

    fn supports_within_group_clause(&self) -> bool {
        self.inner.supports_within_group_clause()
    }
}

/// What an accumulator is made of.
#[derive(Debug)]
struct Arguments {
    return_field: FieldRef,
    schema: Schema,
    ignore_nulls: bool,
    order_bys: Vec<PhysicalSortExpr>,
    is_reversed: bool,
    name: String,
    is_distinct: bool,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    expr_fields: Vec<FieldRef>,
}

impl Arguments {
    fn of(arguments: &AccumulatorArgs<'_>) -> Self {
        Self {
            return_field: Arc::clone(&arguments.return_field),
            schema: arguments.schema.clone(),
            ignore_nulls: arguments.ignore_nulls,
            order_bys: arguments.order_bys.to_vec(),
            is_reversed: arguments.is_reversed,
            name: arguments.name.to_owned(),
            is_distinct: arguments.is_distinct,
            exprs: arguments.exprs.to_vec(),
            expr_fields: arguments.expr_fields.to_vec(),
        }
    }

    fn borrowed(&self) -> AccumulatorArgs<'_> {
        AccumulatorArgs {
            return_field: Arc::clone(&self.return_field),
            schema: &self.schema,
            ignore_nulls: self.ignore_nulls,
            order_bys: &self.order_bys,
            is_reversed: self.is_reversed,
            name: &self.name,
            is_distinct: self.is_distinct,
            exprs: &self.exprs,
            expr_fields: &self.expr_fields,
        }
    }
}

/// The arguments of the rows in the frame, in their order, in pieces as they came.
#[derive(Debug)]
struct FrameRows {
    aggregate: Arc<AggregateUDF>,
    arguments: Arguments,
    rows: VecDeque<Vec<ArrayRef>>,
}

impl Accumulator for FrameRows {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if values.first().is_some_and(|values| !values.is_empty()) {
            self.rows.push_back(values.to_vec());
        }
        Ok(())
    }

    /// Rows leave at the front.
    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let mut n_left = values.first().map_or(0, |values| values.len());
        while n_left > 0 {
            let Some(piece) = self.rows.front_mut() else { return internal_err!("more rows leave a frame than are in it") };
            let n_rows = piece[0].len();
            if n_rows <= n_left {
                self.rows.pop_front();
            } else {
                piece.iter_mut().for_each(|values| *values = values.slice(n_left, n_rows - n_left));
            }
            n_left = n_left.saturating_sub(n_rows);
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut accumulator = self.aggregate.accumulator(self.arguments.borrowed())?;
        for piece in &self.rows {
            accumulator.update_batch(piece)?;
        }
        accumulator.evaluate()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.rows.iter().flatten().map(|values| values.get_array_memory_size()).sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        internal_err!("the rows of a frame are not merged")
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
        internal_err!("the rows of a frame are not merged")
    }
}
