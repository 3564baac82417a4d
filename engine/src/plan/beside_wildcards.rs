//! `SELECT c.oid, c.*`: what stands beside `*` may be in it too, which Postgres allows and the planner does not. It gets a name of its
//! own while the query is planned, as repeated columns do ([`super::meaning`]), where nobody can refer to it by its name.
//!
//! Only reads: a view's columns must differ, and say so with `42701`.

use datafusion::sql::sqlparser::ast::{Expr, Ident, Query, SelectItem, SetExpr};

use super::meaning::REPEATED;
use super::names;

/// Tells what stands beside `*` in the outermost SELECTs from what is in it.
pub(super) fn told_apart(query: &mut Query) {
    tell_apart(&mut query.body);
}

fn tell_apart(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            let is_wildcard = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
            if select.projection.iter().any(is_wildcard) {
                select.projection.iter_mut().enumerate().for_each(|(place, item)| mark(item, place));
            }
        }
        SetExpr::SetOperation { left, right, .. } => {
            tell_apart(left);
            tell_apart(right);
        }
        SetExpr::Query(query) => tell_apart(&mut query.body),
        _ => {}
    }
}

fn mark(item: &mut SelectItem, place: usize) {
    let (expr, name) = match &*item {
        SelectItem::UnnamedExpr(expr @ Expr::Identifier(ident)) => (expr.clone(), names::fold(ident)),
        SelectItem::UnnamedExpr(expr @ Expr::CompoundIdentifier(parts)) => {
            let Some(last) = parts.last() else { return };
            (expr.clone(), names::fold(last))
        }
        SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), names::fold(alias)),
        _ => return,
    };
    *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', format!("{name}{REPEATED}{place}")) };
}
