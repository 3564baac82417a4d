//! Literals with the types Postgres gives them: `1` is an integer, `1.5` a numeric, `'…'` of no type until it meets one.
//!
//! DataFusion reads every whole number as a bigint. A cast makes an integer of it, except where a number is not a value:
//! places of ORDER BY and GROUP BY, LIMIT, and arguments that DataFusion wants as they are ([`PLACES`]). Such numbers are marked
//! first, by the flag sqlparser has for numbers of another dialect.

use datafusion::sql::sqlparser::ast::{
    self, DateTimeField, Distinct, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, LimitClause, OrderByKind, Query,
    Select, TypedString, UnaryOperator, Value,
};

use catalog::SqlType;

use super::{call, take};
use crate::functions::input;
use crate::plan::parse::types::{data_type, sql_type};

/// Functions whose whole-number arguments are read while planning.
const PLACES: &[&str] = &[
    "round",
    "trunc",
    "count",
    "lag",
    "lead",
    "ntile",
    "nth_value",
    "generate_series",
    "range",
    "approx_percentile_cont",
    "percentile_cont",
    "percentile_disc",
    "array_agg",
    "string_agg",
    "grouping",
    "tumble",
    "hop",
    "cumulate",
];

/// Numbers that are not values: marks them in the clauses of a query.
pub(super) fn mark_in_query(query: &mut Query) {
    if let Some(order_by) = &mut query.order_by {
        if let OrderByKind::Expressions(expressions) = &mut order_by.kind {
            expressions.iter_mut().for_each(|by| mark(&mut by.expr));
        }
    }
    match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit, offset, .. }) => {
            limit.iter_mut().for_each(whole);
            offset.iter_mut().for_each(|offset| whole(&mut offset.value));
        }
        Some(LimitClause::OffsetCommaLimit { offset, limit }) => [offset, limit].into_iter().for_each(whole),
        None => {}
    }
    if let ast::SetExpr::Values(values) = query.body.as_mut() {
        for place in 0..values.rows.first().map_or(0, |row| row.content.len()) {
            one_kind_of_float(values.rows.iter_mut().filter_map(|row| row.content.get_mut(place)).collect());
        }
        values.rows.iter_mut().flat_map(|row| &mut row.content).for_each(plain_cell);
    }
}

/// A column of VALUES in which one cell is a double is one of doubles: the planner would make it one of numerics.
fn one_kind_of_float(cells: Vec<&mut Expr>) {
    let Some(widest) = cells.iter().filter_map(|cell| float_type(cell)).max_by_key(|found| *found == SqlType::Double) else { return };
    for cell in cells {
        if float_type(cell).as_ref() != Some(&widest) {
            *cell = cast(take(cell), &widest);
        }
    }
}

/// The kind of float that an expression is by a cast in it.
fn float_type(expr: &Expr) -> Option<SqlType> {
    match expr {
        Expr::Cast { data_type: declared, .. } | Expr::TypedString(TypedString { data_type: declared, .. }) => {
            sql_type(declared).ok().filter(|found| matches!(found, SqlType::Real | SqlType::Double))
        }
        Expr::Nested(inner) | Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr: inner } => float_type(inner),
        _ => None,
    }
}

/// The rows of VALUES must agree in what their columns carry, and only some may be cast to `varchar`: all are text.
fn plain_cell(cell: &mut Expr) {
    let Expr::Cast { kind: ast::CastKind::Cast | ast::CastKind::DoubleColon, expr: inner, data_type: declared, .. } = cell else { return };
    match sql_type(declared) {
        Ok(SqlType::Varchar(None) | SqlType::Json | SqlType::Jsonb | SqlType::Uuid) if !is_text(inner) => {
            *declared = data_type(&SqlType::Text)
        }
        Ok(to @ (SqlType::Json | SqlType::Jsonb | SqlType::Uuid)) => {
            if let Expr::Value(value) = inner.as_ref() {
                let text = value.clone().into_string().unwrap_or_default();
                *cell = read_as(&text, &to);
            }
        }
        Ok(SqlType::Varchar(None)) => *declared = data_type(&SqlType::Text),
        Ok(to @ (SqlType::Varchar(Some(_)) | SqlType::Char(_))) => *cell = cut(take(inner), &to),
        _ => {}
    }
}

/// A count of rows: Postgres makes a bigint of what is none.
fn whole(expr: &mut Expr) {
    let is_plain = match &*expr {
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => number.bytes().all(|byte| byte.is_ascii_digit()),
            Value::SingleQuotedString(_) => false,
            _ => true,
        },
        Expr::BinaryOp { .. } | Expr::Cast { .. } => false,
        _ => true,
    };
    match is_plain {
        true => mark(expr),
        false => *expr = cast(take(expr), &SqlType::BigInt),
    }
}

fn is_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(ast::ValueWithSpan { value: Value::SingleQuotedString(_) | Value::EscapedStringLiteral(_), .. }))
}

/// What `varchar(n)` or `char(n)` keeps of a text in an explicit cast.
fn cut(text: Expr, to: &SqlType) -> Expr {
    let (function, length) = match to {
        SqlType::Char(length) => ("char_of", *length),
        SqlType::Varchar(Some(length)) => ("varchar_of", *length),
        _ => return text,
    };
    call(function, [cast(text, &SqlType::Text), cast(number(length.to_string()), &SqlType::Integer)])
}

/// The same for the clauses of a SELECT.
pub(super) fn mark_in_select(select: &mut Select) {
    if let GroupByExpr::Expressions(expressions, _) = &mut select.group_by {
        expressions.iter_mut().for_each(mark_places);
    }
    if let Some(Distinct::On(expressions)) = &mut select.distinct {
        expressions.iter_mut().for_each(mark);
    }
}

/// The same for the arguments of calls.
pub(super) fn mark_in_call(function: &mut ast::Function) {
    let name = function.name.0.last().and_then(|part| part.as_ident()).map(|ident| ident.value.to_ascii_lowercase());
    if let Some(ast::WindowType::WindowSpec(window)) = &mut function.over {
        if let Some(frame) = &mut window.window_frame {
            mark_bound(&mut frame.start_bound);
            frame.end_bound.iter_mut().for_each(mark_bound);
        }
    }
    if name.is_none_or(|name| !PLACES.contains(&name.as_str())) {
        return;
    }
    if let FunctionArguments::List(list) = &mut function.args {
        list.args.iter_mut().for_each(mark_argument);
    }
}

/// The same for the arguments of a function in FROM.
pub(super) fn mark_argument(argument: &mut FunctionArg) {
    if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) | FunctionArg::Named { arg: FunctionArgExpr::Expr(expr), .. } = argument {
        mark(expr);
    }
}

/// The precision that marks an interval as one that stays: no one asks for so many digits.
const KEPT: u64 = u64::MAX;

fn mark_bound(bound: &mut ast::WindowFrameBound) {
    if let ast::WindowFrameBound::Preceding(Some(expr)) | ast::WindowFrameBound::Following(Some(expr)) = bound {
        match expr.as_mut() {
            // DataFusion wants it as it is
            Expr::Interval(interval) => interval.leading_precision = Some(KEPT),
            _ => mark(expr),
        }
    }
}

fn mark_places(expr: &mut Expr) {
    match expr {
        Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => sets.iter_mut().flatten().for_each(mark),
        other => mark(other),
    }
}

/// Marks `1`, `-1` and what is only in parentheses.
fn mark(expr: &mut Expr) {
    match expr {
        Expr::Value(value) => {
            if let Value::Number(_, marked) = &mut value.value {
                *marked = true;
            }
        }
        Expr::UnaryOp { expr, .. } | Expr::Nested(expr) => mark(expr),
        _ => {}
    }
}

/// The rewrites of literals; true when `expr` was one.
pub(super) fn rewrite(expr: &mut Expr) -> bool {
    match expr {
        Expr::Value(value) => {
            if let Value::Number(number, marked) = &mut value.value {
                match std::mem::take(marked) {
                    true => {}
                    false => {
                        let number = std::mem::take(number);
                        *expr = typed_number(number);
                    }
                }
            }
            true
        }
        Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => match negative(inner) {
            Some(negative) => {
                *expr = negative;
                true
            }
            None => false,
        },
        Expr::TypedString(TypedString { data_type, value, .. }) => {
            let Some(text) = value.clone().into_string() else { return false };
            let Ok(sql_type) = sql_type(data_type) else { return false };
            *expr = read_as(&text, &sql_type);
            true
        }
        Expr::Interval(interval) if interval.leading_precision == Some(KEPT) => {
            interval.leading_precision = None;
            true
        }
        Expr::Interval(interval) => {
            let Some(text) = interval_text(interval) else { return false };
            *expr = read_as(&text, &SqlType::Interval);
            true
        }
        Expr::Cast { .. } => read_cast(expr),
        _ => false,
    }
}

fn number(text: String) -> Expr {
    Expr::value(Value::Number(text, false))
}

fn cast(expr: Expr, sql_type: &SqlType) -> Expr {
    Expr::Cast { kind: ast::CastKind::Cast, expr: Box::new(expr), data_type: data_type(sql_type), format: None, array: false }
}

/// An integer constant.
pub(super) fn integer(value: i32) -> Expr {
    cast(number(value.to_string()), &SqlType::Integer)
}

/// A number as Postgres types it: integer, bigint, or numeric with the scale it is written with. What has more than 38
/// digits is a double, which holds it nearly.
fn typed_number(text: String) -> Expr {
    let digits: String = text.chars().filter(|c| *c != '_').collect();
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return match digits.parse::<i64>() {
            Ok(value) if i32::try_from(value).is_ok() => cast(number(digits), &SqlType::Integer),
            Ok(_) => number(digits),
            Err(_) => numeric_or_double(&digits),
        };
    }
    match digits.contains(['e', 'E']) {
        true => numeric_or_double(&digits),
        false if digits.len() <= 38 => number(text),
        false => numeric_or_double(&digits),
    }
}

fn numeric_or_double(digits: &str) -> Expr {
    match written_numeric(digits) {
        Some(sql_type) => read_as(digits, &sql_type),
        None => read_as(digits, &SqlType::Double),
    }
}

/// The numeric that holds a number as it is written, in up to 38 digits.
fn written_numeric(text: &str) -> Option<SqlType> {
    let text = text.trim().trim_start_matches(['-', '+']);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) || whole.len() + fraction.len() == 0 {
        return None;
    }
    let scale = (fraction.len() as i64 - exponent).max(0);
    let whole = (whole.trim_start_matches('0').len() as i64 + exponent).max(0);
    let fits = whole + scale <= 38;
    fits.then_some(SqlType::Numeric(Some(((whole + scale).max(1) as u8, scale as i8))))
}

/// `-1` is one number.
fn negative(inner: &mut Box<Expr>) -> Option<Expr> {
    match inner.as_mut() {
        Expr::Cast { expr, .. } => match expr.as_mut() {
            // what `typed_number` made of the number
            Expr::Value(value) if matches!(&value.value, Value::Number(..)) => {
                let Expr::Cast { expr, data_type, .. } = take(inner) else { return None };
                let minus = Expr::UnaryOp { op: UnaryOperator::Minus, expr };
                Some(Expr::Cast { kind: ast::CastKind::Cast, expr: Box::new(minus), data_type, format: None, array: false })
            }
            _ => None,
        },
        _ => None,
    }
}

/// A string literal as a value of a type.
pub(in crate::plan) fn read_as(text: &str, sql_type: &SqlType) -> Expr {
    let literal = |text: &str| Expr::value(Value::SingleQuotedString(text.into()));
    call(input::NAME, [literal(text), literal(&sql_type.to_string())])
}

/// `'1 day 02:03'::interval`: a literal is read by the type's input rules where DataFusion's cast knows other ones.
fn read_cast(expr: &mut Expr) -> bool {
    let Expr::Cast { kind: ast::CastKind::Cast | ast::CastKind::DoubleColon, expr: inner, data_type, .. } = expr else { return false };
    let Ok(to) = sql_type(data_type) else { return false };
    // `('{1}')::int[]`, as Django writes its values
    if let Expr::Nested(literal) = inner.as_mut()
        && is_text(literal)
    {
        **inner = take(literal);
    }
    if matches!(to, SqlType::Varchar(Some(_)) | SqlType::Char(_)) {
        // the type again, so that the column is known by it
        **inner = cut(take(inner), &to);
        return true;
    }
    match inner.as_ref() {
        Expr::Value(ast::ValueWithSpan { value: Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text), .. }) => {
            // `'5'::interval day` counts days
            if let ast::DataType::Interval { fields: Some(fields), .. } = &*data_type {
                let unit = fields.to_string().to_ascii_lowercase();
                let unit = unit.rsplit(' ').next().unwrap_or_default().to_string();
                let text = if is_integer(text.trim()) { format!("{text} {unit}") } else { text.clone() };
                *expr = read_as(&text, &to);
                return true;
            }
            let to = match to {
                SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_) => return false,
                SqlType::Numeric(None) => written_numeric(text).unwrap_or(SqlType::Numeric(None)),
                other => other,
            };
            let read = read_as(text, &to);
            match to {
                // the type again, as above
                SqlType::Uuid | SqlType::Json | SqlType::Jsonb => **inner = read,
                _ => *expr = read,
            }
            true
        }
        // `1::numeric` has no digits behind the point
        Expr::Cast { expr: number, .. } if to == SqlType::Numeric(None) => match number.as_ref() {
            Expr::Value(ast::ValueWithSpan { value: Value::Number(digits, _), .. }) => {
                let Some(written) = written_numeric(digits) else { return false };
                *data_type = crate::plan::parse::types::data_type(&written);
                true
            }
            _ => false,
        },
        // `1.50::numeric` is what it is
        Expr::Value(ast::ValueWithSpan { value: Value::Number(..), .. }) if to == SqlType::Numeric(None) => {
            *expr = take(inner);
            true
        }
        _ => false,
    }
}

/// `ARRAY['…']::t[]`: literals in it are of the type that the whole is cast to.
pub(super) fn cast_items(expr: &mut Expr) {
    let Expr::Cast { kind: ast::CastKind::Cast | ast::CastKind::DoubleColon, expr: inner, data_type, .. } = expr else { return };
    let (Expr::Array(items), ast::DataType::Array(ast::ArrayElemTypeDef::SquareBracket(item, _))) = (inner.as_mut(), data_type) else {
        return;
    };
    for literal in items.elem.iter_mut().filter(|item| is_text(item)) {
        let (expr, data_type) = (Box::new(take(literal)), item.as_ref().clone());
        *literal = Expr::Cast { kind: ast::CastKind::Cast, expr, data_type, format: None, array: false };
    }
}

fn is_integer(text: &str) -> bool {
    let digits = text.trim_start_matches(['-', '+']);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// The text of an interval literal with the unit it is followed by; a bare number counts the last unit.
fn interval_text(interval: &ast::Interval) -> Option<String> {
    let text = match interval.value.as_ref() {
        Expr::Value(ast::ValueWithSpan { value: Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text), .. }) => text.trim(),
        _ => return None,
    };
    let Some(first) = &interval.leading_field else { return Some(text.to_string()) };
    let last = interval.last_field.as_ref().unwrap_or(first);
    let is_bare = text.trim_start_matches(['-', '+']).bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_bare {
        return Some(format!("{text} {}", last.to_string().to_ascii_lowercase()));
    }
    // `3 10:30` are days and a time
    if let Some((days, clock)) = text.split_once(' ').filter(|(days, clock)| is_integer(days) && clock.contains(':')) {
        return Some(format!("{days} days {clock}"));
    }
    // `10:30` is hours and minutes unless it says otherwise
    let is_clock = text.matches(':').count() == 1;
    match (first, last) {
        (DateTimeField::Minute, DateTimeField::Second) | (DateTimeField::Hour | DateTimeField::Day, DateTimeField::Second) if is_clock => {
            let (days, clock) = text.rsplit_once(' ').unwrap_or(("", text));
            let (sign, clock) = match clock.strip_prefix('-') {
                Some(clock) => ("-", clock),
                None => ("", clock),
            };
            match first {
                DateTimeField::Minute => Some(format!("{days} {sign}0:{clock}")),
                _ => Some(text.to_string()),
            }
        }
        _ => Some(text.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numerics_have_the_scale_they_are_written_with() {
        let check = |text: &str, expected: Option<(u8, i8)>| {
            assert_eq!(written_numeric(text), expected.map(|modifier| SqlType::Numeric(Some(modifier))), "{text}");
        };
        check("1.50", Some((3, 2)));
        check("0.001", Some((3, 3)));
        check("1e3", Some((4, 0)));
        check("1.5e-3", Some((4, 4)));
        check("1e300", None);
        check("x", None);
    }
}
