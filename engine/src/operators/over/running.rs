//! Window functions that look at the rows from the partition's start to the row at hand and its peers: evaluated from any place
//! where it is known how they stood, as far as one likes.
//!
//! How an aggregate stands is what its accumulator hands on between the phases of a grouped query (`state` and `merge_batch`).
//! An accumulator that was asked for it is not used again.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::{filter, prep_null_mask_filter};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::Accumulator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::window::{PlainAggregateWindowExpr, WindowExpr};

use crate::plan::Running;

/// How each running function of a window stands at the start of a group of peers. Empty for one that has seen no row.
pub(super) type State = Vec<Vec<ScalarValue>>;

/// Rows of one partition that follow one another, and how they lie together.
pub(super) struct Stretch<'a> {
    pub(super) rows: &'a RecordBatch,
    /// Rows of each group of peers.
    pub(super) peers: &'a [usize],
    /// Places, ascending, each the first row of a group or the end, at which the state is wanted.
    pub(super) cuts: &'a [usize],
}

/// A function's values, and its state at each cut.
pub(super) struct Ran {
    pub(super) values: ArrayRef,
    pub(super) states: Vec<Vec<ScalarValue>>,
}

impl Stretch<'_> {
    /// Runs a function from `start`.
    pub(super) fn run(&self, window: &dyn WindowExpr, running: &Running, start: &[ScalarValue]) -> Result<Ran> {
        match running {
            Running::RowNumber => self.count(start, |place, _| place + 1),
            Running::Rank => self.count(start, |_, first| first + 1),
            Running::DenseRank => self.count_groups(start),
            Running::Aggregate { by_row, filter } => self.aggregate(window, *by_row, filter.as_ref(), start),
        }
    }

    /// What a row's place and that of the first of its peers say, both counted from the partition's start.
    fn count(&self, start: &[ScalarValue], value: impl Fn(u64, u64) -> u64) -> Result<Ran> {
        let n_before = counted(start)?;
        let mut values = Vec::with_capacity(self.rows.num_rows());
        let mut first = n_before;
        for n_peers in self.peers {
            values.extend((first..first + *n_peers as u64).map(|place| value(place, first)));
            first += *n_peers as u64;
        }
        let states = self.cuts.iter().map(|cut| vec![ScalarValue::UInt64(Some(n_before + *cut as u64))]).collect();
        Ok(Ran { values: Arc::new(UInt64Array::from(values)), states })
    }

    fn count_groups(&self, start: &[ScalarValue]) -> Result<Ran> {
        let (mut n_groups, mut place) = (counted(start)?, 0);
        let mut values = Vec::with_capacity(self.rows.num_rows());
        let mut states = Vec::with_capacity(self.cuts.len());
        let mut cuts = self.cuts.iter().peekable();
        for n_peers in self.peers {
            while cuts.next_if(|cut| **cut == place).is_some() {
                states.push(vec![ScalarValue::UInt64(Some(n_groups))]);
            }
            n_groups += 1;
            values.extend(std::iter::repeat_n(n_groups, *n_peers));
            place += n_peers;
        }
        states.extend(cuts.map(|_| vec![ScalarValue::UInt64(Some(n_groups))]));
        Ok(Ran { values: Arc::new(UInt64Array::from(values)), states })
    }

    fn aggregate(
        &self,
        window: &dyn WindowExpr,
        by_row: bool,
        filter: Option<&Arc<dyn PhysicalExpr>>,
        start: &[ScalarValue],
    ) -> Result<Ran> {
        let arguments = window.evaluate_args(self.rows)?;
        let counts = filter.map(|filter| self.holds(filter)).transpose()?;
        let mut accumulator = resumed(window, start)?;
        let mut values = Vec::with_capacity(self.rows.num_rows());
        let mut states = Vec::with_capacity(self.cuts.len());
        let mut cuts = self.cuts.iter().peekable();
        let mut place = 0;
        for n_peers in self.peers {
            while cuts.next_if(|cut| **cut == place).is_some() {
                let state = accumulator.state()?;
                accumulator = resumed(window, &state)?;
                states.push(state);
            }
            let (n_steps, n_rows) = if by_row { (*n_peers, 1) } else { (1, *n_peers) };
            for _ in 0..n_steps {
                accumulator.update_batch(&part(&arguments, counts.as_ref(), place, n_rows)?)?;
                values.extend(std::iter::repeat_n(accumulator.evaluate()?, n_rows));
                place += n_rows;
            }
        }
        if cuts.peek().is_some() {
            let state = accumulator.state()?;
            states.extend(cuts.map(|_| state.clone()));
        }
        Ok(Ran { values: ScalarValue::iter_to_array(values)?, states })
    }

    /// The rows for which a condition is true.
    fn holds(&self, condition: &Arc<dyn PhysicalExpr>) -> Result<BooleanArray> {
        let holds = condition.evaluate(self.rows)?.into_array(self.rows.num_rows())?;
        let holds = holds.as_boolean();
        Ok(if holds.null_count() > 0 { prep_null_mask_filter(holds) } else { holds.clone() })
    }
}

fn part(arguments: &[ArrayRef], counts: Option<&BooleanArray>, place: usize, n_rows: usize) -> Result<Vec<ArrayRef>> {
    let of_argument = |argument: &ArrayRef| match counts {
        Some(counts) => Ok(filter(&argument.slice(place, n_rows), &counts.slice(place, n_rows))?),
        None => Ok(argument.slice(place, n_rows)),
    };
    arguments.iter().map(of_argument).collect()
}

fn resumed(window: &dyn WindowExpr, state: &[ScalarValue]) -> Result<Box<dyn Accumulator>> {
    let Some(aggregate) = window.as_any().downcast_ref::<PlainAggregateWindowExpr>() else {
        return Err(DataFusionError::Internal(format!("{} is no aggregate from the partition's start", window.name())));
    };
    let mut accumulator = aggregate.get_aggregate_expr().create_accumulator()?;
    if !state.is_empty() {
        let columns = state.iter().map(ScalarValue::to_array).collect::<Result<Vec<_>>>()?;
        accumulator.merge_batch(&columns)?;
    }
    Ok(accumulator)
}

fn counted(start: &[ScalarValue]) -> Result<u64> {
    match start {
        [] => Ok(0),
        [ScalarValue::UInt64(Some(n))] => Ok(*n),
        other => Err(DataFusionError::Internal(format!("{other:?} is no count"))),
    }
}
