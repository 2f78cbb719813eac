//! A provider that is switched on: its URLs filled in, its headers ready, so that a request only picks an endpoint.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use reqwest::Url;

use super::address::Address;
use super::credential::{Credential, Secret};
use crate::catalog::{Auth, Dialect, Environment, Model, Operation, Provider, Quirks, env};
use crate::error::{Kind, Refusal};

/// A provider that can be called.
#[derive(Debug)]
pub struct LiveProvider {
    /// Its id: the part of a model's name before the `/`.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it has; empty where any name is passed on.
    pub models: BTreeMap<String, Model>,
    /// Where it differs from its dialect.
    pub quirks: Quirks,
    /// What we present to it.
    pub credential: Option<Arc<Credential>>,
    /// The base URL's doors first, under the empty name.
    doors: Vec<LiveDoor>,
}

/// One base URL.
#[derive(Debug)]
struct LiveDoor {
    name: String,
    dialects: Vec<Dialect>,
    endpoints: BTreeMap<Operation, Endpoint>,
    /// Why it cannot be called, where it cannot.
    closed: Option<String>,
}

/// Where one operation is served.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Where to send it.
    pub url: Url,
    /// The same in parts; `None` where only the general client understands it.
    pub address: Option<Address>,
    /// The credential and what else the provider wants, ready to be sent.
    pub headers: HeaderMap,
    /// The built-in simulator rather than a network address.
    pub is_simulator: bool,
}

/// An operation that a provider does not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unserved {
    provider: String,
    operation: Operation,
    why: String,
}

/// The operations of OpenAI's dialects.
const OPERATIONS: [Operation; 4] = [Operation::Chat, Operation::Completions, Operation::Embeddings, Operation::Responses];

// === impl LiveProvider ===

impl LiveProvider {
    /// Switches a provider on, or says which variables are missing for that.
    pub fn switch_on(provider: &Provider, env: &Environment) -> Result<LiveProvider, Vec<String>> {
        let set = provider.credential.iter().find(|variable| env.get(variable).is_some());
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
            return Err(needs);
        }
        let credential = set.and_then(|variable| Some(Arc::new(Credential::new(variable, Secret::new(env.get(variable)?)))));
        let own = LiveDoor::open(provider, "", &provider.dialects, &provider.base_url, &provider.auth, credential.as_deref(), env);
        let others = provider.doors.iter().map(|(name, door)| {
            let url = door.base_url.as_ref().unwrap_or(&provider.base_url);
            let auth = door.auth.as_ref().unwrap_or(&provider.auth);
            LiveDoor::open(provider, name, &door.dialects, url, auth, credential.as_deref(), env)
        });
        Ok(LiveProvider {
            id: provider.id.clone(),
            name: provider.name.clone(),
            doors: std::iter::once(own).chain(others).collect(),
            models: provider.models.clone(),
            quirks: provider.quirks.clone(),
            credential,
        })
    }

    /// Where `operation` is served: behind the model's own door, else behind any that speaks its dialect.
    pub fn endpoint(&self, door: Option<&str>, operation: Operation) -> Result<&Endpoint, Unserved> {
        let unserved = |why: String| Unserved { provider: self.name.clone(), operation, why };
        let mut doors = self.doors.iter().filter(|candidate| door.is_none_or(|door| candidate.name == door));
        let found = doors.find(|candidate| candidate.dialects.contains(&operation.dialect()));
        match found {
            Some(LiveDoor { closed: Some(why), .. }) => Err(unserved(why.clone())),
            Some(open) => open.endpoints.get(&operation).ok_or_else(|| unserved("it has no such path".to_owned())),
            None => {
                let spoken: Vec<&str> = self.dialects(door).map(Dialect::as_str).collect();
                Err(unserved(format!("it speaks {} there", spoken.join(", "))))
            }
        }
    }

    /// Whether it is the built-in simulator.
    pub fn is_simulator(&self) -> bool {
        self.doors.iter().any(|door| door.endpoints.values().any(|endpoint| endpoint.is_simulator))
    }

    /// The dialects spoken behind a door, or anywhere.
    pub fn dialects<'a>(&'a self, door: Option<&'a str>) -> impl Iterator<Item = Dialect> + 'a {
        self.doors
            .iter()
            .filter(move |candidate| door.is_none_or(|door| candidate.name == door))
            .flat_map(|door| door.dialects.iter().copied())
    }
}

// === impl LiveDoor ===

impl LiveDoor {
    fn open(
        provider: &Provider,
        name: &str,
        dialects: &[Dialect],
        template: &str,
        auth: &Auth,
        credential: Option<&Credential>,
        env: &Environment,
    ) -> LiveDoor {
        let opened = env
            .expand(template)
            .map_err(|unset| format!("{} is not set, which its address needs", unset.0))
            .and_then(|base| endpoints(provider, base.trim_end_matches('/'), auth, credential));
        let (endpoints, closed) = match opened {
            Ok(endpoints) => (endpoints, None),
            Err(why) => (BTreeMap::new(), Some(why)),
        };
        LiveDoor { name: name.to_owned(), dialects: dialects.to_vec(), endpoints, closed }
    }
}

fn endpoints(
    provider: &Provider,
    base: &str,
    auth: &Auth,
    credential: Option<&Credential>,
) -> Result<BTreeMap<Operation, Endpoint>, String> {
    let headers = headers(provider, auth, credential)?;
    let is_simulator = base == "simulator:" || base == "simulator";
    OPERATIONS
        .into_iter()
        .map(|operation| {
            let path = provider.quirks.path.get(&operation).map_or(operation.path(), String::as_str);
            let text = if is_simulator { format!("http://simulator{path}") } else { format!("{base}{path}") };
            let mut url = Url::parse(&text).map_err(|e| format!("its address '{text}' is no URL ({e})"))?;
            if let (Auth::Query(name), Some(credential)) = (auth, credential) {
                url.query_pairs_mut().append_pair(name, credential.secret.expose());
            }
            Ok((operation, Endpoint { address: Address::of(&url), url, headers: headers.clone(), is_simulator }))
        })
        .collect()
}

fn headers(provider: &Provider, auth: &Auth, credential: Option<&Credential>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in &provider.quirks.headers {
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
        (Auth::Query(_) | Auth::None, _) | (_, None) => return Ok(headers),
        (Auth::Sigv4 | Auth::Gcp | Auth::AzureEntra, Some(_)) => {
            return Err("Keyward cannot sign requests in its way yet".to_owned());
        }
    };
    let mut value = HeaderValue::try_from(text).map_err(|_| "its credential holds characters that no header can carry".to_owned())?;
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
