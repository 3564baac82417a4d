//! The aggregates as SQL sees them: on one and four partitions, DISTINCT, FILTER, and in window frames that slide.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, RecordBatch};
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use rand::prelude::*;

/// A session with our aggregates and table `t` in as many partitions.
fn session(batches: &[RecordBatch], n_partitions: usize) -> SessionContext {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(n_partitions).with_batch_size(16));
    let state = context.state_ref();
    super::register(&mut *state.write()).expect("our names are valid");
    context.remove_optimizer_rule(super::UNSOUND_OPTIMIZER_RULE);
    let mut partitions = vec![Vec::new(); n_partitions];
    for (index, batch) in batches.iter().enumerate() {
        partitions[index % n_partitions].push(batch.clone());
    }
    let table = MemTable::try_new(batches[0].schema(), partitions).expect("batches share a schema");
    context.register_table("t", Arc::new(table)).expect("the name is free");
    context
}

async fn result(context: &SessionContext, sql: &str) -> String {
    let rows = context.sql(sql).await.expect(sql).collect().await;
    match rows {
        Ok(rows) => pretty_format_batches(&rows).expect("rows have a text form").to_string(),
        Err(error) => format!("{:?}", crate::Error::from(error)),
    }
}

/// Rows of all types, nulls and NaNs included, in an order given by the seed.
fn rows(n_rows: usize, order_seed: u64) -> Vec<RecordBatch> {
    let mut random = StdRng::seed_from_u64(7);
    let mut order: Vec<usize> = (0..n_rows).collect();
    order.shuffle(&mut StdRng::seed_from_u64(order_seed));
    let mut column = |any: &mut dyn FnMut(&mut StdRng) -> f64| -> Vec<Option<f64>> {
        let values: Vec<_> = (0..n_rows).map(|_| (!random.random_bool(0.1)).then(|| any(&mut random))).collect();
        order.iter().map(|row| values[*row]).collect()
    };
    let key = column(&mut |random| f64::from(random.random_range(0..7)));
    let int = column(&mut |random| f64::from(random.random_range(-1000..1000)));
    let float = column(&mut |random| match random.random_range(0..40) {
        0 => 1e300 * random.random_range(-1.0..1.0),
        1 => 1e-300,
        _ => random.random_range(-1000.0..1000.0),
    });
    let special = column(&mut |random| *[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1.0].choose(random).expect("six"));
    let id: Vec<i64> = order.iter().map(|row| *row as i64).collect();
    let to = |values: &[Option<f64>]| values.iter().map(|value| value.map(|value| value as i64)).collect::<Vec<_>>();
    let decimal: Decimal128Array = to(&int).into_iter().map(|value| value.map(|value| i128::from(value) * 137)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(id))),
        ("k", Arc::new(Int64Array::from(to(&key)))),
        ("i2", Arc::new(to(&int).into_iter().map(|value| value.map(|value| value as i16)).collect::<Int16Array>())),
        ("i4", Arc::new(to(&int).into_iter().map(|value| value.map(|value| value as i32)).collect::<Int32Array>())),
        ("i8", Arc::new(Int64Array::from(to(&int)))),
        ("n", Arc::new(decimal.with_precision_and_scale(12, 3).expect("values have few digits"))),
        ("f4", Arc::new(float.iter().map(|value| value.map(|value| (value % 1e30) as f32)).collect::<Float32Array>())),
        ("f8", Arc::new(Float64Array::from(float))),
        ("x", Arc::new(Float64Array::from(special))),
        ("b", Arc::new(to(&int).into_iter().map(|value| value.map(|value| value % 3 == 0)).collect::<BooleanArray>())),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("columns are equally long");
    (0..n_rows).step_by(37).map(|start| batch.slice(start, 37.min(n_rows - start))).collect()
}

const ALL: &str = "sum(i2), sum(i4), sum(i8), sum(n), sum(f4), sum(f8), sum(x), avg(i2), avg(i4), avg(i8), avg(n), avg(f4), avg(f8),
    var_samp(f8 % 1000), var_pop(i4), stddev(n), stddev_pop(i8), variance(x), min(x), max(x), min(f8), max(f4), every(b), count(x),
    sum(DISTINCT i4 % 10), avg(DISTINCT i8), sum(DISTINCT n) FILTER (WHERE b), sum(f8) FILTER (WHERE b), avg(i8) FILTER (WHERE NOT b)";

#[tokio::test]
async fn order_and_partitions_do_not_matter() {
    for grouping in ["", "GROUP BY k ORDER BY k"] {
        let sql = format!("SELECT {ALL} FROM t {grouping}");
        let expected = result(&session(&rows(1000, 1), 1), &sql).await;
        assert!(expected.starts_with('+'), "{expected}");
        for (seed, n_partitions) in [(2, 1), (3, 4), (4, 4)] {
            assert_eq!(result(&session(&rows(1000, seed), n_partitions), &sql).await, expected);
        }
    }
}

#[tokio::test]
async fn sliding_frames_equal_their_rows_aggregated() {
    let frame = "(ORDER BY id ROWS BETWEEN 5 PRECEDING AND 2 FOLLOWING)";
    let calls = ["sum(f8)", "sum(x)", "sum(i4)", "avg(n)", "avg(f8)", "var_pop(f8 % 1000)", "sum(DISTINCT i8 % 3)", "max(i4)"];
    let context = session(&rows(150, 5), 4);
    for call in calls {
        let slid = result(&context, &format!("SELECT id, {call} OVER {frame} AS a FROM t ORDER BY id")).await;
        let joined = format!(
            "SELECT id, a FROM (SELECT t1.id AS id, {call} AS a FROM t AS t1 JOIN (SELECT id AS other, f8, x, i4, i8, n FROM t) AS t2
             ON other BETWEEN t1.id - 5 AND t1.id + 2 GROUP BY t1.id) ORDER BY id",
            call = ["f8", "i4", "i8", "x", "n"].iter().fold(call.to_string(), |call, name| {
                call.replace(&format!("({name}"), &format!("(t2.{name}"))
                    .replace(&format!("DISTINCT {name}"), &format!("DISTINCT t2.{name}"))
            })
        );
        assert_eq!(slid, result(&context, &joined).await, "{call}");
    }
}

#[tokio::test]
async fn results_are_what_postgres_says() {
    let context = session(&rows(1, 1), 1);
    let found = result(
        &context,
        "SELECT sum(w) AS i4, sum(v) AS i8, avg(v) AS mean, avg(d) AS n, arrow_typeof(sum(w)) AS t4, arrow_typeof(sum(v)) AS t8,
            arrow_typeof(avg(e)) AS tn, stddev(v) AS s, sum(v) FILTER (WHERE v > 9) AS none,
            sum(INTERVAL '1 month 3 days') AS i, avg(INTERVAL '1 month') AS m
         FROM (SELECT v, CAST(v AS INT) AS w, CAST(v AS DECIMAL(5, 2)) AS d, CAST(v AS DECIMAL(20, 18)) AS e
               FROM (VALUES (1), (2), (2), (NULL)) AS t(v))",
    )
    .await;
    let expected = "\
+----+----+--------------------+--------------------+-------+-------------------+--------------------+--------------------+------+----------------+--------+
| i4 | i8 | mean               | n                  | t4    | t8                | tn                 | s                  | none | i              | m      |
+----+----+--------------------+--------------------+-------+-------------------+--------------------+--------------------+------+----------------+--------+
| 5  | 5  | 1.6666666666666667 | 1.6666666666666667 | Int64 | Decimal128(38, 0) | Decimal128(38, 18) | 0.5773502691896257 |      | 4 mons 12 days | 1 mons |
+----+----+--------------------+--------------------+-------+-------------------+--------------------+--------------------+------+----------------+--------+";
    assert_eq!(found.split_whitespace().collect::<String>(), expected.split_whitespace().collect::<String>(), "\n{found}");
}

#[tokio::test]
async fn what_does_not_fit_is_an_error() {
    let context = session(&rows(1, 1), 1);
    for (sql, message) in [
        ("SELECT sum(v) FROM (VALUES (1e308), (1e308)) AS t(v)", "value out of range: overflow"),
        (
            "SELECT sum(v) FROM (VALUES (CAST('99999999999999999999999999999999999999' AS DECIMAL(38, 0))), (CAST('1' AS DECIMAL(38, 0)))) AS t(v)",
            "numeric field overflow",
        ),
        (
            "SELECT avg(v) FROM (VALUES (CAST('99999999999999999999999999999999999999' AS DECIMAL(38, 0)))) AS t(v)",
            "numeric field overflow",
        ),
    ] {
        let found = result(&context, sql).await;
        assert!(found.contains(message) && found.contains("22003"), "{sql}: {found}");
    }
    let sum = result(&context, "SELECT sum(v) AS s FROM (VALUES (9223372036854775807), (9223372036854775807)) AS t(v)").await;
    assert!(sum.contains("| 18446744073709551614 |"), "{sum}");
    let back = result(&context, "SELECT sum(v) AS s FROM (VALUES (1e308), (1e308), (-1e308)) AS t(v)").await;
    assert!(back.contains("| 1e308 |"), "{back}");
}

#[tokio::test]
async fn nothing_cancels_in_a_variance() {
    let context = session(&rows(1, 1), 1);
    let found = result(&context, "SELECT var_pop(v) AS v, stddev_pop(v) AS s FROM (VALUES (1e15 + 1), (1e15 + 3)) AS t(v)").await;
    assert!(found.contains("| 1.0 | 1.0 |"), "{found}");
    let tiny = result(&context, "SELECT var_pop(v) AS v, stddev_pop(v * 1e-180) AS s FROM (VALUES (1.0e0), (3.0e0)) AS t(v)").await;
    assert!(tiny.contains("| 1.0 | 1e-180 |"), "{tiny}");
}

#[tokio::test]
async fn integers_do_not_wrap() {
    let context = session(&rows(10, 1), 1);
    let checked = |sql: &str| {
        let (context, sql) = (context.clone(), sql.to_string());
        context.add_analyzer_rule(Arc::new(crate::plan::arithmetic::CheckedArithmetic));
        async move { result(&context, &sql).await }
    };
    for expression in ["m + v", "m * 2", "0 - m - 2", "- (0 - m - 1)", "sum(v) FILTER (WHERE m + v > 0)", "max(m * v)"] {
        let found = checked(&format!("SELECT {expression} FROM (VALUES (9223372036854775807, 2)) AS t(m, v) GROUP BY m, v")).await;
        assert!(found.contains("22003"), "{expression}: {found}");
    }
    let found = checked("SELECT v + 1, -v, sum(v * 2) FROM (VALUES (1), (2)) AS t(v) GROUP BY v, v + 1 ORDER BY v * -1 + 0").await;
    let found = found.split_whitespace().collect::<String>();
    assert!(found.contains("|t.v+Int64(1)|(-t.v)|sum(t.v*Int64(2))|") && found.contains("|3|-2|4||2|-1|2|"), "{found}");
}
