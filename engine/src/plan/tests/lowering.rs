//! SQL → operators, as EXPLAIN shows them: `lowering.txt` has a query after each `>`, and its operators below it.
//!
//! `UPDATE_EXPECTED=1 cargo test` writes what it found; read the difference before you keep it.

use std::path::PathBuf;

use super::fixture::Fixture;

#[test]
fn queries_become_these_operators() {
    let fixture = Fixture::new();
    let expected = include_str!("lowering.txt");
    let headings = expected.lines().filter(|line| line.starts_with(['#', '>']));
    let sections = headings.map(|heading| match heading.strip_prefix("> ") {
        Some(sql) => format!("{heading}\n{}\n", fixture.operators(sql)),
        None => format!("{heading}\n"),
    });
    let found = sections.collect::<Vec<_>>().join("\n");
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/plan/tests/lowering.txt");
        std::fs::write(path, &found).expect("the expected text can be written");
        return;
    }
    let difference = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert_eq!(found, expected, "first difference: {difference:?}");
}
