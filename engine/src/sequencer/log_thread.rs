//! The thread that makes epochs durable: group commit. While one group is on its way to the disk the next one gathers.
//!
//! Guaranteed: an epoch is reported only once it and all before it are on disk. A log that failed stays failed: after a
//! failed fsync nobody knows what is on the disk, so nothing more is acknowledged.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use crate::log::{EpochRecord, Log};
use crate::{Epoch, Error, Result};

/// The writing end.
pub struct LogThread {
    records: Option<Sender<Vec<EpochRecord>>>,
    thread: Option<JoinHandle<()>>,
}

impl LogThread {
    /// Starts it; `logged` is called from it after each group.
    pub fn start(log: Log, logged: impl Fn(Result<Epoch>) + Send + 'static) -> Result<Self> {
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new().name("log".into()).spawn(move || run(log, &receiver, &logged))?;
        Ok(Self { records: Some(sender), thread: Some(thread) })
    }

    /// Hands over the records of some epochs that become durable together.
    pub fn append(&self, records: Vec<EpochRecord>) {
        // A send fails only after the log has failed, which was reported.
        let _ = self.records.as_ref().expect("append is not called after the end").send(records);
    }
}

impl Drop for LogThread {
    fn drop(&mut self) {
        self.records = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the log thread has been reported as a missing epoch.
            let _ = thread.join();
        }
    }
}

fn run(mut log: Log, records: &Receiver<Vec<EpochRecord>>, logged: &dyn Fn(Result<Epoch>)) {
    while let Ok(first) = records.recv() {
        let groups = std::iter::once(first).chain(records.try_iter());
        let result = write(&mut log, groups.flatten());
        let is_failed = result.is_err();
        logged(result);
        if is_failed {
            return;
        }
    }
}

fn write(log: &mut Log, records: impl Iterator<Item = EpochRecord>) -> Result<Epoch> {
    let mut last = None;
    for record in records {
        log.append(&record)?;
        last = Some(record.epoch);
    }
    log.sync()?;
    last.ok_or_else(|| Error::internal("an empty group was sent to the log"))
}
