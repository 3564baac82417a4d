//! A server in this process on free ports, and clients for it.

use std::net::SocketAddr;
use std::time::Duration;

use thalweg::config::Given;
use thalweg::serve::Server;
use thalweg::shutdown::Shutdown;
use thalweg::threads::QueryRuntimes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Nothing here takes longer unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running server; its data goes with it.
pub struct TestServer {
    pub pg: SocketAddr,
    pub http: SocketAddr,
    shutdown: Shutdown,
    served: Option<tokio::task::JoinHandle<engine::Result<()>>>,
    queries: Option<QueryRuntimes>,
    _data: tempfile::TempDir,
}

impl TestServer {
    /// With the defaults, two workers and free ports.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Given)) -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        let mut given = Given {
            data: Some(data.path().to_string_lossy().into_owned()),
            pg: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            http: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            workers: Some(2),
            ..Given::default()
        };
        change(&mut given);
        let config = given.resolve();
        let queries = QueryRuntimes::start(&config).expect("threads");
        let shutdown = Shutdown::default();
        let server = Server::start(config, queries.threads(), shutdown.clone()).await.expect("the server starts");
        let (pg, http) = (server.pg, server.http);
        let served = Some(tokio::spawn(server.serve()));
        Self { pg, http, shutdown, served, queries: Some(queries), _data: data }
    }

    /// A tokio-postgres client.
    pub async fn connect(&self) -> tokio_postgres::Client {
        let (client, connection) = tokio_postgres::connect(&self.url(), tokio_postgres::NoTls).await.expect("the server accepts thalweg");
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("connection ended: {error}");
            }
        });
        client
    }

    pub fn url(&self) -> String {
        format!("host={} port={} user=thalweg dbname=thalweg", self.pg.ip(), self.pg.port())
    }

    /// A client by hand that has said who it is.
    pub async fn session(&self) -> RawClient {
        let mut client = self.raw().await;
        client.startup(&[("user", "thalweg")]).await;
        client.until('Z').await;
        client
    }

    pub async fn raw(&self) -> RawClient {
        RawClient { socket: TcpStream::connect(self.pg).await.expect("the server listens") }
    }

    /// Starts the shutdown and waits for its end.
    pub async fn stop(mut self) -> engine::Result<()> {
        self.shutdown.start();
        let served = self.served.take().expect("stopped once");
        tokio::time::timeout(PATIENCE, served).await.expect("it stops in time").expect("no panic")
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.shutdown.start();
        if let Some(queries) = self.queries.take() {
            queries.shutdown_background();
        }
    }
}

/// Texts of the rows of a simple query, columns joined by `|`, null as `NULL`; commands as `-- n`.
pub async fn simple(client: &tokio_postgres::Client, sql: &str) -> Vec<String> {
    let messages = tokio::time::timeout(PATIENCE, client.simple_query(sql)).await.expect("an answer in time");
    lines(messages.unwrap_or_else(|error| panic!("{sql}: {error:?}")))
}

fn lines(messages: Vec<tokio_postgres::SimpleQueryMessage>) -> Vec<String> {
    use tokio_postgres::SimpleQueryMessage::*;
    let row = |row: &tokio_postgres::SimpleQueryRow| {
        (0..row.len()).map(|i| row.get(i).unwrap_or("NULL").to_owned()).collect::<Vec<_>>().join("|")
    };
    messages
        .iter()
        .filter_map(|message| match message {
            Row(values) => Some(row(values)),
            CommandComplete(n) => Some(format!("-- {n}")),
            _ => None,
        })
        .collect()
}

/// The error of a simple query: SQLSTATE and message.
pub async fn failing(client: &tokio_postgres::Client, sql: &str) -> (String, String) {
    let answer = tokio::time::timeout(PATIENCE, client.simple_query(sql)).await.expect("an answer in time");
    let error = answer.expect_err("the statement fails");
    let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: not an answer of the server: {error:?}"));
    (error.code().code().to_owned(), error.message().to_owned())
}

/// The protocol by hand.
pub struct RawClient {
    socket: TcpStream,
}

impl RawClient {
    pub async fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.expect("the server reads");
    }

    pub async fn startup(&mut self, parameters: &[(&str, &str)]) {
        self.send(&startup_packet(parameters)).await;
    }

    /// A message of the session.
    pub async fn message(&mut self, kind: u8, body: &[u8]) {
        self.send(&message(kind, body)).await;
    }

    /// A message that the server may not want any more; false when it has closed the connection.
    pub async fn message_if_open(&mut self, kind: u8, body: &[u8]) -> bool {
        self.socket.write_all(&message(kind, body)).await.is_ok()
    }

    pub async fn query(&mut self, sql: &str) {
        self.message(b'Q', format!("{sql}\0").as_bytes()).await;
    }

    /// Parse.
    pub async fn parse(&mut self, name: &str, sql: &str, oids: &[u32]) {
        let mut body = format!("{name}\0{sql}\0").into_bytes();
        body.extend((oids.len() as u16).to_be_bytes());
        oids.iter().for_each(|oid| body.extend(oid.to_be_bytes()));
        self.message(b'P', &body).await;
    }

    /// Bind: values in text, results in these formats.
    pub async fn bind(&mut self, portal: &str, statement: &str, values: &[Option<&str>], result_formats: &[u16]) {
        let mut body = format!("{portal}\0{statement}\0").into_bytes();
        body.extend(0_u16.to_be_bytes());
        body.extend((values.len() as u16).to_be_bytes());
        for value in values {
            match value {
                Some(text) => {
                    body.extend((text.len() as i32).to_be_bytes());
                    body.extend_from_slice(text.as_bytes());
                }
                None => body.extend((-1_i32).to_be_bytes()),
            }
        }
        body.extend((result_formats.len() as u16).to_be_bytes());
        result_formats.iter().for_each(|format| body.extend(format.to_be_bytes()));
        self.message(b'B', &body).await;
    }

    /// Describe a statement (`S`) or portal (`P`).
    pub async fn describe(&mut self, kind: char, name: &str) {
        self.message(b'D', format!("{kind}{name}\0").as_bytes()).await;
    }

    /// Execute: so many rows, 0 is all.
    pub async fn execute(&mut self, portal: &str, n_rows: i32) {
        let mut body = format!("{portal}\0").into_bytes();
        body.extend(n_rows.to_be_bytes());
        self.message(b'E', &body).await;
    }

    /// Sync, and everything up to ReadyForQuery.
    pub async fn sync(&mut self) -> Vec<(char, Vec<u8>)> {
        self.message(b'S', b"").await;
        self.until('Z').await
    }

    /// A simple query, up to ReadyForQuery.
    pub async fn run(&mut self, sql: &str) -> Vec<(char, Vec<u8>)> {
        self.query(sql).await;
        self.until('Z').await
    }

    /// The next message: its letter and body. `None` when the server has closed the connection.
    pub async fn receive(&mut self) -> Option<(char, Vec<u8>)> {
        tokio::time::timeout(PATIENCE, self.receive_unbounded()).await.expect("an answer in time")
    }

    async fn receive_unbounded(&mut self) -> Option<(char, Vec<u8>)> {
        let mut head = [0; 5];
        self.socket.read_exact(&mut head).await.ok()?;
        let length = i32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4;
        let mut body = vec![0; length];
        self.socket.read_exact(&mut body).await.ok()?;
        Some((head[0] as char, body))
    }

    /// Messages up to a letter, itself included.
    pub async fn until(&mut self, last: char) -> Vec<(char, Vec<u8>)> {
        let mut messages = Vec::new();
        while let Some(message) = self.receive().await {
            let kind = message.0;
            messages.push(message);
            if kind == last {
                return messages;
            }
        }
        panic!("the server closed the connection before {last:?}, after {messages:?}");
    }

    pub async fn byte(&mut self) -> u8 {
        let mut byte = [0];
        self.socket.read_exact(&mut byte).await.expect("a byte");
        byte[0]
    }

    /// True when the server has closed the connection and sent nothing more.
    pub async fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        let read = tokio::time::timeout(PATIENCE, self.socket.read(&mut byte)).await.expect("an end in time");
        matches!(read, Ok(0) | Err(_))
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend_from_slice(&(body.len() as i32 + 4).to_be_bytes());
    message.extend_from_slice(body);
    message
}

pub fn startup_packet(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = 196_608_i32.to_be_bytes().to_vec();
    for (name, value) in parameters {
        body.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
    }
    body.push(0);
    let mut packet = (body.len() as i32 + 4).to_be_bytes().to_vec();
    packet.extend_from_slice(&body);
    packet
}

/// Fields of an ErrorResponse by letter.
pub fn error_field(body: &[u8], letter: u8) -> Option<String> {
    body.split(|byte| *byte == 0)
        .find(|field| field.first() == Some(&letter))
        .map(|field| String::from_utf8_lossy(&field[1..]).into_owned())
}

/// SQLSTATEs of the errors among some messages.
pub fn sqlstates(messages: &[(char, Vec<u8>)]) -> Vec<String> {
    messages.iter().filter(|(letter, _)| *letter == 'E').filter_map(|(_, body)| error_field(body, b'C')).collect()
}

/// The command tags among some messages.
pub fn tags(messages: &[(char, Vec<u8>)]) -> Vec<String> {
    let tag = |body: &[u8]| String::from_utf8_lossy(&body[..body.len() - 1]).into_owned();
    messages.iter().filter(|(letter, _)| *letter == 'C').map(|(_, body)| tag(body)).collect()
}

/// The rows among some messages, text values joined by `|`, null as `NULL`.
pub fn rows(messages: &[(char, Vec<u8>)]) -> Vec<String> {
    messages.iter().filter(|(letter, _)| *letter == 'D').map(|(_, body)| row(body)).collect()
}

fn row(body: &[u8]) -> String {
    let n_columns = u16::from_be_bytes([body[0], body[1]]);
    let mut rest = &body[2..];
    let mut values = Vec::new();
    for _ in 0..n_columns {
        let (length, after) = rest.split_first_chunk::<4>().expect("a length");
        rest = after;
        match usize::try_from(i32::from_be_bytes(*length)) {
            Ok(length) => {
                values.push(String::from_utf8_lossy(&rest[..length]).into_owned());
                rest = &rest[length..];
            }
            Err(_) => values.push("NULL".to_owned()),
        }
    }
    values.join("|")
}

/// The transaction status that ReadyForQuery tells.
pub fn status(messages: &[(char, Vec<u8>)]) -> char {
    messages.last().filter(|(letter, _)| *letter == 'Z').expect("ReadyForQuery").1[0] as char
}

/// The oids of a RowDescription or ParameterDescription.
pub fn oids(messages: &[(char, Vec<u8>)], letter: char) -> Vec<u32> {
    let Some((_, body)) = messages.iter().find(|(found, _)| *found == letter) else { return Vec::new() };
    let n_items = usize::from(u16::from_be_bytes([body[0], body[1]]));
    let word = |bytes: &[u8]| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    if letter == 't' {
        return (0..n_items).map(|item| word(&body[2 + 4 * item..])).collect();
    }
    let mut rest = &body[2..];
    let mut oids = Vec::new();
    for _ in 0..n_items {
        let end = rest.iter().position(|byte| *byte == 0).expect("a name");
        oids.push(word(&rest[end + 7..]));
        rest = &rest[end + 19..];
    }
    oids
}

/// The letters of some messages.
pub fn letters(messages: &[(char, Vec<u8>)]) -> String {
    messages.iter().map(|(letter, _)| *letter).collect()
}
