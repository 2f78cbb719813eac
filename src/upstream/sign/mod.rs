//! How a request is shown to be ours where a credential is not simply sent along: AWS signatures, and tokens that a credential is exchanged for.

mod client_credentials;
mod entra;
mod google;
mod sigv4;
#[cfg(test)]
mod tests;
mod tokens;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, header};
use reqwest::Url;

use crate::catalog::{Auth, Environment};
use crate::route::{Credential, Trace};
pub use client_credentials::Client;
pub use google::is_file;
pub use tokens::{Source, Tokens, Whose};

/// Makes requests to one provider ours.
#[derive(Debug)]
pub enum Signer {
    /// AWS Signature Version 4.
    Sigv4(sigv4::Keys),
    /// A bearer token with a short life.
    Token(Arc<Tokens>),
}

/// Why a request could not be made ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsigned {
    /// The token server does not take our credential. Otherwise nothing is known of it.
    pub is_refused: bool,
    /// What is told of it.
    pub told: String,
    /// What the token server says besides, which may name what is ours: for whoever runs this gateway.
    pub described: Option<String>,
}

// === impl Signer ===

impl Signer {
    /// The signer for a way of authentication; `None` where the credential is sent as it is. The error says what is missing.
    pub fn of(auth: &Auth, provider: &str, credential: Option<&Credential>, env: &Environment) -> Result<Option<Arc<Signer>>, String> {
        let Some(credential) = credential else { return Ok(None) };
        let tokens = |source| {
            Signer::Token(Tokens::new(source, Whose { provider: Some(provider.to_owned()), credential: credential.variable.clone() }))
        };
        let signer = match auth {
            Auth::Sigv4 => Signer::Sigv4(sigv4::Keys::of(credential, env)?),
            Auth::Gcp => tokens(Source::Google(google::Account::of(credential)?)),
            Auth::AzureEntra => tokens(Source::Entra(entra::Application::of(credential, env)?)),
            Auth::Bearer | Auth::Header(_) | Auth::Query(_) | Auth::None => return Ok(None),
        };
        Ok(Some(Arc::new(signer)))
    }

    /// Adds what makes a POST of JSON ours; the error says why that cannot be had now.
    pub async fn sign(&self, url: &Url, body: &[Bytes], headers: &mut HeaderMap) -> Result<(), Unsigned> {
        match self {
            Signer::Sigv4(keys) => Ok(keys.sign(jiff::Timestamp::now(), url, body, headers)?),
            Signer::Token(tokens) => {
                let token = tokens.get().await?;
                headers.insert(header::AUTHORIZATION, token);
                Ok(())
            }
        }
    }

    /// Whether a token is granted for the credential; `None` where nobody can be asked without a request.
    pub async fn try_out(&self) -> Option<Result<(), Unsigned>> {
        match self {
            Signer::Sigv4(_) => None,
            Signer::Token(tokens) => Some(tokens.get().await.map(|_| ())),
        }
    }

    /// What finds what is added, where that is a secret by itself.
    pub fn trace(&self) -> Option<Trace> {
        match self {
            Signer::Sigv4(keys) => keys.trace.clone(),
            Signer::Token(tokens) => tokens.trace(),
        }
    }

    /// The provider refused what was added: a token that is held is not used again.
    pub fn refused(&self) {
        if let Signer::Token(tokens) = self {
            tokens.forget();
        }
    }
}

// === impl Unsigned ===

impl From<String> for Unsigned {
    fn from(told: String) -> Unsigned {
        Unsigned { is_refused: false, told, described: None }
    }
}

impl fmt::Display for Unsigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told)
    }
}

impl std::error::Error for Unsigned {}

/// The variables that a way of authentication reads beside the credential's own.
pub fn variables(auth: &Auth) -> &'static [&'static str] {
    match auth {
        Auth::Sigv4 => &sigv4::VARIABLES,
        Auth::AzureEntra => &entra::VARIABLES,
        Auth::Gcp | Auth::Bearer | Auth::Header(_) | Auth::Query(_) | Auth::None => &[],
    }
}

/// A variable that a way of authentication needs beside the credential's own.
fn needed<'a>(env: &'a Environment, name: &str) -> Result<&'a str, String> {
    env.get(name).ok_or_else(|| format!("{name} is not set, which it needs beside its credential"))
}
