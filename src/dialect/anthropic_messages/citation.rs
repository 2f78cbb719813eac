//! Citations: what a text block says of its sources.
//!
//! Source: the `citations` of a text block in the Messages reference: `char_location`, `page_location`, `content_block_location`,
//! `web_search_result_location`, `search_result_location`.

use serde_json::{Value, json};

use crate::catalog::Dialect;
use crate::dialect::ir::Citation;

/// Reads one; what this form has no word for stays in its native form.
pub fn decode(value: Value) -> Citation {
    let text = |name: &str| value.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let source = text("source");
    let is_url = |text: &String| text.starts_with("http://") || text.starts_with("https://");
    Citation {
        url: text("url").or_else(|| source.clone().filter(is_url)),
        title: text("title").or_else(|| text("document_title")).or_else(|| source.filter(|source| !is_url(source))),
        cited_text: text("cited_text"),
        span: None,
        native: Some((Dialect::AnthropicMessages, value)),
    }
}

/// As it came, where it is of this dialect.
pub fn native(citation: &Citation) -> Option<&Value> {
    citation.native.as_ref().filter(|(of, _)| *of == Dialect::AnthropicMessages).map(|(_, value)| value)
}

/// Writes one for a caller, with all members that its SDKs require; `None` where it names no source.
pub fn encode(citation: &Citation) -> Option<Value> {
    if let Some(own) = native(citation) {
        return Some(own.clone());
    }
    let cited_text = citation.cited_text.as_deref().unwrap_or_default();
    match (&citation.url, &citation.title) {
        (Some(url), title) => Some(json!({
            "type": "web_search_result_location",
            "cited_text": cited_text,
            "encrypted_index": "",
            "title": title,
            "url": url,
        })),
        (None, Some(title)) => Some(json!({
            "type": "search_result_location",
            "cited_text": cited_text,
            "source": title,
            "title": title,
            "search_result_index": 0,
            "start_block_index": 0,
            "end_block_index": 0,
        })),
        (None, None) => None,
    }
}
