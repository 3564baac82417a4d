//! What names in a query mean: the catalog, the system relations, and a transaction's own writes.

use std::sync::Arc;

use catalog::{Definition, Object, Snapshot};
use datafusion::sql::sqlparser::ast::VisitMut;

use super::{Core, system};
use crate::Result;
use crate::plan::inline::{SqlFunction, inline_in};
use crate::plan::parse::parse_query;
use crate::plan::relation::{Relation, RelationProvider};
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

    /// Puts the bodies of SQL functions in the place of their calls.
    pub fn inline(&self, node: &mut impl VisitMut) -> Result<()> {
        inline_in(node, &|name| self.function(name))
    }

    /// The SQL function of this name.
    pub fn function(&self, name: &str) -> Option<SqlFunction> {
        let object = self.catalog.resolve_function(None, name)?;
        let Definition::Function { arguments, returns, body } = &object.definition else { return None };
        Some(SqlFunction { arguments: arguments.clone(), returns: returns.clone(), body: body.clone() })
    }

    fn view(&self, object: &Object, query: &str) -> Option<Relation> {
        let columns = object.columns.iter().map(|column| column.name.clone()).collect();
        let mut query = parse_query(query).ok()?;
        self.inline(&mut query).ok()?;
        Some(Relation::View { query, columns })
    }
}

impl RelationProvider for Names<'_> {
    fn resolve(&self, schema: Option<&str>, name: &str) -> Option<Relation> {
        let Some(object) = self.catalog.resolve(schema, name) else {
            return system::relation(self.core, schema, name).map(Relation::Rows);
        };
        match &object.definition {
            Definition::View { query } => self.view(object, query),
            Definition::MaterializedView { query, .. } if self.expand_views => self.view(object, query),
            Definition::Sink { .. } | Definition::Function { .. } => None,
            _ => Some(Relation::Stored { id: object.id, schema: schema_of(object), append_only: self.core.is_append_only(object) }),
        }
    }
}

impl Core {
    /// The names of one statement.
    pub(super) fn names(&self) -> Names<'_> {
        Names::new(self)
    }

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
