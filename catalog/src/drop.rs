//! What a DROP takes with it, and in which order. A pure choice: [`crate::change::apply`] carries it out.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{CatalogError, Result};
use crate::{Definition, ObjectId, Snapshot};

/// All that goes when `ids` are dropped, dependents first, so that dropping one after the other leaves nothing dangling.
///
/// Errors relations go with their owners, indexes with their relations. Without `cascade` (RESTRICT), any other dependent that is not itself among `ids` is
/// an error that names them all.
pub fn drop_plan(snapshot: &Snapshot, ids: &[ObjectId], cascade: bool) -> Result<Vec<ObjectId>> {
    let asked: BTreeSet<ObjectId> = ids.iter().copied().collect();
    for id in &asked {
        refuse_alone(snapshot, *id, &asked)?;
    }
    let users = users(snapshot);
    let doomed = closure(snapshot, &users, &asked);
    if !cascade {
        refuse_dependents(snapshot, &users, &asked, &doomed)?;
    }
    Ok(dependents_first(&users, &doomed))
}

/// An errors relation cannot be dropped without its owner.
fn refuse_alone(snapshot: &Snapshot, id: ObjectId, asked: &BTreeSet<ObjectId>) -> Result<()> {
    let object = snapshot.require(id)?;
    match object.definition {
        Definition::Errors { owner } if !asked.contains(&owner) => {
            let owner = snapshot.require(owner)?.described();
            Err(CatalogError::RequiredBy { object: object.described(), owner })
        }
        _ => Ok(()),
    }
}

/// What must go before an object can: its readers, and its errors relation.
type Users = BTreeMap<ObjectId, Vec<ObjectId>>;

fn users(snapshot: &Snapshot) -> Users {
    let mut users = Users::new();
    for object in snapshot.objects.values() {
        let owner = match object.definition {
            Definition::Errors { owner } => Some(owner),
            _ => None,
        };
        for used in object.depends_on.iter().copied().chain(owner) {
            users.entry(used).or_default().push(object.id);
        }
    }
    users
}

fn users_of(users: &Users, id: ObjectId) -> &[ObjectId] {
    users.get(&id).map_or(&[], Vec::as_slice)
}

fn closure(snapshot: &Snapshot, users: &Users, asked: &BTreeSet<ObjectId>) -> BTreeSet<ObjectId> {
    let mut doomed = BTreeSet::new();
    let mut left: Vec<ObjectId> = asked.iter().copied().collect();
    while let Some(id) = left.pop() {
        if doomed.insert(id) {
            left.extend(users_of(users, id));
            debug_assert!(snapshot.get(id).is_some(), "what depends on something is there");
        }
    }
    doomed
}

/// One line for each doomed object that was not asked for, in the order of ids.
fn refuse_dependents(snapshot: &Snapshot, users: &Users, asked: &BTreeSet<ObjectId>, doomed: &BTreeSet<ObjectId>) -> Result<()> {
    let comes_along = |id: ObjectId| match snapshot.get(id).map(|object| &object.definition) {
        Some(Definition::Errors { owner: whole } | Definition::Index { on: whole, .. }) => doomed.contains(whole) || asked.contains(&id),
        _ => asked.contains(&id),
    };
    let mut lines: Vec<(ObjectId, String)> = Vec::new();
    for used in doomed {
        for user in users_of(users, *used).iter().filter(|user| !comes_along(**user)) {
            lines.push((*user, format!("{} depends on {}", snapshot.require(*user)?.described(), snapshot.require(*used)?.described())));
        }
    }
    if lines.is_empty() {
        return Ok(());
    }
    lines.sort();
    let mut objects = Vec::new();
    for id in asked {
        objects.push(snapshot.require(*id)?.described());
    }
    Err(CatalogError::Dependents { object: objects.join(", "), dependents: lines.into_iter().map(|(_, line)| line).collect() })
}

/// Kahn's algorithm; among those that could go next, the youngest first.
fn dependents_first(users: &Users, doomed: &BTreeSet<ObjectId>) -> Vec<ObjectId> {
    let mut n_users: BTreeMap<ObjectId, usize> = doomed.iter().map(|id| (*id, users_of(users, *id).len())).collect();
    let mut uses: BTreeMap<ObjectId, Vec<ObjectId>> = BTreeMap::new();
    for used in doomed {
        for user in users_of(users, *used) {
            uses.entry(*user).or_default().push(*used);
        }
    }
    let mut ready: BTreeSet<ObjectId> = n_users.iter().filter(|(_, n)| **n == 0).map(|(id, _)| *id).collect();
    let mut order = Vec::with_capacity(doomed.len());
    while let Some(id) = ready.pop_last() {
        order.push(id);
        for used in uses.remove(&id).unwrap_or_default() {
            let n = n_users.get_mut(&used).expect("what is used by the doomed is counted with them");
            *n -= 1;
            if *n == 0 {
                ready.insert(used);
            }
        }
    }
    assert_eq!(order.len(), doomed.len(), "dependencies have no circle");
    order
}
