//! `to_char`, `to_date`, `to_timestamp` and `to_number` with Postgres' template patterns.
//!
//! A template is cut into [`Piece`]s once for the rows that share it; [`write`] fills them from a moment or an interval, [`read`] takes them from
//! text, [`number`] has the patterns of numbers. Names of months and days are English, as with `lc_time = C`.

use std::sync::Arc;

use arrow::array::{Array, StringBuilder};
use arrow::datatypes::DataType;

use super::overload::{Evaluate, Kind, Overload, Scalar, over2};
use super::typed::{Argument, BigInt, Date, Double, Integer, Interval, Text, Timestamp, TimestampTz, typed};
use super::zones::Zone;
use crate::Result;

mod number;
mod read;
mod write;

pub use read::{to_timestamp, to_timestamp_in};
use write::ShownZone;

/// The functions of this table.
pub fn functions() -> Vec<Scalar> {
    vec![
        Scalar::new("to_char")
            .or(by_pieces::<Timestamp>(|out, at, template| write::moment(out, at.0, None, template)))
            .or(by_pieces::<TimestampTz>(|out, at, template| write::moment(out, at.0, Some(ShownZone::utc()), template)))
            .or(by_pieces::<Date>(|out, date, template| write::moment(out, i64::from(date.0) * super::calendar::DAY, None, template)))
            .or(by_pieces::<Interval>(write::interval))
            .or(over2::<Integer, Text, Result<String>>(|n, template| number::to_char(&n.to_string(), template)))
            .or(over2::<BigInt, Text, Result<String>>(|n, template| number::to_char(&n.to_string(), template)))
            .or(number::numeric_overload())
            .or(over2::<Double, Text, Result<String>>(|n, template| number::to_char(&format!("{n:.15}"), template))),
        Scalar::new("to_date").or(over2::<Text, Text, Result<Date>>(|text, template| read::to_date(text, template).map(Date))),
        Scalar::new("to_number").or(number::to_number_overload()),
    ]
}

/// `to_char(timestamptz, template)` by the clock of a zone.
pub fn to_char_in(utc: i64, template: &str, zone: Zone) -> Result<String> {
    let mut out = String::new();
    let shown = ShownZone { abbreviation: zone.abbreviation(utc)?, east: zone.east_of(utc)? };
    write::moment(&mut out, zone.to_local(utc)?, Some(shown), &pieces(template))?;
    Ok(out)
}

/// An overload of `to_char` whose template is cut into pieces.
fn by_pieces<A: Argument>(write: fn(&mut String, A::Value<'_>, &[Piece]) -> Result<()>) -> Overload {
    let evaluate: Evaluate = Arc::new(move |arguments, n_rows, _| {
        let (values, templates) = (typed::<A>(&arguments[0]), typed::<Text>(&arguments[1]));
        let mut column = StringBuilder::new();
        let mut last: Option<(&str, Vec<Piece>)> = None;
        let mut text = String::new();
        for row in 0..n_rows {
            if values.is_null(row) || templates.is_null(row) {
                column.append_null();
                continue;
            }
            let template = templates.value(row);
            let (_, pieces) = match last.take() {
                Some((same, pieces)) if same == template => last.insert((same, pieces)),
                _ => last.insert((template, pieces(template))),
            };
            text.clear();
            write(&mut text, A::value(values, row), pieces)?;
            column.append_value(&text);
        }
        Ok(Arc::new(column.finish()))
    });
    Overload::fixed(vec![Kind::Exactly(A::data_type()), Kind::Exactly(Text::data_type())], DataType::Utf8, evaluate)
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// Text that stands for itself.
    Literal(char),
    /// A field of the date.
    Field { pattern: &'static str, spelling: Spelling, fill: bool, ordinal: Option<&'static str> },
}

/// Capitals of a name, as the pattern itself is spelt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    Upper,
    Capital,
    Lower,
}

/// What may stand in a template, the longer before its beginnings.
const PATTERNS: [&str; 54] = [
    "SSSSS", "MONTH", "Y,YYY", "IYYY", "YYYY", "HH24", "HH12", "SSSS", "A.M.", "P.M.", "B.C.", "A.D.", "IDDD", "MON", "DAY", "DDD", "IYY",
    "YYY", "TZH", "TZM", "FF1", "FF2", "FF3", "FF4", "FF5", "FF6", "HH", "MI", "SS", "MS", "US", "AM", "PM", "BC", "AD", "MM", "DY", "DD",
    "ID", "IW", "IY", "YY", "WW", "CC", "RM", "TZ", "OF", "D", "W", "J", "Q", "I", "Y", "FX",
];

/// A template as its pieces.
fn pieces(template: &str) -> Vec<Piece> {
    let mut out = vec![];
    let mut rest = template;
    let mut fill = true;
    while let Some(first) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').unwrap_or(quoted.len());
            out.extend(quoted[..end].chars().map(Piece::Literal));
            rest = quoted.get(end + 1..).unwrap_or_default();
            continue;
        }
        if let Some(after) = strip_pattern(rest, "FM") {
            fill = false;
            rest = after;
            continue;
        }
        let found = PATTERNS.iter().find_map(|pattern| strip_pattern(rest, pattern).map(|after| (*pattern, after)));
        let Some((pattern, after)) = found else {
            out.push(Piece::Literal(first));
            rest = &rest[first.len_utf8()..];
            continue;
        };
        let ordinal = if after.starts_with("TH") {
            Some("TH")
        } else if after.starts_with("th") {
            Some("th")
        } else {
            None
        };
        let spelling = spelling(&rest[..pattern.len()]);
        rest = if ordinal.is_some() { &after[2..] } else { after };
        if pattern != "FX" {
            out.push(Piece::Field { pattern, spelling, fill, ordinal });
        }
        fill = true;
    }
    out
}

fn strip_pattern<'a>(text: &'a str, pattern: &str) -> Option<&'a str> {
    let start = text.get(..pattern.len())?;
    start.eq_ignore_ascii_case(pattern).then(|| &text[pattern.len()..])
}

fn spelling(pattern: &str) -> Spelling {
    let mut letters = pattern.chars().filter(|c| c.is_ascii_alphabetic());
    match (letters.next().is_some_and(char::is_uppercase), letters.next().is_some_and(char::is_uppercase)) {
        (true, true) => Spelling::Upper,
        (true, false) => Spelling::Capital,
        _ => Spelling::Lower,
    }
}

const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const ROMAN: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(at: &str, template: &str, expected: &str) {
        let micros = crate::decode::datetime::parse_timestamp(at).expect(at);
        let mut written = String::new();
        write::moment(&mut written, micros, None, &pieces(template)).expect(template);
        assert_eq!(written, expected, "{at} {template}");
    }

    #[test]
    fn moments_are_written() {
        let at = "2024-05-07 17:03:09.012345";
        check(at, "YYYY-MM-DD HH24:MI:SS.US", "2024-05-07 17:03:09.012345");
        check(at, "FMMonth FMDDth, YYYY", "May 7th, 2024");
        check(at, "Month|MON|dy|DAY", "May      |MAY|tue|TUESDAY  ");
        check(at, "HH12:MI am \"at\" Q", "05:03 pm at 2");
        check(at, "IYYY-IW-ID DDD WW W", "2024-19-2 128 19 1");
        check("0044-03-15 00:00:00 BC", "YYYY AD", "0044 BC");
    }

    #[test]
    fn moments_are_read() {
        let check = |text: &str, template: &str, expected: &str| {
            let expected = crate::decode::datetime::parse_timestamp(expected).expect(expected);
            assert_eq!(to_timestamp(text, template).expect(text), expected, "{text} {template}");
        };
        check("2024-05-07 17:03:09", "YYYY-MM-DD HH24:MI:SS", "2024-05-07 17:03:09");
        check("05 Dec 2000", "DD Mon YYYY", "2000-12-05");
        check("20240507", "YYYYMMDD", "2024-05-07");
        check("7/5/24 5 PM", "DD/MM/YY HH12 PM", "2024-05-07 17:00:00");
        check("2024 128", "YYYY DDD", "2024-05-07");
        assert!(to_timestamp("x", "YYYY").is_err());
        assert!(to_timestamp("2024-13-01", "YYYY-MM-DD").is_err());
    }
}
