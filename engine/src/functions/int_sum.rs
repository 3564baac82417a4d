//! Exact sums of integers and decimals: 192 bits per group, so that no order of additions and retractions overflows on the
//! way; only the final value can be out of range.

use arrow::datatypes::i256;

/// Σ of weighted integers, and how many there were.
///
/// Guaranteed: `add(v, w)` followed by `add(v, -w)` is no change, whatever came between. 2^63 values of 127 bits fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IntSum {
    low: u128,
    high: i64,
    n: i64,
}

impl IntSum {
    /// Adds `value`, `weight` times.
    #[inline]
    pub fn add(&mut self, value: i128, weight: i64) {
        self.n = self.n.wrapping_add(weight);
        match weight {
            1 => self.add_parts(value as u128, -i64::from(value < 0)),
            -1 => self.add_parts((value as u128).wrapping_neg(), -i64::from(value > 0)),
            _ => self.add_product(value, weight),
        }
    }

    /// Adds all that `other` has seen.
    pub fn merge(&mut self, other: &Self) {
        self.n = self.n.wrapping_add(other.n);
        self.add_parts(other.low, other.high);
    }

    /// How many values there are.
    pub fn n(&self) -> i64 {
        self.n
    }

    /// The sum, where it fits.
    pub fn value(&self) -> Option<i128> {
        let value = self.low as i128;
        (self.high == -i64::from(value < 0)).then_some(value)
    }

    /// The sum in 256 bits, where it always fits.
    pub fn wide_value(&self) -> i256 {
        i256::from_parts(self.low, i128::from(self.high))
    }

    /// Low 128 bits, high 64 bits and count, to be sent elsewhere.
    pub fn parts(&self) -> (u128, i64, i64) {
        (self.low, self.high, self.n)
    }

    /// The inverse of [`IntSum::parts`].
    pub fn from_parts(low: u128, high: i64, n: i64) -> Self {
        Self { low, high, n }
    }

    #[inline]
    fn add_parts(&mut self, low: u128, high: i64) {
        let (sum, carried) = self.low.overflowing_add(low);
        self.low = sum;
        self.high = self.high.wrapping_add(high).wrapping_add(i64::from(carried));
    }

    /// |value| < 2^127 and |weight| ≤ 2^63, so the product has at most 191 bits.
    fn add_product(&mut self, value: i128, weight: i64) {
        let (magnitude, times) = (value.unsigned_abs(), u128::from(weight.unsigned_abs()));
        let bottom = (magnitude & u128::from(u64::MAX)) * times;
        let top = (magnitude >> 64) * times;
        let (low, carried) = bottom.overflowing_add(top << 64);
        let high = (top >> 64) as i64 + i64::from(carried);
        if (value < 0) == (weight < 0) {
            self.add_parts(low, high);
        } else {
            self.add_parts(low.wrapping_neg(), (!high).wrapping_add(i64::from(low == 0)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_repeated_additions() {
        for value in [0, 1, -1, 7, -7, i128::from(i64::MIN), i128::MAX, i128::MIN] {
            for weight in [0_i64, 1, 2, 3, 5] {
                let (mut at_once, mut one_by_one) = (IntSum::default(), IntSum::default());
                at_once.add(value, weight);
                (0..weight).for_each(|_| one_by_one.add(value, 1));
                assert_eq!(at_once, one_by_one, "{value} * {weight}");
                at_once.add(value, -weight);
                assert_eq!(at_once, IntSum::default(), "{value} * {weight} retracted");
            }
        }
    }

    #[test]
    fn passes_through_what_does_not_fit() {
        let mut sum = IntSum::default();
        (0..1000).for_each(|_| sum.add(i128::MAX, 1));
        assert_eq!(sum.value(), None);
        sum.add(i128::MAX, -999);
        assert_eq!(sum.value(), Some(i128::MAX));
        sum.add(i128::MAX, -3);
        sum.add(i128::MIN, 1);
        assert_eq!(sum.value(), None);
    }
}
