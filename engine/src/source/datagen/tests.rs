//! Every kind over every type it goes with; determinism; what is refused.

use super::super::test_support::{check_positions, columns, drain, options, show, spec};
use super::super::{Poll, SourceSpec};

#[test]
fn sequences_choices_and_constants() {
    let spec = spec(
        &[
            ("connector", "datagen"),
            ("rows", "5"),
            ("fields.id.kind", "sequence"),
            ("fields.id.start", "3"),
            ("fields.id.end", "7"),
            ("fields.id.step", "2"),
            ("fields.at.kind", "sequence"),
            ("fields.at.start", "2024-01-01 00:00:00"),
            ("fields.d.kind", "sequence"),
            ("fields.d.start", "2023-12-30"),
            ("fields.c.kind", "constant"),
            ("fields.c.value", "{1,NULL}"),
            ("fields.t.kind", "sequence"),
        ],
        &[("id", "bigint"), ("at", "timestamp"), ("d", "date"), ("c", "bigint[]"), ("t", "text")],
    );
    let (rows, _) = drain(spec.expect("valid").open(&[0]).expect("valid").as_mut(), 2);
    assert_eq!(
        rows[0],
        [
            "3|2024-01-01T00:00:00|2023-12-30|[1, NULL]|0",
            "5|2024-01-01T00:00:01|2023-12-31|[1, NULL]|1",
            "7|2024-01-01T00:00:02|2024-01-01|[1, NULL]|2",
            "3|2024-01-01T00:00:03|2024-01-02|[1, NULL]|3",
            "5|2024-01-01T00:00:04|2024-01-03|[1, NULL]|4",
        ]
    );
}

const TYPES: [(&str, &str); 16] = [
    ("b", "boolean"),
    ("i2", "smallint"),
    ("i4", "integer"),
    ("i8", "bigint"),
    ("f4", "real"),
    ("f8", "double precision"),
    ("n", "numeric(10,2)"),
    ("t", "text"),
    ("v", "varchar(4)"),
    ("y", "bytea"),
    ("d", "date"),
    ("h", "time"),
    ("ts", "timestamp"),
    ("tz", "timestamptz"),
    ("iv", "interval"),
    ("u", "uuid"),
];

#[test]
fn every_type_can_be_random() {
    let spec = spec(&[("connector", "datagen"), ("rows", "2000"), ("fields.i8.null_ratio", "0.25")], &TYPES).expect("valid");
    let mut source = spec.open(&[0]).expect("valid");
    let Poll::Batch(batch) = source.poll(2000, 0).expect("readable") else { panic!("there are rows") };
    let rows = &batch.outputs[0][0];
    assert_eq!((rows.num_rows(), rows.schema()), (2000, source.schema(0)));
    let nulls = rows.column_by_name("i8").expect("a column").null_count();
    assert!((400..600).contains(&nulls), "{nulls} nulls of 2000, expected a quarter");
    for (index, (name, _)) in TYPES.iter().enumerate().filter(|(_, (name, _))| *name != "b") {
        let distinct: std::collections::BTreeSet<String> = show(&[rows.project(&[index]).expect("a column")]).into_iter().collect();
        assert!(distinct.len() > 90, "{name} has only {} different values", distinct.len());
    }
    check_positions(&spec, &[0], 300);
}

#[test]
fn ranges_hold_at_their_ends() {
    let spec = spec(
        &[
            ("connector", "datagen"),
            ("rows", "3000"),
            ("seed", "5"),
            ("fields.a.min", "-2"),
            ("fields.a.max", "2"),
            ("fields.b.min", "-9223372036854775808"),
            ("fields.b.max", "9223372036854775807"),
            ("fields.x.min", "1.5"),
            ("fields.x.max", "1.75"),
            ("fields.t.length", "3"),
            ("fields.c.kind", "choice"),
            ("fields.c.values", "red|green|"),
            ("fields.d.min", "2024-02-28"),
            ("fields.d.max", "2024-03-01"),
        ],
        &[("a", "integer"), ("b", "bigint"), ("x", "double precision"), ("t", "text"), ("c", "text"), ("d", "date")],
    )
    .expect("valid");
    let (rows, _) = drain(spec.open(&[0]).expect("valid").as_mut(), 1000);
    let column =
        |index: usize| -> std::collections::BTreeSet<&str> { rows[0].iter().filter_map(|row| row.split('|').nth(index)).collect() };
    assert_eq!(column(0), ["-1", "-2", "0", "1", "2"].into());
    assert!(column(1).iter().any(|value| value.starts_with('-')) && column(1).len() == 3000);
    assert!(column(2).iter().all(|value| (1.5..1.75).contains(&value.parse::<f64>().expect("a number"))));
    assert!(column(3).iter().all(|value| value.len() == 3));
    assert_eq!(column(4), ["", "green", "red"].into());
    assert_eq!(column(5), ["2024-02-28", "2024-02-29", "2024-03-01"].into());
}

#[test]
fn a_column_depends_on_the_seed_and_the_row_alone() {
    let rows = |seed: &str, max_rows: usize| {
        let spec = spec(&[("connector", "datagen"), ("rows", "500"), ("seed", seed)], &TYPES).expect("valid");
        drain(spec.open(&[0]).expect("valid").as_mut(), max_rows).0
    };
    assert_eq!(rows("1", 500), rows("1", 7));
    assert_ne!(rows("1", 500), rows("2", 500));
}

#[test]
fn columns_can_be_left_out() {
    let spec = spec(&[("connector", "datagen"), ("rows", "10")], &TYPES).expect("valid");
    let (whole, _) = drain(spec.open(&[0]).expect("valid").as_mut(), 10);
    let mut source = spec.open(&[0]).expect("valid");
    source.project(0, Some(vec![15, 3])).expect("two columns");
    let (projected, _) = drain(source.as_mut(), 10);
    let expected: Vec<String> =
        whole[0].iter().map(|row| row.split('|').collect::<Vec<_>>()).map(|cells| format!("{}|{}", cells[15], cells[3])).collect();
    assert_eq!(projected[0], expected);
}

#[test]
fn options_are_checked() {
    let refused = |pairs: &[(&str, &str)]| {
        let mut all = vec![("connector", "datagen")];
        all.extend(pairs);
        spec(&all, &[("i", "smallint"), ("t", "varchar(4)"), ("j", "json"), ("d", "date")]).expect_err("refused")
    };
    for (name, value) in [
        ("fields.i.kind", "random walk"),
        ("fields.i.max", "70000"),
        ("fields.i.min", "40000"),
        ("fields.t.length", "5"),
        ("fields.t.min", "1"),
        ("fields.x.kind", "random"),
        ("fields.i.colour", "red"),
        ("fields.i.null_ratio", "1.5"),
        ("rate", "fast"),
        ("row", "1"),
        ("fields.d.min", "soon"),
        ("fields.i.values", "1|2"),
        ("fields.j.kind", "random"),
    ] {
        // A json column has no random values, so every case but its own gets a constant.
        let with_json = [(name, value), ("fields.j.kind", "constant"), ("fields.j.value", "{}")];
        let error = if name == "fields.j.kind" { refused(&[(name, value)]) } else { refused(&with_json) };
        assert_eq!(error.sqlstate, "22023", "{name} = {value}");
        assert!(
            error.message.contains(name) || error.message.contains(name.rsplit('.').next().expect("a part")),
            "{name}: {}",
            error.message
        );
        assert!(error.hint.is_some(), "{name} = {value} has no hint");
    }
    let error =
        refused(&[("fields.i.kind", "choice"), ("fields.i.values", "1|x"), ("fields.j.kind", "constant"), ("fields.j.value", "{}")]);
    assert_eq!(error.detail.as_deref(), Some("invalid input syntax for type smallint: \"x\""));
    assert_eq!(spec(&[("connector", "datagen")], &[]).expect_err("no columns").sqlstate, "22023");
    let not_null = [catalog::Column { nullable: false, ..columns(&[("i", "bigint")])[0].clone() }];
    let error = SourceSpec::from_options(&options(&[("connector", "datagen"), ("fields.i.null_ratio", "0.1")]), &not_null, None)
        .expect_err("not null");
    assert_eq!(error.sqlstate, "22023");
}
