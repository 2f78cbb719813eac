//! Media: inline data, and files by their URI.

use serde_json::{Map, Value, json};

use super::carry;
use super::fields::{text, wrong};
use crate::catalog::Dialect;
use crate::dialect::ir::{Dropped, Media, MediaKind, MediaSource};
use crate::error::Refusal;

/// Endings of files and the types that they stand for.
const ENDINGS: [(&str, &str); 22] = [
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("webp", "image/webp"),
    ("gif", "image/gif"),
    ("heic", "image/heic"),
    ("mp3", "audio/mp3"),
    ("wav", "audio/wav"),
    ("ogg", "audio/ogg"),
    ("flac", "audio/flac"),
    ("aac", "audio/aac"),
    ("m4a", "audio/m4a"),
    ("mp4", "video/mp4"),
    ("mov", "video/quicktime"),
    ("webm", "video/webm"),
    ("mpeg", "video/mpeg"),
    ("pdf", "application/pdf"),
    ("txt", "text/plain"),
    ("md", "text/markdown"),
    ("csv", "text/csv"),
    ("html", "text/html"),
    ("json", "application/json"),
];

/// Whether Gemini reads it from there by itself: Cloud Storage, its own Files API, YouTube.
pub fn takes_url(url: &str) -> bool {
    url.starts_with("gs://") || is_file(url) || is_youtube(url)
}

/// Reads an `inlineData`.
pub fn from_inline(mut data: Map<String, Value>) -> Result<Media, Refusal> {
    let media_type = text(&mut data, "mimeType", "contents")?;
    let name = text(&mut data, "displayName", "contents")?;
    let base64 = text(&mut data, "data", "contents")?.ok_or_else(|| wrong("contents", "data", "a string of base64"))?;
    let kind = kind_of(media_type.as_deref(), "");
    Ok(Media { name, ..Media::new(kind, MediaSource::Base64(carry::standard(&base64)), media_type) })
}

/// Reads a `fileData`.
pub fn from_file(mut data: Map<String, Value>) -> Result<Media, Refusal> {
    let media_type = text(&mut data, "mimeType", "contents")?;
    let name = text(&mut data, "displayName", "contents")?;
    let uri = text(&mut data, "fileUri", "contents")?.ok_or_else(|| wrong("contents", "fileUri", "a string"))?;
    let kind = kind_of(media_type.as_deref(), &uri);
    let source = match is_file(&uri) {
        true => MediaSource::File { of: Dialect::Gemini, id: uri },
        false => MediaSource::Url(uri),
    };
    Ok(Media { name, ..Media::new(kind, source, media_type) })
}

/// Writes media as a part; a file of another provider's cannot be reached from here.
pub fn to_part(media: &Media, dropped: &mut Dropped) -> Result<Map<String, Value>, Refusal> {
    dropped.note_if(media.detail.is_some(), "detail");
    dropped.note_if(media.context.is_some(), "context");
    dropped.note_if(media.citable, "citations");
    dropped.note_if(media.name.is_some(), "filename");
    let media_type = media.media_type.clone();
    let part = match &media.source {
        MediaSource::Base64(data) => json!({
            "inlineData": { "mimeType": media_type.unwrap_or_else(|| fallback(media.kind).to_owned()), "data": data }
        }),
        MediaSource::Text(text) => json!({ "inlineData": { "mimeType": "text/plain", "data": carry::encode(text) } }),
        MediaSource::Url(uri) | MediaSource::File { of: Dialect::Gemini, id: uri } => {
            let guessed = || if is_youtube(uri) { None } else { Some(of_ending(uri).unwrap_or(fallback(media.kind)).to_owned()) };
            match media_type.or_else(guessed) {
                Some(media_type) => json!({ "fileData": { "mimeType": media_type, "fileUri": uri } }),
                None => json!({ "fileData": { "fileUri": uri } }),
            }
        }
        MediaSource::File { of, id } => {
            let message = format!("The file '{id}' is stored with a provider that speaks {}: send its content instead.", of.as_str());
            return Err(Refusal::invalid("not_expressible", message).with_param("messages"));
        }
    };
    Ok(if let Value::Object(part) = part { part } else { Map::new() })
}

/// The kind that a type stands for, or what the URI ends with.
pub fn kind_of(media_type: Option<&str>, uri: &str) -> MediaKind {
    let media_type = media_type.or_else(|| of_ending(uri)).unwrap_or_default();
    match media_type.split('/').next().unwrap_or_default() {
        "image" => MediaKind::Image,
        "audio" => MediaKind::Audio,
        "video" => MediaKind::Video,
        _ if is_youtube(uri) => MediaKind::Video,
        _ => MediaKind::Document,
    }
}

fn fallback(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Image => "image/png",
        MediaKind::Audio => "audio/wav",
        MediaKind::Video => "video/mp4",
        MediaKind::Document => "application/pdf",
    }
}

fn of_ending(uri: &str) -> Option<&'static str> {
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    let ending = path.rsplit('/').next()?.rsplit_once('.')?.1.to_ascii_lowercase();
    ENDINGS.iter().find(|(known, _)| *known == ending).map(|(_, media_type)| *media_type)
}

/// A file that was uploaded to Gemini's Files API.
fn is_file(url: &str) -> bool {
    url.strip_prefix("https://")
        .and_then(|rest| rest.split_once('/'))
        .is_some_and(|(host, path)| host == "generativelanguage.googleapis.com" && path.split('/').any(|segment| segment == "files"))
}

fn is_youtube(url: &str) -> bool {
    let host = url.strip_prefix("https://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    matches!(host, "youtube.com" | "www.youtube.com" | "m.youtube.com" | "youtu.be")
}
