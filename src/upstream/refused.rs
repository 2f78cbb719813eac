//! A provider's error, read: whose fault it is, and what of it may be told.

use http::StatusCode;

use super::{Failure, Who};
use crate::route::LiveProvider;

/// How providers that answer 400 to a bad credential say so.
const CREDENTIAL_TEXTS: [&str; 5] = ["api_key_invalid", "api key not valid", "incorrect api key", "invalid api key", "invalid_api_key"];

/// The text of a provider's error, with nothing of our credential in it; a failure where it is none of the caller's business.
pub fn error_text(status: StatusCode, text: &[u8], provider: &LiveProvider) -> Result<String, Failure> {
    if status.is_redirection() || status.is_informational() {
        let why = format!("it redirects elsewhere (status {}), which is not followed", status.as_u16());
        return Err(Failure::BadAnswer { provider: Who::of(provider), why });
    }
    let text = without_credential(&String::from_utf8_lossy(text), provider);
    match &provider.credential {
        Some(credential) if status == StatusCode::BAD_REQUEST && is_about_credential(&text) => {
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

fn is_about_credential(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    CREDENTIAL_TEXTS.iter().any(|known| lower.contains(known))
}
