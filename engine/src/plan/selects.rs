//! What DataFusion's planner reads otherwise in a SELECT, as what it reads as Postgres does. A part of the pass of [`super::normalise`].
//!
//! - A window's name is what it stands for, and one that names another has what that one has.
//! - DISTINCT ON and grouping sets take places in the select list; DISTINCT ON stands in the order of ORDER BY.
//! - An expression in ORDER BY that is in the select list is that column.
//! - Two calls that differ in a cast of an argument are two.
//! - What is lateral in a later item of FROM sees the items before it.
//! - A column of a query around, alone in the select list of a query in FROM, keeps its name.
//! - A row is null if all its fields are, and is not if none is.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, Join, JoinConstraint, JoinOperator,
    NamedWindowDefinition, NamedWindowExpr, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins, Value,
    ValueWithSpan, WindowSpec, WindowType,
};

use super::names::fold;
use super::normalise::{Refusal, call, each_own_expression, is_named, plain_arguments, take};
use super::shared_columns;
use crate::Error;
use crate::error::sqlstate;

/// Rewrites a query's own SELECT with its ORDER BY.
pub(super) fn rewrite_query(query: &mut Query) -> Result<(), Refusal> {
    let SetExpr::Select(select) = query.body.as_mut() else { return Ok(()) };
    let mut sorts: Vec<&mut Expr> = match query.order_by.as_mut().map(|order| &mut order.kind) {
        Some(OrderByKind::Expressions(sorts)) => sorts.iter_mut().map(|sort| &mut sort.expr).collect(),
        _ => Vec::new(),
    };
    write_windows_out(select, &mut sorts)?;
    tell_casts_apart(select, &mut sorts);
    if matches!(select.distinct, Some(Distinct::On(_))) {
        for sort in &mut sorts {
            if let Some(place) = place_of_name(sort, &select.projection) {
                **sort = Expr::value(Value::Number((place + 1).to_string(), false));
            }
        }
    }
    order_distinct(select, &sorts.iter().map(|sort| &**sort).collect::<Vec<_>>());
    for sort in sorts {
        if let Some(place) = place_of(sort, &select.projection) {
            *sort = Expr::value(Value::Number((place + 1).to_string(), false));
        }
    }
    Ok(())
}

/// Rewrites any SELECT, which may be a branch of a set operation.
pub(super) fn rewrite_select(select: &mut Select) -> Result<(), Refusal> {
    one_group(select);
    places_in_sets(select);
    join_lateral_items(select);
    write_windows_out(select, &mut [])?;
    tell_casts_apart(select, &mut []);
    Ok(())
}

/// `sum(a::int), sum(a)`: the planner names a call without the casts in it, and takes two of one name for one.
fn tell_casts_apart(select: &mut Select, sorts: &mut [&mut Expr]) {
    let mut calls: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    each_call(select, sorts, &mut |function| {
        calls.entry(named_by_planner(function)).or_default().insert(function.to_string());
    });
    calls.retain(|_, written| written.len() > 1);
    if calls.is_empty() {
        return;
    }
    each_call(select, sorts, &mut |function| {
        if !calls.contains_key(&named_by_planner(function)) {
            return;
        }
        for argument in arguments(function) {
            if matches!(argument, Expr::Cast { .. }) {
                *argument = call("coalesce", [take(argument)]);
            }
        }
    });
}

fn each_call(select: &mut Select, sorts: &mut [&mut Expr], visit: &mut dyn FnMut(&mut Function)) {
    let mut visit = |expr: &mut Expr| {
        if let Expr::Function(function) = expr
            && arguments(function).next().is_some()
        {
            visit(function);
        }
    };
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            each_own_expression(expr, &mut visit);
        }
    }
    for expr in select.having.iter_mut().chain(sorts.iter_mut().map(|sort| &mut **sort)) {
        each_own_expression(expr, &mut visit);
    }
}

fn arguments(function: &mut Function) -> impl Iterator<Item = &mut Expr> {
    let list = match &mut function.args {
        FunctionArguments::List(list) => list.args.as_mut_slice(),
        _ => &mut [],
    };
    list.iter_mut().filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    })
}

/// The call without the casts that are arguments of it.
fn named_by_planner(function: &Function) -> String {
    let mut bare = function.clone();
    for argument in arguments(&mut bare) {
        while let Expr::Cast { expr, .. } | Expr::Nested(expr) = argument {
            *argument = take(expr);
        }
    }
    bare.to_string()
}

/// `ORDER BY max(b)` where the select list has `max(b) AS b` is that column: the planner would take `b` for it.
fn place_of(sort: &Expr, items: &[SelectItem]) -> Option<usize> {
    if matches!(sort, Expr::Identifier(_) | Expr::Value(_)) {
        return None;
    }
    let place = items.iter().position(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => expr == sort,
        _ => false,
    })?;
    column_at(place, items).map(|_| place)
}

/// `FROM t, LATERAL (…) x JOIN u` is `FROM t CROSS JOIN LATERAL (…) x JOIN u`: within its item of the list what is lateral would not
/// see what stands before that.
fn join_lateral_items(select: &mut Select) {
    let mut items: Vec<TableWithJoins> = Vec::with_capacity(select.from.len());
    for item in std::mem::take(&mut select.from) {
        let is_lateral = std::iter::once(&item.relation).chain(item.joins.iter().map(|join| &join.relation)).any(sees_others);
        match items.last_mut() {
            Some(before) if is_lateral && !item.joins.is_empty() && item.joins.iter().all(keeps_left) => {
                before.joins.push(Join {
                    relation: item.relation,
                    global: false,
                    join_operator: JoinOperator::CrossJoin(JoinConstraint::None),
                });
                before.joins.extend(item.joins);
            }
            _ => items.push(item),
        }
    }
    select.from = items;
}

fn sees_others(factor: &TableFactor) -> bool {
    match factor {
        TableFactor::Derived { lateral, .. } => *lateral,
        TableFactor::Table { args, .. } => args.is_some(),
        TableFactor::Function { .. } | TableFactor::UNNEST { .. } => true,
        _ => false,
    }
}

/// Whether it may come after another join as well as before it.
fn keeps_left(join: &Join) -> bool {
    use JoinConstraint::{Natural, Using};
    match &join.join_operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::CrossJoin(constraint) => !matches!(constraint, Natural | Using(_)),
        _ => false,
    }
}

/// `GROUP BY ()`, and HAVING without GROUP BY: all rows are one group, also when there are none.
fn one_group(select: &mut Select) {
    let GroupByExpr::Expressions(groups, _) = &mut select.group_by else { return };
    let n_groups = groups.len();
    groups.retain(|group| !matches!(group, Expr::Tuple(parts) if parts.is_empty()));
    if groups.is_empty() && (n_groups > 0 || select.having.is_some()) {
        groups.push(Expr::GroupingSets(vec![vec![]]));
    }
}

/// `GROUP BY ROLLUP (1, 2)` names columns of the select list.
fn places_in_sets(select: &mut Select) {
    let Select { projection, group_by: GroupByExpr::Expressions(groups, _), .. } = select else { return };
    for group in groups {
        if let Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets) = group {
            for key in sets.iter_mut().flatten() {
                if let Some(column) = place(key).and_then(|place| column_at(place, projection)) {
                    *key = column.clone();
                }
            }
        }
    }
}

/// `OVER w` is what the window `w` is; `w2 AS (w ORDER BY k)` and `OVER (w ORDER BY k)` have the partitions and the order of `w`.
fn write_windows_out(select: &mut Select, sorts: &mut [&mut Expr]) -> Result<(), Refusal> {
    let mut windows = std::mem::take(&mut select.named_window);
    for place in 0..windows.len() {
        let (before, rest) = windows.split_at_mut(place);
        if let NamedWindowDefinition(_, NamedWindowExpr::WindowSpec(spec)) = &mut rest[0] {
            refine(spec, before)?;
        }
    }
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            refine_calls(expr, &windows)?;
        }
    }
    sorts.iter_mut().try_for_each(|sort| refine_calls(sort, &windows))
}

fn refine_calls(expr: &mut Expr, windows: &[NamedWindowDefinition]) -> Result<(), Refusal> {
    let mut refined = Ok(());
    each_own_expression(expr, &mut |expr| {
        let Expr::Function(function) = expr else { return };
        if refined.is_err() {
            return;
        }
        refined = match &mut function.over {
            Some(WindowType::WindowSpec(spec)) => refine(spec, windows),
            Some(WindowType::NamedWindow(name)) => base_of(name, windows).cloned().map(|spec| {
                function.over = Some(WindowType::WindowSpec(spec));
            }),
            None => Ok(()),
        };
    });
    refined
}

fn refine(spec: &mut WindowSpec, windows: &[NamedWindowDefinition]) -> Result<(), Refusal> {
    let Some(name) = spec.window_name.take() else { return Ok(()) };
    let base = base_of(&name, windows)?;
    let refuse =
        |what: &str| Err(Refusal::of_name(&name, Error::new(sqlstate::WINDOWING_ERROR, format!("cannot {what} \"{}\"", fold(&name)))));
    if !spec.partition_by.is_empty() {
        return refuse("override PARTITION BY clause of window");
    }
    if !spec.order_by.is_empty() && !base.order_by.is_empty() {
        return refuse("override ORDER BY clause of window");
    }
    if base.window_frame.is_some() {
        return refuse("copy window");
    }
    spec.partition_by.clone_from(&base.partition_by);
    if spec.order_by.is_empty() {
        spec.order_by.clone_from(&base.order_by);
    }
    Ok(())
}

fn base_of<'a>(name: &Ident, windows: &'a [NamedWindowDefinition]) -> Result<&'a WindowSpec, Refusal> {
    let found = windows.iter().find(|NamedWindowDefinition(known, _)| fold(known) == fold(name));
    match found {
        Some(NamedWindowDefinition(_, NamedWindowExpr::WindowSpec(spec))) => Ok(spec),
        Some(NamedWindowDefinition(_, NamedWindowExpr::NamedWindow(other))) if fold(other) != fold(name) => base_of(other, windows),
        _ => {
            let error = Error::new(sqlstate::UNDEFINED_OBJECT, format!("window \"{}\" does not exist", fold(name)));
            Err(Refusal::of_name(name, error))
        }
    }
}

/// The place of an output that has the name.
fn place_of_name(expr: &Expr, items: &[SelectItem]) -> Option<usize> {
    let Expr::Identifier(name) = expr else { return None };
    let place = items.iter().position(|item| matches!(item, SelectItem::ExprWithAlias { alias, .. } if fold(alias) == fold(name)))?;
    column_at(place, items).map(|_| place)
}

/// `DISTINCT ON (b, 1) a, b ORDER BY a, b` is `DISTINCT ON (a, b) …`; a name of an output is that output.
fn order_distinct(select: &mut Select, sorts: &[&Expr]) {
    let Some(Distinct::On(keys)) = &mut select.distinct else { return };
    // A number alone would be a place.
    let output = |place| match column_at(place, &select.projection)? {
        value @ Expr::Value(_) => Some(Expr::Nested(Box::new(value.clone()))),
        column => Some(column.clone()),
    };
    for key in keys.iter_mut() {
        if let Some(output) = place(key).or_else(|| place_of_name(key, &select.projection)).and_then(output) {
            *key = output;
        }
    }
    let resolved = |sort: &Expr| place(sort).and_then(output).unwrap_or_else(|| sort.clone());
    for (target, sort) in sorts.iter().enumerate().take(keys.len()) {
        let sort = resolved(sort);
        match keys[target..].iter().position(|key| *key == sort) {
            Some(found) => keys.swap(target, target + found),
            None => return,
        }
    }
}

/// A place in the select list, from 0.
fn place(expr: &Expr) -> Option<usize> {
    let Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) = expr else { return None };
    digits.to_string().parse::<usize>().ok()?.checked_sub(1)
}

fn column_at(place: usize, items: &[SelectItem]) -> Option<&Expr> {
    let has_wildcard = items.iter().any(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)));
    match items.get(place)? {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } if !has_wildcard => Some(expr),
        _ => None,
    }
}

/// `(SELECT t.a)` in FROM has a column `a`, where `t` is of a query around.
pub(super) fn name_outer_columns(factor: &mut TableFactor) {
    if let TableFactor::Derived { subquery, .. } = factor {
        name_outer_columns_of(&mut subquery.body);
    }
}

fn name_outer_columns_of(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => {
            let Select { projection, from, .. } = select.as_mut();
            for item in projection {
                let name = match item {
                    SelectItem::UnnamedExpr(Expr::Identifier(name)) if from.is_empty() => name.clone(),
                    SelectItem::UnnamedExpr(Expr::CompoundIdentifier(path))
                        if path.len() > 1 && !has_relation(from, &path[path.len() - 2]) =>
                    {
                        path[path.len() - 1].clone()
                    }
                    _ => continue,
                };
                if let SelectItem::UnnamedExpr(expr) = item {
                    *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: name };
                }
            }
        }
        SetExpr::Query(query) => name_outer_columns_of(&mut query.body),
        SetExpr::SetOperation { left, right, .. } => {
            name_outer_columns_of(left);
            name_outer_columns_of(right);
        }
        _ => {}
    }
}

/// Whether one of the relations in FROM is called so; one that cannot be told is taken for it.
fn has_relation(from: &[TableWithJoins], name: &Ident) -> bool {
    let factors = from.iter().flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)));
    factors.into_iter().any(|factor| match factor {
        TableFactor::NestedJoin { alias: None, table_with_joins } => has_relation(std::slice::from_ref(table_with_joins), name),
        factor => shared_columns::name_of(factor).is_none_or(|known| fold(&known) == fold(name)),
    })
}

/// `(a, b) IS NULL`: all of them are; `(a, b) IS NOT NULL`: none is.
pub(super) fn nulls_of_row(expr: &mut Expr) {
    let (Expr::IsNull(row) | Expr::IsNotNull(row)) = &*expr else { return };
    let mut row = row.as_ref();
    while let Expr::Nested(inner) = row {
        row = inner;
    }
    let fields: Vec<Expr> = match row {
        Expr::Tuple(fields) => fields.clone(),
        Expr::Function(function) if is_named(function, "row") => match plain_arguments(function) {
            Some(fields) => fields.into_iter().cloned().collect(),
            None => return,
        },
        _ => return,
    };
    let is_null = matches!(expr, Expr::IsNull(_));
    let test = |field| if is_null { Expr::IsNull(Box::new(field)) } else { Expr::IsNotNull(Box::new(field)) };
    let Some(all) = fields.into_iter().map(test).reduce(shared_columns::both) else { return };
    *expr = Expr::Nested(Box::new(all));
}
