//! A plan as operators with edges: equal sub-plans become one operator, whose changes go to all who read them.

use super::{Aggregate, AggregateCall, Join, Map, Node, Plan, Recursion, TopN, Unnest};

/// One operator of a plan.
#[derive(Debug, Clone)]
pub struct Operator<'a> {
    /// What it does; where several sub-plans are equal, the first of them.
    pub plan: &'a Plan,
    /// By input port, the operator whose changes it reads.
    pub inputs: Vec<usize>,
}

impl Plan {
    /// The operators of this plan, each after its inputs; the last is the output.
    pub fn operators(&self) -> Vec<Operator<'_>> {
        let mut operators = Vec::new();
        add(self, &mut operators);
        operators
    }
}

fn add<'a>(plan: &'a Plan, operators: &mut Vec<Operator<'a>>) -> usize {
    let inputs: Vec<usize> = plan.inputs().into_iter().map(|input| add(input, operators)).collect();
    let known = operators.iter().position(|known| known.inputs == inputs && does_the_same(known.plan, plan));
    known.unwrap_or_else(|| {
        operators.push(Operator { plan, inputs });
        operators.len() - 1
    })
}

/// True when both turn equal inputs into equal outputs; the inputs themselves are not looked at. Batch queries are opaque, so
/// two of them never do the same.
fn does_the_same(a: &Plan, b: &Plan) -> bool {
    a.schema == b.schema
        && a.append_only == b.append_only
        && match (&a.node, &b.node) {
            (Node::Scan { relation, columns }, Node::Scan { relation: other, columns: others }) => relation == other && columns == others,
            (Node::Constant(rows), Node::Constant(others)) => rows == others,
            (Node::Map(a), Node::Map(b)) => same_map(a, b),
            (Node::Unnest(a), Node::Unnest(b)) => same_unnest(a, b),
            (Node::Union(a), Node::Union(b)) => a.len() == b.len(),
            (Node::Arrange(a), Node::Arrange(b)) => a.keys == b.keys,
            (Node::Aggregate(a), Node::Aggregate(b)) => same_aggregate(a, b),
            (Node::Join(a), Node::Join(b)) => same_join(a, b),
            (Node::TopN(a), Node::TopN(b)) => same_top(a, b),
            (Node::Temporal(a), Node::Temporal(b)) => (a.enters, a.leaves) == (b.enters, b.leaves),
            (Node::Recursion(a), Node::Recursion(b)) => same_recursion(a, b),
            (Node::Given(port), Node::Given(other)) => port == other,
            _ => false,
        }
}

fn same_map(a: &Map, b: &Map) -> bool {
    a.predicate == b.predicate && a.expressions == b.expressions
}

fn same_unnest(a: &Unnest, b: &Unnest) -> bool {
    (&a.list_columns, &a.output, a.preserve_nulls) == (&b.list_columns, &b.output, b.preserve_nulls)
}

fn same_aggregate(a: &Aggregate, b: &Aggregate) -> bool {
    a.keys == b.keys && a.aggregates.len() == b.aggregates.len() && a.aggregates.iter().zip(&b.aggregates).all(|(a, b)| same_call(a, b))
}

fn same_call(a: &AggregateCall, b: &AggregateCall) -> bool {
    (&a.function, &a.arguments, a.filter, a.distinct, &a.order_by, &a.name)
        == (&b.function, &b.arguments, b.filter, b.distinct, &b.order_by, &b.name)
        && a.expression.ignore_nulls() == b.expression.ignore_nulls()
        && a.expression.expressions() == b.expression.expressions()
}

fn same_join(a: &Join, b: &Join) -> bool {
    (a.kind, &a.left_keys, &a.right_keys, a.nulls_equal, a.looks_up) == (b.kind, &b.left_keys, &b.right_keys, b.nulls_equal, b.looks_up)
        && a.residual == b.residual
}

fn same_top(a: &TopN, b: &TopN) -> bool {
    (&a.partition, &a.order, a.skip, a.fetch, a.with_row_number) == (&b.partition, &b.order, b.skip, b.fetch, b.with_row_number)
}

fn same_recursion(a: &Recursion, b: &Recursion) -> bool {
    a.is_distinct == b.is_distinct && is_same_tree(&a.step, &b.step)
}

fn is_same_tree(a: &Plan, b: &Plan) -> bool {
    let (inputs, others) = (a.inputs(), b.inputs());
    does_the_same(a, b) && inputs.len() == others.len() && inputs.into_iter().zip(others).all(|(a, b)| is_same_tree(a, b))
}
