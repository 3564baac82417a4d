//! COPY FROM STDIN and COPY TO STDOUT.

use arrow::datatypes::SchemaRef;
use bytes::{BufMut, Bytes, BytesMut};
use engine::Error;
use engine::error::sqlstate;
use engine::plan::statement::CopyFormat;
use pgwire::messages::copy::{CopyDone, CopyInResponse, CopyOutResponse, MESSAGE_TYPE_BYTE_COPY_DATA};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};

use super::connection::{Client, Fault};
use super::messages::{command_complete, notice_response};
use crate::encode::copy::CopyEncoder;
use crate::session::Outcome;
use crate::session::copy_in::CopyingIn;
use crate::session::rows::RowStream;

impl Client {
    /// Takes rows from the client until it says that there are no more, then makes them visible and durable.
    pub(super) async fn copy_in(&mut self, copying: CopyingIn) -> Result<(), Fault> {
        let n_columns = copying.n_columns;
        self.output.put(&PgWireBackendMessage::CopyInResponse(CopyInResponse::new(0, n_columns as i16, vec![0; n_columns])))?;
        self.send().await?;
        while let Some(bytes) = self.next_copy_data(&copying).await? {
            let pushed = copying.push(bytes);
            if !self.interrupt.guard(&mut self.input, pushed).await? {
                return Err(Fault::Statement(copying.into_error().await));
            }
        }
        let finished = self.session.finish_copy(copying);
        let outcome = self.interrupt.guard(&mut self.input, finished).await??;
        if let Outcome::Done { tag, notices } = outcome {
            notices.iter().try_for_each(|notice| self.output.put(&notice_response(notice)))?;
            self.output.put(&command_complete(tag))?;
        }
        Ok(())
    }

    /// The next bytes; `None` at their end. Fails when the client gives up, or decoding did.
    async fn next_copy_data(&mut self, copying: &CopyingIn) -> Result<Option<Bytes>, Fault> {
        loop {
            // Not under `guard`, which would read the socket too: here it is read anyway.
            let message = tokio::select! {
                biased;
                fault = self.interrupt.without_client() => return Err(fault),
                () = copying.failed() => return Ok(Some(Bytes::new())),
                message = self.input.next() => message?,
            };
            match message {
                PgWireFrontendMessage::CopyData(data) => return Ok(Some(data.data)),
                PgWireFrontendMessage::CopyDone(_) => return Ok(None),
                PgWireFrontendMessage::CopyFail(fail) => {
                    return Err(Fault::Statement(Error::new(
                        sqlstate::QUERY_CANCELED,
                        format!("COPY from stdin failed: {}", fail.message),
                    )));
                }
                // Clients that pipeline send these right after Execute.
                PgWireFrontendMessage::Flush(_) | PgWireFrontendMessage::Sync(_) => {}
                PgWireFrontendMessage::Terminate(_) => return Err(Fault::ClientLeft),
                _ => return Err(Fault::Connection(Error::new("08P01", "unexpected message during COPY from stdin"))),
            }
        }
    }

    /// Sends rows in COPY's format as they come.
    pub(super) async fn copy_out(&mut self, schema: &SchemaRef, rows: RowStream, format: &CopyFormat) -> Result<(), Fault> {
        let n_columns = schema.fields().len();
        let encoder = CopyEncoder::new(format.clone(), n_columns)?;
        self.output.put(&PgWireBackendMessage::CopyOutResponse(CopyOutResponse::new(0, n_columns as i16, vec![0; n_columns])))?;
        if let Some(header) = encoder.header(schema) {
            put_copy_data(&mut self.output.buffer, &header)?;
        }
        let put = |out: &mut BytesMut, batch: &arrow::array::RecordBatch| {
            encoder.lines(batch)?.iter().try_for_each(|line| put_copy_data(out, line))
        };
        let n_rows = self.pump(rows, put).await?;
        self.output.put(&PgWireBackendMessage::CopyDone(CopyDone::new()))?;
        self.output.put(&command_complete(format!("COPY {n_rows}")))
    }
}

fn put_copy_data(out: &mut BytesMut, line: &[u8]) -> Result<(), Error> {
    let length = i32::try_from(line.len() + 4).map_err(|_| Error::new("54000", "a row of this COPY is larger than 2 GiB"))?;
    out.put_u8(MESSAGE_TYPE_BYTE_COPY_DATA);
    out.put_i32(length);
    out.put_slice(line);
    Ok(())
}
