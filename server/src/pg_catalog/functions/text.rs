//! Names taken apart, and values as JSON.

use catalog::SqlType;
use engine::{Error, Result};

use super::datum::Datum;
use super::references::unquoted;
use super::{Make, Returns, entry};
use crate::pg_catalog::known::Known;

pub(super) const ENTRIES: &[Make] = &[
    || entry("parse_ident", (1, 2), Returns::Texts, parse_ident),
    || entry("json_build_object", (0, 200), Returns::Json, json_build_object).with_nulls(),
];

fn shown(value: &Datum) -> String {
    match value {
        Datum::Text(text) => text.clone(),
        Datum::Int(number) => number.to_string(),
        Datum::Float(number) => number.to_string(),
        Datum::Bool(is_true) => is_true.to_string(),
        _ => String::new(),
    }
}

fn parse_ident(_: &Known, values: &[Datum], _: &[SqlType]) -> Result<Datum> {
    let text = values[0].text().unwrap_or_default();
    let parts = unquoted(text);
    if parts.iter().any(String::is_empty) {
        return Err(Error::new("22023", format!("string is not a valid identifier: \"{text}\"")));
    }
    Ok(Datum::List(parts.into_iter().map(Datum::Text).collect()))
}

fn json_build_object(_: &Known, values: &[Datum], _: &[SqlType]) -> Result<Datum> {
    if values.len() % 2 == 1 {
        return Err(Error::new("22023", "argument list must have even number of elements"));
    }
    let pairs: Vec<String> = values
        .chunks(2)
        .map(|pair| match &pair[0] {
            Datum::Null => Err(Error::new("22023", "argument 1 cannot be null").with_hint("object keys should be text")),
            name => Ok(format!("{} : {}", serde_json::Value::from(shown(name)), json(&pair[1]))),
        })
        .collect::<Result<_>>()?;
    Ok(Datum::Text(format!("{{{}}}", pairs.join(", "))))
}

fn json(value: &Datum) -> String {
    match value {
        Datum::Null => "null".to_owned(),
        Datum::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
        Datum::List(items) | Datum::Struct(items) => format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(",")),
        other => shown(other),
    }
}
