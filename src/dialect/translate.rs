//! Between two dialects: a request, a whole answer, and a stream on its way from the one to the other.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::custom::Customs;
use super::ir::{Answer, Collector, Dropped, Event, Finish, Request, Trouble, TroubleKind};
use super::{Ask, Asked, Codec, Ending, Reading, StreamReader, StreamWriter, To, codec, elsewhere};
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
    so_far: Option<Usage>,
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
    elsewhere::check(request, dialect)?;
    let mut dropped = Dropped::default();
    let told = elsewhere::with_results_told(request, dialect);
    let body = codec(dialect).encode_request(&told, to, &mut dropped)?;
    elsewhere::name(request, dialect, &mut dropped);
    Ok((body, dropped))
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
    let is_told = events.iter().any(|event| matches!(event, Event::Usage(_)));
    let mut collector = Collector::default();
    events.into_iter().for_each(|event| collector.take(event));
    let mut translated = write_answer(collector.finish()?, asked);
    if !is_told {
        translated.reading.so_far = translated.reading.usage.take();
    }
    Ok(translated)
}

fn write_answer(mut answer: Answer, asked: &Asked) -> Translated {
    Customs::of(&asked.request).restore(&mut answer);
    let to: &dyn Codec = codec(asked.called.dialect);
    let mut dropped = Dropped::default();
    let said: usize = answer.choices.iter().map(|choice| choice.text().len()).sum();
    let says = answer.choices.iter().any(|choice| !choice.content.is_empty());
    let (usage, estimated_output) = (answer.usage, (said / 4) as u64);
    let reading = Reading { usage, estimated_output, said: Some(says), ending: Ending::Complete, ..Reading::default() };
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
            so_far: None,
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
        let said = (self.said > 0).then_some(true);
        let reading = Reading { usage: self.usage, so_far: self.so_far, estimated_output: (self.said / 4) as u64, said, ending };
        (self.take_out(), reading)
    }

    /// Whether the provider's last event has come.
    pub fn has_ended(&self) -> bool {
        self.state == State::Ended
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
                Event::Usage(usage) => self.usage = Some(usage.after(self.usage)),
                Event::UsageSoFar(usage) => self.so_far = Some(usage.after(self.so_far)),
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
