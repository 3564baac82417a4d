//! `ARRAY(SELECT …)`: the rows of a query as one array, empty when there are none. On the AST it becomes a scalar subquery,
//!
//! ```sql
//! (SELECT coalesce(array_agg(q.v ORDER BY q.k0 DESC), make_array())
//!  FROM (SELECT a AS v, b AS k0 FROM t ORDER BY k0 DESC LIMIT 3) AS q)
//! ```
//!
//! so that both engines keep or run it as any other. Its ORDER BY is that of the array; the query itself keeps one only below
//! LIMIT. Behind ANY and ALL it is that query. Refused: an ORDER BY over something else than the column where the query is DISTINCT or a set operation.

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArguments, Ident, OrderBy, OrderByExpr, OrderByKind, Query, SelectItem, SetExpr, TableFactor, Value,
    ValueWithSpan,
};
use datafusion::sql::sqlparser::parser::Parser;

use super::dialect::ThalwegDialect;
use super::normalise::{Refusal, is_named};
use crate::Error;
use crate::error::sqlstate;

/// Rewrites `ARRAY(SELECT …)`; leaves everything else.
pub(super) fn rewrite(expr: &mut Expr) -> Result<(), Refusal> {
    let Expr::Function(function) = &*expr else { return Ok(()) };
    if let (true, Some(query)) = (is_named(function, "array"), subquery(function)) {
        let rewritten = as_aggregate(query.clone())?;
        *expr = Expr::Subquery(Box::new(rewritten));
    }
    Ok(())
}

/// `= ANY (ARRAY(SELECT …))` asks the query's rows, as `= ANY (SELECT …)` does.
pub(super) fn rewrite_quantifier(expr: &mut Expr) {
    let (Expr::AnyOp { right, .. } | Expr::AllOp { right, .. }) = expr else { return };
    let mut list = right.as_ref();
    while let Expr::Nested(inner) = list {
        list = inner;
    }
    let Expr::Function(function) = list else { return };
    if let (true, Some(query)) = (is_named(function, "array"), subquery(function)) {
        **right = Expr::Subquery(Box::new(query.clone()));
    }
}

fn subquery(function: &Function) -> Option<&Query> {
    match &function.args {
        FunctionArguments::Subquery(query) => Some(query),
        _ => None,
    }
}

fn as_aggregate(mut query: Query) -> Result<Query, Refusal> {
    let sorts = match query.order_by.take().map(|order| order.kind) {
        None => vec![],
        Some(OrderByKind::Expressions(sorts)) => sorts,
        Some(OrderByKind::All(_)) => return Err(refused(&query)),
    };
    let keys = with_keys(&mut query, &sorts)?;
    let of_key = |(key, sort): (&String, &OrderByExpr)| format!("q.{key}{}", direction(sort));
    let order: Vec<String> = keys.iter().zip(&sorts).map(of_key).collect();
    let order = if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) };
    if query.limit_clause.is_some() {
        let below = keys.iter().zip(&sorts).map(|(key, sort)| OrderByExpr { expr: Expr::Identifier(Ident::new(key)), ..sort.clone() });
        let kind = OrderByKind::Expressions(below.collect());
        query.order_by = (!sorts.is_empty()).then_some(OrderBy { kind, interpolate: None });
    }
    let mut aggregate = parse(&format!("SELECT coalesce(array_agg(q.v{order}), make_array()) FROM (SELECT 1) AS q"));
    if let SetExpr::Select(select) = aggregate.body.as_mut() {
        if let TableFactor::Derived { subquery, .. } = &mut select.from[0].relation {
            **subquery = query;
        }
    }
    Ok(aggregate)
}

/// Names the query's column `v` and its sort keys `k0`, `k1`, …; the names of the keys.
fn with_keys(query: &mut Query, sorts: &[OrderByExpr]) -> Result<Vec<String>, Refusal> {
    let whole = query.clone();
    let select = match query.body.as_mut() {
        SetExpr::Select(select) if select.distinct.is_none() && select.projection.len() == 1 && item(&select.projection[0]).is_some() => {
            select
        }
        SetExpr::Select(select) if select.projection.len() != 1 => {
            return Err(Refusal::of(&whole, Error::new(sqlstate::SYNTAX_ERROR, "subquery must return only one column")));
        }
        _ => return by_column_alone(query, sorts),
    };
    let (value, alias) = item(&select.projection[0]).expect("checked above");
    let (value, alias) = (value.clone(), alias.cloned());
    let keys: Vec<String> = (0..sorts.len()).map(|place| format!("k{place}")).collect();
    let named = |expr: Expr, name: &str| SelectItem::ExprWithAlias { expr, alias: Ident::new(name) };
    select.projection = vec![named(value.clone(), "v")];
    for (sort, key) in sorts.iter().zip(&keys) {
        let is_output =
            is_first(&sort.expr) || matches!((&sort.expr, &alias), (Expr::Identifier(name), Some(alias)) if name.value == alias.value);
        select.projection.push(named(if is_output { value.clone() } else { sort.expr.clone() }, key));
    }
    Ok(keys)
}

/// A query whose rows have nothing but the column to sort by.
fn by_column_alone(query: &mut Query, sorts: &[OrderByExpr]) -> Result<Vec<String>, Refusal> {
    if !sorts.iter().all(|sort| is_first(&sort.expr) || matches!(sort.expr, Expr::Identifier(_))) {
        return Err(refused(query));
    }
    let mut wrapped = parse("SELECT q.v FROM (SELECT 1) AS q (v)");
    if let SetExpr::Select(select) = wrapped.body.as_mut() {
        if let TableFactor::Derived { subquery, .. } = &mut select.from[0].relation {
            let limit_clause = query.limit_clause.take();
            **subquery = std::mem::replace(query, parse("SELECT 1"));
            wrapped.limit_clause = limit_clause;
        }
    }
    *query = wrapped;
    Ok(vec!["v".into(); sorts.len()])
}

fn item(item: &SelectItem) -> Option<(&Expr, Option<&Ident>)> {
    match item {
        SelectItem::UnnamedExpr(expr) => Some((expr, None)),
        SelectItem::ExprWithAlias { expr, alias } => Some((expr, Some(alias))),
        _ => None,
    }
}

fn is_first(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(ValueWithSpan { value: Value::Number(number, _), .. }) if number == "1")
}

fn direction(sort: &OrderByExpr) -> String {
    let options = &sort.options;
    let direction = if options.asc == Some(false) { " DESC" } else { "" };
    let nulls = options.nulls_first.map_or("", |first| if first { " NULLS FIRST" } else { " NULLS LAST" });
    format!("{direction}{nulls}")
}

fn refused(query: &Query) -> Refusal {
    let hint = "put the query into FROM, with the keys in its select list, and use array_agg(… ORDER BY …)";
    Refusal::of(query, Error::unsupported("this ORDER BY in ARRAY(SELECT …) is not supported", hint))
}

fn parse(sql: &str) -> Query {
    let dialect = ThalwegDialect::for_tokens(sql.len());
    let parsed = Parser::new(&dialect).try_with_sql(sql).and_then(|mut parser| parser.parse_query());
    *parsed.expect("a template is SQL we wrote")
}
