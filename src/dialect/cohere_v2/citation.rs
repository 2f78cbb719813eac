//! Citations: which words of an answer rest on which document or tool result.
//!
//! Source: `Citation` in Cohere's v2 chat reference; `start` and `end` count characters of the content block that it is in.

use serde_json::{Map, Value, json};

use crate::catalog::Dialect;
use crate::dialect::ir::Citation;

/// Reads a citation, and the index of the content block that it is in.
pub fn read(value: Value) -> (Option<usize>, Citation) {
    let Value::Object(mut members) = value else { return (None, Citation::default()) };
    let block = members.remove("content_index").and_then(|index| usize::try_from(index.as_u64()?).ok());
    let source = members.get("sources").and_then(|sources| sources.get(0));
    let facts = source.and_then(|source| source.get("document").or_else(|| source.get("tool_output")));
    let said = |names: &[&str]| names.iter().find_map(|name| facts?.get(name)?.as_str()).map(str::to_owned);
    let place = |name: &str| members.get(name).and_then(Value::as_u64);
    let citation = Citation {
        url: said(&["url"]),
        title: said(&["title"]),
        cited_text: said(&["text", "snippet"]).or_else(|| members.get("text")?.as_str().map(str::to_owned)),
        span: place("start").zip(place("end")),
        native: None,
    };
    (block, Citation { native: Some((Dialect::CohereV2, Value::Object(members))), ..citation })
}

/// Writes a citation; `text` is the content block as far as it is known, `length` its characters.
pub fn write(citation: &Citation, text: &str, length: u64, block: usize) -> Value {
    let mut members = match &citation.native {
        Some((Dialect::CohereV2, Value::Object(members))) => members.clone(),
        _ => foreign(citation, text, length),
    };
    members.insert("content_index".to_owned(), Value::from(block));
    Value::Object(members)
}

/// A citation of another dialect's: a document with what is known of it.
fn foreign(citation: &Citation, text: &str, length: u64) -> Map<String, Value> {
    let (start, end) = citation.span.unwrap_or((0, length));
    let cited: String = text.chars().skip(start as usize).take(end.saturating_sub(start) as usize).collect();
    let id = citation.url.as_deref().or(citation.title.as_deref()).unwrap_or("document");
    let mut document = Map::from_iter([
        ("id".to_owned(), Value::from(id)),
        ("title".to_owned(), Value::from(citation.title.as_deref().unwrap_or(id))),
        ("text".to_owned(), Value::from(citation.cited_text.as_deref().unwrap_or_default())),
    ]);
    document.extend(citation.url.iter().map(|url| ("url".to_owned(), Value::from(url.as_str()))));
    let source = json!({ "type": "document", "id": id, "document": document });
    Map::from_iter([
        ("start".to_owned(), Value::from(start)),
        ("end".to_owned(), Value::from(end)),
        ("text".to_owned(), Value::from(cited)),
        ("sources".to_owned(), Value::from(vec![source])),
        ("type".to_owned(), Value::from("TEXT_CONTENT")),
    ])
}
