//! How limits stand now, looked at without taking anything: what is explained of keys and shown of accounts is made of this.

use std::time::Duration;

use http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::account::{Account, Chain};
use super::limits::{Budget, Rate};
use super::window::Period;
use super::{Exceeded, Refused, Unbounded};
use crate::clock::Look;
use crate::error::Refusal;
use crate::money::Usd;

/// One limit, what is left of it, and when there is more.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Standing {
    /// Whose it is: a key's id, `project:ID`, `team:ID` or `gateway`.
    pub account: String,
    /// As it is written: `requests/minute=60`, `parallel=4`, `parallel=2@openai/*`, `50/month`.
    pub limit: String,
    /// The most; of budgets in nano-dollars.
    pub most: u64,
    /// What is left; of budgets what is neither spent nor held by requests that run.
    pub left: u64,
    /// What requests that run hold of it; those of a minute hold what they take.
    pub held: u64,
    /// Seconds until there is room for one more; 0 where there is, `None` where that is up to the requests that run, or never.
    pub room_in_seconds: Option<f64>,
    /// Seconds until all of it is there again; `None` where that is up to the requests that run, or never.
    pub full_in_seconds: Option<f64>,
    #[serde(skip)]
    refused: Refused,
}

/// How the limits of all accounts of a chain stand.
pub fn standing(chain: &Chain) -> Vec<Standing> {
    chain.iter().flat_map(|account| of(account)).collect()
}

/// How the limits of one account stand: its rates, its budgets, and how many requests it may run.
pub fn of(account: &Account) -> Vec<Standing> {
    let (current, now) = (account.current(), Look::now());
    let rates = current.meters.rates().map(|(rate, counter)| {
        let (left, full_in) = counter.remaining(rate.most.get(), now);
        let room_in = if left > 0 { Duration::ZERO } else { room_after(rate, full_in) };
        let (most, exceeded) = (rate.most.get(), Exceeded::Rate(rate.clone(), room_in));
        Standing::new(account, rate.to_string(), [most, left, 0], [Some(room_in), Some(full_in)], exceeded)
    });
    let budgets = current.meters.budgets().map(|(budget, tally)| {
        let (state, most) = (tally.state(), budget.nano_usd.nanos());
        let left = most.saturating_sub(state.with(0));
        let resets = state.window.has_end().then(|| state.window.left(now.clock));
        let room_in = if left > 0 || budget.soft { Some(Duration::ZERO) } else { resets };
        let exceeded = Exceeded::Budget { budget: budget.clone(), state, worst: Usd(1) };
        Standing::new(account, budget.to_string(), [most, left, state.held], [room_in, resets], exceeded)
    });
    let parallel = current.meters.parallels().map(|(limit, running)| {
        let (most, running) = (u64::from(limit.most().get()), u64::from(running));
        let left = most.saturating_sub(running);
        let when = [(left > 0).then_some(Duration::ZERO), (running == 0).then_some(Duration::ZERO)];
        Standing::new(account, format!("parallel={limit}"), [most, left, running], when, Exceeded::Parallel(limit))
    });
    rates.chain(budgets).chain(parallel).collect()
}

/// A minute slides: the first unit is there long before all are.
fn room_after(rate: &Rate, full_in: Duration) -> Duration {
    const MINUTE: Duration = Duration::from_secs(60);
    match rate.per {
        Period::Minute => (full_in + MINUTE.div_f64(rate.most.get() as f64)).saturating_sub(MINUTE),
        _ => full_in,
    }
}

// === impl Standing ===

impl Standing {
    /// The limit itself, as if it stood in a request's way.
    pub fn limit(&self) -> &Exceeded {
        &self.refused.exceeded
    }

    /// What a request is told for which there is no room; `None` while there is some.
    pub fn refusal(&self) -> Option<Refusal> {
        let is_soft = matches!(&self.refused.exceeded, Exceeded::Budget { budget: Budget { soft: true, .. }, .. });
        (self.left == 0 && !is_soft).then(|| self.refused.clone().into())
    }

    /// The same for a request that costs `least` or more, where anybody can tell: what is free needs no room.
    pub fn refusal_at(&self, least: Result<Usd, Unbounded>) -> Option<Refusal> {
        let Exceeded::Budget { budget: budget @ Budget { soft: false, .. }, state, .. } = &self.refused.exceeded else {
            return self.refusal();
        };
        let exceeded = match least {
            Err(why) => Exceeded::Unbounded(budget.clone(), why),
            Ok(worst) if state.with(worst.nanos()) <= budget.nano_usd.nanos() => return None,
            Ok(_) if self.left == 0 => return self.refusal(),
            Ok(worst) => Exceeded::Budget { budget: budget.clone(), state: *state, worst },
        };
        Some(Refused { exceeded, ..self.refused.clone() }.into())
    }

    /// Whether it counts requests that `touches` its models; with none, whether it counts all.
    pub fn counts(&self, touches: Option<&dyn Fn(&str) -> bool>) -> bool {
        self.limit().models().is_none_or(|glob| touches.is_some_and(|touches| touches(glob)))
    }

    /// Whether any process can tell how it stands: what a minute had and what runs is nowhere written.
    pub fn is_in_the_ledger(&self) -> bool {
        match &self.refused.exceeded {
            Exceeded::Rate(rate, _) => rate.per != Period::Minute,
            exceeded => matches!(exceeded, Exceeded::Budget { .. }),
        }
    }

    fn new(account: &Account, limit: String, [most, left, held]: [u64; 3], when: [Option<Duration>; 2], exceeded: Exceeded) -> Standing {
        let seconds = |duration: Duration| (duration.as_secs_f64() * 1000.0).round() / 1000.0;
        let [room_in_seconds, full_in_seconds] = when.map(|when| when.map(seconds));
        let refused = Refused { account: account.id().clone(), exceeded, headers: HeaderMap::new() };
        Standing { account: account.id().to_string(), limit, most, left, held, room_in_seconds, full_in_seconds, refused }
    }
}
