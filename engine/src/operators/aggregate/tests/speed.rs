//! How long a row takes, as numbers on standard output: `cargo test --release -p thalweg-engine ns_per_row -- --nocapture`.
//! Nothing here depends on the clock; a machine under load prints larger numbers and passes.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch};
use rand::prelude::*;

use super::harness::{Call, kernel_of};
use crate::ChangeBatch;
use crate::operators::{Kernel, Output};

const N_ROWS: usize = 65_536;
const N_EPOCHS: usize = 8;

/// `k` has 100,000 different values, `w` changes slowly as a window does.
fn rows() -> Vec<RecordBatch> {
    let mut random = StdRng::seed_from_u64(1);
    let mut column = |up_to: i64| Arc::new(Int64Array::from_iter_values((0..N_ROWS).map(|_| random.random_range(0..up_to)))) as ArrayRef;
    let batch = |epoch: usize, column: &mut dyn FnMut(i64) -> ArrayRef| {
        let windows = Int64Array::from_iter_values((0..N_ROWS).map(|row| ((epoch * N_ROWS + row) / 100_000) as i64));
        let values = column(1_000_000);
        let half =
            values.as_any().downcast_ref::<Int64Array>().expect("values are bigint").values().iter().map(|value| Some(value % 2 == 0));
        let columns: Vec<(&str, ArrayRef)> =
            vec![("k", column(100_000)), ("w", Arc::new(windows)), ("g", Arc::new(half.collect::<BooleanArray>())), ("v", values)];
        RecordBatch::try_from_iter(columns).expect("columns are equally long")
    };
    (0..N_EPOCHS).map(|epoch| batch(epoch, &mut column)).collect()
}

#[test]
fn ns_per_row() {
    let rows = rows();
    let distinct =
        |filter: bool| if filter { Call::new("count", &["v"]).distinct().filter("g") } else { Call::new("count", &["v"]).distinct() };
    let cases: Vec<(&str, Vec<&str>, Vec<Call>, bool)> = vec![
        ("count by 1 key", vec!["k"], vec![Call::new("count", &["v"])], true),
        ("count by 2 keys", vec!["k", "w"], vec![Call::new("count", &["v"])], true),
        ("sum by 1 key", vec!["k"], vec![Call::new("sum", &["v"])], true),
        ("max by 2 keys, append only", vec!["k", "w"], vec![Call::new("max", &["v"])], true),
        ("max by 2 keys, retractable", vec!["k", "w"], vec![Call::new("max", &["v"])], false),
        ("count distinct by window", vec!["w"], vec![distinct(false)], true),
        ("2 counts distinct by window, one filtered", vec!["w"], vec![distinct(false), distinct(true)], true),
        ("distinct by 2 keys", vec!["k", "w"], vec![], true),
    ];
    for (name, keys, calls, append_only) in cases {
        let mut kernel = kernel_of(rows[0].schema(), &keys, &calls, append_only);
        let start = Instant::now();
        let mut n_changes = 0;
        for batch in &rows {
            let mut out = Output::default();
            kernel.step(1, vec![vec![ChangeBatch::inserts(batch.clone())]], &mut out).expect("the step succeeds");
            n_changes += out.changes.iter().map(ChangeBatch::len).sum::<usize>();
        }
        let nanoseconds = start.elapsed().as_nanos() as f64 / (N_ROWS * N_EPOCHS) as f64;
        println!("{name}: {nanoseconds:.0} ns per row, {n_changes} changes, {:?}", kernel.state_size());
        assert!(n_changes > 0);
    }
}
