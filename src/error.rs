//! The one shape of every refusal: each room's own reasons become a [`Refusal`], each surface renders it in its dialect.

use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};

use crate::key::KeyId;
use crate::key::diagnose::without_keys;

/// What sort of trouble it is, which the dialects name each in their own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request itself is wrong.
    Invalid,
    /// The key is missing or no good.
    Authentication,
    /// The key is good, but not for this.
    Permission,
    /// No such path, model or thing.
    NotFound,
    /// A rate limit, by name (`requests`, `tokens`, `parallel`).
    RateLimit(&'static str),
    /// Money: a budget is spent, or would be.
    Budget,
    /// The provider's side failed.
    Upstream,
    /// This gateway cannot right now.
    Unavailable,
}

/// A request that is not served: what the caller is told, and what the log says of it.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// What sort of trouble it is.
    pub kind: Kind,
    /// A stable name for programs.
    pub code: &'static str,
    /// A clear sentence, with what to do about it.
    pub message: String,
    /// The request's field that is to blame.
    pub param: Option<&'static str>,
    /// When trying again makes sense.
    pub retry_after: Option<Duration>,
    /// More headers for the answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The caller's key, where it is proven.
    pub key: Option<KeyId>,
    /// The provider that is to blame.
    pub provider: Option<String>,
    /// Whether that provider did the work that it was asked for.
    pub billed: Billed,
}

/// Whether a provider bills what its caller got no answer to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Billed {
    /// It had not begun.
    #[default]
    Not,
    /// It may have done the work.
    Perhaps,
    /// It has done some of it.
    InPart,
}

// === impl Refusal ===

impl Refusal {
    /// A refusal with no more than its reason.
    pub fn new(status: StatusCode, kind: Kind, code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal {
            status,
            kind,
            code,
            message: without_keys(message.into()),
            param: None,
            retry_after: None,
            headers: Vec::new(),
            key: None,
            provider: None,
            billed: Billed::Not,
        }
    }

    /// A request that is wrong in itself: 400.
    pub fn invalid(code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, Kind::Invalid, code, message)
    }

    /// Names the field to blame.
    pub fn with_param(mut self, param: &'static str) -> Refusal {
        self.param = Some(param);
        self
    }
}
