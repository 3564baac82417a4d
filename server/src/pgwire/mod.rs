//! The Postgres protocol, version 3.
//!
//! The `pgwire` crate decodes and encodes messages; everything that has to do with time is ours:
//!
//! - [`listener`]: accepts connections, within limits, until the server shuts down.
//! - [`connection`]: one socket: its frames, its start-up, and the loop over its messages; [`frontend`]: a frame as a message.
//! - [`values`]: values in text and binary, as clients send them.
//! - [`interrupt`]: what can stop a running statement: a cancel request, a time-out, a client that left, the end of the server.
//! - [`simple`], [`extended`], [`copy`]: the messages that run statements, and the pump that sends rows as they are computed.
//! - [`messages`]: our errors, notices and rows as messages.
//!
//! Guaranteed: a row leaves as soon as it is computed and the socket takes it; no more than [`connection::FLUSH_BYTES`] and a
//! few batches wait for a slow client; nothing a client sends can stop another client.

pub mod cancel;
pub mod connection;
pub mod copy;
pub mod extended;
pub mod frontend;
pub mod interrupt;
pub mod listener;
pub mod messages;
pub mod simple;
pub mod startup;
pub mod values;
