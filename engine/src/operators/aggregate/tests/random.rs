//! Random inserts, updates and deletes in random epochs and batches: after each epoch the integrated output equals DataFusion's
//! batch result over the integrated input, bit by bit.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use rand::prelude::*;

use super::harness::{Call, kernel_of};
use crate::operators::aggregate::AggregateKernel;
use crate::operators::{Kernel, Output, script};
use crate::{ChangeBatch, functions};

const COLUMNS: &str = "k:int j:text s:int4 v:int f:float x:float b:bool g:bool t:text n:decimal d:date";

fn calls() -> Vec<Call> {
    let call = Call::new;
    vec![
        call("count", &["v"]),
        call("count", &["t"]).filter("g"),
        call("sum", &["s"]),
        call("sum", &["v"]),
        call("sum", &["n"]).filter("b"),
        call("sum", &["f"]),
        call("sum", &["x"]),
        call("avg", &["v"]),
        call("avg", &["n"]),
        call("avg", &["f"]).filter("g"),
        call("var_samp", &["f"]),
        call("stddev_pop", &["f"]),
        call("variance", &["x"]),
        call("min", &["v"]),
        call("max", &["f"]),
        call("min", &["x"]),
        call("max", &["t"]).filter("g"),
        call("min", &["n"]),
        call("max", &["d"]),
        call("min", &["b"]),
        call("bool_and", &["b"]),
        call("bool_or", &["b"]).filter("g"),
        call("bit_xor", &["v"]),
        call("bit_and", &["s"]),
        call("bit_or", &["v"]),
        call("count", &["v"]).distinct(),
        call("count", &["v"]).distinct().filter("g"),
        call("sum", &["v"]).distinct().filter("b"),
        call("avg", &["v"]).distinct(),
        call("count", &["t"]).distinct(),
        call("array_agg", &["v"]).order_by("v", false),
        call("array_agg", &["v"]).distinct().order_by("v", true),
        call("first_value", &["t"]).order_by("t", true),
        call("median", &["n"]),
    ]
}

/// One row as the script writes it; few different ones, so that rows come again and groups run empty.
fn row(random: &mut StdRng) -> String {
    let mut values = vec![];
    let mut push = |random: &mut StdRng, choices: &[&str]| values.push(choices.choose(random).expect("there are choices").to_string());
    push(random, &["1", "2", "3", "null", "-4"]);
    push(random, &["a", "b", "null"]);
    push(random, &["1", "-7", "2147483647", "null"]);
    push(random, &["1", "-5", "3", "12", "9223372036854775807", "null"]);
    push(random, &["0.1", "0.2", "-0.3", "1e16", "-1e16", "3.5e-300", "7", "null"]);
    push(random, &["0.1", "NaN", "inf", "-inf", "2.5", "null"]);
    push(random, &["true", "false", "null"]);
    push(random, &["true", "false", "null"]);
    push(random, &["x", "yy", "''", "zebra", "null"]);
    push(random, &["1.5", "-0.0000000001", "1234567890123456789", "null"]);
    push(random, &["1969-12-31", "2024-02-29", "null"]);
    values.join(" ")
}

async fn batch_result(schema: &SchemaRef, input: &BTreeMap<String, i64>, sql: &str, n_partitions: usize) -> BTreeMap<String, i64> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(n_partitions));
    functions::register(&mut *context.state_ref().write()).expect("our names are valid");
    context.remove_optimizer_rule(functions::UNSOUND_OPTIMIZER_RULE);
    let rows: Vec<String> = input.iter().flat_map(|(row, count)| (0..*count).map(move |_| format!("+ {row}"))).collect();
    let mut partitions: Vec<Vec<RecordBatch>> = vec![vec![]; n_partitions];
    for (index, part) in rows.chunks(rows.len() / n_partitions + 1).enumerate() {
        partitions[index].push(script::changes(schema, &part.join(" | ")).rows().clone());
    }
    let table = MemTable::try_new(Arc::clone(schema), partitions).expect("batches share a schema");
    context.register_table("t", Arc::new(table)).expect("the name is free");
    let rows = context.sql(sql).await.expect(sql).collect().await.expect(sql);
    script::consolidated(&rows.into_iter().map(ChangeBatch::inserts).collect::<Vec<_>>())
}

/// A step's changes, cut into batches.
fn step(kernel: &mut AggregateKernel, schema: &SchemaRef, changes: &[(String, i64)], random: &mut StdRng) -> Output {
    let mut batches = Vec::new();
    let mut rest = changes;
    while !rest.is_empty() {
        let (part, tail) = rest.split_at(random.random_range(1..=rest.len()));
        let text: Vec<String> = part.iter().map(|(row, weight)| format!("{weight:+} {row}")).collect();
        let rows = script::changes(schema, &text.join(" | "));
        let weights = Int64Array::from_iter_values(part.iter().map(|(_, weight)| *weight));
        batches.push(match part.iter().all(|(_, weight)| *weight == 1) {
            true => ChangeBatch::inserts(rows.rows().clone()),
            false => ChangeBatch::new(rows.rows().clone(), weights),
        });
        rest = tail;
    }
    let mut out = Output::default();
    kernel.step(1, vec![batches], &mut out).expect("the step succeeds");
    out
}

/// Changes of one epoch that leave no row with a negative count, in any order.
fn epoch(random: &mut StdRng, input: &mut BTreeMap<String, i64>, append_only: bool) -> Vec<(String, i64)> {
    let mut changes = Vec::new();
    for _ in 0..random.random_range(1..12) {
        let delete = !append_only && !input.is_empty() && random.random_bool(0.55);
        let (row, weight) = match input.iter().choose(random) {
            Some((row, count)) if delete => (row.clone(), -random.random_range(1..=*count)),
            _ => (row(random), random.random_range(1..3)),
        };
        let count = input.entry(row.clone()).or_insert(0);
        *count += weight;
        if *count == 0 {
            input.remove(&row);
        }
        changes.push((row, weight));
    }
    changes.shuffle(random);
    changes
}

async fn compare(seed: u64, keys: &[&str], append_only: bool) {
    let mut random = StdRng::seed_from_u64(seed);
    let schema = script::schema(COLUMNS);
    let calls = calls();
    let mut kernel = kernel_of(Arc::clone(&schema), keys, &calls, append_only);
    let mut columns: Vec<String> = keys.iter().map(ToString::to_string).collect();
    columns.extend(calls.iter().enumerate().map(|(index, call)| format!("{} AS c{index}", call.sql())));
    let grouping = if keys.is_empty() { String::new() } else { format!(" GROUP BY {}", keys.join(", ")) };
    let sql = format!("SELECT {} FROM t{grouping}", columns.join(", "));
    let mut input = BTreeMap::new();
    let mut integrated: Vec<ChangeBatch> = kernel.initial_output().expect("it evaluates").into_iter().collect();
    for n_epochs in 1..12 {
        let changes = epoch(&mut random, &mut input, append_only);
        let out = step(&mut kernel, &schema, &changes, &mut random);
        assert!(out.errors.is_empty(), "nothing here overflows");
        integrated.extend(out.changes);
        let found = script::consolidated(&integrated);
        let expected = batch_result(&schema, &input, &sql, 1 + n_epochs % 4).await;
        assert_eq!(found, expected, "seed {seed}, keys {keys:?}, epoch {n_epochs}");
    }
}

#[tokio::test]
async fn retractions_by_word_keys() {
    for seed in 0..12 {
        compare(seed, &["k"], false).await;
    }
}

#[tokio::test]
async fn retractions_by_byte_keys() {
    for seed in 20..26 {
        compare(seed, &["j", "k"], false).await;
    }
}

#[tokio::test]
async fn retractions_without_keys() {
    for seed in 40..46 {
        compare(seed, &[], false).await;
    }
}

#[tokio::test]
async fn append_only() {
    for seed in 60..66 {
        compare(seed, &["k", "d"], true).await;
    }
}
