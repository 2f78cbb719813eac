//! Google's error object: `{"error": {"code", "message", "status", "details"}}`.
//!
//! Source: `google.rpc.Status`, `google.rpc.Code` and `google.rpc.ErrorInfo` as HTTP and JSON carry them.

use serde_json::{Value, json};

use crate::dialect::ir::{Trouble, TroubleKind};

/// The status and its name for a sort of trouble.
pub fn status_of(kind: TroubleKind) -> (u16, &'static str) {
    match kind {
        TroubleKind::Invalid | TroubleKind::TooLarge => (400, "INVALID_ARGUMENT"),
        TroubleKind::Authentication => (401, "UNAUTHENTICATED"),
        TroubleKind::Permission => (403, "PERMISSION_DENIED"),
        TroubleKind::Billing => (402, "RESOURCE_EXHAUSTED"),
        TroubleKind::NotFound => (404, "NOT_FOUND"),
        TroubleKind::RateLimit => (429, "RESOURCE_EXHAUSTED"),
        TroubleKind::Server => (500, "INTERNAL"),
        TroubleKind::Overloaded => (503, "UNAVAILABLE"),
        TroubleKind::Timeout => (504, "DEADLINE_EXCEEDED"),
    }
}

/// The error object; `code` is the HTTP status where there is one.
pub fn body(trouble: &Trouble, code: Option<u16>) -> Value {
    let (usual, status) = status_of(trouble.kind);
    let mut details = Vec::new();
    if let Some(reason) = &trouble.code {
        details.push(json!({ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "keyward" }));
    }
    if let Some(field) = &trouble.param {
        let violation = json!({ "field": field, "description": trouble.message });
        details.push(json!({ "@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation] }));
    }
    json!({ "error": { "code": code.unwrap_or(usual), "message": trouble.message, "status": status, "details": details } })
}
