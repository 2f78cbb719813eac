//! Citations: `{title, source, sourceContent: [{text}], location: {web | documentChar | documentPage | …}}`.
//!
//! Source: `Citation` and `CitationsDelta` in the Amazon Bedrock API reference.

use serde_json::{Map, Value, json};

use super::fields::{text, texts};
use crate::catalog::Dialect;
use crate::dialect::ir::Citation;

/// Reads one.
pub fn read(value: Value) -> Citation {
    let source = text(&value, "source").filter(|source| source.starts_with("http://") || source.starts_with("https://"));
    let url = value.pointer("/location/web/url").and_then(Value::as_str).or(source).map(str::to_owned);
    let cited = value.get("sourceContent").map(texts).unwrap_or_default().concat();
    Citation {
        url,
        title: text(&value, "title").map(str::to_owned),
        cited_text: (!cited.is_empty()).then_some(cited),
        span: None,
        native: Some((Dialect::BedrockConverse, value)),
    }
}

/// Writes one: as it came, or made of what others know.
pub fn write(citation: &Citation) -> Value {
    if let Some((Dialect::BedrockConverse, value)) = &citation.native {
        return value.clone();
    }
    let mut out = Map::new();
    out.extend(citation.title.as_ref().map(|title| ("title".to_owned(), Value::from(title.as_str()))));
    out.extend(citation.cited_text.as_ref().map(|cited| ("sourceContent".to_owned(), json!([{ "text": cited }]))));
    if let Some(url) = &citation.url {
        out.insert("source".to_owned(), Value::from(url.as_str()));
        out.insert("location".to_owned(), json!({ "web": { "url": url } }));
    }
    Value::Object(out)
}
