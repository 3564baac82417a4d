//! Where objects are kept: the data URL, and a local store that is durable.
//!
//! [`DurableStore`] is an [`ObjectStore`] over a folder. `object_store`'s own local one never calls fsync, so that what it
//! acknowledges can be gone after a power cut. Guaranteed here: when a put, copy or rename returns, bytes and name are on disk; a
//! name never shows half an object; of several that put one name with [`PutMode::Create`], exactly one wins. Not guaranteed:
//! that a delete is on disk when it returns (who deletes must be ready to find the object again).
//!
//! Reads and lists go to `object_store`'s, which also hides our unfinished files (`name#1`).

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, RenameOptions, Result,
};

use crate::error::CatalogError;

mod upload;

const NAME: &str = "DurableStore";

/// Where everything is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataUrl {
    /// A folder of this machine.
    Local(PathBuf),
}

impl DataUrl {
    /// The store, made if absent.
    pub fn open(&self) -> crate::error::Result<Arc<dyn ObjectStore>> {
        match self {
            Self::Local(folder) => Ok(Arc::new(DurableStore::open(folder)?)),
        }
    }
}

/// The data URL in any of its spellings: `file:///var/lib/thalweg`, `/var/lib/thalweg`, `./thalweg-data`.
pub fn parse_data_url(url: &str) -> crate::error::Result<DataUrl> {
    let refuse = |reason: &str| Err(CatalogError::DataUrl { url: url.to_owned(), reason: reason.to_owned() });
    match url.split_once("://") {
        _ if url.is_empty() => refuse("it is empty"),
        None => Ok(DataUrl::Local(url.into())),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("file") => {
            let path = rest.strip_prefix("localhost").unwrap_or(rest);
            match percent_decoded(path) {
                Some(path) if path.starts_with('/') => Ok(DataUrl::Local(path.into())),
                Some(_) => refuse("a file URL has three slashes, file:///path, and no host"),
                None => refuse("after each % there are two hexadecimal digits, and the path is UTF-8"),
            }
        }
        Some((scheme, _)) => refuse(&format!("{scheme}:// is not among the kinds of storage of this version")),
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// A durable object store over a folder.
#[derive(Debug)]
pub struct DurableStore {
    /// Reads, lists, deletes and paths.
    local: LocalFileSystem,
    root: PathBuf,
}

impl DurableStore {
    /// The store over `folder`, which is made if absent.
    pub fn open(folder: &FilePath) -> crate::error::Result<Self> {
        let failed = |source| CatalogError::Io { what: format!("cannot open data folder {}", folder.display()), source };
        create_folder(folder).map_err(failed)?;
        Ok(Self { local: LocalFileSystem::new_with_prefix(folder)?, root: folder.to_owned() })
    }

    /// Before `object_store` makes the name `location`: the folders above it, which it would not make durable.
    async fn make_folder(&self, location: &Path) -> Result<()> {
        let path = self.local.path_to_filesystem(location)?;
        blocking(move || create_folder(folder_of(&path)).map_err(|error| generic(&path, error))).await
    }

    /// After `object_store` changed the name `location`.
    async fn sync_name(&self, location: &Path) -> Result<()> {
        let path = self.local.path_to_filesystem(location)?;
        blocking(move || sync_folder(folder_of(&path)).map_err(|error| generic(&path, error))).await
    }
}

impl fmt::Display for DurableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NAME}({})", self.root.display())
    }
}

#[async_trait]
impl ObjectStore for DurableStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if !options.attributes.is_empty() {
            return Err(unsupported("attributes"));
        }
        let path = self.local.path_to_filesystem(location)?;
        match options.mode {
            PutMode::Create => blocking(move || write_then(&path, &payload, publish_new)).await?,
            PutMode::Overwrite => blocking(move || write_then(&path, &payload, publish)).await?,
            PutMode::Update(_) => return Err(unsupported("PutMode::Update")),
        }
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        if !options.attributes.is_empty() {
            return Err(unsupported("attributes"));
        }
        let path = self.local.path_to_filesystem(location)?;
        Ok(Box::new(blocking(move || upload::DurableUpload::start(path)).await?))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.local.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.local.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.local.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.local.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.local.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.make_folder(to).await?;
        self.local.copy_opts(from, to, options).await?;
        self.sync_name(to).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.make_folder(to).await?;
        self.local.rename_opts(from, to, options).await?;
        self.sync_name(to).await?;
        self.sync_name(from).await
    }
}

fn write_then(path: &FilePath, payload: &PutPayload, publish: fn(&FilePath, &FilePath) -> io::Result<()>) -> Result<()> {
    let (mut file, staged) = stage(path).map_err(|error| generic(path, error))?;
    let written = payload.iter().try_for_each(|bytes| file.write_all(bytes)).and_then(|()| file.sync_all());
    drop(file);
    published(path, &staged, written.and_then(|()| publish(&staged, path)))
}

/// Cleans up after a failure, and says which it was.
fn published(path: &FilePath, staged: &FilePath, outcome: io::Result<()>) -> Result<()> {
    outcome.map_err(|error| {
        // The error that matters is the first one; what stays behind is hidden from lists.
        let _ = fs::remove_file(staged);
        match error.kind() {
            ErrorKind::AlreadyExists => object_store::Error::AlreadyExists { path: path.display().to_string(), source: error.into() },
            _ => generic(path, error),
        }
    })
}

/// An empty file beside `path`, under a name that lists hide and nobody else uses.
fn stage(path: &FilePath) -> io::Result<(File, PathBuf)> {
    create_folder(folder_of(path))?;
    let mut attempt = 1_u32;
    loop {
        let mut staged = path.as_os_str().to_owned();
        staged.push(format!("#{attempt}"));
        match OpenOptions::new().read(true).write(true).create_new(true).open(&staged) {
            Ok(file) => return Ok((file, staged.into())),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && attempt < u32::MAX => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Gives a synced file its name; a link, unlike a rename, fails when the name is taken.
fn publish_new(staged: &FilePath, path: &FilePath) -> io::Result<()> {
    fs::hard_link(staged, path)?;
    fs::remove_file(staged)?;
    sync_folder(folder_of(path))
}

/// Gives a synced file its name, in place of what had it.
fn publish(staged: &FilePath, path: &FilePath) -> io::Result<()> {
    fs::rename(staged, path)?;
    sync_folder(folder_of(path))
}

fn folder_of(path: &FilePath) -> &FilePath {
    match path.parent() {
        Some(folder) if folder != FilePath::new("") => folder,
        _ => FilePath::new("."),
    }
}

/// Makes the names in a folder durable.
pub fn sync_folder(folder: &FilePath) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes `folder` and those above it, durably.
pub fn create_folder(folder: &FilePath) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder_of(folder);
    if above != folder {
        create_folder(above)?;
    }
    match fs::create_dir(folder) {
        Ok(()) => sync_folder(above),
        Err(_) if folder.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Runs file system calls where they block no other task.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(work).await?,
        Err(_) => work(),
    }
}

fn generic(path: &FilePath, source: io::Error) -> object_store::Error {
    let source = io::Error::new(source.kind(), format!("{}: {source}", path.display()));
    object_store::Error::Generic { store: NAME, source: source.into() }
}

fn unsupported(operation: &str) -> object_store::Error {
    object_store::Error::NotImplemented { operation: operation.to_owned(), implementer: NAME.to_owned() }
}

#[cfg(test)]
mod tests;
