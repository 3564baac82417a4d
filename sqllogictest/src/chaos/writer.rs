//! One connection's writes: each changes only rows of its own, so that the ledger knows what they make of them.

use bytes::Bytes;
use futures::SinkExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_postgres::Client;

use super::N_WRITERS;
use super::ledger::{Ledger, Rows};

/// A writer; it outlives its connections.
pub(super) struct Writer {
    /// Owner of its rows.
    pub number: i64,
    /// What it knows of them.
    pub ledger: Ledger,
    random: StdRng,
    /// Never used before.
    next: i64,
}

/// One statement, a COPY with its lines, or several statements as one transaction.
struct Write {
    step: Step,
    /// The rows once it is done.
    after: Rows,
}

enum Step {
    Statement(String),
    Copy(String, String),
    /// Statements between BEGIN and the last one, which is COMMIT or ROLLBACK.
    Transaction(Vec<String>),
}

/// How a write ended without an answer.
enum Lost {
    /// Before the server could have known of all of it.
    Incomplete,
    /// Its last message may have arrived.
    Unanswered,
    /// The server has refused it.
    Refused(String),
}

impl Writer {
    pub(super) fn new(number: i64, seed: u64) -> Self {
        Self { number, ledger: Ledger::default(), random: StdRng::seed_from_u64(seed), next: number }
    }

    /// Writes until the server is gone; `Err` when it refuses a write. `answered` is called after each.
    pub(super) async fn write_until_the_connection_ends(&mut self, client: &Client, answered: &(dyn Fn() + Sync)) -> Result<(), String> {
        loop {
            let Write { step, after } = self.next_write();
            match perform(client, &step).await {
                Ok(()) => {
                    self.ledger.acknowledged = after;
                    answered();
                }
                Err(Lost::Incomplete) => return Ok(()),
                Err(Lost::Unanswered) => {
                    self.ledger.unanswered = Some(after);
                    return Ok(());
                }
                Err(Lost::Refused(error)) => return Err(error),
            }
        }
    }

    fn next_write(&mut self) -> Write {
        let mut after = self.ledger.acknowledged.clone();
        let step = match self.random.random_range(0..11) {
            0 => self.insert_accounts(&mut after),
            1 => self.copy_accounts(&mut after),
            2 => self.update_accounts(&mut after),
            3 => self.delete_accounts(&mut after),
            4 => self.upsert_account(&mut after),
            5 | 6 => self.copy_events(&mut after),
            7 => self.insert_event(&mut after),
            8 => self.delete_notes(&mut after),
            9 => self.transaction(&mut after),
            _ => {
                let step = self.transaction(&mut after);
                after = self.ledger.acknowledged.clone();
                rolled_back(step)
            }
        };
        Write { step, after }
    }

    fn new_id(&mut self) -> i64 {
        self.next += N_WRITERS;
        self.next
    }

    fn new_accounts(&mut self, after: &mut Rows) -> Vec<(i64, i64)> {
        let n_rows = self.random.random_range(1..30);
        let rows: Vec<(i64, i64)> = (0..n_rows).map(|_| (self.new_id(), self.random.random_range(-1000..1000))).collect();
        after.accounts.extend(rows.iter().copied());
        rows
    }

    fn insert_accounts(&mut self, after: &mut Rows) -> Step {
        let rows = self.new_accounts(after);
        Step::Statement(insert(&rows, self.number))
    }

    fn copy_accounts(&mut self, after: &mut Rows) -> Step {
        let lines = self.new_accounts(after).into_iter().map(|(id, v)| format!("{id}\t{}\t{v}\n", self.number));
        Step::Copy("COPY accounts FROM STDIN".into(), lines.collect())
    }

    fn some_of(&mut self) -> (i64, i64) {
        let divisor = self.random.random_range(2..9);
        (divisor, self.random.random_range(0..divisor))
    }

    fn update_accounts(&mut self, after: &mut Rows) -> Step {
        let (divisor, remainder) = self.some_of();
        let more = self.random.random_range(1..100);
        after.accounts.iter_mut().filter(|(id, _)| *id % divisor == remainder).for_each(|(_, v)| *v += more);
        Step::Statement(format!("UPDATE accounts SET v = v + {more} WHERE owner = {} AND id % {divisor} = {remainder}", self.number))
    }

    fn delete_accounts(&mut self, after: &mut Rows) -> Step {
        let (divisor, remainder) = self.some_of();
        after.accounts.retain(|id, _| id % divisor != remainder);
        Step::Statement(format!("DELETE FROM accounts WHERE owner = {} AND id % {divisor} = {remainder}", self.number))
    }

    fn upsert_account(&mut self, after: &mut Rows) -> Step {
        let known = after.accounts.keys().copied().next();
        let id = match known {
            Some(known) if self.random.random_bool(0.8) => known,
            _ => self.new_id(),
        };
        let v = self.random.random_range(-1000..1000);
        after.accounts.entry(id).and_modify(|known| *known += v).or_insert(v);
        let values = format!("({id}, {}, {v})", self.number);
        Step::Statement(format!("INSERT INTO accounts VALUES {values} ON CONFLICT (id) DO UPDATE SET v = accounts.v + excluded.v"))
    }

    fn new_event(&mut self, after: &mut Rows) -> (i64, i64) {
        // Few numbers, so that equal rows are written often.
        let event = (self.random.random_range(0..50), self.random.random_range(0..10));
        *after.events.entry(event).or_insert(0) += 1;
        event
    }

    fn insert_event(&mut self, after: &mut Rows) -> Step {
        let (n, v) = self.new_event(after);
        Step::Statement(format!("INSERT INTO events VALUES ({}, {n}, {v})", self.number))
    }

    fn copy_events(&mut self, after: &mut Rows) -> Step {
        let n_rows = self.random.random_range(1..300);
        let number = self.number;
        let lines = (0..n_rows).map(|_| self.new_event(after)).map(|(n, v)| format!("{number}\t{n}\t{v}\n")).collect();
        Step::Copy("COPY events FROM STDIN".into(), lines)
    }

    fn delete_notes(&mut self, after: &mut Rows) -> Step {
        let (divisor, remainder) = self.some_of();
        after.notes.retain(|n, _| n % divisor != remainder);
        Step::Statement(format!("DELETE FROM notes WHERE writer = {} AND n % {divisor} = {remainder}", self.number))
    }

    /// Accounts, and a note on each, some twice.
    fn transaction(&mut self, after: &mut Rows) -> Step {
        let rows = self.new_accounts(after);
        let noted: Vec<i64> = rows.iter().flat_map(|(id, v)| std::iter::repeat_n(*id, 1 + usize::from(v % 2 == 0))).collect();
        noted.iter().for_each(|id| *after.notes.entry(*id).or_insert(0) += 1);
        let notes: Vec<String> = noted.iter().map(|id| format!("({}, {id})", self.number)).collect();
        let notes = format!("INSERT INTO notes VALUES {}", notes.join(", "));
        Step::Transaction(vec!["BEGIN".into(), insert(&rows, self.number), notes, "COMMIT".into()])
    }
}

fn insert(rows: &[(i64, i64)], owner: i64) -> String {
    let values: Vec<String> = rows.iter().map(|(id, v)| format!("({id}, {owner}, {v})")).collect();
    format!("INSERT INTO accounts VALUES {}", values.join(", "))
}

fn rolled_back(step: Step) -> Step {
    match step {
        Step::Transaction(mut statements) => {
            statements.pop();
            statements.push("ROLLBACK".into());
            Step::Transaction(statements)
        }
        other => other,
    }
}

async fn perform(client: &Client, step: &Step) -> Result<(), Lost> {
    match step {
        Step::Statement(sql) => client.batch_execute(sql).await.map_err(|error| lost(sql, &error, Lost::Unanswered)),
        Step::Copy(sql, lines) => {
            let sink = client.copy_in::<_, Bytes>(sql).await.map_err(|error| lost(sql, &error, Lost::Incomplete))?;
            let mut sink = std::pin::pin!(sink);
            sink.send(Bytes::copy_from_slice(lines.as_bytes())).await.map_err(|error| lost(sql, &error, Lost::Incomplete))?;
            sink.finish().await.map(|_| ()).map_err(|error| lost(sql, &error, Lost::Unanswered))
        }
        Step::Transaction(statements) => {
            for (index, sql) in statements.iter().enumerate() {
                let is_last = index + 1 == statements.len();
                let without_answer = if is_last { Lost::Unanswered } else { Lost::Incomplete };
                client.batch_execute(sql).await.map_err(|error| lost(sql, &error, without_answer))?;
            }
            Ok(())
        }
    }
}

/// An answer of the server is a refusal, anything else the end of the connection.
fn lost(sql: &str, error: &tokio_postgres::Error, without_answer: Lost) -> Lost {
    match error.as_db_error() {
        Some(answer) => Lost::Refused(format!("{sql}: {} {}", answer.code().code(), answer.message())),
        None => without_answer,
    }
}
