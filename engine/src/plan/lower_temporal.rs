//! Temporal filters: what is left of a filter or an inner join is lowered as ever, and above it stands the operator that lets rows
//! in and out by the instants that its conditions on the clock have for them.

use datafusion::common::DFSchema;
use datafusion::logical_expr::logical_plan::{Filter, Join};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan};

use super::lower::Lowering;
use super::lower_join::{WithColumns, with_columns};
use super::temporal::refused;
use super::{Node, Plan, Temporal};
use crate::functions::threshold::{Bound, as_condition, instant};
use crate::time::{CLOCK, clock_schema};
use crate::{Error, Result};

impl Lowering<'_> {
    /// `None` for a filter without conditions on the clock.
    pub(super) fn temporal_filter(&self, filter: &Filter) -> Result<Option<Plan>> {
        let (conditions, rest) = split(&filter.predicate);
        if conditions.is_empty() {
            return Ok(None);
        }
        let below = match rest {
            Some(rest) => self.lower(&LogicalPlan::Filter(Filter::try_new(rest, filter.input.clone())?))?,
            None => self.lower(&filter.input)?,
        };
        self.temporal(&conditions, below, filter.input.schema()).map(Some)
    }

    /// `None` for a join without conditions on the clock. Where rows are kept that have no match, those of its condition are refused.
    pub(super) fn temporal_join(&self, join: &Join) -> Result<Option<Plan>> {
        let Some((conditions, rest)) = join.filter.as_ref().map(split).filter(|(conditions, _)| !conditions.is_empty()) else {
            return Ok(None);
        };
        if join.join_type != JoinType::Inner {
            return Err(refused("now"));
        }
        let below = LogicalPlan::Join(Join { filter: rest, ..join.clone() });
        self.temporal(&conditions, self.lower(&below)?, &join.schema).map(Some)
    }

    fn temporal(&self, conditions: &[(Bound, Expr)], input: Plan, schema: &DFSchema) -> Result<Plan> {
        let output = input.schema.clone();
        let append_only = input.append_only && conditions.iter().all(|(bound, _)| !bound.leaves);
        let instants = [false, true].map(|leaves| instant_of(conditions, leaves));
        let compiled =
            self.compile_all(instants.iter().flatten(), schema).ok_or_else(|| Error::internal("an instant cannot be computed"))?;
        let WithColumns { plan, columns } = with_columns(input, compiled);
        let mut columns = columns.into_iter();
        let [enters, leaves] = instants.map(|instant| instant.and_then(|_| columns.next()));
        let clock = Plan { node: Node::Scan { relation: CLOCK, columns: vec![0] }, schema: clock_schema(), append_only: false };
        let node = Node::Temporal(Box::new(Temporal { clock, input: plan, enters, leaves }));
        Ok(Plan { node, schema: output, append_only })
    }
}

/// The conditions on the clock among the conjuncts, and the others.
fn split(predicate: &Expr) -> (Vec<(Bound, Expr)>, Option<Expr>) {
    let (mut conditions, mut rest) = (Vec::new(), Vec::new());
    for conjunct in split_conjunction(predicate) {
        match as_condition(conjunct) {
            Some((bound, value)) => conditions.push((bound, value.clone())),
            None => rest.push(conjunct.clone()),
        }
    }
    (conditions, conjunction(rest))
}

/// When a row enters, or leaves: the last or the first instant of its conditions of this kind.
fn instant_of(conditions: &[(Bound, Expr)], leaves: bool) -> Option<Expr> {
    let of_kind = conditions.iter().filter(|(bound, _)| bound.leaves == leaves).cloned();
    let (bounds, values): (Vec<Bound>, Vec<Expr>) = of_kind.unzip();
    (!bounds.is_empty()).then(|| instant(bounds, values))
}
