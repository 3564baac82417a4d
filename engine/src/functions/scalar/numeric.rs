//! Functions over `numeric`, and its division.
//!
//! A numeric column has one scale, so where Postgres chooses a scale by the value these have [`RESULT_SCALE`] digits: what
//! Postgres gives for quotients between 1 and 10,000. Sums, differences, products, rounding and division are exact to that
//! digit; roots, powers, exponentials and logarithms are computed in double precision, which is right to 15 digits.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array};
use arrow::datatypes::{DataType, Decimal128Type, FieldRef, Int64Type};
use datafusion::common::ScalarValue;

use super::math::{self, double_overload};
use super::overload::{Evaluate, Kind, Overload, Scalar, Typing};
use crate::error::sqlstate::{DIVISION_BY_ZERO, NUMERIC_VALUE_OUT_OF_RANGE};
use crate::{Error, Result};

/// Digits behind the point of a quotient.
pub const RESULT_SCALE: i8 = 16;

/// The type of results that have no scale of their own.
pub const RESULT: DataType = DataType::Decimal128(38, RESULT_SCALE);

/// A value: `unscaled / 10^scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number {
    /// Its digits as an integer.
    pub unscaled: i128,
    /// How many of them are behind the point.
    pub scale: i8,
}

/// The functions of this table.
pub fn functions() -> Vec<Scalar> {
    vec![
        both("round", Overload::new(vec![Kind::Numeric], scaled(0), one(|x, _| x.rounded(0)))).or(Overload::new(
            vec![Kind::Numeric, places()],
            scale_of_argument(),
            to_places(Number::rounded),
        )),
        both("trunc", Overload::new(vec![Kind::Numeric], scaled(0), one(|x, _| Ok(x.truncated(0))))).or(Overload::new(
            vec![Kind::Numeric, places()],
            scale_of_argument(),
            to_places(|x, places| Ok(x.truncated(places))),
        )),
        both("ceil", Overload::new(vec![Kind::Numeric], scaled(0), one(|x, _| x.ceiling()))).alias("ceiling"),
        both("floor", Overload::new(vec![Kind::Numeric], scaled(0), one(|x, _| x.floor()))),
        both("sign", Overload::new(vec![Kind::Numeric], scaled(0), one(|x, _| Ok(Number { unscaled: x.unscaled.signum(), scale: 0 })))),
        both("sqrt", by_double(|x| if x < 0.0 { Err(negative_root()) } else { Ok(x.sqrt()) })),
        both("exp", by_double(|x| math::checked(x.exp(), true))),
        both("ln", by_double(|x| math::logarithm(x).map(f64::ln))),
        both("log", by_double(|x| math::logarithm(x).map(f64::log10))).or(Overload::new(
            vec![Kind::Numeric, Kind::Numeric],
            fixed(RESULT),
            two(|base, x, scale| {
                let (base, x) = (math::logarithm(base.to_f64())?, math::logarithm(x.to_f64())?);
                if base == 1.0 {
                    return Err(division_by_zero());
                }
                Number::of_f64(x.ln() / base.ln(), scale)
            }),
        )),
        both("log10", by_double(|x| math::logarithm(x).map(f64::log10))),
        both("power", Overload::new(vec![Kind::Numeric, Kind::Numeric], fixed(RESULT), two(power))).alias("pow"),
        Scalar::new("div").or(Overload::new(vec![Kind::Numeric, Kind::Numeric], scaled(0), two(|a, b, _| a.divided(b, 0, false)))),
        Scalar::new("scale").or(Overload::fixed(vec![Kind::Numeric], DataType::Int32, digits(|x| x.scale.max(0).into()))),
        Scalar::new("min_scale").or(Overload::fixed(vec![Kind::Numeric], DataType::Int32, digits(Number::least_scale))),
        Scalar::new("trim_scale")
            .or(Overload::new(vec![Kind::Numeric], scale_of_argument(), one(|x, scale| x.rounded(scale.into()))))
            .of_type("numeric"),
        Scalar::new(DIVIDE).or(Overload::new(vec![Kind::Numeric, Kind::Numeric], quotient(), two(|a, b, scale| a.divided(b, scale, true)))),
    ]
}

/// The function that `a / b` on numerics becomes.
pub const DIVIDE: &str = "numeric_divide";

/// A function that doubles have too. Postgres prefers those, so integers go there.
fn both(name: &'static str, numeric: Overload) -> Scalar {
    Scalar::new(name).or(double_overload(name).expect("the table of doubles has it")).or(numeric)
}

fn places() -> Kind {
    // not `integer`: while planning, places are read off a literal, which DataFusion has as a bigint
    Kind::Exactly(DataType::Int64)
}

fn fixed(data_type: DataType) -> Typing {
    Arc::new(move |_, _| Ok(data_type.clone()))
}

fn scaled(scale: i8) -> Typing {
    Arc::new(move |_, _| Ok(DataType::Decimal128(38, scale)))
}

fn scale_of(field: &FieldRef) -> i8 {
    match field.data_type() {
        DataType::Decimal128(_, scale) => *scale,
        _ => RESULT_SCALE,
    }
}

/// As many places as a constant second argument says, otherwise those of the first.
fn scale_of_argument() -> Typing {
    Arc::new(|fields: &[FieldRef], constants: &[Option<ScalarValue>]| {
        let places = match constants.get(1) {
            Some(Some(ScalarValue::Int32(Some(places)))) => Some(*places),
            Some(Some(ScalarValue::Int64(Some(places)))) => i32::try_from(*places).ok(),
            _ => None,
        };
        let scale = match places {
            Some(places) => places.clamp(0, 37) as i8,
            None => scale_of(&fields[0]),
        };
        Ok(DataType::Decimal128(38, scale))
    })
}

/// A quotient has at least [`RESULT_SCALE`] digits behind the point, and no fewer than its arguments.
fn quotient() -> Typing {
    Arc::new(|fields: &[FieldRef], _: &[Option<ScalarValue>]| {
        let scale = fields.iter().map(scale_of).max().unwrap_or(RESULT_SCALE).clamp(RESULT_SCALE, 20);
        Ok(DataType::Decimal128(38, scale))
    })
}

fn numbers(array: &ArrayRef) -> impl Fn(usize) -> Option<Number> {
    let array = array.as_primitive::<Decimal128Type>().clone();
    let scale = array.scale();
    move |row| (!array.is_null(row)).then(|| Number { unscaled: array.value(row), scale })
}

fn collect(values: impl Iterator<Item = Result<Option<Number>>>, returned: &DataType) -> Result<ArrayRef> {
    let DataType::Decimal128(precision, scale) = *returned else { return Err(Error::internal("a numeric function returns numeric")) };
    let unscaled = values.map(|value| value?.map(|value| value.at_scale(scale)).transpose()).collect::<Result<Decimal128Array>>()?;
    Ok(Arc::new(unscaled.with_precision_and_scale(precision, scale)?))
}

fn one(function: fn(Number, i8) -> Result<Number>) -> Evaluate {
    Arc::new(move |arguments, n_rows, returned| {
        let DataType::Decimal128(_, scale) = *returned else { return Err(Error::internal("a numeric function returns numeric")) };
        let x = numbers(&arguments[0]);
        collect((0..n_rows).map(|row| x(row).map(|x| function(x, scale)).transpose()), returned)
    })
}

fn two(function: fn(Number, Number, i8) -> Result<Number>) -> Evaluate {
    Arc::new(move |arguments, n_rows, returned| {
        let DataType::Decimal128(_, scale) = *returned else { return Err(Error::internal("a numeric function returns numeric")) };
        let (a, b) = (numbers(&arguments[0]), numbers(&arguments[1]));
        collect((0..n_rows).map(|row| a(row).zip(b(row)).map(|(a, b)| function(a, b, scale)).transpose()), returned)
    })
}

fn to_places(function: fn(Number, i32) -> Result<Number>) -> Evaluate {
    Arc::new(move |arguments, n_rows, returned| {
        let x = numbers(&arguments[0]);
        let places = arguments[1].as_primitive::<Int64Type>();
        let place = |row: usize| (!places.is_null(row)).then(|| places.value(row).clamp(-1_000, 1_000) as i32);
        collect((0..n_rows).map(|row| x(row).zip(place(row)).map(|(x, places)| function(x, places)).transpose()), returned)
    })
}

fn digits(function: fn(Number) -> i32) -> Evaluate {
    Arc::new(move |arguments, n_rows, _| {
        let x = numbers(&arguments[0]);
        Ok(Arc::new((0..n_rows).map(|row| x(row).map(function)).collect::<arrow::array::Int32Array>()))
    })
}

fn by_double(function: fn(f64) -> Result<f64>) -> Overload {
    let evaluate: Evaluate = Arc::new(move |arguments: &[ArrayRef], n_rows: usize, returned: &DataType| {
        let x = numbers(&arguments[0]);
        let value = |x: Number| Number::of_f64(function(x.to_f64())?, RESULT_SCALE);
        collect((0..n_rows).map(|row| x(row).map(value).transpose()), returned)
    });
    Overload::new(vec![Kind::Numeric], fixed(RESULT), evaluate)
}

fn power(base: Number, exponent: Number, scale: i8) -> Result<Number> {
    if let Some(exact) = whole_power(base, exponent) {
        return Ok(exact);
    }
    match math::power(base.to_f64(), exponent.to_f64()) {
        Err(error) if error.message.ends_with("underflow") => Ok(Number { unscaled: 0, scale }),
        power => Number::of_f64(power?, scale),
    }
}

/// By multiplication, where that fits.
fn whole_power(base: Number, exponent: Number) -> Option<Number> {
    let exponent = exponent.whole().and_then(|exponent| u32::try_from(exponent).ok()).filter(|exponent| *exponent <= 128)?;
    let scale = i8::try_from(i64::from(base.scale) * i64::from(exponent)).ok()?;
    Some(Number { unscaled: base.unscaled.checked_pow(exponent)?, scale })
}

fn negative_root() -> Error {
    Error::new(math::INVALID_POWER, "cannot take square root of a negative number")
}

/// `22012`.
pub fn division_by_zero() -> Error {
    Error::new(DIVISION_BY_ZERO, "division by zero")
}

fn overflow() -> Error {
    Error::new(NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow").with_detail("a numeric has at most 38 digits here")
}

fn ten_to(power: u32) -> Result<i128> {
    10i128.checked_pow(power).ok_or_else(overflow)
}

/// `a / b` rounded half away from zero.
fn rounded_quotient(a: i128, b: i128) -> i128 {
    let (quotient, rest) = (a / b, a % b);
    let away = if (a < 0) == (b < 0) { 1 } else { -1 };
    if rest.unsigned_abs() >= b.unsigned_abs() - rest.unsigned_abs() { quotient + away } else { quotient }
}

impl Number {
    /// The nearest double.
    pub fn to_f64(self) -> f64 {
        // through text: dividing two doubles would round twice
        format!("{}e{}", self.unscaled, -i32::from(self.scale)).parse().expect("an integer with an exponent is a double")
    }

    /// The nearest number with so many digits behind the point.
    pub fn of_f64(value: f64, scale: i8) -> Result<Self> {
        if !value.is_finite() {
            return Err(overflow());
        }
        let unscaled = crate::decode::text::parse_numeric(&format!("{value:e}"), 38, scale)?;
        Ok(Self { unscaled, scale })
    }

    /// The unscaled value with another scale, rounded half away from zero.
    pub fn at_scale(self, scale: i8) -> Result<i128> {
        let more = i32::from(scale) - i32::from(self.scale);
        match u32::try_from(more) {
            Ok(more) => {
                let unscaled =
                    self.unscaled.checked_mul(ten_to(more).or_else(|error| if self.unscaled == 0 { Ok(1) } else { Err(error) })?);
                unscaled.filter(|unscaled| unscaled.unsigned_abs() < 10u128.pow(38)).ok_or_else(overflow)
            }
            Err(_) => match 10i128.checked_pow(more.unsigned_abs()) {
                Some(divisor) => Ok(rounded_quotient(self.unscaled, divisor)),
                None => Ok(0),
            },
        }
    }

    /// To so many places, half away from zero; negative places are before the point.
    fn rounded(self, places: i32) -> Result<Self> {
        let places = places.clamp(-38, 37);
        if places >= i32::from(self.scale) {
            return Ok(self);
        }
        let unscaled = self.at_scale(places as i8)?;
        Self { unscaled, scale: places as i8 }.with_scale_of_at_least(0)
    }

    fn truncated(self, places: i32) -> Self {
        let places = places.clamp(-38, 37);
        let dropped = i32::from(self.scale) - places;
        match u32::try_from(dropped) {
            Ok(dropped) => match 10i128.checked_pow(dropped) {
                Some(divisor) => Self { unscaled: self.unscaled / divisor * divisor, scale: self.scale },
                None => Self { unscaled: 0, scale: 0 },
            },
            Err(_) => self,
        }
    }

    fn floor(self) -> Result<Self> {
        let divisor = ten_to(self.scale.max(0) as u32)?;
        Ok(Self { unscaled: self.unscaled.div_euclid(divisor), scale: 0 })
    }

    fn ceiling(self) -> Result<Self> {
        let below = Self { unscaled: -self.unscaled, ..self }.floor()?;
        Ok(Self { unscaled: -below.unscaled, scale: 0 })
    }

    fn with_scale_of_at_least(self, scale: i8) -> Result<Self> {
        if self.scale >= scale { Ok(self) } else { Ok(Self { unscaled: self.at_scale(scale)?, scale }) }
    }

    /// The value if it is a whole number.
    fn whole(self) -> Option<i128> {
        let divisor = 10i128.checked_pow(self.scale.max(0) as u32)?;
        (self.unscaled % divisor == 0).then(|| self.unscaled / divisor)
    }

    fn least_scale(self) -> i32 {
        let (mut unscaled, mut scale) = (self.unscaled, self.scale.max(0));
        while scale > 0 && unscaled % 10 == 0 {
            unscaled /= 10;
            scale -= 1;
        }
        if self.unscaled == 0 { 0 } else { scale.into() }
    }

    /// The quotient with so many digits behind the point, rounded or cut off. Exact: digits are made one by one.
    fn divided(self, by: Self, scale: i8, round: bool) -> Result<Self> {
        if by.unscaled == 0 {
            return Err(division_by_zero());
        }
        let negative = (self.unscaled < 0) != (by.unscaled < 0);
        let (mut a, mut b) = (self.unscaled.unsigned_abs(), by.unscaled.unsigned_abs());
        // a/10^s ÷ b/10^t × 10^scale = a × 10^(scale + t − s) ÷ b
        let mut shift = i32::from(scale) + i32::from(by.scale) - i32::from(self.scale);
        while shift < 0 && a % 10 == 0 && a != 0 {
            a /= 10;
            shift += 1;
        }
        if shift < 0 {
            b = 10u128.checked_pow(shift.unsigned_abs()).and_then(|ten| b.checked_mul(ten)).ok_or_else(overflow)?;
            shift = 0;
        }
        let (mut quotient, mut rest) = (a / b, a % b);
        for _ in 0..shift {
            // rest < b < 10^38, so ten times it fits 128 bits unsigned only up to 3.4 × 10^37: split the step
            let (digit, next) = next_digit(rest, b);
            quotient = quotient.checked_mul(10).and_then(|quotient| quotient.checked_add(digit)).ok_or_else(overflow)?;
            rest = next;
        }
        if round && rest >= b - rest {
            quotient += 1;
        }
        let unscaled = i128::try_from(quotient).map_err(|_| overflow())?;
        Ok(Self { unscaled: if negative { -unscaled } else { unscaled }, scale })
    }
}

/// The next digit of `rest / b` and what is left, for `rest < b`.
fn next_digit(rest: u128, b: u128) -> (u128, u128) {
    match rest.checked_mul(10) {
        Some(rest) => (rest / b, rest % b),
        None => {
            let (mut digit, mut left) = (0, 0u128);
            for _ in 0..10 {
                // left and rest are below b: their sum is compared without computing it
                if left >= b - rest {
                    left -= b - rest;
                    digit += 1;
                } else {
                    left += rest;
                }
            }
            (digit, left)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        Number { unscaled: format!("{whole}{fraction}").parse().expect("digits"), scale: fraction.len() as i8 }
    }

    fn check(a: &str, b: &str, scale: i8, expected: &str) {
        assert_eq!(number(a).divided(number(b), scale, true).expect("a quotient"), number(expected), "{a} / {b}");
    }

    #[test]
    fn quotients_are_exact_and_rounded() {
        check("1", "3", 16, "0.3333333333333333");
        check("2", "3", 16, "0.6666666666666667");
        check("-2", "3", 4, "-0.6667");
        check("10", "4.0", 2, "2.50");
        check("12345678901234567890123456789012345678", "12345678901234567890123456789012345678", 4, "1.0000");
        check("99999999999999999999999999999999999998", "99999999999999999999999999999999999999", 3, "1.000");
    }

    #[test]
    fn rounding_is_half_away_from_zero() {
        assert_eq!(number("2.345").rounded(2).expect("fits"), number("2.35"));
        assert_eq!(number("-2.345").rounded(2).expect("fits"), number("-2.35"));
        assert_eq!(number("1250").rounded(-2).expect("fits"), number("1300"));
        assert_eq!(number("-1.5").floor().expect("fits"), number("-2"));
        assert_eq!(number("-1.5").ceiling().expect("fits"), number("-1"));
    }
}
