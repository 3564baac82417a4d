//! One version of the catalog.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Object, ObjectId};

/// All objects at one version.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Increases by one with each change.
    pub version: u64,
    /// By id.
    pub objects: BTreeMap<ObjectId, Object>,
}

impl Snapshot {
    /// The object with this id.
    pub fn get(&self, id: ObjectId) -> Option<&Object> {
        self.objects.get(&id)
    }

    /// The object of this name.
    pub fn find(&self, schema: &str, name: &str) -> Option<&Object> {
        self.objects.values().find(|object| object.schema == schema && object.name == name)
    }
}
