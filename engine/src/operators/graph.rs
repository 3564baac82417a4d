//! A plan as a list of operators with edges, ready to be run: every kernel is made here, before a command goes out, so that
//! rendering cannot fail. Both drivers run the same graphs.

use std::sync::Arc;

use arrow::array::RecordBatch;
use catalog::ObjectId;

use super::aggregate::AggregateKernel;
use super::first_row::FirstRowKernel;
use super::join::JoinKernel;
use super::join_index::Index;
use super::map::MapKernel;
use super::over::OverKernel;
use super::placement::Placement;
use super::recursion::RecursionKernel;
use super::temporal::TemporalKernel;
use super::top_n::TopNKernel;
use super::union::UnionKernel;
use super::unnest::UnnestKernel;
use super::{Kernel, Output};
use crate::metrics::{OperatorMetrics, OperatorName};
use crate::plan::{BatchQuery, JoinKind, Node, Plan};
use crate::published::Published;
use crate::time::CLOCK;
use crate::{ChangeBatch, Epoch, Error, Result};

/// The operators of one dataflow on one worker. Edges lead from smaller to larger indices; the last operator is the output.
pub struct Graph {
    /// The operators, inputs first.
    pub operators: Vec<Operator>,
    /// The relations imported, in the order of [`Work::Import`]'s index.
    pub imports: Vec<ObjectId>,
    /// Those among them in which joins look rows up.
    pub looks_up: Vec<ObjectId>,
}

/// One operator.
pub struct Operator {
    /// What it does.
    pub work: Work,
    /// Where its inputs come from.
    pub inputs: Vec<Input>,
    /// Its counters.
    pub metrics: Arc<OperatorMetrics>,
}

/// What an operator does.
pub enum Work {
    /// Brings in a relation's changes: index into [`Graph::imports`], and the columns kept.
    Import(usize, Vec<usize>),
    /// Rows there from the first epoch on; on one worker only.
    Constant(RecordBatch),
    /// A kernel, and what it emits at the first epoch whether or not there is input.
    Kernel(Box<dyn Kernel>, Option<ChangeBatch>),
    /// A batch query over its inputs.
    Recompute(Arc<dyn BatchQuery>, RecomputeShape),
}

/// Schemas a recompute needs to keep its inputs and to build its differences.
#[derive(Clone)]
pub struct RecomputeShape {
    /// Of each input.
    pub inputs: Vec<arrow::datatypes::SchemaRef>,
    /// Whether each input never retracts.
    pub append_only: Vec<bool>,
    /// Of the output.
    pub output: arrow::datatypes::SchemaRef,
}

/// An edge into an operator.
#[derive(Debug, Clone)]
pub struct Input {
    /// Index of the operator it comes from.
    pub from: usize,
    /// How rows are spread over workers.
    pub route: Route,
}

/// How an edge spreads rows over workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Each row stays where it is.
    Local,
    /// By the hash of these columns.
    ByKey(Vec<usize>),
    /// All rows to one worker.
    ToOne,
}

/// Where a relation's port on this worker publishes.
pub type PortOf<'a> = dyn Fn(ObjectId) -> Option<Arc<Published>> + 'a;

/// Builds worker `worker`'s graph of `plan`, whose joins may look rows up in the ports of that worker. Fails where a kernel cannot be
/// made of its plan.
pub fn build(plan: &Plan, worker: usize, metrics: &[Arc<OperatorMetrics>], port_of: &PortOf<'_>) -> Result<Graph> {
    let imports = plan.relations();
    let mut looks_up = Vec::new();
    plan.visit(&mut |plan| looks_up.extend(looked_up(plan).into_iter().flatten().map(|(relation, _)| relation)));
    let mut metrics = metrics.iter().cloned();
    let mut operators = Vec::new();
    for (operator, routes) in plan.operators().into_iter().zip(placed(plan).0) {
        let inputs = operator.inputs.iter().zip(routes).map(|(from, route)| Input { from: *from, route }).collect();
        let work = work(operator.plan, worker, &imports, &mut metrics, port_of)?;
        operators.push(Operator { work, inputs, metrics: next(&mut metrics) });
    }
    Ok(Graph { operators, imports, looks_up })
}

/// The routes of each operator's inputs, and where the output's rows are.
fn placed(plan: &Plan) -> (Vec<Vec<Route>>, Placement) {
    let (mut all_routes, mut placements): (Vec<Vec<Route>>, Vec<Placement>) = (Vec::new(), Vec::new());
    for operator in plan.operators() {
        let of_inputs: Vec<&Placement> = operator.inputs.iter().map(|input| &placements[*input]).collect();
        let routes: Vec<Route> = of_inputs.iter().enumerate().map(|(port, input)| route(operator.plan, port, input)).collect();
        placements.push(Placement::of(operator.plan, &of_inputs, &routes));
        all_routes.push(routes);
    }
    (all_routes, placements.pop().unwrap_or_default())
}

/// The columns by which readers look rows of the result up, when its rows are spread over workers by them, too.
pub fn key_of(plan: &Plan) -> Option<Vec<usize>> {
    Some(plan.lookup_key()).filter(|key| !plan.append_only && placed(plan).1.is_by(key))
}

/// The relations in which a join looks up the rows of its left and of its right input, with the columns it reads.
fn looked_up(plan: &Plan) -> [Option<(ObjectId, &[usize])>; 2] {
    let Node::Join(join) = &plan.node else { return [None; 2] };
    [(&join.left, join.looks_up[0]), (&join.right, join.looks_up[1])].map(|(side, looks_up)| match &side.node {
        Node::Scan { relation, columns } if looks_up => Some((*relation, columns.as_slice())),
        _ => None,
    })
}

/// The names of `plan`'s operators in the order in which [`build`] numbers them: those of a recursion's step come before it.
pub fn names(plan: &Plan) -> Vec<OperatorName> {
    let mut found = Vec::new();
    for operator in plan.operators() {
        if let Node::Recursion(recursion) = &operator.plan.node {
            found.extend(names(&recursion.step));
        }
        found.push(OperatorName { label: operator.plan.label(), maintenance: operator.plan.maintenance() });
    }
    found
}

/// The counters of the operators still to be built.
pub(super) type NextMetrics<'a> = dyn Iterator<Item = Arc<OperatorMetrics>> + 'a;

pub(super) fn next(metrics: &mut NextMetrics<'_>) -> Arc<OperatorMetrics> {
    metrics.next().expect("there are counters for each of the names")
}

/// The kernel of a node that has one.
pub(super) fn kernel(plan: &Plan) -> Result<Option<Box<dyn Kernel>>> {
    Ok(Some(match &plan.node {
        Node::Map(map) => Box::new(MapKernel::with_schema(map, plan.schema.clone())?),
        Node::Unnest(unnest) => Box::new(UnnestKernel::new(unnest, plan.schema.clone())),
        Node::Union(_) | Node::Arrange(_) => Box::new(UnionKernel::new(plan.schema.clone())),
        Node::Aggregate(aggregate) => Box::new(AggregateKernel::with_schema(aggregate, aggregate.input.append_only, plan.schema.clone())?),
        Node::Join(join) => Box::new(JoinKernel::new(join, [None, None])?),
        Node::TopN(top) => match FirstRowKernel::of(top, top.input.append_only, plan.schema.clone())? {
            Some(kernel) => Box::new(kernel),
            None => Box::new(TopNKernel::new(top, top.input.append_only)?),
        },
        Node::Over(over) => Box::new(OverKernel::new(over, plan.schema.clone())?),
        Node::Temporal(temporal) => Box::new(TemporalKernel::new(temporal, plan.schema.clone())?),
        Node::Scan { .. } | Node::Constant(_) | Node::Recursion(_) | Node::Given(_) | Node::Recompute(_) => return Ok(None),
    }))
}

fn work(plan: &Plan, worker: usize, imports: &[ObjectId], metrics: &mut NextMetrics<'_>, port_of: &PortOf<'_>) -> Result<Work> {
    Ok(match &plan.node {
        Node::Scan { relation, columns } => {
            let import = imports.iter().position(|import| import == relation).expect("imports are all relations of the plan");
            Work::Import(import, columns.clone())
        }
        Node::Constant(rows) => Work::Constant(if worker == 0 { rows.clone() } else { rows.slice(0, 0) }),
        Node::Aggregate(aggregate) => {
            let kernel = AggregateKernel::with_schema(aggregate, aggregate.input.append_only, plan.schema.clone())?;
            let initial = if worker == 0 { kernel.initial_output()? } else { None };
            Work::Kernel(Box::new(kernel), initial)
        }
        Node::Join(join) => {
            let index = |(relation, columns): (ObjectId, &[usize])| match port_of(relation) {
                Some(port) => Ok(Index::new(port, columns.to_vec())),
                None => Err(Error::internal(format!("there is no port of relation {}", relation.0))),
            };
            let [left, right] = looked_up(plan).map(|relation| relation.map(index).transpose());
            Work::Kernel(Box::new(JoinKernel::new(join, [left?, right?])?), None)
        }
        Node::Recursion(recursion) => Work::Kernel(Box::new(RecursionKernel::new(recursion, plan.schema.clone(), metrics)?), None),
        Node::Recompute(recompute) => {
            let shape = RecomputeShape {
                inputs: recompute.inputs.iter().map(|input| input.schema.clone()).collect(),
                append_only: recompute.inputs.iter().map(|input| input.append_only).collect(),
                output: plan.schema.clone(),
            };
            Work::Recompute(Arc::clone(&recompute.query), shape)
        }
        _ => match kernel(plan)? {
            Some(kernel) => Work::Kernel(kernel, None),
            None => return Err(Error::internal(format!("{} stands outside of a recursion's step", plan.label()))),
        },
    })
}

/// How rows reach a stateful operator: sharded by what it keys its state on, and left where they are when they already are.
fn route(plan: &Plan, port: usize, input: &Placement) -> Route {
    let (keys, is_there) = match &plan.node {
        Node::Arrange(arrange) => (&arrange.keys, input.is_by(&arrange.keys)),
        Node::Aggregate(aggregate) => (&aggregate.keys, input.keeps_together(&aggregate.keys)),
        Node::TopN(top) => (&top.partition, input.keeps_together(&top.partition)),
        Node::Over(over) => (&over.partition, input.keeps_together(&over.partition)),
        Node::Join(join) if join.looks_up[port] => return Route::Local,
        // The two sides meet only if both are placed by the hash of the very key.
        Node::Join(join) if port == 0 => (&join.left_keys, input.is_by(&join.left_keys)),
        Node::Join(join) => (&join.right_keys, input.is_by(&join.right_keys)),
        // What one worker has made of a round, all others would need in the next.
        Node::Recursion(_) | Node::Recompute(_) => return Route::ToOne,
        _ => return Route::Local,
    };
    match keys.as_slice() {
        _ if is_there => Route::Local,
        [] => Route::ToOne,
        keys => Route::ByKey(keys.to_vec()),
    }
}

/// One step of a kernel, counted. The counters are exact: rows handed in, rows that came out, rows of state read.
pub fn step(kernel: &mut dyn Kernel, metrics: &OperatorMetrics, epoch: Epoch, inputs: Vec<Vec<ChangeBatch>>) -> Result<Output> {
    inputs.iter().flatten().for_each(|batch| metrics.took(batch));
    let mut out = Output::default();
    kernel.step(epoch, inputs, &mut out)?;
    let n_out: usize = out.changes.iter().map(ChangeBatch::len).sum();
    metrics.stepped(n_out as u64, out.n_state_rows_read, kernel.state_size());
    Ok(out)
}

impl Plan {
    /// The operator's name as EXPLAIN and `thalweg.operators` show it.
    pub fn label(&self) -> String {
        match &self.node {
            Node::Scan { relation: CLOCK, .. } => "Clock".into(),
            Node::Scan { relation, .. } => format!("Scan {relation}"),
            Node::Constant(_) => "Constant".into(),
            Node::Map(map) if map.predicate.is_some() => "Filter".into(),
            Node::Map(_) => "Project".into(),
            Node::Unnest(_) => "Unnest".into(),
            Node::Union(_) => "Union".into(),
            Node::Arrange(_) => "Arrange".into(),
            Node::Aggregate(aggregate) if aggregate.aggregates.is_empty() => "Distinct".into(),
            Node::Aggregate(_) => "Aggregate".into(),
            Node::Join(join) => format!("Join {}", join_name(join.kind)),
            Node::TopN(_) => "TopN".into(),
            Node::Over(_) => "Over".into(),
            Node::Temporal(_) => "Temporal".into(),
            Node::Recursion(_) => "Recursion".into(),
            Node::Given(0) => "Rows of the round before".into(),
            Node::Given(port) => format!("Input {port} of the recursion"),
            Node::Recompute(recompute) => format!("Recompute {}", recompute.query.describe()),
        }
    }
}

fn join_name(kind: JoinKind) -> &'static str {
    match kind {
        JoinKind::Inner => "inner",
        JoinKind::Left => "left",
        JoinKind::Right => "right",
        JoinKind::Full => "full",
        JoinKind::LeftSemi => "semi",
        JoinKind::LeftAnti => "anti",
        JoinKind::LeftMark => "mark",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::script::schema;
    use crate::plan::{Aggregate, Join, TopN};

    fn input() -> Plan {
        Plan { node: Node::Union(vec![]), schema: schema("a:int b:int c:int"), append_only: false }
    }

    /// How rows get to port `port` of `node`, when their operator leaves them anywhere.
    fn routed(node: Node, port: usize) -> Route {
        route(&Plan { node, ..input() }, port, &Placement::default())
    }

    fn aggregate(keys: Vec<usize>) -> Node {
        Node::Aggregate(Aggregate { input: Box::new(input()), keys, aggregates: vec![] })
    }

    #[test]
    fn rows_go_where_their_key_is() {
        assert_eq!(routed(aggregate(vec![2, 0]), 0), Route::ByKey(vec![2, 0]));
        assert_eq!(routed(aggregate(vec![]), 0), Route::ToOne);
        let top = |partition| TopN { input: Box::new(input()), partition, order: vec![], skip: 0, fetch: 1, with_row_number: false };
        assert_eq!(routed(Node::TopN(top(vec![1])), 0), Route::ByKey(vec![1]));
        assert_eq!(routed(Node::TopN(top(vec![])), 0), Route::ToOne);
        assert_eq!(routed(Node::Union(vec![input(), input()]), 1), Route::Local);
        assert_eq!(routed(Plan::index(ObjectId(1), input().schema, vec![1]).node, 0), Route::ByKey(vec![1]));
    }

    #[test]
    fn each_side_of_a_join_goes_by_its_own_key() {
        let join = |left_keys, right_keys| {
            let (left, right, kind) = (input(), input(), JoinKind::Inner);
            Node::Join(Box::new(Join {
                left,
                right,
                kind,
                left_keys,
                right_keys,
                nulls_equal: false,
                residual: None,
                looks_up: [false; 2],
            }))
        };
        assert_eq!(routed(join(vec![0], vec![2]), 0), Route::ByKey(vec![0]));
        assert_eq!(routed(join(vec![0], vec![2]), 1), Route::ByKey(vec![2]));
        assert_eq!((routed(join(vec![], vec![]), 0), routed(join(vec![], vec![]), 1)), (Route::ToOne, Route::ToOne));
    }

    #[test]
    fn rows_that_are_there_are_not_sent() {
        let by = |keys| Plan { node: aggregate(keys), ..input() };
        let after = Placement::of(&by(vec![0]), &[&Placement::default()], &[Route::ByKey(vec![0])]);
        assert_eq!(route(&by(vec![0]), 0, &after), Route::Local);
        assert_eq!(route(&by(vec![1]), 0, &after), Route::ByKey(vec![1]));
    }
}
