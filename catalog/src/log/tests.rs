//! The log over a durable local store and over one in memory.

use std::fs;
use std::path::Path as FilePath;

use object_store::memory::InMemory;

use super::*;
use crate::{Column, Definition, DurableStore, Object, ObjectId, SqlType};

fn view(id: u32) -> Change {
    let column =
        Column { name: "a".into(), sql_type: SqlType::Varchar(Some(5)), nullable: true, default: Some("'ä'".into()), comment: None };
    Change::Create(Object {
        id: ObjectId(id),
        schema: "public".into(),
        name: format!("v{id}"),
        columns: vec![column],
        definition: Definition::View { query: "SELECT 'ä\n\"}' AS a".into() },
        since: 0,
        depends_on: vec![],
        comment: None,
        create_sql: "CREATE VIEW".into(),
    })
}

async fn open(folder: &FilePath) -> Result<CatalogLog> {
    CatalogLog::open(Arc::new(DurableStore::open(folder)?)).await
}

/// A log with views 16384 and 16385.
async fn two_views(folder: &FilePath) -> CatalogLog {
    let mut log = open(folder).await.expect("opens");
    log.append(view(16_384)).await.expect("appends");
    log.append(view(16_385)).await.expect("appends");
    log
}

fn shown(error: &CatalogError, folder: &FilePath) -> String {
    format!("{} {error}", error.sqlstate()).replace(&folder.display().to_string(), "data")
}

#[tokio::test]
async fn opening_gives_what_was_appended() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = two_views(folder.path()).await;
    assert_eq!(log.snapshot().version, 2);
    let again = open(folder.path()).await.expect("opens");
    assert_eq!(again.snapshot(), log.snapshot());
    assert_eq!(again.changes_after(0).await.expect("reads"), [(1, view(16_384)), (2, view(16_385))]);
    assert_eq!(again.changes_after(1).await.expect("reads"), [(2, view(16_385))]);
    assert_eq!(again.changes_after(2).await.expect("reads"), []);
}

#[tokio::test]
async fn a_refused_change_leaves_no_trace() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut log = two_views(folder.path()).await;
    log.append(view(16_385)).await.expect_err("it is there already");
    assert_eq!(log.snapshot().version, 2);
    assert_eq!(open(folder.path()).await.expect("opens").snapshot(), log.snapshot());
}

#[tokio::test]
async fn of_two_writers_the_second_finds_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut first = two_views(folder.path()).await;
    let mut second = open(folder.path()).await.expect("opens");
    first.append(view(16_386)).await.expect("appends");
    let error = second.append(view(16_387)).await.expect_err("version 3 is taken");
    assert_eq!(shown(&error, folder.path()), "58030 stale writer: catalog version 3 was written by another server");
    assert_eq!(second.snapshot().version, 2);
    assert_eq!(open(folder.path()).await.expect("opens").snapshot(), first.snapshot());
}

/// Sixteen writers race for one version, again and again: one wins each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_racing_writers_wins() {
    let folder = tempfile::tempdir().expect("a folder");
    let durable: Arc<dyn ObjectStore> = Arc::new(DurableStore::open(folder.path()).expect("opens"));
    let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    for store in [durable, memory] {
        for round in 0..5 {
            // All open before any writes: each means to write the same version.
            let mut writers = Vec::new();
            for _ in 0..16 {
                writers.push(CatalogLog::open(Arc::clone(&store)).await.expect("opens"));
            }
            let mut races = tokio::task::JoinSet::new();
            for (index, mut log) in (0..).zip(writers) {
                races.spawn(async move { log.append(view(20_000 + round * 100 + index)).await.is_ok() });
            }
            let n_winners = races.join_all().await.into_iter().filter(|won| *won).count();
            assert_eq!(n_winners, 1);
        }
        let log = CatalogLog::open(store).await.expect("opens");
        assert_eq!((log.snapshot().version, log.snapshot().objects.len()), (5, 5));
    }
}

#[tokio::test]
async fn a_changed_byte_anywhere_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    two_views(folder.path()).await;
    let path = folder.path().join("catalog/00000000000000000001.json");
    let bytes = fs::read(&path).expect("reads");
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        fs::write(&path, damaged).expect("writes");
        let error = open(folder.path()).await.expect_err("a flipped bit is noticed");
        assert_eq!(error.sqlstate(), "XX001", "byte {at}: {error}");
        fs::write(&path, &bytes[..at]).expect("writes");
        assert_eq!(open(folder.path()).await.expect_err("a cut is noticed").sqlstate(), "XX001", "cut at {at}");
    }
    fs::remove_file(&path).expect("removes");
    let error = open(folder.path()).await.expect_err("a gap is noticed");
    let expected = "XX001 catalog object catalog/00000000000000000001.json is corrupt: it is missing, and later versions are there";
    assert_eq!(shown(&error, folder.path()), expected);
}

#[tokio::test]
async fn a_newer_format_and_foreign_files_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    two_views(folder.path()).await;
    let path = folder.path().join("catalog/00000000000000000003.json");
    let body = serde_json::json!({"format": 2, "version": 3, "change": "something new"});
    fs::write(&path, sealed::seal(&body)).expect("writes");
    let error = open(folder.path()).await.expect_err("from the future");
    let reason = "format 2 is not known to this version, which reads format 1";
    assert_eq!(shown(&error, folder.path()), format!("XX001 catalog object catalog/00000000000000000003.json is corrupt: {reason}"));
    fs::rename(&path, folder.path().join("catalog/notes.json")).expect("renames");
    let error = open(folder.path()).await.expect_err("a foreign file");
    assert_eq!(shown(&error, folder.path()), "XX001 catalog object catalog/notes.json is corrupt: its name is not that of a version");
}

/// Format 1 as it was first written: all that comes after must read it.
#[tokio::test]
async fn the_first_format_is_read() {
    let text = concat!(
        r#"{"format":1,"version":1,"change":{"Create":{"id":16384,"schema":"public","name":"v16384","columns":"#,
        r#"[{"name":"a","sql_type":{"Varchar":5},"nullable":true,"default":"'ä'","comment":null}],"#,
        r#""definition":{"View":{"query":"SELECT 'ä\n\"}' AS a"}},"depends_on":[],"comment":null,"create_sql":"CREATE VIEW"}},"#,
        r#""checksum":"CHECKSUM"}"#,
        "\n",
    );
    let stored = StoredChange { format: FORMAT, version: 1, change: view(16_384) };
    let sealed = sealed::seal(&stored);
    let checksum = &sealed[sealed.len() - 19..sealed.len() - 3];
    assert_eq!(sealed, text.replace("CHECKSUM", checksum));
    let read: StoredChange = sealed::open("v", sealed.as_bytes()).expect("reads");
    assert_eq!(read.change, view(16_384));
}

#[tokio::test]
async fn a_long_history_leaves_a_snapshot_and_opens_from_it() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut log = CatalogLog::open(Arc::clone(&store)).await.expect("opens");
    log.append(view(16_384)).await.expect("appends");
    for version in 2..=SNAPSHOT_INTERVAL {
        let comment = Some(version.to_string());
        log.append(Change::CommentSchema { schema: "public".into(), comment }).await.expect("appends");
    }
    assert_eq!(newest_snapshot(store.as_ref()).await.expect("reads").version, 0);
    let again = CatalogLog::open(Arc::clone(&store)).await.expect("opens");
    assert_eq!(newest_snapshot(store.as_ref()).await.expect("reads"), *log.snapshot());
    // The snapshot stands for the versions before it: they are not read again.
    store.put(&change_path(1), "damaged".into()).await.expect("puts");
    log.append(view(16_385)).await.expect("appends");
    let later = CatalogLog::open(store).await.expect("opens");
    assert_eq!((later.snapshot(), again.snapshot().version), (log.snapshot(), SNAPSHOT_INTERVAL));
}
