//! Many views over one large stream: what creating one more costs, what the others' readers feel of it, and what is left
//! after all are dropped. `docs/benchmarks.md` says how each figure is taken.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{Array, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use engine::{Error, Result};
use serde_json::{Value, json};

use crate::database::Database;

/// Reads of the small views while nothing else happens: enough that the 99th percentile is some tens of reads.
const N_QUIET_READS: usize = 4_000;
/// Memory is looked at this long after the last DROP.
const SETTLING: Duration = Duration::from_secs(10);

/// What to measure with.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Rows of the stream.
    pub n_rows: u64,
    /// Views there are already.
    pub n_views: usize,
    /// Worker threads.
    pub n_workers: usize,
    /// Steps of the recursion in the slow view: each reads the whole stream.
    pub n_slow_steps: u64,
}

/// What was measured.
#[derive(Debug, Default)]
pub struct Figures {
    fill_s: f64,
    views_s: f64,
    quiet: Latencies,
    create: Duration,
    first_read: Duration,
    while_built: Latencies,
    slow_create: Duration,
    slow_read: Duration,
    while_slow: Latencies,
    state_bytes: [u64; 2],
    resident_bytes: [u64; 3],
}

/// How long reads took.
#[derive(Debug, Default)]
struct Latencies(Vec<Duration>);

impl Latencies {
    fn at(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let index = (sorted.len() as f64 * share) as usize;
        sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    fn to_json(&self) -> Value {
        json!({ "reads": self.0.len(), "p50_ms": ms(self.at(0.5)), "p99_ms": ms(self.at(0.99)), "max_ms": ms(self.at(1.0)) })
    }
}

/// Runs the whole measurement in this process.
pub async fn measure(scale: Scale) -> Result<Figures> {
    let database = Arc::new(Database::open(scale.n_workers).await?);
    let mut figures = Figures::default();
    let started = Instant::now();
    // 46 of 50 events are bids.
    let n_events = scale.n_rows * 50 / 46;
    database.run(&format!("CREATE STREAM bid WITH (connector = 'nexmark', table = 'bid', events = {n_events}); WAIT FOR bid")).await?;
    figures.fill_s = started.elapsed().as_secs_f64();
    figures.state_bytes[0] = state_bytes(&database).await?;
    figures.resident_bytes[0] = resident_bytes()?;
    let started = Instant::now();
    for view in 0..scale.n_views {
        database.run(&small_view(view)).await?;
    }
    for view in 0..scale.n_views {
        database.run(&format!("WAIT FOR small_{view}")).await?;
    }
    figures.views_s = started.elapsed().as_secs_f64();
    figures.quiet = read_times(&database, scale.n_views, N_QUIET_READS).await?;

    let readers = Readers::start(&database, scale.n_views);
    let started = Instant::now();
    database.run(LARGE_VIEW).await?;
    figures.create = started.elapsed();
    database.run("SELECT count(*) FROM large").await?;
    figures.first_read = started.elapsed();
    figures.while_built = readers.stop().await?;

    let started = Instant::now();
    database.run(&slow_view(scale.n_slow_steps)).await?;
    figures.slow_create = started.elapsed();
    let readers = Readers::start(&database, scale.n_views);
    database.run("SELECT count(*) FROM slow").await?;
    figures.slow_read = started.elapsed();
    figures.while_slow = readers.stop().await?;
    figures.resident_bytes[1] = resident_bytes()?;

    database.run("DROP MATERIALIZED VIEW large, slow").await?;
    for view in 0..scale.n_views {
        database.run(&format!("DROP MATERIALIZED VIEW small_{view}")).await?;
    }
    let settled = Instant::now() + SETTLING;
    while Instant::now() < settled {
        // A server goes on serving; an allocator gives memory back while it works.
        database.run("SELECT count(*) FROM thalweg.jobs").await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    figures.state_bytes[1] = state_bytes(&database).await?;
    figures.resident_bytes[2] = resident_bytes()?;
    Arc::into_inner(database).ok_or_else(|| Error::internal("the readers have ended"))?.close().await?;
    Ok(figures)
}

/// Each over its own hundredth of the auctions.
fn small_view(index: usize) -> String {
    format!(
        "CREATE MATERIALIZED VIEW small_{index} AS SELECT bidder % 100 AS slot, count(*) AS bids, max(price) AS top \
         FROM bid WHERE auction % 100 = {} GROUP BY bidder % 100",
        index % 100
    )
}

/// A group for each auction, with the set of its bidders.
const LARGE_VIEW: &str = "CREATE MATERIALIZED VIEW large AS SELECT auction, count(*) AS bids, count(DISTINCT bidder) AS bidders, max(price) AS top \
     FROM bid GROUP BY auction";

/// A recursion whose rows are aggregated is recomputed; each of its steps looks through the whole stream.
fn slow_view(n_steps: u64) -> String {
    format!(
        "CREATE MATERIALIZED VIEW slow AS WITH RECURSIVE chain (auction, step) AS (\
           SELECT min(auction), 1 FROM bid \
           UNION ALL SELECT max(auction) + 1, max(step) + 1 FROM chain \
           WHERE auction IN (SELECT auction FROM bid WHERE price % 7 <> 8) HAVING max(step) < {n_steps}) \
         SELECT auction, step FROM chain"
    )
}

/// A client that reads one small view after another.
struct Readers {
    stopped: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Result<Latencies>>,
}

impl Readers {
    fn start(database: &Arc<Database>, n_views: usize) -> Self {
        let (database, stopped) = (Arc::clone(database), Arc::new(AtomicBool::new(false)));
        let is_stopped = Arc::clone(&stopped);
        let task = tokio::spawn(async move {
            let mut times = Latencies::default();
            while !is_stopped.load(Ordering::Relaxed) {
                times.0.extend(read_times(&database, n_views, n_views).await?.0);
            }
            Ok(times)
        });
        Self { stopped, task }
    }

    async fn stop(self) -> Result<Latencies> {
        self.stopped.store(true, Ordering::Relaxed);
        self.task.await.map_err(|error| Error::internal(error.to_string()))?
    }
}

async fn read_times(database: &Database, n_views: usize, n_reads: usize) -> Result<Latencies> {
    let mut times = Latencies::default();
    for read in 0..n_reads {
        let started = Instant::now();
        let rows = database.run(&format!("SELECT bids, top FROM small_{} WHERE slot = {}", read % n_views, read % 100)).await?;
        times.0.push(started.elapsed());
        assert!(rows.iter().map(RecordBatch::num_rows).sum::<usize>() <= 1, "one row per slot");
    }
    Ok(times)
}

/// What all operators and views account for.
async fn state_bytes(database: &Database) -> Result<u64> {
    let rows = database.run("SELECT coalesce(sum(state_bytes), 0) FROM thalweg.operators").await?;
    let sum = cast(rows[0].column(0), &DataType::Int64)?;
    let sum = sum.as_any().downcast_ref::<Int64Array>().filter(|sum| sum.len() == 1).map_or(0, |sum| sum.value(0));
    Ok(sum.unsigned_abs())
}

fn resident_bytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.map(|kilobytes| kilobytes * 1024).ok_or_else(|| Error::internal("/proc/self/status has no VmRSS"))
}

fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

impl Figures {
    /// For the terminal and for the JSON file.
    pub fn to_json(&self) -> Value {
        let ratio = |loaded: &Latencies| (loaded.at(0.99).as_secs_f64() / self.quiet.at(0.99).as_secs_f64() * 100.0).round() / 100.0;
        let megabytes = |bytes: &[u64]| bytes.iter().map(|bytes| bytes >> 20).collect::<Vec<_>>();
        json!({
            "fill_s": self.fill_s,
            "build_all_views_s": self.views_s,
            "reads_quiet": self.quiet.to_json(),
            "create_one_more_ms": ms(self.create),
            "its_first_read_ms": ms(self.first_read),
            "reads_while_built": self.while_built.to_json(),
            "p99_ratio_while_built": ratio(&self.while_built),
            "create_slow_ms": ms(self.slow_create),
            "slow_first_read_ms": ms(self.slow_read),
            "reads_while_slow": self.while_slow.to_json(),
            "p99_ratio_while_slow": ratio(&self.while_slow),
            "operator_state_bytes_before_and_after": self.state_bytes,
            "resident_mb_before_with_views_after": megabytes(&self.resident_bytes),
        })
    }
}
