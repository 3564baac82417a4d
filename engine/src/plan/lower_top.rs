//! First rows in an order: `ORDER BY … LIMIT`, and a filter on `ROW_NUMBER()`, which is the same for each partition.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::logical_plan::{FetchType, Filter, Limit, SkipType, Sort, Window};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Expr, LogicalPlan, Operator, SortExpr};
use datafusion::physical_expr::expressions::lit;

use super::lower::{Lowering, arrow_schema, column, unaliased};
use super::lower_join::{WithColumns, with_columns};
use super::lower_map::map;
use super::{Node, Plan, SortColumn, TopN};
use crate::Result;

impl Lowering<'_> {
    /// Without a row count a Sort has no meaning for a relation and is dropped.
    pub(super) fn sort(&self, sort: &Sort) -> Result<Option<Plan>> {
        match sort.fetch {
            Some(fetch) => self.first_rows(&sort.input, &[], &sort.expr, Rows { skip: 0, fetch, numbered: None }),
            None => self.lower(&sort.input).map(Some),
        }
    }

    /// LIMIT and OFFSET over the Sort below projections and aliases; without one, over the order of all columns.
    pub(super) fn limit(&self, limit: &Limit) -> Result<Option<Plan>> {
        let (Ok(SkipType::Literal(skip)), Ok(FetchType::Literal(fetch))) = (limit.get_skip_type(), limit.get_fetch_type()) else {
            return Ok(None);
        };
        self.limited(&limit.input, skip, fetch.unwrap_or(usize::MAX))
    }

    fn limited(&self, plan: &LogicalPlan, skip: usize, fetch: usize) -> Result<Option<Plan>> {
        match plan {
            LogicalPlan::Sort(sort) => {
                let below = sort.fetch.map_or(usize::MAX, |fetch| fetch.saturating_sub(skip));
                self.first_rows(&sort.input, &[], &sort.expr, Rows { skip, fetch: fetch.min(below), numbered: None })
            }
            LogicalPlan::Projection(projection) => {
                let Some(expressions) = self.compile_all(&projection.expr, projection.input.schema()) else { return Ok(None) };
                let Some(input) = self.limited(&projection.input, skip, fetch)? else { return Ok(None) };
                Ok(Some(map(input, None, expressions, arrow_schema(plan))))
            }
            LogicalPlan::SubqueryAlias(alias) => self.limited(&alias.input, skip, fetch),
            other => {
                let order: Vec<SortExpr> =
                    other.schema().columns().into_iter().map(|column| Expr::Column(column).sort(true, false)).collect();
                self.first_rows(other, &[], &order, Rows { skip, fetch, numbered: None })
            }
        }
    }

    /// `WHERE row_number() OVER (…) <= n` over one such window; `None` when the filter or the window is anything else.
    pub(super) fn numbered_rows(&self, filter: &Filter) -> Result<Option<Plan>> {
        let Some(Numbered { window, function, columns }) = numbered(&filter.input) else { return Ok(None) };
        let n_input = window.input.schema().fields().len();
        let place = window.schema.columns().swap_remove(n_input);
        let (bounds, rest) = bounds(&over_window(&filter.predicate, &filter.input, &columns)?, &Expr::Column(place));
        let Some(fetch) = bounds.fetch() else { return Ok(None) };
        let Some(rest) = self.compile_all(&rest, &window.schema) else { return Ok(None) };
        let Some(columns) = self.compile_all(&columns, &window.schema) else { return Ok(None) };
        let number = Some(window.schema.field(n_input).as_ref().clone());
        let rows = Rows { skip: bounds.skip(), fetch, numbered: number };
        let Some(top) = self.first_rows(&window.input, &function.params.partition_by, &function.params.order_by, rows)? else {
            return Ok(None);
        };
        Ok(Some(map(top, rest.into_iter().next(), columns, arrow_schema(&filter.input))))
    }

    fn first_rows(&self, input: &LogicalPlan, partition: &[Expr], order: &[SortExpr], rows: Rows) -> Result<Option<Plan>> {
        let expressions = partition.iter().chain(order.iter().map(|sort| &sort.expr));
        let Some(mut expressions) = self.compile_all(expressions, input.schema()) else { return Ok(None) };
        let n_input = input.schema().fields().len();
        if n_input == 0 {
            // Rows are kept by what is in them.
            expressions.push(lit(true));
        }
        let WithColumns { plan, columns } = with_columns(self.lower(input)?, expressions);
        let (partition_columns, order_columns) = columns.split_at(partition.len());
        let order = order_columns.iter().zip(order);
        let order = order.map(|(column, sort)| SortColumn { column: *column, descending: !sort.asc, nulls_first: sort.nulls_first });
        let order = without_repeats(order, partition_columns);
        Ok(Some(rows.of(plan, partition_columns.to_vec(), order, n_input)))
    }
}

/// A column already in the order, or the same all over the partition, decides nothing.
fn without_repeats(order: impl Iterator<Item = SortColumn>, partition: &[usize]) -> Vec<SortColumn> {
    let mut kept: Vec<SortColumn> = Vec::new();
    for sort in order {
        if !partition.contains(&sort.column) && !kept.iter().any(|known| known.column == sort.column) {
            kept.push(sort);
        }
    }
    kept
}

/// Which rows are returned, and the column that numbers them.
struct Rows {
    skip: usize,
    fetch: usize,
    numbered: Option<Field>,
}

impl Rows {
    /// The top rows of `input`, without the columns computed after its first `n_kept`.
    fn of(self, input: Plan, partition: Vec<usize>, order: Vec<SortColumn>, n_kept: usize) -> Plan {
        let width = input.schema.fields().len();
        let mut fields: Vec<Field> = input.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        let with_row_number = self.numbered.is_some();
        fields.extend(self.numbered);
        let schema = Arc::new(Schema::new(fields));
        let node = Node::TopN(TopN { input: Box::new(input), partition, order, skip: self.skip, fetch: self.fetch, with_row_number });
        let top = Plan { node, schema: Arc::clone(&schema), append_only: false };
        if width == n_kept {
            return top;
        }
        let kept: Vec<usize> = (0..n_kept).chain(with_row_number.then_some(width)).collect();
        let expressions = kept.iter().map(|index| column(&schema, *index)).collect();
        let schema = Arc::new(schema.project(&kept).expect("kept columns are columns of the top rows"));
        map(top, None, expressions, schema)
    }
}

/// A window that numbers rows, below projections that only choose among its columns.
struct Numbered<'a> {
    window: &'a Window,
    function: &'a WindowFunction,
    /// What the plan above shows, over the window's columns.
    columns: Vec<Expr>,
}

fn numbered(plan: &LogicalPlan) -> Option<Numbered<'_>> {
    match plan {
        LogicalPlan::Window(window) => {
            let function = row_number(window)?;
            Some(Numbered { window, function, columns: window.schema.columns().into_iter().map(Expr::Column).collect() })
        }
        LogicalPlan::Projection(projection) => {
            let below = numbered(&projection.input)?;
            let places = projection.expr.iter().map(|expression| match unaliased(expression) {
                Expr::Column(column) => projection.input.schema().maybe_index_of_column(column),
                _ => None,
            });
            let columns = places.map(|place| Some(below.columns[place?].clone())).collect::<Option<_>>()?;
            Some(Numbered { columns, ..below })
        }
        LogicalPlan::SubqueryAlias(alias) => numbered(&alias.input),
        _ => None,
    }
}

/// The window's only expression, when it is `ROW_NUMBER()`.
fn row_number(window: &Window) -> Option<&WindowFunction> {
    match window.window_expr.as_slice() {
        [only] => match unaliased(only) {
            Expr::WindowFunction(function) if function.fun.name() == "row_number" && function.params.filter.is_none() => Some(function),
            _ => None,
        },
        _ => None,
    }
}

/// A predicate over `plan` as one over the window below it.
fn over_window(predicate: &Expr, plan: &LogicalPlan, columns: &[Expr]) -> Result<Expr> {
    let moved = predicate.clone().transform(|node| match &node {
        Expr::Column(column) => match plan.schema().maybe_index_of_column(column) {
            Some(place) => Ok(Transformed::yes(columns[place].clone())),
            None => Ok(Transformed::no(node)),
        },
        _ => Ok(Transformed::no(node)),
    })?;
    Ok(moved.data)
}

/// The row numbers a predicate allows, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    first: i128,
    last: i128,
}

impl Bounds {
    fn skip(self) -> usize {
        usize::try_from((self.first - 1).max(0)).unwrap_or(usize::MAX)
    }

    /// `None` when there is no upper bound.
    fn fetch(self) -> Option<usize> {
        (self.last < i128::MAX).then(|| usize::try_from((self.last - self.first.max(1) + 1).max(0)).unwrap_or(usize::MAX))
    }
}

/// Splits a predicate into bounds on `number` and what else it says.
fn bounds(predicate: &Expr, number: &Expr) -> (Bounds, Option<Expr>) {
    let mut bounds = Bounds { first: 1, last: i128::MAX };
    let mut rest = Vec::new();
    for part in split_conjunction(predicate) {
        match bound(part, number) {
            Some(bound) => bounds = Bounds { first: bounds.first.max(bound.first), last: bounds.last.min(bound.last) },
            None => rest.push(part.clone()),
        }
    }
    (bounds, conjunction(rest))
}

fn bound(part: &Expr, number: &Expr) -> Option<Bounds> {
    let Expr::BinaryExpr(comparison) = part else { return None };
    let (operator, literal) = match (uncast(&comparison.left), uncast(&comparison.right)) {
        (left, right) if left == number => (comparison.op, integer(right)?),
        (left, right) if right == number => (comparison.op.swap()?, integer(left)?),
        _ => return None,
    };
    let (least, most) = (1, i128::MAX);
    match operator {
        Operator::Eq => Some(Bounds { first: literal, last: literal }),
        Operator::Lt => Some(Bounds { first: least, last: literal - 1 }),
        Operator::LtEq => Some(Bounds { first: least, last: literal }),
        Operator::Gt => Some(Bounds { first: literal + 1, last: most }),
        Operator::GtEq => Some(Bounds { first: literal, last: most }),
        _ => None,
    }
}

/// Without casts: a row number is in the range of every integer type wide enough to be compared with.
fn uncast(expression: &Expr) -> &Expr {
    match expression {
        Expr::Cast(cast) if cast.field.data_type().is_integer() || cast.field.data_type().is_decimal() => uncast(&cast.expr),
        other => other,
    }
}

fn integer(expression: &Expr) -> Option<i128> {
    let Expr::Literal(value, _) = expression else { return None };
    match value {
        ScalarValue::Int8(value) => value.map(i128::from),
        ScalarValue::Int16(value) => value.map(i128::from),
        ScalarValue::Int32(value) => value.map(i128::from),
        ScalarValue::Int64(value) => value.map(i128::from),
        ScalarValue::UInt8(value) => value.map(i128::from),
        ScalarValue::UInt16(value) => value.map(i128::from),
        ScalarValue::UInt32(value) => value.map(i128::from),
        ScalarValue::UInt64(value) => value.map(i128::from),
        _ => None,
    }
}
