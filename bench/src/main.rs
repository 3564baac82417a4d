//! `thalweg-bench nexmark [q0 q1 …]`, `views`, `cost`, `floats`: measures and prints. Nexmark and costs are measured
//! in child processes of this binary.

use std::process::{Command, ExitCode};

use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};
use thalweg_bench::cost::{self, SUBJECTS};
use thalweg_bench::floats;
use thalweg_bench::isolation;
use thalweg_bench::measure::Cost;
use thalweg_bench::queries::{self, QUERIES, Query};
use thalweg_bench::report::{self, Line};
use thalweg_bench::subject::{self, Subject};

/// As in the server: many threads allocate and free each other's batches.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "thalweg-bench", about = "Benchmarks of Thalweg")]
struct Arguments {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Subcommand)]
enum Benchmark {
    /// Nexmark's queries, maintained and in batch, beside the generator alone.
    Nexmark(Nexmark),
    /// One more view beside many over one large stream: what it costs, what the others feel of it, what a DROP leaves.
    Views(Views),
    /// What changing a few rows costs under views over many rows.
    Cost(Costs),
    /// What exact sums of doubles cost in batch.
    Floats(Floats),
    /// One measurement in this process, as a line of JSON.
    #[command(hide = true)]
    Measure(Measure),
    /// One view's costs, measured in this process, as a line of JSON.
    #[command(hide = true)]
    MeasureCost(MeasureCost),
}

#[derive(Args)]
struct Nexmark {
    /// Which; all when none is named.
    queries: Vec<String>,
    #[command(flatten)]
    scale: Scale,
    /// What to measure of each: sink, view, batch.
    #[arg(long, value_delimiter = ',', default_value = "sink,view,batch")]
    subjects: Vec<Subject>,
    /// Where to write the numbers as JSON.
    #[arg(long)]
    json: Option<std::path::PathBuf>,
}

#[derive(Args)]
struct Views {
    /// Rows of the stream.
    #[arg(long, default_value_t = 10_000_000)]
    rows: u64,
    /// Views there are already.
    #[arg(long, default_value_t = 100)]
    views: usize,
    /// Worker threads.
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Steps of the slow view's recursion, each of which reads the whole stream.
    #[arg(long, default_value_t = 100)]
    slow_steps: u64,
}

#[derive(Args)]
struct Costs {
    /// Of the views whose names contain one of these; all when none is named.
    views: Vec<String>,
    /// Rows below the view.
    #[arg(long, value_delimiter = ',', default_value = "1000000,10000000")]
    rows: Vec<u64>,
    /// Worker threads.
    #[arg(long, default_value_t = 2)]
    workers: usize,
}

#[derive(Args)]
struct Floats {
    /// Rows to sum up.
    #[arg(long, default_value_t = 10_000_000)]
    rows: u64,
}

#[derive(Args)]
struct MeasureCost {
    /// Its place among the views.
    place: usize,
    rows: u64,
    workers: usize,
}

#[derive(Args)]
struct Measure {
    subject: Subject,
    /// A query; of no meaning to the generator.
    query: String,
    #[command(flatten)]
    scale: Scale,
}

#[derive(Args, Clone, Copy)]
struct Scale {
    /// Events of all kinds.
    #[arg(long, default_value_t = 10_000_000)]
    events: u64,
    /// Worker threads.
    #[arg(long, default_value_t = 2)]
    workers: usize,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().benchmark {
        Benchmark::Nexmark(arguments) => nexmark(&arguments),
        Benchmark::Views(arguments) => views(&arguments),
        Benchmark::Cost(arguments) => costs(&arguments),
        Benchmark::Floats(arguments) => floats(&arguments),
        Benchmark::Measure(arguments) => measure(&arguments),
        Benchmark::MeasureCost(arguments) => measure_cost(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("thalweg-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn nexmark(arguments: &Nexmark) -> Result<(), String> {
    let Scale { events, workers } = arguments.scale;
    let chosen = chosen(&arguments.queries)?;
    println!("Nexmark, {events} events, {workers} workers; speeds in thousands, memory in MB");
    let generator = in_child(Subject::Generator, "all", arguments.scale)?;
    let speed = generator.per_cpu_second() / 1e3;
    println!("The generator alone, all columns of all three streams: {speed:.0} thousand events per CPU-second\n");
    println!("{}", report::HEADS);
    let mut lines = Vec::new();
    for query in chosen {
        let outcomes = arguments.subjects.iter().map(|subject| (*subject, in_child(*subject, query.name, arguments.scale))).collect();
        let line = Line { query, outcomes };
        println!("{}", report::row(&line));
        lines.push(line);
    }
    if let Some(path) = &arguments.json {
        let text = format!("{:#}\n", report::to_json(events, workers, &generator, &lines));
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let failed = lines.iter().flat_map(|line| &line.outcomes).filter(|(_, outcome)| outcome.is_err()).count();
    if failed > 0 { Err(format!("{failed} measurements failed")) } else { Ok(()) }
}

fn chosen(names: &[String]) -> Result<Vec<&'static Query>, String> {
    if names.is_empty() {
        return Ok(QUERIES.iter().collect());
    }
    names.iter().map(|name| queries::find(name).ok_or_else(|| unknown(name))).collect()
}

fn unknown(name: &str) -> String {
    let known: Vec<&str> = QUERIES.iter().map(|query| query.name).collect();
    format!("there is no query '{name}'; there are {}", known.join(" "))
}

/// Measures in a process of its own, whose memory is that of this one run.
fn in_child(subject: Subject, query: &str, scale: Scale) -> Result<Cost, String> {
    let (events, workers) = (scale.events.to_string(), scale.workers.to_string());
    let value = told_by_child(&["measure", subject.name(), query, "--events", &events, "--workers", &workers])?;
    Cost::from_json(&value).ok_or_else(|| format!("not a cost: {value}"))
}

/// The last line of what this program says with these arguments; its `error`, if it has one.
fn told_by_child(arguments: &[&str]) -> Result<Value, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(program).args(arguments).output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    let value: Option<Value> = said.lines().last().and_then(|line| serde_json::from_str(line).ok());
    match value {
        Some(value) if value.get("error").is_some() => Err(value["error"].as_str().unwrap_or_default().to_string()),
        Some(value) => Ok(value),
        None => Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())),
    }
}

fn costs(arguments: &Costs) -> Result<(), String> {
    let Costs { views, rows, workers } = arguments;
    let is_chosen = |name: &str| views.is_empty() || views.iter().any(|part| name.contains(part.as_str()));
    println!("Views over {rows:?} rows, {workers} workers\n\n{}", cost::HEADS);
    for (place, subject) in SUBJECTS.iter().enumerate().filter(|(_, subject)| is_chosen(subject.name)) {
        let mut figures = Vec::new();
        for n_rows in rows {
            let value = told_by_child(&["measure-cost", &place.to_string(), &n_rows.to_string(), &workers.to_string()])?;
            figures.push(cost::Figures::from_json(&value).ok_or_else(|| format!("not figures: {value}"))?);
        }
        println!("{}", cost::row(subject, &figures));
    }
    Ok(())
}

fn floats(arguments: &Floats) -> Result<(), String> {
    let run = floats::run(arguments.rows, &|row| println!("{row}"));
    runtime(1)?.block_on(run).map_err(|error| error.to_string())
}

fn measure_cost(arguments: &MeasureCost) -> Result<(), String> {
    let MeasureCost { place, rows, workers } = *arguments;
    let subject = SUBJECTS.get(place).ok_or_else(|| format!("there are {} views", SUBJECTS.len()))?;
    let line = match runtime(workers)?.block_on(cost::measure(subject, rows, workers)) {
        Ok(figures) => figures.to_json(),
        Err(error) => json!({ "error": format!("{} {error}", error.sqlstate) }),
    };
    println!("{line}");
    Ok(())
}

fn views(arguments: &Views) -> Result<(), String> {
    let Views { rows, views, workers, slow_steps } = *arguments;
    let scale = isolation::Scale { n_rows: rows, n_views: views, n_workers: workers, n_slow_steps: slow_steps };
    let figures = runtime(workers)?.block_on(isolation::measure(scale)).map_err(|error| format!("{} {error}", error.sqlstate))?;
    println!("{:#}", figures.to_json());
    Ok(())
}

fn runtime(workers: usize) -> Result<tokio::runtime::Runtime, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers.max(1)).enable_all().build();
    runtime.map_err(|error| error.to_string())
}

fn measure(arguments: &Measure) -> Result<(), String> {
    let Scale { events, workers } = arguments.scale;
    let cost = if arguments.subject == Subject::Generator {
        subject::generator(events)
    } else {
        let query = queries::find(&arguments.query).ok_or_else(|| unknown(&arguments.query))?;
        runtime(workers)?.block_on(subject::measure(arguments.subject, query, events, workers))
    };
    let line = match cost {
        Ok(cost) => cost.to_json(),
        Err(error) => json!({ "error": format!("{} {error}", error.sqlstate) }),
    };
    println!("{line}");
    Ok(())
}
