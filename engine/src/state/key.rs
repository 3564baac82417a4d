//! The encoding and hash of keys: which worker owns a row and where its state is.
//!
//! **Encoding.** A value is encoded as: integers of any width, booleans, dates, times, timestamps and durations as eight bytes
//! little endian (widened to `i64`); floats as the bits of an `f64`, with -0.0 = 0.0 and one NaN; decimals and intervals as
//! their bytes, little endian; text and binary as their bytes; a list as the hashes of its elements, a struct as its fields one
//! after another. A dictionary or run-end value is the value it stands for.
//!
//! **Hash.** `h₀ = 0`, `hᵢ₊₁ = xxh3_64(encoded value of column i, seed = hᵢ)`; a null is the empty string with the seed
//! `hᵢ ⊕ NULL_SEED`. Guaranteed: equal rows have equal hashes, however their arrays are sliced or encoded. This hash decides
//! where stored data lives: changing it is a change of format. Not guaranteed: that different rows have different hashes —
//! compare values ([`super::equality`]) — but for one column of at most eight bytes without nulls, where xxh3 is a bijection
//! ([`hash_is_exact`]).

use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::types::*;
use arrow::array::{
    Array, ArrayAccessor, ArrayRef, ArrowPrimitiveType, PrimitiveArray, RecordBatch, UInt64Array, downcast_primitive_array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, IntervalUnit, i256};
use arrow::row::{RowConverter, SortField};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Distinguishes a null from the empty string.
const NULL_SEED: u64 = 0x6e75_6c6c_6b65_7921;
/// Distinguishes a list of one element from that element.
const LIST_SEED: u64 = 0x6c69_7374_6b65_7921;

/// The hash of each row of `columns`, which must not be empty (see [`hash_keys`]).
pub fn hash_rows(columns: &[ArrayRef]) -> UInt64Array {
    let n_rows = columns.first().expect("a row to be hashed has a column").len();
    hash_columns(n_rows, columns).into()
}

/// The hash of the key columns of each row; zero where there is no key column, so that all rows are on one shard.
pub fn hash_keys(rows: &RecordBatch, key_columns: &[usize]) -> UInt64Array {
    let columns: Vec<ArrayRef> = key_columns.iter().map(|column| rows.column(*column).clone()).collect();
    hash_columns(rows.num_rows(), &columns).into()
}

/// A bit per row, set where any of the columns is null; `None` when none is.
pub fn null_keys(columns: &[ArrayRef]) -> Option<BooleanBuffer> {
    let nulls = columns
        .iter()
        .fold(None, |nulls: Option<NullBuffer>, column| NullBuffer::union(nulls.as_ref(), column.logical_nulls().as_ref()))?;
    (nulls.null_count() > 0).then(|| !nulls.inner())
}

/// True when equal hashes of these types mean equal values, nulls aside: one column encoded in eight bytes, for which xxh3
/// is a bijection (a test computes its inverse).
pub(crate) fn hash_is_exact(types: &[&DataType]) -> bool {
    let [only] = types else { return false };
    match only {
        DataType::Decimal128(..) | DataType::Decimal256(..) => false,
        DataType::Interval(unit) => *unit == IntervalUnit::YearMonth,
        other => **other == DataType::Boolean || other.is_primitive(),
    }
}

pub(crate) fn hash_columns(n_rows: usize, columns: &[ArrayRef]) -> Vec<u64> {
    let mut hashes = vec![0; n_rows];
    for column in columns {
        fold_column(column, &mut hashes);
    }
    hashes
}

/// `hashes[row]` is the seed of row `row` and becomes its hash.
fn fold_column(column: &ArrayRef, hashes: &mut [u64]) {
    assert_eq!(column.len(), hashes.len(), "key columns are equally long");
    downcast_primitive_array! {
        column => fold_primitive(column, hashes),
        DataType::Boolean => {
            let values = column.as_boolean();
            fold(column, hashes, |row, seed| hash_8_bytes(u64::from(values.value(row)), seed));
        }
        DataType::Utf8 => fold_bytes(column, column.as_string::<i32>(), hashes),
        DataType::LargeUtf8 => fold_bytes(column, column.as_string::<i64>(), hashes),
        DataType::Utf8View => fold_bytes(column, column.as_string_view(), hashes),
        DataType::Binary => fold_bytes(column, column.as_binary::<i32>(), hashes),
        DataType::LargeBinary => fold_bytes(column, column.as_binary::<i64>(), hashes),
        DataType::BinaryView => fold_bytes(column, column.as_binary_view(), hashes),
        DataType::FixedSizeBinary(_) => fold_bytes(column, column.as_fixed_size_binary(), hashes),
        DataType::Null => hashes.iter_mut().for_each(|hash| *hash = hash_null(*hash)),
        DataType::Dictionary(_, value) => fold_cast(column, value, hashes),
        DataType::RunEndEncoded(_, value) => fold_cast(column, value.data_type(), hashes),
        DataType::Struct(_) => fold_struct(column, hashes),
        DataType::List(_) => fold_list(column, column.as_list::<i32>().values(), column.as_list::<i32>().value_offsets(), hashes),
        DataType::Map(..) => {
            let entries: ArrayRef = Arc::new(column.as_map().entries().clone());
            fold_list(column, &entries, column.as_map().value_offsets(), hashes);
        }
        DataType::LargeList(element) | DataType::FixedSizeList(element, _) | DataType::ListView(element) | DataType::LargeListView(element) => {
            fold_cast(column, &DataType::List(element.clone()), hashes);
        }
        other => fold_other(column, other, hashes),
    }
}

/// Arrow's primitive types, as keys.
pub(crate) trait KeyType: ArrowPrimitiveType {
    /// The hash of the encoded value.
    fn hash(value: Self::Native, seed: u64) -> u64;

    /// Equal as keys: -0.0 = 0.0 and NaN = NaN.
    fn same_key(left: Self::Native, right: Self::Native) -> bool {
        left == right
    }

    /// The very same value, bit by bit.
    fn identical(left: Self::Native, right: Self::Native) -> bool {
        left == right
    }
}

macro_rules! integer_keys {
    ($($key:ty),* $(,)?) => {$(
        impl KeyType for $key {
            #[inline]
            fn hash(value: Self::Native, seed: u64) -> u64 {
                hash_8_bytes(value as i64 as u64, seed)
            }
        }
    )*};
}
integer_keys!(Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type);
integer_keys!(Decimal32Type, Decimal64Type, IntervalYearMonthType, Date32Type, Date64Type, Time32SecondType);
integer_keys!(Time32MillisecondType, Time64MicrosecondType, Time64NanosecondType, TimestampSecondType);
integer_keys!(TimestampMillisecondType, TimestampMicrosecondType, TimestampNanosecondType, DurationSecondType);
integer_keys!(DurationMillisecondType, DurationMicrosecondType, DurationNanosecondType);

macro_rules! float_keys {
    ($($key:ty),*) => {$(
        impl KeyType for $key {
            #[inline]
            fn hash(value: Self::Native, seed: u64) -> u64 {
                hash_8_bytes(float_bits(f64::from(value)), seed)
            }

            #[inline]
            fn same_key(left: Self::Native, right: Self::Native) -> bool {
                left == right || (left.is_nan() && right.is_nan())
            }

            #[inline]
            fn identical(left: Self::Native, right: Self::Native) -> bool {
                left.to_bits() == right.to_bits()
            }
        }
    )*};
}
float_keys!(Float16Type, Float32Type, Float64Type);

macro_rules! wide_keys {
    ($($key:ty => $bytes:expr),* $(,)?) => {$(
        impl KeyType for $key {
            #[inline]
            fn hash(value: Self::Native, seed: u64) -> u64 {
                let bytes: fn(Self::Native) -> _ = $bytes;
                xxh3_64_with_seed(&bytes(value), seed)
            }
        }
    )*};
}
wide_keys!(
    Decimal128Type => i128::to_le_bytes,
    Decimal256Type => i256::to_le_bytes,
    IntervalDayTimeType => |value| ((i128::from(value.days) << 32) | i128::from(value.milliseconds as u32)).to_le_bytes(),
    IntervalMonthDayNanoType => |value| {
        let days = (i128::from(value.months) << 32) | i128::from(value.days as u32);
        ((days << 64) | i128::from(value.nanoseconds as u64)).to_le_bytes()
    },
);

#[inline]
fn float_bits(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { (value + 0.0).to_bits() }
}

/// xxh3_64 of eight little-endian bytes, written out so that it is inlined into the loop over a column.
#[inline]
fn hash_8_bytes(value: u64, seed: u64) -> u64 {
    const SECRET_8_TO_24: u64 = 0xc73a_b174_c5ec_d5a2;
    const MULTIPLIER: u64 = 0x9fb2_1c65_1e98_df25;
    let seed = seed ^ (u64::from((seed as u32).swap_bytes()) << 32);
    let mut hash = value.rotate_left(32) ^ SECRET_8_TO_24.wrapping_sub(seed);
    hash ^= hash.rotate_left(49) ^ hash.rotate_left(24);
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^= (hash >> 35).wrapping_add(8);
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 28)
}

fn hash_null(seed: u64) -> u64 {
    xxh3_64_with_seed(&[], seed ^ NULL_SEED)
}

/// Folds one column: `hash(row, seed)` for a row with a value.
#[inline]
fn fold(column: &dyn Array, hashes: &mut [u64], hash: impl Fn(usize, u64) -> u64) {
    match column.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => hashes.iter_mut().enumerate().for_each(|(row, state)| *state = hash(row, *state)),
        Some(nulls) => hashes
            .iter_mut()
            .enumerate()
            .for_each(|(row, state)| *state = if nulls.is_valid(row) { hash(row, *state) } else { hash_null(*state) }),
    }
}

fn fold_primitive<T: KeyType>(column: &PrimitiveArray<T>, hashes: &mut [u64]) {
    let values = column.values();
    fold(column, hashes, |row, seed| T::hash(values[row], seed));
}

fn fold_bytes<'a, A>(column: &dyn Array, values: A, hashes: &mut [u64])
where
    A: ArrayAccessor<Item: AsRef<[u8]>> + 'a,
{
    fold(column, hashes, |row, seed| xxh3_64_with_seed(values.value(row).as_ref(), seed));
}

fn fold_cast(column: &ArrayRef, to: &DataType, hashes: &mut [u64]) {
    fold_column(&cast(column, to).expect("an encoded column casts to its values"), hashes);
}

fn fold_struct(column: &ArrayRef, hashes: &mut [u64]) {
    let mut fields = hashes.to_vec();
    column.as_struct().columns().iter().for_each(|field| fold_column(field, &mut fields));
    fold(column, hashes, |row, _| fields[row]);
}

fn fold_list(column: &ArrayRef, elements: &ArrayRef, offsets: &[i32], hashes: &mut [u64]) {
    let (first, last) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
    let element_hashes = hash_columns(last - first, &[elements.slice(first, last - first)]);
    let bytes: Vec<u8> = element_hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect();
    fold(column, hashes, |row, seed| {
        let (start, end) = (offsets[row] as usize - first, offsets[row + 1] as usize - first);
        xxh3_64_with_seed(&bytes[start * 8..end * 8], seed ^ LIST_SEED)
    });
}

/// Types that are rare as keys (unions): by Arrow's row encoding.
fn fold_other(column: &ArrayRef, data_type: &DataType, hashes: &mut [u64]) {
    let rows = RowConverter::new(vec![SortField::new(data_type.clone())])
        .and_then(|converter| converter.convert_columns(std::slice::from_ref(column)))
        .expect("planning refuses keys that have no row encoding");
    fold(column, hashes, |row, seed| xxh3_64_with_seed(rows.row(row).as_ref(), seed));
}

#[cfg(test)]
pub(super) mod tests {
    use arrow::array::{BooleanArray, DictionaryArray, Float32Array, Float64Array, Int32Array, Int64Array, StringArray};
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::operators::script::{changes, schema};

    fn hashes(column: impl Array + 'static) -> Vec<u64> {
        hash_rows(&[Arc::new(column)]).values().to_vec()
    }

    #[test]
    fn eight_bytes_are_hashed_as_xxh3_does() {
        let mut random = StdRng::seed_from_u64(1);
        for _ in 0..10_000 {
            let (value, seed): (u64, u64) = random.random();
            assert_eq!(hash_8_bytes(value, seed), xxh3_64_with_seed(&value.to_le_bytes(), seed));
        }
    }

    /// Undoes each step of `hash_8_bytes`: that an inverse exists is why equal hashes mean equal values.
    pub(in crate::state) fn unhash(mut hash: u64, seed: u64) -> u64 {
        const MULTIPLIER: u64 = 0x9fb2_1c65_1e98_df25;
        let inverse = (0..6).fold(MULTIPLIER, |x, _| x.wrapping_mul(2u64.wrapping_sub(MULTIPLIER.wrapping_mul(x))));
        hash ^= (hash >> 28) ^ (hash >> 56);
        hash = hash.wrapping_mul(inverse);
        hash ^= (hash >> 35).wrapping_add(8);
        hash = hash.wrapping_mul(inverse);
        // x → x ^ rotl(x, 49) ^ rotl(x, 24) is linear and its 64th power is the identity, so 63 more steps undo it.
        for _ in 0..63 {
            hash ^= hash.rotate_left(49) ^ hash.rotate_left(24);
        }
        let seed = seed ^ (u64::from((seed as u32).swap_bytes()) << 32);
        (hash ^ 0xc73a_b174_c5ec_d5a2_u64.wrapping_sub(seed)).rotate_left(32)
    }

    #[test]
    fn the_hash_of_eight_bytes_is_a_bijection() {
        let mut random = StdRng::seed_from_u64(2);
        for _ in 0..10_000 {
            let (value, seed): (u64, u64) = random.random();
            assert_eq!(unhash(hash_8_bytes(value, seed), seed), value);
        }
    }

    #[test]
    fn equal_values_hash_equal_whatever_their_array() {
        let dictionary: DictionaryArray<Int32Type> = vec!["b", "a", "b"].into_iter().collect();
        assert_eq!(hashes(dictionary), hashes(StringArray::from(vec!["b", "a", "b"])));
        let sliced = Int64Array::from(vec![None, Some(1), None, Some(3)]).slice(1, 3);
        assert_eq!(hashes(sliced), hashes(Int32Array::from(vec![Some(1), None, Some(3)])));
        let floats = hashes(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN, 1.5]));
        assert_eq!((floats[0], floats[2]), (floats[1], floats[3]));
        assert_eq!(floats[4], hashes(Float32Array::from(vec![1.5]))[0]);
        let lists = changes(&schema("l:int[]"), "+ [1,2] | + [3] | + [1,2] | + [] | + null");
        let whole = hash_rows(lists.rows().columns());
        assert_eq!(hash_rows(lists.slice(2, 3).rows().columns()).values(), &whole.values()[2..]);
        assert_eq!(whole.value(0), whole.value(2));
    }

    /// The formula at the file's head: stored rows are where it says.
    #[test]
    fn a_column_is_hashed_with_the_hash_of_those_before_it() {
        let rows = changes(&schema("t:text i:int4 l:int[]"), "+ a 7 [1,2] | + a null [1,2] | + a 7 []");
        let first = xxh3_64_with_seed(b"a", 0);
        let second = xxh3_64_with_seed(&7_i64.to_le_bytes(), first);
        let elements: Vec<u8> = [1_i64, 2].iter().flat_map(|n| xxh3_64_with_seed(&n.to_le_bytes(), 0).to_le_bytes()).collect();
        let third = |elements: &[u8], seed: u64| xxh3_64_with_seed(elements, seed ^ LIST_SEED);
        let null = xxh3_64_with_seed(&[], first ^ NULL_SEED);
        let expected = [third(&elements, second), third(&elements, null), third(&[], second)];
        assert_eq!(hash_rows(rows.rows().columns()).values().to_vec(), expected);
    }

    #[test]
    fn null_is_no_value_and_columns_do_not_run_together() {
        let text = hashes(StringArray::from(vec![None, Some(""), Some("null")]));
        assert!(text[0] != text[1] && text[0] != text[2]);
        let bools = hashes(BooleanArray::from(vec![None, Some(false), Some(true)]));
        assert!(bools[0] != bools[1] && bools[1] != bools[2]);
        let pairs = changes(&schema("a:text b:text"), "+ ab c | + a bc | + null ab | + ab null");
        let mut pairs = hash_rows(pairs.rows().columns()).values().to_vec();
        pairs.sort_unstable();
        pairs.dedup();
        assert_eq!(pairs.len(), 4);
    }

    #[test]
    fn null_keys_are_found_in_any_column() {
        let rows = changes(&schema("a:int b:text"), "+ 1 x | + null x | + 1 null");
        let found = null_keys(rows.rows().columns()).expect("there are nulls");
        assert_eq!(found.iter().collect::<Vec<_>>(), [false, true, true]);
        assert!(null_keys(&[Arc::new(Int64Array::from(vec![1]))]).is_none());
    }
}
