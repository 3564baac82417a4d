//! `GET /metrics`: the engine's numbers and the server's own, in Prometheus's text format.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::Http;

/// Prometheus's text format, version 0.0.4.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All numbers as they are now.
pub async fn get(State(http): State<Http>) -> Response {
    let open = http.max_connections - http.shared.slots.available_permits();
    let mut text = String::new();
    line(&mut text, "thalweg_up", 1.0);
    line(&mut text, "thalweg_pg_connections", open as f64);
    line(&mut text, "thalweg_http_requests_total", http.n_requests.load(Ordering::Relaxed) as f64);
    for (name, value) in http.shared.engine.metrics() {
        line(&mut text, &name, value);
    }
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response()
}

fn line(text: &mut String, name: &str, value: f64) {
    writeln!(text, "{name} {value}").expect("a String takes all that is written");
}
