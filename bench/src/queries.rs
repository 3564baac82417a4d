//! Nexmark's queries: the texts in `bench/queries/`, what each needs beside the three streams, and Feldera's speed.
//!
//! The texts are nexmark-flink's; `docs/benchmarks.md` lists every edit. Not here: q11 (session windows).

/// A query of the benchmark.
#[derive(Debug, Clone, Copy)]
pub struct Query {
    /// `q0`…
    pub name: &'static str,
    /// Its text.
    pub sql: &'static str,
    /// The streams it reads.
    pub reads: &'static [&'static str],
    /// What must be there first, statement by statement.
    pub setup: &'static [&'static str],
    /// Thousand events per CPU-second of Feldera's Rust circuits on two cores like these, input generated beforehand.
    pub feldera: Option<f64>,
}

impl Query {
    /// Whether it reads `p_time`, the time at which a bid is taken in.
    pub fn reads_intake_time(&self) -> bool {
        self.sql.contains("p_time")
    }
}

const BID: &[&str] = &["bid"];
const AUCTION_BID: &[&str] = &["auction", "bid"];
const PERSON_AUCTION: &[&str] = &["person", "auction"];

const SIDE_INPUT: &[&str] = &[
    "CREATE TABLE side_input (key bigint PRIMARY KEY, value text)",
    "INSERT INTO side_input SELECT n, 'value ' || n FROM generate_series(0, 9999) AS t (n)",
];

const COUNT_CHAR: &[&str] = &["CREATE FUNCTION count_char(s text, c text) RETURNS bigint LANGUAGE SQL AS \
     'SELECT (length(s) - length(replace(s, c, ''''))) / length(c)'"];

/// All of them, in order.
pub const QUERIES: &[Query] = &[
    query("q0", include_str!("../queries/q0.sql"), BID, &[], Some(1630.0)),
    query("q1", include_str!("../queries/q1.sql"), BID, &[], Some(1130.0)),
    query("q2", include_str!("../queries/q2.sql"), BID, &[], Some(1550.0)),
    query("q3", include_str!("../queries/q3.sql"), PERSON_AUCTION, &[], Some(1410.0)),
    query("q4", include_str!("../queries/q4.sql"), AUCTION_BID, &[], Some(809.0)),
    query("q5", include_str!("../queries/q5.sql"), BID, &[], Some(481.0)),
    query("q6", include_str!("../queries/q6.sql"), AUCTION_BID, &[], None),
    query("q7", include_str!("../queries/q7.sql"), BID, &[], Some(264.0)),
    query("q8", include_str!("../queries/q8.sql"), PERSON_AUCTION, &[], Some(1310.0)),
    query("q9", include_str!("../queries/q9.sql"), AUCTION_BID, &[], Some(230.0)),
    query("q10", include_str!("../queries/q10.sql"), BID, &[], None),
    query("q12", include_str!("../queries/q12.sql"), BID, &[], Some(1330.0)),
    query("q13", include_str!("../queries/q13.sql"), BID, SIDE_INPUT, None),
    query("q14", include_str!("../queries/q14.sql"), BID, COUNT_CHAR, None),
    query("q15", include_str!("../queries/q15.sql"), BID, &[], Some(465.0)),
    query("q16", include_str!("../queries/q16.sql"), BID, &[], Some(42.0)),
    query("q17", include_str!("../queries/q17.sql"), BID, &[], Some(326.0)),
    query("q18", include_str!("../queries/q18.sql"), BID, &[], Some(261.0)),
    query("q19", include_str!("../queries/q19.sql"), BID, &[], Some(281.0)),
    query("q20", include_str!("../queries/q20.sql"), AUCTION_BID, &[], Some(370.0)),
    query("q21", include_str!("../queries/q21.sql"), BID, &[], None),
    query("q22", include_str!("../queries/q22.sql"), BID, &[], Some(1090.0)),
];

const fn query(
    name: &'static str,
    sql: &'static str,
    reads: &'static [&'static str],
    setup: &'static [&'static str],
    feldera: Option<f64>,
) -> Query {
    Query { name, sql, reads, setup, feldera }
}

/// The query of this name.
pub fn find(name: &str) -> Option<&'static Query> {
    QUERIES.iter().find(|query| query.name == name)
}
