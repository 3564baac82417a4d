//! Conditions on the clock: the rows whose instants enclose it are those that the query has in batch at the same time.

use super::fixture::Fixture;

/// Times of bids are 731 ms apart, from the fixture's `now()` on.
const CONDITIONS: [&str; 32] = [
    "date_time > now() + INTERVAL '20 seconds'",
    "date_time < now() + INTERVAL '7.31 seconds'",
    "date_time <= now() + INTERVAL '7.31 seconds'",
    "date_time > now() + INTERVAL '7.31 seconds'",
    "date_time >= now() + INTERVAL '7.31 seconds'",
    "date_time = now() + INTERVAL '7.31 seconds'",
    "NOT (date_time > now() + INTERVAL '7.31 seconds')",
    "now() + INTERVAL '7.31 seconds' <= date_time",
    "INTERVAL '10 seconds' + now() > date_time",
    "date_time - INTERVAL '10 seconds' > now() AND date_time - INTERVAL '20 seconds' < current_timestamp",
    "date_time BETWEEN now() + INTERVAL '5 seconds' AND now() + INTERVAL '6 seconds' * 3",
    "now() BETWEEN date_time - INTERVAL '20 seconds' AND date_time - INTERVAL '3 seconds'",
    "date_time BETWEEN TIMESTAMP '2020-01-01 00:00:03' AND now() + INTERVAL '30 seconds'",
    "date_time::timestamptz > now() + INTERVAL '20 seconds'",
    "date_time >= current_date AND date_time - INTERVAL '5 seconds' < current_date",
    "date_time - INTERVAL '5 seconds' >= current_date",
    "(date_time - INTERVAL '5 seconds')::date = current_date",
    "(date_time - INTERVAL '5 seconds')::date = current_date - 1",
    "(date_time - INTERVAL '5 seconds')::date > now()::date - 1",
    "(date_time - INTERVAL '5 seconds')::date >= (now() - INTERVAL '1 second')::date + 1",
    "(date_time - INTERVAL '5 seconds')::date < current_date - INTERVAL '12 hours'",
    "date_time + INTERVAL '1 day' - INTERVAL '5 s' < current_date + INTERVAL '1 day'",
    "date_time < date_trunc('minute', now() + INTERVAL '1 min') - INTERVAL '40 seconds'",
    "date_time - INTERVAL '10 s' >= date_trunc('hour', localtimestamp)",
    "date_time - INTERVAL '10 s' > date_trunc('day', date_trunc('second', now() + INTERVAL '300 ms'))",
    "date_trunc('minute', date_time - INTERVAL '10 s') = now()",
    "date_trunc('minute', date_time - INTERVAL '10 s') > date_trunc('minute', now()) - INTERVAL '1 minute'",
    "date_time > now() AND date_time > now() + INTERVAL '2 s' AND date_time < now() + INTERVAL '40 s' AND date_time < now() + INTERVAL '30 s'",
    "date_time > now() + INTERVAL '5 s' AND price > 3000",
    "now() > TIMESTAMP '2020-01-01'",
    "now() >= TIMESTAMP '2020-01-01'",
    "CAST(NULL AS timestamp) < now() AND price > 1",
];

#[test]
fn conditions_hold_when_they_hold_in_batch() {
    let fixture = Fixture::new();
    for condition in CONDITIONS {
        for query in [
            format!("SELECT auction, price FROM bid WHERE {condition}"),
            format!(
                "SELECT auction, price, id FROM (SELECT auction, price, date_time FROM bid) AS b JOIN (SELECT id FROM auction) AS a ON auction = id AND {condition}"
            ),
        ] {
            let operators = fixture.operators(&query);
            assert!(operators.contains("Temporal filter where"), "{query}: {operators}");
        }
    }
}
