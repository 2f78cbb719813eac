//! A provider's error, read: whose fault it is, and what of it may be told.

use http::StatusCode;
use serde_json::Value;

use super::{Failure, Who};
use crate::route::LiveProvider;

/// How providers that answer 400 to a bad credential say it.
const CREDENTIAL_TEXTS: [&str; 5] = ["api_key_invalid", "api key not valid", "incorrect api key", "invalid api key", "invalid_api_key"];
/// How AWS says so, with a 403.
const AWS_TEXTS: [&str; 4] = [
    "the security token included in the request is",
    "the request signature we calculated does not match",
    "please make sure your api key is valid",
    "bearer token has expired",
];

/// The text of a provider's error, with nothing of our credential in it; a failure where it is none of the caller's business.
pub fn error_text(status: StatusCode, text: &[u8], provider: &LiveProvider) -> Result<String, Failure> {
    if status.is_redirection() || status.is_informational() {
        let why = format!("it redirects elsewhere (status {}), which is not followed", status.as_u16());
        return Err(Failure::BadAnswer { provider: Who::of(provider), why });
    }
    let text = without_credential(&String::from_utf8_lossy(text), provider);
    match &provider.credential {
        Some(credential) if is_about_credential(status, &text) => {
            let rest = credential.refused();
            Err(Failure::CredentialRefused { provider: Who::of(provider), variable: credential.variable.clone(), rest })
        }
        _ => Ok(text),
    }
}

/// A secret has at least so many characters.
const SHORTEST_SECRET: usize = 8;

/// Some providers repeat what they were sent.
fn without_credential(text: &str, provider: &LiveProvider) -> String {
    match &provider.credential {
        // What is shorter is a word such as `none`, which keeps nothing secret and may stand anywhere.
        Some(credential) if credential.secret.expose().len() >= SHORTEST_SECRET => text.replace(credential.secret.expose(), "…"),
        Some(_) => text.to_owned(),
        None => text.to_owned(),
    }
}

fn is_about_credential(status: StatusCode, text: &str) -> bool {
    let known: &[&str] = match status {
        StatusCode::BAD_REQUEST => &CREDENTIAL_TEXTS,
        StatusCode::FORBIDDEN => &AWS_TEXTS,
        _ => return false,
    };
    // Providers repeat what they were sent, and a caller's own words must not put our credential to rest: only the error's name counts, or
    // how its message begins.
    let says = |said: &str| {
        let said = said.trim_start().to_ascii_lowercase();
        known.iter().any(|known| said.starts_with(known))
    };
    match serde_json::from_str::<Value>(text) {
        Ok(value) => {
            let value = value.get(0).unwrap_or(&value);
            let error = value.get("error").filter(|error| error.is_object()).unwrap_or(value);
            let details = error.get("details").and_then(Value::as_array).into_iter().flatten().filter_map(|detail| detail.get("reason"));
            let named = ["code", "status", "type", "reason"].iter().filter_map(|name| error.get(*name));
            let messages = ["message", "Message", "detail"].iter().filter_map(|name| error.get(*name)).chain(value.get("error"));
            named.chain(details).chain(messages).filter_map(Value::as_str).any(says)
        }
        Err(_) => says(text),
    }
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
        bad.iter().for_each(|text| assert!(is_about_credential(StatusCode::BAD_REQUEST, text), "{text}"));
        others.iter().for_each(|text| assert!(!is_about_credential(StatusCode::BAD_REQUEST, text), "{text}"));
    }
}
