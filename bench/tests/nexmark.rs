//! Nexmark's queries as views: accepted, maintained without recomputation where that is promised, and equal to their batch run.

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use thalweg_bench::database::Database;
use thalweg_bench::queries;

/// Enough that each query has rows, and windows and auctions have ended.
const N_EVENTS: u64 = 100_000;

/// Creates the view over streams that run, then compares it with its query in batch, both read by the server.
async fn equals_batch(name: &str, is_incremental: bool) {
    let query = queries::find(name).expect("the query is in bench/queries");
    let database = Database::open(2).await.expect("an engine on a temporary folder");
    database.create_streams(N_EVENTS, "forever").await.expect("three streams");
    for statement in query.setup {
        database.run(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    let create = format!("CREATE MATERIALIZED VIEW v AS {}", query.sql);
    let plan = lines(&database.run(&format!("EXPLAIN {create}")).await.expect("the view has a plan")).join("\n");
    assert!(!is_incremental || !plan.contains("[recompute]"), "{name} is recomputed:\n{plan}");
    database.run(&format!("{create}; WAIT FOR v")).await.unwrap_or_else(|error| panic!("{name} as a view: {error}"));
    let view = sorted(database.run("SELECT * FROM v").await.expect("the view is readable"));
    let batch = sorted(database.run(query.sql).await.unwrap_or_else(|error| panic!("{name} in batch: {error}")));
    let errors = lines(&database.run("SELECT * FROM \"v$errors\"").await.expect("the view has an errors relation"));
    database.close().await.expect("it stops");
    assert_eq!(errors, Vec::<String>::new(), "no row of {name} fails");
    let differs = view.iter().zip(&batch).find(|(view, batch)| view != batch);
    assert!(view == batch, "{name}: {} rows in the view, {} in batch; first difference {differs:?}\n{plan}", view.len(), batch.len());
    assert!(!view.is_empty(), "{name} has rows over {N_EVENTS} events");
}

fn sorted(batches: Vec<RecordBatch>) -> Vec<String> {
    let mut lines = lines(&batches);
    lines.sort_unstable();
    lines
}

fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    let of_batch = |batch: &RecordBatch| {
        let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).expect("a type that prints"));
        let columns: Vec<ArrayFormatter> = columns.collect();
        let line = |row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(" | ");
        (0..batch.num_rows()).map(line).collect::<Vec<String>>()
    };
    batches.iter().flat_map(of_batch).collect()
}

macro_rules! queries {
    ($is_incremental:literal: $($name:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            equals_batch(stringify!($name), $is_incremental).await;
        }
    )*};
}

queries!(true: q0 q1 q2 q3 q4 q5 q7 q8 q9 q15 q16 q17 q18 q19 q20 q22);
queries!(false: q10 q12 q13 q14 q21);
