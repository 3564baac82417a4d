//! What names in a query mean: the catalog, the system relations, and a transaction's own writes.

use std::sync::Arc;

use catalog::{Definition, Object, Snapshot};

use super::{Core, system};
use crate::plan::relation::{Relation, RelationProvider};
use crate::plan::sql_function::SqlFunction;
use crate::plan::parse::{parse_expression, parse_query};
use crate::sequencer::relation::schema_of;

/// The catalog as one statement sees it.
pub struct Names<'a> {
    /// Where everything is.
    pub core: &'a Core,
    /// The version looked at.
    pub catalog: Arc<Snapshot>,
    /// Read materialized views by running their queries: a transaction with own writes must see them in its views.
    pub expand_views: bool,
}

impl<'a> Names<'a> {
    /// The newest catalog.
    pub fn new(core: &'a Core) -> Self {
        Self { core, catalog: core.catalog(), expand_views: false }
    }

    fn view(object: &Object, query: &str) -> Option<Relation> {
        let columns = object.columns.iter().map(|column| column.name.clone()).collect();
        Some(Relation::View { query: parse_query(query).ok()?, columns })
    }
}

impl RelationProvider for Names<'_> {
    fn resolve(&self, schema: Option<&str>, name: &str) -> Option<Relation> {
        let Some(object) = self.catalog.resolve(schema, name) else {
            return system::relation(self.core, schema, name).map(Relation::Rows);
        };
        match &object.definition {
            Definition::View { query } => Self::view(object, query),
            Definition::MaterializedView { query, .. } if self.expand_views => Self::view(object, query),
            Definition::Sink { .. } | Definition::Function { .. } => None,
            _ => Some(Relation::Stored { id: object.id, schema: schema_of(object), append_only: self.core.is_append_only(object) }),
        }
    }

    fn function(&self, name: &str) -> Option<SqlFunction> {
        let object = self.catalog.resolve_function(None, name)?;
        let Definition::Function { arguments, returns, body } = &object.definition else { return None };
        Some(SqlFunction {
            name: object.name.clone(),
            arguments: arguments.iter().map(|(name, sql_type)| (name.clone(), sql_type.arrow())).collect(),
            returns: returns.arrow(),
            body: parse_expression(body).ok()?,
        })
    }
}

impl Core {
    pub(super) fn is_append_only(&self, object: &Object) -> bool {
        match &object.definition {
            Definition::Stream { .. } => true,
            Definition::Errors { owner } => {
                self.catalog().get(*owner).is_some_and(|owner| matches!(owner.definition, Definition::Stream { .. }))
            }
            _ => self.append_only.read().expect("no one panics while holding it").contains(&object.id),
        }
    }
}
