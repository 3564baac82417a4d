//! What can happen to a catalog, as a pure function: `apply(snapshot, change) -> snapshot`, or why not.
//!
//! Guaranteed of every snapshot that [`apply`] returns: names are unique in their namespace; ids are new and never used again;
//! what an object depends on is there, and nothing depends on itself in a circle; an errors relation and its owner are both
//! there or neither. Not checked here: what only SQL can know, as whether a query's text is valid.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::{CatalogError, Result};
use crate::snapshot::{PUBLIC, SYSTEM, Schema};
use crate::{Object, ObjectId, Snapshot};

/// One step from a version of the catalog to the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// One new object that has no errors relation. Its id is from [`Snapshot::free_ids`].
    Create(Object),
    /// Several at once, each after what it depends on: a stream and its errors relation, say.
    CreateMany(Vec<Object>),
    /// CREATE OR REPLACE: the object with the same id gets this definition, these columns and dependencies.
    Replace(Object),
    /// All of these; what [`drop_plan`](crate::drop_plan) returned.
    Drop(Vec<ObjectId>),
    /// COMMENT ON an object, or on one of its columns.
    Comment {
        /// The object.
        id: ObjectId,
        /// One of its columns, by name.
        column: Option<String>,
        /// `None` removes the comment.
        comment: Option<String>,
    },
    /// COMMENT ON SCHEMA.
    CommentSchema {
        /// The schema.
        schema: String,
        /// `None` removes the comment.
        comment: Option<String>,
    },
    /// CREATE SCHEMA.
    CreateSchema {
        /// Its name.
        name: String,
        /// Its id, from [`Snapshot::free_ids`].
        id: ObjectId,
    },
    /// DROP SCHEMA, with these objects of it and what depends on them (CASCADE).
    DropSchema {
        /// Its name.
        name: String,
        /// As for [`Change::Drop`].
        objects: Vec<ObjectId>,
    },
}

/// The next version: `snapshot` with `change` made, if that keeps every promise of this module.
pub fn apply(snapshot: &Snapshot, change: &Change) -> Result<Snapshot> {
    let mut next = snapshot.clone();
    next.version += 1;
    match change {
        Change::Create(object) => create(&mut next, std::slice::from_ref(object))?,
        Change::CreateMany(objects) => create(&mut next, objects)?,
        Change::Replace(object) => replace(&mut next, object)?,
        Change::Drop(ids) => drop_all(&mut next, ids)?,
        Change::Comment { id, column, comment } => comment_on(&mut next, *id, column.as_deref(), comment)?,
        Change::CommentSchema { schema, comment } => schema_mut(&mut next, schema)?.comment.clone_from(comment),
        Change::CreateSchema { name, id } => create_schema(&mut next, name, *id)?,
        Change::DropSchema { name, objects } => drop_schema(&mut next, name, objects)?,
    }
    Ok(next)
}

fn create(next: &mut Snapshot, objects: &[Object]) -> Result<()> {
    for object in objects {
        check::new_object(next, object)?;
        take_id(next, object.id)?;
        next.objects.insert(object.id, object.clone());
    }
    check::errors_relations(next, objects.iter().map(|object| object.id))
}

fn take_id(next: &mut Snapshot, id: ObjectId) -> Result<()> {
    if id < next.next_id {
        return Err(CatalogError::Inconsistent(format!("id {id} is not new: the next is {}", next.next_id)));
    }
    next.next_id = id.next();
    Ok(())
}

fn replace(next: &mut Snapshot, object: &Object) -> Result<()> {
    let old = next.require(object.id)?;
    let has_dependents = !next.dependents(object.id).is_empty();
    check::replacement(old, object, has_dependents)?;
    check::parts(next, object)?;
    next.objects.insert(object.id, object.clone());
    check::no_circle(next, object.id)
}

fn drop_all(next: &mut Snapshot, ids: &[ObjectId]) -> Result<()> {
    let mut dropped = Vec::with_capacity(ids.len());
    for id in ids {
        dropped.push(next.objects.remove(id).ok_or(CatalogError::NoSuchId(*id))?);
    }
    check::nothing_dangles(next, &dropped)
}

fn comment_on(next: &mut Snapshot, id: ObjectId, column: Option<&str>, comment: &Option<String>) -> Result<()> {
    let object = next.objects.get_mut(&id).ok_or(CatalogError::NoSuchId(id))?;
    let Some(column) = column else {
        object.comment.clone_from(comment);
        return Ok(());
    };
    let found = object.columns.iter_mut().find(|other| other.name == column);
    let no_such_column = || CatalogError::NoSuchColumn { relation: object.name.clone(), column: column.to_owned() };
    found.ok_or_else(no_such_column)?.comment.clone_from(comment);
    Ok(())
}

fn create_schema(next: &mut Snapshot, name: &str, id: ObjectId) -> Result<()> {
    if next.schemas.contains_key(name) {
        return Err(CatalogError::AlreadyExists { what: "schema", name: name.to_owned() });
    }
    if name.is_empty() || name.starts_with("pg_") || name == "information_schema" {
        return Err(CatalogError::SystemSchema(name.to_owned()));
    }
    take_id(next, id)?;
    next.schemas.insert(name.to_owned(), Schema { id, comment: None });
    Ok(())
}

fn drop_schema(next: &mut Snapshot, name: &str, objects: &[ObjectId]) -> Result<()> {
    schema_mut(next, name)?;
    if name == SYSTEM || name == PUBLIC {
        return Err(CatalogError::SystemSchema(name.to_owned()));
    }
    drop_all(next, objects)?;
    let left: Vec<String> = next.objects_in(name).map(Object::described).collect();
    if !left.is_empty() {
        return Err(CatalogError::SchemaNotEmpty { schema: name.to_owned(), objects: left });
    }
    next.schemas.remove(name);
    Ok(())
}

fn schema_mut<'a>(next: &'a mut Snapshot, name: &str) -> Result<&'a mut Schema> {
    next.schemas.get_mut(name).ok_or_else(|| CatalogError::NotFound { what: "schema", name: name.to_owned() })
}

/// The change that drops a schema: with CASCADE also what is in it and what depends on that.
pub fn drop_schema_plan(snapshot: &Snapshot, name: &str, cascade: bool) -> Result<Change> {
    if !snapshot.schemas.contains_key(name) {
        return Err(CatalogError::NotFound { what: "schema", name: name.to_owned() });
    }
    // An errors relation goes with its owner, which is in the same schema.
    let inside: BTreeSet<ObjectId> =
        snapshot.objects_in(name).filter(|object| object.kind() != crate::ObjectKind::Errors).map(|object| object.id).collect();
    if !cascade && !inside.is_empty() {
        let objects = snapshot.objects_in(name).map(Object::described).collect();
        return Err(CatalogError::SchemaNotEmpty { schema: name.to_owned(), objects });
    }
    let objects = crate::drop_plan(snapshot, &inside.into_iter().collect::<Vec<_>>(), cascade)?;
    Ok(Change::DropSchema { name: name.to_owned(), objects })
}

#[cfg(test)]
mod tests;
