//! Numbers by a template: `9`, `0`, `.`, `,`, `D`, `G`, `S`, `MI`, `PL`, `SG`, `PR`, `FM` and `TH`. `L`, `RN`, `V` and `EEEE` are `0A000`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, StringArray};
use arrow::datatypes::{DataType, Decimal128Type};

use crate::error::sqlstate::INVALID_TEXT;
use crate::functions::scalar::overload::{Kind, Overload};
use crate::{Error, Result};

/// `to_char(numeric, text)`.
pub fn numeric_overload() -> Overload {
    let evaluate = |arguments: &[ArrayRef], n_rows: usize, _: &DataType| {
        let numbers = arguments[0].as_primitive::<Decimal128Type>();
        let templates = arguments[1].as_string::<i32>();
        let row = |row: usize| match numbers.is_null(row) || templates.is_null(row) {
            true => Ok(None),
            false => to_char(&numbers.value_as_string(row), templates.value(row)).map(Some),
        };
        Ok(Arc::new((0..n_rows).map(row).collect::<Result<StringArray>>()?) as ArrayRef)
    };
    Overload::fixed(vec![Kind::Numeric, Kind::Exactly(DataType::Utf8)], DataType::Utf8, Arc::new(evaluate))
}

/// `to_number(text, text)`: digits, the point and the sign, in the places of the template.
pub fn to_number_overload() -> Overload {
    const SCALE: i8 = 10;
    let evaluate = |arguments: &[ArrayRef], n_rows: usize, _: &DataType| {
        let (texts, templates) = (arguments[0].as_string::<i32>(), arguments[1].as_string::<i32>());
        let row = |row: usize| match texts.is_null(row) || templates.is_null(row) {
            true => Ok(None),
            false => to_number(texts.value(row), templates.value(row), SCALE).map(Some),
        };
        let values = (0..n_rows).map(row).collect::<Result<Decimal128Array>>()?;
        Ok(Arc::new(values.with_precision_and_scale(38, SCALE)?) as ArrayRef)
    };
    let text = || Kind::Exactly(DataType::Utf8);
    Overload::fixed(vec![text(), text()], DataType::Decimal128(38, SCALE), Arc::new(evaluate))
}

fn to_number(text: &str, template: &str, scale: i8) -> Result<i128> {
    Layout::of(template)?;
    let negative = text.contains('-') || text.contains('<');
    let digits: String = text.chars().filter(|c| c.is_ascii_digit() || *c == '.').collect();
    if digits.is_empty() {
        return Err(Error::new(INVALID_TEXT, format!("invalid input syntax for type numeric: \"{text}\"")));
    }
    let value = crate::decode::text::parse_numeric(&digits, 38, scale)?;
    Ok(if negative { -value } else { value })
}

/// Where a sign goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// Before the first digit, in a column of its own.
    Leading,
    /// `S` before or behind the digits.
    Anchored { first: bool },
    /// `MI`, `PL` or `SG`, in their place.
    InPlace,
    /// `<1>`.
    Brackets,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    /// A digit; zeros are shown.
    Digit {
        zero: bool,
    },
    Point,
    Group,
    Minus,
    Plus,
    Either,
    Literal(char),
}

struct Layout {
    items: Vec<Item>,
    sign: Sign,
    fill: bool,
    ordinal: Option<bool>,
}

impl Layout {
    fn of(template: &str) -> Result<Self> {
        let mut layout = Self { items: vec![], sign: Sign::Leading, fill: true, ordinal: None };
        let mut rest = template;
        while let Some(first) = rest.chars().next() {
            let upper: String = rest.chars().take(4).collect::<String>().to_ascii_uppercase();
            let unsupported =
                |what: &str| Err(Error::unsupported(format!("\"{what}\" in a template of numbers is not supported"), "use 9, 0, . and ,"));
            let length = if upper.starts_with("FM") {
                layout.fill = false;
                2
            } else if upper.starts_with("MI") {
                (layout.sign, _) = (Sign::InPlace, layout.items.push(Item::Minus));
                2
            } else if upper.starts_with("PL") {
                (layout.sign, _) = (Sign::InPlace, layout.items.push(Item::Plus));
                2
            } else if upper.starts_with("SG") {
                (layout.sign, _) = (Sign::InPlace, layout.items.push(Item::Either));
                2
            } else if upper.starts_with("PR") {
                layout.sign = Sign::Brackets;
                2
            } else if upper.starts_with("TH") {
                layout.ordinal = Some(rest.starts_with("TH"));
                2
            } else if upper.starts_with("EEEE") {
                return unsupported("EEEE");
            } else if upper.starts_with("RN") {
                return unsupported("RN");
            } else {
                match first {
                    '9' => layout.items.push(Item::Digit { zero: false }),
                    '0' => layout.items.push(Item::Digit { zero: true }),
                    '.' | 'D' | 'd' => layout.items.push(Item::Point),
                    ',' | 'G' | 'g' => layout.items.push(Item::Group),
                    'S' | 's' => {
                        layout.sign = Sign::Anchored { first: !layout.items.iter().any(|item| matches!(item, Item::Digit { .. })) }
                    }
                    'L' | 'l' => return unsupported("L"),
                    'V' | 'v' => return unsupported("V"),
                    '"' => {
                        let quoted: String = rest[1..].chars().take_while(|c| *c != '"').collect();
                        layout.items.extend(quoted.chars().map(Item::Literal));
                        rest = rest.get(quoted.len() + 2..).unwrap_or_default();
                        continue;
                    }
                    other => layout.items.push(Item::Literal(other)),
                }
                first.len_utf8()
            };
            rest = &rest[length..];
        }
        Ok(layout)
    }

    fn places(&self) -> (usize, usize) {
        let point = self.items.iter().position(|item| *item == Item::Point).unwrap_or(self.items.len());
        let digits = |items: &[Item]| items.iter().filter(|item| matches!(item, Item::Digit { .. })).count();
        (digits(&self.items[..point]), digits(&self.items[point..]))
    }
}

/// A number, written plainly, by a template.
pub fn to_char(number: &str, template: &str) -> Result<String> {
    let layout = Layout::of(template)?;
    let (n_whole, n_fraction) = layout.places();
    let rounded = crate::decode::text::parse_numeric(number, 38, n_fraction.min(30) as i8)?;
    let negative = rounded < 0;
    let digits = format!("{:0>width$}", rounded.unsigned_abs(), width = n_fraction + 1);
    let (whole, fraction) = digits.split_at(digits.len() - n_fraction);
    let whole = if whole == "0" && n_fraction > 0 { "" } else { whole };
    let fits = whole.len() <= n_whole || whole == "0" && n_whole == 0;
    let whole = if fits { format!("{whole:>n_whole$}") } else { "#".repeat(n_whole) };
    let fraction = if fits { fraction.to_string() } else { "#".repeat(n_fraction) };
    Ok(layout.write(&whole, &fraction, negative))
}

impl Layout {
    /// `whole` has a character per digit before the point, a space where there is none.
    fn write(&self, whole: &str, fraction: &str, negative: bool) -> String {
        let sign = match (self.sign, negative) {
            (Sign::Leading, true) => "-",
            (Sign::Leading, false) => " ",
            (Sign::Anchored { first: true }, true) => "-",
            (Sign::Anchored { first: true }, false) => "+",
            (Sign::Brackets, true) => "<",
            (Sign::Brackets, false) => " ",
            _ => "",
        };
        let kept_fraction = if self.fill { fraction.len() } else { self.needed_fraction(fraction) };
        let (mut before, mut number) = (String::new(), String::new());
        let (mut whole, mut fraction_at) = (whole.chars(), 0);
        let (mut zeros, mut behind_point) = (false, false);
        for item in &self.items {
            match item {
                Item::Digit { zero } if behind_point => {
                    let _ = zero;
                    if fraction_at < kept_fraction {
                        number.push(fraction.as_bytes()[fraction_at].into());
                    }
                    fraction_at += 1;
                }
                Item::Digit { zero } => {
                    zeros |= *zero;
                    match whole.next() {
                        Some(' ') | None if zeros => number.push('0'),
                        Some(' ') | None if self.fill => before.push(' '),
                        Some(' ') | None => {}
                        Some(digit) => number.push(digit),
                    }
                }
                Item::Point => {
                    behind_point = true;
                    if self.fill || kept_fraction > 0 || !fraction.is_empty() {
                        number.push('.');
                    }
                }
                Item::Group if !number.is_empty() => number.push(','),
                Item::Group if self.fill => before.push(' '),
                Item::Group => {}
                Item::Minus => self.place(&mut before, &mut number, if negative { "-" } else { " " }),
                Item::Plus => self.place(&mut before, &mut number, if negative { " " } else { "+" }),
                Item::Either => self.place(&mut before, &mut number, if negative { "-" } else { "+" }),
                Item::Literal(character) => number.push(*character),
            }
        }
        let mut out = before;
        out.push_str(if self.fill { sign } else { sign.trim() });
        out.push_str(&number);
        match (self.sign, negative) {
            (Sign::Anchored { first: false }, true) => out.push('-'),
            (Sign::Anchored { first: false }, false) => out.push('+'),
            (Sign::Brackets, true) => out.push('>'),
            (Sign::Brackets, false) if self.fill => out.push(' '),
            _ => {}
        }
        out
    }

    fn place(&self, before: &mut String, number: &mut String, sign: &str) {
        let sign = if self.fill { sign } else { sign.trim() };
        let target = if number.is_empty() { before } else { number };
        target.push_str(sign);
    }

    /// Digits behind the point up to the last that is not zero, or that a `0` asks for.
    fn needed_fraction(&self, fraction: &str) -> usize {
        let point = self.items.iter().position(|item| *item == Item::Point).unwrap_or(self.items.len());
        let digits = self.items[point..].iter().filter(|item| matches!(item, Item::Digit { .. }));
        let asked = digits.enumerate().filter(|(_, item)| matches!(item, Item::Digit { zero: true })).map(|(at, _)| at + 1).last();
        let needed = fraction.trim_end_matches('0').len();
        needed.max(asked.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written() {
        let check = |number: &str, template: &str, expected: &str| {
            assert_eq!(to_char(number, template).expect(template), expected, "{number} {template}");
        };
        check("1234.5", "9999.99", " 1234.50");
        check("-1234.5", "9,999.99", "-1,234.50");
        check("12", "9999", "   12");
        check("12", "0999", " 0012");
        check("12.5", "FM999.99", "12.5");
        check("12", "FM999.00", "12.00");
        check("0.5", "9.9", "  .5");
        check("0.5", "0.9", " 0.5");
        check("12345", "999", " ###");
        check("-5", "S99", " -5");
        check("-5", "99MI", " 5-");
        check("-5", "99PR", " <5>");
    }
}
