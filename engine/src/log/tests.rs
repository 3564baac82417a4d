//! The log over real files: what was synced comes back after any damage that a crash can do, and other damage is noticed.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, ListArray, RecordBatch, RecordBatchOptions, StringArray, StructArray, new_null_array};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use catalog::{ObjectId, SqlType};
use tempfile::TempDir;

use super::segment::{FILE_HEADER_BYTES, SegmentWriter};
use super::*;
use crate::ChangeBatch;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn rows(texts: &[&str]) -> RecordBatch {
    let schema = Arc::new(Schema::new(vec![SqlType::Varchar(Some(5)).field("name", true)]));
    RecordBatch::try_new(schema, vec![Arc::new(StringArray::from(texts.to_vec()))]).expect("one column")
}

/// Two effects, one with weights, and a span.
fn record(epoch: Epoch) -> EpochRecord {
    let text = format!("row {epoch}");
    let changes = ChangeBatch::new(rows(&[&text, "gone"]), Int64Array::from(vec![2, -1]));
    EpochRecord {
        epoch,
        now_us: -1_000_000 + epoch as i64,
        catalog_version: epoch / 2,
        spans: vec![SourceSpan {
            relation: ObjectId(16_384),
            from: format!("a.json:{epoch}"),
            to: format!("ä.json:{}", epoch + 1),
            n_rows: 10,
        }],
        effects: vec![
            Effect { relation: ObjectId(16_385), changes: ChangeBatch::inserts(rows(&[&text])) },
            Effect { relation: ObjectId(16_386), changes },
        ],
    }
}

/// A record in one line.
fn show(record: &EpochRecord) -> String {
    let effects = record.effects.iter().map(|effect| {
        let names = effect.changes.column(0).as_any().downcast_ref::<StringArray>().expect("text").clone();
        let rows = names.iter().enumerate().map(|(row, name)| format!("{:+} {}", effect.changes.weight(row), name.unwrap_or("null")));
        format!("{}: {}", effect.relation, rows.collect::<Vec<_>>().join(", "))
    });
    let spans = record.spans.iter().map(|span| format!("{}: {}..{} {} rows", span.relation, span.from, span.to, span.n_rows));
    let parts: Vec<String> = spans.chain(effects).collect();
    format!("{} now {} catalog {} | {}", record.epoch, record.now_us, record.catalog_version, parts.join(" | "))
}

fn replayed(folder: &Path) -> Result<Vec<EpochRecord>> {
    Log::open(folder)?.1.collect()
}

fn epochs(folder: &Path) -> Vec<Epoch> {
    replayed(folder).expect("the log is sound").iter().map(|record| record.epoch).collect()
}

fn message(folder: &Path) -> String {
    let error = replayed(folder).expect_err("the log is damaged");
    assert_eq!(error.sqlstate, "XX001", "{error}");
    error.message.replace(&folder.display().to_string(), "log")
}

/// Writes epochs `first..=last`, each synced by itself, and returns where each frame ends.
fn write(folder: &Path, epochs: std::ops::RangeInclusive<Epoch>) -> Vec<u64> {
    let (mut log, _) = Log::open(folder).expect("opens");
    epochs
        .map(|epoch| {
            log.append(&record(epoch)).expect("appends");
            log.sync().expect("syncs");
            log.segment.as_ref().expect("there is one").end()
        })
        .collect()
}

fn segment_path(folder: &Path, first_epoch: Epoch) -> PathBuf {
    folder.join(format!("{first_epoch:020}.log"))
}

#[test]
fn records_come_back_as_they_were() {
    let folder = folder();
    write(folder.path(), 1..=3);
    write(folder.path(), 7..=7);
    let records = replayed(folder.path()).expect("sound");
    let expected: Vec<String> = [1, 2, 3, 7].map(|epoch| show(&record(epoch))).to_vec();
    assert_eq!(records.iter().map(show).collect::<Vec<_>>(), expected);
    assert_eq!(
        show(&records[0]),
        "1 now -999999 catalog 0 | 16384: a.json:1..ä.json:2 10 rows | 16385: +1 row 1 | 16386: +2 row 1, -1 gone"
    );
    let (log, _) = Log::open(folder.path()).expect("opens");
    assert_eq!((log.last_epoch(), log.n_torn_bytes()), (Some(7), 0));
}

#[test]
fn an_empty_log_has_no_epoch() {
    let folder = folder();
    let (log, replay) = Log::open(&folder.path().join("deep/log")).expect("the folder is made");
    assert_eq!((log.last_epoch(), replay.count()), (None, 0));
}

#[test]
fn replay_ends_where_the_log_was_opened() {
    let folder = folder();
    write(folder.path(), 1..=2);
    let (mut log, replay) = Log::open(folder.path()).expect("opens");
    log.append(&record(3)).expect("appends");
    log.sync().expect("syncs");
    assert_eq!(replay.map(|record| record.expect("sound").epoch).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(epochs(folder.path()), [1, 2, 3]);
}

#[test]
fn a_log_can_move_to_its_own_thread() {
    let folder = folder();
    let (mut log, _) = Log::open(folder.path()).expect("opens");
    let writer = move || {
        (1..=100).try_for_each(|epoch| log.append(&record(epoch)))?;
        log.sync()
    };
    std::thread::scope(|scope| scope.spawn(writer).join().expect("no panic").expect("writes"));
    assert_eq!(epochs(folder.path()), (1..=100).collect::<Vec<_>>());
}

#[test]
#[should_panic(expected = "epochs in the log strictly increase: 3 after Some(3)")]
fn epochs_strictly_increase() {
    let folder = folder();
    write(folder.path(), 3..=3);
    write(folder.path(), 3..=3);
}

#[test]
fn segments_rotate_and_replay_in_order() {
    let folder = folder();
    for start in [1, 11, 21] {
        let (mut log, replay) = Log::open_with_segment_bytes(folder.path(), 3000).expect("opens");
        assert_eq!(replay.count() as u64, start - 1);
        for epoch in start..start + 10 {
            log.append(&record(epoch)).expect("appends");
        }
        log.sync().expect("syncs");
    }
    let n_segments = fs::read_dir(folder.path()).expect("reads").count();
    assert!((5..=15).contains(&n_segments), "{n_segments} segments");
    assert_eq!(epochs(folder.path()), (1..=30).collect::<Vec<_>>());

    let mut names: Vec<_> = fs::read_dir(folder.path()).expect("reads").map(|entry| entry.expect("reads").path()).collect();
    names.sort();
    fs::remove_file(&names[1]).expect("removes");
    let error = message(folder.path());
    assert!(error.contains("it follows epoch") && error.contains("was read before it"), "{error}");
}

/// Opening cuts off a tail of any length; what was written before it is there, and the log goes on.
#[test]
fn a_tail_torn_at_any_byte_is_cut_off() {
    let small = EpochRecord { effects: vec![], ..record(3) };
    check_torn_tails(&small, 1);
    // Rows make a record long, and every opening waits for the disk: a step that meets each alignment.
    check_torn_tails(&record(3), 61);
}

fn check_torn_tails(last: &EpochRecord, step: usize) {
    let original = folder();
    let end = write(original.path(), 1..=2)[1];
    let (mut log, _) = Log::open(original.path()).expect("opens");
    log.append(last).expect("appends");
    log.sync().expect("syncs");
    let bytes = fs::read(segment_path(original.path(), 1)).expect("reads");
    for cut in (end..bytes.len() as u64).step_by(step) {
        let folder = folder();
        fs::write(segment_path(folder.path(), 1), &bytes[..cut as usize]).expect("writes");
        let (mut log, replay) = Log::open(folder.path()).expect("a torn tail is no error");
        assert_eq!((log.last_epoch(), log.n_torn_bytes()), (Some(2), cut - end));
        assert_eq!(replay.map(|record| record.expect("sound").epoch).collect::<Vec<_>>(), [1, 2]);
        log.append(last).expect("appends");
        log.sync().expect("syncs");
        assert_eq!(epochs(folder.path()), [1, 2, 3], "cut at {cut}");
    }
}

/// After a power cut, pages of unsynced records may be there in any combination: none of them was acknowledged.
#[test]
fn holes_in_unsynced_records_are_a_torn_tail() {
    let folder = folder();
    let synced = write(folder.path(), 1..=1)[0] as usize;
    let (mut log, _) = Log::open(folder.path()).expect("opens");
    (2..=5).for_each(|epoch| log.append(&record(epoch)).expect("appends"));
    log.sync().expect("syncs");
    drop(log);
    let path = segment_path(folder.path(), 1);
    let bytes = fs::read(&path).expect("reads");
    for hole in [synced, synced + 60, (synced + bytes.len()) / 2] {
        let mut holed = bytes.clone();
        holed[hole..hole + 100].fill(0);
        fs::write(&path, &holed).expect("writes");
        let (log, replay) = Log::open(folder.path()).expect("a torn tail is no error");
        assert!(log.n_torn_bytes() > 0);
        assert!(replay.map(|record| record.expect("sound").epoch).eq(1..=log.last_epoch().expect("one at least")));
    }
}

#[test]
fn a_segment_with_nothing_but_a_torn_record_makes_way() {
    let folder = folder();
    write(folder.path(), 1..=1);
    let first = segment_path(folder.path(), 1);
    let bytes = fs::read(&first).expect("reads");
    fs::write(&first, &bytes[..FILE_HEADER_BYTES + 50]).expect("writes");
    fs::write(folder.path().join("00000000000000000002.log.new"), "half made").expect("writes");
    let (log, replay) = Log::open(folder.path()).expect("opens");
    assert_eq!((log.last_epoch(), log.n_torn_bytes(), replay.count()), (None, 50, 0));
    assert_eq!(fs::read_dir(folder.path()).expect("reads").count(), 0);
    drop(log);
    write(folder.path(), 5..=6);
    assert_eq!(epochs(folder.path()), [5, 6]);
}

/// Every bit before the last synced record is vouched for: a flipped one is an error when opening or when replaying.
#[test]
fn a_flipped_bit_before_the_last_sync_is_an_error() {
    let folder = folder();
    let ends = write(folder.path(), 1..=3);
    let path = segment_path(folder.path(), 1);
    let bytes = fs::read(&path).expect("reads");
    for at in 0..ends[1] as usize {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(&path, &damaged).expect("writes");
        let error = replayed(folder.path()).expect_err("a flipped bit is noticed");
        assert_eq!(error.sqlstate, "XX001", "bit at byte {at}: {error}");
        assert_eq!(fs::metadata(&path).expect("there").len(), ends[2], "nothing was cut off");
    }
    let last_record = ends[1] as usize + 100;
    let mut damaged = bytes.clone();
    damaged[last_record] ^= 1;
    fs::write(&path, &damaged).expect("writes");
    assert_eq!(epochs(folder.path()), [1, 2], "damage to the very last sync looks like a torn tail");
}

#[test]
fn errors_say_where_and_what() {
    let folder = folder();
    let ends = write(folder.path(), 1..=3);
    let path = segment_path(folder.path(), 1);
    let bytes = fs::read(&path).expect("reads");
    let with = |at: usize, value: u8| {
        let mut damaged = bytes.clone();
        damaged[at] = value;
        fs::write(&path, damaged).expect("writes");
        message(folder.path())
    };
    let name = "epoch log log/00000000000000000001.log is corrupt at byte";
    assert_eq!(with(0, b'X'), format!("{name} 0: the file's header is damaged"));
    assert_eq!(with(ends[0] as usize + 16, 255), format!("{name} {}: a frame's header has a wrong checksum", ends[0]));
    assert_eq!(with(ends[0] as usize + 60, 255), format!("{name} {}: a frame's payload has a wrong checksum", ends[0]));
    fs::write(&path, &bytes).expect("writes");
    fs::rename(&path, segment_path(folder.path(), 2)).expect("renames");
    assert_eq!(message(folder.path()), "epoch log log/00000000000000000002.log is corrupt at byte 0: its name is not its first epoch, 1");
}

#[test]
fn an_earlier_segment_cannot_be_torn() {
    let folder = folder();
    let (mut log, _) = Log::open_with_segment_bytes(folder.path(), 100).expect("opens");
    (1..=3).for_each(|epoch| log.append(&record(epoch)).expect("appends"));
    log.sync().expect("syncs");
    drop(log);
    let path = segment_path(folder.path(), 2);
    let bytes = fs::read(&path).expect("reads");
    fs::write(&path, &bytes[..bytes.len() - 1]).expect("writes");
    assert!(message(folder.path()).ends_with("corrupt at byte 40: a frame's payload is cut off"));
}

#[test]
#[cfg(target_os = "linux")]
fn a_failed_write_poisons_the_log() {
    let folder = folder();
    let (mut log, _) = Log::open(folder.path()).expect("opens");
    log.segment = Some(SegmentWriter::over(fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it")));
    log.append(&record(1)).expect("it is buffered");
    let error = log.sync().expect_err("the disk is full");
    assert_eq!((error.sqlstate, error.message.as_str()), ("53100", "cannot write a failing file: No space left on device (os error 28)"));
    let poisoned = "the epoch log accepts nothing since a write failed: cannot write a failing file: No space left on device (os error 28)";
    assert_eq!(log.sync().expect_err("poisoned").message, poisoned);
    assert_eq!(log.append(&record(2)).expect_err("poisoned").message, poisoned);
}

/// `fixtures/epoch-log-1` was written by format 1 and must be read by all that comes after. `THALWEG_BLESS=1` writes it.
#[test]
fn the_fixture_is_read() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/log/fixtures/epoch-log-1");
    if std::env::var_os("THALWEG_BLESS").is_some() {
        write(&fixture, 1..=2);
    }
    let folder = folder();
    fs::copy(segment_path(&fixture, 1), segment_path(folder.path(), 1)).expect("the fixture is there");
    let shown: Vec<String> = replayed(folder.path()).expect("sound").iter().map(show).collect();
    let expected = [
        "1 now -999999 catalog 0 | 16384: a.json:1..ä.json:2 10 rows | 16385: +1 row 1 | 16386: +2 row 1, -1 gone",
        "2 now -999998 catalog 1 | 16384: a.json:2..ä.json:3 10 rows | 16385: +1 row 2 | 16386: +2 row 2, -1 gone",
    ];
    assert_eq!(shown, expected);
}

/// Two values and a null of a type.
fn values(of: &SqlType) -> ArrayRef {
    let texts = |a: &str, b: &str| {
        let text: ArrayRef = Arc::new(StringArray::from(vec![Some(a), None, Some(b)]));
        cast(&text, &of.arrow()).unwrap_or_else(|error| panic!("{of}: {error}"))
    };
    match of {
        SqlType::Boolean => texts("true", "false"),
        SqlType::SmallInt | SqlType::Integer | SqlType::BigInt => texts("-32768", "32767"),
        SqlType::Real | SqlType::Double => texts("NaN", "-0.0"),
        SqlType::Numeric(_) => texts("-12345.678", "0"),
        SqlType::Date => texts("0044-03-15", "9999-12-31"),
        SqlType::Time => texts("00:00:00", "23:59:59.999999"),
        SqlType::Timestamp | SqlType::TimestampTz => texts("1969-12-31T23:59:59.999999", "9999-12-31T23:59:59"),
        SqlType::Interval => texts("1 month", "-3 days"),
        SqlType::Array(item) => {
            let field = Arc::new(Field::new_list_field(item.arrow(), true));
            let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0, 2, 2, 3]));
            Arc::new(ListArray::new(field, offsets, values(item), Some(vec![true, false, true].into())))
        }
        SqlType::Struct(fields) => {
            let DataType::Struct(arrow) = of.arrow() else { panic!("a struct is a struct") };
            let columns = fields.iter().map(|(_, field)| values(field)).collect();
            Arc::new(StructArray::new(arrow, columns, Some(vec![true, false, true].into())))
        }
        _ => texts("", "ünïcödé"),
    }
}

fn scalar_types() -> Vec<SqlType> {
    let texts = "boolean smallint integer bigint real float8 numeric numeric(12,3) numeric(38,0) text varchar varchar(5) char(5) bytea \
                 date time timestamp timestamptz interval uuid json jsonb";
    texts.split_whitespace().map(|text| text.parse().expect("a type")).collect()
}

#[test]
fn rows_of_every_type_come_back() {
    let mut types = scalar_types();
    types.push(SqlType::Struct(types.iter().enumerate().map(|(index, of)| (format!("f{index}"), of.clone())).collect()));
    types.extend(types.clone().into_iter().map(|item| SqlType::Array(Box::new(item))));
    types.push(SqlType::Array(Box::new(SqlType::Array(Box::new(SqlType::Text)))));
    let mut batches: Vec<RecordBatch> = types.iter().map(|of| batch(std::slice::from_ref(of))).collect();
    batches.push(batch(&types));
    batches.push(batch(&types).slice(1, 2));
    batches.push(batch(&types).slice(0, 0));
    let no_columns = RecordBatchOptions::new().with_row_count(Some(4));
    batches.push(RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &no_columns).expect("no columns"));
    check_round_trip(&batches);
}

fn batch(types: &[SqlType]) -> RecordBatch {
    let fields: Vec<Field> = types.iter().enumerate().map(|(index, of)| of.field(&format!("c{index}"), true)).collect();
    let columns = types.iter().map(values).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns of these types")
}

/// Each batch with and without weights, and with nulls only.
fn check_round_trip(batches: &[RecordBatch]) {
    let folder = folder();
    let (mut log, _) = Log::open(folder.path()).expect("opens");
    for (index, rows) in batches.iter().enumerate() {
        let weights = Int64Array::from_iter_values((0..rows.num_rows()).map(|row| if row == 0 { i64::MIN } else { row as i64 }));
        let nulls = rows.columns().iter().map(|column| new_null_array(column.data_type(), rows.num_rows())).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let nulls = RecordBatch::try_new_with_options(rows.schema(), nulls, &options).expect("nullable");
        let all = [ChangeBatch::inserts(rows.clone()), ChangeBatch::new(rows.clone(), weights), ChangeBatch::inserts(nulls)];
        let effects: Vec<Effect> = all.into_iter().map(|changes| Effect { relation: ObjectId(16_384), changes }).collect();
        let record = EpochRecord { epoch: index as Epoch, now_us: 0, catalog_version: 0, spans: vec![], effects };
        log.append(&record).expect("appends");
        let decoded = EpochRecord::decode(record.epoch, &record.encode().expect("encodes")).expect("decodes");
        for (before, after) in record.effects.iter().zip(&decoded.effects) {
            assert_eq!(after.changes.rows(), before.changes.rows());
            assert_eq!(after.changes.weights(), before.changes.weights());
        }
    }
    log.sync().expect("syncs");
    assert_eq!(epochs(folder.path()).len(), batches.len());
}
