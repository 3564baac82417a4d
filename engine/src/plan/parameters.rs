//! Parameters: the `$1`, `$2`, … of a statement, their types, and the values bound to them.
//!
//! A parameter has the type its client gives it, or the one its place says: the cast around it, the column it is stored in, or
//! what it is compared with, added to or passed to. For the latter the statement is planned with a *marker* in the parameter's
//! place, a call without a type, and [`Inference`] reads in the analysed plan which type coercion gave the marker. What nothing
//! says anything about is text, as in Postgres.
//!
//! Guaranteed: a value never becomes SQL text. It is put into the AST as one string literal that the type's input function
//! reads. Not guaranteed: Postgres's choice where a function has several signatures; a cast settles it.

use std::cell::RefCell;
use std::ops::ControlFlow;

use arrow::datatypes::{DataType, SchemaRef};
use catalog::SqlType;
use catalog::types::SystemType;
use datafusion::common::Result as DataFusionResult;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan};
use datafusion::sql::sqlparser::ast::{self, Query, VisitMut, VisitorMut};

use super::normalise::{call, plain_arguments};
use super::parse::{data_type, sql_type};
use super::statement::{CopySource, Insert, Statement};
use crate::decode::parse_text;
use crate::error::sqlstate;
use crate::functions::{input, parameter};
use crate::{Error, Result};

/// A value bound to a parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// The parameter's type.
    pub sql_type: SqlType,
    /// The value as text; `None` is null.
    pub text: Option<String>,
}

impl Bound {
    /// A value whose text its type can read; the type's error otherwise.
    pub fn read(sql_type: SqlType, text: Option<String>) -> Result<Self> {
        if let Some(text) = &text {
            parse_text(&exact_type(&sql_type, text), text)?;
        }
        Ok(Self { sql_type, text })
    }
}

/// How many parameters a statement has: the largest number after a `$`. `42P02` for other placeholders.
pub fn count(statement: &Statement) -> Result<usize> {
    let mut largest = 0;
    let mut statement = statement.clone();
    replace(&mut statement, &mut |index, _| {
        largest = largest.max(index + 1);
        None
    })?;
    Ok(largest)
}

/// Puts values in place of the parameters. `08P01` when there is none for a parameter.
pub fn bind(statement: &mut Statement, values: &[Bound]) -> Result<()> {
    let mut missing = None;
    replace(statement, &mut |index, _| match values.get(index) {
        Some(bound) => Some(literal(bound)),
        None => {
            missing = Some(index + 1);
            None
        }
    })?;
    match missing {
        Some(number) => Err(undefined(&format!("${number}"))),
        None => Ok(()),
    }
}

/// Puts expressions in place of the parameters, as EXECUTE does, each read as its parameter's type.
pub fn bind_expressions(statement: &mut Statement, values: &[(SqlType, ast::Expr)]) -> Result<()> {
    replace(statement, &mut |index, _| values.get(index).map(|(sql_type, value)| converted(value, sql_type)))
}

/// `there is no parameter $1`.
pub fn undefined(name: &str) -> Error {
    Error::new(sqlstate::UNDEFINED_PARAMETER, format!("there is no parameter {name}"))
}

fn literal(bound: &Bound) -> ast::Expr {
    let value = match &bound.text {
        Some(text) => ast::Value::SingleQuotedString(text.clone()),
        None => ast::Value::Null,
    };
    let type_name = bound.text.as_ref().map_or_else(|| bound.sql_type.clone(), |text| exact_type(&bound.sql_type, text)).to_string();
    call(input::NAME, [ast::Expr::value(value), ast::Expr::value(ast::Value::SingleQuotedString(type_name))])
}

/// The type a value is read as: without a modifier a numeric would be rounded to our default scale.
fn exact_type(sql_type: &SqlType, text: &str) -> SqlType {
    match sql_type {
        SqlType::Numeric(None) => exact_numeric(text),
        other => other.clone(),
    }
}

/// The narrowest `numeric(p, s)` that holds the digits of a text.
fn exact_numeric(text: &str) -> SqlType {
    let text = text.trim();
    if text.contains(['e', 'E']) {
        return SqlType::Numeric(None);
    }
    let digits = text.trim_start_matches(['+', '-']);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let n_whole = whole.trim_start_matches('0').len();
    match n_whole + fraction.len() {
        0 => SqlType::Numeric(Some((1, 0))),
        n_digits if n_digits <= 38 => SqlType::Numeric(Some((n_digits as u8, fraction.len() as i8))),
        _ => SqlType::Numeric(None),
    }
}

/// An argument of EXECUTE as a value of the parameter's type.
fn converted(value: &ast::Expr, sql_type: &SqlType) -> ast::Expr {
    if let ast::Expr::Value(ast::ValueWithSpan { value: ast::Value::SingleQuotedString(text), .. }) = value {
        return literal(&Bound { sql_type: sql_type.clone(), text: Some(text.clone()) });
    }
    ast::Expr::Cast {
        kind: ast::CastKind::Cast,
        expr: Box::new(ast::Expr::Nested(Box::new(value.clone()))),
        data_type: data_type(sql_type),
        format: None,
        array: false,
    }
}

/// What a parameter stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Expression,
    /// The array of `… = ANY($1)`.
    Elements,
}

/// Calls `value` for each parameter, with its 0-based number; what it returns takes the parameter's place.
fn replace(statement: &mut Statement, value: &mut dyn FnMut(usize, Place) -> Option<ast::Expr>) -> Result<()> {
    match visit(statement, &mut Replace { value }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Replace<'a> {
    value: &'a mut dyn FnMut(usize, Place) -> Option<ast::Expr>,
}

impl VisitorMut for Replace<'_> {
    type Break = Error;

    fn pre_visit_expr(&mut self, expression: &mut ast::Expr) -> ControlFlow<Error> {
        let ast::Expr::AnyOp { left, compare_op, right, .. } = expression else { return ControlFlow::Continue(()) };
        let Some(name) = placeholder(right) else { return ControlFlow::Continue(()) };
        let index = index_of(name)?;
        if let Some(value) = (self.value)(index, Place::Elements) {
            match is_marker(&value) {
                // Compared with an element: its type says the array's.
                true => {
                    let left = left.clone();
                    *expression = ast::Expr::BinaryOp { left, op: compare_op.clone(), right: Box::new(value) };
                }
                false => **right = value,
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut ast::Expr) -> ControlFlow<Error> {
        if let Some(name) = placeholder(expression) {
            let index = index_of(name)?;
            if let Some(value) = (self.value)(index, Place::Expression) {
                *expression = value;
            }
        }
        ControlFlow::Continue(())
    }
}

/// The name of a parameter, with or without parentheses around it.
fn placeholder(expression: &ast::Expr) -> Option<&str> {
    match expression {
        ast::Expr::Value(ast::ValueWithSpan { value: ast::Value::Placeholder(name), .. }) => Some(name),
        ast::Expr::Nested(inner) => placeholder(inner),
        _ => None,
    }
}

fn index_of(name: &str) -> ControlFlow<Error, usize> {
    match name.strip_prefix('$').and_then(|number| number.parse::<usize>().ok()) {
        Some(number @ 1..=65_535) => ControlFlow::Continue(number - 1),
        _ => ControlFlow::Break(undefined(name)),
    }
}

/// Visits every part of a statement that is planned.
fn visit<V: VisitorMut>(statement: &mut Statement, visitor: &mut V) -> ControlFlow<V::Break> {
    match statement {
        Statement::Query(query) => query.visit(visitor),
        Statement::Explain(explain) => visit(&mut explain.statement, visitor),
        Statement::DeclareCursor(declare) => visit(&mut declare.statement.statement, visitor),
        Statement::CreateTable(create) => create.query.visit(visitor),
        Statement::CopyOut { source: CopySource::Query(query), .. } => query.visit(visitor),
        Statement::CopyOut { source: CopySource::Subscribe(subscribe), .. } | Statement::Subscribe(subscribe) => {
            subscribe.query.visit(visitor)
        }
        Statement::Insert(insert) => {
            insert.source.visit(visitor)?;
            if let Some((assignments, predicate)) = insert.on_conflict.as_mut().and_then(|on| on.update.as_mut()) {
                visit_assignments(assignments, visitor)?;
                predicate.visit(visitor)?;
            }
            insert.returning.visit(visitor)
        }
        Statement::Update(update) => {
            visit_assignments(&mut update.assignments, visitor)?;
            update.from.visit(visitor)?;
            update.predicate.visit(visitor)?;
            update.returning.visit(visitor)
        }
        Statement::Delete(delete) => {
            delete.using.visit(visitor)?;
            delete.predicate.visit(visitor)?;
            delete.returning.visit(visitor)
        }
        _ => ControlFlow::Continue(()),
    }
}

fn visit_assignments<V: VisitorMut>(assignments: &mut [(String, ast::Expr)], visitor: &mut V) -> ControlFlow<V::Break> {
    assignments.iter_mut().try_for_each(|(_, value)| value.visit(visitor))
}

/// The types of a statement's parameters while they are being found out.
#[derive(Debug, Default)]
pub struct Inference {
    types: RefCell<Vec<Option<SqlType>>>,
    /// Parameters that stand for an array and are compared with its elements.
    arrays: RefCell<Vec<usize>>,
}

impl Inference {
    /// Starts with what the client says and what can be read off the statement alone. `target` are the columns a write names.
    pub fn start(statement: &Statement, given: &[Option<SqlType>], target: Option<&SchemaRef>) -> Result<Self> {
        let mut types = given.to_vec();
        types.resize(count(statement)?.max(given.len()), None);
        let mut hints = Hints { types };
        let mut statement = statement.clone();
        if let Some(target) = target {
            hints.stored(&statement, target);
        }
        match visit(&mut statement, &mut hints) {
            ControlFlow::Continue(()) => Ok(Self { types: RefCell::new(hints.types), arrays: RefCell::default() }),
            ControlFlow::Break(error) => Err(error),
        }
    }

    /// True when nothing is left to be found out.
    pub fn is_complete(&self) -> bool {
        self.types.borrow().iter().all(Option::is_some)
    }

    /// The statement with nulls of their types in place of parameters, and markers for those whose type is not known.
    pub fn marked(&self, statement: &Statement) -> Result<Statement> {
        let mut statement = statement.clone();
        let (types, mut arrays) = (self.types.borrow(), self.arrays.borrow_mut());
        replace(&mut statement, &mut |index, place| {
            let Some(sql_type) = types.get(index).and_then(Option::as_ref) else {
                if place == Place::Elements {
                    arrays.push(index);
                }
                return Some(marker(index));
            };
            Some(literal(&Bound { sql_type: sql_type.clone(), text: None }))
        })?;
        Ok(statement)
    }

    /// Looks for markers in a plan whose types are coerced.
    pub fn observe(&self, plan: &LogicalPlan) -> DataFusionResult<()> {
        plan.apply_with_subqueries(|node| {
            let schema = merge_schema(&node.inputs());
            node.apply_expressions(|expression| expression.apply(|expression| self.observe_expression(expression, &schema)))
        })
        .map(drop)
    }

    /// What is not known yet is text.
    pub fn rest_is_text(&self) {
        for unknown in self.types.borrow_mut().iter_mut() {
            unknown.get_or_insert(SqlType::Text);
        }
    }

    /// What was found out; text for the rest.
    pub fn finish(self) -> Vec<SqlType> {
        self.types.into_inner().into_iter().map(|found| found.unwrap_or(SqlType::Text)).collect()
    }

    fn observe_expression(&self, expression: &Expr, schema: &DFSchema) -> DataFusionResult<TreeNodeRecursion> {
        match expression {
            // A column knows its SQL type, where its Arrow type alone says less: uuid is text to the engine.
            Expr::BinaryExpr(BinaryExpr { left, right, .. }) => {
                for (one, other) in [(left, right), (right, left)] {
                    if let (Some(index), Ok((_, field))) = (marked(one), other.to_field(schema)) {
                        let data_type = one.get_type(schema)?;
                        if data_type == *field.data_type() {
                            self.found(index, SqlType::of_field(&field));
                        }
                    }
                }
            }
            Expr::Cast(cast) => {
                if let Some(index) = marked(&cast.expr).filter(|_| *cast.field.data_type() != DataType::Null) {
                    self.found(index, SqlType::of_arrow(cast.field.data_type()));
                }
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn found(&self, index: usize, sql_type: SqlType) {
        let sql_type = match self.arrays.borrow().contains(&index) {
            true => SqlType::Array(Box::new(sql_type)),
            false => sql_type,
        };
        if let Some(unknown @ None) = self.types.borrow_mut().get_mut(index) {
            *unknown = Some(without_modifier(sql_type));
        }
    }
}

/// A parameter takes values of any length and scale; what stores them checks.
fn without_modifier(sql_type: SqlType) -> SqlType {
    match sql_type {
        SqlType::Numeric(_) => SqlType::Numeric(None),
        SqlType::Varchar(_) | SqlType::Char(_) => SqlType::Varchar(None),
        SqlType::Array(item) => SqlType::Array(Box::new(without_modifier(*item))),
        other => other,
    }
}

fn marker(index: usize) -> ast::Expr {
    call(parameter::NAME, [ast::Expr::value(ast::Value::Number(index.to_string(), false))])
}

fn is_marker(expression: &ast::Expr) -> bool {
    matches!(expression, ast::Expr::Function(function) if super::normalise::is_named(function, parameter::NAME))
}

/// The parameter a marker in a plan stands for, also below the cast that coercion put around it.
fn marked(expression: &Expr) -> Option<usize> {
    match expression {
        Expr::Cast(cast) => marked(&cast.expr),
        Expr::Alias(alias) => marked(&alias.expr),
        Expr::ScalarFunction(call) if call.func.name() == parameter::NAME => number(call.args.first()?),
        _ => None,
    }
}

/// A literal, whatever type the planner has given it.
fn number(expression: &Expr) -> Option<usize> {
    match expression {
        Expr::Literal(ScalarValue::Int64(Some(value)), _) => usize::try_from(*value).ok(),
        Expr::Literal(ScalarValue::Int32(Some(value)), _) => usize::try_from(*value).ok(),
        Expr::Literal(ScalarValue::Utf8(Some(value)), _) => value.parse().ok(),
        Expr::Cast(cast) => number(&cast.expr),
        Expr::Alias(alias) => number(&alias.expr),
        Expr::ScalarFunction(call) => number(call.args.first()?),
        _ => None,
    }
}

/// Types that the text of the statement says.
struct Hints {
    types: Vec<Option<SqlType>>,
}

impl Hints {
    fn note(&mut self, expression: &ast::Expr, sql_type: impl FnOnce() -> Option<SqlType>) {
        let Some(name) = placeholder(expression) else { return };
        let ControlFlow::Continue(index) = index_of(name) else { return };
        if let Some(unknown @ None) = self.types.get_mut(index) {
            *unknown = sql_type().map(without_modifier);
        }
    }

    /// Parameters that are stored as they are have their column's type.
    fn stored(&mut self, statement: &Statement, target: &SchemaRef) {
        let of_name = |name: &str| target.field_with_name(name).ok().map(SqlType::of_field);
        match statement {
            Statement::Insert(insert) => {
                self.inserted(insert, target);
                if let Some((assignments, _)) = insert.on_conflict.as_ref().and_then(|on| on.update.as_ref()) {
                    assignments.iter().for_each(|(name, value)| self.note(value, || of_name(name)));
                }
            }
            Statement::Update(update) => update.assignments.iter().for_each(|(name, value)| self.note(value, || of_name(name))),
            _ => {}
        }
    }

    fn inserted(&mut self, insert: &Insert, target: &SchemaRef) {
        let names: Vec<&str> = match insert.columns.is_empty() {
            true => target.fields().iter().map(|field| field.name().as_str()).collect(),
            false => insert.columns.iter().map(String::as_str).collect(),
        };
        let of_place = |place: usize| target.field_with_name(names.get(place)?).ok().map(SqlType::of_field);
        match insert.source.as_ref().map(|query| query.body.as_ref()) {
            Some(ast::SetExpr::Values(values)) => {
                for row in &values.rows {
                    row.content.iter().enumerate().for_each(|(place, value)| self.note(value, || of_place(place)));
                }
            }
            Some(ast::SetExpr::Select(select)) => {
                for (place, item) in select.projection.iter().enumerate() {
                    if let ast::SelectItem::UnnamedExpr(value) | ast::SelectItem::ExprWithAlias { expr: value, .. } = item {
                        self.note(value, || of_place(place));
                    }
                }
            }
            _ => {}
        }
    }
}

/// `oid` and its arrays, which no column of a table has. A `regclass` and its sisters are given by name, so they are read as text.
fn object_id(declared: &ast::DataType) -> Option<SqlType> {
    let named: SqlType = declared.to_string().parse().ok()?;
    matches!(named.innermost(), SqlType::System(SystemType::Oid)).then_some(named)
}

impl VisitorMut for Hints {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        match &query.limit_clause {
            Some(ast::LimitClause::LimitOffset { limit, offset, .. }) => {
                let counts = limit.iter().chain(offset.iter().map(|offset| &offset.value));
                counts.for_each(|count| self.note(count, || Some(SqlType::BigInt)));
            }
            Some(ast::LimitClause::OffsetCommaLimit { offset, limit }) => {
                [offset, limit].into_iter().for_each(|count| self.note(count, || Some(SqlType::BigInt)));
            }
            None => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut ast::Expr) -> ControlFlow<Error> {
        match expression {
            ast::Expr::Cast { expr, data_type, .. } => {
                self.note(expr, || sql_type(data_type).ok().or_else(|| object_id(data_type)));
            }
            ast::Expr::Function(function) if super::normalise::is_named(function, input::NAME) => {
                if let Some([value, ast::Expr::Value(type_name)]) = plain_arguments(function).as_deref() {
                    self.note(value, || type_name.clone().into_string()?.parse().ok());
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::parse::parse;

    fn statement(sql: &str) -> Statement {
        parse(sql).expect(sql).remove(0).statement
    }

    #[test]
    fn parameters_are_counted_in_every_part() {
        for (sql, n_parameters) in [
            ("SELECT 1", 0),
            ("SELECT $2", 2),
            ("SELECT a FROM t WHERE b IN (SELECT c FROM u WHERE d = $3) LIMIT $1 OFFSET $4", 4),
            ("INSERT INTO t VALUES ($1, $2) ON CONFLICT (a) DO UPDATE SET b = $3 WHERE t.b > $4 RETURNING a + $5", 5),
            ("UPDATE t SET a = $1 FROM u WHERE u.b = $2 RETURNING $3", 3),
            ("DELETE FROM t WHERE a = ANY($1)", 1),
            ("EXPLAIN SELECT $1", 1),
        ] {
            assert_eq!(count(&statement(sql)).expect(sql), n_parameters, "{sql}");
        }
        assert_eq!(count(&statement("SELECT $0")).expect_err("numbers start at 1").sqlstate, "42P02");
    }

    #[test]
    fn values_are_literals_whatever_they_say() {
        let mut bound = statement("SELECT $1");
        bind(&mut bound, &[Bound { sql_type: SqlType::Text, text: Some("'; DROP TABLE t; --".into()) }])
            .expect("one value for one parameter");
        let Statement::Query(query) = &bound else { panic!("a query stays one") };
        assert_eq!(query.to_string(), "SELECT text_input('''; DROP TABLE t; --', 'text')");
        let missing = bind(&mut statement("SELECT $2"), &[Bound { sql_type: SqlType::Text, text: None }]);
        assert_eq!(missing.expect_err("no second value").sqlstate, "42P02");
    }

    #[test]
    fn numerics_keep_their_digits() {
        for (text, exact) in [
            ("12345678901234567890.123456789", "numeric(29,9)"),
            ("-0.001", "numeric(3,3)"),
            ("0", "numeric(1,0)"),
            ("1e3", "numeric"),
            ("007.50", "numeric(3,2)"),
        ] {
            assert_eq!(exact_numeric(text).to_string(), exact, "{text}");
        }
    }
}
