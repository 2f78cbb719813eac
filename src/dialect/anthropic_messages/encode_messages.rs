//! Writes the conversation: instructions at the top, then turns that alternate, with tool results first in the caller's.

use serde_json::{Value, json};

use super::encode_blocks::{self, Turn};
use super::model::Traits;
use crate::catalog::Dialect;
use crate::dialect::ir::{Block, Content, Dropped, Message, Request, Role};
use crate::error::Refusal;

/// The conversation, as it is sent.
#[derive(Debug, Default)]
pub struct Conversation {
    /// Blocks of the top-level `system`.
    pub system: Vec<Value>,
    turns: Vec<Spoken>,
}

#[derive(Debug)]
struct Spoken {
    role: &'static str,
    results: Vec<Value>,
    rest: Vec<Value>,
}

/// What stands where the dialect wants words and there are none.
const FILLER: &str = "Continue.";

// === impl Conversation ===

impl Conversation {
    /// Arranges a request's messages as the dialect wants them.
    pub fn of(request: &Request, traits: &Traits, dropped: &mut Dropped) -> Result<Conversation, Refusal> {
        let mut conversation = Conversation::default();
        let is_all_instructions = request.messages.iter().all(|message| is_instruction(message.role));
        for message in &request.messages {
            dropped.note_if(message.name.is_some(), "name");
            if is_instruction(message.role) && !is_all_instructions {
                conversation.instruct(message, dropped)?;
            } else {
                conversation.say(message, dropped)?;
            }
        }
        if conversation.turns.is_empty() {
            conversation.turns.push(filler());
        }
        conversation.end(traits, dropped);
        Ok(conversation)
    }

    /// The `messages`.
    pub fn into_parts(self) -> (Vec<Value>, Vec<Value>) {
        let messages = self.turns.into_iter().map(|turn| {
            let Spoken { role, mut results, rest } = turn;
            results.extend(rest);
            json!({ "role": role, "content": alone(results) })
        });
        (self.system, messages.collect())
    }

    /// Whether the model's last turn called tools, or is to be gone on with, and does not begin with signed reasoning:
    /// a model that thinks with a budget refuses that.
    pub fn lacks_reasoning(&self) -> bool {
        let Some(at) = self.turns.iter().rposition(|turn| turn.role == "assistant") else { return false };
        let turn = &self.turns[at];
        let is_last = at + 1 == self.turns.len();
        let calls = turn.rest.iter().any(|block| block["type"] == "tool_use");
        let answered = self.turns.get(at + 1).is_some_and(|next| !next.results.is_empty());
        let reasons = turn.rest.first().is_some_and(|block| block["type"] == "thinking" || block["type"] == "redacted_thinking");
        (is_last || (calls && answered)) && !reasons
    }

    /// Instructions stand at the top, wherever they were said, unless they are of the few kinds that stand between turns.
    fn instruct(&mut self, message: &Message, dropped: &mut Dropped) -> Result<(), Refusal> {
        let is_own = |block: &Block| matches!(block.content, Content::Other { of: Dialect::AnthropicMessages, .. });
        let blocks = encode_all(&message.content, Turn::User, dropped)?;
        if !message.content.is_empty() && message.content.iter().all(is_own) {
            self.turns.push(Spoken { role: "system", results: Vec::new(), rest: blocks });
            return Ok(());
        }
        dropped.note_if(!self.turns.is_empty(), "system_position");
        self.system.extend(blocks.into_iter().filter(|block| block["type"] == "text"));
        Ok(())
    }

    fn say(&mut self, message: &Message, dropped: &mut Dropped) -> Result<(), Refusal> {
        let (role, turn) = match message.role {
            Role::Assistant => ("assistant", Turn::Assistant),
            Role::System | Role::Developer | Role::User | Role::Tool => ("user", Turn::User),
        };
        let blocks = encode_all(&message.content, turn, dropped)?;
        if blocks.is_empty() {
            return Ok(());
        }
        let (results, rest) = blocks.into_iter().partition::<Vec<Value>, _>(|block| block["type"] == "tool_result");
        match self.turns.last_mut() {
            // Results answer the turn right before them: those after other words still go first.
            Some(last) if last.role == role => {
                last.results.extend(results);
                last.rest.extend(rest);
            }
            _ => self.turns.push(Spoken { role, results, rest }),
        }
        Ok(())
    }

    /// A last turn of the model's own may not end with white space, and newer models do not go on with one.
    fn end(&mut self, traits: &Traits, dropped: &mut Dropped) {
        let Some(last) = self.turns.last_mut().filter(|last| last.role == "assistant") else { return };
        if let Some(block) = last.rest.last_mut()
            && let Some(text) = block["text"].as_str().map(|text| text.trim_end().to_owned())
        {
            block["text"] = Value::from(text);
        }
        if !traits.prefill {
            dropped.note("messages.prefill");
            self.turns.push(filler());
        }
    }
}

fn filler() -> Spoken {
    Spoken { role: "user", results: Vec::new(), rest: vec![json!({ "type": "text", "text": FILLER })] }
}

fn is_instruction(role: Role) -> bool {
    matches!(role, Role::System | Role::Developer)
}

fn encode_all(blocks: &[Block], turn: Turn, dropped: &mut Dropped) -> Result<Vec<Value>, Refusal> {
    let mut written = Vec::with_capacity(blocks.len());
    for block in blocks {
        match (encode_blocks::encode(block, turn, dropped)?, &block.cache, written.last_mut()) {
            (Some(block), ..) => written.push(block),
            // The mark of a block of which nothing is left goes to the one before it.
            (None, Some(cache), Some(last)) => last["cache_control"] = encode_blocks::cache(cache),
            (None, ..) => {}
        }
    }
    Ok(written)
}

/// One block that is nothing but text stands as text.
pub fn alone(mut blocks: Vec<Value>) -> Value {
    match blocks.as_mut_slice() {
        [Value::Object(only)] if only.len() == 2 && only.get("type").is_some_and(|kind| kind == "text") => {
            only.remove("text").unwrap_or_default()
        }
        _ => Value::Array(blocks),
    }
}
