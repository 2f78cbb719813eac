//! Room 4: from the name of a model to the targets that serve it, in order, each with its endpoint and credential.

mod address;
mod credential;
mod live;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use http::StatusCode;

pub use address::Address;
pub use credential::{Credential, Secret};
pub use live::{Endpoint, LiveProvider, Place, Unserved};

use crate::catalog::{Catalog, Dialect, Environment, Model, Operation};
use crate::config::{Config, hint};
use crate::error::{Kind, Refusal};
use crate::key::diagnose::is_secret;

/// All that can be called, and what else could be with which variables.
pub struct Router {
    live: BTreeMap<String, Arc<LiveProvider>>,
    dormant: BTreeMap<String, Dormant>,
    /// Bare model names, each with the live providers that have it.
    bare: HashMap<String, Vec<Arc<LiveProvider>>>,
    aliases: BTreeMap<String, Vec<String>>,
}

/// A provider that is known and not switched on.
#[derive(Clone, Debug)]
pub struct Dormant {
    /// What people call it.
    pub name: String,
    /// The variables to set: each entry is one or several of which one is enough.
    pub needs: Vec<String>,
    /// How many models the catalogue knows of it.
    pub models: usize,
}

/// One way to serve a request.
#[derive(Clone)]
pub struct Target {
    /// Who serves it.
    pub provider: Arc<LiveProvider>,
    /// The model, as the provider names it.
    pub model: Arc<str>,
}

/// A model's name that leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// Nobody has it; perhaps this was meant.
    Unknown(String, Option<String>),
    /// Its provider is known and not switched on.
    Dormant {
        /// What was asked for.
        model: String,
        /// Whose it is.
        provider: String,
        /// What to set.
        needs: Vec<String>,
    },
    /// Several providers have it.
    Ambiguous(String, Vec<String>),
}

/// No model's name is longer; one that is would only fill logs and answers.
const LONGEST_NAME: usize = 200;

// === impl Router ===

impl Router {
    /// Finds out which providers of the catalogue are live in this environment.
    pub fn new(catalog: Catalog, config: &Config, env: &Environment) -> Router {
        let mut router = Router {
            live: BTreeMap::new(),
            dormant: BTreeMap::new(),
            bare: HashMap::new(),
            aliases: config.aliases.iter().map(|(name, targets)| (name.clone(), targets.names().to_vec())).collect(),
        };
        for provider in catalog.into_providers() {
            match LiveProvider::switch_on(&provider, env) {
                Ok(live) => router.add(Arc::new(live)),
                Err(needs) => {
                    let models = provider.models.len();
                    router.dormant.insert(provider.id, Dormant { name: provider.name, needs, models });
                }
            }
        }
        router
    }

    /// The targets for a name: an alias, `provider/model`, or a bare name that one live provider has.
    pub fn resolve(&self, name: &str) -> Result<Vec<Target>, NoRoute> {
        if let Some(names) = self.aliases.get(name) {
            // A target whose provider is not switched on is passed over while another one is.
            let (targets, failures): (Vec<_>, Vec<_>) = names.iter().map(|name| self.resolve_one(name)).partition(Result::is_ok);
            let targets: Vec<Target> = targets.into_iter().flatten().collect();
            return match failures.into_iter().find_map(Result::err) {
                Some(failure) if targets.is_empty() => Err(failure),
                _ => Ok(targets),
            };
        }
        self.resolve_one(name).map(|target| vec![target])
    }

    /// The targets for a name at one provider: none where the name leads elsewhere only.
    pub fn resolve_at(&self, name: &str, provider: &str) -> Result<Vec<Target>, NoRoute> {
        if let Some(live) = self.live.get(provider).filter(|live| live.models.contains_key(name) && !self.aliases.contains_key(name)) {
            return Ok(vec![Target { provider: Arc::clone(live), model: name.into() }]);
        }
        let mut targets = self.resolve(name)?;
        targets.retain(|target| target.provider.id == provider);
        Ok(targets)
    }

    /// A live provider.
    pub fn provider(&self, id: &str) -> Option<&Arc<LiveProvider>> {
        self.live.get(id)
    }

    /// The live providers, by id.
    pub fn live(&self) -> impl Iterator<Item = &Arc<LiveProvider>> {
        self.live.values()
    }

    /// The providers that are known and not switched on, by id.
    pub fn dormant(&self) -> impl Iterator<Item = (&str, &Dormant)> {
        self.dormant.iter().map(|(id, dormant)| (id.as_str(), dormant))
    }

    /// The aliases, by name.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        self.aliases.keys().map(String::as_str)
    }

    /// Each alias with each of its targets, as configured.
    pub fn alias_targets(&self) -> impl Iterator<Item = (&str, &str)> {
        self.aliases.iter().flat_map(|(alias, targets)| targets.iter().map(move |target| (alias.as_str(), target.as_str())))
    }

    /// All provider ids, live or not.
    pub fn provider_ids(&self) -> impl Iterator<Item = &str> {
        self.live.keys().chain(self.dormant.keys()).map(String::as_str)
    }

    /// Whether a provider is known, live or not.
    pub fn knows(&self, provider: &str) -> bool {
        self.live.contains_key(provider) || self.dormant.contains_key(provider)
    }

    fn add(&mut self, provider: Arc<LiveProvider>) {
        for model in provider.models.keys() {
            self.bare.entry(model.clone()).or_default().push(Arc::clone(&provider));
        }
        self.live.insert(provider.id.clone(), provider);
    }

    fn resolve_one(&self, name: &str) -> Result<Target, NoRoute> {
        if let Some((id, model)) = name.split_once('/').filter(|(_, model)| !model.is_empty()) {
            if let Some(provider) = self.live.get(id) {
                return Ok(Target { provider: Arc::clone(provider), model: model.into() });
            }
            if let Some(dormant) = self.dormant.get(id) {
                let needs = dormant.needs.clone();
                return Err(NoRoute::Dormant { model: name.chars().take(LONGEST_NAME).collect(), provider: dormant.name.clone(), needs });
            }
        }
        match self.bare.get(name).map(Vec::as_slice) {
            Some([provider]) => Ok(Target { provider: Arc::clone(provider), model: name.into() }),
            Some(providers) if !providers.is_empty() => {
                Err(NoRoute::Ambiguous(name.to_owned(), providers.iter().map(|provider| format!("{}/{name}", provider.id)).collect()))
            }
            _ if name.len() > LONGEST_NAME => Err(NoRoute::Unknown(format!("{}…", name.chars().take(60).collect::<String>()), None)),
            _ => Err(NoRoute::Unknown(name.to_owned(), self.nearest(name))),
        }
    }

    fn nearest(&self, name: &str) -> Option<String> {
        let full = self.live.values().flat_map(|provider| provider.models.keys().map(|model| format!("{}/{model}", provider.id)));
        let names: Vec<String> = full.chain(self.aliases.keys().cloned()).collect();
        hint::nearest(name, names.iter().map(String::as_str)).map(str::to_owned)
    }
}

// === impl Target ===

impl Target {
    /// What the catalogue knows of the model.
    pub fn facts(&self) -> Option<&Model> {
        self.provider.models.get(&*self.model)
    }

    /// `provider/model`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.provider.id, self.model)
    }

    /// Where the operation is served, in the dialect if it can be.
    pub fn endpoint(&self, operation: Operation, dialect: Dialect) -> Result<&Endpoint, Unserved> {
        self.provider.endpoint(self.facts().and_then(|model| model.door.as_deref()), operation, dialect)
    }
}

impl From<NoRoute> for Refusal {
    fn from(no_route: NoRoute) -> Refusal {
        let not_found = |code, message| Refusal::new(StatusCode::NOT_FOUND, Kind::NotFound, code, message).with_param("model");
        match no_route {
            NoRoute::Unknown(name, _) if is_secret(&name) => {
                not_found("model_not_found", "A key stands in place of the model's name: name a model, as 'provider/model'.".to_owned())
            }
            NoRoute::Unknown(name, nearest) => {
                let hint = nearest.map_or_else(String::new, |near| format!(" Did you mean '{near}'?"));
                not_found(
                    "model_not_found",
                    format!(
                        "No live provider has a model '{name}'.{hint} Write it as 'provider/model'; GET /v1/models lists what this key may use."
                    ),
                )
            }
            NoRoute::Dormant { model, provider, needs } => not_found(
                "provider_not_live",
                format!(
                    "'{model}' is a model of {provider}, which is not switched on here: whoever runs this gateway can do so by setting {}.",
                    needs.join(" and ")
                ),
            ),
            NoRoute::Ambiguous(name, choices) => Refusal::invalid(
                "model_ambiguous",
                format!("Several live providers have a model '{name}': write which one you mean, {}.", choices.join(" or ")),
            )
            .with_param("model"),
        }
    }
}
