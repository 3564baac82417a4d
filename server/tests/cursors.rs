//! What a session keeps between statements: cursors, prepared statements, savepoints, settings, notifications.

use crate::common::{RawClient, TestServer, error_field, letters, oids, rows, simple, sqlstates, status, tags};

/// The rows of a simple query, or the SQLSTATE it fails with, or its tag.
async fn answer(raw: &mut RawClient, sql: &str) -> Vec<String> {
    let messages = raw.run(sql).await;
    let found = [sqlstates(&messages), rows(&messages), tags(&messages)];
    found.into_iter().find(|found| !found.is_empty()).unwrap_or_default()
}

async fn with_numbers(server: &TestServer) -> RawClient {
    let mut raw = server.session().await;
    raw.run("CREATE TABLE t (a int PRIMARY KEY, b text)").await;
    raw.run("INSERT INTO t SELECT g, 'row ' || g FROM generate_series(1, 100) AS s(g)").await;
    raw
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors() {
    let server = TestServer::start().await;
    let mut raw = with_numbers(&server).await;
    assert_eq!(answer(&mut raw, "DECLARE c CURSOR FOR SELECT 1").await, ["25P01"], "only in a block");
    assert_eq!(answer(&mut raw, "BEGIN").await, ["BEGIN"]);
    assert_eq!(answer(&mut raw, "DECLARE c NO SCROLL CURSOR FOR SELECT a, b FROM t ORDER BY a").await, ["DECLARE CURSOR"]);
    assert_eq!(answer(&mut raw, "FETCH 2 FROM c").await, ["1|row 1", "2|row 2"]);
    assert_eq!(tags(&raw.run("FETCH FORWARD 3 IN c").await), ["FETCH 3"]);
    assert_eq!(answer(&mut raw, "MOVE 10 FROM c").await, ["MOVE 10"]);
    assert_eq!(answer(&mut raw, "FETCH NEXT c").await, ["16|row 16"]);
    assert_eq!(tags(&raw.run("FETCH ALL FROM c").await), ["FETCH 84"]);
    let messages = raw.run("FETCH c").await;
    assert_eq!((letters(&messages).as_str(), tags(&messages)), ("TCZ", vec!["FETCH 0".to_owned()]));
    assert_eq!(answer(&mut raw, "CLOSE c").await, ["CLOSE CURSOR"]);
    assert_eq!(answer(&mut raw, "FETCH c").await, ["34000"]);
    assert_eq!(answer(&mut raw, "ROLLBACK").await, ["ROLLBACK"]);
    // Several statements of one message are a block, too.
    assert_eq!(answer(&mut raw, "DECLARE d CURSOR FOR VALUES (1), (2); FETCH d").await, ["1"]);
    assert_eq!(answer(&mut raw, "FETCH d").await, ["34000"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_with_hold_outlives_its_transaction() {
    let server = TestServer::start().await;
    let mut raw = with_numbers(&server).await;
    assert_eq!(answer(&mut raw, "DECLARE h CURSOR WITH HOLD FOR SELECT a FROM t ORDER BY a").await, ["DECLARE CURSOR"]);
    assert_eq!(answer(&mut raw, "FETCH h").await, ["1"]);
    raw.run("DELETE FROM t").await;
    assert_eq!(answer(&mut raw, "FETCH 2 FROM h").await, ["2", "3"], "it reads at the time of its DECLARE");
    raw.run("BEGIN").await;
    raw.run("DECLARE i CURSOR WITH HOLD FOR SELECT 1").await;
    raw.run("ROLLBACK").await;
    assert_eq!(answer(&mut raw, "FETCH i").await, ["34000"], "what was rolled back is gone");
    assert_eq!(answer(&mut raw, "FETCH h").await, ["4"], "what was there before is not");
    assert_eq!(answer(&mut raw, "CLOSE ALL").await, ["CLOSE CURSOR ALL"]);
    assert_eq!(answer(&mut raw, "FETCH h").await, ["34000"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_through_the_extended_protocol() {
    let server = TestServer::start().await;
    let mut raw = with_numbers(&server).await;
    raw.run("BEGIN").await;
    raw.parse("", "DECLARE c BINARY CURSOR FOR SELECT a FROM t WHERE a > $1 ORDER BY a", &[]).await;
    raw.describe('S', "").await;
    raw.bind("", "", &[Some("41")], &[]).await;
    raw.execute("", 0).await;
    let messages = raw.sync().await;
    assert_eq!((letters(&messages).as_str(), oids(&messages, 't')), ("1tn2CZ", vec![23]));
    raw.parse("", "FETCH 2 FROM c", &[]).await;
    raw.describe('S', "").await;
    raw.bind("", "", &[], &[]).await;
    raw.execute("", 0).await;
    let messages = raw.sync().await;
    assert_eq!((letters(&messages).as_str(), rows(&messages)), ("1tT2DDCZ", vec!["42".to_owned(), "43".to_owned()]));
    // In the simple protocol a BINARY cursor's rows are binary.
    let messages = raw.run("FETCH c").await;
    assert_eq!(messages[1].1, [&[0, 1, 0, 0, 0, 4][..], &44_i32.to_be_bytes()].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_follows_changes() {
    let server = TestServer::start().await;
    let mut raw = server.session().await;
    let other = server.connect().await;
    simple(&other, "CREATE TABLE t (a int)").await;
    simple(&other, "INSERT INTO t VALUES (1), (2), (3)").await;
    raw.run("BEGIN").await;
    assert_eq!(answer(&mut raw, "DECLARE c CURSOR FOR SUBSCRIBE t").await, ["DECLARE CURSOR"]);
    let without_epoch = |rows: Vec<String>| {
        let mut rows: Vec<String> = rows.iter().map(|row| row.split_once('|').expect("an epoch").1.to_owned()).collect();
        rows.sort();
        rows
    };
    let mut snapshot = Vec::new();
    while snapshot.len() < 3 {
        snapshot.extend(rows(&raw.run("FETCH 2 c").await));
    }
    assert_eq!(without_epoch(snapshot), ["1|1", "1|2", "1|3"]);
    assert_eq!(tags(&raw.run("FETCH 5 c WITH (TIMEOUT = '0s')").await), ["FETCH 0"], "nothing has happened");
    simple(&other, "DELETE FROM t WHERE a = 2").await;
    assert_eq!(without_epoch(rows(&raw.run("FETCH ALL c").await)), ["-1|2"], "it waits for a change");
    simple(&other, "INSERT INTO t VALUES (4)").await;
    let messages = raw.run("FETCH 1 c WITH (TIMEOUT = '60s')").await;
    assert_eq!(without_epoch(rows(&messages)), ["1|4"], "it does not wait for longer than it must");
    assert_eq!(answer(&mut raw, "COMMIT").await, ["COMMIT"]);
    assert_eq!(answer(&mut raw, "FETCH c").await, ["34000"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_in_sql() {
    let server = TestServer::start().await;
    let mut raw = with_numbers(&server).await;
    assert_eq!(answer(&mut raw, "PREPARE p (int, text) AS SELECT a, $2 FROM t WHERE a < $1 ORDER BY a").await, ["PREPARE"]);
    let messages = raw.run("EXECUTE p (1 + 2, 'it''s')").await;
    assert_eq!((rows(&messages), tags(&messages)), (vec!["1|it's".to_owned(), "2|it's".to_owned()], vec!["SELECT 2".to_owned()]));
    assert_eq!(answer(&mut raw, "EXECUTE p (1)").await, ["42601"]);
    assert_eq!(answer(&mut raw, "EXECUTE p ('x', 'y')").await, ["22P02"]);
    assert_eq!(answer(&mut raw, "PREPARE p AS SELECT 1").await, ["42P05"]);
    assert_eq!(answer(&mut raw, "PREPARE i AS INSERT INTO t VALUES ($1, $2)").await, ["PREPARE"]);
    assert_eq!(answer(&mut raw, "EXECUTE i (1000, 'new')").await, ["INSERT 0 1"]);
    assert_eq!(answer(&mut raw, "BEGIN READ ONLY; EXECUTE i (1001, 'new')").await, ["25006"]);
    raw.run("ROLLBACK").await;
    // The protocol and SQL share the names.
    raw.bind("", "p", &[Some("2"), Some("z")], &[]).await;
    raw.execute("", 0).await;
    assert_eq!(rows(&raw.sync().await), ["1|z"]);
    assert_eq!(answer(&mut raw, "DEALLOCATE p").await, ["DEALLOCATE"]);
    assert_eq!(answer(&mut raw, "DEALLOCATE p").await, ["26000"]);
    assert_eq!(answer(&mut raw, "DEALLOCATE ALL").await, ["DEALLOCATE ALL"]);
    assert_eq!(answer(&mut raw, "EXECUTE i (1, 'x')").await, ["26000"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn savepoints() {
    let server = TestServer::start().await;
    let mut raw = server.session().await;
    raw.run("CREATE TABLE t (a int PRIMARY KEY); CREATE TABLE u (a int)").await;
    assert_eq!(answer(&mut raw, "SAVEPOINT s").await, ["25P01"]);
    raw.run("BEGIN; INSERT INTO t VALUES (1); SAVEPOINT s; INSERT INTO t VALUES (2); INSERT INTO u VALUES (2)").await;
    assert_eq!(answer(&mut raw, "INSERT INTO t VALUES (1)").await, ["23505"]);
    assert_eq!(answer(&mut raw, "RELEASE s").await, ["25P02"]);
    let messages = raw.run("ROLLBACK TO s").await;
    assert_eq!((tags(&messages), status(&messages)), (vec!["ROLLBACK".to_owned()], 'T'));
    assert_eq!(answer(&mut raw, "SELECT a FROM t UNION ALL SELECT a FROM u").await, ["1"]);
    // The savepoint is still there, and what was taken back can be written again.
    raw.run("INSERT INTO t VALUES (2); ROLLBACK TO SAVEPOINT s; INSERT INTO t VALUES (3)").await;
    assert_eq!(answer(&mut raw, "RELEASE SAVEPOINT s").await, ["RELEASE"]);
    assert_eq!(answer(&mut raw, "ROLLBACK TO s").await, ["3B001"]);
    assert_eq!(answer(&mut raw, "COMMIT").await, ["ROLLBACK"]);
    assert_eq!(answer(&mut raw, "SELECT count(*) FROM t").await, ["0"]);
    // Nested, of one name, with a deletion taken back; settings and cursors go back, too.
    raw.run("INSERT INTO t VALUES (1), (2)").await;
    raw.run("BEGIN; SAVEPOINT a; DELETE FROM t WHERE a = 1; SAVEPOINT a; DELETE FROM t; SET application_name = 'inside'").await;
    raw.run("DECLARE c CURSOR FOR SELECT 1").await;
    assert_eq!(answer(&mut raw, "SELECT count(*) FROM t").await, ["0"]);
    raw.run("ROLLBACK TO a").await;
    assert_eq!(answer(&mut raw, "SELECT a FROM t").await, ["2"]);
    assert_eq!(answer(&mut raw, "SHOW application_name").await, [""]);
    assert_eq!(answer(&mut raw, "FETCH c; ROLLBACK").await, ["34000"]);
    raw.run("ROLLBACK TO a; RELEASE a; ROLLBACK TO a").await;
    assert_eq!(answer(&mut raw, "SELECT count(*) FROM t").await, ["2"]);
    assert_eq!(answer(&mut raw, "COMMIT").await, ["COMMIT"]);
    assert_eq!(answer(&mut raw, "SELECT count(*) FROM t").await, ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_of_transactions() {
    let server = TestServer::start().await;
    let mut raw = server.session().await;
    raw.run("CREATE TABLE t (a int)").await;
    assert_eq!(answer(&mut raw, "SHOW transaction_isolation").await, ["repeatable read"]);
    raw.run("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY").await;
    assert_eq!(answer(&mut raw, "SHOW TRANSACTION ISOLATION LEVEL").await, ["read committed"]);
    assert_eq!(answer(&mut raw, "INSERT INTO t VALUES (1)").await, ["25006"]);
    assert_eq!(answer(&mut raw, "BEGIN READ WRITE; INSERT INTO t VALUES (1)").await, ["BEGIN", "INSERT 0 1"]);
    assert_eq!(answer(&mut raw, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await, ["25001"]);
    raw.run("ROLLBACK").await;
    raw.run("BEGIN; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY").await;
    assert_eq!(answer(&mut raw, "SHOW transaction_read_only").await, ["on"]);
    assert_eq!(answer(&mut raw, "SHOW transaction_isolation").await, ["repeatable read"]);
    assert_eq!(answer(&mut raw, "DELETE FROM t").await, ["25006"]);
    raw.run("ROLLBACK").await;
    let messages = raw.run("SET TRANSACTION READ ONLY").await;
    assert_eq!(error_field(&messages[0].1, b'C').as_deref(), Some("25P01"), "a warning outside of a block");
    assert_eq!(answer(&mut raw, "BEGIN ISOLATION LEVEL SERIALIZABLE").await, ["0A000"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_the_sessions_own() {
    let server = TestServer::start().await;
    let mut raw = server.session().await;
    let mut other = server.session().await;
    raw.run("CREATE TABLE t (at timestamptz, f double precision)").await;
    raw.run("INSERT INTO t VALUES ('2024-07-01 12:00:00+00', 0.1)").await;
    assert_eq!(letters(&raw.run("SET TIME ZONE 'Asia/Kolkata'").await), "CSZ", "the client is told");
    raw.run("SET extra_float_digits = 0").await;
    assert_eq!(answer(&mut raw, "SELECT at, f + 0.2::float8 FROM t").await, ["2024-07-01 17:30:00+05:30|0.3"]);
    assert_eq!(answer(&mut other, "SELECT at, f + 0.2::float8 FROM t").await, ["2024-07-01 12:00:00+00|0.30000000000000004"]);
    assert_eq!(answer(&mut other, "SHOW timezone").await, ["Etc/UTC"]);
    assert_eq!(answer(&mut raw, "SELECT current_setting('TimeZone'), current_setting('no.such', true)").await, ["Asia/Kolkata|NULL"]);
    assert_eq!(answer(&mut raw, "SELECT current_setting('no_such')").await, ["42704"]);
    assert_eq!(letters(&raw.run("SELECT set_config('application_name', 'by function', false)").await), "TDCSZ");
    assert_eq!(answer(&mut raw, "SHOW application_name").await, ["by function"]);
    assert_eq!(answer(&mut raw, "BEGIN; SELECT set_config('my.own', 'x', true); SHOW my.own; COMMIT").await, ["x", "x"]);
    assert_eq!(answer(&mut raw, "SHOW my.own").await, ["42704"]);
    for (offset, shown) in [("'+00:00' HOUR TO MINUTE", "UTC"), ("'-08:00' HOUR TO MINUTE", "Etc/GMT+8"), ("'5' HOUR", "Etc/GMT-5")] {
        assert_eq!(answer(&mut raw, &format!("SET TIME ZONE INTERVAL {offset}; SHOW timezone")).await, [shown]);
    }
    assert_eq!(answer(&mut raw, "SET TIME ZONE INTERVAL '+05:30' HOUR TO MINUTE").await, ["22023"], "only whole hours have a name");
    raw.run("RESET timezone").await;
    assert_eq!(answer(&mut raw, "SET search_path = nowhere, public").await, ["SET"]);
    raw.run("CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.t (a int)").await;
    assert_eq!(answer(&mut raw, "SET search_path = elsewhere").await, ["0A000"]);
    assert_eq!(answer(&mut raw, "DISCARD ALL").await, ["DISCARD ALL"]);
    assert_eq!(
        answer(&mut raw, "SELECT current_setting('search_path'), current_setting('application_name')").await,
        ["\"$user\", public|"]
    );
    // Nothing is set by planning alone.
    raw.parse("", "SELECT set_config('application_name', 'planned', false)", &[]).await;
    raw.sync().await;
    assert_eq!(answer(&mut raw, "SHOW application_name").await, [""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_client_is_sent_away() {
    let server = TestServer::start().await;
    let mut raw = server.session().await;
    raw.run("SET idle_in_transaction_session_timeout = '50ms'; BEGIN").await;
    let (_, body) = raw.receive().await.expect("its last words");
    assert_eq!(error_field(&body, b'C').as_deref(), Some("25P03"));
    assert!(raw.is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications() {
    let server = TestServer::start().await;
    let (mut listener, mut raw) = (server.session().await, server.session().await);
    let heard = |message: Option<(char, Vec<u8>)>| {
        let (letter, body) = message.expect("a notification");
        assert_eq!(letter, 'A');
        String::from_utf8_lossy(&body[4..]).replace('\0', "|")
    };
    listener.run("LISTEN chan").await;
    assert_eq!(answer(&mut raw, "NOTIFY chan, 'it''s'").await, ["NOTIFY"]);
    assert_eq!(heard(listener.receive().await), "chan|it's|", "an idle client is told");
    // Sent with the transaction, once each; what is rolled back is not.
    raw.run("BEGIN; NOTIFY chan, 'a'; NOTIFY chan, 'a'; SAVEPOINT s; NOTIFY chan, 'lost'; ROLLBACK TO s; NOTIFY chan").await;
    raw.run("ROLLBACK; BEGIN; NOTIFY chan, 'b'; COMMIT").await;
    assert_eq!(heard(listener.receive().await), "chan|b|");
    raw.run("BEGIN; NOTIFY chan, 'a'; NOTIFY chan, 'a'; SAVEPOINT s; NOTIFY chan, 'lost'; ROLLBACK TO s; NOTIFY chan; COMMIT").await;
    assert_eq!(heard(listener.receive().await), "chan|a|");
    assert_eq!(heard(listener.receive().await), "chan||");
    // A client in a transaction hears at its end, before ReadyForQuery.
    listener.run("BEGIN").await;
    raw.run("NOTIFY chan, 'later'").await;
    assert_eq!(letters(&listener.run("SELECT 1").await), "TDCZ");
    assert_eq!(letters(&listener.run("COMMIT").await), "CAZ");
    listener.run("UNLISTEN *").await;
    raw.run("NOTIFY chan, 'unheard'").await;
    assert_eq!(letters(&listener.run("SELECT 1").await), "TDCZ");
    assert_eq!(answer(&mut raw, &format!("NOTIFY chan, '{}'", "x".repeat(8000))).await, ["22023"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_notify() {
    let server = TestServer::start().await;
    let (mut listener, mut raw) = (server.session().await, server.session().await);
    listener.run("LISTEN chan").await;
    let mut heard = async || {
        let (_, body) = listener.receive().await.expect("a notification");
        String::from_utf8_lossy(&body[4..]).replace('\0', "|")
    };
    assert_eq!(answer(&mut raw, "SELECT pg_notify('chan', 'row ' || g) FROM generate_series(1, 2) AS s(g)").await, ["", ""]);
    assert_eq!([heard().await, heard().await], ["chan|row 1|", "chan|row 2|"]);
    raw.parse("", "SELECT pg_notify($1, $2)", &[]).await;
    raw.bind("", "", &[Some("chan"), Some("given")], &[]).await;
    raw.execute("", 0).await;
    assert_eq!(letters(&raw.sync().await), "12DCZ");
    assert_eq!(heard().await, "chan|given|");
    // It is part of the transaction, in its order.
    raw.run("BEGIN; SELECT pg_notify('chan', 'never')").await;
    raw.run("ROLLBACK").await;
    raw.run("BEGIN; SELECT pg_notify('chan', 'a'); NOTIFY chan, 'b'; SAVEPOINT s; SELECT pg_notify('chan', 'lost')").await;
    raw.run("ROLLBACK TO s; SELECT pg_notify('chan', 'a'), pg_notify('chan', 'c'); COMMIT").await;
    assert_eq!([heard().await, heard().await, heard().await], ["chan|a|", "chan|b|", "chan|c|"]);
    // Nothing is said by planning alone, nor by a message that fails.
    raw.parse("", "SELECT pg_notify('chan', 'planned')", &[]).await;
    raw.sync().await;
    assert_eq!(answer(&mut raw, "SELECT pg_notify('chan', 'failed'); SELECT 1 / 0").await, ["22012"]);
    for (wrong, sqlstate) in [("pg_notify('', 'x')", "22023"), ("pg_notify('chan', repeat('x', 8000))", "22023")] {
        assert_eq!(answer(&mut raw, &format!("SELECT {wrong}")).await, [sqlstate]);
    }
    assert_eq!(answer(&mut raw, "SELECT pg_notify('chan', g::text) FROM generate_series(1, 20000) AS s(g)").await, ["54000"]);
    raw.run("NOTIFY chan, 'last'").await;
    assert_eq!(heard().await, "chan|last|");
    assert_eq!(answer(&mut raw, "CREATE MATERIALIZED VIEW v AS SELECT pg_notify('chan', 'x') AS a").await, ["0A000"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_can_be_listened_to() {
    let server = TestServer::start().await;
    let (mut listener, mut raw) = (server.session().await, server.session().await);
    raw.run("CREATE TABLE t (a int); CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM t WHERE a > 0").await;
    assert_eq!(answer(&mut listener, "LISTEN v").await, ["LISTEN"]);
    raw.run("INSERT INTO t VALUES (-1)").await;
    raw.run("INSERT INTO t VALUES (1), (2)").await;
    let (letter, body) = listener.receive().await.expect("a notification");
    let text = String::from_utf8_lossy(&body[4..]).into_owned();
    assert_eq!((letter, text.starts_with("v\0")), ('A', true), "{text}");
    let epoch: u64 = text[2..].trim_end_matches('\0').parse().expect("the payload is an epoch");
    raw.run("DELETE FROM t WHERE a = 1").await;
    let (_, body) = listener.receive().await.expect("another notification");
    let next: u64 = String::from_utf8_lossy(&body[6..]).trim_end_matches('\0').parse().expect("an epoch");
    assert!(next > epoch, "{epoch} {next}");
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_in_binary() {
    let server = TestServer::start().await;
    let mut raw = server.session().await;
    raw.run("CREATE TABLE t (a int PRIMARY KEY, b text, c numeric(12,3), d timestamptz, e text[])").await;
    raw.run("INSERT INTO t VALUES (1, E'tab\\t \\\\ ☃', -1.25, '2024-02-29 12:00:00+00', '{a,NULL}'), (2, NULL, NULL, NULL, NULL)").await;
    raw.query("COPY t TO STDOUT (FORMAT binary)").await;
    let messages = raw.until('Z').await;
    assert_eq!(messages[0].1[0], 1, "CopyOutResponse says that it is binary");
    let data: Vec<u8> = messages.iter().filter(|(letter, _)| *letter == 'd').flat_map(|(_, body)| body.clone()).collect();
    assert_eq!(tags(&messages), ["COPY 2"]);
    raw.run("DELETE FROM t").await;
    let copy = async |raw: &mut RawClient, data: &[u8], piece: usize| {
        raw.query("COPY t FROM STDIN BINARY").await;
        let (letter, body) = raw.receive().await.expect("an answer");
        assert_eq!((letter, body[0]), ('G', 1));
        for piece in data.chunks(piece) {
            raw.message(b'd', piece).await;
        }
        raw.message(b'c', b"").await;
        raw.until('Z').await
    };
    assert_eq!(tags(&copy(&mut raw, &data, 7).await), ["COPY 2"], "rows need not end where messages do");
    assert_eq!(
        answer(&mut raw, "SELECT * FROM t ORDER BY a").await,
        ["1|tab\t \\ ☃|-1.250|2024-02-29 12:00:00+00|{a,NULL}", "2|NULL|NULL|NULL|NULL"]
    );
    raw.run("DELETE FROM t").await;
    assert_eq!(sqlstates(&copy(&mut raw, &data[..data.len() - 9], 1000).await), ["22P04"], "it ends in the middle of a row");
    assert_eq!(sqlstates(&copy(&mut raw, b"no signature at all, but long enough", 1000).await), ["22P04"]);
    assert_eq!(answer(&mut raw, "SELECT count(*) FROM t").await, ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_can_be_canceled() {
    let server = TestServer::start().await;
    let client = server.connect().await;
    simple(&client, "CREATE TABLE t (a int)").await;
    let cancel = client.cancel_token();
    let following = tokio::spawn(async move {
        let error = client.simple_query("SUBSCRIBE t").await.expect_err("it ends by the request alone");
        let sqlstate = error.code().map(|code| code.code().to_owned());
        (sqlstate, simple(&client, "SELECT 1").await)
    });
    let mut following = std::pin::pin!(following);
    loop {
        cancel.cancel_query(tokio_postgres::NoTls).await.expect("the server takes the request");
        // A request that comes before the statement has no effect: asks until it has.
        if let Ok(ended) = tokio::time::timeout(std::time::Duration::from_millis(20), &mut following).await {
            let (sqlstate, after) = ended.expect("no panic");
            assert_eq!((sqlstate.as_deref(), after[0].as_str()), (Some("57014"), "1"), "the session goes on");
            return;
        }
    }
}
