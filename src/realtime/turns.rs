//! The responses of a session: each is reserved and written down before it can begin, as a request of its own, and settled when its
//! provider reports it.
//!
//! Source: OpenAI's Realtime reference, client events `response.create` and `input_audio_buffer.append`, server events
//! `response.created`, `response.done` and `error`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use http::request::Parts;

use super::events::{Asked, Told, What};
use super::naming::{Names, named};
use super::transcripts::Transcripts;
use crate::catalog::Operation;
use crate::dialect::Reading;
use crate::error::Refusal;
use crate::exchange::estimate::{self, Estimate, Input};
use crate::exchange::{ledger_down, may_use_all};
use crate::gateway::Gateway;
use crate::key::{Caller, KeyId};
use crate::ledger::record::{Outcome, Usage};
use crate::quota::{Need, Stage};
use crate::route::Target;
use crate::ticket::Ticket;

/// A session's responses, and on whose account they are.
pub struct Turns {
    /// For tickets.
    pub gateway: Arc<Gateway>,
    /// The caller's request.
    pub head: Parts,
    /// Whose session it is, as the key is now.
    caller: Mutex<Caller>,
    /// Why nothing new may begin, while nobody can tell whether the key still holds.
    doubt: Mutex<Option<Refusal>>,
    /// Who answers.
    pub target: Target,
    /// The model as the caller names it.
    pub model: String,
    transcripts: Transcripts,
    names: Names,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Those that were asked for or have begun, and have not ended.
    open: VecDeque<Turn>,
    /// Held for what sound may bring about: where the provider hears a pause, it answers without being asked.
    waiting: Option<Turn>,
    /// What was said so far: bytes of text, and tokens of sound.
    said: u64,
}

/// One response, or transcript.
pub struct Turn {
    ticket: Ticket,
    /// What the event is called that asks for it, on its way to the provider.
    event_id: Option<String>,
    has_begun: bool,
}

/// What a model is to do for a session.
pub struct Part<'a> {
    /// Who does it.
    pub target: &'a Target,
    /// What it is.
    pub operation: Operation,
    /// The model as it is named.
    pub model: &'a str,
    /// What it may take.
    pub estimate: Estimate,
}

/// What has begun with nothing held for it.
pub struct Begun {
    /// It, written down.
    pub turn: Turn,
    /// Whether there was room for it; where there was none, the session ends.
    pub room: Result<(), Refusal>,
}

/// What is to become of a caller's event.
pub enum Verdict {
    /// It is sent on.
    Pass,
    /// It is sent on by another name.
    Rename(Vec<u8>),
    /// It is not, and its caller is told why.
    Refuse(Refusal, Option<String>),
    /// Nor is anything after it.
    End(Refusal),
}

/// Bytes of an event with sound that are a token at least: of the leanest format, 8,000 bytes a second, one of 10 tokens has 1,067.
const SOUND_A_TOKEN: u64 = 500;

// === impl Turns ===

impl Turns {
    /// Of a session that has just been opened.
    pub fn new(gateway: Arc<Gateway>, head: Parts, caller: Caller, target: Target, model: String) -> Turns {
        Turns {
            gateway,
            head,
            caller: Mutex::new(caller),
            doubt: Mutex::default(),
            target,
            model,
            transcripts: Transcripts::default(),
            names: Names::default(),
            state: Mutex::default(),
        }
    }

    /// The key as it is now: it may belong to another project than before.
    pub fn called_by(&self, caller: Caller) {
        *locked(&self.caller) = caller;
        *locked(&self.doubt) = None;
    }

    /// Nobody can tell how the key is now.
    pub fn doubt(&self, why: Refusal) {
        *locked(&self.doubt) = Some(why);
    }

    /// The key that it goes on under.
    pub fn key(&self) -> KeyId {
        locked(&self.caller).id()
    }

    /// A caller's message, before it is sent on; `is_text` where it is an event and nothing else.
    pub async fn asked(&self, message: &[u8], is_text: bool) -> Verdict {
        let asked = match Asked::read(message) {
            Ok(asked) => asked,
            // What one reader takes for something else than another is not sent on.
            Err(refusal) if is_text || message.trim_ascii_start().starts_with(b"{") => return Verdict::Refuse(refusal, None),
            Err(_) => return Verdict::Pass,
        };
        let bytes = message.len() as u64;
        match asked.what {
            What::Create => match self.create(bytes, &asked).await {
                Ok(name) => Verdict::Rename(named(message, &name)),
                Err(refusal) => Verdict::Refuse(refusal, asked.event_id),
            },
            What::Sound => match self.heard(bytes).await {
                Ok(()) => Verdict::Pass,
                // Sound comes without end: each piece of it refused would be told without end.
                Err(refusal) => Verdict::End(refusal),
            },
            What::Other => {
                self.lock().said += bytes;
                Verdict::Pass
            }
        }
    }

    /// An event of the provider's, before it is passed on; a refusal where a response has begun that its caller may not have.
    pub async fn told(&self, text: &str) -> Result<(), Refusal> {
        match Told::read(text) {
            Some(told) => self.tell(told).await,
            None => Ok(()),
        }
    }

    async fn tell(&self, told: Told) -> Result<(), Refusal> {
        match told {
            Told::Created => self.begun().await,
            Told::Done(usage) => match self.take() {
                Some(turn) => {
                    self.ended(turn, usage);
                    Ok(())
                }
                // Nothing asked for it: it is charged all the same.
                None => {
                    let Begun { turn, room } = self.response_begun().await?;
                    self.ended(turn, usage);
                    room
                }
            },
            Told::Error(about) => {
                about.into_iter().for_each(|about| self.not_begun(&about));
                Ok(())
            }
            Told::Session(transcriber) => {
                self.transcripts.written_by(transcriber.as_deref(), &self.target);
                Ok(())
            }
            Told::Committed => self.transcripts.begun(self).await,
            Told::Transcribed(usage) => self.transcripts.told(self, usage).await,
            Told::NotTranscribed => {
                self.transcripts.failed();
                Ok(())
            }
        }
    }

    /// An event of the provider's in its caller's words.
    pub fn in_callers_words(&self, text: &str) -> Option<String> {
        self.names.put_back(text)
    }

    /// Whether the key may use a model that the session names by itself.
    pub fn may_use(&self, target: &Target) -> Result<(), Refusal> {
        let (caller, name) = (locked(&self.caller), target.full_name());
        may_use_all(&caller, &name, std::slice::from_ref(target), false).map_err(|reason| reason.refusal(Some(caller.id())))
    }

    /// The end of a response that was told after the session's, when nobody is left to be refused anything.
    pub async fn told_late(&self, text: &str) {
        let late = match Told::read(text) {
            Some(told @ (Told::Done(_) | Told::Committed | Told::Transcribed(_))) => self.tell(told).await,
            _ => Ok(()),
        };
        if let Err(refusal) = late {
            tracing::warn!(code = refusal.code, "a session used more at its end than its key has room for");
        }
    }

    /// The session has ended: what was under way may be billed by its provider, and what only might have begun was not.
    pub fn end(&self, outcome: Outcome) {
        let State { open, waiting, .. } = std::mem::take(&mut *self.lock());
        let outcome = if outcome == Outcome::Failed { Outcome::Failed } else { Outcome::Abandoned };
        open.into_iter().for_each(|turn| turn.settle(outcome, None));
        waiting.into_iter().for_each(Turn::unused);
        self.transcripts.end(outcome);
    }

    /// The name by which the event goes on.
    async fn create(&self, bytes: u64, asked: &Asked) -> Result<String, Refusal> {
        let said = {
            let mut state = self.lock();
            state.said += bytes;
            state.said
        };
        // What is held for sound is for the response that sound brings about.
        let mut turn = self.reserve_response(said, asked.max_output).await?;
        let name = self.names.give(asked.event_id.clone());
        turn.event_id = Some(name.clone());
        self.lock().open.push_back(turn);
        Ok(name)
    }

    /// Sound has come: whatever it brings about is held for.
    async fn heard(&self, bytes: u64) -> Result<(), Refusal> {
        let (said, is_held) = {
            let mut state = self.lock();
            state.said += bytes.div_ceil(SOUND_A_TOKEN);
            (state.said, state.waiting.is_some())
        };
        if !is_held {
            let turn = self.reserve_response(said, None).await?;
            self.lock().waiting = Some(turn);
        }
        self.transcripts.hear(self).await
    }

    /// A response has begun: one that was asked for, or one that sound has brought about.
    async fn begun(&self) -> Result<(), Refusal> {
        {
            let mut state = self.lock();
            if let Some(turn) = state.open.iter_mut().find(|turn| !turn.has_begun) {
                turn.begin(&self.target);
                return Ok(());
            }
            if let Some(mut turn) = state.waiting.take() {
                turn.begin(&self.target);
                state.open.push_back(turn);
                return Ok(());
            }
        }
        let Begun { mut turn, room } = self.response_begun().await?;
        turn.begin(&self.target);
        self.lock().open.push_back(turn);
        room
    }

    /// The provider refuses an event: where that is one that asked for a response, there will be none.
    fn not_begun(&self, about: &str) {
        let mut state = self.lock();
        let is_about = |turn: &Turn| !turn.has_begun && turn.event_id.as_deref() == Some(about);
        // One that begins after all is reserved anew.
        if let Some(place) = state.open.iter().position(is_about)
            && let Some(turn) = state.open.remove(place)
        {
            turn.failed();
        }
    }

    /// The response that has ended: they do so in the order in which they began.
    fn take(&self) -> Option<Turn> {
        let mut state = self.lock();
        let place = state.open.iter().position(|turn| turn.has_begun).unwrap_or(0);
        state.open.remove(place).or_else(|| state.waiting.take())
    }

    fn ended(&self, mut turn: Turn, usage: Option<Usage>) {
        if !turn.has_begun {
            turn.begin(&self.target);
        }
        self.lock().said += usage.map_or(0, |usage| usage.output);
        // One that was cut short, and of which nothing is reported, may be billed all the same.
        let outcome = if usage.is_some() { Outcome::Answered } else { Outcome::Abandoned };
        turn.settle(outcome, usage);
    }

    /// Reserves a response where so much was said before it, and writes it down.
    async fn reserve_response(&self, said: u64, max_output: Option<u64>) -> Result<Turn, Refusal> {
        self.reserve(&self.response(said, max_output), Stage::ToSend).await
    }

    /// A response that has begun with nothing held for it.
    async fn response_begun(&self) -> Result<Begun, Refusal> {
        let said = self.lock().said;
        self.reserve_begun(&self.response(said, None)).await
    }

    fn response(&self, said: u64, max_output: Option<u64>) -> Part<'_> {
        let estimate = estimate_of(std::slice::from_ref(&self.target), said, max_output);
        Part { target: &self.target, operation: Operation::Realtime, model: &self.model, estimate }
    }

    /// What has begun with nothing held for it is written down and charged, whatever room there is.
    pub async fn reserve_begun(&self, part: &Part<'_>) -> Result<Begun, Refusal> {
        match self.reserve(part, Stage::ToSend).await {
            Ok(turn) => Ok(Begun { turn, room: Ok(()) }),
            Err(refusal) => Ok(Begun { turn: self.reserve(part, Stage::Begun).await?, room: Err(refusal) }),
        }
    }

    /// Reserves what a model is to do for the session, and writes it down.
    pub async fn reserve(&self, part: &Part<'_>, stage: Stage) -> Result<Turn, Refusal> {
        let Part { target, operation, model, estimate } = part;
        let (targets, caller) = (std::slice::from_ref(*target), locked(&self.caller).clone());
        if let Some(refusal) = locked(&self.doubt).clone().filter(|_| stage == Stage::ToSend) {
            return Err(refusal);
        }
        let mut ticket = Ticket::new(&self.gateway, *operation, &self.head.headers, &self.head.extensions);
        ticket.called_by(&caller);
        ticket.called_model(model);
        // The session is one of its key's parallel requests already.
        let admitted = caller.admit(&Need { is_part: true, stage, ..estimate.need(&|glob: &str| estimate::touches(targets, glob)) });
        let begun = match admitted.map_err(Refusal::from) {
            Ok(permit) => ticket.begin(target, permit, estimate).await.map_err(|e| ledger_down(&e)),
            Err(refusal) => Err(refusal),
        };
        match begun {
            Ok(()) => Ok(Turn { ticket, event_id: None, has_begun: false }),
            Err(refusal) => {
                ticket.refused(&refusal);
                Err(refusal)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }
}

/// What a lock guards, whoever panicked under it.
pub fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a response can take at most to which so much was said before.
pub fn estimate_of(targets: &[Target], said: u64, max_output: Option<u64>) -> Estimate {
    let most = |target: &Target| target.facts().and_then(estimate::takes);
    let most = targets.iter().map(most).try_fold(0, |all, most| Some(all.max(most?)));
    // A model reads what its provider adds, keeps and finds too, up to what it takes.
    let estimate = Estimate::new(Operation::Realtime, targets, Input::and_more(said), max_output, 1);
    Estimate { input: estimate.input.min(most.unwrap_or(u64::MAX)), ..estimate }
}

// === impl Turn ===

impl Turn {
    /// It has begun to be answered.
    pub fn begin(&mut self, target: &Target) {
        self.has_begun = true;
        self.ticket.answering(StatusCode::OK, target);
    }

    /// It has ended, and used so much as far as that is told.
    pub fn settle(mut self, outcome: Outcome, usage: Option<Usage>) {
        self.ticket.settle(outcome, Some(Reading { usage, ..Reading::default() }));
    }

    /// Its provider has made none.
    pub fn failed(mut self) {
        self.ticket.settle(Outcome::ProviderError, None);
    }

    /// It never came about.
    pub fn unused(mut self) {
        self.ticket.settle(Outcome::Answered, None);
    }
}
