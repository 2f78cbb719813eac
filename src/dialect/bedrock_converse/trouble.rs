//! Errors: `{"message"}` with a name beside, in the header `x-amzn-errortype` or in an exception of a stream.
//!
//! Source: the errors of `Converse` and `ConverseStream` in the Amazon Bedrock API reference.

use crate::dialect::ir::{Trouble, TroubleKind};

/// The exception that stands for a sort of trouble, by its name in headers.
pub fn exception(kind: TroubleKind) -> &'static str {
    match kind {
        TroubleKind::Invalid | TroubleKind::TooLarge => "ValidationException",
        TroubleKind::Authentication | TroubleKind::Permission | TroubleKind::Billing => "AccessDeniedException",
        TroubleKind::NotFound => "ResourceNotFoundException",
        TroubleKind::RateLimit => "ThrottlingException",
        TroubleKind::Overloaded => "ServiceUnavailableException",
        TroubleKind::Timeout => "ModelTimeoutException",
        TroubleKind::Server => "InternalServerException",
    }
}

/// The exception as a stream has it, which knows five of them.
pub fn stream_exception(kind: TroubleKind) -> &'static str {
    match kind {
        TroubleKind::RateLimit => "throttlingException",
        TroubleKind::Overloaded => "serviceUnavailableException",
        TroubleKind::Timeout => "modelStreamErrorException",
        TroubleKind::Server => "internalServerException",
        _ => "validationException",
    }
}

/// The sort that an exception of a stream stands for.
pub fn kind(exception: &str) -> TroubleKind {
    match exception {
        "throttlingException" => TroubleKind::RateLimit,
        "serviceUnavailableException" => TroubleKind::Overloaded,
        "validationException" => TroubleKind::Invalid,
        "accessDeniedException" => TroubleKind::Permission,
        "modelTimeoutException" => TroubleKind::Timeout,
        _ => TroubleKind::Server,
    }
}

/// Reads an error's body.
pub fn read(status: u16, body: &[u8]) -> Trouble {
    let trouble = crate::dialect::trouble::read(status, body);
    // The model failed, not the request.
    let kind = if status == 424 { TroubleKind::Server } else { trouble.kind };
    Trouble { kind, ..trouble }
}
