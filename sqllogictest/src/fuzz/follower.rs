//! Follows a view through `SUBSCRIBE … WITH (PROGRESS)` on a connection of its own: once an epoch is said to be complete, the
//! sum of all changes is the view at that epoch. Nothing else is known of the view here. One that is cut off since it reads more
//! slowly than its view changes (53400) begins anew with a snapshot, as its HINT says.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use futures::StreamExt;
use tokio_postgres::CopyOutStream;

use crate::connection::{Connection, SharedServer};
use crate::oracle::{Rows, same};

/// How long a progress row may take to come. It waits for nothing, but the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often in a row a follower may be cut off: it reads nothing between comparisons, and then all that there is.
const MAX_CUT_OFF: u64 = 3;

/// The sum of a view's changes.
pub(super) struct Follower {
    view: String,
    server: SharedServer,
    /// How often it was cut off.
    n_cut_off: u64,
    /// Keeps the connection.
    _connection: Connection,
    lines: Pin<Box<CopyOutStream>>,
    /// What has come of a line that is not complete.
    text: String,
    rows: BTreeMap<Vec<Option<String>>, i64>,
    /// The last epoch said to be complete.
    complete: Option<u64>,
}

impl Follower {
    /// Subscribes to a view.
    pub(super) async fn of(server: SharedServer, view: &str) -> Result<Self, String> {
        let mut connection = Connection::new(server.clone(), std::sync::Arc::default());
        let copy = format!("COPY (SUBSCRIBE {view} WITH (PROGRESS)) TO STDOUT");
        let lines = connection.copy_stream(&copy).await.map_err(|error| format!("view {view} cannot be followed: {error}"))?;
        let (text, rows) = (String::new(), BTreeMap::new());
        Ok(Self { view: view.into(), server, n_cut_off: 0, _connection: connection, lines, text, rows, complete: None })
    }

    /// How often it has been cut off since it was last asked.
    pub(super) fn take_n_cut_off(&mut self) -> u64 {
        std::mem::take(&mut self.n_cut_off)
    }

    async fn begin_anew(&mut self) -> Result<(), String> {
        let n_cut_off = self.n_cut_off + 1;
        *self = Self { n_cut_off, ..Self::of(self.server.clone(), &self.view).await? };
        Ok(())
    }

    /// Takes changes until `epoch` is complete, and says how their sum differs from `rows`, which are sorted.
    pub(super) async fn compare(&mut self, epoch: u64, rows: &Rows) -> Result<(), String> {
        let view = self.view.clone();
        while self.complete.is_none_or(|complete| complete < epoch) {
            match tokio::time::timeout(PATIENCE, self.lines.next()).await {
                Err(_) => return Err(format!("view {view}: no progress row says that epoch {epoch} is complete: {:?}", self.complete)),
                Ok(None) => return Err(format!("view {view}: its SUBSCRIBE ended before epoch {epoch}")),
                Ok(Some(Err(error))) if is_cut_off(&error) && self.n_cut_off < MAX_CUT_OFF => self.begin_anew().await?,
                Ok(Some(Err(error))) => return Err(format!("view {view}: its SUBSCRIBE failed: {error:?}")),
                Ok(Some(Ok(bytes))) => self.take(&String::from_utf8_lossy(&bytes)).map_err(|wrong| format!("view {view}: {wrong}"))?,
            }
        }
        same(rows, &self.sum()?).map_err(|difference| {
            format!("view {view} is not the sum of its changes at epoch {epoch} (here \"the query\" is that sum):\n{difference}")
        })
    }

    fn take(&mut self, text: &str) -> Result<(), String> {
        self.text.push_str(text);
        while let Some((line, rest)) = self.text.split_once('\n') {
            let (line, rest) = (line.to_owned(), rest.to_owned());
            self.text = rest;
            self.take_line(&line)?;
        }
        Ok(())
    }

    fn take_line(&mut self, line: &str) -> Result<(), String> {
        let mut cells = line.split('\t').map(cell);
        let number = |cell: Option<Option<String>>| cell.flatten().and_then(|text| text.parse::<i64>().ok());
        let epoch = number(cells.next()).and_then(|epoch| u64::try_from(epoch).ok()).ok_or("a change without an epoch")?;
        if self.complete.is_some_and(|complete| epoch <= complete) {
            return Err(format!("a change at epoch {epoch}, which was said to be complete"));
        }
        let Some(diff) = number(cells.next()) else {
            self.complete = Some(epoch);
            return Ok(());
        };
        let row: Vec<Option<String>> = cells.collect();
        let weight = self.rows.entry(row.clone()).or_default();
        *weight += diff;
        if *weight == 0 {
            self.rows.remove(&row);
        }
        Ok(())
    }

    /// The rows, sorted, as often as they are there.
    fn sum(&self) -> Result<Rows, String> {
        let mut rows = Rows::new();
        for (row, weight) in &self.rows {
            let n = usize::try_from(*weight).map_err(|_| format!("view {}: row {row:?} is there {weight} times", self.view))?;
            rows.extend(std::iter::repeat_n(row.clone(), n));
        }
        Ok(rows)
    }
}

fn is_cut_off(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|state| state.code() == "53400")
}

/// A cell of COPY's text format.
fn cell(text: &str) -> Option<String> {
    if text == "\\N" {
        return None;
    }
    let (mut plain, mut letters) = (String::with_capacity(text.len()), text.chars());
    while let Some(letter) = letters.next() {
        plain.push(match letter {
            '\\' => match letters.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some(other) => other,
                None => '\\',
            },
            other => other,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn cells_are_unescaped() {
        assert_eq!(["\\N", "", "a\\tb\\\\n"].map(cell), [None, Some(String::new()), Some("a\tb\\n".into())]);
    }
}
