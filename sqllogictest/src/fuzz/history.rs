//! A random script: tables and a stream, rows, views, and then changes, alone and in transactions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::query::{Made, Queries, Shape};
use super::reach::Construct;
use super::values::{Type, one_of};

/// A table, stream or view that queries read.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    pub(super) name: String,
    pub(super) columns: Vec<(String, Type)>,
    pub(super) kind: Kind,
    /// Most of the script's changes are to it and a few others, and direct views read it.
    pub(super) changes_often: bool,
    /// Only Thalweg can compute it.
    pub(super) beyond_postgres: bool,
}

/// What a relation is; of a table, how many of its first columns are its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Table(usize),
    Stream,
    View,
}

/// A statement of a script.
#[derive(Debug, Clone)]
pub struct Statement {
    /// Its text.
    pub(super) sql: String,
    /// The view that it makes.
    pub(super) view: Option<String>,
    /// What the view's query has.
    pub(super) constructs: BTreeSet<Construct>,
    /// PostgreSQL cannot run it, or answers in other digits.
    pub(super) beyond_postgres: bool,
}

/// Views of a script, and changes after them.
pub(super) const N_VIEWS: usize = 10;
const N_CHANGES: usize = 20;

/// Constructs that the operators with the most to remember stand for: each script has a view of each family, so that few scripts
/// reach them all.
const FAMILIES: [&[Construct]; 6] = {
    use Construct::*;
    [
        &[JoinFull, Exists, JoinLeft, In, JoinRight, Intersect, JoinFull, Any, RowIn, IntersectAll],
        &[NotExists, Except, NotIn, NotExists, All, ExceptAll],
        &[Limit, DistinctOn, FirstByRowNumber, Offset, FirstByRank, SubqueryFirstRow],
        &[
            Lag,
            FrameBefore,
            FrameAround,
            RowNumber,
            Lead,
            FrameAfter,
            Rank,
            FrameRange,
            PercentRank,
            NthValue,
            FrameGroups,
            OverFiltered,
            Ntile,
        ],
        &[
            UnnestFrom,
            RecursionUnion,
            UnnestList,
            RecursionUnionAll,
            UnnestSeveral,
            Union,
            UnnestOrdinality,
            RecursionAggregate,
            UnnestTwice,
        ],
        &[Filtered, CountDistinct, Min, GroupingSets, ArrayAgg, Rollup, StringAgg, SubqueryArray, Median, SubqueryAggregate, UnionAll],
    ]
};

/// Relations that change often.
const N_CHANGING: usize = 3;

/// Queries made in the search of one that has a certain construct, at most.
const MAX_TRIES: usize = 2_000;

/// Direct queries of which one is chosen.
const N_FITTING: usize = 12;

/// Letters of a direct query.
const MAX_LETTERS: usize = 400;

/// The statements of a script.
pub(super) fn script(seed: u64) -> Vec<Statement> {
    let rng = &mut StdRng::seed_from_u64(seed);
    let mut relations = relations();
    relations.iter_mut().for_each(|relation| relation.changes_often = false);
    for place in rand::seq::index::sample(rng, relations.len(), N_CHANGING) {
        relations[place].changes_often = true;
    }
    let plain = |sql| Statement { sql, view: None, constructs: BTreeSet::new(), beyond_postgres: false };
    let mut statements: Vec<Statement> = relations.iter().map(create).map(plain).collect();
    // Half of the indexes are there before the rows.
    let (early, late): (Vec<String>, Vec<String>) = indexes(rng, &relations).into_iter().partition(|_| rng.random_bool(0.5));
    statements.extend(early.into_iter().map(plain));
    for relation in &relations {
        statements.push(plain(insert(rng, relation, 10)));
    }
    statements.extend(late.into_iter().map(plain));
    for n in 0..N_VIEWS {
        let statement = view(rng, &mut relations, n, wanted(seed, n));
        statements.push(statement);
    }
    relations.retain(|relation| relation.kind != Kind::View);
    for _ in 0..N_CHANGES {
        statements.push(plain(change_or_block(rng, &relations)));
    }
    statements
}

/// Indexes by some of the columns, in which joins look rows up.
fn indexes(rng: &mut StdRng, relations: &[Relation]) -> Vec<String> {
    let columns = relations.iter().flat_map(|relation| relation.columns.iter().map(|(column, _)| (&relation.name, column)));
    columns.filter(|_| rng.random_bool(0.5)).map(|(relation, column)| format!("CREATE INDEX ON {relation} ({column})")).collect()
}

/// What view `n` must have: one of each family, and constructs far apart in the list. Scripts that follow each other have the next.
fn wanted(seed: u64, n: usize) -> Construct {
    let place = usize::try_from(seed % 1_000_000).expect("it is small");
    match FAMILIES.get(n) {
        Some(family) => family[place % family.len()],
        None => {
            let n_others = N_VIEWS - FAMILIES.len();
            Construct::ALL[(place + (n - FAMILIES.len()) * Construct::ALL.len() / n_others) % Construct::ALL.len()]
        }
    }
}

/// A view that has the construct, so that the seldom ones are met as well; later views may read it. Most are direct, where the
/// construct can be.
fn view(rng: &mut StdRng, relations: &mut Vec<Relation>, n: usize, wanted: Construct) -> Statement {
    let made = if rng.random_bool(0.75) { direct(rng, relations, wanted) } else { None };
    let mut free = || Queries::new(rng, relations, Shape::Free).view();
    let made = made.or_else(|| (0..MAX_TRIES).map(|_| free()).find(|made| made.constructs.contains(&wanted))).unwrap_or_else(free);
    let name = format!("v{n}");
    let columns = made.types.iter().enumerate().map(|(place, kind)| (format!("c{place}"), *kind)).collect();
    let beyond_postgres = made.beyond_postgres;
    relations.push(Relation { name: name.clone(), columns, kind: Kind::View, changes_often: false, beyond_postgres });
    Statement {
        sql: format!("CREATE MATERIALIZED VIEW {name} AS {}", made.sql),
        view: Some(name),
        constructs: made.constructs,
        beyond_postgres: made.beyond_postgres,
    }
}

/// Of some direct queries that have the construct, the one that has the most seldom constructs beside it.
fn direct(rng: &mut StdRng, relations: &[Relation], wanted: Construct) -> Option<Made> {
    let made = (0..MAX_TRIES).map(|_| Queries::new(rng, relations, Shape::Direct).view());
    let fitting = made.filter(|made| made.constructs.contains(&wanted) && made.sql.len() <= MAX_LETTERS).take(N_FITTING);
    let worth = |made: &Made| made.constructs.iter().map(|construct| rarity(*construct)).sum::<f64>();
    fitting.max_by(|left, right| worth(left).total_cmp(&worth(right)))
}

/// One divided by how many of a thousand direct queries have the construct; 0 for what only others have.
fn rarity(construct: Construct) -> f64 {
    static MADE: OnceLock<BTreeMap<Construct, u32>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let (mut rng, relations, mut made) = (StdRng::seed_from_u64(0), relations(), BTreeMap::new());
        for _ in 0..1_000 {
            for construct in Queries::new(&mut rng, &relations, Shape::Direct).view().constructs {
                *made.entry(construct).or_default() += 1;
            }
        }
        made
    });
    made.get(&construct).map_or(0.0, |n| 1.0 / f64::from(*n))
}

fn relations() -> Vec<Relation> {
    use Type::{Float, List, Number, Numeric, Text, Time, Truth};
    let relation = |name: &str, columns: &[(&str, Type)], kind| Relation {
        name: name.into(),
        columns: columns.iter().map(|(name, kind)| ((*name).into(), *kind)).collect(),
        kind,
        changes_often: true,
        beyond_postgres: false,
    };
    vec![
        relation("t", &[("k", Number), ("a", Number), ("s", Text), ("f", Float)], Kind::Table(1)),
        relation("u", &[("a", Number), ("b", Number), ("s", Text), ("p", Truth)], Kind::Table(0)),
        relation("w", &[("k", Number), ("b", Number), ("n", Numeric), ("m", Time)], Kind::Table(0)),
        relation("d", &[("k", Number), ("s", Text), ("f", Float), ("n", Numeric)], Kind::Table(2)),
        relation("g", &[("a", Number), ("l", List), ("m", Time)], Kind::Table(0)),
        relation("e", &[("a", Number), ("s", Text), ("m", Time)], Kind::Stream),
    ]
}

fn create(relation: &Relation) -> String {
    let mut parts: Vec<String> = relation.columns.iter().map(|(name, kind)| format!("{name} {}", kind.sql())).collect();
    let key = relation.key();
    if !key.is_empty() {
        parts.push(format!("PRIMARY KEY ({})", key.join(", ")));
    }
    let kind = if relation.kind == Kind::Stream { "STREAM" } else { "TABLE" };
    format!("CREATE {kind} {} ({})", relation.name, parts.join(", "))
}

fn change_or_block(rng: &mut StdRng, relations: &[Relation]) -> String {
    if rng.random_ratio(1, 4) {
        return change(rng, relations);
    }
    let changes: Vec<String> = (0..rng.random_range(3..9)).map(|_| change(rng, relations)).collect();
    let end = if rng.random_ratio(1, 8) { "ROLLBACK" } else { "COMMIT" };
    format!("BEGIN; {}; {end}", changes.join("; "))
}

fn change(rng: &mut StdRng, relations: &[Relation]) -> String {
    let often: Vec<&Relation> = relations.iter().filter(|relation| relation.changes_often).collect();
    let relation = if rng.random_bool(0.8) { one_of(rng, &often) } else { &relations[rng.random_range(0..relations.len())] };
    let n_rows = rng.random_range(1..6);
    if relation.kind == Kind::Stream {
        return insert(rng, relation, n_rows);
    }
    let name = &relation.name;
    match rng.random_range(0..40) {
        0 => format!("TRUNCATE {name}"),
        1 => format!("DELETE FROM {name}"),
        2 => format!("UPDATE {name} SET {}", assignment(rng, relation)),
        3 if relation.name != "u" => format!("DELETE FROM {name} USING u WHERE {name}.{} = u.a", relation.columns[0].0),
        4 if relation.name == "u" => "INSERT INTO u (a, s) SELECT k, s FROM t WHERE a > 0".into(),
        5..=10 => format!("DELETE FROM {name} WHERE {}", simple_condition(rng, relation)),
        11..=24 => format!("UPDATE {name} SET {} WHERE {}", assignment(rng, relation), simple_condition(rng, relation)),
        _ => insert(rng, relation, n_rows),
    }
}

/// A new value for a column, now and then of the key: that may be refused, which changes nothing.
fn assignment(rng: &mut StdRng, relation: &Relation) -> String {
    let n_key = relation.key().len();
    if n_key > 0 && rng.random_ratio(1, 3) {
        let key = &relation.columns[0].0;
        return one_of(rng, &["{} = {} + 20", "{} = -{} - 1"]).replace("{}", key);
    }
    let (name, kind) = &relation.columns[rng.random_range(n_key..relation.columns.len())];
    match kind {
        Type::Number if rng.random_ratio(1, 2) => format!("{name} = {name} + 1"),
        Type::Float if rng.random_ratio(1, 4) => format!("{name} = -{name}"),
        kind => format!("{name} = {}", kind.stored(rng)),
    }
}

fn insert(rng: &mut StdRng, relation: &Relation, n_rows: usize) -> String {
    let n_key = relation.key().len();
    let mut row = || {
        let mut cell = |place: usize, kind: Type| match place < n_key {
            true if kind == Type::Number => rng.random_range(0..10).to_string(),
            false if rng.random_ratio(1, 6) => "NULL".into(),
            _ => kind.stored(rng),
        };
        let cells: Vec<String> = relation.columns.iter().enumerate().map(|(place, (_, kind))| cell(place, *kind)).collect();
        format!("({})", cells.join(", "))
    };
    let rows: Vec<String> = (0..n_rows).map(|_| row()).collect();
    let conflict = match n_key {
        0 => String::new(),
        // Two rows of one key would be refused.
        _ if n_rows == 1 || rng.random_ratio(1, 3) => {
            let (first, second) = (&relation.columns[n_key].0, &relation.columns[n_key + 1].0);
            format!(
                " ON CONFLICT ({}) DO UPDATE SET {first} = excluded.{first}, {second} = {}.{second}",
                relation.key().join(", "),
                relation.name
            )
        }
        _ => " ON CONFLICT DO NOTHING".into(),
    };
    format!("INSERT INTO {} VALUES {}{conflict}", relation.name, rows.join(", "))
}

/// Over a table's own columns.
fn simple_condition(rng: &mut StdRng, relation: &Relation) -> String {
    let (name, kind) = &relation.columns[rng.random_range(0..relation.columns.len())];
    match rng.random_range(0..6) {
        0 => format!("{name} IS NULL"),
        1 | 2 => format!("{name} <> {}", kind.stored(rng)),
        _ => format!("{name} = {}", kind.stored(rng)),
    }
}

impl Relation {
    fn key(&self) -> Vec<&str> {
        let n = if let Kind::Table(n) = self.kind { n } else { 0 };
        self.columns[..n].iter().map(|(name, _)| name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_construct_is_made() {
        let scripts = (0..100).flat_map(script);
        let made: BTreeSet<Construct> = scripts.flat_map(|statement| statement.constructs).collect();
        let missing: Vec<&str> =
            Construct::ALL.iter().filter(|construct| !made.contains(construct)).map(|construct| construct.name()).collect();
        assert!(missing.is_empty(), "never made: {missing:?}");
    }
}
