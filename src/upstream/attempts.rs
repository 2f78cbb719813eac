//! Attempts: which target of a request is asked next, before the first byte only; what the one before may have done has to be paid for.

use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{HeaderMap, StatusCode};
use serde::de::IgnoredAny;

use super::fetch::Fetched;
use super::{Answer, Client, Failure, Partial, READ_WHOLE, Source, Who, is_of, read_up_to, retry_after};
use crate::dialect::ask::Ask;
use crate::dialect::{Meant, wire};
use crate::error::{Billed, Refusal};
use crate::route::{LiveProvider, Target};

/// Pays for attempts that others follow, and says whether others may.
pub trait Payer: Send + Sync {
    /// Why nothing more may be asked: its caller's key is judged anew, which may have ended since the first attempt.
    fn goes_on(&self) -> BoxFuture<'_, Result<(), Refusal>>;

    /// Writes down an attempt whose provider may bill it; false where it cannot be paid for besides the one that would follow.
    fn pays<'a>(&'a self, failure: &'a Failure, target: &'a Target) -> BoxFuture<'a, bool>;
}

/// No answer, and by which target's fault.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub failure: Failure,
    /// Whose, by its place.
    pub target: usize,
}

/// Statuses that say that another attempt may fare better. 529 is Anthropic's "overloaded".
const TRANSIENT: [u16; 7] = [408, 429, 500, 502, 503, 504, 529];
pub(super) const FIRST_BACKOFF: Duration = Duration::from_millis(250);

// === impl Failed ===

impl Failed {
    /// The refusal as the surfaces render it.
    pub fn refusal(self) -> Refusal {
        self.failure.refusal()
    }
}

// === impl Client ===

impl Client {
    /// Sends a request to the first target that takes it; tried in turn until one answers or the attempts are used up.
    ///
    /// `asked` is the request in the intermediate form, for the targets that do not speak its dialect.
    pub async fn call(
        &self,
        ask: &Ask,
        meant: Option<&Meant>,
        targets: &[Target],
        headers: &HeaderMap,
        payer: &dyn Payer,
    ) -> Result<Answer, Failed> {
        // Each target of an alias is tried once, however many there are.
        let attempts = targets.len().max(self.settings.attempts as usize);
        let fetched = Fetched::default();
        let attempt = |index: usize| self.attempt(ask, meant, &targets[index], headers, &fetched, payer);
        match targets.len() {
            1 => self.in_turn(targets, attempts, payer, attempt).await,
            // In a place of its own: every request would carry the room that this takes.
            _ => {
                Box::pin(self.in_turn(targets, attempts, payer, |index| self.proven(attempt(index), ask.stream, &targets[index].provider)))
                    .await
            }
        }
    }

    /// An answer that is one, as far as can be told before any of it goes out: while it is not, others can be asked.
    async fn proven(
        &self,
        attempt: impl Future<Output = Result<Answer, Failure>>,
        is_streamed: bool,
        provider: &LiveProvider,
    ) -> Result<Answer, Failure> {
        let mut answer = attempt.await?;
        let (status, headers) = (answer.head.status, &answer.head.headers);
        if status.is_redirection() {
            return Err(Failure::redirected(provider, status));
        }
        if !status.is_success() {
            return Ok(answer);
        }
        Failure::encoded(provider, headers).map_or(Ok(()), Err)?;
        let (is_json, is_stream) = (is_of(headers, "application/json"), is_of(headers, wire(answer.dialect).stream_type));
        match is_json || is_stream {
            false => return Err(Failure::no_json(provider, &answer.head)),
            true if is_stream || is_streamed => return Ok(answer),
            true => {}
        }
        answer.body = match read_up_to(&mut answer.body, READ_WHOLE, self.idle_timeout()).await {
            Ok(whole) => {
                // Of several calls it is an array.
                serde_json::from_slice::<IgnoredAny>(&whole).map_err(|e| Failure::broken_json(provider, &e))?;
                Source::Ready(Some(whole))
            }
            Err(Partial::TooLong(read)) => Source::Begun(read.into(), Box::new(answer.body)),
            Err(Partial::BrokeOff) => return Err(Failure::cut(provider)),
            Err(Partial::TimedOut) => return Err(Failure::TimedOut { provider: Who::of(provider), after: self.idle_timeout() }),
        };
        Ok(answer)
    }

    /// Another attempt is made before the first byte only, and at the same target only where the first can have done nothing.
    pub(super) async fn in_turn<F: Future<Output = Result<Answer, Failure>>>(
        &self,
        targets: &[Target],
        attempts: usize,
        payer: &dyn Payer,
        attempt_at: impl Fn(usize) -> F,
    ) -> Result<Answer, Failed> {
        let mut wait = FIRST_BACKOFF;
        let mut last = None;
        // Those that may have worked on it, or never will.
        let mut given_up: Vec<usize> = Vec::new();
        let (mut made, mut asked) = (0, 0);
        for turn in 0.. {
            let index = turn % targets.len().max(1);
            if made == attempts || given_up.len() == targets.len() {
                break;
            }
            if turn > 0 && index == 0 {
                tokio::time::sleep(wait.min(self.settings.max_backoff)).await;
                wait *= 2;
            }
            if given_up.contains(&index) {
                continue;
            }
            // The one before may have taken its time.
            if made > 0
                && let Err(refusal) = payer.goes_on().await
            {
                return Err(Failed { failure: Failure::Ended(Box::new(refusal)), target: asked });
            }
            (made, asked) = (made + 1, index);
            let outcome = attempt_at(index).await.map(|answer| Answer { target: index, ..answer });
            let outcome = outcome.map_err(|failure| Failed { failure, target: index });
            let is_last = made == attempts;
            match &outcome {
                Ok(answer) if !is_transient(answer.head.status) => return outcome,
                Err(Failed { failure, .. }) if failure.is_the_callers() => return outcome,
                Err(Failed { failure, .. }) if !failure.is_worth_another_attempt() => {
                    given_up.push(index);
                    let is_told = (is_last || given_up.len() == targets.len()) && !matches!(last, Some(Ok(_)));
                    if failure.billed() != Billed::Not && !is_told && !payer.pays(failure, &targets[index]).await {
                        return outcome;
                    }
                }
                Ok(answer) if !is_last => {
                    let rest = retry_after(&answer.head.headers);
                    let alone = targets.len() - given_up.len() == 1;
                    if alone && rest.is_some_and(|rest| rest > self.settings.max_backoff) {
                        return outcome;
                    }
                    wait = rest.unwrap_or(wait).max(wait);
                }
                _ => {}
            }
            // An answer of a provider says more than a failure to reach one.
            if !matches!((&last, &outcome), (Some(Ok(_)), Err(_))) {
                last = Some(outcome);
            }
        }
        last.unwrap_or(Err(Failed { failure: Failure::NoTarget, target: 0 }))
    }
}

/// Whether another attempt may fare better.
pub fn is_transient(status: StatusCode) -> bool {
    TRANSIENT.contains(&status.as_u16())
}
