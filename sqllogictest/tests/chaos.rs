//! A server killed under writes loses nothing: a short run of `./x chaos`.

use thalweg_sqllogictest::chaos::{Plan, run};
use thalweg_sqllogictest::server::Program;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_nothing_is_done_twice() {
    let program = Program::from_environment(env!("CARGO_BIN_EXE_thalweg-sqllogictest"));
    let plan = Plan { n_kills: 4, seed: 20, n_workers: 2 };
    let report = run(program, plan, &|line| println!("{line}")).await.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(report.n_kills == 4 && report.n_rows > 0 && report.n_acknowledged >= 20, "{report:?}");
    assert_eq!(report.n_comparisons % 4, 0);
}
