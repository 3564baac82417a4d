//! Rows in COPY's text format and in CSV, byte for byte as Postgres's `COPY … TO STDOUT` writes them.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use engine::plan::statement::{CopyFormat, CopyKind};
use engine::{Error, Result};

use super::text::TextColumn;

/// Writes batches as lines of one format.
#[derive(Debug, Clone)]
pub struct CopyEncoder {
    format: CopyFormat,
    n_columns: usize,
}

impl CopyEncoder {
    /// Refuses the binary format with `0A000`.
    pub fn new(format: CopyFormat, n_columns: usize) -> Result<Self> {
        if format.kind == CopyKind::Binary {
            return Err(Error::unsupported("COPY in binary format is not supported", "use FORMAT text or FORMAT csv"));
        }
        Ok(Self { format, n_columns })
    }

    /// The first line when HEADER is on.
    pub fn header(&self, schema: &SchemaRef) -> Option<Vec<u8>> {
        self.format.header.then(|| {
            let mut line = Vec::new();
            for (index, field) in schema.fields().iter().enumerate() {
                self.separate(&mut line, index);
                self.write_text(&mut line, field.name().as_bytes());
            }
            line.push(b'\n');
            line
        })
    }

    /// The rows of a batch, one line each.
    pub fn lines(&self, batch: &RecordBatch) -> Result<Vec<Vec<u8>>> {
        let schema = batch.schema();
        let columns: Vec<TextColumn> =
            schema.fields().iter().zip(batch.columns()).map(|(field, array)| TextColumn::new(field, array)).collect::<Result<_>>()?;
        let mut text = Vec::new();
        Ok((0..batch.num_rows())
            .map(|row| {
                let mut line = Vec::new();
                for (index, column) in columns.iter().enumerate() {
                    self.separate(&mut line, index);
                    if column.is_null(row) {
                        line.extend_from_slice(self.format.null.as_bytes());
                    } else {
                        text.clear();
                        column.write(&mut text, row);
                        self.write_text(&mut line, &text);
                    }
                }
                line.push(b'\n');
                line
            })
            .collect())
    }

    fn separate(&self, line: &mut Vec<u8>, index: usize) {
        if index > 0 {
            push_char(line, self.format.delimiter);
        }
    }

    fn write_text(&self, line: &mut Vec<u8>, text: &[u8]) {
        match self.format.kind {
            CopyKind::Csv => self.write_csv(line, text),
            CopyKind::Text | CopyKind::Binary => write_escaped(line, text, self.format.delimiter),
        }
    }

    /// Quoted when it would otherwise read as something else: null, an end of data, or more than one value.
    fn write_csv(&self, line: &mut Vec<u8>, text: &[u8]) {
        let CopyFormat { delimiter, quote, escape, .. } = self.format;
        let (quote, escape) = (one_byte(quote), one_byte(escape));
        let special = |byte: &u8| *byte == quote || *byte == one_byte(delimiter) || matches!(byte, b'\n' | b'\r');
        let ends_data = self.n_columns == 1 && text == b"\\.";
        if text != self.format.null.as_bytes() && !ends_data && !text.iter().any(special) {
            line.extend_from_slice(text);
            return;
        }
        line.push(quote);
        for byte in text {
            if *byte == quote || *byte == escape {
                line.push(escape);
            }
            line.push(*byte);
        }
        line.push(quote);
    }
}

fn write_escaped(line: &mut Vec<u8>, text: &[u8], delimiter: char) {
    for byte in text {
        let letter = match byte {
            b'\\' => b'\\',
            0x08 => b'b',
            0x0c => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x0b => b'v',
            byte if *byte == one_byte(delimiter) => *byte,
            byte => {
                line.push(*byte);
                continue;
            }
        };
        line.extend_from_slice(&[b'\\', letter]);
    }
}

fn push_char(line: &mut Vec<u8>, char: char) {
    line.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
}

/// COPY allows single-byte delimiters, quotes and escapes only; 0xff never occurs in UTF-8, so it matches nothing.
fn one_byte(char: char) -> u8 {
    u8::try_from(char).ok().filter(u8::is_ascii).unwrap_or(0xff)
}
