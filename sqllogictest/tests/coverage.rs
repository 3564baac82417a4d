//! The table in `docs/testing.md` is what the corpus says of itself. `THALWEG_UPDATE=1` writes it.

use std::path::Path;

use thalweg_sqllogictest::coverage::{corpus_folder, markdown, read, scripts};

const BEGIN: &str = "<!-- coverage: written by `THALWEG_UPDATE=1 ./x test the_coverage_table_is_current` -->\n";
const END: &str = "<!-- /coverage -->";

#[test]
fn the_coverage_table_is_current() {
    let coverage = read(&scripts(&corpus_folder())).expect("each script makes the changes it says it covers");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/testing.md");
    let document = std::fs::read_to_string(&path).expect("docs/testing.md is there");
    let (before, rest) = document.split_once(BEGIN).expect("the document has the mark before the table");
    let (_, after) = rest.split_once(END).expect("the document has the mark behind the table");
    let current = format!("{before}{BEGIN}{}{END}{after}", markdown(&coverage));
    if std::env::var_os("THALWEG_UPDATE").is_some() {
        std::fs::write(&path, &current).expect("docs/testing.md can be written");
    }
    assert!(
        document == current || std::env::var_os("THALWEG_UPDATE").is_some(),
        "docs/testing.md is stale: run this test with THALWEG_UPDATE=1"
    );
}

#[test]
fn there_are_sixty_scripts_or_more() {
    let n_scripts = scripts(&corpus_folder()).len();
    assert!(n_scripts >= 60, "{n_scripts} scripts");
}

#[test]
fn every_construct_is_covered_under_each_change() {
    // Streams only grow, and a construct that only they have is covered by insertion alone.
    let grows_only = |construct: &str| {
        ["stream/", "table/copy", "table/insert-select", "table/on-conflict", "window/join", "error-rows/cast", "join/key-types"]
            .iter()
            .any(|prefix| construct.starts_with(prefix))
    };
    let coverage = read(&scripts(&corpus_folder())).expect("each script makes the changes it says it covers");
    let missing = coverage.iter().filter(|(construct, columns)| !grows_only(construct) && columns.iter().any(Vec::is_empty));
    let missing: Vec<&String> = missing.map(|(construct, _)| construct).collect();
    assert!(missing.is_empty(), "not covered under insert, retract and update: {missing:?}");
}
