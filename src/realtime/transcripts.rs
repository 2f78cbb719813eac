//! What a session hears, written out by a model of its own beside the one that answers: each transcript is a request by itself, reserved
//! when sound comes, and settled when it is told.
//!
//! Source: OpenAI's Realtime reference, server events `session.updated`, `input_audio_buffer.committed` and
//! `conversation.item.input_audio_transcription.completed`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::turns::{Turn, Turns};
use crate::catalog::Operation;
use crate::dialect::Reading;
use crate::error::Refusal;
use crate::exchange::estimate::{Estimate, Input};
use crate::ledger::record::{Outcome, Usage};
use crate::quota::Stage;
use crate::route::Target;

/// A session's transcripts.
#[derive(Default)]
pub struct Transcripts {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Who writes them, where the session has any.
    by: Option<Target>,
    /// Held for the next, once there is sound for it.
    waiting: Option<Turn>,
    /// Those that have begun.
    open: VecDeque<Turn>,
}

// === impl Transcripts ===

impl Transcripts {
    /// The session is as the provider tells: its sound is written out by this model, or by none.
    pub fn written_by(&self, model: Option<&str>, session: &Target) {
        let by = model.map(|model| Target { provider: Arc::clone(&session.provider), model: model.into() });
        let mut state = self.lock();
        if by.as_ref().map(|by| &by.model) != state.by.as_ref().map(|by| &by.model) {
            state.by = by;
            // It was held for another model.
            state.waiting.take().into_iter().for_each(unused);
        }
    }

    /// Sound has come: what writes it out is held for.
    pub async fn hear(&self, turns: &Turns) -> Result<(), Refusal> {
        let by = {
            let state = self.lock();
            state.by.clone().filter(|_| state.waiting.is_none())
        };
        if let Some(by) = by {
            let turn = turns.reserve(&by, Operation::Transcriptions, &by.full_name(), &estimate(&by), Stage::ToSend).await?;
            self.lock().waiting = Some(turn);
        }
        Ok(())
    }

    /// What was said is complete: it is being written out.
    pub async fn begun(&self, turns: &Turns) -> Result<(), Refusal> {
        let Some((turn, room)) = self.begin(turns).await? else { return Ok(()) };
        self.lock().open.push_back(turn);
        room
    }

    /// One is there; one that nothing was held for is charged all the same.
    pub async fn told(&self, turns: &Turns, usage: Option<Usage>) -> Result<(), Refusal> {
        let open = self.lock().open.pop_front();
        let turn = match open {
            Some(turn) => Some((turn, Ok(()))),
            None => self.begin(turns).await?,
        };
        let Some((turn, room)) = turn else { return Ok(()) };
        settle(turn, Outcome::Answered, usage);
        room
    }

    /// One could not be written.
    pub fn failed(&self) {
        let open = self.lock().open.pop_front();
        open.into_iter().for_each(|mut turn| turn.ticket.settle(Outcome::ProviderError, None));
    }

    /// The session has ended: what was under way may be billed by its provider.
    pub fn end(&self, outcome: Outcome) {
        let State { open, waiting, .. } = std::mem::take(&mut *self.lock());
        open.into_iter().for_each(|turn| settle(turn, outcome, None));
        waiting.into_iter().for_each(unused);
    }

    /// The next, where somebody writes it.
    async fn begin(&self, turns: &Turns) -> Result<Option<(Turn, Result<(), Refusal>)>, Refusal> {
        let (by, waiting) = {
            let mut state = self.lock();
            (state.by.clone(), state.waiting.take())
        };
        let Some(by) = by else { return Ok(None) };
        let (mut turn, room) = match waiting {
            Some(turn) => (turn, Ok(())),
            None => turns.reserve_begun(&by, Operation::Transcriptions, &by.full_name(), &estimate(&by)).await?,
        };
        turn.begin(&by);
        Ok(Some((turn, room)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody can tell how long somebody speaks.
fn estimate(by: &Target) -> Estimate {
    Estimate::new(Operation::Transcriptions, std::slice::from_ref(by), Input::and_more(0), None, 1)
}

fn settle(mut turn: Turn, outcome: Outcome, usage: Option<Usage>) {
    turn.ticket.settle(outcome, Some(Reading { usage, ..Reading::default() }));
}

fn unused(mut turn: Turn) {
    turn.ticket.settle(Outcome::Answered, None);
}
