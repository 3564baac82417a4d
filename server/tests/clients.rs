//! Drivers as their users run them: a script in each driver's own language, against a server of its own.
//!
//! `./x test` installs the drivers, in the versions pinned beside the scripts, and says in `THALWEG_CLIENTS` where. The scripts
//! find the server where libpq looks for it, in `PGHOST` and its sisters. None is ever skipped: without its driver a test fails.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::TestServer;

/// No script takes longer unless it hangs: a JVM starts, and compiles its test, on a machine that has more to do.
const PATIENCE_S: &str = "300";

/// Where Debian's package libpostgresql-jdbc-java puts the driver.
const PGJDBC: &str = "/usr/share/java/postgresql.jar";

#[tokio::test(flavor = "multi_thread")]
async fn psycopg() {
    passes(python("psycopg_test.py")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlalchemy_over_psycopg() {
    let mut script = python("sqlalchemy_test.py");
    script.env("SQLALCHEMY_DRIVER", "psycopg");
    passes(script).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlalchemy_over_psycopg2() {
    let mut script = python("sqlalchemy_test.py");
    script.env("SQLALCHEMY_DRIVER", "psycopg2");
    passes(script).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asyncpg() {
    passes(python("asyncpg_test.py")).await;
}

/// What psql does only for a person at a terminal: tab completion, `\watch`, Ctrl-C.
#[tokio::test(flavor = "multi_thread")]
async fn psql_in_a_terminal() {
    passes(python("psql_terminal_test.py")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_postgres() {
    let mut command = Command::new("node");
    command.arg(scripts().join("node_postgres_test.js")).env("NODE_PATH", installed("node/node_modules"));
    passes(command).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pgjdbc() {
    assert!(Path::new(PGJDBC).exists(), "{PGJDBC} is not there: run ./x test, which installs it");
    let mut command = Command::new("java");
    // The heap of a test, and no compiler threads for a program that is over in seconds.
    command.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", PGJDBC]).arg(scripts().join("PgjdbcTest.java"));
    passes(command).await;
}

/// `docs/clients.md` names the versions that are tested.
#[test]
fn documented_versions_are_the_tested_ones() {
    let document = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/clients.md"));
    let requirements = read(&scripts().join("requirements.txt"));
    let python = requirements.lines().filter_map(|line| line.split_once("=="));
    let package: serde_json::Value = serde_json::from_str(&read(&scripts().join("package.json"))).expect("package.json is JSON");
    let node = package["dependencies"].as_object().expect("node packages").iter();
    let node = node.map(|(name, version)| (name.as_str(), version.as_str().expect("a version")));
    let lock = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock"));
    let rust = lock.split_once("name = \"tokio-postgres\"\nversion = \"").and_then(|(_, rest)| rest.split_once('"'));
    let rust = ("tokio-postgres", rust.expect("Cargo.lock has tokio-postgres").0);
    // What a driver brings along is not a client.
    let clients =
        python.filter(|(name, _)| ["psycopg", "psycopg2-binary", "SQLAlchemy", "asyncpg"].contains(name)).chain(node).chain([rust]);
    let missing: Vec<String> =
        clients.map(|(name, version)| format!("{name} {version}")).filter(|client| !document.contains(client)).collect();
    assert!(missing.is_empty(), "docs/clients.md does not name {missing:?}");
}

/// Runs a script against a server of its own; fails with what it printed.
async fn passes(script: Command) {
    let server = TestServer::start().await;
    // timeout(1) ends with 124 when it had to end the script.
    let mut bounded = Command::new("timeout");
    bounded.args(["--kill-after=5", PATIENCE_S]).arg(script.get_program()).args(script.get_args());
    bounded.envs(script.get_envs().filter_map(|(name, value)| Some((name, value?))));
    bounded.env("PGHOST", server.pg.ip().to_string()).env("PGPORT", server.pg.port().to_string());
    bounded.env("PGUSER", "thalweg").env("PGDATABASE", "thalweg").env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null());
    let run = move || bounded.output().expect("timeout(1) is there");
    let output = tokio::task::spawn_blocking(run).await.expect("no panic");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{script:?}: {}\n{}{}", output.status, text(&output.stdout), text(&output.stderr));
}

fn python(script: &str) -> Command {
    let mut command = Command::new(installed("python/bin/python"));
    command.arg(scripts().join(script));
    command
}

/// A part of what `./x` installs for these tests.
fn installed(part: &str) -> PathBuf {
    let folder =
        std::env::var_os("THALWEG_CLIENTS").expect("THALWEG_CLIENTS is not set: run ./x test, which installs the drivers and sets it");
    let path = Path::new(&folder).join(part);
    assert!(path.exists(), "{} is not there: run ./x test, which installs it", path.display());
    path
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
