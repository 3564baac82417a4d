//! Names as Postgres reads them, and the relations a query mentions.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{self, Ident, ObjectName, Query, TableFactor, Visit, Visitor};

use super::statement::Name;
use crate::{Error, Result};

/// An identifier as Postgres folds it: ASCII letters in lower case unless quoted.
pub fn fold(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_ascii_lowercase(),
    }
}

/// An object's name of one or two parts (or three, when the first is our one database).
pub fn name(object: &ObjectName) -> Result<Name> {
    let parts: Vec<String> = object
        .0
        .iter()
        .map(|part| part.as_ident().map(fold).ok_or_else(|| Error::internal(format!("name part {part} is not an identifier"))))
        .collect::<Result<_>>()?;
    match parts.as_slice() {
        [name] => Ok(Name { schema: None, name: name.clone() }),
        [schema, name] => Ok(Name { schema: Some(schema.clone()), name: name.clone() }),
        [database, schema, name] if database == "thalweg" => Ok(Name { schema: Some(schema.clone()), name: name.clone() }),
        _ => Err(Error::unsupported(
            format!("cross-database references are not implemented: \"{}\"", parts.join(".")),
            "name a relation as relation or schema.relation",
        )),
    }
}

/// An identifier as SQL: quoted when folding would change it or it is not a plain word.
pub fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

/// Every relation `query` mentions, each once, in the order of the text. Names of CTEs in scope are not relations, table
/// functions neither.
pub fn relations(query: &Query) -> Vec<Name> {
    relations_in(query)
}

/// As [`relations`], for any part of a statement.
pub fn relations_in(node: &impl Visit) -> Vec<Name> {
    let mut visitor = Relations::default();
    let _ = node.visit(&mut visitor);
    visitor.found
}

#[derive(Default)]
struct Relations {
    found: Vec<Name>,
    /// One per query around the place visited.
    scopes: Vec<Scope>,
    /// The next relation visited is a function's name.
    skip: bool,
}

/// The CTEs of one query.
struct Scope {
    /// Names that can be used now.
    visible: Vec<String>,
    /// CTEs whose query is still to come, last first, each with the query it is known by.
    to_come: Vec<(String, *const Query)>,
}

impl Scope {
    fn of(query: &Query) -> Self {
        let Some(with) = &query.with else { return Self { visible: vec![], to_come: vec![] } };
        let names = with.cte_tables.iter().map(|cte| (fold(&cte.alias.name), &*cte.query as *const Query));
        match with.recursive {
            true => Self { visible: names.map(|(name, _)| name).collect(), to_come: vec![] },
            // Without RECURSIVE a CTE is visible only behind its own query: WITH bid AS (SELECT … FROM bid) reads the relation.
            false => Self { visible: vec![], to_come: names.collect() },
        }
    }
}

impl Visitor for Relations {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.scopes.push(Scope::of(query));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.scopes.pop();
        if let Some(outer) = self.scopes.last_mut() {
            if let Some(at) = outer.to_come.iter().position(|(_, known)| std::ptr::eq(*known, query)) {
                let (name, _) = outer.to_come.remove(at);
                outer.visible.push(name);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        self.skip = matches!(factor, TableFactor::Table { args: Some(_), .. });
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        if std::mem::take(&mut self.skip) {
            return ControlFlow::Continue(());
        }
        // A name of too many parts is refused when it is resolved; here it is only not one of ours.
        let Ok(name) = name(relation) else { return ControlFlow::Continue(()) };
        let is_cte = name.schema.is_none() && self.scopes.iter().any(|scope| scope.visible.contains(&name.name));
        if !is_cte && !self.found.contains(&name) {
            self.found.push(name);
        }
        ControlFlow::Continue(())
    }
}

/// The relation and alias of a FROM item that is a plain relation.
pub(super) fn plain_relation(factor: &TableFactor) -> Option<(&ObjectName, Option<&ast::TableAlias>)> {
    match factor {
        TableFactor::Table { name, alias, args: None, .. } => Some((name, alias.as_ref())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::parse::parse_query;

    fn check(sql: &str, expected: &str) {
        let query = parse_query(sql).expect(sql);
        let found: Vec<String> =
            relations(&query).into_iter().map(|name| name.schema.map(|schema| schema + ".").unwrap_or_default() + &name.name).collect();
        assert_eq!(found.join(" "), expected, "{sql}");
    }

    #[test]
    fn relations_of_queries() {
        check("SELECT 1", "");
        check("SELECT * FROM Bid", "bid");
        check("SELECT * FROM \"Bid\", thalweg.jobs, thalweg.public.x", "Bid thalweg.jobs public.x");
        check("SELECT * FROM a JOIN b ON true LEFT JOIN (SELECT * FROM c) x ON true", "a b c");
        check("SELECT (SELECT max(x) FROM b) FROM a WHERE x IN (SELECT y FROM c) AND EXISTS (TABLE d)", "b a c d");
        check("WITH a AS (SELECT * FROM b) SELECT * FROM a", "b");
        check("WITH bid AS (SELECT * FROM bid) SELECT * FROM bid", "bid");
        check("WITH a AS (SELECT * FROM t), b AS (SELECT * FROM a) SELECT * FROM b, c", "t c");
        check("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 9) SELECT * FROM r", "");
        check("SELECT * FROM (WITH a AS (SELECT 1) SELECT * FROM a) x, a", "a");
        check("WITH a AS (SELECT 1) SELECT * FROM public.a", "public.a");
        check("SELECT * FROM generate_series(1, 3) g, t", "t");
        check("SELECT a FROM t UNION ALL SELECT a FROM u UNION SELECT a FROM t", "t u");
        check(
            "SELECT * FROM TUMBLE(bid, ts, INTERVAL '1 minute') JOIN HOP((SELECT * FROM ask), ts, INTERVAL '1' MINUTE, INTERVAL '1' HOUR) ON true",
            "bid ask",
        );
    }
}
