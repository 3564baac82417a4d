//! Every type with good and bad text, as Postgres 15 reads it; the few differences are named.

use super::*;

/// One line per case: `text => value`, or `text => !sqlstate`.
fn check(sql_type: SqlType, cases: &str) {
    for case in cases.lines().map(str::trim_start).filter(|line| !line.is_empty()) {
        let (input, expected) = case.split_once(" => ").unwrap_or_else(|| panic!("no arrow in {case:?}"));
        let input = input.trim_start_matches('\'').trim_end_matches('\'');
        let mut buffer = ColumnBuffer::of_type("c", &sql_type, true);
        let actual = match buffer.append_text(input) {
            Ok(()) => {
                let array = buffer.finish();
                let formatter = ArrayFormatter::try_new(&array, &FormatOptions::new().with_null("NULL")).expect("all types can be shown");
                formatter.value(0).to_string()
            }
            Err(error) => format!("!{}", error.sqlstate),
        };
        assert_eq!(actual, expected, "{sql_type} from {input:?}");
    }
}

#[test]
fn booleans() {
    check(
        SqlType::Boolean,
        "t => true\nTRUE => true\n tr => true\nyes => true\ny => true\non => true\n1 => true\nf => false\nfal => false
        no => false\nOFF => false\nof => false\n0 => false\no => !22P02\n2 => !22P02\n'' => !22P02\ntruex => !22P02\nmaybe => !22P02",
    );
}

#[test]
fn integers() {
    check(
        SqlType::SmallInt,
        "32767 => 32767\n-32768 => -32768\n32768 => !22003\n' 7 ' => 7\n+7 => 7\n1.0 => !22P02\n1e3 => !22P02\n'' => !22P02\n- => !22P02",
    );
    check(
        SqlType::Integer,
        "2147483647 => 2147483647\n-2147483648 => -2147483648\n2147483648 => !22003\n0x1A => !22P02\n1_000 => !22P02\n--1 => !22P02",
    );
    check(
        SqlType::BigInt,
        "9223372036854775807 => 9223372036854775807\n-9223372036854775808 => -9223372036854775808
        9223372036854775808 => !22003\n-9223372036854775809 => !22003\n99999999999999999999999999999 => !22003\n0007 => 7\n١ => !22P02",
    );
}

#[test]
fn floats() {
    check(
        SqlType::Double,
        "1.5 => 1.5\n-0 => -0.0\n1e308 => 1e308\n1e309 => !22003\n1e-400 => !22003\n0e-400 => 0.0\nNaN => NaN\ninf => inf
        -Infinity => -inf\n.5 => 0.5\n5. => 5.0\n'' => !22P02\n1.5x => !22P02\n1,5 => !22P02\n' 2 ' => 2.0\ninfinit => !22P02",
    );
    check(SqlType::Real, "3.4e38 => 3.4e38\n1e39 => !22003\n1e-50 => !22003\n0.1 => 0.1");
}

#[test]
fn numerics() {
    check(SqlType::Numeric(Some((10, 2))), "1.005 => 1.01\n-1.005 => -1.01\n1.004 => 1.00\n99999999.994 => 99999999.99\n99999999.995 => !22003
        1e3 => 1000.00\n1e-3 => 0.00\n5e-3 => 0.01\n12e7 => !22003\n1e1000000000 => !22003\n0e1000000000 => 0.00\n1e-1000000000 => 0.00
        . => !22P02\n1.2.3 => !22P02\n+.5 => 0.50\n7. => 7.00\nNaN => !22003\nabc => !22P02\n0.004999999999999999999999999999999999999999 => 0.00");
    check(
        SqlType::Numeric(None),
        "1 => 1.0000000000\n0.00000000005 => 0.0000000001\n9999999999999999999999999999 => 9999999999999999999999999999.0000000000
        99999999999999999999999999999 => !22003\n-0 => 0.0000000000",
    );
    check(SqlType::Numeric(Some((5, -2))), "12345 => 12300\n12350 => 12400\n50 => 100\n9999949 => 9999900\n9999950 => !22003");
}

#[test]
fn texts() {
    check(SqlType::Text, "abc => abc\n'' => \n' a ' =>  a ");
    check(SqlType::Varchar(Some(5)), "héllo => héllo\nhéllo! => !22001\n'hello   ' => hello\n'hell    ' => hell ");
    check(SqlType::Char(3), "ab => ab\n'ab ' => ab\n'abc  ' => abc\nabcd => !22001");
    check(SqlType::Text, "a\0b => !22021");
}

#[test]
fn bytes_and_uuids() {
    check(
        SqlType::Bytea,
        "\\x0aFF => 0aff\n\\x => \n\\x0 => !22P02\n\\xzz => !22P02\nab\\\\c => 61625c63\n\\001\\377 => 01ff\n\\400 => !22P02\n\\x 0a 0b => 0a0b\n\\q => !22P02",
    );
    let canonical = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    let cases = [
        "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
        "{a0eebc999c0b4ef8bb6d6bb9bd380a11}",
        "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
        canonical,
    ];
    cases.iter().for_each(|text| check(SqlType::Uuid, &format!("{text} => {canonical}")));
    check(SqlType::Uuid, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1 => !22P02\na0eebc99-9c0b-4ef8-bb6d-6bb9bd380a111 => !22P02\na0eebc99--9c0b-4ef8-bb6d-6bb9bd380a11 => !22P02
        -a0eebc999c0b4ef8bb6d6bb9bd380a11 => !22P02\na0eebc999c0b4ef8bb6d6bb9bd380a11- => !22P02\ng0eebc999c0b4ef8bb6d6bb9bd380a11 => !22P02");
}

#[test]
fn dates_and_times() {
    check(SqlType::Date, "2024-02-29 => 2024-02-29\n2023-02-29 => !22008\n2024-13-01 => !22008\n2024-00-01 => !22008\n1969-12-31 => 1969-12-31\n0001-01-01 => 0001-01-01
        20240131 => 2024-01-31\n2024/1/5 => 2024-01-05\n2024-1-5 12:00 => 2024-01-05\n0044-03-15 BC => -0043-03-15\n01-02-2024 => !22007\ntoday => !22007
        infinity => !22007\n2024-02-30x => !22007\n'' => !22007\n99999999999-01-01 => !22007");
    check(SqlType::Time, "12:34:56.789 => 12:34:56.789\n1:02 => 01:02:00\n24:00:00 => !22008\n25:00 => !22008\n12:60 => !22008\n12:34 PM => 12:34:00\n12:00 am => 00:00:00
        13:00 pm => !22008\n123456 => 12:34:56\n12:34:56+02 => 12:34:56\nnoon => !22007");
    check(SqlType::Timestamp, "2024-01-31 12:34:56 => 2024-01-31T12:34:56\n2024-01-31T12:34:56.1234567 => 2024-01-31T12:34:56.123457\n2024-01-31 => 2024-01-31T00:00:00
        2024-01-31T12:34:56Z => 2024-01-31T12:34:56\n2024-01-31 12:34:56+02 => 2024-01-31T12:34:56\n1960-01-01 00:00:00.000001 => 1960-01-01T00:00:00.000001
        2024-01-31 24:00:00 => 2024-02-01T00:00:00\n2024-01-31 24:00:01 => !22008\n2024-06-30 23:59:60 => 2024-07-01T00:00:00\n2024-01-31 23:59:59.9999999 => 2024-02-01T00:00:00
        -0001-05-05 00:00 => -0001-05-05T00:00:00\n9999-12-31 23:59:59.999999 => 9999-12-31T23:59:59.999999\n300000-01-01 => !22008\n5000-01-01 BC => !22008
        2024-01-31 12:34:56 Europe => !22007\n2024-01-31 12 => !22007\n2024-01-31T => !22007\nepoch => 1970-01-01T00:00:00\n1706704496 => !22007\n2024-01-31 12:34:56,5 => 2024-01-31T12:34:56.500");
    check(
        SqlType::TimestampTz,
        "2024-01-31 12:34:56+02 => 2024-01-31T12:34:56Z\n2024-01-31 12:34:56 => 2024-01-31T12:34:56Z"
            .replace("+02 => 2024-01-31T12", "+02 => 2024-01-31T10")
            .as_str(),
    );
    check(SqlType::TimestampTz, "2024-01-31T12:00:00-05:30 => 2024-01-31T17:30:00Z\n2024-01-31T12:00:00+0530 => 2024-01-31T06:30:00Z\n2024-01-31T12:00:00 utc => 2024-01-31T12:00:00Z
        2024-01-31 12:00:00+16 => !22009\n2024-01-31Z => 2024-01-31T00:00:00Z");
}

#[test]
fn the_calendar_has_every_day_once() {
    let mut expected = datetime::days_from_date(-5, 1, 1);
    for year in -5..2105 {
        for month in 1..=12 {
            for day in 1..=31 {
                let text = format!("{}{:04}-{month:02}-{day:02}", if year < 0 { "-" } else { "" }, i32::abs(year));
                if let Ok(days) = datetime::parse_date(&text) {
                    assert_eq!(i64::from(days), expected, "{text}");
                    expected += 1;
                } else {
                    assert!(day > 28, "{text}");
                }
            }
        }
    }
    assert_eq!(datetime::days_from_date(1970, 1, 1), 0);
    assert_eq!(datetime::parse_date("2015-07-15").map(i64::from), Ok(16_631));
    assert_eq!(datetime::parse_date("2015-07-15 +02").map(i64::from), Ok(16_631));
}

#[test]
fn intervals() {
    let parts = |text: &str| {
        interval::parse_interval(text)
            .map(|interval| (interval.months, interval.days, interval.nanoseconds / 1000))
            .map_err(|error| error.sqlstate)
    };
    let hour = 3_600_000_000;
    let cases = [
        ("1 year 2 mons 3 days 04:05:06.7", (14, 3, 4 * hour + 306_700_000)),
        ("1-2", (14, 0, 0)),
        ("-1-2", (-14, 0, 0)),
        ("P1Y2M3DT4H5M6S", (14, 3, 4 * hour + 306_000_000)),
        ("PT0.5S", (0, 0, 500_000)),
        ("P2W", (0, 14, 0)),
        ("3 days ago", (0, -3, 0)),
        ("@ 1 hour", (0, 0, hour)),
        ("90", (0, 0, 90_000_000)),
        ("-04:05", (0, 0, -4 * hour - 300_000_000)),
        ("1.5 days", (0, 1, 12 * hour)),
        ("1.5 months", (1, 15, 0)),
        ("1.5 years", (18, 0, 0)),
        ("5 minutes", (0, 0, hour / 12)),
        ("10s", (0, 0, 10_000_000)),
        ("1day 2h", (0, 1, 2 * hour)),
        ("-0.5 s", (0, 0, -500_000)),
        ("100:00:00", (0, 0, 100 * hour)),
        ("1 week -1 day", (0, 6, 0)),
        ("2 milliseconds 3 us", (0, 0, 2003)),
        ("-1 days +02:00", (0, -1, 2 * hour)),
    ];
    for (text, expected) in cases {
        assert_eq!(parts(text), Ok(expected), "{text}");
    }
    for text in ["", "abc", "1 fortnight", "P", "PT", "P1", "P1H", "1:2:3:4", "1 day 2 foo", "1:99", "--1 day", "ago"] {
        assert_eq!(parts(text), Err("22007"), "{text}");
    }
    assert_eq!(parts("9999999999 days"), Err("22015"));
    assert_eq!(parts("300000 hours"), Ok((0, 0, 300_000 * hour)));
}

#[test]
fn json_arrays_and_structs() {
    check(SqlType::Json, "{\"a\" : 1} => {\"a\" : 1}\n{a:1} => !22P02\n'' => !22P02\n1 2 => !22P02");
    check(SqlType::Jsonb, "{\"b\":1,\"a\":2, \"b\":3} => {\"a\": 2, \"b\": 3}\nnull => null\n[1,{}] => [1, {}]\nNaN => !22P02");
    let array = SqlType::Array(Box::new(SqlType::BigInt));
    check(
        array.clone(),
        "{1,2,NULL} => [1, 2, NULL]\n{} => []\n[1,2,null] => [1, 2, NULL]\n{1,x} => !22P02\n{1,} => !22P02\n{1 => !22P02\n1,2 => !22P02\n{99999999999999999999} => !22003\n[1,[2]] => !22P02",
    );
    check(SqlType::Array(Box::new(array)), "{{1,2},{3}} => [[1, 2], [3]]\n[[1],[],null] => [[1], [], NULL]\n{{1},2} => !22P02");
    check(
        SqlType::Array(Box::new(SqlType::Text)),
        "{a,\"b,c\",\"NULL\",null,\"d\\\"e\", f g } => [a, b,c, NULL, NULL, d\"e, f g]\n{a\"b\"} => [ab]\n{\"a} => !22P02",
    );
    let record = SqlType::Struct(vec![("x".into(), SqlType::BigInt), ("y".into(), SqlType::Varchar(Some(2)))]);
    check(
        record,
        "{\"y\":\"ab\",\"x\":1} => {x: 1, y: ab}\n{\"x\":1,\"z\":2} => {x: 1, y: NULL}\n{\"y\":\"abc\"} => !22001\n[] => !22P02\n{\"x\":\"1\"} => {x: 1, y: NULL}\nx => !22P02",
    );
}

#[test]
fn a_value_alone_is_a_scalar() {
    assert_eq!(parse_text(&SqlType::BigInt, "7").ok(), Some(ScalarValue::Int64(Some(7))));
    assert_eq!(parse_text(&SqlType::Varchar(Some(2)), "abc").map_err(|error| error.sqlstate), Err("22001"));
    assert_eq!(parse_text(&SqlType::Timestamp, "1970-01-01 00:00:01").ok(), Some(ScalarValue::TimestampMicrosecond(Some(1_000_000), None)));
}
