//! The table on the terminal and in `docs/benchmarks.md`, and the JSON file.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::measure::Cost;
use crate::queries::Query;
use crate::subject::Subject;

/// All that was measured of one query.
pub struct Line {
    /// The query.
    pub query: &'static Query,
    /// What came of each subject: its cost, or why it failed.
    pub outcomes: Vec<(Subject, Result<Cost, String>)>,
}

impl Line {
    fn cost(&self, subject: Subject) -> Option<&Cost> {
        self.outcomes.iter().find(|(of, _)| *of == subject).and_then(|(_, outcome)| outcome.as_ref().ok())
    }

    fn to_json(&self) -> Value {
        let outcome = |outcome: &Result<Cost, String>| match outcome {
            Ok(cost) => cost.to_json(),
            Err(error) => json!({ "error": error }),
        };
        let mut fields: Map<String, Value> = self.outcomes.iter().map(|(of, result)| (of.name().into(), outcome(result))).collect();
        fields.insert("feldera_events_per_cpu_s".into(), self.query.feldera.map(|thousands| thousands * 1000.0).into());
        Value::Object(fields)
    }
}

/// Everything, for a machine.
pub fn to_json(n_events: u64, n_workers: usize, generator: &Cost, lines: &[Line]) -> Value {
    let queries: Map<String, Value> = lines.iter().map(|line| (line.query.name.into(), line.to_json())).collect();
    json!({ "events": n_events, "workers": n_workers, "generator": generator.to_json(), "queries": queries })
}

/// The heads of the table; thousands of events of all three kinds.
pub const HEADS: &str = "\
| query | sink: events/CPU-s | events/s | wall s | peak | view: events/CPU-s | events/s | peak | rows | batch: events/CPU-s | events/s | peak | Feldera: events/CPU-s | sink ÷ Feldera |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|";

/// One query as a row of the table, speeds in thousands, memory in megabytes.
pub fn row(line: &Line) -> String {
    let cost = |subject| line.cost(subject);
    let per_cpu = |subject| cell(cost(subject).map(|cost| cost.per_cpu_second() / 1e3));
    let per_second = |subject| cell(cost(subject).map(|cost| cost.per_second() / 1e3));
    let peak = |subject| cell(cost(subject).map(|cost| cost.peak_bytes as f64 / 1e6));
    let wall = cost(Subject::Sink).map_or("–".into(), |cost| format!("{:.2}", cost.wall_s));
    let rows = cost(Subject::View).map_or("–".into(), |cost| cost.n_rows.to_string());
    let times = cost(Subject::Sink).zip(line.query.feldera).map(|(cost, feldera)| cost.per_cpu_second() / 1e3 / feldera);
    let times = times.map_or("–".into(), |times| format!("{times:.2}"));
    let mut row =
        format!("| {} | {} | {} | {wall} | {}", line.query.name, per_cpu(Subject::Sink), per_second(Subject::Sink), peak(Subject::Sink));
    let _ = write!(row, " | {} | {} | {} | {rows}", per_cpu(Subject::View), per_second(Subject::View), peak(Subject::View));
    let _ = write!(row, " | {} | {} | {}", per_cpu(Subject::Batch), per_second(Subject::Batch), peak(Subject::Batch));
    let _ = write!(row, " | {} | {times} |", cell(line.query.feldera));
    for (subject, outcome) in &line.outcomes {
        if let Err(error) = outcome {
            let _ = write!(row, "\n  {} {subject}: {error}", line.query.name);
        }
    }
    row
}

fn cell(number: Option<f64>) -> String {
    number.map_or("–".into(), |number| format!("{number:.0}"))
}
