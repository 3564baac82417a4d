//! Runs single scripts (`cargo run --release --bin thalweg-sqllogictest -- [--mode workers-2] files…`), `./x chaos` and `./x fuzz`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use thalweg_sqllogictest::chaos::{self, Plan};
use thalweg_sqllogictest::fuzz;
use thalweg_sqllogictest::mode::Mode;
use thalweg_sqllogictest::script::{self, Report};
use thalweg_sqllogictest::server::Program;

/// Run .slt files against a server of their own, comparing each view with its query after each statement.
#[derive(Debug, Parser)]
struct CommandLine {
    /// workers-1, workers-2, row-per-epoch, sequential or restart; all of them when not given
    #[arg(long, value_parser = parse_mode)]
    mode: Vec<Mode>,
    /// The files
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// Kill a server under writes, again and again: nothing acknowledged may be lost, nothing be there twice.
#[derive(Debug, Parser)]
struct ChaosCommandLine {
    /// How often to kill it
    #[arg(default_value_t = 20)]
    kills: u32,
    /// Decides what is written and when the server is killed; random when not given
    #[arg(long)]
    seed: Option<u64>,
    /// Worker threads of the server
    #[arg(long, default_value_t = 2)]
    workers: usize,
}

/// Random queries as views over random histories: each view must equal its query after each statement.
#[derive(Debug, Parser)]
struct FuzzCommandLine {
    /// For how long
    #[arg(default_value_t = 5)]
    minutes: u64,
    /// Decides the first script; the next ones have the next seeds; random when not given
    #[arg(long)]
    seed: Option<u64>,
    /// How many scripts at most
    #[arg(long, default_value_t = u64::MAX)]
    scripts: u64,
    /// Seconds that a script may take in all ways before it is cut short
    #[arg(long, default_value_t = 120)]
    script_seconds: u64,
    /// In how many of the ways a script is run: the first ones
    #[arg(long, default_value_t = Mode::FUZZ.len())]
    ways: usize,
    /// Write the scripts and their answers into this folder, for check_with_postgres.py
    #[arg(long)]
    write: Option<PathBuf>,
    /// Go on after a failure
    #[arg(long)]
    keep_going: bool,
}

fn main() -> ExitCode {
    // This executable is also the server that it starts.
    if std::env::args().nth(1).as_deref() == Some("serve") {
        return server::cli::run();
    }
    if std::env::args().nth(1).as_deref() == Some("chaos") {
        return chaos(&ChaosCommandLine::parse_from(std::env::args().skip(1)));
    }
    if std::env::args().nth(1).as_deref() == Some("fuzz") {
        return fuzz(FuzzCommandLine::parse_from(std::env::args().skip(1)));
    }
    let CommandLine { mode, files } = CommandLine::parse();
    let modes = if mode.is_empty() { Mode::ALL.to_vec() } else { mode };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime of one thread starts");
    let program = Program::from_environment(std::env::current_exe().expect("a running process has an executable"));
    let mut n_failed = 0;
    for mode in modes {
        for file in &files {
            match runtime.block_on(script::run(program.clone(), file, mode)) {
                Ok(Report { n_records, n_comparisons, n_restarts }) => println!(
                    "{} {}: {n_records} records, {n_restarts} restarts; oracle: {n_comparisons} comparisons, 0 differences",
                    mode.name(),
                    file.display()
                ),
                Err(failure) => {
                    n_failed += 1;
                    println!("{} {}: FAILED\n{failure}\n", mode.name(), file.display());
                }
            }
        }
    }
    if n_failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn chaos(line: &ChaosCommandLine) -> ExitCode {
    let plan = Plan { n_kills: line.kills, seed: line.seed.unwrap_or_else(rand::random), n_workers: line.workers };
    println!("chaos: seed {}, {} connections, {} workers", plan.seed, chaos::N_WRITERS, plan.n_workers);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime starts");
    let program = Program::from_environment(std::env::current_exe().expect("a running process has an executable"));
    match runtime.block_on(chaos::run(program, plan, &|line| println!("{line}"))) {
        Ok(report) => {
            println!(
                "{} kills: {} statements acknowledged, none lost, none done twice; of those in flight {} were done and {} not; {} rows; \
                 {} comparisons of views, 0 differences",
                report.n_kills,
                report.n_acknowledged,
                report.n_unanswered_done,
                report.n_unanswered_not,
                report.n_rows,
                report.n_comparisons
            );
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("FAILED: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn fuzz(line: FuzzCommandLine) -> ExitCode {
    let seed = line.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    println!("fuzz: seed {seed}");
    let time = Duration::from_secs(line.minutes.saturating_mul(60));
    let (limit, keep_going) = (Some(Duration::from_secs(line.script_seconds)), line.keep_going);
    let n_ways = line.ways.clamp(1, Mode::FUZZ.len());
    let plan = fuzz::Plan { seed, n_scripts: line.scripts, time: Some(time), limit, folder: line.write, keep_going, n_ways };
    // Queries run in batch on this thread; what servers send is read on the other meanwhile.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime starts");
    let program = Program::from_environment(std::env::current_exe().expect("a running process has an executable"));
    let (report, failures) = runtime.block_on(fuzz::run(&program, &plan, &|line| println!("{line}")));
    println!(
        "{}\n{} scripts in {} ways each, {} cut short; {} views, {} queries not supported, {} subscribers cut off; \
         {} comparisons, {} with rows; {} differences",
        report.reach.table(),
        report.n_scripts,
        n_ways,
        report.cut_short.len(),
        report.n_views,
        report.n_refused,
        report.n_cut_off,
        report.reach.n_comparisons(),
        report.reach.n_with_rows(),
        failures.len()
    );
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse_mode(name: &str) -> Result<Mode, String> {
    Mode::from_name(name).ok_or_else(|| format!("one of {}", Mode::ALL.map(Mode::name).join(", ")))
}
