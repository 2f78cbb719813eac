//! The parts that a message's content is made of: text, images, audio, video, files.
//!
//! Source: OpenAI's API reference; `video_url` is OpenRouter's and Alibaba's, `document_url` Mistral's, `audio_url` vLLM's, `cache_control` Anthropic's.

use serde_json::{Map, Value, json};

use super::manner::Manner;
use crate::catalog::Dialect;
use crate::dialect::ir::{Block, Cache, Content, Media, MediaKind, MediaSource};
use crate::error::Refusal;

/// Reads one part; one that only this dialect knows is kept as it is.
pub fn decode(part: Value) -> Block {
    let text = |name: &str| part.get(name).and_then(Value::as_str);
    let content = match text("type") {
        Some("text" | "input_text" | "output_text") => {
            text("text").map(|text| Content::Text { text: text.to_owned(), citations: Vec::new() })
        }
        Some("refusal") => text("refusal").map(|text| Content::Refusal(text.to_owned())),
        Some("image_url") => url(&part, "image_url", MediaKind::Image).map(Content::Media),
        Some("video_url") => url(&part, "video_url", MediaKind::Video).map(Content::Media),
        Some("audio_url") => url(&part, "audio_url", MediaKind::Audio).map(Content::Media),
        Some("document_url") => url(&part, "document_url", MediaKind::Document).map(Content::Media),
        Some("input_audio") => audio(part.get("input_audio")).map(Content::Media),
        Some("file") => part.get("file").and_then(file).map(Content::Media),
        _ => None,
    };
    let cache = cache(part.get("cache_control")).or_else(|| Cache::of_breakpoint(part.get(Cache::BREAKPOINT)?));
    Block { content: content.unwrap_or(Content::Other { of: Dialect::OpenaiChat, value: part }), cache }
}

/// A mark of the prompt's cache.
pub fn cache(control: Option<&Value>) -> Option<Cache> {
    let control = control?.as_object()?;
    Some(Cache::new(control.get("ttl").and_then(Value::as_str)))
}

/// The same, written.
pub fn cache_control(cache: &Cache) -> Value {
    match &cache.ttl {
        Some(ttl) => json!({ "type": "ephemeral", "ttl": ttl }),
        None => json!({ "type": "ephemeral" }),
    }
}

/// A URL as it is, or in an object with the detail that is wanted.
fn url(part: &Value, name: &str, kind: MediaKind) -> Option<Media> {
    let inner = part.get(name)?;
    let url = inner.as_str().or_else(|| inner.get("url")?.as_str())?;
    let text = |name: &str| inner.get(name).or_else(|| part.get(name)).and_then(Value::as_str).map(str::to_owned);
    Some(Media { detail: text("detail"), name: text("document_name"), ..Media::from_url(kind, url) })
}

fn audio(audio: Option<&Value>) -> Option<Media> {
    let audio = audio?;
    let data = audio.as_str().or_else(|| audio.get("data")?.as_str())?;
    let media_type = audio.get("format").and_then(Value::as_str).map(|format| match format {
        "mp3" => "audio/mpeg".to_owned(),
        other => format!("audio/{other}"),
    });
    let inline = Media::from_url(MediaKind::Audio, data);
    match inline.source {
        MediaSource::Url(url) if !url.starts_with("http") => {
            Some(Media::new(MediaKind::Audio, MediaSource::Base64(url), media_type.or(Some("audio/wav".to_owned()))))
        }
        _ => Some(inline),
    }
}

fn file(file: &Value) -> Option<Media> {
    let text = |name: &str| file.get(name).and_then(Value::as_str);
    let name = text("filename").map(str::to_owned);
    let media = match (text("file_id"), text("file_data")) {
        (Some(id), _) => {
            let source = MediaSource::File { of: Dialect::OpenaiChat, id: id.to_owned() };
            Media::new(MediaKind::Document, source, None)
        }
        (None, Some(data)) if data.starts_with("data:") || data.starts_with("http") => Media::from_url(MediaKind::Document, data),
        (None, Some(data)) => Media::new(MediaKind::Document, MediaSource::Base64(data.to_owned()), Some(type_of_file(name.as_deref()))),
        (None, None) => return None,
    };
    Some(Media { name, ..media })
}

/// By its ending, for data that does not say what it is; OpenAI takes PDFs.
fn type_of_file(name: Option<&str>) -> String {
    let ending = name.and_then(|name| name.rsplit_once('.')).map(|(_, ending)| ending.to_ascii_lowercase());
    match ending.as_deref() {
        Some("txt") => "text/plain",
        Some("md") => "text/markdown",
        Some("csv") => "text/csv",
        Some("html") => "text/html",
        Some("json") => "application/json",
        _ => "application/pdf",
    }
    .to_owned()
}

/// Writes media as a part of a user's message; refused where the dialect has no form for it.
pub fn encode(media: &Media, manner: &Manner<'_>) -> Result<Value, Refusal> {
    if let MediaSource::Text(text) = &media.source {
        return Ok(json!({ "type": "text", "text": media.told(text) }));
    }
    if let MediaSource::File { of, id } = &media.source {
        return match of {
            Dialect::OpenaiChat | Dialect::OpenaiResponses => {
                Ok(json!({ "type": "file", "file": with_name(json!({ "file_id": id }), media) }))
            }
            _ => Err(inexpressible("A file in another provider's store cannot be used with this model: send its content.")),
        };
    }
    let url = media.to_url().unwrap_or_default();
    match media.kind {
        MediaKind::Image => {
            let mut image = json!({ "url": url });
            if let Some(detail) = &media.detail {
                image["detail"] = Value::from(detail.as_str());
            }
            Ok(json!({ "type": "image_url", "image_url": image }))
        }
        MediaKind::Video => Ok(json!({ "type": "video_url", "video_url": { "url": url } })),
        MediaKind::Document if manner.is_mistral() => {
            let mut part = json!({ "type": "document_url", "document_url": url });
            if let Some(name) = &media.name {
                part["document_name"] = Value::from(name.as_str());
            }
            Ok(part)
        }
        MediaKind::Document => {
            let named = Media { name: Some(media.name.clone().unwrap_or("document.pdf".to_owned())), ..media.clone() };
            Ok(json!({ "type": "file", "file": with_name(json!({ "file_data": url }), &named) }))
        }
        MediaKind::Audio => match &media.source {
            MediaSource::Base64(data) => {
                Ok(json!({ "type": "input_audio", "input_audio": { "data": data, "format": audio_format(media) } }))
            }
            _ => Err(inexpressible("This model takes audio only inline: send it as base64.")),
        },
    }
}

fn with_name(mut file: Value, media: &Media) -> Value {
    if let Some(name) = &media.name {
        file["filename"] = Value::from(name.as_str());
    }
    file
}

/// OpenAI's word for an audio type: `wav`, `mp3`, or the subtype itself.
pub fn audio_format(media: &Media) -> &str {
    let subtype = media.media_type.as_deref().and_then(|media_type| media_type.split_once('/')).map_or("wav", |(_, subtype)| subtype);
    match subtype.split(';').next().unwrap_or(subtype) {
        "mpeg" | "mpga" | "x-mp3" => "mp3",
        "x-wav" | "wave" | "vnd.wave" => "wav",
        other => other,
    }
}

/// What cannot be said in this dialect, and must not be left out.
pub fn inexpressible(message: &str) -> Refusal {
    Refusal::invalid("not_expressible", message).with_param("messages")
}

/// The members of a part of text.
pub fn text_part(text: &str) -> Map<String, Value> {
    Map::from_iter([("type".to_owned(), Value::from("text")), ("text".to_owned(), Value::from(text))])
}
