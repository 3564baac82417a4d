//! Signed binary numbers of any length: what exact float sums are turned into when a result is read. Slow, exact, small.

use std::cmp::Ordering;

/// ± Σ digits[i] · 2^(32·(first + i)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Big {
    negative: bool,
    first: i32,
    digits: Vec<u32>,
}

impl Big {
    /// Σ buckets[i] · 2^(32·(first + i)); buckets may overlap and have any sign.
    pub fn from_buckets(first: i32, buckets: &[i128]) -> Self {
        const LOW: i128 = 0xffff_ffff;
        let mut digits = Vec::with_capacity(buckets.len() + 4);
        let mut carry = 0_i128;
        for bucket in buckets {
            let low = (bucket & LOW) + (carry & LOW);
            digits.push((low & LOW) as u32);
            carry = (carry >> 32) + (bucket >> 32) + (low >> 32);
        }
        while carry != 0 && carry != -1 {
            digits.push((carry & LOW) as u32);
            carry >>= 32;
        }
        let negative = carry == -1;
        if negative {
            negate(&mut digits);
        }
        Self { negative, first, digits }.trimmed()
    }

    /// True for zero.
    pub fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    /// True below zero.
    pub fn is_negative(&self) -> bool {
        self.negative
    }

    /// The product with a count.
    pub fn times(&self, count: u64) -> Self {
        let factor = Self { negative: false, first: 0, digits: vec![count as u32, (count >> 32) as u32] };
        self.product(&factor.trimmed())
    }

    /// The product.
    pub fn product(&self, other: &Self) -> Self {
        let mut digits = vec![0_u32; self.digits.len() + other.digits.len()];
        for (i, a) in self.digits.iter().enumerate() {
            let mut carry = 0_u64;
            for (j, b) in other.digits.iter().enumerate() {
                let sum = u64::from(*a) * u64::from(*b) + u64::from(digits[i + j]) + carry;
                digits[i + j] = sum as u32;
                carry = sum >> 32;
            }
            digits[i + other.digits.len()] = carry as u32;
        }
        Self { negative: self.negative != other.negative, first: self.first + other.first, digits }.trimmed()
    }

    /// The difference.
    pub fn minus(&self, other: &Self) -> Self {
        let first = self.first.min(other.first);
        let buckets = |big: &Self| -> Vec<i128> {
            let sign = if big.negative { -1 } else { 1 };
            let zeros = std::iter::repeat_n(0, (big.first - first) as usize);
            zeros.chain(big.digits.iter().map(|digit| sign * i128::from(*digit))).collect()
        };
        let (mut left, right) = (buckets(self), buckets(other));
        left.resize(left.len().max(right.len()), 0);
        for (left, right) in left.iter_mut().zip(&right) {
            *left -= right;
        }
        Self::from_buckets(first, &left)
    }

    /// The nearest double, ties to even; `None` when it is beyond all doubles.
    pub fn to_f64(&self) -> Option<f64> {
        let value = f64::from_bits(self.rounded(53, -1022, self.exponent())).copysign(self.sign());
        value.is_finite().then_some(value)
    }

    /// The nearest real, ties to even; `None` when it is beyond all reals.
    pub fn to_f32(&self) -> Option<f32> {
        let bits = self.rounded(24, -126, self.exponent());
        let value = f32::from_bits(bits as u32).copysign(self.sign() as f32);
        value.is_finite().then_some(value)
    }

    /// The number as mantissa · 2^exponent with the mantissa rounded to a double in ±[1, 2]; zero is (0, 0).
    pub fn to_scaled(&self) -> (f64, i32) {
        if self.is_zero() {
            return (0.0, 0);
        }
        let mantissa = f64::from_bits(self.rounded(53, -1022, 0));
        (mantissa.copysign(self.sign()), self.exponent())
    }

    fn sign(&self) -> f64 {
        if self.negative { -1.0 } else { 1.0 }
    }

    /// The exponent of the leading bit; the number is in ±[2^e, 2^(e+1)).
    fn exponent(&self) -> i32 {
        let Some(top) = self.digits.last() else { return 0 };
        32 * (self.first + self.digits.len() as i32 - 1) + 31 - top.leading_zeros() as i32
    }

    /// The bits of the nearest IEEE number of `precision` bits with least normal exponent `min_exponent`, as if the leading
    /// bit had `exponent`. Beyond the greatest it is infinity or more.
    fn rounded(&self, precision: i32, min_exponent: i32, exponent: i32) -> u64 {
        if self.is_zero() {
            return 0;
        }
        let infinity = (((1_i64 << (if precision == 53 { 11 } else { 8 })) - 1) as u64) << (precision - 1);
        if exponent > -min_exponent + 1 {
            return infinity;
        }
        let (mantissa, sticky) = self.leading_bits();
        let n_bits = precision - (min_exponent - exponent).max(0);
        if n_bits < 0 {
            return 0;
        }
        let dropped = 64 - n_bits as u32;
        let kept = mantissa.checked_shr(dropped).unwrap_or(0);
        let rest = if dropped == 64 { mantissa } else { mantissa & ((1 << dropped) - 1) };
        let round_up = match rest.cmp(&(1 << (dropped - 1))) {
            Ordering::Less => false,
            Ordering::Equal => sticky || kept & 1 == 1,
            Ordering::Greater => true,
        };
        // A carry out of the mantissa steps into the next exponent, which is what IEEE's encoding means it to do.
        let exponent_steps = (exponent - min_exponent).max(0) as u64;
        (exponent_steps << (precision - 1)) + kept + u64::from(round_up)
    }

    /// The 64 bits from the leading one, and whether anything follows.
    fn leading_bits(&self) -> (u64, bool) {
        let digit = |from_top: usize| self.digits.len().checked_sub(from_top + 1).map_or(0, |index| u128::from(self.digits[index]));
        let window = (digit(0) << 64) | (digit(1) << 32) | digit(2);
        let shift = 32 - digit(0).leading_zeros().saturating_sub(96);
        let below = window & ((1 << shift) - 1);
        let rest = self.digits.len().saturating_sub(3);
        ((window >> shift) as u64, below != 0 || self.digits[..rest].iter().any(|digit| *digit != 0))
    }

    fn trimmed(mut self) -> Self {
        while self.digits.last() == Some(&0) {
            self.digits.pop();
        }
        self.negative &= !self.digits.is_empty();
        self
    }
}

/// What is to be taken from 2^(32·len) to get these digits: all of it when they are zero, which takes one digit more.
fn negate(digits: &mut Vec<u32>) {
    let mut carry = true;
    for digit in digits.iter_mut() {
        (*digit, carry) = (!*digit).overflowing_add(u32::from(carry));
    }
    if carry {
        digits.push(1);
    }
}
