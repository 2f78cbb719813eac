//! Tool calls put together from their pieces, which providers number and name in ways of their own: without an index, all with the
//! same, the id only once or in every piece, the name late.

use serde_json::value::RawValue;

use super::calls;
use super::shapes::{Call, Function};
use crate::dialect::ir::{Blocks, Event, Opening, Signature};

/// The calls of one choice.
#[derive(Debug, Default)]
pub struct Calls(Vec<Known>);

#[derive(Debug)]
struct Known {
    /// The provider's number for it.
    index: Option<i64>,
    /// The provider's id for it; empty where it gives none.
    id: String,
    is_open: bool,
    has_arguments: bool,
    is_custom: bool,
    /// Arguments that came before the name.
    held: String,
    signature: Option<Signature>,
}

/// A call of the time before there were several.
pub fn legacy<'a>(function: Function) -> Call<'a> {
    Call { index: Some(-1), id: None, function: Some(function), custom: None, extra_content: None }
}

// === impl Calls ===

impl Calls {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        !self.0.iter().any(|known| known.is_open)
    }

    /// Takes a call or a piece of one, of the answer of that id.
    pub fn take(&mut self, call: Call<'_>, choice: u32, answer: &str, blocks: &mut Blocks, out: &mut Vec<Event>) {
        let is_custom = call.custom.is_some();
        let (name, more) = match (call.function, call.custom) {
            (_, Some(custom)) => (custom.name, custom.input),
            (Some(function), _) => (function.name, function.arguments),
            (None, None) => (None, None),
        };
        let name = name.unwrap_or_default();
        // Mistral writes the word.
        let id = call.id.filter(|id| id != "null").unwrap_or_default();
        if call.index == Some(-1) && name.is_empty() && self.0.is_empty() {
            return;
        }
        let at = self.find(call.index, &id, &name).unwrap_or_else(|| {
            let has_arguments = false;
            let known =
                Known { index: call.index, id: id.clone(), is_open: false, has_arguments, is_custom, held: String::new(), signature: None };
            self.0.push(known);
            self.0.len() - 1
        });
        let known = &mut self.0[at];
        if known.id.is_empty() {
            known.id = id;
        }
        known.signature = signature(call.extra_content).or(known.signature.take());
        known.held.push_str(&more.unwrap_or_default());
        if !known.is_open && !name.is_empty() {
            known.is_open = true;
            let id = if known.id.is_empty() { made_id(answer, choice, at) } else { known.id.clone() };
            let opening = Opening::ToolCall { id, name, is_custom: known.is_custom, signature: known.signature.take() };
            blocks.tool_call(choice, at as u64, opening, out);
        }
        if known.is_open && !known.held.is_empty() {
            known.has_arguments |= !known.held.trim().is_empty();
            blocks.arguments(choice, at as u64, std::mem::take(&mut known.held), out);
        }
    }

    /// The answer has ended: a call without arguments has an empty object of them.
    pub fn complete(&mut self, choice: u32, blocks: &mut Blocks, out: &mut Vec<Event>) {
        for (at, known) in self.0.iter().enumerate().filter(|(_, known)| known.is_open && !known.has_arguments && !known.is_custom) {
            debug_assert!(known.held.is_empty(), "what is open holds nothing back");
            blocks.arguments(choice, at as u64, "{}", out);
        }
    }

    /// Which call a piece is of; `None` where it begins a new one.
    fn find(&self, index: Option<i64>, id: &str, name: &str) -> Option<usize> {
        let by_id = || self.0.iter().rposition(|known| known.id == id);
        match index {
            Some(_) => {
                let at = self.0.iter().rposition(|known| known.index == index)?;
                let known = &self.0[at];
                let is_another = !name.is_empty() && known.is_open && !id.is_empty() && !known.id.is_empty() && known.id != id;
                if is_another { by_id() } else { Some(at) }
            }
            None if !id.is_empty() => by_id().or_else(|| self.0.len().checked_sub(1).filter(|_| name.is_empty())),
            // A name that comes late is of the call that has none yet.
            None => self.0.len().checked_sub(1).filter(|last| name.is_empty() || !self.0[*last].is_open),
        }
    }
}

fn signature(extra_content: Option<&RawValue>) -> Option<Signature> {
    calls::signature(&serde_json::from_str(extra_content?.get()).ok()?)
}

/// An id for a call to which the provider gave none, alike however often the answer is read.
fn made_id(answer: &str, choice: u32, at: usize) -> String {
    match answer {
        "" => super::ids::fresh("call_"),
        answer => {
            let clean: String = answer.chars().filter(char::is_ascii_alphanumeric).collect();
            format!("call_{}{choice:x}{at:02x}", &clean[clean.len().saturating_sub(24)..])
        }
    }
}
