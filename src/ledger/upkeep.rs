//! Keeps the store small and quick: sums up what is over, and deletes single requests, whose is what providers keep, and answers that are given
//! again, after their time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::clock::Look;
use crate::store::{HeldStore, IdempotencyStore, LedgerStore, StoreError};

/// How often it is looked for work.
const EVERY: Duration = Duration::from_secs(60);
/// Between two steps, so that whoever else writes to the store gets in.
const PAUSE: Duration = Duration::from_millis(10);

/// How long a clock that was set, or that says that nothing came for as long, has to go on before anything is deleted by it.
const BELIEVED_AFTER: Duration = Duration::from_secs(3600);

/// The background task.
pub struct Upkeep {
    ledger: (Arc<dyn LedgerStore>, Option<Duration>),
    held: (Arc<dyn HeldStore>, Option<Duration>),
    answers: (Arc<dyn IdempotencyStore>, Duration),
}

/// Whether the machine's clock is believed: one that is ahead for a moment would delete what is kept for years.
#[derive(Debug)]
struct Clock {
    /// When it was last looked at.
    said: Look,
    believed_from: Instant,
}

// === impl Upkeep ===

impl Upkeep {
    /// A task that keeps requests for so long, and what is known of what providers keep, or either for good; and answers for theirs.
    pub fn new(
        ledger: (Arc<dyn LedgerStore>, Option<Duration>),
        held: (Arc<dyn HeldStore>, Option<Duration>),
        answers: (Arc<dyn IdempotencyStore>, Duration),
    ) -> Upkeep {
        Upkeep { ledger, held, answers }
    }

    /// Runs until shutdown; a step that has begun is finished.
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) {
        let mut clock = None;
        loop {
            if let Err(e) = self.work(&mut clock, &shutdown).await {
                tracing::warn!(error = %e, "the ledger's upkeep waits for the store");
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                _ = shutdown.wait_for(|stop| *stop) => return,
            }
        }
    }

    async fn work(&self, clock: &mut Option<Clock>, shutdown: &watch::Receiver<bool>) -> Result<(), StoreError> {
        let (store, keep) = &self.ledger;
        while !*shutdown.borrow() && store.roll_up(Timestamp::now()).await? {
            tokio::time::sleep(PAUSE).await;
        }
        let (now, here) = (Timestamp::now(), Instant::now());
        let clock = match clock {
            Some(clock) => clock,
            None => clock.insert(Clock::new(now, here, store.newest().await?)),
        };
        let now = clock.believed(now, here);
        if let Some(before) = before(now, *keep) {
            while !*shutdown.borrow() && store.prune(before).await? > 0 {
                tokio::time::sleep(PAUSE).await;
            }
        }
        store.sweep().await?;
        let (store, keep) = &self.held;
        if let Some(before) = before(now, *keep) {
            while !*shutdown.borrow() && store.forget(before).await? > 0 {
                tokio::time::sleep(PAUSE).await;
            }
        }
        let (store, keep) = &self.answers;
        if let Some(before) = before(now, Some(*keep)) {
            store.forget_answers(before).await?;
        }
        Ok(())
    }
}

/// What is older has had its time.
fn before(now: Option<Timestamp>, keep: Option<Duration>) -> Option<Timestamp> {
    now?.checked_sub(SignedDuration::try_from(keep?).ok()?).ok()
}

// === impl Clock ===

impl Clock {
    /// A clock that says `now`, and when the newest request came by it.
    fn new(now: Timestamp, here: Instant, newest: Option<Timestamp>) -> Clock {
        let is_near = newest.is_none_or(|newest| now.duration_since(newest).unsigned_abs() < BELIEVED_AFTER);
        Clock { said: Look { clock: now, here }, believed_from: if is_near { here } else { here + BELIEVED_AFTER } }
    }

    /// What it says, where that is believed.
    fn believed(&mut self, now: Timestamp, here: Instant) -> Option<Timestamp> {
        let said = Look { clock: now, here };
        if let Some(set_by) = std::mem::replace(&mut self.said, said).set_by(said) {
            tracing::warn!(
                by_s = set_by.as_secs(),
                "the clock was set, or the machine slept: nothing that has had its time is deleted for an hour"
            );
            self.believed_from = here + BELIEVED_AFTER;
        }
        (here >= self.believed_from).then_some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    #[test]
    fn a_clock_is_believed_once_it_has_gone_on_for_an_hour_from_where_requests_came_last() {
        let (here, now) = (Instant::now(), Timestamp::now());
        let at = |passed: Duration| (now + passed, here + passed);
        let minute = Duration::from_secs(60);
        let believes = |clock: &mut Clock, (now, here)| clock.believed(now, here) == Some(now);
        for (newest, is_believed) in
            [(None, true), (Some(now - HOUR / 2), true), (Some(now - HOUR * 2), false), (Some(now + HOUR * 2), false)]
        {
            let mut clock = Clock::new(now, here, newest);
            assert_eq!(believes(&mut clock, at(minute)), is_believed, "{newest:?}");
            assert!(believes(&mut clock, at(61 * minute)), "{newest:?}");
            let (ahead, later) = at(62 * minute);
            assert!(!believes(&mut clock, (ahead + 40 * 24 * HOUR, later)), "set ahead");
            assert!(!believes(&mut clock, at(63 * minute)), "and back");
            assert!(!believes(&mut clock, at(122 * minute)));
            assert!(believes(&mut clock, at(123 * minute)));
        }
    }
}
