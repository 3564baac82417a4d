//! What others ask of a connection: to cancel its statement, by a cancel request, which names process id and secret, or by
//! `pg_cancel_backend()`, and to end, by `pg_terminate_backend()`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use rand::TryRngCore;
use rand::rngs::OsRng;
use tokio::sync::watch;

/// All connections that can be canceled.
#[derive(Debug, Clone, Default)]
pub struct CancelRegistry {
    connections: Arc<Mutex<HashMap<i32, Cancelable>>>,
}

#[derive(Debug)]
struct Cancelable {
    secret: i32,
    requests: Requests,
}

/// Where a connection is asked to stop.
#[derive(Debug, Clone)]
pub struct Requests(watch::Sender<Asked>);

/// What it was asked so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked {
    n_cancels: u64,
    /// To end.
    pub to_end: bool,
}

impl Requests {
    /// Cancels what it runs now.
    pub fn cancel(&self) {
        self.0.send_modify(|asked| asked.n_cancels += 1);
    }

    /// Ends it.
    pub fn end(&self) {
        self.0.send_modify(|asked| asked.to_end = true);
    }
}

/// A connection's entry, as long as it lives.
#[derive(Debug)]
pub struct Registration {
    registry: CancelRegistry,
    /// `pg_backend_pid()`.
    pub process_id: i32,
    /// What a cancel request must know.
    pub secret: i32,
    /// Changes with every request.
    pub asked: watch::Receiver<Asked>,
    /// Where it is asked.
    pub requests: Requests,
}

impl CancelRegistry {
    /// Gives a connection its process id and a secret from the system's random numbers.
    pub fn register(&self) -> std::io::Result<Registration> {
        let secret = random_i32()?;
        let (sender, asked) = watch::channel(Asked::default());
        let requests = Requests(sender);
        let mut connections = self.lock();
        let process_id = loop {
            let candidate = random_i32()? & i32::MAX;
            if candidate > 0 && !connections.contains_key(&candidate) {
                break candidate;
            }
        };
        connections.insert(process_id, Cancelable { secret, requests: requests.clone() });
        drop(connections);
        Ok(Registration { registry: self.clone(), process_id, secret, asked, requests })
    }

    /// Cancels what that connection runs now. A wrong secret does nothing, and tells nothing.
    pub fn cancel(&self, process_id: i32, secret: i32) {
        if let Some(connection) = self.lock().get(&process_id)
            && connection.secret == secret
        {
            connection.requests.cancel();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<i32, Cancelable>> {
        self.connections.lock().expect("nothing panics while holding the registry")
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.lock().remove(&self.process_id);
    }
}

fn random_i32() -> std::io::Result<i32> {
    let mut bytes = [0; 4];
    OsRng.try_fill_bytes(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(i32::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_secret_cancels() {
        let registry = CancelRegistry::default();
        let mut registration = registry.register().expect("random numbers");
        registration.asked.borrow_and_update();
        registry.cancel(registration.process_id, registration.secret.wrapping_add(1));
        assert!(!registration.asked.has_changed().expect("the registry lives"));
        registry.cancel(registration.process_id, registration.secret);
        assert!(registration.asked.has_changed().expect("the registry lives"));
        drop(registration);
        assert!(registry.lock().is_empty());
    }
}
