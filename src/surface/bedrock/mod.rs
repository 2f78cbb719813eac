//! Amazon Bedrock's surface: `POST /model/{modelId}/converse` and `/converse-stream`, as the AWS SDKs call them.

mod error;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::routing::any;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use percent_encoding::percent_decode_str;

use super::{ProviderError, Surface};
use crate::catalog::{Dialect, Operation};
use crate::dialect::Called;
use crate::error::{Kind, Refusal};
use crate::exchange::exchange;
use crate::gateway::Gateway;

/// Bedrock's dialect.
pub struct Bedrock;

/// Where the AWS SDKs look for a request's id.
const AMZN_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const OUR_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The paths that the AWS SDKs call when given `http://…` as their endpoint URL.
pub fn routes() -> axum::Router<Arc<Gateway>> {
    axum::Router::new().route("/model/{*rest}", any(serve))
}

async fn serve(State(gateway): State<Arc<Gateway>>, mut request: Request<Body>) -> Response<Body> {
    let called = unsign(request.headers_mut()).and_then(|()| called(request.method(), request.uri().path()));
    let mut response = match called {
        Ok(called) => exchange(gateway, &Bedrock, called, request).await,
        Err(refusal) => super::name(request.headers(), error::refuse(&refusal)),
    };
    if let Some(id) = response.headers().get(OUR_ID).cloned() {
        response.headers_mut().entry(AMZN_ID).or_insert(id);
    }
    response
}

/// A signature proves an AWS secret, and this gateway has none to check it against. The id of an access key is sent as it is, though:
/// a Keyward key in its place is taken like a bearer token, which newer SDKs do not send over plain HTTP; in each of the headers, since two
/// keys that differ are refused.
fn unsign(headers: &mut HeaderMap) -> Result<(), Refusal> {
    for (_, value) in headers.iter_mut().filter(|(name, _)| *name == header::AUTHORIZATION) {
        let scope = value.to_str().ok().and_then(|value| value.strip_prefix("AWS4-HMAC-SHA256 Credential="));
        if let Some(scope) = scope {
            *value = bearer(scope).ok_or_else(signed)?;
        }
    }
    Ok(())
}

/// The Keyward key in place of an access key's id, as a bearer token.
fn bearer(scope: &str) -> Option<HeaderValue> {
    let id = scope.split('/').next().unwrap_or_default();
    // In capitals it is still meant as one, and told what is wrong with it.
    let is_ours = id.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("kw_"));
    let mut bearer = HeaderValue::try_from(format!("Bearer {id}")).ok().filter(|_| is_ours)?;
    bearer.set_sensitive(true);
    Some(bearer)
}

fn signed() -> Refusal {
    Refusal::new(
        StatusCode::UNAUTHORIZED,
        Kind::Authentication,
        "request_is_signed",
        "This request is signed with AWS credentials, which this gateway does not take: set AWS_BEARER_TOKEN_BEDROCK to your Keyward key (kw_…), which the SDK sends as a bearer token, or over plain HTTP AWS_ACCESS_KEY_ID to your Keyward key and AWS_SECRET_ACCESS_KEY to any text.",
    )
}

/// What `/model/{modelId}/{operation}` says; the id is percent-encoded, and one with its slashes as they are is taken too.
fn called(method: &Method, path: &str) -> Result<Called, Refusal> {
    let shown = || super::shown(path);
    let rest = path.strip_prefix("/model/").unwrap_or_default();
    let (model, stream) = match rest.rsplit_once('/') {
        Some((model, "converse")) => (model, false),
        Some((model, "converse-stream")) => (model, true),
        _ => {
            let hint = "Call /model/{modelId}/converse or /model/{modelId}/converse-stream: models' own formats (invoke) are not served.";
            let message = format!("Nothing is served at {}. {hint}", shown());
            return Err(Refusal::new(StatusCode::NOT_FOUND, Kind::NotFound, "path_not_found", message));
        }
    };
    if method != Method::POST {
        let message = format!("{} is not called with {method}: use POST.", shown());
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Kind::Invalid, "method_not_allowed", message));
    }
    let model = percent_decode_str(model).decode_utf8().ok().filter(|model| !model.is_empty());
    let model = model.ok_or_else(|| {
        let message = "The model's id in the path is empty or not UTF-8: name one as 'provider/model', percent-encoded.";
        Refusal::invalid("invalid_value", message).with_param("modelId")
    })?;
    let mut called = Called::new(Operation::Chat, Dialect::BedrockConverse);
    called.model = Some(model.into_owned());
    called.stream = Some(stream);
    Ok(called)
}

// === impl Bedrock ===

impl Surface for Bedrock {
    fn refuse(&self, refusal: &Refusal) -> Response<Body> {
        error::refuse(refusal)
    }

    fn error_event(&self, refusal: &Refusal) -> Bytes {
        error::error_event(refusal)
    }

    fn provider_error(&self, error: &ProviderError<'_>) -> Response<Body> {
        error::of_provider(error)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_keyward_key_is_taken_in_place_of_an_access_keys_id() {
        let unsigned = |authorization: &'static str| {
            let mut headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(authorization))]);
            unsign(&mut headers).map(|()| headers[header::AUTHORIZATION].to_str().unwrap().to_owned())
        };
        let scope = "20260102/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=00";
        let signed = |id: &str| &*Box::leak(format!("AWS4-HMAC-SHA256 Credential={id}/{scope}").into_boxed_str());
        assert_eq!(unsigned(signed("kw_live_abc")).unwrap(), "Bearer kw_live_abc");
        assert_eq!(unsigned(signed("AKIDEXAMPLE")).unwrap_err().code, "request_is_signed");
        assert_eq!(unsigned("Bearer kw_live_abc").unwrap(), "Bearer kw_live_abc");
    }

    #[test]
    fn each_of_several_signatures_is_taken_so_that_two_keys_are_seen_to_differ() {
        let signed = |id: &str| format!("AWS4-HMAC-SHA256 Credential={id}/20260102/us-east-1/bedrock/aws4_request, Signature=00");
        let unsigned = |sent: [String; 2]| {
            let sent = sent.map(|value| (header::AUTHORIZATION, HeaderValue::try_from(value).unwrap()));
            let mut headers = HeaderMap::new();
            headers.extend(sent);
            unsign(&mut headers).map(|()| {
                let values = headers.get_all(header::AUTHORIZATION).iter();
                values.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
            })
        };
        let both = ["Bearer kw_live_a".to_owned(), "Bearer kw_live_b".to_owned()];
        assert_eq!(unsigned([signed("kw_live_a"), both[1].clone()]).unwrap(), both);
        assert_eq!(unsigned([both[0].clone(), signed("kw_live_b")]).unwrap(), both);
        assert_eq!(unsigned([signed("kw_live_a"), signed("kw_live_b")]).unwrap(), both);
        assert_eq!(unsigned([both[0].clone(), signed("AKIDEXAMPLE")]).unwrap_err().code, "request_is_signed");
    }

    #[test]
    fn a_path_names_the_model_and_whether_to_stream() {
        let cases = [
            ("/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse", "anthropic.claude-sonnet-4-5-20250929-v1:0", false),
            ("/model/openai%2Fgpt-4o-mini/converse-stream", "openai/gpt-4o-mini", true),
            ("/model/openai/gpt-4o-mini/converse", "openai/gpt-4o-mini", false),
            (
                "/model/arn%3Aaws%3Abedrock%3A%3A1%3Ainference-profile%2Fconverse/converse",
                "arn:aws:bedrock::1:inference-profile/converse",
                false,
            ),
        ];
        for (path, model, stream) in cases {
            let called = called(&Method::POST, path).unwrap();
            assert_eq!((called.model.as_deref(), called.stream), (Some(model), Some(stream)), "{path}");
        }
        for (method, path, code) in [
            (Method::POST, "/model/a/invoke", "path_not_found"),
            (Method::POST, "/model/converse", "path_not_found"),
            (Method::POST, "/model//converse", "invalid_value"),
            (Method::POST, "/model/%ff/converse", "invalid_value"),
            (Method::GET, "/model/a/converse", "method_not_allowed"),
        ] {
            assert_eq!(called(&method, path).unwrap_err().code, code, "{path}");
        }
    }
}
