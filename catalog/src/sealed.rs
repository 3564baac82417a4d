//! One stored JSON object with its format version and its checksum.
//!
//! `{"format":1,…,"checksum":"0123456789abcdef"}` and a line end. The checksum is the xxh3 of all bytes before `,"checksum"`, so
//! that it can be checked without knowing what is inside. Guaranteed: what [`open`] returns has the bytes that [`seal`] was given.

use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{CatalogError, Result};

/// The format written; [`open`] reads this one.
pub(crate) const FORMAT: u64 = 1;

/// `body` as it is stored. It must be a JSON object whose first member is `format`.
pub(crate) fn seal<T: Serialize>(body: &T) -> String {
    let text = serde_json::to_string(body).expect("what a catalog stores has string keys only, so it is JSON");
    let open = text.strip_suffix('}').expect("a body is a JSON object");
    format!("{open}{}", trailer(open))
}

fn trailer(open: &str) -> String {
    format!(",\"checksum\":\"{:016x}\"}}\n", xxh3_64(open.as_bytes()))
}

/// The body of a stored object; `path` is for errors.
pub(crate) fn open<T: DeserializeOwned>(path: &str, bytes: &[u8]) -> Result<T> {
    let corrupt = |reason: String| CatalogError::Corrupt { path: path.to_owned(), reason };
    let text = std::str::from_utf8(bytes).map_err(|error| corrupt(error.to_string()))?;
    let n_trailer_bytes = trailer("").len();
    let is_cut = || corrupt(format!("{} bytes do not end in a checksum", bytes.len()));
    let at = text.len().checked_sub(n_trailer_bytes).filter(|at| text.is_char_boundary(*at)).ok_or_else(is_cut)?;
    let (body, sealed) = text.split_at(at);
    if !sealed.starts_with(",\"checksum\":\"") {
        return Err(is_cut());
    }
    if sealed != trailer(body) {
        return Err(corrupt("its checksum does not fit its contents".into()));
    }
    let value: serde_json::Value = serde_json::from_str(&format!("{body}}}")).map_err(|error| corrupt(error.to_string()))?;
    match value.get("format").and_then(serde_json::Value::as_u64) {
        Some(FORMAT) => serde_json::from_value(value).map_err(|error| corrupt(error.to_string())),
        Some(newer) => Err(corrupt(format!("format {newer} is not known to this version, which reads format {FORMAT}"))),
        None => Err(corrupt("it does not say its format".into())),
    }
}
