//! Bytes nobody would write on purpose: good rows are all there, bad ones are all counted, nothing panics.

use super::*;

fn columns() -> Vec<Column> {
    vec![
        column("a", SqlType::BigInt),
        column("t", SqlType::Text),
        column("f", SqlType::Double),
        column("ts", SqlType::Timestamp),
        column("j", SqlType::Json),
    ]
}

#[test]
fn each_poison_is_one_failure_between_good_rows() {
    let deep = "[".repeat(10_000);
    let closed = "[".repeat(10_000) + &"]".repeat(10_000);
    let poisons: Vec<Vec<u8>> = [
        "{",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1}}",
        "{\"a\":1,\"t\":\"abc",
        "{\"a\":NaN}",
        "{\"f\":Infinity}",
        "{\"f\":1e999}",
        "{\"a\":1e30}",
        "{\"ts\":\"2024-99-99\"}",
        "{\"ts\":12345}",
        "{\"ts\":\"999999-01-01\"}",
        "{\"t\":\"\\ud800\"}",
        "{\"t\":\"\\u0000\"}",
        "{\"t\":\"\u{0}\"}",
        "{\"a\":01}",
        "{'a':1}",
        "{\"a\":1}, {\"a\":2}",
        "null",
        "\"text\"",
        "\u{feff}{\"a\":1}",
        "{\"a\":[1]}",
        "{\"a\":\"\"}",
        "{\"j\":{\"x\":}}",
        "}{",
        "\u{0}",
        "{\"unread\":tru}",
        "{\"unread\":\"\\q\"}",
        "{\"unread\":[1,2}",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .chain(
        [deep.clone(), format!("{{\"j\":{deep}"), format!("{{\"j\":{closed}}}"), format!("{{\"unread\":{closed}}}")]
            .map(String::into_bytes),
    )
    .chain([b"\xff\xfe".to_vec(), b"{\"t\":\"\xc3\"}".to_vec(), b"{\"t\":\"\xed\xa0\x80\"}".to_vec(), b"{\"t\xff\":1}".to_vec()])
    .collect();
    let mut text = Vec::new();
    for (index, poison) in poisons.iter().enumerate() {
        text.extend(format!("{{\"a\":{index}}}\n").bytes());
        text.extend(poison);
        text.push(b'\n');
    }
    for piece in [1, 7, 4096, usize::MAX] {
        let (rows, failures) = decode(&Format::Ndjson, &columns(), &text, piece);
        let expected: Vec<String> = (0..poisons.len()).map(|index| format!("{index}|NULL|NULL|NULL|NULL")).collect();
        assert_eq!(show(&rows), expected);
        let raw: Vec<&Vec<u8>> = failures.iter().map(|failure| &failure.raw).collect();
        assert_eq!(raw, poisons.iter().collect::<Vec<_>>());
    }
}

#[test]
fn duplicate_keys_are_one_row() {
    let (rows, failures) = decode(&Format::Ndjson, &columns(), b"{\"a\":\"bad\",\"a\":2,\"t\":\"x\",\"t\":null}\n", 3);
    assert_eq!((show(&rows), failures.len()), (vec!["2|NULL|NULL|NULL|NULL".into()], 0));
}

/// Records without their bytes counted: lines for NDJSON; the others have no line ends inside values in this test.
fn n_records(bytes: &[u8]) -> usize {
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count()
}

#[test]
fn random_damage_loses_no_row_and_never_panics() {
    let good = "{\"a\":1,\"t\":\"caf\\u00e9 \u{e9}\",\"f\":1.5e3,\"ts\":\"2024-01-31T12:34:56.789Z\",\"j\":{\"k\":[1,\"x\",null]}}\n";
    for seed in 0..3000 {
        let random = &mut StdRng::seed_from_u64(seed);
        let mut bytes = good.repeat(random.random_range(1..5)).into_bytes();
        for _ in 0..random.random_range(1..6) {
            if bytes.is_empty() {
                break;
            }
            let at = random.random_range(0..bytes.len());
            match random.random_range(0..4) {
                0 => bytes[at] = random.random(),
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, [b'"', b'\\', b'{', b'\n', 0, 0xff][random.random_range(0..6)]),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let (rows, failures) = decode(&Format::Ndjson, &columns(), &bytes, random.random_range(1..300));
        assert_eq!(rows.num_rows() + failures.len(), n_records(&bytes), "seed {seed}: {}", bytes.escape_ascii());
    }
}

#[test]
fn any_bytes_are_rows_or_failures_in_every_format() {
    let formats = [
        Format::Ndjson,
        Format::Csv(CsvOptions::default()),
        Format::Csv(CsvOptions { escape: b'\\', ..CsvOptions::default() }),
        Format::CopyText { delimiter: b',', null: "\\N".into(), header: false },
    ];
    for seed in 0..4000 {
        let random = &mut StdRng::seed_from_u64(seed);
        let alphabet = b"\"\\,\n\r{}[]:1ae.-\0\xc3\xa9\xff N";
        let bytes: Vec<u8> = (0..random.random_range(0..120)).map(|_| alphabet[random.random_range(0..alphabet.len())]).collect();
        let format = &formats[seed as usize % formats.len()];
        let columns = [column("a", SqlType::Text), column("b", SqlType::Array(Box::new(SqlType::Text)))];
        // `\.` ends the text format early, and then the offset stays there.
        if matches!(format, Format::CopyText { .. }) && bytes.windows(2).any(|pair| pair == b"\\.") {
            continue;
        }
        let whole = decode(format, &columns, &bytes, usize::MAX);
        let pieces = decode(format, &columns, &bytes, random.random_range(1..20));
        assert_eq!(whole, pieces, "seed {seed}: pieces do not matter");
    }
}
