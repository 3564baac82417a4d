//! The durable store does what an object store does. That bytes reach the disk cannot be seen from here; that nothing is left
//! behind, shown half or overwritten can.

use std::fs;

use futures::{StreamExt, TryStreamExt};
use object_store::{MultipartUpload, ObjectStoreExt};

use super::*;

fn store() -> (tempfile::TempDir, DurableStore) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = DurableStore::open(&folder.path().join("made/by/open")).expect("opens");
    (folder, store)
}

async fn text(store: &DurableStore, path: &str) -> String {
    let bytes = store.get(&path.into()).await.expect("is there").bytes().await.expect("reads");
    String::from_utf8(bytes.to_vec()).expect("text")
}

async fn names(store: &DurableStore) -> Vec<String> {
    let mut names: Vec<String> = store.list(None).map_ok(|object| object.location.to_string()).try_collect().await.expect("lists");
    names.sort();
    names
}

/// All files of the folder, those that lists hide included.
fn n_files(folder: &FilePath) -> usize {
    let entries = fs::read_dir(folder).expect("reads").map(|entry| entry.expect("reads").path());
    entries.map(|path| if path.is_dir() { n_files(&path) } else { 1 }).sum()
}

#[tokio::test]
async fn put_if_absent_and_overwrite() {
    let (folder, store) = store();
    let path = Path::from("deep/er/a.json");
    let create = || PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    store.put_opts(&path, "first".into(), create()).await.expect("is absent");
    let error = store.put_opts(&path, "second".into(), create()).await.expect_err("is there");
    assert!(matches!(error, object_store::Error::AlreadyExists { .. }), "{error}");
    assert_eq!(text(&store, "deep/er/a.json").await, "first");
    store.put(&path, "third".into()).await.expect("overwrites");
    assert_eq!(text(&store, "deep/er/a.json").await, "third");
    assert_eq!((names(&store).await, n_files(folder.path())), (vec!["deep/er/a.json".into()], 1));
}

#[tokio::test]
async fn what_a_crash_left_unfinished_is_hidden_and_in_nobodys_way() {
    let (_folder, store) = store();
    fs::write(store.root.join("a.json#1"), "half").expect("writes");
    assert!(names(&store).await.is_empty());
    store.put(&"a.json".into(), "whole".into()).await.expect("puts");
    assert_eq!((names(&store).await, text(&store, "a.json").await), (vec!["a.json".into()], "whole".into()));
}

#[tokio::test]
async fn uploads_in_parts_appear_whole_or_not_at_all() {
    let (folder, store) = store();
    let path = Path::from("runs/1.parquet");
    let mut upload = store.put_multipart(&path).await.expect("starts");
    let (first, second) = (upload.put_part("one ".into()), upload.put_part("two".into()));
    second.await.expect("parts are written in any order");
    first.await.expect("writes");
    assert!(names(&store).await.is_empty());
    upload.complete().await.expect("completes");
    assert_eq!(text(&store, "runs/1.parquet").await, "one two");
    let mut aborted = store.put_multipart(&"runs/2.parquet".into()).await.expect("starts");
    aborted.put_part("half".into()).await.expect("writes");
    aborted.abort().await.expect("aborts");
    assert_eq!((names(&store).await, n_files(folder.path())), (vec!["runs/1.parquet".into()], 1));
}

#[tokio::test]
async fn copy_rename_and_delete() {
    let (_folder, store) = store();
    store.put(&"a".into(), "text".into()).await.expect("puts");
    store.copy(&"a".into(), &"x/y/b".into()).await.expect("copies");
    store.rename(&"a".into(), &"z/c".into()).await.expect("renames");
    assert_eq!(names(&store).await, ["x/y/b", "z/c"]);
    store.copy_if_not_exists(&"z/c".into(), &"x/y/b".into()).await.expect_err("is there");
    store.delete(&"z/c".into()).await.expect("deletes");
    assert_eq!((names(&store).await, text(&store, "x/y/b").await), (vec!["x/y/b".into()], "text".into()));
    let gone = store.delete_stream(futures::stream::iter([Ok("x/y/b".into())]).boxed());
    assert_eq!(gone.try_collect::<Vec<_>>().await.expect("deletes").len(), 1);
    assert!(names(&store).await.is_empty());
}

#[test]
fn works_without_a_runtime() {
    let (_folder, store) = store();
    futures::executor::block_on(store.put(&"a".into(), "text".into())).expect("puts");
}

#[test]
fn data_urls() {
    let check = |url: &str, expected: &str| {
        let shown = match parse_data_url(url) {
            Ok(DataUrl::Local(path)) => path.display().to_string(),
            Err(error) => format!("{} {error}", error.sqlstate()),
        };
        assert_eq!(shown, expected);
    };
    check("/var/lib/thalweg", "/var/lib/thalweg");
    check("./thalweg-data", "./thalweg-data");
    check("file:///var/lib/thalweg", "/var/lib/thalweg");
    check("FILE://localhost/a%20b%C3%A4", "/a bä");
    check("", "0A000 data URL \"\" is not supported: it is empty");
    check("file://host/x", "0A000 data URL \"file://host/x\" is not supported: a file URL has three slashes, file:///path, and no host");
    check(
        "file:///%zz",
        "0A000 data URL \"file:///%zz\" is not supported: after each % there are two hexadecimal digits, and the path is UTF-8",
    );
    check("s3://bucket/x", "0A000 data URL \"s3://bucket/x\" is not supported: s3:// is not among the kinds of storage of this version");
}
