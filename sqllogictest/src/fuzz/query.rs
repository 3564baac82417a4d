//! Random queries of given column types, over the relations of a script and each other. Each is plain PostgreSQL but for what
//! [`Queries::beyond_postgres`] notes, and its rows do not depend on what SQL leaves open: what is cut off by LIMIT or a row
//! number is ordered by all that can be seen of a row.

use std::collections::BTreeSet;

use rand::Rng;
use rand::rngs::StdRng;

use super::history::Relation;
use super::reach::Construct;
use super::values::{Type, one_of};

/// A column in scope.
#[derive(Debug, Clone)]
pub(super) struct Column {
    /// As an expression names it. A stored float is read as `(f + 0.0)`, which has no negative zero: which of two equal zeros
    /// stands for both in a group, or comes first, is open.
    pub(super) sql: String,
    pub(super) kind: Type,
}

/// A query of a view.
pub(super) struct Made {
    pub(super) sql: String,
    pub(super) types: Vec<Type>,
    pub(super) constructs: BTreeSet<Construct>,
    pub(super) beyond_postgres: bool,
}

/// Makes queries.
pub(super) struct Queries<'a> {
    pub(super) rng: &'a mut StdRng,
    pub(super) relations: &'a [Relation],
    pub(super) constructs: BTreeSet<Construct>,
    pub(super) beyond_postgres: bool,
    n_aliases: u32,
    /// Queries inside queries at the moment.
    pub(super) depth: u32,
    /// SELECTs that may still come: bounds the size of a query.
    pub(super) budget: u32,
    /// Where a subquery would stand.
    place: Construct,
    shape: Shape,
}

/// What a view's query is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Anything in anything.
    Free,
    /// Little in one query, over relations that change: its operators take in what the statements of a script do, and most of
    /// what they do wrong is seen in the view.
    Direct,
}

/// SELECTs of a query at most, and how deep they are nested. Planning a query takes by far the longest of all.
const MAX_SELECTS: u32 = 5;
const MAX_DEPTH: u32 = 3;

impl<'a> Queries<'a> {
    pub(super) fn new(rng: &'a mut StdRng, relations: &'a [Relation], shape: Shape) -> Self {
        let (constructs, place) = (BTreeSet::new(), Construct::SubqueryInList);
        let budget = if shape == Shape::Direct { 2 } else { rng.random_range(1..=MAX_SELECTS) };
        Self { rng, relations, constructs, beyond_postgres: false, n_aliases: 0, depth: 0, budget, place, shape }
    }

    /// The query of a view: columns `c0`, `c1`, ….
    pub(super) fn view(mut self) -> Made {
        let (sql, types) = match self.one_in(10) {
            true => self.grouping_sets(),
            false => {
                let n_columns = if self.is_direct() { self.rng.random_range(2..5) } else { self.rng.random_range(1..4) };
                let types: Vec<Type> = (0..n_columns).map(|_| Type::any(self.rng)).collect();
                (self.query(&types, &[]), types)
            }
        };
        Made { sql, types, constructs: self.constructs, beyond_postgres: self.beyond_postgres }
    }

    pub(super) fn is_direct(&self) -> bool {
        self.shape == Shape::Direct
    }

    pub(super) fn one_in(&mut self, n: u32) -> bool {
        self.rng.random_ratio(1, n)
    }

    pub(super) fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        one_of(self.rng, of)
    }

    /// Notes that the query has a construct.
    pub(super) fn uses(&mut self, construct: Construct) {
        self.constructs.insert(construct);
    }

    /// Notes a construct that PostgreSQL does not have, or computes in other digits.
    pub(super) fn uses_beyond_postgres(&mut self, construct: Construct) {
        self.uses(construct);
        self.beyond_postgres = true;
    }

    pub(super) fn may_nest(&self) -> bool {
        self.depth < MAX_DEPTH && self.budget > 0
    }

    pub(super) fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> T) -> T {
        self.depth += 1;
        if self.depth == MAX_DEPTH {
            self.uses(Construct::Deep);
        }
        let place = self.place;
        let made = inner(self);
        self.place = place;
        self.depth -= 1;
        made
    }

    /// Makes something in which subqueries stand at this place.
    pub(super) fn at<T>(&mut self, place: Construct, inner: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.place, place);
        let made = inner(self);
        self.place = before;
        made
    }

    /// A subquery of an expression, which may refer to `outer`.
    pub(super) fn subquery(&mut self, construct: Construct, outer: &[Column], inner: impl FnOnce(&mut Self) -> String) -> String {
        self.uses(construct);
        self.uses(self.place);
        let sql = self.nested(inner);
        if outer.iter().any(|column| sql.contains(&column.sql)) {
            self.uses(Construct::Correlated);
        }
        sql
    }

    /// A query of these types; `outer` are the columns it may refer to outside.
    pub(super) fn query(&mut self, types: &[Type], outer: &[Column]) -> String {
        self.budget = self.budget.saturating_sub(1);
        let kind = match (self.is_direct(), self.depth) {
            (false, _) => self.rng.random_range(0..30),
            (true, 0) => self.one_of(&[
                0, 0, 0, 0, 0, 3, 3, 3, 3, 8, 8, 8, 8, 11, 13, 13, 13, 13, 14, 16, 16, 16, 16, 16, 16, 17, 18, 18, 18, 18, 19, 19,
            ]),
            (true, _) => 19,
        };
        match kind {
            0..=2 if self.may_nest() => self.set_operation(types, outer),
            3..=7 => self.aggregated(types, outer),
            8..=10 => self.windowed(types, outer),
            11 | 12 => self.first_rows(types, outer),
            13 | 28 if self.may_nest() => self.first_of_each(types, outer),
            14 | 15 => {
                self.uses(Construct::Distinct);
                self.selected("DISTINCT ", types, outer)
            }
            16 | 26 | 27 if self.may_nest() => self.recursion(types, outer),
            17 if self.may_nest() => self.with(types),
            18 | 29 => self.several_rows(types, outer),
            _ => self.selected("", types, outer),
        }
    }

    pub(super) fn selected(&mut self, distinct: &str, types: &[Type], outer: &[Column]) -> String {
        let (from, own) = self.from(outer);
        let scope = self.scope(&own, outer);
        let list = self.list(types, &scope);
        format!("SELECT {distinct}{list} FROM {from}{}", self.wheres(&scope))
    }

    /// ` WHERE …`, or nothing.
    pub(super) fn wheres(&mut self, scope: &[Column]) -> String {
        if self.depth == 0 && self.one_in(8) {
            if let Some(bound) = self.bound_of_time(scope) {
                return format!(" WHERE {bound}");
            }
        }
        if self.one_in(2) {
            return String::new();
        }
        let depth = if self.is_direct() { 1 } else { 2 };
        let condition = self.at(Construct::SubqueryInWhere, |this| this.condition(scope, depth));
        // Many conditions leave no row.
        match self.one_in(2) {
            true => format!(" WHERE ({condition}) OR {}", self.plain_condition(scope)),
            false => format!(" WHERE {condition}"),
        }
    }

    /// A condition on the clock that is the same for years to come: which rows have passed it does not depend on when they are
    /// read.
    fn bound_of_time(&mut self, scope: &[Column]) -> Option<String> {
        let time = self.column(Type::Time, scope)?;
        self.uses(Construct::Clock);
        let far = "INTERVAL '40000 days'";
        let sometimes_far = format!("CASE WHEN {} THEN {time} + {far} ELSE {time} END", self.plain_condition(scope));
        Some(match self.rng.random_range(0..6) {
            0 => format!("{time} <= now()"),
            1 => format!("now() BETWEEN {time} AND {time} + {far}"),
            2 => format!("{time} > now() - {far} AND {}", self.plain_condition(scope)),
            3 => format!("NOT ({sometimes_far} > now())"),
            _ => format!("{sometimes_far} > now()"),
        })
    }

    fn list(&mut self, types: &[Type], scope: &[Column]) -> String {
        self.outputs(types, scope).join(", ")
    }

    fn outputs(&mut self, types: &[Type], scope: &[Column]) -> Vec<String> {
        let depth = if self.is_direct() { 1 } else { 2 };
        self.at(Construct::SubqueryInList, |this| {
            types.iter().enumerate().map(|(place, kind)| format!("{} AS c{place}", this.expression(*kind, scope, depth))).collect()
        })
    }

    /// Its own columns and, seldom enough that most subqueries can be run alone, those outside.
    pub(super) fn scope(&mut self, own: &[Column], outer: &[Column]) -> Vec<Column> {
        let mut scope = own.to_vec();
        if self.rng.random_bool(0.6) {
            scope.extend(outer.iter().cloned());
        }
        scope
    }

    fn set_operation(&mut self, types: &[Type], outer: &[Column]) -> String {
        use Construct::{Except, ExceptAll, Intersect, IntersectAll, Union, UnionAll};
        let construct = self.one_of(&[Union, UnionAll, Intersect, IntersectAll, Except, ExceptAll]);
        self.uses(construct);
        let operator = match construct {
            Union => "UNION",
            UnionAll => "UNION ALL",
            Intersect => "INTERSECT",
            IntersectAll => "INTERSECT ALL",
            Except => "EXCEPT",
            _ => "EXCEPT ALL",
        };
        self.nested(|this| {
            let (left, right) = (this.query(types, outer), this.query(types, outer));
            let names = columns(types, "l");
            format!("SELECT {names} FROM (({left}) {operator} ({right})) AS l")
        })
    }

    /// Rows of a query with a name, read once or with themselves.
    fn with(&mut self, types: &[Type]) -> String {
        self.uses(Construct::Cte);
        let inner = self.nested(|this| this.query(types, &[]));
        let (name, left, right) = (self.alias(), self.alias(), self.alias());
        let names = columns(types, &left);
        let rows = match self.rng.random_range(0..3) {
            0 => format!("SELECT {names} FROM {name} AS {left}"),
            1 => format!("SELECT {names} FROM {name} AS {left} JOIN {name} AS {right} ON {left}.c0 = {right}.c0"),
            _ => format!("SELECT {names} FROM {name} AS {left} UNION ALL SELECT {} FROM {name} AS {right}", columns(types, &right)),
        };
        format!("WITH {name} AS ({inner}) {rows}")
    }

    /// A select list that makes several rows of one.
    fn several_rows(&mut self, types: &[Type], outer: &[Column]) -> String {
        let (from, own) = self.from(outer);
        let scope = self.scope(&own, outer);
        let numbers: Vec<usize> = (0..types.len()).filter(|place| types[*place] == Type::Number).collect();
        let mut list = self.outputs(types, &scope);
        for (place, set) in numbers.into_iter().zip(self.sets_of_numbers(&own)) {
            list[place] = format!("{set} AS c{place}");
        }
        // Names that no other column has: beside such functions DataFusion takes those of results for those of inputs.
        let apart = |(place, column): (usize, &String)| {
            let value = column.strip_suffix(&format!(" AS c{place}")).expect("each column is called by its place");
            format!("{value} AS d{place}")
        };
        let list: Vec<String> = list.iter().enumerate().map(apart).collect();
        let alias = self.alias();
        let names: Vec<String> = (0..types.len()).map(|place| format!("{alias}.d{place} AS c{place}")).collect();
        format!("SELECT {} FROM (SELECT {} FROM {from}{}) AS {alias}", names.join(", "), list.join(", "), self.wheres(&scope))
    }

    /// Functions with several rows for a select list: one or, of lists, two side by side.
    fn sets_of_numbers(&mut self, own: &[Column]) -> Vec<String> {
        let list = self.column(Type::List, own);
        let Some(list) = list.filter(|_| !self.one_in(3)) else {
            self.uses(Construct::Series);
            let number = self.column(Type::Number, own).unwrap_or_else(|| "2".into());
            return vec![format!("generate_series(1::bigint, least({number}, 3::bigint))")];
        };
        self.uses(Construct::UnnestList);
        let first = format!("unnest({list})");
        match self.rng.random_range(0..4) {
            0 => {
                self.uses(Construct::UnnestTwice);
                vec![first.clone(), first]
            }
            1 => {
                self.uses(Construct::UnnestSeveral);
                vec![first, format!("unnest(array_append({list}, {}))", self.operand(Type::Number, own))]
            }
            _ => vec![first],
        }
    }

    fn first_rows(&mut self, types: &[Type], outer: &[Column]) -> String {
        self.uses(Construct::Limit);
        let query = self.selected("", types, outer);
        let order: Vec<String> = (1..=types.len()).map(|place| format!("{place}{}", self.one_of(&["", " DESC"]))).collect();
        let offset = match self.one_in(2) {
            true => {
                self.uses(Construct::Offset);
                format!(" OFFSET {}", self.rng.random_range(0..3))
            }
            false => String::new(),
        };
        format!("{query} ORDER BY {} LIMIT {}{offset}", order.join(", "), self.rng.random_range(1..6))
    }

    /// The first rows of each partition, by ROW_NUMBER, RANK or DISTINCT ON.
    fn first_of_each(&mut self, types: &[Type], outer: &[Column]) -> String {
        let inner = self.nested(|this| this.query(types, outer));
        let alias = self.alias();
        let names = columns(types, &alias);
        let order: Vec<String> = (0..types.len()).map(|place| format!("{alias}.c{place}")).collect();
        let by = order[self.rng.random_range(0..order.len())].clone();
        let construct = self.one_of(&[Construct::DistinctOn, Construct::FirstByRowNumber, Construct::FirstByRank]);
        self.uses(construct);
        if construct == Construct::DistinctOn {
            return format!("SELECT DISTINCT ON ({by}) {names} FROM ({inner}) AS {alias} ORDER BY {by}, {}", order.join(", "));
        }
        let function = if construct == Construct::FirstByRowNumber { "row_number" } else { self.one_of(&["rank", "dense_rank"]) };
        let number = format!("{function}() OVER (PARTITION BY {by} ORDER BY {}) AS place", order.join(", "));
        let outputs = (0..types.len()).map(|place| format!("n.c{place}")).collect::<Vec<_>>().join(", ");
        let n = self.rng.random_range(1..3);
        format!("SELECT {outputs} FROM (SELECT {names}, {number} FROM ({inner}) AS {alias}) AS n WHERE n.place <= {n}")
    }

    pub(super) fn alias(&mut self) -> String {
        self.n_aliases += 1;
        format!("x{}", self.n_aliases)
    }
}

pub(super) fn columns(types: &[Type], alias: &str) -> String {
    (0..types.len()).map(|place| format!("{alias}.c{place} AS c{place}")).collect::<Vec<_>>().join(", ")
}

pub(super) fn all(own: &[Column]) -> String {
    own.iter().map(|column| column.sql.clone()).collect::<Vec<_>>().join(", ")
}
