//! The extended query messages, for statements without parameters and results in text: what drivers send for plain SQL.
//!
//! Everything else (parameters, binary results, row limits) is refused with `0A000`, and then skipped up to Sync as the protocol
//! wants it, so that no client waits for ever.

use std::collections::HashMap;

use engine::Error;
use engine::plan::statement::Parsed;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::*;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};

use super::connection::{Client, Fault};
use super::messages::row_description;
use super::simple::Heading;
use crate::session::Outcome;

/// SQLSTATE of a statement name that is not there.
const UNDEFINED_PSTATEMENT: &str = "26000";
/// SQLSTATE of a portal name that is not there.
const UNDEFINED_CURSOR: &str = "34000";

/// Statements by name, portals by name. `None` is an empty statement.
#[derive(Default)]
pub struct Prepared {
    statements: HashMap<String, Option<Parsed>>,
    portals: HashMap<String, Portal>,
    /// After an error: everything is skipped up to Sync.
    skipping: bool,
    /// Statements have run that only Sync will commit.
    awaits_sync: bool,
}

impl Prepared {
    /// False while an answer would acknowledge what is not committed yet: `COPY 3` leaves with Sync's ReadyForQuery, as in
    /// Postgres. An error may leave at once, and what a client asks for with Flush.
    pub(super) fn may_answer(&self) -> bool {
        !self.awaits_sync || self.skipping
    }
}

/// A statement bound.
#[derive(Clone)]
struct Portal {
    statement: Option<Parsed>,
    /// The client wants its rows in binary. Drivers ask for it with commands too, which have none.
    wants_binary: bool,
}

impl Client {
    /// Serves one message of the extended protocol.
    pub(super) async fn extended_message(&mut self, message: PgWireFrontendMessage) -> Result<(), Fault> {
        if let PgWireFrontendMessage::Sync(_) = message {
            return self.sync().await;
        }
        if self.prepared.skipping {
            return Ok(());
        }
        self.prepared.awaits_sync = true;
        // Statements up to Sync are atomic together, as Postgres has it.
        self.session.begin_message(usize::MAX);
        let served = match message {
            PgWireFrontendMessage::Parse(parse) => self.parse_statement(parse).await,
            PgWireFrontendMessage::Bind(bind) => self.bind(bind),
            PgWireFrontendMessage::Describe(describe) => self.describe(describe).await,
            PgWireFrontendMessage::Execute(execute) => self.execute(execute).await,
            PgWireFrontendMessage::Close(close) => self.close(close),
            PgWireFrontendMessage::Flush(_) => Ok(self.output.flush().await?),
            _ => Err(Fault::Connection(Error::new("08P01", "this message does not belong here"))),
        };
        self.prepared.skipping = served.is_err();
        self.report(served)
    }

    async fn sync(&mut self) -> Result<(), Fault> {
        let ended = match self.prepared.skipping {
            true => Ok(()),
            false => self.session.end_message().await.map_err(Fault::Statement),
        };
        (self.prepared.skipping, self.prepared.awaits_sync) = (false, false);
        self.report(ended)?;
        self.ready();
        Ok(())
    }

    async fn parse_statement(&mut self, parse: Parse) -> Result<(), Fault> {
        if !parse.type_oids.is_empty() {
            return Err(parameters_unsupported());
        }
        let mut statements = self.session.parse(&parse.query).await?;
        if statements.len() > 1 {
            return Err(Fault::Statement(Error::new("42601", "cannot insert multiple commands into a prepared statement")));
        }
        self.prepared.statements.insert(parse.name.unwrap_or_default(), statements.pop());
        self.output.put(&PgWireBackendMessage::ParseComplete(ParseComplete::new()))
    }

    fn bind(&mut self, bind: Bind) -> Result<(), Fault> {
        let name = bind.statement_name.unwrap_or_default();
        let statement = self.prepared.statements.get(&name).cloned().ok_or_else(|| no_statement(&name))?;
        if !bind.parameters.is_empty() {
            return Err(parameters_unsupported());
        }
        let wants_binary = bind.result_column_format_codes.iter().any(|format| *format != 0);
        self.prepared.portals.insert(bind.portal_name.unwrap_or_default(), Portal { statement, wants_binary });
        self.output.put(&PgWireBackendMessage::BindComplete(BindComplete::new()))
    }

    async fn describe(&mut self, describe: Describe) -> Result<(), Fault> {
        let name = describe.name.unwrap_or_default();
        let of_statement = describe.target_type == TARGET_TYPE_BYTE_STATEMENT;
        let Portal { statement, wants_binary } = match of_statement {
            true => {
                Portal { statement: self.prepared.statements.get(&name).cloned().ok_or_else(|| no_statement(&name))?, wants_binary: false }
            }
            false => self.prepared.portals.get(&name).cloned().ok_or_else(|| no_portal(&name))?,
        };
        if of_statement {
            self.output.put(&PgWireBackendMessage::ParameterDescription(ParameterDescription::new(Vec::new())))?;
        }
        let schema = match &statement {
            Some(parsed) => {
                let described = self.session.schema_of(parsed);
                self.interrupt.guard(&mut self.input, described).await??
            }
            None => None,
        };
        match schema {
            Some(_) if wants_binary => Err(binary_unsupported()),
            Some(schema) => self.output.put(&row_description(&schema)),
            None => self.output.put(&PgWireBackendMessage::NoData(NoData::new())),
        }
    }

    async fn execute(&mut self, execute: Execute) -> Result<(), Fault> {
        let name = execute.name.unwrap_or_default();
        let portal = self.prepared.portals.get(&name).cloned().ok_or_else(|| no_portal(&name))?;
        if execute.max_rows > 0 {
            return Err(Fault::Statement(Error::unsupported(
                "row limits in Execute are not supported yet",
                "ask for all rows, with LIMIT in the query if there are too many",
            )));
        }
        let outcome = match &portal.statement {
            Some(parsed) => self.run_statement(parsed).await?,
            None => Outcome::Empty,
        };
        if portal.wants_binary && matches!(outcome, Outcome::Rows { .. }) {
            return Err(binary_unsupported());
        }
        self.answer(outcome, Heading::Described).await
    }

    fn close(&mut self, close: Close) -> Result<(), Fault> {
        let name = close.name.unwrap_or_default();
        match close.target_type {
            TARGET_TYPE_BYTE_STATEMENT => drop(self.prepared.statements.remove(&name)),
            _ => drop(self.prepared.portals.remove(&name)),
        }
        self.output.put(&PgWireBackendMessage::CloseComplete(CloseComplete::new()))
    }
}

fn parameters_unsupported() -> Fault {
    Fault::Statement(Error::unsupported(
        "statement parameters are not supported yet",
        "put the values into the text, or use the simple query protocol",
    ))
}

fn binary_unsupported() -> Fault {
    Fault::Statement(Error::unsupported("results in binary format are not supported yet", "ask for text, or use the simple query protocol"))
}

fn no_statement(name: &str) -> Fault {
    Fault::Statement(Error::new(UNDEFINED_PSTATEMENT, format!("prepared statement \"{name}\" does not exist")))
}

fn no_portal(name: &str) -> Fault {
    Fault::Statement(Error::new(UNDEFINED_CURSOR, format!("portal \"{name}\" does not exist")))
}
