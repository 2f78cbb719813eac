//! How a key's limits stand now, looked at without taking anything.

use std::num::NonZeroU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;

use super::{Exceeded, Meters, Refused, TokenBucket};
use crate::error::Refusal;

/// One limit, what is left of it, and when there is more.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Standing {
    /// `requests_per_minute`, `tokens_per_minute` or `parallel`.
    pub limit: &'static str,
    /// What the key may have.
    pub most: NonZeroU32,
    /// What it still has.
    pub left: u64,
    /// Seconds until there is room for one more; 0 where there is, `None` where that is up to the requests that run.
    pub room_in_seconds: Option<f64>,
    /// Seconds until all of it is there again.
    pub full_in_seconds: Option<f64>,
}

// === impl Standing ===

impl Standing {
    /// What a request is told for which there is no room.
    pub fn refusal(&self) -> Refusal {
        let wait = Duration::from_secs_f64(self.room_in_seconds.unwrap_or_default());
        let exceeded = match self.limit {
            REQUESTS => Exceeded::Requests(self.most, wait),
            TOKENS => Exceeded::Tokens(self.most, wait),
            _ => Exceeded::Parallel(self.most),
        };
        Refused { exceeded, headers: http::HeaderMap::new() }.into()
    }

    fn of(limit: &'static str, most: Option<NonZeroU32>, bucket: Option<&TokenBucket>) -> Option<Standing> {
        let ((left, full_in), most) = (bucket?.remaining(), most?);
        let one = Duration::from_secs(60).div_f64(f64::from(most.get()));
        let room_in = if left > 0 { Duration::ZERO } else { (full_in + one).saturating_sub(Duration::from_secs(60)) };
        let seconds = |duration: Duration| Some((duration.as_secs_f64() * 1000.0).round() / 1000.0);
        Some(Standing { limit, most, left, room_in_seconds: seconds(room_in), full_in_seconds: seconds(full_in) })
    }
}

const REQUESTS: &str = "requests_per_minute";
const TOKENS: &str = "tokens_per_minute";
const PARALLEL: &str = "parallel";

impl Meters {
    /// How each limit stands that the key has.
    pub fn standing(&self) -> Vec<Standing> {
        let requests = Standing::of(REQUESTS, self.limits.requests_per_minute, self.requests.as_ref());
        let tokens = Standing::of(TOKENS, self.limits.tokens_per_minute, self.tokens.as_ref());
        let parallel = self.limits.parallel.map(|most| {
            let left = u64::from(most.get().saturating_sub(self.running.load(Ordering::Relaxed)));
            let now = (left > 0).then_some(0.0);
            Standing { limit: PARALLEL, most, left, room_in_seconds: now, full_in_seconds: (left == u64::from(most.get())).then_some(0.0) }
        });
        [requests, tokens, parallel].into_iter().flatten().collect()
    }
}
