//! CREATE STREAM, TABLE, VIEW, SINK, INDEX and SCHEMA.

use datafusion::sql::sqlparser::ast::{ColumnOption, Ident};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::cursor::{Cursor, Parse};
use super::function::create_function;
use super::options::parse_with;
use super::parse_query;
use super::tokens::{Emit, is_word};
use super::types::parse_type;
use catalog::SqlType;

use crate::Error;
use crate::error::sqlstate;
use crate::plan::statement::*;

/// CREATE …, the word already passed.
pub(super) fn create(cursor: &mut Cursor, emit: Emit) -> Parse<Statement> {
    let at = cursor.here();
    let or_replace = cursor.eat(&["OR", "REPLACE"]);
    let materialized = cursor.eat(&["MATERIALIZED"]);
    let kind = cursor.word(0);
    if or_replace && !["VIEW", "FUNCTION"].contains(&kind.as_str()) {
        return cursor
            .refuse(Error::unsupported(format!("CREATE OR REPLACE {kind} is not supported"), "drop it first, or use IF NOT EXISTS"), at);
    }
    if materialized && kind != "VIEW" {
        return cursor.expected("VIEW");
    }
    if let ("VIEW" | "SINK", Emit::OnWindowClose) = (kind.as_str(), emit) {
        return cursor.refuse(emit_on_close(), at);
    }
    cursor.next();
    match kind.as_str() {
        "STREAM" | "SOURCE" => create_stream(cursor),
        "TABLE" => create_table(cursor),
        "VIEW" => create_view(cursor, materialized, or_replace),
        "SINK" => create_sink(cursor),
        "INDEX" => create_index(cursor),
        "SCHEMA" => create_schema(cursor),
        "FUNCTION" => create_function(cursor, or_replace),
        _ => cursor.refuse(super::not_supported(&format!("CREATE {kind}")), at),
    }
}

/// `[CONCURRENTLY] [[IF NOT EXISTS] name] ON relation [USING method] (column …)`. The order of a column says nothing: rows are found
/// by equality.
fn create_index(cursor: &mut Cursor) -> Parse<Statement> {
    cursor.eat(&["CONCURRENTLY"]);
    let if_not_exists = cursor.if_not_exists();
    let name = if !if_not_exists && cursor.at(&["ON"]) { None } else { Some(cursor.identifier()?) };
    cursor.expect(&["ON"])?;
    let on = cursor.name()?;
    if cursor.eat(&["USING"]) {
        let at = cursor.here();
        let method = cursor.identifier()?;
        if !["btree", "hash"].contains(&method.as_str()) {
            return cursor.refuse(Error::unsupported(format!("access method \"{method}\" is not supported"), "leave USING out"), at);
        }
    }
    let columns = cursor.parenthesised(index_column)?;
    for (word, hint) in [
        ("INCLUDE", "leave it out: an index has all columns"),
        ("NULLS", "leave it out: an index does not check uniqueness"),
        ("WITH", "leave it out: there are no such options"),
        ("TABLESPACE", "leave it out: there are no tablespaces"),
        ("WHERE", "index a materialized view that has the condition"),
    ] {
        if cursor.at(&[word]) {
            return cursor.refuse_here(Error::unsupported(format!("CREATE INDEX with {word} is not supported"), hint));
        }
    }
    Ok(Statement::CreateIndex(CreateIndex { name, if_not_exists, on, columns }))
}

fn index_column(cursor: &mut Cursor) -> Parse<String> {
    let at = cursor.here();
    let is_called = matches!(cursor.parser.peek_nth_token_ref(1).token, Token::LParen);
    let column = if is_called || cursor.at_token(&Token::LParen) { None } else { Some(cursor.identifier()?) };
    cursor.eat_one(&["ASC", "DESC"]);
    if cursor.eat(&["NULLS"]) && cursor.eat_one(&["FIRST", "LAST"]).is_none() {
        return cursor.expected("FIRST or LAST");
    }
    match column {
        Some(column) if cursor.at_token(&Token::Comma) || cursor.at_token(&Token::RParen) => Ok(column),
        _ => cursor.refuse(
            Error::unsupported(
                "expressions, COLLATE and operator classes are not supported in an index",
                "name columns alone; index a materialized view that has the expression as a column",
            ),
            at,
        ),
    }
}

/// The error for `EMIT ON WINDOW CLOSE`.
pub(super) fn emit_on_close() -> Error {
    Error::unsupported(
        "EMIT ON WINDOW CLOSE is not supported yet",
        "it comes with event time; without it the view is kept current for open windows too",
    )
}

/// What stands between a relation's parentheses.
#[derive(Default)]
struct Definition {
    columns: Vec<ColumnDef>,
    primary_key: Vec<String>,
    watermark: Option<Watermark>,
}

fn create_stream(cursor: &mut Cursor) -> Parse<Statement> {
    let if_not_exists = cursor.if_not_exists();
    let name = cursor.name()?;
    let at = cursor.here();
    let definition = parse_definition(cursor, &name.name)?;
    if !definition.primary_key.is_empty() {
        return cursor.refuse(
            Error::unsupported("a stream has no primary key: its rows are never changed", "use CREATE TABLE, or leave the key out"),
            at,
        );
    }
    let options = parse_with(cursor)?;
    let Definition { columns, watermark, .. } = definition;
    Ok(Statement::CreateStream(CreateStream { name, if_not_exists, columns, watermark, options }))
}

fn create_table(cursor: &mut Cursor) -> Parse<Statement> {
    let if_not_exists = cursor.if_not_exists();
    let name = cursor.name()?;
    let at = cursor.here();
    let renamed = if only_names(cursor) { cursor.optional_columns()? } else { vec![] };
    let definition = if renamed.is_empty() { parse_definition(cursor, &name.name)? } else { Definition::default() };
    if definition.watermark.is_some() {
        return cursor.refuse(Error::unsupported("a table has no watermark", "use CREATE STREAM"), at);
    }
    if let Some(column) = definition.columns.iter().find(|column| column.intake_time) {
        let message = format!("column \"{}\" of a table cannot be PROCTIME()", column.name);
        return cursor.refuse(Error::unsupported(message, "rows of a table change: use DEFAULT now(), or CREATE STREAM"), at);
    }
    let options = parse_with(cursor)?;
    let query = match cursor.eat(&["AS"]) {
        false if definition.columns.is_empty() => return cursor.expected("columns or AS query"),
        false => None,
        true if !definition.columns.is_empty() => {
            return cursor.refuse(
                Error::unsupported("CREATE TABLE AS takes no column types", "cast in the query, or CREATE TABLE and INSERT … SELECT"),
                at,
            );
        }
        true => Some(renamed_query(cursor, &name.name, &renamed)?),
    };
    if query.is_some() {
        if cursor.at(&["WITH", "NO", "DATA"]) {
            return cursor.refuse_here(Error::unsupported("WITH NO DATA is not supported", "CREATE TABLE with columns instead"));
        }
        cursor.eat(&["WITH", "DATA"]);
    }
    let Definition { columns, primary_key, .. } = definition;
    Ok(Statement::CreateTable(CreateTable { name, if_not_exists, columns, primary_key, options, query }))
}

/// Whether `(a, b)` without types comes next, as in `CREATE TABLE t (a, b) AS …`.
fn only_names(cursor: &Cursor) -> bool {
    cursor.at_token(&Token::LParen) && matches!(cursor.parser.peek_nth_token_ref(2).token, Token::Comma | Token::RParen)
}

fn renamed_query(cursor: &mut Cursor, name: &str, columns: &[String]) -> Parse<Box<datafusion::sql::sqlparser::ast::Query>> {
    let (query, text) = cursor.query_with_text()?;
    if columns.is_empty() {
        return Ok(query);
    }
    let columns: Vec<String> = columns.iter().map(|column| Ident::with_quote('"', column).to_string()).collect();
    Ok(parse_query(&format!("SELECT * FROM ({text}) AS {} ({})", Ident::with_quote('"', name), columns.join(", ")))?)
}

/// `(column type …, PRIMARY KEY (…), WATERMARK FOR …)`; nothing when no parenthesis comes next.
fn parse_definition(cursor: &mut Cursor, relation: &str) -> Parse<Definition> {
    let mut definition = Definition::default();
    if !cursor.at_token(&Token::LParen) {
        return Ok(definition);
    }
    let at = cursor.here();
    cursor.parenthesised(|cursor| parse_element(cursor, relation, &mut definition))?;
    check_key(&mut definition).or_else(|error| cursor.refuse(error, at))?;
    Ok(definition)
}

/// The key's columns exist and become NOT NULL; so does the watermark's column exist.
fn check_key(definition: &mut Definition) -> Result<(), Error> {
    let missing =
        |column: &str, of: &str| Error::new(sqlstate::UNDEFINED_COLUMN, format!("column \"{column}\" named in {of} does not exist"));
    for (at, key) in definition.primary_key.iter().enumerate() {
        if definition.primary_key[..at].contains(key) {
            return Err(Error::new(sqlstate::DUPLICATE_COLUMN, format!("column \"{key}\" appears twice in primary key constraint")));
        }
        let column = definition.columns.iter_mut().find(|column| column.name == *key);
        column.ok_or_else(|| missing(key, "key"))?.not_null = true;
    }
    match &definition.watermark {
        Some(watermark) if !definition.columns.iter().any(|column| column.name == watermark.column) => {
            Err(missing(&watermark.column, "WATERMARK"))
        }
        _ => Ok(()),
    }
}

fn parse_element(cursor: &mut Cursor, relation: &str, definition: &mut Definition) -> Parse<()> {
    let at = cursor.here();
    if cursor.eat(&["WATERMARK", "FOR"]) {
        let column = cursor.identifier()?;
        cursor.expect(&["AS"])?;
        let (_, expression_sql) = cursor.expression_with_text()?;
        if definition.watermark.replace(Watermark { column, expression_sql }).is_some() {
            return cursor.refuse(Error::new(sqlstate::SYNTAX_ERROR, "WATERMARK is given more than once"), at);
        }
        return Ok(());
    }
    if cursor.eat(&["CONSTRAINT"]) {
        cursor.identifier()?;
    }
    if cursor.eat(&["PRIMARY", "KEY"]) {
        let key = cursor.parenthesised(|cursor| cursor.identifier())?;
        cursor.eat(&["NOT", "ENFORCED"]);
        return set_key(cursor, relation, definition, key);
    }
    if matches!(cursor.word(0).as_str(), "UNIQUE" | "CHECK" | "FOREIGN" | "EXCLUDE" | "LIKE") {
        let constraint = cursor.word(0);
        return cursor.refuse_here(no_constraint(&constraint));
    }
    parse_column(cursor, relation, definition)
}

fn set_key(cursor: &Cursor, relation: &str, definition: &mut Definition, key: Vec<String>) -> Parse<()> {
    if !definition.primary_key.is_empty() {
        let message = format!("multiple primary keys for table \"{relation}\" are not allowed");
        return cursor.refuse_here(Error::new("42P16", message));
    }
    definition.primary_key = key;
    Ok(())
}

fn no_constraint(constraint: &str) -> Error {
    match constraint {
        "LIKE" => Error::unsupported("LIKE in CREATE TABLE is not supported", "write the columns out"),
        "UNIQUE" => Error::unsupported("UNIQUE constraints are not supported", "use PRIMARY KEY; a view can count duplicates"),
        "FOREIGN" | "REFERENCES" => Error::unsupported(
            "foreign keys are not supported",
            "leave the constraint out; a view with an anti join shows what would break it",
        ),
        _ => Error::unsupported(
            format!("{constraint} constraints are not supported"),
            "leave the constraint out; a view with the negated condition shows what would break it",
        ),
    }
}

fn parse_column(cursor: &mut Cursor, relation: &str, definition: &mut Definition) -> Parse<()> {
    let at = cursor.here();
    let name = cursor.identifier()?;
    if definition.columns.iter().any(|column| column.name == name) {
        let message = format!("column \"{name}\" specified more than once");
        return cursor.refuse(Error::new(sqlstate::DUPLICATE_COLUMN, message), at);
    }
    // Flink's `p AS PROCTIME()` has no type; its own there is a timestamp with time zone.
    let sql_type = if cursor.at(&["AS"]) { SqlType::TimestampTz } else { parse_type(cursor)? };
    let mut column = ColumnDef { name, sql_type, not_null: false, default: None, default_sql: None, intake_time: false };
    while !matches!(cursor.parser.peek_token_ref().token, Token::Comma | Token::RParen) {
        if parse_column_option(cursor, &mut column)? == Is::PrimaryKey {
            set_key(cursor, relation, definition, vec![column.name.clone()])?;
        }
    }
    if column.intake_time && column.default.is_some() {
        return cursor.refuse(Error::new(sqlstate::SYNTAX_ERROR, "a column has either a DEFAULT or PROCTIME()"), at);
    }
    definition.columns.push(column);
    Ok(())
}

/// `AS PROCTIME()`, the only computed column there is.
fn parse_intake_time(cursor: &mut Cursor, column: &mut ColumnDef) -> Parse<()> {
    let at = cursor.here();
    cursor.expect(&["AS"])?;
    if !cursor.eat(&["PROCTIME"]) {
        return cursor.refuse(
            Error::unsupported(
                "computed columns other than PROCTIME() are not supported",
                "compute it in a view; for the time of intake declare a column AS PROCTIME()",
            ),
            at,
        );
    }
    cursor.expect_token(&Token::LParen)?;
    cursor.expect_token(&Token::RParen)?;
    if !matches!(column.sql_type, SqlType::Timestamp | SqlType::TimestampTz) {
        let message = format!("column \"{}\" is of type {} but PROCTIME() is a time stamp", column.name, column.sql_type);
        let error = Error::new(sqlstate::DATATYPE_MISMATCH, message);
        return cursor.refuse(error.with_hint("declare it as timestamp or timestamptz"), at);
    }
    column.intake_time = true;
    Ok(())
}

/// What a column option was.
#[derive(PartialEq)]
enum Is {
    PrimaryKey,
    Done,
}

fn parse_column_option(cursor: &mut Cursor, column: &mut ColumnDef) -> Parse<Is> {
    if cursor.eat(&["CONSTRAINT"]) {
        cursor.identifier()?;
    }
    match cursor.word(0).as_str() {
        "NOT" => {
            cursor.expect(&["NOT", "NULL"])?;
            column.not_null = true;
        }
        "NULL" => cursor.expect(&["NULL"])?,
        "PRIMARY" => {
            cursor.expect(&["PRIMARY", "KEY"])?;
            cursor.eat(&["NOT", "ENFORCED"]);
            return Ok(Is::PrimaryKey);
        }
        "DEFAULT" => {
            let start = cursor.parser.peek_nth_token_ref(1).span.start;
            // sqlparser's own, because `DEFAULT 1 NOT NULL` must end before NOT.
            match cursor.parser.parse_optional_column_option()? {
                Some(ColumnOption::Default(mut default)) => {
                    crate::plan::normalise::normalise(&mut default)?;
                    column.default_sql = Some(cursor.text_since(start));
                    column.default = Some(default);
                }
                _ => return cursor.expected("an expression"),
            }
        }
        "AS" => parse_intake_time(cursor, column)?,
        constraint @ ("UNIQUE" | "CHECK" | "REFERENCES") => return cursor.refuse_here(no_constraint(constraint)),
        "GENERATED" => {
            return cursor.refuse_here(Error::unsupported("generated columns are not supported", "use DEFAULT, or compute it in a view"));
        }
        "COLLATE" => {
            return cursor
                .refuse_here(Error::unsupported("collations are not supported", "leave COLLATE out: text is ordered by its bytes"));
        }
        _ => return cursor.expected("a column constraint, ',' or ')'"),
    }
    Ok(Is::Done)
}

fn create_view(cursor: &mut Cursor, materialized: bool, or_replace: bool) -> Parse<Statement> {
    let if_not_exists = cursor.if_not_exists();
    let name = cursor.name()?;
    let columns = cursor.optional_columns()?;
    let options = parse_with(cursor)?;
    cursor.expect(&["AS"])?;
    let (query, query_sql) = cursor.query_with_text()?;
    cursor.eat(&["WITH", "DATA"]);
    Ok(Statement::CreateView(CreateView { name, materialized, or_replace, if_not_exists, columns, query, query_sql, options }))
}

fn create_sink(cursor: &mut Cursor) -> Parse<Statement> {
    let if_not_exists = cursor.if_not_exists();
    let name = cursor.name()?;
    let mut options = parse_with(cursor)?;
    let (query, query_sql) = match cursor.eat(&["AS"]) {
        true => cursor.query_with_text()?,
        false => {
            cursor.expect(&["FROM"])?;
            let start = cursor.here();
            cursor.name()?;
            let query_sql = format!("SELECT * FROM {}", cursor.text_since(start));
            (parse_query(&query_sql)?, query_sql)
        }
    };
    if options.is_empty() {
        options = parse_with(cursor)?;
    }
    Ok(Statement::CreateSink(CreateSink { name, if_not_exists, query, query_sql, options }))
}

/// Moves a sink's `WITH (…)` from behind its query before `AS`: behind a table sqlparser would read it as table hints.
pub(super) fn options_before_query(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut depth = 0_i64;
    let (mut at_as, mut at_with) = (None, None);
    for (n, token) in tokens.iter().enumerate() {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            found if depth == 0 && at_as.is_none() && is_word(found, "AS") => at_as = Some(n),
            found if depth == 0 && is_word(found, "WITH") => {
                let parenthesis = tokens.get(n + 1).is_some_and(|next| next.token == Token::LParen);
                at_with = parenthesis.then_some(n);
            }
            _ => {}
        }
    }
    match (at_as, at_with) {
        (Some(at_as), Some(at_with)) if at_as < at_with => [&tokens[..at_as], &tokens[at_with..], &tokens[at_as..at_with]].concat(),
        _ => tokens,
    }
}

fn create_schema(cursor: &mut Cursor) -> Parse<Statement> {
    let if_not_exists = cursor.if_not_exists();
    Ok(Statement::CreateSchema { name: cursor.identifier()?, if_not_exists })
}
