//! Portals: statements with their values, to be run once and read in parts. Bind makes them, and DECLARE CURSOR, under the same
//! names, as in Postgres: MOVE may name what Bind made.
//!
//! Guaranteed: a portal ends with its transaction, unless it was declared WITH HOLD; one made after a savepoint ends when it is
//! rolled back to. A cursor WITH HOLD keeps the snapshot it reads from. Not guaranteed: reading backwards.

use std::collections::HashMap;

use arrow::datatypes::{Schema, SchemaRef};
use catalog::SqlType;
use engine::error::sqlstate;
use engine::plan::parameters::Bound;
use engine::plan::statement::{DeclareCursor, Fetch, Parsed, Statement};
use engine::{Error, Result};
use tokio::time::Instant;

use super::rows::{Patience, RowStream};
use super::{Outcome, Session, Tag};
use crate::encode::formats::Formats;

/// Portals of one session at most: each may keep a query waiting and its rows in memory.
const MAX_PORTALS: usize = 1_000;

/// A statement with its values.
pub struct Portal {
    statement: Option<Parsed>,
    /// The columns of its rows; `None` when it has none.
    pub schema: Option<SchemaRef>,
    /// How its rows are sent.
    pub formats: Formats,
    state: State,
    /// Declared WITH HOLD.
    holds: bool,
    /// FETCH sends its rows in binary, also in the simple protocol.
    is_binary: bool,
    /// Reads what a SUBSCRIBE shows: its rows never end.
    is_endless: bool,
    /// 0 outside of a block; in one 1 more than there were savepoints when it was made.
    depth: usize,
}

enum State {
    /// Has not run.
    Ready,
    /// Its rows as far as they were read, and the tag behind the last of them.
    Open(RowStream, Tag),
    /// Has run and had no rows.
    Done,
}

/// Portals by name.
pub(super) type Portals = HashMap<String, Portal>;

impl Session {
    /// Binds values to a prepared statement.
    pub fn bind(&mut self, portal: &str, statement: &str, values: &[Bound], formats: Formats) -> Result<()> {
        let prepared = self.prepared(statement)?.clone();
        if let Some(parsed) = &prepared.parsed {
            self.check_block(&parsed.statement)?;
        }
        let bound = self.bound(&prepared, values)?;
        if let Some(schema) = &prepared.schema {
            formats.check(schema.fields().len())?;
        }
        if portal.is_empty() {
            self.portals.remove(portal);
        }
        let is_endless = bound.as_ref().is_some_and(|parsed| matches!(parsed.statement, Statement::Subscribe(_)));
        let made = Portal {
            statement: bound,
            schema: prepared.schema,
            formats,
            state: State::Ready,
            holds: false,
            is_binary: false,
            is_endless,
            depth: self.depth(),
        };
        self.keep_portal(portal, made)
    }

    /// A portal; `34000` when there is none of this name.
    pub fn portal(&self, name: &str) -> Result<&Portal> {
        self.portals.get(name).ok_or_else(|| undefined(name))
    }

    /// Forgets a portal, if it is there; its query stops.
    pub fn close_portal(&mut self, name: &str) {
        self.portals.remove(name);
    }

    /// Runs a portal, or goes on with it, for `n_rows` rows; `None` is all of them.
    pub async fn execute(&mut self, name: &str, n_rows: Option<u64>) -> Result<Outcome> {
        let portal = self.portal(name)?;
        if let Some(parsed) = &portal.statement {
            // The block may have failed since it was bound, or since its last part.
            self.check_block(&parsed.statement)?;
        }
        match (&portal.state, portal.statement.clone()) {
            (State::Open(..), _) => self.go_on(name, n_rows),
            (State::Done, _) => Err(Error::new(sqlstate::OBJECT_NOT_IN_STATE, format!("portal \"{name}\" cannot be run"))),
            (State::Ready, None) => Ok(Outcome::Empty),
            (State::Ready, Some(parsed)) => {
                let outcome = match &parsed.statement {
                    // Read in parts it is a cursor, which a block may have.
                    Statement::Subscribe(subscribe) if n_rows.is_some() && self.is_open() => {
                        let (schema, rows) = self.follow(subscribe).await?;
                        Outcome::rows(schema, rows, Tag::Counted("SUBSCRIBE"))
                    }
                    _ => self.run(&parsed).await?,
                };
                let described = self.portals.get(name).and_then(|portal| portal.schema.clone());
                match outcome {
                    Outcome::Rows { schema, mut rows, tag, notices, formats } => {
                        same_types(described.as_ref(), &schema)?;
                        let part = rows.part(n_rows);
                        // The statement may have ended its own portal, as COMMIT does; then there is nothing to go on with.
                        if let Some(portal) = self.portals.get_mut(name) {
                            portal.state = State::Open(rows, tag.clone());
                        }
                        Ok(Outcome::Rows { schema, rows: part, tag, notices, formats })
                    }
                    other => {
                        if let Some(portal) = self.portals.get_mut(name) {
                            portal.state = State::Done;
                        }
                        Ok(other)
                    }
                }
            }
        }
    }

    fn go_on(&mut self, name: &str, n_rows: Option<u64>) -> Result<Outcome> {
        let portal = self.portals.get_mut(name).ok_or_else(|| undefined(name))?;
        let (State::Open(rows, tag), Some(schema)) = (&mut portal.state, &portal.schema) else { return Err(undefined(name)) };
        Ok(Outcome::rows(schema.clone(), rows.part(n_rows), tag.clone()))
    }

    /// DECLARE CURSOR.
    pub(super) async fn declare(&mut self, declare: &DeclareCursor) -> Result<Outcome> {
        if !declare.hold && !self.is_in_block() {
            return Err(Error::new(sqlstate::NO_ACTIVE_TRANSACTION, "DECLARE CURSOR can only be used in transaction blocks")
                .with_hint("send BEGIN first, or declare it WITH HOLD"));
        }
        if self.portals.contains_key(&declare.name) {
            return Err(Error::new(sqlstate::DUPLICATE_CURSOR, format!("cursor \"{}\" already exists", declare.name)));
        }
        let (schema, rows, is_endless) = match &declare.statement.statement {
            Statement::Subscribe(subscribe) => {
                let (schema, rows) = self.follow(subscribe).await?;
                (schema, rows, true)
            }
            _ => {
                let (schema, rows, _) = self.query_rows(&declare.statement).await?;
                (schema, rows, false)
            }
        };
        let portal = Portal {
            statement: Some(declare.statement.clone()),
            schema: Some(schema),
            formats: Formats::default(),
            state: State::Open(rows, Tag::Counted("SELECT")),
            holds: declare.hold,
            is_binary: declare.binary,
            is_endless,
            depth: self.depth(),
        };
        self.keep_portal(&declare.name, portal)?;
        Ok(Outcome::done("DECLARE CURSOR"))
    }

    /// FETCH and MOVE.
    pub(super) async fn fetch(&mut self, fetch: &Fetch) -> Result<Outcome> {
        let name = &fetch.cursor;
        let no_cursor = || Error::new(sqlstate::UNDEFINED_CURSOR, format!("cursor \"{name}\" does not exist"));
        let portal = self.portals.get(name).ok_or_else(no_cursor)?;
        if let (State::Ready, Some(parsed)) = (&portal.state, portal.statement.clone()) {
            let Statement::Query(_) = parsed.statement else { return Err(no_cursor()) };
            let (_, rows, _) = self.query_rows(&parsed).await?;
            if let Some(portal) = self.portals.get_mut(name) {
                portal.state = State::Open(rows, Tag::Counted("SELECT"));
            }
        }
        let portal = self.portals.get_mut(name).ok_or_else(no_cursor)?;
        let (State::Open(rows, _), Some(schema)) = (&mut portal.state, portal.schema.clone()) else { return Err(no_cursor()) };
        let patience = match (portal.is_endless, fetch.timeout) {
            (false, _) => Patience::Endless,
            (true, None) => Patience::OneRow,
            (true, Some(timeout)) => Patience::Until(Instant::now() + timeout),
        };
        let rows = rows.part(fetch.n_rows).with_patience(patience);
        if fetch.moves {
            let n_rows: usize = rows.collect().await?.iter().map(arrow::array::RecordBatch::num_rows).sum();
            return Ok(Outcome::Done { tag: format!("MOVE {n_rows}"), notices: Vec::new() });
        }
        let formats = if portal.is_binary { Formats::binary() } else { Formats::default() };
        Ok(Outcome::Rows { schema, rows, tag: Tag::Counted("FETCH"), notices: Vec::new(), formats })
    }

    /// CLOSE.
    pub(super) fn close_cursor(&mut self, name: Option<&str>) -> Result<Outcome> {
        let Some(name) = name else {
            self.portals.clear();
            return Ok(Outcome::done("CLOSE CURSOR ALL"));
        };
        match self.portals.remove(name) {
            Some(_) => Ok(Outcome::done("CLOSE CURSOR")),
            None => Err(Error::new(sqlstate::UNDEFINED_CURSOR, format!("cursor \"{name}\" does not exist"))),
        }
    }

    /// The transaction has ended well: cursors WITH HOLD stay.
    pub(super) fn end_portals(&mut self) {
        self.portals.retain(|_, portal| portal.holds);
        self.portals.values_mut().for_each(|portal| portal.depth = 0);
    }

    /// The transaction was rolled back: what was made in it goes. A cursor WITH HOLD of an earlier one has depth 0.
    pub(super) fn drop_portals(&mut self) {
        self.portals.retain(|_, portal| portal.holds && portal.depth == 0);
    }

    /// It was rolled back to a savepoint: what was made deeper goes.
    pub(super) fn drop_portals_below(&mut self, depth: usize) {
        self.portals.retain(|_, portal| portal.depth <= depth);
    }

    fn keep_portal(&mut self, name: &str, portal: Portal) -> Result<()> {
        if self.portals.contains_key(name) {
            return Err(Error::new(sqlstate::DUPLICATE_CURSOR, format!("cursor \"{name}\" already exists")));
        }
        if self.portals.len() >= MAX_PORTALS {
            return Err(Error::new(sqlstate::LIMIT_EXCEEDED, format!("a session has at most {MAX_PORTALS} open cursors"))
                .with_hint("close those that are not needed any more"));
        }
        self.portals.insert(name.to_owned(), portal);
        Ok(())
    }
}

/// The client was told types before the statement ran; what it reads must have them.
fn same_types(described: Option<&SchemaRef>, schema: &SchemaRef) -> Result<()> {
    let oids = |schema: &Schema| schema.fields().iter().map(|field| SqlType::of_field(field).oid()).collect::<Vec<_>>();
    match described {
        Some(described) if oids(described) != oids(schema) => {
            let error = Error::unsupported("cached plan must not change result type", "prepare the statement again");
            // By this drivers know that they can heal it, asyncpg and pgjdbc among them.
            Err(error.with_routine("RevalidateCachedQuery"))
        }
        _ => Ok(()),
    }
}

fn undefined(name: &str) -> Error {
    Error::new(sqlstate::UNDEFINED_CURSOR, format!("portal \"{name}\" does not exist"))
}
