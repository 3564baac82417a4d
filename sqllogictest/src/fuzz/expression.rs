//! Random expressions and conditions over the columns in scope, typed as Postgres types them. None can fail.

use rand::Rng;

use super::from::raw;
use super::query::{Column, Queries};
use super::reach::Construct;
use super::values::Type;

impl Queries<'_> {
    /// A literal.
    pub(super) fn literal(&mut self, kind: Type) -> String {
        if self.one_in(20) { format!("NULL::{}", kind.sql()) } else { kind.literal(self.rng) }
    }

    /// A column of the type, if there is one.
    pub(super) fn column(&mut self, kind: Type, scope: &[Column]) -> Option<String> {
        let fitting: Vec<&Column> = scope.iter().filter(|column| column.kind == kind).collect();
        (!fitting.is_empty()).then(|| fitting[self.rng.random_range(0..fitting.len())].sql.clone())
    }

    /// A column of the type, or a literal.
    pub(super) fn operand(&mut self, kind: Type, scope: &[Column]) -> String {
        self.column(kind, scope).unwrap_or_else(|| self.literal(kind))
    }

    /// An expression of the type. `depth` bounds what is nested in it.
    pub(super) fn expression(&mut self, kind: Type, scope: &[Column], depth: u32) -> String {
        if depth == 0 || self.rng.random_bool(0.5) {
            let column = if self.one_in(6) { None } else { self.column(kind, scope) };
            return column.unwrap_or_else(|| self.literal(kind));
        }
        let depth = depth - 1;
        match self.rng.random_range(0..8) {
            0 | 1 => self.choice(kind, scope, depth),
            2 | 3 => self.scalar_subquery(kind, scope),
            _ => match kind {
                Type::Number => self.number(scope, depth),
                Type::Text => self.text(scope, depth),
                // Beside another comparison it would be no SQL without them.
                Type::Truth => format!("({})", self.condition(scope, depth)),
                Type::Float => self.float(scope, depth),
                Type::Numeric => self.numeric(scope, depth),
                Type::Time => self.time(scope, depth),
                Type::List => self.list_of_numbers(scope, depth),
            },
        }
    }

    fn number(&mut self, scope: &[Column], depth: u32) -> String {
        let sub = |this: &mut Self, kind| this.expression(kind, scope, depth);
        match self.rng.random_range(0..8) {
            0 => format!("({} + {})", sub(self, Type::Number), sub(self, Type::Number)),
            1 => format!("({} - {})", sub(self, Type::Number), sub(self, Type::Number)),
            2 => format!("length({})::bigint", sub(self, Type::Text)),
            3 => {
                self.uses(Construct::Coalesce);
                format!("nullif({}, {})", sub(self, Type::Number), sub(self, Type::Number))
            }
            4 => {
                self.uses(Construct::Cast);
                format!("({})::int::bigint", sub(self, Type::Truth))
            }
            5 => {
                self.uses(Construct::Cast);
                format!("({})::bigint", sub(self, Type::Numeric))
            }
            6 => {
                self.uses(Construct::List);
                format!("cardinality({})::bigint", sub(self, Type::List))
            }
            _ => {
                self.uses(Construct::Time);
                format!("extract(minute FROM {})::bigint", sub(self, Type::Time))
            }
        }
    }

    fn text(&mut self, scope: &[Column], depth: u32) -> String {
        self.uses(Construct::Text);
        let sub = |this: &mut Self, kind| this.expression(kind, scope, depth);
        match self.rng.random_range(0..5) {
            0 => format!("({} || {})", sub(self, Type::Text), sub(self, Type::Text)),
            1 => format!("upper({})", sub(self, Type::Text)),
            2 => format!("substr({}, 1, 1)", sub(self, Type::Text)),
            3 => format!("replace({}, 'a', '')", sub(self, Type::Text)),
            _ => {
                self.uses(Construct::Cast);
                let kind = self.one_of(&[Type::Number, Type::Truth, Type::Time, Type::Numeric]);
                format!("({})::text", sub(self, kind))
            }
        }
    }

    fn float(&mut self, scope: &[Column], depth: u32) -> String {
        self.uses(Construct::Float);
        let sub = |this: &mut Self, kind| this.expression(kind, scope, depth);
        match self.rng.random_range(0..4) {
            0 => format!("({} + {})", sub(self, Type::Float), sub(self, Type::Float)),
            1 => format!("({} - {})", sub(self, Type::Float), sub(self, Type::Float)),
            2 => format!("abs({})", sub(self, Type::Float)),
            _ => {
                self.uses(Construct::Cast);
                format!("({})::double precision", sub(self, Type::Number))
            }
        }
    }

    fn numeric(&mut self, scope: &[Column], depth: u32) -> String {
        self.uses(Construct::Numeric);
        let sub = |this: &mut Self, kind| this.expression(kind, scope, depth);
        match self.rng.random_range(0..4) {
            0 => format!("({} + {})::numeric(12,2)", sub(self, Type::Numeric), sub(self, Type::Numeric)),
            1 => format!("(-({}))::numeric(12,2)", sub(self, Type::Numeric)),
            2 => format!("({} * 0.5)::numeric(12,2)", sub(self, Type::Numeric)),
            _ => {
                self.uses(Construct::Cast);
                format!("({})::numeric(12,2)", sub(self, Type::Number))
            }
        }
    }

    fn time(&mut self, scope: &[Column], depth: u32) -> String {
        self.uses(Construct::Time);
        let time = self.expression(Type::Time, scope, depth);
        match self.rng.random_range(0..3) {
            0 => format!("({time} + INTERVAL '30 minutes')"),
            1 => format!("date_trunc('hour', {time})"),
            _ => format!("({time} - INTERVAL '1 day')"),
        }
    }

    fn list_of_numbers(&mut self, scope: &[Column], depth: u32) -> String {
        self.uses(Construct::List);
        let sub = |this: &mut Self, kind| this.expression(kind, scope, depth);
        match self.rng.random_range(0..4) {
            0 => format!("ARRAY[{}, {}]", sub(self, Type::Number), sub(self, Type::Number)),
            1 => format!("array_append({}, {})", sub(self, Type::List), sub(self, Type::Number)),
            2 if self.may_nest() => self.subquery(Construct::SubqueryArray, scope, |this| {
                let (query, alias) = (this.query(&[Type::Number], scope), this.alias());
                format!("ARRAY(SELECT {alias}.c0 FROM ({query}) AS {alias} ORDER BY {alias}.c0)")
            }),
            _ => format!("({} || {})", sub(self, Type::List), sub(self, Type::List)),
        }
    }

    /// CASE or COALESCE.
    fn choice(&mut self, kind: Type, scope: &[Column], depth: u32) -> String {
        let (first, second) = (self.expression(kind, scope, depth), self.expression(kind, scope, depth));
        let case = self.rng.random_range(0..4);
        self.uses(if case == 0 { Construct::Coalesce } else { Construct::Case });
        match case {
            0 => format!("coalesce({first}, {second})"),
            1 => format!("CASE WHEN {} THEN {first} ELSE {second} END", self.condition(scope, depth)),
            2 => format!("CASE {} WHEN 1 THEN {first} WHEN 2 THEN {second} END", self.operand(Type::Number, scope)),
            _ => format!("CASE WHEN {} THEN {first} END", self.condition(scope, depth)),
        }
    }

    /// A subquery of one row at most.
    pub(super) fn scalar_subquery(&mut self, kind: Type, scope: &[Column]) -> String {
        if !self.may_nest() {
            return self.literal(kind);
        }
        match self.rng.random_range(0..3) {
            0 => self.subquery(Construct::SubqueryFirstRow, scope, |this| {
                let (query, alias) = (this.query(&[kind], scope), this.alias());
                format!("(SELECT {alias}.c0 FROM ({query}) AS {alias} ORDER BY 1 LIMIT 1)")
            }),
            _ => self.subquery(Construct::SubqueryAggregate, scope, |this| format!("({})", this.one_aggregate(kind, scope))),
        }
    }

    /// A condition in three values.
    pub(super) fn condition(&mut self, scope: &[Column], depth: u32) -> String {
        if depth == 0 || self.one_in(3) {
            return self.comparison(scope, 0);
        }
        let depth = depth - 1;
        match self.rng.random_range(0..13) {
            0 => format!("({} AND {})", self.condition(scope, depth), self.condition(scope, depth)),
            1..=3 => format!("({} OR {})", self.condition(scope, depth), self.condition(scope, depth)),
            4 => format!("NOT ({})", self.condition(scope, depth)),
            5 => self.null_test(scope, depth),
            6 | 7 => self.exists(scope),
            8 | 9 => self.is_in(scope, depth),
            10 => self.quantified(scope, depth),
            11 => {
                self.uses(Construct::Like);
                format!("{} {}LIKE '%a%'", self.expression(Type::Text, scope, depth), self.one_of(&["", "NOT "]))
            }
            _ => self.comparison(scope, depth),
        }
    }

    fn comparison(&mut self, scope: &[Column], depth: u32) -> String {
        let there: Vec<Type> = scope.iter().map(|column| column.kind).collect();
        let kind = if there.is_empty() || self.one_in(4) { Type::Number } else { self.one_of(&there) };
        let left = if self.one_in(2) { self.operand(kind, scope) } else { self.expression(kind, scope, depth) };
        let right = self.expression(kind, scope, depth);
        let (left, right) = (raw(&left), raw(&right));
        match self.rng.random_range(0..12) {
            0 => {
                self.uses(Construct::InList);
                format!("{left} {}IN ({right}, {})", self.one_of(&["", "NOT "]), self.literal(kind))
            }
            1 => {
                self.uses(Construct::Between);
                format!("{left} BETWEEN {right} AND {}", self.expression(kind, scope, depth))
            }
            2 => {
                self.uses(Construct::IsDistinctFrom);
                format!("{left} IS {}DISTINCT FROM {right}", self.one_of(&["", "NOT "]))
            }
            3 => format!("{left} = {right}"),
            _ => format!("{left} {} {right}", self.one_of(&["<>", "<>", "<", "<=", ">", ">="])),
        }
    }

    fn null_test(&mut self, scope: &[Column], depth: u32) -> String {
        self.uses(Construct::NullTest);
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
        let (construct, not) = self.one_of(&[(Construct::Exists, ""), (Construct::NotExists, "NOT ")]);
        let query = self.subquery(construct, scope, |this| this.query(&[Type::Number], scope));
        format!("{not}EXISTS ({query})")
    }

    fn is_in(&mut self, scope: &[Column], depth: u32) -> String {
        if !self.may_nest() {
            return self.comparison(scope, 0);
        }
        let kind = Type::any(self.rng);
        if self.one_in(4) {
            let (left, right) = (self.operand(Type::Number, scope), self.operand(kind, scope));
            let not = self.one_of(&["", "NOT "]);
            let query = self.subquery(Construct::RowIn, scope, |this| this.query(&[Type::Number, kind], scope));
            return format!("({left}, {right}) {not}IN ({query})");
        }
        let (construct, not) = self.one_of(&[(Construct::In, ""), (Construct::NotIn, "NOT ")]);
        let left = self.expression(kind, scope, depth.min(1));
        let query = self.subquery(construct, scope, |this| this.query(&[kind], scope));
        format!("{} {not}IN ({query})", raw(&left))
    }

    fn quantified(&mut self, scope: &[Column], depth: u32) -> String {
        if !self.may_nest() {
            return self.comparison(scope, 0);
        }
        let kind = self.one_of(&[Type::Number, Type::Number, Type::Text, Type::Float, Type::Time]);
        let (left, operator) = (self.expression(kind, scope, depth.min(1)), self.one_of(&["=", "<>", "<", ">="]));
        let (construct, quantifier) = self.one_of(&[(Construct::Any, "ANY"), (Construct::All, "ALL")]);
        let query = self.subquery(construct, scope, |this| this.query(&[kind], scope));
        format!("{left} {operator} {quantifier} ({query})")
    }
}
