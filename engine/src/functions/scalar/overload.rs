//! Which function of a name is meant, by the types of its arguments, and how DataFusion calls it.
//!
//! An overload is dearer the further its types are from the given ones: nothing for the same type, little for a wider one,
//! more for what only a literal of unknown type can be (text read as the type). The cheapest wins, the first among equals:
//! so a table lists what Postgres prefers first.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::typed::{Argument, Outcome, Returned};
use crate::plan::canonical::client_type;

/// Computes a column from the columns of the arguments, of so many rows, as a column of the given type.
pub type Evaluate = Arc<dyn Fn(&[ArrayRef], usize, &DataType) -> crate::Result<ArrayRef> + Send + Sync>;

/// Chooses the result's type by the arguments' types and the values of those that are constant.
pub type Typing = Arc<dyn Fn(&[FieldRef], &[Option<ScalarValue>]) -> crate::Result<DataType> + Send + Sync>;

/// What a parameter takes.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// This type; others are cast to it where that is implicit.
    Exactly(DataType),
    /// A `numeric` of any precision and scale; integers become numerics that hold them.
    Numeric,
    /// Any array.
    Array,
    /// Any type, as it comes.
    Any,
}

/// One of the functions of a name.
#[derive(Clone)]
pub struct Overload {
    parameters: Vec<Kind>,
    /// What may follow any number of times.
    rest: Option<Kind>,
    returns: Typing,
    evaluate: Evaluate,
}

/// A function: a name and its overloads.
#[derive(Clone)]
pub struct Scalar {
    name: &'static str,
    aliases: Vec<String>,
    overloads: Vec<Overload>,
    signature: Signature,
    /// The result's field carries this SQL type.
    metadata: Option<&'static str>,
}

impl Scalar {
    /// A function that gives the same for the same arguments.
    pub fn new(name: &'static str) -> Self {
        let signature = Signature::user_defined(Volatility::Immutable);
        Self { name, aliases: vec![], overloads: vec![], signature, metadata: None }
    }

    /// Also known as.
    pub fn alias(mut self, name: &str) -> Self {
        self.aliases.push(name.into());
        self
    }

    /// With the SQL type `name` on its results.
    pub fn of_type(mut self, name: &'static str) -> Self {
        self.metadata = Some(name);
        self
    }

    /// With a further overload.
    pub fn or(mut self, overload: Overload) -> Self {
        self.overloads.push(overload);
        self
    }

    /// As DataFusion registers it.
    pub fn into_udf(self) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(self))
    }

    /// Its name and other names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name).chain(self.aliases.iter().map(String::as_str))
    }

    fn choose(&self, types: &[DataType]) -> Option<(&Overload, Vec<DataType>)> {
        let fitting = self.overloads.iter().filter_map(|overload| {
            let (cost, coerced) = overload.fit(types)?;
            Some((cost, overload, coerced))
        });
        fitting.min_by_key(|(cost, ..)| *cost).map(|(_, overload, coerced)| (overload, coerced))
    }

    fn chosen(&self, types: &[DataType]) -> Result<&Overload> {
        match self.choose(types) {
            Some((overload, _)) => Ok(overload),
            None => {
                let types: Vec<String> = types.iter().map(crate::plan::assignment::type_name).collect();
                let message = format!("function {}({}) does not exist", self.name, types.join(", "));
                let error = crate::Error::new(crate::error::sqlstate::UNDEFINED_FUNCTION, message)
                    .with_hint("no function matches the given name and argument types; you might need to add explicit type casts");
                Err(DataFusionError::External(Box::new(error)))
            }
        }
    }
}

impl Overload {
    /// Takes `parameters`, returns what `returns` says.
    pub fn new(parameters: Vec<Kind>, returns: Typing, evaluate: Evaluate) -> Self {
        Self { parameters, rest: None, returns, evaluate }
    }

    /// Takes `parameters`, returns values of one type.
    pub fn fixed(parameters: Vec<Kind>, returns: DataType, evaluate: Evaluate) -> Self {
        Self::new(parameters, Arc::new(move |_, _| Ok(returns.clone())), evaluate)
    }

    /// Takes any number of further arguments.
    pub fn followed_by(mut self, rest: Kind) -> Self {
        self.rest = Some(rest);
        self
    }

    /// With its result made into another of the same type.
    pub fn mapped(self, map: fn(ArrayRef) -> crate::Result<ArrayRef>) -> Self {
        let evaluate = self.evaluate;
        let mapped: Evaluate = Arc::new(move |arguments, n_rows, returned| map(evaluate(arguments, n_rows, returned)?));
        Self { evaluate: mapped, ..self }
    }

    fn fit(&self, types: &[DataType]) -> Option<(u32, Vec<DataType>)> {
        if types.len() < self.parameters.len() || types.len() > self.parameters.len() && self.rest.is_none() {
            return None;
        }
        let kinds = self.parameters.iter().chain(self.rest.iter().cycle());
        let mut total = 0;
        let mut coerced = Vec::with_capacity(types.len());
        for (kind, given) in kinds.zip(types) {
            let (cost, target) = kind.fit(given)?;
            total += cost;
            coerced.push(target);
        }
        Some((total, coerced))
    }
}

/// Only what is written as a literal may be of another type: dearer than any implicit cast.
const READ_FROM_TEXT: u32 = 100;

impl Kind {
    fn fit(&self, given: &DataType) -> Option<(u32, DataType)> {
        let given = &client_type(given).filter(|_| !given.is_null()).unwrap_or_else(|| given.clone());
        match self {
            Self::Any => Some((1, given.clone())),
            Self::Array => match given {
                DataType::List(_) => Some((0, given.clone())),
                DataType::Null => Some((1, super::typed::list_of(DataType::Utf8))),
                _ => None,
            },
            Self::Numeric => match given {
                DataType::Decimal128(..) => Some((0, given.clone())),
                DataType::Int16 => Some((3, DataType::Decimal128(5, 0))),
                DataType::Int32 => Some((3, DataType::Decimal128(10, 0))),
                DataType::Int64 => Some((3, DataType::Decimal128(19, 0))),
                DataType::Null => Some((0, DataType::Decimal128(38, 10))),
                DataType::Utf8 => Some((READ_FROM_TEXT + 1, DataType::Decimal128(38, 10))),
                _ => None,
            },
            Self::Exactly(target) => implicit_cost(given, target).map(|cost| (cost, target.clone())),
        }
    }
}

/// What an implicit cast costs; `None` when there is none.
fn implicit_cost(given: &DataType, target: &DataType) -> Option<u32> {
    use DataType::*;
    let microseconds = TimeUnit::Microsecond;
    Some(match (given, target) {
        (given, target) if given == target => 0,
        (Null, _) => 0,
        (Int16, Int32) | (Int32, Int64) => 1,
        (Int16, Int64) => 2,
        (Int16 | Int32 | Int64 | Decimal128(..) | Float32, Float64) => 2,
        (Int16 | Int32 | Int64 | Decimal128(..), Float32) => 4,
        (Date32, Timestamp(unit, None)) if *unit == microseconds => 2,
        (Date32, Timestamp(unit, Some(_))) if *unit == microseconds => 1,
        (Timestamp(_, None), Timestamp(unit, Some(_))) if *unit == microseconds => 1,
        (Time64(_), Interval(_)) => 1,
        (List(given), List(target)) if !target.data_type().is_nested() => implicit_cost(given.data_type(), target.data_type())?,
        (Utf8, _) => READ_FROM_TEXT,
        _ => return None,
    })
}

impl std::fmt::Debug for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// A function is its name: the tables have each once.
impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Scalar {}

impl Hash for Scalar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Scalar {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.chosen(types)?;
        let (_, coerced) = self.choose(types).expect("one was chosen");
        Ok(coerced)
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        plan_err!("{} takes its type from its arguments", self.name)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<DataType> = arguments.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let constants: Vec<Option<ScalarValue>> = arguments.scalar_arguments.iter().map(|value| value.cloned()).collect();
        let data_type = (self.chosen(&types)?.returns)(arguments.arg_fields, &constants).map_err(external)?;
        let field = Field::new(self.name, data_type, true);
        Ok(Arc::new(match self.metadata {
            Some(name) => field.with_metadata([(catalog::types::PG_TYPE.to_string(), name.to_string())].into()),
            None => field,
        }))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let types: Vec<DataType> = arguments.args.iter().map(ColumnarValue::data_type).collect();
        let overload = self.chosen(&types)?;
        let is_constant = arguments.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let n_rows = if is_constant { 1 } else { arguments.number_rows };
        let arrays = arguments.args.iter().map(|argument| argument.to_array(n_rows)).collect::<Result<Vec<_>>>()?;
        let values = (overload.evaluate)(&arrays, n_rows, arguments.return_field.data_type()).map_err(external)?;
        if values.len() != n_rows {
            return exec_err!("{} gave {} values for {n_rows} rows", self.name, values.len());
        }
        match is_constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?)),
            false => Ok(ColumnarValue::Array(values)),
        }
    }
}

fn external(error: crate::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

macro_rules! typed_overload {
    ($name:ident, $strict:ident $(, $type:ident)*) => {
        /// An overload over a plain function of so many values.
        pub fn $name<$($type: Argument,)* O: Outcome + 'static>(function: fn($($type::Value<'_>),*) -> O) -> Overload {
            let parameters = vec![$(Kind::Exactly($type::data_type())),*];
            Overload::fixed(parameters, O::Value::data_type(), super::typed::$strict::<$($type,)* O>(function))
        }
    };
}

typed_overload!(over1, strict1, A);
typed_overload!(over2, strict2, A, B);
typed_overload!(over3, strict3, A, B, C);
typed_overload!(over4, strict4, A, B, C, D);
typed_overload!(over5, strict5, A, B, C, D, E);
typed_overload!(over6, strict6, A, B, C, D, E, F);
typed_overload!(over7, strict7, A, B, C, D, E, F, G);

macro_rules! part_overload {
    ($name:ident, $part:ident $(, $type:ident)+) => {
        /// An overload over a function that gives a part of the text it takes first.
        pub fn $name<$($type: Argument),+>(function: for<'a> fn(&'a str, $($type::Value<'_>),+) -> crate::Result<&'a str>) -> Overload {
            let parameters = vec![Kind::Exactly(DataType::Utf8), $(Kind::Exactly($type::data_type())),+];
            Overload::fixed(parameters, DataType::Utf8, super::typed::$part::<$($type),+>(function))
        }
    };
}

part_overload!(part_by2, part2, B);
part_overload!(part_by3, part3, B, C);
