//! Flink's older spelling: `GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE)` with `TUMBLE_START(ts, …)` in the select list, and
//! the same for HOP over one relation.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, GroupByExpr, Ident, Select, TableFactor, VisitMut, VisitorMut};

use super::arguments::Arguments;
use super::{Kind, Lengths, Refusal, is_named, no_session, plain_arguments, plus, tumble_start, windowed};
use crate::plan::names;
use crate::{Error, Result};

/// A window called in GROUP BY.
struct Grouped {
    kind: Kind,
    /// The call itself, to find it again.
    call: Expr,
    time: Expr,
    intervals: Vec<Expr>,
    lengths: Lengths,
}

/// Rewrites the window functions in a GROUP BY, in place.
pub fn rewrite_group_by(select: &mut Select) -> Result<(), Refusal> {
    let GroupByExpr::Expressions(keys, _) = &select.group_by else { return Ok(()) };
    let mut found = vec![];
    for key in keys {
        found.extend(grouped(key)?);
    }
    match found.as_slice() {
        [] => Ok(()),
        [window] if window.kind == Kind::Tumble => {
            rewrite_tumble(select, window);
            Ok(())
        }
        [window] => rewrite_hop(select, window),
        [_, second, ..] => Err(Refusal::of(&second.call, not_simple())),
    }
}

fn not_simple() -> Error {
    Error::unsupported(
        "this use of a window function in GROUP BY is not supported",
        "put the window into FROM and group by it: FROM TUMBLE(bid, ts, INTERVAL '1 minute') GROUP BY window_start, window_end",
    )
}

/// The window a key of GROUP BY calls, if it does.
fn grouped(key: &Expr) -> Result<Option<Grouped>, Refusal> {
    let Expr::Function(function) = key else { return Ok(None) };
    if is_named(function, "session") {
        return Err(Refusal::of(key, no_session()));
    }
    let Some(kind) = Kind::named(&function.name) else { return Ok(None) };
    let arguments = plain_arguments(function).ok_or_else(|| Refusal::of(key, not_simple()))?;
    let [time, intervals @ ..] = arguments.as_slice() else { return Err(Refusal::of(key, not_simple())) };
    let n_intervals = kind.intervals().len();
    if kind == Kind::Cumulate || !(n_intervals..=n_intervals + 1).contains(&intervals.len()) {
        return Err(Refusal::of(key, not_simple()));
    }
    let lengths = Lengths::new(kind, intervals)?;
    let intervals = intervals.iter().map(|interval| (*interval).clone()).collect();
    Ok(Some(Grouped { kind, call: key.clone(), time: (*time).clone(), intervals, lengths }))
}

/// The key becomes `tumble_start(…)`; `TUMBLE_START` and `TUMBLE_END` are rewritten wherever they stand. Rows without a
/// time are in no window.
fn rewrite_tumble(select: &mut Select, window: &Grouped) {
    let start = tumble_start(window.time.clone(), window.lengths);
    replace(select, &|expr| (*expr == window.call).then(|| start.clone()));
    let has_time = Expr::IsNotNull(Box::new(window.time.clone()));
    select.selection = Some(match select.selection.take() {
        None => has_time,
        Some(predicate) => {
            Expr::BinaryOp { left: Box::new(Expr::Nested(Box::new(predicate))), op: BinaryOperator::And, right: Box::new(has_time) }
        }
    });
}

/// The relation becomes `HOP(…)` in FROM, the key its `window_start`.
fn rewrite_hop(select: &mut Select, window: &Grouped) -> Result<(), Refusal> {
    let refused = || Refusal::of(&window.call, not_simple());
    let [from] = select.from.as_mut_slice() else { return Err(refused()) };
    if !from.joins.is_empty() {
        return Err(refused());
    }
    let mut input = from.relation.clone();
    let alias = match &mut input {
        TableFactor::Table { name, alias, args: None, .. } => match alias.take() {
            Some(alias) if alias.columns.is_empty() => alias.name,
            Some(_) => return Err(refused()),
            None => Ident::with_quote('"', names::name(name).map_err(|error| Refusal::of(&window.call, error))?.name),
        },
        TableFactor::Derived { alias, lateral: false, .. } => match alias.take() {
            Some(alias) if alias.columns.is_empty() => alias.name,
            _ => return Err(refused()),
        },
        _ => return Err(refused()),
    };
    let arguments = Arguments { input, alias, time: window.time.clone(), intervals: window.intervals.clone(), descriptor: false };
    from.relation = windowed(window.kind, arguments, None)?;
    let start = Expr::Identifier(Ident::new("window_start"));
    replace(select, &|expr| {
        let Expr::Function(function) = expr else { return None };
        match () {
            _ if *expr == window.call => Some(start.clone()),
            _ if is_named(function, "hop_start") => Some(start.clone()),
            _ if is_named(function, "hop_end") => Some(plus(start.clone(), window.lengths.size)),
            _ => None,
        }
    });
    Ok(())
}

/// Replaces expressions in what GROUP BY governs.
fn replace(select: &mut Select, each: &dyn Fn(&Expr) -> Option<Expr>) {
    let mut replacer = Replacer { each };
    let _ = VisitMut::visit(&mut select.projection, &mut replacer);
    let _ = VisitMut::visit(&mut select.having, &mut replacer);
    if let GroupByExpr::Expressions(keys, _) = &mut select.group_by {
        let _ = VisitMut::visit(keys, &mut replacer);
    }
}

struct Replacer<'a> {
    each: &'a dyn Fn(&Expr) -> Option<Expr>,
}

impl VisitorMut for Replacer<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(replacement) = (self.each)(expr) {
            *expr = replacement;
        }
        ControlFlow::Continue(())
    }
}
