//! LISTEN and NOTIFY between sessions.
//!
//! Guaranteed: what a transaction notifies is sent when it commits and not otherwise, in order, and equal notifications of one
//! transaction once. A listener hears what is sent after its own LISTEN took effect, its own notifications too. Notifications
//! are in memory: a client that is not connected does not hear them. Who listens to a materialized view is notified of each
//! epoch that changed it, with the epoch as payload.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use engine::engine::Subscription;
use engine::error::sqlstate;
use engine::plan::parse::parse;
use engine::plan::statement::Statement;
use engine::{Error, Result};
use tokio::sync::mpsc;

use super::rows::Running;
use super::{Outcome, Session};

/// Bytes of a payload at most, as in Postgres.
const MAX_PAYLOAD_BYTES: usize = 8_000;
/// Bytes of a channel's name at most, as in Postgres.
const MAX_CHANNEL_BYTES: usize = 64;
/// Notifications that wait for one listener at most: with their payloads some 8 MB. A listener that is further behind makes
/// NOTIFY fail, as Postgres's full queue does.
const MAX_WAITING: usize = 1_000;

/// One notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// `pg_backend_pid()` of who sent it.
    pub process_id: i32,
    /// To whom.
    pub channel: String,
    /// What.
    pub payload: String,
}

/// Who listens to what, of all sessions.
#[derive(Debug, Clone, Default)]
pub struct Channels {
    listeners: Arc<Mutex<HashMap<String, BTreeMap<u64, mpsc::Sender<Notification>>>>>,
    next_id: Arc<std::sync::atomic::AtomicU64>,
}

impl Channels {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, BTreeMap<u64, mpsc::Sender<Notification>>>> {
        self.listeners.lock().expect("nothing panics while holding the listeners")
    }

    fn listen(&self, channel: &str, id: u64, sender: mpsc::Sender<Notification>) {
        self.lock().entry(channel.to_owned()).or_default().insert(id, sender);
    }

    fn unlisten(&self, channel: &str, id: u64) {
        let mut listeners = self.lock();
        if let Some(of_channel) = listeners.get_mut(channel) {
            of_channel.remove(&id);
            if of_channel.is_empty() {
                listeners.remove(channel);
            }
        }
    }

    /// Sends all or nothing: every listener must have room for what it hears.
    fn send(&self, notifications: &[Notification]) -> Result<()> {
        let listeners = self.lock();
        let mut wanted: HashMap<u64, usize> = HashMap::new();
        for notification in notifications {
            for (id, sender) in listeners.get(&notification.channel).into_iter().flatten() {
                let n_wanted = wanted.entry(*id).or_default();
                *n_wanted += 1;
                if !sender.is_closed() && sender.capacity() < *n_wanted {
                    return Err(Error::new(sqlstate::LIMIT_EXCEEDED, "too many notifications in the NOTIFY queue")
                        .with_detail("a session listens and does not read"));
                }
            }
        }
        for notification in notifications {
            for sender in listeners.get(&notification.channel).into_iter().flat_map(BTreeMap::values) {
                // Fails only for a session that is just ending.
                let _ = sender.try_send(notification.clone());
            }
        }
        Ok(())
    }
}

/// Things that `pg_notify()` says before the session gathers them, at most: they are compared with each other.
const MAX_SAID: usize = 10_000;

/// What `pg_notify()` said, on whichever thread its row was computed, until the session gathers it.
#[derive(Debug, Default)]
pub(super) struct Said(Mutex<Saying>);

#[derive(Debug, Default)]
struct Saying {
    /// Grows when what was said is forgotten. A statement says something only in its own turn: threads that still compute for
    /// one that has failed are not heard.
    turn: u64,
    /// Channels and payloads.
    said: Vec<(String, String)>,
}

impl Said {
    fn lock(&self) -> MutexGuard<'_, Saying> {
        self.0.lock().expect("nothing panics while holding it")
    }

    pub(super) fn turn(&self) -> u64 {
        self.lock().turn
    }

    pub(super) fn say(&self, turn: u64, channel: &str, payload: &str) -> Result<()> {
        check_notification(channel, payload)?;
        let mut saying = self.lock();
        let is_again = saying.said.last().is_some_and(|last| (last.0.as_str(), last.1.as_str()) == (channel, payload));
        if saying.turn != turn || is_again {
            return Ok(());
        }
        if saying.said.len() >= MAX_SAID {
            return Err(Error::new(sqlstate::LIMIT_EXCEEDED, format!("a statement calls pg_notify() with at most {MAX_SAID} values")));
        }
        saying.said.push((channel.to_owned(), payload.to_owned()));
        Ok(())
    }

    fn take(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.lock().said)
    }

    fn forget(&self) {
        let mut saying = self.lock();
        saying.turn += 1;
        saying.said.clear();
    }
}

fn check_notification(channel: &str, payload: &str) -> Result<()> {
    let invalid = |message: &str| Err(Error::new(sqlstate::INVALID_PARAMETER_VALUE, message));
    match (channel.len(), payload.len()) {
        (0, _) => invalid("channel name cannot be empty"),
        (MAX_CHANNEL_BYTES.., _) => invalid("channel name too long"),
        (_, MAX_PAYLOAD_BYTES..) => Err(Error::new(sqlstate::INVALID_PARAMETER_VALUE, "payload string too long")
            .with_detail(format!("a payload has fewer than {MAX_PAYLOAD_BYTES} bytes"))),
        _ => Ok(()),
    }
}

/// What a transaction does when it commits.
pub(super) type Pending = Vec<Change>;

/// A statement of a transaction that takes effect at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Listen(String),
    Unlisten(Option<String>),
    Notify(Notification),
}

/// One session's ears.
pub struct Ear {
    id: u64,
    channels: Channels,
    sender: mpsc::Sender<Notification>,
    /// What it hears.
    received: mpsc::Receiver<Notification>,
    listens: BTreeMap<String, Option<Running<()>>>,
}

impl Ear {
    pub(super) fn new(channels: Channels) -> Self {
        let id = channels.next_id.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (sender, received) = mpsc::channel(MAX_WAITING);
        Self { id, channels, sender, received, listens: BTreeMap::new() }
    }

    /// The next notification. Cancel safe; waits for ever where nothing is listened to.
    pub async fn next(&mut self) -> Option<Notification> {
        self.received.recv().await
    }

    /// The next notification if one is there now.
    pub fn try_next(&mut self) -> Option<Notification> {
        self.received.try_recv().ok()
    }

    fn unlisten(&mut self, channel: Option<&str>) {
        let channels: Vec<String> = match channel {
            Some(channel) => vec![channel.to_owned()],
            None => self.listens.keys().cloned().collect(),
        };
        for channel in channels {
            self.channels.unlisten(&channel, self.id);
            self.listens.remove(&channel);
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.unlisten(None);
    }
}

impl Session {
    /// LISTEN. A materialized view of this name is followed from now on.
    pub(super) async fn listen(&mut self, channel: &str) -> Result<Outcome> {
        self.take_effect(Change::Listen(channel.to_owned())).await?;
        Ok(Outcome::done("LISTEN"))
    }

    /// UNLISTEN.
    pub(super) async fn unlisten(&mut self, channel: Option<&str>) -> Result<Outcome> {
        self.take_effect(Change::Unlisten(channel.map(str::to_owned))).await?;
        Ok(Outcome::done("UNLISTEN"))
    }

    /// NOTIFY.
    pub(super) async fn notify(&mut self, channel: &str, payload: &str) -> Result<Outcome> {
        check_notification(channel, payload)?;
        let notification = Notification { process_id: self.process_id, channel: channel.to_owned(), payload: payload.to_owned() };
        self.take_effect(Change::Notify(notification)).await?;
        Ok(Outcome::done("NOTIFY"))
    }

    async fn take_effect(&mut self, change: Change) -> Result<()> {
        if let Change::Listen(channel) = &change {
            self.prepare_to_follow(channel).await?;
        }
        self.gather_said();
        if !self.pending.contains(&change) || !matches!(change, Change::Notify(_)) {
            self.pending.push(change);
        }
        if self.is_in_block() { Ok(()) } else { self.send_pending() }
    }

    /// What `pg_notify()` said is part of the transaction from now on.
    pub(super) fn gather_said(&mut self) {
        for (channel, payload) in self.settings.said.take() {
            let change = Change::Notify(Notification { process_id: self.process_id, channel, payload });
            if !self.pending.contains(&change) {
                self.pending.push(change);
            }
        }
    }

    /// The transaction is not to take effect.
    pub(super) fn forget_pending(&mut self) {
        self.pending.clear();
        self.settings.said.forget();
    }

    /// At the end of a transaction: what it said takes effect.
    pub(super) fn send_pending(&mut self) -> Result<()> {
        self.gather_said();
        let mut notifications = Vec::new();
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Listen(channel) => {
                    self.ear.channels.listen(&channel, self.ear.id, self.ear.sender.clone());
                    let follower = self.followed_mut().remove(&channel).map(|subscription| self.follow_view(&channel, subscription));
                    let kept = self.ear.listens.entry(channel).or_default();
                    if follower.is_some() {
                        *kept = follower;
                    }
                }
                Change::Unlisten(channel) => self.ear.unlisten(channel.as_deref()),
                Change::Notify(notification) => notifications.push(notification),
            }
        }
        self.followed_mut().clear();
        self.ear.channels.send(&notifications)
    }

    /// Starts to follow a materialized view, if that is what the channel names.
    async fn prepare_to_follow(&mut self, channel: &str) -> Result<()> {
        let catalog = self.engine.catalog();
        let is_view =
            catalog.resolve(None, channel).is_some_and(|object| matches!(object.definition, catalog::Definition::MaterializedView { .. }));
        if !is_view || self.ear.listens.contains_key(channel) {
            return Ok(());
        }
        let text = format!("SUBSCRIBE \"{}\" WITH (SNAPSHOT false)", channel.replace('"', "\"\""));
        let Some(Statement::Subscribe(subscribe)) = parse(&text)?.pop().map(|parsed| parsed.statement) else {
            return Err(Error::internal("our own SUBSCRIBE is not one"));
        };
        let engine = self.engine.clone();
        let subscription = self.on_queries(async move { engine.subscribe(&subscribe).await }).await?;
        self.followed_mut().insert(channel.to_owned(), subscription);
        Ok(())
    }

    /// Sends a notification for each epoch that changes a view. Who reads too slowly is not sent epochs in between: the next
    /// notification names a later one.
    fn follow_view(&self, channel: &str, mut subscription: Subscription) -> Running<()> {
        let (sender, channel) = (self.ear.sender.clone(), channel.to_owned());
        Running::spawn(&self.threads.answering, async move {
            let mut last = None;
            while let Some(Ok(batch)) = subscription.next().await {
                let epochs = arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(batch.column(0));
                for epoch in epochs.iter().flatten() {
                    if last.replace(epoch) == Some(epoch) {
                        continue;
                    }
                    let notification = Notification { process_id: 0, channel: channel.clone(), payload: epoch.to_string() };
                    match sender.try_send(notification) {
                        Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => {}
                        Err(mpsc::error::TrySendError::Closed(_)) => return,
                    }
                }
            }
        })
    }

    /// DISCARD ALL.
    pub(super) fn forget_channels(&mut self) {
        self.ear.unlisten(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notification(payload: &str) -> Notification {
        Notification { process_id: 7, channel: "c".into(), payload: payload.into() }
    }

    #[test]
    fn a_full_listener_refuses_all_or_nothing() {
        let channels = Channels::default();
        let mut ear = Ear::new(channels.clone());
        channels.listen("c", ear.id, ear.sender.clone());
        ear.listens.insert("c".into(), None);
        let many = vec![notification("x"); MAX_WAITING];
        channels.send(&many).expect("as many as fit");
        assert_eq!(channels.send(&[notification("y")]).expect_err("one too many").sqlstate, "54000");
        assert_eq!(ear.try_next(), Some(notification("x")));
        channels.send(&[notification("y")]).expect("there is room again");
        drop(ear);
        assert!(channels.lock().is_empty(), "who has left is not listening");
        channels.send(&[notification("z")]).expect("nobody hears it");
    }
}
