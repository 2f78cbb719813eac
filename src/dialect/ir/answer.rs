//! What an answer says, and how one is collected from the events of a stream or told as such.

use super::{Block, Citation, Content, Delta, Event, Extra, Opening, Reasoning, ToolCall, Trouble};
use crate::ledger::record::Usage;

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The provider's id for it; empty where it gives none.
    pub id: String,
    /// The model, as the provider names it; empty where it does not.
    pub model: String,
    /// Seconds since 1970; 0 where the provider does not say.
    pub created: i64,
    /// The answers, mostly one.
    pub choices: Vec<Choice>,
    /// What it took.
    pub usage: Option<Usage>,
    /// The tier that served it.
    pub service_tier: Option<String>,
    /// Top-level fields without a meaning in this form.
    pub extra: Extra,
}

/// One of an answer's choices.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// What it says.
    pub content: Vec<Block>,
    /// Why it ended.
    pub finish: Finish,
    /// The tokens' probabilities, where asked for.
    pub logprobs: Vec<TokenLogprob>,
}

/// Why an answer ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Finish {
    /// It was done.
    #[default]
    Stop,
    /// It came to this stop sequence.
    StopSequence(String),
    /// Its limit of tokens was reached.
    Length,
    /// It wants tools called.
    ToolCalls,
    /// The provider's filter stopped it.
    ContentFilter,
    /// The model declined (Anthropic's `refusal`).
    Refusal,
    /// It is to be continued (Anthropic's `pause_turn`).
    Pause,
    /// The model's context is full.
    ContextExceeded,
    /// The model wrote a tool call that is none (Gemini's `MALFORMED_FUNCTION_CALL`).
    MalformedToolCall,
    /// It ended with an error.
    Error,
    /// Another reason, by the provider's name for it.
    Other(String),
}

// === impl Finish ===

impl Finish {
    /// Where it was done with words that decline, as OpenAI's answers tell it, it declined.
    pub fn said(self, refuses: bool) -> Finish {
        if refuses && self == Finish::Stop { Finish::Refusal } else { self }
    }
}

/// A token and its probability.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprob {
    /// The token's text.
    pub token: String,
    /// The natural logarithm of its probability.
    pub logprob: f64,
    /// The token's bytes, where they are told.
    pub bytes: Option<Vec<u8>>,
    /// The likeliest others at its place, with theirs.
    pub top: Vec<TokenLogprob>,
}

/// Puts an answer together from the events of a stream.
#[derive(Debug, Default)]
pub struct Collector {
    answer: Answer,
    /// `(choice, index)` of each block of `answer`, in the order of opening.
    open: Vec<(u32, u32, Block)>,
    finishes: Vec<(u32, Finish)>,
    logprobs: Vec<(u32, Vec<TokenLogprob>)>,
    trouble: Option<Trouble>,
}

// === impl Answer ===

impl Answer {
    /// The same as a stream's events, each block by one delta, ending with [`Event::End`].
    pub fn into_events(self) -> Vec<Event> {
        let mut events = vec![Event::Start { id: self.id, model: self.model, created: self.created }];
        for (choice, told) in (0..).zip(self.choices) {
            for (index, block) in (0..).zip(told.content) {
                open_and_fill(choice, index, block, &mut events);
            }
            if !told.logprobs.is_empty() {
                events.push(Event::Logprobs { choice, logprobs: told.logprobs });
            }
            events.push(Event::Finish { choice, finish: told.finish });
        }
        events.extend(self.usage.map(Event::Usage));
        events.push(Event::End);
        events
    }
}

fn open_and_fill(choice: u32, index: u32, block: Block, events: &mut Vec<Event>) {
    let mut deltas = Vec::new();
    let opening = match block.content {
        Content::Text { text, citations } => {
            deltas.push(Delta::Text(text));
            deltas.extend(citations.into_iter().map(Delta::Citation));
            Opening::Text
        }
        Content::Refusal(text) => {
            deltas.push(Delta::Refusal(text));
            Opening::Refusal
        }
        Content::Reasoning(Reasoning { text, signature, is_redacted: false, id }) => {
            deltas.push(Delta::Reasoning(text));
            deltas.extend(signature.map(Delta::Signature));
            Opening::Reasoning { id }
        }
        Content::ToolCall(ToolCall { id, name, arguments, is_custom, signature }) => {
            deltas.push(Delta::Arguments(arguments));
            Opening::ToolCall { id, name, is_custom, signature }
        }
        content => Opening::Whole(Box::new(Block { content, cache: block.cache })),
    };
    events.push(Event::Open { choice, index, opening });
    events.extend(deltas.into_iter().map(|delta| Event::Delta { choice, index, delta }));
    events.push(Event::Close { choice, index });
}

// === impl Collector ===

impl Collector {
    /// Takes an event in.
    pub fn take(&mut self, event: Event) {
        match event {
            Event::Start { id, model, created } => {
                self.answer.id = id;
                self.answer.model = model;
                self.answer.created = created;
            }
            Event::Open { choice, index, opening } => self.open.push((choice, index, opening.into_block())),
            Event::Delta { choice, index, delta } => {
                let found = self.open.iter_mut().rev().find(|(c, i, _)| (*c, *i) == (choice, index));
                if let Some((_, _, block)) = found {
                    fill(&mut block.content, delta);
                }
            }
            Event::Logprobs { choice, logprobs } => self.logprobs.push((choice, logprobs)),
            Event::Finish { choice, finish } => self.finishes.push((choice, finish)),
            Event::Usage(usage) | Event::UsageSoFar(usage) => self.answer.usage = Some(usage),
            Event::Trouble(trouble) => self.trouble = Some(trouble),
            Event::Close { .. } | Event::End => {}
        }
    }

    /// The answer, or what went wrong in the middle of it.
    pub fn finish(mut self) -> Result<Answer, Trouble> {
        if let Some(trouble) = self.trouble {
            return Err(trouble);
        }
        let last = self.open.iter().map(|(choice, ..)| *choice).chain(self.finishes.iter().map(|(choice, _)| *choice)).max();
        for number in 0..=last.unwrap_or(0) {
            let mut content: Vec<(u32, Block)> =
                self.open.iter().filter(|(choice, ..)| *choice == number).map(|(_, index, block)| (*index, block.clone())).collect();
            content.sort_by_key(|(index, _)| *index);
            let finish = self.finishes.iter().rev().find(|(choice, _)| *choice == number).map(|(_, finish)| finish.clone());
            let logprobs = self.logprobs.iter().filter(|(choice, _)| *choice == number).flat_map(|(_, list)| list.clone()).collect();
            let content = content.into_iter().map(|(_, block)| block).collect();
            self.answer.choices.push(Choice { content, finish: finish.unwrap_or_default(), logprobs });
        }
        Ok(self.answer)
    }
}

fn fill(content: &mut Content, delta: Delta) {
    match (content, delta) {
        (Content::Text { text, .. }, Delta::Text(more)) | (Content::Refusal(text), Delta::Refusal(more)) => text.push_str(&more),
        (Content::Text { citations, .. }, Delta::Citation(citation)) => citations.push(citation),
        (Content::Reasoning(reasoning), Delta::Reasoning(more)) => reasoning.text.push_str(&more),
        (Content::Reasoning(reasoning), Delta::Signature(signature)) => match &mut reasoning.signature {
            Some(begun) => begun.value.push_str(&signature.value),
            none => *none = Some(signature),
        },
        (Content::ToolCall(call), Delta::Arguments(more)) => call.arguments.push_str(&more),
        (Content::ToolCall(call), Delta::Signature(signature)) => call.signature = Some(signature),
        // A delta of another kind than its block has nothing to be added to.
        _ => {}
    }
}

// === impl Choice ===

impl Choice {
    /// All texts, one after the other.
    pub fn text(&self) -> String {
        self.content.iter().filter_map(Block::as_text).collect()
    }

    /// All citations.
    pub fn citations(&self) -> impl Iterator<Item = &Citation> {
        self.content.iter().flat_map(|block| match &block.content {
            Content::Text { citations, .. } => citations.as_slice(),
            _ => &[],
        })
    }
}
