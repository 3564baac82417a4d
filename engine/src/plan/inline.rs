//! SQL functions are inlined: a call becomes the function's body with the arguments in the place of their names, so that
//! both engines see plain expressions and a view's plan does not depend on the function any more.
//!
//! Arguments and result are cast to the declared types. An argument used twice is evaluated twice, which no query can tell
//! as volatile functions are refused in views.

use std::ops::ControlFlow;

use catalog::SqlType;
use datafusion::sql::sqlparser::ast::{Expr, Query, Value, VisitMut, VisitorMut};

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
            return Err(Error::new(sqlstate::WRONG_OBJECT_TYPE, message).with_hint("call it as f(a, b), without OVER, FILTER, DISTINCT or names"));
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
        let values = function.arguments.iter().zip(arguments).map(|((name, sql_type), value)| (name.as_str(), cast(value.clone(), sql_type))).collect();
        let _ = VisitMut::visit(&mut body, &mut Arguments { values });
        Ok(Some(cast(body, &function.returns)))
    }
}

/// `CAST((expr) AS type)`.
fn cast(expr: Expr, sql_type: &SqlType) -> Expr {
    let expr = Box::new(Expr::Nested(Box::new(expr)));
    Expr::Cast { kind: datafusion::sql::sqlparser::ast::CastKind::Cast, expr, data_type: data_type(sql_type), format: None, array: false }
}

/// Puts values in the place of arguments.
struct Arguments<'a> {
    values: Vec<(&'a str, Expr)>,
}

impl VisitorMut for Arguments<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let found = match expr {
            Expr::Identifier(ident) => {
                let name = names::fold(ident);
                self.values.iter().find(|(argument, _)| *argument == name)
            }
            Expr::Value(value) => match &value.value {
                Value::Placeholder(placeholder) => {
                    let number = placeholder.strip_prefix('$').and_then(|number| number.parse::<usize>().ok());
                    number.and_then(|number| self.values.get(number.checked_sub(1)?))
                }
                _ => None,
            },
            _ => None,
        };
        if let Some((_, value)) = found {
            *expr = value.clone();
        }
        ControlFlow::Continue(())
    }
}
