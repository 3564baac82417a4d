//! How every part learns that the process ends: one flag that is set once and can be waited for.

use tokio::sync::watch;

/// A clonable handle on the flag.
#[derive(Debug, Clone)]
pub struct Shutdown {
    flag: watch::Sender<bool>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { flag: watch::Sender::new(false) }
    }
}

impl Shutdown {
    /// Sets the flag. Once set it stays set.
    pub fn start(&self) {
        self.flag.send_replace(true);
    }

    /// True once [`Self::start`] was called.
    pub fn started(&self) -> bool {
        *self.flag.borrow()
    }

    /// Returns when the flag is set, at once if it is already.
    pub async fn wait(&self) {
        let mut flag = self.flag.subscribe();
        flag.wait_for(|started| *started).await.expect("self holds the sender");
    }

    /// Sets the flag at SIGTERM or Ctrl-C.
    pub fn on_signals(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            shutdown.start();
        });
        Ok(())
    }
}
