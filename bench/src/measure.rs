//! What a piece of work cost this process: wall time, processor time of all threads, peak resident memory.

use std::fs;
use std::io::Error;
use std::time::Instant;

use serde_json::{Value, json};

/// Ticks of `/proc/self/stat` in a second: Linux's `USER_HZ`, which is 100 on every architecture it is used on.
const TICKS_PER_SECOND: f64 = 100.0;

/// What some work cost.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Events of all kinds in the sequence.
    pub n_events: u64,
    /// Seconds from the first statement to the last row.
    pub wall_s: f64,
    /// Seconds of user and system time, all threads.
    pub cpu_s: f64,
    /// Most bytes resident while it ran.
    pub peak_bytes: u64,
    /// Rows that came out, where they are counted.
    pub n_rows: u64,
}

/// A running measurement.
pub struct Clock {
    started: Instant,
    cpu_s: f64,
}

impl Clock {
    /// Starts it; the peak of memory begins at what is resident now.
    pub fn start() -> std::io::Result<Self> {
        fs::write("/proc/self/clear_refs", "5")?;
        Ok(Self { cpu_s: cpu_seconds()?, started: Instant::now() })
    }

    /// What has been used since.
    pub fn stop(self, n_events: u64) -> std::io::Result<Cost> {
        let wall_s = self.started.elapsed().as_secs_f64();
        Ok(Cost { n_events, wall_s, cpu_s: cpu_seconds()? - self.cpu_s, peak_bytes: peak_bytes()?, n_rows: 0 })
    }
}

impl Cost {
    /// Events per second of the wall clock.
    pub fn per_second(&self) -> f64 {
        self.n_events as f64 / self.wall_s
    }

    /// Events per second of processor time.
    pub fn per_cpu_second(&self) -> f64 {
        self.n_events as f64 / self.cpu_s.max(1.0 / TICKS_PER_SECOND)
    }

    /// For the JSON file, and from the measuring process to the one that asked.
    pub fn to_json(&self) -> Value {
        json!({
            "events": self.n_events,
            "wall_s": self.wall_s,
            "cpu_s": self.cpu_s,
            "peak_bytes": self.peak_bytes,
            "rows": self.n_rows,
            "events_per_s": self.per_second(),
            "events_per_cpu_s": self.per_cpu_second(),
        })
    }

    /// The inverse of [`Self::to_json`].
    pub fn from_json(value: &Value) -> Option<Self> {
        Some(Self {
            n_events: value["events"].as_u64()?,
            wall_s: value["wall_s"].as_f64()?,
            cpu_s: value["cpu_s"].as_f64()?,
            peak_bytes: value["peak_bytes"].as_u64()?,
            n_rows: value["rows"].as_u64()?,
        })
    }
}

fn cpu_seconds() -> std::io::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The second field is the program's name in parentheses, which may hold anything; utime and stime are fields 14 and 15.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: Vec<f64> = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    match ticks[..] {
        [user, system] => Ok((user + system) / TICKS_PER_SECOND),
        _ => Err(Error::other("/proc/self/stat has no utime and stime")),
    }
}

/// Seconds that the worker threads of this process have run. They live as long as the engine.
pub fn worker_seconds() -> std::io::Result<f64> {
    let mut nanoseconds = 0.0;
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if fs::read_to_string(task.join("comm"))?.starts_with("timely:work") {
            let ran = fs::read_to_string(task.join("schedstat"))?;
            let ran = ran.split_whitespace().next().and_then(|field| field.parse::<f64>().ok());
            nanoseconds += ran.ok_or_else(|| Error::other("schedstat begins with a number"))?;
        }
    }
    match nanoseconds > 0.0 {
        true => Ok(nanoseconds / 1e9),
        false => Err(Error::other("there is no worker thread")),
    }
}

fn peak_bytes() -> std::io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.map(|kilobytes| kilobytes * 1024).ok_or_else(|| Error::other("/proc/self/status has no VmHWM"))
}
