//! What a session tells about itself: `version()`, `current_user`, `current_database()`, `current_schema()`, `pg_backend_pid()`.
//!
//! There is one role, one database and one schema to start in, so all but the process id are the same for everybody. The process
//! id is the caller's [`BACKEND_PID`], read while the query is planned; where it is not set (a view, an embedded engine) it is 0.

use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

tokio::task_local! {
    /// The process id of the session whose statement this task runs.
    pub static BACKEND_PID: i32;
}

/// What clients parse to learn which PostgreSQL this is like: SQLAlchemy wants `PostgreSQL major.minor`.
const VERSION: &str = concat!("PostgreSQL 15.0 (Thalweg ", env!("CARGO_PKG_VERSION"), ")");

/// A function without arguments.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SessionFunction {
    name: &'static str,
    aliases: Vec<String>,
    tells: Tells,
    signature: Signature,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Tells {
    Text(&'static str),
    ProcessId,
}

impl Tells {
    fn value(self) -> ScalarValue {
        match self {
            Self::Text(text) => ScalarValue::from(text),
            Self::ProcessId => ScalarValue::from(BACKEND_PID.try_with(|process_id| *process_id).unwrap_or(0)),
        }
    }
}

/// Registers them; `version` takes the place of DataFusion's.
pub fn register(registry: &mut dyn FunctionRegistry) -> Result<()> {
    let functions: [(&'static str, &[&str], Tells); 5] = [
        ("version", &[], Tells::Text(VERSION)),
        ("current_user", &["session_user", "current_role", "user"], Tells::Text("thalweg")),
        ("current_database", &["current_catalog"], Tells::Text("thalweg")),
        ("current_schema", &[], Tells::Text("public")),
        ("pg_backend_pid", &[], Tells::ProcessId),
    ];
    for (name, aliases, tells) in functions {
        let aliases = aliases.iter().map(ToString::to_string).collect();
        let signature = Signature::nullary(Volatility::Stable);
        registry.register_udf(ScalarUDF::from(SessionFunction { name, aliases, tells, signature }).into())?;
    }
    Ok(())
}

impl ScalarUDFImpl for SessionFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.tells.value().data_type())
    }

    /// Planning is done by the session's own task, running is not: so the value is taken here.
    fn simplify(&self, _: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        Ok(ExprSimplifyResult::Simplified(Expr::Literal(self.tells.value(), None)))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.tells.value()))
    }
}
