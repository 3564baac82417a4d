//! Regular expressions and SQL patterns.
//!
//! Postgres' advanced regular expressions are written for Rust's `regex`: words (`\m`, `\M`, `\y`), line modes and replacement
//! references are translated. Not there: back references in a pattern and looking ahead or behind, which that engine, whose
//! time is linear in the text, has not; they are `0A000`.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{AsArray, ListArray};
use regex::{Captures, Regex, RegexBuilder};

use super::overload::{Overload, Scalar, over2, over3, over4, over5, over6};
use super::typed::{Integer, Text};
use crate::error::sqlstate::INVALID_PARAMETER_VALUE;
use crate::{Error, Result};

/// Texts of the groups of a match.
type Groups = Vec<Option<String>>;

/// `2201B`.
const INVALID_REGULAR_EXPRESSION: &str = "2201B";

/// The functions of this table.
pub fn functions() -> Vec<Scalar> {
    vec![
        Scalar::new("regexp_match")
            .or(over2::<Text, Text, Result<Option<Groups>>>(|text, pattern| regexp_match(text, pattern, "")))
            .or(over3::<Text, Text, Text, Result<Option<Groups>>>(regexp_match)),
        Scalar::new("regexp_matches")
            .or(no_rows_of_nulls(over2::<Text, Text, Result<Vec<Groups>>>(|text, pattern| regexp_matches(text, pattern, ""))))
            .or(no_rows_of_nulls(over3::<Text, Text, Text, Result<Vec<Groups>>>(regexp_matches))),
        Scalar::new("regexp_replace")
            .or(over3::<Text, Text, Text, Result<String>>(|text, pattern, new| regexp_replace(text, pattern, new, "")))
            .or(over4::<Text, Text, Text, Text, Result<String>>(regexp_replace))
            .or(over4::<Text, Text, Text, Integer, Result<String>>(|text, pattern, new, from| replace_nth(text, pattern, new, from, 1, "")))
            .or(over5::<Text, Text, Text, Integer, Integer, Result<String>>(|text, pattern, new, from, n| {
                replace_nth(text, pattern, new, from, n, "")
            }))
            .or(over6::<Text, Text, Text, Integer, Integer, Text, Result<String>>(replace_nth)),
        Scalar::new("regexp_count")
            .or(over2::<Text, Text, Result<i32>>(|text, pattern| regexp_count(text, pattern, 1, "")))
            .or(over3::<Text, Text, Integer, Result<i32>>(|text, pattern, from| regexp_count(text, pattern, from, "")))
            .or(over4::<Text, Text, Integer, Text, Result<i32>>(regexp_count)),
        Scalar::new("regexp_like").or(over2::<Text, Text, Result<bool>>(|text, pattern| Ok(compiled(pattern, "")?.is_match(text)))).or(
            over3::<Text, Text, Text, Result<bool>>(|text, pattern, flags| {
                Ok(compiled(pattern, without_global(flags, "regexp_like")?)?.is_match(text))
            }),
        ),
        Scalar::new("regexp_substr")
            .or(over2::<Text, Text, Result<Option<String>>>(|text, pattern| regexp_substr(text, pattern, 1, 1)))
            .or(over3::<Text, Text, Integer, Result<Option<String>>>(|text, pattern, from| regexp_substr(text, pattern, from, 1)))
            .or(over4::<Text, Text, Integer, Integer, Result<Option<String>>>(regexp_substr)),
        Scalar::new("regexp_instr").or(over2::<Text, Text, Result<i32>>(|text, pattern| {
            Ok(compiled(pattern, "")?.find(text).map_or(0, |found| text[..found.start()].chars().count() as i32 + 1))
        })),
        Scalar::new("regexp_split_to_array").or(over2::<Text, Text, Result<Groups>>(|text, pattern| split(text, pattern, ""))).or(over3::<
            Text,
            Text,
            Text,
            Result<Groups>,
        >(
            split
        )),
        Scalar::new(SIMILAR).or(over2::<Text, Text, Result<bool>>(|text, pattern| similar(text, pattern, "\\"))).or(over3::<
            Text,
            Text,
            Text,
            Result<bool>,
        >(similar)),
        Scalar::new(LIKE_ESCAPE).or(over3::<Text, Text, Text, Result<bool>>(|text, pattern, escape| like(text, pattern, escape, ""))),
        Scalar::new(ILIKE_ESCAPE).or(over3::<Text, Text, Text, Result<bool>>(|text, pattern, escape| like(text, pattern, escape, "i"))),
        Scalar::new(MATCHES).or(over2::<Text, Text, Result<bool>>(|text, pattern| Ok(compiled(pattern, "")?.is_match(text)))),
        Scalar::new(IMATCHES).or(over2::<Text, Text, Result<bool>>(|text, pattern| Ok(compiled(pattern, "i")?.is_match(text)))),
    ]
}

/// A function of several rows gives none for a null.
fn no_rows_of_nulls(overload: Overload) -> Overload {
    overload.mapped(|lists| {
        let lists = lists.as_list::<i32>();
        let (field, offsets, values, _) = lists.clone().into_parts();
        Ok(Arc::new(ListArray::try_new(field, offsets, values, None)?))
    })
}

/// What `a SIMILAR TO b` becomes.
pub const SIMILAR: &str = "similar_to";
/// What `a LIKE b ESCAPE c` becomes.
pub const LIKE_ESCAPE: &str = "like_escape";
/// What `a ILIKE b ESCAPE c` becomes.
pub const ILIKE_ESCAPE: &str = "ilike_escape";
/// What `a ~ b` becomes.
pub const MATCHES: &str = "regexp_matches_text";
/// What `a ~* b` becomes.
pub const IMATCHES: &str = "regexp_imatches_text";

/// Patterns kept compiled by a thread: as many as a query has, usually, and few enough to search one by one.
const MAX_COMPILED: usize = 16;

thread_local! {
    static COMPILED: RefCell<Vec<(String, String, Rc<Regex>)>> = const { RefCell::new(Vec::new()) };
}

/// The pattern with Postgres' flags.
fn compiled(pattern: &str, flags: &str) -> Result<Rc<Regex>> {
    COMPILED.with_borrow_mut(|known| {
        if let Some((.., regex)) = known.iter().find(|(known, with, _)| known == pattern && with == flags) {
            return Ok(Rc::clone(regex));
        }
        let regex = Rc::new(compile(pattern, flags)?);
        if known.len() == MAX_COMPILED {
            known.remove(0);
        }
        known.push((pattern.into(), flags.into(), Rc::clone(&regex)));
        Ok(regex)
    })
}

fn compile(pattern: &str, flags: &str) -> Result<Regex> {
    let (mut insensitive, mut lines, mut dot_all, mut extended, mut literal) = (false, false, true, false, false);
    for flag in flags.chars() {
        match flag {
            'i' => insensitive = true,
            'c' => insensitive = false,
            'n' | 'm' => (lines, dot_all) = (true, false),
            's' => (lines, dot_all) = (false, true),
            'p' => (lines, dot_all) = (false, false),
            'w' => (lines, dot_all) = (true, true),
            'x' => extended = true,
            't' => extended = false,
            'q' => literal = true,
            'e' | 'g' => {}
            other => return Err(Error::new(INVALID_PARAMETER_VALUE, format!("invalid regular expression option: \"{other}\""))),
        }
    }
    let pattern = if literal { regex::escape(pattern) } else { translated(pattern)? };
    RegexBuilder::new(&pattern)
        .case_insensitive(insensitive)
        .multi_line(lines)
        .dot_matches_new_line(dot_all)
        .ignore_whitespace(extended)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => Error::new(INVALID_REGULAR_EXPRESSION, "invalid regular expression: it is too large"),
            error => {
                let why = error.to_string();
                let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_string();
                Error::new(INVALID_REGULAR_EXPRESSION, format!("invalid regular expression: {why}"))
            }
        })
}

/// Postgres' escapes as Rust's.
fn translated(pattern: &str) -> Result<String> {
    let mut out = String::with_capacity(pattern.len());
    let mut characters = pattern.chars().peekable();
    let mut brackets = false;
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('m') => out.push_str(r"\b{start}"),
                Some('M') => out.push_str(r"\b{end}"),
                Some('y') if !brackets => out.push_str(r"\b"),
                Some('Y') if !brackets => out.push_str(r"\B"),
                Some('Z') => out.push_str(r"\z"),
                Some(digit @ '1'..='9') if !brackets => {
                    return Err(Error::unsupported(
                        format!("back reference \\{digit} in a regular expression is not supported"),
                        "compare what regexp_match() returns",
                    ));
                }
                Some(escaped) => out.extend(['\\', escaped]),
                None => return Err(Error::new(INVALID_REGULAR_EXPRESSION, "invalid regular expression: invalid escape \\ sequence")),
            },
            '[' if brackets && !matches!(characters.peek(), Some(':' | '.' | '=')) => out.push_str("\\["),
            '[' if !brackets => {
                brackets = true;
                out.push('[');
                if characters.peek() == Some(&'^') {
                    out.extend(characters.next());
                }
                if characters.peek() == Some(&']') {
                    characters.next();
                    out.push_str("\\]");
                }
            }
            '[' => {
                // a class inside brackets: up to its `:]`
                out.push('[');
                for inside in characters.by_ref() {
                    out.push(inside);
                    if inside == ']' {
                        break;
                    }
                }
            }
            ']' if brackets => {
                brackets = false;
                out.push(']');
            }
            '&' | '~' | '-' if brackets && characters.peek() == Some(&character) => out.extend(['\\', character]),
            '(' if !brackets && characters.peek() == Some(&'?') => {
                let rest: String = characters.clone().skip(1).take(2).collect();
                if rest.starts_with('=') || rest.starts_with('!') || rest.starts_with("<=") || rest.starts_with("<!") {
                    return Err(Error::unsupported(
                        "looking ahead or behind in a regular expression is not supported",
                        "match more and take a group out of it",
                    ));
                }
                out.push('(');
            }
            _ => out.push(character),
        }
    }
    Ok(out)
}

fn without_global<'a>(flags: &'a str, name: &str) -> Result<&'a str> {
    match flags.contains('g') {
        true => Err(Error::new(INVALID_PARAMETER_VALUE, format!("{name}() does not support the \"global\" option"))),
        false => Ok(flags),
    }
}

/// The groups of a match, or the whole of it where the pattern has none.
fn groups(captures: &Captures<'_>) -> Groups {
    let text = |group: Option<regex::Match<'_>>| group.map(|group| group.as_str().to_string());
    match captures.len() {
        1 => vec![text(captures.get(0))],
        n => (1..n).map(|at| text(captures.get(at))).collect(),
    }
}

fn regexp_match(text: &str, pattern: &str, flags: &str) -> Result<Option<Groups>> {
    let regex = compiled(pattern, without_global(flags, "regexp_match")?)?;
    Ok(regex.captures(text).map(|captures| groups(&captures)))
}

fn regexp_matches(text: &str, pattern: &str, flags: &str) -> Result<Vec<Groups>> {
    let regex = compiled(pattern, flags)?;
    let n = if flags.contains('g') { usize::MAX } else { 1 };
    Ok(regex.captures_iter(text).take(n).map(|captures| groups(&captures)).collect())
}

fn regexp_replace(text: &str, pattern: &str, new: &str, flags: &str) -> Result<String> {
    if flags.starts_with(|c: char| c.is_ascii_digit()) {
        let error = Error::new(INVALID_PARAMETER_VALUE, format!("invalid regular expression option: \"{}\"", &flags[..1]));
        return Err(error.with_hint("to use regexp_replace() with a start parameter, cast the fourth argument to integer explicitly"));
    }
    let n = if flags.contains('g') { 0 } else { 1 };
    Ok(replaced(&*compiled(pattern, flags)?, text, new, n))
}

fn replace_nth(text: &str, pattern: &str, new: &str, from: i32, n: i32, flags: &str) -> Result<String> {
    let start = start_of(text, from)?;
    if n < 0 {
        return Err(Error::new(INVALID_PARAMETER_VALUE, format!("invalid value for parameter \"n\": {n}")));
    }
    let regex = compiled(pattern, flags)?;
    Ok(text[..start].to_string() + &replaced(&regex, &text[start..], new, n))
}

/// With match number `n` replaced, or all of them when that is 0.
fn replaced(regex: &Regex, text: &str, new: &str, n: i32) -> String {
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for (at, captures) in regex.captures_iter(text).enumerate() {
        let whole = captures.get(0).expect("a match has a whole");
        if n != 0 && at as i32 + 1 != n {
            continue;
        }
        out.push_str(&text[copied..whole.start()]);
        append_replacement(&mut out, new, &captures);
        copied = whole.end();
        if n != 0 {
            break;
        }
    }
    out + &text[copied..]
}

/// `\1` to `\9` are groups, `\&` the whole match, `\\` a backslash.
fn append_replacement(out: &mut String, new: &str, captures: &Captures<'_>) {
    let mut characters = new.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        match characters.next() {
            Some(digit @ '1'..='9') => out.push_str(captures.get(digit as usize - '0' as usize).map_or("", |group| group.as_str())),
            Some('&') => out.push_str(&captures[0]),
            Some('\\') | None => out.push('\\'),
            Some(other) => out.extend(['\\', other]),
        }
    }
}

/// The byte where the 1-based character `from` begins.
fn start_of(text: &str, from: i32) -> Result<usize> {
    if from <= 0 {
        return Err(Error::new(INVALID_PARAMETER_VALUE, format!("invalid value for parameter \"start\": {from}")));
    }
    Ok(text.char_indices().nth(from as usize - 1).map_or(text.len(), |(at, _)| at))
}

fn regexp_count(text: &str, pattern: &str, from: i32, flags: &str) -> Result<i32> {
    let regex = compiled(pattern, without_global(flags, "regexp_count")?)?;
    Ok(regex.find_iter(&text[start_of(text, from)?..]).count() as i32)
}

fn regexp_substr(text: &str, pattern: &str, from: i32, n: i32) -> Result<Option<String>> {
    let regex = compiled(pattern, "")?;
    let nth = n.max(1) as usize - 1;
    Ok(regex.find_iter(&text[start_of(text, from)?..]).nth(nth).map(|found| found.as_str().to_string()))
}

/// An empty match splits between characters, but not at the ends.
fn split(text: &str, pattern: &str, flags: &str) -> Result<Groups> {
    let regex = compiled(pattern, without_global(flags, "regexp_split_to_array")?)?;
    let mut parts = vec![];
    let mut start = 0;
    for found in regex.find_iter(text) {
        if found.is_empty() && (found.start() == start || found.start() == text.len()) {
            continue;
        }
        parts.push(Some(text[start..found.start()].to_string()));
        start = found.end();
    }
    parts.push(Some(text[start..].to_string()));
    Ok(parts)
}

/// `substring(text from pattern)`: the first group, or all that matched.
pub fn substring(text: &str, pattern: &str) -> Result<Option<String>> {
    let regex = compiled(pattern, "")?;
    let Some(captures) = regex.captures(text) else { return Ok(None) };
    let group = if captures.len() > 1 { captures.get(1) } else { captures.get(0) };
    Ok(group.map(|group| group.as_str().to_string()))
}

/// `substring(text similar pattern escape e)`: what stands between the escaped double quotes.
pub fn substring_similar(text: &str, pattern: &str, escape: &str) -> Result<Option<String>> {
    let regex = compiled(&similar_as_regex(pattern, escape)?, "")?;
    let Some(captures) = regex.captures(text) else { return Ok(None) };
    let group = if captures.len() > 1 { captures.get(1) } else { captures.get(0) };
    Ok(group.map(|group| group.as_str().to_string()))
}

fn similar(text: &str, pattern: &str, escape: &str) -> Result<bool> {
    Ok(compiled(&similar_as_regex(pattern, escape)?, "")?.is_match(text))
}

fn escape_character(escape: &str) -> Result<Option<char>> {
    let mut characters = escape.chars();
    match (characters.next(), characters.next()) {
        (escape, None) => Ok(escape),
        _ => Err(Error::new("22019", "invalid escape string").with_hint("escape string must be empty or one character")),
    }
}

/// A `SIMILAR TO` pattern as a regular expression over the whole text.
fn similar_as_regex(pattern: &str, escape: &str) -> Result<String> {
    let escape = escape_character(escape)?;
    let mut out = String::from("^(?:");
    let (mut n_seen, mut brackets) = (0, false);
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if Some(character) == escape {
            match characters.next() {
                Some('"') => {
                    n_seen += 1;
                    out.push_str(match n_seen {
                        1 => "){1,1}?(",
                        2 => "){1,1}(?:",
                        _ => {
                            return Err(Error::new(
                                "2200C",
                                "SQL regular expression may not contain more than two escape-double-quote separators",
                            ));
                        }
                    });
                }
                Some(escaped) => out.push_str(&regex::escape(&escaped.to_string())),
                None => return Err(Error::new("22025", "LIKE pattern must not end with escape character")),
            }
            continue;
        }
        match character {
            ']' if brackets => {
                brackets = false;
                out.push(']');
            }
            '\\' => out.push_str("\\\\"),
            _ if brackets => out.push(character),
            '[' => {
                brackets = true;
                out.push('[');
            }
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '(' => out.push_str("(?:"),
            '.' | '^' | '$' => out.extend(['\\', character]),
            _ => out.push(character),
        }
    }
    out.push_str(")$");
    Ok(out)
}

fn like(text: &str, pattern: &str, escape: &str, flags: &str) -> Result<bool> {
    let escape = escape_character(escape)?;
    let mut out = String::from("^");
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if Some(character) == escape {
            match characters.next() {
                Some(escaped) => out.push_str(&regex::escape(&escaped.to_string())),
                None => return Err(Error::new("22025", "LIKE pattern must not end with escape character")),
            }
            continue;
        }
        match character {
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            _ => out.push_str(&regex::escape(&character.to_string())),
        }
    }
    out.push('$');
    Ok(compiled(&out, flags)?.is_match(text))
}
