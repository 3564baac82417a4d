//! SUBSCRIBE: a relation's rows at one epoch, then its changes as epochs close.
//!
//! Guaranteed: epochs come in order, each whole and consolidated, with no gap and no overlap after the snapshot; what is shown
//! is recorded. A reader that falls too far behind gets an error, never the server's memory. A query is followed through a
//! dataflow of its own, which ends with its subscription.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use catalog::ObjectId;
use tokio::sync::{mpsc, watch};

use super::{Core, Engine, shut_down};
use crate::command::{Command, Feed, FeedSender, Subscriber};
use crate::plan::statement::Subscribe;
use crate::plan::{Node, Plan};
use crate::sequencer::{Define, Request};
use crate::state::consolidate::consolidate;
use crate::{ChangeBatch, Epoch, Result};

/// Changes of a relation or query as they happen.
pub struct Subscription {
    /// `epoch int8, diff int8`, then the relation's own columns.
    pub schema: SchemaRef,
    rows: SchemaRef,
    as_of: Epoch,
    with_snapshot: bool,
    with_progress: bool,
    queue: mpsc::UnboundedReceiver<(usize, Feed)>,
    n_bytes: Arc<AtomicUsize>,
    /// By worker, the first epoch it may still send.
    frontiers: Vec<Epoch>,
    shown: Epoch,
    pending: BTreeMap<Epoch, Vec<ChangeBatch>>,
    snapshot: VecDeque<Box<dyn Iterator<Item = Result<RecordBatch>> + Send>>,
    out: VecDeque<RecordBatch>,
    recorded: watch::Receiver<Epoch>,
    /// Ends the dataflow of a query.
    _unnamed: Option<Unnamed>,
}

/// A relation that is in no catalog; dropped with its last reader.
struct Unnamed {
    core: Arc<Core>,
    ids: Vec<ObjectId>,
}

impl Engine {
    /// Starts following changes.
    pub async fn subscribe(&self, subscribe: &Subscribe) -> Result<Subscription> {
        let core = &self.core;
        let plan = core.lowered(&subscribe.query, &[])?;
        let (relation, unnamed) = match whole_relation(&plan, core) {
            Some(relation) => (relation, None),
            None => {
                let unnamed = core.create_unnamed(&plan).await?;
                (unnamed.ids[0], Some(unnamed))
            }
        };
        let hold = core.shared.clock.hold_newest();
        let as_of = hold.epoch();
        let (sender, queue) = mpsc::unbounded_channel();
        let n_bytes = Arc::new(AtomicUsize::new(0));
        core.workers.send_all(|worker| {
            let feed = FeedSender { worker, queue: sender.clone(), n_bytes: Arc::clone(&n_bytes) };
            Command::Subscribe(Subscriber { relation, hold: Some(hold.clone()), as_of, feed })
        });
        Ok(Subscription {
            schema: subscription_schema(&plan.schema),
            rows: plan.schema.clone(),
            as_of,
            with_snapshot: subscribe.snapshot,
            with_progress: subscribe.progress,
            queue,
            n_bytes,
            frontiers: vec![as_of; core.workers.n_workers()],
            shown: as_of + 1,
            pending: BTreeMap::new(),
            snapshot: VecDeque::new(),
            out: VecDeque::new(),
            recorded: core.shared.clock.watch_recorded(),
            _unnamed: unnamed,
        })
    }
}

impl Core {
    /// A dataflow for a query that has no name.
    async fn create_unnamed(self: &Arc<Self>, plan: &Plan) -> Result<Unnamed> {
        loop {
            let ids: Vec<ObjectId> = {
                let mut next = self.next_unnamed.lock().expect("no one panics while holding it");
                *next += 2;
                vec![ObjectId(*next - 2), ObjectId(*next - 1)]
            };
            let relation = self.workshop.computed(ids[0], ids[1], 0, plan, None)?;
            let version = self.catalog().version;
            let define = |reply| {
                Request::Define(Box::new(Define { version, change: None, create: vec![relation], drop: vec![], writes: vec![], reply }))
            };
            if self.ask(define).await? {
                return Ok(Unnamed { core: Arc::clone(self), ids });
            }
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        self.core.send(Request::DropUnnamed(self.ids.clone()));
    }
}

/// The relation a plan returns whole and unchanged, if that is all it does.
fn whole_relation(plan: &Plan, core: &Core) -> Option<ObjectId> {
    let Node::Scan { relation, columns } = &plan.node else { return None };
    let catalog = core.catalog();
    let n_columns = catalog.get(*relation).map(|object| crate::sequencer::relation::schema_of(object).fields().len())?;
    columns.iter().copied().eq(0..n_columns).then_some(*relation)
}

pub(super) fn subscription_schema(rows: &SchemaRef) -> SchemaRef {
    let mut fields = vec![Arc::new(Field::new("epoch", DataType::Int64, false)), Arc::new(Field::new("diff", DataType::Int64, true))];
    fields.extend(rows.fields().iter().map(|field| Arc::new(field.as_ref().clone().with_nullable(true))));
    Arc::new(Schema::new(fields))
}

impl Subscription {
    /// The next batch of changes; waits for one. `None` when the relation was dropped or the server stops.
    pub async fn next(&mut self) -> Option<Result<RecordBatch>> {
        loop {
            if let Some(batch) = self.out.pop_front() {
                return Some(Ok(batch));
            }
            if let Err(error) = self.show() {
                return Some(Err(error));
            }
            if !self.out.is_empty() {
                continue;
            }
            tokio::select! {
                received = self.queue.recv() => match received {
                    Some((worker, feed)) => match self.take(worker, feed) {
                        Ok(()) => {}
                        Err(error) => return Some(Err(error)),
                    },
                    None => return None,
                },
                changed = self.recorded.changed() => if changed.is_err() {
                    return Some(Err(shut_down()));
                },
            }
        }
    }

    fn take(&mut self, worker: usize, feed: Feed) -> Result<()> {
        match feed {
            Feed::Snapshot(snapshot) => {
                if self.with_snapshot {
                    self.snapshot.push_back(snapshot.batches());
                }
            }
            Feed::Changes(epoch, changes) => {
                self.n_bytes.fetch_sub(changes.memory_bytes(), Ordering::Relaxed);
                self.pending.entry(epoch).or_default().push(changes);
            }
            Feed::Frontier(epoch) => self.frontiers[worker] = epoch,
            Feed::End(error) => return Err(error),
        }
        Ok(())
    }

    /// Moves on to what can be shown now: the snapshot batch by batch, then whole epochs.
    fn show(&mut self) -> Result<()> {
        while let Some(batches) = self.snapshot.front_mut() {
            match batches.next().transpose()? {
                Some(batch) if batch.num_rows() == 0 => {}
                Some(batch) => {
                    let ones = Int64Array::from(vec![1; batch.num_rows()]);
                    self.out.push_back(self.labelled(self.as_of, ones, batch.columns())?);
                    return Ok(());
                }
                None => drop(self.snapshot.pop_front()),
            }
        }
        let closed = self.frontiers.iter().copied().min().unwrap_or(0).min(*self.recorded.borrow_and_update() + 1);
        while let Some(entry) = self.pending.first_entry().filter(|entry| *entry.key() < closed) {
            let (epoch, changes) = entry.remove_entry();
            let changes = consolidate(&self.rows, &changes)?;
            self.shown = epoch + 1;
            if !changes.is_empty() {
                let weights = changes.weights().cloned().unwrap_or_else(|| Int64Array::from(vec![1; changes.len()]));
                self.out.push_back(self.labelled(epoch, weights, changes.rows().columns())?);
            }
        }
        if self.with_progress && closed > self.shown {
            self.shown = closed;
            self.out.push_back(self.progress(closed - 1)?);
        }
        Ok(())
    }

    fn labelled(&self, epoch: Epoch, weights: Int64Array, columns: &[ArrayRef]) -> Result<RecordBatch> {
        let epochs = Int64Array::from(vec![epoch as i64; weights.len()]);
        let mut all: Vec<ArrayRef> = vec![Arc::new(epochs), Arc::new(weights)];
        all.extend(columns.iter().cloned());
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), all)?)
    }

    /// A row that says only that an epoch has closed: its diff is null.
    fn progress(&self, epoch: Epoch) -> Result<RecordBatch> {
        let mut all: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![epoch as i64]))];
        all.extend(self.schema.fields().iter().skip(1).map(|field| arrow::array::new_null_array(field.data_type(), 1)));
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), all)?)
    }
}
