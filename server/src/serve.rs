//! Starts the server's parts, and stops them in the right order.
//!
//! Kinds of threads: those of the engine's dataflow, those that serve sockets, and those that run statements ([`threads`]). A query
//! that computes for minutes holds those that compute only.
//!
//! [`threads`]: crate::threads

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use engine::{Engine, Error, Result};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tracing::{info, warn};

use crate::config::{Config, given_path};
use crate::http;
use crate::pg_catalog::session::Sessions;
use crate::pgwire::cancel::CancelRegistry;
use crate::pgwire::listener::{self, Shared};
use crate::session::notify::Channels;
use crate::session::settings::Settings;
use crate::shutdown::Shutdown;
use crate::threads::{QueryRuntimes, QueryThreads};

/// Threads that serve sockets: they only encode and decode.
const SOCKET_THREADS: usize = 2;
/// Stops waiting for the engine after this long; what is acknowledged is durable anyway.
const ENGINE_SHUTDOWN: Duration = Duration::from_secs(5);

/// A server that listens.
pub struct Server {
    /// Where Postgres clients connect.
    pub pg: SocketAddr,
    /// Where HTTP clients connect.
    pub http: SocketAddr,
    listeners: Listeners,
    shared: Shared,
    config: Config,
}

struct Listeners {
    pg: TcpListener,
    http: TcpListener,
}

/// The runtime that serves sockets.
pub fn socket_runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().thread_stack_size(16 << 20).worker_threads(SOCKET_THREADS).thread_name("socket").enable_all().build()
}

/// Runs a server until SIGTERM or Ctrl-C.
pub fn run(config: Config) -> Result<()> {
    config.check().map_err(|message| Error::new("22023", message))?;
    let (sockets, queries) = (socket_runtime()?, QueryRuntimes::start(&config)?);
    let shutdown = Shutdown::default();
    let served = sockets.block_on(async {
        shutdown.on_signals()?;
        let server = Server::start(config, queries.threads(), shutdown).await?;
        server.announce()?;
        server.serve().await
    });
    queries.shutdown_background();
    sockets.shutdown_timeout(Duration::from_secs(1));
    served
}

impl Server {
    /// Opens the data, then the sockets: a client that can connect can work.
    pub async fn start(config: Config, queries: QueryThreads, shutdown: Shutdown) -> Result<Self> {
        let engine = Engine::open(config.engine()).await?;
        let mut settings = Settings::default();
        settings.set_initial("statement_timeout", &config.statement_timeout_ms.to_string())?;
        let shared = Shared {
            engine,
            queries,
            cancel: CancelRegistry::default(),
            channels: Channels::default(),
            shutdown,
            sessions: Sessions::default(),
            settings,
            startup_timeout: Duration::from_secs(config.startup_timeout_s),
            slots: Arc::new(Semaphore::new(config.max_connections)),
        };
        let listeners = match Listeners::open(&config).await {
            Ok(listeners) => listeners,
            Err(error) => {
                // The engine's threads must not be ended from inside a runtime, as dropping it here would.
                shared.engine.shutdown().await?;
                return Err(error);
            }
        };
        let (pg, http) = (listeners.pg.local_addr()?, listeners.http.local_addr()?);
        Ok(Self { pg, http, listeners, shared, config })
    }

    /// Prints how to connect, and writes the ready file.
    fn announce(&self) -> Result<()> {
        let (pg, http) = (self.pg, self.http);
        println!("Thalweg {} is ready, with its data in {}", env!("CARGO_PKG_VERSION"), self.config.data);
        println!("  psql -h {} -p {} -U thalweg", pg.ip(), pg.port());
        println!("  curl http://{http}/health");
        info!(%pg, %http, data = self.config.data, "listening");
        let Some(path) = given_path(&self.config.ready_file) else { return Ok(()) };
        let addresses = serde_json::json!({"pg": pg.to_string(), "http": http.to_string(), "pid": std::process::id()});
        // Written aside and renamed, so that whoever waits for the file never reads half of it.
        let aside = path.with_extension("part");
        std::fs::write(&aside, format!("{addresses}\n"))?;
        Ok(std::fs::rename(&aside, &path)?)
    }

    /// Serves until the shutdown starts, then ends: no new clients, the last words to the old ones, then the engine.
    pub async fn serve(self) -> Result<()> {
        let Self { listeners, shared, config, .. } = self;
        let pg = tokio::spawn(listener::serve(listeners.pg, shared.clone()));
        let http = tokio::spawn(http::serve(listeners.http, shared.clone(), config));
        for (name, part) in [("pg", pg), ("http", http)] {
            part.await.map_err(|error| Error::internal(format!("the {name} listener ended by a panic: {error}")))?;
        }
        match tokio::time::timeout(ENGINE_SHUTDOWN, shared.engine.shutdown()).await {
            Ok(stopped) => stopped?,
            Err(_) => warn!("the engine did not stop in time; what is acknowledged is durable and will be replayed"),
        }
        info!("stopped");
        Ok(())
    }
}

impl Listeners {
    async fn open(config: &Config) -> Result<Self> {
        Ok(Self { pg: listen(config.pg, "pg").await?, http: listen(config.http, "http").await? })
    }
}

async fn listen(address: SocketAddr, flag: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        Error::from(error)
            .with_detail(format!("--{flag} {address}"))
            .with_hint(format!("use another address, or --{flag} {}:0 for any free port", address.ip()))
    })
}
