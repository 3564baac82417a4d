//! The extended query messages: statements that are parsed once, bound to values, described before they run, and read in
//! parts.
//!
//! What they make, the session keeps ([`crate::session::prepared`], [`crate::session::portals`]). Guaranteed: after an error
//! everything up to Sync is skipped; a statement is not answered before its writes are durable; a message that makes no sense
//! ends the message or the connection, and never waits for ever.

use bytes::Bytes;
use engine::Error;
use engine::error::sqlstate;
use engine::plan::parameters::Bound;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::*;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};

use super::connection::{Client, Fault};
use super::messages::row_description;
use super::simple::PortalRows;
use super::values::{binary_value, text_value};
use crate::encode::formats::Formats;
use crate::session::prepared::Parameter;

/// Where a client is between two Syncs.
#[derive(Debug, Default)]
pub struct Prepared {
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

    pub(super) fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// A simple query commits what came before it.
    pub(super) fn all_is_answered(&mut self) {
        *self = Self::default();
    }
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
        let served = match message {
            PgWireFrontendMessage::Parse(parse) => self.parse_statement(parse).await,
            PgWireFrontendMessage::Bind(bind) => self.bind(bind),
            PgWireFrontendMessage::Describe(describe) => self.describe(describe),
            PgWireFrontendMessage::Execute(execute) => self.execute(execute).await,
            PgWireFrontendMessage::Close(close) => self.close(close),
            PgWireFrontendMessage::Flush(_) => Ok(self.output.flush().await?),
            _ => Err(Fault::Connection(Error::new(sqlstate::PROTOCOL_VIOLATION, "this message does not belong here"))),
        };
        self.prepared.skipping = served.is_err();
        self.report(served)
    }

    async fn sync(&mut self) -> Result<(), Fault> {
        let ended = match self.prepared.skipping {
            true => Ok(()),
            false => {
                let ended = self.session.end_message();
                self.interrupt.guard(&mut self.input, ended).await.and_then(|ended| ended.map_err(Fault::Statement))
            }
        };
        self.prepared.all_is_answered();
        self.report(ended)?;
        self.ready();
        Ok(())
    }

    async fn parse_statement(&mut self, parse: Parse) -> Result<(), Fault> {
        let name = parse.name.unwrap_or_default();
        let prepared = self.session.prepare(&name, &parse.query, &parse.type_oids);
        self.interrupt.guard(&mut self.input, prepared).await??;
        self.output.put(&PgWireBackendMessage::ParseComplete(ParseComplete::new()))
    }

    fn bind(&mut self, bind: Bind) -> Result<(), Fault> {
        let statement = bind.statement_name.unwrap_or_default();
        let parameters = &self.session.prepared(&statement)?.parameters;
        let values = bound_values(parameters, &bind.parameters, &bind.parameter_format_codes, &statement)?;
        let formats = Formats::of_codes(&bind.result_column_format_codes)?;
        self.session.bind(&bind.portal_name.unwrap_or_default(), &statement, &values, formats)?;
        self.output.put(&PgWireBackendMessage::BindComplete(BindComplete::new()))
    }

    fn describe(&mut self, describe: Describe) -> Result<(), Fault> {
        let name = describe.name.unwrap_or_default();
        let (schema, formats) = match describe.target_type {
            TARGET_TYPE_BYTE_STATEMENT => {
                let prepared = self.session.prepared(&name)?;
                let oids = prepared.parameters.iter().map(|parameter| parameter.oid).collect();
                self.output.put(&PgWireBackendMessage::ParameterDescription(ParameterDescription::new(oids)))?;
                (prepared.schema.clone(), Formats::default())
            }
            _ => {
                let portal = self.session.portal(&name)?;
                (portal.schema.clone(), portal.formats.clone())
            }
        };
        match schema {
            Some(schema) => self.output.put(&row_description(&schema, &formats)),
            None => self.output.put(&PgWireBackendMessage::NoData(NoData::new())),
        }
    }

    async fn execute(&mut self, execute: Execute) -> Result<(), Fault> {
        let name = execute.name.unwrap_or_default();
        let n_wanted = u64::try_from(execute.max_rows).ok().filter(|n_wanted| *n_wanted > 0);
        let formats = self.session.portal(&name)?.formats.clone();
        // Statements up to Sync are atomic together; one alone needs no transaction around it, and commits at once.
        let is_alone = !self.prepared.awaits_sync && self.input.sync_is_next();
        self.session.begin_message(if is_alone { 1 } else { usize::MAX });
        self.prepared.awaits_sync = true;
        let running = self.session.execute(&name, n_wanted);
        let outcome = self.interrupt.guard(&mut self.input, running).await??;
        self.answer(outcome, Some(PortalRows { formats, n_wanted })).await
    }

    fn close(&mut self, close: Close) -> Result<(), Fault> {
        let name = close.name.unwrap_or_default();
        match close.target_type {
            TARGET_TYPE_BYTE_STATEMENT => self.session.close_prepared(&name),
            _ => self.session.close_portal(&name),
        }
        self.output.put(&PgWireBackendMessage::CloseComplete(CloseComplete::new()))
    }
}

/// The values of a Bind message, read by their types' rules.
fn bound_values(parameters: &[Parameter], values: &[Option<Bytes>], formats: &[i16], statement: &str) -> Result<Vec<Bound>, Error> {
    let violation = |message: String| Err(Error::new(sqlstate::PROTOCOL_VIOLATION, message));
    let (n_values, n_parameters) = (values.len(), parameters.len());
    if formats.len() > 1 && formats.len() != n_values {
        return violation(format!("bind message has {} parameter formats but {n_values} parameters", formats.len()));
    }
    if n_values != n_parameters {
        return violation(format!(
            "bind message supplies {n_values} parameters, but prepared statement \"{statement}\" requires {n_parameters}"
        ));
    }
    let format_of = |index: usize| match formats {
        [] => 0,
        [all] => *all,
        each => each[index],
    };
    let value = |(index, (parameter, bytes)): (usize, (&Parameter, &Option<Bytes>))| {
        let text = match bytes {
            None => None,
            Some(bytes) => Some(match format_of(index) {
                0 => text_value(bytes),
                1 => binary_value(&parameter.sql_type, parameter.oid, bytes),
                code => Err(Error::new(sqlstate::INVALID_PARAMETER_VALUE, format!("unsupported format code: {code}"))),
            }?),
        };
        Bound::read(parameter.sql_type.clone(), text)
    };
    let bound = parameters.iter().zip(values).enumerate().map(|pair| {
        let number = pair.0 + 1;
        value(pair).map_err(|error| if error.detail.is_none() { error.with_detail(format!("in bind parameter ${number}")) } else { error })
    });
    bound.collect()
}
