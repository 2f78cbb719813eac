//! Keeps the store's ledger small and quick: sums up what is over, and deletes single requests after their time.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::store::{LedgerStore, StoreError};

/// How often it is looked for work.
const EVERY: Duration = Duration::from_secs(60);
/// An hour's requests mostly have ended by then: what ends later has its hour summed up anew.
const SETTLING: SignedDuration = SignedDuration::from_mins(5);
/// Between two steps, so that whoever else writes to the store gets in.
const PAUSE: Duration = Duration::from_millis(10);

/// The background task.
pub struct Upkeep {
    store: Arc<dyn LedgerStore>,
    keep: Option<Duration>,
}

// === impl Upkeep ===

impl Upkeep {
    /// A task that keeps requests for so long, or for good.
    pub fn new(store: Arc<dyn LedgerStore>, keep: Option<Duration>) -> Upkeep {
        Upkeep { store, keep }
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
        while !*shutdown.borrow() && self.store.roll_up(Timestamp::now() - SETTLING).await? {
            tokio::time::sleep(PAUSE).await;
        }
        let keep = self.keep.and_then(|keep| SignedDuration::try_from(keep).ok());
        let Some(before) = keep.and_then(|keep| Timestamp::now().checked_sub(keep).ok()) else { return Ok(()) };
        while !*shutdown.borrow() && self.store.prune(before).await? > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }
}
