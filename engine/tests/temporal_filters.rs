//! Views that go by the clock, under a clock that the test moves: after each change and each move the views' rows are those for which
//! their condition holds at that moment, as worked out here.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::util::pretty::pretty_format_batches;
use futures::StreamExt;
use rand::{Rng, SeedableRng, rngs::StdRng};
use thalweg_engine::Engine;
use thalweg_engine::clock::Clock;
use thalweg_engine::config::{Config, Driver};
use thalweg_engine::plan::statement::{Name, Statement};

/// 2026-01-01 00:00:00 UTC in seconds.
const START_S: i64 = 1_767_225_600;
const DAY_S: i64 = 86_400;

/// A clock that shows what it was last told, in seconds.
#[derive(Clone)]
struct Hands(Arc<Clock>);

impl Hands {
    fn at(seconds: i64) -> Self {
        Self(Arc::new(Clock::Manual(AtomicI64::new(seconds * 1_000_000))))
    }

    fn set(&self, seconds: i64) {
        let Clock::Manual(now) = self.0.as_ref() else { unreachable!("it was made so") };
        now.store(seconds * 1_000_000, Ordering::Relaxed);
    }
}

struct Db(Engine);

impl Db {
    async fn open(data: &Path, (driver, n_workers): (Driver, usize), hands: &Hands) -> Self {
        let config = Config { data: data.display().to_string(), driver, n_workers, clock: Arc::clone(&hands.0), ..Config::default() };
        Self(Engine::open(config).await.expect("the folder is ours"))
    }

    /// Runs statements; the rows of the last one, sorted, or its error.
    async fn run(&self, sql: &str) -> String {
        let mut shown = String::new();
        for parsed in self.0.parse(sql).expect("the statements parse") {
            shown = match &parsed.statement {
                Statement::Query(query) => match self.0.query(query, None).await {
                    Ok(rows) => text_of(rows).await,
                    Err(error) => format!("{} {error}", error.sqlstate),
                },
                Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) => match self.0.write(&parsed, None).await {
                    Ok(written) => format!("{} rows", written.n_rows),
                    Err(error) => format!("{} {error}", error.sqlstate),
                },
                Statement::Explain(_) => text_of(self.0.describe(&parsed.statement).await.expect("it can be explained")).await,
                _ => match self.0.define(&parsed).await {
                    Ok(done) => done.tag.to_string(),
                    Err(error) => format!("{} {error}", error.sqlstate),
                },
            };
        }
        shown
    }

    /// The rows in which a view differs from its query.
    async fn verify(&self, view: &str) -> String {
        let rows = self.0.verify(&Name { schema: None, name: view.into() }).await.expect("the view can be verified");
        text_of(rows).await
    }
}

async fn text_of(mut rows: thalweg_engine::engine::Rows) -> String {
    let mut batches = Vec::new();
    while let Some(batch) = rows.stream.next().await {
        batches.push(batch.expect("the query runs"));
    }
    let text = pretty_format_batches(&batches).expect("batches print").to_string();
    let lines = text.lines().filter(|line| line.starts_with("| ")).skip(1);
    let mut lines: Vec<String> = lines.map(|line| line.trim_matches('|').split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    lines.sort();
    lines.join("; ")
}

/// A row of `t`: from when to when it is valid, in seconds after the start, and its group.
#[derive(Clone, Copy)]
struct Row {
    from: Option<i64>,
    until: Option<i64>,
    group: i64,
}

/// A view, and whether a row is in it at `now`, in seconds after the start.
type View = (&'static str, &'static str, fn(&Row, i64) -> bool);

/// SQL's `a <= b`: false beside a null.
fn le(a: Option<i64>, b: Option<i64>) -> bool {
    matches!((a, b), (Some(a), Some(b)) if a <= b)
}

fn lt(a: Option<i64>, b: Option<i64>) -> bool {
    matches!((a, b), (Some(a), Some(b)) if a < b)
}

const VIEWS: &[View] = &[
    ("recent", "f > now() - INTERVAL '10 seconds' AND f <= now()", |row, now| lt(Some(now - 10), row.from) && le(row.from, Some(now))),
    ("valid", "now() BETWEEN f AND u", |row, now| le(row.from, Some(now)) && le(Some(now), row.until)),
    ("expired", "u + INTERVAL '5 seconds' < now()", |row, now| lt(row.until.map(|until| until + 5), Some(now))),
    ("upcoming", "NOT (current_timestamp >= f) AND g < 2", |row, now| lt(Some(now), row.from) && row.group < 2),
    ("today", "f::date = current_date", |row, now| {
        le(Some(now - now.rem_euclid(DAY_S)), row.from) && lt(row.from, Some(now - now.rem_euclid(DAY_S) + DAY_S))
    }),
    ("yesterday_on", "u >= current_date - 1 AND u < date_trunc('hour', localtimestamp) + INTERVAL '1 hour'", |row, now| {
        let (day, hour) = (now - now.rem_euclid(DAY_S), now - now.rem_euclid(3600));
        le(Some(day - DAY_S), row.until) && lt(row.until, Some(hour + 3600))
    }),
    ("at_once", "f = now()", |row, now| row.from == Some(now)),
    (
        "several",
        "f > now() - INTERVAL '1 minute' AND f > now() - INTERVAL '20 seconds' AND u >= now() AND u > now() - INTERVAL '3 s'",
        |row, now| lt(Some(now - 20), row.from) && le(Some(now), row.until),
    ),
];

fn create_all() -> String {
    let mut sql = String::from("CREATE TABLE t (k int PRIMARY KEY, f timestamp, u timestamptz, g bigint); CREATE TABLE other (k int);");
    for (name, condition, _) in VIEWS {
        sql.push_str(&format!("CREATE MATERIALIZED VIEW {name} AS SELECT k FROM t WHERE {condition};"));
    }
    sql.push_str(
        "CREATE MATERIALIZED VIEW per_group AS SELECT g, count(*) AS n FROM t WHERE f > now() - INTERVAL '10 seconds' AND f <= now() GROUP BY g;
         CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM valid;
         CREATE MATERIALIZED VIEW both_ways AS SELECT a.k, b.k AS other FROM t AS a JOIN t AS b ON a.g = b.g AND a.k < b.k
           AND a.u + (b.f - a.f) >= now() WHERE b.f <= now()",
    );
    sql
}

fn time(seconds: Option<i64>) -> String {
    seconds.map_or("NULL".into(), |seconds| format!("to_timestamp({})", START_S + seconds))
}

fn listed(mut found: Vec<String>) -> String {
    found.sort();
    found.join("; ")
}

/// Compares all views with the rows that should be in them.
async fn compare(db: &Db, rows: &BTreeMap<i64, Row>, now: i64, place: &str) {
    for (name, _, is_in) in VIEWS {
        let expected = rows.iter().filter(|(_, row)| is_in(row, now)).map(|(k, _)| k.to_string()).collect();
        assert_eq!(db.run(&format!("SELECT k FROM {name}")).await, listed(expected), "{name} {place}");
        assert_eq!(db.verify(name).await, "", "{name} {place}");
    }
    let mut groups: BTreeMap<i64, i64> = BTreeMap::new();
    rows.values().filter(|row| VIEWS[0].2(row, now)).for_each(|row| *groups.entry(row.group).or_default() += 1);
    let expected = listed(groups.iter().map(|(group, n)| format!("{group} | {n}")).collect());
    assert_eq!(db.run("SELECT * FROM per_group").await, expected, "per_group {place}");
    let n_valid = rows.values().filter(|row| VIEWS[1].2(row, now)).count();
    assert_eq!(db.run("SELECT * FROM counted").await, n_valid.to_string(), "counted {place}");
    let mut pairs = Vec::new();
    for (k, a) in rows {
        for (other, b) in rows.range(k + 1..).filter(|(_, b)| b.group == a.group && le(b.from, Some(now))) {
            if let (Some(from), Some(until), Some(other_from)) = (a.from, a.until, b.from) {
                pairs.extend((until + other_from - from >= now).then(|| format!("{k} | {other}")));
            }
        }
    }
    assert_eq!(db.run("SELECT * FROM both_ways").await, listed(pairs), "both_ways {place}");
    for view in ["per_group", "counted", "both_ways"] {
        assert_eq!(db.verify(view).await, "", "{view} {place}");
    }
}

/// A random change as SQL, made to the model as well. Something is always written, so that there is an epoch at this time.
fn change(random: &mut StdRng, rows: &mut BTreeMap<i64, Row>, now: i64) -> String {
    let mut sql = format!("INSERT INTO other VALUES ({});", random.random_range(0..3));
    for _ in 0..random.random_range(0..4) {
        let mut around = || random.random_bool(0.9).then(|| now + random.random_range(-25..25) + random.random_range(-1..2) * DAY_S / 2);
        let (from, until) = (around(), around());
        let row = Row { from, until, group: random.random_range(0..3) };
        let k = random.random_range(0..20);
        if random.random_bool(0.3) {
            rows.remove(&k);
            sql.push_str(&format!("DELETE FROM t WHERE k = {k};"));
        } else {
            rows.insert(k, row);
            let (from, until) = (time(row.from), time(row.until));
            sql.push_str(&format!(
                "INSERT INTO t VALUES ({k}, {from}, {until}, {}) ON CONFLICT (k) DO UPDATE SET f = excluded.f, u = excluded.u, g = excluded.g;",
                row.group
            ));
        }
    }
    sql
}

async fn random_history(seed: u64, driver: (Driver, usize)) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut random = StdRng::seed_from_u64(seed);
    let mut now = 0;
    let hands = Hands::at(START_S);
    let mut db = Db::open(folder.path(), driver, &hands).await;
    assert_eq!(db.run(&create_all()).await, "CREATE MATERIALIZED VIEW");
    let mut rows = BTreeMap::new();
    for step in 0..30 {
        now += [0, 1, 1, 3, 7, 12, DAY_S / 2][random.random_range(0..7)];
        hands.set(START_S + now);
        let sql = change(&mut random, &mut rows, now);
        db.run(&sql).await;
        let place = format!("seed {seed} step {step} with {driver:?} at {now}: {sql}");
        compare(&db, &rows, now, &place).await;
        if step % 10 == 9 {
            db.0.shutdown().await.expect("it stops");
            db = Db::open(folder.path(), driver, &hands).await;
            compare(&db, &rows, now, &format!("{place} after a restart")).await;
        }
    }
    db.0.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_those_whose_condition_holds() {
    for (seed, driver) in [(Driver::Timely, 1), (Driver::Timely, 2), (Driver::Timely, 3), (Driver::Sequential, 1)].into_iter().enumerate() {
        random_history(seed as u64, driver).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_begins_at_the_time_of_its_creation_and_the_clock_never_goes_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let hands = Hands::at(START_S);
    let db = Db::open(folder.path(), (Driver::Timely, 2), &hands).await;
    db.run(&format!("CREATE TABLE t (k int, f timestamp); INSERT INTO t VALUES (1, {}), (2, {})", time(Some(5)), time(Some(50)))).await;
    hands.set(START_S + 30);
    db.run("CREATE MATERIALIZED VIEW v AS SELECT k FROM t WHERE f > now() - INTERVAL '10 s'").await;
    assert_eq!(db.run("SELECT k FROM v").await, "2", "nothing was written since the clock was moved");
    hands.set(START_S + 10);
    db.run("INSERT INTO t VALUES (3, TIMESTAMP '2026-01-01 00:00:15')").await;
    assert_eq!(db.run("SELECT k FROM v").await, "2", "for the view it is half a minute past still");
    assert_eq!(db.verify("v").await, "");
    hands.set(START_S + 61);
    db.run("INSERT INTO t VALUES (4, NULL)").await;
    assert_eq!(db.run("SELECT k FROM v").await, "");
    assert_eq!(db.run("DELETE FROM t").await, "4 rows");
    assert_eq!(db.run("SELECT k FROM v").await, "");
    db.0.shutdown().await.expect("it stops");
}

/// A relation may be durable in the catalog before the epoch at whose end it began is in the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_whose_first_epoch_was_lost_begins_at_the_next_start() {
    for driver in [Driver::Timely, Driver::Sequential] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let hands = Hands::at(START_S);
        let db = Db::open(folder.path(), (driver, 2), &hands).await;
        db.run("CREATE TABLE t (k int, f timestamp); CREATE MATERIALIZED VIEW v AS SELECT k FROM t WHERE f > now(); CREATE MATERIALIZED VIEW n AS SELECT count(*) AS n FROM t").await;
        db.0.shutdown().await.expect("it stops");
        std::fs::remove_dir_all(folder.path().join("log")).expect("the log holds nothing but the view's first epoch");
        for n in 0..3 {
            let db = Db::open(folder.path(), (driver, 2), &hands).await;
            assert_eq!(db.run("SELECT * FROM v").await, vec!["1"; n].join("; "));
            assert_eq!(db.run("SELECT * FROM n").await, n.to_string());
            assert_eq!(db.verify("v").await, "");
            assert_eq!(db.run("INSERT INTO t VALUES (1, TIMESTAMP '2026-01-01 00:00:10')").await, "1 rows");
            assert_eq!(db.run("SELECT * FROM n").await, (n + 1).to_string());
            db.0.shutdown().await.expect("it stops");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_instant_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let db = Db::open(folder.path(), (Driver::Timely, 1), &Hands::at(START_S)).await;
    db.run("CREATE TABLE t (k int, f timestamp, d date); CREATE TABLE u (k int, f timestamp)").await;
    let refused = [
        "SELECT now() AS n FROM t",
        "SELECT k FROM t WHERE f > now() OR k = 1",
        "SELECT k FROM t WHERE f <> now()",
        "SELECT k FROM t WHERE NOT (f = now())",
        "SELECT k FROM t WHERE f > now() - INTERVAL '1 month'",
        "SELECT k FROM t WHERE f > now() - INTERVAL '1 year 1 day'",
        "SELECT k FROM t WHERE f > now() - k * INTERVAL '1 hour'",
        "SELECT k FROM t WHERE f NOT BETWEEN now() - INTERVAL '1 hour' AND now()",
        "SELECT k FROM t WHERE now() - f < INTERVAL '1 hour'",
        "SELECT k FROM t WHERE f > date_trunc('month', now())",
        "SELECT k FROM t WHERE CASE WHEN k = 1 THEN f > now() ELSE true END",
        "SELECT k FROM t WHERE (f > now()) IS NOT FALSE",
        "SELECT k FROM t WHERE d - current_date < 3",
        "SELECT current_time AS c FROM t",
        "SELECT count(*) FILTER (WHERE f > now()) AS n FROM t",
        "SELECT t.k FROM t LEFT JOIN u ON t.k = u.k AND t.f > now()",
        "SELECT t.k FROM t FULL JOIN u ON t.k = u.k AND u.f > now()",
        "SELECT k FROM t ORDER BY f - now() LIMIT 1",
        "SELECT t.k FROM t JOIN u ON t.k = u.k AND (t.f > now()) = (u.f > now())",
        "SELECT k FROM t WHERE k IN (SELECT u.k FROM u WHERE t.f + (u.f - TIMESTAMP '2026-01-01') > now())",
        "WITH RECURSIVE r AS (SELECT k, f FROM t UNION SELECT r.k + 1, r.f FROM r WHERE r.f > now() AND r.k < 9) SELECT k FROM r",
    ];
    for query in refused {
        let error = db.run(&format!("CREATE MATERIALIZED VIEW v AS {query}")).await;
        assert!(error.starts_with("0A000") && error.contains("in a materialized view is not supported"), "{query}: {error}");
    }
    db.0.shutdown().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_on_the_clock_go_below_joins() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let db = Db::open(folder.path(), (Driver::Timely, 1), &Hands::at(START_S)).await;
    db.run("CREATE TABLE t (k int, f timestamp); CREATE TABLE u (k int, f timestamp)").await;
    let plans = [
        "SELECT t.k FROM t JOIN u ON t.k = u.k WHERE t.f > now() - INTERVAL '1 hour' AND u.f <= now()",
        "SELECT t.k FROM t LEFT JOIN u ON t.k = u.k WHERE t.f > now() - INTERVAL '1 hour' AND u.f <= now()",
        "SELECT t.k FROM t JOIN u ON t.k = u.k AND t.f > now() AND u.f > now() ORDER BY 1 LIMIT 3",
        "SELECT t.k FROM t WHERE EXISTS (SELECT FROM u WHERE u.k = t.k AND u.f > now()) AND f > now()",
    ];
    for query in plans {
        let plan = db.run(&format!("EXPLAIN CREATE MATERIALIZED VIEW v AS {query}")).await;
        assert_eq!(plan.matches("Temporal filter").count(), 2, "{query}: {plan}");
        assert!(!plan.contains("Join left"), "{query}: {plan}");
    }
    let plan =
        db.run("EXPLAIN CREATE MATERIALIZED VIEW v AS SELECT k FROM t WHERE f > now() - INTERVAL '1 hour' AND f <= now() AND k > 1").await;
    assert!(
        plan.contains("now < leaves_at(CAST(f AS Timestamp(µs, \"UTC\"))) [incremental] state: rows that will enter or leave"),
        "{plan}"
    );
    db.0.shutdown().await.expect("it stops");
}
