//! Doubles beside numerics, as Postgres has them: the numeric becomes a double. DataFusion would make the double a numeric,
//! which overflows for large values and makes `x > 0.15` fail. Dates beside timestamps likewise: the date becomes a timestamp of the
//! other's kind, where DataFusion would make both one of nanoseconds, which end in 2262. An analyzer rule, to be run before type
//! coercion.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::logical_plan::{Projection, Union};
use datafusion::logical_expr::{Between, BinaryExpr, Case, Expr, ExprSchemable, LogicalPlan, Operator, cast};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::rewritten;

/// The analyzer rule.
#[derive(Debug)]
pub struct NumericsBesideDoubles;

impl AnalyzerRule for NumericsBesideDoubles {
    fn name(&self) -> &str {
        "numerics_beside_doubles"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let of_node = |node: LogicalPlan| rewritten(node, |expression, schema| Ok(beside(expression, schema)))?.transform_data(of_union);
        Ok(plan.transform_up_with_subqueries(of_node)?.data)
    }
}

/// A column that is a double in one input of a UNION and a numeric in another is a double in all. The inputs' columns get the names of
/// the union's: where one input is left, DataFusion takes those for names of its columns, and finds others of that name below.
fn of_union(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Union(Union { inputs, schema }) = &plan else { return Ok(Transformed::no(plan)) };
    // The union's own schema has not heard of a UNION in it that has become one of doubles.
    let schemas = || inputs.iter().map(|input| input.schema()).chain([schema]);
    let types_at = |column: usize| schemas().filter_map(move |schema| schema.fields().get(column).map(|field| field.data_type()));
    let is_mixed = |column: usize| types_at(column).any(DataType::is_floating) && types_at(column).any(DataType::is_decimal);
    let mixed: Vec<usize> = (0..schema.fields().len()).filter(|column| is_mixed(*column)).collect();
    let names: Vec<Column> = schema.columns();
    let is_distinct = |place: usize| names[..place].iter().all(|earlier| earlier.name != names[place].name);
    let are_distinct = (0..names.len()).all(is_distinct);
    let has_own_names = |input: &Arc<LogicalPlan>| are_distinct && input.schema().columns() != names;
    if mixed.is_empty() && !inputs.iter().any(has_own_names) {
        return Ok(Transformed::no(plan));
    }
    let mut alike = Vec::with_capacity(inputs.len());
    for input in inputs {
        let columns = input.schema().iter().zip(&names).enumerate().map(|(place, ((qualifier, field), name))| {
            let column = Expr::Column(Column::from((qualifier, field)));
            let (relation, name) = match are_distinct {
                true => (name.relation.clone(), name.name.as_str()),
                false => (qualifier.cloned(), field.name().as_str()),
            };
            match mixed.contains(&place) && field.data_type().is_decimal() {
                true => cast(column, DataType::Float64).alias_qualified(relation, name),
                false if qualifier == relation.as_ref() && field.name() == name => column,
                false => column.alias_qualified(relation, name),
            }
        });
        alike.push(Arc::new(LogicalPlan::Projection(Projection::try_new(columns.collect(), Arc::clone(input))?)));
    }
    Ok(Transformed::yes(LogicalPlan::Union(match mixed.is_empty() {
        true => Union { inputs: alike, schema: Arc::clone(schema) },
        false => Union::try_new_with_loose_types(alike)?,
    })))
}

fn beside(expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    as_doubles(expression, schema).transform_data(|expression| Ok(as_timestamps(expression, schema))).expect("neither fails")
}

/// A comparison of dates and timestamps as one of timestamps.
fn as_timestamps(expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let type_of = |expression: &Expr| expression.get_type(schema).ok();
    let timestamp = |expression: &Expr| type_of(expression).filter(|it| matches!(it, DataType::Timestamp(TimeUnit::Microsecond, _)));
    let cast_if_date = |side: Box<Expr>, to: &DataType| match type_of(&side) {
        Some(DataType::Date32) => Box::new(cast(*side, to.clone())),
        _ => side,
    };
    match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(op) => {
            let Some(to) = timestamp(&left).or_else(|| timestamp(&right)) else {
                return Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }));
            };
            let (left, right) = (cast_if_date(left, &to), cast_if_date(right, &to));
            Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right }))
        }
        Expr::Between(Between { expr, negated, low, high }) => {
            let Some(to) = timestamp(&expr).or_else(|| timestamp(&low)).or_else(|| timestamp(&high)) else {
                return Transformed::no(Expr::Between(Between { expr, negated, low, high }));
            };
            let [expr, low, high] = [expr, low, high].map(|side| cast_if_date(side, &to));
            Transformed::yes(Expr::Between(Between { expr, negated, low, high }))
        }
        other => Transformed::no(other),
    }
}

fn as_doubles(expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let is_double = |expression: &Expr| expression.get_type(schema).is_ok_and(|data_type| data_type.is_floating());
    let is_numeric = |expression: &Expr| expression.get_type(schema).is_ok_and(|data_type| data_type.is_decimal());
    let double = |expression: Box<Expr>| if is_numeric(&expression) { Box::new(cast(*expression, DataType::Float64)) } else { expression };
    match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if is_double(&left) && is_numeric(&right) || is_numeric(&left) && is_double(&right) =>
        {
            Transformed::yes(Expr::BinaryExpr(BinaryExpr { left: double(left), op, right: double(right) }))
        }
        Expr::Between(Between { expr, negated, low, high })
            if is_double(&expr) && (is_numeric(&low) || is_numeric(&high))
                || is_numeric(&expr) && (is_double(&low) || is_double(&high)) =>
        {
            Transformed::yes(Expr::Between(Between { expr: double(expr), negated, low: double(low), high: double(high) }))
        }
        Expr::Case(case) => {
            let results: Vec<&Expr> = case.when_then_expr.iter().map(|(_, then)| &**then).chain(case.else_expr.as_deref()).collect();
            if !results.iter().any(|result| is_double(result)) || !results.iter().any(|result| is_numeric(result)) {
                return Transformed::no(Expr::Case(case));
            }
            let when_then_expr = case.when_then_expr.into_iter().map(|(when, then)| (when, double(then))).collect();
            Transformed::yes(Expr::Case(Case { expr: case.expr, when_then_expr, else_expr: case.else_expr.map(double) }))
        }
        Expr::InList(InList { expr, list, negated })
            if (is_double(&expr) || list.iter().any(is_double)) && (is_numeric(&expr) || list.iter().any(is_numeric)) =>
        {
            let list = list.into_iter().map(|item| *double(Box::new(item))).collect();
            Transformed::yes(Expr::InList(InList { expr: double(expr), list, negated }))
        }
        Expr::ScalarFunction(ScalarFunction { func, args })
            if OF_ONE_TYPE.contains(&func.name()) && args.iter().any(is_double) && args.iter().any(is_numeric) =>
        {
            let args = args.into_iter().map(|argument| *double(Box::new(argument))).collect();
            Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args }))
        }
        other => Transformed::no(other),
    }
}

/// Functions whose arguments have one type.
const OF_ONE_TYPE: [&str; 5] = ["coalesce", "nullif", "greatest", "least", "make_array"];

fn is_comparison(operator: Operator) -> bool {
    use Operator::*;
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}
