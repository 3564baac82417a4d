//! What the tests of all sources share: reading to the end, and the promises of [`Source`] about positions.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::{DecodeFailure, Poll, Source, SourceBatch, SourceSpec};
use crate::decode::infer::column;

/// `WITH (…)` from pairs.
pub fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

/// Columns from names and types as SQL writes them.
pub fn columns(declared: &[(&str, &str)]) -> Vec<catalog::Column> {
    declared.iter().map(|(name, sql_type)| column(name, sql_type.parse().expect("the test's types are SQL types"))).collect()
}

/// A spec without a file root.
pub fn spec(pairs: &[(&str, &str)], declared: &[(&str, &str)]) -> crate::Result<SourceSpec> {
    SourceSpec::from_options(&options(pairs), &columns(declared), None)
}

/// Rows as text, values between bars.
pub fn show(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::new().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let formatters: Vec<_> =
            batch.columns().iter().map(|array| ArrayFormatter::try_new(array, &options).expect("all types can be shown")).collect();
        rows.extend(
            (0..batch.num_rows())
                .map(|row| formatters.iter().map(|formatter| formatter.value(row).to_string()).collect::<Vec<_>>().join("|")),
        );
    }
    rows
}

/// Everything a source has now: rows by output, and failures.
pub fn drain(source: &mut dyn Source, max_rows: usize) -> (Vec<Vec<String>>, Vec<DecodeFailure>) {
    let mut all = SourceBatch::default();
    loop {
        match source.poll(max_rows, 0).expect("the test's source can be read") {
            Poll::Batch(batch) => append(&mut all, batch),
            Poll::Idle { retry_after_ms: 0 } => {}
            Poll::Idle { .. } | Poll::Finished => break,
        }
    }
    shown(all)
}

/// Seek and replay promise the rows of the first reading, wherever the reader is and however many rows it took at once.
pub fn check_positions(spec: &SourceSpec, outputs: &[usize], max_rows: usize) {
    let mut source = spec.open(outputs).expect("the spec is valid");
    let mut positions = vec![source.position()];
    let mut polled = Vec::new();
    loop {
        match source.poll(max_rows, 0).expect("the test's source can be read") {
            Poll::Batch(batch) => polled.push(shown(batch)),
            Poll::Idle { retry_after_ms: 0 } => continue,
            Poll::Idle { .. } | Poll::Finished => break,
        }
        positions.push(source.position());
    }
    assert!(polled.len() > 1, "the test has several polls");
    for index in (0..polled.len()).step_by(polled.len() / 20 + 1) {
        let mut other = spec.open(outputs).expect("the spec is valid");
        let (from, to) = (&positions[index], &positions[index + 1]);
        assert_eq!(shown(other.replay(from, to).expect("positions are the source's own")), polled[index], "replay of {from} to {to}");
        assert_eq!(other.position(), positions[0], "a replay does not move");
        other.seek(from).expect("positions are the source's own");
        assert_eq!(&other.position(), from);
        assert_eq!(drain(other.as_mut(), max_rows), joined(&polled[index..]), "rows after {from}");
    }
    let (first, last) = (&positions[0], &positions[positions.len() - 1]);
    let all = shown(spec.open(outputs).expect("valid").replay(first, last).expect("a long span"));
    assert_eq!(all, joined(&polled), "one replay of everything");
}

type Shown = (Vec<Vec<String>>, Vec<DecodeFailure>);

fn joined(parts: &[Shown]) -> Shown {
    let mut all: Shown = (vec![Vec::new(); parts[0].0.len()], Vec::new());
    for (outputs, failures) in parts {
        outputs.iter().enumerate().for_each(|(output, rows)| all.0[output].extend(rows.clone()));
        all.1.extend(failures.clone());
    }
    all
}

fn append(all: &mut SourceBatch, batch: SourceBatch) {
    all.outputs.resize(batch.outputs.len(), Vec::new());
    for (output, batches) in batch.outputs.into_iter().enumerate() {
        all.outputs[output].extend(batches);
    }
    all.errors.extend(batch.errors);
}

fn shown(batch: SourceBatch) -> (Vec<Vec<String>>, Vec<DecodeFailure>) {
    let failures = batch.errors.into_iter().map(|(_, failure)| failure).collect();
    (batch.outputs.iter().map(|batches| show(batches)).collect(), failures)
}
