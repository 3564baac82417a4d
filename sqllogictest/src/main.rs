//! Runs single scripts: `cargo run --release -p thalweg-sqllogictest -- [--mode workers-2] files…`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
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

fn main() -> ExitCode {
    // This executable is also the server that it starts.
    if std::env::args().nth(1).as_deref() == Some("serve") {
        return server::cli::run();
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

fn parse_mode(name: &str) -> Result<Mode, String> {
    Mode::from_name(name).ok_or_else(|| format!("one of {}", Mode::ALL.map(Mode::name).join(", ")))
}
