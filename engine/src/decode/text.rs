//! Scalars as Postgres's input functions read them from text. Space around numbers, booleans and uuids is allowed.

use catalog::SqlType;

use crate::error::sqlstate::{INVALID_TEXT, NUMERIC_VALUE_OUT_OF_RANGE};
use crate::{Error, Result};

/// Text longer than a `varchar(n)` or `char(n)` takes.
pub const STRING_TOO_LONG: &str = "22001";

/// The name of a type in messages: as it is printed, but for what Postgres's input functions say shorter.
pub fn type_name(sql_type: &SqlType) -> String {
    match sql_type {
        SqlType::Numeric(_) => "numeric".into(),
        SqlType::Time => "time".into(),
        SqlType::Timestamp => "timestamp".into(),
        SqlType::Struct(_) => "record".into(),
        other => other.to_string(),
    }
}

/// `invalid input syntax for type …`.
pub fn invalid(type_name: &str, text: &str) -> Error {
    Error::new(INVALID_TEXT, format!("invalid input syntax for type {type_name}: \"{}\"", shortened(text)))
}

/// `value … is out of range for type …`.
pub fn out_of_range(type_name: &str, text: &str) -> Error {
    Error::new(NUMERIC_VALUE_OUT_OF_RANGE, format!("value \"{}\" is out of range for type {type_name}", shortened(text)))
}

/// Enough of a value to recognise it: a message is not the place for megabytes.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into(),
    }
}

/// Any unambiguous prefix of true, false, yes, no; on, off; 1, 0.
pub fn parse_boolean(text: &str) -> Result<bool> {
    let word = text.trim_ascii().to_ascii_lowercase();
    let is_prefix = |of: &str, shortest: usize| word.len() >= shortest && of.starts_with(&word);
    if word == "1" || is_prefix("true", 1) || is_prefix("yes", 1) || word == "on" {
        return Ok(true);
    }
    if word == "0" || is_prefix("false", 1) || is_prefix("no", 1) || is_prefix("off", 2) {
        return Ok(false);
    }
    Err(invalid("boolean", text))
}

/// A whole number within the type's bounds.
pub fn parse_integer(text: &str, type_name: &str, min: i64, max: i64) -> Result<i64> {
    let trimmed = text.trim_ascii();
    let (negative, digits) = match trimmed.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(invalid(type_name, text));
    }
    if digits.len() <= 18 {
        let value = digits.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
        let value = if negative { -value } else { value };
        return if (min..=max).contains(&value) { Ok(value) } else { Err(out_of_range(type_name, text)) };
    }
    // Negative all the way, since the least number has no positive counterpart.
    let step = |sum: Option<i64>, digit: &u8| sum?.checked_mul(10)?.checked_sub(i64::from(digit - b'0'));
    let value = digits.iter().fold(Some(0), step);
    let value = if negative { value } else { value.and_then(i64::checked_neg) };
    value.filter(|value| (min..=max).contains(value)).ok_or_else(|| out_of_range(type_name, text))
}

/// A JSON number without a fractional part, like `1.0` or `1e3`: JSON writers do not tell integers from floats.
pub fn parse_json_integer(text: &str, type_name: &str, min: i64, max: i64) -> Result<i64> {
    if !text.contains(['.', 'e', 'E']) {
        return parse_integer(text, type_name, min, max);
    }
    let decimal = Decimal::read(text).ok_or_else(|| invalid(type_name, text))?;
    let value = decimal.whole().ok_or_else(|| invalid(type_name, text))?;
    let value = value.and_then(|value| i64::try_from(value).ok());
    value.filter(|value| (min..=max).contains(value)).ok_or_else(|| out_of_range(type_name, text))
}

/// A `double precision`; overflow and underflow are errors.
pub fn parse_double(text: &str) -> Result<f64> {
    let value: f64 = float_text(text, "double precision")?.parse().map_err(|_| invalid("double precision", text))?;
    if is_off_range(text, value.is_infinite(), value == 0.0) {
        return Err(Error::new(NUMERIC_VALUE_OUT_OF_RANGE, format!("\"{}\" is out of range for type double precision", shortened(text))));
    }
    Ok(value)
}

/// A `real`; overflow and underflow are errors.
pub fn parse_real(text: &str) -> Result<f32> {
    let value: f32 = float_text(text, "real")?.parse().map_err(|_| invalid("real", text))?;
    if is_off_range(text, value.is_infinite(), value == 0.0) {
        return Err(Error::new(NUMERIC_VALUE_OUT_OF_RANGE, format!("\"{}\" is out of range for type real", shortened(text))));
    }
    Ok(value)
}

/// What both Postgres and Rust read as a float: Rust's own spellings of nan and infinity are the same.
fn float_text<'a>(text: &'a str, type_name: &str) -> Result<&'a str> {
    let trimmed = text.trim_ascii();
    if trimmed.is_empty() { Err(invalid(type_name, text)) } else { Ok(trimmed) }
}

fn is_off_range(text: &str, is_infinite: bool, is_zero: bool) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let says_infinity = text.contains(['f', 'F']);
    is_infinite && !says_infinity || is_zero && mantissa.bytes().any(|byte| (b'1'..=b'9').contains(&byte))
}

/// A `numeric(precision, scale)` as its unscaled integer, rounded half away from zero.
pub fn parse_numeric(text: &str, precision: u8, scale: i8) -> Result<i128> {
    let decimal = Decimal::read(text.trim_ascii()).ok_or_else(|| numeric_error(text))?;
    let unscaled = decimal.rounded(i64::from(scale));
    let bound = 10i128.checked_pow(u32::from(precision)).unwrap_or(i128::MAX);
    unscaled.filter(|unscaled| unscaled.abs() < bound).ok_or_else(|| {
        let detail = format!(
            "a field with precision {precision}, scale {scale} must round to an absolute value less than 10^{}",
            i32::from(precision) - i32::from(scale)
        );
        Error::new(NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow").with_detail(detail)
    })
}

fn numeric_error(text: &str) -> Error {
    let word = text.trim_ascii().trim_start_matches(['+', '-']).to_ascii_lowercase();
    match word.as_str() {
        "nan" | "infinity" | "inf" => Error::new(NUMERIC_VALUE_OUT_OF_RANGE, format!("numeric cannot hold \"{text}\" here"))
            .with_hint("use double precision for NaN and infinity"),
        _ => invalid("numeric", text),
    }
}

/// `digits * 10^exponent`, as written.
struct Decimal<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl<'a> Decimal<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(text) => (true, text),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?.into()),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let (whole, fraction) = (whole.as_bytes(), fraction.as_bytes());
        let is_number = !(whole.is_empty() && fraction.is_empty()) && whole.iter().chain(fraction).all(u8::is_ascii_digit);
        is_number.then_some(Self { negative, whole, fraction, exponent })
    }

    /// The value times `10^scale`, rounded half away from zero; `None` when it does not fit.
    fn rounded(&self, scale: i64) -> Option<i128> {
        // Digits are taken until this many after the point have been: then the next one decides.
        let n_kept = self.whole.len() as i64 + self.exponent + scale;
        let mut value: i128 = 0;
        let mut n_read = 0i64;
        for digit in self.whole.iter().chain(self.fraction) {
            if n_read >= n_kept {
                break;
            }
            value = value.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
            n_read += 1;
        }
        if n_read == n_kept {
            let next = self.whole.iter().chain(self.fraction).nth(n_read as usize);
            value = value.checked_add(i128::from(next.is_some_and(|digit| *digit >= b'5')))?;
        }
        for _ in n_read..n_kept {
            if value == 0 {
                break;
            }
            value = value.checked_mul(10)?;
        }
        Some(if self.negative { -value } else { value })
    }

    /// The value if it has no fractional part; the inner `None` means too large.
    fn whole(&self) -> Option<Option<i128>> {
        let n_whole = self.whole.len() as i64 + self.exponent;
        let n_digits = (self.whole.len() + self.fraction.len()) as i64;
        let mut digits = self.whole.iter().chain(self.fraction).skip(n_whole.clamp(0, n_digits) as usize);
        let is_zero = || self.whole.iter().chain(self.fraction).all(|digit| *digit == b'0');
        let has_fraction = digits.any(|digit| *digit != b'0') || n_whole < 0 && !is_zero();
        (!has_fraction).then(|| self.rounded(0))
    }
}

/// `\x` and hexadecimal digits, or text with `\\` and `\ooo` escapes.
pub fn parse_bytea(text: &str, out: &mut Vec<u8>) -> Result<()> {
    if let Some(digits) = text.strip_prefix("\\x") {
        let digits: Vec<u8> = digits.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let bytes =
            hex::decode(digits).map_err(|error| Error::new(INVALID_TEXT, format!("invalid hexadecimal data for bytea: {error}")))?;
        out.extend(bytes);
        return Ok(());
    }
    let mut bytes = text.as_bytes();
    while let Some(backslash) = bytes.iter().position(|byte| *byte == b'\\') {
        out.extend_from_slice(&bytes[..backslash]);
        bytes = match &bytes[backslash + 1..] {
            [b'\\', rest @ ..] => {
                out.push(b'\\');
                rest
            }
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..] => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest
            }
            _ => return Err(invalid("bytea", text)),
        };
    }
    out.extend_from_slice(bytes);
    Ok(())
}

/// 32 hexadecimal digits, with hyphens after any group of four and optional braces, written the canonical way.
pub fn parse_uuid(text: &str) -> Result<[u8; 16]> {
    let trimmed = text.trim_ascii();
    let inner = trimmed.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')).unwrap_or(trimmed);
    let mut digits = [0u8; 32];
    let mut n_digits = 0;
    let mut after_hyphen = true;
    for byte in inner.bytes() {
        let is_hyphen = byte == b'-' && n_digits % 4 == 0 && !after_hyphen && n_digits < 32;
        if !is_hyphen {
            *digits.get_mut(n_digits).ok_or_else(|| invalid("uuid", text))? = byte;
            n_digits += 1;
        }
        after_hyphen = is_hyphen;
    }
    let mut uuid = [0; 16];
    if n_digits != 32 || hex::decode_to_slice(digits, &mut uuid).is_err() {
        return Err(invalid("uuid", text));
    }
    Ok(uuid)
}

/// `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
pub fn uuid_text(uuid: [u8; 16]) -> String {
    let hex = hex::encode(uuid);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// The part of `text` that is kept in `length` characters: spaces too many are cut, anything else is an error.
pub fn fit_length<'a>(text: &'a str, length: u32, sql_type: &SqlType) -> Result<&'a str> {
    let Some((end, _)) = text.char_indices().nth(length as usize) else { return Ok(text) };
    if text[end..].bytes().all(|byte| byte == b' ') {
        return Ok(&text[..end]);
    }
    Err(Error::new(STRING_TOO_LONG, format!("value too long for type {}", type_name(sql_type))))
}

/// The elements of an array written `{a,"b c",NULL,{…}}`; nested arrays are given as their own text.
pub fn split_array(text: &str) -> Result<Vec<Option<String>>> {
    let malformed = || Error::new(INVALID_TEXT, format!("malformed array literal: \"{}\"", shortened(text)));
    let inner = text.trim_ascii().strip_prefix('{').and_then(|inner| inner.strip_suffix('}')).ok_or_else(malformed)?;
    if inner.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let mut elements = Vec::new();
    let mut characters = inner.chars().peekable();
    loop {
        let (mut element, mut quoted, mut depth, mut in_quotes) = (String::new(), false, 0usize, false);
        let mut ended = true;
        while let Some(character) = characters.next() {
            match character {
                '\\' => {
                    if depth > 0 {
                        element.push('\\');
                    }
                    element.push(characters.next().ok_or_else(malformed)?);
                    quoted = true;
                    continue;
                }
                '"' => {
                    in_quotes = !in_quotes;
                    if depth > 0 {
                        element.push('"');
                    } else {
                        quoted = true;
                    }
                    continue;
                }
                ',' if depth == 0 && !in_quotes => {
                    ended = false;
                    break;
                }
                '{' if !in_quotes => depth += 1,
                '}' if !in_quotes => depth = depth.checked_sub(1).ok_or_else(malformed)?,
                _ => {}
            }
            element.push(character);
        }
        if in_quotes || depth > 0 {
            return Err(malformed());
        }
        elements.push(match quoted {
            true => Some(element),
            false => match element.trim() {
                "" => return Err(malformed()),
                null if null.eq_ignore_ascii_case("null") => None,
                plain => Some(plain.into()),
            },
        });
        if ended {
            return Ok(elements);
        }
    }
}
