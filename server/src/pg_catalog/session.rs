//! What the system's relations and functions know of sessions: who asks, with which settings, and who else is there.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::pgwire::cancel::Requests;
use crate::session::settings::Settings;

/// The session whose statement runs.
#[derive(Debug, Default)]
pub struct SessionFacts {
    /// `pg_backend_pid()`.
    pub process_id: i32,
    /// Its settings before the statement.
    pub settings: Settings,
    /// All sessions of the server, itself included.
    pub sessions: Vec<SessionInfo>,
    /// When the server started, in microseconds since 1970.
    pub server_since_us: i64,
}

/// A row of `pg_stat_activity`.
#[derive(Debug, Clone, Default)]
pub struct SessionInfo {
    /// `pg_backend_pid()` there.
    pub process_id: i32,
    /// Where the client is.
    pub client: Option<SocketAddr>,
    /// What the client calls itself.
    pub application_name: String,
    /// When it connected, in microseconds since 1970.
    pub since_us: i64,
    /// Whether a statement runs.
    pub is_running: bool,
    /// The statement that runs, or ran last.
    pub statement: String,
    /// Where it is asked to stop.
    pub requests: Option<Requests>,
}

/// The sessions of a server.
#[derive(Debug, Clone)]
pub struct Sessions {
    sessions: Arc<Mutex<BTreeMap<i32, SessionInfo>>>,
    since_us: i64,
}

/// A session's entry, as long as it lives.
#[derive(Debug)]
pub struct Listed {
    sessions: Sessions,
    process_id: i32,
}

impl Default for Sessions {
    /// None yet, of a server that starts now.
    fn default() -> Self {
        Self { sessions: Arc::default(), since_us: now_us() }
    }
}

/// Microseconds since 1970.
fn now_us() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)
}

impl Sessions {
    /// Adds a session that begins now.
    pub fn list(&self, info: SessionInfo) -> Listed {
        let (process_id, info) = (info.process_id, SessionInfo { since_us: now_us(), ..info });
        self.lock().insert(process_id, info);
        Listed { sessions: self.clone(), process_id }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<i32, SessionInfo>> {
        self.sessions.lock().expect("nothing panics while holding the sessions")
    }
}

impl Listed {
    /// When the server started.
    pub fn server_since_us(&self) -> i64 {
        self.sessions.since_us
    }

    /// All sessions there are.
    pub fn all(&self) -> Vec<SessionInfo> {
        self.sessions.lock().values().cloned().collect()
    }

    /// Changes what is told of this session.
    pub fn update(&self, change: impl FnOnce(&mut SessionInfo)) {
        if let Some(info) = self.sessions.lock().get_mut(&self.process_id) {
            change(info);
        }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.sessions.lock().remove(&self.process_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_listed_while_it_lives() {
        let sessions = Sessions::default();
        let [first, second] = [1, 2].map(|process_id| sessions.list(SessionInfo { process_id, ..SessionInfo::default() }));
        second.update(|info| info.statement = "SELECT 1".into());
        assert_eq!(first.all().iter().map(|info| info.statement.as_str()).collect::<Vec<_>>(), ["", "SELECT 1"]);
        drop(second);
        assert_eq!(first.all().len(), 1);
    }
}
