//! A random script: tables and a stream, rows, views, and then changes, alone and in transactions.

use rand::Rng;
use rand::rngs::StdRng;

use super::expression::Type;
use super::query::Queries;

/// A table or stream of a script.
pub(super) struct Relation {
    pub(super) name: &'static str,
    pub(super) columns: Vec<(&'static str, Type)>,
    is_stream: bool,
    has_key: bool,
}

/// Views of a script, and changes after them.
const N_VIEWS: usize = 6;
const N_CHANGES: usize = 12;

/// The statements of a script, and how many of them come before the changes.
pub(super) fn script(rng: &mut StdRng) -> Vec<String> {
    let relations = relations();
    let mut statements: Vec<String> = relations.iter().map(create).collect();
    for relation in &relations {
        statements.push(insert(rng, relation, 4));
    }
    for n in 0..N_VIEWS {
        let query = Queries::new(rng, &relations).view();
        statements.push(format!("CREATE MATERIALIZED VIEW v{n} AS {query}"));
    }
    for _ in 0..N_CHANGES {
        statements.push(change_or_block(rng, &relations));
    }
    statements
}

fn relations() -> Vec<Relation> {
    use Type::{Number, Text, Truth};
    let relation = |name, columns, is_stream, has_key| Relation { name, columns, is_stream, has_key };
    vec![
        relation("t", vec![("k", Number), ("a", Number), ("s", Text)], false, true),
        relation("u", vec![("a", Number), ("b", Number), ("s", Text), ("p", Truth)], false, false),
        relation("w", vec![("k", Number), ("b", Number)], false, false),
        relation("e", vec![("a", Number), ("s", Text)], true, false),
    ]
}

fn create(relation: &Relation) -> String {
    let column = |(place, (name, kind)): (usize, &(&str, Type))| {
        let key = if relation.has_key && place == 0 { " PRIMARY KEY" } else { "" };
        format!("{name} {}{key}", kind.sql())
    };
    let columns: Vec<String> = relation.columns.iter().enumerate().map(column).collect();
    let kind = if relation.is_stream { "STREAM" } else { "TABLE" };
    format!("CREATE {kind} {} ({})", relation.name, columns.join(", "))
}

fn change_or_block(rng: &mut StdRng, relations: &[Relation]) -> String {
    if !rng.random_ratio(1, 5) {
        return change(rng, relations);
    }
    let changes: Vec<String> = (0..rng.random_range(2..4)).map(|_| change(rng, relations)).collect();
    let end = if rng.random_ratio(1, 6) { "ROLLBACK" } else { "COMMIT" };
    format!("BEGIN; {}; {end}", changes.join("; "))
}

fn change(rng: &mut StdRng, relations: &[Relation]) -> String {
    let relation = &relations[rng.random_range(0..relations.len())];
    let n_rows = rng.random_range(1..4);
    if relation.is_stream {
        return insert(rng, relation, n_rows);
    }
    let wheres = match rng.random_ratio(1, 8) {
        true => String::new(),
        false => format!(" WHERE {}", Queries::new(rng, &[]).simple_condition(relation)),
    };
    match rng.random_range(0..5) {
        0 | 1 => insert(rng, relation, n_rows),
        2 => format!("DELETE FROM {}{wheres}", relation.name),
        _ => {
            let first = usize::from(relation.has_key);
            let (name, kind) = relation.columns[rng.random_range(first..relation.columns.len())];
            let value = Queries::new(rng, &[]).literal(kind);
            format!("UPDATE {} SET {name} = {value}{wheres}", relation.name)
        }
    }
}

fn insert(rng: &mut StdRng, relation: &Relation, n_rows: usize) -> String {
    let mut row = || {
        let cell = |(place, (_, kind)): (usize, &(&str, Type))| match relation.has_key && place == 0 {
            true => rng.random_range(0..8).to_string(),
            false if rng.random_ratio(1, 5) => "NULL".into(),
            false => Queries::new(rng, &[]).literal(*kind),
        };
        let mut cell = cell;
        let cells: Vec<String> = relation.columns.iter().enumerate().map(&mut cell).collect();
        format!("({})", cells.join(", "))
    };
    let rows: Vec<String> = (0..n_rows).map(|_| row()).collect();
    let conflict = if relation.has_key { " ON CONFLICT DO NOTHING" } else { "" };
    format!("INSERT INTO {} VALUES {}{conflict}", relation.name, rows.join(", "))
}

impl Queries<'_> {
    /// Over a table's own columns.
    fn simple_condition(&mut self, relation: &Relation) -> String {
        let (name, kind) = relation.columns[self.rng.random_range(0..relation.columns.len())];
        match self.rng.random_range(0..4) {
            0 => format!("{name} IS NULL"),
            _ => format!("{name} = {}", self.literal(kind)),
        }
    }
}
