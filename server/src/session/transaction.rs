//! Transaction blocks as Postgres has them.
//!
//! A block is idle, implicit (the writes of one message), open or failed. The engine's transaction is shared with the task that
//! works with it: an error, a cancel or a dropped future leaves it as far as the statement came, and the caller's
//! [`Session::fail_message`] fails the block. A failed block takes only its end, or ROLLBACK TO a savepoint, which takes back
//! whatever the failing statement did.

use std::sync::Arc;

use engine::engine::{Notice, Savepoint, Transaction};
use engine::error::sqlstate;
use engine::plan::statement::{Modes, Statement};
use engine::{Error, Result};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::notify::Pending;
use super::settings::Settings;
use super::{Outcome, Session};

/// Savepoints of one block at most.
const MAX_SAVEPOINTS: usize = 10_000;

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
    Implicit(SharedTransaction),
    /// Between BEGIN and COMMIT.
    Open(OpenBlock),
}

/// What stands between BEGIN and COMMIT.
pub(super) struct OpenBlock {
    transaction: SharedTransaction,
    read_only: bool,
    savepoints: Vec<NamedSavepoint>,
    /// After an error: only its end or ROLLBACK TO is taken.
    failed: bool,
    /// It has read or written: its modes cannot change any more.
    has_run: bool,
}

struct NamedSavepoint {
    name: String,
    writes: Savepoint,
    settings: Settings,
    pending: Pending,
}

/// A transaction that a statement's task can work with; empty once it is committed.
#[derive(Clone)]
pub(super) struct SharedTransaction(Arc<Mutex<Option<Transaction>>>);

/// A transaction while a task works with it.
pub(super) type Lent = Option<OwnedMutexGuard<Option<Transaction>>>;

impl SharedTransaction {
    fn new(transaction: Transaction) -> Self {
        Self(Arc::new(Mutex::new(Some(transaction))))
    }

    async fn take(&self) -> Result<Transaction> {
        self.0.lock().await.take().ok_or_else(|| Error::internal("a transaction was ended twice"))
    }
}

impl Block {
    /// The transaction for one statement's work; nothing outside of blocks. Waits until a stopped statement has let go of it.
    pub(super) fn lend(&self) -> impl Future<Output = Lent> + Send + 'static {
        let shared = match self {
            Self::Idle => None,
            Self::Implicit(shared) | Self::Open(OpenBlock { transaction: shared, .. }) => Some(Arc::clone(&shared.0)),
        };
        async move {
            match shared {
                Some(shared) => Some(shared.lock_owned().await),
                None => None,
            }
        }
    }
}

impl Session {
    /// What ReadyForQuery tells the client.
    pub fn status(&self) -> Status {
        match &self.block {
            Block::Idle | Block::Implicit(_) => Status::Idle,
            Block::Open(block) if block.failed => Status::Failed,
            Block::Open(_) => Status::Open,
        }
    }

    /// Between BEGIN and COMMIT.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.block, Block::Open(_))
    }

    /// In an explicit block, or in a message of several statements.
    pub(super) fn is_in_block(&self) -> bool {
        self.is_open() || self.atomic_message
    }

    /// 0 outside of a block; in one 1 more than there are savepoints.
    pub(super) fn depth(&self) -> usize {
        match &self.block {
            Block::Open(block) => block.savepoints.len() + 1,
            Block::Idle | Block::Implicit(_) => 0,
        }
    }

    /// A failed block takes only its end; a read-only one takes no writes.
    pub(super) fn check_block(&self, statement: &Statement) -> Result<()> {
        use Statement::*;
        let (failed, read_only) = match &self.block {
            Block::Open(block) => (block.failed, block.read_only),
            Block::Idle | Block::Implicit(_) => (false, self.settings().is_on("default_transaction_read_only")),
        };
        if failed && !matches!(statement, Commit | Rollback | RollbackTo { .. } | Empty) {
            return Err(Error::new(
                sqlstate::IN_FAILED_TRANSACTION,
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        let command = match statement {
            Insert(_) => "INSERT",
            Update(_) => "UPDATE",
            Delete(_) => "DELETE",
            CopyIn(_) => "COPY FROM",
            CreateStream(_) | CreateTable(_) | CreateView(_) | CreateSink(_) | CreateIndex(_) | CreateSchema { .. } | CreateFunction(_) => {
                "CREATE"
            }
            Drop(_) => "DROP",
            Comment { .. } => "COMMENT",
            _ => return Ok(()),
        };
        match read_only {
            true => Err(Error::new(sqlstate::READ_ONLY_TRANSACTION, format!("cannot execute {command} in a read-only transaction"))),
            false => Ok(()),
        }
    }

    /// The block's modes are settled once a statement has read or written in it.
    pub(super) fn note_run(&mut self, statement: &Statement) {
        use Statement::*;
        let reads_or_writes = matches!(
            statement,
            Query(_) | Insert(_) | Update(_) | Delete(_) | CopyIn(_) | CopyOut { .. } | Execute(_) | DeclareCursor(_) | Fetch(_)
        );
        if let (Block::Open(block), true) = (&mut self.block, reads_or_writes) {
            block.has_run = true;
        }
    }

    /// `0A000` inside BEGIN … COMMIT.
    pub(super) fn refuse_in_block(&self, message: &str, hint: &str) -> Result<()> {
        if self.is_open() { Err(Error::unsupported(message, hint)) } else { Ok(()) }
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
        if matches!(self.block, Block::Open(_)) {
            return Ok(());
        }
        if let Block::Implicit(transaction) = std::mem::take(&mut self.block) {
            self.commit_transaction(&transaction).await?;
        }
        self.send_pending()
    }

    /// What an error leaves of the block.
    pub(super) fn fail_block(&mut self) {
        match &mut self.block {
            Block::Open(block) => block.failed = true,
            Block::Idle | Block::Implicit(_) => {
                self.block = Block::Idle;
                self.forget_pending();
                self.drop_portals();
            }
        }
    }

    pub(super) async fn begin(&mut self, modes: Modes) -> Result<Outcome> {
        if self.is_open() {
            self.set_modes(modes)?;
            return Ok(with_warning("BEGIN", sqlstate::ACTIVE_TRANSACTION, "there is already a transaction in progress"));
        }
        let transaction = match std::mem::take(&mut self.block) {
            Block::Implicit(transaction) => transaction,
            _ => self.begin_transaction().await?,
        };
        let read_only = self.settings().is_on("default_transaction_read_only");
        self.block = Block::Open(OpenBlock { transaction, read_only, savepoints: Vec::new(), failed: false, has_run: false });
        self.settings().begin_block();
        self.set_modes(modes)?;
        Ok(Outcome::done("BEGIN"))
    }

    pub(super) async fn commit(&mut self) -> Result<Outcome> {
        match std::mem::take(&mut self.block) {
            Block::Open(block) if block.failed => {
                self.rolled_back();
                Ok(Outcome::done("ROLLBACK"))
            }
            Block::Open(block) => {
                // Whether it succeeds or not, the block is over.
                let committed = self.commit_transaction(&block.transaction).await;
                match &committed {
                    Ok(()) => {
                        self.settings().commit_block();
                        self.end_portals();
                        self.send_pending()?;
                    }
                    Err(_) => self.rolled_back(),
                }
                committed.map(|()| Outcome::done("COMMIT"))
            }
            block @ (Block::Idle | Block::Implicit(_)) => {
                self.block = block;
                self.commit_implicit().await?;
                Ok(with_warning("COMMIT", sqlstate::NO_ACTIVE_TRANSACTION, "there is no transaction in progress"))
            }
        }
    }

    pub(super) fn rollback(&mut self) -> Result<Outcome> {
        let was_open = self.is_open();
        self.block = Block::Idle;
        if !was_open {
            self.forget_pending();
            return Ok(with_warning("ROLLBACK", sqlstate::NO_ACTIVE_TRANSACTION, "there is no transaction in progress"));
        }
        self.rolled_back();
        Ok(Outcome::done("ROLLBACK"))
    }

    fn rolled_back(&mut self) {
        self.settings().roll_back_block();
        self.forget_pending();
        self.drop_portals();
    }

    /// SET TRANSACTION and SET SESSION CHARACTERISTICS.
    pub(super) fn set_transaction(&mut self, modes: Modes, session: bool) -> Result<Outcome> {
        if session {
            let mut settings = self.settings();
            if let Some(level) = modes.isolation {
                settings.set("default_transaction_isolation", Some(level))?;
            }
            if let Some(read_only) = modes.read_only {
                settings.set("default_transaction_read_only", Some(on_or_off(read_only)))?;
            }
            return Ok(Outcome::done("SET"));
        }
        if !self.is_open() {
            return Ok(with_warning("SET", sqlstate::NO_ACTIVE_TRANSACTION, "SET TRANSACTION can only be used in transaction blocks"));
        }
        self.set_modes(modes)?;
        Ok(Outcome::done("SET"))
    }

    fn set_modes(&mut self, modes: Modes) -> Result<()> {
        let Block::Open(block) = &mut self.block else { return Ok(()) };
        if block.has_run && modes.isolation.is_some() {
            let message = "SET TRANSACTION ISOLATION LEVEL must be called before any query";
            return Err(Error::new(sqlstate::ACTIVE_TRANSACTION, message));
        }
        if block.has_run && block.read_only && modes.read_only == Some(false) {
            return Err(Error::new(sqlstate::ACTIVE_TRANSACTION, "transaction read-write mode must be set before any query"));
        }
        let is_read_only = modes.read_only.unwrap_or(block.read_only);
        let is_serializable = match modes.isolation {
            Some(level) => level == "serializable",
            None => self.settings().get("transaction_isolation").is_ok_and(|level| level == "serializable"),
        };
        if is_serializable && !is_read_only {
            return Err(Error::unsupported(
                "a SERIALIZABLE transaction that writes is not supported yet",
                "use ISOLATION LEVEL REPEATABLE READ: a snapshot, and 40001 when a row written was changed by another",
            ));
        }
        let Block::Open(block) = &mut self.block else { return Ok(()) };
        block.read_only = is_read_only;
        let read_only = on_or_off(block.read_only);
        let mut settings = self.settings();
        settings.tell_local("transaction_read_only", read_only);
        if let Some(level) = modes.isolation {
            settings.tell_local("transaction_isolation", level);
        }
        Ok(())
    }

    /// SAVEPOINT.
    pub(super) async fn savepoint(&mut self, name: &str) -> Result<Outcome> {
        let writes = match self.open_block("SAVEPOINT")?.transaction.0.lock().await.as_ref() {
            Some(transaction) => transaction.savepoint(),
            None => Savepoint::default(),
        };
        self.gather_said();
        let (settings, pending) = (self.settings().clone(), self.pending.clone());
        let block = self.open_block("SAVEPOINT")?;
        if block.savepoints.len() >= MAX_SAVEPOINTS {
            return Err(Error::new(sqlstate::LIMIT_EXCEEDED, format!("a transaction has at most {MAX_SAVEPOINTS} savepoints"))
                .with_hint("RELEASE those that are not needed any more"));
        }
        block.savepoints.push(NamedSavepoint { name: name.to_owned(), writes, settings, pending });
        Ok(Outcome::done("SAVEPOINT"))
    }

    /// ROLLBACK TO: the block is as it was, and goes on.
    pub(super) async fn rollback_to(&mut self, name: &str) -> Result<Outcome> {
        let block = self.open_block("ROLLBACK TO SAVEPOINT")?;
        let place = block.place(name)?;
        let savepoint = &block.savepoints[place];
        if let Some(transaction) = block.transaction.0.lock().await.as_mut() {
            transaction.roll_back_to(&savepoint.writes);
        }
        let (settings, pending) = (savepoint.settings.clone(), savepoint.pending.clone());
        block.savepoints.truncate(place + 1);
        block.failed = false;
        *self.settings() = settings;
        self.forget_pending();
        self.pending = pending;
        self.drop_portals_below(place + 1);
        Ok(Outcome::done("ROLLBACK"))
    }

    /// RELEASE: what was written stays.
    pub(super) fn release(&mut self, name: &str) -> Result<Outcome> {
        let block = self.open_block("RELEASE SAVEPOINT")?;
        let place = block.place(name)?;
        block.savepoints.truncate(place);
        Ok(Outcome::done("RELEASE"))
    }

    fn open_block(&mut self, command: &str) -> Result<&mut OpenBlock> {
        match &mut self.block {
            Block::Open(block) => Ok(block),
            Block::Idle | Block::Implicit(_) => {
                Err(Error::new(sqlstate::NO_ACTIVE_TRANSACTION, format!("{command} can only be used in transaction blocks")))
            }
        }
    }

    async fn begin_transaction(&self) -> Result<SharedTransaction> {
        let engine = self.engine.clone();
        Ok(SharedTransaction::new(self.on_queries(async move { engine.begin().await }).await?))
    }

    async fn commit_transaction(&self, transaction: &SharedTransaction) -> Result<()> {
        let (engine, transaction) = (self.engine.clone(), transaction.clone());
        self.on_queries(async move { engine.commit(transaction.take().await?).await }).await.map(drop)
    }
}

impl OpenBlock {
    /// The newest savepoint of this name.
    fn place(&self, name: &str) -> Result<usize> {
        self.savepoints
            .iter()
            .rposition(|savepoint| savepoint.name == name)
            .ok_or_else(|| Error::new(sqlstate::UNDEFINED_SAVEPOINT, format!("savepoint \"{name}\" does not exist")))
    }
}

fn on_or_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn with_warning(tag: &str, sqlstate: &'static str, message: &str) -> Outcome {
    let warning = Notice { severity: "WARNING", error: Error::new(sqlstate, message) };
    Outcome::Done { tag: tag.to_owned(), notices: vec![warning] }
}
