//! GROUP BY: a map computes keys, arguments, filters and sort keys as columns, so that the aggregate refers to columns alone.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::logical_expr::expr::{AggregateFunction, NullTreatment};
use datafusion::logical_expr::{Expr, logical_plan};
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};

use super::failure::from_datafusion;
use super::lower::{Lowering, column, unaliased};
use super::lower_join::computed_field;
use super::lower_map::{as_column, map};
use super::{Aggregate, AggregateCall, Node, Plan, SortColumn};
use crate::Result;

impl Lowering<'_> {
    /// `None` for GROUPING SETS, CUBE and ROLLUP, and for expressions without a row-wise form.
    pub(super) fn aggregate(&self, aggregate: &logical_plan::Aggregate) -> Result<Option<Plan>> {
        if matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)]) {
            return Ok(None);
        }
        let Some(keys) = self.compile_all(&aggregate.group_expr, aggregate.input.schema()) else { return Ok(None) };
        let Some(calls) = aggregate.aggr_expr.iter().map(|call| self.call(call, aggregate)).collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        let mut columns = Columns { schema: aggregate.input.schema().as_arrow(), expressions: vec![], fields: vec![] };
        let keys: Vec<usize> = keys.iter().map(|key| columns.key(key)).collect();
        let placed: Vec<PlacedCall> = calls.into_iter().map(|call| call.place(&mut columns)).collect();
        let Columns { expressions, fields, .. } = columns;
        let input_schema: SchemaRef = Arc::new(Schema::new(fields));
        let schema: SchemaRef = Arc::new(aggregate.schema.as_arrow().clone());
        let Some(aggregates) = bind(placed, &input_schema, &schema, keys.len())? else { return Ok(None) };
        let input = self.lower(&aggregate.input)?;
        let append_only = input.append_only && aggregates.is_empty();
        let input = Box::new(map(input, None, expressions, input_schema));
        Ok(Some(Plan { node: Node::Aggregate(Aggregate { input, keys, aggregates }), schema, append_only }))
    }

    fn call(&self, expression: &Expr, aggregate: &logical_plan::Aggregate) -> Option<Call> {
        let Expr::AggregateFunction(function) = unaliased(expression) else { return None };
        let schema = aggregate.input.schema();
        let params = &function.params;
        let filter = match &params.filter {
            Some(filter) => Some(self.compile(filter, schema)?),
            None => None,
        };
        let order_by = params.order_by.iter().map(|sort| Some((self.compile(&sort.expr, schema)?, !sort.asc, sort.nulls_first)));
        Some(Call {
            function: function.clone(),
            arguments: self.compile_all(&params.args, schema)?,
            filter,
            order_by: order_by.collect::<Option<Vec<_>>>()?,
        })
    }
}

/// The columns that the map below an aggregate computes.
struct Columns<'a> {
    schema: &'a Schema,
    expressions: Vec<Arc<dyn PhysicalExpr>>,
    fields: Vec<Field>,
}

impl Columns<'_> {
    /// A new column for a key, which is never shared with another key.
    fn key(&mut self, expression: &Arc<dyn PhysicalExpr>) -> usize {
        let field = match as_column(expression) {
            Some(index) => self.schema.field(index).clone(),
            None => computed_field(expression, self.schema),
        };
        self.fields.push(field);
        self.expressions.push(Arc::clone(expression));
        self.expressions.len() - 1
    }

    /// The column of an expression, shared with whatever computes the same.
    fn of(&mut self, expression: &Arc<dyn PhysicalExpr>) -> usize {
        let known = self.expressions.iter().position(|known| known == expression);
        known.unwrap_or_else(|| self.key(expression))
    }
}

/// A call over the input of the logical node.
struct Call {
    function: AggregateFunction,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    filter: Option<Arc<dyn PhysicalExpr>>,
    order_by: Vec<(Arc<dyn PhysicalExpr>, bool, bool)>,
}

/// A call over columns of the map.
struct PlacedCall {
    function: AggregateFunction,
    arguments: Vec<usize>,
    /// Literal arguments stay literals for the accumulator (a separator, a percentile), beside their column.
    literals: Vec<Option<Arc<dyn PhysicalExpr>>>,
    filter: Option<usize>,
    order_by: Vec<SortColumn>,
}

impl Call {
    fn place(self, columns: &mut Columns<'_>) -> PlacedCall {
        let is_literal = |argument: &Arc<dyn PhysicalExpr>| argument.downcast_ref::<Literal>().is_some();
        PlacedCall {
            arguments: self.arguments.iter().map(|argument| columns.of(argument)).collect(),
            literals: self.arguments.iter().map(|argument| is_literal(argument).then(|| Arc::clone(argument))).collect(),
            filter: self.filter.as_ref().map(|filter| columns.of(filter)),
            order_by: self
                .order_by
                .iter()
                .map(|(expression, descending, nulls_first)| SortColumn {
                    column: columns.of(expression),
                    descending: *descending,
                    nulls_first: *nulls_first,
                })
                .collect(),
            function: self.function,
        }
    }
}

impl PlacedCall {
    fn expression(&self, input: &SchemaRef, name: &str) -> Option<AggregateFunctionExpr> {
        // With DISTINCT the accumulator looks for what it sorts by among its arguments.
        let value = |index: usize| {
            let literal = self.arguments.iter().position(|argument| *argument == index).and_then(|place| self.literals[place].clone());
            literal.unwrap_or_else(|| column(input, index))
        };
        let arguments = self.arguments.iter().map(|argument| value(*argument)).collect();
        let order_by = self.order_by.iter().map(|sort| {
            let options = arrow::compute::SortOptions { descending: sort.descending, nulls_first: sort.nulls_first };
            PhysicalSortExpr::new(value(sort.column), options)
        });
        AggregateExprBuilder::new(Arc::clone(&self.function.func), arguments)
            .schema(Arc::clone(input))
            .order_by(order_by.collect())
            .with_ignore_nulls(self.function.params.null_treatment == Some(NullTreatment::IgnoreNulls))
            .with_distinct(self.function.params.distinct)
            .alias(name)
            .build()
            .ok()
    }
}

/// Fails for a call that no accumulator can be made for: a separator that is no constant.
fn bind(placed: Vec<PlacedCall>, input: &SchemaRef, output: &Schema, n_keys: usize) -> Result<Option<Vec<AggregateCall>>> {
    let mut bound = Vec::with_capacity(placed.len());
    for (place, call) in placed.into_iter().enumerate() {
        let name = output.field(n_keys + place).name().clone();
        let Some(expression) = call.expression(input, &name) else { return Ok(None) };
        expression.create_accumulator().map_err(|error| from_datafusion(error, None))?;
        bound.push(AggregateCall {
            function: Arc::clone(&call.function.func),
            distinct: call.function.params.distinct,
            arguments: call.arguments,
            filter: call.filter,
            order_by: call.order_by,
            name,
            expression: Arc::new(expression),
        });
    }
    Ok(Some(bound))
}
