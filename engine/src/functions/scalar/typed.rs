//! Plain Rust functions over single values as functions over columns.
//!
//! [`strict`] and its like take `fn(&str, i32) -> Result<String>` and give what DataFusion calls with arrays: the loop over
//! rows and the nulls are here, once, compiled for each combination of types.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{
    DataType, Field, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
};
use catalog::types::TIMESTAMPTZ_ZONE;

use super::overload::Evaluate;
use crate::{Error, Result};

/// A type that a function can take.
pub trait Argument: 'static {
    /// What Rust sees of a value.
    type Value<'a>;
    /// The array of such values.
    type Array: Array + Clone + 'static;
    /// The Arrow type arguments are cast to; `None` takes any of its kind ([`Numeric`]).
    fn data_type() -> DataType;
    /// One value, which is not null.
    fn value(array: &Self::Array, row: usize) -> Self::Value<'_>;
}

/// What a function gives back: values of one Arrow type.
pub trait Returned: Sized + 'static {
    /// Their type.
    fn data_type() -> DataType;
    /// A column of them.
    fn array(values: Vec<Option<Self>>) -> ArrayRef;
}

/// How functions may answer: with a value, an optional one, or either in a result.
pub trait Outcome {
    /// The value.
    type Value: Returned;
    /// `None` is null.
    fn outcome(self) -> Result<Option<Self::Value>>;
}

impl<V: Returned> Outcome for V {
    type Value = V;
    fn outcome(self) -> Result<Option<V>> {
        Ok(Some(self))
    }
}

impl<V: Returned> Outcome for Option<V> {
    type Value = V;
    fn outcome(self) -> Result<Option<V>> {
        Ok(self)
    }
}

impl<V: Returned> Outcome for Result<V, Error> {
    type Value = V;
    fn outcome(self) -> Result<Option<V>> {
        self.map(Some)
    }
}

impl<V: Returned> Outcome for Result<Option<V>, Error> {
    type Value = V;
    fn outcome(self) -> Result<Option<V>> {
        self
    }
}

macro_rules! primitive {
    ($marker:ident, $native:ty, $array:ty, $data_type:expr, $doc:literal) => {
        #[doc = $doc]
        #[derive(Debug, Clone, Copy)]
        pub struct $marker;

        impl Argument for $marker {
            type Value<'a> = $native;
            type Array = $array;
            fn data_type() -> DataType {
                $data_type
            }
            fn value(array: &$array, row: usize) -> $native {
                array.value(row)
            }
        }
    };
}

macro_rules! returned {
    ($native:ty, $array:ty, $data_type:expr) => {
        impl Returned for $native {
            fn data_type() -> DataType {
                $data_type
            }
            fn array(values: Vec<Option<Self>>) -> ArrayRef {
                Arc::new(<$array>::from(values))
            }
        }
    };
}

primitive!(SmallInt, i16, PrimitiveArray<Int16Type>, DataType::Int16, "`smallint`.");
primitive!(Integer, i32, PrimitiveArray<Int32Type>, DataType::Int32, "`integer`.");
primitive!(BigInt, i64, PrimitiveArray<Int64Type>, DataType::Int64, "`bigint`.");
primitive!(Double, f64, PrimitiveArray<Float64Type>, DataType::Float64, "`double precision`.");
primitive!(
    Interval,
    IntervalMonthDayNano,
    PrimitiveArray<IntervalMonthDayNanoType>,
    DataType::Interval(IntervalUnit::MonthDayNano),
    "`interval`."
);

returned!(bool, BooleanArray, DataType::Boolean);
returned!(i16, Int16Array, DataType::Int16);
returned!(i32, Int32Array, DataType::Int32);
returned!(i64, Int64Array, DataType::Int64);
returned!(f64, Float64Array, DataType::Float64);
returned!(String, StringArray, DataType::Utf8);
returned!(IntervalMonthDayNano, IntervalMonthDayNanoArray, DataType::Interval(IntervalUnit::MonthDayNano));

/// `text`.
#[derive(Debug, Clone, Copy)]
pub struct Text;

impl Argument for Text {
    type Value<'a> = &'a str;
    type Array = StringArray;
    fn data_type() -> DataType {
        DataType::Utf8
    }
    fn value(array: &StringArray, row: usize) -> &str {
        array.value(row)
    }
}

/// `bytea`.
#[derive(Debug, Clone, Copy)]
pub struct Bytea;

impl Argument for Bytea {
    type Value<'a> = &'a [u8];
    type Array = BinaryArray;
    fn data_type() -> DataType {
        DataType::Binary
    }
    fn value(array: &BinaryArray, row: usize) -> &[u8] {
        array.value(row)
    }
}

impl Returned for Vec<u8> {
    fn data_type() -> DataType {
        DataType::Binary
    }
    fn array(values: Vec<Option<Self>>) -> ArrayRef {
        Arc::new(values.iter().map(Option::as_deref).collect::<BinaryArray>())
    }
}

/// Wraps an integer so that its type says what it counts.
macro_rules! wrapped {
    ($name:ident, $native:ty, $array:ty, $data_type:expr, $doc:literal) => {
        #[doc = $doc]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(pub $native);

        impl Argument for $name {
            type Value<'a> = $name;
            type Array = $array;
            fn data_type() -> DataType {
                $data_type
            }
            fn value(array: &$array, row: usize) -> $name {
                $name(array.value(row))
            }
        }

        impl Returned for $name {
            fn data_type() -> DataType {
                $data_type
            }
            fn array(values: Vec<Option<Self>>) -> ArrayRef {
                Arc::new(values.into_iter().map(|value| value.map(|value| value.0)).collect::<$array>().with_data_type($data_type))
            }
        }
    };
}

wrapped!(Date, i32, Date32Array, DataType::Date32, "`date`: days since 1970-01-01.");
wrapped!(Time, i64, Time64MicrosecondArray, DataType::Time64(TimeUnit::Microsecond), "`time`: microseconds since midnight.");
wrapped!(
    Timestamp,
    i64,
    TimestampMicrosecondArray,
    DataType::Timestamp(TimeUnit::Microsecond, None),
    "`timestamp`: microseconds since 1970-01-01 00:00."
);
wrapped!(
    TimestampTz,
    i64,
    TimestampMicrosecondArray,
    DataType::Timestamp(TimeUnit::Microsecond, Some(TIMESTAMPTZ_ZONE.into())),
    "`timestamptz`: microseconds since 1970-01-01 00:00 UTC."
);

/// `text[]`.
impl Returned for Vec<Option<String>> {
    fn data_type() -> DataType {
        list_of(DataType::Utf8)
    }
    fn array(values: Vec<Option<Self>>) -> ArrayRef {
        let mut builder = ListBuilder::new(StringBuilder::new()).with_field(Field::new_list_field(DataType::Utf8, true));
        for value in values {
            match value {
                Some(items) => {
                    items.iter().for_each(|item| builder.values().append_option(item.as_deref()));
                    builder.append(true);
                }
                None => builder.append(false),
            }
        }
        Arc::new(builder.finish())
    }
}

/// `text[][]`, as the rows of a function that gives several: each is an array.
impl Returned for Vec<Vec<Option<String>>> {
    fn data_type() -> DataType {
        list_of(list_of(DataType::Utf8))
    }
    fn array(values: Vec<Option<Self>>) -> ArrayRef {
        let inner = ListBuilder::new(StringBuilder::new()).with_field(Field::new_list_field(DataType::Utf8, true));
        let mut builder = ListBuilder::new(inner).with_field(Field::new_list_field(list_of(DataType::Utf8), true));
        for value in values {
            match value {
                Some(rows) => {
                    for row in rows {
                        row.iter().for_each(|item| builder.values().values().append_option(item.as_deref()));
                        builder.values().append(true);
                    }
                    builder.append(true);
                }
                None => builder.append(false),
            }
        }
        Arc::new(builder.finish())
    }
}

/// The type of an array of `item`s.
pub fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// A column as the array its type promises.
pub fn typed<A: Argument>(array: &ArrayRef) -> &A::Array {
    array.as_any().downcast_ref::<A::Array>().expect("arguments were cast to the overload's types")
}

macro_rules! strict {
    ($name:ident $(, $arg:ident $type:ident $index:tt)*) => {
        /// A function of so many arguments that gives null when one of them is null.
        pub fn $name<$($type: Argument,)* O: Outcome + 'static>(function: fn($($type::Value<'_>),*) -> O) -> Evaluate {
            Arc::new(move |arguments: &[ArrayRef], n_rows: usize, _: &DataType| {
                $(let $arg = typed::<$type>(&arguments[$index]);)*
                let values = (0..n_rows).map(|_row| {
                    if $($arg.is_null(_row) ||)* false {
                        return Ok(None);
                    }
                    function($($type::value($arg, _row)),*).outcome()
                });
                Ok(O::Value::array(values.collect::<Result<Vec<_>>>()?))
            })
        }
    };
}

strict!(strict1, a A 0);
strict!(strict2, a A 0, b B 1);
strict!(strict3, a A 0, b B 1, c C 2);
strict!(strict4, a A 0, b B 1, c C 2, d D 3);
strict!(strict5, a A 0, b B 1, c C 2, d D 3, e E 4);
strict!(strict6, a A 0, b B 1, c C 2, d D 3, e E 4, f F 5);
strict!(strict7, a A 0, b B 1, c C 2, d D 3, e E 4, f F 5, g G 6);

macro_rules! part {
    ($name:ident $(, $arg:ident $type:ident $index:tt)+) => {
        /// A function that gives a part of the text it takes first: it is copied once, into the column.
        pub fn $name<$($type: Argument),+>(function: for<'a> fn(&'a str, $($type::Value<'_>),+) -> Result<&'a str>) -> Evaluate {
            Arc::new(move |arguments: &[ArrayRef], n_rows: usize, _: &DataType| {
                let whole = typed::<Text>(&arguments[0]);
                $(let $arg = typed::<$type>(&arguments[$index]);)+
                let mut column = StringBuilder::with_capacity(n_rows, 8 * n_rows);
                for row in 0..n_rows {
                    if whole.is_null(row) $(|| $arg.is_null(row))+ {
                        column.append_null();
                    } else {
                        column.append_value(function(whole.value(row), $($type::value($arg, row)),+)?);
                    }
                }
                Ok(Arc::new(column.finish()))
            })
        }
    };
}

part!(part2, b B 1);
part!(part3, b B 1, c C 2);

/// A constant.
pub fn strict0<O: Outcome + 'static>(function: fn() -> O) -> Evaluate {
    Arc::new(move |_: &[ArrayRef], n_rows: usize, _: &DataType| {
        Ok(O::Value::array((0..n_rows).map(|_| function().outcome()).collect::<Result<Vec<_>>>()?))
    })
}
