//! SQL text → DataFusion `LogicalPlan` → our [`Plan`] → EXPLAIN. Only this folder sees the SQL AST and logical plans.
//!
//! A [`Plan`] is a small closed tree in which every reference to a column is an index. Expressions live in [`Map`] alone;
//! the stateful nodes refer to columns of their input, so that a kernel never evaluates SQL.

pub mod arithmetic;
mod array_query;
pub(crate) mod assignment;
mod beside_wildcards;
pub mod canonical;
pub mod coercion;
mod constants_last;
mod copies;
pub mod dialect;
mod distinct_recursion;
pub mod dml;
pub mod explain;
mod expressions;
pub(crate) mod failure;
mod filters_apart;
mod from_columns;
mod grouping_sets;
mod guards;
mod held_back;
pub mod inline;
mod inner_joins;
pub mod interrupt;
pub mod lookups;
mod lower;
mod lower_aggregate;
mod lower_join;
mod lower_map;
mod lower_over;
mod lower_recursion;
mod lower_temporal;
mod lower_top;
pub(crate) mod meaning;
pub mod names;
pub mod normalise;
mod nulls_in_lists;
pub mod operators;
mod orders;
mod outer_constants;
mod outer_types;
mod output_names;
pub mod parameters;
pub mod parse;
mod pg_syntax;
pub mod query;
mod recompute;
mod recursion_form;
mod references;
pub mod relation;
mod selects;
mod series;
pub mod session;
mod shared_columns;
pub mod sharing;
mod signed_zeros;
mod sorted;
pub mod statement;
mod subquery;
pub mod system;
mod system_types;
mod temporal;
#[cfg(test)]
mod tests;
mod window_keys;
pub mod windows;
mod zone;

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use catalog::ObjectId;
use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::window::WindowExpr;

use crate::{ChangeBatch, Result};

/// One operator of a view, with its inputs below it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What the operator does.
    pub node: Node,
    /// Names and types of the output's columns.
    pub schema: SchemaRef,
    /// True when the output never retracts a row, given that streams never do.
    pub append_only: bool,
}

/// The operators there are.
#[derive(Debug, Clone)]
pub enum Node {
    /// The changes of a stored relation; `columns` are indices into its schema.
    Scan {
        /// The relation read.
        relation: ObjectId,
        /// Its columns, in output order.
        columns: Vec<usize>,
    },
    /// Rows known at planning: VALUES, or one empty row for a SELECT without FROM.
    Constant(RecordBatch),
    /// Filter and projection in one. Stateless.
    Map(Map),
    /// Explodes list columns. Stateless.
    Unnest(Unnest),
    /// UNION ALL of inputs with one schema. Stateless.
    Union(Vec<Plan>),
    /// The same rows, spread over workers by columns of theirs: what an index keeps. Stateless.
    Arrange(Arrange),
    /// GROUP BY. Without aggregates it is DISTINCT on the keys.
    Aggregate(Aggregate),
    /// A join of two inputs on equal keys and a residual condition.
    Join(Box<Join>),
    /// The first rows of each partition in an order: `ORDER BY … LIMIT` and `ROW_NUMBER() … <= n`.
    TopN(TopN),
    /// Window functions over partitions.
    Over(Over),
    /// Rows between two instants of the clock.
    Temporal(Box<Temporal>),
    /// `WITH RECURSIVE`.
    Recursion(Box<Recursion>),
    /// In a recursion's step alone: the rows of the round before (0), or an input of the recursion by its port.
    Given(usize),
    /// Any other sub-plan, run in batch over its inputs; the difference is emitted.
    Recompute(Recompute),
}

/// Filter and projection: keeps rows for which `predicate` is true, then computes `expressions` over the kept rows.
#[derive(Debug, Clone)]
pub struct Map {
    /// The input.
    pub input: Box<Plan>,
    /// Over the input's columns; `None` keeps every row.
    pub predicate: Option<Arc<dyn PhysicalExpr>>,
    /// Over the input's columns, one per output column.
    pub expressions: Vec<Arc<dyn PhysicalExpr>>,
}

/// The input's rows where a hash of `keys` says.
#[derive(Debug, Clone)]
pub struct Arrange {
    /// The input.
    pub input: Box<Plan>,
    /// Indices of the columns, by which the rows are kept, too.
    pub keys: Vec<usize>,
}

/// One output row per element of the list columns; other columns are repeated.
#[derive(Debug, Clone)]
pub struct Unnest {
    /// The input.
    pub input: Box<Plan>,
    /// Indices of the list columns exploded together.
    pub list_columns: Vec<usize>,
    /// Where each output column comes from.
    pub output: Vec<UnnestColumn>,
    /// Keep one row, with a null, for a null list; otherwise it gives no row. An empty list never gives one.
    pub preserve_nulls: bool,
}

/// Where an output column of [`Unnest`] comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnnestColumn {
    /// The input's column, repeated.
    Kept(usize),
    /// The element of this list column.
    Element(usize),
    /// Field `.1` of struct column `.0`.
    Field(usize, usize),
}

/// GROUP BY `keys` with `aggregates`. Output columns: the keys, then the aggregates. With no keys there is exactly one
/// output row, also over an empty input.
#[derive(Debug, Clone)]
pub struct Aggregate {
    /// The input.
    pub input: Box<Plan>,
    /// Indices of the key columns. Nulls are equal to each other.
    pub keys: Vec<usize>,
    /// The aggregates, in output order.
    pub aggregates: Vec<AggregateCall>,
}

/// One aggregate of a GROUP BY.
#[derive(Debug, Clone)]
pub struct AggregateCall {
    /// The function, by which the invertible ones are recognised (by name) and others are re-evaluated.
    pub function: Arc<AggregateUDF>,
    /// Indices of the argument columns in the input.
    pub arguments: Vec<usize>,
    /// Index of a boolean column: only rows where it is true count.
    pub filter: Option<usize>,
    /// Each distinct argument counts once.
    pub distinct: bool,
    /// ORDER BY inside the call.
    pub order_by: Vec<SortColumn>,
    /// The output column's name.
    pub name: String,
    /// The bound physical expression, able to make accumulators, for functions that are re-evaluated.
    pub expression: Arc<datafusion::physical_expr::aggregate::AggregateFunctionExpr>,
}

/// A column and its direction in an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortColumn {
    /// Index of the column.
    pub column: usize,
    /// Largest first.
    pub descending: bool,
    /// Nulls before all values.
    pub nulls_first: bool,
}

/// Which rows a join returns. Sides are in plan order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    /// Matching pairs.
    Inner,
    /// Pairs, and left rows without a match with nulls.
    Left,
    /// Pairs, and right rows without a match with nulls.
    Right,
    /// Pairs, and unmatched rows of both sides.
    Full,
    /// Left rows with a match, once each.
    LeftSemi,
    /// Left rows without a match.
    LeftAnti,
    /// Left rows, each with a last boolean column: has a match (null-aware marks are recomputed).
    LeftMark,
}

/// A join. Output columns: left's then right's (only left's for semi and anti; left's and `mark` for mark).
#[derive(Debug, Clone)]
pub struct Join {
    /// Left input.
    pub left: Plan,
    /// Right input.
    pub right: Plan,
    /// Which rows are returned.
    pub kind: JoinKind,
    /// Key columns of the left input; none means a cross join, with all rows on one shard.
    pub left_keys: Vec<usize>,
    /// Key columns of the right input, pairwise of the same type.
    pub right_keys: Vec<usize>,
    /// `IS NOT DISTINCT FROM` keys: null matches null. Otherwise a null key matches nothing.
    pub nulls_equal: bool,
    /// Over the left's columns followed by the right's; a pair matches only when it is true.
    pub residual: Option<Arc<dyn PhysicalExpr>>,
    /// Whether the rows of the left and of the right input are not kept by the join, but looked up where their relation keeps them
    /// by the very keys ([`lookups`]).
    pub looks_up: [bool; 2],
}

/// The rows at positions `skip..skip + fetch` of each partition, in `order`, ties broken by the row encoding.
/// Output columns: the input's, then the row number (Int64/UInt64 as `schema` says) when `with_row_number`.
#[derive(Debug, Clone)]
pub struct TopN {
    /// The input.
    pub input: Box<Plan>,
    /// Partition columns; none is one partition.
    pub partition: Vec<usize>,
    /// The order within a partition.
    pub order: Vec<SortColumn>,
    /// Rows passed over first.
    pub skip: usize,
    /// Rows returned.
    pub fetch: usize,
    /// Append the 1-based position as a last column.
    pub with_row_number: bool,
}

impl TopN {
    /// The order without the columns at its end that only break ties the way the kernels do: by all columns, ascending, nulls
    /// last. Partition columns are equal within a partition.
    pub fn leading_order(&self) -> &[SortColumn] {
        let n_columns = self.input.schema.fields().len();
        let breaks_ties = |n_leading: &usize| {
            let (leading, rest) = self.order.split_at(*n_leading);
            let is_known = |column| self.partition.contains(&column) || self.order.iter().any(|by| by.column == column);
            !leading.is_empty()
                && (0..n_columns).all(is_known)
                && rest.iter().all(|by| !by.descending && !by.nulls_first)
                && rest.windows(2).all(|pair| pair[0].column < pair[1].column)
        };
        let n_leading = (0..self.order.len()).find(breaks_ties).unwrap_or(self.order.len());
        &self.order[..n_leading]
    }
}

/// Window functions of one partitioning and order. Output columns: the input's first ones, then one per window.
#[derive(Debug, Clone)]
pub struct Over {
    /// The input; the columns it has beyond those of the output hold computed keys.
    pub input: Box<Plan>,
    /// Partition columns; none is one partition of all rows.
    pub partition: Vec<usize>,
    /// The order within a partition.
    pub order: Vec<SortColumn>,
    /// The functions, over one partition in order.
    pub windows: Vec<Arc<dyn WindowExpr>>,
    /// Of each function, the rows it looks at.
    pub reach: Vec<Reach>,
    /// The functions as EXPLAIN shows them.
    pub describe: String,
}

/// The rows of its partition that a window function looks at for one of them.
#[derive(Debug, Clone)]
pub enum Reach {
    /// From the start to the row and its peers.
    Running(Running),
    /// Rows at this distance at most.
    Near {
        /** Towards the start. */
        before: usize,
        /** Towards the end. */
        after: usize,
    },
    /// All.
    Whole,
}

/// A window function that can go on from where it stood.
#[derive(Debug, Clone)]
pub enum Running {
    /// `row_number()`
    RowNumber,
    /// `rank()`
    Rank,
    /// `dense_rank()`
    DenseRank,
    /// An aggregate over a frame from the start to the current row.
    Aggregate {
        /** A frame of ROWS ends with the row, others with its last peer. */
        by_row: bool,
        /** FILTER, over the input's columns. */
        filter: Option<Arc<dyn PhysicalExpr>>,
    },
}

/// The rows whose instants enclose the clock: `now() >= enters` and `now() < leaves`, in microseconds since 1970. Output columns: the
/// input's first ones.
#[derive(Debug, Clone)]
pub struct Temporal {
    /// The one row of the clock.
    pub clock: Plan,
    /// The input; the columns it has beyond those of the output hold instants.
    pub input: Plan,
    /// Column of the instant from which on a row is there; none is always. A null is never there.
    pub enters: Option<usize>,
    /// Column of the instant before which a row is there; none is for ever. A null is never there.
    pub leaves: Option<usize>,
}

/// `first UNION [ALL] step`, where the step reads the rows of the round before: those of `first` are of round 0, and what the step
/// makes of round `n` is of round `n + 1`. With UNION a row is there once, in its first round. Output columns: those of `first`.
#[derive(Debug, Clone)]
pub struct Recursion {
    /// The rows of round 0: input 0.
    pub first: Plan,
    /// What the step reads beside the recursion: inputs 1 and up.
    pub others: Vec<Plan>,
    /// All rounds at once: it reads rows of `first`'s columns and their round ([`ROUND`], the last column), and keeps the round with
    /// what it makes of them.
    pub step: Plan,
    /// UNION, not UNION ALL.
    pub is_distinct: bool,
}

/// The name of the column in which a recursion's rows carry their round inside its step.
pub const ROUND: &str = "$round";

/// A sub-plan kept current by running it in batch.
#[derive(Debug, Clone)]
pub struct Recompute {
    /// Inputs, whose integrated rows the query reads as its tables `0..n`.
    pub inputs: Vec<Plan>,
    /// The query.
    pub query: Arc<dyn BatchQuery>,
}

/// A batch query over in-memory inputs, opaque to operators.
#[async_trait::async_trait]
pub trait BatchQuery: std::fmt::Debug + Send + Sync {
    /// Runs over `inputs[i]`, the rows of input `i` (weights already expanded), and returns all result rows.
    async fn run(&self, inputs: Vec<Vec<RecordBatch>>) -> Result<Vec<RecordBatch>>;
    /// One line for EXPLAIN: the operator that has no incremental way here.
    fn describe(&self) -> String;
}

/// `schema`, with the round of a recursion's row as a last column.
pub(crate) fn with_round(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().cloned().chain([Arc::new(round_field())]);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn round_field() -> Field {
    Field::new(ROUND, DataType::Int64, true)
}

/// The same columns, each of which may be null.
fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()))
}

/// How a plan node is maintained, as EXPLAIN says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maintenance {
    /// Keeps nothing.
    Stateless,
    /// Cost grows with the change.
    Incremental,
    /// Runs again in batch when an input changes.
    Recompute,
}

impl Plan {
    /// How this node (not its inputs) is maintained.
    pub fn maintenance(&self) -> Maintenance {
        match &self.node {
            Node::Scan { .. } | Node::Constant(_) | Node::Map(_) | Node::Unnest(_) | Node::Union(_) | Node::Arrange(_) | Node::Given(_) => {
                Maintenance::Stateless
            }
            Node::Aggregate(_) | Node::Join(_) | Node::TopN(_) | Node::Over(_) | Node::Temporal(_) | Node::Recursion(_) => {
                Maintenance::Incremental
            }
            Node::Recompute(_) => Maintenance::Recompute,
        }
    }

    /// The inputs, left to right. A recursion's step is no input: it is part of the operator.
    pub fn inputs(&self) -> Vec<&Plan> {
        match &self.node {
            Node::Scan { .. } | Node::Constant(_) | Node::Given(_) => vec![],
            Node::Map(map) => vec![&map.input],
            Node::Unnest(unnest) => vec![&unnest.input],
            Node::Union(inputs) => inputs.iter().collect(),
            Node::Arrange(arrange) => vec![&arrange.input],
            Node::Aggregate(aggregate) => vec![&aggregate.input],
            Node::Join(join) => vec![&join.left, &join.right],
            Node::TopN(top) => vec![&top.input],
            Node::Over(over) => vec![&over.input],
            Node::Temporal(temporal) => vec![&temporal.clock, &temporal.input],
            Node::Recursion(recursion) => std::iter::once(&recursion.first).chain(&recursion.others).collect(),
            Node::Recompute(recompute) => recompute.inputs.iter().collect(),
        }
    }

    /// The inputs, left to right.
    fn inputs_mut(&mut self) -> Vec<&mut Plan> {
        match &mut self.node {
            Node::Scan { .. } | Node::Constant(_) | Node::Given(_) => vec![],
            Node::Map(map) => vec![&mut map.input],
            Node::Unnest(unnest) => vec![&mut unnest.input],
            Node::Union(inputs) => inputs.iter_mut().collect(),
            Node::Arrange(arrange) => vec![&mut arrange.input],
            Node::Aggregate(aggregate) => vec![&mut aggregate.input],
            Node::Join(join) => {
                let Join { left, right, .. } = &mut **join;
                vec![left, right]
            }
            Node::TopN(top) => vec![&mut top.input],
            Node::Over(over) => vec![&mut over.input],
            Node::Temporal(temporal) => {
                let Temporal { clock, input, .. } = &mut **temporal;
                vec![clock, input]
            }
            Node::Recursion(recursion) => std::iter::once(&mut recursion.first).chain(&mut recursion.others).collect(),
            Node::Recompute(recompute) => recompute.inputs.iter_mut().collect(),
        }
    }

    /// All rows of a relation, to be kept by `keys`.
    pub fn index(relation: ObjectId, schema: SchemaRef, keys: Vec<usize>) -> Self {
        let node = Node::Scan { relation, columns: (0..schema.fields().len()).collect() };
        // Rows that are only ever added are kept without a key.
        let plan = |node| Self { node, schema: Arc::clone(&schema), append_only: false };
        plan(Node::Arrange(Arrange { input: Box::new(plan(node)), keys }))
    }

    /// Lets every column be null, here and below. What a logical plan says of that is not to be relied upon: a scalar subquery
    /// that became a join gives nulls where its column could not be null.
    fn allow_nulls(&mut self) {
        self.schema = nullable(&self.schema);
        if let Node::Constant(rows) = &mut self.node {
            let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
            *rows = RecordBatch::try_new_with_options(nullable(rows.schema_ref()), rows.columns().to_vec(), &options)
                .expect("columns that may be null hold any values");
        }
        if let Node::Recursion(recursion) = &mut self.node {
            recursion.step.allow_nulls();
        }
        self.inputs_mut().into_iter().for_each(Self::allow_nulls);
    }

    /// Whether any part of it is run in batch again.
    pub fn is_recomputed(&self) -> bool {
        let mut is_recomputed = false;
        self.visit(&mut |plan| is_recomputed |= plan.maintenance() == Maintenance::Recompute);
        is_recomputed
    }

    /// The relations scanned anywhere below, each once, in plan order.
    pub fn relations(&self) -> Vec<ObjectId> {
        let mut found = Vec::new();
        self.visit(&mut |plan| {
            if let Node::Scan { relation, .. } = &plan.node {
                if !found.contains(relation) {
                    found.push(*relation);
                }
            }
        });
        found
    }

    /// The columns by which readers of the result will look for rows: those it is arranged or grouped by, else all.
    pub fn lookup_key(&self) -> Vec<usize> {
        if let Node::Arrange(arrange) = &self.node {
            return arrange.keys.clone();
        }
        self.grouped_by().filter(|key| !key.is_empty()).unwrap_or_else(|| (0..self.schema.fields().len()).collect())
    }

    /// The output columns that are the group's, when each group has a row at most and all of them are there.
    fn grouped_by(&self) -> Option<Vec<usize>> {
        match &self.node {
            Node::Aggregate(aggregate) => Some((0..aggregate.keys.len()).collect()),
            Node::Map(map) => {
                let place = |key: usize| map.expressions.iter().position(|expression| lower_map::as_column(expression) == Some(key));
                map.input.grouped_by()?.into_iter().map(place).collect()
            }
            _ => None,
        }
    }

    /// Calls `each` for this node and all below it, inputs first.
    pub fn visit<'a>(&'a self, each: &mut dyn FnMut(&'a Plan)) {
        for input in self.inputs() {
            input.visit(each);
        }
        each(self);
    }

    /// A constant's rows as the changes of its first epoch.
    pub fn constant_changes(rows: &RecordBatch) -> ChangeBatch {
        ChangeBatch::inserts(rows.clone())
    }
}
