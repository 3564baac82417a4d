//! Are two rows equal? For many pairs of rows at once, column by column, across the batches that hold them.
//!
//! Two meanings: *keys* are equal as SQL groups and joins them (-0.0 = 0.0, NaN = NaN); rows are *identical* when a
//! retraction of one takes the other away (floats bit by bit). Inside lists and structs both mean bit by bit. In both, null is
//! a value like any other unless said otherwise.

use std::any::Any;
use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::types::*;
use arrow::array::{Array, ArrayRef, BooleanArray, GenericByteArray, PrimitiveArray, downcast_primitive};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;

use super::key::KeyType;

/// Where a row is: a batch in a list of batches, and the row in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// Index of the batch.
    pub batch: u32,
    /// Index of the row in the batch.
    pub row: u32,
}

/// How rows are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Equality {
    /// As keys in which null equals null.
    Key,
    /// As keys in which null equals nothing.
    KeyWithoutNulls,
    /// As rows: a retraction of one takes the other away.
    Identical,
}

/// Bit `i` says whether row `left_rows[i]` of `left` equals row `right_rows[i]` of `right` as keys. Columns are pairwise of one type.
pub fn rows_equal(left: &[ArrayRef], left_rows: &[u32], right: &[ArrayRef], right_rows: &[u32], nulls_equal: bool) -> BooleanBuffer {
    let locations = |rows: &[u32]| rows.iter().map(|row| Location { batch: 0, row: *row }).collect::<Vec<_>>();
    let reader = |columns: &[ArrayRef]| RowReader::new(columns.iter().map(|column| vec![column.clone()]));
    let equality = if nulls_equal { Equality::Key } else { Equality::KeyWithoutNulls };
    reader(left).equal(&locations(left_rows), &reader(right), &locations(right_rows), equality).into_iter().collect()
}

/// Typed access to some columns of rows that lie in several batches.
pub(crate) struct RowReader {
    columns: Vec<Box<dyn Values>>,
}

impl RowReader {
    /// For each column its array in each batch.
    pub(crate) fn new(columns: impl Iterator<Item = Vec<ArrayRef>>) -> Self {
        Self { columns: columns.map(values).collect() }
    }

    /// For each pair, whether row `left[i]` of `self` equals row `right[i]` of `other`.
    pub(crate) fn equal(&self, left: &[Location], other: &Self, right: &[Location], equality: Equality) -> Vec<bool> {
        assert_eq!(left.len(), right.len(), "rows are compared in pairs");
        let mut equal = vec![true; left.len()];
        for (column, other) in self.columns.iter().zip(&other.columns) {
            column.and_equal(left, other.as_ref(), right, equality, &mut equal);
        }
        equal
    }
}

trait Values: Send + Sync {
    /// Clears `equal[i]` where the pair differs in this column.
    fn and_equal(&self, left: &[Location], other: &dyn Values, right: &[Location], equality: Equality, equal: &mut [bool]);
    fn as_any(&self) -> &dyn Any;
}

/// The arrays of one column, one per batch.
struct Column<A> {
    arrays: Vec<A>,
    has_nulls: bool,
}

/// Comparison of two values that are not null.
trait Compare: Array + Sized + Send + Sync + 'static {
    fn compare(&self, row: usize, other: &Self, other_row: usize, identical: bool) -> bool;
}

impl<T: KeyType> Compare for PrimitiveArray<T> {
    #[inline]
    fn compare(&self, row: usize, other: &Self, other_row: usize, identical: bool) -> bool {
        let (left, right) = (self.values()[row], other.values()[other_row]);
        if identical { T::identical(left, right) } else { T::same_key(left, right) }
    }
}

impl<T: ByteArrayType> Compare for GenericByteArray<T> {
    #[inline]
    fn compare(&self, row: usize, other: &Self, other_row: usize, _: bool) -> bool {
        let (left, right): (&[u8], &[u8]) = (self.value(row).as_ref(), other.value(other_row).as_ref());
        left == right
    }
}

impl Compare for BooleanArray {
    fn compare(&self, row: usize, other: &Self, other_row: usize, _: bool) -> bool {
        self.value(row) == other.value(other_row)
    }
}

/// Any other type, by Arrow's own equality of one-row slices: right for all types, slower.
impl Compare for ArrayRef {
    fn compare(&self, row: usize, other: &Self, other_row: usize, _: bool) -> bool {
        self.slice(row, 1).to_data() == other.slice(other_row, 1).to_data()
    }
}

impl<A: Compare> Values for Column<A> {
    fn and_equal(&self, left: &[Location], other: &dyn Values, right: &[Location], equality: Equality, equal: &mut [bool]) {
        let other: &Self = other.as_any().downcast_ref().expect("columns are compared with columns of their own type");
        let identical = equality == Equality::Identical;
        let pairs = left.iter().zip(right).zip(equal).filter(|(_, equal)| **equal);
        let arrays = |left: &Location, right: &Location| (&self.arrays[left.batch as usize], &other.arrays[right.batch as usize]);
        if !self.has_nulls && !other.has_nulls {
            return pairs.for_each(|((l, r), equal)| {
                let (left, right) = arrays(l, r);
                *equal = left.compare(l.row as usize, right, r.row as usize, identical);
            });
        }
        pairs.for_each(|((l, r), equal)| {
            let (left, right) = arrays(l, r);
            *equal = match (left.is_null(l.row as usize), right.is_null(r.row as usize)) {
                (false, false) => left.compare(l.row as usize, right, r.row as usize, identical),
                (true, true) => equality != Equality::KeyWithoutNulls,
                _ => false,
            };
        });
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn values(arrays: Vec<ArrayRef>) -> Box<dyn Values> {
    fn column<A: Compare>(arrays: &[ArrayRef], downcast: impl Fn(&ArrayRef) -> A) -> Box<dyn Values> {
        let has_nulls = arrays.iter().any(|array| array.is_nullable());
        Box::new(Column { arrays: arrays.iter().map(downcast).collect(), has_nulls })
    }
    macro_rules! primitive {
        ($t:ty, $arrays:expr) => {
            column(&$arrays, |array| array.as_primitive::<$t>().clone())
        };
    }
    let data_type = arrays.first().map_or(DataType::Null, |array| array.data_type().clone());
    downcast_primitive! {
        data_type => (primitive, arrays),
        DataType::Boolean => column(&arrays, |array| array.as_boolean().clone()),
        DataType::Utf8 => column(&arrays, |array| array.as_string::<i32>().clone()),
        DataType::LargeUtf8 => column(&arrays, |array| array.as_string::<i64>().clone()),
        DataType::Binary => column(&arrays, |array| array.as_binary::<i32>().clone()),
        DataType::LargeBinary => column(&arrays, |array| array.as_binary::<i64>().clone()),
        _ => column(&arrays, Arc::clone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::script::{changes, schema};

    fn equal(columns: &str, left: &str, right: &str, equality: Equality) -> Vec<bool> {
        let schema = schema(columns);
        let (left, right) = (changes(&schema, left), changes(&schema, right));
        let locations: Vec<Location> = (0..left.len() as u32).map(|row| Location { batch: 0, row }).collect();
        let reader = |batch: &crate::ChangeBatch| RowReader::new(batch.rows().columns().iter().map(|column| vec![column.clone()]));
        reader(&left).equal(&locations, &reader(&right), &locations, equality)
    }

    #[test]
    fn keys_and_rows_differ_in_what_equals() {
        let (left, right) = ("+ 0.0 | + NaN | + 1 | + null | + null", "+ -0.0 | + NaN | + 2 | + null | + 1");
        assert_eq!(equal("f:float", left, right, Equality::Key), [true, true, false, true, false]);
        assert_eq!(equal("f:float", left, right, Equality::KeyWithoutNulls), [true, true, false, false, false]);
        assert_eq!(equal("f:float", left, right, Equality::Identical), [false, true, false, true, false]);
    }

    #[test]
    fn all_columns_must_be_equal() {
        let left = "+ a 1 [1] true | + a 1 [1] true | + a 1 null true | + b 1 [1] false";
        let right = "+ a 1 [1] true | + a 1 [1,2] true | + a 1 null true | + b 1 [1] true";
        let found = equal("t:text i:int l:int[] b:bool", left, right, Equality::Identical);
        assert_eq!(found, [true, false, true, false]);
    }

    #[test]
    fn pairs_are_of_rows() {
        let rows = changes(&schema("t:text"), "+ a | + b | + a | + null");
        let found = rows_equal(rows.rows().columns(), &[0, 0, 3], rows.rows().columns(), &[2, 1, 3], false);
        assert_eq!(found.iter().collect::<Vec<_>>(), [true, false, false]);
    }
}
