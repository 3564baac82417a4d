//! INSERT, UPDATE and DELETE as the queries that say what they change: an update returns each row as it is and as it will be.
//!
//! The statements' parts are put together as SQL text and parsed again, so that there is one way from SQL to a plan.

use std::fmt::Display;
use std::ops::ControlFlow;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use catalog::{Column, Object};
use datafusion::sql::sqlparser::ast::{self, Expr, Ident, SetExpr, VisitMut, VisitorMut};

use super::names::{fold, quoted};
use super::parse::parse_query;
use super::statement::{Delete, Insert, Name, Update};
use super::{Node, Plan};
use crate::error::sqlstate;
use crate::{Error, Result};

/// The rows of an INSERT: its source, with `DEFAULT` in VALUES replaced by the columns' defaults. `None` for DEFAULT VALUES.
pub fn insert_source(insert: &Insert, target: &Object) -> Result<Option<Box<ast::Query>>> {
    let Some(source) = &insert.source else { return Ok(None) };
    let mut source = source.clone();
    if let SetExpr::Values(values) = source.body.as_mut() {
        for row in &mut values.rows {
            for (index, expression) in row.content.iter_mut().enumerate() {
                if is_default(expression) {
                    let column = match insert.columns.get(index) {
                        Some(name) => target.columns.iter().find(|column| column.name == *name),
                        None => target.columns.get(index),
                    };
                    *expression = default_of(column)?;
                }
            }
        }
    }
    Ok(Some(source))
}

/// Old rows, then the new ones: twice as many columns as the target has.
pub fn update_query(update: &Update, target: &Object) -> Result<Box<ast::Query>> {
    let alias = alias(update.alias.as_deref(), &update.target);
    let mut columns: Vec<String> = target.columns.iter().map(|column| format!("{alias}.{}", quoted(&column.name))).collect();
    for (name, _) in &update.assignments {
        if !target.columns.iter().any(|column| column.name == *name) {
            let message = format!("column \"{name}\" of relation \"{}\" does not exist", target.name);
            return Err(Error::new(sqlstate::UNDEFINED_COLUMN, message));
        }
    }
    for (index, column) in target.columns.iter().enumerate() {
        let new = match update.assignments.iter().find(|(name, _)| *name == column.name) {
            Some((_, expression)) if is_default(expression) => default_of(Some(column))?.to_string(),
            Some((_, expression)) => expression.to_string(),
            None => format!("{alias}.{}", quoted(&column.name)),
        };
        columns.push(format!("{new} AS \"thalweg new {index}\""));
    }
    select(&columns, &update.target, &alias, &update.from, update.predicate.as_ref())
}

/// The rows that are deleted.
pub fn delete_query(delete: &Delete, target: &Object) -> Result<Box<ast::Query>> {
    let alias = alias(delete.alias.as_deref(), &delete.target);
    let columns: Vec<String> = target.columns.iter().map(|column| format!("{alias}.{}", quoted(&column.name))).collect();
    select(&columns, &delete.target, &alias, &delete.using, delete.predicate.as_ref())
}

/// RETURNING over the rows of a relation that goes by the target's name or alias.
pub fn returning_query(items: &[ast::SelectItem], target: &Name, target_alias: Option<&str>) -> Result<Box<ast::Query>> {
    let alias = alias(target_alias, target);
    parse_query(&format!("SELECT {} FROM {} AS {alias}", list(items), quoted(RETURNED)))
}

/// The name under which [`returning_query`] reads its rows.
pub const RETURNED: &str = "thalweg returned";

/// The name under which [`conflict_query`] reads its pairs of rows.
pub const PAIRS: &str = "thalweg pairs";

/// A column of the row proposed for insertion, among the columns of a pair.
pub fn excluded_column(name: &str) -> String {
    format!("excluded {name}")
}

/// DO UPDATE SET … WHERE …: over pairs of rows (the target's columns, then the proposed ones as [`excluded_column`]) the new
/// row and whether it is taken.
pub fn conflict_query(target: &Object, assignments: &[(String, Expr)], predicate: Option<&Expr>) -> Result<Box<ast::Query>> {
    let mut columns = Vec::new();
    for (index, column) in target.columns.iter().enumerate() {
        let new = match assignments.iter().find(|(name, _)| *name == column.name) {
            Some((_, expression)) if is_default(expression) => default_of(Some(column))?.to_string(),
            Some((_, expression)) => over_pairs(expression, &target.name).to_string(),
            None => quoted(&column.name).to_string(),
        };
        columns.push(format!("{new} AS \"thalweg new {index}\""));
    }
    let is_taken = predicate.map_or_else(|| "true".to_string(), |predicate| over_pairs(predicate, &target.name).to_string());
    columns.push(format!("{is_taken} AS \"thalweg taken\""));
    parse_query(&format!("SELECT {} FROM {}", columns.join(", "), quoted(PAIRS)))
}

/// The query for the default of each column, once per row.
pub fn defaults_query(columns: &[&Column], n_rows: usize) -> Result<Box<ast::Query>> {
    let mut selected = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        selected.push(format!("{} AS \"thalweg default {index}\"", default_of(Some(column))?));
    }
    parse_query(&format!("SELECT {} FROM generate_series(1, {n_rows})", selected.join(", ")))
}

/// Evaluates a plan of maps over one scan on one batch: the columns of a planned expression list.
pub fn evaluate(plan: &Plan, rows: &RecordBatch) -> Result<RecordBatch> {
    match &plan.node {
        Node::Scan { columns, .. } => Ok(rows.project(columns)?),
        Node::Map(map) if map.predicate.is_none() => {
            let input = evaluate(&map.input, rows)?;
            let columns: Vec<ArrayRef> = map
                .expressions
                .iter()
                .map(|expression| Ok(expression.evaluate(&input)?.into_array(input.num_rows())?))
                .collect::<Result<_>>()?;
            Ok(RecordBatch::try_new(plan.schema.clone(), columns)?)
        }
        _ => Err(Error::unsupported("ON CONFLICT DO UPDATE takes plain expressions over the row", "leave out subqueries and aggregates")),
    }
}

/// A column of booleans as plain truth: null is not true.
pub fn truths(column: &ArrayRef) -> Vec<bool> {
    column.as_boolean().iter().map(|value| value == Some(true)).collect()
}

fn select(columns: &[String], target: &Name, alias: &Ident, from: &[ast::TableWithJoins], predicate: Option<&Expr>) -> Result<Box<ast::Query>> {
    let schema = target.schema.as_ref().map(|schema| format!("{}.", quoted(schema))).unwrap_or_default();
    let mut sql = format!("SELECT {} FROM {schema}{} AS {alias}", columns.join(", "), quoted(&target.name));
    if !from.is_empty() {
        sql += &format!(", {}", list(from));
    }
    if let Some(predicate) = predicate {
        sql += &format!(" WHERE {predicate}");
    }
    parse_query(&sql)
}

fn alias(alias: Option<&str>, target: &Name) -> Ident {
    quoted(alias.unwrap_or(&target.name))
}

fn list(items: &[impl Display]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn is_default(expression: &Expr) -> bool {
    matches!(expression, Expr::Identifier(ident) if ident.quote_style.is_none() && fold(ident) == "default")
}

fn default_of(column: Option<&Column>) -> Result<Expr> {
    match column.and_then(|column| column.default.as_deref()) {
        Some(default) => super::parse::parse_expression(default),
        None => Ok(Expr::Value(ast::Value::Null.into())),
    }
}

/// References to the target and to `excluded` as columns of a pair.
fn over_pairs(expression: &Expr, target: &str) -> Expr {
    struct Rewrite<'a>(&'a str);
    impl VisitorMut for Rewrite<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
            if let Expr::CompoundIdentifier(parts) = expression {
                if let [relation, column] = parts.as_slice() {
                    let (relation, column) = (fold(relation), fold(column));
                    if relation == "excluded" {
                        *expression = Expr::Identifier(quoted(&excluded_column(&column)));
                    } else if relation == self.0 {
                        *expression = Expr::Identifier(quoted(&column));
                    }
                }
            }
            ControlFlow::Continue(())
        }
    }
    let mut rewritten = expression.clone();
    // The visitor never breaks off.
    let _ = VisitMut::visit(&mut rewritten, &mut Rewrite(target));
    rewritten
}
