//! Reads a stream: `message_start`, blocks that start, grow and stop, `message_delta`, `message_stop`; `ping` and `error` in between.
//!
//! Source: Anthropic's streaming reference.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::usage::Reported;
use super::{citation, piece, stop, trouble};
use crate::catalog::Dialect;
use crate::dialect::codec::StreamReader;
use crate::dialect::frame::Sse;
use crate::dialect::ir::{Block, Content, Delta, Event, Finish, Opening, Signature, Trouble, TroubleKind};
use crate::dialect::trouble::of_broken_event;
use crate::ledger::record::Usage;

const DIALECT: Dialect = Dialect::AnthropicMessages;

/// One stream of a provider's.
#[derive(Debug, Default)]
pub struct Reader {
    sse: Sse,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    /// The next block's place among ours.
    next: u32,
    open: Vec<Open>,
    usage: Option<Usage>,
    has_started: bool,
    calls_tools: bool,
    has_finished: bool,
    has_ended: bool,
}

/// A block that is growing.
#[derive(Debug)]
struct Open {
    /// Its place as the provider counts.
    theirs: u64,
    growing: Growing,
}

#[derive(Debug)]
enum Growing {
    /// Told as it grows.
    Told { index: u32 },
    /// A call; its input at the start is told at its end where nothing else was.
    Call { index: u32, said: bool, input: String },
    /// Kept until it is whole: its kind, what it is so far, and its input in pieces.
    Kept { kind: String, value: Value, input: String },
}

#[derive(Deserialize)]
struct Told<'a> {
    #[serde(rename = "type", default)]
    kind: &'a str,
    #[serde(default)]
    index: u64,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    content_block: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<Message<'a>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(default)]
    id: String,
    #[serde(default)]
    model: String,
    #[serde(borrow, default)]
    content: Vec<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Growth {
    TextDelta {
        text: String,
    },
    InputJsonDelta {
        partial_json: String,
    },
    ThinkingDelta {
        thinking: String,
    },
    SignatureDelta {
        signature: String,
    },
    CitationsDelta {
        citation: Value,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Ending {
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
}

// === impl Reader ===

impl StreamReader for Reader {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<Event>) {
        let Reader { sse, state } = self;
        sse.push(bytes, |event| state.take(&event.event, &event.data, out));
    }

    fn finish(&mut self, out: &mut Vec<Event>) {
        let Reader { sse, state } = self;
        sse.finish(|event| state.take(&event.event, &event.data, out));
        if state.has_finished {
            state.end(out);
        }
    }
}

// === impl State ===

impl State {
    fn take(&mut self, name: &str, data: &[u8], out: &mut Vec<Event>) {
        if self.has_ended || data.is_empty() {
            return;
        }
        let Ok(told) = serde_json::from_slice::<Told<'_>>(data) else {
            if let Some(trouble) = of_broken_event(data) {
                self.has_ended = true;
                out.push(Event::Trouble(trouble));
            }
            return;
        };
        match if told.kind.is_empty() { name } else { told.kind } {
            "message_start" => self.start(told.message, out),
            "content_block_start" => {
                if let Some(raw) = told.content_block {
                    self.open(told.index, raw.get(), out);
                }
            }
            "content_block_delta" => {
                if let Some(raw) = told.delta {
                    self.grow(told.index, raw.get(), out);
                }
            }
            "content_block_stop" => self.close(told.index, out),
            "message_delta" => {
                let ending = told.delta.and_then(|raw| serde_json::from_str::<Ending>(raw.get()).ok());
                let is_last = self.has_finished || ending.as_ref().is_some_and(|ending| ending.stop_reason.is_some());
                self.tell_usage(told.usage, is_last, out);
                if let Some(Ending { stop_reason: Some(reason), stop_sequence }) = ending {
                    self.close_all(out);
                    self.told_finish(stop::decode(&reason, stop_sequence.as_deref()), out);
                }
            }
            "message_stop" => self.end(out),
            "error" => {
                self.has_ended = true;
                out.push(Event::Trouble(told.error.as_ref().map_or_else(unnamed, trouble::in_stream)));
            }
            _ => {}
        }
    }

    fn start(&mut self, message: Option<Message<'_>>, out: &mut Vec<Event>) {
        let Some(message) = message.filter(|_| !self.has_started) else { return };
        self.has_started = true;
        out.push(Event::Start { id: message.id, model: message.model, created: 0 });
        self.tell_usage(message.usage, false, out);
        for raw in message.content {
            // Places that no block of the stream has: what is whole already does not grow.
            self.open(u64::MAX, raw.get(), out);
            self.close(u64::MAX, out);
        }
    }

    fn tell_usage(&mut self, told: Option<&RawValue>, is_last: bool, out: &mut Vec<Event>) {
        if let Some(reported) = told.and_then(|told| Reported::read(told.get())) {
            let usage = reported.over(self.usage.unwrap_or_default());
            self.usage = Some(usage);
            out.push(if is_last && reported.tells_output() { Event::Usage(usage) } else { Event::UsageSoFar(usage) });
        }
    }

    fn open(&mut self, theirs: u64, raw: &str, out: &mut Vec<Event>) {
        self.close(theirs, out);
        let Ok(Block { content, .. }) = piece::decode(raw) else { return };
        let growing = match content {
            Content::Text { text, citations } => {
                let deltas = citations.into_iter().map(Delta::Citation);
                let index = self.begin(Opening::Text, (!text.is_empty()).then_some(Delta::Text(text)), deltas, out);
                Growing::Told { index }
            }
            Content::Reasoning(reasoning) if !reasoning.is_redacted => {
                let text = (!reasoning.text.is_empty()).then_some(Delta::Reasoning(reasoning.text));
                let index = self.begin(Opening::Reasoning { id: reasoning.id }, text, reasoning.signature.map(Delta::Signature), out);
                Growing::Told { index }
            }
            Content::ToolCall(call) => {
                self.calls_tools = true;
                let opening = Opening::ToolCall { id: call.id, name: call.name, is_custom: false, signature: None };
                let index = self.begin(opening, None, None, out);
                Growing::Call { index, said: false, input: call.arguments }
            }
            Content::Builtin(builtin) => self.keep(builtin.value),
            Content::Other { value, .. } => self.keep(value),
            whole => {
                let index = self.begin(Opening::Whole(Box::new(whole.into())), None, None, out);
                Growing::Told { index }
            }
        };
        self.open.push(Open { theirs, growing });
    }

    fn keep(&self, value: Value) -> Growing {
        let kind = value.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        Growing::Kept { kind, value, input: String::new() }
    }

    fn begin(&mut self, opening: Opening, first: Option<Delta>, more: impl IntoIterator<Item = Delta>, out: &mut Vec<Event>) -> u32 {
        let index = self.next;
        self.next += 1;
        out.push(Event::Open { choice: 0, index, opening });
        out.extend(first.into_iter().chain(more).map(|delta| Event::Delta { choice: 0, index, delta }));
        index
    }

    fn grow(&mut self, theirs: u64, raw: &str, out: &mut Vec<Event>) {
        let Ok(growth) = serde_json::from_str::<Growth>(raw) else { return };
        if !self.open.iter().any(|open| open.theirs == theirs) {
            // Some servers leave a block's start out.
            let opening = match growth {
                Growth::TextDelta { .. } => r#"{"type":"text"}"#,
                Growth::ThinkingDelta { .. } => r#"{"type":"thinking"}"#,
                _ => return,
            };
            self.open(theirs, opening, out);
        }
        let Some(open) = self.open.iter_mut().find(|open| open.theirs == theirs) else { return };
        match &mut open.growing {
            Growing::Told { index } => {
                let delta = match growth {
                    Growth::TextDelta { text } => Delta::Text(text),
                    Growth::ThinkingDelta { thinking } => Delta::Reasoning(thinking),
                    Growth::SignatureDelta { signature } => Delta::Signature(Signature::read(&signature, DIALECT)),
                    Growth::CitationsDelta { citation } => Delta::Citation(citation::decode(citation)),
                    Growth::InputJsonDelta { .. } | Growth::Other => return,
                };
                out.push(Event::Delta { choice: 0, index: *index, delta });
            }
            Growing::Call { index, said, .. } => {
                if let Growth::InputJsonDelta { partial_json } = growth
                    && !partial_json.is_empty()
                {
                    *said = true;
                    out.push(Event::Delta { choice: 0, index: *index, delta: Delta::Arguments(partial_json) });
                }
            }
            Growing::Kept { value, input, .. } => match growth {
                Growth::InputJsonDelta { partial_json } => input.push_str(&partial_json),
                _ => add(value, raw),
            },
        }
    }

    fn close(&mut self, theirs: u64, out: &mut Vec<Event>) {
        let Some(at) = self.open.iter().position(|open| open.theirs == theirs) else { return };
        let index = match self.open.remove(at).growing {
            Growing::Told { index } => index,
            Growing::Call { index, said, input } => {
                if !said {
                    out.push(Event::Delta { choice: 0, index, delta: Delta::Arguments(input) });
                }
                index
            }
            Growing::Kept { kind, mut value, input } => {
                if let (Value::Object(fields), Ok(input)) = (&mut value, serde_json::from_str::<Value>(&input)) {
                    fields.insert("input".to_owned(), input);
                }
                self.begin(Opening::Whole(Box::new(piece::other(&kind, value).into())), None, None, out)
            }
        };
        out.push(Event::Close { choice: 0, index });
    }

    fn close_all(&mut self, out: &mut Vec<Event>) {
        while let Some(theirs) = self.open.first().map(|open| open.theirs) {
            self.close(theirs, out);
        }
    }

    fn told_finish(&mut self, finish: Finish, out: &mut Vec<Event>) {
        if !self.has_finished {
            self.has_finished = true;
            out.push(Event::Finish { choice: 0, finish });
        }
    }

    fn end(&mut self, out: &mut Vec<Event>) {
        if self.has_ended {
            return;
        }
        self.close_all(out);
        self.told_finish(if self.calls_tools { Finish::ToolCalls } else { Finish::Stop }, out);
        self.has_ended = true;
        out.push(Event::End);
    }
}

/// Adds a delta of a kind that has no word here to what is kept: its texts grow, other members are set.
fn add(value: &mut Value, raw: &str) {
    let (Value::Object(value), Ok(Value::Object(delta))) = (value, serde_json::from_str(raw)) else { return };
    for (name, more) in delta.into_iter().filter(|(name, _)| name != "type") {
        match (value.get_mut(&name), more) {
            (Some(Value::String(text)), Value::String(more)) => text.push_str(&more),
            (_, more) => drop(value.insert(name, more)),
        }
    }
}

fn unnamed() -> Trouble {
    Trouble { kind: TroubleKind::Server, code: None, message: "The provider told an error without saying which.".to_owned(), param: None }
}
