//! Images, documents, video and audio: `{format, source: {bytes | s3Location | text}}`, a document with a name besides.
//!
//! Source: `ImageBlock`, `DocumentBlock`, `VideoBlock` and `AudioBlock` in the Amazon Bedrock API reference.

use serde_json::{Map, Value, json};

use super::fields::{text, texts};
use crate::catalog::Dialect;
use crate::dialect::ir::{Content, Media, MediaKind, MediaSource};
use crate::error::Refusal;

/// The names of a request's documents, which may not be the same twice.
#[derive(Debug, Default)]
pub struct Names(Vec<String>);

/// Each kind's formats with their media types; where a media type has several, the first is written.
const FORMATS: [(MediaKind, &str, &str); 39] = [
    (MediaKind::Image, "png", "image/png"),
    (MediaKind::Image, "jpeg", "image/jpeg"),
    (MediaKind::Image, "jpeg", "image/jpg"),
    (MediaKind::Image, "gif", "image/gif"),
    (MediaKind::Image, "webp", "image/webp"),
    (MediaKind::Document, "pdf", "application/pdf"),
    (MediaKind::Document, "csv", "text/csv"),
    (MediaKind::Document, "doc", "application/msword"),
    (MediaKind::Document, "docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    (MediaKind::Document, "xls", "application/vnd.ms-excel"),
    (MediaKind::Document, "xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    (MediaKind::Document, "html", "text/html"),
    (MediaKind::Document, "txt", "text/plain"),
    (MediaKind::Document, "md", "text/markdown"),
    (MediaKind::Document, "md", "text/x-markdown"),
    (MediaKind::Video, "mp4", "video/mp4"),
    (MediaKind::Video, "mkv", "video/x-matroska"),
    (MediaKind::Video, "mov", "video/quicktime"),
    (MediaKind::Video, "webm", "video/webm"),
    (MediaKind::Video, "flv", "video/x-flv"),
    (MediaKind::Video, "mpeg", "video/mpeg"),
    (MediaKind::Video, "mpg", "video/mpeg"),
    (MediaKind::Video, "wmv", "video/x-ms-wmv"),
    (MediaKind::Video, "three_gp", "video/3gpp"),
    (MediaKind::Audio, "mp3", "audio/mpeg"),
    (MediaKind::Audio, "mp3", "audio/mp3"),
    (MediaKind::Audio, "wav", "audio/wav"),
    (MediaKind::Audio, "wav", "audio/x-wav"),
    (MediaKind::Audio, "flac", "audio/flac"),
    (MediaKind::Audio, "ogg", "audio/ogg"),
    (MediaKind::Audio, "opus", "audio/opus"),
    (MediaKind::Audio, "aac", "audio/aac"),
    (MediaKind::Audio, "m4a", "audio/x-m4a"),
    (MediaKind::Audio, "mp4", "audio/mp4"),
    (MediaKind::Audio, "webm", "audio/webm"),
    (MediaKind::Audio, "mka", "audio/x-matroska"),
    (MediaKind::Audio, "mpeg", "audio/mpeg"),
    (MediaKind::Audio, "mpga", "audio/mpeg"),
    (MediaKind::Audio, "pcm", "audio/pcm"),
];
/// How the base64 of some formats begins, for media that nothing else tells of.
const MAGIC: [(&str, &str); 6] =
    [("iVBORw0KGgo", "png"), ("/9j/", "jpeg"), ("R0lGOD", "gif"), ("UklGR", "webp"), ("JVBERi", "pdf"), ("SUQz", "mp3")];
const LONGEST_NAME: usize = 200;

/// The kind of the block of that name.
pub fn kind(name: &str) -> Option<MediaKind> {
    Some(match name {
        "image" => MediaKind::Image,
        "document" => MediaKind::Document,
        "video" => MediaKind::Video,
        "audio" => MediaKind::Audio,
        _ => return None,
    })
}

/// Reads a block of media; the error names what it lacks.
pub fn read(kind: MediaKind, block: &Value) -> Result<Content, String> {
    let label = label(kind);
    let source = block.get("source").and_then(Value::as_object).ok_or_else(|| format!("'{label}' has to have a 'source'"))?;
    let format = text(block, "format");
    let Some(place) = read_source(source) else {
        return Ok(Content::Other { of: Dialect::BedrockConverse, value: json!({ label: block }) });
    };
    let is_text = matches!(place, MediaSource::Text(_));
    let format = format.or(is_text.then_some("txt"));
    let media_type = format.map(|format| media_type(kind, format));
    let mut media = Media::new(kind, place, media_type);
    media.name = text(block, "name").map(str::to_owned);
    media.context = text(block, "context").map(str::to_owned);
    media.citable = block.pointer("/citations/enabled").and_then(Value::as_bool).unwrap_or(false);
    Ok(Content::Media(media))
}

fn read_source(source: &Map<String, Value>) -> Option<MediaSource> {
    if let Some(bytes) = source.get("bytes").and_then(Value::as_str) {
        return Some(MediaSource::Base64(bytes.to_owned()));
    }
    if let Some(text) = source.get("text").and_then(Value::as_str) {
        return Some(MediaSource::Text(text.to_owned()));
    }
    if let Some(content) = source.get("content") {
        return Some(MediaSource::Text(texts(content).join("\n\n")));
    }
    let s3 = source.get("s3Location")?;
    // A bucket of another account's has no form outside this dialect.
    let uri = text(s3, "uri").filter(|_| s3.get("bucketOwner").is_none())?;
    Some(MediaSource::Url(uri.to_owned()))
}

/// A search result as the document that it is to any other dialect.
pub fn read_search_result(block: &Value) -> Content {
    let mut media = Media::new(MediaKind::Document, MediaSource::Text(search_text(block)), Some("text/plain".to_owned()));
    media.name = text(block, "title").map(str::to_owned);
    media.context = text(block, "source").map(str::to_owned);
    media.citable = block.pointer("/citations/enabled").and_then(Value::as_bool).unwrap_or(false);
    Content::Media(media)
}

fn search_text(block: &Value) -> String {
    block.get("content").map(texts).unwrap_or_default().join("\n\n")
}

/// Writes a block of media.
pub fn write(media: &Media, names: &mut Names) -> Result<Value, Refusal> {
    let label = label(media.kind);
    let source = match &media.source {
        MediaSource::Base64(bytes) => json!({ "bytes": bytes }),
        MediaSource::Text(text) => json!({ "text": text }),
        MediaSource::Url(url) if url.starts_with("s3://") => json!({ "s3Location": { "uri": url } }),
        MediaSource::Url(_) => {
            return Err(inexpressible(format!("Bedrock does not fetch {label}s from the web: send this one inline, as base64.")));
        }
        MediaSource::File { .. } => {
            return Err(inexpressible(format!("A {label} uploaded to one provider cannot be sent to another: send it inline, as base64.")));
        }
    };
    let format = format_of(media).ok_or_else(|| {
        let got = media.media_type.as_deref().unwrap_or("unknown");
        inexpressible(format!(
            "Bedrock takes no {label} of the type '{got}': convert it to one that it takes, such as {}.",
            first(media.kind)
        ))
    })?;
    let mut block = Map::new();
    block.insert("format".to_owned(), Value::from(format));
    block.insert("source".to_owned(), source);
    if media.kind == MediaKind::Document {
        block.insert("name".to_owned(), Value::from(names.take(media.name.as_deref())));
        block.extend(media.context.as_ref().map(|context| ("context".to_owned(), Value::from(context.as_str()))));
        if media.citable {
            block.insert("citations".to_owned(), json!({ "enabled": true }));
        }
    }
    Ok(json!({ label: block }))
}

fn inexpressible(message: String) -> Refusal {
    Refusal::invalid("not_expressible", message).with_param("messages")
}

/// The format by the media type, else by the ending of a name or an address, else by how the bytes begin.
fn format_of(media: &Media) -> Option<&'static str> {
    if let Some(media_type) = &media.media_type {
        let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let known = FORMATS.iter().find(|(kind, _, known)| *kind == media.kind && *known == essence);
        let is_text = essence.starts_with("text/") || essence.ends_with("json") || essence.ends_with("xml") || essence.ends_with("yaml");
        let as_text = (media.kind == MediaKind::Document && is_text).then_some("txt");
        return known.map(|(_, format, _)| *format).or(as_text);
    }
    let of_kind = |ending: &str| FORMATS.iter().find(|(kind, format, _)| *kind == media.kind && *format == ending).map(|(_, f, _)| *f);
    let by_ending = |name: &str| {
        let ending = name.rsplit_once('.')?.1.to_ascii_lowercase();
        of_kind(if ending == "jpg" { "jpeg" } else { &ending })
    };
    let by_source = match &media.source {
        MediaSource::Text(_) => Some("txt"),
        MediaSource::Url(url) => by_ending(url),
        MediaSource::Base64(data) => MAGIC.iter().find(|(magic, _)| data.starts_with(magic)).and_then(|(_, format)| of_kind(format)),
        MediaSource::File { .. } => None,
    };
    media.name.as_deref().and_then(by_ending).or(by_source).or(Some(first(media.kind)))
}

fn media_type(kind: MediaKind, format: &str) -> String {
    let found = FORMATS.iter().find(|(of, known, _)| *of == kind && *known == format);
    found.map_or_else(|| format!("{}/{format}", label(kind)), |(.., media_type)| (*media_type).to_owned())
}

fn first(kind: MediaKind) -> &'static str {
    FORMATS.iter().find(|(of, ..)| *of == kind).map_or("", |(_, format, _)| *format)
}

fn label(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Image => "image",
        MediaKind::Document => "document",
        MediaKind::Video => "video",
        MediaKind::Audio => "audio",
    }
}

// === impl Names ===

impl Names {
    /// A name that is not taken: letters, digits, hyphens, round and square brackets, and single spaces.
    fn take(&mut self, wanted: Option<&str>) -> String {
        let allowed = |c: char| if c.is_ascii_alphanumeric() || "-()[]".contains(c) { c } else { ' ' };
        let clean: String = wanted.unwrap_or_default().chars().map(allowed).collect();
        let clean = clean.split_whitespace().collect::<Vec<_>>().join(" ");
        let clean: String = clean.chars().take(LONGEST_NAME - 8).collect();
        let mut name = match clean.trim() {
            "" => format!("Document {}", self.0.len() + 1),
            clean => clean.to_owned(),
        };
        if self.0.contains(&name) {
            name = format!("{name} ({})", self.0.len() + 1);
        }
        self.0.push(name.clone());
        name
    }
}
