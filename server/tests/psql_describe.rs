//! psql's `\d` and its sisters over users' objects: the queries are psql's own, so another release of it may ask otherwise.

use std::process::{Command, Output};

use crate::common::{self, TestServer};

const OBJECTS: &str = "
    CREATE TABLE item (id bigint, part int, name varchar(5) NOT NULL, price numeric(12,3) DEFAULT 1.5, PRIMARY KEY (id, part));
    CREATE STREAM sale (item bigint, at timestamptz, tags text[]);
    CREATE VIEW cheap AS SELECT id, name FROM item WHERE price < 10;
    CREATE MATERIALIZED VIEW sold AS SELECT item, count(*) AS n FROM sale GROUP BY item;
    CREATE SCHEMA shop;
    CREATE TABLE shop.till (id int PRIMARY KEY);
    CREATE FUNCTION twice(x bigint) RETURNS bigint LANGUAGE SQL RETURN x + x;
    COMMENT ON TABLE item IS 'what is sold';
    COMMENT ON COLUMN item.price IS 'without tax'";

/// The rows psql prints for a backslash command, unaligned.
async fn described(server: &TestServer, command: &str) -> String {
    printed(server, &["-At", "-c", command]).await
}

/// The same with head and footers, where keys and definitions are.
async fn described_in_full(server: &TestServer, command: &str) -> String {
    printed(server, &["-A", "-c", command]).await
}

/// That there is nothing to list is no error here.
async fn printed(server: &TestServer, arguments: &[&str]) -> String {
    let output = psql(server, arguments).await;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.is_empty() || errors.starts_with("Did not find any"), "{arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn psql(server: &TestServer, arguments: &[&str]) -> Output {
    let mut command = Command::new("psql");
    command.args(["-X", "-h", &server.pg.ip().to_string(), "-p", &server.pg.port().to_string(), "-U", "thalweg", "-v", "ON_ERROR_STOP=1"]);
    command.args(arguments);
    let run = move || command.output().expect("psql is installed");
    tokio::time::timeout(common::PATIENCE, tokio::task::spawn_blocking(run)).await.expect("psql ends in time").expect("no panic")
}

async fn with_objects() -> TestServer {
    let server = TestServer::start().await;
    let client = server.connect().await;
    // One by one: DDL is not part of a block.
    for statement in OBJECTS.split(';') {
        client.simple_query(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
    server
}

async fn check(server: &TestServer, command: &str, expected: &str) {
    assert_eq!(described(server, command).await.trim_end(), expected, "{command}");
}

#[tokio::test(flavor = "multi_thread")]
async fn relations_are_listed() {
    let server = with_objects().await;
    let all = "public|cheap|view|thalweg\npublic|item|table|thalweg\npublic|sale|table|thalweg\npublic|sale$errors|view|thalweg\n\
               public|sold|materialized view|thalweg\npublic|sold$errors|view|thalweg";
    check(&server, "\\d", all).await;
    check(&server, "\\dt", "public|item|table|thalweg\npublic|sale|table|thalweg").await;
    check(&server, "\\dt *.t*", "shop|till|table|thalweg").await;
    check(&server, "\\dm", "public|sold|materialized view|thalweg").await;
    check(&server, "\\dv c*", "public|cheap|view|thalweg").await;
    check(&server, "\\di", "public|item_pkey|index|thalweg|item").await;
    check(&server, "\\ds", "").await;
    check(&server, "\\dn", "public|thalweg\nshop|thalweg\nthalweg|thalweg").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn relations_are_described() {
    let server = with_objects().await;
    let item = "id|bigint||not null|\npart|integer||not null|\nname|character varying(5)||not null|\nprice|numeric(12,3)|||1.5";
    check(&server, "\\d item", item).await;
    let key = "Indexes:\n    \"item_pkey\" PRIMARY KEY, btree (id, part)";
    let in_full = described_in_full(&server, "\\d item").await;
    assert!(in_full.contains(key), "{in_full}");
    check(&server, "\\d sale", "item|bigint|||\nat|timestamp with time zone|||\ntags|text[]|||").await;
    check(&server, "\\d item_pkey", "id|bigint|yes|id\npart|integer|yes|part").await;
    let cheap = described_in_full(&server, "\\d+ cheap").await;
    assert!(cheap.contains("View definition:\n SELECT id, name FROM item WHERE price < 10;"), "{cheap}");
    let sold = described_in_full(&server, "\\d+ sold").await;
    assert!(sold.contains("View definition:\n SELECT item, count(*) AS n FROM sale GROUP BY item;"), "{sold}");
    let commented = described(&server, "\\d+ item").await;
    assert!(commented.contains("price|numeric(12,3)|||1.5|main|||without tax"), "{commented}");
    let listed = described(&server, "\\dt+ item").await;
    assert!(listed.ends_with("|what is sold\n"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_else_is_described() {
    let server = with_objects().await;
    check(&server, "\\df", "public|twice|bigint|x bigint|func").await;
    check(&server, "\\df pg_catalog.now", "pg_catalog|now|timestamp with time zone||func").await;
    check(&server, "\\da pg_catalog.every", "pg_catalog|every|boolean|boolean|boolean-and aggregate").await;
    check(&server, "\\du", "thalweg|Superuser, Create role, Create DB, Replication, Bypass RLS|{}").await;
    check(&server, "\\l", "thalweg|thalweg|UTF8|C|C||libc|").await;
    check(&server, "\\dT", "").await;
    check(&server, "\\dT pg_catalog.int8", "pg_catalog|bigint|~18 digit integer, 8-byte storage").await;
    check(&server, "\\dx", "").await;
    for command in [
        "\\dp item",
        "\\dd",
        "\\dE",
        "\\dconfig work_mem",
        "\\dRp",
        "\\dew",
        "\\dc",
        "\\dO",
        "\\ddp",
        "\\drds",
        "\\do pg_catalog.||",
        "\\dL",
        "\\dA",
        "\\db",
    ] {
        described(&server, command).await;
    }
}
