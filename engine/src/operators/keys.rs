//! Which group a row belongs to: a hash table from key values to small dense numbers, which are reused once freed.
//!
//! Keys of up to three columns of at most eight bytes each are kept as machine words; others as Arrow's row encoding. Nulls
//! equal each other, -0.0 equals 0.0 and all NaNs are one, as in DataFusion's GROUP BY.

use arrow::array::{Array, ArrayData, ArrayRef, AsArray, BooleanArray, Float32Array, Float64Array, make_array};
use arrow::buffer::{Buffer, NullBuffer};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow_row::{RowConverter, SortField};
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use crate::{Error, Result};

/// Key values ↔ dense numbers.
pub(crate) struct KeyTable {
    store: Store,
    /// Numbers not in use, to be given out again.
    free: Vec<u32>,
    /// Numbers `0..n_slots` were given out at some time.
    n_slots: usize,
}

enum Store {
    One(WordKeys<1>),
    Two(WordKeys<2>),
    Three(WordKeys<3>),
    Bytes(ByteKeys),
}

impl KeyTable {
    /// For keys of these types, of which there is at least one.
    pub fn new(types: &[DataType]) -> Result<Self> {
        assert!(!types.is_empty(), "without keys there is one group, which needs no table");
        let store = match types {
            [_] if fits_words(types) => Store::One(WordKeys::new(types)),
            [_, _] if fits_words(types) => Store::Two(WordKeys::new(types)),
            [_, _, _] if fits_words(types) => Store::Three(WordKeys::new(types)),
            _ => Store::Bytes(ByteKeys::new(types)?),
        };
        Ok(Self { store, free: Vec::new(), n_slots: 0 })
    }

    /// Appends the number of each row's key to `numbers`; unknown keys get one.
    pub fn intern(&mut self, columns: &[ArrayRef], numbers: &mut Vec<usize>) -> Result<()> {
        let mut slots = Slots { free: &mut self.free, n_slots: &mut self.n_slots };
        match &mut self.store {
            Store::One(keys) => keys.intern(columns, &mut slots, numbers),
            Store::Two(keys) => keys.intern(columns, &mut slots, numbers),
            Store::Three(keys) => keys.intern(columns, &mut slots, numbers),
            Store::Bytes(keys) => return keys.intern(columns, &mut slots, numbers),
        }
        Ok(())
    }

    /// One more than the greatest number ever given out.
    pub fn n_slots(&self) -> usize {
        self.n_slots
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.n_slots - self.free.len()
    }

    /// Forgets a key; its number may be given out again.
    pub fn remove(&mut self, number: usize) {
        match &mut self.store {
            Store::One(keys) => keys.remove(number),
            Store::Two(keys) => keys.remove(number),
            Store::Three(keys) => keys.remove(number),
            Store::Bytes(keys) => keys.remove(number),
        }
        self.free.push(number as u32);
    }

    /// The key values of these numbers, as columns.
    pub fn columns(&self, numbers: &[usize]) -> Result<Vec<ArrayRef>> {
        match &self.store {
            Store::One(keys) => keys.columns(numbers),
            Store::Two(keys) => keys.columns(numbers),
            Store::Three(keys) => keys.columns(numbers),
            Store::Bytes(keys) => keys.columns(numbers),
        }
    }

    /// Bytes held, estimated.
    pub fn n_bytes(&self) -> usize {
        let store = match &self.store {
            Store::One(keys) => keys.n_bytes(),
            Store::Two(keys) => keys.n_bytes(),
            Store::Three(keys) => keys.n_bytes(),
            Store::Bytes(keys) => keys.n_bytes(),
        };
        store + self.free.capacity() * 4
    }
}

/// Where new numbers come from.
struct Slots<'a> {
    free: &'a mut Vec<u32>,
    n_slots: &'a mut usize,
}

impl Slots<'_> {
    fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            let number = u32::try_from(*self.n_slots).expect("a worker keeps fewer than 2^32 groups");
            *self.n_slots += 1;
            number
        })
    }
}

/// Keys of `N` words; bit `i` of `nulls` says that word `i` stands for null (and is zero).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WordKey<const N: usize> {
    words: [u64; N],
    nulls: u32,
}

struct WordKeys<const N: usize> {
    types: Vec<DataType>,
    table: HashTable<(WordKey<N>, u32)>,
    /// The key of each number; of freed ones, the last.
    keys: Vec<WordKey<N>>,
}

impl<const N: usize> WordKey<N> {
    #[inline]
    fn hash(&self) -> u64 {
        let mut hash = u64::from(self.nulls) ^ 0x9e37_79b9_7f4a_7c15;
        for word in self.words {
            let product = u128::from(hash ^ word) * 0xd6e8_feb8_6659_fd93_u128;
            hash = (product >> 64) as u64 ^ product as u64;
            hash = hash.rotate_left(23) ^ word.wrapping_mul(0x9fb2_1c65_1e98_df25);
        }
        let product = u128::from(hash) * 0xa076_1d64_78bd_642f_u128;
        (product >> 64) as u64 ^ product as u64
    }
}

impl<const N: usize> WordKeys<N> {
    fn new(types: &[DataType]) -> Self {
        Self { types: types.to_vec(), table: HashTable::new(), keys: Vec::new() }
    }

    fn intern(&mut self, columns: &[ArrayRef], slots: &mut Slots<'_>, numbers: &mut Vec<usize>) {
        let columns: Vec<Words> = columns.iter().map(words).collect();
        let n_rows = columns[0].values.len();
        numbers.reserve(n_rows);
        let has_nulls = columns.iter().any(|column| column.nulls.is_some());
        let mut last: Option<(WordKey<N>, u32)> = None;
        for row in 0..n_rows {
            let mut key = WordKey { words: std::array::from_fn(|column| columns[column].values[row]), nulls: 0 };
            if has_nulls {
                key.set_nulls(&columns, row);
            }
            let number = match last {
                Some((known, number)) if known == key => number,
                _ => self.number_of(key, slots),
            };
            last = Some((key, number));
            numbers.push(number as usize);
        }
    }

    #[inline]
    fn number_of(&mut self, key: WordKey<N>, slots: &mut Slots<'_>) -> u32 {
        let hash = key.hash();
        if let Some((_, number)) = self.table.find(hash, |(known, _)| *known == key) {
            return *number;
        }
        let number = slots.take();
        self.table.insert_unique(hash, (key, number), |(known, _)| known.hash());
        if number as usize == self.keys.len() {
            self.keys.push(key);
        } else {
            self.keys[number as usize] = key;
        }
        number
    }

    fn remove(&mut self, number: usize) {
        let hash = self.keys[number].hash();
        let entry = self.table.find_entry(hash, |(_, known)| *known as usize == number);
        entry.expect("a number in use is in the table").remove();
    }

    fn columns(&self, numbers: &[usize]) -> Result<Vec<ArrayRef>> {
        let column = |(index, data_type): (usize, &DataType)| {
            let values = numbers.iter().map(|number| self.keys[*number].words[index]);
            let is_null = |number: &usize| self.keys[*number].nulls & (1 << index) != 0;
            let nulls = numbers.iter().any(is_null).then(|| NullBuffer::from_iter(numbers.iter().map(|number| !is_null(number))));
            column_of_words(data_type, values, numbers.len(), nulls)
        };
        self.types.iter().enumerate().map(column).collect()
    }

    fn n_bytes(&self) -> usize {
        self.table.allocation_size() + self.keys.capacity() * size_of::<WordKey<N>>()
    }
}

impl<const N: usize> WordKey<N> {
    fn set_nulls(&mut self, columns: &[Words], row: usize) {
        for (index, column) in columns.iter().enumerate() {
            if column.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                self.words[index] = 0;
                self.nulls |= 1 << index;
            }
        }
    }
}

/// A column as words.
struct Words {
    values: Vec<u64>,
    nulls: Option<NullBuffer>,
}

/// A column's values as words, nulls as any; `None` when its type does not fit.
pub(super) fn words_of(column: &ArrayRef) -> Option<Vec<u64>> {
    fits_words(std::slice::from_ref(column.data_type())).then(|| words(column).values)
}

fn fits_words(types: &[DataType]) -> bool {
    types.iter().all(|data_type| *data_type == DataType::Boolean || data_type.primitive_width().is_some_and(|width| width <= 8))
}

fn words(column: &ArrayRef) -> Words {
    let data = column.to_data();
    let len = data.len();
    let values = match column.data_type() {
        DataType::Boolean => column.as_boolean().values().iter().map(u64::from).collect(),
        DataType::Float64 => column.as_primitive::<Float64Type>().values().iter().map(|value| canonical(*value).to_bits()).collect(),
        DataType::Float32 => {
            column.as_primitive::<Float32Type>().values().iter().map(|value| u64::from(canonical_real(*value).to_bits())).collect()
        }
        other => match other.primitive_width() {
            Some(8) => data.buffer::<u64>(0)[..len].to_vec(),
            Some(4) => data.buffer::<u32>(0)[..len].iter().map(|value| u64::from(*value)).collect(),
            Some(2) => data.buffer::<u16>(0)[..len].iter().map(|value| u64::from(*value)).collect(),
            _ => data.buffer::<u8>(0)[..len].iter().map(|value| u64::from(*value)).collect(),
        },
    };
    Words { values, nulls: column.nulls().filter(|nulls| nulls.null_count() > 0).cloned() }
}

fn column_of_words(data_type: &DataType, values: impl Iterator<Item = u64>, len: usize, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    if *data_type == DataType::Boolean {
        return Ok(std::sync::Arc::new(BooleanArray::new(values.map(|value| value != 0).collect(), nulls)));
    }
    let buffer = match data_type.primitive_width() {
        Some(8) => Buffer::from_iter(values),
        Some(4) => Buffer::from_iter(values.map(|value| value as u32)),
        Some(2) => Buffer::from_iter(values.map(|value| value as u16)),
        Some(1) => Buffer::from_iter(values.map(|value| value as u8)),
        _ => return Err(Error::internal(format!("{data_type} is no word key"))),
    };
    Ok(make_array(ArrayData::builder(data_type.clone()).len(len).add_buffer(buffer).nulls(nulls).build()?))
}

/// One zero and one NaN.
fn canonical(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value + 0.0 }
}

fn canonical_real(value: f32) -> f32 {
    if value.is_nan() { f32::NAN } else { value + 0.0 }
}

/// Keys as Arrow's row encoding.
struct ByteKeys {
    converter: RowConverter,
    table: HashTable<(u64, u32)>,
    keys: Vec<Box<[u8]>>,
    n_key_bytes: usize,
}

impl ByteKeys {
    fn new(types: &[DataType]) -> Result<Self> {
        let fields = types.iter().map(|data_type| SortField::new(data_type.clone())).collect();
        Ok(Self { converter: RowConverter::new(fields)?, table: HashTable::new(), keys: Vec::new(), n_key_bytes: 0 })
    }

    fn intern(&mut self, columns: &[ArrayRef], slots: &mut Slots<'_>, numbers: &mut Vec<usize>) -> Result<()> {
        let columns: Vec<ArrayRef> = columns.iter().map(canonical_column).collect();
        let rows = self.converter.convert_columns(&columns)?;
        numbers.reserve(rows.num_rows());
        numbers.extend(rows.iter().map(|row| self.number_of(row.as_ref(), slots) as usize));
        Ok(())
    }

    fn number_of(&mut self, key: &[u8], slots: &mut Slots<'_>) -> u32 {
        let hash = xxh3_64(key);
        let is_key = |(known_hash, number): &(u64, u32)| *known_hash == hash && *self.keys[*number as usize] == *key;
        if let Some((_, number)) = self.table.find(hash, is_key) {
            return *number;
        }
        let number = slots.take();
        self.table.insert_unique(hash, (hash, number), |(hash, _)| *hash);
        self.n_key_bytes += key.len();
        if number as usize == self.keys.len() {
            self.keys.push(key.into());
        } else {
            self.keys[number as usize] = key.into();
        }
        number
    }

    fn remove(&mut self, number: usize) {
        let key = std::mem::take(&mut self.keys[number]);
        self.n_key_bytes -= key.len();
        let entry = self.table.find_entry(xxh3_64(&key), |(_, known)| *known as usize == number);
        entry.expect("a number in use is in the table").remove();
    }

    fn columns(&self, numbers: &[usize]) -> Result<Vec<ArrayRef>> {
        let parser = self.converter.parser();
        Ok(self.converter.convert_rows(numbers.iter().map(|number| parser.parse(&self.keys[*number])))?)
    }

    fn n_bytes(&self) -> usize {
        self.table.allocation_size() + self.keys.capacity() * size_of::<Box<[u8]>>() + self.n_key_bytes
    }
}

fn canonical_column(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float64 => std::sync::Arc::new(column.as_primitive::<Float64Type>().unary::<_, Float64Type>(canonical) as Float64Array),
        DataType::Float32 => {
            std::sync::Arc::new(column.as_primitive::<Float32Type>().unary::<_, Float32Type>(canonical_real) as Float32Array)
        }
        _ => column.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use arrow::compute::cast;

    use super::*;
    use crate::operators::script::{changes, rows_text, schema};

    fn interned(table: &mut KeyTable, columns: &[ArrayRef]) -> Vec<usize> {
        let mut numbers = Vec::new();
        table.intern(columns, &mut numbers).expect("the types have an encoding");
        numbers
    }

    /// Rows with keys of these columns, as text, are told apart and come back as they were.
    #[track_caller]
    fn come_back(columns: &str, text: &str, numbers: &[usize]) {
        let batch = changes(&schema(columns), text);
        let types: Vec<DataType> = batch.rows().columns().iter().map(|column| column.data_type().clone()).collect();
        let mut table = KeyTable::new(&types).expect("the types have an encoding");
        assert_eq!(interned(&mut table, batch.rows().columns()), numbers, "{columns}");
        assert_eq!((table.n_slots(), table.len()), (numbers.len(), numbers.len()));
        let found = table.columns(numbers).expect("they were encoded");
        let found = arrow::array::RecordBatch::try_new(batch.rows().schema(), found).expect("the columns' types are the same");
        assert_eq!(rows_text(&found), rows_text(batch.rows()), "{columns}");
    }

    #[test]
    fn keys_come_back_as_they_were() {
        come_back("a:bool", "+ true | + null | + false", &[0, 1, 2]);
        come_back("a:int4 b:int", "+ 1 -1 | + -1 1 | + 0 null | + null 0 | + null null | + 0 0", &[0, 1, 2, 3, 4, 5]);
        come_back("a:date b:float c:timestamp", "+ 2024-02-29 -1.5 null | + null null 2024-02-29T12:00:00 | + null 0.0 null", &[0, 1, 2]);
        come_back(
            "a:bool b:bool c:bool",
            "+ null false false | + false null false | + false false null | + false false false",
            &[0, 1, 2, 3],
        );
        come_back("a:int b:int c:int d:int", "+ 1 2 3 4 | + 1 2 3 null | + null 2 3 4", &[0, 1, 2]);
        come_back("a:decimal", "+ 1.0000000000 | + null | + -1.0000000000", &[0, 1, 2]);
        come_back("a:text b:int[]", "+ a [1] | + '' [] | + null null | + b [1,null]", &[0, 1, 2, 3]);
    }

    #[test]
    fn keys_of_each_width_come_back() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(0), Some(1), None, Some(-1), Some(127), Some(-128)]));
        for data_type in [DataType::Int8, DataType::Int16, DataType::Int32, DataType::Int64, DataType::Float32, DataType::Float64] {
            let column = cast(&numbers, &data_type).expect("small numbers fit");
            let mut table = KeyTable::new(std::slice::from_ref(&data_type)).expect("numbers have an encoding");
            assert_eq!(interned(&mut table, std::slice::from_ref(&column)), [0, 1, 2, 3, 4, 5]);
            assert_eq!(table.columns(&[0, 1, 2, 3, 4, 5]).expect("they were encoded"), [column], "{data_type}");
        }
    }

    #[test]
    fn a_number_is_given_out_again() {
        for columns in ["a:int", "a:text"] {
            let key = |text: &str| changes(&schema(columns), text).rows().columns().to_vec();
            let mut table = KeyTable::new(&[key("+ 1")[0].data_type().clone()]).expect("the type has an encoding");
            assert_eq!(interned(&mut table, &key("+ 7 | + 8 | + 7 | + 9")), [0, 1, 0, 2]);
            table.remove(1);
            assert_eq!((table.len(), table.n_slots()), (2, 3));
            assert_eq!(interned(&mut table, &key("+ 9 | + 5 | + 8")), [2, 1, 3]);
            assert_eq!(table.columns(&[1, 0]).expect("they were encoded"), key("+ 5 | + 7"));
        }
    }

    /// A table of hashes that do not spread is right and slow.
    #[test]
    fn neighbours_have_hashes_far_apart() {
        let low: BTreeSet<u64> = (0..65_536).map(|n| WordKey { words: [n], nulls: 0 }.hash() % 65_536).collect();
        let high: BTreeSet<u64> = (0..65_536).map(|n| WordKey { words: [n << 32, 7], nulls: 0 }.hash() >> 48).collect();
        // By chance it would be 1 - 1/e of them.
        assert!(low.len() > 35_000 && high.len() > 35_000, "{} and {} different hashes", low.len(), high.len());
        assert_ne!(WordKey { words: [0], nulls: 0 }.hash(), WordKey { words: [0], nulls: 1 }.hash());
    }

    #[test]
    fn bytes_come_with_keys_and_go_with_them() {
        let mut keys = ByteKeys::new(&[DataType::Utf8]).expect("text has an encoding");
        let (mut free, mut n_slots) = (Vec::new(), 0);
        let mut numbers = Vec::new();
        let text: ArrayRef = Arc::new(arrow::array::StringArray::from(vec!["x".repeat(10_000), "y".repeat(10_000)]));
        keys.intern(&[text], &mut Slots { free: &mut free, n_slots: &mut n_slots }, &mut numbers).expect("text has an encoding");
        let n_bytes = keys.n_bytes();
        assert!((20_000..21_500).contains(&n_bytes), "{n_bytes} bytes");
        keys.remove(0);
        assert!((10_000..n_bytes - 9_999).contains(&keys.n_bytes()), "{} bytes", keys.n_bytes());
    }
}
