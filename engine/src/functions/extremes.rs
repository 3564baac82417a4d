//! min and max over inputs that never retract: the best key per group. Where rows are deleted the kernel keeps all values.

use std::fmt::Debug;
use std::ops::Range;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;

use super::order::{EncodedRows, OrderCodec, WideWords, Words};
use super::states::{Evaluated, GroupStates, MergeableStates, Rows};
use crate::Result;

/// The least or greatest value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extreme {
    /// `min`.
    Least,
    /// `max`.
    Greatest,
}

impl Extreme {
    /// States for an input without deletions.
    pub fn append_only(self, data_type: &DataType) -> Result<Box<dyn MergeableStates>> {
        if let Some(codec) = Words::new(data_type) {
            return Ok(Box::new(Best::new(self, codec, data_type)));
        }
        if let Some(codec) = WideWords::new(data_type) {
            return Ok(Box::new(Best::new(self, codec, data_type)));
        }
        Ok(Box::new(Best::new(self, EncodedRows::new(data_type)?, data_type)))
    }
}

#[derive(Debug)]
struct Best<C: OrderCodec> {
    which: Extreme,
    codec: C,
    data_type: DataType,
    groups: Vec<Option<C::Key>>,
}

impl<C: OrderCodec> Best<C> {
    fn new(which: Extreme, codec: C, data_type: &DataType) -> Self {
        Self { which, codec, data_type: data_type.clone(), groups: Vec::new() }
    }

    fn decode<'a>(&'a self, keys: impl Iterator<Item = &'a Option<C::Key>>) -> Result<ArrayRef> {
        self.codec.decode(&keys.map(Option::as_ref).collect::<Vec<_>>())
    }
}

impl<C: OrderCodec> GroupStates for Best<C> {
    fn resize(&mut self, n_groups: usize) {
        self.groups.resize(n_groups.max(self.groups.len()), None);
    }

    fn update(&mut self, argument: &ArrayRef, rows: &Rows<'_>) -> Result<()> {
        let mut keys = self.codec.encode(argument)?;
        let nulls = argument.logical_nulls();
        let groups = &mut self.groups;
        let mut keep = |row: usize, group: usize, is_better: fn(&C::Key, &C::Key) -> bool| {
            let best = &mut groups[group];
            if best.as_ref().is_none_or(|best| is_better(&keys[row], best)) {
                match best {
                    Some(best) => std::mem::swap(best, &mut keys[row]),
                    None => *best = Some(keys[row].clone()),
                }
            }
        };
        match self.which {
            Extreme::Least => rows.for_each(nulls.as_ref(), |row, group, _| keep(row, group, |new, best| new < best)),
            Extreme::Greatest => rows.for_each(nulls.as_ref(), |row, group, _| keep(row, group, |new, best| new > best)),
        }
        Ok(())
    }

    fn evaluate(&self, groups: &[usize]) -> Result<Evaluated> {
        let values = self.decode(groups.iter().map(|group| &self.groups[*group]))?;
        Ok(Evaluated { values, errors: vec![] })
    }

    fn clear(&mut self, group: usize) {
        self.groups[group] = None;
    }

    fn n_bytes(&self) -> usize {
        let sample = &self.groups[..self.groups.len().min(64)];
        let heap: usize = sample.iter().flatten().map(C::heap_bytes).sum();
        self.groups.capacity() * size_of::<Option<C::Key>>() + heap * self.groups.len() / sample.len().max(1)
    }
}

impl<C: OrderCodec> MergeableStates for Best<C> {
    fn state_types(&self) -> Vec<DataType> {
        vec![self.data_type.clone()]
    }

    fn state(&self, groups: Range<usize>) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.decode(self.groups[groups].iter())?])
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[usize]) -> Result<()> {
        self.update(&state[0], &Rows::new(groups, None, None))
    }

    fn drop_first(&mut self, n_groups: usize) {
        self.groups.drain(..n_groups);
    }

    fn into_states(self: Box<Self>) -> Box<dyn GroupStates> {
        self
    }
}
