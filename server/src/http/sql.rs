//! `POST /v1/sql` with `{"sql": "…"}`: the statements of one message, atomic together as over the Postgres protocol.
//!
//! Answers `{"results": [{"tag": …, "columns": […], "rows": [[…]]}]}`. With `Accept: application/x-ndjson` rows leave as they are
//! computed, one JSON value a line: `{"columns": […]}`, then a row as `[…]`, then `{"tag": …}`; an error is a last line
//! `{"error": …}`, so a result without a tag is not whole.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use engine::error::sqlstate;
use engine::plan::statement::Parsed;
use engine::{Error, Result};
use futures::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Http;
use super::failure::Failure;
use super::guard::media_type;
use crate::encode::json as encode;
use crate::session::{Outcome, Session};

/// Lines a slow client of a streaming answer may lie behind: some batches.
const LINES_AHEAD: usize = 16;
/// Rows of an answer that is not streamed at most: it is built in memory.
const MAX_BUFFERED_ROWS: u64 = 1_000_000;

/// The body of a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    sql: String,
}

/// Runs the statements and answers with their results.
pub async fn post(State(http): State<Http>, headers: HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Response, Failure> {
    if media_type(&headers) != "application/json" {
        return Err(Failure::request(415, "the content type must be application/json", "send {\"sql\": \"…\"}"));
    }
    let body =
        body.map_err(|error| Failure::request(error.status().as_u16(), &error.body_text(), "raise --max-sql-bytes, or send less"))?;
    let request: Request =
        serde_json::from_slice(&body).map_err(|error| Failure::request(400, &error.to_string(), "the body is {\"sql\": \"…\"}"))?;
    let session = http.session();
    let statements = session.parse(&request.sql).await?;
    let shutdown = http.shared.shutdown.clone();
    if wants_lines(&headers) {
        let (lines, received) = mpsc::channel(LINES_AHEAD);
        tokio::spawn(async move {
            tokio::select! {
                () = stream_results(session, statements, &lines) => {}
                () = lines.closed() => {}
                () = shutdown.wait() => {}
            }
        });
        let lines = stream::unfold(received, |mut received| async move {
            received.recv().await.map(|lines: Vec<u8>| (Ok::<_, Infallible>(lines), received))
        });
        return Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response());
    }
    tokio::select! {
        results = collect_results(session, &statements) => Ok(axum::Json(json!({ "results": results? })).into_response()),
        () = shutdown.wait() => Err(Error::new(sqlstate::ADMIN_SHUTDOWN, "the server is shutting down").into()),
    }
}

fn wants_lines(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.contains("application/x-ndjson") || accept.contains("application/jsonl")
}

async fn collect_results(mut session: Session, statements: &[Parsed]) -> Result<Vec<Value>> {
    session.begin_message(statements.len());
    let mut results = Vec::with_capacity(statements.len());
    for parsed in statements {
        let timeout = session.statement_timeout();
        let collected = async { collect(session.run(parsed).await?).await };
        results.push(within(timeout, collected).await?);
    }
    session.end_message().await?;
    Ok(results)
}

async fn collect(outcome: Outcome) -> Result<Value> {
    Ok(match outcome {
        Outcome::Rows { schema, mut rows, tag, notices, .. } => {
            let mut values = Vec::new();
            while let Some(batch) = rows.next().await {
                values.extend(encode::rows(&batch?)?);
                if values.len() as u64 > MAX_BUFFERED_ROWS {
                    return Err(Error::new("54000", format!("the result has more than {MAX_BUFFERED_ROWS} rows"))
                        .with_hint("ask for a streaming answer with Accept: application/x-ndjson"));
                }
            }
            let tag = tag.after(values.len() as u64);
            json!({"tag": tag, "columns": encode::columns(&schema), "rows": values, "notices": messages(&notices)})
        }
        Outcome::Done { tag, notices } => json!({"tag": tag, "notices": messages(&notices)}),
        Outcome::Empty => json!({"tag": ""}),
        Outcome::CopyIn(_) | Outcome::CopyOut { .. } => return Err(no_copy()),
    })
}

async fn stream_results(mut session: Session, statements: Vec<Parsed>, lines: &mpsc::Sender<Vec<u8>>) {
    session.begin_message(statements.len());
    let mut streamed = Ok(());
    for parsed in &statements {
        let timeout = session.statement_timeout();
        let sent = async { stream_result(session.run(parsed).await?, lines).await };
        streamed = within(timeout, sent).await;
        if streamed.is_err() {
            break;
        }
    }
    if streamed.is_ok() {
        streamed = session.end_message().await;
    }
    if let Err(error) = streamed {
        send(lines, encode::error(&error)).await;
    }
}

async fn stream_result(outcome: Outcome, lines: &mpsc::Sender<Vec<u8>>) -> Result<()> {
    match outcome {
        Outcome::Rows { schema, mut rows, tag, .. } => {
            send(lines, json!({"columns": encode::columns(&schema)})).await;
            let mut n_rows = 0;
            while let Some(batch) = rows.next().await {
                let batch = batch?;
                n_rows += batch.num_rows() as u64;
                let mut text = Vec::new();
                for row in encode::rows(&batch)? {
                    push_line(&mut text, &row);
                }
                if lines.send(text).await.is_err() {
                    return Ok(());
                }
            }
            send(lines, json!({"tag": tag.after(n_rows)})).await;
        }
        Outcome::Done { tag, notices } => send(lines, json!({"tag": tag, "notices": messages(&notices)})).await,
        Outcome::Empty => {}
        Outcome::CopyIn(_) | Outcome::CopyOut { .. } => return Err(no_copy()),
    }
    Ok(())
}

/// A client that has gone is noticed by the caller, which waits for the channel to close.
async fn send(lines: &mpsc::Sender<Vec<u8>>, value: Value) {
    let mut text = Vec::new();
    push_line(&mut text, &value);
    if lines.send(text).await.is_err() {
        tracing::debug!("the client left before the end of its answer");
    }
}

fn push_line(text: &mut Vec<u8>, value: &Value) {
    text.extend_from_slice(value.to_string().as_bytes());
    text.push(b'\n');
}

fn messages(notices: &[engine::engine::Notice]) -> Vec<Value> {
    notices.iter().map(|notice| json!({"severity": notice.severity, "message": notice.error.message})).collect()
}

fn no_copy() -> Error {
    Error::unsupported("COPY is not served over HTTP", "use POST /v1/streams/{name} to send rows, SELECT or SUBSCRIBE to read them")
}

async fn within<T>(timeout: Option<Duration>, work: impl Future<Output = Result<T>>) -> Result<T> {
    let Some(timeout) = timeout else { return work.await };
    let overdue = |_| Error::new(sqlstate::QUERY_CANCELED, "canceling statement due to statement timeout");
    tokio::time::timeout(timeout, work).await.map_err(overdue)?
}
