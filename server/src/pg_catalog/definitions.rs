//! Objects as the SQL that `pg_get_viewdef()` and its sisters print, and types as `format_type()` does.

use catalog::types::SystemType;
use catalog::{Definition, Object, SqlType};

use super::known::{Index, Known, TYPES, primary_key, quote_ident};
use super::oids::Derived;

/// A view's query as Postgres ends it.
pub fn view_definition(query: &str) -> String {
    format!(" {};", query.trim().trim_end_matches(';'))
}

/// The columns of an index, quoted.
fn index_columns(index: &Index) -> Vec<String> {
    index.columns.iter().map(|place| quote_ident(&index.table.columns[*place].name)).collect()
}

/// An index.
pub fn index_definition(index: &Index) -> String {
    let (schema, table) = (quote_ident(&index.table.schema), quote_ident(&index.table.name));
    index_of(index, &format!("{schema}.{table}"))
}

/// The same where the table's schema need not be told.
pub fn visible_index_definition(index: &Index) -> String {
    index_of(index, &quote_ident(&index.table.name))
}

fn index_of(index: &Index, table: &str) -> String {
    let unique = if index.created.is_none() { "UNIQUE " } else { "" };
    format!("CREATE {unique}INDEX {} ON {table} USING btree ({})", quote_ident(&index.name()), index_columns(index).join(", "))
}

/// One column of an index, from 1.
pub fn index_part(index: &Index, number: i64) -> Option<String> {
    let place = usize::try_from(number).ok()?.checked_sub(1)?;
    Some(index_columns(index).into_iter().nth(place).unwrap_or_default())
}

/// The constraint of a table's key.
pub fn constraint_definition(object: &Object) -> String {
    let columns: Vec<String> = primary_key(object).iter().map(|place| quote_ident(&object.columns[*place].name)).collect();
    format!("PRIMARY KEY ({})", columns.join(", "))
}

/// The arguments of a function as they are declared.
pub fn function_arguments(object: &Object) -> String {
    let Definition::Function { arguments, .. } = &object.definition else { return String::new() };
    let argument = |(name, sql_type): &(String, SqlType)| match name.as_str() {
        "" => sql_type.to_string(),
        name => format!("{} {sql_type}", quote_ident(name)),
    };
    arguments.iter().map(argument).collect::<Vec<_>>().join(", ")
}

impl Known {
    /// A type's name as SQL has it; `None` for an oid that is no type's.
    pub fn format_type(&self, oid: u32, typmod: Option<i64>) -> Option<String> {
        if oid == 0 {
            return Some("-".to_owned());
        }
        if let Some(of_row) = self.row_type(oid) {
            return Some(of_row);
        }
        let Some(built_in) = TYPES.get(&oid) else { return Some("???".to_owned()) };
        if built_in.element != 0 {
            return Some(format!("{}[]", self.format_type(built_in.element, typmod)?));
        }
        let modifier = typmod.filter(|typmod| *typmod >= 0);
        Some(match (built_in.name.as_str(), modifier) {
            ("varchar", Some(typmod)) => format!("character varying({})", typmod - 4),
            ("bpchar", Some(typmod)) => format!("character({})", typmod - 4),
            ("bpchar", None) => if typmod.is_none() { "character" } else { "bpchar" }.to_owned(),
            ("numeric", Some(typmod)) => format!("numeric({},{})", (typmod - 4) >> 16, (typmod - 4) & 0x7ff),
            ("bit", _) => "bit".to_owned(),
            ("timestamp" | "timestamptz" | "time", Some(digits)) => {
                let zone = if built_in.name == "timestamptz" { "with" } else { "without" };
                let word = built_in.name.trim_end_matches("tz");
                format!("{word}({digits}) {zone} time zone")
            }
            ("timetz", _) => "time with time zone".to_owned(),
            ("varbit", _) => "bit varying".to_owned(),
            ("char", _) => SystemType::InternalChar.text().to_owned(),
            (name, _) => match SqlType::of_oid(oid) {
                Some(known) => known.to_string(),
                None if built_in.namespace == super::oids::INFORMATION_SCHEMA => format!("information_schema.{name}"),
                None => quote_ident(name),
            },
        })
    }

    /// The name of a relation's row type, or of its array.
    fn row_type(&self, oid: u32) -> Option<String> {
        if let Some(id) = Derived::RowType.object(oid) {
            return self.shown_class(id.0);
        }
        let id = Derived::RowArray.object(oid)?;
        self.shown_class(id.0).map(|name| format!("{name}[]"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_ends_once() {
        assert_eq!(view_definition("SELECT 1;\n"), " SELECT 1;");
        assert_eq!(view_definition("SELECT 1"), " SELECT 1;");
    }
}
