//! The README's walk-through, run as written: its commands by a shell, its SQL by psql, and what it says will be printed
//! compared with what is.
//!
//! Three things are not as written: the ports (free ones, in place of 7432 and 7433), the folder (a temporary one), and the
//! epochs in what SUBSCRIBE prints (only their order counts).

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use thalweg_sqllogictest::server::{Program, Server};

/// Lines of SQL that a reader is asked to type at most.
const N_SQL_LINES_MAX: usize = 15;

/// The blocks of the walk-through, in order.
struct WalkThrough {
    fetch_and_run: String,
    connect: String,
    sql: String,
    result: String,
    subscribe: String,
    snapshot: String,
    push: String,
    changes: String,
}

/// The folder in which a reader would type.
struct Place {
    folder: PathBuf,
    server: Server,
}

#[test]
fn the_walk_through_does_what_it_says() {
    let text = std::fs::read_to_string(checkout().join("README.md")).expect("there is a README");
    let walk = WalkThrough::read(&text);
    assert!(walk.sql.lines().count() <= N_SQL_LINES_MAX, "more than {N_SQL_LINES_MAX} lines of SQL");

    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut place = Place::set_up(folder.path(), &walk.fetch_and_run);
    let printed = place.psql(&walk.connect, &walk.sql);
    assert!(trimmed(&printed).ends_with(&trimmed(&walk.result)), "the README says\n{}\nbut psql prints\n{printed}", walk.result);

    let (mut psql, mut lines) = place.start(&walk.subscribe);
    assert_eq!(take(&mut lines, &walk.snapshot), normal(&walk.snapshot), "the snapshot");
    let answers = place.shell(&walk.push);
    assert!(!answers.contains("error\":") && answers.contains("\"errors\":0"), "curl is told {answers}");
    assert_eq!(take(&mut lines, &walk.changes), normal(&walk.changes), "the changes");
    psql.kill().expect("psql is still listening");
    psql.wait().expect("psql was killed");
    place.server.kill_and_restart().expect("the server starts again");
    let again = place.psql(&walk.connect, walk.sql.split("WAIT FOR flights;").nth(1).expect("the SQL waits before it reads"));
    assert!(again.contains("Frontier Airlines Inc."), "after a restart psql prints\n{again}");
}

impl WalkThrough {
    fn read(text: &str) -> Self {
        let mut blocks = text.split("\n```").skip(1).step_by(2).map(|block| block.split_once('\n').expect("a block has a first line"));
        let mut next = |kind: &str| {
            let (found, text) = blocks.next().unwrap_or_else(|| panic!("the README has no further {kind} block"));
            assert_eq!(found, kind, "the block that begins with {:?}", text.lines().next());
            text.to_owned()
        };
        Self {
            fetch_and_run: next("sh"),
            connect: next("sh"),
            sql: next("sql"),
            result: next("text"),
            subscribe: next("sh"),
            snapshot: next("text"),
            push: next("sh"),
            changes: next("text"),
        }
    }
}

impl Place {
    /// Runs the commands before `./x run` in the checkout's stead, then starts the server with `./x run`'s arguments.
    fn set_up(folder: &Path, commands: &str) -> Self {
        let (before, run) = commands.trim_end().rsplit_once('\n').expect("data is fetched, then the server started");
        let arguments = run.strip_prefix("./x run ").expect("the last command is ./x run");
        // `./x` works in its own folder, so a copy of it works here.
        std::fs::copy(checkout().join("x"), folder.join("x")).expect("./x can be copied");
        let done = Command::new("sh").arg("-ec").arg(before).current_dir(folder).status().expect("a shell starts");
        assert!(done.success(), "{before}: {done}");
        let program = Program { path: env!("CARGO_BIN_EXE_thalweg-sqllogictest").into() };
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        let server = Server::start(program, folder, &arguments).unwrap_or_else(|error| panic!("{error}"));
        Self { folder: folder.to_owned(), server }
    }

    fn psql(&self, connect: &str, sql: &str) -> String {
        let mut psql = self.command(connect).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell starts");
        psql.stdin.take().expect("stdin is piped").write_all(sql.as_bytes()).expect("psql reads its input");
        let output = psql.wait_with_output().expect("psql ends with its input");
        assert!(output.status.success(), "psql ends with {}", output.status);
        String::from_utf8(output.stdout).expect("psql prints UTF-8")
    }

    fn shell(&self, commands: &str) -> String {
        let output = self.command(commands).output().expect("a shell starts");
        assert!(output.status.success(), "{commands}: {}", output.status);
        String::from_utf8(output.stdout).expect("curl prints UTF-8")
    }

    /// Starts a command that goes on; its lines as they come.
    fn start(&self, command: &str) -> (Child, Lines<BufReader<ChildStdout>>) {
        // Written to a terminal, psql would print each line at once.
        let mut child = self.command(&format!("exec stdbuf -oL {command}")).stdout(Stdio::piped()).spawn().expect("a shell starts");
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        (child, lines)
    }

    fn command(&self, text: &str) -> Command {
        let here = text.replace("7432", &self.server.pg_port().to_string()).replace("7433", &self.server.http_port().to_string());
        let mut command = Command::new("sh");
        // psql's start-up file is the reader's own.
        command.arg("-ec").arg(here).current_dir(&self.folder).env("PSQLRC", "/dev/null").env("PGOPTIONS", "");
        command
    }
}

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Without the spaces that psql puts at line ends.
fn trimmed(text: &str) -> String {
    text.trim().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// As many lines as `expected` has, normalised.
fn take(lines: &mut Lines<BufReader<ChildStdout>>, expected: &str) -> Vec<String> {
    let taken: Vec<String> = lines.take(expected.lines().count()).map(|line| line.expect("psql prints UTF-8")).collect();
    normal(&taken.join("\n"))
}

/// Changes with the rank of their epoch in its place; within an epoch in one order.
fn normal(changes: &str) -> Vec<String> {
    let rows: Vec<(u64, &str)> = changes
        .lines()
        .map(|line| line.split_once('\t').expect("a change has an epoch and more"))
        .map(|(epoch, rest)| (epoch.parse().expect("an epoch is a number"), rest))
        .collect();
    let mut epochs: Vec<u64> = rows.iter().map(|(epoch, _)| *epoch).collect();
    epochs.sort_unstable();
    epochs.dedup();
    let rank = |epoch: u64| epochs.iter().position(|other| *other == epoch).expect("it is among them");
    let mut normal: Vec<String> = rows.iter().map(|(epoch, rest)| format!("epoch {}: {rest}", rank(*epoch))).collect();
    normal.sort();
    normal
}
