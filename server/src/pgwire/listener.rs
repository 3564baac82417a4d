//! Accepts connections until the server shuts down.

use std::sync::Arc;
use std::time::Duration;

use engine::Engine;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::cancel::CancelRegistry;
use super::connection::Connection;
use crate::pg_catalog::session::Sessions;
use crate::session::notify::Channels;
use crate::session::settings::Settings;
use crate::shutdown::Shutdown;
use crate::threads::QueryThreads;

/// After the shutdown each connection has this long to take its last message.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What all connections share.
#[derive(Clone)]
pub struct Shared {
    /// The engine.
    pub engine: Engine,
    /// The threads that run statements.
    pub queries: QueryThreads,
    /// Who can be canceled.
    pub cancel: CancelRegistry,
    /// Who listens to what.
    pub channels: Channels,
    /// The end of the server.
    pub shutdown: Shutdown,
    /// Who is connected.
    pub sessions: Sessions,
    /// Settings a session starts with.
    pub settings: Settings,
    /// From accept to ready.
    pub startup_timeout: Duration,
    /// One permit per connection.
    pub slots: Arc<Semaphore>,
}

/// Serves clients; returns when the server shuts down and all of them are gone.
pub async fn serve(listener: TcpListener, shared: Shared) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shared.shutdown.wait() => break,
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => {
                    debug!(%peer, "client connected");
                    connections.spawn(Connection::new(socket, shared.clone()).run());
                }
                Err(error) => {
                    // Out of file descriptors, most likely: others may leave meanwhile.
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection ended by a panic");
                }
            }
        }
    }
    drop(listener);
    let all_gone = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_WORDS, all_gone).await.is_err() {
        connections.shutdown().await;
    }
}
