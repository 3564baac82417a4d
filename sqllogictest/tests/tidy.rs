//! House rules as a test: what `docs/architecture.md` says is absent somewhere is looked for there.
//!
//! A rule is text that may not occur in some files; each exception names its file and its reason. Comments are not code, so
//! they may name anything. What the compiler or clippy can refuse is left to them.

use std::fs;
use std::path::{Path, PathBuf};

/// Text that may not occur in the code of some files.
struct Rule {
    /// What is promised, as the failure prints it.
    promise: &'static str,
    /// The files it holds for, by their path from the workspace's root.
    holds_for: fn(&str) -> bool,
    /// What may not occur there.
    forbidden: &'static [&'static str],
    /// Files (or folders, with a slash at the end) that may, and why.
    except: &'static [(&'static str, &'static str)],
}

/// A Rust file of the workspace.
struct Source {
    path: String,
    text: String,
}

const N_LINES_MAX: usize = 700;

/// Files that may be longer, and why.
const LONG_FILES: &[(&str, &str)] = &[];

// The forbidden words are put together here, so that this file does not break its own rules.
const RULES: &[Rule] = &[
    Rule {
        promise: "catalog knows names and definitions: no DataFusion, no timely, no sockets",
        holds_for: |path| path.starts_with("catalog/"),
        forbidden: &["datafusion::", "timely::", "tokio::net", "std::net", "pgwire::", "axum::"],
        except: &[],
    },
    Rule {
        promise: "engine has no sockets: only server/ listens",
        holds_for: |path| path.starts_with("engine/"),
        forbidden: &["tokio::net", "std::net", "TcpListener", "UdpSocket", "UnixListener", "pgwire::", "axum::"],
        except: &[],
    },
    Rule {
        promise: "only server/ listens",
        holds_for: |path| !path.starts_with("server/"),
        forbidden: &[concat!("Tcp", "Listener"), concat!("Unix", "Listener"), concat!("axum::", "serve")],
        except: &[("sqllogictest/tests/tidy.rs", "names what it forbids")],
    },
    Rule {
        promise: "only worker.rs, render.rs, update.rs and operators/ name timely: its API moves",
        holds_for: |path| path.starts_with("engine/src/") || path.starts_with("server/") || path.starts_with("bench/"),
        forbidden: &["timely::"],
        except: &[
            ("engine/src/worker.rs", "runs timely's workers"),
            ("engine/src/worker/", "runs timely's workers"),
            ("engine/src/render.rs", "turns a plan into a timely dataflow"),
            ("engine/src/render/", "turns a plan into a timely dataflow"),
            ("engine/src/update.rs", "the change batch is timely's container"),
            ("engine/src/operators/", "the driver of kernels is a timely operator"),
        ],
    },
    Rule {
        promise: "state/ knows no SQL and no timely: batches in, batches out",
        holds_for: |path| path.starts_with("engine/src/state/"),
        forbidden: &["timely::", "datafusion::sql", "sqlparser", "LogicalPlan", "crate::plan", "logical_expr"],
        except: &[],
    },
    Rule {
        promise: "only plan/ sees logical plans and the SQL AST",
        holds_for: |path| path.starts_with("engine/src/") || path.starts_with("server/src/"),
        forbidden: &["LogicalPlan", "sqlparser"],
        except: &[
            ("engine/src/plan/", "its home"),
            ("engine/src/engine.rs", "carries a parsed query from session to planner, never looks into it"),
            ("engine/src/engine/", "as engine.rs"),
        ],
    },
    Rule {
        promise: "operators see physical expressions, accumulators and arrays",
        holds_for: |path| path.starts_with("engine/src/operators/"),
        forbidden: &["LogicalPlan", "sqlparser", "SessionContext", "datafusion::sql"],
        except: &[("engine/src/operators/aggregate/tests/", "compares with DataFusion's own answer")],
    },
    Rule {
        promise: "our time comes from clock.rs: one seed replays one run",
        holds_for: |path| path.starts_with("engine/src/") || path.starts_with("catalog/src/"),
        forbidden: &["SystemTime::now", "Instant::now", "Utc::now", "Local::now"],
        except: &[
            ("engine/src/clock.rs", "its home"),
            ("engine/src/operators/aggregate/tests/speed.rs", "measures how long the machine takes"),
        ],
    },
    Rule {
        promise: "nothing unfinished and nothing left over from debugging",
        holds_for: |_| true,
        forbidden: &[concat!("todo", "!("), concat!("dbg", "!("), concat!("unimplemented", "!("), concat!("#[", "ignore")],
        except: &[],
    },
    Rule { promise: "no thread sleeps: wait for the event", holds_for: |_| true, forbidden: &[concat!("thread::", "sleep")], except: &[] },
    Rule {
        promise: "no test sleeps: wait for the event",
        holds_for: |path| path.contains("/tests/") || path.ends_with("/tests.rs"),
        forbidden: &[concat!("time::", "sleep"), concat!("sleep", "(Duration")],
        except: &[],
    },
];

#[test]
fn the_rules_are_kept() {
    let broken: Vec<String> = sources().iter().flat_map(|source| RULES.iter().flat_map(|rule| rule.broken_by(source))).collect();
    assert!(broken.is_empty(), "{} broken:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn exceptions_are_still_needed() {
    let sources = sources();
    let stale: Vec<String> = LONG_FILES
        .iter()
        .filter(|(file, _)| !sources.iter().any(|source| source.path == *file && source.text.lines().count() > N_LINES_MAX))
        .map(|(file, _)| format!("{file} is no longer long (or no longer there): take it from LONG_FILES"))
        .collect();
    assert!(stale.is_empty(), "{}", stale.join("\n"));
}

#[test]
fn a_file_begins_with_its_idea() {
    let silent: Vec<String> = sources().into_iter().filter(|source| !source.text.starts_with("//! ")).map(|source| source.path).collect();
    assert!(silent.is_empty(), "these files do not open with `//! what it is, what is guaranteed`:\n{}", silent.join("\n"));
}

#[test]
fn a_file_holds_one_idea() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|source| !LONG_FILES.iter().any(|(file, _)| source.path == *file))
        .filter(|source| source.text.lines().count() > N_LINES_MAX)
        .map(|source| format!("{}: {} lines", source.path, source.text.lines().count()))
        .collect();
    assert!(long.is_empty(), "longer than {N_LINES_MAX} lines, so surely more than one idea:\n{}", long.join("\n"));
}

#[test]
fn crates_depend_from_right_to_left() {
    // Each crate and the siblings it may name in its manifest.
    let arrows: [(&str, &[&str]); 5] = [
        ("catalog", &[]),
        ("engine", &["catalog"]),
        ("server", &["catalog", "engine"]),
        // The public crate of the runner is also named sqllogictest.
        ("sqllogictest", &["catalog", "engine", "server", "sqllogictest"]),
        ("bench", &["catalog", "engine", "server"]),
    ];
    for (name, allowed) in arrows {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).expect("each crate has a manifest");
        let own = manifest.lines().skip_while(|line| !line.contains("dependencies]"));
        let siblings =
            own.filter_map(|line| line.split(['.', ' ', '=']).next()).filter(|word| arrows.iter().any(|(sibling, _)| sibling == word));
        let wrong: Vec<&str> = siblings.filter(|sibling| !allowed.contains(sibling)).collect();
        assert!(wrong.is_empty(), "{name} may depend on {allowed:?} only, but names {wrong:?}");
    }
}

#[test]
fn nothing_of_one_machine_is_in_the_tree() {
    // Paths of a developer's machine, and registries other than the public one.
    let private = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/wo", "rk/")];
    let mut found = Vec::new();
    for path in text_files(&root()) {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let shown = shown(&path);
        for (number, line) in text.lines().enumerate() {
            let other_source = line.starts_with("source = ") && !line.contains("registry+https://github.com/rust-lang/crates.io-index");
            let other_registry = line.starts_with("[source.") || line.starts_with("[registries");
            if other_source || other_registry || private.iter().any(|word| line.contains(word)) {
                found.push(format!("{shown}:{}: {line}", number + 1));
            }
        }
    }
    assert!(found.is_empty(), "these lines hold on one machine only:\n{}", found.join("\n"));
}

/// What holds for Rust holds for the scripts of clients in other languages.
#[test]
fn scripts_of_clients_open_with_their_idea_and_do_not_sleep() {
    let mut n_scripts = 0;
    for path in text_files(&root().join("server/tests/clients")) {
        let opening = match path.extension().and_then(|extension| extension.to_str()) {
            Some("py") => "\"\"\"",
            Some("js" | "java") => "// ",
            _ => continue,
        };
        n_scripts += 1;
        let (text, shown) = (fs::read_to_string(&path).expect("scripts are text"), shown(&path));
        assert!(text.starts_with(opening), "{shown} does not open with its idea");
        let sleeping = [concat!("sle", "ep("), concat!("setTime", "out("), concat!("setInt", "erval("), concat!("pg_sle", "ep")];
        let found: Vec<&str> = text.lines().filter(|line| sleeping.iter().any(|word| line.contains(word))).collect();
        assert!(found.is_empty(), "{shown} sleeps: {found:?}");
    }
    assert!(n_scripts >= 5, "the scripts were not found");
}

#[test]
fn a_broken_rule_is_found() {
    let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
    let n_broken = |source: &Source| RULES.iter().flat_map(|rule| rule.broken_by(source)).count();
    assert_eq!(n_broken(&source("catalog/src/log.rs", "use datafusion::prelude::*;")), 1);
    assert_eq!(n_broken(&source("engine/src/log/mod.rs", "let a = 1; // timely::dataflow would be wrong here")), 0);
    assert_eq!(n_broken(&source("engine/src/log/mod.rs", "use timely::dataflow::Scope;\nlet now = Instant::now();")), 2);
    assert_eq!(n_broken(&source("engine/src/operators/driver.rs", "use timely::dataflow::Scope;")), 0);
    assert_eq!(n_broken(&source("engine/tests/log.rs", concat!("std::thread::", "sleep(second);"))), 1);
}

impl Rule {
    /// The places at which `source` breaks this rule, as `file:line`.
    fn broken_by(&self, source: &Source) -> Vec<String> {
        let excepted = |(file, _): &(&str, &str)| source.path == *file || (file.ends_with('/') && source.path.starts_with(file));
        if !(self.holds_for)(&source.path) || self.except.iter().any(excepted) {
            return Vec::new();
        }
        let code = source.text.lines().enumerate().map(|(index, line)| (index + 1, without_comment(line)));
        code.filter_map(|(number, line)| {
            let word = self.forbidden.iter().find(|word| line.contains(**word))?;
            Some(format!("{}:{number}: `{word}`: {}", source.path, self.promise))
        })
        .collect()
    }
}

/// The line up to `//`, unless that is inside an address such as `file://`.
fn without_comment(line: &str) -> &str {
    let mut from = 0;
    while let Some(found) = line[from..].find("//") {
        let at = from + found;
        if !line[..at].ends_with(':') {
            return &line[..at];
        }
        from = at + 2;
    }
    line
}

/// Every Rust file of the workspace.
fn sources() -> Vec<Source> {
    let rust = text_files(&root()).into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let mut sources: Vec<Source> =
        rust.map(|path| Source { path: shown(&path), text: fs::read_to_string(&path).expect("Rust files are text") }).collect();
    assert!(sources.len() > 10, "the workspace was not found from {}", root().display());
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

/// Every file below `folder` that people write: build output and data left aside.
fn text_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the workspace can be read") {
        let path = entry.expect("the workspace can be read").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let skipped = ["target", ".git", "thalweg-data", "__pycache__"].contains(&name);
        if path.is_dir() && !skipped {
            found.extend(text_files(&path));
        } else if path.is_file() && !skipped {
            found.push(path);
        }
    }
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the workspace").to_owned()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().into_owned()
}
