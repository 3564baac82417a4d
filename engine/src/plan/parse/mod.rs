//! The text of one simple-query message → our [`Statement`]s.
//!
//! The text is cut into tokens and these, at semicolons, into statements; each is checked for its depth ([`limits`]) and
//! read by a [`cursor`], with sqlparser where the grammar is standard and by hand where it is ours. What comes out is
//! normalised: windows in FROM are rewritten, and no spelling is left that DataFusion would read otherwise than Postgres.
//!
//! Guaranteed: no text makes this panic, overflow a stack or take more than time linear in its length but for a constant
//! budget; a message with an error in any of its statements yields that error and no statement, as in Postgres. Error
//! positions are characters of the whole text given. Not checked here: whether anything named exists.

mod copy;
mod create;
mod cursor;
mod dml;
mod function;
mod limits;
mod objects;
mod options;
mod portals;
mod session;
#[cfg(test)]
mod tests;
mod text;
mod tokens;
pub(super) mod types;

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{self, Expr, Query};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Span, TokenWithSpan};

use cursor::{Cursor, Failure, Parse};
use text::Text;
use tokens::Emit;

use super::dialect::ThalwegDialect;
use super::normalise::normalise;
use super::statement::*;
use crate::error::sqlstate;
use crate::{Error, Result};

pub use types::{data_type, sql_type};

/// The statements of a query string, in order; one [`Statement::Empty`] when there is none.
pub fn parse(sql: &str) -> Result<Vec<Parsed>> {
    let source = Source::new(sql)?;
    let statements: Vec<Parsed> = source.statements().into_iter().map(|tokens| parse_statement(&source, tokens)).collect::<Result<_>>()?;
    match statements.is_empty() {
        true => Ok(vec![Parsed { statement: Statement::Empty, text: String::new(), offset: 0, start: (1, 1) }]),
        false => Ok(statements),
    }
}

/// One query, as it is stored with a view; windows rewritten and normalised.
pub fn parse_query(sql: &str) -> Result<Box<Query>> {
    let source = Source::new(sql)?;
    let tokens = source.single()?;
    source.run(tokens, |cursor| {
        let mut query = cursor.query()?;
        normalise(&mut *query)?;
        Ok(query)
    })
}

/// One expression, as it is stored as a DEFAULT or a function's body; normalised.
pub fn parse_expression(sql: &str) -> Result<Expr> {
    let source = Source::new(sql)?;
    let tokens = source.single()?;
    source.run(tokens, |cursor| {
        let mut expression = cursor.expression()?;
        normalise(&mut expression)?;
        Ok(expression)
    })
}

fn parse_statement(source: &Source, tokens: Vec<TokenWithSpan>) -> Result<Parsed> {
    let start = tokens.first().expect("a statement has a token").span.start;
    let end = tokens.last().expect("a statement has a token").span.end;
    let text = source.text.slice(Span::new(start, end)).to_owned();
    let statement = source.statement(tokens)?;
    Ok(Parsed { statement, text, offset: source.text.character(start), start: (start.line, start.column) })
}

/// A text and its tokens.
struct Source<'a> {
    text: Text<'a>,
    tokens: Vec<TokenWithSpan>,
}

impl<'a> Source<'a> {
    fn new(sql: &'a str) -> Result<Self> {
        let text = Text::new(sql);
        let tokens = tokens::tokens(sql, &text)?;
        Ok(Self { text, tokens })
    }

    fn statements(&self) -> Vec<Vec<TokenWithSpan>> {
        tokens::statements(&self.tokens)
    }

    /// The only statement.
    fn single(&self) -> Result<Vec<TokenWithSpan>> {
        let mut statements = self.statements();
        match statements.len() {
            0 | 1 => Ok(statements.pop().unwrap_or_default()),
            _ => Err(Error::new(sqlstate::SYNTAX_ERROR, "cannot insert multiple commands into a prepared statement")),
        }
    }

    fn statement(&self, mut tokens: Vec<TokenWithSpan>) -> Result<Statement> {
        let emit = tokens::take_emit(&mut tokens);
        if tokens::is_word(&tokens[0].token, "CREATE") && tokens.get(1).is_some_and(|next| tokens::is_word(&next.token, "SINK")) {
            tokens = create::options_before_query(tokens);
        }
        self.run(tokens, |cursor| {
            let mut statement = dispatch(cursor, emit)?;
            normalise_statement(&mut statement)?;
            Ok(statement)
        })
    }

    /// Reads all of `tokens` with `read`.
    fn run<T>(&self, tokens: Vec<TokenWithSpan>, read: impl FnOnce(&mut Cursor) -> Parse<T>) -> Result<T> {
        limits::check(&tokens).map_err(|failure| self.error(failure, &tokens, Location::empty()))?;
        let tokens = tokens::expand_table_queries(tokens);
        let dialect = ThalwegDialect::for_tokens(tokens.len());
        let parser = Parser::new(&dialect).with_recursion_limit(limits::MAX_NESTING).with_tokens_with_locations(tokens.clone());
        let mut cursor = Cursor::new(parser, &self.text);
        let read = read(&mut cursor).and_then(|found| match cursor.at_end() {
            true => Ok(found),
            false => cursor.expected("end of statement"),
        });
        read.map_err(|failure| self.error(failure, &tokens, cursor.here()))
    }

    /// The error a client sees, with its position in the whole text. `here` is where the parser stopped.
    fn error(&self, failure: Failure, tokens: &[TokenWithSpan], here: Location) -> Error {
        match failure {
            Failure::Refused { error, at: None } => error,
            Failure::Refused { error, at: Some(at) } => error.at(self.text.character(self.or_end(at, tokens)) + 1),
            Failure::Syntax(ParserError::RecursionLimitExceeded) => {
                limits::too_deep().at(self.text.character(self.or_end(here, tokens)) + 1)
            }
            Failure::Syntax(ParserError::ParserError(message) | ParserError::TokenizerError(message)) => {
                self.syntax_error(&message, tokens, here)
            }
        }
    }

    /// `syntax error at or near "…"`, as in Postgres, with what sqlparser expected as the detail.
    fn syntax_error(&self, message: &str, tokens: &[TokenWithSpan], here: Location) -> Error {
        let (said, at) = match message.rsplit_once(" at Line: ") {
            Some((said, at)) => (said, location(at).unwrap_or(here)),
            None => (message, if message.ends_with("found: EOF") { Location::empty() } else { here }),
        };
        let near = tokens.iter().find(|token| token.span.start == at).map(|token| self.text.slice(token.span));
        let message = match near {
            Some(near) => format!("syntax error at or near \"{near}\""),
            None => "syntax error at end of input".to_owned(),
        };
        Error::new(sqlstate::SYNTAX_ERROR, message)
            .with_detail(said.replace("Expected: ", "expected ").replace(", found: ", ", found "))
            .at(self.text.character(self.or_end(at, tokens)) + 1)
    }

    /// The end of the statement for an empty location.
    fn or_end(&self, at: Location, tokens: &[TokenWithSpan]) -> Location {
        match (at.line, tokens.last()) {
            (0, Some(last)) => last.span.end,
            _ => at,
        }
    }
}

/// `1, Column: 5`.
fn location(text: &str) -> Option<Location> {
    let (line, column) = text.split_once(", Column: ")?;
    let digits = column.find(|c: char| !c.is_ascii_digit()).unwrap_or(column.len());
    Some(Location::new(line.parse().ok()?, column[..digits].parse().ok()?))
}

/// Reads one statement by its first word.
fn dispatch(cursor: &mut Cursor, emit: Emit) -> Parse<Statement> {
    let at = cursor.here();
    let word = cursor.word(0);
    match word.as_str() {
        "CREATE" => {
            cursor.next();
            return create::create(cursor, emit);
        }
        "EXPLAIN" => return session::explain(cursor, emit),
        _ if emit == Emit::OnWindowClose => return cursor.refuse(create::emit_on_close(), at),
        "SELECT" | "WITH" | "VALUES" | "TABLE" | "" => return query(cursor),
        "INSERT" => return dml::insert(cursor),
        "UPDATE" => return dml::update(cursor),
        "DELETE" => return dml::delete(cursor),
        _ => {}
    }
    cursor.next();
    match word.as_str() {
        "DROP" => objects::drop(cursor),
        "COMMENT" => objects::comment(cursor),
        "TRUNCATE" => dml::truncate(cursor),
        "COPY" => copy::copy(cursor),
        "SUBSCRIBE" => Ok(Statement::Subscribe(session::subscribe(cursor)?)),
        "SET" => session::set(cursor),
        "RESET" => session::reset(cursor),
        "SHOW" => session::show(cursor),
        "WAIT" => {
            cursor.expect(&["FOR"])?;
            Ok(Statement::WaitFor { name: cursor.name()? })
        }
        "VERIFY" => {
            cursor.expect(&["MATERIALIZED", "VIEW"])?;
            Ok(Statement::Verify { name: cursor.name()? })
        }
        "BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "ABORT" => session::transaction(cursor, &word),
        "DISCARD" => portals::discard(cursor),
        "PREPARE" => portals::prepare(cursor),
        "EXECUTE" => portals::execute(cursor),
        "DEALLOCATE" => portals::deallocate(cursor),
        "DECLARE" => portals::declare(cursor),
        "FETCH" => portals::fetch(cursor, false),
        "MOVE" => portals::fetch(cursor, true),
        "CLOSE" => portals::close(cursor),
        "SAVEPOINT" => Ok(Statement::Savepoint { name: cursor.identifier()? }),
        "RELEASE" => {
            cursor.eat(&["SAVEPOINT"]);
            Ok(Statement::Release { name: cursor.identifier()? })
        }
        "LISTEN" | "UNLISTEN" | "NOTIFY" => portals::channel(cursor, &word),
        word if known(word) => cursor.refuse(not_supported(word), at),
        _ => {
            cursor.parser.prev_token();
            cursor.expected("a statement")
        }
    }
}

/// A query, or what sqlparser reads as one: `WITH … INSERT` is refused.
fn query(cursor: &mut Cursor) -> Parse<Statement> {
    Ok(Statement::Query(cursor.query()?))
}

/// Statements Postgres has and we have not.
fn known(word: &str) -> bool {
    const WORDS: &[&str] = &[
        "ALTER",
        "ANALYZE",
        "ANALYSE",
        "CALL",
        "CHECKPOINT",
        "CLUSTER",
        "DO",
        "GRANT",
        "IMPORT",
        "LOAD",
        "LOCK",
        "MERGE",
        "REASSIGN",
        "REFRESH",
        "REINDEX",
        "REVOKE",
        "SECURITY",
        "VACUUM",
    ];
    WORDS.contains(&word)
}

/// The error for a statement we do not have, with what to do instead.
fn not_supported(statement: &str) -> Error {
    let hint = match statement {
        "ALTER" => "drop and create the object",
        "ANALYZE" | "ANALYSE" | "VACUUM" | "CLUSTER" | "REINDEX" | "CHECKPOINT" => "nothing needs to be done: storage looks after itself",
        "REFRESH" => "a materialized view is always current",
        "MERGE" => "use INSERT … ON CONFLICT DO UPDATE",
        "LOCK" => "statements run at one snapshot without locks",
        "CREATE UNIQUE" => "a primary key is unique; CREATE INDEX without UNIQUE makes joins share what they keep",
        "CREATE TEMP" | "CREATE TEMPORARY" => "create a table and drop it",
        "CREATE EXTENSION" => "leave the statement out",
        "CREATE TYPE" | "CREATE DOMAIN" => "write the type out where it is used",
        "CREATE SEQUENCE" => "give the value, or use a uuid with DEFAULT",
        _ => "leave the statement out; SHOW, CREATE, DROP, SELECT, INSERT, UPDATE, DELETE, COPY and SUBSCRIBE are there",
    };
    Error::unsupported(format!("{statement} is not supported"), hint)
}

/// What is kept has no client that would give a parameter its value.
fn no_parameters(query: &Query) -> Result<()> {
    let found = ast::visit_expressions(query, |expression| match expression {
        Expr::Value(ast::ValueWithSpan { value: ast::Value::Placeholder(name), .. }) => ControlFlow::Break(name.clone()),
        _ => ControlFlow::Continue(()),
    });
    match found {
        ControlFlow::Break(name) => Err(super::parameters::undefined(&name)),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Normalises every part of a statement that is planned.
fn normalise_statement(statement: &mut Statement) -> Parse<()> {
    match statement {
        Statement::Query(query) => normalise(&mut **query)?,
        Statement::Explain(explain) => normalise_statement(&mut explain.statement)?,
        Statement::CreateTable(table) => normalise(&mut table.query)?,
        Statement::CreateView(view) => {
            no_parameters(&view.query)?;
            normalise(&mut *view.query)?
        }
        Statement::CreateSink(sink) => {
            no_parameters(&sink.query)?;
            normalise(&mut *sink.query)?
        }
        Statement::CopyOut { source: CopySource::Query(query), .. } => normalise(&mut **query)?,
        Statement::CopyOut { source: CopySource::Subscribe(subscribe), .. } | Statement::Subscribe(subscribe) => {
            normalise(&mut *subscribe.query)?;
        }
        Statement::Insert(insert) => dml::normalise_insert(insert)?,
        Statement::Update(update) => dml::normalise_update(update)?,
        Statement::Delete(delete) => dml::normalise_delete(delete)?,
        Statement::Prepare(prepare) => normalise_statement(&mut prepare.statement.statement)?,
        Statement::DeclareCursor(declare) => normalise_statement(&mut declare.statement.statement)?,
        Statement::Execute(execute) => normalise(&mut execute.arguments)?,
        _ => {}
    }
    Ok(())
}
