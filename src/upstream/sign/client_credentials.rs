//! OAuth's client credentials: an id and a secret exchanged for an access token, at any server.
//!
//! Source: RFC 6749, section 4.4; the client authenticates by the body, and by HTTP Basic where the server wants that (section 2.3.1).

use super::Unsigned;
use super::tokens::{self, Granted, Refused};
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
    /// Whom the token is for (RFC 8707, section 2); not said where absent.
    pub resource: Option<String>,
}

// === impl Client ===

impl Client {
    /// A new token.
    pub async fn fetch(&self) -> Result<Granted, Unsigned> {
        let granted = match self.ask(self.resource.as_deref()).await {
            // Some servers know no resources, and refuse a request that names one.
            Err(refused) if refused.is_of_request && self.resource.is_some() => self.ask(None).await,
            answer => answer,
        };
        granted.map_err(|refused| refused.why)
    }

    async fn ask(&self, resource: Option<&str>) -> Result<Granted, Refused> {
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend(self.scope.as_deref().map(|scope| ("scope", scope)));
        form.extend(resource.map(|resource| ("resource", resource)));
        let in_body = [("client_id", self.id.as_str()), ("client_secret", self.secret.expose())];
        match tokens::ask(&self.token_url, &[form.as_slice(), &in_body].concat(), None).await {
            Err(refused) if refused.is_of_client => tokens::ask(&self.token_url, &form, Some((&self.id, &self.secret))).await,
            answer => answer,
        }
    }
}
