//! Random expressions and conditions over the columns in scope, of one of three types, as Postgres types them.

use rand::Rng;

use super::query::{Column, Queries};

/// The types there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// `bigint`, small.
    Number,
    /// `text`, a letter or two.
    Text,
    /// `boolean`.
    Truth,
}

impl Type {
    pub(super) const ALL: [Self; 3] = [Self::Number, Self::Text, Self::Truth];

    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::Number => "bigint",
            Self::Text => "text",
            Self::Truth => "boolean",
        }
    }
}

impl Queries<'_> {
    /// A literal; one of few, so that values meet.
    pub(super) fn literal(&mut self, kind: Type) -> String {
        if self.one_in(12) {
            return format!("NULL::{}", kind.sql());
        }
        match kind {
            Type::Number => self.rng.random_range(0..4).to_string(),
            Type::Text => format!("'{}'", ['a', 'b', 'c'][self.rng.random_range(0..3)]),
            Type::Truth => ["true", "false"][self.rng.random_range(0..2)].into(),
        }
    }

    /// A column of the type, if there is one.
    pub(super) fn column(&mut self, kind: Type, scope: &[Column]) -> Option<String> {
        let fitting: Vec<&Column> = scope.iter().filter(|column| column.kind == kind).collect();
        (!fitting.is_empty()).then(|| fitting[self.rng.random_range(0..fitting.len())].sql.clone())
    }

    /// An expression of the type. `depth` bounds what is nested in it.
    pub(super) fn expression(&mut self, kind: Type, scope: &[Column], depth: u32) -> String {
        if depth == 0 || self.rng.random_bool(0.5) {
            let column = if self.one_in(6) { None } else { self.column(kind, scope) };
            return column.unwrap_or_else(|| self.literal(kind));
        }
        match kind {
            Type::Number => self.number(scope, depth - 1),
            Type::Text => self.text(scope, depth - 1),
            Type::Truth => self.condition(scope, depth - 1),
        }
    }

    fn number(&mut self, scope: &[Column], depth: u32) -> String {
        let sub = |this: &mut Self, kind| this.expression(kind, scope, depth);
        match self.rng.random_range(0..7) {
            0 => format!("({} + {})", sub(self, Type::Number), sub(self, Type::Number)),
            1 => format!("({} - {})", sub(self, Type::Number), sub(self, Type::Number)),
            2 => format!("length({})::bigint", sub(self, Type::Text)),
            3 => format!("nullif({}, {})", sub(self, Type::Number), sub(self, Type::Number)),
            4 => self.choice(Type::Number, scope, depth),
            _ => self.scalar_subquery(Type::Number, scope),
        }
    }

    fn text(&mut self, scope: &[Column], depth: u32) -> String {
        match self.rng.random_range(0..5) {
            0 => format!("({} || {})", self.expression(Type::Text, scope, depth), self.expression(Type::Text, scope, depth)),
            1 => format!("upper({})", self.expression(Type::Text, scope, depth)),
            2 | 3 => self.choice(Type::Text, scope, depth),
            _ => self.scalar_subquery(Type::Text, scope),
        }
    }

    /// CASE or COALESCE.
    fn choice(&mut self, kind: Type, scope: &[Column], depth: u32) -> String {
        let (first, second) = (self.expression(kind, scope, depth), self.expression(kind, scope, depth));
        match self.rng.random_range(0..3) {
            0 => format!("coalesce({first}, {second})"),
            1 => format!("CASE WHEN {} THEN {first} ELSE {second} END", self.condition(scope, depth)),
            _ => format!("CASE WHEN {} THEN {first} END", self.condition(scope, depth)),
        }
    }

    /// A subquery of one row at most.
    fn scalar_subquery(&mut self, kind: Type, scope: &[Column]) -> String {
        if !self.may_nest() {
            return self.literal(kind);
        }
        self.nested(|this| match this.rng.random_range(0..3) {
            0 => {
                let (query, alias) = (this.query(&[kind], scope), this.alias());
                format!("(SELECT {alias}.c0 FROM ({query}) AS {alias} ORDER BY 1 LIMIT 1)")
            }
            _ => format!("({})", this.one_aggregate(kind, scope)),
        })
    }

    /// A condition in three values.
    pub(super) fn condition(&mut self, scope: &[Column], depth: u32) -> String {
        if depth == 0 || self.one_in(3) {
            return self.comparison(scope, 0);
        }
        let depth = depth - 1;
        match self.rng.random_range(0..12) {
            0 => format!("({} AND {})", self.condition(scope, depth), self.condition(scope, depth)),
            1 | 2 => format!("({} OR {})", self.condition(scope, depth), self.condition(scope, depth)),
            3 => format!("NOT ({})", self.condition(scope, depth)),
            4 => self.null_test(scope, depth),
            5 | 6 => self.exists(scope),
            7 | 8 => self.is_in(scope, depth),
            9 => self.quantified(scope, depth),
            _ => self.comparison(scope, depth),
        }
    }

    fn comparison(&mut self, scope: &[Column], depth: u32) -> String {
        let kind = if self.one_in(3) { Type::Text } else { Type::Number };
        let (left, right) = (self.expression(kind, scope, depth), self.expression(kind, scope, depth));
        let operator = self.one_of(&["=", "=", "=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"]);
        match self.rng.random_range(0..10) {
            0 => format!("{left} IN ({right}, {})", self.literal(kind)),
            1 => format!("{left} BETWEEN {right} AND {}", self.expression(kind, scope, depth)),
            _ => format!("{left} {operator} {right}"),
        }
    }

    fn null_test(&mut self, scope: &[Column], depth: u32) -> String {
        match self.rng.random_range(0..4) {
            0 => format!("({}) IS NOT TRUE", self.condition(scope, depth)),
            1 => format!("({}) IS NULL", self.condition(scope, depth)),
            2 => format!("{} IS NOT NULL", self.expression(Type::Number, scope, depth)),
            _ => format!("{} IS NULL", self.expression(Type::Text, scope, depth)),
        }
    }

    fn exists(&mut self, scope: &[Column]) -> String {
        if !self.may_nest() {
            return self.comparison(scope, 0);
        }
        let not = self.one_of(&["", "NOT "]);
        self.nested(|this| format!("{not}EXISTS ({})", this.query(&[Type::Number], scope)))
    }

    fn is_in(&mut self, scope: &[Column], depth: u32) -> String {
        if !self.may_nest() {
            return self.comparison(scope, 0);
        }
        let kind = if self.one_in(3) { Type::Text } else { Type::Number };
        let (left, not) = (self.expression(kind, scope, depth.min(1)), self.one_of(&["", "NOT "]));
        self.nested(|this| format!("{left} {not}IN ({})", this.query(&[kind], scope)))
    }

    fn quantified(&mut self, scope: &[Column], depth: u32) -> String {
        if !self.may_nest() {
            return self.comparison(scope, 0);
        }
        let (left, operator) = (self.expression(Type::Number, scope, depth.min(1)), self.one_of(&["=", "<>", "<", ">="]));
        let quantifier = self.one_of(&["ANY", "ALL"]);
        self.nested(|this| format!("{left} {operator} {quantifier} ({})", this.query(&[Type::Number], scope)))
    }
}
