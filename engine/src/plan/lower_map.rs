//! The stateless operators: projections and filters fused into one [`Map`], columns pushed into the scan, unnest, union and
//! constants.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, NullHandling};
use datafusion::logical_expr::Operator;
use datafusion::logical_expr::logical_plan::{EmptyRelation, Filter, Projection, Union, Unnest as LogicalUnnest, Values};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Column};
use datafusion::physical_expr::utils::collect_columns;

use super::lower::{Lowering, column, columns_of};
use super::{Map, Node, Plan, Unnest, UnnestColumn};
use crate::Result;

impl Lowering<'_> {
    pub(super) fn projection(&self, projection: &Projection) -> Result<Option<Plan>> {
        let Some(expressions) = self.compile_all(&projection.expr, projection.input.schema()) else { return Ok(None) };
        let schema = Arc::new(projection.schema.as_arrow().clone());
        Ok(Some(map(self.lower(&projection.input)?, None, expressions, schema)))
    }

    pub(super) fn filter(&self, filter: &Filter) -> Result<Option<Plan>> {
        let Some(predicate) = self.compile(&filter.predicate, filter.input.schema()) else { return Ok(None) };
        let input = self.lower(&filter.input)?;
        let schema = Arc::clone(&input.schema);
        Ok(Some(map(input, Some(predicate), columns_of(&schema), schema)))
    }

    pub(super) fn union(&self, union: &Union) -> Result<Option<Plan>> {
        let schema: SchemaRef = Arc::new(union.schema.as_arrow().clone());
        let inputs = union.inputs.iter().map(|input| Ok(cast_to(self.lower(input)?, &schema))).collect::<Result<Vec<_>>>()?;
        let append_only = inputs.iter().all(|input| input.append_only);
        Ok(Some(Plan { node: Node::Union(inputs), schema, append_only }))
    }

    /// List columns exploded once, side by side; structs and nested depths are recomputed.
    pub(super) fn unnest(&self, unnest: &LogicalUnnest) -> Result<Option<Plan>> {
        let lists: Vec<usize> = unnest.list_type_columns.iter().map(|(list, _)| *list).collect();
        let is_repeated = lists.iter().enumerate().any(|(place, list)| lists[..place].contains(list));
        let depth = unnest.list_type_columns.iter().map(|(_, element)| element.depth).max().unwrap_or(1);
        if is_repeated || depth > 1 && lists.len() > 1 {
            return Ok(None);
        }
        let preserve_nulls = match unnest.options.null_handling {
            NullHandling::Preserve => true,
            NullHandling::Drop => false,
            NullHandling::PreserveAndExpandEmpty => return Ok(None),
        };
        let output = unnest_columns(unnest, &lists);
        let schema: SchemaRef = Arc::new(unnest.schema.as_arrow().clone());
        let mut input = self.lower(&unnest.input)?;
        // A list of lists is one of elements first.
        for _ in 1..depth {
            let Some(of_elements) = with_elements(&input.schema, &lists) else { return Ok(None) };
            let output = 0..input.schema.fields().len();
            let output =
                output.map(|column| if lists.contains(&column) { UnnestColumn::Element(column) } else { UnnestColumn::Kept(column) });
            input = unnested(input, &lists, output.collect(), preserve_nulls, of_elements);
        }
        Ok(Some(unnested(input, &lists, output, preserve_nulls, schema)))
    }

    pub(super) fn values(&self, values: &Values) -> Result<Option<Plan>> {
        let schema: SchemaRef = Arc::new(values.schema.as_arrow().clone());
        let nothing = DFSchema::empty();
        let one_row = one_row();
        let mut columns: Vec<Vec<ArrayRef>> = vec![Vec::new(); schema.fields().len()];
        for row in &values.values {
            let Some(row) = self.compile_all(row, &nothing) else { return Ok(None) };
            for ((expression, cells), field) in row.iter().zip(&mut columns).zip(schema.fields()) {
                let cell = expression.evaluate(&one_row)?.into_array(1)?;
                cells.push(arrow::compute::cast(&cell, field.data_type())?);
            }
        }
        let columns = columns.iter().map(|cells| concat(&cells.iter().map(AsRef::as_ref).collect::<Vec<_>>())).collect::<Result<_, _>>()?;
        let rows = RecordBatch::try_new(Arc::clone(&schema), columns)?;
        Ok(Some(Plan { node: Node::Constant(rows), schema, append_only: true }))
    }

    pub(super) fn empty(&self, empty: &EmptyRelation) -> Plan {
        let schema: SchemaRef = Arc::new(empty.schema.as_arrow().clone());
        let rows = if empty.produce_one_row { one_row() } else { RecordBatch::new_empty(Arc::clone(&schema)) };
        Plan { node: Node::Constant(rows), schema, append_only: true }
    }
}

fn unnested(input: Plan, lists: &[usize], output: Vec<UnnestColumn>, preserve_nulls: bool, schema: SchemaRef) -> Plan {
    let append_only = input.append_only;
    let node = Unnest { input: Box::new(input), list_columns: lists.to_vec(), output, preserve_nulls };
    Plan { node: Node::Unnest(node), schema, append_only }
}

/// Where each output column comes from: a struct's fields stand in its place.
fn unnest_columns(unnest: &LogicalUnnest, lists: &[usize]) -> Vec<UnnestColumn> {
    let from = &unnest.dependency_indices;
    let column = |(place, column): (usize, &usize)| match column {
        list if lists.contains(list) => UnnestColumn::Element(*list),
        one if unnest.struct_type_columns.contains(one) => {
            UnnestColumn::Field(*one, from[..place].iter().filter(|other| *other == one).count())
        }
        kept => UnnestColumn::Kept(*kept),
    };
    from.iter().enumerate().map(column).collect()
}

/// The schema with the type of the lists' elements in place of theirs.
fn with_elements(schema: &Schema, lists: &[usize]) -> Option<SchemaRef> {
    let field = |(column, field): (usize, &Arc<Field>)| match field.data_type() {
        DataType::List(element) if lists.contains(&column) => {
            Some(Arc::new(field.as_ref().clone().with_data_type(element.data_type().clone()).with_nullable(true)))
        }
        _ if lists.contains(&column) => None,
        _ => Some(Arc::clone(field)),
    };
    Some(Arc::new(Schema::new(schema.fields().iter().enumerate().map(field).collect::<Option<Vec<_>>>()?)))
}

fn one_row() -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).expect("a row count needs no columns")
}

/// Filter and projection over `input`, fused with what is below it where that costs nothing.
pub(super) fn map(
    input: Plan,
    predicate: Option<Arc<dyn PhysicalExpr>>,
    expressions: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
) -> Plan {
    if predicate.is_none() && is_identity(&expressions, &input.schema) {
        return relabel(input, schema);
    }
    let append_only = input.append_only;
    match input.node {
        Node::Scan { relation, columns } if predicate.is_none() && expressions.iter().all(is_column) => {
            let columns = expressions.iter().map(|expression| columns[column_index(expression)]).collect();
            Plan { node: Node::Scan { relation, columns }, schema, append_only }
        }
        Node::Map(below) if can_fuse(&below, predicate.as_ref(), &expressions) => {
            let above = predicate.map(|predicate| substitute(predicate, &below.expressions));
            let expressions = expressions.into_iter().map(|expression| substitute(expression, &below.expressions)).collect();
            map(*below.input, both(below.predicate, above), expressions, schema)
        }
        node => {
            let input = Plan { node, schema: input.schema, append_only };
            narrowed(input, predicate, expressions, schema)
        }
    }
}

/// A map that reads only the columns it needs of a scan below it.
fn narrowed(input: Plan, predicate: Option<Arc<dyn PhysicalExpr>>, expressions: Vec<Arc<dyn PhysicalExpr>>, schema: SchemaRef) -> Plan {
    let append_only = input.append_only;
    let mut used: Vec<usize> = predicate.iter().chain(&expressions).flat_map(collect_columns).map(|column| column.index()).collect();
    used.sort_unstable();
    used.dedup();
    let Node::Scan { relation, columns } = &input.node else {
        return Plan { node: Node::Map(Map { input: Box::new(input), predicate, expressions }), schema, append_only };
    };
    if used.len() == columns.len() {
        return Plan { node: Node::Map(Map { input: Box::new(input), predicate, expressions }), schema, append_only };
    }
    let place: HashMap<usize, usize> = used.iter().enumerate().map(|(place, index)| (*index, place)).collect();
    let move_columns = |expression: Arc<dyn PhysicalExpr>| {
        replace_columns(expression, &|found| Arc::new(Column::new(found.name(), place[&found.index()])) as Arc<dyn PhysicalExpr>)
    };
    let node = Node::Scan { relation: *relation, columns: used.iter().map(|index| columns[*index]).collect() };
    let scan_schema = Arc::new(input.schema.project(&used).expect("used columns are columns of the scan"));
    let scan = Plan { node, schema: scan_schema, append_only };
    let predicate = predicate.map(move_columns);
    let expressions = expressions.into_iter().map(move_columns).collect();
    Plan { node: Node::Map(Map { input: Box::new(scan), predicate, expressions }), schema, append_only }
}

/// True when the lower map computes nothing, or each of its computed columns is used at most once and only after its filter.
fn can_fuse(below: &Map, predicate: Option<&Arc<dyn PhysicalExpr>>, expressions: &[Arc<dyn PhysicalExpr>]) -> bool {
    let is_cheap = |expression: &Arc<dyn PhysicalExpr>| is_column(expression) || is_literal(expression);
    if below.expressions.iter().all(is_cheap) {
        return true;
    }
    if predicate.is_some() || !expressions.iter().all(is_cheap) {
        return false;
    }
    // a computed column that is dropped could fail: keep it where it is computed
    let mut uses = vec![0; below.expressions.len()];
    for expression in expressions.iter().filter(|expression| is_column(expression)) {
        uses[column_index(expression)] += 1;
    }
    below.expressions.iter().zip(uses).all(|(expression, n_uses)| is_cheap(expression) || n_uses == 1)
}

fn is_column(expression: &Arc<dyn PhysicalExpr>) -> bool {
    expression.downcast_ref::<Column>().is_some()
}

fn is_literal(expression: &Arc<dyn PhysicalExpr>) -> bool {
    expression.downcast_ref::<datafusion::physical_expr::expressions::Literal>().is_some()
}

/// The column an expression is, when it is nothing else.
pub(super) fn as_column(expression: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    expression.downcast_ref::<Column>().map(Column::index)
}

fn column_index(expression: &Arc<dyn PhysicalExpr>) -> usize {
    as_column(expression).expect("checked to be a column")
}

fn is_identity(expressions: &[Arc<dyn PhysicalExpr>], schema: &Schema) -> bool {
    expressions.len() == schema.fields().len()
        && expressions.iter().enumerate().all(|(index, expression)| as_column(expression) == Some(index))
}

fn substitute(expression: Arc<dyn PhysicalExpr>, columns: &[Arc<dyn PhysicalExpr>]) -> Arc<dyn PhysicalExpr> {
    replace_columns(expression, &|found| Arc::clone(&columns[found.index()]))
}

fn replace_columns(expression: Arc<dyn PhysicalExpr>, replace: &dyn Fn(&Column) -> Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
    let replaced = expression.transform_up(|node| match node.downcast_ref::<Column>() {
        Some(found) => Ok(Transformed::yes(replace(found))),
        None => Ok(Transformed::no(node)),
    });
    replaced.expect("replacing columns does not fail").data
}

/// The lower filter first: what it drops is never seen by the upper one.
fn both(lower: Option<Arc<dyn PhysicalExpr>>, upper: Option<Arc<dyn PhysicalExpr>>) -> Option<Arc<dyn PhysicalExpr>> {
    match (lower, upper) {
        (Some(lower), Some(upper)) => Some(Arc::new(BinaryExpr::new(lower, Operator::And, upper))),
        (one, None) => one,
        (None, one) => one,
    }
}

/// The same rows under the names, nullability and metadata of `schema`, cast where types differ.
pub(super) fn cast_to(input: Plan, schema: &SchemaRef) -> Plan {
    let differs = input.schema.fields().iter().zip(schema.fields()).any(|(from, to)| from.data_type() != to.data_type());
    if !differs {
        return relabel(input, Arc::clone(schema));
    }
    let cast = |(index, to): (usize, &arrow::datatypes::FieldRef)| {
        let from = column(&input.schema, index);
        match input.schema.field(index).data_type() == to.data_type() {
            true => from,
            false => Arc::new(CastExpr::new(from, to.data_type().clone(), None)) as Arc<dyn PhysicalExpr>,
        }
    };
    let expressions = schema.fields().iter().enumerate().map(cast).collect();
    map(input, None, expressions, Arc::clone(schema))
}

/// Other names and metadata for the same columns. Nullability is widened only: an inner node may produce nulls that the
/// outer schema allows.
pub(super) fn relabel(mut input: Plan, schema: SchemaRef) -> Plan {
    if let Node::Constant(rows) = &mut input.node {
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        if let Ok(relabelled) = RecordBatch::try_new_with_options(Arc::clone(&schema), rows.columns().to_vec(), &options) {
            *rows = relabelled;
        }
    }
    input.schema = schema;
    input
}
