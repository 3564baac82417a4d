//! A `thalweg serve` child process on a data folder of its own: started, killed and started again.
//!
//! It picks free ports and tells them in its first lines; nothing here guesses or waits for a time. When this is dropped the
//! process is gone.

use std::fs::File;
use std::io::{BufRead, BufReader, Lines, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::connection::Error;

/// Where below its folder a server keeps its data.
pub const DATA_FOLDER: &str = "data";

/// What is started as the server.
#[derive(Debug, Clone)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
}

/// A running server.
pub struct Server {
    program: Program,
    folder: PathBuf,
    flags: Vec<String>,
    generation: u64,
    child: Child,
    pg_port: u16,
    http_port: u16,
}

impl Program {
    /// `$THALWEG_BIN` when set, else this crate's own executable at `runner`, which is a server when its first argument is
    /// `serve`: Cargo builds it with the tests, so what is tested is never older than the sources.
    pub fn from_environment(runner: impl Into<PathBuf>) -> Self {
        Self { path: std::env::var_os("THALWEG_BIN").map_or_else(|| runner.into(), PathBuf::from) }
    }
}

impl Server {
    /// Starts a server that works in `folder` and keeps its data there, with these further flags of `thalweg serve`.
    pub fn start(program: Program, folder: &Path, flags: &[&str]) -> Result<Self, Error> {
        let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
        let (child, pg_port, http_port) = spawn(&program, folder, &flags)?;
        Ok(Self { program, folder: folder.to_owned(), flags, generation: 0, child, pg_port, http_port })
    }

    /// `kill -9`, then a start on the same data.
    pub fn kill_and_restart(&mut self) -> Result<(), Error> {
        self.kill();
        (self.child, self.pg_port, self.http_port) = spawn(&self.program, &self.folder, &self.flags)?;
        self.generation += 1;
        Ok(())
    }

    /// Counts the restarts.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Where Postgres clients connect.
    pub fn pg_url(&self) -> String {
        format!("postgres://thalweg@127.0.0.1:{}/thalweg", self.pg_port)
    }

    /// The port of the Postgres protocol.
    pub fn pg_port(&self) -> u16 {
        self.pg_port
    }

    /// The port of HTTP.
    pub fn http_port(&self) -> u16 {
        self.http_port
    }

    /// The last lines of the server's log, for a failure report.
    pub fn log_tail(&self) -> String {
        let mut text = String::new();
        // A log that cannot be read is not worth a second failure.
        let _ = File::open(log_file(&self.folder)).and_then(|mut file| file.read_to_string(&mut text));
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn kill(&mut self) {
        // It may have gone by itself, which the client saw.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn log_file(folder: &Path) -> PathBuf {
    folder.join("server.log")
}

/// Starts the process and reads the ports that it tells.
fn spawn(program: &Program, folder: &Path, flags: &[String]) -> Result<(Child, u16, u16), Error> {
    let told = |error: std::io::Error| Error::new(format!("{} does not start: {error}", program.path.display()));
    let log = File::options().create(true).append(true).open(log_file(folder)).map_err(told)?;
    let mut child = Command::new(&program.path)
        .arg("serve")
        .arg("--data")
        .arg(folder.join(DATA_FOLDER))
        .args(["--pg", "127.0.0.1:0", "--http", "127.0.0.1:0"])
        .args(flags)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(told)?;
    let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    let ports = read_ports(&mut lines);
    let Some((pg_port, http_port)) = ports else {
        let status = child.wait().map_err(told)?;
        let log = std::fs::read_to_string(log_file(folder)).unwrap_or_default();
        return Err(Error::new(format!("the server ended at its start ({status}):\n{log}")));
    };
    // What else it prints must not fill the pipe.
    std::thread::spawn(move || lines.for_each(drop));
    Ok((child, pg_port, http_port))
}

/// The ports in the lines that a server prints once it listens: `psql -h … -p PORT …` and `curl http://…:PORT/…`. `None` when
/// it ends before.
fn read_ports(lines: &mut Lines<BufReader<ChildStdout>>) -> Option<(u16, u16)> {
    let (mut pg_port, mut http_port) = (None, None);
    loop {
        let line = lines.next()?.ok()?;
        pg_port = pg_port.or_else(|| number_after(&line, " -p "));
        http_port = http_port.or_else(|| number_after(line.split("http://").nth(1)?, ":"));
        if let (Some(pg_port), Some(http_port)) = (pg_port, http_port) {
            return Some((pg_port, http_port));
        }
    }
}

fn number_after(line: &str, mark: &str) -> Option<u16> {
    let digits: String = line.split(mark).nth(1)?.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}
