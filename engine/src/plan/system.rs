//! Schemas that neither the catalog nor the engine makes: whoever serves clients hands in `pg_catalog` and
//! `information_schema`, for one statement at a time, and the planner resolves their names as it does all others.
//!
//! Guaranteed: what is found there is read by ad-hoc statements only. A view that names it is refused with `0A000`: it would
//! have to change whenever the catalog does.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, FieldRef};
use catalog::{Snapshot, SqlType};
use datafusion::common::{Result as DataFusionResult, ScalarValue, plan_err};
use datafusion::datasource::{MemTable, TableProvider};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use super::relation::external;
use crate::{Error, Result};

tokio::task_local! {
    /// The system schemas as the session sees them whose statement this task runs.
    pub static SYSTEM_SCHEMAS: Arc<dyn SystemSchemas>;
}

/// Relations and functions made by code outside of the engine.
pub trait SystemSchemas: Send + Sync {
    /// The rows of a relation; without a schema, if it is in one that is searched before the user's.
    fn relation(&self, catalog: &Arc<Snapshot>, schema: Option<&str>, name: &str) -> Option<RecordBatch>;

    /// The function of this name over `catalog`.
    fn function(&self, catalog: &Arc<Snapshot>, name: &str) -> Option<Arc<dyn SystemFunction>>;

    /// The rows of a function in FROM that takes so many arguments.
    fn table_function(&self, name: &str, n_arguments: usize) -> Option<RecordBatch>;
}

/// A scalar function over any arguments.
pub trait SystemFunction: Send + Sync {
    /// Its name, without a schema.
    fn name(&self) -> &str;

    /// Its value is the same for all rows and for the whole statement, if its arguments are.
    fn is_constant(&self) -> bool;

    /// The type of its result; arguments that are constant texts are given.
    fn returns(&self, arguments: &[SqlType], constants: &[Option<&str>]) -> Result<SqlType>;

    /// Its values for `n_rows` rows.
    fn evaluate(&self, arguments: &[ArrayRef], types: &[SqlType], n_rows: usize, returns: &SqlType) -> Result<ArrayRef>;
}

/// A [`SystemFunction`] as DataFusion calls it.
pub(crate) struct SystemUdf {
    function: Arc<dyn SystemFunction>,
    signature: Signature,
}

impl SystemUdf {
    pub(crate) fn udf(function: Arc<dyn SystemFunction>) -> Arc<ScalarUDF> {
        let any = TypeSignature::OneOf(vec![TypeSignature::Nullary, TypeSignature::VariadicAny]);
        let volatility = if function.is_constant() { Volatility::Immutable } else { Volatility::Volatile };
        Arc::new(ScalarUDF::new_from_impl(Self { function, signature: Signature::new(any, volatility) }))
    }
}

impl fmt::Debug for SystemUdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.function.name())
    }
}

// One statement asks for a function once per call; all answers see the same catalog.
impl PartialEq for SystemUdf {
    fn eq(&self, other: &Self) -> bool {
        self.function.name() == other.function.name()
    }
}

impl Eq for SystemUdf {}

impl Hash for SystemUdf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name().hash(state);
    }
}

impl ScalarUDFImpl for SystemUdf {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        plan_err!("{} takes its type from its arguments' fields", self.function.name())
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let types: Vec<SqlType> = arguments.arg_fields.iter().map(|field| SqlType::of_field(field)).collect();
        let constants: Vec<Option<&str>> = arguments.scalar_arguments.iter().map(|constant| (*constant)?.try_as_str().flatten()).collect();
        let returns = self.function.returns(&types, &constants).map_err(external)?;
        Ok(Arc::new(returns.field(self.function.name(), true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let are_constant = arguments.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let types: Vec<SqlType> = arguments.arg_fields.iter().map(|field| SqlType::of_field(field)).collect();
        let returns = SqlType::of_field(&arguments.return_field);
        let n_rows = if are_constant { 1 } else { arguments.number_rows };
        let values = arguments.args.iter().map(|argument| argument.to_array(n_rows)).collect::<DataFusionResult<Vec<_>>>()?;
        let result = self.function.evaluate(&values, &types, n_rows, &returns).map_err(external)?;
        match are_constant && self.function.is_constant() {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)),
            false if are_constant => {
                ScalarValue::try_from_array(&result, 0)?.to_array_of_size(arguments.number_rows).map(ColumnarValue::Array)
            }
            false => Ok(ColumnarValue::Array(result)),
        }
    }
}

/// Rows as the planner scans them.
pub(crate) fn provider(rows: RecordBatch) -> Arc<dyn TableProvider> {
    Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]]).expect("the batch has its own schema"))
}

/// A view names something of the system.
pub(crate) fn refused_in_view(what: &str) -> Error {
    Error::unsupported(
        format!("a view cannot read {what}"),
        "system relations and functions change with the catalog, not with data; read them in a query of their own",
    )
}
