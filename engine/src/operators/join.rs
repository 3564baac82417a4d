//! Joins on equal keys and a residual condition: `ΔA ⋈ B + A ⋈ ΔB + ΔA ⋈ ΔB`, over a spine per side.
//!
//! Each step probes the old right side with the fresh left rows, adds them to the left side, and probes that with the fresh right
//! rows, so each pair of fresh rows meets once. Pairs of one key come in pieces, so a hot key's cross product is never held at
//! once. Candidates are pruned by key, then by the residual over the columns it uses; only what is left is gathered.
//!
//! A side whose relation keeps its rows by the join's very keys is looked up there ([`Index`]): the left one as of the step's epoch, the
//! right one as of the epoch before. In the first epoch of all, the rows of such a side are all there, and its changes, which come
//! in parts and are these rows, say nothing more.
//!
//! Outer, semi, anti and mark joins need to know whether a row has a match: see [`super::join_matches`]. A row with a null key
//! matches nothing (unless `nulls_equal`), so it passes through without any state. Guaranteed: the output is the exact difference.
//! Not guaranteed: that it is consolidated (a pair may come and go in one step).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{filter, filter_record_batch, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::join_index::{Index, Known};
use super::join_matches::{MatchedRows, Presence, RowChange};
use super::join_residual::Residual;
use super::{Kernel, Output, Parts, StateSize};
use crate::plan::{Join, JoinKind};
use crate::state::equality::Location;
use crate::state::key::null_keys;
use crate::state::run::Run;
use crate::state::spine::{Matches, Spine};
use crate::{ChangeBatch, Epoch, Result};

/// Pairs looked at, and rows emitted, at a time: enough to pay for a call per column, and some megabytes at most.
const PIECE_ROWS: usize = 32_768;

/// The kernel of all joins; see the file's head.
pub struct JoinKernel {
    kind: JoinKind,
    schema: SchemaRef,
    nulls_equal: bool,
    residual: Option<Residual>,
    left: Side,
    right: Side,
    /// The first epoch with changes.
    first: Option<Epoch>,
}

/// What is known of one input.
struct Side {
    /// The columns of the input that are kept, of which `keys` are the key.
    columns: Vec<usize>,
    keys: Vec<usize>,
    /// Its rows; none where they are in an index.
    spine: Spine,
    index: Option<Index>,
    /// For each row how many matches it has, where the output depends on it.
    matched: Option<MatchedRows>,
    /// Only whether a row is there counts, not how often.
    presence: Option<Presence>,
}

#[derive(Clone, Copy, PartialEq)]
enum SideName {
    Left,
    Right,
}

impl JoinKernel {
    /// The kernel of a planned join, without any rows but those of the left and the right input's index.
    pub fn new(join: &Join, [left_index, right_index]: [Option<Index>; 2]) -> Result<Self> {
        let (left, right) = (join.left.schema.clone(), join.right.schema.clone());
        let residual = join.residual.as_ref().map(|condition| Residual::new(condition, &left, &right)).transpose()?;
        let right_columns = match join.kind {
            JoinKind::LeftSemi | JoinKind::LeftAnti | JoinKind::LeftMark => needed_columns(&join.right_keys, residual.as_ref()),
            _ => (0..right.fields().len()).collect(),
        };
        let position = |column: &usize| right_columns.iter().position(|kept| kept == column).expect("a needed column is kept");
        let right_keys = join.right_keys.iter().map(position).collect();
        let residual = residual.map(|residual| residual.with_right_columns(&right_columns));
        let counts_left = !matches!(join.kind, JoinKind::Inner | JoinKind::Right);
        let counts_right = matches!(join.kind, JoinKind::Right | JoinKind::Full);
        let is_tested = matches!(join.kind, JoinKind::LeftSemi | JoinKind::LeftAnti | JoinKind::LeftMark);
        let left_columns = (0..left.fields().len()).collect();
        Ok(Self {
            kind: join.kind,
            schema: output_schema(join.kind, &left, &right),
            nulls_equal: join.nulls_equal,
            residual,
            left: Side {
                index: left_index,
                ..Side::new(&left, left_columns, join.left_keys.clone(), join.left.append_only && !counts_left, counts_left, false)?
            },
            right: Side {
                index: right_index,
                ..Side::new(&right, right_columns, right_keys, join.right.append_only && !counts_right, counts_right, is_tested)?
            },
            first: None,
        })
    }

    /// Joins fresh rows of side `fresh` with the other side's known rows.
    fn join_fresh(&mut self, fresh: SideName, run: &Run, pairs: &mut PairSums, out: &mut Output) -> Result<()> {
        let known = self.side(fresh.other()).known();
        let mut probe = known.spine.probe(run);
        while !probe.is_done() {
            let matches = probe.next(known.spine, run, PIECE_ROWS);
            out.n_state_rows_read += matches.n_rows_read;
            let pairs_found = Pairs::new(fresh, run, known, matches);
            let pairs_found = match &self.residual {
                Some(residual) => self.filter(residual, pairs_found, out)?,
                None => pairs_found,
            };
            if pairs_found.len() == 0 {
                continue;
            }
            pairs.add(&pairs_found);
            if matches!(self.kind, JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full) {
                out.changes.push(self.pair_rows(&pairs_found)?);
            }
        }
        Ok(())
    }

    /// Keeps the pairs for which the residual is true; those for which it fails are errors.
    fn filter<'a>(&self, residual: &Residual, pairs: Pairs<'a>, out: &mut Output) -> Result<Pairs<'a>> {
        if pairs.len() == 0 {
            return Ok(pairs);
        }
        let mut columns = pairs.columns(SideName::Left, residual.left_columns())?;
        columns.extend(pairs.columns(SideName::Right, residual.right_columns())?);
        let verdict = residual.evaluate(columns, pairs.len())?;
        for (pair, error) in &verdict.failed {
            let one = pairs.kept(&[*pair]);
            let row = |side: SideName| -> Result<RecordBatch> {
                let spine = &self.side(side).spine;
                batch(spine.schema(), one.columns(side, &all_columns(spine))?, 1)
            };
            out.errors.push(residual.error(error, row(SideName::Left)?, row(SideName::Right)?, pairs.weight(*pair))?);
        }
        match verdict.is_true.true_count() {
            n if n == pairs.len() => Ok(pairs),
            _ => Ok(pairs.kept(&verdict.is_true.values().set_indices_u32().collect::<Vec<_>>())),
        }
    }

    fn pair_rows(&self, pairs: &Pairs<'_>) -> Result<ChangeBatch> {
        let mut columns = pairs.columns(SideName::Left, &all_columns(&self.left.spine))?;
        columns.extend(pairs.columns(SideName::Right, &all_columns(&self.right.spine))?);
        Ok(ChangeBatch::with_weights(batch(&self.schema, columns, pairs.len())?, pairs.weights()))
    }

    /// Emits rows of one side by whether they have a match; `change` says how both numbers changed.
    fn emit_unpaired(&self, side: SideName, change: &RowChange, out: &mut Output) -> Result<()> {
        let unmatched = |out: &mut Output| self.emit(side, &change.rows, &change.unmatched, Some(false), out);
        let matched = |out: &mut Output| self.emit(side, &change.rows, &change.matched, Some(true), out);
        match self.kind {
            JoinKind::Inner => Ok(()),
            JoinKind::Left | JoinKind::Right | JoinKind::Full | JoinKind::LeftAnti => unmatched(out),
            JoinKind::LeftSemi => matched(out),
            JoinKind::LeftMark => unmatched(out).and_then(|()| matched(out)),
        }
    }

    /// Emits the rows whose weight is not zero, with what stands for the other side.
    fn emit(&self, side: SideName, rows: &RecordBatch, weights: &[i64], mark: Option<bool>, out: &mut Output) -> Result<()> {
        let is_changed = BooleanArray::from_iter(weights.iter().map(|weight| Some(*weight != 0)));
        if is_changed.true_count() == 0 {
            return Ok(());
        }
        let rows = filter_record_batch(rows, &is_changed)?;
        let weights = Int64Array::from_iter_values(weights.iter().copied().filter(|weight| *weight != 0));
        let n_rows = rows.num_rows();
        let nulls = |fields: &[Arc<Field>]| fields.iter().map(|field| new_null_array(field.data_type(), n_rows)).collect::<Vec<_>>();
        let n_left = self.left.columns.len();
        let columns = match (self.kind, side) {
            (JoinKind::LeftSemi | JoinKind::LeftAnti, _) => rows.columns().to_vec(),
            (JoinKind::LeftMark, _) => {
                let marks: ArrayRef = Arc::new(BooleanArray::from(vec![mark == Some(true); n_rows]));
                [rows.columns(), &[marks]].concat()
            }
            (_, SideName::Left) => [rows.columns(), &nulls(&self.schema.fields()[n_left..])].concat(),
            (_, SideName::Right) => [&nulls(&self.schema.fields()[..n_left]), rows.columns()].concat(),
        };
        let changes = ChangeBatch::new(batch(&self.schema, columns, n_rows)?, weights);
        out.changes.extend((0..n_rows).step_by(PIECE_ROWS).map(|start| changes.slice(start, PIECE_ROWS.min(n_rows - start))));
        Ok(())
    }

    /// The fresh changes that can match, as one batch; those with a null key are dealt with here.
    fn matchable(&self, name: SideName, fresh: Vec<ChangeBatch>, out: &mut Output) -> Result<Option<ChangeBatch>> {
        let side = self.side(name);
        let schema = side.spine.schema();
        let project = |batch: ChangeBatch| -> Result<ChangeBatch> {
            let columns = side.columns.iter().map(|column| batch.column(*column).clone()).collect();
            Ok(batch.with_rows(self::batch(schema, columns, batch.len())?))
        };
        let fresh = fresh.into_iter().filter(|batch| !batch.is_empty()).map(project).collect::<Result<Vec<_>>>()?;
        if fresh.is_empty() {
            return Ok(None);
        }
        let fresh = ChangeBatch::concat(schema, &fresh)?;
        let keys: Vec<ArrayRef> = side.keys.iter().map(|column| fresh.column(*column).clone()).collect();
        let Some(is_null) = (if self.nulls_equal { None } else { null_keys(&keys) }) else { return Ok(Some(fresh)) };
        if side.matched.is_some() {
            let unmatched = filtered(&fresh, is_null.clone())?;
            let zero = vec![0; unmatched.len()];
            let weights = (0..unmatched.len()).map(|row| unmatched.weight(row)).collect();
            let change = RowChange { rows: unmatched.rows().clone(), unmatched: weights, matched: zero };
            self.emit_unpaired(name, &change, out)?;
        }
        filtered(&fresh, !&is_null).map(Some)
    }

    /// Sorts the fresh changes of a side; where only presence counts, repeated rows are no change.
    fn sorted(&mut self, name: SideName, epoch: Epoch, fresh: Option<ChangeBatch>, out: &mut Output) -> Result<Option<Arc<Run>>> {
        let Some(mut fresh) = fresh else { return Ok(None) };
        let side = self.side_mut(name);
        if let Some(presence) = &mut side.presence {
            fresh = presence.changes(epoch, &fresh, &mut out.n_state_rows_read)?;
        }
        side.spine.sort(epoch, &fresh)
    }

    /// Brings the numbers of matches of a side up to date and emits what follows from them.
    fn settle(&mut self, name: SideName, epoch: Epoch, fresh: Option<&Run>, pairs: Vec<ChangeBatch>, out: &mut Output) -> Result<()> {
        let side = self.side_mut(name);
        let Some(matched) = &mut side.matched else { return Ok(()) };
        match matched.change(epoch, &side.spine, fresh, pairs, &mut out.n_state_rows_read)? {
            Some(change) => self.emit_unpaired(name, &change, out),
            None => Ok(()),
        }
    }

    fn side(&self, name: SideName) -> &Side {
        match name {
            SideName::Left => &self.left,
            SideName::Right => &self.right,
        }
    }

    fn side_mut(&mut self, name: SideName) -> &mut Side {
        match name {
            SideName::Left => &mut self.left,
            SideName::Right => &mut self.right,
        }
    }
}

impl Kernel for JoinKernel {
    fn step(&mut self, epoch: Epoch, inputs: Vec<Vec<ChangeBatch>>, out: &mut Output) -> Result<()> {
        let [left, right]: [Vec<ChangeBatch>; 2] = inputs.try_into().expect("a join has two inputs");
        let is_first = *self.first.get_or_insert(epoch) == epoch;
        let (left, right) = match (is_first, &self.left.index, &self.right.index) {
            (true, _, Some(_)) => (left, vec![]),
            (true, Some(_), None) => (vec![], right),
            _ => (left, right),
        };
        if let Some(index) = &mut self.left.index {
            index.look_at(epoch)?;
        }
        if let Some(index) = &mut self.right.index {
            index.look_at(if is_first { epoch } else { epoch - 1 })?;
        }
        let left = self.matchable(SideName::Left, left, out)?;
        let right = self.matchable(SideName::Right, right, out)?;
        let left = self.sorted(SideName::Left, epoch, left, out)?;
        let right = self.sorted(SideName::Right, epoch, right, out)?;
        let mut sums = PairSums { left: self.left.matched.is_some(), right: self.right.matched.is_some(), ..PairSums::default() };
        if let Some(run) = &left {
            self.join_fresh(SideName::Left, run, &mut sums, out)?;
            sums.close(SideName::Left, run, &self.right.spine)?;
            self.left.keep(run)?;
        }
        if let Some(run) = &right {
            self.join_fresh(SideName::Right, run, &mut sums, out)?;
            sums.close(SideName::Right, run, &self.left.spine)?;
            self.right.keep(run)?;
        }
        let PairSums { left_rows, right_rows, .. } = sums;
        self.settle(SideName::Left, epoch, left.as_deref(), left_rows, out)?;
        self.settle(SideName::Right, epoch, right.as_deref(), right_rows, out)?;
        [&mut self.left.index, &mut self.right.index].into_iter().flatten().for_each(Index::look_away);
        Ok(())
    }

    fn parts(&self, epoch: Epoch) -> Parts<'_> {
        let mut indexes = [&self.left.index, &self.right.index].into_iter().flatten().peekable();
        let is_first = self.first.is_none_or(|first| first == epoch);
        match indexes.peek().is_none() || (is_first && indexes.all(|index| index.has_closed(epoch))) {
            true => Parts::Any,
            false => Parts::Whole,
        }
    }

    fn state_size(&self) -> StateSize {
        [&self.left, &self.right].into_iter().fold(StateSize::default(), |size, side| {
            let spines = [Some(&side.spine), side.matched.as_ref().map(MatchedRows::spine), side.presence.as_ref().map(Presence::spine)];
            spines
                .into_iter()
                .flatten()
                .fold(size, |size, spine| StateSize { n_rows: size.n_rows + spine.n_rows(), n_bytes: size.n_bytes + spine.n_bytes() })
        })
    }
}

impl Side {
    fn new(
        schema: &SchemaRef,
        columns: Vec<usize>,
        keys: Vec<usize>,
        append_only: bool,
        is_counted: bool,
        is_tested: bool,
    ) -> Result<Self> {
        let schema = Arc::new(schema.project(&columns)?);
        Ok(Self {
            spine: Spine::new(schema.clone(), keys.clone(), append_only),
            matched: is_counted.then(|| MatchedRows::new(schema.clone(), keys.clone())),
            presence: is_tested.then(|| Presence::new(schema, keys.clone())),
            index: None,
            columns,
            keys,
        })
    }

    /// The rows to be joined with.
    fn known(&self) -> Known<'_> {
        self.index.as_ref().map_or_else(|| Known::of(&self.spine), Index::known)
    }

    /// Keeps fresh rows, unless their relation does.
    fn keep(&mut self, run: &Arc<Run>) -> Result<()> {
        if self.index.is_some() { Ok(()) } else { self.spine.push(run.clone()) }
    }
}

impl SideName {
    fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

/// Pairs of a fresh row and a known row.
struct Pairs<'a> {
    fresh: SideName,
    run: &'a Run,
    known: Known<'a>,
    matches: Matches,
}

impl<'a> Pairs<'a> {
    fn new(fresh: SideName, run: &'a Run, known: Known<'a>, matches: Matches) -> Self {
        Self { fresh, run, known, matches }
    }

    fn len(&self) -> usize {
        self.matches.location.len()
    }

    fn weight(&self, pair: u32) -> i64 {
        let pair = pair as usize;
        self.run.index.weight(self.matches.probe_row[pair] as usize) * self.matches.weight[pair]
    }

    /// `None` when all weights are one.
    fn weights(&self) -> Option<Int64Array> {
        if self.run.index.all_weights_are_one() && self.matches.weight.iter().all(|weight| *weight == 1) {
            return None;
        }
        Some(Int64Array::from_iter_values((0..self.len() as u32).map(|pair| self.weight(pair))))
    }

    fn kept(&self, pairs: &[u32]) -> Self {
        let matches = Matches {
            probe_row: pairs.iter().map(|pair| self.matches.probe_row[*pair as usize]).collect(),
            location: pairs.iter().map(|pair| self.matches.location[*pair as usize]).collect(),
            weight: pairs.iter().map(|pair| self.matches.weight[*pair as usize]).collect(),
            n_rows_read: 0,
        };
        Self { fresh: self.fresh, run: self.run, known: self.known, matches }
    }

    /// Columns of one side, a row per pair.
    fn columns(&self, side: SideName, columns: &[usize]) -> Result<Vec<ArrayRef>> {
        if columns.is_empty() {
            return Ok(Vec::new());
        }
        if side != self.fresh {
            return self.known.gather(&self.matches.location, columns);
        }
        let locations = &self.run.index.locations;
        let rows = UInt32Array::from_iter_values(self.matches.probe_row.iter().map(|entry| locations[*entry as usize].row));
        columns.iter().map(|column| Ok(take(self.run.batches[0].rows.column(*column), &rows, None)?)).collect()
    }
}

/// The weights of pairs, summed up by row, for the sides that count matches.
#[derive(Default)]
struct PairSums {
    left: bool,
    right: bool,
    of_fresh: Vec<(u32, i64)>,
    of_known: Vec<(Location, i64)>,
    left_rows: Vec<ChangeBatch>,
    right_rows: Vec<ChangeBatch>,
}

impl PairSums {
    fn counts(&self, side: SideName) -> bool {
        if side == SideName::Left { self.left } else { self.right }
    }

    fn add(&mut self, pairs: &Pairs<'_>) {
        let weights = || (0..pairs.len() as u32).map(|pair| pairs.weight(pair));
        if self.counts(pairs.fresh) {
            self.of_fresh.extend(pairs.matches.probe_row.iter().copied().zip(weights()));
            compact(&mut self.of_fresh);
        }
        if self.counts(pairs.fresh.other()) {
            self.of_known.extend(pairs.matches.location.iter().copied().zip(weights()));
            compact(&mut self.of_known);
        }
    }

    /// Turns the sums of one probe into rows, while its locations hold.
    fn close(&mut self, fresh: SideName, run: &Run, known: &Spine) -> Result<()> {
        let of_fresh = sums(std::mem::take(&mut self.of_fresh));
        let of_known = sums(std::mem::take(&mut self.of_known));
        if !of_fresh.is_empty() {
            let rows = UInt32Array::from_iter_values(of_fresh.iter().map(|(entry, _)| run.index.locations[*entry as usize].row));
            let rows = crate::update::take_rows(&run.batches[0].rows, &rows)?;
            self.rows(fresh).push(ChangeBatch::new(rows, Int64Array::from_iter_values(of_fresh.iter().map(|sum| sum.1))));
        }
        if !of_known.is_empty() {
            let locations: Vec<Location> = of_known.iter().map(|sum| sum.0).collect();
            let rows = known.gather(&locations, &all_columns(known))?;
            self.rows(fresh.other()).push(ChangeBatch::new(rows, Int64Array::from_iter_values(of_known.iter().map(|sum| sum.1))));
        }
        Ok(())
    }

    fn rows(&mut self, side: SideName) -> &mut Vec<ChangeBatch> {
        if side == SideName::Left { &mut self.left_rows } else { &mut self.right_rows }
    }
}

/// Sums up a list that has grown long, so that a cross product takes no more room than its rows.
fn compact<T: Ord + Copy>(weights: &mut Vec<(T, i64)>) {
    const MANY: usize = 4 * PIECE_ROWS;
    if weights.len() >= MANY && weights.len() * 2 > weights.capacity() {
        *weights = sums(std::mem::take(weights));
        weights.reserve(weights.len().max(MANY) * 2);
    }
}

/// One entry per item, with the sum of its weights.
fn sums<T: Ord + Copy>(mut weights: Vec<(T, i64)>) -> Vec<(T, i64)> {
    weights.sort_unstable_by_key(|(item, _)| *item);
    weights.dedup_by(|later, first| {
        let same = later.0 == first.0;
        if same {
            first.1 += later.1;
        }
        same
    });
    weights.retain(|(_, weight)| *weight != 0);
    weights
}

fn needed_columns(keys: &[usize], residual: Option<&Residual>) -> Vec<usize> {
    let mut columns: Vec<usize> = keys.iter().chain(residual.map_or(&[][..], Residual::right_columns)).copied().collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}

fn all_columns(spine: &Spine) -> Vec<usize> {
    (0..spine.schema().fields().len()).collect()
}

fn filtered(changes: &ChangeBatch, keep: BooleanBuffer) -> Result<ChangeBatch> {
    let keep = BooleanArray::new(keep, None);
    let rows = filter_record_batch(changes.rows(), &keep)?;
    let weights = changes.weights().map(|weights| filter(weights, &keep)).transpose()?;
    let weights = weights.map(|weights| weights.as_any().downcast_ref::<Int64Array>().expect("weights are Int64").clone());
    Ok(ChangeBatch::with_weights(rows, weights))
}

fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, n_rows: usize) -> Result<RecordBatch> {
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &RecordBatchOptions::new().with_row_count(Some(n_rows)))?)
}

fn output_schema(kind: JoinKind, left: &Schema, right: &Schema) -> SchemaRef {
    let fields = |schema: &Schema, nullable: bool| -> Vec<Field> {
        schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(nullable || field.is_nullable())).collect()
    };
    let (left_nulls, right_nulls) = match kind {
        JoinKind::Left => (false, true),
        JoinKind::Right => (true, false),
        JoinKind::Full => (true, true),
        _ => (false, false),
    };
    let mut columns = fields(left, left_nulls);
    match kind {
        JoinKind::LeftSemi | JoinKind::LeftAnti => {}
        JoinKind::LeftMark => columns.push(Field::new("mark", DataType::Boolean, false)),
        _ => columns.extend(fields(right, right_nulls)),
    }
    Arc::new(Schema::new(columns))
}

#[cfg(test)]
mod tests;
