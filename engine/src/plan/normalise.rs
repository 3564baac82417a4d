//! One pass over the AST of every query and expression, so that both engines read what Postgres would.
//!
//! Rewritten: windows in FROM and in GROUP BY ([`super::windows`]), ARRAY of a query ([`array_query`]), what else a SELECT says in Postgres' own way ([`selects`]), `FETCH FIRST n` as LIMIT. Refused: what DataFusion would pass over in silence
//! (TABLESAMPLE, WITH ORDINALITY, FOR UPDATE …), recursions of another form ([`recursion_form`]) and PROCTIME(), whose value is not a function of the inputs. The pass is idempotent.
//!
//! Not done here: types of literals and operators ([`super::meaning`]), the shared columns of joins ([`super::shared_columns`]), which
//! need the catalog, and ties of window functions (the planner's).

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, LimitClause, ObjectName, Query, Select, Spanned,
    TableFactor, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Location;

use super::{array_query, recursion_form, selects, windows};
use crate::error::sqlstate;
use crate::{Error, Result};

pub use super::inline::inline_functions;

/// What was understood and is refused, and where.
#[derive(Debug)]
pub struct Refusal {
    /// Why.
    pub error: Error,
    /// Where in the text the AST was read from; empty when not known.
    pub at: Location,
}

impl Refusal {
    /// Refuses `node`.
    pub(super) fn of(node: &impl Spanned, error: Error) -> Self {
        Self { error, at: node.span().start }
    }

    /// Refuses what a name stands for.
    pub(super) fn of_name(name: &Ident, error: Error) -> Self {
        Self { error, at: name.span.start }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        refusal.error
    }
}

/// Normalises a query, an expression or a list of either.
pub fn normalise(node: &mut impl VisitMut) -> Result<(), Refusal> {
    match VisitMut::visit(node, &mut Normaliser) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(refusal) => Err(*refusal),
    }
}

struct Normaliser;

type Flow = ControlFlow<Box<Refusal>>;

fn flow(result: Result<(), Refusal>) -> Flow {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(refusal) => ControlFlow::Break(Box::new(refusal)),
    }
}

impl VisitorMut for Normaliser {
    type Break = Box<Refusal>;

    fn pre_visit_query(&mut self, query: &mut Query) -> Flow {
        flow(
            check_query(query)
                .and_then(|()| recursion_form::rewrite(query))
                .and_then(|()| fetch_as_limit(query))
                .and_then(|()| selects::rewrite_query(query)),
        )
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> Flow {
        flow(check_select(select).and_then(|()| selects::rewrite_select(select)).and_then(|()| windows::rewrite_group_by(select)))
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> Flow {
        selects::name_outer_columns(factor);
        flow(check_factor(factor))
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> Flow {
        flow(windows::rewrite_factor(factor))
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> Flow {
        array_query::rewrite_quantifier(expr);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> Flow {
        flow(rewrite_expr(expr))
    }
}

fn check_query(query: &Query) -> Result<(), Refusal> {
    if !query.locks.is_empty() {
        let error = Error::unsupported(
            "FOR UPDATE and FOR SHARE are not supported",
            "a transaction reads one snapshot; a row changed by another gives 40001 at COMMIT",
        );
        return Err(Refusal::of(query, error));
    }
    if matches!(*query.body, ast::SetExpr::Insert(_) | ast::SetExpr::Update(_) | ast::SetExpr::Delete(_) | ast::SetExpr::Merge(_)) {
        let error =
            Error::unsupported("statements that write are not supported in WITH or as a query", "send them one by one, in a transaction");
        return Err(Refusal::of(query, error));
    }
    Ok(())
}

/// `FETCH FIRST n ROWS ONLY` is LIMIT n.
fn fetch_as_limit(query: &mut Query) -> Result<(), Refusal> {
    let Some(fetch) = query.fetch.take() else { return Ok(()) };
    if fetch.with_ties || fetch.percent {
        let error = Error::unsupported("FETCH with WITH TIES or PERCENT is not supported", "rank() OVER (…) <= n keeps ties");
        return Err(Refusal::of(query, error));
    }
    let one = || Expr::value(ast::Value::Number("1".into(), false));
    let limit = Some(fetch.quantity.unwrap_or_else(one));
    match &mut query.limit_clause {
        None => query.limit_clause = Some(LimitClause::LimitOffset { limit, offset: None, limit_by: vec![] }),
        Some(LimitClause::LimitOffset { limit: none @ None, .. }) => *none = limit,
        Some(_) => return Err(Refusal::of(query, Error::new(sqlstate::SYNTAX_ERROR, "multiple LIMIT clauses not allowed"))),
    }
    Ok(())
}

fn check_select(select: &Select) -> Result<(), Refusal> {
    if select.into.is_some() {
        return Err(Refusal::of(select, Error::unsupported("SELECT INTO is not supported", "use CREATE TABLE … AS SELECT …")));
    }
    Ok(())
}

/// Refuses what DataFusion would not look at.
fn check_factor(factor: &TableFactor) -> Result<(), Refusal> {
    let refuse = |what: &str, hint: &str| Err(Refusal::of(factor, Error::unsupported(format!("{what} is not supported"), hint)));
    match factor {
        TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } => {
            refuse("TABLESAMPLE", "choose rows in WHERE, by a hash of the key for a stable sample")
        }
        TableFactor::Table { with_ordinality: true, .. } | TableFactor::Function { with_ordinality: true, .. } => {
            refuse("WITH ORDINALITY", "number the rows by row_number() OVER (ORDER BY …)")
        }
        TableFactor::Table { version: Some(_), .. } => refuse("FOR SYSTEM_TIME AS OF", "it comes with time travel"),
        TableFactor::Table { with_hints, index_hints, partitions, .. }
            if !(with_hints.is_empty() && index_hints.is_empty() && partitions.is_empty()) =>
        {
            refuse("a table hint", "leave it out")
        }
        _ => Ok(()),
    }
}

fn rewrite_expr(expr: &mut Expr) -> Result<(), Refusal> {
    match expr {
        Expr::Function(function) if is_named(function, "proctime") => {
            let error = Error::unsupported(
                "PROCTIME() is not supported: its value would not be a function of the inputs",
                "store the time of intake: declare a column AS PROCTIME() in the stream, and use that column",
            );
            return Err(Refusal::of(expr, error));
        }
        Expr::Function(_) => {
            array_query::rewrite(expr)?;
            windows::rewrite_call(expr)?;
        }
        Expr::IsNull(row) | Expr::IsNotNull(row) if matches!(**row, Expr::QualifiedWildcard(..)) => {
            let error = Error::unsupported("a whole row as a value is not supported", "test one of its columns that is never null");
            return Err(Refusal::of(expr, error));
        }
        Expr::IsNull(_) | Expr::IsNotNull(_) => selects::nulls_of_row(expr),
        _ => {}
    }
    Ok(())
}

/// Shows each expression of a node to `visit`, its parts first, but none of the queries in it.
pub(super) fn each_own_expression(node: &mut impl VisitMut, visit: &mut dyn FnMut(&mut Expr)) {
    let _ = VisitMut::visit(node, &mut OwnExpressions { visit, depth: 0 });
}

struct OwnExpressions<'a> {
    visit: &'a mut dyn FnMut(&mut Expr),
    depth: usize,
}

impl VisitorMut for OwnExpressions<'_> {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<Self::Break> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Self::Break> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if self.depth == 0 {
            (self.visit)(expr);
        }
        ControlFlow::Continue(())
    }
}

/// Takes an expression out of its place.
pub(super) fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::value(ast::Value::Null))
}

/// Whether a function is called by this unqualified name.
pub(super) fn is_named(function: &Function, name: &str) -> bool {
    match function.name.0.as_slice() {
        [part] => part.as_ident().is_some_and(|ident| ident.value.eq_ignore_ascii_case(name)),
        _ => false,
    }
}

/// The plain arguments of a call; `None` when it is more than a plain call of a scalar function.
pub(super) fn plain_arguments(function: &Function) -> Option<Vec<&Expr>> {
    if function.filter.is_some() || function.over.is_some() || function.null_treatment.is_some() || !function.within_group.is_empty() {
        return None;
    }
    let list = match &function.args {
        FunctionArguments::None => return Some(vec![]),
        FunctionArguments::List(list) if list.duplicate_treatment.is_none() && list.clauses.is_empty() => list,
        _ => return None,
    };
    list.args
        .iter()
        .map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
            _ => None,
        })
        .collect()
}

/// A call of a scalar function.
pub(super) fn call(name: &str, arguments: impl IntoIterator<Item = Expr>) -> Expr {
    let args = arguments.into_iter().map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(ast::FunctionArgumentList { duplicate_treatment: None, args, clauses: vec![] }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}
