//! A prompt with its variables as a chat request, and a chat request that names `prompt/NAME` as what that prompt means.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::dotprompt::{Message, Part, Rendering, config};
use super::output::{self, Manner};
use super::{Prompt, Prompts, State, Violation};
use crate::catalog::{Dialect, Operation};
use crate::config::hint;
use crate::dialect::ir::{self, Block, Content, Dropped, MediaKind, MediaSource, Role};
use crate::dialect::{Ask, Called, To, codec, translate};
use crate::error::{Kind, Refusal};
use crate::gateway::Gateway;
use crate::key::{Caller, Reason};
use crate::quota::limits;
use crate::route::Target;
use crate::surface::REQUEST_ID;
use crate::versions::chance;

/// What stands before a prompt's name where a model is named.
pub const PREFIX: &str = limits::OF_PROMPTS;
const DROPPED: HeaderName = HeaderName::from_static("keyward-dropped");
/// So many settings are named at the most.
const MOST_DROPPED: usize = 20;

/// The prompt that `name` or `name@version` means to a caller that may call it.
pub fn find(gateway: &Gateway, caller: &Caller, name: &str) -> Result<Arc<Prompt>, Refusal> {
    found(&gateway.prompts.prompts(), caller, name, |prompts, base, now| prompts.choose(base, now, chance()).cloned())
}

/// The same to be looked at: of versions that share calls, the newest each time.
pub fn shown(gateway: &Gateway, caller: &Caller, name: &str) -> Result<Arc<Prompt>, Refusal> {
    shown_of(&gateway.prompts.prompts(), caller, name)
}

/// The same of prompts that no gateway has to serve.
pub fn shown_of(prompts: &Prompts, caller: &Caller, name: &str) -> Result<Arc<Prompt>, Refusal> {
    found(prompts, caller, name, |prompts, base, now| prompts.shown(base, now).cloned())
}

fn found(
    prompts: &Prompts,
    caller: &Caller,
    name: &str,
    choose: impl Fn(&Prompts, &str, Timestamp) -> Option<Arc<Prompt>>,
) -> Result<Arc<Prompt>, Refusal> {
    let not_found = |message: String| Refusal::new(StatusCode::NOT_FOUND, Kind::NotFound, "prompt_not_found", message);
    let shown: String = name.chars().take(100).collect();
    let (base, version) = name.split_once('@').map_or((name, None), |(base, version)| (base, Some(version)));
    may_call(caller, name).map_err(|reason| reason.refusal(Some(caller.id())))?;
    let now = Timestamp::now();
    let found = match version {
        None => choose(prompts, base, now),
        Some(version) => prompts.version(base, version).cloned(),
    };
    // A draft is for those alone to whom it is shown.
    let hidden = found.as_ref().filter(|prompt| prompt.life.state == State::Draft && !caller.names(&format!("{PREFIX}{}", prompt.label())));
    if let Some(draft) = hidden {
        let label = draft.label();
        return Err(not_found(format!(
            "The prompt '{label}' is a draft: it is called with a key whose models or tools name '{PREFIX}{label}', and by all once 'keyward prompts publish {label}' is done."
        )));
    }
    let Some(prompt) = found else {
        return Err(not_found(match prompts.versions(base) {
            Some(versions) => {
                let published = versions.values().filter(|prompt| prompt.life.state != State::Draft);
                let labels: Vec<String> = published.map(|prompt| prompt.label()).collect();
                match labels.is_empty() {
                    false => format!("There is no prompt '{shown}': its versions are {}.", labels.join(", ")),
                    true => format!("The prompt '{shown}' is a draft: let it be published by 'keyward prompts publish {shown}'."),
                }
            }
            None => {
                // What the key may not call, it is not told of.
                let is_told = |name: &&str| may_call(caller, name).is_ok() && prompts.choose(name, now, 0.0).is_some();
                let near = hint::nearest(base, prompts.names().filter(is_told));
                let near = near.map_or_else(String::new, |near| format!(" Did you mean '{near}'?"));
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

/// Whether what a model is asked for can be asked of it by its name: a prompt answers chats alone.
pub fn check_operation(model: &str, operation: Operation, dialect: Dialect) -> Result<(), Refusal> {
    let Some(name) = model.strip_prefix(PREFIX).filter(|_| operation != Operation::Chat) else { return Ok(()) };
    let name: String = name.chars().take(100).collect();
    let chat = match dialect {
        Dialect::OpenaiChat => "POST /v1/chat/completions",
        Dialect::OpenaiResponses => "POST /v1/responses",
        Dialect::AnthropicMessages => "POST /v1/messages",
        Dialect::Gemini => "generateContent",
        Dialect::BedrockConverse => "Converse",
        Dialect::CohereV2 => "POST /v2/chat",
        Dialect::Ollama => "POST /api/chat",
    };
    let counted = if operation == Operation::CountTokens { ", whose answer tells how many tokens it took" } else { "" };
    let message = format!(
        "'{PREFIX}{name}' is a prompt, which answers chats and not '{}': call it by {chat}{counted}, or by POST /prompts/{name}.",
        operation.as_str()
    );
    Err(Refusal::invalid("prompt_is_for_chat", message).with_param("model"))
}

/// Whether a key may call the prompt `name` or `name@version`: it is a model's name to lists of models, and a tool's to lists of tools.
///
/// Which model it runs on is nothing to the key.
pub fn may_call(caller: &Caller, name: &str) -> Result<(), Reason> {
    let (base, labelled) = (format!("{PREFIX}{}", name.split_once('@').map_or(name, |(base, _)| base)), format!("{PREFIX}{name}"));
    caller.may_use(&base, || labelled.clone(), true)?;
    caller.may_use_tool(&base).or_else(|reason| caller.may_use_tool(&labelled).map_err(|_| reason))
}

/// A request that was refused for what it asks counts as one all the same, so that nobody guesses for nothing.
pub fn counted(caller: &Caller, refusal: Refusal) -> Refusal {
    caller.count(&|_| false).map_or_else(Refusal::from, |()| refusal)
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

/// What is wrong with the model that a prompt names is not its caller's to mend.
pub fn own_fault(prompt: &Option<Arc<Prompt>>, refusal: Refusal) -> Refusal {
    match prompt {
        Some(prompt) if refusal.status.is_client_error() => output::faulty(prompt, &refusal.message),
        _ => refusal,
    }
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
    if request.messages.is_empty() {
        let message = format!("The prompt '{}' says nothing with these variables: nobody would be asked anything.", prompt.label());
        return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, Kind::Invalid, "prompt_not_rendered", message));
    }
    let config = &prompt.front.config;
    let number = |name: &str| config.get(name).and_then(Value::as_f64);
    let count = |name: &str| config.get(name).and_then(Value::as_u64);
    let sampling = &mut request.sampling;
    sampling.temperature = sampling.temperature.or(number("temperature"));
    sampling.top_p = sampling.top_p.or(number("topP"));
    sampling.top_k = sampling.top_k.or(count("topK"));
    sampling.max_output = sampling.max_output.or(count("maxOutputTokens"));
    sampling.seed = sampling.seed.or(config.get("seed").and_then(Value::as_i64));
    sampling.frequency_penalty = sampling.frequency_penalty.or(number("frequencyPenalty"));
    sampling.presence_penalty = sampling.presence_penalty.or(number("presencePenalty"));
    if sampling.stop.is_empty() {
        let stop = config.get("stopSequences").and_then(Value::as_array).into_iter().flatten();
        sampling.stop = stop.filter_map(|text| text.as_str().map(str::to_owned)).collect();
    }
    Ok(request)
}

/// The same beside the threads that serve, where the template goes through lists: how long those are is up to the caller.
pub async fn rendered_beside(
    prompt: &Arc<Prompt>,
    input: Value,
    history: Vec<ir::Message>,
    request: ir::Request,
) -> Result<ir::Request, Refusal> {
    if !prompt.template.has_loops {
        return rendered(prompt, input, history, request);
    }
    let beside = Arc::clone(prompt);
    let done = tokio::task::spawn_blocking(move || rendered(&beside, input, history, request)).await;
    done.unwrap_or_else(|_| Err(output::faulty(prompt, "its template cannot be rendered")))
}

/// A request for `prompt/NAME` as one for the prompt's model, in the dialect that it came in.
pub struct Expanded {
    /// The request.
    pub ask: Ask,
    /// What was called.
    pub prompt: Arc<Prompt>,
    /// What of the prompt's settings cannot be said so.
    pub dropped: Vec<String>,
}

/// Expands one. The variables are the last user message where that is a JSON object; else the template gets the caller's messages as its history.
pub async fn expand(gateway: &Gateway, caller: &Caller, ask: Ask) -> Result<Expanded, Refusal> {
    let prompt = find(gateway, caller, ask.model.strip_prefix(PREFIX).unwrap_or(&ask.model))?;
    let asked = translate::read_request(&ask)?;
    let mut request = (*asked.request).clone();
    let Told { given, mut history, beside, mut after } = Told::of(std::mem::take(&mut request.messages));
    let refused = |violations: Vec<Violation>| counted(caller, unfit(&prompt, &violations));
    let input = variables(&prompt, given).map_err(refused)?;
    let prompt = Arc::clone(&prompt).fitted(&input).map_err(refused)?;
    if prompt.template.places_history {
        history.append(&mut after);
    }
    let mut request = rendered_beside(&prompt, input, history, request).await?;
    if !beside.is_empty() {
        match request.messages.iter_mut().rfind(|message| message.role == Role::User) {
            Some(message) => message.content.extend(beside),
            None => request.messages.push(ir::Message::new(Role::User, beside)),
        }
    }
    request.messages.append(&mut after);
    let model = model(gateway, &prompt).to_owned();
    Manner::of(gateway, &model).ask(&prompt, &mut request);
    let (body, mut dropped) = encoded(gateway, &request, &ask.called, &model)?;
    dropped.extend(unknown_settings(&prompt));
    let mut called = ask.called;
    if called.model.is_some() {
        called.model = Some(model);
    }
    Ok(Expanded { ask: Ask::read(called, body)?, prompt, dropped })
}

/// A conversation, as a prompt takes it.
#[derive(Default)]
struct Told {
    /// The variables.
    given: Value,
    /// What was said before them, or all where there are none.
    history: Vec<ir::Message>,
    /// Images and the like in the message that has the variables.
    beside: Vec<Block>,
    /// What was said after the prompt was answered first.
    after: Vec<ir::Message>,
}

// === impl Told ===

impl Told {
    /// The variables are the last user message where that is a JSON object, or else the first one where that is.
    fn of(mut messages: Vec<ir::Message>) -> Told {
        let is_last = |at: &usize| *at + 1 == messages.len();
        let of_user = |message: &ir::Message| message.role == Role::User;
        let last = messages.iter().rposition(of_user).filter(is_last);
        let first = messages.iter().position(of_user);
        let found = [last, first].into_iter().flatten().find_map(|at| Some((at, object(messages.get(at)?)?)));
        let Some((at, object)) = found else { return Told { given: Value::Object(Map::new()), history: messages, ..Told::default() } };
        let after = messages.split_off(at + 1);
        let beside = messages.pop().into_iter().flat_map(|message| message.content).filter(|block| block.as_text().is_none()).collect();
        Told { given: Value::Object(object), history: messages, beside, after }
    }
}

fn object(message: &ir::Message) -> Option<Map<String, Value>> {
    let said: String = message.content.iter().filter_map(Block::as_text).collect();
    serde_json::from_str(&said).ok()
}

/// The body of a request in the dialect of a caller, and what cannot be said in it.
///
/// What the caller's dialect lacks and the provider's has is written all the same: it is read on the way there.
pub fn encoded(gateway: &Gateway, request: &ir::Request, called: &Called, model: &str) -> Result<(Bytes, Vec<String>), Refusal> {
    let targets = gateway.router().resolve(model).unwrap_or_default();
    let facts = targets.first().and_then(|target| target.facts());
    let mut dropped = Dropped::default();
    let body = codec(called.dialect).encode_request(request, &To { model, facts }, &mut dropped)?;
    let mut dropped: Vec<String> = dropped.names().map(str::to_owned).collect();
    let is_other =
        |target: &Target| target.endpoint(Operation::Chat, called.dialect).is_ok_and(|endpoint| endpoint.dialect != called.dialect);
    let is_read_on_the_way = called.dialect == Dialect::OpenaiChat && !targets.is_empty() && targets.iter().all(is_other);
    match (request.sampling.top_k, serde_json::from_slice(&body)) {
        (Some(top_k), Ok(Value::Object(mut members))) if is_read_on_the_way => {
            members.insert("top_k".to_owned(), top_k.into());
            dropped.retain(|name| name != "top_k");
            Ok((Value::Object(members).to_string().into(), dropped))
        }
        _ => Ok((body, dropped)),
    }
}

/// Settings that no request has.
pub fn unknown_settings(prompt: &Prompt) -> impl Iterator<Item = String> {
    let names = prompt.front.config.keys().filter(|name| !config::NAMES.contains(&name.as_str()));
    names.map(|name| format!("config.{name}"))
}

/// Names what was dropped, beside what is named already.
pub fn tell_dropped(headers: &mut HeaderMap, dropped: &[String]) {
    let told = headers.get(DROPPED).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let known: Vec<&str> = told.split(", ").filter(|name| !name.is_empty()).collect();
    let is_plain = |name: &str| name.len() <= 100 && name.chars().all(|c| c.is_ascii_graphic() && c != ',');
    let more = dropped.iter().map(String::as_str).filter(|name| !known.contains(name) && is_plain(name)).take(MOST_DROPPED);
    let all = known.iter().copied().chain(more).collect::<Vec<_>>().join(", ");
    if let Some(all) = HeaderValue::try_from(all).ok().filter(|all| !all.is_empty()) {
        headers.insert(DROPPED, all);
    }
}

/// Marks a call of a model that goes on with a request, which was counted when it began.
#[derive(Clone, Copy)]
pub struct GoesOn;

/// A request's head for a call of a prompt's model; with `request_id`, for one that goes on with that request.
pub fn head_for(head: &Parts, prompt: &Arc<Prompt>, request_id: Option<&HeaderValue>) -> Parts {
    let mut head = head.clone();
    // The corridor writes down which prompt it is, and does not look for one in the model's name.
    head.extensions.insert(Arc::clone(prompt));
    if let Some(request_id) = request_id {
        head.extensions.insert(GoesOn);
        head.headers.insert(REQUEST_ID, request_id.clone());
    }
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.remove(header::TRANSFER_ENCODING);
    head
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
