//! Rows in order, each with how often it occurs: an array while there are few, a tree when there are many.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A row as bytes whose order is the order of the rows: the encoded order columns, then all columns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RowKey {
    bytes: Arc<[u8]>,
    n_order: u32,
}

impl RowKey {
    pub(super) fn new(order: &[u8], row: &[u8]) -> Self {
        Self { bytes: [order, row].concat().into(), n_order: order.len() as u32 }
    }

    /// The encoded order columns.
    pub(super) fn order(&self) -> &[u8] {
        &self.bytes[..self.n_order as usize]
    }

    /// The encoded row.
    pub(super) fn row(&self) -> &[u8] {
        &self.bytes[self.n_order as usize..]
    }

    pub(super) fn n_bytes(&self) -> usize {
        const OVERHEAD_BYTES: usize = 64;
        self.bytes.len() + OVERHEAD_BYTES
    }
}

/// A multiset of rows, in order.
#[derive(Debug)]
pub(super) struct OrderedRows {
    rows: Rows,
    /// The rows, each as often as it occurs.
    total: i64,
}

#[derive(Debug)]
enum Rows {
    Few(Vec<(RowKey, i64)>),
    Many(BTreeMap<RowKey, i64>),
}

/// Up to here, moving part of an array is cheaper than a tree.
const FEW: usize = 64;

impl Default for OrderedRows {
    fn default() -> Self {
        Self { rows: Rows::Few(Vec::new()), total: 0 }
    }
}

impl OrderedRows {
    pub(super) fn total(&self) -> i64 {
        self.total
    }

    pub(super) fn first(&self) -> Option<(&RowKey, i64)> {
        match &self.rows {
            Rows::Few(rows) => rows.first().map(|(key, weight)| (key, *weight)),
            Rows::Many(rows) => rows.first_key_value().map(|(key, weight)| (key, *weight)),
        }
    }

    pub(super) fn last(&self) -> Option<(&RowKey, i64)> {
        match &self.rows {
            Rows::Few(rows) => rows.last().map(|(key, weight)| (key, *weight)),
            Rows::Many(rows) => rows.last_key_value().map(|(key, weight)| (key, *weight)),
        }
    }

    /// Adds `weight` copies, a positive number.
    pub(super) fn add(&mut self, key: &RowKey, weight: i64) {
        self.total += weight;
        match &mut self.rows {
            Rows::Few(rows) => match rows.binary_search_by(|(other, _)| other.cmp(key)) {
                Ok(index) => rows[index].1 += weight,
                Err(index) if rows.len() < FEW => rows.insert(index, (key.clone(), weight)),
                Err(_) => {
                    let mut many: BTreeMap<RowKey, i64> = std::mem::take(rows).into_iter().collect();
                    many.insert(key.clone(), weight);
                    self.rows = Rows::Many(many);
                }
            },
            Rows::Many(rows) => *rows.entry(key.clone()).or_insert(0) += weight,
        }
    }

    /// Takes away up to `weight` copies; returns how many there were to take.
    pub(super) fn remove(&mut self, key: &RowKey, weight: i64) -> i64 {
        let known = match &mut self.rows {
            Rows::Few(rows) => match rows.binary_search_by(|(other, _)| other.cmp(key)) {
                Ok(index) if rows[index].1 > weight => {
                    rows[index].1 -= weight;
                    weight
                }
                Ok(index) => rows.remove(index).1,
                Err(_) => 0,
            },
            Rows::Many(rows) => match rows.get_mut(key) {
                Some(known) if *known > weight => {
                    *known -= weight;
                    weight
                }
                _ => rows.remove(key).unwrap_or(0),
            },
        };
        self.total -= known;
        if matches!(&self.rows, Rows::Many(rows) if rows.is_empty()) {
            self.rows = Rows::Few(Vec::new());
        }
        known
    }

    pub(super) fn iter(&self) -> Box<dyn Iterator<Item = (&RowKey, i64)> + '_> {
        match &self.rows {
            Rows::Few(rows) => Box::new(rows.iter().map(|(key, weight)| (key, *weight))),
            Rows::Many(rows) => Box::new(rows.iter().map(|(key, weight)| (key, *weight))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_many_behave_alike() {
        let key = |n: u64| RowKey::new(&(n * 7919 % 257).to_be_bytes(), &n.to_be_bytes());
        let mut rows = OrderedRows::default();
        (0..257).for_each(|n| rows.add(&key(n), 1 + n as i64 % 2));
        assert!(rows.iter().map(|(key, _)| key).is_sorted());
        assert_eq!((rows.total(), rows.first().map(|(key, _)| key.clone()), rows.iter().count()), (257 + 128, Some(key(0)), 257));
        assert_eq!((rows.remove(&key(1), 1), rows.remove(&key(1), 5), rows.remove(&key(1), 1)), (1, 1, 0));
        for n in (0..257).rev() {
            rows.remove(&key(n), 2);
        }
        assert_eq!((rows.total(), rows.first(), rows.last()), (0, None, None));
    }
}
