//! CSV and COPY's text format: records of fields between delimiters.
//!
//! CSV as Postgres reads it: quotes may open and close anywhere in a field, an unquoted field equal to a null string is
//! null and a quoted one never is. Text format: backslash escapes, `\N` is null.

use std::borrow::Cow;

use memchr::memchr2;

use super::boundary::Boundary;
use super::rows::RowBuffer;
use super::{CsvHeader, CsvOptions};
use crate::error::sqlstate::{BAD_COPY_FORMAT, DUPLICATE_COLUMN, INVALID_PARAMETER_VALUE, UNDEFINED_COLUMN};
use crate::{Error, Result};

/// How to take a record apart, and where its fields go.
#[derive(Debug)]
pub struct Delimited {
    style: Style,
    delimiter: u8,
    nulls: Vec<String>,
    header: Header,
    /// For each field of a record, the column it goes to.
    targets: Vec<Option<usize>>,
}

/// What is known of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// The next record is one, with names to go by.
    Names,
    /// The next record is one, to be passed over.
    Skipped,
    /// Records are rows.
    Done,
}

#[derive(Debug, Clone, Copy)]
enum Style {
    Csv { quote: u8, escape: u8 },
    CopyText,
}

/// A field's text; `None` is null.
type Field<'a> = Option<Cow<'a, str>>;

impl Delimited {
    /// CSV of `n_columns`.
    pub fn csv(options: &CsvOptions, n_columns: usize) -> Result<Self> {
        let header = match options.header {
            CsvHeader::Absent => Header::Done,
            CsvHeader::Skipped => Header::Skipped,
            CsvHeader::Names => Header::Names,
        };
        let style = Style::Csv { quote: options.quote, escape: options.escape };
        if options.delimiter == options.quote {
            return Err(Error::new(INVALID_PARAMETER_VALUE, "delimiter and quote must be different"));
        }
        Self::new(style, options.delimiter, options.nulls.clone(), header, n_columns)
    }

    /// COPY's text format of `n_columns`.
    pub fn copy_text(delimiter: u8, null: &str, header: bool, n_columns: usize) -> Result<Self> {
        let header = if header { Header::Skipped } else { Header::Done };
        Self::new(Style::CopyText, delimiter, vec![null.into()], header, n_columns)
    }

    fn new(style: Style, delimiter: u8, nulls: Vec<String>, header: Header, n_columns: usize) -> Result<Self> {
        if !delimiter.is_ascii() || matches!(delimiter, b'\n' | b'\r' | b'\\') {
            return Err(Error::new(INVALID_PARAMETER_VALUE, "a delimiter is one character, and no backslash or line end"));
        }
        Ok(Self { style, delimiter, nulls, header, targets: (0..n_columns).map(Some).collect() })
    }

    /// How the ends of records are found.
    pub fn boundary(&self) -> Boundary {
        match self.style {
            Style::Csv { quote, escape } => Boundary::quoted(quote, escape),
            Style::CopyText => Boundary::backslash(),
        }
    }

    /// Whether a header is still to come.
    pub fn header(&self) -> Header {
        self.header
    }

    /// Fields a record has.
    pub fn n_fields(&self) -> usize {
        self.targets.len()
    }

    /// The text format's `\.`.
    pub fn is_end(&self, record: &[u8]) -> bool {
        matches!(self.style, Style::CopyText) && record == b"\\."
    }

    /// Takes `record` as the header of columns with these names.
    pub fn read_header<'n>(&mut self, record: &str, names: impl Iterator<Item = &'n str> + Clone) -> Result<()> {
        if self.header == Header::Names {
            let fields = self.split(record)?;
            let target = |field: &Field<'_>| {
                let field = field.as_deref().map(str::trim)?;
                let by_case = || names.clone().position(|name| name.eq_ignore_ascii_case(field));
                names.clone().position(|name| name == field).or_else(by_case)
            };
            self.targets = fields.iter().map(target).collect();
            let mut used: Vec<usize> = self.targets.iter().flatten().copied().collect();
            used.sort_unstable();
            if used.is_empty() {
                let known: Vec<&str> = names.collect();
                return Err(Error::new(UNDEFINED_COLUMN, format!("the header names none of the columns: \"{record}\""))
                    .with_hint(format!("columns are {}; use header = 'false' if the first line is a row", known.join(", "))));
            }
            if let Some(twice) = used.windows(2).find(|pair| pair[0] == pair[1]) {
                let name = names.clone().nth(twice[0]).unwrap_or_default();
                return Err(Error::new(DUPLICATE_COLUMN, format!("the header names column \"{name}\" twice")));
            }
        }
        self.header = Header::Done;
        Ok(())
    }

    /// Appends the row that `record` is.
    pub fn append_row(&self, rows: &mut RowBuffer, record: &str) -> Result<()> {
        let fields = self.split(record)?;
        if fields.len() > self.targets.len() {
            return Err(Error::new(
                BAD_COPY_FORMAT,
                format!("extra data after last expected column: {} fields, {} expected", fields.len(), self.targets.len()),
            ));
        }
        if fields.len() < self.targets.len() {
            let missing = self.targets[fields.len()].and_then(|column| rows.names().nth(column)).unwrap_or("?").to_owned();
            return Err(Error::new(BAD_COPY_FORMAT, format!("missing data for column \"{missing}\"")));
        }
        rows.append(record.len(), |columns| {
            for (field, target) in fields.iter().zip(&self.targets) {
                let Some(column) = target.map(|target| &mut columns[target]) else { continue };
                let appended = match field {
                    Some(text) => column.append_text(text),
                    None => column.append_null(),
                };
                appended.map_err(|error| super::in_column(error, column.name()))?;
            }
            if self.targets.iter().flatten().count() < columns.len() {
                // The header left columns out.
                let absent = |index: &usize| !self.targets.contains(&Some(*index));
                for index in (0..columns.len()).filter(absent) {
                    columns[index].append_null()?;
                }
            }
            Ok(())
        })
    }

    /// The fields of `record`.
    pub fn split<'a>(&self, record: &'a str) -> Result<Vec<Field<'a>>> {
        let mut fields = Vec::with_capacity(self.targets.len());
        let mut at = 0;
        loop {
            let (field, end) = match self.style {
                Style::Csv { quote, escape } => self.csv_field(record, at, quote, escape)?,
                Style::CopyText => self.text_field(record, at)?,
            };
            fields.push(field);
            if end >= record.len() {
                return Ok(fields);
            }
            at = end + 1;
        }
    }

    /// The CSV field that begins at `start`, and where it ends.
    fn csv_field<'a>(&self, record: &'a str, start: usize, quote: u8, escape: u8) -> Result<(Field<'a>, usize)> {
        let bytes = record.as_bytes();
        let hit = memchr2(self.delimiter, quote, &bytes[start..]).map_or(bytes.len(), |hit| start + hit);
        if bytes.get(hit) != Some(&quote) {
            let field = &record[start..hit];
            return Ok((self.unless_null(Cow::Borrowed(field), field), hit));
        }
        let mut value = record[start..hit].to_owned();
        let mut at = hit;
        while let Some(byte) = bytes.get(at) {
            if *byte == self.delimiter {
                break;
            }
            if *byte == quote {
                at = quoted_part(record, at + 1, quote, escape, &mut value)?;
            } else {
                let end = memchr2(self.delimiter, quote, &bytes[at..]).map_or(bytes.len(), |hit| at + hit);
                value.push_str(&record[at..end]);
                at = end;
            }
        }
        Ok((Some(Cow::Owned(value)), at))
    }

    /// The field of the text format that begins at `start`, and where it ends.
    fn text_field<'a>(&self, record: &'a str, start: usize) -> Result<(Field<'a>, usize)> {
        let bytes = record.as_bytes();
        let mut at = start;
        let mut value: Option<Vec<u8>> = None;
        loop {
            let hit = memchr2(self.delimiter, b'\\', &bytes[at..]).map_or(bytes.len(), |hit| at + hit);
            if let Some(value) = &mut value {
                value.extend_from_slice(&bytes[at..hit]);
            }
            if bytes.get(hit) != Some(&b'\\') {
                let raw = &record[start..hit];
                let text = match value {
                    Some(value) => Cow::Owned(
                        String::from_utf8(value)
                            .map_err(|_| Error::new("22021", "invalid byte sequence for encoding \"UTF8\" after unescaping"))?,
                    ),
                    None => Cow::Borrowed(raw),
                };
                return Ok((self.unless_null(text, raw), hit));
            }
            let value = value.get_or_insert_with(|| bytes[start..hit].to_vec());
            at = hit + 1 + unescape(&bytes[hit + 1..], value);
        }
    }

    /// Null strings are compared with the field as written.
    fn unless_null<'a>(&self, text: Cow<'a, str>, raw: &str) -> Field<'a> {
        if self.nulls.iter().any(|null| null == raw) { None } else { Some(text) }
    }
}

/// Appends what is inside the quotes that opened before `at`; returns the index behind the closing one.
fn quoted_part(record: &str, mut at: usize, quote: u8, escape: u8, value: &mut String) -> Result<usize> {
    let bytes = record.as_bytes();
    loop {
        let Some(hit) = memchr2(quote, escape, &bytes[at..]).map(|hit| at + hit) else {
            return Err(Error::new(BAD_COPY_FORMAT, "unterminated CSV quoted field"));
        };
        value.push_str(&record[at..hit]);
        let next = bytes.get(hit + 1).filter(|next| **next == quote || **next == escape);
        match next {
            Some(next) if bytes[hit] == escape => {
                value.push(char::from(*next));
                at = hit + 2;
            }
            _ if bytes[hit] == quote => return Ok(hit + 1),
            _ => {
                value.push(char::from(escape));
                at = hit + 1;
            }
        }
    }
}

/// Appends the byte that an escape stands for, its backslash having been read; returns how long it is written.
fn unescape(bytes: &[u8], value: &mut Vec<u8>) -> usize {
    let is_octal = |byte: &&u8| matches!(byte, b'0'..=b'7');
    match bytes.first() {
        None => {
            value.push(b'\\');
            0
        }
        Some(b'0'..=b'7') => {
            let digits: Vec<&u8> = bytes.iter().take(3).take_while(is_octal).collect();
            value.push(digits.iter().fold(0u32, |sum, digit| sum * 8 + u32::from(**digit - b'0')) as u8);
            digits.len()
        }
        Some(b'x') if bytes.get(1).is_some_and(u8::is_ascii_hexdigit) => {
            let digits = bytes[1..].iter().take(2).take_while(|byte| byte.is_ascii_hexdigit());
            let digit = |byte: &u8| char::from(*byte).to_digit(16).expect("a checked hexadecimal digit");
            let (length, sum) = digits.fold((1, 0), |(length, sum), byte| (length + 1, sum * 16 + digit(byte)));
            value.push(sum as u8);
            length
        }
        Some(letter) => {
            value.push(match letter {
                b'b' => 8,
                b'f' => 12,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'v' => 11,
                other => *other,
            });
            1
        }
    }
}
