//! Words by which a request says that a model reads more than the text in it: in all dialects, found in the pass that finds its members.
//!
//! A word too many costs no more than a larger reservation, one too few a budget.

/// Members that describe tools and answers: a schema may call its properties as it likes.
pub(super) const DESCRIBING: [&str; 8] =
    ["tools", "functions", "toolConfig", "tool_config", "response_format", "text", "generationConfig", "generation_config"];
/// No word is longer.
const LONGEST: usize = 20;

/// What was seen of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pointers {
    /// Files, pictures and sound, or the place of something.
    is_named: bool,
    /// Files that a provider keeps, wherever.
    has_files: bool,
    /// Files of whichever kind, in whichever dialect, which may be pictures in some.
    has_documents: bool,
    /// Tools beside those that are handed at the top.
    hands_tools: bool,
    /// Letters and digits that are written as escapes, which could make any of these words.
    is_hidden: bool,
}

// === impl Pointers ===

impl Pointers {
    /// Nobody has looked: there may be any.
    pub(super) const UNSEEN: Pointers =
        Pointers { is_named: false, has_files: false, has_documents: false, hands_tools: false, is_hidden: true };

    /// Whether there are any.
    pub(super) fn any(self) -> bool {
        self.is_named || self.is_hidden
    }

    /// Whether there may be files among them.
    pub(super) fn may_name_files(self) -> bool {
        self.has_files || self.is_hidden
    }

    /// Whether there may be files that are sent or pointed to.
    pub(super) fn may_have_documents(self) -> bool {
        self.has_documents || self.is_hidden
    }

    /// Whether there are tools in what was said, or there may be some that are hidden by escapes.
    pub(super) fn tools(self) -> [bool; 2] {
        [self.hands_tools, self.is_hidden]
    }

    /// Looks at a string without escapes, the name of a member or a value.
    #[inline]
    pub(super) fn look_at(&mut self, string: &[u8]) {
        if string.len() <= LONGEST {
            self.is_named |= is_name(string);
            self.has_files |= matches!(string, b"file_id" | b"file_ids");
            self.has_documents |= is_document(string);
            self.hands_tools |= hands_tools(string);
        }
    }

    /// Looks at the four digits of an escape: digits, letters and `_` are `\u0030` to `\u007a`.
    #[inline]
    pub(super) fn look_at_escape(&mut self, digits: &[u8]) {
        let is_mark = matches!(
            digits,
            [_, _, b'3' | b'7', b'b'..=b'f' | b'B'..=b'F'] | [_, _, b'5', b'b'..=b'e' | b'B'..=b'E'] | [_, _, b'4' | b'6', b'0'] | [_, _, b'3', b'a' | b'A']
        );
        self.is_hidden |= matches!(digits, [b'0', b'0', b'3'..=b'7', _]) && !is_mark;
    }

    /// After a member of the top level, of which there was `before`.
    pub(super) fn after_member(&mut self, name: &str, before: Pointers) {
        if DESCRIBING.contains(&name) {
            let Pointers { is_named, has_documents, hands_tools, .. } = before;
            *self = Pointers { is_named, has_documents, hands_tools, ..*self };
        }
    }
}

/// Types of OpenAI's items and of Anthropic's blocks that have tools in them.
pub(super) fn hands_tools(string: &[u8]) -> bool {
    matches!(string, b"additional_tools" | b"tool_search_output" | b"mcp_list_tools" | b"tool_addition")
}

/// Members and types of files: OpenAI's, Anthropic's, Bedrock's, Mistral's, and Gemini's, which has pictures in the same.
fn is_document(string: &[u8]) -> bool {
    matches!(
        string,
        b"file_id"
            | b"file_ids"
            | b"file_url"
            | b"file_data"
            | b"input_file"
            | b"document"
            | b"document_url"
            | b"fileData"
            | b"fileUri"
            | b"file_uri"
            | b"inlineData"
            | b"inline_data"
    )
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
            | b"previous_message_id"
            | b"conversation"
            | b"cachedContent"
            | b"cached_content"
            | b"container"
            | b"item_reference"
    )
}
