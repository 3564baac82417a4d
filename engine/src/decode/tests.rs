//! The decoder against tables of texts, against obvious references, and against bytes nobody would write.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::util::display::{ArrayFormatter, DurationFormat, FormatOptions};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::infer::column;
use super::*;

mod formats;
mod poison;
mod property;
mod types;

/// All columns of every SQL type there is, named by the type's first letters.
fn all_types() -> Vec<Column> {
    use SqlType::*;
    let types = [
        ("b", Boolean),
        ("i2", SmallInt),
        ("i4", Integer),
        ("i8", BigInt),
        ("f4", Real),
        ("f8", Double),
        ("n", Numeric(None)),
        ("n2", Numeric(Some((10, 2)))),
        ("t", Text),
        ("v", Varchar(Some(5))),
        ("c", Char(3)),
        ("y", Bytea),
        ("d", Date),
        ("h", Time),
        ("ts", Timestamp),
        ("tz", TimestampTz),
        ("iv", Interval),
        ("u", Uuid),
        ("j", Json),
        ("jb", Jsonb),
        ("a", Array(Box::new(BigInt))),
        ("s", Struct(vec![("x".into(), BigInt), ("y z".into(), Text)])),
    ];
    types.map(|(name, sql_type)| column(name, sql_type)).to_vec()
}

/// What a decoder makes of `bytes` pushed in pieces.
fn decode(format: &Format, columns: &[Column], bytes: &[u8], piece: usize) -> (RecordBatch, Vec<DecodeFailure>) {
    let mut decoder = Decoder::new(format, columns).expect("the test's format is valid");
    for piece in bytes.chunks(piece.max(1)) {
        decoder.push(piece).expect("the test's header is usable");
    }
    decoder.finish().expect("the test's header is usable");
    assert!(decoder.ended || decoder.offset() == bytes.len() as u64, "all bytes belong to a record");
    let (batches, failures) = decoder.take();
    (concat_batches(decoder.schema(), &batches).expect("batches have the decoder's schema"), failures)
}

/// Rows as text, values between bars.
fn show(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::new().with_null("NULL").with_duration_format(DurationFormat::Pretty);
    let formatters: Vec<_> =
        batch.columns().iter().map(|array| ArrayFormatter::try_new(array, &options).expect("all types can be shown")).collect();
    let cell = |formatter: &ArrayFormatter<'_>, row| formatter.value(row).to_string();
    (0..batch.num_rows()).map(|row| formatters.iter().map(|formatter| cell(formatter, row)).collect::<Vec<_>>().join("|")).collect()
}

/// What COPY's text or CSV lines decode to: rows and failures in one text.
fn script(format: &Format, columns: &[Column], text: &str) -> String {
    let (rows, failures) = decode(format, columns, text.as_bytes(), usize::MAX);
    let failures = failures.iter().map(|failure| format!("{} [{}] {}", failure.position, failure.sqlstate, failure.error));
    show(&rows).into_iter().chain(failures).collect::<Vec<_>>().join("\n")
}
