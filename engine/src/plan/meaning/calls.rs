//! Operators and calls that DataFusion's planner reads otherwise, as calls of the functions Postgres has for them.

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgOperator, FunctionArguments, TimezoneInfo, UnaryOperator,
    Value, ValueWithSpan,
};

use super::{call, is_named, plain_arguments, take};
use crate::functions::scalar::patterns;

/// `~a`, `|/a`, `||/a`, `@a`, and `-rank() OVER (…)`.
pub(super) fn rewrite_unary(expr: &mut Expr) {
    let Expr::UnaryOp { op, expr: argument } = expr else { return };
    let name = match op {
        // Places have no sign for the planner.
        UnaryOperator::Minus if is_ranking(argument) => {
            **argument = Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(take(argument)),
                data_type: DataType::BigInt(None),
                array: false,
                format: None,
            };
            return;
        }
        UnaryOperator::BitwiseNot => "bitnot",
        UnaryOperator::PGSquareRoot => "sqrt",
        UnaryOperator::PGCubeRoot => "cbrt",
        UnaryOperator::PGAbs => "abs",
        _ => return,
    };
    let Expr::UnaryOp { expr: argument, .. } = take(expr) else { return };
    *expr = call(name, [*argument]);
}

fn is_ranking(expr: &Expr) -> bool {
    const RANKINGS: [&str; 4] = ["row_number", "rank", "dense_rank", "ntile"];
    match expr {
        Expr::Nested(inner) => is_ranking(inner),
        Expr::Function(function) => function.over.is_some() && RANKINGS.iter().any(|name| is_named(function, name)),
        _ => false,
    }
}

/// `AT TIME ZONE`, `SIMILAR TO`, `LIKE … ESCAPE`.
pub(super) fn rewrite_operator(expr: &mut Expr) {
    match take(expr) {
        Expr::AtTimeZone { timestamp, time_zone } => *expr = call("timezone", [*time_zone, *timestamp]),
        Expr::SimilarTo { negated, expr: text, pattern, escape_char } => {
            let arguments = [*text, *pattern].into_iter().chain(escape_char.map(Expr::Value));
            *expr = negated_if(negated, call(patterns::SIMILAR, arguments));
        }
        Expr::Like { negated, any: false, expr: text, pattern, escape_char: Some(escape) } => {
            *expr = negated_if(negated, call(patterns::LIKE_ESCAPE, [*text, *pattern, Expr::Value(escape)]));
        }
        Expr::ILike { negated, any: false, expr: text, pattern, escape_char: Some(escape) } => {
            *expr = negated_if(negated, call(patterns::ILIKE_ESCAPE, [*text, *pattern, Expr::Value(escape)]));
        }
        other => *expr = other,
    }
}

fn negated_if(negated: bool, expr: Expr) -> Expr {
    match negated {
        true => Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(expr) },
        false => expr,
    }
}

/// Calls whose arguments are not what they seem.
pub(super) fn rewrite_call(expr: &mut Expr) {
    let Expr::Function(function) = expr else { return };
    if is_named(function, "pg_typeof") {
        // a literal has no type yet
        let is_untyped =
            |argument: &Expr| matches!(argument, Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(_) | Value::Null, .. }));
        if plain_arguments(function).is_some_and(|arguments| matches!(arguments.as_slice(), [argument] if is_untyped(argument))) {
            *expr = Expr::value(Value::SingleQuotedString("unknown".into()));
        }
    } else if is_named(function, "make_interval") {
        if let Some(arguments) = interval_parts(function) {
            *expr = call("make_interval_of", arguments);
        }
    } else if is_named(function, "localtimestamp") && plain_arguments(function).is_some_and(|arguments| arguments.is_empty()) {
        // without a precision: microseconds
        let data_type = DataType::Timestamp(None, TimezoneInfo::None);
        *expr = Expr::Cast { kind: CastKind::Cast, expr: Box::new(call("now", [])), data_type, array: false, format: None };
    }
}

/// The parts of `make_interval(days => 3, …)` in their order, zero where none is given.
fn interval_parts(function: &Function) -> Option<Vec<Expr>> {
    const PARTS: [&str; 7] = ["years", "months", "weeks", "days", "hours", "mins", "secs"];
    let FunctionArguments::List(list) = &function.args else { return None };
    let zero = |at: usize| match at {
        6 => Expr::value(Value::Number("0".into(), false)),
        _ => super::literals::integer(0),
    };
    let mut parts: Vec<Expr> = (0..PARTS.len()).map(zero).collect();
    for (at, argument) in list.args.iter().enumerate() {
        let (place, value) = match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => (at, value),
            FunctionArg::Named {
                name,
                arg: FunctionArgExpr::Expr(value),
                operator: FunctionArgOperator::RightArrow | FunctionArgOperator::Assignment | FunctionArgOperator::Equals,
            } => (PARTS.iter().position(|part| name.value.eq_ignore_ascii_case(part))?, value),
            _ => return None,
        };
        *parts.get_mut(place)? = value.clone();
    }
    Some(parts)
}
