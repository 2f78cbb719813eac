//! Room 3: may this key do this now? Admission hands out a [`Permit`] that gives back what it holds when it is dropped.

mod bucket;
mod permit;
mod standing;
#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

pub use bucket::{Level, TokenBucket};
pub use permit::Permit;
pub use standing::Standing;

use crate::error::{Kind, Refusal};
use crate::key::Limits;

/// The counters of one key; they outlive its record, so that a changed key starts no new minute.
#[derive(Debug)]
pub struct Meters {
    limits: Limits,
    requests: Option<TokenBucket>,
    tokens: Option<TokenBucket>,
    running: AtomicU32,
}

/// Which limit was reached, and when there is room again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// Requests a minute.
    Requests(NonZeroU32, Duration),
    /// Tokens a minute.
    Tokens(NonZeroU32, Duration),
    /// More tokens in one request than a minute has.
    TooLarge(NonZeroU32, u64),
    /// Requests at a time.
    Parallel(NonZeroU32),
}

// === impl Meters ===

impl Meters {
    /// Counters for those limits, all at rest.
    pub fn new(limits: &Limits) -> Meters {
        Meters {
            limits: limits.clone(),
            requests: limits.requests_per_minute.map(TokenBucket::per_minute),
            tokens: limits.tokens_per_minute.map(TokenBucket::per_minute),
            running: AtomicU32::new(0),
        }
    }

    /// Whether they count by these limits.
    pub fn are_for(&self, limits: &Limits) -> bool {
        self.limits == *limits
    }

    /// Admits a request that may take up to `tokens`, or says which limit stands in the way; a refusal costs nothing.
    pub fn admit(self: &Arc<Self>, tokens: u64) -> Result<Permit, Refused> {
        let running = self.running.fetch_add(1, Ordering::Relaxed);
        // From here on the permit gives back what was taken, whichever limit refuses.
        let mut permit = Permit::new(Arc::clone(self));
        if let Some(limit) = self.limits.parallel.filter(|limit| running >= limit.get()) {
            return Err(self.refuse(Exceeded::Parallel(limit)));
        }
        if let (Some(limit), Some(bucket)) = (self.limits.tokens_per_minute, &self.tokens) {
            match bucket.take(tokens) {
                Level::Taken => permit.hold_tokens(tokens),
                Level::Wait(wait) => return Err(self.refuse(Exceeded::Tokens(limit, wait))),
                Level::Never => return Err(self.refuse(Exceeded::TooLarge(limit, tokens))),
            }
        }
        if let (Some(limit), Some(requests)) = (self.limits.requests_per_minute, &self.requests) {
            match requests.take(1) {
                Level::Taken => permit.remaining_requests = Some(u32::try_from(requests.remaining().0).unwrap_or(limit.get())),
                Level::Wait(wait) => return Err(self.refuse(Exceeded::Requests(limit, wait))),
                Level::Never => return Err(self.refuse(Exceeded::Requests(limit, Duration::from_secs(60)))),
            }
        }
        Ok(permit)
    }

    /// Requests that run now.
    pub fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }

    fn refuse(&self, exceeded: Exceeded) -> Refused {
        let mut headers = HeaderMap::new();
        // What is left of the requests is told by the one that took from them.
        self.write_headers(matches!(exceeded, Exceeded::Requests(..)).then_some(0), &mut headers);
        Refused { exceeded, headers }
    }

    /// `x-ratelimit-*` as OpenAI sends them: limit, what is left, and when it is full again.
    fn write_headers(&self, remaining_requests: Option<u32>, headers: &mut HeaderMap) {
        if let (Some(limit), Some(left)) = (self.limits.requests_per_minute, remaining_requests) {
            let full_in = Duration::from_secs(60).mul_f64(f64::from(limit.get() - left.min(limit.get())) / f64::from(limit.get()));
            headers.insert(LIMIT_REQUESTS, HeaderValue::from(limit.get()));
            headers.insert(REMAINING_REQUESTS, HeaderValue::from(left));
            headers.insert(RESET_REQUESTS, openai_duration(full_in));
        }
        if let (Some(limit), Some(bucket)) = (self.limits.tokens_per_minute, &self.tokens) {
            let (left, full_in) = bucket.remaining();
            headers.insert(LIMIT_TOKENS, HeaderValue::from(limit.get()));
            headers.insert(REMAINING_TOKENS, HeaderValue::from(left));
            headers.insert(RESET_TOKENS, openai_duration(full_in));
        }
    }
}

const LIMIT_REQUESTS: HeaderName = HeaderName::from_static("x-ratelimit-limit-requests");
const REMAINING_REQUESTS: HeaderName = HeaderName::from_static("x-ratelimit-remaining-requests");
const RESET_REQUESTS: HeaderName = HeaderName::from_static("x-ratelimit-reset-requests");
const LIMIT_TOKENS: HeaderName = HeaderName::from_static("x-ratelimit-limit-tokens");
const REMAINING_TOKENS: HeaderName = HeaderName::from_static("x-ratelimit-remaining-tokens");
const RESET_TOKENS: HeaderName = HeaderName::from_static("x-ratelimit-reset-tokens");

/// A request that was not admitted.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub exceeded: Exceeded,
    headers: HeaderMap,
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Refusal {
        let too_many = |limit, code, message, wait| {
            let mut refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, Kind::RateLimit(limit), code, message);
            refusal.retry_after = Some(wait);
            refusal
        };
        let mut refusal = match refused.exceeded {
            Exceeded::Requests(limit, wait) => too_many(
                "requests",
                "rate_limit_exceeded",
                format!("This key may send {limit} requests a minute: try again in {}.", seconds(wait)),
                wait,
            ),
            Exceeded::Tokens(limit, wait) => too_many(
                "tokens",
                "rate_limit_exceeded",
                format!("This key may use {limit} tokens a minute: try again in {}, or ask for fewer with max_tokens.", seconds(wait)),
                wait,
            ),
            Exceeded::TooLarge(limit, tokens) => Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                Kind::RateLimit("tokens"),
                "request_too_large",
                format!(
                    "This request may take {tokens} tokens, and this key may use {limit} a minute: send a shorter one, or set a lower max_tokens."
                ),
            ),
            Exceeded::Parallel(limit) => too_many(
                "parallel",
                "parallel_limit_exceeded",
                format!("This key may run {limit} requests at a time: wait until one of them has ended."),
                Duration::from_secs(1),
            ),
        };
        refusal.headers = refused.headers.into_iter().filter_map(|(name, value)| Some((name?, value))).collect();
        refusal
    }
}

/// `12ms`, `1.5s`, `6m0s`: how OpenAI writes when a limit is full again.
fn openai_duration(duration: Duration) -> HeaderValue {
    let (minutes, seconds) = (duration.as_secs() / 60, duration.as_secs_f64() % 60.0);
    let text = match duration.as_millis() {
        0 => "0s".to_owned(),
        ms @ 1..1000 => format!("{ms}ms"),
        1000..60_000 => format!("{}s", (seconds * 1000.0).round() / 1000.0),
        _ => format!("{minutes}m{}s", seconds.floor()),
    };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("0s"))
}

fn seconds(wait: Duration) -> String {
    match wait.as_secs_f64().ceil() {
        1.0 => "1 second".to_owned(),
        n => format!("{n} seconds"),
    }
}
