//! Scripts of rows that come, go and pass through, and random histories compared with the condition itself.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::operators::script::{changes, check, consolidated, schema};
use crate::plan::{Node, Plan};

fn kernel(enters: Option<usize>, leaves: Option<usize>) -> TemporalKernel {
    let plan = |columns: &str| {
        let schema = schema(columns);
        Plan { node: Node::Constant(RecordBatch::new_empty(schema.clone())), schema, append_only: false }
    };
    let temporal = Temporal { clock: plan("now:timestamp"), input: plan("k:text enters:int leaves:int"), enters, leaves };
    TemporalKernel::new(&temporal, schema("k:text")).expect("instants are integers")
}

/// A script in which `@7` is a clock of seven microseconds.
fn check_temporal(enters: Option<usize>, leaves: Option<usize>, script: &str, expected: &str) {
    let ports = [("clock", schema("now:timestamp")), ("rows", schema("k:text enters:int leaves:int"))];
    let times = |text: &str| {
        let parts = text.split('@').enumerate().map(|(place, part)| {
            let n_digits = part.bytes().take_while(u8::is_ascii_digit).count();
            match part[..n_digits].parse::<u32>() {
                Ok(micros) if place > 0 => format!("1970-01-01T00:00:00.{micros:06}{}", &part[n_digits..]),
                _ => part.to_owned(),
            }
        });
        parts.collect::<String>()
    };
    check(&mut kernel(enters, leaves), &ports, &times(script), expected);
}

#[test]
fn rows_enter_and_leave_by_themselves() {
    check_temporal(
        Some(1),
        Some(2),
        "clock: 1: + @10
         rows: 1: + here 5 20 | + later 15 30 | + past 1 10 | + never 9 9 | + null null 20 | +2 twice 10 12
         clock: 2: - @10 | + @11
         clock: 3: - @11 | + @12
         clock: 4: - @12 | + @15
         clock: 5: - @15 | + @25
         clock: 6: - @25 | + @40",
        "1: + here | +2 twice
         2:
         3: -2 twice
         4: + later
         5: - here
         6: - later",
    );
}

#[test]
fn a_retraction_is_exact_wherever_the_row_is() {
    check_temporal(
        Some(1),
        Some(2),
        "clock: 1: + @10
         rows: 1: +3 a 5 20 | +2 b 15 20 | + past 1 5
         rows: 2: - a 5 20 | - b 15 20 | - past 1 5
         clock: 3: - @10 | + @15
         rows: 3: - a 5 20
         clock: 4: - @15 | + @20
         rows: 4: - a 5 20 | + a 5 20
         rows: 5: - a 5 20 | - b 15 20
         clock: 6: - @20 | + @21",
        "1: +3 a
         2: - a
         3: - a | + b
         4: - a | - b
         5:
         6:",
    );
}

#[test]
fn one_kind_of_instant_is_enough() {
    let script = "clock: 1: + @10
         rows: 1: + a 5 8 | + b 11 12
         clock: 2: + @11
         clock: 3: + @12
         rows: 4: - a 5 8 | - b 11 12";
    check_temporal(Some(1), None, script, "1: + a\n2: + b\n3:\n4: - a | - b");
    check_temporal(None, Some(2), script, "1: + b\n2:\n3: - b\n4:");
}

#[test]
fn a_row_passes_through_between_two_looks_at_the_clock() {
    let script = "clock: 1: + @1\nrows: 1: + a 5 8\nclock: 2: + @9\nrows: 3: - a 5 8";
    check_temporal(Some(1), Some(2), script, "1:\n2:\n3:");
}

#[test]
fn state_is_what_has_an_instant_ahead_and_what_is_due_is_read_alone() {
    let mut kernel = kernel(Some(1), Some(2));
    let (clock, rows) = (schema("now:timestamp"), schema("k:text enters:int leaves:int"));
    let script = (0..1000).map(|n| format!("+ r{n} {n} {}", n + 100)).collect::<Vec<_>>().join(" | ");
    let mut step = |epoch, now: u32| {
        let fresh = if epoch == 1 { vec![changes(&rows, &script)] } else { vec![] };
        let mut out = Output::default();
        let clock = changes(&clock, &format!("+ 1970-01-01T00:00:00.{now:06}"));
        kernel.step(epoch, vec![vec![clock], fresh], &mut out).expect("the step succeeds");
        let n_out: usize = out.changes.iter().map(ChangeBatch::len).sum();
        (n_out, out.n_state_rows_read, kernel.state_size().n_rows)
    };
    assert_eq!(step(1, 499), (100, 0, 600), "100 are there, 500 will come");
    assert_eq!(step(2, 502), (6, 6, 597));
    assert_eq!(step(3, 502), (0, 0, 597));
    assert_eq!(step(4, 10_000), (100, 597, 0));
    assert_eq!(kernel.state_size(), StateSize::default(), "what is past keeps nothing");
}

#[test]
fn a_row_that_is_gone_waits_for_nothing() {
    let mut kernel = kernel(Some(1), Some(2));
    let rows = schema("k:text enters:int leaves:int");
    let mut step = |text: &str| {
        let clock = changes(&schema("now:timestamp"), "+ 1970-01-01T00:00:00.000010");
        kernel.step(1, vec![vec![clock], vec![changes(&rows, text)]], &mut Output::default()).expect("the step succeeds");
        kernel.state_size()
    };
    let kept = step("+2 entering 20 30 | + leaving 5 30");
    assert_eq!(kept.n_rows, 2);
    assert_eq!(step("- entering 20 30").n_rows, 2);
    assert!(step("- entering 20 30").n_bytes < kept.n_bytes);
    assert_eq!(step("- leaving 5 30"), StateSize::default());
}

#[test]
fn random_histories_equal_the_condition() {
    for seed in 0..40 {
        let mut random = StdRng::seed_from_u64(seed);
        let (enters, leaves) = [(Some(1), Some(2)), (Some(1), None), (None, Some(2))][seed as usize % 3];
        let mut kernel = kernel(enters, leaves);
        let (clock, schema) = (schema("now:timestamp"), schema("k:text enters:int leaves:int"));
        let mut rows: BTreeMap<String, i64> = BTreeMap::new();
        let (mut now, mut shown) = (0, BTreeMap::new());
        for epoch in 1..60 {
            let mut inputs = vec![Vec::new(), Vec::new()];
            if epoch == 1 || random.random_bool(0.7) {
                now += random.random_range(0..6);
                inputs[0].push(changes(&clock, &format!("+ 1970-01-01T00:00:00.{now:06}")));
            }
            for _ in 0..random.random_range(0..5) {
                let mut instant = || if random.random_bool(0.1) { "null".into() } else { random.random_range(0..100).to_string() };
                let (enters, leaves) = (instant(), instant());
                let row = format!("k{} {enters} {leaves}", random.random_range(0..3));
                let gone = rows.keys().nth(random.random_range(0..rows.len().max(1))).filter(|_| random.random_bool(0.5)).cloned();
                let (row, weight) = gone.map_or((row, random.random_range(1..3)), |row| (row, -1));
                inputs[1].push(changes(&schema, &format!("{weight:+} {row}").replace("+1 ", "+ ").replace("-1 ", "- ")));
                let known = rows.entry(row.clone()).or_default();
                *known += weight;
                if *known == 0 {
                    rows.remove(&row);
                }
            }
            let mut out = Output::default();
            kernel.step(epoch, inputs, &mut out).expect("the step succeeds");
            for (row, weight) in consolidated(&out.changes) {
                *shown.entry(row).or_insert(0) += weight;
            }
            shown.retain(|_, weight| *weight != 0);
            assert_eq!(shown, expected(&rows, now, enters.is_some(), leaves.is_some()), "seed {seed} epoch {epoch} now {now}");
        }
    }
}

/// The rows whose condition holds, by their first column.
fn expected(rows: &BTreeMap<String, i64>, now: i64, has_enters: bool, has_leaves: bool) -> BTreeMap<String, i64> {
    let mut expected = BTreeMap::new();
    for (row, weight) in rows {
        let parts: Vec<&str> = row.split(' ').collect();
        let holds = |part: &str, holds: &dyn Fn(i64) -> bool| part.parse::<i64>().is_ok_and(holds);
        let is_in = (!has_enters || holds(parts[1], &|at| now >= at)) && (!has_leaves || holds(parts[2], &|at| now < at));
        if is_in {
            *expected.entry(parts[0].to_owned()).or_insert(0) += weight;
        }
    }
    expected
}
