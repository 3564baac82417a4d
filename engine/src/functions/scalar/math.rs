//! Functions over `double precision` and integers.
//!
//! What DataFusion has and does alike (`sqrt`, `sin`, `gcd`, …) is left to it, but for the errors: Postgres refuses a value
//! outside of a function's domain, where IEEE 754 has NaN.

use super::overload::{Overload, Scalar, over1, over2, over4};
use super::typed::{BigInt, Double, Integer, SmallInt};
use crate::error::sqlstate::NUMERIC_VALUE_OUT_OF_RANGE;
use crate::{Error, Result};

/// `2201F`: power of what has no real result.
pub const INVALID_POWER: &str = "2201F";
/// `2201E`: logarithm of what has none.
pub const INVALID_LOGARITHM: &str = "2201E";

/// The functions of this table.
pub fn functions() -> Vec<Scalar> {
    let double = |function: fn(f64) -> Result<f64>| over1::<Double, Result<f64>>(function);
    let trigonometric: [(&'static str, fn(f64) -> Result<f64>); 26] = [
        ("sin", |x| finite(x).map(f64::sin)),
        ("cos", |x| finite(x).map(f64::cos)),
        ("tan", |x| finite(x).map(f64::tan)),
        ("cot", |x| finite(x).map(|x| 1.0 / x.tan())),
        ("asin", |x| within(x, -1.0, 1.0).map(f64::asin)),
        ("acos", |x| within(x, -1.0, 1.0).map(f64::acos)),
        ("atan", |x| Ok(x.atan())),
        ("sinh", |x| Ok(x.sinh())),
        ("cosh", |x| Ok(x.cosh())),
        ("tanh", |x| Ok(x.tanh())),
        ("asinh", |x| Ok(x.asinh())),
        ("acosh", |x| within(x, 1.0, f64::INFINITY).map(f64::acosh)),
        ("atanh", |x| within(x, -1.0, 1.0).map(f64::atanh)),
        ("sind", |x| finite(x).map(sine_of_degrees)),
        ("cosd", |x| finite(x).map(|x| sine_of_degrees(x.abs() + 90.0))),
        ("tand", |x| finite(x).map(|x| sine_of_degrees(x) / sine_of_degrees(x.abs() + 90.0))),
        ("asind", |x| within(x, -1.0, 1.0).map(|x| exact_degrees(x.asin()))),
        ("acosd", |x| within(x, -1.0, 1.0).map(|x| exact_degrees(x.acos()))),
        ("atand", |x| Ok(exact_degrees(x.atan()))),
        ("degrees", |x| checked(x.to_degrees(), x.is_finite())),
        ("radians", |x| Ok(x.to_radians())),
        ("cbrt", |x| Ok(x.cbrt())),
        ("sqrt", square_root),
        ("exp", |x| checked_power(x.exp(), x.is_finite(), true)),
        ("ln", |x| logarithm(x).map(f64::ln)),
        ("log10", |x| logarithm(x).map(f64::log10)),
    ];
    let mut functions: Vec<Scalar> = trigonometric
        .into_iter()
        // those that are there for numeric as well are in the table of numeric, with these as one of their overloads
        .filter(|(name, _)| !matches!(*name, "sqrt" | "exp" | "ln" | "log10"))
        .map(|(name, function)| Scalar::new(name).or(double(function)))
        .collect();
    functions.extend([
        Scalar::new("atan2").or(over2::<Double, Double, f64>(f64::atan2)),
        Scalar::new("pi").or(Overload::fixed(vec![], arrow::datatypes::DataType::Float64, super::typed::strict0(|| std::f64::consts::PI))),
        Scalar::new("width_bucket").or(over4::<Double, Double, Double, Integer, Result<i32>>(width_bucket)),
        Scalar::new("gcd").or(over2::<Integer, Integer, Result<i32>>(|a, b| narrow(gcd(a.into(), b.into())?))).or(over2::<
            BigInt,
            BigInt,
            Result<i64>,
        >(gcd)),
        Scalar::new("lcm").or(over2::<Integer, Integer, Result<i32>>(|a, b| narrow(lcm(a.into(), b.into())?))).or(over2::<
            BigInt,
            BigInt,
            Result<i64>,
        >(lcm)),
        Scalar::new("bitnot").or(over1::<SmallInt, i16>(|a| !a)).or(over1::<Integer, i32>(|a| !a)).or(over1::<BigInt, i64>(|a| !a)),
    ]);
    functions
}

/// The overloads for doubles of functions that numeric has as well.
pub fn double_overload(name: &str) -> Option<Overload> {
    let one = |function: fn(f64) -> Result<f64>| Some(over1::<Double, Result<f64>>(function));
    match name {
        "sqrt" => one(square_root),
        "exp" => one(|x| checked_power(x.exp(), x.is_finite(), true)),
        "ln" => one(|x| logarithm(x).map(f64::ln)),
        "log" | "log10" => one(|x| logarithm(x).map(f64::log10)),
        "round" => one(|x| Ok(x.round_ties_even())),
        "trunc" => one(|x| Ok(x.trunc())),
        "ceil" => one(|x| Ok(x.ceil())),
        "floor" => one(|x| Ok(x.floor())),
        "sign" => one(|x| Ok(if x == 0.0 || x.is_nan() { x } else { x.signum() })),
        "power" => Some(over2::<Double, Double, Result<f64>>(power)),
        _ => None,
    }
}

fn finite(x: f64) -> Result<f64> {
    if x.is_infinite() { Err(input_out_of_range()) } else { Ok(x) }
}

fn within(x: f64, low: f64, high: f64) -> Result<f64> {
    if x < low || x > high { Err(input_out_of_range()) } else { Ok(x) }
}

fn input_out_of_range() -> Error {
    Error::new(NUMERIC_VALUE_OUT_OF_RANGE, "input is out of range")
}

/// A result that may be infinite only if an argument was.
pub fn checked(result: f64, finite_arguments: bool) -> Result<f64> {
    match result.is_infinite() && finite_arguments {
        true => Err(Error::new(NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow")),
        false => Ok(result),
    }
}

fn checked_power(result: f64, finite_arguments: bool, is_positive: bool) -> Result<f64> {
    if result == 0.0 && finite_arguments && is_positive {
        return Err(Error::new(NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: underflow"));
    }
    checked(result, finite_arguments)
}

fn square_root(x: f64) -> Result<f64> {
    if x < 0.0 { Err(Error::new(INVALID_POWER, "cannot take square root of a negative number")) } else { Ok(x.sqrt()) }
}

/// The argument of a logarithm.
pub fn logarithm(x: f64) -> Result<f64> {
    if x == 0.0 {
        return Err(Error::new(INVALID_LOGARITHM, "cannot take logarithm of zero"));
    }
    if x < 0.0 { Err(Error::new(INVALID_LOGARITHM, "cannot take logarithm of a negative number")) } else { Ok(x) }
}

/// `base` to the power of `exponent`, by IEEE 754 but for what Postgres refuses.
pub fn power(base: f64, exponent: f64) -> Result<f64> {
    if base == 0.0 && exponent < 0.0 {
        return Err(Error::new(INVALID_POWER, "zero raised to a negative power is undefined"));
    }
    if base < 0.0 && exponent.is_finite() && exponent.fract() != 0.0 {
        return Err(Error::new(INVALID_POWER, "a negative number raised to a non-integer power yields a complex result"));
    }
    checked_power(base.powf(exponent), base.is_finite() && exponent.is_finite(), base != 0.0)
}

/// Exact for multiples of 30 and 45 degrees.
fn sine_of_degrees(x: f64) -> f64 {
    let x = x % 360.0;
    let (x, sign) = if x < 0.0 { (-x, -1.0) } else { (x, 1.0) };
    let (x, sign) = if x > 180.0 { (x - 180.0, -sign) } else { (x, sign) };
    let x = if x > 90.0 { 180.0 - x } else { x };
    let sine = match x {
        0.0 => 0.0,
        30.0 => 0.5,
        90.0 => 1.0,
        _ => x.to_radians().sin(),
    };
    sign * sine
}

fn exact_degrees(radians: f64) -> f64 {
    let degrees = radians.to_degrees();
    let nearest = degrees.round();
    if (degrees - nearest).abs() < 1e-12 { nearest } else { degrees }
}

fn width_bucket(operand: f64, low: f64, high: f64, count: i32) -> Result<i32> {
    let invalid = |message: &str| Err(Error::new("2201G", message));
    if count <= 0 {
        return invalid("count must be greater than zero");
    }
    if operand.is_nan() || low.is_nan() || high.is_nan() {
        return invalid("operand, lower bound, and upper bound cannot be NaN");
    }
    if low.is_infinite() || high.is_infinite() {
        return invalid("lower and upper bounds must be finite");
    }
    if low == high {
        return invalid("lower bound cannot equal upper bound");
    }
    let place = (operand - low) / (high - low);
    let bucket = if place < 0.0 {
        0
    } else if place >= 1.0 {
        count.checked_add(1).ok_or_else(integer_out_of_range)?
    } else {
        (f64::from(count) * place) as i32 + 1
    };
    Ok(bucket)
}

fn integer_out_of_range() -> Error {
    Error::new(NUMERIC_VALUE_OUT_OF_RANGE, "integer out of range")
}

fn narrow(value: i64) -> Result<i32> {
    i32::try_from(value).map_err(|_| integer_out_of_range())
}

fn gcd(a: i64, b: i64) -> Result<i64> {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    i64::try_from(a).map_err(|_| Error::new(NUMERIC_VALUE_OUT_OF_RANGE, "bigint out of range"))
}

fn lcm(a: i64, b: i64) -> Result<i64> {
    if a == 0 || b == 0 {
        return Ok(0);
    }
    let out_of_range = || Error::new(NUMERIC_VALUE_OUT_OF_RANGE, "bigint out of range");
    (a / gcd(a, b)?).checked_mul(b).and_then(i64::checked_abs).ok_or_else(out_of_range)
}
