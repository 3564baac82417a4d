//! Frames of a client as messages. The `pgwire` crate's types, but read within the bounds of the frame: what is cut short or
//! too long is `08P01`, never a panic and never a part of the next message.

use bytes::{Bytes, BytesMut};
use engine::Error;
use engine::error::sqlstate;
use pgwire::messages::PgWireFrontendMessage as Message;
use pgwire::messages::copy::{CopyData, CopyDone, CopyFail};
use pgwire::messages::extendedquery::*;
use pgwire::messages::simplequery::Query;
use pgwire::messages::terminate::Terminate;

/// The message of type `kind` with this body.
pub fn message(kind: u8, body: BytesMut) -> Result<Message, Error> {
    let body = body.freeze();
    let mut frame = Frame { body: body.clone() };
    let message = match kind {
        b'Q' => Message::Query(Query::new(frame.text()?)),
        b'P' => Message::Parse(parse(&mut frame)?),
        b'B' => Message::Bind(bind(&mut frame)?),
        b'D' => {
            let [target] = frame.take()?;
            Message::Describe(Describe::new(target_type(target)?, frame.name()?))
        }
        b'E' => Message::Execute(Execute::new(frame.name()?, frame.take().map(i32::from_be_bytes)?)),
        b'C' => {
            let [target] = frame.take()?;
            Message::Close(Close::new(target_type(target)?, frame.name()?))
        }
        b'd' => return Ok(Message::CopyData(CopyData::new(body))),
        b'f' => Message::CopyFail(CopyFail::new(frame.text()?)),
        b'c' => Message::CopyDone(CopyDone::new()),
        b'H' => Message::Flush(Flush::new()),
        b'S' => Message::Sync(Sync::new()),
        b'X' => return Ok(Message::Terminate(Terminate::new())),
        other => return Err(Error::new(sqlstate::PROTOCOL_VIOLATION, format!("invalid frontend message type {other}"))),
    };
    match frame.body.is_empty() {
        true => Ok(message),
        false => Err(malformed()),
    }
}

fn parse(frame: &mut Frame) -> Result<Parse, Error> {
    let (name, query) = (frame.name()?, frame.text()?);
    let type_oids = frame.list(|frame| frame.take().map(u32::from_be_bytes))?;
    Ok(Parse::new(name, query, type_oids))
}

fn bind(frame: &mut Frame) -> Result<Bind, Error> {
    let (portal, statement) = (frame.name()?, frame.name()?);
    let formats = frame.list(|frame| frame.take().map(i16::from_be_bytes))?;
    let values = frame.list(Frame::value)?;
    let result_formats = frame.list(|frame| frame.take().map(i16::from_be_bytes))?;
    Ok(Bind::new(portal, statement, formats, values, result_formats))
}

fn target_type(byte: u8) -> Result<u8, Error> {
    match byte {
        TARGET_TYPE_BYTE_STATEMENT | TARGET_TYPE_BYTE_PORTAL => Ok(byte),
        other => Err(Error::new(sqlstate::PROTOCOL_VIOLATION, format!("invalid DESCRIBE or CLOSE message subtype {other}"))),
    }
}

fn malformed() -> Error {
    Error::new(sqlstate::PROTOCOL_VIOLATION, "invalid message format")
}

/// What is left of a frame.
struct Frame {
    body: Bytes,
}

impl Frame {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let bytes = *self.body.first_chunk::<N>().ok_or_else(malformed)?;
        drop(self.body.split_to(N));
        Ok(bytes)
    }

    /// A text up to its zero byte. Invalid UTF-8 would be replaced by others: a statement that is not what was sent must not run.
    fn text(&mut self) -> Result<String, Error> {
        let end = self.body.iter().position(|byte| *byte == 0).ok_or_else(malformed)?;
        let text = self.body.split_to(end);
        drop(self.body.split_to(1));
        String::from_utf8(text.into()).map_err(|error| {
            Error::new(sqlstate::INVALID_ENCODING, "invalid byte sequence for encoding \"UTF8\"")
                .with_detail(format!("at byte {} of the text", error.utf8_error().valid_up_to() + 1))
        })
    }

    /// A name; an empty one is the unnamed statement or portal.
    fn name(&mut self) -> Result<Option<String>, Error> {
        Ok(Some(self.text()?).filter(|name| !name.is_empty()))
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T, Error>) -> Result<Vec<T>, Error> {
        let n_items = self.take().map(u16::from_be_bytes)?;
        (0..n_items).map(|_| item(self)).collect()
    }

    fn value(&mut self) -> Result<Option<Bytes>, Error> {
        match self.take().map(i32::from_be_bytes)? {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(length) if length <= self.body.len() => Ok(Some(self.body.split_to(length))),
                _ => Err(malformed()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: u8, body: &[u8]) -> Result<Message, Error> {
        message(kind, BytesMut::from(body))
    }

    #[test]
    fn every_prefix_of_a_message_is_an_error() {
        let bind = b"p\0s\0\x00\x01\x00\x01\x00\x02\x00\x00\x00\x01x\xff\xff\xff\xff\x00\x01\x00\x01";
        let messages: [(u8, &[u8]); 5] = [
            (b'Q', b"SELECT 1\0"),
            (b'P', b"s\0SELECT $1\0\x00\x01\x00\x00\x00\x17"),
            (b'B', bind),
            (b'D', b"Ss\0"),
            (b'E', b"p\0\0\0\0\x05"),
        ];
        for (kind, body) in messages {
            read(kind, body).unwrap_or_else(|error| panic!("{}: {error:?}", kind as char));
            for length in 0..body.len() {
                assert_eq!(read(kind, &body[..length]).expect_err("cut short").sqlstate, "08P01", "{} {length}", kind as char);
            }
            assert!(read(kind, &[body, b"\0"].concat()).is_err(), "{} and a byte more", kind as char);
        }
    }

    #[test]
    fn texts_are_utf8() {
        assert_eq!(read(b'Q', b"SELECT '\xff'\0").expect_err("no UTF-8").sqlstate, "22021");
        assert_eq!(read(b'D', b"Xs\0").expect_err("neither statement nor portal").sqlstate, "08P01");
        assert_eq!(read(b'\x7f', b"").expect_err("no such message").sqlstate, "08P01");
    }
}
