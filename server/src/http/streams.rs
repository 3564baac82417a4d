//! `POST /v1/streams/{name}`: rows for a push stream or a table, as NDJSON or CSV, decoded as they arrive.
//!
//! Answers `{"rows": n, "errors": m, "epoch": e}` once the rows are durable. `{name}` may be `schema.name`. A body that breaks off
//! takes nothing in. A query string `?delimiter=;&header=false` changes how CSV is read.

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use engine::engine::IngestFormat;
use engine::plan::statement::{CopyFormat, CopyKind, Name};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::json;

use super::Http;
use super::failure::Failure;
use super::guard::media_type;

/// How CSV is read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CsvOptions {
    delimiter: Option<char>,
    header: Option<bool>,
    null: Option<String>,
}

/// Takes rows in.
pub async fn post(
    State(http): State<Http>,
    Path(name): Path<String>,
    Query(options): Query<CsvOptions>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let format = match media_type(&headers).as_str() {
        "application/x-ndjson" | "application/jsonl" | "application/json" => IngestFormat::Ndjson,
        "text/csv" => IngestFormat::Csv(options.format()),
        _ => {
            return Err(Failure::request(
                415,
                "the content type must be application/x-ndjson, application/json or text/csv",
                "send one JSON object a line, or CSV",
            ));
        }
    };
    let mut session = http.session();
    let copying = session.start_ingest(&target(&name), format).await?;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk
            .map_err(|error| Failure::request(400, &format!("the body broke off: {error}"), "nothing of it was taken in; send it again"))?;
        if !copying.push(chunk).await {
            return Err(copying.into_error().await.into());
        }
    }
    let ingested = session.finish_ingest(copying).await?;
    Ok(axum::Json(json!({"rows": ingested.n_rows, "errors": ingested.n_errors, "epoch": ingested.epoch})).into_response())
}

impl CsvOptions {
    /// A header line is expected unless `header=false`: HTTP clients send files.
    fn format(self) -> CopyFormat {
        CopyFormat {
            kind: CopyKind::Csv,
            delimiter: self.delimiter.unwrap_or(','),
            header: self.header.unwrap_or(true),
            null: self.null.unwrap_or_default(),
            quote: '"',
            escape: '"',
        }
    }
}

/// `name` or `schema.name`, as they are in the catalog.
fn target(name: &str) -> Name {
    match name.split_once('.') {
        Some((schema, name)) => Name { schema: Some(schema.to_owned()), name: name.to_owned() },
        None => Name { schema: None, name: name.to_owned() },
    }
}
