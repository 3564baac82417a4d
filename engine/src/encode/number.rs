//! Numbers as Postgres prints them. With `extra_float_digits` of 1 and above a float is the shortest text that reads back as
//! the same value.

use std::io::Write;

/// From this decimal exponent on a `double precision` is written as `1e+15`, as in Postgres's `d2s.c`.
const DOUBLE_PLAIN_BELOW: i32 = 15;
/// The same for `real` (`f2s.c`).
const REAL_PLAIN_BELOW: i32 = 6;

/// Appends a `double precision`: the shortest text, or with `extra_float_digits` of 0 and below as many digits rounded.
pub fn write_double(out: &mut Vec<u8>, value: f64, extra_float_digits: i8) {
    if write_special(out, value) {
        return;
    }
    match extra_float_digits {
        1.. => write_scientific(out, format!("{value:e}"), DOUBLE_PLAIN_BELOW),
        less => {
            let n_digits = (DOUBLE_PLAIN_BELOW + i32::from(less)).max(1);
            write_scientific(out, rounded(format!("{value:.*e}", n_digits as usize - 1)), n_digits);
        }
    }
}

/// Appends a `real`.
pub fn write_real(out: &mut Vec<u8>, value: f32, extra_float_digits: i8) {
    if write_special(out, f64::from(value)) {
        return;
    }
    match extra_float_digits {
        1.. => write_scientific(out, format!("{value:e}"), REAL_PLAIN_BELOW),
        less => {
            let n_digits = (REAL_PLAIN_BELOW + i32::from(less)).max(1);
            write_scientific(out, rounded(format!("{value:.*e}", n_digits as usize - 1)), n_digits);
        }
    }
}

/// C's `%g` drops zeros at the end.
fn rounded(scientific: String) -> String {
    match scientific.split_once('e') {
        Some((mantissa, exponent)) if mantissa.contains('.') => {
            format!("{}e{exponent}", mantissa.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => scientific,
    }
}

fn write_special(out: &mut Vec<u8>, value: f64) -> bool {
    let text: &[u8] = if value.is_nan() {
        b"NaN"
    } else if value == f64::INFINITY {
        b"Infinity"
    } else if value == f64::NEG_INFINITY {
        b"-Infinity"
    } else if value == 0.0 {
        if value.is_sign_negative() { b"-0" } else { b"0" }
    } else {
        return false;
    };
    out.extend_from_slice(text);
    true
}

/// `scientific` is Rust's `{:e}`: digits with an exponent, such as `-1.25e-7`.
fn write_scientific(out: &mut Vec<u8>, scientific: String, plain_below: i32) {
    let (mantissa, exponent) = scientific.split_once('e').expect("{:e} writes an exponent");
    let exponent: i32 = exponent.parse().expect("{:e} writes an integer exponent");
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(positive) => ("-", positive),
        None => ("", mantissa),
    };
    out.extend_from_slice(sign.as_bytes());
    if !(-4..plain_below).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(out, "{mantissa}e{sign}{:02}", exponent.abs()).expect("a Vec takes all that is written");
        return;
    }
    let digits: Vec<u8> = mantissa.bytes().filter(|byte| *byte != b'.').collect();
    write_plain(out, &digits, exponent);
}

/// Digits `d₀d₁d₂…` that mean `d₀.d₁d₂… × 10^exponent`.
fn write_plain(out: &mut Vec<u8>, digits: &[u8], exponent: i32) {
    if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + (-exponent - 1) as usize, b'0');
        out.extend_from_slice(digits);
        return;
    }
    let n_whole = exponent as usize + 1;
    if digits.len() <= n_whole {
        out.extend_from_slice(digits);
        out.resize(out.len() + n_whole - digits.len(), b'0');
    } else {
        out.extend_from_slice(&digits[..n_whole]);
        out.push(b'.');
        out.extend_from_slice(&digits[n_whole..]);
    }
}

/// How many digits follow the point of a `numeric`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Exactly the column's scale: `numeric(10,2)`.
    Fixed(i8),
    /// No more than the value needs: `numeric` without a modifier, kept with this many digits.
    Trimmed(i8),
}

/// Appends a decimal; `digits` is its unscaled value as text, possibly with a minus sign.
pub fn write_decimal(out: &mut Vec<u8>, digits: &str, scale: Scale) {
    let (n_fraction, trim) = match scale {
        Scale::Fixed(scale) => (scale, false),
        Scale::Trimmed(scale) => (scale, true),
    };
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(positive) => ("-", positive),
        None => ("", digits),
    };
    out.extend_from_slice(sign.as_bytes());
    if n_fraction <= 0 {
        out.extend_from_slice(digits.as_bytes());
        if digits != "0" {
            out.resize(out.len() + n_fraction.unsigned_abs() as usize, b'0');
        }
        return;
    }
    let n_fraction = n_fraction as usize;
    let padded = format!("{digits:0>width$}", width = n_fraction + 1);
    let (whole, fraction) = padded.split_at(padded.len() - n_fraction);
    let fraction = if trim { fraction.trim_end_matches('0') } else { fraction };
    out.extend_from_slice(whole.as_bytes());
    if !fraction.is_empty() {
        out.push(b'.');
        out.extend_from_slice(fraction.as_bytes());
    }
}
