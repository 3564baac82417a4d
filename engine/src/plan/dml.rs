//! Writes as queries: what a statement inserts, which rows it replaces by which, which it deletes, and what RETURNING shows.
//!
//! Guaranteed: each row of an UPDATE or DELETE's query is one row of the table, as often as the table has it; with FROM or
//! USING that match several times, a row is still changed once, by the first match in the order of the new values.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Field, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result as DataFusionResult};
use datafusion::logical_expr::logical_plan::Projection;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan};
use datafusion::physical_expr::expressions::Column as PhysicalColumn;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::assignment::{assign, assign_expression};
use super::canonical::Purpose;
use super::query::{PlannedQuery, Planner};
use super::relation::{Names, Relation, simplifier};
use super::statement::{Delete, Insert, Name, OnConflict, Update};
use crate::error::sqlstate;
use crate::{Error, Result};

/// DEFAULT expressions by column name; a column without one defaults to null.
pub type Defaults = HashMap<String, ast::Expr>;

/// Expressions over one row, as the sequencer evaluates them.
#[derive(Debug, Clone)]
pub struct RowExpressions {
    /// One per output column.
    pub expressions: Vec<Arc<dyn PhysicalExpr>>,
    /// Names and types of the output columns.
    pub schema: SchemaRef,
}

/// DO UPDATE, over the stored row's columns followed by those of the row that could not be inserted (`excluded`).
#[derive(Debug, Clone)]
pub struct ConflictUpdate {
    /// The new row, one expression per column of the table.
    pub values: RowExpressions,
    /// Only stored rows for which it is true are updated.
    pub predicate: Option<Arc<dyn PhysicalExpr>>,
}

impl Planner<'_> {
    /// The rows an INSERT adds: all columns of the target, in its order, with defaults for those not given.
    ///
    /// Errors: `42703` for unknown columns, `42601` when the source has another number of columns, `42804` for types that
    /// cannot be assigned.
    pub fn insert(&self, insert: &Insert, defaults: &Defaults) -> Result<PlannedQuery> {
        let target = self.target(&insert.target)?;
        let given = given_columns(&target, &insert.target, &insert.columns)?;
        let source = match &insert.source {
            Some(source) => {
                let mut source = source.as_ref().clone();
                fill_defaults(&mut source, &given, &target, defaults);
                Some(source)
            }
            None => None,
        };
        let state = self.state();
        let names = Names::new(&state, self.provider(), Purpose::Read);
        let source = match &source {
            Some(source) => self.ours(names.plan(source))?,
            None => self.ours(datafusion::logical_expr::LogicalPlanBuilder::empty(true).build())?,
        };
        let n_source = source.schema().fields().len();
        // fewer values than columns are allowed when no columns are named
        let given = if insert.columns.is_empty() && n_source <= given.len() { &given[..n_source] } else { &given[..] };
        if insert.source.is_some() && n_source != given.len() {
            let more = if n_source > given.len() { "expressions than target columns" } else { "target columns than expressions" };
            return Err(Error::new(sqlstate::SYNTAX_ERROR, format!("INSERT has more {more}")));
        }
        let given = if insert.source.is_some() { given } else { &[] };
        let values = target.fields().iter().enumerate().map(|(index, field)| match given.iter().position(|column| *column == index) {
            Some(place) => assign(&source, place, field),
            None => self.ours(default_value(field, defaults, &names)),
        });
        let values = values.collect::<Result<Vec<_>>>()?;
        let plan = self.ours(Projection::try_new(values, source.into()).map(LogicalPlan::Projection))?;
        self.finish(plan, state.clone(), Purpose::Read)
    }

    /// The rows an UPDATE changes: all old columns, then all new columns.
    pub fn update(&self, update: &Update, defaults: &Defaults) -> Result<PlannedQuery> {
        let target = self.target(&update.target)?;
        let alias = update.alias.as_deref().unwrap_or(&update.target.name);
        let mut assigned: HashMap<usize, ast::Expr> = HashMap::new();
        for (column, value) in &update.assignments {
            let index = column_of(&target, &update.target, column)?;
            if assigned.insert(index, or_default(value, &target.field(index).clone(), defaults)).is_some() {
                return Err(Error::new(sqlstate::SYNTAX_ERROR, format!("multiple assignments to same column \"{column}\"")));
            }
        }
        let query = rows_of(&target, &update.target, alias, &update.from, update.predicate.as_ref());
        let query = with_new_values(query, &target, alias, &assigned);
        let state = self.state();
        let plan = self.ours(Names::new(&state, self.provider(), Purpose::Read).plan(&query))?;
        let n_columns = target.fields().len();
        let old = (0..n_columns).map(|index| assign(&plan, index, target.field(index)).map(|value| named(value, format!("old_{index}"))));
        let new = (0..n_columns)
            .map(|index| assign(&plan, n_columns + index, target.field(index)).map(|value| named(value, format!("new_{index}"))));
        let values = old.chain(new).collect::<Result<Vec<_>>>()?;
        let plan = self.ours(Projection::try_new(values, plan.into()).map(LogicalPlan::Projection))?;
        self.finish(plan, state.clone(), Purpose::Read)
    }

    /// The rows a DELETE removes.
    pub fn delete(&self, delete: &Delete) -> Result<PlannedQuery> {
        let target = self.target(&delete.target)?;
        let alias = delete.alias.as_deref().unwrap_or(&delete.target.name);
        let mut query = rows_of(&target, &delete.target, alias, &[], None);
        let select = select_mut(&mut query);
        select.selection = match delete.using.is_empty() {
            true => delete.predicate.clone(),
            false => Some(exists(&delete.using, delete.predicate.clone())),
        };
        self.read(&query)
    }

    /// RETURNING over a row of the target.
    pub fn returning(&self, items: &[ast::SelectItem], target: &Name, alias: Option<&str>) -> Result<RowExpressions> {
        let schema = self.target(target)?;
        let mut query = rows_of(&schema, target, alias.unwrap_or(&target.name), &[], None);
        select_mut(&mut query).projection = items.to_vec();
        self.row_expressions(&query, "RETURNING")
    }

    /// ON CONFLICT DO UPDATE; `None` for DO NOTHING.
    pub fn on_conflict(&self, conflict: &OnConflict, target: &Name, defaults: &Defaults) -> Result<Option<ConflictUpdate>> {
        let Some((assignments, predicate)) = &conflict.update else { return Ok(None) };
        let schema = self.target(target)?;
        let mut assigned: HashMap<usize, ast::Expr> = HashMap::new();
        for (column, value) in assignments {
            let index = column_of(&schema, target, column)?;
            assigned.insert(index, or_default(value, &schema.field(index).clone(), defaults));
        }
        let mut query = parse(&format!("SELECT 1 FROM {0} AS {1} CROSS JOIN {0} AS excluded", table(target), quoted(&target.name)));
        let new = (0..schema.fields().len()).map(|index| {
            let kept = column_reference(&target.name, schema.field(index).name());
            ast::SelectItem::ExprWithAlias {
                expr: assigned.get(&index).cloned().unwrap_or(kept),
                alias: ast::Ident::with_quote('"', format!("new_{index}")),
            }
        });
        select_mut(&mut query).projection = new.collect();
        let values = self.assigned_expressions(&query, &schema)?;
        let predicate = match predicate {
            Some(predicate) => {
                select_mut(&mut query).projection = vec![ast::SelectItem::UnnamedExpr(predicate.clone())];
                self.row_expressions(&query, "ON CONFLICT")?.expressions.into_iter().next()
            }
            None => None,
        };
        Ok(Some(ConflictUpdate { values, predicate }))
    }

    fn assigned_expressions(&self, query: &ast::Query, schema: &SchemaRef) -> Result<RowExpressions> {
        let state = self.state();
        let plan = self.ours(Names::new(&state, self.provider(), Purpose::Read).plan(query))?;
        let values = (0..schema.fields().len()).map(|index| assign(&plan, index, schema.field(index))).collect::<Result<Vec<_>>>()?;
        let plan = self.ours(Projection::try_new(values, plan.into()).map(LogicalPlan::Projection))?;
        self.rows_only(plan, "ON CONFLICT")
    }

    fn row_expressions(&self, query: &ast::Query, clause: &str) -> Result<RowExpressions> {
        let state = self.state();
        let plan = self.ours(Names::new(&state, self.provider(), Purpose::Read).plan(query))?;
        self.rows_only(plan, clause)
    }

    fn rows_only(&self, plan: LogicalPlan, clause: &str) -> Result<RowExpressions> {
        let planned = self.finish(plan, self.state(), Purpose::Read)?;
        let expressions = self.ours(row_wise(&planned))?.ok_or_else(|| {
            Error::unsupported(
                format!("subqueries and aggregates in {clause} are not supported"),
                "read the rows with a query after the write",
            )
        })?;
        Ok(RowExpressions { expressions, schema: Arc::clone(planned.schema()) })
    }

    /// The columns of a relation that can be written to.
    fn target(&self, name: &Name) -> Result<SchemaRef> {
        match self.provider().resolve(name.schema.as_deref(), &name.name) {
            Some(Relation::Stored { schema, .. }) => Ok(schema),
            Some(_) => Err(Error::new(sqlstate::WRONG_OBJECT_TYPE, format!("\"{}\" cannot be written to", name.name))),
            None => Err(Error::new(sqlstate::UNDEFINED_TABLE, format!("relation \"{}\" does not exist", name.name))),
        }
    }

    fn ours<T>(&self, result: DataFusionResult<T>) -> Result<T> {
        result.map_err(|error| self.failure(error))
    }
}

/// The expressions of projections over plain scans, as one projection; `None` when there is anything else in the plan.
fn row_wise(planned: &PlannedQuery) -> DataFusionResult<Option<Vec<Arc<dyn PhysicalExpr>>>> {
    let mut plan = &planned.plan;
    let mut expressions: Option<Vec<Arc<dyn PhysicalExpr>>> = None;
    while let LogicalPlan::Projection(projection) = plan {
        let schema = projection.input.schema();
        let simplifier = simplifier(&planned.state, Arc::clone(schema));
        let mut compiled = Vec::with_capacity(projection.expr.len());
        for expression in &projection.expr {
            if has_subquery(expression)? {
                return Ok(None);
            }
            let simple = simplifier.simplify(expression.clone())?;
            compiled.push(create_physical_expr(&simple, schema, planned.state.execution_props(), &PhysicalPlanningContext::default())?);
        }
        expressions = Some(match expressions {
            None => compiled,
            Some(above) => above.into_iter().map(|expression| over(expression, &compiled)).collect::<DataFusionResult<_>>()?,
        });
        plan = &projection.input;
    }
    Ok(expressions.filter(|_| is_row(plan)))
}

/// A row of one relation, or of two that stand for the row there and the row proposed. A subquery has become another join.
fn is_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(_) => true,
        LogicalPlan::SubqueryAlias(alias) => is_row(&alias.input),
        LogicalPlan::Join(join) => join.join_type == JoinType::Inner && join.filter.is_none() && is_row(&join.left) && is_row(&join.right),
        _ => false,
    }
}

fn has_subquery(expression: &Expr) -> DataFusionResult<bool> {
    expression.exists(|node| Ok(matches!(node, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_))))
}

fn over(expression: Arc<dyn PhysicalExpr>, columns: &[Arc<dyn PhysicalExpr>]) -> DataFusionResult<Arc<dyn PhysicalExpr>> {
    let replaced = expression.transform_up(|node| match node.downcast_ref::<PhysicalColumn>() {
        Some(column) => Ok(Transformed::yes(Arc::clone(&columns[column.index()]))),
        None => Ok(Transformed::no(node)),
    })?;
    Ok(replaced.data)
}

fn given_columns(target: &SchemaRef, name: &Name, columns: &[String]) -> Result<Vec<usize>> {
    if columns.is_empty() {
        return Ok((0..target.fields().len()).collect());
    }
    let mut given = Vec::with_capacity(columns.len());
    for column in columns {
        let index = column_of(target, name, column)?;
        if given.contains(&index) {
            return Err(Error::new(sqlstate::DUPLICATE_COLUMN, format!("column \"{column}\" specified more than once")));
        }
        given.push(index);
    }
    Ok(given)
}

fn column_of(target: &SchemaRef, name: &Name, column: &str) -> Result<usize> {
    target
        .index_of(column)
        .map_err(|_| Error::new(sqlstate::UNDEFINED_COLUMN, format!("column \"{column}\" of relation \"{}\" does not exist", name.name)))
}

fn default_value(field: &Field, defaults: &Defaults, names: &Names<'_>) -> DataFusionResult<Expr> {
    let nothing = DFSchema::empty();
    let value = match defaults.get(field.name()) {
        Some(default) => {
            SqlToRel::new(names).sql_to_expr(super::meaning::for_planner(default.clone()), &nothing, &mut PlannerContext::new())?
        }
        None => Expr::Literal(datafusion::common::ScalarValue::Null, None),
    };
    assign_expression(value, &nothing, field)
}

/// Puts defaults in place of DEFAULT in VALUES.
fn fill_defaults(source: &mut ast::Query, given: &[usize], target: &SchemaRef, defaults: &Defaults) {
    if let ast::SetExpr::Values(values) = source.body.as_mut() {
        for row in &mut values.rows {
            for (cell, column) in row.content.iter_mut().zip(given) {
                *cell = typed(or_default(cell, target.field(*column), defaults), target.field(*column));
            }
        }
    }
}

/// A literal of VALUES as the column reads it: Postgres gives each literal the column's type before the rows' types are made
/// one. So a fraction for a double is never a numeric in between, which holds less.
fn typed(value: ast::Expr, field: &Field) -> ast::Expr {
    let sql_type = catalog::SqlType::of_field(field);
    match &value {
        ast::Expr::Value(ast::ValueWithSpan { value: ast::Value::SingleQuotedString(text), .. }) if sql_type != catalog::SqlType::Text => {
            super::meaning::read_as(text, &sql_type)
        }
        ast::Expr::Value(ast::ValueWithSpan { value: ast::Value::Number(text, _), .. })
            if is_fraction(text) && has_fractions(&sql_type) =>
        {
            super::meaning::read_as(text, &sql_type)
        }
        _ => value,
    }
}

fn is_fraction(text: &str) -> bool {
    text.contains(['.', 'e', 'E']) && !text.contains('_')
}

fn has_fractions(sql_type: &catalog::SqlType) -> bool {
    matches!(sql_type, catalog::SqlType::Double | catalog::SqlType::Real | catalog::SqlType::Numeric(_))
}

fn or_default(value: &ast::Expr, field: &Field, defaults: &Defaults) -> ast::Expr {
    match value {
        ast::Expr::Identifier(name) if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("default") => {
            defaults.get(field.name()).cloned().unwrap_or(ast::Expr::value(ast::Value::Null))
        }
        other => other.clone(),
    }
}

/// `SELECT alias.columns FROM target AS alias, from WHERE predicate`, each row of the target once.
fn rows_of(target: &SchemaRef, name: &Name, alias: &str, from: &[ast::TableWithJoins], predicate: Option<&ast::Expr>) -> ast::Query {
    let list =
        |prefix: &str| target.fields().iter().map(|field| format!("{prefix}{}", quoted(field.name()))).collect::<Vec<_>>().join(", ");
    let prefix = format!("{}.", quoted(alias));
    let columns = list(&prefix);
    let mut query = match from {
        [] => parse(&format!("SELECT {columns} FROM {} AS {}", table(name), quoted(alias))),
        _ => parse(&format!(
            "SELECT DISTINCT ON ({columns}, {prefix}\"$copy\") {columns} \
             FROM (SELECT *, row_number() OVER (PARTITION BY {}) AS \"$copy\" FROM {}) AS {}",
            list(""),
            table(name),
            quoted(alias)
        )),
    };
    let select = select_mut(&mut query);
    select.from.extend(from.iter().cloned());
    select.selection = predicate.cloned();
    query
}

/// Appends each column's new value to the old ones; of several matches the first in the order of the new values counts.
fn with_new_values(mut query: ast::Query, target: &SchemaRef, alias: &str, assigned: &HashMap<usize, ast::Expr>) -> ast::Query {
    let select = select_mut(&mut query);
    for (index, field) in target.fields().iter().enumerate() {
        let kept = column_reference(alias, field.name());
        select.projection.push(ast::SelectItem::ExprWithAlias {
            expr: assigned.get(&index).cloned().unwrap_or(kept),
            alias: ast::Ident::with_quote('"', format!("new_{index}")),
        });
    }
    query
}

fn exists(using: &[ast::TableWithJoins], predicate: Option<ast::Expr>) -> ast::Expr {
    let mut subquery = parse("SELECT 1");
    let select = select_mut(&mut subquery);
    select.from = using.to_vec();
    select.selection = predicate;
    ast::Expr::Exists { subquery: Box::new(subquery), negated: false }
}

fn named(value: Expr, name: String) -> Expr {
    super::lower::unaliased(&value).clone().alias(name)
}

fn column_reference(table: &str, column: &str) -> ast::Expr {
    ast::Expr::CompoundIdentifier(vec![ast::Ident::with_quote('"', table), ast::Ident::with_quote('"', column)])
}

fn table(name: &Name) -> String {
    match &name.schema {
        Some(schema) => format!("{}.{}", quoted(schema), quoted(&name.name)),
        None => quoted(&name.name),
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn parse(sql: &str) -> ast::Query {
    let parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql);
    *parser.and_then(|mut parser| parser.parse_query()).expect("our own text parses")
}

fn select_mut(query: &mut ast::Query) -> &mut ast::Select {
    match query.body.as_mut() {
        ast::SetExpr::Select(select) => select,
        _ => unreachable!("our own text is a SELECT"),
    }
}
