//! Scripts for each way an aggregate is kept, and random changes against the batch engine.

mod harness;
mod random;
mod speed;

use harness::{Call, check, kernel};

/// Each aggregate over `k:text v:int f:float g:bool t:text n:decimal`, rows inserted, updated and deleted to nothing.
const LIFE: &str = "1: + a 1 1.5 true x 2 | + a 2 0.25 false y 3 | +2 b null null null null null
     2: - a 2 0.25 false y 3 | + a 4 0.5 true z 3
     3: - a 1 1.5 true x 2 | - a 4 0.5 true z 3 | - b null null null null null
     4: + a 7 7 true w 7 | - b null null null null null";

#[track_caller]
fn life(call: Call, expected: &str) {
    let mut kernel = kernel("k:text v:int f:float g:bool t:text n:decimal", &["k"], &[call], false);
    check(&mut kernel, LIFE, expected);
}

#[test]
fn counts() {
    let expected = "1: + a 2 | + b 0
         2:
         3: - a 2
         4: + a 1 | - b 0";
    life(Call::new("count", &["v"]), expected);
    life(
        Call::new("count", &["g"]).filter("g"),
        "1: + a 1 | + b 0
         2: - a 1 | + a 2
         3: - a 2
         4: + a 1 | - b 0",
    );
}

#[test]
fn sums_and_averages() {
    life(
        Call::new("sum", &["v"]),
        "1: + a 3 | + b null
         2: - a 3 | + a 5
         3: - a 5
         4: + a 7 | - b null",
    );
    life(
        Call::new("sum", &["f"]),
        "1: + a 1.75 | + b null
         2: - a 1.75 | + a 2.0
         3: - a 2.0
         4: + a 7.0 | - b null",
    );
    life(
        Call::new("avg", &["v"]),
        "1: + a 1.5000000000000000 | + b null
         2: - a 1.5000000000000000 | + a 2.5000000000000000
         3: - a 2.5000000000000000
         4: + a 7.0000000000000000 | - b null",
    );
    life(
        Call::new("var_pop", &["f"]),
        "1: + a 0.390625 | + b null
         2: + a 0.25 | - a 0.390625
         3: - a 0.25
         4: + a 0.0 | - b null",
    );
}

#[test]
fn extremes() {
    life(
        Call::new("max", &["v"]),
        "1: + a 2 | + b null
         2: - a 2 | + a 4
         3: - a 4
         4: + a 7 | - b null",
    );
    life(
        Call::new("min", &["t"]),
        "1: + a x | + b null
         2:
         3: - a x
         4: + a w | - b null",
    );
    life(
        Call::new("max", &["n"]),
        "1: + a 3.0000000000 | + b null
         2:
         3: - a 3.0000000000
         4: + a 7.0000000000 | - b null",
    );
}

#[test]
fn truths_and_bits() {
    life(
        Call::new("bool_and", &["g"]),
        "1: + a false | + b null
         2: - a false | + a true
         3: - a true
         4: + a true | - b null",
    );
    life(
        Call::new("bool_or", &["g"]),
        "1: + a true | + b null
         2:
         3: - a true
         4: + a true | - b null",
    );
    life(
        Call::new("bit_xor", &["v"]),
        "1: + a 3 | + b null
         2: - a 3 | + a 5
         3: - a 5
         4: + a 7 | - b null",
    );
    life(
        Call::new("bit_and", &["v"]),
        "1: + a 0 | + b null
         2:
         3: - a 0
         4: + a 7 | - b null",
    );
}

#[test]
fn reevaluated() {
    life(
        Call::new("array_agg", &["v"]).order_by("v", true),
        "1: + a [2,1] | + b [null,null]
         2: - a [2,1] | + a [4,1]
         3: - a [4,1] | - b [null,null] | + b [null]
         4: + a [7] | - b [null]",
    );
    life(
        Call::new("median", &["v"]),
        "1: + a 1 | + b null
         2: - a 1 | + a 2
         3: - a 2
         4: + a 7 | - b null",
    );
}

#[test]
fn distinct_aggregates_share_a_table() {
    let calls =
        [Call::new("count", &["v"]).distinct(), Call::new("count", &["v"]).distinct().filter("g"), Call::new("sum", &["v"]).distinct()];
    let mut kernel = kernel("k:text v:int g:bool", &["k"], &calls, false);
    check(
        &mut kernel,
        "1: +2 a 1 false | + a 1 true | + a 2 false | + a null true
         2: - a 1 true
         3: -2 a 1 false | + a 1 true | - a 1 true | +3 a 5 true
         4: - a 2 false | -3 a 5 true | - a null true
         5: + a 1 false | + c 1 true",
        "1: + a 2 1 3
         2: + a 2 0 3 | - a 2 1 3
         3: - a 2 0 3 | + a 2 1 7
         4: - a 2 1 7
         5: + a 1 0 1 | + c 1 1 1",
    );
}

#[test]
fn no_keys_is_one_row_for_ever() {
    let mut kernel = kernel("v:int", &[], &[Call::new("count", &["v"]), Call::new("sum", &["v"])], true);
    let initial = kernel.initial_output().expect("it evaluates").expect("there are no keys");
    assert_eq!(super::super::script::rows_text(initial.rows()), ["0 null"]);
    check(
        &mut kernel,
        "1: + null
         2: + 4
         3: - 4
         4: - null",
        "1:
         2: - 0 null | + 1 4
         3: + 0 null | - 1 4
         4:",
    );
}

#[test]
fn no_aggregates_is_distinct() {
    let script = "1: + 1 a | +2 1 a | + null a | + null a
         2: + 1 a | + 1 b";
    check(
        &mut kernel("v:int t:text", &["v", "t"], &[], true),
        script,
        "1: + 1 a | + null a
         2: + 1 b",
    );
    check(
        &mut kernel("v:int", &["v"], &[], false),
        "1: + 1 | + 2 | - 2
         2: + 1 | + 2
         3: -2 1 | - 2
         4: + 1",
        "1: + 1
         2: + 2
         3: - 1 | - 2
         4: + 1",
    );
}

#[test]
fn one_zero_and_one_nan_among_keys() {
    check(&mut kernel("f:float", &["f"], &[Call::new("count", &["f"])], true), "1: + -0.0 | + 0.0 | + NaN | + NaN", "1: + 0.0 2 | + NaN 2");
}

#[test]
fn what_does_not_fit_is_an_error_until_it_fits() {
    check(
        &mut kernel("k:text v:int4 f:float", &["k"], &[Call::new("sum", &["f"])], false),
        "1: + a 1 1e308 | + b 1 1
         2: + a 2 1e308
         3: + a 3 1
         4: - a 2 1e308
         5: +9 a 4 1e308
         6: - a 1 1e308 | - a 3 1 | -9 a 4 1e308",
        r#"1: + a 1e308 | + b 1.0
         2: - a 1e308 ! + sum(f) 22003 'value out of range: overflow' {"k":"a"}
         3:
         4: + a 1e308 ! - sum(f) 22003 'value out of range: overflow' {"k":"a"}
         5: - a 1e308 ! + sum(f) 22003 'value out of range: overflow' {"k":"a"}
         6: ! - sum(f) 22003 'value out of range: overflow' {"k":"a"}"#,
    );
}

#[test]
fn of_several_errors_of_a_group_the_first_is_told() {
    let calls = [Call::new("count", &["g"]), Call::new("sum", &["f"]), Call::new("sum", &["g"])];
    check(
        &mut kernel("k:text f:float g:float", &["k"], &calls, false),
        "1: + a 1e308 1e308 | + b 1 1e308
         2: + a 1e308 1e308 | + b 1 1e308
         3: - a 1e308 1e308",
        r#"1: + a 1 1e308 1e308 | + b 1 1.0 1e308
         2: - a 1 1e308 1e308 | - b 1 1.0 1e308 ! + sum(f) 22003 'value out of range: overflow' {"k":"a"} | + sum(g) 22003 'value out of range: overflow' {"k":"b"}
         3: + a 1 1e308 1e308 ! - sum(f) 22003 'value out of range: overflow' {"k":"a"}"#,
    );
}

#[test]
fn dead_groups_give_their_place_back() {
    let calls = [Call::new("count", &["v"]), Call::new("max", &["v"]), Call::new("sum", &["v"]).distinct(), Call::new("median", &["v"])];
    let mut kernel = kernel("k:text v:int", &["k"], &calls, false);
    for round in 0..50 {
        check(&mut kernel, &format!("1: + a{round} 1 | + b{round} 2"), &format!("1: + a{round} 1 1 1 1 | + b{round} 1 2 2 2"));
        check(&mut kernel, &format!("2: - a{round} 1 | - b{round} 2"), &format!("2: - a{round} 1 1 1 1 | - b{round} 1 2 2 2"));
    }
    let size = super::super::Kernel::state_size(&kernel);
    assert_eq!(size.n_rows, 0);
    assert!(size.n_bytes < 10_000, "{size:?}");
}

#[test]
fn state_has_a_row_per_group_and_per_value_kept() {
    for call in [Call::new("max", &["v"]), Call::new("count", &["v"]).distinct(), Call::new("median", &["v"])] {
        let sql = call.sql();
        let mut kernel = kernel("k:text v:int", &["k"], &[call], false);
        let mut step = |sign: &str, values: std::ops::Range<i64>| {
            harness::step(&mut kernel, &values.map(|v| format!("{sign} a {v}")).collect::<Vec<_>>().join(" | "));
            super::super::Kernel::state_size(&kernel)
        };
        let (few, many) = (step("+", 0..10), step("+", 10..1010));
        assert_eq!((few.n_rows, many.n_rows), (1 + 10, 1 + 1010), "{sql}");
        assert!((16_000..300_000).contains(&(many.n_bytes - few.n_bytes)), "{sql}: {few:?} {many:?}");
        assert_eq!(step("-", 10..1010).n_rows, few.n_rows, "{sql}");
    }
}

#[test]
fn what_no_distinct_aggregate_counts_is_not_kept() {
    let mut kernel = kernel("k:text v:int g:bool", &["k"], &[Call::new("count", &["v"]).distinct().filter("g")], false);
    let mut n_rows = |text: &str| {
        harness::step(&mut kernel, text);
        super::super::Kernel::state_size(&kernel).n_rows
    };
    assert_eq!(n_rows("+ a 1 true"), 2);
    assert_eq!(n_rows("+ a 2 false | + a null true | + a 3 null"), 2);
}

#[test]
fn reads_one_row_of_state_per_touched_group() {
    let mut kernel = kernel("k:int v:int", &["k"], &[Call::new("max", &["v"]), Call::new("count", &["v"]).distinct()], false);
    harness::step(&mut kernel, &(0..1000).map(|v| format!("+ 1 {v}")).collect::<Vec<_>>().join(" | "));
    let out = harness::step(&mut kernel, "- 1 999");
    assert_eq!(out.n_state_rows_read, 1);
    assert_eq!(
        super::super::script::consolidated(&out.changes).into_iter().collect::<Vec<_>>(),
        [("1 998 999".into(), 1), ("1 999 1000".into(), -1)]
    );
}
