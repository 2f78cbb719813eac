//! What a Claude model takes, read from its name; a name that is none of Claude's is taken to follow the dialect's reference.
//!
//! Source: Anthropic's pages on adaptive thinking, effort and structured outputs, and its migration guides.

use crate::catalog::Model;
use crate::catalog::model::Capability;
use crate::dialect::To;

/// What is known of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    /// Its version as Claude's names have it, such as `(4, 6)`; `None` for other makers' models.
    pub version: Option<(u16, u16)>,
    /// How it thinks.
    pub thinks: Thinks,
    /// It can think at all.
    pub can_think: bool,
    /// It takes `output_config.effort`.
    pub effort: bool,
    /// Thinking cannot be switched off.
    pub always_thinks: bool,
    /// It takes `temperature`, `top_p` and `top_k`.
    pub sampling: bool,
    /// It takes `temperature` together with `top_p`.
    pub both_samplings: bool,
    /// It takes `output_config.format` and strict tools.
    pub structured: bool,
    /// It can be made to call a tool.
    pub forced_tools: bool,
    /// It goes on with a last message of its own.
    pub prefill: bool,
    /// The most output tokens.
    pub max_output: Option<u64>,
}

/// How a model is told to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinks {
    /// With a budget of tokens alone.
    Budget,
    /// As it sees fit, or with a budget.
    Either,
    /// As it sees fit.
    Adaptive,
}

// === impl Traits ===

impl Traits {
    /// The traits of the model that a request is for.
    pub fn of(to: &To<'_>) -> Traits {
        let known = claude(to.model);
        let (family, version) = known.map_or((Family::Other, (0, 0)), |(family, version)| (family, version));
        let since = |least: (u16, u16)| known.is_some() && version >= least;
        let is_fable = family == Family::Fable;
        let adaptive_only = since((5, 0)) || is_fable || (family == Family::Opus && since((4, 7)));
        let listed = to.facts.is_none_or(takes_temperature);
        Traits {
            version: known.map(|(_, version)| version),
            thinks: match adaptive_only {
                true => Thinks::Adaptive,
                false if since((4, 6)) => Thinks::Either,
                false => Thinks::Budget,
            },
            can_think: (known.is_none() || since((3, 7))) && to.facts.is_none_or(reasons),
            effort: known.is_none() || is_fable || since((4, 6)) || (family == Family::Opus && since((4, 5))),
            always_thinks: is_fable || (family == Family::Opus && since((5, 5))),
            sampling: !adaptive_only && listed,
            both_samplings: !(since((4, 5)) || (family == Family::Opus && since((4, 1)))),
            structured: known.is_none() || since((4, 5)) || is_fable || (family == Family::Opus && since((4, 1))),
            forced_tools: match family {
                Family::Fable => !since((5, 1)),
                Family::Opus | Family::Sonnet => !since((5, 5)),
                _ => true,
            },
            prefill: !since((4, 6)) && !is_fable,
            max_output: to.facts.and_then(|facts| facts.max_output),
        }
    }

    /// The limit of output tokens where the caller names none: the dialect requires one.
    pub fn default_max_output(&self) -> u64 {
        self.max_output.unwrap_or(match self.version {
            Some(version) if version < (3, 5) => 4096,
            Some(version) if version >= (4, 0) => 32_000,
            _ => 8192,
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Opus,
    Sonnet,
    Haiku,
    Fable,
    Other,
}

/// A model that is listed without reasoning does none.
fn reasons(facts: &Model) -> bool {
    facts.can.is_empty() || facts.can.contains(&Capability::Reasoning)
}

/// A model that reasons and is not listed as taking a temperature takes none.
fn takes_temperature(facts: &Model) -> bool {
    facts.can.is_empty() || facts.can.contains(&Capability::Temperature) || !facts.can.contains(&Capability::Reasoning)
}

/// Family and version of `claude-opus-4-6`, `claude-3-7-sonnet-20250219`, `anthropic.claude-sonnet-4-20250514-v1:0` and the like.
fn claude(model: &str) -> Option<(Family, (u16, u16))> {
    let lower = model.to_ascii_lowercase();
    let (_, rest) = lower.split_once("claude")?;
    let mut family = Family::Other;
    let mut numbers: Vec<u16> = Vec::new();
    for part in rest.split(['-', '.', '@', ':', '_', '/']).filter(|part| !part.is_empty()) {
        match part {
            "opus" => family = Family::Opus,
            "sonnet" => family = Family::Sonnet,
            "haiku" => family = Family::Haiku,
            "fable" | "mythos" => family = Family::Fable,
            // A date or a revision ends the version.
            _ => match part.parse::<u16>().ok().filter(|_| part.len() <= 2) {
                Some(number) => numbers.push(number),
                None if numbers.is_empty() => {}
                None => break,
            },
        }
    }
    let version = (numbers.first().copied()?, numbers.get(1).copied().unwrap_or(0));
    Some((family, version))
}
