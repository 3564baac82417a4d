//! Which keys a query's filters name: `id = 5`, `id IN (1, 2)`, `a = 1 AND b = 2`, as DataFusion writes them after simplification.

use std::collections::HashSet;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

/// With more keys than these a scan is as good.
const MAX_KEYS: usize = 1000;

/// The keys that rows must have one of to pass all `filters`: an array for each column of `key`. `None` when the filters do not say
/// so of every column, or name too many.
pub(super) fn keys_named(filters: &[Expr], key: &[usize], schema: &SchemaRef) -> Result<Option<Vec<ArrayRef>>> {
    if key.is_empty() {
        return Ok(None);
    }
    let named: Vec<(usize, Vec<ScalarValue>)> = filters.iter().filter_map(|filter| values_named(filter, schema)).collect();
    let mut keys: Vec<Vec<ScalarValue>> = vec![Vec::new()];
    for column in key {
        // Of several filters on a column any will do: the others stay above the scan.
        let of_column = named.iter().filter(|(of, _)| of == column).map(|(_, values)| values);
        let Some(values) = of_column.min_by_key(|values| values.len()) else { return Ok(None) };
        if keys.len() * values.len() > MAX_KEYS {
            return Ok(None);
        }
        let with = |key: &Vec<ScalarValue>, value: &ScalarValue| key.iter().cloned().chain([value.clone()]).collect();
        keys = keys.iter().flat_map(|key| values.iter().map(move |value| with(key, value))).collect();
    }
    let array = |place: usize| match keys.is_empty() {
        true => Ok(arrow::array::new_empty_array(schema.field(key[place]).data_type())),
        false => ScalarValue::iter_to_array(keys.iter().map(|key| key[place].clone())),
    };
    (0..key.len()).map(array).collect::<Result<_>>().map(Some)
}

/// The column of which a filter says that it has one of some values, each of which is there once and not null.
pub(super) fn values_named(filter: &Expr, schema: &SchemaRef) -> Option<(usize, Vec<ScalarValue>)> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => match (left.as_ref(), right.as_ref()) {
            (Expr::Column(column), Expr::Literal(value, _)) | (Expr::Literal(value, _), Expr::Column(column)) => {
                of_column(column.name(), std::iter::once(value), schema)
            }
            _ => None,
        },
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let (left, right) = (values_named(left, schema)?, values_named(right, schema)?);
            (left.0 == right.0).then(|| of_place(left.0, left.1.iter().chain(&right.1)))
        }
        Expr::InList(list) if !list.negated => {
            let Expr::Column(column) = list.expr.as_ref() else { return None };
            let values: Option<Vec<&ScalarValue>> =
                list.list.iter().map(|value| if let Expr::Literal(value, _) = value { Some(value) } else { None }).collect();
            of_column(column.name(), values?.into_iter(), schema)
        }
        _ => None,
    }
}

fn of_column<'a>(name: &str, values: impl Iterator<Item = &'a ScalarValue>, schema: &SchemaRef) -> Option<(usize, Vec<ScalarValue>)> {
    let column = schema.index_of(name).ok()?;
    let values: Vec<&ScalarValue> = values.collect();
    let is_of_type = |value: &&ScalarValue| value.is_null() || value.data_type() == *schema.field(column).data_type();
    values.iter().all(is_of_type).then(|| of_place(column, values.into_iter()))
}

fn of_place<'a>(column: usize, values: impl Iterator<Item = &'a ScalarValue>) -> (usize, Vec<ScalarValue>) {
    let mut seen: HashSet<ScalarValue> = HashSet::new();
    let is_new = |value: &&ScalarValue| !value.is_null() && seen.insert((*value).clone());
    (column, values.filter(is_new).cloned().collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::AsArray;
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use datafusion::prelude::{col, in_list, lit};

    use super::*;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("a", DataType::Int64, true),
            Field::new("b", DataType::Utf8, true),
            Field::new("c", DataType::Int64, true),
        ]))
    }

    fn named(filters: &[Expr], key: &[usize]) -> Option<Vec<String>> {
        let keys = keys_named(filters, key, &schema()).expect("the values are of their columns' types")?;
        let n_keys = keys.first().map_or(0, |array| array.len());
        let cell = |array: &ArrayRef, row| arrow::util::display::array_value_to_string(array, row).expect("it can be shown");
        Some((0..n_keys).map(|row| keys.iter().map(|array| cell(array, row)).collect::<Vec<_>>().join(" ")).collect())
    }

    #[test]
    fn equalities_name_a_key_when_they_name_all_its_columns() {
        let both = [col("a").eq(lit(5_i64)), lit("x").eq(col("b"))];
        assert_eq!(named(&both, &[0, 1]), Some(vec!["5 x".into()]));
        assert_eq!(named(&both, &[1]), Some(vec!["x".into()]));
        assert_eq!(named(&both, &[0, 2]), None);
        assert_eq!(named(&both, &[]), None);
        assert_eq!(named(&[col("a").gt(lit(5_i64))], &[0]), None);
        assert_eq!(named(&[col("a").eq(lit(5_i32))], &[0]), None, "of another type");
        assert_eq!(named(&[col("a").eq(col("c"))], &[0]), None);
    }

    #[test]
    fn lists_name_each_value_once_and_nulls_none() {
        let list = in_list(col("a"), vec![lit(1_i64), lit(2_i64), lit(1_i64), lit(ScalarValue::Int64(None))], false);
        assert_eq!(named(std::slice::from_ref(&list), &[0]), Some(vec!["1".into(), "2".into()]));
        assert_eq!(named(&[list.clone(), col("c").eq(lit(7_i64)).or(col("c").eq(lit(8_i64)))], &[0, 2]).map(|keys| keys.len()), Some(4));
        assert_eq!(named(&[in_list(col("a"), vec![lit(1_i64)], true)], &[0]), None, "NOT IN");
        assert_eq!(named(&[col("a").eq(lit(1_i64)).or(col("c").eq(lit(1_i64)))], &[0]), None, "one of two columns");
        let none = keys_named(&[col("a").eq(lit(ScalarValue::Int64(None)))], &[0], &schema()).expect("a null names nothing");
        assert_eq!(none.expect("no key is named")[0].as_primitive::<Int64Type>().len(), 0);
        let many = in_list(col("a"), (0..2000_i64).map(lit).collect(), false);
        assert_eq!(named(&[many], &[0]), None, "too many");
    }
}
