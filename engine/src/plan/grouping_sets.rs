//! GROUPING SETS, ROLLUP and CUBE as a union of groupings, for both engines: each set is a GROUP BY of its own, whose result has
//! nulls for the keys that are not in it. So the empty set has its row over no rows too, as in Postgres, and views keep each
//! grouping as they keep any other.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::logical_plan::{Aggregate, EmptyRelation, Projection, Union};
use datafusion::logical_expr::utils::{grouping_set_to_exprlist, powerset};
use datafusion::logical_expr::{Expr, GroupingSet, LogicalPlan, cast};
use datafusion::optimizer::AnalyzerRule;

use super::relation::external;
use crate::Error;
use crate::error::sqlstate;

/// Keys of a CUBE at most, as in Postgres: it is two to the power of them groupings.
const MAX_CUBE: usize = 12;

/// The analyzer rule; `grouping()` must be resolved before.
#[derive(Debug, Default)]
pub struct GroupingSetsAsUnion;

impl AnalyzerRule for GroupingSetsAsUnion {
    fn name(&self) -> &str {
        "grouping_sets_as_union"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Aggregate(aggregate) if matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)]) => {
                as_union(&aggregate).map(Transformed::yes)
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(rewritten.data)
    }
}

fn as_union(aggregate: &Aggregate) -> Result<LogicalPlan> {
    let keys: Vec<Expr> = grouping_set_to_exprlist(&aggregate.group_expr)?.into_iter().cloned().collect();
    let parts = sets(aggregate)?.iter().map(|set| grouping(aggregate, &keys, set).map(Arc::new)).collect::<Result<Vec<_>>>()?;
    let all = match parts.as_slice() {
        [only] => only.as_ref().clone(),
        _ => LogicalPlan::Union(Union::try_new_with_loose_types(parts)?),
    };
    named(all, &aggregate.schema)
}

fn sets(aggregate: &Aggregate) -> Result<Vec<Vec<Expr>>> {
    let [Expr::GroupingSet(sets)] = aggregate.group_expr.as_slice() else { unreachable!("called for grouping sets alone") };
    Ok(match sets {
        GroupingSet::GroupingSets(sets) => sets.clone(),
        GroupingSet::Rollup(keys) => (0..=keys.len()).rev().map(|n| keys[..n].to_vec()).collect(),
        GroupingSet::Cube(keys) if keys.len() > MAX_CUBE => {
            let message = format!("CUBE is limited to {MAX_CUBE} elements");
            return Err(external(Error::new(sqlstate::STATEMENT_TOO_COMPLEX, message)));
        }
        GroupingSet::Cube(keys) => powerset(keys)?.into_iter().map(|set| set.into_iter().cloned().collect()).collect(),
    })
}

/// One set as a grouping, with the columns of all.
fn grouping(aggregate: &Aggregate, keys: &[Expr], set: &[Expr]) -> Result<LogicalPlan> {
    let mut own: Vec<Expr> = Vec::new();
    set.iter().for_each(|key| {
        if !own.contains(key) {
            own.push(key.clone())
        }
    });
    let grouped = match (own.as_slice(), aggregate.aggr_expr.as_slice()) {
        ([], []) => LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: true, schema: Arc::new(DFSchema::empty()) }),
        _ => LogicalPlan::Aggregate(Aggregate::try_new(Arc::clone(&aggregate.input), own.clone(), aggregate.aggr_expr.clone())?),
    };
    let found: Vec<Expr> = grouped.schema().columns().into_iter().map(Expr::Column).collect();
    let n_calls = aggregate.aggr_expr.len();
    let columns = aggregate.schema.fields().iter().enumerate().map(|(place, field)| {
        let value = match keys.get(place) {
            Some(key) => match own.iter().position(|own| own == key) {
                Some(place) => found[place].clone(),
                None => Expr::Literal(ScalarValue::try_from(field.data_type())?, None),
            },
            None if place < aggregate.schema.fields().len() - n_calls => {
                cast(Expr::Literal(id(keys, &own), None), field.data_type().clone())
            }
            None => found[place + own.len() + n_calls - aggregate.schema.fields().len()].clone(),
        };
        Ok(value.alias(format!("${place}")))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(LogicalPlan::Projection(Projection::try_new(columns, grouped.into())?))
}

/// What `grouping()` is computed from: a bit for each key, set where the key is not in the set, the first key's the highest.
fn id(keys: &[Expr], set: &[Expr]) -> ScalarValue {
    ScalarValue::UInt64(Some(keys.iter().fold(0, |id, key| id << 1 | u64::from(!set.contains(key)))))
}

/// The columns under the names they had.
fn named(plan: LogicalPlan, schema: &DFSchema) -> Result<LogicalPlan> {
    let columns = plan.schema().columns().into_iter().map(|column: Column| Expr::Column(column)).zip(schema.iter());
    let columns = columns.map(|(column, (qualifier, field))| column.alias_qualified(qualifier.cloned(), field.name())).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(columns, plan.into())?))
}
