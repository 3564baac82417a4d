//! Scripts for each kind of join, and random changes compared with nested loops.

use std::collections::BTreeMap;

use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, lit};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::operators::script::{changes, check, consolidated, schema};
use crate::plan::{Node, Plan};
use crate::published::Published;
use crate::state::history::Trace;

const KINDS: [JoinKind; 7] =
    [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full, JoinKind::LeftSemi, JoinKind::LeftAnti, JoinKind::LeftMark];

fn column(name: &str, index: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(name, index))
}

fn binary(left: Arc<dyn PhysicalExpr>, operator: Operator, right: Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
    Arc::new(BinaryExpr::new(left, operator, right))
}

/// The left value is less than the right value.
fn less() -> Option<Arc<dyn PhysicalExpr>> {
    Some(binary(column("v", 1), Operator::Lt, column("v", 3)))
}

fn join(kind: JoinKind, keys: Vec<usize>, residual: Option<Arc<dyn PhysicalExpr>>, nulls_equal: bool, append_only: bool) -> JoinKernel {
    join_with([None, None], kind, keys, residual, nulls_equal, append_only)
}

fn join_with(
    indexes: [Option<Index>; 2],
    kind: JoinKind,
    keys: Vec<usize>,
    residual: Option<Arc<dyn PhysicalExpr>>,
    nulls_equal: bool,
    append_only: bool,
) -> JoinKernel {
    let input = || {
        let schema = schema("k:text v:int");
        Plan { node: Node::Constant(RecordBatch::new_empty(schema.clone())), schema, append_only }
    };
    let join = Join {
        left: input(),
        right: input(),
        kind,
        left_keys: keys.clone(),
        right_keys: keys,
        nulls_equal,
        residual,
        looks_up: [false; 2],
    };
    JoinKernel::new(&join, indexes).expect("the join is well-formed")
}

fn ports() -> [(&'static str, SchemaRef); 2] {
    [("left", schema("k:text v:int")), ("right", schema("k:text v:int"))]
}

fn check_kind(kind: JoinKind, residual: Option<Arc<dyn PhysicalExpr>>, script: &str, expected: &str) {
    check(&mut join(kind, vec![0], residual, false, false), &ports(), script, expected);
}

/// Both sides in one epoch, duplicates, null keys, retraction to zero.
const SCRIPT: &str = "
    left: 1: + a 1 | +2 b 2 | + null 3
    right: 1: + a 10 | + null 30
    right: 2: + b 20 | + c 40
    left: 3: - b 2
    right: 3: - a 10
    left: 4: - a 1 | - b 2 | - null 3
    right: 4: - b 20";

#[test]
fn inner() {
    let expected = "
        1: + a 1 a 10
        2: +2 b 2 b 20
        3: - a 1 a 10 | - b 2 b 20
        4: - b 2 b 20";
    check_kind(JoinKind::Inner, None, SCRIPT, expected);
}

#[test]
fn left() {
    let expected = "
        1: + a 1 a 10 | +2 b 2 null null | + null 3 null null
        2: +2 b 2 b 20 | -2 b 2 null null
        3: - a 1 a 10 | + a 1 null null | - b 2 b 20
        4: - a 1 null null | - b 2 b 20 | - null 3 null null";
    check_kind(JoinKind::Left, None, SCRIPT, expected);
}

#[test]
fn right() {
    let expected = "
        1: + a 1 a 10 | + null null null 30
        2: +2 b 2 b 20 | + null null c 40
        3: - a 1 a 10 | - b 2 b 20
        4: - b 2 b 20";
    check_kind(JoinKind::Right, None, SCRIPT, expected);
}

#[test]
fn full() {
    let expected = "
        1: + a 1 a 10 | +2 b 2 null null | + null 3 null null | + null null null 30
        2: +2 b 2 b 20 | -2 b 2 null null | + null null c 40
        3: - a 1 a 10 | + a 1 null null | - b 2 b 20
        4: - a 1 null null | - b 2 b 20 | - null 3 null null";
    check_kind(JoinKind::Full, None, SCRIPT, expected);
}

#[test]
fn semi_anti_and_mark() {
    let semi = "
        1: + a 1
        2: +2 b 2
        3: - a 1 | - b 2
        4: - b 2";
    check_kind(JoinKind::LeftSemi, None, SCRIPT, semi);
    let anti = "
        1: +2 b 2 | + null 3
        2: -2 b 2
        3: + a 1
        4: - a 1 | - null 3";
    check_kind(JoinKind::LeftAnti, None, SCRIPT, anti);
    let mark = "
        1: + a 1 true | +2 b 2 false | + null 3 false
        2: -2 b 2 false | +2 b 2 true
        3: + a 1 false | - a 1 true | - b 2 true
        4: - a 1 false | - b 2 true | - null 3 false";
    check_kind(JoinKind::LeftMark, None, SCRIPT, mark);
}

#[test]
fn a_pair_must_satisfy_the_residual() {
    let script = "
        left: 1: + a 1 | + a 5 | + a null
        right: 1: + a 3
        right: 2: + a 9
        right: 3: - a 3 | - a 9";
    let expected = "
        1: + a 1 a 3 | + a 5 null null | + a null null null
        2: + a 1 a 9 | + a 5 a 9 | - a 5 null null
        3: - a 1 a 3 | - a 1 a 9 | + a 1 null null | - a 5 a 9 | + a 5 null null";
    check_kind(JoinKind::Left, less(), script, expected);
}

#[test]
fn a_pair_that_fails_is_an_error_and_no_match() {
    let difference = binary(column("v", 1), Operator::Minus, column("v", 3));
    let condition = binary(binary(lit(12i64), Operator::Divide, difference), Operator::Gt, lit(0i64));
    let script = "
        left: 1: + a 1 | + a 5 | +2 b 7
        right: 1: + a 1 | + b 7
        right: 2: - a 1 | - b 7";
    let error = |row: &str| format!("'12 / (v@1 - v@3) > 0' 22012 'division by zero' {row}");
    let first = error(r#"{"left":{"k":"a","v":1},"right":{"k":"a","v":1}}"#);
    let second = error(r#"{"left":{"k":"b","v":7},"right":{"k":"b","v":7}}"#);
    let expected = format!(
        "1: + a 1 null null | + a 5 a 1 | +2 b 7 null null ! + {first} | +2 {second}
         2: - a 5 a 1 | + a 5 null null ! - {first} | -2 {second}"
    );
    check_kind(JoinKind::Left, Some(condition), script, &expected);
}

#[test]
fn a_cross_join_has_no_keys() {
    let script = "
        left: 1: + a 1 | + null 2
        right: 2: + x 3 | +2 null 4
        left: 3: - a 1";
    let expected = "
        1:
        2: +2 a 1 null 4 | + a 1 x 3 | +2 null 2 null 4 | + null 2 x 3
        3: -2 a 1 null 4 | - a 1 x 3";
    check(&mut join(JoinKind::Inner, vec![], None, false, false), &ports(), script, expected);
}

#[test]
fn null_keys_can_be_equal() {
    let script = "
        left: 1: + null 1 | + a 1
        right: 1: + null 2";
    check(&mut join(JoinKind::Inner, vec![0], None, true, false), &ports(), script, "1: + null 1 null 2");
}

#[test]
fn a_hot_key_comes_in_pieces() {
    let mut kernel = join(JoinKind::Full, vec![0], None, false, false);
    let side = |n: usize| changes(&ports()[0].1, &(0..n).map(|v| format!("+ a {v}")).collect::<Vec<_>>().join(" | "));
    let mut out = Output::default();
    kernel.step(1, vec![vec![side(500)], vec![side(400)]], &mut out).expect("the step succeeds");
    assert!(out.changes.iter().all(|batch| batch.len() <= PIECE_ROWS));
    assert_eq!(out.changes.iter().map(ChangeBatch::len).sum::<usize>(), 500 * 400);
    let mut out = Output::default();
    kernel.step(2, vec![vec![], vec![side(400).negated()]], &mut out).expect("the step succeeds");
    let net: i64 = consolidated(&out.changes).values().sum();
    assert_eq!(net, 500 - 500 * 400);
}

#[test]
fn rows_that_get_their_first_match_come_in_pieces() {
    let mut kernel = join(JoinKind::LeftSemi, vec![0], None, false, false);
    let rows = |n: usize| changes(&ports()[0].1, &(0..n).map(|v| format!("+ a {v}")).collect::<Vec<_>>().join(" | "));
    kernel.step(1, vec![vec![rows(40_000)], vec![]], &mut Output::default()).expect("the step succeeds");
    let mut out = Output::default();
    kernel.step(2, vec![vec![], vec![rows(1)]], &mut out).expect("the step succeeds");
    assert_eq!(out.changes.iter().map(ChangeBatch::len).collect::<Vec<_>>(), [PIECE_ROWS, 40_000 - PIECE_ROWS]);
}

#[test]
fn rows_read_are_counted() {
    let mut kernel = join(JoinKind::Inner, vec![0], None, false, false);
    let mut n_read = |epoch, left: &str, right: &str| {
        let mut out = Output::default();
        let inputs = [left, right].map(|text| vec![changes(&ports()[0].1, text)]);
        kernel.step(epoch, inputs.into(), &mut out).expect("the step succeeds");
        out.n_state_rows_read
    };
    assert_eq!(n_read(1, "+ a 1 | + a 2 | + a 3 | + b 4", ""), 0);
    assert_eq!(n_read(2, "", "+ a 1 | + a 2 | + c 3"), 6);
    assert_eq!(n_read(3, "- a 1", ""), 2);
}

#[test]
fn a_repeated_row_of_a_tested_side_reads_no_left_row() {
    let mut kernel = join(JoinKind::LeftSemi, vec![0], None, false, false);
    let rows = |n: usize| changes(&ports()[0].1, &(0..n).map(|v| format!("+ a {v}")).collect::<Vec<_>>().join(" | "));
    let mut step = |epoch, inputs| {
        let mut out = Output::default();
        kernel.step(epoch, inputs, &mut out).expect("the step succeeds");
        (out.n_state_rows_read, out.changes.iter().map(ChangeBatch::len).sum::<usize>())
    };
    step(1, vec![vec![rows(1000)], vec![rows(1)]]);
    let (n_read, n_changed) = step(2, vec![vec![], vec![changes(&ports()[0].1, "+ a 7")]]);
    assert!(n_read <= 2 && n_changed == 0, "{n_read} read");
    let (n_read, n_changed) = step(3, vec![vec![changes(&ports()[0].1, "- a 77")], vec![]]);
    assert!(n_read <= 6 && n_changed == 1, "{n_read} read");
}

type Row = (Option<String>, Option<i64>);
type Rows = BTreeMap<Row, i64>;

fn text((k, v): &Row) -> String {
    let k = k.clone().unwrap_or("null".into());
    format!("{k} {}", v.map_or("null".into(), |v| v.to_string()))
}

/// The join by nested loops.
fn reference(kind: JoinKind, keyed: bool, residual: bool, nulls_equal: bool, left: &Rows, right: &Rows) -> BTreeMap<String, i64> {
    let matches = |l: &Row, r: &Row| {
        (!keyed || (l.0 == r.0 && (nulls_equal || l.0.is_some()))) && (!residual || matches!((l.1, r.1), (Some(l), Some(r)) if l < r))
    };
    let mut found = BTreeMap::new();
    let mut add = |row: String, weight: i64| *found.entry(row).or_insert(0) += weight;
    for (l, l_weight) in left {
        let has_match = right.keys().any(|r| matches(l, r));
        let l_text = text(l);
        match kind {
            JoinKind::LeftSemi if has_match => add(l_text, *l_weight),
            JoinKind::LeftAnti if !has_match => add(l_text, *l_weight),
            JoinKind::LeftMark => add(format!("{l_text} {has_match}"), *l_weight),
            JoinKind::Left | JoinKind::Full if !has_match => add(format!("{l_text} null null"), *l_weight),
            JoinKind::LeftSemi | JoinKind::LeftAnti => {}
            _ => right
                .iter()
                .filter(|(r, _)| matches(l, r))
                .for_each(|(r, r_weight)| add(format!("{l_text} {}", text(r)), l_weight * r_weight)),
        }
    }
    if matches!(kind, JoinKind::Right | JoinKind::Full) {
        let unmatched = right.iter().filter(|(r, _)| !left.keys().any(|l| matches(l, r)));
        unmatched.for_each(|(r, weight)| add(format!("null null {}", text(r)), *weight));
    }
    found
}

fn random_changes(random: &mut StdRng, rows: &mut Rows, append_only: bool) -> String {
    let mut script = Vec::new();
    for _ in 0..[0, 1, 5, 25][random.random_range(0..4)] {
        let k = [Some("a".to_string()), Some("b".into()), Some("c".into()), None][random.random_range(0..4)].clone();
        let row: Row = (k, [None, Some(1), Some(2), Some(3), Some(4)][random.random_range(0..5)]);
        let known = rows.get(&row).copied().unwrap_or(0);
        let weight: i64 = if append_only { 1 } else { random.random_range(-known..=(2 - known / 2).max(0)) };
        script.push(format!("{weight:+} {}", text(&row)));
        *rows.entry(row).or_insert(0) += weight;
    }
    rows.retain(|_, weight| *weight != 0);
    script.join(" | ")
}

fn compare_with_reference(kind: JoinKind, keyed: bool, residual: bool, nulls_equal: bool, append_only: bool, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let keys = if keyed { vec![0] } else { vec![] };
    let mut kernel = join(kind, keys, if residual { less() } else { None }, nulls_equal, append_only);
    let (mut left, mut right, mut output) = (Rows::new(), Rows::new(), BTreeMap::new());
    for epoch in 0..40 {
        let scripts = [random_changes(&mut random, &mut left, append_only), random_changes(&mut random, &mut right, append_only)];
        let inputs = scripts.iter().map(|script| vec![changes(&ports()[0].1, script)]).collect();
        let mut out = Output::default();
        kernel.step(epoch, inputs, &mut out).expect("the step succeeds");
        for (row, weight) in consolidated(&out.changes) {
            *output.entry(row).or_insert(0) += weight;
        }
        output.retain(|_, weight| *weight != 0);
        let expected = reference(kind, keyed, residual, nulls_equal, &left, &right);
        assert_eq!(output, expected, "{kind:?}, residual {residual}, keyed {keyed}, seed {seed}, epoch {epoch}: {scripts:?}");
    }
}

#[test]
fn random_changes_give_what_nested_loops_give() {
    for seed in 0..4 {
        for kind in KINDS {
            for residual in [false, true] {
                compare_with_reference(kind, true, residual, false, false, seed);
                compare_with_reference(kind, true, residual, false, true, seed);
            }
            compare_with_reference(kind, true, false, true, false, seed);
            compare_with_reference(kind, false, true, false, false, seed);
        }
    }
}

/// A relation with the rows of a side in other columns, kept by their key.
struct Relation {
    trace: Trace,
    port: Arc<Published>,
}

impl Relation {
    /// The side's columns in the relation's.
    const COLUMNS: [usize; 2] = [2, 0];

    fn new() -> Self {
        Self { trace: Trace::keyed(schema("v:int w:int k:text"), false, vec![2]), port: Arc::default() }
    }

    fn index(&self) -> Index {
        Index::new(Arc::clone(&self.port), Self::COLUMNS.to_vec())
    }

    fn close(&mut self, epoch: Epoch, changes: &ChangeBatch) {
        let columns = vec![changes.column(1).clone(), changes.column(1).clone(), changes.column(0).clone()];
        let rows = RecordBatch::try_new(self.trace.schema().clone(), columns).expect("the columns fit");
        self.trace.insert(epoch, &changes.with_rows(rows)).expect("it is inserted");
        // The join is at this epoch: that before it is held.
        self.trace.allow_compaction(epoch.saturating_sub(1));
        self.port.publish(epoch + 1, self.trace.version());
    }
}

fn compare_with_lookups(kind: JoinKind, looks_up: [bool; 2], residual: bool, nulls_equal: bool, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut relations = [Relation::new(), Relation::new()];
    let index = |side: usize| looks_up[side].then(|| relations[side].index());
    let residual_of = if residual { less() } else { None };
    let mut kernel = join_with([index(0), index(1)], kind, vec![0], residual_of, nulls_equal, false);
    let (mut left, mut right, mut output) = (Rows::new(), Rows::new(), BTreeMap::new());
    let first = random.random_range(0..4);
    for epoch in 0..40 {
        let scripts = [random_changes(&mut random, &mut left, false), random_changes(&mut random, &mut right, false)];
        let fresh = scripts.each_ref().map(|script| changes(&ports()[0].1, script));
        relations.iter_mut().zip(&fresh).for_each(|(relation, fresh)| relation.close(epoch, fresh));
        if epoch < first {
            continue;
        }
        // The first changes are the rows that are there; they come in parts.
        let inputs: Vec<[ChangeBatch; 2]> = match epoch == first {
            true => {
                let all = [&left, &right].map(|rows| changes(&ports()[0].1, &script_of(rows)));
                let half = all.each_ref().map(|all| all.len() / 2);
                vec![
                    [all[0].slice(0, half[0]), all[1].slice(0, half[1])],
                    [0, 1].map(|side| all[side].slice(half[side], all[side].len() - half[side])),
                ]
            }
            false => vec![fresh],
        };
        assert_eq!(kernel.parts(epoch), if epoch == first { Parts::Any } else { Parts::Whole });
        for part in inputs {
            let mut out = Output::default();
            kernel.step(epoch, part.into_iter().map(|batch| vec![batch]).collect(), &mut out).expect("the step succeeds");
            for (row, weight) in consolidated(&out.changes) {
                *output.entry(row).or_insert(0) += weight;
            }
        }
        output.retain(|_, weight| *weight != 0);
        let expected = reference(kind, true, residual, nulls_equal, &left, &right);
        assert_eq!(output, expected, "{kind:?}, looks up {looks_up:?}, residual {residual}, seed {seed}, epoch {epoch}: {scripts:?}");
    }
    let kept = [&kernel.left, &kernel.right].map(|side| side.spine.n_rows() == 0);
    assert!(looks_up.iter().zip(kept).all(|(looks_up, keeps_nothing)| !looks_up || keeps_nothing), "what is looked up is not kept");
}

fn script_of(rows: &Rows) -> String {
    rows.iter().map(|(row, weight)| format!("{weight:+} {}", text(row))).collect::<Vec<_>>().join(" | ")
}

#[test]
fn what_is_looked_up_is_joined_as_what_is_kept() {
    use JoinKind::{Inner, Left, Right};
    let sides = [(Inner, [true, false]), (Inner, [false, true]), (Inner, [true, true]), (Left, [false, true]), (Right, [true, false])];
    for seed in 0..6 {
        for (kind, looks_up) in sides {
            for (residual, nulls_equal) in [(false, false), (true, false), (false, true)] {
                compare_with_lookups(kind, looks_up, residual, nulls_equal, seed);
            }
        }
    }
}
