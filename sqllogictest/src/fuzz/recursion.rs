//! Random recursions. Each ends, since it counts its rounds; nothing in the recursive term is a subquery that refers to the
//! recursion's rows, which would read them twice.

use rand::Rng;

use super::query::{Column, Queries, all, columns};
use super::reach::Construct;
use super::values::Type;

impl Queries<'_> {
    /// `WITH RECURSIVE …` of these types.
    pub(super) fn recursion(&mut self, types: &[Type], outer: &[Column]) -> String {
        let first = self.nested(|this| this.query(types, outer));
        let (name, alias) = (self.alias(), self.alias());
        let (construct, all_rows, n_rounds) =
            self.one_of(&[(Construct::RecursionUnionAll, "UNION ALL", 2), (Construct::RecursionUnion, "UNION", 3)]);
        self.uses(construct);
        let cast = |kind: &Type, value: String, place: usize| format!("({value})::{} AS c{place}", kind.sql());
        let first_columns = types.iter().enumerate().map(|(place, kind)| cast(kind, format!("{alias}.c{place}"), place));
        let first_columns = first_columns.collect::<Vec<_>>().join(", ");
        // No subqueries from here on.
        let budget = std::mem::take(&mut self.budget);
        let (from, own) = self.rows_of_the_round(&name, types);
        let scope = self.scope(&own, outer);
        let next: Vec<String> =
            types.iter().enumerate().map(|(place, kind)| cast(kind, self.expression(*kind, &scope, 2), place)).collect();
        let distinct = if self.one_in(5) { "DISTINCT " } else { "" };
        let depth = &own[types.len()].sql;
        let condition = if self.one_in(3) { "true".into() } else { self.condition(&scope, 1) };
        self.budget = budget;
        format!(
            "WITH RECURSIVE {name} AS (SELECT {first_columns}, 0 AS depth FROM ({first}) AS {alias} {all_rows} \
             SELECT {distinct}{}, {depth} + 1 FROM {from} WHERE {depth} < {n_rounds} AND {condition}) SELECT {} FROM {name}",
            next.join(", "),
            columns(types, &name)
        )
    }

    /// A FROM clause whose first columns are those of the recursion `name`, with its depth behind them.
    fn rows_of_the_round(&mut self, name: &str, types: &[Type]) -> (String, Vec<Column>) {
        let alias = self.alias();
        let named = |(place, kind): (usize, &Type)| Column { sql: format!("{alias}.c{place}"), kind: *kind };
        let mut own: Vec<Column> = types.iter().enumerate().map(named).collect();
        own.push(Column { sql: format!("{alias}.depth"), kind: Type::Number });
        let from = match self.rng.random_range(0..7) {
            0 => {
                let by = own[self.rng.random_range(0..own.len())].sql.replace(&format!("{alias}."), "");
                let order = all(&own).replace(&format!("{alias}."), "");
                let number = format!("row_number() OVER (PARTITION BY {by} ORDER BY {order}) AS place");
                format!("(SELECT * FROM (SELECT *, {number} FROM {name}) AS n WHERE place < 3) AS {alias}")
            }
            1 => format!("(SELECT * FROM {name} ORDER BY {} LIMIT 3) AS {alias}", all(&own).replace(&format!("{alias}."), "")),
            2 | 3 if types.iter().all(|kind| has_greatest(*kind)) => {
                // PostgreSQL has no aggregates of a round's rows.
                self.uses_beyond_postgres(Construct::RecursionAggregate);
                let most =
                    own.iter().map(|column| column.sql.replace(&format!("{alias}."), "")).map(|name| format!("max({name}) AS {name}"));
                format!("(SELECT {} FROM {name}) AS {alias}", most.collect::<Vec<_>>().join(", "))
            }
            _ => format!("{name} AS {alias}"),
        };
        if self.one_in(3) {
            return (from, own);
        }
        let (sql, joined) = self.factor(&[]);
        let kind = self.one_of(&["JOIN", "JOIN", "LEFT JOIN"]);
        let can_meet = types.iter().any(|kind| joined.iter().any(|column| column.kind == *kind));
        let from = match can_meet {
            true => format!("{from} {kind} {sql} ON {}", self.on(&own[..types.len()], &joined, true)),
            false => format!("{from} CROSS JOIN {sql}"),
        };
        own.extend(joined);
        (from, own)
    }
}

/// Whether `max` takes it.
fn has_greatest(kind: Type) -> bool {
    !matches!(kind, Type::Truth | Type::List)
}
