//! A prompt that is called as a model and answers in a stream: it passes as it comes, and where what it said does not fit, an error takes the place of its end.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use http::{HeaderValue, Response};

use crate::catalog::Dialect;
use crate::dialect::ir::{Delta, Event, Finish, Opening};
use crate::dialect::{StreamReader, codec};
use crate::prompt::Prompt;
use crate::prompt::output::{self, Output};
use crate::surface::Surface;

/// A stream on its way to its caller.
struct Flow {
    source: BodyDataStream,
    reader: Box<dyn StreamReader>,
    surface: &'static dyn Surface,
    prompt: Arc<Prompt>,
    request_id: HeaderValue,
    /// The dialect's events are lines.
    is_lines: bool,
    /// By their numbers.
    choices: HashMap<u32, Choice>,
    /// What came of an event whose end is to come.
    held: BytesMut,
    /// What comes from here on is read, so that it is counted, and goes nowhere.
    is_unfit: bool,
    has_ended: bool,
}

/// What one choice has come to.
#[derive(Default)]
struct Choice {
    said: String,
    /// It calls a tool first.
    calls: bool,
    /// It says words that decline.
    refuses: bool,
}

/// The answer, checked as it passes; nobody can ask for it once more, since its caller has read it.
pub(super) fn checked(
    surface: &'static dyn Surface,
    dialect: Dialect,
    prompt: &Arc<Prompt>,
    request_id: &HeaderValue,
    response: Response<Body>,
) -> Response<Body> {
    let (head, body) = response.into_parts();
    let flow = Flow {
        source: body.into_data_stream(),
        reader: codec(dialect).stream_reader(),
        surface,
        prompt: Arc::clone(prompt),
        request_id: request_id.clone(),
        is_lines: dialect != Dialect::BedrockConverse,
        choices: HashMap::new(),
        held: BytesMut::new(),
        is_unfit: false,
        has_ended: false,
    };
    Response::from_parts(head, Body::from_stream(stream::unfold(flow, Flow::next)))
}

// === impl Flow ===

impl Flow {
    async fn next(mut self) -> Option<(Result<Bytes, io::Error>, Flow)> {
        while !self.has_ended {
            let out = match self.source.next().await {
                Some(Ok(piece)) => self.take(&piece),
                Some(Err(error)) => return Some((Err(io::Error::other(error)), Flow { has_ended: true, ..self })),
                None => self.end(),
            };
            if !out.is_empty() {
                return Some((Ok(out), self));
            }
        }
        None
    }

    /// What of a piece can be passed on: whole events, up to one that ends an answer which does not fit.
    fn take(&mut self, piece: &[u8]) -> Bytes {
        let mut out = BytesMut::new();
        let mut events = Vec::new();
        for line in piece.split_inclusive(|byte| *byte == b'\n') {
            if self.is_unfit {
                break;
            }
            self.held.extend_from_slice(line);
            self.reader.push(line, &mut events);
            let ends_event = self.is_lines && line.iter().all(u8::is_ascii_whitespace);
            if events.is_empty() && !ends_event {
                continue;
            }
            events.drain(..).for_each(|event| self.look(event));
            if !self.is_unfit {
                out.unsplit(self.held.split());
            }
        }
        out.freeze()
    }

    fn end(&mut self) -> Bytes {
        self.has_ended = true;
        let mut events = Vec::new();
        if !self.is_unfit {
            self.reader.finish(&mut events);
            events.drain(..).for_each(|event| self.look(event));
        }
        match self.is_unfit {
            true => self.surface.error_event(&output::unfit()),
            false => self.held.split().freeze(),
        }
    }

    fn look(&mut self, event: Event) {
        match event {
            Event::Delta { choice, delta: Delta::Text(text), .. } => self.choices.entry(choice).or_default().said.push_str(&text),
            Event::Delta { choice, delta: Delta::Refusal(_), .. } => self.choices.entry(choice).or_default().refuses = true,
            Event::Open { choice, opening: Opening::ToolCall { .. }, .. } => self.choices.entry(choice).or_default().calls = true,
            Event::Finish { choice, finish } if !self.is_unfit => self.judge(choice, finish),
            _ => {}
        }
    }

    fn judge(&mut self, choice: u32, finish: Finish) {
        let Choice { said, calls, refuses } = self.choices.remove(&choice).unwrap_or_default();
        let finish = finish.said(refuses);
        // What was withheld or cut off, the dialect tells in its own way.
        self.is_unfit = !calls && output::is_whole(&finish) && matches!(output::read(&self.prompt, &said, true), Output::Unfit(_));
        if self.is_unfit {
            let (request_id, prompt) = (self.request_id.to_str().unwrap_or_default(), self.prompt.label());
            tracing::warn!(
                request_id,
                prompt,
                "a streamed answer does not fit its prompt's output schema: its caller is told so at its end"
            );
        }
    }
}
