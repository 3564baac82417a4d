//! The second opinion: after each statement every materialized view must equal its query.
//!
//! All relations are read in one transaction, so at one epoch. From the text of the streams' and tables' rows the runner makes
//! its own copy of the inputs ([`batch`]), runs the view's query over them with DataFusion in this process, and compares the
//! rows as a multiset of texts. In the same transaction the server runs the query itself, ad hoc: a third opinion.
//! Views that a query reads are expanded to their own queries, so an error below is never taken for granted above.
//!
//! Not compared: what `# oracle off: reason` says. A view with rows in its errors relation needs `# oracle v: SELECT …`, the
//! query over the rows whose expressions do not fail; without failing rows such a directive is not used.

mod batch;

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use catalog::{CatalogLog, Definition, Object, ObjectId, Snapshot, parse_data_url};

use crate::connection::{Connection, Table};
use batch::{Batch, Inputs};

/// Rows of a difference that are shown.
const N_ROWS_SHOWN: usize = 5;

/// How the error begins when a view has more rows than are compared.
pub const TOO_MANY_ROWS: &str = "too many rows";

/// Compares the views of one server with their queries.
pub struct Oracle {
    connection: Connection,
    batch: Batch,
    /// The server's data folder: what objects there are is read from its catalog log.
    data: PathBuf,
    /// View → the query over its rows that do not fail.
    over_good_rows: BTreeMap<String, String>,
    is_on: bool,
    /// Whether the server runs the queries, too.
    asks_server: bool,
    answers: Answers,
    /// Whether queries read the rows of views that were compared before, and not those views' queries.
    trusts_views: bool,
    /// Rows of a view that are compared, at most.
    n_rows_at_most: usize,
}

/// What queries returned in batch, by the rows of all inputs and the query: one script's ways of running share them.
pub type Answers = Arc<Mutex<HashMap<(u64, String), Rows>>>;

/// What was found to be equal.
#[derive(Debug, Default)]
pub struct Compared {
    /// Comparisons of a view with an opinion.
    pub n_comparisons: usize,
    /// The views, each once.
    pub views: Vec<ComparedView>,
}

/// A view that equals its query.
#[derive(Debug)]
pub struct ComparedView {
    /// Its name.
    pub name: String,
    /// Its rows, sorted.
    pub rows: Rows,
}

/// What one transaction read.
struct Reading {
    inputs: Inputs,
    /// Of the inputs' rows.
    hash: u64,
    views: Vec<ViewReading>,
}

struct ViewReading {
    id: ObjectId,
    plain_name: String,
    /// As a statement names it.
    name: String,
    /// What its rows should be.
    query: String,
    rows: Rows,
    n_errors: u64,
}

/// Rows as text, sorted.
pub type Rows = Vec<Vec<Option<String>>>;

impl Oracle {
    /// An oracle that reads through a connection of its own.
    pub fn new(connection: Connection, data: &Path) -> Self {
        Self {
            connection,
            batch: Batch::new(),
            data: data.to_owned(),
            over_good_rows: BTreeMap::new(),
            is_on: true,
            asks_server: true,
            answers: Answers::default(),
            trusts_views: false,
            n_rows_at_most: usize::MAX,
        }
    }

    /// With what queries returned before, and whether the server is to run them again. A view's query then reads the rows of
    /// views, each of which was compared before it: queries that are expanded over several views take seconds to plan.
    pub fn with_answers(self, answers: Answers, asks_server: bool) -> Self {
        Self { answers, asks_server, trusts_views: true, ..self }
    }

    /// One that does not compare views with more rows than that: the error is [`TOO_MANY_ROWS`] then.
    pub fn with_rows_at_most(self, n_rows_at_most: usize) -> Self {
        Self { n_rows_at_most, ..self }
    }

    /// Takes a comment of the script. The error says what is wrong with the directive in it.
    pub fn directive(&mut self, comment: &str) -> Result<(), String> {
        let Some(directive) = comment.trim().strip_prefix("oracle ") else { return Ok(()) };
        let (subject, rest) = directive.split_once(':').unwrap_or((directive, ""));
        match (subject.trim(), rest.trim()) {
            ("on", "") => self.is_on = true,
            ("off", reason) if !reason.is_empty() => self.is_on = false,
            (view, query) if !query.is_empty() => {
                self.over_good_rows.insert(view.to_owned(), query.to_owned());
            }
            _ => return Err(format!("`#{comment}` is neither `# oracle view: query` nor `# oracle off: reason` nor `# oracle on`")),
        }
        Ok(())
    }

    /// Compares every view; what was compared, or the first difference.
    pub async fn compare(&mut self) -> Result<Compared, String> {
        if !self.is_on {
            return Ok(Compared::default());
        }
        let catalog = read_catalog(&self.data).await?;
        let is_view = |object: &Object| matches!(object.definition, Definition::MaterializedView { .. });
        if !catalog.objects.values().any(is_view) {
            return Ok(Compared::default());
        }
        let reading = self.read(&catalog).await?;
        let compared = self.compare_all(&catalog, &reading).await;
        // The transaction only read; how it ends does not matter, but it must.
        let ended = self.connection.query("ROLLBACK").await;
        let n_comparisons = compared?;
        let views = reading.views.into_iter().map(|view| ComparedView { name: view.plain_name, rows: view.rows });
        let compared = Compared { n_comparisons, views: views.collect() };
        ended.map_err(|error| format!("the oracle's transaction does not end: {error}"))?;
        Ok(compared)
    }

    /// Opens a transaction and reads every relation in it.
    async fn read(&mut self, catalog: &Snapshot) -> Result<Reading, String> {
        let objects = catalog.objects.values();
        let inputs: Vec<&Object> = objects.clone().filter(|object| is_input(catalog, object)).collect();
        let views = objects.filter_map(|object| match &object.definition {
            Definition::MaterializedView { query, errors, .. } => Some((object, query, catalog.get(*errors)?)),
            _ => None,
        });
        let views: Vec<(&Object, &String, &Object)> = views.collect();
        let mut sql = String::from("BEGIN READ ONLY;\n");
        for object in inputs.iter().copied().chain(views.iter().map(|(view, ..)| *view)) {
            sql.push_str(&format!("SELECT * FROM {};\n", name_of(object)));
        }
        for (_, _, errors) in &views {
            sql.push_str(&format!("SELECT count(*) FROM {};\n", name_of(errors)));
        }
        let (tables, _) =
            self.connection.query(&sql).await.map_err(|error| format!("the oracle cannot read the relations: {error}\n{sql}"))?;
        let mut tables = tables.into_iter();
        let mut next = || tables.next().expect("each SELECT returns one table");
        let mut copies = Inputs::new();
        let mut hasher = DefaultHasher::new();
        for object in inputs {
            let table = next();
            copies.insert(object.id, batch::copy(object, &table)?);
            (object.id.0, sorted(table)).hash(&mut hasher);
        }
        let mut rows: Vec<Rows> = Vec::new();
        for (view, ..) in &views {
            let table = next();
            if table.rows.len() > self.n_rows_at_most {
                return Err(format!("{TOO_MANY_ROWS}: {} of view {}", table.rows.len(), view.name));
            }
            if self.trusts_views {
                copies.insert(view.id, batch::copy(view, &table)?);
            }
            rows.push(sorted(table));
        }
        let readings = views.iter().zip(rows).map(|((view, query, _), rows)| {
            let n_errors = count(&next());
            let name = name_of(view);
            let over_good_rows = self.over_good_rows.get(&view.name).filter(|_| n_errors > 0);
            ViewReading { id: view.id, plain_name: view.name.clone(), name, query: over_good_rows.unwrap_or(query).clone(), rows, n_errors }
        });
        let views: Vec<ViewReading> = readings.collect();
        // A view's query may read other views, and functions.
        (catalog.version, views.iter().map(|view| &view.query).collect::<Vec<_>>()).hash(&mut hasher);
        Ok(Reading { views, inputs: copies, hash: hasher.finish() })
    }

    async fn compare_all(&mut self, catalog: &Snapshot, reading: &Reading) -> Result<usize, String> {
        let queries: BTreeMap<ObjectId, &str> = reading.views.iter().map(|view| (view.id, view.query.as_str())).collect();
        let fails = |id: ObjectId| reading.views.iter().any(|view| view.id == id && view.n_errors > 0);
        let mut n_comparisons = 0;
        for view in &reading.views {
            let batch = self.in_batch(catalog, reading, &queries, view).await;
            let ViewReading { name, query, n_errors, .. } = view;
            let batch = batch.map_err(|error| match n_errors {
                0 => format!("view {name}: its query fails in batch, but its errors relation is empty: {error}\n{query}"),
                _ => format!("view {name} has {n_errors} failing rows: say `# oracle {name}: SELECT …` for the others ({error})"),
            })?;
            same(&view.rows, &batch).map_err(|difference| format!("view {name} is not its query in batch:\n{difference}\n{query}"))?;
            n_comparisons += 1;
        }
        // The server's own opinion comes last: a query that fails ends the transaction.
        for view in reading.views.iter().filter(|view| self.asks_server && !reads(catalog, view.id, &fails)) {
            let ViewReading { name, query, .. } = view;
            let answer =
                self.connection.query(query).await.map_err(|error| format!("view {name}: its query fails ad hoc: {error}\n{query}"))?;
            let ad_hoc = answer.0.into_iter().next_back().ok_or_else(|| format!("view {name}: its query returns no table ad hoc"))?;
            same(&view.rows, &sorted(ad_hoc))
                .map_err(|difference| format!("view {name} is not its query run ad hoc:\n{difference}\n{query}"))?;
            n_comparisons += 1;
        }
        Ok(n_comparisons)
    }
}

impl Oracle {
    async fn in_batch(
        &self,
        catalog: &Snapshot,
        reading: &Reading,
        queries: &BTreeMap<ObjectId, &str>,
        view: &ViewReading,
    ) -> Result<Rows, String> {
        let key = (reading.hash, view.name.clone() + &view.query);
        let known = self.answers.lock().expect("no holder panics").get(&key).cloned();
        if let Some(rows) = known {
            return Ok(rows);
        }
        let rows = self.batch.run(catalog, &reading.inputs, queries, view.id).await?;
        self.answers.lock().expect("no holder panics").insert(key, rows.clone());
        Ok(rows)
    }
}

/// The catalog as the server made it durable before it answered.
async fn read_catalog(data: &Path) -> Result<Snapshot, String> {
    let told = |error: catalog::CatalogError| format!("the catalog in {} cannot be read: {error}", data.display());
    let url = parse_data_url(&data.to_string_lossy()).map_err(told)?;
    let log = CatalogLog::open(url.open().map_err(told)?).await.map_err(told)?;
    Ok(log.snapshot().as_ref().clone())
}

/// Streams, tables and the errors relations that a view reads: their rows come over the wire as they are.
fn is_input(catalog: &Snapshot, object: &Object) -> bool {
    match object.definition {
        Definition::Stream { .. } | Definition::Table { .. } => true,
        Definition::Errors { .. } => !catalog.dependents(object.id).is_empty(),
        _ => false,
    }
}

/// True when `is` holds for a view or for one that it reads, at whatever depth.
fn reads(catalog: &Snapshot, id: ObjectId, is: &impl Fn(ObjectId) -> bool) -> bool {
    let below = catalog.get(id).map(|object| object.depends_on.as_slice()).unwrap_or_default();
    is(id) || below.iter().any(|lower| reads(catalog, *lower, is))
}

fn name_of(object: &Object) -> String {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    format!("{}.{}", quoted(&object.schema), quoted(&object.name))
}

fn sorted(table: Table) -> Rows {
    let mut rows = table.rows;
    rows.sort();
    rows
}

fn count(table: &Table) -> u64 {
    let cell = table.rows.first().and_then(|row| row.first()).and_then(Option::as_deref);
    cell.and_then(|text| text.parse().ok()).expect("count(*) is a number")
}

/// The first rows that are in one of two sorted multisets only.
pub fn same(view: &Rows, query: &Rows) -> Result<(), String> {
    if view == query {
        return Ok(());
    }
    let shown = |rows: Vec<&Vec<Option<String>>>, whose: &str| {
        let text = |row: &Vec<Option<String>>| {
            let cells: Vec<&str> = row.iter().map(|cell| cell.as_deref().unwrap_or("NULL")).collect();
            format!("\n    ({})", cells.join(", "))
        };
        let n_more = rows.len().saturating_sub(N_ROWS_SHOWN);
        let listed: String = rows.iter().take(N_ROWS_SHOWN).map(|row| text(row)).collect();
        let more = if n_more > 0 { format!("\n    and {n_more} more") } else { String::new() };
        format!("  {} rows only in the {whose}:{listed}{more}", rows.len())
    };
    Err(format!(
        "  {} rows in the view, {} in the query\n{}\n{}",
        view.len(),
        query.len(),
        shown(minus(view, query), "view"),
        shown(minus(query, view), "query")
    ))
}

/// The rows of `left` that are left when those of `right` are taken away one by one; both are sorted.
fn minus<'a>(left: &'a Rows, right: &Rows) -> Vec<&'a Vec<Option<String>>> {
    let mut right = right.iter().peekable();
    let unmatched = |row: &&Vec<Option<String>>| {
        while right.peek().is_some_and(|other| *other < *row) {
            right.next();
        }
        let matched = right.peek().is_some_and(|other| *other == *row);
        if matched {
            right.next();
        }
        !matched
    };
    left.iter().filter(unmatched).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(cells: &[&str]) -> Rows {
        cells.iter().map(|cell| vec![Some((*cell).to_owned())]).collect()
    }

    #[test]
    fn differences_are_of_multisets() {
        assert_eq!(same(&rows(&["a", "b"]), &rows(&["a", "b"])), Ok(()));
        let difference = same(&rows(&["a", "a", "b"]), &rows(&["a", "b", "c"])).expect_err("they differ");
        assert!(difference.contains("1 rows only in the view:\n    (a)"), "{difference}");
        assert!(difference.contains("1 rows only in the query:\n    (c)"), "{difference}");
    }
}
