//! The whole way, embedded: rows in, a view kept current, reads at one epoch, a restart.

use arrow::util::pretty::pretty_format_batches;
use futures::StreamExt;
use thalweg_engine::Engine;
use thalweg_engine::config::{Config, Driver};
use thalweg_engine::plan::statement::Statement;

struct Db(Engine);

impl Db {
    async fn open(data: &std::path::Path, driver: Driver) -> Self {
        let config = Config { data: data.display().to_string(), driver, ..Config::default() };
        Self(Engine::open(config).await.expect("the folder is ours"))
    }

    /// Runs statements; the text of the last one's rows, sorted, or of its error.
    async fn run(&self, sql: &str) -> String {
        let mut shown = String::new();
        for parsed in self.0.parse(sql).expect("the statements parse") {
            shown = match &parsed.statement {
                Statement::Query(query) => self.rows(query).await,
                Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) => match self.0.write(&parsed, None).await {
                    Ok(written) => format!("{} rows", written.n_rows),
                    Err(error) => format!("{} {error}", error.sqlstate),
                },
                Statement::WaitFor { name } => format!("{:?}", self.0.wait_for(name).await),
                _ => match self.0.define(&parsed).await {
                    Ok(done) => done.tag.to_string(),
                    Err(error) => format!("{} {error}", error.sqlstate),
                },
            };
        }
        shown
    }

    async fn rows(&self, query: &datafusion::sql::sqlparser::ast::Query) -> String {
        let mut rows = match self.0.query(query, None).await {
            Ok(rows) => rows,
            Err(error) => return format!("{} {error}", error.sqlstate),
        };
        let mut batches = Vec::new();
        while let Some(batch) = rows.stream.next().await {
            batches.push(batch.expect("the query runs"));
        }
        let text = pretty_format_batches(&batches).expect("batches print").to_string();
        let mut lines: Vec<String> = text
            .lines()
            .filter(|line| line.starts_with("| "))
            .skip(1)
            .map(|line| line.trim_matches('|').split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        lines.sort();
        lines.join("; ")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_follows_its_table_through_a_restart() {
    for driver in [Driver::Timely, Driver::Sequential] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let db = Db::open(folder.path(), driver).await;
        assert_eq!(db.run("CREATE TABLE t (k int PRIMARY KEY, g text, v bigint)").await, "CREATE TABLE");
        assert_eq!(db.run("INSERT INTO t VALUES (1, 'a', 10), (2, 'a', 20), (3, 'b', 5)").await, "3 rows");
        let create = "CREATE MATERIALIZED VIEW s AS SELECT g, count(*) AS n, sum(v) AS total, max(v) AS top FROM t GROUP BY g";
        assert_eq!(db.run(create).await, "CREATE MATERIALIZED VIEW");
        assert_eq!(db.run("SELECT * FROM s").await, "a | 2 | 30 | 20; b | 1 | 5 | 5");
        assert_eq!(db.run("INSERT INTO t VALUES (1, 'x', 0)").await, "23505 duplicate key value violates unique constraint \"t_pkey\"");
        assert_eq!(db.run("INSERT INTO t VALUES (1, 'x', 7) ON CONFLICT (k) DO UPDATE SET v = t.v + excluded.v").await, "1 rows");
        assert_eq!(db.run("DELETE FROM t WHERE g = 'b'").await, "1 rows");
        assert_eq!(db.run("UPDATE t SET g = 'c' WHERE k = 2").await, "1 rows");
        assert_eq!(db.run("SELECT * FROM s").await, "a | 1 | 17 | 17; c | 1 | 20 | 20");
        assert_eq!(
            db.run("CREATE MATERIALIZED VIEW w AS SELECT g, total, rank() OVER (ORDER BY total) AS r FROM s").await,
            "CREATE MATERIALIZED VIEW"
        );
        assert_eq!(db.run("SELECT * FROM w").await, "a | 17 | 1; c | 20 | 2");
        db.0.shutdown().await.expect("it stops");
        let db = Db::open(folder.path(), driver).await;
        assert_eq!(db.run("SELECT * FROM w").await, "a | 17 | 1; c | 20 | 2");
        assert_eq!(db.run("INSERT INTO t VALUES (9, 'c', 1)").await, "1 rows");
        assert_eq!(db.run("SELECT * FROM w").await, "a | 17 | 1; c | 21 | 2");
        assert_eq!(db.run("DROP TABLE t").await.get(..5), Some("2BP01"));
        assert_eq!(db.run("DROP TABLE t CASCADE").await, "DROP TABLE");
        assert_eq!(db.run("SELECT * FROM w").await, "42P01 relation \"w\" does not exist");
        db.0.shutdown().await.expect("it stops");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounded_source_is_read_to_its_end() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let db = Db::open(folder.path(), Driver::Timely).await;
    assert_eq!(db.run("CREATE STREAM bid WITH (connector = 'nexmark', table = 'bid', events = 100000)").await, "CREATE STREAM");
    db.run("CREATE MATERIALIZED VIEW n AS SELECT count(*) AS n FROM bid; WAIT FOR n").await;
    assert_eq!(db.run("SELECT * FROM n").await, "92000");
    assert_eq!(db.run("SELECT count(*) FROM bid").await, "92000");
    db.0.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_dropped_without_a_shutdown_gives_its_data_free() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let db = Db::open(folder.path(), Driver::Timely).await;
    db.run("CREATE TABLE t (a int); INSERT INTO t VALUES (1)").await;
    drop(db);
    let config = Config { data: folder.path().display().to_string(), ..Config::default() };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let again = loop {
        match Engine::open(config.clone()).await {
            Ok(engine) => break engine,
            Err(error) => assert!(std::time::Instant::now() < deadline, "its threads have not ended: {error}"),
        }
    };
    assert_eq!(Db(again).run("SELECT a FROM t").await, "1");
}

/// A snapshot of many more rows than an epoch of live changes: each partition is evaluated once, not once for each part of the
/// snapshot that reaches it.
#[tokio::test(flavor = "multi_thread")]
async fn windows_over_a_large_snapshot_read_no_partition_again() {
    const QUERY: &str = "SELECT g, v, sum(v) OVER (PARTITION BY g ORDER BY v) AS s FROM t";
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = Config { data: folder.path().display().to_string(), n_workers: 2, ..Config::default() };
    let db = Db(Engine::open(config).await.expect("the folder is ours"));
    db.run("CREATE TABLE t (g bigint, v bigint)").await;
    assert_eq!(db.run("INSERT INTO t SELECT n % 9000, n FROM generate_series(1, 900000) AS s(n)").await, "900000 rows");
    assert_eq!(db.run(&format!("CREATE MATERIALIZED VIEW v AS {QUERY}; WAIT FOR v")).await, "Ok(())");
    let differing = format!("SELECT count(*) FROM ((TABLE v EXCEPT ALL {QUERY}) UNION ALL ({QUERY} EXCEPT ALL TABLE v)) AS d");
    assert_eq!(db.run(&differing).await, "0");
    let read = "SELECT rows_in, state_rows_read FROM thalweg.operators WHERE relation = 'v' AND operator LIKE 'Over%'";
    assert_eq!(db.run(read).await, "900000 | 0");
    assert_eq!(db.run("INSERT INTO t VALUES (1, 0), (2, NULL); DELETE FROM t WHERE g = 3").await, "100 rows");
    assert_eq!(db.run(&differing).await, "0");
    db.0.shutdown().await.expect("it closes");
}

/// Views that look rows up in tables which change meanwhile are ahead of them at no epoch, nor behind; what is looked up is not kept.
#[tokio::test(flavor = "multi_thread")]
async fn joins_look_rows_up_as_of_their_epoch() {
    const QUERIES: [&str; 3] = [
        "SELECT a.id, a.w, b.v FROM a LEFT JOIN b ON b.id = a.k",
        "SELECT a.id, a.w, b.v FROM a JOIN b ON a.id = b.id",
        "SELECT a.id, n.total FROM a JOIN n ON n.k = a.k",
    ];
    for driver in [Driver::Timely, Driver::Sequential] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let db = &Db::open(folder.path(), driver).await;
        db.run("CREATE TABLE a (id bigint PRIMARY KEY, k bigint, w bigint); CREATE TABLE b (id bigint PRIMARY KEY, v bigint)").await;
        db.run("INSERT INTO a SELECT n, n % 500, 0 FROM generate_series(1, 20000) AS s(n)").await;
        db.run("INSERT INTO b SELECT n, 0 FROM generate_series(0, 400) AS s(n)").await;
        db.run("CREATE MATERIALIZED VIEW n AS SELECT k, count(*) + sum(w) AS total FROM a GROUP BY k").await;
        let write = async |step: i64| {
            let (id, k) = (step * 7_919 % 20_000 + 1, step * 31 % 500);
            let sql = format!(
                "UPDATE b SET v = v + 1 WHERE id = {k}; UPDATE a SET k = {k}, w = {step} WHERE id = {id}; DELETE FROM b WHERE id = {}; \
                 INSERT INTO b VALUES ({}, {step}) ON CONFLICT (id) DO UPDATE SET v = excluded.v",
                k + 1,
                (k + 250) % 500
            );
            db.run(&sql).await;
        };
        let views = async {
            for (place, query) in QUERIES.iter().enumerate() {
                db.run(&format!("CREATE MATERIALIZED VIEW v{place} AS {query}")).await;
            }
        };
        let writes = async {
            for step in 0..60 {
                write(step).await;
            }
        };
        tokio::join!(views, writes);
        for step in 60..70 {
            write(step).await;
            for (place, query) in QUERIES.iter().enumerate() {
                let differing = format!(
                    "SELECT count(*) FROM ((TABLE v{place} EXCEPT ALL {query}) UNION ALL ({query} EXCEPT ALL TABLE v{place})) AS d"
                );
                assert_eq!(db.run(&differing).await, "0", "{query}, step {step}, {driver:?}");
            }
        }
        let kept = "SELECT state_rows FROM thalweg.operators WHERE relation = 'v1' AND operator LIKE 'Join%'";
        assert_eq!(db.run(kept).await, "0", "both sides are looked up");
        db.0.shutdown().await.expect("it closes");
    }
}
