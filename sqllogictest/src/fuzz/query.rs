//! Random queries of given column types, over the tables of a script and each other. Each is plain PostgreSQL, and its rows do
//! not depend on what SQL leaves open: what is cut off by LIMIT or a row number is ordered by all that can be seen of a row.

use rand::Rng;
use rand::rngs::StdRng;

use super::expression::Type;
use super::history::Relation;

/// A column in scope.
#[derive(Debug, Clone)]
pub(super) struct Column {
    /// As an expression names it.
    pub(super) sql: String,
    pub(super) kind: Type,
}

/// Makes queries.
pub(super) struct Queries<'a> {
    pub(super) rng: &'a mut StdRng,
    pub(super) relations: &'a [Relation],
    n_aliases: u32,
    /// Queries inside queries at the moment.
    depth: u32,
    /// SELECTs that may still come: bounds the size of a query.
    pub(super) budget: u32,
}

/// SELECTs of a query at most, and how deep they are nested.
const MAX_SELECTS: u32 = 7;
const MAX_DEPTH: u32 = 3;

impl<'a> Queries<'a> {
    pub(super) fn new(rng: &'a mut StdRng, relations: &'a [Relation]) -> Self {
        Self { rng, relations, n_aliases: 0, depth: 0, budget: MAX_SELECTS }
    }

    /// The query of a view: columns `c0`, `c1`, ….
    pub(super) fn view(&mut self) -> String {
        self.budget = MAX_SELECTS;
        let types: Vec<Type> = (0..self.rng.random_range(1..4)).map(|_| self.kind()).collect();
        if self.one_in(10) {
            return self.grouping_sets();
        }
        self.query(&types, &[])
    }

    pub(super) fn one_in(&mut self, n: u32) -> bool {
        self.rng.random_ratio(1, n)
    }

    pub(super) fn one_of(&mut self, texts: &[&'static str]) -> &'static str {
        texts[self.rng.random_range(0..texts.len())]
    }

    fn kind(&mut self) -> Type {
        Type::ALL[[0, 0, 0, 1, 1, 2][self.rng.random_range(0..6)]]
    }

    pub(super) fn may_nest(&self) -> bool {
        self.depth < MAX_DEPTH && self.budget > 0
    }

    pub(super) fn nested(&mut self, inner: impl FnOnce(&mut Self) -> String) -> String {
        self.depth += 1;
        let sql = inner(self);
        self.depth -= 1;
        sql
    }

    /// A query of these types; `outer` are the columns it may refer to outside.
    pub(super) fn query(&mut self, types: &[Type], outer: &[Column]) -> String {
        self.budget = self.budget.saturating_sub(1);
        match self.rng.random_range(0..21) {
            20 if self.may_nest() => self.recursion(types, outer),
            0..=2 if self.may_nest() => self.set_operation(types, outer),
            3..=6 => self.aggregated(types, outer),
            7 | 8 => self.windowed(types, outer),
            9 => self.first_rows(types, outer),
            10 if self.may_nest() => self.first_of_each(types, outer),
            11 => self.selected("DISTINCT ", types, outer),
            _ => self.selected("", types, outer),
        }
    }

    fn selected(&mut self, distinct: &str, types: &[Type], outer: &[Column]) -> String {
        let (from, own) = self.from(outer);
        let scope = self.scope(&own, outer);
        let list = self.list(types, &scope);
        format!("SELECT {distinct}{list} FROM {from}{}", self.wheres(&scope))
    }

    /// ` WHERE …`, or nothing.
    fn wheres(&mut self, scope: &[Column]) -> String {
        if self.one_in(4) { String::new() } else { format!(" WHERE {}", self.condition(scope, 2)) }
    }

    fn list(&mut self, types: &[Type], scope: &[Column]) -> String {
        let columns = types.iter().enumerate().map(|(place, kind)| format!("{} AS c{place}", self.expression(*kind, scope, 2)));
        columns.collect::<Vec<_>>().join(", ")
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
        let operator = self.one_of(&["UNION", "UNION ALL", "INTERSECT", "INTERSECT ALL", "EXCEPT", "EXCEPT ALL"]);
        self.nested(|this| {
            let (left, right) = (this.query(types, outer), this.query(types, outer));
            let names = columns(types, "l");
            format!("SELECT {names} FROM (({left}) {operator} ({right})) AS l")
        })
    }

    fn aggregated(&mut self, types: &[Type], outer: &[Column]) -> String {
        let (from, own) = self.from(outer);
        let scope = self.scope(&own, outer);
        let n_keys = self.rng.random_range(0..3).min(own.len());
        let keys: Vec<Column> = (0..n_keys).map(|_| own[self.rng.random_range(0..own.len())].clone()).collect();
        let outputs: Vec<String> = types
            .iter()
            .enumerate()
            .map(|(place, kind)| {
                let key = if self.one_in(2) { self.column(*kind, &keys) } else { None };
                format!("{} AS c{place}", key.unwrap_or_else(|| self.aggregate(*kind, &own)))
            })
            .collect();
        let wheres = self.wheres(&scope);
        let groups = keys.iter().map(|key| key.sql.clone()).collect::<Vec<_>>().join(", ");
        let group_by = if keys.is_empty() { String::new() } else { format!(" GROUP BY {groups}") };
        let having = match self.one_in(4) {
            true => {
                format!(" HAVING {} {} {}", self.aggregate(Type::Number, &own), self.one_of(&["<", ">", "="]), self.literal(Type::Number))
            }
            false => String::new(),
        };
        format!("SELECT {} FROM {from}{wheres}{group_by}{having}", outputs.join(", "))
    }

    /// `SELECT aggregate FROM …`: exactly one row.
    pub(super) fn one_aggregate(&mut self, kind: Type, outer: &[Column]) -> String {
        self.budget = self.budget.saturating_sub(1);
        let (from, own) = self.from(outer);
        let scope = self.scope(&own, outer);
        let (aggregate, wheres) = (self.aggregate(kind, &own), self.wheres(&scope));
        format!("SELECT {aggregate} AS c0 FROM {from}{wheres}")
    }

    fn aggregate(&mut self, kind: Type, scope: &[Column]) -> String {
        let filter = match self.one_in(5) {
            true => format!(" FILTER (WHERE {})", self.plain_condition(scope)),
            false => String::new(),
        };
        let number = |this: &mut Self| this.column(Type::Number, scope).unwrap_or_else(|| this.literal(Type::Number));
        let call = match kind {
            Type::Number => match self.rng.random_range(0..7) {
                0 | 1 => "count(*)".to_string(),
                2 => format!("count({})", number(self)),
                3 => format!("count(DISTINCT {})", number(self)),
                4 => return format!("(sum({}){filter})::bigint", number(self)),
                5 => format!("min({})", number(self)),
                _ => format!("max({})", number(self)),
            },
            Type::Text => {
                let text = self.column(Type::Text, scope).unwrap_or_else(|| self.literal(Type::Text));
                match self.rng.random_range(0..3) {
                    0 => format!("string_agg({text}, ',' ORDER BY {text})"),
                    1 => format!("min({text})"),
                    _ => format!("max({text})"),
                }
            }
            Type::Truth => {
                let function = self.one_of(&["bool_and", "bool_or"]);
                format!("{function}({})", self.plain_condition(scope))
            }
        };
        format!("{call}{filter}")
    }

    /// A condition without a subquery.
    fn plain_condition(&mut self, scope: &[Column]) -> String {
        let number = self.column(Type::Number, scope).unwrap_or_else(|| self.literal(Type::Number));
        format!("{number} {} {}", self.one_of(&["=", "<", ">="]), self.literal(Type::Number))
    }

    fn windowed(&mut self, types: &[Type], outer: &[Column]) -> String {
        let (from, own) = self.from(outer);
        let scope = self.scope(&own, outer);
        let outputs: Vec<String> = types
            .iter()
            .enumerate()
            .map(|(place, kind)| match kind {
                Type::Number => format!("{} AS c{place}", self.window(&own)),
                other => format!("{} AS c{place}", self.expression(*other, &scope, 1)),
            })
            .collect();
        format!("SELECT {} FROM {from}{}", outputs.join(", "), self.wheres(&scope))
    }

    fn window(&mut self, own: &[Column]) -> String {
        let partition = match self.one_in(3) {
            true => String::new(),
            false => format!("PARTITION BY {} ", own[self.rng.random_range(0..own.len())].sql),
        };
        let some = own[self.rng.random_range(0..own.len())].sql.clone();
        let direction = self.one_of(&["", " DESC"]);
        let total = format!("{partition}ORDER BY {some}{direction}, {}", all(own));
        let number = self.column(Type::Number, own).unwrap_or_else(|| self.literal(Type::Number));
        match self.rng.random_range(0..17) {
            0 => format!("row_number() OVER ({total})"),
            1 => format!("rank() OVER ({partition}ORDER BY {some}{direction})"),
            2 => format!("dense_rank() OVER ({partition}ORDER BY {some}{direction})"),
            3 => format!("lag({number}) OVER ({total})"),
            4 => format!("lead({number}, 2) OVER ({total})"),
            5 => format!("(sum({number}) OVER ({partition}ORDER BY {some}{direction}))::bigint"),
            6 => format!("count(*) OVER ({total} ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)"),
            7 => format!("max({number}) OVER ({total} ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING)"),
            8 => format!("min({number}) OVER ({partition})"),
            9 => format!("max({number}) OVER ({partition}ORDER BY {some}{direction})"),
            10 => format!("count(*) FILTER (WHERE {number} > 1) OVER ({total} ROWS UNBOUNDED PRECEDING)"),
            11 => format!("lag({number}, {}, -1) OVER ({total})", self.rng.random_range(0..4)),
            12 => format!("first_value({number}) OVER ({total} ROWS BETWEEN 2 PRECEDING AND 1 PRECEDING)"),
            13 => format!("nth_value({number}, 2) OVER ({total} ROWS BETWEEN CURRENT ROW AND 3 FOLLOWING)"),
            14 => format!("ntile(2) OVER ({total})"),
            15 => format!("(sum({number}) OVER ({total} ROWS UNBOUNDED PRECEDING))::bigint"),
            _ => format!("(sum({number}) OVER ({total} ROWS BETWEEN 1 FOLLOWING AND 2 FOLLOWING))::bigint"),
        }
    }

    fn first_rows(&mut self, types: &[Type], outer: &[Column]) -> String {
        let query = self.selected("", types, outer);
        let order: Vec<String> = (1..=types.len()).map(|place| format!("{place}{}", self.one_of(&["", " DESC"]))).collect();
        let offset = if self.one_in(3) { format!(" OFFSET {}", self.rng.random_range(0..3)) } else { String::new() };
        format!("{query} ORDER BY {} LIMIT {}{offset}", order.join(", "), self.rng.random_range(1..5))
    }

    /// The first rows of each partition, by ROW_NUMBER, RANK or DISTINCT ON.
    fn first_of_each(&mut self, types: &[Type], outer: &[Column]) -> String {
        let inner = self.nested(|this| this.query(types, outer));
        let alias = self.alias();
        let names = columns(types, &alias);
        let order: Vec<String> = (0..types.len()).map(|place| format!("{alias}.c{place}")).collect();
        let by = order[self.rng.random_range(0..order.len())].clone();
        match self.rng.random_range(0..3) {
            0 => format!("SELECT DISTINCT ON ({by}) {names} FROM ({inner}) AS {alias} ORDER BY {by}, {}", order.join(", ")),
            n => {
                let function = if n == 1 { "row_number" } else { self.one_of(&["rank", "dense_rank"]) };
                let number = format!("{function}() OVER (PARTITION BY {by} ORDER BY {}) AS place", order.join(", "));
                let outputs = (0..types.len()).map(|place| format!("n.c{place}")).collect::<Vec<_>>().join(", ");
                format!(
                    "SELECT {outputs} FROM (SELECT {names}, {number} FROM ({inner}) AS {alias}) AS n WHERE n.place <= {}",
                    self.rng.random_range(1..3)
                )
            }
        }
    }

    fn grouping_sets(&mut self) -> String {
        let (from, own) = self.from(&[]);
        let place = self.rng.random_range(0..own.len());
        let (first, second) = (&own[place].sql, &own[(place + 1) % own.len()].sql);
        let groups = match self.rng.random_range(0..3) {
            _ if own.len() == 1 => format!("ROLLUP ({first})"),
            0 => format!("ROLLUP ({first}, {second})"),
            1 => format!("CUBE ({first}, {second})"),
            _ => format!("GROUPING SETS (({first}), ({second}), ())"),
        };
        let (count, wheres) = (self.aggregate(Type::Number, &own), self.wheres(&own));
        format!("SELECT {first} AS c0, {second} AS c1, {count} AS c2 FROM {from}{wheres} GROUP BY {groups}")
    }

    pub(super) fn alias(&mut self) -> String {
        self.n_aliases += 1;
        format!("x{}", self.n_aliases)
    }

    /// A FROM clause and its columns.
    fn from(&mut self, outer: &[Column]) -> (String, Vec<Column>) {
        let (mut from, mut own) = self.factor(&[]);
        let n_joins = [0, 0, 0, 1, 1, 2][self.rng.random_range(0..6)];
        for _ in 0..n_joins {
            if self.one_in(6) && self.may_nest() {
                let visible: Vec<Column> = own.iter().chain(outer).cloned().collect();
                let (sql, columns) = self.derived(&visible);
                from = format!("{from} CROSS JOIN LATERAL {sql}");
                own.extend(columns);
                continue;
            }
            let (sql, columns) = self.factor(&[]);
            let both: Vec<Column> = own.iter().chain(&columns).cloned().collect();
            let kind = self.one_of(&["JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
            let can_meet = own.iter().any(|left| columns.iter().any(|right| left.kind == right.kind));
            from = match can_meet {
                true => format!("{from} {kind} {sql} ON {}", self.on(&own, &columns, kind == "FULL JOIN")),
                false => format!("{from} CROSS JOIN {sql}"),
            };
            own = both;
        }
        (from, own)
    }

    /// An equality of columns of one type, with a further condition at times. (Postgres needs an equality in FULL JOIN.)
    pub(super) fn on(&mut self, left: &[Column], right: &[Column], equality_only: bool) -> String {
        let on_both = |kind: &Type| [left, right].iter().all(|side| side.iter().any(|column| column.kind == *kind));
        let kinds: Vec<Type> = Type::ALL.into_iter().filter(on_both).collect();
        let kind = kinds[self.rng.random_range(0..kinds.len())];
        let [a, b] = [left, right].map(|side| self.column(kind, side).expect("both sides have a column of this type"));
        let both: Vec<Column> = left.iter().chain(right).cloned().collect();
        match self.rng.random_range(0..5) {
            0 if !equality_only => self.comparison_of(&both),
            1 if !equality_only => format!("{a} = {b} AND {}", self.comparison_of(&both)),
            _ => format!("{a} = {b}"),
        }
    }

    fn comparison_of(&mut self, scope: &[Column]) -> String {
        let (left, right) = (self.column(Type::Number, scope), self.column(Type::Number, scope));
        let (left, right) = (left.unwrap_or_else(|| "1".into()), right.unwrap_or_else(|| "2".into()));
        format!("{left} {} {right}", self.one_of(&["<", ">=", "<>"]))
    }

    pub(super) fn factor(&mut self, outer: &[Column]) -> (String, Vec<Column>) {
        if self.one_in(4) && self.may_nest() {
            return self.derived(outer);
        }
        let relation = &self.relations[self.rng.random_range(0..self.relations.len())];
        let alias = self.alias();
        let columns = relation.columns.iter().map(|(name, kind)| Column { sql: format!("{alias}.{name}"), kind: *kind }).collect();
        (format!("{} AS {alias}", relation.name), columns)
    }

    fn derived(&mut self, outer: &[Column]) -> (String, Vec<Column>) {
        let types: Vec<Type> = (0..self.rng.random_range(1..4)).map(|_| self.kind()).collect();
        let inner = self.nested(|this| this.query(&types, outer));
        let alias = self.alias();
        let columns = types.iter().enumerate().map(|(place, kind)| Column { sql: format!("{alias}.c{place}"), kind: *kind }).collect();
        (format!("({inner}) AS {alias}"), columns)
    }
}

pub(super) fn columns(types: &[Type], alias: &str) -> String {
    (0..types.len()).map(|place| format!("{alias}.c{place} AS c{place}")).collect::<Vec<_>>().join(", ")
}

pub(super) fn all(own: &[Column]) -> String {
    own.iter().map(|column| column.sql.clone()).collect::<Vec<_>>().join(", ")
}
