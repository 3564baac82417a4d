//! What names in a query mean: the catalog, the system relations, and a transaction's own writes.

use std::sync::Arc;

use catalog::{Definition, Object, Snapshot};
use datafusion::common::ScalarValue;
use datafusion::datasource::TableProvider;
use datafusion::logical_expr::ScalarUDF;
use datafusion::sql::sqlparser::ast::VisitMut;

use super::{Core, system};
use crate::Result;
use crate::plan::inline::{SqlFunction, inline_in};
use crate::plan::parse::parse_query;
use crate::plan::relation::{Relation, RelationProvider};
use crate::plan::system::{SYSTEM_SCHEMAS, SystemSchemas, SystemUdf, provider};
use crate::sequencer::relation::schema_of;

/// The catalog as one statement sees it.
pub struct Names<'a> {
    /// Where everything is.
    pub core: &'a Core,
    /// The version looked at.
    pub catalog: Arc<Snapshot>,
    /// `pg_catalog` and its like, where the statement's session has them.
    pub system: Option<Arc<dyn SystemSchemas>>,
    /// Read materialized views by running their queries: a transaction with own writes must see them in its views.
    pub expand_views: bool,
}

impl<'a> Names<'a> {
    /// The newest catalog.
    pub fn new(core: &'a Core) -> Self {
        Self { core, catalog: core.catalog(), system: SYSTEM_SCHEMAS.try_with(Arc::clone).ok(), expand_views: false }
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

    fn view(&self, object: &Object, query: &str, is_materialized: bool) -> Option<Relation> {
        let columns = object.columns.iter().map(|column| column.name.clone()).collect();
        let mut query = parse_query(query).ok()?;
        self.inline(&mut query).ok()?;
        Some(Relation::View { query, columns, is_materialized })
    }
}

impl RelationProvider for Names<'_> {
    fn resolve(&self, schema: Option<&str>, name: &str) -> Option<Relation> {
        if let Some(rows) = self.system.as_ref().and_then(|system| system.relation(&self.catalog, schema, name)) {
            return Some(Relation::Rows(provider(rows)));
        }
        let Some(object) = self.catalog.resolve(schema, name) else {
            return system::relation(self.core, schema, name).map(Relation::Rows);
        };
        match &object.definition {
            Definition::View { query } => self.view(object, query, false),
            Definition::MaterializedView { query, .. } if self.expand_views => self.view(object, query, true),
            Definition::Sink { .. } | Definition::Function { .. } | Definition::Index { .. } => None,
            _ => Some(Relation::Stored { id: object.id, schema: schema_of(object), append_only: self.core.is_append_only(object) }),
        }
    }

    fn function(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let function = self.system.as_ref()?.function(&self.catalog, name)?;
        Some(SystemUdf::udf(function))
    }

    fn table_function(&self, name: &str, arguments: &[ScalarValue]) -> Option<Arc<dyn TableProvider>> {
        self.system.as_ref()?.table_function(name, arguments.len()).map(provider)
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
