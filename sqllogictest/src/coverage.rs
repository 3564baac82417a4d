//! Which constructs the corpus covers, and under which kinds of change: the table of `docs/testing.md`.
//!
//! A file says what it covers in comments, `# covers: join/left insert retract update`, one construct a line. The words are
//! checked against the statements: a file without an UPDATE (or an upsert) does not cover updates, whatever it says.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The kinds of change, in the order of the table's columns.
pub const CHANGES: [&str; 3] = ["insert", "retract", "update"];

/// What is covered: construct → for each of [`CHANGES`] the files that do.
pub type Coverage = BTreeMap<String, [Vec<String>; 3]>;

/// Every `.slt` file below `folder`, sorted.
pub fn scripts(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the corpus can be read") {
        let path = entry.expect("the corpus can be read").path();
        if path.is_dir() {
            found.extend(scripts(&path));
        } else if path.extension().is_some_and(|extension| extension == "slt") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The corpus of this repository.
pub fn corpus_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// `joins/left` for `corpus/joins/left.slt`.
pub fn script_name(script: &Path) -> String {
    let relative = script.strip_prefix(corpus_folder()).unwrap_or(script);
    relative.with_extension("").to_string_lossy().into_owned()
}

/// Reads the directives of all scripts. The error names a file whose claim its statements do not bear out.
pub fn read(scripts: &[PathBuf]) -> Result<Coverage, String> {
    let mut coverage = Coverage::new();
    for script in scripts {
        let name = script_name(script);
        let text = std::fs::read_to_string(script).map_err(|error| format!("{name}: {error}"))?;
        for line in text.lines().filter_map(|line| line.strip_prefix("# covers: ")) {
            let mut words = line.split_whitespace();
            let construct = words.next().ok_or_else(|| format!("{name}: `# covers:` names no construct"))?;
            for change in words {
                let column = CHANGES.iter().position(|known| *known == change);
                let column = column.ok_or_else(|| format!("{name}: `{change}` is none of {CHANGES:?}"))?;
                if !makes(&text, change) {
                    return Err(format!("{name}: says that it covers {construct} under {change}, but has no such statement"));
                }
                coverage.entry(construct.to_owned()).or_default()[column].push(name.clone());
            }
        }
    }
    Ok(coverage)
}

/// Whether a script has a statement that makes this kind of change.
fn makes(text: &str, change: &str) -> bool {
    let starts = |word: &str| text.lines().any(|line| line.to_ascii_uppercase().starts_with(word));
    match change {
        "insert" => starts("INSERT") || starts("COPY"),
        "retract" => starts("DELETE"),
        _ => starts("UPDATE") || text.to_ascii_uppercase().contains("DO UPDATE"),
    }
}

/// The table in Markdown.
pub fn markdown(coverage: &Coverage) -> String {
    let mut table = String::from("| construct | insert | retract to zero | update |\n|---|---|---|---|\n");
    for (construct, columns) in coverage {
        let cells = columns.iter().map(|files| if files.is_empty() { "–".into() } else { files.join(", ") });
        writeln!(table, "| {construct} | {} |", cells.collect::<Vec<String>>().join(" | ")).expect("a String takes all that is written");
    }
    table
}
