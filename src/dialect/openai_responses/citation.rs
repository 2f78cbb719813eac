//! Annotations of a text: `url_citation`, `file_citation` and their kin, read and written.

use serde_json::{Value, json};

use crate::catalog::Dialect;
use crate::dialect::ir::Citation;

/// Reads an annotation; what the form has no place for is kept as it came.
pub fn read(value: Value) -> Citation {
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let at = |name: &str| value.get(name).and_then(Value::as_u64);
    let citation = Citation {
        url: text("url"),
        title: text("title").or_else(|| text("filename")).filter(|title| !title.is_empty()),
        cited_text: None,
        span: at("start_index").zip(at("end_index")),
        native: None,
    };
    match write(&citation, 0) == value {
        true => citation,
        false => Citation { native: Some((Dialect::OpenaiResponses, value)), ..citation },
    }
}

/// Writes an annotation for a text of so many characters; what cites the whole text spans it.
pub fn write(citation: &Citation, length: u64) -> Value {
    if let Some((Dialect::OpenaiResponses, value)) = &citation.native {
        return value.clone();
    }
    let title = citation.title.as_deref().unwrap_or_default();
    let (start, end) = citation.span.unwrap_or((0, length));
    match &citation.url {
        Some(url) => json!({ "type": "url_citation", "url": url, "title": title, "start_index": start, "end_index": end }),
        // A passage of a document in the request: there is a name, and no file of the provider's.
        None => json!({ "type": "file_citation", "file_id": "", "filename": title, "index": end }),
    }
}
