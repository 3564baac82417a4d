//! CREATE INDEX: the rows of a relation kept once more, by other columns of it. The views created afterwards that join on these
//! columns look its rows up there, and keep none themselves ([`crate::plan::lookups`]).

use catalog::{Change, Definition, Object, ObjectId, Snapshot};

use super::Core;
use super::define::{Prepared, exists, next, object};
use crate::error::sqlstate;
use crate::plan::Plan;
use crate::plan::lookups::KeptBy;
use crate::plan::statement::{CreateIndex, Name};
use crate::sequencer::relation::{keeps_nothing, schema_of};
use crate::state::history::Snapshot as RelationSnapshot;
use crate::{Epoch, Error, Result};

impl Core {
    pub(super) fn create_index(&self, catalog: &Snapshot, create: &CreateIndex, text: &str) -> Result<Prepared> {
        let tag = "CREATE INDEX";
        let on = catalog.resolve_or_fail(create.on.schema.as_deref(), &create.on.name)?;
        let name = create.name.clone().unwrap_or_else(|| free_index_name(catalog, on, &create.columns));
        let name = Name { schema: Some(on.schema.clone()), name };
        if let Some(prepared) = exists(catalog, &name, create.if_not_exists, tag)? {
            return Ok(prepared);
        }
        check_indexable(on)?;
        let mut columns = Vec::with_capacity(create.columns.len());
        for name in &create.columns {
            let place = on.columns.iter().position(|column| column.name == *name);
            let place = place.ok_or_else(|| Error::new(sqlstate::UNDEFINED_COLUMN, format!("column \"{name}\" does not exist")))?;
            if !columns.contains(&place) {
                columns.push(place);
            }
        }
        let id = next(&mut catalog.free_ids());
        let relation = self.workshop.computed(id, None, 0, &Plan::index(on.id, schema_of(on), columns.clone()), None)?;
        let definition = Definition::Index { on: on.id, columns };
        let index = Object { depends_on: vec![on.id], ..object(id, &name, on.columns.clone(), definition, text) };
        Ok(Prepared { change: Some(Change::Create(index)), create: vec![relation], tag, ..Prepared::default() })
    }

    /// The rows of the indexes on a relation that have got to an epoch; nobody waits for the others.
    pub(super) fn index_snapshots(&self, catalog: &Snapshot, relation: ObjectId, epoch: Epoch) -> Vec<Vec<RelationSnapshot>> {
        let there = catalog.indexes_on(relation).filter(|(index, _)| index.since <= epoch);
        there.filter_map(|(index, _)| self.shared.published.snapshots_at(index.id, epoch)).collect()
    }

    /// Where the rows of a relation can be looked up: in itself, and in the indexes on it that may be used.
    pub(super) fn kept_by(&self, catalog: &Snapshot, relation: ObjectId, may_use: &dyn Fn(ObjectId) -> bool) -> KeptBy {
        let own = self.shared.published.get(relation).and_then(|ports| ports.key);
        let indexes = catalog.indexes_on(relation).filter(|(index, _)| may_use(index.id));
        let indexes = indexes.map(|(index, columns)| (index.id, columns.to_vec()));
        own.map(|key| (relation, key)).into_iter().chain(indexes).collect()
    }
}

/// As Postgres calls an index without a name: `t_a_b_idx`, or `t_a_b_idx1` where there is one.
fn free_index_name(catalog: &Snapshot, on: &Object, columns: &[String]) -> String {
    let stem = format!("{}_{}_idx", on.name, columns.join("_"));
    let is_free = |name: &String| catalog.find(&on.schema, name).is_none();
    let numbered = (1..).map(|n| format!("{stem}{n}"));
    std::iter::once(stem.clone()).chain(numbered).find(is_free).expect("numbers do not end")
}

/// Whether the relation keeps rows that an index could be made of.
fn check_indexable(on: &Object) -> Result<()> {
    match &on.definition {
        Definition::Stream { options, .. } if keeps_nothing(options.get("retention").map(String::as_str))? => {
            Err(Error::unsupported(format!("stream \"{}\" keeps no rows to be indexed", on.name), "create it with retention = 'forever'"))
        }
        Definition::Stream { .. } | Definition::Table { .. } | Definition::MaterializedView { .. } => Ok(()),
        _ => Err(Error::new(sqlstate::WRONG_OBJECT_TYPE, format!("cannot create index on relation \"{}\"", on.name))
            .with_detail(format!("This operation is not supported for {}s.", on.kind().noun()))),
    }
}
