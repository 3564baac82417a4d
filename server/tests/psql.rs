//! psql as users run it: rows, errors with their caret, `\copy`, exit codes.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::common::{self, TestServer};

/// Runs psql with these arguments and this input, away from the server's threads.
async fn psql(server: &TestServer, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new("psql");
    command.args(["-X", "-h", &server.pg.ip().to_string(), "-p", &server.pg.port().to_string(), "-U", "thalweg", "-v", "ON_ERROR_STOP=1"]);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let input = input.to_owned();
    let run = move || {
        let mut child = command.spawn().expect("psql is installed");
        child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("psql reads");
        child.wait_with_output().expect("psql ends")
    };
    tokio::time::timeout(common::PATIENCE, tokio::task::spawn_blocking(run)).await.expect("psql ends in time").expect("no panic")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn select_1() {
    let server = TestServer::start().await;
    let output = psql(&server, &["-c", "SELECT 1 AS one, NULL AS nothing"], "").await;
    assert_eq!(text(&output.stdout), " one | nothing \n-----+---------\n   1 | \n(1 row)\n\n", "{}", text(&output.stderr));
    assert!(output.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_knows_about_itself() {
    let server = TestServer::start().await;
    let sql = "SELECT current_user, current_database(), current_schema(), version() LIKE 'PostgreSQL 15%', pg_backend_pid() > 0";
    let output = psql(&server, &["-At", "-c", sql], "").await;
    assert_eq!(text(&output.stdout), "thalweg|thalweg|public|t|t\n", "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_has_its_caret() {
    let server = TestServer::start().await;
    let output = psql(&server, &["-c", "SELECT 1; SELECT 2 +"], "").await;
    let errors = text(&output.stderr);
    assert!(errors.contains("ERROR:") && errors.contains("LINE 1: SELECT 1; SELECT 2 +") && errors.contains('^'), "{errors}");
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_verified() {
    let server = TestServer::start().await;
    let script = "CREATE TABLE t (a int); INSERT INTO t SELECT n FROM generate_series(1, 100) AS g (n);
        CREATE MATERIALIZED VIEW v AS SELECT a % 10 AS k, count(*) AS n FROM t GROUP BY 1;
        VERIFY MATERIALIZED VIEW v;";
    let output = psql(&server, &["-q"], script).await;
    assert_eq!(text(&output.stdout), " epoch | diff | k | n \n-------+------+---+---\n(0 rows)\n\n");
    let notice = text(&output.stderr);
    assert!(notice.starts_with("NOTICE:  \"v\" equals its query at epoch ") && notice.contains(": 20 rows compared in "), "{notice}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_is_told_of_rows_that_a_view_lacks() {
    let server = TestServer::start().await;
    let script = "CREATE TABLE t (id int PRIMARY KEY, d int); INSERT INTO t VALUES (1, 5), (2, 0), (3, 0);
        CREATE MATERIALIZED VIEW v AS SELECT id, 10 / d AS q FROM t;
        CREATE MATERIALIZED VIEW above AS SELECT count(*) AS n FROM v;
        SELECT q FROM v; SELECT n FROM above; SELECT count(*) FROM \"v$errors\";";
    let output = psql(&server, &["-q", "-At"], script).await;
    assert_eq!(text(&output.stdout), "2\n1\n2\n", "{}", text(&output.stderr));
    let warning =
        "WARNING:  materialized view \"v\" lacks 2 rows for which an expression failed\nHINT:  SELECT * FROM \"v$errors\" shows them.\n";
    assert_eq!(text(&output.stderr), warning.repeat(2));

    let strict = "SET error_mode = strict; DELETE FROM t WHERE id = 3;\n\\set VERBOSITY verbose\nSELECT n FROM above;";
    let output = psql(&server, &["-q", "-At"], strict).await;
    let error = text(&output.stderr);
    assert!(error.contains("ERROR:  22000: materialized view \"v\" lacks 1 row for which an expression failed"), "{error}");
    let repaired = "SET error_mode = strict; UPDATE t SET d = 1 WHERE id = 2; SELECT n FROM above;";
    let output = psql(&server, &["-q", "-At"], repaired).await;
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("2\n".into(), String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_both_ways() {
    let server = TestServer::start().await;
    let script = "CREATE TABLE t (a bigint, b text);\n\\copy t from stdin with (format csv)\n1,x\n2,\"y,z\"\n3,\n\\.\n\\copy (select * from t order by a) to stdout with (format csv, header)\n";
    let output = psql(&server, &["-q"], script).await;
    assert_eq!(text(&output.stdout), "a,b\n1,x\n2,\"y,z\"\n3,\n", "{}", text(&output.stderr));
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_with_transactions() {
    let server = TestServer::start().await;
    let script = "CREATE TABLE t (a bigint);\nBEGIN;\nINSERT INTO t VALUES (1);\nSELECT a FROM t;\nROLLBACK;\nSELECT count(*) FROM t;\n";
    let output = psql(&server, &["-At"], script).await;
    assert_eq!(text(&output.stdout), "CREATE TABLE\nBEGIN\nINSERT 0 1\n1\nROLLBACK\n0\n", "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_to_and_from_files() {
    let server = TestServer::start().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    std::fs::write(path("in.csv"), "id,v\n1,\"a,b\"\n2,\n").expect("it can be written");
    let script = format!(
        "CREATE TABLE t (id bigint, v text);\n\\copy t from '{}' with (format csv, header)\n\\copy t (v, id) to '{}'\n",
        path("in.csv"),
        path("out.txt")
    );
    let output = psql(&server, &[], &script).await;
    assert_eq!(text(&output.stdout), "CREATE TABLE\nCOPY 2\nCOPY 2\n", "{}", text(&output.stderr));
    let mut lines: Vec<String> = std::fs::read_to_string(path("out.txt")).expect("psql wrote it").lines().map(str::to_owned).collect();
    // A table has no order.
    lines.sort();
    assert_eq!(lines, ["\\N\t2", "a,b\t1"]);
}
