//! The form of a `WITH RECURSIVE`: what PostgreSQL refuses and DataFusion would misread, in its words.
//!
//! Refused: ORDER BY and LIMIT on the recursion as a whole (DataFusion passes over them), its name in the non-recursive term, in a
//! subquery of an expression, or twice. Not refused, unlike in PostgreSQL: aggregates, outer joins and EXCEPT in the recursive term, whose
//! meaning is that of the term over one round's rows.
//!
//! Rewritten: a WITH before both terms goes into each, and a UNION that is no recursion is put into parentheses, since DataFusion takes
//! nothing but the terms of what it believes to be one.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Cte, Expr, LimitClause, ObjectName, Query, SetExpr, SetOperator, Visit, Visitor};

use super::names::{fold, name};
use super::normalise::Refusal;
use crate::Error;
use crate::error::sqlstate;

/// Checks and rewrites the recursions that a query names.
pub(super) fn rewrite(query: &mut Query) -> Result<(), Refusal> {
    match &mut query.with {
        Some(with) if with.recursive => with.cte_tables.iter_mut().try_for_each(rewrite_one),
        _ => Ok(()),
    }
}

fn rewrite_one(cte: &mut Cte) -> Result<(), Refusal> {
    let name = fold(&cte.alias.name);
    if References::to(&name, &*cte.query).n_all == 0 {
        if matches!(&*cte.query.body, SetExpr::SetOperation { .. }) {
            *cte.query = of_body(SetExpr::Query(cte.query.clone()));
        }
        return Ok(());
    }
    check(&name, &cte.query)?;
    if let (Some(with), SetExpr::SetOperation { left, right, .. }) = (cte.query.with.take(), &mut *cte.query.body) {
        for term in [left, right] {
            **term = SetExpr::Query(Box::new(Query { with: Some(with.clone()), ..of_body(SetExpr::clone(term)) }));
        }
    }
    Ok(())
}

fn check(name: &str, query: &Query) -> Result<(), Refusal> {
    let refused = |message: String| Err(Refusal::of(query, Error::new(sqlstate::INVALID_RECURSION, message)));
    let SetExpr::SetOperation { op: SetOperator::Union, left, right, .. } = &*query.body else {
        return refused(format!("recursive query \"{name}\" does not have the form non-recursive-term UNION [ALL] recursive-term"));
    };
    if let Some(clause) = final_clause(query) {
        let hint = "put it into the query that reads the recursion";
        return Err(Refusal::of(query, Error::unsupported(format!("{clause} in a recursive query is not implemented"), hint)));
    }
    let (found, before) = (References::to(name, &**right), query.with.as_ref().map(|with| References::to(name, with)));
    let place = match () {
        () if References::to(name, &**left).n_all > 0 => "within its non-recursive term",
        () if found.n_in_expressions > 0 || before.is_some_and(|before| before.n_all > 0) => "within a subquery",
        () if found.n_all > 1 => "more than once",
        () => return Ok(()),
    };
    refused(format!("recursive reference to query \"{name}\" must not appear {place}"))
}

fn of_body(body: SetExpr) -> Query {
    Query {
        with: None,
        body: Box::new(body),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: vec![],
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: vec![],
    }
}

/// What stands behind the recursion's terms.
fn final_clause(query: &Query) -> Option<&'static str> {
    let limit = match &query.limit_clause {
        Some(LimitClause::LimitOffset { limit: None, .. }) => Some("OFFSET"),
        Some(_) => Some("LIMIT"),
        None => query.fetch.as_ref().map(|_| "LIMIT"),
    };
    query.order_by.as_ref().map(|_| "ORDER BY").or(limit)
}

/// Where a recursion's name is read.
#[derive(Default)]
struct References<'a> {
    name: &'a str,
    n_all: usize,
    n_in_expressions: usize,
    /// Expressions around the place visited.
    n_expressions: usize,
    /// Queries around it that give the name to something else.
    n_shadows: usize,
}

impl<'a> References<'a> {
    fn to(name: &'a str, node: &impl Visit) -> Self {
        let mut found = Self { name, ..Self::default() };
        let _ = node.visit(&mut found);
        found
    }

    fn is_shadowed_by(&self, query: &Query) -> bool {
        query.with.iter().flat_map(|with| &with.cte_tables).any(|cte| fold(&cte.alias.name) == self.name)
    }
}

impl Visitor for References<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.n_shadows += usize::from(self.is_shadowed_by(query));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.n_shadows -= usize::from(self.is_shadowed_by(query));
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.n_expressions += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.n_expressions -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let is_it = self.n_shadows == 0 && name(relation).is_ok_and(|read| read.schema.is_none() && read.name == self.name);
        self.n_all += usize::from(is_it);
        self.n_in_expressions += usize::from(is_it && self.n_expressions > 0);
        ControlFlow::Continue(())
    }
}
