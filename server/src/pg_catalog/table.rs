//! The relations there are and their columns, and rows of text as Arrow columns.
//!
//! A row is written as Postgres prints it, cell by cell; a column that is not given has its type's zero where the catalog
//! does not allow null, as `pg_catalog` itself means it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::array::TimestampMicrosecondArray;
use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use catalog::SqlType;
use catalog::types::SystemType;

use super::csv;

/// A relation of `pg_catalog` or `information_schema`.
#[derive(Debug)]
pub struct Relation {
    /// `pg_catalog` or `information_schema`.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// `pg_class.relkind`: `r` or `v`.
    pub kind: String,
    /// `pg_class.oid`.
    pub oid: u32,
    /// Its columns, in order.
    pub columns: Vec<Column>,
    /// The same in Arrow.
    pub arrow: SchemaRef,
}

/// A column of such a relation.
#[derive(Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// `pg_type.typname` of its type.
    pub type_name: String,
    /// The type its values have here.
    pub sql_type: SqlType,
    /// `pg_attribute.attnotnull`.
    pub not_null: bool,
}

/// All relations, by schema and name.
pub static RELATIONS: LazyLock<BTreeMap<(String, String), Relation>> = LazyLock::new(|| {
    let records = csv::records(include_str!("../../pg_catalog/relations.csv"));
    let relations = records.skip(1).map(|record| {
        let relation = relation(&record);
        ((relation.schema.clone(), relation.name.clone()), relation)
    });
    relations.collect()
});

/// A relation by name; without a schema it is looked for in `pg_catalog`.
pub fn find(schema: Option<&str>, name: &str) -> Option<&'static Relation> {
    RELATIONS.get(&(schema.unwrap_or("pg_catalog").to_owned(), name.to_owned()))
}

fn relation(record: &[Option<String>]) -> Relation {
    let [Some(schema), Some(name), Some(kind), Some(oid), Some(columns)] = record else {
        panic!("relations.csv has five columns, not {record:?}");
    };
    let columns: Vec<Column> = columns.split(',').map(column).collect();
    let fields: Vec<Field> = columns.iter().map(|column| column.sql_type.field(&column.name, true)).collect();
    Relation {
        schema: schema.clone(),
        name: name.clone(),
        kind: kind.clone(),
        oid: oid.parse().expect("relations.csv has oids"),
        columns,
        arrow: Arc::new(Schema::new(fields)),
    }
}

fn column(text: &str) -> Column {
    let (name, type_name) = text.split_once(' ').expect("relations.csv has a type behind each column's name");
    let (type_name, not_null) = type_name.strip_suffix('!').map_or((type_name, false), |type_name| (type_name, true));
    Column { name: name.to_owned(), type_name: type_name.to_owned(), sql_type: sql_type(type_name), not_null }
}

/// The type that values of a catalog's type have here: text where we have none like it.
fn sql_type(type_name: &str) -> SqlType {
    if let Some(item) = type_name.strip_prefix('_') {
        return SqlType::Array(Box::new(sql_type(item)));
    }
    match type_name {
        "char" => SqlType::System(SystemType::InternalChar),
        "sql_identifier" => SqlType::System(SystemType::Name),
        "cardinal_number" => SqlType::Integer,
        "character_data" | "yes_or_no" => SqlType::Varchar(None),
        "time_stamp" => SqlType::TimestampTz,
        // Arguments of triggers, of which there are none.
        "bytea" => SqlType::Text,
        other => other.parse().unwrap_or(SqlType::Text),
    }
}

/// A value as Postgres prints it; `None` is null.
#[derive(Debug, Clone)]
pub struct Cell(pub Option<String>);

macro_rules! cells {
    ($($from:ty),*) => { $(impl From<$from> for Cell {
        fn from(value: $from) -> Self {
            Self(Some(value.to_string()))
        }
    })* };
}
cells!(&str, String, &String, u32, i16, i32, i64, u64, usize, char);

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Self(Some(if value { "t" } else { "f" }.to_owned()))
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self(None), Into::into)
    }
}

/// Rows of a relation, put together row by row.
pub struct Rows {
    relation: &'static Relation,
    defaults: Vec<Option<String>>,
    rows: Vec<Vec<Option<String>>>,
}

impl Rows {
    /// No rows yet.
    pub fn of(relation: &'static Relation) -> Self {
        let defaults = relation.columns.iter().map(|column| column.not_null.then(|| zero(&column.sql_type).to_owned())).collect();
        Self { relation, defaults, rows: Vec::new() }
    }

    /// Appends a row of these cells; a name that is no column is a bug.
    pub fn push(&mut self, cells: impl IntoIterator<Item = (&'static str, Cell)>) {
        let mut row = self.defaults.clone();
        for (name, Cell(value)) in cells {
            let place = self.place(name).unwrap_or_else(|| panic!("{} has no column {name}", self.relation.name));
            row[place] = value;
        }
        self.rows.push(row);
    }

    /// Appends the records of a file whose first one names their columns.
    pub fn push_records(&mut self, mut records: impl Iterator<Item = Vec<Option<String>>>) {
        let Some(head) = records.next() else { return };
        let places: Vec<usize> =
            head.iter().map(|name| name.as_deref().and_then(|name| self.place(name)).expect("the file names columns")).collect();
        for record in records {
            let mut row = self.defaults.clone();
            for (place, value) in places.iter().zip(record) {
                row[*place] = value;
            }
            self.rows.push(row);
        }
    }

    /// The same rows, with the types' zeros for rows to come.
    pub fn without_assumptions(self) -> Self {
        Self { rows: self.rows, ..Self::of(self.relation) }
    }

    /// What the files leave out because it is the same in all their rows.
    pub fn assume(&mut self, cells: impl IntoIterator<Item = (&'static str, Cell)>) {
        for (name, Cell(value)) in cells {
            if let Some(place) = self.place(name) {
                self.defaults[place] = value;
            }
        }
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.relation.columns.iter().position(|column| column.name == name)
    }

    /// The rows in Arrow.
    pub fn finish(self) -> RecordBatch {
        let mut columns: Vec<Vec<Option<String>>> = vec![Vec::with_capacity(self.rows.len()); self.relation.columns.len()];
        for row in self.rows {
            row.into_iter().zip(&mut columns).for_each(|(value, column)| column.push(value));
        }
        let arrays = self.relation.columns.iter().zip(columns).map(|(column, cells)| array(&column.sql_type, &cells)).collect();
        RecordBatch::try_new(Arc::clone(&self.relation.arrow), arrays).expect("each column has a cell per row")
    }
}

/// Appends a row: `row!(rows, oid: 1, relname: "t")`.
macro_rules! row {
    ($rows:expr, $($column:ident: $value:expr),* $(,)?) => {
        $rows.push([$((stringify!($column), $crate::pg_catalog::table::Cell::from($value))),*])
    };
}
pub(super) use row;

fn zero(sql_type: &SqlType) -> &'static str {
    match sql_type {
        SqlType::Boolean => "f",
        SqlType::Array(_) => "{}",
        SqlType::System(SystemType::Name | SystemType::InternalChar | SystemType::Int2Vector | SystemType::OidVector) => "",
        SqlType::Text | SqlType::Varchar(_) => "",
        _ => "0",
    }
}

/// Cells of one type as an Arrow array. A cell that is no value of the type is a bug.
pub fn array(sql_type: &SqlType, cells: &[Option<String>]) -> ArrayRef {
    fn parsed<T: std::str::FromStr>(cells: &[Option<String>]) -> impl Iterator<Item = Option<T>> {
        cells.iter().map(|cell| {
            let text = cell.as_deref()?;
            Some(text.parse().unwrap_or_else(|_| panic!("\"{text}\" is not what the column holds")))
        })
    }
    match sql_type.arrow() {
        DataType::Boolean => Arc::new(BooleanArray::from_iter(cells.iter().map(|cell| cell.as_deref().map(|text| text == "t")))),
        DataType::Int16 => Arc::new(Int16Array::from_iter(parsed::<i16>(cells))),
        DataType::Int32 => Arc::new(Int32Array::from_iter(parsed::<i32>(cells))),
        DataType::Int64 => Arc::new(Int64Array::from_iter(parsed::<i64>(cells))),
        DataType::Float32 => Arc::new(Float32Array::from_iter(parsed::<f32>(cells))),
        DataType::Float64 => Arc::new(Float64Array::from_iter(parsed::<f64>(cells))),
        DataType::Timestamp(_, zone) => Arc::new(TimestampMicrosecondArray::from_iter(parsed::<i64>(cells)).with_timezone_opt(zone)),
        DataType::List(item) => list(sql_type, &item, cells),
        _ => Arc::new(StringArray::from_iter(cells.iter().map(Option::as_deref))),
    }
}

fn list(sql_type: &SqlType, item: &Arc<Field>, cells: &[Option<String>]) -> ArrayRef {
    let of_items = match sql_type {
        SqlType::Array(of_items) => of_items.as_ref().clone(),
        SqlType::System(SystemType::OidVector) => SqlType::System(SystemType::Oid),
        _ => SqlType::SmallInt,
    };
    let lists: Vec<Vec<Option<String>>> = cells.iter().map(|cell| cell.as_deref().map(items).unwrap_or_default()).collect();
    let lengths: Vec<usize> = lists.iter().map(Vec::len).collect();
    let values: Vec<Option<String>> = lists.into_iter().flatten().collect();
    let nulls = NullBuffer::from_iter(cells.iter().map(Option::is_some));
    let values = array(&of_items, &values);
    Arc::new(ListArray::new(Arc::clone(item), OffsetBuffer::from_lengths(lengths), values, Some(nulls)))
}

/// The items of `{a,"b c",NULL}`, or of `1 2` as vectors are written.
pub fn items(text: &str) -> Vec<Option<String>> {
    let Some(inside) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) else {
        return text.split_whitespace().map(|item| Some(item.to_owned())).collect();
    };
    let (mut items, mut item, mut quoted, mut was_quoted) = (Vec::new(), String::new(), false, false);
    let mut chars = inside.chars();
    while let Some(next) = chars.next() {
        match next {
            '"' => (quoted, was_quoted) = (!quoted, true),
            '\\' => item.extend(chars.next()),
            ',' if !quoted => {
                let text = std::mem::take(&mut item);
                items.push((was_quoted || !text.eq_ignore_ascii_case("null")).then_some(text));
                was_quoted = false;
            }
            other => item.push(other),
        }
    }
    if !inside.is_empty() {
        items.push((was_quoted || !item.eq_ignore_ascii_case("null")).then_some(item));
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_relation_has_columns_with_types() {
        let class = find(None, "pg_class").expect("pg_class is there");
        assert_eq!((class.oid, class.columns[0].sql_type.to_string().as_str(), class.columns[0].not_null), (1259, "oid", true));
        assert!(find(Some("information_schema"), "columns").is_some_and(|columns| columns.columns.len() == 44));
        assert!(find(None, "columns").is_none());
    }

    #[test]
    fn arrays_and_vectors_are_taken_apart() {
        let shown = |text: &str| items(text).into_iter().map(|item| item.unwrap_or("-".into())).collect::<Vec<_>>().join("|");
        assert_eq!(shown("{}"), "");
        assert_eq!(shown("{a,\"b,\\\"c\",NULL,\"NULL\"}"), "a|b,\"c|-|NULL");
        assert_eq!(shown("1 2"), "1|2");
        assert_eq!(shown(""), "");
    }

    #[test]
    fn a_column_that_is_not_given_has_its_zero_or_null() {
        let mut rows = Rows::of(find(None, "pg_namespace").expect("there"));
        row!(rows, oid: 7_u32, nspname: "s");
        let batch = rows.finish();
        assert_eq!(batch.num_rows(), 1);
        assert_eq!(batch.column(2).as_ref(), &Int64Array::from(vec![0]));
        assert_eq!(batch.column(3).null_count(), 1);
    }
}
