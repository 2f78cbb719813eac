//! What a dialect can do: requests, answers and streams, each read into the intermediate form and written from it.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::ir::{Answer, Dropped, Event, MediaKind, Request, Trouble};
use crate::catalog::{Dialect, Model, Operation};
use crate::error::Refusal;

/// A dialect, whichever side it is on. It has no state: one value serves all requests.
pub trait Codec: Send + Sync {
    /// Whether a provider that speaks it fetches media from this URL by itself; where not, the gateway fetches it first.
    fn takes_url(&self, kind: MediaKind, url: &str) -> bool;

    /// Reads a caller's chat request; what is wrong in it is named by its field.
    fn decode_request(&self, called: &Called, body: &[u8]) -> Result<Request, Refusal>;

    /// Writes a chat request for a provider. What cannot be said is named in `dropped`, or refused where dropping it would change the meaning.
    fn encode_request(&self, request: &Request, to: &To<'_>, dropped: &mut Dropped) -> Result<Bytes, Refusal>;

    /// Reads a provider's whole answer; the error says what is wrong with it, in words that follow "its answer is wrong: ".
    fn decode_answer(&self, body: &[u8]) -> Result<Answer, String>;

    /// Writes a whole answer for a caller.
    fn encode_answer(&self, answer: Answer, asked: &Asked, dropped: &mut Dropped) -> Bytes;

    /// Reads a provider's error.
    fn decode_trouble(&self, status: u16, body: &[u8]) -> Trouble {
        super::trouble::read(status, body)
    }

    /// A reader for one stream of a provider's.
    fn stream_reader(&self) -> Box<dyn StreamReader>;

    /// A writer for one stream to a caller.
    fn stream_writer(&self, asked: &Asked) -> Box<dyn StreamWriter>;
}

/// Reads one stream as it comes.
pub trait StreamReader: Send {
    /// Takes bytes, torn anywhere, and adds what they tell to `out`; holds back no more than the piece of an event whose end is to come.
    fn push(&mut self, bytes: &[u8], out: &mut Vec<Event>);

    /// The stream has ended: adds what is still to be told. [`Event::End`] is told once, here at the latest, if the answer came to its end.
    fn finish(&mut self, out: &mut Vec<Event>);
}

/// Writes one stream.
pub trait StreamWriter: Send {
    /// Adds to `out` what tells the event, with its framing; `Event::End` and `Event::Trouble` write the dialect's last words.
    fn write(&mut self, event: Event, out: &mut Vec<u8>);
}

/// What a path that was called says of the request.
#[derive(Clone, Debug)]
pub struct Called {
    /// What is wanted.
    pub operation: Operation,
    /// In which dialect.
    pub dialect: Dialect,
    /// The model, where the path names it (percent-decoded).
    pub model: Option<String>,
    /// Whether a stream is wanted, where the path says it.
    pub stream: Option<bool>,
    /// The stream is to be a JSON array and not events (Gemini without `alt=sse`).
    pub as_array: bool,
}

/// The provider's side of a request.
#[derive(Clone, Copy, Debug)]
pub struct To<'a> {
    /// The model, as the provider names it.
    pub model: &'a str,
    /// What the catalogue knows of it.
    pub facts: Option<&'a Model>,
}

/// What an answer has to know of its request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The path that was called.
    pub called: Called,
    /// The request as it was read.
    pub request: Arc<Request>,
    /// The request as it came, for dialects that repeat it.
    pub body: Bytes,
}

// === impl Called ===

impl Called {
    /// A path that says nothing but the operation.
    pub fn new(operation: Operation, dialect: Dialect) -> Called {
        Called { operation, dialect, model: None, stream: None, as_array: false }
    }
}

// === impl Asked ===

impl Asked {
    /// A top-level member of the request as it came, for dialects that repeat it.
    pub fn member(&self, name: &str) -> Option<Value> {
        let members = super::members::Members::read(&self.body).ok()?;
        serde_json::from_str(members.get(name)?.raw).ok()
    }
}
