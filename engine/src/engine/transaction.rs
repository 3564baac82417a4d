//! A `BEGIN … COMMIT` block: a snapshot of everything at one epoch, and the block's own writes on top of it.
//!
//! Level: snapshot isolation. The rows with the keys that a write names are looked up in the block's snapshot, so that its own
//! writes are checked (23505) and seen at once, at a cost that follows what is written; at COMMIT the sequencer checks that what the
//! block changed is still as it was (40001).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use catalog::ObjectId;
use datafusion::datasource::TableProvider;

use super::snapshot_table::SnapshotTable;
use super::{Core, Engine};
use crate::sequencer::Request;
use crate::sequencer::relation::schema_of;
use crate::sequencer::table::{Applied, OnConflict, Table, Write};
use crate::state::history::{Snapshot, Trace};
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
    /// The rows before the block.
    before: Snapshot,
    effects: Vec<ChangeBatch>,
    /// The sum of the effects.
    own: Trace,
    /// What the block knows of a table's rows, all changes of which it can undo; a stream has none.
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
            written.own = written.sum_of_effects().expect("what was added up before can be again");
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
                table.learn(write, &written.before)?;
                let n_changes = table.n_changes();
                table.apply(write).inspect_err(|_| table.undo_to(n_changes))?
            }
            (None, Write::Insert(rows, _)) => Applied { effects: vec![ChangeBatch::inserts(rows.clone())], returned: rows.clone() },
            (None, _) => return Err(crate::Error::internal("a stream only takes insertions")),
        };
        for effect in &applied.effects {
            written.own.insert(OWN_EPOCH, effect)?;
        }
        written.effects.extend(applied.effects.iter().cloned());
        Ok(applied)
    }
}

/// The block's writes are not told apart by time.
const OWN_EPOCH: Epoch = 1;

impl WrittenRelation {
    pub(super) fn provider(&self) -> Result<Arc<dyn TableProvider>> {
        let own = self.own.snapshot_at(OWN_EPOCH);
        let rows = Snapshot::sum([self.before.clone(), own]).into_iter().collect();
        Ok(Arc::new(SnapshotTable::new(self.schema.clone(), rows)))
    }

    fn sum_of_effects(&self) -> Result<Trace> {
        let mut own = self.before.empty_trace();
        self.effects.iter().try_for_each(|effect| own.insert(OWN_EPOCH, effect))?;
        Ok(own)
    }
}

impl Core {
    async fn begin_writing(&self, id: ObjectId, hold: &Hold) -> Result<WrittenRelation> {
        let snapshots = self.snapshots(&[id], hold).await?.pop().unwrap_or_default();
        let before = Snapshot::sum(snapshots).ok_or_else(|| crate::Error::internal("a relation has a snapshot on each worker"))?;
        let catalog = self.catalog();
        let object = catalog.require(id)?;
        let schema = schema_of(object);
        let table = match &object.definition {
            catalog::Definition::Table { primary_key, .. } => Some(Table::new(object.name.clone(), schema.clone(), primary_key.clone())?),
            _ => None,
        };
        Ok(WrittenRelation { schema, own: before.empty_trace(), before, effects: Vec::new(), table })
    }
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction").field("n_written", &self.written.len()).finish_non_exhaustive()
    }
}
