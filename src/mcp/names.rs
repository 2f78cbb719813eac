//! Names of several servers beside each other: `server__tool`, and `server+scheme:…` for URIs; both can be turned back.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use rmcp::model::{ContentBlock, ResourceContents};

/// How a server's names are told to callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// With the server's name before them: several servers are seen beside each other.
    Beside,
    /// As the server says them: it is seen alone.
    Alone,
}

/// Between a server's name, which has no `_`, and the tool's.
const MARK: &str = "__";

/// The server and its own name in `server__name`.
pub fn split(name: &str) -> Option<(&str, &str)> {
    name.split_once(MARK)
}

/// The server and its own URI in `server+scheme:…`; a scheme may have a `+` of its own after that.
pub fn split_uri(uri: &str) -> Option<(&str, &str)> {
    let (server, rest) = uri.split_once('+')?;
    let is_name = server.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    is_name.then_some((server, rest))
}

/// So many layers of escapes are taken off: nobody needs more.
const LAYERS: usize = 4;

/// Refuses a URI that a server could take for another one than a scope does: with a `.` or `..` in its path, escaped or not.
pub fn check_uri(uri: &str) -> Result<(), String> {
    let mut text = uri.to_owned();
    for _ in 0..LAYERS {
        let is_step = |part: &str| matches!(part.split([';', '?', '#']).next(), Some("." | ".."));
        if text.split(['/', '\\', ':']).any(is_step) {
            return Err("The URI has a '.' or '..' in its path, which is not passed on.".to_owned());
        }
        if text.chars().any(char::is_control) {
            return Err("The URI has a control character in it.".to_owned());
        }
        match percent_decode_str(&text).decode_utf8_lossy() {
            same if same == text => return Ok(()),
            deeper => text = deeper.into_owned(),
        }
    }
    Err("The URI is escaped over and over.".to_owned())
}

// === impl Manner ===

impl Manner {
    /// A tool's or prompt's name as callers see it.
    pub fn name(self, server: &str, name: &str) -> String {
        match self {
            Manner::Beside => format!("{server}{MARK}{name}"),
            Manner::Alone => name.to_owned(),
        }
    }

    /// A resource's URI, or a template of one, as callers see it.
    pub fn uri(self, server: &str, uri: &str) -> String {
        match self {
            Manner::Beside => format!("{server}+{uri}"),
            Manner::Alone => uri.to_owned(),
        }
    }

    /// The same for each URI that a piece of content names.
    pub fn content(self, server: &str, content: &mut ContentBlock) {
        match content {
            ContentBlock::Resource(embedded) => self.resource(server, &mut embedded.resource),
            ContentBlock::ResourceLink(link) => link.uri = self.uri(server, &link.uri),
            _ => {}
        }
    }

    /// The same for what a resource holds.
    pub fn resource(self, server: &str, contents: &mut ResourceContents) {
        match contents {
            ResourceContents::TextResourceContents { uri, .. } | ResourceContents::BlobResourceContents { uri, .. } => {
                *uri = self.uri(server, uri);
            }
            _ => {}
        }
    }
}

/// A name as a refusal repeats it: not endlessly, and with no key in it.
pub fn shown(name: &str) -> Cow<'static, str> {
    match crate::key::diagnose::holds_key(name) {
        true => Cow::Borrowed("(a key)"),
        false => Cow::Owned(name.chars().take(200).collect()),
    }
}
