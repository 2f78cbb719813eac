//! A provider's error, read: whose fault it is, and what of it may be told.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use super::{Failure, Partial, Source, Who, read_up_to};
use crate::route::{Attempt, Endpoint, LiveProvider, Trace, changed_by_each};

/// Of a provider's error so much is read at the most.
pub const READ_ERROR: usize = 256 << 10;

/// Names of errors that are about a credential: OpenAI's codes and types, which many have taken over, and Alibaba's.
const NAMES: [&str; 8] = [
    "invalid_api_key",
    "invalidapikey",
    "incorrect_api_key",
    "api_key_expired",
    "authentication_error",
    "account_deactivated",
    "account_suspended",
    "billing_not_active",
];
/// Google's reasons (`google.api.ErrorReason`) that are about a credential, or about the project that it belongs to.
const REASONS: [&str; 14] = [
    "API_KEY_INVALID",
    "API_KEY_SERVICE_BLOCKED",
    "API_KEY_HTTP_REFERRER_BLOCKED",
    "API_KEY_IP_ADDRESS_BLOCKED",
    "API_KEY_ANDROID_APP_BLOCKED",
    "API_KEY_IOS_APP_BLOCKED",
    "SERVICE_DISABLED",
    "BILLING_DISABLED",
    "CONSUMER_SUSPENDED",
    "CONSUMER_INVALID",
    "ACCESS_TOKEN_EXPIRED",
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
    "ACCOUNT_STATE_INVALID",
    "CREDENTIALS_MISSING",
];
/// How messages begin that are about a credential, where no name says so: those of Google, xAI, Anthropic, Azure, AWS, NVIDIA, Databricks.
const BEGINNINGS: [&str; 21] = [
    "api key not valid",
    "api key not found",
    "api key expired",
    "your api key was reported as leaked",
    "your api key has been",
    "your api key is not",
    "the api key provided is invalid",
    "the api key you provided is invalid",
    "incorrect api key",
    "invalid api key",
    "invalid api-key",
    "invalid access token",
    "invalid x-api-key",
    "this organization has been disabled",
    "access denied due to invalid subscription key",
    "method doesn't allow unregistered callers",
    "authorization failed",
    "the security token included in the request is",
    "the request signature we calculated does not match",
    "please make sure your api key is valid",
    "bearer token has expired",
];
/// Google's consumer is the credential, in the middle of the sentence.
const CONSUMER: (&str, &str) = ("permission denied: consumer '", "' has been suspended");

/// That a request is sent by our credential; one that was refused lately is not shown yet.
pub(super) fn attempt_by(provider: &LiveProvider) -> Result<Option<Attempt<'_>>, Failure> {
    let attempt = provider.credential.as_ref().map(|credential| credential.attempt()).transpose();
    attempt.map_err(|rest| refused_for(provider, rest))
}

/// What an answer says of our credential: a failure where that is refused, and what is to be read of the answer where not.
pub(super) async fn judge_credential(
    status: StatusCode,
    mut body: Source,
    endpoint: &Endpoint,
    provider: &LiveProvider,
    attempt: Option<&Attempt<'_>>,
    idle: Duration,
) -> Result<Source, Failure> {
    let Some(attempt) = attempt else {
        // To the caller it would read as trouble with their own key.
        let why = "it wants a credential, and none is set for it here (status 401)".to_owned();
        return if status == StatusCode::UNAUTHORIZED { Err(Failure::bad_answer(provider, why)) } else { Ok(body) };
    };
    let is_refused = match status {
        StatusCode::UNAUTHORIZED => true,
        // These have many causes: what is said tells which.
        StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN => {
            let text = read_up_to(&mut body, READ_ERROR, idle).await.unwrap_or_else(Partial::read);
            let is_refused = is_about_credential(status, &String::from_utf8_lossy(&text));
            body = Source::Ready(Some(text));
            is_refused
        }
        _ => false,
    };
    if is_refused {
        endpoint.signer.iter().for_each(|signer| signer.refused());
        let rest = attempt.refused();
        let variable = provider.credential.as_ref().map(|credential| credential.variable.as_str());
        tracing::warn!(
            provider = provider.id,
            variable,
            status = status.as_u16(),
            rest_s = rest.as_secs(),
            "the provider refused our credential"
        );
        return Err(refused_for(provider, rest));
    }
    if status.is_success() {
        attempt.accepted();
    }
    Ok(body)
}

/// The text of a provider's error, with nothing of our credential in it; a failure where it is none of the caller's business.
pub fn error_text(status: StatusCode, text: &[u8], provider: &LiveProvider) -> Result<String, Failure> {
    if status.is_redirection() || status.is_informational() {
        return Err(Failure::redirected(provider, status));
    }
    let text = String::from_utf8_lossy(text);
    match &provider.credential {
        // One that came as a success was not judged before.
        Some(credential) if status == StatusCode::BAD_GATEWAY && is_about_credential(status, &text) => {
            Err(refused_for(provider, credential.refused()))
        }
        // A text in the place of a text leaves text.
        _ => Ok(without_traces(&text, provider)),
    }
}

/// A text with nothing in it by which we ask its provider.
pub fn without_traces(text: &str, provider: &LiveProvider) -> String {
    // A text in the place of a text leaves text.
    let replaced = concealed(text.as_bytes(), provider, |trace, bytes| trace.replaced(bytes, HIDDEN));
    replaced.and_then(|text| String::from_utf8(text).ok()).unwrap_or_else(|| text.to_owned())
}

/// Bytes in which each secret by which we ask their provider is changed; `None` where there is none.
pub(super) fn concealed(bytes: &[u8], provider: &LiveProvider, change: impl Fn(&Trace, &[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    changed_by_each(traces_of(provider), bytes, |trace, bytes| change(&trace, bytes))
}

/// Whether bytes repeat one of them.
pub fn repeats_secret(bytes: &[u8], provider: &LiveProvider) -> bool {
    traces_of(provider).any(|trace| trace.is_in(bytes))
}

/// Stands for a credential that a provider repeats.
pub(super) const HIDDEN: &str = "…";

/// What is to be kept out of a provider's answers, which some repeat: our credential, and what it is sent besides.
pub(super) fn traces_of(provider: &LiveProvider) -> impl Iterator<Item = Cow<'_, Trace>> {
    let of_credential = provider.credential.as_ref().and_then(|credential| credential.trace.as_ref());
    of_credential.into_iter().map(Cow::Borrowed).chain(provider.tokens().map(Cow::Owned))
}

fn refused_for(provider: &LiveProvider, rest: Duration) -> Failure {
    let variable = provider.credential.as_ref().map(|credential| credential.variable.clone()).unwrap_or_default();
    Failure::CredentialRefused { provider: Who::of(provider), variable, rest }
}

fn is_about_credential(status: StatusCode, text: &str) -> bool {
    // Providers repeat what they were sent, and a caller's own words must not put our credential to rest: only the error's name counts, or
    // how its message begins.
    let says = |said: &str| {
        let said = said.trim_start().to_ascii_lowercase();
        let is_consumer = said.starts_with(CONSUMER.0) && said.contains(CONSUMER.1);
        is_consumer || BEGINNINGS.iter().any(|beginning| said.starts_with(beginning))
    };
    let Ok(value) = serde_json::from_str::<Value>(text) else { return says(text) };
    let value = value.get(0).unwrap_or(&value);
    let first = value.get("errors").and_then(|errors| errors.get(0));
    let error = value.get("error").filter(|error| error.is_object()).or(first).unwrap_or(value);
    let member = |name: &&str| error.get(*name).or_else(|| value.get(*name)).and_then(Value::as_str);
    let is_named = |name: &str| NAMES.iter().any(|known| name.eq_ignore_ascii_case(known)) || REASONS.contains(&name);
    // In a 400 a type of error may be about anything that authenticates; a code is about this request.
    let named: &[&str] =
        if status == StatusCode::BAD_REQUEST { &["code", "status", "reason"] } else { &["code", "status", "reason", "type"] };
    let details = error.get("details").and_then(Value::as_array).into_iter().flatten().filter_map(|detail| detail.get("reason"));
    let mut messages = ["message", "Message", "detail", "error"].iter().filter_map(member);
    named.iter().filter_map(member).chain(details.filter_map(Value::as_str)).any(is_named) || messages.any(says)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_provider_can_say_that_our_credential_is_bad() {
        let bad = [
            r#"{"error":{"message":"Incorrect API key provided: sk-…","code":"invalid_api_key"}}"#,
            r#"[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}]"#,
            r#"{"error":"Invalid API key"}"#,
            "invalid api key",
        ];
        let others = [
            r#"{"error":{"message":"Invalid value: 'invalid_api_key'. Supported values are: 'system'.","code":"invalid_value","param":"messages[0].role"}}"#,
            r#"{"error":{"message":"'messages' says: Incorrect API key","code":null}}"#,
            "no such model: invalid api key",
        ];
        for status in [StatusCode::BAD_REQUEST, StatusCode::FORBIDDEN] {
            bad.iter().for_each(|text| assert!(is_about_credential(status, text), "{text}"));
            others.iter().for_each(|text| assert!(!is_about_credential(status, text), "{text}"));
        }
    }

    #[test]
    fn a_403_is_about_the_credential_or_about_what_was_asked_for() {
        let bad = [
            r#"{"error":{"code":403,"message":"Your API key was reported as leaked. Please use another API key.","status":"PERMISSION_DENIED"}}"#,
            r#"{"error":{"code":403,"message":"Permission denied: Consumer 'api_key:AIza' has been suspended.","status":"PERMISSION_DENIED"}}"#,
            r#"{"error":{"code":403,"message":"x","status":"PERMISSION_DENIED","details":[{"reason":"CONSUMER_SUSPENDED","domain":"googleapis.com"}]}}"#,
            r#"{"error":{"code":"invalid_api_key","message":"x","type":"auth"}}"#,
            r#"{"type":"error","error":{"type":"authentication_error","message":"x"}}"#,
            r#"{"error":{"code":"account_deactivated","message":"Your account is not active, please check your billing details.","type":"billing"}}"#,
            r#"{"message":"The security token included in the request is invalid."}"#,
            r#"{"status":403,"title":"Forbidden","detail":"Authorization failed"}"#,
        ];
        let others = [
            r#"{"error":{"message":"Project `proj_1` does not have access to model `gpt-5`","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#,
            r#"{"error":{"code":403,"message":"You do not have permission to access the File abc or it may not exist.","status":"PERMISSION_DENIED"}}"#,
            r#"{"error":{"code":403,"message":"Permission denied: Consumer 'x' may not","status":"PERMISSION_DENIED"}}"#,
            r#"{"type":"error","error":{"type":"permission_error","message":"Your API key does not have permission to use the specified resource."}}"#,
            r#"{"error":{"message":"Your input was flagged","code":403,"metadata":{"reasons":["violence"]}}}"#,
            "",
        ];
        bad.iter().for_each(|text| assert!(is_about_credential(StatusCode::FORBIDDEN, text), "{text}"));
        others.iter().for_each(|text| assert!(!is_about_credential(StatusCode::FORBIDDEN, text), "{text}"));
    }
}
