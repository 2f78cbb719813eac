//! Members that hold whatever a provider takes, such as Vercel's `providerOptions`: what in them does more than shape an answer.
//!
//! Source: "Provider Options" in Vercel's AI Gateway documentation and of each provider in the AI SDK's, and Google's "OpenAI compatibility".

use serde_json::Value;

use super::members::Members;
use super::vocabulary::{self, is_among};

/// What is known to only shape an answer, or to be judged elsewhere, within a provider's own object; small letters alone, since some write
/// `reasoningEffort` and others `reasoning_effort`.
const SHAPING: &str = "anthropicbeta audiotimestamp cachecontrol disableparalleltooluse effort imageconfig includethoughts labels logitbias \
    logprobs mediaresolution metadata parallelfunctioncalling paralleltoolcalls promptcachekey promptcacheretention reasoning \
    reasoningconfig reasoningeffort reasoningformat reasoningsummary responsemodalities safeprompt safetyidentifier safetysettings \
    sendreasoning enablethinking include store strictjsonschema structuredoutputmode structuredoutputs textverbosity thinking thinkingconfig \
    thoughttagmarker toplogprobs toolstreaming truncation user";
/// The same of a gateway's own; who serves, and which other models may, is judged elsewhere.
const GATEWAYS: &str = "byok caching disallowprompttraining hipaacompliant only order provideroptions providertimeouts sort tags user \
    zerodataretention ignore routing models fallback fallbacks";
const GATEWAY: &str = "gateway";
/// What stands at the top of a request, where it is counted or judged, and would not be within another member.
const JUDGED_AT_THE_TOP: &str = "background bestof candidatecount choices container contents contextmanagement conversation fallbacks \
    generationconfig guardrailconfig guardrails inferenceconfig input instructions messages modelarmorconfig models n prediction \
    previousmessageid previousresponseid prompt stream system toolconfig tools";

/// The first member of `raw` that may do more than shape an answer, by its whole name: the holder's own where nobody can read what stands in it.
pub fn more_in(holder: &str, raw: &str) -> Option<String> {
    let Ok(members) = Members::read(raw.as_bytes()) else { return Some(holder.to_owned()) };
    for member in members.iter().filter(|member| !vocabulary::says_nothing(member.raw)) {
        let of_provider = || format!("{holder}.{}", member.name);
        if holder == vocabulary::EXTRA && is_known_at_the_top(&member.name, member.raw) {
            continue;
        }
        let Ok(options) = Members::read(member.raw.as_bytes()) else { return Some(of_provider()) };
        let known = if member.name == GATEWAY { GATEWAYS } else { SHAPING };
        let mut said = options.iter().filter(|option| !vocabulary::says_nothing(option.raw));
        if let Some(option) = said.find(|option| !is_among(known, &plain(&option.name))) {
            return Some(format!("{}.{}", of_provider(), option.name));
        }
    }
    None
}

/// The most tokens that may be thought, as it is stated in `raw` for any provider.
pub fn thinks(raw: &str) -> u64 {
    fn most(name: &str, value: &Value) -> u64 {
        let name = plain(name);
        match value {
            Value::Number(number) if name.contains("budget") || name.contains("maxtokens") => number.as_u64().unwrap_or(0),
            Value::Object(members) => members.iter().map(|(name, value)| most(name, value)).max().unwrap_or(0),
            Value::Array(list) => list.iter().map(|value| most(&name, value)).max().unwrap_or(0),
            _ => 0,
        }
    }
    serde_json::from_str(raw).map_or(0, |value: Value| most("", &value))
}

/// A member that is known in a request, and that nobody counts there.
fn is_known_at_the_top(name: &str, raw: &str) -> bool {
    let plain = plain(name);
    // A holder within one is not looked into: there may be any number, each in the other.
    !vocabulary::is_holder(name)
        && !is_among(JUDGED_AT_THE_TOP, &plain)
        && !plain.contains("max")
        && !plain.starts_with("num")
        && !vocabulary::holds_more(name, raw)
}

fn plain(name: &str) -> String {
    name.chars().filter(|letter| !matches!(letter, '_' | '-')).map(|letter| letter.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_shapes_an_answer_is_known_in_them() {
        for (holder, raw, more) in [
            ("providerOptions", r#"{"anthropic":{"mcpServers":[{"url":"x"}]}}"#, "providerOptions.anthropic.mcpServers"),
            (
                "providerOptions",
                r#"{"openai":{"reasoningEffort":"low","previousResponseId":"r"}}"#,
                "providerOptions.openai.previousResponseId",
            ),
            ("provider_options", r#"{"google":{"useSearchGrounding":true}}"#, "provider_options.google.useSearchGrounding"),
            ("providerOptions", r#"{"openai":{"maxCompletionTokens":100000}}"#, "providerOptions.openai.maxCompletionTokens"),
            ("providerOptions", r#"{"gateway":{"swarm":1}}"#, "providerOptions.gateway.swarm"),
            ("providerOptions", r#"{"xai":"on"}"#, "providerOptions.xai"),
            ("providerOptions", r#"["x"]"#, "providerOptions"),
            ("extra_body", r#"{"n":16}"#, "extra_body.n"),
            ("extra_body", r#"{"extra_body":{"top_k":3}}"#, "extra_body.extra_body.top_k"),
            ("extra_body", r#"{"max_completion_tokens":5000}"#, "extra_body.max_completion_tokens"),
            ("extra_body", r#"{"google":{"cached_content":"c"}}"#, "extra_body.google.cached_content"),
        ] {
            assert_eq!(more_in(holder, raw).as_deref(), Some(more), "{raw}");
        }
        for (holder, raw) in [
            ("providerOptions", r#"{"anthropic":{"thinking":{"type":"enabled","budgetTokens":2000},"mcpServers":[]}}"#),
            ("providerOptions", r#"{"gateway":{"only":["azure"],"tags":["a"]},"google":{"thinkingConfig":{"thinkingBudget":9}}}"#),
            ("extra_body", r#"{"google":{"thinking_config":{"thinking_budget":9}},"top_k":3,"n":null}"#),
        ] {
            assert_eq!(more_in(holder, raw), None, "{raw}");
        }
    }

    #[test]
    fn holders_within_holders_are_not_gone_down() {
        let deep = format!("{}1{}", r#"{"extra_body":"#.repeat(100_000), "}".repeat(100_000));
        assert!(more_in("extra_body", &deep).is_some() && vocabulary::holds_more("extra_body", &deep));
        assert_eq!(thinks(&deep), 0);
    }

    #[test]
    fn what_may_be_thought_is_found_wherever_it_is_stated() {
        assert_eq!(thinks(r#"{"anthropic":{"thinking":{"budgetTokens":60000}},"google":{"thinkingConfig":{"thinkingBudget":9}}}"#), 60_000);
        assert_eq!(thinks(r#"{"max_tokens":700}"#), 700);
        assert_eq!(thinks(r#"{"effort":"high","budgetTokens":-1}"#), 0);
    }
}
