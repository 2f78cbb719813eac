//! A clock that is set leads to periods that were not counted here: what was used of them is asked of the ledger.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::sync::watch;

use super::{Account, Accounts};
use crate::clock::{self, Look};
use crate::quota::{counter, standing};
use crate::store::StoreError;

/// How often it is looked at: limits that are not counted let nothing pass.
const EVERY: Duration = Duration::from_secs(1);
/// So many accounts are asked for at a time.
const AT_ONCE: usize = 64;

impl Accounts {
    /// Until shutdown, counts anew what the clock leads to when it is set.
    pub async fn follow_the_clock(&self, mut shutdown: watch::Receiver<bool>) {
        tokio::select! {
            () = self.follow() => {}
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
    }

    async fn follow(&self) {
        let (mut look, mut counted) = (Look::now(), 0);
        clock::keep(look);
        loop {
            let now = Look::now();
            let set_by = std::mem::replace(&mut look, now).set_by(now);
            if let Some(by) = set_by {
                tracing::warn!(
                    by_s = by.as_secs(),
                    "the clock was set, or the machine slept: limits whose period is another one now are counted anew"
                );
                // While it is known that it was, each goes to the period that it leads to.
                self.all().iter().for_each(|account| drop(standing::of(account)));
            }
            clock::keep(now);
            // By smaller steps than that a count may be led to another period too.
            let led_to = counter::led_to_by_clocks();
            if set_by.is_some() || led_to != counted {
                match self.load_all().await {
                    Ok(()) => counted = led_to,
                    Err(e) => {
                        tracing::warn!(error = %e, "limits that the clock has led to another period wait for the store, and let nothing pass")
                    }
                }
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Loads whatever is not loaded, each account by itself: one that cannot be is not in the others' way.
    pub(super) async fn load_all(&self) -> Result<(), StoreError> {
        let all = stream::iter(self.all()).map(|account| async move { self.load_one(&account).await });
        all.buffer_unordered(AT_ONCE).fold(Ok(()), |all, one| async move { all.and(one) }).await
    }

    async fn load_one(&self, account: &Arc<Account>) -> Result<(), StoreError> {
        // Most have nothing to load; whoever changes the limits of one loads what is new in them.
        let _one_at_a_time = account.renewing.lock().await;
        let meters = Arc::clone(&account.current().meters);
        if meters.begin_to_load().is_empty() {
            return Ok(());
        }
        self.load(account.id(), &meters).await
    }
}
