//! Writes a stream for a caller, in the order that Anthropic's SDKs expect; usage and the reason of the end come in one `message_delta`.

use serde::Serialize;
use serde_json::{Value, json};

use super::usage::Written;
use super::{answer, carried, citation, stop, trouble};
use crate::catalog::Dialect;
use crate::dialect::codec::StreamWriter;
use crate::dialect::frame::write_sse;
use crate::dialect::ir::{Delta, Dropped, Event, Finish, Opening, Signature, Trouble};
use crate::ledger::record::Usage;

const DIALECT: Dialect = Dialect::AnthropicMessages;

/// One stream to a caller.
#[derive(Debug)]
pub struct Writer {
    /// The name for the model where the provider tells none.
    model: String,
    has_started: bool,
    usage: Usage,
    finish: Option<Finish>,
    calls_tools: bool,
    refuses: bool,
    /// How many blocks were written.
    next: u32,
    /// The blocks that are open.
    open: Vec<Open>,
    /// The JSON of the event being written.
    json: Vec<u8>,
}

#[derive(Debug)]
struct Open {
    theirs: u32,
    ours: u32,
    /// The id of a tool call, and the free text of a custom one, which goes out as JSON when it is whole.
    call: Option<(String, Option<String>)>,
    has_grown: bool,
    /// A block of reasoning has its signature before it ends, be it an empty one.
    is_reasoning: bool,
}

#[derive(Serialize)]
struct Start<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    index: u32,
    content_block: &'a Value,
}

#[derive(Serialize)]
struct Grow<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    index: u32,
    delta: Growth<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum Growth<'a> {
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "input_json_delta")]
    Input { partial_json: &'a str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: &'a str },
    #[serde(rename = "citations_delta")]
    Citations { citation: &'a Value },
}

#[derive(Serialize)]
struct Stop {
    #[serde(rename = "type")]
    kind: &'static str,
    index: u32,
}

// === impl Writer ===

impl StreamWriter for Writer {
    fn write(&mut self, event: Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, model, .. } => self.start(id, model, out),
            Event::Open { choice: 0, index, opening } => self.open(index, opening, out),
            Event::Delta { choice: 0, index, delta } => self.grow(index, delta, out),
            Event::Close { choice: 0, index } => self.close(index, out),
            Event::Finish { choice: 0, finish } => self.finish = Some(finish),
            Event::Usage(usage) | Event::UsageSoFar(usage) => self.usage = usage,
            Event::End => self.end(out),
            Event::Trouble(trouble) => self.fail(&trouble, out),
            // The dialect has one choice and no probabilities.
            Event::Open { .. } | Event::Delta { .. } | Event::Close { .. } | Event::Finish { .. } | Event::Logprobs { .. } => {}
        }
    }
}

impl Writer {
    /// A writer for an answer to a request for this model.
    pub fn new(model: &str) -> Writer {
        Writer {
            model: model.to_owned(),
            has_started: false,
            usage: Usage::default(),
            finish: None,
            calls_tools: false,
            refuses: false,
            next: 0,
            open: Vec::new(),
            json: Vec::new(),
        }
    }

    fn start(&mut self, id: String, model: String, out: &mut Vec<u8>) {
        if self.has_started {
            return;
        }
        self.has_started = true;
        let model = if model.is_empty() { self.model.as_str() } else { model.as_str() };
        let message = json!({
            "type": "message_start",
            "message": {
                "id": answer::message_id(id),
                "type": "message",
                "role": "assistant",
                "model": model,
                "content": [],
                "stop_reason": null,
                "stop_sequence": null,
                "usage": Written::from(self.usage),
            },
        });
        self.send("message_start", &message, out);
    }

    fn open(&mut self, theirs: u32, opening: Opening, out: &mut Vec<u8>) {
        self.start(String::new(), String::new(), out);
        let mut call = None;
        let is_reasoning = matches!(opening, Opening::Reasoning { .. });
        self.refuses |= matches!(opening, Opening::Refusal);
        let block = match opening {
            Opening::Text | Opening::Refusal => json!({ "type": "text", "text": "" }),
            Opening::Reasoning { .. } => json!({ "type": "thinking", "thinking": "", "signature": "" }),
            Opening::ToolCall { id, name, is_custom, signature } => {
                self.calls_tools = true;
                if let Some(signature) = signature {
                    self.carry(&id, &signature, out);
                }
                let block = json!({ "type": "tool_use", "id": id, "name": name, "input": {} });
                call = Some((id, is_custom.then(String::new)));
                block
            }
            Opening::Whole(block) => {
                let mut blocks = Vec::new();
                answer::write_block(&block.content, &mut blocks, &mut Dropped::default());
                for block in blocks {
                    self.whole(&block, out);
                }
                return;
            }
        };
        let ours = self.begin(&block, out);
        self.open.push(Open { theirs, ours, call, has_grown: false, is_reasoning });
    }

    /// Calls of other dialects have signatures that a block beside them carries.
    fn carry(&mut self, id: &str, signature: &Signature, out: &mut Vec<u8>) {
        let block = json!({ "type": "redacted_thinking", "data": carried::data(id, signature) });
        self.whole(&block, out);
    }

    fn begin(&mut self, block: &Value, out: &mut Vec<u8>) -> u32 {
        let index = self.next;
        self.next += 1;
        self.send("content_block_start", &Start { kind: "content_block_start", index, content_block: block }, out);
        index
    }

    /// A block in one piece; SDKs take a built-in call's input from deltas alone.
    fn whole(&mut self, block: &Value, out: &mut Vec<u8>) {
        let input = block.get("input").filter(|input| input.is_object()).map(Value::to_string);
        let index = match &input {
            Some(_) => {
                let mut begun = block.clone();
                begun["input"] = json!({});
                self.begin(&begun, out)
            }
            None => self.begin(block, out),
        };
        if let Some(input) = input {
            self.told(index, Growth::Input { partial_json: &input }, out);
        }
        self.send("content_block_stop", &Stop { kind: "content_block_stop", index }, out);
    }

    fn grow(&mut self, theirs: u32, delta: Delta, out: &mut Vec<u8>) {
        let Some(open) = self.open.iter_mut().find(|open| open.theirs == theirs) else { return };
        let index = open.ours;
        match delta {
            Delta::Text(text) | Delta::Refusal(text) => self.told(index, Growth::Text { text: &text }, out),
            Delta::Reasoning(thinking) => self.told(index, Growth::Thinking { thinking: &thinking }, out),
            Delta::Arguments(more) => match &mut open.call {
                Some((_, Some(free))) => free.push_str(&more),
                _ if more.is_empty() => {}
                _ => {
                    open.has_grown = true;
                    self.told(index, Growth::Input { partial_json: &more }, out);
                }
            },
            Delta::Signature(signature) => match open.call.as_ref().map(|(id, _)| id.clone()) {
                Some(id) => self.carry(&id, &signature, out),
                None => {
                    // Pieces of one signature are put together: only the first says whose it is.
                    let written = if open.has_grown { signature.value } else { signature.write(DIALECT) };
                    open.has_grown = true;
                    self.told(index, Growth::Signature { signature: &written }, out);
                }
            },
            Delta::Citation(citation) => {
                if let Some(citation) = citation::encode(&citation) {
                    self.told(index, Growth::Citations { citation: &citation }, out);
                }
            }
        }
    }

    fn close(&mut self, theirs: u32, out: &mut Vec<u8>) {
        let Some(at) = self.open.iter().position(|open| open.theirs == theirs) else { return };
        let open = self.open.remove(at);
        match open.call {
            Some((_, Some(free))) => {
                let input = json!({ "input": free }).to_string();
                self.told(open.ours, Growth::Input { partial_json: &input }, out);
            }
            Some((_, None)) if !open.has_grown => self.told(open.ours, Growth::Input { partial_json: "{}" }, out),
            _ if open.is_reasoning && !open.has_grown => self.told(open.ours, Growth::Signature { signature: "" }, out),
            _ => {}
        }
        self.send("content_block_stop", &Stop { kind: "content_block_stop", index: open.ours }, out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.start(String::new(), String::new(), out);
        while let Some(theirs) = self.open.first().map(|open| open.theirs) {
            self.close(theirs, out);
        }
        let finish = self.finish.take().unwrap_or_default().said(self.refuses);
        let (stop_reason, stop_sequence) = stop::encode(&finish, self.calls_tools);
        let ending = json!({
            "type": "message_delta",
            "delta": { "stop_reason": stop_reason, "stop_sequence": stop_sequence },
            "usage": Written::from(self.usage),
        });
        self.send("message_delta", &ending, out);
        self.send("message_stop", &json!({ "type": "message_stop" }), out);
    }

    fn fail(&mut self, trouble: &Trouble, out: &mut Vec<u8>) {
        let kind = trouble::name(trouble.kind);
        let mut error = json!({ "type": kind, "message": trouble.message });
        if let Some(code) = trouble.code.as_deref().filter(|code| *code != kind) {
            error["code"] = Value::from(code);
        }
        self.send("error", &json!({ "type": "error", "error": error }), out);
    }

    fn told(&mut self, index: u32, delta: Growth<'_>, out: &mut Vec<u8>) {
        self.send("content_block_delta", &Grow { kind: "content_block_delta", index, delta }, out);
    }

    fn send(&mut self, name: &str, event: &impl Serialize, out: &mut Vec<u8>) {
        self.json.clear();
        // Texts, numbers and JSON values alone: there is nothing in it that cannot be written.
        if serde_json::to_writer(&mut self.json, event).is_ok() {
            write_sse(name, &self.json, out);
        }
    }
}
