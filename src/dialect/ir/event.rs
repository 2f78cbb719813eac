//! A stream's events: blocks that open, grow and close, and what is told beside them.

use super::{Block, Citation, Content, Finish, Reasoning, Signature, TokenLogprob, ToolCall};
use crate::error::{Kind, Refusal};
use crate::ledger::record::Usage;

/// What happens in a stream.
///
/// The order: one `Start`; for each block `Open`, any number of `Delta`, `Close`; a `Finish` for each choice; `Usage` once it is known why the
/// answer ended, and `UsageSoFar` before that, of which the last one counts; `End` last. `Trouble` may come at any time and is followed by
/// nothing. Only blocks of tool calls may be open beside others.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The answer begins.
    Start {
        /// The provider's id for it; empty where it gives none.
        id: String,
        /// The model; empty where the provider does not name it.
        model: String,
        /// Seconds since 1970; 0 where the provider does not say.
        created: i64,
    },
    /// A block begins; `index` counts up from 0 within its choice.
    Open {
        /// Which choice it is of.
        choice: u32,
        /// Its place in it.
        index: u32,
        /// What it is.
        opening: Opening,
    },
    /// A block grows.
    Delta {
        /// Which choice it is of.
        choice: u32,
        /// Its place in it.
        index: u32,
        /// By what.
        delta: Delta,
    },
    /// A block is complete.
    Close {
        /// Which choice it is of.
        choice: u32,
        /// Its place in it.
        index: u32,
    },
    /// Probabilities of the tokens just told.
    Logprobs {
        /// Which choice they are of.
        choice: u32,
        /// Token by token.
        logprobs: Vec<TokenLogprob>,
    },
    /// A choice has ended.
    Finish {
        /// Which one.
        choice: u32,
        /// Why.
        finish: Finish,
    },
    /// What it takes in all.
    Usage(Usage),
    /// What it has taken until here, as some tell on the way.
    UsageSoFar(Usage),
    /// The provider tells an error in the middle of the stream.
    Trouble(Trouble),
    /// The dialect's own last word.
    End,
}

/// How a block begins.
#[derive(Clone, Debug, PartialEq)]
pub enum Opening {
    /// Text is to follow.
    Text,
    /// Words in which the model declines.
    Refusal,
    /// Reasoning is to follow.
    Reasoning {
        /// The item's id, where the dialect has one.
        id: Option<String>,
    },
    /// Arguments of a tool call are to follow.
    ToolCall {
        /// The call's id, never empty.
        id: String,
        /// The tool's name.
        name: String,
        /// The arguments are free text.
        is_custom: bool,
        /// What the provider wants back with the call.
        signature: Option<Signature>,
    },
    /// A block that comes in one piece: media, redacted reasoning, a built-in tool's call or result.
    Whole(Box<Block>),
}

/// By what a block grows.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    /// Of [`Opening::Text`].
    Text(String),
    /// Of [`Opening::Refusal`].
    Refusal(String),
    /// Of [`Opening::Reasoning`].
    Reasoning(String),
    /// Of [`Opening::Reasoning`], in pieces that are put together, or of [`Opening::ToolCall`], whole.
    Signature(Signature),
    /// Of [`Opening::ToolCall`]: JSON text, in pieces.
    Arguments(String),
    /// Of [`Opening::Text`].
    Citation(Citation),
}

/// An error of a provider's, read from its dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What sort.
    pub kind: TroubleKind,
    /// The provider's own name for it.
    pub code: Option<String>,
    /// The provider's words.
    pub message: String,
    /// The field to blame.
    pub param: Option<String>,
}

/// What sort of error it is, which each dialect names in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it all")]
pub enum TroubleKind {
    Invalid,
    Authentication,
    Permission,
    Billing,
    NotFound,
    TooLarge,
    RateLimit,
    Overloaded,
    Timeout,
    Server,
}

/// Opens and closes blocks for dialects whose streams only tell what grows.
#[derive(Debug, Default)]
pub struct Blocks {
    /// Of each choice: its number, its next index, its open block that is no tool call, and its open tool calls by the dialect's own index.
    choices: Vec<Track>,
}

#[derive(Debug)]
struct Track {
    choice: u32,
    next: u32,
    open: Option<(u32, Growing)>,
    calls: Vec<(u64, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Growing {
    Text,
    Refusal,
    Reasoning,
}

// === impl Opening ===

impl Opening {
    /// The block as it is before anything was added.
    pub fn into_block(self) -> Block {
        match self {
            Opening::Text => Block::text(""),
            Opening::Refusal => Content::Refusal(String::new()).into(),
            Opening::Reasoning { id } => Content::Reasoning(Reasoning { id, ..Reasoning::default() }).into(),
            Opening::ToolCall { id, name, is_custom, signature } => {
                Content::ToolCall(ToolCall { id, name, arguments: String::new(), is_custom, signature }).into()
            }
            Opening::Whole(block) => *block,
        }
    }
}

// === impl Delta ===

impl Delta {
    /// Bytes of what the model said with it.
    pub fn len(&self) -> usize {
        match self {
            Delta::Text(text) | Delta::Refusal(text) | Delta::Reasoning(text) | Delta::Arguments(text) => text.len(),
            Delta::Signature(_) | Delta::Citation(_) => 0,
        }
    }

    /// Whether the model said nothing with it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

// === impl TroubleKind ===

impl TroubleKind {
    /// The sort that an HTTP status stands for.
    pub fn of_status(status: u16) -> TroubleKind {
        match status {
            401 => TroubleKind::Authentication,
            402 => TroubleKind::Billing,
            403 => TroubleKind::Permission,
            404 => TroubleKind::NotFound,
            408 | 504 => TroubleKind::Timeout,
            413 => TroubleKind::TooLarge,
            429 => TroubleKind::RateLimit,
            503 | 529 => TroubleKind::Overloaded,
            400..=499 => TroubleKind::Invalid,
            _ => TroubleKind::Server,
        }
    }
}

// === impl Trouble ===

impl From<&Refusal> for Trouble {
    fn from(refusal: &Refusal) -> Trouble {
        let kind = match refusal.kind {
            Kind::Invalid if refusal.status.as_u16() == 413 => TroubleKind::TooLarge,
            Kind::Invalid => TroubleKind::Invalid,
            Kind::Authentication => TroubleKind::Authentication,
            Kind::Permission => TroubleKind::Permission,
            Kind::Budget => TroubleKind::Billing,
            Kind::NotFound => TroubleKind::NotFound,
            Kind::RateLimit(_) => TroubleKind::RateLimit,
            Kind::Upstream if refusal.status.as_u16() == 504 => TroubleKind::Timeout,
            Kind::Upstream => TroubleKind::Server,
            Kind::Unavailable => TroubleKind::Overloaded,
        };
        Trouble { kind, code: Some(refusal.code.to_owned()), message: refusal.message.clone(), param: refusal.param.map(str::to_owned) }
    }
}

// === impl Blocks ===

impl Blocks {
    /// Text goes on, or begins.
    pub fn text(&mut self, choice: u32, text: impl Into<String>, out: &mut Vec<Event>) {
        self.grow(choice, Growing::Text, Delta::Text(text.into()), out);
    }

    /// A refusal goes on, or begins.
    pub fn refusal(&mut self, choice: u32, text: impl Into<String>, out: &mut Vec<Event>) {
        self.grow(choice, Growing::Refusal, Delta::Refusal(text.into()), out);
    }

    /// Reasoning goes on, or begins.
    pub fn reasoning(&mut self, choice: u32, text: impl Into<String>, out: &mut Vec<Event>) {
        self.grow(choice, Growing::Reasoning, Delta::Reasoning(text.into()), out);
    }

    /// The signature of the reasoning that is open, or of reasoning that says nothing.
    pub fn signature(&mut self, choice: u32, signature: Signature, out: &mut Vec<Event>) {
        self.grow(choice, Growing::Reasoning, Delta::Signature(signature), out);
    }

    /// A source of the text that is open; one that comes before any text begins it.
    pub fn citation(&mut self, choice: u32, citation: Citation, out: &mut Vec<Event>) {
        self.grow(choice, Growing::Text, Delta::Citation(citation), out);
    }

    /// A tool call begins, known by `key` to the dialect.
    pub fn tool_call(&mut self, choice: u32, key: u64, opening: Opening, out: &mut Vec<Event>) {
        let index = self.open_next(choice, out);
        self.track(choice).calls.push((key, index));
        out.push(Event::Open { choice, index, opening });
    }

    /// A tool call's arguments grow; `false` where no call of that key is open.
    pub fn arguments(&mut self, choice: u32, key: u64, more: impl Into<String>, out: &mut Vec<Event>) -> bool {
        let found = self.track(choice).calls.iter().rev().find(|(known, _)| *known == key).map(|(_, index)| *index);
        if let Some(index) = found {
            out.push(Event::Delta { choice, index, delta: Delta::Arguments(more.into()) });
        }
        found.is_some()
    }

    /// Whether a call of that key is open.
    pub fn has_call(&self, choice: u32, key: u64) -> bool {
        self.choices.iter().any(|track| track.choice == choice && track.calls.iter().any(|(known, _)| *known == key))
    }

    /// A block that comes in one piece.
    pub fn whole(&mut self, choice: u32, block: Block, out: &mut Vec<Event>) {
        let index = self.open_next(choice, out);
        out.push(Event::Open { choice, index, opening: Opening::Whole(Box::new(block)) });
        out.push(Event::Close { choice, index });
    }

    /// Closes the text, refusal or reasoning that is open.
    pub fn close(&mut self, choice: u32, out: &mut Vec<Event>) {
        if let Some((index, _)) = self.track(choice).open.take() {
            out.push(Event::Close { choice, index });
        }
    }

    /// Closes a tool call that is complete.
    pub fn close_call(&mut self, choice: u32, key: u64, out: &mut Vec<Event>) {
        let calls = &mut self.track(choice).calls;
        if let Some(at) = calls.iter().rposition(|(known, _)| *known == key) {
            let (_, index) = calls.remove(at);
            out.push(Event::Close { choice, index });
        }
    }

    /// Closes all that is open in a choice.
    pub fn close_all(&mut self, choice: u32, out: &mut Vec<Event>) {
        self.close(choice, out);
        for (_, index) in std::mem::take(&mut self.track(choice).calls) {
            out.push(Event::Close { choice, index });
        }
    }

    fn grow(&mut self, choice: u32, growing: Growing, delta: Delta, out: &mut Vec<Event>) {
        let open = self.track(choice).open.filter(|(_, open)| *open == growing);
        let index = match open {
            Some((index, _)) => index,
            None => {
                let index = self.open_next(choice, out);
                self.track(choice).open = Some((index, growing));
                let opening = match growing {
                    Growing::Text => Opening::Text,
                    Growing::Refusal => Opening::Refusal,
                    Growing::Reasoning => Opening::Reasoning { id: None },
                };
                out.push(Event::Open { choice, index, opening });
                index
            }
        };
        out.push(Event::Delta { choice, index, delta });
    }

    fn open_next(&mut self, choice: u32, out: &mut Vec<Event>) -> u32 {
        self.close(choice, out);
        let track = self.track(choice);
        track.next += 1;
        track.next - 1
    }

    fn track(&mut self, choice: u32) -> &mut Track {
        let at = self.choices.iter().position(|track| track.choice == choice).unwrap_or_else(|| {
            self.choices.push(Track { choice, next: 0, open: None, calls: Vec::new() });
            self.choices.len() - 1
        });
        &mut self.choices[at]
    }
}
