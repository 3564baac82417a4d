//! What one client can take of the server: memory for a query, and for rows that are not read.

use crate::common::{PATIENCE, TestServer, simple};

/// Small enough for a test, large enough for a sort to go on in files.
const QUERY_MEMORY_BYTES: usize = 32 << 20;

async fn sqlstate_and_hint(client: &tokio_postgres::Client, sql: &str) -> (String, Option<String>) {
    let error = tokio::time::timeout(PATIENCE, client.simple_query(sql)).await.expect("an answer in time").expect_err(sql);
    let error = error.as_db_error().expect("an error of the server");
    (error.code().code().to_owned(), error.hint().map(str::to_owned))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_needs_too_much_memory_fails_alone() {
    let server = TestServer::start_with(|given| given.query_memory_bytes = Some(QUERY_MEMORY_BYTES)).await;
    let client = server.connect().await;
    // Both sides of the join are larger than the limit, and a hash table does not go to a file.
    let join = "SELECT count(*) FROM generate_series(1, 3000000) AS a(x) JOIN generate_series(1, 3000000) AS b(y) ON a.x = b.y";
    let (sqlstate, hint) = sqlstate_and_hint(&client, join).await;
    assert_eq!(sqlstate, "53200");
    assert!(hint.is_some_and(|hint| hint.contains("--query-memory-bytes")), "the hint names the setting");
    // The session goes on, and so does what fits.
    assert_eq!(simple(&client, "SELECT count(*) FROM generate_series(1, 3000000) AS a(x)").await, ["3000000", "-- 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sort_beyond_the_limit_goes_on_in_files() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let server = TestServer::start_with(|given| {
        given.query_memory_bytes = Some(QUERY_MEMORY_BYTES);
        given.data = Some(data.path().to_string_lossy().into_owned());
    })
    .await;
    let client = server.connect().await;
    // Keys of more than the limit.
    let sorted = "SELECT min(n), max(n), count(*) FROM (SELECT row_number() OVER (ORDER BY md5(x::text)) AS n FROM generate_series(1, 800000) AS a(x)) AS s";
    let query = simple(&client, sorted);
    tokio::pin!(query);
    let mut n_files = 0;
    let rows = loop {
        tokio::select! {
            rows = &mut query => break rows,
            () = tokio::task::yield_now() => n_files = n_files.max(files_below(&data.path().join("spill"))),
        }
    };
    assert_eq!(rows, ["1|800000|800000", "-- 1"]);
    assert!(n_files > 0, "it never wrote a file");
    assert_eq!(files_below(&data.path().join("spill")), 0, "its files are gone");
}

/// Files in a folder's folders.
fn files_below(folder: &std::path::Path) -> usize {
    let entries =
        |folder: &std::path::Path| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>();
    entries(folder).iter().flat_map(|inner| entries(inner)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_does_not_read_is_told_to_go() {
    let server = TestServer::start().await;
    let client = server.connect().await;
    simple(&client, "CREATE TABLE wide (id INT PRIMARY KEY, v TEXT, n INT)").await;
    simple(&client, "INSERT INTO wide SELECT n, repeat('x', 1000), 0 FROM generate_series(1, 1000) AS g(n)").await;
    let mut reader = server.session().await;
    reader.query("SUBSCRIBE wide").await;
    // Each changes 2 MB; the socket's own buffers take some as well.
    for _ in 0..40 {
        simple(&client, "UPDATE wide SET n = n + 1").await;
    }
    let answer = reader.until('E').await;
    let told = String::from_utf8_lossy(&answer.last().expect("an error").1).into_owned();
    assert!(told.contains("53400"), "{told}");
    // The session goes on.
    reader.until('Z').await;
    reader.query("SELECT 1").await;
    reader.until('Z').await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cross_join_of_many_rows_keeps_the_small_side() {
    let server = TestServer::start_with(|given| given.query_memory_bytes = Some(1 << 20)).await;
    let client = server.connect().await;
    simple(&client, "CREATE TABLE a (n int); INSERT INTO a SELECT * FROM generate_series(1, 300)").await;
    // The product of the first two has 90,000 rows of 8 bytes.
    let joined = "SELECT count(*) FROM a AS x, a AS y, a AS z WHERE x.n + y.n + z.n = 7";
    assert_eq!(simple(&client, joined).await, ["15", "-- 1"]);
}
