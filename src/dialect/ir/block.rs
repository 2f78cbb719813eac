//! What messages and answers are made of.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::borrow::Cow;

use serde_json::Value;

use super::Signature;
use crate::catalog::Dialect;

/// A piece of content, and whether the prompt's cache is to reach up to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// What it is.
    pub content: Content,
    /// The prompt up to and with this block is to be cached.
    pub cache: Option<Cache>,
}

/// A cache mark (Anthropic's `cache_control`, Bedrock's `cachePoint`, OpenAI's `prompt_cache_breakpoint`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cache {
    /// How long, such as `5m` or `1h`; the provider's default where absent.
    pub ttl: Option<String>,
    /// OpenAI's own mark, for OpenAI.
    pub breakpoint: Option<Value>,
}

/// The kinds of content.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Text, with what it cites.
    Text {
        /// The text.
        text: String,
        /// Its sources.
        citations: Vec<Citation>,
    },
    /// An image, audio, video or document.
    Media(Media),
    /// The model wants a tool called.
    ToolCall(ToolCall),
    /// What a tool answered; stands in messages of [`Role::Tool`](super::Role::Tool) alone.
    ToolResult(ToolResult),
    /// The model's reasoning.
    Reasoning(Reasoning),
    /// The model declines, in its words.
    Refusal(String),
    /// Structured data; stands in tool results alone (Bedrock's `json`, Gemini's `response`).
    Json(Value),
    /// A call to a tool that the provider runs itself, or that tool's result, as its dialect has it.
    Builtin(Builtin),
    /// Content that only its own dialect knows.
    Other {
        /// Whose it is.
        of: Dialect,
        /// As it came.
        value: Value,
    },
}

/// Media of any kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    /// What it is.
    pub kind: MediaKind,
    /// Where it is.
    pub source: MediaSource,
    /// Such as `image/png`; `None` where nothing says so.
    pub media_type: Option<String>,
    /// A file's name or a document's title.
    pub name: Option<String>,
    /// OpenAI's `detail` of an image: `low`, `high`, `auto`.
    pub detail: Option<String>,
    /// What a document's own context says (Anthropic's and Bedrock's `context`).
    pub context: Option<String>,
    /// The document may be cited (Anthropic's and Bedrock's `citations.enabled`).
    pub citable: bool,
}

/// The kinds of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it all")]
pub enum MediaKind {
    Image,
    Audio,
    Video,
    Document,
}

/// Where media is.
#[derive(Clone, Debug, PartialEq)]
pub enum MediaSource {
    /// In the request: base64 with padding, as it came.
    Base64(String),
    /// A plain-text document.
    Text(String),
    /// Elsewhere: `https`, `http`, `gs`, `s3`.
    Url(String),
    /// Uploaded to the provider before.
    File {
        /// Whose file store it is.
        of: Dialect,
        /// The file's id or name there.
        id: String,
    },
}

/// A tool call.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// Pairs the call with its result; unique within a request, never empty.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The arguments as JSON text; a custom tool's input as it is.
    pub arguments: String,
    /// The input is free text (OpenAI's custom tools), not JSON.
    pub is_custom: bool,
    /// What the provider wants back with the call (Gemini's thought signature).
    pub signature: Option<Signature>,
}

/// A tool's result.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult {
    /// The call's id.
    pub call_id: String,
    /// The tool's name, where the dialect tells it; [`Request::tool_name`](super::Request::tool_name) finds it otherwise.
    pub name: Option<String>,
    /// Text, media and structured data.
    pub content: Vec<Block>,
    /// The tool failed.
    pub is_error: bool,
    /// The call was one to a custom tool.
    pub is_custom: bool,
}

/// Reasoning, readable, encrypted, or both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reasoning {
    /// The readable part; empty where there is none.
    pub text: String,
    /// Proof of origin, or the encrypted whole.
    pub signature: Option<Signature>,
    /// There is only the encrypted form (Anthropic's `redacted_thinking`, Bedrock's `redactedContent`).
    pub is_redacted: bool,
    /// The item's id, where the dialect has one (Responses).
    pub id: Option<String>,
}

/// What a text cites.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Citation {
    /// A page.
    pub url: Option<String>,
    /// The source's title.
    pub title: Option<String>,
    /// The words that are cited.
    pub cited_text: Option<String>,
    /// Where in the answer's text block the cited passage begins and ends, in characters.
    pub span: Option<(u64, u64)>,
    /// The citation as its dialect has it, for that dialect.
    pub native: Option<(Dialect, Value)>,
}

/// A built-in tool, its call or its result.
#[derive(Clone, Debug, PartialEq)]
pub struct Builtin {
    /// Which tool.
    pub kind: BuiltinKind,
    /// Whose shape `value` has.
    pub of: Dialect,
    /// As it came.
    pub value: Value,
}

/// The built-in tools that several dialects have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it all")]
pub enum BuiltinKind {
    WebSearch,
    WebFetch,
    CodeExecution,
    FileSearch,
    ImageGeneration,
    ComputerUse,
    Mcp,
    Other,
}

// === impl Cache ===

impl Cache {
    /// The member that OpenAI's mark stands in.
    pub const BREAKPOINT: &str = "prompt_cache_breakpoint";

    /// A mark with a time or without.
    pub fn new(ttl: Option<&str>) -> Cache {
        Cache { ttl: ttl.map(str::to_owned), breakpoint: None }
    }

    /// OpenAI's mark: its times are longer than those of others, the longest of which stands for them.
    pub fn of_breakpoint(mark: &Value) -> Option<Cache> {
        let ttl = mark.as_object()?.get("ttl").and_then(Value::as_str).map(|_| "1h".to_owned());
        Some(Cache { ttl, breakpoint: Some(mark.clone()) })
    }
}

// === impl MediaKind ===

impl MediaKind {
    /// What people call it.
    pub fn as_str(self) -> &'static str {
        match self {
            MediaKind::Image => "image",
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
            MediaKind::Document => "document",
        }
    }
}

// === impl Content ===

impl Content {
    /// What its caller calls a block of this sort: what they wrote as its type, where it is one that only their dialect knows.
    pub fn own_name(&self) -> Cow<'static, str> {
        match self {
            Content::Builtin(builtin) => builtin.own_name(),
            Content::Other { value, .. } => own_type(value),
            Content::Media(media) => Cow::Borrowed(media.kind.as_str()),
            Content::Reasoning(_) => Cow::Borrowed("reasoning"),
            Content::ToolCall(_) => Cow::Borrowed("tool_calls"),
            Content::ToolResult(_) => Cow::Borrowed("tool_results"),
            Content::Text { .. } | Content::Refusal(_) | Content::Json(_) => Cow::Borrowed("content"),
        }
    }
}

// === impl Builtin ===

impl Builtin {
    /// What its caller calls it.
    pub fn own_name(&self) -> Cow<'static, str> {
        match (self.of, self.kind) {
            (Dialect::OpenaiChat, BuiltinKind::WebSearch) if self.value.get("type").is_none() => Cow::Borrowed("web_search_options"),
            (Dialect::AnthropicMessages, BuiltinKind::Mcp) if self.value["type"] == "url" => Cow::Borrowed("mcp_servers"),
            _ => own_type(&self.value),
        }
    }
}

/// The `type` of a part of a request, or the member that stands for one where a dialect has no types.
fn own_type(value: &Value) -> Cow<'static, str> {
    let first = || value.as_object()?.keys().find(|key| *key != "thoughtSignature").map(String::as_str);
    let own = value.get("type").and_then(Value::as_str).filter(|kind| *kind != "function").or_else(first);
    own.map_or(Cow::Borrowed("content"), |own| Cow::Owned(own.to_owned()))
}

// === impl Block ===

impl Block {
    /// Text without citations.
    pub fn text(text: impl Into<String>) -> Block {
        Content::Text { text: text.into(), citations: Vec::new() }.into()
    }

    /// The text, where it is text.
    pub fn as_text(&self) -> Option<&str> {
        match &self.content {
            Content::Text { text, .. } => Some(text),
            _ => None,
        }
    }
}

impl From<Content> for Block {
    fn from(content: Content) -> Block {
        Block { content, cache: None }
    }
}

// === impl Media ===

impl Media {
    /// Media with nothing beside its kind, place and type.
    pub fn new(kind: MediaKind, source: MediaSource, media_type: Option<String>) -> Media {
        Media { kind, source, media_type, name: None, detail: None, context: None, citable: false }
    }

    /// From a `data:` URL (RFC 2397), or a plain one.
    pub fn from_url(kind: MediaKind, url: &str) -> Media {
        let inline = url.strip_prefix("data:").and_then(|rest| {
            let (head, data) = rest.split_once(',')?;
            let media_type = head.strip_suffix(";base64")?;
            Some(Media::new(kind, MediaSource::Base64(data.to_owned()), (!media_type.is_empty()).then(|| media_type.to_owned())))
        });
        inline.unwrap_or_else(|| Media::new(kind, MediaSource::Url(url.to_owned()), None))
    }

    /// A `data:` URL of what is inline, the URL of what is elsewhere, `None` for a file of a provider's or plain text.
    pub fn to_url(&self) -> Option<String> {
        match &self.source {
            MediaSource::Base64(data) => {
                let fallback = match self.kind {
                    MediaKind::Image => "image/png",
                    MediaKind::Audio => "audio/wav",
                    MediaKind::Video => "video/mp4",
                    MediaKind::Document => "application/pdf",
                };
                Some(format!("data:{};base64,{data}", self.media_type.as_deref().unwrap_or(fallback)))
            }
            MediaSource::Url(url) => Some(url.clone()),
            MediaSource::Text(_) | MediaSource::File { .. } => None,
        }
    }

    /// The words of a document that is text, `None` of what is none.
    pub fn words(&self) -> Option<String> {
        match (&self.source, &self.media_type) {
            (MediaSource::Text(text), _) => Some(text.clone()),
            (MediaSource::Base64(data), Some(media_type)) if is_text(media_type) => {
                BASE64_STANDARD.decode(data).ok().and_then(|bytes| String::from_utf8(bytes).ok())
            }
            _ => None,
        }
    }

    /// Its words below its title, where it has one: how a document is told as text.
    pub fn told(&self, words: &str) -> String {
        match &self.name {
            Some(title) => format!("{title}:\n{words}"),
            None => words.to_owned(),
        }
    }
}

fn is_text(media_type: &str) -> bool {
    media_type.starts_with("text/")
        || matches!(media_type, "application/json" | "application/xml" | "application/yaml" | "application/x-yaml")
}
