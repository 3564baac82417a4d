//! Transaction blocks as Postgres has them.
//!
//! A block is idle, implicit (the writes of one message), open or failed. While the engine works with a transaction it is *lent*:
//! the block counts as failed until it is given back, so an error, a cancel or a dropped future leaves exactly the right state.

use engine::engine::{Notice, Transaction};
use engine::error::sqlstate;
use engine::plan::statement::Statement;
use engine::{Error, Result};

use super::{Outcome, Session};

/// SQLSTATE of a write in a READ ONLY block; Postgres calls it `read_only_sql_transaction`.
const READ_ONLY_TRANSACTION: &str = "25006";

/// What ReadyForQuery tells the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// No block: `I`.
    Idle,
    /// In a block: `T`.
    Open,
    /// In a block that can only be rolled back: `E`.
    Failed,
}

/// The state of a session's transaction block.
#[derive(Default)]
pub(super) enum Block {
    /// Each statement stands alone.
    #[default]
    Idle,
    /// The writes of one message with several statements.
    Implicit(Transaction),
    /// Between BEGIN and COMMIT.
    Open { transaction: Transaction, read_only: bool },
    /// After an error between BEGIN and COMMIT.
    Failed,
}

impl Block {
    /// Takes the block out for one statement's work; see the module's comment. The caller gives it back by assignment.
    pub(super) fn lend(&mut self) -> Self {
        let after_failure = match self {
            Self::Idle | Self::Implicit(_) => Self::Idle,
            Self::Open { .. } | Self::Failed => Self::Failed,
        };
        std::mem::replace(self, after_failure)
    }

    /// What an error leaves of it.
    pub(super) fn failed(mut self) -> Self {
        self.lend();
        self
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. } | Self::Failed)
    }

    pub(super) fn transaction(&self) -> Option<&Transaction> {
        match self {
            Self::Implicit(transaction) | Self::Open { transaction, .. } => Some(transaction),
            Self::Idle | Self::Failed => None,
        }
    }

    pub(super) fn transaction_mut(&mut self) -> Option<&mut Transaction> {
        match self {
            Self::Implicit(transaction) | Self::Open { transaction, .. } => Some(transaction),
            Self::Idle | Self::Failed => None,
        }
    }
}

impl Session {
    /// What ReadyForQuery tells the client.
    pub fn status(&self) -> Status {
        match self.block {
            Block::Idle | Block::Implicit(_) => Status::Idle,
            Block::Open { .. } => Status::Open,
            Block::Failed => Status::Failed,
        }
    }

    /// A failed block takes only its end; a read-only one takes no writes.
    pub(super) fn check_block(&self, statement: &Statement) -> Result<()> {
        use Statement::*;
        match &self.block {
            Block::Failed if !matches!(statement, Commit | Rollback) => Err(Error::new(
                sqlstate::IN_FAILED_TRANSACTION,
                "current transaction is aborted, commands ignored until end of transaction block",
            )),
            Block::Open { read_only: true, .. } => match statement {
                Insert(_) => Err(read_only("INSERT")),
                Update(_) => Err(read_only("UPDATE")),
                Delete(_) => Err(read_only("DELETE")),
                CopyIn(_) => Err(read_only("COPY FROM")),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// `0A000` inside BEGIN … COMMIT.
    pub(super) fn refuse_in_block(&self, message: &str, hint: &str) -> Result<()> {
        if self.block.is_open() { Err(Error::unsupported(message, hint)) } else { Ok(()) }
    }

    /// Before a write: opens the block that makes a message's statements atomic.
    pub(super) async fn open_implicit(&mut self) -> Result<()> {
        if self.atomic_message && matches!(self.block, Block::Idle) {
            self.block = Block::Implicit(self.begin_transaction().await?);
        }
        Ok(())
    }

    /// Commits what the message wrote so far.
    pub(super) async fn commit_implicit(&mut self) -> Result<()> {
        if !matches!(self.block, Block::Implicit(_)) {
            return Ok(());
        }
        let Block::Implicit(transaction) = self.block.lend() else { unreachable!("looked at above") };
        let engine = self.engine.clone();
        self.on_queries(async move { engine.commit(transaction).await }).await?;
        Ok(())
    }

    pub(super) async fn begin(&mut self, read_only: bool) -> Result<Outcome> {
        if self.block.is_open() {
            return Ok(with_warning("BEGIN", sqlstate::ACTIVE_TRANSACTION, "there is already a transaction in progress"));
        }
        let transaction = match self.block.lend() {
            Block::Implicit(transaction) => transaction,
            _ => self.begin_transaction().await?,
        };
        self.block = Block::Open { transaction, read_only };
        self.settings.begin_block();
        Ok(Outcome::done("BEGIN"))
    }

    pub(super) async fn commit(&mut self) -> Result<Outcome> {
        match self.block.lend() {
            Block::Failed => {
                self.block = Block::Idle;
                self.settings.roll_back_block();
                Ok(Outcome::done("ROLLBACK"))
            }
            Block::Open { transaction, .. } => {
                // Whether it succeeds or not, the block is over.
                self.block = Block::Idle;
                let engine = self.engine.clone();
                let committed = self.on_queries(async move { engine.commit(transaction).await }).await;
                match &committed {
                    Ok(_) => self.settings.commit_block(),
                    Err(_) => self.settings.roll_back_block(),
                }
                committed.map(|_| Outcome::done("COMMIT"))
            }
            block @ (Block::Idle | Block::Implicit(_)) => {
                self.block = block;
                self.commit_implicit().await?;
                Ok(with_warning("COMMIT", sqlstate::NO_ACTIVE_TRANSACTION, "there is no transaction in progress"))
            }
        }
    }

    pub(super) fn rollback(&mut self) -> Result<Outcome> {
        let was_open = self.block.is_open();
        self.block = Block::Idle;
        if !was_open {
            return Ok(with_warning("ROLLBACK", sqlstate::NO_ACTIVE_TRANSACTION, "there is no transaction in progress"));
        }
        self.settings.roll_back_block();
        Ok(Outcome::done("ROLLBACK"))
    }

    async fn begin_transaction(&self) -> Result<Transaction> {
        let engine = self.engine.clone();
        self.on_queries(async move { engine.begin().await }).await
    }
}

fn read_only(command: &str) -> Error {
    Error::new(READ_ONLY_TRANSACTION, format!("cannot execute {command} in a read-only transaction"))
}

fn with_warning(tag: &str, sqlstate: &'static str, message: &str) -> Outcome {
    let warning = Notice { severity: "WARNING", error: Error::new(sqlstate, message) };
    Outcome::Done { tag: tag.to_owned(), notices: vec![warning] }
}
