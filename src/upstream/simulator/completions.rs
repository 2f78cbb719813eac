//! Completions, the older way.

use async_openai::types::chat::Choice;
use async_openai::types::chat::{CompletionFinishReason, CompletionUsage};
use async_openai::types::completions::CreateCompletionResponse;
use serde_json::Value;

use super::reading::{Content, Request};
use super::{Bad, MODEL, Reply, marked, new_id, now, text};

/// Prompts and their choices together.
const MOST_CHOICES: usize = 128;
/// Of prompts that are repeated before their choices, all together.
const MOST_REPEATED_BYTES: usize = 1 << 20;

/// Answers a completion request: each prompt with as many choices as asked for.
pub(super) fn reply(request: &Request) -> Result<Reply, Bad> {
    let prompts = prompts(request)?;
    let choices = request.choices()?;
    let all = prompts.len().saturating_mul(choices as usize);
    if all > MOST_CHOICES {
        return Err(Bad::value("prompt", "has too many prompts: the simulator makes 128 choices in all at the most"));
    }
    let limit = request.limit(&["max_tokens"], all as u32)?;
    let stops = request.stops()?;
    let repeats_prompt = request.flag("echo")?;
    let prompts_bytes: usize = prompts.iter().map(String::len).sum();
    if repeats_prompt && prompts_bytes.saturating_mul(choices as usize) > MOST_REPEATED_BYTES {
        return Err(Bad::value("echo", "asks for more than the simulator repeats: 1 MiB in all"));
    }
    let mut completion_tokens = 0_u32;
    let mut told = Vec::with_capacity(all);
    for prompt in prompts.iter().flat_map(|prompt| std::iter::repeat_n(prompt, choices as usize)) {
        let said = text::echo(&Content::of_text(prompt));
        let cut = text::cut(text::before_stop(&said, &stops), limit);
        completion_tokens = completion_tokens.saturating_add(cut.count());
        let finish = if cut.is_cut { CompletionFinishReason::Length } else { CompletionFinishReason::Stop };
        let repeated = repeats_prompt.then(|| format!("{prompt}\n\n"));
        let tokens: Vec<String> = repeated.into_iter().chain(cut.tokens.iter().map(|&token| token.to_owned())).collect();
        told.push((tokens, finish));
    }
    let prompt_tokens = prompts.iter().fold(0_u32, |sum, prompt| sum.saturating_add(text::count(prompt)));
    let total_tokens = prompt_tokens.saturating_add(completion_tokens);
    let usage = CompletionUsage { prompt_tokens, completion_tokens, total_tokens, ..CompletionUsage::default() };
    let head = CreateCompletionResponse {
        id: new_id("cmpl"),
        created: now(),
        model: MODEL.to_owned(),
        object: "text_completion".to_owned(),
        ..CreateCompletionResponse::default()
    };
    if !request.flag("stream")? {
        let choices = (0..).zip(told).map(|(index, (tokens, finish))| choice(index, tokens.concat(), Some(finish))).collect();
        return Ok(Reply::Json(marked(&CreateCompletionResponse { choices, usage: Some(usage), ..head })));
    }
    let mut events = String::new();
    let mut send = |choices: Vec<Choice>, usage: Option<CompletionUsage>| {
        events.push_str(&format!("data: {}\n\n", marked(&CreateCompletionResponse { choices, usage, ..head.clone() })));
    };
    for (index, (tokens, finish)) in (0..).zip(told) {
        for token in tokens {
            send(vec![choice(index, token, None)], None);
        }
        send(vec![choice(index, String::new(), Some(finish))], None);
    }
    if request.wants_usage()? {
        send(Vec::new(), Some(usage));
    }
    events.push_str("data: [DONE]\n\n");
    Ok(Reply::Events(events))
}

fn choice(index: u32, text: String, finish_reason: Option<CompletionFinishReason>) -> Choice {
    Choice { text, index, logprobs: None, finish_reason }
}

/// A string, a list of them, or tokens, which are shown as their numbers.
fn prompts(request: &Request) -> Result<Vec<String>, Bad> {
    let prompt = request.get("prompt").ok_or_else(|| Bad::value("prompt", "is missing"))?;
    inputs(prompt).ok_or_else(|| Bad::value("prompt", "has to be a string, a list of strings, or tokens"))
}

/// The texts of a `prompt` or an `input`.
pub(super) fn inputs(input: &Value) -> Option<Vec<String>> {
    let numbers = |list: &[Value]| -> Option<String> {
        let numbers: Option<Vec<String>> = list.iter().map(|token| token.as_u64().map(|token| token.to_string())).collect();
        numbers.map(|numbers| numbers.join(" "))
    };
    match input {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(list) if list.is_empty() => None,
        Value::Array(list) if list.iter().all(Value::is_u64) => Some(vec![numbers(list)?]),
        Value::Array(list) => list
            .iter()
            .map(|one| match one {
                Value::String(text) => Some(text.clone()),
                Value::Array(tokens) if !tokens.is_empty() => numbers(tokens),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}
