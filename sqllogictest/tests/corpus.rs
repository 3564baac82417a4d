//! Every script of the corpus in every mode: one test each, named `mode::area/script`.
//!
//! The last lines say for each mode how many comparisons the oracle made.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use sqllogictest::harness::{Arguments, Failed, Trial};
use thalweg_sqllogictest::coverage::{corpus_folder, script_name, scripts};
use thalweg_sqllogictest::mode::Mode;
use thalweg_sqllogictest::script::{self, Report};
use thalweg_sqllogictest::server::Program;

type Totals = Arc<Mutex<BTreeMap<Mode, (usize, Report)>>>;

fn main() -> ExitCode {
    let totals = Totals::default();
    let scripts = scripts(&corpus_folder());
    let trials = Mode::ALL.into_iter().flat_map(|mode| scripts.iter().map(move |script| (mode, script.clone())));
    let trials = trials.map(|(mode, path)| {
        let totals = totals.clone();
        Trial::test(format!("{}::{}", mode.name(), script_name(&path)), move || {
            let report = run(&path, mode)?;
            let mut totals = totals.lock().expect("no holder panics");
            let (n_scripts, total) = totals.entry(mode).or_default();
            *n_scripts += 1;
            *total += report;
            Ok(())
        })
    });
    let conclusion = sqllogictest::harness::run(&Arguments::from_args(), trials.collect());
    for (mode, (n_scripts, report)) in totals.lock().expect("no holder panics").iter() {
        let Report { n_records, n_comparisons, n_restarts } = report;
        println!(
            "{}: {n_scripts} scripts, {n_records} records, {n_restarts} restarts; oracle: {n_comparisons} comparisons, 0 differences",
            mode.name()
        );
    }
    conclusion.exit_code()
}

fn run(path: &std::path::Path, mode: Mode) -> Result<Report, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(script::run(Program::from_environment(env!("CARGO_BIN_EXE_thalweg-sqllogictest")), path, mode))?)
}
