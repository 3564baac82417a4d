//! INSERT, UPDATE, DELETE, ON CONFLICT and RETURNING as queries and expressions.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use datafusion::sql::sqlparser::ast;

use super::fixture::{Fixture, lines, query, schema_of};
use crate::Error;
use crate::plan::dml::{Defaults, RowExpressions};
use crate::plan::statement::{Delete, Insert, Name, OnConflict, Update};

fn name(name: &str) -> Name {
    Name { schema: None, name: name.into() }
}

fn expression(sql: &str) -> ast::Expr {
    crate::plan::parse::parse_expression(sql).expect("the test's expression parses")
}

fn insert(columns: &[&str], source: &str, defaults: &[(&str, &str)]) -> Result<Vec<String>, Error> {
    let fixture = Fixture::new();
    let columns = columns.iter().map(|column| (*column).to_string()).collect();
    let source = (!source.is_empty()).then(|| Box::new(query(source)));
    let statement = Insert { target: name("t"), columns, source, on_conflict: None, returning: vec![] };
    let defaults: Defaults = defaults.iter().map(|(column, value)| ((*column).to_string(), expression(value))).collect();
    let planned = fixture.planner().insert(&statement, &defaults)?;
    assert_eq!(planned.schema().field(0).name(), "a");
    fixture.run(&planned).map(|rows| lines(&rows))
}

#[test]
fn inserted_values_take_the_types_of_their_columns() {
    assert_eq!(insert(&[], "VALUES (1, 'x', 5), ('2', NULL, 6)", &[]).expect("values fit"), ["1 | x | 5", "2 | null | 6"]);
    assert_eq!(insert(&["c", "a"], "VALUES ('7', 2.5)", &[]).expect("values fit"), ["3 | null | 7"]);
    assert_eq!(insert(&[], "VALUES (1)", &[]).expect("the rest is null"), ["1 | null | null"]);
    assert_eq!(insert(&["b"], "SELECT a FROM u WHERE a = 2", &[]).expect("anything becomes text"), ["null | 2 | null"]);
}

#[test]
fn defaults_fill_what_is_not_given() {
    let defaults = [("c", "40 + 2"), ("b", "'none'")];
    assert_eq!(insert(&["a", "b"], "VALUES (1, DEFAULT), (2, 'y')", &defaults).expect("defaults"), ["1 | none | 42", "2 | y | 42"]);
    assert_eq!(insert(&[], "", &defaults).expect("all defaults"), ["null | none | 42"]);
}

#[test]
fn what_cannot_be_inserted() {
    let failure = |columns: &[&str], source: &str| insert(columns, source, &[]).expect_err("refused");
    assert_eq!(failure(&["x"], "VALUES (1)").message, "column \"x\" of relation \"t\" does not exist");
    assert_eq!(failure(&["a", "a"], "VALUES (1, 2)").sqlstate, "42701");
    assert_eq!(failure(&["a"], "VALUES (1, 2)").message, "INSERT has more expressions than target columns");
    assert_eq!(failure(&["a", "b"], "VALUES (1)").message, "INSERT has more target columns than expressions");
    assert_eq!(failure(&["a"], "SELECT d FROM u").message, "column \"a\" is of type integer but expression is of type text");
    assert_eq!(failure(&["a"], "VALUES ('x')").sqlstate, "22P02");
    assert_eq!(failure(&["a"], "VALUES (10000000000)").sqlstate, "22003");
}

fn update(assignments: &[(&str, &str)], from: &str, predicate: Option<&str>) -> Result<Vec<String>, Error> {
    let fixture = Fixture::new();
    let from = if from.is_empty() { vec![] } else { from_items(from) };
    let assignments = assignments.iter().map(|(column, value)| ((*column).to_string(), expression(value))).collect();
    let statement = Update { target: name("t"), alias: None, assignments, from, predicate: predicate.map(expression), returning: vec![] };
    let planned = fixture.planner().update(&statement, &Defaults::new())?;
    let mut rows = lines(&fixture.run(&planned)?);
    rows.sort();
    Ok(rows)
}

fn from_items(from: &str) -> Vec<ast::TableWithJoins> {
    match *query(&format!("SELECT 1 FROM {from}")).body {
        ast::SetExpr::Select(select) => select.from,
        _ => unreachable!("a SELECT"),
    }
}

#[test]
fn an_update_gives_old_and_new_rows() {
    let rows = update(&[("c", "c + 1"), ("b", "'new'")], "", Some("a = 2")).expect("an update");
    assert_eq!(rows, ["2 | y | 20 | 2 | new | 21", "2 | y | 20 | 2 | new | 21"]);
    assert_eq!(update(&[("c", "DEFAULT")], "", Some("b = 'x'")).expect("an update"), ["1 | x | 10 | 1 | x | null"]);
}

#[test]
fn an_update_from_changes_each_row_once() {
    let rows = update(&[("b", "u.d")], "u", Some("t.a = u.a")).expect("an update");
    assert_eq!(rows, ["2 | y | 20 | 2 | p | 20", "2 | y | 20 | 2 | p | 20", "3 | null | 30 | 3 | q | 30", "3 | w | null | 3 | q | null"]);
}

#[test]
fn what_cannot_be_updated() {
    assert_eq!(update(&[("x", "1")], "", None).expect_err("refused").sqlstate, "42703");
    assert_eq!(update(&[("a", "1"), ("a", "2")], "", None).expect_err("refused").sqlstate, "42601");
    assert_eq!(update(&[("a", "b")], "", None).expect_err("refused").sqlstate, "42804");
}

#[test]
fn a_delete_gives_the_rows_that_go() {
    let fixture = Fixture::new();
    let delete = |using: &str, predicate: &str| {
        let using = if using.is_empty() { vec![] } else { from_items(using) };
        let statement =
            Delete { target: name("t"), alias: Some("x".into()), using, predicate: Some(expression(predicate)), returning: vec![] };
        let planned = fixture.planner().delete(&statement).expect("a delete plans");
        let mut rows = lines(&fixture.run(&planned).expect("a delete runs"));
        rows.sort();
        rows
    };
    assert_eq!(delete("", "x.a = 2"), ["2 | y | 20", "2 | y | 20"]);
    assert_eq!(delete("u", "x.a = u.a"), ["2 | y | 20", "2 | y | 20", "3 | null | 30", "3 | w | null"]);
}

fn over(expressions: &RowExpressions, rows: &RecordBatch) -> Vec<String> {
    let value = |value: &std::sync::Arc<dyn datafusion::physical_expr::PhysicalExpr>| {
        value.evaluate(rows).and_then(|value| value.into_array(rows.num_rows())).expect("the expression evaluates")
    };
    let columns = expressions.expressions.iter().map(value).collect();
    lines(&[RecordBatch::try_new(expressions.schema.clone(), columns).expect("columns of the schema")])
}

#[test]
fn returning_is_computed_from_the_row() {
    let fixture = Fixture::new();
    let items = |sql: &str| match *query(sql).body {
        ast::SetExpr::Select(select) => select.projection,
        _ => unreachable!("a SELECT"),
    };
    let planner = fixture.planner();
    let returning = planner.returning(&items("SELECT *, a + 1 AS next, upper(b)"), &name("t"), None).expect("RETURNING plans");
    assert_eq!(returning.schema.field(3).name(), "next");
    let rows = fixture.rows(catalog::ObjectId(1)).slice(0, 1);
    assert_eq!(over(&returning, &rows), ["1 | x | 10 | 2 | X"]);
    let error = planner.returning(&items("SELECT (SELECT max(a) FROM u)"), &name("t"), None).expect_err("refused");
    assert_eq!(error.sqlstate, "0A000");
    assert_eq!(planner.returning(&items("SELECT nope"), &name("t"), None).expect_err("refused").sqlstate, "42703");
}

#[test]
fn do_update_sees_the_stored_row_and_the_excluded_one() {
    let fixture = Fixture::new();
    let assignments = vec![("c".to_string(), expression("t.c + excluded.c")), ("b".to_string(), expression("excluded.b"))];
    let conflict = OnConflict { columns: vec!["a".into()], update: Some((assignments, Some(expression("t.c < 15")))) };
    let update = fixture.planner().on_conflict(&conflict, &name("t"), &Defaults::new()).expect("plans").expect("DO UPDATE");
    let rows = fixture.rows(catalog::ObjectId(1));
    let (stored, excluded) = (rows.slice(0, 1), rows.slice(1, 1));
    let fields = [schema_of(&fixture, "t").fields().to_vec(), schema_of(&fixture, "t").fields().to_vec()].concat();
    let schema = std::sync::Arc::new(arrow::datatypes::Schema::new(fields));
    let pair = RecordBatch::try_new(schema.clone(), [stored.columns(), excluded.columns()].concat()).expect("two rows side by side");
    let pair = concat_batches(&schema, [&pair]).expect("one batch");
    assert_eq!(over(&update.values, &pair), ["1 | y | 30"]);
    let predicate = update.predicate.expect("a predicate").evaluate(&pair).and_then(|value| value.into_array(1)).expect("evaluates");
    assert!(arrow::array::AsArray::as_boolean(&predicate).value(0));
    let ambiguous = OnConflict { columns: vec![], update: Some((vec![("c".to_string(), expression("c + 1"))], None)) };
    assert_eq!(fixture.planner().on_conflict(&ambiguous, &name("t"), &Defaults::new()).expect_err("refused").sqlstate, "42702");
}
