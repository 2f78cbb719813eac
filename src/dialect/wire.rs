//! The facts of a dialect that passing bytes through needs: where a request says what, where it is sent, how an answer tells its usage.

use std::borrow::Cow;

use memchr::memmem;
use serde::Deserialize as _;
use serde_json::value::RawValue;

use super::members::Members;
use crate::ledger::record::Usage;

/// A dialect's facts.
pub struct Wire {
    /// Where a chat request says what the gateway has to know.
    pub peek: Peek,
    /// The path of a chat request after the provider's base URL, with its query, such as `/messages`.
    pub path: fn(model: &str, form: Form) -> Cow<'static, str>,
    /// The content type of a stream.
    pub stream_type: &'static str,
    /// Headers that its providers want, where a provider's file says nothing else.
    pub headers: &'static [(&'static str, &'static str)],
    /// The caller's headers that mean something to a provider of the same dialect.
    pub forwarded: &'static [&'static str],
    /// Headers of a provider's answer that mean something to a caller of the same dialect.
    pub returned: &'static [&'static str],
    /// How an answer tells its usage.
    pub tells: Tells,
    /// Members of which each whole answer has at least one.
    pub answers: &'static [&'static str],
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One document.
    Whole,
    /// The dialect's stream.
    Stream,
    /// A JSON array that grows (Gemini's stream without `alt=sse`).
    Array,
}

/// Where a chat request says what the gateway has to know.
#[derive(Debug)]
pub struct Peek {
    /// The top-level member `model` names the model; otherwise the path does.
    pub model_in_body: bool,
    /// What the absence of the top-level member `stream` means; `None` where the path says whether to stream.
    pub stream_default: Option<bool>,
    /// Members that limit the output, the largest of them, with a dot between an object and its member.
    pub max_output: &'static [&'static str],
    /// Members that say how many answers are made, the most of them; with a dot as above.
    pub choices: &'static [&'static str],
}

/// How an answer tells its usage, whole or streamed.
#[derive(Clone, Copy, Debug)]
pub struct Tells {
    /// Names of members that hold usage; where their value is not `null`, `read` is asked.
    pub members: &'static [&'static str],
    /// Reads the usage of a whole answer or of one event's JSON, over what earlier events said; `None` where it tells none.
    pub read: fn(json: &[u8], so_far: Option<Usage>) -> Option<Usage>,
    /// The same of the members of a whole answer, where they need not be put together for `read` first.
    pub own: Option<fn(members: &Members<'_>) -> Option<Usage>>,
    /// What a line that is the stream's last begins with, or what its last message is called.
    pub last: &'static [&'static str],
    /// Types of events that are the stream's last, whether a line before the event tells its type or its own member `type` alone.
    pub last_types: &'static [&'static str],
    /// Members that say why the answer ended, or messages that do; some servers say it and leave the last event out.
    pub finishes: &'static [&'static str],
    /// Whether such a member stands in an event where it says that, and not in what a tool is called with, which the caller may have made up; `None`
    /// where that is a text, in which its quotes are escaped.
    pub finished: Option<fn(json: &[u8]) -> bool>,
}

// === impl Tells ===

impl Tells {
    /// Of answers that tell their usage in these members, and nothing of their end.
    pub const fn of(members: &'static [&'static str], read: fn(json: &[u8], so_far: Option<Usage>) -> Option<Usage>) -> Tells {
        Tells { members, read, own: None, last: &[], last_types: &[], finishes: &[], finished: None }
    }

    /// Whether a stream says itself that it has ended, or why.
    pub const fn of_its_end(&self) -> bool {
        !(self.last.is_empty() && self.last_types.is_empty() && self.finishes.is_empty())
    }

    /// The usage of a whole answer whose members are known: mostly those that tell it stand at its top, and only they are read again.
    pub fn of_whole(&self, members: &Members<'_>, json: &[u8]) -> Option<Usage> {
        if let Some(usage) = self.own.and_then(|own| own(members)) {
            return Some(usage);
        }
        self.of_values(|name| Some(members.get(name)?.raw)).or_else(|| (self.read)(json, None))
    }

    /// The usage of a whole answer of which only the end is there: what tells it mostly comes last.
    pub fn of_end(&self, json: &[u8]) -> Option<Usage> {
        self.of_values(|name| Some(last(json, name)?.get()))
    }

    /// Reads the members that tell it, whose values are given by their names.
    fn of_values<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> Option<Usage> {
        let mut told = Vec::with_capacity(512);
        for (name, raw) in self.members.iter().filter_map(|name| Some((name, value(name)?))) {
            told.push(if told.is_empty() { b'{' } else { b',' });
            // These names have nothing in them to be escaped.
            [b"\"", name.as_bytes(), b"\":", raw.as_bytes()].iter().for_each(|part| told.extend_from_slice(part));
        }
        if told.is_empty() {
            return None;
        }
        told.push(b'}');
        (self.read)(&told, None)
    }
}

/// The value of the last member of that name at the top of a document, of which only the end may be there.
pub fn last<'a>(json: &'a [u8], name: &str) -> Option<&'a RawValue> {
    // Mostly it is not there at all, which is found out many times faster.
    memmem::find(json, name.as_bytes())?;
    let begins = top_texts(json).filter(|at| json[at + 1..].strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"\"")));
    let values = begins.filter_map(|at| json[at + name.len() + 2..].trim_ascii_start().strip_prefix(b":"));
    let mut read = values.filter_map(|value| <&RawValue>::deserialize(&mut serde_json::Deserializer::from_slice(value)).ok());
    read.find(|value| value.get() != "null")
}

/// Where texts begin at the top of a document, from its end on, which is there: what stands further in is what an answer tells of, and may be anybody's.
fn top_texts(json: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let (mut depth, mut text_end, mut at) = (0usize, None, json.len());
    std::iter::from_fn(move || {
        while at > 0 {
            at -= 1;
            match (json[at], text_end) {
                (b'"', None) => text_end = Some(at),
                // One with an odd number of backslashes before it is a part of the text.
                (b'"', Some(_)) if json[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0 => {
                    text_end = None;
                    if depth == 1 {
                        return Some(at);
                    }
                }
                (_, Some(_)) => {}
                (b'}' | b']', None) => depth += 1,
                (b'{' | b'[', None) => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        None
    })
}

/// A model's name as one segment of a path; Google's names have an `@` in them, which may stand as it is.
pub fn in_path(model: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~@:".contains(&byte);
    let encoded = model.bytes().map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") });
    encoded.collect()
}

#[cfg(test)]
mod tests {
    use super::last;

    #[test]
    fn a_member_of_the_top_is_found_from_the_end_on() {
        let value = |json: &str| last(json.as_bytes(), "usage").map(|value| value.get().to_owned());
        assert_eq!(value(r#"{"usage": {"a":1},"results":[{"usage":{"a":0}},{"text":"\"usage\":{"}]}"#).as_deref(), Some(r#"{"a":1}"#));
        assert_eq!(value(r#"he end of a text \" and more"}],"usage":2,"b":"\\"}"#).as_deref(), Some("2"));
        assert_eq!(value(r#"{"results":[{"usage":{"a":0}}],"usage":null}"#), None);
        assert_eq!(value(r#"{"a":"usage"}"#), None);
        assert_eq!(value(r#"{"my usage":1}"#), None);
    }
}
