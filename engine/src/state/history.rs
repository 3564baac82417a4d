//! The output of a relation over time: what readers see at an epoch.
//!
//! Guaranteed: [`Trace::snapshot_at`] an epoch `e` is exactly the sum of all changes of epochs up to `e`, for every `e` not below
//! the compaction frontier, however far the writer has gone on; a [`Snapshot`] never changes and may be read on any thread. Not
//! kept: anything that would tell epochs below the frontier apart.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;

use super::run::Batch;
use super::spine::{Spine, SpineSnapshot};
use crate::{ChangeBatch, Epoch, Error, Result};

/// The changes of a relation, readable as of an epoch.
pub struct Trace {
    state: State,
    n_rows: i64,
    since: Epoch,
}

enum State {
    Appended(Appended),
    Changed(Spine),
}

impl Trace {
    /// No rows yet. `append_only` promises that no weight is negative: then rows are neither hashed nor copied.
    pub fn new(schema: SchemaRef, append_only: bool) -> Self {
        let all_columns = (0..schema.fields().len()).collect();
        Self::keyed(schema, append_only, all_columns)
    }

    /// The same, whose rows can be looked up by the columns `key`, unless it is append-only.
    pub fn keyed(schema: SchemaRef, append_only: bool, key: Vec<usize>) -> Self {
        let state = if append_only {
            State::Appended(Appended { schema, pieces: Vec::new() })
        } else {
            let mut spine = Spine::new(schema, key, false);
            spine.set_since(0);
            State::Changed(spine)
        };
        Self { state, n_rows: 0, since: 0 }
    }

    /// Adds changes of an epoch, which is not below that of earlier insertions. An epoch may be inserted in parts.
    pub fn insert(&mut self, epoch: Epoch, changes: &ChangeBatch) -> Result<()> {
        self.n_rows += changes.weights().map_or(changes.len() as i64, |weights| weights.values().iter().sum());
        match &mut self.state {
            State::Appended(appended) => appended.insert(epoch, changes, self.since),
            State::Changed(spine) => spine.insert(epoch, changes),
        }
    }

    /// The state at the end of `epoch`. Panics below the compaction frontier: whoever reads there must hold it.
    pub fn snapshot_at(&self, epoch: Epoch) -> Snapshot {
        self.version().snapshot_at(epoch)
    }

    /// The trace as it is now, for readers on other threads.
    pub fn version(&self) -> Version {
        let rows = match &self.state {
            State::Appended(appended) => Rows::Appended { schema: appended.schema.clone(), pieces: appended.pieces.clone() },
            State::Changed(spine) => Rows::Changed(spine.snapshot()),
        };
        Version { rows, since: self.since }
    }

    /// From now on no reader asks for an epoch below `epoch`; changes up to it may be merged.
    pub fn allow_compaction(&mut self, epoch: Epoch) {
        self.since = self.since.max(epoch);
        if let State::Changed(spine) = &mut self.state {
            spine.set_since(self.since);
        }
    }

    /// Rows in the newest state, each as often as it occurs.
    pub fn n_rows(&self) -> u64 {
        u64::try_from(self.n_rows).unwrap_or(0)
    }

    /// Bytes held by rows and indexes.
    pub fn n_bytes(&self) -> u64 {
        match &self.state {
            State::Appended(appended) => appended.pieces.iter().map(|piece| piece.rows.n_bytes as u64).sum(),
            State::Changed(spine) => spine.n_bytes(),
        }
    }

    /// The columns' names and types.
    pub fn schema(&self) -> &SchemaRef {
        match &self.state {
            State::Appended(appended) => &appended.schema,
            State::Changed(spine) => spine.schema(),
        }
    }
}

/// A trace at one moment, readable at every epoch from its compaction frontier on.
pub struct Version {
    rows: Rows,
    since: Epoch,
}

impl Version {
    /// See [`Trace::snapshot_at`].
    pub fn snapshot_at(&self, epoch: Epoch) -> Snapshot {
        assert!(epoch >= self.since, "epoch {epoch} is read after compaction was allowed up to {}", self.since);
        Snapshot(self.rows.up_to(epoch))
    }
}

/// The rows of a relation at the end of an epoch.
#[derive(Clone)]
pub struct Snapshot(Rows);

#[derive(Clone)]
enum Rows {
    Appended { schema: SchemaRef, pieces: Vec<Arc<Piece>> },
    Changed(SpineSnapshot),
}

impl Rows {
    fn up_to(&self, epoch: Epoch) -> Self {
        match self {
            Self::Appended { schema, pieces } => {
                let n_pieces = pieces.partition_point(|piece| piece.last <= epoch);
                Self::Appended { schema: schema.clone(), pieces: pieces[..n_pieces].to_vec() }
            }
            Self::Changed(snapshot) => Self::Changed(snapshot.of_runs(|run| run.epochs.1 <= epoch)),
        }
    }
}

impl Snapshot {
    /// The rows of several snapshots of traces made alike, as one.
    pub fn sum(snapshots: impl IntoIterator<Item = Self>) -> Option<Self> {
        snapshots.into_iter().reduce(|left, right| {
            Self(match (left.0, right.0) {
                (Rows::Appended { schema, mut pieces }, Rows::Appended { pieces: others, .. }) => {
                    pieces.extend(others);
                    Rows::Appended { schema, pieces }
                }
                (Rows::Changed(left), Rows::Changed(right)) => Rows::Changed(left.with_runs_of(&right)),
                _ => panic!("snapshots of one relation are of one kind"),
            })
        })
    }

    /// A trace without rows, whose snapshots can be summed with this one.
    pub fn empty_trace(&self) -> Trace {
        let state = match &self.0 {
            Rows::Appended { schema, .. } => State::Appended(Appended { schema: schema.clone(), pieces: Vec::new() }),
            Rows::Changed(snapshot) => State::Changed(snapshot.empty_spine()),
        };
        Trace { state, n_rows: 0, since: 0 }
    }

    /// The columns by which [`Self::lookup`] finds rows; `None` when it finds none.
    pub fn key(&self) -> Option<&[usize]> {
        match &self.0 {
            Rows::Appended { .. } => None,
            Rows::Changed(snapshot) => Some(snapshot.key_columns()),
        }
    }

    /// The rows whose key is one of `keys`, rows of arrays of the key columns' types; each once, with its weight.
    pub fn lookup(&self, keys: &[ArrayRef]) -> Result<ChangeBatch> {
        match &self.0 {
            Rows::Appended { .. } => Err(Error::internal("the rows of an append-only relation are not looked up")),
            Rows::Changed(snapshot) => positive(snapshot.lookup(keys)?),
        }
    }

    /// A bound on the rows that [`Self::lookup`] finds, known without a look at any.
    pub fn n_found_at_most(&self, keys: &[ArrayRef]) -> Result<u64> {
        match &self.0 {
            Rows::Appended { .. } => Ok(self.n_rows_at_most()),
            Rows::Changed(snapshot) => snapshot.n_found_at_most(keys),
        }
    }

    /// Rows with weights, all positive, some thousand rows at a time; a row occurs once, unless the relation is append-only.
    pub fn changes(&self) -> Box<dyn Iterator<Item = Result<ChangeBatch>> + Send> {
        match &self.0 {
            Rows::Appended { pieces, .. } => Box::new(pieces.clone().into_iter().map(|piece| Ok(piece.changes()))),
            Rows::Changed(snapshot) => Box::new(snapshot.batches().map(|batch| batch.and_then(positive))),
        }
    }

    /// The rows to be found by their key; none of an append-only relation.
    pub(crate) fn into_spine(self) -> Option<Spine> {
        match self.0 {
            Rows::Appended { .. } => None,
            Rows::Changed(snapshot) => Some(snapshot.into_spine()),
        }
    }

    /// A bound on the number of distinct rows, known without looking at them.
    pub fn n_rows_at_most(&self) -> u64 {
        match &self.0 {
            Rows::Appended { pieces, .. } => pieces.iter().map(|piece| piece.len() as u64).sum(),
            Rows::Changed(snapshot) => snapshot.n_rows_at_most(),
        }
    }

    /// The number of rows, copies counted.
    pub fn n_rows(&self) -> u64 {
        let n_rows = match &self.0 {
            Rows::Appended { pieces, .. } => pieces.iter().map(|piece| piece.n_rows()).sum(),
            Rows::Changed(snapshot) => snapshot.sum_of_weights(),
        };
        u64::try_from(n_rows).unwrap_or(0)
    }

    /// The same with each row as often as it occurs.
    pub fn batches(&self) -> Box<dyn Iterator<Item = Result<RecordBatch>> + Send> {
        Box::new(self.changes().map(|changes| changes.and_then(|changes| repeated(&changes))))
    }
}

fn positive(changes: ChangeBatch) -> Result<ChangeBatch> {
    match changes.weights() {
        Some(weights) if weights.values().iter().any(|weight| *weight < 0) => {
            Err(Error::internal("a row was retracted more often than it was inserted"))
        }
        _ => Ok(changes),
    }
}

/// Each row as many times as its weight says.
pub(crate) fn repeated(changes: &ChangeBatch) -> Result<RecordBatch> {
    let Some(weights) = changes.weights().filter(|weights| weights.values().iter().any(|weight| *weight != 1)) else {
        return Ok(changes.rows().clone());
    };
    let rows = weights.values().iter().enumerate();
    let rows = UInt32Array::from_iter_values(rows.flat_map(|(row, weight)| (0..*weight).map(move |_| row as u32)));
    crate::update::take_rows(changes.rows(), &rows)
}

/// Batches in order of epochs.
struct Appended {
    schema: SchemaRef,
    pieces: Vec<Arc<Piece>>,
}

/// Rows of the epochs up to `last`.
struct Piece {
    last: Epoch,
    rows: Arc<Batch>,
    weights: Option<arrow::array::Int64Array>,
}

impl Piece {
    fn len(&self) -> usize {
        self.rows.rows.num_rows()
    }

    fn n_rows(&self) -> i64 {
        self.weights.as_ref().map_or(self.len() as i64, |weights| weights.values().iter().sum())
    }

    fn changes(&self) -> ChangeBatch {
        ChangeBatch::with_weights(self.rows.rows.clone(), self.weights.clone())
    }
}

impl Appended {
    /// Small pieces are joined up to about this many rows, each row being copied once per doubling.
    const PIECE_ROWS: usize = 8192;

    fn insert(&mut self, epoch: Epoch, changes: &ChangeBatch, since: Epoch) -> Result<()> {
        let (rows, weights) = changes.clone().into_parts();
        if rows.num_rows() > 0 {
            let weights = weights.filter(|weights| weights.values().iter().any(|weight| *weight != 1));
            self.pieces.push(Arc::new(Piece { last: epoch, rows: Batch::new(rows)?, weights }));
        }
        while let Some(start) = self.joinable(since) {
            self.join(start)?;
        }
        Ok(())
    }

    /// The newest two neighbours of which the later is not much smaller, both small and compactable.
    fn joinable(&self, since: Epoch) -> Option<usize> {
        const LEAST_ROWS: usize = 32;
        let newest = self.pieces.partition_point(|piece| piece.last <= since);
        let recent = newest.saturating_sub(usize::BITS as usize)..newest;
        let size = |piece: &Piece| piece.len().max(LEAST_ROWS);
        let pairs = self.pieces[recent.clone()].windows(2).enumerate().rev();
        let mut joinable =
            pairs.filter(|(_, pair)| pair[0].len() + pair[1].len() <= Self::PIECE_ROWS && size(&pair[1]) * 2 >= size(&pair[0]));
        joinable.next().map(|(start, _)| recent.start + start)
    }

    fn join(&mut self, start: usize) -> Result<()> {
        let [left, right] = [&self.pieces[start], &self.pieces[start + 1]];
        let (rows, weights) = match (&left.weights, &right.weights) {
            (None, None) => (concat_batches(&self.schema, [&left.rows.rows, &right.rows.rows])?, None),
            _ => ChangeBatch::concat(&self.schema, &[left.changes(), right.changes()])?.into_parts(),
        };
        let joined = Piece { last: right.last, rows: Batch::new(rows)?, weights };
        self.pieces.splice(start..start + 2, [Arc::new(joined)]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::operators::script::{changes, consolidated, schema};

    fn text(snapshot: &Snapshot) -> BTreeMap<String, i64> {
        consolidated(&snapshot.changes().collect::<Result<Vec<_>>>().expect("the snapshot reads"))
    }

    /// Random changes in random epochs, compaction at random: every epoch not below the frontier reads as the sum of its changes.
    fn compare_with_sums(append_only: bool, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        let schema = schema("k:text n:int");
        let mut trace = Trace::new(schema.clone(), append_only);
        let mut sum: BTreeMap<String, i64> = BTreeMap::new();
        let mut at_epoch = vec![sum.clone()];
        for epoch in 1..200 {
            let mut script = String::new();
            for _ in 0..random.random_range(0..20) {
                let row = format!("k{} {}", random.random_range(0..5), random.random_range(0..10));
                let least = if append_only { 1 } else { -sum.get(&row).copied().unwrap_or(0) };
                let weight = random.random_range(least..=least.max(1) + 1);
                *sum.entry(row.clone()).or_insert(0) += weight;
                script += &format!("{weight:+} {row} | ");
            }
            sum.retain(|_, weight| *weight != 0);
            trace.insert(epoch, &changes(&schema, &script)).expect("it inserts");
            at_epoch.push(sum.clone());
            if random.random_range(0..3) == 0 {
                trace.allow_compaction(random.random_range(trace.since..=epoch));
            }
            let read = random.random_range(trace.since..=epoch);
            assert_eq!(text(&trace.version().snapshot_at(read)), at_epoch[read as usize], "version at epoch {read}, seed {seed}");
            assert_eq!(text(&trace.snapshot_at(read)), at_epoch[read as usize], "epoch {read} at {epoch}, seed {seed}");
            assert_eq!(
                trace.snapshot_at(read).n_rows() as i64,
                at_epoch[read as usize].values().sum::<i64>(),
                "rows at {read}, seed {seed}"
            );
        }
        assert_eq!(trace.n_rows() as i64, sum.values().sum::<i64>());
    }

    #[test]
    fn a_snapshot_is_the_sum_of_its_epochs() {
        for seed in 0..20 {
            compare_with_sums(false, seed);
            compare_with_sums(true, seed);
        }
    }

    #[test]
    fn rows_are_looked_up_by_their_key() {
        let schema = schema("k:text n:int");
        let mut trace = Trace::keyed(schema.clone(), false, vec![0]);
        trace.insert(1, &changes(&schema, "+ a 1 | + a 2 | + b 3 | + null 4 | - a 2")).expect("it inserts");
        trace.insert(2, &changes(&schema, "- b 3 | +2 b 5")).expect("it inserts");
        let found = |snapshot: &Snapshot, keys: Vec<Option<&str>>| {
            let keys: ArrayRef = Arc::new(arrow::array::StringArray::from(keys));
            consolidated(&[snapshot.lookup(&[keys]).expect("the key is a text")])
        };
        let sum = |rows: &[(&str, i64)]| rows.iter().map(|(row, weight)| (row.to_string(), *weight)).collect::<BTreeMap<_, _>>();
        assert_eq!(found(&trace.snapshot_at(2), vec![Some("a"), Some("b"), Some("b"), Some("c")]), sum(&[("a 1", 1), ("b 5", 2)]));
        assert_eq!(found(&trace.snapshot_at(1), vec![Some("b"), None]), sum(&[("b 3", 1), ("null 4", 1)]));
        let mut own = trace.snapshot_at(2).empty_trace();
        own.insert(1, &changes(&schema, "- b 5 | + a 9 | + c 7")).expect("it inserts");
        let both = Snapshot::sum([trace.snapshot_at(2), own.snapshot_at(1)]).expect("there are two");
        assert_eq!(found(&both, vec![Some("a"), Some("b"), Some("c")]), sum(&[("a 1", 1), ("a 9", 1), ("b 5", 1), ("c 7", 1)]));
        assert_eq!(both.n_rows(), 5);
    }

    #[test]
    fn a_row_that_was_never_there_is_no_row() {
        let schema = schema("k:text n:int");
        let mut trace = Trace::keyed(schema.clone(), false, vec![1, 0]);
        trace.insert(1, &changes(&schema, "+ a 1 | -2 b 2")).expect("it inserts");
        let snapshot = trace.snapshot_at(1);
        assert_eq!(snapshot.key(), Some(&[1, 0][..]));
        assert!(snapshot.changes().any(|batch| batch.is_err()));
        let missing = changes(&schema, "+ b 2");
        assert!(snapshot.lookup(&[missing.column(1).clone(), missing.column(0).clone()]).is_err());
        let appended = Trace::new(schema, true).snapshot_at(0);
        assert!(appended.key().is_none() && appended.lookup(&[]).is_err());
    }

    #[test]
    fn a_snapshot_does_not_see_what_comes_later() {
        let schema = schema("n:int");
        let mut trace = Trace::new(schema.clone(), false);
        trace.insert(1, &changes(&schema, "+2 7")).expect("it inserts");
        let snapshot = trace.snapshot_at(1);
        trace.insert(2, &changes(&schema, "-2 7")).expect("it inserts");
        trace.allow_compaction(2);
        trace.insert(3, &changes(&schema, "+ 8")).expect("it inserts");
        assert_eq!(text(&snapshot), [("7".to_string(), 2)].into());
        let rows: usize = snapshot.batches().map(|batch| batch.expect("it reads").num_rows()).sum();
        assert_eq!(rows, 2);
        assert_eq!(text(&trace.snapshot_at(3)), [("8".to_string(), 1)].into());
    }

    #[test]
    fn small_pieces_are_joined() {
        let schema = schema("n:int");
        let mut trace = Trace::new(schema.clone(), true);
        for epoch in 1..=20_000 {
            trace.insert(epoch, &changes(&schema, "+ 1")).expect("it inserts");
            trace.allow_compaction(epoch);
        }
        let n_pieces = trace.snapshot_at(20_000).changes().count();
        assert!(n_pieces < 30, "{n_pieces} pieces");
    }

    #[test]
    #[should_panic(expected = "epoch 1 is read after compaction was allowed up to 2")]
    fn below_the_frontier_there_is_nothing_to_read() {
        let mut trace = Trace::new(schema("n:int"), false);
        trace.allow_compaction(2);
        trace.snapshot_at(1);
    }
}
