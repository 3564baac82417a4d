//! Aggregates named in a few words, as kernels and as SQL.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use datafusion::functions_aggregate::all_default_aggregate_functions;
use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};

use crate::functions::all_aggregates;
use crate::operators::aggregate::AggregateKernel;
use crate::operators::{Kernel, Output, script};
use crate::plan::{Aggregate, AggregateCall, Node, Plan, SortColumn};

/// `function([DISTINCT] arguments [ORDER BY column]) [FILTER (WHERE filter)]`.
#[derive(Debug, Clone)]
pub(super) struct Call {
    function: &'static str,
    arguments: Vec<&'static str>,
    distinct: bool,
    filter: Option<&'static str>,
    order_by: Option<(&'static str, bool)>,
}

impl Call {
    pub(super) fn new(function: &'static str, arguments: &[&'static str]) -> Self {
        Self { function, arguments: arguments.to_vec(), distinct: false, filter: None, order_by: None }
    }

    pub(super) fn distinct(self) -> Self {
        Self { distinct: true, ..self }
    }

    pub(super) fn filter(self, column: &'static str) -> Self {
        Self { filter: Some(column), ..self }
    }

    pub(super) fn order_by(self, column: &'static str, descending: bool) -> Self {
        Self { order_by: Some((column, descending)), ..self }
    }

    pub(super) fn sql(&self) -> String {
        let distinct = if self.distinct { "DISTINCT " } else { "" };
        let order_by =
            self.order_by.map(|(column, descending)| format!(" ORDER BY {column} {} NULLS FIRST", if descending { "DESC" } else { "ASC" }));
        let filter = self.filter.map(|column| format!(" FILTER (WHERE {column})"));
        format!("{}({distinct}{}{}){}", self.function, self.arguments.join(", "), order_by.unwrap_or_default(), filter.unwrap_or_default())
    }

    fn bind(&self, input: &SchemaRef) -> AggregateCall {
        let index = |name: &str| input.index_of(name).expect("the column is in the schema");
        let column = |name: &str| Arc::new(Column::new(name, index(name))) as Arc<dyn PhysicalExpr>;
        let options = |descending| SortOptions { descending, nulls_first: true };
        let order_by: Vec<_> =
            self.order_by.iter().map(|(name, descending)| PhysicalSortExpr::new(column(name), options(*descending))).collect();
        let function = function(self.function);
        let expression = AggregateExprBuilder::new(Arc::clone(&function), self.arguments.iter().map(|name| column(name)).collect())
            .schema(Arc::clone(input))
            .alias(self.sql())
            .order_by(order_by)
            .with_distinct(self.distinct)
            .build()
            .expect("the call is valid");
        let sort =
            |(name, descending): &(&'static str, bool)| SortColumn { column: index(name), descending: *descending, nulls_first: true };
        AggregateCall {
            function,
            arguments: self.arguments.iter().map(|name| index(name)).collect(),
            filter: self.filter.map(index),
            distinct: self.distinct,
            order_by: self.order_by.iter().map(sort).collect(),
            name: self.sql(),
            expression: Arc::new(expression),
        }
    }
}

fn function(name: &str) -> Arc<AggregateUDF> {
    let mut known = all_aggregates().into_iter().chain(all_default_aggregate_functions());
    known.find(|function| function.name() == name || function.aliases().iter().any(|alias| alias == name)).expect("the function exists")
}

pub(super) fn kernel_of(schema: SchemaRef, keys: &[&str], calls: &[Call], append_only: bool) -> AggregateKernel {
    let input = Plan { node: Node::Union(vec![]), schema: Arc::clone(&schema), append_only };
    let keys = keys.iter().map(|key| schema.index_of(key).expect("the key is in the schema")).collect();
    let aggregates = calls.iter().map(|call| call.bind(&schema)).collect();
    AggregateKernel::new(&Aggregate { input: Box::new(input), keys, aggregates }, append_only).expect("the plan is valid")
}

thread_local! {
    static SCHEMA: std::cell::RefCell<Option<SchemaRef>> = const { std::cell::RefCell::new(None) };
}

/// A kernel over columns given as text; [`check`] and [`step`] read their scripts with the same columns.
pub(super) fn kernel(columns: &str, keys: &[&str], calls: &[Call], append_only: bool) -> AggregateKernel {
    let schema = script::schema(columns);
    SCHEMA.set(Some(Arc::clone(&schema)));
    kernel_of(schema, keys, calls, append_only)
}

fn input_schema() -> SchemaRef {
    SCHEMA.with_borrow(|schema| schema.clone().expect("a kernel was made first"))
}

#[track_caller]
pub(super) fn check(kernel: &mut AggregateKernel, script: &str, expected: &str) {
    script::check(kernel, &[("input", input_schema())], script, expected);
}

pub(super) fn step(kernel: &mut AggregateKernel, changes: &str) -> Output {
    let mut out = Output::default();
    kernel.step(1, vec![vec![script::changes(&input_schema(), changes)]], &mut out).expect("the step succeeds");
    out
}
