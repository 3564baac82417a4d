//! The session and the server: settings, schemas in the search path, what runs.

use catalog::SqlType;
use catalog::types::SystemType;
use engine::Result;

use super::datum::Datum;
use super::{Entry, Make, Returns, entry};
use crate::pg_catalog::cluster::UTF8;
use crate::pg_catalog::known::Known;
use crate::pgwire::cancel::Requests;

pub(super) const ENTRIES: &[Make] = &[
    || entry("current_schemas", (1, 1), Returns::Names, current_schemas),
    || entry("pg_is_in_recovery", (0, 0), Returns::Bool, |_, _, _| Ok(Datum::Bool(false))),
    || entry("pg_is_wal_replay_paused", (0, 0), Returns::Bool, |_, _, _| Ok(Datum::Bool(false))),
    || entry("pg_postmaster_start_time", (0, 0), Returns::TimestampTz, |known, _, _| Ok(Datum::Int(known.session.server_since_us))),
    || entry("pg_conf_load_time", (0, 0), Returns::TimestampTz, |known, _, _| Ok(Datum::Int(known.session.server_since_us))),
    || entry("txid_current", (0, 0), Returns::BigInt, |known, _, _| Ok(Datum::Int(known.engine.recorded_epoch() as i64))),
    || entry("pg_current_xact_id", (0, 0), Returns::BigInt, |known, _, _| Ok(Datum::Int(known.engine.recorded_epoch() as i64))),
    || entry("pg_is_other_temp_schema", (1, 1), Returns::Bool, |_, _, _| Ok(Datum::Bool(false))),
    || entry("pg_my_temp_schema", (0, 0), Returns::System(SystemType::Oid), |_, _, _| Ok(Datum::Int(0))),
    || entry("pg_encoding_to_char", (1, 1), Returns::Name, encoding_name),
    || entry("pg_char_to_encoding", (1, 1), Returns::Int, encoding_number),
    || entry("getdatabaseencoding", (0, 0), Returns::Name, |_, _, _| Ok(Datum::Text("UTF8".into()))),
    || entry("pg_client_encoding", (0, 0), Returns::Name, |_, _, _| Ok(Datum::Text("UTF8".into()))),
    || entry("inet_server_addr", (0, 0), Returns::Text, |_, _, _| Ok(Datum::Null)),
    || entry("inet_server_port", (0, 0), Returns::Int, |_, _, _| Ok(Datum::Null)),
    || entry("inet_client_addr", (0, 0), Returns::Text, |known, _, _| Ok(own_client(known, |client| Datum::Text(client.ip().to_string())))),
    || entry("inet_client_port", (0, 0), Returns::Int, |known, _, _| Ok(own_client(known, |client| Datum::Int(client.port().into())))),
    // Nothing here is locked by request.
    || entry("pg_advisory_unlock_all", (0, 0), Returns::Text, |_, _, _| Ok(Datum::Text(String::new()))),
    || each_time(entry("pg_terminate_backend", (1, 2), Returns::Bool, end_session)),
    || each_time(entry("pg_cancel_backend", (1, 1), Returns::Bool, cancel_statement)),
];

/// Its effect is wanted for each row.
fn each_time(entry: Entry) -> Entry {
    Entry { is_constant: false, ..entry }
}

/// The schemas in which names are looked up: those asked for that exist, and `pg_catalog` before them.
fn current_schemas(known: &Known, values: &[Datum], _: &[SqlType]) -> Result<Datum> {
    let path = known.session.settings.get("search_path")?;
    let mut schemas: Vec<String> = path
        .split(',')
        .map(|schema| schema.trim().trim_matches(['"', '\'']).to_owned())
        .filter(|schema| known.namespace(schema).is_some())
        .collect();
    if values[0].is_true() && !schemas.iter().any(|schema| schema == "pg_catalog") {
        schemas.insert(0, "pg_catalog".into());
    }
    Ok(Datum::List(schemas.into_iter().map(Datum::Text).collect()))
}

fn own_client(known: &Known, tell: impl Fn(std::net::SocketAddr) -> Datum) -> Datum {
    let own = known.session.sessions.iter().find(|session| session.process_id == known.session.process_id);
    own.and_then(|session| session.client).map_or(Datum::Null, tell)
}

fn encoding_name(_: &Known, values: &[Datum], _: &[SqlType]) -> Result<Datum> {
    let name = match values[0].oid() {
        Some(UTF8) => "UTF8",
        Some(0) => "SQL_ASCII",
        _ => "",
    };
    Ok(Datum::Text(name.into()))
}

fn encoding_number(_: &Known, values: &[Datum], _: &[SqlType]) -> Result<Datum> {
    let is_utf8 = values[0].text().is_some_and(|name| matches!(name.to_ascii_lowercase().as_str(), "utf8" | "utf-8" | "unicode"));
    Ok(Datum::Int(if is_utf8 { UTF8.into() } else { -1 }))
}

fn cancel_statement(known: &Known, values: &[Datum], _: &[SqlType]) -> Result<Datum> {
    Ok(Datum::Bool(ask(known, &values[0], Requests::cancel)))
}

/// With a second argument Postgres waits for the end; here nobody waits.
fn end_session(known: &Known, values: &[Datum], _: &[SqlType]) -> Result<Datum> {
    Ok(Datum::Bool(ask(known, &values[0], Requests::end)))
}

/// Asks a session to stop; false when it is not there.
fn ask(known: &Known, process_id: &Datum, what: impl Fn(&Requests)) -> bool {
    let session = known.session.sessions.iter().find(|session| process_id.int() == Some(session.process_id.into()));
    let requests = session.and_then(|session| session.requests.as_ref());
    requests.map(what).is_some()
}
