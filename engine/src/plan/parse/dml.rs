//! INSERT, UPDATE, DELETE and TRUNCATE: read by sqlparser, checked for what we do not have.

use datafusion::sql::sqlparser::ast::{
    self, Assignment, AssignmentTarget, ConflictTarget, Expr, FromTable, OnConflictAction, OnInsert, SelectItem, TableObject,
    TableWithJoins, UpdateTableFromKind,
};

use super::cursor::{Cursor, Parse};
use crate::error::sqlstate;
use crate::plan::names;
use crate::plan::normalise::normalise;
use crate::plan::statement::{Delete, Insert, Name, OnConflict, Statement, Update};
use crate::{Error, Result};

/// INSERT.
pub(super) fn insert(cursor: &mut Cursor) -> Parse<Statement> {
    let at = cursor.here();
    if !cursor.at(&["INSERT", "INTO"]) {
        cursor.next();
        return cursor.expected("INTO");
    }
    let token = cursor.next();
    let ast::Statement::Insert(found) = cursor.parser.parse_insert(token)? else {
        return cursor.refuse(super::not_supported("INSERT into a directory"), at);
    };
    convert_insert(found).map(|insert| Statement::Insert(Box::new(insert))).or_else(|error| cursor.refuse(error, at))
}

fn convert_insert(found: ast::Insert) -> Result<Insert> {
    let TableObject::TableName(target) = &found.table else {
        return Err(Error::unsupported("INSERT into a function or query is not supported", "name a table or stream"));
    };
    if found.or.is_some() || found.overwrite || found.partitioned.is_some() || found.output.is_some() {
        return Err(Error::new(sqlstate::SYNTAX_ERROR, "INSERT takes INTO, columns, a query, ON CONFLICT and RETURNING only"));
    }
    if found.table_alias.is_some() {
        return Err(Error::unsupported("an alias in INSERT is not supported", "use the table's own name in ON CONFLICT and RETURNING"));
    }
    let columns = found.columns.iter().map(column).collect::<Result<_>>()?;
    let on_conflict = found.on.map(convert_on_conflict).transpose()?;
    let returning = found.returning.unwrap_or_default();
    Ok(Insert { target: names::name(target)?, columns, source: found.source, on_conflict, returning })
}

fn convert_on_conflict(on: OnInsert) -> Result<OnConflict> {
    let OnInsert::OnConflict(on) = on else {
        return Err(Error::unsupported("ON DUPLICATE KEY UPDATE is not supported", "use ON CONFLICT (key) DO UPDATE SET …"));
    };
    let columns = match on.conflict_target {
        None => vec![],
        Some(ConflictTarget::Columns(columns)) => columns.iter().map(names::fold).collect(),
        Some(ConflictTarget::OnConstraint(_)) => {
            return Err(Error::unsupported(
                "ON CONFLICT ON CONSTRAINT is not supported",
                "name the primary key's columns: ON CONFLICT (…)",
            ));
        }
    };
    let update = match on.action {
        OnConflictAction::DoNothing => None,
        OnConflictAction::DoUpdate(_) if columns.is_empty() => {
            let error = Error::new(sqlstate::SYNTAX_ERROR, "ON CONFLICT DO UPDATE requires the columns of the key");
            return Err(error.with_hint("for example, ON CONFLICT (column_name)"));
        }
        OnConflictAction::DoUpdate(update) => Some((assignments(update.assignments)?, update.selection)),
    };
    Ok(OnConflict { columns, update })
}

/// UPDATE.
pub(super) fn update(cursor: &mut Cursor) -> Parse<Statement> {
    let at = cursor.here();
    let token = cursor.next();
    let ast::Statement::Update(found) = cursor.parser.parse_update(token)? else {
        return cursor.expected("an update");
    };
    convert_update(found).map(|update| Statement::Update(Box::new(update))).or_else(|error| cursor.refuse(error, at))
}

fn convert_update(found: ast::Update) -> Result<Update> {
    if found.or.is_some() || found.output.is_some() || found.limit.is_some() || !found.order_by.is_empty() {
        return Err(Error::unsupported("LIMIT in UPDATE is not supported", "choose the rows in WHERE, by a subquery on the key"));
    }
    let (target, alias) = target(&found.table)?;
    let from = match found.from {
        None => vec![],
        Some(UpdateTableFromKind::AfterSet(from)) => from,
        Some(UpdateTableFromKind::BeforeSet(_)) => return Err(Error::new(sqlstate::SYNTAX_ERROR, "FROM comes behind SET")),
    };
    Ok(Update {
        target,
        alias,
        assignments: assignments(found.assignments)?,
        from,
        predicate: found.selection,
        returning: found.returning.unwrap_or_default(),
    })
}

/// DELETE.
pub(super) fn delete(cursor: &mut Cursor) -> Parse<Statement> {
    let at = cursor.here();
    if !cursor.at(&["DELETE", "FROM"]) {
        cursor.next();
        return cursor.expected("FROM");
    }
    let token = cursor.next();
    let ast::Statement::Delete(found) = cursor.parser.parse_delete(token)? else {
        return cursor.expected("a delete");
    };
    convert_delete(found).map(|delete| Statement::Delete(Box::new(delete))).or_else(|error| cursor.refuse(error, at))
}

fn convert_delete(found: ast::Delete) -> Result<Delete> {
    if found.limit.is_some() || !found.order_by.is_empty() || found.output.is_some() {
        return Err(Error::unsupported("LIMIT in DELETE is not supported", "choose the rows in WHERE, by a subquery on the key"));
    }
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = found.from;
    let [from] = from.as_slice() else {
        return Err(Error::new(sqlstate::SYNTAX_ERROR, "DELETE takes one table").with_hint("name the others in USING"));
    };
    let (target, alias) = target(from)?;
    Ok(Delete {
        target,
        alias,
        using: found.using.unwrap_or_default(),
        predicate: found.selection,
        returning: found.returning.unwrap_or_default(),
    })
}

/// TRUNCATE [TABLE] name, the word already passed: a DELETE of every row.
pub(super) fn truncate(cursor: &mut Cursor) -> Parse<Statement> {
    cursor.eat(&["TABLE"]);
    cursor.eat(&["ONLY"]);
    let target = cursor.name()?;
    if cursor.at_token(&datafusion::sql::sqlparser::tokenizer::Token::Comma) {
        return cursor.refuse_here(Error::unsupported(
            "TRUNCATE of several tables is not supported",
            "truncate one after the other, in a transaction",
        ));
    }
    cursor.eat(&["CONTINUE", "IDENTITY"]);
    cursor.eat(&["RESTRICT"]);
    Ok(Statement::Delete(Box::new(Delete { target, alias: None, using: vec![], predicate: None, returning: vec![] })))
}

/// The one relation an UPDATE or DELETE names.
fn target(table: &TableWithJoins) -> Result<(Name, Option<String>)> {
    let relation = names::plain_relation(&table.relation).filter(|_| table.joins.is_empty());
    let Some((name, alias)) = relation else {
        return Err(Error::new(sqlstate::SYNTAX_ERROR, "UPDATE and DELETE change one table").with_hint("name the others in FROM or USING"));
    };
    Ok((names::name(name)?, alias.map(|alias| names::fold(&alias.name))))
}

fn assignments(found: Vec<Assignment>) -> Result<Vec<(String, Expr)>> {
    let mut assigned: Vec<(String, Expr)> = vec![];
    for assignment in found {
        match assignment.target {
            AssignmentTarget::ColumnName(name) => assigned.push((column(&name)?, assignment.value)),
            AssignmentTarget::Tuple(names) => assigned.extend(tuple(&names, assignment.value)?),
        }
    }
    for (at, (name, _)) in assigned.iter().enumerate() {
        if assigned[..at].iter().any(|(earlier, _)| earlier == name) {
            return Err(Error::new(sqlstate::SYNTAX_ERROR, format!("multiple assignments to same column \"{name}\"")));
        }
    }
    Ok(assigned)
}

/// `(a, b) = (x, y)`.
fn tuple(names: &[ast::ObjectName], value: Expr) -> Result<Vec<(String, Expr)>> {
    let values = match value {
        Expr::Tuple(values) => values,
        Expr::Nested(value) => vec![*value],
        Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("row") => {
            return Err(Error::unsupported("ROW in SET is not supported", "write (a, b) = (x, y)"));
        }
        _ => {
            return Err(Error::unsupported(
                "SET of several columns from a query is not supported",
                "join it in FROM and set column by column",
            ));
        }
    };
    if values.len() != names.len() {
        return Err(Error::new(sqlstate::SYNTAX_ERROR, "number of columns does not match number of values"));
    }
    names.iter().zip(values).map(|(name, value)| Ok((column(name)?, value))).collect()
}

/// A column's name; a part of a composite cannot be assigned.
fn column(name: &ast::ObjectName) -> Result<String> {
    match name.0.as_slice() {
        [part] => part.as_ident().map(names::fold).ok_or_else(|| Error::internal("a column that is not an identifier")),
        _ => Err(Error::unsupported(format!("assignment to {name} is not supported"), "assign the whole column, without its table's name")),
    }
}

pub(super) fn normalise_insert(insert: &mut Insert) -> Parse<()> {
    normalise(&mut insert.source)?;
    if let Some((assignments, predicate)) = insert.on_conflict.as_mut().and_then(|on| on.update.as_mut()) {
        assignments.iter_mut().try_for_each(|(_, value)| normalise(value))?;
        normalise(predicate)?;
    }
    Ok(normalise(&mut insert.returning)?)
}

pub(super) fn normalise_update(update: &mut Update) -> Parse<()> {
    update.assignments.iter_mut().try_for_each(|(_, value)| normalise(value))?;
    normalise_rest(&mut update.from, &mut update.predicate, &mut update.returning)
}

pub(super) fn normalise_delete(delete: &mut Delete) -> Parse<()> {
    normalise_rest(&mut delete.using, &mut delete.predicate, &mut delete.returning)
}

fn normalise_rest(from: &mut Vec<TableWithJoins>, predicate: &mut Option<Expr>, returning: &mut Vec<SelectItem>) -> Parse<()> {
    normalise(from)?;
    normalise(predicate)?;
    Ok(normalise(returning)?)
}
