//! Results that are read as they are computed.
//!
//! Queries run on a runtime of their own, so a long one never stops a socket from being served. Between that runtime and the
//! reader stands a queue of [`BATCHES_AHEAD`] batches and [`BYTES_AHEAD`]: a slow reader stops its query, and a reader that goes
//! away ends it. Held for a reader that does not read are these, the batch it has in hand and one that waits for room.
//!
//! A [`RowStream`] may be a part of a result: a portal keeps the rest, and gives out the next part when it is asked.

use std::sync::Arc;

use arrow::array::RecordBatch;
use engine::engine::Subscription;
use engine::plan::interrupt::{INTERRUPT, Interrupt};
use engine::update::bytes_of_rows;
use engine::{Error, Result};
use futures::{Stream, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Batches computed before their reader asks: one to send while the next is computed, one spare.
const BATCHES_AHEAD: usize = 2;

/// Bytes computed before their reader asks, unless one batch has more.
const BYTES_AHEAD: usize = 4 << 20;
/// What they are counted in.
const ROOM_UNIT_BYTES: usize = 1 << 10;

/// A task that ends when its handle is dropped: at its next await, or where its operators look at the interrupt.
pub(super) struct Running<T> {
    task: JoinHandle<T>,
    interrupt: Interrupt,
}

impl<T: Send + 'static> Running<T> {
    pub(super) fn spawn(runtime: &Handle, work: impl Future<Output = T> + Send + 'static) -> Self {
        let interrupt = Interrupt::default();
        Self { task: runtime.spawn(INTERRUPT.scope(interrupt.clone(), work)), interrupt }
    }

    /// Goes on with what another task has planned, whose interrupt this was.
    fn spawn_with(runtime: &Handle, interrupt: Interrupt, work: impl Future<Output = T> + Send + 'static) -> Self {
        Self { task: runtime.spawn(work), interrupt }
    }

    /// The result. A panic is a bug of ours: this statement fails with it, and no other.
    pub(super) async fn finish(mut self) -> Result<T> {
        let finished = (&mut self.task).await;
        // What the task has planned may run on in another one.
        self.interrupt = Interrupt::default();
        finished.map_err(|error| Error::internal(format!("the statement failed inside the server: {error}")))
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.interrupt.stop();
        self.task.abort();
    }
}

/// Batches of rows as they come: a whole result, or a part of one.
pub struct RowStream {
    result: Arc<Mutex<Source>>,
    /// Rows this part still has at most; `None` is no limit.
    n_left: Option<u64>,
    patience: Patience,
}

/// How long a part waits for rows that are not there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Until the result ends.
    Endless,
    /// Until then.
    Until(Instant),
    /// Until there is a row; after the first only for what is there.
    OneRow,
    /// Not at all any more.
    Spent,
}

/// A result where it has been read to.
struct Source {
    batches: Batches,
    /// Rows of a batch that the last part did not want.
    rest: Option<RecordBatch>,
}

enum Batches {
    There(std::vec::IntoIter<RecordBatch>),
    Computed { batches: mpsc::Receiver<Computed>, task: Option<Running<()>> },
}

/// A batch in the queue, with the room it takes there.
struct Computed {
    batch: Result<RecordBatch>,
    _room: Option<OwnedSemaphorePermit>,
}

/// The end of the queue that batches are put into.
struct Ahead {
    queue: mpsc::Sender<Computed>,
    room: Arc<Semaphore>,
}

impl Ahead {
    /// Puts a batch into the queue once there is room; `false` when no more is wanted.
    async fn put(&self, batch: Result<RecordBatch>) -> bool {
        let n_units = |batch: &RecordBatch| (bytes_of_rows(batch).min(BYTES_AHEAD) / ROOM_UNIT_BYTES) as u32;
        let room = match &batch {
            Ok(batch) => Arc::clone(&self.room).acquire_many_owned(n_units(batch)).await.ok(),
            Err(_) => None,
        };
        let failed = batch.is_err();
        self.queue.send(Computed { batch, _room: room }).await.is_ok() && !failed
    }
}

impl RowStream {
    /// Rows there are already.
    pub(super) fn of_batches(batches: Vec<RecordBatch>) -> Self {
        Self::of_source(Batches::There(batches.into_iter()))
    }

    /// Computes a query's rows on `runtime`.
    pub(super) fn of_query<E: Into<Error> + Send>(
        runtime: &Handle,
        interrupt: Interrupt,
        mut stream: impl Stream<Item = Result<RecordBatch, E>> + Send + Unpin + 'static,
    ) -> Self {
        Self::of_task(runtime, interrupt, |ahead| async move {
            while let Some(batch) = stream.next().await {
                if !ahead.put(batch.map_err(Into::into)).await {
                    return;
                }
            }
        })
    }

    /// Follows a subscription on `runtime`. One that is overrun while its reader does not read lets go of what it holds at once.
    pub(super) fn of_subscription(runtime: &Handle, mut subscription: Subscription) -> Self {
        let backlog = subscription.backlog();
        Self::of_task(runtime, Interrupt::default(), |ahead| async move {
            while let Some(batch) = subscription.next().await {
                let is_end = batch.is_err();
                tokio::select! {
                    goes_on = ahead.put(batch) => if !goes_on {
                        return;
                    },
                    () = backlog.overrun(), if !is_end => {}
                }
            }
        })
    }

    fn of_task<F>(runtime: &Handle, interrupt: Interrupt, work: impl FnOnce(Ahead) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (queue, batches) = mpsc::channel(BATCHES_AHEAD);
        let ahead = Ahead { queue, room: Arc::new(Semaphore::new(BYTES_AHEAD / ROOM_UNIT_BYTES)) };
        Self::of_source(Batches::Computed { batches, task: Some(Running::spawn_with(runtime, interrupt, work(ahead))) })
    }

    fn of_source(batches: Batches) -> Self {
        Self { result: Arc::new(Mutex::new(Source { batches, rest: None })), n_left: None, patience: Patience::Endless }
    }

    /// The next `n_rows` rows of these; `None` is all that are left. What a part does not read the next one does.
    pub(super) fn part(&mut self, n_rows: Option<u64>) -> Self {
        let n_taken = match (self.n_left, n_rows) {
            (Some(n_left), Some(n_rows)) => Some(n_left.min(n_rows)),
            (n_left, n_rows) => n_left.or(n_rows),
        };
        self.n_left = self.n_left.map(|n_left| n_left - n_taken.unwrap_or(n_left));
        Self { result: Arc::clone(&self.result), n_left: n_taken, patience: self.patience }
    }

    /// The same rows, waited for like this.
    pub(super) fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// The next batch; `None` after the last. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<RecordBatch>> {
        if self.n_left == Some(0) {
            return None;
        }
        if let Some(batch) = self.try_next() {
            return Some(batch);
        }
        let batch = {
            let result = Arc::clone(&self.result);
            let mut result = result.lock().await;
            match self.patience {
                Patience::Endless | Patience::OneRow => result.next().await,
                Patience::Until(deadline) => tokio::time::timeout_at(deadline, result.next()).await.ok().flatten(),
                Patience::Spent => None,
            }?
        };
        Some(batch.map(|batch| self.cut(batch)))
    }

    /// The next batch if one is there now.
    pub fn try_next(&mut self) -> Option<Result<RecordBatch>> {
        if self.n_left == Some(0) {
            return None;
        }
        let batch = {
            let result = Arc::clone(&self.result);
            result.try_lock().ok()?.try_next()?
        };
        Some(batch.map(|batch| self.cut(batch)))
    }

    /// All remaining batches.
    pub async fn collect(mut self) -> Result<Vec<RecordBatch>> {
        let mut all = Vec::new();
        while let Some(batch) = self.next().await {
            all.push(batch?);
        }
        Ok(all)
    }

    /// What this part wants of a batch; the rest stays with the result.
    fn cut(&mut self, batch: RecordBatch) -> RecordBatch {
        if self.patience == Patience::OneRow && batch.num_rows() > 0 {
            self.patience = Patience::Spent;
        }
        let Some(n_left) = &mut self.n_left else { return batch };
        let n_taken = usize::try_from(*n_left).unwrap_or(usize::MAX).min(batch.num_rows());
        *n_left -= n_taken as u64;
        if n_taken < batch.num_rows() {
            let mut result = self.result.try_lock().expect("a part is read by one reader, and no other part meanwhile");
            result.rest = Some(batch.slice(n_taken, batch.num_rows() - n_taken));
        }
        batch.slice(0, n_taken)
    }
}

impl Source {
    async fn next(&mut self) -> Option<Result<RecordBatch>> {
        if let Some(rest) = self.rest.take() {
            return Some(Ok(rest));
        }
        match &mut self.batches {
            Batches::There(batches) => batches.next().map(Ok),
            Batches::Computed { batches, task } => match batches.recv().await {
                Some(computed) => Some(computed.batch),
                // Ended: by its last row, or by a panic, which must not look like the last row.
                None => task.take()?.finish().await.err().map(Err),
            },
        }
    }

    fn try_next(&mut self) -> Option<Result<RecordBatch>> {
        if let Some(rest) = self.rest.take() {
            return Some(Ok(rest));
        }
        match &mut self.batches {
            Batches::There(batches) => batches.next().map(Ok),
            Batches::Computed { batches, .. } => batches.try_recv().ok().map(|computed| computed.batch),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    fn batch(values: std::ops::Range<i64>) -> RecordBatch {
        RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from_iter_values(values)) as ArrayRef)]).expect("one column")
    }

    async fn n_rows(part: RowStream) -> usize {
        part.collect().await.expect("no errors").iter().map(RecordBatch::num_rows).sum()
    }

    #[tokio::test]
    async fn parts_follow_one_another() {
        let mut result = RowStream::of_batches(vec![batch(0..5), batch(5..8)]);
        for (wanted, n_given) in [(Some(2), 2), (Some(3), 3), (Some(0), 0)] {
            assert_eq!(n_rows(result.part(wanted)).await, n_given, "{wanted:?}");
        }
        let mut part = result.part(Some(2));
        for (wanted, n_given) in [(Some(1), 1), (None, 1), (None, 0)] {
            assert_eq!(n_rows(part.part(wanted)).await, n_given, "{wanted:?} of two rows");
        }
        assert_eq!(n_rows(result.part(None)).await, 1);
    }

    #[tokio::test]
    async fn a_part_waits_as_long_as_it_may() {
        let (sender, receiver) = mpsc::channel(1);
        let mut result = RowStream::of_query(&Handle::current(), Interrupt::default(), tokio_stream(receiver));
        assert_eq!(n_rows(result.part(None).with_patience(Patience::Until(Instant::now()))).await, 0);
        sender.send(Ok::<_, Error>(batch(0..3))).await.expect("the reader lives");
        assert_eq!(n_rows(result.part(Some(2)).with_patience(Patience::OneRow)).await, 2);
        assert_eq!(n_rows(result.part(Some(2)).with_patience(Patience::OneRow)).await, 1);
        drop(sender);
        assert_eq!(n_rows(result.part(None)).await, 0);
    }

    /// How many batches of `n_bytes` are computed for a reader that takes `n_taken` and stops.
    async fn n_computed(n_bytes: usize, n_taken: usize) -> usize {
        let n_computed = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counter = Arc::clone(&n_computed);
        let wide = Arc::new(arrow::array::StringArray::from_iter_values(["x".repeat(n_bytes)])) as ArrayRef;
        let batches = futures::stream::repeat_with(move || {
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok::<_, Error>(RecordBatch::try_from_iter([("a", Arc::clone(&wide))]).expect("one column"))
        });
        let mut rows = RowStream::of_query(&Handle::current(), Interrupt::default(), batches);
        for _ in 0..n_taken {
            rows.next().await.expect("they never end").expect("no errors");
        }
        // The other task runs until it has to wait: both share this thread.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        n_computed.load(std::sync::atomic::Ordering::Relaxed)
    }

    #[tokio::test]
    async fn what_is_computed_ahead_is_bounded_in_batches_and_in_bytes() {
        // Two in the queue, and one that waits for its place.
        assert_eq!(n_computed(1, 5).await, 5 + 2 + 1);
        // One in the queue, for two have more than may be there.
        assert_eq!(n_computed(3 << 20, 5).await, 5 + 1 + 1);
        // A batch that has more than may be there is there alone.
        assert_eq!(n_computed(2 * BYTES_AHEAD, 5).await, 5 + 1 + 1);
    }

    fn tokio_stream(receiver: mpsc::Receiver<Result<RecordBatch>>) -> impl Stream<Item = Result<RecordBatch>> + Unpin + Send {
        Box::pin(futures::stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|batch| (batch, receiver)) }))
    }
}
