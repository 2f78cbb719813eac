//! What a browser wants to know before a page of a named origin may call `/mcp`, and read what it answers.
//!
//! Source: "CORS protocol" of the Fetch standard.

use axum::body::Body;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use url::Url;

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE");
/// What a page may read beside the body.
const EXPOSED: HeaderValue = HeaderValue::from_static("mcp-session-id, mcp-protocol-version, www-authenticate, retry-after, x-request-id");
const ORIGIN: HeaderValue = HeaderValue::from_static("origin");
/// Seconds for which a browser need not ask again.
const REMEMBERED: HeaderValue = HeaderValue::from_static("600");

/// The origin of a request, where it is one of these.
pub fn origin(headers: &HeaderMap, allowed: &[String]) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    let asked = Url::parse(origin.to_str().ok()?).ok()?;
    allowed.iter().any(|allowed| is_of(&asked, allowed)).then(|| origin.clone())
}

/// Without a port, or with `*` for it, an origin is one of any port.
fn is_of(asked: &Url, allowed: &str) -> bool {
    let Ok(allowed) = Url::parse(allowed.strip_suffix(":*").unwrap_or(allowed)) else { return false };
    let has_port = allowed.port().is_none_or(|port| asked.port() == Some(port));
    (asked.scheme(), asked.host()) == (allowed.scheme(), allowed.host()) && has_port
}

/// Whether a request only asks whether another may come: it has no key.
pub fn is_preflight(head: &Parts) -> bool {
    head.method == Method::OPTIONS && head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Says that another may come, with whatever headers it has.
pub fn preflight(head: &Parts) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, REMEMBERED);
    if let Some(asked) = head.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    response
}

/// Lets a page of this origin read a response.
pub fn readable(mut response: Response<Body>, origin: Option<HeaderValue>) -> Response<Body> {
    if let Some(origin) = origin {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        headers.append(header::VARY, ORIGIN);
    }
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_origin_is_known_by_its_scheme_host_and_port() {
        let is_known = |asked: &str, allowed: &str| {
            let headers = HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_str(asked).unwrap())]);
            origin(&headers, &[allowed.to_owned()]).is_some()
        };
        for (asked, allowed) in
            [("https://a.example", "https://a.example"), ("http://localhost:5173", "http://localhost:*"), ("http://h:81", "http://h:81")]
        {
            assert!(is_known(asked, allowed), "{asked} {allowed}");
        }
        for (asked, allowed) in [
            ("http://a.example", "https://a.example"),
            ("https://a.example.evil", "https://a.example"),
            ("http://h:82", "http://h:81"),
            ("null", "https://a.example"),
        ] {
            assert!(!is_known(asked, allowed), "{asked} {allowed}");
        }
    }
}
