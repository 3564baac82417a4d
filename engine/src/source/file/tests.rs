//! Files in all formats, read once and followed; positions; and paths that lead out.

use std::fs;
use std::io::Write as _;
use std::sync::Arc;

use arrow::array::{Int32Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use tempfile::TempDir;

use super::super::SourceSpec;
use super::super::test_support::{check_positions, columns, drain, options};
use super::*;

struct Folder(TempDir);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = Self(TempDir::new().expect("a temporary folder"));
        files.iter().for_each(|(name, text)| folder.write(name, text));
        folder
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().expect("below the folder")).expect("writable");
        fs::write(path, text).expect("writable");
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = fs::OpenOptions::new().append(true).open(self.0.path().join(name)).expect("the file is there");
        file.write_all(text.as_bytes()).expect("writable");
    }

    fn spec(&self, pairs: &[(&str, &str)], declared: &[(&str, &str)]) -> Result<SourceSpec> {
        let mut all = vec![("connector", "file")];
        all.extend(pairs);
        SourceSpec::from_options(&options(&all), &columns(declared), Some(self.0.path()))
    }

    fn read(&self, pairs: &[(&str, &str)], declared: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let spec = self.spec(pairs, declared).expect("valid");
        let (mut rows, failures) = drain(spec.open(&[0]).expect("readable").as_mut(), 100);
        let failures = failures.into_iter().map(|failure| format!("{} [{}]", failure.position, failure.sqlstate)).collect();
        (if rows.is_empty() { Vec::new() } else { rows.swap_remove(0) }, failures)
    }
}

const AB: [(&str, &str); 2] = [("a", "bigint"), ("b", "text")];

#[test]
fn one_file_a_glob_and_a_folder() {
    let folder = Folder::with(&[
        ("in/2.csv", "a,b\n3,z\n4,"),
        ("in/1.csv", "b,a\nx,1\ny,2\n"),
        ("in/readme.md", "no"),
        ("in/.hidden.csv", "a\n9\n"),
        ("in/deep/3.csv", "a,b\n7,q\n"),
        ("in/x.ndjson", "{\"a\":5}\n"),
    ]);
    let all = ["1|x", "2|y", "3|z", "4|NULL"].map(String::from).to_vec();
    assert_eq!(folder.read(&[("path", "in/1.csv")], &AB).0, all[..2]);
    assert_eq!(folder.read(&[("path", "in"), ("format", "csv")], &AB).0, all);
    assert_eq!(folder.read(&[("path", "in/*.csv")], &AB).0, all);
    assert_eq!(folder.read(&[("path", "in/**/*.csv")], &AB).0, [all.clone(), vec!["7|q".into()]].concat());
    assert_eq!(folder.read(&[("path", "in/x.ndjson")], &AB).0, ["5|NULL"]);
    let absolute = folder.0.path().join("in/1.csv");
    assert_eq!(folder.read(&[("path", absolute.to_str().expect("text"))], &AB).0, all[..2]);
}

#[test]
fn csv_options_and_failures() {
    let folder = Folder::with(&[("f.txt", "1;'x;y'\nNA;-\nbad;z\n2;\n"), ("t.tsv", "a\tb\n1\tx\n")]);
    let pairs = [("path", "f.txt"), ("format", "csv"), ("header", "false"), ("delimiter", ";"), ("quote", "'"), ("null", "NA|-")];
    assert_eq!(folder.read(&pairs, &AB), (vec!["1|x;y".into(), "NULL|NULL".into(), "2|".into()], vec!["f.txt, byte 13 [22P02]".into()]));
    assert_eq!(folder.read(&[("path", "t.tsv")], &AB).0, ["1|x"]);
}

#[test]
fn columns_are_inferred() {
    let folder = Folder::with(&[
        ("f.csv", "year,dep,carrier,at\n2013,NA,UA,2013-01-01 05:00:00\n2013,517,AA,2013-01-01 06:00:00\n"),
        ("empty.ndjson", ""),
    ]);
    let spec = folder.spec(&[("path", "f.csv"), ("null", "NA")], &[]).expect("a header and two rows");
    let inferred: Vec<String> = spec.columns().iter().map(|column| format!("{} {}", column.name, column.sql_type)).collect();
    assert_eq!(inferred, ["year bigint", "dep bigint", "carrier text", "at timestamp without time zone"]);
    let (rows, _) = drain(spec.open(&[0]).expect("readable").as_mut(), 10);
    assert_eq!(rows[0], ["2013|NULL|UA|2013-01-01T05:00:00", "2013|517|AA|2013-01-01T06:00:00"]);
    assert!(folder.spec(&[("path", "empty.ndjson")], &[]).is_err());
    assert!(folder.spec(&[("path", "later/*.csv"), ("mode", "follow")], &[]).is_err());
}

fn big_folder() -> Folder {
    let lines = |from: usize| -> String {
        (from..from + 400).map(|n| if n % 37 == 0 { "broken\n".into() } else { format!("{{\"a\":{n},\"b\":\"é\"}}\n") }).collect()
    };
    let folder = Folder::with(&[("b.ndjson", &lines(1)), ("a.ndjson", &lines(1000)), ("c.ndjson", ""), ("d.ndjson", "{\"a\":7}")]);
    let csv: String = (0..500).map(|n| format!("\"x\n{n}\",{n}\n")).collect();
    folder.write("big.csv", &format!("b,a\n{csv}"));
    folder
}

#[test]
fn seek_and_replay_once_and_following() {
    let folder = big_folder();
    for mode in ["once", "follow"] {
        for max_rows in [1, 64, 150, 100_000] {
            check_positions(&folder.spec(&[("path", "*.ndjson"), ("mode", mode)], &AB).expect("valid"), &[0], max_rows);
        }
        check_positions(&folder.spec(&[("path", "big.csv"), ("mode", mode)], &AB).expect("valid"), &[0], 33);
    }
}

#[test]
fn a_chunk_does_not_end_a_row() {
    let line = |n: usize| format!("{{\"a\":{n},\"b\":\"{}\"}}\n", "x".repeat(1000));
    let folder = Folder::with(&[("f.ndjson", &(0..3000).map(line).collect::<String>())]);
    let (rows, failures) = folder.read(&[("path", "f.ndjson")], &[("a", "bigint")]);
    assert_eq!((rows, failures), ((0..3000).map(|n| n.to_string()).collect(), vec![]));
}

#[test]
fn a_followed_file_grows_and_files_appear() {
    let folder = Folder::with(&[("in/1.csv", "a,b\n1,x\n2,")]);
    let spec = folder.spec(&[("path", "in"), ("format", "csv"), ("mode", "follow")], &AB).expect("valid");
    assert!(!spec.is_bounded());
    let mut source = spec.open(&[0]).expect("readable");
    let next = |source: &mut dyn Source| {
        let mut rows = drain(source, 10).0.pop().unwrap_or_default();
        rows.extend(drain(source, 10).0.pop().unwrap_or_default());
        rows
    };
    assert_eq!(next(source.as_mut()), ["1|x"]);
    assert_eq!(next(source.as_mut()), Vec::<String>::new());
    folder.append("in/1.csv", "y");
    assert_eq!(next(source.as_mut()), Vec::<String>::new(), "a line without its end waits");
    let before = source.position();
    folder.append("in/1.csv", "\n3,z\n");
    folder.write("in/0.csv", "b,a\nw,0\n");
    let mut rows = next(source.as_mut());
    rows.sort();
    assert_eq!(rows, ["0|w", "2|y", "3|z"]);
    let after = source.position();
    let mut replayed = super::super::test_support::show(
        &spec.open(&[0]).expect("readable").replay(&before, &after).expect("both files are there").outputs[0],
    );
    replayed.sort();
    assert_eq!(replayed, rows);
    // Another reader goes on where this one is.
    let mut other = spec.open(&[0]).expect("readable");
    other.seek(&after).expect("its own position");
    folder.append("in/0.csv", "v,9\n");
    assert_eq!(next(other.as_mut()), ["9|v"]);
    // Rows that were read and are gone are an error, not silence.
    folder.write("in/1.csv", "a,b\n");
    let error = (0..3).find_map(|_| other.poll(10, 0).err()).expect("the file became shorter");
    assert_eq!(error.sqlstate, "58030");
    fs::remove_file(folder.0.path().join("in/0.csv")).expect("it was there");
    assert_eq!(spec.open(&[0]).expect("readable").replay(&before, &after).expect_err("rows are gone").sqlstate, "XX001");
}

#[test]
fn a_file_that_is_missing_on_replay_is_an_error() {
    let folder = big_folder();
    let spec = folder.spec(&[("path", "*.ndjson")], &AB).expect("valid");
    let mut source = spec.open(&[0]).expect("readable");
    let start = source.position();
    drain(source.as_mut(), 1000);
    let end = source.position();
    fs::remove_file(folder.0.path().join("a.ndjson")).expect("it was there");
    let error = spec.open(&[0]).expect("readable").replay(&start, &end).expect_err("a file is gone");
    assert_eq!(error.sqlstate, "XX001");
    assert_eq!(spec.open(&[0]).expect("readable").seek(&end).expect_err("a file is gone").sqlstate, "XX001");
}

fn write_parquet(folder: &Folder, name: &str) {
    let schema = Arc::new(Schema::new(vec![
        Field::new("b", DataType::Utf8, true),
        Field::new("a", DataType::Int32, false),
        Field::new("wide", DataType::Int64, true),
        Field::new("u", DataType::Utf8, true),
    ]));
    let n_rows = 20_000;
    let ids = || (0..n_rows).map(|n| (n != 5).then(|| if n == 7 { "no uuid".into() } else { format!("{n:032x}") }));
    let batch = RecordBatch::try_new(
        schema.clone(),
        vec![
            Arc::new(StringArray::from_iter_values((0..n_rows).map(|n| format!("t{n}")))),
            Arc::new(Int32Array::from_iter_values(0..n_rows)),
            Arc::new(Int64Array::from_iter_values((0..n_rows).map(|n| if n == 9 { 1 << 40 } else { 1 }))),
            Arc::new(StringArray::from_iter(ids())),
        ],
    );
    let file = fs::File::create(folder.0.path().join(name)).expect("writable");
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, schema, None).expect("a parquet schema");
    writer.write(&batch.expect("columns of one length")).expect("writable");
    writer.close().expect("writable");
}

#[test]
fn parquet_by_name_with_casts_and_failures() {
    let folder = Folder::with(&[]);
    write_parquet(&folder, "f.parquet");
    let spec = folder.spec(&[("path", "f.parquet")], &[]).expect("inferred");
    let inferred: Vec<String> = spec.columns().iter().map(|column| format!("{} {}", column.name, column.sql_type)).collect();
    assert_eq!(inferred, ["b text", "a integer", "wide bigint", "u text"]);
    let declared = [("a", "bigint"), ("u", "uuid"), ("wide", "integer"), ("absent", "date")];
    let spec = folder.spec(&[("path", "f.parquet")], &declared).expect("valid");
    let mut source = spec.open(&[0]).expect("readable");
    let (rows, failures) = drain(source.as_mut(), 3000);
    assert_eq!(rows[0].len() + failures.len(), 20_000);
    assert_eq!(rows[0][5], "5|NULL|1|NULL");
    assert_eq!(rows[0][6], "6|00000000-0000-0000-0000-000000000006|1|NULL");
    let positions: Vec<&str> = failures.iter().map(|failure| failure.position.as_str()).collect();
    assert_eq!(positions, ["f.parquet, row 8", "f.parquet, row 10"]);
    assert!(String::from_utf8_lossy(&failures[0].raw).contains("no uuid"));
    check_positions(&spec, &[0], 3000);
    assert_eq!(
        folder
            .spec(&[("path", "f.parquet")], &[("zzz", "text")])
            .expect("checked when read")
            .open(&[0])
            .expect("lazy")
            .poll(1, 0)
            .expect_err("no such column")
            .sqlstate,
        "42703"
    );
    folder.write("bad.parquet", "PAR1 this is not one");
    let spec = folder.spec(&[("path", "bad.parquet")], &AB).expect("it is there");
    assert_eq!(spec.open(&[0]).expect("lazy").poll(1, 0).expect_err("not parquet").sqlstate, "XX001");
}

#[test]
fn paths_stay_under_the_root() {
    let outside = Folder::with(&[("secret.csv", "a\n1\n")]);
    let folder = Folder::with(&[("in/1.csv", "a\n1\n")]);
    let link = |name: &str, target: &Path| std::os::unix::fs::symlink(target, folder.0.path().join(name)).expect("a link");
    link("link.csv", &outside.0.path().join("secret.csv"));
    link("folder", outside.0.path());
    link("in/inside.csv", &folder.0.path().join("in/1.csv"));
    let secret = outside.0.path().join("secret.csv");
    for path in [
        "../x.csv",
        "in/../../x.csv",
        "/etc/passwd.csv",
        "link.csv",
        "folder/secret.csv",
        "folder/*.csv",
        "*.csv",
        "folder",
        secret.to_str().expect("text"),
    ] {
        let error = folder.spec(&[("path", path), ("format", "csv")], &AB).expect_err(path);
        assert_eq!(error.sqlstate, "42501", "{path}: {error}");
        assert!(error.hint.expect("a hint").contains("file_root"));
    }
    assert_eq!(folder.read(&[("path", "in"), ("format", "csv")], &AB).0, ["1|NULL", "1|NULL"]);
    let no_root = SourceSpec::from_options(&options(&[("connector", "file"), ("path", "in/1.csv")]), &[], None).expect_err("no root");
    assert_eq!((no_root.sqlstate, no_root.hint.as_deref()), ("42501", Some("set `file_root` to the folder that may be read")));
    assert_eq!(folder.spec(&[("path", "in/none.csv")], &AB).expect_err("missing").sqlstate, "58P01");
    assert_eq!(folder.spec(&[("path", "folder-link-less/*.csv")], &AB).expect_err("missing").sqlstate, "58P01");
}

#[test]
fn a_link_made_later_is_refused_too() {
    let outside = Folder::with(&[("secret.csv", "a\n1\n")]);
    let folder = Folder::with(&[("1.csv", "a\n1\n")]);
    let spec = folder.spec(&[("path", "*.csv"), ("mode", "follow")], &AB).expect("valid");
    let mut source = spec.open(&[0]).expect("readable");
    std::os::unix::fs::symlink(outside.0.path().join("secret.csv"), folder.0.path().join("2.csv")).expect("a link");
    let error = (0..5).find_map(|_| source.poll(10, 0).err()).expect("refused when found");
    assert_eq!(error.sqlstate, "42501");
}

#[test]
fn options_are_checked() {
    let folder = Folder::with(&[("1.csv", "a\n1\n"), ("1.ndjson", "{\"a\":1}\n"), ("plain", "")]);
    let refused = |pairs: &[(&str, &str)]| folder.spec(pairs, &AB).expect_err("refused");
    assert_eq!(refused(&[]).message, "connector 'file' needs the option \"path\"");
    assert_eq!(refused(&[("path", "plain")]).message, "connector 'file' needs the option \"format\"");
    for (name, value) in [
        ("format", "xml"),
        ("mode", "twice"),
        ("header", "maybe"),
        ("delimiter", "ab"),
        ("delimiter", "\n"),
        ("quote", "é"),
        ("compression", "gzip"),
    ] {
        let error = refused(&[("path", "1.csv"), (name, value)]);
        assert_eq!(error.sqlstate, "22023");
        assert!(error.message.contains(name) && error.hint.is_some(), "{error:?}");
    }
    assert_eq!(refused(&[("path", "1.csv"), ("delimiter", "\"")]).sqlstate, "22023");
    assert_eq!(refused(&[("path", "1.ndjson"), ("header", "true")]).sqlstate, "22023");
    let mut source = folder.spec(&[("path", "1.csv")], &AB).expect("valid").open(&[0]).expect("readable");
    assert_eq!(source.seek("not json").expect_err("not a position").sqlstate, "XX001");
}
