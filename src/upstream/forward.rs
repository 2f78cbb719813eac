//! Requests to REST services, by the general client: sent once, as they are.

use http::{Request, Response};

use super::Client;
use super::failure::{Failure, Who};

// === impl Client ===

impl Client {
    /// Sends a request; no redirect is followed, and whoever waits sets the time.
    pub async fn forward(&self, request: Request<reqwest::Body>, who: &Who) -> Result<Response<reqwest::Body>, Failure> {
        // A URL may hold a credential.
        let bad = |e: reqwest::Error| Failure::of_sending(who, &e.without_url());
        let request = reqwest::Request::try_from(request).map_err(bad)?;
        match self.http.execute(request).await {
            Ok(response) => Ok(response.into()),
            Err(e) if e.is_connect() => Err(Failure::of_connecting(who, &e.without_url())),
            Err(e) => Err(bad(e)),
        }
    }
}
