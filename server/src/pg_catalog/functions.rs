//! The functions that need the catalog, the session or `pg_catalog`'s types: a table of names, and one Rust function each.
//!
//! A function is called row by row with [`Datum`]s. Guaranteed: a null argument makes a strict function null, as in Postgres.

pub mod arrays;
pub mod datum;
mod describe;
mod privileges;
mod references;
mod session;
mod text;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::array::ArrayRef;
use catalog::SqlType;
use catalog::types::SystemType;
use engine::plan::system::SystemFunction;
use engine::{Error, Result};

use self::datum::{Datum, datums, to_array};
use super::known::Known;

/// A function's entry.
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// How many arguments it takes, at least and at most.
    arguments: (usize, usize),
    returns: Returns,
    /// Null when an argument is.
    is_strict: bool,
    /// The same for the whole statement.
    is_constant: bool,
    call: fn(&Known, &[Datum], &[SqlType]) -> Result<Datum>,
}

/// The type of a result.
#[derive(Debug, Clone, Copy)]
enum Returns {
    Bool,
    Int,
    BigInt,
    Text,
    Name,
    Json,
    TimestampTz,
    Texts,
    Names,
    Ints,
    System(SystemType),
    /// The type that the second argument, a constant, names.
    Named,
    /// Text, or texts for an array.
    Shown,
    /// An array of `(item, its number)`.
    Expanded,
}

/// Entries by name.
static ENTRIES: LazyLock<HashMap<&'static str, Entry>> = LazyLock::new(|| {
    let all = [references::ENTRIES, describe::ENTRIES, privileges::ENTRIES, session::ENTRIES, text::ENTRIES, arrays::ENTRIES];
    all.into_iter().flatten().map(|make| make()).map(|entry| (entry.name, entry)).collect()
});

type Make = fn() -> Entry;
type Call = fn(&Known, &[Datum], &[SqlType]) -> Result<Datum>;

/// A strict function whose result is the same for the whole statement.
fn entry(name: &'static str, arguments: (usize, usize), returns: Returns, call: Call) -> Entry {
    Entry { name, arguments, returns, is_strict: true, is_constant: true, call }
}

impl Entry {
    /// It looks at nulls itself.
    fn with_nulls(self) -> Self {
        Self { is_strict: false, ..self }
    }
}

/// The function of this name.
pub fn find(known: &Arc<Known>, name: &str) -> Option<Arc<dyn SystemFunction>> {
    let entry = ENTRIES.get(name)?;
    Some(Arc::new(Bound { entry, known: Arc::clone(known) }))
}

/// A function over one version of the catalog.
struct Bound {
    entry: &'static Entry,
    known: Arc<Known>,
}

impl SystemFunction for Bound {
    fn name(&self) -> &str {
        self.entry.name
    }

    fn is_constant(&self) -> bool {
        self.entry.is_constant
    }

    fn returns(&self, arguments: &[SqlType], constants: &[Option<&str>]) -> Result<SqlType> {
        let (least, most) = self.entry.arguments;
        if !(least..=most).contains(&arguments.len()) {
            let types: Vec<String> = arguments.iter().map(ToString::to_string).collect();
            return Err(Error::new("42883", format!("function {}({}) does not exist", self.entry.name, types.join(", "))));
        }
        let list = |item| SqlType::Array(Box::new(item));
        Ok(match self.entry.returns {
            Returns::Bool => SqlType::Boolean,
            Returns::Int => SqlType::Integer,
            Returns::BigInt => SqlType::BigInt,
            Returns::Text => SqlType::Text,
            Returns::Name => SqlType::System(SystemType::Name),
            Returns::Json => SqlType::Json,
            Returns::TimestampTz => SqlType::TimestampTz,
            Returns::Texts => list(SqlType::Text),
            Returns::Names => list(SqlType::System(SystemType::Name)),
            Returns::Ints => list(SqlType::Integer),
            Returns::System(system) => SqlType::System(system),
            Returns::Named => match constants.get(1) {
                Some(Some(name)) => name.parse()?,
                _ => return Err(Error::internal("the type of a cast is a constant")),
            },
            Returns::Shown if matches!(arguments[0], SqlType::Array(_)) => list(SqlType::Text),
            Returns::Shown => SqlType::Text,
            Returns::Expanded => {
                let item = arrays::item_type(&arguments[0]);
                list(SqlType::Struct(vec![("x".to_owned(), item), ("n".to_owned(), SqlType::Integer)]))
            }
        })
    }

    fn evaluate(&self, arguments: &[ArrayRef], types: &[SqlType], n_rows: usize, returns: &SqlType) -> Result<ArrayRef> {
        let columns = arguments.iter().map(datums).collect::<Result<Vec<_>>>()?;
        let mut results = Vec::with_capacity(n_rows);
        for row in 0..n_rows {
            let values: Vec<Datum> = columns.iter().map(|column| column[row].clone()).collect();
            results.push(match self.entry.is_strict && values.iter().any(Datum::is_null) {
                true => Datum::Null,
                false => (self.entry.call)(&self.known, &values, types)?,
            });
        }
        to_array(returns, results)
    }
}
