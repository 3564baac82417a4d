//! Rows on their way from a client into the engine: bytes are decoded on the query runtime while the next ones are received.
//!
//! The queue between them is bounded, so a client cannot send faster than rows are decoded.

use bytes::Bytes;
use catalog::SqlType;
use engine::engine::{Ingest, Ingested, Notice};
use engine::plan::statement::{CopyFormat, CopyKind};
use engine::{Error, Result};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::rows::Running;

/// Messages received ahead of the decoder. Clients send them with at most some 64 KiB, so this is about half a megabyte.
const MESSAGES_AHEAD: usize = 8;

/// How binary rows reach the engine's decoder, whose rules for values are then the same for every format.
pub(super) fn text_format() -> CopyFormat {
    CopyFormat { kind: CopyKind::Text, delimiter: '\t', header: false, null: "\\N".into(), quote: '"', escape: '"' }
}

/// A COPY FROM STDIN or HTTP ingest under way. Dropping it drops its rows.
pub struct CopyingIn {
    /// The types of the columns each row has; none when unknown.
    pub types: Vec<SqlType>,
    /// How the client writes rows; binary ones are to be handed over as text.
    pub kind: CopyKind,
    bytes: mpsc::Sender<Bytes>,
    decoder: Running<Result<Ingest>>,
}

impl CopyingIn {
    pub(super) fn start(runtime: &Handle, mut ingest: Ingest, types: Vec<SqlType>, kind: CopyKind) -> Self {
        let (bytes, mut received) = mpsc::channel::<Bytes>(MESSAGES_AHEAD);
        let decoder = Running::spawn(runtime, async move {
            while let Some(bytes) = received.recv().await {
                ingest.push(&bytes).await?;
            }
            Ok(ingest)
        });
        Self { types, kind, bytes, decoder }
    }

    /// Hands over some bytes. False when decoding has already failed: [`Self::decoded`] says why.
    pub async fn push(&self, bytes: Bytes) -> bool {
        self.bytes.send(bytes).await.is_ok()
    }

    /// Returns when decoding has failed before all bytes were handed over.
    pub async fn failed(&self) {
        self.bytes.closed().await;
    }

    /// Why decoding failed.
    pub async fn into_error(self) -> Error {
        self.decoded().await.err().unwrap_or_else(|| Error::internal("a COPY ended before its data did"))
    }

    pub(super) async fn decoded(self) -> Result<Ingest> {
        drop(self.bytes);
        self.decoder.finish().await?
    }
}

/// Tells the client about rows that went to `"s$errors"`.
pub(super) fn rejected_notice(ingested: &Ingested) -> Vec<Notice> {
    let message = match ingested.n_errors {
        0 => return Vec::new(),
        1 => "1 row could not be decoded".to_owned(),
        n_errors => format!("{n_errors} rows could not be decoded"),
    };
    let error = Error::new("01000", message).with_hint("they are in the stream's \"…$errors\" relation with their cause");
    vec![Notice { severity: "WARNING", error }]
}
