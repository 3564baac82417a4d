//! What can stop a running statement.

use std::time::Duration;

use engine::Error;
use engine::error::sqlstate;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::cancel::Asked;
use super::connection::{Fault, Input};
use crate::shutdown::Shutdown;

/// Watches for everything that stops a statement.
#[derive(Debug)]
pub struct Interrupt {
    asked: watch::Receiver<Asked>,
    shutdown: Shutdown,
    deadline: Option<Instant>,
}

impl Interrupt {
    /// A watch over one connection's statements.
    pub fn new(asked: watch::Receiver<Asked>, shutdown: Shutdown) -> Self {
        Self { asked, shutdown, deadline: None }
    }

    /// A message begins, which may take so long. A cancel request that came while nothing ran is forgotten.
    pub fn begin_message(&mut self, timeout: Option<Duration>) {
        self.asked.borrow_and_update();
        self.begin_statement(timeout);
    }

    /// A statement begins, which may take so long.
    pub fn begin_statement(&mut self, timeout: Option<Duration>) {
        self.deadline = timeout.map(|timeout| Instant::now() + timeout);
    }

    /// Runs `work` until it is done or something stops it. Stopped work is dropped, which stops its tasks.
    pub async fn guard<T>(&mut self, input: &mut Input, work: impl Future<Output = T>) -> Result<T, Fault> {
        tokio::select! {
            biased;
            fault = self.interrupted(input) => Err(fault),
            done = work => Ok(done),
        }
    }

    async fn interrupted(&mut self, input: &mut Input) -> Fault {
        tokio::select! {
            fault = self.without_client() => fault,
            () = input.client_left() => Fault::ClientLeft,
        }
    }

    /// Returns when something else than the client's leaving stops the statement.
    pub async fn without_client(&mut self) -> Fault {
        let canceled = |why: &str| Fault::Statement(Error::new(sqlstate::QUERY_CANCELED, format!("canceling statement due to {why}")));
        let timeout = async {
            match self.deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        if self.asked.borrow().to_end {
            return asked_to_end();
        }
        tokio::select! {
            () = self.shutdown.wait() => shutting_down(),
            _ = self.asked.changed() => if self.asked.borrow().to_end { asked_to_end() } else { canceled("user request") },
            () = timeout => canceled("statement timeout"),
        }
    }

    /// Returns when the connection has to end.
    pub async fn end(&self) -> Fault {
        let mut asked = self.asked.clone();
        tokio::select! {
            () = self.shutdown.wait() => shutting_down(),
            _ = asked.wait_for(|asked| asked.to_end) => asked_to_end(),
        }
    }
}

fn asked_to_end() -> Fault {
    Fault::Connection(Error::new(sqlstate::ADMIN_SHUTDOWN, "terminating connection due to administrator command"))
}

fn shutting_down() -> Fault {
    Fault::Connection(Error::new(sqlstate::ADMIN_SHUTDOWN, "terminating connection because the server is shutting down"))
}
