//! Rewritten windows, run by DataFusion: rows in, rows out.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::Statement;

use crate::functions;
use crate::plan::parse::{parse, parse_query};

const SECOND: i64 = 1_000_000;

/// `bid(id, ts)`: edges, a null, before 1970; `bid_tz` with a zone.
fn context() -> SessionContext {
    let mut config = SessionConfig::new();
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    let context = SessionContext::new_with_config(config);
    for function in functions::windows::all() {
        context.register_udf(function.as_ref().clone());
    }
    let times = [Some(0), Some(59), Some(60), Some(-1), Some(-60), None, Some(125)].map(|time| time.map(|time| time * SECOND));
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(1..=7));
    let times = TimestampMicrosecondArray::from_iter(times);
    let plain: ArrayRef = Arc::new(times.clone());
    let zoned: ArrayRef = Arc::new(times.with_timezone("+00:00"));
    for (name, times) in [("bid", plain), ("bid_tz", zoned)] {
        let batch = RecordBatch::try_from_iter_with_nullable([("id", ids.clone(), false), ("ts", times, true)]).expect("two columns");
        context.register_batch(name, batch).expect("a new table");
    }
    context
}

async fn rows(sql: &str) -> Result<Vec<String>, String> {
    let context = context();
    let query = parse_query(sql).map_err(|error| format!("{} {error}", error.sqlstate))?;
    let statement = DfStatement::Statement(Box::new(Statement::Query(query)));
    let plan = context.state().statement_to_plan(statement).await.map_err(|error| error.to_string())?;
    let batches =
        context.execute_logical_plan(plan).await.map_err(|error| error.to_string())?.collect().await.map_err(|error| error.to_string())?;
    let options = FormatOptions::new().with_null("null");
    let mut rows = vec![];
    for batch in &batches {
        let columns: Vec<ArrayFormatter> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).expect("printable")).collect();
        rows.extend((0..batch.num_rows()).map(|row| {
            let values: Vec<String> =
                columns.iter().map(|column| column.value(row).to_string().replace("1970-01-01T", "").replace("1969-12-31T", "~")).collect();
            values.join(" ")
        }));
    }
    Ok(rows)
}

async fn check(sql: &str, expected: &[&str]) {
    assert_eq!(rows(sql).await.unwrap_or_else(|error| panic!("{sql}\n{error}")), expected, "\n{sql}");
}

const TUMBLED: &[&str] = &[
    "1 00:00:00 00:00:00 00:01:00",
    "2 00:00:59 00:00:00 00:01:00",
    "3 00:01:00 00:01:00 00:02:00",
    "4 ~23:59:59 ~23:59:00 00:00:00",
    "5 ~23:59:00 ~23:59:00 00:00:00",
    "7 00:02:05 00:02:00 00:03:00",
];

#[tokio::test]
async fn tumble() {
    check("SELECT * FROM TUMBLE(bid, ts, INTERVAL '1 minute') ORDER BY id", TUMBLED).await;
    check("SELECT * FROM tumble(bid, ts, '60 seconds') AS w ORDER BY w.id", TUMBLED).await;
    check("SELECT bid.id FROM TUMBLE(bid, ts, INTERVAL '1' MINUTE) WHERE bid.window_end <= TIMESTAMP '1970-01-01' ORDER BY 1", &["4", "5"])
        .await;
    check(
        "SELECT id, window_start FROM TUMBLE((SELECT * FROM bid WHERE id < 3), ts, INTERVAL '1 minute', INTERVAL '30 seconds') ORDER BY id",
        &["1 ~23:59:30", "2 00:00:30"],
    )
    .await;
    check(
        "SELECT id, window_start FROM TUMBLE(public.bid, bid.ts, INTERVAL '1 day') WHERE id IN (1, 4) ORDER BY id",
        &["1 00:00:00", "4 ~00:00:00"],
    )
    .await;
}

#[tokio::test]
async fn tumble_as_flink_spells_it() {
    let expected: Vec<String> = TUMBLED
        .iter()
        .map(|row| {
            row.to_string()
                + if row.ends_with("00:00:00") {
                    " ~23:59:59.999"
                } else if row.ends_with("1:00") {
                    " 00:00:59.999"
                } else if row.ends_with("2:00") {
                    " 00:01:59.999"
                } else {
                    " 00:02:59.999"
                }
        })
        .collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    check("SELECT * FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) ORDER BY id", &expected).await;
    check("SELECT * FROM TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MINUTES) ORDER BY id", &expected).await;
    check(
        "SELECT * FROM TABLE(TUMBLE(DATA => TABLE bid, TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '1' MINUTE)) w ORDER BY id",
        &expected,
    )
    .await;
}

#[tokio::test]
async fn hop() {
    check(
        "SELECT id, window_start, window_end FROM HOP(bid, ts, INTERVAL '30 seconds', INTERVAL '1 minute') WHERE id IN (1, 3, 4) ORDER BY id, window_start",
        &[
            "1 ~23:59:30 00:00:30",
            "1 00:00:00 00:01:00",
            "3 00:00:30 00:01:30",
            "3 00:01:00 00:02:00",
            "4 ~23:59:00 00:00:00",
            "4 ~23:59:30 00:00:30",
        ],
    )
    .await;
    // A size that is no multiple of the slide; the null is in no window.
    check(
        "SELECT id, count(*), min(window_start) FROM HOP(TABLE bid, DESCRIPTOR(ts), INTERVAL '40' SECOND, INTERVAL '1' MINUTE) GROUP BY id ORDER BY id",
        &["1 2 ~23:59:20", "2 2 00:00:00", "3 1 00:00:40", "4 1 ~23:59:20", "5 1 ~23:58:40", "7 2 00:01:20"],
    )
    .await;
    check("SELECT * FROM HOP(bid, ts, INTERVAL '1 minute', INTERVAL '1 minute') ORDER BY id", TUMBLED).await;
    check("SELECT h.id, h.window_time FROM TABLE(HOP(TABLE bid, DESCRIPTOR(ts), INTERVAL '2' MINUTE, INTERVAL '1' MINUTE)) h WHERE id < 4 ORDER BY id", &["1 00:00:59.999", "2 00:00:59.999"]).await;
}

#[tokio::test]
async fn cumulate() {
    check(
        "SELECT * FROM CUMULATE(bid, ts, INTERVAL '1 minute', INTERVAL '3 minutes') WHERE id IN (2, 3, 4, 7) ORDER BY id, window_end",
        &[
            "2 00:00:59 00:00:00 00:01:00",
            "2 00:00:59 00:00:00 00:02:00",
            "2 00:00:59 00:00:00 00:03:00",
            "3 00:01:00 00:00:00 00:02:00",
            "3 00:01:00 00:00:00 00:03:00",
            "4 ~23:59:59 ~23:57:00 00:00:00",
            "7 00:02:05 00:00:00 00:03:00",
        ],
    )
    .await;
    check(
        "SELECT id, window_time FROM TABLE(CUMULATE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '2' MINUTE)) WHERE id = 3",
        &["3 00:01:59.999"],
    )
    .await;
}

#[tokio::test]
async fn windows_nest_join_and_keep_zones() {
    check(
        "SELECT a.id, b.id FROM TUMBLE(bid, ts, INTERVAL '1 minute') a JOIN TUMBLE(bid, ts, INTERVAL '1 minute') b \
         ON a.window_start = b.window_start AND a.id < b.id ORDER BY 1",
        &["1 2", "4 5"],
    )
    .await;
    check(
        "WITH w AS (SELECT window_start AS minute, count(*) AS n FROM TUMBLE(bid, ts, INTERVAL '1 minute') GROUP BY window_start) \
         SELECT h.window_end, sum(h.n) FROM HOP(w, minute, INTERVAL '2 minutes', INTERVAL '2 minutes') h GROUP BY 1 ORDER BY 1",
        &["00:00:00 2", "00:02:00 3", "00:04:00 1"],
    )
    .await;
    // An input that has a window_start already must rename it: which one is meant could not be said.
    let twice = "SELECT * FROM TUMBLE((SELECT * FROM TUMBLE(bid, ts, INTERVAL '1 minute')), ts, INTERVAL '1 hour')";
    assert!(rows(twice).await.is_err_and(|error| error.contains("ambiguous") || error.contains("duplicate")));
}

#[tokio::test]
async fn windows_over_zones_dates_and_in_subqueries() {
    check("SELECT id, window_start FROM TUMBLE(bid_tz, ts, INTERVAL '1 minute') WHERE id = 4", &["4 ~23:59:00Z"]).await;
    check(
        "SELECT id, window_start, window_end FROM HOP(bid_tz, ts, INTERVAL '1 day', INTERVAL '1 day') WHERE id = 7",
        &["7 00:00:00Z 1970-01-02T00:00:00Z"],
    )
    .await;
    check("SELECT tumble_start(DATE '1970-01-01', INTERVAL '1 day')", &["00:00:00"]).await;
    check(
        "SELECT id FROM bid WHERE id IN (SELECT id FROM TUMBLE(bid, ts, INTERVAL '1 minute') WHERE window_start < ts) ORDER BY id",
        &["2", "4", "7"],
    )
    .await;
}

#[tokio::test]
async fn windows_in_group_by() {
    let expected = &["~23:59:00 00:00:00 2", "00:00:00 00:01:00 2", "00:01:00 00:02:00 1", "00:02:00 00:03:00 1"];
    check(
        "SELECT TUMBLE_START(ts, INTERVAL '1' MINUTE), TUMBLE_END(ts, INTERVAL '60' SECOND), count(*) FROM bid GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE) ORDER BY 1",
        expected,
    )
    .await;
    check(
        "SELECT HOP_START(ts, INTERVAL '1' MINUTE, INTERVAL '1' MINUTE) s, HOP_END(ts, INTERVAL '1' MINUTE, INTERVAL '1' MINUTE), count(*) \
         FROM bid b WHERE b.id > 0 GROUP BY HOP(ts, INTERVAL '1' MINUTE, INTERVAL '1' MINUTE) ORDER BY s",
        expected,
    )
    .await;
}

#[test]
fn wrong_windows_are_refused_before_they_run() {
    let cases = [
        ("TUMBLE(bid, ts, INTERVAL '1 month')", "0A000 40 the size of a window has months or years, which differ in length"),
        ("TUMBLE(bid, ts, INTERVAL '0 seconds')", "22023 40 the size of tumble must be positive"),
        ("HOP(bid, ts, INTERVAL '-1 minute', INTERVAL '1 minute')", "22023 37 the slide of hop must be positive"),
        ("CUMULATE(bid, ts, INTERVAL '2 minutes', INTERVAL '5 minutes')", "22023 64 the size of cumulate must be a multiple of its step"),
        ("HOP(bid, ts, INTERVAL '1 second', INTERVAL '1 day')", "22023 58 a row would fall into more than 10000 windows"),
        ("TUMBLE(bid, ts, 2 * INTERVAL '1 minute')", "0A000 31 the size of a window must be an interval literal"),
        ("TUMBLE(bid, ts, INTERVAL 'soon')", "22007 40 invalid input syntax for type interval: \"soon\""),
        ("TUMBLE(bid, ts)", "42883 15 tumble takes a relation, a time column, size and an optional offset"),
        ("SESSION(bid, ts, INTERVAL '1 minute')", "0A000 15 SESSION windows are not supported yet"),
    ];
    let found = cases.map(|(window, _)| match parse(&format!("SELECT * FROM {window}")) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => format!("{} {} {}", error.sqlstate, error.position.unwrap_or(0), error.message),
    });
    assert_eq!(found.each_ref().map(String::as_str), cases.map(|(_, expected)| expected));
}
