//! What an answer was found with: `groundingMetadata` and `citationMetadata` as citations, and citations as the former.
//!
//! Source: `GroundingMetadata` in the Gemini API reference: segments count bytes of UTF-8, and chunks are named by their place.

use serde_json::{Map, Value, json};

use crate::catalog::Dialect;
use crate::dialect::ir::Citation;

/// Of an answer's text so much is kept to turn bytes into characters; what is cited beyond it has no place told.
const KEPT: usize = 64 << 10;

/// An answer's text as far as it is kept, to find the places that are cited.
#[derive(Debug, Default)]
pub struct Said {
    text: String,
    is_cut: bool,
}

/// Citations written as grounding metadata, gathered.
#[derive(Debug, Default)]
pub struct Grounding {
    chunks: Vec<Value>,
    supports: Vec<Value>,
    sources: Vec<Value>,
}

// === impl Said ===

impl Said {
    /// More text.
    pub fn add(&mut self, text: &str) {
        match !self.is_cut && self.text.len() + text.len() <= KEPT {
            true => self.text.push_str(text),
            false => self.is_cut = true,
        }
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// A segment's place in characters.
    fn span(&self, segment: &Value) -> Option<(u64, u64)> {
        let at = |name: &str| segment.get(name).and_then(Value::as_u64).and_then(|at| usize::try_from(at).ok());
        let (start, end) = (at("startIndex").unwrap_or(0), at("endIndex")?);
        let words = segment.get("text").and_then(Value::as_str).filter(|words| !words.is_empty());
        let found = self.text.get(start..end).filter(|here| words.is_none_or(|words| words == *here));
        // Indices may count from the beginning of a part: then the words themselves are looked for.
        let start = match (found, words) {
            (Some(_), _) => start,
            (None, words) => self.text.find(words?)?,
        };
        let before = self.text.get(..start)?.chars().count() as u64;
        let inside = found.or(words)?.chars().count() as u64;
        Some((before, before + inside))
    }

    /// A place in characters, counted from the byte `from`, as bytes of the whole, with the words there.
    fn bytes(&self, from: usize, span: (u64, u64)) -> Option<(usize, usize, &str)> {
        let rest = self.text.get(from..)?;
        let at = |count: u64| {
            let mut places = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            places.nth(usize::try_from(count).ok()?)
        };
        let (start, end) = (at(span.0)?, at(span.1)?);
        Some((from + start, from + end, rest.get(start..end)?))
    }
}

/// Reads grounding metadata: a citation for each chunk that a segment rests on, and for each chunk that none does.
pub fn citations(metadata: &Value, said: &Said) -> Vec<Citation> {
    let list = |name: &str| metadata.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let chunks: Vec<Option<Citation>> = list("groundingChunks").iter().map(of_chunk).collect();
    let mut is_used = vec![false; chunks.len()];
    let mut citations = Vec::new();
    for support in list("groundingSupports") {
        let span = support.get("segment").and_then(|segment| said.span(segment));
        let indices = support.get("groundingChunkIndices").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for at in indices.iter().filter_map(|index| usize::try_from(index.as_u64()?).ok()) {
            if let (Some(Some(chunk)), Some(used)) = (chunks.get(at), is_used.get_mut(at)) {
                *used = true;
                citations.push(Citation { span, ..chunk.clone() });
            }
        }
    }
    let unused = chunks.into_iter().zip(is_used).filter(|(_, used)| !used).filter_map(|(chunk, _)| chunk);
    citations.extend(unused);
    citations
}

fn of_chunk(chunk: &Value) -> Option<Citation> {
    let (_, source) = chunk.as_object()?.iter().find(|(_, source)| source.is_object())?;
    let text = |name: &str| source.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let citation = Citation {
        url: text("uri").or_else(|| text("sourceUri")),
        title: text("title").or_else(|| text("fileSearchStore")),
        cited_text: text("text"),
        ..Citation::default()
    };
    Some(citation).filter(|citation| *citation != Citation::default())
}

/// Reads a source of `citationMetadata`.
pub fn of_source(source: Value, said: &Said) -> Citation {
    let text = |name: &str| source.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    Citation { url: text("uri"), title: text("title"), cited_text: None, span: said.span(&source), native: Some((Dialect::Gemini, source)) }
}

// === impl Grounding ===

impl Grounding {
    /// Adds a citation of the text that begins at the byte `from`.
    pub fn add(&mut self, citation: Citation, said: &Said, from: usize) {
        if let Some((Dialect::Gemini, source)) = citation.native {
            self.sources.push(source);
            return;
        }
        let place = citation.span.and_then(|span| said.bytes(from, span));
        let chunk = match (citation.url, citation.title, citation.cited_text) {
            (Some(uri), title, _) => json!({ "web": { "title": title.as_deref().unwrap_or(uri.as_str()), "uri": uri } }),
            (None, None, None) => return,
            (None, title, text) => {
                let members = [("title", title), ("text", text)];
                let members = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?))));
                json!({ "retrievedContext": members.collect::<Map<_, _>>() })
            }
        };
        let at = self.chunks.iter().position(|known| *known == chunk).unwrap_or(self.chunks.len());
        if at == self.chunks.len() {
            self.chunks.push(chunk);
        }
        if let Some((start, end, words)) = place {
            let segment = json!({ "startIndex": start, "endIndex": end, "text": words });
            self.supports.push(json!({ "segment": segment, "groundingChunkIndices": [at] }));
        }
    }

    /// Writes what was gathered into a candidate; metadata that is there already says it all.
    pub fn write(self, candidate: &mut Map<String, Value>) {
        if !self.sources.is_empty() {
            candidate.insert("citationMetadata".to_owned(), json!({ "citationSources": self.sources }));
        }
        if !self.chunks.is_empty() && !candidate.contains_key("groundingMetadata") {
            let metadata = json!({ "groundingChunks": self.chunks, "groundingSupports": self.supports });
            candidate.insert("groundingMetadata".to_owned(), metadata);
        }
    }
}
