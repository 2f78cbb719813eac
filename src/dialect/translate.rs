//! Between two dialects: a request, a whole answer, and a stream on its way from the one to the other.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::custom::Customs;
use super::ir::{
    Answer, Block, Collector, Content, Dropped, Event, Finish, Media, MediaKind, MediaSource, Message, Request, Role, Trouble, TroubleKind,
};
use super::{Ask, Asked, Codec, Ending, Reading, StreamReader, StreamWriter, To, codec, openai_responses};
use crate::catalog::Dialect;
use crate::error::Refusal;
use crate::ledger::record::Usage;

/// What is written of one piece needs no more than this, but for a rare one.
const USUAL_OUT: usize = 16 << 10;

/// A stream that becomes another dialect's on its way.
pub struct Translation {
    reader: Box<dyn StreamReader>,
    writer: Box<dyn StreamWriter>,
    customs: Customs,
    events: Vec<Event>,
    out: Vec<u8>,
    usage: Option<Usage>,
    /// Bytes of what the model said, for where no usage is reported.
    said: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Ended,
    /// An error was told, and nothing is told after it.
    Failed,
}

/// What a whole answer becomes.
#[derive(Debug)]
pub struct Translated {
    /// The answer for the caller.
    pub body: Bytes,
    /// What the caller's dialect could not say.
    pub dropped: Dropped,
    /// What it cost.
    pub reading: Reading,
}

/// Reads a chat request into the intermediate form.
pub fn read_request(ask: &Ask) -> Result<Asked, Refusal> {
    let from = codec(ask.called.dialect);
    let mut request = from.decode_request(&ask.called, &ask.body)?;
    request.model.clone_from(&ask.model);
    request.stream = ask.stream;
    Ok(Asked { called: ask.called.clone(), request: Arc::new(request), body: ask.body.clone() })
}

/// Writes a chat request in a provider's dialect.
pub fn write_request(request: &Request, dialect: Dialect, to: &To<'_>) -> Result<(Bytes, Dropped), Refusal> {
    if dialect != Dialect::OpenaiResponses {
        openai_responses::refuse_held_state(request)?;
    }
    refuse_what_is_needed(request, dialect)?;
    refuse_files_elsewhere(request, dialect)?;
    let mut dropped = Dropped::default();
    let told = with_results_told(request, dialect);
    let body = codec(dialect).encode_request(&told, to, &mut dropped)?;
    request.unread.iter().for_each(|name| dropped.note(name.clone()));
    name_what_is_elsewhere(request, dialect, &mut dropped);
    Ok((body, dropped))
}

/// Names what dialects have no place for at all.
fn name_what_is_elsewhere(request: &Request, dialect: Dialect, dropped: &mut Dropped) {
    dropped.note_if(has_foreign_signature(request, dialect), "signature");
    let blocks = || request.messages.iter().flat_map(|message| &message.content);
    let media = || blocks().filter_map(|block| if let Content::Media(media) = &block.content { Some(media) } else { None });
    let has_no_detail = matches!(dialect, Dialect::BedrockConverse | Dialect::Ollama);
    let is_asked = |detail: &str| detail != "auto";
    dropped.note_if(has_no_detail && media().any(|media| media.detail.as_deref().is_some_and(is_asked)), "detail");
    dropped.note_if(dialect == Dialect::Ollama && media().any(|media| media.citable), "citations");
    let result =
        |block: &Block| matches!(&block.content, Content::ToolResult(result) if result.content.iter().any(|part| part.cache.is_some()));
    let has_no_marks = !matches!(dialect, Dialect::OpenaiChat | Dialect::AnthropicMessages | Dialect::BedrockConverse);
    dropped.note_if(has_no_marks && blocks().any(result), "cache");
    let is_instruction = |message: &Message| matches!(message.role, Role::System | Role::Developer);
    let moved = request.messages.iter().skip_while(|message| is_instruction(message)).any(is_instruction);
    dropped.note_if(moved && matches!(dialect, Dialect::Gemini | Dialect::BedrockConverse), "system_position");
}

/// A file that another provider holds is seen by that provider alone.
fn refuse_files_elsewhere(request: &Request, dialect: Dialect) -> Result<(), Refusal> {
    use Dialect::{OpenaiChat, OpenaiResponses};
    let is_seen = |of: Dialect, kind: MediaKind| match (of, dialect) {
        (OpenaiChat | OpenaiResponses, OpenaiResponses) => true,
        // Chat takes files of its own as documents alone.
        (OpenaiChat | OpenaiResponses, OpenaiChat) => kind == MediaKind::Document,
        _ => of == dialect,
    };
    let elsewhere = |block: &Block| match &block.content {
        Content::Media(Media { kind, source: MediaSource::File { of, id }, .. }) if !is_seen(*of, *kind) => Some(id.clone()),
        _ => None,
    };
    let in_result = |block: &Block| match &block.content {
        Content::ToolResult(result) => result.content.iter().find_map(elsewhere),
        _ => None,
    };
    let mut blocks = request.messages.iter().flat_map(|message| &message.content);
    match blocks.find_map(|block| elsewhere(block).or_else(|| in_result(block))) {
        None => Ok(()),
        Some(id) => {
            let id: String = id.chars().take(100).collect();
            let message = format!(
                "The file '{id}' was uploaded to another provider than this model's, which cannot see it: send its content in the request, as base64."
            );
            Err(Refusal::invalid("not_expressible", message).with_param("messages"))
        }
    }
}

/// Whether a call of the history has what another dialect's provider wants back with it.
fn has_foreign_signature(request: &Request, dialect: Dialect) -> bool {
    let is_foreign = |block: &Block| match &block.content {
        Content::ToolCall(call) => call.signature.as_ref().is_some_and(|signature| signature.by != dialect),
        _ => false,
    };
    request.messages.iter().flat_map(|message| &message.content).any(is_foreign)
}

/// Members of one dialect alone without which a request means something else, and what to do instead.
const NEEDED: [(Dialect, &str, &str); 5] = [
    (Dialect::Gemini, "cachedContent", "send what is cached in 'contents' instead"),
    (Dialect::BedrockConverse, "guardrailConfig", "leave it out if the answer may go unguarded, or name a model of Bedrock's"),
    (Dialect::Ollama, "context", "send the conversation to /api/chat instead"),
    (Dialect::Ollama, "suffix", "name a model of an Ollama server"),
    (Dialect::Ollama, "raw", "leave it out, or name a model of an Ollama server"),
];

fn refuse_what_is_needed(request: &Request, dialect: Dialect) -> Result<(), Refusal> {
    let is_said = |value: &Value| {
        !matches!(value, Value::Null | Value::Bool(false))
            && value.as_str() != Some("")
            && value.as_array().is_none_or(|list| !list.is_empty())
    };
    let of = request.extra.of.filter(|of| *of != dialect);
    let is_sent = |name: &str| request.extra.fields.get(name).is_some_and(is_said);
    match NEEDED.iter().find(|(whose, name, _)| of == Some(*whose) && is_sent(name)) {
        None => Ok(()),
        Some((_, name, instead)) => {
            let message = format!(
                "'{name}' cannot be said to the provider behind this model, and without it the request means something else: {instead}."
            );
            Err(Refusal::invalid("not_expressible", message).with_param(name))
        }
    }
}

/// What another dialect alone knows is told to the model as it is where it stands in a tool's result: a result is never lost.
fn with_results_told(request: &Request, dialect: Dialect) -> Cow<'_, Request> {
    let foreign = |content: &Content| match content {
        Content::Other { of, value } if *of != dialect => Some(value.to_string()),
        Content::Builtin(builtin) if builtin.of != dialect => Some(builtin.value.to_string()),
        _ => None,
    };
    let is_foreign = |block: &Block| matches!(&block.content, Content::ToolResult(result) if result.content.iter().any(|part| foreign(&part.content).is_some()));
    if !request.messages.iter().flat_map(|message| &message.content).any(is_foreign) {
        return Cow::Borrowed(request);
    }
    let mut told = request.clone();
    for block in told.messages.iter_mut().flat_map(|message| &mut message.content) {
        if let Content::ToolResult(result) = &mut block.content {
            for part in &mut result.content {
                if let Some(text) = foreign(&part.content) {
                    *part = Block::text(text);
                }
            }
        }
    }
    Cow::Owned(told)
}

/// Turns a provider's whole answer into the caller's dialect, as a stream where it asked for one; the error says what is wrong with it.
pub fn whole(body: &[u8], from: Dialect, asked: &Asked) -> Result<Translated, String> {
    let answer = codec(from).decode_answer(body)?;
    Ok(write_answer(answer, asked))
}

/// Turns a provider's stream, read whole, into a whole answer; the error is the provider's own, or says that the stream broke off.
pub fn collected(body: &[u8], from: Dialect, asked: &Asked) -> Result<Translated, Trouble> {
    let mut reader = codec(from).stream_reader();
    let mut events = Vec::new();
    reader.push(body, &mut events);
    reader.finish(&mut events);
    if !events.iter().any(|event| matches!(event, Event::End | Event::Trouble(_))) {
        return Err(broke_off());
    }
    let mut collector = Collector::default();
    events.into_iter().for_each(|event| collector.take(event));
    Ok(write_answer(collector.finish()?, asked))
}

fn write_answer(mut answer: Answer, asked: &Asked) -> Translated {
    Customs::of(&asked.request).restore(&mut answer);
    let to: &dyn Codec = codec(asked.called.dialect);
    let mut dropped = Dropped::default();
    let said: usize = answer.choices.iter().map(|choice| choice.text().len()).sum();
    let reading = Reading { usage: answer.usage, estimated_output: (said / 4) as u64, ending: Ending::Complete };
    // To another dialect's caller a turn that was paused looks like one that has ended.
    let is_paused = answer.choices.iter().any(|choice| choice.finish == Finish::Pause);
    dropped.note_if(is_paused && asked.called.dialect != Dialect::AnthropicMessages, "finish_reason");
    let body = match asked.request.stream {
        false => to.encode_answer(answer, asked, &mut dropped),
        true => {
            let mut writer = to.stream_writer(asked);
            let mut out = Vec::new();
            answer.into_events().into_iter().for_each(|event| writer.write(event, &mut out));
            Bytes::from(out)
        }
    };
    Translated { body, dropped, reading }
}

fn broke_off() -> Trouble {
    Trouble {
        kind: TroubleKind::Server,
        code: Some("provider_broke_off".to_owned()),
        message: "The provider's stream broke off before its end: send the request again.".to_owned(),
        param: None,
    }
}

// === impl Translation ===

impl Translation {
    /// From a provider's stream to the caller's.
    pub fn new(from: Dialect, asked: &Asked) -> Translation {
        Translation {
            reader: codec(from).stream_reader(),
            writer: codec(asked.called.dialect).stream_writer(asked),
            customs: Customs::of(&asked.request),
            events: Vec::new(),
            out: Vec::new(),
            usage: None,
            said: 0,
            state: State::Running,
        }
    }

    /// Takes bytes of the provider's, gives those for the caller.
    pub fn pass(&mut self, piece: &[u8]) -> Bytes {
        self.reader.push(piece, &mut self.events);
        self.write();
        self.take_out()
    }

    /// The provider's stream has ended: the last bytes for the caller, and what it cost.
    pub fn finish(&mut self) -> (Bytes, Reading) {
        self.reader.finish(&mut self.events);
        self.write();
        let ending = match self.state {
            State::Running => Ending::Open,
            State::Ended => Ending::Complete,
            State::Failed => Ending::Failed,
        };
        let reading = Reading { usage: self.usage, estimated_output: (self.said / 4) as u64, ending };
        (self.take_out(), reading)
    }

    /// The provider failed: what tells the caller.
    pub fn fail(&mut self, trouble: &Trouble) -> Bytes {
        self.events.push(Event::Trouble(trouble.clone()));
        self.write();
        self.take_out()
    }

    /// What was written, copied once: the room that it was written in is used again, and never has to grow anew.
    fn take_out(&mut self) -> Bytes {
        let out = Bytes::copy_from_slice(&self.out);
        self.out.clear();
        self.out.shrink_to(USUAL_OUT);
        out
    }

    fn write(&mut self) {
        for event in self.events.drain(..) {
            if self.state != State::Running {
                break;
            }
            match &event {
                Event::Usage(usage) => self.usage = Some(*usage),
                Event::Delta { delta, .. } => self.said += delta.len(),
                Event::End => self.state = State::Ended,
                _ => {}
            }
            let (writer, out, state) = (&mut self.writer, &mut self.out, &mut self.state);
            self.customs.pass(event, |event| {
                if matches!(event, Event::Trouble(_)) {
                    *state = State::Failed;
                }
                writer.write(event, out);
            });
        }
    }
}

impl fmt::Debug for Translation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Translation").field("state", &self.state).field("usage", &self.usage).finish_non_exhaustive()
    }
}
