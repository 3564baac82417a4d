//! The server from outside: the wire protocol, clients, the process and its settings. One binary, since each would link everything.

mod clients;
mod common;
mod cursors;
mod docs;
mod extended;
mod http;
mod limits;
mod process;
mod psql;
mod psql_describe;
mod startup;
mod temporal;
mod wire;
