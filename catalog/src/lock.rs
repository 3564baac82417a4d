//! One server per data folder: an exclusive lock of the operating system on `<data>/lock`.
//!
//! Guaranteed: while a [`DataLock`] lives no other can be taken on the folder, by this process or another on this machine; the
//! operating system frees it when the process ends, `kill -9` included. Not guaranteed: anything between machines that share
//! the folder over a network file system without locks.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::error::{CatalogError, Result};
use crate::store::create_folder;

/// Holds a data folder until it is dropped.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

impl DataLock {
    /// Takes the lock of `folder` (made if absent), or says which process has it.
    pub fn acquire(folder: &Path) -> Result<Self> {
        let path = folder.join("lock");
        let failed = |source| CatalogError::Io { what: format!("cannot lock {}", path.display()), source };
        create_folder(folder).map_err(failed)?;
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(CatalogError::Locked { folder: folder.to_owned(), pid: read_pid(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        write_pid(&mut file).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// For the error only: the holder may not have written it yet.
fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_second_lock_is_refused_with_the_pid_of_the_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = DataLock::acquire(folder.path()).expect("nobody has it");
        let error = DataLock::acquire(folder.path()).expect_err("it is taken");
        let expected = format!("data folder {} is in use by another server (process {})", folder.path().display(), std::process::id());
        assert_eq!((error.to_string(), error.sqlstate()), (expected, "55006"));
        drop(first);
        DataLock::acquire(folder.path()).expect("it is free again");
    }

    /// Not a test by itself: the process that `kill_9_frees_the_lock` kills.
    #[test]
    fn child_that_holds_the_lock() {
        let Some(folder) = std::env::var_os("THALWEG_TEST_LOCK") else { return };
        let _lock = DataLock::acquire(Path::new(&folder)).expect("nobody has it");
        println!("\nlocked");
        std::io::stdin().lines().for_each(drop);
    }

    #[test]
    fn kill_9_frees_the_lock() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut child = Command::new(std::env::current_exe().expect("this test has a binary"))
            .args(["--exact", "lock::tests::child_that_holds_the_lock", "--nocapture"])
            .env("THALWEG_TEST_LOCK", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this binary runs");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        assert!(stdout.lines().map_while(Result::ok).any(|line| line == "locked"), "the child takes the lock");
        let error = DataLock::acquire(folder.path()).expect_err("the child has it");
        assert!(matches!(error, CatalogError::Locked { pid: Some(pid), .. } if pid == child.id()), "{error}");
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        DataLock::acquire(folder.path()).expect("it is free again");
    }
}
