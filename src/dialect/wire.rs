//! The facts of a dialect that passing bytes through needs: where a request says what, where it is sent, how an answer tells its usage.

use std::borrow::Cow;

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
    /// Members that limit the output, first found first, with a dot between an object and its member.
    pub max_output: &'static [&'static str],
    /// The member that says how many answers are wanted.
    pub choices: Option<&'static str>,
}

/// How an answer tells its usage, whole or streamed.
#[derive(Clone, Copy, Debug)]
pub struct Tells {
    /// Names of members that hold usage; where their value is not `null`, `read` is asked.
    pub members: &'static [&'static str],
    /// Reads the usage of a whole answer or of one event's JSON, over what earlier events said.
    pub read: fn(json: &[u8], so_far: &mut Option<Usage>),
    /// What a line that is the stream's last begins with, or what its last message is called.
    pub last: &'static [&'static str],
    /// Members that say why the answer ended, or messages that do; some servers say it and leave the last event out.
    pub finishes: &'static [&'static str],
}
