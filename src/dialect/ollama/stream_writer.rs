//! Writes a stream of lines, in the shape of the path that was called.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::answer::Logprob;
use super::{created_at, done_reason, is_generate, message};
use crate::dialect::ir::{Content, Delta, Event, Finish, Opening};
use crate::dialect::{Asked, StreamWriter};
use crate::ledger::record::Usage;

/// A stream on its way out.
#[derive(Debug)]
pub struct Writer {
    is_generate: bool,
    model: String,
    created_at: String,
    /// Tool calls that are still growing: Ollama's clients take them whole.
    growing: HashMap<u32, Growing>,
    calls: usize,
    finish: Option<Finish>,
    usage: Option<Usage>,
}

#[derive(Debug)]
struct Growing {
    id: String,
    name: String,
    arguments: String,
    is_custom: bool,
    signature: Option<String>,
}

#[derive(Default)]
struct Piece<'a> {
    text: &'a str,
    thinking: Option<&'a str>,
    signature: Option<&'a str>,
    tool_calls: Option<[Value; 1]>,
    logprobs: Option<Vec<Logprob>>,
}

#[derive(Serialize)]
struct Line<'a> {
    model: &'a str,
    created_at: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<&'a str>,
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    done_reason: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_eval_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<Vec<Logprob>>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'a str,
    content: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[Value; 1]>,
}

// === impl Writer ===

impl Writer {
    /// For the answer to a request.
    pub fn new(asked: &Asked) -> Writer {
        Writer {
            is_generate: is_generate(&asked.called),
            model: asked.request.model.clone(),
            created_at: created_at(0),
            growing: HashMap::new(),
            calls: 0,
            finish: None,
            usage: None,
        }
    }

    fn opened(&mut self, index: u32, opening: Opening, out: &mut Vec<u8>) {
        match opening {
            Opening::ToolCall { id, name, is_custom, signature } => {
                let signature = signature.map(|signature| signature.write(message::OWN));
                self.growing.insert(index, Growing { id, name, arguments: String::new(), is_custom, signature });
            }
            Opening::Whole(block) => match block.content {
                Content::Text { text, .. } | Content::Refusal(text) => self.piece(Piece { text: &text, ..Piece::default() }, out),
                _ => {}
            },
            Opening::Text | Opening::Refusal | Opening::Reasoning { .. } => {}
        }
    }

    fn grown(&mut self, index: u32, delta: Delta, out: &mut Vec<u8>) {
        match delta {
            Delta::Text(text) | Delta::Refusal(text) => self.piece(Piece { text: &text, ..Piece::default() }, out),
            Delta::Reasoning(text) => self.piece(Piece { thinking: Some(&text), ..Piece::default() }, out),
            Delta::Signature(signature) => match self.growing.get_mut(&index) {
                Some(growing) => growing.signature = Some(signature.write(message::OWN)),
                None => {
                    if let Some(text) = message::told_signature(&signature) {
                        self.piece(Piece { signature: Some(&text), ..Piece::default() }, out);
                    }
                }
            },
            Delta::Arguments(more) => {
                if let Some(growing) = self.growing.get_mut(&index) {
                    growing.arguments.push_str(&more);
                }
            }
            // There is no place for it.
            Delta::Citation(_) => {}
        }
    }

    fn closed(&mut self, index: u32, out: &mut Vec<u8>) {
        if let Some(growing) = self.growing.remove(&index) {
            let mut call = message::call_value(&growing.id, &growing.name, &growing.arguments, growing.is_custom, self.calls);
            call.extend(growing.signature.map(|signature| ("signature".to_owned(), Value::from(signature))));
            self.calls += 1;
            self.piece(Piece { tool_calls: Some([Value::Object(call)]), ..Piece::default() }, out);
        }
    }

    fn piece(&self, piece: Piece<'_>, out: &mut Vec<u8>) {
        // A completion has no place for the rest.
        if self.is_generate && piece.text.is_empty() && piece.thinking.is_none() && piece.logprobs.is_none() {
            return;
        }
        let mut line = self.line(&piece);
        line.logprobs = piece.logprobs;
        if let Some(message) = &mut line.message {
            message.tool_calls = piece.tool_calls;
        }
        write_line(&line, out);
    }

    fn line<'a>(&'a self, piece: &Piece<'a>) -> Line<'a> {
        let Piece { text, thinking, signature, .. } = *piece;
        let message = Message { role: "assistant", content: text, thinking, signature, tool_calls: None };
        Line {
            model: &self.model,
            created_at: &self.created_at,
            message: (!self.is_generate).then_some(message),
            response: self.is_generate.then_some(text),
            thinking: thinking.filter(|_| self.is_generate),
            done: false,
            done_reason: None,
            prompt_eval_count: None,
            eval_count: None,
            logprobs: None,
        }
    }
}

impl StreamWriter for Writer {
    fn write(&mut self, event: Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { model, created, .. } => {
                if !model.is_empty() {
                    self.model = model;
                }
                self.created_at = created_at(created);
            }
            // The dialect has one answer.
            Event::Open { choice, .. }
            | Event::Delta { choice, .. }
            | Event::Close { choice, .. }
            | Event::Logprobs { choice, .. }
            | Event::Finish { choice, .. }
                if choice > 0 => {}
            Event::Open { index, opening, .. } => self.opened(index, opening, out),
            Event::Delta { index, delta, .. } => self.grown(index, delta, out),
            Event::Close { index, .. } => self.closed(index, out),
            Event::Logprobs { logprobs, .. } => {
                let logprobs = Some(logprobs.into_iter().map(Logprob::from).collect());
                self.piece(Piece { logprobs, ..Piece::default() }, out);
            }
            Event::Finish { finish, .. } => self.finish = Some(finish),
            Event::Usage(usage) | Event::UsageSoFar(usage) => self.usage = Some(usage),
            Event::Trouble(trouble) => write_line(&json!({ "error": trouble.message }), out),
            Event::End => {
                let mut line = self.line(&Piece::default());
                line.done = true;
                line.done_reason = Some(Cow::Borrowed(done_reason(self.finish.as_ref().unwrap_or(&Finish::Stop))));
                line.prompt_eval_count = self.usage.map(|usage| usage.input);
                line.eval_count = self.usage.map(|usage| usage.output);
                write_line(&line, out);
            }
        }
    }
}

fn write_line(line: &impl Serialize, out: &mut Vec<u8>) {
    // What is written has texts for its keys and goes into memory: it cannot fail.
    let _ = serde_json::to_writer(&mut *out, line);
    out.push(b'\n');
}
