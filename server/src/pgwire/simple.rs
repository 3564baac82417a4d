//! The simple query message, and the pump that sends rows as they are computed.
//!
//! Statements run one after another and each answers before the next begins, so what was answered stays answered when a later
//! one fails. A failing message ends with its error; its writes are dropped by the session.

use bytes::BytesMut;
use engine::Result;
use engine::engine::Notice;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::extendedquery::PortalSuspended;
use pgwire::messages::response::EmptyQueryResponse;

use super::connection::{Client, FLUSH_BYTES, Fault};
use super::messages::{command_complete, notice_response, put_data_rows, row_description};
use crate::encode::formats::Formats;
use crate::session::rows::RowStream;
use crate::session::{Outcome, Tag};

/// Rows encoded at most between two looks at the socket and at what may stop the statement: some milliseconds of work.
const ROWS_AT_ONCE: usize = 1024;
/// Rows encoded before it is known how long they are.
const FIRST_ROWS: usize = 16;

impl Client {
    /// Serves a Query message, but for its ReadyForQuery.
    pub(super) async fn simple_query(&mut self, sql: &str) -> Result<(), Fault> {
        let statements = self.session.parse(sql).await?;
        if statements.is_empty() {
            return self.output.put(&PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new()));
        }
        self.session.begin_message(statements.len());
        for parsed in &statements {
            self.interrupt.begin_statement(self.session.statement_timeout());
            let running = self.session.run(parsed);
            let outcome = self.interrupt.guard(&mut self.input, running).await??;
            self.answer(outcome, None).await?;
        }
        let ended = self.session.end_message();
        self.interrupt.guard(&mut self.input, ended).await??;
        Ok(())
    }

    /// Sends what a statement answers with. A portal's rows were described before, and may be a part of them.
    pub(super) async fn answer(&mut self, outcome: Outcome, portal: Option<PortalRows>) -> Result<(), Fault> {
        match outcome {
            Outcome::Empty => self.output.put(&PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())),
            Outcome::Done { tag, notices } => {
                self.notify(&notices)?;
                self.output.put(&command_complete(tag))
            }
            Outcome::Rows { schema, rows, tag, notices, formats } => {
                self.notify(&notices)?;
                let style = self.session.style();
                let (formats, n_wanted) = match portal {
                    Some(portal) => (portal.formats, portal.n_wanted),
                    None => {
                        self.output.put(&row_description(&schema, &formats))?;
                        (formats, None)
                    }
                };
                if tag == Tag::Counted("SUBSCRIBE") {
                    // It may be long until something changes: the client learns now that it follows.
                    self.send().await?;
                }
                let n_rows = self.pump(rows, |out, batch| put_data_rows(out, batch, &formats, &style)).await?;
                match n_wanted == Some(n_rows) {
                    true => self.output.put(&PgWireBackendMessage::PortalSuspended(PortalSuspended::new())),
                    false => self.output.put(&command_complete(tag.after(n_rows))),
                }
            }
            Outcome::CopyIn(copying) => Box::pin(self.copy_in(copying)).await,
            Outcome::CopyOut { schema, rows, format } => Box::pin(self.copy_out(&schema, rows, format)).await,
        }
    }

    /// Sends rows as they come, encoded by `put`. Returns how many.
    pub(super) async fn pump(
        &mut self,
        mut rows: RowStream,
        mut put: impl FnMut(&mut BytesMut, &arrow::array::RecordBatch) -> Result<()>,
    ) -> Result<u64, Fault> {
        let (mut n_rows, mut n_at_once) = (0, FIRST_ROWS);
        loop {
            let batch = match rows.try_next() {
                Some(batch) => batch?,
                None => {
                    // Nothing to add right now: the rows that are there leave before we wait.
                    if n_rows > 0 {
                        self.send().await?;
                    }
                    match self.interrupt.guard(&mut self.input, rows.next()).await? {
                        Some(batch) => batch?,
                        None => return Ok(n_rows),
                    }
                }
            };
            n_rows += batch.num_rows() as u64;
            let mut start = 0;
            while start < batch.num_rows() {
                let n_put = n_at_once.min(batch.num_rows() - start);
                let n_before = self.output.buffer.len();
                put(&mut self.output.buffer, &batch.slice(start, n_put))?;
                n_at_once = rows_at_once(n_put, self.output.buffer.len() - n_before);
                start += n_put;
                if self.output.buffer.len() >= FLUSH_BYTES {
                    self.send().await?;
                }
            }
        }
    }

    /// Flushes, unless something stops the statement first: a client that does not read must not keep it alive.
    pub(super) async fn send(&mut self) -> Result<(), Fault> {
        let flushed = self.output.flush();
        Ok(self.interrupt.guard(&mut self.input, flushed).await??)
    }

    pub(super) fn notify(&mut self, notices: &[Notice]) -> Result<(), Fault> {
        for notice in notices {
            if self.session.wants(notice) {
                self.output.put(&notice_response(notice))?;
            }
        }
        Ok(())
    }
}

/// How many rows to encode next, when so many had so many bytes: about as many as are sent together, whatever is wide.
fn rows_at_once(n_rows: usize, n_bytes: usize) -> usize {
    (n_rows * FLUSH_BYTES / n_bytes.max(1)).clamp(1, ROWS_AT_ONCE)
}

/// What Execute asks of a portal that Describe has described.
#[derive(Debug)]
pub(super) struct PortalRows {
    pub(super) formats: Formats,
    /// After so many rows the portal waits; `None` is no limit.
    pub(super) n_wanted: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_rows_are_encoded_one_by_one() {
        assert_eq!(rows_at_once(16, 16 * 20), ROWS_AT_ONCE);
        assert_eq!(rows_at_once(1024, 1024 * 100), FLUSH_BYTES / 100);
        assert_eq!(rows_at_once(16, 16 << 20), 1);
        assert_eq!(rows_at_once(16, 0), ROWS_AT_ONCE);
    }
}
