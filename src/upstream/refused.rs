//! A provider's error, read: whose fault it is, and what of it may be told.

use http::StatusCode;

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

/// Some providers repeat what they were sent.
fn without_credential(text: &str, provider: &LiveProvider) -> String {
    match &provider.credential {
        Some(credential) => text.replace(credential.secret.expose(), "…"),
        None => text.to_owned(),
    }
}

fn is_about_credential(status: StatusCode, text: &str) -> bool {
    let known: &[&str] = match status {
        StatusCode::BAD_REQUEST => &CREDENTIAL_TEXTS,
        StatusCode::FORBIDDEN => &AWS_TEXTS,
        _ => return false,
    };
    let lower = text.to_ascii_lowercase();
    known.iter().any(|known| lower.contains(known))
}
