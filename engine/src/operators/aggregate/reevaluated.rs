//! Any other aggregate: a group keeps its rows (order columns, then arguments) in canonical order with their counts, and the
//! aggregate runs again over the rows of a group that was touched. The order is ORDER BY, then the row encoding, so that what
//! depends on order does not depend on the order of arrival.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::{DataType, SchemaRef};
use arrow_row::{RowConverter, SortField};
use datafusion::common::ScalarValue;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use super::calls::CallState;
use crate::functions::states::{Evaluated, Rows};
use crate::operators::StateSize;
use crate::plan::AggregateCall;
use crate::{ChangeBatch, Error, Result};

/// One aggregate kept by the rows of its groups.
pub(super) struct ReevaluatedCall {
    outputs: [usize; 1],
    expression: std::sync::Arc<AggregateFunctionExpr>,
    /// Order columns, then arguments.
    columns: Vec<usize>,
    n_order_columns: usize,
    filter: Option<usize>,
    distinct: bool,
    converter: RowConverter,
    groups: Vec<Group>,
    /// What a group without rows gives.
    empty: Outcome,
    n_rows: u64,
    n_row_bytes: u64,
}

type Outcome = Result<ScalarValue, Error>;

/// The rows of a group with their counts, and its result as of the last refresh (`None`: that of no rows).
#[derive(Default)]
struct Group {
    rows: BTreeMap<Box<[u8]>, i64>,
    outcome: Option<Outcome>,
}

impl ReevaluatedCall {
    /// For aggregate `output` of a plan over `input`.
    pub fn new(output: usize, call: &AggregateCall, input: &SchemaRef) -> Result<Self> {
        let field = |column: usize| input.field(column).data_type().clone();
        let order = call.order_by.iter().map(|sort| {
            let options = SortOptions { descending: sort.descending, nulls_first: sort.nulls_first };
            SortField::new_with_options(field(sort.column), options)
        });
        let arguments = call.arguments.iter().map(|argument| SortField::new(field(*argument)));
        let order_columns = call.order_by.iter().map(|sort| sort.column);
        let mut state = Self {
            outputs: [output],
            expression: call.expression.clone(),
            columns: order_columns.chain(call.arguments.iter().copied()).collect(),
            n_order_columns: call.order_by.len(),
            filter: call.filter,
            distinct: call.distinct,
            converter: RowConverter::new(order.chain(arguments).collect())?,
            groups: Vec::new(),
            empty: Ok(ScalarValue::Null),
            n_rows: 0,
            n_row_bytes: 0,
        };
        state.empty = state.evaluate_rows(&BTreeMap::new()).map(|(outcome, _)| outcome)?;
        Ok(state)
    }

    fn data_type(&self) -> DataType {
        self.expression.field().data_type().clone()
    }

    /// The result over these rows, and how many were read.
    fn evaluate_rows(&self, rows: &BTreeMap<Box<[u8]>, i64>) -> Result<(Outcome, u64)> {
        let parser = self.converter.parser();
        let columns = self.converter.convert_rows(rows.keys().map(|row| parser.parse(row)))?;
        let mut columns = self.repeated(columns, rows)?;
        let mut values = columns.split_off(self.n_order_columns);
        values.extend(columns);
        let run = || {
            let mut accumulator = self.expression.create_accumulator()?;
            if values.first().is_some_and(|values| !values.is_empty()) {
                accumulator.update_batch(&values)?;
            }
            accumulator.evaluate()
        };
        Ok((run().map_err(Error::from), rows.len() as u64))
    }

    /// Each row as often as it counts; once for DISTINCT.
    fn repeated(&self, columns: Vec<ArrayRef>, rows: &BTreeMap<Box<[u8]>, i64>) -> Result<Vec<ArrayRef>> {
        if rows.values().all(|count| *count == 1) {
            return Ok(columns);
        }
        let times = |count: i64| if self.distinct { count.clamp(0, 1) } else { count.max(0) } as usize;
        let indices: UInt32Array =
            rows.values().enumerate().flat_map(|(row, count)| std::iter::repeat_n(Some(row as u32), times(*count))).collect();
        columns.iter().map(|column| Ok(take(column, &indices, None)?)).collect()
    }
}

impl CallState for ReevaluatedCall {
    fn resize(&mut self, n_groups: usize) {
        self.groups.resize_with(n_groups.max(self.groups.len()), Group::default);
    }

    fn update(&mut self, batch: &ChangeBatch, groups: &[usize]) -> Result<()> {
        let columns: Vec<ArrayRef> = self.columns.iter().map(|column| batch.column(*column).clone()).collect();
        let encoded = self.converter.convert_columns(&columns)?;
        let filter = self.filter.map(|filter| batch.column(filter).as_boolean());
        let weights = batch.weights().map(|weights| weights.values().as_ref());
        Rows::new(groups, weights, filter).for_each(None, |row, group, weight| {
            let (rows, key) = (&mut self.groups[group].rows, encoded.row(row));
            match rows.get_mut(key.as_ref()) {
                Some(count) if *count + weight == 0 => {
                    rows.remove(key.as_ref());
                    self.n_rows -= 1;
                    self.n_row_bytes -= key.as_ref().len() as u64;
                }
                Some(count) => *count += weight,
                None => {
                    rows.insert(key.as_ref().into(), weight);
                    self.n_rows += 1;
                    self.n_row_bytes += key.as_ref().len() as u64;
                }
            }
        });
        Ok(())
    }

    fn refresh(&mut self, touched: &[usize]) -> Result<u64> {
        let mut n_read = 0;
        for group in touched {
            let (outcome, n_rows) = self.evaluate_rows(&self.groups[*group].rows)?;
            self.groups[*group].outcome = Some(outcome);
            n_read += n_rows;
        }
        Ok(n_read)
    }

    fn evaluate(&self, groups: &[usize]) -> Result<Vec<Evaluated>> {
        let (mut values, mut errors) = (Vec::with_capacity(groups.len()), Vec::new());
        let null = ScalarValue::try_from(&self.data_type())?;
        for (position, group) in groups.iter().enumerate() {
            match self.groups[*group].outcome.as_ref().unwrap_or(&self.empty) {
                Ok(value) => values.push(value.clone()),
                Err(error) => {
                    errors.push((position, error.clone()));
                    values.push(null.clone());
                }
            }
        }
        let values = match values.is_empty() {
            true => arrow::array::new_empty_array(&self.data_type()),
            false => ScalarValue::iter_to_array(values)?,
        };
        Ok(vec![Evaluated { values, errors }])
    }

    fn clear(&mut self, group: usize) {
        let group = std::mem::take(&mut self.groups[group]);
        self.n_rows -= group.rows.len() as u64;
        self.n_row_bytes -= group.rows.keys().map(|row| row.len() as u64).sum::<u64>();
    }

    fn outputs(&self) -> &[usize] {
        &self.outputs
    }

    fn state_size(&self) -> StateSize {
        let overhead = (size_of::<Box<[u8]>>() + 8) as u64 * 4 / 3;
        let groups = (self.groups.capacity() * size_of::<Group>()) as u64;
        StateSize { n_rows: self.n_rows, n_bytes: groups + self.n_row_bytes + self.n_rows * overhead }
    }
}
