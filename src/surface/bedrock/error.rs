//! Bedrock's error shape: `{"message"}`, with the exception's name in the header `x-amzn-errortype`; in a stream an exception of its own.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use crate::dialect::bedrock_converse::{exception, stream_exception};
use crate::dialect::frame::{AwsKind, write_frame};
use crate::dialect::ir::Trouble;
use crate::error::Refusal;
use crate::surface::{ProviderError, refusal_response};

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// A refusal as a response.
pub fn refuse(refusal: &Refusal) -> Response<Body> {
    let mut body = json!({ "message": refusal.message, "code": refusal.code });
    if let Some(provider) = &refusal.provider {
        body["provider"] = Value::from(provider.as_str());
    }
    typed(refusal_response(refusal, &body), exception(Trouble::from(refusal).kind))
}

/// A refusal in the middle of a stream, where there is no status left to set.
pub fn error_event(refusal: &Refusal) -> Bytes {
    let mut out = Vec::new();
    let name = stream_exception(Trouble::from(refusal).kind);
    let payload = json!({ "message": refusal.message }).to_string();
    write_frame(AwsKind::Exception, name, &mut out, |out| out.extend_from_slice(payload.as_bytes()));
    Bytes::from(out)
}

/// A provider's error with its status and message, and the provider named in it.
pub fn of_provider(error: &ProviderError<'_>) -> Response<Body> {
    let message = match error.trouble.message.as_str() {
        said if error.is_native && !said.is_empty() => said.to_owned(),
        _ => error.message(),
    };
    let body = json!({ "message": message, "provider": error.provider.id });
    let name = match (error.status, error.trouble.kind) {
        (StatusCode::FAILED_DEPENDENCY, _) => "ModelErrorException",
        (_, kind) => exception(kind),
    };
    typed(error.response(&body), name)
}

/// Sets the name that the SDKs choose their exception by. The body's `code` is read only where the header is missing.
fn typed(mut response: Response<Body>, name: &'static str) -> Response<Body> {
    response.headers_mut().insert(ERROR_TYPE, HeaderValue::from_static(name));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::ir::TroubleKind;

    #[test]
    fn every_trouble_is_an_exception_that_the_sdks_know() {
        let known =
            ["AccessDenied", "Throttling", "ResourceNotFound", "ModelTimeout", "InternalServer", "ServiceUnavailable", "Validation"];
        for status in [400, 401, 402, 403, 404, 408, 413, 429, 500, 502, 503, 504, 529] {
            let name = exception(TroubleKind::of_status(status));
            assert!(known.iter().any(|known| name == format!("{known}Exception")), "{status}: {name}");
        }
    }
}
