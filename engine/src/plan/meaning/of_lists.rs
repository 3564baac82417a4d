//! Aggregates that are a function of the list of a group's values: `json_agg(x ORDER BY y)` becomes
//! `json_agg_of(array_agg(to_json(x) ORDER BY y))`, with DISTINCT, FILTER and OVER where they were.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, Ident, ObjectName,
};

use super::{call, is_named, take};

/// Rewrites a call of one of them.
pub(super) fn rewrite(expr: &mut Expr) {
    let Expr::Function(function) = expr else { return };
    let Some(OfList { name, further }) = of_list(function) else { return };
    function.name = ObjectName::from(vec![Ident::new("array_agg")]);
    let list = take(expr);
    *expr = call(name, std::iter::once(list).chain(further));
}

/// The function of the list, and its arguments behind that.
struct OfList {
    name: &'static str,
    further: Option<Expr>,
}

/// Makes the call one of `array_agg`, but for its name.
fn of_list(function: &mut Function) -> Option<OfList> {
    let is_one_of = |names: [&'static str; 2]| names.into_iter().find(|name| is_named(function, name));
    if let Some(name) = is_one_of(["json_agg", "jsonb_agg"]) {
        let is_distinct = is_distinct(function);
        let [value] = arguments(function)? else { return None };
        if !is_distinct {
            replace(value, |value| call("to_json", [value]));
        }
        let name = match (name, is_distinct) {
            ("json_agg", false) => "json_agg_of",
            ("json_agg", true) => "json_agg_of_values",
            (_, false) => "jsonb_agg_of",
            (_, true) => "jsonb_agg_of_values",
        };
        return Some(OfList { name, further: None });
    }
    if let Some(name) = is_one_of(["json_object_agg", "jsonb_object_agg"]) {
        let [key, value] = arguments(function)? else { return None };
        let (key, value) = (expression(key)?.clone(), expression(value)?.clone());
        let key = Expr::Cast { kind: CastKind::Cast, expr: Box::new(key), data_type: DataType::Text, array: false, format: None };
        set_arguments(function, call("struct", [key, call("to_json", [value])]));
        let name = if name == "json_object_agg" { "json_object_agg_of" } else { "jsonb_object_agg_of" };
        return Some(OfList { name, further: None });
    }
    if is_named(function, "mode") {
        let [] = arguments(function)? else { return None };
        return sorted(function).then_some(OfList { name: "mode_of", further: None });
    }
    let name = match is_one_of(["percentile_disc", "percentile_cont"])? {
        "percentile_disc" => "percentile_disc_of",
        _ => "percentile_cont_of",
    };
    let [fraction] = arguments(function)? else { return None };
    let fraction = expression(fraction)?.clone();
    // A continuous percentile of one fraction is an aggregate of its own.
    let is_mine = name == "percentile_disc_of" || matches!(fraction, Expr::Array(_) | Expr::Cast { .. });
    (is_mine && sorted(function)).then_some(OfList { name, further: Some(fraction) })
}

/// `f(…) WITHIN GROUP (ORDER BY x)` → `f(x ORDER BY x) FILTER (WHERE x IS NOT NULL)`
fn sorted(function: &mut Function) -> bool {
    let [by] = function.within_group.as_slice() else { return false };
    let value = by.expr.clone();
    let order = FunctionArgumentClause::OrderBy(std::mem::take(&mut function.within_group));
    set_arguments(function, value.clone());
    if let FunctionArguments::List(list) = &mut function.args {
        list.clauses.push(order);
    }
    let is_there = Expr::IsNotNull(Box::new(value));
    let filter = match function.filter.take() {
        Some(filter) => Expr::BinaryOp { left: Box::new(Expr::Nested(filter)), op: BinaryOperator::And, right: Box::new(is_there) },
        None => is_there,
    };
    function.filter = Some(Box::new(filter));
    true
}

fn is_distinct(function: &Function) -> bool {
    matches!(&function.args, FunctionArguments::List(list) if list.duplicate_treatment == Some(DuplicateTreatment::Distinct))
}

fn arguments(function: &mut Function) -> Option<&mut [FunctionArg]> {
    match &mut function.args {
        FunctionArguments::List(list) => Some(&mut list.args),
        FunctionArguments::None | FunctionArguments::Subquery(_) => None,
    }
}

fn set_arguments(function: &mut Function, value: Expr) {
    if let FunctionArguments::List(list) = &mut function.args {
        list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(value))];
    }
}

fn expression(argument: &FunctionArg) -> Option<&Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Some(value),
        _ => None,
    }
}

fn replace(argument: &mut FunctionArg, with: impl FnOnce(Expr) -> Expr) {
    if let FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) = argument {
        *value = with(take(value));
    }
}
