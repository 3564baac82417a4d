//! What a writer knows of its rows: what was acknowledged, and what one unanswered statement may have made of it.

use std::collections::BTreeMap;

/// The rows of one writer in all relations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rows {
    /// `accounts`: value by key.
    pub accounts: BTreeMap<i64, i64>,
    /// `notes`: how often each number is there.
    pub notes: BTreeMap<i64, i64>,
    /// `events`: how often each row (number, value) is there.
    pub events: BTreeMap<(i64, i64), i64>,
}

impl Rows {
    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.accounts.len() as u64 + self.notes.values().sum::<i64>() as u64 + self.events.values().sum::<i64>() as u64
    }
}

/// Rows as acknowledged, and as they are if the statement in flight was done.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// What must be there.
    pub acknowledged: Rows,
    /// What may be there instead, wholly.
    pub unanswered: Option<Rows>,
}

/// How the statement in flight at a kill turned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// There was none, or nothing of it was done.
    Not,
    /// All of it was done.
    Done,
}

impl Ledger {
    /// Compares with the rows found after a restart, from which the ledger then goes on.
    pub(super) fn settle(&mut self, found: Rows) -> Result<Outcome, String> {
        let unanswered = self.unanswered.take();
        if found == self.acknowledged {
            return Ok(Outcome::Not);
        }
        if unanswered.as_ref() == Some(&found) {
            self.acknowledged = found;
            return Ok(Outcome::Done);
        }
        Err(format!("acknowledged and found differ in {}", difference(&self.acknowledged, &found)))
    }
}

fn difference(expected: &Rows, found: &Rows) -> String {
    let accounts = first_difference(&expected.accounts, &found.accounts);
    let notes = first_difference(&expected.notes, &found.notes);
    let events = first_difference(&expected.events, &found.events);
    format!("accounts: {accounts}; notes: {notes}; events: {events}")
}

fn first_difference<K: Ord + std::fmt::Debug>(expected: &BTreeMap<K, i64>, found: &BTreeMap<K, i64>) -> String {
    let wrong: Vec<String> = expected
        .keys()
        .chain(found.keys())
        .filter(|key| expected.get(key) != found.get(key))
        .map(|key| format!("{key:?} should be {:?} and is {:?}", expected.get(key), found.get(key)))
        .collect();
    match wrong.first() {
        Some(first) => format!("{} rows, first {first}", wrong.len()),
        None => "none".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(accounts: &[(i64, i64)]) -> Rows {
        Rows { accounts: accounts.iter().copied().collect(), ..Rows::default() }
    }

    #[test]
    fn a_statement_in_flight_is_done_wholly_or_not() {
        let ledger = || Ledger { acknowledged: rows(&[(1, 1)]), unanswered: Some(rows(&[(1, 1), (2, 2), (3, 3)])) };
        assert_eq!(ledger().settle(rows(&[(1, 1)])), Ok(Outcome::Not));
        assert_eq!(ledger().settle(rows(&[(1, 1), (2, 2), (3, 3)])), Ok(Outcome::Done));
        assert!(ledger().settle(rows(&[(1, 1), (2, 2)])).is_err());
        assert!(ledger().settle(rows(&[(2, 2), (3, 3)])).is_err());
        let mut answered = Ledger { acknowledged: rows(&[(1, 1)]), unanswered: None };
        assert!(answered.settle(rows(&[])).is_err());
    }
}
