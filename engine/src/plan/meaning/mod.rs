//! What Postgres means by literals, operators and calls: the last rewrite of a query before DataFusion's SQL planner reads it.
//!
//! [`literals`] gives numbers and typed strings their types, [`calls`] makes calls of operators that planner reads otherwise,
//! [`columns`] names the columns of each SELECT, [`rows`] expands functions that give several rows, and comparisons of rows,
//! [`row_in`] rows in a query.
//! It is apart from `normalise`, whose result is what statements and their errors show: here plain `1` becomes a cast.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{self, BinaryOperator, Expr, Query, Select, TableFactor, VisitMut, VisitorMut};

use super::normalise::{call, is_named, plain_arguments, take};
use super::pg_syntax;

mod calls;
mod columns;
mod literals;
mod of_lists;
mod row_in;
mod rows;

pub(super) use columns::{REPEATED, output_names, shown};
pub(super) use literals::read_as;

/// Rewrites a query or an expression for the planner.
pub(super) fn for_planner<N: VisitMut>(mut node: N) -> N {
    let flow = VisitMut::visit(&mut node, &mut Meaning);
    assert!(flow.is_continue(), "the rewrite stops nowhere");
    let flow = VisitMut::visit(&mut node, &mut Arrays);
    assert!(flow.is_continue(), "the rewrite stops nowhere");
    node
}

/// `ARRAY[a, b]` is a call: in the elements of an array literal the planner does not know the columns of queries outside. It comes
/// after all that looks for arrays.
struct Arrays;

impl VisitorMut for Arrays {
    type Break = std::convert::Infallible;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if let Expr::Array(array) = expr
            && !array.elem.is_empty()
        {
            *expr = call("make_array", std::mem::take(&mut array.elem));
        }
        ControlFlow::Continue(())
    }
}

struct Meaning;

impl VisitorMut for Meaning {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        literals::mark_in_query(query);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        columns::name_items(&mut select.projection);
        rows::expand_items(&mut select.projection);
        rows::plain_grouping(select);
        row_in::rewrite_conditions(select);
        pg_syntax::rewrite_system_columns(select);
        pg_syntax::qualify_wildcards(select);
        literals::mark_in_select(select);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        if let TableFactor::Table { args: Some(ast::TableFunctionArgs { args, .. }), .. } | TableFactor::Function { args, .. } = factor {
            args.iter_mut().for_each(literals::mark_argument);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        pg_syntax::rewrite_factor(factor);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        match expr {
            Expr::Function(function) => literals::mark_in_call(function),
            Expr::Cast { .. } => literals::cast_items(expr),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        pg_syntax::rewrite_expr(expr);
        if !literals::rewrite(expr) {
            rewrite_expr(expr);
        }
        ControlFlow::Continue(())
    }
}

fn rewrite_expr(expr: &mut Expr) {
    match expr {
        Expr::BinaryOp { op: BinaryOperator::PGExp, .. } => {
            let Expr::BinaryOp { left, right, .. } = take(expr) else { unreachable!("matched above") };
            *expr = call("power", [*left, *right]);
        }
        Expr::BinaryOp { .. } | Expr::InList { .. } => {
            rows::compare(expr);
            row_in::compare_with_row(expr);
        }
        Expr::InSubquery { .. } => row_in::rewrite(expr),
        Expr::UnaryOp { .. } => calls::rewrite_unary(expr),
        Expr::AtTimeZone { .. } | Expr::SimilarTo { .. } | Expr::Like { .. } | Expr::ILike { .. } => calls::rewrite_operator(expr),
        Expr::Function(_) => {
            calls::rewrite_call(expr);
            of_lists::rewrite(expr);
        }
        _ => {}
    }
}
