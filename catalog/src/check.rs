//! The promises a catalog keeps, each as a plain check over a snapshot.

use std::collections::BTreeSet;

use crate::error::{CatalogError, Result};
use crate::snapshot::{Namespace, SYSTEM};
use crate::{Definition, Object, ObjectId, ObjectKind, Snapshot};

fn inconsistent(reason: impl Into<String>) -> CatalogError {
    CatalogError::Inconsistent(reason.into())
}

/// `object` can be added: its schema and name are free for it, its parts are sound.
pub(crate) fn new_object(snapshot: &Snapshot, object: &Object) -> Result<()> {
    if object.schema == SYSTEM {
        return Err(CatalogError::SystemSchema(object.schema.clone()));
    }
    if !snapshot.schemas.contains_key(&object.schema) {
        return Err(CatalogError::NotFound { what: "schema", name: object.schema.clone() });
    }
    if object.name.is_empty() {
        return Err(inconsistent("an object has a name"));
    }
    let namespace = Namespace::of(object);
    if snapshot.find_in(namespace, &object.schema, &object.name).is_some() {
        return Err(CatalogError::AlreadyExists { what: namespace.noun(), name: object.name.clone() });
    }
    parts(snapshot, object)
}

/// Columns, key and dependencies of `object` are sound in `snapshot`.
pub(crate) fn parts(snapshot: &Snapshot, object: &Object) -> Result<()> {
    let mut names = BTreeSet::new();
    for column in &object.columns {
        if !names.insert(&column.name) {
            return Err(CatalogError::DuplicateColumn(column.name.clone()));
        }
    }
    if let Definition::Table { primary_key, .. } = &object.definition {
        let distinct: BTreeSet<&usize> = primary_key.iter().collect();
        if distinct.len() < primary_key.len() || primary_key.iter().any(|index| *index >= object.columns.len()) {
            return Err(inconsistent(format!("primary key {primary_key:?} of {}", object.described())));
        }
    }
    if let Definition::Index { on, columns } = &object.definition {
        let distinct: BTreeSet<&usize> = columns.iter().collect();
        let is_sound = !columns.is_empty() && distinct.len() == columns.len() && columns.iter().all(|index| *index < object.columns.len());
        if !is_sound || object.depends_on != [*on] || snapshot.require(*on)?.schema != object.schema {
            return Err(inconsistent(format!("{} by {columns:?} of {on}", object.described())));
        }
    }
    let mut seen = BTreeSet::new();
    for id in &object.depends_on {
        if !seen.insert(id) {
            return Err(inconsistent(format!("{} depends on {id} twice", object.described())));
        }
        match snapshot.get(*id) {
            None => return Err(CatalogError::NoSuchId(*id)),
            Some(other) if other.kind() == ObjectKind::Sink && !matches!(object.definition, Definition::Errors { .. }) => {
                return Err(inconsistent(format!("{} reads a sink", object.described())));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Each of `ids` that has, or is, an errors relation has its counterpart, in the same schema and under its name.
pub(crate) fn errors_relations(snapshot: &Snapshot, ids: impl Iterator<Item = ObjectId>) -> Result<()> {
    for id in ids {
        let object = snapshot.require(id)?;
        let (owner, errors) = match (&object.definition, object.errors()) {
            (Definition::Errors { owner }, _) => (snapshot.get(*owner), Some(object)),
            (_, Some(errors)) => (Some(object), snapshot.get(errors)),
            (_, None) => continue,
        };
        match (owner, errors) {
            (Some(owner), Some(errors)) if belong_together(owner, errors) => {}
            _ => return Err(inconsistent(format!("{} and its errors relation do not belong together", object.described()))),
        }
    }
    Ok(())
}

fn belong_together(owner: &Object, errors: &Object) -> bool {
    let points_back = matches!(errors.definition, Definition::Errors { owner: id } if id == owner.id);
    let named_after = errors.schema == owner.schema && errors.name == format!("{}$errors", owner.name);
    owner.errors() == Some(errors.id) && points_back && named_after
}

/// `new` can take the place of `old`: same name and kind, and with dependents at least the same columns first.
pub(crate) fn replacement(old: &Object, new: &Object, has_dependents: bool) -> Result<()> {
    let refuse = |reason: &str| Err(CatalogError::CannotReplace { object: old.described(), reason: reason.to_owned() });
    if (&old.schema, &old.name, old.kind()) != (&new.schema, &new.name, new.kind()) || old.errors() != new.errors() {
        return Err(inconsistent(format!("{} is replaced by another object, {}", old.described(), new.described())));
    }
    let keeps_columns = new.columns.len() >= old.columns.len()
        && old.columns.iter().zip(&new.columns).all(|(old, new)| (&old.name, &old.sql_type) == (&new.name, &new.sql_type));
    if has_dependents && !keeps_columns {
        return refuse("columns that other objects may depend on would change");
    }
    if let (Definition::Function { arguments: a, returns: b, .. }, Definition::Function { arguments: c, returns: d, .. }) =
        (&old.definition, &new.definition)
    {
        let types = |arguments: &[(String, crate::SqlType)]| arguments.iter().map(|(_, of)| of.clone()).collect::<Vec<_>>();
        if has_dependents && (types(a) != types(c) || b != d) {
            return refuse("argument or result types that other objects depend on would change");
        }
    }
    Ok(())
}

/// `id` does not depend on itself through others.
pub(crate) fn no_circle(snapshot: &Snapshot, id: ObjectId) -> Result<()> {
    let mut seen = BTreeSet::new();
    let mut left = snapshot.require(id)?.depends_on.clone();
    while let Some(next) = left.pop() {
        if next == id {
            let object = snapshot.require(id)?.described();
            return Err(CatalogError::CannotReplace { object, reason: "it would depend on itself".into() });
        }
        if seen.insert(next) {
            left.extend(&snapshot.require(next)?.depends_on);
        }
    }
    Ok(())
}

/// Nothing that is left depends on what was dropped, and errors relations went with their owners.
pub(crate) fn nothing_dangles(left: &Snapshot, dropped: &[Object]) -> Result<()> {
    let ids: BTreeSet<ObjectId> = dropped.iter().map(|object| object.id).collect();
    let describe = |id: &ObjectId| dropped.iter().find(|object| object.id == *id).map_or_else(String::new, Object::described);
    for object in left.objects.values() {
        if let Some(gone) = object.depends_on.iter().find(|id| ids.contains(id)) {
            let dependents = vec![format!("{} depends on {}", object.described(), describe(gone))];
            return Err(CatalogError::Dependents { object: describe(gone), dependents });
        }
        let counterpart = match object.definition {
            Definition::Errors { owner } => Some(owner),
            _ => object.errors(),
        };
        if counterpart.is_some_and(|counterpart| ids.contains(&counterpart)) {
            return Err(inconsistent(format!("{} goes with its counterpart", object.described())));
        }
    }
    Ok(())
}
