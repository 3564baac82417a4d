//! The aggregates both engines share: exact, independent of order, and invertible where that is possible.
//!
//! A view must equal its query in batch, so `sum` over floats may not depend on the order of rows, nor on rows that came and
//! went. [`float_sum`] and [`int_sum`] hold such sums, [`states`] keeps them per group, [`aggregate`] shows them to DataFusion
//! under the names of its own functions, and [`incremental_states`] hands the same states to the aggregate kernel.

mod accumulators;
pub mod aggregate;
pub mod big;
pub mod counts;
pub mod extremes;
pub mod float_sum;
pub mod floats;
pub mod input;
pub mod int_sum;
pub mod integers;
pub mod intervals;
pub mod modulo;
pub mod now;
pub mod order;
pub mod parameter;
pub mod scalar;
pub mod session;
pub mod settings;
pub mod single_row;
pub mod sliding;
pub mod states;
#[cfg(test)]
mod tests;
pub mod threshold;
pub mod windows;

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::execution::FunctionRegistry;
use datafusion::functions_aggregate::{bool_and_or, min_max};
use datafusion::logical_expr::AggregateUDF;

use aggregate::{ExactAggregate, ExactKind, ExtremeAggregate};
use counts::{Count, CountResult, Parity, ParityResult, TruthResult, Truths};
use extremes::Extreme;
use states::{GroupStates, Summaries};

/// The aggregates that take the place of DataFusion's of the same name, and `every`.
pub fn all_aggregates() -> Vec<Arc<AggregateUDF>> {
    let exact = ExactKind::ALL.map(|kind| AggregateUDF::new_from_impl(ExactAggregate::new(kind)));
    let extremes = [(Extreme::Least, min_max::min_udaf()), (Extreme::Greatest, min_max::max_udaf())]
        .map(|(which, inner)| AggregateUDF::new_from_impl(ExtremeAggregate::new(which, Arc::clone(inner.inner()))));
    let every = Arc::unwrap_or_clone(bool_and_or::bool_and_udaf()).with_aliases(["every"]);
    exact.into_iter().chain(extremes).chain([every]).map(Arc::new).collect()
}

/// Registers [`all_aggregates`] in a session. Such a session must not use the optimizer rule
/// `single_distinct_aggregation_to_group_by`: it takes `sum` of a `sum` to have the type of the inner one.
pub fn register(registry: &mut dyn FunctionRegistry) -> datafusion::common::Result<()> {
    for aggregate in all_aggregates() {
        registry.register_udaf(aggregate)?;
    }
    Ok(())
}

/// The name of the optimizer rule that does not go with our `sum` (see [`register`]).
pub const UNSOUND_OPTIMIZER_RULE: &str = "single_distinct_aggregation_to_group_by";

/// States under which a row can be taken back, where the function has such.
pub fn incremental_states(function: &AggregateUDF, argument: &DataType) -> Option<Box<dyn GroupStates>> {
    if let Some(exact) = function.inner().downcast_ref::<ExactAggregate>() {
        return Some(exact.kind().states(argument)?.0.into_states());
    }
    let is_signed_integer = matches!(argument, DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64);
    match function.name() {
        "count" => Some(Box::new(Summaries::<Count, _>::new(CountResult))),
        "bool_and" if argument == &DataType::Boolean => Some(Box::new(Summaries::<Truths, _>::new(TruthResult::All))),
        "bool_or" if argument == &DataType::Boolean => Some(Box::new(Summaries::<Truths, _>::new(TruthResult::Any))),
        "bit_xor" if is_signed_integer => Some(Box::new(Summaries::<Parity, _>::new(ParityResult(argument.clone())))),
        _ => None,
    }
}

/// Which extreme a function is, if it is one.
pub fn extreme_of(function: &AggregateUDF) -> Option<Extreme> {
    match function.name() {
        "min" => Some(Extreme::Least),
        "max" => Some(Extreme::Greatest),
        _ => None,
    }
}
