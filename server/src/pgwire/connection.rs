//! One client's socket: frames in, bytes out, and the loop over its messages.
//!
//! [`Input`] and [`Output`] are apart so that a statement can write rows while its client's leaving is noticed. Guaranteed: a
//! frame is decoded only once it is complete, within [`MAX_MESSAGE_BYTES`] and valid UTF-8 where it is text. Not guaranteed:
//! that leaving is noticed by a client that sends more than [`READ_AHEAD_BYTES`] ahead; then the next write notices it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use engine::Error;
use engine::error::sqlstate;
use pgwire::messages::startup::ParameterStatus;
use pgwire::messages::{DecodeContext, PgWireBackendMessage, PgWireFrontendMessage, ProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tracing::debug;

use super::extended::Prepared;
use super::frontend;
use super::interrupt::Interrupt;
use super::listener::Shared;
use super::messages::{ERROR, FATAL, error_response, notification_response, ready_for_query};
use super::startup;
use crate::session::notify::Notification;
use crate::session::{Session, Status};

/// Bytes written before they are sent: large enough that a system call carries some hundred rows.
pub const FLUSH_BYTES: usize = 64 << 10;
/// Bytes read while a statement runs, to notice a client that leaves; a client that pipelines more waits.
const READ_AHEAD_BYTES: usize = 64 << 10;
/// The longest message taken. COPY data comes in small messages; only a statement's text is as long as its author likes.
const MAX_MESSAGE_BYTES: usize = 256 << 20;
/// The protocol's own limit before a session has begun.
const MAX_STARTUP_BYTES: usize = 10_000;

/// Why a message, a connection or nothing at all goes on.
#[derive(Debug)]
pub enum Fault {
    /// The message failed; the connection goes on.
    Statement(Error),
    /// The connection ends with this error.
    Connection(Error),
    /// There is nobody left to tell.
    ClientLeft,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Statement(error)
    }
}

impl From<io::Error> for Fault {
    fn from(_: io::Error) -> Self {
        Self::ClientLeft
    }
}

/// What a client sends.
#[derive(Debug)]
pub struct Input {
    reader: OwnedReadHalf,
    buffer: BytesMut,
    context: DecodeContext,
}

/// What goes to a client.
#[derive(Debug)]
pub struct Output {
    writer: OwnedWriteHalf,
    /// Written, not yet sent.
    pub buffer: BytesMut,
}

/// A connection, from its first byte to its last.
pub struct Connection {
    pub(super) input: Input,
    pub(super) output: Output,
    shared: Shared,
}

/// A connection whose client is known.
pub struct Client {
    pub(super) input: Input,
    pub(super) output: Output,
    pub(super) session: Session,
    pub(super) interrupt: Interrupt,
    pub(super) prepared: Prepared,
    /// ParameterStatus values the client was told.
    pub(super) told: BTreeMap<&'static str, String>,
}

impl Connection {
    /// A connection whose client has said nothing yet.
    pub fn new(socket: TcpStream, shared: Shared) -> Self {
        // Rows and answers leave when we flush them, not when the kernel thinks it is worth it.
        if let Err(error) = socket.set_nodelay(true) {
            debug!(%error, "TCP_NODELAY not set");
        }
        let (reader, writer) = socket.into_split();
        // 3.0 is what we speak (start-up negotiates down to it); a later version would read a cancel request's secret differently.
        let context = DecodeContext::new(ProtocolVersion::PROTOCOL3_0);
        Self { input: Input { reader, buffer: BytesMut::new(), context }, output: Output { writer, buffer: BytesMut::new() }, shared }
    }

    /// Serves the client until one of both leaves.
    pub async fn run(mut self) {
        let slot = Arc::clone(&self.shared.slots).try_acquire_owned();
        let shared = self.shared.clone();
        let greeting = startup::greet(&mut self.input, &mut self.output, &shared, slot.is_ok());
        let greeted = tokio::select! {
            greeted = tokio::time::timeout(shared.startup_timeout, greeting) => greeted.unwrap_or(Err(Fault::ClientLeft)),
            () = shared.shutdown.wait() => Err(Fault::ClientLeft),
        };
        match greeted {
            Ok(Some((session, registration))) => {
                let interrupt = Interrupt::new(registration.asked.clone(), shared.shutdown.clone());
                let (input, output) = (self.input, self.output);
                let prepared = Prepared::default();
                let told = session.reported().into_iter().collect();
                Client { input, output, session, interrupt, prepared, told }.run().await;
                drop(registration);
            }
            Ok(None) | Err(Fault::ClientLeft) => {}
            Err(Fault::Statement(error) | Fault::Connection(error)) => self.output.last_words(&error).await,
        }
    }
}

impl Client {
    async fn run(mut self) {
        loop {
            match self.next_message().await {
                Ok(true) => {}
                Ok(false) | Err(Fault::ClientLeft) => return,
                Err(Fault::Statement(error) | Fault::Connection(error)) => return self.output.last_words(&error).await,
            }
        }
    }

    /// Serves one message; false when the client says goodbye.
    async fn next_message(&mut self) -> Result<bool, Fault> {
        let message = self.next_request().await?;
        self.interrupt.begin_message(self.session.statement_timeout());
        match message {
            PgWireFrontendMessage::Terminate(_) => return Ok(false),
            // After an error of the extended protocol everything is skipped, up to Sync.
            PgWireFrontendMessage::Query(_) if self.prepared.is_skipping() => {}
            PgWireFrontendMessage::Query(query) => {
                let served = self.simple_query(&query.query).await;
                self.report(served)?;
                self.prepared.all_is_answered();
                self.ready();
            }
            // After a COPY that failed, its data may still be under way.
            PgWireFrontendMessage::CopyData(_) | PgWireFrontendMessage::CopyDone(_) | PgWireFrontendMessage::CopyFail(_) => {}
            message if message.is_extended_query() => {
                // Boxed: these futures are large and seldom wanted.
                Box::pin(self.extended_message(message)).await?;
            }
            _ => return Err(Fault::Connection(Error::new(sqlstate::PROTOCOL_VIOLATION, "this message does not belong here"))),
        }
        Ok(true)
    }

    /// Waits for the client. Meanwhile it is told what it listens to, outside of transactions.
    async fn next_request(&mut self) -> Result<PgWireFrontendMessage, Fault> {
        let idle_timeout = self.session.idle_timeout();
        let deadline = idle_timeout.as_ref().map(|(timeout, _)| tokio::time::Instant::now() + *timeout);
        loop {
            let may_answer = self.prepared.may_answer();
            if may_answer {
                self.output.flush().await?;
            }
            let may_hear = may_answer && self.session.status() == Status::Idle;
            let idle_for_too_long = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                message = self.input.next() => return message,
                fault = self.interrupt.end() => return Err(fault),
                Some(notification) = self.session.ear.next(), if may_hear => {
                    self.output.put_infallible(&notification_response(notification));
                }
                () = idle_for_too_long => {
                    let (_, error) = idle_timeout.expect("only a timeout that is set passes");
                    return Err(Fault::Connection(error));
                }
            }
        }
    }

    /// Tells the client about a failed message. Only what ends the connection is handed on.
    pub(super) fn report(&mut self, served: Result<(), Fault>) -> Result<(), Fault> {
        match served {
            Err(Fault::Statement(error)) => {
                self.session.fail_message();
                self.output.put(&error_response(ERROR, &error))
            }
            other => other,
        }
    }

    /// ReadyForQuery, after the settings that changed.
    pub(super) fn ready(&mut self) {
        for (name, value) in self.session.reported() {
            if self.told.get(name).is_none_or(|told| *told != value) {
                self.told.insert(name, value.clone());
                self.output.put_infallible(&PgWireBackendMessage::ParameterStatus(ParameterStatus::new(name.to_owned(), value)));
            }
        }
        while let Some(notification) = self.heard() {
            self.output.put_infallible(&notification_response(notification));
        }
        self.output.put_infallible(&ready_for_query(self.session.status()));
    }
}

impl Client {
    /// A notification that the client may be told of now.
    fn heard(&mut self) -> Option<Notification> {
        match self.session.status() {
            Status::Idle => self.session.ear.try_next(),
            Status::Open | Status::Failed => None,
        }
    }
}

impl Input {
    /// The next message, once it is complete.
    pub async fn next(&mut self) -> Result<PgWireFrontendMessage, Fault> {
        loop {
            if let Some(message) = self.decode()? {
                return Ok(message);
            }
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                return Err(Fault::ClientLeft);
            }
        }
    }

    /// Returns when the client has closed its side. What it sends meanwhile is kept.
    pub async fn client_left(&mut self) {
        loop {
            if self.buffer.len() >= READ_AHEAD_BYTES {
                return std::future::pending().await;
            }
            match self.reader.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    /// From now on messages have a type byte.
    pub(super) fn session_began(&mut self) {
        self.context.awaiting_frontend_ssl = false;
        self.context.awaiting_frontend_startup = false;
    }

    /// No (further) request for encryption is expected, but a start-up or cancel packet.
    pub(super) fn await_startup(&mut self) {
        self.context.awaiting_frontend_ssl = false;
        self.context.awaiting_frontend_startup = true;
    }

    fn decode(&mut self) -> Result<Option<PgWireFrontendMessage>, Fault> {
        let before_session = self.context.awaiting_frontend_startup || self.context.awaiting_frontend_ssl;
        let (n_type_bytes, limit) = if before_session { (0, MAX_STARTUP_BYTES) } else { (1, MAX_MESSAGE_BYTES) };
        if self.buffer.len() < n_type_bytes + 4 {
            return Ok(None);
        }
        let length = (&self.buffer[n_type_bytes..n_type_bytes + 4]).get_i32();
        let length = usize::try_from(length).ok().filter(|length| (4..=limit).contains(length));
        let Some(length) = length else {
            return Err(Fault::Connection(
                Error::new("08P01", "invalid message length").with_detail(format!("messages have at most {limit} bytes")),
            ));
        };
        if self.buffer.len() < n_type_bytes + length {
            self.buffer.reserve(n_type_bytes + length - self.buffer.len());
            return Ok(None);
        }
        if n_type_bytes == 1 {
            let kind = self.buffer[0];
            let mut frame = self.buffer.split_to(length + 1);
            let body = frame.split_off(5);
            return frontend::message(kind, body).map(Some).map_err(Fault::Connection);
        }
        let mut decoded = PgWireFrontendMessage::decode(&mut self.buffer, &self.context);
        if let Err(error) = &mut decoded {
            return Err(Fault::Connection(Error::new(sqlstate::PROTOCOL_VIOLATION, error.to_string())));
        }
        Ok(decoded.expect("looked at above"))
    }

    /// Whether a Sync has come and is the next message.
    pub(super) fn sync_is_next(&self) -> bool {
        self.buffer.first() == Some(&b'S')
    }
}

impl Output {
    /// Where the client is.
    pub(super) fn client(&self) -> Option<std::net::SocketAddr> {
        self.writer.peer_addr().ok()
    }

    /// Adds a message; the next flush sends it.
    pub fn put(&mut self, message: &PgWireBackendMessage) -> Result<(), Fault> {
        message.encode(&mut self.buffer).map_err(|error| Fault::Statement(Error::internal(format!("cannot encode a message: {error}"))))
    }

    /// The same for messages whose size has a bound.
    pub fn put_infallible(&mut self, message: &PgWireBackendMessage) {
        message.encode(&mut self.buffer).expect("short messages can be encoded");
    }

    /// Sends all that was written. Cancel safe: what is not sent yet stays first.
    pub async fn flush(&mut self) -> io::Result<()> {
        while !self.buffer.is_empty() {
            if self.writer.write_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// Tells why the connection ends, as far as the client listens.
    async fn last_words(&mut self, error: &Error) {
        self.put_infallible(&error_response(FATAL, error));
        if let Err(error) = self.flush().await {
            debug!(%error, "the client left before its last message");
        }
        // Half-closed, so that the kernel does not throw away what was just written.
        if let Err(error) = self.writer.shutdown().await {
            debug!(%error, "the client left first");
        }
    }
}
