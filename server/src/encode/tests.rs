//! Values and their texts, as PostgreSQL 15 prints them.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::*;
use catalog::SqlType;
use engine::plan::statement::{CopyFormat, CopyKind};

use super::column::{Column, Style};
use super::copy::CopyEncoder;
use super::{aligned, json, pg_type};

/// The texts of a column, `NULL` for null.
fn texts(field: &Field, array: impl Array + 'static) -> Vec<String> {
    let array: ArrayRef = Arc::new(array);
    let column = Column::new(field, &array, &Style::default()).expect("the type has a text");
    let text = |row| {
        let mut out = Vec::new();
        column.write_text(&mut out, row);
        String::from_utf8(out).expect("texts are UTF-8")
    };
    (0..array.len()).map(|row| if column.is_null(row) { "NULL".to_owned() } else { text(row) }).collect()
}

fn plain(array: impl Array + 'static) -> Vec<String> {
    texts(&Field::new("c", array.data_type().clone(), true), array)
}

#[test]
fn booleans_and_integers() {
    assert_eq!(plain(BooleanArray::from(vec![Some(true), Some(false), None])), ["t", "f", "NULL"]);
    assert_eq!(plain(Int8Array::from(vec![-8, 127])), ["-8", "127"]);
    assert_eq!(plain(Int16Array::from(vec![i16::MIN])), ["-32768"]);
    assert_eq!(plain(Int64Array::from(vec![i64::MIN, 0, i64::MAX])), ["-9223372036854775808", "0", "9223372036854775807"]);
    assert_eq!(plain(UInt64Array::from(vec![u64::MAX])), ["18446744073709551615"]);
    assert_eq!(plain(NullArray::new(2)), ["NULL", "NULL"]);
}

#[test]
fn floats_are_the_shortest_that_read_back() {
    let doubles = [
        (0.1, "0.1"),
        (1.0, "1"),
        (-0.0, "-0"),
        (1e20, "1e+20"),
        (1e15, "1e+15"),
        (1e14, "100000000000000"),
        (123456789012345.6, "123456789012345.6"),
        (1e-4, "0.0001"),
        (1e-5, "1e-05"),
        (1.5e-7, "1.5e-07"),
        (f64::MAX, "1.7976931348623157e+308"),
        (5e-324, "5e-324"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "Infinity"),
        (f64::NEG_INFINITY, "-Infinity"),
        (-2.5, "-2.5"),
        (0.1 + 0.2, "0.30000000000000004"),
    ];
    let (values, expected): (Vec<f64>, Vec<&str>) = doubles.into_iter().unzip();
    assert_eq!(plain(Float64Array::from(values)), expected);
    let reals = [
        (0.1_f32, "0.1"),
        (1e6, "1e+06"),
        (123456.0, "123456"),
        (1234567.0, "1.234567e+06"),
        (1e-4, "0.0001"),
        (3.4028235e38, "3.4028235e+38"),
        (16777216.0, "1.6777216e+07"),
    ];
    let (values, expected): (Vec<f32>, Vec<&str>) = reals.into_iter().unzip();
    assert_eq!(plain(Float32Array::from(values)), expected);
}

#[test]
fn numerics_keep_their_scale() {
    let decimal =
        |values: Vec<i128>, precision, scale| Decimal128Array::from(values).with_precision_and_scale(precision, scale).expect("fits");
    assert_eq!(plain(decimal(vec![0, 5, -5, 12345, -100], 10, 2)), ["0.00", "0.05", "-0.05", "123.45", "-1.00"]);
    assert_eq!(plain(decimal(vec![7, -7, 0], 10, 0)), ["7", "-7", "0"]);
    assert_eq!(plain(decimal(vec![7, 0], 10, -3)), ["7000", "0"]);
    let unscaled = SqlType::Numeric(None).field("c", true);
    let (precision, scale) = catalog::types::NUMERIC_DEFAULT;
    let unscaled_values = decimal(vec![15000_000000, 10000_000000, 1, -250000_000000], precision, scale);
    assert_eq!(texts(&unscaled, unscaled_values), ["1.5", "1", "0.0000000001", "-25"]);
}

#[test]
fn dates_and_times() {
    assert_eq!(
        plain(Date32Array::from(vec![0, -1, 16_631, 2_932_896, -719_528, -719_529])),
        ["1970-01-01", "1969-12-31", "2015-07-15", "9999-12-31", "0001-01-01 BC", "0002-12-31 BC"]
    );
    assert_eq!(plain(Time64MicrosecondArray::from(vec![0, 86_399_999_999, 3_723_500_000])), ["00:00:00", "23:59:59.999999", "01:02:03.5"]);
    let micros = vec![0, -1, 1_436_918_400_123_000, 1_436_918_400_000_001];
    assert_eq!(
        plain(TimestampMicrosecondArray::from(micros.clone())),
        ["1970-01-01 00:00:00", "1969-12-31 23:59:59.999999", "2015-07-15 00:00:00.123", "2015-07-15 00:00:00.000001"]
    );
    assert_eq!(plain(TimestampMicrosecondArray::from(micros).with_timezone("UTC"))[2], "2015-07-15 00:00:00.123+00");
    assert_eq!(plain(TimestampMicrosecondArray::from(vec![-62_193_657_600_000_000]).with_timezone("UTC")), ["0002-03-01 00:00:00+00 BC"]);
    assert_eq!(plain(TimestampSecondArray::from(vec![1])), ["1970-01-01 00:00:01"]);
}

#[test]
fn intervals() {
    let interval = |months, days, micros: i64| IntervalMonthDayNano::new(months, days, micros * 1000);
    let second = 1_000_000;
    let cases = [
        (interval(0, 0, 0), "00:00:00"),
        (interval(0, 1, 7_383 * second), "1 day 02:03:03"),
        (interval(-1, 0, 0), "-1 mons"),
        (interval(1, 0, 0), "1 mon"),
        (interval(14, -2, 0), "1 year 2 mons -2 days"),
        (interval(-1, 2, 3 * second), "-1 mons +2 days 00:00:03"),
        (interval(0, -1, 3 * second), "-1 days +00:00:03"),
        (interval(0, 0, -1_500_000), "-00:00:01.5"),
        (interval(0, 0, 100 * 3600 * second), "100:00:00"),
    ];
    let (values, expected): (Vec<_>, Vec<&str>) = cases.into_iter().unzip();
    assert_eq!(plain(IntervalMonthDayNanoArray::from(values)), expected);
}

#[test]
fn bytes_arrays_and_structs() {
    assert_eq!(plain(BinaryArray::from_vec(vec![b"", b"\x00\xffA"])), ["\\x", "\\x00ff41"]);
    let items = StringArray::from(vec![Some("a"), Some("b c"), None, Some(""), Some("null"), Some("x\"y\\z"), Some("p,q")]);
    let field = Arc::new(Field::new_list_field(DataType::Utf8, true));
    let list = ListArray::new(field, OffsetBuffer::new(vec![0, 7, 7].into()), Arc::new(items), None);
    assert_eq!(plain(list), ["{a,\"b c\",NULL,\"\",\"null\",\"x\\\"y\\\\z\",\"p,q\"}", "{}"]);

    let inner = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), Some(vec![Some(3)])]);
    let field = Arc::new(Field::new_list_field(inner.data_type().clone(), true));
    let nested = ListArray::new(field, OffsetBuffer::new(vec![0, 2].into()), Arc::new(inner), None);
    assert_eq!(plain(nested), ["{{1,NULL},{3}}"]);

    let fields = Fields::from(vec![Field::new("a", DataType::Int32, true), Field::new("b", DataType::Utf8, true)]);
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int32Array::from(vec![Some(1), None])), Arc::new(StringArray::from(vec![Some("x \"y\""), Some("")]))];
    assert_eq!(plain(StructArray::new(fields, columns, None)), ["(1,\"x \"\"y\"\"\")", "(,\"\")"]);
}

#[test]
fn row_description_has_oid_length_and_modifier() {
    let describe = |sql_type: SqlType| {
        let pg_type = pg_type::pg_type(&sql_type.field("c", true));
        (pg_type.oid, pg_type.length, pg_type.modifier)
    };
    assert_eq!(describe(SqlType::BigInt), (20, 8, -1));
    assert_eq!(describe(SqlType::Varchar(Some(5))), (1043, -1, 9));
    assert_eq!(describe(SqlType::Numeric(Some((12, 3)))), (1700, -1, 786_439));
    assert_eq!(describe(SqlType::Uuid), (2950, 16, -1));
    assert_eq!(describe(SqlType::Array(Box::new(SqlType::Integer))), (1007, -1, -1));
    assert_eq!(describe(SqlType::Struct(vec![("a".into(), SqlType::Text)])), (2249, -1, -1));
}

fn text_batch(values: Vec<Option<&str>>) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("n", DataType::Int32, false), Field::new("t", DataType::Utf8, true)]);
    let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..values.len() as i32));
    RecordBatch::try_new(Arc::new(schema), vec![numbers, Arc::new(StringArray::from(values))]).expect("two columns of one length")
}

fn copy_lines(kind: CopyKind, values: Vec<Option<&str>>) -> String {
    let (delimiter, null) = if kind == CopyKind::Csv { (',', "") } else { ('\t', "\\N") };
    let format = CopyFormat { kind, delimiter, header: true, null: null.into(), quote: '"', escape: '"' };
    let encoder = CopyEncoder::new(format, 2, Style::default());
    let batch = text_batch(values);
    let mut lines = encoder.header(&batch.schema()).expect("HEADER is on");
    lines.extend(encoder.rows(&batch).expect("both types have texts").concat());
    String::from_utf8(lines).expect("texts are UTF-8")
}

#[test]
fn copy_text_escapes() {
    let values = vec![None, Some(""), Some("a\tb\\c\nd"), Some("\\N")];
    assert_eq!(copy_lines(CopyKind::Text, values), "n\tt\n0\t\\N\n1\t\n2\ta\\tb\\\\c\\nd\n3\t\\\\N\n");
}

#[test]
fn csv_tells_null_from_empty() {
    let values = vec![None, Some(""), Some("a,b"), Some("say \"hi\""), Some("two\nlines"), Some(" x ")];
    assert_eq!(copy_lines(CopyKind::Csv, values), "n,t\n0,\n1,\"\"\n2,\"a,b\"\n3,\"say \"\"hi\"\"\"\n4,\"two\nlines\"\n5, x \n");
}

#[test]
fn json_rows() {
    let batch = text_batch(vec![Some("a\"b"), None]);
    assert_eq!(serde_json::to_string(&json::rows(&batch).expect("both types")).expect("JSON"), r#"[[0,"a\"b"],[1,null]]"#);
    assert_eq!(json::columns(&batch.schema()).to_string(), r#"[{"name":"n","type":"integer"},{"name":"t","type":"text"}]"#);
}

#[test]
fn aligned_as_psql() {
    let batch = text_batch(vec![Some("first"), None]);
    let expected = " n |   t\n---+-------\n 0 | first\n 1 |\n(2 rows)\n";
    assert_eq!(aligned::table(&batch.schema(), &[batch]).expect("both types"), expected);
}
