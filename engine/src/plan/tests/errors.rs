//! Errors as Postgres gives them: SQLSTATE, message, position.

use super::fixture::{Fixture, query};

#[track_caller]
fn check(sql: &str, expected: &str) {
    let fixture = Fixture::new();
    let error = fixture.select(sql).expect_err("the query fails");
    let place = error.position.map_or(String::new(), |position| format!(" at {position}"));
    assert_eq!(format!("{}: {}{place}", error.sqlstate, error.message), expected, "{error:?}");
}

#[track_caller]
fn check_view(sql: &str, expected: &str) {
    let fixture = Fixture::new();
    let error = fixture.lower(sql).expect_err("the view is refused");
    assert_eq!(format!("{}: {}", error.sqlstate, error.message), expected, "{error:?}");
    assert!(error.hint.is_some(), "a refusal says what to do");
}

#[test]
fn unknown_names() {
    check("SELECT * FROM nowhere", "42P01: relation \"nowhere\" does not exist at 15");
    check("SELECT * FROM other.t", "42P01: relation \"other.t\" does not exist at 15");
    check("SELECT x FROM t", "42703: column \"x\" does not exist at 8");
    check("SELECT a,\n  t.x\nFROM t", "42703: column t.x does not exist at 13");
    check("SELECT nosuch(a) FROM t", "42883: function nosuch does not exist at 8");
    check("SELECT a FROM t JOIN u ON true", "42702: column reference \"a\" is ambiguous at 8");
}

#[test]
fn grouping() {
    check("SELECT a, count(*) FROM t", "42803: column \"t.a\" must appear in the GROUP BY clause or be used in an aggregate function at 8");
}

#[test]
fn values() {
    check("SELECT 1 / 0", "22012: division by zero");
    check("SELECT a / 0 FROM t", "22012: division by zero");
    check("SELECT CAST('abc' AS integer)", "22P02: invalid input syntax for type integer: \"abc\"");
    check("SELECT CAST(c * 1000000000 AS integer) FROM t", "22003: value out of range");
    check("SELECT CAST(b AS timestamp) FROM t", "22007: invalid input syntax for type timestamp: \"x\"");
}

#[test]
fn views_that_go_round() {
    check("SELECT * FROM endless", "54001: view \"endless\" is nested more than 32 levels deep");
}

#[test]
fn what_a_view_cannot_be() {
    check_view("SELECT random() AS r FROM t", "0A000: volatile function random() in a materialized view is not supported");
    check_view("SELECT * FROM t WHERE c > (SELECT random())", "0A000: volatile function random() in a materialized view is not supported");
    check_view("SELECT now() AS n FROM t", "0A000: now() in a materialized view is not supported but as a bound of its rows");
    check_view("SELECT t.a, u.a FROM t JOIN u ON t.a = u.a", "42701: column \"a\" specified more than once");
}

#[test]
fn view_columns_can_be_named() {
    let fixture = Fixture::new();
    let columns = ["x".to_string(), "y".to_string()];
    let planned = fixture.planner().view(&query("SELECT t.a, u.a FROM t JOIN u ON t.a = u.a"), &columns).expect("names differ");
    assert_eq!(planned.schema().field(1).name(), "y");
    let too_many = ["x".to_string(), "y".to_string()];
    let error = fixture.planner().view(&query("SELECT a FROM t"), &too_many).map(drop).expect_err("too many names");
    assert_eq!(error.sqlstate, "42601");
}
