//! The binary: how it starts, what it refuses, how it ends.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

fn thalweg(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("THALWEG_")) {
        command.env_remove(name);
    }
    command
}

fn run(arguments: &[&str]) -> Output {
    thalweg(arguments).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A served folder. Killed when dropped, should a test fail.
struct Serving {
    child: Child,
    addresses: serde_json::Value,
}

impl Serving {
    fn start(data: &Path) -> Self {
        let ready = data.join("ready.json");
        let data_flag = data.join("data").to_string_lossy().into_owned();
        let arguments = ["serve", "--data", &data_flag, "--pg", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ready-file"];
        let mut child = thalweg(&arguments).arg(&ready).spawn().expect("the binary runs");
        let deadline = Instant::now() + PATIENCE;
        let addresses = loop {
            if let Ok(text) = std::fs::read_to_string(&ready) {
                break serde_json::from_str(&text).expect("the ready file is written at once");
            }
            assert!(child.try_wait().expect("a child").is_none(), "the server ended before it was ready");
            assert!(Instant::now() < deadline, "the server is not ready in time");
            std::thread::yield_now();
        };
        Self { child, addresses }
    }

    fn end(mut self, signal: &str) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill runs").success());
        let status = self.child.wait().expect("a child");
        let mut out = String::new();
        self.child.stdout.take().expect("piped").read_to_string(&mut out).expect("UTF-8");
        (status.code(), out)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Already gone when the test went well.
        let _ = self.child.kill();
    }
}

#[test]
fn version() {
    let output = run(&["version"]);
    assert_eq!(text(&output.stdout), format!("thalweg {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn serves_until_a_signal() {
    for signal in ["-TERM", "-INT"] {
        let folder = tempfile::tempdir().expect("a folder");
        let serving = Serving::start(folder.path());
        let pg = serving.addresses["pg"].as_str().expect("an address").to_owned();
        let began = Instant::now();
        let (code, out) = serving.end(signal);
        assert_eq!(code, Some(0));
        assert!(began.elapsed() < Duration::from_secs(10), "it took {:?} to stop", began.elapsed());
        let port = pg.rsplit(':').next().expect("a port");
        assert!(out.contains(&format!("psql -h 127.0.0.1 -p {port} -U thalweg")), "{out}");
    }
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let serving = Serving::start(folder.path());
    let data = folder.path().join("data").to_string_lossy().into_owned();
    let second = run(&["serve", "--data", &data, "--pg", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("ERROR: "), "{}", text(&second.stderr));
    assert_eq!(serving.end("-TERM").0, Some(0));
}

#[test]
fn only_loopback_is_listened_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().to_string_lossy().into_owned();
    for flag in ["--pg", "--http"] {
        let output = run(&["serve", "--data", &data, flag, "0.0.0.0:0"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("not a loopback address"), "{}", text(&output.stderr));
    }
}

#[test]
fn sql_without_a_server() {
    let output =
        run(&["sql", "-c", "CREATE TABLE t (a bigint, b text); INSERT INTO t VALUES (1, 'x'), (20, NULL); SELECT * FROM t ORDER BY a"]);
    assert_eq!(
        text(&output.stdout),
        "CREATE TABLE\nINSERT 0 2\n a  | b\n----+---\n  1 | x\n 20 |\n(2 rows)\n\n",
        "{}",
        text(&output.stderr)
    );
    assert!(output.status.success());
}

#[test]
fn sql_stops_at_the_first_error_unless_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("script.sql");
    std::fs::write(&file, "SELECT 1 AS a;\nSELECT *\n  FROM nowhere;\nSELECT 2 AS b;\n").expect("a file");
    let file = file.to_string_lossy().into_owned();
    let output = run(&["sql", "-f", &file]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("42P01"), "{}", text(&output.stderr));
    assert!(!text(&output.stdout).contains(" b\n"), "{}", text(&output.stdout));
    let output = run(&["sql", "--keep-going", "-f", &file]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains(" b\n"), "{}", text(&output.stdout));
}

#[test]
fn sql_keeps_its_data_when_told_where() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data").to_string_lossy().into_owned();
    assert!(run(&["sql", "--data", &data, "-c", "CREATE TABLE t (a bigint); INSERT INTO t VALUES (7)"]).status.success());
    let output = run(&["sql", "--data", &data, "-c", "SELECT a FROM t"]);
    assert!(text(&output.stdout).contains("\n 7\n"), "{} {}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn flag_before_environment_before_file_before_default() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("thalweg.toml");
    // The refusal names the address it took.
    let refused = |arguments: &[&str], environment: Option<&str>, content: &str| {
        std::fs::write(&file, content).expect("a file");
        let mut command = thalweg(&["serve"]);
        command.args(arguments).current_dir(folder.path());
        command.envs(environment.map(|value| ("THALWEG_PG", value)));
        text(&command.output().expect("the binary runs").stderr)
    };
    let content = "pg = \"10.0.0.1:1\"\n";
    assert!(refused(&[], None, content).contains("10.0.0.1:1"));
    assert!(refused(&[], Some("10.0.0.2:2"), content).contains("10.0.0.2:2"));
    assert!(refused(&["--pg", "10.0.0.3:3"], Some("10.0.0.2:2"), content).contains("10.0.0.3:3"));
    let unknown = refused(&[], None, "no_such_setting = 1\n");
    assert!(unknown.contains("no_such_setting"), "{unknown}");
}
