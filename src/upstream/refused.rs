//! A provider's error, read: whose fault it is, and what of it may be told.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use super::{Failure, Partial, Source, Who, read_up_to};
use crate::route::{Attempt, Endpoint, LiveProvider, Refused, Target, Trace, changed_by_each};

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

/// What is the matter with a request that a provider does not serve.
enum Blame {
    /// It says that it is our credential.
    Credential,
    /// It wants another one, and does not say what for.
    Unsaid,
    /// What was asked for.
    Request,
}

/// That a request is sent by our credential; one that was refused lately is not shown yet.
pub(super) fn attempt_by(target: &Target) -> Result<Option<Attempt<'_>>, Failure> {
    let attempt = target.provider.credential.as_ref().map(|credential| credential.attempt(&target.model)).transpose();
    attempt.map_err(|rest| refused_for(&target.provider, rest))
}

/// What an answer says of our credential: a failure where that is refused; where not, the status that its caller is to see, and what is to be
/// read of it.
pub(super) async fn judge_credential(
    status: StatusCode,
    mut body: Source,
    endpoint: &Endpoint,
    provider: &LiveProvider,
    attempt: Option<&Attempt<'_>>,
    idle: Duration,
) -> Result<(StatusCode, Source), Failure> {
    let Some(attempt) = attempt else {
        // To the caller it would read as trouble with their own key.
        let why = "it wants a credential, and none is set for it here (status 401)".to_owned();
        return if status == StatusCode::UNAUTHORIZED { Err(Failure::bad_answer(provider, why)) } else { Ok((status, body)) };
    };
    // These have many causes: what is said tells which.
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN) {
        let text = read_up_to(&mut body, READ_ERROR, idle).await.unwrap_or_else(Partial::read);
        let refused = match blame(status, &String::from_utf8_lossy(&text)) {
            Blame::Credential => attempt.refused(),
            Blame::Unsaid => attempt.refused_for_something(),
            // A 401 would read as trouble with the caller's own key.
            Blame::Request if status == StatusCode::UNAUTHORIZED => return Ok((StatusCode::FORBIDDEN, Source::Ready(Some(text)))),
            Blame::Request => return Ok((status, Source::Ready(Some(text)))),
        };
        endpoint.signer.iter().for_each(|signer| signer.refused());
        tell(status, provider, attempt, refused);
        return Err(refused_for(provider, refused.rest));
    }
    if status.is_success() {
        attempt.accepted();
    }
    Ok((status, body))
}

/// For those who run the gateway.
fn tell(status: StatusCode, provider: &LiveProvider, attempt: &Attempt<'_>, refused: Refused) {
    let variable = provider.credential.as_ref().map(|credential| credential.variable.as_str());
    let (provider, status, rest_s) = (&provider.id, status.as_u16(), refused.rest.as_secs());
    match refused.is_alone {
        true => {
            tracing::warn!(provider, variable, model = attempt.model(), status, rest_s, "the provider refused our credential for a model")
        }
        false => tracing::warn!(provider, variable, status, rest_s, "the provider refused our credential"),
    }
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

/// Whose fault it is that a request was not served.
fn blame(status: StatusCode, text: &str) -> Blame {
    let is_unauthorized = status == StatusCode::UNAUTHORIZED;
    match is_unauthorized && is_about_model(text) {
        true => Blame::Request,
        false if is_about_credential(status, text) => Blame::Credential,
        false if is_unauthorized => Blame::Unsaid,
        false => Blame::Request,
    }
}

/// Whether an error says by its name that it is about the model, as LiteLLM's `key_model_access_denied` does with a 401.
fn is_about_model(text: &str) -> bool {
    let Ok(value) = serde_json::from_str::<Value>(text) else { return false };
    let error = value.get("error").filter(|error| error.is_object()).unwrap_or(&value);
    let member = |name: &str| error.get(name).and_then(Value::as_str);
    member("param") == Some("model")
        || ["code", "type"].into_iter().filter_map(member).any(|name| name.to_ascii_lowercase().contains("model"))
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
    fn a_401_is_about_the_credential_or_about_the_model_or_does_not_say() {
        let of_model = [
            r#"{"error":{"message":"key not allowed to access model. This key can only access models=['a'].","type":"key_model_access_denied","param":"model","code":"401"}}"#,
            r#"{"error":{"message":"You have no access to model x","type":"invalid_request_error","code":"model_no_access"}}"#,
            r#"{"error":{"message":"x","type":"x","param":"model"}}"#,
            r#"{"code":"model_not_allowed","message":"x"}"#,
        ];
        let of_credential = [
            r#"{"error":{"message":"Incorrect API key provided: sk-…","code":"invalid_api_key","param":null}}"#,
            r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#,
            "Invalid API key",
        ];
        let of_neither = [
            r#"{"error":{"message":"The model 'x' is not for you","type":"auth_error","param":"None","code":"401"}}"#,
            r#"{"error":"Unauthorized"}"#,
            "",
        ];
        let blame = |text: &&str| blame(StatusCode::UNAUTHORIZED, text);
        assert!(of_model.iter().all(|text| matches!(blame(text), Blame::Request)));
        assert!(of_credential.iter().all(|text| matches!(blame(text), Blame::Credential)));
        assert!(of_neither.iter().all(|text| matches!(blame(text), Blame::Unsaid)));
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
