//! A provider's error in OpenAI's shape.

use serde_json::{Value, json};

use crate::dialect::ir::{Trouble, TroubleKind};

/// `{"error": {"message", "type", "param", "code"}}`.
pub fn write(trouble: &Trouble) -> Value {
    let kind = match trouble.kind {
        TroubleKind::Invalid | TroubleKind::TooLarge | TroubleKind::NotFound | TroubleKind::Authentication => "invalid_request_error",
        TroubleKind::Permission => "permission_error",
        TroubleKind::Billing => "insufficient_quota",
        TroubleKind::RateLimit => "rate_limit_error",
        TroubleKind::Overloaded | TroubleKind::Timeout | TroubleKind::Server => "server_error",
    };
    json!({ "error": { "message": trouble.message, "type": kind, "param": trouble.param, "code": trouble.code } })
}
