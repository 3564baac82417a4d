//! A few relations with rows, and the helpers that plan over them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use catalog::ObjectId;
use datafusion::datasource::{MemTable, TableProvider};
use datafusion::sql::sqlparser::ast;

use super::reference;
use crate::plan::parse::parse_query;
use crate::plan::query::Planner;
use crate::plan::relation::{Relation, RelationProvider};
use crate::plan::session::Session;
use crate::plan::{Plan, explain};
use crate::{Error, Result};

/// 2020-01-01 00:00:00 UTC, in microseconds.
pub const NOW: i64 = 1_577_836_800_000_000;

/// Relations by name: their rows, and whether they are streams.
pub struct Fixture {
    stored: BTreeMap<&'static str, (ObjectId, RecordBatch, bool)>,
    views: BTreeMap<&'static str, (&'static str, Vec<String>)>,
    pub session: Session,
}

impl RelationProvider for Fixture {
    fn resolve(&self, schema: Option<&str>, name: &str) -> Option<Relation> {
        if let Some((id, rows, append_only)) = self.stored.get(name).filter(|_| schema.is_none_or(|schema| schema == "public")) {
            return Some(Relation::Stored { id: *id, schema: rows.schema(), append_only: *append_only });
        }
        if name == "endless" {
            return Some(Relation::View { query: Box::new(query("SELECT * FROM endless")), columns: vec![], is_materialized: false });
        }
        let (sql, columns) = self.views.get(name)?;
        Some(Relation::View { query: Box::new(query(sql)), columns: columns.clone(), is_materialized: false })
    }
}

/// Parses one query.
pub fn query(sql: &str) -> ast::Query {
    *parse_query(sql).expect("the test's SQL parses")
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, values)| (name, values, true))).expect("columns of one length")
}

fn longs(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Int64Array>())
}

fn ints(values: impl IntoIterator<Item = Option<i32>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Int32Array>())
}

fn texts<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

/// Times in milliseconds after [`NOW`].
fn times(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(values.into_iter().map(|at| NOW + at * 1000)))
}

impl Fixture {
    pub fn new() -> Self {
        let t = batch(vec![
            ("a", ints([Some(1), Some(2), Some(2), Some(3), None, Some(3)])),
            ("b", texts([Some("x"), Some("y"), Some("y"), None, Some("z"), Some("w")])),
            ("c", longs([Some(10), Some(20), Some(20), Some(30), Some(40), None])),
        ]);
        let u = batch(vec![
            ("a", ints([Some(2), Some(3), Some(3), None, Some(9)])),
            ("d", texts([Some("p"), Some("q"), Some("r"), Some("s"), None])),
        ]);
        let stored = BTreeMap::from([
            ("t", (ObjectId(1), t, false)),
            ("u", (ObjectId(2), u.clone(), false)),
            ("s", (ObjectId(3), u, true)),
            ("bid", (ObjectId(10), bids(), true)),
            ("auction", (ObjectId(11), auctions(), true)),
            ("person", (ObjectId(12), persons(), true)),
            (
                "side_input",
                (ObjectId(13), batch(vec![("key", longs([Some(1000), Some(1001)])), ("value", texts([Some("one"), Some("two")]))]), false),
            ),
        ]);
        let views = BTreeMap::from([
            ("big", ("SELECT a, c FROM t WHERE c > 15", vec![])),
            ("bigger", ("SELECT * FROM big WHERE c > 25", vec!["first".to_string(), "second".to_string()])),
        ]);
        Self { stored, views, session: Session::new(1, Arc::default()).expect("a session") }
    }

    pub fn planner(&self) -> Planner<'_> {
        Planner::new(&self.session, self, NOW)
    }

    pub fn name(&self, id: ObjectId) -> String {
        self.stored.iter().find(|(_, (known, ..))| *known == id).map_or_else(|| id.to_string(), |(name, _)| (*name).to_string())
    }

    pub fn rows(&self, id: ObjectId) -> &RecordBatch {
        &self.stored.values().find(|(known, ..)| *known == id).expect("a relation of the fixture").1
    }

    pub fn snapshots(&self) -> HashMap<ObjectId, Arc<dyn TableProvider>> {
        let table = |(id, rows, _): &(ObjectId, RecordBatch, bool)| {
            let table = MemTable::try_new(rows.schema(), vec![vec![rows.clone()]]).expect("rows have their schema");
            (*id, Arc::new(table) as Arc<dyn TableProvider>)
        };
        self.stored.values().map(table).collect()
    }

    /// The lowered view.
    pub fn lower(&self, sql: &str) -> Result<Plan> {
        self.planner().with_text(sql).view(&query(sql), &[])?.lower()
    }

    /// The operators of a view, after comparing what they compute with the batch run.
    pub fn operators(&self, sql: &str) -> String {
        let planned = self.planner().with_text(sql).view(&query(sql), &[]).unwrap_or_else(|error| panic!("{sql} does not plan: {error:?}"));
        let plan = planned.lower().unwrap_or_else(|error| panic!("{sql} does not lower: {error:?}"));
        assert_eq!(&plan.schema, planned.schema(), "a lowered plan has its query's schema");
        let expected = sorted(self.run(&planned).expect("the query runs"));
        let actual = sorted(vec![reference::evaluate(&plan, self)]);
        assert_eq!(actual, expected, "operators and batch disagree on {sql}");
        explain::operators(&plan, &|id| self.name(id)).join("\n")
    }

    pub fn run(&self, planned: &crate::plan::query::PlannedQuery) -> Result<Vec<RecordBatch>> {
        let snapshots = self.snapshots();
        block_on(async {
            let stream = planned.execute(&snapshots).await?;
            datafusion::physical_plan::common::collect(stream).await.map_err(Error::from)
        })
    }

    /// The rows of an ad-hoc query as text, in the order they come.
    pub fn select(&self, sql: &str) -> Result<Vec<String>> {
        let planned = self.planner().with_text(sql).read(&query(sql))?;
        Ok(lines(&self.run(&planned)?))
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// Rows as text, one line each.
pub fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    let mut lines = Vec::new();
    for batch in batches {
        let formatters = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).expect("a printable type"));
        let formatters = formatters.collect::<Vec<_>>();
        lines.extend(
            (0..batch.num_rows()).map(|row| formatters.iter().map(|cell| cell.value(row).to_string()).collect::<Vec<_>>().join(" | ")),
        );
    }
    lines
}

pub fn sorted(batches: Vec<RecordBatch>) -> Vec<String> {
    let mut lines = lines(&batches);
    lines.sort();
    lines
}

fn bids() -> RecordBatch {
    let n = 60_i64;
    let row = |modulus: i64, base: i64| longs((0..n).map(move |i| Some(base + (i * 7 + i / 3) % modulus)));
    let channels = ["apple", "google", "facebook", "baidu"];
    let urls = (0..n).map(|i| format!("https://www.nexmark.com/a/b/item.htm?query=1&channel_id={i}")).collect::<Vec<_>>();
    batch(vec![
        ("auction", row(9, 1000)),
        ("bidder", row(5, 1)),
        ("price", longs((0..n).map(|i| Some((i * 37) % 101 * 100)))),
        ("channel", texts((0..n).map(|i| Some(channels[i as usize % 4])))),
        ("url", texts(urls.iter().map(|url| Some(url.as_str())))),
        ("date_time", times((0..n).map(|i| i * 731))),
        ("extra", texts((0..n).map(|_| Some("abcc")))),
    ])
}

fn auctions() -> RecordBatch {
    let n = 9_i64;
    batch(vec![
        ("id", longs((0..n).map(|i| Some(1000 + i)))),
        ("item_name", texts((0..n).map(|i| Some(["vase", "lamp"][i as usize % 2])))),
        ("description", texts((0..n).map(|_| Some("nice")))),
        ("initial_bid", longs((0..n).map(|i| Some(i * 10)))),
        ("reserve", longs((0..n).map(|i| Some(i * 20)))),
        ("date_time", times((0..n).map(|i| i * 1000))),
        ("expires", times((0..n).map(|i| 20_000 + i * 2000))),
        ("seller", longs((0..n).map(|i| Some(1 + i % 4)))),
        ("category", longs((0..n).map(|i| Some(10 + i % 3)))),
        ("extra", texts((0..n).map(|_| Some("x")))),
    ])
}

fn persons() -> RecordBatch {
    let n = 5_i64;
    batch(vec![
        ("id", longs((0..n).map(|i| Some(1 + i)))),
        ("name", texts((0..n).map(|i| Some(["ann", "bob", "cid", "dee", "eve"][i as usize])))),
        ("email_address", texts((0..n).map(|_| Some("a@b.c")))),
        ("credit_card", texts((0..n).map(|_| Some("1234")))),
        ("city", texts((0..n).map(|_| Some("portland")))),
        ("state", texts((0..n).map(|i| Some(["or", "id", "ca", "wa", "or"][i as usize])))),
        ("date_time", times((0..n).map(|i| i * 1500))),
        ("extra", texts((0..n).map(|_| Some("")))),
    ])
}

/// The schema of a fixture's relation.
pub fn schema_of(fixture: &Fixture, name: &str) -> SchemaRef {
    fixture.stored[name].1.schema()
}
