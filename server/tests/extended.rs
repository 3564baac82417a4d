//! The extended query protocol: parameters and results of every type, described before they run, read in parts, pipelined.

use std::time::Duration;

use crate::common::{TestServer, error_field, letters, oids, rows, simple, sqlstates, status, tags};
use tokio_postgres::types::{ToSql, Type};

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_described_before_it_runs() {
    let server = TestServer::start().await;
    let mut raw = server.session().await;
    raw.run("CREATE TABLE t (id int PRIMARY KEY, v varchar(5), n numeric(12,3), u uuid, b bytea, at timestamptz, tags text[])").await;
    raw.run("CREATE MATERIALIZED VIEW m AS SELECT id, v FROM t").await;
    let mut described = async |sql: &str, given: &[u32]| {
        raw.parse("", sql, given).await;
        raw.describe('S', "").await;
        let messages = raw.sync().await;
        assert_eq!(sqlstates(&messages), Vec::<String>::new(), "{sql}");
        (oids(&messages, 't'), oids(&messages, 'T'))
    };
    for (sql, given, parameters, columns) in [
        ("SELECT id, v FROM t WHERE id = $1 AND n > $2", vec![], vec![23, 1700], vec![23, 1043]),
        ("SELECT * FROM t WHERE u = $1 OR b = $2 OR at < $3", vec![], vec![2950, 17, 1184], vec![23, 1043, 1700, 2950, 17, 1184, 1009]),
        ("SELECT id FROM t WHERE id = ANY($1)", vec![], vec![1007], vec![23]),
        ("SELECT id FROM t WHERE id IN ($1, $2) AND v LIKE $3 AND id BETWEEN $4 AND $5", vec![], vec![23, 23, 25, 23, 23], vec![23]),
        ("SELECT id FROM t LIMIT $1 OFFSET $2", vec![], vec![20, 20], vec![23]),
        ("SELECT $1::date, $2 || 'x', $3::int", vec![], vec![1082, 25, 23], vec![1082, 25, 23]),
        ("SELECT '{}'::jsonb, '[1]'::json, $1::uuid", vec![], vec![2950], vec![3802, 114, 2950]),
        ("SELECT $1, $2, $3", vec![20, 705], vec![20, 25, 25], vec![20, 25, 25]),
        ("INSERT INTO t (id, at, tags) VALUES ($1, $2, $3)", vec![], vec![23, 1184, 1009], vec![]),
        ("INSERT INTO t (v, id) SELECT $1, $2", vec![], vec![1043, 23], vec![]),
        (
            "INSERT INTO t (id, v) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET v = $3 WHERE t.id > $4 RETURNING id, n",
            vec![],
            vec![23, 1043, 1043, 23],
            vec![23, 1700],
        ),
        ("UPDATE t SET n = $1, v = $2 WHERE id = $3 RETURNING u", vec![], vec![1700, 1043, 23], vec![2950]),
        ("DELETE FROM t WHERE n < $1", vec![], vec![1700], vec![]),
        ("EXPLAIN SELECT * FROM t WHERE id = $1", vec![], vec![23], vec![25]),
        ("SHOW timezone", vec![], vec![], vec![25]),
        ("VERIFY MATERIALIZED VIEW m", vec![], vec![], vec![20, 20, 23, 1043]),
        ("SUBSCRIBE t", vec![], vec![], vec![20, 20, 23, 1043, 1700, 2950, 17, 1184, 1009]),
        ("SET application_name = 'x'", vec![], vec![], vec![]),
        ("CREATE TABLE u (a int)", vec![], vec![], vec![]),
    ] {
        assert_eq!(described(sql, &given).await, (parameters, columns), "{sql}");
    }
    // Nothing of it has run.
    assert_eq!(sqlstates(&raw.run("SELECT * FROM u").await), ["42P01"]);
    assert_eq!(rows(&raw.run("SELECT count(*) FROM t").await), ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_every_type_go_in_and_out_in_both_formats() {
    let server = TestServer::start().await;
    let mut raw = server.session().await;
    for (sql_type, value) in [
        ("boolean", "t"),
        ("smallint", "-32768"),
        ("integer", "2147483647"),
        ("bigint", "-9223372036854775808"),
        ("real", "1.5"),
        ("double precision", "-0.00225"),
        ("numeric(12,3)", "-123456789.125"),
        ("numeric(38,10)", "1234567890123456789012345678.0123456789"),
        ("text", "grüße ☃ 'q' \"d\" \\ \n x"),
        ("varchar(5)", "abc"),
        ("bytea", "\\x00ff10616263"),
        ("date", "2024-02-29"),
        ("time", "12:14:56.789012"),
        ("timestamp", "2024-02-29 12:14:56.789012"),
        ("timestamptz", "2024-02-29 12:14:56.789012+00"),
        ("interval", "1 year 2 mons 3 days 04:05:06"),
        ("uuid", "12345678-1234-5678-1234-567812345678"),
        ("json", "{\"a\": [1, null]}"),
        ("jsonb", "[1, 2]"),
        ("integer[]", "{1,NULL,3}"),
        ("text[]", "{\"a,b\",\"c\\\"d\",NULL}"),
    ] {
        assert_eq!(sqlstates(&raw.run(&format!("CREATE TABLE t (a {sql_type})")).await), Vec::<String>::new(), "{sql_type}");
        // In as text, out in binary, in again as those bytes, out as text.
        raw.parse("i", "INSERT INTO t VALUES ($1)", &[]).await;
        for given in [Some(value), None] {
            raw.bind("", "i", &[given], &[]).await;
            raw.execute("", 0).await;
        }
        raw.parse("q", "SELECT a FROM t WHERE a IS NOT NULL", &[]).await;
        raw.bind("", "q", &[], &[1]).await;
        raw.execute("", 0).await;
        let messages = raw.sync().await;
        assert_eq!(letters(&messages), "12C2C12DCZ", "{sql_type}: {:?}", sqlstates(&messages));
        let binary = &messages.iter().find(|(letter, _)| *letter == 'D').expect("a row").1[6..];
        let mut body = b"\0i\0\0\x01\0\x01\0\x01".to_vec();
        body.extend((binary.len() as i32).to_be_bytes());
        body.extend_from_slice(binary);
        body.extend([0, 0]);
        raw.message(b'B', &body).await;
        raw.execute("", 0).await;
        let messages = raw.sync().await;
        assert_eq!(letters(&messages), "2CZ", "{sql_type}: {:?}", sqlstates(&messages));
        assert_eq!(rows(&raw.run("SELECT a FROM t").await).iter().filter(|text| *text == value).count(), 2, "{sql_type}");
        assert_eq!(rows(&raw.run("SELECT count(*) FROM t WHERE a IS NULL").await), ["1"], "{sql_type}");
        raw.message(b'C', b"Si\0").await;
        raw.message(b'C', b"Sq\0").await;
        raw.sync().await;
        raw.run("DROP TABLE t").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn through_a_driver() {
    let server = TestServer::start().await;
    let client = server.connect().await;
    simple(&client, "CREATE TABLE t (id bigint PRIMARY KEY, v text, tags text[], raw bytea)").await;
    let insert = client.prepare("INSERT INTO t VALUES ($1, $2, $3, $4)").await.expect("it is planned");
    for id in 0_i64..50 {
        let (text, tags, raw) = (format!("it's {id}"), vec!["a,b".to_owned(), "\"".to_owned()], vec![0_u8, 255]);
        let values: [&(dyn ToSql + Sync); 4] = [&id, &text, &tags, &raw];
        assert_eq!(client.execute(&insert, &values).await.expect("one row"), 1);
    }
    let row = client.query_one("SELECT v, tags, raw FROM t WHERE id = $1", &[&7_i64]).await.expect("one row");
    assert_eq!(row.get::<_, String>(0), "it's 7");
    assert_eq!(row.get::<_, Vec<String>>(1), ["a,b", "\""]);
    assert_eq!(row.get::<_, Vec<u8>>(2), [0, 255]);
    let found = client.query("SELECT id FROM t WHERE id = ANY($1) ORDER BY id", &[&vec![3_i64, 1, 99]]).await.expect("rows");
    assert_eq!(found.iter().map(|row| row.get::<_, i64>(0)).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(client.execute("UPDATE t SET v = $1 WHERE id < $2", &[&"new", &10_i64]).await.expect("ten rows"), 10);
    assert_eq!(client.execute("DELETE FROM t WHERE v = $1", &[&"new"]).await.expect("ten rows"), 10);
    simple(&client, "CREATE MATERIALIZED VIEW m AS SELECT v, count(*) AS n FROM t GROUP BY v").await;
    let verified = client.query("VERIFY MATERIALIZED VIEW m", &[]).await.expect("it is verified");
    assert!(verified.is_empty(), "{verified:?}");
    // Text is only ever a value.
    let evil = "'); DROP TABLE t; --";
    let row = client.query_one("SELECT $1::text, count(*) FROM t", &[&evil]).await.expect("one row");
    assert_eq!((row.get::<_, String>(0).as_str(), row.get::<_, i64>(1)), (evil, 40));
    let typed = client.prepare_typed("SELECT $1", &[Type::INT8]).await.expect("a type is given");
    assert_eq!(client.query_one(&typed, &[&7_i64]).await.expect("one row").get::<_, i64>(0), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portal_goes_on_where_it_stopped() {
    let server = TestServer::start().await;
    let mut raw = server.session().await;
    raw.run("CREATE TABLE t (a int)").await;
    raw.run("INSERT INTO t SELECT * FROM generate_series(1, 10000)").await;
    raw.run("BEGIN").await;
    raw.parse("s", "SELECT a FROM t ORDER BY a", &[]).await;
    raw.bind("p", "s", &[], &[]).await;
    raw.bind("q", "s", &[], &[]).await;
    raw.execute("p", 2).await;
    raw.execute("q", 1).await;
    raw.execute("p", 1).await;
    let messages = raw.sync().await;
    assert_eq!(letters(&messages), "122DDsDsDsZ");
    assert_eq!(rows(&messages), ["1", "2", "1", "3"]);
    raw.execute("p", 5000).await;
    let messages = raw.sync().await;
    assert_eq!((rows(&messages).len(), tags(&messages)), (5000, vec![]));
    raw.execute("p", 0).await;
    let messages = raw.sync().await;
    assert_eq!((rows(&messages).len(), tags(&messages)), (4997, vec!["SELECT 4997".to_owned()]));
    raw.execute("p", 0).await;
    assert_eq!(tags(&raw.sync().await), ["SELECT 0"]);
    // MOVE reads from a portal as from a cursor.
    assert_eq!(tags(&raw.run("MOVE FORWARD 8 \"q\"").await), ["MOVE 8"]);
    raw.execute("q", 1).await;
    assert_eq!(rows(&raw.sync().await), ["10"]);
    // Portals end with their transaction.
    raw.run("COMMIT").await;
    raw.execute("q", 1).await;
    assert_eq!(sqlstates(&raw.sync().await), ["34000"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_error_everything_is_skipped_up_to_sync() {
    let server = TestServer::start().await;
    let mut raw = server.session().await;
    raw.run("CREATE TABLE t (a int PRIMARY KEY)").await;
    for sql in ["INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)"] {
        raw.parse("", sql, &[]).await;
        raw.bind("", "", &[], &[]).await;
        raw.execute("", 0).await;
    }
    raw.query("SELECT 'also skipped'").await;
    let messages = raw.sync().await;
    assert_eq!((letters(&messages).as_str(), sqlstates(&messages)), ("12C12EZ", vec!["23505".to_owned()]));
    // What came before the error is gone with it.
    assert_eq!(rows(&raw.run("SELECT count(*) FROM t").await), ["0"]);
    raw.parse("", "SELECT 1", &[]).await;
    raw.bind("", "", &[], &[]).await;
    raw.execute("", 0).await;
    raw.message(b'H', b"").await;
    assert_eq!(letters(&raw.until('C').await), "12DC", "Flush asks for answers before Sync");
    assert_eq!(letters(&raw.sync().await), "Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_not_there_and_names_that_are() {
    let server = TestServer::start().await;
    let mut raw = server.session().await;
    raw.bind("", "nothing", &[], &[]).await;
    assert_eq!(sqlstates(&raw.sync().await), ["26000"]);
    raw.execute("nothing", 0).await;
    assert_eq!(sqlstates(&raw.sync().await), ["34000"]);
    raw.describe('S', "nothing").await;
    assert_eq!(sqlstates(&raw.sync().await), ["26000"]);
    raw.message(b'C', b"Snothing\0").await;
    assert_eq!(letters(&raw.sync().await), "3Z", "closing what is not there is no error");
    raw.parse("s", "SELECT 1", &[]).await;
    raw.parse("s", "SELECT 2", &[]).await;
    assert_eq!(sqlstates(&raw.sync().await), ["42P05"]);
    raw.parse("", "SELECT 1; SELECT 2", &[]).await;
    assert_eq!(sqlstates(&raw.sync().await), ["42601"]);
    raw.run("BEGIN").await;
    raw.bind("p", "s", &[], &[]).await;
    raw.bind("p", "s", &[], &[]).await;
    assert_eq!(sqlstates(&raw.sync().await), ["42P03"]);
    raw.parse("", "SELECT 1", &[]).await;
    let messages = raw.sync().await;
    assert_eq!((sqlstates(&messages), status(&messages)), (vec!["25P02".to_owned()], 'E'));
    raw.run("ROLLBACK").await;
    // An empty statement can be bound and run.
    raw.parse("", "", &[]).await;
    raw.bind("", "", &[], &[]).await;
    raw.describe('P', "").await;
    raw.execute("", 0).await;
    assert_eq!(letters(&raw.sync().await), "12nIZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_given_by_name() {
    let server = TestServer::start().await;
    let mut raw = server.session().await;
    raw.run("CREATE TABLE t (a int)").await;
    for (sql, value, shown) in [
        ("SELECT $1::regclass", "public.t", "t"),
        ("SELECT CAST($1 AS REGCLASS)::text", "pg_catalog.pg_constraint", "pg_constraint"),
        ("SELECT count(*) FROM pg_class WHERE oid = $1::pg_catalog.regclass", "t", "1"),
        ("SELECT $1::regtype", "int", "integer"),
        ("SELECT typname FROM pg_type WHERE oid = $1::oid", "20", "int8"),
        ("SELECT count(*) FROM pg_type WHERE oid = ANY($1::oid[])", "{20,23}", "2"),
    ] {
        raw.parse("", sql, &[]).await;
        raw.bind("", "", &[Some(value)], &[]).await;
        raw.execute("", 0).await;
        let messages = raw.sync().await;
        assert_eq!((sqlstates(&messages), rows(&messages)), (vec![], vec![shown.to_owned()]), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_do_not_fit() {
    let server = TestServer::start().await;
    let mut raw = server.session().await;
    raw.parse("s", "SELECT $1::int", &[]).await;
    raw.sync().await;
    for (values, result_formats, sqlstate) in [
        (vec![], vec![], "08P01"),
        (vec![Some("1"), Some("2")], vec![], "08P01"),
        (vec![Some("abc")], vec![], "22P02"),
        (vec![Some("99999999999")], vec![], "22003"),
        (vec![Some("1")], vec![0, 1], "08P01"),
        (vec![Some("1")], vec![7], "22023"),
    ] {
        raw.bind("", "s", &values, &result_formats).await;
        assert_eq!(sqlstates(&raw.sync().await), [sqlstate], "{values:?} {result_formats:?}");
    }
    // Three bytes are no int4, and these are no UTF-8.
    raw.message(b'B', b"\0s\0\0\x01\0\x01\0\x01\0\0\0\x03abc\0\0").await;
    assert_eq!(sqlstates(&raw.sync().await), ["22P03"]);
    raw.parse("t", "SELECT $1::text", &[]).await;
    raw.message(b'B', b"\0t\0\0\0\0\x01\0\0\0\x02\xff\xfe\0\0").await;
    assert_eq!(sqlstates(&raw.sync().await), ["22021"]);
    raw.parse("", "SELECT $1", &[600]).await;
    assert_eq!(sqlstates(&raw.sync().await), ["0A000"], "a point is no type here");
    raw.query("SELECT $1").await;
    assert_eq!(sqlstates(&raw.until('Z').await), ["42P02"], "a simple query has no parameters");
    raw.query("CREATE MATERIALIZED VIEW v AS SELECT $1::int AS a").await;
    assert_eq!(sqlstates(&raw.until('Z').await), ["42P02"], "a view is a function of its inputs alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_whose_relation_changed() {
    let server = TestServer::start().await;
    let mut raw = server.session().await;
    raw.run("CREATE TABLE t (a int)").await;
    raw.parse("s", "SELECT * FROM t", &[]).await;
    raw.sync().await;
    raw.run("DROP TABLE t; CREATE TABLE t (a text)").await;
    raw.bind("", "s", &[], &[]).await;
    raw.execute("", 0).await;
    let messages = raw.sync().await;
    assert_eq!(sqlstates(&messages), ["0A000"], "the client was told another type");
    let error = messages.iter().find(|(letter, _)| *letter == 'E').expect("an error");
    assert_eq!(error_field(&error.1, b'R').as_deref(), Some("RevalidateCachedQuery"), "drivers heal it by this");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_statement_alone_commits_at_once() {
    let server = TestServer::start().await;
    let mut raw = server.session().await;
    raw.run("CREATE TABLE t (a int PRIMARY KEY)").await;
    raw.parse("s", "INSERT INTO t VALUES ($1)", &[]).await;
    raw.sync().await;
    // A batch is atomic.
    raw.bind("", "s", &[Some("1")], &[]).await;
    raw.execute("", 0).await;
    raw.bind("", "s", &[Some("2")], &[]).await;
    raw.execute("", 0).await;
    let messages = raw.sync().await;
    assert_eq!(tags(&messages), ["INSERT 0 1", "INSERT 0 1"]);
    assert_eq!(rows(&raw.run("SELECT count(*) FROM t").await), ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_leave_before_the_query_has_ended() {
    let server = TestServer::start().await;
    let client = server.connect().await;
    simple(&client, "CREATE TABLE t (a int)").await;
    simple(&client, "INSERT INTO t VALUES (1)").await;
    let mut raw = server.session().await;
    raw.parse("", "SUBSCRIBE t", &[]).await;
    raw.bind("", "", &[], &[]).await;
    raw.execute("", 0).await;
    raw.message(b'S', b"").await;
    assert_eq!(rows(&raw.until('D').await)[0].split_once('|').expect("an epoch").1, "1|1");
    simple(&client, "INSERT INTO t VALUES (2)").await;
    assert_eq!(rows(&raw.until('D').await)[0].split_once('|').expect("an epoch").1, "1|2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_in_parts_may_be_in_a_block() {
    let server = TestServer::start().await;
    let client = server.connect().await;
    simple(&client, "CREATE TABLE t (a int)").await;
    simple(&client, "INSERT INTO t VALUES (1)").await;
    let mut raw = server.session().await;
    raw.run("BEGIN").await;
    raw.parse("", "SUBSCRIBE t", &[]).await;
    raw.bind("p", "", &[], &[]).await;
    raw.execute("p", 1).await;
    let messages = raw.sync().await;
    assert_eq!((letters(&messages).as_str(), status(&messages)), ("12DsZ", 'T'));
    simple(&client, "INSERT INTO t VALUES (2)").await;
    raw.execute("p", 1).await;
    assert_eq!(rows(&raw.sync().await)[0].split_once('|').expect("an epoch").1, "1|2");
    // All of it would be for ever.
    raw.parse("", "SUBSCRIBE t", &[]).await;
    raw.bind("q", "", &[], &[]).await;
    raw.execute("q", 0).await;
    assert_eq!(sqlstates(&raw.sync().await), ["0A000"]);
    raw.execute("p", 1).await;
    assert_eq!(sqlstates(&raw.sync().await), ["25P02"], "its block has failed");
    raw.run("ROLLBACK").await;
    raw.execute("p", 1).await;
    assert_eq!(sqlstates(&raw.sync().await), ["34000"], "it ended with its block");
}

/// Whatever is sent, in whatever order, is answered or ends the connection; and the next client is served.
#[tokio::test(flavor = "multi_thread")]
async fn no_sequence_of_messages_hangs_or_kills() {
    let server = TestServer::start().await;
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    let sane: [(u8, &[u8]); 14] = [
        (b'P', b"\0SELECT $1::int\0\0\0"),
        (b'P', b"s\0INSERT INTO t VALUES (1)\0\0\0"),
        (b'P', b"\0FETCH 1 FROM c\0\0\0"),
        (b'B', b"\0\0\0\0\0\x01\0\0\0\x011\0\0"),
        (b'B', b"p\0s\0\0\0\0\0\0\0"),
        (b'D', b"S\0"),
        (b'D', b"Pp\0"),
        (b'E', b"\0\0\0\0\x01"),
        (b'E', b"p\0\0\0\0\0"),
        (b'C', b"Pp\0"),
        (b'H', b""),
        (b'Q', b"BEGIN; DECLARE c CURSOR FOR SELECT 1\0"),
        (b'Q', b"COPY t FROM STDIN\0"),
        (b'd', b"1\n"),
    ];
    simple(&server.connect().await, "CREATE TABLE t (a int)").await;
    for _ in 0..100 {
        let mut raw = server.session().await;
        for _ in 0..random(12) {
            let (kind, body) = sane[random(sane.len() as u64) as usize];
            let mut body = body.to_vec();
            if random(8) == 0 && !body.is_empty() {
                let place = random(body.len() as u64) as usize;
                body[place] = random(256) as u8;
            }
            raw.message_if_open(kind, &body).await;
        }
        // CopyDone, Sync, and a query: one of them must be answered, or the connection is over.
        raw.message_if_open(b'c', b"").await;
        raw.message_if_open(b'S', b"").await;
        raw.message_if_open(b'X', b"").await;
        while raw.receive().await.is_some() {}
    }
    assert_eq!(simple(&server.connect().await, "SELECT 1").await[0], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_timeout_counts_anew_for_each_message() {
    let server = TestServer::start().await;
    let mut raw = server.session().await;
    raw.run("SET statement_timeout = '200ms'").await;
    for _ in 0..3 {
        raw.parse("", "SELECT 1", &[]).await;
        raw.bind("", "", &[], &[]).await;
        raw.execute("", 0).await;
        assert_eq!(letters(&raw.sync().await), "12DCZ");
        // Longer than the timeout, between statements.
        tokio::time::timeout(Duration::from_millis(150), std::future::pending::<()>()).await.expect_err("nothing to wait for");
    }
}
