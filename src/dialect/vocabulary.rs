//! Members of the top level that say nothing by which a provider would do more than answer: of all dialects, and of single providers.
//!
//! Source: the reference of each dialect's API, and of vLLM, SGLang, NVIDIA, OpenRouter, Vercel, Mistral, Alibaba, Groq, Together and Fireworks, whose
//! members others share.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::holders;
use super::members::{Member, Members};

/// What stands in a request as an SDK takes it beside its own members: of a few providers that read it there, such as Google, it is known.
pub(super) const EXTRA: &str = "extra_body";
/// Words of what could let a provider do more.
const MORE: [&str; 5] = ["tool", "search", "model", "agent", "\\u"];

/// Members that hold whatever a provider takes.
const HOLDERS: [&str; 4] = ["providerOptions", "provider_options", ADDITIONAL, EXTRA];
/// The one of them that is Bedrock's, where each family of models has its own.
pub const ADDITIONAL: &str = "additionalModelRequestFields";
/// What stands in it that has no model do more than answer: Claude's, Nova's, gpt-oss's, Qwen's, Cohere's and AI21's, and what many share.
const IN_ADDITIONAL: &str = "anthropic_beta anthropic_version context_management output_config thinking tool_choice tools top_k \
    inferenceConfig reasoningConfig reasoning_config reasoning_effort chat_template_kwargs enable_thinking parallel_tool_calls \
    documents include_reasoning k p preamble prompt_truncation raw_prompting return_prompt safety_mode search_queries_only \
    countPenalty frequencyPenalty presencePenalty frequency_penalty length_penalty logit_bias logprobs metadata min_p presence_penalty \
    random_seed repetition_penalty response_format safe_prompt seed stop stop_sequences temperature topK top_logprobs top_p user";
/// And in Nova's `inferenceConfig` there: of how much it says, Converse's own is judged.
const IN_NOVAS: &str = "stopSequences temperature topK topP";
/// Words, in small letters, of what is dearer, or is more, in a member that holds whatever its provider takes.
const DEARER: [&str; 7] = ["tier", "speed", "latency", "geo", "plugin", "max_tokens", "\\u00"];
/// What pictures, sound and judgements are asked for by (OpenAI's "Create image", "Create speech" and "Create moderation").
const BESIDE_CHAT: &str = "aspect_ratio background guidance_scale height input input_fidelity instructions lang_code language metadata model \
    moderation n negative_prompt output_compression output_format partial_images prompt quality response_format seed size speed stream \
    stream_format style temperature user voice width";
/// And in forms (OpenAI's "Create image edit" and "Create transcription").
const IN_FORMS: &str = "chunking_strategy file image include known_speaker_names known_speaker_references mask timestamp_granularities";
/// Tiers that are as dear as the price of the model, or cheaper.
const PLAIN_TIERS: [&str; 7] = ["auto", "default", "standard", "standard_only", "flex", "on_demand", "batch"];

/// Whether a form's field is such a one too, or one that files are sent by, whatever stands behind it in brackets.
pub fn is_known_in_a_form(name: &str) -> bool {
    let name = name.split('[').next().unwrap_or_default();
    [BESIDE_CHAT, IN_FORMS].iter().any(|names| is_among(names, name))
}

/// The first member that nobody here knows of a request for pictures, sound or a judgement: how many of them there are, another word may say.
pub fn unknown_beside_chat<'a>(members: &'a Members<'_>) -> Option<&'a str> {
    members.iter().find(|member| !is_among(BESIDE_CHAT, &member.name) && !says_nothing(member.raw)).map(|member| &*member.name)
}

/// Whether it is one of some names, which spaces part.
pub(super) fn is_among(names: &str, name: &str) -> bool {
    names.split_ascii_whitespace().any(|known| known == name)
}

/// Whether a member says something that nobody here knows, or that a provider charges more for than the price of the model.
pub fn holds_more(name: &str, raw: &str) -> bool {
    let is_known = || has(name) || (name == EXTRA && !MORE.iter().any(|word| raw.contains(word)));
    !says_nothing(raw) && (!is_known() || is_dearer(name, raw))
}

/// What such a member is called, where it is one: of Bedrock's own for all that a model takes, what stands in it.
pub fn more(name: &str, raw: &str) -> Option<String> {
    holds_more(name, raw).then(|| more_within(name, raw).unwrap_or_else(|| name.to_owned()))
}

/// The same of what stands in a member that holds whatever a provider takes.
fn more_within(name: &str, raw: &str) -> Option<String> {
    match name {
        ADDITIONAL => more_in_additional(raw),
        _ if is_holder(name) => holders::more_in(name, raw),
        _ => None,
    }
}

/// The first member of it that nobody here knows; of what nobody can read, itself.
fn more_in_additional(raw: &str) -> Option<String> {
    let Ok(members) = Members::read(raw.as_bytes()) else { return Some(ADDITIONAL.to_owned()) };
    let all_among =
        |names, raw: &str| Members::read(raw.as_bytes()).is_ok_and(|inner| inner.iter().all(|member| is_among(names, &member.name)));
    let is_more = |member: &&Member<'_>| match &*member.name {
        "inferenceConfig" => !all_among(IN_NOVAS, member.raw),
        // To sum up what was said so far is a call of the model by itself.
        "context_management" => member.raw.contains("compact"),
        name => !is_among(IN_ADDITIONAL, name) || is_dearer(name, member.raw),
    };
    let more = members.iter().filter(|member| !says_nothing(member.raw)).find(is_more)?;
    Some(format!("{ADDITIONAL}.{}", more.name))
}

/// Whether a member holds whatever a provider takes.
pub(super) fn is_holder(name: &str) -> bool {
    HOLDERS.contains(&name)
}

/// The first of Anthropic's beta flags, as a header or a member has them, that has a model take more than its own context.
pub fn widening(flags: &str) -> Option<&str> {
    // What sorts out the context that there is says so in a field of its own.
    let widens = |flag: &&str| flag.starts_with("context-") && !flag.starts_with("context-management") && ends_with_date(flag);
    flags.split([',', '"']).map(str::trim).find(widens)
}

/// As all of Anthropic's flags do, and other texts that begin alike do not.
fn ends_with_date(flag: &str) -> bool {
    let date = flag.len().checked_sub(11).and_then(|at| flag.as_bytes().get(at..)).unwrap_or_default();
    !date.is_empty() && date.iter().zip(b"-0000-00-00").all(|(byte, of)| if *of == b'0' { byte.is_ascii_digit() } else { byte == of })
}

/// The same among the members that have such flags, or hold whatever a provider takes.
pub fn widening_in<'a>(members: &'a Members<'_>) -> Option<&'a str> {
    let may_have = |name: &str| matches!(name, "anthropic_beta" | "betas") || is_holder(name);
    members.iter().filter(|member| may_have(&member.name)).find_map(|member| widening(member.raw))
}

/// The most tokens that may be thought, as a router's `reasoning` and members that hold whatever a provider takes state it.
pub fn thinks(members: &Members<'_>) -> u64 {
    let may_state = |name: &str| name == "reasoning" || (name != ADDITIONAL && is_holder(name));
    members.iter().filter(|member| may_state(&member.name)).map(|member| holders::thinks(member.raw)).max().unwrap_or(0)
}

/// How many tokens such a flag has a model take.
pub fn widens_to(flag: &str) -> u64 {
    if flag.starts_with("context-1m-") { 1_000_000 } else { u64::MAX }
}

/// Whether a request is to be thought over several times, which moves it to another model at some (OpenRouter) and has one read it again.
pub fn is_thought_over(reasoning: &str) -> bool {
    let plain = || reasoning.split_ascii_whitespace().collect::<String>();
    reasoning.contains("\\u") || (reasoning.contains("\"mode\"") && plain().replacen("\"mode\":\"standard\"", "", 1).contains("\"mode\""))
}

/// Whether a value is a list of nothing.
pub fn is_empty_list(raw: &str) -> bool {
    raw.strip_prefix('[').and_then(|raw| raw.strip_suffix(']')).is_some_and(|raw| raw.trim_ascii().is_empty())
}

/// Whether a value is as if nothing had been said.
pub(super) fn says_nothing(raw: &str) -> bool {
    let is_empty = |raw: &str| {
        raw.strip_prefix(['{', '[']).and_then(|raw| raw.strip_suffix(['}', ']'])).is_some_and(|raw| raw.trim_ascii().is_empty())
    };
    matches!(raw, "null" | "false" | "\"\"" | "0") || is_empty(raw)
}

/// Whether a known member asks for what costs more.
fn is_dearer(name: &str, raw: &str) -> bool {
    match name {
        "service_tier" | "serviceTier" => !is_one_of(&PLAIN_TIERS, raw),
        "inference_geo" => !is_one_of(&["global"], raw),
        "performanceConfig" | "speed" => !is_one_of(&["standard"], raw),
        // What looks at what is said has a price of its own.
        "guardrailConfig" | "guardrails" | "modelArmorConfig" => true,
        // A letter of a flag may be escaped.
        "anthropic_beta" | "betas" => raw.contains('\\'),
        _ if is_holder(name) => has_dearer_word(raw) || more_within(name, raw).is_some(),
        _ => false,
    }
}

fn has_dearer_word(raw: &str) -> bool {
    let lower = raw.to_ascii_lowercase();
    DEARER.iter().any(|word| lower.contains(word))
}

/// Whether a value is one of these words and nothing else, or an object with such a one alone.
fn is_one_of(words: &[&str], raw: &str) -> bool {
    let is_word = |raw: &str| raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')).is_some_and(|word| words.contains(&word));
    let alone = |members: Members<'_>| matches!(members.iter().collect::<Vec<_>>()[..], [one] if is_word(one.raw));
    is_word(raw) || Members::read(raw.as_bytes()).is_ok_and(alone)
}

/// Whether a member is known; of some that are, such as `tools`, others look at what is in them.
fn has(name: &str) -> bool {
    static OTHERS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
        let lines = include_str!("vocabulary.txt").lines().filter(|line| !line.starts_with('#'));
        lines.flat_map(str::split_ascii_whitespace).collect()
    });
    is_common(name) || OTHERS.contains(name)
}

/// Those that most requests have.
fn is_common(name: &str) -> bool {
    matches!(
        name,
        "model"
            | "messages"
            | "stream"
            | "max_tokens"
            | "max_completion_tokens"
            | "temperature"
            | "top_p"
            | "n"
            | "input"
            | "contents"
            | "system"
            | "tools"
            | "tool_choice"
            | "response_format"
            | "stop"
            | "stream_options"
            | "metadata"
            | "user"
            | "seed"
            | "presence_penalty"
            | "frequency_penalty"
            | "top_k"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_requests_are_decoded_of_is_known() {
        const DECODERS: [&str; 8] = [
            include_str!("anthropic_messages/decode_request.rs"),
            include_str!("bedrock_converse/decode_request.rs"),
            include_str!("cohere_v2/decode_request.rs"),
            include_str!("gemini/decode_request.rs"),
            include_str!("ollama/decode_request.rs"),
            include_str!("openai_chat/request/decode.rs"),
            include_str!("openai_chat/request/manner.rs"),
            include_str!("openai_responses/decode_request.rs"),
        ];
        // What stands within others, and what lets a provider search.
        const OTHERS: [&str; 14] = [
            "content",
            "document",
            "function",
            "image_url",
            "name",
            "refusal",
            "role",
            "schema",
            "signature",
            "tool_call_id",
            "tool_calls",
            "tool_name",
            "type",
            "web_search_options",
        ];
        let taken = |ways: &[&str]| -> Vec<&str> {
            let of = |text: &'static str, way: &str| text.match_indices(way).map(|(at, way)| &text[at + way.len()..]).collect::<Vec<_>>();
            let after = DECODERS.iter().flat_map(|text| ways.iter().flat_map(|way| of(text, way)));
            after.filter_map(|rest| rest.split('"').next()).collect()
        };
        let taken = taken(&["fields.remove(\"", "fields.take(\"", "fields.list(\"", "fields.object(\"", "fields.texts(\""]);
        let unknown: Vec<&&str> = taken.iter().filter(|name| !OTHERS.contains(name) && holds_more(name, "{\"a\":1}")).collect();
        assert!(unknown.is_empty() && taken.len() > 20, "{unknown:?} of {taken:?}");
        for more in ["[1]", "{\"a\":0}", "\"x\"", "true", "1", "-1.5"] {
            assert!(holds_more("swarm", more) && !holds_more("temperature", more), "{more}");
        }
        assert!(["{ }", "[]", "null", "false", "0", "\"\""].iter().all(|nothing| !holds_more("swarm", nothing)));
        assert!(["preset", "enable_code_interpreter", "chat_template", "agent_id", "use_rag"].iter().all(|name| holds_more(name, "true")));
        assert!(!holds_more("extra_body", r#"{"google":{"thinking_config":{"a":1}}}"#) && holds_more("extra_body", r#"{"tools":[1]}"#));
    }

    #[test]
    fn what_costs_more_than_the_price_is_no_plain_word() {
        let cases = [
            ("service_tier", "\"priority\"", "\"flex\""),
            ("serviceTier", "{\"type\":\"priority\"}", "{\"type\":\"default\"}"),
            ("inference_geo", "\"us\"", "\"global\""),
            ("performanceConfig", "{\"latency\":\"optimized\"}", "{\"latency\":\"standard\"}"),
            ("serviceTier", "{\"type\":\"priority\",\"x\":\"default\"}", "{ \"type\" : \"flex\" }"),
            ("serviceTier", "{\"type\":\"default\",\"type\":\"priority\"}", "\"standard\""),
            ("performanceConfig", "{\"latency\":\"optimized\",\"note\":\"standard\"}", "{}"),
            ("providerOptions", "{\"openai\":{\"serviceTier\":\"priority\"}}", "{\"openai\":{\"reasoningEffort\":\"low\"}}"),
            ("providerOptions", "{\"anthropic\":{\"speed\":\"fast\"}}", "{\"anthropic\":{\"thinking\":{\"type\":\"enabled\"}}}"),
            ("extra_body", "{\"service_tier\":\"priority\"}", "{\"google\":{\"thinking_config\":{}}}"),
            ("additionalModelRequestFields", "{\"max_tokens\":40000}", "{\"top_k\":5}"),
            (ADDITIONAL, "{\"n\":16}", "{\"n\":null,\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":1024}}"),
            (ADDITIONAL, "{\"inferenceConfig\":{\"maxTokens\":9}}", "{\"inferenceConfig\":{\"topK\":9}}"),
            (
                ADDITIONAL,
                "{\"context_management\":{\"edits\":[{\"type\":\"compact_20260112\"}]}}",
                "{\"context_management\":{\"edits\":[]}}",
            ),
            (ADDITIONAL, "{\"thinking\":{},\"thinking\":{}}", "{\"reasoning_config\":\"high\"}"),
            ("anthropic_beta", "[\"c\\u006fntext-1m-2025-08-07\"]", "[\"computer-use-2025-01-24\"]"),
        ];
        for (name, dear, plain) in cases {
            assert!(holds_more(name, dear) && !holds_more(name, plain), "{name}: {dear}, {plain}");
        }
        assert_eq!(more(ADDITIONAL, "{\"top_k\":5,\"n\":16}").as_deref(), Some("additionalModelRequestFields.n"));
        assert_eq!(more("swarm", "1").as_deref(), Some("swarm"));
        let widening_all = ["context-1m-2025-08-07", "computer-use-2025-01-24, context-1m-2025-08-07", r#"["context-2m-2027-01-01"]"#];
        assert!(widening_all.iter().all(|flags| widening(flags).is_some_and(|flag| flag.starts_with("context-"))));
        assert!(
            [
                "context-management-2025-06-27",
                "context-eval",
                "context-aware retrieval",
                r#"["computer-use-2025-01-24"]"#,
                "",
                "context-é-000-00"
            ]
            .iter()
            .all(|flags| widening(flags).is_none())
        );
        assert!(widens_to("context-1m-2025-08-07") == 1_000_000 && widens_to("context-10m-2027-01-01") == u64::MAX);
        let thought_over = ["{\"mode\":\"pro\"}", "{\"mo\\u0064e\":\"pro\"}", "{\"mode\":\"standard\",\"mode\":\"pro\"}"];
        assert!(thought_over.iter().all(|reasoning| is_thought_over(reasoning)));
        assert!(!is_thought_over("{\"effort\":\"high\",\"mode\" : \"standard\"}") && !is_thought_over("{\"summary\":\"auto\"}"));
    }
}
