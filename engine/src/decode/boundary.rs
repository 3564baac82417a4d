//! Where a record ends: at a line end that is not inside quotes or behind a backslash.
//!
//! Bytes are looked at once, however they are cut into pieces.

use memchr::{memchr, memchr2};

/// Finds ends of records; remembers what it has to between pieces.
#[derive(Debug, Clone)]
pub struct Boundary {
    rule: Rule,
    in_quotes: bool,
    /// The last byte of the piece before was an escape: the next byte means itself.
    escaped: bool,
}

#[derive(Debug, Clone, Copy)]
enum Rule {
    /// A line is a record.
    Lines,
    /// A line end inside quotes is a part of the value.
    Quotes { quote: u8, escape: u8 },
    /// A line end behind a backslash is a part of the value.
    Backslash,
}

impl Boundary {
    /// For NDJSON.
    pub fn lines() -> Self {
        Self::of(Rule::Lines)
    }

    /// For CSV.
    pub fn quoted(quote: u8, escape: u8) -> Self {
        Self::of(Rule::Quotes { quote, escape })
    }

    /// For COPY's text format.
    pub fn backslash() -> Self {
        Self::of(Rule::Backslash)
    }

    fn of(rule: Rule) -> Self {
        Self { rule, in_quotes: false, escaped: false }
    }

    /// The index behind the line end that ends the record, if it is in `bytes`, which follow those of the call before.
    pub fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        match self.rule {
            Rule::Lines => memchr(b'\n', bytes).map(|end| end + 1),
            Rule::Quotes { quote, escape } => self.find_unquoted(bytes, quote, escape),
            Rule::Backslash => self.find_unescaped(bytes),
        }
    }

    /// The next line end counts, whatever quotes are open. True when some were.
    pub fn leave_quotes(&mut self) -> bool {
        std::mem::take(&mut self.in_quotes)
    }

    fn find_unquoted(&mut self, bytes: &[u8], quote: u8, escape: u8) -> Option<usize> {
        let mut at = usize::from(std::mem::take(&mut self.escaped) && !bytes.is_empty());
        loop {
            let rest = bytes.get(at..)?;
            let hit = at
                + match self.in_quotes {
                    true => memchr2(quote, escape, rest)?,
                    false => memchr2(quote, b'\n', rest)?,
                };
            at = hit + 1;
            match bytes[hit] {
                b'\n' if !self.in_quotes => return Some(at),
                // A doubled quote closes and opens again, which comes to the same here.
                byte if byte == quote => self.in_quotes = !self.in_quotes,
                _ => {
                    self.escaped = at == bytes.len();
                    at += 1;
                }
            }
        }
    }

    fn find_unescaped(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = usize::from(std::mem::take(&mut self.escaped) && !bytes.is_empty());
        loop {
            let hit = at + memchr2(b'\n', b'\\', bytes.get(at..)?)?;
            if bytes[hit] == b'\n' {
                return Some(hit + 1);
            }
            self.escaped = hit + 1 == bytes.len();
            at = hit + 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(mut boundary: Boundary, text: &str, piece: usize) -> Vec<String> {
        let mut records = vec![String::new()];
        for bytes in text.as_bytes().chunks(piece) {
            let mut rest = bytes;
            while let Some(end) = boundary.find(rest) {
                *records.last_mut().expect("never empty") += std::str::from_utf8(&rest[..end]).expect("ascii");
                records.push(String::new());
                rest = &rest[end..];
            }
            *records.last_mut().expect("never empty") += std::str::from_utf8(rest).expect("ascii");
        }
        records
    }

    #[test]
    fn pieces_do_not_change_the_records() {
        let csv = "a,\"b\nc\",\"d\"\"\n\"\n\"x\\\"\n\",1\nlast";
        let text = "a\\\nb\tc\\\\\nd\n\\";
        for piece in 1..40 {
            let quoted = records(Boundary::quoted(b'"', b'"'), csv, piece);
            assert_eq!(quoted, ["a,\"b\nc\",\"d\"\"\n\"\n", "\"x\\\"\n", "\",1\nlast"], "pieces of {piece}");
            let escaped = records(Boundary::quoted(b'"', b'\\'), "\"x\\\"\n\",1\nlast", piece);
            assert_eq!(escaped, ["\"x\\\"\n\",1\n", "last"], "pieces of {piece}");
            assert_eq!(records(Boundary::backslash(), text, piece), ["a\\\nb\tc\\\\\n", "d\n", "\\"], "pieces of {piece}");
        }
    }
}
