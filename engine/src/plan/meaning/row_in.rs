//! `(a, b) IN (query)`: DataFusion's IN takes one column, so a condition becomes
//!
//! ```sql
//! SELECT … WHERE (a, b) IN (query)
//! SELECT … WHERE EXISTS (SELECT 1 FROM (query) AS r (x, y) WHERE a = x AND b = y)
//! ```
//!
//! and where null is told from false, a second EXISTS looks for a row that is neither equal nor different. `(a, b) = (query)` becomes
//!
//! ```sql
//! (SELECT a = x AND b = y FROM (query) AS r (x, y))
//! ```

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, Ident, JoinConstraint, JoinOperator, Query, Select, SelectItem, SetExpr, TableAlias,
    TableAliasColumnDef, TableFactor, TableWithJoins, Value, helpers::attached_token::AttachedToken,
};

use super::rows::{columns, compared};
use crate::plan::parse::parse_query;

/// The alias of the query; no one writes such names, so that those of the row are not taken for its columns.
const ROWS: &str = "rows of in";

/// In conditions, where null is as good as false.
pub(super) fn rewrite_conditions(select: &mut Select) {
    select.selection.iter_mut().chain(&mut select.having).for_each(rewrite_condition);
    for join in select.from.iter_mut().flat_map(|from| &mut from.joins) {
        if let JoinOperator::Join(JoinConstraint::On(on)) | JoinOperator::Inner(JoinConstraint::On(on)) = &mut join.join_operator {
            rewrite_condition(on);
        }
    }
}

fn rewrite_condition(expr: &mut Expr) {
    match expr {
        Expr::Nested(inner) => rewrite_condition(inner),
        Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
            rewrite_condition(left);
            rewrite_condition(right);
        }
        Expr::InSubquery { expr: row, subquery, negated: false } => {
            if let Some(row) = columns(row) {
                *expr = exists(&row, subquery, |equal| equal);
            }
        }
        _ => {}
    }
}

/// Anywhere else.
pub(super) fn rewrite(expr: &mut Expr) {
    let Expr::InSubquery { expr: row, subquery, negated } = expr else { return };
    let Some(row) = columns(row) else { return };
    let truth = |value: bool| Expr::value(Value::Boolean(value));
    let unknown = |equal| Expr::IsNull(Box::new(Expr::Nested(Box::new(equal))));
    *expr = Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![
            CaseWhen { condition: exists(&row, subquery, |equal| equal), result: truth(!*negated) },
            CaseWhen { condition: exists(&row, subquery, unknown), result: Expr::value(Value::Null) },
        ],
        else_result: Some(Box::new(truth(*negated))),
    };
}

/// `(a, b) < (query)`, with any operator that compares rows.
pub(super) fn compare_with_row(expr: &mut Expr) {
    let Expr::BinaryOp { left: row, op, right } = expr else { return };
    let (Some(row), Expr::Subquery(subquery)) = (columns(row), right.as_ref()) else { return };
    let query = over_rows(row.len(), subquery, |select, their| {
        select.projection = vec![SelectItem::UnnamedExpr(compared(&row, op, their)?)];
        Some(())
    });
    if let Some(query) = query {
        *expr = Expr::Subquery(query);
    }
}

/// Whether the query has a row for which `condition`, over its equality with `row`, is true.
fn exists(row: &[Expr], subquery: &Query, condition: impl FnOnce(Expr) -> Expr) -> Expr {
    let query = over_rows(row.len(), subquery, |select, their| {
        select.selection = Some(condition(compared(row, &BinaryOperator::Eq, their)?));
        Some(())
    });
    Expr::Exists { subquery: query.expect("a row has a column"), negated: false }
}

/// A query over the rows of another of so many columns; `make` is given its SELECT and the names of these columns.
fn over_rows(n_columns: usize, rows: &Query, make: impl FnOnce(&mut Select, &[Expr]) -> Option<()>) -> Option<Box<Query>> {
    let names: Vec<Ident> = (1..=n_columns).map(|at| Ident::with_quote('"', format!("{ROWS} {at}"))).collect();
    let their: Vec<Expr> = names.iter().cloned().map(Expr::Identifier).collect();
    let columns = names.into_iter().map(|name| TableAliasColumnDef { name, data_type: None }).collect();
    let alias = TableAlias { explicit: true, name: Ident::with_quote('"', ROWS), columns, at: None };
    let relation = TableFactor::Derived { lateral: false, subquery: Box::new(rows.clone()), alias: Some(alias), sample: None };
    let mut query = parse_query("SELECT 1").expect("our own text is a query");
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    select.from = vec![TableWithJoins { relation, joins: vec![] }];
    make(select, &their)?;
    Some(query)
}
