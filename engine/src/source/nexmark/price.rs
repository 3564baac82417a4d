//! Prices: `10^(u * 6) * 100` cents for `u` uniform in 0..1, without a power function per row.
//!
//! The exponent is cut into two table look-ups and a product. The tables are built with multiplications alone, so prices
//! are the same on every machine (a C library's `pow` is not).

use super::random::unit;

const STEPS: usize = 4096;
/// 10^(6 / 4096) and 10^(6 / 4096²).
const COARSE_BASE: f64 = 1.003_378_622_102_704_8;
const FINE_BASE: f64 = 1.000_000_823_468_938_2;

/// The two tables of powers.
#[derive(Debug)]
pub struct Prices {
    coarse: Vec<f64>,
    fine: Vec<f64>,
}

impl Prices {
    /// Builds the tables.
    pub fn new() -> Self {
        Self { coarse: powers(COARSE_BASE), fine: powers(FINE_BASE) }
    }

    /// A price between 100 and 100,000,000.
    pub fn price(&self, draw: u64) -> i64 {
        let position = (unit(draw) * (STEPS * STEPS) as f64) as usize;
        (self.coarse[position / STEPS] * self.fine[position % STEPS] * 100.0).round() as i64
    }
}

fn powers(base: f64) -> Vec<f64> {
    std::iter::successors(Some(1.0), |power| Some(power * base)).take(STEPS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_power_function() {
        let prices = Prices::new();
        for step in 0..1000u64 {
            let draw = step * (u64::MAX / 1000);
            let position = (unit(draw) * (STEPS * STEPS) as f64).floor() / (STEPS * STEPS) as f64;
            let expected = 10f64.powf(position * 6.0) * 100.0;
            let price = prices.price(draw) as f64;
            assert!((price - expected).abs() <= 0.51 + expected * 1e-9, "price {price}, expected {expected}");
        }
    }
}
