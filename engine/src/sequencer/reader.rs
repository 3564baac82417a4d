//! Reader threads: each polls one source and hands its batches to the sequencer, two at a time at most, so that a source is
//! never further ahead than what the sequencer has asked for.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use catalog::ObjectId;

use crate::Error;
use crate::clock::Clock;
use crate::priority::give_way;
use crate::source::{Poll, Source, SourceBatch};

/// Batches a reader may be ahead of the sequencer: one being taken in, one being made.
const N_CREDITS: usize = 2;

/// The streams a reader feeds: by output index of its source.
pub type Outputs = Vec<Option<ObjectId>>;

/// What a reader brings.
pub enum Event {
    /// Rows between two positions.
    Batch {
        /// The rows.
        batch: SourceBatch,
        /// Position before.
        from: String,
        /// Position after.
        to: String,
    },
    /// There will be no more rows.
    Finished,
    /// The source cannot be read; it is tried again from where it was when the server starts again.
    Failed(Error),
}

/// A running reader. Dropping it stops the thread after its current poll.
pub struct Reader {
    /// Whom it feeds.
    pub outputs: Outputs,
    credits: Sender<()>,
}

impl Reader {
    /// Starts reading `source`; `deliver` is called from its thread.
    pub fn start(
        mut source: Box<dyn Source>,
        outputs: Outputs,
        max_rows: usize,
        clock: Arc<Clock>,
        deliver: impl Fn(Event) + Send + 'static,
    ) -> crate::Result<Self> {
        let (credits, receiver) = channel();
        for _ in 0..N_CREDITS {
            credits.send(()).expect("the receiver is right here");
        }
        std::thread::Builder::new().name("source".into()).spawn(move || {
            give_way();
            run(source.as_mut(), &receiver, max_rows, &clock, &deliver);
        })?;
        Ok(Self { outputs, credits })
    }

    /// One batch has been taken in: the reader may bring another.
    pub fn taken(&self) {
        // The reader may have finished; then it needs no credit.
        let _ = self.credits.send(());
    }
}

fn run(source: &mut dyn Source, credits: &Receiver<()>, max_rows: usize, clock: &Clock, deliver: &dyn Fn(Event)) {
    let mut n_credits = 0;
    loop {
        if n_credits == 0 {
            if credits.recv().is_err() {
                return;
            }
            n_credits = 1;
        }
        let from = source.position();
        match source.poll(max_rows, clock.now_us()) {
            Ok(Poll::Batch(batch)) => {
                n_credits -= 1;
                deliver(Event::Batch { batch, from, to: source.position() });
            }
            Ok(Poll::Finished) => return deliver(Event::Finished),
            Err(error) => return deliver(Event::Failed(error)),
            Ok(Poll::Idle { retry_after_ms }) => match credits.recv_timeout(Duration::from_millis(retry_after_ms)) {
                Ok(()) => n_credits += 1,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            },
        }
    }
}
