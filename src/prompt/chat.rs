//! A prompt with its variables as a chat request, and a chat request that names `prompt/NAME` as what that prompt means.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::dotprompt::{Message, Part, Rendering};
use super::{Prompt, State, Violation};
use crate::catalog::Model;
use crate::config::hint;
use crate::dialect::ir::{self, Block, Content, Dropped, Format, MediaKind, MediaSource, Role};
use crate::dialect::{Ask, To, codec, translate};
use crate::error::{Kind, Refusal};
use crate::gateway::Gateway;
use crate::key::Caller;

/// What stands before a prompt's name where a model is named.
pub const PREFIX: &str = "prompt/";

/// The prompt that `name` or `name@version` means to a caller that may call it.
pub fn find(gateway: &Gateway, caller: &Caller, name: &str) -> Result<Arc<Prompt>, Refusal> {
    let not_found = |message: String| Refusal::new(StatusCode::NOT_FOUND, Kind::NotFound, "prompt_not_found", message);
    let shown: String = name.chars().take(100).collect();
    let (base, version) = name.split_once('@').map_or((name, None), |(base, version)| (base, Some(version)));
    let full = format!("{PREFIX}{base}");
    // Which model is behind it is looked at when it is called.
    caller.may_use(&full, || full.clone(), true).map_err(|reason| reason.refusal(Some(caller.id())))?;
    let (prompts, now) = (gateway.prompts.prompts(), Timestamp::now());
    let found = match version {
        None => prompts.choose(base, now, chance()).cloned(),
        Some(version) => version.parse().ok().and_then(|version: u32| prompts.versions(base)?.get(&version).cloned()),
    };
    let Some(prompt) = found else {
        return Err(not_found(match prompts.versions(base) {
            Some(versions) => {
                let labels: Vec<String> = versions.values().map(|prompt| prompt.label()).collect();
                let labels = labels.join(", ");
                match version {
                    Some(_) => format!("There is no prompt '{shown}': its versions are {labels}."),
                    None => format!(
                        "The prompt '{shown}' is a draft: call it by its version ({labels}), or let it be published by 'keyward prompts publish {shown}'."
                    ),
                }
            }
            None => {
                let near = hint::nearest(base, prompts.names()).map_or_else(String::new, |near| format!(" Did you mean '{near}'?"));
                format!("There is no prompt '{shown}'.{near} GET /prompts lists those that this key may call.")
            }
        }));
    };
    if prompt.state_at(now) == State::Retired {
        let instead = prompt.life.successor.as_ref().map_or_else(String::new, |successor| format!(" Call '{successor}' instead."));
        let message = format!("The prompt '{}' is retired.{instead}", prompt.label());
        let mut refusal = Refusal::new(StatusCode::GONE, Kind::NotFound, "prompt_retired", message);
        refusal.headers = prompt.headers().into_iter().map(|(name, value)| (http::HeaderName::from_static(name), value)).collect();
        return Err(refusal);
    }
    Ok(prompt)
}

/// The variables with the prompt's defaults, or what in them its schema does not allow.
pub fn variables(prompt: &Prompt, given: Value) -> Result<Value, Vec<Violation>> {
    let whole = match given {
        Value::Object(given) => {
            let mut all = prompt.front.default.clone();
            all.extend(given);
            Value::Object(all)
        }
        other => other,
    };
    match prompt.input_violations(&whole) {
        violations if violations.is_empty() => Ok(whole),
        violations => Err(violations),
    }
}

/// Which model answers a prompt.
pub fn model<'a>(gateway: &'a Gateway, prompt: &'a Prompt) -> &'a str {
    prompt.front.model.as_deref().unwrap_or(&gateway.config.prompts.model)
}

/// The prompt rendered into a request; what the request says already of sampling and the like goes before the prompt's own settings.
///
/// The conversation so far stands where the template has `{{history}}`, or before its last message.
pub fn rendered(prompt: &Prompt, input: Value, history: Vec<ir::Message>, mut request: ir::Request) -> Result<ir::Request, Refusal> {
    let places = (0..history.len()).map(Message::standing_for).collect();
    let rendering = Rendering { input, history: places, ..Rendering::default() };
    let messages = prompt.template.render(rendering).map_err(|why| {
        Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            Kind::Invalid,
            "prompt_not_rendered",
            format!("The prompt '{}' cannot be rendered with these variables: {why}.", prompt.label()),
        )
    })?;
    // A template cannot hold all that a message of a conversation is made of: it places what stands for it.
    let mut history: Vec<Option<ir::Message>> = history.into_iter().map(Some).collect();
    request.messages = messages
        .into_iter()
        .filter_map(|message| match message.stands_for() {
            Some(place) => history.get_mut(place)?.take(),
            None => to_ir(message),
        })
        .collect();
    let config = &prompt.front.config;
    let number = |name: &str| config.get(name).and_then(Value::as_f64);
    let count = |name: &str| config.get(name).and_then(Value::as_u64);
    let sampling = &mut request.sampling;
    sampling.temperature = sampling.temperature.or(number("temperature"));
    sampling.top_p = sampling.top_p.or(number("topP"));
    sampling.top_k = sampling.top_k.or(count("topK"));
    sampling.max_output = sampling.max_output.or(count("maxOutputTokens"));
    if sampling.stop.is_empty() {
        let stop = config.get("stopSequences").and_then(Value::as_array).into_iter().flatten();
        sampling.stop = stop.filter_map(|text| text.as_str().map(str::to_owned)).collect();
    }
    if request.format.is_none() && prompt.gives_json() {
        request.format = Some(match &prompt.front.output {
            Some(schema) => Format::JsonSchema {
                name: prompt.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(64).collect(),
                description: None,
                schema: schema.clone(),
                strict: Some(is_strict(schema)),
            },
            None => Format::JsonObject,
        });
    }
    Ok(request)
}

/// A request for `prompt/NAME` as one for the prompt's model, in the dialect that it came in.
///
/// The variables are the last user message where that is a JSON object; else the template gets the caller's messages as its history.
pub fn expand(gateway: &Gateway, caller: &Caller, ask: Ask) -> Result<(Ask, Arc<Prompt>), Refusal> {
    let prompt = find(gateway, caller, ask.model.strip_prefix(PREFIX).unwrap_or(&ask.model))?;
    let asked = translate::read_request(&ask)?;
    let mut request = (*asked.request).clone();
    let last = request.messages.last().filter(|message| message.role == Role::User);
    let said: String = last.iter().flat_map(|message| &message.content).filter_map(Block::as_text).collect();
    let object = serde_json::from_str::<Map<String, Value>>(&said).ok();
    let (given, history) = match object {
        Some(object) => {
            request.messages.pop();
            (Value::Object(object), std::mem::take(&mut request.messages))
        }
        None => (Value::Object(Map::new()), std::mem::take(&mut request.messages)),
    };
    let input = variables(&prompt, given).map_err(|violations| unfit(&prompt, &violations))?;
    let request = rendered(&prompt, input, history, request)?;
    let model = model(gateway, &prompt).to_owned();
    let facts = gateway.router().resolve(&model).ok().and_then(|targets| targets.first()?.facts().cloned());
    let body = encoded(&request, &ask, &model, facts.as_ref())?;
    let mut called = ask.called;
    if called.model.is_some() {
        called.model = Some(model);
    }
    Ok((Ask::read(called, body)?, prompt))
}

/// The body of a request, in the dialect of the one that it stands for.
fn encoded(request: &ir::Request, ask: &Ask, model: &str, facts: Option<&Model>) -> Result<Bytes, Refusal> {
    codec(ask.called.dialect).encode_request(request, &To { model, facts }, &mut Dropped::default())
}

/// What says that a caller's variables do not fit.
pub fn unfit(prompt: &Prompt, violations: &[Violation]) -> Refusal {
    let told: Vec<String> = violations.iter().take(5).map(Violation::told).collect();
    let message = format!("The input of the prompt '{}' does not fit its schema: {}.", prompt.label(), told.join("; "));
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, Kind::Invalid, "input_invalid", message)
}

fn to_ir(message: Message) -> Option<ir::Message> {
    let role = match message.role.as_str() {
        "system" => Role::System,
        "model" | "assistant" => Role::Assistant,
        _ => Role::User,
    };
    let content: Vec<Block> = message.content.into_iter().filter_map(block).collect();
    (!content.is_empty()).then(|| ir::Message::new(role, content))
}

fn block(part: Part) -> Option<Block> {
    match part {
        Part::Text { text } => Some(Block::text(text)),
        Part::Pending { .. } => None,
        Part::Media { media } => {
            let inline = media.url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
            let media_type = media.content_type.clone().or(inline.map(|(kind, _)| kind.to_owned()));
            let source = match inline {
                Some((_, data)) => MediaSource::Base64(data.to_owned()),
                None => MediaSource::Url(media.url.clone()),
            };
            let kind = match media_type.as_deref().unwrap_or("image/").split('/').next() {
                Some("audio") => MediaKind::Audio,
                Some("video") => MediaKind::Video,
                Some("application" | "text") => MediaKind::Document,
                _ => MediaKind::Image,
            };
            let media = ir::Media { kind, source, media_type, name: None, detail: None, context: None, citable: false };
            Some(Block::from(Content::Media(media)))
        }
    }
}

/// Whether a schema is one that providers take as strict: every object closed, every property required.
fn is_strict(schema: &Value) -> bool {
    match schema {
        Value::Object(object) => {
            let of = |name: &str| object.get(name).and_then(Value::as_object).map_or(0, Map::len);
            let required = object.get("required").and_then(Value::as_array).map_or(0, Vec::len);
            let is_object = object.get("type").is_some_and(|kind| kind == "object");
            let is_closed = !is_object || (object.get("additionalProperties") == Some(&Value::Bool(false)) && of("properties") == required);
            is_closed && object.values().all(is_strict)
        }
        Value::Array(list) => list.iter().all(is_strict),
        _ => true,
    }
}

/// A number from 0 to 1 that differs with each call.
fn chance() -> f64 {
    let letters = crate::key::format::random_base62::<4>().unwrap_or_default();
    let value = letters
        .iter()
        .fold(0_u32, |value, letter| value * 62 + u32::from(LETTERS.iter().position(|l| l == letter).map_or(0, |at| at as u8)));
    f64::from(value) / f64::from(62_u32.pow(4))
}

const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

// === impl Violation ===

impl Violation {
    /// In a few words, with its place.
    pub fn told(&self) -> String {
        match self.path.as_str() {
            "" => self.message.clone(),
            path => format!("at {path}, {}", self.message),
        }
    }
}
