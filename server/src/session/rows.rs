//! Results that are read as they are computed.
//!
//! Queries run on a runtime of their own, so a long one never stops a socket from being served. Between that runtime and the
//! reader stands a queue of [`BATCHES_AHEAD`] batches: a slow reader stops its query, and a reader that goes away ends it.

use arrow::array::RecordBatch;
use engine::engine::Subscription;
use engine::{Error, Result};
use futures::{Stream, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Batches computed before their reader asks: one to send while the next is computed, one spare.
const BATCHES_AHEAD: usize = 2;

/// A task that ends when its handle is dropped.
pub(super) struct Running<T> {
    task: JoinHandle<T>,
}

impl<T: Send + 'static> Running<T> {
    pub(super) fn spawn(runtime: &Handle, work: impl Future<Output = T> + Send + 'static) -> Self {
        Self { task: runtime.spawn(work) }
    }

    /// The result. A panic is a bug of ours: this statement fails with it, and no other.
    pub(super) async fn finish(mut self) -> Result<T> {
        (&mut self.task).await.map_err(|error| Error::internal(format!("the statement failed inside the server: {error}")))
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Batches of rows as they come.
pub struct RowStream {
    source: Source,
}

enum Source {
    Batches(std::vec::IntoIter<RecordBatch>),
    Task { batches: mpsc::Receiver<Result<RecordBatch>>, task: Option<Running<()>> },
}

impl RowStream {
    /// Rows there are already.
    pub(super) fn of_batches(batches: Vec<RecordBatch>) -> Self {
        Self { source: Source::Batches(batches.into_iter()) }
    }

    /// Computes a query's rows on `runtime`.
    pub(super) fn of_query<E: Into<Error> + Send>(
        runtime: &Handle,
        mut stream: impl Stream<Item = Result<RecordBatch, E>> + Send + Unpin + 'static,
    ) -> Self {
        Self::of_task(runtime, |sender| async move {
            while let Some(batch) = stream.next().await {
                let batch = batch.map_err(Into::into);
                let failed = batch.is_err();
                if sender.send(batch).await.is_err() || failed {
                    return;
                }
            }
        })
    }

    /// Follows a subscription on `runtime`.
    pub(super) fn of_subscription(runtime: &Handle, mut subscription: Subscription) -> Self {
        Self::of_task(runtime, |sender| async move {
            while let Some(batch) = subscription.next().await {
                let failed = batch.is_err();
                if sender.send(batch).await.is_err() || failed {
                    return;
                }
            }
        })
    }

    fn of_task<F>(runtime: &Handle, work: impl FnOnce(mpsc::Sender<Result<RecordBatch>>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
        Self { source: Source::Task { batches, task: Some(Running::spawn(runtime, work(sender))) } }
    }

    /// The next batch; `None` after the last. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<RecordBatch>> {
        match &mut self.source {
            Source::Batches(batches) => batches.next().map(Ok),
            Source::Task { batches, task } => match batches.recv().await {
                Some(batch) => Some(batch),
                // Ended: by its last row, or by a panic, which must not look like the last row.
                None => task.take()?.finish().await.err().map(Err),
            },
        }
    }

    /// The next batch if one is there now.
    pub fn try_next(&mut self) -> Option<Result<RecordBatch>> {
        match &mut self.source {
            Source::Batches(batches) => batches.next().map(Ok),
            Source::Task { batches, .. } => batches.try_recv().ok(),
        }
    }

    /// All remaining batches.
    pub async fn collect(mut self) -> Result<Vec<RecordBatch>> {
        let mut all = Vec::new();
        while let Some(batch) = self.next().await {
            all.push(batch?);
        }
        Ok(all)
    }
}
