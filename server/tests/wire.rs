//! Statements over the Postgres protocol: answers, tags, transactions, errors, cancel, time-outs, COPY, SUBSCRIBE.

use std::time::Duration;

use crate::common::{PATIENCE, RawClient, TestServer, error_field, failing, letters, simple, status, tags};
use futures::SinkExt;

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_empty_queries() {
    let server = TestServer::start().await;
    let client = server.connect().await;
    assert_eq!(simple(&client, "SELECT 1, 'a', NULL").await, ["1|a|NULL", "-- 1"]);
    assert_eq!(simple(&client, "SELECT 1; SELECT 2").await, ["1", "-- 1", "2", "-- 1"]);
    let mut raw = server.session().await;
    for empty in ["", ";", " ;; ", "-- only a comment"] {
        raw.query(empty).await;
        assert_eq!(letters(&raw.until('Z').await), "IZ", "{empty:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings() {
    let server = TestServer::start().await;
    let client = server.connect().await;
    assert_eq!(simple(&client, "SET application_name = 'me'; SHOW application_name").await, ["-- 0", "me", "-- 0"]);
    assert_eq!(simple(&client, "SHOW server_version_num").await[0], "150000");
    assert_eq!(failing(&client, "SET no_such_setting = 1").await.0, "42704");
    assert_eq!(failing(&client, "SHOW no_such_setting").await.0, "42704");
    let mut raw = server.session().await;
    raw.query("SET application_name = 'other'").await;
    let messages = raw.until('Z').await;
    assert_eq!(letters(&messages), "CSZ");
    assert_eq!(messages[1].1, b"application_name\0other\0");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_before_an_error_are_kept() {
    let server = TestServer::start().await;
    let mut raw = server.session().await;
    raw.query("SELECT 1; SELECT * FROM nowhere; SELECT 2").await;
    let messages = raw.until('Z').await;
    assert_eq!(letters(&messages), "TDCEZ");
    assert_eq!(error_field(&messages[3].1, b'C').as_deref(), Some("42P01"));
    assert_eq!(status(&messages), 'I');
}

#[tokio::test(flavor = "multi_thread")]
async fn syntax_errors_point_at_their_place() {
    let server = TestServer::start().await;
    let mut raw = server.session().await;
    raw.query("SELECT 1; SELEC 2").await;
    let messages = raw.until('Z').await;
    assert_eq!(letters(&messages), "EZ");
    assert_eq!(error_field(&messages[0].1, b'C').as_deref(), Some("42601"));
    assert_eq!(error_field(&messages[0].1, b'P').as_deref(), Some("11"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_tell_what_happened() {
    let server = TestServer::start().await;
    let mut raw = server.session().await;
    for (sql, tag) in [
        ("CREATE TABLE t (id bigint PRIMARY KEY, v text)", "CREATE TABLE"),
        ("INSERT INTO t VALUES (1, 'a'), (2, 'b')", "INSERT 0 2"),
        ("UPDATE t SET v = 'c' WHERE id = 1", "UPDATE 1"),
        ("DELETE FROM t WHERE id = 9", "DELETE 0"),
        ("SELECT * FROM t", "SELECT 2"),
        ("INSERT INTO t VALUES (3, 'x') RETURNING id", "INSERT 0 1"),
        ("BEGIN", "BEGIN"),
        ("COMMIT", "COMMIT"),
        ("SET statement_timeout = 0", "SET"),
        ("SHOW statement_timeout", "SHOW"),
        ("DROP TABLE t", "DROP TABLE"),
    ] {
        raw.query(sql).await;
        let messages = raw.until('Z').await;
        assert_eq!(tags(&messages), [tag], "{sql}: {messages:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transaction_blocks() {
    let server = TestServer::start().await;
    let mut raw = server.session().await;
    let other = server.connect().await;
    let mut run = async |sql: &str| {
        raw.query(sql).await;
        let messages = raw.until('Z').await;
        let error = messages.iter().find(|(letter, _)| *letter == 'E').and_then(|(_, body)| error_field(body, b'C'));
        (status(&messages), error.unwrap_or_else(|| tags(&messages).join(",")))
    };
    let is = |status: char, answer: &str| (status, answer.to_owned());
    assert_eq!(run("CREATE TABLE t (a bigint)").await, is('I', "CREATE TABLE"));
    assert_eq!(run("BEGIN").await, is('T', "BEGIN"));
    assert_eq!(run("INSERT INTO t VALUES (1)").await, is('T', "INSERT 0 1"));
    assert_eq!(simple(&other, "SELECT count(*) FROM t").await[0], "0");
    assert_eq!(run("CREATE TABLE u (a bigint)").await, is('E', "0A000"));
    assert_eq!(run("SELECT 1").await, is('E', "25P02"));
    assert_eq!(run("COMMIT").await, is('I', "ROLLBACK"));
    assert_eq!(simple(&other, "SELECT count(*) FROM t").await[0], "0");
    assert_eq!(run("BEGIN; INSERT INTO t VALUES (2)").await, is('T', "BEGIN,INSERT 0 1"));
    assert_eq!(run("COMMIT").await, is('I', "COMMIT"));
    assert_eq!(simple(&other, "SELECT a FROM t").await[0], "2");
    assert_eq!(run("ROLLBACK").await, is('I', "ROLLBACK"));
    assert_eq!(run("BEGIN READ ONLY").await, is('T', "BEGIN"));
    assert_eq!(run("INSERT INTO t VALUES (3)").await, is('E', "25006"));
    assert_eq!(run("ROLLBACK").await, is('I', "ROLLBACK"));
    // The statements of one message are atomic.
    assert_eq!(run("INSERT INTO t VALUES (4); SELECT * FROM nowhere").await, is('I', "42P01"));
    assert_eq!(simple(&other, "SELECT a FROM t").await, ["2", "-- 1"]);
    assert_eq!(run("INSERT INTO t VALUES (5); INSERT INTO t VALUES (6)").await, is('I', "INSERT 0 1,INSERT 0 1"));
    assert_eq!(simple(&other, "SELECT a FROM t ORDER BY a").await, ["2", "5", "6", "-- 3"]);
}

/// Large enough that it is still running when it is stopped, and never large in memory.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 1000000) a (x), generate_series(1, 1000000) b (x) WHERE a.x + b.x = 1";

#[tokio::test(flavor = "multi_thread")]
async fn cancel_stops_the_running_query() {
    let server = TestServer::start().await;
    let client = server.connect().await;
    let cancel = client.cancel_token();
    let running = tokio::spawn(async move { failing(&client, ENDLESS).await });
    cancel_until_finished(&cancel, running).await;
}

/// A request may come before the query began, which is no error and has no effect: asks until it has.
async fn cancel_until_finished(cancel: &tokio_postgres::CancelToken, mut running: tokio::task::JoinHandle<(String, String)>) {
    let failed = loop {
        cancel.cancel_query(tokio_postgres::NoTls).await.expect("the server takes the request");
        if let Ok(failed) = tokio::time::timeout(Duration::from_millis(50), &mut running).await {
            break failed;
        }
    };
    assert_eq!(failed.expect("no panic").0, "57014");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_takes_too_long() {
    let server = TestServer::start().await;
    let client = server.connect().await;
    simple(&client, "SET statement_timeout = '50ms'").await;
    let (sqlstate, message) = failing(&client, ENDLESS).await;
    assert_eq!((sqlstate.as_str(), message.contains("timeout")), ("57014", true));
    simple(&client, "RESET statement_timeout").await;
    assert_eq!(simple(&client, "SELECT 1").await[0], "1");
}

/// The join looks for a match among millions of pairs, and finds none that it could give out.
const NO_MATCH: &str = "SELECT count(*) FROM t a, t b, t c WHERE a.a + b.a + c.a = 1";

#[tokio::test(flavor = "multi_thread")]
async fn a_join_without_matches_gives_way_and_stops() {
    let server = TestServer::start_with(|given| given.query_threads = Some(2)).await;
    let client = server.connect().await;
    simple(&client, "CREATE TABLE t (a int)").await;
    simple(&client, "INSERT INTO t SELECT * FROM generate_series(1, 3000)").await;
    // As many as there are threads, and others go on beside them.
    let mut running = Vec::new();
    for _ in 0..2 {
        let busy = server.connect().await;
        let cancel = busy.cancel_token();
        running.push((cancel, tokio::spawn(async move { failing(&busy, NO_MATCH).await })));
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(2);
    while tokio::time::Instant::now() < deadline {
        assert_eq!(simple(&client, "SELECT count(*) FROM t").await[0], "3000");
    }
    for (cancel, task) in running {
        cancel_until_finished(&cancel, task).await;
    }
    simple(&client, "SET statement_timeout = '300ms'").await;
    for _ in 0..4 {
        assert_eq!(failing(&client, NO_MATCH).await.0, "57014");
    }
    assert_eq!(simple(&client, "SELECT 1").await[0], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_in_and_out() {
    let server = TestServer::start().await;
    let client = server.connect().await;
    simple(&client, "CREATE TABLE t (a bigint, b text)").await;
    let mut raw = server.session().await;
    raw.query("COPY t FROM STDIN").await;
    assert_eq!(letters(&raw.until('G').await), "G");
    raw.message(b'd', b"1\tx\\ty\n2").await;
    raw.message(b'd', b"\t\\N\n").await;
    raw.message(b'c', b"").await;
    let messages = raw.until('Z').await;
    assert_eq!(tags(&messages), ["COPY 2"], "{messages:?}");

    raw.query("COPY t TO STDOUT").await;
    let messages = raw.until('Z').await;
    let mut data: Vec<&[u8]> = messages.iter().filter(|(letter, _)| *letter == 'd').map(|(_, body)| body.as_slice()).collect();
    // A table has no order.
    data.sort_unstable();
    assert_eq!(data.concat(), b"1\tx\\ty\n2\t\\N\n");
    assert_eq!(tags(&messages), ["COPY 2"]);

    raw.query("COPY (SELECT b, a FROM t WHERE a = 1) TO STDOUT WITH (FORMAT csv, HEADER)").await;
    let messages = raw.until('Z').await;
    let data: Vec<&[u8]> = messages.iter().filter(|(letter, _)| *letter == 'd').map(|(_, body)| body.as_slice()).collect();
    assert_eq!(data.concat(), b"b,a\nx\ty,1\n");

    // The client gives up: nothing is taken in, and the session goes on.
    raw.query("COPY t FROM STDIN").await;
    raw.until('G').await;
    raw.message(b'd', b"3\tz\n").await;
    raw.message(b'f', b"changed my mind\0").await;
    let messages = raw.until('Z').await;
    assert_eq!(error_field(&messages[0].1, b'C').as_deref(), Some("57014"));
    assert_eq!(simple(&client, "SELECT count(*) FROM t").await[0], "2");

    // A row that cannot be decoded fails a table's COPY; what the client still sends is skipped.
    raw.query("COPY t FROM STDIN").await;
    raw.until('G').await;
    raw.message(b'd', b"no number\tz\n").await;
    raw.message(b'c', b"").await;
    let messages = raw.until('Z').await;
    assert_eq!(letters(&messages), "EZ", "{messages:?}");
    assert_eq!(simple(&client, "SELECT count(*) FROM t").await[0], "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_through_a_driver() {
    let server = TestServer::start().await;
    let client = server.connect().await;
    simple(&client, "CREATE TABLE t (a bigint)").await;
    let sink = client.copy_in::<_, bytes::Bytes>("COPY t FROM STDIN").await.expect("COPY begins");
    let mut sink = std::pin::pin!(sink);
    for row in 0..1000 {
        sink.send(bytes::Bytes::from(format!("{row}\n"))).await.expect("the server reads");
    }
    assert_eq!(sink.finish().await.expect("COPY ends"), 1000);
    assert_eq!(simple(&client, "SELECT count(*), sum(a) FROM t").await[0], "1000|499500");
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_see_changes_as_they_happen() {
    let server = TestServer::start().await;
    let client = server.connect().await;
    simple(&client, "CREATE TABLE t (a bigint)").await;
    simple(&client, "INSERT INTO t VALUES (1)").await;
    let mut raw = server.session().await;
    raw.query("COPY (SUBSCRIBE t) TO STDOUT").await;
    assert_eq!(next_change(&mut raw).await.1, "1\t1\n");
    simple(&client, "INSERT INTO t VALUES (2)").await;
    assert_eq!(next_change(&mut raw).await.1, "1\t2\n");
    simple(&client, "DELETE FROM t WHERE a = 1").await;
    assert_eq!(next_change(&mut raw).await.1, "-1\t1\n");
}

/// The next line of a SUBSCRIBE: its epoch and the rest.
async fn next_change(raw: &mut RawClient) -> (i64, String) {
    let messages = raw.until('d').await;
    let line = String::from_utf8(messages.last().expect("a line").1.clone()).expect("UTF-8");
    let (epoch, rest) = line.split_once('\t').expect("epoch first");
    (epoch.parse().expect("a number"), rest.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_epoch_is_known_to_be_complete_though_nothing_follows() {
    let server = TestServer::start().await;
    let client = server.connect().await;
    simple(&client, "CREATE TABLE t (a bigint)").await;
    simple(&client, "CREATE TABLE other (a bigint)").await;
    simple(&client, "INSERT INTO t VALUES (1)").await;
    for (subscribe, snapshot) in [
        ("SUBSCRIBE t WITH (PROGRESS)", vec!["1\t1\n"]),
        ("SUBSCRIBE (SELECT a FROM t WHERE a < 10) WITH (PROGRESS)", vec!["1\t1\n"]),
        ("SUBSCRIBE (SELECT a FROM t WHERE a > 10) WITH (PROGRESS)", vec![]),
        ("SUBSCRIBE t WITH (PROGRESS, SNAPSHOT false)", vec![]),
    ] {
        let mut raw = server.session().await;
        raw.query(&format!("COPY ({subscribe}) TO STDOUT")).await;
        let mut rows = Vec::new();
        let at_first = loop {
            match next_change(&mut raw).await {
                (epoch, rest) if rest == "\\N\t\\N\n" => break epoch,
                (_, row) => rows.push(row),
            }
        };
        assert_eq!(rows, snapshot, "{subscribe}");
        simple(&client, "INSERT INTO t VALUES (2)").await;
        if !subscribe.contains("> 10") {
            assert_eq!(next_change(&mut raw).await, (at_first + 1, "1\t2\n".into()), "{subscribe}");
        }
        assert_eq!(next_change(&mut raw).await, (at_first + 1, "\\N\t\\N\n".into()), "{subscribe}");
        simple(&client, "INSERT INTO other VALUES (1)").await;
        assert_eq!(next_change(&mut raw).await, (at_first + 2, "\\N\t\\N\n".into()), "{subscribe}");
        simple(&client, "DELETE FROM t WHERE a = 2").await;
        if !subscribe.contains("> 10") {
            assert_eq!(next_change(&mut raw).await, (at_first + 3, "-1\t2\n".into()), "{subscribe}");
        }
        assert_eq!(next_change(&mut raw).await, (at_first + 3, "\\N\t\\N\n".into()), "{subscribe}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_sessions_go_on_beside_a_long_query() {
    let server = TestServer::start_with(|given| given.query_threads = Some(2)).await;
    let busy = server.connect().await;
    let cancel = busy.cancel_token();
    let running = tokio::spawn(async move { failing(&busy, ENDLESS).await });
    let client = server.connect().await;
    for _ in 0..20 {
        assert_eq!(simple(&client, "SELECT 1").await[0], "1");
    }
    cancel_until_finished(&cancel, running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_frees_its_connection() {
    let server = TestServer::start_with(|given| given.max_connections = Some(1)).await;
    let mut raw = server.session().await;
    raw.query(ENDLESS).await;
    drop(raw);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let mut next = server.raw().await;
        next.startup(&[("user", "thalweg")]).await;
        if next.receive().await.is_some_and(|(letter, _)| letter == 'R') {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "the connection of a client that left is still taken");
        tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await.expect_err("nothing to wait for");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_session_stops_another() {
    let server = TestServer::start().await;
    let other = server.connect().await;
    let process_id = async |client: &mut RawClient| {
        let rows = client.run("SELECT pg_backend_pid()").await;
        let row = rows.iter().find(|(kind, _)| *kind == 'D').expect("a row").1.clone();
        String::from_utf8_lossy(&row[6..]).into_owned()
    };
    let mut busy = server.session().await;
    let busy_id = process_id(&mut busy).await;
    busy.query("SELECT count(*) FROM generate_series(1, 1000000) AS a(x), generate_series(1, 1000000) AS b(y) WHERE x * 3 + y = -1").await;
    // It may not have begun when it is first asked: a request that comes before is forgotten.
    let answer = loop {
        assert_eq!(simple(&other, &format!("SELECT pg_cancel_backend({busy_id})")).await, ["t", "-- 1"]);
        if let Ok(answer) = tokio::time::timeout(Duration::from_millis(100), busy.until('E')).await {
            break answer;
        }
    };
    assert!(String::from_utf8_lossy(&answer.last().expect("an error").1).contains("C57014"));
    busy.until('Z').await;
    // One that is idle ends as well.
    assert_eq!(simple(&other, &format!("SELECT pg_terminate_backend({busy_id})")).await, ["t", "-- 1"]);
    let (kind, error) = busy.receive().await.expect("the last words");
    assert!(kind == 'E' && String::from_utf8_lossy(&error).contains("C57P01"), "{kind}");
    assert!(busy.receive().await.is_none(), "the connection is closed");
    assert_eq!(simple(&other, "SELECT pg_terminate_backend(1)").await, ["f", "-- 1"]);
}
