//! DataFusion's errors as a Postgres client expects them: SQLSTATE, lower-case message, and the place where it is known.
//!
//! DataFusion says most things as text, so this file knows its phrases; what it does not know becomes `42601` for planning,
//! `22023` for evaluation and `XX000` for broken promises, with the text kept.

use arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};

use crate::Error;
use crate::error::sqlstate;

/// What a statement was parsed from: spans count lines and columns of the whole query string, positions the statement's characters.
#[derive(Debug, Clone)]
pub struct SourceText {
    /// The statement's own text.
    pub text: String,
    /// Line and column at which it starts, 1-based.
    pub start: (u64, u64),
}

impl SourceText {
    fn position(&self, line: u64, column: u64) -> Option<usize> {
        let (first_line, first_column) = self.start;
        let own_line = line.checked_sub(first_line)? + 1;
        let own_column = if own_line == 1 { column.checked_sub(first_column)? + 1 } else { column };
        position(&self.text, own_line, own_column)
    }
}

/// The error for a client; `text` is what the statement was parsed from, for positions.
pub fn from_datafusion(error: DataFusionError, text: Option<&SourceText>) -> Error {
    let place = text.and_then(|text| place(&error, text));
    let error = translate(error);
    match place {
        Some(place) if error.position.is_none() => error.at(place),
        _ => error,
    }
}

fn translate(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(source) => match source.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(other) => Error::internal(other.to_string()),
        },
        DataFusionError::Shared(shared) => match shared.as_ref() {
            DataFusionError::External(source) => match source.downcast_ref::<Error>() {
                Some(ours) => ours.clone(),
                None => Error::internal(source.to_string()),
            },
            DataFusionError::ResourcesExhausted(message) => out_of_memory(message),
            other => evaluation(&other.strip_backtrace()),
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => translate(*inner),
        DataFusionError::Collection(mut errors) if !errors.is_empty() => translate(errors.remove(0)),
        DataFusionError::SchemaError(error, _) => schema(*error),
        DataFusionError::ArrowError(error, _) => arrow(&error),
        DataFusionError::SQL(error, _) => Error::new(sqlstate::SYNTAX_ERROR, lower_first(&error.to_string())),
        DataFusionError::NotImplemented(message) => not_implemented(first_line(&message)),
        DataFusionError::Plan(message) => planning(first_line(&message)),
        DataFusionError::Execution(message) => evaluation(first_line(&message)),
        DataFusionError::ResourcesExhausted(message) => out_of_memory(&message),
        other => Error::internal(other.strip_backtrace()),
    }
}

fn out_of_memory(message: &str) -> Error {
    let hint = "let the query keep less (filter before it joins), or run it when others are done, or start the server with a larger --query-memory-bytes";
    Error::new(sqlstate::OUT_OF_MEMORY, "out of memory for queries").with_detail(first_line(message)).with_hint(hint)
}

fn schema(error: SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let error = Error::new(sqlstate::UNDEFINED_COLUMN, format!("column {} does not exist", column(&field)));
            let alike = valid_fields.iter().find(|valid| valid.name.eq_ignore_ascii_case(&field.name) && valid.name != field.name);
            match alike {
                Some(alike) => error.with_hint(format!("perhaps you meant the column \"{}\"", alike.name)),
                None => error,
            }
        }
        SchemaError::AmbiguousReference { field } => {
            Error::new(sqlstate::AMBIGUOUS_COLUMN, format!("column reference \"{}\" is ambiguous", field.name))
        }
        SchemaError::DuplicateQualifiedField { qualifier, .. } => {
            Error::new(sqlstate::SYNTAX_ERROR, format!("table name \"{}\" specified more than once", qualifier.table()))
        }
        SchemaError::DuplicateUnqualifiedField { name } => {
            Error::new(sqlstate::DUPLICATE_COLUMN, format!("column \"{name}\" specified more than once"))
        }
    }
}

fn column(field: &datafusion::common::Column) -> String {
    match &field.relation {
        Some(relation) => format!("{}.{}", relation.table(), field.name),
        None => format!("\"{}\"", field.name),
    }
}

fn arrow(error: &ArrowError) -> Error {
    match error {
        ArrowError::DivideByZero => Error::new(sqlstate::DIVISION_BY_ZERO, "division by zero"),
        ArrowError::ArithmeticOverflow(message) => {
            Error::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range").with_detail(first_line(message))
        }
        ArrowError::ExternalError(source) => match source.downcast_ref::<Error>() {
            Some(ours) => ours.clone(),
            None => evaluation(&source.to_string()),
        },
        ArrowError::CastError(message) | ArrowError::ParseError(message) | ArrowError::InvalidArgumentError(message) => {
            evaluation(first_line(message))
        }
        ArrowError::NotYetImplemented(message) => not_implemented(first_line(message)),
        other => Error::internal(other.to_string()),
    }
}

fn not_implemented(message: &str) -> Error {
    if let Some(name) = message.strip_prefix("Unsupported SQL type ") {
        // As it was written, in quotes of its own or not.
        return Error::new(sqlstate::UNDEFINED_OBJECT, format!("type \"{}\" does not exist", name.replace('"', "")));
    }
    if message.starts_with("Multiple recursive references") {
        let hint = "a subquery that refers to them reads them again: write it as a join, or keep the query current as a materialized view";
        return Error::unsupported("a query that is run once cannot read the rows of a recursion twice in its recursive term", hint);
    }
    if message.contains("OuterReferenceColumn") || message.contains("undecorrelated Subquery") {
        let hint = "select what it gives as a column of a subquery in FROM, or join with it";
        return Error::unsupported("a subquery that refers to the query around it is not supported in this place", hint);
    }
    Error::unsupported(lower_first(message), "rewrite the query without it")
}

/// What goes wrong with names, types and grouping while a query is planned.
fn planning(message: &str) -> Error {
    let lower = message.to_ascii_lowercase();
    if let Some(rest) = message.strip_prefix("Invalid function '") {
        let (name, rest) = rest.split_once('\'').unwrap_or((rest, ""));
        let error = Error::new(sqlstate::UNDEFINED_FUNCTION, format!("function {name} does not exist"));
        return match quoted(rest) {
            Some(alike) => error.with_hint(format!("perhaps you meant {alike}")),
            None => error,
        };
    }
    if lower.contains("does not support zero arguments")
        || lower.contains("failed to coerce arguments")
        || lower.contains("no function matches")
    {
        return match quoted(message) {
            Some(name) => Error::new(sqlstate::UNDEFINED_FUNCTION, format!("function {name} does not exist with these argument types"))
                .with_hint("no function matches the given name and argument types; you might need to add explicit type casts"),
            None => Error::new(sqlstate::UNDEFINED_FUNCTION, lower_first(message)),
        };
    }
    if lower.starts_with("table function '") {
        let name = quoted(message).unwrap_or_default();
        return Error::new(sqlstate::UNDEFINED_FUNCTION, format!("function {name} does not exist"));
    }
    if let Some((_, rest)) =
        message.split_once("While expanding wildcard, column \"").or_else(|| message.split_once("an aggregate function: column \""))
    {
        let name = rest.split('"').next().unwrap_or(rest);
        let message = format!("column \"{name}\" must appear in the GROUP BY clause or be used in an aggregate function");
        return Error::new(sqlstate::GROUPING_ERROR, message);
    }
    if lower.contains("must be in group by")
        || lower.contains("must appear in the group by")
        || lower.contains("could not be resolved from available columns")
    {
        return Error::new(sqlstate::GROUPING_ERROR, lower_first(message));
    }
    if lower.contains("aggregate function calls cannot be nested") || lower.contains("aggregate functions are not allowed") {
        return Error::new(sqlstate::GROUPING_ERROR, lower_first(message));
    }
    if lower.contains("cannot coerce arithmetic")
        || lower.contains("cannot infer common argument type")
        || lower.contains("types does not support operator")
    {
        return Error::new(sqlstate::UNDEFINED_FUNCTION, lower_first(message)).with_hint("you might need to add explicit type casts");
    }
    if lower.contains("incompatible inputs for union")
        || lower.contains("cannot automatically convert")
        || lower.contains("cannot create filter with non-boolean")
    {
        return Error::new(sqlstate::DATATYPE_MISMATCH, lower_first(message));
    }
    if lower.contains("expressions must be unique names") || lower.contains("duplicate") {
        return Error::new(sqlstate::DUPLICATE_COLUMN, lower_first(message));
    }
    if lower.contains("unsupported") || lower.contains("not supported") || lower.contains("does not support") {
        return not_implemented(message);
    }
    let error = evaluation(message);
    if error.sqlstate == sqlstate::INVALID_PARAMETER_VALUE { Error::new(sqlstate::SYNTAX_ERROR, error.message) } else { error }
}

/// What goes wrong with values.
pub(crate) fn evaluation(message: &str) -> Error {
    let message = strip_prefixes(message);
    let lower = message.to_ascii_lowercase();
    if lower.contains("divide by zero") || lower.contains("division by zero") {
        return Error::new(sqlstate::DIVISION_BY_ZERO, "division by zero");
    }
    if lower.contains("overflow")
        || lower.contains("out of range")
        || lower.contains("too large to store")
        || lower.contains("can't cast value")
    {
        return Error::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range").with_detail(message);
    }
    if lower.contains("parsing timestamp")
        || lower.contains("parsing date")
        || lower.contains("to value of date")
        || lower.contains("to value of timestamp")
    {
        return match quoted(message) {
            Some(value) => Error::new(sqlstate::INVALID_DATETIME, format!("invalid input syntax for a date or time: \"{value}\"")),
            None => Error::new(sqlstate::INVALID_DATETIME, lower_first(message)),
        };
    }
    if let Some(rest) = message.strip_prefix("Cannot cast string '") {
        let (value, rest) = rest.split_once('\'').unwrap_or((rest, ""));
        let target = rest.trim_start_matches(" to value of ").trim_end_matches(" type");
        return Error::new(sqlstate::INVALID_TEXT, format!("invalid input syntax for type {}: \"{value}\"", postgres_type(target)));
    }
    if lower.contains("cast") || lower.contains("parse") || lower.contains("invalid utf-8") {
        return Error::new(sqlstate::INVALID_TEXT, lower_first(message));
    }
    if let (true, Some(name)) = (lower.contains("was not provided a value"), quoted(message)) {
        return super::parameters::undefined(name);
    }
    if lower.contains("returned more than one row") {
        return Error::new(sqlstate::CARDINALITY_VIOLATION, "more than one row returned by a subquery used as an expression");
    }
    Error::new(sqlstate::INVALID_PARAMETER_VALUE, lower_first(message))
}

fn postgres_type(arrow: &str) -> &str {
    match arrow {
        "Int16" => "smallint",
        "Int32" => "integer",
        "Int64" => "bigint",
        "Float32" => "real",
        "Float64" => "double precision",
        "Boolean" => "boolean",
        other if other.starts_with("Decimal") => "numeric",
        other if other.starts_with("Interval") => "interval",
        other => other,
    }
}

fn strip_prefixes(message: &str) -> &str {
    let mut message = message;
    for prefix in [
        "Execution error: ",
        "Arrow error: ",
        "Cast error: ",
        "Parser error: ",
        "Compute error: ",
        "Invalid argument error: ",
        "Arithmetic overflow: ",
    ] {
        message = message.strip_prefix(prefix).unwrap_or(message);
    }
    message
}

/// The first text between single quotes.
fn quoted(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once('\'')?;
    rest.split_once('\'').map(|(inside, _)| inside)
}

fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or(message)
}

fn lower_first(message: &str) -> String {
    let message = message.trim_end_matches('.');
    let mut characters = message.chars();
    match characters.next() {
        // `GROUP BY …` and `LIMIT …` keep their capitals
        Some(first) if !characters.clone().next().is_some_and(char::is_uppercase) => first.to_lowercase().chain(characters).collect(),
        _ => message.to_string(),
    }
}

/// The 1-based character position of the error's identifier.
fn place(error: &DataFusionError, text: &SourceText) -> Option<usize> {
    let span = match error {
        DataFusionError::Diagnostic(diagnostic, inner) => diagnostic.span.or_else(|| span_of(inner)),
        other => span_of(other),
    }?;
    text.position(span.start.line, span.start.column)
}

fn span_of(error: &DataFusionError) -> Option<datafusion::common::Span> {
    match error {
        DataFusionError::SchemaError(error, _) => match error.as_ref() {
            SchemaError::FieldNotFound { field, .. } | SchemaError::AmbiguousReference { field } => field.spans.first(),
            _ => None,
        },
        DataFusionError::Diagnostic(diagnostic, inner) => diagnostic.span.or_else(|| span_of(inner)),
        DataFusionError::Context(_, inner) => span_of(inner),
        DataFusionError::Collection(errors) => errors.first().and_then(span_of),
        _ => None,
    }
}

/// The 1-based character position of a 1-based line and column.
pub(crate) fn position(text: &str, line: u64, column: u64) -> Option<usize> {
    if line == 0 || column == 0 {
        return None;
    }
    let before: usize = text.split_inclusive('\n').take(line as usize - 1).map(|line| line.chars().count()).sum();
    Some(before + column as usize)
}
