//! A strict JSON reader (RFC 8259) that gives out spans of the text instead of building values.
//!
//! Guaranteed: what is accepted is JSON, also in the parts that nobody reads; nesting deeper than [`MAX_DEPTH`] is an error,
//! not a stack overflow. The text is `str`, so it is valid UTF-8 already.

use crate::error::sqlstate::INVALID_TEXT;
use crate::{Error, Result};

/// Deepest nesting accepted; other readers of stored JSON stop a little later, so what is stored can be read.
pub const MAX_DEPTH: usize = 128;

/// A value in the text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Value<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its text, quotes and brackets included.
    pub raw: &'a str,
}

/// Kinds of JSON values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are JSON's own")]
pub enum Kind {
    Null,
    True,
    False,
    Number,
    String {
        /// Has a backslash in it.
        escaped: bool,
    },
    Array,
    Object,
}

/// Reads one value after another.
#[derive(Debug)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
}

/// The one value that is all of `text`.
pub fn parse(text: &str) -> Result<Value<'_>> {
    let mut reader = Reader::new(text);
    let value = reader.value(0)?;
    reader.end()?;
    Ok(value)
}

impl<'a> Reader<'a> {
    /// At the start of `text`.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next value, checked to its end; `depth` is how many it is inside of.
    pub fn value(&mut self, depth: usize) -> Result<Value<'a>> {
        self.skip_space();
        let start = self.at;
        let kind = match self.peek() {
            Some(b'"') => Kind::String { escaped: self.string()? },
            Some(b'{') => self.skip_object(depth)?,
            Some(b'[') => self.skip_array(depth)?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.literal("true", Kind::True)?,
            Some(b'f') => self.literal("false", Kind::False)?,
            Some(b'n') => self.literal("null", Kind::Null)?,
            _ => return Err(self.unexpected("a value")),
        };
        Ok(Value { kind, raw: &self.text[start..self.at] })
    }

    /// Calls `each` with every key (quotes included) and value of the object that starts here.
    pub fn object(&mut self, depth: usize, mut each: impl FnMut(Value<'a>, Value<'a>) -> Result<()>) -> Result<()> {
        self.enter(b'{', "an object", depth)?;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            self.skip_space();
            let start = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("a key"));
            }
            let kind = Kind::String { escaped: self.string()? };
            let key = Value { kind, raw: &self.text[start..self.at] };
            self.expect(b':', "a colon")?;
            each(key, self.value(depth + 1)?)?;
            if self.take(b'}') {
                return Ok(());
            }
            self.expect(b',', "a comma or a closing brace")?;
        }
    }

    /// Calls `each` with every element of the array that starts here.
    pub fn array(&mut self, depth: usize, mut each: impl FnMut(Value<'a>) -> Result<()>) -> Result<()> {
        self.enter(b'[', "an array", depth)?;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            each(self.value(depth + 1)?)?;
            if self.take(b']') {
                return Ok(());
            }
            self.expect(b',', "a comma or a closing bracket")?;
        }
    }

    /// Nothing but space is left.
    pub fn end(&mut self) -> Result<()> {
        self.skip_space();
        match self.at == self.text.len() {
            true => Ok(()),
            false => Err(self.unexpected("the end")),
        }
    }

    fn skip_object(&mut self, depth: usize) -> Result<Kind> {
        self.object(depth, |_, _| Ok(()))?;
        Ok(Kind::Object)
    }

    fn skip_array(&mut self, depth: usize) -> Result<Kind> {
        self.array(depth, |_| Ok(()))?;
        Ok(Kind::Array)
    }

    fn enter(&mut self, open: u8, what: &str, depth: usize) -> Result<()> {
        if depth >= MAX_DEPTH {
            return Err(invalid(format!("nested more than {MAX_DEPTH} levels deep")));
        }
        self.expect(open, what)
    }

    /// Passes over a string; true when it has a backslash. Escapes are checked here so that a later unescape cannot fail
    /// but for surrogates and NUL.
    fn string(&mut self) -> Result<bool> {
        let bytes = self.text.as_bytes();
        self.at += 1;
        let mut escaped = false;
        loop {
            self.at += plain_length(&bytes[self.at..]);
            match bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.at += self.escape_length()?;
                }
                Some(_) => return Err(self.unexpected("no control character in a string")),
                None => return Err(self.unexpected("the end of a string")),
            }
        }
    }

    fn escape_length(&self) -> Result<usize> {
        let bytes = &self.text.as_bytes()[self.at + 1..];
        match bytes.first() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
            Some(b'u') if bytes.len() >= 5 && bytes[1..5].iter().all(u8::is_ascii_hexdigit) => Ok(6),
            _ => Err(self.unexpected("an escape sequence")),
        }
    }

    fn number(&mut self) -> Result<Kind> {
        self.at += usize::from(self.peek() == Some(b'-'));
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(Kind::Number)
    }

    fn digits(&mut self) -> Result<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err(self.unexpected("a digit")) } else { Ok(()) }
    }

    fn literal(&mut self, word: &str, kind: Kind) -> Result<Kind> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.unexpected("a value"));
        }
        self.at += word.len();
        Ok(kind)
    }

    fn expect(&mut self, byte: u8, what: &str) -> Result<()> {
        if self.take(byte) { Ok(()) } else { Err(self.unexpected(what)) }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn unexpected(&self, wanted: &str) -> Error {
        let found = match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            Some(found) => format!("\"{}\"", found.escape_default()),
            None => "the end".into(),
        };
        invalid(format!("expected {wanted} at byte {}, found {found}", self.at + 1))
    }
}

/// The text a JSON string stands for. Fails on what Postgres refuses in text: NUL and lone surrogates.
pub fn unescape(raw: &str, out: &mut String) -> Result<()> {
    let mut rest = &raw[1..raw.len() - 1];
    while let Some(backslash) = rest.find('\\') {
        out.push_str(&rest[..backslash]);
        let (character, length) = escape(&rest[backslash..])?;
        out.push(character);
        rest = &rest[backslash + length..];
    }
    out.push_str(rest);
    Ok(())
}

/// The character at the start of `text`, which begins with a checked escape, and how long it is written.
fn escape(text: &str) -> Result<(char, usize)> {
    let character = match text.as_bytes()[1] {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode_escape(text),
        other => char::from(other),
    };
    Ok((character, 2))
}

fn unicode_escape(text: &str) -> Result<(char, usize)> {
    let unit = |from: usize| text.get(from..from + 4).and_then(|hex| u32::from_str_radix(hex, 16).ok());
    let first = unit(2).expect("the reader has checked the four digits");
    let pair = |second: u32| 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
    match first {
        0 => Err(Error::new("22P05", "unsupported Unicode escape sequence").with_detail("\\u0000 cannot be converted to text")),
        0xD800..=0xDBFF => match unit(8).filter(|second| text[6..].starts_with("\\u") && (0xDC00..0xE000).contains(second)) {
            Some(second) => Ok((char::from_u32(pair(second)).expect("a surrogate pair is a character"), 12)),
            None => Err(invalid("a Unicode high surrogate must be followed by a low one")),
        },
        _ => match char::from_u32(first) {
            Some(character) => Ok((character, 6)),
            None => Err(invalid("a Unicode low surrogate must follow a high one")),
        },
    }
}

/// How many bytes at the start are neither quote, backslash nor control character: eight at a time.
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let zero_bytes = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let mut length = 0;
    for chunk in bytes.chunks_exact(8) {
        let word = u64::from_le_bytes(chunk.try_into().expect("chunks of eight bytes"));
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let special = control | zero_bytes(word ^ (ONES * u64::from(b'"'))) | zero_bytes(word ^ (ONES * u64::from(b'\\')));
        if special != 0 {
            // The lowest hit is exact: borrows only reach bytes above it.
            return length + special.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    length + bytes[length..].iter().position(is_special).unwrap_or(bytes.len() - length)
}

/// The form JSONB is stored in, as Postgres prints it: keys once (the last wins), shorter ones first, one space after
/// colons and commas.
pub fn write_normal(value: Value<'_>, depth: usize, out: &mut String) -> Result<()> {
    match value.kind {
        Kind::Object => write_object(value, depth, out),
        Kind::Array => write_array(value, depth, out),
        Kind::String { escaped: true } => {
            let mut text = String::new();
            unescape(value.raw, &mut text)?;
            write_string(&text, out);
            Ok(())
        }
        _ => {
            out.push_str(value.raw);
            Ok(())
        }
    }
}

fn write_object(value: Value<'_>, depth: usize, out: &mut String) -> Result<()> {
    let mut members: Vec<(String, Value)> = Vec::new();
    Reader::new(value.raw).object(depth, |key, value| {
        let mut name = String::new();
        unescape(key.raw, &mut name)?;
        members.push((name, value));
        Ok(())
    })?;
    // Stable, so of equal keys the last written comes last and is the one kept.
    members.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    out.push('{');
    let mut first = true;
    for (index, (name, value)) in members.iter().enumerate() {
        if members.get(index + 1).is_some_and(|(next, _)| next == name) {
            continue;
        }
        out.push_str(if first { "" } else { ", " });
        first = false;
        write_string(name, out);
        out.push_str(": ");
        write_normal(*value, depth + 1, out)?;
    }
    out.push('}');
    Ok(())
}

fn write_array(value: Value<'_>, depth: usize, out: &mut String) -> Result<()> {
    out.push('[');
    let mut first = true;
    Reader::new(value.raw).array(depth, |element| {
        out.push_str(if first { "" } else { ", " });
        first = false;
        write_normal(element, depth + 1, out)
    })?;
    out.push(']');
    Ok(())
}

fn write_string(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

fn invalid(what: impl Into<String>) -> Error {
    Error::new(INVALID_TEXT, format!("invalid JSON: {}", what.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_serde_accepts_and_nothing_else() {
        let texts = [
            "1",
            "-0",
            "01",
            "1.",
            ".5",
            "1e5",
            "1E+5",
            "1e",
            "-",
            "+1",
            "NaN",
            "Infinity",
            "true",
            "tru",
            "null",
            "nul",
            "\"a\"",
            "\"a",
            "\"\\u00e9\"",
            "\"\\u00g9\"",
            "\"\\x\"",
            "\"a\tb\"",
            "\"\u{7f}é\"",
            "[]",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{}",
            "{\"a\":1,}",
            "{\"a\" 1}",
            "{a:1}",
            "{\"a\":1 \"b\":2}",
            "{\"a\":{\"b\":[1,{\"c\":null}]}}",
            "",
            "  ",
            "1 2",
            "{} {}",
            "[\"0123456\\\"89\"]",
            "'a'",
            "\u{feff}1",
        ];
        for text in texts {
            let reference = serde_json::from_str::<serde_json::Value>(text).is_ok();
            assert_eq!(parse(text).is_ok(), reference, "{text:?}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse(&nested(MAX_DEPTH)).is_ok());
        assert!(parse(&nested(MAX_DEPTH + 1)).is_err());
        assert!(parse(&"[".repeat(1_000_000)).is_err());
        assert!(parse(&"{\"a\":".repeat(1_000_000)).is_err());
    }

    #[test]
    fn plain_length_finds_the_first_special_byte_at_any_place() {
        for special in [b'"', b'\\', 0x1f, 0, b'\n'] {
            for place in 0..40 {
                let mut bytes = "aé~\u{7f} !#[]ÿ".repeat(5).into_bytes();
                bytes.truncate(40);
                bytes[place] = special;
                assert_eq!(plain_length(&bytes), place, "byte {special} at {place}");
            }
        }
        assert_eq!(plain_length("äöü plain text".as_bytes()), "äöü plain text".len());
    }

    #[test]
    fn strings_are_unescaped_as_text() {
        let unescaped = |raw: &str| {
            let mut out = String::new();
            unescape(raw, &mut out).map(|()| out).map_err(|error| error.sqlstate)
        };
        assert_eq!(unescaped(r#""a\n\u00e9\ud83d\ude00\/\"""#), Ok("a\né😀/\"".into()));
        assert_eq!(unescaped(r#""\u0000""#), Err("22P05"));
        assert_eq!(unescaped(r#""\ud83d""#), Err(INVALID_TEXT));
        assert_eq!(unescaped(r#""\ude00\ud83d""#), Err(INVALID_TEXT));
        assert_eq!(unescaped(r#""\ud83d\u0041""#), Err(INVALID_TEXT));
    }

    #[test]
    fn jsonb_is_stored_in_normal_form() {
        let normal = |text: &str| {
            let mut out = String::new();
            write_normal(parse(text).expect("test input is JSON"), 0, &mut out).expect("test input is text");
            out
        };
        assert_eq!(normal(r#"{"bb":1,"a":[1,2,{"x":"\u00e9"}],"bb":2,"c":1.10}"#), r#"{"a": [1, 2, {"x": "é"}], "c": 1.10, "bb": 2}"#);
    }
}
