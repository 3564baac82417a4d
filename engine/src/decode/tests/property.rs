//! Random rows of all types: through the decoder in random pieces, and through slow, obvious references.

use super::*;

/// A text that the type mostly accepts.
fn random_text(random: &mut StdRng, sql_type: &SqlType) -> String {
    if random.random_ratio(1, 30) {
        return ["", "x", "-", "99999999999999999999999", "NaN", "2024-02-30", "{", "a\"b\\c,d\te\nf"][random.random_range(0..8)].into();
    }
    let sign = ["", "-"][random.random_range(0..2)];
    match sql_type {
        SqlType::Boolean => ["t", "false", "1", "yes"][random.random_range(0..4)].into(),
        SqlType::SmallInt => format!("{}", random.random::<i16>()),
        SqlType::Integer => format!("{}", random.random::<i32>()),
        SqlType::BigInt => format!("{}", random.random::<i64>()),
        SqlType::Real | SqlType::Double => format!("{sign}{}e{}", random.random::<f32>(), random.random_range(-20..20)),
        SqlType::Numeric(_) => format!("{sign}{}.{}", random.random_range(0..99_999_999), random.random_range(0..99_999)),
        SqlType::Varchar(_) | SqlType::Char(_) => "é x"[..random.random_range(0..2) * 2].into(),
        SqlType::Bytea => format!("\\x{:04x}", random.random::<u16>()),
        SqlType::Date => format!("{}-{}-{}", random.random_range(1000..3000), random.random_range(1..13), random.random_range(1..30)),
        SqlType::Time => format!(
            "{}:{}:{}.{}",
            random.random_range(0..24),
            random.random_range(0..60),
            random.random_range(0..60),
            random.random::<u32>()
        ),
        SqlType::Timestamp | SqlType::TimestampTz => {
            let date = random_text(random, &SqlType::Date);
            let time = random_text(random, &SqlType::Time);
            format!("{date}{}{time}{}", ["T", " "][random.random_range(0..2)], ["", "Z", "+05:30", "-03"][random.random_range(0..4)])
        }
        SqlType::Interval => {
            format!("{sign}{} mons {} days {:02}:05:06", random.random_range(0..99), random.random_range(0..99), random.random_range(0..99))
        }
        SqlType::Uuid => format!("{:032x}", random.random::<u128>()),
        SqlType::Json | SqlType::Jsonb => random_json(random, 3).to_string(),
        SqlType::Array(element) => {
            let elements: Vec<String> = (0..random.random_range(0..4)).map(|_| random_text(random, element)).collect();
            format!("{{{}}}", elements.join(","))
        }
        SqlType::Struct(_) => serde_json::json!({"x": random.random::<i64>(), "y z": "\u{e9}\"", "other": null}).to_string(),
        _ => ["plain", "", "quo\"te", "com,ma", "tab\tend", "back\\slash", "new\nline", "\u{1F600}é", "null", "\\N", "\r"]
            [random.random_range(0..11)]
        .into(),
    }
}

fn random_json(random: &mut StdRng, depth: u32) -> serde_json::Value {
    let scalar = if depth == 0 { random.random_range(0..4) } else { random.random_range(0..6) };
    match scalar {
        0 => serde_json::Value::Null,
        1 => random.random::<bool>().into(),
        2 => random.random::<i32>().into(),
        3 => ["", "a", "é\n\"", "\u{1F600}"][random.random_range(0..4)].into(),
        4 => (0..random.random_range(0..4)).map(|_| random_json(random, depth - 1)).collect(),
        _ => serde_json::Value::Object(
            (0..random.random_range(0..4)).map(|key| (format!("k{}", 9 - key), random_json(random, depth - 1))).collect(),
        ),
    }
}

type Row = Vec<Option<String>>;

fn random_rows(random: &mut StdRng, columns: &[Column]) -> Vec<Row> {
    let cell = |random: &mut StdRng, column: &Column| random.random_ratio(9, 10).then(|| random_text(random, &column.sql_type));
    (0..random.random_range(1..30)).map(|_| columns.iter().map(|column| cell(random, column)).collect()).collect()
}

/// The reference: each cell alone through its input function; a row counts if all of its cells do.
fn expected(columns: &[Column], rows: &[Row]) -> (Vec<String>, usize) {
    let mut good = Vec::new();
    for row in rows {
        let mut cells = Vec::new();
        for (column, cell) in columns.iter().zip(row) {
            let mut buffer = ColumnBuffer::new(column);
            let appended = match cell {
                Some(text) => buffer.append_text(text),
                None => buffer.append_null(),
            };
            if appended.is_ok() {
                let schema = Arc::new(Schema::new(vec![buffer.field()]));
                let batch = RecordBatch::try_new(schema, vec![buffer.finish()]).expect("one cell");
                cells.extend(show(&batch));
            }
        }
        if cells.len() == columns.len() {
            good.push(cells.join("|"));
        }
    }
    let n_bad = rows.len() - good.len();
    (good, n_bad)
}

/// Every cell quoted; null as nothing.
fn as_csv(rows: &[Row]) -> String {
    let cell = |cell: &Option<String>| cell.as_ref().map_or(String::new(), |text| format!("\"{}\"", text.replace('"', "\"\"")));
    rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join(",") + "\n").collect()
}

fn as_copy_text(rows: &[Row]) -> String {
    let escape = |text: &String| text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r");
    let cell = |cell: &Option<String>| cell.as_ref().map_or("\\N".into(), escape);
    rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join("\t") + "\n").collect()
}

/// Keys in random order, nulls written or left out, unknown keys beside them.
fn as_ndjson(random: &mut StdRng, columns: &[Column], rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let mut members = Vec::new();
        for (column, cell) in columns.iter().zip(row) {
            let is_json = matches!(column.sql_type, SqlType::Json | SqlType::Jsonb);
            match cell {
                Some(cell) if is_json => members.push(format!("\"{}\":{}", column.name, if cell.is_empty() { "?" } else { cell })),
                Some(cell) => members.push(format!("\"{}\": {}", column.name, serde_json::Value::from(cell.as_str()))),
                None if random.random() => members.push(format!("\"{}\":null", column.name)),
                None => {}
            }
        }
        if random.random_ratio(1, 5) {
            members.push("\"unknown\" : [ {\"a\":[]} , \"x\\\\\" ]".into());
        }
        let swap = random.random_range(0..members.len().max(1));
        members.rotate_left(swap);
        text += &format!("{{{}}}\n", members.join(","));
    }
    text
}

#[test]
fn all_formats_give_what_each_cell_gives_alone() {
    let columns = all_types();
    for seed in 0..300 {
        let random = &mut StdRng::seed_from_u64(seed);
        let mut rows = random_rows(random, &columns);
        let copy = Format::CopyText { delimiter: b'\t', null: "\\N".into(), header: false };
        let piece = random.random_range(1..200);
        for (format, text) in [(Format::Csv(CsvOptions::default()), as_csv(&rows)), (copy, as_copy_text(&rows))] {
            let (good, n_bad) = expected(&columns, &rows);
            let (decoded, failures) = decode(&format, &columns, text.as_bytes(), piece);
            assert_eq!(show(&decoded), good, "seed {seed}, {format:?}");
            assert_eq!(failures.len(), n_bad, "seed {seed}, {format:?}");
        }
        // As a JSON value, `null` is null, and a line end cannot be inside a bare value.
        for (cell, column) in rows.iter_mut().flat_map(|row| row.iter_mut().zip(&columns)) {
            let is_json = matches!(column.sql_type, SqlType::Json | SqlType::Jsonb);
            if is_json && cell.as_deref().is_some_and(|text| text == "null" || serde_json::from_str::<serde_json::Value>(text).is_err()) {
                *cell = None;
            }
        }
        let (good, n_bad) = expected(&columns, &rows);
        let text = as_ndjson(random, &columns, &rows);
        let (decoded, failures) = decode(&Format::Ndjson, &columns, text.as_bytes(), piece);
        assert_eq!(show(&decoded), good, "seed {seed}, NDJSON\n{text}");
        assert_eq!(failures.len(), n_bad, "seed {seed}, NDJSON");
    }
}

#[test]
fn well_formed_json_equals_arrows_reader() {
    let columns: Vec<Column> =
        all_types().into_iter().filter(|column| ["b", "i4", "i8", "f8", "t", "d", "ts", "a"].contains(&column.name.as_str())).collect();
    for seed in 0..100 {
        let random = &mut StdRng::seed_from_u64(seed);
        let mut text = String::new();
        for _ in 0..random.random_range(1..50) {
            let date = format!("{}-0{}-1{}", random.random_range(1500..2500), random.random_range(1..10), random.random_range(0..10));
            let row = serde_json::json!({
                "b": random.random::<bool>(), "i4": random.random::<i32>(), "i8": random.random::<i64>(), "f8": random.random::<f64>(), "t": random_text(random, &SqlType::Text),
                "d": date, "ts": format!("{date}T0{}:30:00.{:06}", random.random_range(0..10), random.random_range(0..1_000_000)), "a": [1, null, random.random::<i64>()],
            });
            text += &format!("{row}\n");
        }
        let (decoded, failures) = decode(&Format::Ndjson, &columns, text.as_bytes(), 777);
        assert_eq!(failures, []);
        let reader =
            arrow::json::ReaderBuilder::new(decoded.schema()).with_batch_size(1000).build(text.as_bytes()).expect("schema is supported");
        let reference: Vec<RecordBatch> = reader.collect::<Result<_, _>>().expect("arrow reads what is well formed");
        assert_eq!(decoded, concat_batches(&decoded.schema(), &reference).expect("one schema"), "seed {seed}");
    }
}

#[test]
fn plain_csv_equals_arrows_reader() {
    let columns: Vec<Column> =
        ["i8", "f8", "t", "d"].map(|name| all_types().into_iter().find(|column| column.name == name).expect("a type")).to_vec();
    for seed in 0..100 {
        let random = &mut StdRng::seed_from_u64(seed);
        let row = |random: &mut StdRng| {
            format!(
                "{},{},\"a\"\"{}\",19{}-02-03\n",
                random.random::<i64>(),
                random.random::<f64>(),
                random.random::<u8>(),
                random.random_range(10..99)
            )
        };
        let text: String = (0..random.random_range(1..50)).map(|_| row(random)).collect();
        let (decoded, failures) = decode(&Format::Csv(CsvOptions::default()), &columns, text.as_bytes(), 333);
        assert_eq!(failures, []);
        let reader =
            arrow::csv::ReaderBuilder::new(decoded.schema()).with_batch_size(1000).build(text.as_bytes()).expect("schema is supported");
        let reference: Vec<RecordBatch> = reader.collect::<Result<_, _>>().expect("arrow reads what is well formed");
        assert_eq!(decoded, concat_batches(&decoded.schema(), &reference).expect("one schema"), "seed {seed}");
    }
}
