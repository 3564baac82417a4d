//! At most one row per owner, kept as columns: batches in which the rows of one step lie together, merged as they get small or
//! sparse, so that there are few of them and most of what they hold is live.

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;

use crate::Result;

/// Batches of this many rows are not merged with others while most of their rows are live.
const FULL_ROWS: usize = 65_536;

/// Where an owner's row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Index of the batch.
    pub batch: u32,
    /// Index of the row in it.
    pub row: u32,
}

impl Place {
    /// No place at all.
    pub(super) const NONE: Self = Self { batch: u32::MAX, row: 0 };
}

/// The rows; an owner is a small dense number.
pub(super) struct KeptRows {
    schema: SchemaRef,
    batches: Vec<Option<Batch>>,
    /// Indices in `batches` that hold nothing.
    free: Vec<u32>,
    /// Where each owner's row is.
    places: Vec<Place>,
    n_live: usize,
}

struct Batch {
    rows: RecordBatch,
    owners: Vec<u32>,
    n_live: usize,
}

impl KeptRows {
    pub(super) fn new(schema: SchemaRef) -> Self {
        Self { schema, batches: Vec::new(), free: Vec::new(), places: Vec::new(), n_live: 0 }
    }

    /// Makes room for owners `0..n_owners`.
    pub(super) fn resize(&mut self, n_owners: usize) {
        self.places.resize(n_owners, Place::NONE);
    }

    /// Where this owner's row is; [`Place::NONE`] when it has none.
    pub(super) fn place(&self, owner: u32) -> Place {
        self.places[owner as usize]
    }

    /// One row, as a batch of one.
    pub(super) fn row(&self, place: Place) -> RecordBatch {
        self.batch(place.batch).rows.slice(place.row as usize, 1)
    }

    /// The rows at these places.
    pub(super) fn rows(&self, places: &[Place]) -> Result<RecordBatch> {
        let mut used: Vec<u32> = places.iter().map(|place| place.batch).collect();
        used.sort_unstable();
        used.dedup();
        let mut position = vec![0; self.batches.len()];
        used.iter().enumerate().for_each(|(index, batch)| position[*batch as usize] = index);
        let batches: Vec<&RecordBatch> = used.iter().map(|batch| &self.batch(*batch).rows).collect();
        let places: Vec<(usize, usize)> = places.iter().map(|place| (position[place.batch as usize], place.row as usize)).collect();
        interleave(&self.schema, &batches, &places)
    }

    /// Row `i` of `rows` becomes that of `owners[i]`, in place of the one it had. Each owner occurs once.
    pub(super) fn put(&mut self, rows: RecordBatch, owners: Vec<u32>) -> Result<()> {
        if owners.is_empty() {
            return Ok(());
        }
        for owner in &owners {
            let old = self.places[*owner as usize];
            if old != Place::NONE {
                self.batch_mut(old.batch).n_live -= 1;
                self.n_live -= 1;
            }
        }
        self.n_live += owners.len();
        self.add(rows, owners);
        self.merge()
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.n_live
    }

    /// Bytes held.
    pub(super) fn n_bytes(&self) -> usize {
        let batches = self.batches.iter().flatten();
        let batches: usize = batches.map(|batch| batch.rows.get_array_memory_size() + batch.owners.capacity() * 4).sum();
        batches + self.places.capacity() * size_of::<Place>()
    }

    fn batch(&self, index: u32) -> &Batch {
        self.batches[index as usize].as_ref().expect("a place is in a batch that is there")
    }

    fn batch_mut(&mut self, index: u32) -> &mut Batch {
        self.batches[index as usize].as_mut().expect("a place is in a batch that is there")
    }

    fn add(&mut self, rows: RecordBatch, owners: Vec<u32>) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.batches.push(None);
            (self.batches.len() - 1) as u32
        });
        for (row, owner) in owners.iter().enumerate() {
            self.places[*owner as usize] = Place { batch: index, row: row as u32 };
        }
        let n_live = owners.len();
        self.batches[index as usize] = Some(Batch { rows, owners, n_live });
    }

    /// Merges batches of about one size once there are several, and those in which half of the rows are dead. So a row is moved
    /// a logarithmic number of times, and no more than about half of what is held is dead.
    fn merge(&mut self) -> Result<()> {
        const FAN_IN: usize = 4;
        let mut levels: Vec<Vec<u32>> = Vec::new();
        for (index, batch) in self.batches.iter().enumerate() {
            let Some(batch) = batch else { continue };
            let is_sparse = batch.n_live * 2 < batch.owners.len();
            if batch.owners.len() >= FULL_ROWS && !is_sparse {
                continue;
            }
            let level = (batch.n_live.max(1).ilog2() / 2) as usize;
            levels.resize(levels.len().max(level + 1), Vec::new());
            levels[level].push(index as u32);
        }
        for level in levels {
            let is_due = level.len() >= FAN_IN || level.iter().any(|index| self.batch(*index).n_live == 0);
            if is_due {
                self.merge_into_one(&level)?;
            }
        }
        Ok(())
    }

    fn merge_into_one(&mut self, indices: &[u32]) -> Result<()> {
        let mut places = Vec::new();
        let mut owners = Vec::new();
        for index in indices {
            for (row, owner) in self.batch(*index).owners.iter().enumerate() {
                let place = Place { batch: *index, row: row as u32 };
                if self.places[*owner as usize] == place {
                    places.push(place);
                    owners.push(*owner);
                }
            }
        }
        let rows = self.rows(&places)?;
        for index in indices {
            self.batches[*index as usize] = None;
            self.free.push(*index);
        }
        if !owners.is_empty() {
            self.add(rows, owners);
        }
        Ok(())
    }
}

/// Rows of several batches as one; Arrow's own wants at least one batch.
pub(super) fn interleave(schema: &SchemaRef, batches: &[&RecordBatch], places: &[(usize, usize)]) -> Result<RecordBatch> {
    if places.is_empty() {
        return Ok(RecordBatch::new_empty(schema.clone()));
    }
    // The batches may name their columns otherwise.
    let columns = interleave_record_batch(batches, places)?.columns().to_vec();
    let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn each_owner_has_the_row_it_got_last() {
        let schema = Arc::new(Schema::new(vec![Field::new("v", DataType::Int64, false)]));
        let mut kept = KeptRows::new(schema.clone());
        let mut expected: BTreeMap<u32, i64> = BTreeMap::new();
        let mut random = StdRng::seed_from_u64(7);
        const N_OWNERS: u32 = 3000;
        kept.resize(N_OWNERS as usize);
        for step in 0..2000_i64 {
            let n_rows = if step % 100 == 0 { 1000 } else { random.random_range(0..4) };
            let owners: Vec<u32> =
                (0..n_rows).map(|_| random.random_range(0..N_OWNERS)).collect::<std::collections::BTreeSet<_>>().into_iter().collect();
            let values: Vec<i64> = owners.iter().map(|owner| step * 10_000 + i64::from(*owner)).collect();
            expected.extend(owners.iter().copied().zip(values.iter().copied()));
            let rows = RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(values))]).expect("one column");
            kept.put(rows, owners).expect("integers can be moved");
        }
        let places: Vec<Place> = expected.keys().map(|owner| kept.place(*owner)).collect();
        let found = kept.rows(&places).expect("integers can be moved");
        assert_eq!(found.column(0).as_primitive::<Int64Type>().values().to_vec(), expected.values().copied().collect::<Vec<_>>());
        assert_eq!(kept.len(), expected.len());
        let n_held: usize = kept.batches.iter().flatten().map(|batch| batch.owners.len()).sum();
        let n_batches = kept.batches.iter().flatten().count();
        assert!(n_held < 3 * kept.len() && n_batches < 40, "{n_held} rows in {n_batches} batches for {}", kept.len());
    }
}
