//! Cancel requests: which connection a process id and secret mean.

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
    requests: watch::Sender<u64>,
}

/// A connection's entry, as long as it lives.
#[derive(Debug)]
pub struct Registration {
    registry: CancelRegistry,
    /// `pg_backend_pid()`.
    pub process_id: i32,
    /// What a cancel request must know.
    pub secret: i32,
    /// Changes with every cancel request.
    pub requests: watch::Receiver<u64>,
}

impl CancelRegistry {
    /// Gives a connection its process id and a secret from the system's random numbers.
    pub fn register(&self) -> std::io::Result<Registration> {
        let secret = random_i32()?;
        let (sender, requests) = watch::channel(0);
        let mut connections = self.lock();
        let process_id = loop {
            let candidate = random_i32()? & i32::MAX;
            if candidate > 0 && !connections.contains_key(&candidate) {
                break candidate;
            }
        };
        connections.insert(process_id, Cancelable { secret, requests: sender });
        drop(connections);
        Ok(Registration { registry: self.clone(), process_id, secret, requests })
    }

    /// Cancels what that connection runs now. A wrong secret does nothing, and tells nothing.
    pub fn cancel(&self, process_id: i32, secret: i32) {
        if let Some(connection) = self.lock().get(&process_id)
            && connection.secret == secret
        {
            connection.requests.send_modify(|n_requests| *n_requests += 1);
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
        registration.requests.borrow_and_update();
        registry.cancel(registration.process_id, registration.secret.wrapping_add(1));
        assert!(!registration.requests.has_changed().expect("the registry lives"));
        registry.cancel(registration.process_id, registration.secret);
        assert!(registration.requests.has_changed().expect("the registry lives"));
        drop(registration);
        assert!(registry.lock().is_empty());
    }
}
