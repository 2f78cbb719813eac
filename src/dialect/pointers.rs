//! Words by which a request says that a model reads more than the text in it: in all dialects, found in the pass that finds its members.
//!
//! A word too many costs no more than a larger reservation, one too few a budget.

/// Members that describe tools and answers: a schema may call its properties as it likes.
const DESCRIBING: [&str; 8] =
    ["tools", "functions", "toolConfig", "tool_config", "response_format", "text", "generationConfig", "generation_config"];
/// Members that hand tools to a model.
const TOOLS: [&str; 3] = ["tools", "functions", "toolConfig"];
/// No word is longer, nor the name of a provider's own tool.
const LONGEST: usize = 40;

/// What was seen of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pointers {
    /// Files, pictures and sound, or the place of something.
    is_named: bool,
    /// A tool that the provider runs by itself.
    is_run_there: bool,
    /// Letters that are written as escapes, which could make any of these words.
    is_hidden: bool,
}

// === impl Pointers ===

impl Pointers {
    /// Whether there are any.
    pub(super) fn any(self) -> bool {
        self.is_named || self.is_run_there || self.is_hidden
    }

    /// Looks at a string without escapes, the name of a member or a value.
    #[inline]
    pub(super) fn look_at(&mut self, string: &[u8]) {
        if string.len() <= LONGEST {
            self.is_named |= is_name(string);
            self.is_run_there |= is_run_there(string);
        }
    }

    /// Looks at the four digits of an escape: letters and `_` are `\u0041` to `\u007a`.
    #[inline]
    pub(super) fn look_at_escape(&mut self, digits: &[u8]) {
        self.is_hidden |= matches!(digits, [b'0', b'0', b'4'..=b'7', _]);
    }

    /// After a member of the top level, of which there was `before`.
    pub(super) fn after_member(&mut self, name: &str, before: Pointers) {
        if DESCRIBING.contains(&name) {
            self.is_named = before.is_named;
        }
    }
}

/// Whether a member of the top level hands tools to a model.
pub(super) fn hands_tools(name: &str) -> bool {
    TOOLS.contains(&name)
}

/// Members and types that name what is not there, or hold what is no text.
fn is_name(string: &[u8]) -> bool {
    matches!(
        string,
        b"url"
            | b"file_id"
            | b"file_url"
            | b"fileData"
            | b"file_data"
            | b"fileUri"
            | b"file_uri"
            | b"image_url"
            | b"document_url"
            | b"video_url"
            | b"audio_url"
            | b"s3Location"
            | b"base64"
            | b"bytes"
            | b"inlineData"
            | b"inline_data"
            | b"image"
            | b"images"
            | b"document"
            | b"video"
            | b"audio"
            | b"input_audio"
            | b"previous_response_id"
            | b"conversation"
            | b"cachedContent"
            | b"cached_content"
            | b"container"
            | b"item_reference"
            | b"web_search_options"
    )
}

/// How the types of tools begin that a provider runs by itself, told apart by four letters first, which most strings are not.
fn is_run_there(string: &[u8]) -> bool {
    const STARTS: [&[u8]; 14] = [
        b"web_search",
        b"web_fetch",
        b"file_search",
        b"fileSearch",
        b"code_",
        b"codeExecution",
        b"googleSearch",
        b"google_search",
        b"googleMaps",
        b"google_maps",
        b"urlContext",
        b"url_context",
        b"computer",
        b"retrieval",
    ];
    match string.first_chunk() {
        Some(b"web_" | b"file" | b"code" | b"goog" | b"urlC" | b"url_" | b"comp" | b"retr") => {
            STARTS.iter().any(|start| string.starts_with(start))
        }
        _ => string.starts_with(b"mcp"),
    }
}
