//! The relations of `pg_catalog` about the server rather than its objects: the database, the role, settings, sessions.

use super::known::Known;
use super::oids;
use super::table::{Cell, Rows, row};

/// Appends a relation's rows; false when it is none of these.
pub fn fill(known: &Known, relation: &str, rows: &mut Rows) -> bool {
    match relation {
        "pg_database" => database(rows),
        "pg_roles" => role("********", rows),
        "pg_authid" => role(None::<&str>, rows),
        "pg_user" | "pg_shadow" => user(rows),
        "pg_settings" => settings(known, rows),
        "pg_stat_activity" => sessions(known, rows),
        "pg_stat_database" => row!(rows, datid: oids::DATABASE, datname: DATABASE, numbackends: known.session.sessions.len()),
        _ => return false,
    }
    true
}

/// The name of the one database.
pub const DATABASE: &str = "thalweg";
/// The name of the one role.
pub const ROLE: &str = "thalweg";
/// `pg_char_to_encoding('UTF8')`.
pub const UTF8: u32 = 6;

fn database(rows: &mut Rows) {
    row!(rows,
        oid: oids::DATABASE, datname: DATABASE, datdba: oids::ROLE, encoding: UTF8, datlocprovider: "c", datistemplate: false,
        datallowconn: true, datconnlimit: -1_i64, datfrozenxid: "0", datminmxid: "0", dattablespace: 1663_u32, datcollate: "C", datctype: "C",
    );
}

/// `pg_roles` hides what it does not have.
fn role(password: impl Into<Cell>, rows: &mut Rows) {
    row!(rows,
        oid: oids::ROLE, rolname: ROLE, rolsuper: true, rolinherit: true, rolcreaterole: true, rolcreatedb: true, rolcanlogin: true,
        rolreplication: true, rolbypassrls: true, rolconnlimit: -1_i64, rolpassword: password.into(),
    );
}

fn user(rows: &mut Rows) {
    row!(rows, usename: ROLE, usesysid: oids::ROLE, usecreatedb: true, usesuper: true, userepl: true, usebypassrls: true);
}

fn settings(known: &Known, rows: &mut Rows) {
    for setting in known.session.settings.all() {
        row!(rows,
            name: setting.name, setting: setting.value, category: "Thalweg", short_desc: setting.description,
            context: if setting.is_read_only { "internal" } else { "user" }, vartype: "string", source: "session",
            boot_val: setting.default, reset_val: setting.default, pending_restart: false,
        );
    }
}

fn sessions(known: &Known, rows: &mut Rows) {
    for session in &known.session.sessions {
        let is_own = session.process_id == known.session.process_id;
        row!(rows,
            datid: oids::DATABASE, datname: DATABASE, pid: session.process_id, usesysid: oids::ROLE, usename: ROLE,
            application_name: &session.application_name, client_addr: session.client.map(|client| client.ip().to_string()),
            client_port: session.client.map(|client| u32::from(client.port())), backend_start: session.since_us,
            state: if is_own || session.is_running { "active" } else { "idle" }, query: &session.statement, backend_type: "client backend",
        );
    }
}
