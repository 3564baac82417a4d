//! The generator's strings: slices of a pool of random letters, and tables of all channels with their urls.
//!
//! The official generator draws each letter; here a string is a random slice of a random pool, which has the same shape and
//! distribution of lengths and letters at the cost of one copy.

use super::random::{draw, event_key, high_below, low_below};

/// Smallest length of [`Text::words`], before trimming.
const MIN_LENGTH: u32 = 3;
/// Slices start at one of these positions; two pools of this size stay in a core's second-level cache.
const POOL_STARTS: u32 = 1 << 16;
/// Longest slice: an auction's `extra` of 452 + 20 % letters fits.
const MAX_SLICE: u32 = 1024;

/// How many channels there are beside the hot ones.
pub const N_CHANNELS: u32 = 10_000;
/// The channels half of all bids come from.
pub const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];

/// The pools and tables for one seed.
#[derive(Debug)]
pub struct Text {
    letters: Vec<u8>,
    spaced: Vec<u8>,
    channels: Table,
    urls: Table,
}

/// Many strings end to end.
#[derive(Debug, Default)]
struct Table {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Text {
    /// The strings of `seed`.
    pub fn new(seed: u64) -> Self {
        let (channels, urls) = channel_tables(seed);
        Self { letters: pool(seed, 1, |_| false), spaced: pool(seed, 2, |d| low_below(d, 13) == 0), channels, urls }
    }

    /// Exactly `length` letters.
    pub fn letters(&self, draw: u64, length: usize) -> &[u8] {
        let start = high_below(draw, POOL_STARTS) as usize;
        &self.letters[start..start + length.min(MAX_SLICE as usize)]
    }

    /// Words of 3 to `max_length - 1` letters and spaces, trimmed.
    pub fn words(&self, draw: u64, max_length: u32) -> &[u8] {
        let start = high_below(draw, POOL_STARTS) as usize;
        let length = MIN_LENGTH + low_below(draw, max_length - MIN_LENGTH);
        self.spaced[start..start + length as usize].trim_ascii()
    }

    /// The name of channel `index`: the hot ones first, then `channel-0`….
    pub fn channel(&self, index: usize) -> &[u8] {
        self.channels.get(index)
    }

    /// The url of channel `index`.
    pub fn url(&self, index: usize) -> &[u8] {
        self.urls.get(index)
    }
}

/// How long an `extra` is, so that the row has `average_size` bytes on average, give or take 20 %.
pub fn extra_length(draw: u64, current_size: usize, average_size: usize) -> usize {
    let Some(missing) = average_size.checked_sub(current_size) else { return 0 };
    let delta = (missing as f64 * 0.2).round() as usize;
    missing - delta + low_below(draw, 2 * delta as u32) as usize
}

fn pool(seed: u64, which: u64, is_space: impl Fn(u64) -> bool) -> Vec<u8> {
    let key = event_key(seed, u64::MAX - which);
    let letter = |position: u32| {
        let d = draw(key, u64::from(position));
        if is_space(d) { b' ' } else { b'a' + high_below(d, 26) as u8 }
    };
    (0..POOL_STARTS + MAX_SLICE).map(letter).collect()
}

fn channel_tables(seed: u64) -> (Table, Table) {
    let (mut channels, mut urls) = (Table::default(), Table::default());
    for (index, name) in HOT_CHANNELS.iter().enumerate() {
        channels.push(name);
        urls.push(&base_url(event_key(seed ^ 0x0075_726C, index as u64)));
    }
    for number in 0..N_CHANNELS {
        channels.push(&format!("channel-{number}"));
        let key = event_key(seed ^ 0x0075_726C, u64::from(number) + HOT_CHANNELS.len() as u64);
        let mut url = base_url(key);
        if high_below(draw(key, 99), 10) > 0 {
            url += &format!("&channel_id={}", (number.reverse_bits() as i32).unsigned_abs());
        }
        urls.push(&url);
    }
    (channels, urls)
}

fn base_url(key: u64) -> String {
    let part = |which: u64| -> String {
        let length = MIN_LENGTH + low_below(draw(key, which), 5 - MIN_LENGTH);
        let letter = |position: u32| {
            let d = draw(key, which * 16 + u64::from(position) + 1);
            if low_below(d, 13) == 0 { '_' } else { char::from(b'a' + high_below(d, 26) as u8) }
        };
        (0..length).map(letter).collect()
    };
    format!("https://www.nexmark.com/{}/{}/{}/item.htm?query=1", part(1), part(2), part(3))
}

impl Table {
    fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends.push(self.bytes.len() as u32);
    }

    fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.bytes[start..self.ends[index] as usize]
    }
}
