//! Order-preserving keys: values of a column as Rust values that compare as SQL compares them, NaN greatest as in Postgres.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, make_array};
use arrow::buffer::{Buffer, NullBuffer};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type};
use arrow_row::{RowConverter, SortField};

use crate::Result;

/// Turns a column into keys and back.
pub trait OrderCodec: Debug + Send + Sync + 'static {
    /// Compares as the values do.
    type Key: Ord + Clone + Debug + Send + Sync;

    /// One key per row; what it is for a null is not said.
    fn encode(&self, column: &ArrayRef) -> Result<Vec<Self::Key>>;

    /// The column of these keys, null where there is none.
    fn decode(&self, keys: &[Option<&Self::Key>]) -> Result<ArrayRef>;

    /// Bytes on the heap.
    fn heap_bytes(_key: &Self::Key) -> usize {
        0
    }
}

/// Types of at most eight bytes as 64-bit integers.
#[derive(Debug, Clone)]
pub struct Words(DataType);

impl Words {
    /// For types that fit.
    pub fn new(data_type: &DataType) -> Option<Self> {
        use DataType::*;
        let fits = matches!(
            data_type,
            Int8 | Int16
                | Int32
                | Int64
                | UInt8
                | UInt16
                | UInt32
                | UInt64
                | Float32
                | Float64
                | Date32
                | Date64
                | Time32(_)
                | Time64(_)
                | Timestamp(..)
                | Duration(_)
        );
        fits.then(|| Self(data_type.clone()))
    }
}

impl OrderCodec for Words {
    type Key = i64;

    fn encode(&self, column: &ArrayRef) -> Result<Vec<i64>> {
        let data = column.to_data();
        Ok(match self.0 {
            DataType::Float64 => data.buffer::<f64>(0)[..data.len()].iter().map(|value| double_to_word(*value)).collect(),
            DataType::Float32 => data.buffer::<f32>(0)[..data.len()].iter().map(|value| double_to_word(f64::from(*value))).collect(),
            DataType::UInt64 => data.buffer::<u64>(0)[..data.len()].iter().map(|value| (value ^ (1 << 63)) as i64).collect(),
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::Int8 | DataType::Int16 => {
                cast(column, &DataType::Int64)?.as_primitive::<Int64Type>().values().to_vec()
            }
            _ => match self.0.primitive_width() {
                Some(4) => data.buffer::<i32>(0)[..data.len()].iter().map(|value| i64::from(*value)).collect(),
                _ => data.buffer::<i64>(0)[..data.len()].to_vec(),
            },
        })
    }

    fn decode(&self, keys: &[Option<&i64>]) -> Result<ArrayRef> {
        let values = keys.iter().map(|key| key.copied().unwrap_or_default());
        let buffer = match self.0 {
            DataType::Float64 => Buffer::from_iter(values.map(word_to_double)),
            DataType::Float32 => Buffer::from_iter(values.map(|word| word_to_double(word) as f32)),
            DataType::UInt64 => Buffer::from_iter(values.map(|word| word as u64 ^ (1 << 63))),
            _ => match self.0.primitive_width() {
                Some(1) => Buffer::from_iter(values.map(|word| word as u8)),
                Some(2) => Buffer::from_iter(values.map(|word| word as u16)),
                Some(4) => Buffer::from_iter(values.map(|word| word as u32)),
                _ => Buffer::from_iter(values),
            },
        };
        let nulls = NullBuffer::from_iter(keys.iter().map(Option::is_some));
        let data = arrow::array::ArrayData::builder(self.0.clone()).len(keys.len()).add_buffer(buffer).nulls(Some(nulls));
        Ok(make_array(data.build()?))
    }
}

/// IEEE's total order, all NaNs as the greatest value.
fn double_to_word(value: f64) -> i64 {
    let bits = if value.is_nan() { f64::NAN.to_bits() & (i64::MAX as u64) } else { value.to_bits() } as i64;
    bits ^ ((bits >> 63) & i64::MAX)
}

fn word_to_double(word: i64) -> f64 {
    f64::from_bits((word ^ ((word >> 63) & i64::MAX)) as u64)
}

/// Decimals of up to 38 digits as 128-bit integers.
#[derive(Debug, Clone)]
pub struct WideWords(DataType);

impl WideWords {
    /// For decimals of 128 bits.
    pub fn new(data_type: &DataType) -> Option<Self> {
        matches!(data_type, DataType::Decimal128(..)).then(|| Self(data_type.clone()))
    }
}

impl OrderCodec for WideWords {
    type Key = i128;

    fn encode(&self, column: &ArrayRef) -> Result<Vec<i128>> {
        Ok(column.as_primitive::<Decimal128Type>().values().to_vec())
    }

    fn decode(&self, keys: &[Option<&i128>]) -> Result<ArrayRef> {
        let array: Decimal128Array = keys.iter().map(|key| key.copied()).collect();
        Ok(Arc::new(array.with_data_type(self.0.clone())))
    }
}

/// Any other type as Arrow's row encoding, with nulls in arrays behind all values.
#[derive(Debug)]
pub struct EncodedRows(RowConverter, DataType);

impl EncodedRows {
    /// For any type that has a row encoding.
    pub fn new(data_type: &DataType) -> Result<Self> {
        let options = SortOptions { descending: false, nulls_first: false };
        Ok(Self(RowConverter::new(vec![SortField::new_with_options(data_type.clone(), options)])?, data_type.clone()))
    }
}

impl OrderCodec for EncodedRows {
    type Key = Box<[u8]>;

    fn encode(&self, column: &ArrayRef) -> Result<Vec<Box<[u8]>>> {
        let rows = self.0.convert_columns(std::slice::from_ref(column))?;
        Ok(rows.iter().map(|row| row.as_ref().into()).collect())
    }

    fn decode(&self, keys: &[Option<&Box<[u8]>>]) -> Result<ArrayRef> {
        let null = arrow::array::new_null_array(&self.1, 1);
        let null = self.0.convert_columns(&[null])?;
        let parser = self.0.parser();
        let rows = keys.iter().map(|key| parser.parse(key.map_or(null.row(0).data(), |key| key)));
        Ok(self.0.convert_rows(rows)?.remove(0))
    }

    fn heap_bytes(key: &Box<[u8]>) -> usize {
        key.len()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Float64Array;

    use super::*;

    #[test]
    fn doubles_keep_their_order() {
        let ordered = [f64::NEG_INFINITY, f64::MIN, -1.5, -5e-324, -0.0, 0.0, 5e-324, 2.0, f64::MAX, f64::INFINITY, f64::NAN];
        let codec = Words::new(&DataType::Float64).expect("doubles fit");
        let column: ArrayRef = Arc::new(Float64Array::from(ordered.to_vec()));
        let keys = codec.encode(&column).expect("doubles have keys");
        assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
        let back = codec.decode(&keys.iter().map(Some).collect::<Vec<_>>()).expect("keys are doubles");
        assert_eq!(format!("{back:?}"), format!("{column:?}"));
    }
}
