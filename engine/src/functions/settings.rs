//! `current_setting(name [, missing_ok])` and `set_config(name, value, is_local)`: a session's settings in SQL; and
//! `pg_notify(channel, payload)`, which is NOTIFY with values of a query.
//!
//! The session hands itself over in [`SETTINGS`] while it plans a statement; the calls keep it from there, so that it
//! does not matter which task computes a row. Where there is no session (a view, an embedded engine) they fail with `0A000`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility};

use crate::Error;
use crate::error::sqlstate;

/// A session's settings, and its voice.
pub trait SessionSettings: Send + Sync + std::fmt::Debug {
    /// The value of a setting as SHOW shows it. `42704` when there is none of this name.
    fn show(&self, name: &str) -> crate::Result<String>;
    /// `TimeZone`; `None` is UTC.
    fn zone(&self) -> Option<String>;
    /// SET, or SET LOCAL; returns the new value as SHOW shows it.
    fn set(&self, name: &str, value: &str, is_local: bool) -> crate::Result<String>;
    /// NOTIFY, as part of the session's transaction.
    fn notify(&self, channel: &str, payload: &str) -> crate::Result<()>;
}

tokio::task_local! {
    /// The settings of the session whose statement this task plans.
    pub static SETTINGS: Arc<dyn SessionSettings>;
}

/// The `TimeZone` of the session whose statement this task plans; `None` is UTC, and where there is no session.
pub fn session_zone() -> Option<String> {
    SETTINGS.try_with(|settings| settings.zone()).ok().flatten()
}

/// A setting of the session whose statement this task plans; `None` where there is no session, or no such setting.
pub fn session_setting(name: &str) -> Option<String> {
    SETTINGS.try_with(|settings| settings.show(name).ok()).ok().flatten()
}

/// Registers the functions.
pub fn register(registry: &mut dyn FunctionRegistry) -> Result<()> {
    for kind in [Kind::CurrentSetting, Kind::SetConfig, Kind::Notify] {
        registry.register_udf(ScalarUDF::from(SettingsFunction::new(kind, None)).into())?;
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    CurrentSetting,
    SetConfig,
    Notify,
}

#[derive(Debug)]
struct SettingsFunction {
    kind: Kind,
    signature: Signature,
    settings: Option<Arc<dyn SessionSettings>>,
}

impl PartialEq for SettingsFunction {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.settings.is_some() == other.settings.is_some()
    }
}

impl Eq for SettingsFunction {}

impl std::hash::Hash for SettingsFunction {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
    }
}

impl SettingsFunction {
    fn new(kind: Kind, settings: Option<Arc<dyn SessionSettings>>) -> Self {
        let signature = match kind {
            Kind::CurrentSetting => Signature::one_of(
                vec![TypeSignature::Exact(vec![DataType::Utf8]), TypeSignature::Exact(vec![DataType::Utf8, DataType::Boolean])],
                Volatility::Stable,
            ),
            Kind::SetConfig => Signature::exact(vec![DataType::Utf8, DataType::Utf8, DataType::Boolean], Volatility::Volatile),
            Kind::Notify => Signature::exact(vec![DataType::Utf8, DataType::Utf8], Volatility::Volatile),
        };
        Self { kind, signature, settings }
    }

    fn value(&self, name: &str, second: Option<&str>, flag: bool) -> crate::Result<Option<String>> {
        let settings = self.settings.as_ref().ok_or_else(|| {
            Error::unsupported(format!("{}() needs a session", self.name()), "use it in a query of its own, not in a view")
        })?;
        match self.kind {
            Kind::CurrentSetting => match settings.show(name) {
                Err(error) if flag && error.sqlstate == sqlstate::UNDEFINED_OBJECT => Ok(None),
                shown => shown.map(Some),
            },
            Kind::SetConfig => settings.set(name, second.unwrap_or_default(), flag).map(Some),
            // Postgres gives `void`, which is shown as nothing.
            Kind::Notify => settings.notify(name, second.unwrap_or_default()).map(|()| Some(String::new())),
        }
    }
}

impl ScalarUDFImpl for SettingsFunction {
    fn name(&self) -> &str {
        match self.kind {
            Kind::CurrentSetting => "current_setting",
            Kind::SetConfig => "set_config",
            Kind::Notify => "pg_notify",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    /// Takes the settings along: planning is done by the session's own task, running is not.
    fn simplify(&self, arguments: Vec<Expr>, _context: &SimplifyContext) -> Result<ExprSimplifyResult> {
        match SETTINGS.try_with(Arc::clone) {
            Ok(settings) if self.settings.is_none() => {
                let with_settings = ScalarUDF::from(Self::new(self.kind, Some(settings)));
                Ok(ExprSimplifyResult::Simplified(Expr::ScalarFunction(ScalarFunction::new_udf(with_settings.into(), arguments))))
            }
            _ => Ok(ExprSimplifyResult::Original(arguments)),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let n_rows = arguments.number_rows;
        let is_constant = arguments.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let columns = arguments.args.iter().map(|argument| argument.to_array(n_rows)).collect::<Result<Vec<ArrayRef>>>()?;
        let names = columns[0].as_string::<i32>();
        let seconds = match self.kind {
            Kind::SetConfig | Kind::Notify => Some(cast(&columns[1], &DataType::Utf8)?),
            Kind::CurrentSetting => None,
        };
        let flags = columns.last().filter(|column| *column.data_type() == DataType::Boolean).map(|column| column.as_boolean().clone());
        let value = |row: usize| {
            if names.is_null(row) {
                return Ok(None);
            }
            let second = seconds.as_ref().map(|values| values.as_string::<i32>()).filter(|values| !values.is_null(row));
            let flag = flags.as_ref().is_some_and(|flags| !flags.is_null(row) && flags.value(row));
            let second = second.map(|values| values.value(row));
            self.value(names.value(row), second, flag).map_err(|error| DataFusionError::External(Box::new(error)))
        };
        // Constant arguments set once, however many rows there are.
        if is_constant {
            let only = if n_rows == 0 { None } else { value(0)? };
            return Ok(ColumnarValue::Scalar(datafusion::common::ScalarValue::Utf8(only)));
        }
        let values: StringArray = (0..n_rows).map(value).collect::<Result<Vec<_>>>()?.into_iter().collect();
        Ok(ColumnarValue::Array(Arc::new(values)))
    }
}
