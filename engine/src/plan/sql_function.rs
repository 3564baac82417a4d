//! `CREATE FUNCTION … LANGUAGE SQL`: a scalar expression over its arguments, put in place of the call while planning.
//!
//! Guaranteed: no engine ever sees such a function, only its body. Arguments are cast to their declared types and the body
//! to the declared result.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DataFusionError, Result as DataFusionResult, ScalarValue};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast;

use super::relation::Names;

/// A user's scalar function.
#[derive(Debug, Clone)]
pub struct SqlFunction {
    /// Its name.
    pub name: String,
    /// Name and type of each argument; an unnamed one is `$n`.
    pub arguments: Vec<(String, DataType)>,
    /// Result type.
    pub returns: DataType,
    /// The body over the argument names.
    pub body: ast::Expr,
}

pub(super) fn simplifier(state: &SessionState) -> ExprSimplifier {
    let context = SimplifyContext::builder()
        .with_config_options(Arc::clone(state.config_options()))
        .with_query_execution_start_time(state.execution_props().query_execution_start_time)
        .build();
    ExprSimplifier::new(context)
}

/// The function as DataFusion calls it; a body that does not plan gives the planning error at the call.
pub(super) fn as_scalar_function(function: SqlFunction, names: &Names<'_>, state: &SessionState) -> Arc<ScalarUDF> {
    let body = plan_body(&function, names, state).map_err(Arc::new);
    let types = function.arguments.iter().map(|(_, data_type)| data_type.clone()).collect();
    let volatility = match &body {
        Ok(body) if body.is_volatile() => Volatility::Volatile,
        _ => Volatility::Immutable,
    };
    let signature = if function.arguments.is_empty() { Signature::nullary(volatility) } else { Signature::exact(types, volatility) };
    Arc::new(ScalarUDF::new_from_impl(Inlined { function: Arc::new(function), body, signature }))
}

fn plan_body(function: &SqlFunction, names: &Names<'_>, state: &SessionState) -> DataFusionResult<Expr> {
    let fields: Vec<Field> = function.arguments.iter().map(|(name, data_type)| Field::new(name, data_type.clone(), true)).collect();
    let schema = DFSchema::try_from(Schema::new(fields))?;
    let types = function.arguments.iter().map(|(name, data_type)| Some(Arc::new(Field::new(name, data_type.clone(), true)))).collect();
    let mut context = PlannerContext::new().with_prepare_param_data_types(types);
    let body = SqlToRel::new(names).sql_to_expr(function.body.clone(), &schema, &mut context)?;
    let body = cast(positional(body, function)?, function.returns.clone());
    simplifier(state).coerce(body, &schema)
}

/// `$1` as the first argument's name.
fn positional(body: Expr, function: &SqlFunction) -> DataFusionResult<Expr> {
    let named = body.transform(|node| match &node {
        Expr::Placeholder(placeholder) => {
            let number = placeholder.id.trim_start_matches('$').parse::<usize>().ok();
            match number.and_then(|number| function.arguments.get(number.checked_sub(1)?)) {
                Some((name, _)) => Ok(Transformed::yes(Expr::Column(datafusion::common::Column::new_unqualified(name)))),
                None => Err(DataFusionError::Plan(format!("there is no parameter {}", placeholder.id))),
            }
        }
        _ => Ok(Transformed::no(node)),
    })?;
    Ok(named.data)
}

#[derive(Debug)]
struct Inlined {
    function: Arc<SqlFunction>,
    body: Result<Expr, Arc<DataFusionError>>,
    signature: Signature,
}

impl PartialEq for Inlined {
    fn eq(&self, other: &Self) -> bool {
        self.function.name == other.function.name
            && self.function.arguments == other.function.arguments
            && self.function.returns == other.function.returns
            && self.function.body == other.function.body
    }
}

impl Eq for Inlined {}

impl std::hash::Hash for Inlined {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
    }
}

impl ScalarUDFImpl for Inlined {
    fn name(&self) -> &str {
        &self.function.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        match &self.body {
            Ok(_) => Ok(self.function.returns.clone()),
            Err(error) => Err(DataFusionError::Shared(Arc::clone(error))),
        }
    }

    fn simplify(&self, args: Vec<Expr>, _context: &SimplifyContext) -> DataFusionResult<ExprSimplifyResult> {
        let body = self.body.clone().map_err(DataFusionError::Shared)?;
        let inlined = body.transform(|node| match &node {
            Expr::Column(column) => {
                let place = self.function.arguments.iter().position(|(name, _)| *name == column.name);
                let argument = place.map_or(Expr::Literal(ScalarValue::Null, None), |place| args[place].clone());
                Ok(Transformed::yes(argument))
            }
            _ => Ok(Transformed::no(node)),
        })?;
        Ok(ExprSimplifyResult::Simplified(inlined.data))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Err(DataFusionError::Internal(format!("function {} was not inlined while planning", self.function.name)))
    }
}
