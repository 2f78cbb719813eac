//! A request as it came: what the gateway has to know of it, and the same bytes with another model in them.

use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::members::{Member, Members};
use super::tools::Tools;
use super::{Called, Form, vocabulary};
use crate::catalog::{Dialect, Operation, Quirks};
use crate::error::Refusal;
use crate::held::Kind;
use crate::money::Price;

/// A request, read as far as needed.
#[derive(Debug)]
pub struct Ask {
    /// What is wanted, in which dialect.
    pub called: Called,
    /// The model, as the caller names it.
    pub model: String,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// The most output tokens that the caller wants, all choices together.
    pub max_output: Option<u64>,
    /// Tokens that the caller foretells of each answer at the most: those that are not said are billed too.
    pub foretold: u64,
    /// Tokens that are stated for what is thought, which some providers add to the most of the answer.
    pub thinks: u64,
    /// How many answers it wants.
    pub choices: u64,
    /// What a provider keeps and the request goes on with.
    pub earlier: Vec<(Kind, String)>,
    /// Whether the provider is to keep the answer.
    pub keeps: bool,
    /// Whether the provider is to work on it after it has answered.
    pub in_background: bool,
    /// Whether the model may read what is not in the body, or is no text in it.
    pub points_out: bool,
    /// Whether it may name files that a provider keeps.
    pub names_files: bool,
    /// Whether it may have files in it, or point to some.
    pub has_documents: bool,
    /// Tools that are handed to the model.
    pub tools: Tools,
    /// Whether it names other models that its provider may call instead.
    pub names_others: bool,
    /// The member by which a router is told who is to serve the model, which may be somebody dearer.
    pub picks_server: Option<String>,
    /// A beta flag that has a model take more than its own context.
    pub widening: Option<String>,
    /// Whether nothing may cost more than its price here, which a provider that chooses among others is told.
    pub holds_price: bool,
    /// The bytes as they came.
    pub body: Bytes,
    /// Where the body names the model; `None` where the path does.
    model_at: Option<Range<usize>>,
    usage_edit: Option<Edit>,
    /// Where Gemini's requests for vectors name the model once more.
    models_within: Vec<Range<usize>>,
}

/// Bytes to put in place of others.
#[derive(Clone, Debug)]
pub struct Edit {
    at: Range<usize>,
    with: Bytes,
}

/// A body in pieces that share the caller's bytes: sent in order, cheap to clone for another attempt.
pub type Pieces = Vec<Bytes>;

/// Members that name other models, of providers that choose between some (OpenRouter).
const OTHER_MODELS: [&str; 2] = ["models", "fallbacks"];

/// Members in which each of a router's providers has its own.
const OF_PROVIDERS: [&str; 2] = ["providerOptions", "provider_options"];

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

// === impl Ask ===

impl Ask {
    /// Reads what the gateway has to know; everything else stays as it is, for the provider to judge.
    pub fn read(called: Called, body: Bytes) -> Result<Ask, Refusal> {
        let peek = &super::wire(called.dialect).peek;
        let members = Members::read(&body).map_err(|e| broken(&body, &e))?;
        once_in_any_case(&members)?;
        let (model, model_at) = match &called.model {
            Some(model) => (model.clone(), None),
            None => model_in(&members)?,
        };
        let stream = match called.stream {
            Some(stream) => stream,
            None => optional::<bool>(&members, "stream", "has to be true or false")?.unwrap_or(peek.stream_default.unwrap_or(false)),
        };
        let mut choices = 1;
        for path in peek.choices {
            choices = choices.max(number_at(&members, path, "has to be a whole number")?.unwrap_or(1));
        }
        if called.operation == Operation::Completions {
            choices = choices.saturating_mul(prompts(&members));
        }
        let mut max_output = None;
        // To completions that are no chat it is unknown.
        for path in peek.max_output.iter().filter(|path| **path != "max_completion_tokens" || called.operation != Operation::Completions) {
            max_output = max_output.max(number_at(&members, path, "has to be a whole number of tokens")?);
        }
        let has_usage_option =
            called.dialect == Dialect::OpenaiChat && matches!(called.operation, Operation::Chat | Operation::Completions);
        let usage_edit = if stream && has_usage_option { ask_for_usage(&body, &members)? } else { None };
        let has_state = called.dialect == Dialect::OpenaiResponses;
        let earlier = if has_state { earlier(&members)? } else { Vec::new() };
        let keeps = has_state && optional::<bool>(&members, "store", "has to be true or false")?.unwrap_or(true);
        let in_background = has_state && optional::<bool>(&members, "background", "has to be true or false")?.unwrap_or(false);
        let models_within = if called.operation.has_no_output() { models_within(&members) } else { Vec::new() };
        let max_output = if called.operation.has_no_output() { Some(0) } else { max_output };
        // A prompt that the provider keeps; elsewhere it is what is said.
        let names_prompt = has_state && members.get("prompt").is_some();
        let points_out = members.points_out() || names_prompt || (has_state && names_kept_items(&members));
        let tools = Tools::find(&members);
        let names_others = names_others(&members);
        let picks_server = members.iter().find(|member| picks_server(member)).map(|member| member.name.to_string());
        let widening = vocabulary::widening_in(&members).map(str::to_owned);
        let thinks = vocabulary::thinks(&members);
        // A token for a byte at the most.
        let foretold = members.given("prediction").map_or(0, |member| member.raw.len() as u64);
        Ok(Ask {
            called,
            model,
            stream,
            earlier,
            keeps,
            in_background,
            points_out,
            names_files: members.may_name_files(),
            has_documents: members.may_have_documents(),
            tools,
            names_others,
            picks_server,
            widening,
            holds_price: false,
            max_output: max_output.map(|tokens| tokens.saturating_mul(choices)),
            foretold,
            thinks,
            choices,
            model_at,
            usage_edit,
            models_within,
            body,
        })
    }

    /// The form in which the answer is wanted.
    pub fn form(&self) -> Form {
        match (self.stream, self.called.as_array) {
            (false, _) => Form::Whole,
            (true, false) => Form::Stream,
            (true, true) => Form::Array,
        }
    }

    /// Whether the provider is asked for a stream's usage though the caller did not: then its report is hidden from the caller.
    pub fn hides_usage(&self, quirks: &Quirks) -> bool {
        self.usage_edit.is_some() && !quirks.drop.iter().any(|field| field == "stream_options")
    }

    /// The body for a provider: the same bytes but for the model, the usage option, and the provider's quirks.
    pub fn encode(&self, model: &str, quirks: &Quirks) -> Pieces {
        let edit = self.usage_edit.clone().filter(|_| self.hides_usage(quirks));
        let mut edits: Vec<Edit> = edit.into_iter().collect();
        edits.extend(self.model_at.clone().map(|at| Edit { at, with: json_string(model) }));
        let resource = |at| Edit { at, with: json_string(&format!("models/{model}")) };
        edits.extend(self.models_within.iter().cloned().map(resource));
        with_quirks(quirks, splice(&self.body, edits))
    }
}

// === impl Edit ===

impl Edit {
    /// Puts a string in the place of a value that was parsed out of `body`, and so stands in it.
    pub fn of(raw: &str, body: &[u8], text: &str) -> Edit {
        let start = raw.as_ptr() as usize - body.as_ptr() as usize;
        Edit { at: start..start + raw.len(), with: json_string(text) }
    }
}

/// A body with a provider's quirks; the same pieces where it has none that concern bodies.
pub fn with_quirks(quirks: &Quirks, pieces: Pieces) -> Pieces {
    match quirks.rename.is_empty() && quirks.drop.is_empty() && quirks.default.is_empty() {
        true => pieces,
        false => vec![apply(quirks, &pieces.concat())],
    }
}

/// A body that says in an object, such as `provider.max_price`, what a million tokens may cost at the most; a caller who says so too is not heard.
pub fn with_max_price(place: &str, [input, output]: [Price; 2], pieces: Pieces) -> Pieces {
    let body: Bytes = pieces.concat().into();
    let (Some((outer, inner)), Ok(members)) = (place.split_once('.'), Members::read(&body)) else { return vec![body] };
    let member = members.get(outer);
    let mut object: Map<String, Value> = member.and_then(|member| serde_json::from_str(member.raw).ok()).unwrap_or_default();
    object.insert(inner.to_owned(), json!({ "prompt": input.as_per_million(), "completion": output.as_per_million(), "request": 0 }));
    let object = Value::from(object).to_string();
    let edit = match member {
        Some(member) => Edit { at: member.range.clone(), with: object.into() },
        None => {
            let start = body.iter().position(|byte| *byte == b'{').map_or(0, |at| at + 1);
            let comma = if members.iter().next().is_some() { "," } else { "" };
            Edit { at: start..start, with: format!("{}:{object}{comma}", Value::from(outer)).into() }
        }
    };
    splice(&body, vec![edit])
}

/// What some readers take for the same field is no second one.
pub fn once_in_any_case(members: &Members<'_>) -> Result<(), Refusal> {
    let twice = |name: &str| format!("'{name}' is given twice, in upper and lower case: send each field once.");
    members.twice_but_for_case().map_or(Ok(()), |name| Err(Refusal::invalid("body_not_json", twice(name))))
}

/// Whether a request lets its provider call other models than the one in `model`, or that one several times.
pub fn names_others(members: &Members<'_>) -> bool {
    // A letter of it may be escaped.
    const ROUTES: [&str; 6] = ["outingConfig", "outing_config", "\\u004", "\\u005", "\\u006", "\\u007"];
    let may_route = |member: &Member<'_>| ["generationConfig", "generation_config"].contains(&&*member.name);
    // Vertex has the provider choose, or names one itself (`routingConfig.manualMode.modelName`).
    members.iter().any(|member| may_route(member) && ROUTES.iter().any(|word| member.raw.contains(word)))
        || OTHER_MODELS.iter().any(|name| members.given(name).is_some())
        || members.iter().any(names_others_within)
        || members.given("reasoning").is_some_and(|member| vocabulary::is_thought_over(member.raw))
}

/// Whether a member says more of who is to answer (Vercel's gateway): with names of other models, as far as anybody sees.
fn names_others_within(member: &Member<'_>) -> bool {
    let has = |word: &str| memmem::find(member.raw.as_bytes(), word.as_bytes()).is_some();
    OF_PROVIDERS.contains(&&*member.name) && (has("models") || has("allback") || has("\\u"))
}

/// Whether a member says which of a router's providers is to serve the model (Vercel's `gateway.only`, `order` and `sort`; the same of `provider` at
/// OpenRouter and whoever is like it).
fn picks_server(member: &Member<'_>) -> bool {
    const WORDS: [&str; 6] = ["\"only\"", "\"order\"", "\"sort\"", "\"ignore\"", "\"routing\"", "\\u"];
    let is_routers = OF_PROVIDERS.contains(&&*member.name) || (member.name == "provider" && member.raw.starts_with('{'));
    is_routers && WORDS.iter().any(|word| member.raw.contains(word))
}

/// What a request for a response goes on with (OpenAI's `responses.create`).
pub(crate) fn earlier(members: &Members<'_>) -> Result<Vec<(Kind, String)>, Refusal> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Named {
        Id(String),
        Object { id: String },
    }
    let mut earlier = Vec::new();
    if let Some(id) = optional::<String>(members, "previous_response_id", "has to be a response's id")? {
        earlier.push((Kind::Response, id));
    }
    if let Some(Named::Id(id) | Named::Object { id }) = optional::<Named>(members, "conversation", "has to be a conversation's id")? {
        earlier.push((Kind::Conversation, id));
    }
    Ok(earlier)
}

/// Whether items are named by their ids alone: what was said in them is read where they are kept.
fn names_kept_items(members: &Members<'_>) -> bool {
    const SAID_IN: [&str; 5] = ["content", "arguments", "output", "input", "encrypted_content"];
    let Some(input) = members.get("input").filter(|input| input.raw.contains("\"id\"")) else { return false };
    let items: Vec<&RawValue> = serde_json::from_str(input.raw).unwrap_or_default();
    items.into_iter().any(|item| {
        let Ok(item) = Members::read(item.get().as_bytes()) else { return false };
        item.given("id").is_some() && !SAID_IN.iter().any(|name| item.given(name).is_some())
    })
}

/// The models that the parts of a batch name, as `models/{model}`; alone it is named so too.
fn models_within(members: &Members<'_>) -> Vec<Range<usize>> {
    let is_resource = |raw: &str| raw.starts_with("\"models/");
    let alone = members.get("model").filter(|model| is_resource(model.raw)).map(|model| model.range.clone());
    let requests = members.get("requests").and_then(|list| Some((list, serde_json::from_str::<Vec<&RawValue>>(list.raw).ok()?)));
    let within = requests.into_iter().flat_map(|(list, requests)| {
        let base = list.raw.as_ptr() as usize;
        requests.into_iter().filter_map(move |request| {
            let start = list.range.start + (request.get().as_ptr() as usize - base);
            let inside = Members::read(request.get().as_bytes()).ok()?;
            let model = inside.get("model").filter(|model| is_resource(model.raw))?;
            Some(start + model.range.start..start + model.range.end)
        })
    });
    alone.into_iter().chain(within).collect()
}

pub(crate) fn model_in(members: &Members<'_>) -> Result<(String, Option<Range<usize>>), Refusal> {
    let model =
        members.get("model").ok_or_else(|| wrong("model", "is missing: name one as 'provider/model'; GET /v1/models lists them"))?;
    let name: String = serde_json::from_str(model.raw).map_err(|_| wrong("model", "has to be a string, such as \"openai/gpt-4o-mini\""))?;
    match name.is_empty() {
        true => Err(unnamed()),
        false => Ok((name, Some(model.range.clone()))),
    }
}

/// What is told where the model's name is empty.
pub(crate) fn unnamed() -> Refusal {
    wrong("model", "is empty: name one as 'provider/model'; GET /v1/models lists them")
}

/// How many prompts a request for completions has, each of which is answered: texts or lists of tokens, or one such list.
fn prompts(members: &Members<'_>) -> u64 {
    let list = members.get("prompt").and_then(|member| serde_json::from_str::<Vec<&RawValue>>(member.raw).ok()).unwrap_or_default();
    let is_one = list.first().is_none_or(|first| !first.get().starts_with(['"', '[']));
    if is_one { 1 } else { list.len() as u64 }
}

/// A number at a path of one member or two; negative ones are Ollama's for "none".
fn number_at(members: &Members<'_>, path: &'static str, need: &str) -> Result<Option<u64>, Refusal> {
    let Some((outer, inner)) = path.split_once('.') else {
        return optional::<u64>(members, path, need);
    };
    let Some(object) = members.given(outer) else { return Ok(None) };
    let inside = Members::read(object.raw.as_bytes()).map_err(|_| wrong(outer, "has to be an object"))?;
    let limit = optional::<i64>(&inside, inner, need).map_err(|refusal| refusal.with_param(path))?;
    Ok(limit.and_then(|limit| u64::try_from(limit).ok()))
}

/// The edit that asks for usage at a stream's end, or none where the caller asks by itself.
fn ask_for_usage(body: &Bytes, members: &Members<'_>) -> Result<Option<Edit>, Refusal> {
    let edit = |at: Range<usize>, with: &'static str| Ok(Some(Edit { at, with: Bytes::from_static(with.as_bytes()) }));
    let Some(options) = members.given("stream_options") else {
        return match members.get("stream_options") {
            Some(null) => edit(null.range.clone(), r#"{"include_usage":true}"#),
            None => {
                // The object opens where its first byte that is no white space stands: it parsed, so there is one.
                let after = body.iter().position(|&b| b == b'{').map_or(0, |at| at + 1);
                edit(after..after, r#""stream_options":{"include_usage":true},"#)
            }
        };
    };
    let bad = || wrong("stream_options", "has to be an object such as {\"include_usage\": true}");
    // serde would take a list for a structure too.
    let asked = Some(options.raw).filter(|raw| raw.starts_with('{')).and_then(|raw| serde_json::from_str::<StreamOptions>(raw).ok());
    let asked = asked.ok_or_else(bad)?;
    if asked.include_usage == Some(true) {
        return Ok(None);
    }
    let inner = Members::read(options.raw.as_bytes()).map_err(|_| bad())?;
    let start = options.range.start;
    match inner.get("include_usage") {
        Some(flag) => edit(start + flag.range.start..start + flag.range.end, "true"),
        None if inner.iter().next().is_none() => edit(options.range.clone(), r#"{"include_usage":true}"#),
        None => edit(start + 1..start + 1, r#""include_usage":true,"#),
    }
}

/// The body with other bytes in some places, in whichever order these are given.
pub fn splice(body: &Bytes, mut edits: Vec<Edit>) -> Pieces {
    edits.sort_by_key(|edit| edit.at.start);
    let mut pieces = Vec::with_capacity(edits.len() * 2 + 1);
    let mut done = 0;
    for edit in edits {
        pieces.push(body.slice(done..edit.at.start));
        pieces.push(edit.with);
        done = edit.at.end;
    }
    pieces.push(body.slice(done..));
    pieces
}

/// The body with a provider's quirks: written anew member by member, each value as it was.
fn apply(quirks: &Quirks, body: &[u8]) -> Bytes {
    let Ok(members) = Members::read(body) else {
        return Bytes::copy_from_slice(body);
    };
    let mut out = Vec::with_capacity(body.len() + 64);
    let mut written: Vec<&str> = Vec::new();
    out.push(b'{');
    let add = |out: &mut Vec<u8>, name: &str, raw: &str| {
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(&json_string(name));
        out.push(b':');
        out.extend_from_slice(raw.as_bytes());
    };
    for member in members.iter() {
        let name = member.name.as_ref();
        let renamed = quirks.rename.get(name).map(String::as_str);
        let clashes = renamed.is_some_and(|new| members.given(new).is_some());
        // Nothing in the place of what another gets its name.
        let gives_way = member.raw == "null" && quirks.rename.iter().any(|(old, new)| new == name && members.given(old).is_some());
        if quirks.drop.iter().any(|dropped| dropped == name) || clashes || gives_way {
            continue;
        }
        written.push(renamed.unwrap_or(name));
        add(&mut out, renamed.unwrap_or(name), member.raw);
    }
    for (name, value) in &quirks.default {
        if !written.contains(&name.as_str()) {
            add(&mut out, name, &serde_json::to_string(value).unwrap_or_default());
        }
    }
    out.push(b'}');
    Bytes::from(out)
}

/// A text as JSON.
pub fn json_string(text: &str) -> Bytes {
    Bytes::from(serde_json::Value::from(text).to_string())
}

/// A member that may be absent or `null`; `need` says what it has to be.
pub(crate) fn optional<'a, T: Deserialize<'a>>(members: &Members<'a>, name: &'static str, need: &str) -> Result<Option<T>, Refusal> {
    match members.get(name) {
        Some(member) => serde_json::from_str::<Option<T>>(member.raw).map_err(|_| wrong(name, need)),
        None => Ok(None),
    }
}

fn wrong(field: &'static str, need: &str) -> Refusal {
    Refusal::invalid("invalid_value", format!("'{field}' {need}.")).with_param(field)
}

pub(crate) fn broken(body: &[u8], error: &serde_json::Error) -> Refusal {
    if body.trim_ascii().is_empty() {
        return Refusal::invalid("body_empty", "The body is empty: send a JSON object with at least 'model'.");
    }
    if error.is_data() && !body.trim_ascii_start().starts_with(b"{") {
        return Refusal::invalid("body_not_an_object", "The body has to be a JSON object, such as {\"model\": \"openai/gpt-4o-mini\", …}.");
    }
    Refusal::invalid("body_not_json", format!("The body is not right: {error}. Send one JSON object with each field once."))
}
