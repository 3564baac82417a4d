//! The rows of one table as the sequencer knows them, unclosed writes included: it turns statements into effects and answers
//! 23505 and 40001 before anything is acknowledged.
//!
//! Guaranteed: a write is applied whole or not at all (what was applied of a failing one is undone), and the effects of the
//! writes applied sum to the table's rows.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow_row::{RowConverter, Rows, SortField};

use crate::error::sqlstate;
use crate::state::history::Snapshot;
use crate::{ChangeBatch, Error, Result};

/// What an INSERT does with a row whose key is there already.
#[derive(Clone)]
pub enum OnConflict {
    /// 23505.
    Fail,
    /// The row is passed over.
    DoNothing,
    /// The row there is updated.
    DoUpdate(Arc<dyn Upsert>),
}

/// DO UPDATE SET … WHERE …, planned.
pub trait Upsert: Send + Sync {
    /// New rows for `existing[i]` in conflict with `excluded[i]`; `None` keeps the row as it is.
    fn update(&self, existing: &RecordBatch, excluded: &RecordBatch) -> Result<(RecordBatch, Vec<bool>)>;
}

/// One statement's write to one table.
pub enum Write {
    /// New rows.
    Insert(RecordBatch, OnConflict),
    /// `old[i]`, as it was read, becomes `new[i]`.
    Update {
        /// Rows as read.
        old: RecordBatch,
        /// What they become.
        new: RecordBatch,
    },
    /// Rows as they were read.
    Delete(RecordBatch),
    /// What a transaction did to its own view of the table, in order: retracted rows must still be there.
    Effects(Vec<ChangeBatch>),
}

/// What a write did.
#[derive(Debug, Clone)]
pub struct Applied {
    /// Retracted and inserted rows.
    pub effects: Vec<ChangeBatch>,
    /// The rows as they are now (for a deletion, as they were): what RETURNING sees.
    pub returned: RecordBatch,
}

/// The rows of a table, by key.
pub struct Table {
    name: String,
    schema: SchemaRef,
    primary_key: Vec<usize>,
    key_converter: RowConverter,
    row_converter: RowConverter,
    /// By primary key the row; without one, by row how often it is there.
    rows: HashMap<Box<[u8]>, Entry>,
    undo: Vec<(Box<[u8]>, Option<Entry>)>,
    /// The keys that were learnt.
    known: HashSet<Box<[u8]>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Row(Box<[u8]>),
    Count(i64),
}

impl Table {
    /// An empty table.
    pub fn new(name: impl Into<String>, schema: SchemaRef, primary_key: Vec<usize>) -> Result<Self> {
        let sort_field = |column: usize| SortField::new(schema.field(column).data_type().clone());
        let key_converter = RowConverter::new(primary_key.iter().map(|column| sort_field(*column)).collect())?;
        let row_converter = RowConverter::new((0..schema.fields().len()).map(sort_field).collect())?;
        Ok(Self {
            name: name.into(),
            schema,
            primary_key,
            key_converter,
            row_converter,
            rows: HashMap::new(),
            undo: Vec::new(),
            known: HashSet::new(),
        })
    }

    /// Applies logged effects again.
    pub fn replay(&mut self, changes: &ChangeBatch) -> Result<()> {
        let keys = self.keys(changes.rows())?;
        let rows = self.encode(changes.rows())?;
        // A key's deletion may stand after its insertion in one epoch's effects: deletions first.
        for deletions in [true, false] {
            for index in (0..changes.len()).filter(|index| (changes.weight(*index) < 0) == deletions) {
                let (key, row) = (keys.row(index), rows.row(index));
                self.change(key.as_ref(), row.as_ref(), changes.weight(index))?;
            }
        }
        self.undo.clear();
        Ok(())
    }

    /// Takes from `before`, which can be looked up in by this table's key, what is there under the keys that `write` names; each key
    /// once. What is learnt is not undone.
    pub fn learn(&mut self, write: &Write, before: &Snapshot) -> Result<()> {
        let touched: Vec<&RecordBatch> = match write {
            Write::Insert(rows, _) | Write::Delete(rows) => vec![rows],
            Write::Update { old, new } => vec![old, new],
            Write::Effects(effects) => effects.iter().map(ChangeBatch::rows).collect(),
        };
        for rows in touched {
            let keys = self.keys(rows)?;
            let mut fresh: HashSet<Box<[u8]>> = HashSet::new();
            let is_new = |row: &usize| !self.known.contains(keys.row(*row).as_ref()) && fresh.insert(keys.row(*row).as_ref().into());
            let unknown = UInt32Array::from_iter_values((0..rows.num_rows()).filter(is_new).map(|row| row as u32));
            if unknown.is_empty() {
                continue;
            }
            let unknown = crate::update::take_rows(rows, &unknown)?;
            let there = before.lookup(&self.key_arrays(&unknown))?;
            let (keys, rows) = (self.keys(there.rows())?, self.encode(there.rows())?);
            // Keys that only SQL takes for equal, as 0.0 and -0.0, are different ones here.
            for index in (0..there.len()).filter(|index| fresh.contains(keys.row(*index).as_ref())) {
                let entry = match self.primary_key.is_empty() {
                    true => Entry::Count(there.weight(index)),
                    false => Entry::Row(rows.row(index).as_ref().into()),
                };
                self.rows.insert(keys.row(index).as_ref().into(), entry);
            }
            self.known.extend(fresh);
        }
        Ok(())
    }

    /// Applies a write; nothing of it stays when it fails.
    pub fn apply(&mut self, write: &Write) -> Result<Applied> {
        match write {
            Write::Insert(rows, on_conflict) => self.insert(rows, on_conflict),
            Write::Update { old, new } => self.update(old, new),
            Write::Delete(old) => self.delete(old),
            Write::Effects(effects) => self.effects(effects),
        }
    }

    /// Everything applied since the last `keep` is as it was.
    pub fn undo(&mut self) {
        self.undo_to(0);
    }

    /// Everything applied since [`Self::n_changes`] was `n_changes` is as it was.
    pub fn undo_to(&mut self, n_changes: usize) {
        for (key, entry) in self.undo.drain(n_changes..).rev() {
            match entry {
                Some(entry) => self.rows.insert(key, entry),
                None => self.rows.remove(&key),
            };
        }
    }

    /// How many changes since the last `keep` can be undone.
    pub fn n_changes(&self) -> usize {
        self.undo.len()
    }

    /// What was applied stays.
    pub fn keep(&mut self) {
        self.undo.clear();
    }

    /// How many different rows or keys there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True for a table without rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn insert(&mut self, rows: &RecordBatch, on_conflict: &OnConflict) -> Result<Applied> {
        let keys = self.keys(rows)?;
        let encoded = self.encode(rows)?;
        let mut inserted: Vec<u32> = Vec::new();
        let mut conflicts: Vec<u32> = Vec::new();
        let mut mine: HashMap<Box<[u8]>, ()> = HashMap::new();
        for index in 0..rows.num_rows() {
            let key = keys.row(index);
            let is_taken = !self.primary_key.is_empty() && self.rows.contains_key(key.as_ref());
            if !is_taken {
                self.change(key.as_ref(), encoded.row(index).as_ref(), 1)?;
                inserted.push(index as u32);
                mine.insert(key.as_ref().into(), ());
                continue;
            }
            match on_conflict {
                OnConflict::Fail => return Err(self.duplicate(rows, index)),
                OnConflict::DoNothing => {}
                OnConflict::DoUpdate(_) if mine.insert(key.as_ref().into(), ()).is_some() => {
                    return Err(Error::new(
                        sqlstate::CARDINALITY_VIOLATION,
                        "ON CONFLICT DO UPDATE command cannot affect row a second time",
                    )
                    .with_hint("Ensure that no rows proposed for insertion within the same command have duplicate constrained values."));
                }
                OnConflict::DoUpdate(_) => conflicts.push(index as u32),
            }
        }
        let inserted = crate::update::take_rows(rows, &UInt32Array::from(inserted))?;
        let mut applied = Applied { effects: vec![ChangeBatch::inserts(inserted.clone())], returned: inserted };
        if let (OnConflict::DoUpdate(upsert), false) = (on_conflict, conflicts.is_empty()) {
            let excluded = crate::update::take_rows(rows, &UInt32Array::from(conflicts))?;
            let updated = self.upsert(upsert.as_ref(), &excluded)?;
            applied.effects.extend(updated.effects);
            applied.returned = concat_batches(&self.schema, [&applied.returned, &updated.returned])?;
        }
        applied.effects.retain(|effect| !effect.is_empty());
        Ok(applied)
    }

    fn upsert(&mut self, upsert: &dyn Upsert, excluded: &RecordBatch) -> Result<Applied> {
        let keys = self.keys(excluded)?;
        let existing: Vec<&[u8]> = (0..excluded.num_rows())
            .map(|index| match &self.rows[keys.row(index).as_ref()] {
                Entry::Row(row) => row.as_ref(),
                Entry::Count(_) => unreachable!("a table with a primary key keeps rows"),
            })
            .collect();
        let existing = self.decode(&existing)?;
        let (new, kept) = upsert.update(&existing, excluded)?;
        let indices = UInt32Array::from_iter_values(kept.iter().enumerate().filter(|(_, kept)| **kept).map(|(index, _)| index as u32));
        self.update(&crate::update::take_rows(&existing, &indices)?, &crate::update::take_rows(&new, &indices)?)
    }

    fn update(&mut self, old: &RecordBatch, new: &RecordBatch) -> Result<Applied> {
        assert_eq!(old.num_rows(), new.num_rows(), "an update has a new row for each old one");
        self.remove(old)?;
        let keys = self.keys(new)?;
        let encoded = self.encode(new)?;
        for index in 0..new.num_rows() {
            let key = keys.row(index);
            if !self.primary_key.is_empty() && self.rows.contains_key(key.as_ref()) {
                return Err(self.duplicate(new, index));
            }
            self.change(key.as_ref(), encoded.row(index).as_ref(), 1)?;
        }
        let effects = vec![ChangeBatch::deletes(old.clone()), ChangeBatch::inserts(new.clone())];
        Ok(Applied { effects: effects.into_iter().filter(|effect| !effect.is_empty()).collect(), returned: new.clone() })
    }

    fn delete(&mut self, old: &RecordBatch) -> Result<Applied> {
        self.remove(old)?;
        let effects = if old.num_rows() == 0 { vec![] } else { vec![ChangeBatch::deletes(old.clone())] };
        Ok(Applied { effects, returned: old.clone() })
    }

    fn effects(&mut self, effects: &[ChangeBatch]) -> Result<Applied> {
        for changes in effects {
            match changes.weights() {
                Some(_) => self.remove(changes.rows())?,
                None => drop(self.insert(changes.rows(), &OnConflict::Fail)?),
            }
        }
        Ok(Applied { effects: effects.to_vec(), returned: RecordBatch::new_empty(Arc::clone(&self.schema)) })
    }

    /// Takes out rows as they were read; 40001 when one has changed since.
    fn remove(&mut self, old: &RecordBatch) -> Result<()> {
        let keys = self.keys(old)?;
        let encoded = self.encode(old)?;
        for index in 0..old.num_rows() {
            let (key, row) = (keys.row(index), encoded.row(index));
            let is_current = match self.rows.get(key.as_ref()) {
                Some(Entry::Row(current)) => current.as_ref() == row.as_ref(),
                Some(Entry::Count(count)) => *count > 0,
                None => false,
            };
            if !is_current {
                return Err(Error::new(sqlstate::SERIALIZATION_FAILURE, "could not serialize access due to concurrent update")
                    .with_hint("The transaction might succeed if retried."));
            }
            self.change(key.as_ref(), row.as_ref(), -1)?;
        }
        Ok(())
    }

    fn change(&mut self, key: &[u8], row: &[u8], weight: i64) -> Result<()> {
        let before = self.rows.get(key).cloned();
        let after = if self.primary_key.is_empty() {
            let count = weight + before.as_ref().map_or(0, |entry| if let Entry::Count(count) = entry { *count } else { 0 });
            (count != 0).then_some(Entry::Count(count))
        } else {
            (weight > 0).then(|| Entry::Row(row.into()))
        };
        match after {
            Some(entry) => self.rows.insert(key.into(), entry),
            None => self.rows.remove(key),
        };
        self.undo.push((key.into(), before));
        Ok(())
    }

    fn keys(&self, rows: &RecordBatch) -> Result<Rows> {
        if self.primary_key.is_empty() {
            return self.encode(rows);
        }
        Ok(self.key_converter.convert_columns(&self.key_arrays(rows))?)
    }

    /// The columns that tell the table's rows apart.
    fn key_arrays(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        match self.primary_key.as_slice() {
            [] => rows.columns().to_vec(),
            key => key.iter().map(|column| Arc::clone(rows.column(*column))).collect(),
        }
    }

    fn encode(&self, rows: &RecordBatch) -> Result<Rows> {
        Ok(self.row_converter.convert_columns(rows.columns())?)
    }

    fn decode(&self, rows: &[&[u8]]) -> Result<RecordBatch> {
        let parser = self.row_converter.parser();
        let columns = self.row_converter.convert_rows(rows.iter().map(|row| parser.parse(row)))?;
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    fn duplicate(&self, rows: &RecordBatch, index: usize) -> Error {
        let names: Vec<&str> = self.primary_key.iter().map(|column| self.schema.field(*column).name().as_str()).collect();
        let values: Vec<String> = self
            .primary_key
            .iter()
            .map(|column| {
                arrow::util::display::array_value_to_string(rows.column(*column).as_ref() as &dyn Array, index).unwrap_or_default()
            })
            .collect();
        Error::new(sqlstate::UNIQUE_VIOLATION, format!("duplicate key value violates unique constraint \"{}_pkey\"", self.name))
            .with_detail(format!("Key ({})=({}) already exists.", names.join(", "), values.join(", ")))
    }
}
