//! A provider that is switched on: its URLs filled in, its headers ready, so that a request only picks an endpoint.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use reqwest::Url;

use super::StoredCredential;
use super::address::Address;
use super::credential::{Credential, Secret, Trace};
use crate::catalog::operation::BESIDE_CHAT;
use crate::catalog::{Auth, Dialect, Door, Environment, Model, Operation, Provider, Quirks, env};
use crate::dialect::{Form, in_path, wire};
use crate::distinct::distinct;
use crate::error::{Kind, Refusal};
use crate::upstream::sign::Signer;

/// A provider that can be called.
#[derive(Debug)]
pub struct LiveProvider {
    /// Its id: the part of a model's name before the `/`.
    pub id: String,
    /// The stored credential that it is called by; empty for the environment's.
    pub line: String,
    /// What people call it.
    pub name: String,
    /// What it has; empty where any name is passed on.
    pub models: Arc<BTreeMap<String, Model>>,
    /// What signs for it, whose secrets it is sent too.
    signers: Vec<Arc<Signer>>,
    /// What we present to it.
    pub credential: Option<Arc<Credential>>,
    /// What a caller sets as the most tokens of an answer is no bound of what it thinks before that, at one of its doors at least.
    pub thinks_beside_max_output: bool,
    /// The usage that it reports tells what it charges.
    pub tells_cost: bool,
    /// It charges besides tokens.
    pub charges_besides: bool,
    /// It adds what may be thought to the most of an answer.
    pub adds_thinking: bool,
    /// It runs a tool of its own for a file.
    pub files_run_tools: bool,
    /// It chooses at which price it answers, and is told the highest.
    pub takes_max_price: bool,
    /// The base URL's doors first, under the empty name.
    doors: Vec<LiveDoor>,
}

/// One base URL.
#[derive(Debug)]
struct LiveDoor {
    name: String,
    dialects: Vec<Dialect>,
    endpoints: Vec<Endpoint>,
    /// Why it cannot be called, where it cannot.
    closed: Option<String>,
}

/// Where one operation is served in one dialect.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// What is served.
    pub operation: Operation,
    /// In which dialect.
    pub dialect: Dialect,
    /// The credential and what else the provider wants, ready to be sent.
    pub headers: HeaderMap,
    /// The built-in simulator rather than a network address.
    pub is_simulator: bool,
    /// What makes each request ours, where the headers do not.
    pub signer: Option<Arc<Signer>>,
    /// Where the provider differs from the dialect.
    pub quirks: Arc<Quirks>,
    places: Places,
    /// A parameter that carries the credential.
    query: Option<(String, Secret)>,
}

/// How a credential is shown.
struct Access<'a> {
    auth: &'a Auth,
    credential: Option<&'a Credential>,
    /// Or why there is none.
    signer: Result<Option<Arc<Signer>>, String>,
}

/// Where a request goes.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its URL.
    pub url: Url,
    /// The same in parts; `None` where only the general client understands it.
    pub address: Option<Address>,
}

/// Where requests go.
#[derive(Clone, Debug)]
enum Places {
    /// Always to the same place.
    Fixed(Box<Place>),
    /// To one that depends on the model and on the form of the answer: the base, without a slash at its end.
    ByModel(String),
    /// The same, by the provider's own templates of paths: of whole answers, and of streams.
    Templates([String; 2]),
    /// Beside chat: the base, and the operation's path, in which `{model}` stands for the model.
    Beside(String, String),
}

/// An operation that a provider does not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unserved {
    provider: String,
    operation: Operation,
    why: String,
}

/// Stands for the model in a provider's own path.
const MODEL: &str = "{model}";

// === impl LiveProvider ===

impl LiveProvider {
    /// Switches a provider on by the environment, or by a stored credential before it; or says which variables are missing for that.
    pub fn switch_on(provider: &Provider, env: &Environment, stored: Option<&StoredCredential>) -> Result<LiveProvider, Vec<String>> {
        let variables = stored.iter().flat_map(|stored| &stored.variables).map(|(name, secret)| (name.as_str(), secret.expose()));
        let env = &env.with(variables);
        let is_stored = |variable: &&String| stored.is_none_or(|stored| stored.variables.contains_key(*variable));
        let set = provider.credential.iter().filter(is_stored).find(|variable| env.get(variable).is_some());
        let in_url: Vec<(&str, bool)> = env::variables(&provider.base_url).collect();
        let mut needs: Vec<String> = in_url
            .iter()
            .filter(|(name, has_default)| !has_default && env.get(name).is_none())
            .map(|(name, _)| (*name).to_owned())
            .collect();
        if set.is_none() && provider.auth != Auth::None {
            let named = in_url.iter().any(|(name, _)| env.get(name).is_some());
            match provider.credential_optional {
                true if named => {}
                true => {
                    let all = in_url.iter().map(|(name, _)| *name).chain(provider.credential.iter().map(String::as_str));
                    needs = vec![all.collect::<Vec<_>>().join(" or ")];
                }
                false => needs.push(provider.credential.join(" or ")),
            }
        }
        if !needs.is_empty() {
            // An address may name one twice.
            return Err(distinct(needs));
        }
        let named =
            |variable: &str| stored.map_or_else(|| variable.to_owned(), |stored| format!("the stored credential '{}'", stored.name));
        let credential = set.and_then(|variable| Some(Arc::new(Credential::new(&named(variable), Secret::new(env.get(variable)?)))));
        let own = Door {
            dialects: provider.dialects.clone(),
            base_url: Some(provider.base_url.clone()),
            auth: None,
            quirks: Some(provider.quirks.clone()),
        };
        let way = set.and_then(|variable| provider.ways.get(variable));
        let access = Access::new(way.unwrap_or(&provider.auth), &provider.id, credential.as_deref(), env);
        let open = |name, door: &Door| {
            let other =
                door.auth.as_ref().filter(|_| way.is_none()).map(|auth| Access::new(auth, &provider.id, credential.as_deref(), env));
            LiveDoor::open(provider, name, door, other.as_ref().unwrap_or(&access), env)
        };
        let quirks = || std::iter::once(&provider.quirks).chain(provider.doors.values().filter_map(|door| door.quirks.as_ref()));
        let others = provider.doors.iter().map(|(name, door)| open(name, door));
        let doors: Vec<LiveDoor> = std::iter::once(open("", &own)).chain(others).collect();
        let mut signers: Vec<Arc<Signer>> = Vec::new();
        for signer in doors.iter().flat_map(|door| &door.endpoints).filter_map(|endpoint| endpoint.signer.as_ref()) {
            if !signers.iter().any(|known| Arc::ptr_eq(known, signer)) {
                signers.push(Arc::clone(signer));
            }
        }
        Ok(LiveProvider {
            signers,
            id: provider.id.clone(),
            line: stored.map(|stored| stored.name.clone()).unwrap_or_default(),
            name: provider.name.clone(),
            doors,
            models: Arc::new(provider.models.clone()),
            credential,
            thinks_beside_max_output: quirks().any(|quirks| quirks.thinks_beside_max_output),
            tells_cost: quirks().any(|quirks| quirks.tells_cost),
            charges_besides: quirks().any(|quirks| quirks.charges_besides),
            adds_thinking: quirks().any(|quirks| quirks.adds_thinking),
            files_run_tools: quirks().any(|quirks| quirks.files_run_tools),
            takes_max_price: quirks().any(|quirks| quirks.max_price.is_some()),
        })
    }

    /// Its name where it matters which credential is used: `id`, or `id#credential` for a stored one.
    pub fn holder(&self) -> String {
        if self.line.is_empty() { self.id.clone() } else { format!("{}#{}", self.id, self.line) }
    }

    /// Finds what it is sent besides our credential by which others could ask it.
    pub fn tokens(&self) -> impl Iterator<Item = Trace> + '_ {
        self.signers.iter().filter_map(|signer| signer.trace())
    }

    /// Why nothing at all can be asked of it, as for a credential that cannot be sent.
    pub fn fault(&self) -> Option<&str> {
        let mut closed = self.doors.iter().map(|door| door.closed.as_deref());
        let first = closed.next()??;
        closed.all(|closed| closed.is_some()).then_some(first)
    }

    /// A credential that is the same goes on as it fared: a rest that the provider caused is not cut short.
    pub(super) fn goes_on_from(&mut self, before: Option<&LiveProvider>) {
        let known = before.and_then(|before| before.credential.as_ref());
        if let (Some(own), Some(known)) = (&mut self.credential, known)
            && own.secret == known.secret
        {
            *own = Arc::clone(known);
        }
    }

    /// Where `operation` is served: in `dialect` if it can be, and a chat else in the dialect that the provider's file names first.
    ///
    /// Ollama's completion (`/api/generate`) is a chat of one message, which any dialect can say.
    ///
    /// `door` is the model's own; without one, any will do.
    pub fn endpoint(&self, door: Option<&str>, operation: Operation, dialect: Dialect) -> Result<&Endpoint, Unserved> {
        let unserved = |why: String| Unserved { provider: self.name.clone(), operation, why };
        let doors = || self.doors.iter().filter(|candidate| door.is_none_or(|door| candidate.name == door));
        let served = |operation| doors().flat_map(|door| &door.endpoints).filter(move |endpoint| endpoint.operation == operation);
        let first = operation.preferred_dialect();
        let preferred = served(operation).find(|endpoint| Some(endpoint.dialect) == first);
        let same = preferred.or_else(|| served(operation).find(|endpoint| endpoint.dialect == dialect));
        let is_prompt = operation == Operation::Completions && dialect == Dialect::Ollama;
        let other = if is_prompt { Some(Operation::Chat) } else { operation.in_other_dialects() };
        if let Some(endpoint) = same.or_else(|| other.and_then(|other| served(other).next())) {
            return Ok(endpoint);
        }
        let is_lacking = doors().flat_map(|door| &door.endpoints).any(|endpoint| endpoint.quirks.lacks.contains(&operation));
        match doors().find_map(|door| door.closed.clone()) {
            Some(why) => Err(unserved(why)),
            None if is_lacking => Err(unserved("it has no such operation there".to_owned())),
            None => Err(unserved(format!("it speaks {} there", self.dialects(door).map(Dialect::as_str).collect::<Vec<_>>().join(", ")))),
        }
    }

    /// Whether it is the built-in simulator.
    pub fn is_simulator(&self) -> bool {
        self.doors.iter().any(|door| door.endpoints.iter().any(|endpoint| endpoint.is_simulator))
    }

    /// The dialects spoken behind a door, or anywhere.
    pub fn dialects<'a>(&'a self, door: Option<&'a str>) -> impl Iterator<Item = Dialect> + 'a {
        self.doors
            .iter()
            .filter(move |candidate| door.is_none_or(|door| candidate.name == door))
            .flat_map(|door| door.dialects.iter().copied())
    }
}

// === impl Access ===

impl<'a> Access<'a> {
    fn new(auth: &'a Auth, provider: &str, credential: Option<&'a Credential>, env: &Environment) -> Access<'a> {
        Access { auth, credential, signer: Signer::of(auth, provider, credential, env) }
    }
}

// === impl LiveDoor ===

impl LiveDoor {
    fn open(provider: &Provider, name: &str, door: &Door, access: &Access<'_>, env: &Environment) -> LiveDoor {
        let template = door.base_url.as_ref().unwrap_or(&provider.base_url);
        let quirks = Arc::new(door.quirks.as_ref().unwrap_or(&provider.quirks).clone());
        let opened = env.address(template).and_then(|base| endpoints(&quirks, &door.dialects, base.trim_end_matches('/'), access));
        let (endpoints, closed) = match opened {
            Ok(endpoints) => (endpoints, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        LiveDoor { name: name.to_owned(), dialects: door.dialects.clone(), endpoints, closed }
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// Where a request for `model` goes whose answer is to have this form.
    pub fn place(&self, model: &str, form: Form) -> Result<Cow<'_, Place>, String> {
        let text = match &self.places {
            Places::Fixed(place) => return Ok(Cow::Borrowed(place)),
            Places::ByModel(base) => format!("{base}{}", (wire(self.dialect).path)(model, form)),
            Places::Templates([whole, stream]) => {
                let template = if form == Form::Whole { whole } else { stream };
                template.replace(MODEL, &in_path(model))
            }
            Places::Beside(..) => return self.below(model, "", &[]).map(Cow::Owned),
        };
        Place::at(&text, self.query.as_ref()).map(Cow::Owned)
    }

    /// Where a request of an operation beside chat goes: `rest` stands after the operation's own path, such as `/file-1/content`.
    pub fn below(&self, model: &str, rest: &str, query: &[(String, String)]) -> Result<Place, String> {
        let Places::Beside(base, path) = &self.places else {
            return Err(format!("'{}' has nothing below its address", self.operation.as_str()));
        };
        self.with_query(format!("{base}{}", format!("{path}{rest}").replace(MODEL, &in_path(model))), query)
    }

    /// Where an upload begins to what is kept `below`: `upload` stands before the version, which ends the base (Google's "Media upload").
    pub fn uploading(&self, rest: &str, query: &[(String, String)]) -> Result<Place, String> {
        let Places::Beside(base, _) = &self.places else {
            return Err(format!("'{}' takes no upload", self.operation.as_str()));
        };
        let mut url = Url::parse(base).map_err(|e| format!("its address '{base}' is no URL ({e})"))?;
        let path = match url.path().trim_end_matches('/').rsplit_once('/') {
            Some((before, version)) => format!("{before}/upload/{version}{rest}"),
            None => format!("/upload{rest}"),
        };
        url.set_path(&path);
        self.with_query(url.into(), query)
    }

    fn with_query(&self, address: String, query: &[(String, String)]) -> Result<Place, String> {
        let mut place = Place::at(&address, None)?;
        // Setting an empty query would leave a question mark.
        let own = self.query.iter().map(|(name, secret)| (name.as_str(), secret.expose()));
        let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(own).collect();
        if !query.is_empty() {
            place.url.query_pairs_mut().extend_pairs(query);
            place.address = Address::of(&place.url);
        }
        Ok(place)
    }
}

// === impl Place ===

impl Place {
    fn at(text: &str, query: Option<&(String, Secret)>) -> Result<Place, String> {
        let mut url = Url::parse(text).map_err(|e| format!("its address '{text}' is no URL ({e})"))?;
        if let Some((name, secret)) = query {
            url.query_pairs_mut().append_pair(name, secret.expose());
        }
        Ok(Place { address: Address::of(&url), url })
    }
}

fn endpoints(quirks: &Arc<Quirks>, dialects: &[Dialect], base: &str, access: &Access<'_>) -> Result<Vec<Endpoint>, String> {
    let Access { auth, credential, .. } = *access;
    let own = headers(quirks, auth, credential)?;
    let signer = access.signer.clone()?;
    let is_simulator = base == "simulator:" || base == "simulator";
    let base = if is_simulator { "http://simulator" } else { base };
    let query = match (auth, credential) {
        (Auth::Query(name), Some(credential)) => Some((name.clone(), credential.secret.clone())),
        _ => None,
    };
    let mut endpoints = Vec::new();
    for &dialect in dialects {
        let facts = wire(dialect);
        let mut headers = HeaderMap::new();
        for (name, value) in facts.headers {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers.extend(own.clone());
        // Each request clones them and adds its own: with room for those, no clone has to grow.
        headers.reserve(8);
        let mut served: Vec<(Operation, Places)> = Vec::new();
        for (operation, path) in paths(dialect) {
            let path = quirks.path.get(&operation).map(String::as_str).or(path);
            let stream_path = quirks.stream_path.get(&operation).map(String::as_str);
            let places = match path {
                None => Places::ByModel(base.to_owned()),
                Some(path) if path.contains(MODEL) || stream_path.is_some() => {
                    Places::Templates([path, stream_path.unwrap_or(path)].map(|path| format!("{base}{path}")))
                }
                Some(path) => Places::Fixed(Box::new(Place::at(&format!("{base}{path}"), query.as_ref())?)),
            };
            served.push((operation, places));
        }
        for (operation, _, path) in
            BESIDE_CHAT.iter().filter(|(operation, of, _)| *of == dialect && !is_simulator && !quirks.lacks.contains(operation))
        {
            let path = quirks.path.get(operation).map_or(*path, String::as_str);
            served.push((*operation, Places::Beside(base.to_owned(), path.to_owned())));
        }
        endpoints.extend(served.into_iter().map(|(operation, places)| Endpoint {
            operation,
            dialect,
            headers: headers.clone(),
            is_simulator,
            signer: signer.clone(),
            quirks: quirks.clone(),
            places,
            query: query.clone(),
        }));
    }
    // An address has to be whole when the gateway starts, not when it is first asked.
    for endpoint in &endpoints {
        endpoint.place("model", Form::Whole)?;
        endpoint.place("model", Form::Stream)?;
    }
    Ok(endpoints)
}

/// What a dialect serves, and where after the base URL; `None` where that depends on the model.
fn paths(dialect: Dialect) -> Vec<(Operation, Option<&'static str>)> {
    let chat = match (wire(dialect).path)("", Form::Whole) {
        Cow::Borrowed(path) => Some(path),
        Cow::Owned(_) => None,
    };
    let mut paths = vec![(Operation::Chat, chat)];
    if dialect == Dialect::OpenaiChat {
        paths.extend([(Operation::Completions, Some("/completions"))]);
    }
    if dialect == Dialect::Ollama {
        paths.push((Operation::Completions, Some("/api/generate")));
    }
    paths.extend(vector_paths(dialect).iter().map(|(operation, path)| (*operation, Some(*path))));
    paths
}

/// Where vectors and rankings are, by dialect; `{model}` stands for the model.
fn vector_paths(dialect: Dialect) -> &'static [(Operation, &'static str)] {
    match dialect {
        Dialect::OpenaiChat => &[(Operation::Embeddings, "/embeddings"), (Operation::Rerank, "/rerank")],
        Dialect::Gemini => {
            &[(Operation::Embeddings, "/models/{model}:batchEmbedContents"), (Operation::EmbedOne, "/models/{model}:embedContent")]
        }
        Dialect::CohereV2 => &[(Operation::Embeddings, "/embed"), (Operation::Rerank, "/rerank")],
        Dialect::Ollama => &[(Operation::Embeddings, "/api/embed"), (Operation::EmbedOne, "/api/embeddings")],
        Dialect::BedrockConverse => &[(Operation::Embeddings, "/model/{model}/invoke")],
        Dialect::OpenaiResponses | Dialect::AnthropicMessages => &[],
    }
}

fn headers(quirks: &Quirks, auth: &Auth, credential: Option<&Credential>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in &quirks.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    let (name, text) = match (auth, credential) {
        (Auth::Bearer, Some(credential)) => (header::AUTHORIZATION, format!("Bearer {}", credential.secret.expose())),
        (Auth::Header(name), Some(credential)) => {
            let name = HeaderName::try_from(name).map_err(|_| format!("'{name}' is no header name"))?;
            (name, credential.secret.expose().to_owned())
        }
        (Auth::Query(_) | Auth::None | Auth::Sigv4 | Auth::Gcp | Auth::AzureEntra, _) | (_, None) => return Ok(headers),
    };
    let mut value = HeaderValue::try_from(text)
        .map_err(|_| "its credential has a line break or another character in it that cannot be sent".to_owned())?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(headers)
}

impl From<Unserved> for Refusal {
    fn from(unserved: Unserved) -> Refusal {
        let Unserved { provider, operation, why } = unserved;
        let mut refusal = Refusal::new(
            StatusCode::NOT_IMPLEMENTED,
            Kind::Invalid,
            "operation_not_served",
            format!(
                "{provider} does not serve '{}' through this endpoint: {why}. Choose a model of a provider that does; GET /v1/models lists them.",
                operation.as_str()
            ),
        );
        refusal.param = Some("model");
        refusal
    }
}
