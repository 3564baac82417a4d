//! SUBSCRIBE: a relation's rows at one epoch, then its changes as epochs close.
//!
//! Guaranteed: epochs come in order, each whole and consolidated, with no gap and no overlap after the snapshot; what is shown
//! is recorded. A reader that falls too far behind gets an error, never the server's memory. A query is followed through a
//! dataflow of its own, which ends with its subscription.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use catalog::ObjectId;
use tokio::sync::{mpsc, watch};

use super::{Core, Engine, shut_down};
use crate::command::{Backlog, Command, Feed, FeedSender, PIECE_BYTES, Subscriber};
use crate::plan::statement::Subscribe;
use crate::plan::{Node, Plan};
use crate::sequencer::{Define, Request};
use crate::state::consolidate::consolidate;
use crate::update::bytes_of_rows;
use crate::{ChangeBatch, Epoch, Error, Result};

/// Changes of a relation or query as they happen.
pub struct Subscription {
    /// `epoch int8, diff int8`, then the relation's own columns.
    pub schema: SchemaRef,
    rows: SchemaRef,
    as_of: Epoch,
    with_snapshot: bool,
    with_progress: bool,
    queue: mpsc::UnboundedReceiver<(usize, Feed)>,
    backlog: Arc<Backlog>,
    /// By worker, the first epoch it may still send.
    frontiers: Vec<Epoch>,
    /// The first epoch that no progress row has told of.
    told: Epoch,
    pending: BTreeMap<Epoch, Waiting>,
    snapshot: VecDeque<Box<dyn Iterator<Item = Result<RecordBatch>> + Send>>,
    out: VecDeque<Shown>,
    recorded: watch::Receiver<Epoch>,
    /// Ends the dataflow of a query.
    _unnamed: Option<Unnamed>,
}

/// The changes of an epoch that has not closed.
#[derive(Default)]
struct Waiting {
    changes: Vec<ChangeBatch>,
    n_bytes: usize,
}

/// A batch that is ready, and the bytes that nobody holds any more once it was taken.
struct Shown {
    batch: RecordBatch,
    n_bytes: usize,
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
        core.refuse_zone(&subscribe.query, "")?;
        // Of no index, which would have to be there as long as someone follows.
        let plan = core.lowered(&subscribe.query, &[], &|_| false)?;
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
        let backlog = Arc::new(Backlog::default());
        core.workers.send_all(|worker| {
            let feed = FeedSender { worker, queue: sender.clone(), backlog: Arc::clone(&backlog) };
            Command::Subscribe(Subscriber { relation, hold: Some(hold.clone()), as_of, feed })
        });
        Ok(Subscription {
            schema: subscription_schema(&plan.schema),
            rows: plan.schema.clone(),
            as_of,
            with_snapshot: subscribe.snapshot,
            with_progress: subscribe.progress,
            queue,
            backlog,
            frontiers: vec![as_of; core.workers.n_workers()],
            told: as_of,
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
            let relation = self.workshop.computed(ids[0], Some(ids[1]), 0, plan, None)?;
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
    /// What it holds that was not taken; whoever waits for its reader waits for its overrun, too, and then asks for the next batch.
    pub fn backlog(&self) -> Arc<Backlog> {
        Arc::clone(&self.backlog)
    }

    /// The next batch of changes, of [`PIECE_BYTES`] at most; waits for one. `None` when the relation was dropped or the server
    /// stops. A reader that came too late gets 53400, and nothing is held for it any more.
    pub async fn next(&mut self) -> Option<Result<RecordBatch>> {
        loop {
            if self.backlog.is_overrun() {
                return Some(Err(self.give_up()));
            }
            if let Some(Shown { batch, n_bytes }) = self.out.pop_front() {
                self.backlog.remove(n_bytes);
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
                    // The workers let go of a subscription that is overrun.
                    None if self.backlog.is_overrun() => {}
                    None => return None,
                },
                changed = self.recorded.changed() => if changed.is_err() {
                    return Some(Err(shut_down()));
                },
            }
        }
    }

    fn give_up(&mut self) -> Error {
        self.queue.close();
        while let Ok((_, feed)) = self.queue.try_recv() {
            self.backlog.remove(feed.n_bytes());
        }
        let held = self.pending.values().map(|waiting| waiting.n_bytes).chain(self.out.iter().map(|shown| shown.n_bytes));
        self.backlog.remove(held.sum());
        self.pending.clear();
        self.out.clear();
        self.snapshot.clear();
        Error::new("53400", "the subscriber reads more slowly than the relation changes")
            .with_hint("read faster, or subscribe again: the new subscription starts with a snapshot")
    }

    fn take(&mut self, worker: usize, feed: Feed) -> Result<()> {
        let n_bytes = feed.n_bytes();
        if !matches!(feed, Feed::Changes(..)) {
            self.backlog.remove(n_bytes);
        }
        match feed {
            Feed::Snapshot(snapshot) => {
                if self.with_snapshot {
                    self.snapshot.push_back(snapshot.batches());
                }
            }
            Feed::Changes(epoch, changes) => {
                let waiting = self.pending.entry(epoch).or_default();
                waiting.changes.push(changes);
                waiting.n_bytes += n_bytes;
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
                    // Shared with the relation: a copy would only be more.
                    let batch = self.labelled(self.as_of, ones, batch.columns())?;
                    self.out.push_back(Shown { batch, n_bytes: 0 });
                    return Ok(());
                }
                None => drop(self.snapshot.pop_front()),
            }
        }
        let closed = self.frontiers.iter().copied().min().unwrap_or(0).min(*self.recorded.borrow_and_update() + 1);
        while let Some(entry) = self.pending.first_entry().filter(|entry| *entry.key() < closed) {
            let (epoch, Waiting { changes, n_bytes }) = entry.remove_entry();
            let changes = consolidate(&self.rows, &changes)?;
            if changes.is_empty() {
                self.backlog.remove(n_bytes);
                continue;
            }
            let weights = changes.weights().cloned().unwrap_or_else(|| Int64Array::from(vec![1; changes.len()]));
            let batch = self.labelled(epoch, weights, changes.rows().columns())?;
            self.put(batch, n_bytes)?;
        }
        if self.with_progress && closed > self.told {
            self.told = closed;
            let batch = self.progress(closed - 1)?;
            self.put(batch, 0)?;
        }
        Ok(())
    }

    /// Makes a batch ready, in pieces that keep nothing of the whole; its `n_bytes` are held until the last of them is taken.
    fn put(&mut self, batch: RecordBatch, n_bytes: usize) -> Result<()> {
        let whole = bytes_of_rows(&batch);
        if whole <= PIECE_BYTES {
            self.out.push_back(Shown { batch, n_bytes });
            return Ok(());
        }
        let n_rows = (batch.num_rows() * PIECE_BYTES / whole).max(1);
        for start in (0..batch.num_rows()).step_by(n_rows) {
            let end = batch.num_rows().min(start + n_rows);
            let rows = UInt32Array::from_iter_values(start as u32..end as u32);
            let n_bytes = if end == batch.num_rows() { n_bytes } else { 0 };
            self.out.push_back(Shown { batch: take_record_batch(&batch, &rows)?, n_bytes });
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

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;
    use arrow::datatypes::DataType;

    use super::*;
    use crate::command::MAX_SUBSCRIBER_BYTES;

    const ROW_BYTES: usize = 1 << 10;

    struct Writer {
        feed: FeedSender,
        recorded: watch::Sender<Epoch>,
        rows: SchemaRef,
    }

    impl Writer {
        /// An epoch of so many rows, each with a text of its own.
        fn epoch(&self, epoch: Epoch, n_rows: usize) -> bool {
            let text = |row: usize| format!("{row:0ROW_BYTES$}");
            let texts = StringArray::from_iter_values((0..n_rows).map(text));
            let rows = RecordBatch::try_new(Arc::clone(&self.rows), vec![Arc::new(texts)]).expect("one column");
            self.feed.send(Feed::Changes(epoch, ChangeBatch::inserts(rows))) && self.feed.send(Feed::Frontier(epoch + 1))
        }
    }

    fn subscription() -> (Writer, Subscription) {
        let rows = Arc::new(Schema::new(vec![Field::new("v", DataType::Utf8, true)]));
        let ((sender, queue), (recorded, recorded_epoch)) = (mpsc::unbounded_channel(), watch::channel(0));
        let backlog = Arc::new(Backlog::default());
        let subscription = Subscription {
            schema: subscription_schema(&rows),
            rows: Arc::clone(&rows),
            as_of: 0,
            with_snapshot: false,
            with_progress: false,
            queue,
            backlog: Arc::clone(&backlog),
            frontiers: vec![0],
            told: 0,
            pending: BTreeMap::new(),
            snapshot: VecDeque::new(),
            out: VecDeque::new(),
            recorded: recorded_epoch,
            _unnamed: None,
        };
        (Writer { feed: FeedSender { worker: 0, queue: sender, backlog }, recorded, rows }, subscription)
    }

    #[tokio::test]
    async fn what_is_not_read_is_bounded_wherever_it_waits() {
        let (writer, mut subscription) = subscription();
        let backlog = subscription.backlog();
        assert!(writer.epoch(1, 1_000), "there is room");
        writer.recorded.send(1).expect("the subscription lives");
        subscription.next().await.expect("a batch").expect("no error");
        assert!(backlog.n_bytes() > 0, "pieces of the first epoch are ready, not in the queue any more");
        let mut n_rows = 1_000;
        for epoch in 2.. {
            if !writer.epoch(epoch, 1_000) {
                break;
            }
            n_rows += 1_000;
            assert!(backlog.n_bytes() <= MAX_SUBSCRIBER_BYTES + 2_300 * ROW_BYTES, "two epochs more than what may wait");
        }
        assert!(
            (n_rows + 1_000) * ROW_BYTES > MAX_SUBSCRIBER_BYTES && (n_rows - 3_000) * ROW_BYTES < MAX_SUBSCRIBER_BYTES,
            "{n_rows} rows"
        );
        backlog.overrun().await;
        let error = subscription.next().await.expect("the end").expect_err("it is overrun");
        assert_eq!(error.sqlstate, "53400");
        assert_eq!(backlog.n_bytes(), 0, "nothing is held any more");
        assert!(!writer.epoch(1_000, 1), "and nothing more is taken");
    }

    #[tokio::test]
    async fn one_epoch_may_be_larger_than_the_backlog() {
        let (writer, mut subscription) = subscription();
        assert!(writer.epoch(1, 20_000), "20 MB that change at once are no fault of the reader's");
        assert!(writer.feed.send(Feed::Frontier(3)), "nor is what closes after it");
        writer.recorded.send(2).expect("the subscription lives");
        let mut n_rows = 0;
        while n_rows < 20_000 {
            n_rows += subscription.next().await.expect("a batch").expect("no error").num_rows();
        }
        assert!(writer.epoch(3, 20_000), "all of it was taken");
        assert!(writer.epoch(4, 20_000), "the one before may not be taken yet");
        assert!(!writer.epoch(5, 1), "the reader lags behind by two epochs of 20 MB");
        drop(writer);
        let error = subscription.next().await.expect("it does not end in silence").expect_err("it is overrun");
        assert_eq!(error.sqlstate, "53400");
    }

    #[tokio::test]
    async fn an_epoch_comes_in_pieces_and_is_held_until_the_last() {
        let (writer, mut subscription) = subscription();
        let backlog = subscription.backlog();
        assert!(writer.epoch(1, 4_000), "there is room");
        writer.recorded.send(1).expect("the subscription lives");
        let (mut n_rows, mut n_pieces) = (0, 0);
        while n_rows < 4_000 {
            let piece = subscription.next().await.expect("a batch").expect("no error");
            assert!(bytes_of_rows(&piece) <= PIECE_BYTES + ROW_BYTES, "{} bytes", bytes_of_rows(&piece));
            assert!(piece.get_array_memory_size() <= 2 * PIECE_BYTES, "a piece keeps nothing of the whole");
            n_rows += piece.num_rows();
            n_pieces += 1;
            assert_eq!(backlog.n_bytes() > 4_000 * ROW_BYTES, n_rows < 4_000, "after {n_rows} rows");
        }
        assert_eq!((n_rows, n_pieces > 4), (4_000, true));
    }
}
