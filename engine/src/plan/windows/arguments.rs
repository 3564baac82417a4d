//! The arguments of a window function in FROM, in either spelling.

use arrow::compute::kernels::cast_utils::IntervalUnit;
use arrow::compute::kernels::cast_utils::{IntervalParseConfig, parse_interval_month_day_nano_config};
use arrow::datatypes::IntervalMonthDayNano;
use datafusion::sql::sqlparser::ast::{
    DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, TableAlias, TableFactor, Value,
};

use super::{Kind, Refusal, is_named, plain_arguments, take};
use crate::error::sqlstate;
use crate::plan::dialect::TABLE_ARGUMENT;
use crate::{Error, Result};

/// What a window function is over.
pub(super) struct Arguments {
    /// The relation or subquery, without an alias.
    pub(super) input: TableFactor,
    /// What the input is called inside, and outside when nothing else is said.
    pub(super) alias: Ident,
    /// The time.
    pub(super) time: Expr,
    /// The intervals of the kind, then perhaps the offset.
    pub(super) intervals: Vec<Expr>,
    /// The time was given as `DESCRIPTOR(ts)`.
    pub(super) descriptor: bool,
}

/// The name, arguments and alias of a function in FROM.
pub(super) fn of_factor(factor: &TableFactor) -> Option<(&ObjectName, &[FunctionArg], Option<&TableAlias>)> {
    match factor {
        TableFactor::Table { name, args: Some(args), alias, .. } => Some((name, &args.args, alias.as_ref())),
        TableFactor::Function { lateral: false, name, args, alias, .. } => Some((name, args, alias.as_ref())),
        TableFactor::TableFunction { expr: Expr::Function(function), alias } => match &function.args {
            FunctionArguments::List(list) => Some((&function.name, &list.args, alias.as_ref())),
            _ => None,
        },
        _ => None,
    }
}

impl Arguments {
    pub(super) fn new(kind: Kind, arguments: &[FunctionArg]) -> Result<Self, Refusal> {
        let given = in_order(kind, arguments)?;
        let [input, time, intervals @ ..] = given.as_slice() else { return Err(unplaced(usage(kind))) };
        if !(kind.intervals().len()..=kind.intervals().len() + 1).contains(&intervals.len()) {
            return Err(unplaced(usage(kind)));
        }
        let (input, alias) = relation(kind, (*input).clone()).ok_or_else(|| Refusal::of(*input, usage(kind)))?;
        let (time, descriptor) = descriptor((*time).clone())?;
        let intervals = intervals.iter().map(|interval| (*interval).clone()).collect();
        Ok(Self { input, alias, time, intervals, descriptor })
    }
}

fn unplaced(error: Error) -> Refusal {
    Refusal { error, at: datafusion::sql::sqlparser::tokenizer::Location::empty() }
}

fn usage(kind: Kind) -> Error {
    let intervals = kind.intervals().join(", ");
    let message = format!("{} takes a relation, a time column, {intervals} and an optional offset", kind.name());
    let name = kind.name().to_ascii_uppercase();
    let example = match kind {
        Kind::Tumble => "INTERVAL '10 minutes'",
        _ => "INTERVAL '5 minutes', INTERVAL '10 minutes'",
    };
    Error::new(sqlstate::UNDEFINED_FUNCTION, message).with_hint(format!("for example, {name}(bid, ts, {example})"))
}

/// The arguments in the order of the plain spelling; they may be named as in Flink (`DATA => …`).
fn in_order(kind: Kind, arguments: &[FunctionArg]) -> Result<Vec<&Expr>, Refusal> {
    let names = [&["data", "timecol"], kind.intervals(), &["offset"]].concat();
    let mut places: Vec<Option<&Expr>> = vec![None; names.len()];
    for (at, argument) in arguments.iter().enumerate() {
        let (place, expr) = match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => (Some(at), expr),
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => {
                (names.iter().position(|known| name.value.eq_ignore_ascii_case(known)), expr)
            }
            _ => return Err(unplaced(usage(kind))),
        };
        match place.and_then(|place| places.get_mut(place)) {
            Some(empty @ None) => *empty = Some(expr),
            _ => return Err(Refusal::of(expr, usage(kind))),
        }
    }
    let given = places.iter().flatten().count();
    match places[..given].iter().all(Option::is_some) {
        true => Ok(places.into_iter().flatten().collect()),
        false => Err(unplaced(usage(kind))),
    }
}

/// The input of a window, from `bid`, `public.bid`, `(query)`, each perhaps behind TABLE.
fn relation(kind: Kind, argument: Expr) -> Option<(TableFactor, Ident)> {
    match argument {
        Expr::Prefixed { prefix, value } if prefix.value == TABLE_ARGUMENT => relation(kind, *value),
        Expr::Nested(inner) => relation(kind, *inner),
        Expr::Identifier(ident) => Some((named(vec![ident.clone()]), ident)),
        Expr::CompoundIdentifier(parts) => {
            let alias = parts.last()?.clone();
            Some((named(parts), alias))
        }
        Expr::Subquery(subquery) => {
            Some((TableFactor::Derived { lateral: false, subquery, alias: None, sample: None }, Ident::new(kind.name())))
        }
        _ => None,
    }
}

fn named(parts: Vec<Ident>) -> TableFactor {
    TableFactor::Table {
        name: ObjectName::from(parts),
        alias: None,
        args: None,
        with_hints: vec![],
        version: None,
        with_ordinality: false,
        partitions: vec![],
        json_path: None,
        sample: None,
        index_hints: vec![],
    }
}

/// The time, and whether it was written `DESCRIPTOR(ts)`.
fn descriptor(mut argument: Expr) -> Result<(Expr, bool), Refusal> {
    let Expr::Function(function) = &mut argument else { return Ok((argument, false)) };
    if !is_named(function, "descriptor") {
        return Ok((argument, false));
    }
    let column = match plain_arguments(function).as_deref() {
        Some([column @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_))]) => Some((*column).clone()),
        _ => None,
    };
    match column {
        Some(column) => Ok((column, true)),
        None => Err(Refusal::of(&take(&mut argument), Error::new(sqlstate::SYNTAX_ERROR, "DESCRIPTOR takes one column"))),
    }
}

/// The value of an interval literal: `INTERVAL '1 minute'`, `INTERVAL '1' MINUTE`, `'1 minute'::interval`, `'1 minute'`;
/// `None` for anything else.
pub(in crate::plan) fn literal_interval(expr: &Expr) -> Result<Option<IntervalMonthDayNano>> {
    let (text, unit) = match expr {
        Expr::Nested(inner) => return literal_interval(inner),
        Expr::Interval(interval) if interval.last_field.is_none() => match text(&interval.value) {
            Some(text) => (text, interval.leading_field.as_ref().map(ToString::to_string)),
            None => return Ok(None),
        },
        Expr::Cast { expr, data_type: DataType::Interval { .. }, .. } => match text(expr) {
            Some(text) => (text, None),
            None => return Ok(None),
        },
        Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)) => match text(expr) {
            Some(text) => (text, None),
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    let written = unit.map_or_else(|| text.clone(), |unit| format!("{text} {unit}"));
    parse_interval_month_day_nano_config(&written, IntervalParseConfig::new(IntervalUnit::Second))
        .map(Some)
        .map_err(|_| Error::new(sqlstate::INVALID_DATETIME, format!("invalid input syntax for type interval: \"{written}\"")))
}

/// The text of a string or number literal.
fn text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => Some(text.clone()),
            Value::Number(number, _) => Some(number.clone()),
            _ => None,
        },
        _ => None,
    }
}
