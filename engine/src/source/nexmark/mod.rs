//! The Nexmark auction site: persons, auctions and bids (Tucker, Tufte, Papadimos, Maier: *NEXMark*, 2002).
//!
//! - [`events`]: which kind event `n` is. [`generator`]: events into Arrow columns; the benchmark uses it directly.
//! - [`random`], [`text`], [`price`]: what contents are drawn from.
//!
//! Here: the [`Source`] over it. Three streams with the same options but `table` are one event sequence, so one reader can
//! feed them all ([`NexmarkOptions::shared_key`]); its outputs are 0 = person, 1 = auction, 2 = bid.

pub mod events;
pub mod generator;
pub mod price;
pub mod random;
pub mod text;

use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

pub use events::EventKind;
pub use generator::{Events, Generator, GeneratorConfig};

use super::options::{Options, Pace};
use super::{Poll, Source, SourceBatch};
use crate::{Error, Result};

/// `WITH (connector = 'nexmark', …)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NexmarkOptions {
    /// The stream this is.
    pub table: EventKind,
    /// What the events are made from.
    pub generator: GeneratorConfig,
    /// Events of all kinds after which the source is finished.
    pub events: Option<u64>,
    /// Events of all kinds per second of the machine's time.
    pub rate: Option<u64>,
}

impl NexmarkOptions {
    /// The names of the options, for messages.
    pub const KNOWN: &[&str] = &["table", "events", "rate", "seed", "first_event_time", "inter_event_us"];

    /// Reads and checks the options.
    pub fn parse(options: &Options) -> Result<Self> {
        let table = options.choice("table", &EventKind::ALL.map(|kind| (kind.name(), kind)))?;
        let table = table.ok_or_else(|| options.missing("table", "'person', 'auction' or 'bid'"))?;
        let default = GeneratorConfig::default();
        let generator = GeneratorConfig {
            seed: options.number("seed", 0..=u64::MAX)?.unwrap_or(default.seed),
            first_event_time_us: options.timestamp("first_event_time")?.unwrap_or(default.first_event_time_us),
            inter_event_us: options.number("inter_event_us", 0..=60_000_000)?.unwrap_or(default.inter_event_us),
        };
        let events = options.number("events", 1..=u64::MAX >> 8)?;
        Ok(Self { table, generator, events, rate: options.number("rate", 1..=1_000_000_000)? })
    }

    /// Equal for streams that one reader can feed.
    pub fn shared_key(&self) -> String {
        let GeneratorConfig { seed, first_event_time_us, inter_event_us } = &self.generator;
        let (events, rate) = (self.events, self.rate);
        format!("nexmark seed={seed} first={first_event_time_us} step={inter_event_us} events={events:?} rate={rate:?}")
    }
}

/// The events of one sequence, for some of its three streams.
pub struct NexmarkSource {
    generator: Generator,
    n_events: u64,
    pace: Pace,
    next: u64,
    wanted: Vec<EventKind>,
    /// By output.
    columns: [Option<Vec<usize>>; 3],
}

#[derive(Debug, Serialize, Deserialize)]
struct Position {
    event: u64,
}

impl NexmarkSource {
    /// A reader of the streams at `wanted`.
    pub fn open(options: &NexmarkOptions, wanted: &[usize]) -> Result<Self> {
        let kind = |output: &usize| EventKind::ALL.get(*output).copied();
        let wanted: Option<Vec<EventKind>> = wanted.iter().map(kind).collect();
        let wanted = wanted.filter(|wanted| !wanted.is_empty());
        let wanted = wanted.ok_or_else(|| Error::internal("nexmark has the outputs 0, 1 and 2, and one must be wanted"))?;
        let n_events = options.events.unwrap_or(u64::MAX >> 8);
        let generator = Generator::new(options.generator.clone());
        Ok(Self { generator, n_events, pace: Pace::new(options.rate), next: 0, wanted, columns: [None, None, None] })
    }

    fn generate(&self, range: Range<u64>) -> SourceBatch {
        let batch = |kind: EventKind| -> Vec<RecordBatch> {
            if !self.wanted.contains(&kind) || kind.count_before(range.start) == kind.count_before(range.end) {
                return Vec::new();
            }
            vec![self.generator.batch(kind, range.clone(), self.columns[kind as usize].as_deref())]
        };
        SourceBatch { outputs: EventKind::ALL.map(batch).to_vec(), errors: Vec::new() }
    }
}

impl Source for NexmarkSource {
    fn poll(&mut self, max_rows: usize, now_us: i64) -> Result<Poll> {
        if self.next >= self.n_events {
            return Ok(Poll::Finished);
        }
        let due = self.pace.due(now_us).min(self.n_events - self.next).min(generator::MAX_EVENTS);
        if due == 0 {
            return Ok(Poll::Idle { retry_after_ms: self.pace.next_due_ms(now_us) });
        }
        let start = self.next;
        self.next = events::end_for_rows(start, &self.wanted, max_rows as u64, due);
        self.pace.took(self.next - start);
        Ok(Poll::Batch(self.generate(start..self.next)))
    }

    fn position(&self) -> String {
        super::options::to_position(&Position { event: self.next })
    }

    fn seek(&mut self, position: &str) -> Result<()> {
        self.next = super::options::from_position::<Position>(position)?.event;
        self.pace.restart();
        Ok(())
    }

    fn replay(&mut self, from: &str, to: &str) -> Result<SourceBatch> {
        let from = super::options::from_position::<Position>(from)?.event;
        let to = super::options::from_position::<Position>(to)?.event;
        let mut all = SourceBatch::empty(3);
        let mut start = from;
        while start < to {
            let end = to.min(start + generator::MAX_EVENTS);
            for (output, batches) in self.generate(start..end).outputs.into_iter().enumerate() {
                all.outputs[output].extend(batches);
            }
            start = end;
        }
        Ok(all)
    }

    fn project(&mut self, output: usize, columns: Option<Vec<usize>>) -> Result<()> {
        let kind = *EventKind::ALL.get(output).ok_or_else(|| Error::internal("nexmark has three outputs"))?;
        let n_columns = generator::schema(kind).fields().len();
        if columns.iter().flatten().any(|column| *column >= n_columns) {
            return Err(Error::internal(format!("stream {} has {n_columns} columns", kind.name())));
        }
        self.columns[output] = columns;
        Ok(())
    }

    fn schema(&self, output: usize) -> SchemaRef {
        let schema = generator::schema(EventKind::ALL[output]);
        match &self.columns[output] {
            Some(columns) => schema.project(columns).expect("columns were checked when they were set").into(),
            None => schema,
        }
    }
}

#[cfg(test)]
mod tests;
