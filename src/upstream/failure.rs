//! Why no provider answered, and how its caller is told: never as trouble with their own key.

use std::error::Error;
use std::time::Duration;

use http::response::Parts;
use http::{HeaderMap, StatusCode, header};

use super::http1::Fault;
use crate::error::{Billed, Kind, Refusal};
use crate::route::{LiveProvider, Unserved};

/// A provider that did not answer as it should.
#[derive(Clone, Debug)]
pub enum Failure {
    /// No connection.
    Unreachable {
        /// Who.
        provider: Who,
        /// What the network said.
        why: String,
    },
    /// Connected, and broke off before an answer.
    BrokeOff {
        /// Who.
        provider: Who,
        /// What the network said.
        why: String,
    },
    /// Nothing came in time.
    TimedOut {
        /// Who.
        provider: Who,
        /// For so long.
        after: Duration,
    },
    /// An answer that is none: not the content type, not JSON.
    BadAnswer {
        /// Who.
        provider: Who,
        /// What was wrong with it.
        why: String,
    },
    /// An answer by which nobody has worked: a redirect, or one that says that it holds nothing.
    Empty {
        /// Who.
        provider: Who,
        /// What it says.
        why: String,
    },
    /// Of several calls for one request it answered some, and then one was not.
    InPart {
        /// Who.
        provider: Who,
        /// How many of them it answered, and how many there are.
        answered: [usize; 2],
        /// What became of the one that was not.
        why: String,
    },
    /// It refused our credential, now or lately.
    CredentialRefused {
        /// Who.
        provider: Who,
        /// The variable that the credential is from.
        variable: String,
        /// How long it is not tried again.
        rest: Duration,
        /// For the one model only.
        is_alone: bool,
    },
    /// What our account has left there is less than the request may cost.
    CreditTooLow {
        /// Who.
        provider: Who,
        /// The variable that the credential is from.
        variable: String,
    },
    /// Our credential may not do what was asked for.
    WithoutRight {
        /// Who.
        provider: Who,
        /// The variable that the credential is from.
        variable: String,
    },
    /// The request could not be made ours: no token could be had.
    Unsigned {
        /// Who.
        provider: Who,
        /// Why not.
        why: String,
    },
    /// It does not serve this operation.
    Unserved(Unserved),
    /// The request cannot be said in its dialect.
    Untranslatable(Box<Refusal>),
    /// The caller's upload broke off, or is wrong.
    Upload(Box<Refusal>),
    /// The caller's key holds no longer, and nothing more is asked for it.
    Ended(Box<Refusal>),
    /// There was nobody to ask.
    NoTarget,
}

/// A provider, by its id for programs and its name for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
}

// === impl Who ===

impl Who {
    /// The provider of a target.
    pub fn of(provider: &LiveProvider) -> Who {
        Who { id: provider.id.clone(), name: provider.name.clone() }
    }
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

// === impl Failure ===

impl Failure {
    /// From a provider to which there is no connection.
    pub fn of_connecting(provider: &Who, error: &(dyn Error + 'static)) -> Failure {
        Failure::Unreachable { provider: provider.clone(), why: root_cause(error) }
    }

    /// From a request that was sent and not answered.
    pub fn of_sending(provider: &Who, error: &(dyn Error + 'static)) -> Failure {
        let (provider, why) = (provider.clone(), root_cause(error));
        match is_not_http(error) {
            true => Failure::BadAnswer { provider, why },
            false => Failure::BrokeOff { provider, why },
        }
    }

    /// From an answer that broke off on its way.
    pub fn of_breaking_off(provider: &Who, error: &(dyn Error + 'static)) -> Failure {
        Failure::BrokeOff { provider: provider.clone(), why: root_cause(error) }
    }

    /// From an answer that sends its reader elsewhere.
    pub fn redirected(provider: &LiveProvider, status: StatusCode) -> Failure {
        let why = match status {
            StatusCode::NOT_MODIFIED => "it tells that nothing has changed (status 304), which nobody asked".to_owned(),
            _ => format!("it redirects elsewhere (status {}), which is not followed", status.as_u16()),
        };
        Failure::Empty { provider: Who::of(provider), why }
    }

    /// From an answer of another kind.
    pub fn no_json(provider: &LiveProvider, head: &Parts) -> Failure {
        if head.status == StatusCode::NO_CONTENT {
            return Failure::Empty { provider: Who::of(provider), why: "status 204, which has nothing in it".to_owned() };
        }
        let got = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("no content type");
        Failure::bad_answer(provider, format!("status {} with {got} where JSON was expected", head.status.as_u16()))
    }

    /// From an answer that cannot be read.
    pub fn broken_json(provider: &LiveProvider, error: &impl std::fmt::Display) -> Failure {
        Failure::bad_answer(provider, format!("its JSON is broken ({error})"))
    }

    /// From an answer of which nothing can be read, though nobody asked for that.
    pub fn encoded(provider: &LiveProvider, headers: &HeaderMap) -> Option<Failure> {
        let encoding = String::from_utf8_lossy(headers.get(header::CONTENT_ENCODING)?.as_bytes());
        let why = || format!("it is encoded ({encoding}), where 'identity' was asked for");
        (!encoding.eq_ignore_ascii_case("identity")).then(|| Failure::bad_answer(provider, why()))
    }

    /// From an answer that ended too early.
    pub fn cut(provider: &LiveProvider) -> Failure {
        Failure::BrokeOff { provider: Who::of(provider), why: "in the middle of its answer".to_owned() }
    }

    /// From an answer that is none.
    pub fn bad_answer(provider: &LiveProvider, why: String) -> Failure {
        Failure::BadAnswer { provider: Who::of(provider), why }
    }

    /// Only where the provider cannot have begun to work on it.
    pub fn is_worth_another_attempt(&self) -> bool {
        matches!(self, Failure::Unreachable { .. })
    }

    /// Whether its provider may have done the work that it was asked for, and may bill it.
    pub fn billed(&self) -> Billed {
        match self {
            Failure::BrokeOff { .. } | Failure::TimedOut { .. } | Failure::BadAnswer { .. } => Billed::Perhaps,
            Failure::InPart { .. } => Billed::InPart,
            Failure::Ended(refusal) => refusal.billed,
            _ => Billed::Not,
        }
    }

    /// Whether the request itself is to blame, or its key.
    pub fn is_the_callers(&self) -> bool {
        matches!(self, Failure::Untranslatable(_) | Failure::Upload(_) | Failure::Ended(_))
    }

    /// The refusal as the surfaces render it.
    pub fn refusal(self) -> Refusal {
        let (bad_gateway, billed) = (StatusCode::BAD_GATEWAY, self.billed());
        let (status, code, message, provider) = match self {
            Failure::Unserved(unserved) => return unserved.into(),
            Failure::Untranslatable(refusal) | Failure::Upload(refusal) | Failure::Ended(refusal) => return *refusal,
            Failure::NoTarget => return Refusal::new(bad_gateway, Kind::Upstream, "provider_unreachable", "No provider could be asked."),
            Failure::Unreachable { provider, why } => (
                bad_gateway,
                "provider_unreachable",
                format!("{provider} could not be reached ({why}). Your key is fine: try again, or choose another model."),
                provider,
            ),
            Failure::BrokeOff { provider, why } => (
                bad_gateway,
                "provider_broke_off",
                format!("{provider} closed the connection before its answer was complete ({why}). Your key is fine: try again."),
                provider,
            ),
            Failure::TimedOut { provider, after } => (
                StatusCode::GATEWAY_TIMEOUT,
                "provider_timeout",
                format!("{provider} was silent for {} s. Your key is fine: try again, or stream the answer.", after.as_secs_f64()),
                provider,
            ),
            Failure::BadAnswer { provider, why } | Failure::Empty { provider, why } => (
                bad_gateway,
                "provider_bad_answer",
                format!(
                    "{provider} answered with something that is no answer: {why}. Your key is fine: try again, or tell whoever runs this gateway."
                ),
                provider,
            ),
            Failure::InPart { provider, answered: [answered, all], why } => (
                bad_gateway,
                "provider_answered_in_part",
                format!(
                    "{provider} takes these inputs one by one, answered {answered} of {all}, and then not: {why} What it did is charged. Your key is fine: send fewer at once, or those alone that are right."
                ),
                provider,
            ),
            Failure::CredentialRefused { provider, variable, rest, is_alone } => (
                bad_gateway,
                "provider_credential_refused",
                format!(
                    "{provider} refuses the credential that this gateway has for it (from {variable}){}; it is tried again in {} s. Your own key is fine: tell whoever runs this gateway.",
                    if is_alone { " for this model" } else { "" },
                    rest.as_secs().max(1)
                ),
                provider,
            ),
            Failure::CreditTooLow { provider, variable } => (
                bad_gateway,
                "provider_credit_too_low",
                format!(
                    "{provider} has less credit left for the credential that this gateway has for it (from {variable}) than this request may cost. Your own key is fine: ask for fewer tokens at most, send less, or tell whoever runs this gateway."
                ),
                provider,
            ),
            Failure::WithoutRight { provider, variable } => (
                bad_gateway,
                "provider_permission_denied",
                format!(
                    "{provider} does not let the credential that this gateway has for it (from {variable}) do what this request asks for. Your own key is fine: use another model or another way, or tell whoever runs this gateway."
                ),
                provider,
            ),
            Failure::Unsigned { provider, why } => (
                bad_gateway,
                "provider_credential_unusable",
                format!(
                    "{provider} could not be asked, since the credential that this gateway has for it gives no access: {why}. Your own key is fine: try again, or tell whoever runs this gateway."
                ),
                provider,
            ),
        };
        let mut refusal = Refusal::new(status, Kind::Upstream, code, message);
        refusal.provider = Some(provider.id);
        refusal.billed = billed;
        refusal
    }
}

/// Whether something came that could not be read as HTTP.
fn is_not_http(error: &(dyn Error + 'static)) -> bool {
    let links = std::iter::successors(Some(error), |&link| link.source());
    let is_ours = |link: &(dyn Error + 'static)| matches!(link.downcast_ref(), Some(Fault::Bad(_)));
    let is_hypers =
        |link: &(dyn Error + 'static)| link.downcast_ref::<hyper::Error>().is_some_and(|e| e.is_parse() || e.is_parse_too_large());
    links.into_iter().any(|link| is_ours(link) || is_hypers(link))
}

/// The last link of the chain: what the system or the protocol said.
pub(super) fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
