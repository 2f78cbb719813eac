//! Whose model it is and what it is known to take: a model's id is `[region.]vendor.model-version`, or an ARN that ends with one.
//!
//! Source: the Amazon Bedrock user guide, "Supported models and model features" of the Converse API.

use crate::catalog::Model;
use crate::catalog::model::Capability;
use crate::dialect::To;
use crate::dialect::ir::MediaKind;

/// A model's family.
#[derive(Clone, Copy, Debug)]
pub struct Family<'a> {
    /// Whose it is.
    pub vendor: Vendor,
    model: &'a str,
    facts: Option<&'a Model>,
}

/// The vendors whose models differ in what they take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// Claude.
    Anthropic,
    /// Amazon Nova.
    Nova,
    /// gpt-oss and GPT.
    OpenAi,
    /// Llama.
    Meta,
    /// Mistral.
    Mistral,
    /// Qwen.
    Qwen,
    /// DeepSeek.
    DeepSeek,
    /// Another one that is known.
    Other,
    /// Nothing tells, as with an inference profile of one's own.
    Unknown,
}

/// How a Claude model is told to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinks {
    /// Not at all.
    Never,
    /// By a budget of tokens.
    Budget,
    /// By a budget, or as it sees fit.
    Either,
    /// As it sees fit, with an effort.
    Adaptive,
}

const OTHERS: [&str; 12] =
    ["amazon", "cohere", "ai21", "nvidia", "google", "moonshot", "moonshotai", "minimax", "zai", "writer", "stability", "twelvelabs"];

// === impl Family ===

impl<'a> Family<'a> {
    /// Of the model that is asked.
    pub fn of(to: &To<'a>) -> Family<'a> {
        let model = to.model.rsplit('/').next().unwrap_or(to.model);
        let named = |vendor: &str| model.split('.').any(|part| part == vendor);
        let vendor = match () {
            () if named("anthropic") || model.starts_with("claude") => Vendor::Anthropic,
            () if (named("amazon") && model.contains("nova")) || model.starts_with("nova") => Vendor::Nova,
            () if named("openai") => Vendor::OpenAi,
            () if named("meta") => Vendor::Meta,
            () if named("mistral") => Vendor::Mistral,
            () if named("qwen") => Vendor::Qwen,
            () if named("deepseek") => Vendor::DeepSeek,
            () if OTHERS.iter().any(|vendor| named(vendor)) => Vendor::Other,
            () => Vendor::Unknown,
        };
        Family { vendor, model, facts: to.facts }
    }

    /// Whether the model's id has this in it.
    pub fn is(&self, part: &str) -> bool {
        self.model.contains(part)
    }

    /// Whether it can do something; what the catalogue says nothing of is taken for a yes.
    pub fn can(&self, capability: Capability) -> bool {
        self.facts.is_none_or(|facts| facts.can.is_empty() || facts.can.contains(&capability))
    }

    /// Newer models of Claude and GPT choose tokens their own way.
    pub fn has_no_sampling(&self) -> bool {
        match self.vendor {
            Vendor::Anthropic => self.claude_version().is_some_and(|version| version >= (4, 7)),
            Vendor::OpenAi => self.is("gpt-5"),
            _ => false,
        }
    }

    /// GPT takes no stop sequences here.
    pub fn has_no_stop(&self) -> bool {
        self.vendor == Vendor::OpenAi && self.is("gpt-5")
    }

    /// Claude since 4.1 refuses the two together.
    pub fn takes_one_of_temperature_and_top_p(&self) -> bool {
        self.vendor == Vendor::Anthropic && self.claude_version().is_some_and(|version| version >= (4, 1))
    }

    /// How a Claude model thinks.
    pub fn claude_thinks(&self) -> Thinks {
        match self.claude_version() {
            Some(version) if version < (3, 7) => Thinks::Never,
            Some((4, 6)) => Thinks::Either,
            Some(version) if version > (4, 6) => Thinks::Adaptive,
            _ => Thinks::Budget,
        }
    }

    /// Whether a cache point may stand among messages or, with `in_tools`, after tools.
    pub fn takes_cache(&self, in_tools: bool) -> bool {
        matches!((self.vendor, in_tools), (Vendor::Anthropic | Vendor::Unknown, _) | (Vendor::Nova, false))
    }

    /// Whether some tool can be forced to be called, or with `which` a certain one.
    pub fn takes_forced(&self, which: bool) -> bool {
        match self.vendor {
            Vendor::Meta => false,
            Vendor::Mistral => !which,
            _ => true,
        }
    }

    /// Whether media of this kind may stand in a tool's result.
    pub fn takes_in_result(&self, kind: MediaKind) -> bool {
        match self.vendor {
            Vendor::Unknown => kind != MediaKind::Audio,
            Vendor::Anthropic => matches!(kind, MediaKind::Image | MediaKind::Document),
            Vendor::Mistral => kind == MediaKind::Document,
            Vendor::Nova => false,
            _ => kind == MediaKind::Image,
        }
    }

    /// The version in `claude-3-7-sonnet-…`, `claude-opus-4-6-v1`, `claude-sonnet-5`.
    fn claude_version(&self) -> Option<(u32, u32)> {
        let (_, rest) = self.model.split_once("claude")?;
        let number = |part: &&str| part.parse::<u32>().ok().filter(|_| part.len() <= 2);
        let parts: Vec<&str> = rest.split(['-', ':']).collect();
        let at = parts.iter().position(|part| number(part).is_some())?;
        let minor = parts.get(at + 1).and_then(number).unwrap_or(0);
        Some((number(&parts[at])?, minor))
    }
}
