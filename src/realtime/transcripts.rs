//! What a session hears, written out by a model of its own beside the one that answers: each transcript is a request by itself, reserved
//! when sound comes, and settled when it is told.
//!
//! Source: OpenAI's Realtime reference, server events `session.updated`, `input_audio_buffer.committed` and
//! `conversation.item.input_audio_transcription.completed`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use super::turns::{Begun, Part, Turn, Turns, locked};
use crate::catalog::Operation;
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
            state.waiting.take().into_iter().for_each(Turn::unused);
        }
    }

    /// Sound has come: what writes it out is held for.
    pub async fn hear(&self, turns: &Turns) -> Result<(), Refusal> {
        let by = {
            let state = self.lock();
            state.by.clone().filter(|_| state.waiting.is_none())
        };
        if let Some(by) = by {
            turns.may_use(&by)?;
            let turn = turns.reserve(&part(&by, &by.full_name()), Stage::ToSend).await?;
            let mut state = self.lock();
            // The session may have another writer by now.
            match state.by.as_ref().is_some_and(|now| now.model == by.model) {
                true => state.waiting = Some(turn),
                false => turn.unused(),
            }
        }
        Ok(())
    }

    /// What was said is complete: it is being written out.
    pub async fn begun(&self, turns: &Turns) -> Result<(), Refusal> {
        let Some(Begun { turn, room }) = self.begin(turns).await? else { return Ok(()) };
        self.lock().open.push_back(turn);
        room
    }

    /// One is there; one that nothing was held for is charged all the same.
    pub async fn told(&self, turns: &Turns, usage: Option<Usage>) -> Result<(), Refusal> {
        let open = self.lock().open.pop_front();
        let begun = match open {
            Some(turn) => Some(Begun { turn, room: Ok(()) }),
            None => self.begin(turns).await?,
        };
        let Some(Begun { turn, room }) = begun else { return Ok(()) };
        turn.settle(Outcome::Answered, usage);
        room
    }

    /// One could not be written.
    pub fn failed(&self) {
        let open = self.lock().open.pop_front();
        open.into_iter().for_each(Turn::failed);
    }

    /// The session has ended: what was under way may be billed by its provider.
    pub fn end(&self, outcome: Outcome) {
        let State { open, waiting, .. } = std::mem::take(&mut *self.lock());
        open.into_iter().for_each(|turn| turn.settle(outcome, None));
        waiting.into_iter().for_each(Turn::unused);
    }

    /// The next, where somebody writes it.
    async fn begin(&self, turns: &Turns) -> Result<Option<Begun>, Refusal> {
        let (by, waiting) = {
            let mut state = self.lock();
            (state.by.clone(), state.waiting.take())
        };
        let Some(by) = by else { return Ok(None) };
        let mut begun = match waiting {
            Some(turn) => Begun { turn, room: Ok(()) },
            None => turns.reserve_begun(&part(&by, &by.full_name())).await?,
        };
        begun.turn.begin(&by);
        Ok(Some(begun))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }
}

fn part<'a>(by: &'a Target, model: &'a str) -> Part<'a> {
    // Nobody can tell how long somebody speaks.
    let estimate = Estimate::new(Operation::Transcriptions, std::slice::from_ref(by), Input::and_more(0), None, 1);
    Part { target: by, operation: Operation::Transcriptions, model, estimate }
}
