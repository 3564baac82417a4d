//! The sequence is what the official generator makes in shape, and the source keeps its promises.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};

use super::*;
use crate::source::test_support::{check_positions, drain, spec};

fn generator() -> Generator {
    Generator::new(GeneratorConfig { seed: 7, ..GeneratorConfig::default() })
}

fn integers(batch: &RecordBatch, name: &str) -> Vec<i64> {
    let column: &ArrayRef = batch.column_by_name(name).expect("a column");
    match column.as_any().downcast_ref::<Int64Array>() {
        Some(array) => array.values().to_vec(),
        None => column.as_any().downcast_ref::<TimestampMicrosecondArray>().expect("integers or times").values().to_vec(),
    }
}

fn texts(batch: &RecordBatch, name: &str) -> Vec<String> {
    let array = batch.column_by_name(name).expect("a column").as_any().downcast_ref::<StringArray>().expect("text");
    array.iter().map(|text| text.expect("not null").to_owned()).collect()
}

fn share<T>(values: &[T], of: impl Fn(&T) -> bool) -> f64 {
    values.iter().filter(|value| of(value)).count() as f64 / values.len() as f64
}

fn assert_near(actual: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((actual - expected).abs() <= tolerance, "{what}: {actual}, expected {expected} ± {tolerance}");
}

#[test]
fn an_event_depends_on_its_number_alone() {
    let whole = generator().events(0..5000);
    let (mut person, mut auction, mut bid) = (Vec::new(), Vec::new(), Vec::new());
    let mut start = 0;
    for length in [1, 2, 49, 50, 51, 997, 3850] {
        let part = generator().events(start..start + length);
        person.push(part.person);
        auction.push(part.auction);
        bid.push(part.bid);
        start += length;
    }
    assert_eq!(start, 5000);
    let concat = |batches: &[RecordBatch]| arrow::compute::concat_batches(&batches[0].schema(), batches).expect("one schema");
    assert_eq!((concat(&person), concat(&auction), concat(&bid)), (whole.person, whole.auction, whole.bid));
}

#[test]
fn leaving_columns_out_changes_no_other() {
    for kind in EventKind::ALL {
        let whole = generator().batch(kind, 100..700, None);
        for column in 0..whole.num_columns() {
            let one = generator().batch(kind, 100..700, Some(&[column]));
            assert_eq!(one, whole.project(&[column]).expect("a column"));
        }
        let none = generator().batch(kind, 100..700, Some(&[]));
        assert_eq!((none.num_rows(), none.num_columns()), (whole.num_rows(), 0));
    }
}

#[test]
fn seeds_differ_and_stay() {
    let first_prices = |seed| {
        integers(&Generator::new(GeneratorConfig { seed, ..GeneratorConfig::default() }).batch(EventKind::Bid, 0..60, None), "price")
    };
    assert_ne!(first_prices(1), first_prices(2));
    // The sequence of a seed is a promise: a recorded position must mean the same rows in every later version.
    let bid = generator().batch(EventKind::Bid, 0..6, None);
    let expected = include_str!("first_bids.txt");
    assert_eq!(crate::source::test_support::show(&[bid]).join("\n"), expected.trim_end());
}

#[test]
fn proportions_ids_and_times() {
    let events = generator().events(0..50_000);
    assert_eq!((events.person.num_rows(), events.auction.num_rows(), events.bid.num_rows()), (1000, 3000, 46_000));
    assert_eq!(integers(&events.person, "id"), (1000..2000).collect::<Vec<_>>());
    assert_eq!(integers(&events.auction, "id"), (1000..4000).collect::<Vec<_>>());
    let first = 1_436_918_400_000_000;
    assert_eq!(integers(&events.person, "date_time")[..3], [first, first + 500, first + 1000]);
    assert_eq!(integers(&events.auction, "date_time")[..4], [first + 10, first + 20, first + 30, first + 510]);
    let times = integers(&events.bid, "date_time");
    assert_eq!((times[0], times[45], times[46]), (first + 40, first + 490, first + 540));
    // 100 auctions in flight are 1666 events ahead, 16 ms; lengths are up to twice that.
    let lengths: Vec<i64> =
        integers(&events.auction, "expires").iter().zip(integers(&events.auction, "date_time")).map(|(end, start)| end - start).collect();
    assert!(lengths.iter().all(|length| (1000..=32_000).contains(length) && length % 1000 == 0));
    assert_near(lengths.iter().sum::<i64>() as f64 / lengths.len() as f64, 16_500.0, 500.0, "mean length of an auction");
}

#[test]
fn hot_ratios() {
    let events = generator().events(500_000..1_500_000);
    // Bids of one round of 50 events see the same last auction and person.
    let last_auctions: Vec<i64> = EventKind::Bid.numbers(&(500_000..1_500_000)).iter().map(|n| (n / 50 * 3 + 2) as i64).collect();
    let hot_auction = |(auction, last): (&i64, &i64)| *auction == last / 100 * 100 + 1000;
    let auctions = integers(&events.bid, "auction");
    let n_hot = auctions.iter().zip(&last_auctions).filter(|pair| hot_auction(*pair)).count();
    assert_near(n_hot as f64 / auctions.len() as f64, 0.5 + 0.5 / 111.0, 0.005, "bids on hot auctions");
    assert!(
        auctions.iter().zip(&last_auctions).all(|(auction, last)| (last + 900..=last + 1010).contains(auction)),
        "bids are on auctions in flight"
    );

    let last_person = |number: &u64| (number / 50) as i64;
    let bidders = integers(&events.bid, "bidder");
    let persons: Vec<i64> = EventKind::Bid.numbers(&(500_000..1_500_000)).iter().map(last_person).collect();
    let n_hot = bidders.iter().zip(&persons).filter(|(bidder, last)| **bidder == *last / 100 * 100 + 1001).count();
    assert_near(n_hot as f64 / bidders.len() as f64, 0.75, 0.005, "bids of hot bidders");
    let sellers = integers(&events.auction, "seller");
    let persons: Vec<i64> = EventKind::Auction.numbers(&(500_000..1_500_000)).iter().map(last_person).collect();
    let n_hot = sellers.iter().zip(&persons).filter(|(seller, last)| **seller == *last / 100 * 100 + 1000).count();
    assert_near(n_hot as f64 / sellers.len() as f64, 0.75, 0.01, "auctions of hot sellers");
    assert!(
        sellers.iter().zip(&persons).all(|(seller, last)| (last + 1..=last + 1010).contains(seller) || *seller == last / 100 * 100 + 1000)
    );
}

#[test]
fn channels_and_urls() {
    let bid = generator().batch(EventKind::Bid, 0..500_000, None);
    let channels = texts(&bid, "channel");
    for hot in ["Google", "Facebook", "Baidu", "Apple"] {
        assert_near(share(&channels, |channel| channel == hot), 0.125, 0.003, hot);
    }
    let numbers: Vec<u32> = channels.iter().filter_map(|channel| channel.strip_prefix("channel-")?.parse().ok()).collect();
    assert_near(numbers.len() as f64 / channels.len() as f64, 0.5, 0.005, "other channels");
    assert!(numbers.iter().all(|number| *number < 10_000));
    let mut url_of = BTreeMap::new();
    for (channel, url) in channels.iter().zip(texts(&bid, "url")) {
        assert!(url.starts_with("https://www.nexmark.com/") && url.contains("/item.htm?query=1"), "{url}");
        assert_eq!(url.split('/').count(), 7, "{url}: three folders");
        assert_eq!(*url_of.entry(channel.clone()).or_insert_with(|| url.clone()), url, "a channel has one url");
    }
    assert_eq!(url_of.len(), 10_004);
    assert_near(share(&url_of.values().collect::<Vec<_>>(), |url| url.contains("&channel_id=")), 0.9, 0.02, "urls with a channel id");
}

#[test]
fn prices_and_categories() {
    let events = generator().events(0..500_000);
    let prices = integers(&events.bid, "price");
    assert!(prices.iter().all(|price| (100..=100_000_000).contains(price)));
    for exponent in 2..8 {
        let (low, high) = (10i64.pow(exponent), 10i64.pow(exponent + 1));
        assert_near(share(&prices, |price| (low..high).contains(price)), 1.0 / 6.0, 0.005, "prices are uniform in their logarithm");
    }
    let (initial, reserve) = (integers(&events.auction, "initial_bid"), integers(&events.auction, "reserve"));
    assert!(initial.iter().zip(&reserve).all(|(initial, reserve)| reserve - initial >= 100));
    let categories = integers(&events.auction, "category");
    (10..15).for_each(|category| assert_near(share(&categories, |of| *of == category), 0.2, 0.01, "categories"));
}

#[test]
fn texts_have_the_official_shape_and_sizes() {
    let events = generator().events(0..500_000);
    let is_letters = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase());
    let (names, emails, cards) =
        (texts(&events.person, "name"), texts(&events.person, "email_address"), texts(&events.person, "credit_card"));
    assert!(names.iter().all(|name| name.split(' ').count() == 2));
    assert!(emails.iter().all(|email| email.ends_with(".com") && email.split('@').count() == 2));
    assert!(
        cards.iter().all(
            |card| card.len() == 19 && card.split(' ').all(|group| group.len() == 4 && group.bytes().all(|byte| byte.is_ascii_digit()))
        )
    );
    assert_eq!(texts(&events.person, "state").into_iter().collect::<std::collections::BTreeSet<_>>().len(), 6);
    assert_eq!(texts(&events.person, "city").into_iter().collect::<std::collections::BTreeSet<_>>().len(), 10);
    assert!(texts(&events.auction, "item_name").iter().all(|name| name.len() < 20));
    assert!(texts(&events.bid, "extra").iter().all(|extra| is_letters(extra) && (54..82).contains(&extra.len())));
    let mean = |values: &[String]| values.iter().map(String::len).sum::<usize>() as f64 / values.len() as f64;
    let person_bytes = 8.0
        + ["name", "email_address", "credit_card", "city", "state", "extra"]
            .map(|name| mean(&texts(&events.person, name)))
            .iter()
            .sum::<f64>();
    assert_near(person_bytes, 200.0, 2.0, "bytes of a person");
    let auction_bytes = 48.0 + ["item_name", "description", "extra"].map(|name| mean(&texts(&events.auction, name))).iter().sum::<f64>();
    assert_near(auction_bytes, 500.0, 3.0, "bytes of an auction");
    assert_near(32.0 + mean(&texts(&events.bid, "extra")), 100.0, 1.0, "bytes of a bid without channel and url");
}

const BID: [(&str, &str); 4] = [("connector", "nexmark"), ("table", "bid"), ("events", "3000"), ("seed", "3")];

fn bid_with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    BID.iter().chain(more).copied().collect()
}

#[test]
fn seek_and_replay() {
    let spec = spec(&BID, &[]).expect("valid");
    check_positions(&spec, &[2], 100);
    check_positions(&spec, &[0, 1, 2], 333);
    check_positions(&spec, &[0], 7);
}

#[test]
fn three_streams_are_one_sequence() {
    let specs = ["person", "auction", "bid"]
        .map(|table| spec(&[("connector", "nexmark"), ("table", table), ("events", "5000")], &[]).expect("valid"));
    assert_eq!(
        specs.each_ref().map(SourceSpecKey::of),
        [SourceSpecKey::of(&specs[0]), SourceSpecKey::of(&specs[0]), SourceSpecKey::of(&specs[0])]
    );
    assert_eq!(specs.each_ref().map(|spec| spec.output_of()), [0, 1, 2]);
    let (together, _) = drain(specs[0].open(&[0, 1, 2]).expect("valid").as_mut(), 77);
    for (output, spec) in specs.iter().enumerate() {
        let (alone, _) = drain(spec.open(&[output]).expect("valid").as_mut(), 1000);
        assert_eq!(alone[output], together[output]);
        assert!((0..3).filter(|other| *other != output).all(|other| alone[other].is_empty()));
    }
}

#[derive(Debug, PartialEq)]
struct SourceSpecKey(Option<String>);

impl SourceSpecKey {
    fn of(spec: &crate::source::SourceSpec) -> Self {
        Self(spec.shared_key())
    }
}

#[test]
fn one_row_a_poll_is_one_row() {
    let spec = spec(&BID, &[]).expect("valid");
    let mut source = spec.open(&[0, 1, 2]).expect("valid");
    for _ in 0..200 {
        let Poll::Batch(batch) = source.poll(1, 0).expect("readable") else { panic!("there are 3000 rows") };
        assert_eq!(batch.n_rows(), 1);
    }
}

#[test]
fn a_rate_goes_by_the_time_handed_in() {
    let spec = spec(&bid_with(&[("rate", "1000")]), &[]).expect("valid");
    let mut source = spec.open(&[0, 1, 2]).expect("valid");
    let mut rows_until = |now_us: i64| {
        let mut n_rows = 0;
        loop {
            match source.poll(100, now_us).expect("readable") {
                Poll::Batch(batch) => n_rows += batch.n_rows(),
                Poll::Idle { retry_after_ms } => return (n_rows, retry_after_ms),
                Poll::Finished => return (n_rows, u64::MAX),
            }
        }
    };
    assert_eq!(rows_until(5_000_000), (1, 2));
    assert_eq!(rows_until(5_001_000), (1, 2));
    assert_eq!(rows_until(5_500_000), (499, 2));
    assert_eq!(rows_until(4_000_000), (0, 1000), "a clock that goes back makes nothing");
    assert_eq!(rows_until(60_000_000), (2499, u64::MAX));
}

#[test]
fn columns_can_be_left_out() {
    let spec = spec(&BID, &[]).expect("valid");
    let mut source = spec.open(&[2]).expect("valid");
    source.project(2, Some(vec![2, 0])).expect("two columns");
    let Poll::Batch(batch) = source.poll(10, 0).expect("readable") else { panic!("there are rows") };
    let names: Vec<String> = batch.outputs[2][0].schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["price", "auction"]);
    assert_eq!(batch.outputs[2][0].schema(), source.schema(2));
    assert!(source.project(2, Some(vec![7])).is_err());
}

#[test]
fn options_are_checked() {
    let refused = |pairs: &[(&str, &str)]| spec(pairs, &[]).map(|_| ()).expect_err("refused");
    let error = refused(&bid_with(&[("rows", "1")]));
    assert_eq!((error.sqlstate, error.message.as_str()), ("22023", "connector 'nexmark' has no option \"rows\""));
    assert_eq!(error.hint.as_deref(), Some("options are table, events, rate, seed, first_event_time, inter_event_us"));
    for pairs in [
        vec![("seed", "x")],
        vec![("events", "0")],
        vec![("table", "bids")],
        vec![("first_event_time", "yesterday")],
        vec![("inter_event_us", "-1")],
        vec![("rate", "0")],
    ] {
        let error = refused(&bid_with(&pairs));
        assert_eq!(error.sqlstate, "22023", "{pairs:?}");
        assert!(error.message.contains(pairs[0].0) && error.hint.is_some(), "{error:?}");
    }
    assert_eq!(refused(&[("connector", "nexmark")]).sqlstate, "22023");
    assert_eq!(
        refused(&[("connector", "kafkaesque")]).hint.as_deref(),
        Some("connectors are nexmark, datagen, file; without one, rows are pushed")
    );
    let declared = [
        ("auction", "bigint"),
        ("bidder", "bigint"),
        ("price", "bigint"),
        ("channel", "text"),
        ("url", "text"),
        ("date_time", "timestamp"),
        ("extra", "text"),
    ];
    assert_eq!(spec(&BID, &declared).expect("its own columns").columns().len(), 7);
    assert_eq!(spec(&BID, &declared[..3]).expect_err("too few").sqlstate, "42804");
    assert_eq!(spec(&BID, &[("nope", "text")]).expect_err("unknown").sqlstate, "42703");
    assert!(spec(&bid_with(&[("retention", "0")]), &[]).expect("common to all streams").is_bounded());
    assert!(!spec(&[("connector", "nexmark"), ("table", "bid")], &[]).expect("endless").is_bounded());
    assert!(spec(&BID, &[]).expect("valid").open(&[2]).expect("valid").seek("{\"row\":1}").is_err());
}
