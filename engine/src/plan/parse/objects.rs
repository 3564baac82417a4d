//! DROP and COMMENT ON.

use catalog::ObjectKind;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::{Cursor, Parse};
use super::not_supported;
use super::types::parse_type;
use crate::plan::names;
use crate::plan::statement::{Drop, Name, Statement};

/// DROP …, the word already passed.
pub(super) fn drop(cursor: &mut Cursor) -> Parse<Statement> {
    let kind = object_kind(cursor, "DROP")?;
    if kind == ObjectKind::Index {
        cursor.eat(&["CONCURRENTLY"]);
    }
    let if_exists = cursor.if_exists();
    let names = cursor.separated(|cursor| object_name(cursor, kind))?;
    let cascade = cursor.eat(&["CASCADE"]);
    if !cascade {
        cursor.eat(&["RESTRICT"]);
    }
    Ok(Statement::Drop(Drop { kind, names, if_exists, cascade }))
}

/// COMMENT …, the word already passed.
pub(super) fn comment(cursor: &mut Cursor) -> Parse<Statement> {
    cursor.expect(&["ON"])?;
    let (kind, name, column) = match cursor.eat(&["COLUMN"]) {
        true => column_name(cursor)?,
        false => {
            let kind = object_kind(cursor, "COMMENT ON")?;
            (kind, object_name(cursor, kind)?, None)
        }
    };
    cursor.expect(&["IS"])?;
    let comment = match cursor.eat(&["NULL"]) {
        true => None,
        false => Some(cursor.string()?),
    };
    Ok(Statement::Comment { kind, name, column, comment })
}

/// The kind a statement names.
fn object_kind(cursor: &mut Cursor, statement: &str) -> Parse<ObjectKind> {
    if cursor.eat(&["MATERIALIZED", "VIEW"]) {
        return Ok(ObjectKind::MaterializedView);
    }
    let kind = match cursor.word(0).as_str() {
        "STREAM" | "SOURCE" => ObjectKind::Stream,
        "TABLE" => ObjectKind::Table,
        "VIEW" => ObjectKind::View,
        "SINK" => ObjectKind::Sink,
        "INDEX" => ObjectKind::Index,
        "FUNCTION" => ObjectKind::Function,
        "SCHEMA" => ObjectKind::Schema,
        "" => return cursor.expected("what kind of object"),
        other => return cursor.refuse_here(not_supported(&format!("{statement} {other}"))),
    };
    cursor.next();
    Ok(kind)
}

/// A name; a function's may be followed by the types of its arguments, which are read and not needed: names are unique.
fn object_name(cursor: &mut Cursor, kind: ObjectKind) -> Parse<Name> {
    let name = cursor.name()?;
    if kind == ObjectKind::Function && cursor.eat_token(&Token::LParen) && !cursor.eat_token(&Token::RParen) {
        cursor.separated(parse_type)?;
        cursor.expect_token(&Token::RParen)?;
    }
    Ok(name)
}

/// `relation.column` or `schema.relation.column`. The kind is not known here: that of a table stands for any relation.
fn column_name(cursor: &mut Cursor) -> Parse<(ObjectKind, Name, Option<String>)> {
    let mut parts = vec![cursor.ident()?];
    while cursor.eat_token(&Token::Period) {
        parts.push(cursor.ident()?);
    }
    let parts: Vec<String> = parts.iter().map(names::fold).collect();
    let (name, column) = match parts.as_slice() {
        [relation, column] => (Name { schema: None, name: relation.clone() }, column),
        [schema, relation, column] => (Name { schema: Some(schema.clone()), name: relation.clone() }, column),
        _ => return cursor.expected("relation.column"),
    };
    Ok((ObjectKind::Table, name, Some(column.clone())))
}
