//! What a reader is told of rows that a materialized view lacks because an expression failed for them: a WARNING that counts
//! them or, with `error_mode = strict`, an error.
//!
//! Guaranteed: the count is that of `"v$errors"` at the epoch read. Views below a view are asked too: what they lack, it lacks.

use std::collections::BTreeSet;

use catalog::{Definition, ObjectId, Snapshot as CatalogSnapshot};

use super::{Core, Notice};
use crate::error::sqlstate;
use crate::functions::settings::session_setting;
use crate::state::history::Snapshot as RelationSnapshot;
use crate::time::Hold;
use crate::{Error, Result};

const WARNING: &str = "01000";

impl Core {
    /// Notices for whoever reads `relations` at the held epoch.
    pub(super) async fn failed_rows(&self, relations: &[ObjectId], hold: &Hold) -> Result<Vec<Notice>> {
        let catalog = self.catalog();
        let views: Vec<(&str, ObjectId)> = below(&catalog, relations).into_iter().filter_map(|id| errors_of(&catalog, id)).collect();
        let mut notices = Vec::new();
        for (view, errors) in views {
            let n_rows = self.n_rows_at(errors, hold).await?;
            if n_rows == 0 {
                continue;
            }
            let is_strict = session_setting("error_mode").as_deref() == Some("strict");
            let rows = if n_rows == 1 { "row" } else { "rows" };
            let code = if is_strict { sqlstate::DATA_EXCEPTION } else { WARNING };
            let error = Error::new(code, format!("materialized view \"{view}\" lacks {n_rows} {rows} for which an expression failed"))
                .with_hint(format!("SELECT * FROM \"{view}$errors\" shows them."));
            if is_strict {
                return Err(error.with_detail("error_mode is strict."));
            }
            notices.push(Notice { severity: "WARNING", error });
        }
        Ok(notices)
    }

    /// How many rows a relation has, copies counted.
    pub(super) async fn n_rows_at(&self, relation: ObjectId, hold: &Hold) -> Result<u64> {
        Ok(self.snapshots(&[relation], hold).await?.iter().flatten().map(RelationSnapshot::n_rows).sum())
    }
}

/// These relations and all that they are computed from.
fn below(catalog: &CatalogSnapshot, relations: &[ObjectId]) -> BTreeSet<ObjectId> {
    let mut found = BTreeSet::new();
    let mut next = relations.to_vec();
    while let Some(id) = next.pop() {
        let Some(object) = catalog.get(id).filter(|object| !matches!(object.definition, Definition::Errors { .. })) else { continue };
        if found.insert(id) {
            next.extend(&object.depends_on);
        }
    }
    found
}

fn errors_of(catalog: &CatalogSnapshot, id: ObjectId) -> Option<(&str, ObjectId)> {
    let object = catalog.get(id)?;
    match object.definition {
        Definition::MaterializedView { errors, .. } => Some((object.name.as_str(), errors)),
        _ => None,
    }
}
