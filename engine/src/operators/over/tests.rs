//! What moves in a partition changes, and nothing else; and changes by parts are those of the whole partition.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::compute::SortOptions;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::functions_window::lead_lag::{lag_udwf, lead_udwf};
use datafusion::functions_window::rank::{dense_rank_udwf, rank_udwf};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::{
    AggregateUDF, Operator, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition, WindowUDF,
};
use datafusion::physical_expr::expressions::{Column, Literal, binary, lit};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::windows::create_window_expr;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::OverKernel;
use crate::ChangeBatch;
use crate::functions::all_aggregates;
use crate::operators::script::{check, schema};
use crate::operators::{Kernel, Output};
use crate::plan::{Node, Over, Plan, Reach, Running, SortColumn};
use crate::state::consolidate::consolidate;

/// Windows over `k:text v:int id:int` per `k`.
struct Windows {
    /// Columns of the order.
    order: Vec<usize>,
    made: Vec<(Function, Vec<Arc<dyn PhysicalExpr>>, WindowFrame, Option<Arc<dyn PhysicalExpr>>, Reach)>,
}

enum Function {
    Own(Arc<WindowUDF>),
    Aggregate(Arc<AggregateUDF>),
}

fn ours(name: &str) -> Arc<AggregateUDF> {
    all_aggregates().into_iter().find(|function| function.name() == name).expect("it is one of ours")
}

fn column(index: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(["k", "v", "id"][index], index))
}

fn input() -> SchemaRef {
    schema("k:text v:int id:int")
}

/// From the partition's start to the row, or with its peers.
fn growing(by_row: bool) -> WindowFrame {
    let units = if by_row { WindowFrameUnits::Rows } else { WindowFrameUnits::Range };
    WindowFrame::new_bounds(units, WindowFrameBound::Preceding(ScalarValue::UInt64(None)), WindowFrameBound::CurrentRow)
}

fn rows(before: u64, after: u64) -> WindowFrame {
    let (before, after) = (ScalarValue::UInt64(Some(before)), ScalarValue::UInt64(Some(after)));
    WindowFrame::new_bounds(WindowFrameUnits::Rows, WindowFrameBound::Preceding(before), WindowFrameBound::Following(after))
}

impl Windows {
    fn ordered_by(order: &[usize]) -> Self {
        Self { order: order.to_vec(), made: Vec::new() }
    }

    fn own(mut self, function: Arc<WindowUDF>, arguments: Vec<Arc<dyn PhysicalExpr>>, reach: Reach) -> Self {
        self.made.push((Function::Own(function), arguments, growing(false), None, reach));
        self
    }

    fn running(mut self, function: Arc<AggregateUDF>, by_row: bool, filter: Option<Arc<dyn PhysicalExpr>>) -> Self {
        let reach = Reach::Running(Running::Aggregate { by_row, filter: filter.clone() });
        self.made.push((Function::Aggregate(function), vec![column(1)], growing(by_row), filter, reach));
        self
    }

    fn near(mut self, function: Arc<AggregateUDF>, before: u64, after: u64) -> Self {
        let reach = Reach::Near { before: before as usize, after: after as usize };
        self.made.push((Function::Aggregate(function), vec![column(1)], rows(before, after), None, reach));
        self
    }

    /// The kernel; when `whole`, one that evaluates whole partitions.
    fn kernel(&self, whole: bool) -> OverKernel {
        let options = SortOptions { descending: false, nulls_first: false };
        let by: Vec<PhysicalSortExpr> = self.order.iter().map(|index| PhysicalSortExpr::new(column(*index), options)).collect();
        let (mut windows, mut reach) = (Vec::new(), Vec::new());
        let mut fields: Vec<Field> = input().fields().iter().map(|field| field.as_ref().clone()).collect();
        for (function, arguments, frame, filter, reached) in &self.made {
            let function = match function {
                Function::Own(function) => WindowFunctionDefinition::WindowUDF(Arc::clone(function)),
                Function::Aggregate(function) => WindowFunctionDefinition::AggregateUDF(Arc::clone(function)),
            };
            let name = format!("w{}", windows.len());
            let (frame, filter) = (Arc::new(frame.clone()), filter.clone());
            let window = create_window_expr(&function, name.clone(), arguments, &[column(0)], &by, frame, input(), false, false, filter);
            let window = window.expect("a window over these columns");
            fields.push(Field::new(name, window.field().expect("it has a type").data_type().clone(), true));
            windows.push(window);
            reach.push(if whole { Reach::Whole } else { reached.clone() });
        }
        let node = Node::Constant(RecordBatch::new_empty(input()));
        let plan = Box::new(Plan { node, schema: input(), append_only: false });
        let order = self.order.iter().map(|column| SortColumn { column: *column, descending: false, nulls_first: false }).collect();
        let over = Over { input: plan, partition: vec![0], order, windows, reach, describe: "windows".into() };
        OverKernel::new(&over, Arc::new(Schema::new(fields))).expect("the types can be ordered")
    }
}

#[test]
fn only_what_moves_in_a_partition_changes() {
    let windows =
        Windows::ordered_by(&[1, 2]).own(row_number_udwf(), vec![], Reach::Running(Running::RowNumber)).running(ours("sum"), false, None);
    check(
        &mut windows.kernel(false),
        &[("input", input())],
        "1: + a 1 0 | + a 3 0 | + b 5 0 | +2 null 2 0
         2: + a 2 0
         3: - a 1 0 | + b 9 0 | - b 9 0
         4: - a 2 0 | - a 3 0 | - null 2 0
         5: + a null 0",
        "1: + a 1 0 1 1 | + a 3 0 2 4 | + b 5 0 1 5 | + null 2 0 1 4 | + null 2 0 2 4
         2: + a 2 0 2 3 | - a 3 0 2 4 | + a 3 0 3 6
         3: - a 1 0 1 1 | + a 2 0 1 2 | - a 2 0 2 3 | + a 3 0 2 5 | - a 3 0 3 6
         4: - a 2 0 1 2 | - a 3 0 2 5 | + null 2 0 1 2 | - null 2 0 1 4 | - null 2 0 2 4
         5: + a null 0 1 null",
    );
}

/// Row by row in an order that is total but for copies.
fn by_row() -> Windows {
    let rest = binary(column(2), Operator::Modulo, lit(2_i64), &input()).expect("integers");
    let is_even = binary(rest, Operator::Eq, lit(0_i64), &input());
    Windows::ordered_by(&[1, 2])
        .own(row_number_udwf(), vec![], Reach::Running(Running::RowNumber))
        .own(lag_udwf(), vec![column(1), Arc::new(Literal::new(ScalarValue::Int64(Some(3))))], Reach::Near { before: 3, after: 0 })
        .own(lead_udwf(), vec![column(2)], Reach::Near { before: 0, after: 1 })
        .running(ours("sum"), true, None)
        .running(max_udaf(), true, None)
        .running(count_udaf(), true, Some(is_even.expect("integers")))
        .near(ours("sum"), 2, 5)
}

/// With peers.
fn by_peers() -> Windows {
    Windows::ordered_by(&[1])
        .own(rank_udwf(), vec![], Reach::Running(Running::Rank))
        .own(dense_rank_udwf(), vec![], Reach::Running(Running::DenseRank))
        .running(ours("sum"), false, None)
        .running(min_udaf(), false, None)
        .running(ours("avg"), false, None)
}

fn step(kernel: &mut OverKernel, epoch: u64, changes: &ChangeBatch) -> (ChangeBatch, u64) {
    let mut out = Output::default();
    kernel.step(epoch, vec![vec![changes.clone()]], &mut out).expect("the changes are of rows that are there");
    assert!(out.errors.is_empty(), "nothing fails");
    let schema = out.changes.first().map_or_else(|| Arc::new(Schema::empty()), |batch| batch.schema().clone());
    (consolidate(&schema, &out.changes).expect("types that can be encoded"), out.n_state_rows_read)
}

/// Up to `n_rows` rows of two partitions, in bursts, then fewer and fewer.
fn history(random: &mut StdRng, n_values: i64, n_epochs: usize, n_rows: usize) -> Vec<ChangeBatch> {
    let mut there: Vec<(usize, Option<i64>, i64)> = Vec::new();
    let mut history = Vec::new();
    for epoch in 0..n_epochs {
        let mut changes = Vec::new();
        let is_growing = epoch < n_epochs / 2;
        for _ in 0..random.random_range(1..if epoch % 5 == 0 { n_rows / 4 } else { 4 }) {
            if there.is_empty() || random.random_bool(if is_growing { 0.8 } else { 0.2 }) {
                let value = random.random_bool(0.97).then(|| random.random_range(0..n_values));
                let row = (random.random_range(0..2), value, random.random_range(0..40));
                there.push(row);
                changes.push((row, 1));
            } else {
                changes.push((there.swap_remove(random.random_range(0..there.len())), -1));
            }
        }
        history.push(batch(&changes));
    }
    history
}

fn batch(changes: &[((usize, Option<i64>, i64), i64)]) -> ChangeBatch {
    let keys: StringArray = changes.iter().map(|change| Some(["a", "b"][change.0.0])).collect();
    let values: Int64Array = changes.iter().map(|change| change.0.1).collect();
    let ids: Int64Array = changes.iter().map(|change| Some(change.0.2)).collect();
    let rows = RecordBatch::try_new(input(), vec![Arc::new(keys), Arc::new(values), Arc::new(ids)]).expect("three columns");
    ChangeBatch::new(rows, changes.iter().map(|change| change.1).collect::<Vec<_>>().into())
}

#[test]
fn changes_by_parts_are_those_of_the_whole() {
    for (seed, windows, n_values) in [(1, by_row(), 5000), (2, by_row(), 20), (3, by_peers(), 500), (4, by_peers(), 4)] {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut parts, mut whole) = (windows.kernel(false), windows.kernel(true));
        for (epoch, changes) in history(&mut random, n_values, 120, 2000).iter().enumerate() {
            let (found, _) = step(&mut parts, epoch as u64, changes);
            let (expected, _) = step(&mut whole, epoch as u64, changes);
            assert_eq!(found.rows(), expected.rows(), "rows that change at epoch {epoch} of seed {seed}");
            assert_eq!(found.weights(), expected.weights(), "weights at epoch {epoch} of seed {seed}");
        }
        assert_eq!(parts.state_size(), whole.state_size());
    }
}

#[test]
fn a_row_at_the_end_or_one_that_changes_little_reads_little() {
    let ascending: Vec<_> = (0..20_000).map(|value| ((0, Some(value), value % 40), 1)).collect();
    let last = batch(&[((0, Some(20_000), 0), 1)]);
    let middle = batch(&[((0, Some(10_000), 50), 1)]);
    for windows in [by_row(), by_peers()] {
        let mut kernel = windows.kernel(false);
        step(&mut kernel, 1, &batch(&ascending));
        let (changed, n_read) = step(&mut kernel, 2, &last);
        assert!(changed.len() < 20 && n_read < 400, "{} rows change, {n_read} are read", changed.len());
    }
    let mut near = Windows::ordered_by(&[1, 2]).near(ours("sum"), 2, 5).running(max_udaf(), true, None).kernel(false);
    step(&mut near, 1, &batch(&ascending));
    let (changed, n_read) = step(&mut near, 2, &middle);
    assert!(changed.len() < 20 && n_read < 800, "{} rows change, {n_read} are read", changed.len());
}

#[test]
fn a_partition_that_fails_has_no_rows_until_it_does_not() {
    let mut windows = Windows::ordered_by(&[1, 2]).running(ours("sum"), true, None);
    windows.made[0].1 = vec![binary(column(1), Operator::Divide, column(2), &input()).expect("integers")];
    check(
        &mut windows.kernel(false),
        &[("input", input())],
        "1: + a 10 1 | + b 4 2
         2: + a 5 0
         3: + a 20 2
         4: - a 5 0
         5: + a 30 3",
        "1: + a 10 1 10 | + b 4 2 2
         2: - a 10 1 10 ! + OVER 22012 'division by zero' ''
         3:
         4: + a 10 1 10 | + a 20 2 20 ! - OVER 22012 'division by zero' ''
         5: + a 30 3 30",
    );
}
