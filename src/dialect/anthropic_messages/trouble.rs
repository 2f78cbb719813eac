//! Errors by Anthropic's names for them.
//!
//! Source: the errors page of Anthropic's API reference.

use serde_json::Value;

use crate::dialect::ir::{Trouble, TroubleKind};

const NAMES: [(&str, TroubleKind); 10] = [
    ("invalid_request_error", TroubleKind::Invalid),
    ("authentication_error", TroubleKind::Authentication),
    ("permission_error", TroubleKind::Permission),
    ("billing_error", TroubleKind::Billing),
    ("not_found_error", TroubleKind::NotFound),
    ("request_too_large", TroubleKind::TooLarge),
    ("rate_limit_error", TroubleKind::RateLimit),
    ("overloaded_error", TroubleKind::Overloaded),
    ("timeout_error", TroubleKind::Timeout),
    ("api_error", TroubleKind::Server),
];

/// The dialect's name for a sort of error.
pub fn name(kind: TroubleKind) -> &'static str {
    NAMES.iter().find(|(_, known)| *known == kind).map_or("api_error", |(name, _)| name)
}

/// Whether it is a name of the dialect's own.
pub fn is_name(name: &str) -> bool {
    NAMES.iter().any(|(known, _)| *known == name)
}

/// Reads an error answer: its own name says more of the sort than the status.
pub fn read(status: u16, body: &[u8]) -> Trouble {
    let read = crate::dialect::trouble::read(status, body);
    let kind = read.code.as_deref().and_then(by_name);
    Trouble { kind: kind.unwrap_or(read.kind), ..read }
}

/// Reads the `error` object of a stream's event.
pub fn in_stream(error: &Value) -> Trouble {
    let text = |name: &str| error.get(name).and_then(Value::as_str).map(str::to_owned);
    let code = text("type");
    Trouble {
        kind: code.as_deref().and_then(by_name).unwrap_or(TroubleKind::Server),
        code,
        message: text("message").unwrap_or_default(),
        param: text("param"),
    }
}

fn by_name(name: &str) -> Option<TroubleKind> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
}
