//! An endpoint's address in the parts that a request over HTTP/1.1 is made of, so that none is made of a URL anew.

use std::sync::Arc;

use http::{HeaderValue, Uri};
use url::{Position, Url};

/// Where an endpoint is.
#[derive(Clone, Debug)]
pub struct Address {
    /// `https://host:port`: connections to the same origin are shared.
    pub origin: Arc<str>,
    /// The origin, to connect to.
    pub server: Uri,
    /// What stands in the request's first line.
    pub path: Uri,
    /// The `host` header.
    pub host: HeaderValue,
}

// === impl Address ===

impl Address {
    /// The parts of `url`, or `None` where it has any that such a request cannot say: a user, or another scheme.
    pub fn of(url: &Url) -> Option<Address> {
        if !url.username().is_empty() || url.password().is_some() || !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        let authority = &url[Position::BeforeHost..Position::AfterPort];
        let origin = format!("{}://{authority}", url.scheme());
        let server = Uri::try_from(format!("{origin}/")).ok()?;
        let path = Uri::try_from(&url[Position::BeforePath..Position::AfterQuery]).ok()?;
        Some(Address { origin: origin.into(), server, path, host: HeaderValue::try_from(authority).ok()? })
    }
}
