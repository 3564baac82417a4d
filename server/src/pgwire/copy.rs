//! COPY FROM STDIN and COPY TO STDOUT.

use arrow::datatypes::SchemaRef;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use catalog::SqlType;
use engine::Error;
use engine::decode::MAX_RECORD_BYTES;
use engine::error::sqlstate;
use engine::plan::statement::{CopyFormat, CopyKind};
use pgwire::messages::copy::{CopyDone, CopyInResponse, CopyOutResponse, MESSAGE_TYPE_BYTE_COPY_DATA};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};

use super::connection::{Client, Fault};
use super::messages::command_complete;
use super::values::binary_value;
use crate::encode::copy::{BINARY_SIGNATURE, CopyEncoder, write_escaped};
use crate::session::Outcome;
use crate::session::copy_in::CopyingIn;
use crate::session::rows::RowStream;

impl Client {
    /// Takes rows from the client until it says that there are no more, then makes them visible and durable.
    pub(super) async fn copy_in(&mut self, copying: CopyingIn) -> Result<(), Fault> {
        let n_columns = copying.types.len();
        let mut binary = (copying.kind == CopyKind::Binary).then(|| BinaryRows::new(copying.types.clone()));
        let format = i8::from(binary.is_some());
        let response = CopyInResponse::new(format, n_columns as i16, vec![format.into(); n_columns]);
        self.output.put(&PgWireBackendMessage::CopyInResponse(response))?;
        self.send().await?;
        while let Some(bytes) = self.next_copy_data(&copying).await? {
            let bytes = match &mut binary {
                Some(binary) => binary.as_text(bytes)?,
                None => bytes,
            };
            let pushed = copying.push(bytes);
            if !self.interrupt.guard(&mut self.input, pushed).await? {
                return Err(Fault::Statement(copying.into_error().await));
            }
        }
        if let Some(binary) = binary {
            binary.finish()?;
        }
        let finished = self.session.finish_copy(copying);
        let outcome = self.interrupt.guard(&mut self.input, finished).await??;
        if let Outcome::Done { tag, notices } = outcome {
            self.notify(&notices)?;
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
    pub(super) async fn copy_out(&mut self, schema: &SchemaRef, rows: RowStream, format: CopyFormat) -> Result<(), Fault> {
        let n_columns = schema.fields().len();
        let encoder = CopyEncoder::new(format, n_columns, self.session.style());
        let format = encoder.format_code();
        let response = CopyOutResponse::new(format, n_columns as i16, vec![format.into(); n_columns]);
        self.output.put(&PgWireBackendMessage::CopyOutResponse(response))?;
        // Stands in one message with the first row, as clients expect it of binary data; a line of names stands alone.
        // What it copies may be changes, of which the first is long to come: the client learns now that it follows.
        self.send().await?;
        let mut header = encoder.header(schema).unwrap_or_default();
        if format == 0 && !header.is_empty() {
            put_copy_data(&mut self.output.buffer, &[&std::mem::take(&mut header)])?;
        }
        let put = |out: &mut BytesMut, batch: &arrow::array::RecordBatch| {
            encoder.rows(batch)?.iter().try_for_each(|row| put_copy_data(out, &[&std::mem::take(&mut header), row]))
        };
        let n_rows = self.pump(rows, put).await?;
        if let Some(trailer) = encoder.trailer() {
            put_copy_data(&mut self.output.buffer, &[&header, &trailer])?;
        }
        self.output.put(&PgWireBackendMessage::CopyDone(CopyDone::new()))?;
        self.output.put(&command_complete(format!("COPY {n_rows}")))
    }
}

fn put_copy_data(out: &mut BytesMut, parts: &[&[u8]]) -> Result<(), Error> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let length = i32::try_from(length + 4).map_err(|_| Error::new("54000", "a row of this COPY is larger than 2 GiB"))?;
    out.put_u8(MESSAGE_TYPE_BYTE_COPY_DATA);
    out.put_i32(length);
    parts.iter().for_each(|part| out.put_slice(part));
    Ok(())
}

/// Rows in COPY's binary format, cut into values and handed on as lines of its text format.
struct BinaryRows {
    types: Vec<SqlType>,
    /// Received, not yet a whole row.
    buffer: BytesMut,
    place: Place,
    n_rows: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Header,
    Rows,
    End,
}

impl BinaryRows {
    fn new(types: Vec<SqlType>) -> Self {
        Self { types, buffer: BytesMut::new(), place: Place::Header, n_rows: 0 }
    }

    /// The rows that are complete with these bytes.
    fn as_text(&mut self, bytes: Bytes) -> Result<Bytes, Error> {
        self.buffer.extend_from_slice(&bytes);
        let mut lines = Vec::new();
        loop {
            let n_read = match self.place {
                Place::Header => self.header()?,
                Place::Rows => self.row(&mut lines)?,
                Place::End if self.buffer.is_empty() => None,
                Place::End => return Err(bad_format("received copy data after EOF marker")),
            };
            match n_read {
                Some(n_read) => self.buffer.advance(n_read),
                None => return Ok(lines.into()),
            }
        }
    }

    fn finish(&self) -> Result<(), Error> {
        match self.place {
            Place::Rows if self.buffer.is_empty() => Ok(()),
            Place::End => Ok(()),
            Place::Header => Err(bad_format("COPY file signature not recognized")),
            Place::Rows => Err(bad_format("unexpected EOF in COPY data")),
        }
    }

    /// Signature, flags, and an extension that is passed over; `None` when it is not complete yet.
    fn header(&mut self) -> Result<Option<usize>, Error> {
        const SIGNATURE_BYTES: usize = 11;
        let mut bytes = self.buffer.as_ref();
        if bytes.len() < BINARY_SIGNATURE.len() {
            return Ok(None);
        }
        if bytes[..SIGNATURE_BYTES] != BINARY_SIGNATURE[..SIGNATURE_BYTES] {
            return Err(bad_format("COPY file signature not recognized"));
        }
        bytes.advance(SIGNATURE_BYTES);
        if bytes.get_u32() & 0xffff_0000 != 0 {
            return Err(bad_format("unrecognized critical flags in COPY file header"));
        }
        let Ok(extension) = usize::try_from(bytes.get_i32()) else { return Err(bad_format("invalid COPY file header (wrong length)")) };
        if bytes.len() < extension {
            return Ok(None);
        }
        self.place = Place::Rows;
        Ok(Some(BINARY_SIGNATURE.len() + extension))
    }

    /// One row as a line; `None` when it is not complete yet.
    fn row(&mut self, lines: &mut Vec<u8>) -> Result<Option<usize>, Error> {
        let mut bytes = self.buffer.as_ref();
        let Ok(n_columns) = bytes.try_get_i16() else { return Ok(None) };
        if n_columns == -1 {
            self.place = Place::End;
            return Ok(Some(2));
        }
        if usize::try_from(n_columns) != Ok(self.types.len()) {
            return Err(bad_format(&format!("row field count is {n_columns}, expected {}", self.types.len())));
        }
        let start = lines.len();
        for (index, sql_type) in self.types.iter().enumerate() {
            if index > 0 {
                lines.push(b'\t');
            }
            let Ok(length) = bytes.try_get_i32() else { return Ok(incomplete(lines, start)) };
            if length == -1 {
                lines.extend_from_slice(b"\\N");
                continue;
            }
            let Ok(length) = usize::try_from(length) else { return Err(bad_format("invalid field size")) };
            if length > MAX_RECORD_BYTES {
                return Err(bad_format("invalid field size"));
            }
            let Some((value, rest)) = bytes.split_at_checked(length) else { return Ok(incomplete(lines, start)) };
            let text = binary_value(sql_type, 0, value).map_err(|error| self.in_row(error, index))?;
            write_escaped(lines, text.as_bytes(), '\t');
            bytes = rest;
        }
        lines.push(b'\n');
        self.n_rows += 1;
        Ok(Some(self.buffer.len() - bytes.len()))
    }

    fn in_row(&self, error: Error, column: usize) -> Error {
        match error.detail {
            Some(_) => error,
            None => error.with_detail(format!("COPY row {}, column {}", self.n_rows + 1, column + 1)),
        }
    }
}

fn incomplete(lines: &mut Vec<u8>, start: usize) -> Option<usize> {
    lines.truncate(start);
    None
}

fn bad_format(message: &str) -> Error {
    Error::new(sqlstate::BAD_COPY_FORMAT, message)
}
