//! Ad-hoc reads: rows out, in Postgres's order and types.

use super::fixture::{Fixture, lines, query};

#[track_caller]
fn check(sql: &str, expected: &[&str]) {
    let rows = Fixture::new().select(sql).expect("the query runs");
    assert_eq!(rows, expected, "{sql}");
}

#[test]
fn nulls_sort_as_the_largest_value() {
    check("SELECT a FROM t ORDER BY a", &["1", "2", "2", "3", "3", "null"]);
    check("SELECT a FROM t ORDER BY a DESC", &["null", "3", "3", "2", "2", "1"]);
}

#[test]
fn ties_of_a_limit_are_settled_by_the_whole_row() {
    check("SELECT a, b FROM t ORDER BY a DESC LIMIT 2", &["null | z", "3 | w"]);
    check("SELECT a, b FROM t ORDER BY a DESC LIMIT 1 OFFSET 2", &["3 | null"]);
}

#[test]
fn ordered_aggregates_do_not_depend_on_the_order_of_rows() {
    check("SELECT string_agg(b, ',') FROM t", &["w,x,y,y,z"]);
    check("SELECT array_agg(b ORDER BY a DESC) FROM t", &["[z, w, null, y, y, x]"]);
    check("SELECT first_value(b ORDER BY a) FROM t", &["x"]);
}

#[test]
fn views_are_expanded_with_their_column_names() {
    check("SELECT first, second FROM bigger ORDER BY 2", &["3 | 30", "null | 40"]);
}

#[test]
fn now_is_the_time_of_the_statement() {
    check("SELECT CAST(now() AS timestamp)", &["2020-01-01T00:00:00"]);
}

#[test]
fn types_are_those_clients_know() {
    let fixture = Fixture::new();
    let sql = "SELECT row_number() OVER () AS n, NULL AS nothing, TIMESTAMP '2020-01-01' AS at, 1.5 AS price, 'x' AS text FROM t";
    let planned = fixture.planner().read(&query(sql)).expect("the query plans");
    let types = planned.schema().fields().iter().map(|field| field.data_type().to_string()).collect::<Vec<_>>();
    assert_eq!(types, ["Int64", "Utf8", "Timestamp(µs)", "Decimal128(2, 1)", "Utf8"]);
}

#[test]
fn the_first_row_of_each_group() {
    check("SELECT DISTINCT ON (a) a, b FROM t ORDER BY a, b DESC", &["1 | x", "2 | y", "3 | null", "null | z"]);
}

#[test]
fn dropping_a_stream_stops_its_query() {
    let fixture = Fixture::new();
    let sql = "SELECT count(*) FROM bid a, bid b, bid c, bid d WHERE a.price + b.price > c.price + d.price";
    let planned = fixture.planner().read(&query(sql)).expect("the query plans");
    let physical = super::fixture::block_on(planned.physical(&fixture.snapshots())).expect("a physical plan");
    let text = datafusion::physical_plan::displayable(physical.as_ref()).indent(false).to_string();
    assert!(text.contains("CooperativeExec"), "joins give way: {text}");
}

#[test]
fn a_recursive_query_runs() {
    check("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT i FROM n ORDER BY i", &["1", "2", "3"]);
    let fixture = Fixture::new();
    let sql = "WITH RECURSIVE n AS (SELECT a FROM t WHERE a = 1 UNION ALL SELECT u.a FROM n JOIN u ON u.a = n.a + 1) SELECT a FROM n";
    let planned = fixture.planner().read(&query(sql)).expect("the query plans");
    assert_eq!(lines(&fixture.run(&planned).expect("the query runs")), ["1", "2", "3", "3"]);
}
