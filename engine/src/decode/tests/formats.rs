//! Records: NDJSON, CSV and COPY's text format, in pieces of any size, with their failures.

use super::*;

fn two_columns() -> Vec<Column> {
    vec![column("a", SqlType::BigInt), column("b", SqlType::Text)]
}

fn copy_text() -> Format {
    Format::CopyText { delimiter: b'\t', null: "\\N".into(), header: false }
}

#[test]
fn ndjson() {
    let text = r#"{"a":1,"b":"x"}
{"b":"two","a":"2"}

  {"a" : 3.0 , "other":[1,{"deep":[]}] }
{"a":1.5,"b":"fraction"}
{"a":1e2,"b":true}
{"a":null,"b":{"k":[1, 2]}}
{"a":9223372036854775808}
{"a":1,"a":7,"b":"last wins"}
{"\u0061":8,"b":"caf\u00e9\n"}
{"a":1,}
{"a":1}{"a":2}
[1,2]
7
{"a":true}
{"a":9"#;
    assert_eq!(
        script(&Format::Ndjson, &two_columns(), text),
        r#"1|x
2|two
3|NULL
100|true
NULL|{"k":[1, 2]}
7|last wins
8|café

line 5, byte 78 [22P02] column "a": invalid input syntax for type bigint: "1.5"
line 8, byte 150 [22003] column "a": value "9223372036854775808" is out of range for type bigint
line 11, byte 237 [22P02] invalid JSON: expected a key at byte 8, found "}"
line 12, byte 246 [22P02] invalid JSON: expected the end at byte 8, found "{"
line 13, byte 261 [22P04] a row is a JSON object
line 14, byte 267 [22P04] a row is a JSON object
line 15, byte 269 [22P02] column "a": invalid input syntax for type bigint: "true"
line 16, byte 280 [22P02] invalid JSON: expected a comma or a closing brace at byte 7, found the end"#
    );
}

#[test]
fn csv_by_position() {
    let text = "1,x\r\n2,\"a,\"\"b\"\"\nc\"\n,\n3,\"\"\n4\n5,a,b\nx,y\n\n6,pre\"quo,ted\"post\n7,\"open\n";
    assert_eq!(
        script(&Format::Csv(CsvOptions::default()), &two_columns(), text),
        "1|x\n2|a,\"b\"\nc\nNULL|NULL\n3|\n6|prequo,tedpost
line 6, byte 26 [22P04] missing data for column \"b\"
line 7, byte 28 [22P04] extra data after last expected column: 3 fields, 2 expected
line 8, byte 34 [22P02] column \"a\": invalid input syntax for type bigint: \"x\"
line 11, byte 58 [22P04] unterminated CSV quoted field"
    );
}

#[test]
fn csv_by_name_with_other_characters() {
    let options = CsvOptions {
        delimiter: b';',
        quote: b'\'',
        escape: b'\\',
        nulls: vec!["NA".into(), "-".into()],
        header: CsvHeader::Names,
        ends_at_marker: false,
    };
    let text = "\u{feff}b;more;A\n'it\\'s';1;5\nNA;;-\n'NA';x;6\n";
    assert_eq!(script(&Format::Csv(options.clone()), &two_columns(), text), "5|it's\nNULL|NULL\n6|NA");
    // A column that the header leaves out is null.
    assert_eq!(script(&Format::Csv(options.clone()), &two_columns(), "a;c\n1;2\n"), "1|NULL");
    let error = |header: &str| {
        Decoder::new(&Format::Csv(options.clone()), &two_columns())
            .and_then(|mut decoder| decoder.push(header.as_bytes()))
            .expect_err("unusable")
    };
    assert_eq!(error("x;y\n").sqlstate, "42703");
    assert_eq!(error("a;b;a\n").sqlstate, "42701");
    let skipped = CsvOptions { header: CsvHeader::Skipped, ..CsvOptions::default() };
    assert_eq!(script(&Format::Csv(skipped), &two_columns(), "b,a\n1,2\n"), "1|2");
}

#[test]
fn one_column_has_empty_rows() {
    let one = [column("t", SqlType::Text)];
    assert_eq!(script(&Format::Csv(CsvOptions::default()), &one, "a\n\n\"\"\n"), "a\nNULL\n");
}

#[test]
fn copy_text_format() {
    let text = "1\tx\n\\N\t\\N\n2\ta\\tb\\nc\\\\\\x41\\101\n3\t\\\\N\n4\tline\\\nbreak\n5\n6\t\\b\\q\n\\.\nafter the end\n";
    let (rows, failures) = decode(&copy_text(), &two_columns(), text.as_bytes(), usize::MAX);
    assert_eq!(show(&rows), ["1|x", "NULL|NULL", "2|a\tb\nc\\AA", "3|\\N", "4|line\nbreak", "6|\u{8}q"]);
    assert_eq!(failures.iter().map(|failure| failure.sqlstate).collect::<Vec<_>>(), ["22P04"]);
    assert_eq!(failures[0].raw, b"5");
}

#[test]
fn not_null_is_kept() {
    let columns = [Column { nullable: false, ..column("a", SqlType::BigInt) }, column("b", SqlType::Text)];
    let text = "{\"a\":1}\n{\"b\":\"x\"}\n{\"a\":null}\n";
    assert_eq!(
        script(&Format::Ndjson, &columns, text),
        "1|NULL
line 2, byte 8 [23502] null value in column \"a\" violates not-null constraint
line 3, byte 18 [23502] null value in column \"a\" violates not-null constraint"
    );
}

#[test]
fn a_record_too_long_is_one_failure_and_takes_no_memory() {
    let long = "x".repeat(MAX_RECORD_BYTES);
    let csv = Format::Csv(CsvOptions::default());
    for (format, text) in
        [(&Format::Ndjson, format!("{{\"a\":1}}\n{{\"b\":\"{long}\"}}\n{{\"a\":2}}\n")), (&csv, format!("1,\n3,\"{long}\n2,\n"))]
    {
        let mut decoder = Decoder::new(format, &two_columns()).expect("valid");
        for piece in text.as_bytes().chunks(100_000) {
            decoder.push(piece).expect("no header");
            assert!(decoder.partial.len() <= MAX_RECORD_BYTES);
        }
        decoder.finish().expect("no header");
        assert_eq!(decoder.offset(), text.len() as u64);
        let (batches, failures) = decoder.take();
        let rows: Vec<String> = batches.iter().flat_map(show).collect();
        assert_eq!(rows, ["1|NULL", "2|NULL"]);
        assert_eq!(failures.len(), 1);
        assert_eq!((failures[0].sqlstate, failures[0].raw.len()), ("54000", LONG_RECORD_SAMPLE_BYTES));
        // And pushed as a whole.
        let (rows, failures) =
            decode(&Format::Ndjson, &two_columns(), format!("{{\"b\":\"{long}\"}}\n{{\"a\":2}}\n").as_bytes(), usize::MAX);
        assert_eq!((rows.num_rows(), failures.len()), (1, 1));
    }
}

#[test]
fn reading_can_stop_after_some_rows() {
    let text = b"a,b\n1,x\n2,y\nbad,z\n4,w";
    let options = CsvOptions { header: CsvHeader::Names, ..CsvOptions::default() };
    let mut decoder = Decoder::new(&Format::Csv(options), &two_columns()).expect("valid");
    assert_eq!(decoder.push_rows(text, 1).ok(), Some(8));
    assert_eq!(decoder.offset(), 8);
    assert_eq!(decoder.push_rows(&text[8..], 2).ok(), Some(10));
    assert_eq!(decoder.push_rows(&text[18..], 5).ok(), Some(3));
    assert_eq!(decoder.offset(), 18, "the last record is not complete yet");
    decoder.finish().expect("the header was read");
    assert_eq!(decoder.offset(), 21);
    let (batches, failures) = decoder.take();
    assert_eq!(batches.iter().flat_map(show).collect::<Vec<_>>(), ["1|x", "2|y", "4|w"]);
    assert_eq!(failures[0].position, "line 4, byte 12");
}

#[test]
fn columns_are_guessed() {
    let guess = |format: &Format, text: &str| -> String {
        let columns = infer::infer_columns(format, text.as_bytes()).expect("there are columns");
        columns.iter().map(|column| format!("{} {}", column.name, column.sql_type)).collect::<Vec<_>>().join(", ")
    };
    let csv = Format::Csv(CsvOptions { header: CsvHeader::Names, nulls: vec![String::new(), "NA".into()], ..CsvOptions::default() });
    assert_eq!(
        guess(
            &csv,
            "id,price,ok,day,at,zip,name,none\n1,2,true,2024-01-01,2024-01-01 10:00:00,01234,x,\n2,2.5,NA,2024-01-02,2024-01-02,1,1,NA\n"
        ),
        "id bigint, price double precision, ok boolean, day date, at timestamp without time zone, zip text, name text, none text"
    );
    let json = "{\"a\":1,\"b\":{\"x\":1},\"t\":\"2013-01-01T05:00:00Z\"}\nbroken\n{\"c\":\"5\",\"a\":2.5,\"t\":null,\"z\":\"2024-01-01T00:00:00+02:00\"}";
    assert_eq!(
        guess(&Format::Ndjson, json),
        "a double precision, b json, t timestamp without time zone, c text, z timestamp with time zone"
    );
    let plain = Format::Csv(CsvOptions::default());
    assert_eq!(guess(&plain, "1,a\n2,b"), "column1 bigint, column2 text");
    assert!(infer::infer_columns(&Format::Ndjson, b"").is_err());
}

#[test]
fn failures_are_rows_of_the_errors_relation() {
    let (_, failures) = decode(&Format::Ndjson, &two_columns(), b"{\"a\":\"x\"}\n\xff\n", usize::MAX);
    let rows = decode_error_rows(&failures, 1_000_000);
    assert_eq!(rows.schema(), decode_error_schema());
    assert_eq!(
        show(&rows),
        [
            "7b2261223a2278227d|line 1, byte 0|column \"a\": invalid input syntax for type bigint: \"x\"|22P02|1970-01-01T00:00:01Z",
            "ff|line 2, byte 10|invalid byte sequence for encoding \"UTF8\": 0xff at byte 1|22021|1970-01-01T00:00:01Z",
        ]
    );
}

#[test]
fn copy_options_become_a_format() {
    let copy = |kind, delimiter| CopyFormat { kind, delimiter, header: true, null: "\\N".into(), quote: '"', escape: '"' };
    assert_eq!(
        Format::of_copy(&copy(CopyKind::Text, '|')).ok(),
        Some(Format::CopyText { delimiter: b'|', null: "\\N".into(), header: true })
    );
    assert!(matches!(Format::of_copy(&copy(CopyKind::Csv, ',')), Ok(Format::Csv(CsvOptions { header: CsvHeader::Skipped, .. }))));
    assert_eq!(Format::of_copy(&copy(CopyKind::Binary, ',')).map_err(|error| error.sqlstate), Err("0A000"));
    assert_eq!(Format::of_copy(&copy(CopyKind::Csv, 'é')).map_err(|error| error.sqlstate), Err("0A000"));
}
