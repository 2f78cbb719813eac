//! What a prompt's answer has to be: asked for by a format or in words, checked, and asked for once more where it does not fit.

use http::StatusCode;
use serde_json::Value;

use super::{Prompt, Violation};
use crate::catalog::Capability;
use crate::dialect::ir::{self, Block, Choice, Content, Finish, Format, Message, Role, Subject};
use crate::error::{Kind, Refusal};
use crate::gateway::Gateway;

/// What an answer is, or why it is none.
pub enum Output {
    /// As the model said it.
    Text(String),
    /// What fits the schema.
    Json(Value),
    /// What does not.
    Unfit(Vec<Violation>),
}

/// What became of an answer's tries: it has one more where it does not fit.
#[derive(Debug, Default)]
pub struct Tries {
    is_repaired: bool,
}

/// How an answer is asked for once more.
#[derive(Debug)]
pub enum Again {
    /// With what was said, and what of it does not fit.
    Repaired(String, Vec<Violation>),
    /// In words: the provider takes no format.
    InWords,
}

/// How a prompt's output is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// By the provider's own means.
    Format,
    /// In words, of a model that has no such means.
    Words,
}

// === impl Tries ===

impl Tries {
    /// What an answer is, or how it is asked for again; `is_bare` where JSON has to begin and end it.
    pub fn judge(&mut self, prompt: &Prompt, said: String, is_bare: bool) -> Result<Output, Again> {
        match read(prompt, &said, is_bare) {
            Output::Unfit(violations) if !self.is_repaired => {
                self.is_repaired = true;
                Err(Again::Repaired(said, violations))
            }
            output => Ok(output),
        }
    }
}

// === impl Again ===

impl Again {
    /// Makes the next request of the last one.
    pub fn put(self, prompt: &Prompt, request: &mut ir::Request) {
        match self {
            Again::Repaired(said, violations) => ask_again(request, said, &violations),
            Again::InWords => {
                request.format = None;
                Manner::Words.ask(prompt, request);
            }
        }
    }
}

// === impl Manner ===

impl Manner {
    /// What the catalogue knows of a model says which; of what it knows nothing, it is tried.
    pub fn of(gateway: &Gateway, model: &str) -> Manner {
        let targets = gateway.router().resolve(model).unwrap_or_default();
        let lacks = |can: &[Capability]| !can.is_empty() && !can.contains(&Capability::Structured);
        match targets.iter().filter_map(|target| target.facts()).any(|facts| lacks(&facts.can)) {
            true => Manner::Words,
            false => Manner::Format,
        }
    }

    /// Asks for it, where the prompt gives JSON and the caller asks for no other format.
    pub fn ask(self, prompt: &Prompt, request: &mut ir::Request) {
        if request.format.is_some() || !prompt.gives_json() {
            return;
        }
        let schema = &prompt.front.output;
        match self {
            Manner::Format => {
                request.format = Some(match schema {
                    Some(schema) => Format::JsonSchema {
                        name: prompt.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(64).collect(),
                        description: None,
                        schema: schema.clone(),
                        strict: Some(is_strict(schema)),
                    },
                    None => Format::JsonObject,
                });
            }
            Manner::Words => {
                let fits = schema.as_ref().map_or_else(String::new, |schema| format!(" It has to fit this JSON Schema: {schema}"));
                let words = format!("Answer with JSON alone, without any other text or marks around it.{fits}");
                let at = request.messages.iter().take_while(|message| message.role == Role::System).count();
                request.messages.insert(at, Message::new(Role::System, vec![Block::text(words)]));
            }
        }
    }
}

/// Whether an answer is a provider's error that says that it does not take the format that it was asked for.
pub fn blames_format(head: &http::response::Parts) -> bool {
    let is_refusal = [StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY].contains(&head.status);
    is_refusal && head.extensions.get::<Subject>() == Some(&Subject::Format)
}

/// What an answer is; `is_bare` where it has to be JSON from its first letter to its last.
pub fn read(prompt: &Prompt, text: &str, is_bare: bool) -> Output {
    if !prompt.gives_json() {
        return Output::Text(text.to_owned());
    }
    // Models that only follow instructions like to put JSON into a fence.
    let bare = text.trim();
    let fenced = bare.strip_prefix("```json").or(bare.strip_prefix("```")).and_then(|rest| rest.strip_suffix("```"));
    let bare = fenced.filter(|_| !is_bare).unwrap_or(bare);
    match serde_json::from_str::<Value>(bare) {
        Err(error) => Output::Unfit(vec![Violation { path: String::new(), message: format!("it is no JSON ({error})") }]),
        Ok(value) => match prompt.output_violations(&value) {
            violations if violations.is_empty() => Output::Json(value),
            violations => Output::Unfit(violations),
        },
    }
}

/// Goes on with an answer that does not fit, and what is wrong with it.
fn ask_again(request: &mut ir::Request, said: String, violations: &[Violation]) {
    let told: Vec<String> = violations.iter().map(Violation::told).collect();
    let again = format!("That does not fit the schema: {}. Answer again, with the JSON alone.", told.join("; "));
    request.messages.push(Message::new(Role::Assistant, vec![Block::text(said)]));
    request.messages.push(Message::new(Role::User, vec![Block::text(again)]));
}

/// Whether an answer came to its end and was not withheld.
pub fn is_whole(finish: &Finish) -> bool {
    withheld(finish).is_none() && cut(finish).is_none()
}

/// Why there is no answer, though the model has ended: it declined, or a filter stopped it. Asking again would give the same.
pub fn withheld(finish: &Finish) -> Option<Refusal> {
    let (code, message) = match finish {
        Finish::ContentFilter => {
            ("answer_filtered", "The provider's content filter stopped the answer: say it in other words, or leave out what it minds.")
        }
        Finish::Refusal => ("answer_refused", "The model declined to answer this: say it in other words, or ask for something else."),
        _ => return None,
    };
    Some(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, Kind::Invalid, code, message))
}

/// Why a choice ended: words that decline are marked as such, also where the choice ended as any other.
pub fn finish(choice: &Choice) -> Finish {
    choice.finish.clone().said(choice.content.iter().any(|block| matches!(block.content, Content::Refusal(_))))
}

/// Why an answer is shorter than it would be, as callers are told it.
pub fn cut(finish: &Finish) -> Option<&'static str> {
    matches!(finish, Finish::Length | Finish::ContextExceeded).then_some("length")
}

/// The model's answer was cut off before it could fit.
pub fn cut_off() -> Refusal {
    let message = "The model's answer was cut off at its limit of tokens, and so does not fit the prompt's output schema: give it less to do, or let the prompt's author raise config.maxOutputTokens.";
    Refusal::new(StatusCode::BAD_GATEWAY, Kind::Upstream, "answer_cut", message)
}

/// What a prompt's own fault is to its callers: nothing that they could mend.
pub fn faulty(prompt: &Prompt, why: &str) -> Refusal {
    let why = why.trim_end_matches('.');
    let message = format!(
        "The prompt '{}' cannot be answered as it is written ({why}). Your request is fine: tell whoever wrote the prompt, with this request's id.",
        prompt.label()
    );
    Refusal::new(StatusCode::BAD_GATEWAY, Kind::Upstream, "prompt_faulty", message)
}

/// Whether an answer is a provider's error about what the prompt asks for, and not about what its caller gave.
pub fn blames_prompt(head: &http::response::Parts) -> bool {
    let subject = head.extensions.get::<Subject>();
    match head.status {
        StatusCode::NOT_FOUND => subject.is_some(),
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => matches!(subject, Some(Subject::Format | Subject::Rest)),
        _ => false,
    }
}

/// The model's answer did not fit twice.
pub fn unfit() -> Refusal {
    let message = "The model's answer does not fit the prompt's output schema: try again, or use a model with structured output.";
    Refusal::new(StatusCode::BAD_GATEWAY, Kind::Upstream, "output_invalid", message)
}

/// Whether a schema is one that providers take as strict: every object closed, every property required.
fn is_strict(schema: &Value) -> bool {
    match schema {
        Value::Object(object) => {
            let of = |name: &str| object.get(name).and_then(Value::as_object).map_or(0, serde_json::Map::len);
            let required = object.get("required").and_then(Value::as_array).map_or(0, Vec::len);
            let is_object = object.get("type").is_some_and(|kind| kind == "object");
            let is_closed = !is_object || (object.get("additionalProperties") == Some(&Value::Bool(false)) && of("properties") == required);
            is_closed && object.values().all(is_strict)
        }
        Value::Array(list) => list.iter().all(is_strict),
        _ => true,
    }
}
