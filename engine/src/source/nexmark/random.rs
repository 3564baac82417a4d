//! Randomness with random access: every draw is a pure function of (seed, event number, field), so any event can be made
//! without those before it, and leaving out a column changes no other.
//!
//! The mixer is SplitMix64's finaliser (Steele, Lea, Flood: *Fast splittable pseudorandom number generators*, 2014).

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
const FIELD_STEP: u64 = 0xD1B5_4A32_D192_ED03;

/// Spreads `x` over all 64 bits; a bijection.
pub fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// What all draws of event (or row) `number` start from.
pub fn event_key(seed: u64, number: u64) -> u64 {
    mix(seed.wrapping_add(number.wrapping_add(1).wrapping_mul(GOLDEN)))
}

/// 64 random bits for one field of the event with this key.
pub fn draw(event_key: u64, field: u64) -> u64 {
    mix(event_key.wrapping_add(field.wrapping_add(1).wrapping_mul(FIELD_STEP)))
}

/// A number below `bound`, from the high half of a draw.
pub fn high_below(draw: u64, bound: u32) -> u32 {
    (((draw >> 32) * u64::from(bound)) >> 32) as u32
}

/// A number below `bound`, from the low half of a draw.
pub fn low_below(draw: u64, bound: u32) -> u32 {
    (((draw & 0xFFFF_FFFF) * u64::from(bound)) >> 32) as u32
}

/// A number below `bound`, from the whole draw.
pub fn below(draw: u64, bound: u64) -> u64 {
    ((u128::from(draw) * u128::from(bound)) >> 64) as u64
}

/// A number in `0.0..1.0` with 53 random bits.
pub fn unit(draw: u64) -> f64 {
    (draw >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_at_the_extremes() {
        for bound in [1u32, 2, 7, u32::MAX] {
            assert_eq!(high_below(0, bound), 0);
            assert_eq!(high_below(u64::MAX, bound), bound - 1);
            assert_eq!(low_below(u64::MAX, bound), bound - 1);
            assert_eq!(below(u64::MAX, u64::from(bound)), u64::from(bound) - 1);
        }
        assert!(unit(u64::MAX) < 1.0);
    }

    #[test]
    fn draws_of_neighbours_are_unrelated() {
        let ones: u32 = (0..1000).map(|n| (event_key(1, n) ^ event_key(1, n + 1)).count_ones()).sum();
        assert!((31_000..33_000).contains(&ones), "{ones} of 64000 bits differ between neighbours");
    }
}
