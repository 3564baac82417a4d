//! Random queries as views over random histories equal their queries: a short run of `./x fuzz`.

use thalweg_sqllogictest::fuzz::{Plan, run};
use thalweg_sqllogictest::server::Program;

#[tokio::test]
async fn random_views_equal_their_queries() {
    let program = Program::from_environment(env!("CARGO_BIN_EXE_thalweg-sqllogictest"));
    let plan = Plan { seed: 1, n_scripts: 8, time: None, folder: None };
    let report = run(program, &plan, &|line| println!("{line}")).await.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(report.n_scripts == 8 && report.n_views + report.n_refused == 48 && report.n_views >= 40, "{report:?}");
    assert!(report.n_comparisons > 1000, "{report:?}");
}
