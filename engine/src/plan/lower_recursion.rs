//! `WITH RECURSIVE`: the recursive term becomes a step over the rows of all rounds at once. Each of these carries the number of its
//! round in a last column, which every operator of the step passes on: so rows of two rounds never meet, and what the step makes of
//! a round's rows is what the term makes of them.
//!
//! What does not read the recursion becomes an input of it, kept once for all rounds. Where it stands beside rows of a round (in a
//! UNION, or as the kept side of an outer join) it is there in each round. A term with an aggregate over no key, a full join or a
//! recursion over its own rows is recomputed.

use std::cell::Cell;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::logical_plan::RecursiveQuery;
use datafusion::logical_expr::{LogicalPlan, TableScan};
use datafusion::physical_expr::PhysicalExpr;

use super::lower::{Lowering, arrow_schema, column, distinct};
use super::lower_join::shift_right;
use super::lower_map::{cast_to, map};
use super::{Aggregate, Join, JoinKind, Map, Node, Over, Plan, Recursion, SortColumn, TopN, Unnest, UnnestColumn, round_field, with_round};
use crate::Result;

/// The recursion whose step is lowered: what its name stands for.
pub(super) struct Working {
    name: String,
    /// The rows of a round never go.
    append_only: bool,
    /// Something that reads the rows of a round has no operator.
    has_given_up: Cell<bool>,
}

impl Working {
    pub(super) fn is_read_by(&self, scan: &TableScan) -> bool {
        read_name(scan).is_some_and(|name| name == self.name)
    }

    /// The rows of the round before.
    pub(super) fn scan(&self, scan: &TableScan) -> Plan {
        let schema = scan.source.schema();
        let chosen = scan.projection.clone().unwrap_or_else(|| (0..schema.fields().len()).collect());
        let expressions = chosen.iter().map(|index| column(&schema, *index)).collect();
        let given = Plan { node: Node::Given(0), schema, append_only: self.append_only };
        map(given, None, expressions, Arc::new(scan.projected_schema.as_arrow().clone()))
    }

    /// Stands for a plan without an operator, in a step that is then not used.
    pub(super) fn give_up(&self, plan: &LogicalPlan) -> Plan {
        self.has_given_up.set(true);
        Plan { node: Node::Given(0), schema: arrow_schema(plan), append_only: self.append_only }
    }
}

impl Lowering<'_> {
    /// `None` when the step, or a recursion around it, needs what has no operator.
    pub(super) fn recursion(&self, plan: &LogicalPlan, recursion: &RecursiveQuery) -> Result<Option<Plan>> {
        let schema = arrow_schema(plan);
        if reads_a_round(plan) || schema.fields().is_empty() {
            return Ok(None);
        }
        let first = cast_to(self.lower(&recursion.static_term)?, &schema);
        let Some((step, others)) = self.step(recursion, &schema, true)? else { return Ok(None) };
        let append_only = first.append_only && step.append_only;
        // The first round of a row may become an earlier one.
        let (step, others) = match append_only && !recursion.is_distinct {
            true => (step, others),
            false => match self.step(recursion, &schema, false)? {
                Some(step) => step,
                None => return Ok(None),
            },
        };
        let node = Node::Recursion(Box::new(Recursion { first, others, step, is_distinct: recursion.is_distinct }));
        Ok(Some(Plan { node, schema, append_only }))
    }

    /// The recursive term over the rows of all rounds, and what it reads beside.
    fn step(&self, recursion: &RecursiveQuery, schema: &SchemaRef, append_only: bool) -> Result<Option<(Plan, Vec<Plan>)>> {
        let working = Working { name: recursion.name.clone(), append_only, has_given_up: Cell::new(false) };
        let term = Lowering { state: self.state, working: Some(&working) }.lower(&recursion.recursive_term)?;
        if working.has_given_up.get() {
            return Ok(None);
        }
        let given = Plan { node: Node::Given(0), schema: with_round(schema), append_only };
        let mut threading = Threading { rounds: rounds(given), others: Vec::new() };
        Ok(threading.thread(cast_to(term, schema)).map(|step| (step, threading.others)))
    }
}

/// The name of the recursion whose rows a scan reads.
fn read_name(scan: &TableScan) -> Option<String> {
    let provider = source_as_provider(&scan.source).ok()?;
    Some(provider.downcast_ref::<CteWorkTable>()?.name().to_owned())
}

/// True when the plan reads a round of a recursion around it.
pub(super) fn reads_a_round(plan: &LogicalPlan) -> bool {
    fn reads(plan: &LogicalPlan, within: &mut Vec<String>) -> bool {
        match plan {
            LogicalPlan::TableScan(scan) => read_name(scan).is_some_and(|name| !within.contains(&name)),
            LogicalPlan::RecursiveQuery(recursion) => {
                let of_first = reads(&recursion.static_term, within);
                within.push(recursion.name.clone());
                let of_step = reads(&recursion.recursive_term, within);
                within.pop();
                of_first || of_step
            }
            other => other.inputs().into_iter().any(|input| reads(input, within)),
        }
    }
    reads(plan, &mut Vec::new())
}

/// Passes the round on through the operators of a step.
struct Threading {
    /// The rounds that have rows, each once.
    rounds: Plan,
    /// What has been found not to read the recursion.
    others: Vec<Plan>,
}

impl Threading {
    /// The same rows with their round in a last column; `None` for operators that cannot keep rounds apart.
    fn thread(&mut self, plan: Plan) -> Option<Plan> {
        if !is_recursive(&plan) {
            return Some(self.in_each_round(plan));
        }
        let Plan { node, schema, append_only } = plan;
        let plan = |node| Plan { node, schema: with_round(&schema), append_only };
        match node {
            Node::Given(port) => Some(plan(Node::Given(port))),
            Node::Map(Map { input, predicate, mut expressions }) => {
                let input = self.thread(*input)?;
                expressions.push(round_of(&input));
                Some(map(input, predicate, expressions, with_round(&schema)))
            }
            Node::Unnest(unnest) => {
                let input = self.thread(*unnest.input)?;
                let mut output = unnest.output;
                output.push(UnnestColumn::Kept(last(&input)));
                Some(plan(Node::Unnest(Unnest { input: Box::new(input), output, ..unnest })))
            }
            Node::Union(inputs) => {
                let inputs = inputs.into_iter().map(|input| self.thread(input)).collect::<Option<Vec<_>>>()?;
                Some(plan(Node::Union(inputs)))
            }
            Node::Aggregate(aggregate) => self.aggregate(aggregate, &schema, append_only),
            Node::Join(join) => self.join(*join, &schema, append_only),
            Node::TopN(top) => self.top(top, &schema),
            Node::Over(over) => self.over(over, &schema),
            Node::Scan { .. } | Node::Constant(_) => unreachable!("these have no inputs that could be recursive"),
            Node::Arrange(_) | Node::Temporal(_) | Node::Recursion(_) | Node::Recompute(_) => None,
        }
    }

    /// What does not read the recursion, as the step's input.
    fn given(&mut self, plan: Plan) -> Plan {
        let given = Plan { node: Node::Given(self.others.len() + 1), schema: Arc::clone(&plan.schema), append_only: plan.append_only };
        self.others.push(plan);
        given
    }

    /// The rows of a plan that does not read the recursion, in each round that has rows.
    fn in_each_round(&mut self, plan: Plan) -> Plan {
        let (schema, right) = (Arc::clone(&plan.schema), self.given(plan));
        let append_only = self.rounds.append_only && right.append_only;
        let join = Join {
            left: self.rounds.clone(),
            right,
            kind: JoinKind::Inner,
            left_keys: vec![],
            right_keys: vec![],
            nulls_equal: false,
            residual: None,
            looks_up: [false; 2],
        };
        let n_columns = schema.fields().len();
        moved(Node::Join(Box::new(join)), n_columns + 1, (1..=n_columns).chain([0]), &schema, append_only)
    }

    /// A group per round; without keys there would have to be one in each round, also when it has no rows.
    fn aggregate(&mut self, aggregate: Aggregate, schema: &SchemaRef, append_only: bool) -> Option<Plan> {
        if aggregate.keys.is_empty() {
            return None;
        }
        let input = self.thread(*aggregate.input)?;
        let n_keys = aggregate.keys.len();
        let keys = aggregate.keys.into_iter().chain([last(&input)]).collect();
        let node = Node::Aggregate(Aggregate { input: Box::new(input), keys, aggregates: aggregate.aggregates });
        let n_columns = schema.fields().len();
        Some(moved(node, n_columns + 1, (0..n_keys).chain(n_keys + 1..=n_columns).chain([n_keys]), schema, append_only))
    }

    fn top(&mut self, top: TopN, schema: &SchemaRef) -> Option<Plan> {
        let input = self.thread(*top.input)?;
        let round = last(&input);
        let partition = top.partition.into_iter().chain([round]).collect();
        let node = Node::TopN(TopN { input: Box::new(input), partition, ..top });
        let n_columns = schema.fields().len();
        Some(moved(node, n_columns + 1, (0..round).chain(round + 1..=n_columns).chain([round]), schema, false))
    }

    /// The round goes before the computed keys, which are not in the output; the functions refer to columns before both.
    fn over(&mut self, over: Over, schema: &SchemaRef) -> Option<Plan> {
        let input = self.thread(*over.input)?;
        let n_columns = schema.fields().len();
        let (n_kept, round) = (n_columns - over.windows.len(), last(&input));
        let place = |column: usize| if column < n_kept { column } else { column + 1 };
        let input = chosen(input, (0..n_kept).chain([round]).chain(n_kept..round));
        let node = Node::Over(Over {
            input: Box::new(input),
            partition: over.partition.into_iter().map(place).chain([n_kept]).collect(),
            order: over.order.into_iter().map(|by| SortColumn { column: place(by.column), ..by }).collect(),
            ..over
        });
        Some(moved(node, n_columns + 1, (0..n_kept).chain(n_kept + 1..=n_columns).chain([n_kept]), schema, false))
    }

    /// Where the other side is the same for all rounds it is joined as it is; otherwise the sides meet in each round.
    fn join(&mut self, join: Join, schema: &SchemaRef, append_only: bool) -> Option<Plan> {
        let n_left = join.left.schema.fields().len();
        match (is_recursive(&join.left), is_recursive(&join.right), join.kind) {
            (_, _, JoinKind::Full) => None,
            (true, false, kind) if kind != JoinKind::Right => {
                let (left, right) = (self.thread(join.left)?, self.given(join.right));
                let residual = join.residual.map(|residual| shift_right(residual, n_left, n_left + 1));
                let node = Node::Join(Box::new(Join { left, right, residual, ..join }));
                let n_columns = schema.fields().len();
                Some(moved(node, n_columns + 1, (0..n_left).chain(n_left + 1..=n_columns).chain([n_left]), schema, append_only))
            }
            (false, true, JoinKind::Inner | JoinKind::Right) => {
                let (left, right) = (self.given(join.left), self.thread(join.right)?);
                let node = Node::Join(Box::new(Join { left, right, ..join }));
                Some(Plan { node, schema: with_round(schema), append_only })
            }
            _ => self.join_in_each_round(join, schema, append_only),
        }
    }

    fn join_in_each_round(&mut self, join: Join, schema: &SchemaRef, append_only: bool) -> Option<Plan> {
        let (kind, n_left) = (join.kind, join.left.schema.fields().len());
        let (left, right) = (self.thread(join.left)?, self.thread(join.right)?);
        let node = Node::Join(Box::new(Join {
            left_keys: join.left_keys.into_iter().chain([last(&left)]).collect(),
            right_keys: join.right_keys.into_iter().chain([last(&right)]).collect(),
            residual: join.residual.map(|residual| shift_right(residual, n_left, n_left + 1)),
            left,
            right,
            ..join
        }));
        let n_columns = schema.fields().len();
        let (width, round) = match kind {
            JoinKind::LeftSemi | JoinKind::LeftAnti | JoinKind::LeftMark => (n_columns + 1, n_left),
            JoinKind::Right => (n_columns + 2, n_columns + 1),
            _ => (n_columns + 2, n_left),
        };
        Some(moved(node, width, (0..n_left).chain(n_left + 1..=n_columns).chain([round]), schema, append_only))
    }
}

/// True when the plan reads the rows of a round. (A recursion's own step is no input of it.)
fn is_recursive(plan: &Plan) -> bool {
    matches!(plan.node, Node::Given(0)) || plan.inputs().into_iter().any(is_recursive)
}

/// Each round of the rows once.
fn rounds(rows: Plan) -> Plan {
    let round = last(&rows);
    distinct(chosen(rows, [round]))
}

fn last(plan: &Plan) -> usize {
    plan.schema.fields().len() - 1
}

fn round_of(plan: &Plan) -> Arc<dyn PhysicalExpr> {
    column(&plan.schema, last(plan))
}

/// Some columns of a plan.
fn chosen(plan: Plan, columns: impl IntoIterator<Item = usize>) -> Plan {
    let columns: Vec<usize> = columns.into_iter().collect();
    let expressions = columns.iter().map(|index| column(&plan.schema, *index)).collect();
    let schema = Arc::new(plan.schema.project(&columns).expect("the columns are the plan's"));
    map(plan, None, expressions, schema)
}

/// The output of `node`, which is `width` columns, with those of `schema` and the round at `columns`, in that order.
fn moved(node: Node, width: usize, columns: impl Iterator<Item = usize>, schema: &SchemaRef, append_only: bool) -> Plan {
    let columns: Vec<usize> = columns.collect();
    let target = with_round(schema);
    let mut fields = vec![round_field(); width];
    for (field, index) in target.fields().iter().zip(&columns) {
        fields[*index] = field.as_ref().clone();
    }
    let found: SchemaRef = Arc::new(Schema::new(fields));
    let expressions = columns.iter().map(|index| column(&found, *index)).collect();
    map(Plan { node, schema: found, append_only }, None, expressions, target)
}
