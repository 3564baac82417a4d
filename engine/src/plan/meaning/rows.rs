//! Functions that give several rows in a SELECT list, comparisons of rows, and grouping by nothing.
//!
//! `SELECT regexp_matches(…)` is the unnested list of what the function gives. `(a, b) = (c, d)` compares the columns one by
//! one, `<` by the first pair that differs; a null decides nothing, as in Postgres.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, Ident, ObjectName, Select, SelectItem, UnaryOperator, Visit, Visitor,
};

use super::{call, is_named, take};
use crate::plan::normalise::each_own_expression;

/// Functions whose result is a list of the rows they give, and what makes that list.
const SET_RETURNING: [(&str, &str); 3] =
    [("regexp_matches", "regexp_matches"), ("regexp_split_to_table", "regexp_split_to_array"), ("generate_series", "generate_series")];

/// Unnests functions of several rows in the items of a SELECT.
pub(super) fn expand_items(items: &mut [SelectItem]) {
    for item in items {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            each_own_expression(expr, &mut unnest_list);
        }
    }
}

fn unnest_list(expr: &mut Expr) {
    if let Expr::Function(function) = expr
        && let Some((_, list)) = SET_RETURNING.iter().find(|(name, _)| is_named(function, name))
    {
        function.name = ObjectName::from(vec![Ident::new(*list)]);
        *expr = call("unnest", [take(expr)]);
    }
}

/// `GROUP BY ()` is one group, as no GROUP BY is; HAVING over no aggregate and one row is WHERE.
pub(super) fn plain_grouping(select: &mut Select) {
    if let GroupByExpr::Expressions(expressions, _) = &mut select.group_by {
        if matches!(expressions.as_slice(), [Expr::Tuple(columns)] if columns.is_empty()) {
            expressions.clear();
        }
        let is_one_row = select.from.is_empty() && expressions.is_empty() && select.selection.is_none();
        if is_one_row && select.having.is_some() && !has_calls(&select.having) && !has_calls(&select.projection) {
            select.selection = select.having.take();
        }
    }
}

fn has_calls(node: &impl Visit) -> bool {
    struct Calls;
    impl Visitor for Calls {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if matches!(expr, Expr::Function(_)) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    node.visit(&mut Calls).is_break()
}

/// Comparisons of rows as comparisons of their columns.
pub(super) fn compare(expr: &mut Expr) {
    let expanded = match expr {
        Expr::BinaryOp { left, op, right } => match (columns(left), columns(right)) {
            (Some(left), Some(right)) if left.len() == right.len() && !left.is_empty() => compared(&left, op, &right),
            _ => None,
        },
        Expr::InList { expr: row, list, negated } => in_list(row, list, *negated),
        _ => None,
    };
    if let Some(expanded) = expanded {
        *expr = Expr::Nested(Box::new(expanded));
    }
}

/// The columns of `(a, b)` or `ROW(a, b)`.
pub(super) fn columns(expr: &Expr) -> Option<Vec<Expr>> {
    match expr {
        Expr::Tuple(columns) => Some(columns.clone()),
        Expr::Function(function) if is_named(function, "row") => {
            super::plain_arguments(function).map(|arguments| arguments.into_iter().cloned().collect())
        }
        _ => None,
    }
}

pub(super) fn compared(left: &[Expr], op: &BinaryOperator, right: &[Expr]) -> Option<Expr> {
    use BinaryOperator::{And, Eq, Gt, GtEq, Lt, LtEq, NotEq, Or};
    let pairs = || left.iter().zip(right);
    match op {
        Eq => joined(pairs().map(|(left, right)| binary(left, Eq, right)), &And),
        NotEq => joined(pairs().map(|(left, right)| binary(left, NotEq, right)), &Or),
        Lt | LtEq | Gt | GtEq => {
            let strict = if matches!(op, Lt | LtEq) { Lt } else { Gt };
            let (last_left, last_right) = (left.last()?, right.last()?);
            let mut result = binary(last_left, op.clone(), last_right);
            for (left, right) in pairs().rev().skip(1) {
                let equal = both(binary(left, Eq, right), And, result);
                result = both(binary(left, strict.clone(), right), Or, equal);
            }
            Some(result)
        }
        _ => None,
    }
}

fn in_list(row: &Expr, list: &[Expr], negated: bool) -> Option<Expr> {
    let row = columns(row)?;
    let equal = list.iter().map(|item| compared(&row, &BinaryOperator::Eq, &columns(item).filter(|item| item.len() == row.len())?));
    let any = joined(equal.collect::<Option<Vec<_>>>()?.into_iter(), &BinaryOperator::Or)?;
    let not = |expr| Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(Expr::Nested(Box::new(expr))) };
    Some(if negated { not(any) } else { any })
}

fn binary(left: &Expr, op: BinaryOperator, right: &Expr) -> Expr {
    both(left.clone(), op, right.clone())
}

fn both(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn joined(mut parts: impl Iterator<Item = Expr>, op: &BinaryOperator) -> Option<Expr> {
    let first = parts.next()?;
    Some(parts.fold(first, |all, part| both(all, op.clone(), part)))
}
