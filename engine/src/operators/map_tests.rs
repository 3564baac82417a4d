//! Scripts for filter and projection: rows that fail, alone and among others.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{self, CastExpr, Column, NegativeExpr, lit};

use super::map::MapKernel;
use super::{Kernel, Output, script};
use crate::plan::{Map, Node, Plan};

type Expression = Arc<dyn PhysicalExpr>;

fn schema() -> SchemaRef {
    script::schema("a:int b:int t:text")
}

fn column(name: &str) -> Expression {
    Arc::new(Column::new_with_schema(name, &schema()).expect("the column is in the schema"))
}

fn binary(left: Expression, op: Operator, right: Expression) -> Expression {
    expressions::binary(left, op, right, &schema()).expect("the types go together")
}

fn kernel(predicate: Option<Expression>, expressions: Vec<Expression>) -> MapKernel {
    let input = Box::new(Plan { node: Node::Union(vec![]), schema: schema(), append_only: false });
    MapKernel::new(&Map { input, predicate, expressions }).expect("the plan is valid")
}

#[track_caller]
fn check(predicate: Option<Expression>, expressions: Vec<Expression>, script: &str, expected: &str) {
    script::check(&mut kernel(predicate, expressions), &[("input", schema())], script, expected);
}

fn quotient() -> Expression {
    binary(column("a"), Operator::Divide, column("b"))
}

/// `b <> 0 AND a / b > 1`.
fn guarded() -> Expression {
    let guard = binary(column("b"), Operator::NotEq, lit(0_i64));
    binary(guard, Operator::And, binary(quotient(), Operator::Gt, lit(1_i64)))
}

#[test]
fn keeps_and_computes_with_weights() {
    check(
        Some(binary(column("a"), Operator::Gt, lit(1_i64))),
        vec![column("t"), binary(column("a"), Operator::Plus, column("b"))],
        "1: + 1 1 x | +2 2 3 y | - 5 null z
         2: + null 1 x",
        "1: +2 y 5 | - z null
         2:",
    );
}

#[test]
fn a_failing_row_is_an_error_and_the_others_go_on() {
    check(
        None,
        vec![quotient()],
        "1: + 6 3 x | +2 1 0 y | + 8 2 null | + 5 0 z
         2: -2 1 0 y | - 6 3 x",
        r#"1: + 2 | + 4 ! +2 'a@0 / b@1' 22012 'division by zero' {"a":1,"b":0,"t":"y"} | + 'a@0 / b@1' 22012 'division by zero' {"a":5,"b":0,"t":"z"}
         2: - 2 ! -2 'a@0 / b@1' 22012 'division by zero' {"a":1,"b":0,"t":"y"}"#,
    );
}

#[test]
fn a_row_fails_by_itself_or_not_at_all() {
    let script = "1: + 6 3 x | + 1 0 y | + 8 1 z | + 0 0 w | + null 0 v | + 9 null u";
    check(Some(guarded()), vec![column("t")], script, "1: + x | + z");
    // Without the guard the predicate fails for two rows; a null is not divided.
    let bare = binary(quotient(), Operator::Gt, lit(1_i64));
    check(
        Some(bare),
        vec![column("t")],
        script,
        r#"1: + x | + z ! + 'a@0 / b@1 > 1' 22012 'division by zero' {"a":0,"b":0,"t":"w"} | + 'a@0 / b@1 > 1' 22012 'division by zero' {"a":1,"b":0,"t":"y"}"#,
    );
}

#[test]
fn the_outcome_does_not_depend_on_the_batch() {
    let rows = ["6 3 x", "1 0 y", "8 1 z", "0 0 w", "null 0 v", "9223372036854775807 1 17", "-9223372036854775808 -1 s", "3 2 4"];
    let cast = || Arc::new(CastExpr::new(column("t"), DataType::Int64, None)) as Expression;
    let negative = || Arc::new(NegativeExpr::new(column("a"))) as Expression;
    let run = |batches: &[Vec<&str>]| {
        let mut out = Output::default();
        let mut kernel = kernel(
            Some(binary(guarded(), Operator::Or, binary(column("a"), Operator::LtEq, lit(3_i64)))),
            vec![
                binary(column("a"), Operator::Plus, column("b")),
                binary(column("a"), Operator::Multiply, column("b")),
                negative(),
                cast(),
            ],
        );
        let batch =
            |rows: &Vec<&str>| script::changes(&schema(), &rows.iter().map(|row| format!("+ {row}")).collect::<Vec<_>>().join(" | "));
        kernel.step(1, vec![batches.iter().map(batch).collect()], &mut out).expect("the step succeeds");
        (script::consolidated(&out.changes), script::consolidated(&out.errors))
    };
    let alone = run(&rows.iter().map(|row| vec![*row]).collect::<Vec<_>>());
    assert_eq!(run(&[rows.to_vec()]), alone);
    assert_eq!(run(&[rows[..5].to_vec(), rows[5..].to_vec()]), alone);
    assert_eq!(alone.0.keys().collect::<Vec<_>>(), ["5 6 -3 4"]);
    assert_eq!(alone.1.len(), 6, "{:?}", alone.1);
}

#[test]
fn an_untyped_null_takes_the_type_of_its_column() {
    let (input, expressions) =
        (Box::new(Plan { node: Node::Union(vec![]), schema: schema(), append_only: false }), vec![column("a"), lit(ScalarValue::Null)]);
    let mut kernel =
        MapKernel::with_schema(&Map { input, predicate: None, expressions }, script::schema("a:int n:int")).expect("the plan is valid");
    script::check(&mut kernel, &[("input", schema())], "1: + 6 3 x | + 7 0 y", "1: + 6 null | + 7 null");
}

#[test]
fn integers_do_not_wrap() {
    let min = "-9223372036854775808";
    let negative: Expression = Arc::new(NegativeExpr::new(column("a")));
    let out = script::run(&mut kernel(None, vec![negative]), &[("input", schema())], &format!("1: + {min} 1 x | + 4 1 y"));
    assert!(out.starts_with("1: + -4 ! + '(- a@0)' 22003 "), "{out}");
    for op in [Operator::Plus, Operator::Minus, Operator::Multiply] {
        let left = if op == Operator::Minus { "-2" } else { "9223372036854775807" };
        let right = if op == Operator::Minus { "9223372036854775807" } else { "2" };
        let script = format!("1: + {left} {right} x");
        let out = script::run(&mut kernel(None, vec![binary(column("a"), op, column("b"))]), &[("input", schema())], &script);
        assert!(out.starts_with("1: ! + 'a@0 ") && out.contains(" 22003 "), "{op}: {out}");
    }
}
