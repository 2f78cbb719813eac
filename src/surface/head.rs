//! What every surface asks of a request's head: JSON, and as it is.

use http::request::Parts;
use http::{StatusCode, header};

use crate::error::{Kind, Refusal};

/// Whether the head announces JSON without an encoding; no content type at all is taken for JSON.
pub fn is_json(head: &Parts) -> Result<(), Refusal> {
    let unsupported = |code, message: String| Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Kind::Invalid, code, message);
    if let Some(encoding) = head.headers.get(header::CONTENT_ENCODING).filter(|value| *value != "identity") {
        let encoding = encoding.to_str().unwrap_or("another").chars().take(40).collect::<String>();
        return Err(unsupported(
            "content_encoding",
            format!("The body is encoded as '{encoding}': send it as it is, without content-encoding."),
        ));
    }
    let Some(content_type) = head.headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let text = content_type.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") || essence.to_ascii_lowercase().ends_with("+json") {
        return Ok(());
    }
    let shown: String = essence.chars().take(60).collect();
    Err(unsupported("content_type", format!("The content type is '{shown}': send JSON with the header 'Content-Type: application/json'.")))
}
