//! Inner joins of several inputs, in an order in which each is joined by an equality with those before it, where there is one.
//!
//! DataFusion's rule for this loses conditions: an equality over inputs that were joined in another order, and what nulls are to
//! each other where its joins differ in that. Here all conditions of the joins and of the filter above them are taken together;
//! those that are no keys of a join stand in a filter above all of them, to be pushed down. The order is that of the query but for
//! inputs that nothing links to those before them, which wait.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{NullEquality, Result};
use datafusion::logical_expr::logical_plan::{Filter, Join, Projection};
use datafusion::logical_expr::utils::{can_hash, conjunction, find_valid_equijoin_key_pair, split_conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, JoinConstraint, JoinType, LogicalPlan, Operator, binary_expr, build_join_schema,
};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// The rule.
#[derive(Debug, Default)]
pub struct OrderInnerJoins;

impl OptimizerRule for OrderInnerJoins {
    fn name(&self) -> &str {
        "order_inner_joins"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let mut joined = Joined::default();
        match &plan {
            LogicalPlan::Filter(filter) if is_inner(&filter.input) => {
                joined.add(&filter.input);
                joined.conditions.extend(split_conjunction_owned(filter.predicate.clone()));
            }
            plan if is_inner(plan) => joined.add(plan),
            _ => return Ok(Transformed::no(plan)),
        }
        let ordered = joined.ordered(&plan)?;
        Ok(if ordered == plan { Transformed::no(plan) } else { Transformed::yes(ordered) })
    }
}

fn is_inner(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Join(join) if join.join_type == JoinType::Inner)
}

/// What inner joins that follow each other join, and on which conditions.
#[derive(Default)]
struct Joined {
    inputs: Vec<Arc<LogicalPlan>>,
    conditions: Vec<Expr>,
}

impl Joined {
    fn add(&mut self, plan: &LogicalPlan) {
        let LogicalPlan::Join(join) = plan else { return };
        for side in [&join.left, &join.right] {
            match is_inner(side) {
                true => self.add(side),
                false => self.inputs.push(Arc::clone(side)),
            }
        }
        let equals = match join.null_equality {
            NullEquality::NullEqualsNothing => Operator::Eq,
            NullEquality::NullEqualsNull => Operator::IsNotDistinctFrom,
        };
        self.conditions.extend(join.on.iter().map(|(left, right)| binary_expr(left.clone(), equals, right.clone())));
        self.conditions.extend(join.filter.iter().flat_map(split_conjunction).cloned());
    }

    /// The joins in order, with the columns of `before`.
    fn ordered(self, before: &LogicalPlan) -> Result<LogicalPlan> {
        let Self { inputs, mut conditions } = self;
        let of_alternatives: Vec<Expr> =
            conditions.iter().flat_map(equalities_of_all).filter(|found| !conditions.contains(found)).collect();
        let n_own = conditions.len();
        conditions.extend(of_alternatives);
        let mut is_key = vec![false; conditions.len()];
        let mut rest = inputs.into_iter();
        let mut plan = rest.next().expect("a join has inputs");
        let mut rest: Vec<_> = rest.collect();
        while !rest.is_empty() {
            let mut next = None;
            for (place, right) in rest.iter().enumerate() {
                let keys = keys(&plan, right, &conditions)?;
                if !keys.found.is_empty() {
                    next = Some((place, keys));
                    break;
                }
            }
            let (place, keys) = next.unwrap_or_default();
            keys.found.iter().for_each(|(condition, _)| is_key[*condition] = true);
            let right = rest.remove(place);
            plan = Arc::new(inner_join(plan, right, keys)?);
        }
        // What follows from alternatives is worth no filter of its own.
        let others = conditions.into_iter().zip(is_key).take(n_own).filter(|(_, is_key)| !is_key).map(|(condition, _)| condition);
        let others = conjunction(others);
        if plan.schema() != before.schema() {
            plan = Arc::new(match others {
                Some(others) => LogicalPlan::Filter(Filter::try_new(others, plan)?),
                None => plan.as_ref().clone(),
            });
            return Ok(LogicalPlan::Projection(Projection::new_from_schema(plan, Arc::clone(before.schema()))));
        }
        match others {
            Some(others) => Ok(LogicalPlan::Filter(Filter::try_new(others, plan)?)),
            None => Ok(Arc::unwrap_or_clone(plan)),
        }
    }
}

/// Equalities of a column of one side and one of the other, with the place of the condition each comes from.
#[derive(Default)]
struct Keys {
    found: Vec<(usize, (Expr, Expr))>,
    null_equality: Option<NullEquality>,
}

/// Those that make nulls equal only where there are no others: a join knows one kind.
fn keys(left: &LogicalPlan, right: &LogicalPlan, conditions: &[Expr]) -> Result<Keys> {
    for (equals, null_equality) in
        [(Operator::Eq, NullEquality::NullEqualsNothing), (Operator::IsNotDistinctFrom, NullEquality::NullEqualsNull)]
    {
        let mut found: Vec<(usize, (Expr, Expr))> = Vec::new();
        for (place, condition) in conditions.iter().enumerate() {
            let Expr::BinaryExpr(BinaryExpr { left: a, op, right: b }) = condition else { continue };
            if *op != equals || condition.is_volatile() {
                continue;
            }
            if let Some(pair) = find_valid_equijoin_key_pair(a, b, left.schema(), right.schema())?
                && can_hash(&pair.0.get_type(left.schema())?)
            {
                found.push((place, pair));
            }
        }
        if !found.is_empty() {
            return Ok(Keys { found, null_equality: Some(null_equality) });
        }
    }
    Ok(Keys::default())
}

fn inner_join(left: Arc<LogicalPlan>, right: Arc<LogicalPlan>, keys: Keys) -> Result<LogicalPlan> {
    let schema = Arc::new(build_join_schema(left.schema(), right.schema(), &JoinType::Inner)?);
    let mut on: Vec<(Expr, Expr)> = Vec::with_capacity(keys.found.len());
    for (_, pair) in keys.found {
        if !on.contains(&pair) {
            on.push(pair);
        }
    }
    Ok(LogicalPlan::Join(Join {
        left,
        right,
        on,
        filter: None,
        join_type: JoinType::Inner,
        join_constraint: JoinConstraint::On,
        schema,
        null_equality: keys.null_equality.unwrap_or(NullEquality::NullEqualsNothing),
        null_aware: false,
    }))
}

/// The equalities that hold whichever of a condition's alternatives does.
fn equalities_of_all(condition: &Expr) -> Vec<Expr> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) = condition else { return Vec::new() };
    let of_each = [left, right].map(|side| match equalities_of_all(side) {
        found if matches!(side.as_ref(), Expr::BinaryExpr(BinaryExpr { op: Operator::Or, .. })) => found,
        _ => {
            let parts = split_conjunction(side).into_iter();
            parts.filter(|part| matches!(part, Expr::BinaryExpr(BinaryExpr { op: Operator::Eq, .. }))).cloned().collect()
        }
    });
    let [left, right] = of_each;
    left.into_iter().filter(|part| right.contains(part)).collect()
}
