//! What a plan means, as plainly as it can be said: each operator evaluated over all rows of its inputs at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array, UInt64Array};
use arrow::compute::{SortColumn as ArrowSort, SortOptions, concat_batches, filter_record_batch, lexsort_to_indices, take};
use arrow::datatypes::{Int64Type, SchemaRef};
use arrow_row::{OwnedRow, RowConverter, SortField};
use datafusion::common::ScalarValue;

use super::fixture::{Fixture, NOW, block_on};
use crate::plan::{
    Aggregate, AggregateCall, Join, JoinKind, Map, Node, Over, Plan, Recursion, SortColumn, Temporal, TopN, Unnest, UnnestColumn,
    with_round,
};

/// All rows of `plan` over the fixture's relations.
pub fn evaluate(plan: &Plan, fixture: &Fixture) -> RecordBatch {
    evaluate_over(plan, fixture, &[])
}

/// The same in a recursion's step, which reads what is `given` to it by port.
fn evaluate_over(plan: &Plan, fixture: &Fixture, given: &[RecordBatch]) -> RecordBatch {
    let input = |plan: &Plan| evaluate_over(plan, fixture, given);
    match &plan.node {
        Node::Scan { relation, columns } => build(
            &plan.schema,
            columns.iter().map(|column| Arc::clone(fixture.rows(*relation).column(*column))).collect(),
            fixture.rows(*relation).num_rows(),
        ),
        Node::Constant(rows) => rows.clone(),
        Node::Map(node) => map(node, input(&node.input), &plan.schema),
        Node::Unnest(node) => unnest(node, &input(&node.input), &plan.schema),
        Node::Union(inputs) => {
            let rows =
                inputs.iter().map(input).map(|rows| build(&plan.schema, rows.columns().to_vec(), rows.num_rows())).collect::<Vec<_>>();
            concat_batches(&plan.schema, &rows).expect("inputs of one schema")
        }
        Node::Arrange(node) => input(&node.input),
        Node::Aggregate(node) => aggregate(node, &input(&node.input), &plan.schema),
        Node::Join(node) => join(node, &input(&node.left), &input(&node.right), &plan.schema),
        Node::TopN(node) => top(node, &input(&node.input), &plan.schema),
        Node::Over(node) => over(node, &input(&node.input), &plan.schema),
        Node::Temporal(node) => temporal(node, input(&node.input), &plan.schema),
        Node::Recursion(node) => recursion(node, fixture, &plan.schema),
        Node::Given(port) => build(&plan.schema, given[*port].columns().to_vec(), given[*port].num_rows()),
        Node::Recompute(node) => {
            let inputs = node.inputs.iter().map(|plan| vec![input(plan)]).collect();
            let rows = block_on(node.query.run(inputs)).expect("the recomputed query runs");
            concat_batches(&plan.schema, &rows).expect("a recomputed query has its node's schema")
        }
    }
}

fn build(schema: &SchemaRef, columns: Vec<ArrayRef>, n_rows: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).expect("an operator's columns have its schema")
}

/// The clock shows the fixture's time.
fn temporal(node: &Temporal, rows: RecordBatch, schema: &SchemaRef) -> RecordBatch {
    let holds = |column: Option<usize>, row: usize, holds: fn(i64) -> bool| {
        column.map(|column| rows.column(column).as_primitive::<Int64Type>()).is_none_or(|at| at.is_valid(row) && holds(at.value(row)))
    };
    let is_there = |row| Some(holds(node.enters, row, |at| at <= NOW) && holds(node.leaves, row, |at| NOW < at));
    let is_there: BooleanArray = (0..rows.num_rows()).map(is_there).collect();
    let there = filter_record_batch(&rows, &is_there).expect("as many flags as rows");
    build(schema, there.columns()[..schema.fields().len()].to_vec(), there.num_rows())
}

/// Round after round, until one has no new rows.
fn recursion(node: &Recursion, fixture: &Fixture, schema: &SchemaRef) -> RecordBatch {
    let all_columns: Vec<usize> = (0..schema.fields().len()).collect();
    let others: Vec<RecordBatch> = node.others.iter().map(|other| evaluate(other, fixture)).collect();
    let mut known = BTreeSet::new();
    let mut new_rows = |rows: RecordBatch| {
        let is_new: BooleanArray =
            keys_of(&rows, &all_columns).into_iter().map(|row| Some(!node.is_distinct || known.insert(row))).collect();
        filter_record_batch(&rows, &is_new).expect("as many flags as rows")
    };
    let first = evaluate(&node.first, fixture);
    let mut rounds = vec![new_rows(build(schema, first.columns().to_vec(), first.num_rows()))];
    while let Some(last) = rounds.last().filter(|last| last.num_rows() > 0) {
        let round: ArrayRef = Arc::new(Int64Array::from(vec![rounds.len() as i64; last.num_rows()]));
        let rows = build(&with_round(schema), [last.columns(), &[round]].concat(), last.num_rows());
        let made = evaluate_over(&node.step, fixture, &[vec![rows], others.clone()].concat());
        rounds.push(new_rows(build(schema, made.columns()[..all_columns.len()].to_vec(), made.num_rows())));
    }
    concat_batches(schema, &rounds).expect("rounds of one schema")
}

fn map(node: &Map, mut rows: RecordBatch, schema: &SchemaRef) -> RecordBatch {
    if let Some(predicate) = &node.predicate {
        let keep = predicate.evaluate(&rows).and_then(|keep| keep.into_array(rows.num_rows())).expect("the predicate evaluates");
        rows = filter_record_batch(&rows, keep.as_boolean()).expect("as many flags as rows");
    }
    let value = |expression: &Arc<dyn datafusion::physical_expr::PhysicalExpr>| {
        expression.evaluate(&rows).and_then(|value| value.into_array(rows.num_rows())).expect("the expression evaluates")
    };
    build(schema, node.expressions.iter().map(value).collect(), rows.num_rows())
}

fn unnest(node: &Unnest, rows: &RecordBatch, schema: &SchemaRef) -> RecordBatch {
    let [list] = node.list_columns.as_slice() else { panic!("one list column is lowered") };
    let list = rows.column(*list).as_list::<i32>();
    let (mut from, mut elements) = (Vec::new(), Vec::new());
    for row in 0..rows.num_rows() {
        if list.is_null(row) && node.preserve_nulls {
            from.push(row as u32);
            elements.push(None);
        }
        if list.is_valid(row) {
            for element in list.value_offsets()[row]..list.value_offsets()[row + 1] {
                from.push(row as u32);
                elements.push(Some(element as u32));
            }
        }
    }
    let (from, elements) = (UInt32Array::from(from), UInt32Array::from(elements));
    let column = |output: &UnnestColumn| match output {
        UnnestColumn::Kept(column) => take(rows.column(*column), &from, None).expect("rows in range"),
        UnnestColumn::Element(_) => take(list.values(), &elements, None).expect("elements in range"),
        UnnestColumn::Field(..) => panic!("struct columns are recomputed"),
    };
    build(schema, node.output.iter().map(column).collect(), from.len())
}

fn keys_of(rows: &RecordBatch, columns: &[usize]) -> Vec<OwnedRow> {
    if columns.is_empty() {
        let converter = RowConverter::new(vec![SortField::new(arrow::datatypes::DataType::Null)]).expect("a sortable type");
        let nulls: ArrayRef = Arc::new(arrow::array::NullArray::new(rows.num_rows()));
        return converter.convert_columns(&[nulls]).expect("nulls convert").iter().map(|row| row.owned()).collect();
    }
    let columns = columns.iter().map(|column| Arc::clone(rows.column(*column))).collect::<Vec<_>>();
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let converter = RowConverter::new(fields).expect("sortable types");
    converter.convert_columns(&columns).expect("columns convert").iter().map(|row| row.owned()).collect()
}

fn sort(rows: &RecordBatch, order: &[SortColumn]) -> RecordBatch {
    let named = order.iter().map(|sort| (sort.column, sort.descending, sort.nulls_first));
    let rest = (0..rows.num_columns()).map(|column| (column, false, false));
    let columns = named.chain(rest).map(|(column, descending, nulls_first)| ArrowSort {
        values: Arc::clone(rows.column(column)),
        options: Some(SortOptions { descending, nulls_first }),
    });
    let columns = columns.collect::<Vec<_>>();
    let indices = lexsort_to_indices(&columns, None).expect("sortable columns");
    crate::update::take_rows(rows, &indices).expect("indices in range")
}

/// Row indices by key, keys in their order.
fn groups(rows: &RecordBatch, columns: &[usize]) -> BTreeMap<OwnedRow, Vec<u32>> {
    let mut groups: BTreeMap<OwnedRow, Vec<u32>> = BTreeMap::new();
    for (row, key) in keys_of(rows, columns).into_iter().enumerate() {
        groups.entry(key).or_default().push(row as u32);
    }
    groups
}

fn aggregate(node: &Aggregate, rows: &RecordBatch, schema: &SchemaRef) -> RecordBatch {
    let mut groups: Vec<Vec<u32>> = groups(rows, &node.keys).into_values().collect();
    if node.keys.is_empty() && groups.is_empty() {
        groups.push(vec![]);
    }
    let first = UInt32Array::from_iter_values(groups.iter().filter_map(|group| group.first().copied()));
    let mut columns: Vec<ArrayRef> = node.keys.iter().map(|key| take(rows.column(*key), &first, None).expect("rows in range")).collect();
    for (place, call) in node.aggregates.iter().enumerate() {
        let values = groups.iter().map(|group| {
            let group = crate::update::take_rows(rows, &UInt32Array::from(group.clone())).expect("rows in range");
            evaluate_call(call, group)
        });
        let field = schema.field(node.keys.len() + place);
        let column = ScalarValue::iter_to_array(values).unwrap_or_else(|_| arrow::array::new_empty_array(field.data_type()));
        columns.push(column);
    }
    build(schema, columns, groups.len())
}

fn evaluate_call(call: &AggregateCall, mut group: RecordBatch) -> ScalarValue {
    if let Some(filter) = call.filter {
        group = filter_record_batch(&group, group.column(filter).as_boolean()).expect("as many flags as rows");
    }
    let group = sort(&group, &call.order_by);
    let columns = call.arguments.iter().chain(call.order_by.iter().map(|sort| &sort.column));
    let values = columns.map(|column| Arc::clone(group.column(*column))).collect::<Vec<_>>();
    let mut accumulator = call.expression.create_accumulator().expect("an accumulator");
    if group.num_rows() > 0 {
        accumulator.update_batch(&values).expect("values of the function's types");
    }
    accumulator.evaluate().expect("the aggregate evaluates")
}

fn join(node: &Join, left: &RecordBatch, right: &RecordBatch, schema: &SchemaRef) -> RecordBatch {
    let pairs = matches(node, left, right);
    let left_of = |row: usize| pairs.iter().filter(move |(left, _)| *left == row).count();
    let right_of = |row: usize| pairs.iter().filter(move |(_, right)| *right == row).count();
    let mut output: Vec<(Option<usize>, Option<usize>)> = vec![];
    let semi = matches!(node.kind, JoinKind::LeftSemi | JoinKind::LeftAnti | JoinKind::LeftMark);
    if !semi {
        output.extend(pairs.iter().map(|(left, right)| (Some(*left), Some(*right))));
    }
    for row in 0..left.num_rows() {
        let matched = left_of(row) > 0;
        let kept = match node.kind {
            JoinKind::Left | JoinKind::Full | JoinKind::LeftAnti => !matched,
            JoinKind::LeftSemi => matched,
            JoinKind::LeftMark => true,
            JoinKind::Inner | JoinKind::Right => false,
        };
        if kept {
            output.push((Some(row), None));
        }
    }
    if matches!(node.kind, JoinKind::Right | JoinKind::Full) {
        output.extend((0..right.num_rows()).filter(|row| right_of(*row) == 0).map(|row| (None, Some(row))));
    }
    let indices = |side: &dyn Fn(&(Option<usize>, Option<usize>)) -> Option<usize>| {
        output.iter().map(|pair| side(pair).map(|row| row as u64)).collect::<UInt64Array>()
    };
    let mut columns = columns_at(left, &indices(&|pair| pair.0));
    match node.kind {
        JoinKind::LeftSemi | JoinKind::LeftAnti => {}
        JoinKind::LeftMark => {
            columns.push(Arc::new(BooleanArray::from((0..left.num_rows()).map(|row| left_of(row) > 0).collect::<Vec<_>>())))
        }
        _ => columns.extend(columns_at(right, &indices(&|pair| pair.1))),
    }
    build(schema, columns, output.len())
}

fn columns_at(rows: &RecordBatch, indices: &UInt64Array) -> Vec<ArrayRef> {
    rows.columns().iter().map(|column| take(column, indices, None).expect("rows in range")).collect()
}

fn matches(node: &Join, left: &RecordBatch, right: &RecordBatch) -> Vec<(usize, usize)> {
    let (left_keys, right_keys) = (keys_of(left, &node.left_keys), keys_of(right, &node.right_keys));
    let has_null = |rows: &RecordBatch, keys: &[usize], row: usize| keys.iter().any(|key| rows.column(*key).is_null(row));
    let mut pairs = vec![];
    for (i, left_key) in left_keys.iter().enumerate() {
        for (j, right_key) in right_keys.iter().enumerate() {
            let nulls = has_null(left, &node.left_keys, i) || has_null(right, &node.right_keys, j);
            if left_key == right_key && (node.nulls_equal || !nulls) && residual_holds(node, left, i, right, j) {
                pairs.push((i, j));
            }
        }
    }
    pairs
}

fn residual_holds(node: &Join, left: &RecordBatch, i: usize, right: &RecordBatch, j: usize) -> bool {
    let Some(residual) = &node.residual else { return true };
    let fields = node.left.schema.fields().iter().chain(node.right.schema.fields()).cloned().collect::<Vec<_>>();
    let schema = Arc::new(arrow::datatypes::Schema::new(fields));
    let columns = left.slice(i, 1).columns().iter().chain(right.slice(j, 1).columns()).cloned().collect();
    let pair = build(&schema, columns, 1);
    let holds = residual.evaluate(&pair).and_then(|value| value.into_array(1)).expect("the residual evaluates");
    holds.as_boolean().is_valid(0) && holds.as_boolean().value(0)
}

fn over(node: &Over, rows: &RecordBatch, schema: &SchemaRef) -> RecordBatch {
    let mut partitions = vec![RecordBatch::new_empty(Arc::clone(schema))];
    for group in groups(rows, &node.partition).into_values() {
        let group = sort(&crate::update::take_rows(rows, &UInt32Array::from(group)).expect("rows in range"), &node.order);
        let mut columns = group.columns()[..schema.fields().len() - node.windows.len()].to_vec();
        columns.extend(node.windows.iter().map(|window| window.evaluate(&group).expect("the window evaluates")));
        partitions.push(build(schema, columns, group.num_rows()));
    }
    concat_batches(schema, &partitions).expect("partitions of one schema")
}

fn top(node: &TopN, rows: &RecordBatch, schema: &SchemaRef) -> RecordBatch {
    let (mut kept, mut numbers) = (vec![], vec![]);
    for group in groups(rows, &node.partition).into_values() {
        let group = sort(&crate::update::take_rows(rows, &UInt32Array::from(group)).expect("rows in range"), &node.order);
        let skip = node.skip.min(group.num_rows());
        let fetch = node.fetch.min(group.num_rows() - skip);
        kept.push(group.slice(skip, fetch));
        numbers.extend((skip..skip + fetch).map(|row| row as u64 + 1));
    }
    let kept = concat_batches(&rows.schema(), &kept).expect("groups of one schema");
    let mut columns = kept.columns().to_vec();
    if node.with_row_number {
        let numbers: ArrayRef = Arc::new(UInt64Array::from(numbers));
        let data_type = schema.field(columns.len()).data_type();
        columns.push(arrow::compute::cast(&numbers, data_type).expect("a row number is an integer"));
    }
    build(schema, columns, kept.num_rows())
}
