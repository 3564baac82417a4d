//! Object ids. An object's id is the oid of its relation or function, for ever. What Postgres has an oid for and the catalog
//! has no id for gets one computed from the object's: same object, same oid, after every restart.
//!
//! | oid | of |
//! |---|---|
//! | id | relation or function |
//! | id + 2²⁸ | its row type |
//! | id + 2·2²⁸ | the array of its row type |
//! | id + 3·2²⁸ | the index of its primary key |
//! | id + 4·2²⁸ | the constraint of its primary key |
//! | id + 5·2²⁸ | the rule of a view |
//! | 6·2²⁸ + 2048·(id − 16384) + column | the default of a column |
//!
//! Below 16384 are PostgreSQL's own. Guaranteed for the first 2²⁸ objects; Postgres wraps its oids around, too.

use catalog::ObjectId;

/// The role everybody has, the first superuser.
pub const ROLE: u32 = 10;
/// The one database.
pub const DATABASE: u32 = 5;
/// `pg_catalog`.
pub const PG_CATALOG: u32 = 11;
/// `information_schema`, as `initdb` of PostgreSQL 15 numbers it.
pub const INFORMATION_SCHEMA: u32 = 13_207;
/// `thalweg.jobs` and `thalweg.operators`.
pub const JOBS: u32 = 16_381;
#[expect(missing_docs, reason = "as above")]
pub const OPERATORS: u32 = 16_382;
/// The access method of tables.
pub const HEAP: u32 = 2;
/// The access method of indexes.
pub const BTREE: u32 = 403;

const STEP: u32 = 1 << 28;

/// What is derived from an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "see the table above")]
pub enum Derived {
    RowType = 1,
    RowArray = 2,
    Index = 3,
    Constraint = 4,
    Rule = 5,
}

impl Derived {
    /// Its oid.
    pub fn of(self, id: ObjectId) -> u32 {
        (id.0 % STEP) + self as u32 * STEP
    }

    /// The object an oid of this kind is derived from.
    pub fn object(self, oid: u32) -> Option<ObjectId> {
        (oid / STEP == self as u32).then_some(ObjectId(oid % STEP))
    }
}

/// The oid of a column's default.
pub fn default_of(id: ObjectId, column: usize) -> u32 {
    let first = catalog::snapshot::FIRST_ID.0;
    (id.0.wrapping_sub(first)).wrapping_mul(2048).wrapping_add(column as u32).wrapping_add(6 * STEP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_oids_lead_back() {
        let id = ObjectId(16_390);
        for derived in [Derived::RowType, Derived::RowArray, Derived::Index, Derived::Constraint, Derived::Rule] {
            assert_eq!(derived.object(derived.of(id)), Some(id));
            assert_eq!(derived.object(id.0), None);
        }
        assert_ne!(default_of(id, 1), default_of(ObjectId(16_391), 1));
    }
}
