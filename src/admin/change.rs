//! What a change of limits says, and what is wrong with one: the same for keys, projects, teams and the gateway.

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use crate::config::hint;
use crate::key::Kind;
use crate::key::diagnose::{holds_foreign_key, holds_whole_key, is_foreign};
use crate::prompt::Prompts;
use crate::prompt::chat::PREFIX;
use crate::quota::limits::{ParallelByModel, matches, names};
use crate::quota::network::Network;
use crate::quota::{AccountId, Budget, Limits, Rate};
use crate::route::Router;
use crate::store::{Group, GroupStore, StoreError};

/// A field that cannot be what it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The field.
    pub field: &'static str,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// New limits; what is absent stays as it is.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct LimitsChange {
    /// Globs (`*`, `?`) on `provider/model` and alias names; an empty list allows all.
    #[schema(nullable = false)]
    pub models: Option<Vec<String>>,
    /// Addresses and networks (CIDR) that requests may come from; an empty list allows all.
    #[schema(value_type = Option<Vec<String>>, nullable = false)]
    pub addresses: Option<Vec<Network>>,
    /// Globs on `METHOD /path`; an empty list allows all.
    #[schema(nullable = false)]
    pub paths: Option<Vec<String>>,
    /// Globs on `server/tool` of MCP and `service/operation` of REST services; an empty list allows all.
    #[schema(nullable = false)]
    pub tools: Option<Vec<String>>,
    /// How much at most in a period.
    #[schema(nullable = false)]
    pub rates: Option<Vec<Rate>>,
    /// Requests at a time; null for no limit. Of a project, a team or the gateway it counts those that begin from then on.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u32>, minimum = 1)]
    pub parallel: Option<Option<NonZeroU32>>,
    /// Requests at a time to some models, of those that begin from then on.
    #[schema(nullable = false)]
    pub parallel_by_model: Option<Vec<ParallelByModel>>,
    /// How much money at most in a period.
    #[schema(nullable = false)]
    pub budgets: Option<Vec<Budget>>,
}

/// A field that was given, be it null.
pub(super) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// Of a text that all who may look are shown.
const WHOLE_KEY: &str =
    "there is a whole key in it, which everybody who may see it could use: leave that out, and consider replacing the key";

/// The same of another service's.
const FOREIGN_KEY: &str =
    "it looks like a key of another service, which everybody who may see it could use: leave that out, and consider replacing the key";

/// Why a name that somebody chose is not kept: what is a key is in lists and in the audit list for good.
pub fn key_in_name(text: &str) -> Option<&'static str> {
    key_in(text, is_foreign)
}

/// The same of what names other things, of which some begin like keys: a glob, an id, a file.
pub fn key_in_reference(text: &str) -> Option<&'static str> {
    key_in(text, holds_foreign_key)
}

/// Says which field of some limits cannot be meant; the globs of a list that is as it `was` stand, whatever an earlier version took.
pub fn check(limits: &Limits, was: &Limits) -> Result<(), Wrong> {
    let lists = [("models", &limits.models, &was.models), ("paths", &limits.paths, &was.paths), ("tools", &limits.tools, &was.tools)];
    let lists = || lists.into_iter().filter(|(_, globs, old)| globs != old);
    let listed = lists().flat_map(|(field, globs, _)| globs.iter().map(move |glob| (field, glob.as_str())));
    let is_counted_anew = (&limits.rates, &limits.budgets, &limits.parallel_by_model) != (&was.rates, &was.budgets, &was.parallel_by_model);
    let mut globs = listed.chain(limits.counted().filter(|_| is_counted_anew).map(|glob| ("limits", glob)));
    if let Some((field, why)) = globs.find_map(|(field, glob)| Some((field, key_in_reference(glob)?))) {
        return Err(Wrong { field, message: why.to_owned() });
    }
    if let Some((field, ..)) = lists().find(|(_, globs, _)| globs.iter().any(|glob| glob.trim().is_empty())) {
        let message =
            "an empty glob names nothing, and a list of it alone lets nothing be called: write a name, or leave the list out for all";
        return Err(Wrong { field, message: message.to_owned() });
    }
    let rates = Limits { rates: limits.rates.clone(), ..Limits::default() };
    rates.check().map_err(|message| Wrong { field: "rates", message })?;
    let budgets = Limits { budgets: limits.budgets.clone(), ..Limits::default() };
    budgets.check().map_err(|message| Wrong { field: "budgets", message })?;
    let parallel = Limits { parallel_by_model: limits.parallel_by_model.clone(), ..Limits::default() };
    parallel.check().map_err(|message| Wrong { field: "parallel_by_model", message })?;
    let paths = if limits.paths == was.paths { Vec::new() } else { limits.paths.clone() };
    let judged = Limits { paths, ..limits.clone() };
    let paths = Limits { paths: judged.paths.clone(), ..Limits::default() };
    paths.check().map_err(|message| Wrong { field: "paths", message })?;
    judged.check().map_err(|message| Wrong { field: "limits", message })
}

/// The project or team with that id, or who is like it.
pub async fn existing(groups: &dyn GroupStore, id: &AccountId, field: &'static str) -> Result<Result<Group, Wrong>, StoreError> {
    if let Some(group) = groups.group(id).await? {
        return Ok(Ok(group));
    }
    let (kind, name) = split(id);
    let all: Vec<AccountId> = groups.groups().await?.into_iter().map(|group| group.id).collect();
    let alike = all.iter().map(split).filter(|(other, _)| *other == kind).map(|(_, name)| name);
    let near = hint::nearest(&name, alike.collect::<Vec<_>>().iter().map(String::as_str)).map(|near| format!("; did you mean '{near}'?"));
    let near = near.unwrap_or_else(|| format!(": make it first ('keyward {kind}s create {name}')"));
    Ok(Err(Wrong { field, message: format!("there is no {kind} '{name}'{near}") }))
}

/// What a group is, and its own name.
pub fn split(id: &AccountId) -> (&'static str, String) {
    match id {
        AccountId::Gateway => ("gateway", String::new()),
        AccountId::Team(id) => ("team", id.to_string()),
        AccountId::Project(id) => ("project", id.to_string()),
        AccountId::Key(id) => ("key", id.to_string()),
        AccountId::Service(name) => ("service", name.to_string()),
    }
}

/// What stands before a service's name where a model is named.
const SERVICES: &str = "service/";

/// Globs that name nothing that can be called, one sentence each: allowed, and most likely a mistake. Of a key its kind decides too.
pub fn warnings(limits: &Limits, kind: Option<Kind>, router: &Router, prompts: &Prompts) -> Vec<String> {
    let counted = limits.counted().filter_map(|glob| of_alias(glob, router).or_else(|| warning(glob, router, prompts)));
    let beyond = limits.models.iter().filter(|_| kind == Some(Kind::Test)).filter_map(|glob| beyond_simulator(glob, router));
    limits.models.iter().filter_map(|glob| warning(glob, router, prompts)).chain(counted).chain(beyond).collect()
}

/// What is wrong with a model of a test key, which calls the simulator alone, also by an alias or a prompt.
fn beyond_simulator(glob: &str, router: &Router) -> Option<String> {
    let mut simulated = router.live().filter(|live| live.is_simulator());
    let is_simulated =
        simulated.any(|live| live.models.keys().any(|name| matches(glob, name) || matches(glob, &format!("{}/{name}", live.id))));
    let is_other = glob.starts_with(PREFIX) || router.aliases().any(|alias| matches(glob, alias));
    (!is_simulated && !is_other)
        .then(|| format!("'{glob}' is of no use to a test key, which calls the simulator alone: make a key of the kind live for it"))
}

/// What is wrong with a limit that names an alias, unless that is the name of one of its models too.
fn of_alias(glob: &str, router: &Router) -> Option<String> {
    let targets: Vec<&str> = router.alias_targets().filter(|(alias, _)| *alias == glob).map(|(_, target)| target).collect();
    let is_alias = !targets.is_empty() && !targets.iter().any(|target| names(glob, target));
    is_alias.then(|| {
        format!("'{glob}' is an alias, and limits count models: this one would count nothing; set it for {}", targets.join(" and for "))
    })
}

fn warning(glob: &str, router: &Router, prompts: &Prompts) -> Option<String> {
    if let Some(prompt) = glob.strip_prefix(PREFIX) {
        let is_there = prompts.all().any(|prompt| prompt.is_named_by(glob));
        let near = hint::nearest(prompt, prompts.names()).map_or_else(String::new, |near| format!("; did you mean '{PREFIX}{near}'?"));
        return (!is_there).then(|| format!("'{glob}' names no prompt that there is{near}"));
    }
    // Services come and go by themselves, and their operations are named like models.
    if glob.starts_with(SERVICES) {
        return None;
    }
    let has_wildcard = |text: &str| text.contains(['*', '?']);
    if router.aliases().any(|alias| matches(glob, alias)) {
        return None;
    }
    let (provider, model) = glob.split_once('/').unwrap_or(("", glob));
    // Who has no list of models may have any, and so may who is not switched on.
    let may_have = |id: &str| router.provider(id).is_none_or(|live| live.models.is_empty());
    let is_there =
        router.live().any(|live| live.models.keys().any(|name| matches(glob, name) || matches(glob, &format!("{}/{name}", live.id))));
    if is_there || has_wildcard(provider) || (!provider.is_empty() && router.knows(provider) && may_have(provider)) {
        return None;
    }
    if has_wildcard(model) && provider.is_empty() {
        return Some(format!("'{glob}' matches no alias and no model that is known: nothing can be called by it now"));
    }
    let near = match provider {
        "" => None,
        id if router.knows(id) => None,
        id => hint::nearest(id, router.provider_ids()).map(|near| format!("; did you mean '{near}/{model}'?")),
    };
    Some(format!("'{glob}' matches no alias and no model that is known{}", near.unwrap_or_default()))
}

// === impl LimitsChange ===

impl LimitsChange {
    /// The names of its fields.
    pub const FIELDS: [&str; 8] = ["models", "addresses", "paths", "tools", "rates", "parallel", "parallel_by_model", "budgets"];

    /// Says which of the limits that are given names an alias: limits count models, whatever they are called by, so it would count nothing.
    pub fn check_names(&self, router: &Router) -> Result<(), Wrong> {
        let rates = self.rates.iter().flatten().filter_map(|rate| Some(("rates", rate.models.as_ref()?)));
        let budgets = self.budgets.iter().flatten().filter_map(|budget| Some(("budgets", budget.models.as_ref()?)));
        let parallel = self.parallel_by_model.iter().flatten().map(|limit| ("parallel_by_model", &limit.models));
        let wrong = rates.chain(budgets).chain(parallel).find_map(|(field, glob)| Some(Wrong { field, message: of_alias(glob, router)? }));
        wrong.map_or(Ok(()), Err)
    }

    /// Changes what is given.
    pub fn apply(self, limits: &mut Limits) {
        let LimitsChange { models, addresses, paths, tools, rates, parallel, parallel_by_model, budgets } = self;
        fn set<T>(to: &mut T, new: Option<T>) {
            if let Some(new) = new {
                *to = new;
            }
        }
        set(&mut limits.models, models);
        set(&mut limits.addresses, addresses);
        set(&mut limits.paths, paths);
        set(&mut limits.tools, tools);
        set(&mut limits.rates, rates);
        set(&mut limits.parallel, parallel);
        set(&mut limits.parallel_by_model, parallel_by_model);
        set(&mut limits.budgets, budgets);
    }
}

// === impl Wrong ===

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Ours, or another service's by that judgement.
fn key_in(text: &str, is_others: fn(&str) -> bool) -> Option<&'static str> {
    match holds_whole_key(text) {
        true => Some(WHOLE_KEY),
        false => is_others(text).then_some(FOREIGN_KEY),
    }
}
