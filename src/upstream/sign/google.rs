//! Google: a service account's key, a user's refresh token, or the machine's own account, each exchanged for an access token.
//!
//! Source: "Using OAuth 2.0 for server to server applications" of Google Identity, and "Authenticate for using REST" of Google Cloud.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde::Deserialize;
use serde_json::json;

use super::Unsigned;
use super::tokens::{self, Granted};
use crate::catalog::env::is_part;
use crate::route::{Credential, Secret};

/// Who asks.
pub enum Account {
    /// A service account.
    Service {
        /// Its address.
        email: String,
        /// Its key's id.
        key_id: String,
        /// Its key.
        key: Box<RsaKeyPair>,
        /// Where tokens are granted.
        token_url: String,
    },
    /// A user who logged in once, by `gcloud auth application-default login`.
    User {
        /// The client that the user logged in with.
        client_id: String,
        /// Its secret.
        client_secret: Secret,
        /// What the user's consent is proven by.
        refresh_token: Secret,
        /// Where tokens are granted.
        token_url: String,
    },
    /// The account of the machine that this runs on, told by a server at this URL.
    Machine(String),
}

/// A credentials file.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum File {
    ServiceAccount {
        client_email: String,
        #[serde(default)]
        private_key_id: String,
        private_key: String,
        #[serde(default = "token_url")]
        token_uri: String,
    },
    AuthorizedUser {
        client_id: String,
        client_secret: String,
        refresh_token: String,
        #[serde(default = "token_url")]
        token_uri: String,
    },
}

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// The variable that names a machine's metadata server.
const METADATA_HOST: &str = "GCE_METADATA_HOST";
/// A service account's assertion is good for so many seconds, the most that is taken.
const ASSERTION_LIFE: u64 = 3600;

fn token_url() -> String {
    "https://oauth2.googleapis.com/token".to_owned()
}

/// Whether a credential is the name of a file that says more.
pub fn is_file(variable: &str, value: &Secret) -> bool {
    variable != METADATA_HOST && !value.expose().trim_start().starts_with('{')
}

// === impl Account ===

impl Account {
    /// From a credentials file that the variable names or holds, or from the metadata server that it names.
    pub fn of(credential: &Credential) -> Result<Account, String> {
        let (variable, value) = (&credential.variable, credential.secret.expose());
        if variable == METADATA_HOST {
            if !is_part(value) {
                return Err(format!("{variable} is no host"));
            }
            return Ok(Account::Machine(format!("http://{value}/computeMetadata/v1/instance/service-accounts/default/token")));
        }
        let text = match is_file(variable, &credential.secret) {
            false => value.to_owned(),
            true => std::fs::read_to_string(value).map_err(|e| format!("the file that {variable} names cannot be read ({e})"))?,
        };
        let bad = |why: &str| format!("the credentials file of {variable} is not right: {why}");
        let file = serde_json::from_str(&text)
            .map_err(|_| bad("it has to be the JSON of a service account's key, or of gcloud's application default login"))?;
        Ok(match file {
            File::ServiceAccount { client_email, private_key_id, private_key, token_uri } => Account::Service {
                email: client_email,
                key_id: private_key_id,
                key: Box::new(read_key(&private_key).ok_or_else(|| bad("its private key is no RSA key"))?),
                token_url: token_uri,
            },
            File::AuthorizedUser { client_id, client_secret, refresh_token, token_uri } => Account::User {
                client_id,
                client_secret: Secret::new(client_secret),
                refresh_token: Secret::new(refresh_token),
                token_url: token_uri,
            },
        })
    }

    /// A new token.
    pub async fn fetch(&self) -> Result<Granted, Unsigned> {
        match self {
            Account::Service { token_url, .. } => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
                let assertion = self.assertion(now).ok_or_else(|| "the service account's key cannot sign".to_owned())?;
                let form = [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", &assertion)];
                tokens::post_form(token_url, &form).await
            }
            Account::User { client_id, client_secret, refresh_token, token_url } => {
                let form = [
                    ("grant_type", "refresh_token"),
                    ("client_id", client_id),
                    ("client_secret", client_secret.expose()),
                    ("refresh_token", refresh_token.expose()),
                ];
                tokens::post_form(token_url, &form).await
            }
            Account::Machine(url) => tokens::get(url).await,
        }
    }

    /// A JSON web token (RFC 7519) that asks for an access token in the service account's name, signed by RS256.
    pub(super) fn assertion(&self, now: u64) -> Option<String> {
        let Account::Service { email, key_id, key, token_url } = self else { return None };
        let head = json!({ "alg": "RS256", "typ": "JWT", "kid": key_id });
        let claims = json!({ "iss": email, "scope": SCOPE, "aud": token_url, "iat": now, "exp": now + ASSERTION_LIFE });
        let encoded = |text: String| URL_SAFE_NO_PAD.encode(text);
        let signed = format!("{}.{}", encoded(head.to_string()), encoded(claims.to_string()));
        let mut signature = vec![0; key.public().modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).ok()?;
        Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Account(…)")
    }
}

/// A private key in PEM (RFC 7468), as PKCS #8 or PKCS #1.
fn read_key(pem: &str) -> Option<RsaKeyPair> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
    let der = STANDARD.decode(body).ok()?;
    RsaKeyPair::from_pkcs8(&der).or_else(|_| RsaKeyPair::from_der(&der)).ok()
}
