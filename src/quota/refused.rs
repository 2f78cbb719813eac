//! A request that a limit refuses: which limit of whom, when there is room again, and what to do.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::account::{Account, AccountId, Chain};
use super::window::Period;
use super::{Budget, Exceeded, Rate, Unbounded, headers};
use crate::error::{Kind, Refusal};
use crate::money::Usd;

/// A request that was not admitted.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Whose limit.
    pub account: AccountId,
    /// Which, and why.
    pub exceeded: Exceeded,
    pub(super) headers: HeaderMap,
}

/// Who says how long an answer may be, and which model gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// The caller, in the request.
    Caller,
    /// The author of the prompt that is called.
    Author,
    /// Nobody: it is what it is, and costs what it costs.
    Nobody,
}

/// SDKs of OpenAI and Anthropic try again unless this says that it is useless.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// Nobody waits longer than this for an answer to begin.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

// === impl Refused ===

impl Refused {
    pub(super) fn new(account: &Account, exceeded: Exceeded, chain: &Chain) -> Refused {
        let mut headers = HeaderMap::new();
        // Budgets and what runs at a time have no such headers, and those of another limit would say that there is room.
        if let Exceeded::Rate(rate, _) | Exceeded::Reserved(rate, _) | Exceeded::TooLarge(rate, _) = &exceeded {
            headers::write(chain, &mut headers);
            headers::write_refusing(account, rate, &mut headers);
        }
        Refused { account: account.id().clone(), exceeded, headers }
    }

    /// The refusal of what somebody has asked for.
    pub fn told(self, asker: Asker) -> Refusal {
        let mut refusal = self.refusal(asker);
        let is_useless = refusal.retry_after.is_none_or(|wait| wait > LONGEST_RETRY);
        refusal.headers = self.headers.into_iter().filter_map(|(name, value)| Some((name?, value))).collect();
        if is_useless {
            refusal.headers.push((SHOULD_RETRY, HeaderValue::from_static("false")));
        }
        refusal
    }

    fn refusal(&self, asker: Asker) -> Refusal {
        let subject = self.account.subject();
        match &self.exceeded {
            Exceeded::Rate(rate, wait) => {
                let advice = match (rate.unit, asker) {
                    (super::Unit::Requests, _) | (_, Asker::Nobody) => "",
                    (_, Asker::Caller) => ", or ask for fewer with max_tokens",
                    (_, Asker::Author) => ", or let the prompt's author lower config.maxOutputTokens",
                };
                let verb = if rate.unit == super::Unit::Requests { "send" } else { "use" };
                let message = format!("{subject} may {verb} {}: try again in {}{advice}.", per(rate), lasting(*wait));
                // OpenAI knows two types of these.
                let kind = if rate.unit == super::Unit::Requests { "requests" } else { "tokens" };
                too_many(kind, "rate_limit_exceeded", message, Some(*wait))
            }
            Exceeded::Reserved(rate, held) => {
                let message = format!(
                    "{subject} may use {}, of which requests that still run may take up to {held}: try again when some of them have ended.",
                    per(rate)
                );
                too_many("tokens", "rate_limit_exceeded", message, Some(Duration::from_secs(1)))
            }
            Exceeded::TooLarge(rate, tokens) => {
                let advice = match asker {
                    Asker::Caller => ", or set a lower max_tokens",
                    Asker::Author => ", or let the prompt's author lower config.maxOutputTokens",
                    Asker::Nobody => "",
                };
                let message = format!(
                    "This request may take {tokens} {}, and {} may use {}: send a shorter one{advice}.",
                    rate.unit.words(),
                    within_sentence(&subject),
                    per(rate)
                );
                too_many("tokens", "request_too_large", message, None)
            }
            Exceeded::Parallel(limit) => {
                let of = limit.models().map_or_else(String::new, |models| format!(" for {models}"));
                let message = format!("{subject} may run {} requests at a time{of}: wait until one of them has ended.", limit.most());
                too_many("parallel", "parallel_limit_exceeded", message, Some(Duration::from_secs(1)))
            }
            // What still runs may take less than it holds.
            Exceeded::Budget { budget, state, worst }
                if state.held > 0 && state.used.saturating_add(worst.nanos()) <= budget.nano_usd.nanos() =>
            {
                let held = Usd::of_nanos(state.held);
                let message = format!(
                    "{subject} has a budget of {}, of which requests that still run may take up to {held}: try again when some of them have ended.",
                    amount(budget)
                );
                too_many("budget", "budget_reserved", message, Some(Duration::from_secs(1)))
            }
            Exceeded::Budget { budget, state, worst } => {
                let left =
                    Usd(budget.nano_usd.0.saturating_sub(i64::try_from(state.used.saturating_add(state.held)).unwrap_or(i64::MAX)).max(0));
                let ends = match state.window.has_end() {
                    true => format!("; the budget begins anew on {}", state.window.ends),
                    false => String::new(),
                };
                let advice = match asker {
                    Asker::Caller => "Set a lower max_tokens, or ask",
                    Asker::Author => "Let the prompt's author lower config.maxOutputTokens, or ask",
                    Asker::Nobody => "Ask",
                };
                let message = match left.0 {
                    0 => format!("{subject} has spent its budget of {}{ends}. Ask whoever runs this gateway for more.", amount(budget)),
                    _ => format!(
                        "{subject} has {left} left of its budget of {}, and this request may cost up to {worst}{ends}. {advice} whoever runs this gateway for more.",
                        amount(budget)
                    ),
                };
                Refusal::new(StatusCode::PAYMENT_REQUIRED, Kind::Budget, "budget_exceeded", message)
            }
            Exceeded::Uncounted(_) => {
                let subject = within_sentence(&subject);
                let message = format!("What {subject} has used is being counted anew, since the clock was set: try again in a second.");
                let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, Kind::Unavailable, "limits_being_counted", message);
                Refusal { retry_after: Some(Duration::from_secs(1)), ..refusal }
            }
            Exceeded::Unbounded(budget, why) => {
                let (code, param, lacks) = unknown(*why);
                let (advice, mends) = (advice(*why, asker), mends(*why));
                let message = format!(
                    "{subject} has a budget of {}, and {lacks}: {advice}, or ask whoever runs this gateway {mends}.",
                    amount(budget)
                );
                Refusal::new(StatusCode::FORBIDDEN, Kind::Permission, code, message).with_param(param)
            }
        }
    }
}

/// The code, the field to blame, and what nobody knows.
fn unknown(why: Unbounded) -> (&'static str, &'static str, &'static str) {
    match why {
        Unbounded::Price => ("model_without_price", "model", "this model has no price to hold against it"),
        Unbounded::Input => ("model_without_limit", "model", "nothing says how much this model reads of files, pictures and sound"),
        Unbounded::Output => ("model_without_limit", "model", "nothing says how much this model answers at most"),
        Unbounded::Tools => (
            "tools_with_budget",
            "tools",
            "nothing says how often the tools that its provider runs by itself, such as those of a prompt that it keeps, make a model read all of this again",
        ),
        Unbounded::Besides => (
            "model_charges_besides",
            "model",
            "this model charges more than the price of its tokens, as for searches, pictures, sound or other models that it calls by itself",
        ),
    }
}

/// What can be done about it at once.
fn advice(why: Unbounded, asker: Asker) -> &'static str {
    match (why, asker) {
        (Unbounded::Price, Asker::Author) => "let the prompt's author name one that has",
        (Unbounded::Price, _) => "use one that has",
        (Unbounded::Input, Asker::Caller) => "send text alone, use another model",
        (Unbounded::Input, Asker::Author) => "let the prompt's author name another",
        (Unbounded::Output, Asker::Caller) => "set max_tokens",
        (Unbounded::Output, Asker::Author) => "let the prompt's author set config.maxOutputTokens",
        (Unbounded::Input | Unbounded::Output, Asker::Nobody) => "use another",
        (Unbounded::Tools, Asker::Author) => "let the prompt's author leave them out",
        (Unbounded::Tools, _) => "leave them out",
        (Unbounded::Besides, Asker::Author) => "let the prompt's author name another",
        (Unbounded::Besides, _) => "use another",
    }
}

/// What mends it for good.
fn mends(why: Unbounded) -> &'static str {
    match why {
        Unbounded::Price => "to set its price (0 if it is free) in the provider's file",
        Unbounded::Input => "to set its context in the provider's file",
        Unbounded::Output => "to set its max_output in the provider's file",
        Unbounded::Tools | Unbounded::Besides => "for a soft budget",
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Refusal {
        refused.told(Asker::Caller)
    }
}

fn too_many(limit: &'static str, code: &'static str, message: String, wait: Option<Duration>) -> Refusal {
    let mut refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, Kind::RateLimit(limit), code, message);
    refusal.retry_after = wait;
    refusal
}

/// `60 requests a minute`, `1000 output tokens an hour for openai/*`.
fn per(rate: &Rate) -> String {
    let article = if rate.per == Period::Hour { "an" } else { "a" };
    let of = rate.models.as_ref().map_or_else(String::new, |models| format!(" for {models}"));
    format!("{} {} {article} {}{of}", rate.most, rate.unit.words(), rate.per.as_str())
}

/// `$50.000000 a month`, `$5.000000 in all for openai/*`.
fn amount(budget: &Budget) -> String {
    let of = budget.models.as_ref().map_or_else(String::new, |models| format!(" for {models}"));
    match budget.per {
        Period::Ever => format!("{} in all{of}", budget.nano_usd),
        per => format!("{} a {}{of}", budget.nano_usd, per.as_str()),
    }
}

fn within_sentence(subject: &str) -> String {
    subject.replacen('T', "t", 1)
}

fn lasting(wait: Duration) -> String {
    let seconds = wait.as_secs_f64().ceil() as u64;
    match seconds {
        0 | 1 => "1 second".to_owned(),
        2..=120 => format!("{seconds} seconds"),
        121..=7200 => format!("{} minutes", seconds.div_ceil(60)),
        _ => format!("{} hours", seconds.div_ceil(3600)),
    }
}
