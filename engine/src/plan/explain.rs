//! Plans as text, one line per operator: what it does, how it is maintained, its keys and what bounds its state.

use std::cell::Cell;
use std::sync::Arc;

use arrow::datatypes::Schema;
use catalog::ObjectId;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;

use super::sharing::Operator;
use super::{AggregateCall, Join, JoinKind, Maintenance, Map, Node, Over, Plan, Reach, SortColumn, Temporal, TopN};
use crate::time::CLOCK;

/// The operator tree, two spaces per level; what several operators read is spelled out once. `name_of` gives relations their
/// names.
pub fn operators(plan: &Plan, name_of: &dyn Fn(ObjectId) -> String) -> Vec<String> {
    let mut lines = Vec::new();
    let tree = Tree::new(plan, None);
    tree.explain(tree.operators.len() - 1, name_of, 0, &mut lines);
    lines
}

/// The operators of a plan or, in it, of a recursion's step.
struct Tree<'a> {
    operators: Vec<Operator<'a>>,
    is_explained: Vec<Cell<bool>>,
    /// Where the recursion stands whose step this is.
    around: Option<(&'a Tree<'a>, usize)>,
}

impl<'a> Tree<'a> {
    fn new(plan: &'a Plan, around: Option<(&'a Tree<'a>, usize)>) -> Self {
        let operators = plan.operators();
        Self { is_explained: vec![Cell::new(false); operators.len()], operators, around }
    }

    fn explain(&self, index: usize, name_of: &dyn Fn(ObjectId) -> String, level: usize, lines: &mut Vec<String>) {
        let Operator { plan, inputs } = &self.operators[index];
        if let (Node::Given(port @ 1..), Some((tree, recursion))) = (&plan.node, self.around) {
            return tree.explain(tree.operators[recursion].inputs[*port], name_of, level, lines);
        }
        let what = describe(plan, name_of);
        let state = state_bound(plan, name_of).map_or(String::new(), |bound| format!(" state: {bound}"));
        let is_repeated = self.is_explained[index].replace(true) && !inputs.is_empty();
        let shared = if is_repeated { " (shared, see above)" } else { "" };
        lines.push(format!("{}{what} [{}]{state}{shared}", "  ".repeat(level), maintenance(plan)));
        if is_repeated {
            return;
        }
        if let Node::Recursion(recursion) = &plan.node {
            self.explain(inputs[0], name_of, level + 1, lines);
            let step = Tree::new(&recursion.step, Some((self, index)));
            return step.explain(step.operators.len() - 1, name_of, level + 1, lines);
        }
        inputs.iter().for_each(|input| self.explain(*input, name_of, level + 1, lines));
    }
}

fn maintenance(plan: &Plan) -> &'static str {
    match plan.maintenance() {
        Maintenance::Stateless => "stateless",
        Maintenance::Incremental => "incremental",
        Maintenance::Recompute => "recompute",
    }
}

fn describe(plan: &Plan, name_of: &dyn Fn(ObjectId) -> String) -> String {
    match &plan.node {
        Node::Scan { relation: CLOCK, .. } => "Clock".into(),
        Node::Scan { relation, .. } => format!("Scan {} ({})", name_of(*relation), names(&plan.schema, 0..plan.schema.fields().len())),
        Node::Constant(rows) => format!("Constant {} row{}", rows.num_rows(), if rows.num_rows() == 1 { "" } else { "s" }),
        Node::Map(map) => describe_map(map, &plan.schema),
        Node::Unnest(unnest) => format!("Unnest {}", names(&unnest.input.schema, unnest.list_columns.iter().copied())),
        Node::Union(inputs) => format!("Union all of {} inputs", inputs.len()),
        Node::Arrange(arrange) => format!("Arrange keys: {}", names(&plan.schema, arrange.keys.iter().copied())),
        Node::Aggregate(aggregate) => {
            let keys = names(&aggregate.input.schema, aggregate.keys.iter().copied());
            match aggregate.aggregates.as_slice() {
                [] => format!("Distinct keys: {keys}"),
                calls => {
                    let calls = calls.iter().map(|call| describe_call(call, &aggregate.input.schema)).collect::<Vec<_>>().join(", ");
                    let keys = if keys.is_empty() { "none".to_string() } else { keys };
                    format!("Aggregate {calls} keys: {keys}")
                }
            }
        }
        Node::Join(join) => describe_join(join),
        Node::TopN(top) => describe_top(top),
        Node::Over(over) => {
            let partition = names(&over.input.schema, over.partition.iter().copied());
            let order_by = order(&over.input.schema, &over.order);
            let order_by = if order_by.is_empty() { order_by } else { format!(" order by {order_by}") };
            let per = if partition.is_empty() { String::new() } else { format!(" per {partition}") };
            format!("Over {}{per}{order_by}", over.describe)
        }
        Node::Temporal(temporal) => describe_temporal(temporal),
        Node::Recursion(recursion) => {
            let all = if recursion.is_distinct { "" } else { " all" };
            format!("Recursion union{all} ({})", names(&plan.schema, 0..plan.schema.fields().len()))
        }
        Node::Given(0) => format!("Rows of the round before ({})", names(&plan.schema, 0..plan.schema.fields().len())),
        Node::Given(port) => format!("Input {port} of the recursion"),
        Node::Recompute(recompute) => format!("Recompute {}", recompute.query.describe()),
    }
}

fn describe_map(map: &Map, schema: &Schema) -> String {
    let shown = map.expressions.iter().zip(schema.fields()).map(|(value, field)| match expression(value) {
        text if text == short(field.name()) => text,
        text => format!("{text} AS {}", short(field.name())),
    });
    let shown = shown.collect::<Vec<_>>().join(", ");
    match &map.predicate {
        Some(predicate) => format!("Map ({shown}) where {}", expression(predicate)),
        None => format!("Map ({shown})"),
    }
}

fn describe_call(call: &AggregateCall, schema: &Schema) -> String {
    let distinct = if call.distinct { "distinct " } else { "" };
    let arguments = names(schema, call.arguments.iter().copied());
    let order = if call.order_by.is_empty() { String::new() } else { format!(" order by {}", order(schema, &call.order_by)) };
    let filter = call.filter.map_or(String::new(), |filter| format!(" filter ({})", schema.field(filter).name()));
    format!("{}({distinct}{arguments}{order}){filter}", call.function.name())
}

fn describe_join(join: &Join) -> String {
    let kind = match join.kind {
        JoinKind::Inner if join.left_keys.is_empty() => "cross",
        JoinKind::Inner => "inner",
        JoinKind::Left => "left",
        JoinKind::Right => "right",
        JoinKind::Full => "full",
        JoinKind::LeftSemi => "semi",
        JoinKind::LeftAnti => "anti",
        JoinKind::LeftMark => "mark",
    };
    let equal = if join.nulls_equal { "is not distinct from" } else { "=" };
    let pairs = join.left_keys.iter().zip(&join.right_keys);
    let pairs = pairs.map(|(left, right)| {
        format!("left.{} {equal} right.{}", join.left.schema.field(*left).name(), join.right.schema.field(*right).name())
    });
    let pairs = pairs.collect::<Vec<_>>().join(" and ");
    let on = if pairs.is_empty() { String::new() } else { format!(" on {pairs}") };
    let residual = join.residual.as_ref().map_or(String::new(), |residual| format!(" where {}", expression(residual)));
    let keys = names(&join.left.schema, join.left_keys.iter().copied());
    let keys = if keys.is_empty() { "none".to_string() } else { keys };
    format!("Join {kind}{on}{residual} keys: {keys}")
}

fn describe_top(top: &TopN) -> String {
    let partition = names(&top.input.schema, top.partition.iter().copied());
    let partition = if partition.is_empty() { String::new() } else { format!(" per {partition}") };
    format!("TopN {}{partition} order by {}", rows(top), order(&top.input.schema, &top.order))
}

fn describe_temporal(temporal: &Temporal) -> String {
    let instant = |column: usize| names(&temporal.input.schema, [column]);
    let enters = temporal.enters.map(|column| format!("{} <= now", instant(column)));
    let leaves = temporal.leaves.map(|column| format!("now < {}", instant(column)));
    format!("Temporal filter where {}", enters.into_iter().chain(leaves).collect::<Vec<_>>().join(" and "))
}

fn rows(top: &TopN) -> String {
    let last = top.skip.saturating_add(top.fetch);
    match (top.skip, top.fetch) {
        (0, usize::MAX) => "all rows".into(),
        (0, 1) => "first row".into(),
        (0, fetch) => format!("first {fetch} rows"),
        (skip, usize::MAX) => format!("rows after {skip}"),
        (skip, _) => format!("rows {} to {last}", skip + 1),
    }
}

/// What bounds the operator's state; `None` for those that keep none.
fn state_bound(plan: &Plan, name_of: &dyn Fn(ObjectId) -> String) -> Option<String> {
    match &plan.node {
        Node::Scan { .. } | Node::Constant(_) | Node::Map(_) | Node::Unnest(_) | Node::Union(_) | Node::Arrange(_) | Node::Given(_) => None,
        Node::Aggregate(aggregate) => {
            let kept =
                aggregate.aggregates.iter().filter(|call| keeps_values(call, aggregate.input.append_only)).map(|call| call.function.name());
            let kept = kept.collect::<Vec<_>>();
            let groups = if aggregate.keys.is_empty() { "one row" } else { "one row per group" };
            Some(match kept.as_slice() {
                [] => groups.into(),
                names => format!("{groups}, and the values of {}", names.join(", ")),
            })
        }
        Node::Join(join) => Some(rows_of_join(join, name_of)),
        Node::TopN(top) => {
            let per = if top.partition.is_empty() { "" } else { " per partition" };
            Some(match (top.input.append_only, top.skip.checked_add(top.fetch)) {
                (true, Some(1)) => format!("first row{per} (append-only input)"),
                (true, Some(last)) if top.fetch < usize::MAX => format!("first {last} rows{per} (append-only input)"),
                _ => "all input rows".into(),
            })
        }
        Node::Over(over) => Some(format!("all input rows; a change reads {}", describe_reach(over))),
        Node::Temporal(_) => Some("rows that will enter or leave".into()),
        Node::Recursion(recursion) if recursion.is_distinct => Some("the rounds of each row; on one worker".into()),
        Node::Recursion(_) => Some("that of its operators; on one worker".into()),
        Node::Recompute(_) => Some("all input rows".into()),
    }
}

/// The rows that a join keeps, and those that it looks up in the state of a relation.
fn rows_of_join(join: &Join, name_of: &dyn Fn(ObjectId) -> String) -> String {
    let relation = |side: &Plan| match &side.node {
        Node::Scan { relation, .. } => name_of(*relation),
        _ => String::new(),
    };
    match join.looks_up {
        [false, false] => "rows of both inputs".into(),
        [true, false] => format!("rows of the right input; the left's are looked up in {}", relation(&join.left)),
        [false, true] => format!("rows of the left input; the right's are looked up in {}", relation(&join.right)),
        [true, true] => format!("none; rows are looked up in {} and {}", relation(&join.left), relation(&join.right)),
    }
}

/// The rows that a change makes an operator of windows read, of its partition or, without one, of all.
fn describe_reach(over: &Over) -> &'static str {
    let is_whole = over.reach.iter().any(|reach| matches!(reach, Reach::Whole));
    let is_running = over.reach.iter().any(|reach| matches!(reach, Reach::Running(_)));
    match (is_whole, is_running, over.partition.is_empty()) {
        (true, _, true) => "all of them",
        (true, _, false) => "its partition",
        (false, true, _) => "the rows after it that change",
        (false, false, _) => "the rows around it",
    }
}

/// True when retractions, or the function itself, need the group's values and not just a summary of them.
fn keeps_values(call: &AggregateCall, append_only: bool) -> bool {
    match call.function.name() {
        "count" | "sum" | "avg" | "mean" | "stddev" | "stddev_pop" | "var" | "var_pop" | "var_samp" | "stddev_samp" => call.distinct,
        "min" | "max" | "bool_and" | "bool_or" => !append_only,
        _ => true,
    }
}

fn names(schema: &Schema, columns: impl IntoIterator<Item = usize>) -> String {
    columns.into_iter().map(|column| short(schema.field(column).name())).collect::<Vec<_>>().join(", ")
}

fn order(schema: &Schema, order: &[SortColumn]) -> String {
    let shown = order.iter().map(|sort| {
        let direction = if sort.descending { " desc" } else { "" };
        // nulls are largest unless the query says otherwise
        let nulls = match (sort.nulls_first, sort.descending) {
            (true, false) => " nulls first",
            (false, true) => " nulls last",
            _ => "",
        };
        format!("{}{direction}{nulls}", short(schema.field(sort.column).name()))
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// A column's name without the window that DataFusion writes into it.
fn short(name: &str) -> &str {
    let window = [") PARTITION BY [", ") ORDER BY ["].iter().filter_map(|mark| name.find(mark)).min();
    match window {
        Some(end) if name.contains(" BETWEEN ") => &name[..=end],
        _ => name,
    }
}

/// An expression as text, without the column numbers that DataFusion shows.
pub(super) fn expression(expression: &Arc<dyn PhysicalExpr>) -> String {
    let shortened = Arc::clone(expression).transform_up(|node| match node.downcast_ref::<Column>() {
        Some(column) => Ok(Transformed::yes(Arc::new(Column::new(short(column.name()), column.index())) as Arc<dyn PhysicalExpr>)),
        None => Ok(Transformed::no(node)),
    });
    let text = shortened.expect("renaming columns does not fail").data.to_string();
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find('@') {
        let digits = rest[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
        shown.push_str(&rest[..at]);
        if digits == 0 {
            shown.push('@');
        }
        rest = &rest[at + 1 + digits..];
    }
    shown + rest
}
