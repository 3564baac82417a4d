//! The rows that every PostgreSQL 15 has, from the files that `server/pg_catalog/generate.py` wrote.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::table::Cell;
use super::{csv, oids};

/// The file of a relation's rows.
pub fn file(relation: &str) -> Option<&'static str> {
    macro_rules! files {
        ($($name:literal),*) => {
            match relation {
                $($name => Some(include_str!(concat!("../../pg_catalog/rows/", $name, ".csv"))),)*
                _ => None,
            }
        };
    }
    files!(
        "pg_aggregate",
        "pg_am",
        "pg_cast",
        "pg_collation",
        "pg_description",
        "pg_language",
        "pg_opclass",
        "pg_operator",
        "pg_opfamily",
        "pg_proc",
        "pg_range",
        "pg_tablespace",
        "pg_type"
    )
}

/// What the files leave out: everything of PostgreSQL's own is in `pg_catalog` and belongs to the first role.
pub fn same_in_all_rows() -> impl Iterator<Item = (&'static str, Cell)> {
    let namespaces = ["oprnamespace", "collnamespace", "opcnamespace", "opfnamespace"].map(|name| (name, oids::PG_CATALOG.into()));
    let owners = ["typowner", "proowner", "oprowner", "collowner", "opcowner", "opfowner", "lanowner", "spcowner"];
    let owners = owners.map(|name| (name, oids::ROLE.into()));
    namespaces.into_iter().chain(owners).chain([("typisdefined", true.into())])
}

/// Some columns of a relation's rows; null is an empty text.
pub fn columns(relation: &str, names: &[&str]) -> Vec<Vec<String>> {
    let mut records = csv::records(file(relation).unwrap_or_default());
    let Some(head) = records.next() else { return Vec::new() };
    let place = |name: &&str| head.iter().position(|column| column.as_deref() == Some(*name)).expect("the file has the column");
    let places: Vec<usize> = names.iter().map(place).collect();
    records.map(|record| places.iter().map(|place| record[*place].clone().unwrap_or_default()).collect()).collect()
}

/// Some columns of one function's row.
pub fn row_of_function(oid: &str, names: &[&str]) -> Option<Vec<String>> {
    static ROWS: LazyLock<(Vec<String>, HashMap<String, Vec<String>>)> = LazyLock::new(|| {
        let mut records = csv::records(file("pg_proc").unwrap_or_default())
            .map(|record| record.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>());
        let head = records.next().unwrap_or_default();
        (head, records.map(|record| (record[0].clone(), record)).collect())
    });
    let (head, rows) = &*ROWS;
    let row = rows.get(oid)?;
    names.iter().map(|name| head.iter().position(|column| column == name).map(|place| row[place].clone())).collect()
}

/// The comment on an object of PostgreSQL's own; of any catalog when none is asked for.
pub fn description(oid: u32, of: Option<u32>) -> Option<&'static str> {
    static TEXTS: LazyLock<HashMap<u32, Vec<(u32, String)>>> = LazyLock::new(|| {
        let mut texts: HashMap<u32, Vec<(u32, String)>> = HashMap::new();
        for row in columns("pg_description", &["objoid", "classoid", "description"]) {
            let number = |place: usize| row[place].parse().expect("an oid");
            texts.entry(number(0)).or_default().push((number(1), row[2].clone()));
        }
        texts
    });
    let texts = TEXTS.get(&oid)?;
    texts.iter().find(|(class, _)| of.is_none_or(|of| of == *class)).map(|(_, text)| text.as_str())
}
