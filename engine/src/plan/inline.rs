//! SQL functions are inlined: a call becomes the function's body with the arguments in the place of their names, so that
//! both engines see plain expressions and a view's plan does not depend on the function any more.
//!
//! Arguments and result are cast to the declared types. An argument used twice is evaluated twice, which no query can tell
//! as volatile functions are refused in views.

use std::ops::ControlFlow;

use catalog::SqlType;
use datafusion::sql::sqlparser::ast::{Expr, Query, Value, Visit, VisitMut, Visitor, VisitorMut};

use super::names;
use super::normalise::{Refusal, plain_arguments};
use super::parse::{data_type, parse_expression};
use crate::error::sqlstate;
use crate::{Error, Result};

/// A SQL function as the catalog has it.
#[derive(Debug, Clone)]
pub struct SqlFunction {
    /// Name and type of each argument; a name may be empty.
    pub arguments: Vec<(String, SqlType)>,
    /// Result type.
    pub returns: SqlType,
    /// The body, over the arguments' names or `$1`….
    pub body: String,
}

/// How deep functions may use each other; one that calls itself ends here.
const MAX_DEPTH: usize = 32;

/// How many nodes an inlined call may have: `twice(twice(…))` doubles with each level.
const MAX_NODES: usize = 20_000;

/// How deep an inlined call may be: as deep as a chain of operators in a text.
const MAX_LEVELS: usize = 1_000;

/// Replaces every call of a function that `find` knows, also those in bodies.
pub fn inline_functions(query: &mut Query, find: &dyn Fn(&str) -> Option<SqlFunction>) -> Result<()> {
    inline_in(query, find)
}

/// As [`inline_functions`], for any part of a statement.
pub fn inline_in(node: &mut impl VisitMut, find: &dyn Fn(&str) -> Option<SqlFunction>) -> Result<()> {
    inline_at(node, find, 0).map_err(Error::from)
}

fn inline_at(node: &mut impl VisitMut, find: &dyn Fn(&str) -> Option<SqlFunction>, depth: usize) -> Result<(), Refusal> {
    match VisitMut::visit(node, &mut Inliner { find, depth }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(refusal) => Err(*refusal),
    }
}

struct Inliner<'a> {
    find: &'a dyn Fn(&str) -> Option<SqlFunction>,
    depth: usize,
}

impl VisitorMut for Inliner<'_> {
    type Break = Box<Refusal>;

    // Behind its arguments, so that calls in these are replaced once and what is put in is not visited again.
    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Box<Refusal>> {
        match self.inlined(expr) {
            Ok(None) => {}
            Ok(Some(body)) => *expr = body,
            Err(error) => return ControlFlow::Break(Box::new(Refusal::of(expr, error))),
        }
        ControlFlow::Continue(())
    }
}

impl Inliner<'_> {
    fn inlined(&self, expr: &Expr) -> Result<Option<Expr>> {
        let Expr::Function(call) = expr else { return Ok(None) };
        let Ok(name) = names::name(&call.name) else { return Ok(None) };
        let Some(function) = (self.find)(&name.name) else { return Ok(None) };
        let Some(arguments) = plain_arguments(call) else {
            let message = format!("function {} is a scalar function", name.name);
            return Err(
                Error::new(sqlstate::WRONG_OBJECT_TYPE, message).with_hint("call it as f(a, b), without OVER, FILTER, DISTINCT or names")
            );
        };
        if arguments.len() != function.arguments.len() {
            let message = format!("function {} takes {} arguments, not {}", name.name, function.arguments.len(), arguments.len());
            return Err(Error::new(sqlstate::UNDEFINED_FUNCTION, message));
        }
        if self.depth == MAX_DEPTH {
            let message = format!("function {} calls functions more than {MAX_DEPTH} deep", name.name);
            return Err(Error::new(sqlstate::STATEMENT_TOO_COMPLEX, message).with_hint("a SQL function cannot call itself"));
        }
        let mut body = parse_expression(&function.body)?;
        inline_at(&mut body, self.find, self.depth + 1)?;
        let values = function.arguments.iter().zip(arguments).map(|((name, sql_type), value)| Argument {
            name: name.as_str(),
            n_nodes: measure(value).n_nodes,
            value: cast(value.clone(), sql_type),
        });
        let mut arguments = Arguments { values: values.collect(), nodes_left: MAX_NODES };
        let grown = VisitMut::visit(&mut body, &mut arguments).is_break() || measure(&body).max_level > MAX_LEVELS;
        match grown {
            true => Err(too_large(&name.name)),
            false => Ok(Some(cast(body, &function.returns))),
        }
    }
}

fn too_large(name: &str) -> Error {
    Error::new(sqlstate::STATEMENT_TOO_COMPLEX, format!("expression of function {name} becomes too large"))
        .with_hint("compute the argument in a subquery, and call the function on its column")
}

/// How large an expression is.
#[derive(Default)]
struct Measure {
    n_nodes: usize,
    level: usize,
    max_level: usize,
}

fn measure(expr: &Expr) -> Measure {
    let mut measure = Measure::default();
    let _ = Visit::visit(expr, &mut measure);
    measure
}

impl Visitor for Measure {
    type Break = ();

    fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.n_nodes += 1;
        self.level += 1;
        self.max_level = self.max_level.max(self.level);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.level -= 1;
        ControlFlow::Continue(())
    }
}

/// `CAST((expr) AS type)`.
fn cast(expr: Expr, sql_type: &SqlType) -> Expr {
    let expr = Box::new(Expr::Nested(Box::new(expr)));
    Expr::Cast { kind: datafusion::sql::sqlparser::ast::CastKind::Cast, expr, data_type: data_type(sql_type), format: None, array: false }
}

/// One argument of a call.
struct Argument<'a> {
    name: &'a str,
    value: Expr,
    n_nodes: usize,
}

/// Puts values in the place of arguments.
struct Arguments<'a> {
    values: Vec<Argument<'a>>,
    nodes_left: usize,
}

impl Arguments<'_> {
    fn find(&self, expr: &Expr) -> Option<&Argument<'_>> {
        match expr {
            Expr::Identifier(ident) => {
                let name = names::fold(ident);
                self.values.iter().find(|argument| argument.name == name)
            }
            Expr::Value(value) => match &value.value {
                Value::Placeholder(placeholder) => {
                    let number: usize = placeholder.strip_prefix('$')?.parse().ok()?;
                    self.values.get(number.checked_sub(1)?)
                }
                _ => None,
            },
            _ => None,
        }
    }
}

impl VisitorMut for Arguments<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(argument) = self.find(expr) {
            let Some(left) = self.nodes_left.checked_sub(argument.n_nodes) else { return ControlFlow::Break(()) };
            *expr = argument.value.clone();
            self.nodes_left = left;
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::parse::parse_query;

    fn find(name: &str) -> Option<SqlFunction> {
        let function = |arguments: &[(&str, SqlType)], returns, body: &str| {
            let arguments = arguments.iter().map(|(name, sql_type)| ((*name).to_owned(), sql_type.clone())).collect();
            Some(SqlFunction { arguments, returns, body: body.to_owned() })
        };
        match name {
            "twice" => function(&[("x", SqlType::BigInt)], SqlType::BigInt, "x + x"),
            "four" => function(&[("", SqlType::Integer)], SqlType::BigInt, "twice(twice($1))"),
            "swap" => function(&[("a", SqlType::Text), ("b", SqlType::Text)], SqlType::Text, "b || A"),
            "endless" => function(&[], SqlType::Integer, "endless()"),
            _ => None,
        }
    }

    fn check(sql: &str, expected: &str) {
        let mut query = parse_query(sql).expect(sql);
        let found = match inline_functions(&mut query, &find) {
            Ok(()) => query.to_string(),
            Err(error) => format!("{} {error}", error.sqlstate),
        };
        assert_eq!(found, expected, "{sql}");
    }

    #[test]
    fn calls_become_bodies() {
        check("SELECT twice(a), other(1) FROM t", "SELECT CAST((CAST((a) AS BIGINT) + CAST((a) AS BIGINT)) AS BIGINT), other(1) FROM t");
        // What is put in is not read again as an argument's name.
        check("SELECT swap(b, a) FROM t", "SELECT CAST((CAST((a) AS TEXT) || CAST((b) AS TEXT)) AS TEXT) FROM t");
        check(
            "SELECT 1 FROM t WHERE four(1) > 2",
            "SELECT 1 FROM t WHERE CAST((CAST((CAST((CAST((CAST((CAST((1) AS INTEGER)) AS BIGINT) + CAST((CAST((1) AS INTEGER)) AS BIGINT)) AS BIGINT)) AS BIGINT) \
             + CAST((CAST((CAST((CAST((1) AS INTEGER)) AS BIGINT) + CAST((CAST((1) AS INTEGER)) AS BIGINT)) AS BIGINT)) AS BIGINT)) AS BIGINT)) AS BIGINT) > 2",
        );
        check("SELECT twice(1, 2)", "42883 function twice takes 1 arguments, not 2");
        check("SELECT twice(DISTINCT a) FROM t", "42809 function twice is a scalar function");
        check(&format!("SELECT {}1{}", "twice(".repeat(40), ")".repeat(40)), "54001 expression of function twice becomes too large");
        check("SELECT endless()", "54001 function endless calls functions more than 32 deep");
    }
}
