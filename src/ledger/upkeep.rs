//! Keeps the store small and quick: sums up what is over, and deletes single requests, and whose is what providers keep, after their time.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::store::{HeldStore, LedgerStore, StoreError};

/// How often it is looked for work.
const EVERY: Duration = Duration::from_secs(60);
/// Between two steps, so that whoever else writes to the store gets in.
const PAUSE: Duration = Duration::from_millis(10);

/// The background task.
pub struct Upkeep {
    store: Arc<dyn LedgerStore>,
    keep: Option<Duration>,
    held: Arc<dyn HeldStore>,
    keep_held: Option<Duration>,
}

// === impl Upkeep ===

impl Upkeep {
    /// A task that keeps requests for so long, and what is known of what providers keep, or either for good.
    pub fn new(store: Arc<dyn LedgerStore>, keep: Option<Duration>, held: Arc<dyn HeldStore>, keep_held: Option<Duration>) -> Upkeep {
        Upkeep { store, keep, held, keep_held }
    }

    /// Runs until shutdown; a step that has begun is finished.
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) {
        loop {
            if let Err(e) = self.work(&shutdown).await {
                tracing::warn!(error = %e, "the ledger's upkeep waits for the store");
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                _ = shutdown.wait_for(|stop| *stop) => return,
            }
        }
    }

    async fn work(&self, shutdown: &watch::Receiver<bool>) -> Result<(), StoreError> {
        while !*shutdown.borrow() && self.store.roll_up(Timestamp::now()).await? {
            tokio::time::sleep(PAUSE).await;
        }
        if let Some(before) = before(self.keep) {
            while !*shutdown.borrow() && self.store.prune(before).await? > 0 {
                tokio::time::sleep(PAUSE).await;
            }
        }
        self.store.sweep().await?;
        if let Some(before) = before(self.keep_held) {
            while !*shutdown.borrow() && self.held.forget(before).await? > 0 {
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(())
    }
}

/// What is older has had its time.
fn before(keep: Option<Duration>) -> Option<Timestamp> {
    Timestamp::now().checked_sub(SignedDuration::try_from(keep?).ok()?).ok()
}
