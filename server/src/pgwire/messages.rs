//! Our errors, notices, schemas and rows as protocol messages.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::{BufMut, BytesMut};
use engine::engine::Notice;
use engine::{Error, Result};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::data::{FieldDescription, MESSAGE_TYPE_BYTE_DATA_ROW, RowDescription};
use pgwire::messages::response::{CommandComplete, ErrorResponse, NoticeResponse, NotificationResponse, ReadyForQuery, TransactionStatus};

use crate::encode::binary::write_sized;
use crate::encode::column::{Column, Style};
use crate::encode::formats::Formats;
use crate::encode::pg_type::{origin, pg_type};
use crate::session::Status;
use crate::session::notify::Notification;

/// `ERROR`: the statement failed.
pub const ERROR: &str = "ERROR";
/// `FATAL`: the connection ends.
pub const FATAL: &str = "FATAL";

/// An ErrorResponse.
pub fn error_response(severity: &str, error: &Error) -> PgWireBackendMessage {
    PgWireBackendMessage::ErrorResponse(ErrorResponse::new(fields(severity, error)))
}

/// A NoticeResponse.
pub fn notice_response(notice: &Notice) -> PgWireBackendMessage {
    PgWireBackendMessage::NoticeResponse(NoticeResponse::new(fields(notice.severity, &notice.error)))
}

/// A NotificationResponse.
pub fn notification_response(notification: Notification) -> PgWireBackendMessage {
    let Notification { process_id, channel, payload } = notification;
    PgWireBackendMessage::NotificationResponse(NotificationResponse::new(process_id, channel, payload))
}

/// The error fields of the protocol, by their letters.
fn fields(severity: &str, error: &Error) -> Vec<(u8, String)> {
    let mut fields =
        vec![(b'S', severity.to_owned()), (b'V', severity.to_owned()), (b'C', error.sqlstate.to_owned()), (b'M', error.message.clone())];
    fields.extend(error.detail.clone().map(|detail| (b'D', detail)));
    fields.extend(error.hint.clone().map(|hint| (b'H', hint)));
    fields.extend(error.position.map(|position| (b'P', position.to_string())));
    fields.extend(error.routine.map(|routine| (b'R', routine.to_owned())));
    for (_, text) in &mut fields {
        // A zero byte would end the field early and shift all that follow.
        text.retain(|char| char != '\0');
    }
    fields
}

/// A RowDescription.
pub fn row_description(schema: &SchemaRef, formats: &Formats) -> PgWireBackendMessage {
    let describe = |(index, field): (usize, &arrow::datatypes::FieldRef)| {
        let pg_type = pg_type(field);
        let name = field.name().replace('\0', "");
        let (relation, column) = origin(field);
        FieldDescription::new(name, relation, column, pg_type.oid, pg_type.length, pg_type.modifier, i16::from(formats.is_binary(index)))
    };
    PgWireBackendMessage::RowDescription(RowDescription::new(schema.fields().iter().enumerate().map(describe).collect()))
}

/// A CommandComplete.
pub fn command_complete(tag: String) -> PgWireBackendMessage {
    PgWireBackendMessage::CommandComplete(CommandComplete::new(tag))
}

/// A ReadyForQuery.
pub fn ready_for_query(status: Status) -> PgWireBackendMessage {
    let status = match status {
        Status::Idle => TransactionStatus::Idle,
        Status::Open => TransactionStatus::Transaction,
        Status::Failed => TransactionStatus::Error,
    };
    PgWireBackendMessage::ReadyForQuery(ReadyForQuery::new(status))
}

/// Appends a DataRow for each row of a batch.
pub fn put_data_rows(out: &mut BytesMut, batch: &RecordBatch, formats: &Formats, style: &Style) -> Result<()> {
    let columns = Column::of_batch(batch, style)?;
    let n_columns = i16::try_from(columns.len()).map_err(|_| Error::new("54011", "a result can have at most 32767 columns"))?;
    let mut body = Vec::new();
    for row in 0..batch.num_rows() {
        body.clear();
        for (index, column) in columns.iter().enumerate() {
            match formats.is_binary(index) {
                true => write_sized(&mut body, column, row),
                false => put_text(&mut body, column, row),
            }
        }
        out.put_u8(MESSAGE_TYPE_BYTE_DATA_ROW);
        out.put_i32(message_length(body.len() + 2)?);
        out.put_i16(n_columns);
        out.put_slice(&body);
    }
    Ok(())
}

/// Length and text; -1 for null.
fn put_text(body: &mut Vec<u8>, column: &Column, row: usize) {
    if column.is_null(row) {
        body.put_i32(-1);
        return;
    }
    let start = body.len();
    body.put_i32(0);
    column.write_text(body, row);
    let length = i32::try_from(body.len() - start - 4).expect("an Arrow array's value is below 2 GiB");
    body[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// A message's length counts itself.
fn message_length(n_bytes: usize) -> Result<i32> {
    i32::try_from(n_bytes + 4).map_err(|_| Error::new("54000", "a row of this result is larger than 2 GiB"))
}
