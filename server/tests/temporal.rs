//! Views that go by the clock, over the wire: rows enter and leave while nobody writes.

use crate::common::{RawClient, TestServer, simple};

async fn next_line(raw: &mut RawClient) -> String {
    let messages = raw.until('d').await;
    let line = String::from_utf8(messages.last().expect("a line").1.clone()).expect("UTF-8");
    line.split_once('\t').expect("epoch first").1.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_sees_rows_enter_and_leave_by_themselves() {
    for driver in [thalweg::config::DriverName::Timely, thalweg::config::DriverName::Sequential] {
        let server = TestServer::start_with(|given| {
            given.clock_interval_ms = Some(20);
            given.driver = Some(driver);
        })
        .await;
        let client = server.connect().await;
        simple(&client, "CREATE TABLE t (a bigint, ts timestamptz)").await;
        simple(&client, "CREATE MATERIALIZED VIEW v AS SELECT a FROM t WHERE ts > now() - INTERVAL '1500 ms' AND ts <= now()").await;
        simple(&client, "CREATE MATERIALIZED VIEW n AS SELECT count(*) AS n FROM v").await;
        let mut raw = server.session().await;
        raw.query("COPY (SUBSCRIBE v) TO STDOUT").await;
        simple(
            &client,
            "INSERT INTO t VALUES (1, now() + INTERVAL '200 ms'), (2, now() - INTERVAL '1 hour'), (3, now() + INTERVAL '1 hour')",
        )
        .await;
        assert_eq!(next_line(&mut raw).await, "1\t1\n", "it enters");
        assert_eq!(next_line(&mut raw).await, "-1\t1\n", "and leaves");
        assert_eq!(simple(&client, "SELECT n FROM n").await[0], "0");
        assert_eq!(simple(&client, "SELECT count(*) FROM t").await[0], "3");

        // A query that is followed goes by the clock like a view.
        let mut raw = server.session().await;
        raw.query("COPY (SUBSCRIBE (SELECT a + 1 FROM t WHERE ts > now() - INTERVAL '1500 ms' AND a = 9) WITH (SNAPSHOT false)) TO STDOUT")
            .await;
        raw.until('H').await;
        simple(&client, "INSERT INTO t VALUES (9, now())").await;
        assert_eq!(next_line(&mut raw).await, "1\t10\n");
        assert_eq!(next_line(&mut raw).await, "-1\t10\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_and_state_are_shown() {
    let server = TestServer::start_with(|given| given.clock_interval_ms = Some(20)).await;
    let client = server.connect().await;
    simple(&client, "CREATE TABLE t (a bigint, ts timestamptz)").await;
    simple(&client, "CREATE MATERIALIZED VIEW v AS SELECT a FROM t WHERE now() < ts").await;
    simple(&client, "INSERT INTO t VALUES (1, now() + INTERVAL '1500 ms'), (2, now() + INTERVAL '1 day')").await;
    let operators =
        simple(&client, "SELECT operator, kind FROM thalweg.operators WHERE relation = 'v' AND operator IN ('Clock', 'Temporal')").await;
    assert_eq!(operators[..2], ["Clock|stateless", "Temporal|incremental"]);
    let mut raw = server.session().await;
    raw.query("COPY (SUBSCRIBE v WITH (SNAPSHOT false)) TO STDOUT").await;
    assert_eq!(next_line(&mut raw).await, "-1\t1\n");
    assert_eq!(simple(&client, "SELECT a FROM v").await[0], "2");
    assert_eq!(simple(&client, "SELECT state_rows FROM thalweg.operators WHERE relation = 'v' AND operator = 'Temporal'").await[0], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_makes_epochs_only_while_something_goes_by_it() {
    let server = TestServer::start_with(|given| given.clock_interval_ms = Some(1)).await;
    let client = server.connect().await;
    simple(&client, "CREATE TABLE t (a bigint, ts timestamptz)").await;
    simple(&client, "INSERT INTO t VALUES (1, now())").await;
    let epoch = async |client: &tokio_postgres::Client| {
        let rows = client.simple_query("INSERT INTO t VALUES (2, NULL)").await;
        rows.expect("it is written");
        let mut raw = server.session().await;
        raw.query("COPY (SUBSCRIBE t) TO STDOUT").await;
        let messages = raw.until('d').await;
        let line = String::from_utf8(messages.last().expect("a line").1.clone()).expect("UTF-8");
        line.split_once('\t').expect("epoch first").0.parse::<u64>().expect("a number")
    };
    let before = epoch(&client).await;
    assert_eq!(epoch(&client).await, before + 1, "no view goes by the clock yet");
    simple(&client, "CREATE MATERIALIZED VIEW v AS SELECT a FROM t WHERE ts > now()").await;
    let mut raw = server.session().await;
    raw.query("COPY (SUBSCRIBE v WITH (SNAPSHOT false)) TO STDOUT").await;
    raw.until('H').await;
    simple(&client, "INSERT INTO t VALUES (3, now() + INTERVAL '1 s')").await;
    assert_eq!(next_line(&mut raw).await, "1\t3\n");
    assert_eq!(next_line(&mut raw).await, "-1\t3\n");
    assert!(epoch(&client).await > before + 4, "it makes epochs of its own");
    simple(&client, "DROP MATERIALIZED VIEW v").await;
    // One may be on its way.
    epoch(&client).await;
    let after = epoch(&client).await;
    assert_eq!(epoch(&client).await, after + 1, "nothing goes by the clock any more");
}
