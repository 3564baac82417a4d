//! min and max over inputs that retract: all values of a group in order, each with its count, so that the next best is at hand
//! when the best one goes.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;

use crate::Result;
use crate::functions::extremes::Extreme;
use crate::functions::order::{EncodedRows, OrderCodec, WideWords, Words};
use crate::functions::states::{Evaluated, GroupStates, Rows};

/// States for an input with deletions.
pub(super) fn extreme_states(extreme: Extreme, data_type: &DataType) -> Result<Box<dyn GroupStates>> {
    if let Some(codec) = Words::new(data_type) {
        return Ok(Box::new(Multisets::new(extreme, codec)));
    }
    if let Some(codec) = WideWords::new(data_type) {
        return Ok(Box::new(Multisets::new(extreme, codec)));
    }
    Ok(Box::new(Multisets::new(extreme, EncodedRows::new(data_type)?)))
}

#[derive(Debug)]
struct Multisets<C: OrderCodec> {
    extreme: Extreme,
    codec: C,
    groups: Vec<BTreeMap<C::Key, i64>>,
    n_values: usize,
}

impl<C: OrderCodec> Multisets<C> {
    fn new(extreme: Extreme, codec: C) -> Self {
        Self { extreme, codec, groups: Vec::new(), n_values: 0 }
    }

    fn best(&self, group: usize) -> Option<&C::Key> {
        // A count below zero is a deletion whose insertion is yet to come in this epoch.
        let mut values = self.groups[group].iter().filter(|(_, count)| **count > 0).map(|(key, _)| key);
        match self.extreme {
            Extreme::Least => values.next(),
            Extreme::Greatest => values.next_back(),
        }
    }
}

impl<C: OrderCodec> GroupStates for Multisets<C> {
    fn resize(&mut self, n_groups: usize) {
        self.groups.resize_with(n_groups.max(self.groups.len()), BTreeMap::new);
    }

    fn update(&mut self, argument: &ArrayRef, rows: &Rows<'_>) -> Result<()> {
        let keys = self.codec.encode(argument)?;
        let nulls = argument.logical_nulls();
        let (groups, n_values) = (&mut self.groups, &mut self.n_values);
        rows.for_each(nulls.as_ref(), |row, group, weight| {
            use std::collections::btree_map::Entry;
            match groups[group].entry(keys[row].clone()) {
                Entry::Vacant(entry) => {
                    entry.insert(weight);
                    *n_values += 1;
                }
                Entry::Occupied(mut entry) => {
                    *entry.get_mut() += weight;
                    if *entry.get() == 0 {
                        entry.remove();
                        *n_values -= 1;
                    }
                }
            }
        });
        Ok(())
    }

    fn evaluate(&self, groups: &[usize]) -> Result<Evaluated> {
        let best: Vec<_> = groups.iter().map(|group| self.best(*group)).collect();
        Ok(Evaluated { values: self.codec.decode(&best)?, errors: vec![] })
    }

    fn clear(&mut self, group: usize) {
        let values = std::mem::take(&mut self.groups[group]);
        self.n_values -= values.len();
    }

    fn n_values(&self) -> usize {
        self.n_values
    }

    fn n_bytes(&self) -> usize {
        // A node of a B-tree is three quarters full on average.
        let sample = self.groups.iter().take(64).filter_map(|group| group.keys().next());
        let (n_sampled, heap) = sample.fold((0, 0), |(n, heap), key| (n + 1, heap + C::heap_bytes(key)));
        let per_value = (size_of::<C::Key>() + 8) * 4 / 3 + heap / std::cmp::max(n_sampled, 1);
        self.groups.capacity() * size_of::<BTreeMap<C::Key, i64>>() + self.n_values * per_value
    }
}
