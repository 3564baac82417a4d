//! From the first byte to the first ReadyForQuery: who the client is, and what it is told about the server.
//!
//! There is one role and one database, both `thalweg`, and no password: the listener is on a loopback address (see
//! [`crate::config::Config::check`]). Encryption is declined, never faked.

use engine::Error;
use engine::error::sqlstate;
use pgwire::messages::startup::{Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey, Startup};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage, SslNegotiationMetaMessage};

use super::cancel::Registration;
use super::connection::{Fault, Input, Output};
use super::listener::Shared;
use super::messages::{notice_response, ready_for_query};
use crate::pg_catalog::session::SessionInfo;
use crate::session::settings::Settings;
use crate::session::{Session, Status};

/// The role and the database that exist from the start.
pub const THALWEG: &str = "thalweg";

/// Start-up parameters that are no settings.
const NOT_SETTINGS: [&str; 4] = ["user", "database", "replication", "options"];

/// Serves everything before the session. `None` when the connection was only a cancel request.
pub async fn greet(
    input: &mut Input,
    output: &mut Output,
    shared: &Shared,
    has_slot: bool,
) -> Result<Option<(Session, Registration)>, Fault> {
    let startup = loop {
        match input.next().await? {
            PgWireFrontendMessage::SslNegotiation(SslNegotiationMetaMessage::None) => input.await_startup(),
            PgWireFrontendMessage::SslNegotiation(_) => {
                output.buffer.extend_from_slice(b"N");
                output.flush().await?;
            }
            PgWireFrontendMessage::CancelRequest(request) => {
                if let SecretKey::I32(secret) = request.secret_key {
                    shared.cancel.cancel(request.pid, secret);
                }
                return Ok(None);
            }
            PgWireFrontendMessage::Startup(startup) => break startup,
            _ => return Err(Fault::Connection(Error::new("08P01", "expected a start-up packet"))),
        }
    };
    if !has_slot {
        return Err(Fault::Connection(
            Error::new(sqlstate::TOO_MANY_CONNECTIONS, "sorry, too many clients already").with_hint("raise --max-connections"),
        ));
    }
    input.session_began();
    let (settings, refused) = admit(&startup, shared.settings.clone()).map_err(Fault::Connection)?;
    let registration = shared.cancel.register()?;
    welcome(output, &startup, &settings, &registration);
    for error in refused {
        output.put(&notice_response(&engine::engine::Notice { severity: "WARNING", error }))?;
    }
    output.put_infallible(&ready_for_query(Status::Idle));
    output.flush().await?;
    let info = SessionInfo {
        process_id: registration.process_id,
        client: output.client(),
        requests: Some(registration.requests.clone()),
        ..SessionInfo::default()
    };
    let session = Session::new(shared.engine.clone(), shared.queries.clone(), settings, shared.channels.clone());
    let session = session.with_process_id(registration.process_id).listed(shared.sessions.list(info));
    Ok(Some((session, registration)))
}

/// Checks role and database, and takes the settings the client asks for. Drivers send their machine's time zone and the like
/// without being asked: a value we cannot give is a warning here and the default stays, which ParameterStatus tells.
fn admit(startup: &Startup, mut settings: Settings) -> Result<(Settings, Vec<Error>), Error> {
    let parameter = |name: &str| startup.parameters.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let user = parameter("user").unwrap_or_default();
    if user != THALWEG {
        return Err(Error::new(sqlstate::INVALID_AUTHORIZATION, format!("role \"{user}\" does not exist"))
            .with_hint("connect as role thalweg: psql -U thalweg"));
    }
    let database = parameter("database").unwrap_or(user);
    if database != THALWEG {
        return Err(Error::new(sqlstate::INVALID_CATALOG_NAME, format!("database \"{database}\" does not exist"))
            .with_hint("connect to database thalweg: psql -d thalweg"));
    }
    if parameter("replication").is_some_and(|value| !matches!(value, "false" | "off" | "no" | "0")) {
        return Err(Error::unsupported("replication connections are not supported", "use SUBSCRIBE to follow changes"));
    }
    let asked = startup.parameters.iter().map(|(name, value)| (name.clone(), value.clone()));
    let mut refused = Vec::new();
    for (name, value) in asked.chain(options(parameter("options").unwrap_or_default())?) {
        if NOT_SETTINGS.contains(&name.as_str()) || name.starts_with("_pq_.") {
            continue;
        }
        match settings.set_initial(&name, &value) {
            Err(error) if error.sqlstate == sqlstate::INVALID_PARAMETER_VALUE => refused.push(error),
            other => other?,
        }
    }
    Ok((settings, refused))
}

/// `-c name=value --name=value` of PGOPTIONS.
fn options(text: &str) -> Result<Vec<(String, String)>, Error> {
    let mut settings = Vec::new();
    let mut words = words(text).into_iter();
    while let Some(word) = words.next() {
        let assignment = match word.strip_prefix("--").or_else(|| word.strip_prefix("-c")) {
            Some("") => words.next().unwrap_or_default(),
            Some(assignment) => assignment.to_owned(),
            None => word.clone(),
        };
        let (name, value) = assignment.split_once('=').ok_or_else(|| {
            Error::new(sqlstate::SYNTAX_ERROR, format!("invalid start-up option \"{word}\"")).with_hint("options are -c name=value")
        })?;
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

/// The words of PGOPTIONS; a backslash keeps what follows in its word.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => word.get_or_insert_default().extend(characters.next()),
            character if character.is_ascii_whitespace() => words.extend(word.take()),
            character => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

fn welcome(output: &mut Output, startup: &Startup, settings: &Settings, registration: &Registration) {
    let extensions: Vec<String> = startup.parameters.keys().filter(|name| name.starts_with("_pq_.")).cloned().collect();
    if startup.protocol_number_minor > 0 || !extensions.is_empty() {
        output.put_infallible(&PgWireBackendMessage::NegotiateProtocolVersion(NegotiateProtocolVersion::new(0, extensions)));
    }
    output.put_infallible(&PgWireBackendMessage::Authentication(Authentication::Ok));
    for (name, value) in settings.reported() {
        output.put_infallible(&PgWireBackendMessage::ParameterStatus(ParameterStatus::new(name.to_owned(), value)));
    }
    let key = BackendKeyData::new(registration.process_id, SecretKey::I32(registration.secret));
    output.put_infallible(&PgWireBackendMessage::BackendKeyData(key));
}
