//! OAuth's client credentials: an id and a secret exchanged for an access token, at any server.
//!
//! Source: RFC 6749, section 4.4; the client authenticates by the body (section 2.3.1).

use super::tokens::{self, Granted};
use crate::route::Secret;

/// Who asks, where, and for what.
#[derive(Debug)]
pub struct Client {
    /// The token endpoint.
    pub token_url: String,
    /// The client.
    pub id: String,
    /// Its secret.
    pub secret: Secret,
    /// What the token is to allow; the server's own default where absent.
    pub scope: Option<String>,
}

// === impl Client ===

impl Client {
    /// A new token.
    pub async fn fetch(&self) -> Result<Granted, String> {
        let mut form = vec![("grant_type", "client_credentials"), ("client_id", &self.id), ("client_secret", self.secret.expose())];
        form.extend(self.scope.as_deref().map(|scope| ("scope", scope)));
        tokens::post_form(&self.token_url, &form).await
    }
}
