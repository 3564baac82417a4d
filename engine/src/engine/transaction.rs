//! A `BEGIN … COMMIT` block: a snapshot of everything at one epoch, and the block's own writes on top of it.
//!
//! Level: snapshot isolation. A table's rows are gathered once the block first writes to it, so that its own writes are
//! checked (23505) and seen at once; at COMMIT the sequencer checks that what it changed is still as it was (40001).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use catalog::ObjectId;
use datafusion::datasource::{MemTable, TableProvider};

use super::{Core, Engine};
use crate::sequencer::Request;
use crate::sequencer::relation::schema_of;
use crate::sequencer::table::{Applied, OnConflict, Table, Write};
use crate::time::Hold;
use crate::{ChangeBatch, Epoch, Result};

/// The state of an open block; the session owns it.
pub struct Transaction {
    hold: Hold,
    written: BTreeMap<ObjectId, WrittenRelation>,
}

/// A relation as the block sees it.
pub(super) struct WrittenRelation {
    schema: SchemaRef,
    /// The rows before the block, and its changes since.
    before: Vec<RecordBatch>,
    effects: Vec<ChangeBatch>,
    /// The key index with the block's changes, all of which it can undo; a stream has none.
    table: Option<Table>,
}

/// A place in a block's writes to which they can be rolled back.
#[derive(Debug, Clone, Default)]
pub struct Savepoint {
    /// By relation written before it: how many effects there were, and how many changes of its table.
    written: BTreeMap<ObjectId, (usize, usize)>,
}

impl Engine {
    /// Opens a transaction: reads see the newest recorded epoch as of now.
    pub async fn begin(&self) -> Result<Transaction> {
        Ok(Transaction { hold: self.core.shared.clock.hold_newest(), written: BTreeMap::new() })
    }

    /// Applies all of a transaction's writes in one epoch; `40001` when a row it wrote was changed by another meanwhile.
    pub async fn commit(&self, transaction: Transaction) -> Result<Epoch> {
        let Transaction { hold, written } = transaction;
        if written.is_empty() {
            return Ok(hold.epoch());
        }
        let writes = written
            .into_iter()
            .flat_map(|(id, written)| match written.table {
                Some(_) => vec![(id, Write::Effects(written.effects))],
                None => written.effects.into_iter().map(|changes| (id, Write::Insert(changes.into_parts().0, OnConflict::Fail))).collect(),
            })
            .collect();
        Ok(self.core.ask(|reply| Request::Write { writes, reply }).await?.epoch)
    }
}

impl Transaction {
    pub(super) fn hold(&self) -> &Hold {
        &self.hold
    }

    /// The block's writes as they are now.
    pub fn savepoint(&self) -> Savepoint {
        let place = |written: &WrittenRelation| (written.effects.len(), written.table.as_ref().map_or(0, Table::n_changes));
        Savepoint { written: self.written.iter().map(|(id, written)| (*id, place(written))).collect() }
    }

    /// Takes back what was written after `savepoint`, which is one of this block's.
    pub fn roll_back_to(&mut self, savepoint: &Savepoint) {
        self.written.retain(|id, _| savepoint.written.contains_key(id));
        for (id, (n_effects, n_changes)) in &savepoint.written {
            let written = self.written.get_mut(id).expect("a block writes to no fewer relations later");
            written.effects.truncate(*n_effects);
            if let Some(table) = &mut written.table {
                table.undo_to(*n_changes);
            }
        }
    }

    pub(super) fn has_writes(&self) -> bool {
        !self.written.is_empty()
    }

    pub(super) fn written(&self, id: ObjectId) -> Option<&WrittenRelation> {
        self.written.get(&id)
    }

    /// Applies a write to the block's own view of a relation.
    pub(super) async fn apply(&mut self, core: &Core, id: ObjectId, write: Write) -> Result<Applied> {
        if !self.written.contains_key(&id) {
            let written = core.begin_writing(id, &self.hold).await?;
            self.written.insert(id, written);
        }
        let written = self.written.get_mut(&id).expect("it was put there just now");
        let applied = match (&mut written.table, &write) {
            (Some(table), write) => {
                let n_changes = table.n_changes();
                table.apply(write).inspect_err(|_| table.undo_to(n_changes))?
            }
            (None, Write::Insert(rows, _)) => Applied { effects: vec![ChangeBatch::inserts(rows.clone())], returned: rows.clone() },
            (None, _) => return Err(crate::Error::internal("a stream only takes insertions")),
        };
        written.effects.extend(applied.effects.iter().cloned());
        Ok(applied)
    }
}

impl WrittenRelation {
    pub(super) fn provider(&self) -> Result<Arc<dyn TableProvider>> {
        let rows = crate::state::consolidate::apply(&self.schema, &self.before, &self.effects)?;
        Ok(Arc::new(MemTable::try_new(self.schema.clone(), vec![rows])?))
    }
}

impl Core {
    async fn begin_writing(&self, id: ObjectId, hold: &Hold) -> Result<WrittenRelation> {
        let snapshots = self.snapshots(&[id], hold).await?.pop().unwrap_or_default();
        let before: Vec<RecordBatch> = snapshots.iter().flat_map(|snapshot| snapshot.batches()).collect::<Result<_>>()?;
        let catalog = self.catalog();
        let object = catalog.require(id)?;
        let schema = schema_of(object);
        let table = match &object.definition {
            catalog::Definition::Table { primary_key, .. } => {
                let mut table = Table::new(object.name.clone(), schema.clone(), primary_key.clone())?;
                before.iter().try_for_each(|rows| table.replay(&ChangeBatch::inserts(rows.clone())))?;
                Some(table)
            }
            _ => None,
        };
        Ok(WrittenRelation { schema, before, effects: Vec::new(), table })
    }
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction").field("n_written", &self.written.len()).finish_non_exhaustive()
    }
}
