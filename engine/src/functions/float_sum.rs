//! Exact sums of doubles: a superaccumulator (Kulisch; in small buckets as in R. Neal, "Fast exact summation using small and
//! large superaccumulators", 2015), rounded once when it is read. Hence independent of order, and a retraction leaves nothing
//! behind.

use super::big::Big;

/// Σ of weighted doubles, and how many there were.
///
/// Bucket `i` counts units of 2^(32·(first + i)). A term takes at most 96 bits of a bucket's 127, so 2^31 terms fit before a
/// carry moves on. Zeros have no sign here: the sum of nothing but -0.0 is 0.0.
#[derive(Debug, Clone, Default)]
pub struct FloatSum {
    n: i64,
    specials: Option<Box<Specials>>,
    first: i32,
    buckets: Vec<i128>,
}

/// How many values are no numbers to add.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Specials {
    n_nan: i64,
    n_infinite: i64,
    n_minus_infinite: i64,
}

/// A sum as it can be.
#[derive(Debug, Clone, PartialEq)]
pub enum Total {
    /// NaN, or both infinities.
    NaN,
    /// One of the infinities was added.
    Infinite(f64),
    /// A number, exactly.
    Finite(Big),
}

impl FloatSum {
    /// Adds `value`, `weight` times.
    #[inline]
    pub fn add(&mut self, value: f64, weight: i64) {
        self.n = self.n.wrapping_add(weight);
        match parts(value) {
            Some((mantissa, exponent)) => self.add_term(value < 0.0, mantissa, exponent, weight),
            None => self.add_special(value, weight),
        }
    }

    /// Adds the square of `value`, exactly, `weight` times.
    #[inline]
    pub fn add_square(&mut self, value: f64, weight: i64) {
        self.n = self.n.wrapping_add(weight);
        let Some((mantissa, exponent)) = parts(value) else {
            return self.add_special(value.abs(), weight);
        };
        let square = u128::from(mantissa) * u128::from(mantissa);
        self.add_term(false, square as u64, 2 * exponent, weight);
        self.add_term(false, (square >> 64) as u64, 2 * exponent + 64, weight);
    }

    /// Adds all that `other` has seen.
    pub fn merge(&mut self, other: &Self) {
        self.n = self.n.wrapping_add(other.n);
        for (index, bucket) in other.buckets.iter().enumerate() {
            self.add_to_bucket(other.first + index as i32, *bucket);
        }
        if let Some(specials) = &other.specials {
            let mine = self.specials.get_or_insert_default();
            mine.n_nan += specials.n_nan;
            mine.n_infinite += specials.n_infinite;
            mine.n_minus_infinite += specials.n_minus_infinite;
        }
    }

    /// How many values there are.
    pub fn n(&self) -> i64 {
        self.n
    }

    /// The sum.
    pub fn total(&self) -> Total {
        let specials = self.specials.as_deref().copied().unwrap_or_default();
        match (specials.n_nan != 0, specials.n_infinite != 0, specials.n_minus_infinite != 0) {
            (true, _, _) | (_, true, true) => Total::NaN,
            (_, true, _) => Total::Infinite(f64::INFINITY),
            (_, _, true) => Total::Infinite(f64::NEG_INFINITY),
            _ => Total::Finite(Big::from_buckets(self.first, &self.buckets)),
        }
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.buckets.capacity() * 16 + self.specials.as_ref().map_or(0, |_| size_of::<Specials>())
    }

    /// Appends the sum to `bytes`, little endian.
    pub fn write(&self, bytes: &mut Vec<u8>) {
        let specials = self.specials.as_deref().copied().unwrap_or_default();
        for number in [self.n, specials.n_nan, specials.n_infinite, specials.n_minus_infinite] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.first.to_le_bytes());
        bytes.extend_from_slice(&(self.buckets.len() as u32).to_le_bytes());
        self.buckets.iter().for_each(|bucket| bytes.extend_from_slice(&bucket.to_le_bytes()));
    }

    /// Reads what [`FloatSum::write`] wrote and moves `bytes` behind it; `None` when it is cut short.
    pub fn read(bytes: &mut &[u8]) -> Option<Self> {
        let n = i64::from_le_bytes(take(bytes)?);
        let specials = Specials {
            n_nan: i64::from_le_bytes(take(bytes)?),
            n_infinite: i64::from_le_bytes(take(bytes)?),
            n_minus_infinite: i64::from_le_bytes(take(bytes)?),
        };
        let first = i32::from_le_bytes(take(bytes)?);
        let n_buckets = u32::from_le_bytes(take(bytes)?);
        let buckets = (0..n_buckets).map(|_| take(bytes).map(i128::from_le_bytes)).collect::<Option<_>>()?;
        let specials = (specials != Specials::default()).then(|| Box::new(specials));
        Some(Self { n, specials, first, buckets })
    }

    /// Adds ±mantissa · 2^exponent, `weight` times.
    #[inline]
    fn add_term(&mut self, negative: bool, mantissa: u64, exponent: i32, weight: i64) {
        if mantissa == 0 {
            return;
        }
        let magnitude = i128::from(mantissa) << (exponent & 31);
        let term = if negative { -magnitude } else { magnitude };
        let bucket = exponent >> 5;
        match weight {
            1 => self.add_to_bucket(bucket, term),
            -1 => self.add_to_bucket(bucket, -term),
            _ => {
                // The weight in two halves: 95 bits times 32 bits fit.
                self.add_to_bucket(bucket, term * i128::from(weight as u32));
                self.add_to_bucket(bucket + 1, term * i128::from(weight >> 32));
            }
        }
    }

    #[inline]
    fn add_to_bucket(&mut self, bucket: i32, term: i128) {
        let index = self.index_of(bucket);
        match self.buckets[index].checked_add(term) {
            Some(sum) => self.buckets[index] = sum,
            None => self.add_with_carry(bucket, term),
        }
    }

    #[cold]
    fn add_with_carry(&mut self, bucket: i32, term: i128) {
        let index = self.index_of(bucket);
        let carry = (self.buckets[index] >> 32) + (term >> 32);
        self.buckets[index] = (self.buckets[index] & 0xffff_ffff) + (term & 0xffff_ffff);
        self.add_to_bucket(bucket + 1, carry);
    }

    #[inline]
    fn index_of(&mut self, bucket: i32) -> usize {
        let index = bucket.wrapping_sub(self.first);
        if index >= 0 && (index as usize) < self.buckets.len() {
            return index as usize;
        }
        self.grow_to(bucket)
    }

    #[cold]
    fn grow_to(&mut self, bucket: i32) -> usize {
        if self.buckets.is_empty() {
            self.first = bucket;
        }
        if bucket < self.first {
            let n_new = (self.first - bucket) as usize;
            self.buckets.splice(0..0, std::iter::repeat_n(0, n_new));
            self.first = bucket;
        }
        let index = (bucket - self.first) as usize;
        if index >= self.buckets.len() {
            self.buckets.resize(index + 1, 0);
        }
        index
    }

    #[cold]
    fn add_special(&mut self, value: f64, weight: i64) {
        let specials = self.specials.get_or_insert_default();
        if value.is_nan() {
            specials.n_nan += weight;
        } else if value > 0.0 {
            specials.n_infinite += weight;
        } else {
            specials.n_minus_infinite += weight;
        }
        if **specials == Specials::default() {
            self.specials = None;
        }
    }
}

/// |value| as mantissa · 2^exponent; `None` for NaN and the infinities.
#[inline]
fn parts(value: f64) -> Option<(u64, i32)> {
    let bits = value.to_bits();
    let (exponent, fraction) = ((bits >> 52) as i32 & 0x7ff, bits & ((1 << 52) - 1));
    match exponent {
        0x7ff => None,
        0 => Some((fraction, -1074)),
        _ => Some((fraction | (1 << 52), exponent - 1075)),
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use rand::prelude::*;

    use super::*;

    fn finite(sum: &FloatSum) -> Option<f64> {
        match sum.total() {
            Total::Finite(big) => big.to_f64(),
            other => panic!("not finite: {other:?}"),
        }
    }

    fn sum_of(values: &[f64]) -> FloatSum {
        let mut sum = FloatSum::default();
        values.iter().for_each(|value| sum.add(*value, 1));
        sum
    }

    /// Any bit pattern but NaN and infinities, or a number of the usual size.
    fn any_double(random: &mut StdRng) -> f64 {
        if random.random_bool(0.5) {
            return (random.random_range(-1_000_000..1_000_000) as f64) / 100.0;
        }
        let value = f64::from_bits(random.random());
        if value.is_finite() { value } else { f64::MIN_POSITIVE / 8.0 }
    }

    #[test]
    fn one_value_is_itself() {
        let mut random = StdRng::seed_from_u64(1);
        let edges = [0.0, 1.0, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, -5e-324, 1.5, 1e300];
        let powers = (-1074..1024).flat_map(|exponent| [2_f64.powi(exponent), -2_f64.powi(exponent)]);
        for value in edges.into_iter().chain(powers).chain((0..20_000).map(|_| any_double(&mut random))) {
            assert_eq!(finite(&sum_of(&[value])), Some(value + 0.0), "{value:e}");
        }
    }

    #[test]
    fn two_values_round_as_the_processor_does() {
        let mut random = StdRng::seed_from_u64(2);
        for _ in 0..50_000 {
            let a = any_double(&mut random);
            let near = a * random.random_range(-2.0..2.0);
            let b = if random.random() || near.is_infinite() { any_double(&mut random) } else { near };
            let expected = Some(a + b).filter(|sum| sum.is_finite());
            assert_eq!(finite(&sum_of(&[a, b])), expected, "{a:e} + {b:e}");
        }
    }

    #[test]
    fn real_rounds_once() {
        let mut random = StdRng::seed_from_u64(3);
        for _ in 0..20_000 {
            let value = f32::from_bits(random.random());
            if value.is_finite() {
                let Total::Finite(big) = sum_of(&[f64::from(value)]).total() else { panic!("finite") };
                assert_eq!(big.to_f32(), Some(value + 0.0));
            }
            let double = random.random_range(-1e3..1e3);
            let Total::Finite(big) = sum_of(&[double]).total() else { panic!("finite") };
            assert_eq!(big.to_f32(), Some(double as f32));
        }
    }

    #[test]
    fn order_and_detours_do_not_matter() {
        let mut random = StdRng::seed_from_u64(4);
        for _ in 0..200 {
            let mut values: Vec<f64> = (0..40).map(|_| any_double(&mut random) * 1e-3).collect();
            let expected = finite(&sum_of(&values));
            values.shuffle(&mut random);
            let mut sum = FloatSum::default();
            let detour = any_double(&mut random);
            sum.add(detour, 3);
            values.iter().for_each(|value| sum.add(*value, i64::from(i32::MAX) * 5));
            sum.add(f64::INFINITY, 1);
            values.iter().for_each(|value| sum.add(*value, 1 - i64::from(i32::MAX) * 5));
            sum.add(f64::INFINITY, -1);
            sum.add(detour, -3);
            assert_eq!(finite(&sum), expected);
        }
    }

    #[test]
    fn carries_move_on() {
        let mut sum = FloatSum::default();
        for _ in 0..5 {
            sum.add(f64::MAX, i64::MAX);
        }
        assert_eq!(finite(&sum), None);
        for _ in 0..5 {
            sum.add(-f64::MAX, i64::MAX);
        }
        sum.add(0.1, 1);
        assert_eq!(finite(&sum), Some(0.1));
    }

    #[test]
    fn written_and_read_it_is_the_same() {
        let mut sum = sum_of(&[1e300, -3.25, 5e-324]);
        sum.add(f64::NAN, 2);
        let mut bytes = Vec::new();
        sum.write(&mut bytes);
        let mut rest = bytes.as_slice();
        let mut copy = FloatSum::read(&mut rest).expect("it was written whole");
        assert!(rest.is_empty());
        assert_eq!(copy.total(), Total::NaN);
        copy.add(f64::NAN, -2);
        assert_eq!(finite(&copy), Some(1e300));
        assert!(FloatSum::read(&mut &bytes[..bytes.len() - 1]).is_none());
    }
}
