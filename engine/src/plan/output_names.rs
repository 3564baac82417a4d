//! Names that the select list gives to something else than the column of that name. In expressions of ORDER BY and in HAVING such a name
//! is still that of the column. The planner does not tell the two apart where ORDER BY needs the column beside the select list, so what
//! ORDER BY computes becomes columns of a query below:
//!
//! ```sql
//! SELECT x AS d FROM t ORDER BY t.d + 1
//! SELECT d FROM (SELECT x AS d, t.d + 1 AS "$sort 1" FROM t) AS "$outputs" (d, "$sort 1") ORDER BY "$sort 1"
//! ```
//!
//! A part of the pass of [`super::shared_columns`].

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Query, Select, SelectItem, SetExpr, TableAlias, TableAliasColumnDef, TableFactor, TableWithJoins, Value,
};

use super::meaning::output_names;
use super::names::{fold, quoted};
use super::normalise::{each_own_expression, take};
use super::parse::parse_query;
use crate::Error;

/// Whether a select list gives the name to something that is not the column of that name.
pub(super) fn hides(items: &[SelectItem], name: &Ident) -> bool {
    items.iter().any(|item| match item {
        SelectItem::ExprWithAlias { expr, alias } if fold(alias) == fold(name) => match expr {
            Expr::Identifier(own) => fold(own) != fold(name),
            Expr::CompoundIdentifier(path) => path.last().is_none_or(|own| fold(own) != fold(name)),
            _ => true,
        },
        _ => false,
    })
}

/// Whether a name in it is one that the select list gives to something else.
pub(super) fn has_hidden(expr: &Expr, items: &[SelectItem]) -> bool {
    has_part(expr, |part| match part {
        Expr::Identifier(name) => hides(items, name),
        part => is_hidden_column(part, items),
    })
}

/// Whether it is a column of a relation, `t.d`, under whose name the select list has something else.
fn is_hidden_column(expr: &Expr, items: &[SelectItem]) -> bool {
    matches!(expr, Expr::CompoundIdentifier(path) if path.last().is_some_and(|name| hides(items, name)))
}

fn has_part(expr: &Expr, is_wanted: impl Fn(&Expr) -> bool) -> bool {
    let mut is_there = false;
    each_own_expression(&mut expr.clone(), &mut |part| is_there |= is_wanted(part));
    is_there
}

/// Moves what ORDER BY computes into the select list, if columns in it have the names of outputs; what the outputs are called, then.
pub(super) fn apart_from_sorts(select: &mut Select, sorts: &mut [&mut Expr]) -> Option<Vec<String>> {
    let has_wildcard = select.projection.iter().any(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)));
    let is_hidden = sorts.iter().any(|sort| has_part(sort, |part| is_hidden_column(part, &select.projection)));
    if !is_hidden || has_wildcard || select.distinct.is_some() {
        return None;
    }
    let names = output_names(&select.projection);
    for (n, sort) in sorts.iter_mut().enumerate() {
        let output = match &**sort {
            Expr::Value(_) => continue,
            Expr::Identifier(name) => names.iter().position(|output| *output == fold(name)),
            _ => None,
        };
        **sort = match output {
            Some(place) => Expr::value(Value::Number((place + 1).to_string(), false)),
            None => {
                let alias = quoted(&format!("$sort {}", n + 1));
                select.projection.push(SelectItem::ExprWithAlias { expr: take(sort), alias: alias.clone() });
                Expr::Identifier(alias)
            }
        };
    }
    Some(names)
}

/// The query, whose first columns get these names, in the order that it had.
pub(super) fn under_names(query: &mut Query, names: &[String]) -> Result<(), Error> {
    let outer = *parse_query("SELECT * FROM t")?;
    let (with, body) = (query.with.take(), std::mem::replace(&mut query.body, outer.body));
    let SetExpr::Select(inner) = body.as_ref() else { return Ok(()) };
    let columns = output_names(&inner.projection).into_iter().enumerate();
    let columns = columns.map(|(place, name)| names.get(place).cloned().unwrap_or(name));
    let columns = columns.map(|name| TableAliasColumnDef { name: quoted(&name), data_type: None }).collect();
    let alias = TableAlias { explicit: true, name: quoted("$outputs"), columns, at: None };
    let mut subquery = parse_query("SELECT 1")?;
    (subquery.with, subquery.body) = (with, body);
    let relation = TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None };
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection = names.iter().map(|name| SelectItem::UnnamedExpr(Expr::Identifier(quoted(name)))).collect();
        select.from = vec![TableWithJoins { relation, joins: vec![] }];
    }
    Ok(())
}
