//! Random queries as views over random histories equal their queries: a short run of `./x fuzz`.

use thalweg_sqllogictest::fuzz::{Plan, run};
use thalweg_sqllogictest::mode::Mode;
use thalweg_sqllogictest::server::Program;

#[tokio::test]
async fn random_views_equal_their_queries() {
    let program = Program::from_environment(env!("CARGO_BIN_EXE_thalweg-sqllogictest"));
    let plan = Plan { seed: 3, n_scripts: 1, time: None, limit: None, folder: None, keep_going: false, n_ways: Mode::FUZZ.len() };
    let (report, failures) = run(&program, &plan, &|line| println!("{line}")).await;
    assert!(failures.is_empty(), "{}", failures[0]);
    assert!(report.n_scripts == 1 && report.n_views + report.n_refused == 50, "{report:?}");
    let reach = report.reach;
    assert!(reach.n_comparisons() > 500 && 3 * reach.n_with_rows() > reach.n_comparisons(), "{}", reach.line());
    assert_eq!(reach.unlisted(), [""; 0]);
}
