//! Events straight into Arrow columns: no struct and no string per row, a column that is not asked for costs nothing.
//!
//! Guaranteed: what event `n` holds depends on (configuration, n) alone. Contents, ratios and sizes are those of the
//! official generator (Apache Beam's `sdks/java/testing/nexmark` and `nexmark/nexmark` for Flink, which added channel and
//! url), without the latter's slip of adding the first person id to a bidder twice. Event times have microseconds.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringArray, TimestampMicrosecondArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::events::{EventKind, last_auction, last_person};
use super::price::Prices;
use super::random::{below, draw, event_key, high_below, low_below};
use super::text::{HOT_CHANNELS, N_CHANNELS, Text, extra_length};

/// Most events one call may generate: their text stays far below the 2 GiB an Arrow string column can hold.
pub const MAX_EVENTS: u64 = 4_000_000;

/// Ids of persons and auctions start here.
const FIRST_ID: i64 = 1000;
const FIRST_CATEGORY: i64 = 10;
const N_CATEGORIES: u32 = 5;
/// Of this many, all but one bid goes to a hot auction.
const HOT_AUCTION_RATIO: u32 = 2;
const HOT_BIDDER_RATIO: u32 = 4;
const HOT_SELLER_RATIO: u32 = 4;
/// One person or auction of this many is hot.
const HOT_EVERY: u64 = 100;
const N_ACTIVE_PERSONS: u64 = 1000;
const N_IN_FLIGHT_AUCTIONS: u64 = 100;
/// Ids that far ahead of the newest are referred to as well.
const ID_LEAD: u64 = 10;
const PERSON_BYTES: usize = 200;
const AUCTION_BYTES: usize = 500;
const BID_BYTES: usize = 100;

const FIRST_NAMES: [&str; 11] = ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"];
const LAST_NAMES: [&str; 9] = ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];
const CITIES: [&str; 10] =
    ["Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"];
const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];

/// What an event sequence is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratorConfig {
    /// Sequences of different seeds are unrelated.
    pub seed: u64,
    /// Event time of event 0, microseconds since 1970.
    pub first_event_time_us: i64,
    /// Event time between two events.
    pub inter_event_us: i64,
}

impl Default for GeneratorConfig {
    fn default() -> Self {
        Self { seed: 0, first_event_time_us: 1_436_918_400_000_000, inter_event_us: 10 }
    }
}

/// Makes events. Cheap to clone: the string tables are shared.
#[derive(Debug, Clone)]
pub struct Generator {
    config: GeneratorConfig,
    text: Arc<Text>,
    prices: Arc<Prices>,
}

/// The events of a range, each kind in order.
#[derive(Debug, Clone)]
pub struct Events {
    /// See [`schema`] of [`EventKind::Person`].
    pub person: RecordBatch,
    /// See [`schema`] of [`EventKind::Auction`].
    pub auction: RecordBatch,
    /// See [`schema`] of [`EventKind::Bid`].
    pub bid: RecordBatch,
}

/// Names and types of a kind's columns.
pub fn schema(kind: EventKind) -> SchemaRef {
    let field = |name: &&str| {
        let data_type = match *name {
            "date_time" | "expires" => DataType::Timestamp(TimeUnit::Microsecond, None),
            "id" | "initial_bid" | "reserve" | "seller" | "category" | "auction" | "bidder" | "price" => DataType::Int64,
            _ => DataType::Utf8,
        };
        Field::new(*name, data_type, true)
    };
    let names: &[&str] = match kind {
        EventKind::Person => &["id", "name", "email_address", "credit_card", "city", "state", "date_time", "extra"],
        EventKind::Auction => {
            &["id", "item_name", "description", "initial_bid", "reserve", "date_time", "expires", "seller", "category", "extra"]
        }
        EventKind::Bid => &["auction", "bidder", "price", "channel", "url", "date_time", "extra"],
    };
    Arc::new(Schema::new(names.iter().map(field).collect::<Vec<_>>()))
}

impl Generator {
    /// A generator; builds the string tables (about 2 MB).
    pub fn new(config: GeneratorConfig) -> Self {
        let text = Arc::new(Text::new(config.seed));
        Self { config, text, prices: Arc::new(Prices::new()) }
    }

    /// All columns of all events of `range`, which has at most [`MAX_EVENTS`].
    pub fn events(&self, range: Range<u64>) -> Events {
        let batch = |kind| self.batch(kind, range.clone(), None);
        Events { person: batch(EventKind::Person), auction: batch(EventKind::Auction), bid: batch(EventKind::Bid) }
    }

    /// The events of one kind in `range`, with the columns of [`schema`] at these indices, in this order (`None`: all).
    pub fn batch(&self, kind: EventKind, range: Range<u64>, columns: Option<&[usize]>) -> RecordBatch {
        assert!(range.end.saturating_sub(range.start) <= MAX_EVENTS, "at most {MAX_EVENTS} events fit in one batch");
        let schema = schema(kind);
        let all: Vec<usize> = (0..schema.fields().len()).collect();
        let columns = columns.unwrap_or(&all);
        let rows = Rows::new(self, kind.numbers(&range));
        let arrays = columns.iter().map(|column| rows.column(kind, *column)).collect();
        let schema = Arc::new(schema.project(columns).expect("projected columns are columns of the kind"));
        let options = RecordBatchOptions::new().with_row_count(Some(rows.numbers.len()));
        RecordBatch::try_new_with_options(schema, arrays, &options).expect("columns are made as the schema says")
    }
}

/// The events of one kind to make: their numbers and what their draws start from.
struct Rows<'a> {
    config: &'a GeneratorConfig,
    text: &'a Text,
    prices: &'a Prices,
    numbers: Vec<u64>,
    keys: Vec<u64>,
}

impl<'a> Rows<'a> {
    fn new(generator: &'a Generator, numbers: Vec<u64>) -> Self {
        let keys = numbers.iter().map(|number| event_key(generator.config.seed, *number)).collect();
        Self { config: &generator.config, text: &generator.text, prices: &generator.prices, numbers, keys }
    }

    fn column(&self, kind: EventKind, column: usize) -> ArrayRef {
        match kind {
            EventKind::Person => self.person(column),
            EventKind::Auction => self.auction(column),
            EventKind::Bid => self.bid(column),
        }
    }

    fn person(&self, column: usize) -> ArrayRef {
        match column {
            0 => self.integers(|number, _| last_person(number) as i64 + FIRST_ID),
            1 => self.strings(14, |out, key| person_name(key).iter().for_each(|part| out.extend_from_slice(part.as_bytes()))),
            2 => self.strings(15, |out, key| email(self.text, key).iter().for_each(|part| out.extend_from_slice(part))),
            3 => self.strings(CARD_BYTES, credit_card),
            4 => self.strings(9, |out, key| out.extend_from_slice(city(key).as_bytes())),
            5 => self.strings(2, |out, key| out.extend_from_slice(state(key).as_bytes())),
            6 => self.event_times(),
            _ => self.strings(PERSON_BYTES, |out, key| {
                let name: usize = person_name(key).iter().map(|part| part.len()).sum();
                let email: usize = email(self.text, key).iter().map(|part| part.len()).sum();
                let size = 8 + name + email + CARD_BYTES + city(key).len() + state(key).len();
                self.append_extra(out, draw(key, 7), size, PERSON_BYTES);
            }),
        }
    }

    fn auction(&self, column: usize) -> ArrayRef {
        match column {
            0 => self.integers(|number, _| last_auction(number) as i64 + FIRST_ID),
            1 => self.strings(11, |out, key| out.extend_from_slice(item_name(self.text, key))),
            2 => self.strings(52, |out, key| out.extend_from_slice(description(self.text, key))),
            3 => self.integers(|_, key| self.prices.price(draw(key, 3))),
            4 => self.integers(|_, key| self.prices.price(draw(key, 3)) + self.prices.price(draw(key, 4))),
            5 => self.event_times(),
            6 => self.expiry_times(),
            7 => self.integers(seller),
            8 => self.integers(|_, key| FIRST_CATEGORY + i64::from(high_below(draw(key, 8), N_CATEGORIES))),
            _ => self.strings(AUCTION_BYTES, |out, key| {
                let size = 48 + item_name(self.text, key).len() + description(self.text, key).len();
                self.append_extra(out, draw(key, 9), size, AUCTION_BYTES);
            }),
        }
    }

    fn bid(&self, column: usize) -> ArrayRef {
        match column {
            0 => self.integers(bid_auction),
            1 => self.integers(bidder),
            2 => self.integers(|_, key| self.prices.price(draw(key, 2))),
            3 => self.strings(10, |out, key| out.extend_from_slice(self.text.channel(channel(key)))),
            4 => self.strings(75, |out, key| out.extend_from_slice(self.text.url(channel(key)))),
            5 => self.event_times(),
            _ => self.strings(72, |out, key| self.append_extra(out, draw(key, 6), 32, BID_BYTES)),
        }
    }

    fn integers(&self, value: impl Fn(u64, u64) -> i64) -> ArrayRef {
        let values = self.numbers.iter().zip(&self.keys).map(|(number, key)| value(*number, *key));
        Arc::new(Int64Array::from_iter_values(values))
    }

    fn strings(&self, average_length: usize, append: impl Fn(&mut Vec<u8>, u64)) -> ArrayRef {
        let mut bytes = Vec::with_capacity(self.keys.len() * average_length + 64);
        let mut offsets: Vec<i32> = Vec::with_capacity(self.keys.len() + 1);
        offsets.push(0);
        for key in &self.keys {
            append(&mut bytes, *key);
            offsets.push(bytes.len() as i32);
        }
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Arc::new(StringArray::new(offsets, Buffer::from_vec(bytes), None))
    }

    fn append_extra(&self, out: &mut Vec<u8>, draw: u64, current_size: usize, average_size: usize) {
        out.extend_from_slice(self.text.letters(draw, extra_length(draw, current_size, average_size)));
    }

    fn event_time(&self, number: u64) -> i64 {
        self.config.first_event_time_us.saturating_add(self.config.inter_event_us.saturating_mul(number as i64))
    }

    fn event_times(&self) -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_iter_values(self.numbers.iter().map(|number| self.event_time(*number))))
    }

    /// As long as on average it takes until as many auctions are open as should be in flight.
    fn expiry_times(&self) -> ArrayRef {
        let n_events_ahead = N_IN_FLIGHT_AUCTIONS * super::events::EVENTS_PER_ROUND / EventKind::Auction.share();
        let horizon_ms = self.config.inter_event_us.saturating_mul(n_events_ahead as i64) / 1000;
        let bound = (horizon_ms as u64).saturating_mul(2).max(1);
        let length_us = |key: u64| (1 + below(draw(key, 6), bound) as i64).saturating_mul(1000);
        let values = self.numbers.iter().zip(&self.keys);
        let values = values.map(|(number, key)| self.event_time(*number).saturating_add(length_us(*key)));
        Arc::new(TimestampMicrosecondArray::from_iter_values(values))
    }
}

const CARD_BYTES: usize = 19;

fn person_name(key: u64) -> [&'static str; 3] {
    let draw = draw(key, 1);
    [pick(&FIRST_NAMES, high_below(draw, FIRST_NAMES.len() as u32)), " ", pick(&LAST_NAMES, low_below(draw, LAST_NAMES.len() as u32))]
}

fn pick(of: &[&'static str], index: u32) -> &'static str {
    of[index as usize]
}

fn email(text: &Text, key: u64) -> [&[u8]; 4] {
    [text.words(draw(key, 2), 7), b"@", text.words(draw(key, 20), 5), b".com"]
}

fn credit_card(out: &mut Vec<u8>, key: u64) {
    let (first, second) = (draw(key, 3), draw(key, 30));
    let groups = [high_below(first, 10_000), low_below(first, 10_000), high_below(second, 10_000), low_below(second, 10_000)];
    for (index, group) in groups.into_iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        out.extend([1000, 100, 10, 1].map(|unit| b'0' + (group / unit % 10) as u8));
    }
}

fn city(key: u64) -> &'static str {
    pick(&CITIES, high_below(draw(key, 4), CITIES.len() as u32))
}

fn state(key: u64) -> &'static str {
    pick(&STATES, high_below(draw(key, 5), STATES.len() as u32))
}

fn item_name(text: &Text, key: u64) -> &[u8] {
    text.words(draw(key, 1), 20)
}

fn description(text: &Text, key: u64) -> &[u8] {
    text.words(draw(key, 2), 100)
}

/// Mostly the first of the last hundred persons.
fn seller(number: u64, key: u64) -> i64 {
    let draw = draw(key, 7);
    let last = last_person(number);
    let seller = match high_below(draw, HOT_SELLER_RATIO) > 0 {
        true => last / HOT_EVERY * HOT_EVERY,
        false => active_person(last, draw),
    };
    seller as i64 + FIRST_ID
}

/// Mostly the second of the last hundred persons, so that hot bidders are not hot sellers.
fn bidder(number: u64, key: u64) -> i64 {
    let draw = draw(key, 1);
    let last = last_person(number);
    let bidder = match high_below(draw, HOT_BIDDER_RATIO) > 0 {
        true => last / HOT_EVERY * HOT_EVERY + 1,
        false => active_person(last, draw),
    };
    bidder as i64 + FIRST_ID
}

fn active_person(last: u64, draw: u64) -> u64 {
    let n_active = (last + 1).min(N_ACTIVE_PERSONS);
    last + 1 - n_active + u64::from(low_below(draw, (n_active + ID_LEAD) as u32))
}

/// Half the time the first of the last hundred auctions, else one in flight or about to be.
fn bid_auction(number: u64, key: u64) -> i64 {
    let draw = draw(key, 0);
    let last = last_auction(number);
    let auction = match high_below(draw, HOT_AUCTION_RATIO) > 0 {
        true => last / HOT_EVERY * HOT_EVERY,
        false => {
            let first = last.saturating_sub(N_IN_FLIGHT_AUCTIONS);
            first + u64::from(low_below(draw, (last - first + 1 + ID_LEAD) as u32))
        }
    };
    auction as i64 + FIRST_ID
}

/// Half the time one of the hot channels.
fn channel(key: u64) -> usize {
    let draw = draw(key, 3);
    match draw >> 63 {
        1 => low_below(draw, HOT_CHANNELS.len() as u32) as usize,
        _ => HOT_CHANNELS.len() + low_below(draw, N_CHANNELS) as usize,
    }
}
