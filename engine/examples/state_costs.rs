//! What keyed state costs per row: hashing, spine insertion and lookup, a join of a million rows with a million, top-n.
//!
//! `cargo run --release --example state_costs`

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column};
use thalweg_engine::operators::join::JoinKernel;
use thalweg_engine::operators::top_n::TopNKernel;
use thalweg_engine::operators::{Kernel, Output};
use thalweg_engine::plan::{Join, JoinKind, Node, Plan, SortColumn, TopN};
use thalweg_engine::state::history::Trace;
use thalweg_engine::state::key::hash_rows;
use thalweg_engine::state::spine::Spine;
use thalweg_engine::{ChangeBatch, Result};

const N_ROWS: usize = 1 << 20;
const EPOCH_ROWS: usize = 1 << 16;

fn main() -> Result<()> {
    println!("nanoseconds on a processor per row");
    hashing();
    for epoch_rows in [EPOCH_ROWS, 1024, 1] {
        spines(true, epoch_rows)?;
        spines(false, epoch_rows)?;
    }
    traces()?;
    for append_only in [true, false] {
        joins(append_only, None)?;
    }
    joins(true, Some(between()))?;
    outer_join()?;
    for fetch in [1, 10] {
        top_n(fetch, true)?;
        top_n(fetch, false)?;
    }
    Ok(())
}

/// Time on a processor of this thread, so that a busy machine does not count.
struct Instant(u64);

impl Instant {
    fn now() -> Self {
        let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        Self(statistics.split(' ').next().and_then(|nanoseconds| nanoseconds.parse().ok()).unwrap_or(0))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_nanos(Self::now().0 - self.0)
    }
}

fn report(what: &str, n_rows: usize, elapsed: Duration) {
    println!("{what:<60} {:>10.1}", elapsed.as_nanos() as f64 / n_rows as f64);
}

/// A fixed scramble, so that keys come in no order.
fn scrambled(index: usize) -> i64 {
    (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) as i64
}

fn schema() -> SchemaRef {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![field("id", DataType::Int64), field("time", DataType::Int64), field("extra", DataType::Utf8)]))
}

fn batch(start: usize, n_rows: usize, id: impl Fn(usize) -> i64) -> ChangeBatch {
    let rows = start..start + n_rows;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.clone().map(&id))),
        Arc::new(Int64Array::from_iter_values(rows.clone().map(|row| row as i64))),
        Arc::new(StringArray::from_iter_values(rows.map(|row| format!("some text that is about forty bytes: {row:08}")))),
    ];
    ChangeBatch::inserts(RecordBatch::try_new(schema(), columns).expect("columns match the schema"))
}

fn batches(epoch_rows: usize, n_rows: usize, id: impl Fn(usize) -> i64) -> Vec<ChangeBatch> {
    (0..n_rows).step_by(epoch_rows).map(|start| batch(start, epoch_rows, &id)).collect()
}

fn hashing() {
    let rows = batch(0, N_ROWS, scrambled);
    for (what, columns) in [("hash of an int column", vec![0]), ("hash of an int and a text column", vec![0, 2])] {
        let columns: Vec<ArrayRef> = columns.into_iter().map(|column: usize| rows.column(column).clone()).collect();
        let (n_rounds, start) = (64, Instant::now());
        for first in (0..n_rounds * N_ROWS).step_by(EPOCH_ROWS) {
            let slices: Vec<ArrayRef> = columns.iter().map(|column| column.slice(first % N_ROWS, EPOCH_ROWS)).collect();
            assert_eq!(hash_rows(&slices).len(), EPOCH_ROWS);
        }
        report(what, n_rounds * N_ROWS, start.elapsed());
    }
}

fn spines(append_only: bool, epoch_rows: usize) -> Result<()> {
    let n_rows = if epoch_rows == 1 { 20_000 } else { N_ROWS };
    let input = batches(epoch_rows, n_rows, scrambled);
    let mut spine = Spine::new(schema(), vec![0], append_only);
    let (mut longest, start) = (Duration::ZERO, Instant::now());
    for (epoch, changes) in input.iter().enumerate() {
        let start = std::time::Instant::now();
        spine.insert(epoch as u64, changes)?;
        longest = longest.max(start.elapsed());
    }
    let kind = if append_only { "append-only" } else { "retracting" };
    report(&format!("{kind} spine: insert, {epoch_rows} rows per epoch"), n_rows, start.elapsed());
    println!("    the longest insertion, waiting included: {longest:?}");
    let start = Instant::now();
    let mut n_found = 0;
    for changes in &input {
        n_found += spine.lookup(&[changes.column(0).clone()])?.location.len();
    }
    assert_eq!(n_found, n_rows);
    report("    lookup, as many rows per probe", n_rows, start.elapsed());
    if !append_only && epoch_rows > 1 {
        let start = Instant::now();
        for (epoch, changes) in input.iter().enumerate() {
            spine.insert((input.len() + epoch) as u64, &changes.negated())?;
        }
        report("    retraction of all", n_rows, start.elapsed());
        println!("    rows left: {}, bytes left: {}", spine.n_rows(), spine.n_bytes());
    }
    Ok(())
}

fn traces() -> Result<()> {
    for append_only in [true, false] {
        let input = batches(EPOCH_ROWS, N_ROWS, scrambled);
        let mut trace = Trace::new(schema(), append_only);
        let start = Instant::now();
        for (epoch, changes) in input.iter().enumerate() {
            trace.insert(epoch as u64, changes)?;
            trace.allow_compaction(epoch as u64);
        }
        let kind = if append_only { "append-only" } else { "changing" };
        report(&format!("{kind} trace: insert"), N_ROWS, start.elapsed());
        let start = Instant::now();
        let n_rows: usize = trace.snapshot_at(u64::MAX).batches().map(|batch| batch.map_or(0, |batch| batch.num_rows())).sum();
        assert_eq!(n_rows, N_ROWS);
        report("    read of a snapshot", N_ROWS, start.elapsed());
    }
    Ok(())
}

/// Right's time lies in a range around left's.
fn between() -> Arc<dyn PhysicalExpr> {
    let column = |name: &str, index| Arc::new(Column::new(name, index)) as Arc<dyn PhysicalExpr>;
    let compare = |operator, left, right| Arc::new(BinaryExpr::new(left, operator, right)) as Arc<dyn PhysicalExpr>;
    let after = compare(Operator::GtEq, column("time", 4), column("time", 1));
    let before = compare(Operator::LtEq, column("time", 1), column("id", 3));
    compare(Operator::And, after, compare(Operator::Or, before, compare(Operator::Lt, column("time", 1), column("time", 4))))
}

fn plan(append_only: bool) -> Plan {
    Plan { node: Node::Constant(RecordBatch::new_empty(schema())), schema: schema(), append_only }
}

fn join(kind: JoinKind, append_only: bool, residual: Option<Arc<dyn PhysicalExpr>>) -> Result<JoinKernel> {
    let (left, right) = (plan(append_only), plan(append_only));
    let keys = || vec![0];
    let join = Join { left, right, kind, left_keys: keys(), right_keys: keys(), nulls_equal: false, residual, looks_up: [false; 2] };
    JoinKernel::new(&join, [None, None])
}

fn run(kernel: &mut dyn Kernel, epochs: impl Iterator<Item = Vec<Vec<ChangeBatch>>>) -> Result<(usize, Duration)> {
    let mut n_out = 0;
    let start = Instant::now();
    for (epoch, inputs) in epochs.enumerate() {
        let mut out = Output::default();
        kernel.step(epoch as u64, inputs, &mut out)?;
        n_out += out.changes.iter().map(ChangeBatch::len).sum::<usize>();
    }
    Ok((n_out, start.elapsed()))
}

/// A million auctions and a million bids: ten bids for every tenth auction.
fn joins(append_only: bool, residual: Option<Arc<dyn PhysicalExpr>>) -> Result<()> {
    let what = format!("inner join, append-only {append_only}, residual {}", residual.is_some());
    let left = batches(EPOCH_ROWS, N_ROWS, scrambled);
    let right = batches(EPOCH_ROWS, N_ROWS, |row| scrambled(row / 10));
    let mut kernel = join(JoinKind::Inner, append_only, residual)?;
    let epochs = left.into_iter().zip(right).map(|(left, right)| vec![vec![left], vec![right]]);
    let (n_out, elapsed) = run(&mut kernel, epochs)?;
    report(&what, 2 * N_ROWS, elapsed);
    println!("    {n_out} rows out, {} bytes of state", kernel.state_size().n_bytes);
    Ok(())
}

fn outer_join() -> Result<()> {
    for kind in [JoinKind::Left, JoinKind::LeftAnti] {
        let left = batches(EPOCH_ROWS, N_ROWS, scrambled);
        let right = batches(EPOCH_ROWS, N_ROWS, |row| scrambled(row / 10));
        let mut kernel = join(kind, false, None)?;
        let epochs = left.into_iter().zip(right).map(|(left, right)| vec![vec![left], vec![right]]);
        let (n_out, elapsed) = run(&mut kernel, epochs)?;
        report(&format!("{kind:?} join"), 2 * N_ROWS, elapsed);
        println!("    {n_out} rows out, {} bytes of state", kernel.state_size().n_bytes);
    }
    Ok(())
}

fn top_n(fetch: usize, append_only: bool) -> Result<()> {
    let order = vec![SortColumn { column: 1, descending: true, nulls_first: false }];
    let top = TopN { input: Box::new(plan(append_only)), partition: vec![0], order, skip: 0, fetch, with_row_number: false };
    let mut kernel = TopNKernel::new(&top, append_only)?;
    let input = batches(EPOCH_ROWS, N_ROWS, |row| scrambled(row) & 0xffff);
    let (n_out, elapsed) = run(&mut kernel, input.into_iter().map(|changes| vec![vec![changes]]))?;
    report(&format!("top {fetch}, append-only {append_only}, 65536 partitions"), N_ROWS, elapsed);
    println!("    {n_out} rows out, {} bytes of state", kernel.state_size().n_bytes);
    Ok(())
}
