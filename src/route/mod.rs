//! Room 4: from the name of a model to the targets that serve it, in order, each with its endpoint and credential.

mod address;
mod credential;
pub mod forms;
mod lines;
mod live;
pub mod switchboard;
mod taken;
#[cfg(test)]
mod tests;

mod vault;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use http::StatusCode;
use serde::Serialize;

pub use address::Address;
pub use credential::{Attempt, Cause, Credential, Refused, Secret, Trace, changed_by_each};
pub use lines::Lines;
pub use live::{Endpoint, LiveProvider, Place, Unserved};

pub use switchboard::Switchboard;
pub use vault::{MASTER_KEY, MASTER_KEY_FILE, OLD_MASTER_KEY, OLD_MASTER_KEY_FILE, Sealed, Variables, Vault};

use crate::catalog::{Catalog, Dialect, Environment, Model, Operation};
use crate::config::{Config, hint};
use crate::error::{Kind, Refusal};
use crate::key::diagnose::is_secret;

/// All that can be called, and what else could be with which variables.
pub struct Router {
    live: BTreeMap<String, Lines>,
    dormant: BTreeMap<String, Dormant>,
    /// Bare model names, each with the live providers that have it.
    bare: HashMap<String, Vec<String>>,
    aliases: BTreeMap<String, Vec<String>>,
    unusable: Vec<Unusable>,
}

/// A credential that is kept and cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unusable {
    /// Whose it is: the provider's id.
    pub provider: String,
    /// What people call it; the variable, where it is the environment's.
    pub credential: String,
    /// Why not, with nothing of the credential.
    pub why: String,
}

/// What the store has of credentials.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// Those that could be opened.
    pub open: Vec<StoredCredential>,
    /// The others.
    pub sealed: Vec<Unusable>,
}

/// A credential from the store, open.
#[derive(Clone, Debug)]
pub struct StoredCredential {
    /// What people call it.
    pub name: String,
    /// Whose it is: the provider's id.
    pub provider: String,
    /// Its share of the provider's requests.
    pub weight: u32,
    /// What it sets.
    pub variables: Variables,
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
    /// Its provider has a credential here, which cannot be used.
    Unusable {
        /// What was asked for.
        model: String,
        /// Whose it is.
        provider: String,
        /// The provider's id.
        id: String,
    },
    /// Several providers have it.
    Ambiguous(String, Vec<String>),
}

/// Why a credential cannot be used whose provider nobody knows.
pub const UNKNOWN_PROVIDER: &str = "its provider is not known: what is changed in the folder of providers holds from the next start";
/// No model's name is longer; one that is would only fill logs and answers.
const LONGEST_NAME: usize = 200;

// === impl Router ===

impl Router {
    /// Finds out which providers of the catalogue are live in this environment and by stored credentials.
    ///
    /// Of the router before, credentials that are the same go on as they fared.
    pub fn new(catalog: &Catalog, config: &Config, env: &Environment, stored: &Stored, before: Option<&Router>) -> Router {
        let mut router = Router {
            live: BTreeMap::new(),
            dormant: BTreeMap::new(),
            bare: HashMap::new(),
            aliases: config.aliases.iter().map(|(name, targets)| (name.clone(), targets.names().to_vec())).collect(),
            unusable: stored.sealed.clone(),
        };
        for stored in stored.open.iter().filter(|stored| catalog.get(&stored.provider).is_none()) {
            router.pass_over(&stored.provider, &stored.name, UNKNOWN_PROVIDER);
        }
        for provider in catalog.iter() {
            let of_environment = LiveProvider::switch_on(provider, env, None);
            let needs = of_environment.as_ref().err().cloned();
            let mut lines: Vec<(u32, LiveProvider)> = of_environment.into_iter().map(|line| (1, line)).collect();
            for stored in stored.open.iter().filter(|stored| stored.provider == provider.id) {
                match LiveProvider::switch_on(provider, env, Some(stored)) {
                    Ok(line) => lines.push((stored.weight, line)),
                    Err(needs) => router.pass_over(&provider.id, &stored.name, &format!("it needs {}", needs.join(" and "))),
                }
            }
            // One that cannot be used does not take its turn with those that can; where it is the only one, it says what is wrong.
            let (usable, faulty): (Vec<_>, Vec<_>) = lines.into_iter().partition(|(_, line)| line.fault().is_none());
            for (_, line) in faulty.iter().filter(|(_, line)| line.credential.is_some()) {
                let variable = line.credential.as_ref().map_or("", |credential| &credential.variable);
                let name = if line.line.is_empty() { variable } else { &line.line };
                router.pass_over(&provider.id, name, line.fault().unwrap_or_default());
            }
            let mut lines = usable;
            if lines.is_empty() {
                lines.extend(faulty.into_iter().filter(|(_, line)| line.line.is_empty()));
            }
            if lines.is_empty() {
                let models = provider.models.len();
                let dormant = Dormant { name: provider.name.clone(), needs: needs.unwrap_or_default(), models };
                router.dormant.insert(provider.id.clone(), dormant);
                continue;
            }
            for (weight, mut line) in lines {
                line.goes_on_from(before.and_then(|before| before.provider(&line.holder())).map(|line| &**line));
                router.add(weight, Arc::new(line));
            }
        }
        router
    }

    /// The targets for a name: an alias, `provider/model`, or a bare name that one live provider has.
    pub fn resolve(&self, name: &str) -> Result<Vec<Target>, NoRoute> {
        if let Some(names) = self.aliases.get(name) {
            // A target whose provider is not switched on is passed over while another one is.
            let (targets, failures): (Vec<_>, Vec<_>) = names.iter().map(|name| self.resolve_one(name)).partition(Result::is_ok);
            let targets: Vec<Target> = targets.into_iter().flatten().flatten().collect();
            return match failures.into_iter().find_map(Result::err) {
                Some(failure) if targets.is_empty() => Err(failure),
                _ => Ok(targets),
            };
        }
        self.resolve_one(name)
    }

    /// The targets for a name at one line of a provider: none where the name leads elsewhere only.
    pub fn resolve_at(&self, name: &str, provider: &str) -> Result<Vec<Target>, NoRoute> {
        if let Some(live) = self.provider(provider).filter(|live| live.models.contains_key(name) && !self.aliases.contains_key(name)) {
            return Ok(vec![Target { provider: Arc::clone(live), model: name.into() }]);
        }
        let mut targets = self.resolve(name)?;
        targets.retain(|target| target.provider.holder() == provider);
        Ok(targets)
    }

    /// The same at the line that keeps what is asked about, where there is one.
    pub fn resolve_for(&self, name: &str, keeper: Option<&str>) -> Result<Vec<Target>, NoRoute> {
        keeper.map_or_else(|| self.resolve(name), |keeper| self.resolve_at(name, keeper))
    }

    /// A live provider, or one line of it: `id` or `id#credential`.
    pub fn provider(&self, id: &str) -> Option<&Arc<LiveProvider>> {
        match id.split_once('#') {
            Some((id, line)) => self.live.get(id)?.named(line),
            None => self.live.get(id).map(Lines::first),
        }
    }

    /// A live provider as targets with no model: its lines, the one whose turn it is first; or the one line that `id#credential` names.
    pub fn targets_at(&self, id: &str) -> Vec<Target> {
        let model: Arc<str> = Arc::from("");
        match id.contains('#') {
            true => self.provider(id).map(|line| Target { provider: Arc::clone(line), model }).into_iter().collect(),
            false => self.live.get(id).into_iter().flat_map(|lines| lines.targets(&model)).collect(),
        }
    }

    /// The live providers, by id.
    pub fn live(&self) -> impl Iterator<Item = &Arc<LiveProvider>> {
        self.live.values().map(Lines::first)
    }

    /// All lines of the live providers, by id.
    pub fn lines(&self) -> impl Iterator<Item = &Arc<LiveProvider>> {
        self.live.values().flat_map(Lines::all)
    }

    /// The providers that are known and not switched on, by id.
    pub fn dormant(&self) -> impl Iterator<Item = (&str, &Dormant)> {
        self.dormant.iter().map(|(id, dormant)| (id.as_str(), dormant))
    }

    /// The credentials that are kept and cannot be used.
    pub fn unusable(&self) -> &[Unusable] {
        &self.unusable
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

    fn pass_over(&mut self, provider: &str, credential: &str, why: &str) {
        tracing::error!(credential, provider, "a credential cannot be used: {why}");
        self.unusable.push(Unusable { provider: provider.to_owned(), credential: credential.to_owned(), why: why.to_owned() });
    }

    fn add(&mut self, weight: u32, line: Arc<LiveProvider>) {
        if let Some(lines) = self.live.get_mut(&line.id) {
            return lines.add(weight, line);
        }
        for model in line.models.keys() {
            self.bare.entry(model.clone()).or_default().push(line.id.clone());
        }
        self.live.insert(line.id.clone(), Lines::new(weight, line));
    }

    fn resolve_one(&self, name: &str) -> Result<Vec<Target>, NoRoute> {
        // Those two are no names in a path, however they are written there.
        if let Some((id, model)) = name.split_once('/').filter(|(_, model)| !matches!(*model, "" | "." | "..")) {
            if let Some(lines) = self.live.get(id) {
                return Ok(lines.targets(&model.into()).collect());
            }
            if let Some(dormant) = self.dormant.get(id) {
                let (model, provider) = (name.chars().take(LONGEST_NAME).collect(), dormant.name.clone());
                return Err(match self.unusable.iter().any(|unusable| unusable.provider == id) {
                    true => NoRoute::Unusable { model, provider, id: id.to_owned() },
                    false => NoRoute::Dormant { model, provider, needs: dormant.needs.clone() },
                });
            }
        }
        match self.bare.get(name).map(Vec::as_slice) {
            Some([provider]) => {
                let model = Arc::from(name);
                Ok(self.live.get(provider).into_iter().flat_map(|lines| lines.targets(&model)).collect())
            }
            Some(providers) if !providers.is_empty() => {
                Err(NoRoute::Ambiguous(name.to_owned(), providers.iter().map(|provider| format!("{provider}/{name}")).collect()))
            }
            _ if name.len() > LONGEST_NAME => Err(NoRoute::Unknown(format!("{}…", name.chars().take(60).collect::<String>()), None)),
            _ => Err(NoRoute::Unknown(name.to_owned(), self.nearest(name))),
        }
    }

    fn nearest(&self, name: &str) -> Option<String> {
        let full = self.live().flat_map(|provider| provider.models.keys().map(|model| format!("{}/{model}", provider.id)));
        let names: Vec<String> = full.chain(self.aliases.keys().cloned()).collect();
        hint::nearest(name, names.iter().map(String::as_str)).map(str::to_owned)
    }
}

// === impl Target ===

impl Target {
    /// Whether another one is the same, and not only alike.
    pub fn is(&self, other: &Target) -> bool {
        Arc::ptr_eq(&self.provider, &other.provider) && Arc::ptr_eq(&self.model, &other.model)
    }

    /// What the catalogue knows of the model, in whatever letters its name is written: some providers take any.
    pub fn facts(&self) -> Option<&Model> {
        let models = &self.provider.models;
        let alike = || models.iter().find(|(name, _)| name.eq_ignore_ascii_case(&self.model)).map(|(_, model)| model);
        models.get(&*self.model).or_else(alike)
    }

    /// `provider/model`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.provider.id, self.model)
    }

    /// Whether its credential was refused lately.
    pub fn rests(&self) -> bool {
        self.provider.credential.as_ref().is_some_and(|credential| credential.rests_for(&self.model).is_some())
    }

    /// Where the operation is served, in the dialect if it can be.
    pub fn endpoint(&self, operation: Operation, dialect: Dialect) -> Result<&Endpoint, Unserved> {
        self.provider.endpoint(self.facts().and_then(|model| model.door.as_deref()), operation, dialect)
    }
}

/// Those of the targets that serve an operation; what the first says where none does.
pub fn serving(mut targets: Vec<Target>, operation: Operation, dialect: Dialect) -> Result<Vec<Target>, Unserved> {
    let mut first = None;
    targets.retain(|target| match target.endpoint(operation, dialect) {
        Ok(_) => true,
        Err(unserved) => {
            first.get_or_insert(unserved);
            false
        }
    });
    match first {
        Some(unserved) if targets.is_empty() => Err(unserved),
        _ => Ok(targets),
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
            NoRoute::Unusable { model, provider, id } => {
                let message = format!(
                    "'{model}' is a model of {provider}, and the credential that is stored for it here cannot be used. Your own key is fine: tell whoever runs this gateway, to whom 'keyward doctor' says why."
                );
                let mut refusal = Refusal::new(StatusCode::BAD_GATEWAY, Kind::Upstream, "provider_credential_unusable", message);
                refusal.provider = Some(id);
                refusal
            }
            NoRoute::Ambiguous(name, choices) => Refusal::invalid(
                "model_ambiguous",
                format!("Several live providers have a model '{name}': write which one you mean, {}.", choices.join(" or ")),
            )
            .with_param("model"),
        }
    }
}
