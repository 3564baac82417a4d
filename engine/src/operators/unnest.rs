//! UNNEST: one output row per element of the list columns, as DataFusion does it. Keeps nothing.
//!
//! Several lists are exploded side by side, shorter ones filled up with nulls. A row whose lists are all null gives one row
//! with nulls when nulls are preserved, else none; a row whose lists are empty gives none.

use arrow::array::cast::AsArray;
use arrow::array::{Array, ArrayRef, ListArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, SchemaRef};

use super::equal_rows::EqualRows;
use super::{Kernel, Output};
use crate::plan::{Unnest, UnnestColumn};
use crate::{ChangeBatch, Epoch, Error, Result};

/// The kernel of UNNEST.
pub struct UnnestKernel {
    list_columns: Vec<usize>,
    output: Vec<UnnestColumn>,
    preserve_nulls: bool,
    schema: SchemaRef,
    equal_rows: EqualRows,
}

impl UnnestKernel {
    /// `schema` is the output's.
    pub fn new(unnest: &Unnest, schema: SchemaRef) -> Self {
        let Unnest { list_columns, output, preserve_nulls, .. } = unnest;
        Self {
            list_columns: list_columns.clone(),
            output: output.clone(),
            preserve_nulls: *preserve_nulls,
            schema,
            equal_rows: EqualRows::default(),
        }
    }

    fn unnest(&self, changes: &ChangeBatch) -> Result<ChangeBatch> {
        let lists = self.list_columns.iter().map(|column| as_list(changes.column(*column))).collect::<Result<Vec<_>>>()?;
        let expanded = self.expand(&lists, changes.len());
        let element = |column: usize| -> Result<ArrayRef> {
            let list = self.list_columns.iter().position(|other| *other == column);
            let list = list.ok_or_else(|| Error::internal("an unnested column is not among the list columns"))?;
            Ok(take(lists[list].values(), &expanded.elements[list], None)?)
        };
        let repeated = |column: &ArrayRef| -> Result<ArrayRef> {
            if lists.is_empty() { Ok(column.clone()) } else { Ok(take(column, &expanded.rows, None)?) }
        };
        let column = |column: &UnnestColumn| match *column {
            UnnestColumn::Kept(column) => repeated(changes.column(column)),
            UnnestColumn::Element(column) => element(column),
            UnnestColumn::Field(column, field) => repeated(&struct_field(changes.column(column), field)?),
        };
        let columns = self.output.iter().map(column).collect::<Result<Vec<_>>>()?;
        let weights = changes.weights().map(|weights| take(weights, &expanded.rows, None)).transpose()?;
        let weights = weights.map(|weights| weights.as_primitive::<arrow::datatypes::Int64Type>().clone());
        let options = RecordBatchOptions::new().with_row_count(Some(expanded.rows.len()));
        Ok(ChangeBatch::with_weights(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?, weights))
    }

    /// The changes with equal rows merged, where one list is exploded and that pays.
    fn merged(&mut self, changes: &ChangeBatch) -> Result<Option<ChangeBatch>> {
        let [list] = self.list_columns[..] else { return Ok(None) };
        let kept = |column: &UnnestColumn| match column {
            UnnestColumn::Kept(column) | UnnestColumn::Field(column, _) => Some(*column),
            UnnestColumn::Element(_) => None,
        };
        let kept: Vec<usize> = self.output.iter().filter_map(kept).collect();
        match changes.column(list).as_list_opt() {
            Some(elements) if changes.len() > 1 => self.equal_rows.merge(changes, &kept, elements),
            _ => Ok(None),
        }
    }

    /// Which input row, and which element of each list, an output row is made of.
    fn expand(&self, lists: &[ListArray], n_rows: usize) -> Expanded {
        let mut rows: Vec<u32> = Vec::with_capacity(n_rows);
        let mut elements: Vec<Vec<Option<u32>>> = vec![Vec::with_capacity(n_rows); lists.len()];
        for row in 0..n_rows {
            let length = |list: &ListArray| match list.is_null(row) {
                true => usize::from(self.preserve_nulls),
                false => list.value_length(row) as usize,
            };
            let longest = lists.iter().map(length).max().unwrap_or(1);
            rows.extend(std::iter::repeat_n(row as u32, longest));
            for (list, elements) in lists.iter().zip(&mut elements) {
                let (start, n) = if list.is_null(row) { (0, 0) } else { (list.value_offsets()[row] as u32, list.value_length(row) as u32) };
                elements.extend((0..longest as u32).map(|index| (index < n).then_some(start + index)));
            }
        }
        Expanded { rows: rows.into(), elements: elements.into_iter().map(UInt32Array::from).collect() }
    }
}

impl Kernel for UnnestKernel {
    fn step(&mut self, _: Epoch, inputs: Vec<Vec<ChangeBatch>>, out: &mut Output) -> Result<()> {
        /// Input rows exploded at a time.
        const PIECE_ROWS: usize = 8192;
        for changes in inputs.iter().flatten() {
            let merged = self.merged(changes)?;
            let changes = merged.as_ref().unwrap_or(changes);
            for start in (0..changes.len()).step_by(PIECE_ROWS) {
                let unnested = self.unnest(&changes.slice(start, PIECE_ROWS.min(changes.len() - start)))?;
                if !unnested.is_empty() {
                    out.changes.push(unnested);
                }
            }
        }
        Ok(())
    }

    fn is_stateless(&self) -> bool {
        true
    }
}

struct Expanded {
    rows: UInt32Array,
    elements: Vec<UInt32Array>,
}

/// Any kind of list as a list with 32-bit offsets.
fn as_list(column: &ArrayRef) -> Result<ListArray> {
    match column.data_type() {
        DataType::List(_) => Ok(column.as_list().clone()),
        DataType::LargeList(element)
        | DataType::FixedSizeList(element, _)
        | DataType::ListView(element)
        | DataType::LargeListView(element) => Ok(cast(column, &DataType::List(element.clone()))?.as_list().clone()),
        other => Err(Error::internal(format!("a column of type {other} is not a list"))),
    }
}

/// A field of a struct column, null where the struct is.
fn struct_field(column: &ArrayRef, field: usize) -> Result<ArrayRef> {
    let values = column.as_struct_opt().ok_or_else(|| Error::internal("a struct column is expected"))?;
    let Some(nulls) = values.nulls() else { return Ok(values.column(field).clone()) };
    let rows = UInt32Array::from_iter((0..values.len()).map(|row| nulls.is_valid(row).then_some(row as u32)));
    Ok(take(values.column(field), &rows, None)?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::operators::script::{check, schema};
    use crate::plan::{Node, Plan};

    fn kernel(
        input: &SchemaRef,
        list_columns: Vec<usize>,
        output: Vec<UnnestColumn>,
        schema: SchemaRef,
        preserve_nulls: bool,
    ) -> UnnestKernel {
        let node = Node::Constant(RecordBatch::new_empty(input.clone()));
        let input = Box::new(Plan { node, schema: input.clone(), append_only: false });
        UnnestKernel::new(&Unnest { input, list_columns, output, preserve_nulls }, schema)
    }

    #[test]
    fn a_row_per_element() {
        let input = schema("k:text l:int[]");
        let output = vec![UnnestColumn::Kept(0), UnnestColumn::Element(1)];
        let script = "1: + a [1,2,1] | + b [] | + c null | +2 d [null]
                      2: - a [1,2,1] | - c null";
        let mut preserving = kernel(&input, vec![1], output.clone(), schema("k:text e:int"), true);
        let expected = "1: +2 a 1 | + a 2 | + c null | +2 d null
                        2: -2 a 1 | - a 2 | - c null";
        check(&mut preserving, &[("input", input.clone())], script, expected);
        let mut dropping = kernel(&input, vec![1], output, schema("k:text e:int"), false);
        let expected = "1: +2 a 1 | + a 2 | +2 d null
                        2: -2 a 1 | - a 2";
        check(&mut dropping, &[("input", input)], script, expected);
    }

    #[test]
    fn lists_are_exploded_side_by_side() {
        let input = schema("a:int[] b:text[]");
        let output = vec![UnnestColumn::Element(1), UnnestColumn::Element(0)];
        check(
            &mut kernel(&input, vec![0, 1], output, schema("b:text a:int"), true),
            &[("input", input)],
            "1: + [1,2] [x] | + [] [y,z] | + null [] | + [] []",
            "1: + null 2 | + null null | + x 1 | + y null | + z null",
        );
    }

    #[test]
    fn fields_of_a_struct_become_columns() {
        let fields = schema("x:int y:text").fields().clone();
        let field = arrow::datatypes::Field::new("s", DataType::Struct(fields), true);
        let input = Arc::new(arrow::datatypes::Schema::new(vec![field]));
        let output = vec![UnnestColumn::Field(0, 0), UnnestColumn::Field(0, 1)];
        check(
            &mut kernel(&input, vec![], output, schema("x:int y:text"), true),
            &[("input", input)],
            "1: + {1,a} | + {null,b} | - null",
            "1: + 1 a | + null b | - null null",
        );
    }
}
