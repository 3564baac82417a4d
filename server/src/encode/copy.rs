//! Rows in COPY's text, CSV and binary formats, byte for byte as Postgres's `COPY … TO STDOUT` writes them.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use engine::Result;
use engine::plan::statement::{CopyFormat, CopyKind};

use super::binary::write_sized;
use super::column::{Column, Style};

/// What binary data begins with: a signature that shows what a transfer broke, flags, and no extension of the header.
pub const BINARY_SIGNATURE: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What binary data ends with: a row of -1 columns.
const BINARY_TRAILER: [u8; 2] = (-1_i16).to_be_bytes();

/// Writes batches as lines of one format, or as binary rows.
#[derive(Debug, Clone)]
pub struct CopyEncoder {
    format: CopyFormat,
    n_columns: usize,
    style: Style,
}

impl CopyEncoder {
    /// An encoder of rows with `n_columns` columns.
    pub fn new(format: CopyFormat, n_columns: usize, style: Style) -> Self {
        Self { format, n_columns, style }
    }

    /// 1 for binary, 0 for text, as CopyOutResponse says it.
    pub fn format_code(&self) -> i8 {
        i8::from(self.format.kind == CopyKind::Binary)
    }

    /// What stands before the first row: the signature of binary data, or the names of the columns when HEADER is on.
    pub fn header(&self, schema: &SchemaRef) -> Option<Vec<u8>> {
        if self.format.kind == CopyKind::Binary {
            return Some(BINARY_SIGNATURE.to_vec());
        }
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

    /// What stands behind the last row.
    pub fn trailer(&self) -> Option<Vec<u8>> {
        (self.format.kind == CopyKind::Binary).then(|| BINARY_TRAILER.to_vec())
    }

    /// The rows of a batch.
    pub fn rows(&self, batch: &RecordBatch) -> Result<Vec<Vec<u8>>> {
        let columns = Column::of_batch(batch, &self.style)?;
        let mut text = Vec::new();
        let mut row_of = |row: usize| match self.format.kind {
            CopyKind::Binary => self.binary_row(&columns, row),
            CopyKind::Text | CopyKind::Csv => self.line(&columns, row, &mut text),
        };
        Ok((0..batch.num_rows()).map(&mut row_of).collect())
    }

    fn binary_row(&self, columns: &[Column], row: usize) -> Vec<u8> {
        let mut bytes = (self.n_columns as i16).to_be_bytes().to_vec();
        columns.iter().for_each(|column| write_sized(&mut bytes, column, row));
        bytes
    }

    fn line(&self, columns: &[Column], row: usize, text: &mut Vec<u8>) -> Vec<u8> {
        let mut line = Vec::new();
        for (index, column) in columns.iter().enumerate() {
            self.separate(&mut line, index);
            if column.is_null(row) {
                line.extend_from_slice(self.format.null.as_bytes());
            } else {
                text.clear();
                column.write_text(text, row);
                self.write_text(&mut line, text);
            }
        }
        line.push(b'\n');
        line
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

/// Appends a value of COPY's text format.
pub fn write_escaped(line: &mut Vec<u8>, text: &[u8], delimiter: char) {
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
