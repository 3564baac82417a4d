//! HTTP: SQL, stream ingest, health and metrics.
//!
//! - [`guard`]: which requests are served at all. A web page in a browser can reach a loopback address, so Host, Origin and the
//!   content type are checked before anything else.
//! - [`sql`]: `POST /v1/sql`. [`streams`]: `POST /v1/streams/{name}`. [`metrics`]: `GET /metrics`.
//! - [`failure`]: errors as JSON with a status.

pub mod failure;
pub mod guard;
pub mod metrics;
pub mod sql;
pub mod streams;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tracing::warn;

use self::failure::Failure;
use crate::config::Config;
use crate::pgwire::listener::Shared;
use crate::session::Session;

/// After the shutdown requests under way have this long to end.
const LAST_REQUESTS: Duration = Duration::from_secs(3);

/// What all requests share.
#[derive(Clone)]
pub struct Http {
    shared: Shared,
    hosts: Arc<HashSet<String>>,
    max_connections: usize,
    n_requests: Arc<AtomicU64>,
}

impl Http {
    /// A session for one request.
    fn session(&self) -> Session {
        Session::new(self.shared.engine.clone(), self.shared.queries.clone(), self.shared.settings.clone(), self.shared.channels.clone())
    }
}

/// Serves requests until the server shuts down.
pub async fn serve(listener: TcpListener, shared: Shared, config: Config) {
    let shutdown = shared.shutdown.clone();
    let hosts = config.http_hosts.split(',').map(|host| host.trim().to_ascii_lowercase()).filter(|host| !host.is_empty()).collect();
    let http = Http { shared, hosts: Arc::new(hosts), max_connections: config.max_connections, n_requests: Arc::default() };
    let app = router(http, config.max_sql_bytes);
    let begun = shutdown.clone();
    let served = axum::serve(listener, app).with_graceful_shutdown(async move { begun.wait().await });
    let overdue = async {
        shutdown.wait().await;
        tokio::time::sleep(LAST_REQUESTS).await;
    };
    tokio::select! {
        ended = served => if let Err(error) = ended {
            tracing::error!(%error, "HTTP ended");
        },
        () = overdue => warn!("HTTP requests were cut off by the shutdown"),
    }
}

fn router(http: Http, max_sql_bytes: usize) -> Router {
    Router::new()
        .route("/v1/sql", post(sql::post).layer(DefaultBodyLimit::max(max_sql_bytes)))
        .route("/v1/streams/{name}", post(streams::post).layer(DefaultBodyLimit::disable()))
        .route("/health", get(health))
        .route("/metrics", get(metrics::get))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(http.clone(), guard::check))
        .with_state(http)
}

async fn health() -> Response {
    axum::Json(serde_json::json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")})).into_response()
}

async fn not_found() -> Failure {
    Failure::request(404, "there is nothing here", "POST /v1/sql, POST /v1/streams/{name}, GET /health and GET /metrics are")
}

async fn wrong_method() -> Failure {
    Failure::request(405, "not with this method", "/v1/sql and /v1/streams/{name} take POST, /health and /metrics take GET")
}
