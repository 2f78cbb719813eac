//! What is known of a model's manners by its name and the catalogue: where one dialect has many doors, they differ in what they take.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::catalog::{Capability, Model};
use crate::dialect::To;
use crate::dialect::ir::Effort;

/// What a model takes.
pub struct Manner<'a> {
    model: &'a str,
    facts: Option<&'a Model>,
}

/// OpenAI refuses longer ids of tool calls.
const LONGEST_ID: usize = 40;
/// The only length of ids that Mistral takes.
const MISTRALS_ID: usize = 9;

// === impl Manner ===

impl<'a> Manner<'a> {
    /// Of the model that a request goes to.
    pub fn new(to: &To<'a>) -> Manner<'a> {
        Manner { model: to.model, facts: to.facts }
    }

    /// Whether it knows the role `developer`: OpenAI's own models do.
    pub fn has_developer(&self) -> bool {
        let name = self.name();
        self.model.starts_with("openai/") || name.starts_with("gpt-") || name.starts_with("chatgpt") || self.is_o_series()
    }

    /// Whether it knows tools that take free text: OpenAI's own models do, and others are offered functions in their place.
    pub fn takes_custom_tools(&self) -> bool {
        self.has_developer()
    }

    /// Whether marks of the prompt's cache mean something: behind doors to models of vendors whose own dialects have them.
    pub fn takes_cache_marks(&self) -> bool {
        ["claude", "gemini", "qwen"].iter().any(|vendor| self.model.contains(vendor))
    }

    /// Whether it takes content only as one text, not as a list of parts.
    pub fn wants_plain_text(&self) -> bool {
        self.name().starts_with("deepseek")
    }

    /// Whether it is one of Mistral's, with its own way of sending documents and its own ids.
    pub fn is_mistral(&self) -> bool {
        ["mistral", "ministral", "magistral", "codestral", "devstral", "pixtral", "voxtral"]
            .iter()
            .any(|name| self.name().starts_with(name))
    }

    /// Whether it may reason; what is not known may.
    pub fn reasons(&self) -> bool {
        self.can(Capability::Reasoning)
    }

    /// Whether it wants its own reasoning back, with the calls that came of it, in `reasoning_content`.
    ///
    /// Source: DeepSeek's "Thinking mode", Moonshot's "Use the thinking model", Z.AI's "Preserved thinking", MiniMax' "Interleaved thinking".
    pub fn wants_reasoning_back(&self) -> bool {
        let name = self.name().to_ascii_lowercase();
        self.reasons() && ["deepseek", "kimi", "glm-", "minimax", "mimo"].iter().any(|family| name.starts_with(family))
    }

    /// Whether its tokens are chosen as the caller says; what is not known does as it is told, OpenAI's models that always reason do not.
    pub fn takes_sampling(&self) -> bool {
        self.can(Capability::Temperature) && !self.always_reasons()
    }

    /// Whether it ends at stop sequences.
    pub fn takes_stops(&self) -> bool {
        !self.always_reasons()
    }

    /// Whether it can be told how many tools to call at once.
    pub fn takes_parallel(&self) -> bool {
        !self.is_o_series()
    }

    /// So many tokens as it can give of those that are wanted: more is refused.
    pub fn output(&self, wanted: u64) -> u64 {
        let most = self.facts.and_then(|facts| facts.max_output).filter(|most| *most > 0);
        wanted.min(most.unwrap_or(u64::MAX))
    }

    /// The effort that it knows and that is nearest.
    pub fn nearest_effort(&self, wanted: Effort) -> Effort {
        let is_gpt_5 = self.is_gpt_5();
        let name = self.name();
        match wanted {
            Effort::None | Effort::Minimal if self.is_o_series() => Effort::Low,
            Effort::XHigh | Effort::Max if self.is_o_series() => Effort::High,
            Effort::None if is_gpt_5 => Effort::Minimal,
            Effort::XHigh | Effort::Max if is_gpt_5 => Effort::High,
            Effort::Max if name.starts_with("gpt-") => Effort::XHigh,
            other => other,
        }
    }

    /// A tool call's id as it takes it: the same where it can be, else one made of it.
    pub fn call_id<'i>(&self, id: &'i str) -> Cow<'i, str> {
        if self.is_mistral() {
            let fits = id.len() == MISTRALS_ID && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
            return if fits { Cow::Borrowed(id) } else { Cow::Owned(format!("{:09x}", hash(id) & 0xf_ffff_ffff)) };
        }
        match id.len() > LONGEST_ID {
            true => Cow::Owned(format!("call_{:016x}", hash(id))),
            false => Cow::Borrowed(id),
        }
    }

    fn can(&self, what: Capability) -> bool {
        self.facts.is_none_or(|facts| facts.can.is_empty() || facts.can.contains(&what))
    }

    fn always_reasons(&self) -> bool {
        self.is_o_series() || (self.is_gpt_5() && !self.name().contains("chat"))
    }

    /// The first of its name, with its sizes and dates, and not those after it.
    fn is_gpt_5(&self) -> bool {
        self.name().strip_prefix("gpt-5").is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }

    fn is_o_series(&self) -> bool {
        ["o1", "o3", "o4"].iter().any(|name| self.name().strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-')))
    }

    /// The name without its vendor.
    fn name(&self) -> &'a str {
        self.model.rsplit('/').next().unwrap_or(self.model)
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
