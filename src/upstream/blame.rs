//! Whose fault a provider's error is, by its status and by what it says: that of our credential, or that of what was asked for.

#[cfg(test)]
mod tests;

use http::StatusCode;
use serde_json::Value;

/// What is the matter with a request that a provider does not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// It says that it is our credential, or that its account has nothing left.
    Credential,
    /// Our credential may not use the model.
    Model,
    /// It wants another one, and does not say what for.
    Unsaid,
    /// Our credential may not do what was asked for, or not with that: another request's may be another matter.
    Right,
    /// What our account has left is less than this request may cost.
    Size,
    /// Too much of our account's credit is set aside for what runs now.
    Pace,
    /// What was asked for.
    Request,
}

/// An error by its names and messages. Providers repeat what they were sent, and a caller's own words must not put our credential to rest:
/// only names count, and how a message begins.
struct Said<'a> {
    /// Codes, types and reasons.
    names: Vec<&'a str>,
    /// In small letters.
    messages: Vec<String>,
    /// It says that it is about the model.
    is_of_model: bool,
    /// It says how much of a balance the request needs.
    tells_need: bool,
    /// Whether what was sent may have a text in it, so that its provider may only repeat that.
    sent: &'a dyn Fn(&str) -> bool,
}

/// Names of errors that are about a credential: OpenAI's codes and types, which many have taken over, and Alibaba's.
const NAMES: [&str; 7] = [
    "invalid_api_key",
    "invalidapikey",
    "incorrect_api_key",
    "api_key_expired",
    "authentication_error",
    "account_deactivated",
    "account_suspended",
];
/// Those of an account that has nothing left: OpenAI's, Anthropic's, Moonshot's, Alibaba's, Volcengine's, OpenRouter's.
const SPENT: [&str; 14] = [
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "project_spend_limit_exceeded",
    "billing_hard_limit_reached",
    "billing_not_active",
    "billing_error",
    "exceeded_current_quota_error",
    "arrearage",
    "accountoverdueerror",
    "openrouter_key_limit",
    "openrouter_guardrail_budget",
    "openrouter_workspace_budget",
];
/// Google's reasons (`google.api.ErrorReason`) that are about a credential, or about the project that it belongs to.
const REASONS: [&str; 15] = [
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
    "USER_PROJECT_DENIED",
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
/// The same of accounts with nothing left: those of Anthropic, DeepSeek, Zhipu, SiliconFlow, Together, OpenRouter, Google, xAI, LiteLLM.
const SPENT_BEGINNINGS: [&str; 10] = [
    "your credit balance is too low",
    "you have reached your specified",
    "insufficient balance",
    "余额不足",
    "sorry, your account balance is insufficient",
    "credit limit exceeded",
    "key limit exceeded",
    "your prepayment credits are depleted",
    "your newly created team doesn't have any credits",
    "budget has been exceeded!",
];
/// The same where a name stands in the middle of the sentence: Google's consumer and project, xAI's team, Moonshot's and Fireworks' account.
const AROUND: [(&str, &str); 5] = [
    ("permission denied: consumer '", "' has been suspended"),
    ("your project has exceeded its", "spending cap"),
    ("your team ", " has either used all available credits"),
    ("your account ", " is suspended due to insufficient balance"),
    ("account ", " is suspended, possibly due to reaching the monthly spending limit"),
];
/// Alibaba's limit of tokens a minute, for one model, has OpenAI's name of a quota that is used up; its message leads here.
const TOKENS_A_MINUTE: &str = "error-code#token-limit";

/// What a request may cost at the most is more than is left: OpenRouter's names, this gateway's own, and those of gateways made of One API.
const TOO_LARGE: [&str; 4] = ["weight_exceeds_budget", "budget_exceeded", "insufficient_user_quota", "pre_consume_token_quota_failed"];
/// NanoGPT's member.
const NEEDED: &str = "requiredBalance";
const TOO_LARGE_BEGINNINGS: [&str; 2] = ["this request requires more credits", "prompt tokens limit exceeded"];
/// OpenRouter's, of credit that comes back as soon as requests that run are settled.
const SET_ASIDE: [&str; 2] = ["in_flight_budget_exhausted", "openrouter_in_flight_budget"];

/// A model that a credential may not use, where no name has the word in it: Alibaba's free quota of one, and AWS's words.
const NO_MODEL: &str = "allocationquota.freetieronly";
const NO_MODEL_BEGINNINGS: [&str; 2] = ["you don't have access to the model", "model access is denied due to"];
/// What a credential may not do, or for which models not: Anthropic's, OpenAI's and Azure's names, and Google's.
const NO_RIGHT: [&str; 4] = ["permission_error", "insufficient_permissions", "missing_scope", "permissiondenied"];
const NO_RIGHT_REASON: &str = "IAM_PERMISSION_DENIED";
/// The same in the words of OpenAI, xAI and AWS.
const NO_RIGHT_BEGINNINGS: [&str; 3] = [
    "you have insufficient permissions for this operation",
    "access to the chat endpoint is denied",
    "your account is not authorized to invoke",
];
/// The same of AWS and Google where a name stands in between. What else they deny may be of something that the request names.
const NO_RIGHT_AROUND: [(&str, &str); 3] = [
    ("user: arn:aws", " is not authorized to perform: bedrock:invokemodel"),
    ("user: arn:aws", " is not authorized to perform: bedrock:callwithbearertoken"),
    ("permission 'aiplatform.endpoints.predict' denied", ""),
];

/// Whose fault it is that a request was not served; `sent` says whether a text in small letters may stand in what was sent.
pub fn blame(status: StatusCode, text: &str, sent: &dyn Fn(&str) -> bool) -> Blame {
    let value = serde_json::from_str::<Value>(text).ok();
    // Nothing that is said in a request brings these about.
    let sent = if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::PAYMENT_REQUIRED) { &|_: &str| false } else { sent };
    let said = Said::read(status, text, value.as_ref(), sent);
    match status {
        StatusCode::UNAUTHORIZED if said.is_of_model => Blame::Request,
        StatusCode::PAYMENT_REQUIRED if said.is_named(&SET_ASIDE) => Blame::Pace,
        StatusCode::PAYMENT_REQUIRED | StatusCode::FORBIDDEN if said.is_too_large() => Blame::Size,
        _ if said.is_about_credential() => Blame::Credential,
        // Free models may still be served.
        StatusCode::UNAUTHORIZED | StatusCode::PAYMENT_REQUIRED => Blame::Unsaid,
        StatusCode::FORBIDDEN if said.denies_model() => Blame::Model,
        StatusCode::FORBIDDEN if said.denies_right() => Blame::Right,
        _ => Blame::Request,
    }
}

/// Whether an error says by its name that it is about our credential, or about the account that it belongs to.
pub fn is_named_credential(status: StatusCode, text: &str) -> bool {
    let value = serde_json::from_str::<Value>(text).ok();
    Said::read(status, text, value.as_ref(), &|_| true).is_about_credential()
}

/// Whether bytes that were sent have a text in small letters in them, as they are or escaped as in JSON.
pub fn may_have(sent: &[u8], text: &str) -> bool {
    sent.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text.as_bytes()))
        || (memchr::memchr(b'\\', sent).is_some() && unescaped(&String::from_utf8_lossy(sent)).to_ascii_lowercase().contains(text))
}

/// A JSON text with a letter in each escape's place.
fn unescaped(json: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(json.len()), json);
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let letter = |hex: &str| char::from_u32(u32::from_str_radix(hex, 16).ok()?);
        match rest.strip_prefix('u').and_then(|rest| rest.get(..4)).and_then(letter) {
            Some(letter) => {
                out.push(letter);
                rest = &rest[5..];
            }
            // The letter that follows stands for itself, or for white space.
            None => {
                let mut letters = rest.chars();
                out.extend(letters.next());
                rest = letters.as_str();
            }
        }
    }
    out.push_str(rest);
    out
}

// === impl Said ===

impl<'a> Said<'a> {
    fn read(status: StatusCode, text: &str, value: Option<&'a Value>, sent: &'a dyn Fn(&str) -> bool) -> Said<'a> {
        let small = |said: &str| said.trim_start().to_ascii_lowercase();
        let Some(value) = value else {
            return Said { names: Vec::new(), messages: vec![small(text)], is_of_model: false, tells_need: false, sent };
        };
        let value = value.get(0).unwrap_or(value);
        let first = value.get("errors").and_then(|errors| errors.get(0));
        let error = value.get("error").filter(|error| error.is_object()).or(first).unwrap_or(value);
        let member = |name: &&str| error.get(*name).or_else(|| value.get(*name)).and_then(Value::as_str);
        // In a 400 a type of error may be about anything that authenticates; a code is about this request.
        let named: &[&str] =
            if status == StatusCode::BAD_REQUEST { &["code", "status", "reason"] } else { &["code", "status", "reason", "type"] };
        let details = error.get("details").and_then(Value::as_array).into_iter().flatten().filter(|detail| !is_of_other_right(detail));
        let reasons = details.filter_map(|detail| detail.get("reason").and_then(Value::as_str));
        let of_credit = error.get("metadata").into_iter().flat_map(|metadata| [metadata.get("limit_source"), metadata.get("reason")]);
        let names = named.iter().filter_map(member).chain(reasons).chain(of_credit.flatten().filter_map(Value::as_str)).collect();
        let messages = ["message", "Message", "detail", "error"].iter().filter_map(member).map(small).collect();
        let has_model =
            |name: &&str| error.get(*name).and_then(Value::as_str).is_some_and(|name| name.to_ascii_lowercase().contains("model"));
        // As LiteLLM's `key_model_access_denied` and OpenAI's `model_not_found` do.
        let is_of_model = error.get("param").and_then(Value::as_str) == Some("model") || ["code", "type"].iter().any(has_model);
        let tells_need = [error, value].iter().any(|told| told.get(NEEDED).is_some());
        Said { names, messages, is_of_model, tells_need, sent }
    }

    fn is_about_credential(&self) -> bool {
        let is_spent = || self.is_named(&SPENT) && !self.messages.iter().any(|said| said.contains(TOKENS_A_MINUTE));
        let is_named = || self.is_named(&NAMES) || self.names.iter().any(|name| REASONS.contains(name));
        is_named() || is_spent() || self.begins(&BEGINNINGS) || self.begins(&SPENT_BEGINNINGS) || self.is_around(&AROUND)
    }

    fn is_too_large(&self) -> bool {
        self.tells_need || self.is_named(&TOO_LARGE) || self.begins(&TOO_LARGE_BEGINNINGS)
    }

    fn denies_model(&self) -> bool {
        self.is_of_model || self.is_named(&[NO_MODEL]) || self.begins(&NO_MODEL_BEGINNINGS)
    }

    fn denies_right(&self) -> bool {
        let is_named = self.is_named(&NO_RIGHT) || self.names.contains(&NO_RIGHT_REASON);
        is_named || self.begins(&NO_RIGHT_BEGINNINGS) || self.is_around(&NO_RIGHT_AROUND)
    }

    fn is_named(&self, known: &[&str]) -> bool {
        self.names.iter().any(|name| known.iter().any(|known| name.eq_ignore_ascii_case(known)))
    }

    fn begins(&self, beginnings: &[&str]) -> bool {
        // Some begin with the name of a field that they do not know, which may be anything.
        self.messages.iter().any(|said| beginnings.iter().any(|beginning| said.starts_with(beginning) && !(self.sent)(beginning)))
    }

    fn is_around(&self, pairs: &[(&str, &str)]) -> bool {
        let is_theirs = |said: &str, (begins, goes_on): &(&str, &str)| {
            let whole = if goes_on.is_empty() { begins } else { goes_on };
            said.starts_with(begins) && said.contains(goes_on) && !(self.sent)(whole)
        };
        self.messages.iter().any(|said| pairs.iter().any(|pair| is_theirs(said, pair)))
    }
}

/// Google tells which right is missing: of any but that to ask a model the request may be the cause, by what it names.
fn is_of_other_right(detail: &Value) -> bool {
    let permission = detail.get("metadata").and_then(|metadata| metadata.get("permission")).and_then(Value::as_str);
    detail.get("reason").and_then(Value::as_str) == Some(NO_RIGHT_REASON) && permission.is_some_and(|name| !name.ends_with(".predict"))
}
