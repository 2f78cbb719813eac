//! An answer's body on its way to the caller: pieces that are ready go out together, a meter watches, the ticket settles at the end.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use tokio::time::{Sleep, sleep};

use super::conceal::Concealer;
use super::failure::{Failure, Who};
use super::pool::PooledBody;
use crate::dialect::ir::Trouble;
use crate::dialect::{Ending, Meter, Reading};
use crate::ledger::record::Outcome;
use crate::surface::Surface;
use crate::ticket::Ticket;

/// Pieces that are ready are joined up to this size: one write for many events, and none is ever waited for.
const JOIN_UP_TO: usize = 16 << 10;

/// How long a provider may take to close an answer whose last event it has sent: its connection can be used again then.
const TO_CLOSE: Duration = Duration::from_secs(1);

/// Whatever broke an answer off.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Where an answer comes from.
pub enum Source {
    /// A provider, over a connection of this worker.
    Pooled(PooledBody),
    /// A provider, by the general client.
    Network(reqwest::Body),
    /// Bytes that are there already, until they are taken.
    Ready(Option<Bytes>),
    /// What was read of it already, and the rest.
    Begun(VecDeque<Bytes>, Box<Source>),
}

/// Passes an answer on.
pub struct AnswerBody {
    source: Source,
    silence: Pin<Box<Sleep>>,
    idle: Duration,
    last_piece: Instant,
    /// Read already, and still to be passed on.
    before: Option<Bytes>,
    /// How many bytes its caller still waits for, where that was told.
    left: Option<u64>,
    /// Its dialect's last event has passed, and its provider has a moment to close it.
    is_over: bool,
    watch: Watch,
    state: State,
}

/// What an answer is measured with, and what it is charged to.
pub struct Watch {
    /// Reads the usage.
    pub meter: Meter,
    /// Settles when the answer ends.
    pub ticket: Ticket,
    /// Who answers.
    pub provider: Who,
    /// Keeps our credential out of it.
    pub concealer: Option<Concealer>,
    /// Whether it is a stream of events, which can end with an error event.
    pub is_stream: bool,
    /// How its caller is told.
    pub surface: &'static dyn Surface,
}

enum State {
    Running,
    /// What was joined has gone out, and this is still to be told.
    Failing(Failure),
    Ended,
}

/// Pieces on their way out: the first as it is, more of them copied together.
#[derive(Default)]
struct Joined {
    first: Bytes,
    more: BytesMut,
}

// === impl Source ===

impl Body for Source {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Source::Pooled(body) => Pin::new(body).poll_frame(context).map_err(BoxError::from),
            Source::Network(body) => Pin::new(body).poll_frame(context).map_err(BoxError::from),
            Source::Ready(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Source::Begun(read, rest) => match read.pop_front() {
                Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                None => Pin::new(rest).poll_frame(context),
            },
        }
    }
}

// === impl Watch ===

impl Watch {
    /// What is to be passed on of a piece.
    fn pass(&mut self, piece: Bytes) -> Bytes {
        let passed = self.meter.pass(piece);
        match &mut self.concealer {
            Some(concealer) => concealer.pass(passed),
            None => passed,
        }
    }

    fn finish(&mut self) -> (Bytes, Reading) {
        let (held_back, reading) = self.meter.finish();
        let Some(concealer) = &mut self.concealer else { return (held_back, reading) };
        let (passed, rest) = (concealer.pass(held_back), concealer.finish());
        (if rest.is_empty() { passed } else { [passed, rest].concat().into() }, reading)
    }
}

// === impl AnswerBody ===

impl AnswerBody {
    /// Passes on `before` and then `source`, which may be silent for `idle` at the most.
    pub fn new(before: Vec<Bytes>, source: Source, idle: Duration, mut watch: Watch) -> AnswerBody {
        let before: Vec<Bytes> = before.into_iter().map(|piece| watch.pass(piece)).collect();
        AnswerBody {
            source,
            silence: Box::pin(sleep(idle)),
            idle,
            last_piece: Instant::now(),
            before: (!before.is_empty()).then(|| before.concat().into()),
            left: None,
            is_over: false,
            watch,
            state: State::Running,
        }
    }

    /// Its caller was told how long it is, and reads no further.
    pub fn of_length(mut self, length: Option<u64>) -> AnswerBody {
        self.left = length;
        self
    }

    /// Takes all pieces that are ready; the state says whether there can be more.
    fn take_ready(&mut self, context: &mut Context<'_>) -> Poll<Joined> {
        let mut joined = Joined { first: self.before.take().unwrap_or_default(), more: BytesMut::new() };
        while joined.len() < JOIN_UP_TO {
            match Pin::new(&mut self.source).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(piece) = frame.into_data() {
                        self.last_piece = Instant::now();
                        joined.push(self.watch.pass(piece));
                    }
                }
                // All of it is there: how the connection ends matters to nobody.
                Poll::Ready(Some(Err(_))) if self.watch.meter.is_complete() => {
                    joined.push(self.end());
                    return Poll::Ready(joined);
                }
                Poll::Ready(Some(Err(e))) => {
                    self.state = State::Failing(Failure::of_breaking_off(&self.watch.provider, &*e));
                    return Poll::Ready(joined);
                }
                Poll::Ready(None) => {
                    joined.push(self.end());
                    return Poll::Ready(joined);
                }
                Poll::Pending if joined.len() > 0 => return Poll::Ready(joined),
                Poll::Pending => return self.wait(context).map(|first| Joined { first, ..Joined::default() }),
            }
        }
        Poll::Ready(joined)
    }

    /// Ready once the silence has lasted too long, with what is still held back.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<Bytes> {
        if self.watch.meter.is_complete() {
            if !std::mem::replace(&mut self.is_over, true) {
                self.silence.as_mut().reset(tokio::time::Instant::now() + TO_CLOSE.min(self.idle));
            }
            return self.silence.as_mut().poll(context).map(|()| self.end());
        }
        while self.silence.as_mut().poll(context).is_ready() {
            let left = self.idle.saturating_sub(self.last_piece.elapsed());
            if left.is_zero() {
                let provider = self.watch.provider.clone();
                self.state = State::Failing(Failure::TimedOut { provider, after: self.idle });
                return Poll::Ready(Bytes::new());
            }
            // The timer is only moved when it fires, not with every piece.
            self.silence.as_mut().reset(tokio::time::Instant::now() + left);
        }
        Poll::Pending
    }

    /// The provider has closed its answer, which may not have been all of it: what is still held back.
    fn end(&mut self) -> Bytes {
        let (held_back, reading) = self.watch.finish();
        let outcome = match reading.ending {
            Ending::Open if self.watch.meter.tells_its_end() => {
                let why = "its stream ended without saying so".to_owned();
                self.state = State::Failing(Failure::BrokeOff { provider: self.watch.provider.clone(), why });
                // Half a line would only spoil the event that follows; what was translated is whole.
                return if matches!(self.watch.meter, Meter::Translation(_)) { held_back } else { Bytes::new() };
            }
            Ending::Failed => Outcome::ProviderError,
            Ending::Open | Ending::Finished | Ending::Complete => Outcome::Answered,
        };
        self.state = State::Ended;
        self.watch.ticket.settle(outcome, Some(reading));
        held_back
    }

    fn settle(&mut self, outcome: Outcome) -> Bytes {
        self.state = State::Ended;
        let (held_back, reading) = self.watch.finish();
        let has_all = outcome == Outcome::Abandoned && reading.ending == Ending::Complete;
        self.watch.ticket.settle(if has_all { Outcome::Answered } else { outcome }, Some(reading));
        held_back
    }

    /// A stream ends with an event that says what happened; a whole answer can only be cut off.
    fn fail(&mut self, failure: Failure) -> Result<Frame<Bytes>, std::io::Error> {
        let refusal = failure.refusal();
        let told = self.watch.meter.fail(&Trouble::from(&refusal));
        // What is held back is half a line: it would only spoil the event that follows.
        self.settle(Outcome::Failed);
        if !self.watch.is_stream {
            return Err(std::io::Error::other(refusal.message));
        }
        Ok(Frame::data(told.unwrap_or_else(|| self.watch.surface.error_event(&refusal))))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let this = &mut *self;
        loop {
            match std::mem::replace(&mut this.state, State::Running) {
                State::Ended => {
                    this.state = State::Ended;
                    return Poll::Ready(None);
                }
                State::Failing(failure) => return Poll::Ready(Some(this.fail(failure))),
                State::Running => {
                    let std::task::Poll::Ready(mut joined) = this.take_ready(context) else { return Poll::Pending };
                    if joined.len() > 0 {
                        this.left = this.left.map(|left| left.saturating_sub(joined.len() as u64));
                        if this.left == Some(0) && matches!(this.state, State::Running) {
                            joined.push(this.end());
                        }
                        return Poll::Ready(Some(Ok(Frame::data(joined.into_bytes()))));
                    }
                }
            }
        }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        if !matches!(self.state, State::Ended) {
            self.settle(Outcome::Abandoned);
        }
    }
}

// === impl Joined ===

impl Joined {
    fn push(&mut self, piece: Bytes) {
        if self.first.is_empty() {
            self.first = piece;
        } else if !piece.is_empty() {
            if self.more.is_empty() {
                self.more.reserve(JOIN_UP_TO);
                self.more.extend_from_slice(&self.first);
            }
            self.more.extend_from_slice(&piece);
        }
    }

    fn len(&self) -> usize {
        self.first.len().max(self.more.len())
    }

    fn into_bytes(self) -> Bytes {
        if self.more.is_empty() { self.first } else { self.more.freeze() }
    }
}
