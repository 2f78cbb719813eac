//! What a text cites: OpenAI's `annotations`, Mistral's chunks of type `reference`, Perplexity's lists of sources.

use serde_json::{Value, json};

use crate::catalog::Dialect;
use crate::dialect::ir::{Block, Citation, Content};

/// Reads `annotations`: citations of pages, and what else stands there.
pub fn read(json: &str) -> (Vec<Citation>, Vec<Block>) {
    let (mut citations, mut others) = (Vec::new(), Vec::new());
    for value in list(json) {
        match of_page(&value) {
            Some(citation) => citations.push(citation),
            None => others.push(Content::Other { of: Dialect::OpenaiChat, value }.into()),
        }
    }
    (citations, others)
}

/// `{"type": "url_citation", "url_citation": {url, title, start_index, end_index}}`; some leave the inner object out.
fn of_page(value: &Value) -> Option<Citation> {
    let inner = value.get("url_citation").unwrap_or(value);
    let text = |name: &str| inner.get(name).and_then(Value::as_str).map(str::to_owned);
    let place = |name: &str| inner.get(name).and_then(Value::as_u64);
    let url = text("url")?;
    let span = place("start_index").zip(place("end_index")).filter(|(start, end)| start < end);
    let native = Some((Dialect::OpenaiChat, value.clone()));
    Some(Citation { url: Some(url), title: text("title"), cited_text: text("content"), span, native })
}

/// Mistral's `{"type": "reference", "reference_ids": […]}`.
pub fn of_reference(chunk: Value) -> Citation {
    Citation { native: Some((Dialect::OpenaiChat, chunk)), ..Citation::default() }
}

/// Perplexity's sources of a whole answer: what it says most of, or the URLs alone.
pub fn of_sources(search_results: Option<&str>, urls: Option<&str>) -> Vec<Citation> {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let told = list(search_results.unwrap_or_default())
        .into_iter()
        .filter_map(|result| Some(Citation { url: Some(text(&result, "url")?), title: text(&result, "title"), ..Citation::default() }));
    let told: Vec<Citation> = told.collect();
    if !told.is_empty() {
        return told;
    }
    let urls = list(urls.unwrap_or_default()).into_iter().filter_map(|url| Some(url.as_str()?.to_owned()));
    urls.map(|url| Citation { url: Some(url), ..Citation::default() }).collect()
}

/// An annotation of a text of so many characters after `before` others; `None` where nothing can be pointed at.
///
/// Where a citation tells no place of its own, it is of the whole text.
pub fn write(citation: &Citation, before: u64, length: u64) -> Option<Value> {
    let own = citation.native.as_ref().filter(|(of, value)| *of == Dialect::OpenaiChat && is_complete(value));
    if let Some((_, value)) = own {
        return Some(value.clone());
    }
    let url = citation.url.as_deref()?;
    let (start, end) = citation.span.unwrap_or((0, length));
    let (start, end) = (start + before, end + before);
    let title = citation.title.as_deref().unwrap_or(url);
    Some(json!({ "type": "url_citation", "url_citation": { "url": url, "title": title, "start_index": start, "end_index": end } }))
}

/// Whether it has all that OpenAI's SDKs require.
fn is_complete(annotation: &Value) -> bool {
    let inner = annotation.get("url_citation");
    inner.is_some_and(|inner| {
        ["url", "title", "start_index", "end_index"].iter().all(|name| inner.get(*name).is_some_and(|value| !value.is_null()))
    })
}

fn list(json: &str) -> Vec<Value> {
    serde_json::from_str(json).unwrap_or_default()
}
