//! `x-ratelimit-*` as OpenAI sends them: a minute's limit, or in a refusal the one that refused; what is left of it, and when it is full again.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::account::{Account, Chain};
use super::limits::{Rate, Unit};
use super::window::Period;
use crate::clock::Look;

/// For requests and for tokens, in that order.
const NAMES: [(Unit, [HeaderName; 3]); 2] = [
    (
        Unit::Requests,
        [
            HeaderName::from_static("x-ratelimit-limit-requests"),
            HeaderName::from_static("x-ratelimit-remaining-requests"),
            HeaderName::from_static("x-ratelimit-reset-requests"),
        ],
    ),
    (
        Unit::Tokens,
        [
            HeaderName::from_static("x-ratelimit-limit-tokens"),
            HeaderName::from_static("x-ratelimit-remaining-tokens"),
            HeaderName::from_static("x-ratelimit-reset-tokens"),
        ],
    ),
];

/// Writes those of the accounts' limits that have least left.
pub(super) fn write(chain: &Chain, to: &mut HeaderMap) {
    let now = Look::now();
    let mut tightest: [Option<(u64, u64, Duration)>; 2] = [None, None];
    for account in chain.iter() {
        for (rate, counter) in account.current().meters.rates().filter(|(rate, _)| rate.per == Period::Minute && rate.models.is_none()) {
            let Some(place) = NAMES.iter().position(|(unit, _)| *unit == rate.unit) else { continue };
            let (left, full_in) = counter.remaining(rate.most.get(), now);
            if tightest[place].is_none_or(|(_, other, _)| left < other) {
                tightest[place] = Some((rate.most.get(), left, full_in));
            }
        }
    }
    for ((_, names), tightest) in NAMES.iter().zip(tightest) {
        if let Some(stands) = tightest {
            write_one(names, stands, to);
        }
    }
}

/// Writes the limit that refused in the place of a minute's, whatever its period is and whichever tokens it counts.
pub(super) fn write_refusing(account: &Account, refusing: &Rate, to: &mut HeaderMap) {
    let current = account.current();
    let found = current.meters.rates().find(|(rate, _)| rate.is_alike(refusing));
    let [(_, of_requests), (_, of_tokens)] = &NAMES;
    let names = if refusing.unit == Unit::Requests { of_requests } else { of_tokens };
    if let Some((rate, counter)) = found {
        let (left, full_in) = counter.remaining(rate.most.get(), Look::now());
        write_one(names, (rate.most.get(), left, full_in), to);
    }
}

fn write_one([limit, remaining, reset]: &[HeaderName; 3], (most, left, full_in): (u64, u64, Duration), to: &mut HeaderMap) {
    to.insert(limit, number(most));
    to.insert(remaining, number(left));
    to.insert(reset, openai_duration(full_in));
}

/// In one allocation, where `HeaderValue::from` takes two: there are four of these in each answer.
fn number(number: u64) -> HeaderValue {
    // Digits are always a value.
    HeaderValue::from_str(itoa::Buffer::new().format(number)).unwrap_or(HeaderValue::from_static("0"))
}

/// `12ms`, `1.5s`, `6m0s`: how OpenAI writes when a limit is full again.
fn openai_duration(duration: Duration) -> HeaderValue {
    let (minutes, seconds) = (duration.as_secs() / 60, duration.as_secs_f64() % 60.0);
    let text = match duration.as_millis() {
        0 => return HeaderValue::from_static("0s"),
        ms @ 1..1000 => format!("{ms}ms"),
        1000..60_000 => format!("{}s", (seconds * 1000.0).round() / 1000.0),
        _ => format!("{minutes}m{}s", seconds.floor()),
    };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("0s"))
}
