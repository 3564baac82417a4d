//! The start: the log is replayed into the workers, so that all is as it was.
//!
//! Guaranteed: a relation begins at the end of the epoch that it began at, and at the last epoch everything has the rows that it had.
//! Epochs without changes are passed over where nothing begins: all they did was to move the clock, which the next one does, too.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use catalog::ObjectId;

use super::epoch_clock::{EpochClock, clock_relation, reads_clock};
use super::log_thread::LogThread;
use super::pending::Pending;
use super::relation::NewRelation;
use super::{MAX_EPOCHS_IN_FLIGHT, Request, Sequencer, Start};
use crate::command::Command;
use crate::log::{EpochRecord, Replay};
use crate::{Epoch, Result};

impl Sequencer {
    /// Replays the log: the same epochs, with the relations that were there at each.
    pub(super) fn recover(mut start: Start, sender: Sender<Request>, requests: &Receiver<Request>) -> Result<Self> {
        let relations = VecDeque::from(std::mem::take(&mut start.relations));
        let (log, replay) = (start.log, start.replay);
        let snapshot = Arc::clone(&start.shared.catalog.read().expect("no one panics while holding it"));
        let n_workers = start.workers.n_workers();
        let mut sequencer = Self {
            workers: start.workers,
            clock: EpochClock::new(start.wall_clock, start.clock_interval_ms),
            max_epoch_rows: start.max_epoch_rows,
            shared: start.shared,
            snapshot,
            catalog_log: start.catalog_log,
            runtime: start.runtime,
            log: None,
            sender,
            relations: HashMap::new(),
            readers: BTreeMap::new(),
            next_reader: 0,
            sealed: 0,
            logged: 0,
            through: vec![0; n_workers],
            log_failure: None,
            pending: Pending::default(),
            waiting: VecDeque::new(),
        };
        sequencer.replay_all(replay, relations, requests)?;
        sequencer.logged = sequencer.sealed;
        let epoch = sequencer.sealed;
        sequencer.shared.clock.record(epoch, sequencer.clock.recorded(epoch));
        sequencer.workers.send_all(|_| Command::Recorded { epoch, compaction_bound: epoch });
        // The sequencer ends before the log only at shutdown, when all that was asked for is on disk.
        let sender = sequencer.sender.clone();
        sequencer.log = Some(LogThread::start(log, move |result| drop(sender.send(Request::Logged(result))))?);
        let all: Vec<ObjectId> = sequencer.relations.keys().copied().collect();
        let read: Vec<ObjectId> = sequencer.snapshot.objects.values().flat_map(|object| object.depends_on.clone()).collect();
        sequencer.start_sources(&all, &read)?;
        Ok(sequencer)
    }

    fn replay_all(&mut self, replay: Replay, mut relations: VecDeque<NewRelation>, requests: &Receiver<Request>) -> Result<()> {
        let mut clocks = clock_relation(self.workers.n_workers()).into_iter();
        self.workers.send_all(|_| Command::Create(clocks.next().expect("there is one for each worker")));
        let mut passed: Option<EpochRecord> = None;
        for record in replay {
            let record = record?;
            if relations.front().is_some_and(|relation| relation.since < record.epoch) {
                passed.take().map_or(Ok(()), |passed| self.replay(passed, &relations))?;
                self.create_before(record.epoch, &mut relations)?;
            }
            passed = None;
            match record.spans.is_empty() && record.effects.is_empty() {
                true => passed = Some(record),
                false => self.replay(record, &relations)?,
            }
            self.compact_behind();
            self.wait_for_workers(requests);
        }
        passed.map_or(Ok(()), |passed| self.replay(passed, &relations))?;
        self.create_before(Epoch::MAX, &mut relations)
    }

    /// Nobody reads before the end: what has been replayed need not be told apart by epochs, and is merged.
    fn compact_behind(&self) {
        const EVERY: Epoch = 64;
        let epoch = self.sealed;
        if epoch.is_multiple_of(EVERY) {
            self.workers.send_all(|_| Command::Recorded { epoch, compaction_bound: epoch });
        }
    }

    /// Creates the relations that began before `epoch`.
    fn create_before(&mut self, epoch: Epoch, relations: &mut VecDeque<NewRelation>) -> Result<()> {
        while let Some(relation) = relations.pop_front_if(|relation| relation.since < epoch) {
            if relation.since > self.sealed {
                let now_us = if epoch == Epoch::MAX { self.clock.next_us() } else { self.clock.now_us() };
                self.make_up_for(relation.since, now_us, reads_clock(&relation));
            }
            // What is not in the log was not there for it.
            let as_of = self.sealed;
            self.create(relation, as_of)?;
        }
        Ok(())
    }

    /// An epoch at whose end a relation began, but which was not on disk yet when the process ended: nobody has seen it, and there
    /// was nothing in it that anybody was told of.
    fn make_up_for(&mut self, epoch: Epoch, now_us: i64, goes_by_clock: bool) {
        if goes_by_clock {
            self.clock.await_reader();
        }
        self.sealed = epoch;
        self.send_epoch(epoch, now_us, &[], &[]);
    }

    fn replay(&mut self, record: EpochRecord, relations: &VecDeque<NewRelation>) -> Result<()> {
        let mut brought = Vec::new();
        for span in &record.spans {
            let Some(relation) = self.relations.get_mut(&span.relation) else { continue };
            let Some(spec) = relation.source.clone() else { continue };
            relation.position = Some(span.to.clone());
            let mut batch = spec.open(&[spec.output_of()])?.replay(&span.from, &span.to)?;
            let rows = std::mem::take(&mut batch.outputs[spec.output_of()]);
            brought.extend(self.with_intake_times(span.relation, rows, record.now_us)?);
        }
        for effect in &record.effects {
            if let Some(table) = self.relations.get_mut(&effect.relation).and_then(|relation| relation.table.as_mut()) {
                table.replay(&effect.changes)?;
            }
        }
        if relations.iter().take_while(|relation| relation.since <= record.epoch).any(reads_clock) {
            self.clock.await_reader();
        }
        self.sealed = record.epoch;
        self.send_epoch(record.epoch, record.now_us, &record.effects, &brought);
        self.clock.recorded(record.epoch);
        Ok(())
    }

    /// Keeps a replay from running far ahead of the workers.
    fn wait_for_workers(&mut self, requests: &Receiver<Request>) {
        while self.sealed - self.through.iter().copied().min().unwrap_or(self.sealed) > MAX_EPOCHS_IN_FLIGHT {
            match requests.recv() {
                Ok(request @ Request::Report(_)) => self.take(request),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }
}
