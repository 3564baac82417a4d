//! TUMBLE, HOP and CUMULATE, in FROM and in GROUP BY, rewritten on the AST into plain queries over scalar functions of
//! [`crate::functions::windows`], so that both engines and nested uses mean the same.
//!
//! `TUMBLE(bid, ts, INTERVAL '1 minute')` becomes
//!
//! ```sql
//! (SELECT bid.*, tumble_start(ts, i) AS window_start, tumble_start(ts, i) + i AS window_end
//!  FROM bid AS bid WHERE ts IS NOT NULL) AS bid
//! ```
//!
//! and HOP and CUMULATE one `unnest` of one list of times, which the planner lowers as a stateless operator:
//!
//! ```sql
//! (SELECT bid.*, bid.window_start + size AS window_end
//!  FROM (SELECT bid.*, unnest(hop_starts(ts, slide, size)) AS window_start FROM bid AS bid) AS bid) AS bid
//! ```
//!
//! Flink's spelling (`TABLE bid, DESCRIPTOR(ts)`) has `window_time` as well, the last millisecond of the window. Rows whose
//! time is null are in no window. Intervals must be literals: they are checked here, before anything runs.

mod arguments;
mod group_by;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

use arrow::datatypes::IntervalMonthDayNano;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, ObjectName, Query, Spanned, TableAlias, TableFactor, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::parser::Parser;

use super::dialect::ThalwegDialect;
use super::normalise::{Refusal, call, is_named, plain_arguments, take};
use crate::error::sqlstate;
use crate::functions::windows::{MAX_WINDOWS_PER_ROW, fixed_length};
use crate::{Error, Result};

pub(super) use arguments::literal_interval;
pub use group_by::rewrite_group_by;

use arguments::{Arguments, of_factor};

/// The kinds of windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tumble,
    Hop,
    Cumulate,
}

impl Kind {
    fn named(name: &ObjectName) -> Option<Self> {
        let [part] = name.0.as_slice() else { return None };
        match part.as_ident()?.value.to_ascii_lowercase().as_str() {
            "tumble" => Some(Self::Tumble),
            "hop" => Some(Self::Hop),
            "cumulate" => Some(Self::Cumulate),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tumble => "tumble",
            Self::Hop => "hop",
            Self::Cumulate => "cumulate",
        }
    }

    /// Names of the intervals, as Flink has them; the offset may follow.
    fn intervals(self) -> &'static [&'static str] {
        match self {
            Self::Tumble => &["size"],
            Self::Hop => &["slide", "size"],
            Self::Cumulate => &["step", "size"],
        }
    }
}

/// Checked lengths in microseconds: a step (for TUMBLE the size again), a size, an offset.
#[derive(Debug, Clone, Copy)]
struct Lengths {
    step: i64,
    size: i64,
    offset: i64,
}

impl Lengths {
    /// Of the literals `intervals`: those of the kind, then perhaps the offset.
    fn new(kind: Kind, intervals: &[&Expr]) -> Result<Self, Refusal> {
        let mut lengths = vec![];
        for (at, interval) in intervals.iter().enumerate() {
            let what = kind.intervals().get(at).copied().unwrap_or("offset");
            let length = constant_length(interval, what).map_err(|error| Refusal::of(*interval, error))?;
            if what != "offset" && length <= 0 {
                return Err(Refusal::of(*interval, invalid(format!("the {what} of {} must be positive", kind.name()))));
            }
            lengths.push(length);
        }
        let (step, size) = match kind {
            Kind::Tumble => (lengths[0], lengths[0]),
            _ => (lengths[0], lengths[1]),
        };
        let last = intervals.last().expect("there is a size");
        if kind == Kind::Cumulate && size % step != 0 {
            return Err(Refusal::of(*last, invalid("the size of cumulate must be a multiple of its step".into())));
        }
        if size / step >= MAX_WINDOWS_PER_ROW {
            let error = invalid(format!("a row would fall into more than {MAX_WINDOWS_PER_ROW} windows"));
            return Err(Refusal::of(*last, error.with_hint("use a longer step")));
        }
        Ok(Self { step, size, offset: lengths.get(kind.intervals().len()).copied().unwrap_or(0) })
    }

    /// `, offset` for a call, when there is one.
    fn offset_argument(self) -> String {
        match self.offset {
            0 => String::new(),
            offset => format!(", {}", interval_sql(offset)),
        }
    }
}

fn invalid(message: String) -> Error {
    Error::new(sqlstate::INVALID_PARAMETER_VALUE, message)
}

fn constant_length(interval: &Expr, what: &str) -> Result<i64> {
    let Some(interval) = literal_interval(interval)? else {
        return Err(Error::unsupported(
            format!("the {what} of a window must be an interval literal"),
            "write it as INTERVAL '10 minutes', or INTERVAL '10' MINUTE",
        ));
    };
    length_of(interval).map_err(|problem| match interval.months {
        0 => invalid(format!("the {what} of a window {problem}")),
        _ => Error::unsupported(
            format!("the {what} of a window {problem}"),
            "use days, or GROUP BY date_trunc('month', ts) for calendar windows",
        ),
    })
}

fn length_of(interval: IntervalMonthDayNano) -> Result<i64, &'static str> {
    fixed_length(interval)
}

/// An interval literal of this many microseconds, in seconds where it is whole seconds.
fn interval_sql(microseconds: i64) -> String {
    match microseconds % 1_000_000 {
        0 => format!("INTERVAL '{} seconds'", microseconds / 1_000_000),
        _ => format!("INTERVAL '{microseconds} microseconds'"),
    }
}

/// Rewrites `TUMBLE(…)`, `HOP(…)` or `CUMULATE(…)` in FROM, also as `TABLE(TUMBLE(…))`; leaves everything else.
pub fn rewrite_factor(factor: &mut TableFactor) -> Result<(), Refusal> {
    let Some((name, arguments, alias)) = of_factor(factor) else { return Ok(()) };
    if name.to_string().eq_ignore_ascii_case("session") {
        return Err(Refusal::of(factor, no_session()));
    }
    let Some(kind) = Kind::named(name) else { return Ok(()) };
    let alias = alias.cloned();
    let arguments = Arguments::new(kind, arguments).map_err(|refusal| refusal.or_at(factor))?;
    *factor = windowed(kind, arguments, alias)?;
    Ok(())
}

fn no_session() -> Error {
    Error::unsupported("SESSION windows are not supported yet", "TUMBLE, HOP and CUMULATE are there")
}

/// The derived table that stands for a window function.
fn windowed(kind: Kind, arguments: Arguments, alias: Option<TableAlias>) -> Result<TableFactor, Refusal> {
    let intervals: Vec<&Expr> = arguments.intervals.iter().collect();
    let lengths = Lengths::new(kind, &intervals)?;
    let inner = arguments.alias.clone();
    let with_time = arguments.descriptor;
    let subquery = fill(&template(kind, lengths, &inner, with_time), arguments.input, arguments.time);
    let alias = alias.unwrap_or(TableAlias { explicit: true, name: inner, columns: vec![], at: None });
    Ok(TableFactor::Derived { lateral: false, subquery: Box::new(subquery), alias: Some(alias), sample: None })
}

/// Stand for the input and its time in a template; no text can contain them as a whole quoted name by accident.
const INPUT: &str = "\u{1}input";
const TIME: &str = "\u{1}time";

/// The query a window becomes, with placeholders.
fn template(kind: Kind, lengths: Lengths, alias: &Ident, with_time: bool) -> String {
    let Lengths { step, size, .. } = lengths;
    let (step, size, offset) = (interval_sql(step), interval_sql(size), lengths.offset_argument());
    let (a, time, from) = (alias, format!("\"{TIME}\""), format!("\"{INPUT}\""));
    let window_time = |end: &str| match with_time {
        true => format!(", {end} - INTERVAL '1 milliseconds' AS window_time"),
        false => String::new(),
    };
    match kind {
        Kind::Tumble => {
            let end = format!("tumble_start({time}, {size}{offset}) + {size}");
            format!(
                "SELECT {a}.*, tumble_start({time}, {size}{offset}) AS window_start, {end} AS window_end{} FROM {from} AS {a} WHERE {time} IS NOT NULL",
                window_time(&end)
            )
        }
        Kind::Hop => {
            let end = format!("{a}.window_start + {size}");
            format!(
                "SELECT {a}.*, {end} AS window_end{} FROM (SELECT {a}.*, unnest(hop_starts({time}, {step}, {size}{offset})) AS window_start FROM {from} AS {a}) AS {a}",
                window_time(&end)
            )
        }
        Kind::Cumulate => {
            let inner = format!(
                "SELECT {a}.*, tumble_start({time}, {size}{offset}) AS window_start, unnest(cumulate_ends({time}, {step}, {size}{offset})) AS window_end FROM {from} AS {a}"
            );
            match with_time {
                true => format!("SELECT {a}.*{} FROM ({inner}) AS {a}", window_time(&format!("{a}.window_end"))),
                false => inner,
            }
        }
    }
}

/// Reads a template and puts the input and the time in.
fn fill(template: &str, input: TableFactor, time: Expr) -> Query {
    let dialect = ThalwegDialect::for_tokens(template.len());
    let parsed = Parser::new(&dialect).try_with_sql(template).and_then(|mut parser| parser.parse_query());
    let mut query = *parsed.expect("a template is SQL we wrote, and names in it are quoted as they were");
    let _ = VisitMut::visit(&mut query, &mut Fill { input: Some(input), time });
    query
}

struct Fill {
    input: Option<TableFactor>,
    time: Expr,
}

impl VisitorMut for Fill {
    type Break = ();

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let TableFactor::Table { name, alias, .. } = factor else { return ControlFlow::Continue(()) };
        let is_input = matches!(name.0.as_slice(), [part] if part.as_ident().is_some_and(|ident| ident.value == INPUT));
        if is_input {
            let alias = alias.take();
            if let Some(mut input) = self.input.take() {
                if let TableFactor::Table { alias: own, .. } | TableFactor::Derived { alias: own, .. } = &mut input {
                    *own = alias;
                }
                *factor = input;
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if matches!(expr, Expr::Identifier(ident) if ident.value == TIME) {
            *expr = self.time.clone();
        }
        ControlFlow::Continue(())
    }
}

/// Rewrites `TUMBLE_START(ts, i)` and its kin, and brings the literals of `tumble_start` into one form, so that a GROUP BY
/// and the select list that name one window have equal expressions.
pub(super) fn rewrite_call(expr: &mut Expr) -> Result<(), Refusal> {
    let Expr::Function(function) = &*expr else { return Ok(()) };
    let Some(end) = ["tumble_start", "tumble_end", "tumble_rowtime"].iter().position(|name| is_named(function, name)) else {
        return Ok(());
    };
    let Some(arguments) = plain_arguments(function) else { return Ok(()) };
    let [time, intervals @ ..] = arguments.as_slice() else { return Ok(()) };
    if !matches!(intervals.len(), 1 | 2) {
        return Ok(());
    }
    let lengths = Lengths::new(Kind::Tumble, intervals)?;
    let start = tumble_start((*time).clone(), lengths);
    *expr = match end {
        0 => start,
        1 => plus(start, lengths.size),
        _ => plus(start, lengths.size - 1_000),
    };
    Ok(())
}

/// `tumble_start(time, size [, offset])`.
fn tumble_start(time: Expr, lengths: Lengths) -> Expr {
    let mut arguments = vec![time, interval(lengths.size)];
    if lengths.offset != 0 {
        arguments.push(interval(lengths.offset));
    }
    call("tumble_start", arguments)
}

/// `expr + interval`.
fn plus(expr: Expr, microseconds: i64) -> Expr {
    let sum = Expr::BinaryOp { left: Box::new(expr), op: BinaryOperator::Plus, right: Box::new(interval(microseconds)) };
    Expr::Nested(Box::new(sum))
}

fn interval(microseconds: i64) -> Expr {
    let text = interval_sql(microseconds);
    let value = text.trim_start_matches("INTERVAL ").trim_matches('\'').to_owned();
    Expr::Interval(datafusion::sql::sqlparser::ast::Interval {
        value: Box::new(Expr::value(datafusion::sql::sqlparser::ast::Value::SingleQuotedString(value))),
        leading_field: None,
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    })
}

impl Refusal {
    /// Points at `node` when nothing nearer is known.
    fn or_at(mut self, node: &impl Spanned) -> Self {
        if self.at.line == 0 {
            self.at = node.span().start;
        }
        self
    }
}
