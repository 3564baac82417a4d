//! FROM clauses: relations, windows over them, subqueries and lists as rows, joined in all ways.

use rand::Rng;

use super::history::{Kind, Relation};
use super::query::{Column, Queries};
use super::reach::Construct;
use super::values::Type;

impl Queries<'_> {
    /// A FROM clause and its columns.
    pub(super) fn from(&mut self, outer: &[Column]) -> (String, Vec<Column>) {
        let (mut from, mut own) = self.factor(&[]);
        let n_joins = if self.is_direct() { self.one_of(&[0, 0, 0, 1, 1, 1, 1, 2]) } else { self.one_of(&[0, 0, 0, 1, 1, 2]) };
        if n_joins > 1 {
            self.uses(Construct::JoinSeveral);
        }
        for _ in 0..n_joins {
            if self.one_in(5) {
                let visible: Vec<Column> = own.iter().chain(outer).cloned().collect();
                if let Some((join, columns)) = self.beside(&own, &visible) {
                    from.push_str(&join);
                    own.extend(columns);
                    continue;
                }
            }
            let (sql, columns) = self.factor(&[]);
            from = self.joined(&from, &own, &sql, &columns);
            own.extend(columns);
        }
        (from, own)
    }

    /// What follows a FROM clause and refers to its columns.
    fn beside(&mut self, own: &[Column], visible: &[Column]) -> Option<(String, Vec<Column>)> {
        if let Some(list) = self.column(Type::List, own) {
            let alias = self.alias();
            self.uses(Construct::UnnestFrom);
            let element = Column { sql: format!("{alias}.c0"), kind: Type::Number };
            if self.one_in(2) {
                return Some((format!(" CROSS JOIN unnest({list}) AS {alias}(c0)"), vec![element]));
            }
            self.uses(Construct::UnnestOrdinality);
            let place = Column { sql: format!("{alias}.c1"), kind: Type::Number };
            return Some((format!(" CROSS JOIN unnest({list}) WITH ORDINALITY AS {alias}(c0, c1)"), vec![element, place]));
        }
        if !self.may_nest() {
            return None;
        }
        self.uses(Construct::Lateral);
        let (sql, columns) = self.derived(visible);
        if self.one_in(3) {
            return Some((format!(" LEFT JOIN LATERAL {sql} ON true"), columns));
        }
        Some((format!(" CROSS JOIN LATERAL {sql}"), columns))
    }

    fn joined(&mut self, from: &str, own: &[Column], sql: &str, columns: &[Column]) -> String {
        let can_meet = own.iter().any(|left| columns.iter().any(|right| left.kind == right.kind));
        if !can_meet || self.one_in(12) {
            self.uses(Construct::JoinCross);
            return format!("{from} CROSS JOIN {sql}");
        }
        use Construct::{JoinFull, JoinInner, JoinLeft, JoinRight};
        let kind = self.one_of(&[JoinInner, JoinInner, JoinLeft, JoinLeft, JoinRight, JoinRight, JoinFull]);
        self.uses(kind);
        let name = match kind {
            JoinInner => "JOIN",
            JoinLeft => "LEFT JOIN",
            JoinRight => "RIGHT JOIN",
            _ => "FULL JOIN",
        };
        let on = self.on(own, columns, kind == JoinFull);
        let further = match self.one_in(4) {
            true => {
                // Of a FULL JOIN it may look at one side alone; PostgreSQL refuses that, too.
                let scope: Vec<Column> = match kind {
                    JoinFull => own.to_vec(),
                    _ => own.iter().chain(columns).cloned().collect(),
                };
                self.beyond_postgres |= kind == JoinFull;
                format!(" AND {}", self.at(Construct::SubqueryInOn, |this| this.condition(&scope, 1)))
            }
            false => String::new(),
        };
        format!("{from} {name} {sql} ON {on}{further}")
    }

    /// An equality of columns of one type, with a further condition at times. (Postgres needs an equality in FULL JOIN.)
    pub(super) fn on(&mut self, left: &[Column], right: &[Column], equality_only: bool) -> String {
        let on_both = |kind: &Type| [left, right].iter().all(|side| side.iter().any(|column| column.kind == *kind));
        let kinds: Vec<Type> = Type::ALL.into_iter().filter(on_both).collect();
        let kind = if kinds.contains(&Type::Number) && self.one_in(2) { Type::Number } else { self.one_of(&kinds) };
        let [a, b] = [left, right].map(|side| self.column(kind, side).expect("both sides have a column of this type"));
        let (a, b) = (raw(&a), raw(&b));
        if kind == Type::Float {
            self.uses(Construct::JoinFloat);
        }
        let both: Vec<Column> = left.iter().chain(right).cloned().collect();
        match self.rng.random_range(0..6) {
            0 if !equality_only => {
                self.uses(Construct::JoinUnequal);
                self.comparison_of(&both)
            }
            1 if !equality_only => {
                self.uses(Construct::JoinResidual);
                format!("{a} = {b} AND {}", self.comparison_of(&both))
            }
            2 if !equality_only => {
                self.uses(Construct::JoinNullSafe);
                format!("{a} IS NOT DISTINCT FROM {b}")
            }
            _ => format!("{a} = {b}"),
        }
    }

    fn comparison_of(&mut self, scope: &[Column]) -> String {
        let (left, right) = (self.column(Type::Number, scope), self.column(Type::Number, scope));
        let (left, right) = (left.unwrap_or_else(|| "1".into()), right.unwrap_or_else(|| "2".into()));
        format!("{left} {} {right}", self.one_of(&["<", ">=", "<>"]))
    }

    pub(super) fn factor(&mut self, outer: &[Column]) -> (String, Vec<Column>) {
        match self.rng.random_range(0..24) {
            0..=4 if self.may_nest() && !self.is_direct() => self.derived(outer),
            4 if self.may_nest() => self.derived(outer),
            5 => self.values(),
            6 => self.windows(),
            7 => self.using(),
            _ => self.relation(),
        }
    }

    fn relation(&mut self) -> (String, Vec<Column>) {
        let relations = self.relations;
        let near: Vec<&Relation> = relations.iter().filter(|relation| relation.changes_often).collect();
        let relation = match self.is_direct() && self.rng.random_bool(0.8) {
            true => self.one_of(&near),
            false => &relations[self.rng.random_range(0..relations.len())],
        };
        let (alias, is_view) = (self.alias(), relation.kind == Kind::View);
        self.beyond_postgres |= relation.beyond_postgres;
        match relation.kind {
            Kind::View => self.uses(Construct::ViewOnView),
            Kind::Stream => self.uses(Construct::Stream),
            Kind::Table(_) => {}
        }
        let column = |(name, kind): &(String, Type)| Column { sql: read(format!("{alias}.{name}"), *kind, !is_view), kind: *kind };
        (format!("{} AS {alias}", relation.name), relation.columns.iter().map(column).collect())
    }

    /// Two relations with shared columns, all of which a NATURAL JOIN takes.
    fn using(&mut self) -> (String, Vec<Column>) {
        let alias = self.alias();
        let is_natural = self.one_in(2);
        let (left, right, shared) = match is_natural {
            true => {
                self.one_of(&[("t", "u", "a, s"), ("t", "w", "k"), ("u", "w", "b"), ("g", "e", "a, m"), ("d", "u", "s"), ("t", "g", "a")])
            }
            false => self.one_of(&[("t", "u", "a, s"), ("t", "d", "k"), ("t", "w", "k"), ("u", "e", "s"), ("g", "e", "a, m")]),
        };
        self.uses(if is_natural { Construct::JoinNatural } else { Construct::JoinUsing });
        let kind = self.one_of(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
        let columns = shared.split(", ").enumerate().map(|(place, name)| {
            let kind = match name {
                "s" => Type::Text,
                "m" => Type::Time,
                _ => Type::Number,
            };
            Column { sql: format!("{alias}.c{place}"), kind }
        });
        let named: Vec<String> = shared.split(", ").enumerate().map(|(place, name)| format!("{name} AS c{place}")).collect();
        let join = match is_natural {
            true => format!("{left} NATURAL {kind} {right}"),
            false => format!("{left} {kind} {right} USING ({shared})"),
        };
        let sql = format!("(SELECT {} FROM {join}) AS {alias}", named.join(", "));
        (sql, columns.collect())
    }

    fn values(&mut self) -> (String, Vec<Column>) {
        self.uses(Construct::Values);
        let alias = self.alias();
        let (n, kind) = (self.rng.random_range(1..4), self.one_of(&[Type::Text, Type::Float, Type::Time, Type::Numeric]));
        let rows: Vec<String> = (0..n).map(|n| format!("({n}::bigint, {})", kind.literal(self.rng))).collect();
        let columns = [Type::Number, kind].into_iter().enumerate();
        let columns = columns.map(|(place, kind)| Column { sql: format!("{alias}.c{place}"), kind }).collect();
        (format!("(VALUES {}) AS {alias}(c0, c1)", rows.join(", ")), columns)
    }

    /// Rows with the windows of time that they are in.
    fn windows(&mut self) -> (String, Vec<Column>) {
        let alias = self.alias();
        let name = self.one_of(&["w", "g", "e"]);
        let relations = self.relations;
        let relation = relations.iter().find(|relation| relation.name == name).expect("each script has them");
        let (construct, function, lengths) = self.one_of(&[
            (Construct::Tumble, "TUMBLE", "INTERVAL '1 hour'"),
            (Construct::Hop, "HOP", "INTERVAL '30 minutes', INTERVAL '1 hour'"),
            (Construct::Cumulate, "CUMULATE", "INTERVAL '30 minutes', INTERVAL '1 hour'"),
        ]);
        self.uses_beyond_postgres(construct);
        let call = format!("{function}({name}, m, {lengths})");
        let columns = relation.columns.iter().map(|(name, kind)| (name.as_str(), *kind));
        let columns = columns.chain([("window_start", Type::Time), ("window_end", Type::Time)]);
        let columns = columns.map(|(name, kind)| Column { sql: read(format!("{alias}.{name}"), kind, true), kind }).collect();
        (format!("{call} AS {alias}"), columns)
    }

    fn derived(&mut self, outer: &[Column]) -> (String, Vec<Column>) {
        self.uses(Construct::Derived);
        let types: Vec<Type> = (0..self.rng.random_range(1..4)).map(|_| Type::any(self.rng)).collect();
        let inner = self.nested(|this| this.query(&types, outer));
        let alias = self.alias();
        let columns = types.iter().enumerate().map(|(place, kind)| Column { sql: format!("{alias}.c{place}"), kind: *kind }).collect();
        (format!("({inner}) AS {alias}"), columns)
    }
}

/// A column as it is read; a stored float without the sign of its zero.
fn read(sql: String, kind: Type, is_stored: bool) -> String {
    if is_stored && kind == Type::Float { format!("({sql} + 0.0)") } else { sql }
}

/// A column as it is stored, for where the sign of a zero is not seen.
pub(super) fn raw(sql: &str) -> &str {
    sql.strip_prefix('(').and_then(|rest| rest.strip_suffix(" + 0.0)")).unwrap_or(sql)
}
