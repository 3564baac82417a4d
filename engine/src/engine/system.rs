//! What the engine says of itself: `thalweg.operators`, `thalweg.jobs`, and the numbers of `/metrics`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use catalog::{Definition, Object, ObjectId, Snapshot};
use datafusion::datasource::{MemTable, TableProvider};

use super::Core;
use crate::metrics::{OperatorCounts, RelationEntry};
use crate::plan::Maintenance;

/// The schema system relations are in.
const SCHEMA: &str = "thalweg";

/// The rows of a system relation.
pub(super) fn relation(core: &Core, schema: Option<&str>, name: &str) -> Option<Arc<dyn TableProvider>> {
    if schema.is_some_and(|schema| schema != SCHEMA) {
        return None;
    }
    let rows = match name {
        "operators" if schema.is_some() => operators(core),
        "jobs" if schema.is_some() => jobs(core),
        _ => return None,
    };
    let table = MemTable::try_new(rows.schema(), vec![vec![rows]]).expect("the batch has its own schema");
    Some(Arc::new(table))
}

/// `thalweg.jobs`: what runs, one row per source, materialized view, index and sink.
pub(super) fn jobs(core: &Core) -> RecordBatch {
    let catalog = core.catalog();
    let entries: BTreeMap<ObjectId, RelationEntry> = core.shared.metrics.entries().into_iter().collect();
    let n_rows_in = core.shared.n_rows_in.read().expect("no one panics while holding it").clone();
    let mut table = Table::new(&[("name", true), ("kind", true), ("state", true), ("epoch", false), ("rows", false), ("error", true)]);
    for object in catalog.objects.values() {
        let Some(entry) = entries.get(&object.id) else { continue };
        let (kind, n_rows) = match &object.definition {
            Definition::Stream { options, .. } if options.contains_key("connector") => {
                ("source", n_rows_in.get(&object.id).copied().unwrap_or(0))
            }
            Definition::MaterializedView { .. } => ("materialized view", entry.kept().n_rows),
            Definition::Index { .. } => ("index", entry.kept().n_rows),
            Definition::Sink { .. } => ("sink", entry.operator_counts().last().map_or(0, |counts| counts.n_rows_out)),
            _ => continue,
        };
        let error = core.failure(object.id).or_else(|| entry.failure());
        table.text(object.name.clone());
        table.text(kind.into());
        table.text(state(core, object, entry, error.is_some()).into());
        table.number(entry.frontier().saturating_sub(1));
        table.number(n_rows);
        table.optional_text(error.map(|error| error.message));
        table.next_row();
    }
    table.finish()
}

fn state(core: &Core, object: &Object, entry: &RelationEntry, is_failed: bool) -> &'static str {
    if is_failed {
        return "failed";
    }
    let is_source = matches!(object.definition, Definition::Stream { .. });
    if is_source && core.shared.finished.borrow().contains(&object.id) {
        return "finished";
    }
    if !is_source && entry.frontier() <= object.since { "building" } else { "running" }
}

/// `thalweg.operators`: one row per operator of each materialized view, index and sink.
fn operators(core: &Core) -> RecordBatch {
    let catalog = core.catalog();
    let columns = [
        ("relation", true),
        ("id", false),
        ("operator", true),
        ("kind", true),
        ("rows_in", false),
        ("retractions_in", false),
        ("rows_out", false),
        ("state_rows_read", false),
        ("state_rows", false),
        ("state_bytes", false),
    ];
    let mut table = Table::new(&columns);
    for (id, entry) in core.shared.metrics.entries() {
        let Some(object) = catalog.get(id) else { continue };
        for (index, (name, counts)) in entry.names.iter().zip(entry.operator_counts()).enumerate() {
            table.text(object.name.clone());
            table.number(index as u64);
            table.text(with_names(&name.label, &catalog));
            table.text(maintenance(name.maintenance).into());
            let OperatorCounts { n_rows_in, n_retractions_in, n_rows_out, n_state_rows_read, n_state_rows, n_state_bytes } = counts;
            let counts = [n_rows_in, n_retractions_in, n_rows_out, n_state_rows_read, n_state_rows, n_state_bytes];
            counts.into_iter().for_each(|count| table.number(count));
            table.next_row();
        }
    }
    table.finish()
}

fn with_names(label: &str, catalog: &Snapshot) -> String {
    let id = label.strip_prefix("Scan ").and_then(|id| id.parse().ok()).map(ObjectId);
    id.and_then(|id| catalog.get(id)).map_or_else(|| label.into(), |object| format!("Scan {}", object.name))
}

fn maintenance(maintenance: Maintenance) -> &'static str {
    match maintenance {
        Maintenance::Stateless => "stateless",
        Maintenance::Incremental => "incremental",
        Maintenance::Recompute => "recompute",
    }
}

pub(super) fn metrics(core: &Core) -> BTreeMap<String, f64> {
    let catalog = core.catalog();
    let mut metrics = BTreeMap::from([("thalweg_recorded_epoch".into(), core.shared.clock.recorded() as f64)]);
    for (id, n_rows) in core.shared.n_rows_in.read().expect("no one panics while holding it").iter() {
        if let Some(object) = catalog.get(*id) {
            metrics.insert(format!("thalweg_rows_in_total{{relation=\"{}\"}}", label(&object.name)), *n_rows as f64);
        }
    }
    for (id, entry) in core.shared.metrics.entries() {
        let Some(object) = catalog.get(id) else { continue };
        let name = label(&object.name);
        let kept = entry.kept();
        let frontier = entry.relation.iter().map(|relation| relation.frontier.load(Ordering::Relaxed)).min().unwrap_or(0);
        metrics.insert(format!("thalweg_relation_frontier{{relation=\"{name}\"}}"), frontier as f64);
        metrics.insert(format!("thalweg_relation_rows{{relation=\"{name}\"}}"), kept.n_rows as f64);
        metrics.insert(format!("thalweg_relation_bytes{{relation=\"{name}\"}}"), kept.n_bytes as f64);
        let state: u64 = entry.operator_counts().iter().map(|counts| counts.n_state_bytes).sum();
        metrics.insert(format!("thalweg_operator_state_bytes{{relation=\"{name}\"}}"), state as f64);
    }
    metrics
}

fn label(name: &str) -> String {
    name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Rows of texts and numbers, put together cell by cell.
pub(super) struct Table {
    names: Vec<(String, bool)>,
    texts: Vec<Vec<Option<String>>>,
    numbers: Vec<Vec<i64>>,
    column: usize,
}

impl Table {
    pub(super) fn new(columns: &[(&str, bool)]) -> Self {
        let names: Vec<_> = columns.iter().map(|(name, is_text)| ((*name).to_string(), *is_text)).collect();
        Self { texts: vec![Vec::new(); names.len()], numbers: vec![Vec::new(); names.len()], names, column: 0 }
    }

    pub(super) fn text(&mut self, text: String) {
        self.optional_text(Some(text));
    }

    pub(super) fn optional_text(&mut self, text: Option<String>) {
        self.texts[self.column].push(text);
        self.column += 1;
    }

    pub(super) fn number(&mut self, number: u64) {
        self.numbers[self.column].push(i64::try_from(number).unwrap_or(i64::MAX));
        self.column += 1;
    }

    pub(super) fn next_row(&mut self) {
        assert_eq!(self.column, self.names.len(), "every cell of the row was given");
        self.column = 0;
    }

    pub(super) fn finish(self) -> RecordBatch {
        let fields: Vec<Field> = self
            .names
            .iter()
            .map(|(name, is_text)| Field::new(name, if *is_text { DataType::Utf8 } else { DataType::Int64 }, true))
            .collect();
        let columns: Vec<ArrayRef> = (self.names.iter().zip(self.texts).zip(self.numbers))
            .map(|(((_, is_text), texts), numbers)| match is_text {
                true => Arc::new(StringArray::from(texts)) as ArrayRef,
                false => Arc::new(Int64Array::from(numbers)) as ArrayRef,
            })
            .collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("each column has a cell per row")
    }
}
