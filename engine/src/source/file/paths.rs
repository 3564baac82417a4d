//! Which files a path stands for, and that none of them lies outside `file_root`.
//!
//! Guaranteed: every file found is, with all symbolic links resolved, below the root, also resolved. A path that leads out
//! is an error, never left out silently.

use std::path::{Component, Path, PathBuf};

use super::{error_at, name_of};
use crate::error::sqlstate::INVALID_PARAMETER_VALUE;
use crate::{Error, Result};

const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// A file, a glob or a folder under the root.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    /// As resolved when the pattern was checked.
    root: PathBuf,
    /// Absolute.
    path: PathBuf,
    /// Extensions of the files of a folder.
    extensions: &'static [&'static str],
}

/// A file that is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Relative to the root.
    pub name: String,
    /// Absolute, without symbolic links.
    pub path: PathBuf,
}

impl Pattern {
    /// `path`, absolute or relative to `root`.
    pub fn new(path: &str, extensions: &'static [&'static str], root: Option<&Path>) -> Result<Self> {
        let Some(root) = root else {
            return Err(Error::new(INSUFFICIENT_PRIVILEGE, "reading files is not allowed on this server")
                .with_hint("set `file_root` to the folder that may be read"));
        };
        let resolved = root.canonicalize().map_err(|error| {
            Error::from(error)
                .with_detail(format!("`file_root` is {}", root.display()))
                .with_hint("set `file_root` to a folder that exists")
        })?;
        if Path::new(path).components().any(|component| component == Component::ParentDir) {
            return Err(outside(path, root));
        }
        let relative = match Path::new(path) {
            absolute if absolute.is_absolute() => {
                absolute.strip_prefix(root).or_else(|_| absolute.strip_prefix(&resolved)).map_err(|_| outside(path, root))?
            }
            relative => relative,
        };
        let pattern = Self { path: resolved.join(relative), root: resolved, extensions };
        pattern.find()?;
        Ok(pattern)
    }

    /// The files there are now, in the order of their names.
    pub fn find(&self) -> Result<Vec<Found>> {
        let text = self.path.to_str().ok_or_else(|| Error::new(INVALID_PARAMETER_VALUE, "a path is UTF-8 text"))?;
        let mut candidates = Vec::new();
        if self.path.is_dir() {
            for entry in std::fs::read_dir(self.resolve(&self.path)?)? {
                let path = entry?.path();
                let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_ascii_lowercase();
                if self.extensions.contains(&extension.as_str()) && !is_hidden(&path) {
                    candidates.push(path);
                }
            }
        } else if self.path.symlink_metadata().is_ok() {
            candidates.push(self.path.clone());
        } else {
            let options = glob::MatchOptions { require_literal_separator: true, require_literal_leading_dot: true, ..Default::default() };
            let matches = glob::glob_with(text, options)
                .map_err(|error| Error::new(INVALID_PARAMETER_VALUE, format!("\"{text}\" is not a glob: {error}")))?;
            for path in matches {
                candidates.push(path.map_err(|error| Error::from(std::io::Error::from(error)))?);
            }
        }
        let mut found = Vec::new();
        for path in candidates {
            let resolved = self.resolve(&path)?;
            if resolved.is_file() {
                found.push(Found { name: name_of(&path, &self.root), path: resolved });
            }
        }
        found.sort();
        Ok(found)
    }

    fn resolve(&self, path: &Path) -> Result<PathBuf> {
        let named = Found { name: name_of(path, &self.root), path: path.into() };
        let resolved = path.canonicalize().map_err(|error| error_at(&named, error))?;
        if resolved.starts_with(&self.root) { Ok(resolved) } else { Err(outside(&named.name, &self.root)) }
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn outside(path: &str, root: &Path) -> Error {
    Error::new(INSUFFICIENT_PRIVILEGE, format!("path \"{path}\" is outside the folder that may be read"))
        .with_hint(format!("files are read below `file_root`, which is {}", root.display()))
}
