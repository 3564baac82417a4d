//! Equal rows of a batch as one row with the sum of their weights, before each is multiplied: bids of one auction that are in
//! the same windows are counted once. It never changes what a batch means, so it is done only where it is cheap and pays.

use arrow::array::{Array, ArrayRef, Int64Array, ListArray, UInt32Array};

use super::keys::{KeyTable, words_of};
use crate::{ChangeBatch, Result};

/// Merges rows while that makes batches much smaller.
#[derive(Debug, Default)]
pub(super) struct EqualRows {
    /// Batches to leave as they are: what came before them had few equal rows.
    n_paused: u32,
}

/// A batch must shrink to less than a half, or the next ones are left alone.
const PAUSE_BATCHES: u32 = 31;
/// More different lists than this in a batch are not looked for.
const MAX_LISTS: usize = 16;
/// Columns that a key is made of at most, the list's number among them.
const MAX_COLUMNS: usize = 3;

impl EqualRows {
    /// The changes with rows that agree in `columns` and `list` merged; other columns are not kept apart. `None` where it would
    /// not pay.
    pub(super) fn merge(&mut self, changes: &ChangeBatch, columns: &[usize], list: &ListArray) -> Result<Option<ChangeBatch>> {
        if self.n_paused > 0 {
            self.n_paused -= 1;
            return Ok(None);
        }
        let merged = merge(changes, columns, list)?;
        if merged.as_ref().is_none_or(|merged| merged.len() * 2 > changes.len()) {
            self.n_paused = PAUSE_BATCHES;
        }
        Ok(merged)
    }
}

fn merge(changes: &ChangeBatch, columns: &[usize], list: &ListArray) -> Result<Option<ChangeBatch>> {
    let mut keys: Vec<ArrayRef> = columns.iter().map(|column| changes.column(*column).clone()).collect();
    if keys.len() >= MAX_COLUMNS || keys.iter().any(|key| words_of(key).is_none()) {
        return Ok(None);
    }
    let Some(numbers) = list_numbers(list) else { return Ok(None) };
    keys.push(std::sync::Arc::new(UInt32Array::from(numbers)));
    let types: Vec<_> = keys.iter().map(|key| key.data_type().clone()).collect();
    let mut groups = Vec::new();
    let mut table = KeyTable::new(&types)?;
    table.intern(&keys, &mut groups)?;
    let mut first_rows: Vec<u32> = Vec::with_capacity(table.n_slots());
    let mut weights: Vec<i64> = Vec::with_capacity(table.n_slots());
    for (row, group) in groups.into_iter().enumerate() {
        if group == first_rows.len() {
            first_rows.push(row as u32);
            weights.push(0);
        }
        weights[group] += changes.weight(row);
    }
    let rows = crate::update::take_rows(changes.rows(), &first_rows.into())?;
    Ok(Some(ChangeBatch::new(rows, Int64Array::from(weights))))
}

/// A number for each different list of numbers; `None` when there are many, or lists of something else.
fn list_numbers(list: &ListArray) -> Option<Vec<u32>> {
    let values = words_of(list.values())?;
    if list.values().null_count() > 0 {
        return None;
    }
    let offsets = list.value_offsets();
    let mut known: Vec<Option<&[u64]>> = Vec::new();
    let mut numbers = Vec::with_capacity(list.len());
    let mut last = 0;
    for row in 0..list.len() {
        let elements = list.is_valid(row).then(|| &values[offsets[row] as usize..offsets[row + 1] as usize]);
        if known.get(last) != Some(&elements) {
            last = match known.iter().position(|other| *other == elements) {
                Some(found) => found,
                None if known.len() < MAX_LISTS => {
                    known.push(elements);
                    known.len() - 1
                }
                None => return None,
            };
        }
        numbers.push(last as u32);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;

    use super::*;
    use crate::operators::script::{changes, consolidated, schema};

    fn merged(columns: &str, text: &str) -> Option<std::collections::BTreeMap<String, i64>> {
        let schema = schema(columns);
        let batch = changes(&schema, text);
        let list = schema.index_of("l").expect("there is a list");
        let others: Vec<usize> = (0..schema.fields().len()).filter(|column| *column != list).collect();
        let merged = EqualRows::default().merge(&batch, &others, batch.column(list).as_list()).expect("it can be merged")?;
        assert_eq!(consolidated(std::slice::from_ref(&merged)), consolidated(&[batch]));
        Some((0..merged.len()).map(|row| (super::super::script::rows_text(merged.rows())[row].clone(), merged.weight(row))).collect())
    }

    #[test]
    fn weights_of_equal_rows_are_summed_up() {
        let found = merged("k:int l:int[]", "+ 1 [1,2] | +2 1 [1,2] | + null [1,2] | + null [1,2] | + 1 null | - 1 null | + 1 [2]");
        let expected = [("1 [1,2]", 3), ("1 [2]", 1), ("1 null", 0), ("null [1,2]", 2)];
        assert_eq!(found, Some(expected.into_iter().map(|(row, weight)| (row.to_string(), weight)).collect()));
    }

    #[test]
    fn texts_and_many_lists_are_left_alone() {
        assert_eq!(merged("k:text l:int[]", "+ a [1] | + a [1]"), None);
        assert_eq!(merged("k:int l:text[]", "+ 1 [a] | + 1 [a]"), None);
        assert_eq!(merged("k:int l:int[]", "+ 1 [1,null] | + 1 [1,null]"), None);
        let many: Vec<String> = (0..=MAX_LISTS).map(|n| format!("+ 1 [{n}]")).collect();
        assert_eq!(merged("k:int l:int[]", &many.join(" | ")), None);
    }

    #[test]
    fn few_equal_rows_pause_the_search() {
        let schema = schema("k:int l:int[]");
        let different = changes(&schema, "+ 1 [1] | + 2 [1]");
        let mut rows = EqualRows::default();
        let mut merge = |batch: &ChangeBatch| rows.merge(batch, &[0], batch.column(1).as_list()).expect("it can be merged").is_some();
        assert!(merge(&different));
        assert!((0..PAUSE_BATCHES).all(|_| !merge(&different)));
        assert!(merge(&different));
    }
}
